"""Solution: what scipy's OdeResult has, with energies, modes and switches; saved to and loaded from one file."""

from phdyn.solution.dense import DenseOutput, DenseOutputs
from phdyn.solution.file import load
from phdyn.solution.result import Solution
from phdyn.solution.state import Guarded, State, recalled

__all__ = ["DenseOutput", "DenseOutputs", "Guarded", "Solution", "State", "load", "recalled"]
