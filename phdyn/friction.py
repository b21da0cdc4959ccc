"""Friction laws gamma(t) and the exact flow of the damped drift q' = p/m, p' = -gamma(t) p/m.

A law is any object with ``rate(t)`` and ``integral(t0, t1)``. Friction is part of the drift, and time moves with it: over a
substep of length h (of either sign) the flow is ``q += c p, p *= exp(-Gamma)``, with ``Gamma = int gamma/m`` and
``c = (1/m) int exp(-Gamma(s)) ds``; in closed form for the laws here that have one, by four Gauss-Legendre nodes otherwise, which
is exact to the order of every method up to 8.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch

from phdyn.actions import RebaseGoal
from phdyn.errors import ArgumentError, ArgumentTypeError
from phdyn.events import Event, check_event
from phdyn.potentials import hvp
from phdyn.potentials.products import position
from phdyn.transitions import Transition
from phdyn.typing import Coefficient, FrictionLaw

NODES, WEIGHTS = (0.5 + 0.5 * np.polynomial.legendre.leggauss(4)[0], 0.5 * np.polynomial.legendre.leggauss(4)[1])
"""Gauss and Legendre's four nodes and weights on [0, 1]."""


class Damping(NamedTuple):
    """The damped drift over one substep: ``q += drift p``, ``p *= decay``; it turns the fraction ``lost`` of T into heat."""

    decay: Coefficient
    drift: Coefficient
    lost: Coefficient


class ConstantFriction:
    """The same rate at all times; ``friction=0.3`` means ``ConstantFriction(0.3)``.

    Parameters
    ----------
    rate : float or (B,) array
        gamma >= 0 (1/time at mass 1); an array has one rate for each trajectory of a batch.
    """

    rowwise = True
    """Whether ``rate`` and ``damping`` take arrays over rows; laws that do not say so are asked a row at a time."""

    def __init__(self, rate: Any) -> None:
        self._rate = _checked_rates(rate)

    def rate(self, t: Any) -> Any:
        """Return gamma."""
        return self._rate

    def integral(self, t0: Any, t1: Any) -> Any:
        """Return gamma (t1 - t0)."""
        return self._rate * (t1 - t0)

    def damping(self, mass: Coefficient, t: Any, h: Any) -> Damping:
        """Return the exact flow over h; ``phi1`` keeps every digit down to gamma = 0."""
        z = -self._rate * h / mass
        return Damping(np.exp(z), h / mass * phi1(z), -np.expm1(2 * z))

    @property
    def count(self) -> int | None:
        """Number of trajectories that have a rate of their own; None where all share one."""
        return None if isinstance(self._rate, float) else len(self._rate)

    def take(self, ids: Any) -> ConstantFriction:
        """Return the law of some trajectories of a batch."""
        return self if isinstance(self._rate, float) else ConstantFriction(self._rate[ids])

    def __repr__(self) -> str:
        if isinstance(self._rate, float):
            return f"ConstantFriction({self._rate:g})"
        return f"ConstantFriction({len(self._rate)} rates, {self._rate.min(initial=np.inf):g} to {self._rate.max(initial=0.0):g})"


class ScheduledFriction:
    """A rate that depends on time.

    Parameters
    ----------
    rate : callable
        ``rate(t) -> float``. It may go negative (energy is then fed in; the energy balance will say so).
    integral : callable, optional
        ``integral(t0, t1) -> float``; by four Gauss-Legendre nodes when it is not given.
    """

    def __init__(self, rate: Callable[[float], float], integral: Callable[[float, float], float] | None = None) -> None:
        if not callable(rate):
            raise ArgumentTypeError(f"ScheduledFriction needs a function rate(t), not {rate!r}; a number is ConstantFriction")
        self.rate = rate
        self.integral = self._quadrature if integral is None else integral

    def _quadrature(self, t0: float, t1: float) -> float:
        h = t1 - t0
        return h * sum(float(w) * self.rate(t0 + h * float(s)) for s, w in zip(NODES, WEIGHTS, strict=True))

    def __repr__(self) -> str:
        return f"ScheduledFriction({getattr(self.rate, '__name__', self.rate)})"


class NesterovFriction:
    """The rate r/t of Nesterov's ODE (Su, Boyd and Candes, JMLR 17 (2016) 153), in closed form; singular at t = 0.

    Parameters
    ----------
    r : float
        Strength; 3 in Nesterov's method.
    restart : float, optional
        Whenever its mode is entered, at the start of the run too, the clock starts anew at this time > 0: the restarts of O'Donoghue &
        Candes and of Su, Boyd & Candes restart friction with the momentum.
    """

    def __init__(self, r: float = 3.0, *, restart: float | None = None) -> None:
        self.r = _checked_rate(r)
        if restart is not None and not 0 < restart < float("inf"):
            raise ArgumentError(f"NesterovFriction(restart={restart}): a finite time > 0 is needed, at which the clock starts anew")
        self.restart, self.since = restart, 0.0

    def entered(self, t: float) -> NesterovFriction:
        """Return the law whose clock has started at time t, where it restarts."""
        if self.restart is None:
            return self
        law = NesterovFriction(self.r, restart=self.restart)
        law.since = t - self.restart
        return law

    def start(self, potential: Any, q0: Any, t: float, *, mass: float = 1.0) -> Any:
        """Return the state at a time t > 0 of a ball that is at rest at q0 at t = 0, by its series there.

        Parameters
        ----------
        potential : Potential
            V, with ``value_and_grad``.
        q0 : (n,) array or tensor
            Where it rests.
        t : float
            When the run is to start. Within a step from t = h friction changes by its own size: Strang keeps its order from there, methods
            of higher order keep small errors but not their order; several steps later all do.
        mass : float
            m.

        Returns
        -------
        (2n,) array or tensor
            ``q0 + a t^2 + b t^4`` and ``m (2 a t + 4 b t^3)``, with ``rho = r/m``, ``a = -grad V/(2 m (1 + rho))`` and
            ``b = -Hess V a/(4 m (3 + rho))``: errors of t^6 and t^5 (Su, Boyd & Candes 2016, section 3, have the first term). A gradient
            and a Hessian-vector product.

        Raises
        ------
        ArgumentError
            A time <= 0, or a clock that restarts.
        """
        if not t > 0 or self.restart is not None:
            raise ArgumentError(f"the series at t = 0 gives the state at a time > 0 of a clock that never restarts, not at {t:g}")
        q = position(q0)
        rho = self.r / mass
        a = -potential.value_and_grad(q)[1] / (2 * mass * (1 + rho))
        b = -hvp(potential, q, a) / (4 * mass * (3 + rho))
        join: Any = torch.cat if isinstance(q, torch.Tensor) else np.concatenate
        return join([q + t**2 * (a + t**2 * b), 2 * mass * t * (a + 2 * t**2 * b)])

    def rate(self, t: float) -> float:
        """Return r/t.

        Raises
        ------
        ArgumentError
            At t <= 0.
        """
        if t <= self.since:
            raise ArgumentError(
                f"friction r/t is singular at t = {t:g}: start the span at a time > 0; from rest, NesterovFriction(r).start(V, q0, t)"
                " is the state at t"
            )
        return self.r / (t - self.since)

    def integral(self, t0: float, t1: float) -> float:
        """Return r log(t1/t0), to rounding for times that are close.

        Raises
        ------
        ArgumentError
            A time <= 0.
        """
        return self.r * self._length(t0 - self.since, t1 - t0)

    def damping(self, mass: Coefficient, t: float, h: float) -> Damping:
        """Return the exact flow over h: ``c = t L phi1((1 - r/m) L) / m`` with ``L = log(1 + h/t)``."""
        t -= self.since
        length = self._length(t, h)
        exponent = self.r / mass
        z = -exponent * length
        return Damping(np.exp(z), t * length * phi1((1 - exponent) * length) / mass, -np.expm1(2 * z))

    @staticmethod
    def _length(t: float, h: float) -> float:
        """Return log((t + h)/t)."""
        if t <= 0 or t + h <= 0:
            raise ArgumentError(
                f"friction r/t is singular at t = 0, which a substep from t = {t:g} over {h:g} reaches: start the span later, or use a"
                " method whose stages stay inside the step, such as 'strang' or 'blanes-moan-4'"
            )
        return float(np.log1p(h / t))

    def __repr__(self) -> str:
        return f"NesterovFriction({self.r:g})"


class SwitchedFriction:
    """Low friction until an event fires, then high: explore, reach the goal, brake.

    Parameters
    ----------
    explore, exploit : float or law
        Friction before and after the event; the modes carry these names.
    goal : LossGoal or event, or a tuple of them
        What fires the switch: ``LossGoal(reduction=0.8)``, another of ``phdyn.events``, or scipy's ``event(t, x)``. A ladder: tuples of
        equal length as goal and exploit; the modes are then "explore", "exploit-1", "exploit-2", ...
    fallback : event, optional
        What switches to the next mode where the goal is not reached, such as ``Stagnation(5.0)`` or ``TimeReached(40.0)``.
    reexplore : event, optional
        What leads from an exploit mode back to explore. Reductions then refer to the loss at that moment.
    """

    def __init__(
        self,
        explore: float | FrictionLaw,
        exploit: float | FrictionLaw | tuple[Any, ...],
        goal: Event | tuple[Event, ...],
        fallback: Event | None = None,
        reexplore: Event | None = None,
    ) -> None:
        ladder = isinstance(goal, tuple)
        goals: tuple[Event, ...] = goal if isinstance(goal, tuple) else (goal,)
        rates = exploit if isinstance(exploit, tuple) else (exploit,)
        if ladder != isinstance(exploit, tuple) or len(goals) != len(rates):
            raise ArgumentError(f"a ladder takes as many goals as exploit rates, both tuples, not goal={goal!r} and exploit={exploit!r}")
        if not goals:
            raise ArgumentError("a ladder has at least one goal")
        for event in goals:
            check_event(event, "the goal of a SwitchedFriction")
        for event in (fallback, reexplore):
            if event is not None:
                check_event(event, "the fallback or reexplore of a SwitchedFriction")
        names = [f"exploit-{k}" for k in range(1, len(goals) + 1)] if ladder else ["exploit"]
        self.laws: dict[str, FrictionLaw] = {"explore": as_friction(explore)}
        self.laws |= {name: as_friction(rate) for name, rate in zip(names, rates, strict=True)}
        self.goal, self.fallback, self.reexplore = goal, fallback, reexplore
        steps = list(zip(["explore", *names], names, goals, strict=False))
        self.transitions = [Transition(source, target, event) for source, target, event in steps]
        if fallback is not None:
            self.transitions += [Transition(source, target, fallback) for source, target, _ in steps]
        if reexplore is not None:
            self.transitions += [Transition(name, "explore", reexplore, RebaseGoal()) for name in names]

    def __repr__(self) -> str:
        laws = ", ".join(f"{name}={law}" for name, law in self.laws.items())
        return f"SwitchedFriction({laws}, goal={self.goal})"


def as_friction(friction: Any) -> FrictionLaw:
    """Return a number as a constant law, and a law as it is.

    Raises
    ------
    ArgumentTypeError
        Neither a number nor an object with ``rate`` and ``integral``.
    """
    if isinstance(friction, type):
        raise ArgumentTypeError(f"friction is the class {friction.__name__}: pass an object, {friction.__name__}(...)")
    if isinstance(friction, FrictionLaw):
        return friction
    if isinstance(friction, SwitchedFriction):
        raise ArgumentTypeError("a SwitchedFriction cannot be the law of one mode of another")
    if np.ndim(friction) == 0 and np.asarray(friction).dtype.kind in "iuf":
        return ConstantFriction(float(friction))
    rates = _rates_of(friction)
    if rates is not None:
        return ConstantFriction(rates)
    raise ArgumentTypeError(f"friction is a number or an object with rate(t) and integral(t0, t1), not {friction!r}")


def _rates_of(friction: Any) -> Any:
    """Return the rates of the trajectories of a batch as an array; None where it is none of numbers."""
    if isinstance(friction, (list, tuple)) and friction and all(isinstance(rate, Real) and not isinstance(rate, bool) for rate in friction):
        friction = np.array(friction, dtype=np.float64)
    rates = friction.detach().cpu().numpy() if isinstance(friction, torch.Tensor) else friction
    return rates if isinstance(rates, np.ndarray) and rates.dtype.kind in "iuf" else None


def damping(law: FrictionLaw, mass: Coefficient, t: float, h: float) -> Damping:
    """Return the damped drift of a law from t over h (of either sign): the law's closed form, or four Gauss-Legendre nodes."""
    exact = getattr(law, "damping", None)
    if exact is not None:
        return exact(mass, t, h)  # type: ignore[no-any-return]
    whole = law.integral(t, t + h) / mass
    drift = sum(float(w) * np.exp(-law.integral(t, t + h * float(s)) / mass) for s, w in zip(NODES, WEIGHTS, strict=True))
    return Damping(np.exp(-whole), h / mass * drift, -np.expm1(-2 * whole))


def entered(law: FrictionLaw, t: float) -> FrictionLaw:
    """Return a law as it is in a mode that is entered at time t: itself, unless its clock starts there."""
    start = getattr(law, "entered", None)
    return law if start is None else start(t)


def phi1(z: Any) -> Any:
    """Return ``(exp(z) - 1)/z``, 1 at z = 0, to rounding (scipy's ``exprel``; loaded on first use, it takes a tenth of a second)."""
    from scipy.special import exprel

    return exprel(z)


def check_rows(law: Any, batch: int | None) -> None:
    """Check that a law with a rate for each trajectory fits the run.

    Parameters
    ----------
    law : FrictionLaw
        The law of a mode.
    batch : int or None
        Number of trajectories; None for a run of one state (n,).

    Raises
    ------
    ArgumentError
        An array of rates in a run of one state, or as many rates as the batch has no trajectories.
    """
    count = law.count if isinstance(law, ConstantFriction) else None
    if count is None or count == batch:
        return
    if batch is None:
        raise ArgumentError(f"friction has {count} rates, x0 is one state: give one rate, or x0 of shape ({count}, 2n)")
    raise ArgumentError(f"friction has {count} rates, x0 brings {batch} trajectories: give one rate, or one a trajectory")


def _checked_rate(rate: float) -> float:
    if not (np.isfinite(rate) and rate >= 0):
        raise ArgumentError(f"friction is {rate}: a finite rate >= 0 is needed (a rate(t) that goes negative: ScheduledFriction)")
    return float(rate)


def _checked_rates(rate: Any) -> Any:
    """Return a rate as a float, or the rates of a batch (B,) as a float64 array of their own."""
    if np.ndim(rate) == 0:
        return _checked_rate(rate)
    array = np.array(rate, dtype=np.float64)
    if array.ndim > 1:
        raise ArgumentError(f"friction has shape {array.shape}: a number is needed, or one a trajectory, (B,)")
    for bad in array[~(np.isfinite(array) & (array >= 0))]:
        _checked_rate(bad)
    return array
