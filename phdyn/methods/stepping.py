"""What all methods share: the Step that they push, and the march on a fixed grid.

A Step shows both ends (t, x, V, dV/dt, T, gradient), the work dissipated and supplied in between, a path inside, and the method's own
shorter step from its start. Detection of events, the energy account and the recording see nothing else; a step cut at an event is just
another Step.

Of a batch a Step has all rows: its numbers are arrays (k,), or floats where all rows share them (times), its vectors (size, k). ``take``
makes a Step of some rows that owns its vectors: what is done about an event is done there.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from math import ceil, floor
from typing import Any, Protocol

import numpy as np

from phdyn.friction import NODES, WEIGHTS
from phdyn.motion import Knot, Motion
from phdyn.typing import Array
from phdyn.vectors import take_rows

_NEARBY = 1e-4
"""Share of a step to either side of a place at which its path's slope is taken: an error of about 1e-8 of it."""


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
    parts : bool
        Whether a splitting follows the work of the gradient along its path.
    """

    step: float | None
    origin: float
    rtol: float = 1e-6
    atol: float = 1e-9
    max_step: float | None = None
    first_step: float | None = None
    dense: bool = False
    parts: bool = False


class Step:
    """One step of a run, a view that is valid while it is observed; see the module's first lines.

    ``d`` is dV/dt, ``x1`` and ``g1`` are the state and the gradient at the end (the run's own buffers).
    """

    def lift(self) -> Any:
        """Return by how much h dV/dt at the end may be larger on the path of ``track`` than on the trajectory, which turns there."""
        return 0.0

    def most_lift(self) -> Any:
        """Return a bound of ``lift`` that costs less."""
        return self.lift()

    nudges = True
    """Whether a short step of Strang's splitting may move an end onto a guard; not where the balance of each step is exact."""

    along: tuple[float, float] = (0.0, 0.0)
    """The work of the gradient along the path, by two rules, where it is followed."""

    ends_on_path = False
    """Whether ``until`` ends on the path of the whole step, which that of a step cut there then is a part of."""

    own_track = False
    """Whether ``track`` is the method's own path, which ``until`` follows; otherwise it is the interpolant's."""

    def __init__(self, motion: Motion) -> None:
        self.motion = motion
        self.t0: Any = 0.0
        self.t1: Any = 0.0
        self.V0: Any = 0.0
        self.V1: Any = 0.0
        self.T0: Any = 0.0
        self.T1: Any = 0.0
        self.d0: Any = 0.0
        self.d1: Any = 0.0
        self.slope0: Any = 0.0
        self.slope1: Any = 0.0
        self.dissipated: Any = 0.0
        self.supplied: Any = 0.0
        self.x1: Array = None
        self.g1: Array = None
        self.f1: Array = None
        self._path: Callable[[Any], Array] | None = None
        self._pushed: tuple[Knot, Array, Array | None] | None = None

    @property
    def h(self) -> Any:
        """Length, signed."""
        return self.t1 - self.t0

    def begin(self, knot: Knot) -> None:
        """Stand at a knot: what ``forward`` will move to the start of the next step."""
        self.t1, self.V1, self.T1, self.d1 = knot.t, knot.V, knot.T, knot.d
        self.x1, self.g1, self.f1 = knot.x, knot.g, knot.f
        self.slope1 = 0.0 if knot.g is None else self.motion.vectors.dot(knot.g, knot.g)

    def forward(self, t0: float, t1: float) -> None:
        """Make what is known at the end what is known at the start, for a next step from t0 to t1."""
        self.t0, self.t1, self.V0, self.T0, self.d0, self.slope0 = t0, t1, self.V1, self.T1, self.d1, self.slope1
        self._path = self._pushed = None

    def start(self) -> Knot:
        """Return the start of the step; the knot owns its vectors. Where a method did not keep it, this costs a gradient."""
        raise TypeError("a step knows its start")

    def know_start(self, start: Knot) -> None:
        """Take note of the start of the step, which then costs nothing."""

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

    def take(self, rows: Any) -> Step:
        """Return the step of some rows of a batch; it owns its vectors, and stays valid when the batch goes on.

        Parameters
        ----------
        rows : (k,) int array
            Places among this step's rows, each at most once.
        """
        raise TypeError("a step knows its rows")

    def ends(self, rows: Array) -> Step:
        """Return what is known of the ends of some rows, without the vectors: for tests of them alone."""
        part = copy(self)
        for name in _ENDS:
            setattr(part, name, take_rows(getattr(self, name), rows))
        return part

    def _take_numbers(self, of: Step, rows: Array) -> None:
        """Copy the numbers and the end of some rows of another step."""
        for name in _NUMBERS:
            setattr(self, name, take_rows(getattr(of, name), rows))

    def put(self, rows: Any, knot: Knot) -> None:
        """Stand at a knot in some rows of a batch: the next step of these rows starts there. What was known before is not overwritten."""
        self.hold()
        put: Any = self.motion.vectors.put  # type: ignore[union-attr]
        put(self.x1, rows, knot.x)
        put(self.g1, rows, knot.g)
        slope = self.motion.vectors.dot(knot.g, knot.g)
        for name, value in (("V1", knot.V), ("T1", knot.T), ("d1", knot.d), ("slope1", slope)):
            whole = np.array(getattr(self, name))
            whole[rows] = value
            setattr(self, name, whole)

    def until(self, tau: Any) -> Step:
        """Return the method's own step of length tau from the start of this one."""
        raise TypeError("a step knows its method")

    def track(self, theta: Any) -> Array:
        """Return the position at the fraction theta of the step on the path on which phdyn minimises V.

        Where ``own_track`` this is the method's own path, where ``until(theta h)`` ends, and costs no gradient once the start is known;
        otherwise it is that of ``at``.
        """
        if self.own_track:
            return self._own_position(theta * self.h)
        return self.motion.position(self.at(theta))

    def _own_position(self, tau: Any) -> Array:
        raise TypeError("a step knows its path")

    def own_rate(self, tau: Any, g: Array) -> Any:
        """Return dV/dt at time tau along the method's own path, from the gradient there: the path's slope costs no gradient."""
        nearby, position = _NEARBY * self.h, self._own_position
        return self.motion.vectors.dot(g, position(tau + nearby) - position(tau - nearby)) / (2 * nearby)

    def _push(self) -> tuple[Knot, Array, Array | None]:
        """Return the start of a heavy ball's step, its gradient, and the input there: computed once a step."""
        if self._pushed is None:
            start = self.start()
            self._pushed = start, start.g, self.motion.force(start.t, self.motion.position(start.x))
        return self._pushed

    def at(self, theta: Any) -> Array:
        """Return the state at the fraction theta of the step, on the path inside it."""
        if self._path is None:
            self._path = self.path()
        return self._path(theta)

    def path(self) -> Callable[[Any], Array]:
        """Return the path inside the step, theta in [0, 1] to a state; it stays valid after the step."""
        return hermite_path(self.motion, self.start(), self.end())


class KeptStep(Step):
    """A step whose stepper keeps its start: the state ``x0`` and the gradient ``g0``."""

    def __init__(self, stepper: Any) -> None:
        super().__init__(stepper.motion)
        self.stepper = stepper

    def start_view(self) -> Knot:
        """See Step."""
        return Knot(self.t0, self.stepper.x0, self.V0, self.T0, self.d0, self.stepper.g0)

    def start(self) -> Knot:
        """See Step."""
        view, clone = self.start_view(), self.motion.vectors.clone
        g, f = (None if v is None else clone(v) for v in (view.g, view.f))
        return Knot(view.t, clone(view.x), view.V, view.T, view.d, g, f)


def turned(step: Step, share: float) -> Any:
    """Return a bound for what ``Step.lift`` asks of a method of one stage: (share h^2/m) |g1| (|g0| + |g1|)."""
    motion, h = step.motion, step.t1 - step.t0
    return share * _weight(motion, h) * (step.slope1 + (step.slope0 * step.slope1) ** 0.5)


def turned_at_most(step: Step, share: float) -> Any:
    """Return a bound of ``turned`` without its root: a geometric mean is no larger than the arithmetic one."""
    weight = share * _weight(step.motion, step.t1 - step.t0)
    return 1.5 * weight * step.slope1 + 0.5 * weight * step.slope0


def _weight(motion: Any, h: Any) -> Any:
    return 0.5 * motion.quickness**2 * h * h if motion.has_split else abs(h)


_ENDS = ("t0", "t1", "V0", "V1", "T0", "T1", "d0", "d1", "slope0", "slope1")
_NUMBERS = (*_ENDS, "dissipated", "supplied", "x1", "g1", "f1")


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


def hermite_path(motion: Motion, start: Knot, end: Knot) -> Callable[[Any], Array]:
    """Return the path that matches what is known at both ends: the quintic in q for the heavy ball, the cubic in x otherwise.

    The quintic matches position, velocity and acceleration: an error of O(h^6) in q, and of O(h^5) in p, which is its derivative.
    """
    if motion.quadratic:
        return _quintic_path(motion, start, end)
    return _cubic_path(motion, start, end)


def _length(motion: Any, start: Knot, end: Knot) -> Any:
    """Return the length of a step as a coefficient."""
    h = end.t - start.t
    return h if motion.ids is None else motion.vectors.coefficient(h)


def _end_data(motion: Any, start: Knot, end: Knot) -> tuple[Any, Array, Array, Array, Array, Array, Array]:
    h, n, w = _length(motion, start, end), motion.dim, motion.inverse_mass
    a0, a1 = motion.acceleration(start.t, start.x, start.g), motion.acceleration(end.t, end.x, end.g)
    return h, start.x[:n], end.x[:n] - start.x[:n], h * w * start.x[n:], h * w * end.x[n:], h * h * a0, h * h * a1


def _quintic_path(motion: Any, start: Knot, end: Knot) -> Callable[[Any], Array]:
    h, q0, dq, v0, v1, a0, a1 = _end_data(motion, start, end)
    c3 = 10 * dq - 6 * v0 - 4 * v1 - 1.5 * a0 + 0.5 * a1
    c4 = -15 * dq + 8 * v0 + 7 * v1 + 1.5 * a0 - a1
    c5 = 6 * dq - 3 * v0 - 3 * v1 - 0.5 * a0 + 0.5 * a1
    n, clone, x_end = motion.dim, motion.vectors.clone, end.x
    mass_over_h = motion.mass / h
    coefficient = float if motion.ids is None else motion.vectors.coefficient

    def path(theta: Any) -> Array:
        x, theta = clone(x_end), coefficient(theta)
        x[:n] = q0 + theta * (v0 + theta * (a0 / 2 + theta * (c3 + theta * (c4 + theta * c5))))
        x[n:] = mass_over_h * (v0 + theta * (a0 + theta * (3 * c3 + theta * (4 * c4 + theta * 5 * c5))))
        return x

    return path


def _cubic_path(motion: Motion, start: Knot, end: Knot) -> Callable[[Any], Array]:
    h, x0, x1 = _length(motion, start, end), start.x, end.x
    f0, f1 = h * field_of(motion, start), h * field_of(motion, end)
    c2, c3 = 3 * (x1 - x0) - 2 * f0 - f1, 2 * (x0 - x1) + f0 + f1

    coefficient = float if motion.ids is None else motion.vectors.coefficient

    def path(theta: Any) -> Array:
        theta = coefficient(theta)
        return x0 + theta * (f0 + theta * (c2 + theta * c3))

    return path


def field_of(motion: Motion, knot: Knot) -> Array:
    """Return the vector field at a knot: it costs no gradient, and of a plain ``fun`` a call where it is not known."""
    if knot.f is None:
        out = motion.vectors.empty(motion.size, knot.x)
        knot.f = motion.combine(knot.t, knot.x, knot.g, out) if motion.has_energy else motion.field(knot.t, knot.x, out)[2]
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


_VELOCITY = _velocity_rows(NODES)


def gauss_work(step: Step) -> tuple[Any, Any]:
    """Return dissipated and supplied work of a step by four Gauss-Legendre nodes on the path inside it.

    For the heavy ball this costs no gradient, and it beats an extra state of the method for every order up to 5; for other systems it
    costs four, on the method's interpolant.
    """
    motion: Any = step.motion
    h = step.t1 - step.t0
    if motion.ids is not None:
        return _gauss_work_of_rows(step, motion, h)
    if not motion.quadratic:
        powers = []
        for s in NODES:
            x = step.at(float(s))
            powers.append(motion.powers(step.t0 + h * s, x, None if motion.has_split else motion.gradient(x)[1]))
        dissipated, supplied = h * (WEIGHTS @ np.array(powers))
        return float(dissipated), float(supplied)
    start, end = step.start_view(), step.end_view()
    _, _, dq, v0, v1, a0, a1 = _end_data(motion, start, end)
    numpy = motion.vectors.numpy
    basis = np.stack([numpy(v).astype(np.float64, copy=False) for v in (dq, v0, v1, a0, a1)])
    squares = ((_VELOCITY @ (basis @ basis.T)) * _VELOCITY).sum(1) / (h * h)
    rates = np.array([float(motion.law.rate(step.t0 + h * float(s))) for s in NODES])
    dissipated = h * float((WEIGHTS * rates) @ squares)
    if motion.input is None:
        return dissipated, 0.0
    supplied = [motion.powers(step.t0 + h * float(s), step.at(float(s)))[1] for s in NODES]
    return dissipated, h * float(WEIGHTS @ np.array(supplied))


def _gauss_work_of_rows(step: Step, motion: Any, h: Any) -> tuple[Any, Any]:
    """Return the work of each row, (k,); see ``gauss_work``."""
    times, weights = [step.t0 + h * float(s) for s in NODES], WEIGHTS
    if not motion.has_split:
        states = [step.at(float(s)) for s in NODES]
        powers = [motion.powers(t, x, motion.gradient(x)[1]) for t, x in zip(times, states, strict=True)]
        dissipated, supplied = h * np.tensordot(weights, np.array(powers), 1)
        return dissipated, supplied
    _, _, dq, v0, v1, a0, a1 = _end_data(motion, step.start_view(), step.end_view())
    basis = np.stack([motion.vectors.host(v).astype(np.float64, copy=False) for v in (dq, v0, v1, a0, a1)])
    velocities = np.tensordot(_VELOCITY, basis, 1)
    squares = np.einsum("snk,snk->sk", velocities, velocities)
    for square, weight, t in zip(squares, weights, times, strict=True):
        square *= weight * motion.law.rate(t)
    total = squares.sum(0)
    dissipated = np.divide(total, h, out=np.zeros_like(total), where=np.not_equal(h, 0))  # a row may stand still
    if motion.input is None:
        return dissipated, np.zeros_like(dissipated)
    supplied = [motion.powers(t, step.at(float(s)))[1] for t, s in zip(times, NODES, strict=True)]
    return dissipated, h * np.tensordot(weights, np.array(supplied), 1)


# --- a short step of Strang's splitting, which moves a located event onto its guard ---------------------------------------------------


def nudge(motion: Any, knot: Knot, dt: Any) -> tuple[Knot, Any, Any]:
    """Move a knot of a heavy ball by a short time of either sign with one step of Strang's splitting, one gradient.

    Of a batch: each row by its own time, dt (k,); the motion is that of the knot's rows.

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
    if motion.quadratic:
        damping = motion.damping(knot.t, dt)
        dissipated = motion.weigh(damping.lost * motion.inverse_mass / 2, p)
        vectors.axpy(damping.drift, p, q)
        vectors.scale(damping.decay, p)
    else:
        dissipated = motion.drift(knot.t, dt, q, p)
    height, g = motion.gradient(q)
    g = vectors.clone(g)
    supplied += kick(motion, knot.t + dt, q, p, g, dt / 2)
    return Knot(knot.t + dt, x, height, motion.kinetic(x), motion.climb(knot.t + dt, x, g), g), dissipated, supplied


def kick(motion: Any, t: Any, q: Array, p: Array, g: Array, s: Any) -> Any:
    """Apply p += s (u - g) and return the work of u: s u . (p before + p after) / 2m."""
    u = motion.force(t, q)
    if u is None:
        motion.vectors.axpy(-s, g, p)
        return 0.0 if motion.ids is None else np.zeros(len(motion.ids))
    before = motion.vectors.clone(p)
    motion.vectors.axpy(-s, g, p)
    motion.vectors.axpy(s, u, p)
    return s / 2 * motion.vectors.dot(u, (before + p) * motion.inverse_mass)

