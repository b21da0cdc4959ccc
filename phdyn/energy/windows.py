"""The slope of the residual on the dissipated work, window by window: when the method undoes what friction does, and how much of it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from phdyn.energy.account import Energy
from phdyn.errors import ArgumentError
from phdyn.tables import Table

FEWEST: Final = 4
"""Rows that a window has at least."""


def check_window(window: Any) -> int:
    """Return a window as a number of steps.

    Raises
    ------
    ArgumentError
        It is no whole number, or less than four.
    """
    if isinstance(window, bool) or not isinstance(window, (int, np.integer)) or window < FEWEST:
        raise ArgumentError(f"window is {window!r}: a whole number of steps, {FEWEST} at least, is needed")
    return int(window)


def slopes(energy: Energy, window: Any, steps: int, eps: float) -> Table:
    """Return the slopes of a single trajectory's residual on its dissipated work over windows, one after the other.

    Parameters
    ----------
    energy : Energy
        Its energies: at each step, or thinned by a power of two.
    window : int
        Steps a window; where rows are thinned, the next lower multiple of the steps from row to row.
    steps : int
        Steps that the rows span.
    eps : float
        Spacing of numbers at 1 in the run's precision.

    Returns
    -------
    Table
        ``time`` (the window's end) and ``slope``, by least squares weighted with the step lengths, as the balance's own; nan where the work
        of friction is rounding. Steps beyond the last whole window are left out.

    Raises
    ------
    ArgumentError
        The window is no whole number of steps, there are fewer rows than four in it, or fewer steps than one window.
    """
    window, rows = check_window(window), len(energy.t) - 1
    if window > max(steps, rows):
        raise ArgumentError(f"window is {window}, and the run has {steps} steps: no window fits in")
    stride = 2 ** max(0, round(np.log2(steps / rows))) if rows else steps
    length = window // stride
    if length < FEWEST:
        if rows >= FEWEST:
            needed = f"a window of {FEWEST * stride} steps at least is needed"
            raise ArgumentError(f"window is {window}, and energies are kept once in {stride:,} steps: {needed}")
        needed = 'record="states" or "energy" is needed, and a run of its own for each trajectory that chooses its steps'
        raise ArgumentError(f"window is {window}, and energies are kept at the ends alone: {needed}")
    count = rows // length
    used = slice(1, count * length + 1)
    t, work, residual, hamiltonian = (
        column[used].reshape(count, length) for column in (energy.t, energy.dissipated, energy.residual, energy.hamiltonian)
    )
    kinetic = np.zeros_like(hamiltonian) if energy.kinetic is None else energy.kinetic[used].reshape(count, length)
    weights = np.abs(np.diff(energy.t[: count * length + 1])).reshape(count, length)
    weights /= weights.sum(1, keepdims=True)
    work, residual = (_centred(column, weights) for column in (work, residual))
    # What the account itself rounds is of the size of H at the start; V is rounded in the run's precision.
    account = np.finfo(np.float64).eps * np.abs(energy.hamiltonian - energy.residual).max()
    noise = 8 * np.sqrt(length) * (account + eps * (np.abs(hamiltonian - kinetic) + kinetic).max(1))
    square, both = (weights * work**2).sum(1), (weights * work * residual).sum(1)
    seen = np.ptp(work, axis=1) > noise
    slope = np.where(seen, both / np.where(seen, square, 1.0), np.nan)
    return Table({"time": t[:, -1], "slope": slope})


def _centred(columns: Any, weights: Any) -> Any:
    """Return rows less their weighted means; what they have in common is taken off first, and with it its rounding."""
    columns = columns - columns[:, :1]
    return columns - (weights * columns).sum(1, keepdims=True)
