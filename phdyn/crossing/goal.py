"""A loss goal: a sublevel set that can be entered and left within one step.

What the ends of a step tell of its inside is in :mod:`phdyn.crossing.turning`; here V is minimised there, and its crossings are located.
A step that begins and ends below the goal may likewise rise above it inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from phdyn.crossing.turning import DOUBT, crested, may_dip, may_rise, might_turn, unresolved
from phdyn.crossing.watch import ONE, Watch, signs
from phdyn.errors import ArgumentError
from phdyn.events import LossGoal
from phdyn.inside import Inside, Part
from phdyn.location import Located, cubic_root, refine
from phdyn.methods.stepping import Step
from phdyn.motion import Knot, Motion
from phdyn.search import Floats, Known, Rows, lowest_inside, minima, roots

_SAMPLES = 3
"""Values on the path before polynomials are trusted, where the ends of a step do not explain it."""

_CLOSE = 1e-6
"""A residual beyond this share of the goal, at a crossing that the step's ends bracket, is no touch."""

_MOST = 0.4
"""Share of rows above which it is cheaper to test all than to take those that are watched."""

_SHALLOW = 0.05
"""Share of a dip's depth by which an interpolant's minimum may miss that of the method's own path."""

_NEARBY, _FOUND, _NUDGE = 0.1, 0.02, 1e-3
"""Shares of a step: within which the minimum of the own path is taken to lie, at the end to be found, and by which to go on otherwise."""

_GRAZE, _ROUNDING = 1e-3, 1e-9
"""A dip that reaches the goal on the interpolant, and on the own path to this share of the goal (or of its depth), is a touch."""

_NEARER = 1e-6
"""An approach is closer than the one before if it is so by this share."""


class GoalWatch(Watch):
    """The watch of a LossGoal: V, dV/dt and a bound are free at both ends of a step.

    Attributes
    ----------
    level : (count,) array
        The goal of each trajectory.
    dip, dip_time : (count,) arrays
        The minimum of V found inside the step that is looked into.
    """

    event: LossGoal
    MEMORY = (*Watch.MEMORY, "level")

    def __init__(self, event: LossGoal, motion: Motion, reference: Any, *, count: int = 1, **place: Any) -> None:
        if not motion.has_energy:
            raise ArgumentError(f"{event} watches a potential, and a plain fun(t, x) has none: write an event(t, x)")
        if motion.apart:
            remedy = "Guard(lambda point: point.potential - value, direction=-1)"
            raise ArgumentError(f"{event} would watch the energy of {motion.system!r}, which is more than the loss: use {remedy}")
        super().__init__(event, motion, count=count, **place)
        self.level = np.array(np.broadcast_to(event.level(reference), (count,)), dtype=np.float64)
        self.closest = np.array(np.broadcast_to(reference, (count,)), dtype=np.float64)
        self.dip, self.dip_time = np.full(count, np.nan), np.full(count, np.nan)
        self.heading = 1.0
        self.changed()

    def changed(self) -> None:
        """See Watch: a single run's numbers, which are looked at in each step, are kept as such."""
        if len(self.level) == 1:
            self.goal, self.above, self.near = float(self.level[0]), int(self.side[0]), float(self.closest[0])

    def rebase(self, reference: Any, ids: Rows) -> None:
        """Refer to another loss from now on, if it lies above the floor: below, nothing is left to be reduced."""
        reference = np.atleast_1d(reference)
        higher = reference > np.broadcast_to(self.event.floor, self.level.shape)[ids]
        if higher.any():
            some = ids[higher]
            self.level[some] = self.event.of(some).level(reference[higher])
        self.changed()

    # --- what it remembers ----------------------------------------------------------------------------------------------------
    def value(self, motion: Motion, knot: Knot, ids: Rows) -> Floats:
        """Return V above the goal."""
        return knot.V - self.level[ids]

    def start(self, motion: Motion, knot: Knot, ids: Rows) -> None:
        """See Watch."""
        self.side[ids] = 0
        super().start(motion, knot, ids)
        self.closest[ids], self.closest_time[ids] = knot.V, knot.t
        self.changed()

    def settle(self, motion: Motion, knot: Knot, ids: Rows) -> None:
        """See Watch; what is at the goal to rounding keeps its side."""
        value = np.atleast_1d(self.value(motion, knot, ids))
        sign = np.where((np.abs(value) <= self.rounding(ids)) & (self.side[ids] != 0), self.side[ids], signs(value))
        self.last[ids] = sign
        self.side[ids] = np.where(sign != 0, sign, self.side[ids])
        self.withdraw(knot.t, ids)
        passed = self.heading * (self.dip_time[ids] - knot.t) <= 0
        self._approach(np.where(passed, self.dip[ids], np.inf), self.dip_time[ids], ids)
        self.dip_time[ids] = np.nan
        self._approach(knot.V, knot.t, ids)

    def wait(self, knot: Knot, ids: Rows) -> None:
        """See Watch; it was approached as closely as can be."""
        self.withdraw(knot.t, ids)
        self._approach(knot.V, knot.t, ids)

    def decree(self, ids: Rows, residual: Floats, touched: Any) -> None:
        """See Watch."""
        super().decree(ids, residual, touched)
        self.changed()

    def hold(self, ids: Rows, side: Any) -> None:
        """See Watch."""
        super().hold(ids, side)
        self.changed()

    def recall(self, remembered: Any) -> None:
        """See Watch."""
        super().recall(remembered)
        self.level[:] = remembered.level
        self.changed()

    def _approach(self, height: Any, t: Any, ids: Any) -> None:
        closest = self.closest[ids]
        nearer = height < closest - _NEARER * np.abs(closest)
        self.closest[ids] = np.where(nearer, height, closest)
        self.closest_time[ids] = np.where(nearer, t, self.closest_time[ids])
        self.changed()

    def _note(self, height: Any, t: Any, ids: Rows) -> None:
        """Note the end of a step, which may be cut before."""
        self.earlier[ids], self.earlier_time[ids] = self.closest[ids], self.closest_time[ids]
        self._approach(height, t, ids)

    def _note_one(self, height: float, t: float) -> None:
        """Do the same in a single run, whose steps cost little."""
        if height < self.near - _NEARER * abs(self.near):
            self.earlier[0], self.earlier_time[0] = self.near, self.closest_time[0]
            self.closest[0], self.closest_time[0], self.near = height, t, height

    # --- for refine -----------------------------------------------------------------------------------------------------------
    def rounding(self, ids: Rows) -> Floats:
        """See Watch; V has the precision of the run."""
        return 4 * self.motion.vectors.eps * np.abs(self.level[ids])

    def residual(self, inside: Inside, part: Part, rows: Rows) -> Floats:
        """See Watch; V is known at the ends of partial steps."""
        return part.V - self.level[inside.ids[rows]]

    def rate(self, inside: Inside, part: Part, rows: Rows, slope: Any) -> tuple[Floats, Floats, Any]:
        """See Watch; dV/dt is free (where a step of the own path is to come, along that path), and its change that of a parabola.

        The parabola is through what it is at both ends and here.
        """
        h, s = inside.h[rows], part.t - inside.t0[rows]
        d, d0, d1 = part.d, inside.d0[rows], inside.d1[rows]
        if inside.own_track:
            far = np.abs(self.residual(inside, part, rows)) > self.short(inside) * np.abs(h * d)
            if far.any():
                d, d1 = np.where(far, inside.slope(part, rows), d), np.where(far, inside.end_slope(rows), d1)
        with np.errstate(divide="ignore", invalid="ignore"):
            left, right = (d - d0) / s, (d1 - d) / (h - s)
            bend = left + (right - left) * s / h
        bend = np.where(np.isfinite(bend), bend, 0.0)
        return d, bend, d * np.sign(h) >= 0

    def short(self, inside: Inside) -> float:
        """See Watch; a method of one stage pays as little for a partial step, which does not leave its own path."""
        return 1e-3 if inside.own_track else super().short(inside)

    def corrections(self, inside: Inside) -> int:
        """See Watch; a method of one stage has spent one on the start of its step."""
        return 2 if inside.own_track else 3

    def heights(self, inside: Inside, theta: Floats, rows: Rows) -> Floats:
        """Return V above the goal on the path."""
        return inside.heights(theta, rows) - self.level[inside.ids[rows]]

    # --- detection ------------------------------------------------------------------------------------------------------------
    def suspects(self, step: Step) -> bool:
        """See Watch."""
        height = step.V1
        if height < self.near:
            self._note_one(float(height), step.t1)
        if self.above > 0:
            return bool(height <= self.goal) or bool(may_dip(step, self.goal))
        if self.above < 0 and height <= self.goal and may_rise(step, self.goal):
            return True
        if height != self.goal and (height > self.goal) != (self.above > 0):
            self.hold(ONE, 1 if height > self.goal else -1)
        return False

    def suspected(self, step: Step, ids: Any, active: Any) -> Any:
        """See Watch; a test that few rows pass is made before one that costs more, and all rows are tested where taking some costs more."""
        share = 1.0 if active is None else np.count_nonzero(active) / len(active)
        if share > _MOST:
            mine = np.arange(len(self.level)) if isinstance(ids, slice) else ids
            return self._suspected(step, mine, ids, None if share == 1.0 else active)
        places = np.flatnonzero(active)
        suspect = np.zeros(len(active), dtype=bool)
        mine = places if isinstance(ids, slice) else ids[places]
        suspect[places] = self._suspected(step.ends(places), mine, mine, None)
        return suspect

    def _suspected(self, step: Step, mine: Rows, ids: Any, active: Any) -> Any:
        """Return what is suspected of the trajectories that are watched, all of them where ``active`` is None."""
        level, side, height = self.level[ids], self.side[ids], step.V1
        if active is not None:
            side = side * active  # what is not watched is on neither side
        suspect = height <= level
        above = side > 0
        turning = above & ~suspect & might_turn(step)
        suspect &= above
        if turning.any():
            some = np.flatnonzero(turning)
            suspect[some] = may_dip(step.ends(some), level[some])
        beyond = ~above
        if beyond.any():
            below = np.flatnonzero(beyond & (side < 0) & (height <= level))
            if len(below):
                suspect[below] = may_rise(step.ends(below), level[below])
            beyond &= ~suspect & (height != level) & ((height > level) | (side == 0))
            moved = np.flatnonzero(beyond if active is None else beyond & active)
            self.hold(mine[moved], np.where(height[moved] > level[moved], 1, -1))
        nearer = height < self.closest[ids]
        nearer = np.flatnonzero(nearer if active is None else nearer & active)
        if len(nearer) == len(height):
            self._note(height, step.t1, ids)
        elif len(nearer):
            self._note(height[nearer], step.t1 if np.ndim(step.t1) == 0 else step.t1[nearer], mine[nearer])
        return suspect

    # --- location -------------------------------------------------------------------------------------------------------------
    def locate(self, inside: Inside, rows: Rows, after: Floats, located: Located) -> None:
        """See Watch; an end crossing costs no value of V, a dip a few."""
        ids = inside.ids[rows]
        level, side = self.level[ids], self.side[ids]
        f0, f1 = inside.V0[rows] - level, inside.V1[rows] - level
        ends = (side > 0) & (f0 > 0) & (f1 <= 0) & (after == 0)
        if ends.any():
            self._locate_ends(inside, rows[ends], f0[ends], f1[ends], located)
        dips = (side > 0) & ~ends
        if dips.any():
            self._locate_dips(inside, rows[dips], after[dips], located)
        humps = (side < 0) & (f1 <= 0) & (after == 0)  # what has fallen inside the step does not rise and fall again in it
        if humps.any():
            self._locate_humps(inside, rows[humps], after[humps], located)

    def _locate_ends(self, inside: Inside, rows: Rows, f0: Floats, f1: Floats, located: Located) -> None:
        """Locate where V falls to the goal between the ends."""
        h = inside.h[rows]
        theta = cubic_root(f0, f1, h * inside.d0[rows], h * inside.end_slope(rows))
        theta, part, g = refine(self, inside, rows, theta, np.zeros(len(rows)))
        far = np.flatnonzero(np.abs(g) > _CLOSE * np.abs(self.level[inside.ids[rows]]))
        if len(far):
            theta[far], own, g[far] = self._on_own_steps(inside, rows[far])
            part.put(far, own)
        located.enter(rows, theta, part, g, np.abs(g) > self.rounding(inside.ids[rows]))

    def _on_own_steps(self, inside: Inside, rows: Rows) -> tuple[Floats, Part, Floats]:
        """Locate end crossings at which corrections met a minimum of V on the way: by bracketing on the method's own partial steps.

        It happens where a method of low order takes so coarse a step that its partial steps and the cubic disagree.
        """

        def above(theta: Floats, some: Rows) -> Floats:
            if inside.own_track:  # the same place, for a value of V
                return self.heights(inside, theta, rows[some])
            return self.residual(inside, inside.until(theta, rows[some]), rows[some])

        level = self.level[inside.ids[rows]]
        theta = roots(above, np.zeros(len(rows)), np.ones(len(rows)), inside.V0[rows] - level, inside.V1[rows] - level)
        return theta, *self.there(inside, rows, theta)

    def _locate_dips(self, inside: Inside, rows: Rows, after: Floats, located: Located) -> None:
        """Locate where V falls to the goal at or before a minimum inside."""

        def above(theta: Floats, some: Rows) -> Floats:
            return self.heights(inside, theta, rows[some])

        theta, height = self._extremum(inside, rows, after, above, 1.0)
        ids = inside.ids[rows]
        deep = height <= 0
        self.heading = float(np.sign(inside.h[0]))
        some = self._shallow(inside, rows, after, theta, height, above)
        if len(some):
            hit, first, place, lowest, sure = self._on_own_path(inside, rows[some], after[some], theta[some], height[some])
            some, hit, first = some[sure], hit[sure], first[sure]
            theta[some], height[some], deep[some] = place[sure], lowest[sure], False
            self._enter(inside, rows[some[hit]], first[hit], after[some[hit]], located)
        self.dip[ids], self.dip_time[ids] = height + self.level[ids], inside.t0[rows] + theta * inside.h[rows]
        hit = np.flatnonzero(deep)
        if len(hit):
            self._enter_roots(inside, rows[hit], after[hit], theta[hit], height[hit], located)

    def _shallow(self, inside: Inside, rows: Rows, after: Floats, theta: Floats, height: Floats, above: Any) -> Rows:
        """Return the dips whose minima the interpolant puts too near the goal to tell; the search goes on there to the minimum."""
        if not inside.has_split or inside.own_track:
            return np.empty(0, dtype=np.intp)
        far = _SHALLOW * (np.minimum(inside.V0[rows], inside.V1[rows]) - self.level[inside.ids[rows]] - height)
        near = np.flatnonzero(np.abs(height) <= far)
        below = near[height[near] <= 0]
        if len(below):
            left, right = np.maximum(theta[below] - 0.25, after[below]), np.minimum(theta[below] + 0.25, 1.0)

            def there(places: Floats, which: Rows) -> Floats:
                return above(places, below[which])  # type: ignore[no-any-return]

            place, lowest = minima(there, left, right, theta[below], xtol=1e-4, enough=-far[below], most=12)
            kept = lowest > -far[below]
            theta[below[kept]], height[below[kept]] = place[kept], lowest[kept]
            near = np.setdiff1d(near, below[~kept])
        return near

    def _on_own_path(
        self, inside: Inside, rows: Rows, after: Floats, theta: Floats, height: Floats
    ) -> tuple[Any, Floats, Floats, Floats, Any]:
        """Look for the minima of V on the method's own path, where the interpolant's are too near the goal to tell: three partial steps.

        Returns
        -------
        hit, first, theta, height, sure
            Which rows reach the goal (``_GRAZE``), about where they do so first, where the minima are and how high, and whether they were
            found.
        """
        h, level = inside.h[rows], self.level[inside.ids[rows]]
        place, lowest, turn = np.array(theta), np.full(len(rows), np.inf), height
        before: Part | None = None
        with np.errstate(divide="ignore", invalid="ignore"):
            for _ in range(3):
                part = inside.until(place, rows)
                g = self.residual(inside, part, rows)
                bend = self.rate(inside, part, rows, None)[1] if before is None else (part.d - before.d) / (part.t - before.t)
                way = -part.d / (bend * h)
                good = (bend > 0) & (np.abs(way) < _NEARBY)
                lowest, turn = np.minimum(lowest, g), np.where(good, g - 0.5 * part.d**2 / bend, np.inf)
                place, before = np.clip(np.where(good, place + way, place + _NUDGE), np.maximum(after, _NUDGE), 1.0 - _NUDGE), part
            lowest = np.minimum(lowest, turn)  # of the last step alone, which is near the minimum
            back = np.sqrt(np.maximum(-2 * lowest / bend, 0.0)) / np.abs(h)
        depth = np.minimum(inside.V0[rows], inside.V1[rows]) - level - lowest
        grazes = (height <= 0) & (lowest <= np.maximum(_GRAZE * np.abs(level), _ROUNDING * depth))
        first = np.maximum(np.where(np.isfinite(back), place - back, place), after)
        return (lowest <= 0) | grazes, first, place, lowest, good & (np.abs(way) < _FOUND)

    def _locate_humps(self, inside: Inside, rows: Rows, after: Floats, located: Located) -> None:
        """Locate where V falls to the goal after it has risen above it inside."""

        def below(theta: Floats, some: Rows) -> Floats:
            return -self.heights(inside, theta, rows[some])

        theta, depth = self._extremum(inside, rows, after, below, -1.0)
        hit = np.flatnonzero(depth < 0)
        if not len(hit):
            return
        self.hold(inside.ids[rows[hit]], 1)
        end = inside.V1[rows[hit]] - self.level[inside.ids[rows[hit]]]
        self._enter_roots(inside, rows[hit], theta[hit], np.ones(len(hit)), end, located, f_low=-depth[hit])

    def _extremum(self, inside: Inside, rows: Rows, after: Floats, function: Any, sign: float) -> tuple[Floats, Floats]:
        """Return where ``sign`` times V above the goal is lowest inside, and how low."""
        h = inside.h[rows]
        level = self.level[inside.ids[rows]]
        fall0, fall1 = h * inside.d0[rows], h * inside.end_slope(rows)
        theta, height = np.empty(len(rows)), np.empty(len(rows))
        change = inside.V1[rows] - inside.V0[rows]
        samples = np.where(unresolved(fall0, fall1, change, DOUBT), 1, 0)
        samples[unresolved(fall0, fall1, change) | crested(sign, fall0, fall1)] = _SAMPLES
        for count in np.unique(samples).tolist():
            some = np.flatnonzero(samples == count)

            def looked(places: Floats, which: Rows, some: Rows = some) -> Floats:
                return function(places, some[which])  # type: ignore[no-any-return]

            ends = (inside.V0[rows] - level, inside.V1[rows] - level, fall0, fall1)
            known = Known(*(sign * end[some] for end in ends))
            theta[some], height[some] = lowest_inside(looked, known, after[some], count)
        return theta, height

    def _enter_roots(
        self, inside: Inside, rows: Rows, low: Floats, high: Floats, f_high: Floats, located: Located, *, f_low: Floats | None = None
    ) -> None:
        """Enter the roots between places above the goal and places at or below it."""
        if f_low is None:
            f_low = inside.V0[rows] - self.level[inside.ids[rows]]
            later = np.flatnonzero(low > 0)
            if len(later):
                f_low[later] = self.heights(inside, low[later], rows[later])
        theta = np.array(high)
        apart = np.flatnonzero((f_low > 0) & (f_high < 0))
        if len(apart):

            def above(places: Floats, some: Rows) -> Floats:
                return self.heights(inside, places, rows[apart[some]])

            theta[apart] = roots(above, low[apart], high[apart], f_low[apart], f_high[apart], 1e-10)
        theta[f_low <= 0] = low[f_low <= 0]
        self._enter(inside, rows, theta, low, located)

    def _enter(self, inside: Inside, rows: Rows, theta: Floats, after: Floats, located: Located) -> None:
        """Enter the roots at estimated places."""
        if not len(rows):
            return
        theta, part, g = refine(self, inside, rows, theta, after)
        located.enter(rows, theta, part, g, np.abs(g) > self.rounding(inside.ids[rows]))
