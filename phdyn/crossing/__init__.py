"""What happens inside a step: a watch bound to each event, and detection. It knows steps, not methods.

A watch remembers the *side* of its guard. It fires when the sign at the next probe differs from the side and the direction allows; the
side is then set by decree, so that rounding at the located root can neither fire it again nor lose it.
"""

from __future__ import annotations

from typing import Any

from phdyn.crossing.clock import BudgetWatch, StagnationWatch
from phdyn.crossing.goal import GoalWatch
from phdyn.crossing.guard import GuardWatch
from phdyn.crossing.watch import ONE, Watch
from phdyn.errors import ArgumentError
from phdyn.events import Budget, Event, Guard, LossGoal, Stagnation
from phdyn.motion import Motion

__all__ = ["ONE", "BudgetWatch", "GoalWatch", "GuardWatch", "StagnationWatch", "Watch", "watch"]


def watch(event: Event, motion: Motion, reference: Any, *, count: int = 1, **place: Any) -> Watch:
    """Bind an event to a run of ``count`` trajectories; ``reference`` is V at its start, a number or one each."""
    if isinstance(event, LossGoal):
        return GoalWatch(event, motion, reference, count=count, **place)
    if isinstance(event, Stagnation):
        if not motion.has_energy:
            raise ArgumentError(f"{event} watches a potential, and a plain fun(t, x) has none: write an event(t, x)")
        return StagnationWatch(event, motion, count=count, **place)
    if isinstance(event, Budget):
        return BudgetWatch(event, motion, count=count, **place)
    if not (isinstance(event, Guard) or callable(event)):
        raise ArgumentError(f"an event is a function event(t, x), a Guard or a LossGoal, not {event!r}")
    return GuardWatch(event, motion, count=count, **place)
