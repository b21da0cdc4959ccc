"""A batch whose trajectories step together: each is what a single run of it is."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batches import same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kinds import kinds

import phdyn
from phdyn import ConstantFriction, GradientFlow, HeavyBall, LossGoal, NesterovFriction, ScheduledFriction, SwitchedFriction
from phdyn.batches import of_trajectory
from phdyn.events import Budget, GradientNorm, Guard, SpeedRestart, Stagnation, TimeReached, TurningPoint
from phdyn.potentials import Himmelblau, MultiWell, Quadratic

FIXED = kinds(name for name in phdyn.methods.names() if hasattr(phdyn.methods.get(name), "begin"))
BALLS = [name for name in FIXED if phdyn.methods.get(name).fits(HeavyBall(Quadratic([1.0])))]
RNG = np.random.default_rng(1)
STATES = RNG.normal(size=(5, 4))
HILLS = phdyn.at_rest(RNG.uniform(-4, 4, (6, 2)))
BOWL = Quadratic([1.0, 2.0])
BRAKE = SwitchedFriction(explore=0.1, exploit=3.0, goal=LossGoal(reduction=0.9))
EULER = "explicit-euler"


def through(level: float, *, terminal: Any = False, direction: float = 0) -> Any:
    """A scipy event: the first position passes a level."""

    def event(t: float, x: Any) -> float:
        assert isinstance(x, np.ndarray) and x.ndim == 1
        return float(x[0] - level)

    event.terminal, event.direction = terminal, direction  # type: ignore[attr-defined]
    return event


def first(point: Any) -> Any:
    return point.q[..., 0] - 0.2


# --- every method ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", BALLS)
def test_every_method_with_friction_that_switches_at_a_goal(method: str) -> None:
    sol = same(HeavyBall(Himmelblau(), friction=BRAKE), (0.0, 2.05), HILLS, method=method, step=0.02, monitor=None)
    assert (sol.switches["time"] < 2).sum() == 6 and len(np.unique(sol.switches["time"])) == 6  # each at its own time


@pytest.mark.parametrize("method", BALLS)
def test_every_method_with_events_of_all_kinds(method: str) -> None:
    """Detection, location and counts; some end runs."""
    events = [through(-0.3), through(-0.1, terminal=True, direction=1), LossGoal(reduction=0.5), LossGoal(value=-1.0)]
    counts = method != EULER  # its coarse path has its roots searched to rounding
    sol = same(HeavyBall(BOWL, friction=0.3), (0.0, 4.55), STATES, method=method, step=0.1, events=events, counts=counts, monitor=None)
    assert set(sol.status.tolist()) == {0, 1} and sum(map(len, sol.t_events[0])) > 3 and len(sol.near_misses) >= 5


@pytest.mark.parametrize("method", BALLS)
def test_every_method_with_steps_as_long_as_wells_are_wide(method: str) -> None:
    """Goals are entered and left within one step; which trajectories find them is what counts."""
    events = [LossGoal(reduction=0.5), LossGoal(reduction=0.95), through(0.3)]
    sol = same(HeavyBall(BOWL, friction=0.1), (0.0, 8.0), STATES, method=method, step=0.9, events=events, monitor=None, counts=False)
    assert any(len(times) > 1 for times in sol.t_events[0])


@pytest.mark.parametrize("method", ["explicit-euler", "rk4"])
def test_gradient_flows(method: str) -> None:
    events = [
        through(0.5),
        LossGoal(reduction=0.5),
        Stagnation(0.15, 0.5),
        Guard(lambda point: point.x[..., 0] - 0.2, name="g"),
        GradientNorm(0.5),
    ]
    sol = same(GradientFlow(BOWL), (0.0, 2.05), STATES[:, :2], method=method, step=0.1, events=events, monitor=None)
    assert sol.q is None and all(sum(map(len, times)) for times in sol.t_events)


@pytest.mark.parametrize("method", ["strang", "rk4", "blanes-moan-4"])
def test_guards_on_tensors_see_all_rows(method: str) -> None:
    """V, T, gradients and products with the Hessian are there for all rows, on step ends and inside."""
    shapes = set()

    def climb(point: Any) -> Any:
        shapes.add((tuple(point.q.shape), tuple(point.p.shape), tuple(point.gradient.shape)))
        return (point.gradient * point.p).sum(-1)

    events = [
        TimeReached(1.23),
        Guard(lambda point: point.kinetic - point.potential, name="T = V"),
        GradientNorm(0.5),
        TurningPoint(),
        SpeedRestart(),
        Guard(first, name="q = 0.2", direction=1),
        Guard(climb, name="climb", direction=-1),
    ]
    sol = phdyn.simulate(HeavyBall(BOWL, friction=0.3), (0.0, 4.05), STATES, method=method, step=0.1, events=events)
    assert {shape[0] for shape in shapes} >= {(5, 2)} and all(q == p == g for q, p, g in shapes)
    assert [len(times) for times in sol.t_events[0]] == [1] * 5
    for event in range(1, len(events)):
        assert sum(map(len, sol.t_events[event])) >= 2, events[event]
    for ours, theirs in zip(sol.t_events[3], sol.t_events[6], strict=True):  # the same guard, written twice
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
    same(HeavyBall(BOWL, friction=0.3), (0.0, 4.05), STATES, method=method, step=0.1, events=events[:-1])


def test_stagnation_and_budgets_as_events() -> None:
    sol = same(HeavyBall(BOWL, friction=0.3), (0.0, 6.05), STATES, method="strang", step=0.1, events=[Stagnation(1.0), Budget(30)])
    assert all(len(times) == 1 for times in sol.t_events[1]) and sum(map(len, sol.t_events[0])) >= 5
    ended = same(
        HeavyBall(BOWL), (0.0, 6.05), STATES, method="strang", step=0.1, events=[Stagnation(1.0, terminal=2), Budget(40, terminal=True)]
    )
    assert (ended.status == 1).all()


# --- friction -------------------------------------------------------------------------------------------------------------------------

EACH = np.linspace(0.3, 0.98, 6)
RATES = np.linspace(0.0, 0.5, 6)
FRICTIONS = {
    "goals of each": SwitchedFriction(0.1, 3.0, LossGoal(EACH)),
    "goals and rates of each": SwitchedFriction(RATES, 3.0, LossGoal(EACH, floor=np.full(6, -0.5))),
    "brakes of each": SwitchedFriction(0.1, RATES + 1, LossGoal(value=5 * EACH)),
    "ladder": SwitchedFriction(0.1, (0.5, 2.0), (LossGoal(0.5), LossGoal(0.9))),
    "ladder at once": SwitchedFriction(0.1, (0.5, 2.0), (LossGoal(0.8), LossGoal(0.5))),
    "ladder of each": SwitchedFriction(RATES, (0.5, RATES + 2), (LossGoal(EACH - 0.1), LossGoal(EACH))),
    "fallback, stagnation": SwitchedFriction(0.1, 3.0, LossGoal(0.999), fallback=Stagnation(0.5)),
    "fallback, time": SwitchedFriction(0.1, 3.0, LossGoal(0.999), fallback=TimeReached(1.234)),
    "a ladder that falls back on one event": SwitchedFriction(
        0.1, (0.5, 2.0), (LossGoal(0.9999), LossGoal(0.99999)), fallback=through(3.1)
    ),
    "reexplore": SwitchedFriction(0.1, 3.0, LossGoal(0.9), reexplore=Stagnation(0.3137)),
    "reexplore of each": SwitchedFriction(0.1, 3.0, LossGoal(EACH), reexplore=Stagnation(0.3137)),
    "a guard": SwitchedFriction(0.1, 3.0, Guard(lambda point: point.kinetic - 20.0, name="fast", direction=1)),
    "a function": SwitchedFriction(0.1, 3.0, through(2.0)),
    "a schedule": SwitchedFriction(ScheduledFriction(lambda t: 0.1 * t), 3.0, LossGoal(0.9)),
    "clocks that restart": SwitchedFriction(NesterovFriction(restart=1.0), NesterovFriction(9.0, restart=0.5), LossGoal(0.9)),
    "r/t": NesterovFriction(),
    "one rate": ConstantFriction(0.3),
    "a rate of each": RATES,
}


@pytest.mark.parametrize("friction", FRICTIONS)
def test_frictions(friction: str) -> None:
    system = HeavyBall(Himmelblau(), friction=FRICTIONS[friction])
    sol = same(system, (0.5, 3.0), HILLS, method="strang", step=0.02, atol=1e-11, rtol=1e-11)
    assert isinstance(FRICTIONS[friction], SwitchedFriction) == bool(len(sol.switches))
    first = sol.switches.first()
    assert first.shape == (6,)
    for k in range(6):
        own = sol.switches.of(k)["time"]
        assert np.isnan(first[k]) if not len(own) else first[k] == own.min()


def test_modes_follow_the_switches() -> None:
    friction = SwitchedFriction(0.1, (0.5, 2.0), (LossGoal(0.5), LossGoal(0.9)))
    sol = phdyn.simulate(HeavyBall(Himmelblau(), friction=friction), (0.0, 3.0), HILLS, method="strang", step=0.02)
    assert sol.modes.shape == (6, len(sol.t)) and not sol.modes.flags.writeable
    for k in range(6):
        times = sol.switches.of(k)["time"]
        expected = np.array(["explore", "exploit-1", "exploit-2"])[np.searchsorted(times, sol.t, side="right")]
        assert sol.modes[k].tolist() == expected.tolist()
    assert (np.diff(sol.switches["time"]) >= 0).all()


# --- inputs, masses, kinds ------------------------------------------------------------------------------------------------------------

KINDS: dict[str, dict[str, Any]] = {
    "an input": {"u": lambda t, q: np.array([np.sin(t), q[0]])},
    "pulses": {"u": phdyn.Steps([0.5, 1.234], [[1.0, 0], [0, 0.5]])},
    "samples": {"u": phdyn.Sampled([0.5, 1.234, 2], [[1.0, 0], [0, 0.5], [0, 0]])},
    "a mass": {"mass": 2.5},
    "masses": {"mass": np.array([1.0, 3.0])},
}


@pytest.mark.parametrize("method", ["strang", "blanes-moan-4", "blanes-moan-6", "rk4"])
@pytest.mark.parametrize("kind", KINDS)
def test_inputs_and_masses(kind: str, method: str) -> None:
    same(
        HeavyBall(BOWL, friction=BRAKE, **KINDS[kind]),
        (0.0, 3.0),
        STATES,
        method=method,
        step=0.05,
        events=[through(0.5)],
        counts=method != "rk4",
    )


def test_tensors_and_functions_of_tensors() -> None:
    events, options = [through(0.5), LossGoal(0.5)], {"method": "strang", "step": 0.02}
    numpy = same(HeavyBall(BOWL, friction=BRAKE), (0.0, 3.0), STATES, events=events, **options)
    for potential, x0 in (
        (BOWL, torch.tensor(STATES)),
        (lambda q: (torch.tensor([1.0, 2.0]) * q**2).sum(-1) / 2, STATES),
        (BOWL, STATES.tolist()),
    ):
        other = same(HeavyBall(potential, friction=BRAKE), (0.0, 3.0), x0, events=events, **options)
        np.testing.assert_allclose(other.y, numpy.y, rtol=0, atol=1e-12)
        assert isinstance(other.y, np.ndarray) and not other.y.flags.writeable


def test_single_precision() -> None:
    x0 = STATES.astype(np.float32)
    sol = same(
        HeavyBall(BOWL, friction=BRAKE),
        (0.0, 3.0),
        x0,
        method="strang",
        step=0.02,
        events=[through(0.5)],
        rtol=2e-5,
        atol=2e-5,
        counts=False,
    )
    assert sol.y.dtype == np.float32 and sol.y_events[0][0].dtype == np.float32 and sol.state.x.dtype == np.float32


def test_backward_in_time() -> None:
    events = [through(0.5), through(0.1, terminal=True, direction=1), LossGoal(value=3.0)]
    sol = same(HeavyBall(BOWL, friction=0.3), (3.0, 0.0), STATES, method="strang", step=0.02, events=events)
    assert (np.diff(sol.t) < 0).all() and set(sol.status.tolist()) == {0, 1}
    switched = same(HeavyBall(BOWL, friction=SwitchedFriction(0.1, 0.3, through(0.5))), (3.0, 0.0), STATES, method="rk4", step=0.05)
    assert len(switched.switches) >= 3 and (np.diff(switched.switches["time"]) <= 0).all()


# --- events at one place --------------------------------------------------------------------------------------------------------------


def test_two_events_in_a_step_and_at_one_place() -> None:
    events = [through(0.5), through(0.501), through(0.5, terminal=True), LossGoal(0.5), LossGoal(0.501)]
    sol = same(HeavyBall(BOWL, friction=BRAKE), (0.0, 6.0), STATES, method="strang", step=0.1, events=events)
    assert any(sol.status == 1)
    for k in np.flatnonzero(sol.status == 1):
        assert sol.t_events[0][k][-1] == sol.t_events[2][k][-1] == sol.t_end[k]


def test_a_goal_that_switches_and_ends_at_the_same_place() -> None:
    sol = same(HeavyBall(BOWL, friction=BRAKE), (0.0, 6.0), STATES, method="strang", step=0.1, events=[LossGoal(0.9, terminal=True)])
    assert (sol.status == 1).sum() >= 3


def test_a_switch_at_a_step_end() -> None:
    """The fall of a ball from rest at a fixed acceleration: the time of the goal is known, and on the grid."""

    def fall(q: Any) -> Any:
        return q[..., 0] + 10.0

    heights = np.array([[0.0], [0.125], [0.0]])  # V has fallen to 9.5 at t = 1, sqrt(1.25), 1
    friction = SwitchedFriction(0.0, 1.0, LossGoal(value=9.5))
    sol = same(HeavyBall(fall, friction=friction), (0.0, 3.0), phdyn.at_rest(heights), method="strang", step=0.25)
    np.testing.assert_allclose(sol.switches.first(), [1.0, np.sqrt(1.25), 1.0], rtol=1e-13)
    p = -(1 - np.exp(-(3 - sol.switches.first()))) - sol.switches.first() * np.exp(-(3 - sol.switches.first()))
    np.testing.assert_allclose(sol.p[:, 0, -1], p, rtol=5e-3)


@pytest.mark.parametrize("method", ["strang", "rk4"])
def test_a_clock_that_runs_out_at_a_step_end(method: str) -> None:
    friction = SwitchedFriction(0.1, 3.0, LossGoal(0.9999), fallback=Stagnation(0.5))
    sol = same(HeavyBall(BOWL, friction=friction), (0.0, 5.0), STATES, method=method, step=0.25, monitor=None)
    assert len(sol.switches) == 5 and (sol.switches["time"] % 0.25 == 0).all()


def test_the_switch_is_located_whatever_the_neighbours_do() -> None:
    """A trajectory is the same alone, and in any company and order."""
    system = HeavyBall(Himmelblau(), friction=BRAKE)
    whole = phdyn.simulate(system, (0.0, 2.0), HILLS, method="strang", step=0.02)
    mixed = phdyn.simulate(system, (0.0, 2.0), HILLS[::-1], method="strang", step=0.02)
    np.testing.assert_allclose(mixed.y[::-1], whole.y, rtol=0, atol=1e-12)
    for k in range(6):
        alone = same(system, (0.0, 2.0), HILLS[k : k + 1], method="strang", step=0.02)
        assert alone.y.shape == (1, 4, 101)
        np.testing.assert_allclose(alone.y[0], whole.y[k], rtol=0, atol=1e-12)


# --- what is recorded -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", ["states", "energy", "ends"])
@pytest.mark.parametrize("method", ["strang", "rk4"])
def test_records(record: str, method: str) -> None:
    events = [through(0.5), through(0.1, terminal=True)]
    sol = same(HeavyBall(BOWL, friction=BRAKE), (0.0, 3.0), STATES, method=method, step=0.05, events=events, record=record)
    rows = {"states": (61, 61), "energy": (2, 61), "ends": (2, 2)}[record]
    assert (len(sol.t), len(sol.energy.t)) == rows and sol.energy.hamiltonian.shape == (5, rows[1])
    np.testing.assert_array_equal(sol.t[[0, -1]], [0.0, 3.0])
    assert hasattr(sol.switches[0], "x_before") == (record == "states")


def test_energies_are_thinned() -> None:
    sol = phdyn.simulate(HeavyBall(BOWL), (0.0, 100.0), STATES[:2], method="strang", step=0.02, record="energy")
    assert len(sol.energy.t) < 4100 and sol.energy.t[-1] == 100.0
    np.testing.assert_allclose(sol.energy.hamiltonian, sol.energy.hamiltonian[:, :1] + np.zeros_like(sol.energy.t), rtol=1e-3)


def test_nothing_that_is_asked_for_changes_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    run = partial(phdyn.simulate, HeavyBall(Himmelblau(), friction=BRAKE), (0.0, 2.0), HILLS, method="strang", step=0.02)
    full = run()
    for extra in ({"record": "ends"}, {"record": "energy"}, {"progress": True}, {"monitor": None}):
        other = run(**extra)
        np.testing.assert_array_equal(other.y[..., -1], full.y[..., -1])
        assert other.nfev.tolist() == full.nfev.tolist() and other.t_end.tolist() == full.t_end.tolist()
        np.testing.assert_array_equal(other.switches["time"], full.switches["time"])
    assert "mean of 6" in capsys.readouterr().err


# --- going on, files ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["strang", "rk4"])
def test_a_batch_that_goes_on_is_the_uninterrupted_one(method: str) -> None:
    friction = SwitchedFriction(0.1, 3.0, LossGoal(EACH), reexplore=Stagnation(0.3137))
    run = partial(phdyn.simulate, HeavyBall(Himmelblau(), friction=friction), method=method, step=0.02)
    events = [through(1.0), LossGoal(0.99)]
    whole = run((0.0, 3.0), HILLS, events=events)
    half = run((0.0, 1.5), HILLS, events=events)
    assert half.state.batch == 6 and half.state.t == 1.5 and len(half.switches) > 12
    rest = run((1.5, 3.0), half.state, events=events)
    np.testing.assert_allclose(rest.y, whole.y[..., 75:], rtol=1e-11, atol=1e-11)
    assert rest.modes.tolist() == whole.modes[:, 75:].tolist()
    np.testing.assert_allclose([*half.switches["time"], *rest.switches["time"]], whole.switches["time"], rtol=1e-11)
    for name in ("dissipated", "supplied", "residual", "hamiltonian"):
        np.testing.assert_allclose(getattr(rest.energy, name)[:, -1], getattr(whole.energy, name)[:, -1], rtol=0, atol=1e-10)
    for event in range(2):
        for k in range(6):
            times = [*half.t_events[event][k], *rest.t_events[event][k]]
            np.testing.assert_allclose(times, whole.t_events[event][k], rtol=0, atol=1e-10)
    assert rest.energy_balance().verdict.tolist() == whole.energy_balance().verdict.tolist()
    np.testing.assert_allclose(rest.energy_balance().dissipated, whole.energy_balance().dissipated, rtol=1e-11)
    np.testing.assert_allclose(rest.state.reference, whole.state.reference, rtol=1e-11)


def test_one_trajectory_of_a_batch_goes_on_by_itself() -> None:
    run = partial(phdyn.simulate, HeavyBall(Himmelblau(), friction=BRAKE), method="strang", step=0.02)
    whole, half = run((0.0, 2.0), HILLS), run((0.0, 0.5), HILLS)
    assert {"explore", "exploit"} == set(half.state.mode)
    for k in range(6):
        rest = run((0.5, 2.0), half.state[k])
        np.testing.assert_allclose(rest.y[:, -1], whole.y[k, :, -1], rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(rest.energy.dissipated[-1], whole.energy.dissipated[k, -1], rtol=1e-11)
        np.testing.assert_allclose(rest.state.entered, whole.state.entered[k], rtol=1e-11)


def test_goals_of_each_are_recalled_by_one_that_goes_on_by_itself() -> None:
    """The goal of a trajectory has been re-based, to what the batch's state remembers."""
    friction = SwitchedFriction(0.1, 3.0, LossGoal(EACH), reexplore=Stagnation(0.3137))
    system = HeavyBall(Himmelblau(), friction=friction)
    run = partial(phdyn.simulate, method="strang", step=0.02)
    whole, half = run(system, (0.0, 3.0), HILLS), run(system, (0.0, 1.5), HILLS)
    for k in range(6):
        rest = run(of_trajectory(system, k), (1.5, 3.0), half.state[k])
        np.testing.assert_allclose(rest.y[:, -1], whole.y[k, :, -1], rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(rest.state.guards[0].level, whole.state.guards[0].level[k], rtol=1e-11)


def test_a_batch_is_saved_and_loaded(tmp_path: Path) -> None:
    events = [through(0.5), through(0.1, terminal=True)]
    sol = phdyn.simulate(HeavyBall(BOWL, friction=BRAKE), (0.0, 3.0), STATES, method="strang", step=0.05, events=events)
    sol.save(tmp_path / "batch.npz")
    other = phdyn.load(tmp_path / "batch.npz")
    np.testing.assert_array_equal(other.y, sol.y)
    for name in ("status", "t_end", "nfev", "message", "success"):
        assert getattr(other, name).tolist() == getattr(sol, name).tolist()
    assert str(other.switches) == str(sol.switches) and str(other.near_misses) == str(sol.near_misses)
    for event in range(2):
        for ours, theirs in zip(other.t_events[event], sol.t_events[event], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert other.energy_balance().verdict.tolist() == sol.energy_balance().verdict.tolist()
    assert str(other.trajectory(2)) == str(sol.trajectory(2))


# --- properties -----------------------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    starts=st.lists(st.floats(-6, 6).filter(lambda q: abs(q) > 0.5), min_size=1, max_size=4),
    reduction=st.floats(0.05, 0.99),
    step=st.floats(0.02, 0.6),
    rates=st.tuples(st.floats(0, 0.5), st.floats(0, 5)),
    method=st.sampled_from(["strang", "rk4", "blanes-moan-4", "conformal-euler", "sgd"]),
)
def test_whatever_the_starts_goals_and_steps(
    starts: list[float], reduction: float, step: float, rates: tuple[float, float], method: str
) -> None:
    friction = SwitchedFriction(*rates, LossGoal(reduction), fallback=Stagnation(1.0))
    x0 = phdyn.at_rest(np.array(starts)[:, None])
    system = HeavyBall(MultiWell(), friction=friction)
    same(system, (0.0, 2.0), x0, method=method, step=step, monitor=None, counts=False, verdict=False, rtol=1e-8, atol=1e-8)
