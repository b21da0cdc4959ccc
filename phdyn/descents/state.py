"""What the descents share: a state made of positions and more, and an energy made of V(q) and that state."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import torch

from phdyn.errors import ArgumentError
from phdyn.matrix_free import MatrixFree
from phdyn.potentials import FunctionPotential, NetworkLoss, as_potential
from phdyn.potentials.base import Landscape
from phdyn.systems import PortHamiltonianSystem, at_rest, height


class Descent(ABC):
    """The energy, J and R of a descent.

    The state is x = (q, second, numbers): positions, a second vector of their size (a momentum, say), and as many numbers as ``numbers``
    says. A subclass writes E and its slopes from V (...), grad V and these parts (..., k), arrays or tensors alike. An evaluation costs one
    gradient of V.
    """

    name: ClassVar[str]
    """The function that makes it."""
    numbers: ClassVar[int] = 0

    def __init__(self, potential: Any) -> None:
        self.potential: Any = as_potential(potential)
        self.either_kind = isinstance(self.potential, (Landscape, FunctionPotential, NetworkLoss))
        """Whether arrays will do where x0 was a tensor: they are faster, but an object of the user's is promised tensors."""

    @abstractmethod
    def energy(self, V: Any, parts: Any) -> Any:  # noqa: N803 (the field's letter)
        """Return E (...), of V and the parts of the state."""

    @abstractmethod
    def potential_of(self, E: Any, x: Any) -> Any:  # noqa: N803
        """Return V (...) from E and the state, without an evaluation: what the account shows beside the rest of E."""

    @abstractmethod
    def slopes(self, V: Any, g: Any, parts: Any) -> tuple[Any, ...]:  # noqa: N803
        """Return the gradient of E along each part of the state."""

    @abstractmethod
    def conserve(self, x: Any, v: Any) -> tuple[Any, ...]:
        """Return J(x) v, all by parts."""

    @abstractmethod
    def dissipate(self, x: Any, v: Any) -> tuple[Any, ...]:
        """Return R(x) v, all by parts."""

    def interconnection(self, x: Any, v: Any) -> Any:
        """Return J(x) v."""
        return join(self.conserve(self.split(x), self.split(v)))

    def dissipation(self, x: Any, v: Any) -> Any:
        """Return R(x) v."""
        return join(self.dissipate(self.split(x), self.split(v)))

    def system(self) -> PortHamiltonianSystem:
        """Return the system."""
        J, R = (MatrixFree(product, either_kind=True) for product in (self.interconnection, self.dissipation))
        return PortHamiltonianSystem(self, J, R)

    def start(self, x: Any) -> Any:
        """Return the state to begin with, from x = (q, 0): its numbers are 0."""
        n = x.shape[-1] // 2
        return join([x, x[..., n : n + self.numbers]])

    def split(self, x: Any) -> tuple[Any, ...]:
        """Return the parts of a state, views.

        Raises
        ------
        ArgumentError
            It has not as many components as the potential needs.
        """
        size, dim = x.shape[-1], getattr(self.potential, "dim", None)
        n, odd = divmod(size - self.numbers, 2)
        if odd or n < 1 or dim not in (None, n):
            wanted = (f"2n + {self.numbers}" if self.numbers else "2n") if dim is None else 2 * dim + self.numbers
            raise ArgumentError(f"{self.name}: x has {size} components, not {wanted}: take phdyn.descents.start(system, q)")
        parts = x[..., :n], x[..., n : 2 * n], x[..., 2 * n :]
        return parts if self.numbers else parts[:2]

    def height(self, q: Any) -> Any:
        """Return V: ``(..., n) -> (...)``."""
        return _in_its_precision(self.potential, height, q)

    def value(self, x: Any) -> Any:
        """Return E: ``(..., size) -> (...)``."""
        parts = self.split(x)
        return self.energy(self.height(parts[0]), parts)

    def value_and_grad(self, x: Any) -> tuple[Any, Any]:
        """Return E and its gradient: ``(..., size) -> (...), (..., size)``."""
        parts = self.split(x)
        V, g = _in_its_precision(self.potential, _slope, parts[0])
        return self.energy(V, parts), join(self.slopes(V, g, parts))

    def check_start(self, x: Any) -> tuple[Any, Any]:
        """Return E and its gradient at the start of a run, once; a subclass refuses what cannot start."""
        return self.value_and_grad(x)


def start(system: PortHamiltonianSystem, q: Any) -> Any:
    """Return the state of a descent at positions q as its source starts it.

    That is at rest, with xi = 0; of the inertial Newton system psi = (1 - a b) q, which means q' = -b grad V(q).

    Parameters
    ----------
    system : PortHamiltonianSystem
        What a function of ``phdyn.descents`` has returned.
    q : (..., n) array, tensor or list
        Positions.

    Returns
    -------
    array or tensor
        The states, in kind (a list gives NumPy).

    Raises
    ------
    ArgumentError
        Another system, another number of positions than the potential has.
    """
    descent = getattr(system, "energy", None)
    if not isinstance(descent, Descent):
        raise ArgumentError(f"descents.start knows the systems of phdyn.descents, not {system!r}: at rest is phdyn.at_rest(q)")
    x = at_rest(q)
    dim = getattr(descent.potential, "dim", None)
    if dim not in (None, x.shape[-1] // 2):
        raise ArgumentError(f"descents.start: q has {x.shape[-1] // 2} components, the potential has {dim}")
    return descent.start(x)


def column(number: Any) -> Any:
    """Return numbers (...) so that they multiply vectors (..., k)."""
    return number[..., None] if np.ndim(number) else number


def join(parts: Any) -> Any:
    """Return one vector (..., size)."""
    return torch.cat(tuple(parts), -1) if isinstance(parts[0], torch.Tensor) else np.concatenate(parts, -1)


def is_number(value: Any) -> bool:
    """Say whether a parameter is one real number."""
    return isinstance(value, Real) and not isinstance(value, bool)


def require(name: str, *, positive: dict[str, Any], at_least_0: dict[str, Any] | None = None) -> None:
    """Refuse parameters of a function that are no finite numbers of the right sign.

    Raises
    ------
    ArgumentError
        With the value, and what is wanted.
    """
    for wanted, numbers in (("a positive number", positive), ("a number of at least 0", at_least_0 or {})):
        for parameter, value in numbers.items():
            number = float(value) if is_number(value) else math.nan
            if not 0 <= number < math.inf or (numbers is positive and number == 0):
                raise ArgumentError(f"{name}({parameter}={value!r}): {wanted} is needed")


def _slope(potential: Any, q: Any) -> tuple[Any, Any]:
    return potential.value_and_grad(q)  # type: ignore[no-any-return]


def _in_its_precision(potential: Any, function: Any, q: Any) -> Any:
    """Evaluate a potential; a network's in the network's precision, whatever that of q."""
    own = str(potential.dtype).removeprefix("torch.") if isinstance(potential, NetworkLoss) else ""
    given = str(q.dtype).removeprefix("torch.")
    if own in ("", given):
        return function(potential, q)
    answer = function(potential, _cast(q, own))
    return tuple(_cast(part, given) for part in answer) if isinstance(answer, tuple) else _cast(answer, given)


def _cast(a: Any, dtype: str) -> Any:
    return a.to(getattr(torch, dtype)) if isinstance(a, torch.Tensor) else a.astype(dtype)
