"""The loop: what is asked for changes nothing that is computed; a run goes on from its state; what fails ends in a status."""

from __future__ import annotations

import signal
import threading
import tracemalloc
import warnings
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import phdyn
from phdyn import networks
from phdyn.energy import ROWS
from phdyn.events import Guard, TimeReached
from phdyn.potentials import MultiWell, Quadratic, Rosenbrock

FIXED = ("conformal-euler", "sgd", "strang", "blanes-moan-4", "rk4", "blanes-moan-6", "chin-4")
ADAPTIVE = ("RK45", "DOP853", "LSODA", "Radau", "dopri5", "dopri8")
ALL = [*((m, {"step": 0.05}) for m in FIXED), *((m, {}) for m in ADAPTIVE)]
EPS = np.finfo(float).eps

BRAKE = phdyn.SwitchedFriction(explore=0.05, exploit=3.0, goal=phdyn.LossGoal(reduction=0.97))
TOY = phdyn.HeavyBall(MultiWell(), friction=BRAKE)
START = phdyn.at_rest([7.2])


def roll(method: str = "strang", t_end: float = 8.0, **options: Any) -> phdyn.Solution:
    if method in FIXED:
        options.setdefault("step", 0.05)
    return phdyn.simulate(TOY, (0.0, t_end), START, method=method, **{"monitor": None, **options})


# --- what is asked for changes nothing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [*FIXED, *ADAPTIVE])
def test_results_do_not_depend_on_record_progress_monitor_or_observables(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    full = roll(method)
    asked: list[dict[str, Any]] = [
        {"record": "energy"},
        {"record": "ends"},
        {"progress": True},
        {"monitor": "warn" if method in ("sgd", "conformal-euler") else "raise"},
        {"observables": {"V": lambda point: point.potential, "H": phdyn.Every(7, lambda point: point.hamiltonian)}},
        {"events": [lambda t, x: x[0] + 100]},
    ]
    for extra in asked:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", phdyn.EnergyWarning)  # the methods of order 1 are too coarse here
            other = roll(method, **extra)
        np.testing.assert_array_equal(other.y[:, -1], full.y[:, -1], err_msg=str(extra))
        assert (other.nvev, other.nsteps, other.status) == (full.nvev, full.nsteps, full.status), extra
        if "events" in extra and method in ("strang", "conformal-euler"):  # the starts of their steps are kept then: switches cost less
            assert full.nfev - 2 <= other.nfev < full.nfev
        else:
            assert other.nfev == full.nfev, extra
        assert str(other.switches) == str(full.switches)
        mine, theirs = other.energy_balance(), full.energy_balance()
        assert (mine.verdict, mine.residual, mine.swing) == (theirs.verdict, theirs.residual, theirs.swing)
        assert mine.dissipated == theirs.dissipated
        assert mine.slope == pytest.approx(theirs.slope, abs=1e-12)  # its sums are added up in other portions
        assert other.energy.t[-1] == full.energy.t[-1] == other.t_end == 8.0


def test_what_each_record_keeps() -> None:
    states, energy, ends = (roll(record=record) for record in ("states", "energy", "ends"))
    assert len(states.t) == 160 + 1 + 1 == states.nsteps + 1
    np.testing.assert_array_equal(states.energy.t, states.t)
    np.testing.assert_array_equal(energy.t, [0.0, 8.0])
    np.testing.assert_array_equal(energy.y, states.y[:, [0, -1]])
    np.testing.assert_array_equal(energy.energy.t, states.t)
    np.testing.assert_array_equal(energy.energy.residual, states.energy.residual)
    np.testing.assert_array_equal(ends.energy.t, ends.t)
    assert ends.energy.residual[-1] == states.energy.residual[-1]
    assert list(energy.modes) == ["explore", "exploit"]


def test_memory_does_not_grow_with_the_steps() -> None:
    system = phdyn.HeavyBall(Quadratic([1.0]), friction=0.01)

    def peak(steps: int) -> int:
        tracemalloc.start()
        sol = phdyn.simulate(system, (0.0, 0.05 * steps), [1.0, 0.0], method="strang", step=0.05, record="energy", monitor=None)
        high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sol.nsteps == steps and len(sol.energy.t) <= ROWS + 1
        return high

    peak(1000)  # what is loaded on first use
    assert peak(16 * ROWS) < 1.1 * peak(4 * ROWS)


def test_a_float32_run_stays_float32_and_a_list_becomes_float64() -> None:
    for x0, dtype in (([1, 0], np.float64), (np.float32([1, 0]), np.float32), (torch.tensor([1.0, 0.0]), np.float32)):
        for method, options in (("strang", {"step": 0.1}), ("RK45", {}), ("dopri5", {})):
            sol = phdyn.simulate(phdyn.HeavyBall(Quadratic([1.0])), (0.0, 1.0), x0, method=method, **options)
            assert isinstance(sol.y, np.ndarray) and sol.y.dtype == dtype, method


def test_x0_is_left_alone() -> None:
    for x0 in (np.array([1.0, 0.0]), torch.tensor([1.0, 0.0], dtype=torch.float64)):
        for method, options in ALL:
            phdyn.simulate(phdyn.HeavyBall(Quadratic([1.0])), (0.0, 1.0), x0, method=method, monitor=None, **options)
            assert x0.tolist() == [1.0, 0.0]


# --- times to record ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [*FIXED, *ADAPTIVE])
def test_t_eval_gives_the_states_at_its_times(method: str) -> None:
    full = roll(method, dense_output=True)
    switch = full.switches[0].time
    times = np.sort(np.append(np.linspace(0.0, 8.0, 17), [switch, 1.2345]))
    chosen = roll(method, t_eval=times)
    np.testing.assert_array_equal(chosen.t, times)
    np.testing.assert_allclose(chosen.y, full.sol(times), atol=1e-12)
    k = int(np.flatnonzero(times == switch)[0])
    assert chosen.modes[k - 1] == "explore" and chosen.modes[k] == "exploit"  # on the switch: the state after it
    np.testing.assert_array_equal(chosen.y[:, -1], full.y[:, -1])
    np.testing.assert_array_equal(chosen.energy.t, full.t)


def test_t_eval_may_leave_out_both_ends_or_everything() -> None:
    assert roll(t_eval=[1.0, 2.0]).t.tolist() == [1.0, 2.0]
    empty = roll(t_eval=[])
    assert empty.t.shape == (0,) and empty.y.shape == (2, 0) and empty.success
    back = phdyn.simulate(phdyn.HeavyBall(Quadratic([1.0])), (2.0, 0.0), [1.0, 0.0], method="strang", step=0.1, t_eval=[2.0, 1.23, 0.0])
    assert back.t.tolist() == [2.0, 1.23, 0.0]
    np.testing.assert_allclose(back.y[0], np.cos(back.t - 2.0), atol=1e-2)


# --- dense output -------------------------------------------------------------------------------------------------------------------------


def inside_one_step(method: str, h: float, system: Any) -> Any:
    """The largest error of q and of p inside one step from exact data."""
    sol = phdyn.simulate(system, (0.0, h), [0.8, 0.6], method=method, step=h, dense_output=True, monitor=None)
    t = np.linspace(0, h, 41)
    exact = [0.8 * np.cos(t) + 0.6 * np.sin(t), 0.6 * np.cos(t) - 0.8 * np.sin(t)]
    return np.abs(sol.sol(t) - exact).max(axis=1)


@pytest.mark.parametrize(("method", "system", "orders"), [
    ("blanes-moan-6", phdyn.HeavyBall(Quadratic([1.0])), (6, 5)),
    ("rk4", lambda t, x: [x[1], -x[0]], (4, 4)),
])  # fmt: skip
def test_the_interpolants_order(method: str, system: Any, orders: tuple[int, int]) -> None:
    steps = np.array([0.4, 0.2, 0.1])
    errors = np.array([inside_one_step(method, h, system) for h in steps])
    assert errors.min() > 1e-13
    slopes = np.log2(errors[-2] / errors[-1])
    np.testing.assert_allclose(slopes, orders, atol=0.3)


@pytest.mark.parametrize("method", [*FIXED, *ADAPTIVE])
def test_dense_output_agrees_with_the_record_and_is_right_continuous_at_a_switch(method: str) -> None:
    sol = roll(method, dense_output=True)
    np.testing.assert_allclose(sol.sol(sol.t), sol.y, atol=1e-12)
    assert sol.sol(1.0).shape == (2,) and sol.sol([1.0, 2.0, 3.0]).shape == (2, 3)
    switch, tiny = sol.switches[0].time, 1e-6
    at, after, before = sol.sol(switch), sol.sol(switch + tiny), sol.sol(switch - tiny)
    gradient = float(MultiWell().value_and_grad(at[:1])[1][0])
    order_one = 0.2 if method in ("sgd", "conformal-euler") else 0.02  # a path through the ends of steps of order 1
    assert (after[1] - at[1]) / tiny == pytest.approx(-gradient - 3.0 * at[1], rel=order_one)
    assert (at[1] - before[1]) / tiny == pytest.approx(-gradient - 0.05 * at[1], rel=order_one)


# --- observables ------------------------------------------------------------------------------------------------------------------------


def test_observables_are_looked_at_when_due_and_not_counted() -> None:
    def slope(point: Any) -> Any:
        return torch.linalg.vector_norm(point.gradient)

    def elsewhere(point: Any) -> float:
        return float(point.system.potential.value(point.q + 1))

    sol = roll(observables={"V": lambda point: point.potential, "slope": phdyn.Every(20, slope), "beyond": phdyn.Every(50, elsewhere)})
    plain = roll()
    observed = sol.observed
    assert observed.keys() == ("time", "V", "slope", "beyond")
    np.testing.assert_array_equal(observed["time"], plain.t)
    np.testing.assert_array_equal(observed["V"], plain.energy.potential)
    due = np.flatnonzero(~np.isnan(observed["slope"]))
    np.testing.assert_array_equal(due, np.arange(0, sol.nsteps + 1, 20))
    np.testing.assert_array_equal(np.flatnonzero(~np.isnan(observed["beyond"])), np.arange(0, sol.nsteps + 1, 50))
    at = np.array([abs(float(MultiWell().value_and_grad(q)[1][0])) for q in plain.q[:, due].T])
    np.testing.assert_allclose(observed["slope"][due], at, rtol=1e-12)
    assert (sol.nfev, sol.nvev) == (plain.nfev, plain.nvev)
    np.testing.assert_array_equal(sol.y, plain.y)
    assert len(plain.observed) == 0


@pytest.mark.parametrize("method", ["strang", "rk4", "RK45", "dopri5"])
def test_an_observable_sees_the_network_at_its_step_and_leaves_the_run_alone(method: str) -> None:
    torch.manual_seed(1)
    inputs, targets = torch.randn(20, 3), torch.randint(0, 2, (20,))
    model = networks.mlp((3, 4, 2))
    loss = phdyn.NetworkLoss(model, torch.nn.functional.cross_entropy, inputs, targets)
    system = phdyn.HeavyBall(loss, friction=0.3)
    options: dict[str, Any] = {"step": 0.2} if method in FIXED else {"rtol": 1e-5, "atol": 1e-8}
    options |= {"method": method, "monitor": None}

    def meddling(point: Any) -> float:
        model.zero_grad()
        value = torch.nn.functional.cross_entropy(model(inputs), targets)
        value.backward()
        return value.item()

    plain = phdyn.simulate(system, (0.0, 3.0), loss.initial_state(), **options)
    seen = phdyn.simulate(system, (0.0, 3.0), loss.initial_state(), observables={"loss": meddling}, **options)
    np.testing.assert_array_equal(seen.y, plain.y)
    np.testing.assert_allclose(seen.observed["loss"], plain.energy.potential, rtol=2e-6)
    held = torch.cat([parameter.detach().ravel() for parameter in model.parameters()]).numpy()
    np.testing.assert_array_equal(held, seen.q[:, -1])  # a run leaves the model at its end


def test_an_observable_that_fails() -> None:
    with pytest.raises(phdyn.ArgumentError, match=r"observable 'x' returned .*: one number is needed"):
        roll(observables={"x": lambda point: point.x})
    later = roll(observables={"x": lambda point: 1.0 if point.t < 1 else point.x})
    assert later.status == -7 and isinstance(later.exception, phdyn.ArgumentError) and later.t_end == 1.0


# --- going on ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", FIXED)
@given(cuts=st.lists(st.integers(1, 159), min_size=1, max_size=3, unique=True))
@settings(max_examples=8, deadline=None)
def test_a_run_in_parts_is_the_run(method: str, cuts: list[int]) -> None:
    rising = Guard(lambda point: point.q[0] - 4.0, name="passes 4")
    whole = roll(method, events=rising)
    state: Any = START
    t, parts = 0.0, []
    for end in [*(0.05 * k for k in sorted(cuts)), 8.0]:
        parts.append(phdyn.simulate(TOY, (t, end), state, method=method, step=0.05, events=rising, monitor=None))
        t, state = end, parts[-1].state
    scale = 1e-9  # the rounding of another grid, spread by a rolling ball for 8 units of time
    last = parts[-1]
    np.testing.assert_allclose(last.y[:, -1], whole.y[:, -1], atol=scale)
    for name in ("dissipated", "hamiltonian", "residual"):
        np.testing.assert_allclose(getattr(last.energy, name)[-1], getattr(whole.energy, name)[-1], atol=scale)
    np.testing.assert_allclose(np.concatenate([part.switches["time"] for part in parts]), whole.switches["time"], atol=scale)
    np.testing.assert_allclose(np.concatenate([part.t_events[0] for part in parts]), whole.t_events[0], atol=scale)
    assert sum(part.nsteps for part in parts) == whole.nsteps
    first, second = last.energy_balance(), whole.energy_balance()
    assert first.verdict == second.verdict and first.slope == pytest.approx(second.slope, abs=1e-6)
    assert (first.residual, first.swing, first.initial) == pytest.approx((second.residual, second.swing, second.initial), abs=scale)
    for before, after in pairwise(parts):
        assert after.energy.dissipated[0] == before.energy.dissipated[-1] and after.modes[0] == before.modes[-1]


@pytest.mark.parametrize("method", ADAPTIVE)
def test_adaptive_runs_go_on_with_mode_guards_and_account(method: str) -> None:
    options = {"rtol": 1e-8, "atol": 1e-10, "monitor": None}
    whole = roll(method, **options)
    first = roll(method, 5.0, **options)
    second = phdyn.simulate(TOY, (5.0, 8.0), first.state, method=method, **options)
    assert len(first.switches) == 1 and len(second.switches) == 0 and set(second.modes) == {"exploit"}
    np.testing.assert_allclose(second.y[:, -1], whole.y[:, -1], atol=1e-6)
    np.testing.assert_allclose(second.energy.dissipated[-1], whole.energy.dissipated[-1], atol=1e-6)
    assert second.nfev < whole.nfev


def test_counts_of_a_terminal_event_go_on() -> None:
    def crossing(t: float, x: Any) -> float:
        return x[0]

    crossing.terminal = 3
    system = phdyn.HeavyBall(Quadratic([1.0]))
    go = partial(phdyn.simulate, system, method="strang", step=0.1, events=crossing, monitor=None)
    whole = go((0.0, 20.0), [1.0, 0.0])
    first = go((0.0, 5.0), [1.0, 0.0])  # two crossings
    second = go((5.0, 20.0), first.state)
    third = go((second.t_end, 20.0), second.state)
    assert [run.status for run in (whole, first, second, third)] == [1, 0, 1, 1]
    assert [len(run.t_events[0]) for run in (whole, first, second, third)] == [3, 2, 1, 3]
    assert second.t_end == pytest.approx(whole.t_end, abs=1e-12)


def test_closest_approaches_go_on() -> None:
    hard = phdyn.HeavyBall(MultiWell(), friction=phdyn.SwitchedFriction(1.0, 3.0, phdyn.LossGoal(reduction=0.6)))
    go = partial(phdyn.simulate, hard, method="strang", step=0.02)
    whole = go((0.0, 40.0), START)
    first = go((0.0, 20.0), START)
    second = go((20.0, 40.0), first.state)
    assert whole.near_misses[0].value == pytest.approx(second.near_misses[0].value, rel=1e-6)
    assert second.near_misses[0].time == pytest.approx(whole.near_misses[0].time)
    assert second.near_misses[0].goal == whole.near_misses[0].goal  # the reference is the first run's


def test_going_on_needs_the_time_and_the_mode_of_the_state() -> None:
    first = roll(t_end=5.0)
    with pytest.raises(phdyn.ArgumentError, match="t_span starts at 4, the state to go on from is at t = 5"):
        phdyn.simulate(TOY, (4.0, 6.0), first.state, method="strang", step=0.05)
    other = phdyn.HeavyBall(MultiWell(), friction=0.1)
    with pytest.raises(phdyn.ArgumentError, match="mode 'exploit'"):
        phdyn.simulate(other, (5.0, 6.0), first.state, method="strang", step=0.05)


# --- statuses ---------------------------------------------------------------------------------------------------------------------------


class Region:
    """A quadratic that turns bad beyond q = -0.5: nan, infinite, or an exception of the user's."""

    dim = 1

    def __init__(self, bad: Any) -> None:
        self.bad = bad

    def value(self, q: Any) -> Any:
        if q[0] >= -0.5:
            return 0.5 * q[0] ** 2
        if isinstance(self.bad, BaseException):
            raise self.bad
        return self.bad

    def value_and_grad(self, q: Any) -> Any:
        value = self.value(q)
        return value, q * value / value if value != 0 and not np.isfinite(value) else q.copy()


class Once:
    """A quadratic that raises once, after some calls."""

    dim = 1

    def __init__(self, error: BaseException, after: int) -> None:
        self.error, self.calls, self.after = error, 0, after

    def value(self, q: Any) -> Any:
        return 0.5 * q[0] ** 2

    def value_and_grad(self, q: Any) -> Any:
        self.calls += 1
        if self.calls == self.after:
            raise self.error
        return 0.5 * q[0] ** 2, q.copy()


def healthy_part(sol: phdyn.Solution, method: str, options: Any, record: str) -> None:
    """What a failed run keeps is the beginning of a run that does not fail."""
    assert not sol.success and sol.nsteps > 0 and np.isfinite(sol.y).all()
    assert all(np.isfinite(column).all() for column in vars(sol.energy).values() if column is not None)
    assert sol.t[-1] == sol.energy.t[-1] == sol.t_end == sol.state.t
    np.testing.assert_array_equal(sol.y[:, -1], sol.state.x)
    if method not in FIXED:
        return
    plain = phdyn.simulate(phdyn.HeavyBall(Quadratic([1.0])), (0.0, 10.0), [1.0, 0.0], method=method, monitor=None, **options)
    k = int(np.argmin(np.abs(plain.t - sol.t_end)))
    undone = record != "states" and method in ("strang", "conformal-euler")
    tolerance = 64 * EPS if undone or method == "chin-4" else 0  # the start is undone to rounding; products by differences
    np.testing.assert_allclose(sol.y[:, -1], plain.y[:, k], rtol=0, atol=tolerance)
    assert sol.nsteps == k


@pytest.mark.parametrize(("method", "options"), ALL)
@pytest.mark.parametrize("record", ["states", "energy"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_run(method: str, options: Any, record: str, bad: float) -> None:
    sol = phdyn.simulate(phdyn.HeavyBall(Region(bad)), (0.0, 10.0), [1.0, 0.0], method=method, record=record, monitor=None, **options)
    assert sol.status == -2 and ("nan" in sol.message or "inf" in sol.message or "finite" in sol.message) and "try" in sol.message
    healthy_part(sol, method, options, record)


@pytest.mark.parametrize(("method", "options"), ALL)
@pytest.mark.parametrize("record", ["states", "energy"])
def test_an_exception_in_the_potential_ends_the_run(method: str, options: Any, record: str) -> None:
    error = ZeroDivisionError("off the map")
    sol = phdyn.simulate(phdyn.HeavyBall(Region(error)), (0.0, 10.0), [1.0, 0.0], method=method, record=record, monitor=None, **options)
    assert sol.status == -7 and sol.exception is error
    assert sol.message == f"your function raised ZeroDivisionError after t = {sol.t_end:.6g}: off the map"
    healthy_part(sol, method, options, record)


@pytest.mark.parametrize(("method", "options"), ALL)
@pytest.mark.parametrize("record", ["states", "energy"])
def test_an_interrupt_ends_the_run_and_the_state_goes_on(method: str, options: Any, record: str) -> None:
    system = phdyn.HeavyBall(Once(KeyboardInterrupt(), 60))
    sol = phdyn.simulate(system, (0.0, 10.0), [1.0, 0.0], method=method, record=record, monitor=None, **options)
    assert sol.status == -6 and "interrupted after t = " in sol.message and sol.exception is None
    healthy_part(sol, method, options, record)
    rest = phdyn.simulate(system, (sol.t_end, 10.0), sol.state, method=method, monitor=None, **options)
    assert rest.status == 0
    assert rest.y[0, -1] == pytest.approx(np.cos(10.0), abs=0.5 if method in ("sgd", "conformal-euler") else 5e-3)


@pytest.mark.parametrize("record", ["states", "energy"])
def test_ctrl_c_ends_the_run_between_two_steps(record: str) -> None:
    class Slow(Once):
        def value_and_grad(self, q: Any) -> Any:
            self.calls += 1
            if self.calls == 100:
                signal.raise_signal(signal.SIGINT)
            return 0.5 * q[0] ** 2, q.copy()

    assert threading.current_thread() is threading.main_thread()
    system = phdyn.HeavyBall(Slow(ValueError(), 0))
    sol = phdyn.simulate(system, (0.0, 100.0), [1.0, 0.0], method="strang", step=0.05, record=record, monitor=None)
    assert sol.status == -6 and 90 <= sol.nsteps <= 101
    healthy_part(sol, "strang", {"step": 0.05}, "states")  # to the last bit
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(("method", "options"), ALL)
@pytest.mark.parametrize("goal", [False, True])
def test_a_loss_that_is_nan_at_the_start(method: str, options: Any, goal: bool) -> None:
    friction = BRAKE if goal else 0.1
    events = [phdyn.LossGoal(reduction=0.5), lambda t, x: x[0]]
    system = phdyn.HeavyBall(lambda q: torch.log(q).sum(-1), friction=friction)
    sol = phdyn.simulate(system, (0.0, 1.0), [-1.0, 0.0], method=method, events=events, **options)
    assert sol.status == -2 and sol.message.startswith("loss is nan at t = 0, the start: check the data")
    assert sol.nsteps == 0 and sol.t.tolist() == [0.0] and sol.y.tolist() == [[-1.0], [0.0]]
    assert [len(times) for times in sol.t_events] == [0, 0] and len(sol.switches) == 0
    assert "status -2" in str(sol) and "no switch" in str(sol.switches)


def test_what_the_potential_raises_propagates_from_its_first_call() -> None:
    with pytest.raises(ZeroDivisionError, match="at once"):
        phdyn.simulate(phdyn.HeavyBall(Region(ZeroDivisionError("at once"))), (0.0, 1.0), [-1.0, 0.0], method="strang", step=0.1)


@pytest.mark.parametrize("method", FIXED)
@pytest.mark.parametrize("record", ["states", "energy"])
def test_a_run_that_bursts_keeps_its_last_finite_state(method: str, record: str) -> None:
    burst = partial(phdyn.simulate, phdyn.HeavyBall(Rosenbrock()), (0.0, 100.0), phdyn.at_rest([-1.2, 1.0]), method=method, step=0.5)
    states = burst(monitor=None)
    sol = burst(monitor=None, record=record)
    assert sol.status == -2 and np.isfinite(sol.y).all() and sol.t_end == states.t[-1]
    assert all(np.isfinite(column).all() for column in vars(sol.energy).values() if column is not None)
    np.testing.assert_allclose(sol.y[:, -1], states.y[:, -1], rtol=1e-9)
    assert isinstance(str(sol), str) and isinstance(str(sol.energy_balance()), str)


@pytest.mark.parametrize("method", ["RK45", "DOP853", "Radau", "LSODA", "dopri5", "dopri8"])
def test_a_step_that_underflows(method: str) -> None:
    sol = phdyn.simulate(lambda t, x: x * x, (0.0, 2.0), [1.0], method=method, max_steps=20_000)
    assert sol.status in (-1, -2) and not sol.success
    if method in ("RK45", "DOP853", "Radau", "dopri5"):
        assert sol.status == -1 and "underflows" in sol.message
    assert 0.99 < sol.t_end <= 1.01 and np.isfinite(sol.y).all() and sol.energy is None


@pytest.mark.parametrize(("method", "options"), ALL)
def test_budgets(method: str, options: Any) -> None:
    system = phdyn.HeavyBall(Quadratic([1.0]), friction=0.1)
    go = partial(phdyn.simulate, system, (0.0, 100.0), [1.0, 0.0], method=method, monitor=None, **options)
    steps = go(max_steps=7)
    assert steps.status == -3 and steps.nsteps == 7 and len(steps.t) == 8 and "max_steps=7" in steps.message
    calls = go(max_nfev=100, record="energy")
    assert calls.status == -3 and calls.nfev <= 100 and "max_nfev=100" in calls.message
    assert np.isfinite(calls.y).all() and calls.t[-1] == calls.t_end == calls.energy.t[-1]
    enough = phdyn.simulate(system, (0.0, 1.0), [1.0, 0.0], method="strang", step=0.1, max_steps=10, max_nfev=11)
    assert enough.status == 0 and enough.nsteps == 10 and enough.nfev == 11
    beyond = phdyn.simulate(system, (calls.t_end, 100.0), calls.state, method=method, monitor=None, **options)
    assert beyond.status == 0


def test_too_many_switches() -> None:
    class Chatter(phdyn.HeavyBall):
        """Two modes that a guard on time changes to and fro."""

        sign = Guard(lambda point: np.sin(20 * point.t + 0.5), name="sign")
        laws = property(lambda self: {"a": phdyn.ConstantFriction(0.1), "b": phdyn.ConstantFriction(0.2)})
        transitions = property(lambda self: [phdyn.Transition("a", "b", self.sign), phdyn.Transition("b", "a", self.sign)])

    system = Chatter(Quadratic([1.0]))
    sol = phdyn.simulate(system, (0.0, 100.0), [1.0, 0.0], method="strang", step=0.05, max_switches=12, monitor=None)
    np.testing.assert_allclose(sol.switches["time"], (np.pi * np.arange(1, 13) - 0.5) / 20, atol=1e-13)  # each once
    assert sol.status == -4 and len(sol.switches) == 12 and "max_switches" in sol.message and "chatter" in sol.message
    assert set(sol.switches["source"]) == {"a", "b"} and sol.t_end == sol.switches[-1].time
    assert (np.diff(sol.t) > 0).all()


def test_a_goal_that_is_not_reached_is_reported() -> None:
    tired = phdyn.HeavyBall(MultiWell(), friction=phdyn.SwitchedFriction(1.0, 3.0, phdyn.LossGoal(reduction=0.6)))
    sol = phdyn.simulate(tired, (0.0, 60.0), START, method="strang", step=0.02)
    V0 = MultiWell().value(np.array([7.2]))
    miss = sol.near_misses[0]
    assert sol.success and len(sol.near_misses) == 1 and miss.event == "LossGoal(reduction=0.6)"
    assert miss.goal == pytest.approx(0.4 * V0) and miss.goal < miss.value == pytest.approx(1.95215, abs=1e-4)
    assert sol.energy.potential.min() == pytest.approx(miss.value, rel=2e-6)
    closest = f"closest was loss {miss.value:.4f} at t = {miss.time:.2f}, goal 1.8066"
    assert str(sol.switches) == f"no switch: LossGoal(reduction=0.6) not reached; {closest}"
    assert sol.message.endswith(f"LossGoal(reduction=0.6) not reached; {closest}")
    assert len(roll().near_misses) == 0


def test_a_warning_names_the_line_that_called_simulate() -> None:
    feeding = phdyn.HeavyBall(Quadratic([1.0]), friction=phdyn.ScheduledFriction(lambda t: -0.2))
    for method, options in ALL:
        with pytest.warns(phdyn.EnergyWarning) as caught:
            phdyn.simulate(feeding, (0.0, 20.0), [1.0, 0.0], method=method, **options)
        assert [warning.filename for warning in caught] == [__file__], method


def test_a_warning_that_the_user_made_an_error_is_raised() -> None:
    feeding = phdyn.HeavyBall(Quadratic([1.0]), friction=phdyn.ScheduledFriction(lambda t: -0.2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(phdyn.EnergyWarning, match="VIOLATED"):
            phdyn.simulate(feeding, (0.0, 20.0), [1.0, 0.0], method="strang", step=0.05)


# --- the rest ---------------------------------------------------------------------------------------------------------------------------


def test_a_span_that_is_no_multiple_of_the_step_has_a_shorter_last_step() -> None:
    system = phdyn.HeavyBall(Quadratic([1.0]))
    sol = phdyn.simulate(system, (0.0, 1.05), [1.0, 0.0], method="strang", step=0.1)
    np.testing.assert_array_equal(sol.t, np.append(np.arange(11) * 0.1, 1.05))
    even = phdyn.simulate(system, (0.0, 1.0 + 1e-12), [1.0, 0.0], method="strang", step=0.1)
    assert even.nsteps == 10 and even.t[-1] == 1.0 + 1e-12  # no sliver
    far = phdyn.simulate(system, (1e6, 1e6 + 1), [1.0, 0.0], method="strang", step=0.1)
    np.testing.assert_array_equal(far.t[:-1], 1e6 + np.arange(10) * 0.1)
    assert far.nsteps == 10


def test_the_jumps_of_an_input_are_step_ends_and_the_grid_stays() -> None:
    pushed = phdyn.HeavyBall(Quadratic([1.0]), u=phdyn.Steps([0.33, 0.71], [[1.0], [0.0]]))
    sol = phdyn.simulate(pushed, (0.0, 1.0), [0.0, 0.0], method="blanes-moan-6", step=0.1)
    np.testing.assert_allclose(sol.t, np.union1d(np.arange(11) * 0.1, [0.33, 0.71]), atol=1e-15)
    t1, t2 = 0.71 - 0.33, 1.0 - 0.71
    q, p = 1 - np.cos(t1), np.sin(t1)
    exact = [q * np.cos(t2) + p * np.sin(t2), p * np.cos(t2) - q * np.sin(t2)]
    np.testing.assert_allclose(sol.y[:, -1], exact, atol=1e-9)
    np.testing.assert_allclose(sol.energy.supplied[-1], q, atol=1e-9)  # a unit force over the way q


def test_progress_shows_time_heights_and_mode_and_is_erased(capsys: pytest.CaptureFixture[str]) -> None:
    roll(progress=True, step=0.002)
    shown = capsys.readouterr()
    assert shown.out == "" and "/8  V " in shown.err and "  H " in shown.err and "explore" in shown.err
    roll(progress=False)
    assert capsys.readouterr().err == ""


def test_time_reached_switches_at_its_time() -> None:
    system = phdyn.HeavyBall(MultiWell(), friction=phdyn.SwitchedFriction(0.05, 3.0, TimeReached(2.03)))
    sol = phdyn.simulate(system, (0.0, 4.0), START, method="strang", step=0.05, monitor=None)
    assert sol.switches[0].time == pytest.approx(2.03, abs=1e-14) and sol.switches[0].event == "TimeReached(2.03)"
