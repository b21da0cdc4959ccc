"""Statistics of paired seeds: is one arm better than another that saw the same initial parameters and the same data in the same order."""

from __future__ import annotations

import warnings
from typing import Any, Final, NamedTuple

import numpy as np
from scipy import stats

from phdyn.errors import ArgumentError
from phdyn.typing import Array

RESAMPLES: Final = 9_999
"""Of the bootstrap, and of the permutation test where there are more sign patterns than that (from 14 pairs on)."""


class Paired(NamedTuple):
    """A paired difference: pairs, mean, standard deviation, 95 % interval of the mean, two-sided p-value."""

    n: int
    mean: float
    sd: float
    low: float
    high: float
    p: float


def compare(values: Any, control: Any, *, seed: int = 0) -> Paired:
    """Compare two arms seed by seed.

    Parameters
    ----------
    values, control : (seeds,) array
        What the two arms found, each seed at its place; pairs with a nan are left out.
    seed : int
        Seed of the resampling: the same data give the same numbers.

    Returns
    -------
    Paired
        The mean of ``values - control`` with its BCa bootstrap interval (Efron 1987), and the p-value of the test that permutes the two
        arms within each pair (flips signs), exact up to 13 pairs. With fewer than two pairs, interval and p are nan. Where all
        differences are equal the interval is that one number. Where BCa is not defined, the interval is that of plain percentiles.

    Raises
    ------
    ArgumentError
        The two have different shapes, or are not (seeds,).
    """
    one, other = np.asarray(values, dtype=np.float64), np.asarray(control, dtype=np.float64)
    if one.ndim != 1 or one.shape != other.shape:
        raise ArgumentError(f"compare: values of shapes {one.shape} and {other.shape} are no pairs: both (seeds,) are needed")
    difference = one - other
    difference = difference[np.isfinite(difference)]
    n = len(difference)
    if n < 2:
        return Paired(n, float(difference.mean()) if n else np.nan, np.nan, np.nan, np.nan, np.nan)
    low, high = _interval(difference, seed)
    return Paired(n, float(difference.mean()), float(difference.std(ddof=1)), low, high, _p_value(difference, seed))


def holm(p_values: Any) -> Array:
    """Correct p-values for their number: the family-wise error stays below the level whatever their dependence.

    Parameters
    ----------
    p_values : (tests,) array
        A nan is no test: it is not counted, and stays nan.

    Returns
    -------
    (tests,) array
        ``max over j <= i of min(1, (m - j + 1) p_(j))`` for the i-th smallest of m. Holm 1979.
    """
    p = np.asarray(p_values, dtype=np.float64)
    corrected = np.full(p.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(factors * p[order]))
    return corrected


def _interval(difference: Array, seed: int) -> tuple[float, float]:
    if np.ptp(difference) == 0.0:
        return float(difference[0]), float(difference[0])
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            found = stats.bootstrap((difference,), np.mean, n_resamples=RESAMPLES, method=method, rng=np.random.default_rng(seed))
        low, high = map(float, found.confidence_interval)
        if np.isfinite(low) and np.isfinite(high):
            break
    return low, high


def _rounded_mean(values: Array, axis: int) -> Array:
    """Return means, equal where they differ by rounding alone: accuracies are multiples of 1/images, and ties count."""
    return np.round(np.mean(values, axis=axis), 9)


def _p_value(difference: Array, seed: int) -> float:
    test = stats.permutation_test(
        (difference,), _rounded_mean, permutation_type="samples", vectorized=True, n_resamples=RESAMPLES, rng=np.random.default_rng(seed)
    )
    return float(test.pvalue)
