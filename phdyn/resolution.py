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
from phdyn.search import EPS, Floats, Rows

_SAME_PLACE = 1e-9
"""Fractions of a step closer than this are one place: the location of an event is more exact, its guard is not."""

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
            here = theta <= first + _SAME_PLACE
            # an event before a switch at the same place; of several of a kind the first in time, then in their order
            chosen = np.argmin(np.where(theta == first, np.arange(len(theta))[:, None] + self._late[:, None], np.inf), axis=0)
            for k in range(len(self.watches)):
                rows = going[chosen[going] == k]
                if len(rows):
                    self._fire(k, rows, here)

    @property
    def _late(self) -> Any:
        """What is asked last at the same place: transitions."""
        return np.array([0 if one.index is not None else len(self.watches) for one in self.watches])

    def _fire(self, k: int, rows: Rows, here: Any) -> None:
        """Have a watch fire in some rows: note, and cut or look for what comes next."""
        one, found = self.watches[k], self.located[k]
        theta = found.theta[rows]
        self._enter(k, rows)
        cuts = np.full(len(rows), one.transition is not None) | (one.left[self.inside.ids[rows]] <= 0)
        self._cut(k, rows[cuts], theta[cuts], here)
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

    def _cut(self, k: int, rows: Rows, theta: Floats, here: Any) -> None:
        """Cut the step of some rows; events at the same place have happened too."""
        if not len(rows):
            return
        self.cutter[rows], self.theta[rows] = k, theta
        for j, other in enumerate(self.watches):
            if j != k and other.index is not None:
                beside = rows[here[j, rows] & np.isfinite(self.located[j].theta[rows])]
                if len(beside):
                    self._enter(j, beside)

    # --- afterwards -----------------------------------------------------------------------------------------------------------
    def part(self, rows: Rows) -> Part:
        """Return the partial steps to where the steps of some rows are cut."""
        part: Part | None = None
        for k in np.unique(self.cutter[rows]):
            mine = np.flatnonzero(self.cutter[rows] == k)
            own = self.located[k].part.take(rows[mine])
            if part is None:
                part = own if len(mine) == len(rows) else self.located[k].part.take(rows)
            part.put(mine, own)
        if part is None:
            raise TypeError("no row is cut")
        return part

    def settle(self, rows: Rows, part: Part) -> None:
        """Take the sides of all guards where the steps of some rows are cut.

        What fired at the same place keeps the side set by decree: rounding has left its guard on either side.
        """
        for k, (one, active) in enumerate(zip(self.watches, self.active, strict=True)):
            elsewhere = active[rows] & (self.theta[rows] - self.fired_at[k, rows] > _SAME_PLACE)
            some = np.flatnonzero(elsewhere)
            if len(some):
                motion, knot = self.inside.knots(part.take(some), rows[some])
                one.settle(motion, knot, self.inside.ids[rows[some]])
            there = rows[active[rows] & ~elsewhere]
            if len(there):
                one.stand(self.inside.ids[there], self.located[k].residual[there])

    def passed(self, rows: Rows) -> None:
        """Take the sides of all guards at the end of the steps of some rows, which nothing cuts."""
        part = None
        for one, active in zip(self.watches, self.active, strict=True):
            some = rows[active[rows]]
            if len(some):
                part = self.inside.end() if part is None else part
                motion, knot = self.inside.knots(part.take(some), some)
                one.passed(motion, knot, self.inside.ids[some])
