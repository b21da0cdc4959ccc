"""An edge of a mode graph: which event leads from one mode to another, and what happens to the state on the way."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from phdyn.actions import Action, RebaseGoal, as_actions
from phdyn.errors import ArgumentError
from phdyn.events import Event, check_event


@dataclass(frozen=True)
class Transition:
    """A switch from one mode to another (or back into the same).

    Parameters
    ----------
    source, target : str
        Names of modes.
    event : event
        What fires it: a LossGoal, another of ``phdyn.events``, or scipy's ``event(t, x)``. A LossGoal that is met when its mode is entered
        fires at once; any other waits for a crossing.
    action : callable, action or list of them, optional
        What happens to the state: ``action(t, x) -> x``, or one of ``phdyn.events``. The change of H is the switch's injected energy.
    min_dwell : float
        For how long after the entry of its mode the event is not watched.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        No event, no action, or a dwell time that is negative or not finite.
    """

    source: str
    target: str
    event: Event
    action: Action = None
    _: KW_ONLY
    min_dwell: float = 0.0

    def __post_init__(self) -> None:
        check_event(self.event, f"the transition {self.source} -> {self.target}")
        as_actions(self.action)
        if not 0 <= self.min_dwell < float("inf"):
            raise ArgumentError(f"the transition {self.source} -> {self.target}: min_dwell={self.min_dwell}: a finite time >= 0 is needed")

    @property
    def jumps(self) -> tuple[Any, ...]:
        """The actions on the state, in order."""
        return tuple(part for part in as_actions(self.action) if not isinstance(part, RebaseGoal))

    @property
    def rebases(self) -> bool:
        """Whether reductions refer to the loss at this switch from then on."""
        return len(self.jumps) < len(as_actions(self.action))
