"""Butcher tableaux: they check themselves, equal a step by hand, and take every system."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import FORCED_START, CoupledPendulums, forced, one_step
from scipy.integrate import solve_ivp

import phdyn
from phdyn import ArgumentError, GradientFlow, HeavyBall, PortHamiltonianSystem, simulate
from phdyn.methods import ButcherTableau
from phdyn.methods.stepping import Control
from phdyn.motion import bind
from phdyn.vectors import vectors_of

RALSTON_3 = ButcherTableau(
    "ralston-3", 3, ((), (0.5,), (0.0, 0.75)), (2 / 9, 1 / 3, 4 / 9), (0.0, 0.5, 0.75), "Ralston 1962, Math. Comp. 16, 431"
)


def swing(t, y):
    return np.array([y[1], -np.sin(y[0]) - 0.1 * y[1] + 0.2 * np.cos(t)])


def rk4_by_hand(f, t, y, h):
    k1 = f(t, y)
    k2 = f(t + h / 2, y + h / 2 * k1)
    k3 = f(t + h / 2, y + h / 2 * k2)
    k4 = f(t + h, y + h * k3)
    return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


# --- the tableau ----------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("rows", "weights", "nodes", "message"),
    [
        (((), (0.5,)), (0.5, 0.5), (0.0, 0.6), r"row 1 sums to 0\.5, its node is 0\.6"),
        (((), (0.5,)), (0.5, 0.4), (0.0, 0.5), r"weights sum to 0\.9, not 1"),
        (((0.0,), (0.5,)), (0.5, 0.5), (0.0, 0.5), "rows of length 0 to 1"),
        (((), (0.5,)), (0.5, 0.5), (0.0,), "2 nodes"),
        (((), (float("nan"),)), (0.5, 0.5), (0.0, 0.5), "row 1 sums to nan"),
    ],
)
def test_inconsistent_tableaux_are_refused(rows, weights, nodes, message):
    with pytest.raises(ArgumentError, match=message):
        ButcherTableau("mine", 2, rows, weights, nodes, "here")


@settings(deadline=None)
@given(st.floats(0.05, 1.0))
def test_every_two_stage_method_of_order_two(node):
    """The family b2 = 1/(2 c): one step of y' = y is 1 + h + h^2/2 for all of it."""
    method = ButcherTableau("mine", 2, ((), (node,)), (1 - 0.5 / node, 0.5 / node), (0.0, node), "Butcher 2016, 233")
    np.testing.assert_allclose(one_step(method, lambda t, y: y, [1.0], 0.0, 0.3), 1 + 0.3 + 0.045, rtol=1e-13)


# --- steps ----------------------------------------------------------------------------------------------------------------------------
def test_rk4_is_kuttas_to_rounding():
    sol = simulate(swing, (0.5, 4.5), [1.2, 0.3], method="rk4", step=0.1)
    y = np.array([1.2, 0.3])
    for k in range(40):
        np.testing.assert_allclose(sol.y[:, k], y, rtol=0, atol=2e-15 * (k + 1))
        y = rk4_by_hand(swing, 0.5 + 0.1 * k, y, 0.1)
    assert sol.nfev == 4 * 40 + 1
    assert sol.energy is None


def test_explicit_euler_on_a_gradient_flow_is_gradient_descent():
    spectrum = np.array([1.0, 4.0])
    flow = GradientFlow(lambda q: (q * q * torch.tensor(spectrum)).sum(-1) / 2)
    sol = simulate(flow, (0, 3), [1.0, -2.0], method="explicit-euler", step=0.1, monitor=None)
    np.testing.assert_allclose(sol.y[:, -1], [1.0, -2.0] * (1 - 0.1 * spectrum) ** 30, rtol=1e-13)


@pytest.mark.parametrize("method", ["rk4", RALSTON_3], ids=lambda m: getattr(m, "name", m))
def test_a_heavy_ball_is_the_plain_field_with_the_same_gradients(method):
    system, potential = forced(), CoupledPendulums()

    def field(t, y):
        q, p = y[:2], y[2:]
        return np.concatenate([p, -potential.value_and_grad(q)[1] - system.friction.rate(t) * p + system.u(t, q)])

    ours = simulate(system, (0, 3), FORCED_START, method=method, step=0.05)
    plain = simulate(field, (0, 3), FORCED_START, method=method, step=0.05)
    np.testing.assert_allclose(ours.y, plain.y, rtol=0, atol=1e-13)
    assert ours.nfev == plain.nfev == system.potential.gradients


def slope(system, x0, exact, order, counts=(20, 40, 80)):
    """Measured orders of the state, and of dissipated and supplied work."""
    errors = []
    for n in counts:
        sol = simulate(system, (0.0, 2.0), x0, method={4: "rk4", 3: RALSTON_3}[order], step=2.0 / n, monitor=None)
        work = sol.energy.dissipated[-1] - exact[-2], sol.energy.supplied[-1] - exact[-1]
        errors.append([np.abs(sol.y[:, -1] - exact[:-2]).max(), *np.abs(work)])
    assert min(errors[-1]) > 1e-12 or errors[-1][2] == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log2(np.array(errors[-2]) / errors[-1])


def tight(field, x0):
    return solve_ivp(field, (0.0, 2.0), np.concatenate([x0, [0, 0]]), method="DOP853", rtol=1e-13, atol=1e-15).y[:, -1]


@pytest.mark.parametrize("order", [3, 4])
def test_order_on_a_gradient_flow(order):
    potential = CoupledPendulums()

    def field(t, y):
        g = potential.value_and_grad(y[:2])[1]
        return np.concatenate([-g, [g @ g, 0.0]])

    x0 = np.array([2.0, -0.7])
    state, dissipated, _ = slope(GradientFlow(potential), x0, tight(field, x0), order)
    assert abs(state - order) < 0.1
    assert dissipated > order - 0.1


@pytest.mark.parametrize("order", [3, 4])
def test_order_on_a_port_hamiltonian_system(order):
    """Three components, H not quadratic, R and G depending on x, a driven port."""
    J = np.array([[0, 1, -0.5], [-1, 0, 0.3], [0.5, -0.3, 0]])

    def H(x):  # noqa: N802
        return (1 - torch.cos(x) + x**4 / 8).sum(-1)

    def R(x):  # noqa: N802
        return 0.2 * torch.diag(1 + x * x)

    def G(x):  # noqa: N802
        return torch.stack([torch.ones_like(x[0]), torch.zeros_like(x[0]), torch.sin(x[1])])[:, None]

    def field(t, y):
        x = y[:3]
        g = np.sin(x) + x**3 / 2
        dissipation, port, u = 0.2 * np.diag(1 + x * x), np.array([1.0, 0.0, np.sin(x[1])]), np.cos(2 * t)
        return np.concatenate([(J - dissipation) @ g + port * u, [g @ dissipation @ g, port @ g * u]])

    x0 = np.array([0.9, -0.4, 0.5])
    system = PortHamiltonianSystem(H, J, R, G, u=lambda t, x: np.array([np.cos(2 * t)]))
    for measured in slope(system, x0, tight(field, x0), order):
        assert abs(measured - order) < 0.25 if measured < order else measured < order + 1.5


def test_work_of_a_system_without_a_split_costs_no_gradient():
    system = GradientFlow(CoupledPendulums())
    sol = simulate(system, (0, 2), [2.0, -0.7], method="rk4", step=0.1)
    assert sol.nfev == 4 * 20 + 1 == system.potential.gradients
    np.testing.assert_allclose(sol.energy.dissipated[-1], sol.energy.hamiltonian[0] - sol.energy.hamiltonian[-1], rtol=1e-5)


def test_rk4_is_unstable_beyond_its_interval():
    """On the oscillator, stable for omega h below 2.83, without friction."""
    radius = []
    for frequency in (2.82, 2.84):
        columns = [one_step("rk4", HeavyBall(lambda q, w=frequency: w * w / 2 * (q * q).sum(-1)), e, 0.0, 1.0) for e in np.eye(2)]
        radius.append(np.abs(np.linalg.eigvals(np.stack(columns, 1))).max())
    assert radius[0] < 1 < radius[1]


def test_until_leaves_the_step_as_it_was():
    """A shorter step of the same method from the step's start, one gradient a stage; the step itself is untouched."""
    vectors, x = vectors_of(FORCED_START)
    motion = bind(forced(), vectors, 4, tensors=False)
    seen = []

    def observe(step):
        kept = step.x1.copy(), step.V1, step.d1, step.t1
        before = motion.nfev
        part = step.until(0.03)
        assert motion.nfev - before == 4
        seen.append((step.t0, step.start().x, part.x1.copy()))
        np.testing.assert_array_equal(step.x1, kept[0])
        assert (step.V1, step.d1, step.t1) == kept[1:]
        return False

    phdyn.methods.get("rk4").march(motion, motion.knot(0.0, x), 0.3, observe, Control(0.1, 0.0))
    for t, start, end in seen:
        np.testing.assert_allclose(end, one_step("rk4", forced(), start, t, 0.03), rtol=0, atol=1e-16)
    assert len(seen) == 3
