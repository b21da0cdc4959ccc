"""The runs of the demo: a ball in the toy, the arms on digits, the methods on a smaller network. Each gives a table."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from tqdm import tqdm

from phdyn.data import Dataset, digits
from phdyn.events import LossGoal, TimeReached
from phdyn.friction import SwitchedFriction
from phdyn.networks import mlp
from phdyn.potentials import MultiWell, NetworkLoss
from phdyn.runs import NewRun
from phdyn.simulate import simulate
from phdyn.solution import Solution
from phdyn.studies.compare import Comparison, compare, gradients_at
from phdyn.systems import GradientFlow, HeavyBall, at_rest
from phdyn.tables import Table

if TYPE_CHECKING:
    from phdyn.studies.demo import Config, Toy

SOLUTIONS: Final = "solutions"
"""Folder, in the run's, of the trajectories that figures need."""

DONE: Final = "done"
"""Outcome of a run that reached its end; otherwise its message."""

_INTERRUPTED = -6


def roll(toy: Toy, record: NewRun, *, progress: bool) -> Table:
    """Brake at each goal, from each explore friction; keep the run that the figure shows."""
    rows = []
    cases = [(explore, goal) for explore in toy.explore for goal in toy.goals]
    for explore, goal in tqdm(cases, disable=not progress, leave=False, desc="(a) multi-well", unit="run"):
        friction = SwitchedFriction(explore, toy.exploit, LossGoal(1 - goal))
        shown = (explore, goal) == (toy.shown, toy.goals[-1])
        keep: dict[str, Any] = {"record": "states" if shown else "energy", "monitor": None}
        ball = HeavyBall(MultiWell(), friction=friction)
        sol = _finished(simulate(ball, (0.0, toy.t_end), at_rest([toy.start]), method="strang", step=toy.step, **keep))
        if shown:
            sol.save(record.path / SOLUTIONS / "toy.npz")
        row = {"explore": explore, "goal": goal, "loss": _last_loss(sol), "position": float(sol.y[0, -1])}
        rows.append(row | {"brakes_at": sol.switches.first(), "nfev": sol.nfev, **_verdict(sol)})
    return _as_table(rows)


@dataclass(frozen=True)
class Arm:
    """One arm on the digits, plain data that can be sent to a worker.

    ``frictions`` are those before and after ``goal``, a LossGoal or a time; a single one is constant. Without any it is gradient flow, and
    ``setting`` is rtol, not the step.
    """

    label: str
    loss: NetworkLoss
    frictions: tuple[float, ...]
    goal: LossGoal | float | None
    t_end: float
    setting: float

    @property
    def friction(self) -> float | SwitchedFriction:
        """The friction of a heavy ball."""
        if self.goal is None:
            return self.frictions[0]
        before, after = self.frictions
        return SwitchedFriction(before, after, TimeReached(self.goal) if isinstance(self.goal, float) else self.goal)


def train(arm: Arm) -> Solution:
    """Run an arm; return the run without its system."""
    V, span = arm.loss, (0.0, arm.t_end)
    keep: dict[str, Any] = {"record": "energy", "monitor": None}
    if not arm.frictions:
        start = V.initial_state()[: V.dim]
        sol = simulate(GradientFlow(V), span, start, method="RK45", rtol=arm.setting, atol=arm.setting / 1000, **keep)
    else:
        sol = simulate(HeavyBall(V, friction=arm.friction), span, V.initial_state(), method="strang", step=arm.setting, **keep)
    return replace(sol, system=None)


def train_arms(config: Config, record: NewRun, executor: Executor | None, *, progress: bool) -> Table:
    """Train each arm; the first one goes ahead, since another takes its switch time."""
    study, data = config.digits, digits()
    V = network_loss(config.seed, study.sizes, data, weight_decay=study.weight_decay)

    def arm(label: str, *frictions: float, goal: LossGoal | float | None = None) -> Arm:
        return Arm(label, copy.deepcopy(V), frictions, goal, study.t_end, study.step if frictions else study.flow_rtol)

    low, high, middle, released = study.explore, study.exploit, study.constant, study.released
    goals = [arm(f"goal {100 * goal:g} %, then {high:g}", low, high, goal=LossGoal(goal)) for goal in study.goals]
    first = train(goals[0])
    time = first.switches.first()
    arms = [
        *goals,
        *([arm(f"the same at t = {time:.1f}", low, high, goal=time)] if np.isfinite(time) else []),
        *(arm(f"constant {friction:g}", friction) for friction in (low, middle, high)),
        arm(f"{middle:g}, then {released:g} at {100 * study.release:g} %", middle, released, goal=LossGoal(study.release)),
        arm("gradient flow, RK45"),
    ]
    run_all: Callable[..., Iterable[Solution]] = map if executor is None else executor.map
    done = tqdm(chain([first], run_all(train, arms[1:])), total=len(arms), disable=not progress, leave=False, desc="(b) digits", unit="arm")
    rows: list[dict[str, Any]] = []
    for one, sol in zip(arms, done, strict=True):
        _finished(sol)
        sol.save(record.path / SOLUTIONS / f"digits-{len(rows)}.npz")
        kind = {"goal": one.goal is not None, "same_cost": bool(one.frictions)}
        rows.append({"arm": one.label, **_trained(V, sol, data), **kind, **_verdict(sol)})
    record.save_solution(first)
    record.numbers["digits"] = {"parameters": V.dim, "images": len(data.x_train)}
    return _as_table(rows)


def compare_methods(config: Config, record: NewRun, *, progress: bool) -> Table:
    """Compare the methods on a smaller network's flow; keep the run of each that the table shows."""
    study, data = config.methods, digits()
    V = network_loss(config.seed, study.sizes, data, images=study.images)
    ball = HeavyBall(V, friction=study.friction)
    result = compare(ball, (0.0, study.t_end), V.initial_state(), study.settings, progress=progress)
    shown = {name: nearest_setting(result, name, study.target) for name in study.settings}
    for key in shown.items():
        if key in result.solutions:
            result.solutions[key].save(record.path / SOLUTIONS / f"methods-{key[0]}.npz")
    costs = {name: gradients_at([row for row in result.table if row.method == name], study.target) for name in study.settings}
    record.numbers["methods"] = {"parameters": V.dim, "images": len(V.inputs), "gradients_at_target": costs}
    columns = dict(result.table)
    columns["option"] = result.table["option"].astype(str)
    columns["shown"] = [shown[row.method] == row.setting for row in result.table]
    columns["outcome"] = [result.messages.get((row.method, row.setting), DONE) for row in result.table]
    return Table(columns)


def network_loss(seed: int, sizes: tuple[int, ...], data: Dataset, *, images: int | None = None, weight_decay: float = 0.0) -> NetworkLoss:
    """Return the cross-entropy of a tanh network on digits, float64; the caller's random numbers stay as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = mlp(tuple(sizes)).double()
    inputs, targets = data.x_train[:images].double(), data.y_train[:images]
    return NetworkLoss(model, torch.nn.functional.cross_entropy, inputs, targets, weight_decay=weight_decay)


def accuracy(loss: NetworkLoss, data: Dataset) -> float:
    """Return the share of test images that the network gets right."""
    with torch.no_grad():
        return float((loss.model(data.x_test.double()).argmax(1) == data.y_test).double().mean())


def nearest_setting(result: Comparison, name: str, target: float) -> float:
    """Return the setting of a method whose error is nearest to the target; its first one where all runs failed."""
    rows = [row for row in result.table if row.method == name]
    reached = [row for row in rows if row.error > 0]
    return float(min(reached, key=lambda row: abs(np.log(row.error / target))).setting if reached else rows[0].setting)


def _trained(loss: NetworkLoss, sol: Solution, data: Dataset) -> dict[str, Any]:
    """Return what an arm's parameters at the end achieve."""
    q = sol.y[: loss.dim, -1]
    loss.load(q)
    objective = float(loss.value(q))
    return {
        "objective": objective,
        "train_loss": objective - 0.5 * loss.weight_decay * float(q @ q),
        "accuracy": accuracy(loss, data),
        "brakes_at": sol.switches.first(),
        "nfev": sol.nfev,
    }


def _finished(sol: Solution) -> Solution:
    """Pass Ctrl-C on: a run that it ended is not half a table."""
    if sol.status == _INTERRUPTED:
        raise KeyboardInterrupt
    return sol


def _last_loss(sol: Solution) -> float:
    return float("nan") if sol.energy is None or sol.energy.potential is None else float(sol.energy.potential[-1])


def _verdict(sol: Solution) -> dict[str, Any]:
    balance = sol.energy_balance()
    share = balance.residual / balance.swing if balance.swing > 0 else float("nan")
    return {"balance": balance.verdict, "residual_share": share, "outcome": DONE if sol.success else f"status {sol.status}: {sol.message}"}


def _as_table(rows: list[dict[str, Any]]) -> Table:
    return Table({name: [row[name] for row in rows] for name in rows[0]})
