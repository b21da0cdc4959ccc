"""The account of a run: T, V and the works at each step, streamed; the energies that are kept of them."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from phdyn.energy.balance import EnergyBalance, judge
from phdyn.energy.sums import Figures, FloatArray, Sums
from phdyn.motion import Knot

ROWS = 4096
"""Recorded rows beyond which every second one is dropped."""


@dataclass(frozen=True)
class Energy:
    """Energies along a run; every array has the length of ``t``, in a batch the shape (B, T), time last.

    Attributes
    ----------
    t : (T,) array
        Times; in a batch those of all trajectories: one that has ended holds its last energies.
    kinetic, potential : (T,) or (B, T) array or None
        T and V; None for a PortHamiltonianSystem, which has no such split; T is 0 for a GradientFlow. For the systems of
        ``phdyn.descents``, whose energies are no sums of the two, V and the rest.
    hamiltonian : (T,) or (B, T) array
        H.
    dissipated, supplied, injected : (T,) or (B, T) array
        Work of the declared friction, work of the input, energy from jumps of the state; from the start.
    residual : (T,) or (B, T) array
        ``H - H0 + dissipated - supplied - injected``.
    scheme, gradient : (T,) array or None
        What of the residual the scheme misses and what the gradient misses of V, with ``simulate(residual_parts=True)``.
    """

    t: FloatArray
    kinetic: FloatArray | None
    potential: FloatArray | None
    hamiltonian: FloatArray
    dissipated: FloatArray
    supplied: FloatArray
    injected: FloatArray
    residual: FloatArray
    scheme: FloatArray | None = None
    gradient: FloatArray | None = None

    @classmethod
    def of(cls, t: Any, kinetic: Any, potential: Any, works: Any, h0: Any, *, split: bool) -> Energy:
        """Return read-only energies of the columns of an account; ``works`` are dissipated, supplied and injected."""
        dissipated, supplied, injected = works
        hamiltonian = kinetic + potential
        residual = hamiltonian - h0 + dissipated - supplied - injected
        arrays = (t, kinetic, potential, hamiltonian, dissipated, supplied, injected, residual)
        for array in arrays:
            array.flags.writeable = False
        return cls(*arrays) if split else cls(t, None, None, *arrays[3:])


class Account:
    """The account of one run, streamed: one tuple a step, arrays every few hundred steps.

    Of a knot whose energies are arrays (B,), ``Account(...)`` makes a :class:`phdyn.energy.RowAccount`: that of a batch.

    Parameters
    ----------
    start : Knot
        Where the run starts.
    keep : {"all", "thin", "ends"}
        Which rows stay: all; thinned beyond ``ROWS``; the two ends.
    split : bool
        Whether T and V are apart.
    backward : bool
        Whether time runs backwards.
    opening : tuple of float, optional
        (H0, dissipated, supplied, injected) of the run that this one goes on from.
    sums : Sums, optional
        Its statistics; the account goes on with them in place.
    defects : bool
        Whether to follow what single steps miss, which only the verdict on an "exact" method asks for; a batch saves by not doing it.
    """

    flush_every = 512
    batch: int | None = None

    def __new__(cls, start: Knot, **_: Any) -> Account:
        """Make the account that fits the knot."""
        if cls is Account and np.ndim(start.V):
            from phdyn.energy.rows import RowAccount

            return object.__new__(RowAccount)
        return object.__new__(cls)

    def __init__(
        self,
        start: Knot,
        *,
        keep: str,
        split: bool,
        backward: bool,
        opening: tuple[Any, Any, Any, Any] | None = None,
        sums: Any = None,
        defects: bool = True,
    ) -> None:
        self.h0: Any
        self.h0, *work = opening or (start.V + start.T, 0.0, 0.0, 0.0)
        self.keep, self.split, self.backward = keep, split, backward
        self.sums: Any = sums or Sums()
        self.first = np.array([start.t, start.T, start.V, *work])
        self.last = self.first
        self.kept: list[FloatArray] = [self.first[None]]
        self.count, self.number, self.stride = 1, 1, 1
        self.pending: list[tuple[float, float, float, float, float, float]] = []

    def post(self, t: float, kinetic: float, potential: float, dissipated: float, supplied: float, injected: float = 0.0) -> None:
        """Enter a step: where it ended, and the work in between."""
        self.pending.append((t, kinetic, potential, dissipated, supplied, injected))
        if len(self.pending) >= self.flush_every:
            self.flush()

    def flush(self) -> None:
        """Turn pending entries into rows."""
        if not self.pending:
            return
        rows = np.array(self.pending)
        entered = len(rows)
        self.pending.clear()
        rows[0, 3:] += self.last[3:]
        np.cumsum(rows[:, 3:], axis=0, out=rows[:, 3:])
        self.sums.add(rows, self.last, self.h0, backward=self.backward)
        self.last = rows[-1]
        if self.keep == "ends":
            return
        if self.keep == "thin":
            rows = rows[(-self.number) % self.stride :: self.stride].copy()  # a view would keep every row alive
        self.number += entered
        if len(rows):
            self.kept.append(rows)
            self.count += len(rows)
        while self.keep == "thin" and self.count > ROWS:
            kept = np.concatenate(self.kept)[::2].copy()
            self.kept, self.count, self.stride = [kept], len(kept), 2 * self.stride

    def jump(self, kinetic: float, potential: float, injected: float) -> None:
        """Enter a jump of the state at the current time, which changes H by ``injected``.

        The row at this time becomes that after the jump; the residual stays as it is, and the statistics see the new energies when the
        next step is entered.
        """
        self.flush()
        last = self.last.copy()
        last[1:3] = kinetic, potential
        last[5] += injected
        self.last = last
        rows = self.kept[-1]
        if rows[-1, 0] == last[0]:
            rows = rows.copy()  # the first row may be what the sums were opened with
            rows[-1] = last
            self.kept[-1] = rows

    def energy(self) -> Energy:
        """Return the rows kept, the last one always among them."""
        self.flush()
        rows = np.concatenate(self.kept)
        if rows[-1, 0] != self.last[0]:
            rows = np.vstack([rows, self.last[None]])
        t, kinetic, potential, *works = (np.ascontiguousarray(column) for column in rows.T)
        return Energy.of(t, kinetic, potential, works, self.h0, split=self.split)

    def state(self) -> dict[str, Any]:
        """Return the account of a single run as plain numbers and tensors: what `restored` makes one of."""
        self.flush()
        plain = {name: getattr(self, name) for name in ("keep", "split", "backward", "count", "number", "stride")}
        sums = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in vars(self.sums).items()}
        arrays = {"first": self.first, "last": self.last, "rows": np.concatenate(self.kept)}
        return plain | {"h0": float(self.h0), **{name: torch.tensor(a) for name, a in arrays.items()}} | {
            "sums": {name: torch.tensor(value) if isinstance(value, np.ndarray) else value for name, value in sums.items()}
        }

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Account:
        """Return the account that a state was taken of."""
        first, last, rows = (state[name].numpy().copy() for name in ("first", "last", "rows"))
        start: Any = SimpleNamespace(t=float(first[0]), T=float(first[1]), V=float(first[2]))
        opening = (state["h0"], *map(float, first[3:]))
        sums: dict[str, Any] = {name: v.numpy().copy() if isinstance(v, torch.Tensor) else v for name, v in state["sums"].items()}
        account = cls(start, keep=state["keep"], split=state["split"], backward=state["backward"], opening=opening, sums=Sums(**sums))
        account.last, account.kept = last, [rows]
        account.count, account.number, account.stride = state["count"], state["number"], state["stride"]
        return account

    def figures(self) -> Figures:
        """Return what the verdict is made of."""
        self.flush()
        figures: Figures = self.sums.figures(split=self.split)
        return figures

    def books(self) -> tuple[Any, ...]:
        """Return dissipated, supplied and injected work, H at the start and H now: arrays of length one."""
        self.flush()
        _, kinetic, potential, *works = (float(v) for v in self.last)
        return tuple(np.array([v]) for v in (*works, float(self.h0), kinetic + potential))

    def balance(self, kind: str, heading: str, eps: float) -> EnergyBalance:
        """Judge the account so far."""
        self.flush()
        return judge(self, kind, heading, eps)
