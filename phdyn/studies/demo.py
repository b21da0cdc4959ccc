"""The demo: who brakes early loses, on a toy; who wins on a real network; which discretization is cheapest.

(a) A ball in the multi-well toy, braking at several goals. (b) A network on handwritten digits: goal-switched friction against constant
ones, the same switch at a fixed time, the opposite switch and gradient flow. (c) A smaller network's flow under every method, against a
tight reference. One run folder holds the tables, the trajectories and the figures.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

from phdyn import runs
from phdyn.errors import ArgumentError
from phdyn.methods import get
from phdyn.studies.demo_figures import draw
from phdyn.studies.demo_report import failures, report
from phdyn.studies.demo_runs import SOLUTIONS, compare_methods, roll, train_arms
from phdyn.studies.study import Study, clock

__all__ = ["Config", "Digits", "Methods", "Toy", "draw", "report", "run"]


@dataclass(frozen=True)
class Toy:
    """(a) The multi-well toy.

    Parameters
    ----------
    start : float
        Where the ball starts, at rest.
    explore : list of float
        Friction before the goal.
    exploit : float
        Friction after it.
    goals : list of float
        Fractions of the initial loss at which to brake.
    t_end, step : float
        Span and step of Strang's splitting.
    shown : float
        The explore friction of the run in the figure; its goal is the last one.
    """

    start: float = 7.2
    explore: tuple[float, ...] = (0.0, 0.05, 0.2, 1.0)
    exploit: float = 3.0
    goals: tuple[float, ...] = (0.7, 0.4, 0.1, 0.03)
    t_end: float = 60.0
    step: float = 0.02
    shown: float = 0.05


@dataclass(frozen=True)
class Digits:
    """(b) A network on handwritten digits.

    Parameters
    ----------
    sizes : list of int
        Widths of its layers.
    weight_decay : float
        Part of the objective V, which it gives a finite minimum.
    t_end, step : float
        Span and step of Strang's splitting: what fixes the number of gradients.
    explore, exploit : float
        Friction before and after the goal; both are arms too.
    goals : list of float
        Reductions of V at which to brake.
    constant : float
        A well-chosen constant friction.
    released, release : float
        The opposite switch: from ``constant`` down to ``released`` once V has fallen by the fraction ``release``.
    flow_rtol : float
        Tolerance of RK45 on the gradient flow.
    """

    sizes: tuple[int, ...] = (64, 64, 64, 10)
    weight_decay: float = 1e-3
    t_end: float = 60.0
    step: float = 0.2
    explore: float = 0.05
    exploit: float = 3.0
    goals: tuple[float, ...] = (0.8, 0.95)
    constant: float = 0.2
    released: float = 0.05
    release: float = 0.9
    flow_rtol: float = 1e-6


def _settings() -> dict[str, tuple[float, ...]]:
    return {
        "explicit-euler": (0.1, 0.05, 0.025),
        "conformal-euler": (0.2, 0.1, 0.05),
        "sgd": (0.1, 0.05, 0.025),
        "strang": (0.8, 0.4, 0.2, 0.1, 0.05),
        "yoshida-4": (0.5, 0.25, 0.125),
        "blanes-moan-s6": (2.0, 1.25, 1.0, 0.5),
        "blanes-moan-4": (2.0, 1.25, 1.0, 0.5),
        "blanes-moan-6": (4.0, 2.5, 2.0, 1.0),
        "rk4": (0.8, 0.4, 0.2),
        "RK45": (1e-3, 1e-4, 1e-5, 1e-6),
        "DOP853": (1e-2, 1e-3, 1e-4, 1e-6),
        "LSODA": (1e-2, 1e-3, 1e-4, 1e-6),
        "dopri5": (1e-3, 1e-4, 1e-5, 1e-6),
        "dopri8": (1e-2, 1e-3, 1e-4, 1e-6),
    }


@dataclass(frozen=True)
class Methods:
    """(c) A smaller network's flow under many methods.

    Parameters
    ----------
    sizes : list of int
        Widths of its layers.
    images : int
        How many of the digits.
    friction, t_end : float
        Friction and span.
    settings : dict of str to list of float
        Steps, or relative tolerances, of each method.
    target : float
        The error at which methods are compared; the table shows each at the setting whose error is nearest to it.
    """

    sizes: tuple[int, ...] = (64, 16, 10)
    images: int = 400
    friction: float = 0.3
    t_end: float = 20.0
    settings: dict[str, tuple[float, ...]] = field(default_factory=_settings)
    target: float = 1e-5


@dataclass(frozen=True)
class Config:
    """The three experiments of the demo.

    Parameters
    ----------
    seed : int
        Seed of the networks' initial parameters.
    toy, digits, methods
        The experiments.
    """

    seed: int = 0
    toy: Toy = field(default_factory=Toy)
    digits: Digits = field(default_factory=Digits)
    methods: Methods = field(default_factory=Methods)


def run(config: Config, out: str | Path, *, executor: Executor | None = None, progress: bool = False) -> Study:
    """Run the three experiments; leave tables, trajectories and figures in one run folder.

    Parameters
    ----------
    config : Config
        The configuration; its hash names the folder.
    out : str or Path
        Where the folder lies.
    executor : Executor, optional
        Runs the arms of (b) in parallel; they are run one after the other otherwise.
    progress : bool
        Whether to show progress on stderr.

    Returns
    -------
    Study
        Tables "toy", "digits" and "methods"; figures "energies", "loss", "phase", "residuals" and "work_precision".

    Raises
    ------
    ArgumentError
        Wrong entries of the configuration, before anything is run.
    MissingExtraError
        scikit-learn, which has the digits, is not installed.
    """
    _check(config)
    record = runs.create(config, root=out)
    seconds: dict[str, float] = {}
    with record:
        (record.path / SOLUTIONS).mkdir()
        with clock(seconds, "toy"):
            record.save_table(roll(config.toy, record, progress=progress), "toy")
        with clock(seconds, "digits"):
            record.save_table(train_arms(config, record, executor, progress=progress), "digits")
        with clock(seconds, "methods"):
            record.save_table(compare_methods(config, record, progress=progress), "methods")
        with clock(seconds, "figures"):
            draw(record, record.path / runs.FIGURES)
        record.numbers["seconds"] = seconds
    done = runs.open_run(record.path)
    return Study(done.path, done.tables(), done.figures, failures(done))


def _check(config: Config) -> None:
    """Refuse what would fail late."""
    toy, settings = config.toy, config.methods.settings
    if not toy.goals or toy.shown not in toy.explore:
        raise ArgumentError(f"the toy needs goals, and shown={toy.shown:g} to be one of explore={toy.explore}")
    if not config.digits.goals:
        raise ArgumentError("the digits need goals")
    if not settings or not all(settings.values()):
        raise ArgumentError(f"each method needs settings, not {settings}")
    for name in settings:
        get(name)
