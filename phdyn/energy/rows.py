"""The account of a batch: one trajectory a row, its statistics streamed step by step in place.

With 1e5 rows a block of a few hundred steps would be gigabytes, so every step is reduced at once, on arrays (B,) made at the start. What
counts then is the number of passes over such arrays, about 0.3 ns a row each: hence raw moments in place of the running means of
:class:`phdyn.energy.Sums` (one fused multiply-add each, which torch has and NumPy has not), and tests that skip what cannot have changed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from phdyn.energy.account import ROWS, Account, Energy
from phdyn.energy.row_sums import RowSums
from phdyn.energy.sums import Figures, FloatArray
from phdyn.motion import Knot

_NUMBERS = 2**22
"""Numbers a kept column may have beyond the fewest rows: of many trajectories fewer rows are kept."""

_FEWEST_ROWS = 64

_POSTINGS = 2**16
"""Postings whose times are remembered before they are written down."""


class RowAccount(Account):
    """The account of a batch: as :class:`phdyn.energy.Account`, energies and works being arrays (B,).

    What is posted is reduced at once, and may change afterwards, but for T and V of all trajectories, which are kept as they are.
    ``opening`` and ``sums`` are those of a batch.
    """

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
        self.defects = defects
        self.keep, self.split, self.backward = keep, split, backward
        self.batch = count = len(np.asarray(start.V))
        self.t = float(start.t)
        self.T, self.V = (np.array(v, dtype=np.float64) for v in np.broadcast_arrays(start.T, start.V))
        h0, *works = opening or (self.T + self.V, 0.0, 0.0, 0.0)
        self.h0, *self.works = (np.array(np.broadcast_to(v, (count,)), dtype=np.float64) for v in (h0, *works))
        self.level = self.h0 + self.works[1] + self.works[2]
        self.sums: RowSums = RowSums.opened(self.t, self.T, self.V) if sums is None else sums
        self.residual, self.before, self.scratch = self.T + self.V + self.works[0] - self.level, np.empty(count), np.empty(count)
        self.counted, self.fed = self.works[0].copy(), np.zeros(count)
        self.mask, self.largest_at, self.postings = np.empty(count, dtype=bool), np.zeros(count), [self.t]
        self.fused = {name: torch.from_numpy(getattr(self.sums, name)) for name in _FUSED}
        self.work_tensor = torch.from_numpy(self.works[0])
        self.moving = bool(self.sums.kinetic_low.any())
        self.limit = max(_FEWEST_ROWS, min(ROWS, _NUMBERS // max(count, 1)))
        self.times, self.rows = [self.t], [self._row()]
        self.number, self.stride = 1, 1

    # --- entering -------------------------------------------------------------------------------------------------------------
    def post(
        self, t: float, kinetic: Any, potential: Any, dissipated: Any, supplied: Any = 0.0, injected: Any = 0.0, *, live: Any = None
    ) -> None:
        """Enter a step of the whole batch: where it ended, and the works (B,) in between; a number stands for all trajectories.

        ``live`` (B,) of bool says which trajectories took the step, None: all. The others keep what they have, whatever is posted for
        them, and their statistics stand still.
        """
        if live is not None and live.all():
            live = None
        w, self.t = abs(t - self.t), t
        if len(self.postings) > _POSTINGS:
            self._date()
        self.postings.append(t)
        if live is None:
            self.T, self.V = self._whole(kinetic), self._whole(potential)
        else:
            self.T, self.V = np.where(live, kinetic, self.T), np.where(live, potential, self.V)
            dissipated, supplied, injected = (np.where(live, v, 0.0) for v in (dissipated, supplied, injected))
        self._enter_works(dissipated, supplied, injected)
        self._measure(live)
        if live is None and not isinstance(self.sums.weight, np.ndarray):
            self._weigh(t - self.sums.origin, w)
        else:
            self._weigh_by_row(t - self.sums.origin, w, live)
        if self.keep != "ends":
            self._keep()

    def _whole(self, part: Any) -> FloatArray:
        """Return energies over all trajectories."""
        same = isinstance(part, np.ndarray) and part.shape == self.T.shape and part.dtype == np.float64
        return part if same else np.array(np.broadcast_to(part, self.T.shape), dtype=np.float64)

    def _enter_works(self, dissipated: Any, supplied: Any, injected: Any) -> None:
        self.works[0] += dissipated
        worst = np.max(dissipated) if self.backward else -np.min(dissipated)
        if worst > 0:  # friction fed energy in: rare
            fed = np.maximum(dissipated if self.backward else np.negative(dissipated), 0.0)
            self.fed += fed
            np.minimum(self.sums.most_negative, -fed, out=self.sums.most_negative)
        for k, work in ((1, supplied), (2, injected)):
            if isinstance(work, np.ndarray) or work:
                self.works[k] += work
                self.level += work

    def _measure(self, live: Any) -> None:
        """Compute the residual; take in extremes."""
        sums, scratch = self.sums, self.scratch
        self.residual, self.before = self.before, self.residual
        residual = np.add(self.T, self.V, out=self.residual)
        np.maximum(sums.scale, residual, out=sums.scale)  # |V| + T, where V is not negative
        if self.V.min(initial=0.0) < 0:
            np.maximum(sums.scale, np.subtract(self.T, self.V, out=scratch), out=sums.scale)
        self._range()
        residual += self.works[0]
        residual -= self.level
        if self.defects:
            np.subtract(residual, self.before, out=scratch)
            np.abs(scratch, out=scratch)
            np.maximum(sums.largest_defect, scratch, out=sums.largest_defect)
        np.abs(residual, out=scratch)
        self._note_largest(scratch)

    def _range(self) -> None:
        sums = self.sums
        if self.moving:  # of what started at rest, the least T is zero
            np.minimum(sums.kinetic_low, self.T, out=sums.kinetic_low)
        np.maximum(sums.kinetic_high, self.T, out=sums.kinetic_high)
        np.minimum(sums.potential_low, self.V, out=sums.potential_low)
        np.maximum(sums.potential_high, self.V, out=sums.potential_high)

    def _note_largest(self, sizes: FloatArray) -> None:
        """Note the residuals that are larger than any before, and in which posting; ``sizes`` is overwritten.

        The number of the posting only grows: without branches on single rows this costs a tenth of writing times under a mask.
        """
        larger, largest = self.mask, self.sums.largest
        np.greater(sizes, largest, out=larger)
        if larger.any():
            np.fmax(largest, sizes, out=largest)
            np.multiply(larger, float(len(self.postings) - 1), out=sizes)
            np.maximum(self.largest_at, sizes, out=self.largest_at)

    def _date(self) -> None:
        """Give the largest residuals the times of their postings."""
        rows = np.flatnonzero(self.largest_at)
        self.sums.largest_time[rows] = np.array(self.postings)[self.largest_at[rows].astype(np.intp)]
        self.postings, self.largest_at[:] = [self.postings[-1]], 0.0

    def _weigh(self, t: float, w: float) -> None:
        """Add to the moments, all trajectories alike."""
        sums, fused = self.sums, self.fused
        sums.steps += 1
        sums.weight += w
        sums.time += w * t
        sums.time_time += w * t * t
        work, residual = self.work_tensor, torch.from_numpy(self.residual)
        fused["work"].add_(work, alpha=w)
        fused["residual"].add_(residual, alpha=w)
        fused["time_residual"].add_(residual, alpha=w * t)
        fused["work_work"].addcmul_(work, work, value=w)
        fused["work_residual"].addcmul_(work, residual, value=w)
        fused["residual_residual"].addcmul_(residual, residual, value=w)

    def _weigh_by_row(self, t: float, w: float, live: Any) -> None:
        """Add to the moments of the trajectories that took the step."""
        sums, work, residual = self.sums, self.works[0], self.residual
        sums.by_row()
        weights = np.full(len(work), w) if live is None else np.where(live, w, 0.0)
        sums.steps += 1 if live is None else live
        sums.weight += weights
        sums.time += t * weights
        sums.time_time += t * t * weights
        weighted = np.multiply(weights, work, out=self.scratch)
        sums.work += weighted
        weighted *= work
        sums.work_work += weighted
        weighted = np.multiply(weights, residual, out=self.scratch)
        sums.residual += weighted
        sums.time_residual += t * weighted
        sums.work_residual += weighted * work
        weighted *= residual
        sums.residual_residual += weighted

    def jump(self, kinetic: Any, potential: Any, injected: Any, rows: Any = None) -> None:
        """Enter a jump of the state of some trajectories (``rows``: their indices; None: all), which changes H by ``injected``.

        At the current time: the energies here become those after the jump, and the residual stays as it is. For a jump inside the step
        that is posted next, pass None as energies: only the books take it in. The statistics gain no weight.
        """
        at = slice(None) if rows is None else rows
        self.works[2][at] += injected
        self.level[at] += injected
        if kinetic is None:
            return
        self.T, self.V = self.T.copy(), self.V.copy()
        self.T[at], self.V[at] = kinetic, potential
        self._range()
        np.maximum(self.sums.scale, np.abs(self.V) + self.T, out=self.sums.scale)
        if self.times[-1] == self.t:
            self.rows[-1] = self._row()

    # --- keeping --------------------------------------------------------------------------------------------------------------
    def _row(self) -> FloatArray:
        return np.stack([self.T, self.V, *self.works])

    def _keep(self) -> None:
        if self.keep == "all" or self.number % self.stride == 0:
            self.times.append(self.t)
            self.rows.append(self._row())
        self.number += 1
        if self.keep == "thin" and len(self.times) > self.limit:
            self.times, self.rows, self.stride = self.times[::2], self.rows[::2], 2 * self.stride

    def flush(self) -> None:
        """Do nothing: every step is entered at once."""

    @property
    def last(self) -> Any:  # type: ignore[override]
        """(t, T, V, dissipated, supplied, injected) now: a number, and arrays (B,) of the account's own."""
        return (self.t, self.T, self.V, *self.works)

    def energy(self) -> Energy:
        """Return the rows kept, the last one always among them."""
        times, rows = self.times, self.rows
        if times[-1] != self.t:
            times, rows = [*times, self.t], [*rows, self._row()]
        kept = np.empty((5, len(self.T), len(times)))
        for k, row in enumerate(rows):
            kept[:, :, k] = row
        kinetic, potential, *works = (column.copy() for column in kept)
        return Energy.of(np.array(times), kinetic, potential, works, self.h0[:, None], split=self.split)

    def figures(self) -> Figures:
        """Return what the verdict is made of."""
        return self.settled().figures()

    def settled(self) -> RowSums:
        """Return the statistics, all of them up to date; what friction did was not summed step by step where it only took energy out."""
        work = self.works[0]
        self.sums.total += (work - self.counted) * (-1 if self.backward else 1) + 2 * self.fed
        np.copyto(self.counted, work)
        self.fed[:] = 0.0
        self._date()
        return self.sums

    def books(self) -> tuple[Any, ...]:
        """Return dissipated, supplied and injected work, H at the start and H now: arrays (B,)."""
        return (*self.works, self.h0, self.T + self.V)


_FUSED = ("work", "residual", "time_residual", "work_work", "work_residual", "residual_residual")
