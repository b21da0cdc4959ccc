"""Runs that are equal until they brake: what they have in common is trained once.

The run that comes first leaves copies of itself where another might brake: at a level of the loss, at a fixed step. A run that comes later
goes on from the latest of them that lies before its own brake, and finds, bit by bit, what it would have found alone.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

from torch import nn
from torch.optim import Optimizer

from phdyn.studies.goal_oriented.cells import Cell
from phdyn.studies.goal_oriented.log import Log


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


def latest(found: Iterable[Fork], cell: Cell) -> Fork | None:
    """Return the latest fork that serves a cell."""
    return max((fork for fork in found if fork.serves(cell)), key=lambda fork: fork.log.step, default=None)


def groups(cells: Iterable[Cell], most: int) -> list[list[Cell]]:
    """Return cells in groups of at most ``most`` that are equal until they brake, those that never do first."""
    found: dict[Cell, list[Cell]] = {}
    for cell in cells:
        found.setdefault(replace(cell, goal=None, at=None, exploit=()), []).append(cell)
    rows = [sorted(row, key=lambda cell: cell.goal is not None or cell.at is not None) for row in found.values()]
    return [row[k : k + most] for row in rows for k in range(0, len(row), most)]
