"""The modes of a training and the events between them: explore, one exploit mode a goal, and the ways onwards and back."""

from __future__ import annotations

import math
from typing import Any

from phdyn.errors import ArgumentError
from phdyn.events import Event, LossGoal, name_of
from phdyn.training import triggers

EXPLORE = "explore"
_STATE = ("mode", "entered", "reference", "watched", "raw_reached", "closest")


class Modes:
    """In which mode a training is, and what is watched there.

    Parameters
    ----------
    goals : tuple of events
        What leads from each mode to the next.
    fallback, reexplore : event or None
        What also leads onwards, and what leads back to explore.
    names : list of str
        Of the modes, one more than goals.
    reference : float or None
        The loss that reductions refer to; the first estimate if None.

    Attributes
    ----------
    mode : str
        Where it is, since the step ``entered``.
    raw_reached : int or None
        The step at which a batch's loss was at the goal for the first time in this mode.
    closest : list of float
        The lowest estimate in this mode, its step, and the goal.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Events that a training cannot watch, a reference of which a goal is no reduction, a way back to a goal that would fire at once.
    """

    def __init__(
        self, goals: tuple[Event, ...], fallback: Event | None, reexplore: Event | None, names: list[str], reference: float | None
    ) -> None:
        self.goals, self.fallback, self.reexplore, self.names = goals, fallback, reexplore, names
        self._check(reference)
        self.mode, self.entered = names[0], 0
        self.reference = math.nan if reference is None else float(reference)
        self.raw_reached: int | None = None
        self.closest: list[float] = [math.inf, math.nan, math.nan]
        self.watched = self._watched(0, math.nan)

    def _check(self, reference: float | None) -> None:
        for k, goal in enumerate(self.goals):
            triggers.check_trigger(goal, "the goal" if len(self.goals) == 1 else f"goal {k + 1}")
            if reference is not None and isinstance(goal, LossGoal):
                goal.level(reference)
        for name, event in (("the fallback", self.fallback), ("reexplore", self.reexplore)):
            if event is not None:
                triggers.check_trigger(event, name)
        if self.reexplore is not None and isinstance(self.goals[0], LossGoal) and self.goals[0].value is not None:
            raise ArgumentError(f"{self.goals[0]} would fire again as soon as reexplore leads back: with reexplore give a reduction")

    @property
    def index(self) -> int:
        """Number of the mode: 0 is explore."""
        return self.names.index(self.mode)

    def goal(self) -> LossGoal | None:
        """Return the goal of this mode, if it is one on the loss."""
        goal = self.goals[self.index] if self.index < len(self.goals) else None
        return goal if isinstance(goal, LossGoal) else None

    def see(self, step: int, now: float) -> None:
        """Take the first estimate, as the reference if there is none.

        Raises
        ------
        ArgumentError
            It meets the goal already, or is no loss of which a goal is a reduction.
        """
        if math.isnan(self.reference):
            self.reference = now
            self.watched = self._watched(step, now)
        goal = self.goal()
        if goal is not None and self.index == 0 and now <= self.watched[0][0]:
            raise ArgumentError(f"the goal {goal} is met at the start already (loss {now:.6g}): choose a lower one, or set it at once")

    def look(self, step: int, loss: float, now: float) -> tuple[Event, str] | None:
        """Return the event that fires at a step, and where it leads; every memory sees the estimate."""
        self._note(step, loss, now)
        pairs = zip(self._edges(), self.watched, strict=True)
        fired = [edge for edge, memory in pairs if triggers.fires(edge[0], memory, step - self.entered, now)]
        return fired[0] if fired else None

    def enter(self, target: str, step: int, now: float) -> None:
        """Go to a mode; in explore reductions refer to the estimate of that moment."""
        if target == self.names[0]:
            self.reference = now
        self.mode, self.entered = target, step
        self.raw_reached, self.closest = None, [math.inf, math.nan, math.nan]
        self.watched = self._watched(step, now)

    def way_back_from(self, now: float) -> bool:
        """Say whether the first goal is a reduction of an estimate."""
        return not isinstance(self.goals[0], LossGoal) or now > self.goals[0].floor

    def kind(self) -> str:
        """Return what a state must agree with."""
        events = [name_of(event) if event is not None else "none" for event in (*self.goals, self.fallback, self.reexplore)]
        return f"modes {', '.join(self.names)}; events {', '.join(events)}"

    def state(self) -> dict[str, Any]:
        """Return what `load` needs, as plain data."""
        return {name: _copied(getattr(self, name)) for name in _STATE}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        for name in _STATE:
            setattr(self, name, _copied(state[name]))

    def none(self, count: int) -> str:
        """Return what is to be said where there was no switch."""
        goal = self.goals[min(self.index, len(self.goals) - 1)]
        if not math.isfinite(self.closest[0]):
            return f"no switch: {name_of(goal)} not reached in {count} steps"
        loss, step, level = self.closest
        return f"no switch: {name_of(goal)} not reached; closest was loss {loss:.4f} at step {step:.0f}, goal {level:.4f}"

    def _watched(self, step: int, now: float) -> list[triggers.Memory]:
        return [triggers.enter(event, step - self.entered, now, self.reference) for event, _ in self._edges()]

    def _edges(self) -> list[tuple[Event, str]]:
        """Return what is watched in this mode, and where it leads: the goal and the fallback to the next mode, the way back."""
        k = self.index
        onwards = [(event, self.names[k + 1]) for event in (self.goals[k], self.fallback)] if k < len(self.goals) else []
        back = [(self.reexplore, self.names[0])] if k else []
        return [(event, target) for event, target in (*onwards, *back) if event is not None]

    def _note(self, step: int, loss: float, now: float) -> None:
        if self.goal() is None or math.isnan(level := self.watched[0][0]):
            return
        if self.raw_reached is None and loss <= level:
            self.raw_reached = step
        if now < self.closest[0]:
            self.closest = [now, step, level]


def _copied(value: Any) -> Any:
    """Return lists of their own."""
    return [_copied(entry) for entry in value] if isinstance(value, list) else value
