"""Whether phase space is contracted as friction says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from phdyn.plots import labels, style
from phdyn.plots.comparison import family_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from phdyn.tables import Table

_FLOOR: Final = 1e-16


def plot_symplecticity(table: Table, ax: Axes | None = None, *, rounding: float = 2e-13) -> Axes:
    """Draw the defect of conformal symplecticity of single steps.

    Parameters
    ----------
    table : Table
        ``method, step, defect``, as ``studies.discretizations.symplecticity`` returns it.
    ax : Axes, optional
        Where to draw; a new column-wide figure if None.
    rounding : float
        Defects below this are those of the differences by which they were measured.

    Returns
    -------
    Axes
        What was drawn on: a line a method, a grey band where nothing is told.
    """
    names = list(dict.fromkeys(table["method"].tolist()))
    looks = style.method_looks((name, family_of(name)) for name in names)
    with style.drawing():
        axes: Axes = style.new_axes() if ax is None else ax
        handles = []
        for name, look in looks.items():
            own = (table["method"] == name) & np.isfinite(table["defect"])
            order = np.argsort(table["step"][own])
            axes.plot(table["step"][own][order], np.maximum(table["defect"][own], _FLOOR)[order], **look.keywords(), label=name)
            handles.append(labels.sample(name, **look.keywords()))
        style.log_grid(axes)
        labels.rounding_band(axes, _FLOOR, rounding)
        steps = sorted(set(table["step"].tolist()))
        axes.set_xticks(steps, [f"{step:g}" for step in steps])
        axes.minorticks_off()
        axes.set_xlabel("step h")
        axes.set_ylabel("defect of MᵀJM = cJ")
        labels.legend_outside(axes, handles, fresh=ax is None)
    return axes
