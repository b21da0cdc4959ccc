"""Does the energy balance flag what is wrong, and nothing else?

Controls with a fault that it must flag, and healthy runs of every method that it must let pass; the table says what it said.

    OMP_NUM_THREADS=1 python experiments/verdict_cases.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

import phdyn
from phdyn import data, networks
from phdyn.friction import ConstantFriction, Damping
from phdyn.motion import HeavyBallMotion
from phdyn.potentials import Himmelblau, MullerBrown, MultiWell, Quadratic, Rosenbrock
from phdyn.tables import Table

Setting = dict[str, float]


@dataclass(frozen=True)
class Case:
    """One run, and whether its balance must be violated."""

    what: str
    method: str
    setting: Setting
    run: Callable[[str, Setting], phdyn.Solution]
    faulty: bool


class Pendulum:
    """V = 1 - cos q."""

    dim = 1

    def value(self, q: Any) -> float:
        return 1 - float(np.cos(q[0]))

    def value_and_grad(self, q: Any) -> tuple[float, Any]:
        return self.value(q), np.sin(q)


class WrongSign(Quadratic):
    """A quadratic whose gradient has the wrong sign in its second half."""

    def value_and_grad(self, q: Any) -> tuple[Any, Any]:
        height, slope = super().value_and_grad(q)
        slope = slope.copy()
        slope[len(slope) // 2 :] *= -1
        return height, slope


@contextmanager
def friction_applied(times: float) -> Iterator[None]:
    """Have every heavy ball apply its friction so many times, while it declares it once: a bug in a program."""
    damping, combine = HeavyBallMotion.damping, HeavyBallMotion.combine

    def wrong_damping(self: HeavyBallMotion, t: float, h: float) -> Damping:
        declared, law = damping(self, t, h), self.law
        self.law = ConstantFriction(times * law.rate(t))
        applied = damping(self, t, h)
        self.law = law
        return Damping(applied.decay, applied.drift, declared.lost)

    def wrong_combine(self: HeavyBallMotion, t: float, x: Any, g: Any, out: Any) -> Any:
        combine(self, t, x, g, out)
        out[self.dim :] -= (times - 1) * self.law.rate(t) * x[self.dim :] * self.inverse_mass
        return out

    with patch.object(HeavyBallMotion, "damping", wrong_damping), patch.object(HeavyBallMotion, "combine", wrong_combine):
        yield


def simulate(system: Any, t_end: float, x0: Any) -> Callable[[str, Setting], phdyn.Solution]:
    """Return a case's run."""
    return lambda method, setting: phdyn.simulate(system, (0.0, t_end), x0, method=method, record="energy", monitor=None, **setting)


def over_applied(times: float, system: Any, t_end: float, x0: Any) -> Callable[[str, Setting], phdyn.Solution]:
    """Return a run under friction that is applied too often."""

    def run(method: str, setting: Setting) -> phdyn.Solution:
        with friction_applied(times):
            return simulate(system, t_end, x0)(method, setting)

    return run


FAMILIES: tuple[tuple[str, Setting], ...] = (
    ("strang", {"step": 0.1}),
    ("blanes-moan-6", {"step": 0.5}),
    ("rk4", {"step": 0.1}),
    ("RK45", {"rtol": 1e-6, "atol": 1e-9}),
)


def controls() -> list[Case]:
    """Return the runs with a fault."""
    plane = [1.0, 0.7, 0.0, 0.3]
    negative = phdyn.PortHamiltonianSystem(
        np.eye(2), J=[[0.0, 1.0], [-1.0, 0.0]], R=lambda x: torch.diag(torch.tensor([0.02, -0.05], dtype=x.dtype))
    )
    feeding = phdyn.HeavyBall(Pendulum(), friction=phdyn.ScheduledFriction(lambda t: 0.2 * np.cos(t)))
    signs = phdyn.HeavyBall(WrongSign([1.0, 2.0]), friction=0.1)
    pendulum = phdyn.HeavyBall(Pendulum(), friction=0.1)
    coupled = phdyn.HeavyBall(Himmelblau(), friction=0.3)
    cases: list[Case] = []
    for method, setting in FAMILIES:
        if method in ("rk4", "RK45"):
            cases.append(Case("R with a negative eigenvalue", method, setting, simulate(negative, 40.0, [1.0, 0.0]), faulty=True))
        else:
            cases.append(Case("friction rate goes negative", method, setting, simulate(feeding, 40.0, [1.5, 0.0]), faulty=True))
        cases.append(Case("sign error in one block", method, setting, simulate(signs, 4.0, plane), faulty=True))
        for times in (2.0, 1.2):
            name = f"friction applied {times:g} times"
            cases.append(Case(f"{name}, pendulum", method, setting, over_applied(times, pendulum, 40.0, [1.5, 0.0]), faulty=True))
            fine = {"step": setting["step"] / 5} if "step" in setting else setting
            run = over_applied(times, coupled, 10.0, phdyn.at_rest([0.5, 0.5]))
            cases.append(Case(f"{name}, Himmelblau", method, fine, run, faulty=True))
    weak = phdyn.HeavyBall(Pendulum(), friction=1e-3)
    loose = {"rtol": 1e-3, "atol": 1e-6}
    cases.append(Case("scipy's default tolerances, friction 1e-3", "RK45", loose, simulate(weak, 200.0, [1.5, 0.0]), faulty=True))
    return cases


FINE: tuple[tuple[str, float], ...] = (
    ("explicit-euler", 0.002),
    ("conformal-euler", 0.02),
    ("sgd", 0.02),
    ("strang", 0.1),
    ("yoshida-4", 0.2),
    ("blanes-moan-s6", 0.5),
    ("blanes-moan-4", 0.5),
    ("blanes-moan-6", 0.8),
    ("rk4", 0.2),
)
"""Usual steps, in units of the fastest period over two pi."""

ADAPTIVE = ("RK45", "DOP853", "LSODA", "Radau", "dopri5", "dopri8")


def network(dtype: torch.dtype) -> phdyn.NetworkLoss:
    """Return the loss of a 64-16-10 network on 200 digits."""
    torch.manual_seed(0)
    digits = data.digits()
    model = networks.mlp((64, 16, 10)).to(dtype)
    return phdyn.NetworkLoss(model, torch.nn.functional.cross_entropy, digits.x_train[:200].to(dtype), digits.y_train[:200])


def healthy(*, networks_too: bool = True) -> list[Case]:
    """Return runs without a fault: each method at a usual step on landscapes, the pendulum and networks in both precisions."""
    problems: list[tuple[str, Any, float, Any, float]] = [
        ("pendulum", phdyn.HeavyBall(Pendulum(), friction=0.1), 40.0, [1.5, 0.0], 1.0),
        ("pendulum, friction 1e-3", phdyn.HeavyBall(Pendulum(), friction=1e-3), 100.0, [1.5, 0.0], 1.0),
        ("pendulum, no friction", phdyn.HeavyBall(Pendulum()), 60.0, [1.5, 0.0], 1.0),
        ("multi-well", phdyn.HeavyBall(MultiWell(), friction=0.2), 20.0, phdyn.at_rest([7.2]), 0.33),
        ("Himmelblau", phdyn.HeavyBall(Himmelblau(), friction=0.3), 8.0, phdyn.at_rest([0.5, 0.5]), 0.12),
        ("Rosenbrock", phdyn.HeavyBall(Rosenbrock(), friction=0.5), 3.0, phdyn.at_rest([-1.2, 1.0]), 0.025),
        ("Muller-Brown", phdyn.HeavyBall(MullerBrown(), friction=1.0), 1.0, phdyn.at_rest([-0.8, 0.6]), 0.015),
    ]
    if networks_too:
        for dtype in (torch.float32, torch.float64):
            loss = network(dtype)
            name = f"digits 64-16-10, {str(dtype).removeprefix('torch.')}"
            problems.append((name, phdyn.HeavyBall(loss, friction=0.3), 20.0, loss.initial_state(), 1.5))
    cases = []
    for name, system, t_end, x0, scale in problems:
        for method, step in FINE:
            if not (method == "explicit-euler" and system.friction.rate(0.0) < 0.05):  # unstable, or nearly so, at every step
                cases.append(Case(name, method, {"step": step * scale}, simulate(system, t_end, x0), faulty=False))
        single = "float32" in name
        tolerances = {"rtol": 1e-5, "atol": 1e-8} if single else {"rtol": 1e-8, "atol": 1e-10} if "1e-3" in name else {}
        affordable = [m for m in ADAPTIVE if not (m == "Radau" and "digits" in name)]  # a dense Jacobian by differences takes minutes
        cases += [Case(name, method, dict(tolerances), simulate(system, t_end, x0), faulty=False) for method in affordable]
    return cases


def coarse() -> list[Case]:
    """Return methods of order 1 on the pendulum at steps that grow: where the rule stops forgiving."""
    run = simulate(phdyn.HeavyBall(Pendulum(), friction=0.1), 40.0, [1.5, 0.0])
    methods, steps = ("explicit-euler", "conformal-euler", "sgd"), (0.01, 0.1, 0.5)
    return [Case("pendulum", method, {"step": step}, run, faulty=False) for method in methods for step in steps]


def judged(cases: list[Case]) -> Table:
    """Run the cases; return what was said of each."""
    rows: list[tuple[Any, ...]] = []
    for case in cases:
        sol = case.run(case.method, case.setting)
        balance = sol.energy_balance()
        setting = ", ".join(f"{name} {value:.3g}" for name, value in case.setting.items()) or "defaults"
        right = (balance.verdict == "violated") == case.faulty and (case.faulty or sol.success)
        share = balance.residual / balance.swing if balance.swing else float("nan")
        remark = "" if right else "flagged" if balance.verdict == "violated" else "MISSED"
        rows.append((case.what, case.method, setting, balance.verdict, f"{balance.slope:.1e}", f"{share:.1e}", remark))
    names = ("case", "method", "setting", "verdict", "slope", "residual/swing", "remark")
    return Table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def main() -> None:
    """Print both tables."""
    for title, cases in (
        ("controls: must be violated", controls()),
        ("healthy: must not be violated", healthy()),
        ("order 1 at growing steps", coarse()),
    ):
        table = judged(cases)
        wrong = sum(bool(remark) for remark in table["remark"])
        print(f"\n{title}: {len(table)} cases, {wrong} otherwise\n")
        for start in range(0, len(table), 50):
            rows = slice(start, start + 50)
            print(Table({name: list(table[name][rows]) for name in table.keys()}))  # noqa: SIM118 (iterating a table gives its rows)


if __name__ == "__main__":
    main()
