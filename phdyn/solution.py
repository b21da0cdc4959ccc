"""Solution: what scipy's OdeResult has, with energies, modes and switches; saved to and loaded from one file."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zipfile import BadZipFile

import numpy as np

from phdyn.energy import Energy, EnergyBalance, Sums
from phdyn.errors import ArgumentError
from phdyn.tables import SwitchTable, Table

FORMAT = 1


@dataclass(frozen=True)
class State:
    """All that a run needs to go on: ``simulate(system, (state.t, t_end), state, ...)``.

    Attributes
    ----------
    t : float
        Time; the next span must start here.
    x : array
        State, NumPy.
    mode : str
        Current mode.
    entered : float
        When it was entered.
    reference : float
        V at the start of the first run, to which reductions refer.
    guards : tuple of Guarded
        What each watch remembers, transitions first.
    account : tuple of float
        H0, dissipated, supplied, injected.
    sums : Sums
        The verdict's statistics.
    """

    t: float
    x: np.ndarray[Any, Any]
    mode: str
    entered: float
    reference: float
    guards: tuple[Guarded, ...]
    account: tuple[float, float, float, float]
    sums: Sums


@dataclass(frozen=True)
class Guarded:
    """What a watch remembers between runs."""

    name: str
    side: int
    last: int
    fired: int
    closest: float = float("nan")
    closest_time: float = float("nan")
    level: float = float("nan")


@dataclass(frozen=True)
class DenseOutput:
    """The solution at any time within the span: ``sol.sol(t)``, t a number or (k,), gives (size,) or (size, k).

    Between step ends it is the method's interpolant: for the heavy ball the quintic through both ends (order 6 in q, 5 in p), for scipy's
    solvers their own. It is right-continuous at switches.
    """

    starts: list[float]
    ends: list[float]
    paths: list[Callable[[float], Any]]

    def __call__(self, t: Any) -> np.ndarray[Any, Any]:
        """Return the state at t, a number or an array of times; outside the span is an ArgumentError."""
        times = np.asarray(t, dtype=np.float64)
        low, high = sorted((self.starts[0], self.ends[-1]))
        if times.size and not (low <= times.min() and times.max() <= high):
            raise ArgumentError(f"sol.sol knows t from {low:g} to {high:g}, not {times.min():g} to {times.max():g}")
        if times.ndim == 0:
            return self._one(float(times))
        states = [self._one(float(s)) for s in times]
        return np.stack(states, axis=-1) if states else np.empty((len(self._one(low)), 0))

    def _one(self, t: float) -> np.ndarray[Any, Any]:
        sign = 1 if self.ends[-1] >= self.starts[0] else -1
        keys = self.starts if sign > 0 else [-s for s in self.starts]
        k = max(bisect_right(keys, sign * t) - 1, 0)
        t0, t1 = self.starts[k], self.ends[k]
        x = self.paths[k]((t - t0) / (t1 - t0))
        return np.array(x.detach().cpu() if hasattr(x, "detach") else x)


@dataclass(frozen=True)
class Solution:
    """The result of a run. Arrays are NumPy and read-only; time is the last axis.

    Attributes
    ----------
    t : (T,) array
        Times, strictly monotone: every step end and switch (or ``t_eval``, or both ends).
    y : (size, T) array
        States; right-continuous at switches.
    sol : DenseOutput or None
        With ``dense_output=True``.
    t_events, y_events : list of array, or None
        Times (k,) and states (k, size) of each event.
    nfev, nvev, njev, nlu : int
        Gradients (or calls of ``fun``), values of V alone, Jacobians, factorizations.
    nsteps, nrejected : int
        Steps accepted; rejected by an error control where the library tells (0 for LSODA and Radau, which do not).
    t_end : float
        Where the run ended.
    status : int
        0 end of span, 1 terminal event, -1 step underflow, -2 not finite, -3 budget spent, -4 too many switches, -6 interrupted, -7 your
        function raised.
    message : str
        What happened, and what to do.
    success : bool
        Whether the run ended at the end of the span or at a terminal event.
    exception : Exception or None
        What your function raised.
    energy : Energy or None
        Energies; None for a plain ``fun``.
    modes : (T,) array of str
        Mode at each t.
    switches : SwitchTable
        Switches, with the states before and after them when states are recorded.
    near_misses : Table
        Goals that were not reached, with the closest approach.
    observed : Table
        Observables.
    state : State
        From which the run goes on.
    system : object
        The system; None after loading.
    method : object
        The method (name, order, kind, family).
    setting : str
        Step or tolerances, as text.
    """

    t: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]
    sol: DenseOutput | None
    t_events: list[np.ndarray[Any, Any]] | None
    y_events: list[np.ndarray[Any, Any]] | None
    nfev: int
    nvev: int
    njev: int
    nlu: int
    nsteps: int
    nrejected: int
    t_end: float
    status: int
    message: str
    success: bool
    exception: BaseException | None
    energy: Energy | None
    modes: np.ndarray[Any, Any]
    switches: SwitchTable
    near_misses: Table
    observed: Table
    state: State | None
    system: Any
    method: Any
    setting: str
    label: str
    split: bool
    units: dict[str, str] = field(default_factory=dict)
    balance: EnergyBalance | None = field(default=None, repr=False)

    @property
    def q(self) -> np.ndarray[Any, Any] | None:
        """Positions (n, T), a view; None without a split."""
        return self.y[: len(self.y) // 2] if self.split else None

    @property
    def p(self) -> np.ndarray[Any, Any] | None:
        """Momenta (n, T), a view; None without a split."""
        return self.y[len(self.y) // 2 :] if self.split else None

    @cached_property
    def inputs(self) -> np.ndarray[Any, Any] | None:
        """Inputs u (m, T) at the times t; None without an input."""
        systems = getattr(self.system, "modes", None) or dict.fromkeys(map(str, set(self.modes)), self.system)
        inputs = {mode: getattr(system, "u", None) for mode, system in systems.items()}
        if all(u is None for u in inputs.values()):
            return None
        z = self.q if self.q is not None else self.y
        rows = []
        for k, (t, mode) in enumerate(zip(self.t, self.modes, strict=True)):
            u = inputs[mode]
            rows.append(None if u is None else np.asarray(u(float(t), z[:, k]), dtype=np.float64))
        zero = np.zeros_like(next((row for row in rows if row is not None), np.zeros(1)))
        return _read_only(np.stack([zero if row is None else row for row in rows], axis=-1))

    @cached_property
    def outputs(self) -> np.ndarray[Any, Any] | None:
        """Outputs y = G^T grad H (m, T) at the times t (a gradient each, not counted); None without a port."""
        if getattr(self.system, "G", None) is None:
            return None
        return _read_only(np.stack([self.system.output(float(t), self.y[:, k]) for k, t in enumerate(self.t)], axis=-1))

    def energy_balance(self) -> EnergyBalance:
        """Return the verdict on the energy account.

        Raises
        ------
        ArgumentError
            A plain ``fun`` has no energy.
        """
        if self.balance is None:
            raise ArgumentError("a plain fun(t, x) has no energy to balance: pass a HeavyBall, GradientFlow or PortHamiltonianSystem")
        return self.balance

    def save(self, path: str | Path) -> None:
        """Write everything but the system, the dense output, the state and the states at switches to one ``.npz`` file.

        Raises
        ------
        ArgumentError
            Another suffix.
        """
        path = Path(path)
        if path.suffix != ".npz":
            raise ArgumentError(f"a Solution is saved as .npz, not {path.name!r}")
        arrays: dict[str, Any] = {"t": self.t, "y": self.y, "modes": self.modes}
        if self.energy is not None:
            arrays |= {f"energy.{name}": column for name, column in vars(self.energy).items() if column is not None}
        for name in ("switches", "near_misses", "observed"):
            table = getattr(self, name)
            arrays |= {f"{name}.{column}": table[column] for column in table.keys()}  # noqa: SIM118 (rows are what it iterates)
        for k, (times, states) in enumerate(zip(self.t_events or [], self.y_events or [], strict=True)):
            arrays |= {f"t_events.{k}": times, f"y_events.{k}": states}
        meta: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN}
        meta |= {
            "format": FORMAT,
            "method": {name: getattr(self.method, name) for name in ("name", "order", "kind", "family")},
            "balance": None if self.balance is None else asdict(self.balance),
            "no_switch": self.switches.empty,
            "exception": None if self.exception is None else repr(self.exception),
            "events": None if self.t_events is None else len(self.t_events),
            "columns": {name: list(getattr(self, name).keys()) for name in ("switches", "near_misses", "observed")},
        }
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, meta=np.array(json.dumps(meta)), **arrays)

    def __str__(self) -> str:
        lines = [
            f"Solution: {self.label} by {self.method.name}, {self.setting}",
            f"  status {self.status}    {self.message}",
            f"  cost        {self.nfev} gradients, {self.nvev} loss values, {self.nsteps} steps ({self.nrejected} rejected)",
        ]
        if len(self.switches):
            named = ", ".join(f"{row.source} -> {row.target} at t = {row.time:.4f}" for row in list(self.switches)[:4])
            more = f", ... ({len(self.switches)} in all)" if len(self.switches) > 4 else ""
            lines.append(f"  switches    {len(self.switches)}: {named}{more}")
        if self.balance is not None:
            verdict = self.balance.verdict if self.balance.holds else "VIOLATED"
            lines.append(f"  energy      H {self.balance.initial:.4f} -> {self.balance.final:.4f}, {verdict}")
        return "\n".join(lines)


_COUNTS = ("nfev", "nvev", "njev", "nlu", "nsteps", "nrejected")
_PLAIN = (*_COUNTS, "t_end", "status", "message", "success", "setting", "label", "split", "units")


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

    def columns(name: str) -> dict[str, Any]:
        return {column: arrays[f"{name}.{column}"] for column in meta["columns"][name]}

    energy = None
    if "energy.t" in arrays:
        energy = Energy(**{name: arrays.get(f"energy.{name}") for name in Energy.__dataclass_fields__})  # type: ignore[arg-type]
    events = None if meta["events"] is None else range(meta["events"])
    return Solution(
        t=arrays["t"],
        y=arrays["y"],
        sol=None,
        t_events=None if events is None else [arrays[f"t_events.{k}"] for k in events],
        y_events=None if events is None else [arrays[f"y_events.{k}"] for k in events],
        exception=None if meta["exception"] is None else RuntimeError(meta["exception"]),
        energy=energy,
        modes=arrays["modes"],
        switches=SwitchTable(columns("switches"), trajectories=None, empty=meta["no_switch"]),
        near_misses=Table(columns("near_misses")),
        observed=Table(columns("observed")),
        state=None,
        system=None,
        method=SimpleNamespace(**meta["method"]),
        balance=None if meta["balance"] is None else EnergyBalance(**meta["balance"]),
        **{name: meta[name] for name in _PLAIN},
    )


def _read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array.flags.writeable = False
    return array
