"""Tables: columns that print, save to CSV and become a pandas DataFrame."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from phdyn.errors import ArgumentError

Column: TypeAlias = NDArray[Any]

_MOST_PRINTED = 60  # rows; longer tables print their first and last ones


class Row(SimpleNamespace):
    """One row of a table: its fields are attributes. A copy; writing to it does not change the table."""


class Table:
    """Named columns of equal length.

    ``table[0].time`` is a field, ``table["time"]`` a column, ``len(table)`` the number of rows; iterating gives the
    rows, yet ``dict(table)`` gives the columns, so ``pandas.DataFrame(dict(table))`` is a data frame. Columns are
    read-only.

    Parameters
    ----------
    columns : mapping of str to sequence
        The columns in order, each one-dimensional. Lists of whole numbers, of numbers (None counts as nan), of bools
        and of texts become arrays of int64, float64, bool and str; mixtures keep their objects.
    hidden : mapping of str to sequence, optional
        Fields with one entry a row, of any kind (arrays too), that rows have and ``table[name]`` gives, but that are
        neither printed, nor saved, nor among `keys`.
    empty : str, optional
        Printed in place of a table without rows.

    Raises
    ------
    ArgumentError
        When the lengths differ, a column is not one-dimensional, or a name occurs twice.
    """

    def __init__(
        self,
        columns: Mapping[str, Sequence[Any] | Column],
        *,
        hidden: Mapping[str, Sequence[Any] | Column] | None = None,
        empty: str = "",
    ) -> None:
        self._columns = {name: _column(name, values) for name, values in columns.items()}
        self._hidden = {name: _objects(values) for name, values in (hidden or {}).items()}
        self.empty = empty
        lengths = {name: len(values) for name, values in (*self._columns.items(), *self._hidden.items())}
        if len(set(lengths.values())) > 1:
            msg = f"the columns of a table have different lengths: {lengths}"
            raise ArgumentError(msg)
        if twice := sorted(self._columns.keys() & self._hidden.keys()):
            msg = f"a table has the columns {twice} both shown and hidden"
            raise ArgumentError(msg)

    def keys(self) -> tuple[str, ...]:
        """Names of the columns, in order, without the hidden ones."""
        return tuple(self._columns)

    @property
    def hidden(self) -> tuple[str, ...]:
        """Names of the hidden fields."""
        return tuple(self._hidden)

    def __len__(self) -> int:
        return len(next(iter((*self._columns.values(), *self._hidden.values())), ()))

    def __iter__(self) -> Iterator[Row]:
        return (self._row(index) for index in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        """Return a column for a name, a row for a number (negative: from the end)."""
        if isinstance(key, str):
            if key in self._columns:
                return self._columns[key]
            if key in self._hidden:
                return self._hidden[key]
            msg = f"no column {key!r}; there are {', '.join((*self._columns, *self._hidden))}"
            raise KeyError(msg)
        if not isinstance(key, (int, np.integer)):
            msg = f"a table takes a column's name or a row's number, not {key!r}"
            raise TypeError(msg)
        if not -len(self) <= key < len(self):
            msg = f"no row {key}; there are {len(self)}"
            raise IndexError(msg)
        return self._row(int(key))

    def where(self, rows: Any) -> Table:
        """Return a table of some rows: a mask, or their numbers."""
        columns, hidden = self._picked(rows)
        return Table(columns, hidden=hidden, empty=self.empty)

    def _picked(self, rows: Any) -> tuple[dict[str, Column], dict[str, Column]]:
        """Return some rows of the columns, and of the hidden ones."""
        shown, hidden = ({name: values[rows] for name, values in part.items()} for part in (self._columns, self._hidden))
        return shown, hidden

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} rows of {', '.join(self._columns)}>"

    def __str__(self) -> str:
        if not len(self) and self.empty:
            return self.empty
        return "\n".join(self._lines())

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the columns, without the hidden ones, as CSV (UTF-8).

        The first line has the names. Numbers have all their digits (reading them back gives the same bits),
        not-a-number is written ``nan``, None is left empty.
        """
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self._columns)
            writer.writerows(zip(*(map(str, _plain(values)) for values in self._columns.values()), strict=True))

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str], *, empty: str = "") -> Table:
        """Read a table that `to_csv` wrote.

        A column whose every entry is a whole number, a number (or ``nan``, or left empty) or a bool becomes one of
        int64, float64 or bool; any other stays text.

        Raises
        ------
        ArgumentError
            When the file has no header, or a line has another number of entries than it.
        """
        with Path(path).open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))
        if not lines:
            msg = f"{os.fspath(path)!r} is empty: a table's first line has the names of its columns"
            raise ArgumentError(msg)
        header, *body = lines
        for number, line in enumerate(body, start=2):
            if len(line) != len(header):
                msg = f"{os.fspath(path)!r}, line {number}: {len(line)} entries, not {len(header)}"
                raise ArgumentError(msg)
        return Table({name: _parsed([line[k] for line in body]) for k, name in enumerate(header)}, empty=empty)

    def _row(self, index: int) -> Row:
        shown = {name: _scalar(values[index]) for name, values in self._columns.items()}
        return Row(**shown, **{name: values[index] for name, values in self._hidden.items()})

    def _printed(self) -> Sequence[str]:
        """Names of the columns that `print` shows."""
        return self.keys()

    def _lines(self) -> list[str]:
        count = len(self)
        shown = np.arange(count)
        if count > _MOST_PRINTED:
            shown = np.concatenate([shown[: _MOST_PRINTED // 2], shown[-_MOST_PRINTED // 2 :]])
        cells = [["#", *map(str, shown)]]
        cells += [[name, *_formatted(self._columns[name][shown])] for name in self._printed()]
        widths = [max(map(len, column)) for column in cells]
        widths[0] = max(widths[0], 3)
        lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in zip(*cells, strict=True)]
        if count > _MOST_PRINTED:
            lines.insert(1 + _MOST_PRINTED // 2, f"...  ({count - _MOST_PRINTED} rows left out)")
        return lines


class SwitchTable(Table):
    """The switches of a run, in the order in which they happened in each trajectory.

    Its columns are `trajectory`, `time`, `source`, `target`, `event`, `loss`, `kinetic`, `hamiltonian` and
    `injected`; rows may also have `x_before`, `x_after` (arrays) and `touched` (whether V only touched its goal). A
    single run's print leaves out `trajectory`, and any print leaves out `injected` where no switch injected energy; the
    columns and the CSV have them.

    Parameters
    ----------
    columns, hidden, empty
        As for :class:`Table`; `trajectory` and `time` are required.
    trajectories : int or None
        Number of trajectories of a batch, None for a single run.
    """

    def __init__(
        self,
        columns: Mapping[str, Sequence[Any] | Column],
        *,
        trajectories: int | None,
        hidden: Mapping[str, Sequence[Any] | Column] | None = None,
        empty: str = "",
    ) -> None:
        super().__init__(columns, hidden=hidden, empty=empty)
        self.trajectories = trajectories
        if missing := {"trajectory", "time"} - set(self.keys()):
            msg = f"a table of switches needs the columns {sorted(missing)}"
            raise ArgumentError(msg)

    def first(self) -> Any:
        """Time of the first switch.

        Returns
        -------
        float or array, shape (batch,)
            A float for a single run; nan where there was none.
        """
        first = np.full(self.trajectories or 1, np.nan)
        # the last assignment to an index counts: in reverse order, the first switch
        first[self["trajectory"][::-1].astype(np.intp)] = self["time"][::-1]
        return float(first[0]) if self.trajectories is None else first

    def of(self, k: int) -> SwitchTable:
        """Return the switches of trajectory k of a batch, as those of a single run."""
        columns, hidden = self._picked(self["trajectory"] == k)
        columns["trajectory"] = np.zeros_like(columns["trajectory"])
        empty = self.empty if self.trajectories is None else "no switch"
        return SwitchTable(columns, hidden=hidden, trajectories=None, empty=empty)

    def where(self, rows: Any) -> SwitchTable:
        """Return a table of some rows: a mask, or their numbers."""
        columns, hidden = self._picked(rows)
        return SwitchTable(columns, hidden=hidden, trajectories=self.trajectories, empty=self.empty)

    def _printed(self) -> Sequence[str]:
        left_out = {"trajectory"} if self.trajectories is None else set()
        if "injected" in self._columns and not np.any(self._columns["injected"]):
            left_out.add("injected")
        return [name for name in self.keys() if name not in left_out]


def _column(name: str, values: Any) -> Column:
    array = values.copy() if isinstance(values, np.ndarray) else _inferred(list(values))
    if array.ndim != 1:
        msg = f"column {name!r} has shape {array.shape}, not (rows,)"
        raise ArgumentError(msg)
    array.setflags(write=False)
    return array


def _inferred(values: list[Any]) -> Column:
    """Make a list an array of one plain dtype, of objects where its entries are of several kinds."""
    kinds = {_kind(value) for value in values}
    if kinds == {"whole"}:
        return np.array(values, dtype=np.int64)
    if not kinds or (kinds <= {"whole", "real", "none"} and kinds != {"none"}):
        return np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    if kinds in ({"text"}, {"bool"}):
        return np.array(values)
    return _objects(values)


def _kind(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, (bool, np.bool)):
        return "bool"
    if isinstance(value, (int, np.integer)):
        return "whole"
    if isinstance(value, (float, np.floating)):
        return "real"
    return "text" if isinstance(value, str) else "other"


def _objects(values: Sequence[Any] | Column) -> Column:
    """One entry a row, whatever it is: NumPy must not make a matrix of equal arrays."""
    array = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        array[index] = value
    array.setflags(write=False)
    return array


def _scalar(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _plain(values: Column) -> Iterator[Any]:
    return ("" if value is None else value for value in values)


def _parsed(texts: list[str]) -> Column:
    """Entries of a CSV column as bools, whole numbers or numbers if all are, else as texts."""
    if texts and set(texts) <= {"True", "False"}:
        return np.array([text == "True" for text in texts])
    readers: tuple[tuple[Callable[[str], Any], type], ...] = ((int, np.int64), (_number, np.float64))
    for read, dtype in readers:
        try:
            return np.array([read(text) for text in texts], dtype=dtype)
        except (ValueError, OverflowError):
            continue
    return np.array(texts)


def _number(text: str) -> float:
    return float(text) if text else math.nan


def _formatted(values: Column) -> list[str]:
    """Cells of a column; numbers end in one line, with four decimals at most or three significant digits."""
    if values.dtype.kind in "iu":
        return _right(list(map(str, values)))
    if values.dtype.kind == "f":
        return _right(_fixed_or_scientific(values))
    return ["-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value) for value in values]


def _fixed_or_scientific(values: Column) -> list[str]:
    sizes = np.abs(values[np.isfinite(values) & (values != 0.0)])
    if sizes.size and (sizes.max() >= 1e6 or sizes.min() < 1e-4):
        return [f"{value:.2e}" if value else "0" for value in values]
    cells = [f"{value:.4f}" for value in values]
    spare = min((len(cell) - len(cell.rstrip("0")) for cell in cells if "." in cell), default=0)
    return [(cell[:-spare].removesuffix(".") if spare and "." in cell else cell) for cell in cells]


def _right(cells: list[str]) -> list[str]:
    width = max(map(len, cells), default=0)
    return [cell.rjust(width) for cell in cells]
