"""Which start ends in which well: a map of the starts of a batch, coloured by label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from phdyn.errors import ArgumentError
from phdyn.plots import labels as words
from phdyn.plots import style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from phdyn.solution import Solution

_NEVER: Final = -1
_STRIP: Final = 0.25
"""Height of a map of one position over its width."""


def plot_basins(
    sol: Solution, labels: Any, ax: Axes | Sequence[Axes] | None = None, *, before: Any = None
) -> Axes | tuple[Axes, Axes]:
    """Draw which start ends in which well.

    Parameters
    ----------
    sol : Solution
        A batch with one position or two, recorded in whatever way: its starts are what is drawn.
    labels : (B,) array of int
        Where each trajectory ended, up to eight labels; negative or masked: never arrived, or failed.
    ax : Axes, or pair of Axes with ``before``, optional
        Where to draw; a new figure if None: one column wide, two with ``before``.
    before : (B,) array of int, optional
        Another array of labels, such as the well at the moment of the switch: drawn in a panel of its own, on the left.

    Returns
    -------
    Axes, or tuple of Axes with ``before``
        What was drawn on: starts on a regular grid as areas, others as points, in one colour, hatch and marker a label; the known minima
        of the potential as crosses. The legend has each label's share of the starts with its Wilson interval (95 %).

    Raises
    ------
    ArgumentError
        If the solution is no batch or has more than two positions, a label is missing, there are more than eight, or ``ax`` is not what
        the panels need.
    """
    starts = _starts(sol)
    maps = [_checked(part, len(starts), name) for part, name in ((before, "before"), (labels, "labels")) if part is not None]
    known = sorted({int(label) for part in maps for label in np.unique(part) if label != _NEVER})
    if len(known) > len(style.WELLS):
        raise ArgumentError(f"plot_basins tells {len(style.WELLS)} labels apart, and these are {len(known)}: give the rarest -1")
    looks = dict(zip(known, style.WELLS, strict=False))
    if any((part == _NEVER).any() for part in maps):
        looks[_NEVER] = style.NEVER
    with style.drawing():
        fresh = ax is None
        panels = _panels(starts, len(maps)) if ax is None else list(np.ravel(np.asarray(ax, dtype=object)))
        if len(panels) != len(maps):
            need = "a pair of axes, plt.subplots(1, 2)[1], for before and after" if before is not None else "one axes"
            raise ArgumentError(f"plot_basins draws on {need}, not on {len(panels)}")
        for panel, part in zip(panels, maps, strict=True):
            _draw(panel, starts, part, looks)
            _draw_minima(panel, sol, starts)
        if before is not None:
            for panel, name in zip(panels, ("before", "after"), strict=True):
                panel.annotate(name, (0.0, 1.0), (0, 2), xycoords="axes fraction", textcoords="offset points", va="bottom", fontsize=7)
            panels[1].set_ylabel("" if fresh else panels[1].get_ylabel())
        areas = _grid(starts) is not None
        handles = [_handle(look, f"{_name(label)}: {_shares(maps, label)}", areas=areas) for label, look in looks.items()]
        words.legend_outside(panels[-1], handles, fresh=fresh, title="share of the starts (Wilson 95 %)")
    return panels[0] if before is None else (panels[0], panels[1])


# --- what is drawn --------------------------------------------------------------------------------------------------------------------


def _starts(sol: Any) -> np.ndarray:
    """Return the starts (B, 1) or (B, 2)."""
    if getattr(sol, "batch", None) is None:
        raise ArgumentError("plot_basins draws the starts of a batch, and this solution is that of a single run: x0 of shape (batch, 2n)")
    states = np.asarray(sol.y if sol.q is None else sol.q, dtype=float)
    if states.shape[1] not in (1, 2):
        raise ArgumentError(f"plot_basins draws one position or two, and the states here have {states.shape[1]}")
    return states[:, :, 0]


def _checked(labels: Any, count: int, name: str) -> np.ndarray:
    """Return labels as integers, what is masked, negative or nan as never."""
    array: Any = np.ma.filled(np.ma.masked_invalid(np.ma.asarray(labels, dtype=float)), _NEVER)
    if array.shape != (count,):
        raise ArgumentError(f"{name} has shape {array.shape}, not ({count},): a label a trajectory")
    return np.where(array < 0, _NEVER, array).astype(np.intp)


def _name(label: int) -> str:
    return "never" if label == _NEVER else str(label)


def _shares(maps: Sequence[np.ndarray], label: int) -> str:
    """Return the share of a label in each map, with its Wilson interval, in percent."""
    from scipy.stats import binomtest

    texts = []
    for part in maps:
        hits = int(np.count_nonzero(part == label))
        low, high = binomtest(hits, len(part)).proportion_ci(method="wilson")
        texts.append(f"{100 * hits / len(part):.1f} % ({100 * low:.1f} to {100 * high:.1f})")
    return " → ".join(texts)


# --- areas and points -----------------------------------------------------------------------------------------------------------------


class _Grid(NamedTuple):
    """A regular grid of starts: edges of its cells, and the place (row, column) of each start."""

    x: np.ndarray
    y: np.ndarray
    rows: np.ndarray
    columns: np.ndarray


def _grid(starts: np.ndarray) -> _Grid | None:
    """Return the grid that the starts fill, in any order; None where they fill none."""
    axes, places = [], []
    for column in starts.T:
        size = float(np.ptp(column)) or 1.0
        _, first, place = np.unique(np.round(column / (1e-9 * size)), return_index=True, return_inverse=True)
        axes.append(column[first])
        places.append(place.ravel())
    if starts.shape[1] == 1:
        axes.append(np.zeros(1))
        places.append(np.zeros(len(starts), dtype=np.intp))
    x, y = axes
    flat = places[1] * len(x) + places[0]
    if len(x) * len(y) != len(starts) or len(x) < 2 or len(np.unique(flat)) != len(starts):
        return None
    return _Grid(_edges(x), _edges(y) if len(y) > 1 else np.array([0.0, 1.0]), places[1], places[0])


def _edges(centres: np.ndarray) -> np.ndarray:
    middles = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middles[0]], middles, [2 * centres[-1] - middles[-1]]])


def _panels(starts: np.ndarray, number: int) -> list[Axes]:
    """Return the panels of a new figure: one column wide, or two columns for two."""
    flat = starts.shape[1] == 1
    ratio = _STRIP if flat else float(np.clip(np.ptp(starts[:, 1]) / (np.ptp(starts[:, 0]) or 1.0), 0.5, 1.2))
    if number == 1:
        return [style.new_axes(height=0.82 * ratio + 0.15)]
    size = (style.WIDE, (0.41 * ratio + 0.11) * style.WIDE)
    _, axes = plt.subplots(1, 2, sharex=True, sharey=True, figsize=size, layout="constrained")
    return list(axes)


def _draw(ax: Axes, starts: np.ndarray, part: np.ndarray, looks: dict[int, style.Well]) -> None:
    """Draw one map."""
    flat = starts.shape[1] == 1
    y = np.full(len(starts), 0.5) if flat else starts[:, 1]
    grid = _grid(starts)
    if grid is not None:
        _draw_areas(ax, grid, part, looks)
    for label, look in looks.items():
        # on a grid the points are there for the numbers that save() writes, and are not seen
        drawn = _point(look) if grid is None else {"marker": "None"}
        ax.plot(starts[part == label, 0], y[part == label], linestyle="None", color=_seen(look), **drawn, label=_name(label))
    ax.set_xlabel("start q(0)" if flat else "start q₁(0)")
    if flat:
        ax.set_ylim(0.0, 1.0)
        ax.set_yticks([])
    else:
        ax.set_ylabel("start q₂(0)")
        ax.set_aspect("equal")


def _seen(look: style.Well) -> str:
    """Return the colour of a point: grey points are darker than grey areas."""
    return "0.5" if look is style.NEVER else look.colour


def _draw_areas(ax: Axes, grid: _Grid, part: np.ndarray, looks: dict[int, style.Well]) -> None:
    """Draw cells as an image, and a hatch over those of each label: greyscale must tell them apart."""
    index = np.empty((len(grid.y) - 1, len(grid.x) - 1), dtype=np.intp)
    order = {label: k for k, label in enumerate(looks)}
    index[grid.rows, grid.columns] = [order[int(label)] for label in part]
    colours = np.array([to_rgb(look.colour) for look in looks.values()])
    ax.pcolormesh(grid.x, grid.y, colours[index], rasterized=True)
    x, y = (_doubled(edges) for edges in (grid.x, grid.y))
    for k, look in enumerate(looks.values()):
        mask = np.repeat(np.repeat(index == k, 2, axis=0), 2, axis=1).astype(float)
        if look.hatch and mask.any():
            with mpl.rc_context({"hatch.color": _ink(look)}):
                ax.contourf(x, y, mask, levels=[0.5, 1.5], colors="none", hatches=[look.hatch])
    ax.set_xlim(grid.x[0], grid.x[-1])
    ax.set_ylim(grid.y[0], grid.y[-1])


def _doubled(edges: np.ndarray) -> np.ndarray:
    """Return two points just inside the ends of each cell, so that a contour through them follows the cells."""
    inside = 1e-3 * np.diff(edges)
    return np.stack([edges[:-1] + inside, edges[1:] - inside], axis=1).ravel()


def _ink(look: style.Well) -> str:
    """Return the colour of a hatch."""
    return "0.55" if look is style.NEVER else "white" if look.colour == style.BLACK else "0.15"


def _draw_minima(ax: Axes, sol: Any, starts: np.ndarray) -> None:
    """Draw the known minima that lie within the map."""
    potential = getattr(getattr(sol, "system", None), "potential", None)
    minima = np.asarray(getattr(potential, "minima", np.empty((0, 0))), dtype=float)
    if minima.ndim != 2 or minima.shape[1] != starts.shape[1] or not len(minima):
        return
    points = np.column_stack([minima, np.full(len(minima), 0.5)])[:, :2]
    limits = ax.get_xlim(), ax.get_ylim()
    ax.plot(
        *points.T,
        "+",
        color="black",
        markersize=7,
        markeredgewidth=1.2,
        path_effects=[withStroke(linewidth=2.6, foreground="white")],
        label="minima",
    )
    ax.set(xlim=limits[0], ylim=limits[1])


def _handle(look: style.Well, text: str, *, areas: bool) -> Artist:
    """Return what the legend shows of a label: an area, or a point."""
    if not areas:
        return words.sample(text, color=_seen(look), linestyle="None", **_point(look))
    with mpl.rc_context({"hatch.color": _ink(look)}):
        return Patch(facecolor=look.colour, hatch=look.hatch, linewidth=0.0, label=text)


def _point(look: style.Well) -> dict[str, Any]:
    return {"marker": look.marker, "markersize": 3.5, "markeredgewidth": 0.8 if look is style.NEVER else 0.3}
