"""scipy's contract for events, under every method: value, direction, terminal, several at once, in time order."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from watched import event

import phdyn
from phdyn.events import GradientNorm, Guard, LossGoal, TimeReached, TurningPoint, direction_of, name_of, terminal_count
from phdyn.methods import get
from phdyn.potentials import Quadratic

FIXED = ("conformal-euler", "sgd", "strang", "blanes-moan-4", "rk4", "blanes-moan-6")
ADAPTIVE = ("RK45", "DOP853", "LSODA", "Radau", "dopri5", "dopri8")
ALL = [*((m, {"step": 0.05}) for m in FIXED), *((m, {"rtol": 1e-8, "atol": 1e-10}) for m in ADAPTIVE)]
EPS = np.finfo(float).eps

W = np.sqrt(1 - 0.1**2)  # q = exp(-0.1 t) (cos w t + 0.1 / w sin w t)
CROSSINGS = (np.pi - np.arctan(W / 0.1) + np.pi * np.arange(4)) / W
OSCILLATOR = phdyn.HeavyBall(Quadratic([1.0]), friction=0.2)


def run(method: str, options: dict[str, float], events: Any, span: tuple[float, float] = (0.0, 12.0), **rest: Any) -> phdyn.Solution:
    return phdyn.simulate(OSCILLATOR, span, [1.0, 0.0], method=method, events=events, monitor=None, **options, **rest)


def free(method: str, t_end: float, events: Any, step: float, t0: float = 0.0) -> phdyn.Solution:
    """Free motion at unit speed, in steps as long as asked for (LSODA: as it likes)."""
    options: dict[str, Any] = {"step": step} if method in FIXED else {"first_step": step, "max_step": step}
    system = phdyn.HeavyBall(Quadratic([0.0]))
    return phdyn.simulate(system, (t0, t_end), [t0, 1.0], method=method, events=events, monitor=None, **options)


METHODS = (*FIXED, *ADAPTIVE)
ON_A_GRID = tuple(m for m in METHODS if m != "LSODA")  # LSODA chooses its own first step


# --- values, directions, counts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "options"), ALL)
def test_directions_part_the_crossings(method: str, options: dict[str, float]) -> None:
    kinds = [event(lambda t, x: x[0], direction=d) for d in (-1, 1, 0)]
    falls, rises, both = run(method, options, kinds).t_events
    np.testing.assert_array_equal(np.sort(np.concatenate([falls, rises])), both)
    np.testing.assert_array_equal(falls, both[::2])  # it starts above zero
    error = 12 * 0.05 ** get(method).order if "step" in options else 1e-6  # span times h^order, for a frequency of 1
    np.testing.assert_allclose(both, CROSSINGS, atol=error)


@pytest.mark.parametrize(("method", "options"), ALL)
@pytest.mark.parametrize("count", [True, 1, 2, 3, np.int64(3), 2.0])
def test_terminal_counts(method: str, options: dict[str, float], count: Any) -> None:
    free_run = run(method, options, event(lambda t, x: x[0]))
    sol = run(method, options, event(lambda t, x: x[0], terminal=count))
    n = int(count)
    assert sol.status == 1 and sol.success and "ended the run" in sol.message
    np.testing.assert_array_equal(sol.t_events[0], free_run.t_events[0][:n])
    assert sol.t[-1] == sol.t_end == sol.t_events[0][-1]
    np.testing.assert_array_equal(sol.y[:, -1], sol.y_events[0][-1])
    assert sol.y_events[0].shape == (n, 2)
    assert np.abs(sol.y_events[0][:, 0]).max() <= 8 * EPS * 12  # a few ulps of time, at speed below 1


@pytest.mark.parametrize("never", [False, None, 0, np.False_])
def test_what_does_not_end_a_run(never: Any) -> None:
    sol = run("strang", {"step": 0.05}, event(lambda t, x: x[0], terminal=never))
    assert sol.status == 0 and len(sol.t_events[0]) == 4


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("order", [1, -1])
def test_several_events_in_one_step_come_in_time_order(method: str, order: int) -> None:
    late, early, first = (event(partial(lambda at, t, x: t - at, at)) for at in (1.0, 0.5, 0.25))
    late.terminal = early.terminal = True
    events = [late, early, first][::order]
    sol = free(method, 3.0, events, step=2.0)
    assert sol.status == 1 and abs(sol.t_end - 0.5) <= 4 * EPS
    found = dict(zip(("late", "early", "first")[::order], sol.t_events, strict=True))
    np.testing.assert_allclose(found["first"], [0.25], atol=4 * EPS)
    np.testing.assert_allclose(found["early"], [0.5], atol=4 * EPS)
    assert len(found["late"]) == 0


@pytest.mark.parametrize("method", METHODS)
def test_the_first_of_three_roots_in_a_step_counts(method: str) -> None:
    cubic = event(lambda t, x: (t - 0.2) * (t - 0.5) * (t - 0.9), terminal=True)
    sol = free(method, 3.0, cubic, step=1.0)
    assert sol.status == 1 and abs(sol.t_end - 0.2) < 1e-14


@pytest.mark.parametrize("method", ON_A_GRID)
def test_a_root_on_a_step_end_counts_once(method: str) -> None:
    once = free(method, 3.0, event(lambda t, x: t - 1.0), step=0.5)
    assert 1.0 in once.t and len(once.t_events[0]) == 1
    twice = free(method, 3.0, event(lambda t, x: (t - 1.0) * (t - 2.0), terminal=2), step=0.5)
    assert twice.status == 1 and twice.t_end == 2.0
    np.testing.assert_allclose(twice.t_events[0], [1.0, 2.0], atol=4 * EPS)


@pytest.mark.parametrize("method", ON_A_GRID)
def test_a_root_inside_a_step_and_one_on_its_end_both_count(method: str) -> None:
    sol = free(method, 3.0, event(lambda t, x: (t - 0.7) * (t - 1.0)), step=0.5)
    np.testing.assert_allclose(sol.t_events[0], [0.7, 1.0], atol=1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_zero_at_the_start_does_not_fire(method: str) -> None:
    leaves = event(lambda t, x: x[0])
    stays = event(lambda t, x: 0.0)
    stays_then_leaves = event(lambda t, x: max(t - 1.0, 0.0))
    falls_and_stays = event(lambda t, x: max(1.0 - t, 0.0))
    sol = free(method, 3.0, [leaves, stays, stays_then_leaves, falls_and_stays], step=0.4)
    assert [len(times) for times in sol.t_events] == [0, 0, 0, 1]
    assert 1.0 - 4 * EPS <= sol.t_events[3][0] <= 1.2  # zero from 1 on


@pytest.mark.parametrize("method", METHODS)
def test_a_touch_from_one_side_is_one_event(method: str) -> None:
    sol = free(method, 3.0, [event(lambda t, x: (t - 1.3) ** 2), event(lambda t, x: -((t - 1.3) ** 2))], step=0.4)
    assert [len(times) for times in sol.t_events] == [1, 1]
    np.testing.assert_allclose(np.concatenate(sol.t_events), 1.3, rtol=0, atol=1e-6)  # the root of what is at rounding


@pytest.mark.parametrize("method", METHODS)
def test_roots_a_few_ulps_apart_each_fire_once(method: str) -> None:
    times = [1.1, np.nextafter(1.1, 2), np.nextafter(np.nextafter(1.1, 2), 2)]
    sol = free(method, 3.0, [event(partial(lambda at, t, x: t - at, at)) for at in times], step=0.4)
    assert [len(found) for found in sol.t_events] == [1, 1, 1]
    np.testing.assert_allclose(np.concatenate(sol.t_events), times, atol=8 * EPS)


@pytest.mark.parametrize(("method", "options"), ALL)
@pytest.mark.parametrize("direction", [-1, 0, 1])
def test_backward_in_time_directions_follow_the_integration(method: str, options: dict[str, float], direction: int) -> None:
    crossing = event(lambda t, x: x[0], direction=direction)

    def rhs(t: float, x: Any) -> Any:
        return [x[1], -x[0]]

    theirs = solve_ivp(rhs, (6.0, 0.0), [0.5, 0.5], method="DOP853", rtol=1e-12, atol=1e-13, events=crossing)
    system = phdyn.HeavyBall(Quadratic([1.0]))
    mine = phdyn.simulate(system, (6.0, 0.0), [0.5, 0.5], method=method, events=crossing, monitor=None, **options)
    assert (np.diff(mine.t) < 0).all() and mine.t[-1] == 0.0
    error = 6 * 0.05 ** get(method).order if "step" in options else 1e-6
    np.testing.assert_allclose(mine.t_events[0], theirs.t_events[0], atol=error)
    assert len(theirs.t_events[0]) == (2 if direction == 0 else 1)


def rational(t: float, y: Any) -> Any:
    return [y[1] / t, y[1] * (y[0] + 2 * y[1] - 1) / (t * (y[0] - 1))]


@pytest.mark.parametrize("method", ["RK45", "DOP853", "LSODA", "Radau"])
@pytest.mark.parametrize("direction", [-1, 0, 1])
@pytest.mark.parametrize("forward", [True, False])
def test_scipys_rational_problem(method: str, direction: int, forward: bool) -> None:
    """The problem with which scipy tests its own events; the terminal one lies at t = 7.4."""
    one = event(lambda t, y: y[0] - y[1] ** 0.7, direction=direction)
    two = event(lambda t, y: y[1] ** 0.6 - y[0], direction=direction)
    three = event(lambda t, y: t - 7.4, terminal=True)
    span, y0 = ((5.0, 8.0), [1 / 3, 2 / 9]) if forward else ((8.0, 5.0), [4 / 9, 20 / 81])
    options = dict(method=method, rtol=1e-7, atol=1e-9)
    theirs = solve_ivp(rational, span, y0, events=[one, two, three], **options)
    mine = phdyn.simulate(rational, span, y0, events=[one, two, three], **options)
    assert mine.status == theirs.status == 1
    np.testing.assert_allclose(mine.t, theirs.t, rtol=1e-13)
    np.testing.assert_allclose(mine.y, theirs.y, rtol=1e-12)
    for ours, scipys in zip(mine.t_events, theirs.t_events, strict=True):
        np.testing.assert_allclose(ours, scipys, rtol=1e-12)
    for ours, scipys in zip(mine.y_events, theirs.y_events, strict=True):
        np.testing.assert_allclose(ours.reshape(-1, 2), np.reshape(scipys, (-1, 2)), rtol=1e-11)
    if method != "Radau":  # scipy leaves out what its difference Jacobians cost
        looked_into = 3 * (len(mine.t) - 1) if method == "DOP853" else 0  # its own path inside a step costs three
        assert theirs.nfev <= mine.nfev <= theirs.nfev + looked_into


@pytest.mark.parametrize("method", ["rk4", "dopri5", "dopri8"])
def test_the_rational_problem_by_other_libraries_and_grids(method: str) -> None:
    options: dict[str, float] = {"step": 0.02} if method == "rk4" else {"rtol": 1e-9, "atol": 1e-11}
    three = event(lambda t, y: t - 7.4, terminal=True)
    theirs = solve_ivp(rational, (5.0, 8.0), [1 / 3, 2 / 9], method="DOP853", rtol=1e-12, atol=1e-13, events=three)
    mine = phdyn.simulate(rational, (5.0, 8.0), [1 / 3, 2 / 9], method=method, events=three, **options)
    assert mine.status == 1 and abs(mine.t_end - 7.4) < 8 * EPS * 7.4
    np.testing.assert_allclose(mine.y[:, -1], theirs.y[:, -1], rtol=1e-7)


# --- attributes, on whatever carries them ---------------------------------------------------------------------------------------------


class Watching:
    terminal = True
    direction = -1

    def __call__(self, t: float, x: Any) -> float:
        return x[0]

    def method(self, t: float, x: Any) -> float:
        return x[0]


def crossing_at(level: float, t: float, x: Any) -> float:
    return x[0] - level


def carriers() -> dict[str, Any]:
    named = lambda t, x: x[0]  # noqa: E731
    named.terminal, named.direction = True, -1
    part = partial(crossing_at, 0.0)
    part.terminal, part.direction = True, -1
    bound = Watching().method
    bound.__func__.terminal, bound.__func__.direction = True, -1  # as scipy's documentation does for methods

    class Module(torch.nn.Module):
        terminal, direction = True, -1

        def forward(self, t: float, x: Any) -> float:
            return x[0]

    return {"lambda": named, "partial": part, "bound method": bound, "module": Module(), "object": Watching()}


@pytest.mark.parametrize("carrier", ["lambda", "partial", "bound method", "module", "object"])
def test_attributes_on_whatever_can_be_called(carrier: str) -> None:
    sol = run("rk4", {"step": 0.05}, carriers()[carrier])
    assert sol.status == 1 and len(sol.t_events[0]) == 1
    np.testing.assert_allclose(sol.t_events[0], CROSSINGS[:1], atol=1e-5)


@pytest.mark.parametrize("terminal", [-1, 1.5, "yes", float("nan"), float("inf"), [1]])
def test_a_terminal_that_is_no_count_is_refused(terminal: Any) -> None:
    with pytest.raises(phdyn.ArgumentError, match=r"event 'watched': terminal is .* a positive number of occurrences is needed"):
        run("strang", {"step": 0.1}, event(lambda t, x: x[0], terminal=terminal))


@pytest.mark.parametrize("direction", ["up", float("nan"), None, [1]])
def test_a_direction_that_is_no_number_is_refused(direction: Any) -> None:
    with pytest.raises(phdyn.ArgumentError, match=r"event 'watched': direction is .*: a number is needed"):
        run("strang", {"step": 0.1}, event(lambda t, x: x[0], direction=direction))


@pytest.mark.parametrize("direction", [2.5, np.float32(3), np.int64(1), True])
def test_the_sign_of_a_direction_counts(direction: Any) -> None:
    assert direction_of(event(lambda t, x: x[0], direction=direction)) == 1.0
    sol = run("strang", {"step": 0.05}, event(lambda t, x: x[0], direction=direction))
    assert len(sol.t_events[0]) == 2


@pytest.mark.parametrize("answer", [lambda t, x: x, lambda t, x: None, lambda t, x: "high", lambda t, x: [x[0]]])
def test_an_event_that_returns_no_number_is_refused(answer: Any) -> None:
    with pytest.raises(phdyn.ArgumentError, match=r"event '<lambda>' returned .* at t = 0: return one number; q is x\[:1\], p is x\[1:\]"):
        run("strang", {"step": 0.1}, answer)


@pytest.mark.parametrize("nonsense", ["crossing", 3, [4], {"a": 1}])
def test_what_is_no_event_is_refused(nonsense: Any) -> None:
    with pytest.raises(phdyn.PhdynError, match="an event is a function"):
        run("strang", {"step": 0.1}, nonsense)


def test_an_event_that_is_nan_ends_the_run_with_a_status() -> None:
    at_once = run("strang", {"step": 0.1}, lambda t, x: np.nan)
    later = run("strang", {"step": 0.1}, lambda t, x: np.nan if t > 1 else 1.0)
    assert at_once.status == later.status == -2
    assert "event '<lambda>' is nan at t = 0" in at_once.message and "is nan at t = 1.1" in later.message
    assert len(at_once.t_events[0]) == 0 and np.isfinite(later.y).all()


def test_what_an_event_raises_propagates_from_its_first_call() -> None:
    def broken(t: float, x: Any) -> float:
        raise RuntimeError("no sensor")

    with pytest.raises(RuntimeError, match="no sensor"):
        run("strang", {"step": 0.1}, broken)


def test_an_event_gets_times_as_floats_and_states_as_arrays() -> None:
    seen: list[tuple[type, type, Any]] = []

    def curious(t: float, x: Any) -> float:
        seen.append((type(t), type(x), x.shape))
        return x[0]

    for method, options in ALL:
        run(method, options, curious, span=(0.0, 2.0))
    assert {kind for kind, _, _ in seen} <= {float, np.float64}
    assert {(kind, shape) for _, kind, shape in seen} == {(np.ndarray, (2,))}


def test_events_get_the_arguments_of_fun() -> None:
    def fun(t: float, x: Any, g: float, c: float) -> Any:
        return [x[1], -g]

    def ground(t: float, x: Any, g: float, c: float) -> float:
        return x[0] - c

    ground.terminal = True
    sol = phdyn.simulate(fun, (0.0, 10.0), [1.0, 0.0], method="rk4", step=0.1, events=ground, args=(2.0, 0.0))
    assert abs(sol.t_end - 1.0) < 1e-12


# --- phdyn's own ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "options"), ALL)
def test_guards_on_what_the_step_knows(method: str, options: dict[str, float]) -> None:
    halves = Guard(lambda point: point.kinetic - point.potential, name="T = V")
    if method in ADAPTIVE:  # a black box that falls and rises within one step is not seen (nor by scipy)
        options = {**options, "max_step": 0.1}
    sol = run(method, options, [halves, TimeReached(3.0), TurningPoint(), GradientNorm(0.1)], span=(0.0, 5.0))
    equal, time, turns, flat = sol.t_events
    np.testing.assert_allclose(time, [3.0], atol=8 * EPS * 3)
    states = sol.y_events[0]
    assert len(equal) == 3
    np.testing.assert_allclose(np.abs(states[:, 0]), np.abs(states[:, 1]), atol=1e-9)
    exact = np.pi / W  # where it stops climbing
    error = 5 * 0.05 ** get(method).order if "step" in options else 1e-5
    np.testing.assert_allclose(turns, [exact], atol=error)
    assert len(flat) == 2
    np.testing.assert_allclose(np.abs(sol.y_events[3][:, 0]), 0.1, atol=1e-9)
    before = run(method, options, None, span=(0.0, 5.0))
    np.testing.assert_array_equal(before.y[:, -1], sol.y[:, -1])


def test_what_a_guard_sees() -> None:
    seen = {}

    def look(point: Any) -> float:
        seen.update(t=point.t, q=point.q, p=point.p, x=point.x, V=point.potential, g=point.gradient, T=point.kinetic, H=point.hamiltonian)
        seen["system"] = point.system
        return 1.0

    system = phdyn.HeavyBall(Quadratic([1.0, 3.0]), friction=0.2)
    phdyn.simulate(system, (0.0, 0.1), [1.0, 2.0, 3.0, 4.0], method="strang", step=0.1, events=Guard(look, name="look"), monitor=None)
    assert seen["system"] is system and seen["t"] == 0.1
    q, p = seen["q"], seen["p"]
    assert all(isinstance(seen[name], torch.Tensor) for name in "qpxg")
    assert abs(seen["V"] - float(0.5 * (q[0] ** 2 + 3 * q[1] ** 2))) < 1e-14 and abs(seen["T"] - float(p @ p) / 2) < 1e-14
    assert seen["H"] == seen["T"] + seen["V"]
    np.testing.assert_allclose(seen["g"], [float(q[0]), 3 * float(q[1])])


def test_goals() -> None:
    assert LossGoal(0.8).level(2.0) == pytest.approx(0.4) and LossGoal(0.8, floor=1.0).level(2.0) == pytest.approx(1.2)
    assert LossGoal(value=np.float64(0.3)).level(2.0) == 0.3
    assert str(LossGoal(0.8)) == "LossGoal(reduction=0.8)" and str(LossGoal(value=2, floor=1)) == "LossGoal(value=2, floor=1)"
    assert terminal_count(LossGoal(0.8)) == np.inf and terminal_count(LossGoal(0.8, terminal=2)) == 2
    assert name_of(TimeReached(2)) == "TimeReached(2)" and name_of(Watching()) == "Watching"


def test_a_goal_given_as_a_numpy_number_works() -> None:
    level = np.linspace(0.1, 0.2, 2)[0]
    assert len(run("strang", {"step": 0.1}, LossGoal(value=level)).t_events[0]) > 0


BAD_GOALS = [
    (lambda: LossGoal(reduction=80), r"LossGoal\(reduction=80\): a fraction in \(0, 1\) is needed; for 80 % write 0.8"),
    (lambda: LossGoal(reduction=0), r"LossGoal\(reduction=0\): a fraction in \(0, 1\) is needed"),
    (lambda: LossGoal(reduction=float("nan")), "a fraction"),
    (LossGoal, "either reduction=... or value=..."),
    (lambda: LossGoal(0.5, value=1.0), "either reduction=... or value=..."),
    (lambda: LossGoal("most"), "takes a number, not 'most'"),
    (lambda: LossGoal(value=float("inf")), "a finite number is needed"),
    (lambda: LossGoal(0.5, terminal=-2), "terminal is -2"),
    (lambda: Guard(3, name="three"), "needs a function of a point, not 3"),
    (lambda: Guard(lambda point: 1.0, name="g", direction="up"), "direction is 'up'"),
    (lambda: GradientNorm(-1), "a finite threshold > 0"),
    (lambda: GradientNorm("small"), "takes a number"),
    (lambda: TimeReached(float("nan")), "a finite time"),
    (lambda: TimeReached("noon"), "takes a number"),
]


@pytest.mark.parametrize(("make", "words"), BAD_GOALS)
def test_bad_goals_are_refused_where_they_are_made(make: Any, words: str) -> None:
    with pytest.raises(phdyn.PhdynError, match=words):
        make()


def test_goals_on_what_has_no_loss_are_refused() -> None:
    with pytest.raises(phdyn.ArgumentError, match="a plain fun"):
        phdyn.simulate(lambda t, x: -x, (0.0, 1.0), [1.0], events=LossGoal(value=0.1))
    high = phdyn.HeavyBall(Quadratic([-1.0]), friction=phdyn.SwitchedFriction(0.1, 1.0, LossGoal(0.5)))
    with pytest.raises(phdyn.ArgumentError, match=r"V\(q0\) = -0.5 is not positive, so it has no reduction: give value=... or floor=..."):
        phdyn.simulate(high, (0.0, 1.0), [1.0, 0.0], method="strang", step=0.1)


def test_a_switch_whose_goal_is_met_at_the_start_is_refused() -> None:
    met = phdyn.HeavyBall(Quadratic([1.0]), friction=phdyn.SwitchedFriction(0.1, 1.0, LossGoal(value=0.7)))
    with pytest.raises(phdyn.ArgumentError, match="met at the start already"):
        phdyn.simulate(met, (0.0, 1.0), [1.0, 0.0], method="strang", step=0.1)
    exactly = phdyn.HeavyBall(Quadratic([1.0]), friction=phdyn.SwitchedFriction(0.1, 1.0, LossGoal(value=0.5)))
    with pytest.raises(phdyn.ArgumentError, match="met at the start already"):
        phdyn.simulate(exactly, (0.0, 1.0), [1.0, 0.0], method="strang", step=0.1)


@pytest.mark.parametrize("guard", [TimeReached(1.05), Guard(lambda point: 1.05 - point.t, name="late"), event(lambda t, x: t - 1.05)])
def test_any_event_can_switch(guard: Any) -> None:
    system = phdyn.HeavyBall(Quadratic([1.0]), friction=phdyn.SwitchedFriction(0.1, 1.0, guard))
    sol = phdyn.simulate(system, (0.0, 2.0), [1.0, 0.0], method="strang", step=0.1, monitor=None)
    assert len(sol.switches) == 1 and abs(sol.switches[0].time - 1.05) < 8 * EPS
