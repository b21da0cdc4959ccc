"""Cells over several processes, one thread each; what has finished before is not run again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from typing import Final, TypeAlias

from tqdm import tqdm

from phdyn.errors import WorkerError
from phdyn.studies.goal_oriented.cells import Cell, Job, Result, Setup, key
from phdyn.studies.goal_oriented.forks import Fork, groups
from phdyn.studies.goal_oriented.store import Store
from phdyn.studies.goal_oriented.training import train

_SHARES: Final = 4
"""Groups of cells for each worker, at least: more keep all of them busy until the end, fewer share more."""

Runner: TypeAlias = Callable[[str, Iterable[Cell]], dict[Cell, Result | None]]
"""``run(phase, cells) -> result of each cell``, None where it failed."""


def runner(setup: Setup, data_dir: str | None, store: Store, executor: Executor, *, workers: int, progress: bool) -> Runner:
    """Return what runs cells and keeps their results; cells that are equal until they brake go to a worker together."""

    def run(phase: str, cells: Iterable[Cell]) -> dict[Cell, Result | None]:
        keys = {cell: key(setup, cell) for cell in cells}
        store.used.update(dict.fromkeys(keys.values()))
        missing = [cell for cell, name in keys.items() if name not in store.results]
        bar = tqdm(total=len(keys), initial=len(keys) - len(missing), disable=not progress, leave=False, desc=phase, unit="run")
        parts = groups(missing, max(1, len(missing) // (_SHARES * workers)))
        futures = {executor.submit(train_together, [Job(setup, data_dir, cell) for cell in part]): part for part in parts}
        try:
            with bar:
                for future in as_completed(futures):
                    part = futures[future]
                    _keep(store, [keys[cell] for cell in part], part, future)
                    bar.update(len(part))
        finally:
            for future in futures:
                future.cancel()
        return {cell: store.results.get(name) for cell, name in keys.items()}

    return run


def train_together(jobs: Sequence[Job]) -> list[Result | str]:
    """Train cells that are equal until they brake; return the result of each, or what went wrong."""
    known: list[Fork] | None = [] if len(jobs) > 1 else None
    found: list[Result | str] = []
    for job in jobs:
        try:
            found.append(train(job, known))
        except BrokenExecutor:
            raise
        except Exception as error:  # noqa: BLE001 (one run that fails is told, and ends nothing)
            found.append(f"{type(error).__name__}: {error}")
    return found


def _keep(store: Store, names: Sequence[str], cells: Sequence[Cell], future: Future[list[Result | str]]) -> None:
    error = future.exception()
    if isinstance(error, BrokenExecutor):
        raise WorkerError("a worker process was killed, as when memory runs out; finished runs are kept: try again, with fewer --workers")
    found = [f"{type(error).__name__}: {error}"] * len(cells) if error is not None else future.result()
    for name, cell, one in zip(names, cells, found, strict=True):
        if isinstance(one, str):
            store.errors[name] = one
        else:
            store.add(name, cell, one)
