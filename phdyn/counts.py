"""What a run has evaluated, and its budget: one object for a motion and for the motions of some of its rows."""

from __future__ import annotations

from typing import Any

import numpy as np

NO_LIMIT = float("inf")


class Halt(Exception):  # noqa: N818 (not an error: how a run that cannot go on says so)
    """Ends a run with a status; raised inside solvers that cannot be stopped otherwise.

    ``rows``: in a batch the ids of the trajectories that end, where not all do.
    """

    def __init__(self, status: int, message: str, rows: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.rows = rows


class Counts:
    """Evaluations of one trajectory.

    Attributes
    ----------
    nfev, nvev, njev, nlu, nrejected : int
        Gradients, values alone, Jacobians, factorisations, rejected steps.
    max_nfev : float
        Budget of gradients.
    """

    __slots__ = ("max_nfev", "nfev", "njev", "nlu", "nrejected", "nvev")

    def __init__(self) -> None:
        self.nfev = self.nvev = self.njev = self.nlu = self.nrejected = 0
        self.max_nfev = NO_LIMIT

    def gradient(self) -> None:
        """Count a gradient before it is evaluated.

        Raises
        ------
        Halt
            The budget is spent.
        """
        self.nfev += 1
        if self.nfev > self.max_nfev:
            self.nfev -= 1
            raise Halt(-3, _spent(self.max_nfev))


class RowCounts:
    """Evaluations of each trajectory of a batch, (B,) int64; the budget is each trajectory's."""

    __slots__ = ("max_nfev", "nfev", "njev", "nlu", "nrejected", "nvev")

    def __init__(self, batch: int) -> None:
        self.nfev, self.nvev, self.nrejected = (np.zeros(batch, dtype=np.int64) for _ in range(3))
        self.njev = self.nlu = 0
        self.max_nfev = NO_LIMIT

    def gradient(self, ids: Any) -> None:
        """Count a gradient of some trajectories before it is evaluated; where one has none left, none is counted.

        Raises
        ------
        Halt
            The budget of some is spent: ``rows`` has their ids.
        """
        if self.max_nfev != NO_LIMIT:
            spent = np.flatnonzero(self.nfev[ids] >= self.max_nfev)
            if len(spent):
                raise Halt(-3, _spent(self.max_nfev), spent if isinstance(ids, slice) else ids[spent])
        self.nfev[ids] += 1


def _spent(budget: float) -> str:
    return f"the budget of max_nfev={budget:g} gradient evaluations is spent"
