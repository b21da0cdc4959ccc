"""Descents of the optimization literature as port-Hamiltonian systems, each with its own energy and the law that it obeys.

Each function returns a PortHamiltonianSystem ``x' = (J(x) - R(x)) grad E(x)`` with an energy E made of the potential and the state, a skew
J and a positive semidefinite R. So ``dE/dt = -grad E . R grad E``, which is what the energy account integrates, and every method for such a
system moves it. ``start(system, q)`` is the state to begin with.
"""

from phdyn.descents.born_infeld import born_infeld
from phdyn.descents.friction_adaptive import friction_adaptive
from phdyn.descents.inertial_newton import inertial_newton
from phdyn.descents.relativistic import relativistic
from phdyn.descents.state import start

__all__ = ["born_infeld", "friction_adaptive", "inertial_newton", "relativistic", "start"]
