"""What does a step cost beyond its gradient?

Ratios taken side by side in one run, interleaved, medians over rounds; one thread.

    OMP_NUM_THREADS=1 python experiments/cost.py
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from scipy.integrate import RK45

import phdyn
from phdyn import data, networks
from phdyn.tables import Table

FLOOR = phdyn.LossGoal(value=-1.0)
"""A goal that never fires, and is tested at every step."""


@dataclass(frozen=True)
class Config:
    """Sizes of the measurement."""

    rounds: int = 11
    network_steps: int = 200
    pendulum_steps: int = 4000
    vector: int = 1_000_000


def interleaved(cases: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Return each case's median seconds a step, the cases taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for case in cases.values():
        case()
    for _ in range(rounds):
        for name, case in cases.items():
            times[name].append(case())
    return {name: median(values) for name, values in times.items()}


def watched(system: phdyn.HeavyBall, x0: object, steps: int, h: float) -> float:
    """Return seconds a step of simulate with a goal that never fires, energies and record="energy"."""
    started = time.perf_counter()
    sol = phdyn.simulate(system, (0.0, steps * h), x0, method="strang", step=h, record="energy", events=FLOOR, monitor=None)
    seconds = time.perf_counter() - started
    if sol.nfev != steps + 1 or sol.nvev:
        raise RuntimeError(f"{sol.nfev} gradients and {sol.nvev} values for {steps} steps")
    return seconds / steps


def network_cases(images: int, steps: int) -> dict[str, Callable[[], float]]:
    """Return the bare gradient, a fused SGD loop and simulate on the digits MLP, float32."""
    digits = data.digits()
    x = torch.cat([digits.x_train, digits.x_test])[:images]
    y = torch.cat([digits.y_train, digits.y_test])[:images]
    loss_function = torch.nn.functional.cross_entropy

    def fresh() -> torch.nn.Module:
        torch.manual_seed(0)
        return networks.mlp((64, 64, 64, 10))

    bare_model, sgd_model = fresh(), fresh()
    optimizer = torch.optim.SGD(sgd_model.parameters(), lr=1e-4, momentum=0.9, fused=True)
    potential = phdyn.NetworkLoss(fresh(), loss_function, x, y)
    system, x0 = phdyn.HeavyBall(potential, friction=0.1), potential.initial_state()

    def bare() -> float:
        started = time.perf_counter()
        for _ in range(steps):
            bare_model.zero_grad()
            loss_function(bare_model(x), y).backward()
        return (time.perf_counter() - started) / steps

    def sgd() -> float:
        started = time.perf_counter()
        for _ in range(steps):
            optimizer.zero_grad()
            loss_function(sgd_model(x), y).backward()
            optimizer.step()
        return (time.perf_counter() - started) / steps

    def outside_gradients() -> float:
        """Return what a step of simulate takes beside the gradient that it asks the potential for."""
        evaluate, spent = potential.value_and_grad, [0.0]

        def timed(q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            started = time.perf_counter()
            result = evaluate(q)
            spent[0] += time.perf_counter() - started
            return result

        potential.value_and_grad = timed  # type: ignore[method-assign]
        try:
            return watched(system, x0, steps, 0.01) - spent[0] / steps
        finally:
            del potential.value_and_grad

    return {
        "bare gradient": bare,
        "SGD(fused=True)": sgd,
        "simulate": lambda: watched(system, x0, steps, 0.01),
        "simulate, its gradients aside": outside_gradients,
    }


class Pendulum:
    """1 - cos q as a NumPy object."""

    dim = 1

    def value(self, q: np.ndarray) -> float:
        """Return V."""
        return 1 - np.cos(q[0])

    def value_and_grad(self, q: np.ndarray) -> tuple[float, np.ndarray]:
        """Return V and its gradient."""
        return 1 - np.cos(q[0]), np.sin(q)


def bare_pendulum(steps: int, h: float, friction: float) -> float:
    """Return seconds a step of the same Strang map with the same energies and test, written out in NumPy."""
    potential = Pendulum()
    q, p = np.array([2.0]), np.array([0.0])
    decay, drift = np.exp(-friction * h), -np.expm1(-friction * h) / friction
    lost = -np.expm1(-2 * friction * h)
    height, g = potential.value_and_grad(q)
    times, kinetic, heights, work = np.empty((4, steps))
    dissipated, slope = 0.0, 0.0
    started = time.perf_counter()
    for k in range(steps):
        p -= 0.5 * h * g
        dissipated += lost * 0.5 * np.dot(p, p)
        q += drift * p
        p *= decay
        height, g = potential.value_and_grad(q)
        p -= 0.5 * h * g
        slope_before, slope = slope, np.dot(g, p)
        times[k], kinetic[k], heights[k], work[k] = (k + 1) * h, 0.5 * np.dot(p, p), height, dissipated
        if height <= -1.0 or (slope_before <= 0.0 < slope and height < -0.5):
            break
    return (time.perf_counter() - started) / steps


def rk45_pendulum(steps: int) -> float:
    """Return seconds a step of scipy's RK45 on the pendulum."""
    solver = RK45(lambda _, x: np.array([x[1], -np.sin(x[0]) - 0.1 * x[1]]), 0.0, np.array([2.0, 0.0]), np.inf, rtol=1e-6, atol=1e-9)
    started = time.perf_counter()
    for _ in range(steps):
        solver.step()
    return (time.perf_counter() - started) / steps


def pendulum_cases(steps: int) -> dict[str, Callable[[], float]]:
    """Return a bare NumPy loop, simulate, and scipy's RK45."""
    system = phdyn.HeavyBall(Pendulum(), friction=0.1)
    return {
        "bare NumPy loop": lambda: bare_pendulum(steps, 0.05, 0.1),
        "simulate": lambda: watched(system, [2.0, 0.0], steps, 0.05),
        "scipy RK45 step": lambda: rk45_pendulum(steps // 10),
    }


def vectors_held(n: int) -> float:
    """Return the peak memory of a Strang run beyond its start, in vectors of length n."""
    scratch = np.empty(n)

    class Bowl:
        dim = n

        def value(self, q: np.ndarray) -> float:
            return 0.5 * float(q @ q)

        def value_and_grad(self, q: np.ndarray) -> tuple[float, np.ndarray]:
            scratch[:] = q
            return 0.5 * float(q @ q), scratch

    x0 = np.ones(2 * n)
    tracemalloc.start()
    motion_before = tracemalloc.get_traced_memory()[0]
    held: list[float] = []

    def look(point: object) -> float:  # noqa: ARG001
        held.append(tracemalloc.get_traced_memory()[0] - motion_before)
        return 0.0

    system, seen = phdyn.HeavyBall(Bowl(), friction=0.1), {"memory": phdyn.Every(5, look)}
    phdyn.simulate(system, (0.0, 1.0), x0, method="strang", step=0.1, record="ends", observables=seen)
    tracemalloc.stop()
    return (held[-1] + scratch.nbytes) / (8 * n)


def import_seconds(module: str) -> float:
    """Return the median seconds that importing a module takes in a fresh process."""
    code = f"import time; s = time.perf_counter(); import {module}; print(time.perf_counter() - s)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(5)]  # noqa: S603
    return median(float(run.stdout) for run in runs)


def main(config: Config) -> None:
    """Measure, and print the table."""
    torch.set_num_threads(1)
    rows: list[tuple[str, str, float, float]] = []
    for images in (1797, 128):
        steps = config.network_steps if images > 1000 else 4 * config.network_steps
        seconds = interleaved(network_cases(images, steps), config.rounds)
        rows += [(f"64-64-64-10, {images} digits", name, 1e6 * s, s / seconds["bare gradient"]) for name, s in seconds.items()]
    seconds = interleaved(pendulum_cases(config.pendulum_steps), config.rounds)
    rows += [("pendulum, NumPy", name, 1e6 * s, s / seconds["bare NumPy loop"]) for name, s in seconds.items()]
    print(f"{platform.machine()}, python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} thread")
    print(Table(dict(zip(("case", "loop", "us/step", "ratio"), map(list, zip(*rows, strict=True)), strict=True))))
    held = vectors_held(config.vector)
    print(f"a Strang run holds {held:.2f} n numbers: q, p, gradient, one vector; 2 n for the start that it returns, n for this look at it")
    both, torch_alone = import_seconds("torch, phdyn"), import_seconds("torch")
    print(f"import phdyn adds {both - torch_alone:.2f} s to import torch ({torch_alone:.2f} s)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=Config.rounds)
    main(Config(rounds=parser.parse_args().rounds))
