"""Several methods, one reference: errors, orders, verdicts; failures are rows."""

import sys

import numpy as np
import pytest
import torch

import phdyn
from phdyn import studies
from phdyn.errors import ArgumentError, ArgumentTypeError
from phdyn.potentials import DoubleWell, MultiWell, Quadratic

BALL = phdyn.HeavyBall(Quadratic([1.0, 4.0]), friction=0.3)
START = [1.0, -0.5, 0.0, 0.2]
SPAN = (0.0, 2.0)


def exact(t):
    """The damped oscillators in closed form."""
    q, p = [], []
    for s, q0, p0 in ((1.0, 1.0, 0.0), (4.0, -0.5, 0.2)):
        w = np.sqrt(s - 0.15**2)
        decay, b = np.exp(-0.15 * t), (p0 + 0.15 * q0) / w
        q.append(decay * (q0 * np.cos(w * t) + b * np.sin(w * t)))
        p.append(decay * ((b * w - 0.15 * q0) * np.cos(w * t) - (q0 * w + 0.15 * b) * np.sin(w * t)))
    return np.array(q + p)


def test_errors_refer_to_the_closed_form():
    result = studies.compare(BALL, SPAN, START, ("strang", "DOP853"), steps=(0.1, 0.05), rtols=(1e-6,))
    np.testing.assert_allclose(result.reference, exact(2.0), atol=1e-12)
    scale = max(np.linalg.norm(exact(2.0)), np.linalg.norm(START))
    for row in result.table:
        end = result.solutions[row.method, row.setting].y[:, -1]
        assert row.error == pytest.approx(np.linalg.norm(end - exact(2.0)) / scale, rel=1e-6, abs=1e-13)


def test_table_and_orders():
    result = studies.compare(BALL, SPAN, START, ("strang", "rk4", "RK45"), steps=(0.1, 0.05, 0.025), rtols=(1e-3, 1e-6))
    assert result.table.keys() == ("method", "order", "setting", "nfev", "error", "residual", "balance")
    assert result.orders.keys() == ("method", "declared", "measured")
    assert [(row.method, row.setting) for row in result.table] == [
        *(("strang", h) for h in (0.1, 0.05, 0.025)), *(("rk4", h) for h in (0.1, 0.05, 0.025)), ("RK45", 1e-3), ("RK45", 1e-6),
    ]  # fmt: skip
    measured = {row.method: row.measured for row in result.orders}
    assert measured["strang"] == pytest.approx(2, abs=0.05)
    assert measured["rk4"] == pytest.approx(4, abs=0.1)
    assert np.isnan(measured["RK45"])
    assert set(result.table["balance"]) == {"balanced"}
    row = result.table[0]
    assert row.nfev == result.solutions["strang", 0.1].nfev
    assert row.residual == result.solutions["strang", 0.1].energy_balance().residual
    assert str(result).count("\n") == 1 + 8
    assert "measured orders (declared): strang 2.00 (2), rk4" in str(result)


def test_order_is_that_of_the_finest_pair_above_rounding():
    result = studies.compare(BALL, SPAN, START, ["blanes-moan-6"], steps=(0.005, 1.0, 0.5, 0.25))
    errors = dict(zip(result.table["setting"], result.table["error"], strict=True))
    assert errors[0.005] < 1e-12 < errors[0.25]
    assert result.orders[0].measured == pytest.approx(np.log2(errors[0.5] / errors[0.25]))


def test_settings_of_their_own():
    result = studies.compare(BALL, SPAN, START, {"strang": (0.2, 0.1), "RK45": (1e-5,)})
    assert [(row.method, row.setting, row.option) for row in result.table] == [
        ("strang", 0.2, "step"), ("strang", 0.1, "step"), ("RK45", 1e-5, "rtol"),
    ]  # fmt: skip


def test_reference_knows_the_switch():
    friction = phdyn.SwitchedFriction(explore=0.05, exploit=3.0, goal=phdyn.LossGoal(reduction=0.6))
    ball = phdyn.HeavyBall(MultiWell(), friction=friction)
    result = studies.compare(ball, (0.0, 3.0), phdyn.at_rest([7.2]), ("strang", "blanes-moan-4"), steps=(0.04, 0.02))
    assert len(result.solutions["strang", 0.02].switches) == 1
    measured = {row.method: row.measured for row in result.orders}
    assert measured["strang"] == pytest.approx(2, abs=0.1)
    assert measured["blanes-moan-4"] == pytest.approx(4, abs=0.3)


def test_a_given_reference():
    fine = phdyn.simulate(BALL, SPAN, START, method="blanes-moan-6", step=0.02)
    by_solution = studies.compare(BALL, SPAN, START, ["strang"], steps=(0.1,), reference=fine)
    by_array = studies.compare(BALL, SPAN, START, ["strang"], steps=(0.1,), reference=exact(2.0))
    assert by_solution.table[0].error == pytest.approx(by_array.table[0].error, rel=1e-8)
    without = studies.compare(BALL, SPAN, START, ["strang"], steps=(0.1,), reference=None)
    assert np.isnan(without.table[0].error)
    assert without.table[0].balance == "balanced"


def test_a_stiff_system_gets_a_reference_too(monkeypatch):
    monkeypatch.setattr(sys.modules["phdyn.studies.compare"], "_BUDGET", 500)
    ball = phdyn.HeavyBall(Quadratic([1.0, 1e6]), friction=1.0)
    result = studies.compare(ball, (0.0, 1.0), [1.0, 0.0, 0.0, 0.0], ["strang"], steps=(1e-3,))
    w = np.sqrt(0.75)
    q = np.exp(-0.5) * (np.cos(w) + 0.5 / w * np.sin(w))
    assert result.reference[0] == pytest.approx(q, abs=1e-9)


def test_plain_functions_are_compared_without_energy():
    result = studies.compare(lambda t, x: -x, (0.0, 1.0), [1.0], ("rk4", "RK45"), steps=(0.1,), rtols=(1e-6,))
    assert result.table[0].error == pytest.approx(3.3e-7, rel=0.1)
    assert result.table[0].balance == "none"
    assert np.isnan(result.table[0].residual)


def test_failures_are_rows():
    ball = phdyn.HeavyBall(DoubleWell(), friction=0.1)
    result = studies.compare(ball, (0.0, 50.0), [1.5, 0.0], ("explicit-euler", "strang"), steps=(2.0, 0.01))
    rows = {(row.method, row.setting): row for row in result.table}
    failed = rows["explicit-euler", 2.0]
    assert np.isnan(failed.error)
    assert failed.balance == "status -2"
    assert failed.nfev > 0
    assert "after t = " in result.messages["explicit-euler", 2.0]
    assert "after t = " in str(result)
    assert rows["strang", 0.01].balance == "balanced"


def test_refused_steps_are_rows_unless_all_are():
    ball = phdyn.HeavyBall(Quadratic([1.0]), friction=30.0)
    result = studies.compare(ball, (0.0, 2.0), [1.0, 0.0], ["yoshida-4", "strang"], steps=(0.5,))
    assert result.table[0].balance == "refused"
    assert ("yoshida-4", 0.5) not in result.solutions
    assert "runs friction backwards" in result.messages["yoshida-4", 0.5]
    with pytest.raises(ArgumentError, match="runs friction backwards"):
        studies.compare(ball, (0.0, 2.0), [1.0, 0.0], ["yoshida-4"], steps=(0.5,))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"methods": ["strange"], "steps": (0.1,)}, "did you mean 'strang'"),
        ({"methods": [], "steps": (0.1,)}, "needs methods"),
        ({"methods": ["strang", "strang"], "steps": (0.1,)}, "each once"),
        ({"methods": ["strang"], "rtols": (1e-3,)}, "'strang' needs steps"),
        ({"methods": ["RK45"], "steps": (0.1,)}, "'RK45' needs rtols"),
        ({"methods": ["strang"], "steps": (0.1, 0.1)}, "different positive"),
        ({"methods": ["strang"], "steps": (-0.1,)}, "different positive"),
        ({"methods": ["strang"], "steps": (0.1,), "reference": "best"}, "pass 'auto'"),
        ({"methods": ["strang"], "steps": (0.1,), "reference": [1.0]}, r"shape \(1,\)"),
    ],
)
def test_wrong_arguments(arguments, match):
    with pytest.raises(ArgumentError, match=match):
        studies.compare(BALL, SPAN, START, **arguments)


def test_methods_are_a_sequence():
    with pytest.raises(ArgumentTypeError, match="sequence"):
        studies.compare(BALL, SPAN, START, "strang", steps=(0.1,))


def test_methods_must_fit_the_system():
    with pytest.raises(ArgumentError, match="needs positions and momenta"):
        studies.compare(lambda t, x: -x, (0.0, 1.0), [1.0], ["strang"], steps=(0.1,))


def test_float32_has_no_tight_reference():
    with pytest.raises(ArgumentError, match="float64"):
        studies.compare(BALL, SPAN, torch.tensor(START), ["strang"], steps=(0.1,))


def test_an_interrupted_run_stops_the_comparison(monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(Quadratic, "value_and_grad", interrupted)
    with pytest.raises(KeyboardInterrupt):
        studies.compare(BALL, SPAN, START, ["strang"], steps=(0.1,), reference=None)
