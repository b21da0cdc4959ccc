"""What is evaluated on all data beside the training, and must leave no trace in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from phdyn.errors import ArgumentError, ArgumentTypeError


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


def full_gradient(closure: Callable[[], Any], optimizer: Optimizer) -> tuple[Tensor, dict[int, Tensor]]:
    """Return the loss on all data and its gradient, parameter by parameter (by id).

    The closure may return the loss with its graph, in one tensor or in parts, or call ``backward()`` itself: the parameters' own gradients
    are laid aside meanwhile.

    Raises
    ------
    ArgumentTypeError
        The closure returns something else.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"] if parameter.requires_grad]
    aside = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    try:
        with torch.enable_grad(), undisturbed():
            answer = closure()
            parts = answer if isinstance(answer, Iterable) and not isinstance(answer, Tensor) else [answer]
            own = any(parameter.grad is not None for parameter in parameters)  # by the closure's backward()
            total, sums = _summed(parts, parameters, differentiate=not own)
        found = [parameter.grad for parameter in parameters] if own else sums
        return total, {id(p): torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)}
    finally:
        for parameter, gradient in zip(parameters, aside, strict=True):
            parameter.grad = gradient


def _summed(parts: Iterable[Any], parameters: list[Tensor], *, differentiate: bool) -> tuple[Any, list[Tensor | None]]:
    """Return the sum of a loss's parts and, if wanted, of their gradients."""
    total: Any = 0.0
    sums: list[Tensor | None] = [None] * len(parameters)
    for part in parts:
        _check_part(part)
        total = total + part.detach().reshape(())
        if differentiate:
            gradients = torch.autograd.grad(part, parameters, allow_unused=True)
            sums = [old if new is None else new if old is None else old + new for old, new in zip(sums, gradients, strict=True)]
    return total, sums


def _check_part(part: Any) -> None:
    if not isinstance(part, Tensor) or part.numel() != 1 or not part.requires_grad:
        raise ArgumentTypeError(
            "full_gradient is a function that returns the loss on all data as a 0-d tensor with its graph, or such tensors whose sum it is "
            f"(full_batch makes one), not {part!r}"
        )
