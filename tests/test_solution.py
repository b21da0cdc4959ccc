"""The Solution: its fields, its text, its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import phdyn
from phdyn import networks
from phdyn.potentials import MultiWell, Quadratic
from phdyn.solution import DenseOutput

BRAKE = phdyn.SwitchedFriction(explore=0.05, exploit=3.0, goal=phdyn.LossGoal(reduction=0.97))
TOY = phdyn.HeavyBall(MultiWell(), friction=BRAKE)


def toy(**options: Any) -> phdyn.Solution:
    return phdyn.simulate(TOY, (0.0, 20.0), phdyn.at_rest([7.2]), method="strang", step=0.02, **options)


def test_the_fields_of_a_heavy_balls_run() -> None:
    sol = toy(events=lambda t, x: x[0] - 3.0)
    assert sol.y.shape == (2, len(sol.t)) and sol.q.shape == sol.p.shape == (1, len(sol.t))
    assert np.shares_memory(sol.q, sol.y) and np.shares_memory(sol.p, sol.y)
    assert sol.t_end == 20.0 and sol.success and sol.status == 0 and sol.exception is None and sol.sol is None
    assert sol.y_events[0].shape == (len(sol.t_events[0]), 2)
    row = sol.switches[0]
    np.testing.assert_array_equal(row.x_before, row.x_after)
    k = int(np.flatnonzero(sol.t == row.time)[0])
    np.testing.assert_array_equal(row.x_after, sol.y[:, k])
    assert row.injected == 0.0 and row.trajectory == 0
    assert (row.loss, row.kinetic, row.hamiltonian) == (sol.energy.potential[k], sol.energy.kinetic[k], sol.energy.hamiltonian[k])
    assert sol.switches.first() == row.time and np.isnan(toy(t_eval=[]).near_misses["value"]).sum() == 0
    assert toy().t_events is None and toy().inputs is None and toy().outputs is None
    assert not hasattr(toy(record="energy").switches[0], "x_before")


def test_a_run_without_a_split() -> None:
    flow = phdyn.simulate(phdyn.GradientFlow(Quadratic([1.0])), (0.0, 1.0), [1.0])
    assert flow.q is None and flow.p is None
    circuit = phdyn.PortHamiltonianSystem(np.eye(2), [[0.0, 1.0], [-1.0, 0.0]], np.diag([0.0, 0.5]), G=[[0.0], [1.0]], u=lambda t, x: [3.0])
    sol = phdyn.simulate(circuit, (0.0, 1.0), [1.0, 0.0])
    assert sol.q is None and sol.energy.kinetic is None and sol.energy.potential is None
    np.testing.assert_array_equal(sol.inputs, np.full((1, len(sol.t)), 3.0))
    np.testing.assert_allclose(sol.outputs, sol.y[1:])


def test_how_a_solution_prints() -> None:
    sol = toy()
    switch = sol.switches[0]
    assert str(sol) == "\n".join(
        [
            "Solution: HeavyBall(MultiWell, n = 1) by strang, step 0.02",
            "  status 0    reached the end of the span, t = 20",
            f"  cost        {sol.nfev} gradients, 0 loss values, 1001 steps (0 rejected)",
            f"  switches    1: explore -> exploit at t = {switch.time:.4f}",
            f"  energy      H 4.5165 -> {sol.energy.hamiltonian[-1]:.4f}, balanced",
        ]
    )
    header, row = str(sol.switches).splitlines()
    assert header.split() == ["#", "time", "source", "target", "event", "loss", "kinetic", "hamiltonian"]
    assert row.split() == ["0", f"{switch.time:.4f}", "explore", "exploit", "LossGoal(reduction=0.97)", "0.1355", *row.split()[-2:]]
    model = networks.mlp((3, 4, 2))
    loss = phdyn.NetworkLoss(model, torch.nn.functional.cross_entropy, torch.randn(9, 3), torch.zeros(9, dtype=torch.long))
    trained = phdyn.simulate(phdyn.HeavyBall(loss), (0.0, 0.2), loss.initial_state(), method="strang", step=0.1)
    assert str(trained).startswith("Solution: HeavyBall(NetworkLoss, n = 26) by strang, step 0.1\n")
    plain = str(phdyn.simulate(lambda t, x: -x, (0.0, 1.0), [1.0]))
    assert "energy" not in plain and plain.startswith("Solution: fun <lambda>, 1 components by RK45, rtol 1e-06, atol 1e-09\n")


def test_many_switches_print_the_first_four() -> None:
    def swing(t: float, x: Any) -> float:
        return np.sin(3 * t + 0.1)

    class Back(phdyn.HeavyBall):
        laws = property(lambda self: {"a": phdyn.ConstantFriction(0.1), "b": phdyn.ConstantFriction(0.2)})
        transitions = property(lambda self: [phdyn.Transition("a", "b", swing), phdyn.Transition("b", "a", swing)])

    sol = phdyn.simulate(Back(Quadratic([1.0])), (0.0, 10.0), [1.0, 0.0], method="strang", step=0.05)
    line = next(line for line in str(sol).splitlines() if line.startswith("  switches"))
    assert len(sol.switches) == 9 and line.count("->") == 4 and line.endswith(", ... (9 in all)")
    np.testing.assert_allclose(sol.switches["time"], (np.pi * np.arange(1, 10) - 0.1) / 3, atol=1e-13)


def test_how_a_balance_prints() -> None:
    sol = toy()
    energy, balance = sol.energy, sol.energy_balance()
    assert str(balance).splitlines() == [
        "energy balanced: strang, order 2, step 0.02, float64",
        f"  H           4.5165 -> {energy.hamiltonian[-1]:.4f}     change       {energy.hamiltonian[-1] - energy.hamiltonian[0]:.4f}",
        f"  dissipated  {energy.dissipated[-1]:.4f}     supplied  0.0000     injected  0.0000",
        f"  residual    {np.abs(energy.residual).max():.1e} at t = {balance.time:.1f}, {100 * balance.residual / balance.swing:.1f} %"
        f" of the energy's swing     slope on dissipated work  {balance.slope:.3f}",
    ]
    swing = max(np.ptp(energy.kinetic), np.ptp(energy.potential))
    assert balance.swing == pytest.approx(swing) and balance.holds and balance.kind == "order"


def test_a_plain_function_has_no_balance() -> None:
    sol = phdyn.simulate(lambda t, x: -x, (0.0, 1.0), [1.0])
    with pytest.raises(phdyn.ArgumentError, match="a plain fun"):
        sol.energy_balance()


SAVED = {
    "switched": lambda: toy(events=[lambda t, x: x[0] - 3.0, phdyn.LossGoal(value=-1.0)], observables={"V": lambda point: point.potential}),
    "thin": lambda: toy(record="energy"),
    "plain": lambda: phdyn.simulate(lambda t, x: -x, (0.0, 1.0), [1.0]),
    "no split": lambda: phdyn.simulate(phdyn.PortHamiltonianSystem(np.eye(2), np.zeros((2, 2)), np.eye(2)), (0.0, 1.0), [1.0, 2.0]),
    "float32": lambda: phdyn.simulate(TOY, (0.0, 1.0), np.float32([7.2, 0.0]), method="rk4", step=0.1),
    "failed": lambda: phdyn.simulate(phdyn.HeavyBall(Fails()), (0.0, 9.0), [1.0, 0.0], method="rk4", step=0.1, monitor=None),
}


class Fails(Quadratic):
    def __init__(self) -> None:
        super().__init__([1.0])

    def value_and_grad(self, q: Any) -> Any:
        if q[0] < -0.5:
            raise ZeroDivisionError("off the map")
        return super().value_and_grad(q)


def sol_columns(table: Any) -> tuple[str, ...]:
    return table.keys()


@pytest.mark.parametrize("name", SAVED)
def test_a_saved_solution_comes_back(name: str, tmp_path: Path) -> None:
    sol = SAVED[name]()
    path = tmp_path / "run.npz"
    sol.save(path)
    back = phdyn.load(path)
    for field in ("t", "y", "modes"):
        np.testing.assert_array_equal(getattr(back, field), getattr(sol, field))
        assert getattr(back, field).dtype == getattr(sol, field).dtype and not getattr(back, field).flags.writeable
    counts = ("nfev", "nvev", "njev", "nlu", "nsteps", "nrejected")
    for field in (*counts, "t_end", "status", "message", "success", "setting", "label", "units"):
        assert getattr(back, field) == getattr(sol, field), field
    assert str(back) == str(sol) and str(back.switches) == str(sol.switches)
    for field in ("switches", "near_misses", "observed"):
        mine, theirs = getattr(back, field), getattr(sol, field)
        assert mine.keys() == theirs.keys()
        for column in sol_columns(mine):
            np.testing.assert_array_equal(mine[column], theirs[column])
    assert (back.t_events is None) == (sol.t_events is None)
    for field in ("t_events", "y_events"):
        for mine, theirs in zip(getattr(back, field) or [], getattr(sol, field) or [], strict=True):
            np.testing.assert_array_equal(mine, theirs)
    if sol.energy is None:
        assert back.energy is None and back.balance is None
    else:
        assert back.energy_balance() == sol.energy_balance()
        for column, values in vars(sol.energy).items():
            np.testing.assert_array_equal(getattr(back.energy, column), values)
    assert (back.q is None) == (sol.q is None) and back.state is None and back.system is None
    if name == "failed":
        assert back.status == -7 and "off the map" in str(back.exception)


def test_files_that_are_none_of_ours(tmp_path: Path) -> None:
    with pytest.raises(phdyn.ArgumentError, match=r"saved as \.npz, not 'run\.txt'"):
        toy().save(tmp_path / "run.txt")
    with pytest.raises(phdyn.ArgumentError, match="there is no file"):
        phdyn.load(tmp_path / "nothing.npz")
    (tmp_path / "text.npz").write_text("text")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    (tmp_path / "cut.npz").write_bytes((lambda path: (toy().save(path), path.read_bytes())[1])(tmp_path / "whole.npz")[:2000])
    for name in ("text", "other", "objects", "cut"):
        with pytest.raises(phdyn.ArgumentError, match="is not a solution that phdyn saved"):
            phdyn.load(tmp_path / f"{name}.npz")


def test_dense_output_backward_and_outside() -> None:
    back = phdyn.simulate(phdyn.HeavyBall(Quadratic([1.0])), (2.0, 0.0), [1.0, 0.0], method="blanes-moan-6", step=0.1, dense_output=True)
    t = np.linspace(0, 2, 7)
    np.testing.assert_allclose(back.sol(t), [np.cos(t - 2), -np.sin(t - 2)], atol=1e-7)
    assert back.sol(2.0) == pytest.approx([1.0, 0.0]) and back.sol(np.float64(0.0)).shape == (2,)


def test_dense_output_of_trajectories_that_share_their_steps() -> None:
    def path(theta: float) -> torch.Tensor:
        return torch.arange(6.0).reshape(2, 3) + theta  # (size, B)

    dense = DenseOutput([0.0, 1.0], [1.0, 2.0], [path, path])
    assert dense(0.5).shape == (3, 2) and dense([0.5, 1.5, 2.0]).shape == (3, 2, 3)
    np.testing.assert_array_equal(dense(0.5), [[0.5, 3.5], [1.5, 4.5], [2.5, 5.5]])
    np.testing.assert_array_equal(dense[1]([0.5, 2.0]), [[1.5, 2.0], [4.5, 5.0]])
