"""Event times, states after 1, 2 and 5 switches, and the energy account converge with the order of every registered method.

Of pairs of low order RK23 is here; torchdiffeq's would take minutes: at 1024 steps and more their event times and states have it, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import switch_order
from kinds import STOOD_FOR
from switch_order import PROBLEMS, STARTS, SWITCHES, Bowl, Problem, Window
from tolerances import REPRESENTED, tolerance, tolerances

import phdyn
from phdyn import methods

LEFT_OUT = {*REPRESENTED} - {"RK23"}  # a pair of order 3 stays
EVERY = [m for m in map(methods.get, methods.names()) if m.fits(phdyn.HeavyBall(Bowl())) and m.name not in LEFT_OUT]
IMPLICIT = [m for m in EVERY if hasattr(m, "max_iterations")]
SLOW = [m for m in IMPLICIT if m.name not in ("gonzalez", "gauss-4")]  # the order of their events: test_known_faults.py
TWIN = [methods.get("polyak")]  # the map of "sgd", with another number for friction
WITH_ORDER = [m for m in EVERY if switch_order.has_order(m) and m not in SLOW + TWIN]
ON_THE_WAY = [pytest.param(m, k, id=f"{m.name}-{k}") for m in WITH_ORDER for k in SWITCHES if k == 2 or m.name not in STOOD_FOR]
KINDS = [m for m in WITH_ORDER if m.name not in STOOD_FOR]
ADAPTIVE = [m for m in EVERY if not m.fixed]
RTOLS = (1e-4, 1e-6)

on_every_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=("goals on V", "guard on q"))


def named(method: Any) -> str:
    return str(method.name)


def effort(method: Any) -> dict[str, Any]:
    """Windows in seconds; the experiment has more steps and starts.

    Explicit Euler feeds energy in, and Nesterov's map damps by the curvature of V, too: they need the smallest steps.
    """
    explicit_euler = method.order == 1 and method.family == "runge-kutta"
    two = method.fixed and not explicit_euler
    budget = 8192 if explicit_euler else 2048 if 1 < method.order <= 4 else 4096
    budget *= 8 if method in IMPLICIT or (not method.fixed and method.order < 5) else {"nesterov": 4, "suzuki-4": 2}.get(method.name, 1)
    return {"budget": budget, "points": 3, "shifts": STARTS[: 2 if two else 1]}


def slack(order: float) -> float:
    """By how much a slope may miss an order: high orders have few halvings above rounding, and those show the error's next term."""
    return 0.2 if order <= 2 else 0.1 * order if order <= 4 else 0.2 * order


def check(window: Window, order: float, allowed: float) -> None:
    assert len(window.errors) > 1, "nothing to measure: every error is too coarse, or rounding"
    assert window.slope >= order - allowed, (window.settings, window.errors)


@on_every_problem
@pytest.mark.parametrize(("method", "switches"), ON_THE_WAY)
def test_the_order_of_a_method_survives_its_switches(method: Any, switches: int, problem: Problem) -> None:
    """Of the energy account one order less is asked above order 2.

    Runge-Kutta 4 conserves H on the bowl 30 times better than its state tells, since leading terms nearly cancel (slope 2.9 to 3.8).
    """
    time, state, energy = switch_order.measure(problem, method, switches, **effort(method))
    check(time, method.order, slack(method.order))
    check(state, method.order, slack(method.order))
    if method.kind == "exact":
        assert len(energy.errors) == 0, "the account is off by more than rounding"
        return
    check(energy, method.order, slack(method.order) if method.order <= 2 else 0.2 + max(1.0, slack(method.order)))


@on_every_problem
@pytest.mark.parametrize("method", KINDS, ids=named)
def test_the_path_inside_a_cut_step_converges(method: Any, problem: Problem) -> None:
    """It is the quintic through both ends, of order 5 in p and better in q, between states of the method's order."""
    setting = effort(method)
    setting["budget"] //= 8 if method.order == 1 else 4 if method.fixed else 1
    order = min(method.order, 5)
    for window in switch_order.measure_inside(problem, method, **setting):
        check(window, order, slack(order))


@on_every_problem
@pytest.mark.parametrize("method", ADAPTIVE, ids=named)
def test_adaptive_methods_keep_their_tolerance_through_switches(method: Any, problem: Problem) -> None:
    """Errors fall with rtol, or are at most ten times as large: LSODA's do not fall evenly."""
    rtols = tuple(tolerance(method.name, rtol if method.order >= 5 else rtol / 100) for rtol in RTOLS)
    for switches in SWITCHES:
        for window in switch_order.measure_tolerance(problem, method, switches, rtols):
            if max(np.divide(window.errors, window.settings)) > 10:
                check(window, 1.0, 0.3)


@on_every_problem
@pytest.mark.parametrize("method", EVERY, ids=named)
def test_every_switch_lies_on_its_guard(method: Any, problem: Problem) -> None:
    """Order 1 cannot tell a located switch from one at the step's end; this can."""
    options = switch_order.settings(method, problem.ends[5] / 2048) if method.order == 1 else tolerances(method.name, 1e-6, 1e-8)
    if method.fixed and method.order > 1:
        options = {"step": problem.ends[5] / 128}
    sol = switch_order.solve(problem, 0.0, method, 5, **options)
    assert sol is not None
    for k, row in enumerate(sol.switches):
        assert abs(problem.guard(k)(row.x_before, np)) < 1e-12


def test_the_reference_is_right() -> None:
    """Taylor series of 20 digits agree with it: the errors measured above are the method's."""
    in_times, in_states = switch_order.confirmed(PROBLEMS[0], 20, switches=1)
    assert in_times < 1e-13
    assert in_states < switch_order.FLOOR
