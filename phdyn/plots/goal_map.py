"""Who brakes early, loses: for which goals and frictions that is true, as a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullLocator

from phdyn.errors import ArgumentError
from phdyn.plots import labels, style

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

    from phdyn.typing import Array

_VALUES: Final = {"accuracy": "final test accuracy (%)", "loss": "final training loss"}
_MOST_WRITTEN: Final = 100
_MOST_TICKS: Final = 8
_DECADES: Final = 100.0
_GAP: Final = 0.12
"""Room between the rows of goals and the strip below, in rows."""
_HALF: Final[dict[str, Any]] = {"color": style.BLACK, "linewidth": 1.2}


class _Cells(NamedTuple):
    """Edges in x of each column, in y of each row, and what each cell holds; the strip is the last row."""

    left: np.ndarray
    right: np.ndarray
    bottom: np.ndarray
    values: np.ndarray
    empty: np.ndarray


def plot_goal_map(
    frictions: Array,
    goals: Array,
    values: Array,
    fired: Array,
    ax: Axes | None = None,
    *,
    value: Literal["accuracy", "loss"] = "accuracy",
    constant: Array | None = None,
) -> Axes:
    """Draw what each goal and exploration friction ends in.

    Parameters
    ----------
    frictions : (n,) array
        Exploration frictions, increasing, in 1/time; a zero has a column of its own beside the logarithmic axis.
    goals : (m,) array
        Reductions of the loss at which the run brakes, increasing, in percent. Their rows are of equal height.
    values : (m, n) array
        Final test accuracies in percent, or final training losses.
    fired : (m, n) array
        Share of the seeds in which the goal fired, from 0 to 1.
    ax : Axes, optional
        Where to draw; a new column-wide figure if None.
    value : {"accuracy", "loss"}
        What the values are.
    constant : (n,) array, optional
        The values of constant friction: a strip below.

    Returns
    -------
    Axes
        What was drawn on: the values as colours, written in the cells where at most 100 have room for it; hatched cells where no seed fired
        or there is no value; a line between the cells in which at least half of the seeds fired and the others, if some fired in part.

    Raises
    ------
    ArgumentError
        If ``value`` is another word, shapes do not fit, frictions or goals are not increasing, or a friction is negative.
    """
    if value not in _VALUES:
        raise ArgumentError(f"value = {value!r}: it is one of {', '.join(_VALUES)}")
    x, y = _increasing("frictions", frictions), _increasing("goals", goals)
    if x[0] < 0:
        raise ArgumentError(f"frictions has {x[0]:g}: a friction is not negative")
    hits = _shaped("fired", fired, (y.size, x.size))
    strip = None if constant is None else _shaped("constant", constant, x.shape)
    cells = _cells(x, _shaped("values", values, (y.size, x.size)), hits, strip)
    with style.drawing():
        fresh = ax is None
        axes: Axes = style.new_axes(height=0.36 + 0.075 * len(cells.bottom)) if ax is None else ax
        handles = _draw_cells(axes, cells, value)
        handles += _draw_half(axes, cells, hits)
        _write_numbers(axes, x, y, cells.values, hits, value)
        _draw_axes(axes, cells, x, y)
        if handles:
            labels.legend_outside(axes, handles, fresh=fresh)
    return axes


def _increasing(name: str, values: Any) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all() or (np.diff(array) <= 0).any():
        raise ArgumentError(f"{name} is not an array of increasing numbers, shape (count,): {values!r}")
    return array


def _shaped(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if array.shape != shape:
        raise ArgumentError(f"{name} has shape {array.shape}, not {shape}: a row a goal, a column a friction")
    return array


def _cells(x: np.ndarray, values: np.ndarray, hits: np.ndarray, constant: np.ndarray | None) -> _Cells:
    left, right = _columns(x)
    bottom = np.arange(len(values), dtype=float)
    never = ~(hits > 0)
    if constant is not None:
        bottom = np.append(bottom, -1.0 - _GAP)
        values = np.vstack([values, constant])
        never = np.vstack([never, np.zeros((1, x.size), dtype=bool)])
    return _Cells(left, right, bottom, values, never | ~np.isfinite(values))


def _columns(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges of the columns: geometric means; zero's column is as wide as the first, a little to the left of it."""
    positive = x[x > 0]
    if not positive.size:
        return np.array([0.5]), np.array([2.0])
    steps = np.sqrt(positive[1:] / positive[:-1])
    first, last = (float(steps[0]), float(steps[-1])) if steps.size else (2.0, 2.0)
    left = np.append(positive[0] / first, positive[1:] / steps)
    right = np.append(left[1:], positive[-1] * last)
    if x[0] == 0:
        ratio = right[0] / left[0]
        end = left[0] / ratio**_GAP
        left, right = np.append(end / ratio, left), np.append(end, right)
    return left, right


# --- cells ----------------------------------------------------------------------------------------------------------------------------


def _draw_cells(ax: Axes, cells: _Cells, value: str) -> list[Artist]:
    """Draw the cells with a colour bar above; return what a legend needs."""
    shown = cells.values[~cells.empty]
    norm = _norm(shown, value)
    colours = mpl.colormaps["cividis"]
    ax.set_xscale("log")
    empty: dict[str, Any] = {"facecolor": style.NEVER.colour, "hatch": style.NEVER.hatch, "edgecolor": "0.55", "linewidth": 0.0}
    for (row, column), number in np.ndenumerate(cells.values):
        corner = float(cells.left[column]), float(cells.bottom[row])
        look = empty if cells.empty[row, column] else {"facecolor": colours(norm(number)), "linewidth": 0.0}
        ax.add_patch(Rectangle(corner, cells.right[column] - cells.left[column], 1.0, **look))
    figure: Any = ax.get_figure(root=True)
    point = 1.0 / (72.0 * figure.get_figheight() * ax.get_position().height)
    bar = ax.inset_axes((0.0, 1.0 + 4 * point, 1.0, 6 * point))
    figure.colorbar(mpl.cm.ScalarMappable(norm, colours), cax=bar, orientation="horizontal")
    bar.tick_params(length=2, pad=1)
    bar.xaxis.set_ticks_position("top")
    bar.xaxis.set_label_position("top")
    bar.set_xlabel(_VALUES[value])
    _write_cells(ax, cells, norm, colours, value)
    if not cells.empty.any():
        return []
    failed = not np.isfinite(cells.values[cells.empty]).all()
    return [Patch(**empty, label="never fired, or no value" if failed else "never fired")]


def _norm(shown: np.ndarray, value: str) -> Normalize:
    if not shown.size:
        return Normalize(0.0, 1.0)
    low, high = float(shown.min()), float(shown.max())
    if value == "loss" and low > 0 and _DECADES * low < high:
        return LogNorm(low, high)
    return Normalize(low, high if high > low else low + 1.0)


def _write_cells(ax: Axes, cells: _Cells, norm: Normalize, colours: Colormap, value: str) -> None:
    """Write the values, white on dark and black on light, where they are few and have room."""
    if cells.values.size > _MOST_WRITTEN:
        return
    widths = np.log(cells.right / cells.left)
    figure: Any = ax.get_figure(root=True)
    room = 72.0 * figure.get_figwidth() * ax.get_position().width * float(widths.min() / np.log(cells.right[-1] / cells.left[0]))
    for digits in (3, 2):
        texts = {place: _text(number, value, digits) for place, number in np.ndenumerate(cells.values) if not cells.empty[place]}
        if max((style.text_width(text, style.SMALL) for text in texts.values()), default=0.0) < 0.9 * room:
            break
    else:
        return
    for (row, column), text in texts.items():
        red, green, blue, _ = colours(norm(cells.values[row, column]))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        at = float(np.sqrt(cells.left[column] * cells.right[column])), float(cells.bottom[row]) + 0.5
        ax.text(*at, text, ha="center", va="center", fontsize=style.SMALL, color="white" if dark else "black")


def _text(number: float, value: str, digits: int) -> str:
    """Return 95.3 or 95 for an accuracy, three or two digits of a loss."""
    return f"{number:.{digits - 2}f}" if value == "accuracy" else f"{number:.{digits}g}"


def _draw_half(ax: Axes, cells: _Cells, hits: np.ndarray) -> list[Artist]:
    """Draw the border of the cells in which at least half of the seeds fired; return what a legend needs."""
    if not ((hits > 0) & (hits < 1)).any():
        return []
    often = hits >= 0.5
    path = []
    for row, column in np.argwhere(often[1:] != often[:-1]):
        path += [(cells.left[column], row + 1), (cells.right[column], row + 1), (np.nan, np.nan)]
    for row, column in np.argwhere(often[:, 1:] != often[:, :-1]):
        path += [(cells.left[column + 1], row), (cells.left[column + 1], row + 1), (np.nan, np.nan)]
    if not path:
        return []
    halo = [withStroke(linewidth=2.4, foreground="white")]
    ax.plot(*np.transpose(path), **_HALF, path_effects=halo, solid_capstyle="projecting", label="_half")
    return [labels.sample("fired in half of the seeds", **_HALF)]


# --- axes and numbers -----------------------------------------------------------------------------------------------------------------


def _draw_axes(ax: Axes, cells: _Cells, x: np.ndarray, y: np.ndarray) -> None:
    middles = np.sqrt(cells.left * cells.right)
    some = slice(None, None, -(-x.size // _MOST_TICKS))
    ax.set_xticks(middles[some], [f"{friction:.3g}" for friction in x[some]])
    ax.xaxis.set_minor_locator(NullLocator())
    names = [f"{goal:.4g}" for goal in y] + ["constant"] * (len(cells.bottom) - y.size)
    ax.set_yticks(cells.bottom + 0.5, names)
    ax.tick_params(length=0)
    ax.set_xlim(cells.left[0], cells.right[-1])
    ax.set_ylim(cells.bottom.min(), cells.bottom.max() + 1.0 if y.size == len(cells.bottom) else float(y.size))
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_xlabel("explore friction γ (1/time)")
    ax.set_ylabel("goal: reduction of the loss (%)")


def _write_numbers(ax: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray, hits: np.ndarray, value: str) -> None:
    """Add lines that are not seen: the numbers that save() writes."""
    unseen: dict[str, Any] = {"linestyle": "None", "marker": "None"}
    for goal, row, shares in zip(y, values, hits, strict=False):
        ax.plot(x, row, **unseen, label=f"{_VALUES[value]}, goal {goal:g} %")
        ax.plot(x, shares, **unseen, label=f"share of seeds that fired, goal {goal:g} %")
    for row in values[y.size :]:
        ax.plot(x, row, **unseen, label=f"{_VALUES[value]}, constant friction")
