"""Potentials V(q): cited landscapes, plain torch functions, and the loss of a network.

A potential has `dim` (or None), ``value(q)`` and ``value_and_grad(q)``, with positions (..., dim) and values (...). Those here
have ``hvp(q, v)`` too, the Hessian times a vector; ``potentials.hvp(V, q, v)`` is that of any, an object of yours included.
"""

from phdyn.potentials.function import FunctionPotential, as_potential
from phdyn.potentials.landscapes import Ackley, Himmelblau, Rastrigin, Rosenbrock, StyblinskiTang
from phdyn.potentials.molecular import LennardJones, MullerBrown
from phdyn.potentials.network import NetworkLoss
from phdyn.potentials.products import hvp
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
    "hvp",
]
