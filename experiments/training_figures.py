"""What do a switch, the noise of batches and the common schedules do to the energy of an SGD? The figures of docs/training.md.

`training-energies`: a network on the digits, batches of 64 (none smaller: the last 3 images of an epoch would kick hardest); friction is
switched when the loss has fallen to its goal, and the gradient noise is a port. `training-schedules`: the friction that five schedules of
learning rates hide, and their impulses.

    OMP_NUM_THREADS=1 python experiments/training_figures.py
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.optim import lr_scheduler

import phdyn
from phdyn import data, networks, plots, training

LOSS = torch.nn.functional.cross_entropy
STEPS = 400


def observed(epochs: int = 12, batch: int = 64) -> tuple[training.GoalScheduler, training.EnergyObserver]:
    """Train on the digits; friction from what lr .02 and momentum .95 are to 3 when 60 % of the loss are gone."""
    torch.manual_seed(0)
    digits = data.digits()
    model = networks.mlp((64, 64, 64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.95)
    scheduler = training.GoalScheduler(optimizer, phdyn.LossGoal(reduction=0.6), exploit={"friction": 3.0})
    everything = training.full_batch(model, LOSS, digits.x_train, digits.y_train)
    observer = training.EnergyObserver(optimizer, full_gradient=everything)
    order = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for rows in torch.randperm(len(digits.x_train), generator=order)[: len(digits.x_train) // batch * batch].split(batch):
            optimizer.zero_grad()
            loss = LOSS(model(digits.x_train[rows]), digits.y_train[rows])
            loss.backward()
            optimizer.step()
            scheduler.step(loss)
            observer.step(loss)
    return scheduler, observer


SCHEDULES: dict[str, Callable[[Any], Any]] = {
    "constant": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda _: 1.0),
    "steps of 1/10": lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [STEPS // 2, 3 * STEPS // 4]),
    "cosine": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, STEPS, eta_min=1e-4),
    "warm-up, linear": lambda optimizer: lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 40, (STEPS - step) / (STEPS - 40)) if step < STEPS else 0.0
    ),
    "one cycle": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=STEPS + 1),
}


def schedule(make: Callable[[Any], Any]) -> SimpleNamespace:
    """Read a schedule of torch from an optimizer, step by step: lr .1 and momentum .9 where it says nothing else."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    scheduler = make(optimizer)
    group, rows = optimizer.param_groups[0], []
    for _ in range(STEPS):
        rows.append((group["lr"], group["momentum"]))
        optimizer.step()
        scheduler.step()
    lr, momentum = np.array(rows).T
    friction = training.friction_schedule(lr, momentum)
    return SimpleNamespace(lr=lr, friction=friction, jumps=training.kinetic_jumps(lr, momentum))


def main(folder: Path) -> None:
    scheduler, observer = observed()
    balance = observer.energy_balance()
    print(scheduler.switches, balance, sep="\n")
    print(f"noise has supplied {balance.supplied:.4f}, {100 * balance.supplied / balance.dissipated:.0f} % of what friction dissipated")
    title = f"Digits: batch noise supplies {100 * balance.supplied / balance.dissipated:.0f} % of friction's work"
    plots.save(plots.plot_energy(observer), folder / "training-energies", title=title)
    schedules = {name: schedule(make) for name, make in SCHEDULES.items()}
    for name, part in schedules.items():
        print(f"{name:16}  friction {part.friction.min():8.3f} to {part.friction.max():8.3f}   product of jumps {np.prod(part.jumps):.2e}")
    plots.save(plots.plot_friction_schedule(schedules), folder / "training-schedules", title="A falling learning rate is a rising friction")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    main(parser.parse_args().out)
