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
from phdyn.search import Floats, Rows


class StagnationWatch(Watch):
    """The watch of a Stagnation: its memory is the lowest V and when that was reached, at step ends."""

    event: Stagnation

    def start(self, motion: Motion, knot: Knot, ids: Rows) -> None:
        """See Watch; the clock starts."""
        self.side[ids] = self.last[ids] = 1
        self.closest[ids], self.closest_time[ids] = knot.V, knot.t

    def settle(self, motion: Motion, knot: Knot, ids: Rows) -> None:
        """See Watch."""
        self._progress(np.atleast_1d(knot.V), knot.t, ids)

    def hold(self, ids: Rows, side: Any) -> None:
        """See Watch; there are no sides."""

    def crossed(self, motion: Motion, knot: Knot, ids: Rows) -> Any:
        """See Watch; its time is known."""
        return np.zeros(len(ids), dtype=bool)

    def _progress(self, V: Any, t: Any, ids: Any) -> Any:  # noqa: N803
        """Note where V has fallen; say where it has."""
        lowest = self.closest[ids]
        fallen = lowest - self.event.tolerance * np.abs(lowest) > V
        self.closest[ids] = np.where(fallen, V, lowest)
        self.closest_time[ids] = np.where(fallen, t, self.closest_time[ids])
        return fallen

    def decree(self, ids: Rows, residual: Floats, touched: Any) -> None:
        """See Watch; the clock starts anew."""
        self.fired[ids] += 1
        self.left[ids] -= 1

    def suspected(self, step: Step, ids: Any, active: Any) -> Any:
        """See Watch."""
        if active is not None and not active.all():
            places = np.flatnonzero(active)
            mine = places if isinstance(ids, slice) else ids[places]
            due = np.zeros(len(active), dtype=bool)
            t1 = step.t1 if np.ndim(step.t1) == 0 else step.t1[places]
            fallen = self._progress(np.asarray(step.V1)[places], t1, mine)
            due[places] = ~fallen & (np.abs(t1 - self.closest_time[mine]) >= self.event.patience)
            return due
        fallen = self._progress(np.atleast_1d(step.V1), step.t1, ids)
        return ~fallen & (np.abs(step.t1 - self.closest_time[ids]) >= self.event.patience)

    def locate(self, inside: Inside, rows: Rows, after: Floats, located: Located) -> None:
        """See Watch; the time is known, the state there is that of the method's own partial step."""
        h, t0, ids = inside.h[rows], inside.t0[rows], inside.ids[rows]
        theta = (self.closest_time[ids] + np.copysign(self.event.patience, h) - t0) / h
        there = (theta > after) & (theta <= 1.0)
        at_end = np.flatnonzero(there & (theta == 1.0))
        within = np.flatnonzero(there & (theta < 1.0))
        self.closest_time[ids[there]] = (t0 + theta * h)[there]
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

    def crossed(self, motion: Motion, knot: Knot, ids: Rows) -> Any:
        """See Watch; it fires at step ends alone."""
        return np.zeros(len(ids), dtype=bool)

    def suspected(self, step: Step, ids: Any, active: Any) -> Any:
        """See Watch."""
        due = (self.side[ids] > 0) & (self._spent(ids) >= self.event.nfev)
        return due if active is None else due & active

    def locate(self, inside: Inside, rows: Rows, after: Floats, located: Located) -> None:
        """See Watch."""
        due = rows[(self.side[inside.ids[rows]] > 0) & (after < 1.0)]
        if len(due):
            located.enter(due, np.ones(len(due)), inside.end().take(due), np.zeros(len(due)), False)
