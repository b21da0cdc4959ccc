"""The pieces into which the steps of many trajectories are cut."""

from __future__ import annotations

import numpy as np

from phdyn.inside import Part
from phdyn.search import Rows


class Pieces:
    """The pieces into which the steps of some rows are cut.

    Attributes
    ----------
    rows, ids : (k,) arrays
        Which rows of the step, and which trajectories.
    end : Part
        Where they stand.
    works : (2, k) array
        Dissipated and supplied work of the pieces so far.
    moved : (k,) bool array
        Whether the step was cut.
    """

    def __init__(self, rows: Rows, ids: Rows, end: Part) -> None:
        self.rows, self.ids, self.end = rows, ids, end
        self.works, self.moved = np.zeros((2, len(rows))), np.zeros(len(rows), dtype=bool)

    def cut(self, places: Rows, part: Part) -> None:
        """Enter pieces that end at an event."""
        self.arrive(places, part)
        self.moved[places] = True

    def arrive(self, places: Rows, part: Part) -> None:
        """Enter pieces."""
        self.end.put(places, part)
        self.works[:, places] += (part.dissipated, part.supplied)
