"""The landscapes of wells.py: their starts, their own unit of time, and how much of them a ball at rest can leave.

From rest V <= V(q0) on the whole way, friction or not: a start reaches the global well only over barriers below its own height. Where V is
a sum over coordinates, each coordinate moves on its own but for the time of the switch, and its own share of the energy never grows: the
bound then holds coordinate by coordinate, which is sharper. An integrator that takes more starts there steps too coarsely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from phdyn.potentials import Ackley, MultiWell, Rastrigin, StyblinskiTang


@dataclass(frozen=True)
class Case:
    """A landscape with one global well.

    Attributes
    ----------
    potential : Landscape
        V.
    box : (low, high)
        The same for all coordinates: starts are uniform in it.
    frequency : float
        Square root of the largest curvature in the box (of Ackley's: without the cone at its minimum).
    coordinate : Landscape, optional
        V of one coordinate, where V is a sum of these.
    """

    potential: Any
    box: tuple[float, float]
    frequency: float
    coordinate: Any = None

    @property
    def unit(self) -> float:
        """Unit of time, that of the multi-well being 1: its stiffest oscillation then takes equally many units in each landscape."""
        return CASES["multi-well"].frequency / self.frequency

    @property
    def minimum(self) -> float:
        """V at the global minimum."""
        return float(self.potential.minimum_values[0])

    @property
    def second(self) -> float:
        """V at the second-lowest minimum: where V is lower one can only be in the global well."""
        higher = self.potential.minimum_values[self.potential.minimum_values > self.minimum + 1e-9]
        return float(higher.min()) if len(higher) else second_on_axis(self.potential)

    @property
    def success(self) -> float:
        """V below which a run has ended in the global well: the second-lowest minimum, less a hundredth that rounding does not bridge."""
        return self.second - 0.01 * (self.second - self.minimum)

    def starts(self, count: int, seed: int) -> np.ndarray:
        """Return positions (count, n), uniform in the box."""
        return np.random.default_rng(seed).uniform(*self.box, (count, self.potential.dim))

    def reachable(self, q0: np.ndarray) -> np.ndarray | None:
        """Say for which starts (count, n) the global well is in reach; None where it is not known start by start."""
        if self.coordinate is None:
            return None
        reach = np.ones(len(q0), dtype=bool)
        for side in (-1, 1):
            x, highest = highest_on_the_way(self.coordinate, self.box, side)
            for q in q0.T:
                beyond = side * (q - x[0]) > 0
                on_the_way = np.interp(side * q, side * x, highest)
                reach &= ~beyond | (self.coordinate.value(q[:, None]) >= on_the_way - 1e-6)
        return reach

    def ceiling(self) -> float:
        """Return the fraction of starts from which the global well is in reach; to five digits where V is a sum, else on a grid."""
        if self.coordinate is None:
            return reachable_on_grid(self.potential, self.box[1], 656)
        length = 0.0
        for side in (-1, 1):
            x, highest = highest_on_the_way(self.coordinate, self.box, side)
            length += abs(x[-1] - x[0]) * float(np.mean(self.coordinate.value(x[:, None]) >= highest))
        return (length / (self.box[1] - self.box[0])) ** self.potential.dim


def highest_on_the_way(coordinate: Any, box: tuple[float, float], side: int, points: int = 1_000_001) -> tuple[np.ndarray, np.ndarray]:
    """Return x from the global minimum to an end of the box, and the largest V between that minimum and x."""
    x = np.linspace(coordinate.minima[0, 0], box[max(side, 0)], points)
    return x, np.maximum.accumulate(coordinate.value(x[:, None]))


def second_on_axis(potential: Any) -> float:
    """Return V at the minimum next to a global one at the origin, near the first unit vector (Ackley)."""
    from scipy.optimize import minimize_scalar

    along = np.eye(potential.dim)[0]
    return float(minimize_scalar(lambda x: potential.value(x * along), bounds=(0.6, 1.4), method="bounded", options={"xatol": 1e-9}).fun)


def reachable_on_grid(potential: Any, reach: float, points: int) -> float:
    """Return the fraction of a grid on [0, reach]^2 from which a path that never rises above its start leads to the origin.

    For a landscape symmetric in each coordinate, whose paths fold into that quarter. The lowest passes run along a minimum spanning tree.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

    axis = np.linspace(0.0, reach, points)
    V = potential.value(np.stack(np.meshgrid(axis, axis), -1))
    node = np.arange(V.size).reshape(V.shape)
    pairs = ((node[1:], node[:-1]), (node[:, 1:], node[:, :-1]), (node[1:, 1:], node[:-1, :-1]), (node[1:, :-1], node[:-1, 1:]))
    a, b = (np.concatenate([pair[k].ravel() for pair in pairs]) for k in (0, 1))
    height = V.ravel() - V.min() + 1.0  # a weight of zero would be no edge
    tree = minimum_spanning_tree(coo_array((np.maximum(height[a], height[b]), (a, b)), shape=(V.size, V.size)).tocsr())
    order, before = breadth_first_order(tree, 0, directed=False)
    highest = height.tolist()
    for k, parent in zip(order[1:].tolist(), before[order[1:]].tolist(), strict=True):
        highest[k] = max(highest[k], highest[parent])
    return float(np.mean(height >= np.array(highest)))


CASES = {
    "multi-well": Case(MultiWell(), (-10.0, 10.0), 3.017, MultiWell()),
    "Ackley": Case(Ackley(), (-32.768, 32.768), 7.3),
    "Ackley within 5": Case(Ackley(), (-5.0, 5.0), 7.3),
    "Styblinski-Tang": Case(StyblinskiTang(), (-5.0, 5.0), 11.58, StyblinskiTang(1)),
    "Rastrigin": Case(Rastrigin(), (-5.12, 5.12), 19.92, Rastrigin(1)),
}
