"""A Solution on disk: one ``.npz`` file, without pickles."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np

from phdyn.energy import Energy, EnergyBalance, ResidualParts
from phdyn.errors import ArgumentError
from phdyn.solution.result import Solution
from phdyn.tables import SwitchTable, Table

FORMAT: Final = 1

_TABLES: Final = ("switches", "near_misses", "observed")
_COUNTS: Final = ("nfev", "nvev", "njev", "nlu", "nsteps", "nrejected")
_BY_TRAJECTORY: Final = (*_COUNTS, "t_end", "status", "message", "success")
"""Numbers and texts that are arrays in a batch."""

_SHARED: Final = ("setting", "label", "split", "units")


def save(sol: Solution, path: str | Path) -> None:
    """Write everything but the system, the dense output, the state and the states at switches to one ``.npz`` file.

    Raises
    ------
    ArgumentError
        Another suffix.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ArgumentError(f"a Solution is saved as .npz, not {path.name!r}")
    arrays: dict[str, Any] = {"t": sol.t, "y": sol.y, "modes": sol.modes}
    if sol.energy is not None:
        arrays |= {f"energy.{name}": column for name, column in vars(sol.energy).items() if column is not None}
    for name in _TABLES:
        table = getattr(sol, name)
        arrays |= {f"{name}.{column}": table[column] for column in table.keys()}  # noqa: SIM118 (rows are what it iterates)
    arrays |= _packed(sol)
    meta: dict[str, Any] = {name: getattr(sol, name) for name in _SHARED}
    meta |= {
        "format": FORMAT,
        "batch": sol.batch,
        "method": {name: getattr(sol.method, name) for name in ("name", "order", "kind", "family")},
        "no_switch": sol.switches.empty,
        "exception": _texts(sol.exception),
        "events": None if sol.t_events is None else len(sol.t_events),
        "columns": {name: list(getattr(sol, name).keys()) for name in _TABLES},
    }
    numbers = {name: getattr(sol, name) for name in _BY_TRAJECTORY}
    balance = None if sol.balance is None else sol.balance.numbers()
    if sol.batch is None:
        parts = None if sol.balance is None or sol.balance.parts is None else asdict(sol.balance.parts)
        meta |= {**numbers, "balance": balance, "parts": parts}
    else:
        arrays |= {f"run.{name}": np.asarray(value) for name, value in numbers.items()}
        arrays |= {f"balance.{name}": value for name, value in (balance or {}).items() if np.ndim(value)}
        meta["balance"] = None if balance is None else {name: value for name, value in balance.items() if not np.ndim(value)}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, meta=np.array(json.dumps(meta)), **arrays)


def _texts(exception: Any) -> Any:
    if isinstance(exception, (list, tuple)):
        return [_texts(one) for one in exception]
    return None if exception is None else repr(exception)


def _packed(sol: Solution) -> dict[str, Any]:
    """Return the events' times and states; those of a batch one after the other, with how many each trajectory has."""
    arrays: dict[str, Any] = {}
    for k, (times, states) in enumerate(zip(sol.t_events or [], sol.y_events or [], strict=True)):
        if sol.batch is not None:
            arrays[f"n_events.{k}"] = np.array([len(one) for one in times], dtype=np.int64)
            times, states = np.concatenate([*times, np.empty(0)]), np.concatenate([*states, np.empty((0, sol.y.shape[1]))])
            states = states.astype(sol.y.dtype)
        arrays |= {f"t_events.{k}": times, f"y_events.{k}": states}
    return arrays


def _unpacked(arrays: dict[str, Any], name: str, k: int) -> Any:
    column = arrays[f"{name}.{k}"]
    if f"n_events.{k}" not in arrays:
        return column
    return np.split(column, np.cumsum(arrays[f"n_events.{k}"])[:-1])


def load(path: str | Path) -> Solution:
    """Return a Solution that was saved; without its system, dense output and state.

    Raises
    ------
    ArgumentError
        No such file, or not one of phdyn's.
    """
    path = Path(path)
    if not path.is_file():
        raise ArgumentError(f"there is no file {path}")
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: _read_only(file[name]) for name in file.files}
        meta = json.loads(str(arrays.pop("meta")))
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise ArgumentError(f"{path} is not a solution that phdyn saved: {error}") from error
    return _rebuilt(arrays, meta)


def _rebuilt(arrays: dict[str, Any], meta: dict[str, Any]) -> Solution:
    batch = meta.get("batch")

    def columns(name: str) -> dict[str, Any]:
        return {column: arrays[f"{name}.{column}"] for column in meta["columns"][name]}

    energy = None
    if "energy.t" in arrays:
        energy = Energy(**{name: arrays.get(f"energy.{name}") for name in Energy.__dataclass_fields__})  # type: ignore[arg-type]
    balance = meta["balance"]
    if meta.get("parts") is not None:
        balance["parts"] = ResidualParts(**meta["parts"])
    if balance is not None and batch is not None:
        balance |= {name.removeprefix("balance."): array for name, array in arrays.items() if name.startswith("balance.")}
    numbers = {name: meta[name] if batch is None else arrays[f"run.{name}"] for name in _BY_TRAJECTORY}
    events = None if meta["events"] is None else range(meta["events"])
    return Solution(
        t=arrays["t"],
        y=arrays["y"],
        sol=None,
        t_events=None if events is None else [_unpacked(arrays, "t_events", k) for k in events],
        y_events=None if events is None else [_unpacked(arrays, "y_events", k) for k in events],
        exception=_errors(meta["exception"]),
        energy=energy,
        modes=arrays["modes"],
        switches=SwitchTable(columns("switches"), trajectories=batch, empty=meta["no_switch"]),
        near_misses=Table(columns("near_misses")),
        observed=Table(columns("observed")),
        state=None,
        system=None,
        method=SimpleNamespace(**meta["method"]),
        balance=None if balance is None else EnergyBalance(**balance),
        **numbers,
        **{name: meta[name] for name in _SHARED},
    )


def _errors(texts: Any) -> Any:
    if isinstance(texts, list):
        return [_errors(text) for text in texts]
    return None if texts is None else RuntimeError(texts)


def _read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array.flags.writeable = False
    return array
