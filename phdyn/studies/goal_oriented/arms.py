"""The arms: what each tunes, and what a setting means as a training run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, Final, TypeAlias

from phdyn.studies.goal_oriented.cells import Cell
from phdyn.studies.goal_oriented.config import Config, grid_lists
from phdyn.training import heavy_ball_from_sgd, sgd_from_heavy_ball

Settings: TypeAlias = dict[str, float]

CONTROL: Final = "momentum"
"""The race's control: SGD with constant momentum."""

CLOCK: Final = "clock"
COSINE: Final = "cosine"
ADAMW: Final = "adamw"
TOLD: Final = "cosine-told"
"""The cosine schedule that knows how long the run is."""

_SHORT: Final = {"lr": "lr", "momentum": "mu", "time": "at", "exploit": "then mu", "weight_decay": "decay"}
_LONG: Final = {"lr": "lr", "momentum": "momentum", "time": "time", "exploit": "exploit momentum", "weight_decay": "weight decay"}

BRAKES: Final = {
    "momentum": "(i) momentum, at fixed lr",
    "lr": "(ii) lr, cut by the same factor of lr/(1 - mu)",
    "rescaled": "(iii) momentum, at constant lr/(1 - mu)",
    "friction": "(iv) friction, at constant physical step",
}
"""What a brake may change, at the same step of the same seed."""

OF_THE_RACE: Final = "momentum"
"""The brake of the race's goal arms."""


@dataclass(frozen=True)
class Spans:
    """Steps of an epoch, and of each run length.

    Attributes
    ----------
    epoch : int
        Batches of an epoch.
    epochs : int
        Of length 1.
    """

    epoch: int
    epochs: int

    def steps(self, length: float) -> int:
        """Return the steps of a run length."""
        return max(1, round(length * self.epochs * self.epoch))


@dataclass(frozen=True)
class Arm:
    """One arm of the race.

    Attributes
    ----------
    name : str
        Its name in tables.
    points : tuple of dict
        The settings among which it is tuned.
    fields : callable
        ``fields(settings, spans)``: the fields of a `Cell`.
    """

    name: str
    points: tuple[Settings, ...]
    fields: Callable[[Settings, Spans], dict[str, Any]]


def race(config: Config) -> dict[str, Arm]:
    """Return the arms of the race by name."""
    grids = grid_lists(config.grids)

    def arm(name: str, kind: str, names: tuple[str, ...], fields: Callable[[Settings, Spans], dict[str, Any]]) -> Arm:
        return Arm(name, tuple(dict(zip(names, values, strict=True)) for values in product(*grids[kind])), fields)

    arms = [
        arm("sgd", "sgd", ("lr",), lambda settings, _: dict(settings)),
        arm(CONTROL, "momentum", ("lr", "momentum"), lambda settings, _: dict(settings)),
        arm(CLOCK, "clock", ("lr", "time"), partial(_clock, config)),
        arm(COSINE, "cosine", ("lr", "momentum"), lambda settings, spans: {**settings, "cosine": spans.steps(1.0)}),
        *(arm(goal_name(goal), "goal", ("lr", "exploit"), partial(_goal, config, goal)) for goal in config.goals),
        arm(ADAMW, "adamw", ("lr", "weight_decay"), lambda settings, _: {**settings, "optimizer": "adamw"}),
    ]
    return {one.name: one for one in arms}


def goal_name(goal: float) -> str:
    """Return the name of a goal's arm: ``goal-15`` for a reduction by 15 %."""
    return f"goal-{100 * goal:g}"


def _clock(config: Config, settings: Settings, spans: Spans) -> dict[str, Any]:
    at = max(2, round(settings["time"] * spans.steps(1.0)))
    return {"lr": settings["lr"], "momentum": config.explore_momentum, "at": at, "exploit": (("momentum", config.exploit_momentum),)}


def _goal(config: Config, goal: float, settings: Settings, _spans: Spans) -> dict[str, Any]:
    return {"lr": settings["lr"], "momentum": config.explore_momentum, "goal": goal, "exploit": (("momentum", settings["exploit"]),)}


def brakes(lr: float, explore: float, exploit: float) -> dict[str, tuple[tuple[str, float], ...]]:
    """Return what each brake sets.

    Parameters
    ----------
    lr, explore : float
        Learning rate and momentum before it.
    exploit : float
        Momentum after it.

    Returns
    -------
    dict of str to tuple of (str, float)
        By the names of `BRAKES`. (i) to (iii) share the factor ``(1 - explore)/(1 - exploit)``: (i) lowers lr/(1 - momentum) by it through
        the momentum, (ii) through lr alone, and (iii) takes it back.
    """
    factor = (1 - explore) / (1 - exploit)
    step, _ = heavy_ball_from_sgd(lr=lr, momentum=explore)
    return {
        "momentum": (("momentum", exploit),),
        "lr": (("lr", lr * factor),),
        "rescaled": (("momentum", exploit), ("lr", lr / factor)),
        "friction": (("friction", -math.log(exploit) / step),),
    }


def braked(base: Cell, exploit: tuple[tuple[str, float], ...], at: int | None) -> Cell:
    """Return a goal arm's run with another brake, at its goal or, where given, at a fixed step."""
    return replace(base, exploit=exploit, at=at, goal=base.goal if at is None else None)


def never_braked(base: Cell) -> Cell:
    """Return a goal arm's run without a brake."""
    return replace(base, exploit=(), at=None, goal=None)


def map_cell(base: Cell, settings: Settings, config: Config, momentum: float, goal: float | None) -> Cell:
    """Return the run of the goal map at a momentum of exploration, with the physical step of a goal arm; without a brake if no goal."""
    step, _ = heavy_ball_from_sgd(lr=settings["lr"], momentum=config.explore_momentum)
    lr, momentum = sgd_from_heavy_ball(step=step, friction=-math.log(momentum) / step)
    exploit = () if goal is None else (("friction", -math.log(config.exploit_momentum) / step),)
    return replace(base, lr=lr, momentum=momentum, goal=goal, at=None, exploit=exploit)


def edge(arm: Arm, settings: Settings) -> str:
    """Say which of an arm's settings are the lowest or the highest of its grid: ``lowest lr, highest momentum``."""
    found = []
    for name, value in settings.items():
        values = sorted({point[name] for point in arm.points})
        ends = {values[-1]: "highest", values[0]: "lowest"} if len(values) > 1 else {}
        if value in ends:
            found.append(f"{ends[value]} {_LONG[name]}")
    return ", ".join(found)


def words(settings: Settings) -> str:
    """Return settings as text."""
    return ", ".join(f"{_SHORT[name]} {value:g}" for name, value in settings.items())
