"""Splittings of the heavy ball: kicks ``p -= b h grad V`` alternate with exact damped drifts.

Friction belongs to the drift, whose flow is exact, and time moves with the drift: so the order of any splitting survives friction
(Runge-Kutta-Nystrom coefficients included, since T is quadratic), and the map is conformally symplectic with factor exp(-gamma h/m).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from phdyn.errors import ArgumentError
from phdyn.friction import ConstantFriction, Damping
from phdyn.methods import damped_drift
from phdyn.methods.path_work import PathWork
from phdyn.methods.stepping import Control, Step, gauss_work, kick, march_on_grid, turned, turned_at_most
from phdyn.motion import Knot, Motion
from phdyn.systems import HeavyBall
from phdyn.typing import Array, Coefficient
from phdyn.vectors import take_rows

_ALARM = 1e6
"""A run whose energy has grown so often since its start is bursting: its last state would drown in the rounding of what follows, and is
copied."""


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
    damped_drift : callable
        The damped drift: its exact flow, or another rule of ``phdyn.methods.damped_drift``.

    Raises
    ------
    ArgumentError
        Sequences that do not interleave, or do not sum to 1; negative drifts by another rule than the exact flow.

    Notes
    -----
    The work of an input is what the kicks do, u . (p before + p after)/2m each: of the method's order, except for Runge-Kutta-Nystrom
    coefficients, for which it is taken from Gauss nodes on the path inside the step.

    One gradient a stage; begun with a kick, V and its gradient at a step's end are known (the last kick's), begun with a drift they cost
    one gradient more, in every step: the energy account and the events need them. The path inside a step is the quintic: order 5 in p.
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
    damped_drift: Callable[[Any, Any, Any], Damping] = field(default=damped_drift.exact, repr=False)

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
        if not self.exact and self.negative_drift:  # friction that runs backwards meets a pole, or worse
            raise ArgumentError(f"splitting '{self.name}': negative drifts {drifts} need the exact damped drift")

    @property
    def exact(self) -> bool:
        """Whether the damped drift is the exact flow."""
        return self.damped_drift is damped_drift.exact

    def sequences(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return all kicks and all drifts of a step."""
        if not self.symmetric:
            return self.kicks, self.drifts
        if self.first == "kick":
            return _palindromes(self.kicks, self.drifts)
        drifts, kicks = _palindromes(self.drifts, self.kicks)
        return kicks, drifts

    @property
    def any_kinetic(self) -> bool:
        """Whether the order holds for other kinetic energies than p.p/2m."""
        return self.exact and not self.requires_quadratic_kinetic

    @property
    def stages(self) -> int:
        """Gradients a step."""
        return len(self.sequences()[1]) if self.first == "kick" else len(self.sequences()[0]) + 1

    @property
    def cost(self) -> str:
        """Gradients a step, for the table of methods: begun with a drift, one of them is for V and its gradient at the end."""
        return str(self.stages) if self.first == "kick" else f"{self.stages - 1} + 1"

    @property
    def stage_times(self) -> tuple[float, float]:
        """Earliest and latest time of a stage, as fractions of the step: friction and input are evaluated there.

        Outside [0, 1] they leave the step: by negative drifts at its ends. What is not defined there (r/t near t = 0) is then refused.
        """
        times = np.cumsum([0.0, *self.sequences()[1]])
        return round(float(times.min()), 12), round(float(times.max()), 12)

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
        if control.parts:
            stepper.follow(start)
        march_on_grid(stepper, start.t, t_end, observe, control)

    def begin(self, motion: Motion, start: Knot) -> SplittingStepper:
        """Return what advances from a knot, in a copy of its state."""
        return SplittingStepper(self, motion, start, motion.vectors.clone(start.x))


class SplittingStepper:
    """Advance by one step of a splitting, in place.

    Memory: q, p, the gradient, and what the start of a step needs: one vector for a method of one stage (the momentum after the first
    kick, from which the start is reconstructed to rounding at the price of a gradient), copies of q, p and the gradient otherwise.
    """

    def __init__(self, method: Splitting, motion: Any, start: Knot, x: Array, *, keep_start: bool = False) -> None:
        self.method, self.motion = method, motion
        self.x, self.q, self.p = x, x[: motion.dim], x[motion.dim :]
        self.kicks, self.drifts = _begun_with_kick(method)
        self.one_stage = method.first == "kick" and len(self.drifts) == 1 and motion.quadratic
        vectors = motion.vectors
        self.kicked: Array | None = None
        self.alarm: Any = _ALARM * (abs(start.V) + start.T if motion.calm is None else motion.calm)
        if len(self.drifts) == 1 and not keep_start and motion.quadratic:
            self.kicked = vectors.empty(motion.dim, x)
        else:
            self._keep_starts()
        self.planned: tuple[Any, Any] = (float("nan"), float("nan"))
        self.plan: list[tuple[Any, Coefficient, Coefficient, Coefficient, Any]] = []
        self.step = SplittingStep(self)
        self.step.begin(start)
        self.step.x1 = x
        self.rows = motion.ids is not None
        self.steady = isinstance(motion.law, ConstantFriction)
        self.path_work: PathWork | None = None
        if self.rows:
            self.version = motion.version
            self.starts = KnownStarts(len(motion.ids))
            self.where = np.arange(len(motion.ids))

    def follow(self, start: Knot) -> None:
        """Follow the work of the gradient along the path from a knot on."""
        numpy = self.motion.vectors.numpy
        q, g = (np.array(numpy(v), dtype=np.float64) for v in (start.x[: self.motion.dim], start.g))
        self.path_work = PathWork(start.t, q, g)

    def _keep_starts(self) -> None:
        """Copy the start of each step from now on."""
        self.kicked = None
        self.x0, self.g0 = (self.motion.vectors.empty(n, self.x) for n in (self.motion.size, self.motion.dim))

    def prepare(self, t: Any, h: Any) -> None:
        """Compute the coefficients of a step; once for all steps of a length while friction is constant."""
        self.plan = self._coefficients(self.motion, t, h)
        self.last = -self.kicks[-1] * h if len(self.kicks) > len(self.drifts) and self.kicks[-1] else None
        self.planned = (h, float("nan") if self.steady else t)

    def _coefficients(self, motion: Any, t: Any, h: Any) -> list[tuple[Any, Coefficient, Coefficient, Coefficient, Any]]:
        """Return kick (None: there is none), decay, drift, the weight of the work lost, and the time, of each stage.

        Where the drift depends on |p| (T is not p.p/2m) decay is None, and drift its length in time.
        """
        plan: list[Any] = []
        offset = 0.0
        for b, a in zip(self.kicks, self.drifts, strict=False):
            if not motion.quadratic:
                plan.append((-b * h if b else None, None, a * h, None, offset))
                offset = offset + a * h
                continue
            decay, drift, lost = self.method.damped_drift(motion, t + offset, a * h)
            plan.append((-b * h if b else None, decay, drift, lost * motion.inverse_mass / 2, offset))
            offset = offset + a * h
        return plan

    def _prepare_rows(self, t: Any, h: Any) -> None:
        """Compute the coefficients of a batch's step, while friction is steady only those of rows whose mode has changed."""
        motion = self.motion
        self.steady = motion.law.steady
        same = isinstance(h, float) and isinstance(self.planned[0], float) and h == self.planned[0]  # an array may have been changed
        changed = motion.changed_since(self.version) if same and self.steady else None
        self.version = motion.version
        if changed is None:
            self.prepare(t, h)
        elif len(changed):
            renewed = self._coefficients(motion.take(changed), take_rows(t, changed), take_rows(h, changed))
            self.plan = [
                (old[0], *(_renewed(*pair, changed, len(self.where)) for pair in zip(old[1:4], new[1:4], strict=True)), old[4])
                for old, new in zip(self.plan, renewed, strict=True)
            ]

    def take(self, rows: Any) -> SplittingStepper:
        """Return a stepper that has taken the same step of some rows; it shares what is known of the step's starts."""
        part = copy(self)
        part.motion = self.motion.take(rows)
        part.x = take_rows(self.x, rows)
        part.q, part.p = part.x[: part.motion.dim], part.x[part.motion.dim :]
        part.plan = [tuple(take_rows(a, rows) for a in stage) for stage in self.plan]
        part.planned, part.version, part.where = (float("nan"), float("nan")), part.motion.version, self.where[rows]
        part.alarm = self.alarm[rows]
        if self.kicked is None:
            part.x0, part.g0 = take_rows(self.x0, rows), take_rows(self.g0, rows)
        else:
            part.kicked = take_rows(self.kicked, rows)
        part.step = SplittingStep(part)
        part.step._take_numbers(self.step, rows)
        part.step.x1 = part.x
        if self.step._start is not None:
            part.step._start = self.step._start.take(rows)
        return part

    def advance(self, t: Any, t1: Any, h: Any) -> None:
        """Advance from t to t1 and fill the step."""
        self._begin_step(t, t1, h)
        step, motion, vectors, kicked = self.step, self.motion, self.motion.vectors, self.kicked
        axpy, gradient, flow = vectors.axpy, motion.gradient, self._flow
        p, q, g = self.p, self.q, step.g1
        forced = motion.input is not None
        dissipated, supplied = 0.0, 0.0
        path_work = self.path_work
        for k, (b, decay, drift, lost, offset) in enumerate(self.plan, 1):
            if b is not None:
                if forced:
                    supplied = supplied + kick(motion, t + offset, q, p, g, -b)
                else:
                    axpy(b, g, p)
            if kicked is not None:
                kicked[:] = p
            dissipated += flow(t + offset, decay, drift, lost)
            height, g = gradient(q)
            if path_work is not None:
                path_work.visit(t1 if k == len(self.plan) else t + self.plan[k][4], vectors.numpy(q), vectors.numpy(g))
        if self.last is not None:
            if forced:
                supplied = supplied + kick(motion, t1, q, p, g, -self.last)
            else:
                axpy(self.last, g, p)
        step.V1, step.g1, step.dissipated, step.supplied = height, g, dissipated, supplied
        self._look_at_end(p, g)
        if forced and self.method.requires_quadratic_kinetic:
            step.supplied = gauss_work(step)[1]
        if path_work is not None:
            step.along = path_work.work()

    def _flow(self, t: Any, decay: Coefficient, drift: Coefficient, lost: Any) -> Any:
        """Apply a damped drift; return the work of friction."""
        motion, q, p = self.motion, self.q, self.p
        if decay is None:
            return motion.drift(t, drift, q, p)
        vectors = motion.vectors
        work = lost * vectors.dot(p, p) if type(lost) is float else motion.weigh(lost, p)
        vectors.axpy(drift, p, q)
        vectors.scale(decay, p)
        return work

    def _begin_step(self, t: Any, t1: Any, h: Any) -> None:
        """Move what is known at the end of the last step to the start of this one, and keep what its start needs."""
        step = self.step
        step.forward(t, t1)
        step._start = None
        if self.path_work is not None:
            self.path_work.begin()
        if self.rows:
            self._prepare_rows(t, h)
            self.starts = KnownStarts(len(self.where))
            if self.kicked is not None and (self.alarm < step.T0).any():
                self._keep_starts()
        else:
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
        if type(w) is float and motion.quadratic:
            step.T1, step.d1 = 0.5 * w * dot(p, p), w * dot(g, p)
        else:
            step.T1, step.d1 = motion.kinetic(self.x), motion.climb(step.t1, self.x, g)
        step.slope1 = dot(g, g)

    def start(self, g: Array | None = None) -> Knot:
        """Return the start of the step just taken, or of one that failed midway (then ``g`` is the gradient there)."""
        if self.kicked is None or not self.rows or g is not None:
            return self._undone(g)
        missing = self.starts.missing(self.where)
        if len(missing) == len(self.where):
            knot = self._undone(None)
            self.starts.put(self.where, knot)
            return knot
        if len(missing):
            self.starts.put(self.where[missing], self.take(missing)._undone(None))
        x, g = self.starts.take(self.where)
        return Knot(self.step.t0, x, self.step.V0, self.step.T0, self.step.d0, g)

    def _undone(self, g: Array | None) -> Knot:
        """Return the start that was kept, or undo the drift and the kick at the price of a gradient."""
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
            if b is not None:
                kick(motion, step.t0, q, p, g, b)
        return Knot(step.t0, x, step.V0, step.T0, step.d0, g)


class KnownStarts:
    """What is known of the starts of one step of a batch, whoever asked for them: no row pays for its start twice."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.places: Array = None  # of each row among the columns that are known; -1: not known
        self.x: list[Array] = []
        self.g: list[Array] = []
        self.known = 0

    def missing(self, rows: Array) -> Array:
        """Return which of some rows are not known, as places among them."""
        return np.arange(len(rows)) if self.places is None else np.flatnonzero(self.places[rows] < 0)

    def put(self, rows: Array, knot: Knot) -> None:
        """Enter starts, which are then not to be changed."""
        if self.places is None:
            self.places = np.full(self.count, -1)
        self.places[rows] = np.arange(self.known, self.known + len(rows))
        self.known += len(rows)
        self.x.append(knot.x)
        self.g.append(knot.g)

    def take(self, rows: Array) -> tuple[Array, Array]:
        """Return states and gradients of rows that are known, as copies."""
        self.x, self.g = [_joined(self.x)], [_joined(self.g)]
        places = self.places[rows]
        return take_rows(self.x[0], places), take_rows(self.g[0], places)


def _joined(parts: list[Array]) -> Array:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts, 1) if isinstance(parts[0], np.ndarray) else torch.cat(parts, 1)


def _renewed(old: Coefficient, new: Coefficient, rows: Array, count: int) -> Coefficient:
    """Return a coefficient over the rows of a batch with some of them replaced; what all rows shared is written out first."""
    if isinstance(old, torch.Tensor) or isinstance(new, torch.Tensor):
        like = old if isinstance(old, torch.Tensor) else new
        old, new = (torch.as_tensor(a, dtype=like.dtype, device=like.device) for a in (old, new))
        whole = old.expand(*old.shape[:-1], count).clone() if old.ndim else old.repeat(count)
        whole[..., torch.as_tensor(rows, device=like.device)] = new
        return whole
    if np.ndim(old) and old.shape[-1] == count and (old.ndim == 1 or count > 1):
        whole = old
    else:
        whole = np.array(np.broadcast_to(old, (*np.shape(old)[:-1], count)))
    whole[..., rows] = new
    return whole


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

    def know_start(self, start: Knot) -> None:
        """See Step."""
        self._start = start

    def start_as_kept(self) -> Knot:
        """See Step; until a step is complete its gradient is still the one at its start."""
        return self.stepper.start(self.g1)

    @property
    def own_track(self) -> bool:  # type: ignore[override]
        """Whether this is one kick and one drift, whose end is known for any length without another gradient."""
        return self.stepper.one_stage

    def lift(self) -> Any:
        """See Step; the bound holds for each damped drift that does not outrun h/m and grows at least as fast as momentum decays."""
        return turned(self, 0.5) if self.own_track else 0.0

    def most_lift(self) -> Any:
        """See Step."""
        return turned_at_most(self, 0.5) if self.own_track else 0.0

    def _own_position(self, tau: Any) -> Array:
        motion: Any = self.motion
        vectors, (start, g, u) = motion.vectors, self._push()
        x = vectors.clone(start.x)
        q, p = x[: motion.dim], x[motion.dim :]
        kicked = vectors.coefficient(self.stepper.kicks[0] * tau)
        vectors.axpy(-kicked, g, p)
        if u is not None:
            vectors.axpy(kicked, u, p)
        vectors.axpy(self.stepper.method.damped_drift(motion, start.t, tau).drift, p, q)
        return q

    def take(self, rows: Any) -> Step:
        """See Step."""
        return self.stepper.take(rows).step

    def until(self, tau: Any) -> Step:
        """See Step; one gradient a stage."""
        start, motion = self.start(), self.motion
        stepper = self.stepper.method.begin(motion, start)
        if self.stepper.path_work is not None:
            stepper.path_work = self.stepper.path_work.fork()
        stepper.advance(start.t, start.t + tau, tau)
        stepper.step.know_start(start)
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
    matrix = one_step_matrix(method, damped, omega_h)
    return bool(np.isfinite(matrix).all() and np.abs(np.linalg.eigvals(matrix)).max() <= 1 + 1e-12)


def one_step_matrix(method: Splitting, damped: float, omega_h: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the map of one step on q'' + gamma q' + omega^2 q = 0, of (q, p h), from the coefficients alone.

    Parameters
    ----------
    method : Splitting
        The method.
    damped, omega_h : float
        gamma h and omega h.
    """
    kicks, drifts = _begun_with_kick(method)
    matrix = np.eye(2)
    with np.errstate(over="ignore", invalid="ignore"):
        for k, a in enumerate(drifts):
            matrix = np.array([[1, 0], [-kicks[k] * omega_h**2, 1]]) @ matrix
            z = -damped * a
            matrix = np.array([[1, a * (np.expm1(z) / z if z else 1.0)], [0, np.exp(z)]]) @ matrix
        if len(kicks) > len(drifts):
            matrix = np.array([[1, 0], [-kicks[-1] * omega_h**2, 1]]) @ matrix
    return matrix
