"""What friction a learning-rate schedule hides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from phdyn.errors import ArgumentError
from phdyn.plots import arms, labels, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_JUMP: Final = 0.01
"""A learning rate that changes by more than this share in one step jumps."""
_MOST_NAMED: Final = 6
_WIDE: Final = 30.0
"""Values that span more than this factor get a logarithmic axis."""


def plot_friction_schedule(schedules: Mapping[str, Any], axes: Sequence[Axes] | None = None) -> tuple[Axes, Axes]:
    """Draw the friction that learning-rate schedules hide, and the learning rates below.

    Parameters
    ----------
    schedules : dict of str to schedule
        Up to eight, each with the fields `lr` (learning rates), `friction` (γ = -ln μ / h with h = √(lr (-ln μ) / (1 - μ)), 1/time) and
        `jumps` (the factor of the kinetic energy at the change to this step, (h_new / h_old)²), each of shape (steps,).
    axes : pair of Axes, optional
        The upper and the lower panel; a new column-wide figure of two if None.

    Returns
    -------
    tuple of Axes
        The upper panel (optimizer step, counted from 1; friction) and the lower one (learning rate), each logarithmic where its values span
        a factor of more than 30. Ticks at the upper edge are the steps at which the learning rate changes by more than 1 %, one row a
        schedule, with the factor of the kinetic energy up to six. A learning rate of zero, and its infinite friction, is left out.

    Raises
    ------
    ArgumentError
        If there is no schedule or there are more than eight, shapes do not fit, or ``axes`` is not a pair.
    """
    looks = arms.arm_looks(schedules.keys(), "plot_friction_schedule")
    parts = {label: _checked(label, schedule) for label, schedule in schedules.items()}
    with style.drawing():
        fresh = axes is None
        pair: Any = style.new_axes(2, height=1.1) if axes is None else axes
        if np.size(pair) != 2:
            raise ArgumentError("plot_friction_schedule draws on a pair of axes, the upper and the lower: axes=plt.subplots(2)[1]")
        upper, lower = np.ravel(pair)
        ends, handles = [], []
        for label, (lr, friction, _) in parts.items():
            look, step = looks[label], np.arange(1, len(lr) + 1)
            upper.plot(step, friction, **look.keywords(), label=label)
            lower.plot(step, lr, **look.keywords(), label=label)
            ends.append(labels.End(label, _last(friction), look.colour))
            handles.append(labels.sample(label, **look.keywords()))
        for panel, k in ((upper, 1), (lower, 0)):
            _scale(panel, np.concatenate([part[k] for part in parts.values()]))
        upper.set_ylabel("friction rate γ (1/time)")
        lower.set_ylabel("learning rate")
        lower.set_xlabel("optimizer step")
        if fresh:
            upper.tick_params(labelbottom=False)
        _draw_jumps(upper, parts, looks)
        arms.explain(upper, ends, handles, below=lower, fresh=fresh)
    return upper, lower


def _checked(label: str, schedule: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return learning rates, frictions and jumps; nan where there is no step."""
    lr, friction, jumps = (np.asarray(getattr(schedule, name), dtype=float) for name in ("lr", "friction", "jumps"))
    if lr.ndim != 1 or not lr.size or not lr.shape == friction.shape == jumps.shape:
        shapes = f"{lr.shape}, {friction.shape} and {jumps.shape}"
        raise ArgumentError(f"lr, friction and jumps of {label!r} have shapes {shapes}, not (steps,) each")
    still = ~(lr > 0)
    return np.where(still, np.nan, lr), np.where(still | ~np.isfinite(friction), np.nan, friction), jumps


def _last(values: np.ndarray) -> float:
    """Return the last finite value."""
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if finite.size else 0.0


def _scale(ax: Axes, values: np.ndarray) -> None:
    positive = values[values > 0]
    if positive.size and positive.max() > _WIDE * positive.min():
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=0.0)
    ax.margins(x=0)
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


def _draw_jumps(ax: Axes, parts: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], looks: Mapping[str, style.Look]) -> None:
    """Draw the steps at which the kinetic energy jumps as ticks, with the factors where they are few."""
    ticks = {}
    for label, (lr, _, _) in parts.items():
        ticks[label] = 2 + np.flatnonzero(np.abs(lr[1:] / lr[:-1] - 1.0) > _JUMP)
    heights = arms.draw_rug(ax, ticks, looks, top=True)
    if heights:
        arms.note(ax, "ticks: lr jumps by more than 1 %; ×: the kinetic energy")
    for label, height in heights.items():
        steps, factors = ticks[label], parts[label][2][ticks[label] - 1]
        ax.plot(steps, factors, linestyle="None", marker="None", label=f"{label}, factor of the kinetic energy")  # what save() writes
        for step, factor in zip(steps, factors, strict=True) if steps.size <= _MOST_NAMED else ():
            ax.annotate(
                f"×{factor:.2g}",
                (step, height),
                (2, 0),
                xycoords=ax.get_xaxis_transform(),
                textcoords="offset points",
                va="center",
                fontsize=style.SMALL,
                color=looks[label].colour,
                path_effects=[withStroke(linewidth=2.5, foreground=ax.get_facecolor())],
            )
