"""The README's figure: what a goal does in the multi-well toy, and what nine methods cost on a network's flow.

    python experiments/readme_figure.py [--out docs/figures/readme.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from phdyn import HeavyBall, LossGoal, SwitchedFriction, at_rest, plots, simulate, studies
from phdyn.data import digits
from phdyn.plots import style
from phdyn.potentials import MultiWell
from phdyn.studies.demo_runs import network_loss

WIDTH, HEIGHT = 174 / 25.4, 82 / 25.4
START = 7.2
EARLY, LATE = 0.7, 0.03  # fractions of the initial loss at which the ball brakes
LOOKS = {EARLY: (style.VERMILION, (0, (4, 1.2))), LATE: (style.BLACK, "-")}
SETTINGS = {
    "strang": (1.0, 0.8, 0.4, 0.2, 0.1, 0.05),
    "yoshida-4": (0.5, 0.25, 0.125, 0.0625),
    "blanes-moan-4": (2.0, 1.25, 1.0, 0.5, 0.25),
    "blanes-moan-6": (4.0, 2.5, 2.0, 1.0, 0.5),
    "rk4": (0.8, 0.4, 0.2, 0.1),
    "RK45": (1e-3, 1e-4, 1e-5, 1e-6, 1e-7),
    "DOP853": (1e-3, 1e-4, 1e-6, 1e-8),
    "LSODA": (1e-2, 1e-3, 1e-5, 1e-7),
    "dopri5": (1e-3, 1e-4, 1e-5, 1e-6, 1e-7),
}


def roll(goal: float) -> Any:
    friction = SwitchedFriction(explore=0.05, exploit=3.0, goal=LossGoal(1 - goal))
    return simulate(HeavyBall(MultiWell(), friction=friction), (0.0, 9.0), at_rest([START]), method="strang", step=0.01)


def draw_wells(ax: Axes, runs: dict[float, Any]) -> None:
    """The landscape, the way of both balls at the height of their energy, and where they end."""
    q = np.linspace(-1.6, 7.9, 800)
    height = MultiWell().value(q[:, None])
    ax.fill_between(q, height, -0.5, color="0.93", linewidth=0)
    ax.plot(q, height, color=style.BLUE)
    for goal, sol in runs.items():
        colour, dashes = LOOKS[goal]
        ax.plot(sol.q[0], sol.energy.hamiltonian, color=colour, linestyle=dashes)
        switch = sol.switches[0]
        ax.plot(switch.x_before[0], switch.hamiltonian, "D", color=colour, markersize=4)
        ax.plot(sol.q[0, -1], sol.energy.potential[-1], "o", color=colour, markersize=6)
    ax.plot(START, runs[LATE].energy.hamiltonian[0], "o", color="white", markeredgecolor="black", markersize=6)
    ax.text(START - 0.05, 4.95, "starts at rest", ha="right", fontsize=7)
    ax.text(6.2, 1.55, "brakes at 70 %\nof its loss:\nends at 1.952", color=LOOKS[EARLY][0], fontsize=7, ha="center", va="top")
    ax.text(-1.4, 4.62, "brakes at 3 % of its loss: ends at 0", color=LOOKS[LATE][0], fontsize=7, ha="left", va="bottom")
    ax.set(xlim=(-1.6, 7.9), ylim=(-0.5, 5.6), xlabel="position q", ylabel="loss V, energy H")


def draw_energies(ax: Axes, runs: dict[float, Any]) -> None:
    """Energy and loss of both balls over time."""
    for goal, sol in runs.items():
        colour, dashes = LOOKS[goal]
        energy = sol.energy
        ax.plot(energy.t, energy.hamiltonian, color=colour, linestyle=dashes)
        ax.plot(energy.t, energy.potential, color=colour, linestyle=dashes, linewidth=0.6)
        switch = sol.switches[0]
        ax.plot(switch.time, switch.hamiltonian, "D", color=colour, markersize=4)
    ax.text(2.3, 4.5, "energy H", fontsize=7, ha="left")
    ax.text(1.4, 3.55, "loss V", fontsize=7, ha="center")
    ax.text(8.9, 2.1, "braked early: stays high", color=LOOKS[EARLY][0], fontsize=7, ha="right", va="bottom")
    ax.text(8.9, 0.15, "braked late: lowest", color=LOOKS[LATE][0], fontsize=7, ha="right", va="bottom")
    ax.set(xlim=(0, 9), ylim=(-0.3, 5.4), xlabel="time t", ylabel="loss V, energy H")


def draw_methods(ax: Axes) -> None:
    """Error against gradients for nine methods, on the flow of a small network."""
    V = network_loss(0, (64, 16, 10), digits(), images=400)
    result = studies.compare(HeavyBall(V, friction=0.3), (0.0, 20.0), V.initial_state(), SETTINGS)
    plots.plot_work_precision(result, ax)
    ax.set(xlabel="gradient evaluations", ylabel="relative error at t = 20")


def draw() -> plt.Figure:
    """Draw the two panels: the toy, with its energies below; work and precision."""
    runs = {goal: roll(goal) for goal in (EARLY, LATE)}
    with style.drawing():
        figure = plt.figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=(1, 1))
        upper, lower = left.subplots(2, height_ratios=(1.35, 1))
        draw_wells(upper, runs)
        draw_energies(lower, runs)
        axes = right.subplots()
        draw_methods(axes)
        left.suptitle("Who brakes early, loses: a ball in a landscape of wells", x=0.02, ha="left", fontsize=8)
        right.suptitle("What an error costs: a network's flow by nine methods", x=0.02, ha="left", fontsize=8)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/figures/readme.png"))
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with style.drawing():
        draw().savefig(options.out, metadata={"Software": f"phdyn, {Path(__file__).name}"})


if __name__ == "__main__":
    main()
