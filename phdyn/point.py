"""What a user's guard or observable sees of a state."""

from __future__ import annotations

from typing import Any

import torch

from phdyn.errors import ArgumentError
from phdyn.motion import Knot, Motion
from phdyn.typing import Array


class Point:
    """What a Guard or an observable sees of a state; vectors are tensors, and what is not known yet is computed when asked for."""

    def __init__(self, motion: Motion, t: float, x: Array, known: Knot | None = None) -> None:
        self._motion, self._known = motion, known
        self.t = t
        self._x = x
        self.evaluated = False  # whether V or its gradient was asked for

    @property
    def system(self) -> Any:
        """The system."""
        return self._motion.system

    @property
    def x(self) -> torch.Tensor:
        """The state."""
        return self._motion.vectors.tensor(self._x)

    @property
    def q(self) -> torch.Tensor:
        """Positions; of a batch (k, n)."""
        return self.x[..., : self._motion.dim]

    @property
    def p(self) -> torch.Tensor:
        """Momenta."""
        if not self._motion.has_split:
            raise ArgumentError(f"{self.system} has no momenta: use point.x")
        return self.x[..., self._motion.dim :]

    @property
    def potential(self) -> float:
        """V at the position (H where nothing splits; V all the same of the systems of ``phdyn.descents``)."""
        return self._motion.shares(self._x, 0.0, self._height())[1]

    @property
    def gradient(self) -> torch.Tensor:
        """The gradient of V at the position."""
        return self._motion.vectors.tensor(self._motion_gradient())

    def hvp(self, v: Any) -> torch.Tensor:
        """Return Hess V at the position times a vector, both of the shape of ``q``; not counted.

        Raises
        ------
        ArgumentError
            A plain ``fun(t, x)`` has no potential; shapes that differ.
        """
        if not self._motion.has_energy:
            raise ArgumentError("a plain fun(t, x) has no potential, so no Hessian")
        return torch.as_tensor(self._motion.hvp(self._motion.position(self._x), v))

    @property
    def climb(self) -> float:
        """dV/dt along the motion."""
        return self._motion.climb(self.t, self._x, self._motion_gradient())

    @property
    def speeding(self) -> Any:
        """dT/dt along the motion: p/m . p'."""
        motion: Any = self._motion
        if not motion.has_split:
            raise ArgumentError(f"{self.system} has no momenta, so no speed")
        push = motion.acceleration(self.t, self._x, self._motion_gradient())
        return motion.vectors.dot(push, self._x[motion.dim :])

    @property
    def kinetic(self) -> float:
        """T (of the systems of ``phdyn.descents`` what of the energy is not V)."""
        if self._motion.apart:
            return self._motion.shares(self._x, 0.0, self._height())[0]
        return self._known.T if self._known is not None else self._motion.kinetic(self._x)

    @property
    def hamiltonian(self) -> float:
        """H = T + V."""
        return self._height() if self._motion.apart else self.kinetic + self.potential

    def _height(self) -> float:
        """Return V as the run has it: the whole energy where nothing splits."""
        self.evaluated = True
        return self._known.V if self._known is not None else self._motion.value(self._motion.position(self._x))

    def _motion_gradient(self) -> Array:
        if not self._motion.has_energy:
            raise ArgumentError("a plain fun(t, x) has no potential, so no event that needs its gradient")
        self.evaluated = True
        if self._known is None:
            self._known = self._motion.knot(self.t, self._x)
        return self._known.g
