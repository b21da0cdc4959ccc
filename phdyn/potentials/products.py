"""Products of a potential's Hessian with a vector, without the Hessian."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from phdyn.errors import ArgumentError, ArgumentTypeError


def hvp(potential: Any, q: Any, v: Any) -> Any:
    """Return the Hessian of any potential times a vector.

    Parameters
    ----------
    potential : Potential
        One of phdyn's, a `FunctionPotential`, or an object of yours: its own ``hvp(q, v)`` is called, and where it has none the gradient is
        differenced.
    q, v : array or tensor, shape (..., n)
        Positions, and a vector at each; lists and integers count as float64.

    Returns
    -------
    array or tensor, shape (..., n)
        In the kind of `q`. By central differences of ``value_and_grad``: two gradients, a relative error of about 1e-10 in float64, 1e-4
        in float32.

    Raises
    ------
    ArgumentError
        When the shapes differ.
    """
    q = position(q)
    v = direction(q, v)
    own = getattr(potential, "hvp", None)
    return differences(lambda z: potential.value_and_grad(z)[1], q, v) if own is None else own(q, v)


def position(q: Any) -> Any:
    """Return a position with real components: tensors and arrays of floats as they are, anything else as float64."""
    if isinstance(q, Tensor):
        return q.detach() if q.is_floating_point() else q.double()
    return as_float(q)


def as_float(q: Any) -> Any:
    """Return an array of floats: floats of any size keep it, integers and lists of them become float64.

    Raises
    ------
    ArgumentTypeError
        They are no real numbers.
    """
    array = np.asarray(q)
    if array.dtype.kind in "iub":
        return array.astype(np.float64)
    if array.dtype.kind != "f":
        msg = f"a position consists of real numbers, not {array.dtype.name}"
        raise ArgumentTypeError(msg)
    return array


def direction(q: Any, v: Any) -> Any:
    """Return a vector v in the kind, dtype and device of the position q.

    Raises
    ------
    ArgumentError
        Its shape is not that of q.
    """
    if tuple(np.shape(v)) != tuple(q.shape):
        raise ArgumentError(f"hvp: v has shape {tuple(np.shape(v))}, not {tuple(q.shape)}, that of q")
    if isinstance(q, Tensor):
        return torch.as_tensor(v.detach() if isinstance(v, Tensor) else v, dtype=q.dtype, device=q.device)
    return np.asarray(v.detach().cpu() if isinstance(v, Tensor) else v, dtype=q.dtype)


def exact(value_and_grad: Callable[[Tensor], tuple[Tensor, Tensor]], q: Tensor, v: Tensor) -> Tensor:
    """Return Hess V(q) v as the gradient of grad V . v, by reverse mode; detached."""
    leaf = q.detach().requires_grad_()
    with torch.enable_grad():
        gradient = value_and_grad(leaf)[1]
        if not gradient.requires_grad:  # V is linear
            return torch.zeros_like(q)
        curved: tuple[Tensor] = torch.autograd.grad(gradient, leaf, v, materialize_grads=True)  # type: ignore[assignment]
    return curved[0]


def differences(gradient: Callable[[Any], Any], q: Any, v: Any) -> Any:
    """Return Hess V(q) v by central differences of the gradient."""
    xp: Any = torch if isinstance(q, Tensor) else np
    length = xp.sqrt((v * v).sum(-1))[..., None]
    size = xp.sqrt((q * q).sum(-1))[..., None]
    eps = float(xp.finfo(q.dtype).eps)
    step = eps ** (1 / 3) * xp.where(size > 1, size, xp.ones_like(size)) / xp.where(length > 0, length, xp.ones_like(length))
    ahead = gradient(q + step * v)
    ahead = ahead.clone() if isinstance(ahead, Tensor) else np.array(ahead)  # it may be the buffer of the next answer
    return (ahead - gradient(q - step * v)) / (2 * step)
