"""The toy's table is a regression test with its numbers; the demo itself runs small, and is read back from its files alone."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import phdyn
from phdyn import runs
from phdyn.potentials import MultiWell
from phdyn.studies import demo
from phdyn.studies.demo_report import failures
from phdyn.studies.demo_runs import Arm, network_loss, train

WELLS = {0.7: 1.952, 0.4: 0.868, 0.1: 0.217, 0.03: 0.0}  # loss at the end, by the fraction of the initial loss at which it brakes

SMALL = demo.Config(
    toy=demo.Toy(explore=(0.0, 1.0), goals=(0.7, 0.03), step=0.05, t_end=30.0, shown=0.0),
    digits=demo.Digits(sizes=(64, 4, 10), t_end=6.0, step=0.1, goals=(0.05, 0.95), release=0.03, flow_rtol=1e-3),
    methods=demo.Methods(
        sizes=(64, 3, 10), images=40, t_end=2.0, settings={"strang": (0.1, 0.02, 0.005), "RK45": (1e-3, 1e-6), "sgd": (0.05,)}
    ),
)


def no_figures(run, folder):
    return []


def end_loss(explore, goal, step, method="strang"):
    friction = phdyn.SwitchedFriction(explore, 3.0, phdyn.LossGoal(1 - goal))
    ball = phdyn.HeavyBall(MultiWell(), friction=friction)
    return phdyn.simulate(ball, (0.0, 60.0), phdyn.at_rest([7.2]), method=method, step=step, record="energy")


@pytest.mark.parametrize("explore", [0.0, 0.05, 0.2])
@pytest.mark.parametrize(("goal", "loss"), WELLS.items())
def test_who_brakes_early_loses(explore, goal, loss):
    sol = end_loss(explore, goal, 0.02)
    assert sol.energy.potential[-1] == pytest.approx(loss, abs=5e-4)
    assert len(sol.switches) == 1


@pytest.mark.parametrize("goal", WELLS)
def test_who_never_lets_it_roll_loses_too(goal):
    sol = end_loss(1.0, goal, 0.02)
    assert sol.energy.potential[-1] == pytest.approx(WELLS[0.7], abs=5e-4)
    assert len(sol.switches) == (goal == 0.7)


@pytest.mark.parametrize("step", [0.1, 0.2])
def test_a_goal_entered_and_left_within_a_step_is_found(step):
    """At 20 % of the loss the ball, without friction, is below the goal on a window 0.066 wide; whoever flies past ends elsewhere."""
    sol = end_loss(0.0, 0.2, step)
    assert sol.energy.potential[-1] == pytest.approx(WELLS[0.4], abs=5e-4)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return demo.run(SMALL, tmp_path_factory.mktemp("runs"))


def test_one_run_folder_holds_everything(study):
    assert set(study.tables) == {"toy", "digits", "methods"}
    assert [path.stem for path in study.figures] == ["energies", "loss", "phase", "residuals", "work_precision"]
    assert all(path.with_suffix(end).stat().st_size > 0 for path in study.figures for end in (".png", ".pdf", ".csv"))
    assert [path.name for path in study.folder.parent.iterdir()] == [study.folder.name]
    environment = json.loads((study.folder / "environment.json").read_text())
    assert environment["seeds"]["config"] == 0
    assert environment["threads"]["torch"] >= 1
    assert environment["versions"]["phdyn"] == phdyn.__version__
    assert phdyn.load(study.folder / "trajectory.npz").method.name == "strang"
    numbers = json.loads((study.folder / "numbers.json").read_text())
    assert set(numbers["seconds"]) == {"toy", "digits", "methods", "figures"}
    assert study.failures == ()


def test_tables_are_those_of_the_runs(study):
    toy = {(row.explore, row.goal): row for row in study.tables["toy"]}
    assert toy[0.0, 0.03].loss == pytest.approx(0, abs=1e-6)
    assert np.isnan(toy[1.0, 0.03].brakes_at)
    arms = {row.arm: row for row in study.tables["digits"]}
    first, timed = arms["goal 5 %, then 3"], next(row for name, row in arms.items() if name.startswith("the same at"))
    assert timed.brakes_at == pytest.approx(first.brakes_at, abs=1e-9)
    assert timed.objective == pytest.approx(first.objective, rel=1e-9)  # in one deterministic run a goal is a time
    never, low = arms["goal 95 %, then 3"], arms["constant 0.05"]
    assert np.isnan(never.brakes_at)
    assert never.objective == low.objective
    assert all(row.train_loss < row.objective for row in arms.values())
    methods = study.tables["methods"]
    assert sum(methods["shown"]) == 3
    shown = next(row for row in methods if row.method == "strang" and row.shown)
    distance = {row.setting: abs(np.log(row.error / 1e-5)) for row in methods if row.method == "strang"}
    assert distance[shown.setting] == min(distance.values())


def test_arms_cost_the_same(study):
    costs = [row.nfev for row in study.tables["digits"] if row.same_cost]
    assert max(costs) - min(costs) <= 8  # what locating a goal takes


def test_the_report_says_who_wins(study):
    text = demo.report(runs.open_run(study.folder))
    assert max(len(line) for line in text.splitlines() if str(study.folder) not in line) <= 104
    for word in ("1.952", "never", "who brakes early loses", "lowest objective: ", "energy balance", "cheapest at error 1e-5", "done in"):
        assert word in text


def test_figures_are_redrawn_from_the_files_alone(study, tmp_path):
    elsewhere = tmp_path / "copy"
    shutil.copytree(study.folder, elsewhere)
    before = {path.name: path.read_bytes() for path in (elsewhere / "figures").glob("*.csv")}
    shutil.rmtree(elsewhere / "figures")
    drawn = demo.draw(runs.open_run(elsewhere), elsewhere / "figures")
    assert [path.stem for path in drawn] == ["energies", "loss", "phase", "residuals", "work_precision"]
    assert {path.name: path.read_bytes() for path in (elsewhere / "figures").glob("*.csv")} == before


def test_an_executor_changes_nothing(study, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "draw", no_figures)
    with ThreadPoolExecutor(2) as executor:
        parallel = demo.run(SMALL, tmp_path, executor=executor)
    np.testing.assert_allclose(parallel.tables["digits"]["objective"], study.tables["digits"]["objective"], rtol=1e-12)
    np.testing.assert_array_equal(parallel.tables["digits"]["nfev"], study.tables["digits"]["nfev"])


def test_failures_are_reported(study, tmp_path):
    spoilt = tmp_path / "spoilt"
    shutil.copytree(study.folder, spoilt)
    rows = (spoilt / "methods.csv").read_text().splitlines()
    stopped = next(k for k, row in enumerate(rows) if row.startswith("sgd,"))
    rows[stopped] = rows[stopped].replace(",done", ",status -2: loss is nan after t = 1")
    rows[1] = rows[1].replace(",balanced", ",violated")
    (spoilt / "methods.csv").write_text("\n".join(rows) + "\n")
    run = runs.open_run(spoilt)
    assert failures(run) == ("strang, step 0.1: energy balance violated", "sgd, step 0.05: status -2: loss is nan after t = 1")
    text = demo.report(run)
    assert "1 of 18 runs stopped, 1 balance violated:" in text
    assert next(line for line in text.splitlines() if "  sgd " in line).endswith("status -2: loss is nan after t = 1")


def test_interruption_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "roll", interrupted)
    with pytest.raises(KeyboardInterrupt):
        demo.run(SMALL, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_arms_travel_to_other_processes():
    import pickle

    from phdyn.data import digits

    loss = network_loss(0, (64, 4, 10), digits(), images=20)
    arm = pickle.loads(pickle.dumps(Arm("timed", loss, (0.05, 3.0), 0.35, 1.0, 0.1)))
    sol = pickle.loads(pickle.dumps(train(arm)))
    assert sol.switches.first() == pytest.approx(0.35)
