"""Vector arithmetic on the run's device: the only file that knows where numbers live.

On the CPU a run's vectors are NumPy arrays (torch sees the same memory through ``torch.from_numpy``) and the three operations of
an integrator, ``y += a x``, ``x *= a`` and ``x . y``, are BLAS calls: 0.15 to 0.2 microseconds on short vectors where NumPy or
torch need 0.5 to 2, and never slower on long ones. Elsewhere (a GPU, dual numbers of forward-mode differentiation) they are torch's.

A coefficient is a number, or an array over the components (masses that differ) for which both back ends multiply elementwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from phdyn.errors import ArgumentTypeError
from phdyn.typing import Array, Coefficient


class NumpyVectors:
    """Vectors in CPU memory, float32 or float64.

    Attributes
    ----------
    axpy : callable
        ``axpy(a, x, y)``: ``y += a x`` in place.
    scale : callable
        ``scale(a, x)``: ``x *= a`` in place.
    dot : callable
        ``dot(x, y)``: the scalar product as a float.
    eps : float
        Spacing of numbers at 1 in the vectors' precision.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        from scipy.linalg import get_blas_funcs  # on first use: half of what importing phdyn would cost

        self.dtype = dtype
        self.eps = float(np.finfo(dtype).eps)
        axpy, scal, dot = get_blas_funcs(("axpy", "scal", "dot"), dtype=dtype)
        self._axpy, self._scal = axpy, scal
        self.dot: Callable[[Array, Array], float] = dot

    def axpy(self, a: Coefficient, x: Array, y: Array) -> None:
        """Add ``a x`` to y in place."""
        if isinstance(a, float):
            self._axpy(x, y, x.size, a)
        else:
            y += a * x

    def scale(self, a: Coefficient, x: Array) -> None:
        """Multiply x by a in place."""
        if isinstance(a, float):
            self._scal(a, x)
        else:
            x *= a

    @staticmethod
    def empty(size: int, like: Array) -> Array:
        """Return an uninitialised vector."""
        return np.empty(size, dtype=like.dtype)

    @staticmethod
    def copy(source: Array, target: Array) -> None:
        """Write source into target."""
        target[:] = source

    @staticmethod
    def clone(x: Array) -> Array:
        """Return an independent copy."""
        return x.copy()

    @staticmethod
    def vector(array: np.ndarray[Any, Any], x: Array) -> Array:
        """Return a NumPy array as a vector such as x, a copy."""
        return array.astype(x.dtype)

    @staticmethod
    def numpy(x: Array) -> np.ndarray[Any, Any]:
        """Return x as NumPy sees it, sharing memory."""
        return x  # type: ignore[no-any-return]

    @staticmethod
    def tensor(x: Array) -> torch.Tensor:
        """Return x as torch sees it, sharing memory."""
        return torch.from_numpy(x)

    @staticmethod
    def from_tensor(x: torch.Tensor) -> Array:
        """Return a CPU tensor as NumPy sees it, sharing memory."""
        return x.detach().numpy()

    def coefficient(self, a: Any) -> Coefficient:
        """Return a number or per-component array as the other methods want it."""
        return float(a) if np.ndim(a) == 0 else np.asarray(a, dtype=self.dtype)

    def finite(self, x: Array) -> bool:
        """Say whether every component is finite."""
        return bool(np.isfinite(x).all())


class TorchVectors:
    """Vectors in a torch tensor's memory: another device, or dual tensors of forward-mode differentiation."""

    def __init__(self, like: torch.Tensor) -> None:
        self.like = like
        self.dtype = np.dtype(str(like.dtype).removeprefix("torch."))
        self.eps = float(torch.finfo(like.dtype).eps)

    @staticmethod
    def axpy(a: Coefficient, x: Array, y: Array) -> None:
        """Add ``a x`` to y in place."""
        if isinstance(a, float):
            y.add_(x, alpha=a)
        else:
            y.addcmul_(a, x)

    @staticmethod
    def scale(a: Coefficient, x: Array) -> None:
        """Multiply x by a in place."""
        x.mul_(a)

    @staticmethod
    def dot(x: Array, y: Array) -> float:
        """Return the scalar product (waits for the device)."""
        return float(torch.dot(x, y))

    @staticmethod
    def empty(size: int, like: Array) -> Array:
        """Return a vector of zeros."""
        return like.new_zeros(size)

    @staticmethod
    def copy(source: Array, target: Array) -> None:
        """Write source into target."""
        target.copy_(source)

    @staticmethod
    def clone(x: Array) -> Array:
        """Return an independent copy."""
        return x.clone()

    @staticmethod
    def vector(array: np.ndarray[Any, Any], x: Array) -> Array:
        """Return a NumPy array as a vector such as x, a copy."""
        return torch.tensor(array, dtype=x.dtype, device=x.device)

    @staticmethod
    def numpy(x: Array) -> np.ndarray[Any, Any]:
        """Return a NumPy copy in CPU memory."""
        return x.detach().cpu().numpy()  # type: ignore[no-any-return]

    @staticmethod
    def tensor(x: Array) -> torch.Tensor:
        """Return x itself."""
        return x  # type: ignore[no-any-return]

    @staticmethod
    def from_tensor(x: torch.Tensor) -> Array:
        """Return x itself."""
        return x

    def coefficient(self, a: Any) -> Coefficient:
        """Return a number or per-component tensor as the other methods want it."""
        if np.ndim(a) == 0:
            return float(a)
        return torch.as_tensor(a, dtype=self.like.dtype, device=self.like.device)

    @staticmethod
    def finite(x: Array) -> bool:
        """Say whether every component is finite."""
        return bool(torch.isfinite(x).all())


Vectors = NumpyVectors | TorchVectors


def is_dual(x: torch.Tensor) -> bool:
    """Say whether a tensor carries a tangent of forward-mode differentiation."""
    return torch.autograd.forward_ad.unpack_dual(x).tangent is not None  # type: ignore[no-untyped-call]


def vectors_of(x: Any) -> tuple[Vectors, Array]:
    """Choose the back end for a starting vector and return the vector in that back end's memory, as an independent copy.

    Parameters
    ----------
    x : array_like or torch.Tensor
        Lists and integers become float64.

    Raises
    ------
    ArgumentTypeError
        The entries are not real numbers of 32 or 64 bits.
    """
    if isinstance(x, torch.Tensor):
        if x.dtype not in (torch.float32, torch.float64):
            if x.is_floating_point() or x.is_complex():
                raise ArgumentTypeError(f"x0 is {x.dtype}: float32 or float64 is needed")
            x = x.double()
        if x.device.type != "cpu" or is_dual(x):
            return TorchVectors(x), x.clone()
        x = x.detach().numpy()
    try:
        array = np.array(x, copy=True)
        if array.dtype.kind in "iub":
            array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(f"x0 is no array of numbers: {error}") from error
    if array.dtype not in (np.float32, np.float64):
        raise ArgumentTypeError(f"x0 has entries of type {array.dtype}: real float32 or float64 numbers are needed")
    return NumpyVectors(array.dtype), np.ascontiguousarray(array)
