"""Solutions of single runs become one Solution of a batch, for what cannot run as one: adaptive methods, user functions of one state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Final

import numpy as np

from phdyn.energy import Energy, EnergyBalance, RowSums
from phdyn.energy.sums import frozen
from phdyn.errors import ArgumentError
from phdyn.solution import DenseOutput, DenseOutputs, Guarded, Solution, State
from phdyn.tables import SwitchTable, Table

_NUMBERS: Final = ("nfev", "nvev", "njev", "nlu", "nsteps", "nrejected", "t_end", "status", "success")


def merge(solutions: Sequence[Solution], *, t: Any = None, system: Any = None, label: str | None = None) -> Solution:
    """Return B single runs of the same call as one batch.

    Parameters
    ----------
    solutions : sequence of Solution
        The runs, with the same ``t_eval``, or ``record="ends"``.
    t : (T,) array, optional
        The grid on which all of them were recorded (both ends of the span, or ``t_eval``); None: that of the run that came furthest.
    system, label
        Those of the batch; None: those of the first run.

    Returns
    -------
    Solution
        A trajectory that ended early holds its last state, mode and energies to the end of the grid. Energies live on the grid where
        every run has a row at exactly its times, else (an adaptive method, thinned rows) at both ends.

    Raises
    ------
    ArgumentError
        No runs, or a run that has no state at a time of the grid that it passed.
    """
    runs = list(solutions)
    if not runs:
        raise ArgumentError("there is nothing to merge: pass one solution or more")
    grid = np.array(_furthest([run.t for run in runs]) if t is None else t, dtype=np.float64)
    places = [_places(run.t, grid, run.t_end) for run in runs]
    for k, place in enumerate(places):
        if (place == _MISSING).any():
            raise ArgumentError(f"run {k} has no state at t = {grid[place == _MISSING][0]:g}: merge needs runs with the same t_eval")
    first = runs[0]
    numbers: dict[str, Any] = {name: frozen([getattr(run, name) for run in runs]) for name in _NUMBERS}
    return replace(
        first,
        **numbers,
        t=frozen(grid),
        y=frozen(np.stack([_states(run, place) for run, place in zip(runs, places, strict=True)])),
        modes=frozen(np.stack([_modes(run, place) for run, place in zip(runs, places, strict=True)])),
        sol=_dense(runs, float(grid[-1]) if len(grid) else None),
        t_events=_events([run.t_events for run in runs]),
        y_events=_events([run.y_events for run in runs]),
        message=frozen([run.message for run in runs]),
        exception=[run.exception for run in runs],
        energy=_energy(runs, grid),
        switches=_switches(runs),
        near_misses=_stacked([run.near_misses for run in runs]),
        observed=_stacked([run.observed for run in runs]) if len(first.observed.keys()) > 1 else first.observed,
        state=_state(runs),
        system=first.system if system is None else system,
        label=first.label if label is None else label,
        balance=_balance([run.balance for run in runs]),
    )


# --- rows at the times of the grid ----------------------------------------------------------------------------------------------------

_MISSING, _HELD = -1, -2

_ROUNDING: Final = 1e-13
"""A step end is ``t0 + k step``: at a time of ``t_eval`` it may be off by rounding."""


def _furthest(times: Sequence[Any]) -> Any:
    """Return the times that reach furthest, of several such the most."""
    known = [t for t in times if len(t)]
    return max(known, key=lambda t: (abs(t[-1] - t[0]), len(t))) if known else times[0]


def _places(t: Any, grid: Any, t_end: float, slack: float = 0.0) -> Any:
    """Return the row of each time of the grid; ``_HELD`` after the end of the run, ``_MISSING`` where no row is as near as ``slack``."""
    if not len(grid):
        return np.empty(0, dtype=np.intp)
    sign = 1.0 if grid[-1] >= grid[0] else -1.0
    at = np.searchsorted(sign * t, sign * grid + slack, side="right") - 1
    exact = (at >= 0) & (abs(t[at] - grid) <= slack) if len(t) else np.zeros(len(grid), dtype=bool)
    return np.where(exact, at, np.where(sign * (grid - t_end) > 0, _HELD, _MISSING))


def _states(run: Solution, place: Any) -> Any:
    last = run.y[:, -1] if run.state is None else run.state.x
    return np.where(place == _HELD, last[:, None], run.y[:, np.maximum(place, 0)] if run.y.shape[1] else np.nan).astype(run.y.dtype)


def _modes(run: Solution, place: Any) -> Any:
    last = run.modes[-1] if run.state is None else run.state.mode
    return np.array([last if k == _HELD else run.modes[k] for k in place], dtype=str)


def _energy(runs: Sequence[Solution], grid: Any) -> Energy | None:
    energies = [run.energy for run in runs if run.energy is not None]
    if len(energies) < len(runs):
        return None
    times = grid
    slack = _ROUNDING * float(np.max(np.abs(grid), initial=0.0))
    places = [_places(energy.t, times, run.t_end, slack) for energy, run in zip(energies, runs, strict=True)]
    if any((place == _MISSING).any() for place in places) or not len(grid):
        longest = _furthest([energy.t for energy in energies])
        times = np.array([longest[0], longest[-1]])[: len(longest)]
        places = [np.array([0, len(energy.t) - 1])[: len(times)] for energy in energies]
    places = [np.where(place == _HELD, len(energy.t) - 1, place) for place, energy in zip(places, energies, strict=True)]
    columns: dict[str, Any] = {}
    for one in fields(Energy):
        parts = [getattr(energy, one.name) for energy in energies]
        whole = one.name != "t" and parts[0] is not None
        columns[one.name] = frozen(np.stack([part[place] for part, place in zip(parts, places, strict=True)])) if whole else None
    return Energy(**{**columns, "t": frozen(times)})


# --- tables, events, dense output -----------------------------------------------------------------------------------------------------


def _stacked(tables: Sequence[Table]) -> Table:
    """Return the rows of single runs' tables one after the other, with the number of the trajectory first."""
    columns = _columns(tables)
    return Table(columns)


def _columns(tables: Sequence[Table]) -> dict[str, Any]:
    filled = [table for table in tables if len(table)] or [tables[0]]
    names = [name for name in tables[0].keys() if name != "trajectory"]  # noqa: SIM118 (rows are what it iterates)
    number = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    return {"trajectory": number, **{name: np.concatenate([table[name] for table in filled]) for name in names}}


def _switches(runs: Sequence[Solution]) -> SwitchTable:
    """Return the switches of all, in the order of time."""
    tables = [run.switches for run in runs]
    hidden = [name for name in tables[0].hidden if all(name in table.hidden for table in tables)]
    entries = {name: [entry for table in tables for entry in table[name]] for name in hidden}
    empty = f"no switch in any of the {len(runs)} trajectories"
    table = SwitchTable(_columns(tables), hidden=entries, trajectories=len(runs), empty=empty)
    backward = any(len(run.t) and run.t_end < run.t[0] for run in runs)
    return table.where(np.argsort(-table["time"] if backward else table["time"], kind="stable"))


def _events(parts: Sequence[Any]) -> Any:
    """Return ``[event][trajectory]`` of each run's ``[event]``."""
    return None if parts[0] is None else [list(one) for one in zip(*parts, strict=True)]


def _dense(runs: Sequence[Solution], until: float | None) -> DenseOutputs | None:
    parts = tuple(run.sol if isinstance(run.sol, DenseOutput) else None for run in runs)
    if all(part is None for part in parts):
        return None
    return DenseOutputs(parts, np.stack([run.y[:, 0] if run.state is None else run.state.x for run in runs]), until)


# --- what goes on ---------------------------------------------------------------------------------------------------------------------


def _balance(parts: Sequence[EnergyBalance | None]) -> EnergyBalance | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    own = known[0].numbers().keys() - {"kind", "heading"}
    return replace(known[0], **{name: frozen([getattr(part, name) for part in known]) for name in own})


def _state(runs: Sequence[Solution]) -> State | None:
    states = [run.state for run in runs if run.state is not None]
    if len(states) < len(runs):
        return None
    h0, dissipated, supplied, injected = np.array([one.account for one in states], dtype=np.float64).T.copy()
    times = np.array([one.t for one in states])
    ends = [_end(run) for run in runs]
    return State(
        float(times[0]) if (times == times[0]).all() else times,
        np.stack([one.x for one in states]),
        np.array([one.mode for one in states], dtype=str),
        np.array([one.entered for one in states]),
        np.array([one.reference for one in states]),
        _guards(states),
        (h0, dissipated, supplied, injected),
        RowSums.merged([one.sums for one in states], ends, float(runs[0].t[0]) if len(runs[0].t) else float(times[0])),
    )


def _end(run: Solution) -> tuple[float, float]:
    """Return T and V at the end (H as V where nothing splits, or nothing is known)."""
    energy = run.energy
    if energy is None:
        return 0.0, 0.0
    if energy.kinetic is None or energy.potential is None:
        return 0.0, float(energy.hamiltonian[-1])
    return float(energy.kinetic[-1]), float(energy.potential[-1])


def _name(names: Sequence[str]) -> str:
    return names[0] if len(set(names)) == 1 else f"{names[0]}...{names[-1]}"


def _guards(states: Sequence[State]) -> tuple[Guarded, ...]:
    """Return what each watch remembers, an array over the trajectories; every run has the same watches, in the same order.

    A run that could not start has none, and nothing to remember.
    """
    known = max((one.guards for one in states), key=len)
    rows = [one.guards or tuple(Guarded(guard.name, 0, 0, 0) for guard in known) for one in states]
    parts = []
    for watches in zip(*rows, strict=True):
        numbers = (np.array([getattr(one, field.name) for one in watches]) for field in fields(Guarded)[1:])
        own = [one.name for one, state in zip(watches, states, strict=True) if state.guards]
        parts.append(Guarded(_name(own), *numbers))
    return tuple(parts)
