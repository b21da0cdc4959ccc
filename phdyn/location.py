"""Where inside a step an event lies: roots on what is known at the ends, and the method's own partial steps moved onto the guard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from phdyn.methods.stepping import Step, nudge
from phdyn.motion import Knot

if TYPE_CHECKING:
    from phdyn.crossing import Watch

EPS = float(np.finfo(np.float64).eps)
_CORRECTIONS = 4
_SHORT = 0.02
"""Corrections shorter than this share of the step are Strang steps from the located state; longer ones a new partial step."""


@dataclass
class Cut:
    """A located event: the step from the start to it, and where it lies."""

    step: Step
    theta: float
    residual: float

    @property
    def knot(self) -> Knot:
        """The state at the event, owned."""
        return self.step.end()


def bracketed_root(function: Callable[[float], float], low: float, high: float, xtol: float = 4 * EPS) -> float:
    """Return the root between two points of opposite sign (scipy's ``brentq``, loaded on first use)."""
    from scipy.optimize import brentq

    return float(brentq(function, low, high, xtol=xtol, rtol=4 * EPS, maxiter=3000))  # Brent's bound at a multiple root


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


def refine(watch: Watch, step: Step, theta: Any, *, after: float, slope: Any = None) -> Cut:
    """Take the method's own step to an estimated root, and move its end onto the guard; written for numbers and for rows alike.

    One partial step of the method, then at most four Newton corrections: short steps of Strang's splitting for a heavy ball, the
    method's own partial steps otherwise. A touch (V still above the goal at its minimum) is accepted with its residual.
    """
    at_end = watch.value(step.end_view())
    if np.all(theta >= 1.0) and np.all(np.abs(at_end) <= watch.rounding):
        return Cut(step, 1.0, at_end)
    part = step.until(np.maximum(theta, 1e-9) * step.h)
    g: Any = watch.value(part.end_view())
    for _ in range(_CORRECTIONS):
        dt = _correction(watch, step, part, g, slope, after)
        if not np.any(dt):
            break
        moved = _moved(step, part, dt)
        g_moved = watch.value(moved.end_view())
        better = np.abs(g_moved) < np.abs(g)
        if slope is not None:  # the method's own rate of the guard instead of the path's: a secant
            slope = np.where(dt != 0, (g_moved - g) / np.where(dt != 0, dt, 1.0), slope)
        part, g = part.pick(better, moved), np.where(better, g_moved, g)
        if not np.any(better):
            break
    return Cut(part, (part.t1 - step.t0) / step.h, g)


def _correction(watch: Watch, step: Step, part: Step, g: Any, slope: Any, after: float) -> Any:
    """Return Newton's correction of the end of a partial step: zero where the guard is at rounding, touched, or left no room."""
    rate, touched = watch.rate(part, slope)
    with np.errstate(divide="ignore", invalid="ignore"):
        dt = np.divide(-np.asarray(g), rate)
    tiny = np.abs(dt) <= 4 * EPS * np.maximum(np.abs(part.t1), np.abs(step.h))
    still = (np.abs(g) <= watch.rounding) | touched | ~np.isfinite(dt) | tiny
    forward = np.sign(step.h) * (part.t1 + dt - (step.t0 + after * step.h)) > 0
    return np.where(still | ~forward, 0.0, dt)


def _moved(step: Step, part: Step, dt: Any) -> Step:
    """Return the partial step with its end moved by dt."""
    if not step.motion.has_split or np.any(np.abs(dt) > _SHORT * np.abs(step.h)):
        return step.until(part.t1 + dt - step.t0)
    return Nudged(part, *nudge(step.motion, part.end(), _number(dt)))


def _number(a: Any) -> Any:
    """Return a number for a solo run, an array for rows."""
    return float(a) if np.ndim(a) == 0 else a


class Nudged(Step):
    """A partial step whose end was moved by a short Strang step."""

    def __init__(self, part: Step, knot: Knot, dissipated: float, supplied: float) -> None:
        super().__init__(part.motion)
        self.part = part
        self.begin(knot)
        self.t0, self.V0, self.T0, self.d0, self.slope0 = part.t0, part.V0, part.T0, part.d0, part.slope0
        self.dissipated, self.supplied = part.dissipated + dissipated, part.supplied + supplied

    def start(self) -> Knot:
        """See Step."""
        return self.part.start()

    def until(self, tau: float) -> Step:
        """See Step."""
        return self.part.until(tau)
