"""Which discretization is cheapest at the error one needs, and whether it has the order it declares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from phdyn.errors import ArgumentError
from phdyn.plots import labels, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from phdyn.studies import Comparison

_COSTS: Final = {"gradients": ("nfev", "gradient evaluations"), "time": ("seconds", "time of the run (s)")}
_QUANTITIES: Final = {"error": "error at the end (relative)", "residual": "largest energy residual"}
_ROUNDING: Final = 1e-15
_LONGEST_NAME: Final = 16
_MOST_STEPS: Final = 5
_TRUSTED: Final = (1e-12, 1e-4)
"""Errors between which a measured order may be held against the declared one."""


def plot_work_precision(
    comparison: Comparison,
    ax: Axes | None = None,
    *,
    y: Literal["error", "residual"] = "error",
    x: Literal["gradients", "time"] = "gradients",
) -> Axes:
    """Draw what each method's accuracy costs.

    Parameters
    ----------
    comparison : Comparison
        The table of ``studies.compare``: method, setting, nfev, error, residual.
    ax : Axes, optional
        Where to draw; a new column-wide figure if None.
    y : {"error", "residual"}
        The error of the state at the end, or the largest energy residual.
    x : {"gradients", "time"}
        What is paid: gradient evaluations, or seconds.

    Returns
    -------
    Axes
        What was drawn on: a line a method, runs that failed left out.

    Raises
    ------
    ArgumentError
        If ``y`` or ``x`` is another word.
    """
    if y not in _QUANTITIES:
        raise ArgumentError(f"y = {y!r}: the vertical axis is one of {', '.join(_QUANTITIES)}")
    if x not in _COSTS:
        raise ArgumentError(f"x = {x!r}: the horizontal axis is one of {', '.join(_COSTS)}")
    cost, words = _COSTS[x]
    rows = [row for row in comparison.table if np.isfinite(getattr(row, y))]
    looks = style.method_looks((row.method, _family(comparison, row.method)) for row in comparison.table)
    with style.drawing():
        fresh = ax is None
        axes: Axes = style.new_axes() if ax is None else ax
        ends, handles = [], []
        for name, look in looks.items():
            points = sorted((getattr(row, cost), max(abs(getattr(row, y)), _ROUNDING)) for row in rows if row.method == name)
            if not points:
                continue
            axes.plot(*np.transpose(points), **look.keywords(), label=name)
            ends.append(labels.End(name, points[-1][1], look.colour, points[-1][0]))
            handles.append(labels.sample(name, **look.keywords()))
        style.log_grid(axes)
        _name_ticks(axes)
        if any(abs(getattr(row, y)) <= _ROUNDING for row in rows):
            labels.rounding_band(axes, _ROUNDING / 2, 2 * _ROUNDING)
        axes.set_xlabel(words)
        axes.set_ylabel(_QUANTITIES[y])
        _explain(axes, ends, handles, fresh=fresh)
    return axes


def plot_orders(comparison: Comparison, ax: Axes | None = None) -> Axes:
    """Draw whether the order that a method declares is the one measured.

    Parameters
    ----------
    comparison : Comparison
        The tables of ``studies.compare``: errors by setting, declared and measured orders.
    ax : Axes, optional
        Where to draw; a new column-wide figure if None.

    Returns
    -------
    Axes
        What was drawn on: errors as points, the measured order as a line, a triangle with each declared order. Where
        they differ by more than 0.1, and errors lie between 1e-12 and 1e-4, the method is red and says so. Adaptive
        methods have no step.
    """
    families = {row.method: _family(comparison, row.method) for row in comparison.orders}
    fixed = [row for row in comparison.orders if families[row.method] != "adaptive"]
    looks = style.method_looks((row.method, families[row.method]) for row in fixed)
    with style.drawing():
        fresh = ax is None
        axes: Axes = style.new_axes() if ax is None else ax
        ends, handles = [], []
        triangles: dict[float, tuple[float, float]] = {}
        seen: set[float] = set()
        for row in fixed:
            steps, errors = _errors(comparison, row.method)
            if not len(steps):
                continue
            seen |= set(steps.tolist())
            look, text = _judge(row, looks[row.method], errors)
            axes.plot(steps, errors, **look.keywords(line=False), label=row.method)
            middle = _finest_pair(steps, errors)
            if middle is not None and np.isfinite(row.measured):
                axes.plot(
                    steps,
                    middle[1] * (steps / middle[0]) ** row.measured,
                    **look.keywords(marker=False),
                    linewidth=0.8,
                    label=f"{row.method} fit",
                )
                triangles.setdefault(row.declared, middle)
            ends.append(labels.End(text, float(errors[-1]), look.colour, float(steps[-1])))
            handles.append(labels.sample(text, **look.keywords()))
        style.log_grid(axes)
        _name_steps(axes, seen)
        for order, (step, error) in triangles.items():
            _triangle(axes, step, error, order)
        axes.set_xlabel("step h")
        axes.set_ylabel(_QUANTITIES["error"])
        _explain(axes, ends, handles, fresh=fresh)
    return axes


def _explain(ax: Axes, ends: list[labels.End], handles: list[Line2D], *, fresh: bool) -> None:
    """Name the lines at their ends where they are few and the names short, in a legend otherwise."""
    if len(ends) <= 4 and max((len(end.text) for end in ends), default=0) <= _LONGEST_NAME:
        labels.label_ends(ax, ends)
    else:
        labels.legend_outside(ax, handles, fresh=fresh)


def _name_steps(ax: Axes, steps: set[float]) -> None:
    """Put ticks at the steps themselves, as far as they fit."""
    if 0 < len(steps) <= _MOST_STEPS:
        ax.set_xticks(sorted(steps), [f"{step:g}" for step in sorted(steps)])
        ax.xaxis.set_minor_formatter(NullFormatter())
    else:
        _name_ticks(ax)


def _name_ticks(ax: Axes) -> None:
    """Name 1, 2 and 5 of each decade in plain digits where the horizontal axis spans less than two."""
    low, high = ax.get_xlim()
    ax.xaxis.set_minor_formatter(NullFormatter())
    if high / low < 100:
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}"))


def _family(comparison: Any, name: str) -> str:
    """Return the family of a method: from its solutions, or from the catalogue where only tables are at hand."""
    for (method, _), solution in getattr(comparison, "solutions", {}).items():
        if method == name:
            return str(solution.method.family)
    return family_of(name)


def family_of(name: str) -> str:
    """Return the family of a method of the catalogue."""
    from phdyn import methods

    return str(methods.get(name).family) if name in methods.names() else "other"


def _errors(comparison: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps of a method, increasing, and its errors, zero at the rounding floor."""
    rows = sorted((row.setting, max(row.error, _ROUNDING)) for row in comparison.table if row.method == name and np.isfinite(row.error))
    steps, errors = np.array(rows, dtype=float).reshape(-1, 2).T
    return steps, errors


def _finest_pair(steps: np.ndarray, errors: np.ndarray) -> tuple[float, float] | None:
    """Return the middle of the finest two settings above rounding, between which the order was measured."""
    above = np.flatnonzero(errors > _TRUSTED[0])
    if len(above) < 2:
        return None
    i, j = above[:2]
    return float(np.sqrt(steps[i] * steps[j])), float(np.sqrt(errors[i] * errors[j]))


def _judge(row: Any, look: style.Look, errors: Iterable[float]) -> tuple[style.Look, str]:
    """Return the look and the text of a method: red, and in words, where it has not the order it declares."""
    trusted = sum(_TRUSTED[0] < error < _TRUSTED[1] for error in errors) >= 2
    if trusted and abs(row.measured - row.declared) > 0.1:
        red = style.Look(style.MISMATCH, look.dashes, look.marker, look.fill)
        return red, f"{row.method}: declared {row.declared}, measured {round(row.measured, 2):g}"
    return look, f"{row.method}: measured {row.measured:.2f}" if np.isfinite(row.measured) else row.method


def _triangle(ax: Axes, step: float, error: float, order: float) -> None:
    """Draw a small triangle of the declared slope below a line."""
    width, below = 1.35, 0.25
    x = np.array([step, step * width, step * width, step])
    y = below * error * np.array([1.0, 1.0, width**order, 1.0])
    ax.plot(x, y, color="0.4", linewidth=0.6, label="_slope")
    ax.annotate(
        f"{order:g}",
        (x[1], float(np.sqrt(y[1] * y[2]))),
        (2, 0),
        textcoords="offset points",
        va="center",
        fontsize=style.SMALL,
        color="0.4",
    )
