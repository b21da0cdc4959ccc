"""The changes of an optimizer's settings during a training, as the switches of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from phdyn.tables import SwitchTable
from phdyn.training.works import Ball, scales

_COLUMNS = ("trajectory", "time", "source", "target", "event", "loss", "kinetic", "hamiltonian", "injected", "step", "lr", "momentum")


class Energies(NamedTuple):
    """V, T and H after a change, and what it has injected."""

    potential: float
    kinetic: float
    hamiltonian: float
    injected: float


class Changes:
    """Rows of the changes so far; one that follows one of the same settings in the step before it belongs to that: a schedule."""

    def __init__(self) -> None:
        self._rows: list[list[Any]] = []
        self._last: tuple[int, tuple[str, ...]] = (-1, ())

    def note(self, step: int, time: float, old: tuple[Ball, ...], new: tuple[Ball, ...], energies: Energies) -> None:
        """Add a change: of the first group that differs."""
        number = next((k for k, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), len(old))
        ball = new[number]
        fields = tuple(name for name, a, b in zip(Ball._fields, old[number], ball, strict=True) if a != b) if number < len(old) else ()
        goes_on = bool(fields) and self._last == (step - 1, fields)
        self._last = step, fields
        after = [step, ball.lr, ball.momentum]
        if goes_on:
            row = self._rows[-1]
            injected = row[_COLUMNS.index("injected")] + energies.injected
            self._rows[-1] = [*row[:3], _text(ball, number), "schedule", *row[5:8], injected, *after]
            return
        source = _text(old[number], number) if fields else "new group"
        event = ", ".join(fields).replace("_", " ") if fields else "new group"
        self._rows.append([0, time, source, _text(ball, number), event, *energies, *after])

    def table(self) -> SwitchTable:
        """Return the rows as a table."""
        columns = zip(*self._rows, strict=True) if self._rows else [()] * len(_COLUMNS)
        table = dict(zip(_COLUMNS, map(list, columns), strict=True))
        return SwitchTable(table, trajectories=None, empty="no change of lr, momentum, dampening or weight decay")

    def state(self) -> dict[str, Any]:
        """Return what `load` needs, as plain data."""
        return {"rows": [list(row) for row in self._rows], "step": self._last[0], "fields": list(self._last[1])}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._rows, self._last = [list(row) for row in state["rows"]], (state["step"], tuple(state["fields"]))


def _text(ball: Ball, number: int) -> str:
    group = f"group {number}: " if number else ""
    return f"{group}friction {scales(ball)[2]:.3g}"
