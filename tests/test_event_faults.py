"""Faults that rereading found: each has been seen to fail before it was mended."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.autograd import forward_ad

import phdyn
from phdyn import HeavyBall, LossGoal, SwitchedFriction
from phdyn.events import TurningPoint, same_event
from phdyn.potentials import FunctionPotential, Quadratic, Rastrigin

ONE_STAGE = ("explicit-euler", "conformal-euler", "sgd", "strang")


def momentum(t: float, x: Any) -> float:
    return float(x[-1])


@pytest.mark.parametrize("method", ONE_STAGE)
def test_a_root_met_to_the_last_digit_is_not_met_again(method: str) -> None:
    """A second look from the root on came back to it, an ulp later."""
    rng, fired = np.random.default_rng(1), 0
    for _ in range(25):
        x0, step = rng.normal(size=2) * 2, float(rng.uniform(0.02, 0.2))
        ball = HeavyBall(Quadratic([1.0]), friction=0.1)
        sol = phdyn.simulate(ball, (0.0, 40 * step), x0, method=method, step=step, events=momentum, monitor=None, record="ends")
        fired += len(sol.t_events[0])
        assert (np.diff(sol.t_events[0]) > 0.5).all()
    assert fired > 20


@pytest.mark.parametrize("terminal", [False, True])
def test_no_event_lies_beyond_its_step(terminal: bool) -> None:
    """Corrections of a method of order 1 left a coarse step; events came out of order, and a terminal one skipped a grid point."""

    def event(t: float, x: Any) -> float:
        return float(x[-1])

    event.terminal = terminal  # type: ignore[attr-defined]
    t0, step = 1.39447, 0.09447001828556476
    ball = HeavyBall(Rastrigin(1), friction=0.0627)
    options: dict[str, Any] = {"method": "sgd", "step": step, "monitor": None, "events": event}
    sol = phdyn.simulate(ball, (t0, t0 + 3 * step), [-3.028813, -2.22912179], **options)
    assert (np.diff(sol.t_events[0]) > 0).all() and len(sol.t_events[0]) == (1 if terminal else 2)
    np.testing.assert_allclose(sol.y_events[0][:, -1], 0.0, atol=1e-9)
    if terminal:
        assert sol.t[1] == t0 + step and sol.t_end == sol.t_events[0][0]


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("events", [None, [TurningPoint()]])
def test_a_batch_of_torch_rows_switches(events: Any) -> None:
    """Rows with tangents stay tensors; a part was written onto itself."""
    V = FunctionPotential(lambda q: (0.5 * q**2 + 1 - torch.cos(3 * q)).sum(-1))
    x0 = torch.tensor(np.random.default_rng(0).uniform(-4, 4, (5, 4)))
    ball = HeavyBall(V, friction=SwitchedFriction(0.05, 1.0, LossGoal(reduction=0.5)))
    options: dict[str, Any] = {"method": "strang", "step": 0.05, "monitor": None, "events": events}
    plain = phdyn.simulate(ball, (0.0, 3.0), x0, **options)
    with forward_ad.dual_level():
        dual = phdyn.simulate(ball, (0.0, 3.0), forward_ad.make_dual(x0, torch.ones_like(x0)), **options)
    assert (dual.status == 0).all() and len(dual.switches) == len(plain.switches) > 0
    np.testing.assert_allclose(dual.y[..., -1], plain.y[..., -1], rtol=0, atol=1e-12)


class Wells:
    """The multi-well of one coordinate; answers in arrays of its own, or always in the same one."""

    def __init__(self, *, same: bool) -> None:
        self.answer: Any = None
        self.same = same

    def value(self, q: Any) -> Any:
        return 0.05 * q[..., 0] ** 2 + 1 - np.cos(3 * q[..., 0])

    def value_and_grad(self, q: Any) -> tuple[Any, Any]:
        slope = 0.1 * q + 3 * np.sin(3 * q)
        if not self.same:
            return self.value(q), slope
        if self.answer is None:
            self.answer = np.empty((4096, 1))
        self.answer[: len(q)] = slope
        return self.value(q), self.answer[: len(q)]


@pytest.mark.parametrize("method", ["strang", "blanes-moan-4", "rk4"])
@pytest.mark.parametrize("events", [None, [TurningPoint()]])
def test_a_potential_may_answer_in_one_buffer(method: str, events: Any) -> None:
    rng = np.random.default_rng(0)
    x0 = np.stack([rng.uniform(-8, 8, 40), 3 * rng.normal(size=40)], 1)
    goals = tuple(LossGoal(reduction=reduction) for reduction in (0.2, 0.4, 0.6))
    fresh, same = (
        phdyn.simulate(
            HeavyBall(Wells(same=same), friction=SwitchedFriction(0.05, (0.3, 0.6, 1.0), goals)),
            (0.0, 2.0), x0, method=method, step=0.08, monitor=None, record="ends", events=events,
        )
        for same in (False, True)
    )  # fmt: skip
    assert len(fresh.switches) > 40
    np.testing.assert_array_equal(same.y, fresh.y)


def test_equal_events_are_one() -> None:
    """Two TurningPoints that lead there and back: rounding decided whether the second fired where the first just had."""
    x0 = 2 * np.random.default_rng(0).normal(size=(60, 2))
    friction = SwitchedFriction(0.05, 1.5, LossGoal(value=1e-9), fallback=TurningPoint(), reexplore=TurningPoint())
    ball = HeavyBall(Quadratic([1.0]), friction=friction)
    options: dict[str, Any] = {"method": "strang", "step": 0.12, "monitor": None, "record": "ends"}
    sol = phdyn.simulate(ball, (0.0, 12.0), x0, **options)
    for k in range(60):
        times = np.sort(sol.switches.of(k)["time"])
        assert len(times) > 4 and (np.diff(times) > 1e-3).all()
        if k < 6:
            np.testing.assert_allclose(phdyn.simulate(ball, (0.0, 12.0), x0[k], **options).switches["time"], times, rtol=1e-9)
    assert same_event(LossGoal(np.array([0.1, 0.2])), LossGoal(np.array([0.1, 0.2]))) and not same_event(LossGoal(0.1), LossGoal(0.2))
    assert not same_event(momentum, TurningPoint())


class Hill:
    """V = -q^4/4, down which a ball runs away in finite time."""

    def value(self, q: Any) -> Any:
        return (-0.25 * q**4).sum(-1)

    def value_and_grad(self, q: Any) -> tuple[Any, Any]:
        return self.value(q), -(q**3)


@pytest.mark.parametrize("method", ["strang", "conformal-euler"])
def test_what_runs_away_keeps_its_last_state_when_others_have_ended(method: str) -> None:
    x0 = np.array([[2.0, 0.0], [1.9, 0.0], [1.7, 0.0], [1.5, 0.0]])
    options: dict[str, Any] = {"method": method, "step": 0.3, "monitor": None, "record": "ends"}
    sol = phdyn.simulate(HeavyBall(Hill(), friction=0.1), (0.0, 20.0), x0, **options)
    for k, start in enumerate(x0):
        alone = phdyn.simulate(HeavyBall(Hill(), friction=0.1), (0.0, 20.0), start, **options)
        assert sol.status[k] == alone.status == -2 and sol.t_end[k] == alone.t_end
        np.testing.assert_allclose(sol.y[k, :, -1], alone.y[:, -1], rtol=1e-9)


@pytest.mark.parametrize("x0", [[1.0, 0.0], [[1.0, 0.0]]])
def test_a_run_that_an_event_ends_has_not_spent_its_steps(x0: Any) -> None:
    ball, goal = HeavyBall(Quadratic([1.0]), friction=0.1), LossGoal(reduction=0.5, terminal=True)
    steps = int(np.max(phdyn.simulate(ball, (0.0, 5.0), x0, method="strang", step=0.1, events=goal).nsteps))
    sol = phdyn.simulate(ball, (0.0, 5.0), x0, method="strang", step=0.1, events=goal, max_steps=steps)
    assert np.all(sol.status == 1)
