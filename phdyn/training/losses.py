"""Losses as a loop gives them: noted at once, read later, averaged over ranks."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor, distributed

from phdyn.errors import ArgumentError, ArgumentTypeError


def noted(loss: Any) -> float | Tensor:
    """Return a loss as it is now: a number, or a copy on its accelerator, which nobody waits for.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        It is not one number.
    """
    if isinstance(loss, Tensor):
        if loss.numel() != 1:
            raise ArgumentError(f"the loss has shape {tuple(loss.shape)}: one number is needed, such as its mean")
        return loss.item() if loss.device.type == "cpu" else loss.detach().clone().reshape(())
    if not isinstance(loss, Real):
        raise ArgumentTypeError(f"the loss is of type {type(loss).__name__}: a number or a 0-d tensor is needed")
    return float(loss)


def wide(device: torch.device) -> torch.dtype:
    """Return the widest floating-point type of a device."""
    return torch.float32 if device.type == "mps" else torch.float64


def read(pending: Sequence[float | Tensor], device: torch.device) -> list[float]:
    """Return losses as numbers, averaged over all ranks where there are several; waits for the device once.

    Parameters
    ----------
    pending : sequence of float or 0-d tensor
        As `noted` returned them.
    device : torch.device
        Where ranks exchange numbers.
    """
    if not any(isinstance(loss, Tensor) for loss in pending) and not _several():
        return [float(loss) for loss in pending]
    values = torch.stack([torch.as_tensor(loss, dtype=wide(device), device=device) for loss in pending])
    if _several():
        distributed.all_reduce(values)
        values /= distributed.get_world_size()
    return [float(value) for value in values.tolist()]


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
