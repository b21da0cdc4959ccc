"""Up to which step does a method work? Spectral radii of a step on the damped oscillator, and where they reach 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from phdyn.methods.catalogue import resolve
from phdyn.methods.one_step import FloatArray
from phdyn.methods.oscillator import SCAN, SLACK, boundary, radius
from phdyn.tables import Table


@dataclass(frozen=True)
class StabilityMap:
    """The stability of a method on ``q'' + gamma q' + omega^2 q = 0``.

    Attributes
    ----------
    method : str
        The method.
    steps : (S,) array
        h omega.
    frictions : (G,) array
        gamma/omega.
    radius : (G, S) array
        Spectral radius of a step; nan where the method's equations could not be solved.
    boundary : (G,) array or None
        The smallest h omega at which stability is lost by a formula or by the coefficients alone, where such is known; inf: never.
    """

    method: str
    steps: FloatArray
    frictions: FloatArray
    radius: FloatArray
    boundary: FloatArray | None


def stability_map(method: Any, steps: Sequence[float], frictions: Sequence[float]) -> StabilityMap:
    """Compute the stability of a method, by steps of its own on the damped oscillator.

    Parameters
    ----------
    method : str or Method
        A method of fixed steps.
    steps, frictions : sequence of float
        h omega, and gamma/omega.
    """
    chosen, limit = resolve(method), boundary(method)
    radii = np.array([[radius(chosen, h, gamma) for h in steps] for gamma in frictions])
    known = None if limit is None else np.array([limit(gamma) for gamma in frictions])
    return StabilityMap(chosen.name, np.array(steps, dtype=float), np.array(frictions, dtype=float), radii, known)


def largest_steps(method: Any, damped: Sequence[float]) -> list[float]:
    """Return the largest h omega, up to 12, before a method first loses stability, for values of gamma h (METHODS 3.2).

    Scanned in steps of 0.02: 0 is a method that is unstable there.
    """
    chosen = resolve(method)
    found = []
    for friction in damped:
        last = 0.0
        for h in SCAN:
            if not radius(chosen, h, friction / h) <= 1 + SLACK:
                break
            last = h
        found.append(round(last, 2))
    return found


def hard_braking(methods: Sequence[Any], damped: Sequence[float] = (0, 1, 3, 5, 10, 20, 30, 50, 100)) -> Table:
    """Return the largest stable h omega of methods (rows) at values of gamma h (columns)."""
    rows = {resolve(method).name: largest_steps(method, damped) for method in methods}
    names = [f"gamma h = {value:g}" for value in damped]
    return Table({"method": list(rows), **{name: [row[k] for row in rows.values()] for k, name in enumerate(names)}})
