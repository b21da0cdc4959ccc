"""What all methods share: the Step that they push, and the march on a fixed grid.

A Step shows both ends (t, x, V, dV/dt, T, gradient), the work dissipated and supplied in between, a path inside, and the method's own
shorter step from its start. Detection of events, the energy account and the recording see nothing else; a step cut at an event is just
another Step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor
from typing import Any, Protocol

import numpy as np

from phdyn.motion import Knot, Motion
from phdyn.typing import Array

_GAUSS_NODES = 0.5 + 0.5 * np.polynomial.legendre.leggauss(4)[0]
_GAUSS_WEIGHTS = 0.5 * np.polynomial.legendre.leggauss(4)[1]


@dataclass(frozen=True)
class Control:
    """How a run steps.

    Attributes
    ----------
    step : float or None
        Signed step of a fixed-step method; step ends are ``origin + k step``.
    origin : float
        Start of the grid.
    rtol, atol : float
        Tolerances of an adaptive method.
    max_step, first_step : float or None
        Its bounds.
    dense : bool
        Whether paths inside the steps will be asked for (then an adaptive method offers its own interpolant).
    """

    step: float | None
    origin: float
    rtol: float = 1e-6
    atol: float = 1e-9
    max_step: float | None = None
    first_step: float | None = None
    dense: bool = False


class Step:
    """One step of a run, a view that is valid while it is observed; see the module's first lines.

    ``d`` is dV/dt, ``x1`` and ``g1`` are the state and the gradient at the end (the run's own buffers).
    """

    def __init__(self, motion: Motion) -> None:
        self.motion = motion
        self.t0 = self.t1 = 0.0
        self.V0 = self.V1 = self.T0 = self.T1 = self.d0 = self.d1 = 0.0
        self.slope0 = self.slope1 = 0.0
        self.dissipated = self.supplied = 0.0
        self.x1: Array = None
        self.g1: Array = None
        self.f1: Array = None
        self._path: Callable[[float], Array] | None = None

    @property
    def h(self) -> float:
        """Length, signed."""
        return self.t1 - self.t0

    def begin(self, knot: Knot) -> None:
        """Stand at a knot: what ``forward`` will move to the start of the next step."""
        self.t1, self.V1, self.T1, self.d1 = knot.t, knot.V, knot.T, knot.d
        self.x1, self.g1, self.f1 = knot.x, knot.g, knot.f
        self.slope1 = 0.0 if knot.g is None else float(self.motion.vectors.dot(knot.g, knot.g))

    def forward(self, t0: float, t1: float) -> None:
        """Make what is known at the end what is known at the start, for a next step from t0 to t1."""
        self.t0, self.t1, self.V0, self.T0, self.d0, self.slope0 = t0, t1, self.V1, self.T1, self.d1, self.slope1
        self._path = None

    def start(self) -> Knot:
        """Return the start of the step; the knot owns its vectors. Where a method did not keep it, this costs a gradient."""
        raise TypeError("a step knows its start")

    def end(self) -> Knot:
        """Return the end of the step; the knot owns its vectors."""
        clone = self.motion.vectors.clone
        g, f = (None if v is None else clone(v) for v in (self.g1, self.f1))
        return Knot(self.t1, clone(self.x1), self.V1, self.T1, self.d1, g, f)

    def start_as_kept(self) -> Knot:
        """Return the start of a step that failed midway, without calling the user's functions again."""
        return self.start()

    def hold(self) -> None:
        """Make the gradient at the end the step's own, before others are evaluated: a potential may answer in one buffer."""
        if self.g1 is not None:
            self.g1 = self.motion.vectors.clone(self.g1)

    def start_view(self) -> Knot:
        """Return the start; its vectors may be the run's own."""
        return self.start()

    def end_view(self) -> Knot:
        """Return the end; its vectors are the run's own."""
        return Knot(self.t1, self.x1, self.V1, self.T1, self.d1, self.g1, self.f1)

    def pick(self, better: Any, other: Step) -> Step:
        """Return the other step where it is better."""
        return other if better else self

    def until(self, tau: float) -> Step:
        """Return the method's own step of length tau from the start of this one."""
        raise TypeError("a step knows its method")

    def at(self, theta: float) -> Array:
        """Return the state at the fraction theta of the step, on the path inside it."""
        if self._path is None:
            self._path = self.path()
        return self._path(theta)

    def path(self) -> Callable[[float], Array]:
        """Return the path inside the step, theta in [0, 1] to a state; it stays valid after the step."""
        return hermite_path(self.motion, self.start(), self.end())


class FixedStepper(Protocol):
    """One family's way to advance by one step, in place."""

    @property
    def step(self) -> Step:
        """The step that ``advance`` fills."""

    def advance(self, t: float, t1: float, h: float) -> None:
        """Advance from t to t1 = t + h and fill the step."""


def march_on_grid(stepper: FixedStepper, t: float, t_end: float, observe: Callable[[Step], bool], control: Control) -> None:
    """Advance on the grid ``origin + k step`` until observe says stop; a start between grid points first takes the step's rest."""
    h, origin = control.step, control.origin
    if h is None:
        raise TypeError("a march on a grid needs its step")
    sliver = 1e-9
    k = floor((t - origin) / h + sliver)
    last = ceil((t_end - origin) / h - sliver)
    rounding = 4 * np.finfo(float).eps
    on_grid = bool(abs(t - (origin + k * h)) <= rounding * max(abs(t), abs(h)))
    step, advance = stepper.step, stepper.advance
    while k < last:
        k += 1
        t1 = origin + k * h if k < last else t_end
        whole = bool(on_grid and (k < last or abs(t1 - (origin + k * h)) <= rounding * max(abs(t1), abs(h))))
        advance(t, t1, h if whole else t1 - t)
        if observe(step):
            return
        t, on_grid = t1, True


# --- paths inside a step --------------------------------------------------------------------------------------------------------------


def hermite_path(motion: Motion, start: Knot, end: Knot) -> Callable[[float], Array]:
    """Return the path that matches what is known at both ends: the quintic in q for the heavy ball, the cubic in x otherwise.

    The quintic matches position, velocity and acceleration: an error of O(h^6) in q, and of O(h^5) in p, which is its derivative.
    """
    if motion.has_split:
        return _quintic_path(motion, start, end)
    return _cubic_path(motion, start, end)


def _end_data(motion: Any, start: Knot, end: Knot) -> tuple[float, Array, Array, Array, Array, Array, Array]:
    h, n, w = end.t - start.t, motion.dim, motion.inverse_mass
    a0, a1 = motion.acceleration(start.t, start.x, start.g), motion.acceleration(end.t, end.x, end.g)
    return h, start.x[:n], end.x[:n] - start.x[:n], h * w * start.x[n:], h * w * end.x[n:], h * h * a0, h * h * a1


def _quintic_path(motion: Any, start: Knot, end: Knot) -> Callable[[float], Array]:
    h, q0, dq, v0, v1, a0, a1 = _end_data(motion, start, end)
    c3 = 10 * dq - 6 * v0 - 4 * v1 - 1.5 * a0 + 0.5 * a1
    c4 = -15 * dq + 8 * v0 + 7 * v1 + 1.5 * a0 - a1
    c5 = 6 * dq - 3 * v0 - 3 * v1 - 0.5 * a0 + 0.5 * a1
    n, clone, x_end = motion.dim, motion.vectors.clone, end.x
    mass_over_h = motion.mass / h

    def path(theta: float) -> Array:
        x = clone(x_end)
        x[:n] = q0 + theta * (v0 + theta * (a0 / 2 + theta * (c3 + theta * (c4 + theta * c5))))
        x[n:] = mass_over_h * (v0 + theta * (a0 + theta * (3 * c3 + theta * (4 * c4 + theta * 5 * c5))))
        return x

    return path


def _cubic_path(motion: Motion, start: Knot, end: Knot) -> Callable[[float], Array]:
    h, x0, x1 = end.t - start.t, start.x, end.x
    f0, f1 = h * _field_of(motion, start), h * _field_of(motion, end)
    c2, c3 = 3 * (x1 - x0) - 2 * f0 - f1, 2 * (x0 - x1) + f0 + f1

    def path(theta: float) -> Array:
        return x0 + theta * (f0 + theta * (c2 + theta * c3))

    return path


def _field_of(motion: Motion, knot: Knot) -> Array:
    if knot.f is None:
        knot.f = motion.combine(knot.t, knot.x, knot.g, motion.vectors.empty(motion.size, knot.x))
    return knot.f


# The velocity of the quintic at the Gauss nodes, from (q1 - q0)/h, v0, v1, h a0, h a1.
def _velocity_rows(s: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    s2, s3, s4 = s * s, s**3, s**4
    return np.stack(
        [
            30 * s2 - 60 * s3 + 30 * s4,
            1 - 18 * s2 + 32 * s3 - 15 * s4,
            -12 * s2 + 28 * s3 - 15 * s4,
            s - 4.5 * s2 + 6 * s3 - 2.5 * s4,
            1.5 * s2 - 4 * s3 + 2.5 * s4,
        ],
        axis=1,
    )


_VELOCITY = _velocity_rows(_GAUSS_NODES)


def gauss_work(step: Step) -> tuple[float, float]:
    """Return dissipated and supplied work of a step by four Gauss-Legendre nodes on the path inside it.

    For the heavy ball this costs no gradient, and it beats an extra state of the method for every order up to 5; for other systems it
    costs four, on the method's interpolant.
    """
    motion: Any = step.motion
    h = step.t1 - step.t0
    if not motion.has_split:
        powers = []
        for s in _GAUSS_NODES:
            x = step.at(float(s))
            powers.append(motion.powers(step.t0 + h * s, x, motion.gradient(x)[1]))
        dissipated, supplied = h * (_GAUSS_WEIGHTS @ np.array(powers))
        return float(dissipated), float(supplied)
    start, end = step.start_view(), step.end_view()
    _, _, dq, v0, v1, a0, a1 = _end_data(motion, start, end)
    numpy = motion.vectors.numpy
    basis = np.stack([numpy(v).astype(np.float64, copy=False) for v in (dq, v0, v1, a0, a1)])
    squares = ((_VELOCITY @ (basis @ basis.T)) * _VELOCITY).sum(1) / (h * h)
    rates = np.array([float(motion.law.rate(step.t0 + h * float(s))) for s in _GAUSS_NODES])
    dissipated = h * float((_GAUSS_WEIGHTS * rates) @ squares)
    if motion.input is None:
        return dissipated, 0.0
    supplied = [motion.powers(step.t0 + h * float(s), step.at(float(s)))[1] for s in _GAUSS_NODES]
    return dissipated, h * float(_GAUSS_WEIGHTS @ np.array(supplied))


# --- a short step of Strang's splitting, which moves a located event onto its guard ---------------------------------------------------


def nudge(motion: Any, knot: Knot, dt: float) -> tuple[Knot, float, float]:
    """Move a knot of a heavy ball by a short time of either sign with one step of Strang's splitting, one gradient.

    Returns
    -------
    knot : Knot
        The state at ``knot.t + dt``.
    dissipated, supplied : float
        The work in between.
    """
    vectors, n = motion.vectors, motion.dim
    x = vectors.clone(knot.x)
    q, p = x[:n], x[n:]
    supplied = kick(motion, knot.t, q, p, knot.g, dt / 2)
    damping = motion.damping(knot.t, dt)
    dissipated = motion.weigh(damping.lost * motion.inverse_mass / 2, p)
    vectors.axpy(damping.drift, p, q)
    vectors.scale(damping.decay, p)
    height, g = motion.gradient(q)
    g = vectors.clone(g)
    supplied += kick(motion, knot.t + dt, q, p, g, dt / 2)
    return Knot(knot.t + dt, x, height, motion.kinetic(x), motion.climb(knot.t + dt, x, g), g), dissipated, supplied


def kick(motion: Any, t: float, q: Array, p: Array, g: Array, s: float) -> float:
    """Apply p += s (u - g) and return the work of u: s u . (p before + p after) / 2m."""
    u = motion.force(t, q)
    if u is None:
        motion.vectors.axpy(-s, g, p)
        return 0.0
    before = motion.vectors.clone(p)
    motion.vectors.axpy(-s, g, p)
    motion.vectors.axpy(s, u, p)
    return s / 2 * float(motion.vectors.dot(u, (before + p) * motion.inverse_mass))

