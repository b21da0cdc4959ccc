"""What the ball did: over its potential and in the phase plane (one position), or through a landscape (two)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from phdyn.errors import ArgumentError
from phdyn.plots import labels, spans, style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from phdyn.solution import Solution

_ENDS = (("start", "o", "white"), ("switch", "D", "black"), ("end", "o", "black"))


def plot_phase(solution: Solution, axes: Sequence[Axes] | None = None) -> tuple[Axes, Axes]:
    """Draw what the ball did in the wells: its height over the potential, and its momentum below.

    Parameters
    ----------
    solution : Solution
        One trajectory of a system with one position, with the states recorded.
    axes : pair of Axes, optional
        The upper and the lower panel; a new column-wide figure of two if None.

    Returns
    -------
    tuple of Axes
        The upper panel (q; V and the path at height H) and the lower one (q; p). ``save`` takes the pair.

    Raises
    ------
    ArgumentError
        If there is not exactly one position, the states were not recorded, or ``axes`` is not a pair.
    """
    q = _positions(solution, 1, "plot_phase")[0]
    p: Any = solution.p
    energy: Any = solution.energy
    units = getattr(solution, "units", None)
    with style.drawing():
        fresh = axes is None
        pair: Any = style.new_axes(2, height=1.15) if axes is None else axes
        if np.size(pair) != 2:
            raise ArgumentError("plot_phase draws on a pair of axes, the upper and the lower: axes=plt.subplots(2)[1]")
        upper, lower = np.ravel(pair)
        height = np.interp(solution.t, energy.t, energy.hamiltonian)
        upper.plot(*_profile(solution, q), color=style.BLUE, label="V")
        _draw_path(upper, solution, q, height)
        handles = _draw_path(lower, solution, q, p[0])
        upper.set_ylabel(f"energy ({labels.energy_unit(units)})")
        lower.set_xlabel("position q")
        lower.set_ylabel("momentum p")
        if fresh:
            upper.tick_params(labelbottom=False)
        potential = labels.sample("potential V", color=style.BLUE)
        handles[0].set_label(f"path at height H{', ' + _name(handles[0]) if _name(handles[0]) else ''}")
        labels.legend_outside(lower, [potential, *handles], fresh=fresh)
    return upper, lower


def plot_path(solution: Solution, ax: Axes | None = None) -> Axes:
    """Draw the way through a landscape of two positions.

    Parameters
    ----------
    solution : Solution
        One trajectory of a system with two positions, with the states recorded.
    ax : Axes, optional
        Where to draw, with equal scales; a new column-wide figure if None.

    Returns
    -------
    Axes
        What was drawn on: contours of log(V - min V), where the solution still knows its potential, and its known
        minima.

    Raises
    ------
    ArgumentError
        If there are not exactly two positions, or the states were not recorded.
    """
    q = _positions(solution, 2, "plot_path")
    potential = _potential(solution)
    window = _window(q, potential)
    with style.drawing():
        fresh = ax is None
        shape = float(np.clip((window[1, 1] - window[1, 0]) / (window[0, 1] - window[0, 0]), 0.5, 1.2))
        axes: Axes = style.new_axes(height=0.82 * shape + 0.12) if ax is None else ax
        handles = []
        if potential is not None:
            handles += _draw_landscape(axes, potential, window)
        handles = [*_draw_path(axes, solution, q[0], q[1]), *handles]
        axes.set_xlim(*window[0])
        axes.set_ylim(*window[1])
        axes.set_aspect("equal")
        axes.set_xlabel("position q₁")
        axes.set_ylabel("position q₂")
        labels.legend_outside(axes, handles, fresh=fresh)
    return axes


def _name(line: Line2D) -> str:
    return str(line.get_label())


def _positions(solution: Any, dim: int, function: str) -> np.ndarray:
    """Return the positions ``(dim, T)``; of a gradient flow, whose states are positions, in two dimensions too."""
    spans.refuse_batch(solution, function)
    flows = dim == 2 and solution.q is None and _potential(solution) is not None
    q = np.asarray(solution.y if flows else np.empty(0) if solution.q is None else solution.q, dtype=float)
    if q.ndim != 2 or len(q) != dim:
        word = "one position" if dim == 1 else "two positions"
        raise ArgumentError(f"{function} draws one trajectory with {word}, and the positions here have shape {q.shape}")
    if solution.energy is not None and len(solution.t) <= 2 < len(solution.energy.t):
        raise ArgumentError(f"{function} needs the states along the run: simulate with record='states' or t_eval")
    return q


def _potential(solution: Any) -> Any:
    return getattr(getattr(solution, "system", None), "potential", None)


def _profile(solution: Any, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the potential over the positions reached and a little further; from the energies where it is unknown."""
    potential = _potential(solution)
    if potential is None:
        order = np.argsort(q)
        height = np.interp(solution.t, solution.energy.t, solution.energy.potential)
        return q[order], height[order]
    margin = 0.05 * (np.ptp(q) or 1.0)
    grid = np.linspace(q.min() - margin, q.max() + margin, 801)
    return grid, np.asarray(potential.value(grid[:, None]))


def _window(q: np.ndarray, potential: Any) -> np.ndarray:
    """Return the limits ((q1, q1), (q2, q2)): the path and the known minima next to it, with a margin."""
    low, high = q.min(axis=1), q.max(axis=1)
    minima = np.asarray(getattr(potential, "minima", np.empty((0, 2))), dtype=float)
    size = max(float((high - low).max()), 1e-9)
    near = minima[np.all((minima > low - size / 2) & (minima < high + size / 2), axis=1)] if minima.size else np.empty((0, 2))
    points = np.vstack([q.T, near])
    low, high = points.min(axis=0), points.max(axis=0)
    margin = np.maximum(0.12 * (high - low), 0.12 * float((high - low).max()))
    return np.stack([low - margin, high + margin], axis=1)


def _draw_landscape(ax: Axes, potential: Any, window: np.ndarray) -> list[Line2D]:
    """Draw grey contours, even in log(V - min V), and the known minima; return what a legend needs."""
    x, y = (np.linspace(low, high, 201) for low, high in window.tolist())
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    height = np.asarray(potential.value(grid.reshape(-1, 2))).reshape(grid.shape[:-1])
    minima = np.asarray(getattr(potential, "minima", np.empty((0, 2))), dtype=float)
    values = np.asarray(getattr(potential, "minimum_values", np.empty(0)), dtype=float)
    lowest = min([float(height.min()), *values.tolist()])
    above = height - lowest
    levels = np.geomspace(max(float(np.quantile(above, 0.005)), 1e-6 * float(above.max())), float(above.max()), 14)
    ax.contour(x, y, above, levels=levels, colors="0.75", linewidths=0.5, zorder=0)
    handles = [labels.sample("contours of log(V - min V)", color="0.75", linewidth=0.5)]
    if minima.size:
        ax.plot(*minima.T, "+", color=style.BLUE, markersize=6, markeredgewidth=1.2, label="minima")
        handles.append(labels.sample("minimum", color=style.BLUE, marker="+", linestyle="None", markersize=6, markeredgewidth=1.2))
    return handles


def _draw_path(ax: Axes, solution: Any, x: np.ndarray, y: np.ndarray) -> list[Line2D]:
    """Draw the path by mode, its start, switches and end; return what a legend needs."""
    stays = spans.mode_spans(solution)
    shades = style.mode_shades(stay.mode for stay in stays)
    t = np.asarray(solution.t)
    forward = 1.0 if t[-1] >= t[0] else -1.0
    handles = []
    for mode, shade in shades.items():
        inside = np.zeros(len(t), dtype=bool)
        for stay in stays:
            inside |= (stay.mode == mode) & (forward * t >= forward * stay.start) & (forward * t <= forward * stay.end)
        look = {"color": style.BLACK, "linewidth": shade.width, "linestyle": shade.dashes}
        ax.plot(np.where(inside, x, np.nan), np.where(inside, y, np.nan), **look, label=mode or "path")
        handles.append(labels.sample(mode or "path", **look))
    switches = [(np.interp(row.time, t, x), np.interp(row.time, t, y)) for row in solution.switches]
    points = {"start": [(x[0], y[0])], "switch": switches, "end": [(x[-1], y[-1])]}
    for name, marker, face in _ENDS:
        look = {
            "color": style.BLACK,
            "marker": marker,
            "markerfacecolor": face,
            "linestyle": "None",
            "markersize": 4.5,
            "zorder": 4,
        }
        if points[name]:
            ax.plot(*np.transpose(points[name]), **look, label=name)
            handles.append(labels.sample(name, **look))
    return handles
