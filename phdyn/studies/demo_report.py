"""What the demo shows on a terminal, 100 columns wide, from the files of its run folder alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from phdyn.runs import Run
from phdyn.studies.compare import comparison_lines, short_power
from phdyn.studies.demo_runs import DONE
from phdyn.tables import Row, Table

_WIDTH = 100
_MARGIN = "    "


def report(run: Run) -> str:
    """Return the demo's tables and what follows from them."""
    tables, config, numbers = run.tables(), run.config, run.numbers
    seconds = numbers["seconds"]
    threads = run.environment["threads"]["torch"]
    parts = [
        [f"phdyn demo: seed {config['seed']}, float64, {threads} thread{'s' if threads > 1 else ''}, {run.path}"],
        _toy(tables["toy"], config["toy"], seconds["toy"]),
        _digits(tables["digits"], config["digits"], numbers["digits"], seconds["digits"]),
        _methods(tables["methods"], config["methods"], numbers["methods"], seconds["methods"]),
        _footer(run, tables),
    ]
    return "\n\n".join("\n".join(part) for part in parts)


def failures(run: Run) -> tuple[str, ...]:
    """Return a line for each run that stopped, and for each balance that was violated."""
    found = []
    for name, table in run.tables().items():
        for row in table:
            if row.outcome != DONE:
                found.append(f"{_name(name, row)}: {row.outcome}")
            elif row.balance == "violated":
                found.append(f"{_name(name, row)}: energy balance violated")
    return tuple(found)


def _name(table: str, row: Row) -> str:
    if table == "toy":
        return f"explore {row.explore:g}, goal {row.goal:g}"
    return str(row.arm) if table == "digits" else f"{row.method}, {row.option} {short_power(row.setting)}"


def _heading(text: str, seconds: float) -> str:
    time = f"{seconds:.1f} s"
    return f"{text:<{_WIDTH - len(time)}}{time}"


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"{_MARGIN}{line}".rstrip() for line in lines]


def _toy(table: Table, toy: dict[str, Any], seconds: float) -> list[str]:
    goals = toy["goals"]
    cells = {(row.explore, row.goal): "never" if np.isnan(row.brakes_at) else f"{row.loss:.3f}" for row in table}
    never = sorted({f"{row.loss:.3f}" for row in table if np.isnan(row.brakes_at)})
    shares = [f"{100 * goal:g} %" for goal in goals]
    lines = [f"explore    brake at {shares[0]:>5}" + "".join(f"{share:>9}" for share in shares[1:]) + " of the initial loss"]
    for explore in toy["explore"]:
        row = "".join(f"{cells[explore, goal]:>9}" for goal in goals[1:])
        lines.append(f"{explore:<10.2f} {cells[explore, goals[0]]:>14}{row}")
    if never:
        lines[-1] += f"    (never braked: ends at {', '.join(never)})"
    return [
        _heading(f"(a) multi-well, q0 = {toy['start']:g}, exploit = {toy['exploit']:g}: the loss at the end, by goal", seconds),
        *_indented([*lines, "who brakes early loses; so does who never lets it roll"]),
    ]


def _digits(table: Table, study: dict[str, Any], numbers: dict[str, Any], seconds: float) -> list[str]:
    size = f"{numbers['parameters']:,} parameters, {numbers['images']:,} images"
    heading = f"(b) digits, {size}, weight decay {study['weight_decay']:g}, t = {study['t_end']:g}, strang, step {study['step']:g}"
    lines = [f"{'arm':<23} {'objective':>9} {'train loss':>11} {'test acc.':>10} {'switch at':>9} {'gradients':>10}   energy balance"]
    for row in table:
        switch = f"{row.brakes_at:.1f}" if np.isfinite(row.brakes_at) else "never" if row.goal else "-"
        numbers_ = f"{row.objective:>9.4f} {row.train_loss:>11.4f} {100 * row.accuracy:>8.1f} % {switch:>9} {row.nfev:>10,}"
        shown = f"{'VIOLATED' if row.balance == 'violated' else row.balance} ({100 * row.residual_share:.1f} %)"
        lines.append(f"{row.arm:<23} {numbers_}   {shown if row.outcome == DONE else row.outcome}")
    return [_heading(heading, seconds), *_indented([*lines, *_who_wins(table)])]


def _who_wins(table: Table) -> list[str]:
    """Say plainly who is ahead at equal gradients, and how far behind the braking arms are."""
    equal = [row for row in table if row.same_cost and row.outcome == DONE and not (row.goal and np.isnan(row.brakes_at))]
    if not equal:
        return []
    best, sharpest = min(equal, key=lambda row: row.objective), max(equal, key=lambda row: row.accuracy)
    lines = [f"lowest objective: {best.arm} ({best.objective:.4f}); best test accuracy: {sharpest.arm} ({100 * sharpest.accuracy:.1f} %)"]
    braking = [row for row in equal if row.arm.startswith("goal") and np.isfinite(row.brakes_at)]
    if not braking:
        return [*lines, "no goal was reached"]
    braked = min(braking, key=lambda row: row.objective)
    if braked.objective <= best.objective:
        return [*lines, "here braking at a goal is ahead"]
    behind = f"{braked.objective:.4f}, {braked.objective / best.objective:.1f} times the best"
    lines += [f"the opposite switch, {row.arm}: {row.objective:.4f}; ten seeds: docs/results/demo.md" for row in equal if _is_release(row)]
    return [
        *lines,
        f"braking at a goal does not pay here ({behind}): what is left is a slow slide",
        "along soft directions, at the rate omega^2/gamma; it pays where there are wells to choose, as in (a)",
    ]


def _is_release(row: Row) -> bool:
    """Say whether an arm lowers its friction at a goal."""
    return bool(row.goal) and not row.arm.startswith(("goal", "the same"))


def _methods(table: Table, study: dict[str, Any], numbers: dict[str, Any], seconds: float) -> list[str]:
    size = f"{numbers['parameters']:,} parameters, {numbers['images']:,} images"
    heading = f"(c) a smaller network's flow ({size}), friction {study['friction']:g}, t = {study['t_end']:g}"
    stopped = {(row.method, row.setting): row.outcome for row in table if row.outcome != DONE}
    lines = comparison_lines([row for row in table if row.shown], stopped)
    against = f"errors against DOP853 at 1e-13; each method at the setting whose error is nearest to {short_power(study['target'])}"
    return [_heading(heading, seconds), *_indented([against, *lines, _cheapest(numbers["gradients_at_target"], study["target"])])]


def _cheapest(costs: dict[str, float | None], target: float) -> str:
    known = {name: cost for name, cost in costs.items() if cost is not None and np.isfinite(cost)}
    if not known:
        return f"no method was run on both sides of error {short_power(target)}"
    best = min(known, key=lambda name: known[name])
    others = ", ".join(f"{name} {known[name]:.0f}" for name in ("RK45", "DOP853", "strang") if name in known and name != best)
    return f"cheapest at error {short_power(target)}: {best}, {known[best]:.0f} gradients" + (f"; others: {others}" if others else "")


def _footer(run: Run, tables: dict[str, Table]) -> list[str]:
    figures = ",".join(path.stem for path in run.figures)
    bad = [*failures(run)]
    stopped = sum(row.outcome != DONE for table in tables.values() for row in table)
    total = sum(len(table) for table in tables.values())
    lines = [
        f"figures  {run.path}/figures/{{{figures}}}.{{png,pdf}}",
        f"numbers  {run.path}/{{numbers.json,{','.join(f'{name}.csv' for name in tables)}}}, trajectory.npz",
        f"next     open docs/concepts.md, or: phdyn show {run.path}",
        f"done in {sum(run.numbers['seconds'].values()):.0f} s",
    ]
    if bad:
        lines.append(f"{stopped} of {total} runs stopped, {len(bad) - stopped} balance{'s' if len(bad) - stopped != 1 else ''} violated:")
        lines += _indented(bad)
    return lines
