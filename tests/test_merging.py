"""Single runs become a batch, and the batch gives them back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot as plt

import phdyn
from phdyn import plots
from phdyn.merging import merge
from phdyn.potentials import Himmelblau, Quadratic

BRAKE = phdyn.SwitchedFriction(explore=0.2, exploit=5.0, goal=phdyn.LossGoal(reduction=0.99))
BALL = phdyn.HeavyBall(Himmelblau(), friction=BRAKE)
STARTS = ([1.0, 1.0], [-2.0, 3.0], [4.0, -1.0], [0.2, 0.1])


def far(t: float, x: Any) -> float:
    return x[0] - 3.05


far.terminal = True  # type: ignore[attr-defined]


def runs(**options: Any) -> list[phdyn.Solution]:
    options = {"method": "strang", "step": 0.01, "record": "ends", "events": [far], "dense_output": True} | options
    return [phdyn.simulate(BALL, (0.0, 3.0), phdyn.at_rest(q), **options) for q in STARTS]


def same(mine: phdyn.Solution, want: phdyn.Solution) -> None:
    """Compare all that a single run knows."""
    assert str(mine) == str(want)
    assert mine.batch is None and want.batch is None
    for name in ("t", "y", "modes"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(want, name))
    for name in ("nfev", "nvev", "njev", "nlu", "nsteps", "nrejected", "t_end", "status", "message", "success", "exception"):
        assert getattr(mine, name) == getattr(want, name) and isinstance(getattr(want, name), type(getattr(mine, name))), name
    assert mine.energy_balance() == want.energy_balance()
    for name in ("switches", "near_misses", "observed"):
        assert str(getattr(mine, name)).replace("no switch", "") in str(getattr(want, name)), name
    for name in ("t_events", "y_events"):
        for ours, theirs in zip(getattr(mine, name), getattr(want, name), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_batch_of_runs_gives_each_of_them_back() -> None:
    singles = runs()
    sol = merge(singles)
    assert sol.batch == 4 and sol.y.shape == (4, 4, 2) and sol.q.shape == sol.p.shape == (4, 2, 2)
    np.testing.assert_array_equal(sol.t, [0.0, 3.0])
    np.testing.assert_array_equal(sol.y[..., -1], [one.state.x for one in singles])
    assert sol.status.tolist() == [1, 0, 1, 1] and sol.success.all() and sol.t_end[1] == 3.0
    assert sol.modes.tolist() == [["explore"] * 2, ["explore", "exploit"], ["explore"] * 2, ["explore"] * 2]
    assert sol.energy.hamiltonian.shape == (4, 2) and sol.energy_balance().holds.shape == (4,)
    first = sol.switches.first()
    assert first[1] == singles[1].switches.first() and np.isnan(first[[0, 2, 3]]).all()
    assert sol.near_misses["trajectory"].tolist() == [0, 2, 3]
    for k, single in enumerate(singles):
        one = sol.trajectory(k)
        same(one, single)
        for column, values in vars(single.energy).items():
            if values is not None:
                np.testing.assert_array_equal(getattr(one.energy, column), values[[0, -1]])
        assert one.state.t == single.state.t and str(one.state.guards) == str(single.state.guards)
        assert one.state.sums.slope(1) == pytest.approx(single.state.sums.slope(1))
    assert not sol.y.flags.writeable and not sol.nfev.flags.writeable
    same(sol.trajectory(-1), singles[3])
    with pytest.raises(phdyn.ArgumentError, match="no trajectory 4: this batch has 4"):
        sol.trajectory(4)
    with pytest.raises(phdyn.ArgumentError, match="no trajectories to pick"):
        sol.trajectory(0).trajectory(0)


def test_how_a_batch_prints() -> None:
    singles = runs()
    assert str(merge(singles)).splitlines() == [
        "Solution: HeavyBall(Himmelblau, n = 2), 4 trajectories, by strang, step 0.01",
        f"  status 1    3: {singles[0].message}, ...",
        "  status 0    1: reached the end of the span, t = 3",
        f"  cost        32 / 41.5 / {max(sol.nfev for sol in singles)} gradients, 27 / 36.5 / 301 steps (least / median / most);"
        f" {sum(sol.nvev for sol in singles)} loss values and 0 rejected steps in all",
        "  switches    1 in 1 of 4 trajectories, t from 0.2294 to 0.2294",
        "  energy      4 balanced",
    ]
    never = merge(runs()[2:])
    assert str(never.switches) == "no switch in any of the 2 trajectories" and "switches" not in str(never)


def test_a_grid_is_held_after_an_early_end() -> None:
    grid = np.linspace(0.0, 3.0, 31)
    singles = runs(t_eval=grid, record="states")
    sol = merge(singles, t=grid)
    np.testing.assert_array_equal(sol.t, grid)
    assert sol.y.shape == (4, 4, 31)
    last = len(singles[0].t)
    np.testing.assert_array_equal(sol.y[0, :, :last], singles[0].y)
    np.testing.assert_array_equal(sol.y[0, :, last:], np.repeat(singles[0].state.x[:, None], 31 - last, axis=1))
    assert sol.energy.t.shape == (31,) and sol.energy.residual.shape == (4, 31)
    np.testing.assert_array_equal(sol.energy.hamiltonian[0, last:], singles[0].energy.hamiltonian[-1])
    at = [int(np.argmin(abs(singles[1].energy.t - s))) for s in grid]  # step ends are k 0.01, off by rounding, and a switch lies between
    np.testing.assert_array_equal(sol.energy.hamiltonian[1], singles[1].energy.hamiltonian[at])
    one = sol.trajectory(0)
    assert one.t[-1] == one.energy.t[-1] == singles[0].t_end and len(one.t) == last + 1
    np.testing.assert_array_equal(one.y[:, -1], singles[0].state.x)


def test_adaptive_runs_have_energies_at_both_ends() -> None:
    grid = np.linspace(0.0, 3.0, 7)
    adaptive = {"method": "DOP853", "step": None, "t_eval": grid}
    singles = runs(**adaptive)
    sol = merge(singles)
    assert sol.y.shape == (4, 4, 7)
    np.testing.assert_array_equal(sol.energy.t, [0.0, 3.0])
    np.testing.assert_array_equal(sol.energy.residual[:, 1], [one.energy.residual[-1] for one in singles])


def test_dense_output_of_a_batch() -> None:
    singles = runs()
    sol = merge(singles)
    assert sol.sol(0.2).shape == (4, 4) and sol.sol([0.1, 0.2]).shape == (4, 4, 2) and sol.sol([]).shape == (4, 4, 0)
    for k, single in enumerate(singles):
        np.testing.assert_array_equal(sol.sol(0.2)[k], single.sol(0.2))
        np.testing.assert_array_equal(sol.sol(3.0)[k], single.sol(min(single.t_end, 3.0)))
    np.testing.assert_array_equal(sol.trajectory(1).sol(0.7), singles[1].sol(0.7))
    with pytest.raises(phdyn.ArgumentError, match="knows t from 0 to 3, not 4 to 4"):
        sol.sol(4.0)
    assert merge(runs(dense_output=False)).sol is None


def test_a_merged_state_goes_on_trajectory_by_trajectory() -> None:
    singles = runs(events=None)
    state = merge(singles).state
    assert state.batch == 4 and state.t == 3.0 and state.x.shape == (4, 4) and state.guards[0].closest.shape == (4,)
    for k, single in enumerate(singles):
        mine, want = (phdyn.simulate(BALL, (3.0, 4.0), s, method="strang", step=0.01) for s in (state[k], single.state))
        np.testing.assert_array_equal(mine.y, want.y)
        np.testing.assert_array_equal(mine.energy.residual, want.energy.residual)
        assert mine.energy_balance().slope == pytest.approx(want.energy_balance().slope, rel=1e-8)
    assert np.ndim(merge(runs()).state.t) == 1
    with pytest.raises(TypeError, match="single run"):
        state[0][0]


def test_observables_backward_runs_and_systems_without_energies() -> None:
    seen = {"x": lambda point: point.x[0]}
    flow = [phdyn.simulate(lambda t, x: -x, (1.0, 0.0), [float(k)], record="ends", observables=seen) for k in (1, 2)]
    sol = merge(flow, label="two decays")
    assert sol.energy is None and sol.balance is None and sol.label == "two decays" and sol.t.tolist() == [1.0, 0.0]
    assert sol.observed.keys() == ("trajectory", "time", "x") and (sol.observed["x"][sol.observed["trajectory"] == 1] >= 2.0 - 1e-9).all()
    np.testing.assert_array_equal(sol.trajectory(1).observed["x"], flow[1].observed["x"])
    circuits = [phdyn.simulate(phdyn.PortHamiltonianSystem(np.eye(2), np.zeros((2, 2)), np.eye(2), G=[[0.0], [1.0]], u=lambda t, x: [x[0]]),
                               (0.0, 1.0), [1.0, k], record="ends") for k in (1.0, 2.0)]
    both = merge(circuits)
    assert both.q is None and both.energy.kinetic is None and both.inputs.shape == both.outputs.shape == (2, 1, 2)
    np.testing.assert_array_equal(both.inputs[:, 0], both.y[:, 0])
    np.testing.assert_array_equal(both.outputs[1], circuits[1].outputs)
    assert both.state.sums.figures().swing == pytest.approx([one.energy_balance().swing for one in circuits])


def test_a_run_that_failed_at_the_start() -> None:
    class Hole(Quadratic):
        def value_and_grad(self, q: Any) -> Any:
            value, gradient = super().value_and_grad(q)
            return (np.nan if q[0] > 5 else value), gradient

    ball = phdyn.HeavyBall(Hole([1.0]))
    singles = [phdyn.simulate(ball, (0.0, 1.0), [q, 0.0], method="strang", step=0.1, record="ends", dense_output=True) for q in (1.0, 6.0)]
    sol = merge(singles)
    assert sol.status.tolist() == [0, -2] and sol.success.tolist() == [True, False]
    np.testing.assert_array_equal(sol.y[1], [[6.0, 6.0], [0.0, 0.0]])
    np.testing.assert_array_equal(sol.sol(0.5)[1], [6.0, 0.0])
    assert sol.trajectory(1).t.tolist() == [0.0] and sol.trajectory(1).sol is None
    assert "  status -2   1: loss is nan at t = 0, the start" in str(sol)


def test_runs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(phdyn.ArgumentError, match="nothing to merge"):
        merge([])
    singles = runs(record="states", dense_output=False)
    with pytest.raises(phdyn.ArgumentError, match=r"run 0 has no state at t = 0.005: merge needs runs with the same t_eval"):
        merge(singles, t=[0.0, 0.005])


@pytest.mark.parametrize("energies", [True, False])
def test_a_saved_batch_comes_back(energies: bool, tmp_path: Path) -> None:
    sol = merge(runs(events=[far, lambda t, x: x[1]]))
    sol = replace(sol, exception=[None, ZeroDivisionError("off the map"), None, None])
    if not energies:
        sol = replace(sol, energy=None, balance=None, t_events=None, y_events=None)
    sol.save(tmp_path / "batch.npz")
    back = phdyn.load(tmp_path / "batch.npz")
    assert back.batch == 4 and str(back) == str(sol) and str(back.switches) == str(sol.switches)
    for name in ("t", "y", "modes", "nfev", "nsteps", "t_end", "status", "message", "success"):
        mine, want = getattr(back, name), getattr(sol, name)
        np.testing.assert_array_equal(mine, want)
        assert mine.dtype == want.dtype and not mine.flags.writeable
    np.testing.assert_array_equal(back.switches.first(), sol.switches.first())
    assert "off the map" in str(back.exception[1]) and back.exception[0] is None
    if not energies:
        assert back.energy is None and back.balance is None and back.t_events is None
        return
    assert str(back.energy_balance()) == str(sol.energy_balance()) and back.energy_balance()[2] == sol.energy_balance()[2]
    for name in ("t_events", "y_events"):
        for mine, want in zip(getattr(back, name), getattr(sol, name), strict=True):
            assert [part.tolist() for part in mine] == [part.tolist() for part in want]
            assert [part.shape for part in mine] == [part.shape for part in want]
    same(back.trajectory(1), replace(sol.trajectory(1), exception=back.exception[1]))


def test_a_trajectory_can_be_drawn() -> None:
    sol = merge(runs(t_eval=np.linspace(0.0, 3.0, 31), record="states"))
    with pytest.raises(phdyn.ArgumentError, match=r"holds 4: pick one, plot_energy\(sol\.trajectory\(0\)\)"):
        phdyn.plot_energy(sol)
    for plot in (phdyn.plot_energy, plots.plot_path, plots.plot_residual, plots.plot_loss, plots.plot_modes):
        plot(sol.trajectory(1))
    shares = {str(line.get_label()): line.get_ydata() for line in plots.plot_modes(sol).lines}
    np.testing.assert_array_equal(shares["explore"], [100.0, 75.0, 75.0])
    plots.plot_basins(sol, [0, 1, 2, -1])
    plt.close("all")
