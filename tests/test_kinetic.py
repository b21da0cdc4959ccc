"""Relativistic kinetic energy: its exact damped drift, its energy law, and what becomes of methods and events."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import phdyn
from phdyn import ArgumentError, ConstantFriction, HeavyBall, NesterovFriction, RelativisticKinetic
from phdyn.methods import Splitting, get, names
from phdyn.methods.one_step import OneStep
from phdyn.potentials import Quadratic
from phdyn.studies.discretizations.symplecticity import HenonHeiles, derivative

C, MASS = 0.6, 1.7
X0 = [0.3, 0.2, 0.4, -0.5]


def ball(friction=0.3, **options):
    return HeavyBall(HenonHeiles(), mass=MASS, friction=friction, kinetic=RelativisticKinetic(C), **options)


def field(t, x, rate=lambda t: 0.3):
    q, p = x[:2], x[2:]
    return np.concatenate([C * p / np.sqrt(p @ p + (MASS * C) ** 2), -HenonHeiles().value_and_grad(q)[1] - rate(t) * p / MASS])


def exact(end, rate=lambda t: 0.3, start=0.0):
    return solve_ivp(field, (start, end), X0, method="DOP853", rtol=1e-13, atol=1e-15, args=(rate,)).y[:, -1]


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 50), st.sampled_from([0.0, 1e-300, 1e-12, 1e-3, 0.3, 3.0, 30.0]), st.sampled_from([1e-8, 0.1, 1.0, -0.3]))
def test_the_damped_drift_is_exact(size, gamma, h):
    with mp.workdps(60):
        g, rest, p = mp.mpf(gamma) / MASS, mp.mpf(MASS) * C, mp.mpf(size)
        e = mp.exp(-g * h)
        if gamma * abs(h) > 1e-20 and size > 1e-15:
            along = C / g * (mp.asinh(p / rest) - mp.asinh(p * e / rest)) / p
        else:
            time = (1 - e) / g if gamma * abs(h) > 1e-20 else mp.mpf(h)
            along = time * C / mp.sqrt(p**2 + rest**2)
        lost = C * (mp.sqrt(p**2 + rest**2) - mp.sqrt((p * e) ** 2 + rest**2))
        decay, moved, taken = RelativisticKinetic(C).drift(size**2, MASS, ConstantFriction(gamma), 0.0, h)
        assert abs(decay / e - 1) < 1e-14
        assert abs(moved / along - 1) < 1e-13
        assert abs(taken - lost) <= 1e-13 * abs(lost) + 1e-60


def test_the_drift_of_scheduled_friction_is_that_of_the_ode():
    law = NesterovFriction(3.0)
    decay, along, lost = RelativisticKinetic(C).drift(0.41, MASS, law, 0.7, 0.05)
    path = solve_ivp(
        lambda t, x: [C * x[1] / np.sqrt(x[1] ** 2 + (MASS * C) ** 2), -3 / t * x[1] / MASS], (0.7, 0.75), [0.0, 0.41**0.5],
        rtol=1e-13, atol=1e-15, method="DOP853",
    ).y[:, -1]  # fmt: skip
    np.testing.assert_allclose([along * 0.41**0.5, decay * 0.41**0.5], path, rtol=1e-10)
    energy = RelativisticKinetic(C).energy
    np.testing.assert_allclose(lost, energy(0.41, MASS) - energy(0.41 * decay**2, MASS), rtol=1e-12)


def test_energy_keeps_its_digits_and_becomes_the_newtonian_one():
    fast = RelativisticKinetic(1e8)
    np.testing.assert_allclose(fast.energy(2.0, 1.7), 2.0 / 3.4, rtol=1e-14)
    np.testing.assert_allclose(RelativisticKinetic(2.0).energy(1e-30, 1.7), 1e-30 / 3.4, rtol=1e-14)
    np.testing.assert_allclose(RelativisticKinetic(2.0).energy(9.0, 1.5), 2 * np.sqrt(9 + 9) - 6, rtol=1e-14)


METHODS = [name for name in names() if getattr(get(name), "any_kinetic", False)]


@pytest.mark.parametrize("name", [name for name in METHODS if get(name).fixed])
@pytest.mark.parametrize("kind", ["constant", "3/t"])
def test_orders(name, kind):
    """Those of splittings that need no quadratic T, and of Runge-Kutta methods, with their declared orders."""
    method = get(name)
    start, law, rate = (0.0, 0.3, lambda t: 0.3) if kind == "constant" else (2.0, NesterovFriction(3.0), lambda t: 3 / t)
    end = exact(start + 2.0, rate, start)
    counts = {1: (1000, 2000), 2: (64, 128), 4: (24, 48), 6: (8, 16), 8: (6, 12)}[method.order]
    span = (start, start + 2.0)
    runs = [phdyn.simulate(ball(law), span, X0, method=name, step=2.0 / n, record="energy", monitor=None) for n in counts]
    errors = [np.abs(sol.y[:, -1] - end).max() for sol in runs]
    assert errors[1] > 1e-13
    assert np.log2(errors[0] / errors[1]) == pytest.approx(method.order, abs=0.25)
    assert np.abs(runs[1].energy.residual).max() < 0.2 * (2.0 / counts[1]) ** min(method.order, 4)


@pytest.mark.parametrize("name", ["RK45", "DOP853", "LSODA", "dopri5"])
def test_adaptive_methods_balance(name):
    sol = phdyn.simulate(ball(), (0, 20), X0, method=name, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(sol.y[:, -1], exact(20.0), atol=1e-6)
    assert np.abs(sol.energy.residual).max() < 1e-6
    p = sol.p
    law = 0.3 / MASS * C * (p**2).sum(0) / np.sqrt((p**2).sum(0) + (MASS * C) ** 2)  # (gamma/m) p.v
    np.testing.assert_allclose(sol.energy.dissipated[-1], np.trapezoid(law, sol.t), rtol=5e-2)
    np.testing.assert_allclose(sol.energy.hamiltonian, ball().hamiltonian(sol.y.T), rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in METHODS if isinstance(get(name), Splitting)])
def test_splittings_stay_conformally_symplectic(name):
    step = OneStep(get(name), ball(), 4)
    matrix = derivative(lambda x: step(x, 0.3), np.array(X0))
    form = np.block([[np.zeros((2, 2)), np.eye(2)], [-np.eye(2), np.zeros((2, 2))]])
    assert np.abs(matrix.T @ form @ matrix - np.exp(-0.3 * 0.3 / MASS) * form).max() < 2e-12


@pytest.mark.parametrize("name", ["strang", "blanes-moan-s6", "rk4", "RK45"])
def test_no_parameter_is_faster_than_light(name):
    """Down a steep wall from far away; a heavy ball would be five times as fast."""
    steep = HeavyBall(Quadratic([25.0]), friction=0.0, kinetic=RelativisticKinetic(1.0))
    setting = {"step": 0.01} if get(name).fixed else {"rtol": 1e-8}
    sol = phdyn.simulate(steep, (0, 3), [1.0, 0.0], method=name, **setting)
    assert np.abs(np.diff(sol.q[0]) / np.diff(sol.t)).max() < 1
    assert sol.energy_balance().verdict == "balanced"


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_its_hamiltonian_is_differentiable_and_duals_are_refused():
    x = torch.tensor(X0, dtype=torch.float64, requires_grad=True)
    gradient = torch.autograd.grad(HeavyBall(lambda q: (q * q).sum(-1), kinetic=RelativisticKinetic(C)).hamiltonian(x), x)[0]
    p = x[2:].detach().numpy()
    np.testing.assert_allclose(gradient[2:], C * p / np.sqrt(p @ p + C**2), rtol=1e-14)
    flying = HeavyBall(lambda q: (q * q).sum(-1), kinetic=RelativisticKinetic(C))

    def end(start):
        return torch.as_tensor(phdyn.simulate(flying, (0, 0.2), start, method="strang", step=0.1).y[:, -1])

    with pytest.raises(ArgumentError, match="no forward-mode derivatives"):
        torch.func.jvp(end, (x.detach(),), (torch.ones(4, dtype=torch.float64),))


def test_without_a_limit_it_is_the_heavy_ball():
    slow = HeavyBall(HenonHeiles(), mass=MASS, friction=0.3, kinetic=RelativisticKinetic(1e7))
    for method in ("strang", "yoshida-4", "rk4"):
        ours = phdyn.simulate(slow, (0, 5), X0, method=method, step=0.1)
        plain = phdyn.simulate(HeavyBall(HenonHeiles(), mass=MASS, friction=0.3), (0, 5), X0, method=method, step=0.1)
        np.testing.assert_allclose(ours.y, plain.y, atol=1e-12)
        np.testing.assert_allclose(ours.energy.dissipated, plain.energy.dissipated, atol=1e-3 if method == "rk4" else 1e-12)


@pytest.mark.parametrize("name", ["strang", "blanes-moan-s6", "rk4", "RK45"])
def test_a_goal_switches_friction_and_is_located(name):
    friction = phdyn.SwitchedFriction(0.05, 2.0, phdyn.LossGoal(reduction=0.7))
    setting = {"step": 0.05} if get(name).fixed else {"rtol": 1e-9, "atol": 1e-12}
    sol = phdyn.simulate(ball(friction), (0, 20), X0, method=name, monitor=None, **setting)
    assert len(sol.switches) == 1
    start = HenonHeiles().value(np.array(X0[:2]))
    assert sol.switches[0].loss == pytest.approx(0.3 * start, rel=1e-12)
    fine = phdyn.simulate(ball(friction), (0, 20), X0, method="DOP853", rtol=1e-11, atol=1e-13, monitor=None)
    assert sol.switches[0].time == pytest.approx(fine.switches[0].time, abs=3e-3 if name == "strang" else 2e-5)


def test_batches_tensors_networks_and_resume():
    batch = phdyn.simulate(ball(), (0, 2), [X0, [0.1, 0.1, 0.0, 0.0]], method="strang", step=0.1)
    one = phdyn.simulate(ball(), (0, 2), X0, method="strang", step=0.1)
    np.testing.assert_array_equal(batch.y[0], one.y)
    first = phdyn.simulate(ball(), (0, 1), X0, method="strang", step=0.1)
    second = phdyn.simulate(ball(), (1, 2), first.state, method="strang", step=0.1)
    np.testing.assert_allclose(second.y[:, -1], one.y[:, -1], atol=1e-14)
    torch.manual_seed(0)
    V = phdyn.NetworkLoss(phdyn.networks.mlp((3, 4, 2)), torch.nn.functional.cross_entropy, torch.randn(10, 3), torch.randint(0, 2, (10,)))
    net = HeavyBall(V, friction=0.3, kinetic=RelativisticKinetic(0.5))
    sol = phdyn.simulate(net, (0, 10), V.initial_state(), method="strang", step=0.1)
    assert sol.energy_balance().verdict == "balanced"
    assert sol.y.dtype == np.float32
    parts = phdyn.simulate(ball(), (0, 5), X0, method="strang", step=0.05, residual_parts=True).energy_balance().parts
    assert parts.told
    assert parts.gradient < 0.01 * parts.scheme


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RelativisticKinetic(0.0), "a positive finite speed"),
        (lambda: RelativisticKinetic(float("inf")), "a positive finite speed"),
        (lambda: HeavyBall(HenonHeiles(), kinetic=3.0), "kinetic is a RelativisticKinetic, not 3.0"),
        (lambda: HeavyBall(HenonHeiles(), mass=[1.0, 2.0], kinetic=RelativisticKinetic(1.0)), "one mass and no input"),
        (lambda: HeavyBall(HenonHeiles(), u=lambda t, q: q, kinetic=RelativisticKinetic(1.0)), "one mass and no input"),
        (lambda: phdyn.simulate(ball(), (0, 1), X0, method="blanes-moan-6", step=0.1), "'blanes-moan-6' has its order for T = p.p/2m"),
        (lambda: phdyn.simulate(ball(), (0, 1), X0, method="sgd", step=0.1), "'sgd' moves T = p.p/2m alone; with RelativisticKinetic"),
        (lambda: phdyn.simulate(ball(), (0, 1), X0, method="gonzalez", step=0.1), "'gonzalez' moves T = p.p/2m alone"),
    ],
)
def test_refused(make, message):
    with pytest.raises((ArgumentError, phdyn.ArgumentTypeError), match=message):
        make()
