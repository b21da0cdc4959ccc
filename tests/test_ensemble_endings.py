"""How trajectories of a batch end: each at its own time and for its own reason, and the others go on."""

from __future__ import annotations

import signal
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from batches import same, same_run, solos

import phdyn
from phdyn import HeavyBall, LossGoal, SwitchedFriction
from phdyn.events import Guard, Stagnation
from phdyn.potentials import Quadratic

BOWL = Quadratic([1.0, 2.0])
BRAKE = SwitchedFriction(explore=0.1, exploit=3.0, goal=LossGoal(reduction=0.9))
STATES = np.array([[0.5, 0.0, 0.0, 0.0], [1.0, 1.0, 0.8, 0.0], [-1.0, 0.3, 0.0, 0.2], [3.0, 0.0, 0.0, 0.0], [-3.0, 0.1, 0.0, 1.0]])
SPAN = (0.0, 4.0)
OPTIONS: dict[str, Any] = {"step": 0.05, "monitor": None}
KINDS = [
    ("strang", "states"),
    ("strang", "ends"),
    ("rk4", "states"),
    ("rk4", "energy"),
    ("blanes-moan-4", "ends"),
    ("conformal-euler", "ends"),
]
each_kind = pytest.mark.parametrize(("method", "record"), KINDS)


def wall(value: float, at: float = 2.0) -> Any:
    """A bowl whose loss is not what it should be beyond a place."""

    def loss(q: Any) -> Any:
        height = (q**2).sum(-1) / 2
        return torch.where(q[..., 0] > at, torch.full_like(height, value), height)

    return loss


class Cliff:
    """A bowl whose gradient is not a number beyond a place."""

    dim = 2

    def value(self, q: Any) -> Any:
        return (q**2).sum(-1) / 2

    def value_and_grad(self, q: Any) -> Any:
        return self.value(q), np.where(q[..., :1] > 2.0, np.nan, q)


def beyond(place: float, value: float = float("nan"), *, terminal: bool = False) -> Any:
    """A scipy event that is no number beyond a place."""

    def event(t: float, x: Any) -> float:
        return value if x[0] > place else float(x[0]) - 0.1

    event.terminal = terminal  # type: ignore[attr-defined]
    return event


def guard(place: float) -> Guard:
    return Guard(lambda point: torch.where(point.q[..., 0] > place, torch.nan, point.q[..., 0] - 0.1), name="a {guard}")


# --- terminal events ------------------------------------------------------------------------------------------------------------------


@each_kind
def test_terminal_events_at_different_times(method: str, record: str) -> None:
    """The first time that the ball has fallen to 0.1 from above is known: cos t = 0.1 / q0."""
    event = beyond(99.0, terminal=True)
    x0 = phdyn.at_rest(np.array([[1.0], [2.0], [0.05], [0.5]]))
    sol = same(HeavyBall(Quadratic([1.0])), (0.0, 2.0), x0, method=method, step=0.01, events=[event], record=record, monitor=None)
    assert sol.status.tolist() == [1, 1, 0, 1] and sol.success.all()
    np.testing.assert_allclose(
        sol.t_end, [np.arccos(0.1), np.arccos(0.05), 2.0, np.arccos(0.2)], rtol=1e-4 if method != "conformal-euler" else 0.1
    )
    np.testing.assert_allclose(sol.q[[0, 1, 3], 0, -1], 0.1, rtol=1e-12)
    assert [message.split(" at ")[0] for message in sol.message[[0, 1, 3]]] == ["event 'event' ended the run"] * 3
    if record == "states":
        for k in range(4):
            held = sol.t >= sol.t_end[k]
            assert held.sum() > (1 if k != 2 else 0)
            np.testing.assert_array_equal(sol.y[k][:, held], np.repeat(sol.y[k][:, -1:], held.sum(), 1))
    one = sol.trajectory(3)
    assert one.t[-1] == sol.t_end[3] and one.status == 1 and one.energy.t[-1] == sol.t_end[3] and (np.diff(one.t) > 0).all()
    with pytest.raises(phdyn.ArgumentError, match=r"go on from state\[k\]"):
        phdyn.simulate(HeavyBall(Quadratic([1.0])), (2.0, 3.0), sol.state, method=method, step=0.01)


def test_all_trajectories_end() -> None:
    x0 = phdyn.at_rest(np.array([[1.0], [2.0], [0.5]]))
    sol = same(HeavyBall(Quadratic([1.0])), (0.0, 50.0), x0, method="strang", step=0.01, events=[beyond(99.0, terminal=True)])
    assert (sol.status == 1).all() and sol.t[-1] < 1.6 and sol.nsteps.max() < 160  # nobody marched on


def test_a_batch_of_one_and_of_none() -> None:
    assert same(HeavyBall(BOWL, friction=BRAKE), SPAN, STATES[:1], method="strang", **OPTIONS).batch == 1
    with pytest.raises(phdyn.ArgumentError, match=r"x0 has shape \(0, 4\)"):
        phdyn.simulate(HeavyBall(BOWL), SPAN, STATES[:0], method="strang", step=0.1)


# --- what is not finite ---------------------------------------------------------------------------------------------------------------

FAILURES: dict[str, Any] = {
    "the loss becomes nan": (HeavyBall(wall(float("nan")), friction=0.01), STATES[[0, 1, 2, 4]], []),
    "the loss becomes infinite": (
        HeavyBall(wall(float("inf")), friction=SwitchedFriction(0.01, 0.0, LossGoal(value=0.1))),
        STATES[[0, 1, 2, 4]],
        [LossGoal(0.9)],
    ),
    "the gradient becomes nan": (HeavyBall(Cliff(), friction=BRAKE.laws["explore"]), STATES[[0, 1, 2, 4]], []),
    "the loss is nan at the start": (HeavyBall(wall(float("nan")), friction=BRAKE), STATES, [LossGoal(0.5)]),
    "the gradient is nan at the start": (HeavyBall(Cliff(), friction=BRAKE), STATES, []),
    "a function is nan at the start": (HeavyBall(BOWL, friction=0.3), STATES, [LossGoal(0.5), beyond(2.5)]),
    "a guard is nan at the start": (HeavyBall(BOWL, friction=BRAKE), STATES, [guard(2.9), LossGoal(0.5)]),
    "a function becomes nan": (HeavyBall(BOWL, friction=BRAKE), STATES[[0, 1, 2, 4]], [LossGoal(0.5), beyond(1.2)]),
    "a guard becomes nan": (HeavyBall(BOWL, friction=0.01), STATES[[0, 1, 2, 4]], [guard(1.2), LossGoal(0.5)]),
}


@pytest.mark.parametrize("failure", FAILURES)
@each_kind
def test_what_is_not_finite_ends_its_trajectory_alone(failure: str, method: str, record: str) -> None:
    system, x0, events = FAILURES[failure]
    counts = "guard" not in failure and "function" not in failure  # how often a black box is asked depends on rounding
    sol = same(system, SPAN, x0, method=method, record=record, events=events, counts=counts, **OPTIONS)
    bad = sol.status == -2
    assert bad.any() and not bad.all() and (sol.status[~bad] == 0).all() and np.isfinite(sol.y).all()
    for k, one in enumerate(solos(system, SPAN, x0, method=method, record=record, events=events, **OPTIONS)):
        assert sol.message[k] == one.message
    assert (sol.t_end[bad] == 0).all() == ("start" in failure) and (sol.t_end[~bad] == 4.0).all()
    assert sol.energy_balance().holds.shape == sol.status.shape and str(sol) and str(sol.energy_balance())


@each_kind
def test_where_all_fail(method: str, record: str) -> None:
    later = same(HeavyBall(wall(float("nan"), -0.2)), SPAN, STATES[[2, 4]], method=method, record=record, **OPTIONS)
    assert later.status.tolist() == [-2, -2] and (later.t_end > 0).all() and np.all(np.diff(later.t) > 0)
    start = same(HeavyBall(wall(float("nan"), -99.0)), SPAN, STATES, method=method, record=record, **OPTIONS)
    assert start.status.tolist() == [-2] * 5 and (start.t_end == 0).all() and (start.nfev == 1).all() and not start.success.any()


@pytest.mark.parametrize("method", ["strang", "rk4"])
def test_a_saddle_that_throws_some_off(method: str) -> None:
    """The gradient overflows in one trajectory (and its square before that); the others stay in their well."""
    system = HeavyBall(lambda q: 3 * (q**2).sum(-1) - (q**4).sum(-1))
    sol = same(system, (0.0, 2.0), STATES / 2, method=method, **OPTIONS)
    assert sol.status.tolist() == [0, 0, 0, -2, -2]


def test_a_guard_that_is_no_number_in_the_next_mode() -> None:
    """A rung of a ladder whose guard is nan where its mode is entered: the switch is kept, and the trajectory ends there."""
    second = Guard(lambda point: torch.where(point.p[..., 0] > 1.0, torch.nan, point.q[..., 0] - 9.0), name="second")
    system = HeavyBall(BOWL, friction=SwitchedFriction(0.1, (0.5, 1.0), (LossGoal(0.5), second)))
    sol = same(system, SPAN, STATES, method="strang", **OPTIONS)
    ended = sol.status == -2
    assert ended.any() and not ended.all()
    for k in np.flatnonzero(ended):
        assert sol.t_end[k] == sol.switches.first()[k] and "event 'second' is nan" in sol.message[k]


def test_a_guard_that_is_no_number_where_it_is_located() -> None:
    """What the others have spent on the same step counts once."""

    def low(point: Any) -> Any:
        above = torch.as_tensor(point.potential, dtype=torch.float64) - 0.1
        return torch.where((point.q[..., 1] != 0.0) & (abs(above) < 1e-4), torch.nan, above)

    x0 = phdyn.at_rest(np.array([[1.0, 0.0], [1.0, 1e-3], [1.01, 0.0]]))
    options = {"method": "strang", "events": [Guard(low, name="low")], "step": 0.1, "monitor": None}
    sol = same(HeavyBall(BOWL), (0.0, 2.0), x0, **options)
    without = phdyn.simulate(HeavyBall(BOWL), (0.0, 2.0), x0[[0, 2]], **options)
    assert sol.nfev[[0, 2]].tolist() == without.nfev.tolist() and sol.nvev[[0, 2]].tolist() == without.nvev.tolist()
    assert sol.status.tolist() == [0, -2, 0] and [len(times) for times in sol.t_events[0]] == [1, 0, 1]
    assert np.floor(sol.t_events[0][0][0] / 0.1) * 0.1 == pytest.approx(sol.t_end[1])  # in the same step


def test_the_rest_of_a_step_that_is_not_finite() -> None:
    """A brake that is no number for one trajectory: it ends at its switch."""

    class Brake:
        def rate(self, t: float) -> float:
            return 1.0 if t < 0.4 else float("nan")

        def integral(self, t0: float, t1: float) -> float:
            return self.rate(t0) * (t1 - t0)

    system = HeavyBall(BOWL, friction=SwitchedFriction(0.0, Brake(), LossGoal(0.9)))
    sol = same(system, (0.0, 1.3), STATES, method="strang", **OPTIONS)
    assert set(sol.status.tolist()) == {0, -2}
    for k in np.flatnonzero(sol.status == -2):
        assert sol.t_end[k] == sol.switches.first()[k]


# --- budgets --------------------------------------------------------------------------------------------------------------------------


@each_kind
def test_budgets_of_steps_and_switches(method: str, record: str) -> None:
    steps = same(HeavyBall(BOWL, friction=BRAKE), SPAN, STATES, method=method, record=record, max_steps=33, **OPTIONS)
    assert (steps.status == -3).all() and (steps.nsteps == 33).all() and len(set(steps.t_end)) == 2  # steps that are cut count twice
    chatter = SwitchedFriction(0.1, 0.5, LossGoal(0.5), reexplore=Stagnation(0.3137))
    switches = same(HeavyBall(BOWL, friction=chatter), SPAN, STATES, method=method, record=record, max_switches=2, **OPTIONS)
    assert -4 in switches.status and "2 switches (max_switches)" in " ".join(switches.message)
    for k in np.flatnonzero(switches.status == -4):
        assert len(switches.switches.of(k)) == 2 and switches.switches.of(k)["time"][-1] == switches.t_end[k]


@each_kind
@pytest.mark.parametrize("budget", [1, 3, 41])
def test_a_budget_of_gradients(budget: int, method: str, record: str) -> None:
    """No step is begun that cannot be paid; a single run is stopped within it."""
    system, options = HeavyBall(BOWL, friction=BRAKE), {"method": method, "record": record, "max_nfev": budget, **OPTIONS}
    sol = phdyn.simulate(system, SPAN, STATES, **options)
    assert (sol.status == -3).all() and (sol.nfev <= budget).all() and (sol.nfev + phdyn.methods.get(method).stages + 6 > budget).all()
    for k, solo in enumerate(solos(system, SPAN, STATES, **options)):
        same_run(sol, k, solo, counts=False)
        assert sol.message[k] == solo.message


def test_a_budget_that_one_spends_inside_a_step() -> None:
    """Location costs gradients: who has events ends sooner."""
    events = [beyond(99.0)]
    sol = phdyn.simulate(HeavyBall(BOWL), (0.0, 50.0), STATES, method="strang", step=0.05, events=events, max_nfev=200)
    assert (sol.status == -3).all() and (sol.nfev <= 200).all() and len(set(sol.t_end)) > 1
    fewest, most = np.argmax(sol.t_end), np.argmin(sol.t_end)
    assert len(sol.t_events[0][most]) >= len(sol.t_events[0][fewest])


# --- exceptions and interruptions -----------------------------------------------------------------------------------------------------


class UnluckyError(Exception):
    pass


@each_kind
def test_a_function_that_raises_ends_all_where_they_are(method: str, record: str) -> None:
    def event(t: float, x: Any) -> float:
        if t > 1.02:
            raise UnluckyError("{t} {x")
        return float(x[0]) - 99.0

    system = HeavyBall(BOWL, friction=0.1)
    options = {"method": method, "record": record, "events": [event], **OPTIONS}
    sol = phdyn.simulate(system, SPAN, STATES, **options)
    assert sol.status.tolist() == [-7] * 5 and not sol.success.any()
    assert all(isinstance(error, UnluckyError) for error in sol.exception)
    assert sol.message[0] == "your function raised UnluckyError after t = 1: {t} {x"
    for k, solo in enumerate(solos(system, SPAN, STATES, **options)):
        same_run(sol, k, solo, counts=False, rtol=1e-11, atol=1e-11)
    assert sol.state.t == 1.0
    rest = phdyn.simulate(system, (1.0, 4.0), sol.state, method=method, step=0.05, monitor=None)
    whole = phdyn.simulate(system, SPAN, STATES, method=method, **OPTIONS)
    np.testing.assert_allclose(rest.y[..., -1], whole.y[..., -1], rtol=1e-10, atol=1e-10)


@each_kind
def test_a_potential_that_raises_midway(method: str, record: str) -> None:
    calls = []

    class Fragile(Cliff):
        def value_and_grad(self, q: Any) -> Any:
            calls.append(len(q))
            if len(calls) == 120:
                raise UnluckyError("no more")
            return self.value(q), np.array(q)

    sol = phdyn.simulate(HeavyBall(Fragile(), friction=0.1), (0.0, 9.0), STATES, method=method, record=record, **OPTIONS)
    assert sol.status.tolist() == [-7] * 5 and len(set(sol.t_end)) == 1 and 0 < sol.t_end[0] < 9
    whole = phdyn.simulate(HeavyBall(Quadratic([1.0, 1.0]), friction=0.1), (0.0, 9.0), STATES, method=method, **OPTIONS)
    at = np.flatnonzero(whole.t == sol.t_end[0])
    np.testing.assert_allclose(sol.y[..., -1], whole.y[..., at[0]], rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(sol.energy.hamiltonian[:, -1], whole.energy.hamiltonian[:, at[0]], rtol=1e-11)


@pytest.mark.parametrize("record", ["states", "ends"])
def test_a_function_that_raises_after_a_switch_in_the_same_step(record: str) -> None:
    """What has switched stands at its switch, the others at the start of the step."""

    def brake(t: float) -> float:
        raise UnluckyError("brakes fail")

    law = phdyn.ScheduledFriction(lambda t: 0.0 if t == 0 else brake(t))
    system = HeavyBall(BOWL, friction=SwitchedFriction(0.1, law, LossGoal(0.9)))
    sol = phdyn.simulate(system, SPAN, STATES, method="strang", record=record, **OPTIONS)
    assert (sol.status == -7).all()
    hit = sol.switches["trajectory"]
    np.testing.assert_array_equal(sol.t_end[hit], sol.switches["time"])
    others = np.setdiff1d(np.arange(5), hit)
    start = np.floor(sol.t_end[hit[0]] / 0.05) * 0.05
    assert 0 < len(hit) < 5 and sol.t_end[hit].min() > start
    np.testing.assert_allclose(sol.t_end[others], start, rtol=1e-12)
    np.testing.assert_allclose(BOWL.value(sol.q[hit, :, -1]), 0.1 * BOWL.value(STATES[hit, :2]), rtol=1e-12)
    np.testing.assert_array_equal(sol.y[..., -1], sol.state.x)
    height = BOWL.value(sol.q[..., -1]) + (sol.p[..., -1] ** 2).sum(-1) / 2
    np.testing.assert_allclose(sol.energy.hamiltonian[:, -1], height, rtol=1e-12)
    for k in others:
        solo = phdyn.simulate(HeavyBall(BOWL, friction=0.1), (0.0, start), STATES[k], method="strang", **OPTIONS)
        np.testing.assert_allclose(sol.y[k, :, -1], solo.y[:, -1], rtol=1e-11)


@pytest.mark.parametrize("record", ["states", "ends"])
@pytest.mark.parametrize("press", ["key", "raise"])
def test_an_interruption(press: str, record: str) -> None:
    def event(t: float, x: Any) -> float:
        if t > 1.02 and press == "key" and signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            signal.raise_signal(signal.SIGINT)
        if t > 1.02 and press == "raise":
            raise KeyboardInterrupt
        return 1.0

    run = partial(phdyn.simulate, HeavyBall(BOWL, friction=BRAKE), method="strang", record=record, **OPTIONS)
    sol = run(SPAN, STATES, events=[event])
    assert sol.status.tolist() == [-6] * 5 and set(sol.t_end) == ({1.05} if press == "key" else {1.0})
    assert sol.message[0] == f"interrupted after t = {sol.t_end[0]:g}: sol.state goes on from there"
    rest, whole = run((sol.state.t, 4.0), sol.state), run(SPAN, STATES)
    np.testing.assert_allclose(rest.y[..., -1], whole.y[..., -1], rtol=1e-10, atol=1e-10)


# --- the monitor ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", ["states", "ends"])
def test_the_monitor(record: str) -> None:
    """One trajectory is too fast for its step; the verdicts are those of the single runs."""
    x0 = phdyn.at_rest(np.array([[1.0], [5.0]]))
    system = HeavyBall(lambda q: (q**4).sum(-1) / 4, friction=0.1)
    run = partial(phdyn.simulate, system, (0.0, 12.0), method="strang", step=0.28, record=record)
    with pytest.warns(phdyn.EnergyWarning, match="2 trajectories") as caught:
        sol = run(x0)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert sol.energy_balance().verdict.tolist() == [run(one, monitor=None).energy_balance().verdict for one in x0]
    assert not sol.energy_balance().holds.all() and sol.success.all()
    with pytest.raises(phdyn.EnergyBalanceError) as raised:
        run(x0, monitor="raise")
    part = raised.value.solution
    np.testing.assert_array_equal(part.y[..., -1], part.state.x)
    short = phdyn.simulate(system, (0.0, part.t_end[0]), x0, method="strang", step=0.28, monitor=None)
    assert 0 < part.t_end[0] <= 12.0
    np.testing.assert_allclose(part.y[..., -1], short.y[..., -1], rtol=1e-9)
    with pytest.raises(phdyn.EnergyWarning):  # warnings are errors in these tests
        run(x0)


# --- wrong arguments ------------------------------------------------------------------------------------------------------------------


def test_a_goal_that_is_met_at_the_start() -> None:
    run = partial(phdyn.simulate, method="strang", step=0.1)
    with pytest.raises(phdyn.ArgumentError, match=r"met at the start of trajectory 2 already.*\(2 of 5 trajectories\)"):
        run(HeavyBall(BOWL, friction=SwitchedFriction(0.1, 3.0, LossGoal(value=np.array([0.01, 0.01, 9.0, 0.01, 9.0])))), SPAN, STATES)
    with pytest.raises(phdyn.ArgumentError, match="has no reduction"):
        run(HeavyBall(lambda q: q[..., 0] - 1.0, friction=BRAKE), SPAN, phdyn.at_rest(np.array([[3.0], [0.5]])))


@pytest.mark.parametrize(
    ("system", "x0", "message"),
    [
        (HeavyBall(BOWL, friction=np.array([0.1, 0.2])), STATES, "friction has 2 rates, x0 brings 5 trajectories"),
        (HeavyBall(BOWL, friction=np.array([0.1, 0.2])), STATES[0], r"friction has 2 rates, x0 is one state.*\(2, 2n\)"),
        (HeavyBall(BOWL, friction=SwitchedFriction(0.1, np.ones(3), LossGoal(0.5))), STATES, "friction has 3 rates, x0 brings 5"),
        (HeavyBall(BOWL, friction=SwitchedFriction(0.1, 1.0, LossGoal([0.5, 0.6]))), STATES, r"LossGoal.* has 2 goals, x0 brings 5"),
        (HeavyBall(BOWL, friction=SwitchedFriction(0.1, 1.0, LossGoal([0.5, 0.6]))), STATES[0], r"has 2 goals, x0 is one state"),
        (HeavyBall(BOWL), STATES[:, :3], r"x0 has shape \(5, 3\), not \(2n,\) or \(batch, 2n\)"),
        (HeavyBall(BOWL), STATES[:, :2], "the potential has 2 dimensions, x0 brings 1"),
        (HeavyBall(lambda q: (q**2).sum()), STATES, r"the potential returned shape \(\)"),
        (HeavyBall(BOWL), STATES * np.array([1, 1, np.nan, 1]), "x0 has an entry that is not finite"),
        (HeavyBall(BOWL), [[1.0, 2.0], [1.0]], "x0 is no array of numbers"),
    ],
)
def test_wrong_arguments(system: Any, x0: Any, message: str) -> None:
    with pytest.raises((phdyn.ArgumentError, phdyn.ArgumentTypeError), match=message):
        phdyn.simulate(system, SPAN, x0, method="strang", step=0.1)


def test_wrong_events() -> None:
    run = partial(phdyn.simulate, HeavyBall(BOWL), SPAN, STATES, method="strang", step=0.1)
    with pytest.raises(phdyn.ArgumentError, match="has 2 goals, x0 brings 5"):
        run(events=[LossGoal([0.5, 0.6])])
    with pytest.raises(phdyn.ArgumentError, match=r"Guard 'g' returned shape \(2,\) for 5 trajectories"):
        run(events=[Guard(lambda point: point.q[0], name="g")])
    with pytest.raises(phdyn.ArgumentError, match=r"returned shape \(4,\)"):
        run(events=[lambda t, x: x])
