"""Which mode a run was in, when, and by which event it left; of a batch, how many were in each."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patches import Patch

from phdyn.plots import labels, spans, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from phdyn.solution import Solution

SHORTEST = 0.01
"""A stay shorter than this share of the run is widened to it."""


def plot_modes(solution: Solution, ax: Axes | None = None) -> Axes:
    """Draw which mode the run was in when, and which event ended it: a row for each mode, in order of appearance.

    Of a batch, draw the share of the trajectories that is in each mode, one upon the other.

    Parameters
    ----------
    solution : Solution
        One trajectory, or a batch.
    ax : Axes, optional
        Where to draw; a new column-wide figure if None.

    Returns
    -------
    Axes
        What was drawn on. A stay shorter than 1 % of the run is widened to a tick; a transition from a mode to itself is a tick across
        its row.

    Raises
    ------
    ArgumentError
        Several runs.
    """
    spans.refuse_several(solution, "plot_modes")
    if getattr(solution, "batch", None) is not None:
        return _draw_shares(solution, ax)
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
        jumps = [(before.end, rows[before.mode], rows[after.mode]) for before, after in pairwise(stays)]
        for at, low, high in jumps:
            reach = 0.45 if low == high else 0.0
            axes.plot([at] * 2, [low - reach, high + reach], color="0.3", linewidth=0.8, zorder=3, label="_jump")
        axes.set_yticks(list(rows.values()), [mode or "whole run" for mode in rows])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlim(stays[0].start, stays[-1].end)
        axes.set_xlabel(labels.time_label(getattr(solution, "units", None)))
        axes.set_ylabel("mode")
        spans.draw_switches(axes, solution.switches)
    return axes


def _draw_shares(solution: Any, ax: Axes | None) -> Axes:
    """Draw the share of trajectories in each mode against time."""
    t, shares = _shares(solution)
    shades = style.mode_shades(shares)
    with style.drawing():
        fresh = ax is None
        axes: Axes = style.new_axes() if ax is None else ax
        low = np.zeros(len(t))
        handles = []
        for mode, share in shares.items():
            shade, high = shades[mode], low + share
            look: dict[str, Any] = {"facecolor": shade.grey, "edgecolor": "0.4", "hatch": shade.hatch, "linewidth": 0.0}
            axes.fill_between(t, low, high, step="post", **look, label="_share")
            axes.plot(t, high, color="0.2", linewidth=0.8, drawstyle="steps-post", label="_edge")
            axes.plot(t, share, linestyle="None", marker="None", label=mode or "whole run")  # the numbers that save() writes
            handles.append(Patch(**{**look, "linewidth": 0.6}, label=f"{mode or 'whole run'}: {share[-1]:.1f} % at the end"))
            low = high
        axes.set_xlim(t[0], t[-1])
        axes.set_ylim(0.0, 100.0)
        axes.set_xlabel(labels.time_label(getattr(solution, "units", None)))
        axes.set_ylabel("share of trajectories (%)")
        labels.legend_outside(axes, handles, fresh=fresh)
    return axes


def _shares(solution: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the times of all switches, and how many percent are in each mode from each of them on.

    Counted from the switches: they know every time, where ``solution.modes`` knows those on the grid.
    """
    count, times = solution.batch, spans.times(solution)
    table = solution.switches
    backward = times[-1] < times[0]
    order = np.argsort(-table["time"] if backward else table["time"], kind="stable")
    sources, targets = (np.asarray(table[name], dtype=str)[order] for name in ("source", "target"))
    t = np.concatenate([times[:1], table["time"][order], times[-1:]])
    firsts = _first_modes(solution, sources, table["trajectory"][order])
    names = list(dict.fromkeys([*np.unique(firsts).tolist(), *sources.tolist(), *targets.tolist()]))
    shares = {}
    for name in names:
        change = (targets == name).astype(float) - (sources == name)
        share = 100 / count * (np.count_nonzero(firsts == name) + np.concatenate([[0.0], np.cumsum(change)]))
        shares[name] = np.append(share, share[-1])
    return t, shares


def _first_modes(solution: Any, sources: np.ndarray, trajectory: np.ndarray) -> np.ndarray:
    """Return the mode in which each trajectory started: what it left first, or the one it is in throughout."""
    modes = np.asarray(solution.modes, dtype=str)
    firsts = (modes[:, 0] if modes.shape[1] else np.full(len(modes), "")).astype(object)
    firsts[trajectory[::-1].astype(np.intp)] = sources[::-1]  # the last assignment to an index counts: the first switch
    return firsts.astype(str)
