"""The phases of the study, in order: tuning, race, the brakes, the told cosine, the map. Each asks for cells and reads what they found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from phdyn.studies.goal_oriented import arms
from phdyn.studies.goal_oriented.arms import Arm, Settings, Spans
from phdyn.studies.goal_oriented.cells import Cell, Result
from phdyn.studies.goal_oriented.config import Config
from phdyn.studies.goal_oriented.pool import Runner
from phdyn.typing import Array

EVENT, CLOCK, NEVER = "event", "clock", "never"
"""When a brake acts: at its goal, at a fixed step, not at all."""


@dataclass(frozen=True)
class Series:
    """The runs of an arm over seeds, as they are at one mark; None where a run failed."""

    cells: tuple[Cell, ...]
    results: tuple[Result | None, ...]
    mark: int

    def values(self, name: str) -> Array:
        """Return accuracies or losses, (seeds,); nan where a run failed."""
        return np.array([math.nan if result is None else getattr(result, name)[self.mark] for result in self.results], dtype=np.float64)

    def until(self) -> int:
        """Return the step of the mark."""
        return self.cells[0].marks[self.mark]

    def switches(self) -> list[int]:
        """Return the switch steps of the runs that had switched by the mark."""
        steps = [result.switch for result in self.results if result is not None]
        return [step for step in steps if step is not None and step <= self.until()]

    def reached(self, level: int) -> list[float]:
        """Return when each run was at a level; infinite where it was not by the mark."""
        steps = [result.reached[level] for result in self.results if result is not None]
        return [math.inf if step is None or step > self.until() else float(step) for step in steps]

    def count(self) -> int:
        """Return the number of runs that did not fail."""
        return sum(result is not None for result in self.results)

    def diverged(self) -> int:
        """Return the number of runs whose loss had become infinite by the mark."""
        return sum(result is not None and result.diverged is not None and result.diverged <= self.until() for result in self.results)


@dataclass(frozen=True)
class Score:
    """A point of an arm's grid on what tuning held out: means over the tuning seeds, and in how many of its runs it switched."""

    settings: Settings
    accuracy: float
    loss: float
    switched: int
    n: int

    def rank(self) -> tuple[float, float]:
        """Order scores: the highest accuracy first, at equal accuracy the lowest loss; what is not a number last."""
        return tuple(math.inf if math.isnan(one) else one for one in (-self.accuracy, self.loss))  # type: ignore[return-value]


Brake: TypeAlias = tuple[str, str, str]
"""Goal arm, what is changed, when: an entry of `Findings.brakes`."""


@dataclass
class Findings:
    """What the phases found.

    Attributes
    ----------
    scores : dict of str to list of Score
        Each point of each arm's grid.
    tuned : dict of str to settings
        The best point of each arm.
    race : dict of (str, float) to Series
        Each arm at each run length.
    twins : dict of str to int or None
        Step of each goal's twins at a fixed time: the median of the goal's switches on the tuning seeds; None where it fired in fewer than
        half of them.
    brakes : dict of (str, str, str) to Series
        Goal arm, what the brake changes, and "event", "clock" or "never".
    told : dict of float to Series
        The told cosine at each run length.
    map : dict of (float, float or None) to Series
        Momentum and goal.
    """

    scores: dict[str, list[Score]] = field(default_factory=dict)
    tuned: dict[str, Settings] = field(default_factory=dict)
    race: dict[tuple[str, float], Series] = field(default_factory=dict)
    twins: dict[str, int | None] = field(default_factory=dict)
    brakes: dict[Brake, Series] = field(default_factory=dict)
    told: dict[float, Series] = field(default_factory=dict)
    map: dict[tuple[float, float | None], Series] = field(default_factory=dict)


class Phases:
    """The phases of one configuration.

    Parameters
    ----------
    config : Config
        The configuration.
    tuning, final : Spans
        Steps where a part is held out, and where all is trained on.
    run : callable
        See `pool.Runner`.
    """

    def __init__(self, config: Config, tuning: Spans, final: Spans, run: Runner) -> None:
        self.config, self.run = config, run
        self.tuning, self.final = tuning, final
        self.arms = arms.race(config)
        self.found = Findings()

    def all(self) -> Findings:
        """Run all phases."""
        self._tune()
        self._race()
        self._brake()
        self._tell()
        self._map()
        return self.found

    def _tune(self) -> None:
        steps, seeds = self.tuning.steps(1.0), self.config.tuning()
        points = [(arm, point) for arm in self.arms.values() for point in arm.points]
        common: dict[str, Any] = {"steps": steps, "marks": (steps,), "tuning": True}
        cells = [[Cell(seed=seed, **common, **arm.fields(point, self.tuning)) for seed in seeds] for arm, point in points]
        results = self.run("1/5 tuning", [cell for row in cells for cell in row])
        for (arm, point), row in zip(points, cells, strict=True):
            series = Series(tuple(row), tuple(results[cell] for cell in row), 0)
            accuracy, loss = (float(series.values(name).mean()) for name in ("accuracy", "loss"))
            score = Score(point, accuracy, loss, len(series.switches()), series.count())
            self.found.scores.setdefault(arm.name, []).append(score)
        for name, scores in self.found.scores.items():
            best = min(scores, key=Score.rank)
            if not math.isnan(best.accuracy):
                self.found.tuned[name] = best.settings

    def _race(self) -> None:
        config, lengths = self.config, self.config.lengths
        marks = tuple(self.final.steps(length) for length in lengths)
        every = self.final.epoch * config.evaluate_every
        cells = {name: self._cells(self.arms[name], config.fresh(), marks, every) for name in self.found.tuned}
        results = self.run("2/5 race", _by_seed(list(cells.values())))
        for name, row in cells.items():
            for mark, length in enumerate(lengths):
                self.found.race[name, length] = Series(row, tuple(results[cell] for cell in row), mark)

    def _brake(self) -> None:
        goals = [name for name in map(arms.goal_name, self.config.goals) if name in self.found.tuned]
        self._find_twins(goals)
        wanted: dict[Brake, tuple[Cell, ...]] = {}
        for name in goals:
            bases = self._cells(self.arms[name], self.config.fresh(), (self.final.steps(1.0),))
            wanted[name, NEVER, NEVER] = tuple(arms.never_braked(base) for base in bases)
            settings, twin = self.found.tuned[name], self.found.twins[name]
            for what, exploit in arms.brakes(settings["lr"], self.config.explore_momentum, settings["exploit"]).items():
                if what != arms.OF_THE_RACE:  # (i) at its goal is the arm of the race
                    wanted[name, what, EVENT] = tuple(arms.braked(base, exploit, None) for base in bases)
                if twin is not None:
                    wanted[name, what, CLOCK] = tuple(arms.braked(base, exploit, twin) for base in bases)
        results = self.run("3/5 brakes", _by_seed(list(wanted.values())))
        for brake, row in wanted.items():
            self.found.brakes[brake] = Series(row, tuple(results[cell] for cell in row), 0)
        for name in goals:
            self.found.brakes[name, arms.OF_THE_RACE, EVENT] = self.found.race[name, 1.0]

    def _find_twins(self, goals: Sequence[str]) -> None:
        cells = {name: self._cells(self.arms[name], self.config.tuning(), (self.final.steps(1.0),)) for name in goals}
        results = self.run("3/5 brakes: when the goals fire", _by_seed(list(cells.values())))
        for name, row in cells.items():
            switches = Series(row, tuple(results[cell] for cell in row), 0).switches()
            self.found.twins[name] = max(2, round(float(np.median(switches)))) if 2 * len(switches) >= len(row) else None

    def _tell(self) -> None:
        if arms.COSINE not in self.found.tuned:
            return
        arm, wanted = self.arms[arms.COSINE], {}
        for length in self.config.lengths:
            steps = self.final.steps(length)
            wanted[length] = tuple(replace(base, cosine=steps) for base in self._cells(arm, self.config.fresh(), (steps,)))
        wanted.pop(1.0)  # there it is the arm of the race
        results = self.run("4/5 the told cosine", _by_seed(list(wanted.values())))
        for length, row in wanted.items():
            self.found.told[length] = Series(row, tuple(results[cell] for cell in row), 0)
        self.found.told[1.0] = self.found.race[arms.COSINE, 1.0]

    def _map(self) -> None:
        config, best = self.config, self.best_goal()
        if best is None or not config.goal_map.momenta:
            return
        settings, seeds = self.found.tuned[best], config.fresh()[: config.goal_map.seeds]
        bases = self._cells(self.arms[best], seeds, (self.final.steps(1.0),))
        places = [(momentum, goal) for momentum in config.goal_map.momenta for goal in (*config.goal_map.goals, None)]
        wanted = {place: tuple(arms.map_cell(base, settings, config, *place) for base in bases) for place in places}
        results = self.run("5/5 map", _by_seed(list(wanted.values())))
        for place, row in wanted.items():
            self.found.map[place] = Series(row, tuple(results[cell] for cell in row), 0)

    def best_goal(self) -> str | None:
        """Return the goal arm that tuning found best."""
        goals = [name for name in map(arms.goal_name, self.config.goals) if name in self.found.tuned]
        return min(goals, key=lambda name: min(map(Score.rank, self.found.scores[name])), default=None)

    def _cells(self, arm: Arm, seeds: Sequence[int], marks: tuple[int, ...], every: int | None = None) -> tuple[Cell, ...]:
        fields = arm.fields(self.found.tuned[arm.name], self.final)
        return tuple(Cell(seed=seed, steps=marks[-1], marks=marks, every=every, **fields) for seed in seeds)


def _by_seed(rows: Sequence[Sequence[Cell]]) -> list[Cell]:
    """Return the cells seed after seed, so that what is there when a study is stopped is paired."""
    return [cell for column in zip(*rows, strict=True) for cell in column]
