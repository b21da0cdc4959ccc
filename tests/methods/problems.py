"""Problems with known answers, and single steps of a method without the loop around it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch.autograd import forward_ad

from phdyn import HeavyBall, ScheduledFriction
from phdyn.methods import get
from phdyn.methods.stepping import Control
from phdyn.motion import bind
from phdyn.vectors import vectors_of


class CoupledPendulums:
    """V = 2 - cos a - cos b + (a - b)^2/4, on NumPy; it counts its calls."""

    dim = 2

    def __init__(self) -> None:
        self.gradients = self.values = 0

    def _both(self, q: Any) -> Any:
        s = q[0] - q[1]
        return 2 - np.cos(q).sum() + s * s / 4, np.sin(q) + np.array([s, -s], dtype=q.dtype) / 2

    def value(self, q: Any) -> Any:
        self.values += 1
        return self._both(q)[0]

    def value_and_grad(self, q: Any) -> Any:
        self.gradients += 1
        return self._both(q)


class HenonHeiles(CoupledPendulums):
    """V = |q|^2/2 + a^2 b - b^3/3."""

    def _both(self, q: Any) -> Any:
        a, b = q
        return (a * a + b * b) / 2 + a * a * b - b**3 / 3, np.array([a + 2 * a * b, b + a * a - b * b])


def gamma(t: float) -> float:
    """A friction rate that changes by a factor of three."""
    return float(0.3 * (1 + 0.5 * np.sin(2 * t)))


def force(t: float, q: Any) -> Any:
    """A force on the first pendulum."""
    return np.array([0.4 * np.cos(1.3 * t), 0.0])


def forced() -> HeavyBall:
    """Two coupled pendulums, driven, with time-dependent friction."""
    return HeavyBall(CoupledPendulums(), friction=ScheduledFriction(gamma), u=force)


def damped(friction: float) -> HeavyBall:
    """Henon and Heiles' potential with constant friction."""
    return HeavyBall(HenonHeiles(), friction=friction)


FORCED_START = np.array([1.2, -0.5, 0.3, 0.4])
HENON_START = np.array([0.3, 0.2, 0.1, -0.2])


def reference(potential: Any, rate: Any, push: Any, span: tuple[float, float], x0: Any) -> Any:
    """The end of a heavy ball of mass 1 with its dissipated and supplied work, by scipy at 1e-13."""
    n = len(x0) // 2

    def field(t: float, y: Any) -> Any:
        q, p = y[:n], y[n : 2 * n]
        u, friction = push(t, q), rate(t)
        return np.concatenate([p, -potential.value_and_grad(q)[1] - friction * p + u, [friction * p @ p, u @ p]])

    start = np.concatenate([x0, np.zeros(2)])
    return solve_ivp(field, span, start, method="DOP853", rtol=1e-13, atol=1e-15).y[:, -1]


def one_step(method: Any, system: Any, x0: Any, t0: float, h: float) -> Any:
    """The state after one step of a method, without the loop: NumPy or tensor, dual tensors too."""
    method = get(method) if isinstance(method, str) else method
    vectors, x = vectors_of(x0)
    motion = bind(system, vectors, len(x), tensors=isinstance(x0, torch.Tensor))
    ends: list[Any] = []

    def observe(step: Any) -> bool:
        ends.append(vectors.clone(step.x1))
        return False

    method.march(motion, motion.knot(t0, x), t0 + h, observe, Control(h, t0))
    (end,) = ends
    return end


def jacobian(method: Any, system: Any, x0: Any, t0: float, h: float) -> Any:
    """The derivative of one step in its start, column by column in forward mode."""
    columns = []
    for direction in torch.eye(len(x0), dtype=torch.float64):
        with forward_ad.dual_level():
            end = one_step(method, system, forward_ad.make_dual(torch.tensor(x0), direction.clone()), t0, h)
            columns.append(forward_ad.unpack_dual(end).tangent.clone())
    return torch.stack(columns, 1).numpy()


def differenced(method: Any, system: Any, x0: Any, t0: float, h: float, eps: float = 0.01) -> Any:
    """The derivative of one step in its start by central differences of order 6: errors of about eps^6 / 140 and rounding / eps, 1e-13."""
    weights = {1: 45 / 60, 2: -9 / 60, 3: 1 / 60}
    columns = []
    for direction in np.eye(len(x0)):
        ends = {k: one_step(method, system, torch.tensor(x0 + k * eps * direction), t0, h) for k in (-3, -2, -1, 1, 2, 3)}
        columns.append(sum(w * (ends[k] - ends[-k]) for k, w in weights.items()) / eps)
    return np.stack(columns, 1)
