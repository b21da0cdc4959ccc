"""Cited test functions of optimization as potentials.

Beside them: :mod:`phdyn.potentials.wells` (quadratic, double well, multi-well) and :mod:`phdyn.potentials.molecular`
(Müller-Brown, Lennard-Jones). Every landscape has `name`, `source`, `dim`, `domain` (dim, 2), `minima` (k, dim) and
`minimum_values` (k,), and accepts positions (..., dim), NumPy or torch. ``1 - cos 2a`` is written ``2 sin^2 a``, and
``e^a - e^b`` is ``e^b expm1(a - b)``, so that nothing cancels near a minimum.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from torch.nn.functional import pad

from phdyn.potentials.base import Array, Landscape, component, cosine, join, require_dim, sine
from phdyn.potentials.wells import cosine_wells

_MOST_LISTED = 1024  # minima of a separable function beyond this are not enumerated (2^dim, 11^dim, ...)


@dataclass(frozen=True)
class Rosenbrock(Landscape):
    """The curved valley, V = sum_i 100 (q_{i+1} - q_i^2)^2 + (1 - q_i)^2.

    `minima` has the global one, (1, ..., 1). From four coordinates on there is a local one near (-1, 1, ..., 1), not
    listed.

    Parameters
    ----------
    dim : int
        Number of coordinates, at least 2.
    """

    name: ClassVar[str] = "Rosenbrock"
    source: ClassVar[str] = "Rosenbrock 1960, Comput. J. 3, 175"
    dim: int = 2

    def __post_init__(self) -> None:
        require_dim(self, 2)

    def _value(self, xp: Any, q: Any) -> tuple[Any, Any]:
        x = q[..., :-1]
        valley, rest = q[..., 1:] - x * x, 1.0 - x
        return (100.0 * (valley * valley) + rest * rest).sum(-1), (x, valley, rest)

    def _gradient(self, xp: Any, q: Any, shared: Any) -> Any:
        x, valley, rest = shared
        head, tail = -400.0 * (x * valley) - 2.0 * rest, 200.0 * valley
        if xp is not np:
            return pad(head, (0, 1)) + pad(tail, (1, 0))
        gradient = np.zeros_like(q)
        gradient[..., :-1] = head
        gradient[..., 1:] += tail
        return gradient

    def _bounds(self) -> tuple[float, float]:
        return (-2.048, 2.048)

    def _minima(self) -> Array:
        return np.ones(self.dim)


@dataclass(frozen=True)
class Himmelblau(Landscape):
    """Four equally deep wells in the plane, V = (x^2 + y - 11)^2 + (x + y^2 - 7)^2."""

    name: ClassVar[str] = "Himmelblau"
    source: ClassVar[str] = "Himmelblau 1972, Applied Nonlinear Programming, McGraw-Hill"
    dim: int = field(default=2, init=False, repr=False)

    def _value(self, xp: Any, q: Any) -> tuple[Any, Any]:
        x, y = component(q, 0), component(q, 1)
        a, b = x * x + y - 11.0, x + y * y - 7.0
        return a * a + b * b, (x, y, a, b)

    def _gradient(self, xp: Any, q: Any, shared: Any) -> Any:
        x, y, a, b = shared
        return join(xp, (4.0 * (x * a) + 2.0 * b, 2.0 * a + 4.0 * (y * b)))

    def _bounds(self) -> tuple[float, float]:
        return (-5.0, 5.0)

    def _minima(self) -> Array:
        return np.array([
            [3.0, 2.0],
            [-2.8051180869527449, 3.1313125182505730],
            [-3.7793102533777469, -3.2831859912861694],
            [3.5844283403304917, -1.8481265269644036],
        ])  # fmt: skip


@dataclass(frozen=True)
class Rastrigin(Landscape):
    """A parabola full of wells, V = sum_i q_i^2 + 10 (1 - cos 2 pi q_i).

    `minima` has all 11^dim of the domain while they are at most 1,024 (dim <= 2), then the global one, the origin,
    alone.

    Parameters
    ----------
    dim : int
        Number of coordinates.
    """

    name: ClassVar[str] = "Rastrigin"
    source: ClassVar[str] = "Rastrigin 1974, Systems of Extremal Control (Nauka); Mühlenbein et al. 1991, Parallel Comput. 17, 619"
    dim: int = 2

    def __post_init__(self) -> None:
        require_dim(self, 1)

    def _value(self, xp: Any, q: Any) -> tuple[Any, Any]:
        angle = math.pi * q
        wave = sine(xp, angle)
        return (q * q + 20.0 * (wave * wave)).sum(-1), (angle, wave)

    def _gradient(self, xp: Any, q: Any, shared: Any) -> Any:
        angle, wave = shared
        return 2.0 * q + 40.0 * math.pi * (wave * cosine(xp, angle))

    def _bounds(self) -> tuple[float, float]:
        return (-5.12, 5.12)

    def _minima(self) -> Array:
        return _product(cosine_wells(1.0, 10.0, 2.0 * math.pi, 5.12), self.dim)


@dataclass(frozen=True)
class Ackley(Landscape):
    """A funnel with ripples, V = 20 (1 - e^(-0.2 r)) + e - e^m, r^2 = mean q_i^2, m = mean cos 2 pi q_i.

    The global minimum at the origin is the tip of a cone: the gradient, undefined there, is given as zero. The many
    local minima are not listed.

    Parameters
    ----------
    dim : int
        Number of coordinates.
    """

    name: ClassVar[str] = "Ackley"
    source: ClassVar[str] = "Ackley 1987, A Connectionist Machine for Genetic Hillclimbing, Kluwer"
    dim: int = 2

    def __post_init__(self) -> None:
        require_dim(self, 1)

    def _value(self, xp: Any, q: Any) -> tuple[Any, Any]:
        # the smallest normal number changes no r but 0, and lets the gradient divide by it
        radius = xp.sqrt((q * q).sum(-1) / self.dim + float(xp.finfo(q.dtype).tiny))
        angle = math.pi * q
        wave = sine(xp, angle)
        funnel = xp.expm1(-0.2 * radius)
        ripple = xp.expm1(-2.0 / self.dim * (wave * wave).sum(-1))
        return -20.0 * funnel - math.e * ripple, (radius, angle, wave, funnel, ripple)

    def _gradient(self, xp: Any, q: Any, shared: Any) -> Any:
        radius, angle, wave, funnel, ripple = shared
        slope = 4.0 / self.dim * (1.0 + funnel) / radius
        swing = 4.0 * math.pi * math.e / self.dim * (1.0 + ripple)
        return slope[..., None] * q + swing[..., None] * (wave * cosine(xp, angle))

    def _bounds(self) -> tuple[float, float]:
        return (-32.768, 32.768)

    def _minima(self) -> Array:
        return np.zeros(self.dim)


@dataclass(frozen=True)
class StyblinskiTang(Landscape):
    """Two unequal wells in each coordinate, V = 1/2 sum_i q_i^4 - 16 q_i^2 + 5 q_i; negative at its minima.

    `minima` has all 2^dim while they are at most 1,024 (dim <= 10), then the global one alone.

    Parameters
    ----------
    dim : int
        Number of coordinates.
    """

    name: ClassVar[str] = "Styblinski-Tang"
    source: ClassVar[str] = "Styblinski & Tang 1990, Neural Networks 3, 467"
    dim: int = 2

    def __post_init__(self) -> None:
        require_dim(self, 1)

    def _value(self, xp: Any, q: Any) -> tuple[Any, Any]:
        square = q * q
        return 0.5 * (square * (square - 16.0) + 5.0 * q).sum(-1), square

    def _gradient(self, xp: Any, q: Any, shared: Any) -> Any:
        return q * (2.0 * shared - 16.0) + 2.5

    def _bounds(self) -> tuple[float, float]:
        return (-5.0, 5.0)

    def _minima(self) -> Array:
        return _product(np.array([-2.9035340277711771, 2.7468027709908370]), self.dim)  # roots of 2 x^3 - 16 x + 5/2


def _product(minima: Array, dim: int) -> Array:
    """Combine the minima of one coordinate, all while they are few, else the first in every coordinate."""
    if len(minima) ** dim > _MOST_LISTED:
        minima = minima[:1]
    return np.array(list(itertools.product(minima, repeat=dim)))
