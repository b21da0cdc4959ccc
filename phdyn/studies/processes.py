"""Processes that a study's runs are spread over, one thread each."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager

import torch


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
