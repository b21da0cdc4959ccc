"""Methods on the damped oscillator ``q'' + gamma q' + omega^2 q = 0``: how a step multiplies it, and up to which step it does not grow."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any, Final

import numpy as np
from scipy.optimize import brentq

from phdyn.methods.catalogue import get, names, resolve
from phdyn.methods.force_gradient import ForceGradientSplitting
from phdyn.methods.one_step import OneStep
from phdyn.methods.runge_kutta import ButcherTableau
from phdyn.methods.splitting import Splitting, one_step_matrix
from phdyn.potentials import Quadratic
from phdyn.systems import GradientFlow, HeavyBall

SLACK: Final = 1e-11
"""How far above 1 rounding may put the radius of an eigenvalue on the unit circle."""

SCAN: Final = tuple(round(0.02 * k, 2) for k in range(1, 601))
"""The values of h omega, up to 12, among which the first loss of stability is looked for."""


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
    if not np.isfinite(matrix).all():
        return float("nan")
    # a pair has its radius to rounding by its determinant, where its eigenvalues are double too
    half, determinant = float(np.trace(matrix)) / 2, float(np.linalg.det(matrix))
    apart = half * half - determinant
    return float(np.sqrt(determinant) if apart <= 0 else abs(half) + np.sqrt(apart))


def decay(method: Any, step: float) -> float:
    """Return by how much a step multiplies ``q' = -lambda q``, in size.

    Parameters
    ----------
    method : str or Method
        A method of fixed steps that moves a gradient flow.
    step : float
        h lambda.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return float(abs(OneStep(resolve(method), GradientFlow(Quadratic([1.0])), 1)(np.ones(1), step)[0]))


@lru_cache(maxsize=256)
def largest_step(method: Hashable, friction: float | None) -> float:
    """Return the h omega at which a method first loses stability.

    Parameters
    ----------
    method : Method
        A method of fixed steps.
    friction : float or None
        gamma/omega; None for a gradient flow, of which it is h lambda.

    Returns
    -------
    float
        0 where it is unstable however short the step; inf where it is stable up to 12.
    """
    if friction is None:
        return _first_loss(lambda h: decay(method, h) - 1)
    known = boundary(method)
    return known(friction) if known is not None else _first_loss(lambda h: radius(method, h, friction) - 1)


def strang_limit(step: float, friction: float, mass: float = 1.0) -> float:
    """Return the curvature of V up to which a step of Strang's splitting is stable: ``2 gamma coth(gamma h/2m)/h``; 4m/h^2 at gamma = 0.

    Parameters
    ----------
    step, friction, mass : float
        h, gamma and m of a heavy ball.
    """
    return 4 * mass / step**2 * _damped(friction / mass * step)


def _damped(z: float) -> float:
    """Return (z/2) coth(z/2)."""
    return float(z / 2 / np.tanh(z / 2)) if z > 2e-8 else 1.0


def boundary(method: Any) -> Callable[[float], float] | None:
    """Return ``gamma/omega -> h omega`` at which a method first loses stability, where a formula or its coefficients tell; None otherwise.

    Strang's and conformal Euler's by ``(h omega)^2 = 2 gamma h coth(gamma h/2)``, SGD's and explicit Euler's in closed form (METHODS 3.2,
    4 and 5); other splittings by Jury's criterion ``|tr M| <= 1 + det M`` on the product of their coefficients' matrices, Runge-Kutta
    methods by their stability polynomial.
    """
    chosen = resolve(method)
    if chosen.name in _CLOSED and chosen.name in names() and chosen == get(chosen.name):  # not another method of that name
        return _CLOSED[chosen.name]
    if isinstance(chosen, Splitting) and chosen.exact:
        return lambda friction: _first_loss(lambda h: _jury(one_step_matrix(chosen, friction * h, h), friction * h))
    if isinstance(chosen, ForceGradientSplitting):
        return lambda friction: _first_loss(lambda h: _jury(_chin(friction * h, h), friction * h))
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
    "dissipative-leapfrog": lambda _: 2.0,
    "implicit-damping": lambda _: 2.0,
    "sgd": _sgd,
    "explicit-euler": _explicit_euler,
}


def _first_loss(excess: Callable[[float], float]) -> float:
    """Return where a function of h omega, negative where a method is stable, first becomes positive; inf: nowhere up to 12."""
    def over(h: float) -> float:
        found = excess(h) - SLACK
        return found if np.isfinite(found) else 1.0  # it has overflowed, or its equations could not be solved

    previous = 1e-3
    if over(previous) > 0:
        return 0.0
    for h in SCAN:
        if over(h) > 0:
            return float(brentq(over, previous, h, xtol=1e-12))
        previous = h
    return float("inf")


def _jury(matrix: Any, damped: float) -> float:
    """Return by how much |tr M| exceeds 1 + det M, with det M = exp(-gamma h)."""
    return abs(float(np.trace(matrix))) - 1 - float(np.exp(-damped))


def _chin(damped: float, omega_h: float) -> Any:
    """Return the map of Chin's step, of (q, p h): the middle kick has its force gradient."""
    outer, inner = -(omega_h**2) / 6, -2 * omega_h**2 / 3 * (1 - omega_h**2 / 24)
    z = -damped / 2
    drift = np.array([[1, 0.5 * (np.expm1(z) / z if z else 1.0)], [0, np.exp(z)]])
    kicks = [np.array([[1, 0], [kick, 1]]) for kick in (outer, inner, outer)]
    return kicks[2] @ drift @ kicks[1] @ drift @ kicks[0]


def _polynomial(method: ButcherTableau, h: float, friction: float) -> float:
    """Return |R| - 1 at the worse eigenvalue of the damped oscillator, R(z) = 1 + z b^T (1 - z A)^-1 1."""
    s = len(method.weights)
    matrix = np.zeros((s, s))
    for k, row in enumerate(method.rows):
        matrix[k, : len(row)] = row
    roots = np.roots([1.0, friction, 1.0])
    values = [1 + z * h * np.array(method.weights) @ np.linalg.solve(np.eye(s) - z * h * matrix, np.ones(s)) for z in roots]
    return float(max(map(abs, values))) - 1
