"""Where the energy of a run goes, and in which mode it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.patches import Patch

from phdyn.plots import labels, spans, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from phdyn.solution import Solution

_LOOKS: Final[dict[str, dict[str, Any]]] = {
    "hamiltonian": {"linestyle": "-", "linewidth": 1.4},
    "potential": {"linestyle": (0, (5, 1.2)), "linewidth": 1.2},
    "kinetic": {"linestyle": (0, (1.2, 0.8)), "linewidth": 1.2},
    "start": {"linestyle": (0, (4, 3)), "linewidth": 0.8},
    "supplied": {"linestyle": (0, (6, 1.5, 1, 1.5)), "linewidth": 0.9},
    "injected": {"linestyle": (0, (2, 1, 2, 3)), "linewidth": 0.9, "drawstyle": "steps-post"},
}
_SYMBOLS: Final = {  # what a line is called in the numbers, and on the figure
    "hamiltonian": ("H", "total H"),
    "potential": ("V", "potential V"),
    "kinetic": ("T", "kinetic T"),
    "start": ("H0", "H at start"),
    "supplied": ("H0 + supplied", "+ supplied"),
    "injected": ("H0 + supplied + injected", "+ injected"),
}
_SEEN: Final = 1e-6
"""Supplied or injected energy below this share of H is rounding, or nothing that a figure could show."""
_DISSIPATED: Final[dict[str, Any]] = {"color": style.VERMILION, "alpha": 0.3, "linewidth": 0}


def plot_energy(solution: Solution, ax: Axes | None = None) -> Axes:
    """Draw where the energy goes, and when it braked.

    Potential, kinetic and total energy are lines; the work that friction has done is filled from H up, and reaches the
    dashed line (the energy at the start, plus what was supplied and injected) where the balance closes: a gap is the
    residual.

    Parameters
    ----------
    solution : Solution
        One trajectory with an energy; anything with ``energy`` and ``switches`` will do.
    ax : Axes, optional
        Where to draw; a new column-wide figure if None.

    Returns
    -------
    Axes
        What was drawn on.

    Raises
    ------
    ArgumentError
        If the solution has no energy, or holds a batch.
    """
    energy = spans.one_energy(solution, "plot_energy")
    units = getattr(solution, "units", None)
    with style.drawing():
        fresh = ax is None
        axes: Axes = style.new_axes() if ax is None else ax
        t = np.asarray(energy.t)
        spans.shade_modes(axes, solution)
        covered = energy.hamiltonian + energy.dissipated
        axes.fill_between(t, energy.hamiltonian, covered, **_DISSIPATED)
        axes.plot(t, covered, color=style.VERMILION, linewidth=0.4, linestyle=(0, (1, 1)), label="H + dissipated")
        lines = _lines(energy)
        for name, values in lines.items():
            axes.plot(t, values, color=_colour(name), **_LOOKS[name], label=_SYMBOLS[name][0])
        axes.set_xlabel(labels.time_label(units))
        axes.set_ylabel(f"energy ({labels.energy_unit(units)})")
        axes.margins(x=0, y=0.1)
        spans.draw_switches(axes, solution.switches)
        if len(lines) <= 4:
            labels.label_ends(axes, [labels.End(_SYMBOLS[k][1], _last(v), _colour(k)) for k, v in lines.items()])
            _name_fill(axes, t, energy)
        else:
            handles = [labels.sample(_SYMBOLS[name][1], color=_colour(name), **_LOOKS[name]) for name in lines]
            labels.legend_outside(axes, [*handles, Patch(label="dissipated", **_DISSIPATED)], fresh=fresh)
    return axes


def _lines(energy: Any) -> dict[str, np.ndarray]:
    """Return what is drawn as lines: the energies there are, and the levels that they are counted from."""
    known = {name: getattr(energy, name) for name in ("hamiltonian", "potential", "kinetic")}
    lines = {name: np.asarray(values) for name, values in known.items() if values is not None}
    lines["start"] = np.full(len(energy.t), spans.initial_energy(energy))
    supplied = lines["start"] + energy.supplied
    seen = _SEEN * np.nanmax(np.abs(energy.hamiltonian), initial=0.0)
    if np.any(np.abs(energy.supplied) > seen):
        lines["supplied"] = supplied
    if np.any(np.abs(energy.injected) > seen):
        lines["injected"] = supplied + energy.injected
    return lines


def _colour(name: str) -> str:
    return style.COLOURS.get(name, style.BLACK)


def _last(values: np.ndarray) -> float:
    """Return the last finite value; 0 where there is none."""
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if finite.size else 0.0


def _name_fill(ax: Axes, t: np.ndarray, energy: Any) -> None:
    """Write what the fill is, in its middle after it has grown thick; where it never does, nobody sees it."""
    dissipated = np.abs(np.nan_to_num(energy.dissipated))
    low, high = ax.get_ylim()
    if not dissipated.max() > 0.12 * (high - low):
        return
    middle = (t[int(np.argmax(dissipated > 0.8 * dissipated.max()))] + t[-1]) / 2
    k = int(np.argmin(np.abs(t - middle)))
    at = (t[k], energy.hamiltonian[k] + energy.dissipated[k] / 2)
    ax.text(*at, "dissipated", color=style.VERMILION, ha="center", va="center", fontsize=7, clip_on=True)
