"""The figures of the demo, from the files of its run folder alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from phdyn.potentials import MultiWell
from phdyn.runs import Run
from phdyn.solution import Solution, load
from phdyn.studies.compare import short_power
from phdyn.studies.demo_runs import DONE, SOLUTIONS
from phdyn.studies.drawing import Drawn, draw_parts
from phdyn.systems import HeavyBall
from phdyn.tables import Table

_RESIDUALS = ("explicit-euler", "sgd", "strang", "blanes-moan-4", "blanes-moan-6", "rk4", "RK45", "DOP853")


def draw(run: Run, folder: str | Path) -> list[Path]:
    """Draw the demo's figures into a folder: PNG, PDF and CSV of each.

    Parameters
    ----------
    run : Run
        The run folder.
    folder : str or Path
        Where the figures go.

    Returns
    -------
    list of Path
        The PNGs.
    """
    parts: dict[str, Callable[[Run, dict[str, Table]], Drawn]] = {
        "energies": _energies,
        "loss": _loss,
        "phase": _phase,
        "residuals": _residuals,
        "work_precision": _work_precision,
    }
    return draw_parts(run, folder, parts)


def _solution(run: Run, name: str) -> Solution:
    return load(run.path / SOLUTIONS / f"{name}.npz")


def _energies(run: Run, tables: dict[str, Table]) -> tuple[Any, str]:
    from phdyn import plots

    row = tables["digits"][0]
    when = "never" if np.isnan(row.brakes_at) else f"at t = {row.brakes_at:.1f}"
    title = f"Digits: the goal brakes {when}, and {100 * row.residual_share:.1f} % is unaccounted"
    return plots.plot_energy(load(run.path / "trajectory.npz")), title


def _loss(run: Run, tables: dict[str, Table]) -> tuple[Any, str]:
    from phdyn import plots

    table = tables["digits"]
    best = min((row for row in table if row.same_cost), key=lambda row: row.objective)
    arms = {row.arm: _solution(run, f"digits-{k}") for k, row in enumerate(table)}
    return plots.plot_loss(arms), f"Digits: {best.arm} is lowest at equal cost, {best.objective:.3f}"


def _phase(run: Run, tables: dict[str, Table]) -> tuple[Any, str]:
    from phdyn import plots

    toy = run.config["toy"]
    row = next(row for row in tables["toy"] if (row.explore, row.goal) == (toy["shown"], toy["goals"][-1]))
    sol = replace(_solution(run, "toy"), system=HeavyBall(MultiWell()))
    return plots.plot_phase(sol), f"Braking at {100 * row.goal:g} % of the initial loss ends at {row.loss:.3f}"


def _residuals(run: Run, tables: dict[str, Table]) -> tuple[Any, str]:
    from phdyn import plots

    shown = [row for row in tables["methods"] if row.shown and row.method in _RESIDUALS and row.outcome == DONE]
    closed = sum(row.balance == "balanced" for row in shown)
    solutions = {row.method: _solution(run, f"methods-{row.method}") for row in shown}
    return plots.plot_residual(solutions), f"At their settings, {closed} of {len(shown)} energy balances close"


def _work_precision(run: Run, tables: dict[str, Table]) -> tuple[Any, str]:
    from phdyn import plots

    costs = {name: cost for name, cost in run.numbers["methods"]["gradients_at_target"].items() if cost is not None and np.isfinite(cost)}
    comparison: Any = SimpleNamespace(table=tables["methods"], solutions={})
    axes = plots.plot_work_precision(comparison)
    if not costs:
        return axes, "Which discretization is cheapest at the error I need?"
    best = min(costs, key=lambda name: costs[name])
    return axes, f"{best} is cheapest at error {short_power(run.config['methods']['target'])}: {costs[best]:.0f} gradients"
