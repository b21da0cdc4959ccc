"""Where the event itself matters: does a switch of friction at a goal lead to the global well more often than a constant, or a clock?

    python experiments/wells.py [--starts 4000] [--potentials multi-well Rastrigin ...] [--step 0.1 0.05] [--seed 0] [--out runs/wells]

Starts are at rest, uniform in a box. Friction is 0.05 until V has fallen to a goal, a fraction of V(q0) - Vmin, then 3: **the goal knows
the minimum**, which no training does. Beside it the same switch at a fixed time (a grid of times, and for each goal the median of the times
at which it fired), and constant frictions, both of the switch's own among them. Strang, 1,980 steps, which leaves 20 of 2,000 gradients to
locate a switch (a few runs take more: the tables have the mean and the most); steps and times in each landscape's own unit
(wells_landscapes.py). A run succeeds when V at its end lies below the second-lowest minimum, and not just at it: that is possible in the
global well alone. What is best is chosen on one half of the starts, and compared on the other.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from wells_landscapes import CASES, Case

import phdyn
from phdyn import LossGoal, SwitchedFriction, runs
from phdyn.events import TimeReached
from phdyn.tables import Table

GOAL, MEDIAN, TIME, CONSTANT = "goal", "its median time", "fixed time", "constant"


@dataclass(frozen=True)
class Config:
    """Goals from early to late; times and rates in the multi-well's units."""

    starts: int = 4000
    potentials: tuple[str, ...] = tuple(CASES)
    steps: tuple[float, ...] = (0.1, 0.05)
    seed: int = 0
    gradients: int = 2000
    spared: int = 20  # gradients that no arm spends on steps, for locating a switch
    explore: float = 0.05
    exploit: float = 3.0
    goals: tuple[float, ...] = (0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.003)
    times: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
    constants: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 3.0)
    level: float = 0.01  # p below which a difference counts as one


@dataclass(frozen=True)
class Outcome:
    """An arm's runs.

    Attributes
    ----------
    kind, setting : str, float
        Which arm.
    won : (starts,) array of bool
        Whether the run ended in the global well.
    switched : (starts,) array
        Time of the switch in the landscape's units, nan where there was none.
    nfev : (starts,) array of int
        Gradients.
    forbidden : int
        Runs that ended in the global well though they could not, by their energy; -1 where that is not known.
    """

    kind: str
    setting: float
    won: np.ndarray
    switched: np.ndarray
    nfev: np.ndarray
    forbidden: int

    @property
    def label(self) -> str:
        """What a table calls it."""
        return f"{self.kind} {self.setting:g}"

    def fraction(self, part: slice = slice(None)) -> float:
        """Fraction of (some of) the starts that ended in the global well."""
        return float(self.won[part].mean())


CHOOSE, TEST = slice(0, None, 2), slice(1, None, 2)
"""The halves of the starts: one chooses the best arms, the other compares them."""


# --- the runs ------------------------------------------------------------------------------------------------------------------------


class Bench:
    """All arms of a landscape at one step start from the same positions."""

    def __init__(self, config: Config, case: Case, step: float) -> None:
        self.config, self.case, self.step = config, case, step
        self.q0 = case.starts(config.starts, config.seed)
        self.reachable = case.reachable(self.q0)
        self.t_end = (config.gradients - config.spared) * step

    def run(self, kind: str, setting: float, friction: Any) -> Outcome:
        """Roll all starts with a friction law."""
        case = self.case
        system = phdyn.HeavyBall(case.potential, friction=friction)
        span, x0 = (0.0, self.t_end * case.unit), phdyn.at_rest(self.q0)
        sol = phdyn.simulate(system, span, x0, method="strang", step=self.step * case.unit, record="ends", monitor=None)
        if not np.all(sol.success):
            raise RuntimeError(f"{kind} {setting:g}: {np.sum(~sol.success)} of {len(x0)} runs failed, status {np.unique(sol.status)}")
        won = case.potential.value(sol.q[:, :, -1]) < case.success
        forbidden = -1 if self.reachable is None else int(np.sum(won & ~self.reachable))
        return Outcome(kind, setting, won, sol.switches.first() / case.unit, sol.nfev, forbidden)

    def constant(self, rate: float) -> Outcome:
        """Keep one friction."""
        return self.run(CONSTANT, rate, rate / self.case.unit)

    def switch(self, kind: str, setting: float, event: Any) -> Outcome:
        """Brake at an event."""
        unit = self.case.unit
        return self.run(kind, setting, SwitchedFriction(self.config.explore / unit, self.config.exploit / unit, event))

    def goal(self, left: float) -> Outcome:
        """Brake when V - Vmin has fallen to a fraction of its value at the start."""
        return self.switch(GOAL, left, LossGoal(reduction=1 - left, floor=self.case.minimum))

    def clock(self, kind: str, setting: float, time: float) -> Outcome:
        """Brake at one time in all runs."""
        return self.switch(kind, setting, TimeReached(time * self.case.unit))

    def outcomes(self) -> Iterator[Outcome]:
        """Run all arms."""
        for left in self.config.goals:
            reached = self.goal(left)
            yield reached
            if np.isfinite(reached.switched).any():
                yield self.clock(MEDIAN, left, float(np.nanmedian(reached.switched)))
        for time in self.config.times:
            if time < self.t_end:
                yield self.clock(TIME, time, time)
        for rate in sorted({*self.config.constants, self.config.explore, self.config.exploit}):
            yield self.constant(rate)


# --- what they say -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """Two arms on the same starts: fractions, their difference with a 95 % interval, discordant starts, McNemar's exact p."""

    first: float
    second: float
    difference: float
    low: float
    high: float
    only_first: int
    only_second: int
    p: float


def compare(first: np.ndarray, second: np.ndarray) -> Difference:
    """Compare two arms start by start."""
    from scipy.stats import binomtest

    a, b, n = int(np.sum(first & ~second)), int(np.sum(second & ~first)), len(first)
    p = float(binomtest(a, a + b).pvalue) if a + b else 1.0
    change, spread = (a - b) / n, 1.96 * np.sqrt(a + b - (a - b) ** 2 / n) / n
    return Difference(float(first.mean()), float(second.mean()), change, change - spread, change + spread, a, b, p)


def best(outcomes: Iterable[Outcome], kind: str) -> Outcome:
    """Return the best arm of a kind on the half that chooses, the first of equals."""
    return max((one for one in outcomes if one.kind == kind), key=lambda one: one.fraction(CHOOSE))


def controls(outcomes: list[Outcome], config: Config) -> dict[str, Outcome]:
    """Return what the best goal is compared with, by name."""
    goals = [one for one in outcomes if one.kind == GOAL]
    by_label = {one.label: one for one in outcomes}
    constant, time, goal = best(outcomes, CONSTANT), best(outcomes, TIME), best(outcomes, GOAL)
    named = {
        f"best constant, {constant.setting:g}": constant,
        f"its own constant {config.explore:g}": by_label[f"{CONSTANT} {config.explore:g}"],
        f"its own constant {config.exploit:g}": by_label[f"{CONSTANT} {config.exploit:g}"],
        f"best fixed time, {time.setting:g}": time,
        f"earliest goal, {goals[0].setting:g}": goals[0],
        f"latest goal, {goals[-1].setting:g}": goals[-1],
    }
    median = by_label.get(f"{MEDIAN} {goal.setting:g}")
    return named if median is None else {"its own median time": median, **named}


def verdict(outcomes: list[Outcome], level: float) -> str:
    """Say whether "who brakes early loses" holds along the goals, from early to late."""
    goals = [one for one in outcomes if one.kind == GOAL]
    top = best(outcomes, GOAL)

    def beaten(other: Outcome) -> bool:
        change = compare(top.won[TEST], other.won[TEST])
        return change.difference > 0 and change.p < level

    early_loses, late_loses = beaten(goals[0]), beaten(goals[-1])
    words = {
        (True, False): "true: early loses",
        (True, True): f"non-monotone: best at {top.setting:g}, earlier and later lose",
        (False, True): "false: late loses",
        (False, False): "moot: no difference",
    }
    return words[early_loses, late_loses]


def arms_table(results: dict[tuple[str, float], list[Outcome]]) -> Table:
    """Return all arms with Wilson's 95 % intervals."""
    from scipy.stats import binomtest

    lines = []
    for (name, step), outcomes in results.items():
        for one in outcomes:
            interval = binomtest(int(one.won.sum()), len(one.won)).proportion_ci(method="wilson")
            fired = np.isfinite(one.switched)
            lines.append(
                {
                    "potential": name,
                    "step": step,
                    "arm": one.kind,
                    "setting": one.setting,
                    "fraction": round(one.fraction(), 4),
                    "low": round(float(interval.low), 4),
                    "high": round(float(interval.high), 4),
                    "switched": round(float(fired.mean()), 3),
                    "time": round(float(np.median(one.switched[fired])), 2) if fired.any() else float("nan"),
                    "gradients": round(float(one.nfev.mean()), 1),
                    "most": int(one.nfev.max()),
                    "forbidden": one.forbidden if one.forbidden >= 0 else float("nan"),
                }
            )
    return rows_to_table(lines)


def differences_table(results: dict[tuple[str, float], list[Outcome]], config: Config) -> Table:
    """Return the best goal's differences from its controls, on the half of the starts that did not choose it."""
    lines = []
    for (name, step), outcomes in results.items():
        goal = best(outcomes, GOAL)
        for label, control in controls(outcomes, config).items():
            change = compare(goal.won[TEST], control.won[TEST])
            lines.append(
                {
                    "potential": name,
                    "step": step,
                    "goal": goal.setting,
                    "against": label,
                    "of_goal": round(change.first, 4),
                    "of_control": round(change.second, 4),
                    "difference": round(change.difference, 4),
                    "low": round(change.low, 4),
                    "high": round(change.high, 4),
                    "only_goal": change.only_first,
                    "only_control": change.only_second,
                    "p": f"{change.p:.1e}",
                }
            )
    return rows_to_table(lines)


def summary_table(results: dict[tuple[str, float], list[Outcome]], config: Config) -> Table:
    """Return a line a landscape and step: units, starts, ceiling, and what the goals say."""
    lines = []
    for (name, step), outcomes in results.items():
        case = CASES[name]
        lines.append(
            {
                "potential": name,
                "starts": f"{config.starts} in [{case.box[0]:g}, {case.box[1]:g}]^{case.potential.dim}",
                "step": step,
                "h": round(step * case.unit, 4),
                "t_end": round((config.gradients - config.spared) * step * case.unit, 2),
                "unit": round(case.unit, 4),
                "ceiling": round(case.ceiling(), 4),
                "best_goal": best(outcomes, GOAL).setting,
                "early_loses": verdict(outcomes, config.level),
            }
        )
    return rows_to_table(lines)


def rows_to_table(lines: list[dict[str, Any]]) -> Table:
    return Table({name: [line[name] for line in lines] for name in lines[0]})


def markdown(table: Table) -> str:
    """Write a table for a page."""
    cells = [list(map(str, table.keys())), ["---"] * len(table.keys())]
    cells += [[f"{value:g}" if isinstance(value, float) else str(value) for value in vars(row).values()] for row in table]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n"


def run(config: Config, out: Path) -> Path:
    """Run everything, print the tables, and write them with a figure a step into a run folder."""
    from wells_figure import draw

    results: dict[tuple[str, float], list[Outcome]] = {}
    with runs.create(config, out) as folder:
        for name in config.potentials:
            for step in config.steps:
                results[name, step] = list(Bench(config, CASES[name], step).outcomes())
        tables = {
            "summary": summary_table(results, config),
            "differences": differences_table(results, config),
            "arms": arms_table(results),
        }
        for title, table in tables.items():
            folder.save_table(table, title)
            for k in range(0, len(table), 60):
                print(rows_to_table([vars(row) for row in list(table)[k : k + 60]]), "\n")
        (folder.path / "wells.md").write_text("\n".join(markdown(table) for table in tables.values()), encoding="utf-8")
        folder.numbers.update({f"{name}, step {step:g}": verdict(outcomes, config.level) for (name, step), outcomes in results.items()})
        ceilings = {name: CASES[name].ceiling() for name in config.potentials}
        for step in config.steps:
            chosen = {name: results[name, step] for name in config.potentials}
            axes, title = draw(chosen, ceilings, config), f"Who brakes early loses? {config.starts:,} starts at rest"
            folder.save_figure(axes, f"wells-step-{step:g}", title=title)
    return folder.path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=Config.starts)
    parser.add_argument("--potentials", nargs="+", choices=tuple(CASES), default=Config.potentials)
    parser.add_argument("--step", type=float, nargs="+", default=Config.steps, help="in each landscape's own unit of time")
    parser.add_argument("--seed", type=int, default=Config.seed)
    parser.add_argument("--out", type=Path, default=Path("runs/wells"), help="root of the run folder")
    options = parser.parse_args()
    config = Config(starts=options.starts, potentials=tuple(options.potentials), steps=tuple(options.step), seed=options.seed)
    print(f"run folder {run(config, options.out)}")


if __name__ == "__main__":
    main()
