"""Which (lr, mu) does each scheme make of (h, gamma), and what does its choice of p do to the energies?

Six schemes of the heavy ball whose positions have one recurrence, q+ - q = mu (q - q-) - lr grad V(q). Left and middle: its two numbers
over gamma h, as lines by the formulas of docs/two_term.md, as marks read off the positions of runs. Right: all six on the *same* positions,
those of torch's SGD from rest, with the energy residual that each one's momentum leaves.

    OMP_NUM_THREADS=1 python experiments/two_term.py [--out runs/two_term]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

import phdyn
from phdyn import plots
from phdyn.friction import phi1
from phdyn.plots import style
from phdyn.potentials import Himmelblau
from phdyn.tables import Table

V = Himmelblau()
START = np.array([-0.5, -1.0])
FRICTION = 1.0
SPAN = 3.0
STEPS = SPAN / np.array([60, 84, 120, 170, 240, 340, 480, 680, 960, 1360, 1920])
LARGEST = 2.0


@dataclass(frozen=True)
class Scheme:
    """The recurrence of a method, as functions of z = gamma h at mass 1: lr/h^2, mu, and z from mu; whether it kicks whole from rest."""

    rate: Callable[[Any], Any]
    momentum: Callable[[Any], Any]
    damping: Callable[[float], float]
    whole: bool


def decay(z: Any) -> Any:
    return np.exp(-z)


def damped(mu: float) -> float:
    return float(-np.log(mu))


SCHEMES = {
    "sgd": Scheme(np.ones_like, lambda z: 1 - z, lambda mu: 1 - mu, whole=True),
    "polyak": Scheme(np.ones_like, decay, damped, whole=True),
    "conformal-euler": Scheme(lambda z: phi1(-z), decay, damped, whole=True),
    "strang": Scheme(lambda z: phi1(-z), decay, damped, whole=False),
    "dissipative-leapfrog": Scheme(lambda z: (1 + np.exp(-z)) / 2, decay, damped, whole=False),
    "implicit-damping": Scheme(
        lambda z: 1 / (1 + z / 2), lambda z: (1 - z / 2) / (1 + z / 2), lambda mu: 2 * (1 - mu) / (1 + mu), whole=False
    ),
}


LOOKS: dict[str, tuple[str, Any, str]] = {
    "sgd": (style.BLACK, "-", "o"),
    "polyak": (style.PURPLE, (0, (4, 1.5)), "s"),
    "conformal-euler": (style.SKY, (0, (1, 1)), "^"),
    "strang": (style.BLUE, "-", "o"),
    "dissipative-leapfrog": (style.VERMILION, (0, (4, 1.5)), "s"),
    "implicit-damping": (style.GREEN, (0, (1, 1)), "^"),
}
WORDS = (
    (0, 0.55, 1.025, "sgd, polyak: 1", "sgd"),
    (0, 0.5, 0.935, "dissipative-leapfrog", "dissipative-leapfrog"),
    (0, 0.5, 0.885, "implicit-damping", "implicit-damping"),
    (0, 0.5, 0.835, "strang, conformal-euler", "strang"),
    (1, 0.5, 0.68, "the other four: exp(-γh/m)", "dissipative-leapfrog"),
    (1, 1.38, -0.3, "implicit-\ndamping", "implicit-damping"),
    (1, 0.9, -0.32, "sgd", "sgd"),
    (2, 0.0017, 0.05, "slope 1, p between steps:\nsgd, polyak,\nconformal-euler", "sgd"),
    (2, 0.0048, 1.7e-5, "slope 2, p on the step:\nstrang, implicit-damping,\ndissipative-leapfrog", "strang"),
)
"""What is written into a panel, where, and in the colour of which scheme."""


def marks(name: str) -> Any:
    """Return the gamma h at which a run of a scheme is read: others for each of the schemes that coincide."""
    return 0.15 + 0.1 * (list(SCHEMES).index(name) % 3) + np.arange(0.0, LARGEST - 0.4, 0.3)


def run(name: str, step: float, friction: float, x0: Any, steps: int) -> phdyn.Solution:
    ball = phdyn.HeavyBall(V, friction=friction)
    return phdyn.simulate(ball, (0.0, steps * step), x0, method=name, step=step, monitor=None)


def read_off(name: str, z: float) -> tuple[float, float]:
    """Return lr/h^2 and mu of a run, by least squares from its positions alone."""
    h = 0.01
    q = run(name, h, z / h, [*START, 3.0, 0.0], 10).q
    dq, g = np.diff(q), V.value_and_grad(q.T)[1].T
    unknown = np.stack([dq[:, :-1].ravel(), -g[:, 1:-1].ravel()], 1)
    mu, lr = np.linalg.lstsq(unknown, dq[:, 1:].ravel(), rcond=None)[0]
    return float(lr) / h**2, float(mu)


def equal_positions(step: float) -> dict[str, phdyn.Solution]:
    """Return each scheme's reading of the lr and mu that Strang's splitting has at a step: another h, gamma, p, the same positions."""
    z = FRICTION * step
    lr, mu, steps = step**2 * float(phi1(-z)), float(decay(z)), round(SPAN / step)
    slope = V.value_and_grad(START)[1]
    runs = {}
    for name, scheme in SCHEMES.items():
        own = scheme.damping(mu)
        h = float(np.sqrt(lr / scheme.rate(own)))
        runs[name] = run(name, h, own / h, [*START, *(0 * slope if scheme.whole else -h / 2 * slope)], steps)
    return runs


def measure() -> tuple[Table, Table]:
    """Return the numbers of the recurrence, and the energies at equal positions."""
    rows: list[Any] = []
    for name, scheme in SCHEMES.items():
        rows += [(name, float(z), *read_off(name, float(z)), float(scheme.rate(z)), float(scheme.momentum(z))) for z in marks(name)]
    recurrence = _table(("method", "damped", "rate", "momentum", "rate_formula", "momentum_formula"), rows)
    rows = []
    for step in STEPS:
        runs = equal_positions(step)
        for name, sol in runs.items():
            energy, apart = sol.energy, np.abs(sol.q - runs["strang"].q).max()
            swing = max(np.ptp(energy.potential), np.ptp(energy.kinetic))
            rows.append((name, float(step), sol.nsteps, float(np.abs(energy.residual).max() / swing), float(apart)))
    return recurrence, _table(("method", "step", "steps", "residual", "apart"), rows)


def _table(names: tuple[str, ...], rows: list[Any]) -> Table:
    return Table({name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)})


def orders(energies: Table) -> dict[str, float]:
    """Return the order of each scheme's energies: the slope over the last octave of steps."""
    found = {}
    for name in SCHEMES:
        one, *_, two = [row for row in energies if row.method == name][-3:]
        found[name] = float(np.log(one.residual / two.residual) / np.log(one.step / two.step))
    return found


def draw(recurrence: Table, energies: Table) -> Any:
    """Draw lr/h^2 and mu over gamma h, and the residuals over the step; where lines coincide, the marks alternate."""
    with style.drawing():
        _, axes = plt.subplots(1, 3, figsize=(style.WIDE, 0.34 * style.WIDE), layout="constrained", width_ratios=(1, 1, 1.15))
        left, middle, right = axes
        z = np.linspace(1e-6, LARGEST, 100)
        for k, (name, scheme) in enumerate(SCHEMES.items()):
            colour, dashes, marker = LOOKS[name]
            marked = {"color": colour, "marker": marker, "label": name}
            mine = [row for row in recurrence if row.method == name]
            for ax, formula, column in ((left, scheme.rate, "rate"), (middle, scheme.momentum, "momentum")):
                ax.plot(z, formula(z), color=colour, linestyle=dashes, label=f"{name}, formula")
                ax.plot([row.damped for row in mine], [getattr(row, column) for row in mine], **marked, linestyle="None")
            mine = [row for row in energies if row.method == name]
            right.plot([row.step for row in mine], [row.residual for row in mine], **marked, linestyle=dashes, markevery=(k % 3, 3))
        for ax in (left, middle):
            ax.set(xlabel="friction in a step γh/m", xlim=(0, LARGEST))
        left.set(ylabel="learning rate, lr m/h²", ylim=(0.38, 1.08))
        middle.set(ylabel="momentum μ", ylim=(-1.05, 1.1))
        middle.axhline(0.0, color="0.6", linewidth=0.5, zorder=0)
        style.log_grid(right)
        right.set(xlabel="step h of Strang's reading", ylabel="energy residual / swing", ylim=(1e-5, 0.5))
        right.set_xticks([0.002, 0.005, 0.01, 0.02, 0.05], ["0.002", "0.005", "0.01", "0.02", "0.05"])
        right.minorticks_off()
        for ax, x, y, text, name in WORDS:
            axes[ax].text(x, y, text, color=LOOKS[name][0], fontsize=7, linespacing=1.15)
    return axes


def main(folder: Path) -> None:
    recurrence, energies = measure()
    print(recurrence)
    print(energies)
    slopes = orders(energies)
    print("orders of the energies:", ", ".join(f"{name} {slope:.2f}" for name, slope in slopes.items()))
    folder.mkdir(parents=True, exist_ok=True)
    recurrence.to_csv(folder / "recurrence.csv")
    energies.to_csv(folder / "energies.csv")
    title = "One recurrence: p on the step makes energies of order 2"
    plots.save(draw(recurrence, energies), folder / "figures" / "two_term", title=title)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/two_term"))
    main(parser.parse_args().out)
