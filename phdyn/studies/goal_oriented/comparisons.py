"""Which arms are compared with which, in families within which p-values are corrected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from phdyn.studies.goal_oriented import arms
from phdyn.studies.goal_oriented.arms import ADAMW, BRAKES, CLOCK, CONTROL, COSINE, TOLD
from phdyn.studies.goal_oriented.config import Config
from phdyn.studies.goal_oriented.phases import EVENT, NEVER, Findings, Series
from phdyn.typing import Array

RACE: Final = "race"
GOALS: Final = "goals"
BRAKE: Final = "brake"
FRICTION: Final = "friction"
ON_EVENT: Final = "event"
HORIZON: Final = "horizon"

_ROMAN: Final = dict(zip(BRAKES, ("(i)", "(ii)", "(iii)", "(iv)"), strict=True))


@dataclass(frozen=True)
class Comparison:
    """Two arms, seed by seed.

    Attributes
    ----------
    family : str
        What it is corrected with.
    label : str
        In words.
    one, other : Series
        The difference is the first less the second.
    """

    family: str
    label: str
    one: Series
    other: Series

    def values(self, measure: str) -> Array:
        """Return what the first found, (seeds,)."""
        return self.one.values(measure)

    def control(self, measure: str) -> Array:
        """Return what the second found, (seeds,)."""
        return self.other.values(measure)


def comparisons(config: Config, found: Findings) -> Iterator[Comparison]:
    """Yield all comparisons.

    "race": every arm against constant momentum, every goal against the clock, the cosine and AdamW. "goals": each goal against each later
    one. "brake": each brake at a goal against no
    brake at all. "friction": what momentum (i) and friction (iv) do beyond a cut of lr (ii). "event": each brake at the goal against the
    same at a fixed step. "horizon": every goal against the clock, the cosine and the told cosine at the other run lengths.

    A goal that fired in no run of length 1 is left out but of the last: it is another arm without its brake.
    """
    yield from _race(config, found)
    for early, late in combinations(_fired(config, found), 2):
        yield Comparison(GOALS, f"{early} - {late}", found.race[early, 1.0], found.race[late, 1.0])
    for goal in _fired(config, found):
        yield from _of_brakes(goal, found)
    yield from _horizon(config, found)


def _goals(config: Config, found: Findings) -> list[str]:
    """Return the goal arms."""
    return [name for name in map(arms.goal_name, config.goals) if name in found.tuned]


def _fired(config: Config, found: Findings) -> list[str]:
    """Return the goal arms that fired in some run of length 1."""
    return [name for name in _goals(config, found) if found.race[name, 1.0].switches()]


def _race(config: Config, found: Findings) -> Iterator[Comparison]:
    fired, goals = _fired(config, found), _goals(config, found)
    for name in found.tuned:
        if name != CONTROL and CONTROL in found.tuned and (name in fired or name not in goals):
            yield Comparison(RACE, f"{name} - {CONTROL}", found.race[name, 1.0], found.race[CONTROL, 1.0])
    for control in (CLOCK, COSINE, ADAMW):
        for name in fired if control in found.tuned else ():
            yield Comparison(RACE, f"{name} - {control}", found.race[name, 1.0], found.race[control, 1.0])


def _of_brakes(goal: str, found: Findings) -> Iterator[Comparison]:
    brakes = found.brakes
    for what, roman in _ROMAN.items():
        yield Comparison(BRAKE, f"{goal}: {roman} - no brake", brakes[goal, what, EVENT], brakes[goal, NEVER, NEVER])
    for what in ("momentum", "friction"):
        yield Comparison(FRICTION, f"{goal}: {_ROMAN[what]} - (ii)", brakes[goal, what, EVENT], brakes[goal, "lr", EVENT])
    for what, roman in _ROMAN.items():
        if (goal, what, "clock") in brakes:
            yield Comparison(ON_EVENT, f"{goal}: {roman} at goal - at fixed step", brakes[goal, what, EVENT], brakes[goal, what, "clock"])


def _horizon(config: Config, found: Findings) -> Iterator[Comparison]:
    for length in config.lengths:
        if length == 1.0:
            continue
        controls: dict[str, Series] = {name: found.race[name, length] for name in (CLOCK, COSINE) if name in found.tuned}
        if length in found.told:
            controls[TOLD] = found.told[length]
        for goal in _goals(config, found):
            for name, control in controls.items():
                yield Comparison(HORIZON, f"{goal} - {name}, length {length:g}", found.race[goal, length], control)
