"""The slope of the residual on the dissipated work, window by window: when the method undoes what friction does, and how much of it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from phdyn.energy.account import Energy
from phdyn.errors import ArgumentError
from phdyn.tables import Table

FEWEST: Final = 4
"""Rows that a window has at least."""


def slopes(energy: Energy, window: Any, steps: int) -> Table:
    """Return the slopes of a single trajectory's residual on its dissipated work over windows, one after the other.

    Parameters
    ----------
    energy : Energy
        Its energies, at each step or thinned.
    window : int
        Steps a window; where rows are thinned, the next lower multiple of the steps from row to row.
    steps : int
        Steps that the rows span.

    Returns
    -------
    Table
        ``time`` (the window's end) and ``slope``, by least squares weighted with the step lengths, as the balance's own; nan where friction
        did no work. Steps beyond the last whole window are left out.

    Raises
    ------
    ArgumentError
        The window is no whole number of steps, there are fewer rows than four in it, or fewer steps than one window.
    """
    if isinstance(window, bool) or not isinstance(window, (int, np.integer)) or window < FEWEST:
        raise ArgumentError(f"window is {window!r}: a whole number of steps, {FEWEST} at least, is needed")
    rows = len(energy.t) - 1
    if window > max(steps, rows):
        raise ArgumentError(f"window is {window}, and the run has {steps} steps: no window fits in")
    stride = max(1, round(steps / max(rows, 1)))
    length = int(window) // stride
    if length < FEWEST:
        needed = f"a window of {FEWEST * stride} steps at least" if rows >= FEWEST else 'record="states" or "energy"'
        raise ArgumentError(f"window is {window}, and energies are kept once in {stride:,} steps: {needed} is needed")
    count = rows // length
    used = slice(1, count * length + 1)
    t, work, residual = (column[used].reshape(count, length) for column in (energy.t, energy.dissipated, energy.residual))
    weights = np.abs(np.diff(energy.t[: count * length + 1])).reshape(count, length)
    weights /= weights.sum(1, keepdims=True)
    work = work - (weights * work).sum(1, keepdims=True)
    square = (weights * work**2).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(square > 0, (weights * work * residual).sum(1) / square, np.nan)
    return Table({"time": t[:, -1], "slope": slope})
