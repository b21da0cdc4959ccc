"""Figures: what is drawn, that a user's settings stay, that greyscale reads, and what is written."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fakes
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import colors
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.contour import ContourSet
from PIL import Image

from phdyn import plots
from phdyn.errors import ArgumentError
from phdyn.plots import style
from phdyn.potentials import MultiWell


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def balances() -> dict[str, Any]:
    return {
        "strang": fakes.oscillator(0.1, 1e-4),
        "rk4": fakes.oscillator(0.1, 1e-7, method=fakes.RK4),
        "RK45": fakes.oscillator(0.1, 1e-6, method=fakes.RK45),
        "gonzalez": fakes.oscillator(0.1, method=fakes.GONZALEZ),
    }


def arms() -> dict[str, Any]:
    return {f"goal {percent} %": fakes.toy(0.05, percent / 100) for percent in (97, 60, 30)}


EVERY: dict[str, Callable[[Any], Any]] = {
    "energy": lambda ax: plots.plot_energy(fakes.toy(), ax),
    "driven": lambda ax: plots.plot_energy(fakes.driven(), ax),
    "residual": lambda ax: plots.plot_residual(balances(), ax),
    "loss": lambda ax: plots.plot_loss(arms(), ax),
    "path": lambda ax: plots.plot_path(fakes.valley(), ax),
    "modes": lambda ax: plots.plot_modes(fakes.three_modes(), ax),
    "self": lambda ax: plots.plot_modes(fakes.restarts(), ax),
    "shares": lambda ax: plots.plot_modes(fakes.batch_of_modes(), ax),
    "basins": lambda ax: plots.plot_basins(fakes.grid_of_starts(), fakes.wells(fakes.grid_of_starts()), ax),
    "scattered": lambda ax: plots.plot_basins(fakes.scattered_starts(), fakes.wells(fakes.scattered_starts()), ax),
    "work_precision": lambda ax: plots.plot_work_precision(fakes.comparison(), ax),
    "orders": lambda ax: plots.plot_orders(fakes.comparison(), ax),
}
every = pytest.mark.parametrize("draw", EVERY.values(), ids=EVERY.keys())


def lines(ax: Axes) -> dict[str, Any]:
    return {str(line.get_label()): line for line in ax.get_lines() if not str(line.get_label()).startswith("_")}


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


@every
def test_a_new_figure_is_a_column_wide_with_labels_and_no_title(draw: Callable[[Any], Axes]) -> None:
    ax = draw(None)
    assert ax.get_figure(root=True).get_figwidth() == pytest.approx(84 / 25.4)
    assert ax.get_xlabel() and ax.get_ylabel()
    assert not any(ax.get_title(loc=loc) for loc in ("left", "center", "right"))


@every
def test_settings_and_figure_of_a_user_stay(draw: Callable[[Any], Axes]) -> None:
    mine = {"font.size": 13, "lines.linewidth": 5, "axes.grid": True, "savefig.dpi": 50}
    with mpl.rc_context(mine):
        before = dict(mpl.rcParams)
        figure, ax = plt.subplots(figsize=(7, 5))
        other = figure.add_axes((0.8, 0.8, 0.1, 0.1))
        box = ax.get_position().bounds
        assert draw(ax) is ax
        assert dict(mpl.rcParams) == before
    assert tuple(figure.get_size_inches()) == (7, 5) and figure.axes == [ax, other] and not figure.legends
    assert figure.get_layout_engine() is None
    np.testing.assert_allclose(ax.get_position(original=True).bounds, box)
    assert not other.get_children()[0].get_label() and not other.lines
    assert plt.get_fignums() == [figure.number]


@every
def test_nothing_hangs_out_of_the_figure(draw: Callable[[Any], Axes]) -> None:
    figure = draw(None).get_figure(root=True)
    figure.canvas.draw()
    tight = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert tight.x0 > -0.01 and tight.y0 > -0.01 and tight.x1 < width + 0.01 and tight.y1 < height + 0.01


@every
def test_names_at_the_ends_do_not_overlap(draw: Callable[[Any], Axes]) -> None:
    ax = draw(None)
    ax.get_figure(root=True).canvas.draw()
    boxes = [(text.get_text(), text.get_window_extent().padded(-1.0)) for text in ax.texts]
    for (a, box), (b, other) in itertools.combinations(boxes, 2):
        assert not box.overlaps(other), (a, b)


def strokes(ax: Axes) -> list[tuple[str, Any]]:
    """What greyscale leaves of each labelled, opaque line: its pattern of dashes, its marker and how that is filled."""
    found = []
    for name, line in lines(ax).items():
        if line.get_alpha() in (None, 1):
            _, dashes = line._dash_pattern
            marked = line.get_marker() not in ("None", None, "")
            drawn = line.get_linestyle() != "None"
            pattern = tuple(np.round(np.divide(dashes, line.get_linewidth()), 6)) if dashes is not None else drawn
            found.append((name, (pattern, line.get_marker() if marked else "", line.get_fillstyle() if marked else "")))
    return found


@pytest.mark.parametrize("name", ["energy", "driven", "residual", "loss", "work_precision"])
def test_greyscale_reads(name: str) -> None:
    ax = EVERY[name](None)
    drawn = strokes(ax)
    assert len(drawn) >= 3
    for (a, look), (b, other) in itertools.combinations(drawn, 2):
        assert look != other, f"{a} and {b} differ in colour alone"


def test_greyscale_of_every_method_and_run() -> None:
    names = [(name, family) for family, members in style._MEMBERS.items() for name in members]
    names += [(f"mine-{k}", "splitting") for k in range(6)]
    looks = style.method_looks(names)
    assert len({(repr(look.dashes), look.marker, look.fill) for look in looks.values()}) == len(names)
    assert len({repr(look.dashes) for look in style.RUNS}) == len(style.RUNS)
    assert looks["strang"] == style.method_looks([("rk4", "runge-kutta"), ("strang", "splitting")])["strang"]


def test_greyscale_of_modes() -> None:
    shades = style.mode_shades(["explore", "exploit", "b", "c", "explore"])
    assert [shade.grey for shade in shades.values()] == ["1.0", "0.9", "0.8", "0.8"] and list(shades) == ["explore", "exploit", "b", "c"]
    assert [bool(shade.hatch) for shade in shades.values()] == [False, False, False, True]
    assert len({(shade.width, repr(shade.dashes)) for shade in shades.values()}) == 4
    assert style.mode_shades(["motion"])["motion"].grey == "1.0"
    assert [shade.grey for shade in style.mode_shades(["glide", "brake", "free"]).values()] == ["1.0", "0.9", "0.8"]


# energies


def test_energies_are_lines_of_their_colour() -> None:
    run = fakes.toy()
    drawn = lines(plots.plot_energy(run))
    for name, values, colour in (
        ("V", run.energy.potential, "#0072B2"),
        ("T", run.energy.kinetic, "#E69F00"),
        ("H", run.energy.hamiltonian, "#000000"),
    ):
        np.testing.assert_array_equal(drawn[name].get_ydata(), values)
        assert colors.same_color(drawn[name].get_color(), colour)
    assert drawn["H0"].is_dashed() and set(drawn["H0"].get_ydata()) == {run.energy.hamiltonian[0]}


def white_gap(run: Any) -> float:
    """Share of a bare picture's columns that show white between H and the dashed line."""
    ax = plots.plot_energy(run)
    for artist in (*ax.lines, *ax.texts):
        artist.remove()
    covered = ax.collections[0].get_paths()[0]
    t, energy = run.energy.t, run.energy
    top = energy.hamiltonian[0] + energy.supplied + energy.injected
    inside = covered.contains_points(np.column_stack([t, top - 0.02 * np.ptp(top - energy.hamiltonian)]))
    room = top - energy.hamiltonian > 0.1 * np.ptp(top - energy.hamiltonian)
    return float(np.mean(~inside[room]))


@pytest.mark.parametrize("run", [fakes.toy(), fakes.driven(), fakes.oscillator(0.1)], ids=["toy", "driven", "oscillator"])
def test_a_closed_balance_leaves_no_white_gap(run: Any) -> None:
    assert white_gap(run) == 0.0


def test_an_open_balance_leaves_one() -> None:
    run = fakes.toy()
    run.energy.dissipated = 0.7 * run.energy.dissipated
    assert white_gap(run) > 0.9


def test_what_came_in_is_drawn_above_the_start() -> None:
    run = fakes.driven()
    drawn = lines(plots.plot_energy(run))
    np.testing.assert_allclose(drawn["H0 + supplied"].get_ydata(), run.energy.hamiltonian[0] + run.energy.supplied)
    assert drawn["H0 + supplied + injected"].get_ydata()[-1] == pytest.approx(0.5 + 0.8 + 0.4)
    assert "H0 + supplied" not in lines(plots.plot_energy(fakes.toy()))


def test_a_run_that_goes_on_counts_from_the_first_start() -> None:
    run = fakes.oscillator(0.1)
    energy = SimpleNamespace(**{name: values[300:] for name, values in vars(run.energy).items() if values is not None})
    drawn = lines(plots.plot_energy(SimpleNamespace(energy=energy, switches=fakes.switches())))
    assert drawn["H0"].get_ydata()[0] == pytest.approx(0.5)


def test_energies_without_a_split_and_with_units() -> None:
    run = fakes.oscillator(0.1, units={"energy": "J", "time": "s"})
    run.energy.kinetic = run.energy.potential = None
    ax = plots.plot_energy(run)
    assert set(lines(ax)) == {"H", "H0", "H + dissipated"}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time t (s)", "energy (J)")
    ax = plots.plot_energy(fakes.toy())
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time t", "energy (loss units)")


def test_an_observer_of_a_training_loop_will_do() -> None:
    run = fakes.toy()
    assert plots.plot_energy(SimpleNamespace(energy=run.energy, switches=run.switches)).lines


def test_modes_are_shaded_from_the_switches() -> None:
    run = fakes.toy()
    run.t, run.modes = run.t[[0, -1]], run.modes[[0, -1]]  # record="energy"
    ax = plots.plot_energy(run)
    (shade,) = ax.patches
    assert np.mean(shade.get_facecolor()[:3]) == pytest.approx(0.9)
    assert shade.get_x() == pytest.approx(run.switches[0].time)
    assert {"explore", "exploit", "LossGoal(reduction=0.97)"} <= set(texts(ax))


def test_many_switches_are_ticks_without_names() -> None:
    run = fakes.toy()
    rows = [(2.0 * k, "a", "b", "again", 0.1, 0.1, 0.2, 0.0) for k in range(1, 8)]
    run.switches = fakes.switches(*rows)
    ax = plots.plot_energy(run)
    assert "again" not in texts(ax)
    (ticks,) = [line for line in ax.lines if line.get_label() == "_switches"]
    np.testing.assert_array_equal(ticks.get_xdata(), [row[0] for row in rows])
    run.switches = fakes.switches(*rows[:6])
    assert texts(plots.plot_energy(run)).count("again") == 1


def test_a_run_that_blew_up_is_drawn() -> None:
    run = fakes.toy()
    for name in ("kinetic", "hamiltonian", "residual", "dissipated"):
        getattr(run.energy, name)[-5:] = [1e9, 1e30, 1e200, np.inf, np.nan]
    plots.plot_energy(run)
    ax = plots.plot_residual(run)
    assert np.isfinite(ax.get_ylim()).all()
    ax.get_figure(root=True).canvas.draw()


@pytest.mark.parametrize("plot", [plots.plot_energy, plots.plot_residual, plots.plot_loss])
def test_no_energy_or_a_batch_is_refused(plot: Callable[[Any], Axes]) -> None:
    with pytest.raises(ArgumentError, match="needs an energy"):
        plot(SimpleNamespace(**{**vars(fakes.toy()), "energy": None}))
    batch = SimpleNamespace(**{**vars(fakes.toy()), "energy": SimpleNamespace(hamiltonian=np.zeros((3, 5)))})
    with pytest.raises(ArgumentError, match="holds 3"):
        plot(batch)
    assert plt.get_fignums() == []


# residuals and losses


def test_residuals_are_relative_with_kind_and_band() -> None:
    runs = balances()
    ax = plots.plot_residual(runs)
    drawn = lines(ax)
    np.testing.assert_allclose(drawn["strang"].get_ydata()[300], abs(runs["strang"].energy.residual[300]) / 0.5)
    assert np.all(np.diff(drawn["strang, largest so far"].get_ydata()) >= 0)
    assert {"strang (order 2)", "RK45 (tolerance)", "gonzalez (exact)", "rounding in float64"} <= set(texts(ax))
    assert ax.get_yscale() == "log" and drawn["gonzalez"].get_ydata().min() > 0
    band = ax.patches[0].get_window_extent().transformed(ax.transData.inverted())
    assert band.y1 == pytest.approx(8 * 2.22e-16 * np.sqrt(600), rel=0.02)
    (allowed,) = [line for line in ax.lines if line.get_label() == "_allowed"]
    assert allowed.get_ydata()[0] == pytest.approx(0.1 * runs["rk4"].energy_balance().swing / 0.5)


def test_one_residual_in_single_precision() -> None:
    run = fakes.toy()
    run.y = run.y.astype(np.float32)
    assert "rounding in float32" in texts(plots.plot_residual(run))


@pytest.mark.parametrize(("x", "end"), [("gradients", 400), ("steps", 399), ("time", 20.0)])
def test_losses_against_their_cost(x: Any, end: float) -> None:
    runs = {"a": fakes.toy(0.05, nfev=400, nsteps=399), "b": fakes.toy(0.05, method=fakes.DOP853, nfev=400, nsteps=399)}
    ax = plots.plot_loss(runs, x=x)
    for line in lines(ax).values():
        assert line.get_xdata()[0] == 0 and line.get_xdata()[-1] == pytest.approx(end)
    markers = [line for line in ax.lines if line.get_marker() == "D"]
    assert markers[0].get_xdata()[0] == pytest.approx(end * runs["a"].switches[0].time / 20.0, rel=0.01)
    assert markers[0].get_ydata()[0] == pytest.approx(runs["a"].switches[0].loss)


def test_losses_end_in_their_value_and_below_zero_are_linear() -> None:
    ax = plots.plot_loss(arms())
    assert "goal 60 %: 0.868" in texts(ax) and "goal 97 %: 0" in texts(ax) and ax.get_yscale() == "log"
    run = fakes.toy()
    run.energy.potential = run.energy.potential - 3.0
    assert plots.plot_loss(run).get_yscale() == "linear"
    with pytest.raises(ArgumentError, match=r"'epochs'.*gradients"):
        plots.plot_loss(run, x="epochs")  # type: ignore[arg-type]


def test_more_than_four_lines_have_a_legend_below() -> None:
    ax = plots.plot_loss({str(k): fakes.toy(0.05, k / 10) for k in range(3, 8)})
    (legend,) = ax.get_figure(root=True).legends
    assert len(legend.get_texts()) == 6  # and the switch
    assert not any(":" in text for text in texts(ax))


# paths and modes


def test_phase_draws_potential_and_path_by_mode() -> None:
    run = fakes.toy()
    upper, lower = plots.plot_phase(run)
    drawn = lines(upper)
    q = drawn["V"].get_xdata()
    np.testing.assert_allclose(drawn["V"].get_ydata(), run.system.potential.value(q[:, None]))
    explore, exploit = lines(lower)["explore"], lines(lower)["exploit"]
    assert explore.get_linewidth() < exploit.get_linewidth()
    now = run.t == run.switches[0].time
    assert np.isfinite(explore.get_ydata()[now]) and np.isfinite(exploit.get_ydata()[now])  # no hole at the switch
    np.testing.assert_array_equal(lines(lower)["end"].get_xdata(), run.q[0, -1:])
    height = np.fmax(drawn["explore"].get_ydata(), -np.inf)[: np.argmax(now)]
    np.testing.assert_allclose(height, run.energy.hamiltonian[: np.argmax(now)])


def test_phase_of_a_loaded_solution_and_on_given_axes() -> None:
    run = fakes.toy(system=None)
    _, pair = plt.subplots(2)
    upper, lower = plots.plot_phase(run, pair)
    assert (upper, lower) == tuple(pair)
    assert np.all(np.diff(lines(upper)["V"].get_xdata()) >= 0)
    with pytest.raises(ArgumentError, match="pair of axes"):
        plots.plot_phase(run, [upper])


def test_path_has_equal_scales_contours_and_minima() -> None:
    ax = plots.plot_path(fakes.valley())
    assert ax.get_aspect() == 1.0 and ax.collections
    np.testing.assert_array_equal(lines(ax)["minima"].get_xydata(), [[1.0, 1.0]])
    bare = plots.plot_path(fakes.valley(system=None))
    assert not bare.collections and "explore" in lines(bare)


def test_path_of_a_gradient_flow() -> None:
    run = fakes.valley()
    flow = SimpleNamespace(**{**vars(run), "y": run.q, "q": None, "p": None})
    np.testing.assert_array_equal(lines(plots.plot_path(flow))["start"].get_xydata(), [[-1.2, 1.0]])


@pytest.mark.parametrize("plot", [plots.plot_energy, plots.plot_phase, plots.plot_path, plots.plot_modes])
def test_several_runs_are_drawn_one_by_one(plot: Callable[[Any], Any]) -> None:
    with pytest.raises(ArgumentError, match=rf"{plot.__name__} draws one run, and these are several \('slow', 'fast'\)"):
        plot({"slow": fakes.toy(), "fast": fakes.toy()})
    assert plt.get_fignums() == []


def test_paths_refuse_what_they_cannot_draw() -> None:
    with pytest.raises(ArgumentError, match=r"plot_phase .* one position, .* shape \(2, "):
        plots.plot_phase(fakes.valley())
    with pytest.raises(ArgumentError, match=r"plot_path .* two positions, .* shape \(1, "):
        plots.plot_path(fakes.toy())
    run = fakes.toy()
    run.t, run.q, run.p = run.t[[0, -1]], run.q[:, [0, -1]], run.p[:, [0, -1]]
    with pytest.raises(ArgumentError, match="record='states'"):
        plots.plot_phase(run)


def test_modes_are_bars_and_short_stays_are_widened() -> None:
    run = fakes.three_modes()
    ax = plots.plot_modes(run)
    bars = {str(bars.get_label()): [path.get_extents() for path in bars.get_paths()] for bars in ax.collections}
    assert list(bars) == ["glide", "brake", "free"] == [label.get_text() for label in ax.get_yticklabels()]
    assert (bars["glide"][0].x0, bars["glide"][0].x1) == (0.0, 1.0472)
    np.testing.assert_allclose([bars["free"][0].width, bars["free"][1].x1], [0.1, 10.0])  # 0.0168 long
    assert texts(ax).count("crossing") == 1


def test_modes_of_a_plain_function_or_without_a_switch() -> None:
    run = fakes.oscillator(0.1)
    run.energy = None
    assert [label.get_text() for label in plots.plot_modes(run).get_yticklabels()] == ["motion"]
    run.modes = np.full(len(run.t), "")
    assert [label.get_text() for label in plots.plot_modes(run).get_yticklabels()] == ["whole run"]


def test_a_transition_to_the_same_mode_is_a_tick_and_two_at_once_are_drawn() -> None:
    run = fakes.restarts()
    ax = plots.plot_modes(run)
    jumps = [line.get_xydata().tolist() for line in ax.lines if line.get_label() == "_jump"]
    assert jumps[:2] == [[[2.0, 1.55], [2.0, 2.45]], [[4.0, 1.55], [4.0, 2.45]]]
    assert jumps[2:] == [[[6.0, 2.0], [6.0, 1.0]], [[6.0, 1.0], [6.0, 0.0]]]
    bars = {str(bars.get_label()): [path.get_extents() for path in bars.get_paths()] for bars in ax.collections}
    assert [bar.x0 for bar in bars["roll"]] == [0.0, 2.0, 4.0]
    (short,) = bars["brake"]
    assert (short.x0, short.width) == (6.0, pytest.approx(0.1))  # no time at all, yet seen


# batches


def test_modes_of_a_batch_are_shares_that_add_up() -> None:
    run = fakes.batch_of_modes()
    ax = plots.plot_modes(run)
    drawn = lines(ax)
    assert list(drawn) == ["explore", "exploit", "rest"]
    t = drawn["explore"].get_xdata()
    assert t[0] == 0.0 and t[-1] == 20.0 and (np.diff(t) >= 0).all() and len(t) == len(run.switches) + 2
    np.testing.assert_allclose(sum(line.get_ydata() for line in drawn.values()), 100.0)
    first = run.switches.first()
    k = int(np.searchsorted(t, 4.0, side="right")) - 1
    left = {j for j, when in zip(run.switches["trajectory"], run.switches["time"], strict=True) if when <= 4.0}
    now = dict.fromkeys(range(run.batch), "explore")
    for row in run.switches:
        if row.time <= 4.0:
            now[row.trajectory] = row.target
    for mode, line in drawn.items():
        assert line.get_ydata()[k] == pytest.approx(100 * list(now.values()).count(mode) / run.batch)
    assert len(left) == np.count_nonzero(first <= 4.0)
    assert not any("_" not in str(line.get_label()) and line.get_marker() != "None" for line in ax.lines)
    (legend,) = ax.get_figure(root=True).legends
    assert legend.get_texts()[0].get_text().startswith("explore: ")
    calm = fakes.batch_of_modes(until=0.0)
    assert set(lines(plots.plot_modes(calm))) == {"explore"}
    backward = fakes.batch_of_modes()
    backward.t, backward.switches = -backward.t, fakes.mirrored(backward.switches)
    mirrored = lines(plots.plot_modes(backward))
    np.testing.assert_array_equal(mirrored["rest"].get_ydata(), drawn["rest"].get_ydata())


def test_a_batch_is_picked_from_by_trajectory() -> None:
    run = SimpleNamespace(**{**vars(fakes.toy()), "batch": 7})
    for name in ("plot_energy", "plot_residual", "plot_loss", "plot_phase", "plot_path"):
        with pytest.raises(ArgumentError, match=rf"{name} draws one trajectory, .* holds 7: pick one, {name}\(sol\.trajectory\(0\)\)"):
            getattr(plots, name)(run)
    assert plt.get_fignums() == []


def test_a_grid_of_starts_is_a_map() -> None:
    sol = fakes.grid_of_starts()
    wells = fakes.wells(sol)
    shuffled = np.random.default_rng(1).permutation(sol.batch)
    mixed = fakes.grid_of_starts(order=shuffled)
    images = []
    for each, part in ((sol, wells), (mixed, wells[shuffled])):
        ax = plots.plot_basins(each, part)
        (mesh,) = [one for one in ax.collections if isinstance(one, QuadMesh)]
        images.append(np.asarray(mesh.get_array()))
    np.testing.assert_array_equal(*images)
    assert ax.get_aspect() == 1.0 and images[0].shape == (16, 16, 3)
    np.testing.assert_allclose(images[0][3, 5], colors.to_rgb(style.WELLS[wells.reshape(16, 16)[3, 5]].colour))
    assert ax.get_xlim() == ax.get_ylim() == pytest.approx((-5 - 1 / 3, 5 + 1 / 3))
    np.testing.assert_array_equal(lines(ax)["minima"].get_xydata(), sol.system.potential.minima)
    assert len(lines(ax)["2"].get_xdata()) == np.count_nonzero(wells == 2)  # the numbers beside the figure


def test_shares_have_their_wilson_interval_in_the_legend() -> None:
    sol = fakes.grid_of_starts()
    part = np.zeros(sol.batch, dtype=int)
    part[:64], part[64:80] = 5, -1
    ax = plots.plot_basins(sol, part)
    (legend,) = ax.get_figure(root=True).legends
    p, n, z = 0.25, 256, 1.959964
    middle, half = (p + z * z / (2 * n)) / (1 + z * z / n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    named = [text.get_text() for text in legend.get_texts()]
    assert named[1] == f"5: 25.0 % ({100 * (middle - half):.1f} to {100 * (middle + half):.1f})"
    assert named[2].startswith("never: 6.2 % (") and [text[:2] for text in named] == ["0:", "5:", "ne"]
    assert [patch.get_hatch() for patch in legend.get_patches()] == [None, "////", "xxxx"]
    masked = np.ma.masked_array(np.where(part < 0, 0, part), mask=part < 0)
    for same in (masked, np.where(part < 0, np.nan, part)):
        (other,) = plots.plot_basins(sol, same).get_figure(root=True).legends
        assert [text.get_text() for text in other.get_texts()] == named


def test_hatches_follow_the_cells() -> None:
    sol = fakes.grid_of_starts()
    part = np.zeros(sol.batch, dtype=int)
    part[17] = 1  # the second of the second row
    ax = plots.plot_basins(sol, part)
    (hatched,) = [one for one in ax.collections if isinstance(one, ContourSet)]
    box = hatched.get_paths()[0].get_extents()
    width = 10 / 15
    np.testing.assert_allclose([box.x0, box.x1, box.y0, box.y1], np.array([-4.67, -4.0, -4.67, -4.0]) + width * 0.005, atol=0.01)


def test_before_and_after_lie_side_by_side_at_one_scale() -> None:
    sol = fakes.grid_of_starts()
    after, before = fakes.wells(sol), np.zeros(sol.batch, dtype=int)
    left, right = plots.plot_basins(sol, after, before=before)
    figure = left.get_figure(root=True)
    assert figure.get_figwidth() == pytest.approx(174 / 25.4)
    figure.canvas.draw()
    assert left.get_window_extent().size == pytest.approx(right.get_window_extent().size) and left.get_xlim() == right.get_xlim()
    assert texts(left) == ["before"] and texts(right) == ["after"]
    (legend,) = figure.legends
    assert " → " in legend.get_texts()[0].get_text() and legend.get_texts()[0].get_text().startswith("0: 100.0 % (")
    _, pair = plt.subplots(1, 2)
    assert plots.plot_basins(sol, after, pair, before=before) == tuple(pair)
    for given, options in ((pair[0], {"before": before}), (pair, {})):
        with pytest.raises(ArgumentError, match="plot_basins draws on"):
            plots.plot_basins(sol, after, given, **options)


def test_starts_on_no_grid_are_points_with_a_marker_a_label() -> None:
    sol = fakes.scattered_starts()
    wells = fakes.wells(sol)
    wells[:9] = -1
    ax = plots.plot_basins(sol, wells)
    drawn = lines(ax)
    assert [drawn[name].get_marker() for name in ("0", "1", "2", "3", "never")] == ["o", "s", "^", "D", "x"]
    np.testing.assert_array_equal(drawn["never"].get_xydata(), sol.q[:9, :, 0])
    assert not ax.collections
    twice = SimpleNamespace(**{**vars(sol), "q": np.concatenate([sol.q[:2], sol.q[:2]]), "batch": 4})
    assert not plots.plot_basins(twice, [0, 1, 0, 1]).collections


def test_one_position_is_a_strip() -> None:
    sol = SimpleNamespace(batch=40, q=np.linspace(-8, 8, 40)[:, None, None], system=SimpleNamespace(potential=MultiWell()), energy=None)
    ax = plots.plot_basins(sol, np.arange(40) // 10)
    assert ax.get_xlabel() == "start q(0)" and not len(ax.get_yticks()) and ax.get_ylim() == (0.0, 1.0)
    assert {1} == set(np.asarray(next(one for one in ax.collections if isinstance(one, QuadMesh)).get_array()).shape[:1])
    flow = SimpleNamespace(batch=3, q=None, y=np.zeros((3, 1, 1)), system=None, energy=None)
    assert not plots.plot_basins(flow, [0, 1, 1]).collections  # all start at one place


def test_maps_refuse_what_they_cannot_draw() -> None:
    sol = fakes.grid_of_starts()
    with pytest.raises(ArgumentError, match="that of a single run"):
        plots.plot_basins(fakes.toy(), [0])
    with pytest.raises(ArgumentError, match=r"labels has shape \(3,\), not \(256,\)"):
        plots.plot_basins(sol, [0, 1, 2])
    with pytest.raises(ArgumentError, match=r"before has shape \(2,\)"):
        plots.plot_basins(sol, fakes.wells(sol), before=[0, 1])
    with pytest.raises(ArgumentError, match="tells 8 labels apart, and these are 9"):
        plots.plot_basins(sol, np.arange(256) % 9)
    high = SimpleNamespace(**{**vars(sol), "q": np.zeros((256, 3, 1))})
    with pytest.raises(ArgumentError, match="one position or two, and the states here have 3"):
        plots.plot_basins(high, fakes.wells(sol))
    assert plt.get_fignums() == []


def test_the_looks_of_labels_differ_in_greyscale() -> None:
    assert len({well.hatch for well in (*style.WELLS, style.NEVER)}) == len({well.marker for well in (*style.WELLS, style.NEVER)}) == 9


def test_the_numbers_of_a_map_are_its_starts(tmp_path: Path) -> None:
    sol = fakes.grid_of_starts()
    plots.save(plots.plot_basins(sol, fakes.wells(sol)), tmp_path / "basins")
    with (tmp_path / "basins.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["series"] in "0123" for row in rows) == 256


# comparisons


def test_work_precision_is_marked_by_family() -> None:
    comparison = fakes.comparison()
    ax = plots.plot_work_precision(comparison)
    drawn = lines(ax)
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_xlabel()) == ("log", "log", "gradient evaluations")
    assert {name: line.get_marker() for name, line in drawn.items()} == {
        "strang": "o",
        "yoshida-4": "o",
        "rk4": "s",
        "DOP853": "D",
    }
    assert drawn["DOP853"].is_dashed() and not drawn["strang"].is_dashed()
    np.testing.assert_allclose(np.sort(drawn["rk4"].get_ydata())[::-1], [6e-5, 6e-5 / 16, 6e-5 / 256])
    residual = lines(plots.plot_work_precision(comparison, y="residual"))
    np.testing.assert_allclose(residual["rk4"].get_ydata(), drawn["rk4"].get_ydata() / 3)
    with pytest.raises(ArgumentError, match=r"'time'.*error, residual"):
        plots.plot_work_precision(comparison, y="time")  # type: ignore[arg-type]


def test_work_precision_without_failed_runs_and_with_exact_ones() -> None:
    comparison = fakes.comparison()
    error = comparison.table["error"].copy()
    error[0], error[-1] = np.nan, 0.0
    comparison.table = type(comparison.table)({**dict(comparison.table), "error": error})
    ax = plots.plot_work_precision(comparison)
    assert len(lines(ax)["strang"].get_xdata()) == 2
    assert lines(ax)["DOP853"].get_ydata().min() > 0 and "rounding" in texts(ax)


def test_orders_show_a_mismatch_in_red_and_in_words() -> None:
    ax = plots.plot_orders(fakes.comparison())
    legend = ax.get_figure(root=True).legends[0]
    named = [text.get_text() for text in legend.get_texts()]
    assert named == ["strang: measured 2.00", "yoshida-4: declared 4, measured 2", "rk4: measured 4.00"]
    assert colors.same_color(lines(ax)["yoshida-4"].get_color(), style.MISMATCH)
    assert not colors.same_color(lines(ax)["rk4"].get_color(), style.MISMATCH)
    assert "DOP853" not in lines(ax)  # no step
    x, y = lines(ax)["rk4 fit"].get_data()
    assert np.diff(np.log(y))[0] / np.diff(np.log(x))[0] == pytest.approx(4)
    assert {"2", "4"} <= set(texts(ax))


def test_orders_hold_nothing_against_errors_outside_the_window() -> None:
    comparison = fakes.comparison(("yoshida-4", "rk4"))
    comparison.table = type(comparison.table)({**dict(comparison.table), "error": 1e4 * comparison.table["error"]})
    ax = plots.plot_orders(comparison)
    assert not colors.same_color(lines(ax)["yoshida-4"].get_color(), style.MISMATCH)


# files


def test_save_writes_pictures_numbers_and_origin(tmp_path: Path) -> None:
    ax = plots.plot_energy(fakes.toy())
    png = plots.save(ax, tmp_path / "new" / "energies", title="Braking at 97 % ends in the global minimum", run="demo/3f9a")
    assert sorted(path.name for path in png.parent.iterdir()) == ["energies.csv", "energies.pdf", "energies.png"]
    with Image.open(png) as image:
        assert image.width == int(300 * 84 / 25.4) and image.info["Source"] == "demo/3f9a"
        assert image.info["Software"].startswith("phdyn ")
    pdf = png.with_suffix(".pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf and b"(run demo/3f9a)" in pdf and b"CreationDate" not in pdf
    assert ax.get_figure(root=True).get_suptitle() == ""  # on the saved figure only


def test_saved_numbers_are_those_drawn(tmp_path: Path) -> None:
    run = fakes.toy(0.05)
    plots.save(plots.plot_energy(run), tmp_path / "energies.v2")
    with (tmp_path / "energies.v2.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    potential = [float(row["y"]) for row in rows if row["series"] == "V"]
    np.testing.assert_array_equal(potential, run.energy.potential)
    assert {row["panel"] for row in rows} == {"energy (loss units)"}
    plots.save(plots.plot_phase(run), tmp_path / "phase")
    with (tmp_path / "phase.csv").open(newline="") as file:
        assert {row["panel"] for row in csv.DictReader(file)} == {"energy (loss units)", "momentum p"}
    plots.save(plots.plot_modes(fakes.three_modes()), tmp_path / "modes")
    assert "mode,glide,0.0," in (tmp_path / "modes.csv").read_text()


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    ax = plots.plot_energy(fakes.toy(0.05))
    for name in ("a", "b"):
        plots.save(ax, tmp_path / name, title="The same")
    for suffix in (".png", ".pdf", ".csv"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_save_refuses_before_it_writes(tmp_path: Path) -> None:
    ax = plots.plot_modes(fakes.three_modes())
    with pytest.raises(ArgumentError, match="61 characters"):
        plots.save(ax, tmp_path / "modes", title="x" * 61)
    with pytest.raises(ArgumentError, match="Axes of a figure"):
        plots.save([], tmp_path / "modes")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("title", ["Short", "W" * 60])
def test_a_title_fits_the_figure(tmp_path: Path, title: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ax = plots.plot_energy(fakes.toy(0.05))
    figure = ax.get_figure(root=True)
    seen = []
    monkeypatch.setattr(figure, "savefig", lambda *_, **__: seen.append(figure.texts[-1].get_window_extent().x1))
    plots.save(ax, tmp_path / "energies", title=title)
    assert max(seen) <= figure.bbox.width


def test_a_comparison_read_from_its_tables_looks_the_same() -> None:
    comparison = fakes.comparison()
    bare = SimpleNamespace(table=comparison.table, orders=comparison.orders)
    before, after = (lines(plots.plot_work_precision(each)) for each in (comparison, bare))
    assert {name: line.get_marker() for name, line in after.items()} == {name: line.get_marker() for name, line in before.items()}
    assert "DOP853" not in lines(plots.plot_orders(bare))
