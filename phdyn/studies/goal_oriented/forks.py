"""Runs that are equal until they brake: what they have in common is trained once in a process.

The run that comes first leaves copies of itself where another might brake: at a level of the loss, at a fixed step. A run that comes later
goes on from the latest of them that lies before its own brake, and finds, bit by bit, what it would have found alone.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Self

from torch import nn
from torch.optim import Optimizer

from phdyn.studies.goal_oriented.cells import Cell, Job
from phdyn.studies.goal_oriented.log import Log

_KEPT: Final = 16


@dataclass(frozen=True, eq=False)
class Fork:
    """A run after an optimizer step, before anything braked."""

    log: Log
    model: dict[str, Any]
    optimizer: dict[str, Any]

    @classmethod
    def of(cls, log: Log, model: nn.Module, optimizer: Optimizer) -> Self:
        """Copy a run as it is."""
        return cls(log.twin(log.cell), copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict()))

    def onto(self, cell: Cell, model: nn.Module, optimizer: Optimizer) -> Log:
        """Give its state to the run of another cell; return that run's log."""
        model.load_state_dict(self.model)
        optimizer.load_state_dict(copy.deepcopy(self.optimizer))  # torch would keep these very tensors
        return self.log.twin(cell)

    def serves(self, cell: Cell) -> bool:
        """Say whether it lies no later than the step in which a cell brakes."""
        if cell.at is not None:
            return self.log.step <= cell.at
        return cell.goal is None or self.log.before(cell.goal)


def forks(job: Job) -> list[Fork]:
    """Return what runs equal to a job's until they brake have left in this process; append to it."""
    return _forks(job.setup, job.data_dir, replace(job.cell, goal=None, at=None, exploit=()))


def forget() -> None:
    """Let go of all that runs have left."""
    _forks.cache_clear()


@lru_cache(maxsize=_KEPT)
def _forks(*_: Any) -> list[Fork]:
    return []


def latest(found: list[Fork], cell: Cell) -> Fork | None:
    """Return the latest one that serves a cell."""
    return max((fork for fork in found if fork.serves(cell)), key=lambda fork: fork.log.step, default=None)
