"""One training run, as plain as a loop can be; the same for every arm but for what the optimizer and the schedule do."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import islice
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
from phdyn.studies.goal_oriented.forks import Fork, latest
from phdyn.studies.goal_oriented.log import ESTIMATE, Log, Part, evaluated, picked
from phdyn.training import GoalScheduler

_BUILDING: Final = threading.Lock()


def train(job: Job, known: list[Fork] | None = None) -> Result:
    """Train a cell.

    Parameters
    ----------
    job : Job
        Its settings and where the data lie.
    known : list of Fork, optional
        What cells that are equal to this one until they brake have left, and this one appends to: it goes on from the latest that serves.
    """
    begun = perf_counter()
    cell, part = job.cell, part_of(job.setup, job.data_dir, job.cell.tuning)
    model = build(job.setup, loaded(job.setup.dataset, job.setup.images, job.data_dir), cell.seed)
    optimizer = _optimizer(model, cell)
    fork = latest(known or (), cell)
    log = Log(cell, part, job.setup.levels, start_loss(model, part)) if fork is None else fork.onto(cell, model, optimizer)
    scheduler = _scheduler(optimizer, cell, log.reference)
    if scheduler is not None:
        for value in log.losses:
            scheduler.step(value)
    batches = islice(orders(part.rows, job.setup.batch, cell.seed), log.step, None)
    for step in range(log.step + 1, cell.steps + 1):
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
        log.note(value, model)
        if known is not None and (scheduler is None or scheduler.mode == "explore") and log.at_a_fork():
            known.append(Fork.of(log, model, optimizer))
        if scheduler is not None:
            scheduler.step(value)
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


def cosine(step: int, end: int) -> float:
    """Return the factor of the learning rate in a step, from 1 in the first to 0 after the last; it stays 0."""
    return 0.5 * (1.0 + math.cos(math.pi * min((step - 1) / end, 1.0)))


def start_loss(model: nn.Module, part: Part) -> float:
    """Return the loss on all that is trained on, in training mode, before training: what reductions refer to. The model stays as it is."""
    return evaluated(copy.deepcopy(model), part.x, part.y, part.rows)[1]


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
