"""The figures of the study, from the files of its run folder alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from phdyn.runs import Run
from phdyn.studies.drawing import Drawn, draw_parts
from phdyn.studies.goal_oriented.cells import Result, read_result
from phdyn.studies.goal_oriented.comparisons import FRICTION, ON_EVENT, RACE
from phdyn.studies.goal_oriented.store import CELLS, read_lines
from phdyn.tables import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_ARMS: Final = 8
_MOST_ROWS: Final = 9


def draw(run: Run, folder: str | Path) -> list[Path]:
    """Draw the study's figures into a folder: PNG, PDF and CSV of each.

    Parameters
    ----------
    run : Run
        The run folder.
    folder : str or Path
        Where the figures go.

    Returns
    -------
    list of Path
        The PNGs: "accuracy" and "loss" over epochs, the paired differences of "race", "friction" and "event", the "histogram" of the
        goals' differences to constant momentum, and, where there is a map, "goal_map".
    """
    parts: dict[str, Callable[[Run, dict[str, Table]], Drawn]] = {
        "accuracy": lambda run, tables: _curves(run, tables, "accuracy"),
        "loss": lambda run, tables: _curves(run, tables, "loss"),
        "race": lambda _, tables: _dots(tables, RACE, "Goals against momentum, clock, cosine (p after Holm)", "goal-"),
        "friction": lambda _, tables: _dots(tables, FRICTION, "Friction beyond a cut of the learning rate (p after Holm)"),
        "event": lambda _, tables: _dots(tables, ON_EVENT, "The event against a fixed step (p after Holm)", ": (i) "),
        "histogram": lambda _, tables: _histogram(tables),
        "goal_map": lambda _, tables: _map(tables),
    }
    return draw_parts(run, folder, parts)


def _curves(run: Run, tables: dict[str, Table], quantity: Any) -> Drawn:
    """Draw the arms of the race up to length 1."""
    from phdyn import plots

    if not (run.path / CELLS).is_file():  # a folder whose curves were left out
        return None
    keys = _keys(tables.get("runs"))
    results = _results(run, {name for names in keys.values() for name in names})
    epoch, last = run.numbers["steps_an_epoch"], run.config["epochs"]
    curves, switches = {}, {}
    for arm, names in list(keys.items())[:_MOST_ARMS]:
        some = [results[name] for name in names if name in results]
        if not some:
            continue
        at = np.array(some[0].curve_steps) / epoch
        shown = at <= last
        curves[arm] = at[shown], np.array([getattr(one, f"curve_{quantity}") for one in some])[:, shown]
        times = np.array([np.nan if one.switch is None else one.switch / epoch for one in some])
        if np.any(times <= last):
            switches[arm] = np.where(times <= last, times, np.nan)
    if not curves:
        return None
    words = {"accuracy": "test accuracy", "loss": "training loss"}[quantity]
    return plots.plot_seeds(curves, quantity=quantity, switches=switches), f"{run.config['dataset']}: {words} of the tuned arms"


def _keys(table: Table | None) -> dict[str, list[str]]:
    """Return the keys of each arm's runs in the race."""
    keys: dict[str, list[str]] = {}
    for row in table or ():
        if row.phase == "race" and row.length == 1.0:
            keys.setdefault(row.arm, []).append(str(row.key))
    return keys


def _results(run: Run, keys: Iterable[str]) -> dict[str, Result]:
    wanted = set(keys)
    found = (fields for _, fields in read_lines(run.path / CELLS))
    return {fields["key"]: read_result(fields["result"]) for fields in found if fields["key"] in wanted}


def rows_of(tables: dict[str, Table], family: str, part: str = "") -> list[Any]:
    """Return the accuracy rows of a family whose label has a part, each with the difference of every seed."""
    if "differences" not in tables:
        return []
    pairs: dict[str, list[float]] = {}
    for row in tables["pairs"]:
        if row.family == family:
            pairs.setdefault(row.label, []).append(row.difference)
    return [
        SimpleNamespace(label=_short(row.label), values=np.array(pairs[row.label]), mean=row.mean, low=row.low, high=row.high, p=row.p_holm)
        for row in tables["differences"]
        if row.family == family and row.measure == "accuracy" and part in row.label and row.n > 0
    ]


def _short(label: str) -> str:
    """Return a label in two lines, where it is of brakes."""
    return label.replace("(i) at goal - at fixed step", "event - clock").replace(": ", ":\n")


def _dots(tables: dict[str, Table], family: str, title: str, part: str = "") -> Drawn:
    from phdyn import plots

    rows = rows_of(tables, family, part)[:_MOST_ROWS]
    return (plots.plot_differences(rows), title) if rows else None


def _histogram(tables: dict[str, Table]) -> Drawn:
    from phdyn import plots

    rows = [row for row in rows_of(tables, RACE, "goal-") if row.label.endswith("- momentum")][:3]
    return (plots.plot_differences(rows, kind="histogram"), "Goals against constant momentum (p after Holm)") if rows else None


def _map(tables: dict[str, Table]) -> Drawn:
    from phdyn import plots

    if "goal_map" not in tables:
        return None
    rows = list(tables["goal_map"])
    frictions = sorted({row.friction for row in rows})
    goals = sorted({row.goal for row in rows if not np.isnan(row.goal)})
    braked = {(row.goal, row.friction): row for row in rows if not np.isnan(row.goal)}
    constant = {row.friction: row.accuracy for row in rows if np.isnan(row.goal)}
    values = [[braked[goal, friction].accuracy for friction in frictions] for goal in goals]
    fired = [[braked[goal, friction].fired / max(braked[goal, friction].n, 1) for friction in frictions] for goal in goals]
    axes: Axes = plots.plot_goal_map(
        np.array(frictions), 100 * np.array(goals), np.array(values), np.array(fired), constant=np.array([constant[f] for f in frictions])
    )
    return axes, "Goal and exploration friction, at one physical step"
