"""What each rule of events is for, one figure each: the figures of docs/events.md.

    python experiments/event_figures.py [--out docs/figures]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from phdyn import (
    HeavyBall,
    HybridAutomaton,
    LossGoal,
    NesterovFriction,
    Solution,
    SwitchedFriction,
    Transition,
    at_rest,
    methods,
    plots,
    simulate,
)
from phdyn.events import (
    Budget,
    FunctionRestart,
    RebaseGoal,
    ResetMomentum,
    RotateMomentum,
    SpeedRestart,
    Stagnation,
    uniting,
)
from phdyn.plots import labels, style
from phdyn.potentials import Himmelblau, MultiWell, Quadratic, StyblinskiTang

DPI = 300
COLOURS = 64  # of a palette: a quarter of the bytes, and the lines look the same
SEED = 2


def figure_of(ax: Any) -> Figure:
    return np.ravel(ax)[0].get_figure(root=True)


def titled(ax: Any, text: str) -> Figure:
    """Write what was found above the figure, at its left edge."""
    figure = figure_of(ax)
    figure.suptitle(text, x=0.01, ha="left", fontsize=8)
    return figure


def bowl(q: torch.Tensor) -> torch.Tensor:
    """Return V = sqrt(1 + q^2) - 1: a slope far from the minimum, a parabola of curvature 1 near it."""
    return (q * q / (1 + torch.sqrt(1 + q * q))).sum(-1)


def ladder() -> Figure:
    """Two goals, two brakes."""
    goals = (LossGoal(reduction=0.6), LossGoal(reduction=0.97))
    friction = SwitchedFriction(explore=0.05, exploit=(0.3, 3.0), goal=goals)
    sol = simulate(HeavyBall(MultiWell(), friction=friction), (0.0, 10.0), at_rest([7.2]), method="blanes-moan-4", step=0.05)
    return titled(plots.plot_energy(sol), "A ladder: a weak brake at 60 %, a strong one at 97 %")


def order() -> Figure:
    """The error of a switch's time against the step."""
    friction = SwitchedFriction(explore=0.1, exploit=2.0, goal=LossGoal(reduction=0.7))
    ball, x0 = HeavyBall(Quadratic([1.0, 2.0]), friction=friction), at_rest([1.5, -0.8])
    exact = simulate(ball, (0.0, 3.0), x0, method="DOP853", rtol=1e-13, atol=1e-15).switches.first()
    steps = 0.4 / 2.0 ** np.arange(5)

    def error(name: str, step: float) -> float:
        return abs(simulate(ball, (0.0, 3.0), x0, method=name, step=step, monitor=None).switches.first() - exact)

    names = ("conformal-euler", "strang", "rk4", "blanes-moan-4", "blanes-moan-6")
    looks = style.method_looks((name, methods.get(name).family) for name in names)
    with style.drawing():
        ax = style.new_axes(height=0.85)
        ends = []
        for name in names:
            errors = np.array([error(name, step) for step in steps])
            shown = errors > 1e-13
            ax.plot(steps[shown], errors[shown], **looks[name].keywords(), label=name)
            ends.append(labels.End(f"{name}, order {methods.get(name).order}", errors[shown][0], looks[name].colour, steps[0]))
        style.log_grid(ax)
        ax.set(xlabel="step h", ylabel="error of the switch's time t", xlim=(0.022, 0.44))
        ax.set_xticks(steps, [f"{step:g}" for step in steps])
        ax.minorticks_off()
        labels.label_ends(ax, ends)
    return titled(ax, "A switch is located with the method's own order")


def restarts() -> Figure:
    """Nesterov's friction with and without restarts."""
    frequencies = np.geomspace(1.0, 100.0, 12)
    V, x0 = Quadratic(frequencies**2), at_rest(np.ones(12))
    options: dict[str, Any] = {"method": "blanes-moan-4", "step": 0.01, "record": "energy"}
    runs = {"no restart": simulate(HeavyBall(V, friction=NesterovFriction(3.0)), (0.1, 25.0), x0, **options)}
    for name, rule in {"speed": SpeedRestart(), "function": FunctionRestart()}.items():
        roll = HeavyBall(V, friction=NesterovFriction(3.0, restart=0.1))
        again = Transition("roll", "roll", rule, ResetMomentum())
        runs[name] = simulate(HybridAutomaton({"roll": roll}, [again], initial="roll"), (0.0, 25.0), x0, **options)
    return titled(plots.plot_loss(runs, x="time"), "With restarts (◆) log V falls in a line; condition 10⁴")


def kicked(_t: float, x: Any) -> Any:
    return np.array([x[0], -3.0])


def reexploration(end: float) -> Solution:
    """Brake in a well, kick where the loss stagnates, brake in the next."""
    V = MultiWell()
    return simulate(
        HybridAutomaton(
            {"explore": HeavyBall(V, friction=0.05), "exploit": HeavyBall(V, friction=3.0)},
            [
                Transition("explore", "exploit", LossGoal(reduction=0.3)),
                Transition("exploit", "explore", Stagnation(3.0), [kicked, RebaseGoal()]),
            ],
            initial="explore",
        ),
        (0.0, end), at_rest([7.2]), method="blanes-moan-4", step=0.05,
    )  # fmt: skip


def leaving() -> Figure:
    return titled(plots.plot_phase(reexploration(22.0)), "Kicked at stagnation: from well to well, down to 0")


def modes() -> Figure:
    return titled(plots.plot_modes(reexploration(11.0)), "Brake at a goal, explore at stagnation")


def united() -> Figure:
    """Nesterov, heavy ball, and both."""
    x0 = at_rest([50.0])
    options: dict[str, Any] = {"method": "blanes-moan-4", "step": 0.05}
    runs = {
        "Nesterov": simulate(HeavyBall(bowl, friction=NesterovFriction(3.0, restart=1.0)), (0.0, 60.0), x0, **options),
        "heavy ball": simulate(HeavyBall(bowl, friction=2.0), (0.0, 60.0), x0, **options),
        "united": simulate(uniting(bowl, inner=1.0, outer=10.0, friction=2.0), (0.0, 60.0), x0, **options),
    }
    return titled(plots.plot_loss(runs, x="time"), "United at ◆: as fast as Nesterov, as still as heavy ball")


def bounces() -> Figure:
    """Without friction, kept on the diagonal but for bounces."""
    V = StyblinskiTang()
    system = HybridAutomaton(
        {"roll": HeavyBall(V), "brake": HeavyBall(V, friction=5.0)},
        [Transition("roll", "brake", LossGoal(value=-75.0)), Transition("roll", "roll", Stagnation(3.0), RotateMomentum(SEED))],
        initial="roll",
    )
    sol = simulate(system, (0.0, 32.0), at_rest([3.8, 3.8]), method="blanes-moan-4", step=0.02)
    return titled(plots.plot_path(sol), "Bounces lead off the diagonal, to the lowest well")


def budget() -> Figure:
    """Four methods at 300 gradients each."""
    ball, x0 = HeavyBall(Quadratic([1.0, 9.0]), friction=0.5), at_rest([1.0, 1.0])
    runs = {}
    for name, options in {"strang": {"step": 0.1}, "blanes-moan-4": {"step": 0.6}, "rk4": {"step": 0.2}, "RK45": {"rtol": 1e-3}}.items():
        runs[name] = simulate(ball, (0.0, 90.0), x0, method=name, monitor=None, events=Budget(300, terminal=True), **options)
    ax = plots.plot_loss(runs)
    with style.drawing():
        ax.axvline(300, color="0.3", linewidth=0.8, zorder=1.5)
    return titled(ax, "Four methods, 300 gradients each")


def basins() -> Figure:
    """Where 2,304 balls end that brake at a goal, each at its own time."""
    V, axis = Himmelblau(), np.linspace(-5.0, 5.0, 48)
    starts = np.stack(np.meshgrid(axis, axis, indexing="xy"), -1).reshape(-1, 2)
    ball = HeavyBall(V, friction=SwitchedFriction(0.2, 5.0, LossGoal(reduction=0.99)))
    batch = simulate(ball, (0.0, 40.0), at_rest(starts), method="strang", step=0.01, record="ends", monitor=None)
    nearest = np.linalg.norm(batch.q[:, None, :, -1] - V.minima, axis=-1).argmin(1)
    return titled(plots.plot_basins(batch, nearest), "Himmelblau's function: brake at a loss lower by 99 %")


FIGURES: dict[str, Callable[[], Figure]] = {
    "ladder": ladder, "order": order, "restarts": restarts, "leaving": leaving, "modes": modes, "uniting": united,
    "bounces": bounces, "budget": budget, "basins": basins,
}  # fmt: skip


def save(figure: Figure, path: Path) -> None:
    buffer = BytesIO()
    figure.savefig(buffer, dpi=DPI, format="png")
    origin = PngInfo()
    origin.add_text("Software", f"phdyn {plots.saving.version()}, {Path(__file__).name}")
    Image.open(buffer).convert("RGB").quantize(COLOURS).save(path, optimize=True, pnginfo=origin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    parser.add_argument("names", nargs="*", help=f"of {', '.join(FIGURES)}; all where none is given")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.names or FIGURES:
        with style.drawing():
            figure = FIGURES[name]()
            save(figure, options.out / f"events-{name}.png")
            plt.close(figure)


if __name__ == "__main__":
    main()
