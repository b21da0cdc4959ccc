"""The study small: every arm, paired seeds, the four brakes, and going on where it was stopped."""

import json
import math
import shutil
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import phdyn
from phdyn import cli, runs
from phdyn.data import digits
from phdyn.errors import WorkerError
from phdyn.networks import mlp
from phdyn.studies import goal_oriented
from phdyn.studies.goal_oriented import arms, pool, training
from phdyn.studies.goal_oriented.cells import Cell, Job, Setup, key
from phdyn.studies.goal_oriented.config import check
from phdyn.training import GoalScheduler

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
GRIDS = goal_oriented.Grids(
    sgd_lr=(0.1, 0.5),
    momentum_lr=(0.1,),
    momentum=(0.8, 0.9),
    clock_lr=(0.05,),
    clock_time=(0.3, 0.6),
    cosine_lr=(0.1,),
    cosine_momentum=(0.8, 0.9),
    goal_lr=(0.05,),
    goal_exploit=(0.5, 0.8),
    adamw_lr=(1e-3, 3e-3),
    adamw_decay=(0.01,),
)
SMALL = goal_oriented.Config(
    sizes=(64, 16, 10),
    images=400,
    batch=32,
    epochs=3,
    goals=(0.15, 0.4, 0.999),
    grids=GRIDS,
    tuning_seeds=2,
    seeds=3,
    goal_map=goal_oriented.GoalMap(momenta=(0.8, 0.95), goals=(0.15, 0.5), seeds=2),
)
SETUP = Setup("digits", "mlp", (64, 16, 10), 400, 32, 0.2, 0, (0.15, 0.4), "")
BASE = Cell(seed=1, steps=60, marks=(60,), lr=0.05, momentum=0.95)
GOAL = replace(BASE, goal=0.15, exploit=(("momentum", 0.5),))


class Counting(ThreadPoolExecutor):
    """Counts the runs that are submitted; Ctrl-C comes with that of a number."""

    def __init__(self, stop_at=None):
        super().__init__(1)
        self.count, self.stop_at = 0, stop_at

    def submit(self, fn, /, jobs):
        before, self.count = self.count, self.count + len(jobs)
        if self.stop_at is not None and before < self.stop_at <= self.count:
            done = Future()
            done.set_running_or_notify_cancel()
            done.exception = interrupt
            done.set_result(None)
            return done
        return super().submit(fn, jobs)


def interrupt(timeout=None):
    raise KeyboardInterrupt


def run_cell(cell, setup=SETUP):
    return training.train(Job(setup, None, cell))


def found(result):
    """What a run found, without how long it took."""
    return replace(result, seconds=0.0)


def no_figures(run, folder):
    return []


@pytest.fixture(scope="module", autouse=True)
def no_drawing():
    """Drawing takes longer than all the training here; one test draws."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(goal_oriented.experiment, "draw", no_figures)
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    with Counting() as executor:
        done = goal_oriented.run(SMALL, tmp_path_factory.mktemp("runs"), executor=executor)
    return done, executor.count


def rows(study, table, **wanted):
    return [row for row in study.tables[table] if all(getattr(row, name) == value for name, value in wanted.items())]


def test_one_run_folder_holds_everything(study):
    done, count = study
    assert set(done.tables) == {"tuning", "arms", "brakes", "horizon", "goal_map", "differences", "pairs", "runs"}
    assert [path.name for path in done.folder.parent.iterdir()] == [done.folder.name]
    numbers = json.loads((done.folder / "numbers.json").read_text())
    lines = (done.folder / "cells.jsonl").read_text().splitlines()
    assert len({json.loads(line)["key"] for line in lines}) == len(lines) == numbers["runs"] == count
    assert numbers["found_finished"] == 0
    assert done.failures == ()


def test_every_arm_is_tuned_on_as_many_points(study):
    tuning, table = study[0].tables["tuning"], study[0].tables["arms"]
    names = ["sgd", "momentum", "clock", "cosine", "goal-15", "goal-40", "goal-99.9", "adamw"]
    assert list(table["arm"]) == names
    for name, settings in zip(table["arm"], table["settings"], strict=True):
        points = [row for row in tuning if row.arm == name]
        assert len(points) == 2
        best = max(points, key=lambda row: (row.accuracy, -row.loss))
        assert [row.settings for row in points if row.chosen] == [best.settings] == [settings]
    assert rows(study[0], "tuning", arm="goal-15")[0].switched == 2


def test_seeds_are_fresh_and_shared(study):
    seeds = {}
    for row in study[0].tables["runs"]:
        seeds.setdefault((row.phase, row.arm, row.change, row.when, row.length), []).append(row.seed)
    assert set(map(tuple, seeds.values())) == {(1000, 1001, 1002), (1000, 1001)}
    assert SMALL.tuning() == [0, 1]
    other = replace(SMALL, seed=2)
    assert not set(other.fresh() + other.tuning()) & set(SMALL.fresh() + SMALL.tuning())


@pytest.mark.parametrize("goal", ["goal-15", "goal-40"])
def test_four_brakes_fire_on_the_same_step_of_the_same_seed(study, goal):
    event = [rows(study[0], "runs", phase="brakes", arm=goal, change=change, when="event") for change in arms.BRAKES]
    steps = [[row.switch for row in part] for part in event]
    assert steps[0] == steps[1] == steps[2] == steps[3]
    assert len(set(steps[0])) > 1
    clock = [row.switch for row in rows(study[0], "runs", phase="brakes", arm=goal, when="clock")]
    (twin,) = {row.twin_step for row in rows(study[0], "brakes", goal=goal, when="clock")}
    assert clock == [twin] * 12
    (arm,) = rows(study[0], "arms", arm=goal)
    level = goal.removeprefix("goal-")
    assert arm.switch_step == getattr(arm, f"steps_{level}") == np.median(steps[0])
    assert [row.accuracy for row in event[0]] == [row.accuracy for row in rows(study[0], "runs", phase="race", arm=goal, length=1.0)]


def test_a_goal_that_never_fires_is_reported_and_equals_no_brake(study):
    never = rows(study[0], "runs", phase="brakes", arm="goal-99.9")
    assert {row.when for row in never} == {"event", "never"}  # no twins
    assert np.isnan([row.switch for row in never]).all()
    for seed in SMALL.fresh():
        assert len({(row.accuracy, row.loss) for row in never if row.seed == seed}) == 1
    text = goal_oriented.report(runs.open_run(study[0].folder))
    assert "goal-99.9: never fired (0 of 3)" in text
    assert "never fired at 2 of the 2 points of its grid" in text
    assert "no twin: fired in fewer than half of the tuning seeds" in text


def test_the_differences_are_those_of_the_runs(study):
    differences = {(row.label, row.measure): row for row in study[0].tables["differences"]}
    for measure in ("accuracy", "loss"):
        one, other = (
            np.array([getattr(row, measure) for row in rows(study[0], "runs", phase="brakes", arm="goal-15", change=change, when="event")])
            for change in ("momentum", "lr")
        )
        assert differences["goal-15: (i) - (ii)", measure].mean == pytest.approx(np.mean(one - other))
    family = [row for row in study[0].tables["differences"] if (row.family, row.measure) == ("race", "accuracy")]
    assert len(family) == 6 + 3 * 2  # a goal that never fired is another arm without its brake
    np.testing.assert_allclose([row.p_holm for row in family], phdyn.studies.seeds.holm([row.p for row in family]))
    pairs = [row.difference for row in study[0].tables["pairs"] if row.label == "goal-15 - clock"]
    assert np.mean(pairs) == pytest.approx(differences["goal-15 - clock", "accuracy"].mean)


def test_other_lengths_change_nothing_but_the_length(study):
    table = {(row.arm, row.length): row for row in study[0].tables["horizon"]}
    assert {length for _, length in table} == {0.5, 1.0, 2.0}
    assert table["cosine", 2.0].accuracy == table["cosine", 1.0].accuracy  # at its end its lr is zero
    assert table["cosine-told", 1.0].accuracy == table["cosine", 1.0].accuracy
    assert table["cosine-told", 2.0].accuracy != table["cosine", 2.0].accuracy
    clock = next(row for row in study[0].tables["arms"] if row.arm == "clock")
    assert (table["clock", 0.5].fired == 0) == (clock.switch_step > 18)
    for length in (0.5, 1.0, 2.0):
        assert max(row.behind for row in table.values() if row.length == length) == 0.0


def test_the_map_keeps_the_physical_step(study):
    table = study[0].tables["goal_map"]
    assert len(table) == 6
    assert np.ptp(table["step"]) == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(table["friction"] * table["step"], -np.log(table["momentum"]), rtol=1e-12)


def test_the_report_is_a_screen_wide_and_concludes(study):
    text = goal_oriented.report(runs.open_run(study[0].folder))
    assert max(len(line) for line in text.splitlines() if str(study[0].folder) not in line) <= 100
    for words in ("(1) every arm", "friction beyond an lr decay: ", "without knowing the length, ", "best goal, goal-"):
        assert words in text
    assert "told from zero at n = 3" in text


def test_phdyn_show_finds_the_study(study, monkeypatch, capsys):
    monkeypatch.setattr(goal_oriented, "draw", no_figures)
    assert cli.main(["show", str(study[0].folder), "--quiet"]) == 0
    assert capsys.readouterr().out.strip() == goal_oriented.report(runs.open_run(study[0].folder))


def test_figures_are_drawn_from_the_files_alone(study, tmp_path):
    elsewhere = tmp_path / "copy"
    shutil.copytree(study[0].folder, elsewhere)
    drawn = goal_oriented.draw(runs.open_run(elsewhere), tmp_path / "figures")
    assert [path.stem for path in drawn] == ["accuracy", "loss", "race", "friction", "event", "histogram", "goal_map"]
    assert all(path.with_suffix(end).stat().st_size > 0 for path in drawn for end in (".png", ".pdf", ".csv"))
    ends = [row for row in phdyn.tables.Table.from_csv(tmp_path / "figures" / "accuracy.csv") if row.series == "goal-15" and row.x == 3]
    race = [row.accuracy for row in rows(study[0], "runs", phase="race", arm="goal-15", length=1.0)]
    assert [row.y for row in ends] == [pytest.approx(np.median(race), abs=1e-4)]


def test_a_stopped_study_goes_on(study, tmp_path):
    """Ctrl-C, then a last line that was cut short: what is whole is not run again, and the tables are the same."""
    with Counting(stop_at=40) as executor, pytest.raises(KeyboardInterrupt, match=r"finished runs are kept in .*-cells"):
        goal_oriented.run(SMALL, tmp_path, executor=executor)
    (aside,) = tmp_path.iterdir()
    file = aside / "cells.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    kept = len(lines) - 1
    assert kept > 0
    file.write_bytes(b"".join(lines)[:-20])
    with Counting() as executor:
        again = goal_oriented.run(SMALL, tmp_path, executor=executor)
    assert executor.count == study[1] - kept
    assert json.loads((again.folder / "numbers.json").read_text())["found_finished"] == kept
    for name in ("tuning", "arms", "brakes", "horizon", "goal_map", "differences", "pairs"):
        assert (again.folder / f"{name}.csv").read_bytes() == (study[0].folder / f"{name}.csv").read_bytes()


def test_finished_runs_serve_another_configuration(study, tmp_path):
    with Counting() as executor:
        more = replace(SMALL, seeds=4, goal_map=replace(SMALL.goal_map, momenta=()))
        done = goal_oriented.run(more, tmp_path, cells=[study[0].folder / "cells.jsonl"], executor=executor)
    assert "goal_map" not in done.tables
    assert len(rows(done, "runs", phase="race", length=1.0)) == 8 * 4
    new = {row.key for row in done.tables["runs"] if row.seed == 1003}
    assert executor.count == len(new)


def test_a_run_that_fails_is_told_and_ends_nothing(tmp_path, monkeypatch):
    def failing(job, known):
        if job.cell.optimizer == "adamw" and job.cell.seed == 1001:
            raise RuntimeError("out of luck")
        return training.train(job, known)

    monkeypatch.setattr(pool, "train", failing)
    config = replace(SMALL, goal_map=goal_oriented.GoalMap(momenta=()), goals=(0.15,), lengths=(1.0,))
    with Counting() as executor:
        done = goal_oriented.run(config, tmp_path, executor=executor)
    assert len(done.failures) == 1
    assert "RuntimeError: out of luck" in done.failures[0]
    assert rows(done, "arms", arm="adamw")[0].n == 2
    assert next(row.n for row in done.tables["differences"] if row.label == "adamw - momentum") == 2
    assert "1 run failed" in goal_oriented.report(runs.open_run(done.folder))


def test_a_killed_worker_is_said_and_what_is_finished_kept(tmp_path, monkeypatch):
    def killed(job, known):
        if job.cell.optimizer == "adamw":
            raise BrokenExecutor
        return training.train(job, known)

    monkeypatch.setattr(pool, "train", killed)
    with Counting() as executor, pytest.raises(WorkerError, match="a worker process was killed"):
        goal_oriented.run(SMALL, tmp_path, executor=executor)
    (aside,) = tmp_path.iterdir()
    assert len((aside / "cells.jsonl").read_text().splitlines()) > 0


def test_a_diverging_run_is_flagged():
    wild = replace(BASE, lr=3e38, marks=(20, 60), every=20)
    result = run_cell(wild)
    assert 1 < result.diverged <= 20
    assert result.accuracy[0] == result.accuracy[1] < 15  # of the parameters that it left
    assert np.isnan(result.loss).all()
    assert result.curve_steps == (20, 60)
    assert key(SETUP, wild) != key(SETUP, replace(wild, lr=2e38))


def test_the_loop_is_plain_sgd():
    """The same training, written out."""
    data = digits()
    x, y = data.x_train[:400], data.y_train[:400]
    mean, deviation = x.mean(), x.std()
    torch.manual_seed(1)
    model = mlp((64, 16, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.95)
    order = torch.Generator().manual_seed(1)
    for _ in range(5):
        epoch = torch.randperm(400, generator=order)
        for k in range(12):
            rows = epoch[32 * k : 32 * (k + 1)]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model((x[rows] - mean) / deviation), y[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        outputs = model((data.x_test - mean) / deviation)
    result = run_cell(BASE)
    assert result.accuracy[0] == pytest.approx(100 * float((outputs.argmax(1) == data.y_test).double().mean()))
    assert result.loss[0] == pytest.approx(float(torch.nn.functional.cross_entropy(outputs, data.y_test)), rel=1e-5)


def test_equal_settings_give_equal_runs_in_every_arm():
    constant = found(run_cell(BASE))
    same = [
        replace(BASE, goal=0.999, exploit=(("momentum", 0.5),)),  # never fires
        replace(BASE, at=61, exploit=(("momentum", 0.5),)),
        replace(BASE, cosine=10**12),
        replace(GOAL, exploit=(("momentum", 0.95),)),  # changes nothing
    ]
    for cell in same:
        assert replace(found(run_cell(cell)), switch=None) == constant
    event = found(run_cell(GOAL))
    assert event != constant
    assert found(run_cell(replace(GOAL, goal=None, at=event.switch))) == event
    half = run_cell(replace(GOAL, steps=120, marks=(60, 120)))
    assert (half.accuracy[0], half.loss[0], half.train_loss[0]) == (event.accuracy[0], event.loss[0], event.train_loss[0])


def test_tuning_sees_no_test_image():
    part = training.part_of(SETUP, None, True)
    assert sorted(torch.cat([part.rows, part.rows_other]).tolist()) == list(range(400))
    assert len(part.rows_other) == 80
    assert part.x_other is part.x
    final = training.part_of(SETUP, None, False)
    assert len(final.rows) == 400
    assert len(final.rows_other) == 450


def test_brakes_by_hand():
    brakes = {name: dict(exploit) for name, exploit in arms.brakes(0.1, 0.95, 0.5).items()}
    assert brakes["momentum"] == {"momentum": 0.5}
    assert brakes["lr"] == pytest.approx({"lr": 0.01})
    assert brakes["rescaled"] == pytest.approx({"momentum": 0.5, "lr": 1.0})
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.95)
    scheduler = GoalScheduler(optimizer, phdyn.LossGoal(value=0.5), brakes["friction"], estimate=phdyn.training.LastBatch())
    for loss in (1.0, 0.4):
        optimizer.zero_grad()
        weight.sum().backward()
        optimizer.step()
        scheduler.step(loss)
    (group,) = optimizer.param_groups
    assert group["momentum"] == pytest.approx(0.5)
    assert phdyn.training.heavy_ball_from_sgd(lr=group["lr"], momentum=0.5)[0] == pytest.approx(
        phdyn.training.heavy_ball_from_sgd(lr=0.1, momentum=0.95)[0]
    )


def test_the_cosine_is_torchs():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    for step in range(1, 21):
        assert training.cosine(step, 20) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        schedule.step()
    assert training.cosine(21, 20) == training.cosine(50, 20) == 0.0


BAD = [
    ({"dataset": "letters"}, "dataset is 'letters'"),
    ({"network": "vgg"}, "network is 'vgg'"),
    ({"network": "small-cnn", "sizes": None}, "square images"),
    ({"sizes": (32, 10)}, "64 inputs"),
    ({"batch": 0}, "batch is 0"),
    ({"batch": 321}, "batch is 321"),
    ({"images": 0}, "images is 0"),
    ({"seeds": 1}, "seeds is 1"),
    ({"tuning_seeds": 1001}, "tuning_seeds is 1001"),
    ({"goals": ()}, "goals is empty"),
    ({"goals": (15.0,)}, "for 15 % write 0.15"),
    ({"goals": (0.5, 0.15)}, "goals is [0.5, 0.15]"),
    ({"lengths": (0.5, 2.0)}, "lengths is [0.5, 2.0]"),
    ({"lengths": (1.0, 1.001)}, "must be different"),
    ({"validation": 1.0}, "validation is 1"),
    ({"validation": 1e-4}, "images: less is needed"),
    ({"exploit_momentum": 0.96}, "exploit_momentum is 0.96"),
    ({"grids": replace(GRIDS, sgd_lr=(0.1,))}, "different numbers of points"),
    ({"grids": replace(GRIDS, momentum=(0.9, 1.0))}, "grids.momentum is"),
    ({"grids": replace(GRIDS, goal_exploit=(0.5, 0.95))}, "grids.goal_exploit is"),
    ({"goal_map": goal_oriented.GoalMap(seeds=4)}, "goal_map.seeds is 4"),
    ({"goal_map": goal_oriented.GoalMap(momenta=(0.9, 0.8))}, "goal_map.momenta is"),
]


@pytest.mark.parametrize(("fields", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_configurations_are_refused_before_any_work(fields, message, tmp_path):
    with pytest.raises(phdyn.ArgumentError) as refused:
        goal_oriented.run(replace(SMALL, **fields), tmp_path, executor=Counting(stop_at=1))
    assert message in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_bad_files_of_cells_are_refused(tmp_path):
    bad = tmp_path / "cells.jsonl"
    bad.write_text('{"key": "1"}\n')
    for file, message in ((bad, "line 1 is no finished cell"), (tmp_path / "none.jsonl", "cannot be read")):
        with pytest.raises(phdyn.ArgumentError, match=message):
            goal_oriented.run(SMALL, tmp_path / "runs", cells=[file])
    with pytest.raises(phdyn.ArgumentError, match="workers is -1"):
        goal_oriented.run(SMALL, tmp_path / "runs", workers=-1)


def test_results_are_read_as_they_were_written(tmp_path):
    from phdyn.studies.goal_oriented.store import Store

    result = replace(run_cell(replace(BASE, steps=4, marks=(4,), every=2)), loss=(math.nan,))
    with Store(tmp_path / "a") as store:
        store.add("k", BASE, result)
        with pytest.raises(phdyn.ArgumentError, match="another process is at work"), Store(tmp_path / "a"):
            pass
    with Store(tmp_path / "b", [tmp_path / "a" / "cells.jsonl"]) as store:
        again = store.results["k"]
    assert math.isnan(again.loss[0])
    assert replace(again, loss=()) == replace(result, loss=())


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("goal_oriented_*.yaml")), ids=lambda path: path.stem)
def test_the_experiments_are_configurations(path, capsys):
    with pytest.raises(SystemExit) as done:
        cli.main(["goal-oriented", str(path), "--print_config"])
    assert done.value.code == 0
    options = cli._options(["goal-oriented", "--config", str(path)])["goal-oriented"]
    check(goal_oriented.Config(**{name: options[name] for name in goal_oriented.Config.__dataclass_fields__}))
