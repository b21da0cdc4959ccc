"""Which mode a run was in, when, and by which event it left."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from phdyn.plots import labels, spans, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from phdyn.solution import Solution

SHORTEST = 0.01
"""A stay shorter than this share of the run is widened to it."""


def plot_modes(solution: Solution, ax: Axes | None = None) -> Axes:
    """Draw which mode the run was in when, and which event ended it: a row for each mode, in order of appearance.

    Parameters
    ----------
    solution : Solution
        One trajectory.
    ax : Axes, optional
        Where to draw; a new column-wide figure if None.

    Returns
    -------
    Axes
        What was drawn on. A stay shorter than 1 % of the run is widened to a tick.
    """
    stays = spans.mode_spans(solution)
    shades = style.mode_shades(stay.mode for stay in stays)
    rows = {mode: len(shades) - 1 - k for k, mode in enumerate(shades)}
    whole = abs(stays[-1].end - stays[0].start) or 1.0
    with style.drawing():
        axes: Axes = style.new_axes(height=min(style.SHAPE, 0.25 + 0.1 * len(shades))) if ax is None else ax
        for mode, shade in shades.items():
            bars = [(s.start, s.end - s.start) for s in stays if s.mode == mode]
            widened = [(start, np.copysign(max(abs(width), SHORTEST * whole), width or 1.0)) for start, width in bars]
            axes.broken_barh(
                widened,
                (rows[mode] - 0.35, 0.7),
                facecolor=shade.grey,
                edgecolor="0.2",
                linewidth=0.6,
                hatch=shade.hatch,
                label=mode or "whole run",
            )
        for before, after in pairwise(stays):
            axes.plot(
                [before.end] * 2,
                [rows[before.mode], rows[after.mode]],
                color="0.3",
                linewidth=0.8,
                zorder=3,
                label="_jump",
            )
        axes.set_yticks(list(rows.values()), [mode or "whole run" for mode in rows])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlim(stays[0].start, stays[-1].end)
        axes.set_xlabel(labels.time_label(getattr(solution, "units", None)))
        axes.set_ylabel("mode")
        spans.draw_switches(axes, solution.switches)
    return axes
