"""The state at any time within the span: paths inside the steps, looked up by time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from phdyn.errors import ArgumentError


@dataclass(frozen=True)
class DenseOutput:
    """The solution at any time within the span: ``sol.sol(t)``, t a number or (k,), gives (size,) or (size, k).

    In a batch whose trajectories share their steps, the paths give (size, B), and the solution is (B, size) or (B, size, k).

    Between step ends it is the method's interpolant: for the heavy ball the quintic through both ends (order 6 in q, 5 in p), for scipy's
    solvers their own. It is right-continuous at switches.
    """

    starts: list[float]
    ends: list[float]
    paths: list[Callable[[float], Any]]

    @property
    def span(self) -> tuple[float, float]:
        """The earliest and the latest time known."""
        low, high = sorted((self.starts[0], self.ends[-1]))
        return low, high

    def __call__(self, t: Any) -> np.ndarray[Any, Any]:
        """Return the state at t, a number or an array of times; outside the span is an ArgumentError."""
        return _looked_up(t, self.span, self._one)

    def __getitem__(self, k: int) -> DenseOutput:
        """Return the output of trajectory k of a batch."""
        return DenseOutput(self.starts, self.ends, [_row_of(path, k) for path in self.paths])

    def _one(self, t: float) -> np.ndarray[Any, Any]:
        sign = 1 if self.ends[-1] >= self.starts[0] else -1
        keys = self.starts if sign > 0 else [-s for s in self.starts]
        k = max(bisect_right(keys, sign * t) - 1, 0)
        t0, t1 = self.starts[k], self.ends[k]
        return np.array(_numpy(self.paths[k]((t - t0) / (t1 - t0))).T)


@dataclass(frozen=True)
class DenseOutputs:
    """The solution of a batch whose trajectories took steps of their own: ``sol.sol(t)`` gives (B, size) or (B, size, k).

    A trajectory that has ended holds its last state, to the time ``until`` if all have; one that never moved (None) holds its start.
    """

    parts: tuple[DenseOutput | None, ...]
    starts: np.ndarray[Any, Any]
    until: float | None = None

    @property
    def span(self) -> tuple[float, float]:
        """The earliest and the latest time that any trajectory knows, or holds."""
        spans = [part.span for part in self.parts if part is not None]
        spans += [] if self.until is None else [(self.until, self.until)]
        return min(low for low, _ in spans), max(high for _, high in spans)

    def __call__(self, t: Any) -> np.ndarray[Any, Any]:
        """Return the states at t, a number or an array of times; outside the span is an ArgumentError."""
        return _looked_up(t, self.span, self._one)

    def __getitem__(self, k: int) -> DenseOutput | None:
        """Return the output of trajectory k."""
        return self.parts[k]

    def _one(self, t: float) -> np.ndarray[Any, Any]:
        pairs = zip(self.parts, self.starts, strict=True)
        return np.stack([start if part is None else part(float(np.clip(t, *part.span))) for part, start in pairs])


def _looked_up(t: Any, span: tuple[float, float], one: Callable[[float], np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    times = np.asarray(t, dtype=np.float64)
    low, high = span
    if times.size and not (low <= times.min() and times.max() <= high):
        raise ArgumentError(f"sol.sol knows t from {low:g} to {high:g}, not {times.min():g} to {times.max():g}")
    if times.ndim == 0:
        return one(float(times))
    states = [one(float(s)) for s in times]
    return np.stack(states, axis=-1) if states else np.empty((*one(low).shape, 0))


def _numpy(x: Any) -> Any:
    return x.detach().cpu().numpy() if hasattr(x, "detach") else np.asarray(x)


def _row_of(path: Callable[[float], Any], k: int) -> Callable[[float], Any]:
    return lambda theta: _numpy(path(theta))[:, k]
