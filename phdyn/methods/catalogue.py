"""The catalogue: a name to a method. Nothing else in phdyn dispatches on strings."""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np

from phdyn.errors import ArgumentError, ArgumentTypeError
from phdyn.methods.collocation import ImplicitTableau
from phdyn.methods.discrete_gradients import averaged, gonzalez, itoh_abe, itoh_abe_symmetric
from phdyn.methods.exact import DiscreteGradientMethod
from phdyn.methods.fire import Fire
from phdyn.methods.force_gradient import ForceGradientSplitting
from phdyn.methods.nesterov import NESTEROV
from phdyn.methods.runge_kutta import ButcherTableau
from phdyn.methods.scipy_adaptive import BDF_SCIPY, DOP853_SCIPY, LSODA_SCIPY, RADAU_SCIPY, RK23_SCIPY, RK45_SCIPY
from phdyn.methods.sgd import SgdMap
from phdyn.methods.splittings import SPLITTINGS
from phdyn.methods.torchdiffeq_adaptive import ADAPTIVE_HEUN, BOSH3, DOPRI5, DOPRI8, FEHLBERG2
from phdyn.methods.two_term import DISSIPATIVE_LEAPFROG, IMPLICIT_DAMPING, POLYAK
from phdyn.systems import GradientFlow, HeavyBall, PortHamiltonianSystem
from phdyn.tables import Table
from phdyn.typing import Method

_R3, _R15 = 3**0.5, 15**0.5

_BUILT_IN: tuple[Method, ...] = (
    ButcherTableau("explicit-euler", 1, ((),), (1.0,), (0.0,), "Euler 1768"),
    SgdMap(),
    POLYAK,
    NESTEROV,
    *SPLITTINGS,
    DISSIPATIVE_LEAPFROG,
    IMPLICIT_DAMPING,
    ForceGradientSplitting(),
    ButcherTableau(
        "rk4",
        4,
        ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)),
        (1 / 6, 1 / 3, 1 / 3, 1 / 6),
        (0.0, 0.5, 0.5, 1.0),
        "Kutta 1901, Z. Math. Phys. 46, 435",
    ),
    DiscreteGradientMethod("gonzalez", 2, gonzalez, "Gonzalez 1996, J. Nonlinear Sci. 6, 449"),
    DiscreteGradientMethod("avf", 2, averaged, "Quispel & McLaren 2008, J. Phys. A 41, 045206", cost="4 or more an iteration"),
    DiscreteGradientMethod("itoh-abe", 1, itoh_abe, "Itoh & Abe 1988, J. Comput. Phys. 76, 85", cost="n values or more an iteration"),
    DiscreteGradientMethod(
        "itoh-abe-symmetric",
        2,
        itoh_abe_symmetric,
        "McLachlan, Quispel & Robidoux 1999, Phil. Trans. R. Soc. A 357, 1021 (mean of Itoh & Abe's and its adjoint)",
        cost="2n values or more an iteration",
    ),
    ImplicitTableau("implicit-euler", 1, ((1.0,),), (1.0,), (1.0,), "Hairer & Wanner 1996, Solving ODEs II, IV.3", lawson=False),
    ImplicitTableau("implicit-midpoint", 2, ((0.5,),), (1.0,), (0.5,), "Hairer, Lubich & Wanner, Geometric Numerical Integration, II.1"),
    ImplicitTableau(
        "gauss-4",
        4,
        ((0.25, 0.25 - _R3 / 6), (0.25 + _R3 / 6, 0.25)),
        (0.5, 0.5),
        (0.5 - _R3 / 6, 0.5 + _R3 / 6),
        "Butcher 1964, Math. Comput. 18, 50 (Gauss-Legendre, 2 stages)",
    ),
    ImplicitTableau(
        "gauss-6",
        6,
        (
            (5 / 36, 2 / 9 - _R15 / 15, 5 / 36 - _R15 / 30),
            (5 / 36 + _R15 / 24, 2 / 9, 5 / 36 - _R15 / 24),
            (5 / 36 + _R15 / 30, 2 / 9 + _R15 / 15, 5 / 36),
        ),
        (5 / 18, 4 / 9, 5 / 18),
        (0.5 - _R15 / 10, 0.5, 0.5 + _R15 / 10),
        "Butcher 1964, Math. Comput. 18, 50 (Gauss-Legendre, 3 stages)",
    ),
    RK45_SCIPY,
    DOP853_SCIPY,
    LSODA_SCIPY,
    RADAU_SCIPY,
    RK23_SCIPY,
    BDF_SCIPY,
    DOPRI5,
    DOPRI8,
    BOSH3,
    FEHLBERG2,
    ADAPTIVE_HEUN,
    Fire(),
)
_RECOMMENDED = ("strang", "blanes-moan-4", "blanes-moan-6", "rk4", "RK45", "DOP853", "Radau", "dopri5")
_ALSO_KNOWN_AS = {"leapfrog": "strang", "verlet": "strang", "velocity-verlet": "strang"}
_REFUSED = {
    "tsit5": "torchdiffeq 0.2.5 does not have it; use 'dopri5'",
    "explicit_adams": "its error grows as the step shrinks in torchdiffeq 0.2.5 (29, 1e4, 6e5); use 'LSODA'",
    "implicit_adams": "its functional iteration does not converge in torchdiffeq 0.2.5; use 'LSODA'",
    "fixed_adams": "its functional iteration does not converge in torchdiffeq 0.2.5; use 'LSODA'",
    "euler": "phdyn's own is 'explicit-euler'",
    "midpoint": "phdyn takes torchdiffeq's methods that choose their steps; use 'strang' or 'rk4', or 'implicit-midpoint'",
    "heun2": "phdyn takes torchdiffeq's methods that choose their steps; use 'strang' or 'rk4', or 'adaptive_heun'",
    "heun3": "phdyn takes torchdiffeq's methods that choose their steps; use 'rk4', or 'bosh3'",
    "scipy_solver": "scipy's solvers have their own names; use 'RK45' or 'DOP853'",
    "gd": "gradient descent is 'explicit-euler' on a GradientFlow",
    "gradient-descent": "gradient descent is 'explicit-euler' on a GradientFlow",
}
_VARIABLE = {"LSODA": "1 to 12", "BDF": "1 to 5"}
_catalogue: dict[str, Method] = {method.name: method for method in _BUILT_IN}


def names() -> tuple[str, ...]:
    """Return the names of all methods."""
    return tuple(_catalogue)


def get(name: str) -> Method:
    """Return a method by name.

    Raises
    ------
    ArgumentError
        Unknown, with the nearest names; or refused, with the reason.
    """
    if name in _catalogue:
        return _catalogue[name]
    known_as = _ALSO_KNOWN_AS.get(str(name).lower())
    if known_as:
        raise ArgumentError(f"unknown method '{name}': with exact friction that is '{known_as}'")
    if str(name).lower() in _REFUSED:
        raise ArgumentError(f"method '{name}' is refused: {_REFUSED[str(name).lower()]}")
    lower = {known.lower(): known for known in _catalogue}
    near = difflib.get_close_matches(str(name).lower(), lower, n=1)
    hint = f"; did you mean '{lower[near[0]]}'?" if near else ";"
    raise ArgumentError(f"unknown method '{name}'{hint} phdyn.methods.names() lists all")


def register(method: Method) -> None:
    """Put a method into the catalogue; its name then works in calls, files and flags.

    Raises
    ------
    ArgumentError
        The name is taken by another method.
    ArgumentTypeError
        Not a method.
    """
    _check_method(method)
    if _catalogue.get(method.name, method) != method:
        raise ArgumentError(f"the name '{method.name}' is taken by another method: choose one of your own")
    _catalogue[method.name] = method


def resolve(method: Any) -> Method:
    """Return a method given by name or as an object."""
    if isinstance(method, str):
        return get(method)
    _check_method(method)
    return method  # type: ignore[no-any-return]


def table(system: Any = None, *, recommended: bool = False) -> Table:
    """Return the catalogue: name, order, gradients a step, balance kind, the systems each method takes, source.

    "14 + 1" gradients: 14 for the step, and one for the energy at its end, where other splittings know it from their last kick.

    Parameters
    ----------
    system : object, optional
        Only the methods that take this system.
    recommended : bool
        Only the eight that are recommended to start with.
    """
    chosen = [m for m in _catalogue.values() if (system is None or takes(m, system)) and (not recommended or m.name in _RECOMMENDED)]
    return Table(
        {
            "method": [m.name for m in chosen],
            "order": [_VARIABLE.get(m.name, str(m.order)) for m in chosen],
            "gradients": [str(getattr(m, "cost", getattr(m, "stages", "adaptive"))) for m in chosen],
            "balance": [m.kind for m in chosen],
            "setting": [", ".join(getattr(m, "options", ("step",) if m.fixed else ("rtol", "atol"))) for m in chosen],
            "systems": [getattr(m, "systems", _moved(m)) for m in chosen],
            "source": [m.source for m in chosen],
        }
    )


def takes(method: Method, system: Any) -> bool:
    """Say whether a method can move a system; one that a rule of iterates brakes is moved by the methods that apply this rule alone."""
    moves = getattr(system, "kinetic", None) is None or getattr(method, "any_kinetic", False)
    return method.fits(system) and moves and getattr(system, "braking_rule", "") in ("", getattr(method, "braking_rule", ""))


def check_fit(method: Method, system: Any) -> None:
    """Raise when a method cannot integrate a system, naming those that can."""
    if takes(method, system):
        return
    kind = type(system).__name__ if isinstance(system, (HeavyBall, GradientFlow, PortHamiltonianSystem)) else "plain fun(t, x)"
    fitting = ", ".join(m.name for m in _catalogue.values() if takes(m, system))
    if getattr(system, "braking_rule", ""):
        raise ArgumentError(f"method '{method.name}' does not apply the rule that brakes {system!r}; it takes {fitting}")
    if getattr(system, "kinetic", None) is not None and method.fits(system):
        reason = "has its order for T = p.p/2m alone" if getattr(method, "requires_quadratic_kinetic", False) else "moves T = p.p/2m alone"
        raise ArgumentError(f"method '{method.name}' {reason}; with {system.kinetic} take {fitting}")
    if hasattr(method, "systems"):
        raise ArgumentError(f"method '{method.name}' moves phdyn.{method.systems}, not a {kind}, which takes {fitting}")
    energetic = "an energy (HeavyBall, GradientFlow, PortHamiltonianSystem)"
    needed = "positions and momenta (HeavyBall)" if _moved(method) == "HeavyBall" else energetic
    raise ArgumentError(f"method '{method.name}' needs {needed}; a {kind} takes {fitting}")


def _moved(method: Method) -> str:
    """Say which systems a method moves."""
    if method.fits(_EXAMPLE):
        return "all, and fun(t, x)"
    return "all" if method.fits(GradientFlow(np.sum)) else "HeavyBall"


def _check_method(method: Any) -> None:
    needed = ("name", "order", "source", "kind", "family", "fixed", "fits", "march")
    missing = [part for part in needed if not hasattr(method, part)]
    if missing:
        raise ArgumentTypeError(f"{method!r} is no method: it lacks {', '.join(missing)} (see phdyn.typing.Method)")


def _EXAMPLE(t: float, x: Any) -> Any:  # noqa: N802, ARG001
    return x
