"""Implicit Runge-Kutta methods: conformally symplectic with friction, their tableaux, gradient flows; and how they fail."""

from __future__ import annotations

import numpy as np
import pytest
from problems import jacobian

import phdyn
from phdyn import HeavyBall, methods, potentials, simulate
from phdyn.errors import ArgumentError
from phdyn.methods import ImplicitTableau

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # of forward mode, in torch itself

GAUSS = ("implicit-midpoint", "gauss-4", "gauss-6")
J = np.block([[np.zeros((2, 2)), np.eye(2)], [-np.eye(2), np.zeros((2, 2))]])
START = np.array([0.3, 0.2, 0.1, -0.2])


class HenonHeiles:
    dim = 2

    def value(self, q):
        a, b = q[..., 0], q[..., 1]
        return (a**2 + b**2) / 2 + a**2 * b - b**3 / 3

    def value_and_grad(self, q):
        a, b = q[..., 0], q[..., 1]
        return self.value(q), np.stack([a + 2 * a * b, b + a**2 - b**2], axis=-1)


def derivative(name, system, step):
    """Of one step, by differences of order 4: good to 1e-11."""

    def end(x):
        return simulate(system, (0.3, 0.3 + step), x, method=name, step=step, monitor=None).y[:, -1]

    def change(shift):
        return end(START + shift) - end(START - shift)

    e = 1e-3
    return np.stack([(8 * change(e * unit) - change(2 * e * unit)) / (12 * e) for unit in np.eye(4)], axis=1)


def defect(name, *, friction=0.3, mass=1.0, step=0.2, factor=None):
    matrix = derivative(name, HeavyBall(HenonHeiles(), friction=friction, mass=mass), step)
    return np.abs(matrix.T @ J @ matrix - (np.exp(-0.3 * step / mass) if factor is None else factor) * J).max()


@pytest.mark.parametrize("mass", [1.0, 2.5])
@pytest.mark.parametrize("name", GAUSS)
def test_gauss_methods_contract_the_symplectic_form_by_the_exact_factor(name, mass):
    assert defect(name, mass=mass) < 1e-10


@pytest.mark.parametrize("name", GAUSS)
def test_and_by_the_integral_of_scheduled_friction(name):
    law = phdyn.ScheduledFriction(lambda t: 0.3 * (1 + 0.5 * np.sin(2 * t)))
    total = 0.3 * (0.2 + 0.25 * (np.cos(0.6) - np.cos(1.0)))
    assert defect(name, friction=law, factor=np.exp(-total)) < 1e-10


@pytest.mark.parametrize("name", ["gonzalez", "avf", "itoh-abe", "itoh-abe-symmetric", "implicit-euler"])
def test_discrete_gradients_and_backward_euler_do_not(name):
    assert defect(name) > 1e-4


def test_implicit_euler_is_backward_euler():
    """Not in Lawson's form: (I - h A) x1 = x0."""
    system, h = HeavyBall(potentials.Quadratic([1.0]), friction=2.0), 0.5
    sol = simulate(system, (0, h), [1.0, 1.0], method="implicit-euler", step=h, monitor=None)
    np.testing.assert_allclose(sol.y[:, -1], np.linalg.solve(np.eye(2) - h * np.array([[0, 1], [-1, -2]]), [1.0, 1.0]), rtol=1e-13)


@pytest.mark.parametrize("name", ["gonzalez", "avf"])
def test_hard_braking(name):
    """gamma h = 15: a discrete gradient still follows the slow motion; Lawson's form does not."""
    system = HeavyBall(HenonHeiles(), friction=30.0)
    exact = simulate(system, (0, 5), START, method="Radau", rtol=1e-10, atol=1e-12).y[:, -1]
    found = simulate(system, (0, 5), START, method=name, step=0.5, monitor=None).y[:, -1]
    np.testing.assert_allclose(found[:2], exact[:2], atol=5e-3)
    lawson = simulate(system, (0, 5), START, method="implicit-midpoint", step=0.5, monitor=None)
    assert not lawson.success or np.abs(lawson.y[:2, -1] - exact[:2]).max() > 0.02


@pytest.mark.parametrize(("dtype", "friction", "shown"), [(np.float64, 3000.0, "1.5e+03"), (np.float32, 150.0, "75")])
@pytest.mark.parametrize("name", GAUSS)
def test_braking_beyond_all_numbers_is_refused_by_name(name, dtype, friction, shown):
    sol = simulate(HeavyBall(HenonHeiles(), friction=friction), (0, 1), START.astype(dtype), method=name, step=0.5, monitor=None)
    assert sol.status == -5
    assert f"{name}: gamma h/m = {shown} in the step from t = 0 is too large: use strang, or gonzalez" in sol.message


@pytest.mark.parametrize("name", [*GAUSS, "implicit-euler", "gonzalez", "avf", "itoh-abe"])
def test_backwards_in_time(name):
    """Back to where it came from, to the method's order; symmetric methods to rounding."""
    system = HeavyBall(HenonHeiles(), friction=0.3, mass=[1.0, 2.0])
    there = simulate(system, (0, 1), START, method=name, step=0.05, monitor=None)
    back = simulate(system, (1, 0), there.y[:, -1], method=name, step=0.05, monitor=None)
    symmetric = name not in ("implicit-euler", "itoh-abe")
    np.testing.assert_allclose(back.y[:, -1], START, atol=1e-13 if symmetric else 0.03)


def test_a_step_back_through_the_pole_of_friction_is_refused():
    sol = simulate(HeavyBall(HenonHeiles(), friction=4.0), (1, 0), START, method="gonzalez", step=0.5, monitor=None)
    assert sol.status == -5 and "backwards in time from t = 1 is too long for this friction" in sol.message


@pytest.mark.parametrize("name", ["gonzalez", "gauss-4"])
def test_budgets_and_interrupts_inside_a_solve(name):
    class Stopping(HenonHeiles):
        calls = 0

        def value_and_grad(self, q):
            self.calls += 1
            if self.calls == 40:
                raise KeyboardInterrupt
            return super().value_and_grad(q)

    spent = simulate(HeavyBall(HenonHeiles(), friction=0.3), (0, 5), START, method=name, step=0.1, max_nfev=40, monitor=None)
    assert spent.status == -3 and spent.nfev <= 41 and len(spent.t) == spent.nsteps + 1
    stopped = simulate(HeavyBall(Stopping(), friction=0.3), (0, 5), START, method=name, step=0.1, monitor=None)
    assert stopped.status == -6 and stopped.nsteps == spent.nsteps
    np.testing.assert_array_equal(stopped.y, spent.y)


@pytest.mark.parametrize("name", ["gonzalez", "avf", "gauss-4"])
def test_modes_with_other_matrices_and_inputs_with_jumps(name):
    R = {"a": np.diag([0.1, 0.2]), "b": np.diag([1.0, 2.0])}
    u = phdyn.Steps([0.0, 0.33], [[0.2], [-0.4]])
    modes = {key: phdyn.PortHamiltonianSystem(np.diag([1.0, 4.0]), [[0, 1], [-1, 0]], R[key], [[0.0], [1.0]], u=u) for key in R}
    edges = [phdyn.Transition("a", "b", phdyn.events.TimeReached(0.77))]
    automaton = phdyn.HybridAutomaton(modes, edges, initial="a")
    exact = simulate(automaton, (0, 2), [1.0, 0.5], method="DOP853", rtol=1e-11, atol=1e-13)
    errors = []
    for step in (0.1, 0.05):
        sol = simulate(automaton, (0, 2), [1.0, 0.5], method=name, step=step, monitor=None)
        assert len(sol.switches) == 1 and 0.33 in sol.t
        errors.append(np.abs(sol.y[:, -1] - exact.y[:, -1]).max())
        assert methods.get(name).kind != "exact" or np.abs(np.diff(sol.energy.residual)).max() < 1e-14
    assert np.log2(errors[0] / errors[1]) > methods.get(name).order - 0.3


def test_a_potential_that_answers_in_one_buffer():
    class Buffered(HenonHeiles):
        buffer = np.empty(2)

        def value_and_grad(self, q):
            value, self.buffer[:] = super().value_and_grad(q)
            return value, self.buffer

    for name in ("gonzalez", "avf", "itoh-abe-symmetric", "gauss-6", "implicit-euler"):
        balls = [HeavyBall(one, friction=0.3) for one in (Buffered(), HenonHeiles())]
        ours, theirs = (simulate(ball, (0, 2), START, method=name, step=0.1, monitor=None) for ball in balls)
        np.testing.assert_array_equal(ours.y, theirs.y)


@pytest.mark.parametrize("name", [*GAUSS, "gonzalez", "implicit-euler"])
def test_forward_mode_is_refused(name):
    with pytest.raises(ArgumentError, match=f"'{name}' has no forward-mode derivatives"):
        jacobian(name, HeavyBall(lambda q: (q**4).sum(-1), friction=0.1), START, 0.0, 0.1)


@pytest.mark.parametrize("name", [*GAUSS, "implicit-euler"])
def test_stiff_flows_are_stable(name):
    """At 20 times the limit of explicit Euler; what is left of the stiff direction is what the method's stability function says."""
    z = 40.0
    flow = phdyn.GradientFlow(potentials.Quadratic([z, 1.0]))
    sol = simulate(flow, (0, 5), [1.0, 1.0], method=name, step=1.0, monitor=None)
    tableau = methods.get(name)
    a, b = np.array(tableau.rows), np.array(tableau.weights)

    def stability(z):
        return 1 - z * b @ np.linalg.solve(np.eye(len(b)) + z * a, np.ones(len(b)))

    assert sol.success
    np.testing.assert_allclose(sol.y[:, -1], [stability(z) ** 5, stability(1.0) ** 5], atol=1e-12)


def test_a_tableau_of_your_own():
    """Radau IIA, order 3."""
    radau = ImplicitTableau("radau-iia-3", 3, ((5 / 12, -1 / 12), (3 / 4, 1 / 4)), (3 / 4, 1 / 4), (1 / 3, 1.0), "Ehle 1969")
    reference = simulate(HeavyBall(HenonHeiles(), friction=0.3), (0, 4), START, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    errors = [
        np.abs(simulate(HeavyBall(HenonHeiles(), friction=0.3), (0, 4), START, method=radau, step=4 / n).y[:, -1] - reference).max()
        for n in (16, 32, 64)
    ]
    assert np.log2(errors[1] / errors[2]) == pytest.approx(3, abs=0.15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": (0.5, 0.4)}, "the weights sum to 0.9, not 1"),
        ({"nodes": (0.5,)}, "2 weights need 2 nodes and 2 rows of length 2"),
        ({"rows": ((0.25,), (0.5, 0.25))}, "2 rows of length 2"),
        ({"rows": ((0.25, 0.25), (0.25, 0.25))}, "row 0 sums to 0.5, its node is"),
    ],
)
def test_tableaux_that_do_not_add_up(change, message):
    gauss = methods.get("gauss-4")
    fields = {"rows": gauss.rows, "weights": gauss.weights, "nodes": gauss.nodes} | change
    with pytest.raises(ArgumentError, match=message):
        ImplicitTableau("mine", 4, source="here", **fields)


@pytest.mark.parametrize("name", [*GAUSS, "gonzalez"])
def test_a_step_that_is_too_long_says_so(name):
    ball = HeavyBall(potentials.Rosenbrock(2))
    sol = simulate(ball, (0, 50), [-1.2, 1.0, 0.0, 0.0], method=name, step=5.0, monitor=None)
    assert sol.status in (-2, -5) and "try a smaller step" in sol.message  # two of them arrive at 1e28 first
    assert np.isfinite(sol.y).all() and len(sol.t) == sol.nsteps + 1
