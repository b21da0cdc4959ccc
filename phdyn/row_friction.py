"""The friction of a batch: each row follows the law of its mode, and a law is evaluated once for all rows that follow it.

To the rest of a batch this is one law with ``rate(t)`` and ``damping(mass, t, h)``, whose answers are numbers where all rows share them
and arrays over the rows otherwise. What changes is logged, so that coefficients kept for many steps are renewed for those rows alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from phdyn.friction import ConstantFriction, Damping, damping
from phdyn.typing import Coefficient, FrictionLaw

Index = np.ndarray[Any, np.dtype[np.intp]]

_LOGGED = 32
"""Changes that are remembered; whoever has slept through more renews every row."""


class RowFriction:
    """Friction of k rows.

    Parameters
    ----------
    laws : sequence of FrictionLaw
        The law of each mode.
    modes : (k,) int array
        The mode of each row; kept, not copied.
    ids : (k,) int array
        Which trajectory of the run each row is: a law may have rates of each trajectory.
    entered : dict, optional
        Laws of single rows, by their place here: those whose clock started when the row entered its mode.
    """

    def __init__(self, laws: Sequence[FrictionLaw], modes: Index, ids: Index, entered: dict[int, FrictionLaw] | None = None) -> None:
        self.laws, self.modes, self.ids = list(laws), modes, ids
        self.entered = entered or {}
        self.version = 0
        self._log: deque[Index] = deque(maxlen=_LOGGED)
        self._groups: list[tuple[FrictionLaw, Index | None]] | None = None

    def take(self, rows: Index) -> RowFriction:
        """Return the friction of some rows, an independent copy."""
        entered = {}
        if self.entered:
            entered = {new: self.entered[old] for new, old in enumerate(rows.tolist()) if old in self.entered}
        return RowFriction(self.laws, self.modes[rows], self.ids[rows], entered)

    def set(self, rows: Index, mode: int, t: Any = float("nan")) -> None:
        """Let some rows follow the law of a mode from time t on, a number or one a row."""
        law = self.laws[mode]
        self.modes[rows] = mode
        if hasattr(law, "entered") and law.entered(0.0) is not law:
            times = np.broadcast_to(np.asarray(t, dtype=np.float64), np.shape(rows))
            entered = {time: law.entered(time) for time in set(times.tolist())}  # rows that enter together share a law
            self.entered.update((row, entered[time]) for row, time in zip(rows.tolist(), times.tolist(), strict=True))
        elif self.entered:
            for row in rows.tolist():
                self.entered.pop(row, None)
        self.version += 1
        self._log.append(np.array(rows))
        self._groups = None

    def changed_since(self, version: int) -> Index | None:
        """Return the rows that changed after a version; None where too much has happened since."""
        missed = self.version - version
        if missed > len(self._log):
            return None
        return np.unique(np.concatenate([*self._log][len(self._log) - missed :])) if missed else np.empty(0, dtype=np.intp)

    @property
    def steady(self) -> bool:
        """Whether the rates change only where modes do."""
        return not self.entered and all(isinstance(law, ConstantFriction) for law in self.laws)

    def groups(self) -> list[tuple[FrictionLaw, Index | None]]:
        """Return each law in force with the places of its rows; None where all rows follow one."""
        if self._groups is None:
            self._groups = self._sort()
        return self._groups

    def _sort(self) -> list[tuple[FrictionLaw, Index | None]]:
        shared = self.modes
        if self.entered:
            own = np.fromiter(self.entered, dtype=np.intp, count=len(self.entered))
            shared = self.modes.copy()
            shared[own] = -1
        groups: list[tuple[FrictionLaw, Index | None]] = []
        followers: dict[int, list[int]] = {}
        for row, law in self.entered.items():
            followers.setdefault(id(law), []).append(row)
        for members in map(np.array, followers.values()):
            groups.append((self._of_ids(self.entered[int(members[0])], members), members))  # noqa: PERF401 (a comprehension is no plainer)
        for mode, law in enumerate(self.laws):
            rows = np.flatnonzero(shared == mode)
            if len(rows):
                groups.append((self._of_ids(law, rows), rows))
        return [(groups[0][0], None)] if len(groups) == 1 else groups

    def _of_ids(self, law: FrictionLaw, rows: Index) -> FrictionLaw:
        take = getattr(law, "take", None)
        return law if take is None else take(self.ids[rows])

    def rate(self, t: Any) -> Any:
        """Return gamma at time t, a number or one a row: a number where all rows share it, (k,) otherwise."""
        groups = self.groups()
        if len(groups) == 1:
            return _rate(groups[0][0], t, len(self.modes))
        rates = np.empty(len(self.modes))
        for law, rows in groups:
            rates[rows] = _rate(law, _part(t, rows), len(rows) if rows is not None else 0)
        return rates

    def damping(self, mass: Coefficient, t: Any, h: Any) -> Damping:
        """Return the damped drift: numbers (n, 1) or floats where all rows share them, (k,) or with a mass of each component (n, k)."""
        groups = self.groups()
        if len(groups) == 1:
            return _damping(groups[0][0], mass, t, h, len(self.modes))
        shape = (len(self.modes),) if np.ndim(mass) == 0 else (len(mass), len(self.modes))
        whole = Damping(np.empty(shape), np.empty(shape), np.empty(shape))
        for law, rows in groups:
            part = _damping(law, mass, _part(t, rows), _part(h, rows), 0 if rows is None else len(rows))
            for into, values in zip(whole, part, strict=True):
                into[..., rows] = values
        return whole


def _part(a: Any, rows: Index | None) -> Any:
    return a if np.ndim(a) == 0 or rows is None else a[rows]


def _shared(law: FrictionLaw, *numbers: Any) -> bool:
    """Say whether one call answers for all rows: they share the numbers, or the law takes arrays."""
    return getattr(law, "rowwise", False) or all(np.ndim(number) == 0 for number in numbers)


def _rate(law: FrictionLaw, t: Any, count: int) -> Any:
    if _shared(law, t):
        rate = law.rate(t)
        return float(rate) if np.ndim(rate) == 0 else rate
    return np.array([float(law.rate(time)) for time in np.broadcast_to(t, (count,)).tolist()])


def _damping(law: FrictionLaw, mass: Coefficient, t: Any, h: Any, count: int) -> Damping:
    if _shared(law, t, h):
        return damping(law, mass, t, h)
    starts, lengths = (np.broadcast_to(a, (count,)).tolist() for a in (t, h))
    each = [damping(law, mass, start, length) for start, length in zip(starts, lengths, strict=True)]
    return Damping(*(np.concatenate([np.atleast_1d(value) for value in part], axis=-1) for part in zip(*each, strict=True)))
