"""Splittings: coefficients that check themselves, the grid, what a step costs, and friction that runs backwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import FORCED_START, HENON_START, CoupledPendulums, damped, forced, one_step

import phdyn
from phdyn import ArgumentError, HeavyBall, LossGoal, StabilityWarning, SwitchedFriction, simulate
from phdyn.methods import Splitting
from phdyn.methods.splitting import check_stability

SPLITTINGS = [name for name in phdyn.methods.names() if isinstance(phdyn.methods.get(name), Splitting)]
SYMMETRIC = [name for name in SPLITTINGS if phdyn.methods.get(name).symmetric]
POSITION_VERLET = Splitting("position-verlet", 2, (), (), "Verlet 1967", first="drift")

# Free coefficients as printed: kicks, drifts, sum of the negative drifts, gradients a step.
W = 1.351207191959657634
PRINTED = {
    "strang": ((), (), 0.0, 1),
    "yoshida-4": ((W / 2,), (W,), 1.702, 3),
    "blanes-moan-s6": ((0.0792036964311957, 0.353172906049774, -0.0420650803577195), (0.209515106613362, -0.143851773179818), 0.2877, 6),
    "blanes-moan-4": ((0.0829844064174052, 0.396309801498368, -0.0390563049223486), (0.245298957184271, 0.60487266571108), 0.7003, 6),
    "blanes-moan-6": (
        (0.0414649985182624, 0.198128671918067, -0.0400061921041533, 0.0752539843015807, -0.0115113874206879),
        (0.123229775946271, 0.290553797799558, -0.127049212625417, -0.246331761062075, 0.357208872795928),
        0.7468,
        11,
    ),
}
IMPLIED = {"blanes-moan-s6": (0.2193769557534996, 0.434336666566456), "blanes-moan-4": (0.1195241940131508, -0.350171622895351)}


# --- coefficients ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", sorted(PRINTED))
def test_sequences_are_the_printed_ones(name):
    free_kicks, free_drifts, backwards, stages = PRINTED[name]
    method = phdyn.methods.get(name)
    kicks, drifts = method.sequences()
    np.testing.assert_allclose(kicks[: len(free_kicks)], free_kicks, rtol=1e-15)
    np.testing.assert_allclose(drifts[: len(free_drifts)], free_drifts, rtol=1e-15)
    assert kicks == kicks[::-1]
    assert drifts == drifts[::-1]
    np.testing.assert_allclose((sum(kicks), sum(drifts)), 1, rtol=1e-15)
    np.testing.assert_allclose(method.negative_drift, backwards, atol=5e-4)
    assert method.stages == stages == len(drifts) == len(kicks) - 1


@pytest.mark.parametrize("name", sorted(IMPLIED))
def test_implied_coefficients_are_the_printed_ones(name):
    """The middle entries that consistency implies agree with the paper's 15 digits."""
    kicks, drifts = phdyn.methods.get(name).sequences()
    np.testing.assert_allclose((kicks[3], drifts[2]), IMPLIED[name], rtol=0, atol=3e-15)


def test_blanes_moan_6_implies_the_printed_middle():
    kicks, drifts = phdyn.methods.get("blanes-moan-6").sequences()
    np.testing.assert_allclose((kicks[5], drifts[5]), (0.2366699247869311, 0.20477705429147), rtol=0, atol=3e-15)


@settings(deadline=None)
@given(st.lists(st.floats(-2, 2), max_size=6), st.lists(st.floats(-2, 2), max_size=6), st.sampled_from(["kick", "drift"]))
def test_inconsistent_palindromes_cannot_be_written(kicks, drifts, first):
    outer, inner = (kicks, drifts) if first == "kick" else (drifts, kicks)
    if len(outer) - len(inner) not in (0, 1):
        with pytest.raises(ArgumentError, match="palindrome"):
            Splitting("mine", 2, tuple(kicks), tuple(drifts), "here", first=first)
        return
    method = Splitting("mine", 2, tuple(kicks), tuple(drifts), "here", first=first)
    all_kicks, all_drifts = method.sequences()
    np.testing.assert_allclose((sum(all_kicks), sum(all_drifts)), 1, atol=1e-13)
    assert method.stages == len(all_drifts) if first == "kick" else method.stages == len(all_kicks) + 1


@pytest.mark.parametrize(
    ("kicks", "drifts", "options", "message"),
    [
        ((0.5, 0.5), (0.9,), {"symmetric": False}, "drifts .* not 1"),
        ((0.5, 0.4), (1.0,), {"symmetric": False}, "kicks .* not 1"),
        ((0.2, 0.3, 0.5), (1.0,), {"symmetric": False}, "interleave"),
        ((), (), {"first": "push"}, "neither 'kick' nor 'drift'"),
        ((0.5, 0.5), (float("nan"),), {"symmetric": False}, "not 1"),
    ],
)
def test_inconsistent_sequences_are_refused(kicks, drifts, options, message):
    with pytest.raises(ArgumentError, match=message):
        Splitting("mine", 2, kicks, drifts, "here", **options)


def test_a_splitting_begun_with_a_drift():
    """Position Verlet by hand, with the exact drift of constant friction."""
    g, h, (q, p) = 0.7, 0.3, (1.2, 0.4)
    end = one_step(POSITION_VERLET, HeavyBall(lambda z: (1 - torch.cos(z)).sum(-1), friction=g), [q, p], 0.0, h)
    for _ in range(2):
        q, p = q - np.expm1(-g * h / 2) / g * p, np.exp(-g * h / 2) * p
        p = p - h * np.sin(q) if _ == 0 else p
    np.testing.assert_allclose(end, (q, p), rtol=1e-14)


# --- what a step costs ----------------------------------------------------------------------------------------------------------------
def never(t, x):
    return x[0] + 1e3


@pytest.mark.parametrize("more", [{}, {"record": "energy"}, {"events": never}, {"observables": {"V": lambda point: point.potential}}])
@pytest.mark.parametrize("method", [*SPLITTINGS, POSITION_VERLET], ids=lambda m: getattr(m, "name", m))
def test_gradients_are_one_a_stage_and_one_at_the_start(method, more):
    potential = CoupledPendulums()
    system = HeavyBall(potential, friction=SwitchedFriction(0.1, 2.0, LossGoal(value=-1.0)))
    sol = simulate(system, (0, 5), FORCED_START, method=method, step=0.1, monitor=None, **more)
    stages = method.stages if isinstance(method, Splitting) else phdyn.methods.get(method).stages
    assert sol.nfev == 50 * stages + 1
    assert potential.gradients == sol.nfev  # the look at shapes, before any work, is the first of them
    assert (sol.nvev, potential.values) == (0, 0)


# --- the grid -------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", SPLITTINGS)
def test_step_ends_are_the_grid_exactly(name):
    sol = simulate(damped(0.3), (0.7, 0.7 + 40 * 0.1 + 0.03), HENON_START, method=name, step=0.1)
    assert sol.nsteps == 41
    np.testing.assert_array_equal(sol.t[:-1], 0.7 + np.arange(41) * 0.1)
    assert sol.t[-1] == 0.7 + 40 * 0.1 + 0.03
    np.testing.assert_array_equal(sol.y[:, 1], one_step(name, damped(0.3), HENON_START, 0.7, 0.1))
    last = one_step(name, damped(0.3), sol.y[:, -2], sol.t[-2], sol.t[-1] - sol.t[-2])
    np.testing.assert_allclose(sol.y[:, -1], last, rtol=1e-14)


@pytest.mark.parametrize("excess", [0.0, 3e-11, -3e-11])
def test_no_sliver_at_the_end(excess):
    sol = simulate(damped(0.3), (0.0, 1.0 + excess), HENON_START, method="strang", step=0.1)
    assert sol.nsteps == 10
    assert sol.t[-1] == 1.0 + excess


@pytest.mark.parametrize("method", [*SYMMETRIC, POSITION_VERLET], ids=lambda m: getattr(m, "name", m))
@pytest.mark.parametrize("system", [damped(0.0), damped(0.3), forced()], ids=["free", "damped", "forced"])
def test_backward_in_time_returns_to_the_start(method, system):
    """A symmetric step is undone by the step of opposite sign; the last, shorter step comes first on the way back."""
    there = simulate(system, (0.0, 2.0), HENON_START, method=method, step=0.1, monitor=None)
    back = simulate(system, (2.0, 0.0), there.y[:, -1], method=method, step=0.1, monitor=None)
    assert np.abs(there.y[:, -1] - HENON_START).max() > 0.1
    np.testing.assert_allclose(back.y[:, -1], HENON_START, rtol=0, atol=1e-13)
    np.testing.assert_allclose(back.energy.dissipated[-1], -there.energy.dissipated[-1], rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(back.energy.supplied[-1], -there.energy.supplied[-1], rtol=1e-11, atol=1e-14)


# --- friction that runs backwards -----------------------------------------------------------------------------------------------------
def spectral_radius(name, damped_step, frequency_step):
    """Of the one-step map of q'' + gamma q' + omega^2 q = 0 at h = 1, by two steps of the method itself."""
    system = HeavyBall(lambda q: frequency_step**2 / 2 * (q * q).sum(-1), friction=damped_step)
    columns = [one_step(name, system, e, 0.0, 1.0) for e in np.eye(2)]
    return np.abs(np.linalg.eigvals(np.stack(columns, 1))).max()


STABLE = [  # method, gamma h, largest stable omega h (to 0.02)
    ("strang", 0, 2.00),
    ("strang", 10, 4.47),
    ("strang", 100, 14.1),
    ("yoshida-4", 0, 1.57),
    ("yoshida-4", 10, 0.13),
    ("blanes-moan-s6", 20, 10.1),
    ("blanes-moan-s6", 30, 3.78),
    ("blanes-moan-4", 1, 5.04),
    ("blanes-moan-4", 20, 0.82),
    ("blanes-moan-6", 5, 9.36),
    ("blanes-moan-6", 30, 2.78),
]


@pytest.mark.parametrize(("name", "damped_step", "limit"), STABLE)
def test_stability_limits(name, damped_step, limit):
    slack = 0.04 + 0.01 * limit
    assert spectral_radius(name, damped_step, limit - slack) <= 1 + 1e-9
    assert spectral_radius(name, damped_step, limit + slack) > 1 + 1e-6


@pytest.mark.parametrize("name", SPLITTINGS)
@pytest.mark.parametrize("damped_step", [1.0, 8.0, 20.0, 40.0, 90.0])
def test_refusal_is_where_the_damped_oscillator_is_unstable(name, damped_step):
    method = phdyn.methods.get(name)
    unstable = spectral_radius(name, damped_step, 0.05) > 1 + 1e-9
    refused = False
    try:
        warning = check_stability(method, damped_step / 0.5, 0.5)
        assert (warning is not None) == (damped_step * method.negative_drift > 5)
    except ArgumentError:
        refused = True
    assert refused == unstable


def test_the_step_that_a_refusal_proposes_is_accepted():
    system = HeavyBall(CoupledPendulums(), friction=SwitchedFriction(0.1, 30.0, LossGoal(reduction=0.5)))
    message = r"method 'yoshida-4' runs friction backwards: unstable with gamma = 30, step = 0.5; use 'strang', or step <= 0.098"
    with pytest.raises(ArgumentError, match=message):
        simulate(system, (0, 5), FORCED_START, method="yoshida-4", step=0.5)
    assert simulate(system, (0, 1), FORCED_START, method="yoshida-4", step=0.097, monitor=None).success
    assert simulate(system, (0, 5), FORCED_START, method="strang", step=0.5, monitor=None).success


def test_a_warning_once_backwards_friction_passes_five_damping_times():
    system = HeavyBall(CoupledPendulums(), mass=2.0, friction=10.0)  # gamma/m = 5
    with pytest.warns(StabilityWarning, match=r"'blanes-moan-4' runs friction backwards for 5\.3 damping times"):
        simulate(system, (0, 3), FORCED_START, method="blanes-moan-4", step=1.5, monitor=None)
    simulate(system, (0, 3), FORCED_START, method="blanes-moan-4", step=1.4, monitor=None)
