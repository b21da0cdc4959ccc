"""One run from a configuration file: a landscape or a network, friction, a method; its verdict, its switches, its figures."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from phdyn import potentials, runs
from phdyn.data import digits
from phdyn.errors import ArgumentError
from phdyn.events import LossGoal
from phdyn.friction import SwitchedFriction
from phdyn.potentials import NetworkLoss
from phdyn.simulate import simulate
from phdyn.solution import Solution, load
from phdyn.studies.demo_runs import accuracy, network_loss
from phdyn.studies.study import Study
from phdyn.systems import HeavyBall, at_rest
from phdyn.tables import Table

_INTERRUPTED = -6


@dataclass(frozen=True)
class Landscape:
    """A potential of ``phdyn.potentials``, by its class.

    Parameters
    ----------
    name : str
        ``MultiWell``, ``Rosenbrock``, ... (or ``multi-well``).
    parameters : dict of str to number or list
        Its parameters, such as ``{curvature: 0.05}``.
    """

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """A multilayer perceptron on handwritten digits, cross-entropy, float64.

    Parameters
    ----------
    sizes : list of int
        Widths of its layers, 64 first and 10 last.
    images : int, optional
        How many of the 1,347 training images; all if not given.
    weight_decay : float
        Part of V.
    """

    sizes: tuple[int, ...] = (64, 64, 64, 10)
    images: int | None = None
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Friction:
    """A constant friction, or one that a goal switches.

    Parameters
    ----------
    rate : float, optional
        Constant friction. With nothing given at all there is none.
    explore, exploit : float, optional
        Friction before and after the goal.
    goal : LossGoal, optional
        ``{reduction: 0.8}``, or ``{value: 0.1}``.
    """

    rate: float | None = None
    explore: float | None = None
    exploit: float | None = None
    goal: LossGoal | None = None

    def law(self) -> float | SwitchedFriction:
        """Return what a heavy ball takes.

        Raises
        ------
        ArgumentError
            A rate and a goal, or only some of explore, exploit and goal.
        """
        switched = (self.explore, self.exploit, self.goal)
        if switched == (None, None, None):
            return self.rate or 0.0
        if self.rate is None and self.explore is not None and self.exploit is not None and self.goal is not None:
            return SwitchedFriction(self.explore, self.exploit, self.goal)
        raise ArgumentError("friction needs either rate, or explore, exploit and goal")


@dataclass(frozen=True)
class System:
    """What moves.

    Parameters
    ----------
    potential, network
        One of the two.
    friction
        Its friction.
    mass : float
        Its mass.
    """

    potential: Landscape | None = None
    network: Network | None = None
    friction: Friction = field(default_factory=Friction)
    mass: float = 1.0


@dataclass(frozen=True)
class Config:
    """One run of a heavy ball.

    Parameters
    ----------
    system
        What moves.
    t_span : (float, float)
        Start and end.
    q0 : list of float, optional
        Where a landscape's ball starts, at rest. A network starts from its initial parameters.
    method : str
        One of ``phdyn methods --all``.
    step : float, optional
        For methods with a fixed step.
    rtol, atol : float, optional
        For adaptive methods.
    record : {"states", "energy", "ends"}
        What is kept.
    seed : int
        Seed of a network's initial parameters.
    """

    system: System
    t_span: tuple[float, float]
    q0: tuple[float, ...] | None = None
    method: str = "strang"
    step: float | None = None
    rtol: float | None = None
    atol: float | None = None
    record: Literal["states", "energy", "ends"] = "energy"
    seed: int = 0


def run(config: Config, out: str | Path, *, executor: Executor | None = None, progress: bool = False) -> Study:  # noqa: ARG001 (a study's signature)
    """Make the run; leave the trajectory, a table of numbers and figures in one run folder.

    Parameters
    ----------
    config : Config
        The configuration; its hash names the folder.
    out : str or Path
        Where the folder lies.
    executor : Executor, optional
        Not used: there is one run.
    progress : bool
        Whether to show progress on stderr.

    Returns
    -------
    Study
        Tables "run" and, where there are any, "switches". A run that Ctrl-C ended is saved as far as it came.

    Raises
    ------
    ArgumentError
        Anything wrong in the configuration, before anything is written.
    """
    record = runs.create(config, root=out)
    ball, start, measure = build(config.system, config.q0, config.seed)
    options = {name: getattr(config, name) for name in ("step", "rtol", "atol")}
    sol = simulate(ball, config.t_span, start, method=config.method, record=config.record, monitor=None, progress=progress, **options)
    with record:
        record.save_solution(sol)
        record.save_table(_summary(sol, measure), "run")
        if len(sol.switches):
            record.save_table(sol.switches, "switches")
        record.numbers.update(status=sol.status, summary=str(sol), switches=str(sol.switches), balance=str(sol.energy_balance()))
        draw(record, record.path / runs.FIGURES)
    done = runs.open_run(record.path)
    return Study(done.path, done.tables(), done.figures, failures(done))


def report(run: runs.Run) -> str:
    """Return what a run's folder says: the run, its switches, its energy balance, its numbers."""
    numbers = run.numbers
    parts = [numbers["summary"], numbers["switches"], numbers["balance"], str(run.tables()["run"])]
    return "\n\n".join([*parts, f"run folder  {run.path}"])


def failures(run: runs.Run) -> tuple[str, ...]:
    """Return a line if the run stopped, and one if its balance was violated."""
    row = run.tables()["run"][0]
    found = []
    if row.status < 0:
        found.append(f"the run stopped with status {row.status}")
    if row.balance == "violated":
        found.append("the energy balance is violated")
    return tuple(found)


def interrupted(run: runs.Run) -> bool:
    """Say whether Ctrl-C ended the run."""
    return bool(run.numbers["status"] == _INTERRUPTED)


def draw(run: runs.Run, folder: str | Path) -> list[Path]:
    """Draw the run's figures into a folder: energies and loss; the phase portrait or the path where states were recorded."""
    from matplotlib import pyplot as plt

    from phdyn import plots

    sol = load(run.path / "trajectory.npz")
    spec = run.config["system"]["potential"]
    if spec is not None:
        sol = replace(sol, system=HeavyBall(landscape(Landscape(**spec), len(run.config["q0"]))))
    if sol.energy is None or len(sol.energy.t) < 2:
        return []
    parts: dict[str, Callable[[Solution], Any]] = {"energies": plots.plot_energy, "loss": plots.plot_loss}
    dim = len(sol.q) if sol.q is not None and len(sol.t) > 2 else 0
    if dim == 1:
        parts["phase"] = plots.plot_phase
    elif dim == 2:
        parts["path"] = plots.plot_path
    saved = []
    with np.errstate(over="ignore"):  # a run that blew up fills the axes to the largest number
        for name, part in parts.items():
            axes = part(sol)
            saved.append(plots.save(axes, Path(folder) / name, run=run))
            plt.close(np.ravel(np.asarray(axes, dtype=object))[0].get_figure(root=True))
    return saved


def landscape(spec: Landscape, dim: int) -> Any:
    """Return a potential by its class's name.

    Raises
    ------
    ArgumentError
        An unknown name, or parameters that it does not take.
    """
    known = {name.lower(): name for name in potentials.__all__ if hasattr(getattr(potentials, name), "minima")}
    key = spec.name.lower().replace("-", "").replace("_", "")
    if key not in known:
        raise ArgumentError(f"unknown potential '{spec.name}'; there are {', '.join(sorted(known.values()))}")
    kind = getattr(potentials, known[key])
    fields = getattr(kind, "__dataclass_fields__", {})
    takes_dim = "dim" in fields and fields["dim"].init and "dim" not in spec.parameters
    try:
        return kind(**spec.parameters, **({"dim": dim} if takes_dim else {}))
    except TypeError as error:
        raise ArgumentError(f"potential '{spec.name}': {error}") from error


def build(spec: System, q0: tuple[float, ...] | None, seed: int) -> tuple[HeavyBall, Any, Callable[[], dict[str, float]]]:
    """Return the ball that a configuration describes, its start, and what else to measure at the end.

    Raises
    ------
    ArgumentError
        Anything wrong in it.
    """
    if (spec.potential is None) == (spec.network is None):
        raise ArgumentError("system needs either a potential or a network")
    law = spec.friction.law()
    if spec.network is not None:
        if q0 is not None:
            raise ArgumentError("a network starts from its initial parameters: leave q0 out, and choose a seed")
        data = digits()
        V: NetworkLoss = network_loss(
            seed, spec.network.sizes, data, images=spec.network.images, weight_decay=spec.network.weight_decay
        )
        return HeavyBall(V, mass=spec.mass, friction=law), V.initial_state(), lambda: {"accuracy": accuracy(V, data)}
    if q0 is None or spec.potential is None:
        raise ArgumentError("a potential needs q0, the positions where the ball starts at rest")
    place = np.array(q0, dtype=np.float64)
    V_ = landscape(spec.potential, len(place))
    if getattr(V_, "dim", None) not in (None, len(place)):
        raise ArgumentError(f"q0 has {len(place)} components, {spec.potential.name} has {V_.dim}")
    return HeavyBall(V_, mass=spec.mass, friction=law), at_rest(place), dict


def _summary(sol: Solution, measure: Callable[[], dict[str, float]]) -> Table:
    balance = sol.energy_balance()
    loss = float(sol.energy.potential[-1]) if sol.energy is not None and sol.energy.potential is not None else float("nan")
    numbers: dict[str, Any] = {"method": sol.method.name, "setting": sol.setting, "status": sol.status, "t_end": sol.t_end, "loss": loss}
    numbers |= {**measure(), "switches": len(sol.switches), "nfev": sol.nfev, "balance": balance.verdict}
    return Table({name: [value] for name, value in numbers.items()})
