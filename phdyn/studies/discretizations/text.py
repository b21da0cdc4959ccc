"""What the study shows on a terminal, from the files of its run folder alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from phdyn.runs import Run
from phdyn.studies.compare import comparison_lines, short_power
from phdyn.studies.discretizations.long_run import DONE
from phdyn.studies.discretizations.modified import slopes
from phdyn.tables import Table

_MARGIN: Final = "    "
_FAR: Final = 0.1
"""A measured order farther than this from the declared one is marked."""


def report(run: Run) -> str:
    """Return the study's tables, part by part."""
    tables, config = run.tables(), run.config
    parts: list[tuple[str, str, Callable[[Run, Table], list[str]]]] = [
        ("orders", "(a) order, measured on coupled pendulums with a force and time-dependent friction", _orders),
        ("precision", "(b) work and precision", _precision),
        ("envelope", "    the cheapest of phdyn's methods, against methods of libraries: gradients to an error and below", _envelope),
        ("residual_parts", "(c) where the residuals of splittings come from, at the settings shown above", lambda _, table: [str(table)]),
        ("symplecticity", "(d) defect of conformal symplecticity of a step, from the method's own factor", _symplecticity),
        ("stability", "(e) largest stable h omega on the damped oscillator, at first loss (0: unstable at 0.02; 12: the longest looked at)",
         lambda _, table: [str(table)]),
        ("long_run", "(f) largest energy residual over the swing; growth: of all over that of the first tenth (1: no drift)", _long_run),
        ("modified", "(g) distance of heavy ball's iterates from three equations", _modified),
    ]  # fmt: skip
    threads = run.environment["threads"]["torch"]
    blocks = [f"phdyn discretizations: seed {config['seed']}, float64, {threads} thread{'s' if threads > 1 else ''}, {run.path}"]
    for name, heading, lines in parts:
        if name in tables and len(tables[name]):
            body = "\n".join(lines(run, tables[name]))
            blocks.append(heading + "\n" + "\n".join(f"{_MARGIN}{line}".rstrip() for line in body.splitlines()))
    figures = ",".join(path.stem for path in run.figures)
    seconds = sum(run.numbers["seconds"].values())
    blocks.append(f"figures  {run.path}/figures/{{{figures}}}.{{png,pdf}}\ndone in {seconds:.0f} s")
    return "\n\n".join(blocks)


def _orders(run: Run, table: Table) -> list[str]:
    """Return declared and measured orders, and those on the study's system, where the steps may be too coarse to show them."""
    measured = [name for name in table.keys() if name.startswith("friction")]  # noqa: SIM118 (rows are what it iterates)
    on_system = {row.method: row.measured for row in run.tables().get("system_orders", ())}
    lines = [f"{'method':<20} {'declared':>8} " + " ".join(f"{name:>13}" for name in measured) + f" {'on the system':>14}"]
    for k, row in enumerate(table):
        found = [float(table[name][k]) for name in measured]
        marks = "   differs" if any(abs(slope - row.declared) > _FAR for slope in found) else ""
        here = on_system.get(row.method, np.nan)
        there = f"{here:>14.2f}" if np.isfinite(here) else f"{'-':>14}"
        lines.append(f"{row.method:<20} {row.declared:>8} " + " ".join(f"{slope:>13.2f}" for slope in found) + f" {there}{marks}")
    return lines


def _precision(run: Run, table: Table) -> list[str]:
    numbers = run.numbers["precision"]
    shown = [row for row in table if numbers["shown"].get(row.method) == row.setting]
    target = short_power(run.config["precision"]["shown"])
    against = f"{numbers['components']:,} components; reference DOP853 at 1e-13, {numbers['reference_doubt']:.0e} from that at 1e-12"
    stopped = {(row.method, row.setting): row.outcome for row in shown if row.outcome != "done"}
    return [against, f"each method at the setting whose error is nearest to {target}", *comparison_lines(shown, stopped)]


def _envelope(run: Run, table: Table) -> list[str]:  # noqa: ARG001 (a part's signature)
    libraries = [name.removeprefix("ratio to ") for name in table.keys() if name.startswith("ratio to ")]  # noqa: SIM118 (rows are what it iterates)
    lines = [f"{'error':<8} {'cheapest':<20} {'gradients':>9} " + " ".join(f"{name:>8} {'ratio':>6}" for name in libraries)]
    for k, row in enumerate(table):
        others = " ".join(f"{table[name][k]:>8.0f} {table[f'ratio to {name}'][k]:>6.2f}" for name in libraries)
        lines.append(f"{short_power(row.error):<8} {row.cheapest:<20} {row.gradients:>9.0f} {others}")
    return lines


def _symplecticity(run: Run, table: Table) -> list[str]:  # noqa: ARG001 (a part's signature)
    methods, steps = list(dict.fromkeys(table["method"])), sorted(set(table["step"].tolist()), reverse=True)
    cells = {(row.method, row.step): row for row in table}
    lines = [f"{'method':<20} " + " ".join(f"{f'h = {step:g}':>9}" for step in steps) + f"   c - exp(-gamma h) at h = {steps[0]:g}"]
    for name in methods:
        defects = " ".join(f"{cells[name, step].defect:>9.1e}" for step in steps)
        lines.append(f"{name:<20} {defects}   {cells[name, steps[0]].off:.1e}")
    return lines


def _long_run(run: Run, table: Table) -> list[str]:  # noqa: ARG001 (a part's signature)
    names = f"{'problem':<16} {'method':<20} {'step':>6} {'periods':>9} {'gradients':>11} {'residual':>9} {'growth':>7}"
    lines = [f"{names}   slope on dissipated work"]
    for row in table:
        slope = f"{row.slope:.1e}" if np.isfinite(row.slope) else "-"
        numbers = f"{row.step:>6g} {row.periods:>9,.0f} {row.nfev:>11,} {row.residual:>9.1e} {row.growth:>7.3f}"
        lines.append(f"{row.problem:<16} {row.method:<20} {numbers}   {slope if row.outcome == DONE else row.outcome}")
    return lines


def _modified(run: Run, table: Table) -> list[str]:  # noqa: ARG001 (a part's signature)
    found = slopes(table)
    return [*str(table).splitlines(), "slopes  " + ", ".join(f"{name} {slope:.2f}" for name, slope in found.items())]

