"""What the end of every run needs: the monitor's word, a warning at the caller's line, arrays that stay as they are."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np

from phdyn.energy import EnergyBalance
from phdyn.errors import EnergyWarning

FIRST_LOOK = 64
"""The monitor looks at this step, and each time the number of steps has doubled."""


class Violated(Exception):  # noqa: N818 (carried out of the solver, then raised as EnergyBalanceError)
    """A balance that ``monitor`` does not stand."""

    def __init__(self, balance: EnergyBalance) -> None:
        super().__init__()
        self.balance = balance


def warn_of(balance: EnergyBalance) -> None:
    """Warn of a balance that does not hold, at the line that called ``simulate``."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") != "phdyn.simulate":
        level, frame = level + 1, frame.f_back
    warnings.warn(str(balance), EnergyWarning, stacklevel=level + 2)


def frozen(values: Any, shape: tuple[int, ...] = ()) -> np.ndarray[Any, Any]:
    """Return entries of a shape as an array that cannot be written to."""
    array = np.array(values) if len(values) else np.empty((0, *shape))
    array.flags.writeable = False
    return array


def not_reached(name: str, closest: float, time: float, level: float) -> str:
    """Return what to say of a goal that was not reached."""
    return f"{name} not reached; closest was loss {closest:.4f} at t = {time:.2f}, goal {level:.4f}"


def too_many(times: list[float], most: int) -> str:
    """Return what to say of a run that switches without end."""
    return f"{most} switches (max_switches), the last at t = {', '.join(f'{t:.6g}' for t in times)}: do the guards chatter?"
