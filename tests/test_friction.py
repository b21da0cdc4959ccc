"""Friction laws and the damped drift: against mpmath, against each other, and at the edges of what they take."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.special import jv

import phdyn
from phdyn import (
    ArgumentError,
    ArgumentTypeError,
    ConstantFriction,
    HeavyBall,
    LossGoal,
    NesterovFriction,
    ScheduledFriction,
    SwitchedFriction,
    Transition,
    simulate,
)
from phdyn.friction import as_friction, damping
from phdyn.methods import get
from phdyn.potentials import Quadratic, Rosenbrock

RATES = [0.0, 1e-300, 1e-18, 1e-12, 1e-8, 1e-3, 0.3, 1.0, 30.0, 1e3]
STEPS = [1e-300, 1e-12, 1e-4, 0.1, 1.0, 10.0]


def relative(value, exact):
    return abs(mp.mpf(float(value)) - exact) / abs(exact) if exact else abs(mp.mpf(float(value)))


def constant_by_mpmath(rate, mass, h):
    """(decay, drift, lost) with 60 digits."""
    z = -mp.mpf(rate) * mp.mpf(h) / mp.mpf(mass)
    drift = mp.mpf(h) / mp.mpf(mass) * (mp.expm1(z) / z if z else 1)
    return mp.exp(z), drift, -mp.expm1(2 * z)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("rate", "h"), [(rate, h) for rate in RATES for h in STEPS if rate * h < 600])  # beyond: exp(2 z) overflows
def test_constant_damping_against_60_digits(rate, h, sign):
    """Errors of a few eps, and |z| eps where |z| is in the hundreds, as exp itself has: at most 2.8e-14."""
    mass = 1.7
    with mp.workdps(60):
        ours = damping(ConstantFriction(rate), mass, 0.4, sign * h)
        for value, exact in zip(ours, constant_by_mpmath(rate, mass, sign * h), strict=True):
            if abs(exact) < 1e-307:
                assert value == 0 or abs(value) < 1e-307  # below the smallest normal number
            else:
                assert relative(value, exact) <= 2.8e-14


def nesterov_by_mpmath(r, mass, t, h):
    t, h, mass = mp.mpf(t), mp.mpf(h), mp.mpf(mass)
    s, log = mp.mpf(r) / mass, mp.log1p(h / t)
    whole = t * log if s == 1 else t * mp.expm1((1 - s) * log) / (1 - s)
    return mp.exp(-s * log), whole / mass, -mp.expm1(-2 * s * log)


@pytest.mark.parametrize("share", [-0.5, -1e-6, 1e-9, 1e-3, 1.0, 50.0])
@pytest.mark.parametrize("t", [1e-8, 0.3, 1e3])
@pytest.mark.parametrize("r", [0.0, 0.5, 1 - 1e-12, 1.0, 2.0, 3.0, 30.0])
def test_nesterov_damping_against_60_digits(r, t, share):
    """METHODS measured 5.4e-14 for r up to 30; the power (t/(t+h))^r loses r log(t/(t+h)) eps."""
    with mp.workdps(60):
        for mass in (1.0, 2.5):
            ours = damping(NesterovFriction(r), mass, t, share * t)
            for value, exact in zip(ours, nesterov_by_mpmath(r, mass, t, share * t), strict=True):
                assert relative(value, exact) <= 6e-14


@pytest.mark.parametrize("gap", [1e-12, 1e-3, 5.0])
def test_nesterov_integral_keeps_its_digits_over_short_times(gap):
    with mp.workdps(40):
        exact = 3 * mp.log(mp.mpf(2.0 + gap) / mp.mpf(2.0))
    assert relative(NesterovFriction(3.0).integral(2.0, 2.0 + gap), exact) < 1e-14


def test_nesterov_is_singular_at_zero():
    law = NesterovFriction(3.0)
    with pytest.raises(ArgumentError, match=r"friction r/t is singular at t = 0: start the span at a time > 0"):
        law.rate(0.0)
    for t, h in ((0.01, -0.02), (0.0, 0.1), (-1.0, 0.5)):
        with pytest.raises(ArgumentError, match=r"which a substep from t = .* reaches"):
            law.damping(1.0, t, h)
    with pytest.raises(ArgumentError, match="singular"):
        simulate(HeavyBall(lambda q: (q * q).sum(-1), friction=law), (0, 1), [1.0, 0.0], method="strang", step=0.1)


def test_a_method_that_leaves_its_step_says_what_singular_friction_means():
    """Yoshida's stages go back by 0.351 of the step: from t = 0.01 to negative times."""
    system = HeavyBall(lambda q: (q * q).sum(-1), friction=NesterovFriction(0.1))
    assert get("yoshida-4").stage_times == pytest.approx((-0.351207, 1.351207), abs=1e-6)
    assert get("blanes-moan-6").stage_times == (0.0, 1.0)
    with pytest.raises(ArgumentError, match=r"has a stage 0.35 steps before the start .* at t = -0.0339.* 'strang' or 'blanes-moan-4'"):
        simulate(system, (0.01, 1.0), [1.0, 0.0], method="yoshida-4", step=0.125)
    undefined = phdyn.ScheduledFriction(lambda t: 0.1 if t >= 0.01 else float("inf"))
    with pytest.raises(ArgumentError, match=r"friction is inf at t = -0\.0339"):
        simulate(HeavyBall(lambda q: (q * q).sum(-1), friction=undefined), (0.01, 1.0), [1.0, 0.0], method="yoshida-4", step=0.125)
    assert simulate(system, (0.01, 1.0), [1.0, 0.0], method="blanes-moan-4", step=0.125, monitor=None).success


@pytest.mark.parametrize("kind", [np.array, lambda q: torch.tensor(q, dtype=torch.float64)])
def test_the_start_of_nesterovs_friction_is_its_series(kind):
    """On a quadratic q = 2 J1(t)/t for r = 3 (Su, Boyd and Candes 2016); of two terms errors are of t^6 and t^5."""
    errors = []
    for t in (0.4, 0.2, 0.1):
        x = NesterovFriction(3.0).start(Quadratic([1.0]), kind([1.0]), t)
        assert isinstance(x, type(kind([1.0])))
        errors.append(np.abs(np.asarray(x) - [2 * jv(1, t) / t, -2 * jv(2, t) / t]))
    np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / errors[1:]), [[6, 5], [6, 5]], atol=0.05)


@pytest.mark.parametrize("mass", [1.0, 2.0])
def test_runs_from_the_series(mass):
    """From t = h on a nonlinear landscape, against scipy from where the series is exact to rounding: Strang keeps its order.

    Higher ones do not, since friction changes by its own size within the first step: what is left of them is an error of 1e-9.
    """
    V, q0, law = Rosenbrock(), np.array([-0.3, 0.2]), NesterovFriction(3.0)

    def field(t, x):
        return np.concatenate([x[2:] / mass, -V.value_and_grad(x[:2])[1] - 3 / t * x[2:] / mass])

    exact = solve_ivp(field, (1e-4, 0.4), law.start(V, q0, 1e-4, mass=mass), method="DOP853", rtol=1e-13, atol=1e-15).y[:, -1]

    def error(name, n):
        h = 0.4 / n
        sol = simulate(HeavyBall(V, friction=law, mass=mass), (h, 0.4), law.start(V, q0, h, mass=mass), method=name, step=h, record="ends")
        return np.abs(sol.y[:, -1] - exact).max()

    assert np.log2(error("strang", 160) / error("strang", 320)) > 1.85
    assert error("blanes-moan-4", 80) < 1e-9 > error("blanes-moan-6", 40)


def test_the_series_is_for_a_clock_that_begins_at_zero():
    for law, t in ((NesterovFriction(3.0), 0.0), (NesterovFriction(3.0, restart=0.1), 0.1)):
        with pytest.raises(ArgumentError, match="the series at t = 0"):
            law.start(Quadratic([1.0]), [1.0], t)


# --- invariants -----------------------------------------------------------------------------------------------------------------------
def a_law(kind):
    return {
        "constant": ConstantFriction(0.7),
        "nesterov": NesterovFriction(2.3),
        "ramp": ScheduledFriction(lambda t: 0.2 + 0.5 * t, lambda a, b: 0.2 * (b - a) + 0.25 * (b * b - a * a)),
    }[kind]


@settings(deadline=None)
@given(st.sampled_from(["constant", "nesterov", "ramp"]), st.floats(0.5, 3.0), st.floats(0.01, 0.3), st.floats(0.01, 0.3))
def test_two_drifts_are_one(kind, t, first, second):
    """The flow over h1 + h2 is the flow over h2 after that over h1, and the flow back undoes it.

    To rounding in closed form; the ramp's drift is four Gauss nodes, whose error at h = 0.6 is h^8 |f^(8)| (4!)^4 / (9 (8!)^3) < 1e-11.
    """
    law, exact = a_law(kind), 1e-11 if kind == "ramp" else 2e-14
    a, b, both = damping(law, 2.0, t, first), damping(law, 2.0, t + first, second), damping(law, 2.0, t, first + second)
    np.testing.assert_allclose(both.decay, a.decay * b.decay, rtol=1e-14)
    np.testing.assert_allclose(both.drift, a.drift + b.drift * a.decay, rtol=exact)
    np.testing.assert_allclose(both.lost, a.lost + a.decay**2 * b.lost, rtol=1e-12)
    back = damping(law, 2.0, t + first, -first)
    np.testing.assert_allclose(a.decay * back.decay, 1, rtol=1e-14)
    np.testing.assert_allclose(a.drift + back.drift * a.decay, 0, atol=exact)


@settings(deadline=None)
@given(st.floats(0, 100), st.floats(1e-6, 1.0), st.floats(0.1, 10))
def test_what_is_lost_is_what_the_momentum_lost(rate, h, mass):
    decay, drift, lost = damping(ConstantFriction(rate), mass, 0.0, h)
    assert 0 <= decay <= 1
    assert 0 <= lost <= 1
    assert 0 < drift <= h / mass * (1 + 1e-15)
    np.testing.assert_allclose(lost, 1 - decay**2, rtol=1e-9, atol=1e-15)


def test_arrays_of_masses_are_elementwise():
    masses = np.array([0.5, 1.0, 4.0])
    for law in (ConstantFriction(0.7), NesterovFriction(3.0), a_law("ramp"), ScheduledFriction(np.cos)):
        together = damping(law, masses, 0.6, 0.2)
        for k, mass in enumerate(masses):
            one = damping(law, float(mass), 0.6, 0.2)
            np.testing.assert_allclose([part[k] for part in together], one, rtol=1e-15)


@pytest.mark.parametrize("given_integral", [True, False])
def test_the_generic_law_has_quadrature_order_eight(given_integral):
    """Four Gauss-Legendre nodes: local errors fall with h^9."""

    def rate(t):
        return 2 + np.sin(3 * t)

    def integral(a, b):
        return 2 * (b - a) - (np.cos(3 * b) - np.cos(3 * a)) / 3

    law, errors = ScheduledFriction(rate, integral if given_integral else None), []
    for h in (0.8, 0.4):
        with mp.workdps(30):
            exact = mp.quad(lambda s, h=h: mp.exp(-(2 * s - (mp.cos(3 * (0.5 + s)) - mp.cos(mp.mpf(1.5))) / 3)), [0, h])
        errors.append(float(relative(damping(law, 1.0, 0.5, h).drift, exact) * exact))
    assert errors[1] > 1e-14
    assert np.log2(errors[0] / errors[1]) > 8.5


def test_the_closed_forms_are_the_generic_law():
    for law in (ConstantFriction(0.7), NesterovFriction(3.0)):
        generic = damping(ScheduledFriction(law.rate, law.integral), 1.3, 2.0, 0.1)
        np.testing.assert_allclose(generic, damping(law, 1.3, 2.0, 0.1), rtol=1e-12)


# --- what they take -------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rate", [-0.1, float("nan"), float("inf")])
def test_rates_that_are_no_friction(rate):
    for make in (ConstantFriction, NesterovFriction, as_friction, lambda r: HeavyBall(np.sum, friction=r)):
        with pytest.raises(ArgumentError, match=r"a finite rate >= 0 is needed"):
            make(rate)


@pytest.mark.parametrize("number", [0.3, np.float32(0.5), 2, np.array(0.3), torch.tensor(0.3)])
def test_numbers_are_constant_laws(number):
    law = as_friction(number)
    assert isinstance(law, ConstantFriction)
    assert law.rate(17.0) == float(number)
    assert law.integral(1.0, 3.0) == 2 * float(number)


@pytest.mark.parametrize("rates", [[0.1, 2], (0.1, 2.0), [np.float32(0.1), np.int64(2)]])
def test_a_list_of_numbers_is_a_rate_for_each_trajectory(rates):
    settings = {"method": "strang", "step": 0.1}
    sol = simulate(HeavyBall(lambda q: (q**2).sum(-1), friction=rates), (0, 1), [[1.0, 0.0]] * 2, **settings)
    for k, rate in enumerate(rates):
        single = simulate(HeavyBall(lambda q: (q**2).sum(-1), friction=float(rate)), (0, 1), [1.0, 0.0], **settings)
        np.testing.assert_allclose(sol.y[k], single.y, rtol=1e-12)


@pytest.mark.parametrize("thing", ["0.3", ["0.3", 0.4], [True, False], [], None, True, np.cos, 1j])
def test_what_is_no_friction(thing):
    with pytest.raises(ArgumentTypeError, match="friction is a number or an object with rate"):
        as_friction(thing)


def test_errors_name_the_way_out():
    with pytest.raises(ArgumentTypeError, match=r"friction is the class NesterovFriction: pass an object, NesterovFriction\(...\)"):
        as_friction(NesterovFriction)
    with pytest.raises(ArgumentTypeError, match="a number is ConstantFriction"):
        ScheduledFriction(0.3)
    with pytest.raises(ArgumentTypeError, match="the goal of a SwitchedFriction needs an event"):
        SwitchedFriction(0.1, 3.0, 0.8)
    switched = SwitchedFriction(0.1, 3.0, LossGoal(reduction=0.8))
    with pytest.raises(ArgumentTypeError, match="cannot be the law of one mode"):
        SwitchedFriction(0.1, switched, LossGoal(reduction=0.8))


def test_a_switched_friction_is_two_laws_and_an_edge():
    goal, law = LossGoal(reduction=0.8), NesterovFriction(3.0)
    switched = SwitchedFriction(0.1, law, goal)
    assert list(switched.laws) == ["explore", "exploit"]
    assert switched.laws["explore"].rate(0.0) == 0.1
    assert switched.laws["exploit"] is law
    assert switched.transitions == [Transition("explore", "exploit", goal)]
    assert repr(switched) == "SwitchedFriction(explore=ConstantFriction(0.1), exploit=NesterovFriction(3), goal=LossGoal(reduction=0.8))"


def test_a_law_of_ones_own():
    """An object with rate and integral is a law: exponential cooling, against the same schedule as a function."""

    class Cooling:
        def rate(self, t):
            return np.exp(-t)

        def integral(self, t0, t1):
            return np.exp(-t0) - np.exp(-t1)

    runs = [
        simulate(HeavyBall(lambda q: (q**4).sum(-1), friction=law), (0, 5), [1.0, 0.0], method="blanes-moan-6", step=0.1).y[:, -1]
        for law in (Cooling(), ScheduledFriction(lambda t: np.exp(-t)))
    ]
    np.testing.assert_allclose(runs[0], runs[1], rtol=1e-10)
