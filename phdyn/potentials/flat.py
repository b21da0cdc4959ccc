"""Parameters of a module as consecutive views of one flat buffer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def views(flat: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Return consecutive pieces of `flat`, shaped like the parameters; they share its memory."""
    pieces, start = [], 0
    for parameter in parameters:
        pieces.append(flat[start : start + parameter.numel()].view(parameter.shape))
        start += parameter.numel()
    return pieces


def move_into_buffer(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Make the n parameters views of the first half of a buffer (2n,), or find the one in which they are already.

    The second half is free, and zero in a new buffer. One that is there already, from an earlier call for the same
    parameters, is recognized by its layout, so that several owners share it.
    """
    dim = sum(parameter.numel() for parameter in parameters)
    buffer = _common_buffer(parameters, dim)
    if buffer is None:
        buffer = parameters[0].detach().new_zeros(2 * dim)
        for parameter, view in zip(parameters, views(buffer, parameters), strict=True):
            view.copy_(parameter.detach())
            parameter.data = view
    return buffer


def _common_buffer(parameters: Sequence[nn.Parameter], dim: int) -> Tensor | None:
    first = parameters[0]
    storage = first.untyped_storage()
    if storage.nbytes() != 2 * dim * first.element_size():
        return None
    start = 0
    for parameter in parameters:
        if (
            parameter.untyped_storage().data_ptr() != storage.data_ptr()
            or parameter.storage_offset() != start
            or not parameter.is_contiguous()
        ):
            return None
        start += parameter.numel()
    return torch.empty(0, dtype=first.dtype, device=first.device).set_(storage, 0, (2 * dim,), (1,))
