"""What all landscapes share: positions of either kind, value and gradient from the same subexpressions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, TypeAlias, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import forward_ad

from phdyn.errors import ArgumentError
from phdyn.potentials.products import as_float, direction, exact

Array: TypeAlias = NDArray[Any]
Position: TypeAlias = NDArray[Any] | Sequence[Any]
"""A position that is no tensor; a list counts as a float64 array."""

_FLOAT64 = np.dtype(np.float64)
_LARGE = 512
"""From this size on torch's vectorised sine beats NumPy's in spite of the call: 3.5 against 17 ns an element where NumPy has no AVX-512."""


class Landscape(ABC):
    """An analytic potential V(q) with its gradient, on NumPy arrays or tensors alike.

    A subclass sets `dim` (the number n of coordinates), `name`, `source`, and writes `_value`, which also returns
    whatever `_gradient` can use again. Both receive the position `q` (..., n) and `xp`, the module (`numpy` or
    `torch`) that holds its functions. Calling the same `_value` in both, `value` and `value_and_grad` agree bit for
    bit.

    Tensors may require a gradient or carry a tangent (forward-mode AD): neither is detached.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    dim: int

    @overload
    def value(self, q: Tensor) -> Tensor: ...
    @overload
    def value(self, q: Position) -> Array: ...
    def value(self, q: Any) -> Any:
        """Height of the landscape.

        Parameters
        ----------
        q : array, tensor or list, shape (..., dim)
            Positions; lists and integers count as float64.

        Returns
        -------
        array or tensor, shape (...)
            V(q), of the kind and dtype of `q`.

        Raises
        ------
        ArgumentError
            When the last dimension is not `dim`.
        """
        xp, q = self._admit(q)
        return self._value(xp, q)[0]

    @overload
    def value_and_grad(self, q: Tensor) -> tuple[Tensor, Tensor]: ...
    @overload
    def value_and_grad(self, q: Position) -> tuple[Array, Array]: ...
    def value_and_grad(self, q: Any) -> Any:
        """Height and slope; the gradient costs little beside the value, with which it shares subexpressions.

        Parameters
        ----------
        q : array, tensor or list, shape (..., dim)
            Positions; lists and integers count as float64.

        Returns
        -------
        value : array or tensor, shape (...)
            V(q), bit for bit that of `value`.
        gradient : array or tensor, shape (..., dim)
            Newly allocated, of the kind and dtype of `q`.

        Raises
        ------
        ArgumentError
            When the last dimension is not `dim`.
        """
        xp, q = self._admit(q)
        value, shared = self._value(xp, q)
        return value, self._gradient(xp, q, shared)

    def hvp(self, q: Any, v: Any) -> Any:
        """Hessian times a vector, exact: the gradient of grad V . v, by reverse mode; detached.

        Parameters
        ----------
        q, v : array, tensor or list, shape (..., dim)
            Positions, and a vector at each.

        Returns
        -------
        array or tensor, shape (..., dim)
            Hess V(q) v, of the kind and dtype of `q`.

        Raises
        ------
        ArgumentError
            When the last dimension is not `dim`, or the shapes differ.
        """
        xp, q = self._admit(q)
        v = direction(q, v)
        if xp is np:
            return self.hvp(torch.tensor(q), v).numpy()
        return exact(self.value_and_grad, q, v)

    @abstractmethod
    def _value(self, xp: Any, q: Any) -> tuple[Any, Any]:
        """Return V (...) and the subexpressions that the gradient shares."""

    @abstractmethod
    def _gradient(self, xp: Any, q: Any, shared: Any) -> Any:
        """Return the gradient (..., dim) from what `_value` handed on."""

    @abstractmethod
    def _bounds(self) -> tuple[float, float] | list[tuple[float, float]]:
        """Return the ends of the domain, one pair for all coordinates or a pair each."""

    @abstractmethod
    def _minima(self) -> Array:
        """Return known minima, (k, dim) or anything that reshapes to it, in any order."""

    @cached_property
    def domain(self) -> Array:
        """Box in which the landscape is usually studied, shape (dim, 2), read-only."""
        return _read_only(np.array(np.broadcast_to(np.array(self._bounds(), dtype=float), (self.dim, 2))))

    @cached_property
    def minima(self) -> Array:
        """Known minima, the lowest first, shape (k, dim), float64, read-only."""
        found = np.asarray(self._minima(), dtype=float).reshape(-1, self.dim)
        return _read_only(found[np.argsort(self.value(found), kind="stable")])

    @cached_property
    def minimum_values(self) -> Array:
        """V at the minima, shape (k,), read-only."""
        return _read_only(np.array(self.value(self.minima)))

    def _admit(self, q: Any) -> tuple[Any, Any]:
        """Return (module, q); the first test is the whole cost on NumPy arrays of float64, the hot case."""
        if type(q) is np.ndarray and q.dtype is _FLOAT64:
            xp: Any = np
        elif isinstance(q, Tensor):
            xp = torch
            if not q.is_floating_point():
                q = q.to(torch.float64)
        else:
            xp, q = np, as_float(q)
        if q.shape[-1:] != (self.dim,):
            shape = tuple(q.shape)
            msg = f"{type(self).__name__}: q has shape {shape}, not (..., {self.dim})"
            raise ArgumentError(msg)
        return xp, q


def _read_only(array: Array) -> Array:
    array.setflags(write=False)
    return array


def constant_like(array: Array, q: Any) -> Any:
    """Return a constant in the kind and dtype, and on the device, of `q`; a tensor is always a new one."""
    if isinstance(q, Tensor):
        return torch.tensor(array, dtype=q.dtype, device=q.device)
    return array.astype(q.dtype, copy=False)


def primal_and_tangent(q: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the parts of a dual tensor (forward-mode AD); any other has no tangent."""
    primal, tangent = forward_ad.unpack_dual(q)  # type: ignore[no-untyped-call]
    return primal, tangent


def component(q: Any, k: int) -> Any:
    """Return the k-th coordinate, (...); of a single NumPy position a scalar, much faster than an array without axes."""
    return q[k] if q.ndim == 1 else q[..., k]


def join(xp: Any, parts: Sequence[Any]) -> Any:
    """Stack components of shape (...) to (..., len(parts)); for NumPy scalars `array` is much faster than `stack`.

    A batch is stacked component by component, as a run holds it: the answer's transpose is contiguous.
    """
    if xp is np and np.ndim(parts[0]) == 0:
        return np.array(parts)
    if xp is np:
        return np.moveaxis(np.stack(parts), 0, -1)
    return xp.stack(parts).movedim(0, -1)


def sine(xp: Any, a: Any) -> Any:
    """Return sin a, to rounding: NumPy's or torch's, whichever is faster, also on arrays."""
    return torch.sin(torch.from_numpy(a)).numpy() if _is_large(xp, a) else xp.sin(a)


def cosine(xp: Any, a: Any) -> Any:
    """Return cos a, to rounding; see `sine`."""
    return torch.cos(torch.from_numpy(a)).numpy() if _is_large(xp, a) else xp.cos(a)


def _is_large(xp: Any, a: Any) -> bool:
    return xp is np and a.size >= _LARGE and a.dtype.itemsize in (4, 8) and a.flags.writeable


def require_positive(landscape: Landscape, *names: str) -> None:
    """Refuse parameters that are not positive and finite."""
    for name in names:
        value = getattr(landscape, name)
        if not (value > 0.0 and math.isfinite(value)):
            msg = f"{type(landscape).__name__}: {name} = {value}, a positive number is needed"
            raise ArgumentError(msg)


def require_dim(landscape: Landscape, least: int) -> None:
    """Refuse a number of coordinates that is not whole or below `least`."""
    if not isinstance(landscape.dim, (int, np.integer)) or landscape.dim < least:
        msg = f"{type(landscape).__name__}: dim = {landscape.dim}, a whole number from {least} on is needed"
        raise ArgumentError(msg)
