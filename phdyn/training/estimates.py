"""Estimates of the training loss: what a goal is compared with, since a batch's loss crosses it by noise.

An estimate is frozen data with ``update(memory, step, loss) -> number``; its memory is a list of numbers that the scheduler keeps
and saves. Not a number means: not known yet.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol

import torch

from phdyn.errors import ArgumentError, ArgumentTypeError
from phdyn.training.full import undisturbed

Memory = list[float]


class Estimate(Protocol):
    """What turns the losses of batches into an estimate of the training loss."""

    def update(self, memory: Memory, step: int, loss: float) -> float:
        """Return the estimate after a step's loss, nan where not known yet; keep in the memory, empty at first, what the next needs."""


@dataclass(frozen=True)
class LastBatch:
    """The loss of the last batch."""

    def update(self, memory: Memory, step: int, loss: float) -> float:
        """See Estimate."""
        return loss


@dataclass(frozen=True)
class Ema:
    """Exponential average with bias correction: ``(1 - d) sum d^(n-k) loss_k / (1 - d^n)``, over about 1/(1 - d) steps.

    Without the correction (Kingma & Ba 2015, sec. 3, for the same average) the first losses would be weighed down towards zero, and a
    goal fire far too early.

    Parameters
    ----------
    decay : float
        d in [0, 1).
    """

    decay: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise ArgumentError(f"Ema({self.decay}): a decay in [0, 1) is needed")

    def update(self, memory: Memory, step: int, loss: float) -> float:
        """See Estimate."""
        sum_, weight = memory or (0.0, 0.0)
        memory[:] = self.decay * sum_ + (1 - self.decay) * loss, self.decay * weight + (1 - self.decay)
        return memory[0] / memory[1]


@dataclass(frozen=True)
class EpochMean:
    """The mean over an epoch of batches, known from the end of the first one on, new at the end of each.

    Parameters
    ----------
    batches : int
        Batches an epoch: ``len(loader)``.
    """

    batches: int

    def __post_init__(self) -> None:
        if isinstance(self.batches, bool) or not isinstance(self.batches, int) or self.batches < 1:
            raise ArgumentError(f"EpochMean({self.batches!r}): a positive whole number of batches is needed")

    def update(self, memory: Memory, step: int, loss: float) -> float:
        """See Estimate."""
        sum_, count, mean = memory or (0.0, 0.0, math.nan)
        sum_, count = sum_ + loss, count + 1
        if count >= self.batches:
            sum_, count, mean = 0.0, 0.0, sum_ / count
        memory[:] = sum_, count, mean
        return mean

    def missed(self, memory: Memory) -> None:
        """Count a batch whose loss cannot be used, so that epochs stay in step."""
        sum_, count, mean = memory or (0.0, 0.0, math.nan)
        memory[:] = sum_ + (sum_ / count if count else 0.0), count + 1, mean


@dataclass(frozen=True)
class FullLoss:
    """The loss on all data, evaluated at the first step and every so many steps after it.

    Parameters
    ----------
    closure : callable
        ``closure() -> float or 0-d tensor``; called without gradients, and without moving torch's random numbers. A model with
        dropout or batch norm is put into evaluation mode, and back, by the closure: see `full_batch`.
    every : int
        Steps between evaluations.
    """

    closure: Callable[[], Any]
    every: int

    def __post_init__(self) -> None:
        if not callable(self.closure):
            raise ArgumentTypeError(f"FullLoss needs a function that returns the loss, not {self.closure!r}")
        if isinstance(self.every, bool) or not isinstance(self.every, int) or self.every < 1:
            raise ArgumentError(f"FullLoss(every={self.every!r}): a positive whole number of steps is needed")

    def update(self, memory: Memory, step: int, loss: float) -> float:
        """See Estimate."""
        if not memory or step - memory[0] >= self.every:
            with torch.no_grad(), undisturbed():
                memory[:] = step, self.value()
        return memory[1]

    def value(self) -> float:
        """Return the loss on all data now, the parts added up where the closure gives it in parts."""
        answer = self.closure()
        parts = [answer] if isinstance(answer, (Real, torch.Tensor)) else answer
        return math.fsum(part.item() if isinstance(part, torch.Tensor) else float(part) for part in parts)
