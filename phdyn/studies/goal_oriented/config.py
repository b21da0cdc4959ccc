"""The configuration of the study, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from phdyn import data, networks
from phdyn.errors import ArgumentError
from phdyn.events import LossGoal

MOST_TUNING_SEEDS = 1000
_MOST_SEEDS = 9000


@dataclass(frozen=True)
class Grids:
    """Where each arm looks for its settings: the product of its two lists (for plain SGD one list), of equal size for all arms.

    Parameters
    ----------
    sgd_lr : list of float
        Learning rates of plain SGD.
    momentum_lr, momentum : list of float
        Of SGD with constant momentum.
    clock_lr, clock_time : list of float
        Of the switch at a fixed time: when, as a fraction of the tuned run.
    cosine_lr, cosine_momentum : list of float
        Of the cosine schedule.
    goal_lr, goal_exploit : list of float
        Of each goal arm: learning rate, and momentum after the switch.
    adamw_lr, adamw_decay : list of float
        Of AdamW: learning rate and weight decay.
    """

    sgd_lr: tuple[float, ...] = (0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)
    momentum_lr: tuple[float, ...] = (0.03, 0.1, 0.3)
    momentum: tuple[float, ...] = (0.8, 0.9, 0.95)
    clock_lr: tuple[float, ...] = (0.01, 0.03, 0.1)
    clock_time: tuple[float, ...] = (0.25, 0.5, 0.75)
    cosine_lr: tuple[float, ...] = (0.03, 0.1, 0.3)
    cosine_momentum: tuple[float, ...] = (0.8, 0.9, 0.95)
    goal_lr: tuple[float, ...] = (0.03, 0.1, 0.3)
    goal_exploit: tuple[float, ...] = (0.5, 0.8, 0.9)
    adamw_lr: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    adamw_decay: tuple[float, ...] = (0.0, 0.01, 0.1)


@dataclass(frozen=True)
class GoalMap:
    """The map of goals and exploration frictions, at the physical step of the best goal arm.

    Parameters
    ----------
    momenta : list of float
        Momenta of exploration at that step, increasing; none: no map.
    goals : list of float
        Reductions, increasing.
    seeds : int
        How many of the fresh seeds.
    """

    momenta: tuple[float, ...] = (0.8, 0.9, 0.95, 0.98, 0.99)
    goals: tuple[float, ...] = (0.15, 0.5, 0.75, 0.9, 0.97)
    seeds: int = 5


@dataclass(frozen=True)
class Config:
    """Goal-triggered braking against standard SGD, on one data set.

    Parameters
    ----------
    dataset : str
        "digits", "mnist1d", "fashion-mnist" or "cifar10".
    network : str
        "mlp", "lenet5", "small-cnn" or "resnet20".
    sizes : list of int, optional
        Widths of the mlp.
    images : int, optional
        At most so many training images.
    batch : int
        Size of a batch; what is left over at the end of an epoch is left out.
    epochs : int
        Length 1: the run length at which arms are tuned and compared.
    validation : float
        Share of the training images that tuning holds out. The final runs train on all.
    goals : list of float
        Reductions of the training loss, increasing; an arm each.
    explore_momentum : float
        Momentum before a switch.
    exploit_momentum : float
        Momentum after the switch at a fixed time, and in the goal map.
    grids
        Settings among which each arm is tuned.
    tuning_seeds, seeds : int
        Seeds of tuning, and fresh ones for the comparison.
    lengths : list of float
        Run lengths over length 1, increasing, 1 among them.
    evaluate_every : int
        Epochs between two evaluations of the curves.
    goal_map
        The map of goals and frictions.
    seed : int
        Moves all seeds, and draws what is held out.
    """

    dataset: str = "digits"
    network: str = "mlp"
    sizes: tuple[int, ...] | None = None
    images: int | None = None
    batch: int = 32
    epochs: int = 30
    validation: float = 0.2
    goals: tuple[float, ...] = (0.15, 0.5, 0.9)
    explore_momentum: float = 0.95
    exploit_momentum: float = 0.8
    grids: Grids = field(default_factory=Grids)
    tuning_seeds: int = 5
    seeds: int = 30
    lengths: tuple[float, ...] = (0.5, 1.0, 2.0)
    evaluate_every: int = 1
    goal_map: GoalMap = field(default_factory=GoalMap)
    seed: int = 0

    def tuning(self) -> list[int]:
        """Return the seeds of tuning."""
        return [10_000 * self.seed + k for k in range(self.tuning_seeds)]

    def fresh(self) -> list[int]:
        """Return the seeds of the comparison, none of which tuning saw."""
        return [10_000 * self.seed + MOST_TUNING_SEEDS + k for k in range(self.seeds)]


def grid_lists(grids: Grids) -> dict[str, tuple[Sequence[float], ...]]:
    """Return the lists whose product is the grid of each kind of arm."""
    return {
        "sgd": (grids.sgd_lr,),
        "momentum": (grids.momentum_lr, grids.momentum),
        "clock": (grids.clock_lr, grids.clock_time),
        "cosine": (grids.cosine_lr, grids.cosine_momentum),
        "goal": (grids.goal_lr, grids.goal_exploit),
        "adamw": (grids.adamw_lr, grids.adamw_decay),
    }


def check(config: Config) -> None:
    """Refuse what would fail late.

    Raises
    ------
    ArgumentError
        With the field, and what it needs.
    """
    for name, known in (("dataset", data.names()), ("network", networks.names())):
        if getattr(config, name) not in known:
            raise ArgumentError(f"{name} is {getattr(config, name)!r}: there are {', '.join(known)}")
    smallest = {"batch": 1, "epochs": 1, "tuning_seeds": 1, "seeds": 2, "evaluate_every": 1, "seed": 0}
    for name, least in smallest.items():
        if getattr(config, name) < least:
            raise ArgumentError(f"{name} is {getattr(config, name)}: at least {least} is needed")
    if config.tuning_seeds > MOST_TUNING_SEEDS:
        raise ArgumentError(f"tuning_seeds is {config.tuning_seeds}: at most {MOST_TUNING_SEEDS}, so that no fresh seed is among them")
    if config.seeds > _MOST_SEEDS:
        raise ArgumentError(f"seeds is {config.seeds}: at most {_MOST_SEEDS}, so that they are none of another seed's")
    if config.images is not None and config.images < 1:
        raise ArgumentError(f"images is {config.images}: a positive number, or none for all")
    _check_shares(config)
    _increasing("lengths", config.lengths, 0.0, math.inf)
    if 1.0 not in config.lengths:
        raise ArgumentError(f"lengths is {list(config.lengths)}: 1 must be among them, where arms are tuned")
    _check_goals("goals", config.goals)
    _check_grids(config)
    _check_map(config)


def _check_shares(config: Config) -> None:
    for name in ("validation", "explore_momentum", "exploit_momentum"):
        if not 0 < getattr(config, name) < 1:
            raise ArgumentError(f"{name} is {getattr(config, name):g}: a number in (0, 1) is needed")
    if config.exploit_momentum >= config.explore_momentum:
        most = config.explore_momentum
        raise ArgumentError(f"exploit_momentum is {config.exploit_momentum:g}: less than explore_momentum ({most:g}) is needed")


def _check_goals(name: str, goals: Sequence[float]) -> None:
    if not goals:
        raise ArgumentError(f"{name} is empty: at least one reduction is needed")
    for goal in goals:
        LossGoal(reduction=goal)
    _increasing(name, goals, 0.0, 1.0)


def _increasing(name: str, values: Sequence[float], low: float, high: float) -> None:
    fine = all(low < value < high for value in values) and list(values) == sorted(set(values))
    if not fine:
        raise ArgumentError(f"{name} is {list(values)}: increasing numbers in ({low:g}, {high:g}) are needed")


def _check_grids(config: Config) -> None:
    grids = config.grids
    sizes = {name: math.prod(map(len, lists)) for name, lists in grid_lists(grids).items()}
    if len(set(sizes.values())) > 1 or 0 in sizes.values():
        raise ArgumentError(f"grids have different numbers of points, or none: {sizes}; arms are compared at equal tuning")
    top, most = config.explore_momentum, math.inf
    bounds = {"momentum": (0, 1), "cosine_momentum": (0, 1), "clock_time": (0, 1), "goal_exploit": (0, top), "adamw_decay": (-1e-300, most)}
    for name in grids.__dataclass_fields__:
        _increasing(f"grids.{name}", getattr(grids, name), *bounds.get(name, (0, most)))


def _check_map(config: Config) -> None:
    if not config.goal_map.momenta:
        return
    _increasing("goal_map.momenta", config.goal_map.momenta, 0.0, 1.0)
    _check_goals("goal_map.goals", config.goal_map.goals)
    if not 1 <= config.goal_map.seeds <= config.seeds:
        raise ArgumentError(f"goal_map.seeds is {config.goal_map.seeds}: 1 to {config.seeds}, the fresh seeds, are possible")
