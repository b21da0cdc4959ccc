"""The step that is proposed is a tenth of Strang's limit, which is where its one-step map loses stability."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from phdyn import (
    ArgumentError,
    GradientFlow,
    HeavyBall,
    LossGoal,
    NesterovFriction,
    NetworkLoss,
    SwitchedFriction,
    at_rest,
    simulate,
    suggest_step,
)
from phdyn.methods import ButcherTableau, get
from phdyn.networks import mlp
from phdyn.potentials import Quadratic, Rosenbrock
from phdyn.stability import strang_limit
from phdyn.training import heavy_ball_from_sgd


def grows(system, x0, step):
    sol = simulate(system, (0, 400 * step), x0, method="strang", step=step, monitor=None)
    return (not sol.success) or np.abs(sol.y[:, -1]).max() > 1e3 * np.abs(x0).max()


@pytest.mark.parametrize(("friction", "mass"), [(0.0, 1.0), (0.0, 2.5), (8.0, 1.0), (8.0, 2.5), (60.0, 1.0)])
def test_ten_times_the_step_is_the_limit(friction, mass):
    spectrum = np.array([1.0, 9.0, 25.0])
    system, x0 = HeavyBall(Quadratic(spectrum), friction=friction, mass=mass), at_rest([0.3, -0.2, 0.1])
    h = 10 * suggest_step(system, x0)
    z = friction / mass * h
    np.testing.assert_allclose(25 / mass * h**2, 2 * z / np.tanh(z / 2) if z else 4, rtol=2e-3)
    assert not grows(system, x0, 0.99 * h)
    assert grows(system, x0, 1.02 * h)


@pytest.mark.parametrize("momentum", [0.1, 0.5, 0.9, 0.99, 1 - 1e-9])
def test_the_limit_is_that_of_torchs_momentum(momentum):
    """Strang and SGD have the same recurrence: 2 (1 + mu)/lr (METHODS 4); without friction 4 m/h^2."""
    step, friction = heavy_ball_from_sgd(lr=0.07, momentum=momentum)
    np.testing.assert_allclose(strang_limit(step, friction), 2 * (1 + momentum) / 0.07, rtol=1e-7)
    np.testing.assert_allclose(strang_limit(0.1, 0.0, mass=2.0), 800.0, rtol=1e-14)
    system = HeavyBall(Quadratic([9.0]), mass=2.0, friction=2 * friction)
    limit = strang_limit(10 * suggest_step(system, [1.0, 0.0]), 2 * friction, mass=2.0)
    np.testing.assert_allclose(limit, 9.0, rtol=4e-3)


def test_curvature_of_a_nonlinear_landscape_and_of_masses():
    """Rosenbrock at its minimum: the leading eigenvalue of M^-1/2 Hess M^-1/2."""
    hessian, masses = np.array([[802.0, -400.0], [-400.0, 200.0]]), np.array([2.0, 0.5])
    scaled = hessian / np.sqrt(np.outer(masses, masses))
    for mass, matrix in ((1.0, hessian), (masses, scaled)):
        step = suggest_step(HeavyBall(Rosenbrock(), mass=mass), at_rest([1.0, 1.0]))
        np.testing.assert_allclose(step, 0.2 / np.sqrt(np.linalg.eigvalsh(matrix)[-1]), rtol=5e-3)


def test_a_network_is_left_as_it_was_and_the_step_is_stable():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(20, 3, generator=generator)
    torch.manual_seed(1)
    V = NetworkLoss(mlp((3, 5, 1)), torch.nn.functional.mse_loss, inputs, torch.sin(inputs.sum(1, keepdim=True)))
    system = HeavyBall(V, friction=0.3)
    step = suggest_step(system, V.initial_state())
    torch.testing.assert_close(torch.cat([p.detach().ravel() for p in V.model.parameters()]), V.initial_state()[: V.dim], rtol=0, atol=0)
    assert 0.01 < step < 1
    assert simulate(system, (0, 100 * step), V.initial_state(), method="strang", step=step).energy_balance().verdict == "balanced"


def test_the_weakest_friction_counts():
    """Strang's limit grows with friction, so the mode that explores sets the step."""
    x0 = at_rest([0.3])
    brake = HeavyBall(Quadratic([4.0]), friction=SwitchedFriction(0.1, 8.0, LossGoal(reduction=0.5)))
    low, high = HeavyBall(Quadratic([4.0]), friction=0.1), HeavyBall(Quadratic([4.0]), friction=8.0)
    assert suggest_step(brake, x0) == suggest_step(low, x0) < suggest_step(high, x0)


def test_what_is_refused():
    with pytest.raises(ArgumentError, match="no curvature at x0"):
        suggest_step(HeavyBall(lambda q: q.sum(-1)), at_rest([1.0]))
    with pytest.raises(ArgumentError, match="'strang' needs positions and momenta"):
        suggest_step(GradientFlow(Quadratic([1.0])), [1.0])
    with pytest.raises(ArgumentError, match="'RK45' chooses its steps"):
        suggest_step(HeavyBall(Quadratic([1.0])), [1.0, 0.0], method="RK45")
    with pytest.raises(ArgumentError, match="'explicit-euler' is unstable there, with gamma = 0, however short"):
        suggest_step(HeavyBall(Quadratic([1.0])), [1.0, 0.0], method="explicit-euler")
    with pytest.raises(ArgumentError, match="not on <function"):
        suggest_step(lambda t, x: x, [1.0, 0.0])


@pytest.mark.filterwarnings("ignore::phdyn.StabilityWarning")
@pytest.mark.parametrize("name", ["conformal-euler", "sgd", "yoshida-4", "blanes-moan-6", "rk4", "gauss-4"])
@pytest.mark.parametrize("friction", [0.3, 4.0])
def test_ten_times_the_step_is_the_limit_of_any_method(name, friction):
    """By a run at 0.98 and at 1.03 times the limit."""
    system, x0 = HeavyBall(Quadratic([1.0, 25.0]), friction=friction), at_rest([0.3, 0.1])
    h = 10 * suggest_step(system, x0, name)

    def size(step):
        sol = simulate(system, (0, 400 * step), x0, method=name, step=step, monitor=None)
        return np.abs(sol.y[:, -1]).max() if sol.success else np.inf

    assert size(0.98 * h) < 1
    if name == "gauss-4":  # Lawson's form: the limit is that of the solve, or of what was looked at
        return
    assert size(1.03 * h) > 10


def test_the_soonest_limit_of_all_modes_and_masses_counts():
    """Friction helps Strang and hurts SGD; with masses the stiff mode may be the heavy one."""
    x0 = at_rest([0.3])
    brake = HeavyBall(Quadratic([1.0]), friction=SwitchedFriction(0.1, 20.0, LossGoal(reduction=0.5)))
    hard = HeavyBall(Quadratic([1.0]), friction=20.0)
    assert suggest_step(brake, x0, "sgd") == suggest_step(hard, x0, "sgd")
    assert suggest_step(brake, x0) == suggest_step(HeavyBall(Quadratic([1.0]), friction=0.1), x0)
    heavy = HeavyBall(Quadratic([1e-3, 100.0]), mass=[1e-3, 1.0], friction=1.0)
    assert suggest_step(heavy, at_rest([1.0, 1.0])) == pytest.approx(0.02, rel=0.05)


def test_friction_that_depends_on_time_is_looked_at_when_asked():
    ball = HeavyBall(Quadratic([1.0]), friction=NesterovFriction(3.0))
    assert suggest_step(ball, at_rest([0.3]), t=0.1) == suggest_step(HeavyBall(Quadratic([1.0]), friction=30.0), at_rest([0.3]))


def test_methods_of_the_same_name_and_of_lists():
    ball, x0 = HeavyBall(Quadratic([1.0]), friction=1.0), at_rest([0.3])
    assert suggest_step(ball, x0, replace(get("sgd"), friction="exact")) == pytest.approx(suggest_step(ball, x0, "polyak"), rel=1e-6)
    midpoint = ButcherTableau("mine", 2, rows=[[], [0.5]], weights=[0.0, 1.0], nodes=[0.0, 0.5], source="here")
    assert 0.05 < suggest_step(ball, x0, midpoint) < 0.3


def test_explicit_euler_lives_on_friction():
    ball = HeavyBall(Quadratic([1.0, 25.0]), friction=0.3)
    np.testing.assert_allclose(suggest_step(ball, at_rest([0.3, 0.1]), "explicit-euler"), 0.1 * 0.3 / 25, rtol=2e-3)


def test_gradient_flows_too():
    flow = GradientFlow(Quadratic([1.0, 25.0]))
    np.testing.assert_allclose(suggest_step(flow, [1.0, 1.0], "explicit-euler"), 0.1 * 2 / 25, rtol=2e-3)
    np.testing.assert_allclose(suggest_step(flow, [1.0, 1.0], "rk4"), 0.1 * 2.785 / 25, rtol=2e-3)
    np.testing.assert_allclose(suggest_step(flow, [1.0, 1.0], "implicit-euler"), 0.1 * 12 / 25, rtol=2e-3)
