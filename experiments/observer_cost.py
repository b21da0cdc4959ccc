"""What do the observer and the scheduler add to a step of an ordinary training loop?

Steps with and without them are interleaved on twin networks, and the medians of many blocks are compared: the ratio is that of one step
(zero_grad, forward, backward, optimizer.step) with ``observer.step(loss)`` or ``scheduler.step(loss)`` to one without.

    OMP_NUM_THREADS=1 python experiments/observer_cost.py
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import torch

import phdyn
from phdyn import networks, training
from phdyn.tables import Table

LOSS = torch.nn.functional.cross_entropy
CASES: dict[str, tuple[Callable[[], torch.nn.Module], tuple[int, ...]]] = {
    "mlp 64-64-64-10, 128 digits": (lambda: networks.mlp((64, 64, 64, 10)), (128, 64)),
    "mlp 64-64-64-10, 1,347 digits": (lambda: networks.mlp((64, 64, 64, 10)), (1347, 64)),
    "mlp 784-1000-1000-10, 128 images": (lambda: networks.mlp((784, 1000, 1000, 10)), (128, 784)),
    "small CNN, 128 images of 3 x 32 x 32": (networks.small_cnn, (128, 3, 32, 32)),
    "ResNet-20, 128 images of 3 x 32 x 32": (networks.resnet20, (128, 3, 32, 32)),
}
PARTS: dict[str, Callable[[Any], Any]] = {
    "observer": training.EnergyObserver,
    "observer, every=10": lambda optimizer: training.EnergyObserver(optimizer, every=10),
    "scheduler": lambda optimizer: training.GoalScheduler(optimizer, phdyn.LossGoal(reduction=0.9999), exploit={"momentum": 0.5}),
}


class Loop:
    """One training loop, with or without a part that steps along."""

    def __init__(self, build: Callable[[], torch.nn.Module], shape: tuple[int, ...], part: Callable[[Any], Any] | None) -> None:
        torch.manual_seed(0)
        self.model = build()
        self.x, self.y = torch.rand(shape), torch.randint(10, shape[:1])
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-4, momentum=0.9)
        self.part = None if part is None else part(self.optimizer)

    def run(self, steps: int) -> float:
        """Return the seconds of some steps."""
        begun = perf_counter()
        for _ in range(steps):
            self.optimizer.zero_grad()
            loss = LOSS(self.model(self.x), self.y)
            loss.backward()
            self.optimizer.step()
            if self.part is not None:
                self.part.step(loss)
        return perf_counter() - begun


def measure(seconds: float, blocks: int) -> Table:
    """Return a row a network and part: the step without it in microseconds, what it adds, and the ratio."""
    rows = []
    for name, (build, shape) in CASES.items():
        loops = {"": Loop(build, shape, None), **{part: Loop(build, shape, make) for part, make in PARTS.items()}}
        once = min(loops[""].run(1) for _ in range(3))
        steps = max(1, int(seconds / blocks / len(loops) / once))
        times: dict[str, list[float]] = {part: [] for part in loops}
        for _ in range(blocks):
            for part, loop in loops.items():
                times[part].append(loop.run(steps) / steps)
        bare = 1e6 * median(times[""])
        for part in PARTS:
            ratio = median(a / b for a, b in zip(times[part], times[""], strict=True))
            rows.append((name, part, round(bare, 1), round(bare * (ratio - 1), 1), round(100 * (ratio - 1), 2)))
    columns = ("network", "part", "step (us)", "added (us)", "added (%)")
    return Table({column: list(values) for column, values in zip(columns, zip(*rows, strict=True), strict=True)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="a network")
    parser.add_argument("--blocks", type=int, default=41)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), medians of {options.blocks} blocks")
    print(measure(options.seconds, options.blocks))
