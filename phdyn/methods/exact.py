"""Structure-preserving implicit methods: the energy balance of a step holds to rounding, however long the step is.

Of a heavy ball, with pb = (p0 + p1)/2 and a discrete gradient DV,

    (q1 - q0)/h = pb/m,    (p1 - p0)/h = -DV(q0, q1) - gamma pb/m + u,

so that H1 - H0 = -h gamma |pb/m|^2 + h u . pb/m exactly; of the general system

    (x1 - x0)/h = (J(xb) - R(xb)) DH(x0, x1) + G(xb) u,    H1 - H0 = -h DH . R DH + h (G^T DH) . u.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from phdyn.counts import Halt
from phdyn.methods.discrete_gradients import Ends
from phdyn.methods.implicit import ImplicitMethod, ImplicitStepper, check_solve
from phdyn.motion import Knot, Motion
from phdyn.systems import GradientFlow, HeavyBall, PortHamiltonianSystem
from phdyn.typing import Array


@dataclass(frozen=True)
class DiscreteGradientMethod(ImplicitMethod):
    """A method made of a discrete gradient.

    Parameters
    ----------
    name : str
        Its name in the catalogue.
    order : int
        Declared order.
    gradient : callable
        The discrete gradient, as those of ``phdyn.methods.discrete_gradients``.
    source : str
        Paper.
    tolerance : float, optional
        Of the nonlinear solve, relative to the size of the unknown; ten roundings if None. A looser one is left in the balance: the
        residual of the solve times the gradient.
    max_iterations : int
        Of a step's solve; beyond, the run ends with status -5.
    cost : str
        For the table of methods.

    Raises
    ------
    ArgumentError
        A tolerance that is not between 0 and 1, a number of iterations that is no positive whole number.

    Notes
    -----
    The unknown is q1 alone (of the general system x1), found by Anderson acceleration. An iteration costs a gradient and a value with
    "gonzalez", and a network's step 5 to 25 of them; the end of the step costs one gradient more.
    """

    name: str
    order: int
    gradient: Callable[[Ends, Array], Array]
    source: str
    tolerance: float | None = None
    max_iterations: int = 100
    cost: str = "1 an iteration"
    kind: str = "exact"
    family: str = "discrete gradient"
    fixed: bool = True

    def __post_init__(self) -> None:
        check_solve(self)

    def stepper(self, motion: Motion, start: Knot) -> ImplicitStepper:
        """See ImplicitMethod."""
        kinds = {HeavyBall: HeavyBallStepper, GradientFlow: GradientFlowStepper, PortHamiltonianSystem: PortStepper}
        return next(stepper for kind, stepper in kinds.items() if isinstance(motion.system, kind))(self, motion, start)


class HeavyBallStepper(ImplicitStepper):
    """Of a heavy ball: the unknown is q1."""

    def _solve(self, t: float, h: float) -> tuple[float, float]:
        motion, n = self.motion, self.motion.dim
        vectors, w = motion.vectors, motion.inverse_mass
        q0, p0, q1, p1 = self.x0[:n], self.x0[n:], self.x1[:n], self.x1[n:]
        rubbed = float(motion.law.integral(t, t + h))
        a = 0.5 * rubbed * w
        ends, middle = Ends(motion, q0, self.step.V0), t + 0.5 * h
        if not float((1.0 + a).min() if hasattr(a, "min") else 1.0 + a) > 0:
            raise Halt(-5, f"{self.method.name}: a step of {h:g} backwards in time from t = {t:.6g} is too long for this friction")

        def end(q: Array) -> Array:
            """Write p1 for a guess of q1; return the q1 that follows from it."""
            push = -self.method.gradient(ends, q)
            u = motion.force(middle, 0.5 * (q0 + q))
            if u is not None:
                push = push + u
            p1[:] = ((1.0 - a) * p0 + h * push) / (1.0 + a)
            return q0 + (0.5 * h) * w * (p0 + p1)

        guess = q0 + h * w * p0 + (0.5 * h * h) * motion.acceleration(t, self.x0, self.g0)
        q1[:] = self.fixed_point(end, guess, q0, t, h)
        mean = 0.5 * w * (p0 + p1)
        u = motion.force(middle, 0.5 * (q0 + q1))
        return rubbed * float(vectors.dot(mean, mean)), 0.0 if u is None else h * float(vectors.dot(u, mean))


class GradientFlowStepper(ImplicitStepper):
    """Of a gradient flow: x1 = x0 - h DV."""

    def _solve(self, t: float, h: float) -> tuple[float, float]:
        ends, slope = Ends(self.motion, self.x0, self.step.V0), None

        def end(x: Array) -> Array:
            nonlocal slope
            slope = self.method.gradient(ends, x)
            return self.x0 - h * slope

        self.x1[:] = self.fixed_point(end, self.x0 - h * self.g0, self.x0, t, h)
        return h * float(self.motion.vectors.dot(slope, slope)), 0.0


class PortStepper(ImplicitStepper):
    """Of the general system: the unknown is x1, J, R and G are taken at the midpoint."""

    def _solve(self, t: float, h: float) -> tuple[float, float]:
        motion, system = self.motion, self.motion.system
        ends, middle = Ends(motion, self.x0, self.step.V0), t + 0.5 * h
        works = (0.0, 0.0)

        def end(x: Array) -> Array:
            nonlocal works
            slope, centre = self.method.gradient(ends, x), 0.5 * (self.x0 + x)
            lost = motion.product(system.R, centre, slope)
            flow = motion.product(system.J, centre, slope) - lost
            u = motion.force(middle, centre)
            fed = None if u is None else motion.product(system.G, centre, u)
            works = h * float(slope @ lost), 0.0 if fed is None else h * float(slope @ fed)
            return self.x0 + h * (flow if fed is None else flow + fed)

        guess = self.x0 + h * motion.combine(t, self.x0, self.g0, motion.vectors.empty(motion.size, self.x0))
        self.x1[:] = self.fixed_point(end, guess, self.x0, t, h)
        return works
