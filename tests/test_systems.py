"""Systems: their power balance, their energies, their inputs, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import phdyn
from phdyn import (
    ArgumentError,
    ArgumentTypeError,
    GradientFlow,
    HeavyBall,
    NetworkLoss,
    PortHamiltonianSystem,
    Sampled,
    ScheduledFriction,
    Steps,
    at_rest,
    simulate,
)
from phdyn.motion import bind
from phdyn.networks import mlp
from phdyn.potentials import Rosenbrock
from phdyn.systems import QuadraticForm, describe
from phdyn.vectors import vectors_of

J = np.array([[0.0, 1.0, -0.5], [-1.0, 0.0, 0.3], [0.5, -0.3, 0.0]])
R = np.array([[0.2, 0.1, 0.0], [0.1, 0.3, 0.0], [0.0, 0.0, 0.0]])
G = np.array([[1.0, 0.0], [0.0, 2.0], [0.5, -1.0]])
Q = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 3.0]])
STATES = arrays(np.float64, 3, elements=st.floats(-2, 2))


def H(x):  # noqa: N802
    return (1 - torch.cos(x) + x**4 / 8).sum(-1) + x[..., 0] * x[..., 1] / 3


def drive(t, x):
    return np.array([np.cos(t), x[0] / 2])


def push(t, q):
    return np.array([np.cos(2 * t), q[0]])


def bound(system, x):
    vectors, x = vectors_of(x)
    return bind(system, vectors, len(x), tensors=False), x


def rate_of_change(system, motion, t, x):
    """dH/dt along the field by a central difference of H, its error about 1e-9."""
    field = motion.field(t, x, np.empty_like(x))[2].copy()
    eps = 1e-6
    return float(system.hamiltonian(x + eps * field) - system.hamiltonian(x - eps * field)) / (2 * eps)


def bent(x):
    return torch.tensor(J) * (1 + x[0] ** 2)


def coupled(q):
    return (1 - torch.cos(q)).sum(-1) + q[..., 0] * q[..., 1]


# --- the power balance ----------------------------------------------------------------------------------------------------------------
@settings(deadline=None)
@given(STATES, st.floats(0, 10))
@pytest.mark.parametrize(
    "system",
    [
        PortHamiltonianSystem(H, J, R, G, u=drive),
        PortHamiltonianSystem(Q, J, R, G, u=drive),
        PortHamiltonianSystem(H, bent, lambda x: torch.diag(x * x), lambda x: torch.tensor(G) * x[1], u=drive),
        PortHamiltonianSystem(H, J, R),
        GradientFlow(H),
    ],
    ids=["function", "matrix", "J(x), R(x), G(x)", "closed", "flow"],
)
def test_energy_changes_by_what_is_dissipated_and_supplied(system, x, t):
    motion, x = bound(system, x)
    dissipated, supplied = motion.powers(t, x, motion.gradient(x)[1])
    np.testing.assert_allclose(rate_of_change(system, motion, t, x), supplied - dissipated, rtol=1e-7, atol=1e-7)
    assert dissipated >= -1e-12


NORMAL = st.floats(-2, 2).map(lambda v: v if abs(v) > 1e-150 else 0.0)
"""Numbers whose squares have all their digits: below, they are subnormal and hold to no relative tolerance."""


@settings(deadline=None)
@given(arrays(np.float64, 4, elements=NORMAL), st.floats(0, 10), st.sampled_from([1.7, (0.5, 3.0)]))
def test_the_power_balance_of_the_heavy_ball(x, t, mass):
    system = HeavyBall(coupled, mass=mass, friction=ScheduledFriction(lambda t: 1 + t), u=push)
    motion, x = bound(system, x)
    velocity = x[2:] / np.asarray(mass)
    dissipated, supplied = motion.powers(t, x)
    np.testing.assert_allclose(dissipated, (1 + t) * velocity @ velocity, rtol=1e-13)
    np.testing.assert_allclose(supplied, push(t, x[:2]) @ velocity, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(rate_of_change(system, motion, t, x), supplied - dissipated, rtol=1e-7, atol=1e-6)
    g = motion.gradient(x[:2])[1].copy()
    np.testing.assert_allclose(motion.climb(t, x, g), g @ velocity, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(motion.kinetic(x), (x[2:] * velocity).sum() / 2, rtol=1e-13)
    np.testing.assert_allclose(motion.kinetic(x) + motion.value(x[:2]), float(system.hamiltonian(x)), rtol=1e-13, atol=1e-13)
    acceleration = (motion.combine(t, x, g, np.empty(4))[2:]) / np.asarray(mass)
    np.testing.assert_allclose(motion.acceleration(t, x, g), acceleration, rtol=1e-12, atol=1e-12)


# --- evaluating in kind ---------------------------------------------------------------------------------------------------------------
class NumpyBowl:
    """A user's object without ``value``, that works on NumPy alone."""

    def value_and_grad(self, q):
        assert isinstance(q, np.ndarray)
        return (q * q).sum(-1), 2 * q


@pytest.mark.parametrize(
    "system",
    [
        HeavyBall(Rosenbrock(), mass=[1.0, 2.0]),
        HeavyBall(lambda q: (q**4).sum(-1)),
        PortHamiltonianSystem(np.eye(4), np.zeros((4, 4)), np.zeros((4, 4))),
        PortHamiltonianSystem(lambda x: (x * x).sum(-1), np.zeros((4, 4)), np.zeros((4, 4))),
        GradientFlow(Rosenbrock(dim=4)),
    ],
    ids=["landscape", "function", "matrix", "port function", "flow"],
)
def test_hamiltonians_answer_in_kind(system):
    x = np.array([[0.3, 1.2, -0.4, 0.8], [1.0, 0.0, 0.5, 0.1]])
    x.flags.writeable = False  # as in a Solution
    array, tensor = system.hamiltonian(x), system.hamiltonian(torch.tensor(x))
    assert isinstance(array, np.ndarray)
    assert isinstance(tensor, torch.Tensor)
    assert array.shape == tensor.shape == (2,)
    np.testing.assert_allclose(tensor.numpy(), array, rtol=1e-15)
    np.testing.assert_allclose(float(system.hamiltonian(x[0].tolist())), array[0], rtol=1e-15)
    single = system.hamiltonian(x.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, array, rtol=1e-6)


def test_hamiltonians_of_objects_and_networks():
    for system in (HeavyBall(NumpyBowl(), mass=2.0), PortHamiltonianSystem(NumpyBowl(), np.zeros((2, 2)), np.zeros((2, 2)))):
        assert float(system.hamiltonian(np.array([1.0, 2.0]))) == pytest.approx(2.0 if isinstance(system, HeavyBall) else 5.0)
    torch.manual_seed(0)
    V = NetworkLoss(mlp((2, 3, 1)).double(), torch.nn.functional.mse_loss, torch.ones(4, 2).double(), torch.zeros(4, 1).double())
    x = V.initial_state()
    assert float(HeavyBall(V).hamiltonian(x)) == float(HeavyBall(V).hamiltonian(x.numpy())) == float(V.value(x[: V.dim]))


def test_hamiltonian_is_differentiable():
    x = torch.tensor([0.3, 1.2, -0.4, 0.8], dtype=torch.float64, requires_grad=True)
    HeavyBall(lambda q: (q**4).sum(-1), mass=2.0).hamiltonian(x).backward()
    q, p = x.detach()[:2], x.detach()[2:]
    np.testing.assert_allclose(x.grad, torch.cat([4 * q**3, p / 2]), rtol=1e-14)


def test_outputs():
    x = np.array([0.3, -0.2, 0.7])
    for system in (PortHamiltonianSystem(Q, J, R, G), PortHamiltonianSystem(Q, J, R, lambda x: torch.tensor(G))):
        np.testing.assert_allclose(system.output(0.0, x), G.T @ Q @ x, rtol=1e-14)
        np.testing.assert_allclose(system.output(0.0, list(x)), G.T @ Q @ x, rtol=1e-14)
        assert isinstance(system.output(0.0, torch.tensor(x)), torch.Tensor)
        np.testing.assert_allclose(system.output(0.0, torch.tensor(x)), G.T @ Q @ x, rtol=1e-14)
    by_function = PortHamiltonianSystem(lambda x: (x @ torch.tensor(Q) * x).sum(-1) / 2, J, R, G)
    np.testing.assert_allclose(by_function.output(0.0, x), G.T @ Q @ x, rtol=1e-14)
    np.testing.assert_allclose(PortHamiltonianSystem(NumpyBowl(), J, R, G).output(0.0, x), G.T @ (2 * x), rtol=1e-14)
    with pytest.raises(ArgumentError, match="no port matrix G, so no output"):
        PortHamiltonianSystem(Q, J, R).output(0.0, x)


def test_the_quadratic_form():
    form, x = QuadraticForm(Q), np.array([[0.3, -0.2, 0.7], [1.0, 2.0, 3.0]])
    np.testing.assert_allclose(form.value(x), [v @ Q @ v / 2 for v in x], rtol=1e-14)
    np.testing.assert_allclose(form.value_and_grad(x)[1], x @ Q, rtol=1e-15)
    assert form.value_and_grad(x.astype(np.float32))[1].dtype == np.float32
    assert form.value_and_grad(torch.tensor(x, dtype=torch.float32))[1].dtype == torch.float32
    with pytest.raises(ArgumentError, match="Q of the Hamiltonian is not symmetric"):
        QuadraticForm([[1, 2], [0, 1]])


def test_a_circuit_is_solved_in_single_precision_too():
    single = simulate(PortHamiltonianSystem(Q, J, R), (0, 3), np.array([1, 0, 0], np.float32), method="rk4", step=0.05)
    double = simulate(PortHamiltonianSystem(Q, J, R), (0, 3), [1.0, 0, 0], method="rk4", step=0.05)
    assert single.y.dtype == np.float32
    np.testing.assert_allclose(single.y, double.y, atol=1e-5)


# --- inputs ---------------------------------------------------------------------------------------------------------------------------
def test_steps_are_right_continuous():
    u = Steps([1.0, 2.5], [[3.0, 1.0], [-1.0, 0.0]])
    for t, expected in ((0.0, [0, 0]), (np.nextafter(1.0, 0), [0, 0]), (1.0, [3, 1]), (2.0, [3, 1]), (2.5, [-1, 0]), (99.0, [-1, 0])):
        np.testing.assert_array_equal(u(t), expected)
    for t in (1.0, 1.7, 2.5):  # on a stretch, its ends have the limits from inside
        np.testing.assert_array_equal(u.within(1.0, 2.5)(t, None), [3, 1])
        np.testing.assert_array_equal(u.within(2.5, 1.0)(t, None), [3, 1])


def test_samples_are_joined_by_lines():
    u = Sampled([1.0, 2.0, 4.0], [[0.5], [2.0], [0.0]])
    for t, expected in ((0.9, 0.0), (1.0, 0.5), (1.5, 1.25), (2.0, 2.0), (3.0, 1.0), (4.0, 0.0), (9.0, 0.0)):
        np.testing.assert_allclose(u(t), [expected], atol=1e-15)
    np.testing.assert_array_equal(u.within(0.0, 1.0)(1.0, None), [0.0])
    np.testing.assert_array_equal(u.within(1.0, 2.0)(1.0, None), [0.5])
    held = Sampled([0.0, 1.0], [[1.0], [2.0]])
    np.testing.assert_array_equal(held(5.0), [2.0])


def jumps(sol, times):
    return all(np.isin(times, sol.t))


@pytest.mark.parametrize("span", [(0.0, 3.0), (3.0, 0.0)])
@pytest.mark.parametrize("name", phdyn.methods.table(HeavyBall(np.sin))["method"])
def test_a_pulse_into_a_ball_at_rest(name, span):
    """No method steps over a pulse of 1/200 of the span; its ends are step ends, forward and backward, and its work is counted.

    A free particle pushed by 4 for 0.015: p = 0.06 and H = p^2/2, exact for every method, since p is linear in t.
    """
    times = [1.0, 1.015]
    system = HeavyBall(lambda q: 0.0 * (q * q).sum(-1), u=Steps(times, [[4.0], [0.0]]))
    options = {"step": 0.1} if phdyn.methods.get(name).fixed else {"rtol": 1e-9, "atol": 1e-12}
    sol = simulate(system, span, [0.0, 0.0], method=name, monitor=None, **options)
    sign = 1 if span[1] > span[0] else -1
    assert sol.success
    assert jumps(sol, times)
    np.testing.assert_allclose(sol.p[0, -1], sign * 0.06, rtol=1e-12)
    assert np.all(sol.p[0][np.sign(span[1] - span[0]) * (sol.t - (1.0 if sign > 0 else 1.015)) <= 0] == 0)
    expected = 0.0018
    if phdyn.methods.get(name).order > 1:  # a method of order 1 has its own idea of work
        np.testing.assert_allclose(sol.energy.supplied[-1], expected, rtol=1e-9)
        assert np.abs(sol.energy.residual).max() < 1e-9


@pytest.mark.parametrize("name", ["rk4", "RK45", "DOP853", "Radau", "LSODA", "dopri5"])
def test_a_sampled_voltage_into_a_circuit(name):
    """x' = -x + u with u piecewise linear, against the closed form on each piece."""
    times = np.array([0.5, 0.7, 1.0])
    values = np.array([[0.0], [2.0], [0.5]])
    system = PortHamiltonianSystem(np.eye(1), np.zeros((1, 1)), np.eye(1), np.eye(1), u=Sampled(times, values))
    options = {"step": 0.01} if name == "rk4" else {"rtol": 1e-10, "atol": 1e-12}
    sol = simulate(system, (0.0, 2.0), [0.0], method=name, **options)
    assert jumps(sol, times)
    x, t = 0.0, 0.5
    for t1, (a, b) in ((0.7, (0.0, 2.0)), (1.0, (2.0, 0.5)), (2.0, (0.5, 0.5))):
        h, slope = t1 - t, (b - a) / (t1 - t)
        x, t = (x - a + slope) * np.exp(-h) + a + slope * h - slope, t1
        np.testing.assert_allclose(sol.y[0, np.flatnonzero(sol.t == t1)[0]], x, rtol=0, atol=2e-9)
    np.testing.assert_allclose(sol.inputs[0, np.flatnonzero(sol.t == 0.7)[0]], 2.0)
    assert sol.energy_balance().verdict == "balanced"


# --- what they refuse -----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PortHamiltonianSystem(Q, J + 0.1 * np.eye(3), R), r"J is not skew: J \+ J\^T has an entry of 0\.2"),
        (lambda: PortHamiltonianSystem(Q, J, -R), r"R is not positive semidefinite: it has the eigenvalue -0\.36"),
        (lambda: PortHamiltonianSystem(Q, J, R + np.triu(R, 1)), "R is not symmetric"),
        (lambda: PortHamiltonianSystem(Q, J[:2], R), r"J has shape \(2, 3\): a square matrix is needed"),
        (lambda: PortHamiltonianSystem(Q, J, np.full((3, 3), np.nan)), "R has shape .* a matrix of finite numbers is needed"),
        (lambda: PortHamiltonianSystem(Q, J, R, G[:2]), r"the matrices differ in size: \{'J': 3, 'R': 3, 'G': 2, 'Q': 3\}"),
        (lambda: PortHamiltonianSystem(Q, J, R, [1.0, 0.0, 0.0]), r"G has shape \(3,\): a matrix"),
        (lambda: PortHamiltonianSystem(Q, J, R, u=drive), r"an input u needs a port matrix G"),
        (lambda: PortHamiltonianSystem(Q, J, R, G, u=[1.0, 0.0]), r"the input u is a function of \(t, x\).* a constant: lambda t, x:"),
        (lambda: HeavyBall(H, mass=0.0), "mass is 0.0: positive finite numbers are needed"),
        (lambda: HeavyBall(H, mass=[1.0, -1.0]), "positive finite numbers"),
        (lambda: HeavyBall(H, mass=np.ones((2, 2))), "positive finite numbers"),
        (lambda: HeavyBall(H, mass=float("nan")), "positive finite numbers"),
        (lambda: HeavyBall(3.0), "potential is of type float"),
        (lambda: HeavyBall(Rosenbrock), "potential is the class Rosenbrock"),
        (lambda: HeavyBall(H, u=1.0), "the input u is a function"),
        (lambda: Steps([1.0, 1.0], [[1.0], [2.0]]), "an input's times must increase"),
        (lambda: Steps([1.0], [2.0]), r"times \(k,\) and values \(k, m\); these have shapes \(1,\) and \(1,\)"),
        (lambda: Sampled([], []), "an input has times"),
        (lambda: Sampled([0.0, np.inf], [[1.0], [2.0]]), "must be finite"),
        (lambda: at_rest(3.0), r"positions are an array \(..., n\), such as \[3.0\]"),
    ],
)
def test_what_is_refused_at_construction(make, message):
    with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
        make()


def test_nearly_skew_and_nearly_semidefinite_matrices_pass():
    """Rounding of products such as A - A.T and B B.T is no error."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        A, B = rng.normal(size=(6, 6)), rng.normal(size=(6, 2))
        assert PortHamiltonianSystem(np.eye(6), 1e5 * (A - A.T), B @ B.T).size == 6


def test_at_rest():
    np.testing.assert_array_equal(at_rest([1, 2]), [1.0, 2, 0, 0])
    assert at_rest([1, 2]).dtype == np.float64
    assert at_rest(np.ones((3, 2), np.float32)).dtype == np.float32
    assert at_rest(np.ones((3, 2))).shape == (3, 4)
    assert at_rest(torch.ones(2)).dtype == torch.float32
    np.testing.assert_array_equal(at_rest(torch.tensor([1, 2])), torch.tensor([1.0, 2, 0, 0], dtype=torch.float64))


def test_how_systems_are_called():
    def valley(q):
        return (q * q).sum(-1)

    assert repr(HeavyBall(Rosenbrock(dim=3))) == "HeavyBall(Rosenbrock, n = 3)"
    assert repr(GradientFlow(valley)) == "GradientFlow(valley)"
    assert repr(PortHamiltonianSystem(Q, J, R)) == "PortHamiltonianSystem(QuadraticForm, n = 3)"
    assert describe(NumpyBowl()) == "NumpyBowl"
