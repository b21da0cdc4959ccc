"""The result of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from phdyn.energy import Energy, EnergyBalance, check_window, slopes
from phdyn.errors import ArgumentError
from phdyn.solution.dense import DenseOutput, DenseOutputs
from phdyn.solution.state import State
from phdyn.tables import SwitchTable, Table


@dataclass(frozen=True)
class Solution:
    """The result of a run. Arrays are NumPy and read-only; time is the last axis.

    In a batch of B trajectories, ``y`` is (B, size, T), ``modes`` (B, T), numbers are arrays (B,), messages an array (B,) of str,
    exceptions a list; a trajectory that has ended holds its last state, so ``y[..., -1]`` is the end, at ``t_end``.

    Attributes
    ----------
    t : (T,) array
        Times, strictly monotone: every step end and switch (or ``t_eval``, or both ends).
    y : (size, T) or (B, size, T) array
        States; right-continuous at switches.
    sol : DenseOutput, DenseOutputs or None
        With ``dense_output=True``.
    t_events, y_events : list of array, or None
        Times (k,) and states (k, size) of each event; in a batch ``[event][trajectory]``.
    nfev, nvev, njev, nlu : int
        Gradients (or calls of ``fun``), values of V alone, Jacobians, factorizations.
    nsteps, nrejected : int
        Steps accepted; rejected by an error control where the library tells (0 for BDF, LSODA and Radau, which do not).
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
    sol: DenseOutput | DenseOutputs | None
    t_events: list[Any] | None
    y_events: list[Any] | None
    nfev: Any
    nvev: Any
    njev: Any
    nlu: Any
    nsteps: Any
    nrejected: Any
    t_end: Any
    status: Any
    message: Any
    success: Any
    exception: Any
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
    def batch(self) -> int | None:
        """Number of trajectories; None for a single run."""
        return None if self.y.ndim == 2 else len(self.y)

    def trajectory(self, k: int) -> Solution:
        """Return trajectory k of a batch as the Solution of a single run, which ends where the trajectory did.

        Raises
        ------
        ArgumentError
            The solution is no batch, or has no trajectory k.
        """
        from phdyn.solution.pieces import trajectory

        return trajectory(self, k)

    @property
    def q(self) -> np.ndarray[Any, Any] | None:
        """Positions (n, T) or (B, n, T), a view; None without a split."""
        return self.y[..., : self.y.shape[-2] // 2, :] if self.split else None

    @property
    def p(self) -> np.ndarray[Any, Any] | None:
        """Momenta (n, T) or (B, n, T), a view; None without a split."""
        return self.y[..., self.y.shape[-2] // 2 :, :] if self.split else None

    @cached_property
    def inputs(self) -> np.ndarray[Any, Any] | None:
        """Inputs u (m, T) or (B, m, T) at the times t; None without an input."""
        systems = getattr(self.system, "modes", None) or dict.fromkeys(map(str, np.unique(self.modes)), self.system)
        inputs = {mode: getattr(system, "u", None) for mode, system in systems.items()}
        if all(u is None for u in inputs.values()):
            return None
        size = next((np.size(u(float(self.t[0]), self._first_place)) for u in inputs.values() if u is not None and len(self.t)), 0)
        return self._along(lambda t, z, mode: np.zeros(size) if (u := inputs[mode]) is None else np.asarray(u(t, z), float), self._places)

    @cached_property
    def outputs(self) -> np.ndarray[Any, Any] | None:
        """Outputs y = G^T grad H, (m, T) or (B, m, T), at the times t (a gradient each, not counted); None without a port."""
        output = None if getattr(self.system, "G", None) is None else self.system.output
        return None if output is None else self._along(lambda t, x, _: output(t, x), self.y)

    @property
    def _places(self) -> np.ndarray[Any, Any]:
        """What an input is a function of: positions, or states where nothing splits."""
        return self.y if self.q is None else self.q

    @property
    def _first_place(self) -> np.ndarray[Any, Any]:
        first = self._places[..., 0]
        return first if self.batch is None else first[0]

    def _along(self, function: Callable[[float, Any, str], Any], states: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return a function of (t, state, mode), a trajectory at a time, along the states: time last."""
        parts, modes = (states, self.modes) if self.batch is not None else (states[None], self.modes[None])
        along = np.stack(
            [
                np.stack([function(float(t), one[:, k], str(mode[k])) for k, t in enumerate(self.t)], axis=-1)
                for one, mode in zip(parts, modes, strict=True)
            ]
        )
        along.flags.writeable = False
        return along if self.batch is not None else along[0]

    def energy_balance(self, *, window: int | None = None) -> EnergyBalance:
        """Return the verdict on the energy account.

        Parameters
        ----------
        window : int, optional
            Steps; then the balance also has ``slopes``, the slope of the residual on the dissipated work window by window. Where it is near
            1 the discretization undoes all of friction's work: the step is at its stability limit. In a batch whose trajectories were run
            one by one and recorded at ``t_eval``, windows count in the rows that there are.

        Raises
        ------
        ArgumentError
            A plain ``fun`` has no energy; a window that does not fit the run, or the energies that it kept.
        """
        if self.balance is None:
            raise ArgumentError("a plain fun(t, x) has no energy to balance: pass a HeavyBall, GradientFlow or PortHamiltonianSystem")
        if window is None:
            return self.balance
        return replace(self.balance, slopes=self._slopes(window))

    def _slopes(self, window: int) -> Table:
        window = check_window(window)
        if self.batch is None:
            return slopes(self.energy, window, self.nsteps, float(np.finfo(self.y.dtype).eps))  # type: ignore[arg-type]
        long = [k for k in range(self.batch) if self.nsteps[k] >= window]  # one that ended within the first window has no slope
        if not long:
            longest = max(self.nsteps, default=0)
            raise ArgumentError(f"window is {window}, and the longest trajectory has {longest} steps: no window fits in")
        parts = [self.trajectory(k)._slopes(window) for k in long]
        columns = {name: np.concatenate([part[name] for part in parts] or [[]]) for name in ("time", "slope")}
        return Table({"trajectory": np.repeat(np.array(long, dtype=np.int64), [len(part) for part in parts]), **columns})

    def save(self, path: str | Path) -> None:
        """Write everything but the system, the dense output, the state and the states at switches to one ``.npz`` file.

        Raises
        ------
        ArgumentError
            Another suffix.
        """
        from phdyn.solution.file import save

        save(self, path)

    def __str__(self) -> str:
        from phdyn.solution.text import describe

        return describe(self)
