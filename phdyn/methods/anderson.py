"""Fixed points by Anderson acceleration: matrix-free, one evaluation an iteration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from phdyn.counts import Halt
from phdyn.typing import Array

DEPTH: Final = 8
"""Pairs of vectors that are kept; with it a network's implicit step took fewest gradients of all that were tried."""

_FLOOR: Final = 1e3
"""A residual that no longer falls is accepted up to so many tolerances: it is rounding."""

_PATIENCE: Final = 4
_CUT: Final = 1e-14


def fixed_point(function: Callable[[Array], Array], x: Array, vectors: Any, *, tolerance: float, most: int) -> Array:
    """Return the fixed point of a function: its last value where ``|function(x) - x| <= tolerance``.

    Parameters
    ----------
    function : callable
        Array (n,) to a new array (n,).
    x : (n,) array
        First guess.
    vectors : Vectors
        Back end.
    tolerance : float
        Absolute, of the 2-norm. Where rounding keeps the residual above it, a residual that has stopped falling is accepted up to a
        thousand tolerances.
    most : int
        Evaluations.

    Raises
    ------
    Halt
        Status -5: it did not converge. Status -2: the function is not finite although the iteration was not running away.

    Notes
    -----
    Anderson 1965, J. ACM 12, 547, in the form of Walker & Ni 2011, SIAM J. Numer. Anal. 49, 1715 (eqs. 2.1 to 2.3). The small least-squares
    problem is solved by its normal equations: their loss of digits slows the mixing, and leaves the fixed point alone.
    """
    changes: list[tuple[Array, Array]] = []  # of the value, of the residual
    value = residual = None
    sizes: list[float] = []
    lowest, since = np.inf, 0
    for _ in range(most):
        new = function(x)
        difference = new - x
        size = float(vectors.dot(difference, difference)) ** 0.5
        if size <= tolerance:
            return new
        if not np.isfinite(size):
            if not sizes or sizes[-1] <= sizes[0]:
                raise Halt(-2, "the potential or its gradient is not finite (nan or inf)")
            break
        sizes.append(size)
        lowest, since = (size, 0) if size < lowest else (lowest, since + 1)
        if since >= _PATIENCE and size <= _FLOOR * tolerance:
            return new
        if value is not None:
            changes = [*changes[1 - DEPTH :], (new - value, difference - residual)]
        value, residual = new, difference
        x = _mixed(new, difference, changes, vectors)
    raise Halt(-5, f"the nonlinear solve did not converge: residual {lowest:.1e}, tolerance {tolerance:.1e}, after {len(sizes)} iterations")


def _mixed(value: Array, residual: Array, changes: list[tuple[Array, Array]], vectors: Any) -> Array:
    """Return the combination of the last values whose residual is least, by linear extrapolation."""
    if not changes:
        return value
    dot = vectors.dot
    gram = np.array([[float(dot(a, b)) for _, b in changes] for _, a in changes])
    scale = 1 / np.sqrt(np.maximum(np.diag(gram), np.finfo(float).tiny))
    right = np.array([float(dot(a, residual)) for _, a in changes])
    weights = scale * np.linalg.lstsq(gram * np.outer(scale, scale), scale * right, rcond=_CUT)[0]
    mixed = vectors.clone(value)
    for weight, (change, _) in zip(weights.tolist(), changes, strict=True):
        vectors.axpy(-weight, change, mixed)
    return mixed
