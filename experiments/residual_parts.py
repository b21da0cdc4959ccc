"""How much of a residual is the integrator's, and how much a wrong gradient's? Right and wrong gradients, coarse and fine steps.

A network on 400 digits, float64, friction 0.3, t = 20. V is the mean loss on all images and a weight decay of 0.001; its gradient is right,
leaves the weight decay out, is half a per cent too long, or is that of half of the images. ``true`` is the largest gradient part that
there is (known for the first three: V's own gradient would make it zero).

    OMP_NUM_THREADS=1 python experiments/residual_parts.py [--out docs/results/discretizations]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

import phdyn
from phdyn import data, networks
from phdyn.tables import Table

RUNS = (("strang", (0.8, 0.4, 0.2, 0.1)), ("blanes-moan-4", (1.0, 0.5)), ("blanes-moan-6", (2.0, 1.0)))
GRADIENTS = ("right", "no weight decay", "0.5 % too long", "half of the images")
DECAY, LONGER = 1e-3, 0.005


class Forged:
    """A network's loss with a gradient that is wrong in a known way."""

    def __init__(self, gradient: str) -> None:
        digits = data.digits()
        x, y = digits.x_train[:400].double(), digits.y_train[:400]
        torch.manual_seed(0)
        net = networks.mlp((64, 16, 10)).double()
        loss = torch.nn.functional.cross_entropy
        self.gradient = gradient
        self.whole = phdyn.NetworkLoss(net, loss, x, y, weight_decay=DECAY)
        self.half = phdyn.NetworkLoss(net, loss, x[:200], y[:200], weight_decay=DECAY)
        self.dim = self.whole.dim

    def value(self, q: torch.Tensor) -> Any:
        return self.whole.value(q)

    def value_and_grad(self, q: torch.Tensor) -> Any:
        height, g = self.whole.value_and_grad(q)
        if self.gradient == "no weight decay":
            g = g - DECAY * q
        if self.gradient == "0.5 % too long":
            g = (1 + LONGER) * g
        if self.gradient == "half of the images":
            g = self.half.value_and_grad(q)[1]
        return height, g

    def true_part(self, sol: Any) -> float:
        """Return the largest of V - V0 - int g . dq along the run."""
        V = sol.energy.potential
        if self.gradient == "half of the images":
            g_of = np.array([float(self.half.value(torch.tensor(q))) for q in sol.q.T])
        else:
            squares = DECAY / 2 * (sol.q**2).sum(0)
            g_of = {"right": V, "no weight decay": V - squares, "0.5 % too long": (1 + LONGER) * V}[self.gradient]
        return float(np.abs((V - V[0]) - (g_of - g_of[0])).max())


def measure() -> Table:
    """Return a row a run."""
    names = ("gradient", "method", "step", "residual", "scheme", "gradient part", "true", "doubt", "told", "scheme slope", "gradient slope")
    rows = []
    for gradient in tqdm(GRADIENTS, leave=False):
        V = Forged(gradient)
        start = V.whole.initial_state()
        for method, steps in RUNS:
            for step in steps:
                ball = phdyn.HeavyBall(V, friction=0.3)
                sol = phdyn.simulate(ball, (0, 20), start, method=method, step=step, residual_parts=True, monitor=None)
                balance = sol.energy_balance()
                parts = balance.parts
                sizes = (parts.scheme, parts.gradient, V.true_part(sol), parts.doubt, parts.told)
                numbers = (*sizes, parts.scheme_slope, parts.gradient_slope)
                rows.append((gradient, method, step, balance.residual, *numbers))
    return Table({name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)})


def main(out: Path) -> None:
    table = measure()
    print(table)
    out.mkdir(parents=True, exist_ok=True)
    table.to_csv(out / "residual_parts.csv")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/residual_parts"))
    main(parser.parse_args().out)
