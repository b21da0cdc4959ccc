"""What is evaluated on all data beside the training, and must leave no trace in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from phdyn.errors import ArgumentError


@contextmanager
def undisturbed() -> Iterator[None]:
    """Give back torch's random state afterwards, so that a dropout mask inside does not shift those of the training."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=devices):
        yield


def full_batch(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
    *,
    chunk_size: int = 1000,
) -> Callable[[], Iterator[Tensor]]:
    """Return a closure for the loss on all data, in parts: for ``FullLoss(closure, every)`` and ``EnergyObserver(full_gradient=)``.

    Parameters
    ----------
    model : Module
        The network; in evaluation mode while the closure runs, so that batch norm keeps its statistics and dropout is off.
    loss : callable
        ``loss(outputs, targets) -> 0-d tensor``, a mean over samples.
    inputs, targets : Tensor, shape (samples, ...)
        All data, on the model's device.
    chunk_size : int
        Samples a part: memory does not grow with the data.

    Returns
    -------
    callable
        Each call yields the parts, whose sum is the loss.

    Raises
    ------
    ArgumentError
        No samples, lengths that differ, or a chunk size that is no positive number.
    """
    if not len(inputs) or len(inputs) != len(targets):
        raise ArgumentError(f"full_batch: {len(inputs)} inputs and {len(targets)} targets: as many are needed, at least one")
    if chunk_size < 1:
        raise ArgumentError(f"full_batch: chunk_size = {chunk_size}: a positive whole number of samples is needed")

    def closure() -> Iterator[Tensor]:
        training = [module for module in model.modules() if module.training]
        model.eval()
        try:
            for start in range(0, len(inputs), chunk_size):
                x, y = inputs[start : start + chunk_size], targets[start : start + chunk_size]
                yield loss(model(x), y) * (len(x) / len(inputs))
        finally:
            for module in training:
                module.training = True

    return closure
