"""Chin's force-gradient splitting of the heavy ball: fourth order with all drifts positive, for one Hessian-vector product a step.

Every splitting of order above 2 into kicks and drifts alone has a negative drift, which runs friction backwards. With the double commutator
of kick and drift there need be none. For q' = p/m, p' = F(t, q) - gamma(t) p/m it is the gradient of the force along the force itself,
2 (dF/dq) F/m, a kick like any other: neither friction nor time enters.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch

from phdyn.errors import ArgumentError
from phdyn.methods.stepping import Control, KeptStep, Step, gauss_work, kick, march_on_grid
from phdyn.motion import Knot, Motion
from phdyn.systems import HeavyBall
from phdyn.typing import Array
from phdyn.vectors import is_dual, take_rows


@dataclass(frozen=True)
class ForceGradientSplitting:
    """Chin's 4A: ``K(h/6) D(h/2) K~(2h/3) D(h/2) K(h/6)`` with exact damped drifts D.

    The kicks K are those of a splitting. In the middle one the force F = u - grad V has its gradient along itself added,
    ``K~(s): p += s [F + (h^2/24) (dF/dq) M^-1 F]``; without an input that is ``p -= s [grad V - (h^2/24) Hess V M^-1 grad V]``, where M is
    the mass, or holds those of all parameters: the kick of the potential ``V - (h^2/48) grad V . M^-1 grad V``. So the map is symplectic,
    with friction conformally symplectic with factor exp(-gamma h/m) (for a scalar mass).

    Notes
    -----
    Two gradients and a Hessian-vector product a step. A product counts as one gradient in ``nfev``, though it takes a network the time of
    two to three; that of a potential without an ``hvp`` of its own, by differences, counts as the two gradients that it takes.

    An input may depend on q: what it adds along the force is taken from a second call, at ``q + (h^2/24) M^-1 F``, which costs no gradient
    and keeps the order; an input of time alone adds nothing there.

    The works of friction and input are taken from Gauss nodes on the path inside the step. The sum of what the drifts lose is of order 2:
    the double commutator has a part in it, ``-(h^3/36) gamma |M^-1 F|^2``, and with that it has order 4, but ten times the error at
    gamma h/m = 1 to 5, and is negative beyond 10.
    """

    name: str = "chin-4"
    order: int = 4
    source: str = "Chin 1997, Phys. Lett. A 226, 344 (4A)"
    kind: str = "order"
    family: str = "splitting"
    fixed: bool = True
    stages: int = 3
    cost: str = "2 + 1 product"

    def fits(self, system: Any) -> bool:
        """Say whether this is a heavy ball."""
        return isinstance(system, HeavyBall)

    def march(self, motion: Motion, start: Knot, t_end: float, observe: Callable[[Step], bool], control: Control) -> None:
        """See ``phdyn.typing.Method``."""
        march_on_grid(ForceGradientStepper(self, motion, start, motion.live(start.x)), start.t, t_end, observe, control)

    def begin(self, motion: Motion, start: Knot) -> ForceGradientStepper:
        """Return what advances from a knot, in a copy of its state."""
        return ForceGradientStepper(self, motion, start, motion.vectors.clone(start.x))


class ForceGradientStepper:
    """Advance by one step, in place; the start is kept."""

    def __init__(self, method: ForceGradientSplitting, motion: Any, start: Knot, x: Array) -> None:
        if isinstance(x, torch.Tensor) and is_dual(x):
            raise ArgumentError(f"method '{method.name}' has no forward-mode derivatives: Hessian-vector products follow no tangent")
        self.method, self.motion, self.x = method, motion, x
        vectors = motion.vectors
        self.x0, self.g0 = vectors.empty(motion.size, x), vectors.empty(motion.dim, x)
        self.step = ForceGradientStep(self)
        self.step.begin(start)
        self.step.x1 = x

    def advance(self, t: Any, t1: Any, h: Any) -> None:
        """Advance from t to t1 and fill the step."""
        step, motion, n = self.step, self.motion, self.motion.dim
        vectors, q, p = motion.vectors, self.x[:n], self.x[n:]
        step.forward(t, t1)
        vectors.copy(self.x, self.x0)
        vectors.copy(step.g1, self.g0)
        kick(motion, t, q, p, step.g1, h / 6)
        self._drift(t, h / 2)
        self._middle_kick(t + h / 2, h)
        self._drift(t + h / 2, h / 2)
        step.V1, step.g1 = motion.gradient(q)
        kick(motion, t1, q, p, step.g1, h / 6)
        step.T1, step.d1 = motion.kinetic(self.x), motion.climb(t1, self.x, step.g1)
        step.slope1 = vectors.dot(step.g1, step.g1)
        step.dissipated, step.supplied = gauss_work(step)

    def _drift(self, t: Any, h: Any) -> None:
        """Apply the damped drift."""
        motion, n = self.motion, self.motion.dim
        damping = motion.damping(t, h)
        motion.vectors.axpy(damping.drift, self.x[n:], self.x[:n])
        motion.vectors.scale(damping.decay, self.x[n:])

    def _middle_kick(self, t: Any, h: Any) -> None:
        """Apply the kick whose force has its gradient along itself added."""
        motion, n = self.motion, self.motion.dim
        vectors, q, p = motion.vectors, self.x[:n], self.x[n:]
        length = vectors.coefficient(h)
        _, g = motion.gradient(q)
        u = motion.force(t, q)
        forward = (-g if u is None else u - g) * motion.inverse_mass
        vectors.axpy(-2 / 3 * length, g, p)  # before the product, which may overwrite the gradient
        vectors.axpy(-(length**3) / 36, motion.hessian_product(q, forward), p)
        if u is not None:
            vectors.axpy(2 / 3 * length, motion.force(t, q + length**2 / 24 * forward), p)

    def take(self, rows: Any) -> ForceGradientStepper:
        """Return a stepper that has taken the same step of some rows."""
        part = copy(self)
        part.motion = self.motion.take(rows)
        part.x, part.x0, part.g0 = (take_rows(v, rows) for v in (self.x, self.x0, self.g0))
        part.step = ForceGradientStep(part)
        part.step._take_numbers(self.step, rows)
        part.step.x1 = part.x
        return part


class ForceGradientStep(KeptStep):
    """One step."""

    stepper: ForceGradientStepper

    def take(self, rows: Any) -> Step:
        """See Step."""
        return self.stepper.take(rows).step

    def until(self, tau: Any) -> Step:
        """See Step; two gradients and a product."""
        start = self.start()
        stepper = self.stepper.method.begin(self.motion, start)
        stepper.advance(start.t, start.t + tau, tau)
        return stepper.step
