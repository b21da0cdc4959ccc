"""The command line: exit statuses, streams, and one line for bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from phdyn import cli, load, runs
from phdyn.potentials import MultiWell

TOY = """
system:
  potential: {name: multi-well}
  friction: {explore: 0.05, exploit: 3.0, goal: {reduction: 0.97}}
t_span: [0, 20]
q0: [7.2]
method: strang
step: 0.05
record: states
"""
DEMO = """
toy: {explore: [0.0], goals: [0.7, 0.03], step: 0.05, t_end: 30, shown: 0.0}
digits: {sizes: [64, 4, 10], t_end: 3, step: 0.1, goals: [0.02], release: 0.01, flow_rtol: 1.0e-3}
methods: {sizes: [64, 3, 10], images: 40, t_end: 2, settings: {strang: [0.1, 0.02]}}
"""
GOALS = """
sizes: [64, 8, 10]
images: 200
epochs: 2
goals: [0.1]
grids:
  sgd_lr: [0.2]
  momentum_lr: [0.1]
  momentum: [0.9]
  clock_lr: [0.1]
  clock_time: [0.5]
  cosine_lr: [0.1]
  cosine_momentum: [0.9]
  goal_lr: [0.1]
  goal_exploit: [0.5]
  adamw_lr: [0.01]
  adamw_decay: [0.0]
tuning_seeds: 1
seeds: 6
lengths: [1.0, 2.0]
goal_map: {momenta: []}
"""


@pytest.fixture
def toy(tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_text(TOY)
    return path


def the_run(root):
    (folder,) = Path(root).iterdir()
    return runs.open_run(folder)


def test_simulate_prints_saves_and_is_shown(toy, tmp_path, capsys):
    out = tmp_path / "runs"
    assert cli.main(["simulate", str(toy), "--out", str(out), "--quiet"]) == 0
    printed = capsys.readouterr()
    assert "explore -> exploit" in printed.out
    assert "energy balanced: strang, order 2, step 0.05, float64" in printed.out
    assert printed.err == ""
    run = the_run(out)
    assert load(run.path / "trajectory.npz").switches[0].event == "LossGoal(reduction=0.97)"
    assert [path.stem for path in run.figures] == ["energies", "loss", "phase"]
    assert run.config["system"]["friction"]["goal"]["reduction"] == 0.97
    assert cli.main(["show", str(run.path), "--out", str(tmp_path / "again")]) == 0
    shown = capsys.readouterr()
    assert shown.out == printed.out
    assert "again/phase.png" in shown.err
    assert {path.name for path in (tmp_path / "again").iterdir()} == {path.name for path in (run.path / "figures").iterdir()}


def test_flags_override_the_file(toy, tmp_path):
    words = ["simulate", str(toy), "--out", str(tmp_path / "runs"), "--quiet", "--record", "energy"]
    assert cli.main([*words, "--method", "RK45", "--step", "null", "--rtol", "1e-8", "--system.friction.goal.reduction", "0.3"]) == 0
    run = the_run(tmp_path / "runs")
    assert run.config["method"] == "RK45"
    assert run.tables()["run"][0].loss == pytest.approx(1.952, abs=5e-4)


def test_a_network_starts_from_its_seed(tmp_path, capsys):
    path = tmp_path / "network.yaml"
    path.write_text("system: {network: {sizes: [64, 4, 10], images: 50}, friction: {rate: 0.3}}\nt_span: [0, 2]\nstep: 0.2\nseed: 3\n")
    assert cli.main(["simulate", str(path), "--out", str(tmp_path / "runs"), "--quiet"]) == 0
    row = the_run(tmp_path / "runs").tables()["run"][0]
    assert 0 < row.accuracy < 1
    assert row.nfev == 11
    assert "NetworkLoss, n = 310" in capsys.readouterr().out


def test_landscapes_take_parameters_and_their_dimension(tmp_path):
    path = tmp_path / "rosenbrock.yaml"
    system = "system: {potential: {name: Rosenbrock}, friction: {rate: 0.5}}\n"
    path.write_text(system + "t_span: [0, 1]\nq0: [-1.2, 1]\nstep: 0.005\nrecord: states\n")
    assert cli.main(["simulate", str(path), "--out", str(tmp_path / "two"), "--quiet"]) == 0
    assert "path" in [figure.stem for figure in the_run(tmp_path / "two").figures]
    words = ["--q0", "[-1.2, 1, 1]", "--record", "energy"]
    assert cli.main(["simulate", str(path), "--out", str(tmp_path / "three"), "--quiet", *words]) == 0


def test_a_violated_balance_is_status_1(toy, tmp_path, capsys):
    words = ["simulate", str(toy), "--out", str(tmp_path / "runs"), "--quiet", "--method", "explicit-euler"]
    assert cli.main(words) == 1
    assert "VIOLATED" in capsys.readouterr().out


def test_a_run_that_stops_is_status_1_and_saved(toy, tmp_path, capsys):
    words = ["simulate", str(toy), "--out", str(tmp_path / "runs"), "--quiet"]
    assert cli.main([*words, "--method", "explicit-euler", "--step", "5", "--t_span", "[0, 5000]"]) == 1
    assert "status -2" in capsys.readouterr().out
    assert the_run(tmp_path / "runs").numbers["status"] == -2


def test_methods(capsys):
    assert cli.main(["methods"]) == 0
    few = capsys.readouterr().out
    assert cli.main(["methods", "--all"]) == 0
    every = capsys.readouterr().out
    assert "strang" in few
    assert "DOP853" in few
    assert "yoshida-4" not in few
    assert "yoshida-4" in every


def test_print_config_is_a_configuration(toy, tmp_path, capsys):
    with pytest.raises(SystemExit) as done:
        cli.main(["simulate", str(toy), "--step", "0.04", "--print_config"])
    assert done.value.code == 0
    again = tmp_path / "again.yaml"
    again.write_text(capsys.readouterr().out)
    assert cli.main(["simulate", str(again), "--out", str(tmp_path / "runs"), "--quiet"]) == 0
    assert the_run(tmp_path / "runs").config["step"] == 0.04


BAD = [
    ([], "a command is needed"),
    (["dance"], "unknown command 'dance'"),
    (["simulate"], "t_span"),
    (["simulate", "missing.yaml"], "no configuration file missing.yaml"),
    (["simulate", "{toy}", "--method", "strange"], "did you mean 'strang'"),
    (["simulate", "{toy}", "--step", "-1"], "step is -1"),
    (["simulate", "{toy}", "--step", "seven"], "seven"),
    (["simulate", "{toy}", "--speed", "1"], "speed"),
    (["simulate", "{toy}", "--rtol", "1e-3"], "takes fixed steps"),
    (["simulate", "{toy}", "--system.friction.goal.reduction", "80"], "for 80 % write 0.8"),
    (["simulate", "{toy}", "--system.friction.rate", "1"], "friction needs either rate"),
    (["simulate", "{toy}", "--system.potential.name", "hill"], "unknown potential 'hill'"),
    (["simulate", "{toy}", "--system.potential.parameters", "{slope: 1}"], "slope"),
    (["simulate", "{toy}", "--q0", "null"], "q0"),
    (["simulate", "{toy}", "--q0", "[1, 2]"], "q0 has 2 components"),
    (["simulate", "{toy}", "--system.network", "{sizes: [64, 10]}"], "either a potential or a network"),
    (["demo", "--methods.settings", "{strange: [0.1]}"], "unknown method 'strange'"),
    (["demo", "--methods.settings", "{}"], "needs settings"),
    (["demo", "--toy.shown", "0.7"], "shown=0.7"),
    (["demo", "--digits.goals", "[]"], "goals"),
    (["demo", "--seed", "x"], "seed"),
    (["goal-oriented", "missing.yaml"], "no configuration file missing.yaml"),
    (["goal-oriented", "--goals", "[15]"], "for 15 % write 0.15"),
    (["goal-oriented", "--seeds", "1"], "seeds is 1"),
    (["goal-oriented", "--workers", "-1"], "workers is -1"),
    (["goal-oriented", "--cells", "missing.jsonl"], "missing.jsonl cannot be read"),
    (["goal-oriented", "--dataset", "cifar10", "--data-dir", "nowhere"], "nowhere"),
    (["show", "nothing"], "no run folder"),
    (["show", "."], "not a run folder"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_is_one_line_and_writes_nothing(words, message, toy, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert cli.main([word.format(toy=toy) if word == "{toy}" else word for word in words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("phdyn: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert sorted(tmp_path.rglob("*")) == before


def test_the_demo_as_a_process(tmp_path):
    (tmp_path / "demo.yaml").write_text(DEMO)
    words = [sys.executable, "-m", "phdyn", "demo", "--config", "demo.yaml", "--quiet"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "MPLBACKEND": "Agg"})
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "1.952" in done.stdout
    assert "energy balance" in done.stdout
    (folder,) = (tmp_path / "runs" / "demo").iterdir()  # without --out
    assert json.loads((folder / "numbers.json").read_text())["digits"]["parameters"] == 310
    assert len(list(folder.rglob("*.png"))) == 5


@pytest.fixture
def ctrl_c(monkeypatch):
    """Ctrl-C comes at the hundredth gradient."""
    gradient, count = MultiWell._gradient, iter(range(10**6))

    def interrupting(self, *args):
        if next(count) == 100:
            signal.raise_signal(signal.SIGINT)
        return gradient(self, *args)

    monkeypatch.setattr(MultiWell, "_gradient", interrupting)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_is_130_and_keeps_what_was_computed(toy, tmp_path, capsys):
    assert cli.main(["simulate", str(toy), "--out", str(tmp_path / "runs"), "--quiet"]) == 130
    assert "status -6" in capsys.readouterr().out
    run = the_run(tmp_path / "runs")
    assert run.numbers["status"] == -6
    assert 0 < load(run.path / "trajectory.npz").t_end < 20


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_in_the_demo_is_130_and_leaves_nothing(tmp_path, capsys):
    assert cli.main(["demo", "--out", str(tmp_path / "runs"), "--quiet"]) == 130
    assert capsys.readouterr() == ("", "phdyn: stopped\n")
    assert not list(tmp_path.rglob("*.json"))


def goal_oriented(folder, **options):
    words = [sys.executable, "-m", "phdyn", "goal-oriented", "goals.yaml", "--quiet", "--workers", "1"]
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env={**os.environ, "MPLBACKEND": "Agg"}, **options
    )


@pytest.mark.slow
def test_ctrl_c_in_the_goal_study_names_the_command_that_goes_on(tmp_path):
    (tmp_path / "goals.yaml").write_text(GOALS)
    stopped = goal_oriented(tmp_path)
    while not (files := list(tmp_path.glob("runs/goal-oriented/*-cells/cells.jsonl"))) or files[0].read_bytes().count(b"\n") < 3:
        assert stopped.poll() is None, stopped.communicate()
        time.sleep(0.02)
    stopped.send_signal(signal.SIGINT)
    out, err = stopped.communicate(timeout=60)
    assert stopped.returncode == 130, err
    assert out == ""
    assert err.startswith("phdyn: stopped: ")
    assert err.endswith("; to go on: phdyn goal-oriented goals.yaml --quiet --workers 1\n")
    assert err.count("\n") == 1
    kept = files[0].read_bytes().count(b"\n")
    out, err = (again := goal_oriented(tmp_path)).communicate(timeout=120)
    assert again.returncode == 0, err
    assert err == ""
    assert f"{kept} of them found finished" in out
    (folder,) = (tmp_path / "runs" / "goal-oriented").iterdir()
    assert len(runs.open_run(folder).figures) == 6
