"""What is kept of a trajectory: rows, modes, observables, and their limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import phdyn
from phdyn import recording
from phdyn.motion import Halt
from phdyn.potentials import Quadratic
from phdyn.recording import Every, Observer, Rows, check_memory, recording_needs

BALL = phdyn.HeavyBall(Quadratic([1.0]), friction=0.1)


@given(count=st.integers(0, 40), size=st.integers(1, 5))
def test_rows_grow_and_come_back_time_last(count: int, size: int) -> None:
    rows, states = Rows(size, np.float64), np.random.default_rng(count).standard_normal((count, size))
    for x in states:
        rows.append(x)
    assert rows.count == count
    np.testing.assert_array_equal(rows.array(), states.T)


def test_rows_copy_what_they_keep() -> None:
    rows, x = Rows(2, np.float32), np.array([1.0, 2.0])
    rows.append(x)
    x[0] = 5.0
    assert rows.array()[0, 0] == 1.0 and rows.array().dtype == np.float32


def test_a_recording_that_outgrows_memory_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the number of steps is not known in advance: an adaptive method."""
    monkeypatch.setattr(recording, "memory_limit", lambda: 1000.0)
    sol = phdyn.simulate(BALL, (0.0, 100.0), [1.0, 0.0], monitor=None)
    assert sol.status == -3 and not sol.success and "recording needs" in sol.message and 'pass record="energy"' in sol.message
    assert 16 <= len(sol.t) <= 64 and np.isfinite(sol.y).all() and sol.t[-1] == sol.t_end == sol.energy.t[-1]
    assert phdyn.simulate(BALL, (0.0, 100.0), [1.0, 0.0], record="energy", monitor=None).status == 0
    with pytest.raises(phdyn.ArgumentError, match="recording needs"):
        phdyn.simulate(BALL, (0.0, 100.0), [1.0, 0.0], method="strang", step=0.1)
    rows = Rows(32, np.float64)
    rows.append(np.zeros(32))
    rows.append(np.zeros(32))
    with pytest.raises(Halt, match="recording needs"):
        rows.append(np.zeros(32))  # four rows of 256 bytes are more than 1000


def test_what_a_recording_needs_is_said_in_gib() -> None:
    assert recording_needs(1200 * 2 * 8e6, 1200) == 'recording needs 17.9 GiB (1,200 states): pass record="energy" or t_eval'
    check_memory(1000, 1000, 8)
    with pytest.raises(phdyn.ArgumentError, match="recording needs"):
        check_memory(1e9, 1e6, 8)


@given(periods=st.lists(st.integers(1, 9), min_size=1, max_size=4), number=st.integers(0, 50))
def test_the_next_observation_that_is_due(periods: list[int], number: int) -> None:
    observer = Observer({str(k): Every(steps, lambda point: 0.0) for k, steps in enumerate(periods)})
    expected = next(n for n in range(number, 1000) if any(n % steps == 0 for steps in periods))
    assert observer.due(number) == expected
    assert Observer(None).due(number) == float("inf")


@pytest.mark.parametrize("bad", [-1, 0, 2.5, "3"])
def test_every_needs_a_number_of_steps(bad: Any) -> None:
    with pytest.raises(phdyn.ArgumentError, match="a positive number of steps is needed"):
        Every(bad, len)


def test_every_needs_a_function() -> None:
    with pytest.raises(phdyn.ArgumentTypeError, match="a function of a point"):
        Every(2, 3.0)  # type: ignore[arg-type]


def test_modes_are_over_the_recorded_times() -> None:
    friction = phdyn.SwitchedFriction(0.1, 1.0, phdyn.LossGoal(0.5))
    system = phdyn.HeavyBall(Quadratic([1.0]), friction=friction)
    sol = phdyn.simulate(system, (0.0, 2.0), [1.0, 0.0], method="strang", step=0.1, monitor=None)
    switch = sol.switches[0].time
    np.testing.assert_array_equal(sol.modes, np.where(sol.t < switch, "explore", "exploit"))
    plain = phdyn.simulate(BALL, (0.0, 1.0), [1.0, 0.0], method="strang", step=0.1)
    assert set(plain.modes) == {""}


@pytest.mark.parametrize("options", [{}, {"record": "energy"}, {"record": "ends"}, {"t_eval": [0.5]}])
def test_what_is_kept_is_read_only(options: Any) -> None:
    sol = phdyn.simulate(BALL, (0.0, 1.0), [1.0, 0.0], events=lambda t, x: x[0] - 0.9, **options)
    for array in (sol.t, sol.y, sol.q, sol.p, sol.modes, sol.energy.t, sol.energy.residual, sol.t_events[0], sol.y_events[0]):
        with pytest.raises(ValueError, match="read-only"):
            array[..., 0] = array[..., 0]
