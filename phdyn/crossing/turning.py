"""Whether V may turn inside a step, and reach a goal there: what the ends of the step tell for free.

A minimum of V inside shows as ``dV/dt <= 0 < dV/dt`` at the ends (``<=`` since runs start at rest), a coarse step as a change of V that its
end slopes do not explain. Both are looked into only where a free bound lets V reach the goal.

The tests are written with operators that act on numbers and on arrays over the rows of a batch alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from phdyn.methods.stepping import Step

_WRONG = 0.1
"""By how much of its parts' sizes the change of V over a step may differ from the trapezoid of its end slopes."""

DOUBT = 0.04
"""The same share above which a minimum that the end slopes tell of may lie deeper, and elsewhere, than they tell."""


def may_turn(step: Step, sign: float) -> Any:
    """Say whether V (times ``sign``) may have a minimum inside the step.

    By its slopes at the ends, since they do not explain its change, or (of V itself) since it passes a crest: there may be two.
    """
    h, change = step.t1 - step.t0, step.V1 - step.V0
    fall0, fall1 = h * step.d0, h * step.d1
    return ((sign * fall0 <= 0) & (sign * fall1 + step.lift() > 0)) | unresolved(fall0, fall1, change) | crested(sign, fall0, fall1)


def might_turn(step: Step) -> Any:
    """Say of all rows of a step whether ``may_turn(step, 1.0)`` might say yes, at a third of its price: few rows are asked for more.

    Its bounds are wider: ``|d0 + d1|`` in place of ``|d0| + |d1|``, and ``most_lift``.
    """
    h, d0, d1 = step.t1 - step.t0, step.d0, step.d1
    if np.ndim(h) or h <= 0:
        return may_turn(step, 1.0)
    slopes = d0 + d1
    wrong = step.V1 - step.V0
    wrong *= 2 / h
    wrong -= slopes
    np.abs(wrong, out=wrong)
    np.abs(slopes, out=slopes)
    slopes *= 2 * _WRONG
    rises, lift = d0 > 0, step.most_lift()
    turns = (d1 > 0) if np.ndim(lift) == 0 and lift == 0 else (h * d1 + lift > 0)
    return (~rises & turns) | (rises & (d1 < 0)) | (wrong > slopes)


def may_dip(step: Step, level: Any) -> Any:
    """Say whether V may reach the level inside the step, although both ends lie above it.

    It may at a minimum of V inside, in a step whose change of V its end slopes do not explain, or in one that passes a crest (there may be
    two, and a well between them), provided that the bound
    ``min(V0, V1) - (h/4)(|v0| + |v1|)(|g0| + |g1|)`` (a heuristic: V along straight lines with twice the mean slope; four times that where
    the step is not explained) lets it.
    """
    maybe = may_turn(step, 1.0)
    if maybe is False or not step.motion.has_split:
        return maybe
    lowest = 0.5 * (step.V0 + step.V1 - abs(step.V1 - step.V0))
    return maybe & (lowest - _reach(step) <= level)


def may_rise(step: Step, level: Any) -> Any:
    """Say whether V may rise above the level inside the step, although both ends lie at or below it; see ``may_dip``."""
    maybe = may_turn(step, -1.0)
    if maybe is False or not step.motion.has_split:
        return maybe
    highest = 0.5 * (step.V0 + step.V1 + abs(step.V1 - step.V0))
    return maybe & (highest + _reach(step) >= level)


def _reach(step: Step) -> Any:
    """Return how far V is let come in a step: on straight lines with twice the mean slope, and farther where the ends do not explain it."""
    h = step.t1 - step.t0
    coarse = unresolved(h * step.d0, h * step.d1, step.V1 - step.V0, DOUBT)
    speed = (step.T0**0.5 + step.T1**0.5) * step.motion.quickness
    return (0.25 + 0.75 * coarse) * abs(h) * speed * (step.slope0**0.5 + step.slope1**0.5)


def crested(sign: float, fall0: Any, fall1: Any) -> Any:
    """Say whether V rises at the start of a step and falls at its end, where it is the lowest V (sign > 0) that is asked for."""
    return (sign > 0) & (fall0 > 0) & (fall1 < 0)


def unresolved(fall0: Any, fall1: Any, change: Any, share: float = _WRONG) -> Any:
    """Say whether the change of V over a step differs from the trapezoid of its end slopes by a share of their sizes."""
    return abs(change - 0.5 * (fall0 + fall1)) > share * (abs(fall0) + abs(fall1) + abs(change))
