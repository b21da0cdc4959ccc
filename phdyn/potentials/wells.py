"""Quadratic, double well and multi-well: the landscapes of one coordinate, or of many that do not mix.

``1 - cos 2a`` is written ``2 sin^2 a``, so that nothing cancels near a minimum.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from phdyn.errors import ArgumentError
from phdyn.potentials.base import Array, Landscape, component, constant_like, cosine, require_positive, sine


@dataclass(frozen=True, eq=False)
class Quadratic(Landscape):
    """A diagonal quadratic, V = 1/2 sum_i s_i q_i^2.

    Parameters
    ----------
    spectrum : array_like, shape (dim,)
        The eigenvalues s_i of the Hessian, finite. A zero makes a flat direction (the origin is then one minimum of
        many); with a negative one the origin is a saddle, V has no minimum, and `minima` is empty. Kept as read-only
        float64.

    Raises
    ------
    ArgumentError
        When the spectrum is empty, not one-dimensional or not finite.
    """

    name: ClassVar[str] = "quadratic"
    source: ClassVar[str] = "textbook"
    spectrum: Any
    dim: int = field(init=False, repr=False)
    _casts: dict[Any, Any] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        given = self.spectrum.detach().cpu().numpy() if isinstance(self.spectrum, Tensor) else self.spectrum
        spectrum = np.array(given, dtype=float)
        if spectrum.ndim != 1 or not spectrum.size:
            msg = f"Quadratic: the spectrum has shape {spectrum.shape}, not (dim,); for one coordinate write [{given}]"
            raise ArgumentError(msg)
        if not np.isfinite(spectrum).all():
            where = int(np.flatnonzero(~np.isfinite(spectrum))[0])
            msg = f"Quadratic: spectrum[{where}] is {spectrum[where]}, not a finite number"
            raise ArgumentError(msg)
        spectrum.setflags(write=False)
        object.__setattr__(self, "spectrum", spectrum)
        object.__setattr__(self, "dim", spectrum.size)

    def _value(self, xp: Any, q: Any) -> tuple[Any, Any]:
        key = (q.dtype, None if xp is np else q.device)
        spectrum = self._casts.get(key)
        if spectrum is None:
            spectrum = self._casts[key] = constant_like(self.spectrum, q)
        gradient = spectrum * q
        return 0.5 * (q.dot(gradient) if q.ndim == 1 else (q * gradient).sum(-1)), gradient

    def _gradient(self, xp: Any, q: Any, shared: Any) -> Any:
        return shared

    def _bounds(self) -> tuple[float, float]:
        return (-1.0, 1.0)

    def _minima(self) -> Array:
        return np.zeros((int(self.spectrum.min() >= 0), self.dim))


@dataclass(frozen=True)
class DoubleWell(Landscape):
    """Two wells of depth zero, V = b ((q/d)^2 - 1)^2.

    Parameters
    ----------
    barrier : float
        Height b > 0 of the maximum between the wells.
    distance : float
        Distance d > 0 of each well from the origin.
    """

    name: ClassVar[str] = "double well"
    source: ClassVar[str] = "textbook (Landau's quartic potential)"
    barrier: float = 1.0
    distance: float = 1.0
    dim: int = field(default=1, init=False, repr=False)

    def __post_init__(self) -> None:
        require_positive(self, "barrier", "distance")

    def _value(self, xp: Any, q: Any) -> tuple[Any, Any]:
        u = component(q, 0) / self.distance
        w = u * u - 1.0
        return self.barrier * (w * w), (u, w)

    def _gradient(self, xp: Any, q: Any, shared: Any) -> Any:
        u, w = shared
        return (4.0 * self.barrier / self.distance * u * w)[..., None]

    def _bounds(self) -> tuple[float, float]:
        return (-2.0 * self.distance, 2.0 * self.distance)

    def _minima(self) -> Array:
        return np.array([-self.distance, self.distance])


@dataclass(frozen=True)
class MultiWell(Landscape):
    """Wells on a parabola, V = c q^2 + 1 - cos(f q), the goal-oriented method's toy.

    With the defaults the wells lie near 0, 2.07, 4.14, 6.21, with the losses 0, 0.2169, 0.8676, 1.9522.

    Parameters
    ----------
    curvature : float
        c > 0.
    frequency : float
        f > 0. `domain` reaches four periods to either side; `minima` are all those within.
    """

    name: ClassVar[str] = "multi-well"
    source: ClassVar[str] = "ours; a one-dimensional Rastrigin function"
    curvature: float = 0.05
    frequency: float = 3.0
    dim: int = field(default=1, init=False, repr=False)

    def __post_init__(self) -> None:
        require_positive(self, "curvature", "frequency")

    def _value(self, xp: Any, q: Any) -> tuple[Any, Any]:
        x = component(q, 0)
        angle = 0.5 * self.frequency * x
        wave = sine(xp, angle)
        return self.curvature * x * x + 2.0 * wave * wave, (x, angle, wave)

    def _gradient(self, xp: Any, q: Any, shared: Any) -> Any:
        x, angle, wave = shared
        return (2.0 * self.curvature * x + 2.0 * self.frequency * wave * cosine(xp, angle))[..., None]

    def _bounds(self) -> tuple[float, float]:
        reach = 8.0 * math.pi / self.frequency
        return (-reach, reach)

    def _minima(self) -> Array:
        return cosine_wells(self.curvature, 1.0, self.frequency, self._bounds()[1])


def cosine_wells(curvature: float, amplitude: float, frequency: float, reach: float) -> Array:
    """Every minimum in [-reach, reach] of c x^2 + A (1 - cos f x), the lowest first.

    With t = f x its slope is proportional to s(t) = a t + sin t, a = 2 c/(A f^2). The k-th well, if any, is the root
    of s in (2 pi k - arccos(-a), 2 pi k), where s rises from a negative value to a positive one; for a >= 1 only the
    origin is left.
    """
    from scipy.optimize import brentq  # slow to import, and minima are seldom asked for

    a = 2.0 * curvature / (amplitude * frequency**2)
    wells = [0.0]
    for k in itertools.count(1):
        left = 2.0 * math.pi * k - math.acos(max(-a, -1.0))
        if left > frequency * reach or a * left + math.sin(left) >= 0.0:
            break
        t = brentq(lambda t: a * t + math.sin(t), left, 2.0 * math.pi * k, xtol=1e-14)
        x = (t - (a * t + math.sin(t)) / (a + math.cos(t))) / frequency
        if x <= reach:
            wells += [-x, x]
    return np.array(wells)
