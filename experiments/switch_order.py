"""Do event times, and the states after 1, 2 and 5 switches, converge with the order of the method? For every registered method.

    OMP_NUM_THREADS=1 python experiments/switch_order.py [--budget 8192] [--digits 22]

Two nonlinear problems: goals on V (a ladder of five, a bowl) and a guard on a position (an automaton of two frictions, two
coupled pendulums). Reference: scipy's DOP853 at rtol 1e-13, restarted at events that brentq finds on its dense output and Newton's
iteration moves onto the guard; confirmed by Taylor series in mpmath.

A window is chosen by rule, not by eye. Steps are halved until a budget of gradients is spent or all errors are rounding; runs that fail
or switch another number of times do not count, and neither do errors above ``CEILING`` (not yet asymptotic) or below ``FLOOR`` (rounding).
Of what is left the finest ``POINTS`` steps are the window, and the order is the least-squares slope of log error on log step there. An
error is the root mean square over ``STARTS``, since at one start its leading term may happen to vanish (against rtol: one start).
States are relative to the
largest component along the reference, energies to H at the start; of several switches the largest error of a time counts.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import mpmath
import numpy as np
from scipy.integrate import solve_ivp
from tqdm import tqdm

import phdyn
from phdyn import methods
from phdyn.errors import ArgumentError, StabilityWarning
from phdyn.tables import Table

SWITCHES = (1, 2, 5)
FLOOR, CEILING = 2e-12, 5e-2
POINTS = 4
BUDGET = 8192
COARSEST = 4
STARTS = (0.0, 0.03, -0.03)
"""Shifts of the first coordinate."""
LOOSE = 1e6
"""Tolerance at which an explicit pair accepts every step: held to its longest one, it has an order."""
RTOLS = tuple(10.0**-k for k in range(3, 10))
INSIDE = (0.2, 0.5, 0.8)
"""Fractions of both parts of a cut step at which the dense output is compared."""


class Bowl:
    """V = q1^2/2 + q2^2 + q1^2 q2^2/2 + sin(q1 + q2)/5 + 3/10."""

    dim = 2

    def value(self, q: Any) -> float:
        a, b = q
        return float(0.5 * a**2 * (1 + b**2) + b**2 + 0.2 * np.sin(a + b) + 0.3)

    def value_and_grad(self, q: Any) -> tuple[float, Any]:
        a, b = q
        wave = 0.2 * np.cos(a + b)
        return self.value(q), np.array([a * (1 + b**2) + wave, b * (2 + a**2) + wave])


class Pendulums:
    """V = sum (1 - cos q) + (q1 - q2)^2 / 4."""

    dim = 2

    def value(self, q: Any) -> float:
        return float((1 - np.cos(q)).sum() + 0.25 * (q[0] - q[1]) ** 2)

    def value_and_grad(self, q: Any) -> tuple[float, Any]:
        pull = 0.5 * (q[0] - q[1])
        return self.value(q), np.sin(q) + np.array([pull, -pull])


@dataclass(frozen=True, eq=False)
class Problem:
    """A system that switches five times, and its equations written out once more for the references.

    ``ends`` are where a run ends after 1, 2 and 5 switches: multiples of an eighth of the longest, so that steps of all runs are whole.
    ``force`` is minus the gradient and ``guard(k)`` the k-th guard, of (x, library): numpy or mpmath. In mode k friction is frictions[k].
    """

    name: str
    system: Any
    start: tuple[float, ...]
    mass: float
    frictions: tuple[float, ...]
    force: Callable[[Any, Any], list[Any]]
    guard: Callable[[int], Callable[[Any, Any], Any]]
    directions: tuple[int, ...]
    ends: dict[int, float]

    def at(self, shift: float) -> tuple[float, ...]:
        return (self.start[0] + shift, *self.start[1:])

    def field(self, mode: int, x: Any, library: Any = np) -> list[Any]:
        gamma, m = self.frictions[mode], self.mass
        return [x[2] / m, x[3] / m, *(f - gamma * p / m for f, p in zip(self.force(x, library), x[2:], strict=True))]


GOALS = (1.2, 0.8, 0.6, 0.4, 0.3)
LOW, HIGH = 0.1, 0.4


def ladder() -> Problem:
    """Return five goals on V; friction goes up and down."""
    goals = tuple(phdyn.LossGoal(value=goal) for goal in GOALS)
    friction = phdyn.SwitchedFriction(LOW, (HIGH, LOW, HIGH, LOW, HIGH), goals)

    def force(x: Any, library: Any) -> list[Any]:
        wave = library.cos(x[0] + x[1]) / 5
        return [-x[0] - x[0] * x[1] ** 2 - wave, -2 * x[1] - x[0] ** 2 * x[1] - wave]

    def guard(k: int) -> Callable[[Any, Any], Any]:
        return lambda x, library: (x[0] ** 2 + x[0] ** 2 * x[1] ** 2) / 2 + x[1] ** 2 + library.sin(x[0] + x[1]) / 5 + 0.3 - GOALS[k]

    return Problem(
        name="bowl, five goals on V",
        system=phdyn.HeavyBall(Bowl(), friction=friction),
        start=(1.8, -1.2, 0.5, 0.5),
        mass=1.0,
        frictions=(LOW, HIGH) * 3,
        force=force,
        guard=guard,
        directions=(-1,) * 5,
        ends={1: 3.4, 2: 5.1, 5: 6.8},
    )


PLACE = 0.3
FREE, BRAKED = 0.02, 0.15


def automaton() -> Problem:
    """Return two modes of different friction between which the first pendulum switches where it passes a place."""

    def passing(direction: int) -> Callable[[float, Any], float]:
        def event(t: float, x: Any) -> float:  # noqa: ARG001 (an event's signature)
            return float(x[0]) - PLACE

        event.direction = direction  # type: ignore[attr-defined]
        return event

    mass = 0.5
    modes = {name: phdyn.HeavyBall(Pendulums(), friction=gamma, mass=mass) for name, gamma in (("free", FREE), ("braked", BRAKED))}
    edges = [phdyn.Transition("free", "braked", passing(-1)), phdyn.Transition("braked", "free", passing(1))]

    def force(x: Any, library: Any) -> list[Any]:
        pull = (x[0] - x[1]) / 2
        return [-library.sin(x[0]) - pull, -library.sin(x[1]) + pull]

    return Problem(
        name="coupled pendulums, guard on a position",
        system=phdyn.HybridAutomaton(modes, edges, initial="free"),
        start=(1.8, 1.0, 0.0, 0.0),
        mass=mass,
        frictions=(FREE, BRAKED) * 3,
        force=force,
        guard=lambda _: lambda x, _: x[0] - PLACE,
        directions=(-1, 1) * 3,
        ends={1: 2.75, 2: 4.125, 5: 11.0},
    )


PROBLEMS = (ladder(), automaton())


# --- references -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Reference:
    """Times of the switches, the state at any time, and its largest component."""

    times: list[float]
    paths: list[Any]
    scale: float

    def __call__(self, t: float) -> Any:
        return self.paths[int(np.searchsorted(self.times, t, side="right"))](t)


@cache
def reference(problem: Problem, shift: float = 0.0) -> Reference:
    """Return the solution by scipy alone."""
    t, x, t_end = 0.0, np.array(problem.at(shift)), max(problem.ends.values())
    tight: dict[str, Any] = {"method": "DOP853", "rtol": 1e-13, "atol": 1e-15}
    times: list[float] = []
    paths: list[Any] = []
    scale = 0.0
    for mode, direction in enumerate(problem.directions[:5]):
        guard = problem.guard(mode)

        def fun(_: float, x: Any, mode: int = mode) -> Any:
            return problem.field(mode, x)

        def event(_: float, x: Any, guard: Any = guard) -> Any:
            return guard(x, np)

        event.terminal, event.direction = True, direction  # type: ignore[attr-defined]
        leg = solve_ivp(fun, (t, t_end), x, events=event, dense_output=True, max_step=0.01 * t_end, **tight)
        when, begun = float(leg.t[-1]), (t, x)
        for _ in range(4):
            x = solve_ivp(fun, (begun[0], when), begun[1], **tight).y[:, -1]
            along = 1e-6 * np.array(fun(0.0, x))
            when -= 2e-6 * guard(x, np) / (guard(x + along, np) - guard(x - along, np))
        x = solve_ivp(fun, (begun[0], when), begun[1], **tight).y[:, -1]
        t, scale = when, max(scale, float(np.abs(leg.y).max()))
        times.append(t)
        paths.append(leg.sol)
    last = solve_ivp(lambda _, x: problem.field(5, x), (t, t_end), x, dense_output=True, max_step=0.01 * t_end, **tight)
    return Reference(times, [*paths, last.sol], scale)


def confirmed(problem: Problem, digits: int, switches: int = 5) -> tuple[float, float]:
    """Return by how much the reference differs from Taylor series of so many digits: in times of switches, in the states at the ends."""
    known, in_times, in_states = reference(problem), 0.0, 0.0
    with mpmath.workdps(digits):
        t, x = mpmath.mpf(0), [mpmath.mpf(v) for v in problem.at(0.0)]
        for mode in range(switches + 1):
            path = mpmath.odefun(lambda _, x, mode=mode: problem.field(mode, x, mpmath), t, x)
            if mode in problem.ends:
                end = problem.ends[mode]
                in_states = max(in_states, *(abs(float(a - b)) for a, b in zip(path(end), known(end), strict=True)))
            if mode == switches:
                break
            guard = problem.guard(mode)
            t = mpmath.findroot(lambda s, path=path, guard=guard: guard(path(s), mpmath), (known.times[mode] - 1e-6, known.times[mode]))
            x = path(t)
            in_times = max(in_times, abs(float(t - known.times[mode])))
    return in_times, in_states


# --- measuring ------------------------------------------------------------------------------------------------------------------------


def settings(method: Any, step: float) -> dict[str, float]:
    """Return what holds a method to steps of one length."""
    return {"step": step} if method.fixed else {"first_step": step, "max_step": step, "rtol": LOOSE, "atol": LOOSE}


def solve(problem: Problem, shift: float, method: Any, switches: int, **options: Any) -> phdyn.Solution | None:
    """Run until after so many switches; None where the run fails, or switches another number of times."""
    span = (0.0, problem.ends[switches])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StabilityWarning)
        try:
            sol = phdyn.simulate(problem.system, span, problem.at(shift), method=method, monitor=None, **options)
        except ArgumentError:  # a step beyond the method's stability
            return None
    return sol if sol.success and len(sol.switches) == switches else None


def errors(problem: Problem, shift: float, method: Any, switches: int, **options: Any) -> tuple[float, ...]:
    """Return the largest error of the switches' times, the error of the state at the end, and that of the energy account there."""
    known, sol = reference(problem, shift), solve(problem, shift, method, switches, **options)
    if sol is None:
        return 3 * (float("nan"),)
    time = np.abs(sol.switches["time"] - known.times[:switches]).max()
    state = np.abs(sol.y[:, -1] - known(problem.ends[switches])).max() / known.scale
    return float(time), float(state), abs(float(sol.energy.residual[-1] / sol.energy.hamiltonian[0]))


def inside(problem: Problem, shift: float, method: Any, switches: int, **options: Any) -> tuple[float, ...]:
    """Return the errors of the dense output inside the last cut step, on both sides of the switch, of q and of p."""
    known, sol = reference(problem, shift), solve(problem, shift, method, switches, dense_output=True, **options)
    if sol is None:
        return 2 * (float("nan"),)
    k = int(np.flatnonzero(sol.t == sol.switches[-1].time)[0])
    times = [a + s * (b - a) for a, b in ((sol.t[k - 1], sol.t[k]), (sol.t[k], sol.t[k + 1])) for s in INSIDE]
    wrong = np.abs(sol.sol(times) - np.stack([known(t) for t in times], axis=-1)).max(axis=1) / known.scale
    return float(wrong[:2].max()), float(wrong[2:].max())


def mean(measure: Callable[[float], tuple[float, ...]], shifts: tuple[float, ...]) -> tuple[float, ...]:
    """Return root mean squares over the starts; nan where one of the runs does not count."""
    with np.errstate(over="ignore"):  # steps far too coarse burst
        return tuple(float(v) for v in np.sqrt(np.mean(np.square([measure(shift) for shift in shifts]), axis=0)))


@dataclass(frozen=True)
class Window:
    """What a slope was measured on; nan where nothing was left to measure."""

    settings: tuple[float, ...]
    errors: tuple[float, ...]

    @property
    def slope(self) -> float:
        if len(self.settings) < 2:
            return float("nan")
        return float(np.polyfit(np.log(self.settings), np.log(self.errors), 1)[0])


def counts(error: float) -> bool:
    """Say whether an error is neither rounding nor too coarse for a slope."""
    return FLOOR <= error <= CEILING


def windows(measure: Callable[[float], tuple[float, ...]], coarsest_first: Iterator[float], points: int) -> list[Window]:
    """Measure, the coarsest setting first, until rounding has swallowed all; return for each quantity the finest settings that count."""
    rows: list[tuple[float, tuple[float, ...]]] = []
    for setting in coarsest_first:
        rows.append((setting, measure(setting)))
        if max(rows[-1][1]) < FLOOR:
            break
    chosen = []
    for quantity in zip(*(found for _, found in rows), strict=True):
        kept = [(setting, error) for (setting, _), error in zip(rows, quantity, strict=True) if counts(error)][-points:]
        chosen.append(Window(tuple(s for s, _ in kept), tuple(e for _, e in kept)))
    return chosen


def cost(method: Any) -> int:
    """Return what a step costs in gradients; the loops of other libraries cost more than theirs."""
    return int(getattr(method, "stages", 64))


def steps(method: Any, span: float, budget: int) -> Iterator[float]:
    """Yield steps, each half the one before, until the budget is spent."""
    number = COARSEST
    while number * cost(method) <= budget:
        yield span / number
        number *= 2


def measure(
    problem: Problem, method: Any, switches: int, *, budget: int = BUDGET, points: int = POINTS, shifts: tuple[float, ...] = STARTS
) -> list[Window]:
    """Return the windows of event time, state and energy account at steps of one length."""

    def run(step: float) -> tuple[float, ...]:
        return mean(lambda shift: errors(problem, shift, method, switches, **settings(method, step)), shifts)

    return windows(run, steps(method, problem.ends[5], budget), points)


def measure_inside(
    problem: Problem, method: Any, *, budget: int = BUDGET // 4, points: int = POINTS, shifts: tuple[float, ...] = STARTS
) -> list[Window]:
    """Return the windows of the dense output inside the first cut step, of q and of p.

    The event lies in the middle of its step, at all steps: the path's error depends on how long the two parts are.
    """

    def run(step: float) -> tuple[float, ...]:
        def one(shift: float) -> tuple[float, ...]:
            when = reference(problem, shift).times[0]
            return inside(problem, shift, method, 1, **settings(method, when / (round(when / step) + 0.5)))

        return mean(one, shifts)

    return windows(run, steps(method, problem.ends[1], budget), points)


def measure_tolerance(problem: Problem, method: Any, switches: int, rtols: tuple[float, ...] = RTOLS) -> list[Window]:
    """Return the windows of event time, state and energy account against rtol (atol = rtol/100)."""

    def run(rtol: float) -> tuple[float, ...]:
        return errors(problem, 0.0, method, switches, rtol=rtol, atol=rtol / 100)

    return windows(run, iter(rtols), len(rtols))


def measure_inside_tolerance(problem: Problem, method: Any, rtols: tuple[float, ...] = RTOLS) -> list[Window]:
    """Return the windows of the dense output inside the first cut step against rtol, of q and of p."""
    return windows(lambda rtol: inside(problem, 0.0, method, 1, rtol=rtol, atol=rtol / 100), iter(rtols), len(rtols))


def has_order(method: Any) -> bool:
    """Say whether a method can be held to steps of one length."""
    return method.fixed or not getattr(method, "dense_jacobian", False)


def row(name: str, declared: str, switches: int, names: tuple[str, ...], found: list[Window]) -> dict[str, Any]:
    """Return a row of a table: for each quantity its order, the window and the errors at its ends."""
    cells: dict[str, Any] = {"method": name, "declared": declared, "switches": switches}
    for what, window in zip(names, found, strict=True):
        few = len(window.settings) < 2
        cells[what] = "-" if few else f"{window.slope:.2f}"
        cells[f"{what}: at"] = "-" if few else f"{window.settings[0]:.1e} .. {window.settings[-1]:.1e}"
        cells[f"{what}: errors"] = "-" if few else f"{window.errors[0]:.1e} .. {window.errors[-1]:.1e}"
    return cells


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """Print a table, in pieces that Table does not shorten."""
    print(f"\n{title}\n")
    for start in range(0, len(rows), 45):
        piece = rows[start : start + 45]
        print(Table({name: [cells[name] for cells in piece] for name in piece[0]}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=int, default=BUDGET, help="gradients that the finest run may cost")
    parser.add_argument("--digits", type=int, default=22, help="digits of the Taylor series that confirm the reference")
    options = parser.parse_args()
    every = [m for m in map(methods.get, methods.names()) if m.fits(PROBLEMS[0].system)]
    fixed, adaptive = [m for m in every if has_order(m)], [m for m in every if not m.fixed]
    quantities, inside_step = ("time", "state", "energy"), ("q", "p")
    with tqdm(total=4 * len(PROBLEMS) * (len(fixed) + len(adaptive)), unit="case", disable=None) as bar:
        for problem in PROBLEMS:
            held, dense, tolerance, dense_tolerance = [], [], [], []
            for m in fixed:
                for k in SWITCHES:
                    found = measure(problem, m, k, budget=options.budget)
                    held.append(row(m.name, str(m.order), k, quantities, found))
                    bar.update()
                found = measure_inside(problem, m, budget=options.budget // 4)
                dense.append(row(m.name, str(m.order), 1, inside_step, found))
                bar.update()
            for m in adaptive:
                for k in SWITCHES:
                    tolerance.append(row(m.name, str(m.order), k, quantities, measure_tolerance(problem, m, k)))
                    bar.update()
                dense_tolerance.append(row(m.name, str(m.order), 1, inside_step, measure_inside_tolerance(problem, m)))
                bar.update()
            in_times, in_states = confirmed(problem, options.digits)
            bar.clear()
            print(f"\n{problem.name}: switches at {', '.join(f'{t:.6f}' for t in reference(problem).times)}")
            print(f"the reference differs from Taylor series by {in_times:.0e} in these times, by {in_states:.0e} in the states")
            show("steps of one length (explicit adaptive pairs held to it)", held)
            show("dense output inside the first cut step, steps of one length", dense)
            show("slope in rtol", tolerance)
            show("dense output inside the first cut step, slope in rtol", dense_tolerance)


if __name__ == "__main__":
    main()
