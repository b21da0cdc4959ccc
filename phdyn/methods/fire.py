"""FIRE, the fast inertial relaxation engine: a kick and a drift whose time step, mixing and resets follow a rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from phdyn.methods.adaptive import KnotStep
from phdyn.methods.stepping import Control, Step
from phdyn.motion import Halt, Knot, Motion
from phdyn.rules import FireDescent
from phdyn.typing import Array
from phdyn.vectors import NumpyVectors


@dataclass(frozen=True)
class Fire:
    """The iteration of ``ase.optimize.FIRE``, as a method that moves ``events.fire(potential)``; p is its velocity (mass 1).

    With F = -grad V, each step but the first of a run from rest looks at the power F . p. Where it is positive, the momentum is mixed,
    ``p = (1 - a) p + a |p| F/|F|``, and after more than ``patience`` such steps in a row the time step grows, ``h = min(growth h,
    max_step)``, and the mixing fades, ``a *= fading``. Otherwise the momentum is reset, ``p = 0``, with it ``a = mixing``, and the time
    step is cut, ``h *= cut``. Then a kick ``p += h F`` and a drift ``q += h p``, of ``max_move`` at most. The parameters of the rule are
    the system's (``phdyn.events.fire``).

    Parameters
    ----------
    first_step, max_step : float
        Time steps, the first and the longest, where ``simulate`` is not given others (ASE: ``dt``, ``dtmax``). A first step that is not
        given is no longer than the longest.

    Notes
    -----
    One gradient a step. Positions are ASE's bit for bit, on the CPU in float64; a last step that would pass the end of the span is shorter.

    Dissipated work is what mixing and resets take, ``a (1 - a) (|p|^2 - |p| F.p/|F|)`` and ``|p|^2/2``: never negative. Supplied work is
    what the bound on the move feeds in: the momentum gets the whole kick, and the position only the share c of the drift, so that
    ``(1 - c)`` of the kick's work is paid by nobody. What is left as residual is the discretization of kick and drift, of order 1 in the
    time step; since the mixing is a share a step, there is no differential equation that the iterates approach.

    The path inside a step is the method's own shorter step, and costs no gradient; the momentum jumps at its start, where the rule is
    applied. Time step, mixing and count are not part of ``sol.state``: a run that goes on, and a mode that is entered, starts FIRE anew,
    from the momentum that it has.
    """

    name: str = "fire"
    first_step: float = 0.1
    max_step: float = 1.0
    order: int = 1
    source: str = "Bitzek et al. 2006, Phys. Rev. Lett. 97, 170201; ase.optimize.FIRE"
    kind: str = "order"
    family: str = "adaptive"
    fixed: bool = False
    stages: int = 1
    options: ClassVar[tuple[str, ...]] = ("first_step", "max_step")
    systems: ClassVar[str] = "events.fire(potential)"
    braking_rule: ClassVar[str] = FireDescent.braking_rule

    def fits(self, system: Any) -> bool:
        """Say whether this is what ``phdyn.events.fire`` returns."""
        return isinstance(system, FireDescent)

    def march(self, motion: Motion, start: Knot, t_end: float, observe: Callable[[Step], bool], control: Control) -> None:
        """See ``phdyn.typing.Method``."""
        descent, knot, first = _Descent(motion, control), start, True
        while knot.t < t_end:
            p, lost = knot.x[motion.dim :], 0.0
            slope = float(descent.dot(knot.g, knot.g))
            if not (first and knot.T == 0.0):
                p, lost = descent.brake(p, knot.g, slope)
            first = False
            h = descent.time_step(knot, slope, t_end)
            t1 = knot.t + h if h < t_end - knot.t else t_end
            step = descent.leap(knot, p, lost, h, t1)
            if observe(step):
                return
            knot = step.end_view()


class _Descent:
    """The rule at work: its time step, its mixing, and the number of steps since the last reset."""

    def __init__(self, motion: Any, control: Control) -> None:
        if control.first_step is None or control.max_step is None:
            raise TypeError("FIRE needs its first and its longest time step")
        self.motion, self.system = motion, motion.system
        self.longest, self.h = control.max_step, control.first_step
        self.mixing, self.downhill = self.system.mixing, 0
        # ASE's scalar product; a splitting's BLAS may round otherwise
        self.dot: Callable[[Array, Array], Any] = np.vdot if isinstance(motion.vectors, NumpyVectors) else motion.vectors.dot

    def brake(self, p: Array, g: Array, slope: float) -> tuple[Array, float]:
        """Apply the rule to a momentum: return the new one, and the energy that it takes; ``slope`` is |g|^2."""
        system, a = self.system, self.mixing
        power, square = -float(self.dot(g, p)), float(self.dot(p, p))
        if not (power > 0.0 and slope > 0.0):
            self.h, self.mixing, self.downhill = self.h * system.cut, system.mixing, 0
            return 0.0 * p, square / 2
        steepness, speed = float(np.sqrt(slope)), float(np.sqrt(square))
        if self.downhill > system.patience:
            self.h, self.mixing = min(self.h * system.growth, self.longest), a * system.fading
        self.downhill += 1
        return (1.0 - a) * p - a * g / steepness * speed, a * (1.0 - a) * (square - speed * power / steepness)

    def time_step(self, knot: Knot, slope: float, t_end: float) -> float:
        """Return the next time step; where there is neither momentum nor force it takes the rest of the span."""
        rest = t_end - knot.t
        if self.h >= rest or (slope == 0.0 and knot.T == 0.0):
            return rest
        if knot.t + self.h == knot.t:
            raise Halt(
                -1,
                f"FIRE's time step has shrunk to {self.h:.1e} at t = {knot.t:.6g}, where |grad V| = {slope**0.5:.1e}:"
                " a minimum, as far as rounding tells? end the run before, with GradientNorm(..., terminal=True)",
            )
        return self.h

    def leap(self, start: Knot, p: Array, lost: float, h: float, t1: float) -> KnotStep:
        """Return the step of length h from a start whose momentum the rule has made p: a kick, and a drift of bounded length."""
        motion, n, t0, x0 = self.motion, self.motion.dim, start.t, start.x
        g0: Array = start.g
        vectors, dot, bound = motion.vectors, self.dot, self.system.max_move

        def after(s: float) -> tuple[Array, float]:
            kicked = p - s * g0
            move, share = s * kicked, 1.0
            length = float(np.sqrt(float(dot(move, move))))
            if length > bound:
                move, share = bound * move / length, bound / length
            x = vectors.empty(2 * n, x0)
            x[:n], x[n:] = x0[:n] + move, kicked
            return x, share

        x, share = after(h)
        height, g = motion.gradient(x[:n])
        g = vectors.clone(g)
        end = Knot(t1, x, height, motion.kinetic(x), motion.climb(t1, x, g), g)

        def again(tau: float) -> Step:
            return self.leap(start, p, lost, tau, t0 + tau)

        def path(t: float) -> Array:
            return after(t - t0)[0] if t != t0 else vectors.clone(x0)

        step = KnotStep(motion, start, end, again, lambda: path)
        step.d0 = float(dot(g0, p))  # as it is once the rule has been applied
        step.dissipated = lost
        step.supplied = -(1.0 - share) * h * float(dot(g0, p + x[n:])) / 2 if share < 1.0 else 0.0
        return step
