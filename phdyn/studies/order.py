"""The order of a method, measured: never believed."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np

from phdyn.errors import ArgumentError
from phdyn.friction import ScheduledFriction
from phdyn.methods.catalogue import resolve
from phdyn.simulate import simulate
from phdyn.systems import HeavyBall
from phdyn.typing import Method

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

WINDOW: Final = (1e-12, 1e-4)
"""Errors between which a slope shows the order: below the start of the asymptotic range, above rounding."""

_SPAN = 3.0
_START = (0.9, -0.4, 0.3, 0.7)
_COUPLING = 0.5
_FORCE = (0.4, 1.3)
_COARSEST, _FINEST = 8, 2**17
_SETTLED = 0.02


def measure_order(method: Any, *, friction: float = 0.3) -> float:
    """Measure the order of a method: the slope of its error in the step, on a problem that hides nothing.

    Two coupled pendulums, a force ``0.4 cos 1.3 t`` on the first, friction ``gamma(t) = friction (1 + sin(2t)/2)``, until t = 3: nonlinear,
    of two degrees of freedom, dependent on time through force and friction. (A linear oscillator hides wrong orders, and friction costs
    careless splittings theirs.)

    Parameters
    ----------
    method : str or Method
        Any method of fixed steps; of the adaptive ones the explicit Runge-Kutta pairs, which are held to fixed steps by ``first_step =
        max_step`` and loose tolerances.
    friction : float
        Mean friction, at least 0.

    Returns
    -------
    float
        Slope of the finest pair of halved steps whose errors lie between 1e-12 and 1e-4, once it agrees with the one before to 0.02. nan
        if no pair lies there: the method does not converge.

    Raises
    ------
    ArgumentError
        A method that changes its order, or whose inner tolerance is that of the step: it has no order at fixed steps.
    """
    chosen = resolve(method)
    if getattr(chosen, "dense_jacobian", False):
        raise ArgumentError(
            f"method '{chosen.name}' chooses orders or inner tolerances with its steps, so it has no order at fixed steps: compare its errors over rtols"
        )
    system, reference = _problem(friction), _reference(friction)
    errors: list[float] = []
    number = _COARSEST
    while number <= _FINEST:
        error = _error(chosen, system, number, reference)
        if error < WINDOW[0]:
            break
        errors.append(error)
        slopes = _slopes(errors)
        if len(slopes) > 1 and errors[-2] < WINDOW[1] and abs(slopes[-1] - slopes[-2]) < _SETTLED:
            break
        number *= 2
    slopes = _slopes(errors)
    return slopes[-1] if slopes and errors[-2] < WINDOW[1] else float("nan")


def _slopes(errors: list[float]) -> list[float]:
    with np.errstate(invalid="ignore"):
        return [float(slope) for slope in -np.diff(np.log2(errors))]


def _error(method: Method, system: HeavyBall, number: int, reference: FloatArray) -> float:
    """Return the largest error of the state at the end after a number of steps."""
    step = _SPAN / number
    options: dict[str, Any] = {"step": step} if method.fixed else {"first_step": step, "max_step": step, "rtol": 1e6, "atol": 1e6}
    end = simulate(system, (0.0, _SPAN), list(_START), method=method, record="ends", monitor=None, **options)
    return float(np.abs(end.y[:, -1] - reference).max()) if end.success else float("nan")


class _Pendulums:
    """V = sum (1 - cos q) + coupling (q1 - q2)^2 / 2, on NumPy."""

    dim = 2

    def value(self, q: Any) -> Any:
        return (1 - np.cos(q)).sum(-1) + 0.5 * _COUPLING * (q[..., 0] - q[..., 1]) ** 2

    def value_and_grad(self, q: Any) -> tuple[Any, Any]:
        pull = _COUPLING * (q[..., 0] - q[..., 1])
        return self.value(q), np.sin(q) + np.stack([pull, -pull], axis=-1)


def _problem(friction: float) -> HeavyBall:
    strength, frequency = _FORCE

    def rate(t: float) -> float:
        return friction * (1 + 0.5 * float(np.sin(2 * t)))

    def integral(t0: float, t1: float) -> float:
        return friction * (t1 - t0 - 0.25 * float(np.cos(2 * t1) - np.cos(2 * t0)))

    def force(t: float, q: Any) -> Any:  # noqa: ARG001 (an input's signature)
        return np.array([strength * np.cos(frequency * t), 0.0])

    return HeavyBall(_Pendulums(), friction=ScheduledFriction(rate, integral), u=force)


@lru_cache(maxsize=16)
def _reference(friction: float) -> FloatArray:
    """Return the state at the end by scipy alone, from the equations written out once more."""
    from scipy.integrate import solve_ivp

    def fun(t: float, x: FloatArray) -> list[float]:
        q1, q2, p1, p2 = x
        gamma = friction * (1 + 0.5 * np.sin(2 * t))
        pull, push = _COUPLING * (q1 - q2), _FORCE[0] * np.cos(_FORCE[1] * t)
        return [p1, p2, -np.sin(q1) - pull - gamma * p1 + push, -np.sin(q2) + pull - gamma * p2]

    end = solve_ivp(fun, (0.0, _SPAN), _START, method="DOP853", rtol=1e-13, atol=1e-15)
    return np.array(end.y[:, -1])
