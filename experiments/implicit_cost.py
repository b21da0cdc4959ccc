"""How many gradients does an implicit step take on a network, and how well does its balance close?

A network on 400 digits, float64, friction 0.3; ten steps from a point that Strang has reached by t = 5. The step is given in units of the
curvature there: h sqrt(L), L the sharpness (Strang's limit is 2).

    OMP_NUM_THREADS=1 python experiments/implicit_cost.py
"""

from __future__ import annotations

import numpy as np
import torch

import phdyn
from phdyn import data, networks, potentials
from phdyn.tables import Table

METHODS = ("gonzalez", "avf", "implicit-midpoint", "gauss-4", "gauss-6")
LENGTHS = (0.08, 0.25, 0.5, 0.84, 1.68)
STEPS = 10


def main() -> None:
    digits = data.digits()
    torch.manual_seed(0)
    x, y = digits.x_train[:400].double(), digits.y_train[:400]
    V = phdyn.NetworkLoss(networks.mlp((64, 64, 64, 10)).double(), torch.nn.functional.cross_entropy, x, y)
    ball = phdyn.HeavyBall(V, friction=0.3)
    there = phdyn.simulate(ball, (0, 5), V.initial_state(), method="strang", step=0.1, record="ends", monitor=None).y[:, -1]
    seen = phdyn.simulate(ball, (0, 0.01), there, method="strang", step=0.01, observables={"L": potentials.Sharpness()}, monitor=None)
    curvature = float(seen.observed["L"][0])
    rows = []
    for name in METHODS:
        for length in LENGTHS:
            h = length / np.sqrt(curvature)
            sol = phdyn.simulate(ball, (0, STEPS * h), there, method=name, step=h, record="energy", monitor=None)
            defect = np.abs(np.diff(sol.energy.residual)).max() / sol.energy.hamiltonian[0] if sol.nsteps else np.nan
            rows.append((name, length, sol.nfev / max(sol.nsteps, 1), defect, sol.status))
    names = ("method", "h sqrt(L)", "gradients a step", "largest defect / H", "status")
    print(f"{V.dim:,} parameters, sharpness {curvature:.3f}")
    print(Table({name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}))


if __name__ == "__main__":
    main()
