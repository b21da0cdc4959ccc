"""Where inside a step an event lies: roots on what is known at the ends, and the method's own partial steps moved onto the guard.

All of it is on arrays over rows: a single run has one row, so that a batch and a single run decide alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from phdyn.inside import Inside, Part
from phdyn.search import EPS, Floats, Rows

if TYPE_CHECKING:
    from phdyn.crossing.watch import Watch

_APART, _BEYOND = 1e-6, 1e-9
"""Fractions of a step nearer than the one to the root before, or farther than the other beyond the step's end, are not moved to."""

_BEFORE_END = float(np.nextafter(1.0, 0.0))


class Located:
    """Events of one watch inside a step: where each row's next one is.

    Attributes
    ----------
    theta : (k,) array
        Fractions of the step; infinite where there is none.
    residual : (k,) array
        The guard there.
    touched : (k,) bool array
        Whether the guard is only touched there.
    part : Part
        The partial steps to the events; rows without one are to be ignored.
    """

    def __init__(self, inside: Inside) -> None:
        count = len(inside.ids)
        self.theta, self.residual = np.full(count, np.inf), np.zeros(count)
        self.touched = np.zeros(count, dtype=bool)
        self._part: Part | None = None
        self.inside = inside

    @property
    def part(self) -> Part:
        """See the class."""
        if self._part is None:
            self._part = self.inside.end()
        return self._part

    def enter(self, rows: Rows, theta: Floats, part: Part, residual: Any, touched: Any) -> None:
        """Enter events of some rows."""
        self.theta[rows], self.residual[rows], self.touched[rows] = theta, residual, touched
        if len(rows) == len(self.theta):
            self._part = part
        else:
            self.part.put(rows, part)


def cubic_root(v0: Any, v1: Any, s0: Any, s1: Any) -> Any:
    """Return the root in [0, 1] of the cubic with values v0 > 0 >= v1 and slopes s0, s1 at the ends; numbers, or arrays over rows.

    Newton's iteration kept inside the bracket by bisection: 0.1 ms where scipy's vectorised ``elementwise.find_root`` takes 2, and a
    trajectory may have thousands of events.
    """
    c2, c3 = 3 * (v1 - v0) - 2 * s0 - s1, 2 * (v0 - v1) + s0 + s1
    low, high = np.zeros_like(v0, dtype=np.float64), np.ones_like(v0, dtype=np.float64)
    theta = np.asarray(v0 / (v0 - v1))
    for _ in range(60):
        height = v0 + theta * (s0 + theta * (c2 + theta * c3))
        low, high = np.where(height > 0, theta, low), np.where(height > 0, high, theta)
        slope = np.asarray(s0 + theta * (2 * c2 + theta * 3 * c3))
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = theta - height / slope
        inside = (newton > low) & (newton < high)
        moved = np.where(height == 0, theta, np.where(inside, newton, 0.5 * (low + high)))
        settled = np.abs(moved - theta) <= 2 * EPS
        theta = moved
        if settled.all():
            break
    return theta


def refine(watch: Watch, inside: Inside, rows: Rows, theta: Floats, after: Floats, slope: Any = None) -> tuple[Floats, Part, Floats]:
    """Take the method's own steps to estimated roots, and move their ends onto the guard.

    One partial step of the method, then corrections by the guard's rate: short steps of Strang's splitting for a heavy ball, the method's
    own partial steps where these cost no more or there is no other. A touch (V still above the goal at its minimum) is accepted with its
    residual.

    Returns
    -------
    theta, part, residual
        Places, partial steps and values of the guard, over ``rows``.
    """
    h, t0 = inside.h[rows], inside.t0[rows]
    theta = np.maximum(theta, 2 * np.spacing(np.maximum(np.abs(t0), np.abs(h))) / np.abs(h))  # a step has a length
    part, g, go = _first(watch, inside, rows, theta)
    if not len(go):
        return np.ones(len(rows)), part, g
    slopes = None if slope is None else np.array(slope, dtype=np.float64)
    for _ in range(watch.corrections(inside)):
        if not len(go):
            break
        now = part if len(go) == len(rows) else part.take(go)
        dt = _correction(watch, inside, now, rows[go], g[go], None if slopes is None else slopes[go], after[go])
        moving = np.flatnonzero(dt)
        if not len(moving):
            break
        if len(moving) < len(go):
            go, dt, now = go[moving], dt[moving], now.take(moving)
        moved = _moved(watch, inside, now, dt, rows[go])
        g_moved = watch.residual(inside, moved, rows[go])
        if slopes is not None:  # the method's own rate of the guard instead of the path's: a secant
            slopes[go] = (g_moved - g[go]) / dt
        kept = np.flatnonzero(np.abs(g_moved) < np.abs(g[go]))
        go = go[kept]
        g[go] = g_moved[kept]
        part.put(go, moved if len(kept) == len(g_moved) else moved.take(kept))
    whole = part.t == inside.step_end()[rows]
    return np.where(whole, 1.0, np.minimum((part.t - t0) / h, _BEFORE_END)), part, g


def _first(watch: Watch, inside: Inside, rows: Rows, theta: Floats) -> tuple[Part, Floats, Rows]:
    """Return partial steps to estimated roots, the guard there, and which of them may be moved: not a step's end that is at rounding."""
    if (theta < 1.0).all():
        part = inside.until(theta, rows)
        return part, watch.residual(inside, part, rows), np.arange(len(rows))
    part, g = inside.end().take(rows), np.zeros(len(rows))
    at_end = np.flatnonzero(theta >= 1.0)
    g[at_end] = watch.residual(inside, part.take(at_end), rows[at_end])
    go = np.flatnonzero((theta < 1.0) | (np.abs(g) > watch.rounding(inside.ids[rows])))
    if len(go):
        partial = inside.until(np.minimum(theta[go], 1.0), rows[go])
        part.put(go, partial)
        g[go] = watch.residual(inside, partial, rows[go])
    return part, g, go


def _correction(watch: Watch, inside: Inside, part: Part, rows: Rows, g: Floats, slope: Any, after: Floats) -> Floats:
    """Return how far to move the ends of partial steps: nowhere where the guard is at rounding, touched, or left no room."""
    h, t0 = inside.h[rows], inside.t0[rows]
    rate, bend, touched = watch.rate(inside, part, rows, slope)
    with np.errstate(divide="ignore", invalid="ignore"):
        dt = -g / rate
        turn = 1.0 - 2.0 * g * bend / rate**2  # the nearer root of g + rate dt + bend dt^2 / 2
        dt = np.where(turn > 0.0, 2.0 * dt / (1.0 + np.sqrt(np.maximum(turn, 0.0))), dt)
    tiny = np.abs(dt) <= 4 * EPS * np.maximum(np.abs(part.t), np.abs(h))
    still = (np.abs(g) <= watch.rounding(inside.ids[rows])) | touched | ~np.isfinite(dt) | tiny
    place = (part.t + dt - t0) / h
    within = (place > after + _APART * (after > 0)) & (place <= 1 + _BEYOND)
    dt = np.where(place > 1, inside.step_end()[rows] - part.t, dt)
    return np.where(still | ~within, 0.0, dt)


def _moved(watch: Watch, inside: Inside, part: Part, dt: Floats, rows: Rows) -> Part:
    """Return partial steps with their ends moved by dt."""
    h, t0 = inside.h[rows], inside.t0[rows]
    long = np.abs(dt) > watch.short(inside) * np.abs(h) if inside.has_split and inside.step.nudges else np.ones(len(rows), dtype=bool)
    if not long.any():
        return inside.nudged(part, dt, rows)
    moved = part.take(np.arange(len(rows)))
    again, short = np.flatnonzero(long), np.flatnonzero(~long)
    if len(again):
        moved.put(again, inside.until((part.t + dt - t0)[again] / h[again], rows[again]))
    if len(short):
        moved.put(short, inside.nudged(part.take(short), dt[short], rows[short]))
    return moved
