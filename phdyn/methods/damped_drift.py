"""The damped drift ``q' = p/m, p' = -gamma(t) p/m`` of a splitting: its exact flow, and two rules that other schemes use in its place.

A rule returns decay and drift of ``q += drift p, p *= decay``, and which part of T is dissipated, from the friction that the law declares.
Both rules here are symmetric and of order 2, so they leave Strang's splitting its order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from phdyn.friction import Damping


def exact(motion: Any, t: Any, h: Any) -> Damping:
    """Return the exact flow from t over h."""
    damping: Damping = motion.damping(t, h)
    return damping


def trapezoid(motion: Any, t: Any, h: Any) -> Damping:
    """Return the exact decay, and the drift by the trapezoid rule for ``(1/m) int exp(-Gamma)``: ``(h/2m) (1 + decay)``."""
    decay, _, lost = motion.damping(t, h)
    length = h if motion.ids is None else motion.vectors.coefficient(h)
    return Damping(decay, 0.5 * length * motion.inverse_mass * (1.0 + decay), lost)


def midpoint(motion: Any, t: Any, h: Any) -> Damping:
    """Return the flow by the implicit midpoint rule: ``decay = (1 - z/2)/(1 + z/2)``, ``drift = (h/m)/(1 + z/2)``, z = h gamma(t + h/2)/m.

    What is dissipated follows by the same rule: ``h gamma (p/m)^2`` at the mean of p before and after. Backwards in time the rule has a
    pole at z = -2. What lies beyond is no damped drift: it is nan, and ends a run as such.
    """
    z = h * motion.law.rate(t + 0.5 * h) / motion.drift_mass
    whole = np.where(z > -2, 1 + 0.5 * z, np.nan)
    decay, drift, lost = (1 - 0.5 * z) / whole, h / motion.drift_mass / whole, 2 * z / whole**2
    coefficient = motion.vectors.coefficient
    of_rows = motion.ids is not None and lost.ndim == 1  # stays with the host, as that of ``motion.damping``
    return Damping(coefficient(decay), coefficient(drift), lost if of_rows else coefficient(lost))
