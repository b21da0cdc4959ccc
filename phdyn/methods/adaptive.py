"""What the adaptive methods of other libraries share: the right-hand side that remembers its last call, and the Step between two knots.

Work is never taken from the trapezoid on accepted steps. For the heavy ball and orders up to 5 it is four Gauss nodes on the quintic,
which costs nothing; for explicit methods otherwise it is two extra components of the state, left out of the error norm; for multistep and
implicit ones it is four Gauss nodes on their interpolant (four gradients a step where powers need one).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from phdyn.methods.stepping import Control, Step, gauss_work, hermite_path
from phdyn.motion import Halt, Knot, Motion
from phdyn.typing import Array, Method


class RightHandSide:
    """The vector field of a motion, with the two work integrals appended where asked, that remembers its last call.

    Parameters
    ----------
    motion : Motion
        The motion.
    work : bool
        Whether the state carries dissipated and supplied work as two more components.
    must_be_finite : bool
        Whether a value that is not finite ends the run at once: for solvers that would hang, or report success.
    ulps : float
        By how many units in the last place of t, in the state's precision, a solver's last stage may miss the step's end (torchdiffeq
        rounds t to that precision and goes one back).
    """

    def __init__(self, motion: Motion, *, work: bool, must_be_finite: bool, ulps: float = 0) -> None:
        self.motion, self.work, self.must_be_finite, self.ulps = motion, work, must_be_finite, ulps
        self.size = motion.size
        self.known: Knot | None = None

    def extend(self, x: Array) -> np.ndarray[Any, Any]:
        """Return the solver's state at x: NumPy, with the work integrals at zero."""
        array = self.motion.vectors.numpy(x)
        return np.concatenate([array, np.zeros(2, dtype=array.dtype)]) if self.work else array.copy()

    def remember(self, knot: Knot) -> None:
        """Know the vector field at a knot without another evaluation."""
        if knot.f is None and knot.g is not None:
            motion = self.motion
            knot.f = motion.combine(knot.t, knot.x, knot.g, motion.vectors.empty(self.size, knot.x))
        self.known = knot if knot.f is not None else None
        if knot.f is not None and not (np.isfinite(knot.V) and self.motion.vectors.finite(knot.f)):
            raise Halt(-2, not_finite(self.motion, knot.V, knot.t))

    def __call__(self, t: float, x: Array) -> tuple[Array, tuple[float, float]]:
        """Return the vector field at (t, x), a new vector, and the two powers (zeros when they are not asked for)."""
        motion, known = self.motion, self.known
        if known is None or not self._is_at(known, t, x):
            height, g, f = motion.field(t, x, motion.vectors.empty(self.size, x))
            clone = motion.vectors.clone
            known = self.known = Knot(t, clone(x), height, 0.0, 0.0, None if g is None else clone(g), f)
            if self.must_be_finite and not (np.isfinite(height) and motion.vectors.finite(f)):
                raise Halt(-2, not_finite(motion, height, t))
        powers = motion.powers(t, x, known.g) if self.work else (0.0, 0.0)
        return motion.vectors.clone(known.f), powers

    def knot(self, t: float, x: Array) -> Knot:
        """Return the knot at an accepted state: from the last call where that was it, else from one more."""
        motion = self.motion
        if not motion.has_energy and (self.known is None or not self._is_at(self.known, t, x)):
            return Knot(t, motion.vectors.clone(x), 0.0, 0.0, 0.0, None)
        self(t, x)
        known = self.known
        if known is None:
            raise TypeError("a right-hand side remembers its last call")
        known.t = t
        if known.g is not None:
            known.T = motion.kinetic(known.x)
            known.d = motion.climb(t, known.x, known.g) if motion.has_split else float(motion.vectors.dot(known.g, known.f))
        return known

    def _is_time(self, knot: Knot, t: float) -> bool:
        if knot.t == t or not self.ulps:
            return knot.t == t
        return bool(abs(knot.t - t) <= self.ulps * np.spacing(np.asarray(max(abs(t), abs(knot.t)), dtype=self.motion.vectors.dtype)))

    def _is_at(self, knot: Knot, t: float, x: Array) -> bool:
        """Say whether a knot is at (t, x)."""
        return self._is_time(knot, t) and bool((knot.x == x).all())

    def is_near(self, knot: Knot, t: float, x: Array) -> bool:
        """Say whether a knot is at (t, x) up to the rounding of an interpolant's evaluation."""
        scale = 64 * self.motion.vectors.eps
        return self._is_time(knot, t) and bool((abs(knot.x - x) <= scale * (1 + abs(x))).all())


class KnotStep(Step):
    """A step between two knots that own their vectors.

    Parameters
    ----------
    motion : Motion
        The motion.
    start, end : Knot
        Its ends.
    again : callable
        ``again(tau)``: the method's own shorter step.
    interpolant : callable or None
        ``interpolant()``: the method's own path, t to state, asked for only where it is needed.
    """

    def __init__(
        self,
        motion: Motion,
        start: Knot,
        end: Knot,
        again: Callable[[float], Step],
        interpolant: Callable[[], Callable[[float], Array]] | None,
    ) -> None:
        super().__init__(motion)
        self.begin(start)
        self.t0, self.V0, self.T0, self.d0, self.slope0 = self.t1, self.V1, self.T1, self.d1, self.slope1
        self.begin(end)
        self.first, self.last, self.again, self.interpolant = start, end, again, interpolant

    def start_view(self) -> Knot:
        """See Step."""
        return self.first

    def start(self) -> Knot:
        """See Step."""
        return self.first

    def end(self) -> Knot:
        """See Step."""
        return self.end_view()

    def until(self, tau: float) -> Step:
        """See Step."""
        return self.again(tau)

    def path(self) -> Callable[[float], Array]:
        """See Step."""
        if self._path is None:
            self._path = self._own_path()
        return self._path

    def _own_path(self) -> Callable[[float], Array]:
        if self.interpolant is None:
            return hermite_path(self.motion, self.first, self.last)  # the knot itself: what it learns of f, the next step knows
        interpolant, t0, h = self.interpolant(), self.t0, self.h
        return lambda theta: interpolant(t0 + theta * h)


def resolving(method: Method, motion: Motion, start: Knot, control: Control) -> Callable[[float], Step]:
    """Return ``until`` of an adaptive method: solve again from the start of the step, over the shorter time, at the same tolerances.

    Its tries are not the run's: they leave ``nrejected`` alone.
    """

    def again(tau: float) -> Step:
        parts: list[Step] = []

        def observe(part: Step) -> bool:
            parts.append(part)
            return False

        rejected = motion.nrejected
        method.march(motion, start, start.t + tau, observe, replace(control, first_step=abs(tau)))
        motion.nrejected = rejected
        whole = KnotStep(motion, start, parts[-1].end(), again, None)
        whole.dissipated, whole.supplied = sum(p.dissipated for p in parts), sum(p.supplied for p in parts)
        return whole

    return again


def with_work(step: KnotStep, work: tuple[float, float] | None) -> KnotStep:
    """Fill in the work of a step: as carried by the state, or by Gauss nodes on its path."""
    if step.motion.has_energy:
        step.dissipated, step.supplied = gauss_work(step) if work is None else work
    return step


def not_finite(motion: Motion, height: float, t: float) -> str:
    """Return the message for a loss, a gradient or a ``fun`` that is not finite."""
    if not motion.has_energy:
        return f"fun(t, x) is not finite at t = {t:.6g}: the state has left the region where fun is defined; try tighter tolerances"
    what = f"loss is {height:g}" if not np.isfinite(height) else "the vector field (gradient, friction or input) is not finite"
    return f"{what} at t = {t:.6g}: the state has left the region where the loss is defined; try tighter tolerances or a smaller step"
