"""Roots and minima in brackets, for many brackets at once: one trajectory has one, a batch one a row that needs it.

scipy has both for one bracket (``brentq``, ``minimize_scalar``) and, vectorised, in ``scipy.optimize.elementwise``; the latter take 2 ms a
call where these take 0.1, a trajectory may have thousands of events, and a batch and a single run must decide alike.

A function here is ``f(theta, rows)``: values (m,) at the places theta (m,) of the brackets numbered ``rows`` (m,). A bracket that has
converged is not evaluated again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
Rows = np.ndarray[Any, np.dtype[np.intp]]
Function = Callable[[Floats, Rows], Floats]

EPS = float(np.finfo(np.float64).eps)
_GOLDEN = 0.5 * (3 - np.sqrt(5.0))


def roots(function: Function, low: Floats, high: Floats, f_low: Floats, f_high: Floats, xtol: float = 4 * EPS) -> Floats:
    """Return, in each bracket, the place at which a function leaves the sign that it has at ``low``.

    Parameters
    ----------
    function : callable
        ``f(theta, rows)``.
    low, high : (k,) arrays
        The brackets.
    f_low, f_high : (k,) arrays
        Values there; the sign at ``high`` is another one, or zero.
    xtol : float
        Absolute width at which a bracket has converged.

    Returns
    -------
    (k,) array
        The upper end of the last bracket, or the better end where both are equally near: zero counts as having left, so that the first
        zero of a function that stays at zero is found.

    Notes
    -----
    Chandrupatla's choice between inverse quadratic interpolation and bisection (Adv. Eng. Softw. 28 (1997) 145), bisection alone from
    the 60th evaluation on: a multiple root ends it too.
    """
    a, b = np.array(high, dtype=np.float64), np.array(low, dtype=np.float64)  # a: last point, b: the other end
    fa, fb = np.array(f_high, dtype=np.float64), np.array(f_low, dtype=np.float64)
    sign = np.sign(fb)
    c, fc = a.copy(), fa.copy()
    t = np.full(len(a), 0.5)
    for count in range(160):
        best = np.where(np.abs(fa) < np.abs(fb), a, b)
        width = np.abs(b - a)
        tolerance = xtol + 2 * EPS * np.abs(best)
        # a zero at an end is a root only where the function was not zero before: the bracket shrinks onto its first zero
        (open_,) = np.nonzero(width > tolerance)
        if not len(open_):
            break
        if count >= 60:
            t[open_] = 0.5
        share = np.clip(t[open_], 0.5 * tolerance[open_] / width[open_], 1 - 0.5 * tolerance[open_] / width[open_])
        x = a[open_] + share * (b[open_] - a[open_])
        fx = function(x, open_)
        same = np.sign(fx) == np.sign(fa[open_])
        same |= (np.sign(fx) != sign[open_]) & (np.sign(fa[open_]) != sign[open_])  # zero and beyond are one side
        c[open_], fc[open_] = np.where(same, a[open_], b[open_]), np.where(same, fa[open_], fb[open_])
        b[open_], fb[open_] = np.where(same, b[open_], a[open_]), np.where(same, fb[open_], fa[open_])
        a[open_], fa[open_] = x, fx
        t[open_] = _interpolated(a[open_], b[open_], c[open_], fa[open_], fb[open_], fc[open_])
    left = np.where(np.sign(fa) != sign, a, b)
    return np.where((fa != 0) & (fb != 0), best, left)


def _interpolated(a: Floats, b: Floats, c: Floats, fa: Floats, fb: Floats, fc: Floats) -> Floats:
    """Return the share of the way from a to b at which inverse quadratic interpolation sees the root, 1/2 where it is not to be trusted."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
        trusted = (phi * phi < xi) & ((1 - phi) ** 2 < 1 - xi)
        t = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
    return np.where(trusted & np.isfinite(t), t, 0.5)


def minima(
    function: Function, low: Floats, high: Floats, guess: Floats, *, xtol: float = 1e-7, enough: Any = 0.0, most: int = 40
) -> tuple[Floats, Floats]:
    """Return, in each bracket, where a function is lowest and how low; a search ends at the first value at or below ``enough``.

    Parameters
    ----------
    function : callable
        ``f(theta, rows)``.
    low, high : (k,) arrays
        The brackets.
    guess : (k,) array
        Where to look first.
    xtol : float
        Absolute tolerance in theta.
    enough : float or (k,) array
        A value that is low enough.
    most : int
        Evaluations a bracket at most.

    Notes
    -----
    Brent's bounded minimisation (Algorithms for Minimization without Derivatives, 1973, ch. 5), begun at the guess instead of the golden
    section.
    """
    a, b = np.array(low, dtype=np.float64), np.array(high, dtype=np.float64)
    x = np.clip(np.array(guess, dtype=np.float64), a + xtol, b - xtol)
    every = np.arange(len(a))
    target = np.broadcast_to(np.asarray(enough, dtype=np.float64), a.shape)
    fx = function(x, every)
    w, v, fw, fv = x.copy(), x.copy(), fx.copy(), fx.copy()
    move, before = np.zeros_like(a), np.zeros_like(a)
    for _ in range(most - 1):
        middle, tol = 0.5 * (a + b), 1e-9 * np.abs(x) + xtol / 3
        (open_,) = np.nonzero((np.abs(x - middle) > 2 * tol - 0.5 * (b - a)) & (fx > target))
        if not len(open_):
            break
        i = open_
        step, fits = _parabola(a[i], b[i], x[i], w[i], v[i], fx[i], fw[i], fv[i], before[i], tol[i])
        golden = np.where(x[i] >= middle[i], a[i] - x[i], b[i] - x[i])
        before[i] = np.where(fits, move[i], golden)
        step = np.where(fits, step, _GOLDEN * golden)
        move[i] = step
        u = x[i] + np.where(np.abs(step) >= tol[i], step, np.where(step >= 0, tol[i], -tol[i]))
        fu = function(u, i)
        _narrow(i, u, fu, a, b, x, w, v, fx, fw, fv)
    return x, fx


def _parabola(
    a: Floats, b: Floats, x: Floats, w: Floats, v: Floats, fx: Floats, fw: Floats, fv: Floats, before: Floats, tol: Floats
) -> tuple[Floats, Any]:
    """Return the step to the vertex of the parabola through x, w, v, and whether to trust it."""
    r, q = (x - w) * (fx - fv), (x - v) * (fx - fw)
    p = (x - v) * q - (x - w) * r
    q = 2 * (q - r)
    p, q = np.where(q > 0, -p, p), np.abs(q)
    fits = (np.abs(before) > tol) & (np.abs(p) < np.abs(0.5 * q * before)) & (p > q * (a - x)) & (p < q * (b - x))
    step = np.divide(p, q, out=np.zeros_like(p), where=q > 0)
    u = x + step
    near = (u - a < 2 * tol) | (b - u < 2 * tol)
    return np.where(near, np.where(0.5 * (a + b) >= x, tol, -tol), step), fits


def _narrow(
    i: Rows, u: Floats, fu: Floats, a: Floats, b: Floats, x: Floats, w: Floats, v: Floats, fx: Floats, fw: Floats, fv: Floats
) -> None:
    """Shrink the brackets i with the new points u, in place, and keep the three best points."""
    xi, fxi, wi, fwi, vi, fvi = x[i], fx[i], w[i], fw[i], v[i], fv[i]
    better = fu <= fxi
    right = u >= xi
    a[i] = np.where(better, np.where(right, xi, a[i]), np.where(right, a[i], u))
    b[i] = np.where(better, np.where(right, b[i], xi), np.where(right, u, b[i]))
    second = ~better & ((fu <= fwi) | (wi == xi))
    third = ~better & ~second & ((fu <= fvi) | (vi == xi) | (vi == wi))
    v[i], fv[i] = np.where(better | second, wi, np.where(third, u, vi)), np.where(better | second, fwi, np.where(third, fu, fvi))
    w[i], fw[i] = np.where(better, xi, np.where(second, u, wi)), np.where(better, fxi, np.where(second, fu, fwi))
    x[i], fx[i] = np.where(better, u, xi), np.where(better, fu, fxi)


# --- a height that is known at both ends of a step ------------------------------------------------------------------------------------

_GRID = np.linspace(0.0, 1.0, 33)
_ROUNDS = 6
_ENOUGH = 5
"""Data from which on a polynomial's error tells something about the next one's."""
_BESIDE = 0.05
"""Nearer than this share of the step to a place that is known, what a polynomial gets wrong falls with the distance."""
_NEAR = 1e-4
"""Two places closer than this share of the step tell a polynomial nothing that rounding does not."""


class Known:
    """What is known of a height f(theta) over a step, and the polynomial through it; one row a trajectory."""

    def __init__(self, f0: Floats, f1: Floats, d0: Floats, d1: Floats) -> None:
        zero, one = np.zeros_like(f0), np.ones_like(f0)
        self.places, self.slopes, self.data = [zero, one, zero, one], [False, False, True, True], [f0, f1, d0, d1]

    def add(self, theta: Floats, f: Floats) -> None:
        """Enter values."""
        self.places.append(theta)
        self.slopes.append(False)
        self.data.append(f)

    def take(self, rows: Rows) -> Known:
        """Return what is known of some rows."""
        part = Known.__new__(Known)
        part.slopes = list(self.slopes)
        part.places, part.data = [z[rows] for z in self.places], [f[rows] for f in self.data]
        return part

    def lowest(self, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """Return where in [low, high] the polynomial is lowest, and how low."""
        powers = np.arange(len(self.data))
        conditions = np.empty((len(low), len(powers), len(powers)))
        for k, (z, slope) in enumerate(zip(self.places, self.slopes, strict=True)):
            if slope:
                conditions[:, k] = powers * z[:, None] ** np.maximum(powers - 1, 0)
            else:
                conditions[:, k] = z[:, None] ** powers
        c = np.linalg.solve(conditions, np.stack(self.data, axis=1)[..., None])[..., 0]
        grid = low[:, None] + (high - low)[:, None] * _GRID
        values = _horner(c[:, None, :], grid)
        best = np.argmin(values, axis=1)
        every = np.arange(len(low))
        theta = grid[every, best]
        left, right = grid[every, np.maximum(best - 1, 0)], grid[every, np.minimum(best + 1, len(_GRID) - 1)]
        first, second = c[:, 1:] * powers[1:], c[:, 2:] * (powers[2:] * (powers[2:] - 1))
        for _ in range(4):
            steepness, bend = _horner(first, theta), _horner(second, theta)
            move = np.divide(-steepness, bend, out=np.zeros_like(steepness), where=bend > 0)
            theta = np.clip(theta + move, left, right)
        value = _horner(c, theta)
        least = values[every, best]
        return np.where(value <= least, theta, grid[every, best]), np.minimum(value, least)


def _horner(c: Any, theta: Floats) -> Any:
    value: Any = np.zeros_like(theta)
    for k in range(c.shape[-1] - 1, -1, -1):
        value = value * theta + c[..., k]
    return value


def lowest_inside(function: Function, known: Known, low: Floats, samples: int = 0) -> tuple[Floats, Floats]:
    """Return where in [low, 1] a height is lowest, and how low; a search ends where the height is zero or less, or surely is not.

    The places looked at are the minima of the polynomials through all that is known: the slopes at the ends and what was looked at. What
    the last polynomial got wrong bounds what the next one gets wrong: where that is less than half of its minimum, the height stays above
    zero. Two to four values where one is enough to see it, and Brent's search where polynomials do not settle.

    Parameters
    ----------
    function : callable
        ``f(theta, rows)``.
    known : Known
        Heights and slopes at the ends.
    low : (k,) array
        Where the part that is asked about begins.
    samples : int
        How many values to take first, where the ends do not explain what happens inside.
    """
    count = len(low)
    found = _Lowest(count)
    open_ = np.arange(count)
    for k in range(samples):
        place = low[open_] + (1 - low[open_]) * (k + 1) / (samples + 1)
        f = found.look(function, place, open_)
        known.add(place, f)
        keep = np.flatnonzero(f > 0)
        if not len(keep):
            return found.theta, found.height
        open_, known = open_[keep], known.take(keep)
    next_, least = known.lowest(low[open_], np.ones(len(open_)))
    doubtful = []
    for _ in range(_ROUNDS):
        f = found.look(function, next_, open_)
        known.add(next_, f)
        apart = np.minimum.reduce([np.abs(known.places[k] - next_) for k in range(len(known.places) - 1)])
        wrong = np.abs(f - least) * np.maximum(1.0, _BESIDE / np.maximum(apart, _NEAR))
        crowded = apart < _NEAR  # another place as near tells nothing
        doubtful.append(open_[crowded & (f > 0) & (np.minimum(least, found.height[open_]) <= 2 * wrong)])
        keep = np.flatnonzero((f > 0) & ~crowded)
        open_, known, wrong = open_[keep], known.take(keep), wrong[keep]
        if not len(open_):
            break
        next_, least = known.lowest(low[open_], np.ones(len(open_)))
        keep = np.flatnonzero((np.minimum(least, found.height[open_]) <= 2 * wrong) | (len(known.data) < _ENOUGH))
        open_, known, next_, least, wrong = open_[keep], known.take(keep), next_[keep], least[keep], wrong[keep]
        if not len(open_):
            break
    open_ = np.concatenate([*doubtful, open_])
    if not len(open_):
        return found.theta, found.height
    theta = found.theta[open_]
    left, right = np.maximum(theta - 0.25, low[open_]), np.minimum(theta + 0.25, 1.0)
    theta, f = minima(lambda z, rows: function(z, open_[rows]), left, right, theta)
    found.take(theta, f, open_)
    return found.theta, found.height


class _Lowest:
    """The lowest values seen, and where."""

    def __init__(self, count: int) -> None:
        self.theta, self.height = np.full(count, np.nan), np.full(count, np.inf)

    def look(self, function: Function, theta: Floats, rows: Rows) -> Floats:
        """Look at a height and return it."""
        f = function(theta, rows)
        self.take(theta, f, rows)
        return f

    def take(self, theta: Floats, f: Floats, rows: Rows) -> None:
        """Enter values."""
        better = f < self.height[rows]
        self.theta[rows], self.height[rows] = np.where(better, theta, self.theta[rows]), np.where(better, f, self.height[rows])
