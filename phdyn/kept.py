"""What a run of many trajectories keeps: their states, events and switches, and the goals that they missed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from phdyn.closing import frozen
from phdyn.crossing import GoalWatch
from phdyn.search import Floats, Rows
from phdyn.tables import SwitchTable, Table
from phdyn.typing import Array

Event = tuple[int, Rows, Floats, Array]
"""An event that fired: its place in ``events=``, the trajectories, and times and states there."""


class Kept:
    """What is kept of a run.

    Parameters
    ----------
    count : int
        Number of trajectories.
    names : list of str
        The modes.
    watched : int
        Number of ``events=``.
    dtype : dtype
        Precision of the states.
    """

    def __init__(self, count: int, names: list[str], watched: int, dtype: Any) -> None:
        self.count, self.names, self.watched, self.dtype = count, names, watched, dtype
        self.times: list[float] = []
        self.states: list[Array] = []
        self.modes: list[Array] = []
        self.events: list[Event] = []
        self.switches: list[dict[str, Any]] = []

    def record(self, t: float, x: Array, mode: Rows) -> None:
        """Record the states (size, B) and modes of all trajectories."""
        self.times.append(t)
        self.states.append(x.copy())
        self.modes.append(mode.copy())

    def arrays(self, last: Array) -> tuple[Any, Any, Any]:
        """Return times (k,), states (B, size, k), the last as given, and modes (B, k)."""
        y = np.empty((self.count, last.shape[0], len(self.times)), dtype=self.dtype)
        for k, state in enumerate(self.states):
            y[:, :, k] = state.T
        y[:, :, -1] = last.T
        modes = np.array(self.names)[np.stack(self.modes, axis=-1)]
        for array in (y, modes):
            array.flags.writeable = False
        return frozen(self.times), y, modes

    def event_arrays(self, size: int) -> tuple[list[Any], list[Any]]:
        """Return times and states of each event, a list over the trajectories."""
        times, states = [], []
        for index in range(self.watched):
            chunks = [event[1:] for event in self.events if event[0] == index]
            who = np.concatenate([ids for ids, _, _ in chunks]) if chunks else np.empty(0, dtype=np.intp)
            order = np.argsort(who, kind="stable")
            when = np.concatenate([t for _, t, _ in chunks])[order] if chunks else np.empty(0)
            where = np.concatenate([x for _, _, x in chunks])[order] if chunks else np.empty((0, size), dtype=self.dtype)
            places = np.searchsorted(who[order], np.arange(1, self.count))
            for array in (when, where):
                array.flags.writeable = False
            times.append(np.split(when, places))
            states.append(np.split(where, places))
        return times, states

    def last_switches(self, trajectory: int, count: int) -> list[float]:
        """Return the times of the last switches of a trajectory."""
        times: list[float] = []
        for row in reversed(self.switches):
            times += row["time"][row["trajectory"] == trajectory].tolist()
            if len(times) >= count:
                break
        return times[:count][::-1]

    def switch_table(self, *, backward: bool, states: bool) -> SwitchTable:
        """Return the switches of all, in the order of time."""
        empty = f"no switch in any of the {self.count} trajectories"
        names = ("trajectory", "time", "source", "target", "event", "loss", "kinetic", "hamiltonian", "injected")
        if not self.switches:
            columns: dict[str, Any] = {name: np.array([], dtype=kind) for name, kind in zip(names, "ifUUUffff", strict=True)}
            return SwitchTable(columns, trajectories=self.count, empty=empty)
        lengths = [len(row["time"]) for row in self.switches]
        joined = {name: np.concatenate([row[name] for row in self.switches]) for name in ("trajectory", "time", "loss", "kinetic", "x")}
        for name in ("source", "target", "event"):
            joined[name] = np.repeat([row[name] for row in self.switches], lengths)
        joined["hamiltonian"], joined["injected"] = joined["loss"] + joined["kinetic"], np.zeros(len(joined["time"]))
        order = np.argsort(-joined["time"] if backward else joined["time"], kind="stable")
        hidden = {name: list(joined["x"][order]) for name in ("x_before", "x_after")} if states else None
        return SwitchTable({name: joined[name][order] for name in names}, hidden=hidden, trajectories=self.count, empty=empty)


def near_misses(missed: Sequence[tuple[GoalWatch, Rows]]) -> Table:
    """Return the goals that were not reached: each with the trajectories that missed it."""

    def joined(parts: list[Any], kind: Any) -> Any:
        return np.concatenate(parts) if parts else np.array([], dtype=kind)

    return Table(
        {
            "trajectory": joined([rows for _, rows in missed], int),
            "event": joined([np.full(len(rows), one.name) for one, rows in missed], str),
            "value": joined([one.closest[rows] for one, rows in missed], float),
            "goal": joined([one.level[rows] for one, rows in missed], float),
            "time": joined([one.closest_time[rows] for one, rows in missed], float),
        }
    )
