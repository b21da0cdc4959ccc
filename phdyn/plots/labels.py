"""Words on a figure: units, labels at the ends of lines, legends outside the data, the band of rounding errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from phdyn.plots.style import SMALL, text_width

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_POINTS = 72.0
_LABEL = 7  # points
_LEGEND_ROW = 0.145  # inches


class End(NamedTuple):
    """What to write at the end of a line, and where: at the right edge of the axes, or at an x of its own."""

    text: str
    y: float
    colour: Any
    x: float | None = None


def time_label(units: Mapping[str, str] | None) -> str:
    """Return ``time t``, with the unit where the system has one: mechanical time has none."""
    unit = (units or {}).get("time")
    return f"time t ({unit})" if unit else "time t"


def energy_unit(units: Mapping[str, str] | None) -> str:
    """Return the unit of energies: that of the loss, unless the system has one."""
    return (units or {}).get("energy") or "loss units"


def label_ends(ax: Axes, ends: Sequence[End]) -> None:
    """Write each text at the height of its line's end where there is room, and next to it otherwise.

    Call it when the limits of the axes are final.
    """
    right = ax.get_xlim()[1]
    to_axes = ax.transData + ax.transAxes.inverted()
    at = np.array([to_axes.transform((right if end.x is None else end.x, end.y)) for end in ends]).reshape(-1, 2)
    room = 1.25 * _LABEL / (_POINTS * _height(ax))
    for end, x, y in zip(ends, at[:, 0], _spread(at[:, 1], room), strict=True):
        ax.annotate(
            end.text,
            (x, y),
            (5, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            color=end.colour,
            va="center",
            fontsize=_LABEL,
            path_effects=[withStroke(linewidth=1.5, foreground=ax.get_facecolor())] if end.x is not None else None,
        )


def _height(ax: Axes) -> float:
    """Return the height of the axes in inches, before the layout has been made."""
    figure = ax.get_figure(root=True)
    inches: float = 2.0 if figure is None else figure.get_figheight() * ax.get_position().height
    return inches


def _spread(wanted: NDArray[np.float64], room: float) -> NDArray[np.float64]:
    """Return heights at least ``room`` apart, in the order wanted and as near to it as a few sweeps bring them."""
    order = np.argsort(wanted, kind="stable")
    y: NDArray[np.float64] = np.clip(wanted[order], 0.0, 1.0)
    for _ in range(50):
        short = np.maximum(room - np.diff(y), 0.0)
        if not short.any():
            break
        y[:-1] -= short / 2
        y[1:] += short / 2
        y += max(0.0, -float(y[0]))
    spread = np.empty_like(y)
    spread[order] = y
    return spread


def legend_outside(ax: Axes, handles: Sequence[Artist], *, fresh: bool, title: str | None = None) -> None:
    """Explain the handles outside the data: below a figure of ours, which grows by it; right of the axes of a user.

    Parameters
    ----------
    ax : Axes
        Where the handles are drawn.
    handles : sequence of artists
        Labelled artists.
    fresh : bool
        Whether the figure is ours, and may grow.
    title : str, optional
        What the texts of the handles mean.
    """
    figure = ax.get_figure(root=True)
    heading: dict[str, Any] = {"title": title, "title_fontsize": _LABEL}
    if not fresh or figure is None:
        ax.legend(handles=list(handles), **heading, loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0.0)
        return
    columns = _columns([str(handle.get_label()) for handle in handles], _POINTS * figure.get_figwidth())
    rows = -(-len(handles) // columns)
    figure.set_figheight(figure.get_figheight() + (rows + 0.5 + bool(title)) * _LEGEND_ROW)
    figure.legend(handles=list(handles), **heading, loc="outside lower center", ncols=columns)


def _columns(texts: Sequence[str], width: float) -> int:
    """Return how many columns of a legend fit into a width in points; matplotlib fills them one after the other."""
    handle, between = 3.4 * _LABEL, 1.2 * _LABEL
    widths = [handle + text_width(text, _LABEL) for text in texts]
    for columns in range(min(len(texts), 4), 1, -1):
        parts = np.array_split(np.array(widths), columns)
        if sum(part.max() for part in parts) + (columns - 1) * between + _LABEL < width:
            return columns
    return 1


def sample(label: str, **keywords: Any) -> Line2D:
    """Return a line for a legend alone."""
    return Line2D([], [], label=label, **keywords)


def rounding_band(ax: Axes, floor: float, top: float, text: str = "rounding") -> None:
    """Shade where values cannot be told from zero, down from ``top``; a zero is drawn at ``floor``."""
    bottom = floor / 30
    ax.axhspan(bottom, top, color="0.88", zorder=0, linewidth=0)
    ax.annotate(
        text,
        (0, bottom),
        (3, 2),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        fontsize=SMALL,
        color="0.35",
    )
    ax.set_ylim(bottom=bottom)
