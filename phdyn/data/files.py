"""Reading data files: every fault of one is a DataError that names the file and the way out."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any, Final

from phdyn.errors import DataError

DELETE: Final = "Delete it and call again"
"""The way out where the file is ours, in the cache folder."""

REPLACE: Final = "Put a sound copy in its place"
"""The way out where the file is the user's, in a folder of theirs."""

DAMAGED: Final = (OSError, EOFError, zlib.error)
"""What reading a file, or unpacking a damaged one, can raise."""


def fault(path: Path, what: str, remedy: str) -> DataError:
    """Return the error of one file: its path, what is wrong, what to do."""
    return DataError(f"{path}: {what}. {remedy}.")


def read(path: Path, remedy: str) -> bytes:
    """Return what a file holds, unpacked if its name ends in ``.gz``.

    Raises
    ------
    DataError
        The file cannot be read, or is a damaged or truncated gzip file.
    """
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except DAMAGED as error:
        raise fault(path, f"cannot be read: {reason(error)}", remedy) from error


def reason(error: BaseException) -> str:
    """Return what an error says, without the path that the operating system's errors repeat."""
    return getattr(error, "strerror", None) or str(error)


def folder_of(data_dir: str | Path) -> Path:
    """Return a user's folder of data.

    Raises
    ------
    DataError
        There is no such folder.
    """
    folder = Path(data_dir).expanduser()
    if not folder.is_dir():
        msg = f"data_dir: there is no folder {folder}. Name the folder that holds the data, or leave it out to download them."
        raise DataError(msg)
    return folder


def require_labels(labels: Any, classes: int, path: Path, remedy: str) -> None:
    """Refuse a file with labels beyond the classes.

    Raises
    ------
    DataError
        A label is too large.
    """
    if labels.max() >= classes:
        raise fault(path, f"it has the label {labels.max()}, not only 0 to {classes - 1}, so it is corrupt", remedy)
