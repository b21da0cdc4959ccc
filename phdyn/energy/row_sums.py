"""Streamed statistics of a batch's account, a row a trajectory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from phdyn.energy.sums import Figures, FloatArray, Sums


@dataclass
class RowSums:
    """Statistics as in :class:`phdyn.energy.Sums`, a row a trajectory; the moments are raw, of (t - origin, dissipated, residual).

    Raw moments lose digits where a mean is large beside the spread. Here it is not: works and residuals start at zero and time at its
    origin, so a mean is no larger than what the column went through.
    """

    origin: float
    steps: Any
    weight: Any
    time: Any
    time_time: Any
    work: FloatArray
    residual: FloatArray
    work_work: FloatArray
    work_residual: FloatArray
    residual_residual: FloatArray
    time_residual: FloatArray
    kinetic_low: FloatArray
    kinetic_high: FloatArray
    potential_low: FloatArray
    potential_high: FloatArray
    scale: FloatArray
    total: FloatArray
    most_negative: FloatArray
    largest: FloatArray
    largest_time: FloatArray
    largest_defect: FloatArray

    @classmethod
    def opened(cls, t: float, kinetic: FloatArray, potential: FloatArray) -> RowSums:
        """Return the statistics of B trajectories before their first step."""
        count = len(kinetic)
        zeros = [np.zeros(count) for _ in range(6)]
        extremes = [np.array(column, dtype=np.float64) for column in (kinetic, kinetic, potential, potential)]
        rest = [np.abs(potential) + kinetic, *(np.zeros(count) for _ in range(3)), np.full(count, np.nan), np.zeros(count)]
        return cls(t, 0, 0.0, 0.0, 0.0, *zeros, *extremes, *rest)

    def copy(self) -> RowSums:
        """Return statistics that go on by themselves."""
        own: dict[str, Any] = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}
        return RowSums(**own)

    def take(self, rows: Any) -> RowSums:
        """Return the statistics of some rows."""
        some: dict[str, Any] = {name: value[rows] if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}
        return RowSums(**some)

    def by_row(self) -> None:
        """Count steps and weigh time by trajectory from now on: some have ended."""
        if not isinstance(self.weight, np.ndarray):
            self.steps = np.full(len(self.total), self.steps, dtype=np.int64)
            for name in ("weight", "time", "time_time"):
                setattr(self, name, np.full(len(self.total), getattr(self, name), dtype=np.float64))

    def __getitem__(self, k: int) -> Sums:
        """Return the statistics of trajectory k as those of a single run."""
        one = self.take([k])
        one.by_row()
        number = {name: value[0].item() for name, value in vars(one).items() if isinstance(value, np.ndarray)}
        weight = number["weight"]
        raw = np.array([number["time"], number["work"], number["residual"]])
        cross = number["work_residual"], number["time_residual"]
        square = np.diag([number["time_time"], number["work_work"], number["residual_residual"]])
        square[1, 2] = square[2, 1] = cross[0]
        square[0, 2] = square[2, 0] = cross[1]
        mean = raw / weight if weight else raw
        with np.errstate(over="ignore", invalid="ignore"):  # of what has run away
            moments = square - np.outer(mean, mean) * weight
        moments[0, 1] = moments[1, 0] = np.nan  # nobody asks for it
        mean[0] += self.origin
        low, high = ([number[f"{name}_{end}"] for name in ("kinetic", "potential")] for end in ("low", "high"))
        names = ("scale", "total", "most_negative", "largest", "largest_time", "largest_defect")
        known: dict[str, Any] = {name: number[name] for name in names}
        if weight:
            known |= {"mean": mean, "moments": moments, "lowest": np.array([*low, low[1]]), "highest": np.array([*high, high[1]])}
        return Sums(number["steps"], weight, **known)

    @classmethod
    def merged(cls, parts: list[Sums], starts: list[tuple[float, float]], origin: float) -> RowSums:
        """Return the statistics of single runs, of which (T, V) at the end are known, as the rows of a batch."""
        rows = cls.opened(origin, *np.array(starts, dtype=np.float64).reshape(-1, 2).T)
        rows.by_row()
        for k, one in enumerate(parts):
            rows.steps[k], rows.weight[k] = one.steps, one.weight
            for name in ("scale", "total", "most_negative", "largest", "largest_time", "largest_defect"):
                getattr(rows, name)[k] = getattr(one, name)
            if one.lowest is not None:
                rows.kinetic_low[k], rows.potential_low[k] = one.lowest[:2]
                rows.kinetic_high[k], rows.potential_high[k] = one.highest[:2]
            if one.mean is not None:
                mean = np.array([one.mean[0] - origin, *one.mean[1:]])
                square = one.moments + np.outer(mean, mean) * one.weight
                rows.time[k], rows.work[k], rows.residual[k] = mean * one.weight
                rows.time_time[k], rows.work_work[k], rows.residual_residual[k] = np.diag(square)
                rows.work_residual[k], rows.time_residual[k] = square[1, 2], square[0, 2]
        return rows

    def figures(self) -> Figures:
        """Return what the verdict is made of."""
        count = len(self.total)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(self.weight > 0, 1.0 / np.asarray(self.weight), 0.0)
            work = self.work_work - share * self.work**2
            both = self.work_residual - share * self.work * self.residual
            residual = self.residual_residual - share * self.residual**2
            time = self.time_time - share * self.time**2
            slope = np.where(work > 0, both / work, 0.0)
            explained = np.where((work > 0) & (residual > 0), slope**2 * work / residual, 0.0)
            drift = np.where(time > 0, (self.time_residual - share * self.time * self.residual) / time, 0.0)
        swing = np.maximum(self.kinetic_high - self.kinetic_low, self.potential_high - self.potential_low)
        steps = np.broadcast_to(self.steps, (count,))
        measured = (self.scale, self.total, self.most_negative, self.largest, self.largest_time, self.largest_defect)
        return Figures(steps, *measured, swing, slope, explained, np.abs(drift) * self.weight)
