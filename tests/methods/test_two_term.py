"""One recurrence, many names: q+ - q = mu (q - q-) - lr grad V(q), with the (lr, mu), the start and the stability limit of each scheme."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from problems import HENON_START, CoupledPendulums, HenonHeiles, force, forced, gamma, one_step, reference
from scipy.optimize import minimize_scalar

import phdyn
from phdyn import ArgumentError, HeavyBall, NesterovFriction, ScheduledFriction, simulate
from phdyn.methods import Splitting, get
from phdyn.methods.damped_drift import midpoint, trapezoid

STEPS = 20
SGD = get("sgd")


@dataclass(frozen=True)
class Scheme:
    """A row of docs/two_term.md, as functions of z = gamma h/m."""

    method: Any
    rate: Callable[[float], float]  # lr m/h^2
    momentum: Callable[[float], float]
    first: float  # share of lr in the first step from rest
    limit: Callable[[float], float]  # largest stable (omega h)^2
    damping: Callable[[float], float]  # z, from the momentum


def decay(z: float) -> float:
    return float(np.exp(-z))


def drift(z: float) -> float:
    return float(-np.expm1(-z) / z) if z else 1.0


def strang_limit(z: float) -> float:
    return float(2 * z / np.tanh(z / 2)) if z else 4.0


def cayley(z: float) -> float:
    return (1 - z / 2) / (1 + z / 2)


def logarithm(mu: float) -> float:
    return float(-np.log(mu))


SCHEMES = {
    "sgd": Scheme("sgd", lambda z: 1.0, lambda z: 1 - z, 1.0, lambda z: 2 * (2 - z), lambda mu: 1 - mu),
    "polyak": Scheme("polyak", lambda z: 1.0, decay, 1.0, lambda z: 2 * (1 + decay(z)), logarithm),
    "sgd, exact friction": Scheme(
        replace(SGD, friction="exact"), lambda z: 1.0, decay, 1.0, lambda z: 2 * (1 + decay(z)), logarithm
    ),
    "conformal-euler": Scheme("conformal-euler", drift, decay, 1.0, strang_limit, logarithm),
    "strang": Scheme("strang", drift, decay, 0.5, strang_limit, logarithm),
    "dissipative-leapfrog": Scheme("dissipative-leapfrog", lambda z: (1 + decay(z)) / 2, decay, 0.5, lambda z: 4.0, logarithm),
    "implicit-damping": Scheme(
        "implicit-damping", lambda z: 1 / (1 + z / 2), cayley, 0.5, lambda z: 4.0, lambda mu: 2 * (1 - mu) / (1 + mu)
    ),
}  # fmt: skip
every_scheme = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)


def trajectory(method: Any, system: Any, x0: Any, step: float, steps: int = STEPS, t0: float = 0.0) -> Any:
    sol = simulate(system, (t0, t0 + steps * step), x0, method=method, step=step, monitor=None)
    assert sol.nsteps == steps
    return sol


def gradients(q: Any, potential: Any = None) -> Any:
    return np.stack([(potential or HenonHeiles()).value_and_grad(place)[1] for place in q.T], 1)


# --- the recurrence -------------------------------------------------------------------------------------------------------------------
@every_scheme
@pytest.mark.parametrize(("friction", "mass"), [(0.0, 1.0), (0.3, 1.0), (2.5, 1.0), (0.8, 1.7)])
def test_positions_have_the_recurrence(scheme, friction, mass):
    h = 0.2
    z = friction * h / mass
    q = trajectory(scheme.method, HeavyBall(HenonHeiles(), mass=mass, friction=friction), HENON_START, h).q
    lr, mu = h * h / mass * scheme.rate(z), scheme.momentum(z)
    dq, g = np.diff(q), gradients(q)
    assert np.abs(dq).max() > 0.01
    np.testing.assert_allclose(dq[:, 1:], mu * dq[:, :-1] - lr * g[:, 1:-1], rtol=0, atol=4e-16)


@every_scheme
def test_a_mass_per_parameter_has_a_recurrence_per_parameter(scheme):
    h, friction, masses = 0.2, 0.6, np.array([0.8, 2.0])
    q = trajectory(scheme.method, HeavyBall(HenonHeiles(), mass=masses, friction=friction), HENON_START, h).q
    z = friction * h / masses
    lr, mu = (np.array([f(each) for each in z])[:, None] for f in (scheme.rate, scheme.momentum))
    dq, g = np.diff(q), gradients(q)
    np.testing.assert_allclose(dq[:, 1:], mu * dq[:, :-1] - lr * h * h / masses[:, None] * g[:, 1:-1], rtol=0, atol=4e-16)


@every_scheme
def test_who_kicks_whole_and_who_half(scheme):
    h, friction = 0.2, 0.8
    x0 = np.array([0.3, 0.2, 0.0, 0.0])
    q = trajectory(scheme.method, HeavyBall(HenonHeiles(), friction=friction), x0, h, 1).q
    whole = -h * h * scheme.rate(friction * h) * gradients(q)[:, 0]
    np.testing.assert_allclose(q[:, 1] - q[:, 0], scheme.first * whole, rtol=1e-14)


# --- torch ----------------------------------------------------------------------------------------------------------------------------
def height(q):
    a, b = q[..., 0], q[..., 1]
    return (1 - torch.cos(a) + 0.3 * (a - b) ** 2 + b**4 / 4).sum()


def torch_sgd(start, iterations, **settings):
    """The parameters of torch.optim.SGD, (n, iterations + 1)."""
    q = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer, rows = torch.optim.SGD([q], **settings), [np.array(start)]
    for _ in range(iterations):
        optimizer.zero_grad()
        height(q).backward()
        optimizer.step()
        rows.append(q.detach().numpy().copy())
    return np.array(rows).T


@every_scheme
def test_torchs_sgd_is_each_of_them_from_its_own_start(scheme):
    """At rest for those that kick whole, at p = -(h/2) grad V for those that kick half; with the scheme's own (h, gamma)."""
    lr, mu, start = 0.02, 0.85, [1.1, -0.7]
    theirs = torch_sgd(start, 100, lr=lr, momentum=mu)
    z = scheme.damping(mu)
    assert scheme.momentum(z) == pytest.approx(mu, rel=1e-14)
    h = float(np.sqrt(lr / scheme.rate(z)))
    q = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(height(q), q)
    p = -(1 - scheme.first) * h * slope.numpy()
    ours = trajectory(scheme.method, HeavyBall(height, friction=z / h), [*start, *p], h, 100).q
    assert np.abs(theirs[:, -1] - theirs[:, 0]).max() > 0.3
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-15)


def test_polyak_as_written():
    """x+ = x - alpha g + beta (x - x-) from x- = x: with gamma(t) and a mass per parameter; p is the last displacement's."""
    h, masses, law = 0.15, np.array([0.7, 1.9]), ScheduledFriction(gamma)
    sol = trajectory("polyak", HeavyBall(CoupledPendulums(), mass=masses, friction=law), [1.2, -0.5, 0, 0], h, t0=0.7)
    x = before = sol.q[:, 0]
    for k in range(STEPS):
        beta = np.exp(-law.integral(sol.t[k], sol.t[k + 1]) / masses)
        x, before = x - h * h / masses * CoupledPendulums().value_and_grad(x)[1] + beta * (x - before), x
        np.testing.assert_allclose(sol.q[:, k + 1], x, rtol=0, atol=1e-14)
        np.testing.assert_allclose(sol.p[:, k + 1], masses * (x - before) / h, rtol=0, atol=1e-14)


def test_sgd_and_polyak_differ_in_the_reading_of_beta_alone():
    h, friction = 0.2, 0.9
    explicit = trajectory("sgd", HeavyBall(HenonHeiles(), friction=-np.expm1(-friction * h) / h), HENON_START, h)
    exact = trajectory("polyak", HeavyBall(HenonHeiles(), friction=friction), HENON_START, h)
    np.testing.assert_allclose(explicit.y, exact.y, rtol=0, atol=2e-15)
    same = trajectory("sgd", HeavyBall(HenonHeiles(), friction=friction), HENON_START, h)
    assert np.abs(same.y - exact.y).max() > 1e-3


# --- Nesterov -------------------------------------------------------------------------------------------------------------------------
def test_the_look_ahead_points_of_nesterov_are_torchs_parameters():
    lr, mu, start = 0.02, 0.85, [1.1, -0.7]
    theirs = torch_sgd(start, 100, lr=lr, momentum=mu, nesterov=True)
    h = np.sqrt(lr)
    sol = trajectory("nesterov", HeavyBall(height, friction=(1 - mu) / h), [*start, 0, 0], h, 100)
    np.testing.assert_allclose(sol.q + h * mu * sol.p, theirs, rtol=0, atol=2e-15)
    assert sol.nfev == 201  # a second gradient a step, for V at its end


@pytest.mark.parametrize("r", [3.0, 5.0])
def test_nesterov_with_friction_r_over_t_is_that_of_su_boyd_and_candes(r):
    """x_k = y_{k-1} - s grad V(y_{k-1}), y_k = x_k + (k - 1)/(k + r - 1) (x_k - x_{k-1})."""
    h = 0.1
    sol = trajectory("nesterov", HeavyBall(CoupledPendulums(), friction=NesterovFriction(r)), [1.2, -0.5, 0, 0], h, t0=(r - 1) * h)
    x = y = sol.q[:, 0]
    for k in range(1, STEPS + 1):
        new = y - h * h * CoupledPendulums().value_and_grad(y)[1]
        y, x = new + (k - 1) / (k + r - 1) * (new - x), new
        np.testing.assert_allclose(sol.q[:, k], x, rtol=0, atol=1e-14)


def test_nesterov_has_another_recurrence():
    """That of the gradient at the look-ahead point: q+ = y - lr grad V(y), y = q + mu (q - q-)."""
    h, friction = 0.2, 0.4
    q = trajectory("nesterov", HeavyBall(HenonHeiles(), friction=friction), HENON_START, h).q
    dq, mu = np.diff(q), 1 - friction * h
    ahead = q[:, 1:-1] + mu * dq[:, :-1]
    np.testing.assert_allclose(q[:, 2:], ahead - h * h * gradients(ahead), rtol=0, atol=4e-16)
    assert np.abs(dq[:, 1:] - mu * dq[:, :-1] + h * h * gradients(q)[:, 1:-1]).max() > 1e-4


def test_nesterovs_work_is_that_of_the_kick_at_the_look_ahead_point():
    h, t0, x0 = 0.1, 0.7, np.array([1.2, -0.5, 0.3, 0.4])
    sol = trajectory("nesterov", forced(), x0, h, 1, t0)
    p = (1 - gamma(t0) * h) * x0[2:]
    ahead = x0[:2] + h * p
    u = force(t0 + h, ahead)
    new = p + h * (u - CoupledPendulums().value_and_grad(ahead)[1])
    np.testing.assert_allclose(sol.y[:, 1], [*(x0[:2] + h * new), *new], rtol=1e-14)
    np.testing.assert_allclose(sol.energy.supplied[1], h * u @ (p + new) / 2, rtol=1e-13)
    lost = -np.expm1(-2 * ScheduledFriction(gamma).integral(t0, t0 + h))  # what is declared, not what 1 - gamma h makes of it
    np.testing.assert_allclose(sol.energy.dissipated[1], lost * x0[2:] @ x0[2:] / 2, rtol=1e-12)


# --- the damped drift by other rules --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("friction", [0.4, ScheduledFriction(gamma), NesterovFriction(3.0)], ids=["constant", "scheduled", "nesterov"])
def test_the_leapfrog_as_its_authors_write_it(friction):
    """In P = exp(eta) p, eta the integral of gamma/m: kicks by exp(eta) grad V, a drift by exp(-eta) at both ends, halved."""
    h, t0, m = 0.2, 0.9, 1.7
    law = phdyn.friction.as_friction(friction)
    q, p = HENON_START[:2], HENON_START[2:]
    ends = [np.exp(law.integral(t0, t) / m) for t in (t0, t0 + h)]
    half = ends[0] * p - h / 2 * ends[0] * HenonHeiles().value_and_grad(q)[1]
    place = q + h / 2 * (1 / ends[0] + 1 / ends[1]) * half / m
    momentum = (half - h / 2 * ends[1] * HenonHeiles().value_and_grad(place)[1]) / ends[1]
    step = one_step("dissipative-leapfrog", HeavyBall(HenonHeiles(), mass=m, friction=friction), HENON_START, t0, h)
    np.testing.assert_allclose(step, [*place, *momentum], rtol=1e-13)
    if friction == 0.4:  # and as their program has it
        root = np.exp(-0.4 * h / m / 2)
        half = root * (p - h / 2 * HenonHeiles().value_and_grad(q)[1])
        np.testing.assert_allclose(q + h / m * np.cosh(0.4 * h / m / 2) * half, place, rtol=1e-14)


def test_implicit_damping_is_half_a_kick_with_the_friction_of_its_end_and_half_a_kick_with_that_of_its_start():
    h, t0, masses = 0.2, 0.7, np.array([0.7, 1.9])
    system = HeavyBall(CoupledPendulums(), mass=masses, friction=ScheduledFriction(gamma), u=force)
    q, p = HENON_START[:2], HENON_START[2:]
    rate = gamma(t0 + h / 2) / masses

    def push(t, q):
        return force(t, q) - CoupledPendulums().value_and_grad(q)[1]

    half = (p + h / 2 * push(t0, q)) / (1 + h / 2 * rate)  # half = p + h/2 (push - rate half)
    place = q + h * half / masses
    momentum = half + h / 2 * (push(t0 + h, place) - rate * half)
    sol = trajectory("implicit-damping", system, HENON_START, h, 1, t0)
    np.testing.assert_allclose(sol.y[:, 1], [*place, *momentum], rtol=1e-13)
    a, b = (1 - h / 2 * rate) / (1 + h / 2 * rate), 1 / (1 + h / 2 * rate)  # as Gronbech-Jensen and Farago write it
    np.testing.assert_allclose(place, q + b * h / masses * (p + h / 2 * push(t0, q)), rtol=1e-13)
    np.testing.assert_allclose(momentum, a * p + h / 2 * (a * push(t0, q) + push(t0 + h, place)), rtol=1e-13)
    np.testing.assert_allclose(sol.energy.dissipated[1], h * gamma(t0 + h / 2) * np.sum((half / masses) ** 2), rtol=1e-13)


@pytest.mark.parametrize("name", ["polyak", "nesterov", "dissipative-leapfrog", "implicit-damping"])
def test_order_with_friction_r_over_t(name):
    exact = reference(HenonHeiles(), lambda t: 3 / t, lambda t, q: 0 * q, (1.0, 3.0), HENON_START)[:4]
    system = HeavyBall(HenonHeiles(), friction=NesterovFriction(3.0))
    errors = [np.abs(trajectory(name, system, HENON_START, 2.0 / n, n, 1.0).y[:, -1] - exact).max() for n in (256, 512)]
    assert 1e-12 < errors[1] < 1e-2
    assert np.log2(errors[0] / errors[1]) == pytest.approx(get(name).order, abs=0.1)


@pytest.mark.parametrize("batch", [False, True])
def test_backwards_in_time_implicit_damping_ends_at_its_pole(batch):
    """Up to gamma h/m = -2 a step undoes the one forwards; beyond, there is no such step."""
    x0 = [0.3, 0.2, 0.1, -0.2]
    there = simulate(HeavyBall(HenonHeiles(), friction=9.0), (0.0, 0.4), x0, method="implicit-damping", step=0.2, monitor=None)
    back = simulate(HeavyBall(HenonHeiles(), friction=9.0), (0.4, 0.0), there.y[:, -1], method="implicit-damping", step=0.2, monitor=None)
    np.testing.assert_allclose(back.y[:, -1], x0, atol=1e-13)
    potential = phdyn.potentials.Himmelblau()
    for friction in (10.0, 15.0):
        start = [x0, x0] if batch else x0
        sol = simulate(HeavyBall(potential, friction=friction), (0.4, 0.0), start, method="implicit-damping", step=0.2, monitor=None)
        assert np.all(sol.status == -2)
        assert "try a smaller step" in str(sol)


@pytest.mark.parametrize("rule", [trapezoid, midpoint])
def test_friction_runs_backwards_by_its_exact_flow_alone(rule):
    """A rule other than the exact drift is for drifts forwards in time; composed, the symmetric ones would keep the order."""
    with pytest.raises(ArgumentError, match=r"splitting 'mine': negative drifts .* need the exact damped drift"):
        replace(get("yoshida-4"), name="mine", damped_drift=rule)
    two = Splitting("mine", 2, (0.19318332750378357396,), (), "McLachlan 1995", damped_drift=rule)  # drifts 1/2, 1/2
    exact = reference(CoupledPendulums(), gamma, force, (0.7, 2.7), HENON_START)[:4]
    errors = [np.abs(trajectory(two, forced(), HENON_START, 2.0 / n, n, 0.7).y[:, -1] - exact).max() for n in (64, 128)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("friction", [0.5, 4.0])
@pytest.mark.parametrize("method", ["dissipative-leapfrog", "implicit-damping"])
def test_a_dip_inside_a_braked_step_is_found_on_the_methods_own_path(method, friction):
    """Under the brake the own path leaves a step at another slope than that of the momentum; goals near its minimum are met anyway."""
    system, rng, found = HeavyBall(phdyn.potentials.Quadratic([1.0, 2.25]), friction=friction), np.random.default_rng(2), 0
    for _ in range(150):
        x0 = rng.normal(size=4) * [1, 1, 4, 4]

        def height(tau, x0=x0):
            return float(system.potential.value(one_step(method, system, x0, 0.0, tau)[:2]))

        lowest = minimize_scalar(height, bounds=(1e-3, 1.0), options={"xatol": 1e-9})
        ends = min(height(1e-9), height(1.0))
        if lowest.x < 0.5 or lowest.fun > (1 - 1e-5) * ends:
            continue
        goals = [phdyn.LossGoal(value=lowest.fun + share * (ends - lowest.fun)) for share in (0.2, -0.2)]
        sol = simulate(system, (0.0, 1.0), x0, method=method, step=1.0, events=goals, monitor=None)
        assert [len(times) for times in sol.t_events] == [1, 0]
        found += 1
    assert found >= 3


# --- stability ------------------------------------------------------------------------------------------------------------------------
def stable(method: Any, square: float, z: float, mass: float) -> bool:
    """Say whether a step's map of q'' + gamma q' + omega^2 q = 0 stays in the unit disc, for (omega h)^2 and gamma h = z."""
    system = HeavyBall(phdyn.potentials.Quadratic([mass * square]), mass=mass, friction=mass * z)
    matrix = np.stack([one_step(method, system, e, 0.0, 1.0) for e in np.eye(2)], 1)
    return bool(np.abs(np.linalg.eigvals(matrix)).max() <= 1 + 1e-9)


def largest_stable(method: Any, z: float, mass: float = 1.7) -> float:
    """Return the (omega h)^2 up to which steps are stable, by bisection."""
    low, high = 0.01, 400.0
    assert stable(method, low, z, mass)
    assert not stable(method, high, z, mass)
    while high - low > 1e-7 * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if stable(method, middle, z, mass) else (low, middle)
    return low


@every_scheme
@pytest.mark.parametrize("z", [0.0, 0.4, 1.6, 8.0])
def test_the_stability_limit_on_a_quadratic(scheme, z):
    if scheme.method == "sgd" and z >= 2:  # mu <= -1
        assert not stable("sgd", 0.01, z, 1.0)
        return
    measured = largest_stable(scheme.method, z)
    assert measured == pytest.approx(scheme.limit(z), rel=1e-6)
    assert scheme.rate(z) * measured == pytest.approx(2 * (1 + scheme.momentum(z)), rel=1e-6)  # lr omega^2: one law for all


@pytest.mark.parametrize("z", [0.0, 0.4, 0.9])
def test_the_stability_limit_of_nesterov_on_a_quadratic(z):
    mu = 1 - z
    assert largest_stable("nesterov", z) == pytest.approx(2 * (1 + mu) / (1 + 2 * mu), rel=1e-6)
