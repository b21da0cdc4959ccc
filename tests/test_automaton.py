"""Mode graphs: what fires on entry, jumps and their energy, dwell times, Zeno, ladders, fallbacks, and the field's restart rules."""

import copy

import numpy as np
import pytest
import torch

import phdyn
from phdyn import ArgumentError, ArgumentTypeError, HeavyBall, HybridAutomaton, LossGoal, Transition, simulate
from phdyn.events import (
    Budget,
    FunctionRestart,
    GradientRestart,
    Guard,
    RebaseGoal,
    ResetMomentum,
    ReverseMomentum,
    RotateMomentum,
    SpeedRestart,
    Stagnation,
    TimeReached,
    energy_conserving_descent,
    uniting,
)
from phdyn.potentials import MultiWell, Quadratic

FIXED = (("strang", 0.02), ("blanes-moan-4", 0.1), ("blanes-moan-6", 0.2), ("rk4", 0.05))
ADAPTIVE = (("RK45", None), ("DOP853", None), ("LSODA", None), ("Radau", None), ("dopri5", None), ("dopri8", None))


def settings(step):
    return {"step": step} if step else {"rtol": 1e-9, "atol": 1e-11}


def floor_hit(t, x):
    return x[0]


@pytest.mark.parametrize(("method", "step"), FIXED + ADAPTIVE)
def test_a_ball_reflected_at_a_wall_keeps_its_energy(method, step):
    """The wall q = 0 reflects a harmonic ball: |cos t|, one bounce each half period, none lost, none doubled."""
    wall = HybridAutomaton({"fly": HeavyBall(Quadratic([1.0]))}, [Transition("fly", "fly", floor_hit, ReverseMomentum())], initial="fly")
    sol = simulate(wall, (0.0, 20.0), [1.0, 0.0], method=method, **settings(step))
    bounces = np.pi * (np.arange(6) + 0.5)
    assert len(sol.switches) == 6
    np.testing.assert_allclose(sol.switches["time"], bounces, atol=2e-3 if method == "strang" else 2e-4)
    assert np.abs(sol.switches["injected"]).max() < 1e-14
    assert (sol.q[0] > -1e-8).all() and sol.energy_balance().holds
    assert (np.diff(sol.t) > 0).all() and len(sol.t) == sol.y.shape[1] == len(sol.modes) == len(sol.energy.t)


def test_a_reset_counts_as_injected_energy_and_the_balance_closes():
    system = HybridAutomaton(
        {"roll": HeavyBall(Quadratic([1.0]))}, [Transition("roll", "roll", TimeReached(np.pi / 3), ResetMomentum())], initial="roll"
    )
    sol = simulate(system, (0.0, 5.0), [1.0, 0.0], method="blanes-moan-6", step=0.1)
    (row,) = list(sol.switches)
    assert row.injected == pytest.approx(-0.375, abs=1e-9) and row.kinetic == pytest.approx(0.375, abs=1e-9)
    assert sol.energy.injected[-1] == row.injected
    assert np.abs(sol.energy.residual).max() < 1e-7
    k = np.flatnonzero(sol.t == row.time)[0]
    assert sol.energy.kinetic[k] == 0.0 and sol.energy.injected[k] == row.injected and sol.energy.injected[k - 1] == 0.0
    np.testing.assert_array_equal(sol.y[:, k], row.x_after)
    assert row.x_before[1] != 0 and row.x_after[1] == 0


def test_a_swapped_potential_injects_the_difference_of_heights():
    stiff, soft = Quadratic([4.0]), Quadratic([1.0])
    system = HybridAutomaton(
        {"soft": HeavyBall(soft), "stiff": HeavyBall(stiff, mass=2.0)}, [Transition("soft", "stiff", TimeReached(0.7))], initial="soft"
    )
    sol = simulate(system, (0.0, 4.0), [1.0, 0.0], method="DOP853", rtol=1e-11, atol=1e-13)
    q, p = np.cos(0.7), -np.sin(0.7)
    assert sol.switches[0].injected == pytest.approx(1.5 * q**2 + p**2 / 4 - p**2 / 2, abs=1e-9)
    w, s = np.sqrt(2.0), 4.0 - 0.7  # m q'' = -4 q with m = 2
    exact = [q * np.cos(w * s) + p / (2 * w) * np.sin(w * s), p * np.cos(w * s) - 2 * w * q * np.sin(w * s)]
    np.testing.assert_allclose(sol.y[:, -1], exact, atol=1e-8)
    assert np.abs(sol.energy.residual).max() < 1e-8


def test_rotated_momenta_keep_kinetic_energy_with_unequal_masses_and_repeat_themselves():
    mass = [1.0, 4.0, 0.5]
    edge = Transition("roll", "roll", TimeReached(0.5), RotateMomentum(7))
    system = HybridAutomaton({"roll": HeavyBall(Quadratic([1.0, 2.0, 3.0]), mass=mass)}, [edge], initial="roll")
    runs = [simulate(system, (0.0, 1.0), phdyn.at_rest([1.0, 1.0, 1.0]), method="blanes-moan-6", step=0.1) for _ in range(2)]
    (row,) = list(runs[0].switches)
    assert abs(row.injected) < 1e-15
    assert np.abs(row.x_after[3:] - row.x_before[3:]).max() > 0.1
    np.testing.assert_array_equal(runs[0].y, runs[1].y)


def test_a_goal_met_on_entry_fires_at_once_and_a_guard_waits():
    V = Quadratic([1.0])
    edges = [
        Transition("a", "b", LossGoal(reduction=0.5)),
        Transition("b", "c", LossGoal(reduction=0.2)),  # met already
        Transition("c", "d", Guard(lambda point: point.potential - 0.4, name="V < 0.4", direction=-1)),  # met, not a goal
    ]
    system = HybridAutomaton({name: HeavyBall(V) for name in "abcd"}, edges, initial="a")
    sol = simulate(system, (0.0, 6.0), [1.0, 0.0], method="blanes-moan-6", step=0.1)
    assert list(sol.switches["target"]) == ["b", "c", "d"]
    assert sol.switches[0].time == sol.switches[1].time == pytest.approx(np.pi / 4, abs=1e-8)
    assert sol.switches[2].time == pytest.approx(np.pi + np.arccos(np.sqrt(0.8)), abs=1e-7)  # V rises above 0.4 first
    assert sol.energy_balance().holds and (np.diff(sol.t) > 0).all()


def test_a_zeno_loop_of_goals_ends_with_the_times():
    V = Quadratic([1.0])
    low, lower = LossGoal(reduction=0.5), LossGoal(reduction=0.4)
    edges = [Transition("a", "b", low), Transition("b", "a", lower)]
    system = HybridAutomaton({"a": HeavyBall(V), "b": HeavyBall(V)}, edges, initial="a")
    sol = simulate(system, (0.0, 6.0), [1.0, 0.0], method="strang", step=0.1, max_switches=20)
    assert sol.status == -4 and not sol.success and len(sol.switches) == 20
    assert "0.785" in sol.message and "max_switches" in sol.message


@pytest.mark.parametrize(("method", "step"), FIXED + ADAPTIVE)
def test_dwell_keeps_a_guard_from_being_watched(method, step):
    """cos t crosses zero at pi/2 and 3 pi/2; with a dwell of 2 the first crossing is not seen."""
    edges = [Transition("a", "b", floor_hit, min_dwell=2.0), Transition("b", "a", floor_hit, min_dwell=4.0)]
    system = HybridAutomaton({"a": HeavyBall(Quadratic([1.0])), "b": HeavyBall(Quadratic([1.0]))}, edges, initial="a")
    sol = simulate(system, (0.0, 16.0), [1.0, 0.0], method=method, monitor=None, **settings(step))
    np.testing.assert_allclose(sol.switches["time"], [1.5 * np.pi, 3.5 * np.pi, 4.5 * np.pi], atol=1e-2 if method == "strang" else 1e-3)


def test_a_goal_met_when_its_dwell_ends_fires_then():
    system = HybridAutomaton(
        {"a": HeavyBall(Quadratic([1.0])), "b": HeavyBall(Quadratic([1.0]))},
        [Transition("a", "b", LossGoal(reduction=0.5), min_dwell=1.2)],
        initial="a",
    )
    sol = simulate(system, (0.0, 3.0), [1.0, 0.0], method="rk4", step=0.05)
    assert sol.switches["time"].tolist() == [1.2]


def test_hysteresis_two_levels_do_not_chatter():
    V = Quadratic([1.0])
    near, far = LossGoal(value=0.1), Guard(lambda point: point.potential - 0.3, name="V > 0.3", direction=1)
    system = HybridAutomaton(
        {"far": HeavyBall(V), "near": HeavyBall(V)}, [Transition("far", "near", near), Transition("near", "far", far)], initial="far"
    )
    sol = simulate(system, (0.0, 2 * np.pi), [1.0, 0.0], method="blanes-moan-6", step=0.1)
    a, b = np.arccos(np.sqrt(0.2)), np.arccos(np.sqrt(0.6))
    np.testing.assert_allclose(sol.switches["time"], [a, np.pi - b, np.pi + a, 2 * np.pi - b], atol=1e-7)


def test_a_run_goes_on_through_its_modes():
    edges = [Transition("a", "b", floor_hit, min_dwell=2.0), Transition("b", "a", floor_hit, ReverseMomentum())]
    system = HybridAutomaton({"a": HeavyBall(Quadratic([1.0])), "b": HeavyBall(Quadratic([2.0]))}, edges, initial="a")
    options = dict(method="strang", step=0.05)
    whole = simulate(system, (0.0, 12.0), [1.0, 0.0], **options)
    first = simulate(system, (0.0, 1.0), [1.0, 0.0], **options)
    second = simulate(system, (1.0, 12.0), first.state, **options)
    np.testing.assert_allclose(second.y[:, -1], whole.y[:, -1], rtol=1e-9)
    np.testing.assert_allclose(second.switches["time"], whole.switches["time"], rtol=1e-9)
    np.testing.assert_allclose(second.energy.injected[-1], whole.energy.injected[-1], rtol=1e-9)


def test_a_run_goes_on_from_a_mode_that_is_not_the_initial_one():
    """Back in the initial mode, V and its gradient are those of where it is entered."""
    edges = [Transition("a", "b", TimeReached(1.0)), Transition("b", "a", TimeReached(2.0))]
    system = HybridAutomaton({"a": HeavyBall(Quadratic([1.0])), "b": HeavyBall(Quadratic([2.0]))}, edges, initial="a")
    options = dict(method="blanes-moan-6", step=0.1)
    whole = simulate(system, (0.0, 3.0), [1.0, 0.0], **options)
    first = simulate(system, (0.0, 1.5), [1.0, 0.0], **options)
    second = simulate(system, (1.5, 3.0), first.state, **options)
    np.testing.assert_allclose(second.y[:, -1], whole.y[:, -1], rtol=1e-9, atol=0)
    np.testing.assert_allclose(second.energy.injected[-1], whole.energy.injected[-1], rtol=1e-9, atol=0)
    assert second.energy_balance().verdict == "balanced"


# --- SwitchedFriction: ladder, fallback, reexplore -----------------------------------------------------------------------------------


def test_a_ladder_brakes_rung_by_rung_even_within_one_step():
    goals = (LossGoal(reduction=0.3), LossGoal(reduction=0.6), LossGoal(reduction=0.9))
    friction = phdyn.SwitchedFriction(explore=0.05, exploit=(0.2, 0.5, 1.0), goal=goals)
    for method, step, places in (("blanes-moan-6", 0.05, 1e-9), ("blanes-moan-6", 1.5, 2e-3), ("strang", 0.01, 1e-4)):
        sol = simulate(HeavyBall(Quadratic([1.0]), friction=friction), (0.0, 6.0), [1.0, 0.0], method=method, step=step)
        assert list(sol.switches["target"]) == ["exploit-1", "exploit-2", "exploit-3"]
        np.testing.assert_allclose(sol.switches["loss"], [0.35, 0.2, 0.05], rtol=1e-9)
        if method == "blanes-moan-6" and step == 0.05:
            reference = sol.switches["time"]
        np.testing.assert_allclose(sol.switches["time"], reference, atol=places)


def test_a_fallback_brakes_where_the_goal_is_out_of_reach():
    never = LossGoal(reduction=0.999999)
    stuck = phdyn.SwitchedFriction(explore=0.3, exploit=5.0, goal=never, fallback=Stagnation(4.0, 1e-3))
    V = MultiWell()
    sol = simulate(HeavyBall(V, friction=stuck), (0.0, 60.0), [7.2, 0.0], method="strang", step=0.05)
    (row,) = list(sol.switches)
    assert (row.source, row.target, row.event) == ("explore", "exploit", "Stagnation(4, 0.001)")
    k = np.searchsorted(sol.t, row.time)
    lowest = np.minimum.accumulate(sol.energy.potential[: k + 1])
    last = sol.t[: k + 1][np.flatnonzero(np.diff(lowest, prepend=np.inf) < -1e-3 * lowest)[-1]]
    assert row.time - last == pytest.approx(4.0, abs=0.3)
    assert sol.near_misses[0].value > sol.near_misses[0].goal
    clock = phdyn.SwitchedFriction(explore=0.3, exploit=5.0, goal=never, fallback=TimeReached(7.0))
    assert simulate(HeavyBall(V, friction=clock), (0.0, 20.0), [7.2, 0.0], method="strang", step=0.05).switches.first() == 7.0


def test_stagnation_leads_back_to_exploration_with_a_new_reference():
    friction = phdyn.SwitchedFriction(explore=0.0, exploit=0.1, goal=LossGoal(reduction=0.3), reexplore=Stagnation(3.0, 1e-2))
    sol = simulate(HeavyBall(Quadratic([1.0]), friction=friction), (0.0, 60.0), [1.0, 0.0], method="strang", step=0.02)
    targets = list(sol.switches["target"])
    assert targets[:3] == ["exploit", "explore", "exploit"]
    back, again = sol.switches[1], sol.switches[2]
    assert again.time > back.time and again.loss == pytest.approx(0.7 * back.loss, rel=1e-6)


def test_restart_in_the_middle_keeps_a_rebased_goal():
    friction = phdyn.SwitchedFriction(explore=0.0, exploit=0.1, goal=LossGoal(reduction=0.3), reexplore=Stagnation(3.0, 1e-2))
    system, options = HeavyBall(Quadratic([1.0]), friction=friction), dict(method="strang", step=0.02)
    whole = simulate(system, (0.0, 30.0), [1.0, 0.0], **options)
    cut = round(float(whole.switches[1].time) + 0.1, 1)
    first = simulate(system, (0.0, cut), [1.0, 0.0], **options)
    second = simulate(system, (cut, 30.0), first.state, **options)
    together = np.concatenate([first.switches["time"], second.switches["time"]])
    np.testing.assert_allclose(together, whole.switches["time"], rtol=1e-6)


# --- restart rules -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [SpeedRestart, FunctionRestart, GradientRestart])
def test_restarts_recover_a_linear_rate_and_never_fire_endlessly(rule):
    """Without friction a ball on a quadratic keeps its energy for ever; restarted from rest at each firing of the rule it converges
    linearly (O'Donoghue & Candes 2015; Su, Boyd & Candes 2016): V falls by a fixed factor or more each quarter period of the slow mode."""
    V = Quadratic([1.0, 9.0])
    roll = HybridAutomaton({"roll": HeavyBall(V, friction=0.2)}, [Transition("roll", "roll", rule(), ResetMomentum())], initial="roll")
    sol = simulate(roll, (0.0, 60.0), phdyn.at_rest([1.0, 0.3]), method="blanes-moan-4", step=0.05)
    plain = simulate(HeavyBall(V, friction=0.2), (0.0, 60.0), phdyn.at_rest([1.0, 0.3]), method="blanes-moan-4", step=0.05)
    assert sol.status == 0 and 5 < len(sol.switches) < 200
    assert np.diff(sol.switches["time"]).min() > 0.1
    assert (sol.switches["injected"] <= 0).all()
    assert sol.energy.potential[-1] < 1e-3 * plain.energy.potential[-1] < 1e-3
    assert sol.energy_balance().holds


def test_a_budget_ends_the_run_where_the_step_ends():
    for method, settings_, each in (("strang", {"step": 0.1}, 1), ("rk4", {"step": 0.1}, 4)):
        budget = Budget(101, terminal=True)
        sol = simulate(HeavyBall(Quadratic([1.0])), (0.0, 50.0), [1.0, 0.0], method=method, events=[budget], **settings_)
        assert sol.status == 1 and sol.nfev == 101 and len(sol.t_events[0]) == 1 and sol.t[-1] == sol.t_events[0][0]
        assert sol.t[-1] == pytest.approx(0.1 * 100 / each)


def test_stagnation_as_an_event_counts_each_period_of_rest():
    sol = simulate(
        HeavyBall(Quadratic([1.0]), friction=3.0), (0.0, 40.0), [1.0, 0.0], method="rk4", step=0.1,
        events=[Stagnation(2.0, 0.99, terminal=3)],
    )  # fmt: skip
    assert sol.status == 1 and len(sol.t_events[0]) == 3


def test_restarted_nesterov_friction_is_linear_where_the_plain_one_is_not():
    """Su, Boyd & Candes: with speed restarts, friction's clock restarted too, V falls linearly on a quadratic; without, like t^-3."""
    V = Quadratic([1.0, 25.0])
    restarted = HybridAutomaton(
        {"roll": HeavyBall(V, friction=phdyn.NesterovFriction(3.0, restart=0.1))},
        [Transition("roll", "roll", SpeedRestart(), ResetMomentum())],
        initial="roll",
    )
    x0 = phdyn.at_rest([1.0, 1.0])
    sol = simulate(restarted, (0.0, 55.0), x0, method="blanes-moan-4", step=0.02)
    plain = simulate(HeavyBall(V, friction=phdyn.NesterovFriction(3.0)), (0.1, 55.0), x0, method="blanes-moan-4", step=0.02)
    envelope = [sol.energy.hamiltonian[np.searchsorted(sol.energy.t, t)] for t in (15, 30, 45)]
    assert 1e-4 * envelope[0] > envelope[1] and 1e-4 * envelope[1] > envelope[2] > 0
    assert plain.energy.hamiltonian[-1] > 1e-6 > 1e6 * sol.energy.hamiltonian[-1]
    assert 5 < len(sol.switches) < 100 and np.diff(sol.switches["time"]).min() > 0.1


def test_a_restarting_clock_goes_on_through_a_state():
    roll = HybridAutomaton(
        {"roll": HeavyBall(Quadratic([1.0]), friction=phdyn.NesterovFriction(3.0, restart=0.5))},
        [Transition("roll", "roll", TimeReached(1.0), ResetMomentum())],
        initial="roll",
    )
    options = dict(method="strang", step=0.05)
    whole = simulate(roll, (0.0, 4.0), [1.0, 0.0], **options)
    second = simulate(roll, (2.0, 4.0), simulate(roll, (0.0, 2.0), [1.0, 0.0], **options).state, **options)
    np.testing.assert_allclose(second.y[:, -1], whole.y[:, -1], rtol=1e-10)


def test_uniting_takes_the_best_of_both():
    V = Quadratic([1.0])
    system = uniting(V, inner=1e-3, outer=1e-2, friction=2.0)
    sol = simulate(system, (0.0, 40.0), [5.0, 0.0], method="blanes-moan-4", step=0.05)
    nesterov = simulate(HeavyBall(V, friction=phdyn.NesterovFriction(3.0)), (1.0, 41.0), [5.0, 0.0], method="blanes-moan-4", step=0.05)
    assert sol.switches["target"][0] == sol.switches["target"][-1] == "near"  # overshoots rise above the outer level first
    assert sol.energy.hamiltonian[-1] < 1e-8 < 1e-4 < nesterov.energy.hamiltonian[-1]
    with pytest.raises(ArgumentError, match="0 < inner < outer"):
        uniting(V, inner=1.0, outer=0.5)


def test_energy_conserving_descent_bounces_and_conserves():
    V = Quadratic([1.0, 2.0])
    system = energy_conserving_descent(V, patience=4.0, seed=3)
    sol = simulate(system, (0.0, 60.0), phdyn.at_rest([1.0, 1.0]), method="blanes-moan-6", step=0.1)
    assert len(sol.switches) > 5 and np.abs(sol.switches["injected"]).max() < 1e-14
    assert np.ptp(sol.energy.hamiltonian) < 1e-5
    directions = np.array([row.x_after[2:] / np.linalg.norm(row.x_after[2:]) for row in sol.switches])
    assert np.linalg.matrix_rank(directions) == 2


# --- bad input -----------------------------------------------------------------------------------------------------------------------


def test_bad_automata_say_what_is_wrong():
    V = Quadratic([1.0])
    with pytest.raises(ArgumentError, match="no mode 'c'"):
        HybridAutomaton({"a": HeavyBall(V)}, [Transition("a", "c", floor_hit)], initial="a")
    with pytest.raises(ArgumentError, match="no mode 'x'"):
        HybridAutomaton({"a": HeavyBall(V)}, [], initial="x")
    with pytest.raises(ArgumentError, match="needs modes"):
        HybridAutomaton({}, [], initial="a")
    with pytest.raises(ArgumentTypeError, match="one kind"):
        HybridAutomaton({"a": HeavyBall(V), "b": phdyn.GradientFlow(V)}, [], initial="a")
    with pytest.raises(ArgumentTypeError, match="switches by itself"):
        HybridAutomaton({"a": HeavyBall(V, friction=phdyn.SwitchedFriction(0.1, 1.0, LossGoal(0.5)))}, [], initial="a")
    with pytest.raises(ArgumentTypeError, match=r"phdyn\.Transition"):
        HybridAutomaton({"a": HeavyBall(V)}, [("a", "a", floor_hit)], initial="a")
    with pytest.raises(ArgumentTypeError, match="an action is"):
        Transition("a", "a", floor_hit, 3)
    with pytest.raises(ArgumentTypeError, match="needs an event"):
        Transition("a", "a", 3)
    with pytest.raises(ArgumentError, match="min_dwell"):
        Transition("a", "a", floor_hit, min_dwell=-1)
    with pytest.raises(ArgumentError, match="as many goals"):
        phdyn.SwitchedFriction(0.1, (1.0, 2.0), (LossGoal(0.5),))
    with pytest.raises(ArgumentError, match="Budget"):
        Budget(0)
    with pytest.raises(ArgumentError, match="patience"):
        Stagnation(-1.0)


def test_an_action_that_returns_nonsense_ends_the_run_with_its_name():
    def explode(t, x):
        return x * np.inf

    system = HybridAutomaton({"a": HeavyBall(Quadratic([1.0]))}, [Transition("a", "a", floor_hit, explode)], initial="a")
    sol = simulate(system, (0.0, 5.0), [1.0, 0.0], method="strang", step=0.1)
    assert sol.status == -7 and "explode" in str(sol.exception) and sol.t[-1] == pytest.approx(np.pi / 2, abs=1e-2)


def test_actions_on_momenta_need_momenta():
    edge = Transition("a", "a", TimeReached(0.5), ResetMomentum())
    flow = HybridAutomaton({"a": phdyn.GradientFlow(Quadratic([1.0]))}, [edge], initial="a")
    sol = simulate(flow, (0.0, 1.0), [1.0])
    assert sol.status == -7 and "momenta" in str(sol.exception)


def test_rebase_as_an_action():
    V = Quadratic([1.0])
    edges = [
        Transition("a", "b", LossGoal(reduction=0.5), RebaseGoal()),
        Transition("b", "c", LossGoal(reduction=0.5)),
    ]
    system = HybridAutomaton({name: HeavyBall(V) for name in "abc"}, edges, initial="a")
    sol = simulate(system, (0.0, 3.0), [1.0, 0.0], method="blanes-moan-6", step=0.1)
    np.testing.assert_allclose(sol.switches["loss"], [0.25, 0.125], rtol=1e-9)


@pytest.mark.parametrize("method", ["strang", "blanes-moan-4", "rk4", "dopri5"])
def test_an_automaton_of_two_frictions_is_a_switched_friction(method):
    """On a network too, whose module's own buffers the run steps in."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)).double()
    inputs, targets = torch.randn(20, 3, dtype=torch.float64), torch.randn(20, 1, dtype=torch.float64)
    goal, options = LossGoal(reduction=0.1), {"step": 0.1} if method != "dopri5" else {}
    runs = []
    for make in (
        lambda loss: HeavyBall(loss, friction=phdyn.SwitchedFriction(0.1, 2.0, goal)),
        lambda loss: HybridAutomaton(
            {"explore": HeavyBall(loss, friction=0.1), "exploit": HeavyBall(loss, friction=2.0)},
            [Transition("explore", "exploit", goal)],
            initial="explore",
        ),
    ):
        V = phdyn.NetworkLoss(copy.deepcopy(model), torch.nn.functional.mse_loss, inputs, targets)
        runs.append(simulate(make(V), (0.0, 5.0), V.initial_state(), method=method, **options))
    switched, automaton = runs
    assert len(switched.switches) == 1 and automaton.switches[0].injected == 0.0
    np.testing.assert_array_equal(automaton.y, switched.y)
    assert automaton.nfev == switched.nfev
    assert list(automaton.modes) == list(switched.modes)
