"""Up to which step does a method work? Spectral radii of a step on the damped oscillator, and where they reach 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.optimize import brentq

from phdyn.methods.catalogue import resolve
from phdyn.methods.runge_kutta import ButcherTableau
from phdyn.methods.splitting import Splitting, one_step_matrix
from phdyn.potentials import Quadratic
from phdyn.stability import strang_limit
from phdyn.studies.discretizations.one_step import FloatArray, OneStep
from phdyn.systems import HeavyBall
from phdyn.tables import Table

_SLACK: Final = 1e-7
"""How far above 1 rounding puts the radius of a double eigenvalue on the unit circle."""

_LONGEST: Final = 12.0
_RESOLUTION: Final = 0.02


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


def radius(method: Any, step: float, friction: float) -> float:
    """Return the spectral radius of a step of a method on the damped oscillator.

    Parameters
    ----------
    method : str or Method
        A method of fixed steps.
    step : float
        h omega.
    friction : float
        gamma/omega.
    """
    one = OneStep(resolve(method), HeavyBall(Quadratic([1.0]), friction=friction), 2)
    with np.errstate(over="ignore", invalid="ignore"):
        matrix = np.stack([one(column, step) for column in np.eye(2)], axis=1)
    return float(np.abs(np.linalg.eigvals(matrix)).max()) if np.isfinite(matrix).all() else float("nan")


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
    chosen, scan = resolve(method), np.arange(1, round(_LONGEST / _RESOLUTION) + 1) * _RESOLUTION
    found = []
    for friction in damped:
        last = 0.0
        for h in scan:
            if not radius(chosen, float(h), friction / float(h)) <= 1 + _SLACK:
                break
            last = float(h)
        found.append(round(last, 2))
    return found


def hard_braking(methods: Sequence[Any], damped: Sequence[float] = (0, 1, 3, 5, 10, 20, 30, 50, 100)) -> Table:
    """Return the largest stable h omega of methods (rows) at values of gamma h (columns)."""
    rows = {resolve(method).name: largest_steps(method, damped) for method in methods}
    names = [f"gamma h = {value:g}" for value in damped]
    return Table({"method": list(rows), **{name: [row[k] for row in rows.values()] for k, name in enumerate(names)}})


def boundary(method: Any) -> Callable[[float], float] | None:
    """Return ``gamma/omega -> h omega`` at which a method first loses stability, where a formula or its coefficients tell; None otherwise.

    Strang's and conformal Euler's by ``(h omega)^2 = 2 gamma h coth(gamma h/2)``, SGD's and explicit Euler's in closed form (METHODS 3.2,
    4 and 5); other splittings by Jury's criterion ``|tr M| <= 1 + det M`` on the product of their coefficients' matrices, Runge-Kutta
    methods by their stability polynomial.
    """
    chosen = resolve(method)
    if chosen.name in _CLOSED:
        return _CLOSED[chosen.name]
    if isinstance(chosen, Splitting):
        return lambda friction: _first_loss(lambda h: _jury(chosen, h, friction))
    if isinstance(chosen, ButcherTableau):
        return lambda friction: _first_loss(lambda h: _polynomial(chosen, h, friction))
    return None


def _strang(friction: float) -> float:
    return float(brentq(lambda h: strang_limit(h, friction) - 1, 1e-3, 4 + 2 * friction))


def _sgd(friction: float) -> float:
    return float(2 * 2 / (friction + np.sqrt(friction**2 + 4)))  # h^2 = 2 (2 - gamma h)


def _explicit_euler(friction: float) -> float:
    return friction if friction < 2 else 4 / (friction + float(np.sqrt(friction**2 - 4)))


_CLOSED: Final[dict[str, Callable[[float], float]]] = {
    "strang": _strang,
    "conformal-euler": _strang,
    "position-verlet": _strang,
    "sgd": _sgd,
    "explicit-euler": _explicit_euler,
}


def _first_loss(excess: Callable[[float], float]) -> float:
    """Return where a function of h omega, negative where a method is stable, first becomes positive; inf: nowhere up to 12."""
    scan = np.arange(1, round(_LONGEST / _RESOLUTION) + 1) * _RESOLUTION
    previous = 1e-3
    if excess(previous) > _SLACK:
        return 0.0
    for h in scan:
        if excess(float(h)) > _SLACK:
            low = previous
            return float(brentq(lambda z: excess(z) - _SLACK, low, float(h), xtol=1e-12))
        previous = float(h)
    return float("inf")


def _jury(method: Splitting, h: float, friction: float) -> float:
    matrix = one_step_matrix(method, friction * h, h)
    return abs(float(np.trace(matrix))) - 1 - float(np.exp(-friction * h))


def _polynomial(method: ButcherTableau, h: float, friction: float) -> float:
    """Return |R| - 1 at the worse eigenvalue of the damped oscillator, R(z) = 1 + z b^T (1 - z A)^-1 1."""
    s = len(method.weights)
    matrix = np.zeros((s, s))
    for k, row in enumerate(method.rows):
        matrix[k, : len(row)] = row
    roots = np.roots([1.0, friction, 1.0])
    values = [1 + z * h * np.array(method.weights) @ np.linalg.solve(np.eye(s) - z * h * matrix, np.ones(s)) for z in roots]
    return float(max(map(abs, values))) - 1
