"""The order of a method, measured: never believed."""

from __future__ import annotations

import warnings
from typing import Any, Final

import numpy as np

from phdyn.errors import ArgumentError, StabilityWarning
from phdyn.friction import ScheduledFriction
from phdyn.methods.catalogue import resolve
from phdyn.simulate import simulate
from phdyn.systems import HeavyBall
from phdyn.typing import FrictionLaw, Method

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

WINDOW: Final = (1e-12, 1e-4)
"""Errors between which a slope shows the order: small enough to be asymptotic, above rounding."""

_SPAN = 1.5
_LONG_SPAN = 12.0
"""For methods of fixed steps whose error is rounding on the short span before their slopes agree."""

_START = (0.9, -0.4, 0.3, 0.7)
_COUPLING = 0.5
_FORCE = (0.4, 1.3)
_NUMBERS: Final = sorted([2**k for k in range(1, 16)] + [3 * 2**k for k in range(14)])
"""Numbers of steps to try: two an octave."""

_SETTLED = 0.005
_SLOW = 1e-2
"""Error below which three slopes that agree are believed, above the window too."""


def measure_order(method: Any, *, friction: float | FrictionLaw = 0.3) -> float:
    """Measure the order of a method: the slope of its error in the step, on a problem that hides nothing.

    Two coupled pendulums, a force ``0.4 cos 1.3 t`` on the first, friction ``gamma(t) = friction (1 + sin(2t)/2)``, until t = 1.5 (12 for
    a method of fixed steps whose errors are rounding before their slopes agree, such as "blanes-moan-6-14"): nonlinear, of two degrees of
    freedom, dependent on time through force and friction. (A linear oscillator hides wrong orders, and friction costs careless splittings
    theirs.)

    Parameters
    ----------
    method : str or Method
        Any method of fixed steps; of the adaptive ones the explicit Runge-Kutta pairs, which are held to fixed steps by ``first_step =
        max_step`` and loose tolerances.
    friction : float or law
        Mean friction, at least 0; or a law of your own instead, from t = 2 on: ``NesterovFriction()`` is 3/t.

    Returns
    -------
    float
        Slope between a step and its half. The steps shrink until both errors lie between 1e-4 and 1e-12 and the slope agrees with the one
        before, half an octave coarser, to 0.005; or until the errors reach rounding (orders of 8 and more: the slope is then good to about
        0.2). A method of order 1, which would need 1e5 steps, may stop above 1e-4 once three slopes agree. nan: it does not converge.

    Raises
    ------
    ArgumentError
        A method that changes its order, or whose inner tolerance is that of the step: it has no order at fixed steps. Or a friction that is
        negative or not finite.
    """
    chosen = resolve(method)
    if not hasattr(friction, "rate") and not 0 <= friction < float("inf"):
        raise ArgumentError(f"friction is {friction}: a finite rate >= 0, or a law, is needed")
    if getattr(chosen, "dense_jacobian", False):
        raise ArgumentError(
            f"method '{chosen.name}' adapts its order, or an inner tolerance, with its step: it has none at fixed steps; compare rtols"
        )
    slope, rounded = _finest_slope(chosen, friction, _SPAN)
    return _finest_slope(chosen, friction, _LONG_SPAN)[0] if rounded and chosen.fixed else slope


def _finest_slope(method: Method, friction: float | FrictionLaw, span: float) -> tuple[float, bool]:
    """Return the slope at which those of finer and finer steps agree, or the last one; and whether rounding came first."""
    start, law = (2.0, friction) if hasattr(friction, "rate") else (0.0, _mean(float(friction)))
    system, reference = _problem(law), _reference(friction, law, (start, start + span))
    errors: dict[int, float] = {}
    slopes = [float("nan")]
    rounded = False
    for number in _NUMBERS:
        errors[number] = error = _error(method, system, (start, start + span), number, reference)
        if error < WINDOW[0]:
            rounded = True
            break
        double = errors.get(number // 2, float("nan")) if number % 2 == 0 else float("nan")
        slopes.append(float(np.log2(double / error)))
        agreeing = 2 if double < WINDOW[1] else 3
        if double < _SLOW and np.ptp(slopes[-agreeing:]) < _SETTLED:
            break
    within = [slope for slope in slopes if np.isfinite(slope)]
    return (within[-1] if within else float("nan")), rounded


def _error(method: Method, system: HeavyBall, span: tuple[float, float], number: int, reference: FloatArray) -> float:
    """Return the largest error of the state at the end after a number of steps; nan where they are too coarse for the method."""
    step = (span[1] - span[0]) / number
    options: dict[str, Any] = {"step": step} if method.fixed else {"first_step": step, "max_step": step, "rtol": 1e6, "atol": 1e6}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StabilityWarning)
        try:
            end = simulate(system, span, list(_START), method=method, record="ends", monitor=None, **options)
        except ArgumentError:  # the step is beyond the method's stability
            return float("nan")
    return float(np.abs(end.y[:, -1] - reference).max()) if end.success else float("nan")


class _Pendulums:
    """V = sum (1 - cos q) + coupling (q1 - q2)^2 / 2, on NumPy."""

    dim = 2

    def value(self, q: Any) -> Any:
        return (1 - np.cos(q)).sum(-1) + 0.5 * _COUPLING * (q[..., 0] - q[..., 1]) ** 2

    def value_and_grad(self, q: Any) -> tuple[Any, Any]:
        pull = _COUPLING * (q[..., 0] - q[..., 1])
        return self.value(q), np.sin(q) + np.stack([pull, -pull], axis=-1)


def _mean(friction: float) -> ScheduledFriction:
    """Return a law that swings about a mean."""

    def rate(t: float) -> float:
        return friction * (1 + 0.5 * float(np.sin(2 * t)))

    def integral(t0: float, t1: float) -> float:
        return friction * (t1 - t0 - 0.25 * float(np.cos(2 * t1) - np.cos(2 * t0)))

    return ScheduledFriction(rate, integral)


def _problem(law: Any) -> HeavyBall:
    strength, frequency = _FORCE

    def force(t: float, q: Any) -> Any:  # noqa: ARG001 (an input's signature)
        return np.array([strength * np.cos(frequency * t), 0.0])

    return HeavyBall(_Pendulums(), friction=law, u=force)


_known: dict[tuple[float, tuple[float, float]], FloatArray] = {}
"""References of mean frictions."""


def _reference(friction: Any, law: Any, span: tuple[float, float]) -> FloatArray:
    """Return the state at the end by scipy alone, from the equations written out once more."""
    if (friction, span) in _known:
        return _known[friction, span]
    from scipy.integrate import solve_ivp

    def fun(t: float, x: FloatArray) -> list[float]:
        q1, q2, p1, p2 = x
        gamma = law.rate(t) if span[0] else friction * (1 + 0.5 * np.sin(2 * t))
        pull, push = _COUPLING * (q1 - q2), _FORCE[0] * np.cos(_FORCE[1] * t)
        return [p1, p2, -np.sin(q1) - pull - gamma * p1 + push, -np.sin(q2) + pull - gamma * p2]

    end = np.array(solve_ivp(fun, span, _START, method="DOP853", rtol=1e-13, atol=1e-15).y[:, -1])
    if span[0] == 0:
        _known[friction, span] = end
    return end
