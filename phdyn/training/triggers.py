"""phdyn's events on a stochastic training: time is counted in steps, and V is an estimate of the loss."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

from phdyn.errors import ArgumentTypeError
from phdyn.events import Event, Guard, LossGoal, Stagnation, time_of

Memory = list[float]


def check_trigger(event: Any, what: str) -> None:
    """Refuse events that need more than a loss and a number of steps.

    Raises
    ------
    ArgumentTypeError
        With what is possible.
    """
    needed = "LossGoal, TimeReached (in steps), Stagnation (patience in steps) or a Guard on point.t and point.potential is needed"
    if not isinstance(event, (LossGoal, Guard, Stagnation)) or isinstance(event, type):
        raise ArgumentTypeError(f"{what} of a GoalScheduler is {event!r}: {needed}")
    if isinstance(event, LossGoal) and event.batch is not None:
        raise ArgumentTypeError(f"{what} of a GoalScheduler is one goal, not those of {event.batch} trajectories")
    if isinstance(event, Guard):
        try:
            value = event.function(SimpleNamespace(t=0.0, potential=1.0))  # type: ignore[arg-type]
        except AttributeError as error:
            raise ArgumentTypeError(f"{what} of a GoalScheduler is {event}, which asks for more than a loop knows: {needed}") from error
        if isinstance(value, bool):
            raise ArgumentTypeError(f"{what} of a GoalScheduler is {event}, which returns a bool: a number is needed, zero at the event")


def enter(event: Event, step: int, loss: float, reference: float) -> Memory:
    """Return the memory of an event whose mode is entered; loss and reference are nan where they are not known yet."""
    if isinstance(event, LossGoal):
        return [math.nan if math.isnan(reference) else event.level(reference)]
    if isinstance(event, Stagnation):
        return [step, loss]
    return [_side(event, step, loss)]


def fires(event: Event, memory: Memory, step: int, loss: float) -> bool:
    """Say whether an event fires at a step, and keep in its memory what the next call needs.

    ``step`` counts from where the mode was entered. A time that has come fires whatever the loss.
    """
    if (time := time_of(event)) is not None:
        return step >= time
    if math.isnan(loss):
        return False
    if isinstance(event, LossGoal):
        return loss <= memory[0]
    if isinstance(event, Stagnation):
        return _stagnates(event, memory, step, loss)
    before, now = memory[0], _side(event, step, loss)
    memory[0] = now or before
    crossed = before != 0 and now != before
    return crossed and event.direction * before <= 0


def _stagnates(event: Stagnation, memory: Memory, step: int, loss: float) -> bool:
    since, lowest = memory
    if math.isnan(lowest) or lowest - event.tolerance * abs(lowest) > loss:
        memory[:] = step, loss
        return False
    return step - since >= event.patience


def _side(event: Any, step: int, loss: float) -> float:
    """Return the sign of a guard; 0 where it is zero, or not a number."""
    value = float(event.function(SimpleNamespace(t=float(step), potential=loss)))
    return 0.0 if math.isnan(value) else float((value > 0) - (value < 0))
