"""Event functions: what a run watches for.

An event is scipy's ``event(t, x) -> float`` with optional attributes ``terminal`` (bool, or the number of occurrences that ends
the run) and ``direction`` (the sign with which the value crosses zero; 0: either), or one of the dataclasses here, whose
``function(point)`` sees energies and gradients that the step has anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import partial
from importlib import import_module
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from phdyn.actions import RebaseGoal, ResetMomentum, ReverseMomentum, RotateMomentum
from phdyn.errors import ArgumentError, ArgumentTypeError

if TYPE_CHECKING:
    from phdyn.point import Point

__all__ = [
    "Budget",
    "Event",
    "FunctionRestart",
    "GradientNorm",
    "GradientRestart",
    "Guard",
    "LossGoal",
    "RebaseGoal",
    "ResetMomentum",
    "ReverseMomentum",
    "RotateMomentum",
    "SpeedRestart",
    "Stagnation",
    "TimeReached",
    "TurningPoint",
    "check_event",
    "direction_of",
    "name_of",
    "terminal_count",
]

_RULES = ("energy_conserving_descent", "fire", "uniting")


def __getattr__(name: str) -> Any:
    """Load the ready rules, which are systems, on first use."""
    if name in _RULES:
        return getattr(import_module("phdyn.rules"), name)
    raise AttributeError(f"module 'phdyn.events' has no attribute '{name}'")


Event = Any
"""A LossGoal, a Guard, a Stagnation, a Budget, or scipy's ``event(t, x)``."""


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


@dataclass(frozen=True)
class Stagnation:
    """The loss has stopped falling: for a time ``patience`` its lowest value has not fallen by the fraction ``tolerance``.

    Looked at where steps end; the clock starts when the mode of its transition is entered, and anew when it has fired.

    Parameters
    ----------
    patience : float
        Time.
    tolerance : float
        Fraction of the lowest loss so far by which it must fall to count as progress.
    terminal : bool or int
        Whether, or at which occurrence, the run ends.
    """

    patience: float
    tolerance: float = 1e-3
    _: KW_ONLY
    terminal: bool | int = False

    def __post_init__(self) -> None:
        for name in ("patience", "tolerance"):
            _check_number(getattr(self, name), f"Stagnation({name}=...)")
        if not (0 < self.patience < float("inf") and 0 <= self.tolerance < 1):
            raise ArgumentError(f"{self}: a finite patience > 0 and a tolerance in [0, 1) are needed")
        _check_terminal(self.terminal, "Stagnation")

    def __str__(self) -> str:
        return f"Stagnation({self.patience:g}, {self.tolerance:g})"


@dataclass(frozen=True)
class Budget:
    """So many gradients (or calls of ``fun``) are spent; fires at the end of the step in which that happens.

    Parameters
    ----------
    nfev : int
        Gradient evaluations, counted from the start of the run.
    terminal : bool or int
        Whether the run ends.
    """

    nfev: int
    _: KW_ONLY
    terminal: bool | int = False

    def __post_init__(self) -> None:
        if isinstance(self.nfev, bool) or not isinstance(self.nfev, (int, np.integer)) or self.nfev <= 0:
            raise ArgumentError(f"Budget({self.nfev!r}): a positive whole number of gradients is needed")
        _check_terminal(self.terminal, "Budget")

    def __str__(self) -> str:
        return f"Budget({self.nfev})"


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


def FunctionRestart(*, terminal: bool | int = False) -> Guard:  # noqa: N802
    """Return the restart rule that the loss begins to rise, V' > 0 (O'Donoghue & Candes, Found. Comput. Math. 15 (2015) 715)."""
    return Guard(_climb, name="FunctionRestart()", terminal=terminal, direction=1)


def GradientRestart(*, terminal: bool | int = False) -> Guard:  # noqa: N802
    """Return the restart rule that the momentum points uphill, grad V . p > 0 (O'Donoghue & Candes 2015).

    In continuous time this is the zero of FunctionRestart; the two differ only for iterates.
    """
    return Guard(_climb, name="GradientRestart()", terminal=terminal, direction=1)


def SpeedRestart(*, terminal: bool | int = False) -> Guard:  # noqa: N802
    """Return the restart rule that the ball becomes slower, T' < 0 (Su, Boyd & Candes, JMLR 17 (2016) 153, sec. 5)."""
    return Guard(_speeding, name="SpeedRestart()", terminal=terminal, direction=-1)


def _speeding(point: Point) -> float:
    return point.speeding


def _time_since(time: float, point: Point) -> float:
    return point.t - time


def _norm_above(threshold: float, point: Point) -> float:
    return float(torch.linalg.vector_norm(point.gradient)) - threshold


def _climb(point: Point) -> float:
    return point.climb


OURS = (LossGoal, Guard, Stagnation, Budget)
"""The events that are no functions of (t, x)."""


def check_event(event: Any, where: str) -> None:
    """Check that something is an event.

    Raises
    ------
    ArgumentTypeError
        It is not.
    """
    if isinstance(event, type) or not (isinstance(event, OURS) or callable(event)):
        raise ArgumentTypeError(f"{where} needs an event such as LossGoal(reduction=0.8), a Guard or event(t, x), not {event!r}")


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
    if isinstance(event, OURS):
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
