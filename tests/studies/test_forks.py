"""Runs that share what they have in common find what they would have found alone, and train less."""

from dataclasses import replace

import pytest
import torch

from phdyn.studies.goal_oriented import arms, forks, training
from phdyn.studies.goal_oriented.cells import Cell, Job, Setup
from tests.data.server import cifar_files
from tests.studies.test_goal_oriented import found

LEVELS = (0.05, 0.15, 0.4)
STEPS = 60
BASE = Cell(seed=3, steps=STEPS, marks=(30, STEPS), lr=0.02, momentum=0.95, every=20)
BRAKES = arms.brakes(0.02, 0.95, 0.5)


def group(levels=LEVELS, base=BASE, times=(9, 25, STEPS)):
    """Every brake at every goal and at fixed steps, and none."""
    wanted = [base]
    for exploit in BRAKES.values():
        wanted += [replace(base, goal=goal, exploit=exploit) for goal in (*levels, 0.1, 0.999)]  # one between the levels, one never reached
        wanted += [replace(base, at=at, exploit=exploit) for at in times]
    return wanted


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


def alone(job):
    forks.forget()
    return found(training.train(job))


def together(jobs):
    forks.forget()
    return [found(training.train(job)) for job in jobs]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cifar")
    for name, content in cifar_files(60).items():
        (folder / name).write_bytes(content)
    return str(folder)


@pytest.mark.parametrize("order", ["as they come", "backwards"])
def test_shared_runs_equal_runs_alone(order, steps):
    setup = Setup("digits", "mlp", (64, 16, 10), 400, 32, 0.2, 0, LEVELS, "")
    jobs = [Job(setup, None, cell) for cell in group()]
    jobs = jobs[::-1] if order == "backwards" else jobs
    wanted = [alone(job) for job in jobs]
    assert len({result.switch for result in wanted}) > 6  # they do brake, at different steps
    assert len(set(map(repr, wanted))) > 20  # and to different ends
    separate = len(steps)
    assert separate == STEPS * len(jobs)
    assert together(jobs) == wanted
    assert len(steps) - separate < (0.75 if order == "as they come" else 0.85) * separate


@pytest.mark.parametrize("network", ["small-cnn", "resnet20"])
def test_shared_runs_of_convolutions_equal_runs_alone(network, images):
    """Batch norm's statistics are part of a run, too."""
    setup = Setup("cifar10", network, None, 60, 20, 0.2, 0, (0.001,), "")
    base = replace(BASE, steps=12, marks=(12,), every=4)
    cells = [base, replace(base, at=6, exploit=BRAKES["lr"])]
    cells += [replace(base, goal=0.001, exploit=BRAKES[name]) for name in ("momentum", "friction")]
    jobs = [Job(setup, images, cell) for cell in cells]
    wanted = [alone(job) for job in jobs]
    assert together(jobs) == wanted
    assert 1 < wanted[2].switch < 12


def test_other_runs_share_nothing(steps):
    """What differs before the brake, or in what is evaluated, is trained by itself."""
    setup = Setup("digits", "mlp", (64, 16, 10), 400, 32, 0.2, 0, LEVELS, "")
    forks.forget()
    training.train(Job(setup, None, BASE))
    others = [{"seed": 4}, {"lr": 0.03}, {"momentum": 0.9}, {"weight_decay": 0.1}, {"marks": (STEPS,)}, {"every": None}, {"tuning": True}]
    others += [{"optimizer": "adamw"}, {"cosine": STEPS}, {"steps": 70, "marks": (70,)}]
    for other in others:
        before = len(steps)
        cell = replace(BASE, **other, at=5, exploit=BRAKES["momentum"]) if "optimizer" not in other else replace(BASE, **other)
        training.train(Job(setup, None, cell))
        assert len(steps) - before == cell.steps, other
    before = len(steps)
    training.train(Job(replace(setup, batch=40), None, replace(BASE, at=5, exploit=BRAKES["momentum"])))
    assert len(steps) - before == STEPS


def test_a_diverged_run_diverges_again(steps):
    setup = Setup("digits", "mlp", (64, 16, 10), 400, 32, 0.2, 0, LEVELS, "")
    wild = replace(BASE, lr=1e3, momentum=0.95)
    jobs = [Job(setup, None, cell) for cell in (wild, *(replace(wild, at=2, exploit=BRAKES[name]) for name in ("rescaled", "lr")))]
    wanted = [alone(job) for job in jobs]
    assert [repr(one) for one in together(jobs)] == [repr(one) for one in wanted]


def test_forks_are_copies():
    """A run that goes on from a fork leaves the fork as it was."""
    torch.manual_seed(0)
    setup = Setup("digits", "mlp", (64, 16, 10), 400, 32, 0.2, 0, LEVELS, "")
    job = Job(setup, None, replace(BASE, at=25, exploit=BRAKES["friction"]))
    forks.forget()
    first = found(training.train(job))
    fork = forks.latest(forks.forks(job), job.cell)
    assert fork.log.step == 25
    before = {name: tensor.clone() for name, tensor in fork.model.items()}
    buffers = [state["momentum_buffer"].clone() for state in fork.optimizer["state"].values()]
    assert found(training.train(job)) == first
    assert all(torch.equal(before[name], tensor) for name, tensor in fork.model.items())
    assert all(map(torch.equal, buffers, [state["momentum_buffer"] for state in fork.optimizer["state"].values()]))
