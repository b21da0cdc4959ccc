"""Implicit Runge-Kutta methods: conformally symplectic with friction, their tableaux, gradient flows; and how they fail."""

from __future__ import annotations

import numpy as np
import pytest

import phdyn
from phdyn import HeavyBall, methods, potentials, simulate
from phdyn.errors import ArgumentError
from phdyn.methods import ImplicitTableau

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


@pytest.mark.parametrize(("name", "wanted"), [("gonzalez", 1.2e-3), ("avf", 1.1e-3), ("itoh-abe", 2.3e-2), ("itoh-abe-symmetric", 6.7e-4)])
def test_discrete_gradients_do_not(name, wanted):
    """By how much is the problem's: within a factor of ten of what was measured elsewhere on the same landscape, from another start."""
    assert wanted / 10 < defect(name) < 10 * wanted


def test_implicit_euler_is_no_gauss_method():
    assert defect("implicit-euler") > 1e-3


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
    assert sol.status == -5 and "try a smaller step" in sol.message
    assert np.isfinite(sol.y).all() and len(sol.t) == sol.nsteps + 1
