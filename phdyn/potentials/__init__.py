"""Potentials V(q): cited landscapes, plain torch functions, and the loss of a network.

A potential has `dim` (or None), ``value(q)`` and ``value_and_grad(q)``, with positions (..., dim) and values (...).
"""

from phdyn.potentials.function import FunctionPotential, as_potential
from phdyn.potentials.landscapes import Ackley, Himmelblau, Rastrigin, Rosenbrock, StyblinskiTang
from phdyn.potentials.molecular import LennardJones, MullerBrown
from phdyn.potentials.network import NetworkLoss
from phdyn.potentials.wells import DoubleWell, MultiWell, Quadratic

__all__ = [
    "Ackley",
    "DoubleWell",
    "FunctionPotential",
    "Himmelblau",
    "LennardJones",
    "MullerBrown",
    "MultiWell",
    "NetworkLoss",
    "Quadratic",
    "Rastrigin",
    "Rosenbrock",
    "StyblinskiTang",
    "as_potential",
]
