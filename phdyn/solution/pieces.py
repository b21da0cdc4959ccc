"""One trajectory of a batch, as the Solution of a single run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from phdyn.energy import Energy
from phdyn.energy.sums import frozen
from phdyn.errors import ArgumentError
from phdyn.tables import Table

if TYPE_CHECKING:
    from phdyn.solution.result import Solution

_NUMBERS = ("nfev", "nvev", "njev", "nlu", "nsteps", "nrejected", "status", "t_end")


def trajectory(sol: Solution, k: int) -> Solution:
    """Return trajectory k of a batch as the Solution of a single run, which ends where the trajectory did.

    Raises
    ------
    ArgumentError
        The solution is no batch, or has no trajectory k.
    """
    if sol.batch is None:
        raise ArgumentError("this solution is that of a single run: there are no trajectories to pick")
    if not -sol.batch <= k < sol.batch:
        raise ArgumentError(f"there is no trajectory {k}: this batch has {sol.batch}, counted from 0")
    k = int(k) % sol.batch
    numbers = {name: np.asarray(getattr(sol, name))[k].item() if np.ndim(getattr(sol, name)) else getattr(sol, name) for name in _NUMBERS}
    t, keep = _until(sol.t, numbers["t_end"])
    return replace(
        sol,
        **numbers,
        t=t,
        y=frozen(sol.y[k][:, keep]),
        modes=frozen(sol.modes[k][keep]),
        sol=None if sol.sol is None else sol.sol[k],
        t_events=None if sol.t_events is None else [event[k] for event in sol.t_events],
        y_events=None if sol.y_events is None else [event[k] for event in sol.y_events],
        message=str(sol.message[k]),
        success=bool(sol.success[k]),
        exception=None if sol.exception is None else sol.exception[k],
        energy=None if sol.energy is None else _own_energy(sol.energy, k, numbers["t_end"]),
        switches=sol.switches.of(k),
        near_misses=_own_rows(sol.near_misses, k),
        observed=_own_rows(sol.observed, k, drop=True),
        state=None if sol.state is None else sol.state[k],
        balance=None if sol.balance is None else sol.balance[k],
    )


def _until(t: Any, t_end: float) -> tuple[Any, Any]:
    """Return the times up to the end of a trajectory, and their places in t: what is held after it counts once, at its end."""
    if not len(t):
        return t, np.arange(0)
    sign = 1.0 if t[-1] >= t[0] else -1.0
    if sign * (t[-1] - t_end) <= 0:
        return t, np.arange(len(t))
    before = np.flatnonzero(sign * (t - t_end) < 0)
    return frozen(np.append(t[before], t_end)), np.append(before, len(t) - 1)


def _own_rows(table: Table, k: int, *, drop: bool = False) -> Table:
    """Return the rows of a trajectory as a single run has them: as trajectory 0, or without the number."""
    columns = dict(table)
    if "trajectory" not in columns:  # nothing was observed
        return table
    own = columns["trajectory"] == k
    columns = {name: column[own] for name, column in columns.items() if not (drop and name == "trajectory")}
    return Table({name: np.zeros_like(column) if name == "trajectory" else column for name, column in columns.items()})


def _own_energy(energy: Energy, k: int, t_end: float) -> Energy:
    t, keep = _until(energy.t, t_end)
    columns = {name: None if column is None else frozen(column[k][keep]) for name, column in vars(energy).items() if name != "t"}
    return Energy(t=t, **columns)  # type: ignore[arg-type]
