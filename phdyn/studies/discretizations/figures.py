"""The figures of the study, from the files of its run folder alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np

from phdyn.runs import Run
from phdyn.solution import load
from phdyn.studies.compare import short_power
from phdyn.studies.discretizations.modified import slopes
from phdyn.studies.discretizations.stability import StabilityMap
from phdyn.studies.drawing import Drawn, draw_parts
from phdyn.tables import Table

SOLUTIONS: Final = "solutions"
"""Folder, in the run's, of the trajectories that figures need."""

_RESIDUALS: Final = ("explicit-euler", "sgd", "strang", "blanes-moan-4", "blanes-moan-6", "rk4", "gonzalez", "RK45", "DOP853")


def draw(run: Run, folder: str | Path) -> list[Path]:
    """Draw the study's figures into a folder, PNG, PDF and CSV of each; return the PNGs.

    Parameters
    ----------
    run : Run
        The run folder.
    folder : str or Path
        Where the figures go.
    """
    parts: dict[str, Callable[[Run, dict[str, Table]], Drawn]] = {
        "orders": _orders,
        "work_precision": partial(_work, y="error", x="gradients"),
        "work_time": partial(_work, y="error", x="time"),
        "work_residual": partial(_work, y="residual", x="gradients"),
        "residuals": _residuals,
        "symplecticity": _symplecticity,
        "stability": _stability,
        "long_run": _long_run,
        "modified": _modified,
    }
    return draw_parts(run, folder, parts)


def _wide(plot: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Draw on a figure of two columns; its many names are below."""
    from matplotlib import pyplot as plt

    from phdyn.plots import labels, style

    with style.drawing():
        ax = plt.subplots(figsize=(style.WIDE, 0.5 * style.WIDE), layout="constrained")[1]
        plot(*arguments, ax, **options)
        legend = ax.get_legend()
        if legend is not None:
            handles = [handle for handle in legend.legend_handles if handle is not None]
            legend.remove()
            labels.legend_outside(ax, handles, fresh=True)
    return ax


def _orders(run: Run, tables: dict[str, Table]) -> Drawn:  # noqa: ARG001 (a part's signature)
    from phdyn import plots

    if "system_orders" not in tables or not np.isfinite(tables["system_orders"]["measured"]).any():
        return None
    comparison: Any = SimpleNamespace(table=tables["precision"], orders=tables["system_orders"], solutions={})
    return _wide(plots.plot_orders, comparison), "Which order shows on this system?"


def _work(run: Run, tables: dict[str, Table], *, y: Any, x: Any) -> Drawn:  # noqa: ARG001 (a part's signature)
    from phdyn import plots

    if "precision" not in tables:
        return None
    comparison: Any = SimpleNamespace(table=tables["precision"], solutions={})
    return _wide(plots.plot_work_precision, comparison, y=y, x=x), _heading(tables, y, x)


def _heading(tables: dict[str, Table], y: str, x: str) -> str:
    if y == "residual":
        return "What does a small energy residual cost?"
    if x == "time":
        return "Which discretization is fastest at the error I need?"
    rows = [row for row in tables["envelope"] if np.isfinite(row.gradients) and np.isfinite(row.RK45)]
    if not rows:
        return "Which discretization is cheapest at the error I need?"
    worst = max(row.gradients / row.RK45 for row in rows)
    low, high = (short_power(row.error) for row in (rows[0], rows[-1]))
    return f"From {low} to {high}, at most {worst:.2f} of RK45's gradients"


def _residuals(run: Run, tables: dict[str, Table]) -> Drawn:
    from phdyn import plots

    if "precision" not in tables:
        return None
    names = [name for name in _RESIDUALS if (run.path / SOLUTIONS / f"{name}.npz").is_file()]
    if not names:
        return None
    target = short_power(run.config["precision"]["shown"])
    solutions = {name: load(run.path / SOLUTIONS / f"{name}.npz") for name in names}
    return plots.plot_residual(solutions), f"Whose balance closes, at errors near {target}?"


def _symplecticity(run: Run, tables: dict[str, Table]) -> Drawn:  # noqa: ARG001 (a part's signature)
    from phdyn import plots
    from phdyn.studies.discretizations.symplecticity import ROUNDING

    if "symplecticity" not in tables:
        return None
    table = tables["symplecticity"]
    names = dict.fromkeys(table["method"].tolist())
    clean = [name for name in names if (table["defect"][table["method"] == name] < ROUNDING).all()]
    return plots.plot_symplecticity(table, rounding=ROUNDING), f"{len(clean)} of {len(names)} methods contract phase space exactly"


def _stability(run: Run, tables: dict[str, Table]) -> Drawn:  # noqa: ARG001 (a part's signature)
    from matplotlib import pyplot as plt

    from phdyn import plots
    from phdyn.plots import style

    if "stability_maps" not in tables:
        return None
    maps = _maps(tables["stability_maps"])
    columns = min(4, len(maps))
    rows = -(-len(maps) // columns)
    with style.drawing():
        figure, axes = plt.subplots(
            rows, columns, sharex=True, sharey=True, squeeze=False, figsize=(style.WIDE, 0.25 * style.WIDE * rows), layout="constrained"
        )
        for ax, one in zip(axes.flat, maps, strict=False):
            plots.plot_stability(one, ax)
            ax.set_title(one.method, fontsize=8)
            ax.label_outer()
        for ax in list(axes.flat)[len(maps) :]:
            ax.set_visible(False)
        figure.colorbar(axes[0, 0].collections[0], ax=axes, label="spectral radius of a step")
    lasting = [one.method for one in maps if (one.radius[-1] <= 1 + 1e-7).all()]
    friction = f"γ/ω = {maps[0].frictions[-1]:g}"
    return axes, f"Stable at {friction} for every step: {', '.join(lasting) or 'none'}"


def _maps(table: Table) -> list[StabilityMap]:
    found = []
    for name in dict.fromkeys(table["method"].tolist()):
        own = table["method"] == name
        frictions, steps = np.unique(table["friction"][own]), np.unique(table["step"][own])
        shape = (len(frictions), len(steps))
        boundary = table["boundary"][own].reshape(shape)[:, 0]
        radius = table["radius"][own].reshape(shape)
        found.append(StabilityMap(name, steps, frictions, radius, None if np.isnan(boundary).all() else boundary))
    return found


def _long_run(run: Run, tables: dict[str, Table]) -> Drawn:  # noqa: ARG001 (a part's signature)
    from matplotlib import pyplot as plt

    from phdyn import plots
    from phdyn.plots import labels, style

    if "long_run_curves" not in tables:
        return None
    curves = tables["long_run_curves"]
    problems = list(dict.fromkeys(curves["problem"].tolist()))
    with style.drawing():
        _, axes = plt.subplots(1, len(problems), squeeze=False, figsize=(style.WIDE, 0.36 * style.WIDE), layout="constrained")
        for ax, name in zip(axes[0], problems, strict=True):
            plots.plot_long_run(curves.where(curves["problem"] == name), ax)
            handles = ax.get_legend().legend_handles
            ax.get_legend().remove()
            ax.set_title(name.replace("-", " "), fontsize=8)
            if ax is not axes[0, 0]:
                ax.set_ylabel("")
        labels.legend_outside(axes[0, 0], handles, fresh=True)
    free = [row for row in tables["long_run"] if np.isfinite(row.growth) and not np.isfinite(row.slope)]
    drifting = {row.method for row in free if not (row.growth < 1.01 and row.residual < _LOST)}
    names = {row.method for row in free}
    return axes[0], f"Without friction {len(names - drifting)} of {len(names)} methods do not drift"


_LOST: Final = 0.5
"""A residual of that share of the swing has drifted before a tenth of the run already."""


def _modified(run: Run, tables: dict[str, Table]) -> Drawn:  # noqa: ARG001 (a part's signature)
    from phdyn import plots

    if "modified" not in tables:
        return None
    found = ", ".join(f"{slope:.2f}" for slope in slopes(tables["modified"]).values())
    return plots.plot_modified(tables["modified"]), f"Heavy ball follows three equations: slopes {found}"
