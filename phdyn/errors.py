"""Every deliberate error of phdyn, one small tree.

Each error also derives from the built-in exception that a user of scipy or torch would expect, so that ``except ValueError``
keeps working.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phdyn.solution import Solution


class PhdynError(Exception):
    """Base class of every error that phdyn raises on purpose."""


class ArgumentError(PhdynError, ValueError):
    """An argument has a value that cannot be used; the message names it and the way out."""


class ArgumentTypeError(PhdynError, TypeError):
    """An argument is of a kind that cannot be used."""


class EnergyBalanceError(PhdynError, RuntimeError):
    """The energy balance was violated under ``monitor="raise"``.

    Attributes
    ----------
    solution : Solution
        Everything computed up to the step at which the monitor looked.
    """

    def __init__(self, message: str, solution: Solution) -> None:
        super().__init__(message)
        self.solution = solution


class DataError(PhdynError, OSError):
    """A data file is missing, truncated or corrupt."""


class MissingExtraError(PhdynError, ImportError):
    """An optional dependency is needed and not installed."""


class EnergyWarning(UserWarning):
    """The live monitor found that energy is not dissipated as the equation says."""


class WorkerError(PhdynError, RuntimeError):
    """A worker process was killed; what had been finished is kept."""


class OverruledWarning(UserWarning):
    """Something else wrote a setting that a switch had made, or gave it a loss that it cannot use."""


class StabilityWarning(UserWarning):
    """The step is close to, or beyond, what the method stands."""
