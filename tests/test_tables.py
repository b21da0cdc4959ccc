"""Tables: rows, columns, print, CSV, data frames; the first switch of each trajectory."""

from __future__ import annotations

import pickle
import string

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phdyn.errors import ArgumentError
from phdyn.tables import SwitchTable, Table

SWITCH = {
    "trajectory": [0],
    "time": [7.5713123],
    "source": ["explore"],
    "target": ["exploit"],
    "event": ["LossGoal(reduction=0.8)"],
    "loss": [0.458213],
    "kinetic": [1.380712],
    "hamiltonian": [1.838925],
    "injected": [0.0],
}


def small():
    return Table({"method": ["strang", "rk4"], "setting": [0.004, "rtol 1e-6"], "error": [1e-9, 2.3], "nfev": [12, 1000]})


def test_rows_and_columns():
    table = small()
    assert len(table) == 2
    assert table.keys() == ("method", "setting", "error", "nfev")
    assert (table[0].method, table[0].setting, table[0].nfev) == ("strang", 0.004, 12)
    assert table[-1].method == "rk4"
    assert table[np.int64(1)].error == 2.3
    assert [row.error for row in table] == [1e-9, 2.3]
    assert {(row.method, row.setting): row.nfev for row in table}["rk4", "rtol 1e-6"] == 1000
    np.testing.assert_array_equal(table["nfev"], [12, 1000])
    assert list(table["method"]) == ["strang", "rk4"]
    assert type(table[0].error) is float
    assert type(table[0].nfev) is int
    assert type(table[0].method) is str
    assert repr(table) == "<Table: 2 rows of method, setting, error, nfev>"


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], np.int64),
        ([1, 2.5], np.float64),
        ([np.float32(0.5), None], np.float64),
        ([True, False], np.bool),
        (["a", "bc"], np.dtype("<U2")),
        (["a", 1], object),
        (["a", None], object),
        ([None, None], object),
        ([True, 1], object),
        ([], np.float64),
        (range(3), np.int64),
        (np.array([1, 2], dtype=np.int32), np.int32),
        (np.array([0.5], dtype=np.float32), np.float32),
    ],
)
def test_kinds_of_columns(values, dtype):
    column = Table({"a": values})["a"]
    assert column.dtype == dtype
    assert len(column) == len(values)


def test_none_among_numbers_is_nan():
    np.testing.assert_array_equal(Table({"a": [1.0, None]})["a"], [1.0, np.nan])


def test_columns_are_read_only_copies():
    given_values = np.array([1.0, 2.0])
    table = Table({"a": given_values, "b": ["x", "y"]})
    given_values[0] = 7.0
    assert table["a"][0] == 1.0
    for name, value in (("a", 7.0), ("b", "z")):
        with pytest.raises(ValueError, match="read-only"):
            table[name][0] = value
    row = table[0]
    row.a = 7.0
    assert table[0].a == 1.0


def test_wrong_keys():
    table = Table({"a": [1.0]}, hidden={"b": [2.0]})
    with pytest.raises(KeyError, match="no column 'c'; there are a, b"):
        table["c"]
    for row in (1, -2):
        with pytest.raises(IndexError, match="there are 1"):
            table[row]
    with pytest.raises(TypeError, match="row's number"):
        table[0.5]
    with pytest.raises(AttributeError):
        table[0].c  # noqa: B018


@pytest.mark.parametrize(
    ("columns", "hidden", "words"),
    [
        ({"a": [1], "b": [1, 2]}, None, "different lengths"),
        ({"a": [1]}, {"b": [1, 2]}, "different lengths"),
        ({"a": np.zeros((2, 2))}, None, r"column 'a' has shape \(2, 2\)"),
        ({"a": [1]}, {"a": [1]}, "both shown and hidden"),
    ],
)
def test_bad_tables_are_refused(columns, hidden, words):
    with pytest.raises(ArgumentError, match=words):
        Table(columns, hidden=hidden)


def test_hidden_fields():
    states = np.arange(8.0).reshape(2, 4)
    for values in (states, list(states), [states[0], None]):
        table = Table({"a": [1, 2]}, hidden={"x_before": values})
        np.testing.assert_array_equal(table[0].x_before, states[0])
        assert table["x_before"].shape == (2,)
        assert table.hidden == ("x_before",)
        assert "x_before" not in dict(table)
        assert "x_before" not in str(table)


def test_a_data_frame():
    table = small()
    frame = pd.DataFrame(dict(table))
    assert list(frame.columns) == list(table.keys())
    assert len(frame) == 2
    assert frame["error"].tolist() == [1e-9, 2.3]
    assert frame["nfev"].dtype == np.int64


def test_it_may_be_sent_to_another_process():
    table = pickle.loads(pickle.dumps(SwitchTable(SWITCH, trajectories=None, hidden={"x_before": [np.ones(2)]})))
    assert table.first() == 7.5713123
    assert pickle.loads(pickle.dumps(table[0])).event == "LossGoal(reduction=0.8)"


def test_print_of_the_interface_page():
    assert str(SwitchTable(SWITCH, trajectories=None)) == (
        "#    time    source   target   event                    loss    kinetic  hamiltonian\n"
        "0    7.5713  explore  exploit  LossGoal(reduction=0.8)  0.4582  1.3807   1.8389"
    )


def test_print_of_a_batch_and_of_jumps():
    columns = {name: values * 2 for name, values in SWITCH.items()} | {"trajectory": [0, 3], "injected": [0.0, -0.25]}
    header = str(SwitchTable(columns, trajectories=4)).splitlines()[0]
    assert header.startswith("#    trajectory  time")
    assert header.endswith("hamiltonian  injected")


def test_print_aligns():
    lines = str(small()).splitlines()
    assert lines == [
        "#    method  setting    error     nfev",
        "0    strang  0.004      1.00e-09    12",
        "1    rk4     rtol 1e-6  2.30e+00  1000",
    ]


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        ([0.5, 12.25], [" 0.50", "12.25"]),
        ([1.0, 2.0], ["1", "2"]),
        ([7.57131, np.nan], ["7.5713", "   nan"]),
        ([0.1769, 0.0004], ["0.1769", "0.0004"]),
        ([1e-5, 0.0], ["1.00e-05", "       0"]),
        ([np.inf, 1.5], ["inf", "1.5"]),
        ([1e7, 1.0], ["1.00e+07", "1.00e+00"]),
        ([-1.5, 10.0], ["-1.5", "10.0"]),
        ([5, 1000], ["   5", "1000"]),
        ([None, "a"], ["-", "a"]),
        ([True, False], ["True", "False"]),
    ],
)
def test_number_formats(values, cells):
    lines = str(Table({"a": values})).splitlines()[1:]
    assert [line[5:] for line in lines] == cells


def test_print_without_rows():
    empty = "no switch: LossGoal(reduction=0.6) not reached; closest was loss 1.9522 at t = 35.46, goal 1.8066"
    columns = {name: [] for name in SWITCH}
    assert str(SwitchTable(columns, trajectories=None, empty=empty)) == empty
    assert str(Table({"a": [], "b": []})) == "#    a  b"
    assert str(Table({"a": [1]}, empty=empty)) != empty
    assert len(Table({})) == 0


def test_print_of_many_rows_leaves_out_the_middle():
    lines = str(Table({"a": np.arange(1000)})).splitlines()
    assert len(lines) == 62
    assert lines[31] == "...  (940 rows left out)"
    assert (lines[30].split(), lines[32].split()) == (["29", "29"], ["970", "970"])
    assert len(str(Table({"a": np.arange(60)})).splitlines()) == 61


def test_csv(tmp_path):
    path = tmp_path / "table.csv"
    Table({"a": [0.1, np.nan], "b": [3, 4], "c": ["x,y", "z"], "d": ["s", None]}, hidden={"e": [1, 2]}).to_csv(path)
    assert path.read_text() == 'a,b,c,d\n0.1,3,"x,y",s\nnan,4,z,\n'
    small().to_csv(str(path))
    assert path.read_text().startswith("method,")


TEXTS = st.text(string.ascii_letters + string.punctuation + " éß", max_size=8).map(lambda text: "t" + text)


@given(
    rows=st.lists(st.tuples(st.floats(), st.integers(-(2**63), 2**63 - 1), TEXTS, st.booleans()), max_size=6),
)
@settings(deadline=None, max_examples=60)
def test_csv_and_back_is_the_same_table(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    columns = dict(zip(("x", "k", "name", "ok"), map(list, zip(*rows, strict=True)), strict=False)) if rows else {"x": []}
    table = Table(columns)
    table.to_csv(path)
    again = Table.from_csv(path, empty="nothing")
    assert again.keys() == table.keys()
    assert len(again) == len(table)
    for name in table.keys():  # noqa: SIM118
        if len(table):
            assert again[name].dtype == table[name].dtype
        np.testing.assert_array_equal(again[name], table[name])
    assert str(again) == (str(table) if len(table) else "nothing")


def test_float32_columns_keep_their_digits(tmp_path):
    values = np.float32([0.1, 1 / 3])
    Table({"a": values}).to_csv(tmp_path / "a.csv")
    np.testing.assert_array_equal(Table.from_csv(tmp_path / "a.csv")["a"].astype(np.float32), values)


def test_bad_files_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("")
    with pytest.raises(ArgumentError, match="is empty"):
        Table.from_csv(path)
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(ArgumentError, match="line 3: 1 entries, not 2"):
        Table.from_csv(path)
    with pytest.raises(FileNotFoundError):
        Table.from_csv(tmp_path / "none.csv")


def test_first_switch():
    solo = SwitchTable({"trajectory": [0, 0], "time": [2.0, 5.0]}, trajectories=None)
    assert solo.first() == 2.0
    assert type(solo.first()) is float
    assert np.isnan(SwitchTable({"trajectory": [], "time": []}, trajectories=None).first())
    batch = SwitchTable({"trajectory": [2, 0, 2, 0], "time": [1.0, 2.0, 3.0, 4.0]}, trajectories=4)
    np.testing.assert_array_equal(batch.first(), [2.0, np.nan, 1.0, np.nan])
    backward = SwitchTable({"trajectory": [0, 0], "time": [5.0, 2.0]}, trajectories=1)
    np.testing.assert_array_equal(backward.first(), [5.0])
    np.testing.assert_array_equal(SwitchTable({"trajectory": [], "time": []}, trajectories=2).first(), [np.nan] * 2)


def test_a_table_of_switches_needs_times():
    with pytest.raises(ArgumentError, match=r"needs the columns \['time', 'trajectory'\]"):
        SwitchTable({"loss": [1.0]}, trajectories=None)


def test_rows_of_a_batch():
    columns = {"trajectory": [2, 0, 2], "time": [1.0, 2.0, 3.0], "injected": [0.0, 0.0, 1.0]}
    hidden = {"x_before": [np.zeros(2), np.ones(2), np.zeros(2)], "touched": [True, False, True]}
    table = SwitchTable(columns, hidden=hidden, trajectories=3, empty="none in any")
    own = table.of(2)
    assert type(own) is SwitchTable and own.trajectories is None and own.first() == 1.0
    assert own["trajectory"].tolist() == [0, 0] and own["time"].tolist() == [1.0, 3.0] and own[1].touched is True
    assert "touched" not in str(table) and table[1].touched is False
    assert str(table.of(1)) == "no switch"
    assert str(SwitchTable({"trajectory": [], "time": []}, trajectories=None, empty="why").of(0)) == "why"
    late = table.where(table["time"] > 1.5)
    assert type(late) is SwitchTable and late.first().tolist() == [2.0, pytest.approx(np.nan, nan_ok=True), 3.0]
    assert Table({"a": [1, 2]}, hidden={"b": ["x", "y"]}).where([1])[0].b == "y"
