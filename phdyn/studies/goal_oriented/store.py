"""Finished cells on disk, a JSON line each, so that a study goes on where it ended."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from filelock import FileLock, Timeout  # torch needs it, so it is there

from phdyn.errors import ArgumentError
from phdyn.runs import plain
from phdyn.studies.goal_oriented.cells import Cell, Result, read_result

CELLS: Final = "cells.jsonl"


class Store:
    """Results of cells by key, appended to a file as they come; a context, in which nobody else writes to it.

    Parameters
    ----------
    folder : Path
        Where the file lies.
    others : iterable of Path
        More such files, to be read only.

    Attributes
    ----------
    results : dict of str to Result
        All that is known.
    errors : dict of str to str
        What went wrong in cells of this session; they are run again in the next.
    used : dict of str to None
        Keys of the cells that this study asked for, in order.
    """

    def __init__(self, folder: Path, others: Iterable[Path] = ()) -> None:
        self.folder = folder
        self.path = folder / CELLS
        self.results: dict[str, Result] = {}
        self.errors: dict[str, str] = {}
        self.used: dict[str, None] = {}
        self._lines: dict[str, str] = {}
        self._lock = FileLock(folder / ".lock", timeout=0)
        for file in others:
            self._read(file)

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as error:
            raise ArgumentError(f"another process is at work on this study, in {self.folder}: wait for it, or stop it") from error
        except OSError as error:
            raise ArgumentError(f"no finished cells can be kept in {self.folder}: {error.strerror}") from error
        if self.path.is_file():
            _mend(self.path)
            self._read(self.path)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.release()

    def add(self, key: str, cell: Cell, result: Result) -> None:
        """Keep a result."""
        line = json.dumps(plain({"key": key, "cell": asdict(cell), "result": asdict(result)}), separators=(",", ":"), allow_nan=False)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        self.results[key], self._lines[key] = result, line

    def export(self, path: Path) -> None:
        """Write the lines of the cells that were used."""
        lines = [self._lines[key] for key in self.used if key in self._lines]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def remove(self) -> None:
        """Remove the folder, once its cells are elsewhere."""
        self._lock.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, path: Path) -> None:
        for line, fields in read_lines(path):
            self.results[fields["key"]] = read_result(fields["result"])
            self._lines[fields["key"]] = line


def read_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each line of a file of cells and what it holds; a last line that was cut short is left out.

    Raises
    ------
    ArgumentError
        There is no such file, or a line is no cell.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(f"{path} cannot be read as a file of cells: {error}") from error
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        if not line.endswith("\n"):
            return
        try:
            fields = json.loads(line)
            fine = fields["result"].keys() == Result.__dataclass_fields__.keys() and isinstance(fields["key"], str)
        except (ValueError, TypeError, KeyError, AttributeError):
            fine = False
        if not fine:
            raise ArgumentError(f"{path}, line {number} is no finished cell: remove the line, or the file")
        yield line.rstrip("\n"), fields


def _mend(path: Path) -> None:
    """Take off a last line that was cut short, so that what is appended starts on a line of its own."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
