"""The study of discretizations: each part against what is known in advance, and the whole on a small configuration."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot as plt

import phdyn
from phdyn import plots, runs
from phdyn.methods import ButcherTableau, Splitting, get
from phdyn.methods.oscillator import boundary, radius
from phdyn.studies import discretizations as study
from phdyn.studies.compare import compare, gradients_at
from phdyn.studies.discretizations import config as configuration
from phdyn.studies.discretizations.modified import slopes
from phdyn.studies.discretizations.precision import envelope, settings_of
from phdyn.studies.discretizations.stability import largest_steps
from phdyn.studies.single import Friction, Landscape, Network, System
from phdyn.tables import Row, Table

SMALL = study.Config(
    system=System(potential=Landscape("rosenbrock"), friction=Friction(0.5)),
    q0=(-0.5, 0.4),
    t_span=(0.0, 1.0),
    orders=study.Orders(("strang", "rk4"), (0.3,)),
    precision=study.Precision(
        ("strang", "blanes-moan-4", "gonzalez", "RK45", "DOP853", "dopri5"), (64, 128, 256, 512), (0.02, 0.01), (1e-2, 1e-4, 1e-6)
    ),
    structure=study.Structure(("strang", "rk4"), (0.4, 0.2)),
    stability=study.Stability(("strang",), ("strang", "rk4"), (0.0, 1.0), points=6),
    long_run=study.Long(("kepler",), {"strang": 0.2}, 20.0),
    equations=study.Equations((0.02, 0.01)),
)


# --- (b) work and precision -----------------------------------------------------------------------------------------------------------
def rows(*points):
    return [Row(nfev=nfev, error=error, balance="balanced") for nfev, error in points]


def test_gradients_to_an_error_are_those_from_which_on_it_stays_below():
    points = rows((10, 1.0), (20, 1e-3), (40, 1e-1), (80, 1e-4), (160, 1e-5))
    assert gradients_at(points, 1e-2) == pytest.approx(40 * 2 ** (1 / 3))  # not the lucky 20
    assert np.isnan(gradients_at(points, 1e-6))
    assert gradients_at(points, 2.0) == 10
    assert gradients_at([*points, Row(nfev=5, error=np.nan, balance="status -2")], 2.0) == 10
    assert gradients_at(rows((10, np.nan), (20, 1e-3)), 1e-2) == 20  # the one before had failed
    assert np.isnan(gradients_at([], 1e-2))


def test_the_envelope_is_the_cheapest_of_phdyns_methods():
    part = study.Precision(("strang", "rk4", "RK45", "DOP853", "dopri5"), targets=(1e-2,))
    columns = {"strang": (30, 60), "rk4": (40, 50), "RK45": (80, 90), "DOP853": (70, 75), "dopri5": (90, 95)}
    table = Table(
        {
            "method": np.repeat(list(columns), 2),
            "nfev": [n for pair in columns.values() for n in pair],
            "error": [1e-1, 1e-3] * 5,
            "balance": ["balanced"] * 10,
        }
    )
    (row,) = envelope(table, part)
    assert row.cheapest == "strang"
    assert row.gradients == pytest.approx((30 * 60) ** 0.5)
    assert getattr(row, "ratio to RK45") == pytest.approx((30 * 60 / 80 / 90) ** 0.5)


def test_steps_follow_from_the_gradients():
    part = study.Precision(("strang", "blanes-moan-6", "gonzalez", "RK45"), (110, 220), (0.5,), (1e-3,), settings={"RK45": (1e-5,)})
    found = settings_of(part, 20.0)
    assert found == {"strang": (20 / 110, 20 / 220), "blanes-moan-6": (2.0, 1.0), "gonzalez": (0.5,), "RK45": (1e-5,)}


def test_a_comparison_says_how_long_runs_took():
    result = compare(phdyn.HeavyBall(phdyn.potentials.Quadratic([1.0])), (0, 1), [1.0, 0.0], ["strang"], steps=(0.1, 0.05))
    assert (result.table["seconds"].astype(float) > 0).all()
    assert "seconds" not in result.table.keys()  # noqa: SIM118 (rows are what it iterates)


# --- (d) structure --------------------------------------------------------------------------------------------------------------------
def test_defects_are_those_of_the_literature():
    """METHODS 5: RK4 4.6e-6 at h = 0.2 from another start; here the order of the defect, and factors in closed form."""
    table = study.symplecticity(["strang", "sgd", "rk4", "explicit-euler", "gonzalez"], [0.2, 0.1])
    cells = {(row.method, row.step): row for row in table}
    assert cells["strang", 0.2].defect < 1e-13 > abs(cells["strang", 0.2].off)
    assert cells["sgd", 0.2].defect < 1e-13
    assert cells["sgd", 0.2].factor == pytest.approx(1 - 0.3 * 0.2, abs=1e-13)
    for name, order in {"rk4": 4.5, "explicit-euler": 2.0, "gonzalez": 2.9}.items():
        assert np.log2(cells[name, 0.2].defect / cells[name, 0.1].defect) == pytest.approx(order, abs=0.2)
    assert cells["rk4", 0.2].flow == pytest.approx(np.exp(-0.06))


def test_a_step_that_depends_on_the_state_is_not_conformally_symplectic():
    """Why splittings keep fixed steps (docs/methods.md): Strang with h(q) = 0.2/(1 + |q|^2), friction 0.3."""
    from phdyn.methods.one_step import OneStep
    from phdyn.studies.discretizations.symplecticity import HenonHeiles, derivative

    step = OneStep(get("strang"), phdyn.HeavyBall(HenonHeiles(), friction=0.3), 4)
    form = np.block([[np.zeros((2, 2)), np.eye(2)], [-np.eye(2), np.zeros((2, 2))]])

    def defect(length):
        matrix = derivative(lambda x: step(x, length(x)), np.array([0.3, 0.2, 0.1, -0.2]))
        pulled = matrix.T @ form @ matrix
        return np.abs(pulled - np.sum(form * pulled) / 4 * form).max()

    assert defect(lambda x: 0.2) < 1e-13
    assert 1e-3 < defect(lambda x: 0.2 / (1 + x[:2] @ x[:2])) < 1e-1


# --- (e) stability --------------------------------------------------------------------------------------------------------------------
TABLE = {  # METHODS 3.2: the first step that is unstable
    "strang": (2.00, 2.08, 2.57, 3.18, 4.47, 6.32, 7.75, 10.0),
    "blanes-moan-s6": (3.14, 8.26, 8.74, 9.06, 9.78, 10.1, 3.78, 1.14),
    "blanes-moan-4": (5.04, 5.04, 5.12, 5.24, 5.64, 0.82, 0.18, 0.0),
    "blanes-moan-6": (9.08, 9.10, 9.22, 9.36, 9.72, 10.7, 2.78, 0.56),
    "yoshida-4": (1.57, 1.55, 1.57, 0.79, 0.13, 0.0, 0.0, 0.0),
}


@pytest.mark.parametrize("name", TABLE)
def test_largest_steps_are_those_measured_in_advance(name):
    np.testing.assert_allclose(largest_steps(name, (0, 1, 3, 5, 10, 20, 30, 50)), TABLE[name], atol=0.0301)


@pytest.mark.parametrize("name", ["strang", "sgd", "explicit-euler", "rk4", "yoshida-4", "blanes-moan-6", "implicit-damping", "chin-4"])
@pytest.mark.parametrize("friction", [0.1, 1.0, 3.0])
def test_steps_lose_stability_at_the_boundary(name, friction):
    """The boundary comes from a formula, or from coefficients; the radius from steps that the method takes."""
    limit = boundary(name)(friction)
    assert radius(name, 0.999 * limit, friction) <= 1 + 1e-7 < radius(name, 1.001 * limit, friction)


def test_boundaries_of_other_methods():
    heun = ButcherTableau("heun", 2, ((), (1.0,)), (0.5, 0.5), (0.0, 1.0), "Heun 1900")
    assert boundary(heun)(3.0) == pytest.approx(2 / ((3 + 5**0.5) / 2), rel=1e-6)  # the real axis, overdamped
    assert boundary(Splitting("mine", 2, (), (), "here"))(1.0) == pytest.approx(boundary("strang")(1.0), rel=1e-6)
    assert boundary("implicit-midpoint") is None
    assert boundary("strang")(30.0) == pytest.approx(60.0, rel=1e-6)  # 2 gamma


# --- (f) the long run -----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("problem", ["pendulum", "kepler", "damped-pendulum"])
def test_energy_drifts_with_runge_kutta_alone(problem):
    assert study.long_run(problem, "strang", 0.1, 200).growth < 1.001
    drifting = study.long_run(problem, "rk4", 0.2, 200)
    assert drifting.growth == pytest.approx(10, rel=0.1)
    assert len(drifting.periods) == len(drifting.envelope)
    assert drifting.periods[-1] == pytest.approx(200, rel=1e-3)
    assert np.isfinite(drifting.slope) == (problem == "damped-pendulum")


def test_the_envelope_is_the_largest_residual_of_one_run():
    found = study.long_run("pendulum", "strang", 0.1, 30)
    task = study.long_run.__globals__["problem"]("pendulum")
    whole = phdyn.simulate(phdyn.HeavyBall(task.potential), (0, found.periods[-1] * task.period), task.start, method="strang", step=0.1)
    assert found.envelope[-1] == pytest.approx(whole.energy_balance().residual / whole.energy_balance().swing, rel=1e-9)
    late = np.flatnonzero(whole.t * (1 + 1e-12) >= 3 * task.period)[0]
    assert task.period == pytest.approx(whole.t[late + np.argmin(np.abs(whole.q[0, late:] - 2.0)[:40])] / 3, rel=0.01)


def test_a_long_run_that_stops_says_why():
    found = study.long_run("kepler", "explicit-euler", 3.0, 1e4)
    assert found.outcome == "done" or "status" in found.outcome
    with pytest.raises(phdyn.ArgumentError, match="'comet': there are pendulum, kepler, damped-pendulum"):
        study.long_run("comet", "strang", 0.1, 10)


# --- (g) modified equations -----------------------------------------------------------------------------------------------------------
def test_slopes_of_kovachki_and_stuart():
    found = slopes(study.modified([0.0025, 0.00125, 0.000625]))
    assert found["flow"] == pytest.approx(1, abs=0.05)
    assert found["damped equation"] == pytest.approx(2, abs=0.1)
    assert found["perturbed flow"] == pytest.approx(2, abs=0.05)


# --- the whole ------------------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return study.run(SMALL, tmp_path_factory.mktemp("runs"), workers=1)


def test_it_leaves_tables_and_figures(done):
    wanted = {"orders", "system_orders", "precision", "costs", "envelope", "residual_parts", "symplecticity", "stability", "stability_maps"}
    assert set(done.tables) == wanted | {"long_run", "long_run_curves", "modified"}
    names = {path.stem for path in done.figures}
    work = {"work_precision", "work_time", "work_residual", "orders", "residuals"}
    assert names == work | {"symplecticity", "stability", "long_run", "modified"}
    assert all(path.with_suffix(".pdf").is_file() and path.with_suffix(".csv").stat().st_size > 30 for path in done.figures)
    assert done.failures == ()
    assert len(done.tables["precision"]) == 2 * 4 + 2 + 3 * 3
    assert {row.method for row in done.tables["residual_parts"]} == {"strang", "blanes-moan-4"}


def test_the_report_comes_from_the_folder_alone(done):
    text = study.report(runs.open_run(done.folder))
    for heading in "(a) order", "(b) work", "cheapest", "(c) where", "(d) defect", "(e) largest", "(f) largest", "(g) distance":
        assert heading in text
    assert max(len(line) for line in text.splitlines() if str(done.folder) not in line) < 145
    assert "nan" not in text.split("(d) defect")[1]


def test_the_reference_is_kept_and_used_again(done, tmp_path, monkeypatch):
    kept = list((done.folder.parent / "references").glob("*.npz"))
    assert len(kept) == 1
    only = replace(SMALL, orders=None, structure=None, stability=None, long_run=None, equations=None)
    monkeypatch.setattr("phdyn.studies.discretizations.precision.reference_end", lambda *_: pytest.fail("computed again"))
    other = replace(only.precision, methods=("strang",), gradients=(64, 128))
    again = study.run(replace(only, precision=other), done.folder.parent)
    assert set(again.tables) == {"system_orders", "precision", "costs", "envelope", "residual_parts"}
    assert np.isfinite(again.tables["precision"]["error"]).all()
    assert list((done.folder.parent / "references").glob("*.npz")) == kept


def test_the_residual_parts_are_those_of_their_runs(done):
    table = done.tables["residual_parts"]
    shown = json.loads((done.folder / "numbers.json").read_text())["precision"]["shown"]
    for row in table:
        assert shown[row.method] == row.step
        found = [one for one in done.tables["precision"] if (one.method, one.setting) == (row.method, row.step)]
        assert row.residual == pytest.approx(found[0].residual, rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"orders": study.Orders(())}, "orders.methods is"),
        ({"orders": study.Orders(("strange",))}, "unknown method 'strange'"),
        ({"precision": study.Precision(("strang",), settings={"rk4": (0.1,)})}, "none of precision.methods"),
        ({"precision": study.Precision(("strang",), gradients=(0,))}, "precision.gradients is .* positive numbers"),
        ({"precision": study.Precision(("fire",))}, "'fire', which does not move"),
        ({"structure": study.Structure(("RK45",))}, "chooses its steps"),
        ({"stability": study.Stability(mapped=(*configuration._MAPPED, "gauss-4"))}, "eight at most"),
        ({"stability": study.Stability(frictions=(3.0, 0.1))}, "the least and the largest"),
        ({"long_run": study.Long(("comet",))}, "long_run.problems has 'comet'"),
        ({"long_run": study.Long(())}, "long_run.problems is empty"),
        ({"long_run": study.Long(("kepler",), {"strang": 30.0})}, "shorter ones than the period of the kepler"),
        ({"orders": study.Orders(("LSODA",))}, "'LSODA', which has no order at fixed steps"),
        ({"orders": study.Orders(("fire",))}, "'fire', which has no order"),
        ({"long_run": study.Long(periods=1.0)}, "at least 10"),
        ({"equations": study.Equations((0.3, 0.1))}, "divide 1"),
        ({"equations": study.Equations(momentum=1.0)}, r"in \(0, 1\)"),
        ({"q0": None}, "needs q0"),
        ({"system": System(network=Network(), potential=Landscape("rosenbrock"))}, "either a potential or a network"),
    ],
)
def test_what_would_fail_late_is_refused_and_nothing_written(changes, message, tmp_path):
    with pytest.raises(phdyn.ArgumentError, match=message):
        study.run(replace(SMALL, **changes), tmp_path)
    assert not list(tmp_path.iterdir())


def test_refused_workers(tmp_path):
    with pytest.raises(phdyn.ArgumentError, match="workers is -1"):
        study.run(SMALL, tmp_path, workers=-1)


# --- figures --------------------------------------------------------------------------------------------------------------------------
def test_a_stability_map_shows_its_boundary():
    one = study.stability_map("strang", np.linspace(0.5, 5, 10), np.geomspace(0.1, 10, 5))
    ax = plots.plot_stability(one)
    (line,) = ax.get_lines()
    np.testing.assert_allclose(line.get_xdata(), one.boundary)
    assert "γ/ω" in ax.get_ylabel()
    assert len(ax.get_figure().axes) == 2  # a colour bar
    plt.close("all")
    unsolved = replace(one, radius=np.full_like(one.radius, np.nan), boundary=None)
    assert not plots.plot_stability(unsolved).get_lines()
    plt.close("all")


def test_figures_of_the_other_parts(done):
    curves = done.tables["long_run_curves"]
    ax = plots.plot_long_run(curves)
    assert [line.get_label() for line in ax.get_lines()] == ["strang", "_slope 0.5", "_slope 1"]
    ax = plots.plot_modified(done.tables["modified"])
    assert len(ax.get_lines()) == 3
    assert len({line.get_marker() for line in ax.get_lines()}) == 3
    ax = plots.plot_symplecticity(done.tables["symplecticity"])
    assert [line.get_label() for line in ax.get_lines()] == ["strang", "rk4"]
    plt.close("all")


def test_work_against_time(done):
    from types import SimpleNamespace

    comparison = SimpleNamespace(table=done.tables["precision"], solutions={})
    ax = plots.plot_work_precision(comparison, x="time")
    assert "time" in ax.get_xlabel()
    assert get("strang").name in {line.get_label() for line in ax.get_lines()}
    with pytest.raises(phdyn.ArgumentError, match="x = 'steps'"):
        plots.plot_work_precision(comparison, x="steps")
    plt.close("all")
