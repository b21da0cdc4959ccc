"""Is a paired difference different from zero: seeds, mean and interval of each comparison."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator

from phdyn.errors import ArgumentError
from phdyn.plots import labels, style

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_KINDS: Final = ("dots", "histogram")
_LABEL: Final = "difference in test accuracy (points)"
_LONGEST_LINE: Final = 18
_MOST_BINS: Final = 30
_SEED: Final[dict[str, Any]] = {"color": style.BLUE, "marker": "o", "markersize": 3.0, "markeredgewidth": 0.6, "markerfacecolor": "none"}
_MEAN: Final[dict[str, Any]] = {"color": style.BLACK, "marker": "D", "linestyle": "None"}
_BARS: Final[dict[str, Any]] = {"facecolor": "0.85", "edgecolor": style.BLUE, "linewidth": 0.6}


class _Row(NamedTuple):
    label: str
    values: np.ndarray
    mean: float
    low: float
    high: float
    text: str


def plot_differences(
    rows: Iterable[Any],
    ax: Axes | Sequence[Axes] | None = None,
    *,
    kind: Literal["dots", "histogram"] = "dots",
) -> Axes | tuple[Axes, ...]:
    """Draw paired differences of test accuracies, a row for each comparison.

    Parameters
    ----------
    rows : Table, or iterable of rows
        Each with the fields `label`, `values` (the difference of each seed, shape (seeds,), in points; nan is left out), `mean`, `low`,
        `high` (the 95 % bootstrap interval, in points) and `p`; a p of nan is not written.
    ax : Axes, or one a row with ``kind="histogram"``, optional
        Where to draw; a new column-wide figure if None.
    kind : {"dots", "histogram"}
        A row of dots for each comparison, or a panel each with a histogram.

    Returns
    -------
    Axes, or tuple of Axes with ``kind="histogram"``
        What was drawn on, the first row uppermost: each seed (moved up and down only to be seen) or their numbers, the mean, the interval,
        a line at zero; p and the number of seeds as text.

    Raises
    ------
    ArgumentError
        If ``kind`` is another word, there is no row, a row's values are not (seeds,), or ``ax`` is not what the panels need.
    """
    if kind not in _KINDS:
        raise ArgumentError(f"kind = {kind!r}: it is one of {', '.join(_KINDS)}")
    checked = [_checked(row) for row in rows]
    if not checked:
        raise ArgumentError("plot_differences got no row: it needs one for each comparison")
    count = len(checked) if kind == "histogram" else 1
    with style.drawing():
        fresh = ax is None
        panels = _new_panels(checked, kind) if ax is None else list(np.ravel(np.asarray(ax, dtype=object)))
        if len(panels) != count:
            raise ArgumentError(f"plot_differences with kind={kind!r} draws on {count} axes, not on {len(panels)}")
        if kind == "dots":
            _draw_dots(panels[0], checked)
        else:
            _draw_histograms(panels, checked, fresh=fresh)
        for panel in panels:
            panel.axvline(0.0, color="0.3", linewidth=0.8, zorder=0.5, label="_zero")
            panel.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        panels[-1].set_xlabel(_LABEL)
        labels.legend_outside(panels[-1] if fresh or kind == "dots" else panels[0], _handles(kind), fresh=fresh)
    return panels[0] if kind == "dots" else tuple(panels)


def _checked(row: Any) -> _Row:
    values = np.asarray(row.values, dtype=float)
    if values.ndim != 1:
        raise ArgumentError(f"row {row.label!r} has values of shape {values.shape}, not (seeds,)")
    values = values[np.isfinite(values)]
    return _Row(str(row.label), values, float(row.mean), float(row.low), float(row.high), _text(row.p, len(values)))


def _text(p: float | None, count: int) -> str:
    """Return p and n in words."""
    if p is None or not np.isfinite(p):
        return f"n = {count}"
    return f"{'p < 0.001' if p < 0.001 else f'p = {p:.3f}'}, n = {count}"


def _new_panels(rows: Sequence[_Row], kind: str) -> list[Axes]:
    if kind == "dots":
        return [style.new_axes(height=0.16 + 0.085 * max(len(rows), 2.5))]
    return list(np.ravel(style.new_axes(len(rows), height=0.12 + 0.16 * len(rows))))


def _handles(kind: str) -> list[Artist]:
    from matplotlib.patches import Patch

    seed = labels.sample("one seed", **_SEED, linestyle="None") if kind == "dots" else Patch(**_BARS, label="seeds")
    return [seed, labels.sample("mean, 95 % bootstrap interval", **{**_MEAN, "linestyle": "-"})]


# --- dots -----------------------------------------------------------------------------------------------------------------------------


def _draw_dots(ax: Axes, rows: Sequence[_Row]) -> None:
    for k, row in enumerate(rows):
        base = len(rows) - 1 - k
        ax.plot(row.values, base + 0.12 + 0.3 * _jitter(row.values), **_SEED, linestyle="None", label=row.label)
        _draw_mean(ax, row, base - 0.18)
        ax.annotate(
            row.text.replace(", ", "\n"),
            (1.0, base),
            (4, 0),
            xycoords=ax.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            fontsize=style.SMALL,
        )
        if k:
            ax.axhline(base + 0.5, color="0.9", linewidth=0.5, zorder=0, label="_row")
    ax.set_ylim(-0.5, len(rows) - 0.5)
    ax.set_yticks(range(len(rows)), [_wrapped(row.label) for row in reversed(rows)])
    ax.tick_params(axis="y", length=0)
    ax.set_ylabel("comparison")


def _jitter(values: np.ndarray) -> np.ndarray:
    """Return heights from 0 to 1 that differ most between neighbours: multiples of the golden ratio by rank."""
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return np.asarray((0.618034 * ranks) % 1.0)


def _draw_mean(ax: Axes, row: _Row, height: float, **keywords: Any) -> None:
    ax.plot([row.low, row.high], [height] * 2, color=style.BLACK, label=f"{row.label}, 95 % interval", **keywords)
    ax.plot([row.mean], [height], **_MEAN, label=f"{row.label}, mean", **keywords)


def _wrapped(label: str) -> str:
    return label if "\n" in label else textwrap.fill(label, _LONGEST_LINE)


# --- histograms -----------------------------------------------------------------------------------------------------------------------


def _draw_histograms(panels: Sequence[Axes], rows: Sequence[_Row], *, fresh: bool) -> None:
    edges = _edges(np.concatenate([row.values for row in rows]))
    middles = (edges[1:] + edges[:-1]) / 2
    tallest = 1
    for panel, row in zip(panels, rows, strict=True):
        counts, _ = np.histogram(row.values, edges)
        tallest = max(tallest, int(counts.max()))
        panel.stairs(counts, edges, fill=True, **_BARS, label="_bars")
        panel.plot(middles, counts, linestyle="None", marker="None", label=row.label)  # the numbers that save() writes
        _draw_mean(panel, row, 0.88, transform=panel.get_xaxis_transform(), clip_on=False)
        for x, side, text in ((0.0, "left", row.label), (1.0, "right", row.text)):
            panel.annotate(
                text, (x, 1.0), (0, 1), xycoords="axes fraction", textcoords="offset points", ha=side, va="bottom", fontsize=style.SMALL
            )
        panel.set_ylabel("seeds")
    for panel in panels:
        panel.set_xlim(1.5 * edges[0] - 0.5 * edges[1], 1.5 * edges[-1] - 0.5 * edges[-2])
        panel.set_ylim(0.0, tallest / 0.65)
        panel.set_yticks([0, tallest])
        if fresh and panel is not panels[-1]:
            panel.tick_params(labelbottom=False)


def _edges(values: np.ndarray) -> np.ndarray:
    """Return edges of equal bins, one of them at zero."""
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    auto = np.histogram_bin_edges(values, "auto") if values.size else np.array([0.0, 1.0])
    width = max(float(auto[1] - auto[0]), (high - low) / _MOST_BINS) or 1.0
    return width * np.arange(np.floor(low / width), np.floor(high / width) + 2)
