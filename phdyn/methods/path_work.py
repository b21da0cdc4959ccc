"""The work of the gradient along a splitting's path, from the gradients that its kicks have evaluated: ``int grad V . dq``.

The energy residual of a heavy ball under a splitting has two parts (DESIGN.md 1 has the balance; T changes by the kicks and by friction
alone): ``T - T0 + dissipated - supplied + int grad V . dq``, what the scheme misses, and ``V - V0 - int grad V . dq``, what the gradient
misses of V. Between the ends of a step the integral of a gradient does not depend on the path; so positions and gradients at the kicks are
both fitted by polynomials in time, over the step and, for methods of few stages, over the last ones. For a quadratic V this is exact, for
whatever path: a fit is linear, and so is then the gradient. Two rules of different degree tell how far the integral is known.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.polynomial import chebyshev

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

_FEWEST: Final = 6
"""Nodes of a fit, once there are so many since the start or the last switch."""

_DEGREES: Final = (6, 4)
"""Highest degrees of the two rules: higher ones swing between the kicks of a method of many stages, which are not in order of time."""


class PathWork:
    """The work of the gradient along the path of one stretch, step by step.

    Parameters
    ----------
    t : float
        Where the stretch starts.
    q, g : (n,) arrays
        Position and gradient there, float64; both are kept.
    """

    def __init__(self, t: float, q: FloatArray, g: FloatArray) -> None:
        self.base = q
        self.times = [t]
        self.places, self.gradients = [np.zeros_like(q)], [g]
        self.products = np.zeros((1, 1))
        self.opened = True  # whether the first node is where the stretch starts
        self.total = self.total_before = np.zeros(2)
        self.before = 1

    def begin(self) -> None:
        """Begin a step where the last one ended."""
        stages = len(self.times) - self.before
        surplus = len(self.times) - max(1, _FEWEST - stages) if stages else 0
        if surplus > 0:
            for kept in (self.times, self.places, self.gradients):
                del kept[:surplus]
            self.products = self.products[surplus:, surplus:]
            self.opened = False
        self.before, self.total_before = len(self.times), self.total

    def fork(self) -> PathWork:
        """Return what was known when the step began, for another step from the same start."""
        other, k = object.__new__(PathWork), self.before
        other.base, other.opened, other.before = self.base, self.opened, k
        other.total = other.total_before = self.total_before
        other.times, other.places, other.gradients = self.times[:k], self.places[:k], self.gradients[:k]
        other.products = self.products[:k, :k]
        return other

    def visit(self, t: float, q: Any, g: Any) -> None:
        """Take note of a kick's position and gradient, which are copied."""
        place, gradient = np.array(q, dtype=np.float64) - self.base, np.array(g, dtype=np.float64)
        k = len(self.times)
        products = np.empty((k + 1, k + 1))
        products[:k, :k] = self.products
        self.times.append(t)
        self.places.append(place)
        self.gradients.append(gradient)
        products[k] = [gradient @ other for other in self.places]
        products[:k, k] = [other @ place for other in self.gradients[:-1]]
        self.products = products

    def work(self) -> tuple[float, float]:
        """Return the work along the step that ends with the last kick, by both rules.

        While there are few nodes, all that came before is fitted anew with them: the step then makes up for what the first ones missed.
        """
        times = np.array(self.times)
        scale = times[-1] - times[self.before - 1]
        places = tuple(np.round((times - times[-1]) / scale, 12))
        start = 0 if self.opened else self.before - 1
        found = np.array([float(np.sum(weights * self.products)) for weights in _rules(places, start)])
        if self.opened:
            found, self.total = found - self.total, found
        return float(found[0]), float(found[1])


@lru_cache(maxsize=512)
def _rules(places: tuple[float, ...], start: int) -> tuple[FloatArray, FloatArray]:
    """Return the weights of g_i . q_j in the work from a node to the last one, by both rules."""
    count = len(places)
    return tuple(_weights(np.array(places), start, min(count - 1 - k, degree)) for k, degree in enumerate(_DEGREES))


def _weights(places: FloatArray, start: int, degree: int) -> Any:
    """Return the weights of g_i . q_j for one degree: along the fit, and straight from the nodes at both ends to it."""
    middle, half = (places.max() + places.min()) / 2, (places.max() - places.min()) / 2
    u = (places - middle) / half
    fit = np.linalg.pinv(chebyshev.chebvander(u, degree))
    nodes, gauss = np.polynomial.legendre.leggauss(degree + 1)
    length = (u[-1] - u[start]) / 2
    along = chebyshev.chebvander((u[-1] + u[start]) / 2 + length * nodes, degree)
    slopes = chebyshev.chebval((u[-1] + u[start]) / 2 + length * nodes, chebyshev.chebder(np.eye(degree + 1))).T if degree else 0 * along
    weights = (along @ fit).T @ ((length * gauss)[:, None] * (slopes @ fit))
    for node, sign in ((start, 1.0), (len(u) - 1, -1.0)):
        here = np.eye(len(u))[node]
        fitted = chebyshev.chebvander(u[node : node + 1], degree)[0] @ fit
        weights = weights + sign * np.outer(here + fitted, fitted - here) / 2
    return weights
