"""Up to which step a method works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.patheffects import withStroke

from phdyn.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from phdyn.studies.discretizations import StabilityMap

_UNSTABLE: Final = 1 + 1e-7


def plot_stability(stability_map: StabilityMap, ax: Axes | None = None) -> Axes:
    """Draw the spectral radius of a step over step and friction, and the boundary where it is known.

    Parameters
    ----------
    stability_map : StabilityMap
        ``method``, ``steps`` (S,), ``frictions`` (G,), ``radius`` (G, S), ``boundary`` (G,) or None.
    ax : Axes, optional
        Where to draw; a new column-wide figure with a colour bar if None.

    Returns
    -------
    Axes
        What was drawn on: radii up to 1 in cividis (dark is strongly damped), hatched where the method is unstable or its equations could
        not be solved, the known boundary as a black line with a white edge.
    """
    steps, frictions, radius = stability_map.steps, stability_map.frictions, stability_map.radius
    lost = ~(radius <= _UNSTABLE)
    with style.drawing():
        axes: Axes = style.new_axes() if ax is None else ax
        mesh = axes.pcolormesh(steps, frictions, np.ma.masked_where(lost, radius), cmap="cividis", vmin=0, vmax=1, rasterized=True)
        hatched: Any = axes.contourf(steps, frictions, lost.astype(float), levels=[0.5, 1.5], colors=["0.92"], hatches=["////"])
        hatched.set_edgecolor("0.6")
        hatched.set_linewidth(0)
        if stability_map.boundary is not None:
            known = np.isfinite(stability_map.boundary) & (stability_map.boundary > 0)
            edge = [withStroke(linewidth=2.6, foreground="white")]
            label = f"{stability_map.method}, boundary"
            axes.plot(stability_map.boundary[known], frictions[known], color="black", path_effects=edge, label=label)
        axes.set_yscale("log")
        axes.set_xlim(0, float(steps[-1]))
        axes.set_ylim(float(frictions[0]), float(frictions[-1]))
        axes.set_xlabel("step h·ω")
        axes.set_ylabel("friction γ/ω")
        if ax is None:
            figure: Any = axes.get_figure()
            figure.colorbar(mesh, ax=axes, label="spectral radius of a step")
    return axes
