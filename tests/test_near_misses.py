"""Near misses: of a goal that was not reached, the lowest V of the run that there was, and when."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from batches import solos

import phdyn
from phdyn import HeavyBall, LossGoal, SwitchedFriction, simulate
from phdyn.events import Guard, TimeReached

SPAN = (0.0, 5.0)
STATES = np.array([[1.0, 0.0], [1.3, 0.2], [-0.8, 0.9], [0.4, -1.5]])


def well(q: Any) -> Any:
    return (q * q).sum(-1) + 0.01


def lowest(sol: phdyn.Solution) -> float:
    """Return the lowest V of a single run at step ends."""
    return float(np.min(sol.energy.potential))


def check(sol: phdyn.Solution, *, dips: bool = False) -> None:
    """Check the invariants of a single run: within the run, and no lower than its path."""
    (miss,) = sol.near_misses
    low, high = sorted((float(sol.t[0]), float(sol.t_end)))
    assert low <= miss.time <= high
    if not dips:
        assert miss.value == pytest.approx(lowest(sol), rel=2e-6)
        assert sol.energy.potential[np.argmin(np.abs(sol.energy.t - miss.time))] == pytest.approx(miss.value, rel=2e-6)
    assert 0.01 * (1 - 1e-6) <= miss.value <= lowest(sol) * (1 + 2e-6)


@pytest.mark.parametrize("time", np.linspace(0.11, 4.7, 11).tolist())
@pytest.mark.parametrize("goal", [0.0, 0.001])
def test_a_run_that_ends_inside_a_step_was_not_at_the_steps_end(time: float, goal: float) -> None:
    events = [LossGoal(value=goal), TimeReached(time, terminal=True)]
    options: dict[str, Any] = {"method": "strang", "step": 0.2, "events": events, "monitor": None}
    batch = simulate(HeavyBall(well), SPAN, STATES, **options)
    for k, single in enumerate(solos(HeavyBall(well), SPAN, STATES, **options)):
        check(single, dips=True)
        row = batch.near_misses[k]
        assert (row.trajectory, row.time, row.value) == pytest.approx((k, single.near_misses[0].time, single.near_misses[0].value))


def test_the_issue_of_a_run_that_ends_at_one() -> None:
    events = [LossGoal(value=0.001), TimeReached(1.01, terminal=True)]
    sol = simulate(HeavyBall(well), SPAN, [1.0, 0.0], method="strang", step=0.2, events=events, monitor=None)
    assert sol.near_misses[0].time == sol.t_end == pytest.approx(1.01)
    check(sol)


def test_backwards() -> None:
    events = [LossGoal(value=0.001), TimeReached(-1.01, terminal=True)]
    sol = simulate(HeavyBall(well), (0.0, -5.0), [1.0, 0.0], method="strang", step=0.2, events=events, monitor=None)
    assert sol.near_misses[0].time == sol.t_end == pytest.approx(-1.01)
    check(sol)


def test_a_dip_before_the_cut_counts_one_after_it_does_not() -> None:
    """V is lowest at pi / sqrt(8) = 1.1107, inside the step from 0.9 to 1.2."""
    for time, deep in ((1.1, False), (1.13, True)):
        goal = LossGoal(value=0.0099)
        events = [goal, TimeReached(time, terminal=True)]
        sol = simulate(HeavyBall(well), SPAN, [1.0, 0.0], method="blanes-moan-4", step=0.3, events=events, monitor=None)
        miss = sol.near_misses[0]
        check(sol, dips=True)
        assert (miss.time < sol.t_end) == deep and (miss.time == pytest.approx(1.1107, abs=1e-3)) == deep


def test_a_step_that_failed_was_not_taken() -> None:
    """The guard raises at the end of the step to 0.6, where V is lower than ever before."""

    def fragile(point: Any) -> Any:
        if point.t > 0.5:
            raise RuntimeError("no")
        return point.t + 1.0

    events = [LossGoal(value=0.001), Guard(fragile, name="fragile")]
    sol = simulate(HeavyBall(well), SPAN, [1.0, 0.0], method="strang", step=0.2, events=events, monitor=None)
    assert sol.status == -7 and sol.t_end == pytest.approx(0.4)
    check(sol)


def test_a_guard_that_becomes_nan_ends_its_trajectory_where_the_step_began() -> None:
    def broken(point: Any) -> Any:
        return np.where(point.q[..., 0] < 0.9, np.nan, 1.0)

    events = [LossGoal(value=0.001), Guard(broken, name="broken")]
    sol = simulate(HeavyBall(well), SPAN, STATES[:2], method="strang", step=0.2, events=events, monitor=None)
    assert sol.status.tolist() == [-2, -2]
    for k in range(2):
        assert sol.near_misses[k].time <= sol.t_end[k] and sol.near_misses[k].value == pytest.approx(sol.energy.potential[k].min())


def test_the_goal_of_a_mode_is_missed_where_the_run_was() -> None:
    friction = SwitchedFriction(0.0, 1.0, LossGoal(value=0.001), fallback=TimeReached(1.01))
    for x0 in (STATES[0], STATES):
        sol = simulate(HeavyBall(well, friction=friction), SPAN, x0, method="strang", step=0.2, monitor=None)
        rows = sol.near_misses
        assert len(rows) == (1 if x0.ndim == 1 else 4) and rows[0].time == pytest.approx(1.01)
