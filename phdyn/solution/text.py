"""How a Solution prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phdyn.energy.balance import VERDICTS

if TYPE_CHECKING:
    from phdyn.solution.result import Solution


def describe(sol: Solution) -> str:
    """Return the lines that say what a run did."""
    return "\n".join(_one(sol) if sol.batch is None else _many(sol))


def _one(sol: Solution) -> list[str]:
    lines = [
        f"Solution: {sol.label} by {sol.method.name}, {sol.setting}",
        f"  status {sol.status}    {sol.message}",
        f"  cost        {sol.nfev} gradients, {sol.nvev} loss values, {sol.nsteps} steps ({sol.nrejected} rejected)",
    ]
    if len(sol.switches):
        named = ", ".join(f"{row.source} -> {row.target} at t = {row.time:.4f}" for row in list(sol.switches)[:4])
        more = f", ... ({len(sol.switches)} in all)" if len(sol.switches) > 4 else ""
        lines.append(f"  switches    {len(sol.switches)}: {named}{more}")
    if sol.balance is not None:
        verdict = sol.balance.verdict if sol.balance.holds else "VIOLATED"
        lines.append(f"  energy      H {sol.balance.initial:.4f} -> {sol.balance.final:.4f}, {verdict}")
    return lines


def _many(sol: Solution) -> list[str]:
    """Return counts for each status, and what the trajectories cost."""
    lines = [f"Solution: {sol.label}, {sol.batch} trajectories, by {sol.method.name}, {sol.setting}"]
    for status in sorted(set(np.asarray(sol.status).tolist()), reverse=True):
        rows = np.flatnonzero(sol.status == status)
        lines.append(f"  status {status:<4d} {len(rows)}: {sol.message[rows[0]]}" + (", ..." if len(rows) > 1 else ""))
    gradients, steps = _spread(sol.nfev), _spread(sol.nsteps)
    totals = f"{int(np.sum(sol.nvev))} loss values and {int(np.sum(sol.nrejected))} rejected steps in all"
    lines.append(f"  cost        {gradients} gradients, {steps} steps (least / median / most); {totals}")
    if len(sol.switches):
        times, count = sol.switches["time"], len(np.unique(sol.switches["trajectory"]))
        lines.append(f"  switches    {len(times)} in {count} of {sol.batch} trajectories, t from {times.min():.4f} to {times.max():.4f}")
    if sol.balance is not None:
        counts = {verdict: int(np.count_nonzero(sol.balance.verdict == verdict)) for verdict in VERDICTS}
        counts["VIOLATED"] = counts.pop("violated")
        lines.append("  energy      " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count))
    return lines


def _spread(counts: object) -> str:
    """Return the smallest, median and largest count."""
    numbers = np.asarray(counts)
    return f"{int(numbers.min())} / {float(np.median(numbers)):g} / {int(numbers.max())}"
