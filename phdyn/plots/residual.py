"""Whose energy balance closes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from phdyn.plots import labels, spans, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from phdyn.solution import Solution

ALLOWED: Final = 0.1
"""Largest share of the energy's swing that a residual may reach before the verdict is "violated"."""


def plot_residual(solutions: Solution | Mapping[str, Solution], ax: Axes | None = None) -> Axes:
    """Draw whose energy balance closes: the residual, relative to the energy at the start.

    Parameters
    ----------
    solutions : Solution or dict of str to Solution
        One run, or one a label. A label is followed by what the method's balance may be held to.
    ax : Axes, optional
        Where to draw; a new column-wide figure if None.

    Returns
    -------
    Axes
        What was drawn on: the residual as a pale line, the largest so far with the method's marks. A tick at the right
        edge is the level beyond which the verdict is "violated".

    Raises
    ------
    ArgumentError
        If a solution has no energy, or holds a batch.
    """
    runs: Mapping[str, Any] = solutions if isinstance(solutions, Mapping) else {solutions.method.name: solutions}
    energies = {label: spans.one_energy(run, "plot_residual") for label, run in runs.items()}
    looks = style.method_looks((label, run.method.family) for label, run in runs.items())
    first = next(iter(runs.values()))
    with style.drawing():
        fresh = ax is None
        axes: Axes = style.new_axes() if ax is None else ax
        noise = max(_noise(energies[label], run) for label, run in runs.items())
        floor = noise / 1000
        ends, handles = [], []
        for index, (label, run) in enumerate(runs.items()):
            energy, look = energies[label], looks[label]
            shown = np.maximum(np.abs(energy.residual) / _scale(energy), floor)
            text = f"{label} ({_kind(run.method)})"
            mark: dict[str, Any] = {"markevery": (0.03 + 0.13 * index / len(runs), 0.15), "linewidth": 1.0}
            largest = np.fmax.accumulate(shown)
            axes.plot(energy.t, shown, color=look.colour, linewidth=0.4, alpha=0.35, label=label)
            axes.plot(energy.t, largest, **look.keywords(), **mark, label=f"{label}, largest so far")
            ends.append(labels.End(text, float(largest[-1]), look.colour))
            handles.append(labels.sample(text, **look.keywords(), linewidth=1.0))
        axes.set_yscale("log")
        axes.margins(x=0)
        _allowed_levels(axes, [(run, energies[label], looks[label].colour) for label, run in runs.items()])
        labels.rounding_band(axes, floor, noise, f"rounding in {np.asarray(first.y).dtype}")
        axes.set_xlabel(labels.time_label(getattr(first, "units", None)))
        axes.set_ylabel("|energy residual| / |H at start|,\nlargest so far")
        if len(ends) <= 4:
            labels.label_ends(axes, ends)
        else:
            labels.legend_outside(axes, handles, fresh=fresh)
    return axes


def _kind(method: Any) -> str:
    return f"order {method.order}" if method.kind == "order" else str(method.kind)


def _largest(energy: Any) -> float:
    finite = energy.hamiltonian[np.isfinite(energy.hamiltonian)]
    return float(np.max(np.abs(finite), initial=0.0))


def _scale(energy: Any) -> float:
    """Return the size of the energy at the start; where that is zero, the largest along the run."""
    return abs(spans.initial_energy(energy)) or _largest(energy) or 1.0


def _noise(energy: Any, solution: Any) -> float:
    """Return what rounding alone may leave of the residual, relative to the energy: the verdict's own estimate."""
    eps = float(np.finfo(np.asarray(solution.y).dtype).eps)
    largest = min(_largest(energy) / _scale(energy), 1e3)  # a run that blew up says nothing about rounding
    return 8 * eps * float(np.sqrt(max(1, solution.nsteps))) * max(largest, 1.0)


def _allowed_levels(ax: Axes, runs: list[tuple[Any, Any, str]]) -> None:
    """Draw each distinct level beyond which a balance is violated as a tick at the right edge."""
    levels: list[tuple[float, str]] = []
    for run, energy, colour in runs:
        level = ALLOWED * float(run.energy_balance().swing) / _scale(energy)
        known = any(abs(np.log(level / other)) < 0.2 for other, _ in levels) if level > 0 else True
        if run.method.kind != "exact" and not known:
            levels.append((level, colour))
    for level, colour in levels:
        shown = colour if len(levels) > 1 else "0.3"
        across = ax.get_yaxis_transform()
        ax.plot(
            [0.96, 1.0],
            [level, level],
            color=shown,
            linewidth=2,
            solid_capstyle="butt",
            transform=across,
            label="_allowed",
        )
        ax.annotate(
            "allowed",
            (0.945, level),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="center",
            fontsize=style.SMALL,
            color="0.3",
        )
