"""Does a switch of friction beat the best constant friction on digits, at equal gradients? Ten seeds, paired.

    python experiments/digits_braking.py [--seeds 10] [--out runs/digits_braking] [--workers 1]

Every arm starts from the same parameters and takes 100 steps of Strang's splitting of length 0.9 (101 gradients, and those that locate a
switch). Friction switches when the objective, cross-entropy with weight decay, has fallen by a fraction. Two controls switch at a fixed
time instead: the mean of the times at which the goal fired on the other seeds.
"""

from __future__ import annotations

import argparse
import copy
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from phdyn import plots, runs
from phdyn.data import digits
from phdyn.events import LossGoal
from phdyn.studies.demo_runs import Arm, accuracy, network_loss, train
from phdyn.tables import Table


@dataclass(frozen=True)
class Config:
    """Brakes and releases: (friction before, friction after, reduction of the objective at the switch)."""

    seeds: int = 10
    sizes: tuple[int, ...] = (64, 64, 64, 10)
    weight_decay: float = 1e-3
    step: float = 0.9
    steps: int = 100
    constants: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5, 1.0, 3.0)
    brakes: tuple[tuple[float, float, float], ...] = (
        (0.05, 3.0, 0.8),
        (0.05, 1.0, 0.5),
        (0.05, 1.0, 0.8),
        (0.1, 0.3, 0.8),
        (0.1, 1.0, 0.9),
        (0.2, 1.0, 0.9),
        (0.2, 3.0, 0.9),
    )
    releases: tuple[tuple[float, float, float], ...] = ((0.2, 0.1, 0.85), (0.2, 0.05, 0.9), (0.2, 0.02, 0.9))
    timed: tuple[tuple[float, float, float], ...] = ((0.05, 3.0, 0.8), (0.2, 0.05, 0.9))


def switched(before: float, after: float, goal: float) -> str:
    """Return an arm's name."""
    return f"{before:g}, then {after:g} at {100 * goal:g} %"


def measure(job: tuple[int, Arm]) -> dict[str, Any]:
    """Run an arm; return what it achieved."""
    seed, arm = job
    torch.set_num_threads(1)
    sol = train(arm)
    q, loss = sol.y[: arm.loss.dim, -1], arm.loss
    loss.load(q)
    objective = float(loss.value(q))
    return {
        "arm": arm.label,
        "seed": seed,
        "objective": objective,
        "train_loss": objective - 0.5 * loss.weight_decay * float(q @ q),
        "accuracy": accuracy(loss, digits()),
        "switch": sol.switches.first(),
        "nfev": sol.nfev,
        "balance": sol.energy_balance().verdict,
    }


def measure_all(config: Config, executor: Executor | None) -> list[dict[str, Any]]:
    """Run all arms on all seeds, those at a fixed time last."""
    data, t_end = digits(), config.step * config.steps
    losses = [network_loss(seed, config.sizes, data, weight_decay=config.weight_decay) for seed in range(config.seeds)]

    def arm(seed: int, label: str, *frictions: float, goal: LossGoal | float | None = None) -> tuple[int, Arm]:
        return seed, Arm(label, copy.deepcopy(losses[seed]), frictions, goal, t_end, config.step)

    run_all = map if executor is None else executor.map
    seeds = range(config.seeds)
    jobs = [arm(seed, f"constant {rate:g}", rate) for rate in config.constants for seed in seeds]
    jobs += [arm(seed, switched(a, b, rho), a, b, goal=LossGoal(rho)) for a, b, rho in (*config.brakes, *config.releases) for seed in seeds]
    rows = list(run_all(measure, jobs))
    late = []
    for a, b, rho in config.timed:
        times = np.array([row["switch"] for row in rows if row["arm"] == switched(a, b, rho)])
        means = [float(np.nanmean(np.delete(times, seed))) for seed in seeds]
        late += [arm(seed, f"{a:g}, then {b:g} at a fixed time", a, b, goal=means[seed]) for seed in seeds]
    return [*rows, *run_all(measure, late)]


def paired(rows: list[dict[str, Any]], seed: int = 0) -> Table:
    """Compare each arm with the best constant friction, seed by seed: mean difference of the objective, 95 % bootstrap interval, wins."""
    from scipy.stats import bootstrap

    arms = {name: [row for row in rows if row["arm"] == name] for name in dict.fromkeys(row["arm"] for row in rows)}
    objectives = {name: np.array([row["objective"] for row in arm]) for name, arm in arms.items()}
    best = min((name for name in arms if name.startswith("constant")), key=lambda name: objectives[name].mean())
    lines = []
    for name, arm in arms.items():
        change = 100 * (objectives[name] / objectives[best] - 1)
        low = high = float("nan")
        if name != best and len(change) > 1:
            interval = bootstrap((change,), np.mean, rng=np.random.default_rng(seed)).confidence_interval
            low, high = float(interval.low), float(interval.high)
        lines.append(
            {
                "arm": name,
                "objective": objectives[name].mean(),
                "change_percent": change.mean(),
                "low": low,
                "high": high,
                "wins": f"{int((change < 0).sum())}/{len(change)}",
                "train_loss": np.mean([row["train_loss"] for row in arm]),
                "accuracy": 100 * np.mean([row["accuracy"] for row in arm]),
                "switch": np.mean([row["switch"] for row in arm]),
                "gradients": np.mean([row["nfev"] for row in arm]),
                "fired": sum(np.isfinite(row["switch"]) for row in arm),
                "violated": sum(row["balance"] == "violated" for row in arm),
            }
        )
    return Table({name: [line[name] for line in lines] for name in lines[0]})


def draw(table: Table) -> Any:
    """Draw each arm's change against the best constant friction, with its interval."""
    from matplotlib import pyplot as plt

    rows = [row for row in table if np.isfinite(row.low) and row.change_percent < 120]
    rows.sort(key=lambda row: row.change_percent)
    with plots.style.drawing():
        ax = plots.style.new_axes(height=1.15)
        for k, row in enumerate(rows):
            ax.plot([row.low, row.high], [k, k], color="0.4", linewidth=1.2)
            ax.plot(row.change_percent, k, "s" if row.arm.startswith("constant") else "o", color=plots.style.BLUE, label=row.arm)
        ax.axvline(0, color="0.3", linewidth=0.8)
        ax.set_yticks(range(len(rows)), [row.arm for row in rows])
        ax.set_xlabel("change of the objective (%)")
        ax.set_ylabel("")
        plt.setp(ax.get_yticklabels(), fontsize=plots.style.SMALL)
    return ax


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=Config.seeds)
    parser.add_argument("--out", type=Path, default=Path("runs/digits_braking"))
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = Config(seeds=options.seeds)
    with (
        ProcessPoolExecutor(options.workers) if options.workers > 1 else nullcontext() as executor,
        runs.create(config, options.out) as run,
    ):
        rows = measure_all(config, executor)
        table = paired(rows)
        run.save_table(Table({name: [row[name] for row in rows] for name in rows[0]}), "runs")
        run.save_table(table, "paired")
        run.numbers["best"] = min(table, key=lambda row: row.objective).arm
        run.save_figure(draw(table), "paired", title=f"{config.seeds} seeds: a release of friction wins, a brake does not")
    print(table)
    print(f"run folder {run.path}")


if __name__ == "__main__":
    main()
