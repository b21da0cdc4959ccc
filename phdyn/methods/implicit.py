"""What implicit methods share: a step whose end is the fixed point of a function, and its start, which is kept."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch

from phdyn.counts import Halt
from phdyn.errors import ArgumentError
from phdyn.methods import anderson
from phdyn.methods.stepping import Control, KeptStep, Step, march_on_grid
from phdyn.motion import Knot, Motion
from phdyn.potentials.base import primal_and_tangent
from phdyn.systems import GradientFlow, HeavyBall, PortHamiltonianSystem
from phdyn.typing import Array


def check_solve(method: Any) -> None:
    """Refuse settings of a nonlinear solve that are none.

    Raises
    ------
    ArgumentError
        A tolerance that is not between 0 and 1, a number of iterations that is no positive whole number.
    """
    if method.tolerance is not None and not 0 < method.tolerance < 1:
        raise ArgumentError(f"method '{method.name}': tolerance = {method.tolerance}, a number between 0 and 1 is needed")
    if not isinstance(method.max_iterations, int) or method.max_iterations < 1:
        raise ArgumentError(f"method '{method.name}': max_iterations = {method.max_iterations}, a positive whole number is needed")


class ImplicitMethod(ABC):
    """What implicit methods share: any system with an energy, on a fixed grid, by a stepper of their own."""

    @abstractmethod
    def stepper(self, motion: Motion, start: Knot) -> ImplicitStepper:
        """Return what advances a motion from a knot, in copies of its state."""

    def fits(self, system: Any) -> bool:
        """Say whether the system has an energy."""
        return isinstance(system, (HeavyBall, GradientFlow, PortHamiltonianSystem))

    def march(self, motion: Motion, start: Knot, t_end: float, observe: Callable[[Step], bool], control: Control) -> None:
        """See ``phdyn.typing.Method``."""
        march_on_grid(self.stepper(motion, start), start.t, t_end, observe, control)


class ImplicitStepper:
    """Advance by one step; the start is kept."""

    def __init__(self, method: Any, motion: Any, start: Knot) -> None:
        self.method, self.motion = method, motion
        if isinstance(start.x, torch.Tensor) and primal_and_tangent(start.x)[1] is not None:
            raise ArgumentError(f"method '{method.name}' has no forward-mode derivatives: its solve stops where the values have converged")
        self.x0, self.x1 = (motion.vectors.clone(start.x) for _ in range(2))
        self.g0 = motion.vectors.clone(start.g)
        self.step = ImplicitStep(self)
        self.step.begin(start)

    def advance(self, t: float, t1: float, h: float) -> None:
        """Advance from t to t1 and fill the step."""
        step, motion = self.step, self.motion
        vectors = motion.vectors
        step.forward(t, t1)
        self.x0, self.x1 = self.x1, self.x0
        vectors.copy(step.g1, self.g0)
        step.dissipated, step.supplied = self._solve(t, h)
        step.x1 = self.x1
        step.V1, step.g1 = motion.gradient(motion.position(self.x1))
        step.T1, step.d1 = motion.kinetic(self.x1), motion.climb(t1, self.x1, step.g1)
        step.slope1 = vectors.dot(step.g1, step.g1)

    def _solve(self, t: float, h: float) -> tuple[float, float]:
        """Write the end of a step into x1; return dissipated and supplied work."""
        raise TypeError("a stepper knows its equation")

    def fixed_point(self, function: Callable[[Array], Array], guess: Array, start: Array, t: float, h: float) -> Array:
        """Return the fixed point of a step's equation to the method's tolerance, which is relative to the unknown and to its ``start``.

        Raises
        ------
        Halt
            Status -5: no convergence.
        """
        vectors, method = self.motion.vectors, self.method
        try:
            return anderson.fixed_point(
                function, guess, vectors, tolerance=method.tolerance, scale=math.sqrt(vectors.dot(start, start)), most=method.max_iterations
            )
        except Halt as error:
            if error.status not in (-2, -5):
                raise
            what = error.message if error.status == -5 else f"{error.message} inside the solve"
            raise Halt(error.status, f"{method.name}, step {h:g} from t = {t:.6g}: {what}; try a smaller step") from error


class ImplicitStep(KeptStep):
    """A step of an implicit method."""

    @property
    def nudges(self) -> bool:  # type: ignore[override]
        """Whether the method's own steps alone keep its balance."""
        return bool(self.stepper.method.kind != "exact")

    def until(self, tau: float) -> Step:
        """See Step; a solve of its own."""
        start = self.start()
        stepper = self.stepper.method.stepper(self.motion, start)
        stepper.advance(start.t, start.t + tau, tau)
        step: Step = stepper.step
        return step
