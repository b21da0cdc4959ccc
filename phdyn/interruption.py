"""Ctrl-C ends a run between two steps, so that what was computed is kept to the last bit; a second Ctrl-C ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


class Interruption:
    """While entered, the first SIGINT calls ``ask``; the handler is Python's own again from then on, and after leaving.

    Only in the main thread, and only where nobody else handles the signal.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self.ask = ask
        self.before: Any = None

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self.before = signal.signal(signal.SIGINT, self._asked)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _asked(self, number: int, frame: FrameType | None) -> None:
        self._restore()
        self.ask()

    def _restore(self) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)
            self.before = None
