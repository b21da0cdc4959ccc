"""Figures of training: arms over seeds, paired differences, schedules and the map of goals."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import test_plots as rules
from matplotlib import colors
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from phdyn import plots
from phdyn.errors import ArgumentError
from phdyn.plots import style
from phdyn.tables import Table

NAMES = ("goal 60 %", "goal 80 %", "goal 90 %", "goal 95 %", "constant 0.9", "constant 0.5", "switch at epoch 5", "cosine")


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def arms(count: int = 8, seeds: int = 30, *, loss: bool = False) -> dict[str, Any]:
    draw = np.random.default_rng(0)
    x = np.arange(16)
    found = {}
    for k, name in enumerate(NAMES[:count]):
        rise = np.exp(-x / (1 + 0.2 * k))
        noise = draw.normal(0, 0.1, (seeds, 16))
        found[name] = x, (0.01 * (k + 1) + 2.3 * rise) * np.exp(noise) if loss else 92 + 0.5 * k - (82 + 0.5 * k) * rise + 4 * noise
    return found


def switches(seeds: int = 30) -> dict[str, Any]:
    draw = np.random.default_rng(1)
    times = {name: draw.normal(2 * k + 2, 0.3, seeds) for k, name in enumerate(NAMES[:4])}
    times["goal 95 %"][::2] = np.nan
    return times


def differences(rows: int = 9, seeds: int = 10) -> Table:
    draw = np.random.default_rng(2)
    values = [draw.normal(0.3 * (k - rows / 2), 0.5, seeds) for k in range(rows)]
    means = [float(part.mean()) for part in values]
    return Table(
        {
            "label": [f"goal {10 * k + 10} % minus constant low" for k in range(rows)],
            "mean": means,
            "low": [mean - 0.3 for mean in means],
            "high": [mean + 0.3 for mean in means],
            "p": [0.0002, *(0.01 * k for k in range(1, rows))],
        },
        hidden={"values": values},
    )


def schedule(lr: Any, momentum: float = 0.9) -> SimpleNamespace:
    lr = np.asarray(lr, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.sqrt(lr * -np.log(momentum) / (1 - momentum))
        return SimpleNamespace(lr=lr, friction=-np.log(momentum) / step, jumps=np.append(1.0, (step[1:] / step[:-1]) ** 2))


def schedules() -> dict[str, Any]:
    k = np.arange(300)
    return {
        "cosine": schedule(0.05 * (1 + np.cos(np.pi * k / 299))),
        "StepLR": schedule(0.1 * 0.1 ** (k // 100)),
        "OneCycle": schedule(0.1 * np.exp(-(((k - 90) / 60.0) ** 2))),
        "constant": schedule(np.full(300, 0.05)),
        "warm-up": schedule(0.08 * np.minimum(1.0, k / 30)),
    }


FRICTIONS, GOALS = np.array([0.0, 0.05, 0.1, 0.2, 0.5, 1.0]), np.array([30.0, 60.0, 80.0, 90.0, 95.0])


def goal_map() -> tuple[Any, ...]:
    values = 92 + 3 * np.exp(-FRICTIONS) + (GOALS[:, None] / 100) ** 4
    fired = np.clip(1.8 - GOALS[:, None] / 100 * (0.6 + FRICTIONS), 0.0, 1.0)
    fired[4, 4:] = fired[3, 5] = 0.0
    return FRICTIONS, GOALS, values, fired


def a_map(ax: Any, **options: Any) -> Axes:
    return plots.plot_goal_map(*goal_map(), ax, **options)


EVERY: dict[str, Callable[[Any], Any]] = {
    "seeds": lambda ax: plots.plot_seeds(arms(), ax, switches=switches()),
    "few": lambda ax: plots.plot_seeds(arms(4, 5), ax),
    "losses": lambda ax: plots.plot_seeds(arms(loss=True), ax, quantity="loss", switches=switches()),
    "differences": lambda ax: plots.plot_differences(differences(), ax),
    "one": lambda ax: plots.plot_differences(differences(1), ax),
    "map": a_map,
    "strip": lambda ax: a_map(ax, constant=np.linspace(94.0, 92.0, 6)),
}
every = pytest.mark.parametrize("draw", EVERY.values(), ids=EVERY.keys())
SEVERAL: dict[str, Callable[[Any], Any]] = {
    "schedules": lambda axes: plots.plot_friction_schedule(schedules(), axes),
    "histograms": lambda axes: plots.plot_differences(differences(2), axes, kind="histogram"),
}
several = pytest.mark.parametrize("draw", SEVERAL.values(), ids=SEVERAL.keys())


@every
def test_a_new_figure_is_a_column_wide_with_labels_and_no_title(draw: Callable[[Any], Axes]) -> None:
    rules.test_a_new_figure_is_a_column_wide_with_labels_and_no_title(draw)


@every
def test_settings_and_figure_of_a_user_stay(draw: Callable[[Any], Axes]) -> None:
    rules.test_settings_and_figure_of_a_user_stay(draw)


@pytest.mark.parametrize("draw", [*EVERY.values(), *(lambda ax, f=f: f(ax)[0] for f in SEVERAL.values())], ids=[*EVERY, *SEVERAL])
def test_nothing_hangs_out_and_no_words_overlap(draw: Callable[[Any], Axes]) -> None:
    rules.test_nothing_hangs_out_of_the_figure(draw)
    rules.test_names_at_the_ends_do_not_overlap(draw)


@several
def test_several_panels_on_new_and_given_axes(draw: Callable[[Any], Any]) -> None:
    figure = draw(None)[0].get_figure(root=True)
    assert figure.get_figwidth() == pytest.approx(84 / 25.4)
    assert all(ax.get_ylabel() and not ax.get_title(loc="left") for ax in figure.axes) and figure.axes[-1].get_xlabel()
    with mpl.rc_context({"font.size": 13, "axes.grid": True}):
        before = dict(mpl.rcParams)
        mine, given = plt.subplots(2)
        boxes = [ax.get_position().bounds for ax in given]
        assert draw(given) == tuple(given)
        assert dict(mpl.rcParams) == before
    assert mine.axes == list(given) and not mine.legends and mine.get_layout_engine() is None
    np.testing.assert_allclose([ax.get_position(original=True).bounds for ax in given], boxes)


@pytest.mark.parametrize("name", ["seeds", "few", "losses", "schedules"])
def test_greyscale_reads(name: str) -> None:
    drawn = rules.strokes({**EVERY, **SEVERAL}[name](None) if name in EVERY else SEVERAL[name](None)[1])
    assert len(drawn) >= 4
    for (a, look), (b, other) in itertools.combinations(drawn, 2):
        assert look != other, f"{a} and {b} differ in colour alone"


def saved(ax: Any, folder: Path) -> dict[str, list[tuple[float, float]]]:
    plots.save(ax, folder / "figure")
    found: dict[str, list[tuple[float, float]]] = {}
    with (folder / "figure.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["series"], []).append((float(row["x"]), float(row["y"])))
    return found


# seeds


def test_seeds_are_median_and_band_from_ten_on(tmp_path: Path) -> None:
    curves = arms(2, 30)
    ax = plots.plot_seeds(curves)
    drawn = rules.lines(ax)
    assert set(drawn) == {f"{name}{end}" for name in curves for end in ("", ", 10 %", ", 90 %")} and len(ax.collections) == 2
    for name, (x, values) in curves.items():
        for end, level in (("", 50), (", 10 %", 10), (", 90 %", 90)):
            np.testing.assert_array_equal(drawn[name + end].get_xdata(), x)
            np.testing.assert_allclose(drawn[name + end].get_ydata(), np.percentile(values, level, axis=0))
    assert saved(ax, tmp_path)["goal 60 %, 10 %"][3][1] == drawn["goal 60 %, 10 %"].get_ydata()[3]
    assert "median, 10 to 90 % of 30 seeds" in rules.texts(ax) and {"goal 60 %", "goal 80 %"} <= set(rules.texts(ax))
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("epoch", "test accuracy (%)", "linear")


@pytest.mark.parametrize(("seeds", "thin"), [(9, 9), (10, 0)])
def test_few_seeds_are_thin_lines_in_place_of_the_band(seeds: int, thin: int) -> None:
    ax = plots.plot_seeds(arms(1, seeds))
    single = [line for name, line in rules.lines(ax).items() if ", seed " in name]
    assert len(single) == thin and len(ax.collections) == (thin == 0)
    assert all(line.get_linewidth() < 0.5 for line in single)


def test_accuracies_show_the_second_half_in_full_and_cut_the_rise() -> None:
    x, values = arms(1, 30)["goal 60 %"]
    low, high = plots.plot_seeds({"a": (x, values)}).get_ylim()
    late = np.percentile(values, [10, 90], axis=0)[:, 8:]
    assert np.median(values[:, 1]) < low < late.min() and late.max() < high <= 100.0
    assert plots.plot_seeds({"a": (x, np.full((3, 16), 100.0))}).get_ylim() == (99.0, 100.0)


def test_losses_are_logarithmic_and_a_zero_is_drawn_at_rounding() -> None:
    ax = plots.plot_seeds(arms(2, loss=True), quantity="loss", x="gradients")
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("gradient evaluations", "training loss", "log")
    values = np.array([[1.0, 1e-3, 0.0]])
    ax = plots.plot_seeds({"a": (np.arange(3), values)}, quantity="loss")
    assert rules.lines(ax)["a"].get_ydata()[-1] == pytest.approx(2.2e-16, rel=0.01) and "rounding" in rules.texts(ax)
    assert ax.get_ylim()[1] > 1.0
    assert plots.plot_seeds({"a": (np.arange(3), values - 1.0)}, quantity="loss").get_yscale() == "linear"
    assert plots.plot_seeds({"a": (np.arange(3), 0.0 * values)}, quantity="loss").get_yscale() == "linear"


def test_a_seed_that_failed_counts_as_the_worst() -> None:
    values = np.array([[1.0, 0.1], [1.0, 0.2], [2.0, np.nan]])
    for lost in (np.nan, np.inf):
        values[2, 1] = lost
        assert rules.lines(plots.plot_seeds({"a": (np.arange(2), values)}, quantity="loss"))["a"].get_ydata()[1] == 0.2
    assert rules.lines(plots.plot_seeds({"a": (np.arange(2), values)}))["a, seed 2"].get_ydata()[1] == 0.0


def test_switches_are_rows_of_ticks_in_the_look_of_their_arm(tmp_path: Path) -> None:
    times = {**switches(), "cosine": np.full(30, np.nan)}
    ax = plots.plot_seeds(arms(), switches=times)
    drawn = rules.lines(ax)
    rows = [drawn[f"{name}, switches"] for name in NAMES[:4]]
    assert "cosine, switches" not in drawn
    assert "median, 10 to 90 % of 30 seeds; ticks: switches" in rules.texts(ax)
    for name, row in zip(NAMES, rows, strict=False):
        fired = times[name][np.isfinite(times[name])]
        np.testing.assert_array_equal(row.get_xdata(), np.sort(fired))
        assert colors.same_color(row.get_color(), drawn[name].get_color()) and row.get_marker() == "|"
    heights = [float(row.get_ydata()[0]) for row in rows]
    assert heights == sorted(heights, reverse=True) and heights[-1] > 0 and heights[0] < 0.2
    bare = plots.plot_seeds(arms())
    to_axes = ax.transData + ax.transAxes.inverted()
    assert to_axes.transform((0.0, bare.get_ylim()[0]))[1] > heights[0]  # no curve that is shown lies behind a tick
    (blank,) = [one for one in ax.get_children() if isinstance(one, Rectangle) and one.get_zorder() == 2.4]
    assert heights[0] < blank.get_height() < heights[0] + heights[-1] + 1e-9 and rows[0].get_zorder() > 2.4 > drawn["cosine"].get_zorder()
    assert len(saved(ax, tmp_path)["goal 95 %, switches"]) == 15


def test_seeds_refuse_what_they_cannot_draw() -> None:
    curve = np.arange(3), np.zeros((2, 3))
    with pytest.raises(ArgumentError, match=r"'error': it is one of accuracy, loss"):
        plots.plot_seeds({"a": curve}, quantity="error")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"'time': it is one of epoch, steps, gradients"):
        plots.plot_seeds({"a": curve}, x="time")  # type: ignore[arg-type]
    for count in (0, 9):
        with pytest.raises(ArgumentError, match=f"one to 8 arms, and these are {count}"):
            plots.plot_seeds({str(k): curve for k in range(count)})
    for values in (np.zeros(3), np.zeros((2, 4)), np.zeros((0, 3))):
        with pytest.raises(ArgumentError, match=r"'a' has x of shape \(3,\) and values of shape .* \(seeds, points\)"):
            plots.plot_seeds({"a": (curve[0], values)})
    with pytest.raises(ArgumentError, match="switches of 'b'"):
        plots.plot_seeds({"a": curve}, switches={"b": [1.0, 2.0]})
    assert plt.get_fignums() == []


# differences


def test_differences_are_dots_mean_interval_and_words(tmp_path: Path) -> None:
    table = differences()
    ax = plots.plot_differences(table)
    found = saved(ax, tmp_path)
    for row in table:
        np.testing.assert_array_equal([x for x, _ in found[row.label]], row.values)
        assert [x for x, _ in found[f"{row.label}, 95 % interval"]] == [row.low, row.high]
        assert [x for x, _ in found[f"{row.label}, mean"]] == [row.mean]
    bands = [(min(y), max(y)) for y in ([y for _, y in found[row.label]] for row in table)]
    assert all(8 - k - 0.5 < low and high < 8 - k + 0.5 for k, (low, high) in enumerate(bands))  # the first row is uppermost
    heights = [y for _, y in found[table[0].label]]
    assert len(set(heights)) == 10 and all(y > found[f"{table[0].label}, mean"][0][1] for y in heights)
    words = rules.texts(ax)
    assert words[:3] == ["p < 0.001\nn = 10", "p = 0.010\nn = 10", "p = 0.020\nn = 10"]
    assert [text.get_text().replace("\n", " ") for text in ax.get_yticklabels()] == list(table["label"])[::-1]
    (zero,) = [line for line in ax.lines if line.get_label() == "_zero"]
    assert set(zero.get_xdata()) == {0.0} and ax.get_xlabel() == "difference in test accuracy (points)"
    again = plots.plot_differences(table)
    for name, line in rules.lines(again).items():
        np.testing.assert_array_equal(line.get_xydata(), found[name])


def test_a_seed_without_a_difference_is_left_out_and_p_may_be_unknown() -> None:
    row = SimpleNamespace(label="a", values=[0.5, np.nan, 0.5], mean=0.5, low=0.4, high=0.6, p=np.nan)
    ax = plots.plot_differences([row])
    assert rules.texts(ax) == ["n = 2"]
    points = rules.lines(ax)["a"].get_xydata()
    assert points[0, 0] == points[1, 0] and points[0, 1] != points[1, 1]  # equal ones are both seen


def test_histograms_share_bins_with_an_edge_at_zero(tmp_path: Path) -> None:
    table = differences(3, 30)
    panels = plots.plot_differences(table, kind="histogram")
    assert isinstance(panels, tuple) and len(panels) == 3
    found = saved(panels, tmp_path)
    for row, panel in zip(table, panels, strict=True):
        middles, counts = np.transpose(found[row.label])
        half = (middles[1] - middles[0]) / 2
        assert counts.sum() == 30 and np.isclose(middles - half, 0.0, atol=1e-12).any()
        np.testing.assert_array_equal(counts, np.histogram(row.values, np.append(middles - half, middles[-1] + half))[0])
        assert panel.get_xlim() == panels[0].get_xlim() and panel.get_ylim() == panels[0].get_ylim()
        assert rules.texts(panel)[0] == row.label and rules.texts(panel)[1].endswith("n = 30")
    assert [bool(panel.get_xlabel()) for panel in panels] == [False, False, True]


@pytest.mark.parametrize("kind", ["dots", "histogram"])
@pytest.mark.parametrize("values", [[], [0.0, 0.0], [0.3], [np.nan]])
def test_hardly_any_differences(kind: Any, values: list[float]) -> None:
    row = SimpleNamespace(label="a", values=values, mean=0.0, low=0.0, high=0.0, p=1.0)
    panel = np.ravel(np.asarray(plots.plot_differences([row], kind=kind), dtype=object))[0]
    panel.get_figure(root=True).canvas.draw()


def test_differences_refuse_what_they_cannot_draw() -> None:
    table = differences(2)
    with pytest.raises(ArgumentError, match=r"'violin': it is one of dots, histogram"):
        plots.plot_differences(table, kind="violin")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="got no row"):
        plots.plot_differences([])
    with pytest.raises(ArgumentError, match=r"'a' has values of shape \(1, 2\)"):
        plots.plot_differences([SimpleNamespace(label="a", values=[[1.0, 2.0]], mean=0, low=0, high=0, p=1)])
    figure, axes = plt.subplots(3)
    for kind, given in (("dots", axes), ("histogram", axes)):
        with pytest.raises(ArgumentError, match=rf"kind='{kind}' draws on . axes, not on 3"):
            plots.plot_differences(table, given, kind=kind)  # type: ignore[arg-type]
    assert plt.get_fignums() == [figure.number]


# schedules


def test_schedules_are_friction_above_and_learning_rate_below(tmp_path: Path) -> None:
    parts = schedules()
    upper, lower = plots.plot_friction_schedule(parts)
    assert (upper.get_ylabel(), lower.get_ylabel(), lower.get_xlabel()) == ("friction rate γ (1/time)", "learning rate", "optimizer step")
    assert not upper.get_shared_y_axes().joined(upper, lower) and len(upper.get_figure(root=True).axes) == 2  # no twin axis
    found = saved((upper, lower), tmp_path)
    for name, part in parts.items():
        x, y = rules.lines(upper)[name].get_data()
        np.testing.assert_array_equal(x, np.arange(1, 301))
        moving = part.lr > 0
        np.testing.assert_array_equal(y[moving], part.friction[moving])
        assert np.isnan(y[~moving]).all() and np.isnan(rules.lines(lower)[name].get_ydata()[~moving]).all()
    assert found["StepLR, factor of the kinetic energy"] == [(101.0, pytest.approx(0.1)), (201.0, pytest.approx(0.1))]
    assert "constant, factor of the kinetic energy" not in found


def test_axes_of_schedules_are_logarithmic_beyond_a_factor_of_thirty() -> None:
    upper, lower = plots.plot_friction_schedule({"a": schedule([0.1, 0.1, 0.004])})
    assert upper.get_yscale() == lower.get_yscale() == "linear" and lower.get_ylim()[0] == 0.0
    upper, lower = plots.plot_friction_schedule({"a": schedule([0.1, 0.1, 0.003])})
    assert (upper.get_yscale(), lower.get_yscale()) == ("linear", "log")  # friction goes with the root
    upper, lower = plots.plot_friction_schedule({"a": schedule([0.1, 0.1, 0.9e-5])})
    assert upper.get_yscale() == lower.get_yscale() == "log"


def test_jumps_are_ticks_with_their_factor_up_to_six() -> None:
    slow = schedule(0.1 * 0.995 ** np.arange(60))
    upper, _ = plots.plot_friction_schedule({"StepLR": schedule(0.1 * 0.5 ** (np.arange(60) // 10)), "slow": slow})
    assert rules.texts(upper).count("×0.5") == 5 and {"StepLR", "slow"} <= set(rules.texts(upper))
    (rug,) = [line for line in upper.lines if line.get_label() == "_rug"]
    np.testing.assert_array_equal(rug.get_xdata(), [11, 21, 31, 41, 51])
    upper, _ = plots.plot_friction_schedule({"StepLR": schedule(0.1 * 0.5 ** (np.arange(80) // 10))})
    assert not any("×0" in text for text in rules.texts(upper))
    upper, _ = plots.plot_friction_schedule({"slow": slow})
    assert rules.texts(upper) == ["slow"]


def test_schedules_refuse_what_they_cannot_draw() -> None:
    part = schedule([0.1, 0.1])
    with pytest.raises(ArgumentError, match="one to 8 arms"):
        plots.plot_friction_schedule({})
    with pytest.raises(ArgumentError, match=r"of 'a' have shapes \(2,\), \(2,\) and \(1,\), not \(steps,\) each"):
        plots.plot_friction_schedule({"a": SimpleNamespace(lr=part.lr, friction=part.friction, jumps=[1.0])})
    figure, ax = plt.subplots()
    with pytest.raises(ArgumentError, match="pair of axes"):
        plots.plot_friction_schedule({"a": part}, [ax])
    assert plt.get_fignums() == [figure.number]


# the map of goals


def cells(ax: Axes) -> list[Rectangle]:
    return [patch for patch in ax.patches if isinstance(patch, Rectangle)]


def test_a_map_has_a_cell_a_goal_and_friction(tmp_path: Path) -> None:
    x, y, values, fired = goal_map()
    ax = a_map(None)
    drawn = cells(ax)
    assert len(drawn) == 30 and ax.get_xscale() == "log"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "0.05", "0.1", "0.2", "0.5", "1"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["30", "60", "80", "90", "95"]
    never = fired == 0
    assert [bool(cell.get_hatch()) for cell in drawn] == never.ravel().tolist()
    written = [text.get_text() for text in ax.texts]
    assert written == [f"{number:.1f}" for number in values[~never]]
    norm = colors.Normalize(values[~never].min(), values[~never].max())
    for cell, number in zip(np.array(drawn)[~never.ravel()], values[~never], strict=True):
        assert colors.same_color(cell.get_facecolor(), mpl.colormaps["cividis"](norm(number)))
    edges = np.array([cell.get_x() for cell in drawn[1:6]])
    assert (edges < x[1:]).all() and (x[1:] < [cell.get_x() + cell.get_width() for cell in drawn[1:6]]).all()
    assert drawn[0].get_x() + drawn[0].get_width() < edges[0]  # zero has a column of its own
    (bar,) = ax.child_axes
    assert bar.get_xlabel() == "final test accuracy (%)"
    (legend,) = ax.get_figure(root=True).legends
    assert [text.get_text() for text in legend.get_texts()] == ["never fired", "fired in half of the seeds"]
    found = saved(ax, tmp_path)
    assert found["final test accuracy (%), goal 80 %"] == list(zip(x, values[2], strict=True))
    assert found["share of seeds that fired, goal 95 %"] == list(zip(x, fired[4], strict=True))
    assert len(y) * 2 == len(found)


def test_words_in_cells_stand_out() -> None:
    ax = a_map(None)
    filled = [cell for cell in cells(ax) if not cell.get_hatch()]
    for cell, text in zip(filled, ax.texts, strict=True):
        grey = np.dot(cell.get_facecolor()[:3], [0.299, 0.587, 0.114])
        assert abs(grey - (text.get_color() == "white")) >= 0.5


def test_the_line_of_half_the_seeds_follows_the_cells() -> None:
    fired = np.ones((2, 2))
    fired[1, 1] = 0.4
    ax = plots.plot_goal_map([0.1, 0.2], [50, 80], np.ones((2, 2)), fired)
    (half,) = [line for line in ax.lines if line.get_label() == "_half"]
    assert not any(cell.get_hatch() for cell in cells(ax))  # it fired in some
    path = half.get_xydata()
    middle, right = np.sqrt(0.1 * 0.2), 0.2 * np.sqrt(2)
    np.testing.assert_allclose(path, [(middle, 1), (right, 1), (np.nan, np.nan), (middle, 1), (middle, 2), (np.nan, np.nan)])
    fired[1, 1] = 0.0  # the hatch says it
    assert not [line for line in plots.plot_goal_map([0.1, 0.2], [50, 80], np.ones((2, 2)), fired).lines if line.get_label() == "_half"]


def test_constant_friction_is_a_strip_below(tmp_path: Path) -> None:
    strip = np.linspace(94.0, 92.0, 6)
    ax = a_map(None, constant=strip)
    assert [text.get_text() for text in ax.get_yticklabels()][-1] == "constant" and len(cells(ax)) == 36
    assert all(cell.get_y() + cell.get_height() < 0 for cell in cells(ax)[30:]) and cells(ax)[0].get_y() == 0.0
    assert [y for _, y in saved(ax, tmp_path)["final test accuracy (%), constant friction"]] == strip.tolist()


def test_losses_over_decades_have_logarithmic_colours_and_short_words() -> None:
    values = np.outer([1.0, 1e-4], [1.0, 0.5])
    ax = plots.plot_goal_map([0.1, 0.2], [50, 80], values, np.ones((2, 2)), value="loss")
    assert [text.get_text() for text in ax.texts] == ["1", "0.5", "0.0001", "5e-05"]
    (bar,) = ax.child_axes
    assert bar.get_xscale() == "log" and bar.get_xlabel() == "final training loss"
    assert not ax.get_figure(root=True).legends
    frictions, goals = np.geomspace(0.01, 1, 10), np.arange(1, 11)
    dense = np.full((10, 10), 0.012345)
    assert {text.get_text() for text in plots.plot_goal_map(frictions, goals, dense, dense > 0, value="loss").texts} == {"0.012"}
    more = np.full((11, 10), 0.01)
    assert not plots.plot_goal_map(frictions, np.arange(11), more, more > 0, value="loss").texts


def test_a_map_of_one_cell_or_of_none_with_a_value() -> None:
    for friction in (0.0, 0.3):
        ax = plots.plot_goal_map([friction], [80], [[95.0]], [[1.0]])
        ax.get_figure(root=True).canvas.draw()
        assert [text.get_text() for text in ax.texts] == ["95.0"]
    ax = plots.plot_goal_map([0.1], [80], [[np.nan]], [[1.0]])
    assert ax.get_figure(root=True).legends[0].get_texts()[0].get_text() == "never fired, or no value"


def test_maps_refuse_what_they_cannot_draw() -> None:
    x, y, values, fired = goal_map()
    with pytest.raises(ArgumentError, match=r"'gain': it is one of accuracy, loss"):
        plots.plot_goal_map(x, y, values, fired, value="gain")  # type: ignore[arg-type]
    for wrong in (x[::-1], [0.1, 0.1], [[0.1]], [], [0.1, np.nan]):
        with pytest.raises(ArgumentError, match="frictions is not an array of increasing numbers"):
            plots.plot_goal_map(wrong, y, values, fired)
    with pytest.raises(ArgumentError, match="goals is not an array of increasing"):
        plots.plot_goal_map(x, y[::-1], values, fired)
    with pytest.raises(ArgumentError, match="a friction is not negative"):
        plots.plot_goal_map(x - 0.1, y, values, fired)
    with pytest.raises(ArgumentError, match=r"values has shape \(6, 5\), not \(5, 6\)"):
        plots.plot_goal_map(x, y, values.T, fired)
    with pytest.raises(ArgumentError, match=r"fired has shape \(1, 6\)"):
        plots.plot_goal_map(x, y, values, fired[:1])
    with pytest.raises(ArgumentError, match=r"constant has shape \(1, 6\), not \(6,\)"):
        plots.plot_goal_map(x, y, values, fired, constant=values[:1])
    assert plt.get_fignums() == []


def test_arms_have_looks_in_their_order() -> None:
    drawn = rules.lines(plots.plot_seeds(arms()))
    assert [drawn[name].get_color() for name in NAMES] == [look.colour for look in style.RUNS]
