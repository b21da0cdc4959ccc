"""The progress bar of a run, on stderr, erased when done."""

from __future__ import annotations

from time import monotonic
from typing import Any

from tqdm import tqdm

_INTERVAL = 0.1
"""Seconds between two looks at the bar."""


class Progress:
    """Shows ``t 11.4/60  V 0.4605  H 1.2917  explore``; it looks at the clock every few steps, as many as fit into a tenth of a second."""

    def __init__(self, t0: float, t_end: float, *, shown: bool, energies: bool) -> None:
        self.t0, self.t_end, self.energies = t0, t_end, energies
        self.bar: Any = None
        self.shown = shown
        self.every, self.next, self.seen = 1, 1, 0.0

    def __enter__(self) -> Progress:
        if self.shown:
            form = "{desc} {bar} {percentage:3.0f} % {remaining}"
            self.bar = tqdm(total=abs(self.t_end - self.t0), leave=False, bar_format=form, mininterval=0.0)
            self.seen = monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def due(self, steps: int) -> float:
        """Return the step at which to look again."""
        return self.next if self.shown else float("inf")

    def show(self, steps: int, t: float, potential: float, hamiltonian: float, mode: str) -> None:
        """Show where the run is, if it is time."""
        if self.bar is None or steps < self.next:
            return
        passed = monotonic() - self.seen
        if passed < _INTERVAL / 2:
            self.every = min(self.every * 2, 100_000)
        elif passed > 2 * _INTERVAL:
            self.every = max(self.every // 2, 1)
        self.next = steps + self.every
        self.seen = monotonic()
        heights = f"  V {potential:.4f}  H {hamiltonian:.4f}" if self.energies else ""
        self.bar.set_description_str(f"t {t:.4g}/{self.t_end:g}{heights}{'  ' + mode if mode else ''}", refresh=False)
        self.bar.n = min(abs(t - self.t0), self.bar.total)
        self.bar.refresh()
