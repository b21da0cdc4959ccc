"""Whether energy drifts over many periods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from phdyn.plots import labels, style
from phdyn.plots.comparison import family_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from phdyn.tables import Table

_GUIDES: Final = ((0.5, (0, (4, 2))), (1.0, (0, (1, 1))))


def plot_long_run(curves: Table, ax: Axes | None = None) -> Axes:
    """Draw the largest energy residual so far against time.

    Parameters
    ----------
    curves : Table
        ``method, periods, residual`` of one problem.
    ax : Axes, optional
        Where to draw; a new column-wide figure if None.

    Returns
    -------
    Axes
        What was drawn on: a line a method; grey lines of slope 1/2 (errors that add up at random) and 1 (a drift).
    """
    looks = style.method_looks((name, family_of(name)) for name in dict.fromkeys(curves["method"].tolist()))
    with style.drawing():
        axes: Axes = style.new_axes() if ax is None else ax
        handles = []
        for name, look in looks.items():
            own = (curves["method"] == name) & (curves["residual"] > 0)
            axes.plot(curves["periods"][own], curves["residual"][own], **look.keywords(), markevery=0.12, label=name)
            handles.append(labels.sample(name, **look.keywords()))
        style.log_grid(axes)
        first, last = float(curves["periods"].min()), float(curves["periods"].max())
        bottom = axes.get_ylim()[0]
        for slope, dashes in _GUIDES:
            line = bottom * np.array([1.0, (last / first) ** slope])
            axes.plot([first, last], line, color="0.55", linestyle=dashes, linewidth=0.8, label=f"_slope {slope:g}")
            handles.append(labels.sample(f"slope {slope:g}", color="0.55", linestyle=dashes, linewidth=0.8))
        axes.set_xlabel("periods")
        axes.set_ylabel("largest energy residual / swing")
        labels.legend_outside(axes, handles, fresh=ax is None)
    return axes
