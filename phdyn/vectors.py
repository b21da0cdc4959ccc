"""Vector arithmetic on the run's device: the only file that knows where numbers live.

On the CPU a run's vectors are NumPy arrays (torch sees the same memory through ``torch.from_numpy``) and the three operations of
an integrator, ``y += a x``, ``x *= a`` and ``x . y``, are BLAS calls: 0.15 to 0.2 microseconds on short vectors where NumPy or
torch need 0.5 to 2, and never slower on long ones. Elsewhere (a GPU, dual numbers of forward-mode differentiation) they are torch's.

A coefficient is a number, or an array over the components (masses that differ) for which both back ends multiply elementwise.

A batch of k trajectories ("rows") is held component-major: a vector is a C-contiguous (size, k) array whose *last* axis is the row. A
coefficient of each row (k,) then broadcasts over it, one of each component is (size, 1), and positions and momenta are contiguous blocks.
What a batch has of numbers (V, T, scalar products) is float64 NumPy (k,) on the host, whatever the vectors are. Users see (k, size):
``numpy`` and ``tensor`` of a batch return the transposed view.
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


class NumpyRows:
    """A batch in CPU memory, float32 or float64: vectors (size, k), one column a trajectory.

    The interface is that of ``NumpyVectors``; a coefficient is a number, (k,) or (size, 1), and ``take`` and ``put`` move some rows.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        from scipy.linalg import get_blas_funcs

        self.dtype = dtype
        self.eps = float(np.finfo(dtype).eps)
        self._axpy = get_blas_funcs("axpy", dtype=dtype)
        self._flat = np.empty(0, dtype=dtype)

    def _scratch(self, shape: tuple[int, ...], size: int) -> Array:
        """Return memory that is free until the next call: one buffer, as large as the largest vector so far."""
        if self._flat.size < size:
            self._flat = np.empty(size, dtype=self.dtype)
        return self._flat[:size].reshape(shape)

    def axpy(self, a: Coefficient, x: Array, y: Array) -> None:
        """Add ``a x`` to y in place."""
        if isinstance(a, float) and x.shape == y.shape and x.flags.c_contiguous and y.flags.c_contiguous and x.dtype == y.dtype:
            self._axpy(x.reshape(-1), y.reshape(-1), x.size, a)
            return
        part = self._scratch(y.shape, y.size)
        np.multiply(x, a, out=part, casting="same_kind")
        np.add(y, part, out=y)

    @staticmethod
    def scale(a: Coefficient, x: Array) -> None:
        """Multiply x by a in place."""
        np.multiply(x, a, out=x, casting="same_kind")

    @staticmethod
    def dot(x: Array, y: Array) -> Array:
        """Return the scalar product of each row, (k,) float64."""
        if len(x) == 1:
            return np.multiply(x[0], y[0], dtype=np.float64)
        return np.einsum("ij,ij->j", x, y, dtype=np.float64, casting="same_kind")

    @staticmethod
    def empty(size: int, like: Array) -> Array:
        """Return an uninitialised vector with as many rows as another."""
        return np.empty((size, like.shape[1]), dtype=like.dtype)

    @staticmethod
    def copy(source: Array, target: Array) -> None:
        """Write source into target."""
        target[:] = source

    @staticmethod
    def clone(x: Array) -> Array:
        """Return an independent copy."""
        return np.array(x, order="C")

    @staticmethod
    def numpy(x: Array) -> np.ndarray[Any, Any]:
        """Return the batch as users see it, (k, size): a view."""
        return x.T  # type: ignore[no-any-return]

    @staticmethod
    def host(x: Array) -> np.ndarray[Any, Any]:
        """Return the batch as it is held, (size, k), in CPU memory."""
        return x  # type: ignore[no-any-return]

    @staticmethod
    def tensor(x: Array) -> torch.Tensor:
        """Return the batch as users see it, (k, size), as a tensor that shares memory."""
        return torch.from_numpy(x).T

    @staticmethod
    def from_tensor(x: torch.Tensor) -> Array:
        """Return a CPU tensor (k, size) as a batch is held; shares memory where that is component-major already."""
        return np.ascontiguousarray(x.detach().numpy().T)

    @staticmethod
    def from_numpy(x: np.ndarray[Any, Any]) -> Array:
        """Return an array (k, size) as a batch is held; shares memory where that is component-major already."""
        return np.ascontiguousarray(x.T)

    def coefficient(self, a: Any) -> Coefficient:
        """Return a number, (k,) or (size, 1) as the other methods want it."""
        return float(a) if np.ndim(a) == 0 else np.asarray(a, dtype=self.dtype)

    @staticmethod
    def finite(x: Array) -> Array:
        """Say of each row whether every component is finite, (k,)."""
        return np.isfinite(x).all(axis=0)

    @staticmethod
    def take(x: Array, rows: Array) -> Array:
        """Return an independent C-contiguous copy of some rows."""
        return x.take(rows, axis=1)

    @staticmethod
    def put(x: Array, rows: Array, part: Array) -> None:
        """Write some rows in place."""
        x[:, rows] = part


class TorchRows:
    """A batch in a torch tensor's memory: vectors (size, k). Scalar products and heights come to the host, as NumPy (k,)."""

    def __init__(self, like: torch.Tensor) -> None:
        self.like = like.new_empty(0)  # only its kind: the tensor itself may be a large batch
        self.dtype = np.dtype(str(like.dtype).removeprefix("torch."))
        self.eps = float(torch.finfo(like.dtype).eps)

    def _here(self, a: Coefficient) -> Any:
        """Return an array of the host's in the vectors' kind and on their device."""
        return torch.as_tensor(a, dtype=self.like.dtype, device=self.like.device) if isinstance(a, np.ndarray) else a

    def axpy(self, a: Coefficient, x: Array, y: Array) -> None:
        """Add ``a x`` to y in place."""
        if isinstance(a, float):
            y.add_(x, alpha=a)
        else:
            y.addcmul_(self._here(a), x)

    def scale(self, a: Coefficient, x: Array) -> None:
        """Multiply x by a in place."""
        x.mul_(self._here(a))

    @staticmethod
    def dot(x: Array, y: Array) -> Array:
        """Return the scalar product of each row, (k,) float64 on the host (waits for the device)."""
        return (x * y).sum(0).detach().cpu().numpy().astype(np.float64, copy=False)

    @staticmethod
    def empty(size: int, like: Array) -> Array:
        """Return a vector of zeros with as many rows as another."""
        return like.new_zeros((size, like.shape[1]))

    @staticmethod
    def copy(source: Array, target: Array) -> None:
        """Write source into target."""
        target.copy_(source)

    @staticmethod
    def clone(x: Array) -> Array:
        """Return an independent copy."""
        return x.clone(memory_format=torch.contiguous_format)

    @staticmethod
    def numpy(x: Array) -> np.ndarray[Any, Any]:
        """Return the batch as users see it, (k, size), in CPU memory (a copy from another device)."""
        return x.detach().cpu().numpy().T  # type: ignore[no-any-return]

    @staticmethod
    def host(x: Array) -> np.ndarray[Any, Any]:
        """Return the batch as it is held, (size, k), in CPU memory."""
        return x.detach().cpu().numpy()  # type: ignore[no-any-return]

    @staticmethod
    def tensor(x: Array) -> torch.Tensor:
        """Return the batch as users see it, (k, size): a view."""
        return x.T  # type: ignore[no-any-return]

    @staticmethod
    def from_tensor(x: torch.Tensor) -> Array:
        """Return a tensor (k, size) as a batch is held."""
        return x.T.contiguous()

    def from_numpy(self, x: np.ndarray[Any, Any]) -> Array:
        """Return an array (k, size) as a batch is held, on the device."""
        return self._here(np.ascontiguousarray(x.T))

    def coefficient(self, a: Any) -> Coefficient:
        """Return a number, or a tensor (k,) or (size, 1), as the other methods want it."""
        if isinstance(a, torch.Tensor):
            return a
        return float(a) if np.ndim(a) == 0 else self._here(np.asarray(a))

    @staticmethod
    def finite(x: Array) -> Array:
        """Say of each row whether every component is finite, (k,) on the host."""
        return torch.isfinite(x).all(0).cpu().numpy()

    @staticmethod
    def take(x: Array, rows: Array) -> Array:
        """Return an independent contiguous copy of some rows."""
        return x.index_select(1, torch.as_tensor(rows, device=x.device))

    @staticmethod
    def put(x: Array, rows: Array, part: Array) -> None:
        """Write some rows in place."""
        x.index_copy_(1, torch.as_tensor(rows, device=x.device), part)


Vectors = NumpyVectors | TorchVectors | NumpyRows | TorchRows
Rows = (NumpyRows, TorchRows)
"""The back ends of a batch, for ``isinstance``."""


def take_rows(a: Any, rows: Array) -> Any:
    """Return some rows of what a batch has: its last axis, copied. A number, None, and what all rows share (..., 1) stay as they are."""
    if a is None or not isinstance(a, (np.ndarray, torch.Tensor)) or a.ndim == 0 or (a.ndim == 2 and a.shape[-1] == 1):
        return a
    if isinstance(a, np.ndarray):
        return a.take(rows, axis=-1)
    return a.index_select(a.ndim - 1, torch.as_tensor(rows, device=a.device))


def is_dual(x: torch.Tensor) -> bool:
    """Say whether a tensor carries a tangent of forward-mode differentiation."""
    return torch.autograd.forward_ad.unpack_dual(x).tangent is not None  # type: ignore[no-untyped-call]


def vectors_of(x: Any) -> tuple[Vectors, Array]:
    """Choose the back end for a starting vector and return the vector in that back end's memory, as an independent copy.

    Parameters
    ----------
    x : array_like or torch.Tensor
        Lists and integers become float64. A batch (B, size) becomes the component-major (size, B) of the rows back ends.

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
            return (TorchRows(x), x.T.clone(memory_format=torch.contiguous_format)) if x.ndim == 2 else (TorchVectors(x), x.clone())
        x = x.detach().numpy()
    try:
        array = np.array(x, copy=True)
        if array.dtype.kind in "iub":
            array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(f"x0 is no array of numbers: {error}") from error
    if array.dtype not in (np.float32, np.float64):
        raise ArgumentTypeError(f"x0 has entries of type {array.dtype}: real float32 or float64 numbers are needed")
    if array.ndim == 2:
        return NumpyRows(array.dtype), np.array(array.T, order="C")
    return NumpyVectors(array.dtype), np.ascontiguousarray(array)
