"""Two potentials of chemistry: the Müller-Brown surface and the Lennard-Jones cluster."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from phdyn.errors import ArgumentError
from phdyn.potentials.base import Array, Landscape, component, constant_like, join

_MULLER_BROWN = (  # A, a, b, c, x0, y0 of each term A exp(a (x - x0)^2 + b (x - x0)(y - y0) + c (y - y0)^2)
    (-200.0, -1.0, 0.0, -10.0, 1.0, 0.0),
    (-100.0, -1.0, 0.0, -10.0, 0.0, 0.5),
    (-170.0, -6.5, 11.0, -6.5, -0.5, 1.5),
    (15.0, 0.7, 0.6, 0.7, -1.0, 1.0),
)


@dataclass(frozen=True)
class MullerBrown(Landscape):
    """Müller and Brown's surface in the plane: three wells in a bent valley, a test of path searches."""

    name: ClassVar[str] = "Müller-Brown"
    source: ClassVar[str] = "Müller & Brown 1979, Theor. Chim. Acta 53, 75"
    dim: int = field(default=2, init=False, repr=False)

    def _value(self, xp: Any, q: Any) -> tuple[Any, Any]:
        x, y = component(q, 0), component(q, 1)
        terms = []
        for height, a, b, c, x0, y0 in _MULLER_BROWN:
            u, v = x - x0, y - y0
            terms.append((height * xp.exp(a * (u * u) + b * (u * v) + c * (v * v)), u, v))
        return terms[0][0] + terms[1][0] + terms[2][0] + terms[3][0], terms

    def _gradient(self, xp: Any, q: Any, shared: Any) -> Any:
        gx = gy = 0.0
        for (_, a, b, c, _, _), (term, u, v) in zip(_MULLER_BROWN, shared, strict=True):
            gx = gx + term * (2.0 * a * u + b * v)
            gy = gy + term * (b * u + 2.0 * c * v)
        return join(xp, (gx, gy))

    def _bounds(self) -> list[tuple[float, float]]:
        return [(-1.5, 1.2), (-0.2, 2.0)]

    def _minima(self) -> Array:
        return np.array([
            [-0.55822363463302428, 1.4417258418046687],
            [0.62349940493087651, 0.028037758528685666],
            [-0.050010822998206058, 0.46669410487197209],
        ])  # fmt: skip


@dataclass(frozen=True)
class LennardJones(Landscape):
    """A cluster of atoms, V = 4 sum_{i<j} r_ij^-12 - r_ij^-6 (epsilon = sigma = 1).

    A position lists the atoms one after the other, ``q.reshape(..., atoms, 3)``. V does not change when the cluster
    moves or turns: each entry of `minima` stands for a whole family, and six eigenvalues of the Hessian there are
    zero (five for two atoms).

    Parameters
    ----------
    atoms : int
        Number of atoms, at least 2. `minima` holds the global minimum of 2 to 13 atoms (Cambridge Cluster Database),
        centred, found on first use by polishing a piece of the icosahedron (6 atoms: the octahedron); it is empty
        beyond.
    """

    name: ClassVar[str] = "Lennard-Jones"
    source: ClassVar[str] = "Lennard-Jones 1931, Proc. Phys. Soc. 43, 461; minima: Wales & Doye 1997, JPCA 101, 5111"
    atoms: int = 7
    dim: int = field(init=False, repr=False)
    _identities: dict[Any, Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.atoms, (int, np.integer)) or self.atoms < 2:
            msg = f"LennardJones: atoms = {self.atoms}, a whole number from 2 on is needed"
            raise ArgumentError(msg)
        object.__setattr__(self, "dim", 3 * int(self.atoms))

    def _value(self, xp: Any, q: Any) -> tuple[Any, Any]:
        key = (q.dtype, None if xp is np else q.device)
        identity = self._identities.get(key)
        if identity is None:
            identity = self._identities[key] = constant_like(np.eye(self.atoms), q)
        x = q.reshape((*q.shape[:-1], self.atoms, 3))
        difference = x[..., :, None, :] - x[..., None, :, :]
        inverse = 1.0 / ((difference * difference).sum(-1) + identity)  # 1/r^2; 1 from an atom to itself, where V is 0
        s6 = inverse * inverse * inverse
        return 2.0 * (s6 * s6 - s6).sum((-2, -1)), (difference, inverse, s6)

    def _gradient(self, xp: Any, q: Any, shared: Any) -> Any:
        difference, inverse, s6 = shared
        slope = (24.0 * s6 - 48.0 * (s6 * s6)) * inverse  # dV/dr / r of each pair
        return (slope[..., None] * difference).sum(-2).reshape(q.shape)

    def _bounds(self) -> tuple[float, float]:
        reach = math.ceil(10.0 * self.atoms ** (1.0 / 3.0)) / 10.0  # twice a close-packed ball's radius
        return (-reach, reach)

    def _minima(self) -> Array:
        if self.atoms > len(_ICOSAHEDRON):
            return np.empty((0, self.dim))
        start = _OCTAHEDRON if self.atoms == 6 else _ICOSAHEDRON[: self.atoms]
        return _polish(self, start)


def _polish(landscape: Landscape, start: Array) -> Array:
    """Return the minimum below `start` (atoms, 3), by BFGS and then Newton's method, centred."""
    from scipy.optimize import minimize  # slow to import, and minima are seldom asked for

    def height_and_slope(q: Array) -> tuple[float, Array]:
        value, gradient = landscape.value_and_grad(q)
        return float(value), gradient

    q: Array = minimize(height_and_slope, start.ravel(), jac=True, method="BFGS", options={"gtol": 1e-6}).x
    shifts = 1e-5 * np.eye(q.size)
    for _ in range(3):
        hessian = (landscape.value_and_grad(q + shifts)[1] - landscape.value_and_grad(q - shifts)[1]) / 2e-5
        q = q - np.linalg.pinv(hessian, rcond=1e-6, hermitian=False) @ landscape.value_and_grad(q)[1]
    x = q.reshape(-1, 3)
    return np.asarray(x - x.mean(axis=0))


def _icosahedron() -> Array:
    """Centre, top, upper and lower ring, bottom of the icosahedron: its first n atoms start the n-atom cluster."""
    height, width = 1.0 / math.sqrt(5.0), 2.0 / math.sqrt(5.0)
    turns = 2.0 * math.pi / 5.0 * np.arange(5)
    upper, lower = (
        np.stack([width * np.cos(phase), width * np.sin(phase), np.full(5, z)], axis=-1)
        for phase, z in ((turns, height), (turns + math.pi / 5.0, -height))
    )
    return 1.08 * np.vstack([[[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]], upper, lower, [[0.0, 0.0, -1.0]]])


_ICOSAHEDRON = _icosahedron()
_OCTAHEDRON = 0.8 * np.vstack([np.eye(3), -np.eye(3)])
