"""phdyn: training a neural network as a port-Hamiltonian ODE, the heavy ball with friction that brakes at its goal."""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

from phdyn import descents, events, methods, potentials
from phdyn.automaton import HybridAutomaton
from phdyn.errors import (
    ArgumentError,
    ArgumentTypeError,
    DataError,
    EnergyBalanceError,
    EnergyWarning,
    MissingExtraError,
    OverruledWarning,
    PhdynError,
    StabilityWarning,
)
from phdyn.events import LossGoal
from phdyn.friction import ConstantFriction, NesterovFriction, ScheduledFriction, SwitchedFriction
from phdyn.kinetic import RelativisticKinetic
from phdyn.matrix_free import MatrixFree
from phdyn.potentials import NetworkLoss
from phdyn.recording import Every
from phdyn.simulate import simulate
from phdyn.solution import Solution, load
from phdyn.stability import suggest_step
from phdyn.systems import GradientFlow, HeavyBall, PortHamiltonianSystem, Sampled, Steps, at_rest
from phdyn.transitions import Transition

if TYPE_CHECKING:
    from phdyn import data, networks, plots, runs, studies, training
    from phdyn.plots import plot_energy

__version__ = metadata.version("phdyn")
_ON_FIRST_USE = ("data", "networks", "plots", "runs", "studies", "training")

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "ConstantFriction",
    "DataError",
    "EnergyBalanceError",
    "EnergyWarning",
    "Every",
    "GradientFlow",
    "HeavyBall",
    "HybridAutomaton",
    "LossGoal",
    "MatrixFree",
    "MissingExtraError",
    "NesterovFriction",
    "NetworkLoss",
    "OverruledWarning",
    "PhdynError",
    "PortHamiltonianSystem",
    "RelativisticKinetic",
    "Sampled",
    "ScheduledFriction",
    "Solution",
    "StabilityWarning",
    "Steps",
    "SwitchedFriction",
    "Transition",
    "__version__",
    "at_rest",
    "data",
    "descents",
    "events",
    "load",
    "methods",
    "networks",
    "plot_energy",
    "plots",
    "potentials",
    "runs",
    "simulate",
    "studies",
    "suggest_step",
    "training",
]


def __getattr__(name: str) -> Any:
    """Load what needs more than numpy, scipy and torch on first use."""
    if name in _ON_FIRST_USE:
        return import_module(f"phdyn.{name}")
    if name == "plot_energy":
        return import_module("phdyn.plots").plot_energy
    raise AttributeError(f"module 'phdyn' has no attribute '{name}'")
