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
from phdyn.energy import ROWS, Account, RowAccount, RowSums, Sums
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


# --- jumps ----------------------------------------------------------------------------------------------------------------------------


def account_of(kinetic: Any, potential: Any, **options: Any) -> Account:
    settings_ = {"keep": "all", "split": True, "backward": False} | options
    return Account(Knot(0.0, None, potential, kinetic, 0.0, None), **settings_)


@pytest.mark.parametrize("flushed", [True, False])
def test_a_jump_replaces_the_row_at_its_time(flushed: bool) -> None:
    account = account_of(0.5, 1.0)
    account.post(1.0, 0.8, 0.5, 0.2, 0.0)
    if flushed:
        account.flush()
    account.jump(0.0, 0.5, -0.8)
    account.post(2.0, 0.1, 0.35, 0.05, 0.0)
    energy = account.energy()
    np.testing.assert_array_equal(energy.t, [0.0, 1.0, 2.0])
    np.testing.assert_array_equal(energy.kinetic, [0.5, 0.0, 0.1])
    np.testing.assert_array_equal(energy.injected, [0.0, -0.8, -0.8])
    np.testing.assert_allclose(energy.residual, 0.0, atol=1e-15)
    assert account.sums.steps == 2 and account.sums.weight == 2.0 and account.sums.lowest[0] == 0.0


def test_a_jump_at_the_start_and_one_that_is_not_kept() -> None:
    account = account_of(0.5, 1.0)
    account.jump(0.0, 1.0, -0.5)
    np.testing.assert_array_equal(account.energy().hamiltonian, [1.0])
    assert account.first[1] == 0.5 and account.sums.steps == 0
    ends = account_of(0.5, 1.0, keep="ends")
    ends.post(1.0, 0.4, 1.1, 0.0, 0.0)
    ends.jump(0.0, 1.1, -0.4)
    np.testing.assert_array_equal(ends.energy().kinetic, [0.5, 0.0])
    np.testing.assert_allclose(ends.energy().residual, 0.0, atol=1e-15)


# --- batches --------------------------------------------------------------------------------------------------------------------------

COLUMNS = ("kinetic", "potential", "hamiltonian", "dissipated", "supplied", "injected", "residual")


def random_steps(count: int, steps: int, seed: int = 0, *, low: float = -1.0) -> list[tuple[Any, ...]]:
    """Return (t, T, V, dissipated, supplied) of each step."""
    rng = np.random.default_rng(seed)
    t = np.cumsum(rng.uniform(0.1, 1.0, steps))
    works = (rng.uniform(0.0, 0.5, count), rng.uniform(-0.2, 0.2, count))
    return [(float(s), rng.uniform(0, 2, count), rng.uniform(low, 3, count), works[0] * rng.random(), works[1] * rng.random()) for s in t]


def alone(steps: list[tuple[Any, ...]], k: int, until: int, **options: Any) -> Account:
    account = account_of(0.3 * k, 1.0 + k, **options)
    for t, *columns in steps[:until]:
        account.post(t, *(float(column[k]) for column in columns))
    return account


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("ending", [False, True])
@pytest.mark.parametrize("low", [-1.0, 0.5])
def test_a_row_of_a_batch_has_the_account_of_its_single_run(backward: bool, ending: bool, low: float) -> None:
    count, steps = 5, random_steps(5, 40, low=low)
    steps[7][3][2] = -0.3  # friction feeds energy in
    until = np.array([40, 25, 40, 1, 0]) if ending else np.full(count, 40)
    batch = account_of(0.3 * np.arange(count), 1.0 + np.arange(count), backward=backward)
    assert isinstance(batch, RowAccount) and batch.batch == count
    for number, (t, *columns) in enumerate(steps):
        live = until > number
        posted = [np.where(live, column, np.nan) for column in columns]
        batch.post(t, *posted, live=live if ending else None)
        for column in posted if ending else posted[2:]:
            column[:] = np.nan  # the run's own buffers
    energy, balance, figures = batch.energy(), batch.balance("order", "strang", 1e-16), batch.figures()
    for k in range(count):
        single = alone(steps, k, until[k], backward=backward)
        mine = single.energy()
        np.testing.assert_array_equal(energy.t[: until[k] + 1], mine.t)
        for name in COLUMNS:
            column = getattr(energy, name)[k]
            np.testing.assert_allclose(column[: until[k] + 1], getattr(mine, name), atol=1e-14)
            np.testing.assert_array_equal(column[until[k] :], column[-1])
        for name, number in zip(figures._fields, single.figures(), strict=True):
            if name == "scale" and not until[k]:
                continue  # a single run knows it from its first step on
            np.testing.assert_allclose(getattr(figures, name)[k], number[0], rtol=1e-9, atol=1e-12, err_msg=name)
        want = single.balance("order", "strang", 1e-16)
        assert balance[k].verdict == want.verdict and str(balance[k]) == str(want)
    assert not energy.residual.flags.writeable and energy.hamiltonian.shape == (count, 41)


def test_statistics_of_a_row_become_those_of_a_single_run_and_back() -> None:
    steps = random_steps(4, 30)
    batch = account_of(0.3 * np.arange(4), 1.0 + np.arange(4), keep="ends")
    for t, *columns in steps:
        batch.post(t, *columns)
    sums = batch.settled()
    singles = [alone(steps, k, 30) for k in range(4)]
    merged = RowSums.merged([one.figures() and one.sums for one in singles], [(0.0, 0.0)] * 4, 0.0)
    for name, number in zip(merged.figures()._fields, zip(merged.figures(), batch.figures(), strict=True), strict=True):
        np.testing.assert_allclose(*number, rtol=1e-9, err_msg=name)
    for name, column in vars(sums).items():
        np.testing.assert_allclose(getattr(merged, name), column, rtol=1e-9, atol=1e-12, err_msg=name)
    later = RowSums.merged([one.sums for one in singles], [(0.0, 0.0)] * 4, 3.0)
    np.testing.assert_allclose(later.figures().drift, merged.figures().drift)
    np.testing.assert_allclose([later[k].mean for k in range(4)], [one.sums.mean for one in singles])
    for k, single in enumerate(singles):
        np.testing.assert_allclose(sums[k].mean, single.sums.mean)
        np.testing.assert_allclose(sums[k].moments[2], single.sums.moments[2] * [1, 1, 1], rtol=1e-9)
        assert sums[k].steps == 30 and sums[k].slope(1) == pytest.approx(single.sums.slope(1))
        assert (sums[k].lowest[:2] == single.sums.lowest[:2]).all() and sums[k].largest_time == single.sums.largest_time
    fresh = RowSums.opened(0.0, np.zeros(2), np.ones(2))[1]
    assert fresh.mean is None and fresh.lowest is None and fresh.steps == 0 and np.isnan(fresh.largest_time)


def test_a_batch_goes_on_as_if_it_had_not_stopped() -> None:
    steps = random_steps(3, 24)
    whole = account_of(np.ones(3), np.ones(3), keep="ends")
    part = account_of(np.ones(3), np.ones(3), keep="ends")
    for t, *columns in steps[:10]:
        part.post(t, *columns)
    t, kinetic, potential, *works = part.last
    rest = Account(Knot(t, None, potential, kinetic, 0.0, None), keep="ends", split=True, backward=False,
                   opening=(part.h0, *works), sums=part.settled().copy())
    before = part.figures()
    for number, (t, *columns) in enumerate(steps):
        whole.post(t, *columns)
        if number >= 10:
            rest.post(t, *columns)
    np.testing.assert_array_equal(part.figures().work, before.work)  # its statistics are its own
    for name, pair in zip(before._fields, zip(rest.figures(), whole.figures(), strict=True), strict=True):
        np.testing.assert_allclose(*pair, rtol=1e-10, err_msg=name)
    np.testing.assert_allclose(rest.energy().residual[:, -1], whole.energy().residual[:, -1], atol=1e-14)


@pytest.mark.parametrize("rows", [None, [1]])
def test_rows_jump(rows: Any) -> None:
    start = np.array([0.5, 0.25])
    batch = account_of(start, np.ones(2))
    batch.post(1.0, np.array([0.8, 0.6]), np.array([0.5, 0.5]), np.array([0.2, 0.15]))
    at = slice(None) if rows is None else rows
    batch.jump(0.0, np.array([0.5, 0.5])[at], -np.array([0.8, 0.6])[at], rows)
    energy = batch.energy()
    np.testing.assert_allclose(energy.residual, 0.0, atol=1e-15)
    np.testing.assert_array_equal(energy.t, [0.0, 1.0])
    np.testing.assert_array_equal(energy.kinetic[:, 1], [0.8 if rows else 0.0, 0.0])
    np.testing.assert_array_equal(energy.injected[:, 1], [0.0 if rows else -0.8, -0.6])
    assert batch.sums.steps == 1 and batch.sums.kinetic_low[1] == 0.0
    np.testing.assert_array_equal(start, [0.5, 0.25])
    batch.jump(None, None, np.array([0.1]), [0])  # inside the step that follows
    batch.post(2.0, batch.T + np.array([0.1, 0.0]), batch.V.copy(), 0.0)
    np.testing.assert_allclose(batch.energy().residual, 0.0, atol=1e-15)


def test_a_batch_that_starts_at_rest_may_move_by_a_jump() -> None:
    batch = account_of(np.zeros(2), np.ones(2))
    batch.jump(np.array([1.0]), np.array([1.0]), np.array([1.0]), [0])
    batch.post(1.0, np.array([1.0, 0.0]), np.ones(2), 0.0)
    np.testing.assert_array_equal(batch.figures().swing, [1.0, 0.0])


def test_a_batch_thins_its_rows_and_keeps_the_ends() -> None:
    batch = account_of(np.ones(3), np.ones(3), keep="thin")
    batch.limit = 8
    ends = account_of(np.ones(3), np.ones(3), keep="ends")
    for k in range(1, 30):
        for account in (batch, ends):
            account.post(float(k), np.full(3, 1.0 / k), np.ones(3), 0.0)
    np.testing.assert_array_equal(batch.energy().t, [0, 4, 8, 12, 16, 20, 24, 28, 29])
    np.testing.assert_allclose(batch.energy().kinetic[2, 1:], 1 / batch.energy().t[1:])
    np.testing.assert_array_equal(ends.energy().t, [0, 29])
    assert account_of(np.ones(2), np.ones(2), split=False).energy().kinetic is None


def test_the_verdict_counts_and_names_the_first() -> None:
    t = np.linspace(0.1, 10.0, 100)
    batch = account_of(np.zeros(6), np.ones(6), keep="ends")
    last = 0.0
    for s in t:
        work = np.full(6, np.exp(-last) - np.exp(-s))
        work[1] *= -1  # fed in
        potential = 1 - np.cumsum([1 - np.exp(-s)])[0] * np.ones(6)
        potential[1] = np.exp(-s)
        potential[2] += 0.5 * (1 - np.exp(-s))  # half of the work is missing
        potential[3] += 0.02 * np.sin(20 * s)
        potential[4] += 0.3 * np.sin(20 * s)
        potential[5], work[5] = 1.0 + 0.1 * s, 0.0
        batch.post(float(s), 0.0, potential, work)
        last = s
    balance = batch.balance("order", "strang, order 2, step 0.1, float64", 2e-16)
    assert balance.verdict.tolist() == ["balanced", "violated", "violated", "coarse", "violated", "violated"]
    assert balance.holds.tolist() == [True, False, False, True, False, False] and balance.batch == 6
    starts = ["", "not passive", "50 % of the work", "the step is coarse", "the residual is", "the residual is 100 %"]
    assert [reason.startswith(start) for reason, start in zip(balance.reason, starts, strict=True)] == [True] * 6
    lines = str(balance).splitlines()
    assert lines[:2] == [
        "energy balance VIOLATED: strang, order 2, step 0.1, float64, 6 trajectories",
        "  verdicts    1 balanced, 1 coarse, 4 violated",
    ]
    assert lines[2].startswith("  residual    at most ") and lines[3].startswith("  trajectory 1: not passive")
    assert type(balance[2].residual) is float and balance[2].batch is None and balance[2].holds is False
    with pytest.raises(TypeError, match="single run"):
        balance[2][0]
    exact = batch.balance("exact", "gonzalez", 2e-16)
    assert exact.reason[3].startswith("one step misses the balance") and exact.verdict[0] == "balanced"
    blind = account_of(np.zeros(1), np.ones(1), defects=False)
    blind.post(1.0, 0.0, np.array([2.0]), 0.0)
    assert blind.figures().defect == 0.0


def test_without_friction_a_drift_is_seen_in_a_batch() -> None:
    batch = account_of(np.ones(2), np.zeros(2))
    for k in range(1, 200):
        swing = np.sin(0.1 * k) ** 2
        batch.post(0.1 * k, np.array([1 - swing, 1 - swing + 4e-4 * k]), np.array([swing, swing]), 0.0)
    balance = batch.balance("order", "strang", 2e-16)
    assert balance.verdict.tolist() == ["balanced", "violated"] and balance.reason[1].startswith("energy drifts")
    assert str(account_of(np.ones(0), np.ones(0)).balance("order", "strang", 2e-16)).startswith("energy balanced: strang, 0 traj")
