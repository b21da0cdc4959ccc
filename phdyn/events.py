"""Event functions: what a run watches for.

An event is scipy's ``event(t, x) -> float`` with optional attributes ``terminal`` (bool, or the number of occurrences that ends
the run) and ``direction`` (the sign with which the value crosses zero; 0: either), or one of the dataclasses here, whose
``function(point)`` sees energies and gradients that the step has anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, fields, is_dataclass, replace
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


def same_event(one: Any, other: Any) -> bool:
    """Say whether two events are one: the same object, or equal in all that makes them (goals of each trajectory are arrays)."""
    if one is other or type(one) is not type(other) or not is_dataclass(one):
        return one is other
    return all(np.array_equal(getattr(one, part.name), getattr(other, part.name)) for part in fields(one))


@dataclass(frozen=True)
class LossGoal:
    """The loss V has fallen to a goal: the sublevel set that ends exploration.

    Parameters
    ----------
    reduction : float or (batch,) array, optional
        Fraction in (0, 1) by which V has fallen from its value at the start of the run: V <= floor + (1 - reduction) (V(q0) - floor).
    value : float or (batch,) array, optional
        The goal itself: V <= value. Exactly one of the two is given.
    floor : float or (batch,) array
        The value that counts as zero loss. An array has a number for each trajectory of a batch.
    terminal : bool or int
        In ``events=``: whether (or at which occurrence) the run ends.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        The goal is not one of the two, no number, or out of range.
    """

    reduction: Any = None
    _: KW_ONLY
    value: Any = None
    floor: Any = 0.0
    terminal: bool | int = False

    def __post_init__(self) -> None:
        if (self.reduction is None) == (self.value is None):
            raise ArgumentError("LossGoal needs either reduction=... or value=...")
        for name in ("reduction", "value", "floor"):
            given = getattr(self, name)
            if np.ndim(given) == 1:  # a goal of each trajectory, kept as a tuple: a goal can be compared
                object.__setattr__(self, name, tuple(np.asarray(given).tolist()))
            for number in np.atleast_1d(np.asarray(given, dtype=object)):
                _check_number(number, f"LossGoal({name}=...)", optional=name != "floor")
                self._check_range(name, number)
        self.batch  # noqa: B018 (goals of different numbers of trajectories are refused)
        _check_terminal(self.terminal, "LossGoal")

    @staticmethod
    def _check_range(name: str, number: float | None) -> None:
        if name == "reduction" and number is not None and not 0 < number < 1:
            hint = f"; for {number:g} % write {number / 100:g}" if 1 < number < 100 else ""
            raise ArgumentError(f"LossGoal(reduction={number:g}): a fraction in (0, 1) is needed{hint}")
        if name != "reduction" and number is not None and not abs(number) < float("inf"):
            raise ArgumentError(f"LossGoal({name}={number}): a finite number is needed")

    @property
    def batch(self) -> int | None:
        """Of how many trajectories these are the goals; None where one is for all."""
        lengths = {len(part) for part in (self.reduction, self.value, self.floor) if isinstance(part, tuple)}
        if len(lengths) > 1:
            raise ArgumentError(f"LossGoal: goals of {' and '.join(map(str, sorted(lengths)))} trajectories do not go together")
        return next(iter(lengths), None)

    def of(self, rows: Any) -> LossGoal:
        """Return the goal of trajectory k of a batch, or of some trajectories (an array of numbers)."""
        picked = {name: getattr(self, name) for name in ("reduction", "value", "floor")}
        own = {name: np.asarray(part)[rows] for name, part in picked.items() if isinstance(part, tuple)}
        return replace(self, **{name: part.item() if np.ndim(part) == 0 else part for name, part in own.items()})

    @property
    def direction(self) -> int:
        """Goals are reached from above."""
        return -1

    def level(self, reference: Any) -> Any:
        """Return the loss at which the goal is reached, a number or (batch,).

        Parameters
        ----------
        reference : float or (batch,) array
            V at the start of the run.

        Raises
        ------
        ArgumentError
            A reduction of a reference that does not lie above the floor.
        """
        if self.value is not None:
            return np.asarray(self.value) if isinstance(self.value, tuple) else float(self.value)
        floor, reduction = np.asarray(self.floor), np.asarray(self.reduction)
        above = np.asarray(reference > floor)
        if not above.all():
            at, low = (float(np.broadcast_to(a, above.shape)[~above].flat[0]) for a in (reference, floor))
            raise ArgumentError(
                f"V(q0) = {at:.6g} is not positive, so it has no reduction: give value=... or floor=..."
                if low == 0
                else f"V(q0) = {at:.6g} does not lie above floor={low:g}, so it has no reduction"
            )
        level = floor + (1 - reduction) * (reference - floor)
        return level if np.ndim(level) else float(level)

    def __str__(self) -> str:
        what = f"reduction={_span(self.reduction)}" if self.value is None else f"value={_span(self.value)}"
        return f"LossGoal({what})" if self.floor == 0 else f"LossGoal({what}, floor={_span(self.floor)})"


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


def time_of(event: Any) -> float | None:
    """Return the time of a ``TimeReached``; None of any other event."""
    function = event.function if isinstance(event, Guard) else None
    return float(function.args[0]) if isinstance(function, partial) and function.func is _time_since else None


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


def _span(numbers: Any) -> str:
    """Return a number, or the least and the largest of several, as text."""
    return f"{min(numbers):g}...{max(numbers):g}" if isinstance(numbers, tuple) else f"{numbers:g}"


def _speeding(point: Point) -> Any:
    return point.speeding


def _time_since(time: float, point: Point) -> float:
    return point.t - time


def _norm_above(threshold: float, point: Point) -> Any:
    return torch.linalg.vector_norm(point.gradient, dim=-1) - threshold


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
