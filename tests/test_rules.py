"""The field's rules against references of their own: closed forms, or scipy stopped and restarted by hand.

Each section is a rule, its source and what is known about it. Restart guards are exactly zero at a restart (p = 0), so every count of
restarts here is also a test that none fires twice.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.optimize import brentq
from scipy.special import jv, yv

import phdyn
from phdyn import HeavyBall, HybridAutomaton, LossGoal, NesterovFriction, SwitchedFriction, Transition, simulate
from phdyn.events import (
    Budget,
    FunctionRestart,
    GradientRestart,
    RebaseGoal,
    ResetMomentum,
    RotateMomentum,
    SpeedRestart,
    Stagnation,
    TimeReached,
    energy_conserving_descent,
    uniting,
)
from phdyn.potentials import MultiWell, Quadratic, StyblinskiTang

STEPS = {"strang": 0.02, "blanes-moan-4": 0.1, "blanes-moan-6": 0.2, "rk4": 0.05, "yoshida-4": 0.05}
ADAPTIVE = ("RK45", "DOP853", "LSODA", "Radau", "dopri5", "dopri8")
ACCURACY = {"strang": 1e-3, "blanes-moan-6": 1e-6} | dict.fromkeys(ADAPTIVE, 1e-6)


def settings(method: str) -> dict[str, Any]:
    return {"method": method, "step": STEPS[method]} if method in STEPS else {"method": method, "rtol": 1e-9, "atol": 1e-12}


def accuracy(method: str) -> float:
    return ACCURACY.get(method, 1e-4)


def orders(errors: list[float]) -> Any:
    assert min(errors) > 1e-12
    return np.log2(np.array(errors[:-1]) / errors[1:])


# --- goals (Burghoff, Monells & Gottschalk 2023: friction switched by a reduction of the loss): one, a ladder, re-based ---------------

SPECTRUM = np.array([1.0, 2.0])
START = np.array([1.0, 1.0])


def damped(gamma: float, s: float, x: Any) -> Any:
    """The damped oscillators' state after s, by the matrix exponential."""
    block = np.block([[np.zeros((2, 2)), np.eye(2)], [-np.diag(SPECTRUM), -gamma * np.eye(2)]])
    return expm(s * block) @ x


def height(x: Any) -> float:
    return float(0.5 * SPECTRUM @ x[:2] ** 2)


def goal_times(rates: Any, levels: Any) -> Any:
    """The times at which V falls to each level, friction taking the next rate there: a search in steps of 0.01, then Brent's."""
    t, x, times = 0.0, np.concatenate([START, [0.0, 0.0]]), []
    for gamma, level in zip(rates, levels, strict=True):
        stride, s = damped(gamma, 0.01, np.eye(4)), 0.0
        y = x
        while height(y) > level:
            y, s = stride @ y, s + 0.01
        if s > 0:
            s = brentq(lambda s, g=gamma, x=x, level=level: height(damped(g, s, x)) - level, s - 0.01, s, xtol=1e-14)
        t, x = t + s, damped(gamma, s, x)
        times.append(t)
    return np.array(times)


V0 = height(START)
GOALS = {  # friction, levels as shares of V(q0), on the first fall and on later ones
    "one": (SwitchedFriction(0.1, 2.0, LossGoal(reduction=0.9)), (0.1,), (0.1,)),
    "ladder": (
        SwitchedFriction(0.05, (0.2, 0.5, 1.0), tuple(LossGoal(reduction=r) for r in (0.5, 0.93, 0.98))),
        (0.05, 0.2, 0.5),
        (0.5, 0.07, 0.02),
    ),
}


@pytest.mark.parametrize("method", [*STEPS, *ADAPTIVE])
@pytest.mark.parametrize("rule", ["one", "ladder"])
def test_goals_brake_at_the_times_of_the_closed_form(rule: str, method: str) -> None:
    friction, rates, shares = GOALS[rule]
    exact = goal_times(rates, np.array(shares) * V0)
    end = float(exact[-1]) + 0.5
    sol = simulate(HeavyBall(Quadratic(SPECTRUM), friction=friction), (0.0, end), [*START, 0.0, 0.0], **settings(method))
    np.testing.assert_allclose(sol.switches["time"], exact, rtol=0, atol=accuracy(method))
    np.testing.assert_allclose(sol.switches["loss"], np.array(shares) * V0, rtol=1e-9)
    assert (sol.switches["injected"] == 0).all() and sol.energy_balance().verdict != "violated"


@pytest.mark.parametrize("method", ["strang", "blanes-moan-4", "RK45"])
def test_a_rebased_goal_halves_the_loss_again_and_again(method: str) -> None:
    """Each rung refers to the loss at the rung before: V0/2, V0/4, V0/8, ..., at the closed form's times."""
    names = [f"rung-{k}" for k in range(6)]
    rates = (0.05, 0.1, 0.2, 0.1, 0.2)
    rungs = [Transition(a, b, LossGoal(reduction=0.5), RebaseGoal()) for a, b in pairwise(names)]
    modes = {name: HeavyBall(Quadratic(SPECTRUM), friction=rate) for name, rate in zip(names, (*rates, 1.0), strict=True)}
    sol = simulate(HybridAutomaton(modes, rungs, initial="rung-0"), (0.0, 12.0), [*START, 0.0, 0.0], **settings(method))
    levels = V0 * 0.5 ** np.arange(1, 6)
    np.testing.assert_allclose(sol.switches["loss"], levels, rtol=1e-9)
    np.testing.assert_allclose(sol.switches["time"], goal_times(rates, levels), rtol=0, atol=accuracy(method))


# --- restarts (O'Donoghue & Candes 2015; Su, Boyd & Candes 2016, sec. 5): friction 3/t whose clock restarts with the momentum ----------
# Between restarts a mode of frequency w moves as q = (a J1(w t) + b Y1(w t))/t, t from the clock's t0: the reference is exact.


def bessel(w: Any, clock: float, q: Any, s: Any) -> tuple[Any, Any]:
    """Positions and momenta a time s after a restart at q, p = 0; w and q (n,), s (m, 1) or a number."""
    z, t = w * clock, clock + s
    norm = jv(1, z) * yv(2, z) - yv(1, z) * jv(2, z)
    a, b = clock * yv(2, z) / norm, -clock * jv(2, z) / norm
    return q * (a * jv(1, w * t) + b * yv(1, w * t)) / t, -w * q * (a * jv(2, w * t) + b * yv(2, w * t)) / t


def restart_guard(rule: Any, w: Any, clock: float, q: Any, s: Any) -> Any:
    """Positive until the restart: -dV/dt for the function and gradient rules, dT/dt for the speed rule."""
    position, p = bessel(w, clock, q, s)
    falling = -(w**2 * position * p).sum(-1)
    return falling - 3 / (clock + np.squeeze(s)) * (p * p).sum(-1) if rule is SpeedRestart else falling


@cache
def exact_restarts(rule: Any, w: tuple[float, ...], q: tuple[float, ...], clock: float, count: int) -> Any:
    """Times of the first restarts, and V there, of oscillators that start at rest at q."""
    frequencies, position, t, rows = np.array(w), np.array(q), 0.0, []
    grid = np.arange(1, 801)[:, None] * (0.02 / max(w))
    for _ in range(count):
        s, low = grid, 0.0
        while (positive := restart_guard(rule, frequencies, clock, position, s) > 0).all():
            s, low = s + grid[-1], s[-1, 0]
        k = int(np.argmin(positive))
        low, high = (low if k == 0 else s[k - 1, 0]), s[k, 0]
        s = brentq(lambda s, x=position: restart_guard(rule, frequencies, clock, x, s), low, high, xtol=1e-15, rtol=1e-14)
        t, position = t + s, bessel(frequencies, clock, position, s)[0]
        rows.append((t, 0.5 * (frequencies**2) @ position**2))
    return np.array(rows).T


def restarted(potential: Any, rule: Any, clock: float) -> HybridAutomaton:
    roll = HeavyBall(potential, friction=NesterovFriction(3.0, restart=clock))
    return HybridAutomaton({"roll": roll}, [Transition("roll", "roll", rule(), ResetMomentum())], initial="roll")


@pytest.mark.parametrize(("method", "clock"), [
    ("strang", 0.1), ("rk4", 0.1), ("blanes-moan-4", 0.01), ("blanes-moan-6", 0.01), ("RK45", 0.01), ("DOP853", 0.01), ("LSODA", 0.01),
])  # fmt: skip
def test_speed_restarts_of_one_mode_are_a_geometric_sequence(method: str, clock: float) -> None:
    """Every restart repeats the first one in small: V_k = V0 c^k at the times k tau, down to rounding (clock 0.01: 0.5 to 9e-17)."""
    (tau, *_), (fallen, *_) = exact_restarts(SpeedRestart, (1.0,), (1.0,), clock, 1)
    options = settings(method) | ({"rtol": 1e-8, "atol": 1e-22} if method in ADAPTIVE else {})
    sol = simulate(restarted(Quadratic([1.0]), SpeedRestart, clock), (0.0, 55.0), [1.0, 0.0], **options)
    k = np.arange(1, int(55 / tau) + 1)
    assert len(sol.switches) == len(k) >= 24 and sol.status == 0
    np.testing.assert_allclose(sol.switches["time"], k * tau, rtol=2e-4 if method == "strang" else 1e-5)
    np.testing.assert_allclose(sol.switches["loss"], 0.5 * (2 * fallen) ** k, rtol=1e-2 if method == "strang" else 1e-3)
    assert sol.energy.potential[-1] < 1e-16 < 0.5
    assert np.log(2 * fallen) / tau == pytest.approx(-0.66 if clock == 0.01 else -0.685, abs=1e-3)  # the linear rate


@pytest.mark.parametrize("rule", [SpeedRestart, FunctionRestart])
@pytest.mark.parametrize(("method", "order", "steps"), [
    ("strang", 2, (0.04, 0.02, 0.01)), ("rk4", 4, (0.08, 0.04, 0.02)), ("yoshida-4", 4, (0.08, 0.04, 0.02)),
    ("blanes-moan-4", 4, (0.16, 0.08, 0.04)), ("blanes-moan-6", 6, (0.16, 0.08)),
])  # fmt: skip
def test_restart_times_have_the_methods_order(method: str, order: int, steps: Any, rule: Any) -> None:
    exact, heights = exact_restarts(rule, (1.0, 3.0), (1.0, 0.5), 0.5, 3)
    system, errors = restarted(Quadratic([1.0, 9.0]), rule, 0.5), []
    for step in steps:
        sol = simulate(system, (0.0, float(exact[2]) + 0.2), phdyn.at_rest([1.0, 0.5]), method=method, step=step, monitor=None)
        errors.append(np.abs(sol.switches["time"][:3] - exact).max())
    np.testing.assert_allclose(orders(errors), order, rtol=0, atol=0.5)
    np.testing.assert_allclose(sol.switches["loss"][:3], heights, rtol=0, atol=accuracy(method))


@pytest.mark.parametrize("rule", [SpeedRestart, FunctionRestart])
@pytest.mark.parametrize("method", ADAPTIVE)
def test_adaptive_methods_restart_at_the_exact_times(method: str, rule: Any) -> None:
    exact, _ = exact_restarts(rule, (1.0, 3.0), (1.0, 0.5), 0.5, 3)
    end = float(exact[2]) + 0.1
    sol = simulate(restarted(Quadratic([1.0, 9.0]), rule, 0.5), (0.0, end), phdyn.at_rest([1.0, 0.5]), **settings(method))
    assert len(sol.switches) == 3
    np.testing.assert_allclose(sol.switches["time"], exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("condition", [1e2, 1e3, 1e4])
def test_restarts_are_linear_where_nesterov_friction_alone_is_cubic(condition: float) -> None:
    """log V at the restarts against t is a straight line, at the slow mode's own rate for the speed rule; H without restarts goes like
    t^-3 (Su, Boyd & Candes 2016: O(t^-3) for r = 3 on strongly convex f)."""
    frequencies = np.geomspace(1.0, np.sqrt(condition), 12)
    V, q0, step = Quadratic(frequencies**2), np.ones(12), 1.0 / np.sqrt(condition)
    options = {"method": "blanes-moan-4", "step": step, "record": "energy"}
    plain = simulate(HeavyBall(V, friction=NesterovFriction(3.0)), (0.1, 30.0), phdyn.at_rest(q0), **options)
    late = plain.energy.t > 5
    envelope = np.polyfit(np.log(plain.energy.t[late]), np.log(plain.energy.hamiltonian[late]), 1)[0]
    assert envelope == pytest.approx(-3.0, abs=0.02)

    (tau, *_), (fallen, *_) = exact_restarts(SpeedRestart, (1.0,), (1.0,), 0.1, 1)
    for rule, straight, slowest in ((SpeedRestart, 0.9999, np.log(2 * fallen) / tau), (FunctionRestart, 0.97, -1.3)):
        sol = simulate(restarted(V, rule, 0.1), (0.0, 30.0), phdyn.at_rest(q0), **options)
        assert sol.status == 0 and 5 < len(sol.switches) < 40  # 12 modes: a few early restarts more
        late = (sol.switches["time"] > 5) & (sol.switches["loss"] > 1e-25)
        t, height = sol.switches["time"][late], np.log(sol.switches["loss"][late])
        assert np.corrcoef(t, height)[0, 1] ** 2 > straight
        rate = np.polyfit(t, height, 1)[0]
        assert rate == pytest.approx(slowest, rel=1e-2) if rule is SpeedRestart else rate < slowest
        assert sol.energy.hamiltonian[-1] < 1e-4 * plain.energy.hamiltonian[-1]
        assert sol.energy_balance().holds


def test_in_continuous_time_the_gradient_rule_is_the_function_rule() -> None:
    V, x0 = Quadratic([1.0, 9.0, 100.0]), phdyn.at_rest([1.0, 0.5, 0.1])
    options = {"method": "blanes-moan-4", "step": 0.05}
    runs = [simulate(restarted(V, rule, 0.5), (0.0, 15.0), x0, **options) for rule in (FunctionRestart, GradientRestart)]
    assert len(runs[0].switches) > 4
    np.testing.assert_array_equal(runs[0].y, runs[1].y)


def test_the_function_rule_stops_one_mode_at_its_minimum_and_is_done() -> None:
    """dV/dt = w^2 q p turns positive where q = 0: all the energy is kinetic there, and the restart takes it. What is left is the error of
    locating; once that is exactly zero, nothing moves and nothing fires."""
    exact, _ = exact_restarts(FunctionRestart, (1.0,), (1.0,), 0.5, 1)
    for method in ("blanes-moan-4", "blanes-moan-6", "rk4", "DOP853"):
        sol = simulate(restarted(Quadratic([1.0]), FunctionRestart, 0.5), (0.0, 40.0), [1.0, 0.0], **settings(method))
        assert sol.status == 0 and 1 <= len(sol.switches) <= 40 / exact[0] + 1
        assert sol.switches[0].time == pytest.approx(exact[0], abs=accuracy(method))
        assert sol.switches[0].loss < 1e-20
    still = simulate(restarted(Quadratic([1.0]), SpeedRestart, 0.5), (0.0, 5.0), [0.0, 0.0], method="strang", step=0.1)
    assert len(still.switches) == 0 and still.status == 0


@pytest.mark.parametrize(("method", "step"), [("strang", 0.02), ("rk4", 0.1)])
def test_a_clock_that_starts_within_a_step_wants_a_dwell(method: str, step: float) -> None:
    """At 3/t with t far below the step both let the ball slow down within its first step, which is no restart of the motion's."""
    exact, _ = exact_restarts(SpeedRestart, (1.0,), (1.0,), 0.001, 4)
    roll = HeavyBall(Quadratic([1.0]), friction=NesterovFriction(3.0, restart=0.001))
    again = Transition("roll", "roll", SpeedRestart(), ResetMomentum(), min_dwell=2 * step)
    system = HybridAutomaton({"roll": roll}, [again], initial="roll")
    sol = simulate(system, (0.0, 10.0), [1.0, 0.0], method=method, step=step, monitor=None)
    np.testing.assert_allclose(sol.switches["time"], exact, rtol=1e-3)


@pytest.mark.parametrize("kind", ["float32", "torch"])
def test_restarts_fire_as_often_in_single_precision_and_on_tensors(kind: str) -> None:
    exact, _ = exact_restarts(SpeedRestart, (1.0, 3.0), (1.0, 0.5), 0.5, 12)
    x0: Any = phdyn.at_rest([1.0, 0.5])
    x0 = np.float32(x0) if kind == "float32" else torch.tensor(x0, dtype=torch.float64)
    sol = simulate(restarted(Quadratic([1.0, 9.0]), SpeedRestart, 0.5), (0.0, 20.0), x0, method="blanes-moan-4", step=0.05)
    assert len(sol.switches) == (exact < 20).sum() == 12
    np.testing.assert_allclose(sol.switches["time"], exact[exact < 20], rtol=0, atol=1e-3 if kind == "float32" else 1e-6)


class Logistic:
    """Regularized logistic regression on eight fixed points: convex, not quadratic."""

    dim = 3
    points = np.random.default_rng(5).standard_normal((8, 3)) * [4.0, 2.0, 1.0]
    ridge = 0.05

    def value(self, q: Any) -> Any:
        return np.logaddexp(0.0, -self.points @ q).sum() + 0.5 * self.ridge * (q @ q)

    def value_and_grad(self, q: Any) -> Any:
        margin = self.points @ q
        return self.value(q), -self.points.T @ (1 / (1 + np.exp(margin))) + self.ridge * q


def restarts_by_hand(potential: Any, rule: Any, clock: float, q: Any, count: int) -> Any:
    """scipy's DOP853 at 1e-12, stopped at each restart and begun again from rest."""
    n, t, times = len(q), 0.0, []

    def gradient(x: Any) -> Any:
        return potential.value_and_grad(x[:n])[1]

    def fun(s: float, x: Any) -> Any:
        return np.concatenate([x[n:], -gradient(x) - 3 / (clock + s) * x[n:]])

    def stop(s: float, x: Any) -> float:
        push = gradient(x) if rule is FunctionRestart else fun(s, x)[n:]
        return (-1 if rule is FunctionRestart else 1) * float(push @ x[n:])

    stop.terminal, stop.direction = True, -1
    for _ in range(count):
        begun = solve_ivp(fun, (0.0, 1e-3), [*q, *np.zeros(n)], method="DOP853", rtol=1e-12, atol=1e-14)
        piece = solve_ivp(fun, (1e-3, 100.0), begun.y[:, -1], method="DOP853", rtol=1e-12, atol=1e-14, events=stop)
        t, q = t + piece.t[-1], piece.y[:n, -1]
        times.append(t)
    return np.array(times)


@pytest.mark.parametrize("rule", [SpeedRestart, FunctionRestart])
def test_restarts_on_a_logistic_loss_agree_with_scipy_restarted_by_hand(rule: Any) -> None:
    V, q0 = Logistic(), [-1.0, 1.0, 1.0]
    times = restarts_by_hand(V, rule, 0.5, q0, 4)
    for options in ({"method": "blanes-moan-6", "step": 0.02}, {"method": "DOP853", "rtol": 1e-10, "atol": 1e-12}):
        sol = simulate(restarted(V, rule, 0.5), (0.0, float(times[-1]) + 0.05), phdyn.at_rest(q0), **options)
        assert len(sol.switches) == 4
        np.testing.assert_allclose(sol.switches["time"], times, rtol=0, atol=1e-7)


# --- re-exploration at stagnation (SHAPE, Wang & Bajaj 2026, leaves a stage where it stagnates) ----------------------------------------

WELLS = MultiWell()
KICK = 3.0  # momentum: an energy of 4.5, about that of the start


def kicked(t: float, x: Any) -> Any:
    return np.array([x[0], -KICK])


def reexploring(*actions: Any) -> HybridAutomaton:
    back = Transition("exploit", "explore", Stagnation(3.0, 1e-3), list(actions))
    return HybridAutomaton(
        {"explore": HeavyBall(WELLS, friction=0.05), "exploit": HeavyBall(WELLS, friction=3.0)},
        [Transition("explore", "exploit", LossGoal(reduction=0.3)), back],
        initial="explore",
    )


@pytest.mark.parametrize("method", ["strang", "blanes-moan-4", "rk4", "RK45"])
def test_reexploration_with_a_kick_leaves_one_poor_well_after_the_other(method: str) -> None:
    """A goal of 30 % brakes too early, in the well of height 1.952. Each kick, and the goal re-based, leads one well further down."""
    sol = simulate(reexploring(kicked, RebaseGoal()), (0.0, 30.0), [7.2, 0.0], **settings(method))
    reached, left = sol.switches["target"] == "exploit", sol.switches["target"] == "explore"
    poor = np.sort(WELLS.minimum_values)[::-1][2:8:2]  # 1.952, 0.868, 0.217: minima come in pairs but for the lowest
    np.testing.assert_allclose(sol.switches["loss"][left], poor, rtol=0, atol=1e-3)
    references = np.concatenate([[WELLS.value(np.array([7.2]))], sol.switches["loss"][left]])
    np.testing.assert_allclose(sol.switches["loss"][reached], 0.7 * references, rtol=1e-8)
    np.testing.assert_allclose(sol.switches["injected"][left], KICK**2 / 2, atol=1e-5)  # less the little that was left of T
    assert sol.energy.potential[-1] < 1e-8 and sol.energy_balance().holds


def test_reexploration_agrees_with_scipy_stopped_and_kicked_by_hand() -> None:
    """The goals; stagnation is a matter of step ends, so its times are taken over."""
    sol = simulate(reexploring(kicked, RebaseGoal()), (0.0, 30.0), [7.2, 0.0], method="blanes-moan-6", step=0.05)
    x, t, reference = np.array([7.2, 0.0]), 0.0, float(WELLS.value(np.array([7.2])))
    for row in sol.switches:
        gamma = 0.05 if row.source == "explore" else 3.0

        def fun(s: float, x: Any, gamma: float = gamma) -> Any:
            return [x[1], -float(WELLS.value_and_grad(x[:1])[1][0]) - gamma * x[1]]

        def goal(s: float, x: Any, level: float = 0.7 * reference) -> float:
            return float(WELLS.value(x[:1])) - level

        goal.terminal, goal.direction = True, -1
        ends = {"t_span": (t, 40.0), "events": goal} if row.source == "explore" else {"t_span": (t, row.time)}
        piece = solve_ivp(fun, y0=x, method="DOP853", rtol=1e-11, atol=1e-13, max_step=0.05, **ends)
        x, t = piece.y[:, -1], piece.t[-1]
        assert row.time == pytest.approx(t, abs=1e-6)
        assert row.x_before[0] == pytest.approx(x[0], abs=1e-6)
        if row.source == "exploit":
            x, reference = kicked(t, x), float(WELLS.value(x[:1]))


def test_low_friction_alone_does_not_lead_out_of_a_well() -> None:
    """V <= H, and H is spent: what friction has taken does not come back by switching it off."""
    sol = simulate(reexploring(RebaseGoal()), (0.0, 60.0), [7.2, 0.0], method="strang", step=0.02)
    assert list(sol.switches["target"]) == ["exploit", "explore"]
    back = sol.switches[1]
    assert sol.energy.potential[-1] == pytest.approx(1.95215174, abs=1e-4)
    assert (sol.energy.potential[sol.energy.t >= back.time] <= back.hamiltonian + 1e-9).all()


# --- uniting control (Hustig-Schultz & Sanfelice, arXiv 2202.07739): Nesterov far from the minimum, heavy ball near it -------------------


class Bowl:
    """V = sqrt(1 + q^2) - 1: a slope far away, a parabola of curvature 1 near the minimum."""

    dim = 1

    def value(self, q: Any) -> Any:
        return (q * q / (1 + np.sqrt(1 + q * q))).sum(-1)

    def value_and_grad(self, q: Any) -> Any:
        return self.value(q), q / np.sqrt(1 + q * q)


def settled(sol: Any, level: float) -> float:
    """The time from which on H stays below the level."""
    above = np.flatnonzero(sol.energy.hamiltonian > level)[-1]
    return float(sol.energy.t[above + 1]) if above + 1 < len(sol.energy.t) else np.inf


def turns(sol: Any, after: float) -> int:
    return int((np.diff(np.sign(sol.q[0][sol.t >= after])) != 0).sum())


def test_uniting_runs_like_nesterov_and_settles_like_the_damped_ball() -> None:
    """Critical damping near the minimum (friction 2 sqrt(V'')) crosses it at most once, but creeps down the slope at speed 1/2 alone;
    Nesterov's r/t is fast there and oscillates for ever."""
    V, options = Bowl(), {"method": "blanes-moan-4", "step": 0.1}
    united = simulate(uniting(V, inner=1.0, outer=10.0, friction=2.0), (0.0, 60.0), [50.0, 0.0], **options)
    ball = simulate(HeavyBall(V, friction=2.0), (0.0, 120.0), [50.0, 0.0], **options)
    nesterov = simulate(HeavyBall(V, friction=NesterovFriction(3.0)), (1.0, 121.0), [50.0, 0.0], **options)
    (row,) = list(united.switches)
    assert row.target == "near" and turns(united, row.time) <= 1
    assert settled(united, 1e-6) < 30 and 105 < settled(ball, 1e-6) < 110  # 29.4 and 108.7 measured
    assert settled(nesterov, 1e-6) == np.inf and turns(nesterov, 1.0) > 20
    far = nesterov.t <= 1.0 + row.time
    assert nesterov.q[0][far].min() > 0  # the same motion up to the switch, whose clock starts at 1
    np.testing.assert_allclose(np.interp(row.time, nesterov.t - 1.0, nesterov.q[0]), row.x_before[0], atol=2e-3)


INNER, OUTER = 0.01, 0.1


@cache
def united_by_hand() -> Any:
    """scipy's DOP853, stopped at each height and begun again with the other friction: the first three switches."""
    V, t, x, mode, times = Bowl(), 0.0, np.array([50.0, 0.0]), "far", []
    while len(times) < 3:

        def fun(s: float, x: Any, mode: str = mode, t: float = t) -> Any:
            gamma = 3 / (1 + s - t) if mode == "far" else 2.0
            return [x[1], -x[0] / np.sqrt(1 + x[0] ** 2) - gamma * x[1]]

        def cross(s: float, x: Any, level: float = INNER if mode == "far" else OUTER) -> float:
            return float(V.value(x[:1])) - level

        cross.terminal, cross.direction = True, -1 if mode == "far" else 1
        begun = solve_ivp(fun, (t, t + 1e-3), x, method="DOP853", rtol=1e-11, atol=1e-13)
        ahead = {"method": "DOP853", "rtol": 1e-11, "atol": 1e-13, "max_step": 0.02}
        piece = solve_ivp(fun, (t + 1e-3, 60.0), begun.y[:, -1], events=cross, **ahead)
        t, x, mode = piece.t[-1], piece.y[:, -1], "near" if mode == "far" else "far"
        times.append(t)
    return np.array(times)


@pytest.mark.parametrize("method", ["strang", "blanes-moan-4", "rk4", "RK45", "DOP853", "LSODA"])
def test_hysteresis_switches_at_its_two_heights_and_does_not_chatter(method: str) -> None:
    """Entered with much speed, a narrow band is left once on the other side: far, near, far, near."""
    sol = simulate(uniting(Bowl(), inner=INNER, outer=OUTER, friction=2.0), (0.0, 40.0), [50.0, 0.0], **settings(method))
    assert list(sol.switches["target"]) == ["near", "far", "near"]
    np.testing.assert_allclose(sol.switches["loss"], [INNER, OUTER, INNER], rtol=1e-6)
    np.testing.assert_allclose(sol.switches["time"], united_by_hand(), rtol=0, atol=accuracy(method))


def test_a_band_of_no_width_to_speak_of_still_ends() -> None:
    """inner and outer a millionth apart: without a gap there is no hysteresis, and yet no endless switching."""
    sol = simulate(uniting(Bowl(), inner=0.01, outer=0.01 * (1 + 1e-6)), (0.0, 60.0), [50.0, 0.0], method="blanes-moan-4", step=0.05)
    assert sol.status == 0 and sol.switches["target"][-1] == "near" and len(sol.switches) < 10
    assert (sol.switches["target"] != sol.switches["source"]).all()


# --- energy-conserving descent (De Luca & Silverstein, ICML 2022): no friction, a random direction where the loss stagnates -------------


def test_descent_with_bounces_conserves_its_energy_to_the_methods_order() -> None:
    """H at any time, bounces or not, so p^2 = 2 (E - V): fastest where V is lowest."""
    V = StyblinskiTang()
    system = energy_conserving_descent(V, patience=3.0, seed=1)
    for method, order, steps in (("strang", 2, (0.02, 0.01)), ("blanes-moan-4", 4, (0.05, 0.025)), ("blanes-moan-6", 6, (0.08, 0.04))):
        spreads = []
        for step in steps:
            sol = simulate(system, (0.0, 12.0), phdyn.at_rest([3.8, 3.8]), method=method, step=step)
            assert len(sol.switches) >= 2
            kept = 4 * np.finfo(float).eps * sol.energy.kinetic.max()  # a bounce keeps |p| to rounding
            assert np.abs(sol.switches["injected"]).max() < kept
            spreads.append(np.abs(sol.energy.hamiltonian - sol.energy.hamiltonian[0]).max())
        assert orders(spreads)[0] > order - 0.6
        assert np.argmax((sol.p**2).sum(0)) == np.argmin(sol.energy.potential)
        start = float(V.value(np.array([3.8, 3.8])))
        np.testing.assert_allclose((sol.p**2).sum(0), 2 * (start - sol.energy.potential), atol=3 * spreads[-1])
    for row in sol.switches:
        before, after = row.x_before[2:], row.x_after[2:]
        assert np.linalg.norm(after) == pytest.approx(np.linalg.norm(before), rel=1e-14)
        assert np.linalg.norm(after - before) > 1e-3


@pytest.mark.parametrize("method", ["strang", "blanes-moan-6", "RK45"])
def test_bounces_come_when_the_loss_has_stagnated_for_the_patience(method: str) -> None:
    """Counted again from the recorded step ends: the clock starts where the lowest V was last undercut by the tolerance, or at a bounce."""
    patience, tolerance = 2.0, 1e-2
    system = energy_conserving_descent(StyblinskiTang(), patience=patience, tolerance=tolerance, seed=1)
    sol = simulate(system, (0.0, 20.0), phdyn.at_rest([3.8, 3.8]), **settings(method))
    lowest, since, bounces = sol.energy.potential[0], 0.0, []
    for t, height in zip(sol.energy.t, sol.energy.potential, strict=True):
        if t - since >= patience * (1 - 1e-12) and not lowest - tolerance * abs(lowest) > height:
            bounces.append(t)
            lowest, since = height, t  # the mode is entered anew
        elif lowest - tolerance * abs(lowest) > height:
            lowest, since = height, t
    assert len(bounces) >= 3
    np.testing.assert_allclose(sol.switches["time"], bounces, rtol=1e-12)


def test_bounces_find_the_lowest_well_where_the_ball_alone_is_kept_out() -> None:
    """On the diagonal of a symmetric landscape a ball stays on it. Its energy, -3.5, lies below the saddle there (0) but above the passes
    at the side: bounces lead out, and a goal then brakes in the lowest of four wells."""
    V = StyblinskiTang()
    x0 = phdyn.at_rest([3.8, 3.8])
    goal, deep = Transition("roll", "brake", LossGoal(value=-75.0)), LossGoal(value=-78.33233, terminal=True)
    for seed in range(3):
        bounce = Transition("roll", "roll", Stagnation(3.0), RotateMomentum(seed))
        system = HybridAutomaton({"roll": HeavyBall(V), "brake": HeavyBall(V, friction=5.0)}, [goal, bounce], initial="roll")
        sol = simulate(system, (0.0, 200.0), x0, method="blanes-moan-4", step=0.05, events=deep)
        assert sol.switches["target"][-1] == "brake" and (sol.switches["target"] == "roll").sum() >= 1
        assert sol.energy.potential[-1] == pytest.approx(V.minimum_values.min(), abs=1e-5)
    friction = SwitchedFriction(0.0, 5.0, LossGoal(value=-75.0), fallback=TimeReached(15.0))
    alone = simulate(HeavyBall(V, friction=friction), (0.0, 25.0), x0, method="blanes-moan-4", step=0.05)
    assert alone.energy.potential[-1] == pytest.approx(V.minimum_values.max(), abs=1e-5)  # -50.06, the highest of the four


# --- budgets, in gradients and in time --------------------------------------------------------------------------------------------------


class Counted:
    """A quadratic that counts its gradients."""

    dim = 2

    def __init__(self) -> None:
        self.gradients = 0

    def value(self, q: Any) -> Any:
        return 0.5 * (q * q).sum(-1)

    def value_and_grad(self, q: Any) -> Any:
        self.gradients += 1
        return self.value(q), q.copy()


STAGES = {"strang": 1, "yoshida-4": 3, "blanes-moan-4": 6, "blanes-moan-6": 11, "rk4": 4}


@pytest.mark.parametrize("method", STEPS)
def test_a_budget_of_gradients_ends_at_the_step_end_where_it_is_spent(method: str) -> None:
    V, stages, step = Counted(), STAGES[method], 0.1
    ball, budget = HeavyBall(V, friction=0.1), Budget(100, terminal=True)
    sol = simulate(ball, (0.0, 50.0), [1.0, 0.5, 0.0, 0.0], method=method, step=step, events=budget)
    steps = -(-99 // stages)  # the first gradient is the start's
    assert sol.status == 1 and sol.nsteps == steps and sol.t_end == step * steps
    assert sol.nfev == V.gradients == 1 + stages * steps
    assert sol.t_events[0].tolist() == [sol.t_end]


@pytest.mark.parametrize("method", ["RK45", "DOP853", "LSODA", "dopri5"])
def test_a_budget_ends_adaptive_runs_at_the_first_step_end_beyond_it(method: str) -> None:
    ends = {}
    for budget in (100, None):
        V = Counted()
        events = [Budget(budget, terminal=True)] if budget else None
        ends[budget] = simulate(HeavyBall(V, friction=0.1), (0.0, 8.0), [1.0, 0.5, 0.0, 0.0], events=events, **settings(method))
        assert ends[budget].nfev == V.gradients
    sol, whole = ends[100], ends[None]
    k = len(sol.t) - 1
    np.testing.assert_array_equal(sol.t, whole.t[: k + 1])
    assert sol.status == 1 and 100 <= sol.nfev < 100 + 40  # a step of 12 stages, tried again once or twice
    assert sol.t_events[0].tolist() == [sol.t_end]


def test_budgets_count_through_modes_and_events() -> None:
    """A budget is the run's: two of them as switches, with a located goal between."""
    V = Counted()
    edges = [
        Transition("a", "b", Budget(50)),
        Transition("b", "c", LossGoal(reduction=0.9)),
        Transition("c", "d", Budget(200)),
    ]
    modes = {name: HeavyBall(V, friction=rate) for name, rate in zip("abcd", (0.1, 0.2, 0.4, 0.8), strict=True)}
    sol = simulate(
        HybridAutomaton(modes, edges, initial="a"), (0.0, 90.0), [1.0, 0.5, 0.0, 0.0], method="blanes-moan-4", step=0.1,
        events=Budget(400, terminal=True),
    )  # fmt: skip
    assert list(sol.switches["target"]) == ["b", "c", "d"]
    assert sol.switches[0].time == pytest.approx(0.8)  # 8 steps of 6, the start, and a look at each of the three other modes: 52
    assert sol.nfev == V.gradients and 400 <= sol.nfev <= 406 and sol.status == 1


def test_a_budget_that_a_run_goes_on_with_is_counted_anew() -> None:
    ball = HeavyBall(Counted())
    first = simulate(ball, (0.0, 2.0), [1.0, 0.5, 0.0, 0.0], method="strang", step=0.1)
    second = simulate(ball, (2.0, 20.0), first.state, method="strang", step=0.1, events=Budget(50, terminal=True))
    assert second.status == 1 and second.nfev == 50


@pytest.mark.parametrize("method", [*STEPS, *ADAPTIVE])
def test_a_budget_of_time_ends_exactly_there(method: str) -> None:
    """An eighth is no multiple of any step here, and exact in binary."""
    sol = simulate(
        HeavyBall(Quadratic([1.0]), friction=0.1), (0.0, 9.0), [1.0, 0.0], events=TimeReached(3.0625, terminal=True), **settings(method)
    )
    w = np.sqrt(1 - 0.05**2)
    exact = np.exp(-0.05 * 3.0625) * (np.cos(w * 3.0625) + 0.05 / w * np.sin(w * 3.0625))
    assert sol.status == 1 and sol.t_end == pytest.approx(3.0625, rel=4e-16)
    assert sol.q[0, -1] == pytest.approx(exact, abs=accuracy(method))


@pytest.mark.parametrize("method", ["strang", "blanes-moan-4", "rk4", "RK45"])
def test_stagnation_as_an_event_fires_after_each_patience_to_the_instant(method: str) -> None:
    """A loss that never falls by 99.9 % stagnates from the start; the times are no step ends."""
    sol = simulate(
        HeavyBall(Quadratic([1.0]), friction=3.0), (0.0, 7.0), [1.0, 0.0], events=Stagnation(1.3333, 0.9999), **settings(method)
    )
    np.testing.assert_allclose(sol.t_events[0], 1.3333 * np.arange(1, 6), rtol=1e-14)
