"""What accuracy costs on a system: errors and residuals against gradients and time, and the envelope of phdyn's methods."""

from __future__ import annotations

import uuid
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np

from phdyn.errors import StabilityWarning
from phdyn.methods.catalogue import get
from phdyn.methods.splitting import Splitting
from phdyn.runs import config_hash
from phdyn.simulate import simulate
from phdyn.studies.compare import Comparison, compare, gradients_at, reference_end
from phdyn.studies.discretizations.config import Config, Precision
from phdyn.studies.single import Config as SingleRun
from phdyn.tables import Table

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

LIBRARIES: Final = ("RK45", "dopri5", "DOP853")
"""Methods of libraries that the envelope is held against."""


def settings_of(part: Precision, span: float) -> dict[str, tuple[float, ...]]:
    """Return the steps or tolerances of each method."""
    found = {}
    for name in part.methods:
        method = get(name)
        if name in part.settings:
            found[name] = tuple(part.settings[name])
        elif not method.fixed:
            found[name] = tuple(part.rtols)
        elif isinstance(stages := getattr(method, "stages", None), int) and not hasattr(method, "max_iterations"):
            found[name] = tuple(dict.fromkeys(span / max(1, round(budget / stages)) for budget in part.gradients))
        else:
            found[name] = tuple(part.steps)
    return found


def reference(config: Config, system: Any, start: Any, folder: Path) -> tuple[FloatArray, float]:
    """Return the end that errors refer to, and how far a looser run of the same method is from it; kept in a folder by configuration.

    Parameters
    ----------
    config : Config
        The study's.
    system, start : object
        What it describes.
    folder : Path
        Where references lie.
    """
    single = SingleRun(system=config.system, t_span=config.t_span, q0=config.q0, method="DOP853", seed=config.seed)
    place = folder / f"{config_hash(single)}.npz"
    if place.is_file():
        with np.load(place, allow_pickle=False) as kept:
            return kept["end"], float(kept["doubt"])
    end = reference_end(system, config.t_span, start)
    looser = simulate(system, config.t_span, start, method="DOP853", rtol=1e-12, atol=1e-14, record="ends", monitor=None).y[:, -1]
    doubt = float(np.linalg.norm(looser - end)) / (float(np.linalg.norm(end)) or 1.0)
    folder.mkdir(parents=True, exist_ok=True)
    aside = place.with_name(f".{place.name}-{uuid.uuid4().hex[:8]}")  # it is there whole, or not at all
    with aside.open("wb") as file:
        np.savez(file, end=end, doubt=doubt)
    aside.replace(place)
    return end, doubt


def measure(config: Config, part: Precision, system: Any, start: Any, end: FloatArray, *, progress: bool) -> tuple[Comparison, Table]:
    """Run all methods at all settings, as often as times are taken; return the first comparison, and a row a run."""
    span = abs(config.t_span[1] - config.t_span[0])
    settings = settings_of(part, span)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StabilityWarning)  # the errors of coarse steps are what is asked for
        rounds = [compare(system, config.t_span, start, settings, reference=end, progress=progress) for _ in range(part.repeats)]
    found = rounds[0]
    columns = dict(found.table) | {"option": found.table["option"].astype(str)}
    columns["seconds"] = np.median([one.table["seconds"].astype(float) for one in rounds], axis=0)
    columns["outcome"] = np.array([found.messages.get((row.method, row.setting), "done") for row in found.table])
    return found, Table(columns)


def envelope(table: Table, part: Precision) -> Table:
    """Return, for each target, the cheapest of phdyn's methods, its gradients, and those of the libraries' methods.

    ``ratio`` columns are the envelope's gradients over a library's.
    """
    own = [name for name in part.methods if get(name).family != "adaptive"]
    rows = []
    for target in part.targets:
        costs = {name: gradients_at([row for row in table if row.method == name], target) for name in (*own, *LIBRARIES)}
        reached = [name for name in own if np.isfinite(costs[name])]
        best = min(reached, key=lambda name: costs[name], default="none")
        cost = costs[best] if reached else float("nan")
        rows.append((target, best, cost, *(costs[name] for name in LIBRARIES), *(cost / costs[name] for name in LIBRARIES)))
    names = ("error", "cheapest", "gradients", *LIBRARIES, *(f"ratio to {name}" for name in LIBRARIES))
    return Table({name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)})


def costs(table: Table, part: Precision) -> Table:
    """Return the gradients that each method needs for each target."""
    by_name = {name: [row for row in table if row.method == name] for name in part.methods}
    columns: dict[str, Any] = {"method": list(by_name)}
    return Table(columns | {f"{target:g}": [gradients_at(rows, target) for rows in by_name.values()] for target in part.targets})


def shown_settings(table: Table, part: Precision) -> dict[str, float]:
    """Return the setting of each method whose error is nearest to the one that is shown; methods that all failed are left out."""
    found = {}
    for name in part.methods:
        rows = [row for row in table if row.method == name and row.error > 0]
        if rows:
            found[name] = float(min(rows, key=lambda row: abs(np.log(row.error / part.shown))).setting)
    return found


def residual_parts(config: Config, shown: dict[str, float], system: Any, start: Any) -> Table:
    """Run splittings once more at the settings that are shown, and tell where their residuals come from."""
    rows = []
    for name, step in shown.items():
        if not isinstance(get(name), Splitting):
            continue
        sol = simulate(system, config.t_span, start, method=name, step=step, record="energy", monitor=None, residual_parts=True)
        parts = sol.energy_balance().parts
        slopes = parts.scheme_slope, parts.gradient_slope
        rows.append((name, step, sol.energy_balance().residual, parts.scheme, parts.gradient, parts.doubt, parts.told, *slopes))
    names = ("method", "step", "residual", "scheme", "gradient", "doubt", "told", "scheme_slope", "gradient_slope")
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return Table({name: list(column) for name, column in zip(names, columns, strict=True)})
