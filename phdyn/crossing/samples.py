"""What samples of a guard on part of a path tell: where it first leaves its side, and between which samples it may turn at zero.

Arrays over rows: places and values (k, m), each row its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from phdyn.search import Floats, Rows

Allowed = Callable[[Any], Any]


class Found:
    """The first event of each row among its samples.

    Attributes
    ----------
    low, high, f_low, f_high : (k,) arrays
        The bracket of the crossing and the guard at its ends; infinite ``high``: none. A touch lies at ``high``.
    side : (k,) int array
        The side of the guard before it; where there is none, at the last sample.
    column : (k,) int array
        The sample at which it shows.
    touched, from_zero : (k,) bool arrays
        Whether it is a touch, and whether the bracket begins where the guard has just been zero.
    began, resting : (k,) arrays
        The side where the looking begins, and whether it does at a zero.
    sides : (k, m) int array
        The side at each sample up to there.
    """

    def __init__(self, places: Floats, side: Any, resting: Any) -> None:
        count, columns = places.shape
        self.low, self.high = np.array(places[:, 0]), np.full(count, np.inf)
        self.f_low, self.f_high = np.zeros(count), np.zeros(count)
        self.began, self.side = np.array(side, dtype=np.int8), np.array(side, dtype=np.int8)
        self.column = np.full(count, columns)
        self.touched, self.from_zero = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
        self.resting = np.array(resting) | (self.side == 0)
        self.sides = np.zeros((count, columns), dtype=np.int8)


def scan(places: Floats, values: Floats, side: Any, resting: Any, allowed: Allowed) -> Found:
    """Go through the samples and find where each row's guard first leaves its side in a direction that counts.

    Parameters
    ----------
    places, values : (k, m) arrays
        The samples; the first is where the looking begins.
    side : (k,) int array
        The side of the guard there; 0: not known.
    resting : (k,) bool array
        Whether it is at zero there, since it has just fired or since a run starts: only later samples show its side.
    allowed : callable
        Whether a change to a sign counts.
    """
    found = Found(places, side, resting)
    side, resting = found.side, found.resting.copy()
    flat = np.zeros(len(side), dtype=bool)  # it has stayed at zero
    found.sides[:, 0] = np.where(resting, 0, side)
    open_ = np.ones(len(side), dtype=bool)
    for k in range(1, places.shape[1]):
        sign = np.sign(values[:, k]).astype(np.int8)
        zero = sign == 0
        flat |= resting & zero
        shows = open_ & resting & ((side == 0) | flat) & ~zero  # a side, after nothing but zeros
        side[shows] = sign[shows]
        left = open_ & ~shows & (side != 0) & (sign != side) & ~(resting & zero)
        counts = left & np.asarray(allowed(-side))
        found.low[counts], found.high[counts] = places[counts, k - 1], places[counts, k]
        found.f_low[counts], found.f_high[counts] = values[counts, k - 1], values[counts, k]
        found.from_zero[counts] = resting[counts]
        found.column[counts] = k
        open_ &= ~counts
        passed = left & ~counts & ~zero
        side[passed] = sign[passed]
        resting &= zero
        found.sides[:, k] = side
    return found


def turns(places: Floats, values: Floats, found: Found, zero: Floats) -> tuple[Rows, Rows, Rows, Rows]:
    """Return where a guard may turn at zero, or cross it twice, between samples before the event found.

    Three neighbouring samples tell: where the middle one is nearest to zero, and where the parabola through them turns beside the first or
    the last of them. Those that are too high to reach zero by four times what the parabola goes down are left out, and those whose first
    sample is zero to rounding (``zero``, (k,)) are kept: it may be a touch at the end of the step before.

    Returns
    -------
    rows, left, lowest, right : (c,) int arrays
        Rows and columns of the samples around each turn; a row may come several times, in order.
    """
    columns = np.arange(places.shape[1])
    heights = found.sides * values
    known = (heights > 0) & np.isfinite(heights) & (columns >= 1) & (columns < found.column[:, None])
    three = known[:, :-2] & known[:, 1:-1] & known[:, 2:] & (found.sides[:, :-2] == found.sides[:, 2:])
    z0, z1, z2 = places[:, :-2], places[:, 1:-1], places[:, 2:]
    h0, h1, h2 = heights[:, :-2], heights[:, 1:-1], heights[:, 2:]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        first, second = (h1 - h0) / (z1 - z0), (h2 - h1) / (z2 - z1)
        bend = (second - first) / (z2 - z0)
        start, end = first - bend * (z1 - z0), second + bend * (z2 - z1)  # slopes of the parabola
        beside = first + bend * (z1 - z0)
        middle = three & (h1 <= h0) & (h1 <= h2) & ((2 * h1 <= (h0 - h1) + (h2 - h1)) | ((bend > 0) & (h1 * bend <= beside**2)))
        at_first = three & (h0 < h1) & ((start < 0) & (bend > 0) & (h0 * bend <= start**2) | (h0 <= zero[:, None]))
        at_last = three & (h2 < h1) & (end > 0) & (bend > 0) & (h2 * bend <= end**2)
    at_first[:, 1:] &= ~three[:, :-1]  # otherwise another three has it in their middle
    at_last[:, :-1] &= ~three[:, 1:]
    parts = []
    for chosen, left, lowest, right in ((middle, 0, 1, 2), (at_first, 0, 0, 1), (at_last, 1, 2, 2)):
        rows, k = np.nonzero(chosen)
        parts.append((rows, k + left, k + lowest, k + right))
    rows, left_, lowest_, right_ = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.lexsort((left_, rows))
    return rows[order], left_[order], lowest_[order], right_[order]
