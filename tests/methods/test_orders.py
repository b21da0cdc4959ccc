"""Declared orders are measured: the slope of the error between 1e-4 and 1e-12, against scipy at 1e-13."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import FORCED_START, HENON_START, CoupledPendulums, HenonHeiles, damped, force, forced, gamma, reference
from scipy.integrate import solve_ivp
from tolerances import scaled, tolerances
from torchdiffeq import odeint

import phdyn
from phdyn import HeavyBall, NesterovFriction, simulate

FIXED = [name for name in phdyn.methods.names() if phdyn.methods.get(name).fixed]
SPLITTINGS = [name for name in FIXED if phdyn.methods.get(name).family == "splitting"]
ADAPTIVE = [name for name in phdyn.methods.names() if phdyn.methods.get(name).kind == "tolerance"]
WINDOW = (1e-12, 1e-4)

# Spans and numbers of steps that put at least two pairs of errors into the window.
SPANS = {1: 0.1, 2: 3.0, 4: 3.0, 6: 3.0, 8: 3.0}
COUNTS = {1: (512, 1024, 2048), 2: (256, 512, 1024), 4: (32, 64, 128, 256), 6: (4, 8, 16, 32), 8: (4, 6, 8, 12, 16)}
OWN = {"yoshida-6": (3.0, (16, 32, 64)), "blanes-moan-6-14": (12.0, (24, 36, 48))}  # large errors, and very small ones
START_TIME = 0.7


def order_in_window(counts, errors):
    """The slope of the finest pair whose errors both lie in the window; at least three errors must lie there."""
    inside = [(n, e) for n, e in zip(counts, errors, strict=True) if WINDOW[0] < e < WINDOW[1]]
    assert len(inside) >= 3, f"errors {errors} outside the window"
    (n0, e0), (n1, e1) = inside[-2:]
    return np.log(e0 / e1) / np.log(n1 / n0)


def settings(name):
    """The length of a method's span, and its numbers of steps."""
    order = phdyn.methods.get(name).order
    return OWN.get(name, (SPANS[order], COUNTS[order]))


def runs(system, name, x0, start):
    length, counts = settings(name)
    return [simulate(system, (start, start + length), x0, method=name, step=length / n, record="ends", monitor=None) for n in counts]


def measured(name, system, rate, push, x0, start=START_TIME):
    """The order of the state at the end; friction and force are told to scipy apart."""
    length, counts = settings(name)
    exact = reference(system.potential, rate, push, (start, start + length), x0)
    return order_in_window(counts, [np.abs(sol.y[:, -1] - exact[: len(x0)]).max() for sol in runs(system, name, x0, start)])


def unforced(t, q):
    return 0 * q


@pytest.mark.parametrize("name", FIXED)
def test_order_with_time_dependent_friction_and_force(name):
    np.testing.assert_allclose(measured(name, forced(), gamma, force, FORCED_START), phdyn.methods.get(name).order, atol=0.1)


@pytest.mark.parametrize("friction", [0.0, 0.3])
@pytest.mark.parametrize("name", FIXED)
def test_order_on_henon_and_heiles(name, friction):
    order = measured(name, damped(friction), lambda t: friction, unforced, HENON_START)
    np.testing.assert_allclose(order, phdyn.methods.get(name).order, atol=0.1)


@pytest.mark.parametrize("name", SPLITTINGS)
def test_order_with_friction_that_decays_as_in_nesterovs_equation(name):
    system = HeavyBall(HenonHeiles(), friction=NesterovFriction(3.0))
    order = measured(name, system, lambda t: 3 / t, unforced, HENON_START, 2.0)
    np.testing.assert_allclose(order, phdyn.methods.get(name).order, atol=0.1)


@pytest.mark.parametrize("name", FIXED)
def test_dissipated_and_supplied_work_converge_with_the_order(name):
    order, (length, counts) = phdyn.methods.get(name).order, settings(name)
    exact = reference(CoupledPendulums(), gamma, force, (START_TIME, START_TIME + length), FORCED_START)
    energies = [sol.energy for sol in runs(forced(), name, FORCED_START, START_TIME)]
    dissipated = order_in_window(counts, [abs(e.dissipated[-1] - exact[4]) for e in energies])
    supplied = order_in_window(counts, [abs(e.supplied[-1] - exact[5]) for e in energies])
    assert dissipated > order - 0.1
    assert supplied > order - 0.1
    if phdyn.methods.get(name).kind == "exact":
        assert max(abs(e.residual[-1]) for e in energies) < 1e-13  # the rounding of all steps; of one: test_discrete_gradients.py
        return
    residual = order_in_window(counts, [abs(e.residual[-1]) for e in energies])
    assert residual > order - 0.1


@pytest.mark.parametrize("name", ["RK23", "bosh3", "fehlberg2", "adaptive_heun"])
def test_the_work_of_pairs_of_low_order_converges_with_the_order(name):
    """Held to fixed steps; the residual of those of order 2 has a term of order 3 and of the other sign, larger at first."""
    order, length = phdyn.methods.get(name).order, 1.0
    counts = {3: (32, 64, 128), 2: (128, 256, 512)}[order]
    exact = reference(CoupledPendulums(), gamma, force, (START_TIME, START_TIME + length), FORCED_START)
    span, loose = (START_TIME, START_TIME + length), {"rtol": 1e6, "atol": 1e6, "monitor": None, "record": "ends"}
    solutions = [simulate(forced(), span, FORCED_START, method=name, first_step=length / n, max_step=length / n, **loose) for n in counts]
    assert [sol.nsteps for sol in solutions] == list(counts)
    for errors in ([s.energy.dissipated[-1] - exact[4] for s in solutions], [s.energy.supplied[-1] - exact[5] for s in solutions]):
        np.testing.assert_allclose(order_in_window(counts, np.abs(errors)), order, atol=0.1)
    assert order_in_window(counts, [abs(sol.energy.residual[-1]) for sol in solutions]) > order - 0.25


@pytest.mark.parametrize("name", ADAPTIVE)
def test_errors_of_adaptive_methods_follow_the_tolerance(name):
    """Both the state and the residual fall by the tolerance's factor, up to ten each way, over four decades (a low order: fewer)."""
    exact = reference(CoupledPendulums(), gamma, force, (0.0, 6.0), FORCED_START)
    rtols = (1e-5, 1e-9)

    def run(rtol):
        return simulate(forced(), (0.0, 6.0), FORCED_START, method=name, max_step=np.inf, **tolerances(name, rtol, rtol / 100))

    solutions = [run(rtol) for rtol in rtols]
    for errors in zip(*((np.abs(s.y[:, -1] - exact[:4]).max(), np.abs(s.energy.residual).max()) for s in solutions), strict=True):
        assert 0.1 < errors[0] / errors[1] / scaled(name, 1e4) < 10
        assert errors[1] < scaled(name, 100 * rtols[1])
    for sol, rtol in zip(solutions, rtols, strict=True):
        assert abs(sol.energy.dissipated[-1] - exact[4]) < scaled(name, 100 * rtol)
        assert abs(sol.energy.supplied[-1] - exact[5]) < scaled(name, 100 * rtol)


def plain(t, y):
    """The damped coupled pendulums, without phdyn."""
    return np.concatenate([y[2:], -CoupledPendulums().value_and_grad(y[:2])[1] - 0.3 * y[2:]])


@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-9])
@pytest.mark.parametrize("name", ["RK45", "DOP853", "LSODA", "Radau", "RK23", "BDF"])
def test_a_heavy_ball_takes_the_steps_of_scipy(name, rtol):
    """The work integrals that ride along with DOP853 change no step; LSODA, BDF and Radau need the loss at step ends, a call each."""
    potential, accuracy = CoupledPendulums(), tolerances(name, rtol, rtol / 100)
    sol = simulate(HeavyBall(potential, friction=0.3), (0.0, 20.0), FORCED_START, method=name, **accuracy)
    theirs = solve_ivp(plain, (0.0, 20.0), FORCED_START, method=name, **accuracy)
    assert sol.nsteps == len(theirs.t) - 1
    # DOP853's scaled tolerances are rounded, which moves a step's size by ulps; later steps follow the changed ones
    np.testing.assert_allclose(sol.t, theirs.t, rtol=0, atol=1e-6 if name == "DOP853" else 0)
    assert sol.nfev == potential.gradients
    if phdyn.methods.get(name).explicit:
        assert sol.nfev == theirs.nfev
        stages = {"RK45": 6, "DOP853": 12, "RK23": 3}[name]
        assert sol.nfev == 2 + stages * (sol.nsteps + sol.nrejected)
        assert (sol.nrejected > 0) == (theirs.nfev > 2 + stages * (len(theirs.t) - 1))
    else:
        assert sol.nfev <= theirs.nfev + sol.nsteps + (5 if name == "BDF" else 4) * sol.njev
    assert (sol.njev, sol.nlu) == (theirs.njev, theirs.nlu)


@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-9])
@pytest.mark.parametrize("name", ["dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"])
def test_a_heavy_ball_takes_the_steps_of_torchdiffeq(name, rtol):
    """Methods whose last stage is not at the step's end need the loss there, a call each."""
    calls, accuracy = [], tolerances(name, rtol, rtol / 100)

    def field(t, y):
        calls.append(float(t))
        return torch.from_numpy(plain(float(t), y.numpy()))

    times = torch.tensor([0.0, 20.0], dtype=torch.float64)
    theirs = odeint(field, torch.tensor(FORCED_START), times, method=name, **accuracy)
    sol = simulate(HeavyBall(CoupledPendulums(), friction=0.3), (0.0, 20.0), FORCED_START, method=name, **accuracy)
    stages = {"dopri5": 6, "dopri8": 13, "bosh3": 3, "fehlberg2": 2, "adaptive_heun": 1}[name]
    at_ends = sol.nsteps if name in ("fehlberg2", "adaptive_heun") else 0
    assert sol.nfev == 2 + stages * (sol.nsteps + sol.nrejected) + at_ends
    # odeint steps past the end and interpolates, a last step of ours ends there: one step apart at most
    assert abs(sol.nfev - at_ends - len(calls)) <= stages
    np.testing.assert_allclose(sol.y[:, -1], theirs[-1].numpy(), rtol=0, atol=scaled(name, 100 * rtol))
