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
from phdyn.potentials import Quadratic

SPLITTINGS = [name for name in phdyn.methods.names() if isinstance(phdyn.methods.get(name), Splitting)]
SYMMETRIC = [name for name in SPLITTINGS if phdyn.methods.get(name).symmetric]

# First halves of the palindromes as printed, the middle entries included: kicks, drifts, sum of the negative drifts, gradients a step.
PRINTED = {
    "strang": ((0.5,), (1.0,), 0.0, 1),
    "position-verlet": ((1.0,), (0.5,), 0.0, 2),
    "mclachlan-4": (
        (0.089269454226475244887, -0.097336042636895508015, 0.50806658841042026313),
        (0.4, -0.1, 0.4),
        0.2,
        5,
    ),
    "blanes-moan-s6": (
        (0.0792036964311957, 0.353172906049774, -0.0420650803577195, 0.2193769557534996),
        (0.209515106613362, -0.143851773179818, 0.434336666566456),
        0.2877,
        6,
    ),
    "blanes-moan-4": (
        (0.0829844064174052, 0.396309801498368, -0.0390563049223486, 0.1195241940131508),
        (0.245298957184271, 0.60487266571108, -0.350171622895351),
        0.7003,
        6,
    ),
    "blanes-moan-6": (
        (0.0414649985182624, 0.198128671918067, -0.0400061921041533, 0.0752539843015807, -0.0115113874206879, 0.2366699247869311),
        (0.123229775946271, 0.290553797799558, -0.127049212625417, -0.246331761062075, 0.357208872795928, 0.20477705429147),
        0.7468,
        11,
    ),
    "blanes-moan-6-14": (
        (
            0.09171915262446165, 0.183983170005006, -0.05653436583288827, 0.004914688774712854, 0.143761127168358, 0.328567693746804,
            -0.196411466486454234,
        ),
        (
            0.0378593198406116, 0.102635633102435, -0.0258678882665587, 0.314241403071447, -0.130144459517415, 0.106417700369543,
            -0.00879424312851058, 0.20730506905689536,
        ),
        0.3296,
        15,
    ),
}
# The lengths of the Strang steps that a method is a composition of, as printed, to the middle.
WEIGHTS = {
    "yoshida-4": ((1.351207191959657634, -1.7024143839193152681), 1.702, 3),
    "suzuki-4": ((0.41449077179437573714, 0.41449077179437573714, -0.65796308717750294857), 0.658, 5),
    "yoshida-6": ((0.78451361047755726382, 0.23557321335935813368, -1.1776799841788710069, 1.3151863206839112189), 2.355, 7),
    "kahan-li-6": (
        (0.39216144400731413928, 0.3325991367893594386, -0.70624617255763935981, 0.082213596293550800231, 0.7985439909348299634),
        1.412,
        9,
    ),
    "kahan-li-8": (
        (
            0.13020248308889008088, 0.56116298177510838456, -0.38947496264484728641, 0.1588419065551556009, -0.39590389413323757734,
            0.18453964097831570709, 0.25837438768632204729, 0.29501172360931029887, -0.6055085338300345117,
        ),
        2.176,
        17,
    ),
}


# --- coefficients ---------------------------------------------------------------------------------------------------------------------
def test_every_symmetric_splitting_is_compared_with_its_source():
    assert {*PRINTED, *WEIGHTS} == {name for name in SYMMETRIC if phdyn.methods.get(name).exact}  # others: test_two_term.py


def same_palindrome(ours, printed):
    """Equal to the printed first half; its last entry, which consistency implies, to 15 digits after the point."""
    last = (len(ours) - 1) // 2
    assert ours == ours[::-1]
    np.testing.assert_allclose(ours[:last], printed[:-1], rtol=1e-15)
    np.testing.assert_allclose(ours[last], printed[-1], rtol=0, atol=3e-15)
    np.testing.assert_allclose(sum(ours), 1, rtol=1e-15)


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_sequences_are_the_printed_ones(name):
    free_kicks, free_drifts, backwards, stages = PRINTED[name]
    method = phdyn.methods.get(name)
    kicks, drifts = method.sequences()
    same_palindrome(kicks, free_kicks)
    same_palindrome(drifts, free_drifts)
    np.testing.assert_allclose(method.negative_drift, backwards, atol=5e-4)
    assert method.stages == stages
    if method.first == "kick":
        assert stages == len(drifts) == len(kicks) - 1
        assert method.cost == str(stages)
    else:  # and one gradient for the energy at the end
        assert stages == len(drifts) == len(kicks) + 1
        assert method.cost == f"{stages - 1} + 1"


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_compositions_are_of_strang_steps_of_the_printed_lengths(name):
    weights, backwards, stages = WEIGHTS[name]
    method = phdyn.methods.get(name)
    kicks, drifts = method.sequences()
    same_palindrome(drifts, weights)
    same_palindrome(kicks, [(before + after) / 2 for before, after in zip((0.0, *weights), weights, strict=False)])
    np.testing.assert_allclose(method.negative_drift, backwards, atol=5e-4)
    assert method.stages == stages == len(drifts)


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
    end = one_step("position-verlet", HeavyBall(lambda z: (1 - torch.cos(z)).sum(-1), friction=g), [q, p], 0.0, h)
    for _ in range(2):
        q, p = q - np.expm1(-g * h / 2) / g * p, np.exp(-g * h / 2) * p
        p = p - h * np.sin(q) if _ == 0 else p
    np.testing.assert_allclose(end, (q, p), rtol=1e-14)


# --- what a step costs ----------------------------------------------------------------------------------------------------------------
def never(t, x):
    return x[0] + 1e3


@pytest.mark.parametrize("more", [{}, {"record": "energy"}, {"events": never}, {"observables": {"V": lambda point: point.potential}}])
@pytest.mark.parametrize("method", SPLITTINGS)
def test_gradients_are_one_a_stage_and_one_at_the_start(method, more):
    potential = CoupledPendulums()
    system = HeavyBall(potential, friction=SwitchedFriction(0.1, 2.0, LossGoal(value=-1.0)))
    sol = simulate(system, (0, 5), FORCED_START, method=method, step=0.1, monitor=None, **more)
    assert sol.nfev == 50 * phdyn.methods.get(method).stages + 1
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


@pytest.mark.parametrize("method", [*SYMMETRIC, "chin-4"])
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


# At gamma h = 0, 1, 3, 5, 10, 20, 30, 50, 100, omega h = 0.02, 0.04, ... at which stability is first lost; 12: not up to there.
GAMMA_H = (0, 1, 3, 5, 10, 20, 30, 50, 100)
FIRST_LOSS = {
    "position-verlet": (2.00, 2.08, 2.57, 3.18, 4.47, 6.32, 7.75, 10.0, 12),
    "chin-4": (3.46, 4.08, 4.70, 5.20, 6.40, 8.42, 7.36, 6.36, 6.16),
    "mclachlan-4": (3.04, 6.84, 6.88, 7.08, 8.08, 5.78, 4.02, 1.86, 0.22),
    "suzuki-4": (2.74, 2.92, 4.52, 4.78, 2.52, 0.58, 0.14, 0.02, 0.02),
    "yoshida-6": (2.28, 2.86, 3.08, 1.30, 0.08, 0.02, 0.02, 0.02, 0.02),
    "kahan-li-6": (2.54, 3.36, 3.56, 3.92, 1.92, 0.36, 0.08, 0.02, 0.02),
    "kahan-li-8": (3.10, 5.68, 5.90, 5.68, 2.36, 0.16, 0.02, 0.02, 0.02),
    "blanes-moan-6": (9.08, 9.10, 9.22, 9.36, 9.72, 10.7, 2.78, 0.56, 0.02),
    "blanes-moan-6-14": (6.16, 8.84, 12, 12, 12, 12, 12, 10.6, 2.84),
}


def parts_of_a_step(name, omegas):
    """Kicks (as the weight of q) and drifts in their order, h = 1; chin-4 has the force's gradient in its middle kick."""
    square = omegas**2
    if name == "chin-4":
        return [("kick", square / 6), ("drift", 0.5), ("kick", 2 / 3 * (square - square**2 / 24)), ("drift", 0.5), ("kick", square / 6)]
    method = phdyn.methods.get(name)
    kicks, drifts = ([(what, c) for c in part] for what, part in zip(("kick", "drift"), method.sequences(), strict=True))
    longer, shorter = (kicks, drifts) if method.first == "kick" else (drifts, kicks)
    woven = [part for pair in zip(longer, shorter, strict=False) for part in pair] + longer[len(shorter) :]
    return [(what, c * square if what == "kick" else c) for what, c in woven]


def oscillator(name, damped_step, omegas):
    """The matrices (k, 2, 2) of a step with h = 1 of q'' + gamma q' + omega^2 q = 0, written out for all omegas at once."""
    matrix = np.tile(np.eye(2), (len(omegas), 1, 1))
    for what, c in parts_of_a_step(name, omegas):
        if what == "kick":
            matrix[:, 1] -= c[:, None] * matrix[:, 0]
        else:
            z = -damped_step * c
            matrix[:, 0] += (c * np.expm1(z) / z if z else c) * matrix[:, 1]
            matrix[:, 1] *= np.exp(z)
    return matrix


@pytest.mark.parametrize("name", sorted(FIRST_LOSS))
def test_where_stability_is_first_lost(name):
    omegas = 0.02 * np.arange(1, 601)
    for damped_step, limit in zip(GAMMA_H, FIRST_LOSS[name], strict=True):
        radii = np.abs(np.linalg.eigvals(oscillator(name, damped_step, omegas))).max(1)
        unstable = omegas[radii > 1 + 1e-9]
        assert abs((unstable[0] if len(unstable) else 12) - limit) < (0.021 if limit < 10 else 0.05), damped_step  # as the digits given


@pytest.mark.parametrize("name", sorted(FIRST_LOSS))
def test_the_map_of_the_oscillator_is_the_one_written_out(name):
    for damped_step, omega in ((0.0, 1.3), (3.0, 2.0), (12.0, 0.7)):
        system = HeavyBall(Quadratic([omega**2]), friction=damped_step)
        columns = [one_step(name, system, e, 0.0, 1.0) for e in np.eye(2)]
        matrix = oscillator(name, damped_step, np.array([omega]))[0]
        np.testing.assert_allclose(np.stack(columns, 1), matrix, rtol=1e-9, atol=1e-12 * np.abs(matrix).max())


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
