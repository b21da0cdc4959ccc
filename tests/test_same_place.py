"""Events with one zero, chains of switches at one time, and guards that come back to zero at once: nothing is lost, nothing fires twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phdyn
from phdyn import HeavyBall, LossGoal, SwitchedFriction, simulate
from phdyn.events import Guard, TurningPoint
from phdyn.potentials import Quadratic

FIXED = [("strang", {"step": 0.1}), ("rk4", {"step": 0.1}), ("blanes-moan-4", {"step": 0.1}), ("blanes-moan-6", {"step": 0.2})]
METHODS: list[tuple[str, Any]] = [*FIXED, ("RK45", {})]


def bowl(q: Any) -> Any:
    return 0.5 * (q**2).sum(-1)


def by_place(level: float, *, direction: int = 0, terminal: bool = False) -> Any:
    return Guard(lambda point: float(0.5 * point.x[0] ** 2 - level), name="by place", direction=direction, terminal=terminal)


def by_value(level: float, *, direction: int = 0, terminal: bool = False) -> Any:
    return Guard(lambda point: point.potential - level, name="by value", direction=direction, terminal=terminal)


# --- one zero, several guards ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "options"), METHODS)
@pytest.mark.parametrize("terminal", [False, True])
def test_an_event_with_the_zero_of_a_switch_is_not_lost(method: str, options: Any, terminal: bool) -> None:
    """The two are located apart by what corrections leave; whichever is first, the other has happened too."""
    for level in np.linspace(0.05, 0.45, 14):
        system = HeavyBall(bowl, friction=SwitchedFriction(0.05, 1.0, LossGoal(value=level)))
        for kind in (by_place, by_value):
            twin = kind(level, direction=-1, terminal=terminal)
            sol = simulate(system, (0.0, 10.0), [1.0, 0.0], method=method, events=twin, monitor=None, **options)
            assert len(sol.t_events[0]) >= 1, level
            assert abs(0.5 * sol.y_events[0][0][0] ** 2 - level) < 1e-6
            if terminal:
                assert sol.status == 1 and sol.t_end == sol.t_events[0][0]
                rest = simulate(system, (sol.t_end, 10.0), sol.state, method=method, events=twin, monitor=None, **options)
                assert len(sol.switches) + len(rest.switches) == 1
                if rest.status == 1:
                    assert rest.t_end > sol.t_end + 1.0
            else:
                assert len(sol.switches) == 1 and abs(sol.switches[0].time - sol.t_events[0][0]) < 1e-6


@pytest.mark.parametrize(("method", "options"), FIXED)
def test_the_same_in_a_batch(method: str, options: Any) -> None:
    levels = np.linspace(0.05, 0.45, 9)
    system = HeavyBall(bowl, friction=SwitchedFriction(0.05, 1.0, LossGoal(value=levels)))
    twin = LossGoal(value=levels, terminal=True)
    sol = simulate(system, (0.0, 10.0), np.tile([1.0, 0.0], (9, 1)), method=method, events=twin, monitor=None, **options)
    assert (sol.status == 1).all() and all(len(times) == 1 for times in sol.t_events[0])


# --- roots of one guard ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "options"), METHODS)
@pytest.mark.parametrize("power", [3, 5, 9])
def test_a_multiple_root_of_a_motion_fires_once(method: str, options: Any, power: int) -> None:
    """Its slope is zero: path and partial step may disagree on where it is, and it is one root all the same."""
    ball = HeavyBall(Quadratic([1.0]))
    for step in (0.07, 0.1):
        steps = {"step": step} if options else {"max_step": 0.5}
        sol = simulate(ball, (0.0, 20.0), [1.0, 0.1], method=method, events=lambda t, x: x[0] ** power, monitor=None, **steps)
        simple = simulate(ball, (0.0, 20.0), [1.0, 0.1], method=method, events=lambda t, x: x[0], monitor=None, **steps)
        assert len(sol.t_events[0]) == len(simple.t_events[0]) == 6
        np.testing.assert_allclose(sol.t_events[0], simple.t_events[0], atol=1e-3)


@pytest.mark.parametrize("apart", [1e-5, 3e-5, 9e-5, 1e-3])
@pytest.mark.parametrize("first", [1.03, 1.0, 1.0625])
def test_a_second_root_close_to_the_first(apart: float, first: float) -> None:
    """The first may be hit at exactly zero."""
    ball = HeavyBall(Quadratic([0.0]))
    pair = Guard(lambda point: (point.t - first) * (point.t - first - apart), name="pair")
    sol = simulate(ball, (0.0, 2.0), [0.0, 1.0], method="strang", step=0.1, events=pair, monitor=None)
    np.testing.assert_allclose(sol.t_events[0], [first, first + apart], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_a_guard_that_needs_v_fires_as_often_as_the_same_of_the_position(method: str, options: Any) -> None:
    ball = HeavyBall(Quadratic([1.0]), friction=0.02)
    for level in np.geomspace(1.1e-3, 0.3, 12):
        sol = simulate(ball, (0.0, 9.0), [1.0, 0.1], method=method, events=[by_place(level), by_value(level)], monitor=None, **options)
        assert len(sol.t_events[0]) == len(sol.t_events[1]), level
        np.testing.assert_allclose(sol.t_events[1], sol.t_events[0], rtol=0, atol=1e-5)


@given(rate=st.floats(1.0, 6.0), phase=st.floats(0.0, 6.3), depth=st.floats(-0.995, 0.995))
@settings(max_examples=60, deadline=None)
def test_every_root_of_a_sine_is_found(rate: float, phase: float, depth: float) -> None:
    """In steps of a quarter of a radian to one and a half."""
    ball = HeavyBall(Quadratic([0.0]))
    sol = simulate(ball, (0.0, 10.0), [0.0, 1.0], method="strang", step=0.25, monitor=None,
                   events=lambda t, x: np.sin(rate * t + phase) + depth)  # fmt: skip
    base = np.arcsin(-depth)
    roots = np.array([base + 2 * np.pi * k for k in range(-2, 14)] + [np.pi - base + 2 * np.pi * k for k in range(-2, 14)])
    times = np.sort((roots - phase) / rate)
    times = times[(times > 0) & (times < 10)]
    if len(times) and (times[0] < 1e-6 or times[-1] > 10 - 1e-6):
        return
    np.testing.assert_allclose(sol.t_events[0], times, rtol=0, atol=1e-9)


# --- chains and Zeno ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_a_way_back_on_which_the_goal_is_met_does_not_chatter(method: str, options: Any) -> None:
    """Exploring again while V is below the goal ends at once; the guard that led there has fired, and waits for its next crossing."""
    for place in 0.1 + 0.007 * np.arange(20):
        friction = SwitchedFriction(0.05, 1.0, LossGoal(value=0.5), reexplore=lambda t, x, a=place: x[0] + a)
        sol = simulate(HeavyBall(bowl, friction=friction), (0.0, 10.0), [1.7, 0.0], method=method, monitor=None, **options)
        assert len(np.unique(np.round(sol.switches["time"], 6))) * 2 - 1 == len(sol.switches), place


@pytest.mark.parametrize("batch", [False, True])
def test_goals_that_fire_each_other_end_with_their_times(batch: bool) -> None:
    system = HeavyBall(bowl, friction=SwitchedFriction(0.05, 1.0, LossGoal(value=0.3), reexplore=LossGoal(value=0.4)))
    start = [[1.0, 0.0], [0.1, 0.0]] if batch else [1.0, 0.0]
    if batch:
        system = HeavyBall(bowl, friction=SwitchedFriction(0.05, 1.0, LossGoal(value=[0.3, 1e-9]), reexplore=LossGoal(value=[0.4, 1e-12])))
    sol = simulate(system, (0.0, 2.0), start, method="strang", step=0.01)
    status, message = (sol.status[0], sol.message[0]) if batch else (sol.status, sol.message)
    assert status == -4 and "1000 switches (max_switches), the last at t = 0.68" in message and message.count("0.68") == 3
    if batch:
        assert sol.status[1] >= -4 and "recursion" not in " ".join(sol.message).lower()


@pytest.mark.parametrize(("method", "options"), [*METHODS[:2], ("rk4", {"step": 0.01}), ("RK45", {})])
@pytest.mark.parametrize("restitution", [0.5, 0.8])
def test_a_ball_that_bounces_ever_lower_does_not_fall_through_the_floor(method: str, options: Any, restitution: float) -> None:
    class Weight:
        dim = 1

        def value(self, q: Any) -> Any:
            return 9.81 * q[0]

        def value_and_grad(self, q: Any) -> Any:
            return 9.81 * q[0], np.array([9.81])

    bounce = phdyn.Transition("fall", "fall", lambda t, x: x[0], lambda t, x: np.array([0.0, -restitution * x[1]]))
    graph = phdyn.HybridAutomaton({"fall": HeavyBall(Weight())}, [bounce], initial="fall")
    sol = simulate(graph, (0.0, 5.0), [1.0, 0.0], method=method, monitor=None, max_switches=200, **options)
    assert sol.status == -4 and sol.y[0].min() > -1e-9
    zeno = np.sqrt(2 / 9.81) * (1 + restitution) / (1 - restitution)
    assert abs(sol.t_end - zeno) < 1e-3


# --- what a run that ends keeps -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", range(20, 60, 3))
@pytest.mark.parametrize("batch", [False, True])
def test_no_event_after_the_end(budget: int, batch: bool) -> None:
    """A step that a budget ends is undone, with the events in it."""
    ball = HeavyBall(bowl, friction=0.1)
    start = [[1.0, 0.3], [1.1, 0.3]] if batch else [1.0, 0.3]
    sol = simulate(ball, (0.0, 10.0), start, method="blanes-moan-4", step=0.13, max_nfev=budget, monitor=None,
                   events=[lambda t, x: x[0] - 0.1, TurningPoint()])  # fmt: skip
    for k in range(2 if batch else 1):
        one = sol.trajectory(k) if batch else sol
        assert one.status == -3
        assert all((times <= one.t_end).all() for times in one.t_events)


@pytest.mark.parametrize("rise", [5.0, -5.0])
def test_a_potential_that_jumps_across_is_no_crossing(rise: float) -> None:
    """As a state that jumps across."""
    def lifted(q: Any) -> Any:
        return bowl(q) + 5.0

    first, second = (bowl, lifted) if rise > 0 else (lifted, bowl)
    swap = phdyn.Transition("first", "second", Guard(lambda point: point.t - 1.01, name="clock"))
    graph = phdyn.HybridAutomaton({"first": HeavyBall(first), "second": HeavyBall(second)}, [swap], initial="first")
    events = [Guard(lambda point: point.potential - 2.0, name="level"), LossGoal(value=2.0)]
    sol = simulate(graph, (0.0, 2.0), [1.0, 0.0], method="rk4", step=0.1, events=events, monitor=None)
    assert len(sol.switches) == 1 and [len(times) for times in sol.t_events] == [0, 0]
    assert sol.switches[0].injected == pytest.approx(rise)
