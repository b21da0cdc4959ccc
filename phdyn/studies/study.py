"""What every study returns, and what its module offers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from phdyn.tables import Table


@dataclass(frozen=True)
class Study:
    """What a study left behind.

    A study's module has ``Config`` (a frozen dataclass), ``run(config, out, *, executor=None, progress=False) -> Study``, and, for runs
    read back from their folder alone, ``report(run) -> str`` and ``draw(run, folder) -> list of paths``.

    Attributes
    ----------
    folder : Path
        The run folder.
    tables : dict of str to Table
        Its tables by name, as they lie there.
    figures : list of Path
        Its figures, as PNG (PDF and CSV lie beside them).
    failures : tuple of str
        Runs that stopped and balances that were violated; empty where all went well.
    """

    folder: Path
    tables: dict[str, Table]
    figures: list[Path]
    failures: tuple[str, ...] = ()


@contextmanager
def clock(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Enter under a name how many seconds the body takes."""
    begun = perf_counter()
    yield
    seconds[name] = perf_counter() - begun
