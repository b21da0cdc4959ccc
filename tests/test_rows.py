"""A batch is its trajectories: every fixed method steps all rows at once as it steps each alone, at the same price for each."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from kinds import kinds

import phdyn
from phdyn import (
    ArgumentError,
    ArgumentTypeError,
    GradientFlow,
    HeavyBall,
    LossGoal,
    NetworkLoss,
    PortHamiltonianSystem,
    ScheduledFriction,
    SwitchedFriction,
)
from phdyn.friction import ConstantFriction, check_rows
from phdyn.methods.stepping import gauss_work, nudge
from phdyn.motion import Halt, bind, supports_rows
from phdyn.networks import mlp
from phdyn.potentials import Himmelblau, MultiWell, Quadratic
from phdyn.row_friction import RowFriction
from phdyn.systems import Sampled
from phdyn.vectors import NumpyRows, TorchRows, vectors_of

FIXED = kinds(name for name in phdyn.methods.names() if hasattr(phdyn.methods.get(name), "begin"))
ONE_STAGE = ["explicit-euler", "conformal-euler", "sgd", "polyak", "dissipative-leapfrog", "implicit-damping", "strang"]
B, H, STEPS = 7, 0.03, 40
SETTINGS = [*itertools.product(["scalar", "vector"], [False, True])]
NUMBERS = ("V0", "V1", "T0", "T1", "d0", "d1", "slope0", "slope1", "dissipated", "supplied")


def ripple(q):
    return (0.4 * q * q + torch.cos(2.0 * q)).sum(-1)


POTENTIALS = {
    "quadratic": lambda: (Quadratic([1.0, 3.0, 0.5]), 3),
    "multi-well": lambda: (MultiWell(), 1),
    "himmelblau": lambda: (Himmelblau(), 2),
    "function": lambda: (ripple, 2),
}
RATES = np.linspace(0.05, 0.9, B)
MODES = np.array([0, 1, 1, 0, 1, 0, 0])


def rate(t):
    return 0.3 * (1 + 0.5 * np.sin(2 * t))


def goal_never():
    return LossGoal(value=-1e9)


FRICTIONS = {
    "float": lambda row: 0.3,
    "rates": lambda row: RATES if row is None else float(RATES[row]),
    "modes": lambda row: SwitchedFriction(0.2, ScheduledFriction(rate), goal_never()),
    "constant modes": lambda row: SwitchedFriction(0.2, RATES if row is None else float(RATES[row]), goal_never()),
    "gamma(t)": lambda row: ScheduledFriction(rate),
}


def push(t, q):
    return np.full_like(q, 0.2 * np.cos(1.3 * t)) - 0.1 * q


def stepper_of(method, motion, knot):
    return (phdyn.methods.get(method) if isinstance(method, str) else method).begin(motion, knot)


def starts(n, split=True, dtype=np.float64):
    q = np.random.default_rng(0).uniform(0.2, 1.6, (B, n))
    p = np.random.default_rng(1).uniform(-1.0, 1.0, (B, n))
    return (np.concatenate([q, p], 1) if split else q).astype(dtype)


def begun(method, make, x, t=0.0, *, row=None):
    """A stepper at the start of a batch, or of its row alone."""
    system = make(row)
    start = x if row is None else x[row]
    vectors, state = vectors_of(start)
    batch = None if row is not None else len(x)
    motion = bind(system, vectors, len(state), tensors=isinstance(start, torch.Tensor), batch=batch)
    if len(getattr(system, "laws", [""])) > 1:
        if row is None:
            motion.set_modes(np.flatnonzero(MODES == 1), 1, t)
        elif MODES[row] == 1:
            motion.enter("exploit", t)
    motion.check(t, state)
    return stepper_of(method, motion, motion.knot(t, state))


def close(actual, expected, tolerance=1e-12):
    size = np.abs(expected).max(initial=1.0)  # of the largest: explicit Euler's energies grow
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * size)


def state(step, v):
    """A vector as its user sees it, in NumPy."""
    return np.asarray(step.motion.vectors.numpy(v))


def pair(method, make, x, t=0.0):
    return begun(method, make, x, t), [begun(method, make, x, t, row=row) for row in range(len(x))]


def same_step(step, alone, tolerance=1e-12):
    close(state(step, step.x1), [state(one, one.x1) for one in alone], tolerance)
    close(state(step, step.g1), [state(one, one.g1) for one in alone], tolerance)
    for name in NUMBERS:
        value = getattr(step, name)
        if name == "supplied" and isinstance(value, float):  # of no input
            value = np.full(len(alone), value)
        assert value.shape == (len(alone),) and value.dtype == np.float64, name
        close(value, [getattr(one, name) for one in alone], tolerance)


def march(batch, alone, steps=STEPS, t=0.0, h=H):
    for k in range(steps):
        batch.advance(t + k * h, t + (k + 1) * h, h)
        for one in alone:
            one.advance(t + k * h, t + (k + 1) * h, h)
    return t + steps * h


def ball(potential, friction, mass, u):
    def make(row):
        V, n = POTENTIALS[potential]()
        masses = 1.3 if mass == "scalar" else np.linspace(0.7, 2.0, n)
        return HeavyBall(V, friction=FRICTIONS[friction](row), mass=masses, u=push if u else None)

    return make


# --- a batch equals its rows ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("mass", "u"), SETTINGS)
@pytest.mark.parametrize("friction", FRICTIONS)
@pytest.mark.parametrize("potential", ["himmelblau", "quadratic"])
@pytest.mark.parametrize("name", FIXED)
def test_a_batch_of_a_landscape_steps_as_its_rows_do(name, potential, friction, mass, u):
    march_and_compare(name, potential, friction, mass, u)


@pytest.mark.parametrize(
    ("potential", "mass", "u"), [("multi-well", "scalar", True), ("multi-well", "vector", False), ("function", "vector", True)]
)
@pytest.mark.parametrize("friction", FRICTIONS)
@pytest.mark.parametrize("name", FIXED)
def test_a_batch_steps_as_its_rows_do(name, potential, friction, mass, u):
    march_and_compare(name, potential, friction, mass, u)


def march_and_compare(name, potential, friction, mass, u):
    x = starts(POTENTIALS[potential]()[1])
    batch, alone = pair(name, ball(potential, friction, mass, u), x)
    steps = 8 if name == "chin-4" else STEPS  # its products with the Hessian of a landscape are slow
    for k in range(steps):
        march(batch, alone, 1, k * H)
        if k % 13 == 0 or k == steps - 1:
            same_step(batch.step, [one.step for one in alone])
    np.testing.assert_array_equal(batch.motion.nfev, [one.motion.nfev for one in alone])


@pytest.mark.parametrize("name", [name for name in FIXED if phdyn.methods.get(name).family == "runge-kutta"])
def test_a_gradient_flow_steps_as_its_rows_do(name):
    x = starts(2, split=False)
    batch, alone = pair(name, lambda row: GradientFlow(Himmelblau()), x)
    march(batch, alone, h=0.002)
    same_step(batch.step, [one.step for one in alone])
    some = np.array([5, 2])
    part = batch.step.take(some)
    for theta in (0.3, np.array([0.3, 0.8])):
        each = np.broadcast_to(theta, 2)
        close(state(part, part.at(theta)), [alone[r].step.at(float(s)) for r, s in zip(some, each, strict=True)])
        close(state(part, part.track(theta)), [alone[r].step.track(float(s)) for r, s in zip(some, each, strict=True)])
    close(np.array(gauss_work(part)).T, [gauss_work(alone[r].step) for r in some])
    np.testing.assert_array_equal(batch.motion.nfev, [one.motion.nfev for one in alone])


# --- some rows of a step --------------------------------------------------------------------------------------------------------------
def look_at_rows(part, rows, alone, tolerance=1e-12):
    """Everything that may be asked of a step of some rows, each against the row alone."""
    ones = [alone[r].step for r in rows]
    same_step(part, ones, tolerance)
    h = H * np.linspace(0.2, 0.9, len(rows))
    for knot, others in ((part.end(), [one.end() for one in ones]), (part.start(), [one.start() for one in ones])):
        close(state(part, knot.x), [o.x for o in others], tolerance)
        close(state(part, knot.g), [o.g for o in others], tolerance)
        close(np.broadcast_to(knot.t, len(rows)), [o.t for o in others])
    close(state(part, part.end_view().x), [one.x1 for one in ones], tolerance)
    until = part.until(h)
    shorter = [one.until(float(tau)) for one, tau in zip(ones, h, strict=True)]
    same_step(until, shorter, tolerance)
    close(until.t1, [s.t1 for s in shorter])
    for theta in (0.4, h / H):
        each = [float(s) for s in np.broadcast_to(theta, len(rows))]
        close(state(part, part.at(theta)), [one.at(s) for one, s in zip(ones, each, strict=True)], tolerance)
        close(state(part, part.track(theta)), [one.track(s) for one, s in zip(ones, each, strict=True)], tolerance)
    if part.own_track:
        theta = h / part.h
        close(state(part, part.track(theta)), state(until, part.motion.position(until.x1)), tolerance)
    moved = nudge(until.motion, until.end(), 0.1 * h)
    nudged = [nudge(s.motion, s.end(), 0.1 * float(tau)) for s, tau in zip(shorter, h, strict=True)]
    close(state(part, moved[0].x), [k.x for k, _, _ in nudged], tolerance)
    for got, index in ((moved[1], 1), (moved[2], 2), (moved[0].V, "V"), (moved[0].T, "T"), (moved[0].d, "d")):
        close(got, [getattr(each[0], index) if isinstance(index, str) else each[index] for each in nudged], tolerance)
    close(np.array(gauss_work(part)), np.array([gauss_work(one) for one in ones]).T, tolerance)
    close(np.array(gauss_work(until)), np.array([gauss_work(one) for one in shorter]).T, 1e-11)


@pytest.mark.parametrize(("mass", "u"), [("scalar", False), ("vector", True)])
@pytest.mark.parametrize("friction", FRICTIONS)
@pytest.mark.parametrize("method", FIXED)
def test_some_rows_of_a_step_are_those_rows(method, friction, mass, u):
    batch, alone = pair(method, ball("himmelblau", friction, mass, u), starts(2))
    t = march(batch, alone, 5)
    rows = np.array([6, 1, 3, 4])
    part = batch.step.take(rows)
    march(batch, alone, 0)
    look_at_rows(part, rows, alone)
    again = part.take(np.array([2, 0]))
    look_at_rows_again = rows[[2, 0]]
    close(state(again, again.start().x), [alone[r].step.start().x for r in look_at_rows_again])
    close(state(again, again.until(0.01).x1), [alone[r].step.until(0.01).x1 for r in look_at_rows_again])
    np.testing.assert_array_equal(batch.motion.nfev, [one.motion.nfev for one in alone])
    kept, before = state(part, part.x1).copy(), state(part, part.start().x).copy()
    march(batch, alone, 2, t)  # a part owns its vectors
    np.testing.assert_array_equal(state(part, part.x1), kept)
    np.testing.assert_array_equal(state(part, part.start().x), before)


@pytest.mark.parametrize("method", ["strang", "conformal-euler"])
def test_a_start_is_paid_for_once_whoever_asks(method):
    batch, alone = pair(method, ball("himmelblau", "float", "scalar", False), starts(2))
    march(batch, alone, 3)
    counted = batch.motion.nfev.copy()
    parts = [batch.step.take(np.array(rows)) for rows in ([1, 2], [2, 5], [5, 1])]
    for part, paid in zip(parts, ([1, 2], [5], []), strict=True):
        close(state(part, part.start().x), state(part, part.take(np.arange(2)).start().x))
        counted[paid] += 1
        np.testing.assert_array_equal(batch.motion.nfev, counted)
    whole = batch.step.start()
    counted[[0, 3, 4, 6]] += 1
    np.testing.assert_array_equal(batch.motion.nfev, counted)
    close(state(batch.step, whole.x), [one.step.start().x for one in alone])


@pytest.mark.parametrize("method", ONE_STAGE)
@pytest.mark.parametrize(("mass", "u"), SETTINGS)
@pytest.mark.parametrize("friction", ["float", "gamma(t)"])
def test_the_track_of_one_stage_is_where_shorter_steps_end(method, friction, mass, u):
    one = begun(method, ball("himmelblau", friction, mass, u), starts(2), row=2)
    one.advance(0.4, 0.4 + H, H)
    step = one.step
    assert step.own_track
    step.start()
    before = one.motion.nfev
    tracks = [step.track(theta) for theta in (1e-3, 0.1, 0.5, 1.0)]
    assert one.motion.nfev == before
    for theta, track in zip((1e-3, 0.1, 0.5, 1.0), tracks, strict=True):
        np.testing.assert_allclose(track, step.until(theta * step.h).x1[:2], rtol=4e-16, atol=1e-15)


@pytest.mark.parametrize("method", FIXED)
def test_other_tracks_are_the_interpolants(method):
    one = begun(method, ball("himmelblau", "float", "scalar", False), starts(2), row=2)
    one.advance(0.0, H, H)
    assert one.step.own_track == (method in ONE_STAGE)
    if not one.step.own_track:
        np.testing.assert_array_equal(one.step.track(0.3), one.step.at(0.3)[:2])
    if method == "explicit-euler":
        flow = begun(method, lambda row: GradientFlow(Himmelblau()), starts(2, split=False), row=1)
        flow.advance(0.0, 0.01, 0.01)
        np.testing.assert_allclose(flow.step.track(0.4), flow.step.until(0.004).x1, rtol=1e-15)


# --- rows that go their own way -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("friction", FRICTIONS)
@pytest.mark.parametrize("name", FIXED)
def test_rows_with_times_and_steps_of_their_own(name, friction):
    x = starts(2)
    batch, alone = pair(name, ball("himmelblau", friction, "scalar", True), x)
    t, h = np.linspace(0.0, 0.5, B), H * np.linspace(0.5, 1.5, B)
    for _ in range(4):
        batch.advance(t, t + h, h)
        for one, start, length in zip(alone, t.tolist(), h.tolist(), strict=True):
            one.advance(start, start + length, length)
        t = t + h
    same_step(batch.step, [one.step for one in alone])
    close(batch.step.h, [one.step.h for one in alone])


@pytest.mark.parametrize("friction", ["modes", "constant modes"])
@pytest.mark.parametrize("mass", ["scalar", "vector"])
@pytest.mark.parametrize("name", FIXED)
def test_modes_change_in_some_rows_on_the_way(name, friction, mass):
    batch, alone = pair(name, ball("himmelblau", friction, mass, False), starts(2))
    t = march(batch, alone, 3)
    for rows, mode in (([0, 3], 1), ([1], 0), ([0], 0)):
        batch.motion.set_modes(np.array(rows), mode, t)
        for row in rows:
            alone[row].motion.enter(["explore", "exploit"][mode], t)
        alone = [stepper_of(name, one.motion, one.step.end()) for one in alone]
        t = march(batch, alone, 3, t)
        same_step(batch.step, [one.step for one in alone])
    np.testing.assert_array_equal(batch.motion.modes, [0, 0, 1, 1, 1, 0, 0])


@pytest.mark.parametrize("name", FIXED)
def test_rows_that_are_put_elsewhere_go_on_from_there(name):
    make = ball("himmelblau", "rates", "scalar", False)
    batch, alone = pair(name, make, starts(2))
    t = march(batch, alone, 3)
    rows = np.array([4, 2])
    known = batch.step.V1.copy()
    before = batch.step.V1
    batch.step.put(rows, batch.step.take(rows).until(0.3 * H).end())
    np.testing.assert_array_equal(before, known)
    for row in rows:
        alone[row] = stepper_of(name, alone[row].motion, alone[row].step.until(0.3 * H).end())
    march(batch, alone, 3, t)
    same_step(batch.step, [one.step for one in alone])


class Clocked:
    """A rate that decays from the time at which its mode was entered."""

    def __init__(self, since=0.0):
        self.since = since

    def entered(self, t):
        return Clocked(t)

    def rate(self, t):
        return float(np.exp(self.since - t))

    def integral(self, t0, t1):
        return float(np.exp(self.since - t0) - np.exp(self.since - t1))


@pytest.mark.parametrize("name", ["strang", "rk4", "sgd"])
def test_a_law_whose_clock_starts_when_its_mode_does(name):
    def make(row):
        return HeavyBall(Himmelblau(), friction=SwitchedFriction(0.1, Clocked(), goal_never()))

    batch, alone = pair(name, make, starts(2), 0.2)
    t = march(batch, alone, 2, 0.2)
    batch.motion.set_modes(np.array([0, 6]), 1, np.array([t, t - 0.01]))
    batch.motion.set_modes(np.array([1]), 0, t)
    for row, mode, time in ((0, "exploit", t), (6, "exploit", t - 0.01), (1, "explore", t)):
        alone[row].motion.enter(mode, time)
        alone[row] = stepper_of(name, alone[row].motion, alone[row].step.end())
    march(batch, alone, 3, t)
    same_step(batch.step, [one.step for one in alone])
    rows = np.array([6, 1, 2])
    close(batch.step.take(rows).until(0.01).V1, [alone[r].step.until(0.01).V1 for r in rows])


def test_only_rows_that_changed_are_computed_anew():
    batch = begun("strang", ball("himmelblau", "constant modes", "scalar", False), starts(2))
    asked = []
    for law in batch.motion.law.laws:
        plain = law.damping
        law.damping = lambda mass, t, h, plain=plain: asked.append(h) or plain(mass, t, h)
    batch.advance(0.0, H, H)
    assert len(asked) == 1  # of the law with a rate for each trajectory a part is asked
    batch.advance(H, 2 * H, H)
    assert len(asked) == 1
    batch.motion.set_modes(np.array([3]), 1)
    sizes = []
    take = RowFriction.take
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RowFriction, "take", lambda self, rows: sizes.append(len(rows)) or take(self, rows))
        batch.advance(2 * H, 3 * H, H)
    assert sizes == [1]
    for _ in range(100):  # more than is remembered
        batch.motion.set_modes(np.array([3]), 0)
    assert batch.motion.changed_since(1) is None
    np.testing.assert_array_equal(batch.motion.changed_since(batch.motion.version - 2), [3])
    batch.advance(3 * H, 4 * H, H)
    assert batch.plan[0][1][3] == batch.plan[0][1][0]


def test_a_burst_keeps_the_starts():
    batch, alone = pair("strang", ball("himmelblau", "float", "scalar", False), 40 * starts(2))
    assert batch.kicked is not None
    with np.errstate(all="ignore"):
        march(batch, alone, 3, h=0.05)
    assert batch.kicked is None
    rows = np.flatnonzero(np.isfinite(batch.step.T1) & np.array([one.kicked is None for one in alone]))
    assert len(rows)
    close(state(batch.step, batch.step.take(rows).start().x), [alone[r].step.start().x for r in rows])


# --- kinds of vectors -----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("potential", POTENTIALS)
@pytest.mark.parametrize("name", FIXED)
def test_float32(name, potential):
    x = starts(POTENTIALS[potential]()[1], dtype=np.float32)
    batch, alone = pair(name, ball(potential, "rates", "vector", True), x)
    march(batch, alone, 5)
    assert batch.step.x1.dtype == batch.step.g1.dtype == np.float32
    same_step(batch.step, [one.step for one in alone], 3e-5)
    part = batch.step.take(np.array([3, 1]))
    assert part.until(np.array([0.01, 0.02])).x1.dtype == np.float32
    assert part.track(np.array([0.1, 0.2])).dtype == np.float32


def on_torch(method, make, x, t=0.0):
    """A batch whose vectors are torch's."""
    vectors, columns = TorchRows(x), x.T.contiguous()
    motion = bind(make(None), vectors, len(columns), tensors=True, batch=len(x))
    if len(motion.law.laws) > 1:
        motion.set_modes(np.flatnonzero(MODES == 1), 1, t)
    motion.check(t, columns)
    return stepper_of(method, motion, motion.knot(t, columns))


@pytest.mark.parametrize(("mass", "u"), [("scalar", False), ("vector", True)])
@pytest.mark.parametrize("friction", FRICTIONS)
@pytest.mark.parametrize("method", FIXED)
def test_rows_in_torch(method, friction, mass, u):
    make = ball("himmelblau", friction, mass, u)
    batch = on_torch(method, make, torch.tensor(starts(2)))
    alone = [begun(method, make, starts(2), row=row) for row in range(B)]
    t = march(batch, alone, 5)
    assert isinstance(batch.step.x1, torch.Tensor)
    rows = np.array([6, 1, 3])
    look_at_rows(batch.step.take(rows), rows, alone)
    if "modes" in friction:
        batch.motion.set_modes(np.array([3]), 1, t)
        alone[3].motion.enter("exploit", t)
        alone[3] = stepper_of(method, alone[3].motion, alone[3].step.end())
    batch.step.put(rows, batch.step.take(rows).end())
    march(batch, alone, 3, t)
    same_step(batch.step, [one.step for one in alone])


def test_a_batch_of_one_and_a_tensor_on_the_cpu():
    for x in (starts(1)[:1], torch.tensor(starts(1)[:1])):
        vectors, columns = vectors_of(x)
        assert isinstance(vectors, NumpyRows)
        motion = bind(HeavyBall(MultiWell(), friction=0.1), vectors, 2, tensors=isinstance(x, torch.Tensor), batch=1)
        stepper = stepper_of("strang", motion, motion.knot(0.0, columns))
        stepper.advance(0.0, H, H)
        assert stepper.step.V1.shape == (1,)
        assert stepper.step.take(np.array([0])).until(0.01).V1.shape == (1,)


def test_an_input_of_time_alone_is_called_once():
    calls = []

    class Heard(Sampled):
        def within(self, low, high):
            inner = super().within(low, high)
            return lambda t, x: calls.append(t) or inner(t, x)

    def make(row):
        return HeavyBall(Himmelblau(), u=Heard([0.0, 10.0], [[0.0, 0.0], [1.0, -1.0]]))

    batch, alone = begun("strang", make, starts(2)), [begun("strang", make, starts(2), row=row) for row in range(B)]
    for one in [batch, *alone]:
        one.motion.on_stretch(0.0, 5.0)
    calls.clear()
    batch.advance(0.0, H, H)
    assert len(calls) == 2
    march(batch, [], 2, H)
    march(alone[0], alone[1:], 3)
    same_step(batch.step, [one.step for one in alone])


# --- what is refused ------------------------------------------------------------------------------------------------------------------
class Answers:
    def __init__(self, value, gradient):
        self.answer = value, gradient

    def value_and_grad(self, q):
        return self.answer


@pytest.mark.parametrize(
    ("potential", "message"),
    [
        (
            lambda q: (q * q).sum(0),
            r"the potential returned shape \(2,\) for a batch of shape \(3, 2\), not \(3,\): row by row, as in \(q\*\*2\)\.sum\(-1\)",
        ),
        (lambda q: q.sum(), r"the potential returned shape \(\) for a batch of shape \(3, 2\)"),
        (Answers(0.0, np.zeros((3, 2))), r"the potential returned shape \(\) for a batch of shape \(3, 2\)"),
        (Answers(np.zeros(3), np.zeros(2)), r"the potential's gradient has shape \(2,\), not \(3, 2\)"),
        (Answers(np.zeros(3), torch.zeros(3, 2).double()), "the potential's gradient is a Tensor, its argument a ndarray"),
        (Answers(np.zeros(3), np.zeros((3, 2), np.float32)), "the potential's gradient is float32 at a position of float64"),
        (Quadratic([1.0]), "the potential has 1 dimensions, x0 brings 2 positions"),
    ],
)
def test_potentials_that_do_not_answer_row_by_row(potential, message):
    vectors, x = vectors_of(starts(2)[:3])
    motion = bind(HeavyBall(potential), vectors, 4, tensors=False, batch=3)
    with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
        motion.check(0.0, x)


def test_systems_that_take_no_batch():
    vectors, _ = vectors_of(np.zeros((3, 42)))
    loss = NetworkLoss(mlp((3, 4, 1)).double(), torch.nn.functional.mse_loss, torch.zeros(2, 3).double(), torch.zeros(2, 1).double())
    assert [supports_rows(s) for s in (HeavyBall(ripple), GradientFlow(ripple), HeavyBall(loss), np.sin)] == [True, True, False, False]
    with pytest.raises(ArgumentError, match="a network's loss takes one trajectory at a time"):
        bind(HeavyBall(loss), vectors, 42, tensors=False, batch=3)
    with pytest.raises(ArgumentTypeError, match="a batch is of a HeavyBall or a GradientFlow"):
        bind(PortHamiltonianSystem(np.eye(2), np.zeros((2, 2)), np.zeros((2, 2))), vectors, 2, tensors=False, batch=3)
    with pytest.raises(TypeError, match="go together"):
        bind(HeavyBall(ripple), vectors, 42, tensors=False)


def test_rates_of_each_trajectory():
    law = ConstantFriction([0.1, 0.2, 0.3])
    check_rows(law, 3)
    check_rows(ConstantFriction(0.1), 5)
    check_rows(ScheduledFriction(rate), None)
    np.testing.assert_array_equal(law.take(np.array([2, 0])).rate(0.0), [0.3, 0.1])
    assert repr(law) == "ConstantFriction(3 rates, 0.1 to 0.3)"
    for rates in (np.array([0.1, 0.2, 0.3]), torch.tensor([0.1, 0.2, 0.3])):
        np.testing.assert_allclose(HeavyBall(ripple, friction=rates).laws[""].rate(0.0), rates)
    with pytest.raises(ArgumentError, match="friction has 3 rates, x0 is one state"):
        begun("strang", lambda row: HeavyBall(ripple, friction=law), starts(2), row=0)
    with pytest.raises(ArgumentError, match="friction has 3 rates, x0 brings 7 trajectories"):
        begun("strang", lambda row: HeavyBall(ripple, friction=law), starts(2))
    for bad in ([0.1, -0.2], [np.nan, 0.1], [0.1, np.inf], np.ones((2, 2))):
        with pytest.raises((ArgumentError, ArgumentTypeError), match="friction"):
            ConstantFriction(bad)


def test_a_budget_is_of_each_trajectory():
    batch = begun("strang", ball("himmelblau", "float", "scalar", False), starts(2))
    batch.motion.max_nfev = 3
    part = batch.motion.take(np.array([2, 5]))
    part.gradient(batch.motion.vectors.take(batch.q, np.array([2, 5])))
    batch.advance(0.0, H, H)
    with pytest.raises(Halt, match="max_nfev=3") as caught:
        batch.advance(H, 2 * H, H)
    np.testing.assert_array_equal(caught.value.rows, [2, 5])
    np.testing.assert_array_equal(batch.motion.nfev, [2, 2, 3, 2, 2, 3, 2])
    with pytest.raises(Halt) as caught:
        part.take(np.array([1])).gradient(batch.q[:, 5:6].copy())
    np.testing.assert_array_equal(caught.value.rows, [5])
    part.value(batch.q[:, [2, 5]].copy())
    np.testing.assert_array_equal(batch.motion.nvev, [0, 0, 1, 0, 0, 1, 0])
