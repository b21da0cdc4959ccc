"""The energy account: what is stored, dissipated, supplied and injected along a run, and whether the balance closes.

The residual is ``H - H0 + dissipated - supplied - injected``. Dissipated work comes from the friction that the system *declares*, never
from what the momentum lost: the account can see friction applied twice. "H never grows" is the wrong test for an explicit splitting; the
verdict regresses the residual on the dissipated work instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from phdyn.motion import Knot

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

ROWS = 4096
"""Recorded rows beyond which every second one is dropped."""

_COLUMNS = ("t", "kinetic", "potential", "dissipated", "supplied", "injected")


@dataclass(frozen=True)
class Energy:
    """Energies along a run; every array has the length of ``t``.

    Attributes
    ----------
    t : (T,) array
        Times.
    kinetic, potential : (T,) array or None
        T and V; None for a PortHamiltonianSystem, which has no such split; T is 0 for a GradientFlow.
    hamiltonian : (T,) array
        H.
    dissipated, supplied, injected : (T,) array
        Work of the declared friction, work of the input, energy from jumps of the state; from the start.
    residual : (T,) array
        ``H - H0 + dissipated - supplied - injected``.
    """

    t: FloatArray
    kinetic: FloatArray | None
    potential: FloatArray | None
    hamiltonian: FloatArray
    dissipated: FloatArray
    supplied: FloatArray
    injected: FloatArray
    residual: FloatArray


@dataclass
class Sums:
    """Streamed statistics of the account, weighted with the step lengths.

    ``mean`` and ``moments`` are those of (t, dissipated, residual) shifted by the first row.
    """

    steps: int = 0
    weight: float = 0.0
    mean: Any = None
    moments: Any = None
    lowest: Any = None
    highest: Any = None
    scale: float = 0.0
    total: float = 0.0
    most_negative: float = 0.0
    largest: float = 0.0
    largest_time: float = float("nan")
    largest_defect: float = 0.0

    def add(self, rows: FloatArray, previous: FloatArray, h0: float, *, backward: bool) -> None:
        """Add rows of (t, T, V, D, S, I) that follow the row ``previous``."""
        every = np.vstack([previous, rows])
        t, kinetic, potential, dissipated, supplied, injected = every.T
        residual = kinetic + potential - h0 + dissipated - supplied - injected
        w = np.abs(np.diff(t))
        work = np.diff(dissipated) * (-1 if backward else 1)
        self.steps += len(rows)
        self.scale = max(self.scale, float(np.max(np.abs(potential) + kinetic)))
        self.total += float(np.abs(work).sum())
        self.most_negative = min(self.most_negative, float(work.min(initial=0.0)))
        k = int(np.argmax(np.abs(residual)))
        if abs(residual[k]) > self.largest:
            self.largest, self.largest_time = float(abs(residual[k])), float(t[k])
        self.largest_defect = max(self.largest_defect, float(np.abs(np.diff(residual)).max(initial=0.0)))
        columns = np.stack([kinetic, potential, kinetic + potential])
        low, high = columns.min(1), columns.max(1)
        self.lowest = low if self.lowest is None else np.minimum(self.lowest, low)
        self.highest = high if self.highest is None else np.maximum(self.highest, high)
        self._merge(w, np.stack([t[1:], dissipated[1:], residual[1:]]))

    def _merge(self, w: FloatArray, values: FloatArray) -> None:
        """Add weighted samples to the running mean and second moments (Chan, Golub & LeVeque 1983)."""
        total = float(w.sum())
        if total == 0.0:
            return
        mean = values @ w / total
        centred = values - mean[:, None]
        moments = (centred * w) @ centred.T
        if self.mean is None:
            self.mean, self.moments, self.weight = mean, moments, total
            return
        delta, both = mean - self.mean, self.weight + total
        self.moments = self.moments + moments + np.outer(delta, delta) * self.weight * total / both
        self.mean = self.mean + delta * total / both
        self.weight = both

    def slope(self, on: int) -> tuple[float, float]:
        """Return the slope of the residual on column ``on`` (0: time, 1: dissipated work), and the share of variance it explains."""
        if self.moments is None or self.moments[on, on] <= 0:
            return 0.0, 0.0
        slope = self.moments[on, 2] / self.moments[on, on]
        variance = self.moments[2, 2]
        return float(slope), float(slope**2 * self.moments[on, on] / variance) if variance > 0 else 0.0


class Account:
    """The account of one run, streamed: one tuple a step, arrays every few hundred steps.

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
        Its statistics.
    """

    flush_every = 512

    def __init__(
        self,
        start: Knot,
        *,
        keep: str,
        split: bool,
        backward: bool,
        opening: tuple[float, float, float, float] | None = None,
        sums: Sums | None = None,
    ) -> None:
        self.h0, *work = opening or (start.V + start.T, 0.0, 0.0, 0.0)
        self.keep, self.split, self.backward = keep, split, backward
        self.sums = sums or Sums()
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

    def jump(self, kinetic: float, potential: float) -> float:
        """Enter a jump of the state, or of the system, at the time of the last entry; return the energy that it injected."""
        self.flush()
        after = self.last.copy()
        injected = kinetic + potential - float(self.last[1] + self.last[2])
        after[1], after[2], after[5] = kinetic, potential, self.last[5] + injected
        self.last = after
        if self.kept[-1][-1, 0] == after[0]:
            self.kept[-1][-1] = after
        return injected

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

    def energy(self) -> Energy:
        """Return the rows kept, the last one always among them."""
        self.flush()
        rows = np.concatenate(self.kept)
        if rows[-1, 0] != self.last[0]:
            rows = np.vstack([rows, self.last[None]])
        t, kinetic, potential, dissipated, supplied, injected = (np.ascontiguousarray(column) for column in rows.T)
        hamiltonian = kinetic + potential
        residual = hamiltonian - self.h0 + dissipated - supplied - injected
        arrays = (t, kinetic, potential, hamiltonian, dissipated, supplied, injected, residual)
        for array in arrays:
            array.flags.writeable = False
        if not self.split:
            return Energy(t, None, None, *arrays[3:])
        return Energy(*arrays)

    def balance(self, kind: str, heading: str, eps: float) -> EnergyBalance:
        """Judge the account so far."""
        self.flush()
        return judge(self, kind, heading, eps)


@dataclass(frozen=True)
class EnergyBalance:
    """The verdict on an energy account; printing it shows why.

    Attributes
    ----------
    verdict : {"balanced", "coarse", "violated"}
        Whether energy is dissipated as the equation says.
    kind : {"exact", "order", "tolerance"}
        What the method's balance is held to.
    residual, time : float
        The largest absolute residual, and when.
    slope : float
        Slope of the residual on the dissipated work: the share of friction's work that the method undoes (negative: adds).
    swing : float
        Range of the kinetic or potential energy, the larger one (without a split: of H).
    dissipated, supplied, injected : float
        At the end.
    initial, final : float
        H at the start and at the end.
    reason : str
        Why the verdict is not "balanced"; empty otherwise.
    heading : str
        Method and setting.
    """

    verdict: str
    kind: str
    residual: float
    time: float
    slope: float
    swing: float
    dissipated: float
    supplied: float
    injected: float
    initial: float
    final: float
    reason: str
    heading: str

    @property
    def holds(self) -> bool:
        """Whether the balance is not violated."""
        return self.verdict != "violated"

    def __str__(self) -> str:
        verdict = "VIOLATED" if self.verdict == "violated" else self.verdict
        share = f"{100 * self.residual / self.swing:.1f} % of the energy's swing" if self.swing > 0 else "no swing"
        lines = [
            f"energy {'balance ' if self.verdict == 'violated' else ''}{verdict}: {self.heading}",
            f"  H           {self.initial:.4f} -> {self.final:.4f}     change       {self.final - self.initial:.4f}",
            f"  dissipated  {self.dissipated:.4f}     supplied  {self.supplied:.4f}     injected  {self.injected:.4f}",
            f"  residual    {self.residual:.1e} at t = {self.time:.1f}, {share}     slope on dissipated work  {self.slope:.3f}",
        ]
        return "\n".join([*lines, f"  {self.reason}"] if self.reason else lines)


def judge(account: Account, kind: str, heading: str, eps: float) -> EnergyBalance:
    """Apply the rule of the verdict to an account.

    With r the residual, W the dissipated work, c the slope of r on W (weights: step lengths) and R2 the share of r's variance it explains,
    a balance is violated when friction feeds energy in; when more than a tenth of friction's work is missing or invented (|c| > 0.1, with
    R2 > 0.05, over 16 steps at least, and by more than 0.3 % of the swing: over part of an oscillation a healthy residual goes with
    W by itself); when r exceeds a tenth of the energy's swing; or, without friction, when r drifts by more than a hundredth of it. It is
    coarse when r exceeds a hundredth of the swing. Rounding is never blamed: all of it counts above ``8 eps sqrt(steps) (|V| + T)``.
    """
    sums, last = account.sums, account.last
    _, kinetic, potential, dissipated, supplied, injected = (float(v) for v in last)
    verdict, reason, slope, swing = "balanced", "", 0.0, 0.0
    if sums.lowest is not None:
        ranges = sums.highest - sums.lowest
        swing = float(max(ranges[0], ranges[1]) if account.split else ranges[2])
        slope = sums.slope(1)[0]
        reason = _violation(sums, kind, swing, 8 * eps * np.sqrt(sums.steps) * sums.scale, eps)
        if reason:
            verdict = "violated"
        elif kind != "exact" and sums.largest > 0.01 * swing and sums.largest > 8 * eps * np.sqrt(sums.steps) * sums.scale:
            verdict, reason = "coarse", "the step is coarse: a smaller one, or a tighter tolerance, halves the residual and more"
    return EnergyBalance(
        verdict,
        kind,
        sums.largest,
        sums.largest_time,
        slope,
        swing,
        dissipated,
        supplied,
        injected,
        account.h0,
        kinetic + potential,
        reason,
        heading,
    )


def _violation(sums: Sums, kind: str, swing: float, noise: float, eps: float) -> str:
    """Return why a balance is violated, or nothing."""
    if sums.most_negative < -noise:
        return f"not passive: friction feeds energy in ({-sums.most_negative:.2e} in one step): its rate, or R, is negative somewhere"
    if kind == "exact":
        if sums.largest_defect > 100 * eps * sums.scale:
            return f"one step misses the balance by {sums.largest_defect:.1e}, beyond rounding"
        return ""
    slope, explained = sums.slope(1)
    visible = sums.largest > noise
    missing = abs(slope) * sums.total
    if visible and missing > max(noise, 0.003 * swing) and abs(slope) > 0.1 and explained > 0.05 and sums.steps >= 16:
        return f"{100 * abs(slope):.0f} % of the work that friction should do is missing or invented by the method"
    if visible and sums.largest > 0.1 * swing:
        share = 100 * sums.largest / swing if swing > 0 else float("inf")
        return f"the residual is {share:.0f} % of the energy's swing: the step is too coarse, or the gradient is not V's"
    drift = abs(sums.slope(0)[0]) * sums.weight
    if sums.total <= noise and visible and drift > 0.01 * swing:
        return f"energy drifts by {drift:.1e} although nothing dissipates it"
    return ""
