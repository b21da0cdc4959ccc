"""Solutions made by hand: what plots and run folders need of one, with physics that a reader can follow."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from phdyn.potentials import Himmelblau, MultiWell, Rosenbrock
from phdyn.tables import SwitchTable, Table

STRANG = SimpleNamespace(name="strang", order=2, kind="order", family="splitting")
RK4 = SimpleNamespace(name="rk4", order=4, kind="order", family="runge-kutta")
GONZALEZ = SimpleNamespace(name="gonzalez", order=2, kind="exact", family="discrete gradient")
DOP853 = SimpleNamespace(name="DOP853", order=8, kind="tolerance", family="adaptive")
RK45 = SimpleNamespace(name="RK45", order=5, kind="tolerance", family="adaptive")

COLUMNS = ("time", "source", "target", "event", "loss", "kinetic", "hamiltonian", "injected")


def switches(*rows: tuple[Any, ...]) -> Table:
    return columns(rows, *COLUMNS)


def columns(rows: Any, *names: str) -> Table:
    return Table({name: [row[k] for row in rows] for k, name in enumerate(names)})


def energies(t: Any, kinetic: Any, potential: Any, dissipated: Any, supplied: Any = 0.0, injected: Any = 0.0) -> SimpleNamespace:
    hamiltonian = kinetic + potential
    supplied, injected = (np.broadcast_to(np.asarray(value, dtype=float), t.shape) for value in (supplied, injected))
    residual = hamiltonian - hamiltonian[0] + dissipated - supplied - injected
    return SimpleNamespace(
        t=t,
        kinetic=kinetic,
        potential=potential,
        hamiltonian=hamiltonian,
        dissipated=dissipated,
        supplied=supplied,
        injected=injected,
        residual=residual,
    )


def solution(t: Any, q: Any, p: Any, energy: Any, table: Table, **rest: Any) -> SimpleNamespace:
    swing = max(np.ptp(energy.kinetic), np.ptp(energy.potential))
    balance = SimpleNamespace(verdict="balanced", kind="order", holds=True, swing=swing, residual=np.abs(energy.residual).max())
    modes = np.full(len(t), table[0].source if len(table) else "motion", dtype=object)
    for row in table:
        modes[t >= row.time] = row.target
    known = dict(nfev=len(t), nsteps=len(t) - 1, method=STRANG, units=None, system=SimpleNamespace(potential=None))
    fields = {**known, **rest}
    return SimpleNamespace(
        t=t,
        y=np.vstack([q, p]),
        q=q,
        p=p,
        modes=modes,
        switches=table,
        energy=energy,
        energy_balance=lambda: balance,
        **fields,
    )


def ball(
    potential: Any,
    start: Any,
    t_end: float,
    step: float,
    friction: Callable[[float, float], float],
    **rest: Any,
) -> SimpleNamespace:
    """Strang's splitting of a heavy ball from rest; ``friction(V, now)`` is asked for its rate at each step."""
    count = round(t_end / step)
    t = np.linspace(0.0, t_end, count + 1)
    q, p = np.array(start, dtype=float), np.zeros(len(start))
    gamma = friction(float(potential.value(q)), np.nan)
    states, work, rows = [(q, p)], [0.0], []
    for k in range(count):
        value, gradient = potential.value_and_grad(q)
        new = friction(float(value), gamma)
        if new != gamma:
            kinetic = float(p @ p) / 2
            rows.append(
                (
                    t[k],
                    "explore",
                    "exploit",
                    "LossGoal(reduction=0.97)",
                    float(value),
                    kinetic,
                    kinetic + float(value),
                    0.0,
                )
            )
            gamma = new
        p = p - step / 2 * gradient
        decay = np.exp(-gamma * step)
        lost = float(p @ p) * (1 - decay**2) / 2
        q, p = q + p * (-np.expm1(-gamma * step) / gamma if gamma else step), decay * p
        p = p - step / 2 * potential.value_and_grad(q)[1]
        states.append((q, p))
        work.append(work[-1] + lost)
    q, p = (np.array(parts).T for parts in zip(*states, strict=True))
    energy = energies(t, (p * p).sum(0) / 2, potential.value(q.T), np.array(work))
    return solution(t, q, p, energy, switches(*rows), **{"system": SimpleNamespace(potential=potential), **rest})


def toy(step: float = 0.02, reduction: float = 0.97, t_end: float = 20.0, **rest: Any) -> SimpleNamespace:
    """The multi-well toy: roll with friction 0.05 until the loss has fallen by ``reduction``, then brake with 3."""
    potential = MultiWell()
    goal = (1 - reduction) * float(potential.value(np.array([7.2])))
    return ball(potential, [7.2], t_end, step, lambda value, now: 3.0 if now == 3.0 or value <= goal else 0.05, **rest)


def valley(**rest: Any) -> SimpleNamespace:
    """Rosenbrock's valley with friction 0.5, then 5."""
    return ball(Rosenbrock(), [-1.2, 1.0], 12.0, 0.01, lambda value, now: 5.0 if now == 5.0 or value <= 0.05 else 0.5, **rest)


def oscillator(friction: float, noise: float = 0.0, **rest: Any) -> SimpleNamespace:
    """A damped oscillator in closed form; ``noise`` is what its balance is off by."""
    t = np.linspace(0.0, 30.0, 601)
    omega = np.sqrt(1 - friction**2 / 4)
    q = np.exp(-friction * t / 2) * (np.cos(omega * t) + friction / (2 * omega) * np.sin(omega * t))
    p = -np.exp(-friction * t / 2) * np.sin(omega * t) / omega
    kinetic, potential = p**2 / 2, q**2 / 2
    lost = 0.5 - kinetic - potential + noise * np.sin(1.3 * t) ** 2
    return solution(t, q[None], p[None], energies(t, kinetic, potential, lost), switches(), **rest)


def driven(**rest: Any) -> SimpleNamespace:
    """A circuit at rest that a pulse feeds, and a jump of its momentum: supplied and injected energy."""
    t = np.linspace(0.0, 10.0, 501)
    supplied = 0.8 * np.clip(t - 1, 0, 2) / 2
    injected = np.where(t >= 5, 0.4, 0.0)
    dissipated = 0.9 * (1 - np.exp(-0.4 * np.clip(t - 1.5, 0, None)))
    total = 0.5 + supplied + injected - dissipated
    share = np.sin(2 * t) ** 2
    table = switches((5.0, "free", "kicked", "TimeReached(5)", 0.3, 0.2, 0.5, 0.4))
    energy = energies(t, share * total, (1 - share) * total, dissipated, supplied, injected)
    return solution(t, np.sin(t)[None], np.cos(t)[None], energy, table, **rest)


def three_modes(**rest: Any) -> SimpleNamespace:
    t = np.linspace(0.0, 10.0, 201)
    table = switches(
        (1.0472, "glide", "brake", "LossGoal(reduction=0.75)", 0.1, 0.4, 0.5, 0.0),
        (2.4132, "brake", "free", "crossing", 0.0, 0.1, 0.1, 0.1),
        (2.43, "free", "brake", "crossing", 0.0, 0.1, 0.1, 0.0),
        (6.0, "brake", "free", "TimeReached(6)", 0.0, 0.1, 0.1, 0.0),
    )
    kinetic, potential = 0.25 * np.exp(-t / 4) * np.sin(t) ** 2, 0.25 * np.exp(-t / 4) * np.cos(t) ** 2
    return solution(t, np.cos(t)[None], np.sin(t)[None], energies(t, kinetic, potential, 0.25 - kinetic - potential), table, **rest)


def restarts(**rest: Any) -> SimpleNamespace:
    """A mode that is entered from itself, and two switches at the same time."""
    run = three_modes(**rest)
    run.switches = switches(
        (2.0, "roll", "roll", "SpeedRestart()", 0.1, 0.1, 0.2, 0.0),
        (4.0, "roll", "roll", "SpeedRestart()", 0.1, 0.1, 0.2, 0.0),
        (6.0, "roll", "brake", "goal", 0.1, 0.1, 0.2, 0.0),
        (6.0, "brake", "rest", "at once", 0.1, 0.1, 0.2, 0.0),
    )
    return run


def batch_of_modes(count: int = 60, until: float = 20.0) -> SimpleNamespace:
    """A batch, both ends recorded, of which each trajectory brakes and rolls on at times of its own."""
    rng = np.random.default_rng(0)
    rows = []
    for k, (first, second) in enumerate(zip(rng.gamma(3, 2, count), rng.gamma(2, 3, count), strict=True)):
        rows += [(k, first, "explore", "exploit"), (k, first + second, "exploit", "explore" if k % 3 else "rest")]
    rows = [row for row in rows if row[1] < until]
    names = ("trajectory", "time", "source", "target")
    table = SwitchTable({name: [row[k] for row in rows] for k, name in enumerate(names)}, trajectories=count)
    modes = np.full((count, 2), "explore", dtype="U8")
    return SimpleNamespace(batch=count, t=np.array([0.0, 20.0]), energy=None, modes=modes, switches=table)


def mirrored(table: SwitchTable) -> SwitchTable:
    return SwitchTable({**dict(table), "time": -table["time"]}, trajectories=table.trajectories)


def starts(q: Any) -> SimpleNamespace:
    """A batch on Himmelblau's function of which only the starts (B, 2) are known."""
    return SimpleNamespace(batch=len(q), q=q[:, :, None], system=SimpleNamespace(potential=Himmelblau()), energy=None)


def grid_of_starts(order: Any = slice(None)) -> SimpleNamespace:
    axis = np.linspace(-5.0, 5.0, 16)
    return starts(np.stack(np.meshgrid(axis, axis, indexing="xy"), -1).reshape(-1, 2)[order])


def scattered_starts() -> SimpleNamespace:
    return starts(np.random.default_rng(0).uniform(-5, 5, (120, 2)))


def wells(sol: SimpleNamespace) -> Any:
    """The nearest minimum of each start."""
    return np.linalg.norm(sol.q[:, None, :, 0] - sol.system.potential.minima[None], axis=-1).argmin(1)


def comparison(names: tuple[str, ...] = ("strang", "yoshida-4", "rk4", "DOP853")) -> SimpleNamespace:
    """Errors that follow the declared orders down to rounding; yoshida-4 is given the order 2 that it has not."""
    known = {  # order, gradients a step, error at h = 0.1, family
        "strang": (2, 1, 3e-3, "splitting"),
        "yoshida-4": (4, 3, 2e-4, "splitting"),
        "blanes-moan-4": (4, 6, 2e-6, "splitting"),
        "blanes-moan-s6": (4, 6, 8e-6, "splitting"),
        "blanes-moan-6": (6, 11, 3e-8, "splitting"),
        "sgd": (1, 1, 5e-2, "splitting"),
        "conformal-euler": (1, 1, 4e-2, "splitting"),
        "rk4": (4, 4, 6e-5, "runge-kutta"),
        "explicit-euler": (1, 1, 0.2, "runge-kutta"),
        "DOP853": (8, 12, 1e-2, "adaptive"),
        "RK45": (5, 6, 1e-2, "adaptive"),
        "dopri5": (5, 6, 2e-2, "adaptive"),
        "dopri8": (8, 12, 8e-3, "adaptive"),
        "LSODA": (12, 1, 3e-2, "adaptive"),
    }
    rows, orders, solutions = [], [], {}
    for name in names:
        order, gradients, error, family = known[name]
        true = 2 if name == "yoshida-4" else order
        adaptive = family == "adaptive"
        settings = (1e-4, 1e-7, 1e-10) if adaptive else (0.1, 0.05, 0.025)
        for k, setting in enumerate(settings):
            off = error * setting / settings[0] if adaptive else error * 0.5 ** (true * k)
            nfev = gradients * (40 * 3**k if adaptive else int(20 / setting))
            rows.append((name, order, setting, nfev, max(off, 0.0), off / 3, "balanced"))
            solutions[name, setting] = SimpleNamespace(method=SimpleNamespace(name=name, order=order, family=family))
        orders.append((name, order, float("nan") if adaptive else float(true)))
    return SimpleNamespace(
        table=columns(rows, "method", "order", "setting", "nfev", "error", "residual", "balance"),
        orders=columns(orders, "method", "declared", "measured"),
        solutions=solutions,
    )
