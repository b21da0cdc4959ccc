"""Cells over several processes, one thread each; what has finished before is not run again."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TypeAlias

import torch
from tqdm import tqdm

from phdyn.errors import WorkerError
from phdyn.studies.goal_oriented.cells import Cell, Job, Result, Setup, key
from phdyn.studies.goal_oriented.store import Store
from phdyn.studies.goal_oriented.training import train

Runner: TypeAlias = Callable[[str, Iterable[Cell]], dict[Cell, Result | None]]
"""``run(phase, cells) -> result of each cell``, None where it failed."""


def runner(setup: Setup, data_dir: str | None, store: Store, executor: Executor, *, progress: bool) -> Runner:
    """Return what runs cells and keeps their results."""

    def run(phase: str, cells: Iterable[Cell]) -> dict[Cell, Result | None]:
        keys = {cell: key(setup, cell) for cell in cells}
        store.used.update(dict.fromkeys(keys.values()))
        missing = [cell for cell, name in keys.items() if name not in store.results]
        bar = tqdm(total=len(keys), initial=len(keys) - len(missing), disable=not progress, leave=False, desc=phase, unit="run")
        futures = {executor.submit(train, Job(setup, data_dir, cell)): cell for cell in missing}
        try:
            with bar:
                for future in as_completed(futures):
                    _keep(store, keys[futures[future]], futures[future], future)
                    bar.update()
        finally:
            for future in futures:
                future.cancel()
        return {cell: store.results.get(name) for cell, name in keys.items()}

    return run


def _keep(store: Store, name: str, cell: Cell, future: Future[Result]) -> None:
    error = future.exception()
    if isinstance(error, BrokenExecutor):
        raise WorkerError("a worker process was killed, as when memory runs out; finished runs are kept: try again, with fewer --workers")
    if error is None:
        store.add(name, cell, future.result())
    else:
        store.errors[name] = f"{type(error).__name__}: {error}"


@contextmanager
def processes(executor: Executor | None, count: int) -> Iterator[Executor]:
    """Give an executor: the caller's, or processes of our own, which do not outlive what is done with them."""
    if executor is not None:
        yield executor
        return
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(count or cores(), mp_context=multiprocessing.get_context("spawn"), initializer=_begin)
    done = False
    try:
        yield pool
        done = True
    finally:
        pool.shutdown(wait=done, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin() -> None:
    """Set up a worker: one thread; Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
