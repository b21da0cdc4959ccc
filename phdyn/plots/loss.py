"""Which run is lowest at equal cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from phdyn.errors import ArgumentError
from phdyn.plots import labels, spans, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from phdyn.solution import Solution

_AXES: Final = ("gradients", "time", "steps")


def plot_loss(
    solutions: Solution | Mapping[str, Solution],
    ax: Axes | None = None,
    *,
    x: Literal["gradients", "time", "steps"] = "gradients",
) -> Axes:
    """Draw the loss of each run against what it cost.

    Parameters
    ----------
    solutions : Solution or dict of str to Solution
        One run, or one a label.
    ax : Axes, optional
        Where to draw; a new column-wide figure if None.
    x : {"gradients", "time", "steps"}
        What the horizontal axis counts. Gradients and steps are spread evenly over the span (fixed steps) or over the
        recorded rows (adaptive methods): exact at both ends, good to a few in between.

    Returns
    -------
    Axes
        What was drawn on: logarithmic unless a loss is negative; a diamond is a switch.

    Raises
    ------
    ArgumentError
        If ``x`` is another word, or a solution has no energy or holds a batch.
    """
    if x not in _AXES:
        raise ArgumentError(f"x = {x!r}: the horizontal axis is one of {', '.join(_AXES)}")
    runs: Mapping[str, Any] = solutions if isinstance(solutions, Mapping) else {"loss": solutions}
    losses = {label: _loss(run) for label, run in runs.items()}
    first = next(iter(runs.values()))
    floor = min(np.finfo(float).eps * max(1e-300, abs(float(loss[0]))) for loss in losses.values())
    logarithmic = all(np.nanmin(loss) >= 0 for loss in losses.values())
    with style.drawing():
        fresh = ax is None
        axes: Axes = style.new_axes() if ax is None else ax
        ends, handles = [], []
        for index, (label, run) in enumerate(runs.items()):
            look = style.RUNS[index % len(style.RUNS)]
            shown = np.maximum(losses[label], floor) if logarithmic else losses[label]
            cost = _cost(run, x)
            axes.plot(cost, shown, **look.keywords(), label=label)
            at = [float(np.interp(row.time, run.energy.t, cost)) for row in run.switches]
            heights = [max(float(row.loss), floor) if logarithmic else float(row.loss) for row in run.switches]
            axes.plot(at, heights, "D", color=look.colour, label="_switch")
            last = float(losses[label][-1])
            value = f"{0.0 if logarithmic and last < floor else last:.3g}"
            text = value if len(runs) == 1 else f"{label}: {value}"
            ends.append(labels.End(text, float(shown[-1]), look.colour))
            handles.append(labels.sample(text, **look.keywords()))
        if logarithmic:
            axes.set_yscale("log")
            if any(np.nanmin(loss) < 10 * floor for loss in losses.values()):
                labels.rounding_band(axes, floor, 10 * floor)
        axes.margins(x=0)
        units = getattr(first, "units", None)
        axes.set_xlabel({"gradients": "gradient evaluations", "time": labels.time_label(units), "steps": "steps"}[x])
        axes.set_ylabel(f"loss V ({labels.energy_unit(units)})" if units else "loss V")
        if any(len(list(run.switches)) for run in runs.values()):
            handles.append(labels.sample("switch", color="0.3", marker="D", linestyle="None"))
        if len(ends) <= 4:
            labels.label_ends(axes, ends)
        else:
            labels.legend_outside(axes, handles, fresh=fresh)
    return axes


def _loss(solution: Any) -> np.ndarray:
    """Return V along the run; H where there is no split (a gradient flow's H is its V)."""
    energy = spans.one_energy(solution, "plot_loss")
    return np.asarray(energy.hamiltonian if energy.potential is None else energy.potential)


def _cost(solution: Any, x: str) -> np.ndarray:
    t = np.asarray(solution.energy.t, dtype=float)
    if x == "time":
        return t
    even = solution.method.family != "adaptive"
    share = (t - t[0]) / (t[-1] - t[0]) if even else np.linspace(0.0, 1.0, len(t))
    return share * float(solution.nfev if x == "gradients" else solution.nsteps)
