"""scipy's contract for events, whole, on every method of the catalogue: a plain ``fun`` where the method takes one, and a heavy ball.

(But for those of ``REPRESENTED``, which hold to it, too, and would take two minutes more.)

What is expected comes from closed forms, and from ``solve_ivp`` where scipy is right. It is not, and phdyn does otherwise, where a
root lies on the end of a step or on the start of the span (scipy counts it twice, and at the start), and where of two events at one
time the terminal one is listed first (scipy then drops the other).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from kinds import kinds
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from tolerances import REPRESENTED, scaled, tolerances
from watched import close, event

import phdyn
from phdyn.events import Guard, LossGoal, TimeReached
from phdyn.methods import get, names
from phdyn.methods.catalogue import takes
from phdyn.potentials import Quadratic

EPS = np.finfo(float).eps
SCIPY = ("RK45", "DOP853", "LSODA", "Radau", "RK23", "BDF")
NAMES = kinds(name for name in names() if takes(get(name), phdyn.HeavyBall(Quadratic([1.0]))) and name not in REPRESENTED)
PLAIN = [name for name in NAMES if get(name).fits(lambda t, x: x)]
CASES = [*(("fun", name) for name in PLAIN), *(("ball", name) for name in NAMES)]
EXACT = [case for case in CASES if not get(case[1]).fixed or get(case[1]).order > 1]  # a parabola is no matter for these
GRAVITY = 9.81


def setting(name: str, step: float = 0.05, rtol: float = 1e-8, first: float | None = None) -> dict[str, Any]:
    """How a method steps: its step, or tolerances (with the step as bound and first step if ``first``)."""
    if get(name).fixed:
        return {"step": step}
    bounds = {} if first is None else {"max_step": first, "first_step": first}
    return {**tolerances(name, rtol, rtol / 1000), **bounds}


def accuracy(name: str, step: float, span: float, adaptive: float = 1e-6) -> float:
    """What is asked of a method: the span times the step to its order, for frequencies of 1; or what its tolerance allows."""
    return span * step ** get(name).order if get(name).fixed else 10 * scaled(name, adaptive / 10)


def swing(t: float, x: Any) -> Any:
    return [x[1], -x[0]]


class Weight:
    """V = g z for the last coordinate z."""

    def __init__(self, dim: int = 1) -> None:
        self.dim = dim
        self.down = np.append(np.zeros(dim - 1), GRAVITY)

    def value(self, q: Any) -> Any:
        return GRAVITY * q[..., -1]

    def value_and_grad(self, q: Any) -> Any:
        return GRAVITY * q[-1], self.down.copy()


def fall(t: float, x: Any) -> Any:
    n = len(x) // 2
    return np.concatenate([x[n:], np.zeros(n - 1), [-GRAVITY]])


def solve(kind: str, name: str, problem: str, span: tuple[float, float], x0: Any, **options: Any) -> phdyn.Solution:
    """Solve a problem as a plain fun, or as a heavy ball."""
    system: Any = {"swing": swing, "fall": fall}[problem]
    if kind == "ball":
        system = phdyn.HeavyBall(Quadratic([1.0]) if problem == "swing" else Weight(len(x0) // 2))
    return phdyn.simulate(system, span, x0, method=name, monitor=None, **options)


def drift(kind: str, name: str, t0: float, t1: float, events: Any, step: float, **options: Any) -> phdyn.Solution:
    """x[0] = t, at unit speed, in steps as long as asked for (LSODA: as it likes); every method is exact."""
    system = (lambda t, x: [1.0, 0.0]) if kind == "fun" else phdyn.HeavyBall(Quadratic([0.0]))
    steps = setting(name, step, first=step)
    return phdyn.simulate(system, (t0, t1), [t0, 1.0], method=name, events=events, monitor=None, **steps, **options)


def same_events(mine: phdyn.Solution, theirs: Any, rtol: float = 1e-12, atol: float = 1e-12) -> None:
    """The events of two solutions, scipy's the second."""
    assert len(mine.t_events) == len(theirs.t_events) == len(mine.y_events)
    size = mine.y.shape[0]
    for t, y, t_other, y_other in zip(mine.t_events, mine.y_events, theirs.t_events, theirs.y_events, strict=True):
        assert t.shape == t_other.shape and y.shape == (len(t), size)
        close(t, t_other, rtol=rtol, atol=atol)
        close(y, np.reshape(y_other, (-1, size)), rtol=rtol, atol=atol)


# --- the rational problem ---------------------------------------------------------------------------------------------------------------


def rational(t: float, y: Any) -> Any:
    return [y[1] / t, y[1] * (y[0] + 2 * y[1] - 1) / (t * (y[0] - 1))]


def rational_exact(t: Any) -> Any:
    return np.array([t / (t + 10), 10 * t / (t + 10) ** 2])


CURVES = (lambda t, y: y[0] - y[1] ** 0.7, lambda t, y: y[1] ** 0.6 - y[0])
RATIONAL_STEP = 0.01


def crossings_of(curve: Any, low: float, high: float) -> list[tuple[float, int]]:
    """Times and signs of the crossings of a curved event on the exact solution, in time order."""
    times = np.linspace(low, high, 400)
    heights = [curve(t, rational_exact(t)) for t in times]
    found = []
    for a, b, g, k in zip(times, times[1:], heights, heights[1:], strict=False):
        if g * k < 0:
            found.append((brentq(lambda t: curve(t, rational_exact(t)), a, b, xtol=1e-14), int(np.sign(k))))
    return found


def test_the_curved_events_have_one_root_each() -> None:
    assert [len(crossings_of(curve, 5.0, 8.0)) for curve in CURVES] == [1, 1]
    assert crossings_of(CURVES[0], 5.0, 7.4) and not crossings_of(CURVES[1], 5.0, 7.4)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("direction", [-1, 0, 1])
@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("ends", [True, False])
def test_the_rational_problem(name: str, direction: int, forward: bool, ends: bool) -> None:
    """Curved events of every direction, both ways in time, with and without a terminal one at t = 7.4."""
    span = (5.0, 8.0) if forward else (8.0, 5.0)
    events = [event(curve, direction=direction) for curve in CURVES] + [event(lambda t, y: t - 7.4, terminal=ends)]
    options = setting(name, RATIONAL_STEP, rtol=1e-9)
    sol = phdyn.simulate(rational, span, rational_exact(span[0]), method=name, events=events, **options)
    error = accuracy(name, RATIONAL_STEP, 3.0, 1e-8)
    last = 7.4 if ends else span[1]
    assert sol.status == int(ends) and sol.success
    assert abs(sol.t_end - last) <= 2 * EPS * 7.4 and abs(sol.t_events[2][0] - 7.4) <= 2 * EPS * 7.4 and len(sol.t_events[2]) == 1
    close(sol.y, rational_exact(sol.t), atol=error)
    for curve, t, y in zip(CURVES, sol.t_events, sol.y_events, strict=False):
        sign = 1 if forward else -1
        seen = [time for time, side in crossings_of(curve, *sorted((span[0], last))) if direction in (0, sign * side)]
        assert len(t) == len(seen)
        close(t, seen, atol=30 * error)  # the curves cross at a slope of 0.03 and more
        assert all(abs(curve(time, state)) <= 1e-12 for time, state in zip(t, y, strict=True))
        close(y, rational_exact(t).T.reshape(-1, 2), atol=error)
    if name in SCIPY:
        theirs = solve_ivp(rational, span, rational_exact(span[0]), method=name, events=events, **options)
        assert sol.status == theirs.status
        close(sol.t, theirs.t, rtol=1e-13)
        close(sol.y, theirs.y, rtol=1e-12)
        same_events(sol, theirs)


# --- oscillator: counts and directions --------------------------------------------------------------------------------------------------

SWING_ROOTS = np.pi * (np.arange(4) + 0.5)  # of cos t; falls first


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("direction", [-1, 0, 1])
def test_counts_and_directions(kind: str, name: str, direction: int) -> None:
    """``terminal=n`` ends at the n-th crossing in the event's direction, and what came before is what a free run finds."""
    go = partial(solve, kind, name, "swing", (0.0, 12.0), [1.0, 0.0], **setting(name))
    free = go(events=event(lambda t, x: x[0], direction=direction))
    exact = SWING_ROOTS[{-1: slice(0, None, 2), 0: slice(None), 1: slice(1, None, 2)}[direction]]
    close(free.t_events[0], exact, atol=accuracy(name, 0.05, 12.0))
    assert free.status == 0
    for count in (True, 1, 2, 3):
        sol = go(events=event(lambda t, x: x[0], direction=direction, terminal=count))
        reached = int(count) <= len(exact)
        assert sol.status == int(reached)
        np.testing.assert_array_equal(sol.t_events[0], free.t_events[0][: int(count)])
        np.testing.assert_array_equal(sol.y_events[0], free.y_events[0][: int(count)])
        if reached:
            assert sol.t[-1] == sol.t_end == sol.t_events[0][-1]
            np.testing.assert_array_equal(sol.y[:, -1], sol.y_events[0][-1])


@pytest.mark.parametrize("name", SCIPY)
@pytest.mark.parametrize("span", [(0.0, 12.0), (12.0, 0.0)])
@pytest.mark.parametrize("terminal", [False, True, 2, 3])
@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-10])
def test_an_oscillator_is_scipys(name: str, span: tuple[float, float], terminal: Any, rtol: float) -> None:
    events = [event(lambda t, x: x[0] - 0.1, direction=d) for d in (1, -1)] + [event(lambda t, x: x[1] - 0.3, terminal=terminal)]
    options = {"method": name, **tolerances(name, rtol, rtol / 100)}
    mine = phdyn.simulate(swing, span, [1.0, 0.2], events=events, **options)
    theirs = solve_ivp(swing, span, [1.0, 0.2], events=events, **options)
    assert (mine.status, mine.success) == (theirs.status, theirs.success)
    close(mine.t, theirs.t, rtol=1e-13)
    close(mine.y, theirs.y, atol=1e-12)
    same_events(mine, theirs)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_backward_the_crossings_come_in_reverse(kind: str, name: str) -> None:
    start = [np.cos(12.0), -np.sin(12.0)]
    kinds = [event(lambda t, x: x[0], direction=d) for d in (-1, 0, 1)]
    sol = solve(kind, name, "swing", (12.0, 0.0), start, events=kinds, **setting(name))
    falls, both, rises = sol.t_events
    assert (np.diff(sol.t) < 0).all() and sol.t[-1] == 0.0 and sol.status == 0
    close(both, SWING_ROOTS[::-1], atol=accuracy(name, 0.05, 12.0))
    np.testing.assert_array_equal(falls, both[0::2])  # cos 12 > 0: going back it falls first
    np.testing.assert_array_equal(rises, both[1::2])
    close(sol.y_events[1][:, 0], 0.0, atol=8 * EPS * 12)
    last = solve(kind, name, "swing", (12.0, 0.0), start, events=event(lambda t, x: x[0], terminal=2), **setting(name))
    assert last.status == 1 and last.t_end == both[1]


# --- the projectile ---------------------------------------------------------------------------------------------------------------------


def apex(t: float, x: Any) -> Any:
    return x[3]


def ground(t: float, x: Any) -> Any:
    return x[1]


apex.direction = -1
ground.terminal, ground.direction = True, -1
LAUNCH = [0.0, 0.0, 3.0, 20.0]
LANDING = 2 * 20.0 / GRAVITY


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("events", [[apex, ground], (ground, apex)])
def test_a_projectile_has_an_apex_and_comes_down(kind: str, name: str, events: Any) -> None:
    """It starts on the ground, which is no landing, and lands once."""
    sol = solve(kind, name, "fall", (0.0, 100.0), LAUNCH, events=events, **setting(name, 0.01))
    found, states = (dict(zip(("apex", "ground") if events[0] is apex else ("ground", "apex"), what, strict=True)) for what in (
        sol.t_events, sol.y_events))  # fmt: skip
    error = 1e-10 if (kind, name) in EXACT else 0.1  # methods of order 1: the fall of a step's length, g h t
    assert sol.status == 1 and "ground" in sol.message
    close(found["apex"], [LANDING / 2], atol=error)
    close(found["ground"], [LANDING], atol=error)
    close(states["apex"], [[1.5 * LANDING, 400 / (2 * GRAVITY), 3.0, 0.0]], atol=5 * error)
    close(states["ground"], [[3 * LANDING, 0.0, 3.0, -20.0]], atol=5 * error)
    assert abs(states["ground"][0, 1]) <= 8 * EPS * 20 * LANDING


@pytest.mark.parametrize("name", SCIPY)
@pytest.mark.parametrize("rtol", [1e-3, 1e-8])
def test_a_projectile_is_scipys(name: str, rtol: float) -> None:
    """From above the ground, since scipy takes a start on the ground for an event."""
    launch, options = [0.0, 1.0, 3.0, 20.0], {"method": name, "rtol": rtol, "atol": rtol / 1000, "events": [apex, ground]}
    mine = phdyn.simulate(fall, (0.0, 100.0), launch, **options)
    theirs = solve_ivp(fall, (0.0, 100.0), launch, **options)
    assert mine.status == theirs.status == 1
    close(mine.t, theirs.t, rtol=1e-12)
    close(mine.y, theirs.y, rtol=1e-11, atol=1e-11)
    same_events(mine, theirs, rtol=1e-11, atol=1e-11)


# --- the bouncing ball ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("direction", [-1, 0])
def test_twenty_bounces(kind: str, name: str, direction: int) -> None:
    """The user starts again at each event, from the ground with nine tenths of the speed: no bounce twice, and none lost."""
    step, height, restitution = 0.01, 10.0, 0.9
    hit = event(lambda t, x: x[0], terminal=True, direction=direction)
    first = np.sqrt(2 * height / GRAVITY)
    speeds = np.sqrt(2 * GRAVITY * height) * restitution ** np.arange(20)
    t, x, times, landed = 0.0, [height, 0.0], [], []
    for speed in speeds:
        sol = solve(kind, name, "fall", (t, 100.0), x, events=hit, **setting(name, step))
        assert sol.status == 1
        t = sol.t_end
        times.append(t)
        landed.append(-sol.y[1, -1])
        x = [0.0, restitution * speed]
    exact = first + np.append(0.0, np.cumsum(2 / GRAVITY * speeds[1:]))
    small = (kind, name) in EXACT
    slack = 20 if name == "BDF" else 1  # it begins with order 1, and has a parabola to its tolerance
    close(times, exact, atol=slack * 1e-9 if small else 40 * step)  # order 1: each flight is wrong by up to two steps
    close(landed, speeds, atol=slack * 1e-8 if small else 2 * GRAVITY * step)


@pytest.mark.parametrize("name", SCIPY)
def test_a_bounce_is_scipys(name: str) -> None:
    """Each flight, from a little above the ground, ends where scipy's does."""
    hit = event(lambda t, x: x[0], terminal=True, direction=-1)
    t, x = 0.0, np.array([10.0, 0.0])
    for _ in range(10):
        options = {"method": name, "rtol": 1e-8, "atol": 1e-10, "events": hit}
        mine, theirs = phdyn.simulate(fall, (t, 50.0), x, **options), solve_ivp(fall, (t, 50.0), x, **options)
        close(mine.t_end, theirs.t[-1], rtol=1e-12)
        same_events(mine, theirs, atol=1e-11)
        t, x = mine.t_end, np.array([1e-9, -0.9 * mine.y[1, -1]])


# --- t_eval and dense output ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("backward", [False, True])
def test_t_eval_and_dense_output_stop_at_a_terminal_event(kind: str, name: str, backward: bool) -> None:
    sign = -1.0 if backward else 1.0
    times = sign * np.linspace(0.0, 12.0, 49)
    hit = event(lambda t, x: x[0] - 0.1, terminal=2)
    go = partial(solve, kind, name, "swing", (0.0, sign * 12.0), [1.0, 0.0], events=hit, **setting(name))
    full, chosen, dense = go(), go(t_eval=times), go(dense_output=True)
    for other in (chosen, dense):
        assert other.status == full.status == 1
        close(other.t_events[0], full.t_events[0], rtol=1e-10)
        close(other.y_events[0], full.y_events[0], atol=1e-10)
    t_end = chosen.t_end
    np.testing.assert_array_equal(chosen.t, times[sign * times <= sign * t_end])  # it stops at the event
    assert len(chosen.t) > 10 and chosen.y.shape == (2, len(chosen.t))
    widest = np.abs(np.diff(full.t)).max()
    error = accuracy(name, 0.05, 12.0) + widest**4 / 100  # the method's, and that of the path inside a step
    close(chosen.y, [np.cos(chosen.t), -np.sin(chosen.t)], atol=2 * error)
    close(dense.sol(chosen.t), chosen.y, atol=1e-9)
    close(dense.sol(dense.t), dense.y, atol=1e-12)
    close(dense.sol(dense.t_end), dense.y_events[0][-1], atol=1e-12)  # valid up to the event
    close(dense.sol(dense.t_events[0][0])[0], 0.1, atol=error)
    for outside in (dense.t_end + sign * 0.1, -sign * 0.1):
        with pytest.raises(phdyn.ArgumentError):
            dense.sol(outside)


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("asked", [{"t_eval": [0.5, 2.0]}, {"dense_output": True}], ids=["t_eval", "dense"])
def test_what_is_asked_for_moves_no_event(kind: str, name: str, asked: Any) -> None:
    go = partial(solve, kind, name, "swing", (0.0, 12.0), [1.0, 0.0], events=event(lambda t, x: x[0] - 0.1), **setting(name, rtol=1e-3))
    np.testing.assert_array_equal(go(**asked).t_events[0], go().t_events[0])


@pytest.mark.parametrize("name", SCIPY)
@pytest.mark.parametrize("terminal", [False, True])
def test_t_eval_and_dense_output_are_scipys(name: str, terminal: bool) -> None:
    times = np.linspace(0.5, 11.0, 31)
    events = [event(lambda t, x: x[0] - 0.1, terminal=terminal), event(lambda t, x: x[1])]
    options = {"method": name, "rtol": 1e-6, "atol": 1e-9, "events": events, "dense_output": True, "t_eval": times}
    mine, theirs = (solver(swing, (0.0, 12.0), [1.0, 0.2], **options) for solver in (phdyn.simulate, solve_ivp))
    np.testing.assert_array_equal(mine.t, theirs.t)
    close(mine.y, theirs.y, atol=1e-13)
    same_events(mine, theirs)
    inside = np.linspace(0.0, mine.t_end, 77)
    close(mine.sol(inside), theirs.sol(inside), atol=1e-13)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_t_eval_on_the_event_has_its_state(kind: str, name: str) -> None:
    hit = event(lambda t, x: x[0] - 3.3, terminal=True)
    bare = drift(kind, name, 0.0, 9.0, hit, 0.7)
    sol = drift(kind, name, 0.0, 9.0, hit, 0.7, t_eval=[0.0, 1.0, bare.t_end, 4.0])
    np.testing.assert_array_equal(sol.t, [0.0, 1.0, bare.t_end])
    close(sol.y[:, -1], sol.y_events[0][0], atol=1e-14)


def by_time(t: float, x: Any, at: float) -> Any:
    return t - at


def by_place(t: float, x: Any, at: float) -> Any:
    return x[0] - at


# --- the ends of the span ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("guard", [by_time, by_place])
def test_events_at_the_start_and_at_the_end_of_the_span(kind: str, name: str, backward: bool, guard: Any) -> None:
    """None at the start; one at the end. In steps of a half every number here is exact."""
    t0, t1 = (4.0, 1.0) if backward else (1.0, 4.0)
    kinds = [event(lambda t, x, at=at, d=d: guard(t, x, at), direction=d) for at in (t0, t1) for d in (-1, 0, 1)]
    sol = drift(kind, name, t0, t1, kinds, 0.5)
    assert sol.status == 0 and sol.t_end == t1
    g = guard(sol.t[-1], sol.y[:, -1], t1)
    met = g <= 0 if backward else g >= 0  # where x[0] ends an ulp short of it, by rounding, it has not come to it
    assert met or (abs(g) <= 16 * EPS and guard is not by_time)
    assert [len(times) for times in sol.t_events] == [0, 0, 0, int(backward and met), int(met), int(met and not backward)]
    close(sol.t_events[4], [t1] * int(met), rtol=16 * EPS)
    first = drift(kind, name, t0, t1, event(lambda t, x: guard(t, x, t0), terminal=True), 0.5)
    assert first.status == 0 and len(first.t_events[0]) == 0
    if not met:
        return
    last = drift(kind, name, t0, t1, event(lambda t, x: guard(t, x, t1), terminal=True), 0.5)
    assert last.status == 1 and abs(last.t_end - t1) <= 16 * EPS  # scipy's status, too: the event is what ended it


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_an_event_just_inside_the_span(kind: str, name: str) -> None:
    for at in (np.nextafter(1.0, 2), np.nextafter(4.0, 0), 1.0 + 1e-12, 4.0 - 1e-12):
        sol = drift(kind, name, 1.0, 4.0, event(partial(lambda at, t, x: t - at, at)), 0.7)
        assert len(sol.t_events[0]) == 1 and abs(sol.t_events[0][0] - at) <= 2 * np.spacing(at)


# --- several events in a step -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("backward", [False, True])
def test_two_events_in_one_step_in_either_order_of_the_list(kind: str, name: str, order: tuple[int, ...], backward: bool) -> None:
    """The earlier one stops the run, wherever it is listed; what lies before it is kept, what lies after it is not."""
    t0, t1, at = (3.0, 0.0, (2.0, 1.5, 0.9)) if backward else (0.0, 3.0, (1.0, 1.5, 2.1))
    early, middle, late = (event(partial(lambda at, t, x: x[0] - at, a)) for a in at)
    middle.terminal = late.terminal = True
    listed = [(early, middle, late)[k] for k in order]
    sol = drift(kind, name, t0, t1, listed, 3.0)
    found = dict(zip(order, sol.t_events, strict=True))
    assert sol.status == 1 and abs(sol.t_end - at[1]) <= 16 * EPS
    close(found[0], [at[0]], atol=16 * EPS)
    close(found[1], [at[1]], atol=16 * EPS)
    assert len(found[2]) == 0


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("first", [True, False])
def test_simultaneous_events_are_all_recorded_and_a_terminal_one_stops(kind: str, name: str, first: bool) -> None:
    """At one time, whichever is listed first."""
    stops, passes, falls = (event(lambda t, x: x[0] - 1.3, terminal=k == 0, direction=(0, 1, -1)[k]) for k in range(3))
    listed = [stops, passes, falls] if first else [falls, passes, stops]
    sol = drift(kind, name, 0.0, 3.0, listed, 0.7)
    assert sol.status == 1 and abs(sol.t_end - 1.3) <= 8 * EPS
    found = sol.t_events if first else sol.t_events[::-1]
    assert [len(times) for times in found] == [1, 1, 0]
    assert found[0][0] == found[1][0] == sol.t_end
    y = sol.y_events if first else sol.y_events[::-1]
    np.testing.assert_array_equal(y[0], y[1])


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_simultaneous_events_of_which_none_is_terminal(kind: str, name: str) -> None:
    same = [event(lambda t, x: x[0] - 1.3), event(lambda t, x: x[0] - 1.3), event(lambda t, x: 7 * (1.3 - x[0]))]
    sol = drift(kind, name, 0.0, 3.0, same, 0.7)
    assert sol.status == 0 and [len(times) for times in sol.t_events] == [1, 1, 1]
    assert sol.t_events[0][0] == sol.t_events[1][0]
    close(np.concatenate(sol.t_events), 1.3, atol=16 * EPS)


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("first", [True, False])
def test_events_at_one_time_by_different_guards_fire_once_each(kind: str, name: str, first: bool) -> None:
    """Rounding may put the other after the terminal one: then a run that goes on from the state finds it, once."""
    stops, other = event(lambda t, x: x[0] - 1.3, terminal=True), event(lambda t, x: x[0] ** 3 - 1.3**3)
    listed = [stops, other] if first else [other, stops]
    one = drift(kind, name, 0.0, 3.0, listed, 0.7)
    system = (lambda t, x: [1.0, 0.0]) if kind == "fun" else phdyn.HeavyBall(Quadratic([0.0]))
    steps = setting(name, 0.7, first=0.7)
    two = phdyn.simulate(system, (one.t_end, 3.0), one.state, method=name, events=listed, monitor=None, **steps)
    assert (one.status, two.status) == (1, 0)
    for k in range(2):
        times = np.concatenate([one.t_events[k], two.t_events[k]])
        close(times, [1.3], atol=16 * EPS)


@pytest.mark.parametrize("name", NAMES)
def test_an_event_at_the_time_of_a_switch_fires_once(name: str) -> None:
    """Beside a switch of friction, by the same guard and by others with the same root."""
    guards = [event(lambda t, x: x[0] - 1.3), event(lambda t, x: x[0] ** 3 - 1.3**3), event(lambda t, x: 7 * (1.3 - x[0]))]
    friction = phdyn.SwitchedFriction(0.0, 0.1, event(lambda t, x: x[0] - 1.3))
    system = phdyn.HeavyBall(Quadratic([0.0]), friction=friction)
    sol = phdyn.simulate(system, (0.0, 3.0), [0.0, 1.0], method=name, events=guards, monitor=None, **setting(name, 0.7, first=0.7))
    assert len(sol.switches) == 1
    for times in sol.t_events:
        close(times, [1.3], atol=16 * EPS)


# --- what carries an event --------------------------------------------------------------------------------------------------------------


@dataclass
class Level:
    """A dataclass with ``__call__``, and scipy's attributes as fields."""

    height: float = 0.0
    terminal: Any = True
    direction: Any = -1

    def __call__(self, t: float, x: Any, *args: Any) -> float:
        return x[0] - self.height

    def method(self, t: float, x: Any, *args: Any) -> float:
        return x[0] - self.height

    @classmethod
    def of_class(cls, t: float, x: Any, *args: Any) -> float:
        return x[0]

    @staticmethod
    def static(t: float, x: Any, *args: Any) -> float:
        return x[0]


@dataclass(frozen=True, slots=True)
class FrozenLevel:
    height: float = 0.0
    terminal: Any = field(default=True, kw_only=True)
    direction: Any = field(default=-1, kw_only=True)

    def __call__(self, t: float, x: Any, *args: Any) -> float:
        return x[0] - self.height


class Property:
    """Attributes that are computed."""

    terminal = property(lambda self: 1)
    direction = property(lambda self: -1.0)

    def __call__(self, t: float, x: Any, *args: Any) -> float:
        return x[0]


class Module(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.level = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.terminal, self.direction = True, -1

    def forward(self, t: float, x: Any, *args: Any) -> Any:
        with torch.no_grad():
            return torch.as_tensor(x[0]) - self.level


def carriers() -> dict[str, Any]:
    plain = lambda t, x, *args: x[0]  # noqa: E731
    bound, own, static, part = Level().method, Level.of_class, Level.static, partial(Level.static)
    for function in (plain, bound.__func__, own.__func__, static, part):
        function.terminal, function.direction = True, -1
    return {
        "lambda": plain,
        "bound method": bound,
        "class method": own,
        "static method": static,
        "partial": part,
        "partial of a partial": attributed(partial(part, *())),
        "module": Module(),
        "dataclass": Level(),
        "frozen dataclass": FrozenLevel(),
        "properties": Property(),
    }


def attributed(function: Any) -> Any:
    function.terminal, function.direction = True, -1
    return function


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("carrier", carriers())
@pytest.mark.parametrize("args", [(), (2.0, "more")])
def test_attributes_on_whatever_can_be_called(name: str, carrier: str, args: tuple[Any, ...]) -> None:
    """Terminal and direction count; with ``args`` the event gets them, and keeps its attributes."""

    def fun(t: float, x: Any, *more: Any) -> Any:
        assert more == args
        return swing(t, x)

    start = [-1.0, 0.0]  # -cos t: it rises first, which the direction leaves out
    sol = phdyn.simulate(fun, (0.0, 12.0), start, method=name, events=carriers()[carrier], args=args, **setting(name))
    assert sol.status == 1 and len(sol.t_events[0]) == 1
    close(sol.t_events[0], SWING_ROOTS[1], atol=accuracy(name, 0.05, 12.0))


@pytest.mark.parametrize("name", NAMES)
def test_events_of_phdyn_stand_beside_functions(name: str) -> None:
    """Function attributes and dataclass events alike: the same numbers, terminal or not."""
    pairs = [
        (Guard(lambda point: float(point.q[0]) - 0.2, name="low"), event(lambda t, x: x[0] - 0.2)),
        (Guard(lambda point: float(point.q[0]) - 0.2, name="falls", direction=-1), event(lambda t, x: x[0] - 0.2, direction=-1)),
        (TimeReached(2.345), event(lambda t, x: t - 2.345)),
        (FrozenLevel(0.2, terminal=False, direction=1), event(lambda t, x: x[0] - 0.2, direction=1)),
    ]
    listed = [one for pair in pairs for one in pair]
    sol = solve("ball", name, "swing", (0.0, 12.0), [1.0, 0.0], events=listed, **setting(name))
    assert [len(times) for times in sol.t_events[::2]] == [4, 2, 1, 2]
    for mine, theirs, y, z in zip(sol.t_events[::2], sol.t_events[1::2], sol.y_events[::2], sol.y_events[1::2], strict=True):
        close(mine, theirs, rtol=1e-14)
        close(y, z, atol=1e-13)
    goal = solve("ball", name, "swing", (0.0, 12.0), [1.0, 0.0], events=[LossGoal(value=0.02, terminal=2), *listed], **setting(name))
    assert goal.status == 1 and abs(goal.y[0, -1] ** 2 / 2 - 0.02) < 1e-12 and len(goal.t_events[0]) == 2


WRONG = [
    *(("terminal", bad) for bad in (-1, 1.5, "yes", float("nan"), float("inf"), [1], 1 + 1j)),
    *(("direction", bad) for bad in ("up", float("nan"), None, [1], 1j)),
]


@pytest.mark.parametrize(("attribute", "bad"), WRONG)
@pytest.mark.parametrize("carrier", ["function", "dataclass", "partial", "module"])
def test_wrong_values_raise_before_any_work(attribute: str, bad: Any, carrier: str) -> None:
    calls: list[float] = []

    def fun(t: float, x: Any) -> Any:
        calls.append(t)
        return swing(t, x)

    made = {"function": event(lambda t, x: x[0]), "dataclass": Level(), "partial": partial(Level.static), "module": Module()}[carrier]
    setattr(made, attribute, bad)
    with pytest.raises(phdyn.ArgumentError, match=f"{attribute} is "):
        phdyn.simulate(fun, (0.0, 1.0), [1.0, 0.0], events=made)
    assert len(calls) <= 2  # the look at shapes, and the start


# --- what is passed as events, and what comes back ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_none_nothing_one_and_many(kind: str, name: str) -> None:
    crossing = event(lambda t, x: x[0])
    go = partial(solve, kind, name, "swing", (0.0, 3.0), [1.0, 0.0], **setting(name))
    none, empty, nothing, one, several, never = (
        go(events=e) for e in (None, [], (), crossing, (crossing, crossing), [event(lambda t, x: x[0] - 9)])
    )
    assert none.t_events is None and none.y_events is None
    assert empty.t_events == empty.y_events == nothing.t_events == nothing.y_events == []
    assert len(one.t_events) == len(one.y_events) == 1 and one.t_events[0].shape == (1,) and one.y_events[0].shape == (1, 2)
    assert len(several.t_events) == 2
    np.testing.assert_array_equal(several.t_events[0], several.t_events[1])
    np.testing.assert_array_equal(several.t_events[0], one.t_events[0])
    assert never.t_events[0].shape == (0,) and never.y_events[0].shape == (0, 2) and never.status == 0
    for sol in (empty, one, several, never):  # who watches does not change the run
        np.testing.assert_array_equal(sol.t, none.t)
        np.testing.assert_array_equal(sol.y, none.y)
        assert sol.nsteps == none.nsteps


@pytest.mark.parametrize("name", PLAIN)
def test_args_reach_fun_and_every_event(name: str) -> None:
    def pull(t: float, x: Any, g: float, floor: float) -> Any:
        return [x[1], -g]

    def lands(t: float, x: Any, g: float, floor: float) -> Any:
        return x[0] - floor

    def late(t: float, x: Any, *args: float) -> Any:
        return t - 0.05 * args[0]

    lands.terminal, lands.direction = True, -1
    sol = phdyn.simulate(pull, (0.0, 9.0), [3.0, 0.0], method=name, events=(late, lands), args=(4.0, 1.0), **setting(name, 0.01))
    error = 0.02 if get(name).fixed and get(name).order == 1 else 1e-9 if name == "BDF" else 1e-12  # BDF begins with order 1
    assert sol.status == 1
    close([*sol.t_events[0], *sol.t_events[1]], [0.2, 1.0], atol=error)
    if name in SCIPY:
        options = setting(name)
        theirs = solve_ivp(pull, (0.0, 9.0), [3.0, 0.0], method=name, events=(late, lands), args=(4.0, 1.0), **options)
        same_events(sol, theirs)
