"""MNIST-1D: digits as curves of 40 points, made on the spot."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Final

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from phdyn.data.dataset import Dataset, from_labels
from phdyn.errors import ArgumentError
from phdyn.typing import Array

TRAIN: Final = 4_000
TEST: Final = 1_000
POINTS: Final = 40

# The numbers of Greydanus & Kobak: curves from 0 to 9, twelve heights each, and how far a sample departs from its curve.
_CURVES: Final = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
_CURVE_POINTS: Final = 12
_PADDING: Final = (36, 60)
_LONG: Final = _CURVE_POINTS + _PADDING[1]
_SCALE: Final = 0.4
_TRANSLATION: Final = 48
_SHEAR: Final = 0.75
_NOISE_ASIDE: Final = 0.25
_NOISE_ASIDE_WIDTH: Final = 2.0
_NOISE: Final = 0.02

_HIGHEST: Final = 0.75
"""Heights of -0.75 and 0.75 become 0 and 1; of four million (seeds 0 to 19) one lay beyond."""


def mnist1d(seed: int = 0) -> Dataset:
    """MNIST-1D: 5,000 noisy, shifted, stretched and tilted curves of 40 points, ten kinds, nothing to download.

    Each sample is one of ten curves of 12 points. It is padded with 36 to 60 zeros and stretched to 72 points, scaled by 0.8
    to 1.2, moved to the right by up to 47 points, surrounded by correlated noise (white noise of deviation 0.25, smoothed by
    a Gaussian of 2 points), overlaid with white noise of deviation 0.02, tilted by up to 0.1875 at its ends, and subsampled.

    Parameters
    ----------
    seed : int
        Of NumPy's generator, from 0 on. The same seed gives the same bits.

    Returns
    -------
    Dataset
        Inputs (samples, 40), 4,000 for training and 1,000 for testing, 500 of each class in all. A height h becomes
        (h + 0.75) / 1.5, clipped to [0, 1]: a fixed map, so nothing is fitted to the data. (The authors subtract the mean
        and divide by the deviation of all samples, those for testing too.)

    Raises
    ------
    ArgumentError
        When the seed is no whole number from 0 on.

    Notes
    -----
    Source: Greydanus & Kobak 2024, Scaling Down Deep Learning with MNIST-1D, ICML, arXiv 2011.14439; the curves and
    constants are those of the authors' public repository (Apache 2.0), written anew. Their samples differ, as they come from
    another random stream; they report an accuracy of 32 % for a linear classifier and 68 % for a multilayer perceptron.
    """
    given: Any = seed
    if isinstance(given, bool) or not isinstance(given, Integral) or given < 0:
        msg = f"mnist1d: seed = {seed!r}: a whole number from 0 on is needed"
        raise ArgumentError(msg)
    random = np.random.default_rng(int(seed))
    labels = random.permutation(np.repeat(np.arange(len(_CURVES)), (TRAIN + TEST) // len(_CURVES)))
    heights = _subsampled(_departed(labels, random))
    x = torch.from_numpy(np.clip((heights + _HIGHEST) / (2.0 * _HIGHEST), 0.0, 1.0).astype(np.float32))
    y = from_labels(labels)
    return Dataset(
        x_train=x[:TRAIN].clone(),
        y_train=y[:TRAIN].clone(),
        x_test=x[TRAIN:].clone(),
        y_test=y[TRAIN:].clone(),
        classes=tuple("0123456789"),
        source=f"MNIST-1D after Greydanus & Kobak 2024 (arXiv 2011.14439), generated with seed {int(seed)}",
    )


def _curves() -> Array:
    """Return the ten curves, (10, 12): deviation 1/6, starting and ending at 0."""
    curves = np.array(_CURVES)
    curves /= 6.0 * curves.std(axis=1, keepdims=True)
    return curves - curves[:, :1]


def _departed(labels: Array, random: np.random.Generator) -> Array:
    """Return one sample a label, (samples, 72), after every random departure from its curve."""
    n, curves, grid = len(labels), _curves(), np.arange(_CURVE_POINTS)
    padding = random.integers(_PADDING[0], _PADDING[1], size=n, endpoint=True)
    shift = random.integers(_TRANSLATION, size=n)
    scale, slope = 1.0 + _SCALE * (random.random(n) - 0.5), _SHEAR * (random.random(n) - 0.5)
    aside = gaussian_filter1d(random.normal(0.0, _NOISE_ASIDE, (n, _LONG)), _NOISE_ASIDE_WIDTH, axis=1)
    noise = random.normal(0.0, _NOISE, (n, _LONG))

    # Where the points of a sample lie on its curve, before the shift; from _CURVE_POINTS on lies its padding.
    where = np.linspace(0.0, _CURVE_POINTS + padding - 1.0, _LONG, axis=1)
    where = np.take_along_axis(where, (np.arange(_LONG) - shift[:, None]) % _LONG, axis=1)
    signal = np.stack([np.interp(one, grid, curves[label]) for one, label in zip(where, labels, strict=True)])
    signal = np.where(where < _CURVE_POINTS, scale[:, None] * signal, aside)
    return signal + noise - slope[:, None] * np.linspace(-0.5, 0.5, _LONG)


def _subsampled(signals: Array) -> Array:
    """Return (samples, 40) of (samples, 72), by straight lines between points."""
    old, new = np.linspace(0.0, 1.0, _LONG), np.linspace(0.0, 1.0, POINTS)
    rows: list[Any] = [np.interp(new, old, signal) for signal in signals]
    return np.stack(rows)
