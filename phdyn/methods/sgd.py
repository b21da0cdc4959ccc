"""The map of torch.optim.SGD with momentum, and Polyak's: discretizations of the heavy ball of order 1."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any

from phdyn.errors import ArgumentError
from phdyn.friction import Damping
from phdyn.methods.stepping import Control, KeptStep, Step, kick, march_on_grid, turned
from phdyn.motion import Knot, Motion
from phdyn.systems import HeavyBall
from phdyn.typing import Array, Coefficient
from phdyn.vectors import take_rows


@dataclass(frozen=True)
class SgdMap:
    """``p = mu p - h grad V(q); q += h p/m``: friction as a map of its own, a kick, an undamped drift.

    The positions are those of ``torch.optim.SGD(lr=h^2/m, momentum=mu)`` without dampening, started at rest; p is the momentum after the
    kick, so energies are of order 1.

    Parameters
    ----------
    friction : {"explicit", "exact"}
        ``mu = 1 - gamma h/m``, or ``mu = exp(-int gamma/m)``.

    Notes
    -----
    One gradient a step. Conformally symplectic with factor mu (for a scalar mass).

    Without p this is Polyak's recurrence ``q+ = q - alpha grad V(q) + beta (q - q-)``, with alpha = h^2/m, beta = mu and p = m (q - q-)/h,
    which is 0 where he begins, q- = q. He has neither h nor gamma. The catalogue has a name for each reading of beta, and that is all in
    which they differ: "sgd" takes it for 1 - gamma h/m, "polyak" for the decay of a momentum, exp(-gamma h/m), which is above 0 and below 1
    at every step.
    """

    name: str = "sgd"
    friction: str = "explicit"
    order: int = 1
    source: str = "Polyak 1964, USSR Comput. Math. Math. Phys. 4, 1; torch.optim.SGD"
    kind: str = "order"
    family: str = "splitting"
    fixed: bool = True
    stages: int = 1

    def __post_init__(self) -> None:
        if self.friction not in ("explicit", "exact"):
            raise ArgumentError(f"{self.name}: friction={self.friction!r} is neither 'explicit' nor 'exact'")

    def fits(self, system: Any) -> bool:
        """Say whether this is a heavy ball."""
        return isinstance(system, HeavyBall)

    def march(self, motion: Motion, start: Knot, t_end: float, observe: Callable[[Step], bool], control: Control) -> None:
        """See ``phdyn.typing.Method``."""
        march_on_grid(self.stepper(motion, start, motion.live(start.x)), start.t, t_end, observe, control)

    def begin(self, motion: Motion, start: Knot) -> SgdStepper:
        """Return what advances from a knot, in a copy of its state."""
        return self.stepper(motion, start, motion.vectors.clone(start.x))

    def stepper(self, motion: Motion, start: Knot, x: Array) -> SgdStepper:
        """Return what advances x, in place."""
        return SgdStepper(self, motion, start, x)


class SgdStepper:
    """Advance by one iteration, in place; the start is kept."""

    def __init__(self, method: SgdMap, motion: Any, start: Knot, x: Array) -> None:
        self.method, self.motion, self.x = method, motion, x
        vectors = motion.vectors
        self.x0, self.g0 = vectors.empty(motion.size, x), vectors.empty(motion.dim, x)
        self.step = self.new_step()
        self.step.begin(start)
        self.step.x1 = x

    def new_step(self) -> SgdStep:
        """Return a step of this stepper."""
        return SgdStep(self)

    def decay(self, t: Any, h: Any, damping: Damping) -> Coefficient:
        """Return mu over a step of length h."""
        if self.method.friction == "exact":
            return damping.decay
        motion = self.motion
        return motion.vectors.coefficient(1 - motion.law.rate(t) * h / motion.drift_mass)

    def advance(self, t: Any, t1: Any, h: Any) -> None:
        """Advance from t to t1 and fill the step."""
        step, motion, n = self.step, self.motion, self.motion.dim
        vectors, w, q, p = motion.vectors, motion.inverse_mass, self.x[:n], self.x[n:]
        step.forward(t, t1)
        vectors.copy(self.x, self.x0)
        vectors.copy(step.g1, self.g0)
        damping = motion.damping(t, h)
        mu = self.decay(t, h, damping)
        step.dissipated = motion.weigh(damping.lost * w / 2, p)
        vectors.scale(mu, p)
        drift = (h if motion.ids is None else vectors.coefficient(h)) * w
        step.supplied = self.push(t, t1, h, drift)
        vectors.axpy(drift, p, q)
        step.V1, step.g1 = motion.gradient(q)
        step.T1, step.d1 = motion.kinetic(self.x), motion.climb(t1, self.x, step.g1)
        step.slope1 = vectors.dot(step.g1, step.g1)

    def push(self, t: Any, t1: Any, h: Any, drift: Coefficient) -> Any:
        """Kick p, once friction has had its part; return the work of the input."""
        n = self.motion.dim
        return kick(self.motion, t, self.x[:n], self.x[n:], self.step.g1, h)

    def take(self, rows: Any) -> SgdStepper:
        """Return a stepper that has taken the same step of some rows."""
        part = copy(self)
        part.motion = self.motion.take(rows)
        part.x, part.x0, part.g0 = (take_rows(v, rows) for v in (self.x, self.x0, self.g0))
        part.step = part.new_step()
        part.step._take_numbers(self.step, rows)
        part.step.x1 = part.x
        return part


class SgdStep(KeptStep):
    """One iteration."""

    stepper: SgdStepper

    own_track = True

    def lift(self) -> Any:
        """See Step."""
        return turned(self, 1.0)

    def take(self, rows: Any) -> Step:
        """See Step."""
        return self.stepper.take(rows).step

    def _own_position(self, tau: Any) -> Array:
        motion: Any = self.motion
        vectors, (start, g, u) = motion.vectors, self._push()
        x = vectors.clone(start.x)
        q, p = x[: motion.dim], x[motion.dim :]
        vectors.scale(self.stepper.decay(start.t, tau, motion.damping(start.t, tau)), p)
        tau = vectors.coefficient(tau)
        vectors.axpy(-tau, g, p)
        if u is not None:
            vectors.axpy(tau, u, p)
        vectors.axpy(tau * motion.inverse_mass, p, q)
        return q

    def until(self, tau: Any) -> Step:
        """See Step; one gradient."""
        start = self.start()
        stepper = self.stepper.method.begin(self.motion, start)
        stepper.advance(start.t, start.t + tau, tau)
        return stepper.step
