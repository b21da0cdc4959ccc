"""Switching rules of the literature as automata; the restart rules are events (``phdyn.events``), used with ``ResetMomentum()``."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np

from phdyn.actions import RotateMomentum
from phdyn.automaton import HybridAutomaton
from phdyn.errors import ArgumentError
from phdyn.events import Guard, LossGoal, Stagnation
from phdyn.friction import NesterovFriction
from phdyn.systems import HeavyBall, describe
from phdyn.transitions import Transition


def uniting(potential: Any, *, inner: float, outer: float, friction: float = 1.0, r: float = 3.0, restart: float = 1.0) -> HybridAutomaton:
    """Return Nesterov's ODE far from the minimum united with a strongly damped heavy ball near it, with hysteresis.

    Far away friction r/t is low and lets the ball run; near the minimum it would oscillate, and constant friction settles it.

    Parameters
    ----------
    potential : Potential or callable
        V, convex, with minimum 0 (else shift it).
    inner, outer : float
        Heights: "far" ends when V has fallen to ``inner``, "near" when it has risen to ``outer`` > ``inner``.
    friction : float
        Of the mode "near"; 2 omega damps a mode of frequency omega critically.
    r, restart : float
        Of the mode "far", NesterovFriction(r, restart=restart).

    Raises
    ------
    ArgumentError
        Not 0 < inner < outer.

    Notes
    -----
    After Hustig-Schultz & Sanfelice (arXiv 2202.07739), who unite the two with hysteresis and do not need to know the minimum; here
    nearness is measured by V alone, so its lowest value must be known.
    """
    if not 0 < inner < outer < float("inf"):
        raise ArgumentError(f"uniting(inner={inner}, outer={outer}): 0 < inner < outer is needed, the gap is the hysteresis")
    beyond = Guard(lambda point: point.potential - outer, name=f"V > {outer:g}", direction=1)
    return HybridAutomaton(
        {
            "far": HeavyBall(potential, friction=NesterovFriction(r, restart=restart)),
            "near": HeavyBall(potential, friction=friction),
        },
        [Transition("far", "near", LossGoal(value=inner)), Transition("near", "far", beyond)],
        initial="far",
    )


def energy_conserving_descent(potential: Any, *, patience: float, tolerance: float = 1e-3, seed: int = 0) -> HybridAutomaton:
    """Return a ball without friction that goes on in a random direction whenever the loss has stopped falling.

    Its energy is conserved through the bounces, so it can never stop, nor climb higher than it began. Of De Luca & Silverstein's
    energy-conserving descent (ICML 2022) these are the bounces; their Born-Infeld kinetic energy is another system.

    Parameters
    ----------
    potential : Potential or callable
        V.
    patience, tolerance : float
        Of the Stagnation that makes it bounce.
    seed : int
        Of the directions.
    """
    bounce = Transition("roll", "roll", Stagnation(patience, tolerance), RotateMomentum(seed))
    return HybridAutomaton({"roll": HeavyBall(potential)}, [bounce], initial="roll")


class FireDescent(HeavyBall):
    """A ball of mass 1 that FIRE's rule brakes; the method "fire" alone moves it. Made by ``fire``, which has its parameters."""

    braking_rule: ClassVar[str] = "FIRE"

    def __init__(self, potential: Any, *, mixing: float, fading: float, growth: float, cut: float, patience: int, max_move: float) -> None:
        mass = getattr(potential, "mass", None)
        if mass is not None and not (np.asarray(mass) == 1.0).all():
            raise ArgumentError(f"FIRE moves unit masses, and {potential!r} has mass {mass}: scale its positions, q sqrt(m)")
        super().__init__(potential)
        checks: tuple[tuple[str, Any, Callable[[Any], bool], str], ...] = (
            ("mixing", mixing, lambda v: 0 <= v <= 1, "a share in [0, 1]"),
            ("fading", fading, lambda v: 0 < v <= 1, "a factor in (0, 1]"),
            ("growth", growth, lambda v: 1 <= v < float("inf"), "a finite factor >= 1"),
            ("cut", cut, lambda v: 0 < v < 1, "a factor in (0, 1)"),
            ("patience", patience, lambda v: isinstance(v, Integral) and int(v) >= 0, "a whole number of steps >= 0"),
            ("max_move", max_move, lambda v: v > 0, "a length > 0"),
        )
        for name, value, valid, wanted in checks:
            if isinstance(value, bool) or not isinstance(value, Real) or not valid(value):
                raise ArgumentError(f"fire({name}={value!r}): {wanted} is needed")
        self.mixing, self.fading, self.growth, self.cut = float(mixing), float(fading), float(growth), float(cut)
        self.patience, self.max_move = int(patience), float(max_move)

    def __repr__(self) -> str:
        return f"fire({describe(self.potential)})"


def fire(
    potential: Any,
    *,
    mixing: float = 0.1,
    fading: float = 0.99,
    growth: float = 1.1,
    cut: float = 0.5,
    patience: int = 5,
    max_move: float = 0.2,
) -> FireDescent:
    """Return a ball that FIRE, the fast inertial relaxation engine, brakes on its way to a minimum.

    It mixes the momentum with the force while the ball goes downhill, and stops the ball when it goes uphill; its time step grows and
    shrinks along. All of that belongs to the method "fire" (``phdyn.methods.fire`` has the formulas)::

        system = phdyn.events.fire(potential)
        sol = phdyn.simulate(system, (0.0, 50.0), phdyn.at_rest(q0), method="fire", events=GradientNorm(1e-3, terminal=True))

    with ``first_step=0.1`` and ``max_step=1.0``, the first and the longest time step, unless ``simulate`` is given others.

    Parameters
    ----------
    potential : Potential or callable
        V; mass 1.
    mixing : float
        Share of the force's direction, at the start and after each reset, in [0, 1] (alpha; ASE: ``a``, ``astart``).
    fading : float
        Factor of the mixing with each step downhill beyond the patience, in (0, 1] (ASE: ``fa``).
    growth, cut : float
        Factor of the time step with each of these, at least 1, and at each reset, in (0, 1) (ASE: ``finc``, ``fdec``).
    patience : int
        The time step grows after more than so many steps downhill (ASE: ``Nmin``).
    max_move : float
        Longest move of q in one step, in the norm of all its components; infinity for no bound (ASE: ``maxstep``).

    Raises
    ------
    ArgumentError, ArgumentTypeError
        A parameter that is out of range, no potential, or one with a mass other than 1.

    Notes
    -----
    Bitzek et al., Phys. Rev. Lett. 97 (2006) 170201; defaults and formulas are those of ASE 3.29 (``ase.optimize.FIRE``), whose iterates
    these are bit for bit.
    """
    return FireDescent(potential, mixing=mixing, fading=fading, growth=growth, cut=cut, patience=patience, max_move=max_move)
