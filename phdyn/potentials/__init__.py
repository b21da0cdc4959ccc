"""Potentials V(q): cited landscapes, plain torch functions, and the loss of a network.

A potential has `dim` (or None), ``value(q)`` and ``value_and_grad(q)``, with positions (..., dim) and values (...), and ``hvp(q, v)``, the
Hessian times a vector: an object of yours without one gets it from differences of its gradients.
"""

from phdyn.potentials.function import FunctionPotential, as_potential
from phdyn.potentials.landscapes import Ackley, Himmelblau, Rastrigin, Rosenbrock, StyblinskiTang
from phdyn.potentials.molecular import LennardJones, MullerBrown
from phdyn.potentials.network import NetworkLoss
from phdyn.potentials.sharpness import Sharpness
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
    "Sharpness",
    "StyblinskiTang",
    "as_potential",
]
