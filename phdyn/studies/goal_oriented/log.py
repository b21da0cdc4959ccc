"""What a training run has seen and found so far."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Final, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from phdyn.studies.goal_oriented.cells import Cell, Result
from phdyn.training import Ema

ESTIMATE: Final = Ema(0.9)
"""What goals are compared with."""

_CHUNK: Final = 1000


@dataclass(frozen=True, eq=False)
class Part:
    """What a cell trains on and is evaluated on: images, labels, and which of them."""

    x: Tensor
    y: Tensor
    rows: Tensor
    x_other: Tensor
    y_other: Tensor
    rows_other: Tensor


@dataclass
class Log:
    """What a cell has found so far.

    Attributes
    ----------
    cell, part
        What is trained, and on what.
    levels : tuple of float
        Reductions whose first passage is noted.
    reference : float
        The loss that they refer to.
    losses : list of float
        Of each batch so far; as many as steps.
    estimate, lowest_before : float
        The estimate of the training loss now, and its lowest value in all steps before.
    diverged : int, optional
        Step at which a batch's loss was not finite.
    ends, curve : list of tuple
        What was evaluated at marks (accuracy, loss, training loss), and along the curves (step, accuracy, mean loss of the batches).
    """

    cell: Cell
    part: Part
    levels: tuple[float, ...]
    reference: float
    losses: list[float] = field(default_factory=list)
    estimate: float = math.inf
    lowest_before: float = math.inf
    diverged: int | None = None
    ends: list[tuple[float, float, float]] = field(default_factory=list)
    curve: list[tuple[int, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.memory: list[float] = []
        self.reached: list[int | None] = [None] * len(self.levels)
        self.sum, self.count = 0.0, 0

    @property
    def step(self) -> int:
        """Steps so far."""
        return len(self.losses)

    def twin(self, cell: Cell) -> Self:
        """Return a copy, for a cell that has been the same so far."""
        twin = copy.deepcopy(self, {id(self.part): self.part})
        twin.cell = cell
        return twin

    def before(self, goal: float) -> bool:
        """Say whether no step before this one had reached a goal."""
        return self.lowest_before > self._level(goal)

    def reaches(self, goal: float) -> bool:
        """Say whether this step is the first that has reached a goal."""
        return self.before(goal) and self.estimate <= self._level(goal)

    def at_a_fork(self) -> bool:
        """Say whether this is a step after which runs may brake."""
        goals = self.levels if self.cell.goal is None else (*self.levels, self.cell.goal)
        return self.step == self.cell.at or any(map(self.reaches, goals))

    def note(self, loss: float, model: nn.Module) -> None:
        """Take note of a step, and evaluate where it is time."""
        self.losses.append(loss)
        step = self.step
        self.sum, self.count = self.sum + loss, self.count + 1
        self.lowest_before = min(self.lowest_before, self.estimate)
        self.estimate = ESTIMATE.update(self.memory, step, loss)
        for k, level in enumerate(self.levels):
            if self.reaches(level):
                self.reached[k] = step
        marked, drawn = step in self.cell.marks, self.cell.every is not None and step % self.cell.every == 0
        if marked or drawn:
            self._evaluate(step, model, marked=marked)

    def result(self, model: nn.Module, switch: int | None, seconds: float) -> Result:
        """Return what was found; marks that a diverged run has not reached show the parameters that it left."""
        if self.diverged is not None:
            for mark in self.cell.marks[len(self.ends) :]:
                self._evaluate(mark, model, marked=True)
        accuracy, loss, train_loss = zip(*self.ends, strict=True)
        steps, accuracies, losses = zip(*self.curve, strict=True) if self.curve else ((), (), ())
        return Result(
            accuracy=accuracy,
            loss=loss,
            train_loss=train_loss,
            switch=switch,
            reached=tuple(self.reached),
            diverged=self.diverged,
            curve_steps=steps,
            curve_accuracy=accuracies,
            curve_loss=losses,
            seconds=round(seconds, 3),
        )

    def _level(self, goal: float) -> float:
        return (1.0 - goal) * self.reference

    def _evaluate(self, step: int, model: nn.Module, *, marked: bool) -> None:
        part = self.part
        model.eval()
        accuracy, loss = evaluated(model, part.x_other, part.y_other, part.rows_other)
        if marked:
            self.ends.append((accuracy, _finite(loss), _finite(evaluated(model, part.x, part.y, part.rows)[1])))
        model.train()
        if self.cell.every is not None:
            mean = self.sum / self.count if self.count and self.diverged is None else math.nan
            self.curve.append((step, round(accuracy, 4), float(f"{mean:.6g}")))
            self.sum, self.count = 0.0, 0


def picked(x: Tensor, rows: Tensor) -> Tensor:
    """Return some inputs; images stay in the order of memory that `loaded` gave them, which ``index_select`` alone would not keep."""
    if x.ndim != 4:
        return x.index_select(0, rows)
    return x.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)


def evaluated(model: nn.Module, x: Tensor, y: Tensor, rows: Tensor) -> tuple[float, float]:
    """Return accuracy (%) and mean loss."""
    right, total = 0, 0.0
    with torch.no_grad():
        for chunk in torch.split(rows, _CHUNK):
            outputs, targets = model(picked(x, chunk)), y.index_select(0, chunk)
            right += int((outputs.argmax(1) == targets).sum())
            total += float(cross_entropy(outputs, targets, reduction="sum"))
    return 100.0 * right / len(rows), total / len(rows)


def _finite(loss: float) -> float:
    return loss if math.isfinite(loss) else math.nan
