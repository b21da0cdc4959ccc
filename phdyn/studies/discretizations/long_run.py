"""Does energy drift over many periods? A pendulum and a Kepler orbit without friction, and a pendulum with very little."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.special import ellipk

from phdyn.errors import ArgumentError
from phdyn.methods.catalogue import resolve
from phdyn.simulate import simulate
from phdyn.systems import HeavyBall

DONE: Final = "done"
"""Outcome of a run that reached its end."""

_BINS: Final = 200
_INTERRUPTED = -6


class Pendulum:
    """V = 1 - cos q, on NumPy; of one position by ``math``, which is ten times faster."""

    dim = 1

    def value(self, q: Any) -> Any:
        """Return V at the positions (..., 1)."""
        return 1 - np.cos(q[..., 0])

    def value_and_grad(self, q: Any) -> tuple[Any, Any]:
        """Return V and its gradient."""
        if q.ndim > 1:
            return self.value(q), np.sin(q)
        angle = float(q[0])
        return 1 - math.cos(angle), np.array([math.sin(angle)])


class Kepler:
    """V = -1/|q| in the plane, on NumPy; of one position by ``math``."""

    dim = 2

    def value(self, q: Any) -> Any:
        """Return V at the positions (..., 2)."""
        return -1 / np.sqrt((q * q).sum(-1))

    def value_and_grad(self, q: Any) -> tuple[Any, Any]:
        """Return V and its gradient."""
        if q.ndim > 1:
            height = self.value(q)
            return height, -q * height[..., None] ** 3
        x, y = q.tolist()
        r = math.hypot(x, y)
        return -1 / r, q / r**3


@dataclass(frozen=True)
class Problem:
    """A problem of the long run: where it starts, and how long its first period is."""

    potential: Any
    start: tuple[float, ...]
    period: float
    friction: float = 0.0


def problem(name: str) -> Problem:
    """Return one of ``pendulum`` (amplitude 2), ``kepler`` (eccentricity 0.3) and ``damped-pendulum`` (gamma 1e-6).

    Raises
    ------
    ArgumentError
        Another name.
    """
    swing = 4 * float(ellipk(math.sin(1.0) ** 2))
    known = {
        "pendulum": Problem(Pendulum(), (2.0, 0.0), swing),
        "kepler": Problem(Kepler(), (0.7, 0.0, 0.0, math.sqrt(1.3 / 0.7)), 2 * math.pi),
        "damped-pendulum": Problem(Pendulum(), (2.0, 0.0), swing, 1e-6),
    }
    if name not in known:
        raise ArgumentError(f"long_run.problems has {name!r}: there are {', '.join(known)}")
    return known[name]


@dataclass(frozen=True)
class LongRun:
    """How the energy of one method went over many periods.

    Attributes
    ----------
    problem, method : str
        What was run.
    step : float
        h.
    periods : (k,) list of float
        Times over the period, about 200, logarithmic.
    envelope : (k,) list of float
        Largest absolute residual until then (without friction that is |H - H0|), over the energy's swing.
    slope : float
        Of the residual on the dissipated work; nan without friction.
    nfev : int
        Gradients.
    outcome : str
        "done", or why it stopped before its end.
    """

    problem: str
    method: str
    step: float
    periods: list[float]
    envelope: list[float]
    slope: float
    nfev: int
    outcome: str = DONE

    @property
    def growth(self) -> float:
        """The envelope at the end over that after a tenth of the run: 1 without drift, 10 with one that is linear in time."""
        if not self.periods:
            return float("nan")
        tenth = float(np.interp(self.periods[-1] / 10, self.periods, self.envelope))
        return self.envelope[-1] / tenth if tenth > 0 else float("nan")


def long_run(name: str, method: str, step: float, periods: float) -> LongRun:
    """Run a method for many periods; nothing is kept but the largest residual so far, at about 200 times.

    Parameters
    ----------
    name : str
        See ``problem``.
    method : str or Method
        A method of fixed steps.
    step : float
        h.
    periods : float
        How many periods.

    Returns
    -------
    LongRun
        As far as the run came.
    """
    task = problem(name)
    ball = HeavyBall(task.potential, friction=task.friction)
    marks = np.unique(np.round(np.geomspace(task.period, periods * task.period, _BINS) / step).astype(np.int64)) * step
    state: Any = list(task.start)
    times, envelope, nfev, outcome, balance, t = [], [], 0, DONE, None, 0.0
    for mark in marks:
        try:
            sol = simulate(ball, (t, float(mark)), state, method=method, step=step, record="ends", monitor=None, max_steps=2**62)
        except ArgumentError as refusal:
            outcome = f"refused: {refusal}"
            break
        if sol.status == _INTERRUPTED:
            raise KeyboardInterrupt
        nfev += sol.nfev
        if not sol.success:
            outcome = f"status {sol.status}: {sol.message}"
            break
        state, t, balance = sol.state, float(mark), sol.energy_balance()
        times.append(t / task.period)
        envelope.append(balance.residual / balance.swing)
    slope = float("nan") if balance is None or not task.friction else balance.slope
    return LongRun(name, resolve(method).name, step, times, envelope, slope, nfev, outcome)
