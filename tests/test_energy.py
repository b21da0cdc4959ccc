"""The energy account closes, its verdict flags what is wrong and nothing else, and streaming does not change it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import verdict_cases
from hypothesis import given, settings
from hypothesis import strategies as st

import phdyn
from phdyn.energy import ROWS, Account, Sums
from phdyn.motion import Knot
from phdyn.potentials import MultiWell, Quadratic

OSCILLATOR = phdyn.HeavyBall(Quadratic([1.0]), friction=0.2)


def oscillate(method: str = "strang", t_end: float = 10.0, **options: Any) -> phdyn.Solution:
    options = options or {"step": 0.05}
    return phdyn.simulate(OSCILLATOR, (0.0, t_end), [1.0, 0.0], method=method, **options)


# --- the verdict ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", verdict_cases.controls(), ids=lambda case: f"{case.what}, {case.method}")
def test_a_fault_is_flagged(case: verdict_cases.Case) -> None:
    balance = case.run(case.method, case.setting).energy_balance()
    assert balance.verdict == "violated"
    assert not balance.holds
    assert balance.reason


AFFORDABLE = [case for case in verdict_cases.healthy() if case.method != "explicit-euler" or case.what == "pendulum"]


@pytest.mark.parametrize("case", AFFORDABLE, ids=lambda case: f"{case.what}, {case.method}")
def test_a_healthy_run_is_not(case: verdict_cases.Case) -> None:
    sol = case.run(case.method, case.setting)
    assert sol.success
    assert sol.energy_balance().holds


def test_without_the_fault_the_control_would_pass() -> None:
    system = phdyn.HeavyBall(verdict_cases.Pendulum(), friction=0.1)
    for method, setting in verdict_cases.FAMILIES:
        assert verdict_cases.over_applied(1.0, system, 40.0, [1.5, 0.0])(method, setting).energy_balance().verdict == "balanced"


def test_loose_tolerances_miss_the_work_of_weak_friction() -> None:
    """Measured in advance: slope -0.42, residual 0.066 where 0.15 are dissipated."""
    weak = phdyn.HeavyBall(verdict_cases.Pendulum(), friction=1e-3)
    loose = phdyn.simulate(weak, (0.0, 200.0), [1.5, 0.0], method="RK45", rtol=1e-3, atol=1e-6, monitor=None).energy_balance()
    assert loose.verdict == "violated"
    assert loose.slope == pytest.approx(-0.42, abs=0.02)
    assert loose.residual == pytest.approx(0.066, rel=0.05)
    tight = phdyn.simulate(weak, (0.0, 200.0), [1.5, 0.0], method="RK45", rtol=1e-8, atol=1e-10).energy_balance()
    assert tight.verdict == "balanced"


# --- the account ----------------------------------------------------------------------------------------------------------------------


def test_dissipated_work_is_the_exact_one() -> None:
    """q = exp(-0.1 t) (cos w t + 0.1/w sin w t): what is left of H at t = 10 fixes the work."""
    w = np.sqrt(0.99)
    decay, phase = np.exp(-1.0), 10 * w
    q, p = decay * (np.cos(phase) + 0.1 / w * np.sin(phase)), -decay / w * np.sin(phase)
    tight = {"rtol": 1e-11, "atol": 1e-13}
    for method, options in (("blanes-moan-6", {"step": 0.1}), ("DOP853", tight), ("dopri5", tight)):
        energy = oscillate(method, **options).energy
        assert energy.dissipated[-1] == pytest.approx(0.5 - (q * q + p * p) / 2, abs=1e-9)


def test_the_columns_belong_together() -> None:
    energy = oscillate().energy
    np.testing.assert_array_equal(energy.hamiltonian, energy.kinetic + energy.potential)
    want = energy.hamiltonian - energy.hamiltonian[0] + energy.dissipated - energy.supplied - energy.injected
    np.testing.assert_allclose(energy.residual, want, atol=1e-15)
    assert (np.diff(energy.dissipated) > 0).all()
    with pytest.raises(ValueError, match="read-only"):
        energy.t[0] = 1.0


def test_backward_in_time_dissipated_work_falls_and_that_is_no_violation() -> None:
    sol = phdyn.simulate(OSCILLATOR, (5.0, 0.0), [0.5, 0.1], method="strang", step=0.02)
    assert sol.energy.dissipated[-1] < 0
    assert sol.energy_balance().verdict == "balanced"


def test_gradient_flow_has_its_loss_as_energy() -> None:
    flow = phdyn.GradientFlow(Quadratic([1.0, 3.0]))
    sol = phdyn.simulate(flow, (0.0, 2.0), [1.0, 1.0], rtol=1e-10, atol=1e-12)
    exact = (np.exp(-4.0) + 3 * np.exp(-12.0)) / 2
    assert sol.energy.potential[-1] == pytest.approx(exact, abs=1e-9)
    assert sol.energy.dissipated[-1] == pytest.approx(2.0 - exact, abs=1e-8)
    assert not sol.energy.kinetic.any()


def test_a_plain_function_has_no_account() -> None:
    sol = phdyn.simulate(lambda t, x: -x, (0.0, 1.0), [1.0])
    assert sol.energy is None
    with pytest.raises(phdyn.ArgumentError, match="no energy"):
        sol.energy_balance()


def test_the_verdict_does_not_depend_on_what_is_recorded() -> None:
    balances = [oscillate(step=0.05, record=record).energy_balance() for record in ("states", "energy", "ends")]
    assert balances[0] == balances[1] == balances[2]


def test_long_runs_keep_a_bounded_number_of_rows_the_last_among_them() -> None:
    sol = oscillate(t_end=601.23, step=0.05, record="energy")
    assert sol.nsteps > 2 * ROWS
    assert ROWS / 2 <= len(sol.energy.t) <= ROWS + 1
    assert sol.energy.t[0] == 0.0
    assert sol.energy.t[-1] == 601.23
    assert (np.diff(sol.energy.t) > 0).all()
    np.testing.assert_allclose(np.diff(sol.energy.t)[:-1], np.diff(sol.energy.t)[0], rtol=1e-9)  # one stride
    dense = oscillate(t_end=601.23, step=0.05)
    at = np.searchsorted(dense.energy.t, sol.energy.t)
    np.testing.assert_array_equal(dense.energy.residual[at], sol.energy.residual)


# --- streaming ------------------------------------------------------------------------------------------------------------------------

ROW = st.tuples(st.floats(0.01, 1.0), st.floats(0.0, 5.0), st.floats(-2.0, 5.0), st.floats(0.0, 0.5), st.floats(-0.2, 0.2))


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW, min_size=3, max_size=80), cut=st.integers(1, 79))
def test_streamed_statistics_equal_direct_ones(rows: list[tuple[float, ...]], cut: int) -> None:
    account = Account(Knot(0.0, None, 1.0, 0.5, 0.0, None), keep="all", split=True, backward=False)
    t = 0.0
    for k, (h, kinetic, potential, dissipated, supplied) in enumerate(rows):
        t += h
        account.post(t, kinetic, potential, dissipated, supplied)
        if k + 1 == cut:
            account.flush()
    energy, sums = account.energy(), account.sums
    w, work, residual = np.diff(energy.t), energy.dissipated[1:], energy.residual[1:]
    mean_work, mean_residual = np.average(work, weights=w), np.average(residual, weights=w)
    variance = np.average((work - mean_work) ** 2, weights=w)
    covariance = np.average((work - mean_work) * (residual - mean_residual), weights=w)
    assert sums.steps == len(rows)
    if variance > 1e-9:
        assert sums.slope(1)[0] == pytest.approx(covariance / variance, rel=1e-6, abs=1e-9)
    assert sums.largest == np.abs(energy.residual).max()
    assert sums.highest[0] == energy.kinetic.max()
    assert sums.lowest[1] == energy.potential.min()
    assert sums.total == pytest.approx(sum(row[3] for row in rows))


def test_no_steps_no_complaint() -> None:
    assert Sums().slope(1) == (0.0, 0.0)


# --- the live monitor -----------------------------------------------------------------------------------------------------------------

FEEDING = phdyn.HeavyBall(MultiWell(), friction=phdyn.ScheduledFriction(lambda t: -0.1))


def fed(**options: Any) -> phdyn.Solution:
    return phdyn.simulate(FEEDING, (0.0, 10.0), phdyn.at_rest([7.2]), method="strang", step=0.02, **options)


def test_the_monitor_warns_once() -> None:
    with pytest.warns(phdyn.EnergyWarning, match="not passive") as caught:
        warned = fed()
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        silent = fed(monitor=None)
    np.testing.assert_array_equal(warned.y, silent.y)


def test_the_monitor_raises_early_with_what_was_computed() -> None:
    with pytest.raises(phdyn.EnergyBalanceError, match="not passive") as caught:
        fed(monitor="raise")
    assert caught.value.solution.nsteps == 64
    assert len(caught.value.solution.t) == 65


def test_the_balance_prints_its_reason() -> None:
    text = str(fed(monitor=None).energy_balance())
    assert text.startswith("energy balance VIOLATED: strang, order 2, step 0.02, float64\n")
    assert "dissipated" in text
    assert text.splitlines()[-1].strip().startswith("not passive")
