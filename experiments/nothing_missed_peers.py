"""Do scipy's and torchdiffeq's events miss a loss goal, fire it late, or fire it again when restarted there?

The cases of ``nothing_missed.py``, adaptive steps at rtol 1e-6, atol 1e-9. The truth of each is its own dense output, minimised between
samples. scipy watches V - goal once without ending the run (every passage counts), and once as a terminal event, restarted from
``y_events`` until the end of the span. torchdiffeq's ``odeint_event`` is restarted likewise; its first fire alone is compared.
*again*: runs in which an event fires at its own restart, within 1e-9; *stuck*: five times in a row.

    OMP_NUM_THREADS=1 python experiments/nothing_missed_peers.py [--cases 500] [--workers 2] [--seed 0]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nothing_missed import KINDS, Case, Config, Many, columns, draw, judge, passages_of
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicHermiteSpline
from torchdiffeq import odeint, odeint_event
from tqdm import tqdm

from phdyn import runs

RTOL, ATOL = 1e-6, 1e-9
RESTARTS = 200
STUCK = 5
"""Fires at their own restart in a row after which a run is given up."""
COUNTED = ("run_missed", "run_late", "passages", "missed", "late", "double", "false")
AGAIN = 1e-9
"""An event within this time of its run's start has fired at its own restart."""
PER_PERIOD = 400
"""Samples of the dense output in a fastest period, before it is minimised."""


@dataclass(frozen=True)
class PeersConfig:
    """Sizes of the measurement."""

    cases: int = 500
    seed: int = 0


def field(case: Case) -> Callable[[float, Any], Any]:
    """Return the right-hand side in NumPy."""
    (c, a, f), n = map(np.array, (case.c, case.a, case.f)), case.dim

    def fun(_: float, x: Any) -> Any:
        q, p = x[:n], x[n:]
        g = 2 * c * q + a * f * np.sin(f * q)
        if case.k:
            pull = case.k * (q[0] - q[1])
            g[0] += pull
            g[1] -= pull
        return np.concatenate([p, -g - case.gamma * p])

    return fun


def heights(case: Case) -> Callable[[Any], Any]:
    """Return V of states (2 n, times) in NumPy."""
    many = Many([case])

    def height(y: Any) -> Any:
        return many.height(y[: case.dim, :, None])[:, 0]

    return height


def truth(case: Case, dense: Callable[[Any], Any], end: float) -> list[Any]:
    """Return the passages of a dense output; times in the steps that the fixed-step methods take."""
    period = case.step / case.fraction
    height = heights(case)
    times = np.linspace(0.0, end, int(np.ceil(end / period * PER_PERIOD)) + 1)
    return passages_of(lambda t: height(dense(t)), times, case.goal, case.step)


def scipy_row(case: Case, direction: int) -> dict[str, Any]:
    """Watch V - goal with solve_ivp."""
    fun, n, end = field(case), case.dim, case.steps * case.step
    height = heights(case)

    def event(_: float, x: Any) -> float:
        return float(height(x[:, None])[0]) - case.goal

    event.direction = direction  # type: ignore[attr-defined]
    x0 = np.array([*case.q, *case.p])
    options = {"rtol": RTOL, "atol": ATOL, "method": "RK45"}
    event.terminal = False  # type: ignore[attr-defined]
    sol = solve_ivp(fun, (0.0, end), x0, events=event, dense_output=True, **options)
    found = truth(case, sol.sol, end)
    fires = sol.t_events[0]
    if direction == 0:  # falls alone
        after = sol.sol(np.minimum(fires + 1e-6 * case.step, end)) if len(fires) else np.empty((2 * n, 0))
        fires = fires[height(after) < case.goal]
    said = judge(found, fires / case.step, np.full(len(fires), case.goal), case.goal)
    event.terminal = True  # type: ignore[attr-defined]
    t, x, again, in_a_row = 0.0, x0, 0, 0
    for _ in range(RESTARTS):
        sol = solve_ivp(fun, (t, end), x, events=event, **options)
        if sol.status != 1:
            break
        repeated = bool(t > 0 and sol.t_events[0][0] - t <= AGAIN)
        again, in_a_row = again + repeated, in_a_row + 1 if repeated else 0
        t, x = sol.t_events[0][0], sol.y_events[0][0]
        if end - t < 1e-12 * end or in_a_row == STUCK:
            break
    return {"solver": f"scipy RK45, direction {direction}", **row_of(case, said), "again": again, "stuck": int(in_a_row == STUCK)}


def torch_dense(case: Case, fun: Any, x0: Any, end: float) -> Callable[[Any], Any]:
    """Return the solution between many points of torchdiffeq's own interpolant."""
    times = np.linspace(0.0, end, int(np.ceil(end / (case.step / case.fraction) * PER_PERIOD)) + 1)
    y = odeint(fun, x0, torch.tensor(times), rtol=RTOL, atol=ATOL, method="dopri5").numpy()
    spline = CubicHermiteSpline(times, y, np.stack([field(case)(0.0, x) for x in y]))
    return lambda t: spline(t).T


def torch_row(case: Case) -> dict[str, Any]:
    """Watch V - goal with odeint_event."""
    n, end = case.dim, case.steps * case.step
    c, a, f = (torch.tensor(v, dtype=torch.float64) for v in (case.c, case.a, case.f))

    def fun(_: Any, x: Any) -> Any:
        q, p = x[:n], x[n:]
        g = 2 * c * q + a * f * torch.sin(f * q)
        if case.k:
            pull = case.k * (q[0] - q[1])
            g = g + torch.stack([pull, -pull])
        return torch.cat([p, -g - case.gamma * p])

    def excess(x: Any) -> Any:
        q = x[:n]
        height = (c * q * q + 2 * a * torch.sin(0.5 * f * q) ** 2).sum()
        return (height + 0.5 * case.k * (q[0] - q[1]) ** 2 if n == 2 else height) - case.goal

    def event(t: Any, x: Any) -> Any:  # odeint_event has no end of its own
        return torch.where(t < end, excess(x), -start_sign)

    x0 = torch.tensor([*case.q, *case.p], dtype=torch.float64)
    t, x, again, in_a_row, first = 0.0, x0, 0, 0, np.nan
    for _ in range(RESTARTS):
        start_sign = 2.0 * (excess(x) >= 0) - 1.0
        event_t, states = odeint_event(
            fun, x, torch.tensor(t, dtype=torch.float64), event_fn=event, rtol=RTOL, atol=ATOL, method="dopri5", odeint_interface=odeint
        )
        when = float(event_t)
        if when >= end * (1 - 1e-9):
            break
        if t == 0:
            first = when
        repeated = bool(t > 0 and when - t <= AGAIN)
        again, in_a_row = again + repeated, in_a_row + 1 if repeated else 0
        if in_a_row == STUCK:
            break
        t, x = max(when, np.nextafter(t, np.inf)), states[-1].detach()
    fires = np.array([] if np.isnan(first) else [first / case.step])
    said = judge(truth(case, torch_dense(case, fun, x0, end), end), fires, np.full(len(fires), case.goal), case.goal)
    said = replace(said, passages=min(said.passages, 1), missed=said.run_missed, late=said.run_late)
    return {"solver": "torchdiffeq dopri5 (first)", **row_of(case, said), "again": again, "stuck": int(in_a_row == STUCK)}


def row_of(case: Case, said: Any) -> dict[str, Any]:
    """Return what a table needs of a verdict."""
    return {"kind": case.kind} | {name: getattr(said, name) for name in COUNTED}


def measure(job: tuple[int, Case]) -> list[dict[str, Any]]:
    """Run a case with every peer."""
    torch.set_num_threads(1)
    number, case = job
    with torch.no_grad():
        rows = [scipy_row(case, 0), scipy_row(case, -1), torch_row(case)]
    return [{"case": number, **row} for row in rows]


def table_of(rows: list[dict[str, Any]]) -> Any:
    """Return sums over runs by solver and kind."""
    lines = []
    for solver in dict.fromkeys(row["solver"] for row in rows):
        own = [row for row in rows if row["solver"] == solver]
        for name, group in [*((kind, [row for row in own if row["kind"] == kind]) for kind in KINDS), ("all", own)]:
            line = {"solver": solver, "cases": name, "runs": len(group), "entering": sum(row["passages"] > 0 for row in group)}
            line |= {key: sum(row[key] for row in group) for key in COUNTED}
            line |= {"again": sum(row["again"] > 0 for row in group), "stuck": sum(row["stuck"] for row in group)}
            lines.append(line)
    return columns(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=PeersConfig.cases)
    parser.add_argument("--seed", type=int, default=PeersConfig.seed)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/nothing_missed_peers"))
    options = parser.parse_args()
    config, started = PeersConfig(options.cases, options.seed), time.perf_counter()
    jobs = list(enumerate(draw(config.cases, config.seed, Config.steps)))
    with ProcessPoolExecutor(options.workers) if options.workers > 1 else nullcontext() as pool, runs.create(config, options.out) as run:
        results = map(measure, jobs) if pool is None else pool.map(measure, jobs)
        rows = [row for found in tqdm(results, total=len(jobs), unit="case") for row in found]
        table = table_of(rows)
        run.save_table(table, "peers")
        run.save_table(columns(rows), "runs")
        run.numbers["again"] = sum(row["again"] > 0 for row in rows)
    print(table)
    print(f"{time.perf_counter() - started:.0f} s; run folder {run.path}")


if __name__ == "__main__":
    main()
