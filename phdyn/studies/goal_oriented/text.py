"""What the study shows on a terminal, 100 columns wide, from the files of its run folder alone."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from typing import Any, Final

from phdyn.runs import Run
from phdyn.studies.goal_oriented.arms import ADAMW, BRAKES, CONTROL, COSINE, TOLD, goal_name
from phdyn.studies.goal_oriented.comparisons import BRAKE, FRICTION, GOALS, HORIZON, ON_EVENT, RACE
from phdyn.tables import Row, Table

_WIDTH: Final = 100
_MARGIN: Final = "    "
_LEVEL: Final = 0.05
_LARGE: Final = 1000.0


def report(run: Run) -> str:
    """Return the study's tables and what follows from them."""
    tables = run.tables()
    parts = [_heading(run)]
    if "arms" in tables:
        parts += [_arms(run, tables), _race(tables)]
    if "brakes" in tables:
        parts += [_brakes(tables["brakes"]), _mechanism(run, tables)]
    if "horizon" in tables and len(run.config["lengths"]) > 1:
        parts.append(_horizon(run, tables))
    if "goal_map" in tables:
        parts.append(_map(tables["goal_map"]))
    parts.append(_footer(run, tables))
    return "\n\n".join("\n".join(part) for part in parts)


def _heading(run: Run) -> list[str]:
    config, numbers = run.config, run.numbers
    network = config["network"] + (" " + "-".join(map(str, config["sizes"])) if config["sizes"] else "")
    return [
        f"phdyn goal-oriented: {config['dataset']}, {network}, {numbers['parameters']:,} parameters; {run.path}",
        f"{numbers['images']:,} images to train on, {numbers['test_images']:,} to test, batch {config['batch']}, "
        f"{config['epochs']} epochs of {numbers['steps_an_epoch']} steps",
        f"tuned on {config['tuning_seeds']} seeds with {numbers['held_out']:,} images held out; compared on {config['seeds']} fresh seeds, "
        "shared by all arms",
    ]


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"{_MARGIN}{line}".rstrip() for line in lines]


def _fired(row: Row) -> str:
    return f"{row.fired} of {row.n}" if row.fired else f"never fired (0 of {row.n})"


def _number(value: float, form: str) -> str:
    return "-" if not math.isfinite(value) else format(value, form)


def _arms(run: Run, tables: dict[str, Table]) -> list[str]:
    goals, table = [f"{100 * goal:g}" for goal in run.config["goals"]], tables["arms"]
    switching = {"clock", *map(goal_name, run.config["goals"])}
    head = f"{'arm':<9} {'tuned to':<21} {'accuracy (%)':>12} {'loss':>7} {'train':>7} {'switched':>8} {'epoch':>5}"
    lines = [head + "".join(f"{f'-{goal}%':>7}" for goal in goals)]
    for row in table:
        losses = f"{_number(row.loss, '.4f' if row.loss < _LARGE else '.1e'):>7} {_number(row.train_loss, '.2g'):>7}"
        switched = f"{row.fired} of {row.n}" if row.arm in switching else "-"
        text = f"{row.arm:<9} {row.settings:<21} {_mean(row):>12} {losses} {switched:>8} {_number(row.switch_epoch, '.1f'):>5}"
        lines.append(text + "".join(f"{_steps(row, goal):>7}" for goal in goals))
    lines.append("loss: on test images; train: on training images; last columns: median step at which")
    lines.append("the averaged training loss had fallen by so much (-: rarely)")
    lines += [f"{row.arm}: never fired (0 of {row.n})" for row in table if row.arm in switching and not row.fired]
    lines += _unfired(tables["tuning"])
    lines += [f"{row.arm}: {row.diverged} of {row.n} diverged" for row in table if row.diverged]
    edges = [f"{row.arm} ({row.edge})" for row in table if isinstance(row.edge, str) and row.edge]
    lines += textwrap.wrap(f"at the edge of its grid: {', '.join(edges)}", _WIDTH - len(_MARGIN)) if edges else []
    return ["(1) every arm, tuned, at length 1: mean ± standard deviation over seeds", *_indented(lines)]


def _unfired(tuning: Table) -> list[str]:
    """Say at how many points of its grid a goal fired in no run of tuning."""
    lines = []
    for arm in dict.fromkeys(row.arm for row in tuning if row.arm.startswith("goal-")):
        points = [row for row in tuning if row.arm == arm]
        if never := sum(not row.switched for row in points):
            lines.append(f"{arm}: never fired at {never} of the {len(points)} points of its grid")
    return lines


def _steps(row: Row, goal: str) -> str:
    return _number(float(getattr(row, f"steps_{goal}")), ".0f")


def _rows(tables: dict[str, Table], family: str, measure: str = "accuracy") -> list[Row]:
    return [row for row in tables.get("differences", ()) if row.family == family and row.measure == measure]


def _differences(tables: dict[str, Table], family: str, width: int) -> list[str]:
    """Return a line for each comparison of a family: accuracy with all its numbers, and the mean difference of the test loss."""
    rows, losses = _rows(tables, family), _rows(tables, family, "loss")
    lines = [f"{'difference, test accuracy (points)':<{width}} {'mean':>6} {'95 % interval':>16} {'p':>6} {'Holm':>6} {'test loss':>11}"]
    for row, loss in zip(rows, losses, strict=True):
        numbers = f"{_signed(row.mean):>6} {_interval(row):>16} {_p(row.p):>6} {_p(row.p_holm):>6}{_star(row)}"
        some = f" (n = {loss.n})" if loss.n < row.n else _star(loss)  # runs without a finite loss: nothing is claimed of the others
        lines.append(f"{row.label:<{width}} {numbers} {_signed(loss.mean, 4):>9}{some}".rstrip())
    return lines if rows else []


def _signed(value: float, digits: int = 2) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:+.1e}" if abs(value) >= _LARGE else f"{round(value, digits) + 0.0:+.{digits}f}"


def _interval(row: Row) -> str:
    return f"[{_signed(row.low)}, {_signed(row.high)}]"


def _p(p: float) -> str:
    return "-" if not math.isfinite(p) else "<.001" if p < 0.001 else f"{p:.3f}"


def _told(row: Row) -> bool:
    """Say whether a difference is told from zero, corrected for the others of its family."""
    return bool(row.p_holm < _LEVEL)


def _star(row: Row) -> str:
    return " *" if _told(row) else "  "


def verdict(row: Row) -> str:
    """Return a difference as a sentence: its number, and whether it is told from zero."""
    p = f"p = {_p(row.p_holm)}".replace("= <", "< ")
    told = "told from zero" if _told(row) else "not told from zero"
    return f"{_signed(row.mean)} {_interval(row)}, {p}: {told} at n = {row.n}"


def _race(tables: dict[str, Table]) -> list[str]:
    rows = _rows(tables, RACE)
    lines = _differences(tables, RACE, 34)
    goals = [row for row in rows if row.label.startswith("goal-") and row.label.endswith(f"- {CONTROL}")]
    if goals:
        best = max(goals, key=lambda row: row.mean)
        lines.append(f"best goal, {best.label}: {verdict(best)}")
    for control in ("clock", COSINE, ADAMW):
        some = [row for row in rows if row.label.startswith("goal-") and row.label.endswith(f"- {control}")]
        if some:
            lines.append(f"goals against {control}: {_count(some)}")
    if _rows(tables, GOALS):
        lines += ["", *_differences(tables, GOALS, 34)]
    return ["(2) paired differences at length 1 (*: p < 0.05 after Holm's correction for this table)", *_indented(lines)]


def _count(rows: list[Row]) -> str:
    better, worse = (sum(_told(row) and sign * row.mean > 0 for row in rows) for sign in (1, -1))
    return f"{better} of {len(rows)} better, {worse} worse"


def _brakes(table: Table) -> list[str]:
    lines = [f"{'goal':<9} {'what the brake changes':<48} {'at goal (%)':>15} {'at fixed step (%)':>18}"]
    cells = {(row.goal, row.change, row.when): row for row in table}
    for goal in dict.fromkeys(row.goal for row in table):
        for what, text in {**BRAKES, "never": "nothing: no brake"}.items():
            event, clock = cells.get((goal, what, "never" if what == "never" else "event")), cells.get((goal, what, "clock"))
            lines.append(f"{goal:<9} {text:<48} {_mean(event):>15} {_mean(clock):>18}")
        lines.append(_when(goal, cells))
    return ["(3) four brakes at the lr and exploit momentum that were tuned for (i): test accuracy at length 1", *_indented(lines)]


def _mean(row: Row | None) -> str:
    return "-" if row is None else f"{row.accuracy:.2f} ± {row.accuracy_sd:.2f}"


def _when(goal: str, cells: dict[tuple[str, str, str], Row]) -> str:
    event, clock = cells[goal, "momentum", "event"], cells.get((goal, "momentum", "clock"))
    step = f", median step {event.switch_step:.0f} ({event.switch_first:.0f} to {event.switch_last:.0f})" if event.fired else ""
    twin = "; no twin: fired in fewer than half of the tuning seeds" if clock is None else f"; its twin at step {clock.twin_step:.0f}"
    return f"{'':<9} {'fired ' if event.fired else ''}{_fired(event)}{step}{twin}"


def _mechanism(run: Run, tables: dict[str, Table]) -> list[str]:
    brake, friction, event = (_rows(tables, family) for family in (BRAKE, FRICTION, ON_EVENT))
    lines: list[str] = []
    for family in (BRAKE, FRICTION, ON_EVENT):
        lines += [*_differences(tables, family, 38), ""] if _rows(tables, family) else []
    for goal in map(goal_name, run.config["goals"]):
        lines += _carried(goal, *([row for row in rows if row.label.startswith(f"{goal}:")] for rows in (brake, friction, event)))
    return ["(4) is it the brake, is it friction, is it the event? (*: p < 0.05, Holm's correction in a block)", *_indented(lines)]


def _carried(goal: str, brake: list[Row], friction: list[Row], event: list[Row]) -> list[str]:
    """Say which effect carries the result of a goal."""
    if not brake:
        return [f"{goal}: never fired, so there is no brake to compare"]
    effects = {"braking": brake[0], "of which an lr decay gives": brake[1], "friction beyond an lr decay": friction[0]}
    if event:
        effects["the event, not the schedule"] = event[0]
    return [f"{goal}:", *(f"  {name}: {verdict(row)}" for name, row in effects.items()), f"  {_carrier(brake, friction, event)}"]


def _carrier(brake: list[Row], friction: list[Row], event: list[Row]) -> str:
    parts = {"the lr decay": brake[1], "friction beyond it": friction[0], **({"the event": event[0]} if event else {})}
    told = {name: row for name, row in parts.items() if _told(row)}
    if not told:
        return "no effect is told from zero"
    largest = max(told, key=lambda name: abs(told[name].mean))
    others = [name for name in told if name != largest]
    return f"what carries it: {largest}, {_signed(told[largest].mean)} points" + (f"; also {' and '.join(others)}" if others else "")


def _horizon(run: Run, tables: dict[str, Table]) -> list[str]:
    lengths = run.config["lengths"]
    cells = {(row.arm, row.length): row for row in tables["horizon"]}
    width = 12
    lines = [f"{'arm':<{width}}" + "".join(f"{f'length {length:g}':>20}" for length in lengths) + f"{'worst':>9}"]
    worst: dict[str, float] = {}
    for arm in dict.fromkeys(row.arm for row in tables["horizon"]):
        some = [cells[arm, length] for length in lengths if (arm, length) in cells]
        worst[arm] = min(row.behind for row in some)
        texts = [f"{row.accuracy:.2f} ({_signed(row.behind)})" for row in some]
        lines.append(f"{arm:<{width}}" + "".join(f"{text:>20}" for text in texts) + f"{_signed(worst[arm]):>9}")
    fair = {arm: gap for arm, gap in worst.items() if arm != TOLD and math.isfinite(gap)}
    if fair:
        safest = max(fair, key=lambda arm: fair[arm])
        lines.append(f"without knowing the length, {safest} is never more than {abs(fair[safest]):.2f} points behind the best")
        goals = {arm: gap for arm, gap in fair.items() if arm.startswith("goal-")}
        if goals and safest not in goals:
            best = max(goals, key=lambda arm: goals[arm])
            lines.append(f"of the goals, {best} is never more than {abs(goals[best]):.2f} points behind it")
    rows = _rows(tables, HORIZON)
    for control in ("clock", COSINE, TOLD):
        found = {length: [row for row in rows if row.label.endswith(f" - {control}, length {length:g}")] for length in lengths}
        counts = [f"length {length:g}: {_count(part)}" for length, part in found.items() if part]
        lines += [f"goals against {control}, {'; '.join(counts)}"] if counts else []
    return ["(5) tuned at length 1, untouched at others (but cosine-told): accuracy (points behind the best)", *_indented(lines)]


def _map(table: Table) -> list[str]:
    known = [row for row in table if math.isfinite(row.accuracy)]
    if not known:
        return ["(6) the map of goals and frictions: no run ended"]
    braked, constant = ([row for row in known if math.isfinite(row.goal) is wanted] for wanted in (True, False))
    lines = []
    for name, rows in (("with a brake", [row for row in braked if row.fired]), ("without", constant)):
        if rows:
            best = max(rows, key=lambda row: row.accuracy)
            goal = f", goal {100 * best.goal:g} %" if math.isfinite(best.goal) else ""
            place = f"momentum {best.momentum:g}{goal}"
            lines.append(f"best {name}: {place}, {best.accuracy:.2f} % (n = {best.n})")
    never = sum(not row.fired for row in braked)
    lines.append(f"{never} of {len(braked)} cells never fired" if never else "every cell fired")
    return ["(6) the map of goals and exploration frictions, one physical step (best of many cells: optimistic)", *_indented(lines)]


def _footer(run: Run, tables: dict[str, Table]) -> list[str]:
    numbers: dict[str, Any] = run.numbers
    figures = ",".join(path.stem for path in run.figures)
    lines = [
        f"figures  {run.path}/figures/{{{figures}}}.{{png,pdf}}",
        f"numbers  {run.path}/{{{','.join(tables)}}}.csv, cells.jsonl",
        f"{numbers['runs']:,} runs, {numbers['run_seconds']:.0f} s of computing, {numbers['found_finished']:,} of them found finished; "
        f"done in {numbers['seconds']:.0f} s",
    ]
    failed = numbers["failures"]
    return [*lines, f"{len(failed)} run{'s' if len(failed) > 1 else ''} failed:", *_indented(failed[:10])] if failed else lines
