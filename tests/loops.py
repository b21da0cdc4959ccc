"""Small training loops that the tests of phdyn.training share: float64, full batch or mini-batches, the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from phdyn import networks

LOSS = nn.functional.cross_entropy


@lru_cache
def blobs(samples: int = 120, seed: int = 3) -> tuple[Tensor, Tensor]:
    """Three Gaussian clouds in six dimensions, overlapping."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(samples) % 3
    return torch.randn(samples, 6, generator=generator, dtype=torch.float64) + 2 * torch.eye(3, 6, dtype=torch.float64)[y], y


def network(seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(seed)
    return networks.mlp((6, 8, 3)).to(dtype)


def flat(model: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def sgd(model: nn.Module, *, split: bool = False, **settings: Any) -> torch.optim.SGD:
    """SGD in one param group, or in one a layer."""
    parameters = list(model.parameters())
    groups: Any = [{"params": parameters[:2]}, {"params": parameters[2:]}] if split else parameters
    return torch.optim.SGD(groups, **{"lr": 0.05, "momentum": 0.9, **settings})


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    steps: int,
    *parts: Any,
    batch: int | None = None,
    change: dict[int, Callable[[torch.optim.Optimizer], Any]] | None = None,
    generator: torch.Generator | None = None,
) -> list[float]:
    """Train, stepping the parts along; ``change`` acts before the step of that number (from 0). Return the losses."""
    dtype = next(model.parameters()).dtype
    x, y = blobs()
    generator = generator or torch.Generator().manual_seed(1)
    losses = []
    for k in range(steps):
        if change and k in change:
            change[k](optimizer)
        rows = torch.randperm(len(x), generator=generator)[:batch] if batch else slice(None)
        optimizer.zero_grad()
        loss = LOSS(model(x[rows].to(dtype)), y[rows])
        loss.backward()
        optimizer.step()
        for part in parts:
            part.step(loss)
        losses.append(loss.item())
    return losses
