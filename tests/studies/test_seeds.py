"""Paired statistics against numbers worked by hand, enumerated, or computed another way."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

import phdyn
from phdyn.studies.seeds import compare, holm


def test_holm_by_hand():
    # sorted .005, .01, .03, .04 times 4, 3, 2, 1: .02, .03, .06, .04, and never less than the one before
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02], rtol=1e-14)
    np.testing.assert_allclose(holm([0.5, 0.6]), [1.0, 1.0])
    assert holm([]).shape == (0,)


def test_holm_leaves_out_what_is_no_test():
    np.testing.assert_allclose(holm([0.02, np.nan, 0.01]), [0.02, np.nan, 0.02], rtol=1e-14)
    assert np.isnan(holm([np.nan])).all()


def test_holm_rejects_no_more_than_bonferroni_allows_first():
    p = np.random.default_rng(0).uniform(size=12)
    corrected = holm(p)
    assert corrected.min() == pytest.approx(min(1.0, 12 * p.min()))
    assert np.all(np.diff(corrected[np.argsort(p)]) >= 0)
    assert np.all(corrected >= p)


def test_the_p_value_counts_sign_patterns():
    difference = np.array([0.9, 0.3, -0.2, 1.1, 0.4, 0.6, -0.1, 0.7])
    means = np.array([np.mean(signs * difference) for signs in product((1, -1), repeat=8)])
    found = compare(difference, np.zeros(8))
    assert found.p == pytest.approx(2 * np.mean(means >= difference.mean() - 1e-12), rel=1e-12)
    assert found.mean == pytest.approx(0.4625)
    assert found.sd == pytest.approx(np.std(difference, ddof=1))
    assert found.n == 8


def test_many_pairs_are_sampled_and_repeat():
    values = np.random.default_rng(1).normal(0.25, 1.0, 40)
    found = compare(values, np.zeros(40), seed=3)
    assert found == compare(values, np.zeros(40), seed=3)
    assert found.p == pytest.approx(stats.ttest_1samp(values, 0.0).pvalue, abs=0.02)


def test_the_interval_is_bca():
    """Efron's formulas, written out, with other random numbers."""
    values = np.random.default_rng(2).exponential(1.0, 25) - 0.5
    means = np.random.default_rng(5).choice(values, (200_000, 25)).mean(1)
    shift = stats.norm.ppf(np.mean(means < values.mean()))
    jackknife = (values.sum() - values) / 24
    spread = jackknife.mean() - jackknife
    acceleration = np.sum(spread**3) / (6 * np.sum(spread**2) ** 1.5)
    z = shift + stats.norm.ppf([0.025, 0.975])
    low, high = np.quantile(means, stats.norm.cdf(shift + z / (1 - acceleration * z)))
    found = compare(values, np.zeros(25))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)
    plain = np.quantile(means, [0.025, 0.975])
    assert abs(found.high - plain[1]) > abs(found.high - high)


def test_what_cannot_be_told_is_not():
    equal = compare([0.9, 0.8, 0.7], [0.8, 0.7, 0.6])
    assert (equal.low, equal.high) == pytest.approx((0.1, 0.1), rel=1e-12)
    assert equal.p == pytest.approx(0.25)  # 2 of 8 sign patterns
    same = compare([1.0, 2.0], [1.0, 2.0])
    assert same[:5] == (2, 0.0, 0.0, 0.0, 0.0)
    assert same.p == 1.0
    one = compare([1.0, np.nan], [0.5, 0.5])
    assert one.n == 1
    assert one.mean == 0.5
    assert np.isnan([one.sd, one.low, one.high, one.p]).all()
    none = compare([np.nan], [0.5])
    assert none.n == 0
    assert np.isnan(none[1:]).all()


@pytest.mark.parametrize("values", [[0.0, 0.0, 0.0, 1.0], [0.0, 1.0]])
def test_few_values_still_have_an_interval(values):
    found = compare(values, np.zeros(len(values)))
    assert 0 <= found.low <= found.mean <= found.high <= 1


def test_pairs_are_needed():
    with pytest.raises(phdyn.ArgumentError, match="no pairs"):
        compare([1.0, 2.0], [1.0])
