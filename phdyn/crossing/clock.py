"""Watches that know when: stagnation and budgets."""

from __future__ import annotations

from typing import Any

import numpy as np

from phdyn.crossing.watch import Watch, signs
from phdyn.events import Budget, Stagnation
from phdyn.inside import Inside
from phdyn.location import Located
from phdyn.methods.stepping import Step
from phdyn.motion import Knot, Motion
from phdyn.search import EPS, Floats, Rows


class StagnationWatch(Watch):
    """The watch of a Stagnation: its memory is the lowest V and when that was reached, at step ends.

    ``due`` is when the patience of each trajectory ends in the step that is looked into.
    """

    event: Stagnation

    def __init__(self, event: Stagnation, motion: Motion, *, count: int = 1, **place: Any) -> None:
        super().__init__(event, motion, count=count, **place)
        self.due = np.full(count, np.nan)
        self.scale = np.full(count, event.patience)

    def start(self, motion: Motion, knot: Knot, ids: Rows) -> None:
        """See Watch; the clock starts."""
        self.side[ids] = self.last[ids] = 1
        self.closest[ids], self.closest_time[ids] = knot.V, knot.t
        self.scale[ids] = np.maximum(self.scale[ids], np.abs(knot.t))  # step ends are rounded as the start is

    def settle(self, motion: Motion, knot: Knot, ids: Rows) -> None:
        """See Watch."""
        self.withdraw(knot.t, ids)
        self._progress(np.atleast_1d(knot.V), knot.t, ids)

    def hold(self, ids: Rows, side: Any) -> None:
        """See Watch; there are no sides."""

    def crossed(self, motion: Motion, knot: Knot, ids: Rows) -> tuple[Any, Floats]:
        """See Watch; its time is known."""
        return np.zeros(len(ids), dtype=bool), np.zeros(len(ids))

    def _progress(self, V: Any, t: Any, ids: Any) -> Any:  # noqa: N803
        """Note where V has fallen; say where it has."""
        lowest = self.closest[ids]
        fallen = lowest - self.event.tolerance * np.abs(lowest) > V
        self.closest[ids] = np.where(fallen, V, lowest)
        self.closest_time[ids] = np.where(fallen, t, self.closest_time[ids])
        return fallen

    def decree(self, ids: Rows, residual: Floats, touched: Any) -> None:
        """See Watch; the clock starts anew, and nothing takes that back."""
        self.fired[ids] += 1
        self.left[ids] -= 1
        self.closest_time[ids] = self.earlier_time[ids] = self.due[ids]
        self.earlier[ids] = self.closest[ids]

    def _overdue(self, t: Any, ids: Any) -> tuple[Any, Any]:
        """Return for how long the patience has been over at a time, and what of that is rounding."""
        return np.abs(t - self.closest_time[ids]) - self.event.patience, 8 * EPS * np.maximum(np.abs(t), self.scale[ids])

    def suspects(self, step: Step) -> bool:
        """See Watch; a slice is cheaper than the number of the one trajectory."""
        return bool(self.suspected(step, slice(None), None)[0])

    def suspected(self, step: Step, ids: Any, active: Any) -> Any:
        """See Watch."""
        places: Any = slice(None) if active is None or active.all() else np.flatnonzero(active)
        mine = ids if isinstance(places, slice) else places if isinstance(ids, slice) else ids[places]
        t1 = step.t1 if np.ndim(step.t1) == 0 else step.t1[places]
        self.earlier[mine], self.earlier_time[mine] = self.closest[mine], self.closest_time[mine]
        heights = np.atleast_1d(step.V1)
        fallen = self._progress(heights[places], t1, mine)
        over, rounding = self._overdue(t1, mine)
        due = ~fallen & (over >= -rounding)
        if isinstance(places, slice):
            return due
        suspect = np.zeros(len(heights), dtype=bool)
        suspect[places] = due
        return suspect

    def locate(self, inside: Inside, rows: Rows, after: Floats, located: Located) -> None:
        """See Watch; the time is known, the state there is that of the method's own partial step.

        What is due by the end of the step, for all that rounding can tell, is located: at the end, or inside.
        """
        h, t0, t1, ids = inside.h[rows], inside.t0[rows], inside.step_end()[rows], inside.ids[rows]
        over, rounding = self._overdue(t1, ids)
        shortest = 2 * np.spacing(np.maximum(np.abs(t0), np.abs(h))) / np.abs(h)  # a step has a length
        theta = np.clip(1.0 - over / np.abs(h), after + shortest, 1.0)
        theta[np.abs(over) <= rounding] = 1.0
        there = (over >= -rounding) & (after < 1.0)
        at_end, within = np.flatnonzero(there & (theta == 1.0)), np.flatnonzero(there & (theta < 1.0))
        self.due[ids] = np.where(theta == 1.0, t1, t0 + theta * h)
        zero = np.zeros(len(rows))
        if len(at_end):
            located.enter(rows[at_end], theta[at_end], inside.end().take(rows[at_end]), zero[at_end], False)
        if len(within):
            located.enter(rows[within], theta[within], inside.until(theta[within], rows[within]), zero[within], False)


class BudgetWatch(Watch):
    """The watch of a Budget: it fires where a step ends."""

    event: Budget

    def _spent(self, ids: Any) -> Any:
        return np.atleast_1d(self.motion.counts.nfev)[ids]

    def value(self, motion: Motion, knot: Knot, ids: Rows) -> Floats:
        """Return the gradients left."""
        return np.asarray(self.event.nfev - self._spent(ids), dtype=np.float64)

    def start(self, motion: Motion, knot: Knot, ids: Rows) -> None:
        """See Watch."""
        self.side[ids] = self.last[ids] = signs(self.value(motion, knot, ids))

    def settle(self, motion: Motion, knot: Knot, ids: Rows) -> None:
        """See Watch; what another event inside the step has spent shows at the end of the next one."""

    def crossed(self, motion: Motion, knot: Knot, ids: Rows) -> tuple[Any, Floats]:
        """See Watch; it fires at step ends alone."""
        return np.zeros(len(ids), dtype=bool), np.zeros(len(ids))

    def suspected(self, step: Step, ids: Any, active: Any) -> Any:
        """See Watch."""
        due = (self.side[ids] > 0) & (self._spent(ids) >= self.event.nfev)
        return due if active is None else due & active

    def locate(self, inside: Inside, rows: Rows, after: Floats, located: Located) -> None:
        """See Watch."""
        due = rows[(self.side[inside.ids[rows]] > 0) & (after < 1.0)]
        if len(due):
            located.enter(due, np.ones(len(due)), inside.end().take(due), np.zeros(len(due)), False)
