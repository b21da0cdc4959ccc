"""scipy's adaptive solvers, driven through their public step interface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from phdyn.methods.adaptive import KnotStep, RightHandSide, not_finite, resolving, with_work
from phdyn.methods.stepping import Control, Step
from phdyn.motion import Halt, Knot, Motion
from phdyn.typing import Array

if TYPE_CHECKING:
    from scipy.integrate import OdeSolver


@dataclass(frozen=True)
class ScipyAdaptive:
    """A solver of ``scipy.integrate``; it works in float64.

    Parameters
    ----------
    name : str
        scipy's name of the class.
    order : int
        Order of the solution that is propagated.
    source : str
        Paper.
    solver : str
        scipy's name of the class where it is another.
    explicit : bool
        Whether it is a Runge-Kutta pair, whose last call is at the step's end. The others cost one more gradient a step for the loss
        there, and need a dense Jacobian.

    Notes
    -----
    A located event re-solves from the step's start (explicit methods on a system), or takes the method's interpolant.
    """

    name: str
    order: int
    source: str
    explicit: bool
    kind: str = "tolerance"
    family: str = "adaptive"
    fixed: bool = False
    any_kinetic: bool = True
    double_only: bool = True
    solver: str = ""

    @property
    def dense_jacobian(self) -> bool:
        """Whether memory grows with the square of the number of components."""
        return not self.explicit

    def fits(self, system: Any) -> bool:
        """Say yes: every system has a vector field."""
        return True

    def march(self, motion: Motion, start: Knot, t_end: float, observe: Callable[[Step], bool], control: Control) -> None:
        """See ``phdyn.typing.Method``."""
        carries_work = self.explicit and motion.has_energy and not (motion.free_powers and self.order <= 5)
        rhs = RightHandSide(motion, work=carries_work, must_be_finite=not self.explicit)
        rhs.remember(start)
        y0 = rhs.extend(start.x)
        solver = self._solver(rhs, y0, start.t, t_end, control)
        try:
            self._push(solver, rhs, start, observe, control)
        finally:
            motion.njev += int(solver.njev)
            motion.nlu += int(solver.nlu)

    def _push(self, solver: OdeSolver, rhs: RightHandSide, start: Knot, observe: Callable[[Step], bool], control: Control) -> None:
        """Push the solver's steps into ``observe``."""
        motion, carries_work = rhs.motion, rhs.work
        size, knot, total = motion.size, start, np.zeros(2)
        on_system = motion.has_energy and self.explicit
        while solver.status == "running":
            motion.nrejected += self._advance(solver, rhs, knot.t)
            state = np.array(solver.y)
            end = rhs.knot(float(solver.t), state[:size])
            work = None
            if carries_work:
                work, total = tuple(state[size:] - total), state[size:]
            step = KnotStep(motion, knot, end, _no_step, _interpolant(solver, size))
            step.again = resolving(self, motion, knot, control) if on_system else _on_interpolant(step)
            step.ends_on_path = not on_system
            if observe(with_work(step, work)):
                return
            knot = end

    def _solver(self, rhs: RightHandSide, y0: Array, t0: float, t_end: float, control: Control) -> OdeSolver:
        size, atol, rtol = rhs.size, control.atol, control.rtol
        scale: Any = atol
        if rhs.work:
            share = np.sqrt(size / (size + 2))
            rtol, scale = rtol * share, np.concatenate([np.full(size, atol * share), np.full(2, np.inf)])

        def fun(t: float, y: Array) -> Array:
            f, powers = rhs(float(t), y[:size])
            return np.concatenate([f, powers]) if rhs.work else f

        bounds: dict[str, Any] = {"max_step": np.inf if control.max_step is None else control.max_step}
        if control.first_step is not None:
            bounds["first_step"] = min(control.first_step, abs(t_end - t0))
        solver_class = getattr(import_module("scipy.integrate"), self.solver or self.name)
        return solver_class(fun, t0, y0, t_end, rtol=rtol, atol=scale, **bounds)  # type: ignore[no-any-return]

    def _advance(self, solver: OdeSolver, rhs: RightHandSide, t: float) -> int:
        """Take a step of the solver; return how many tries it rejected, as far as its counter of calls tells."""
        calls = solver.nfev
        message = solver.step()
        tries = (solver.nfev - calls) // int(getattr(solver, "n_stages")) if self.explicit else 1  # noqa: B009 (not in scipy's stubs)
        if solver.status == "failed":
            rhs.motion.nrejected += tries if self.explicit else 0
            self._fail(rhs, t, message)
        return tries - 1

    def _fail(self, rhs: RightHandSide, t: float, message: str | None) -> None:
        known = rhs.known
        if known is not None and not (np.isfinite(known.V) and rhs.motion.vectors.finite(known.f)):
            raise Halt(-2, not_finite(rhs.motion, known.V, known.t))
        remedy = "is the loss smooth there? try looser tolerances, or 'strang'"
        raise Halt(-1, f"{self.name}'s step underflows at t = {t:.6g} ({message}): {remedy}")


def _interpolant(solver: OdeSolver, size: int) -> Callable[[], Callable[[float], Array]]:
    def ask() -> Callable[[float], Array]:
        dense = solver.dense_output()
        return lambda t: np.array(dense(t)[:size])

    return ask


def _on_interpolant(step: KnotStep) -> Callable[[float], Step]:
    def again(tau: float) -> Step:
        motion, t = step.motion, step.t0 + tau
        x = step.at(tau / step.h)
        end = motion.knot(t, x) if motion.has_energy else Knot(t, x, 0.0, 0.0, 0.0, None)
        part = KnotStep(motion, step.first, end, again, lambda: lambda s: step.at((s - step.t0) / step.h))
        return with_work(part, None)

    return again


def _no_step(tau: float) -> Step:
    raise TypeError(f"no step of length {tau}")


RK45_SCIPY = ScipyAdaptive("RK45", 5, "Dormand & Prince 1980, J. Comput. Appl. Math. 6, 19", explicit=True)
DOP853_SCIPY = ScipyAdaptive("DOP853", 8, "Hairer, Norsett & Wanner 1993, Solving ODEs I, II.10", explicit=True)
LSODA_SCIPY = ScipyAdaptive("LSODA", 12, "Petzold 1983, SIAM J. Sci. Stat. Comput. 4, 136 (orders 1 to 12)", explicit=False)
RADAU_SCIPY = ScipyAdaptive("Radau", 5, "Hairer & Wanner 1996, Solving ODEs II, IV.8 (Radau IIA)", explicit=False)
RK23_SCIPY = ScipyAdaptive("RK23", 3, "Bogacki & Shampine 1989, Appl. Math. Lett. 2, 321", explicit=True)
BDF_SCIPY = ScipyAdaptive("BDF", 5, "Shampine & Reichelt 1997, SIAM J. Sci. Comput. 18, 1 (orders 1 to 5)", explicit=False)
