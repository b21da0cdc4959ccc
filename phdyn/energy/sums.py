"""Streamed statistics of a single trajectory's account: what the verdict needs, in constant memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

FloatArray = np.ndarray[Any, np.dtype[np.float64]]


def frozen(values: Any) -> Any:
    """Return a read-only array of the values, its own."""
    array = np.array(values)
    array.flags.writeable = False
    return array


class Figures(NamedTuple):
    """What the verdict is made of, one entry a trajectory: arrays (B,), of length one for a single run.

    ``slope`` is that of the residual on the dissipated work, ``explained`` the share of the residual's variance that it explains, ``drift``
    the residual's slope on time times the length of the run, ``work`` the sum of the absolute dissipated works, ``least`` the most
    negative one.
    """

    steps: Any
    scale: Any
    work: Any
    least: Any
    largest: Any
    time: Any
    defect: Any
    swing: Any
    slope: Any
    explained: Any
    drift: Any


@dataclass
class Sums:
    """Streamed statistics of the account, weighted with the step lengths.

    ``mean`` and ``moments`` are those of (t, dissipated, residual).
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

    def copy(self) -> Sums:
        """Return statistics that go on by themselves."""
        return Sums(**vars(self))

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

    def figures(self, *, split: bool) -> Figures:
        """Return what the verdict is made of, as arrays of length one."""
        swing = 0.0
        if self.lowest is not None:
            ranges = self.highest - self.lowest
            swing = max(ranges[0], ranges[1]) if split else ranges[2]
        slope, explained = self.slope(1)
        numbers = (self.scale, self.total, self.most_negative, self.largest, self.largest_time, self.largest_defect, swing)
        drift = abs(self.slope(0)[0]) * self.weight
        return Figures(np.array([self.steps]), *(np.array([float(v)]) for v in (*numbers, slope, explained, drift)))
