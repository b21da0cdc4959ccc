"""What a run keeps of its trajectory: states at step ends, at chosen times, or at both ends; the dense output; observables."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from phdyn.errors import ArgumentError, ArgumentTypeError
from phdyn.methods.stepping import Step
from phdyn.motion import Halt, Knot, Motion
from phdyn.point import Point
from phdyn.solution import DenseOutput
from phdyn.systems import network_of
from phdyn.tables import Table

MODES = ("states", "energy", "ends")


def memory_limit() -> float:
    """Return half of the physical memory in bytes, beyond which recording is refused."""
    return 0.5 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_memory(rows: float, size: int, itemsize: int) -> None:
    """Refuse to record more states than half of the physical memory holds.

    Raises
    ------
    ArgumentError
        With the size and the way out.
    """
    needed = rows * size * itemsize
    if needed > memory_limit():
        raise ArgumentError(recording_needs(needed, rows))


def recording_needs(needed: float, rows: float) -> str:
    """Return the message for a recording that is too large."""
    return f"recording needs {needed / 2**30:.1f} GiB ({rows:,.0f} states): pass record=\"energy\" or t_eval"


class Rows:
    """A growing array of states, one a row."""

    def __init__(self, size: int, dtype: Any) -> None:
        self.data = np.empty((1, size), dtype=dtype)
        self.count = 0

    def append(self, x: Any) -> None:
        """Append a state."""
        if self.count == len(self.data):
            if 2 * self.data.nbytes > memory_limit():
                raise Halt(-3, recording_needs(2 * self.data.nbytes, 2 * self.count))
            self.data = np.concatenate([self.data, np.empty_like(self.data)])
        self.data[self.count] = x
        self.count += 1

    def array(self) -> np.ndarray[Any, Any]:
        """Return the states (size, count), time last."""
        return self.data[: self.count].T


class Recorder:
    """Keeps times, states and modes.

    Parameters
    ----------
    motion : Motion
        The motion.
    start : Knot
        The start of the run.
    mode : str
        Its mode.
    record : {"states", "energy", "ends"}
        What to keep.
    t_eval : (k,) array or None
        Times to keep instead, in the order of the run.
    dense : bool
        Whether to keep the paths inside the steps.
    dtype : dtype
        Precision of what is kept.
    """

    def __init__(self, motion: Motion, start: Knot, mode: str, *, record: str, t_eval: Any, dense: bool, dtype: Any) -> None:
        self.motion, self.record, self.t_eval, self.dense, self.dtype = motion, record, t_eval, dense, dtype
        self.times: list[float] = []
        self.modes: list[str] = []
        self.rows = Rows(motion.size, dtype)
        self.next = 0
        self.starts: list[float] = []
        self.ends: list[float] = []
        self.paths: list[Callable[[float], Any]] = []
        self.each_step = dense or t_eval is not None or record == "states"
        if t_eval is None:
            self._keep(start.t, start.x, mode)
        elif len(t_eval) and t_eval[0] == start.t:
            self._keep(start.t, start.x, mode)
            self.next = 1

    def _keep(self, t: float, x: Any, mode: str) -> None:
        self.times.append(t)
        self.modes.append(mode)
        self.rows.append(self.motion.vectors.numpy(x))

    def take(self, step: Step, mode: str) -> None:
        """Record an accepted step (called for every one where ``each_step``)."""
        if self.dense:
            self.starts.append(step.t0)
            self.ends.append(step.t1)
            self.paths.append(step.path())
        if self.t_eval is None:
            if self.record == "states":
                self._keep(step.t1, step.x1, mode)
            return
        sign = 1.0 if step.t1 >= step.t0 else -1.0
        while self.next < len(self.t_eval) and sign * (self.t_eval[self.next] - step.t1) <= 0:
            t = float(self.t_eval[self.next])
            self._keep(t, step.x1 if t == step.t1 else step.at((t - step.t0) / step.h), mode)
            self.next += 1

    def state_at(self, t: float) -> Any:
        """Return the state recorded last, in the run's kind of array, if it is the one at time t, else None."""
        if not self.times or self.times[-1] != t:
            return None
        vectors = self.motion.vectors
        return vectors.from_tensor(torch.from_numpy(self.rows.data[self.rows.count - 1].astype(vectors.dtype)))

    def switch(self, t: float, x: Any, mode: str) -> None:
        """Make the row at a switch right-continuous."""
        if self.times and self.times[-1] == t and self.t_eval is None and self.record == "states":
            self.modes[-1] = mode
            self.rows.data[self.rows.count - 1] = self.motion.vectors.numpy(x)
        elif self.times and self.times[-1] == t:
            self.modes[-1] = mode

    def finish(self, knot: Knot, mode: str, *, states: bool = False) -> None:
        """Record the end of the run where step ends were not (with ``states``: there too)."""
        if self.t_eval is not None:
            if states and self.next < len(self.t_eval) and self.t_eval[self.next] == knot.t:
                self._keep(knot.t, knot.x, mode)
                self.next += 1
        elif (states if self.record == "states" else not states) and knot.t != self.times[-1]:
            self._keep(knot.t, knot.x, mode)

    def arrays(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any], DenseOutput | None]:
        """Return t, y, modes and the dense output."""
        t, y, modes = np.array(self.times), self.rows.array(), np.array(self.modes, dtype=str)
        for array in (t, y, modes):
            array.flags.writeable = False
        return t, y, modes, DenseOutput(self.starts, self.ends, self.paths) if self.dense and self.starts else None


@dataclass(frozen=True)
class Every:
    """An observable that is looked at in each k-th step: ``Every(20, f)``."""

    steps: int
    function: Callable[[Point], Any]

    def __post_init__(self) -> None:
        if not (isinstance(self.steps, int) and self.steps > 0):
            raise ArgumentError(f"Every({self.steps}, ...): a positive number of steps is needed")
        if not callable(self.function):
            raise ArgumentTypeError(f"Every({self.steps}, ...): the observable is a function of a point, not {self.function!r}")


class Observer:
    """Evaluates observables along a run: a table with ``time`` and a column each, nan where one was not due.

    Its evaluations are not counted, and leave the run as it was.
    """

    def __init__(self, observables: Mapping[str, Any] | None) -> None:
        self.parts = {name: part if isinstance(part, Every) else Every(1, part) for name, part in (observables or {}).items()}
        self.columns: dict[str, list[float]] = {"time": [], **{name: [] for name in self.parts}}
        if "time" in self.parts:
            raise ArgumentError("an observable cannot be called 'time': that is the table's first column")

    def due(self, number: int) -> int | float:
        """Return the first step from ``number`` on at which an observable is due."""
        return min((-(-number // part.steps) * part.steps for part in self.parts.values()), default=float("inf"))

    def look(self, motion: Motion, number: int, t: float, x: Any, known: Knot) -> None:
        """Evaluate what is due at step ``number``."""
        if not self.parts or self.due(number) != number:
            return
        counted = motion.nfev, motion.nvev, motion.max_nfev
        motion.max_nfev = float("inf")
        show_in_module(motion, x)
        point = Point(motion, t, x, known)
        try:
            with torch.enable_grad():  # a solver of torch's may have switched it off
                row = [self._value(name, part, point) if number % part.steps == 0 else float("nan") for name, part in self.parts.items()]
        finally:
            motion.nfev, motion.nvev, motion.max_nfev = counted
        for name, value in zip(self.columns, [t, *row], strict=True):
            self.columns[name].append(value)

    @staticmethod
    def _value(name: str, part: Every, point: Point) -> float:
        value = part.function(point)
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"observable '{name}' returned {value!r}: one number is needed") from error

    def table(self) -> Table:
        """Return what was observed."""
        return Table(self.columns if self.parts else {"time": []})


def show_in_module(motion: Motion, x: Any) -> None:
    """Let a network's module hold the position x, for users' functions that call the model, and at the end of a run."""
    network = network_of(motion.system)
    if network is not None:
        network.load(motion.vectors.tensor(motion.position(x))[: network.dim])
