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

    ``simulate(..., observables={"sharpness": Every(300, Sharpness())})``. The eigenvector is kept as the start of the next search. Like all
    that observables do, the products are not counted by the run; each costs two to three gradients, and a search twenty of them at least.

    Parameters
    ----------
    tolerance : float
        Of the residual: ``|H v - s v| <= tolerance |s|``. The eigenvalue's error is at most that, and for a simple one of the order of its
        square.

    Attributes
    ----------
    residual : float
        ``|H v - s v| / |s|`` of the last search; nan before the first, and where it failed.
    residuals : list of float
        Of all searches, in the order in which they were made; in a batch those of one trajectory after those of the other.
    products : int
        Hessian-vector products so far.

    Raises
    ------
    ArgumentError
        A tolerance that is not positive; in a run: a system without an energy.

    Notes
    -----
    Up to 20 dimensions the Hessian is formed and diagonalized; beyond, scipy's ``eigsh`` (Lanczos' method with restarts, ARPACK). A Hessian
    that is not finite, or a search without end, gives nan. Of a PortHamiltonianSystem it is the Hessian of H in the whole state. Masses are
    not divided out: where they are not 1, the curvature that limits a step is that of ``Hess V/m``.
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
        n, dtype = len(like), np.dtype(str(like.dtype).removeprefix("torch."))

        def product(v: Any) -> Any:
            self.products += 1
            return point.hvp(v).detach().cpu().numpy()

        value, vector = (_dense if n <= _DENSE else self._search)(product, n, dtype)
        self.residual = float("nan")
        if vector is not None:
            self._vector = vector
            missing = np.linalg.norm(product(vector) - value * vector)
            self.residual = float(missing / abs(value)) if value else float(missing)
        self.residuals.append(self.residual)
        return value

    def _search(self, product: Any, n: int, dtype: Any) -> tuple[float, Any]:
        from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh  # on first use: slow to import

        fresh = np.random.default_rng(0).standard_normal(n).astype(dtype)
        start = fresh if self._vector is None or len(self._vector) != n else self._vector.astype(dtype)
        image = product(start)
        if not np.isfinite(image).all():
            return float("nan"), None
        if not image.any():  # it begins in the kernel
            start = fresh
            if not product(start).any():
                return 0.0, start
        hessian = LinearOperator((n, n), matvec=product, dtype=dtype)
        try:
            values, vectors = eigsh(hessian, k=1, which="LA", v0=start, tol=max(self.tolerance, 4 * float(np.finfo(dtype).eps)))
        except ArpackError:
            return float("nan"), None
        return float(values[0]), vectors[:, 0]


def _dense(product: Any, n: int, dtype: Any) -> tuple[float, Any]:
    columns = np.stack([product(unit) for unit in np.eye(n, dtype=dtype)])
    if not np.isfinite(columns).all():
        return float("nan"), None
    values, vectors = np.linalg.eigh((columns + columns.T) / 2)
    return float(values[-1]), np.ascontiguousarray(vectors[:, -1])
