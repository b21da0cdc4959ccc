"""What does a trajectory's step cost in a batch, beside a loop fused by hand?

A batch of balls in the multi-well, each with a goal of its own that it reaches once: the switch to high friction is located for each,
energies are accounted. Beside it, the same Strang map (damped drift between kicks, kicks merged) compiled by numba, which neither locates
nor accounts and rolls on with low friction. Cases taken in turn, medians over rounds, one thread but where stated.

    pip install 'phdyn[bench]'
    OMP_NUM_THREADS=1 python experiments/ensemble.py [--batch 100000] [--steps 500] [--repeats 7]
"""

from __future__ import annotations

import argparse
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
import torch
from cost import interleaved

import phdyn
from phdyn.potentials import MultiWell
from phdyn.tables import Table

EXPLORE, EXPLOIT = 0.05, 3.0
NEVER = phdyn.LossGoal(value=-1.0)
"""A goal below the landscape: tested at every step, reached at none."""
BLOCK = 4096
"""Trajectories of numba's blocked loop: both of their vectors stay in the cache through all steps."""


@dataclass(frozen=True)
class Config:
    """Sizes of the measurement; the last goals are reached after about four units of time."""

    batch: int = 100_000
    steps: int = 500
    repeats: int = 7
    t_end: float = 5.0
    seed: int = 0


def starts(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Return positions (batch, 1) high in the fourth wells to either side, and goals (batch,) as fractions by which V must fall."""
    rng = np.random.default_rng(config.seed)
    q0 = rng.uniform(7.0, 7.3, (config.batch, 1)) * rng.choice([-1.0, 1.0], (config.batch, 1))
    return q0, rng.uniform(0.05, 0.99, config.batch)


# --- numba ---------------------------------------------------------------------------------------------------------------------------


@numba.njit
def roll_each(q, p, curvature, frequency, h, decay, drift, steps):
    """Take all steps of a trajectory, then those of the next; overwrites q and p."""
    for i in range(len(q)):
        x, y = q[i], p[i]
        y -= 0.5 * h * (2.0 * curvature * x + frequency * math.sin(frequency * x))
        for k in range(steps):
            x += drift * y
            weight = h if k < steps - 1 else 0.5 * h
            y = decay * y - weight * (2.0 * curvature * x + frequency * math.sin(frequency * x))
        q[i], p[i] = x, y


@numba.njit
def roll_block(q, p, curvature, frequency, h, decay, drift, steps):
    """Take a step of all trajectories, then the next step: independent sines follow each other and overlap in the processor."""
    for i in range(len(q)):
        p[i] -= 0.5 * h * (2.0 * curvature * q[i] + frequency * math.sin(frequency * q[i]))
    for k in range(steps):
        weight = h if k < steps - 1 else 0.5 * h
        for i in range(len(q)):
            x = q[i] + drift * p[i]
            q[i] = x
            p[i] = decay * p[i] - weight * (2.0 * curvature * x + frequency * math.sin(frequency * x))


@numba.njit
def roll_blocks(q, p, curvature, frequency, h, decay, drift, steps):
    """Roll block after block."""
    for start in range(0, len(q), BLOCK):
        roll_block(q[start : start + BLOCK], p[start : start + BLOCK], curvature, frequency, h, decay, drift, steps)


@numba.njit(parallel=True)
def roll_parallel(q, p, curvature, frequency, h, decay, drift, steps):
    """Roll the blocks on all of numba's threads."""
    for block in numba.prange((len(q) + BLOCK - 1) // BLOCK):
        start = block * BLOCK
        roll_block(q[start : start + BLOCK], p[start : start + BLOCK], curvature, frequency, h, decay, drift, steps)


def fused(loop: Callable[..., None], q0: np.ndarray, t_end: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and momenta (batch,) at the end of a numba loop with friction EXPLORE, from rest."""
    V, h = MultiWell(), t_end / steps
    q, p = q0[:, 0].copy(), np.zeros(len(q0))
    loop(q, p, V.curvature, V.frequency, h, math.exp(-EXPLORE * h), -math.expm1(-EXPLORE * h) / EXPLORE, steps)
    return q, p


# --- phdyn ---------------------------------------------------------------------------------------------------------------------------


def rolled(x0: np.ndarray | torch.Tensor, friction: object, t_end: float, steps: int) -> phdyn.Solution:
    """Return the run of a batch, energies on, and check that every trajectory reached the end."""
    system = phdyn.HeavyBall(MultiWell(), friction=friction)
    sol = phdyn.simulate(system, (0.0, t_end), x0, method="strang", step=t_end / steps, record="ends", monitor=None)
    if not np.all(sol.success) or np.shape(sol.energy.hamiltonian) != (len(x0), 2):
        raise RuntimeError(f"{np.sum(~sol.success)} of {len(x0)} trajectories failed, energies {np.shape(sol.energy.hamiltonian)}")
    return sol


def frictions(reduction: np.ndarray) -> dict[str, object]:
    """Return the friction laws by what a run with them does beside rolling."""
    return {
        "no event": EXPLORE,
        "goal never reached": phdyn.SwitchedFriction(EXPLORE, EXPLOIT, NEVER),
        "goal reached by each": phdyn.SwitchedFriction(EXPLORE, EXPLOIT, phdyn.LossGoal(reduction=reduction)),
    }


# --- the measurement -----------------------------------------------------------------------------------------------------------------


def measure(config: Config) -> Table:
    """Time all loops in turn; nanoseconds per trajectory and step."""
    q0, reduction = starts(config)
    loops = {
        "numba, 1 thread, trajectory after trajectory": roll_each,
        f"numba, 1 thread, blocks of {BLOCK}": roll_blocks,
        f"numba, {numba.get_num_threads()} threads, blocks of {BLOCK}": roll_parallel,
    }
    kinds = {"NumPy": phdyn.at_rest(q0), "torch": torch.from_numpy(phdyn.at_rest(q0))}

    def timed(run: Callable[[], object]) -> Callable[[], float]:
        def seconds() -> float:
            started = time.perf_counter()
            run()
            return (time.perf_counter() - started) / (config.batch * config.steps)

        return seconds

    cases = {name: timed(lambda loop=loop: fused(loop, q0, config.t_end, config.steps)) for name, loop in loops.items()}
    for kind, x0 in kinds.items():
        for what, friction in frictions(reduction).items():
            run = lambda x0=x0, friction=friction: rolled(x0, friction, config.t_end, config.steps)  # noqa: E731
            cases[f"phdyn, 1 thread, {kind}, {what}"] = timed(run)
    seconds = interleaved(cases, config.repeats)
    base = min(seconds[name] for name in list(loops)[:2])
    return Table(
        {
            "loop": list(seconds),
            "ns": [round(1e9 * s, 1) for s in seconds.values()],
            "ratio": [round(s / base, 2) for s in seconds.values()],
        }
    )


def check(config: Config) -> None:
    """Compare the ends of phdyn and numba before any switch, and say how many trajectories switch, when, and at what price."""
    q0, reduction = starts(config)
    x0 = phdyn.at_rest(q0)
    q, p = fused(roll_blocks, q0, config.t_end, config.steps)
    for what, friction in list(frictions(reduction).items())[:2]:
        end = rolled(x0, friction, config.t_end, config.steps).y[..., -1]
        apart = np.abs(end - np.stack([q, p], -1))
        print(f"phdyn, {what}: ends differ from numba's by {apart.max():.1e} at most, {np.median(apart):.0e} in the median")
    sol = rolled(x0, frictions(reduction)["goal reached by each"], config.t_end, config.steps)
    first, balance = sol.switches.first(), sol.energy_balance()
    fired = np.isfinite(first)
    times = ", ".join(f"{t:.2f}" for t in np.nanquantile(first, (0.05, 0.5, 0.95)))
    print(f"{100 * fired.mean():.2f} % of the trajectories switched, {len(sol.switches)} switches, at t = {times} (5, 50, 95 %)")
    levels = MultiWell().value(q0) * (1 - reduction)
    if len(sol.switches) == fired.sum():
        missed = np.abs(sol.switches["loss"] - levels[sol.switches["trajectory"]])
        print(f"loss at the switch: {missed.max():.1e} from the goal at most, {np.median(missed):.0e} in the median")
    print(f"gradients a trajectory {sol.nfev.mean():.2f}, {sol.nfev.max()} at most; energies hold in {100 * np.mean(balance.holds):.2f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("batch", "steps", "repeats", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Config, name))
    config = Config(**vars(parser.parse_args()))
    torch.set_num_threads(1)
    versions = ", ".join(f"{module.__name__} {module.__version__}" for module in (np, torch, numba))
    print(f"{platform.machine()}, python {platform.python_version()}, {versions}")
    print(f"{config.batch:,} trajectories, {config.steps} steps of {config.t_end / config.steps:g}, float64; medians of {config.repeats}")
    print(measure(config))
    check(config)


if __name__ == "__main__":
    main()
