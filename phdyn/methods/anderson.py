"""Fixed points by Anderson acceleration: matrix-free, one evaluation an iteration."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from phdyn.counts import Halt
from phdyn.typing import Array

DEPTH: Final = 8
"""Pairs of vectors that are kept; with it a network's implicit step took fewest gradients of all that were tried."""

_ROUNDING: Final = 64
"""A residual that no longer falls is rounding up to so many times eps of the unknown's size."""

_PATIENCE: Final = 4
_GROWN: Final = 1e3
"""An iterate so many times the size of the start is running away."""


def fixed_point(
    function: Callable[[Array], Array], x: Array, vectors: Any, *, tolerance: float | None = None, scale: float = 0.0, most: int = 100
) -> Array:
    """Return the fixed point of a function: its last value, once that is as near to its argument as asked.

    Parameters
    ----------
    function : callable
        Array (n,) to a new array (n,).
    x : (n,) array
        First guess.
    vectors : Vectors
        Back end.
    tolerance : float, optional
        ``|function(x) - x| <= tolerance * max(scale, |function(x)|)``, in 2-norms; ten roundings if None. Where rounding keeps the residual
        above that, the best value is taken once the residual has stopped falling below 64 roundings.
    scale : float
        Size of the unknown at the start of the step.
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
    relative = 10 * vectors.eps if tolerance is None else tolerance
    mixing, tries = _Mixing(vectors), 0
    best, lowest, rounding, since = None, np.inf, 0.0, 0
    usual = scale or _length(vectors, x)
    for _ in range(most):
        new = function(x)
        if not vectors.finite(new):
            if vectors.finite(x) and _length(vectors, x) <= _GROWN * usual:
                raise Halt(-2, "the potential or its gradient is not finite (nan or inf)")
            break
        tries += 1
        residual = new - x
        size, length = _length(vectors, residual), max(scale, _length(vectors, new))
        if not size < np.inf:
            break
        if size <= relative * length:
            return new
        if size < lowest:
            best, lowest, rounding, since = x, size, _ROUNDING * vectors.eps * length, 0
        else:
            since += 1
        if since >= _PATIENCE and lowest <= rounding:
            return function(best)  # so that what it leaves aside is that of the answer
        x = mixing.of(new, residual)
    raise Halt(-5, f"the nonlinear solve did not converge in {tries} iterations: lowest residual {lowest:.1e} of a size of {usual:.1e}")


def _length(vectors: Any, x: Array) -> float:
    return math.sqrt(vectors.dot(x, x))


class _Mixing:
    """The last changes of value and residual, and the products of the latter: one row of them is new in each iteration."""

    def __init__(self, vectors: Any) -> None:
        self.vectors = vectors
        self.changes: list[tuple[Array, Array]] = []
        self.gram = np.zeros((0, 0))
        self.last: tuple[Array, Array] | None = None

    def of(self, value: Array, residual: Array) -> Array:
        """Return the combination of the last values whose residual is least, by linear extrapolation."""
        if self.last is not None:
            self._append(value - self.last[0], residual - self.last[1])
        self.last = value, residual
        if not self.changes:
            return value
        right = self._products(residual)
        if not (np.isfinite(self.gram).all() and np.isfinite(right).all()):  # squares overflow: begin anew
            self.changes, self.gram = [], np.zeros((0, 0))
            return value
        scale = 1 / np.sqrt(np.maximum(np.diag(self.gram), np.finfo(float).tiny))
        weights = scale * np.linalg.lstsq(self.gram * np.outer(scale, scale), scale * right, rcond=64 * self.vectors.eps)[0]
        mixed = self.vectors.clone(value)
        for weight, (change, _) in zip(weights.tolist(), self.changes, strict=True):
            self.vectors.axpy(-weight, change, mixed)
        return mixed

    def _append(self, value: Array, residual: Array) -> None:
        if len(self.changes) == DEPTH:
            self.changes, self.gram = self.changes[1:], self.gram[1:, 1:]
        self.changes.append((value, residual))
        row = self._products(residual)
        count = len(row)
        gram = np.empty((count, count))
        gram[:-1, :-1], gram[-1], gram[:, -1] = self.gram, row, row
        self.gram = gram

    def _products(self, residual: Array) -> Any:
        return np.array([float(self.vectors.dot(change, residual)) for _, change in self.changes])
