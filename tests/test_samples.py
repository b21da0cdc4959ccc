"""Samples of a guard: where it first leaves its side, and where it may turn at zero between them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phdyn.crossing.samples import Found, scan, turns


def any_sign(sign: Any) -> Any:
    return np.ones(np.shape(sign), dtype=bool)


def look(values: Any, side: int, *, resting: bool = False, direction: int = 0) -> Found:
    values = np.array([values], dtype=float)
    places = np.linspace(0.0, 1.0, values.shape[1])[None]
    allowed = any_sign if direction == 0 else lambda sign: np.asarray(sign) * direction > 0
    return scan(places, values, np.array([side]), np.array([resting]), allowed)


@pytest.mark.parametrize(
    ("values", "side", "options", "column"),
    [
        ([1, 1, 1, 1], 1, {}, None),
        ([1, 1, -1, -1], 1, {}, 2),
        ([1, 1, 0, 1], 1, {}, 2),  # zero counts as having left
        ([1, -1, 1, 1], 1, {"direction": 1}, 2),  # out again is what counts
        ([1, -1, -1, -1], 1, {"direction": 1}, None),
        ([0, 1, 1, -1], 0, {}, 3),  # leaving zero is no event, coming back is
        ([0, 0, 0, -1], 0, {}, None),
        ([0, 0, 0, 0], 0, {}, None),
        ([0, 0, 0, 1], -1, {"resting": True}, None),  # it fired, stayed at zero, and turned back
        ([0, 0, 1, -1], -1, {"resting": True}, 3),
        ([1e-17, -1, -1, -1], -1, {"resting": True}, None),  # rounding has left it on the side it came from
        ([1e-17, 1, 1, 1], -1, {"resting": True}, 1),
        ([-np.inf, -1, 1, np.inf], -1, {}, 2),
    ],
)
def test_where_a_guard_leaves_its_side(values: Any, side: int, options: dict[str, Any], column: int | None) -> None:
    found = look(values, side, **options)
    if column is None:
        assert np.isinf(found.high[0]) and found.column[0] == 4
    else:
        assert found.column[0] == column and (found.low[0], found.high[0]) == ((column - 1) / 3, column / 3)
        assert (found.f_low[0], found.f_high[0]) == (values[column - 1], values[column])
        assert found.from_zero[0] == (options.get("resting", False) and column == 1)
    assert found.began[0] == side


def test_rows_do_not_touch_each_other() -> None:
    values = np.array([[1.0, 1, -1, -1], [1, 1, 1, 1], [0, 0, -1, 1], [-1, 1, -1, 1]])
    sides, resting = np.array([1, 1, 0, -1]), np.array([False, False, True, False])
    places = np.tile(np.linspace(0, 1, 4), (4, 1))
    together = scan(places, values, sides, resting, any_sign)
    for k in range(4):
        alone = scan(places[k : k + 1], values[k : k + 1], sides[k : k + 1], resting[k : k + 1], any_sign)
        for name, value in vars(alone).items():
            np.testing.assert_array_equal(getattr(together, name)[k : k + 1], value, err_msg=name)


SHARES = np.array([0.0, 0.0, 1 / 512, 1 / 64, *(np.arange(1, 16) / 16), 63 / 64, 511 / 512, 1.0])


@given(lowest=st.floats(0.0, 1.0), depth=st.floats(-1e-3, 0.0), bend=st.floats(0.5, 50.0), sign=st.sampled_from([1, -1]))
@settings(max_examples=200, deadline=None)
def test_a_parabola_that_comes_to_zero_between_samples_is_looked_at(lowest: float, depth: float, bend: float, sign: int) -> None:
    values = sign * (bend * (SHARES - lowest) ** 2 + depth)
    if (sign * values <= 0).any():  # a sample shows it
        return
    found = scan(SHARES[None], values[None], np.array([sign]), np.array([False]), any_sign)
    rows, left, _, right = turns(SHARES[None], values[None], found, np.array([1e-14 * np.abs(values).max()]))
    assert len(rows) >= 1
    assert any(SHARES[a] <= lowest <= SHARES[b] for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("values", [[3.0, 2.0, 1.0, 0.5], [1.0, 1.0, 1.0, 1.0], [5.0, 4.0, 4.5, 5.5]])
def test_what_does_not_come_near_zero_is_not_looked_at(values: Any) -> None:
    places = np.linspace(0.0, 1.0, 4)[None]
    found = look(values, 1)
    rows, *_ = turns(places, np.array([values]), found, np.zeros(1))
    assert len(rows) == 0
