"""Conformal symplecticity of single steps, with derivatives by forward-mode differentiation through torch vectors.

Of "chin-4", whose Hessian-vector products follow no tangent, by differences of order 6, good to 1e-12 here.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from kinds import kinds
from problems import differenced, jacobian, one_step
from scipy.integrate import quad
from scipy.stats import ortho_group

import phdyn
from phdyn import ArgumentError, HeavyBall, NesterovFriction, ScheduledFriction
from phdyn.methods import Splitting

# torch compiles rules of forward-mode differentiation on their first use, by what it has itself deprecated
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

METHODS = [name for name in phdyn.methods.names() if isinstance(phdyn.methods.get(name), Splitting)] + ["chin-4"]
EXACT = [*(name for name in METHODS if name != "implicit-damping"), "polyak"]
N, MASS, STEP, TIME = 3, 1.7, 0.2, 0.9
J = np.block([[np.zeros((N, N)), np.eye(N)], [-np.eye(N), np.zeros((N, N))]])
START = np.array([0.7, -0.4, 1.1, 0.3, 0.2, -0.5])
ROTATION = torch.tensor(ortho_group.rvs(N, random_state=0))


def wells(q):
    """Three degrees of freedom, coupled by a rotation; not quadratic."""
    return (1 - torch.cos(1.3 * (q @ ROTATION)) + 0.05 * q**4).sum(-1)


def derivative(method, system):
    return (differenced if method == "chin-4" else jacobian)(method, system, START, TIME, STEP)


def defect(matrix, factor):
    return np.abs(matrix.T @ J @ matrix - factor * J).max()


@pytest.mark.parametrize("friction", [0.0, 0.4, 3.0])
@pytest.mark.parametrize("method", EXACT)
def test_splittings_contract_the_symplectic_form_by_the_exact_factor(method, friction):
    matrix = derivative(method, HeavyBall(wells, mass=MASS, friction=friction))
    assert defect(matrix, np.exp(-friction * STEP / MASS)) < 1e-10


@pytest.mark.parametrize("method", kinds(EXACT))
@pytest.mark.parametrize(
    "law",
    [ScheduledFriction(lambda t: 0.4 * (1 + 0.5 * np.sin(2 * t))), NesterovFriction(3.0)],
    ids=["scheduled", "nesterov"],
)
def test_the_factor_under_scheduled_friction_is_that_of_its_integral(method, law):
    matrix = derivative(method, HeavyBall(wells, mass=MASS, friction=law))
    total = quad(lambda t: law.rate(t) / MASS, TIME, TIME + STEP, epsabs=1e-14)[0]
    assert defect(matrix, np.exp(-total)) < 1e-10


@pytest.mark.parametrize("friction", [0.0, 0.4, 3.0])
def test_sgd_contracts_by_its_own_factor(friction):
    system = HeavyBall(wells, mass=MASS, friction=friction)
    explicit = phdyn.methods.get("sgd")
    assert defect(jacobian(explicit, system, START, TIME, STEP), 1 - friction * STEP / MASS) < 1e-10
    assert defect(jacobian(replace(explicit, friction="exact"), system, START, TIME, STEP), np.exp(-friction * STEP / MASS)) < 1e-10


@pytest.mark.parametrize("friction", [0.0, 0.4, 3.0, ScheduledFriction(lambda t: 0.4 * (1 + 0.5 * np.sin(2 * t)))])
def test_implicit_damping_contracts_by_its_own_factor(friction):
    """(1 - z/2)/(1 + z/2), z = h gamma/m at the middle of the step."""
    matrix = jacobian("implicit-damping", HeavyBall(wells, mass=MASS, friction=friction), START, TIME, STEP)
    z = STEP * phdyn.friction.as_friction(friction).rate(TIME + STEP / 2) / MASS
    assert defect(matrix, (1 - z / 2) / (1 + z / 2)) < 1e-10
    assert friction == 0.0 or defect(matrix, np.exp(-z)) > 1e-6


@pytest.mark.parametrize("friction", [0.0, 0.4, 3.0])
def test_nesterov_is_not_conformally_symplectic(friction):
    """Nor is its map a multiple of a symplectic one: it contracts by the curvature of V, too."""
    form = jacobian("nesterov", HeavyBall(wells, mass=MASS, friction=friction), START, TIME, STEP)
    form = form.T @ J @ form
    factor = np.sum(form * J) / np.sum(J * J)  # of the nearest multiple of J
    assert np.abs(form - factor * J).max() > 5e-3


def test_the_defect_of_nesterov_on_henon_and_heiles():
    """Measured beforehand, somewhere: 4.9e-2, and 2.8e-2 from any multiple of J."""
    henon = HeavyBall(lambda q: (q * q).sum(-1) / 2 + q[..., 0] ** 2 * q[..., 1] - q[..., 1] ** 3 / 3, friction=0.3)
    matrix = jacobian("nesterov", henon, np.array([0.3, -0.2, 0.25, 0.15]), 0.0, STEP)
    j = np.block([[np.zeros((2, 2)), np.eye(2)], [-np.eye(2), np.zeros((2, 2))]])
    form = matrix.T @ j @ matrix
    assert np.abs(form - (1 - 0.3 * STEP) * j).max() == pytest.approx(5e-2, abs=0.2e-2)
    assert np.abs(form - np.sum(form * j) / 4 * j).max() == pytest.approx(2.7e-2, abs=0.2e-2)


@pytest.mark.parametrize("method", kinds([*METHODS, "sgd", "polyak"]))
def test_volume_contracts_by_the_trace_with_a_mass_per_parameter(method):
    masses, friction = np.array([1.0, 2.0, 0.5]), 0.4
    matrix = derivative(method, HeavyBall(wells, mass=masses, friction=friction))
    z = friction * STEP / masses
    factors = {"sgd": 1 - z, "implicit-damping": (1 - z / 2) / (1 + z / 2)}.get(method, np.exp(-z))
    np.testing.assert_allclose(np.linalg.det(matrix), np.prod(factors), rtol=1e-11 if method == "chin-4" else 1e-12)
    form = matrix.T @ J @ matrix
    assert np.abs(form - form[0, N] * J).max() > 1e-3  # masses that differ: no multiple of J, whatever the factor


@pytest.mark.parametrize("friction", [0.0, 0.4])
@pytest.mark.parametrize("name", ["rk4", "explicit-euler"])
def test_the_check_sees_methods_that_are_not_conformally_symplectic(name, friction):
    matrix = jacobian(name, HeavyBall(wells, mass=MASS, friction=friction), START, TIME, STEP)
    assert defect(matrix, np.exp(-friction * STEP / MASS)) > 1e-7


@pytest.mark.parametrize("method", ["strang", "blanes-moan-6"])
def test_derivatives_agree_with_differences(method):
    """The dual numbers pass through every operation of a step: central differences, error below 1e-8."""
    system = HeavyBall(wells, mass=MASS, friction=0.4)
    exact, eps = jacobian(method, system, START, TIME, STEP), 1e-5
    for k, direction in enumerate(np.eye(2 * N)):
        ends = [one_step(method, system, torch.tensor(START + s * eps * direction), TIME, STEP) for s in (1, -1)]
        np.testing.assert_allclose(exact[:, k], (ends[0] - ends[1]) / (2 * eps), atol=1e-8)


def test_differences_agree_with_derivatives():
    """To what the check of "chin-4" needs."""
    system = HeavyBall(wells, mass=MASS, friction=0.4)
    exact = jacobian("strang", system, START, TIME, STEP)
    np.testing.assert_allclose(differenced("strang", system, START, TIME, STEP), exact, rtol=0, atol=2e-12)


def test_what_follows_no_tangent_says_so():
    with pytest.raises(ArgumentError, match="'chin-4' has no forward-mode derivatives"):
        jacobian("chin-4", HeavyBall(wells, mass=MASS), START, TIME, STEP)


@pytest.mark.parametrize("method", METHODS)
def test_symmetric_splittings_without_friction_are_reversible(method):
    system, flip = HeavyBall(wells, mass=MASS), np.repeat([1.0, -1.0], N)
    there = one_step(method, system, torch.tensor(START), TIME, STEP)
    back = flip * one_step(method, system, torch.tensor(flip * there), TIME, STEP)
    if method == "conformal-euler":
        assert np.abs(back - START).max() > 1e-3
    else:
        np.testing.assert_allclose(back, START, rtol=0, atol=1e-14)


def test_dual_tensors_keep_to_torch_and_numbers_to_blas():
    system = HeavyBall(wells, mass=MASS, friction=0.4)
    plain = one_step("blanes-moan-6", system, torch.tensor(START), TIME, STEP)
    assert isinstance(plain, np.ndarray)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(torch.tensor(START), torch.ones(2 * N, dtype=torch.float64))
        primal = torch.autograd.forward_ad.unpack_dual(one_step("blanes-moan-6", system, dual, TIME, STEP)).primal
        np.testing.assert_allclose(primal.numpy(), plain, rtol=1e-13)
