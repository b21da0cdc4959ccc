"""What may happen to the state at a switch: jumps of the momentum, and a new reference for goals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from phdyn.errors import ArgumentError, ArgumentTypeError

Action = Any
"""A function ``action(t, x) -> x`` on NumPy, one of the classes here, a list of them in order, or None."""


@dataclass(frozen=True)
class ResetMomentum:
    """The ball stops: p = 0. Its kinetic energy leaves the account as injected (negative) energy."""

    def jump(self, x: np.ndarray[Any, Any], mass: Any, number: int) -> np.ndarray[Any, Any]:
        """Return the state (2n,) after the jump."""
        n = len(x) // 2
        return np.concatenate([x[:n], np.zeros_like(x[n:])])


@dataclass(frozen=True)
class ReverseMomentum:
    """The ball turns round: p = -p; no energy is injected."""

    def jump(self, x: np.ndarray[Any, Any], mass: Any, number: int) -> np.ndarray[Any, Any]:
        """Return the state (2n,) after the jump."""
        n = len(x) // 2
        return np.concatenate([x[:n], -x[n:]])


@dataclass(frozen=True)
class RotateMomentum:
    """The ball goes on in a random direction, with the same kinetic energy (the bounce of De Luca & Silverstein, ICML 2022).

    Parameters
    ----------
    seed : int
        Of the directions; the k-th bounce of a run draws the k-th, so a run repeats itself.
    """

    seed: int = 0

    def jump(self, x: np.ndarray[Any, Any], mass: Any, number: int) -> np.ndarray[Any, Any]:
        """Return the state (2n,) after the jump; ``number`` counts the switches before."""
        n = len(x) // 2
        weight = np.sqrt(np.broadcast_to(mass, (n,)))
        speed = np.linalg.norm(x[n:] / weight)
        direction = np.random.default_rng([self.seed, number]).standard_normal(n)
        return np.concatenate([x[:n], (weight * direction * (speed / np.linalg.norm(direction))).astype(x.dtype)])


@dataclass(frozen=True)
class RebaseGoal:
    """From now on reductions refer to the loss at this switch, instead of that at the start of the run."""


def as_actions(action: Action) -> tuple[Any, ...]:
    """Return an action, a list of them or None as a tuple.

    Raises
    ------
    ArgumentTypeError
        Neither a function nor one of the actions here.
    """
    parts: tuple[Any, ...] = () if action is None else tuple(action) if isinstance(action, Sequence) else (action,)
    for part in parts:
        if isinstance(part, type) or not (callable(part) or isinstance(part, (ResetMomentum, ReverseMomentum, RotateMomentum, RebaseGoal))):
            raise ArgumentTypeError(f"an action is a function action(t, x), ResetMomentum(), ReverseMomentum(), ..., not {part!r}")
    return parts


def apply_action(
    action: Action, t: float, x: np.ndarray[Any, Any], mass: Any, number: int, *, split: bool
) -> np.ndarray[Any, Any]:
    """Return the state after one action; x is a copy that it may change.

    Raises
    ------
    ArgumentError
        An action on momenta for a system that has none, or a function that returned no finite state of x's shape.
    """
    jump: Callable[..., Any] | None = getattr(action, "jump", None)
    if jump is not None and not split:
        raise ArgumentError(f"{action} acts on momenta, and the system has none")
    after = np.asarray(action(t, x) if jump is None else jump(x, mass, number))
    if after.shape != x.shape or not np.isfinite(after).all():
        what = f"shape {after.shape}" if after.shape != x.shape else "a state that is not finite"
        raise ArgumentError(f"action {getattr(action, '__name__', action)!r} returned {what} at t = {t:g}: return the new state, {x.shape}")
    return after.astype(x.dtype)
