"""Products of a potential's Hessian with a vector, without the Hessian."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from phdyn.errors import ArgumentError


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
        return torch.as_tensor(v, dtype=q.dtype, device=q.device)
    return np.asarray(v.detach().cpu() if isinstance(v, Tensor) else v, dtype=q.dtype)


def product(gradient: Tensor, q: Tensor, v: Tensor) -> Tensor:
    """Return Hess V(q) v as the gradient of grad V . v, by reverse mode: exact; ``gradient`` has its graph, ``q`` is a leaf of it."""
    if not gradient.requires_grad:  # V is linear
        return torch.zeros_like(q)
    curved: tuple[Tensor] = torch.autograd.grad(gradient, q, v, materialize_grads=True)  # type: ignore[assignment]
    return curved[0]


def differences(gradient: Callable[[Any], Any], q: Any, v: Any) -> Any:
    """Return Hess V(q) v by central differences of the gradient: of relative error about 1e-10 in float64, 1e-4 in float32."""
    xp: Any = torch if isinstance(q, Tensor) else np
    length = xp.sqrt((v * v).sum(-1))[..., None]
    size = xp.sqrt((q * q).sum(-1))[..., None]
    eps = float(xp.finfo(q.dtype).eps)
    step = eps ** (1 / 3) * xp.where(size > 1, size, xp.ones_like(size)) / xp.where(length > 0, length, xp.ones_like(length))
    ahead = gradient(q + step * v)
    ahead = ahead.clone() if isinstance(ahead, Tensor) else np.array(ahead)  # it may be the buffer of the next answer
    return (ahead - gradient(q - step * v)) / (2 * step)
