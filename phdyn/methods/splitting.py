"""Splittings of the heavy ball: kicks ``p -= b h grad V`` alternate with exact damped drifts.

Friction belongs to the drift, whose flow is exact, and time moves with the drift: so the order of any splitting survives friction
(Runge-Kutta-Nystrom coefficients included, since T is quadratic), and the map is conformally symplectic with factor exp(-gamma h/m).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from phdyn.errors import ArgumentError
from phdyn.friction import ConstantFriction
from phdyn.methods.stepping import Control, Step, gauss_work, kick, march_on_grid
from phdyn.motion import Knot, Motion
from phdyn.systems import HeavyBall
from phdyn.typing import Array, Coefficient

_ALARM = 1e6
"""A run whose energy has grown so often is bursting: its last state would drown in the rounding of what follows, and is copied."""


@dataclass(frozen=True)
class Splitting:
    """A splitting method as data that checks itself.

    Parameters
    ----------
    name : str
        Its name in the catalogue.
    order : int
        Declared order (``studies.measure_order`` measures it).
    kicks, drifts : tuple of float
        Free coefficients of the palindrome, from its start; the middle one of the longer half and consistency are implied: both
        sequences sum to 1. With ``symmetric=False``: all coefficients.
    source : str
        Paper and table.
    first : {"kick", "drift"}
        With which map a step begins.
    symmetric : bool
        Whether the sequences are palindromes given by their first halves.
    requires_quadratic_kinetic : bool
        Whether the order holds only for T = p.p/2m (Runge-Kutta-Nystrom coefficients).

    Raises
    ------
    ArgumentError
        Sequences that do not interleave, or do not sum to 1.

    Notes
    -----
    The work of an input is what the kicks do, u . (p before + p after)/2m each: of the method's order, except for Runge-Kutta-Nystrom
    coefficients, for which it is taken from Gauss nodes on the path inside the step.

    One gradient a stage; begun with a kick, V and its gradient at a step's end are known (the last kick's), begun with a drift they cost
    one gradient more. The path inside a step is the quintic: order 5 in p.
    """

    name: str
    order: int
    kicks: tuple[float, ...]
    drifts: tuple[float, ...]
    source: str
    first: str = "kick"
    symmetric: bool = True
    requires_quadratic_kinetic: bool = False
    kind: str = "order"
    family: str = "splitting"
    fixed: bool = True

    def __post_init__(self) -> None:
        kicks, drifts = self.sequences()
        longer, shorter = (kicks, drifts) if self.first == "kick" else (drifts, kicks)
        if self.first not in ("kick", "drift"):
            raise ArgumentError(f"splitting '{self.name}': first={self.first!r} is neither 'kick' nor 'drift'")
        if len(longer) - len(shorter) not in (0, 1):
            raise ArgumentError(f"splitting '{self.name}': {len(kicks)} kicks and {len(drifts)} drifts do not interleave")
        for what, coefficients in (("kicks", kicks), ("drifts", drifts)):
            if not abs(sum(coefficients) - 1) < 1e-12:
                raise ArgumentError(f"splitting '{self.name}': its {what} {coefficients} sum to {sum(coefficients)}, not 1")

    def sequences(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return all kicks and all drifts of a step."""
        if not self.symmetric:
            return self.kicks, self.drifts
        if self.first == "kick":
            return _palindromes(self.kicks, self.drifts)
        drifts, kicks = _palindromes(self.drifts, self.kicks)
        return kicks, drifts

    @property
    def stages(self) -> int:
        """Gradients a step."""
        return len(self.sequences()[1]) if self.first == "kick" else len(self.sequences()[0]) + 1

    @property
    def negative_drift(self) -> float:
        """Sum of the negative drifts, as a positive number: how long a step runs friction backwards, in steps."""
        return -sum(a for a in self.sequences()[1] if a < 0)

    def fits(self, system: Any) -> bool:
        """Say whether this is a heavy ball."""
        return isinstance(system, HeavyBall)

    def march(self, motion: Motion, start: Knot, t_end: float, observe: Callable[[Step], bool], control: Control) -> None:
        """See ``phdyn.typing.Method``."""
        stepper = SplittingStepper(self, motion, start, motion.live(start.x), keep_start=control.dense)
        march_on_grid(stepper, start.t, t_end, observe, control)


class SplittingStepper:
    """Advance by one step of a splitting, in place.

    Memory: q, p, the gradient, and what the start of a step needs: one vector for a method of one stage (the momentum after the first
    kick, from which the start is reconstructed to rounding at the price of a gradient), copies of q, p and the gradient otherwise.
    """

    def __init__(self, method: Splitting, motion: Any, start: Knot, x: Array, *, keep_start: bool = False) -> None:
        self.method, self.motion = method, motion
        self.x, self.q, self.p = x, x[: motion.dim], x[motion.dim :]
        self.kicks, self.drifts = _begun_with_kick(method)
        vectors = motion.vectors
        self.kicked: Array | None = None
        self.alarm = _ALARM * (abs(start.V) + start.T)
        if len(self.drifts) == 1 and not keep_start:
            self.kicked = vectors.empty(motion.dim, x)
        else:
            self._keep_starts()
        self.planned = (float("nan"), float("nan"))
        self.plan: list[tuple[float, Coefficient, Coefficient, Coefficient, float]] = []
        self.step = SplittingStep(self)
        self.step.begin(start)
        self.step.x1 = x
        self.steady = isinstance(motion.law, ConstantFriction)

    def _keep_starts(self) -> None:
        """Copy the start of each step from now on."""
        self.kicked = None
        self.x0, self.g0 = (self.motion.vectors.empty(n, self.x) for n in (self.motion.size, self.motion.dim))

    def prepare(self, t: float, h: float) -> None:
        """Compute the coefficients of a step; once for all steps of a length while friction is constant."""
        motion, offset = self.motion, 0.0
        self.plan = []
        for b, a in zip(self.kicks, self.drifts, strict=False):
            decay, drift, lost = motion.damping(t + offset, a * h)
            self.plan.append((-b * h, decay, drift, lost * motion.inverse_mass / 2, offset))
            offset += a * h
        self.last = -self.kicks[-1] * h if len(self.kicks) > len(self.drifts) else 0.0
        self.planned = (h, float("nan") if self.steady else t)

    def advance(self, t: float, t1: float, h: float) -> None:
        """Advance from t to t1 and fill the step."""
        self._begin_step(t, t1, h)
        step, motion, vectors, kicked = self.step, self.motion, self.motion.vectors, self.kicked
        axpy, dot, gradient = vectors.axpy, vectors.dot, motion.gradient
        p, q, g = self.p, self.q, step.g1
        forced = motion.input is not None
        dissipated = supplied = 0.0
        for b, decay, drift, lost, offset in self.plan:
            if forced:
                supplied += kick(motion, t + offset, q, p, g, -b)
            elif b:
                axpy(b, g, p)
            dissipated += lost * dot(p, p) if type(lost) is float else dot(lost * p, p)
            if kicked is not None:
                kicked[:] = p
            axpy(drift, p, q)
            vectors.scale(decay, p)
            height, g = gradient(q)
        if self.last:
            if forced:
                supplied += kick(motion, t1, q, p, g, -self.last)
            else:
                axpy(self.last, g, p)
        step.V1, step.g1, step.dissipated, step.supplied = height, g, dissipated, supplied
        self._look_at_end(p, g)
        if forced and self.method.requires_quadratic_kinetic:
            step.supplied = gauss_work(step)[1]

    def _begin_step(self, t: float, t1: float, h: float) -> None:
        """Move what is known at the end of the last step to the start of this one, and keep what its start needs."""
        step = self.step
        step.forward(t, t1)
        step._start = None
        if h != self.planned[0] or not self.steady:
            self.prepare(t, h)
        if self.kicked is not None and self.alarm < step.T0:
            self._keep_starts()
        if self.kicked is None:
            self.motion.vectors.copy(self.x, self.x0)
            self.motion.vectors.copy(step.g1, self.g0)

    def _look_at_end(self, p: Array, g: Array) -> None:
        """Fill in the energies and slopes at the step's end."""
        step, motion, dot = self.step, self.motion, self.motion.vectors.dot
        w = motion.inverse_mass
        if type(w) is float:
            step.T1, step.d1 = 0.5 * w * dot(p, p), w * dot(g, p)
        else:
            step.T1, step.d1 = motion.kinetic(self.x), motion.climb(step.t1, self.x, g)
        step.slope1 = dot(g, g)

    def start(self, g: Array | None = None) -> Knot:
        """Return the start of the step just taken, or of one that failed midway (then ``g`` is the gradient there)."""
        step, motion, vectors = self.step, self.motion, self.motion.vectors
        if self.kicked is None:
            x, g = vectors.clone(self.x0), vectors.clone(self.g0)
        else:
            x = vectors.clone(self.x)
            q, p = x[: motion.dim], x[motion.dim :]
            b, _, drift, _, _ = self.plan[0]
            step.hold()
            vectors.axpy(-drift, self.kicked, q)
            vectors.copy(self.kicked, p)
            g = vectors.clone(motion.gradient(q)[1] if g is None else g)
            if b:
                kick(motion, step.t0, q, p, g, b)
        return Knot(step.t0, x, step.V0, step.T0, step.d0, g)


class SplittingStep(Step):
    """A step of a splitting."""

    def __init__(self, stepper: SplittingStepper) -> None:
        super().__init__(stepper.motion)
        self.stepper = stepper
        self._start: Knot | None = None

    def start(self) -> Knot:
        """See Step."""
        if self._start is None:
            self._start = self.stepper.start()
        return self._start

    def start_as_kept(self) -> Knot:
        """See Step; until a step is complete its gradient is still the one at its start."""
        return self.stepper.start(self.g1)

    def until(self, tau: float) -> Step:
        """See Step; one gradient a stage."""
        start, motion = self.start(), self.motion
        stepper = SplittingStepper(self.stepper.method, motion, start, motion.vectors.clone(start.x))
        stepper.advance(start.t, start.t + tau, tau)
        stepper.step._start = start
        return stepper.step


def _palindromes(outer: tuple[float, ...], inner: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Complete two interleaved palindromes, the outer one entry longer, from their free coefficients; both then sum to 1."""
    if len(outer) == len(inner):
        return _even(outer), _odd(inner)
    if len(outer) == len(inner) + 1:
        return _odd(outer), _even(inner)
    raise ArgumentError(f"{len(outer)} and {len(inner)} free coefficients do not make a palindrome")


def _odd(free: tuple[float, ...]) -> tuple[float, ...]:
    return (*free, 1 - 2 * sum(free), *free[::-1])


def _even(free: tuple[float, ...]) -> tuple[float, ...]:
    half = (*free, 0.5 - sum(free))
    return (*half, *half[::-1])


def _begun_with_kick(method: Splitting) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return a step's sequences begun with a kick; a method begun with a drift gets an empty first kick."""
    kicks, drifts = method.sequences()
    if method.first == "drift":
        kicks = (0.0, *kicks, 0.0)[: len(drifts) + 1]
    return kicks, drifts


def check_stability(method: Splitting, friction: float, step: float) -> str | None:
    """Judge a splitting with negative drifts under strong friction.

    Parameters
    ----------
    method : Splitting
        The method.
    friction : float
        Largest gamma/m among the modes.
    step : float
        Step.

    Returns
    -------
    warning : str or None
        What to tell the user when friction runs backwards for more than 5 damping times a step.

    Raises
    ------
    ArgumentError
        The one-step map of the damped oscillator is unstable already at omega h = 0.05.
    """
    if method.negative_drift == 0 or friction == 0:
        return None
    backwards = friction * abs(step) * method.negative_drift
    if not _stable(method, friction * abs(step)):
        raise ArgumentError(
            f"method '{method.name}' runs friction backwards: unstable with gamma = {friction:g}, step = {abs(step):g};"
            f" use 'strang', or step <= {5 / (friction * method.negative_drift):.2g}"
        )
    if backwards > 5:
        return (
            f"method '{method.name}' runs friction backwards for {backwards:.1f} damping times a step (gamma = {friction:g},"
            f" step = {abs(step):g}): accuracy suffers; 'strang' does not"
        )
    return None


def _stable(method: Splitting, damped: float, omega_h: float = 0.05) -> bool:
    """Say whether the one-step map of q'' + gamma q' + omega^2 q = 0 (gamma h = damped, h = 1) has no eigenvalue outside the disc."""
    kicks, drifts = _begun_with_kick(method)
    matrix = np.eye(2)
    with np.errstate(over="ignore", invalid="ignore"):
        for k, a in enumerate(drifts):
            matrix = np.array([[1, 0], [-kicks[k] * omega_h**2, 1]]) @ matrix
            z = -damped * a
            matrix = np.array([[1, a * (np.expm1(z) / z if z else 1.0)], [0, np.exp(z)]]) @ matrix
        if len(kicks) > len(drifts):
            matrix = np.array([[1, 0], [-kicks[-1] * omega_h**2, 1]]) @ matrix
    return bool(np.isfinite(matrix).all() and np.abs(np.linalg.eigvals(matrix)).max() <= 1 + 1e-12)
