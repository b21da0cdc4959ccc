"""One training run, as plain as a loop can be; the same for every arm but for what the optimizer and the schedule do."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from time import perf_counter
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, AdamW, Optimizer

from phdyn import networks
from phdyn.data import Dataset, load
from phdyn.events import LossGoal, TimeReached
from phdyn.studies.goal_oriented.cells import Cell, Job, Result, Setup
from phdyn.training import Ema, GoalScheduler

ESTIMATE: Final = Ema(0.9)
"""What goals are compared with."""

_CHUNK: Final = 1000
_BUILDING = threading.Lock()


@dataclass(frozen=True, eq=False)
class Part:
    """What a cell trains on and is evaluated on: images, labels, and which of them."""

    x: Tensor
    y: Tensor
    rows: Tensor
    x_other: Tensor
    y_other: Tensor
    rows_other: Tensor


def train(job: Job) -> Result:
    """Train a cell.

    Parameters
    ----------
    job : Job
        Its settings and where the data lie.
    """
    begun = perf_counter()
    cell, part = job.cell, part_of(job.setup, job.data_dir, job.cell.tuning)
    model = build(job.setup, loaded(job.setup.dataset, job.setup.images, job.data_dir), cell.seed)
    optimizer = _optimizer(model, cell)
    reference = start_loss(model, part)
    scheduler = _scheduler(optimizer, cell, reference)
    log = _Log(cell, part, tuple((1.0 - level) * reference for level in job.setup.levels))
    batches = orders(part.rows, job.setup.batch, cell.seed)
    for step in range(1, cell.steps + 1):
        rows = next(batches)
        loss = cross_entropy(model(picked(part.x, rows)), part.y.index_select(0, rows))
        value = loss.item()
        if not math.isfinite(value):
            log.diverged = step
            break
        if cell.cosine is not None:
            _set_lr(optimizer, cell.lr * cosine(step, cell.cosine))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if scheduler is not None:
            scheduler.step(value)
        log.note(step, value, model)
    switch = int(scheduler.switches[0].step) if scheduler is not None and len(scheduler.switches) else None
    return log.result(model, switch, perf_counter() - begun)


@lru_cache(maxsize=1)
def loaded(dataset: str, images: int | None, data_dir: str | None) -> Dataset:
    """Return a data set, standardized by the mean and deviation of its training inputs: one of each channel of images, else one of all."""
    found = load(dataset, data_dir)
    x, y = found.x_train[:images], found.y_train[:images]
    axes = (0, 2, 3) if x.ndim == 4 else tuple(range(x.ndim))
    mean, deviation = x.mean(axes, keepdim=True), x.std(axes, keepdim=True)
    return replace(found, x_train=_fast((x - mean) / deviation), y_train=y, x_test=_fast((found.x_test - mean) / deviation))


@lru_cache(maxsize=2)
def part_of(setup: Setup, data_dir: str | None, tuning: bool) -> Part:
    """Return what cells of tuning, or the others, train on and are evaluated on."""
    dataset = loaded(setup.dataset, setup.images, data_dir)
    x, y, count = dataset.x_train, dataset.y_train, len(dataset.x_train)
    if not tuning:
        return Part(x, y, torch.arange(count), dataset.x_test, dataset.y_test, torch.arange(len(dataset.x_test)))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(setup.split))
    held_out = round(setup.validation * count)
    return Part(x, y, order[held_out:], x, y, order[:held_out])


def build(setup: Setup, dataset: Dataset, seed: int) -> nn.Module:
    """Return the network with the initial parameters of a seed; the caller's random numbers stay as they were."""
    with _BUILDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = networks.build(setup.network, dataset, sizes=setup.sizes)
    return model.to(memory_format=torch.channels_last) if dataset.x_train.ndim == 4 else model  # type: ignore[call-overload]


def orders(rows: Tensor, batch: int, seed: int) -> Iterator[Tensor]:
    """Yield the rows of batch after batch, a fresh permutation an epoch; what does not fill a batch is left out."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        epoch = rows[torch.randperm(len(rows), generator=generator)]
        yield from torch.split(epoch[: len(rows) // batch * batch], batch)


def picked(x: Tensor, rows: Tensor) -> Tensor:
    """Return some inputs; images stay in the order of memory that `loaded` gave them, which ``index_select`` alone would not keep."""
    if x.ndim != 4:
        return x.index_select(0, rows)
    return x.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)


def cosine(step: int, end: int) -> float:
    """Return the factor of the learning rate in a step, from 1 in the first to 0 after the last; it stays 0."""
    return 0.5 * (1.0 + math.cos(math.pi * min((step - 1) / end, 1.0)))


def start_loss(model: nn.Module, part: Part) -> float:
    """Return the loss on all that is trained on, in training mode, before training: what reductions refer to. The model stays as it is."""
    return _evaluated(copy.deepcopy(model), part.x, part.y, part.rows)[1]


def _evaluated(model: nn.Module, x: Tensor, y: Tensor, rows: Tensor) -> tuple[float, float]:
    """Return accuracy (%) and mean loss."""
    right, total = 0, 0.0
    with torch.no_grad():
        for chunk in torch.split(rows, _CHUNK):
            outputs, targets = model(picked(x, chunk)), y.index_select(0, chunk)
            right += int((outputs.argmax(1) == targets).sum())
            total += float(cross_entropy(outputs, targets, reduction="sum"))
    return 100.0 * right / len(rows), total / len(rows)


def _fast(x: Tensor) -> Tensor:
    """Return images in the order of memory in which convolutions on CPUs are fast."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def _optimizer(model: nn.Module, cell: Cell) -> Optimizer:
    if cell.optimizer == "adamw":
        return AdamW(model.parameters(), lr=cell.lr, weight_decay=cell.weight_decay)
    return SGD(model.parameters(), lr=cell.lr, momentum=cell.momentum, weight_decay=cell.weight_decay)


def _scheduler(optimizer: Optimizer, cell: Cell, reference: float) -> GoalScheduler | None:
    if cell.goal is None and cell.at is None:
        return None
    event = LossGoal(reduction=cell.goal) if cell.at is None else TimeReached(cell.at)
    return GoalScheduler(optimizer, event, dict(cell.exploit), estimate=ESTIMATE, reference=reference)


def _set_lr(optimizer: Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


@dataclass
class _Log:
    """What a cell has found so far."""

    cell: Cell
    part: Part
    levels: tuple[float, ...]
    diverged: int | None = None
    ends: list[tuple[float, float, float]] = field(default_factory=list)
    curve: list[tuple[int, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.memory: list[float] = []
        self.reached: list[int | None] = [None] * len(self.levels)
        self.sum, self.count = 0.0, 0

    def note(self, step: int, loss: float, model: nn.Module) -> None:
        """Take note of a step, and evaluate where it is time."""
        self.sum, self.count = self.sum + loss, self.count + 1
        estimate = ESTIMATE.update(self.memory, step, loss)
        for k, level in enumerate(self.levels):
            if self.reached[k] is None and estimate <= level:
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

    def _evaluate(self, step: int, model: nn.Module, *, marked: bool) -> None:
        part = self.part
        model.eval()
        accuracy, loss = _evaluated(model, part.x_other, part.y_other, part.rows_other)
        if marked:
            self.ends.append((accuracy, _finite(loss), _finite(_evaluated(model, part.x, part.y, part.rows)[1])))
        model.train()
        if self.cell.every is not None:
            mean = self.sum / self.count if self.count and self.diverged is None else math.nan
            self.curve.append((step, round(accuracy, 4), float(f"{mean:.6g}")))
            self.sum, self.count = 0.0, 0


def _finite(loss: float) -> float:
    return loss if math.isfinite(loss) else math.nan
