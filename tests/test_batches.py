"""Batches whose trajectories go one after the other: adaptive methods, mode graphs, dense output; each is its single run."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from batches import same_run, solos
from tolerances import tolerances

import phdyn
from phdyn import HeavyBall, HybridAutomaton, LossGoal, PortHamiltonianSystem, SwitchedFriction, Transition
from phdyn.batches import of_trajectory, steps_together
from phdyn.events import Guard, ResetMomentum, TimeReached
from phdyn.potentials import Quadratic

BOWL = Quadratic([1.0, 2.0])
BRAKE = SwitchedFriction(explore=0.1, exploit=3.0, goal=LossGoal(reduction=0.9))
STATES = np.array([[0.5, 0.0, 0.0, 0.0], [1.0, 1.0, 0.8, 0.0], [-1.0, 0.3, 0.0, 0.2]])
SPAN = (0.0, 2.0)
ADAPTIVE = [name for name in phdyn.methods.names() if not phdyn.methods.get(name).fixed and phdyn.methods.get(name).fits(HeavyBall(BOWL))]


def crossing(t: float, x: Any) -> float:
    return float(x[0]) - 0.2


def equal(system: Any, x0: Any, span: Any = SPAN, **options: Any) -> phdyn.Solution:
    """Run a batch that goes one by one, and compare it with the single runs, bit for bit."""
    sol = phdyn.simulate(system, span, x0, **options)
    for k, solo in enumerate(solos(system, span, x0, **options)):
        same_run(sol, k, solo, rtol=0, atol=0)
        np.testing.assert_array_equal(sol.y[k, :, -1], solo.state.x)
    assert not sol.y.flags.writeable and sol.batch == len(x0)
    return sol


@pytest.mark.parametrize("method", ADAPTIVE)
def test_adaptive_methods_need_a_common_grid(method: str) -> None:
    system = HeavyBall(BOWL, friction=BRAKE)
    with pytest.raises(phdyn.ArgumentError, match=f"by '{method}' have no common grid: pass t_eval"):
        phdyn.simulate(system, SPAN, STATES, method=method)
    run = partial(phdyn.simulate, system, SPAN, STATES, method=method, **tolerances(method))
    ends = equal(system, STATES, method=method, record="ends", events=[crossing], **tolerances(method))
    assert ends.y.shape == (3, 4, 2) and len(ends.switches) == 2
    grid = run(t_eval=[0.5, 1.0, 2.0])
    assert grid.y.shape == (3, 4, 3) and grid.t.tolist() == [0.5, 1.0, 2.0]
    np.testing.assert_array_equal(grid.y[..., -1], run(t_eval=[2.0]).y[..., -1])


def test_a_fixed_method_with_t_eval_or_dense_output() -> None:
    system, run = HeavyBall(BOWL, friction=BRAKE), partial(phdyn.simulate, method="strang", step=0.05)
    grid = run(system, SPAN, STATES, t_eval=np.linspace(0.1, 1.9, 7))
    dense = run(system, SPAN, STATES, dense_output=True)
    together = run(system, SPAN, STATES)
    np.testing.assert_array_equal(dense.t, together.t)
    np.testing.assert_allclose(dense.y, together.y, rtol=0, atol=1e-12)
    for k in range(3):
        np.testing.assert_allclose(dense.sol[k](grid.t), grid.y[k], rtol=0, atol=1e-12)


def test_observables() -> None:
    options = {"method": "strang", "step": 0.05, "observables": {"V": phdyn.Every(10, lambda point: point.potential)}}
    sol = equal(HeavyBall(BOWL, friction=BRAKE), STATES, **options)
    for k, solo in enumerate(solos(HeavyBall(BOWL, friction=BRAKE), SPAN, STATES, **options)):
        own = sol.observed["trajectory"] == k
        np.testing.assert_array_equal(sol.observed["V"][own], solo.observed["V"])
        assert len(solo.observed) >= 4


@pytest.mark.parametrize("method", ["strang", "rk4", "RK45"])
def test_mode_graphs_with_rates_and_goals_of_each(method: str) -> None:
    rates, goals = np.array([0.0, 0.1, 0.2]), LossGoal(np.array([0.5, 0.7, 0.9]))
    roll, brake = HeavyBall(BOWL, friction=rates), HeavyBall(BOWL, friction=2.0)
    graph = HybridAutomaton(
        {"roll": roll, "brake": brake},
        [Transition("roll", "brake", goals, ResetMomentum()), Transition("brake", "roll", TimeReached(1.5))],
        initial="roll",
    )
    options = {"method": method, "record": "ends"} if method == "RK45" else {"method": method, "step": 0.05}
    sol = phdyn.simulate(graph, SPAN, STATES, **options)
    for k in range(3):
        own = HybridAutomaton(
            {"roll": HeavyBall(BOWL, friction=float(rates[k])), "brake": brake},
            [Transition("roll", "brake", LossGoal([0.5, 0.7, 0.9][k]), ResetMomentum()), Transition("brake", "roll", TimeReached(1.5))],
            initial="roll",
        )
        same_run(sol, k, phdyn.simulate(own, SPAN, STATES[k], **options), rtol=0, atol=0)
    assert len(sol.switches) >= 6 and np.any(sol.switches["injected"] < 0)
    with pytest.raises(phdyn.ArgumentError, match="friction has 3 rates, x0 brings 2 trajectories"):
        phdyn.simulate(graph, SPAN, STATES[:2], **options)


def test_port_hamiltonian_systems_and_plain_functions() -> None:
    system = PortHamiltonianSystem(np.diag([1.0, 2.0]), np.array([[0.0, 1.0], [-1.0, 0.0]]), np.diag([0.0, 0.2]))
    flat = equal(system, STATES[:, :2], method="rk4", step=0.05, events=[crossing])
    assert flat.y.shape == (3, 2, 41) and flat.energy.kinetic is None
    plain = phdyn.simulate(
        lambda t, x, k: -k * x, SPAN, STATES[:, :2], method="rk4", step=0.05, args=(2.0,), events=[lambda t, x, k: x[0] - 0.2]
    )
    np.testing.assert_allclose(plain.y, STATES[:, :2, None] * np.exp(-2 * plain.t), rtol=0, atol=1e-5)
    assert plain.energy is None and [len(times) for times in plain.t_events[0]] == [1, 1, 0]
    np.testing.assert_allclose([times[0] for times in plain.t_events[0][:2]], np.log([2.5, 5.0]) / 2, rtol=1e-5)


def test_tensors_go_one_by_one_too() -> None:
    system = HeavyBall(lambda q: (q**2).sum(-1) / 2, friction=BRAKE)
    sol = equal(system, torch.tensor(STATES), method="dopri5", record="ends")
    assert isinstance(sol.y, np.ndarray)


def test_those_that_end_hold_their_last_state() -> None:
    def low(t: float, x: Any) -> float:
        return float(x[0]) - 0.2

    low.terminal = True  # type: ignore[attr-defined]
    sol = equal(HeavyBall(BOWL), STATES, method="DOP853", record="ends", events=[low])
    assert sol.status.tolist() == [1, 0, 1]
    grid = phdyn.simulate(HeavyBall(BOWL), SPAN, STATES, method="DOP853", t_eval=np.linspace(0, 2, 21), events=[low])
    for k in (0, 2):
        np.testing.assert_array_equal(grid.y[k][:, grid.t > grid.t_end[k]], np.repeat(sol.y[k, :, -1:], (grid.t > grid.t_end[k]).sum(), 1))


def test_goals_of_each_with_an_adaptive_method() -> None:
    goals = LossGoal(np.array([0.5, 0.7, 0.9]))
    system = HeavyBall(BOWL, friction=SwitchedFriction(np.array([0.0, 0.1, 0.2]), 3.0, goals))
    for events in ([goals, crossing], goals):
        sol = phdyn.simulate(system, SPAN, STATES, method="DOP853", record="ends", events=events)
        for k in range(3):
            own = LossGoal([0.5, 0.7, 0.9][k])
            friction = SwitchedFriction([0.0, 0.1, 0.2][k], 3.0, own)
            listed = [own, crossing] if isinstance(events, list) else own
            solo = phdyn.simulate(HeavyBall(BOWL, friction=friction), SPAN, STATES[k], method="DOP853", record="ends", events=listed)
            same_run(sol, k, solo, rtol=0, atol=0)
    run = partial(phdyn.simulate, method="DOP853", record="ends")
    with pytest.raises(phdyn.ArgumentError, match="friction has 3 rates, x0 brings 2 trajectories"):
        run(system, SPAN, STATES[:2])
    with pytest.raises(phdyn.ArgumentError, match="has 3 goals, x0 brings 2 trajectories"):
        run(HeavyBall(BOWL), SPAN, STATES[:2], events=[goals])
    with pytest.raises(phdyn.ArgumentError, match=r"x0 has shape \(0, 4\)"):
        run(system, SPAN, STATES[:0])
    with pytest.raises(phdyn.ArgumentError, match="takes fixed steps: pass step"):
        phdyn.simulate(system, SPAN, STATES, method="strang", dense_output=True)


def test_going_on_one_by_one() -> None:
    run = partial(phdyn.simulate, HeavyBall(BOWL, friction=BRAKE), method="DOP853", record="ends", rtol=1e-11, atol=1e-13)
    whole, half = run(SPAN, STATES), run((0.0, 0.8), STATES)
    rest = run((0.8, 2.0), half.state)
    assert half.state.batch == 3
    np.testing.assert_allclose(rest.y[..., -1], whole.y[..., -1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(rest.energy.dissipated[:, -1], whole.energy.dissipated[:, -1], rtol=1e-8)
    np.testing.assert_allclose([*half.switches["time"], *rest.switches["time"]], whole.switches["time"], rtol=1e-9)


def test_a_failure_and_an_interruption() -> None:
    class OddError(Exception):
        pass

    def event(t: float, x: Any) -> float:
        if x[1] > 0.9 and t > 0.1:
            raise OddError
        return 1.0

    sol = equal(HeavyBall(BOWL), STATES, method="RK45", record="ends", events=[event])
    assert sol.status.tolist() == [0, -7, 0] and isinstance(sol.exception[1], OddError) and sol.exception[0] is None

    spiked = HeavyBall(lambda q: torch.where(q[..., 0] == 1.0, torch.nan, (q**2).sum(-1)), friction=BRAKE)
    start = equal(spiked, STATES, method="RK45", record="ends", events=[LossGoal(0.99)])
    assert start.status.tolist() == [0, -2, 0] and len(start.state.guards) == 2

    def stop(t: float, x: Any) -> float:
        if x[1] > 0.9 and t > 0.1:
            raise KeyboardInterrupt
        return 1.0

    pressed = phdyn.simulate(HeavyBall(BOWL), SPAN, STATES, method="RK45", record="ends", events=[stop])
    assert pressed.status.tolist() == [0, -6, -6] and 0 < pressed.t_end[2] < 0.5  # those that wait do not start


def test_which_batches_step_together() -> None:
    options = {"t_eval": None, "dense": False}
    together = partial(steps_together, options=options, observables=None)
    assert together(HeavyBall(BOWL, friction=BRAKE), "strang") and together(phdyn.GradientFlow(BOWL), "rk4")
    guards = SwitchedFriction(0.1, 3.0, Guard(lambda point: point.kinetic - 1.0, name="fast"), reexplore=TimeReached(1.0))
    assert together(HeavyBall(BOWL, friction=guards), "rk4")
    assert not together(HeavyBall(BOWL), "RK45") and not together(lambda t, x: x, "rk4")
    assert not steps_together(HeavyBall(BOWL), "strang", {"t_eval": [1.0], "dense": False}, None)
    assert not steps_together(HeavyBall(BOWL), "strang", options, {"V": lambda point: point.potential})


def test_the_system_of_one_trajectory_leaves_that_of_the_batch_alone() -> None:
    rates = np.array([0.1, 0.2])
    system = HeavyBall(BOWL, friction=SwitchedFriction(rates, 3.0, LossGoal(np.array([0.5, 0.6]))))
    own = of_trajectory(system, 1)
    assert own.friction.laws["explore"].rate(0.0) == 0.2 and own.transitions[0].event == LossGoal(0.6)
    np.testing.assert_array_equal(system.friction.laws["explore"].rate(0.0), rates)
    assert system.transitions[0].event.batch == 2


def test_a_network_takes_one_trajectory_at_a_time() -> None:
    loss = phdyn.NetworkLoss(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, torch.ones(3, 1), torch.ones(3, 1))
    x0 = torch.stack([loss.initial_state()] * 2)
    for options in ({"method": "strang", "step": 0.1}, {"method": "RK45", "record": "ends"}):
        with pytest.raises(phdyn.ArgumentError, match="one trajectory at a time"):
            phdyn.simulate(HeavyBall(loss), SPAN, x0, **options)


def test_a_goal_met_at_the_start_is_said_before_any_run() -> None:
    """Of the trajectory that meets it, as where they step together; the first is not run before."""
    asked = []

    def bowl(q: Any) -> Any:
        asked.append(1)
        return (q * q).sum(-1)

    switched = SwitchedFriction(0.1, 3.0, LossGoal(value=0.5))
    x0 = np.array([[1.0, 0.0], [1.2, 0.0], [0.1, 0.0]])
    for options in ({}, {"dense_output": True}):
        asked.clear()
        with pytest.raises(phdyn.ArgumentError, match=r"LossGoal\(value=0.5\) is met at the start of trajectory 2 already: V\(q0\) = 0.01"):
            phdyn.simulate(HeavyBall(bowl, friction=switched), (0.0, 50.0), x0, method="strang", step=0.1, **options)
        assert len(asked) < 20


def test_what_cannot_start_is_said_with_its_number() -> None:
    reduced = SwitchedFriction(0.1, 3.0, LossGoal(0.5))
    with pytest.raises(phdyn.ArgumentError, match=r"trajectory 1: V\(q0\) = 0 is not positive"):
        phdyn.simulate(HeavyBall(BOWL, friction=reduced), SPAN, STATES * [[1], [0], [1]], method="strang", step=0.1, dense_output=True)


def test_a_violated_balance_comes_with_the_whole_batch() -> None:
    """The second trajectory is violated; the first is whole, the third has ended after a step."""
    x0 = np.array([[0.3, 0.0], [3.0, 0.0], [0.3, 0.0]])
    quartic = HeavyBall(lambda q: (q**4).sum(-1) / 4, friction=0.1)
    with pytest.raises(phdyn.EnergyBalanceError, match="trajectory 1: energy balance VIOLATED") as caught:
        phdyn.simulate(quartic, (0.0, 12.0), x0, method="strang", step=0.28, monitor="raise", dense_output=True)
    sol = caught.value.solution
    assert sol.y.shape[0] == 3 and sol.energy_balance().holds.tolist()[:2] == [True, False]
    assert sol.t_end[0] == 12.0 and sol.t_end[2] == pytest.approx(0.28) and sol.status[2] == -6
    whole = phdyn.simulate(quartic, (0.0, 12.0), x0[0], method="strang", step=0.28)
    np.testing.assert_array_equal(sol.y[0], whole.y)


@pytest.mark.parametrize("record", ["states", "energy", "ends"])
@pytest.mark.parametrize("span", [(0.0, 3.0), (0.0, -3.0)])
def test_the_times_end_with_the_last_trajectory(record: str, span: tuple[float, float]) -> None:
    """All end early: the times are those of a batch whose trajectories step together, and the dense output holds what has ended."""
    x0 = np.array([[1.0, 0.0], [1.3, 0.0]])
    options: dict[str, Any] = {"method": "strang", "step": 0.2, "record": record, "monitor": None}
    options["events"] = [LossGoal(reduction=0.5, terminal=True)]
    system = HeavyBall(lambda q: (q**2).sum(-1) + (q**4).sum(-1))
    together, merged = (phdyn.simulate(system, span, x0, dense_output=dense, **options) for dense in (False, True))
    np.testing.assert_array_equal(merged.t, together.t)
    np.testing.assert_allclose(merged.y, together.y, rtol=1e-12)
    assert abs(merged.t[-1]) < 1.0 and (merged.status == 1).all() and merged.t_end[0] != merged.t_end[1]
    states = merged.sol(merged.t)
    np.testing.assert_allclose(states[..., -1], merged.state.x, rtol=1e-9)
    if record == "states":
        np.testing.assert_allclose(states, merged.y, rtol=1e-9, atol=1e-12)


def test_chosen_times_end_with_the_last_trajectory() -> None:
    events = [LossGoal(reduction=0.5, terminal=True)]
    x0, times = [[1.0, 0.0], [1.3, 0.0]], np.linspace(0.0, 3.0, 31)
    system = HeavyBall(lambda q: (q**2).sum(-1))
    sol = phdyn.simulate(system, (0.0, 3.0), x0, method="DOP853", t_eval=times, events=events)
    np.testing.assert_array_equal(sol.t, times[times <= sol.t_end.max()])
    ends = phdyn.simulate(system, (0.0, 3.0), x0, method="DOP853", record="ends", events=events)
    np.testing.assert_array_equal(ends.t, [0.0, ends.t_end.max()])
