"""The numbers of the study, computed anew from its runs: scores of tuning, twins, every difference by its label, and what is concluded."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from test_goal_oriented import SMALL, no_drawing, rows, study  # noqa: F401 (fixtures)

from phdyn.studies import seeds
from phdyn.studies.goal_oriented import arms, text
from phdyn.training import heavy_ball_from_sgd

ROMAN = {"(i)": "momentum", "(ii)": "lr", "(iii)": "rescaled", "(iv)": "friction"}


@pytest.fixture(scope="module")
def lines(study):  # noqa: F811
    """Cells and results as they lie on disk."""
    return [json.loads(line) for line in (study[0].folder / "cells.jsonl").read_text().splitlines()]


def of(table, measure="accuracy", **wanted):
    """The values of runs over seeds, in the order of the seeds."""
    found = [row for row in table if all(getattr(row, name) == value for name, value in wanted.items())]
    return np.array([getattr(row, measure) for row in sorted(found, key=lambda row: row.seed)])


def test_tuning_is_scored_on_what_is_held_out(study, lines):  # noqa: F811
    tuned = [line for line in lines if line["cell"]["tuning"]]
    assert {line["cell"]["seed"] for line in tuned} == set(SMALL.tuning())
    assert {line["cell"]["seed"] for line in lines if not line["cell"]["tuning"]} == set(SMALL.fresh()) | set(SMALL.tuning())
    for row in study[0].tables["tuning"]:
        if row.arm != "sgd":
            continue
        lr = float(row.settings.removeprefix("lr "))
        runs = [line for line in tuned if (line["cell"]["lr"], line["cell"]["momentum"], line["cell"]["optimizer"]) == (lr, 0.0, "sgd")]
        assert len(runs) == 2
        assert row.accuracy == pytest.approx(np.mean([line["result"]["accuracy"][0] for line in runs]))
    assert sum(line["cell"]["tuning"] for line in lines) == 8 * 2 * 2


def test_twins_are_the_median_switch_of_the_tuning_seeds(study, lines):  # noqa: F811
    for goal, share in (("goal-15", 0.15), ("goal-40", 0.4)):
        (twin,) = {row.twin_step for row in rows(study[0], "brakes", goal=goal, when="clock")}
        runs = [line for line in lines if line["cell"]["goal"] == share and not line["cell"]["tuning"]]
        steps = [line["result"]["switch"] for line in runs if line["cell"]["seed"] in SMALL.tuning()]
        assert len(steps) == 2 and twin == max(2, round(np.median(steps)))


@pytest.mark.parametrize("measure", ["accuracy", "loss"])
def test_every_difference_is_that_of_its_label(study, measure):  # noqa: F811
    runs = study[0].tables["runs"]

    def side(name, length, goal=None):
        if name == "cosine-told" and length != 1.0:
            return of(runs, measure, phase="told", length=length)
        if goal is None:
            return of(runs, measure, phase="race", arm=name, length=length)
        if name == "no brake":
            return of(runs, measure, phase="brakes", arm=goal, when="never")
        brake, _, where = name.partition(" at ")
        when = "clock" if where == "fixed step" else "event"
        return of(runs, measure, phase="brakes", arm=goal, change=ROMAN[brake], when=when)

    checked = dict.fromkeys(("race", "goals", "brake", "friction", "event", "horizon"), 0)
    for row in study[0].tables["differences"]:
        if row.measure != measure:
            continue
        label, _, length = row.label.partition(", length ")
        goal, _, rest = label.rpartition(": ")
        one, other = rest.split(" - ")
        if row.family == "event":
            other = f"{one.split(' at ')[0]} at fixed step"
        found = side(one, float(length or 1.0), goal or None) - side(other, float(length or 1.0), goal or None)
        assert row.mean == pytest.approx(found.mean(), abs=1e-12), row.label
        assert row.n == len(found) == 3
        checked[row.family] += 1
    assert checked == {"race": 6 + 3 * 2, "goals": 1, "brake": 8, "friction": 4, "event": 8, "horizon": 3 * 3 * 2}


def test_cells_are_what_their_arms_say(study, lines):  # noqa: F811
    fresh = [line["cell"] for line in lines if line["cell"]["seed"] in SMALL.fresh() and not line["cell"]["tuning"]]
    epoch = SMALL.images // SMALL.batch
    tuned = {row.arm: row.settings for row in study[0].tables["arms"]}
    time = float(tuned["clock"].rpartition(" at ")[2])
    clock = [cell for cell in fresh if cell["at"] == round(time * 3 * epoch) and cell["exploit"] == [["momentum", 0.8]]]
    assert len(clock) >= 3
    assert {cell["weight_decay"] for cell in fresh if cell["optimizer"] == "adamw"} == {0.01}
    never = [cell for cell in fresh if cell["lr"] == 0.05 and cell["momentum"] == 0.95 and cell["goal"] is None and cell["at"] is None]
    assert never and all(cell["exploit"] == [] for cell in never)
    step, _ = heavy_ball_from_sgd(lr=0.05, momentum=0.95)
    on_map = [cell for cell in fresh if cell["goal"] == 0.5]
    assert on_map and all(cell["exploit"][0] == ["friction", pytest.approx(-math.log(0.8) / step)] for cell in on_map)


def test_averages_are_of_all_runs(study):  # noqa: F811
    for row in study[0].tables["arms"]:
        found = of(study[0].tables["runs"], phase="race", arm=row.arm, length=1.0)
        assert row.accuracy == pytest.approx(found.mean()) and row.accuracy_sd == pytest.approx(found.std(ddof=1))


def test_ties_count_in_the_permutation_test():
    """Accuracies are multiples of 1/450: exact p-values by counting all sign patterns of whole numbers."""
    rng = np.random.default_rng(3)
    for n in (6, 8, 10):
        counts = rng.integers(-3, 4, size=n)
        signs = np.array(np.meshgrid(*[[-1, 1]] * n)).reshape(n, -1)
        totals = np.abs(counts @ signs)
        exact = np.mean(totals >= abs(counts.sum()))
        base = rng.integers(430, 440, size=n)
        found = seeds.compare((base + counts) / 450 * 100, base / 450 * 100).p
        assert found == pytest.approx(exact, abs=1e-12)


def fake(mean, p_holm, label=""):
    return SimpleNamespace(mean=mean, low=mean - 0.1, high=mean + 0.1, p=p_holm / 4, p_holm=p_holm, n=10, label=label)


def test_what_is_told_is_told_after_correction():
    assert text.verdict(fake(0.5, 0.04)).endswith("told from zero at n = 10") and "not told" not in text.verdict(fake(0.5, 0.04))
    assert "not told from zero" in text.verdict(fake(0.5, 0.08))  # p itself is 0.02
    none = [fake(0.1, 0.5)] * 4
    assert text._carrier(none, none, none) == "no effect is told from zero"
    brake = [fake(1.0, 0.01), fake(0.9, 0.01), fake(0.0, 0.9), fake(1.0, 0.01)]
    friction = [fake(-0.2, 0.03), fake(0.1, 0.6)]
    assert text._carrier(brake, friction, none) == "what carries it: the lr decay, +0.90 points; also friction beyond it"
    assert text._carrier(none, friction, none) == "what carries it: friction beyond it, -0.20 points"


def test_the_four_brakes_cut_what_they_say():
    brakes = {name: dict(exploit) for name, exploit in arms.brakes(0.02, 0.95, 0.5).items()}
    effective = {name: brakes[name].get("lr", 0.02) / (1 - brakes[name].get("momentum", 0.95)) for name in ("momentum", "lr", "rescaled")}
    assert effective["momentum"] == pytest.approx(0.04) and effective["lr"] == pytest.approx(0.04)
    assert effective["rescaled"] == pytest.approx(0.4)
