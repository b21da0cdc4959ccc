"""Hybrid automata: modes that are systems, and transitions between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from phdyn.errors import ArgumentError, ArgumentTypeError
from phdyn.friction import SwitchedFriction
from phdyn.transitions import Transition


class HybridAutomaton:
    """Modes with a system each, and transitions between them; in each mode only its own transitions are watched.

    Parameters
    ----------
    modes : dict
        Name to system: HeavyBall (of one constant or scheduled friction), GradientFlow, PortHamiltonianSystem, or ``fun(t, x)``; all of
        one kind, and of one size.
    transitions : sequence of Transition
        The edges.
    initial : str
        The mode at the start.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        No modes, systems of several kinds, a name that is not a mode's.

    Notes
    -----
    The framework is that of Goebel, Sanfelice & Teel, Hybrid Dynamical Systems (2012): flows in modes, jumps at guards. Infinitely many
    jumps in finite time (Zeno) end a run with status -4, which names the times.
    """

    def __init__(self, modes: Mapping[str, Any], transitions: Sequence[Transition], *, initial: str) -> None:
        self.modes = dict(modes)
        self.transitions = list(transitions)
        self.initial = initial
        if not self.modes:
            raise ArgumentError("a HybridAutomaton needs modes, {name: system}")
        kinds = {type(system).__name__ for system in self.modes.values()}
        if len(kinds) > 1:
            raise ArgumentTypeError(f"the modes of a HybridAutomaton are of one kind, not {', '.join(sorted(kinds))}")
        for name, system in self.modes.items():
            if isinstance(system, HybridAutomaton) or isinstance(getattr(system, "friction", None), SwitchedFriction):
                raise ArgumentTypeError(f"mode '{name}' switches by itself: write its modes and transitions into the automaton")
        for edge in self.transitions:
            if not isinstance(edge, Transition):
                raise ArgumentTypeError(f"transitions are phdyn.Transition(source, target, event), not {edge!r}")
        for name in [initial, *(end for edge in self.transitions for end in (edge.source, edge.target))]:
            if name not in self.modes:
                raise ArgumentError(f"there is no mode {name!r}; there are {', '.join(map(repr, self.modes))}")

    def __getattr__(self, name: str) -> Any:
        """Answer for the system of the initial mode: its potential, energy, mass, input, units."""
        if name.startswith("__") or "modes" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.modes[self.initial], name)

    def __repr__(self) -> str:
        return f"HybridAutomaton({', '.join(f'{name}: {system!r}' for name, system in self.modes.items())})"
