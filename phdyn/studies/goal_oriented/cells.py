"""A cell is one training run: all that fixes it, and what it found."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

from phdyn.runs import plain


@dataclass(frozen=True)
class Setup:
    """What all cells of a study share.

    Attributes
    ----------
    dataset, network, sizes, images, batch, validation
        As in the configuration.
    split : int
        Seed that draws what tuning holds out.
    levels : tuple of float
        Reductions whose first passage each cell notes.
    fingerprint : str
        Of the data themselves.
    """

    dataset: str
    network: str
    sizes: tuple[int, ...] | None
    images: int | None
    batch: int
    validation: float
    split: int
    levels: tuple[float, ...]
    fingerprint: str


@dataclass(frozen=True)
class Cell:
    """One training run.

    Attributes
    ----------
    seed : int
        Fixes the initial parameters and the order of the data.
    steps : int
        Optimizer steps.
    marks : tuple of int
        Steps at which accuracy and losses are evaluated; the last one is ``steps``.
    lr, momentum, weight_decay : float
        Of the optimizer.
    optimizer : str
        "sgd" or "adamw".
    cosine : int, optional
        Step at which a cosine schedule has brought lr to zero.
    goal : float, optional
        Reduction of the loss at which to switch.
    at : int, optional
        Step at which to switch.
    exploit : tuple of (str, float)
        What the switch sets.
    every : int, optional
        Steps between two evaluations of the curves.
    tuning : bool
        Whether it trains on a part, and is evaluated on what is held out, not on the test set.
    """

    seed: int
    steps: int
    marks: tuple[int, ...]
    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    optimizer: str = "sgd"
    cosine: int | None = None
    goal: float | None = None
    at: int | None = None
    exploit: tuple[tuple[str, float], ...] = ()
    every: int | None = None
    tuning: bool = False


class Job(NamedTuple):
    """What a worker needs to train a cell."""

    setup: Setup
    data_dir: str | None
    cell: Cell


@dataclass(frozen=True)
class Result:
    """What a cell found.

    Attributes
    ----------
    accuracy, loss, train_loss : tuple of float
        At each mark: accuracy (%) and loss on the test set (tuning: on what is held out), loss on all that it trained on.
    switch : int, optional
        Step after which it switched; None: never.
    reached : tuple of (int or None)
        First step at which the estimate of the training loss was at each level.
    diverged : int, optional
        Step at which a batch's loss was not finite: training ended there, and what follows is evaluated with the parameters left.
    curve_steps, curve_accuracy, curve_loss : tuple
        Steps of evaluation; accuracy there; mean loss of the batches since the one before.
    seconds : float
        Wall time, without that of steps which an earlier run of its group had made for it: it depends on how cells were grouped.
    """

    accuracy: tuple[float, ...]
    loss: tuple[float, ...]
    train_loss: tuple[float, ...]
    switch: int | None
    reached: tuple[int | None, ...]
    diverged: int | None
    curve_steps: tuple[int, ...]
    curve_accuracy: tuple[float, ...]
    curve_loss: tuple[float, ...]
    seconds: float


_NUMBERS: Final = ("accuracy", "loss", "train_loss", "curve_accuracy", "curve_loss")


def key(setup: Setup, cell: Cell) -> str:
    """Return 16 hexadecimal digits that name a cell: equal runs have equal names, whichever arm they belong to."""
    fields = plain({"setup": asdict(setup), "cell": asdict(cell)})
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def read_result(fields: dict[str, Any]) -> Result:
    """Return a result that JSON holds, null as nan where a number is meant."""
    parts: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    parts |= {name: tuple(math.nan if one is None else float(one) for one in fields[name]) for name in _NUMBERS}
    return Result(**parts)
