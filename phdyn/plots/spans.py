"""When a run was in which mode, and by which event it left: read from the switches, drawn as shades and thin lines.

The modes come from the switches, not from ``solution.modes``: with ``record="energy"`` that has two entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from phdyn.errors import ArgumentError
from phdyn.plots.style import SMALL, mode_shades, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NAMED = 6
"""More switches than this are ticks on the upper axis, without names."""


class Span(NamedTuple):
    """One stay in a mode."""

    mode: str
    start: float
    end: float


def times(solution: Any) -> np.ndarray:
    """Return the times that the run recorded: those of its energies where it has any."""
    energy = getattr(solution, "energy", None)
    return np.asarray(solution.t if energy is None else energy.t)


def one_energy(solution: Any, function: str) -> Any:
    """Return the energies of a single trajectory, or say why there are none to draw."""
    refuse_several(solution, function)
    energy = getattr(solution, "energy", None)
    if energy is None:
        raise ArgumentError(f"{function} needs an energy, and a plain fun(t, x) has none: pass a HeavyBall or another system")
    refuse_batch(solution, function)
    return energy


def refuse_several(solution: Any, function: str) -> None:
    """Say how to pick one of several runs."""
    if isinstance(solution, Mapping):
        names = ", ".join(map(repr, solution))
        raise ArgumentError(f"{function} draws one run, and these are several ({names}): call it for each, with axes of its own")


def refuse_batch(solution: Any, function: str) -> None:
    """Say how to pick a trajectory of a batch, or one of several runs."""
    refuse_several(solution, function)
    count, energy = getattr(solution, "batch", None), getattr(solution, "energy", None)
    if count is None and energy is not None and np.ndim(energy.hamiltonian) != 1:
        count = len(energy.hamiltonian)
    if count is not None:
        raise ArgumentError(f"{function} draws one trajectory, and this solution holds {count}: pick one, {function}(sol.trajectory(0))")


def initial_energy(energy: Any) -> float:
    """Return H0: where the run goes on from another one, the energy at the start of that one."""
    stored = energy.hamiltonian[0] - energy.residual[0] + energy.dissipated[0]
    return float(stored - energy.supplied[0] - energy.injected[0])


def mode_spans(solution: Any) -> list[Span]:
    """Return the stays in modes, in order; together they cover the run."""
    t = times(solution)
    rows = list(solution.switches)
    modes = getattr(solution, "modes", None)
    first = rows[0].source if rows else (str(modes[0]) if modes is not None and len(modes) else "")
    names = [str(first), *(str(row.target) for row in rows)]
    edges = [float(t[0]), *(float(row.time) for row in rows), float(t[-1])]
    return [Span(name, a, b) for name, a, b in zip(names, edges[:-1], edges[1:], strict=True)]


def shade_modes(ax: Axes, solution: Any) -> None:
    """Shade the stays in modes behind the lines, and name those that are wide enough to hold their name."""
    spans = mode_spans(solution)
    shades = mode_shades(span.mode for span in spans)
    whole = abs(spans[-1].end - spans[0].start) or 1.0
    for span in spans:
        shade = shades[span.mode]
        if shade.grey != "1.0":
            ax.axvspan(span.start, span.end, facecolor=shade.grey, edgecolor="0.6", hatch=shade.hatch, linewidth=0, zorder=0)
        if len(spans) > 1 and abs(span.end - span.start) / whole > text_width(span.mode, SMALL) / _width(ax):
            middle = (span.start + span.end) / 2
            ax.text(
                middle,
                0.985,
                span.mode,
                transform=ax.get_xaxis_transform(),
                ha="center",
                va="top",
                fontsize=SMALL,
                color="0.35",
            )


def draw_switches(ax: Axes, switches: Iterable[Any]) -> None:
    """Draw a thin line at each switch, with the event's name above the axes, once; many are ticks on the upper axis.

    Call it when the limits of x are final: a name goes to the side of its line where there is room.
    """
    rows = list(switches)
    if len(rows) > MOST_NAMED:
        at = [row.time for row in rows]
        ax.plot(
            at,
            np.ones(len(at)),
            "|",
            color="0.3",
            markersize=6,
            transform=ax.get_xaxis_transform(),
            clip_on=False,
            label="_switches",
        )
        return
    left, right = ax.get_xlim()
    ends = [-np.inf] * MOST_NAMED
    named: set[str] = set()
    for row in rows:
        ax.axvline(row.time, color="0.3", linewidth=0.8, zorder=1.5, label="_switch")
        name = str(row.event)
        if name in named:
            continue
        named.add(name)
        at = (row.time - left) / (right - left)
        width = text_width(name, SMALL) / _width(ax)
        start = at if at + width <= 1.15 else at - width
        level = next((k for k, end in enumerate(ends) if start > end), 0)
        ends[level] = start + width + 0.03
        ax.annotate(
            name,
            (row.time, 1.0),
            (0, 2 + 7 * level),
            xycoords=ax.get_xaxis_transform(),
            textcoords="offset points",
            ha="left" if start == at else "right",
            va="bottom",
            fontsize=SMALL,
            color="0.3",
        )


def _width(ax: Axes) -> float:
    """Return the width of the axes in points, before the layout has been made: rather too little."""
    figure = ax.get_figure(root=True)
    points: float = 150.0 if figure is None else 0.82 * 72.0 * figure.get_figwidth() * ax.get_position().width
    return points
