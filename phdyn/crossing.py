"""What happens inside a step: a watch bound to each event, and detection. It knows steps, not methods.

A watch remembers the *side* of its guard. It fires when the sign at the next probe differs from the side and the direction allows; the
side is then set by decree, so that rounding at the located root can neither fire it again nor lose it.

A loss goal is a sublevel set that can be entered and left within one step: a minimum of V inside shows as ``dV/dt <= 0 < dV/dt`` at the
ends (``<=`` since runs start at rest), a coarse step as a change of V that its end slopes do not explain. Both are looked into only where a
free bound lets V reach the goal.

The tests are written with operators that act on numbers and on arrays over the rows of a batch alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from phdyn.errors import ArgumentError
from phdyn.events import Budget, Event, Guard, LossGoal, Stagnation, direction_of, name_of, terminal_count
from phdyn.location import EPS, Cut, bracketed_root, cubic_root, refine
from phdyn.methods.stepping import Step
from phdyn.motion import Halt, Knot, Motion
from phdyn.point import Point
from phdyn.transitions import Transition

_CLOSE = 1e-6
"""A residual beyond this share of the goal, at a crossing that the step's ends bracket, is no touch."""


_SOON = 1e-3
"""The fraction of a step after which a guard on which the state has landed is off zero."""


class Watch:
    """An event bound to a run.

    Parameters
    ----------
    event : Event
        What is watched for.
    motion : Motion
        The motion it is watched on.
    index : int or None
        Its place in ``events=``; None for the guard of a transition.
    transition : Transition or None
        The transition whose guard it is.
    """

    def __init__(self, event: Event, motion: Motion, *, index: int | None = None, transition: Transition | None = None) -> None:
        self.event, self.motion, self.index, self.transition = event, motion, index, transition
        self.source = None if transition is None else transition.source
        self.name = name_of(event)
        self.direction = direction_of(event)
        self.left = float("inf") if transition is not None else terminal_count(event)
        self.side = 0
        self.last = 0
        self.fired = 0
        self.closest, self.closest_time = float("nan"), float("nan")
        self.times: list[float] = []
        self.states: list[np.ndarray[Any, Any]] = []

    # --- the guard's value ----------------------------------------------------------------------------------------------------
    def value(self, knot: Knot) -> float:
        """Return the guard at a knot."""
        raise TypeError("a watch knows its guard")

    def start(self, knot: Knot) -> None:
        """Take the side at the start of a run; it never fires there."""
        self.side = self.last = _sign(self.value(knot))

    def land(self, knot: Knot) -> None:
        """Take up a guard that has fired and whose switch has made the state jump: its sign may be that of rounding."""
        self.start(knot)

    def settle(self, knot: Knot) -> None:
        """Take the side at a knot that has been examined."""
        self.last = _sign(self.value(knot))
        self.side = self.last or self.side

    def decree(self) -> None:
        """Set the side just entered, and count."""
        self.side = self.last = -self.side
        self.fired += 1
        self.left -= 1

    @property
    def rounding(self) -> float:
        """How far from zero the guard is zero for all that arithmetic can tell."""
        return 0.0

    def rate(self, part: Step, slope: Any) -> tuple[Any, Any]:
        """Return the guard's derivative in time at the end of a partial step, and whether the guard is only touched there."""
        return slope, False

    def allowed(self, sign: int) -> bool:
        """Say whether a change to this sign counts."""
        return self.direction == 0 or self.direction * sign > 0

    # --- detection and location -----------------------------------------------------------------------------------------------
    def suspects(self, step: Step) -> bool:
        """Say, cheaply, whether the step may hold an event; take the side at its end where not."""
        raise TypeError("a watch knows its guard")

    def locate(self, step: Step, after: float) -> Cut | None:
        """Return the first event in the part of the step after the fraction ``after``, or None."""
        raise TypeError("a watch knows its guard")


class StagnationWatch(Watch):
    """The watch of a Stagnation: its memory is the lowest V and when that was reached, at step ends."""

    event: Stagnation

    def start(self, knot: Knot) -> None:
        """See Watch; the clock starts."""
        self.side = self.last = 1
        self.closest, self.closest_time = knot.V, knot.t

    def settle(self, knot: Knot) -> None:
        """See Watch."""
        if self.closest - self.event.tolerance * abs(self.closest) > knot.V:
            self.closest, self.closest_time = knot.V, knot.t

    def decree(self) -> None:
        """See Watch; the clock starts anew."""
        self.fired += 1
        self.left -= 1

    def suspects(self, step: Step) -> bool:
        """See Watch."""
        if self.closest - self.event.tolerance * abs(self.closest) > step.V1:
            self.closest, self.closest_time = step.V1, step.t1
            return False
        return abs(step.t1 - self.closest_time) >= self.event.patience

    def locate(self, step: Step, after: float) -> Cut | None:
        """See Watch; the time is known, the state there is that of the method's own partial step."""
        theta = (self.closest_time + np.copysign(self.event.patience, step.h) - step.t0) / step.h
        if theta <= after or theta > 1.0:
            return None
        self.closest_time = step.t0 + theta * step.h
        return Cut(step if theta == 1.0 else step.until(theta * step.h), theta, 0.0)


class BudgetWatch(Watch):
    """The watch of a Budget: it fires where a step ends."""

    event: Budget

    def value(self, knot: Knot) -> float:
        """Return the gradients left."""
        return float(self.event.nfev - self.motion.counts.nfev)

    def suspects(self, step: Step) -> bool:
        """See Watch."""
        return self.side > 0 and bool(self.motion.counts.nfev >= self.event.nfev)

    def locate(self, step: Step, after: float) -> Cut | None:
        """See Watch."""
        return Cut(step, 1.0, 0.0) if self.side > 0 and after < 1.0 else None


class GoalWatch(Watch):
    """The watch of a LossGoal: V, dV/dt and a bound are free at both ends of a step."""

    event: LossGoal

    def __init__(self, event: LossGoal, motion: Motion, reference: float, **place: Any) -> None:
        if not motion.has_energy:
            raise ArgumentError(f"{event} watches a potential, and a plain fun(t, x) has none: write an event(t, x)")
        super().__init__(event, motion, **place)
        self.level = event.level(reference)
        self.closest = reference

    def rebase(self, reference: float) -> None:
        """Refer to another loss from now on, if it lies above the floor: below, nothing is left to be reduced."""
        if reference > self.event.floor:
            self.level = self.event.level(reference)

    def value(self, knot: Knot) -> float:
        """Return V above the goal."""
        return knot.V - self.level

    @property
    def rounding(self) -> float:
        """See Watch; V has the precision of the run."""
        return 4 * self.motion.vectors.eps * abs(self.level)

    def rate(self, part: Step, slope: Any) -> tuple[Any, Any]:
        """See Watch; dV/dt is free."""
        return part.d1, part.d1 * np.sign(part.h) >= 0

    def start(self, knot: Knot) -> None:
        """See Watch."""
        super().start(knot)
        self.closest, self.closest_time = knot.V, knot.t

    def suspects(self, step: Step) -> bool:
        """See Watch."""
        height = step.V1
        if height < self.closest:
            self._approach(height, step.t1)
        if self.side > 0:
            return height <= self.level or bool(may_dip(step, self.level))
        if height > self.level:
            self.side = 1
        elif height < self.level:
            self.side = -1
        return False

    def _approach(self, height: float, t: float) -> None:
        if height < self.closest - 1e-6 * abs(self.closest):
            self.closest, self.closest_time = height, t

    def locate(self, step: Step, after: float) -> Cut | None:
        """See Watch; an end crossing costs no value of V, a dip about ten."""
        if self.side <= 0:
            return None
        if after == 0.0 and step.V0 > self.level >= step.V1:
            theta = cubic_root(step.V0 - self.level, step.V1 - self.level, step.h * step.d0, step.h * step.d1)
            cut = refine(self, step, theta, after=0.0)
            return cut if abs(cut.residual) <= _CLOSE * abs(self.level) else self._on_own_steps(step)
        motion = self.motion

        def above(theta: float) -> float:
            return motion.value(motion.position(step.at(theta))) - self.level

        theta, height = lowest_inside(above, step, after)
        self._approach(height + self.level, step.t0 + theta * step.h)
        if height > 0:
            return None
        if height < 0 and above(after) > 0:
            theta = bracketed_root(above, after, theta, xtol=1e-12)
        return refine(self, step, theta, after=after)


    def _on_own_steps(self, step: Step) -> Cut:
        """Locate an end crossing at which Newton's corrections met a minimum of V on the way: by bracketing on the partial steps.

        It happens where a method of low order takes so coarse a step that its partial steps and the cubic disagree.
        """

        def above(theta: float) -> float:
            if theta in (0.0, 1.0):
                return (step.V1 if theta else step.V0) - self.level
            return step.until(theta * step.h).V1 - self.level

        theta = bracketed_root(above, 0.0, 1.0)
        part = step if theta == 1.0 else step.until(theta * step.h)
        return Cut(part, theta, part.V1 - self.level)


class GuardWatch(Watch):
    """The watch of a Guard or of scipy's ``event(t, x)``: a black box, probed at step ends and, once it has changed side, on the path."""

    samples = 16

    def __init__(self, event: Event, motion: Motion, **place: Any) -> None:
        super().__init__(event, motion, **place)
        self.ours = isinstance(event, Guard)
        self.unsure = False
        self.before = self.now = 0.0
        self.numpy = motion.vectors.numpy

    def _call(self, t: float, x: Any, known: Knot | None) -> float:
        if self.ours:
            number = self.event.function(Point(self.motion, t, x, known))
        else:
            number = self.event(t, self.numpy(x))
        try:
            g = float(number)
        except (TypeError, ValueError) as error:
            raise ArgumentError(
                f"event '{self.name}' returned {'None' if number is None else f'shape {np.shape(number)}'} at t = {t:g}: return one number;"
                f" q is x[:{self.motion.dim}], p is x[{self.motion.dim}:]"
            ) from error
        if g != g:
            raise Halt(-2, f"event '{self.name}' is nan at t = {t:.6g}")
        return g

    def value(self, knot: Knot) -> float:
        """Return the guard."""
        return self._call(knot.t, knot.x, knot if knot.g is not None else None)

    def suspects(self, step: Step) -> bool:
        """See Watch."""
        self.before, self.now = self.now, self.value(step.end_view())
        sign, last = _sign(self.now), self.last
        if self.unsure:  # the state has jumped on the guard: on which side it has landed shows soon after
            self.unsure = False
            self.side = last = _sign(self._call(step.t0 + _SOON * step.h, step.at(_SOON), None))
        if sign != self.side and last and self.allowed(-self.side):
            return True
        self.side, self.last = sign or self.side, sign
        return False

    def start(self, knot: Knot) -> None:
        """See Watch."""
        self.now = self.value(knot)
        self.side = self.last = _sign(self.now)

    def land(self, knot: Knot) -> None:
        """See Watch."""
        self.start(knot)
        self.unsure, self.side, self.last = True, 0, 0

    def settle(self, knot: Knot) -> None:
        """See Watch."""
        self.now = self.value(knot)
        self.last = _sign(self.now)
        self.side = self.last or self.side

    def locate(self, step: Step, after: float) -> Cut | None:
        """See Watch.

        A guard on t, q and p costs nothing on the path: a few samples find the first of several roots there. One that needs V or its
        gradient costs an evaluation each time; it gets a rough root, which the method's own partial steps correct (V and the gradient are
        known at their ends).
        """
        end = _sign(self.now)
        if end == self.side or not self.allowed(-self.side):
            return None

        def guard(theta: float) -> float:
            if theta in (0.0, 1.0):
                return self.now if theta else self.before
            return self._call(step.t0 + theta * step.h, step.at(theta), None)

        motion, middle = self.motion, 0.5 * (after + 1.0)
        step.at(middle)  # the path itself may cost the gradient at the start of the step
        evaluations = motion.nfev + motion.nvev
        probe = guard(middle)
        if end == 0 and after > 0 and (_sign(probe) == 0 or after > 1 - 1e-9):
            return None  # it has fired, and is still at zero
        if motion.nfev + motion.nvev > evaluations:
            low, high = (middle, 1.0) if _sign(probe) == self.side else (after, middle)
            root = bracketed_root(guard, low, high, xtol=1e-2) if _sign(guard(low)) == self.side else low
            return refine(self, step, root, after=after, slope=(self.now - self.before) / step.h)
        root = self._first_on_path(guard, after)
        return refine(self, step, root, after=after, slope=self._slope(guard, root, step.h))

    def _first_on_path(self, guard: Callable[[float], float], after: float) -> float:
        """Return the first place on the path at which the guard has left its side, to rounding."""
        low, high = after, 1.0
        for theta in np.linspace(after, 1.0, self.samples + 1)[1:]:
            high, g = float(theta), guard(float(theta))
            if _sign(g) != self.side:
                break
            low = high
        if _sign(guard(low)) != self.side:  # by rounding, at the place of the event before
            return low
        if g != 0:
            return bracketed_root(guard, low, high)
        while high - low > EPS:  # it may stay at zero: the first zero counts
            middle = 0.5 * (low + high)
            low, high = (middle, high) if _sign(guard(middle)) == self.side else (low, middle)
        return high

    @staticmethod
    def _slope(guard: Callable[[float], float], theta: float, h: float) -> float:
        a, b = max(theta - 1e-4, 0.0), min(theta + 1e-4, 1.0)
        return (guard(b) - guard(a)) / ((b - a) * h)


def watch(event: Event, motion: Motion, reference: float, **place: Any) -> Watch:
    """Bind an event to a run; ``reference`` is V at its start."""
    if isinstance(event, LossGoal):
        return GoalWatch(event, motion, reference, **place)
    if isinstance(event, Stagnation):
        if not motion.has_energy:
            raise ArgumentError(f"{event} watches a potential, and a plain fun(t, x) has none: write an event(t, x)")
        return StagnationWatch(event, motion, **place)
    if isinstance(event, Budget):
        return BudgetWatch(event, motion, **place)
    if not (isinstance(event, Guard) or callable(event)):
        raise ArgumentError(f"an event is a function event(t, x), a Guard or a LossGoal, not {event!r}")
    return GuardWatch(event, motion, **place)


def may_dip(step: Step, level: float) -> Any:
    """Say whether V may reach the level inside the step, although both ends lie above it.

    It may at a minimum of V inside, or in a step whose change of V its end slopes do not explain, provided that the bound
    ``min(V0, V1) - (h/4)(|v0| + |v1|)(|g0| + |g1|)`` (a heuristic: V along straight lines with twice the mean slope) lets it.
    """
    h, change = step.t1 - step.t0, step.V1 - step.V0
    fall0, fall1 = h * step.d0, h * step.d1
    dip = (fall0 <= 0) & (fall1 > 0)
    maybe = dip | unresolved(fall0, fall1, change)
    if maybe is False or not step.motion.has_split:
        return maybe
    lowest = 0.5 * (step.V0 + step.V1 - abs(change))
    speed = (step.T0**0.5 + step.T1**0.5) * step.motion.quickness
    return maybe & (lowest - 0.25 * abs(h) * speed * (step.slope0**0.5 + step.slope1**0.5) <= level)


def unresolved(fall0: Any, fall1: Any, change: Any) -> Any:
    """Say whether the change of V over a step differs from the trapezoid of its end slopes by a tenth of their sizes."""
    return abs(change - 0.5 * (fall0 + fall1)) > 0.1 * (abs(fall0) + abs(fall1) + abs(change))


class _Reached(Exception):  # noqa: N818 (ends a search early)
    def __init__(self, theta: float, height: float) -> None:
        super().__init__()
        self.theta, self.height = theta, height


def lowest_inside(above: Callable[[float], float], step: Step, after: float) -> tuple[float, float]:
    """Return where, and how high above the goal, the path is lowest; the search stops at the first point at or below the goal.

    Seven samples first where the step's ends do not explain it, then scipy's bounded minimisation.
    """
    from scipy.optimize import minimize_scalar

    def look(theta: float) -> float:
        height = above(float(theta))
        if height <= 0:
            raise _Reached(float(theta), height)
        return height

    try:
        low, high = after, 1.0
        if unresolved(step.h * step.d0, step.h * step.d1, step.V1 - step.V0):
            grid = np.linspace(after, 1.0, 9)
            k = 1 + int(np.argmin([look(theta) for theta in grid[1:-1]]))
            low, high = float(grid[k - 1]), float(grid[k + 1])
        result = minimize_scalar(look, bounds=(low, high), method="bounded", options={"xatol": 1e-9, "maxiter": 30})
    except _Reached as reached:
        return reached.theta, reached.height
    return float(result.x), float(result.fun)


def _sign(g: float) -> int:
    return (g > 0) - (g < 0)
