"""Is a training at its stability limit, and what does that cost? The edge of stability seen by the Hessian, and by the energy balance.

A network on 300 digits, squared error, all data at once. Gradient descent (explicit Euler on the gradient flow), torch's SGD with momentum
and Strang's splitting of the same heavy ball, each at two learning rates and several seeds (at lr .3 SGD diverges in the first 300 steps).
Above: the sharpness (leading eigenvalue of the Hessian) over the limit of the method on a quadratic. Below: the slope of the energy
residual on the dissipated work, window by window, for which no Hessian and no further gradient is needed. Ticks at the bottom: when the
sharpness first reached the limit.

    OMP_NUM_THREADS=1 python experiments/edge.py [--seeds 5] [--steps 3000] [--window 300]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from tqdm import tqdm

import phdyn
from phdyn import data, networks, plots
from phdyn.plots import style
from phdyn.stability import strang_limit
from phdyn.tables import Table
from phdyn.training import heavy_ball_from_sgd

RATES = {"gradient descent": (0.1, 0.3), "SGD": (0.1, 0.2), "Strang": (0.1, 0.2)}
MOMENTUM = 0.9
LOOKS = {0.1: (style.BLUE, "-"), 0.2: (style.GREEN, "-."), 0.3: (style.ORANGE, "--")}


@dataclass(frozen=True)
class Reading:
    """How a method reads a learning rate; ``limit`` is the sharpness up to which its step is stable."""

    system: Callable[[Any], Any]
    method: str
    step: float
    limit: float


def read(name: str, lr: float) -> Reading:
    """Read a learning rate, as one of the methods does."""
    if name == "gradient descent":
        return Reading(phdyn.GradientFlow, "explicit-euler", lr, 2 / lr)
    if name == "SGD":
        step, friction = heavy_ball_from_sgd(lr=lr, momentum=MOMENTUM, convention="explicit")
        return Reading(partial(phdyn.HeavyBall, friction=friction), "sgd", step, 2 * (1 + MOMENTUM) / lr)
    step, friction = heavy_ball_from_sgd(lr=lr, momentum=MOMENTUM)
    return Reading(partial(phdyn.HeavyBall, friction=friction), "strang", step, strang_limit(step, friction))


def half_squares(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return ((output - target) ** 2).sum(1).mean() / 2


def loss(seed: int) -> phdyn.NetworkLoss:
    digits = data.digits()
    targets = torch.nn.functional.one_hot(digits.y_train[:300], 10).double()
    torch.manual_seed(seed)
    return phdyn.NetworkLoss(networks.mlp((64, 32, 32, 10)).double(), half_squares, digits.x_train[:300].double(), targets)


@dataclass(frozen=True)
class Run:
    """One training: what was observed, by times."""

    name: str
    lr: float
    seed: int
    looked: Any
    ratio: Any
    time: Any
    slope: Any
    loss: tuple[float, float]
    products: int

    @property
    def crossing(self) -> float:
        """When the sharpness first reached the limit; nan: never."""
        k = int(np.argmax(self.ratio >= 1))
        if self.ratio[k] < 1:
            return math.nan
        return float(np.interp(1.0, self.ratio[k - 1 : k + 1], self.looked[k - 1 : k + 1])) if k else float(self.looked[0])


def train(name: str, lr: float, seed: int, steps: int, window: int) -> Run:
    V, reading = loss(seed), read(name, lr)
    system, sharpness = reading.system(V), phdyn.potentials.Sharpness()
    x0 = V.initial_state()[: V.dim] if name == "gradient descent" else V.initial_state()
    sol = phdyn.simulate(
        system, (0, steps * reading.step), x0, method=reading.method, step=reading.step, record="energy", monitor=None,
        observables={"sharpness": phdyn.Every(window // 3, sharpness)},
    )  # fmt: skip
    if not sol.success:
        print(f"{name}, lr {lr:g}, seed {seed}: {sol.message}")
    slopes = sol.energy_balance(window=window).slopes
    ends = float(sol.energy.potential[0]), float(sol.energy.potential[-1])
    seen = sol.observed["sharpness"] / reading.limit
    return Run(name, lr, seed, sol.observed["time"], seen, slopes["time"], slopes["slope"], ends, sharpness.products)


def summary(runs: list[Run]) -> Table:
    """Return a row a run: before and after it has reached its limit."""
    columns: dict[str, list[Any]] = {name: [] for name in ("method", "lr", "seed", "reached", "before", "after", "ratio", "first", "last")}
    for run in runs:
        edge = run.time > run.crossing  # windows that end after the crossing; all of them are before where it is nan
        whole = np.concatenate([[False], edge[:-1]])  # those that began after it
        late = run.looked > run.crossing
        values = (
            run.name, run.lr, run.seed, run.crossing, _mean(run.slope[~edge]), _mean(run.slope[whole]), _mean(run.ratio[late]), *run.loss,
        )  # fmt: skip
        for name, value in zip(columns, values, strict=True):
            columns[name].append(value)
    return Table(columns)


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def draw(runs: list[Run]) -> Any:
    """Draw the figure `edge`: a column a method, a colour a learning rate, a line a seed."""
    names = list(dict.fromkeys(run.name for run in runs))
    with style.drawing():
        _, axes = plt.subplots(2, len(names), sharex="col", sharey="row", figsize=(style.WIDE, 0.52 * style.WIDE), layout="constrained")
        for column, name in zip(axes.T, names, strict=True):
            above, below = column
            above.set_title({"SGD": f"SGD, momentum {MOMENTUM:g}", "Strang": "Strang, the same heavy ball"}.get(name, name), fontsize=8)
            for ax in column:
                ax.axhline(1.0, color="0.3", linewidth=0.8)
            for lr, (colour, dashes) in LOOKS.items():
                mine = [run for run in runs if run.name == name and run.lr == lr]
                for run in mine:
                    label = f"{name}, lr {lr:g}, seed {run.seed}"
                    above.plot(run.looked, run.ratio, dashes, color=colour, linewidth=0.8, label=label)
                    times = np.concatenate([[run.looked[0]], run.time])  # a window's slope is drawn from its beginning to its end
                    below.plot(times, [*run.slope[:1], *run.slope], dashes, color=colour, linewidth=0.8, label=label, drawstyle="steps-pre")
                crossed = [run.crossing for run in mine if not math.isnan(run.crossing)]
                for ax in column:
                    ax.vlines(crossed, 0, 0.06, transform=ax.get_xaxis_transform(), color=colour, linewidth=1)
            below.set_xlabel("time t")
        axes[0, 0].set_ylabel("sharpness / its limit")
        axes[1, 0].set_ylabel("slope of the residual on\nthe dissipated work")
        proxies = [plt.Line2D([], [], color=colour, linestyle=dashes, label=f"lr {lr:g}") for lr, (colour, dashes) in LOOKS.items()]
        axes[0, -1].get_figure().legend(handles=proxies, loc="outside lower center", ncols=len(proxies))
    return axes


def main(folder: Path, figures: Path, *, seeds: int, steps: int, window: int) -> None:
    jobs = [(name, lr, seed) for name, rates in RATES.items() for lr in rates for seed in range(seeds)]
    runs = [train(*job, steps, window) for job in tqdm(jobs, unit="run", leave=False)]
    table = summary(runs)
    print(table)
    print(f"{sum(run.products for run in runs):,} Hessian-vector products beside {len(runs) * steps:,} gradients")
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "summary.csv")
    rows = [(run.name, run.lr, run.seed, "sharpness over limit", t, y) for run in runs for t, y in zip(run.looked, run.ratio, strict=True)]
    rows += [(run.name, run.lr, run.seed, "slope of the window", t, y) for run in runs for t, y in zip(run.time, run.slope, strict=True)]
    names = ("method", "lr", "seed", "quantity", "time", "value")
    Table({name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}).to_csv(folder / "curves.csv")
    edge = [row.after for row in table if row.method == "gradient descent" and not math.isnan(row.after)]
    title = f"At the edge the step undoes {100 * np.mean(edge):.1f} % of the dissipated work" if edge else "No run has reached its limit"
    plots.save(draw(runs).ravel(), figures / "edge", title=title)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--window", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("runs/edge"))
    asked = parser.parse_args()
    main(asked.out, asked.out / "figures", seeds=asked.seeds, steps=asked.steps, window=asked.window)
