"""Tolerances that methods of low order can afford, by one rule, and what is then asked of them.

A method of order p takes about 1/error^(1/p) steps. To the power of p/5, for orders below 5, every method takes as many as one of order 5.
"""

from __future__ import annotations

from phdyn.methods import get

OPTIMISM = {"fehlberg2": 256}
"""How many times smaller than Euler's error, which adaptive_heun estimates, an estimate is: the tolerance that makes up for it."""

REPRESENTED = ("RK23", "bosh3", "fehlberg2", "adaptive_heun")
"""Methods for which RK45, dopri5 and dopri8 stand in the suites of events, whose mechanics know no tableau."""


def scaled(name: str, error: float) -> float:
    """Return what is asked of a method where an error is asked of methods of order 5 and more."""
    order = get(name).order
    return error if order >= 5 else error ** (order / 5)


def tolerance(name: str, rtol: float) -> float:
    """Return what a method is given where methods of order 5 and more are given ``rtol``."""
    return scaled(name, rtol) / OPTIMISM.get(name, 1)


def tolerances(name: str, rtol: float = 1e-6, atol: float = 1e-9) -> dict[str, float]:
    """Return both tolerances of a method."""
    return {"rtol": tolerance(name, rtol), "atol": tolerance(name, atol)}
