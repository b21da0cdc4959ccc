"""What experiments/wells.py counts: energy bounds, success, paired differences and its verdict."""

from __future__ import annotations

import numpy as np
import pytest
import wells
from scipy.optimize import brentq
from scipy.stats import binomtest
from wells_landscapes import CASES, reachable_on_grid

from phdyn import at_rest, simulate
from phdyn.potentials import Quadratic, Rastrigin
from phdyn.systems import HeavyBall

SEPARABLE = [name for name, case in CASES.items() if case.coordinate is not None]


def test_the_ceiling_of_the_multi_well_is_the_one_by_roots() -> None:
    """Behind each barrier lie starts below it, up to where V is as high again."""
    V = CASES["multi-well"].potential

    def slope(x: float) -> float:
        return float(V.value_and_grad(np.array([x]))[1][0])

    shut = 0.0
    for k in range(1, 6):
        middle = (2 * k - 1) * np.pi / V.frequency
        barrier = brentq(slope, middle - 0.5, middle + 0.5, xtol=1e-13)
        if barrier > 10:
            break
        height = V.value(np.array([barrier]))
        beyond = brentq(lambda x, height=height: float(V.value(np.array([x])) - height), barrier + 0.3, barrier + 2.2, xtol=1e-13)
        shut += min(beyond, 10.0) - barrier
    assert CASES["multi-well"].ceiling() == pytest.approx(1 - shut / 10, abs=1e-5)


@pytest.mark.parametrize("name", SEPARABLE)
def test_a_start_is_in_reach_as_often_as_the_ceiling_says(name: str) -> None:
    case = CASES[name]
    reach = case.reachable(case.starts(20_000, 1))
    assert binomtest(int(reach.sum()), len(reach), case.ceiling()).pvalue > 1e-3


def test_the_grid_finds_the_passes() -> None:
    assert reachable_on_grid(Quadratic([1.0, 2.0]), 3.0, 60) == 1.0
    line = CASES["Rastrigin"].ceiling() ** 0.5
    assert line**2 < reachable_on_grid(Rastrigin(), 5.12, 257) < 1  # the sum of both coordinates' energies allows more than each


@pytest.mark.parametrize("name", list(CASES))
def test_success_is_the_global_well_and_not_the_next(name: str) -> None:
    case = CASES[name]
    assert case.minimum < case.success < case.second
    for minimum in case.potential.minima:
        nudged = case.potential.value(minimum + 1e-9 * np.arange(-3, 4)[:, None])
        assert np.all((nudged < case.success) == (case.potential.value(minimum) == case.minimum))
    if name.startswith("Ackley"):
        sol = simulate(HeavyBall(case.potential, friction=3.0), (0.0, 20.0), at_rest([1.0, 0.0]), method="strang", step=0.02)
        assert case.potential.value(sol.q[:, -1]) == pytest.approx(case.second, abs=1e-9)


@pytest.mark.parametrize("name", list(CASES))
def test_the_frequency_is_that_of_the_largest_curvature(name: str) -> None:
    case = CASES[name]
    n, e = case.potential.dim, 1e-4 * np.eye(case.potential.dim)
    q = case.starts(20_000, 2)
    q = q[np.linalg.norm(q, axis=1) > 2.0]  # away from Ackley's cone
    slopes = [(case.potential.value_and_grad(q + e[k])[1] - case.potential.value_and_grad(q - e[k])[1]) / 2e-4 for k in range(n)]
    assert np.linalg.eigvalsh(np.stack(slopes, -1)).max() ** 0.5 == pytest.approx(case.frequency, rel=0.02)


def test_paired_differences_count_the_discordant_starts() -> None:
    first, second = np.zeros((2, 100), dtype=bool)
    first[:30] = True
    second[20:35] = True
    change = wells.compare(first, second)
    assert (change.only_first, change.only_second, change.difference) == (20, 5, 0.15)
    assert change.low < 0.15 < change.high
    assert change.p == pytest.approx(binomtest(5, 25).pvalue)
    assert wells.compare(first, first).p == 1.0


@pytest.mark.parametrize(
    ("fractions", "words"),
    [((0.1, 0.3, 0.3), "true"), ((0.1, 0.3, 0.1), "non-monotone"), ((0.3, 0.2, 0.1), "false"), ((0.2, 0.2, 0.2), "moot")],
)
def test_the_verdict_on_braking_early(fractions: tuple[float, ...], words: str) -> None:
    draws = np.random.default_rng(0).uniform(size=2000)
    nothing = np.full(2000, np.nan)
    goals = [wells.Outcome(wells.GOAL, k, draws < f, nothing, nothing, -1) for k, f in zip((0.9, 0.1, 0.01), fractions, strict=True)]
    assert wells.verdict(goals, 0.01).startswith(words)
