"""Guards that are black boxes: a Guard, or scipy's ``event(t, x)``, probed at step ends and on the path inside.

A change of sign at the ends is a crossing; the path is sampled for the first. Where the sign is the same at both ends, the guard may have
touched zero or crossed it twice. Where it is nearer to zero than three times what it changes in a step, its slopes at the ends tell if
it may turn inside; there the path is sampled too, and the guard followed to where it turns between samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from phdyn.crossing.samples import Found, scan, turns
from phdyn.crossing.turning import unresolved
from phdyn.crossing.watch import Watch, signs
from phdyn.errors import ArgumentError
from phdyn.events import Event, Guard
from phdyn.inside import Inside
from phdyn.location import Located, refine
from phdyn.methods.stepping import Step
from phdyn.motion import Halt, Knot, Motion
from phdyn.point import Point
from phdyn.search import EPS, Floats, Rows, minima, roots

_SOON = 1e-3
"""The fraction of a step after which a guard that was zero shows its side."""

_SHARES = np.array([0.0, 1 / 512, 1 / 64, *(np.arange(1, 16) / 16), 63 / 64, 511 / 512, 1.0])
"""Where a guard is sampled on the path: closer at the ends, where fewer neighbours tell of a turn."""

_FEW = np.linspace(0.0, 1.0, 9)
"""Where it is sampled if each look costs an evaluation."""

_NEAR = 3
"""A guard that is farther from zero than this many times what it changes in a step is not looked at inside."""

_SLOPE = 1e-4
"""The fraction of a step over which slopes are taken."""

_MULTIPLE = 1e-3
"""A root at which the slope is less than this share of that around it is a multiple one."""

_AWAY = 1e5
"""Beside a touch a guard is farther from zero than this many times its rounding; nearer, it may be a multiple root."""

_WIDE = 2e-5
"""A guard of the other sign over this share of a step on both sides has crossed zero, however little."""

_APART = 1e-6
"""Roots of one guard closer than this share of a step are one."""

_CONFIRMED = 1e-6
"""A root on the path is one of the method's own steps where corrections leave no more than this share of the guard around it."""


class GuardWatch(Watch):
    """The watch of a Guard or of scipy's ``event(t, x)``.

    Attributes
    ----------
    now, pace : (count,) arrays
        The guard at the last probe, and how much it changed in steps lately: the largest, halved with each step since.
    coming : (count,) int array
        The side on which it is before its next event in the step.
    touch : (count,) array
        When it was last touched without being crossed.
    """

    MEMORY = (*Watch.MEMORY, "now", "before", "pace", "touch", "coming")

    def __init__(self, event: Event, motion: Motion, *, count: int = 1, **place: Any) -> None:
        super().__init__(event, motion, count=count, **place)
        self.ours = isinstance(event, Guard)
        self.now, self.touch = np.zeros(count), np.full(count, np.nan)
        self.before, self.pace = np.zeros(count), np.full(count, np.nan)
        self.coming = np.zeros(count, dtype=np.int8)
        self.costly = False

    # --- the guard ------------------------------------------------------------------------------------------------------------
    def _call(self, motion: Motion, t: Any, x: Any, known: Knot | None, places: Any = None) -> Any:
        """Return the guard at a state of a single run, or (k,) at those of some rows; elsewhere than at ``places`` it may be nan."""
        if motion.ids is None:
            number = self._ask(motion, t, x, known) if self.ours else self.event(t, motion.vectors.numpy(x))
            g = self._number(motion, number, t)
            if g != g:
                raise Halt(-2, f"event '{self.name}' is nan at t = {t:.6g}")
            return g
        if self.ours:
            values = self._numbers(self._ask(motion, t, x, known), len(motion.ids))
        else:
            states, times = np.ascontiguousarray(motion.vectors.numpy(x)), np.broadcast_to(t, (len(motion.ids),)).tolist()
            values = np.array([self._number(motion, self.event(*each), each[0]) for each in zip(times, states, strict=True)])
        bad = np.flatnonzero(np.isnan(values))
        if places is not None and len(bad):
            bad = np.intersect1d(bad, places)
        if len(bad):
            when = float(np.broadcast_to(t, values.shape)[bad[0]])
            raise Halt(-2, f"event '{self.name}' is nan at t = {when:.6g}", motion.ids[bad])
        return values

    def _ask(self, motion: Motion, t: Any, x: Any, known: Knot | None) -> Any:
        """Return what a Guard says of a state, and note whether it needs V or its gradient, which cost an evaluation on the path."""
        point = Point(motion, t, x, known)
        answer = self.event.function(point)
        self.costly |= point.evaluated
        return answer

    def _number(self, motion: Motion, number: Any, t: float) -> float:
        try:
            return float(number)
        except (TypeError, ValueError) as error:
            raise ArgumentError(
                f"event '{self.name}' returned {'None' if number is None else f'shape {np.shape(number)}'} at t = {t:g}: return one number;"
                f" q is x[:{motion.dim}], p is x[{motion.dim}:]"
            ) from error

    def _numbers(self, answer: Any, count: int) -> Floats:
        values = np.asarray(answer.detach().cpu() if hasattr(answer, "detach") else answer, dtype=np.float64)
        if values.shape not in ((), (count,)):
            raise ArgumentError(
                f"Guard '{self.name}' returned shape {values.shape} for {count} trajectories: one number each, as in point.q[..., 0]"
            )
        return np.array(np.broadcast_to(values, (count,)))

    def value(self, motion: Motion, knot: Knot, ids: Rows) -> Floats:
        """Return the guard."""
        return np.asarray(self._call(motion, knot.t, knot.x, knot if knot.g is not None else None))

    # --- what it remembers ----------------------------------------------------------------------------------------------------
    def settle(self, motion: Motion, knot: Knot, ids: Rows) -> None:
        """See Watch."""
        values = np.atleast_1d(self.value(motion, knot, ids))
        sign = signs(values)
        self.now[ids], self.last[ids] = values, sign
        self.pace[ids] = np.nan
        self.side[ids] = np.where(sign != 0, sign, self.side[ids])

    def land(self, motion: Motion, knot: Knot, ids: Rows) -> None:
        """See Watch: on which side it has landed shows soon after."""
        self.start(motion, knot, ids)
        self.side[ids] = self.last[ids] = 0

    def decree(self, ids: Rows, residual: Floats, touched: Any) -> None:
        """See Watch; what was only touched keeps its side."""
        self.fired[ids] += 1
        self.left[ids] -= 1
        self.side[ids] = np.where(touched, self.coming[ids], -self.coming[ids])
        self.last[ids], self.before[ids] = 0, residual

    def stand(self, ids: Rows, residual: Floats) -> None:
        """See Watch."""
        self.now[ids], self.last[ids] = residual, 0
        self.pace[ids] = np.nan

    def crossed(self, motion: Motion, knot: Knot, ids: Rows) -> tuple[Any, Floats]:
        """See Watch."""
        self.coming[ids] = self.side[ids]
        return super().crossed(motion, knot, ids)

    def hold(self, ids: Rows, side: Any) -> None:
        """See Watch; it stands at its zero."""
        self.side[ids], self.last[ids] = side, 0

    def passed(self, motion: Motion, knot: Knot, ids: Rows) -> None:
        """See Watch; the guard is known."""
        sign = signs(self.now[ids])
        self.last[ids] = sign
        self.side[ids] = np.where(sign != 0, sign, self.side[ids])

    # --- detection ------------------------------------------------------------------------------------------------------------
    def suspects(self, step: Step) -> bool:
        """See Watch."""
        before, now = float(self.now[0]), self._call(self.motion, step.t1, step.x1, step.end_view() if step.g1 is not None else None)
        change, pace = now - before, float(self.pace[0])
        self.before[0], self.now[0], self.pace[0] = before, now, np.fmax(abs(change), 0.5 * pace)
        self.rested[0] = self.last[0] == 0
        sign, side = (now > 0) - (now < 0), int(self.side[0])
        if sign != side:
            return True
        far = pace == pace and min(abs(before), abs(now)) > _NEAR * self.pace[0]  # most steps
        if not far and may_be_zero(before, now, change, pace, costly=self.costly):
            return True
        self.side[0], self.last[0] = sign or side, sign
        return False

    def suspected(self, step: Step, ids: Any, active: Any) -> Any:
        """See Watch."""
        places = np.arange(len(np.asarray(step.V1))) if active is None else np.flatnonzero(active)
        suspect = np.zeros(len(np.asarray(step.V1)), dtype=bool)
        if not len(places):
            return suspect
        mine = places if isinstance(ids, slice) else ids[places]
        if self.ours or len(places) == len(suspect):
            now = self._call(step.motion, step.t1, step.x1, step.end_view() if step.g1 is not None else None, places)[places]
        else:  # a function is called for those rows alone that are watched
            now = self.value(step.motion.take(places), step.end_view().take(places), mine)
        before = self.now[mine]
        change, pace = now - before, self.pace[mine]
        self.before[mine], self.now[mine], self.pace[mine] = before, now, np.fmax(abs(change), 0.5 * pace)
        self.rested[mine] = self.last[mine] == 0
        sign, side = signs(now), self.side[mine]
        suspect[places] = (sign != side) | may_be_zero(before, now, change, pace, costly=self.costly)
        passed = mine[~suspect[places]]
        self.last[passed] = sign[~suspect[places]]
        return suspect

    # --- location -------------------------------------------------------------------------------------------------------------
    def locate(self, inside: Inside, rows: Rows, after: Floats, located: Located) -> None:
        """See Watch.

        A guard on t, q and p costs nothing on the path: samples find the first of several roots there. One that needs V or its gradient
        costs an evaluation each time; it gets few samples and a rough root, which the method's own partial steps correct (V and the
        gradient are known at their ends).
        """
        looked = np.flatnonzero((after < 1.0 - _APART) & self._worth_a_look(inside, rows, after))
        if not len(looked):
            return
        rows, after = rows[looked], after[looked]
        ids, guard = inside.ids[rows], self._from(inside, rows, after)
        landed = self._take_sides(inside, rows, after)
        places, values = self._samples(inside, rows, after, guard)
        found = scan(places, values, self.side[ids], self.last[ids] == 0, self.allowed)
        self._follow(inside, rows, places, values, found, guard)
        self.coming[ids] = found.side
        crossed = np.flatnonzero(np.isfinite(found.high) & ~found.touched)
        if len(crossed):
            self._enter_crossings(inside, rows, crossed, after, guard, found, np.where(landed, 4 * EPS, _APART), located)
        only = np.flatnonzero(found.touched)
        if len(only):
            self._enter_touches(inside, rows[only], found.high[only], located)

    def _on_path(self, inside: Inside, rows: Rows) -> Any:
        """Return the guard as a function of places in the step, and of which rows; at the ends it is known."""
        ids = inside.ids[rows]

        def guard(theta: Floats, some: Rows) -> Floats:
            values = np.empty(len(some))
            end, start = theta == 1.0, theta == 0.0
            values[end], values[start] = self.now[ids[some[end]]], self.before[ids[some[start]]]
            within = np.flatnonzero(~end & ~start)
            if len(within):
                motion, t, x = inside.states(theta[within], rows[some[within]])
                values[within] = self._call(motion, t, x, None)
            return values

        return guard

    def _from(self, inside: Inside, rows: Rows, after: Floats) -> Any:
        """Return the guard on the path as seen from its last event in the step.

        That lies where the method's own partial step ends, at which the path may not be at zero (a coarse step of a method of order 1): the
        difference is taken off, less and less toward the end of the step, where path and method agree again. A jump is no such difference.
        """
        guard, ids = self._on_path(inside, rows), inside.ids[rows]
        off = np.zeros(len(rows))
        later = np.flatnonzero(after > 0)
        if len(later):
            off[later] = self.before[ids[later]] - guard(after[later], later)
            off[~(np.abs(off) <= 0.5 * np.fmax(np.abs(self.now[ids]), self.pace[ids]))] = 0.0
        if not off.any():
            return guard
        share = off / (1 - after)

        def moved(theta: Floats, some: Rows) -> Floats:
            return guard(theta, some) + share[some] * (1 - theta)  # type: ignore[no-any-return]

        return moved

    def _worth_a_look(self, inside: Inside, rows: Rows, after: Floats) -> Any:
        """Say of each row whether to sample its guard.

        Where it is on its side at both ends of the step, only if it turns by its slopes there, if they do not explain its change, or if it
        starts from zero.
        """
        ids = inside.ids[rows]
        before, now, side = self.before[ids], self.now[ids], self.side[ids]
        worth = (signs(now) != side) | (self.last[ids] == 0) | (after > 0) | (np.abs(before) <= 1e-12 * np.abs(now))
        plain = np.flatnonzero(~worth)
        if not len(plain):
            return worth
        toward = side[plain]
        soon, late = (np.atleast_1d(self._call(*inside.beside(_SLOPE, rows[plain], end=end), None)) for end in (False, True))
        fall0, fall1 = toward * (soon - before[plain]) / _SLOPE, toward * (now[plain] - late) / _SLOPE
        worth[plain] = ((fall0 <= 0) & (fall1 >= 0)) | unresolved(fall0, fall1, toward * (now - before)[plain])
        return worth

    def _take_sides(self, inside: Inside, rows: Rows, after: Floats) -> Any:
        """Take the sides of guards that start from zero from their rates there; return which these are.

        However soon such a guard comes back to zero, its rate tells on which side it was in between.
        """
        ids = inside.ids[rows]
        landed = (self.side[ids] == 0) & (after == 0)
        some = np.flatnonzero(landed)
        if len(some):
            soon = np.atleast_1d(self._call(*inside.beside(_SLOPE, rows[some], end=False), None))
            self.side[ids[some]] = signs(soon - self.before[ids[some]])
        return landed

    def _samples(self, inside: Inside, rows: Rows, after: Floats, guard: Any) -> tuple[Floats, Floats]:
        """Return places (k, m) from ``after`` to the end of the step, and the guard there; soon after a zero it shows its side."""
        every, ids = np.arange(len(rows)), inside.ids[rows]
        places = after[:, None] + (1 - after)[:, None] * np.insert(_FEW if self.costly else _SHARES, 1, 0.0)
        places[:, -1] = 1.0
        values = np.empty_like(places)
        values[:, 0] = values[:, 1] = self.before[ids]
        values[:, -1] = self.now[ids]
        resting = np.flatnonzero(self.last[ids] == 0)
        if len(resting):
            places[resting, 1] += _SOON * (1 - after[resting])
            values[resting, 1] = guard(places[resting, 1], resting)
        for k in range(2, places.shape[1] - 1):
            values[:, k] = guard(places[:, k], every)
        return places, values

    def _follow(self, inside: Inside, rows: Rows, places: Floats, values: Floats, found: Found, guard: Any) -> None:
        """Follow the guard where it may turn at zero between samples: to a touch, or to two crossings, of which the first that counts."""
        zero = 64 * EPS * np.abs(np.where(np.isfinite(values), values, 0.0)).max(axis=1)
        some, left, lowest, right = turns(places, values, found, zero)
        if not len(some):
            return
        z_left, z_right, sides = places[some, left], places[some, right], found.sides[some, lowest]
        zero = zero[some]

        def height(theta: Floats, which: Rows) -> Floats:
            size: Floats = sides[which] * guard(theta, some[which])
            return size

        guess = np.clip(places[some, lowest], z_left + 0.1 * (z_right - z_left), z_right - 0.1 * (z_right - z_left))
        theta, f = minima(height, z_left, z_right, guess, xtol=1e-9, enough=-2 * zero, most=12 if self.costly else 60)
        times = inside.t0[rows[some]] + theta * inside.h[rows[some]]
        apart = ~(np.abs(times - self.touch[inside.ids[rows[some]]]) <= _APART * np.abs(inside.h[rows[some]]))
        falling, rising = (np.broadcast_to(np.asarray(self.allowed(sign)), sides.shape) for sign in (-sides, sides))
        begins = (lowest == 1) & ~found.resting[some]  # at the start of the step: its side is that of the step before
        away = ((sides * values[some, left] > _AWAY * zero) | begins) & (sides * values[some, right] > _AWAY * zero)
        wide = np.zeros(len(f), dtype=bool)
        small = np.flatnonzero((f < 0) & (f >= -zero) & (not self.costly))
        if len(small):
            wide[small] = np.maximum(height(theta[small] - _WIDE, small), height(theta[small] + _WIDE, small)) < 0
        touched = (np.abs(f) <= zero) & ~wide & apart & away & falling
        through = ((f < -zero) | wide) & (falling | rising)
        row, c = np.unique(np.where(touched | through, some, -1), return_index=True)
        row, c = row[row >= 0], c[row >= 0]
        later = ~(touched | falling)[c]  # only where it comes back does it count
        found.touched[row], found.from_zero[row] = touched[c], False
        found.side[row] = np.where(later, -sides[c], sides[c])
        found.low[row], found.high[row] = np.where(later, theta[c], z_left[c]), np.where(later, z_right[c], theta[c])
        bottom = (sides * f)[c]
        found.f_low[row] = np.where(later, bottom, values[row, left[c]])
        found.f_high[row] = np.where(later, values[row, right[c]], bottom)

    def _enter_crossings(
        self, inside: Inside, rows: Rows, crossed: Rows, after: Floats, guard: Any, found: Found, apart: Floats, located: Located
    ) -> None:
        """Enter the roots in brackets, where the method's own steps confirm what the path says."""
        low, high, f_low, f_high = (part[crossed] for part in (found.low, found.high, found.f_low, found.f_high))
        zero = np.where(found.from_zero[crossed], low, np.nan)  # the root known there is divided out
        side = found.side[crossed].astype(np.float64)

        def function(theta: Floats, some: Rows) -> Floats:
            g: Floats = guard(theta, crossed[some])
            return np.where(np.isnan(zero[some]), g, g / (theta - zero[some]))

        with np.errstate(divide="ignore", invalid="ignore"):
            f_high = np.where(np.isnan(zero), f_high, f_high / (high - zero))
            f_low = np.where(np.isnan(zero), f_low, side * np.abs(f_high))
        theta = roots(function, low, high, f_low, f_high, 1e-2 if self.costly else 4 * EPS)
        again = theta - zero <= apart[crossed]  # the root divided out: it was a touch
        if again.any():
            touched = rows[crossed[again]]
            self.side[inside.ids[touched]] *= -1
            self.locate(inside, touched, after[crossed[again]], located)
            crossed, theta = crossed[~again], theta[~again]
        if not len(crossed):
            return
        slope, multiple = self._slopes(inside, rows, crossed, theta, guard, found)
        if multiple.any():
            self._enter_multiple(inside, rows, crossed[multiple], after, found, located)
            crossed, theta, slope = crossed[~multiple], theta[~multiple], slope[~multiple]
        if not len(crossed):
            return
        place, part, g = refine(self, inside, rows[crossed], theta, after[crossed], slope)
        around = np.maximum(np.abs(found.f_low), np.abs(found.f_high))[crossed]
        kept = self._confirmed(inside, rows, crossed, after, found, theta, np.abs(g) <= _CONFIRMED * around)
        located.enter(rows[crossed[kept]], place[kept], part.take(kept), g[kept], False)

    def _enter_multiple(self, inside: Inside, rows: Rows, crossed: Rows, after: Floats, found: Found, located: Located) -> None:
        """Enter multiple roots: their slope is zero, so they are bracketed on the method's own partial steps, where those have them.

        Where rounding has narrowed the bracket to places past the root of the own steps, it is widened to all that comes before. A sample
        at zero, on whose both sides the guard has the same sign, was a touch.
        """
        rows, side, since = rows[crossed], found.side[crossed], after[crossed] + _APART
        low, high = np.maximum(found.low[crossed], _APART), found.high[crossed]

        def own(theta: Floats, some: Rows) -> Floats:
            return self.there(inside, rows[some], theta)[1]

        every = np.arange(len(rows))
        f_low, f_high = own(low, every), own(high, every)
        past = np.flatnonzero((signs(f_low) != side) & (signs(f_high) != side) & (low > since))
        if len(past):
            low[past] = since[past]
            f_low[past] = own(low[past], past)
        there = np.flatnonzero((signs(f_low) == side) & (signs(f_high) != side))
        if len(there):
            theta = roots(lambda z, some: own(z, there[some]), low[there], high[there], f_low[there], f_high[there], 1e-10)
            part, g = self.there(inside, rows[there], theta)
            located.enter(rows[there], theta, part, g, False)
        only = np.flatnonzero((signs(f_low) == side) & (signs(f_high) == side) & (np.abs(f_high) <= 64 * EPS * np.abs(f_low)))
        if len(only):
            self._enter_touches(inside, rows[only], high[only], located)

    def _enter_touches(self, inside: Inside, rows: Rows, theta: Floats, located: Located) -> None:
        """Enter touches."""
        part, g = self.there(inside, rows, theta)
        self.touch[inside.ids[rows]] = part.t
        located.enter(rows, theta, part, g, True)

    def _slopes(self, inside: Inside, rows: Rows, crossed: Rows, theta: Floats, guard: Any, found: Found) -> tuple[Floats, Any]:
        """Return the guard's rates at roots, and whether these are multiple.

        Rates are differences on the path, or those of the brackets where each look costs an evaluation.
        """
        h, chord = inside.h[rows[crossed]], (found.f_high - found.f_low)[crossed] / (found.high - found.low)[crossed]
        if self.costly:
            return chord / h, np.zeros(len(crossed), dtype=bool)
        a, b = np.maximum(theta - _SLOPE, 0.0), np.minimum(theta + _SLOPE, 1.0)
        slopes: Floats = (guard(b, crossed) - guard(a, crossed)) / (b - a)
        return slopes / h, np.abs(slopes) < _MULTIPLE * np.abs(chord)

    def _confirmed(
        self, inside: Inside, rows: Rows, crossed: Rows, after: Floats, found: Found, theta: Floats, zero: Any
    ) -> Rows:
        """Return the places of roots that the method's own steps have too.

        They do where corrections led to it (the guard is ``zero``), and where the ends of the step show it. Elsewhere a coarse step's path
        may turn where the method does not: a partial step to beside the root tells. Where it comes right after another in the step, it must
        have been on its side between: of a multiple root path and partial steps may see different places.
        """
        side = found.side[crossed]
        crosses = signs(self.now[inside.ids[rows[crossed]]]) != side
        sure = zero | (crosses & (found.began[crossed] == side) & (after[crossed] == 0))
        kept = np.ones(len(crossed), dtype=bool)
        follows = found.from_zero[crossed] & (after[crossed] > 0)
        between, low, high = 0.5 * (after[crossed] + theta), found.low[crossed], found.high[crossed]
        sure |= follows
        for unsure, place, was in ((follows, between, True), (~sure & crosses, low, True), (~sure & ~crosses, high, False)):
            some = np.flatnonzero(unsure)
            if len(some):
                part = inside.until(np.maximum(place[some], _APART), rows[crossed[some]])
                kept[some] = (signs(self.residual(inside, part, rows[crossed[some]])) == side[some]) == was
        return np.flatnonzero(kept)


def may_be_zero(before: Any, now: Any, change: Any, pace: Any, *, costly: bool) -> Any:
    """Say whether a guard with the same sign at both ends of a step may have been zero inside: whether to look.

    It may where it is nearer to zero than three times what it changes in a step, and where that is not known (not if a look costs an
    evaluation).

    Parameters
    ----------
    before, now : float or (k,) array
        The guard at both ends.
    change : float or (k,) array
        How much it changed in this step.
    pace : float or (k,) array
        How much it changed lately, up to the step before (nan: not known).
    costly : bool
        Whether a look costs an evaluation.
    """
    near = np.minimum(abs(before), abs(now)) <= _NEAR * np.fmax(abs(change), 0.5 * pace)
    return (near | (np.isnan(pace) & (not costly))) & ~((before == 0) & (change == 0) & (pace == 0))
