"""Switching rules of the literature as automata; the restart rules are events (``phdyn.events``), used with ``ResetMomentum()``."""

from __future__ import annotations

from typing import Any

from phdyn.actions import RotateMomentum
from phdyn.automaton import HybridAutomaton
from phdyn.errors import ArgumentError
from phdyn.events import Guard, LossGoal, Stagnation
from phdyn.friction import NesterovFriction
from phdyn.systems import HeavyBall
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
