"""Discretizations, one family a file, and the catalogue that knows them by name."""

from phdyn.methods.catalogue import get, names, register, table
from phdyn.methods.collocation import ImplicitTableau
from phdyn.methods.exact import DiscreteGradientMethod
from phdyn.methods.runge_kutta import ButcherTableau
from phdyn.methods.splitting import Splitting
from phdyn.typing import Method

__all__ = ["ButcherTableau", "DiscreteGradientMethod", "ImplicitTableau", "Method", "Splitting", "get", "names", "register", "table"]
