"""Runs that share what they have in common find what they would have found alone, and train less."""

from dataclasses import replace

import pytest
import torch

from phdyn.studies.goal_oriented import arms, forks, training
from phdyn.studies.goal_oriented.cells import Cell, Job, Setup
from phdyn.studies.goal_oriented.pool import train_together
from tests.data.server import cifar_files
from tests.studies.test_goal_oriented import found

LEVELS = (0.05, 0.15, 0.4)
STEPS = 60
SETUP = Setup("digits", "mlp", (64, 16, 10), 400, 32, 0.2, 0, LEVELS, "")
BASE = Cell(seed=3, steps=STEPS, marks=(30, STEPS), lr=0.02, momentum=0.95, every=20)
BRAKES = arms.brakes(0.02, 0.95, 0.5)


def group(base=BASE, goals=(*LEVELS, 0.1, 0.999), times=(9, 25, STEPS)):
    """Every brake at every goal (one is between the levels, one is never reached) and at fixed steps, and none."""
    brakes = [replace(base, goal=goal, exploit=exploit) for exploit in BRAKES.values() for goal in goals]
    return [base, *brakes, *(replace(base, at=at, exploit=exploit) for exploit in BRAKES.values() for at in times)]


@pytest.fixture
def steps(monkeypatch):
    """Count optimizer steps."""
    count = []

    def counted(*arguments):
        optimizer = made(*arguments)
        optimizer.register_step_post_hook(lambda *_: count.append(1))
        return optimizer

    made = training._optimizer
    monkeypatch.setattr(training, "_optimizer", counted)
    return count


def alone(cells, setup=SETUP, data_dir=None):
    return [found(training.train(Job(setup, data_dir, cell))) for cell in cells]


def together(cells, setup=SETUP, data_dir=None):
    return [found(one) for one in train_together([Job(setup, data_dir, cell) for cell in cells])]


@pytest.mark.parametrize(
    "base",
    [BASE, replace(BASE, weight_decay=0.01), replace(BASE, tuning=True), replace(BASE, optimizer="adamw", lr=1e-3, momentum=0.0)],
    ids=["plain", "weight decay", "tuning", "adamw"],
)
def test_shared_runs_equal_runs_alone(base, steps):
    cells = group(base) if base.optimizer == "sgd" else [base, replace(base, at=20, exploit=(("momentum", 0.5),))]
    wanted = alone(cells)
    separate = len(steps)
    assert separate == STEPS * len(cells)
    assert together(cells) == wanted
    assert len(steps) - separate < (0.75 if len(cells) > 2 else 1.0) * separate
    if base.optimizer == "sgd":
        assert len({result.switch for result in wanted}) > 6  # they do brake, at different steps
        assert len(set(map(repr, wanted))) > 20  # and to different ends
    else:
        assert wanted[0] != wanted[1]


@pytest.mark.parametrize("turn", [slice(None, None, -1), slice(1, None)], ids=["backwards", "without the run that never brakes"])
def test_any_order_will_do(turn):
    cells = group(goals=(0.15, 0.1), times=(9, 25))[turn]
    assert together(cells) == alone(cells)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cifar")
    for name, content in cifar_files(60).items():
        (folder / name).write_bytes(content)
    return str(folder)


@pytest.mark.parametrize("network", ["small-cnn", "resnet20"])
def test_shared_runs_of_convolutions_equal_runs_alone(network, images):
    """Batch norm's statistics are part of a run, too."""
    setup = Setup("cifar10", network, None, 60, 20, 0.2, 0, (0.001,), "")
    base = replace(BASE, steps=12, marks=(12,), every=4)
    cells = [base, replace(base, at=6, exploit=BRAKES["lr"])]
    cells += [replace(base, goal=0.001, exploit=BRAKES[name]) for name in ("momentum", "friction")]
    wanted = alone(cells, setup, images)
    assert together(cells, setup, images) == wanted
    assert 1 < wanted[2].switch < 12


def test_runs_that_diverge_before_and_after_their_brake():
    wild = replace(BASE, lr=3e36, marks=(20, STEPS))
    cells = [wild, *(replace(wild, at=at, exploit=(("lr", 2e36),)) for at in (2, 3, 40)), replace(wild, goal=0.05, exploit=(("lr", 1e-3),))]
    wanted = alone(cells)
    assert 3 < wanted[0].diverged < 40
    assert wanted[1].diverged is not None and wanted[1].switch == 2
    assert list(map(repr, together(cells))) == list(map(repr, wanted))  # repr: nan is nan


def test_only_runs_that_are_equal_until_they_brake_are_grouped():
    others = [{"seed": 4}, {"lr": 0.03}, {"momentum": 0.9}, {"weight_decay": 0.1}, {"marks": (STEPS,)}, {"every": None}, {"tuning": True}]
    others += [{"optimizer": "adamw"}, {"cosine": STEPS}, {"steps": 70, "marks": (70,)}]
    brakes = group()[1:]
    cells = [*brakes, BASE, *(replace(BASE, **other) for other in others)]
    rows = forks.groups(cells, most=1000)
    assert sorted(map(len, rows)) == [1] * len(others) + [len(brakes) + 1]
    assert rows[0][0] == BASE  # it leaves something for all others
    assert set(rows[0]) == {BASE, *brakes}


@pytest.mark.parametrize("most", [1, 5, 8])
def test_groups_are_no_larger_than_asked(most):
    cells = [cell for seed in range(4) for cell in group(replace(BASE, seed=seed))]
    rows = forks.groups(cells, most)
    assert max(map(len, rows)) == most
    assert sorted(repr(cell) for row in rows for cell in row) == sorted(map(repr, cells))
    assert all(len({cell.seed for cell in row}) == 1 for row in rows)


def test_a_run_alone_leaves_nothing(monkeypatch):
    made = []
    monkeypatch.setattr(training.Fork, "of", classmethod(lambda _, *state: made.append(state)))
    cell = replace(BASE, at=9, exploit=BRAKES["lr"])
    together([cell])
    assert not made
    training.train(Job(SETUP, None, cell), [])
    assert made


def test_forks_are_copies():
    """A run that goes on from a fork leaves the fork as it was."""
    cell, known = replace(BASE, at=25, exploit=BRAKES["friction"]), []
    first = found(training.train(Job(SETUP, None, cell), known))
    fork = forks.latest(known, cell)
    assert fork.log.step == 25
    before = {name: tensor.clone() for name, tensor in fork.model.items()}
    buffers = [state["momentum_buffer"].clone() for state in fork.optimizer["state"].values()]
    assert found(training.train(Job(SETUP, None, cell), known)) == first
    assert all(torch.equal(before[name], tensor) for name, tensor in fork.model.items())
    assert all(map(torch.equal, buffers, [state["momentum_buffer"] for state in fork.optimizer["state"].values()]))
