"""Matrices that are applied and never formed: J(x) and R(x) of systems as large as a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from phdyn.typing import Array


@dataclass(frozen=True)
class MatrixFree:
    """J(x) or R(x) of a PortHamiltonianSystem by its product with a vector: memory grows with the state, not with its square.

    Parameters
    ----------
    product : callable
        ``product(x, v)``: the matrix at a state (n,) times a vector (n,), as a new vector; of arrays where x0 was an array or a list, of
        tensors where it was a tensor.
    either_kind : bool
        Whether arrays will do there too: on the CPU they are faster than tensors.

    Examples
    --------
    Steepest descent of a network in a metric, q' = -d grad V(q) elementwise:
    ``PortHamiltonianSystem(V, MatrixFree(lambda q, v: 0 * v), MatrixFree(lambda q, v: d * v))``.
    """

    product: Callable[[Array, Array], Array]
    either_kind: bool = False

    def dense(self, x: np.ndarray) -> np.ndarray:
        """Return the matrix at a state, from n products: for small ones."""
        return np.stack([self.product(x, column) for column in np.eye(len(x), dtype=x.dtype)], axis=1)
