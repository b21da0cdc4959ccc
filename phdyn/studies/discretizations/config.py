"""The configuration of the study, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from phdyn.errors import ArgumentError
from phdyn.methods.catalogue import get, takes
from phdyn.potentials import Quadratic
from phdyn.studies.discretizations.long_run import problem
from phdyn.studies.single import Friction, Network, System
from phdyn.systems import HeavyBall

_EXPLICIT = ("explicit-euler", "conformal-euler", "sgd", "strang", "yoshida-4", "blanes-moan-s6", "blanes-moan-4", "blanes-moan-6", "rk4")
_IMPLICIT = ("gonzalez", "implicit-midpoint", "gauss-4", "gauss-6")
_ADAPTIVE = ("RK45", "DOP853", "LSODA", "dopri5", "dopri8")
_MAPPED = ("strang", "yoshida-4", "blanes-moan-s6", "blanes-moan-4", "blanes-moan-6", "sgd", "rk4", "explicit-euler")


def _budgets() -> tuple[int, ...]:
    return tuple(sorted({round(16 * 2 ** (k / 4)) for k in range(26)}))


def _tolerances() -> tuple[float, ...]:
    return tuple(float(f"{10 ** (-k / 2):.3g}") for k in range(2, 24))


def _long() -> dict[str, float]:
    return {"strang": 0.1, "yoshida-4": 0.25, "blanes-moan-4": 0.5, "blanes-moan-6": 0.8, "rk4": 0.2}


@dataclass(frozen=True)
class Precision:
    """(b, c) What accuracy costs on the system.

    Parameters
    ----------
    methods : list of str
        Methods to compare.
    gradients : list of int
        About so many gradients for each explicit method of fixed steps: its steps follow.
    steps : list of float
        Steps of implicit methods.
    rtols : list of float
        Of adaptive methods.
    settings : dict of str to list of float
        Steps or tolerances of single methods, instead of these.
    targets : list of float
        Errors at which costs are told.
    shown : float
        The error at which residuals are shown over time, each method at the setting nearest to it.
    repeats : int
        How often each run is timed; the median counts.
    """

    methods: tuple[str, ...] = (*_EXPLICIT, *_IMPLICIT, *_ADAPTIVE)
    gradients: tuple[int, ...] = field(default_factory=_budgets)
    steps: tuple[float, ...] = (2.0, 1.0, 0.5, 0.25)
    rtols: tuple[float, ...] = field(default_factory=_tolerances)
    settings: dict[str, tuple[float, ...]] = field(default_factory=dict)
    targets: tuple[float, ...] = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
    shown: float = 1e-4
    repeats: int = 1


@dataclass(frozen=True)
class Orders:
    """(a) Orders, measured on coupled pendulums with a force and time-dependent friction.

    Parameters
    ----------
    methods : list of str
        Methods that have an order at fixed steps.
    frictions : list of float
        Mean frictions.
    nesterov : bool
        Whether under friction 3/t too.
    """

    methods: tuple[str, ...] = (*_EXPLICIT, *_IMPLICIT, "RK45", "DOP853", "dopri5", "dopri8")
    frictions: tuple[float, ...] = (0.0, 0.3)
    nesterov: bool = True


@dataclass(frozen=True)
class Structure:
    """(d) Conformal symplecticity of single steps.

    Parameters
    ----------
    methods : list of str
        Methods of fixed steps.
    steps : list of float
        Lengths of a step.
    friction : float
        gamma.
    """

    methods: tuple[str, ...] = (*_EXPLICIT, *_IMPLICIT)
    steps: tuple[float, ...] = (0.8, 0.4, 0.2, 0.1, 0.05)
    friction: float = 0.3


@dataclass(frozen=True)
class Stability:
    """(e) Stability on the damped oscillator.

    Parameters
    ----------
    methods : list of str
        Methods of fixed steps in the table of hard braking.
    mapped : list of str
        Those of which maps are drawn, eight at most.
    damped : list of float
        Values of gamma h in the table.
    longest : float
        The longest h omega of the maps.
    frictions : (float, float)
        The least and the largest gamma/omega of the maps.
    points : int
        Points along each axis of a map.
    """

    methods: tuple[str, ...] = (*_EXPLICIT[1:],)
    mapped: tuple[str, ...] = _MAPPED
    damped: tuple[float, ...] = (0.0, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0)
    longest: float = 10.0
    frictions: tuple[float, float] = (0.03, 30.0)
    points: int = 60


@dataclass(frozen=True)
class Long:
    """(f) Energy over many periods.

    Parameters
    ----------
    problems : list of str
        Of "pendulum", "kepler" and "damped-pendulum".
    steps : dict of str to float
        Methods, and their steps.
    periods : float
        How many.
    """

    problems: tuple[str, ...] = ("pendulum", "kepler", "damped-pendulum")
    steps: dict[str, float] = field(default_factory=_long)
    periods: float = 1000.0


@dataclass(frozen=True)
class Equations:
    """(g) The modified equations of heavy ball.

    Parameters
    ----------
    steps : list of float
        Learning rates h that divide 1.
    momentum : float
        lam.
    """

    steps: tuple[float, ...] = (0.02, 0.01, 0.005, 0.0025, 0.00125, 0.000625)
    momentum: float = 0.5


@dataclass(frozen=True)
class Config:
    """What each discretization does to a system, and to the problems that tell them apart. A part that is null is left out.

    Parameters
    ----------
    system
        What moves in (b) and (c).
    t_span : (float, float)
        Start and end.
    q0 : list of float, optional
        Where a landscape's ball starts, at rest.
    seed : int
        Seed of a network's initial parameters.
    orders, precision, structure, stability, long_run, equations
        The parts.
    """

    system: System = field(default_factory=lambda: System(network=Network((64, 16, 10), 400), friction=Friction(0.3)))
    t_span: tuple[float, float] = (0.0, 20.0)
    q0: tuple[float, ...] | None = None
    seed: int = 0
    orders: Orders | None = field(default_factory=Orders)
    precision: Precision | None = field(default_factory=Precision)
    structure: Structure | None = field(default_factory=Structure)
    stability: Stability | None = field(default_factory=Stability)
    long_run: Long | None = field(default_factory=Long)
    equations: Equations | None = field(default_factory=Equations)


def check(config: Config, system: Any) -> None:
    """Refuse what would fail late.

    Raises
    ------
    ArgumentError
        With the field, and what it needs.
    """
    if config.precision is not None:
        _check_precision(config.precision, system)
    if config.orders is not None:
        _check_orders(config.orders)
    if config.structure is not None:
        _check_methods("structure.methods", config.structure.methods, fixed=True)
        _check_numbers("structure.steps", config.structure.steps)
    if config.stability is not None:
        _check_stability(config.stability)
    if config.long_run is not None:
        _check_long(config.long_run)
    if config.equations is not None:
        _check_equations(config.equations)


def _check_orders(part: Orders) -> None:
    _check_methods("orders.methods", part.methods)
    _check_numbers("orders.frictions", part.frictions, least=0.0)
    for name in part.methods:
        if getattr(get(name), "dense_jacobian", False) or not takes(get(name), HeavyBall(Quadratic([1.0]))):
            raise ArgumentError(f"orders.methods has '{name}', which has no order at fixed steps")


def _check_long(part: Long) -> None:
    _check_methods("long_run.steps", part.steps, fixed=True)
    _check_numbers("long_run.steps", set(part.steps.values()))
    _check_numbers("long_run.periods", [part.periods], least=10.0)
    if not part.problems:
        raise ArgumentError("long_run.problems is empty: leave the part out with long_run: null")
    for name in part.problems:
        if max(part.steps.values()) >= problem(name).period:
            raise ArgumentError(f"long_run.steps are {part.steps}: shorter ones than the period of the {name} are needed")


def _check_precision(part: Precision, system: Any) -> None:
    _check_methods("precision.methods", part.methods, system=system)
    unknown = [name for name in part.settings if name not in part.methods]
    if unknown:
        raise ArgumentError(f"precision.settings has {unknown[0]!r}, which is none of precision.methods")
    for name in ("gradients", "steps", "rtols", "targets", "shown", "repeats"):
        value = getattr(part, name)
        _check_numbers(f"precision.{name}", value if isinstance(value, tuple | list) else [value])
    for name, values in part.settings.items():
        _check_numbers(f"precision.settings.{name}", values)


def _check_stability(part: Stability) -> None:
    _check_methods("stability.methods", part.methods, fixed=True)
    _check_methods("stability.mapped", part.mapped, fixed=True)
    _check_numbers("stability.damped", part.damped, least=0.0)
    _check_numbers("stability.frictions", part.frictions)
    _check_numbers("stability.longest", [part.longest])
    _check_numbers("stability.points", [part.points], least=2)
    if len(part.mapped) > 8:
        raise ArgumentError(f"stability.mapped has {len(part.mapped)} methods: eight at most fit a figure")
    if not part.frictions[0] < part.frictions[1]:
        raise ArgumentError(f"stability.frictions is {list(part.frictions)}: the least and the largest are needed")


def _check_equations(part: Equations) -> None:
    _check_numbers("equations.steps", part.steps)
    if len(part.steps) < 2 or any(abs(round(1 / h) * h - 1) > 1e-9 for h in part.steps):
        raise ArgumentError(f"equations.steps is {list(part.steps)}: two steps at least that divide 1 are needed, such as 0.01")
    if not 0 < part.momentum < 1:
        raise ArgumentError(f"equations.momentum is {part.momentum:g}: a number in (0, 1) is needed")


def _check_methods(field_name: str, names: Iterable[str], *, fixed: bool = False, system: Any = None) -> None:
    names = list(names)
    if not names or len(set(names)) < len(names):
        raise ArgumentError(f"{field_name} is {names}: methods, each once, are needed")
    for name in names:
        method = get(name)
        if fixed and not method.fixed:
            raise ArgumentError(f"{field_name} has '{name}', which chooses its steps: methods of fixed steps are needed")
        if system is not None and not takes(method, system):
            raise ArgumentError(f"{field_name} has '{name}', which does not move {system!r}")


def _check_numbers(field_name: str, values: Iterable[float], least: float | None = None) -> None:
    values = list(values)
    fine = all(0 < value < float("inf") if least is None else least <= value < float("inf") for value in values)
    if not values or not fine or len(set(values)) < len(values):
        needed = "positive numbers" if least is None else f"numbers of at least {least:g}"
        raise ArgumentError(f"{field_name} is {values}: different finite {needed} are needed")
