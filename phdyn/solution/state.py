"""What a run needs to go on, and one trajectory of a batch too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from phdyn.energy import RowSums


@dataclass(frozen=True)
class Guarded:
    """What a watch remembers between runs; in a batch arrays (B,), but for the name."""

    name: str
    side: Any
    last: Any
    fired: Any
    closest: Any = float("nan")
    closest_time: Any = float("nan")
    level: Any = float("nan")

    def __getitem__(self, k: int) -> Guarded:
        """Return what the watch remembers of trajectory k."""
        numbers = (self.side, self.last, self.fired, self.closest, self.closest_time, self.level)
        return Guarded(self.name, *(np.asarray(number)[k].item() if np.ndim(number) else number for number in numbers))


def recalled(known: list[Guarded], name: str) -> Guarded | None:
    """Take what the guard of a name remembers out of a list.

    The goals of a batch are named after all of them: such a guard is known by its kind.
    """
    kind = name.partition("(")[0]
    for fits in (lambda one: one.name == name, lambda one: "..." in one.name + name and one.name.partition("(")[0] == kind):
        match = next(filter(fits, known), None)
        if match is not None:
            known.remove(match)
            return match
    return None


@dataclass(frozen=True)
class State:
    """All that a run needs to go on: ``simulate(system, (state.t, t_end), state, ...)``.

    Attributes
    ----------
    t : float
        Time; the next span must start here. In a batch whose trajectories ended at different times, an array (B,).
    x : array
        State (size,), or (B, size), NumPy.
    mode : str
        Current mode; in a batch an array (B,) of str.
    entered : float
        When it was entered; or (B,).
    reference : float
        V at the start of the first run, to which reductions refer; or (B,).
    guards : tuple of Guarded
        What each watch remembers, transitions first.
    account : tuple of float
        H0, dissipated, supplied, injected; or arrays (B,).
    sums : Sums or RowSums
        The verdict's statistics.
    parts : tuple or None
        The same of the residual's parts, where they were followed.
    """

    t: Any
    x: np.ndarray[Any, Any]
    mode: Any
    entered: Any
    reference: Any
    guards: tuple[Guarded, ...]
    account: tuple[Any, Any, Any, Any]
    sums: Any
    parts: Any = None

    @property
    def batch(self) -> int | None:
        """Number of trajectories, None for a single run."""
        return None if self.x.ndim == 1 else len(self.x)

    def __getitem__(self, k: int) -> State:
        """Return the state of trajectory k of a batch, from which it goes on by itself."""
        if not isinstance(self.sums, RowSums):
            raise TypeError("this state is that of a single run: only a batch's can be indexed")
        t = float(self.t if np.ndim(self.t) == 0 else self.t[k])
        h0, dissipated, supplied, injected = (float(column[k]) for column in self.account)
        guards = tuple(guard[k] for guard in self.guards)
        x, mode, entered, reference = self.x[k].copy(), str(self.mode[k]), float(self.entered[k]), float(self.reference[k])
        return State(t, x, mode, entered, reference, guards, (h0, dissipated, supplied, injected), self.sums[k])
