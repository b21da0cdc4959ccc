"""phdyn's events on a stochastic training: time is counted in steps, and V is an estimate of the loss."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

from phdyn.errors import ArgumentTypeError
from phdyn.events import Event, Guard, LossGoal, Stagnation

Memory = list[float]


def check_trigger(event: Any, what: str) -> None:
    """Refuse events that need more than a loss and a number of steps."""
    if not isinstance(event, (LossGoal, Guard, Stagnation)) or isinstance(event, type):
        raise ArgumentTypeError(
            f"{what} of a GoalScheduler is {event!r}: LossGoal, TimeReached (in steps), Stagnation (patience in steps) or a Guard "
            "on point.t and point.potential is needed"
        )
    if isinstance(event, LossGoal) and event.batch is not None:
        raise ArgumentTypeError(f"{what} of a GoalScheduler is one goal, not those of {event.batch} trajectories")


def enter(event: Event, step: int, loss: float, reference: float) -> Memory:
    """Return the memory of an event whose mode is entered; ``loss`` is the estimate then, nan where not known yet."""
    if isinstance(event, LossGoal):
        return [event.level(reference)]
    if isinstance(event, Stagnation):
        return [step, loss]
    return [_side(event, step, loss)]


def fires(event: Event, memory: Memory, step: int, loss: float) -> bool:
    """Say whether an event fires at a step, and keep in its memory what the next call needs."""
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
