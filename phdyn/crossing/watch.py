"""What every watch does: remember on which side of zero a guard is, and say where it leaves that side."""

from __future__ import annotations

from typing import Any

import numpy as np

from phdyn.events import Event, direction_of, name_of, terminal_count
from phdyn.inside import Inside, Part
from phdyn.location import Located
from phdyn.methods.stepping import Step
from phdyn.motion import Knot, Motion
from phdyn.search import Floats, Rows
from phdyn.transitions import Transition

ONE = np.zeros(1, dtype=np.intp)
"""The one trajectory of a single run."""


class Watch:
    """An event bound to a run of ``count`` trajectories; what it remembers are arrays over them.

    Parameters
    ----------
    event : Event
        What is watched for.
    motion : Motion
        The motion it is watched on.
    count : int
        Number of trajectories.
    index : int or None
        Its place in ``events=``; None for the guard of a transition.
    transition : Transition or None
        The transition whose guard it is.

    Attributes
    ----------
    side : (count,) int array
        The sign that the guard had where it was last trusted; 0 where it has been zero since the start.
    last : (count,) int array
        Its sign at the last probe: 0 where it may still be zero.
    rested : (count,) bool array
        Whether that was so at the start of the step that is looked at.
    fired, left : (count,) arrays
        How often it has fired, and how often it may until it ends the run.
    closest, closest_time : (count,) arrays
        The closest approach to a goal.
    earlier, earlier_time : (count,) arrays
        The same before the last step that was looked at: what is noted at its end holds only if the step is not cut before.
    """

    def __init__(
        self, event: Event, motion: Motion, *, count: int = 1, index: int | None = None, transition: Transition | None = None
    ) -> None:
        self.event, self.motion, self.index, self.transition = event, motion, index, transition
        self.source = None if transition is None else transition.source
        self.name = name_of(event)
        self.direction = direction_of(event)
        self.side, self.last = np.zeros(count, dtype=np.int8), np.zeros(count, dtype=np.int8)
        self.rested = np.zeros(count, dtype=bool)
        self.fired = np.zeros(count, dtype=np.int64)
        self.left = np.full(count, np.inf if transition is not None else terminal_count(event))
        self.closest, self.closest_time = np.full(count, np.nan), np.full(count, np.nan)
        self.earlier, self.earlier_time = np.full(count, np.nan), np.full(count, np.nan)

    MEMORY: tuple[str, ...] = ("side", "last", "fired", "left", "closest", "closest_time", "earlier", "earlier_time")
    """The arrays that it remembers."""

    # --- what it remembers ----------------------------------------------------------------------------------------------------
    def memory(self, ids: Rows) -> dict[str, Any]:
        """Return what is remembered of some trajectories."""
        return {name: getattr(self, name)[ids].copy() for name in self.MEMORY}

    def restore(self, ids: Rows, memory: dict[str, Any]) -> None:
        """Undo what has happened to some trajectories."""
        for name, value in memory.items():
            getattr(self, name)[ids] = value
        self.changed()

    def value(self, motion: Motion, knot: Knot, ids: Rows) -> Floats:
        """Return the guard of some trajectories, a number or (k,), at a knot of theirs."""
        raise TypeError("a watch knows its guard")

    def start(self, motion: Motion, knot: Knot, ids: Rows) -> None:
        """Take the side at the start of a run or of a mode; it never fires there."""
        self.settle(motion, knot, ids)
        self.side[ids] = self.last[ids]

    def land(self, motion: Motion, knot: Knot, ids: Rows) -> None:
        """Take up a guard that has fired and whose switch has made the state jump: its sign may be that of rounding."""
        self.start(motion, knot, ids)

    def settle(self, motion: Motion, knot: Knot, ids: Rows) -> None:
        """Take the side at a knot that has been examined."""
        sign = signs(self.value(motion, knot, ids))
        self.last[ids] = sign
        self.side[ids] = np.where(sign != 0, sign, self.side[ids])

    def crossed(self, motion: Motion, knot: Knot, ids: Rows) -> tuple[Any, Floats]:
        """Say of which trajectories the guard is at zero or on the other side at a knot in a direction that counts, (k,), and its value."""
        values, side = np.atleast_1d(self.value(motion, knot, ids)), self.side[ids]
        return (side != 0) & (self.last[ids] != 0) & (signs(values) != side) & np.asarray(self.allowed(-side)), values

    def decree(self, ids: Rows, residual: Floats, touched: Any) -> None:
        """Set the side just entered, and count; a guard that is zero may stay so."""
        self.fired[ids] += 1
        self.left[ids] -= 1
        side = -self.side[ids]
        self.side[ids] = side
        self.last[ids] = np.where(residual == 0, 0, side)

    def revoke(self, ids: Rows, touched: Any) -> None:
        """Take a firing back: an event at the same place has ended the run, and the guard waits to fire in the next."""
        self.fired[ids] -= 1
        self.left[ids] += 1
        side = np.where(touched, self.side[ids], -self.side[ids])
        self.side[ids] = self.last[ids] = side
        self.changed()

    def wait(self, knot: Knot, ids: Rows) -> None:
        """Note where an event has ended the run at which this transition would have fired: it waits, on the side where it is."""

    def stand(self, ids: Rows, residual: Floats) -> None:
        """Stand where the step was cut and this watch has just fired: the side set by decree holds."""

    def passed(self, motion: Motion, knot: Knot, ids: Rows) -> None:
        """Take the side at the end of a step that has been looked into."""
        self.settle(motion, knot, ids)

    def hold(self, ids: Rows, side: Any) -> None:
        """Hold a side by decree."""
        self.side[ids] = self.last[ids] = side

    def recall(self, remembered: Any) -> None:
        """Go on with what the guard of the run before remembers."""
        self.side[:], self.last[:], self.fired[:] = remembered.side, remembered.last, remembered.fired
        counted = np.isfinite(self.left)
        self.left[counted] -= self.fired[counted] % self.left[counted]
        self.closest[:], self.closest_time[:] = remembered.closest, remembered.closest_time

    def withdraw(self, t: Any, ids: Any) -> None:
        """Take back what was noted at a later time than t, a number or (k,): the step was cut there, or has failed."""
        closest, when, earlier = self.closest[ids], self.closest_time[ids], self.earlier_time[ids]
        later = (when - t) * (when - earlier) > 0
        self.closest[ids] = np.where(later, self.earlier[ids], closest)
        self.closest_time[ids] = np.where(later, earlier, when)

    def changed(self) -> None:
        """Take note that arrays of this watch were written to."""

    # --- for refine -----------------------------------------------------------------------------------------------------------
    def rounding(self, ids: Rows) -> Floats:
        """Return how far from zero the guard is zero for all that arithmetic can tell."""
        return np.zeros(len(ids))

    def residual(self, inside: Inside, part: Part, rows: Rows) -> Floats:
        """Return the guard at the ends of partial steps, (k,)."""
        motion, knot = inside.knots(part, rows)
        return np.atleast_1d(np.asarray(self.value(motion, knot, inside.ids[rows]), dtype=np.float64))

    def rate(self, inside: Inside, part: Part, rows: Rows, slope: Any) -> tuple[Floats, Floats, Any]:
        """Return the guard's first and second derivative in time at the ends of partial steps, and whether it is only touched there."""
        return slope, np.zeros(len(rows)), np.zeros(len(rows), dtype=bool)

    def short(self, inside: Inside) -> float:
        """Return the share of a step below which a correction is a Strang step from the located state, not a new partial step."""
        return 0.25

    def corrections(self, inside: Inside) -> int:
        """Return how many corrections may be spent: with the partial step, the gradients are those of a step and three."""
        return 4

    def there(self, inside: Inside, rows: Rows, theta: Floats) -> tuple[Part, Floats]:
        """Return the partial steps to some places, without corrections, and the guard at their ends."""
        part = inside.end().take(rows)
        within = np.flatnonzero(theta < 1.0)
        if len(within):
            part.put(within, inside.until(theta[within], rows[within]))
        return part, self.residual(inside, part, rows)

    # --- detection and location -----------------------------------------------------------------------------------------------
    def allowed(self, sign: Any) -> Any:
        """Say whether a change to this sign counts."""
        return (self.direction == 0) | (self.direction * sign > 0)

    def suspects(self, step: Step) -> bool:
        """Say, cheaply, whether the step of a single run may hold an event; note what is at its end, and take the side there where not.

        ``settle`` takes back what is noted, where another event cuts the step.
        """
        return bool(self.suspected(step, ONE, None)[0])

    def suspected(self, step: Step, ids: Any, active: Any) -> Any:
        """Say of each row of a batch's step the same, (k,) of bool.

        Parameters
        ----------
        step : Step
            The step.
        ids : (k,) array or slice
            Which trajectories its rows are.
        active : (k,) bool array or None
            The rows that are watched.
        """
        raise TypeError("a watch knows its guard")

    def locate(self, inside: Inside, rows: Rows, after: Floats, located: Located) -> None:
        """Enter the first event of some rows after the fractions ``after`` of their step; where there is none, leave infinity."""
        raise TypeError("a watch knows its guard")


def signs(values: Any) -> Any:
    """Return the signs of numbers, as small integers."""
    return np.sign(values).astype(np.int8)
