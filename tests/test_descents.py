"""Descents as port-Hamiltonian systems: their equations, their structure, their energy laws, and what they refuse."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.integrate import solve_ivp

import phdyn
from phdyn import ArgumentError, ArgumentTypeError, HeavyBall, MatrixFree, NetworkLoss, PortHamiltonianSystem, descents, simulate
from phdyn.events import Guard
from phdyn.motion import bind
from phdyn.networks import mlp
from phdyn.potentials import Himmelblau, hvp
from phdyn.vectors import vectors_of

TIGHT = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-14}
END = 6.0
Q0 = np.array([1.5, -0.8])


def slope(q):
    return np.sin(q) + q[..., ::-1] / 3 + 0.4 * q**3


def curvature(q):
    return np.diag(np.cos(q) + 1.2 * q**2) + np.array([[0.0, 1 / 3], [1 / 3, 0.0]])


class Hills:
    """A nonlinear potential above 0 on NumPy arrays, whose rows do not mix."""

    dim = 2

    def value(self, q):
        return (1 - np.cos(q) + q**4 / 10).sum(-1) + q[..., 0] * q[..., 1] / 3 + 1

    def value_and_grad(self, q):
        return self.value(q), slope(q)


def hills(q):
    return (1 - torch.cos(q) + q**4 / 10).sum(-1) + q[..., 0] * q[..., 1] / 3 + 1


V = Hills()
ALPHA, MU, GAMMA, MASS = 0.4, 0.5, 0.2, 1.3
A, B = 0.3, 0.2
DELTA = -0.5
C = 0.9


# Each system as it is written out: its field, and the power that it loses, from V, grad V and the state alone.
def adaptive(x):
    q, p, xi = x[:2], x[2:4], x[4]
    field = [*(p / MASS), *(-slope(q) - (xi + GAMMA) * p), p @ p / (MASS * MU) - ALPHA * xi]
    return np.array(field), GAMMA * p @ p / MASS + ALPHA * MU * xi**2


def newton(x):
    q, psi = x[:2], x[2:]
    velocity = -(A - 1 / B) * q - psi / B - B * slope(q)
    return np.array([*velocity, *(-(A - 1 / B) * q - psi / B)]), A * velocity @ velocity + B * slope(q) @ slope(q)


def born(x):
    q, p = x[:2], x[2:]
    U = V.value(q) - DELTA
    E = math.sqrt(U * (U + p @ p))
    return np.array([*(U / E * p), *(-(U / E + E / U) * slope(q) / 2)]), 0.0


def slowed(x, friction, momentum_friction):
    q, p = x[:2], x[2:]
    v = C * p / math.sqrt(p @ p + MASS**2 * C**2)
    return np.array([*v, *(-slope(q) - friction * v - momentum_friction * p)]), friction * v @ v + momentum_friction * p @ v


MAKE = {
    "friction adaptive": lambda potential: descents.friction_adaptive(potential, alpha=ALPHA, mu=MU, gamma=GAMMA, mass=MASS),
    "inertial Newton": lambda potential: descents.inertial_newton(potential, a=A, b=B),
    "Born-Infeld": lambda potential: descents.born_infeld(potential, delta=DELTA),
    "relativistic, velocity": lambda potential: descents.relativistic(potential, c=C, friction=0.3, mass=MASS),
    "relativistic, momentum": lambda potential: descents.relativistic(potential, c=C, momentum_friction=0.3, mass=MASS),
}
WRITTEN = (adaptive, newton, born, lambda x: slowed(x, 0.3, 0.0), lambda x: slowed(x, 0.0, 0.3))
SYSTEMS = {name: (make(V), written) for (name, make), written in zip(MAKE.items(), WRITTEN, strict=True)}
CASES = pytest.mark.parametrize(("system", "written"), SYSTEMS.values(), ids=SYSTEMS.keys())
MADE = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE.keys())
EACH = pytest.mark.parametrize("system", [system for system, _ in SYSTEMS.values()], ids=SYSTEMS.keys())


def size_of(system):
    return len(descents.start(system, Q0))


def field_of(system, x):
    vectors, x = vectors_of(x)
    motion = bind(system, vectors, len(x), tensors=False)
    return motion.field(0.0, x, np.empty_like(x))[2]


@pytest.fixture(scope="module")
def runs():
    return {name: simulate(system, (0.0, END), descents.start(system, Q0), **TIGHT) for name, (system, _) in SYSTEMS.items()}


# --- structure ------------------------------------------------------------------------------------------------------------------------
STATES = st.tuples(arrays(np.float64, 5, elements=st.floats(-2, 2)), arrays(np.float64, 5, elements=st.floats(-2, 2)))


@settings(deadline=None, max_examples=50)
@given(STATES)
@CASES
def test_the_structure_at_any_state(system, written, states):
    """J is skew, R symmetric and positive semidefinite; both are linear, and with grad E they make the field as it is written out."""
    x, v = (part[: size_of(system)].copy() for part in states)
    J, R = system.J.dense(x), system.R.dense(x)
    np.testing.assert_array_equal(J + J.T, 0.0)
    np.testing.assert_array_equal(R, R.T)
    assert np.linalg.eigvalsh(R)[0] >= -1e-14
    np.testing.assert_allclose(system.J.product(x, v), J @ v, atol=1e-13)
    np.testing.assert_allclose(system.R.product(x, v), R @ v, atol=1e-13)
    E, grad = system.energy.value_and_grad(x)
    assert E == system.energy.value(x) == system.hamiltonian(x)
    field, lost = written(x)
    np.testing.assert_allclose((J - R) @ grad, field, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(field_of(system, x), field, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(grad @ R @ grad, lost, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(system.energy.potential_of(E, x), V.value(x[:2]), rtol=1e-12)


@settings(deadline=None, max_examples=20)
@given(STATES)
@EACH
def test_gradients_are_those_of_the_energy(system, states):
    x, v = (part[: size_of(system)].copy() for part in states)
    eps = 1e-5
    change = (system.energy.value(x + eps * v) - system.energy.value(x - eps * v)) / (2 * eps)
    np.testing.assert_allclose(system.energy.value_and_grad(x)[1] @ v, change, rtol=1e-7, atol=1e-7)


def test_momentum_friction_alone_is_conformally_symplectic():
    """The derivative A of the field obeys A^T W + W A = -gamma W, W the canonical form; with friction on the velocity it does not."""
    x, omega = np.array([0.4, -0.3, 0.7, 1.1]), np.block([[np.zeros((2, 2)), np.eye(2)], [-np.eye(2), np.zeros((2, 2))]])
    defects = []
    for system in (SYSTEMS["relativistic, momentum"][0], SYSTEMS["relativistic, velocity"][0]):
        columns = [(field_of(system, x + 1e-6 * e).copy() - field_of(system, x - 1e-6 * e)) / 2e-6 for e in np.eye(4)]
        derivative = np.array(columns).T
        defects.append(np.abs(derivative.T @ omega + omega @ derivative + 0.3 * omega).max())
    assert defects[0] < 1e-8
    assert defects[1] > 0.01


# --- trajectories and their energies --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_run_obeys_the_equations_and_the_law(runs, name):
    """The end and the dissipated work are those of the written-out equations, by scipy alone; the residual is rounding."""
    system, written = SYSTEMS[name]
    sol = runs[name]

    def equations(t, y):
        field, lost = written(y[:-1])
        return [*field, lost]

    exact = solve_ivp(equations, (0.0, END), [*descents.start(system, Q0), 0.0], method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    np.testing.assert_allclose(sol.y[:, -1], exact[:-1], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(sol.energy.dissipated[-1], exact[-1], rtol=1e-10, atol=1e-13)
    assert sol.energy_balance().verdict == "balanced"
    assert np.abs(sol.energy.residual).max() < 1e-11
    assert np.all(np.diff(sol.energy.hamiltonian) < 1e-12)
    np.testing.assert_allclose(sol.energy.potential, V.value(sol.y[:2].T), rtol=1e-12)
    np.testing.assert_allclose(sol.energy.kinetic + sol.energy.potential, sol.energy.hamiltonian, rtol=1e-15)


@EACH
def test_discrete_gradients_keep_the_balance_of_each_step(system):
    sol = simulate(system, (0.0, END), descents.start(system, Q0), method="gonzalez", step=0.1)
    assert sol.success
    assert sol.energy_balance().verdict == "balanced"
    scale = np.abs(sol.energy.hamiltonian).max() + np.abs(sol.energy.potential).max()
    assert np.abs(np.diff(sol.energy.residual)).max() < 1e-14 * scale


@MADE
def test_a_wrong_gradient_is_seen(make):
    """The balance is that of the energy: with a slope that is 3 % too long it does not close."""

    class Steep(Hills):
        def value_and_grad(self, q):
            return self.value(q), 1.03 * slope(q)

    system = make(Steep())
    assert simulate(system, (0.0, END), descents.start(system, Q0), monitor=None, **TIGHT).energy_balance().residual > 1e-3


# --- what each is known for -----------------------------------------------------------------------------------------------------------
def test_adaptive_friction_stays_positive_and_the_ball_itself_loses_energy(runs):
    sol = runs["friction adaptive"]
    p, xi = sol.y[2:4], sol.y[4]
    assert xi[0] == 0.0 and np.all(xi[1:] > 0.0)
    ball = sol.energy.potential + (p * p).sum(0) / (2 * MASS)
    assert np.all(np.diff(ball) <= 1e-13)
    np.testing.assert_allclose(sol.energy.kinetic, (p * p).sum(0) / (2 * MASS) + MU * xi**2 / 2, rtol=1e-9, atol=1e-13)


def test_inertial_newton_is_damping_by_the_hessian_without_it(runs):
    """q'' + a q' + b Hess V q' + grad V = 0 from q' = -b grad V; from rest it is another motion."""
    sol = runs["inertial Newton"]
    np.testing.assert_allclose(newton(sol.y[:, 0])[0][:2], -B * slope(Q0), rtol=1e-14)

    def second_order(t, y):
        q, v = y[:2], y[2:]
        return [*v, *(-A * v - B * curvature(q) @ v - slope(q))]

    for velocity, apart in ((-B * slope(Q0), False), (np.zeros(2), True)):
        y = solve_ivp(second_order, (0.0, END), [*Q0, *velocity], method="DOP853", rtol=1e-13, atol=1e-14).y[:2, -1]
        difference = np.abs(y - sol.y[:2, -1]).max()
        assert difference > 1e-3 if apart else difference < 1e-11


def test_the_heavy_balls_energy_may_rise_under_inertial_newton_and_its_own_falls():
    """Along a direction of negative curvature, damping by the Hessian feeds V + |q'|^2/2."""
    system = descents.inertial_newton(lambda q: (q[..., 0] ** 2 - 1) ** 2 / 4 + q[..., 1] ** 2, a=0.1, b=1.0)
    sol = simulate(system, (0.0, 20.0), descents.start(system, [0.01, 1.0]), method="DOP853", rtol=1e-9, atol=1e-12)
    q, psi = sol.y[:2], sol.y[2:]
    g = np.array([q[0] * (q[0] ** 2 - 1), 2 * q[1]])
    velocity = -(0.1 - 1.0) * q - psi - g
    ball = sol.energy.potential + (velocity**2).sum(0) / 2
    assert (ball - np.minimum.accumulate(ball)).max() > 0.05
    assert np.all(np.diff(sol.energy.hamiltonian) < 0)
    assert sol.energy_balance().verdict == "balanced"


def test_born_infeld_conserves_energy_and_limits_the_speed(runs):
    sol = runs["Born-Infeld"]
    E, U = sol.energy.hamiltonian, sol.energy.potential - DELTA
    np.testing.assert_allclose(E, E[0], rtol=1e-12)
    speed = np.array([born(x)[0][:2] for x in sol.y.T])
    np.testing.assert_allclose((speed**2).sum(1), U * (1 - U**2 / E**2), atol=1e-11)
    assert np.all((speed**2).sum(1) <= U)


@pytest.mark.parametrize("friction", [{"friction": 0.3}, {"momentum_friction": 0.3}])
def test_the_relativistic_ball_is_slower_than_c_and_heavy_where_c_is_large(friction):
    run = {"t_eval": [END], **TIGHT}
    ball = simulate(HeavyBall(V, friction=0.3), (0.0, END), phdyn.at_rest(Q0), **run).y[:, 0]
    apart = []
    for c in (10.0, 100.0, 1e9, math.inf):
        sol = simulate(descents.relativistic(V, c=c, **friction), (0.0, END), phdyn.at_rest(Q0), **run)
        apart.append(np.abs(sol.y[:, 0] - ball).max())
        assert np.abs(sol.energy.residual).max() < 1e-11  # no rest energy, which would cost digits
    assert apart[0] > 1e-4
    np.testing.assert_allclose(apart[0] / apart[1], 100.0, rtol=0.05)
    assert max(apart[2:]) < 1e-11
    fast = simulate(descents.relativistic(V, c=0.5, **friction), (0.0, END), [*Q0, 30.0, -20.0], **TIGHT)
    v = fast.y[2:] / np.sqrt(1 + (fast.y[2:] ** 2).sum(0) / 0.25)
    speed = np.sqrt((v**2).sum(0))
    assert 0.499 < speed.max() < 0.5


# --- kinds of arrays, potentials and runs ---------------------------------------------------------------------------------------------
class TorchHills:
    """A user's object on tensors alone, without ``value``."""

    def value_and_grad(self, q):
        assert isinstance(q, torch.Tensor)
        return phdyn.potentials.FunctionPotential(hills).value_and_grad(q)


@MADE
def test_functions_and_objects_in_kind_and_in_single_precision(make):
    system, fixed = make(V), {"method": "rk4", "step": 0.05}
    x0 = descents.start(system, Q0)
    expected = simulate(system, (0.0, 1.0), x0, **fixed)
    for same, kind in ((make(hills), x0), (make(hills), torch.tensor(x0)), (make(TorchHills()), torch.tensor(x0))):
        sol = simulate(same, (0.0, 1.0), kind, **fixed)
        np.testing.assert_allclose(sol.y, expected.y, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(sol.energy.residual, expected.energy.residual, atol=1e-13)
        sol = simulate(same, (0.0, 1.0), kind.astype(np.float32) if kind is x0 else kind.float(), **fixed)
        assert sol.y.dtype == np.float32
        np.testing.assert_allclose(sol.y, expected.y, atol=2e-5)
        assert sol.energy_balance().verdict == "balanced"
    for kind in (x0.astype(np.float32), torch.tensor(x0, dtype=torch.float32)):
        energy = make(hills).energy
        assert energy.value(kind).dtype == energy.value_and_grad(kind)[1].dtype == kind.dtype
    assert simulate(system, (0.0, 1.0), x0.astype(np.float32), **fixed).y.dtype == np.float32


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@MADE
def test_derivatives_by_forward_mode(make):
    """The end's derivative with respect to the start, through a run on dual tensors."""
    system = make(hills)
    x0 = torch.tensor(descents.start(system, Q0))
    direction = torch.linspace(-1.0, 1.0, len(x0), dtype=torch.float64)

    def end(x):
        ends = []
        look = {"end": lambda point: ends.append(point.x.clone()) or 0.0}
        simulate(system, (0.0, 0.5), x, method="rk4", step=0.1, monitor=None, observables=look)
        return ends[-1]

    with torch.autograd.forward_ad.dual_level():
        tangent = torch.autograd.forward_ad.unpack_dual(end(torch.autograd.forward_ad.make_dual(x0, direction))).tangent
        difference = (end(x0 + 1e-6 * direction) - end(x0 - 1e-6 * direction)) / 2e-6
    np.testing.assert_allclose(tangent, difference, atol=1e-8)


@EACH
def test_energies_of_many_states_and_starts_in_kind(system):
    q = np.array([[0.5, 1.0], [0.1, -0.2], [1.5, -0.8]])
    x = descents.start(system, q)
    x[:, 2:] += 0.1
    values, slopes = system.energy.value_and_grad(x)
    for k in range(3):
        value, one = system.energy.value_and_grad(x[k])
        np.testing.assert_allclose([values[k], *slopes[k]], [value, *one], rtol=1e-14)
    np.testing.assert_array_equal(system.hamiltonian(x), values)
    np.testing.assert_array_equal(descents.start(system, q[0].tolist()), descents.start(system, q)[0])
    tensor = descents.start(system, torch.tensor(q, dtype=torch.float32))
    assert tensor.dtype == torch.float32
    np.testing.assert_allclose(tensor, descents.start(system, q), rtol=1e-6)


@EACH
def test_batches_run_one_by_one_and_runs_go_on(system):
    x0 = descents.start(system, np.array([[0.5, 1.0], [1.5, -0.8]]))
    batch = simulate(system, (0.0, 1.0), x0, method="rk4", step=0.05)
    whole = simulate(system, (0.0, 1.0), x0[1], method="rk4", step=0.05)
    np.testing.assert_array_equal(batch.y[1], whole.y)
    np.testing.assert_array_equal(batch.energy.potential[1], whole.energy.potential)
    first = simulate(system, (0.0, 0.5), x0[1], method="rk4", step=0.05)
    rest = simulate(system, (0.5, 1.0), first.state, method="rk4", step=0.05)
    np.testing.assert_allclose(rest.y[:, -1], whole.y[:, -1], rtol=1e-13)
    np.testing.assert_allclose(rest.energy.residual[-1], whole.energy.residual[-1], atol=1e-14)
    assert rest.energy_balance().swing == pytest.approx(whole.energy_balance().swing)


def test_systems_are_pickled_and_named():
    system = descents.born_infeld(Himmelblau(), delta=-1.0)
    x = descents.start(system, [1.0, 2.0])
    assert pickle.loads(pickle.dumps(system)).hamiltonian(x) == system.hamiltonian(x)
    assert repr(system) == "PortHamiltonianSystem(BornInfeld(Himmelblau, n = 2))"


def test_a_hessian_of_the_energy():
    system, _ = SYSTEMS["relativistic, velocity"]
    x, v = np.array([0.4, -0.3, 0.7, 1.1]), np.array([0.3, 0.5, -1.0, 0.0])
    product = hvp(system.energy, x, v)
    np.testing.assert_allclose(product[:2], curvature(x[:2]) @ v[:2], rtol=1e-8)


class Counted(torch.nn.Module):
    """A network that counts its passes."""

    def __init__(self, dtype):
        super().__init__()
        self.inner, self.passes = mlp((2, 3, 1)).to(dtype), 0

    def forward(self, x):
        self.passes += 1
        return self.inner(x)


def network(dtype=torch.float64):
    torch.manual_seed(0)
    model = Counted(dtype)
    loss = NetworkLoss(model, torch.nn.functional.mse_loss, torch.randn(8, 2, dtype=dtype), torch.ones(8, 1, dtype=dtype))
    return model, loss


@pytest.mark.parametrize("options", [{"method": "rk4", "step": 0.1}, {"method": "DOP853"}, {"method": "gonzalez", "step": 0.1}], ids=str)
@MADE
def test_a_network_costs_its_gradients_and_ends_where_the_run_ends(make, options):
    model, loss = network()
    system = make(loss)
    q0 = loss.initial_state()[: loss.dim]
    model.passes = 0
    sol = simulate(system, (0.0, 1.0), descents.start(system, q0), **options)
    assert model.passes == sol.nfev + sol.nvev
    assert sol.energy_balance().verdict == "balanced"
    parameters = torch.cat([p.detach().ravel() for p in model.parameters()])
    np.testing.assert_array_equal(parameters, sol.y[: loss.dim, -1])
    np.testing.assert_allclose(sol.energy.potential[-1], float(loss.value(parameters)), rtol=1e-12)
    assert (parameters - q0).abs().max() > 1e-3


@MADE
def test_a_network_in_single_precision(make):
    _, loss = network(torch.float32)
    system = make(loss)
    x0 = descents.start(system, loss.initial_state()[: loss.dim])
    single = simulate(system, (0.0, 1.0), x0, method="rk4", step=0.05)
    assert single.y.dtype == np.float32
    double = simulate(system, (0.0, 1.0), x0, method="DOP853")  # which works in float64
    np.testing.assert_allclose(single.y[:, -1], double.y[:, -1], atol=1e-4)
    assert single.energy_balance().verdict == double.energy_balance().verdict == "balanced"
    with pytest.raises(ArgumentError, match="x0 is float64, the network float32"):
        simulate(system, (0.0, 1.0), x0.double(), method="rk4", step=0.05)
    with pytest.raises(ArgumentError, match="a network's loss takes one trajectory at a time"):
        simulate(system, (0.0, 1.0), torch.stack([x0, x0]), method="rk4", step=0.05)


def test_a_descent_in_a_metric_of_a_network():
    """A user's own R that is not formed: q' = -d grad V."""
    _, loss = network()
    q0, d = loss.initial_state()[: loss.dim], torch.linspace(0.5, 2.0, loss.dim, dtype=torch.float64)
    system = PortHamiltonianSystem(loss, MatrixFree(lambda q, v: 0 * v), MatrixFree(lambda q, v: d * v))
    sol = simulate(system, (0.0, 2.0), q0, method="DOP853", rtol=1e-10, atol=1e-12)
    dense = PortHamiltonianSystem(loss, torch.zeros(loss.dim, loss.dim), torch.diag(d))
    expected = simulate(dense, (0.0, 2.0), q0, method="DOP853", rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(sol.y[:, -1], expected.y[:, -1], rtol=1e-9)
    np.testing.assert_allclose(sol.energy.dissipated[-1], expected.energy.dissipated[-1], rtol=1e-9)
    assert sol.energy_balance().verdict == "balanced"


# --- the loss along a run -------------------------------------------------------------------------------------------------------------
@EACH
def test_guards_and_observables_see_the_loss(system):
    """point.potential is V, where the run's own energy is E."""
    level = 0.6 * V.value(Q0)
    reached = Guard(lambda point: point.potential - level, name="loss", direction=-1, terminal=True)
    seen = {"V": lambda point: point.potential, "rest": lambda point: point.kinetic, "E": lambda point: point.hamiltonian}
    sol = simulate(system, (0.0, 20.0), descents.start(system, Q0), method="DOP853", rtol=1e-9, events=reached, observables=seen)
    assert sol.status == 1
    np.testing.assert_allclose(V.value(sol.y[:2, -1]), level, rtol=1e-9)
    np.testing.assert_allclose(sol.observed["V"], V.value(sol.y[:2].T), rtol=1e-10)
    np.testing.assert_allclose(sol.observed["E"], sol.energy.hamiltonian, rtol=1e-14)
    np.testing.assert_allclose(sol.observed["V"] + sol.observed["rest"], sol.observed["E"], rtol=1e-14)


def test_a_jump_of_the_state_injects_energy_into_the_right_account():
    system, _ = SYSTEMS["Born-Infeld"]
    kicked = phdyn.Transition("run", "run", Guard(lambda point: point.x[0], name="side", direction=-1), lambda t, x: x * [1, 1, 1.5, 1.5])
    graph = phdyn.HybridAutomaton({"run": system}, [kicked], initial="run")
    sol = simulate(graph, (0.0, END), descents.start(system, Q0), **TIGHT)
    assert len(sol.switches) >= 1
    assert sol.energy.injected[-1] > 0.1
    assert np.abs(sol.energy.residual).max() < 1e-11
    np.testing.assert_array_equal(sol.energy.t, sol.t)
    np.testing.assert_allclose(sol.energy.potential, V.value(sol.y[:2].T), rtol=1e-12)


# --- what they refuse -----------------------------------------------------------------------------------------------------------------
ADAPTIVE, BORN = (SYSTEMS[name][0] for name in ("friction adaptive", "Born-Infeld"))
NARROW = PortHamiltonianSystem(V, MatrixFree(lambda x, v: v[:1]), np.zeros((2, 2)))


def go(system, x0, **options):
    return simulate(system, (0.0, 1.0), x0, **({"method": "rk4", "step": 0.1} | options))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: descents.friction_adaptive(V, alpha=-0.1, mu=1.0), r"friction_adaptive\(alpha=-0.1\): a number of at least 0 is needed"),
        (lambda: descents.friction_adaptive(V, alpha=0.1, mu=0.0), r"friction_adaptive\(mu=0.0\): a positive number is needed"),
        (lambda: descents.friction_adaptive(V, alpha=0.1, mu=1.0, mass=math.inf), r"\(mass=inf\): a positive number"),
        (lambda: descents.friction_adaptive(V, alpha="0.1", mu=1.0), r"\(alpha='0.1'\): a number of at least 0"),
        (lambda: descents.inertial_newton(V, a=0.1, b=0), r"inertial_newton\(b=0\): a positive number is needed"),
        (lambda: descents.inertial_newton(V, a=math.nan, b=1.0), r"inertial_newton\(a=nan\)"),
        (lambda: descents.born_infeld(V, delta=math.inf), r"born_infeld\(delta=inf\): a finite number below every value of V is needed"),
        (lambda: descents.relativistic(V, c=0.0), r"relativistic\(c=0.0\): a positive number is needed; math.inf gives the heavy ball"),
        (lambda: descents.relativistic(V, c=math.nan), r"relativistic\(c=nan\)"),
        (lambda: descents.relativistic(V, c=1.0, momentum_friction=True), r"\(momentum_friction=True\): a number of at least 0"),
        (lambda: descents.relativistic(3.0, c=1.0), "the potential is of type float"),
        (lambda: descents.born_infeld(Himmelblau), "the potential is the class Himmelblau"),
        (lambda: descents.start(HeavyBall(V), Q0), r"descents.start knows the systems of phdyn.descents, not HeavyBall\(Hills, n = 2\)"),
        (lambda: descents.start(BORN, [1.0, 2.0, 3.0]), "descents.start: q has 3 components, the potential has 2"),
        (lambda: go(ADAPTIVE, phdyn.at_rest(Q0)), r"friction_adaptive: x has 4 components, not 5: take phdyn.descents.start\(system, q\)"),
        (lambda: go(descents.friction_adaptive(hills, alpha=0.1, mu=1.0), phdyn.at_rest(Q0)), r"x has 4 components, not 2n \+ 1"),
        (lambda: go(descents.inertial_newton(hills, a=0.1, b=1.0), [1.0, 2.0, 3.0]), "inertial_newton: x has 3 components, not 2n: take"),
        (lambda: go(descents.born_infeld(V, delta=5.0), phdyn.at_rest([0.5, 0.5])), "V - delta = -3.65933 at x0; delta = 5 must be"),
        (lambda: go(BORN, phdyn.at_rest(Q0), events=phdyn.LossGoal(value=1.0)), "would watch the energy of .*BornInfeld.*Guard"),
        (lambda: go(NARROW, Q0), r"the product of J .* shape \(1,\), not \(2,\)"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
        make()


def test_a_run_that_leaves_the_region_of_born_infeld_ends_with_a_status():
    system = descents.born_infeld(lambda q: (q * q).sum(-1) / 2, delta=0.3)
    sol = simulate(system, (0.0, 10.0), phdyn.at_rest([1.0]), method="rk4", step=0.05, monitor=None)
    assert sol.status == -2
    assert "loss is nan" in sol.message
    assert 0 < sol.t_end < 10
