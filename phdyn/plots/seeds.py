"""Is an arm better on average, and how sure is that: curves over epochs of several seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from matplotlib.ticker import MaxNLocator

from phdyn.errors import ArgumentError
from phdyn.plots import arms, labels, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from phdyn.typing import Array

_QUANTITIES: Final = {"accuracy": "test accuracy (%)", "loss": "training loss"}
_AXES: Final = {"epoch": "epoch", "steps": "optimizer step", "gradients": "gradient evaluations"}
_FEW: Final = 10
"""Fewer seeds than this are drawn one by one: they have no band from 10 to 90 %."""


def plot_seeds(
    curves: Mapping[str, tuple[Array, Array]],
    ax: Axes | None = None,
    *,
    quantity: Literal["accuracy", "loss"] = "accuracy",
    switches: Mapping[str, Array] | None = None,
    x: Literal["epoch", "steps", "gradients"] = "epoch",
) -> Axes:
    """Draw the curves of arms over several seeds.

    Parameters
    ----------
    curves : dict of str to (x, values)
        For each of up to eight arms where its points are, shape (points,), and their values, shape (seeds, points): accuracies in percent,
        or losses. What is not finite counts as the worst there is: 0 %, or the largest loss of the figure.
    ax : Axes, optional
        Where to draw; a new column-wide figure if None.
    quantity : {"accuracy", "loss"}
        What the values are. The axis of accuracies shows the second half of x in full, and cuts off what lies below: the first rise
        would hide the differences at the end. Losses are on a logarithmic axis unless one is negative.
    switches : dict of str to (seeds,) array, optional
        When each seed of an arm switched, in units of x; nan: it never did.
    x : {"epoch", "steps", "gradients"}
        What x counts.

    Returns
    -------
    Axes
        What was drawn on: the median of each arm; from ten seeds on the band from 10 to 90 %, with fewer each seed as a thin line; the
        switches as ticks at the lower edge, one row an arm, in the order of the arms.

    Raises
    ------
    ArgumentError
        If ``quantity`` or ``x`` is another word, there is no arm or there are more than eight, shapes do not fit, or ``switches`` names an
        arm that is not there.
    """
    for name, word, known in (("quantity", quantity, _QUANTITIES), ("x", x, _AXES)):
        if word not in known:
            raise ArgumentError(f"{name} = {word!r}: it is one of {', '.join(known)}")
    looks = arms.arm_looks(curves.keys(), "plot_seeds")
    rugs = switches or {}
    if unknown := sorted(set(rugs) - set(curves)):
        raise ArgumentError(f"switches of {', '.join(map(repr, unknown))}, which plot_seeds has no curve of")
    shown = _with_worst({label: _checked(label, *curve) for label, curve in curves.items()}, quantity)
    with style.drawing():
        fresh = ax is None
        axes: Axes = style.new_axes() if ax is None else ax
        floor = _floor(shown, quantity)
        if np.isfinite(floor):
            axes.set_yscale("log")
        ends, handles = [], []
        for label, look in looks.items():
            at, values = shown[label]
            median = _draw_arm(axes, label, at, np.maximum(values, floor), look)
            ends.append(labels.End(label, float(median[-1]), look.colour))
            handles.append(labels.sample(label, **look.keywords()))
        axes.margins(x=0)
        axes.set_xlim(left=0)  # switches may come before the first point
        if quantity == "accuracy":
            axes.set_ylim(*_late(shown))
        elif min(float(values.min()) for _, values in shown.values()) < 10 * floor:
            labels.rounding_band(axes, floor, 10 * floor)
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.set_xlabel(_AXES[x])
        axes.set_ylabel(_QUANTITIES[quantity])
        arms.draw_rug(axes, rugs, looks, what="switches")
        arms.note(axes, _note([len(values) for _, values in shown.values()], switched=bool(rugs)))
        arms.explain(axes, ends, handles, fresh=fresh)
    return axes


def _checked(label: str, x: Any, values: Any) -> tuple[np.ndarray, np.ndarray]:
    at, array = np.asarray(x, dtype=float), np.asarray(values, dtype=float)
    if at.ndim != 1 or not at.size or array.shape[1:] != at.shape or not len(array):
        shapes = f"x of shape {at.shape} and values of shape {array.shape}"
        raise ArgumentError(f"curve {label!r} has {shapes}, not (points,) and (seeds, points)")
    return at, array


def _with_worst(curves: dict[str, tuple[np.ndarray, np.ndarray]], quantity: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Put the worst value in place of what is not finite: a median must not become better by runs that fail."""
    finite = np.concatenate([values[np.isfinite(values)] for _, values in curves.values()])
    worst = float(finite.max(initial=-np.inf)) if quantity == "loss" and finite.size else 0.0
    return {label: (at, np.where(np.isfinite(values), values, worst)) for label, (at, values) in curves.items()}


def _floor(curves: dict[str, tuple[np.ndarray, np.ndarray]], quantity: str) -> float:
    """Return the height at which a zero is drawn on a logarithmic axis; minus infinity: the axis is linear."""
    lowest, highest = (float(pick([pick(values) for _, values in curves.values()])) for pick in (np.min, np.max))
    logarithmic = quantity == "loss" and lowest >= 0 and highest > 0
    return float(np.finfo(float).eps) * highest if logarithmic else -np.inf


def _late(curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Return limits of y that hold the second half of x."""
    first, last = min(at.min() for at, _ in curves.values()), max(at.max() for at, _ in curves.values())
    drawn = ((at, values if len(values) < _FEW else np.quantile(values, (0.1, 0.9), axis=0)) for at, values in curves.values())
    late = [values[:, at >= (first + last) / 2] for at, values in drawn]
    low, high = (float(pick([pick(values) for values in late if values.size])) for pick in (np.min, np.max))
    margin = 0.05 * (high - low) or 1.0
    return low - margin, max(high, min(high + margin, 100.0))


def _draw_arm(ax: Axes, label: str, x: np.ndarray, values: np.ndarray, look: style.Look) -> np.ndarray:
    """Draw the median, and the band or the seeds; return the median."""
    low, median, high = np.quantile(values, (0.1, 0.5, 0.9), axis=0)
    thin: dict[str, Any] = {"color": look.colour, "linewidth": 0.4, "alpha": 0.5, "zorder": 1.5}
    if len(values) < _FEW:
        for seed, row in enumerate(values):
            ax.plot(x, row, **thin, label=f"{label}, seed {seed}")
    else:
        ax.fill_between(x, low, high, color=look.colour, alpha=0.15, linewidth=0.0, zorder=1, label="_band")
        for name, edge in (("10 %", low), ("90 %", high)):
            ax.plot(x, edge, **thin, label=f"{label}, {name}")
    ax.plot(x, median, **look.keywords(), label=label)
    return np.asarray(median)


def _note(counts: list[int], *, switched: bool) -> str:
    fewest, most = min(counts), max(counts)
    number = f"{most} seeds" if fewest == most else f"{fewest} to {most} seeds"
    spread = "median, each of" if most < _FEW else "median, 10 to 90 % of"
    return f"{spread} {number}" + ("; ticks: switches" if switched else "")
