"""Several arms in one figure: up to eight looks, names at the ends of few lines, rows of ticks at an edge."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.patches import Rectangle

from phdyn.errors import ArgumentError
from phdyn.plots import labels, style

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_MOST_NAMED: Final = 4
_LONGEST_NAME: Final = 16
_ROW: Final = 0.042
"""Height of a row of ticks over that of the axes."""


def arm_looks(names: Collection[str], function: str) -> dict[str, style.Look]:
    """Return a look for each arm, in order.

    Raises
    ------
    ArgumentError
        If there is no arm, or there are more than eight.
    """
    if not 0 < len(names) <= len(style.RUNS):
        raise ArgumentError(f"{function} draws one to {len(style.RUNS)} arms, and these are {len(names)}: draw others in another figure")
    return dict(zip(names, style.RUNS, strict=False))


def explain(ax: Axes, ends: Sequence[labels.End], handles: Sequence[Artist], *, below: Axes | None = None, fresh: bool) -> None:
    """Name the lines at their ends where they are few and the names short, in a legend otherwise.

    Parameters
    ----------
    ax : Axes
        Where the lines end.
    ends : sequence of End
        Where to write each name.
    handles : sequence of artists
        What a legend shows.
    below : Axes, optional
        The panel next to which the legend goes, if not ``ax``.
    fresh : bool
        Whether the figure is ours, and may grow.
    """
    if len(ends) <= _MOST_NAMED and max(len(end.text) for end in ends) <= _LONGEST_NAME:
        labels.label_ends(ax, ends)
    else:
        labels.legend_outside(below or ax, handles, fresh=fresh)


def note(ax: Axes, text: str) -> None:
    """Write in small letters above the axes what the marks are."""
    ax.annotate(
        text, (0.0, 1.0), (0, 3), xycoords="axes fraction", textcoords="offset points", va="bottom", fontsize=style.SMALL, color="0.35"
    )


def draw_rug(ax: Axes, ticks: Mapping[str, Any], looks: Mapping[str, style.Look], *, what: str = "", top: bool = False) -> dict[str, float]:
    """Draw a row of ticks an arm at the lower or upper edge, and make room for it; an arm without any has no row.

    Parameters
    ----------
    ax : Axes
        Where; its limits must be final otherwise.
    ticks : mapping of str to (count,) array
        The ticks of each arm, in units of x; what is not finite is left out.
    looks : mapping of str to Look
        The look of each arm.
    what : str
        The series that save() writes is named after the arm and this word; empty: it writes none.
    top : bool
        Whether the rows lie at the upper edge.

    Returns
    -------
    dict of str to float
        The height of each row over that of the axes.
    """
    rows = {label: np.sort(at[np.isfinite(at)]) for label, at in ((label, np.asarray(at, dtype=float)) for label, at in ticks.items())}
    rows = {label: rows[label] for label in looks if label in rows and rows[label].size}
    if not rows:
        return {}
    room = _ROW * len(rows)
    _make_room(ax, room, top=top)
    blank = Rectangle((0.0, 1.0 - room if top else 0.0), 1.0, room, transform=ax.transAxes, color=ax.get_facecolor(), zorder=2.4)
    blank.set_linewidth(0.0)
    ax.add_artist(blank)  # lines that leave through the edge do not run through the ticks
    heights = {}
    for k, (label, at) in enumerate(rows.items()):
        height = heights[label] = 1.0 - _ROW * (k + 0.5) if top else _ROW * (len(rows) - k - 0.5)
        look = {**looks[label].keywords(), "marker": "|", "markersize": 3.5, "markeredgewidth": 0.5, "linewidth": 0.5, "zorder": 2.5}
        name = f"{label}, {what}" if what else "_rug"
        ax.plot(at, np.full(at.size, height), **look, transform=ax.get_xaxis_transform(), label=name)
    return heights


def _make_room(ax: Axes, share: float, *, top: bool) -> None:
    """Widen the limits of y so that ``share`` of the axes is free at an edge."""
    scale = ax.yaxis.get_transform()
    low, high = scale.transform(np.array(ax.get_ylim()))
    more = share / (1.0 - share) * (high - low)
    ax.set_ylim(*scale.inverted().transform(np.array([low, high + more] if top else [low - more, high])))
