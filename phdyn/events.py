"""Event functions: what a run watches for.

An event is scipy's ``event(t, x) -> float`` with optional attributes ``terminal`` (bool, or the number of occurrences that ends
the run) and ``direction`` (the sign with which the value crosses zero; 0: either), or one of the dataclasses here, whose
``function(point)`` sees energies and gradients that the step has anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from phdyn.errors import ArgumentError, ArgumentTypeError

if TYPE_CHECKING:
    from phdyn.point import Point

Event = Any
"""A LossGoal, a Guard, or scipy's ``event(t, x)``."""


@dataclass(frozen=True)
class LossGoal:
    """The loss V has fallen to a goal: the sublevel set that ends exploration.

    Parameters
    ----------
    reduction : float, optional
        Fraction in (0, 1) by which V has fallen from its value at the start of the run: V <= floor + (1 - reduction) (V(q0) - floor).
    value : float, optional
        The goal itself: V <= value. Exactly one of the two is given.
    floor : float
        The value that counts as zero loss.
    terminal : bool or int
        In ``events=``: whether (or at which occurrence) the run ends.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        The goal is not one of the two, no number, or out of range.
    """

    reduction: float | None = None
    _: KW_ONLY
    value: float | None = None
    floor: float = 0.0
    terminal: bool | int = False

    def __post_init__(self) -> None:
        if (self.reduction is None) == (self.value is None):
            raise ArgumentError("LossGoal needs either reduction=... or value=...")
        for name in ("reduction", "value", "floor"):
            _check_number(getattr(self, name), f"LossGoal({name}=...)", optional=name != "floor")
        if self.reduction is not None and not 0 < self.reduction < 1:
            hint = f"; for {self.reduction:g} % write {self.reduction / 100:g}" if 1 < self.reduction < 100 else ""
            raise ArgumentError(f"LossGoal(reduction={self.reduction:g}): a fraction in (0, 1) is needed{hint}")
        for name in ("value", "floor"):
            number = getattr(self, name)
            if number is not None and not abs(number) < float("inf"):
                raise ArgumentError(f"LossGoal({name}={number}): a finite number is needed")
        _check_terminal(self.terminal, "LossGoal")

    @property
    def direction(self) -> int:
        """Goals are reached from above."""
        return -1

    def level(self, reference: float) -> float:
        """Return the loss at which the goal is reached.

        Parameters
        ----------
        reference : float
            V at the start of the run.

        Raises
        ------
        ArgumentError
            A reduction of a reference that does not lie above the floor.
        """
        if self.value is not None:
            return float(self.value)
        if self.reduction is None or not reference > self.floor:
            raise ArgumentError(
                f"V(q0) = {reference:.6g} is not positive, so it has no reduction: give value=... or floor=..."
                if self.floor == 0
                else f"V(q0) = {reference:.6g} does not lie above floor={self.floor:g}, so it has no reduction"
            )
        return float(self.floor + (1 - self.reduction) * (reference - self.floor))

    def __str__(self) -> str:
        what = f"reduction={self.reduction:g}" if self.value is None else f"value={self.value:g}"
        return f"LossGoal({what})" if self.floor == 0 else f"LossGoal({what}, floor={self.floor:g})"


@dataclass(frozen=True)
class Guard:
    """Your own event on what the step knows: ``function(point) -> number``, zero at the event.

    Parameters
    ----------
    function : callable
        Gets a point with ``t, q, p, x, potential, gradient, kinetic, hamiltonian, system``; vectors are tensors.
    name : str
        What tables and figures call it.
    terminal : bool or int
        Whether, or at which occurrence, the run ends.
    direction : {-1, 0, 1}
        Sign of the crossing that counts; 0 for both.
    """

    function: Callable[[Point], Any]
    _: KW_ONLY
    name: str
    terminal: bool | int = False
    direction: float = 0

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ArgumentTypeError(f"Guard needs a function of a point, not {self.function!r}")
        _check_terminal(self.terminal, self.name)
        _check_direction(self.direction, self.name)

    def __str__(self) -> str:
        return self.name


def TimeReached(time: float, *, terminal: bool | int = False) -> Guard:  # noqa: N802 (reads as a type, like LossGoal)
    """Return the event that the time has come: t = time."""
    _check_number(time, "TimeReached")
    if not abs(time) < float("inf"):
        raise ArgumentError(f"TimeReached({time}): a finite time is needed")
    return Guard(partial(_time_since, time), name=f"TimeReached({time:g})", terminal=terminal)


def GradientNorm(threshold: float, *, terminal: bool | int = False) -> Guard:  # noqa: N802
    """Return the event that the gradient of V has become as short as threshold."""
    _check_number(threshold, "GradientNorm")
    if not 0 < threshold < float("inf"):
        raise ArgumentError(f"GradientNorm({threshold}): a finite threshold > 0 is needed")
    return Guard(partial(_norm_above, threshold), name=f"GradientNorm({threshold:g})", terminal=terminal, direction=-1)


def TurningPoint(*, terminal: bool | int = False) -> Guard:  # noqa: N802
    """Return the event that the ball stops climbing: dV/dt = grad V . p/m passes from positive to negative."""
    return Guard(_climb, name="TurningPoint()", terminal=terminal, direction=-1)


def _time_since(time: float, point: Point) -> float:
    return point.t - time


def _norm_above(threshold: float, point: Point) -> float:
    return float(torch.linalg.vector_norm(point.gradient)) - threshold


def _climb(point: Point) -> float:
    return point.climb


def terminal_count(event: Event) -> float:
    """Return the number of occurrences after which an event ends the run (infinity: never).

    Raises
    ------
    ArgumentError
        ``terminal`` is neither a bool nor a positive integer.
    """
    terminal = getattr(event, "terminal", None)
    _check_terminal(terminal, name_of(event))
    if not terminal:
        return float("inf")
    return int(terminal)


def direction_of(event: Event) -> float:
    """Return an event's direction, -1, 0 or 1."""
    direction = getattr(event, "direction", 0)
    _check_direction(direction, name_of(event))
    return float(direction > 0) - float(direction < 0)


def name_of(event: Event) -> str:
    """Return the name that tables and figures use."""
    if isinstance(event, (LossGoal, Guard)):
        return str(event)
    return str(getattr(event, "__name__", type(event).__name__))


def _check_terminal(terminal: Any, name: str) -> None:
    if terminal is None or isinstance(terminal, (bool, np.bool)):
        return
    if not (isinstance(terminal, (int, float, np.integer, np.floating)) and 0 <= terminal < float("inf") and terminal == int(terminal)):
        raise ArgumentError(f"event '{name}': terminal is {terminal!r}: True, False or a positive number of occurrences is needed")


def _check_direction(direction: Any, name: str) -> None:
    if not (isinstance(direction, (Real, np.bool)) and direction == direction):
        raise ArgumentError(f"event '{name}': direction is {direction!r}: a number is needed, its sign counts")


def _check_number(value: Any, what: str, *, optional: bool = False) -> None:
    if not (isinstance(value, Real) or (optional and value is None)):
        raise ArgumentTypeError(f"{what} takes a number, not {value!r}")
