"""Guards that are black boxes: a Guard, or scipy's ``event(t, x)``, probed at step ends and on the path inside.

A change of sign at the ends is a crossing; the path is sampled for the first. Where the sign is the same at both ends, the guard may have
touched zero or crossed it twice: where its last two differences let it turn inside the step, and it is nearer to zero than twice what it
changes in a step, the path is sampled too, and the smallest sample followed to its minimum.
"""

from __future__ import annotations

from typing import Any

import numpy as np

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

_SAMPLES = 16
"""Samples of a guard on the path."""

_APART = 1e-6
"""Touches closer than this share of a step are one."""


class GuardWatch(Watch):
    """The watch of a Guard or of scipy's ``event(t, x)``.

    Attributes
    ----------
    now, turned : (count,) arrays
        The guard at the last probe, and how much it changed in the step before.
    touch : (count,) array
        When it was last touched without being crossed.
    """

    def __init__(self, event: Event, motion: Motion, *, count: int = 1, **place: Any) -> None:
        super().__init__(event, motion, count=count, **place)
        self.ours = isinstance(event, Guard)
        self.now, self.turned, self.touch = np.zeros(count), np.full(count, np.nan), np.full(count, np.nan)
        self.before = np.zeros(count)
        self.costly = False
        self.probed = np.zeros(count, dtype=bool)

    # --- the guard ------------------------------------------------------------------------------------------------------------
    def _call(self, motion: Motion, t: Any, x: Any, known: Knot | None, places: Any = None) -> Any:
        """Return the guard at a state of a single run, or (k,) at those of some rows; elsewhere than at ``places`` it may be nan."""
        if motion.ids is None:
            number = self.event.function(Point(motion, t, x, known)) if self.ours else self.event(t, motion.vectors.numpy(x))
            g = self._number(motion, number, t)
            if g != g:
                raise Halt(-2, f"event '{self.name}' is nan at t = {t:.6g}")
            return g
        if self.ours:
            values = self._numbers(self.event.function(Point(motion, t, x, known)), len(motion.ids))
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
        self.now[ids], self.last[ids], self.turned[ids] = values, sign, np.nan
        self.side[ids] = np.where(sign != 0, sign, self.side[ids])

    def land(self, motion: Motion, knot: Knot, ids: Rows) -> None:
        """See Watch: on which side it has landed shows soon after."""
        self.start(motion, knot, ids)
        self.side[ids] = self.last[ids] = 0

    def decree(self, ids: Rows, residual: Floats, touched: Any) -> None:
        """See Watch; what was only touched keeps its side."""
        self.fired[ids] += 1
        self.left[ids] -= 1
        side = np.where(touched, self.side[ids], -self.side[ids])
        self.side[ids] = side
        self.last[ids] = np.where((residual == 0) | touched, 0, side)

    def stand(self, ids: Rows, residual: Floats) -> None:
        """See Watch."""
        self.now[ids], self.turned[ids] = residual, np.nan

    def passed(self, motion: Motion, knot: Knot, ids: Rows) -> None:
        """See Watch; the guard is known."""
        sign = signs(self.now[ids])
        self.last[ids] = sign
        self.side[ids] = np.where(sign != 0, sign, self.side[ids])

    # --- detection ------------------------------------------------------------------------------------------------------------
    def suspects(self, step: Step) -> bool:
        """See Watch."""
        before, now = float(self.now[0]), self._call(self.motion, step.t1, step.x1, step.end_view() if step.g1 is not None else None)
        change, turned = now - before, float(self.turned[0])
        self.before[0], self.now[0], self.turned[0] = before, now, change
        sign, side = (now > 0) - (now < 0), int(self.side[0])
        if sign != side:
            return True
        near = min(abs(before), abs(now)) <= 2 * max(abs(change), abs(turned) if turned == turned else 0.0)
        if near and may_turn(before, now, turned, change):
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
        change, turned = now - before, self.turned[mine]
        self.before[mine], self.now[mine], self.turned[mine] = before, now, change
        sign, side = signs(now), self.side[mine]
        suspect[places] = (sign != side) | may_turn(before, now, turned, change)
        passed = mine[~suspect[places]]
        self.last[passed] = sign[~suspect[places]]
        return suspect

    # --- location -------------------------------------------------------------------------------------------------------------
    def locate(self, inside: Inside, rows: Rows, after: Floats, located: Located) -> None:
        """See Watch.

        A guard on t, q and p costs nothing on the path: samples find the first of several roots there. One that needs V or its gradient
        costs an evaluation each time; it gets a rough root, which the method's own partial steps correct (V and the gradient are known at
        their ends).
        """
        after = self._with_sides(inside, rows, after)
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

        low, high, f_low, f_high, touched = self._brackets(inside, rows, after, guard)
        crossed = np.flatnonzero(np.isfinite(high) & ~touched)
        if len(crossed):
            self._enter_crossings(inside, rows, crossed, after, guard, (low, high, f_low, f_high), located)
        only = np.flatnonzero(touched)
        if len(only):
            theta, part, g = self._there(inside, rows[only], high[only])
            self.touch[ids[only]] = part.t
            located.enter(rows[only], theta, part, g, True)

    def _with_sides(self, inside: Inside, rows: Rows, after: Floats) -> Floats:
        """Find out on which side a guard is that was zero at the last probe, which shows soon after; return where to begin looking."""
        ids = inside.ids[rows]
        unsure = np.flatnonzero((self.last[ids] == 0) & (after == 0))
        if not len(unsure):
            return after
        soon = after.copy()
        soon[unsure] += _SOON * (1 - after[unsure])
        motion, t, x = inside.states(soon[unsure], rows[unsure])
        self.side[ids[unsure]] = signs(np.atleast_1d(self._call(motion, t, x, None)))
        return soon

    def _brackets(self, inside: Inside, rows: Rows, after: Floats, guard: Any) -> tuple[Floats, Floats, Floats, Floats, Any]:
        """Return, for each row, the first bracket in which the guard leaves its side in a direction that counts, or a touch."""
        count = len(rows)
        ids = inside.ids[rows]
        side = self.side[ids].astype(np.int8)
        low, high = np.array(after), np.full(count, np.inf)
        f_low, f_high, touched = np.zeros(count), np.zeros(count), np.zeros(count, dtype=bool)
        places, values = self._samples(inside, rows, after, guard)
        open_ = np.ones(count, dtype=bool)
        resting, zeros = (self.last[ids] == 0) & (after > 0) & (side != 0), np.zeros(count, dtype=bool)
        place, f = places[:, 0], values[:, 0]
        for k in range(1, places.shape[1]):
            next_, g = places[:, k], values[:, k]
            sign = signs(g)
            zeros |= resting & (sign == 0)
            leaves = resting & zeros & (sign != 0)
            side[leaves] = sign[leaves]  # it has been zero since it fired, and shows a side again
            resting &= sign == 0
            left = open_ & (sign != side) & ~resting
            counts = left & (side != 0) & np.asarray(self.allowed(-side))
            low[counts], high[counts], f_low[counts], f_high[counts] = place[counts], next_[counts], f[counts], g[counts]
            open_ &= ~counts
            passed = left & ~counts & (sign != 0)
            side[passed] = sign[passed]
            place, f = next_, g
        self.side[ids] = side
        turning = open_ & (side != 0) & np.asarray(self.allowed(-side))
        if turning.any():
            self._follow(inside, rows, np.flatnonzero(turning), places, values, guard, (low, high, f_low, f_high, touched))
        return low, high, f_low, f_high, touched

    def _samples(self, inside: Inside, rows: Rows, after: Floats, guard: Any) -> tuple[Floats, Floats]:
        """Return places (k, m) from ``after`` to the end of the step, and the guard there."""
        every = np.arange(len(rows))
        end = self.now[inside.ids[rows]]
        self._probe(inside, rows, guard)
        shares = np.linspace(0.0, 1.0, (2 if self.costly else _SAMPLES) + 1)
        places = after[:, None] + (1 - after)[:, None] * shares
        places[:, -1] = 1.0
        values = np.empty_like(places)
        values[:, -1] = end
        for k in range(places.shape[1] - 1):
            values[:, k] = guard(places[:, k], every)
        return places, values

    def _probe(self, inside: Inside, rows: Rows, guard: Any) -> None:
        """Find out whether a look at the guard on the path costs an evaluation; every trajectory pays for it once, as a single run does."""
        new, motion = np.flatnonzero(~self.probed[inside.ids[rows]]), inside.motion
        if not len(new):
            return
        half = np.full(len(new), 0.5)
        inside.states(half, rows[new])  # the path itself may cost the gradient at the start of the step
        spent = np.sum(motion.counts.nfev) + np.sum(motion.counts.nvev)
        guard(half, new)
        self.costly = bool(np.sum(motion.counts.nfev) + np.sum(motion.counts.nvev) > spent)
        self.probed[inside.ids[rows[new]]] = True

    def _follow(self, inside: Inside, rows: Rows, some: Rows, places: Floats, values: Floats, guard: Any, out: Any) -> None:
        """Follow the sample that is nearest to zero to the minimum beside it: a touch, or two crossings between samples."""
        low, high, f_low, f_high, touched = out
        ids = inside.ids[rows[some]]
        side = self.side[ids].astype(np.float64)
        heights = side[:, None] * values[some]
        numbers = np.arange(heights.shape[1])
        since = np.where(heights > 0, -1, numbers).max(axis=1) + 1  # from here on it is on its side
        some, side, heights, since = (a[since < len(numbers)] for a in (some, side, heights, since))
        if not len(some):
            return
        ids = inside.ids[rows[some]]
        heights = np.where(numbers < since[:, None], np.inf, heights)
        best = np.argmin(heights, axis=1)
        left = places[some, np.maximum(best - 1, since)]
        right = places[some, np.minimum(best + 1, places.shape[1] - 1)]
        guess = np.clip(places[some, best], left + 0.1 * (right - left), right - 0.1 * (right - left))

        def height(theta: Floats, which: Rows) -> Floats:
            size: Floats = side[which] * guard(theta, some[which])
            return size

        theta, f = minima(height, left, right, guess, xtol=1e-9, most=12 if self.costly else 60)
        least = heights[np.arange(len(some)), best]
        theta, f = np.where(least < f, places[some, best], theta), np.minimum(f, least)
        scale = np.abs(np.where(np.isfinite(heights), heights, 0.0)).max(axis=1)
        times = inside.t0[rows[some]] + theta * inside.h[rows[some]]
        apart = ~(np.abs(times - self.touch[ids]) <= _APART * np.abs(inside.h[rows[some]]))
        zero = (np.abs(f) <= 64 * EPS * scale) & apart & (theta > places[some, 0] + _APART)
        through = (f < 0) & ~zero
        touched[some[zero]], high[some[zero]] = True, theta[zero]
        at = some[through]
        before = np.maximum(best - 1, since)[through]
        low[at], f_low[at] = places[at, before], values[at, before]
        high[at], f_high[at] = theta[through], (side * f)[through]

    def _enter_crossings(
        self, inside: Inside, rows: Rows, crossed: Rows, after: Floats, guard: Any, brackets: Any, located: Located
    ) -> None:
        """Enter the roots in brackets."""
        low, high, f_low, f_high = (part[crossed] for part in brackets)

        def within(theta: Floats, some: Rows) -> Any:
            return guard(theta, crossed[some])

        side = self.side[inside.ids[rows[crossed]]]
        begun = signs(f_low) == side
        theta = np.array(low)
        fine = np.flatnonzero(begun)
        if len(fine):

            def function(places: Floats, some: Rows) -> Floats:
                g: Floats = within(places, fine[some])
                return g

            tolerance = 1e-2 if self.costly else 4 * EPS
            theta[fine] = roots(function, low[fine], high[fine], f_low[fine], f_high[fine], tolerance)
        every = np.arange(len(crossed))
        h = inside.h[rows[crossed]]
        if self.costly:
            slope = (f_high - f_low) / ((high - low) * h)
        else:
            a, b = np.maximum(theta - 1e-4, 0.0), np.minimum(theta + 1e-4, 1.0)
            slope = (within(b, every) - within(a, every)) / ((b - a) * h)
        place, part, g = refine(self, inside, rows[crossed], theta, after[crossed], slope)
        located.enter(rows[crossed], place, part, g, False)

    def _there(self, inside: Inside, rows: Rows, theta: Floats) -> tuple[Floats, Any, Floats]:
        """Return the partial steps to places of a touch."""
        part = inside.end().take(rows)
        within = np.flatnonzero(theta < 1.0)
        if len(within):
            part.put(within, inside.until(theta[within], rows[within]))
        return theta, part, self.residual(inside, part, rows)


def may_turn(before: Any, now: Any, turned: Any, change: Any) -> Any:
    """Say whether a guard with the same sign at both ends of a step may have been zero inside.

    Parameters
    ----------
    before, now : float or (k,) array
        The guard at both ends.
    turned, change : float or (k,) array
        How much it changed in the step before (nan: not known) and in this one.

    Notes
    -----
    A minimum of its size inside means that it first nears zero and then leaves it. By differences its slopes at the ends are
    ``(turned + change)/2`` and ``change + (change - turned)/2``; half of the larger difference is what they may be wrong by.
    """
    near = np.minimum(abs(before), abs(now)) <= 2 * np.maximum(abs(change), np.where(turned == turned, abs(turned), 0.0))
    toward = np.where(now > 0, 1.0, -1.0)
    start, end = 0.5 * toward * (turned + change), toward * (1.5 * change - 0.5 * turned)
    doubt = 0.5 * np.maximum(abs(turned), abs(change))
    turns = ~((start > doubt) | (end < -doubt))  # true where the step before is not known
    return near & turns
