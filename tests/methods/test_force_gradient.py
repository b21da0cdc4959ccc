"""Chin's force-gradient splitting: its map by hand, what a step costs, networks, and strong friction."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from problems import FORCED_START, HENON_START, CoupledPendulums, gamma, one_step, reference

import phdyn
from phdyn import ArgumentError, HeavyBall, LossGoal, NetworkLoss, ScheduledFriction, Steps, SwitchedFriction, simulate
from phdyn.methods.stepping import Control
from phdyn.motion import bind
from phdyn.networks import mlp
from phdyn.potentials import Quadratic
from phdyn.vectors import vectors_of

CHIN = phdyn.methods.get("chin-4")
MASSES = np.array([0.7, 2.0])


class Products(CoupledPendulums):
    """The coupled pendulums with products of their own, counted."""

    products = 0

    def hvp(self, q, v):
        self.products += 1
        s = (v[0] - v[1]) / 2
        return np.cos(q) * v + np.array([s, -s], dtype=q.dtype)


def pull(t, q):
    """An input that depends on the position, and is no gradient."""
    return np.array([0.4 * np.cos(1.3 * t) - 0.2 * q[1] ** 2, 0.3 * np.sin(q[0])])


def by_hand(x, t, h, friction, u):
    """A step of 4A from the dense Hessian, at constant friction; the derivative of u along the force by its shifted value."""

    def force(t, q):
        return u(t, q) - CoupledPendulums().value_and_grad(q)[1]

    def drift(q, p):
        z = friction * h / 2 / MASSES
        return q - np.expm1(-z) / friction * p, np.exp(-z) * p

    q, p = x[:2], x[2:]
    p = p + h / 6 * force(t, q)
    q, p = drift(q, p)
    hessian = np.diag(np.cos(q)) + np.array([[0.5, -0.5], [-0.5, 0.5]])
    along = force(t + h / 2, q) / MASSES
    bent = -hessian @ along * h * h / 24 + u(t + h / 2, q + h * h / 24 * along) - u(t + h / 2, q)
    p = p + 2 * h / 3 * (force(t + h / 2, q) + bent)
    q, p = drift(q, p)
    return np.concatenate([q, p + h / 6 * force(t + h, q)])


# --- the map --------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("u", [None, pull], ids=["free", "forced"])
def test_a_step_is_the_formula(u):
    expected = by_hand(FORCED_START, 0.3, 0.4, 0.7, u or (lambda t, q: 0 * q))
    for potential, tolerance in ((Products(), 1e-15), (CoupledPendulums(), 1e-10)):  # its own products; differences of its gradients
        end = one_step("chin-4", HeavyBall(potential, mass=MASSES, friction=0.7, u=u), FORCED_START, 0.3, 0.4)
        np.testing.assert_allclose(end, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("u", [lambda t, q: np.array([0.4 * np.cos(1.3 * t), 0.0]), pull], ids=["of time", "of time and place"])
def test_order_with_a_mass_for_each_parameter_and_an_input(u):
    """The state and both works; with the part of the input's gradient left out the order is 2."""
    span = (0.7, 3.7)

    class Heavy:
        def value_and_grad(self, z):  # in z = sqrt(m) q all masses are 1
            V, g = CoupledPendulums().value_and_grad(z / MASSES**0.5)
            return V, g / MASSES**0.5

    scale = np.concatenate([MASSES**0.5, MASSES**-0.5])
    exact = reference(Heavy(), lambda t: gamma(t) / MASSES, lambda t, z: u(t, z / MASSES**0.5) / MASSES**0.5, span, FORCED_START * scale)
    errors = []
    for n in (64, 128):
        system = HeavyBall(Products(), mass=MASSES, friction=ScheduledFriction(gamma), u=u)
        sol = simulate(system, span, FORCED_START, method="chin-4", step=3 / n, monitor=None)
        works = sol.energy.dissipated[-1] - exact[4], sol.energy.supplied[-1] - exact[5]
        errors.append([np.abs(sol.y[:, -1] - exact[:4] / scale).max(), *np.abs(works)])
    np.testing.assert_allclose(np.log2(np.divide(*errors)), 4, atol=0.1)


def test_backwards_and_stiff_inputs_of_time_alone():
    """Jumps of an input are ends of steps; a place that is shifted along the force is not seen by an input of time."""
    u = Steps([0.0, 0.5, 1.0], [[1.0, 0.0], [0.0, -2.0], [0.5, 0.5]])
    there = simulate(HeavyBall(Products(), friction=0.3, u=u), (0.0, 2.0), HENON_START, method="chin-4", step=0.3, monitor=None)
    assert {0.5, 1.0} <= set(there.t)
    back = simulate(HeavyBall(Products(), friction=0.3, u=u), (2.0, 0.0), there.y[:, -1], method="chin-4", step=0.3, monitor=None)
    np.testing.assert_allclose(back.y[:, -1], HENON_START, atol=1e-4)  # on another grid
    fine = simulate(HeavyBall(Products(), friction=0.3, u=u), (0.0, 2.0), HENON_START, method="blanes-moan-6", step=0.05, monitor=None)
    np.testing.assert_allclose(there.y[:, -1], fine.y[:, -1], atol=1e-4)


def test_until_is_the_step_of_that_length_and_the_start_survives():
    vectors, x = vectors_of(HENON_START)
    motion = bind(HeavyBall(Products(), friction=0.3), vectors, 4, tensors=False)

    def observe(step):
        for tau in (0.2, 0.35, 0.2):
            part = step.until(tau)
            np.testing.assert_array_equal(part.x1, one_step("chin-4", HeavyBall(Products(), friction=0.3), HENON_START, 0.0, tau))
            assert (part.t0, part.t1) == (0.0, tau)
            np.testing.assert_array_equal(step.start().x, HENON_START)
        return False

    before = motion.nfev
    CHIN.march(motion, motion.knot(0.0, x), 0.5, observe, Control(0.5, 0.0))
    assert motion.nfev - before == 1 + 3 + 3 * 3


# --- what a step costs ----------------------------------------------------------------------------------------------------------------
def test_a_product_counts_as_a_gradient_and_by_differences_as_two():
    own, differenced = Products(), CoupledPendulums()
    sol = simulate(HeavyBall(own, friction=0.1), (0, 5), FORCED_START, method="chin-4", step=0.1, monitor=None)
    assert sol.nfev == 50 * CHIN.stages + 1 == own.gradients + own.products
    assert own.products == 50
    sol = simulate(HeavyBall(differenced, friction=0.1), (0, 5), FORCED_START, method="chin-4", step=0.1, monitor=None)
    assert sol.nfev == 50 * 4 + 1 == differenced.gradients
    assert (sol.nvev, own.values, differenced.values) == (0, 0, 0)


@pytest.mark.parametrize("spent", [1, 2, 3, 4])
def test_a_budget_spent_inside_a_step_ends_the_run_at_its_start(spent):
    """Of the second step the kick's gradient, its product, and the last gradient are paid for one after the other."""
    whole = simulate(HeavyBall(Products()), (0, 1), FORCED_START, method="chin-4", step=0.1, monitor=None)
    sol = simulate(HeavyBall(Products()), (0, 1), FORCED_START, method="chin-4", step=0.1, max_nfev=3 + spent, monitor=None)
    assert (sol.status, sol.nfev, sol.nsteps) == (-3, 3 + spent, 1 if spent < 4 else 2)
    np.testing.assert_array_equal(sol.y[:, -1], whole.y[:, sol.nsteps])


def test_a_potential_that_answers_in_one_buffer():
    """Products by differences write over the gradient that the kick has used before."""

    class Buffered(CoupledPendulums):
        def __init__(self):
            super().__init__()
            self.buffer = np.empty(2)

        def value_and_grad(self, q):
            V, self.buffer[:] = super().value_and_grad(q)
            return V, self.buffer

    balls = [HeavyBall(potential, friction=0.2) for potential in (Buffered(), CoupledPendulums())]
    np.testing.assert_array_equal(*(simulate(ball, (0, 3), FORCED_START, method="chin-4", step=0.2).y for ball in balls))


def test_a_product_of_another_shape_is_told():
    class Wrong(CoupledPendulums):
        def hvp(self, q, v):
            return (np.cos(q) * v).sum()

    sol = simulate(HeavyBall(Wrong()), (0, 1), FORCED_START, method="chin-4", step=0.1, monitor=None)
    assert sol.status == -7
    assert "the potential's hvp(q, v) has shape (), not (2,), that of q" in sol.message


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor], ids=["array", "tensor"])
def test_float32(kind):
    def wells(q):
        return (1 - torch.cos(1.3 * q) + 0.05 * q**4).sum(-1)

    for potential in (wells, Quadratic([1.0, 3.0])):
        sols = [
            simulate(HeavyBall(potential, friction=0.3), (0, 4), kind(HENON_START.astype(dtype)), method="chin-4", step=0.1, monitor=None)
            for dtype in (np.float32, np.float64)
        ]
        assert sols[0].y.dtype == np.float32
        np.testing.assert_allclose(sols[0].y, sols[1].y, atol=5e-6)


# --- networks -------------------------------------------------------------------------------------------------------------------------
def network(chunk=None):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(24, 3, generator=generator, dtype=torch.float64)
    torch.manual_seed(1)
    model = mlp((3, 6, 1)).double()
    options = (torch.nn.functional.mse_loss, inputs, torch.sin(inputs.sum(1, keepdim=True)))
    return NetworkLoss(model, *options, weight_decay=0.01, chunk_size=chunk), copy.deepcopy(model), options


@pytest.mark.parametrize("chunk", [None, 10])
def test_a_network_moves_as_the_function_that_it_computes(chunk):
    """Products leave the module's parameters and gradients alone: they are the run's own in the middle of a step."""
    V, model, (loss, inputs, targets) = network(chunk)
    names, shapes = zip(*((name, p.shape) for name, p in model.named_parameters()), strict=True)

    def function(q):
        parts = torch.split(q, [shape.numel() for shape in shapes])
        named = {name: part.reshape(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        return loss(torch.func.functional_call(model, named, inputs), targets) + 0.005 * (q * q).sum(-1)

    start = V.initial_state()
    brake = SwitchedFriction(0.1, 3.0, LossGoal(reduction=0.5))
    ours = simulate(HeavyBall(V, friction=brake), (0, 12), start, method="chin-4", step=0.4)
    theirs = simulate(HeavyBall(function, friction=brake), (0, 12), start, method="chin-4", step=0.4)
    np.testing.assert_allclose(ours.y, theirs.y, rtol=0, atol=1e-12)
    assert len(ours.switches) == len(theirs.switches) == 1
    assert (ours.nfev, ours.nvev) == (theirs.nfev, theirs.nvev)
    np.testing.assert_array_equal(torch.cat([p.detach().reshape(-1) for p in V.model.parameters()]).numpy(), ours.q[:, -1])


# --- strong friction ------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("damped_step", [20.0, 50.0, 100.0])
def test_it_brakes_where_another_method_of_order_4_is_refused(damped_step):
    """V falls from step to step, as slowly as it should: to (omega h)^2/36, the part of the force's gradient, at any friction."""
    system, start = HeavyBall(CoupledPendulums(), friction=damped_step), np.array([1.2, -0.5, 0.0, 0.0])
    with pytest.raises(ArgumentError, match="'yoshida-4' runs friction backwards"):
        simulate(system, (0, 10), start, method="yoshida-4", step=1.0)
    sol = simulate(system, (0, 10), start, method="chin-4", step=1.0, monitor=None)
    exact = simulate(system, (0, 10), start, method="Radau", rtol=1e-9, atol=1e-11)
    assert (np.diff(sol.energy.potential) < 0).all()
    assert np.abs(sol.q[:, -1] - exact.q[:, -1]).max() < 0.06 * np.abs(exact.q[:, -1] - start[:2]).max()
