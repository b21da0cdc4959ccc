"""Discrete gradients of an energy: vectors DV(a, b) with ``DV . (b - a) = V(b) - V(a)`` exactly, and DV(a, a) = grad V(a)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final, TypeAlias

import numpy as np

from phdyn.motion import Motion
from phdyn.typing import Array

FEWEST_NODES: Final = 4
MOST_NODES: Final = 64
"""Gauss-Legendre nodes of the averaged gradient: where so many do not do, V is not smooth, and the balance will tell."""

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
        self.nodes, self.settled = FEWEST_NODES, False

    def rounding(self, *heights: float) -> float:
        """Return what differences of V lose by rounding: four times eps of its values."""
        return 4 * float(self.motion.vectors.eps) * sum(map(abs, heights))


def gonzalez(ends: Ends, b: Array) -> Array:
    """Return the midpoint gradient with what it misses added along b - a (Gonzalez 1996, J. Nonlinear Sci. 6, 449).

    What is missing is left out where it is no more than the rounding of V: divided by |b - a| that would be noise.
    """
    motion, d = ends.motion, b - ends.a
    vectors = motion.vectors
    slope = vectors.clone(motion.gradient(ends.a + 0.5 * d)[1])
    height = motion.value(b)
    missing = height - ends.height - float(vectors.dot(slope, d))
    square = float(vectors.dot(d, d))
    if square > 0 and not abs(missing) <= ends.rounding(height, ends.height):
        vectors.axpy(missing / square, d, slope)
    return slope


def averaged(ends: Ends, b: Array) -> Array:
    """Return the average of the gradient along the segment from a to b, by Gauss-Legendre nodes.

    McLachlan, Quispel & Robidoux 1999, Phil. Trans. R. Soc. A 357, 1021; as a method: Quispel & McLaren 2008, J. Phys. A 41, 045206.
    Four nodes at first. They are doubled, for the rest of the step, as long as that brings the change of V nearer: until the quadrature's
    error is rounding, of V or of its own.
    """
    d = b - ends.a
    slope = _average(ends, d, ends.nodes)
    if ends.settled:
        return slope
    height = ends.motion.value(b)
    missing = _missing(ends, slope, d, height)
    while missing > ends.rounding(height, ends.height) and ends.nodes < MOST_NODES:
        finer = _average(ends, d, 2 * ends.nodes)
        left = _missing(ends, finer, d, height)
        if left > 0.5 * missing:  # it is V that is rounded, or not smooth
            ends.settled = True
            return slope
        ends.nodes, slope, missing = 2 * ends.nodes, finer, left
    return slope


def _average(ends: Ends, d: Array, nodes: int) -> Array:
    total = 0.0 * d
    for place, weight in _legendre(nodes):
        ends.motion.vectors.axpy(weight, ends.motion.gradient(ends.a + place * d)[1], total)
    return total


def _missing(ends: Ends, slope: Array, d: Array, height: float) -> float:
    return abs(float(ends.motion.vectors.dot(slope, d)) - (height - ends.height))


@cache
def _legendre(nodes: int) -> list[tuple[float, float]]:
    """Return places and weights on [0, 1]."""
    places, weights = np.polynomial.legendre.leggauss(nodes)
    return list(zip((0.5 + 0.5 * places).tolist(), (0.5 * weights).tolist(), strict=True))


def itoh_abe(ends: Ends, b: Array) -> Array:
    """Return quotients of differences of V, one coordinate after the other (Itoh & Abe 1988, J. Comput. Phys. 76, 85).

    It needs n values of V, and a gradient for each coordinate along which V changes too little for a good quotient.
    """
    return _staircase(ends, ends.a, b, ends.height)


def itoh_abe_symmetric(ends: Ends, b: Array) -> Array:
    """Return the mean of Itoh and Abe's discrete gradients from a to b and from b to a: symmetric, so of order 2."""
    there = _staircase(ends, ends.a, b, ends.height)
    back = _staircase(ends, b, ends.a, ends.motion.value(b))
    return 0.5 * (there + back)


def _staircase(ends: Ends, a: Array, b: Array, height: float) -> Array:
    motion = ends.motion
    place, few = motion.vectors.clone(a), float(motion.vectors.eps) ** (1 / 3)
    quotients = 0.0 * place
    for i in range(len(place)):
        start, end = float(place[i]), float(b[i])
        before, step = height, end - start
        if step != 0:
            place[i] = end
            height = motion.value(place)
        change = height - before
        if step == 0 or abs(change) <= few * (abs(height) + abs(before)):  # a quotient of few digits
            place[i] = 0.5 * (start + end)
            slope = float(motion.gradient(place)[1][i])
            place[i] = end
            if step == 0 or 4 * abs(change - slope * step) <= ends.rounding(height, before):  # one of many: less is allowed
                quotients[i] = slope
                continue
        quotients[i] = change / step
    return quotients
