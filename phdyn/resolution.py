"""The events inside a step, in the order of time: what fires, and what cuts the step.

On arrays over rows, so that a batch and a single run decide alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from phdyn.crossing import Watch
from phdyn.inside import Inside, Part
from phdyn.location import Located
from phdyn.search import EPS, Rows

_SAME_PLACE = 1e-9
"""Fractions of a step closer than this are one place: the location of an event is more exact, its guard is not."""

_JUST_FIRED = 1e-6
"""A guard that fired no farther before a cut keeps the side set by decree: rounding has left it on either side."""

Note = Callable[[Watch, Rows, Part], None]


class Resolution:
    """What happens inside the step of k rows.

    Parameters
    ----------
    watches : sequence of Watch
        The watches in force, in the order in which they are asked.
    active : sequence of (k,) bool arrays
        The rows that each of them watches.
    inside : Inside
        The step.
    note : callable
        ``note(watch, ids, part)`` enters an event that fires in some trajectories, at the ends of ``part``.

    Attributes
    ----------
    cutter : (k,) int array
        Which watch cuts the step of each row, by switching or by ending the run; -1: none.
    """

    def __init__(self, watches: Sequence[Watch], active: Sequence[Any], inside: Inside, note: Note) -> None:
        self.watches, self.active, self.inside, self.note = watches, active, inside, note
        count = len(inside.ids)
        self.cutter = np.full(count, -1)
        self.theta = np.ones(count)
        self.fired_at = np.full((len(watches), count), -np.inf)
        self.located = [Located(inside) for _ in watches]

    def run(self, suspected: Sequence[Any]) -> None:
        """Go through the events of each row until one cuts its step, or there are no more."""
        for one, rows, found in zip(self.watches, suspected, self.located, strict=True):
            some = np.flatnonzero(rows)
            if len(some):
                one.locate(self.inside, some, np.zeros(len(some)), found)
        while True:
            theta = np.stack([found.theta for found in self.located])
            theta[:, self.cutter >= 0] = np.inf
            first = theta.min(axis=0)
            going = np.flatnonzero(np.isfinite(first))
            if not len(going):
                return
            # an event before a switch at the same place; of several of a kind the first in time, then in their order
            events = np.where((theta <= first + _SAME_PLACE) & self._are_events, theta, np.inf)
            chosen = np.argmin(np.where(np.isfinite(events).any(axis=0), events, theta), axis=0)
            for k in range(len(self.watches)):
                rows = going[chosen[going] == k]
                if len(rows):
                    self._fire(k, rows)

    @property
    def _are_events(self) -> Any:
        """Which watches are events, (w, 1); the others are transitions."""
        return np.array([one.index is not None for one in self.watches])[:, None]

    def _fire(self, k: int, rows: Rows) -> None:
        """Have a watch fire in some rows: note, and cut or look for what comes next."""
        one, found = self.watches[k], self.located[k]
        theta = found.theta[rows]
        self._enter(k, rows)
        cuts = np.full(len(rows), one.transition is not None) | (one.left[self.inside.ids[rows]] <= 0)
        self.cutter[rows[cuts]], self.theta[rows[cuts]] = k, theta[cuts]
        for j, other in enumerate(self.watches):  # other events at the same place have happened too
            if j != k and other.index is not None:
                beside = rows[cuts][self.located[j].theta[rows[cuts]] <= theta[cuts] + _SAME_PLACE]
                if len(beside):
                    self._enter(j, beside)
        on = rows[~cuts]
        found.theta[on] = np.inf
        if len(on):
            one.locate(self.inside, on, theta[~cuts], found)
            again = on[found.theta[on] <= theta[~cuts] + 4 * EPS]
            found.theta[again] = np.inf  # what has just fired

    def _enter(self, k: int, rows: Rows) -> None:
        one, found = self.watches[k], self.located[k]
        self.fired_at[k, rows] = found.theta[rows]
        one.decree(self.inside.ids[rows], found.residual[rows], found.touched[rows])
        if one.index is not None:
            self.note(one, self.inside.ids[rows], found.part.take(rows))

    # --- afterwards -----------------------------------------------------------------------------------------------------------
    def part(self, rows: Rows) -> Part:
        """Return the partial steps to where the steps of some rows are cut."""
        part: Part | None = None
        for k in np.unique(self.cutter[rows]):
            mine = np.flatnonzero(self.cutter[rows] == k)
            own = self.located[k].part.take(rows[mine])
            if part is None:
                part = own if len(mine) == len(rows) else self.located[k].part.take(rows)
            if part is not own:
                part.put(mine, own)
        if part is None:
            raise TypeError("no row is cut")
        return part

    def settle(self, rows: Rows, part: Part) -> None:
        """Take the sides of all guards where the steps of some rows are cut.

        An event whose guard has come to the other side there, although it was located later, happens there: two locations of the same root
        differ by what corrections leave. A transition's waits, if an event ends the run.
        """
        for k in sorted(range(len(self.watches)), key=lambda k: self.watches[k].index is None):  # events first
            one, mine = self.watches[k], self.active[k][rows]
            rested = one.rested[self.inside.ids[rows]] & (self.theta[rows] <= _JUST_FIRED)
            fired = rested | (self.theta[rows] - self.fired_at[k, rows] <= _JUST_FIRED)
            there = rows[mine & fired]
            if len(there):
                one.stand(self.inside.ids[there], self.located[k].residual[there])
            some = np.flatnonzero(mine & ~fired)
            if len(some):
                self._settle(k, rows[some], part.take(some))

    def _settle(self, k: int, rows: Rows, part: Part) -> None:
        one, ids = self.watches[k], self.inside.ids[rows]
        motion, knot = self.inside.knots(part, rows)
        crossed, values = one.crossed(motion, knot, ids)
        if one.index is not None and crossed.any():
            some = np.flatnonzero(crossed)
            now = values[some]
            one.decree(ids[some], now, np.zeros(len(some), dtype=bool))
            self.note(one, ids[some], part.take(some))
            one.stand(ids[some], now)
            self._end(k, rows[some[one.left[ids[some]] <= 0]])
        elif one.index is None:
            crossed &= np.array([self.watches[c].index is not None for c in self.cutter[rows]])
            waits = np.flatnonzero(crossed)
            if len(waits):
                one.wait(self._of(part, rows, waits)[1], ids[waits])
        else:
            crossed = np.zeros(len(rows), dtype=bool)
        others = np.flatnonzero(~crossed)
        if len(others):
            one.settle(*self._of(part, rows, others), ids[others])

    def _end(self, k: int, rows: Rows) -> None:
        """Have an event end the run in rows that were cut at the same place; a transition that was has not fired then."""
        for c in np.unique(self.cutter[rows]):
            other = self.watches[c]
            if other.index is None:
                mine = rows[self.cutter[rows] == c]
                other.revoke(self.inside.ids[mine], self.located[c].touched[mine])
                self.fired_at[c, mine] = -np.inf
                self.cutter[mine] = k

    def _of(self, part: Part, rows: Rows, some: Rows) -> tuple[Any, Any]:
        return self.inside.knots(part.take(some), rows[some])

    def passed(self, rows: Rows) -> None:
        """Take the sides of all guards at the end of the steps of some rows, which nothing cuts."""
        part = None
        for one, active in zip(self.watches, self.active, strict=True):
            some = rows[active[rows]]
            if len(some):
                part = self.inside.end() if part is None else part
                motion, knot = self.inside.knots(part.take(some), some)
                one.passed(motion, knot, self.inside.ids[some])
