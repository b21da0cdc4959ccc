"""Methods that choose their steps: parity with scipy on a plain fun, and what they do when they cannot go on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import FORCED_START, CoupledPendulums, gamma
from scipy.integrate import solve_ivp
from tolerances import scaled, tolerances

import phdyn
from phdyn import ArgumentError, HeavyBall, NetworkLoss, ScheduledFriction, simulate
from phdyn.methods.scipy_adaptive import ScipyAdaptive
from phdyn.networks import mlp

SCIPY = ["RK45", "DOP853", "Radau", "LSODA", "RK23", "BDF"]
TORCHDIFFEQ = ["dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"]
ADAPTIVE = [*SCIPY, *TORCHDIFFEQ]
STAGES = {"RK45": 6, "DOP853": 12, "RK23": 3, "dopri5": 6, "dopri8": 13, "bosh3": 3, "fehlberg2": 2, "adaptive_heun": 1}


class Counted:
    """A driven damped pendulum that counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, t, y):
        self.calls += 1
        return np.array([y[1], -np.sin(y[0]) - 0.1 * y[1] + 0.2 * np.cos(t)])


def falls(t, y):
    return y[0] - 0.1


falls.direction = -1


def stops(t, y):
    return y[1] + 0.5


stops.terminal = 2


# --- parity ---------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("span", [(0.0, 10.0), (10.0, 0.5)])
@pytest.mark.parametrize("name", SCIPY)
def test_a_plain_fun_is_solved_as_scipy_does(name, span):
    fun = Counted()
    sol = simulate(fun, span, [1.2, 0.3], method=name, rtol=1e-6, atol=1e-9, dense_output=True, events=[falls])
    theirs = solve_ivp(Counted(), span, [1.2, 0.3], method=name, rtol=1e-6, atol=1e-9, dense_output=True, events=[falls])
    np.testing.assert_array_equal(sol.t, theirs.t)
    np.testing.assert_array_equal(sol.y, theirs.y)
    times = np.linspace(*span, 57)
    np.testing.assert_allclose(sol.sol(times), theirs.sol(times), rtol=0, atol=1e-15)
    assert len(sol.t_events[0]) == len(theirs.t_events[0]) > 0
    np.testing.assert_allclose(sol.t_events[0], theirs.t_events[0], rtol=0, atol=1e-13)
    np.testing.assert_allclose(sol.y_events[0], theirs.y_events[0], rtol=0, atol=1e-13)
    assert (sol.njev, sol.nlu) == (theirs.njev, theirs.nlu)
    # scipy leaves the calls of each finite-difference Jacobian out: two, and BDF's one more in the middle
    assert sol.nfev == fun.calls == theirs.nfev + {"Radau": 2, "BDF": 3}.get(name, 0) * theirs.njev


@pytest.mark.parametrize("name", SCIPY)
def test_a_terminal_count_is_scipys(name):
    sol = simulate(Counted(), (0.0, 20.0), [1.2, 0.3], method=name, rtol=1e-8, atol=1e-11, events=[stops, falls])
    theirs = solve_ivp(Counted(), (0.0, 20.0), [1.2, 0.3], method=name, rtol=1e-8, atol=1e-11, events=[stops, falls])
    assert sol.status == theirs.status == 1
    np.testing.assert_allclose(sol.t[-1], theirs.t[-1], rtol=1e-12)
    assert [len(t) for t in sol.t_events] == [len(t) for t in theirs.t_events]


@pytest.mark.parametrize("name", ADAPTIVE)
def test_t_eval_is_read_off_the_path(name):
    """scipy's methods read their own interpolant, as scipy does; torchdiffeq's phdyn's cubic, of order 4 in the step."""
    times, accuracy = np.linspace(0.0, 10.0, 33), tolerances(name, 1e-9, 1e-12)
    sol = simulate(Counted(), (0.0, 10.0), [1.2, 0.3], method=name, t_eval=times, **accuracy)
    exact = solve_ivp(Counted(), (0.0, 10.0), [1.2, 0.3], method="DOP853", rtol=1e-13, atol=1e-14, t_eval=times)
    np.testing.assert_array_equal(sol.t, times)
    if name in SCIPY:
        theirs = solve_ivp(Counted(), (0.0, 10.0), [1.2, 0.3], method=name, t_eval=times, **accuracy)
        np.testing.assert_allclose(sol.y, theirs.y, rtol=0, atol=1e-14)
    widest = np.diff(simulate(Counted(), (0.0, 10.0), [1.2, 0.3], method=name, **accuracy).t).max()
    np.testing.assert_allclose(sol.y, exact.y, rtol=0, atol=scaled(name, 1e-6) + widest**4 / 384 * 3)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_backward_in_time(name):
    sol = simulate(lambda t, y: np.array([y[1], -y[0]]), (3.0, 0.5), [1.0, 0.0], method=name, **tolerances(name, 1e-9, 1e-12))
    np.testing.assert_allclose(sol.y[:, -1], [np.cos(2.5), np.sin(2.5)], atol=scaled(name, 1e-8))
    assert sol.t[0] == 3.0
    assert sol.t[-1] == 0.5
    assert (np.diff(sol.t) < 0).all()


# --- bounds on the steps --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ADAPTIVE)
def test_max_step_and_first_step(name):
    sol = simulate(Counted(), (0.0, 2.0), [1.2, 0.3], method=name, rtol=1e-4, atol=1e-6, max_step=0.05)
    assert np.diff(sol.t).max() <= 0.05 * (1 + 1e-12)
    if name in SCIPY:
        theirs = solve_ivp(Counted(), (0.0, 2.0), [1.2, 0.3], method=name, rtol=1e-4, atol=1e-6, max_step=0.05, first_step=0.01)
        ours = simulate(Counted(), (0.0, 2.0), [1.2, 0.3], method=name, rtol=1e-4, atol=1e-6, max_step=0.05, first_step=0.01)
        np.testing.assert_array_equal(ours.t, theirs.t)
    else:
        ours = simulate(Counted(), (0.0, 2.0), [1.2, 0.3], method=name, rtol=1e-4, atol=1e-6, first_step=0.01)
        np.testing.assert_allclose(ours.t[1], 0.01, rtol=1e-12)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_first_step_beyond_the_span_is_the_span(name):
    sol = simulate(Counted(), (0.0, 0.01), [1.2, 0.3], method=name, first_step=5.0)
    assert sol.success
    assert sol.t[-1] == 0.01


def test_radau_on_a_stiff_problem():
    """Prothero and Robinson's problem: y = cos t whatever the stiffness; explicit methods need thousands of steps."""

    def fun(t, y):
        return np.array([-1e5 * (y[0] - np.cos(t)) - np.sin(t)])

    sol = simulate(fun, (0.0, 2.0), [1.0], method="Radau", rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(sol.y[0], np.cos(sol.t), rtol=0, atol=1e-8)
    assert sol.nsteps < 200
    explicit = simulate(fun, (0.0, 2.0), [1.0], method="RK45", rtol=1e-8, atol=1e-10, max_steps=2000)
    assert explicit.status == -3


# --- rejected steps -------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "stages"), STAGES.items())
def test_accepted_and_rejected_steps_are_the_steps_tried(name, stages):
    """A field with a kink makes rejections; each try costs its stages, the start and the first step's size two calls."""
    calls = []

    def kinked(t, y):
        calls.append(t)
        return np.array([y[1], 5 * abs(np.sin(3 * t)) - np.sin(y[0])])

    sol = simulate(kinked, (0.0, 5.0), [1.0, 0.3], method=name, **tolerances(name, 1e-7, 1e-9))
    assert sol.nrejected > 3
    assert sol.nfev == len(calls) == 2 + stages * (sol.nsteps + sol.nrejected)


@pytest.mark.parametrize("name", STAGES)
def test_locating_an_event_rejects_no_step(name):
    """The tries of the shorter step at a located event are not the run's."""

    def here(t, x):
        return x[0] - 0.4

    system = HeavyBall(CoupledPendulums(), friction=0.3)
    loud = simulate(system, (0, 6), FORCED_START, method=name, events=here, **tolerances(name))
    quiet = simulate(system, (0, 6), FORCED_START, method=name, **tolerances(name))
    assert len(loud.t_events[0]) > 0
    assert (loud.nsteps, loud.nrejected) == (quiet.nsteps, quiet.nrejected)
    np.testing.assert_array_equal(loud.t, quiet.t)


def test_rejections_while_locating_are_not_the_runs():
    """A method that rejects three tries whenever it is asked for a shorter step reports none of them."""

    class Hesitant(ScipyAdaptive):
        def march(self, motion, start, t_end, observe, control):
            if control.first_step is not None:
                motion.nrejected += 3
            super().march(motion, start, t_end, observe, control)

    def here(t, x):
        return x[0] - 0.4

    method = Hesitant("RK45", 5, "here", explicit=True)
    sol = simulate(HeavyBall(CoupledPendulums(), friction=0.3), (0, 6), FORCED_START, method=method, events=here)
    usual = simulate(HeavyBall(CoupledPendulums(), friction=0.3), (0, 6), FORCED_START, method="RK45")
    assert len(sol.t_events[0]) > 0
    assert sol.nrejected == usual.nrejected


# --- when they cannot go on -----------------------------------------------------------------------------------------------------------
def undefined(t, y):
    return np.array([1.0, 0.0]) if y[0] < 0.55 else np.array([np.nan, 0.0])


@pytest.mark.parametrize("name", ADAPTIVE)
def test_nan_at_the_start_and_later(name):
    at_once = simulate(lambda t, y: np.array([np.nan]), (0, 1), [0.0], method=name)
    assert (at_once.status, at_once.nfev, at_once.t_end) == (-2, 1, 0.0)
    assert "at t = 0, the start" in at_once.message
    later = simulate(undefined, (0, 1), [0.0, 0.0], method=name)
    assert later.status == -2
    assert "not finite" in later.message
    assert 0 < later.t_end < 0.551
    assert np.isfinite(later.y).all()
    np.testing.assert_allclose(later.y[0], later.t, atol=1e-9)
    assert not later.success


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_loss_that_is_not_finite(name, bad):
    def cliff(q):
        return torch.where(q[..., 0] < 0.5, torch.full_like(q[..., 0], bad), (q * q).sum(-1) / 2)

    sol = simulate(HeavyBall(cliff), (0, 5), [1.0, 0.0], method=name, monitor=None, **tolerances(name))
    assert sol.status == -2
    assert f"loss is {bad:g} " in sol.message
    assert 0 < sol.t_end < np.pi / 3 + scaled(name, 1e-3)
    np.testing.assert_allclose(sol.y[0], np.cos(sol.t), atol=scaled(name, 1e-5))


@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_solution_that_ends_in_finite_time(name):
    """y' = y^2 from 1 has no solution past t = 1: a step underflows, or the field overflows."""
    sol = simulate(lambda t, y: y * y, (0, 2), [1.0], method=name, **tolerances(name))
    assert sol.status in ((-1, -2) if name == "LSODA" else (-1,))
    assert abs(sol.t_end - 1) < scaled(name, 2e-5)
    if sol.status == -1:
        assert f"{name}'s step underflows at t = {sol.t_end:.6g}" in sol.message
        assert sol.t_end > (0.99998 if name == "BDF" else 0.9999995)  # scipy's BDF gives up early, at 0.999988


@pytest.mark.parametrize("name", ADAPTIVE)
def test_an_exception_and_a_budget_keep_what_was_computed(name):
    def raises(t, y):
        if t > 0.5:
            raise KeyError("mine")
        return -y

    sol = simulate(raises, (0, 1), [1.0], method=name, **tolerances(name))
    assert sol.status == -7
    assert isinstance(sol.exception, KeyError)
    np.testing.assert_allclose(sol.y[0], np.exp(-sol.t), atol=scaled(name, 1e-5))
    spent = simulate(Counted(), (0, 100), [1.2, 0.3], method=name, max_nfev=100)
    assert (spent.status, spent.nfev) == (-3, 100)
    assert "max_nfev=100" in spent.message
    assert spent.nsteps > 2


# --- precision ------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["RK45", "dopri5"])
def test_a_float32_network(name):
    """scipy's solvers work in float64 with gradients cast, torchdiffeq's in float32; what comes back is float32."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(20, 3, generator=generator)
    targets = torch.sin(inputs.sum(1, keepdim=True))

    def run(dtype, method, rtol):
        torch.manual_seed(1)
        V = NetworkLoss(mlp((3, 5, 1)).to(dtype), torch.nn.functional.mse_loss, inputs.to(dtype), targets.to(dtype))
        return V, simulate(HeavyBall(V, friction=0.3), (0, 10), V.initial_state(), method=method, rtol=rtol, atol=rtol / 100)

    V, single = run(torch.float32, name, 1e-5)
    _, double = run(torch.float64, "DOP853", 1e-9)
    assert single.y.dtype == np.float32
    assert V.dtype is torch.float32
    assert single.success
    assert single.energy_balance().verdict == "balanced"
    np.testing.assert_allclose(single.y[:, -1], double.y[:, -1], atol=1e-3)
    with pytest.raises(ArgumentError, match="beyond a float32 loss"):
        run(torch.float32, name, 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", TORCHDIFFEQ)
def test_what_is_known_at_a_steps_end_is_of_that_end(name, dtype):
    """Not of the last stage, where that is at a predictor, which costs a gradient. In float32 torchdiffeq's times are rounded, too."""

    def loss(q):
        return (q * q).sum(-1) / 2 + (q**4).sum(-1) / 10

    system, x0 = HeavyBall(loss, friction=ScheduledFriction(gamma)), torch.tensor([1.2, -0.5, 0.3, 0.4], dtype=dtype)
    seen = {"V": lambda point: point.potential, "slope": lambda point: point.gradient @ point.p, "f": lambda point: point.speeding}
    options = {"method": name, "monitor": None, **tolerances(name, 1e-4, 1e-5)}
    sol = simulate(system, (0.0, 6.0), x0, observables=seen, **options)
    quiet = simulate(system, (0.0, 6.0), x0, **options)
    q, p = np.asarray(sol.q, dtype=float), np.asarray(sol.p, dtype=float)
    slope = ((q + 0.4 * q**3) * p).sum(0)
    rounding = {"rtol": 0, "atol": 8 * float(torch.finfo(dtype).eps)}
    np.testing.assert_allclose(sol.energy.potential, (q * q).sum(0) / 2 + (q**4).sum(0) / 10, **rounding)
    np.testing.assert_allclose(sol.energy.kinetic, (p * p).sum(0) / 2, **rounding)
    np.testing.assert_allclose(sol.observed["V"], sol.energy.potential, **rounding)
    np.testing.assert_allclose(sol.observed["slope"], slope, **rounding)
    np.testing.assert_allclose(sol.observed["f"], -slope - 0.3 * (1 + 0.5 * np.sin(2 * sol.t)) * (p * p).sum(0), **rounding)
    predicted = not phdyn.methods.get(name).last_at_end
    assert (name in ("fehlberg2", "adaptive_heun")) == predicted
    # a predictor may happen to be at the end, to the bit
    assert 0 <= 2 + STAGES[name] * (quiet.nsteps + quiet.nrejected) + predicted * quiet.nsteps - quiet.nfev <= 3 * predicted


def test_a_run_ends_where_its_method_does_not_at_a_predictor():
    """Heun's step of 2e-7 ends 2e-14 beside its predictor: nearer than a rounded interpolant may be to a stage at the step's end."""
    sol = simulate(lambda t, y: -y, (0.0, 2e-7), [1.0], method="adaptive_heun", first_step=2e-7)
    assert sol.nsteps == 1
    np.testing.assert_allclose(sol.y[0, -1], np.exp(-2e-7), rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", TORCHDIFFEQ)
def test_a_plain_fun_is_looked_at_inside_its_steps(name, dtype):
    """Through the cubic, which needs the field at both ends: a call each where it is not known, not of a predictor."""
    calls = []

    def decay(t, y):
        calls.append(t)
        return -y

    options = {"method": name, **tolerances(name, 1e-6 if dtype == torch.float64 else 1e-4, 1e-6)}
    x0, times = torch.tensor([1.0, 2.0], dtype=dtype), np.linspace(0.0, 3.0, 100)
    sol = simulate(decay, (0.0, 3.0), x0, t_eval=times, **options)
    assert (sol.status, sol.nfev) == (0, len(calls))
    ends = simulate(decay, (0.0, 3.0), x0, **options)
    widest, off = np.diff(ends.t).max(), np.abs(ends.y - [[1.0], [2.0]] * np.exp(-ends.t)).max()
    np.testing.assert_allclose(sol.y, [[1.0], [2.0]] * np.exp(-times), rtol=0, atol=1.1 * off + widest**4 / 192)
    known = 2 + STAGES[name] * (ends.nsteps + ends.nrejected)
    assert ends.nfev == known
    assert sol.nfev - known <= (ends.nsteps if name in ("fehlberg2", "adaptive_heun") else 0)
    found = simulate(decay, (0.0, 3.0), x0, events=lambda t, y: y[0] - 0.5, **options)
    np.testing.assert_allclose(found.t_events[0], [np.log(2)], atol=10 * off)


@pytest.mark.parametrize("name", ["Radau", "LSODA", "BDF"])
def test_a_dense_jacobian_has_a_limit(name):
    with pytest.raises(ArgumentError, match=r"GiB|MiB"):
        simulate(lambda t, y: -y, (0, 1), np.ones(6000), method=name)
    assert simulate(lambda t, y: -y, (0, 1), np.ones(6000), method="RK45", record="ends").success


def test_names_are_the_libraries():
    assert set(ADAPTIVE) == {name for name in phdyn.methods.names() if phdyn.methods.get(name).kind == "tolerance"}
