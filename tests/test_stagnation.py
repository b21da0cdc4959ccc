"""Stagnation: what is due is located, whatever rounding does, and only what fires moves the clock."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from phdyn import HeavyBall, HybridAutomaton, simulate
from phdyn.events import ReverseMomentum, Stagnation, TimeReached
from phdyn.transitions import Transition

X0 = [1.0, 0.5]


def flat(q: Any) -> Any:
    return 0 * q.sum(-1) + 1.0


def well(q: Any) -> Any:
    return (q * q).sum(-1)


@pytest.mark.parametrize("start", [0.0, 10.0, -0.3, -2.0, 1.7, 100.0, 1e3])
@pytest.mark.parametrize("every", [1, 2, 3, 7])
def test_a_patience_of_whole_steps_fires_at_each_of_its_ends(start: float, every: int) -> None:
    for step in (0.1, 0.07, 0.3, 1 / 3):
        for t_span in ((start, start + 20 * step), (start + 20 * step, start)):
            events = [Stagnation(every * step)]
            sol = simulate(HeavyBall(flat), t_span, X0, method="strang", step=step, events=events)
            batch = simulate(HeavyBall(flat), t_span, [X0, X0], method="strang", step=step, events=events)
            due = t_span[0] + np.sign(t_span[1] - t_span[0]) * step * np.arange(every, 21, every)
            np.testing.assert_allclose(sol.t_events[0], due, rtol=1e-13, atol=1e-13)
            assert [times.tolist() for times in batch.t_events[0]] == [sol.t_events[0].tolist()] * 2


def test_an_end_that_rounding_places_past_the_step_is_not_lost() -> None:
    sol = simulate(HeavyBall(flat), (10, 10.45), X0, method="strang", step=0.1, events=Stagnation(0.1))
    np.testing.assert_allclose(sol.t_events[0], [10.1, 10.2, 10.3, 10.4])


def test_the_end_of_a_patience_after_a_cut_is_still_to_come() -> None:
    """The step from 0.8 to 1 is cut at 0.85, before the patience ends at 0.95."""
    system = HybridAutomaton({"roll": HeavyBall(flat)}, [Transition("roll", "roll", TimeReached(0.85), ReverseMomentum())], initial="roll")
    sol = simulate(system, (0.0, 2.0), X0, method="strang", step=0.2, events=Stagnation(0.95))
    np.testing.assert_allclose(sol.switches["time"], [0.85])
    np.testing.assert_allclose(sol.t_events[0], [0.95, 1.9])


@pytest.mark.parametrize("count", [None, 2])
def test_its_lowest_loss_lies_before_a_cut(count: int | None) -> None:
    """The whole step from 1 to 1.2 ends far below; the run ends at 1.01."""
    x0 = [1.0, 0.0] if count is None else [[1.0, 0.0]] * count
    events = [Stagnation(5.0), TimeReached(1.01, terminal=True)]
    sol = simulate(HeavyBall(well), (0.0, 5.0), x0, method="strang", step=0.2, events=events, monitor=None)
    guard = sol.state.guards[0]
    np.testing.assert_allclose(guard.closest, sol.energy.potential[..., -1])
    np.testing.assert_allclose(guard.closest_time, 1.01)


def test_progress_that_a_cut_takes_away_is_none() -> None:
    """The mirror at 1.01 keeps the ball from the lower V at 1.2, the end of the whole step, and brings it uphill."""
    system = HybridAutomaton({"roll": HeavyBall(well)}, [Transition("roll", "roll", TimeReached(1.01), ReverseMomentum())], initial="roll")
    sol = simulate(system, (0.0, 2.9), [1.0, 0.0], method="strang", step=0.2, events=Stagnation(0.5), monitor=None)
    np.testing.assert_allclose(sol.t_events[0], [1.51, 2.01, 2.51], atol=1e-12)
