"""Discrete gradients of an energy: vectors DV(a, b) with ``DV . (b - a) = V(b) - V(a)`` exactly, and DV(a, a) = grad V(a)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from phdyn.motion import Motion
from phdyn.typing import Array

FEWEST_NODES: Final = 4
MOST_NODES: Final = 64
"""Gauss-Legendre nodes of the averaged gradient: where so many do not do, V is not smooth, and the balance will tell."""

_ROUNDING: Final = 8

DiscreteGradient: TypeAlias = Callable[["Ends", Array], Array]
"""``function(ends, b)``: DV between the start of a step, ``ends.a``, and b."""


class Ends:
    """The start of a step: the position a, and V there.

    Parameters
    ----------
    motion : Motion
        Whose energy it is.
    a : (n,) array
        The position.
    height : float
        V there.
    """

    def __init__(self, motion: Motion, a: Array, height: float) -> None:
        self.motion, self.a, self.height = motion, a, height
        self.near = float(motion.vectors.eps) ** (1 / 3)
        """Increments below which a quotient of differences of V has fewer digits than the gradient at the midpoint: about 6e-6."""
        self.nodes = FEWEST_NODES

    def length(self, d: Array) -> float:
        """Return |d|."""
        return math.sqrt(self.motion.vectors.dot(d, d))


def gonzalez(ends: Ends, b: Array) -> Array:
    """Return the midpoint gradient with what it misses added along b - a (Gonzalez 1996, J. Nonlinear Sci. 6, 449)."""
    motion, d = ends.motion, b - ends.a
    vectors = motion.vectors
    slope = vectors.clone(motion.gradient(ends.a + 0.5 * d)[1])
    length = ends.length(d)
    if length <= ends.near:
        return slope
    missing = motion.value(b) - ends.height - float(vectors.dot(slope, d))
    vectors.axpy(missing / length**2, d, slope)
    return slope


def averaged(ends: Ends, b: Array) -> Array:
    """Return the average of the gradient along the segment from a to b, by Gauss-Legendre nodes.

    McLachlan, Quispel & Robidoux 1999, Phil. Trans. R. Soc. A 357, 1021; as a method: Quispel & McLaren 2008, J. Phys. A 41, 045206.
    Four nodes at first; they are doubled, for the rest of the step, until the quadrature's error is rounding: V at b tells.
    """
    vectors, d = ends.motion.vectors, b - ends.a
    height = ends.motion.value(b)
    while True:
        slope = _average(ends, d)
        missing = abs(float(vectors.dot(slope, d)) - (height - ends.height))
        if missing <= _ROUNDING * vectors.eps * (abs(height) + abs(ends.height)) or ends.nodes >= MOST_NODES:
            return slope
        ends.nodes *= 2


def _average(ends: Ends, d: Array) -> Array:
    places, weights = np.polynomial.legendre.leggauss(ends.nodes)
    total = 0.0 * d
    for place, weight in zip((0.5 + 0.5 * places).tolist(), (0.5 * weights).tolist(), strict=True):
        ends.motion.vectors.axpy(weight, ends.motion.gradient(ends.a + place * d)[1], total)
    return total


def itoh_abe(ends: Ends, b: Array) -> Array:
    """Return quotients of differences of V, one coordinate after the other (Itoh & Abe 1988, J. Comput. Phys. 76, 85).

    It needs n values of V, and where a coordinate moves less than `Ends.near` a gradient.
    """
    return _staircase(ends, ends.a, b, ends.height)


def itoh_abe_symmetric(ends: Ends, b: Array) -> Array:
    """Return the mean of Itoh and Abe's discrete gradients from a to b and from b to a: symmetric, so of order 2."""
    there = _staircase(ends, ends.a, b, ends.height)
    back = _staircase(ends, b, ends.a, ends.motion.value(b))
    return 0.5 * (there + back)


def _staircase(ends: Ends, a: Array, b: Array, height: float) -> Array:
    motion = ends.motion
    place = motion.vectors.clone(a)
    quotients = 0.0 * place
    for i in range(len(place)):
        start, end = float(place[i]), float(b[i])
        if abs(end - start) <= ends.near:
            place[i] = 0.5 * (start + end)
            quotients[i] = motion.gradient(place)[1][i]
            place[i] = end
            height = motion.value(place) if start != end else height
            continue
        place[i] = end
        higher = motion.value(place)
        quotients[i], height = (higher - height) / (end - start), higher
    return quotients

