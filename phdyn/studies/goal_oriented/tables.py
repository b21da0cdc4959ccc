"""The tables of the study: every number, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from phdyn.studies import seeds
from phdyn.studies.goal_oriented import arms
from phdyn.studies.goal_oriented.arms import BRAKES, Spans
from phdyn.studies.goal_oriented.cells import Setup, key
from phdyn.studies.goal_oriented.comparisons import Comparison, comparisons
from phdyn.studies.goal_oriented.config import Config
from phdyn.studies.goal_oriented.phases import Findings, Series
from phdyn.tables import Table
from phdyn.training import heavy_ball_from_sgd

MEASURES = ("accuracy", "loss")
Rows = list[dict[str, Any]]


def tables(config: Config, setup: Setup, final: Spans, found: Findings) -> dict[str, Table]:
    """Return all tables by name."""
    compared = list(comparisons(config, found))
    rows = {
        "tuning": _tuning(found),
        "arms": _arms(config, final, found),
        "brakes": _brakes(final, found),
        "horizon": _horizon(config, found),
        "goal_map": _goal_map(found),
        "differences": _differences(compared),
        "pairs": _pairs(config, compared),
        "runs": list(_runs(setup, found)),
    }
    return {name: table(part) for name, part in rows.items() if part}


def table(rows: Rows) -> Table:
    """Return rows as a table."""
    return Table({name: [row[name] for row in rows] for name in rows[0]})


def _tuning(found: Findings) -> Rows:
    return [
        {
            "arm": name,
            "settings": arms.words(score.settings),
            "accuracy": score.accuracy,
            "loss": score.loss,
            "switched": score.switched,
            "n": score.n,
            "chosen": score.settings == found.tuned.get(name),
        }
        for name, scores in found.scores.items()
        for score in scores
    ]


def summary(series: Series, epoch: int) -> dict[str, Any]:
    """Return what one line of a table says of an arm: means, deviations, how many switched and when."""
    accuracy, loss = series.values("accuracy"), series.values("loss")
    switches = series.switches()
    return {
        "n": series.count(),
        "accuracy": _mean(accuracy),
        "accuracy_sd": _deviation(accuracy),
        "loss": _mean(loss),
        "loss_sd": _deviation(loss),
        "train_loss": _mean(series.values("train_loss")),
        "diverged": series.diverged(),
        "fired": len(switches),
        "switch_step": float(np.median(switches)) if switches else math.nan,
        "switch_epoch": float(np.median(switches)) / epoch if switches else math.nan,
        "switch_first": min(switches, default=math.nan),
        "switch_last": max(switches, default=math.nan),
    }


def _arms(config: Config, final: Spans, found: Findings) -> Rows:
    rows: Rows = []
    all_arms = arms.race(config)
    for name, settings in found.tuned.items():
        series = found.race[name, 1.0]
        row = {"arm": name, "settings": arms.words(settings), "edge": arms.edge(all_arms[name], settings), **summary(series, final.epoch)}
        for level, goal in enumerate(config.goals):
            reached = series.reached(level)
            row[f"reached_{100 * goal:g}"] = sum(map(math.isfinite, reached))
            row[f"steps_{100 * goal:g}"] = _median(reached)
        rows.append(row)
    return rows


def _brakes(final: Spans, found: Findings) -> Rows:
    order = {name: k for k, name in enumerate((*BRAKES, "never"))}
    names = sorted(found.brakes, key=lambda brake: (float(brake[0].removeprefix("goal-")), order[brake[1]], brake[2] == "clock"))
    return [
        {
            "goal": name[0],
            "change": name[1],
            "when": name[2],
            "twin_step": found.twins[name[0]] if name[2] == "clock" else math.nan,
            **summary(found.brakes[name], final.epoch),
        }
        for name in names
    ]


def _horizon(config: Config, found: Findings) -> Rows:
    named = {**found.race, **{(arms.TOLD, length): series for length, series in found.told.items()}}
    rows: Rows = []
    for length in config.lengths:
        here = {name: series for (name, at), series in named.items() if at == length}
        means = {name: _mean(series.values("accuracy")) for name, series in here.items()}
        best = max((name for name in here if not math.isnan(means[name])), key=lambda name: means[name], default=None)
        for name, series in here.items():
            behind = seeds.compare(series.values("accuracy"), here[best or name].values("accuracy"), seed=config.seed)
            part = summary(series, 1)
            columns = {column: part[column] for column in ("n", "accuracy", "accuracy_sd", "loss", "fired")}
            rows.append({"arm": name, "length": length, **columns, "behind": behind.mean, "low": behind.low, "high": behind.high})
    return rows


def _goal_map(found: Findings) -> Rows:
    rows: Rows = []
    for (momentum, goal), series in found.map.items():
        cell = series.cells[0]
        step, friction = heavy_ball_from_sgd(lr=cell.lr, momentum=cell.momentum)
        part = summary(series, 1)
        columns = {column: part[column] for column in ("n", "accuracy", "accuracy_sd", "loss", "train_loss", "fired", "diverged")}
        place = {"momentum": momentum, "goal": math.nan if goal is None else goal, "friction": friction, "step": step, "lr": cell.lr}
        rows.append({**place, **columns})
    return rows


def _differences(compared: Sequence[Comparison]) -> Rows:
    rows: Rows = [
        {
            "family": one.family,
            "label": one.label,
            "measure": measure,
            **seeds.compare(one.values(measure), one.control(measure), seed=0)._asdict(),
        }
        for one in compared
        for measure in MEASURES
    ]
    for family in {(row["family"], row["measure"]) for row in rows}:
        members = [row for row in rows if (row["family"], row["measure"]) == family]
        for row, p in zip(members, seeds.holm([row["p"] for row in members]), strict=True):
            row["p_holm"] = float(p)
    return rows


def _pairs(config: Config, compared: Sequence[Comparison]) -> Rows:
    return [
        {"family": one.family, "label": one.label, "seed": seed, "difference": float(difference)}
        for one in compared
        for seed, difference in zip(config.fresh(), one.values("accuracy") - one.control("accuracy"), strict=True)
    ]


def _runs(setup: Setup, found: Findings) -> Iterator[dict[str, Any]]:
    """Yield a row for each run with fresh seeds and each length."""
    named: list[tuple[dict[str, Any], Series]] = []
    for (arm, length), series in found.race.items():
        named.append(({"phase": "race", "arm": arm, "change": "", "when": "", "length": length}, series))
    for (arm, change, when), series in found.brakes.items():
        named.append(({"phase": "brakes", "arm": arm, "change": change, "when": when, "length": 1.0}, series))
    for length, series in found.told.items():
        named.append(({"phase": "told", "arm": arms.TOLD, "change": "", "when": "", "length": length}, series))
    for (momentum, goal), series in found.map.items():
        arm = "constant" if goal is None else arms.goal_name(goal)
        named.append(({"phase": "map", "arm": arm, "change": f"momentum {momentum:g}", "when": "", "length": 1.0}, series))
    for names, series in named:
        for cell, result in zip(series.cells, series.results, strict=True):
            switched = result is not None and result.switch is not None and result.switch <= series.until()
            yield {
                **names,
                "seed": cell.seed,
                **{what: math.nan if result is None else getattr(result, what)[series.mark] for what in (*MEASURES, "train_loss")},
                "switch": result.switch if result is not None and switched else math.nan,
                "diverged": math.nan if result is None or result.diverged is None else result.diverged,
                "seconds": math.nan if result is None else result.seconds,
                "key": key(setup, cell),
            }


def _mean(values: Any) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _deviation(values: Any) -> float:
    known = values[np.isfinite(values)]
    return float(known.std(ddof=1)) if known.size > 1 else math.nan


def _median(values: Sequence[float]) -> float:
    """Return the median, infinite entries counted as late; nan where it is one of them."""
    middle = float(np.median(values)) if values else math.nan
    return middle if math.isfinite(middle) else math.nan
