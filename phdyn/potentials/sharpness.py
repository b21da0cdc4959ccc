"""The leading eigenvalue of the Hessian along a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from phdyn.errors import ArgumentError

if TYPE_CHECKING:
    from phdyn.point import Point

_DENSE: Final = 20
"""Up to this size the whole Hessian costs no more products than Lanczos' method would take."""


class Sharpness:
    """Observable: the largest eigenvalue of the Hessian of V at the position, from Hessian-vector products.

    ``simulate(..., observables={"sharpness": Every(300, Sharpness())})``. The eigenvector is kept as the start of the next search, which
    is then short. Like all that observables do, the products are not counted by the run; each costs two to three gradients.

    Parameters
    ----------
    tolerance : float
        Of the residual: ``|H v - s v| <= tolerance |s|``. The eigenvalue's error is at most that, and for a simple one of the order of its
        square.

    Attributes
    ----------
    residual : float
        ``|H v - s v| / |s|`` of the last search; nan before the first.
    residuals : list of float
        Of all searches.
    products : int
        Hessian-vector products so far.

    Raises
    ------
    ArgumentError
        At construction: a tolerance that is not positive. In a run: a system without an energy; a search that did not converge, which ends
        the run.

    Notes
    -----
    Up to 20 dimensions the Hessian is formed and diagonalized; beyond, scipy's ``eigsh`` (Lanczos' method with restarts, ARPACK).
    """

    def __init__(self, *, tolerance: float = 1e-4) -> None:
        if not tolerance > 0:
            raise ArgumentError(f"Sharpness: tolerance = {tolerance}, a positive number is needed")
        self.tolerance = tolerance
        self.residual = float("nan")
        self.residuals: list[float] = []
        self.products = 0
        self._vector: Any = None

    def __call__(self, point: Point) -> float:
        """Return the eigenvalue at a point."""
        like = point.q
        n = len(like)

        def product(v: Any) -> Any:
            self.products += 1
            return point.hvp(v).detach().cpu().numpy()

        if self._vector is None or len(self._vector) != n:
            self._vector = np.random.default_rng(0).standard_normal(n)
        dtype = np.dtype(str(like.dtype).removeprefix("torch."))
        value, vector = (_dense if n <= _DENSE else self._search)(product, n, dtype)
        image = product(vector)
        self._vector = vector
        self.residual = float(np.linalg.norm(image - value * vector) / abs(value)) if value else 0.0
        self.residuals.append(self.residual)
        return value

    def _search(self, product: Any, n: int, dtype: Any) -> tuple[float, Any]:
        from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh  # on first use: slow to import

        hessian = LinearOperator((n, n), matvec=product, dtype=dtype)
        tolerance = max(self.tolerance, 4 * float(np.finfo(dtype).eps))
        try:
            values, vectors = eigsh(hessian, k=1, which="LA", v0=self._vector.astype(dtype), tol=tolerance)
        except ArpackNoConvergence as error:
            raise ArgumentError(f"Sharpness: no eigenvalue to a tolerance of {tolerance:g} after {self.products:,} products") from error
        return float(values[0]), vectors[:, 0]


def _dense(product: Any, n: int, dtype: Any) -> tuple[float, Any]:
    columns = np.stack([product(unit) for unit in np.eye(n, dtype=dtype)])
    values, vectors = np.linalg.eigh((columns + columns.T) / 2)
    return float(values[-1]), np.ascontiguousarray(vectors[:, -1])
