"""Which equation the iterates of heavy ball follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phdyn.plots import labels, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from phdyn.tables import Table


def plot_modified(table: Table, ax: Axes | None = None) -> Axes:
    """Draw how far iterates are from each of several equations, against the step.

    Parameters
    ----------
    table : Table
        ``step`` and a column an equation, as ``studies.discretizations.modified`` returns it.
    ax : Axes, optional
        Where to draw; a new column-wide figure if None.

    Returns
    -------
    Axes
        What was drawn on: a line an equation, named with its slope between the two smallest steps.
    """
    order = np.argsort(table["step"])
    steps = table["step"][order]
    with style.drawing():
        axes: Axes = style.new_axes() if ax is None else ax
        handles = []
        for name, look, marker in zip(list(table.keys())[1:], style.RUNS, "osD^v", strict=False):
            distances = table[name][order]
            slope = np.log(distances[1] / distances[0]) / np.log(steps[1] / steps[0])
            drawn = {**look.keywords(), "marker": marker}
            axes.plot(steps, distances, **drawn, label=name)
            handles.append(labels.sample(f"{name}: slope {slope:.2f}", **drawn))
        style.log_grid(axes)
        axes.set_xlabel("step h (learning rate)")
        axes.set_ylabel("distance of the iterates")
        labels.legend_outside(axes, handles, fresh=ax is None)
    return axes
