"""Data sets by name, for configurations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from phdyn.data.cifar import cifar10
from phdyn.data.dataset import Dataset
from phdyn.data.fashion import fashion_mnist
from phdyn.data.handwritten import digits
from phdyn.data.signals import mnist1d
from phdyn.errors import ArgumentError

_MADE: Final[dict[str, Callable[[], Dataset]]] = {"digits": digits, "mnist1d": mnist1d}
_READ: Final[dict[str, Callable[[str | Path | None], Dataset]]] = {"fashion-mnist": fashion_mnist, "cifar10": cifar10}


def names() -> tuple[str, ...]:
    """Return the names of all data sets."""
    return (*_MADE, *_READ)


def load(name: str, data_dir: str | Path | None = None) -> Dataset:
    """Return a data set by its name.

    Parameters
    ----------
    name : str
        "digits", "mnist1d" (seed 0), "fashion-mnist" or "cifar10".
    data_dir : path, optional
        A folder with the files of "fashion-mnist" or "cifar10", instead of a download. The others need no files.

    Returns
    -------
    Dataset
        As the function of that name returns it.

    Raises
    ------
    ArgumentError
        When the name is unknown.
    DataError, MissingExtraError
        As that function raises them.
    """
    if name in _MADE:
        return _MADE[name]()
    if name in _READ:
        return _READ[name](data_dir)
    msg = f"unknown data set {name!r}; there are {', '.join(names())}"
    raise ArgumentError(msg)
