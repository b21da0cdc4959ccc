"""Discrete gradients: the identity that defines them, their digits at every increment, the balance of a step, and what a solve does."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import anderson

import phdyn
from phdyn import methods, potentials
from phdyn.counts import Halt
from phdyn.errors import ArgumentError
from phdyn.methods.anderson import fixed_point
from phdyn.methods.discrete_gradients import Ends, averaged, gonzalez, itoh_abe, itoh_abe_symmetric
from phdyn.vectors import NumpyVectors

GRADIENTS = {"gonzalez": gonzalez, "avf": averaged, "itoh-abe": itoh_abe, "itoh-abe-symmetric": itoh_abe_symmetric}
EXACT = tuple(GRADIENTS)
A, DIRECTION = (0.7, -0.4), (0.6, -0.8)


def height(q, xp=np):
    """1 - cos(a) + 2 a^2 + b^4/4 + a b^2, a and b apart, so that it works on numbers of any kind."""
    a, b = q
    return 1 - xp.cos(a) + 2 * a**2 + b**4 / 4 + a * b**2


class Two:
    """The same as a potential on NumPy."""

    dim = 2

    def value(self, q):
        return height((q[..., 0], q[..., 1]))

    def value_and_grad(self, q):
        a, b = q[..., 0], q[..., 1]
        return self.value(q), np.stack([np.sin(a) + 4 * a + b**2, b**3 + 2 * a * b], axis=-1)


def ends(potential, a):
    """What a discrete gradient sees of a run."""
    motion = SimpleNamespace(
        vectors=NumpyVectors(np.dtype(np.float64)), gradient=potential.value_and_grad, value=lambda q: float(potential.value(q))
    )
    return Ends(motion, a, float(potential.value(a)))


def exact(name, a, b):
    """The discrete gradient in 60 digits."""
    mp = mpmath
    with mp.workdps(60):
        a, b = [mp.mpf(float(x)) for x in a], [mp.mpf(float(x)) for x in b]
        d = [y - x for x, y in zip(a, b, strict=True)]

        def slope(q):
            return [mp.sin(q[0]) + 4 * q[0] + q[1] ** 2, q[1] ** 3 + 2 * q[0] * q[1]]

        def quotient(function, x, y):
            return mp.diff(function, x) if x == y else (function(y) - function(x)) / (y - x)

        def stairs(a, b):
            return [
                quotient(lambda x: height((x, a[1]), mp), a[0], b[0]),
                quotient(lambda x: height((b[0], x), mp), a[1], b[1]),
            ]

        middle = [(x + y) / 2 for x, y in zip(a, b, strict=True)]
        if name == "gonzalez":
            g = slope(middle)
            square = sum(x * x for x in d)
            missing = 0 if square == 0 else (height(b, mp) - height(a, mp) - sum(x * y for x, y in zip(g, d, strict=True))) / square
            found = [x + missing * y for x, y in zip(g, d, strict=True)]
        elif name == "avf":
            found = [mp.quad(lambda s, k=k: slope([x + s * y for x, y in zip(a, d, strict=True)])[k], [0, 1]) for k in range(2)]
        elif name == "itoh-abe":
            found = stairs(a, b)
        else:
            found = [(x + y) / 2 for x, y in zip(stairs(a, b), stairs(b, a), strict=True)]
        return np.array([float(x) for x in found])


@pytest.mark.parametrize("increment", [0.0, 1e-300, 1e-16, 1e-12, 1e-9, 1e-7, 1e-6, 3e-6, 6e-6, 1e-5, 3e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0])
@pytest.mark.parametrize("name", EXACT)
def test_ten_digits_at_every_increment(name, increment):
    """Quotients of differences of V lose eps |V|/|d|; below 6e-6 the gradient at the midpoint has more digits."""
    a = np.array(A)
    b = a + increment * np.array(DIRECTION)
    wanted = exact(name, a, b)
    found = GRADIENTS[name](ends(Two(), a), b)
    error = np.abs(found - wanted).max() / np.abs(wanted).max()
    assert error < (2e-15 if name == "avf" else 1e-10)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(EXACT),
    seed=st.integers(0, 10**6),
    size=st.floats(1e-4, 2.0),
    landscape=st.sampled_from([potentials.Rosenbrock(3), potentials.MullerBrown(), potentials.StyblinskiTang(4), potentials.DoubleWell()]),
)
def test_the_identity_that_defines_them(name, seed, size, landscape):
    rng = np.random.default_rng(seed)
    a = rng.uniform(-1, 1, landscape.dim)
    d = size * rng.standard_normal(landscape.dim)
    found = GRADIENTS[name](ends(landscape, a), a + d)
    change = float(landscape.value(a + d) - landscape.value(a))
    scale = abs(float(landscape.value(a))) + abs(float(landscape.value(a + d))) + np.abs(found) @ np.abs(d)
    assert abs(found @ d - change) <= 1e-13 * scale * (1 + landscape.dim)


@pytest.mark.parametrize("length", [1e-9, 1e-6, 1e-3, 1e3, 1e9])
@pytest.mark.parametrize("name", EXACT)
def test_units_of_length_do_not_matter(name, length):
    """The same motion in metres and in nanometres."""
    well = potentials.FunctionPotential(lambda q: (((q / length) ** 2 - 1) ** 2).sum(-1))
    system = phdyn.HeavyBall(well, mass=length**-2, friction=0.1 * length**-2)
    sol = phdyn.simulate(system, (0, 5), [1.4 * length, 0.9 * length, 0.0, 0.2 / length], method=name, step=0.1)
    assert sol.success and np.abs(np.diff(sol.energy.residual)).max() < 1e-14 * 2
    assert sol.energy_balance().verdict == "balanced"


@pytest.mark.parametrize("name", EXACT)
def test_where_nothing_moves_it_is_the_gradient(name):
    a = np.array(A)
    np.testing.assert_allclose(GRADIENTS[name](ends(Two(), a), a.copy()), Two().value_and_grad(a)[1], rtol=1e-15)


def test_the_average_takes_as_many_nodes_as_it_needs():
    """A wiggly V: 4 nodes are off by 1e-2, and the identity holds to rounding all the same."""
    wiggly = potentials.FunctionPotential(lambda q: torch.sin(9 * q).sum(-1))
    a, b = np.array([0.1]), np.array([1.6])
    seen = ends(wiggly, a)
    found = averaged(seen, b)
    assert seen.nodes > 8
    assert abs(found[0] * 1.5 - float(wiggly.value(b) - wiggly.value(a))) < 1e-14


def test_the_average_does_not_chase_the_rounding_of_heights():
    """Near a minimum with V = 0 the change of V is rounding, whatever the nodes."""
    flow = phdyn.HeavyBall(potentials.DoubleWell(), friction=1.0)
    sol = phdyn.simulate(flow, (0, 30), [1.5, 0.0], method="avf", step=0.1)
    gonzalez = phdyn.simulate(flow, (0, 30), [1.5, 0.0], method="gonzalez", step=0.1)
    assert sol.nfev < 8 * gonzalez.nfev


# --- steps --------------------------------------------------------------------------------------------------------------------
def port():
    def interconnection(x):
        z = torch.zeros((), dtype=x.dtype)
        rows = [[z, 1 + x[2] ** 2, x[1]], [-1 - x[2] ** 2, z, -x[0]], [-x[1], x[0], z]]
        return torch.stack([torch.stack(row) for row in rows])

    def dissipation(x):
        return torch.diag(torch.stack([0.1 + x[0] ** 2, 0.2 + 0 * x[1], 0.3 + x[2] ** 2]))

    def energy(x):
        return (x**2).sum(-1) / 2 + (x**4).sum(-1) / 4 + 0.3 * x[..., 0] * x[..., 1]

    return phdyn.PortHamiltonianSystem(energy, interconnection, dissipation, np.array([[1.0], [0.0], [0.5]]), u=lambda t, _: [np.sin(t)])


SYSTEMS = {
    "ball": (lambda: phdyn.HeavyBall(Two(), friction=0.3), [0.5, -0.4, 0.2, 0.1]),
    "masses, schedule, force": (
        lambda: phdyn.HeavyBall(
            Two(),
            mass=[1.0, 2.5],
            friction=phdyn.ScheduledFriction(lambda t: 0.3 * (1 + 0.5 * np.sin(2 * t))),
            u=lambda t, q: np.array([0.4 * np.cos(1.3 * t), 0.1 * q[0]]),
        ),
        [0.5, -0.4, 0.2, 0.1],
    ),
    "flow": (lambda: phdyn.GradientFlow(Two()), [0.5, -0.4]),
    "port": (port, [0.5, 0.2, -0.4]),
    "matrix": (lambda: phdyn.PortHamiltonianSystem(np.diag([1.0, 4.0]), [[0, 1], [-1, 0]], np.diag([0.0, 0.2])), [1.0, 0.5]),
}


@pytest.mark.parametrize("step", [0.01, 0.1, 0.4, 1.0])
@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("name", EXACT)
def test_the_balance_of_each_step_is_rounding(name, system, step):
    """At every step size at which the solve converges; where it does not, the run says so."""
    make, x0 = SYSTEMS[system]
    sol = phdyn.simulate(make(), (0, 30 * step), x0, method=name, step=step)
    scale = np.abs(sol.energy.hamiltonian).max() + np.abs(sol.energy.dissipated).max() + np.abs(sol.energy.supplied).max()
    assert np.abs(np.diff(sol.energy.residual)).max() <= 1e-14 * scale
    assert sol.energy_balance().kind == "exact"
    assert sol.energy_balance().verdict == "balanced"
    assert sol.success or (step > 0.5 and sol.status == -5 and sol.nsteps > 3), sol.message


def test_energy_falls_at_any_step():
    """Where Strang has long blown up."""
    system = phdyn.HeavyBall(potentials.DoubleWell(), friction=0.5)
    sol = phdyn.simulate(system, (0, 80), [1.5, 0.0], method="gonzalez", step=0.8)
    assert sol.success and (np.diff(sol.energy.hamiltonian) <= 1e-15).all()


@pytest.mark.parametrize("name", ["gonzalez", "implicit-midpoint", "gauss-4"])
def test_steps_that_end_near_zero(name):
    """The unknown all but vanishes: the tolerance is that of where the step began."""
    rng = np.random.default_rng(0)
    quartic = potentials.FunctionPotential(lambda q: (q**2).sum(-1) / 2 + (q**4).sum(-1) / 4)
    for _ in range(12):
        q = 0.7 * rng.standard_normal(20)
        h, slope = 0.3, q + q**3
        p = (h**2 / 2 * slope - q) / h
        sol = phdyn.simulate(phdyn.HeavyBall(quartic), (0, 2 * h), np.concatenate([q, p]), method=name, step=h, monitor=None)
        assert sol.success, sol.message
        assert np.abs(sol.q[:, 1]).max() < 0.5 * np.abs(q).max()


@pytest.mark.parametrize("z", [5.0, 40.0, 1e6])
def test_stiff_flows_close_their_balance_or_say_that_they_do_not(z):
    """The explicit guess is off by h z, and so many roundings are what is left of a residual."""
    flow = phdyn.GradientFlow(potentials.Quadratic([z, 1.0]))
    sol = phdyn.simulate(flow, (0, 5), [1.0, 1.0], method="gonzalez", step=1.0, monitor=None)
    assert sol.success or (z > 1e3 and sol.status == -5)
    if sol.nsteps:
        assert np.abs(np.diff(sol.energy.residual)).max() < 1e-13 * sol.energy.hamiltonian[0]


def test_a_wrong_gradient_is_seen():
    class Wrong(Two):
        def value_and_grad(self, q):
            value, slope = super().value_and_grad(q)
            return value, 1.001 * slope

    sol = phdyn.simulate(phdyn.HeavyBall(Wrong(), friction=0.3), (0, 5), [0.5, -0.4, 0.2, 0.1], method="avf", step=0.1, monitor=None)
    assert sol.energy_balance().verdict == "violated"
    assert "misses the balance" in sol.energy_balance().reason


def test_a_looser_tolerance_is_left_in_the_balance():
    loose = replace(methods.get("gonzalez"), tolerance=1e-8)
    make, x0 = SYSTEMS["ball"]
    sols = [phdyn.simulate(make(), (0, 5), x0, method=method, step=0.1, monitor=None) for method in ("gonzalez", loose)]
    defects = [np.abs(np.diff(sol.energy.residual)).max() for sol in sols]
    assert defects[0] < 1e-16 * 10 and 1e-13 < defects[1] < 1e-8
    assert sols[1].nfev < sols[0].nfev


@pytest.mark.parametrize(
    "options",
    [*({"tolerance": one} for one in (0.0, 1.0, float("inf"), float("nan"))), {"max_iterations": 0}, {"max_iterations": 10.5}],
)
@pytest.mark.parametrize("name", ["gonzalez", "gauss-4"])
def test_settings_that_are_none(name, options):
    with pytest.raises(ArgumentError, match=f"'{name}'"):
        replace(methods.get(name), **options)


@pytest.mark.parametrize("name", ["gonzalez", "avf", "implicit-midpoint", "gauss-4"])
def test_no_convergence_is_a_status(name):
    few = replace(methods.get(name), max_iterations=3)
    make, x0 = SYSTEMS["ball"]
    sol = phdyn.simulate(make(), (0, 5), x0, method=few, step=0.5, monitor=None)
    assert sol.status == -5 and not sol.success and len(sol.t) == 1
    assert f"{name}, step 0.5 from t = 0: the nonlinear solve did not converge in 3 iterations: lowest residual" in sol.message
    assert "try a smaller step" in sol.message


@pytest.mark.parametrize("name", ["gonzalez", "implicit-midpoint", "gauss-6"])
def test_single_precision(name):
    make, x0 = SYSTEMS["ball"]
    single = phdyn.simulate(make(), (0, 5), np.array(x0, dtype=np.float32), method=name, step=0.1)
    double = phdyn.simulate(make(), (0, 5), x0, method=name, step=0.1)
    assert single.y.dtype == np.float32 and single.success
    np.testing.assert_allclose(single.y, double.y, atol=2e-5)
    assert single.energy_balance().verdict == double.energy_balance().verdict != "violated"


@pytest.mark.parametrize(("name", "most"), [("gonzalez", 15), ("avf", 60), ("implicit-midpoint", 15), ("gauss-4", 30)])
def test_a_network_takes_few_gradients(name, most):
    torch.manual_seed(0)
    x = torch.randn(30, 6).double()
    V = phdyn.NetworkLoss(phdyn.networks.mlp((6, 12, 1)).double(), torch.nn.functional.mse_loss, x, torch.sin(x.sum(1, keepdim=True)))
    sol = phdyn.simulate(phdyn.HeavyBall(V, friction=0.3), (0, 20), V.initial_state(), method=name, step=0.5)
    assert sol.success
    assert 3 < sol.nfev / sol.nsteps < most
    assert methods.get(name).kind != "exact" or np.abs(np.diff(sol.energy.residual)).max() < 1e-14
    parameters = torch.cat([p.detach().ravel() for p in V.model.parameters()]).numpy()
    np.testing.assert_array_equal(parameters, sol.q[:, -1])


def test_a_network_of_1e5_parameters():
    torch.manual_seed(0)
    x = torch.randn(20, 64).double()
    V = phdyn.NetworkLoss(phdyn.networks.mlp((64, 280, 280, 10)).double(), torch.nn.functional.cross_entropy, x, torch.arange(20) % 10)
    assert V.dim > 99_000
    sol = phdyn.simulate(phdyn.HeavyBall(V, friction=0.3), (0, 1), V.initial_state(), method="gonzalez", step=0.2, record="energy")
    assert sol.success and sol.nfev / sol.nsteps < 15
    assert np.abs(np.diff(sol.energy.residual)).max() < 1e-14 * sol.energy.hamiltonian[0]


def test_batches_and_events_and_resumption():
    """A switch is located on the method's own steps: the balance is exact across the cut."""
    goal = phdyn.SwitchedFriction(0.1, 2.0, phdyn.LossGoal(reduction=0.9))
    system = phdyn.HeavyBall(potentials.DoubleWell(), friction=goal)
    x0 = np.array([[1.9, 0.0], [1.7, 0.2]])
    options = {"method": "gonzalez", "step": 0.04}
    batch = phdyn.simulate(system, (0, 6), x0, **options)
    for k in range(2):
        single = phdyn.simulate(system, (0, 6), x0[k], **options)
        exact = phdyn.simulate(system, (0, 6), x0[k], method="DOP853", rtol=1e-10, atol=1e-12)
        assert len(single.switches) == 1
        assert batch.switches.first()[k] == single.switches.first()
        assert single.switches.first() == pytest.approx(exact.switches.first(), abs=5e-3)
        assert single.switches[0].loss == pytest.approx(exact.switches[0].loss, abs=1e-10)
        assert np.abs(np.diff(single.energy.residual)).max() < 1e-14 * single.energy.hamiltonian[0]
        first = phdyn.simulate(system, (0, 3), x0[k], **options)
        again = phdyn.simulate(system, (3, 6), first.state, **options)
        np.testing.assert_allclose(again.y[:, -1], single.y[:, -1], rtol=1e-12, atol=1e-13)


# --- Anderson -----------------------------------------------------------------------------------------------------------------
VECTORS = NumpyVectors(np.dtype(np.float64))


def test_anderson_finds_what_scipy_finds_with_fewer_evaluations():
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((200, 200))
    matrix = 0.9 * (matrix + matrix.T) / np.abs(np.linalg.eigvalsh(matrix + matrix.T)).max()
    counts = [0, 0]

    def function(x):
        counts[0] += 1
        return np.cos(matrix @ x)

    found = fixed_point(function, np.zeros(200), VECTORS, tolerance=1e-13, most=200)
    np.testing.assert_allclose(np.cos(matrix @ found), found, atol=1e-13)

    def residual(x):
        counts[1] += 1
        return np.cos(matrix @ x) - x

    theirs = anderson(residual, np.zeros(200), M=8, f_tol=1e-12)  # absolute, of the largest component
    np.testing.assert_allclose(theirs, found, atol=1e-10)
    assert counts[0] <= counts[1]


def test_anderson_says_why_it_stops():
    with pytest.raises(Halt, match="did not converge in 6 iterations: lowest residual") as caught:
        fixed_point(lambda x: 3 * x + 1 + x**3, np.ones(2), VECTORS, tolerance=1e-12, most=6)
    assert caught.value.status == -5
    with pytest.raises(Halt, match="not finite") as caught:
        fixed_point(lambda x: x * np.nan, np.ones(2), VECTORS, tolerance=1e-12, most=6)
    assert caught.value.status == -2
    with pytest.raises(Halt) as caught, np.errstate(over="ignore"):  # it runs away, and the function overflows only there
        fixed_point(lambda x: 1e3 + np.exp(x), np.ones(2), VECTORS, most=50)
    assert caught.value.status == -5


def test_anderson_survives_squares_that_overflow():
    """Of changes, which makes the mixing begin anew; of the residual itself, which is no convergence."""
    with np.errstate(over="ignore"):
        found = fixed_point(lambda x: np.where(np.abs(x) > 1e10, -0.9 * x, np.cos(x)), np.full(3, 3e153), VECTORS, most=9000)
    np.testing.assert_allclose(found, 0.7390851332151607, rtol=1e-13)
    with pytest.raises(Halt, match="did not converge"), np.errstate(over="ignore"):
        fixed_point(lambda x: -x, np.full(3, 1e170), VECTORS)


def test_a_loose_tolerance_is_no_excuse():
    """What wanders at 60 tolerances has not converged."""
    with pytest.raises(Halt, match="did not converge"):
        fixed_point(lambda x: -x + np.array([1.0, 2.0]) + 0.9 * np.sin(40 * x), np.zeros(2), VECTORS, tolerance=1e-2, most=40)


def test_anderson_accepts_rounding():
    """The residual cannot fall below the noise of the function: near the tolerance that is taken for convergence."""
    rng = np.random.default_rng(1)
    found = fixed_point(lambda x: np.cos(x) + 2e-15 * rng.standard_normal(3), np.zeros(3), VECTORS, tolerance=1e-17, most=60)
    np.testing.assert_allclose(found, 0.7390851332151607, atol=1e-14)
    with pytest.raises(Halt):
        fixed_point(lambda x: np.cos(x) + 1e-12 * rng.standard_normal(3), np.zeros(3), VECTORS, tolerance=1e-17, most=60)
