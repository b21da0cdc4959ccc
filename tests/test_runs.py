"""Run folders: whole or not at all, named after their configuration, readable from the files alone."""

from __future__ import annotations

import enum
import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from phdyn import plots, runs
from phdyn.errors import ArgumentError, ArgumentTypeError
from phdyn.tables import Table


@dataclass(frozen=True)
class Friction:
    explore: float = 0.05
    exploit: float = 3.0


@dataclass(frozen=True)
class Config:
    seed: int = 0
    steps: tuple[float, ...] = (0.1, 0.2)
    friction: Friction = field(default_factory=Friction)
    bound: float = float("nan")


@dataclass(frozen=True)
class Other:
    seed: int = 0


def goals() -> Table:
    return Table({"goal": [0.97, 0.6], "loss": [0.0, 0.868]})


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


class Trajectory:
    """A solution, as far as a run folder knows one."""

    def save(self, path: Path) -> None:
        np.savez(path, t=np.arange(3.0))


def test_a_run_is_written_aside_and_read_from_its_files(tmp_path: Path) -> None:
    with runs.create(Config(), tmp_path / "demo") as run:
        assert run.path.name.startswith(".") and run.path.parent == tmp_path / "demo"
        final = tmp_path / "demo" / runs.config_hash(Config())
        assert not final.exists()
        run.numbers["loss"] = np.float64(0.868)
        run.numbers["never"] = float("nan")
        run.save_table(goals(), "goals")
        run.save_solution(Trajectory())  # type: ignore[arg-type]
        run.save_figure(plots.plot_modes(fakes.three_modes()), "modes", title="Two brakes")
    plt.close("all")
    assert run.path == final and [path.name for path in (tmp_path / "demo").iterdir()] == [final.name]
    assert files(final) == {
        "config.json",
        "environment.json",
        "numbers.json",
        "goals.csv",
        "trajectory.npz",
        "figures/modes.png",
        "figures/modes.pdf",
        "figures/modes.csv",
    }
    opened = runs.open_run(final)
    assert opened.numbers == {"loss": 0.868, "never": None}
    assert opened.config == {
        "seed": 0,
        "steps": [0.1, 0.2],
        "friction": {"explore": 0.05, "exploit": 3.0},
        "bound": None,
    }
    assert list(opened.tables()) == ["goals"]
    np.testing.assert_array_equal(opened.tables()["goals"]["loss"], [0.0, 0.868])
    assert [path.name for path in opened.figures] == ["modes.png"]
    assert str(opened) == str(run) == f"demo/{final.name}"
    assert not hasattr(opened, "save_table")


def test_the_environment_says_how_to_repeat_it(tmp_path: Path) -> None:
    with runs.create(Config(seed=7), tmp_path) as run:
        torch.manual_seed(7)
    environment = runs.open_run(run.path).environment
    assert environment["seeds"] == {"torch": 7, "config": 7}
    assert environment["threads"] == {
        "torch": torch.get_num_threads(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
    }
    assert environment["versions"]["numpy"] == np.__version__ and set(environment["versions"]) >= set(runs.PACKAGES)
    assert environment["experiment"].endswith("test_runs.Config") and environment["platform"]
    assert environment["command"] and not environment["command"].startswith("/")
    assert environment["started"] <= environment["finished"]


def test_json_is_strict(tmp_path: Path) -> None:
    with runs.create(Config(), tmp_path) as run:
        run.numbers.update(a=np.array([1.0, np.nan]), b=torch.tensor(2), c=np.inf, d=np.int64(3), e=Path("x") / "y")

    def refuse(word: str) -> None:
        pytest.fail(f"{word} is no JSON")

    numbers = json.loads((run.path / "numbers.json").read_text(), parse_constant=refuse)
    assert numbers == {"a": [1.0, None], "b": 2, "c": "inf", "d": 3, "e": "x/y"}


def test_the_same_configuration_replaces_the_folder_whole(tmp_path: Path) -> None:
    with runs.create(Config(), tmp_path) as run:
        run.save_table(goals(), "old")
    with runs.create(Config(), tmp_path) as again:
        again.save_table(goals(), "new")
    assert again.path == run.path and set(again.tables()) == {"new"}
    assert [path.name for path in tmp_path.iterdir()] == [run.path.name]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with runs.create(Config(), tmp_path) as again:
            again.save_table(goals(), "new")
            raise error

    with runs.create(Config(), tmp_path) as run:
        run.save_table(goals(), "old")
    before = files(tmp_path)
    with pytest.raises(error):
        fail()
    assert files(tmp_path) == before and [path.name for path in tmp_path.iterdir()] == [run.path.name]


def test_numbers_that_json_cannot_hold_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match="object"), runs.create(Config(), tmp_path) as run:
        run.numbers["what"] = object()
    assert list(tmp_path.iterdir()) == []


def test_a_failing_rename_puts_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with runs.create(Config(), tmp_path) as run:
        run.save_table(goals(), "old")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.startswith(".") and not self.name.endswith(".old"):
            raise OSError("disk full")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="disk full"), runs.create(Config(), tmp_path):
        pass
    assert set(runs.open_run(run.path).tables()) == {"old"} and len(list(tmp_path.iterdir())) == 1


def test_the_hash_names_class_and_fields() -> None:
    name = runs.config_hash(Config())
    assert len(name) == 8 and int(name, 16) >= 0 and name == runs.config_hash(Config())
    others = [Config(seed=1), replace(Config(), friction=Friction(exploit=2.0)), Config(bound=float("inf")), Other()]
    assert len({name, *map(runs.config_hash, others)}) == 5


def test_nothing_is_written_before_the_context(tmp_path: Path) -> None:
    run = runs.create(Config(), tmp_path / "deep" / "root")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ArgumentError, match="not being written"):
        run.save_table(goals(), "goals")


@pytest.mark.parametrize("name", ["", "a/b", "../a", "."])
def test_names_of_files_are_names(tmp_path: Path, name: str) -> None:
    with runs.create(Config(), tmp_path) as run, pytest.raises(ArgumentError, match="not the name of a file"):
        run.save_table(goals(), name)


@pytest.mark.parametrize("config", [{"seed": 0}, Config, None])
def test_a_configuration_is_a_dataclass_instance(config: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="instance of a dataclass"):
        runs.create(config)


def test_a_foreign_folder_is_never_replaced(tmp_path: Path) -> None:
    foreign = tmp_path / runs.config_hash(Config())
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years")
    with pytest.raises(ArgumentError, match="not a run of this configuration"):
        runs.create(Config(), tmp_path)
    (foreign / "config.json").write_text('{"seed": 1}')
    with pytest.raises(ArgumentError, match="not a run of this configuration"):
        runs.create(Config(), tmp_path)
    assert (foreign / "thesis.txt").read_text() == "years"


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match="no run folder can be made"), runs.create(Config(), tmp_path / "file"):
        pass


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no run folder at"):
        runs.open_run(tmp_path / "nothing")
    with pytest.raises(ArgumentError, match=r"no config\.json, numbers\.json, environment\.json"):
        runs.open_run(tmp_path)
    with runs.create(Config(), tmp_path) as run:
        pass
    for text, match in (("{", "not JSON"), ("[1]", "no names and values")):
        (run.path / "numbers.json").write_text(text)
        with pytest.raises(ArgumentError, match=match) as caught:
            runs.open_run(run.path)
        assert "\n" not in str(caught.value)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [(Colour.RED, "red"), (Level.HIGH, 3), ({3, 1, 2}, [1, 2, 3]), (torch.float64, "torch.float64"), (np.True_, True)],
)
def test_plain_values(value: Any, expected: Any) -> None:
    assert runs.plain(value) == expected
    assert type(runs.plain(value)) is type(expected)
