"""The study as a whole: it runs the parts, and leaves tables and figures in one run folder."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from phdyn import runs
from phdyn.errors import ArgumentError
from phdyn.friction import NesterovFriction
from phdyn.methods.catalogue import get
from phdyn.studies.discretizations import precision
from phdyn.studies.discretizations.config import Config, Orders, check
from phdyn.studies.discretizations.figures import SOLUTIONS, draw
from phdyn.studies.discretizations.long_run import DONE, LongRun, long_run
from phdyn.studies.discretizations.modified import modified
from phdyn.studies.discretizations.stability import StabilityMap, largest_steps, stability_map
from phdyn.studies.discretizations.symplecticity import symplecticity
from phdyn.studies.order import measure_order
from phdyn.studies.processes import processes
from phdyn.studies.single import build
from phdyn.studies.study import Study, clock
from phdyn.tables import Table


class Job(NamedTuple):
    """A call that needs nothing but its arguments."""

    part: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def run(config: Config, out: str | Path, *, workers: int = 0, executor: Executor | None = None, progress: bool = False) -> Study:
    """Run the parts of the study; leave tables and figures in one run folder.

    Work-precision comes first and alone, since it is timed; whatever does not depend on the system is spread over processes. The reference
    of a system is kept in the folder ``references`` beside the run's, and used again.

    Parameters
    ----------
    config : Config
        The configuration; its hash names the folder.
    out : str or Path
        Where the folder lies.
    workers : int
        Processes, one thread each; 0: as many as cores.
    executor : Executor, optional
        Runs the parts instead of processes of our own.
    progress : bool
        Whether to show progress on stderr.

    Returns
    -------
    Study
        Tables "orders", "system_orders", "precision", "costs", "envelope", "residual_parts", "symplecticity", "stability",
        "stability_maps", "long_run", "long_run_curves" and "modified", as far as their parts are configured.

    Raises
    ------
    ArgumentError
        Wrong entries of the configuration, before anything is run.
    """
    if workers < 0:
        raise ArgumentError(f"workers is {workers}: a number of processes, or 0 for as many as cores, is needed")
    record = runs.create(config, root=out)
    system, start, _ = build(config.system, config.q0, config.seed)
    check(config, system)
    seconds: dict[str, float] = {}
    with record:
        (record.path / SOLUTIONS).mkdir()
        if config.precision is not None:
            with clock(seconds, "precision"):
                _compare(config, system, start, record, Path(out) / "references", progress=progress)
        with clock(seconds, "others"):
            for name, table in _tables(config, _run_all(_jobs(config), executor, workers, progress=progress)).items():
                record.save_table(table, name)
        record.numbers["seconds"] = seconds
        draw(record, record.path / runs.FIGURES)
    done = runs.open_run(record.path)
    return Study(done.path, done.tables(), done.figures, failures(done))


def failures(run: runs.Run) -> tuple[str, ...]:
    """Return a line for each long run that stopped; that a method fails at a coarse step is what work-precision is there to show."""
    table = run.tables().get("long_run", ())
    return tuple(f"{row.method} on {row.problem}: {row.outcome}" for row in table if row.outcome != DONE)


def _compare(config: Config, system: Any, start: Any, record: runs.NewRun, references: Path, *, progress: bool) -> None:
    part = config.precision
    if part is None:
        return
    end, doubt = precision.reference(config, system, start, references)
    comparison, table = precision.measure(config, part, system, start, end, progress=progress)
    record.save_table(table, "precision")
    record.save_table(comparison.orders, "system_orders")
    record.save_table(precision.costs(table, part), "costs")
    record.save_table(precision.envelope(table, part), "envelope")
    shown = precision.shown_settings(table, part)
    for name, setting in shown.items():
        if (name, setting) in comparison.solutions:
            comparison.solutions[name, setting].save(record.path / SOLUTIONS / f"{name}.npz")
    record.save_table(precision.residual_parts(config, shown, system, start), "residual_parts")
    record.numbers["precision"] = {"components": len(end), "reference_doubt": doubt, "shown": shown}


def _jobs(config: Config) -> list[Job]:
    """Return the calls of all parts but work-precision, the longest first."""
    jobs = []
    if config.long_run is not None:
        jobs += [
            Job("long_run", long_run, (name, get(method), step, config.long_run.periods))
            for method, step in config.long_run.steps.items()
            for name in config.long_run.problems
        ]
    if config.stability is not None:
        part = config.stability
        steps, frictions = np.linspace(part.longest / part.points, part.longest, part.points), np.geomspace(*part.frictions, part.points)
        jobs += [Job("stability", largest_steps, (get(name), part.damped)) for name in part.methods]
        jobs += [Job("stability_maps", stability_map, (get(name), steps, frictions)) for name in part.mapped]
    if config.orders is not None:
        laws = _laws(config.orders).values()
        jobs += [Job("orders", _order, (get(name), friction)) for name in config.orders.methods for friction in laws]
    if config.structure is not None:
        part_d = config.structure
        jobs += [Job("symplecticity", _symplecticity, (get(name), part_d.steps, part_d.friction)) for name in part_d.methods]
    if config.equations is not None:
        jobs.append(Job("modified", modified, (config.equations.steps, config.equations.momentum)))
    return jobs


def _laws(part: Orders) -> dict[str, Any]:
    """Return the frictions under which orders are measured, by what their columns are called."""
    laws: dict[str, Any] = {f"friction {friction:g}": friction for friction in part.frictions}
    return laws | ({"friction 3/t": NesterovFriction()} if part.nesterov else {})


def _order(method: Any, friction: Any) -> float:
    return measure_order(method, friction=friction)


def _symplecticity(method: Any, steps: tuple[float, ...], friction: float) -> Table:
    return symplecticity([method], steps, friction=friction)


def _run_all(jobs: list[Job], executor: Executor | None, workers: int, *, progress: bool) -> dict[str, list[Any]]:
    """Run the calls; return what they found, by part, in their order."""
    if not jobs:
        return {}
    with processes(executor, workers) as pool:
        futures = [pool.submit(job.function, *job.arguments) for job in jobs]
        try:
            for _ in tqdm(as_completed(futures), total=len(futures), disable=not progress, leave=False, desc="parts", unit="part"):
                pass
            found: dict[str, list[Any]] = {}
            for job, future in zip(jobs, futures, strict=True):
                found.setdefault(job.part, []).append(future.result())
        finally:
            for future in futures:
                future.cancel()
    return found


def _tables(config: Config, found: dict[str, list[Any]]) -> dict[str, Table]:
    """Return the tables of what the parts found."""
    tables = {}
    if config.orders is not None:
        tables["orders"] = _orders(config, found["orders"])
    if config.structure is not None:
        tables["symplecticity"] = _joined(found["symplecticity"])
    if config.stability is not None:
        part = config.stability
        limits = np.array(found["stability"])
        columns = {f"gamma h = {value:g}": limits[:, k] for k, value in enumerate(part.damped)}
        tables["stability"] = Table({"method": list(part.methods), **columns})
        tables["stability_maps"] = _joined([_map_table(one) for one in found["stability_maps"]])
    if config.long_run is not None:
        tables["long_run"], tables["long_run_curves"] = _long_runs(found["long_run"])
    if config.equations is not None:
        tables["modified"] = found["modified"][0]
    return tables


def _orders(config: Config, measured: list[float]) -> Table:
    part: Any = config.orders
    names, laws = part.methods, _laws(part)
    slopes = np.array(measured).reshape(len(names), len(laws))
    columns = {name: slopes[:, k] for k, name in enumerate(laws)}
    return Table({"method": list(names), "declared": [get(name).order for name in names], **columns})


def _map_table(one: StabilityMap) -> Table:
    """Return a row for each point of a map; the boundary is that at the row's friction, nan where none is known."""
    frictions, steps = np.meshgrid(one.frictions, one.steps, indexing="ij")
    known = np.full(len(one.frictions), np.nan) if one.boundary is None else one.boundary
    columns = {"friction": frictions.ravel(), "step": steps.ravel(), "radius": one.radius.ravel()}
    return Table({"method": [one.method] * steps.size, **columns, "boundary": np.repeat(known, len(one.steps))})


def _long_runs(found: list[LongRun]) -> tuple[Table, Table]:
    table = Table(
        {
            "problem": [one.problem for one in found],
            "method": [one.method for one in found],
            "step": [one.step for one in found],
            "periods": [one.periods[-1] if one.periods else 0.0 for one in found],
            "residual": [one.envelope[-1] if one.periods else np.nan for one in found],
            "growth": [one.growth for one in found],
            "slope": [one.slope for one in found],
            "nfev": [one.nfev for one in found],
            "outcome": [one.outcome for one in found],
        }
    )
    lengths = [len(one.periods) for one in found]
    curves: dict[str, Any] = {name: np.repeat(np.array([getattr(one, name) for one in found]), lengths) for name in ("problem", "method")}
    curves |= {"periods": [t for one in found for t in one.periods], "residual": [size for one in found for size in one.envelope]}
    return table, Table(curves)


def _joined(parts: list[Table]) -> Table:
    return Table({name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0].keys()})  # noqa: SIM118 (rows are what it iterates)
