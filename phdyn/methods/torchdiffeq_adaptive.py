"""torchdiffeq's adaptive solvers, driven through the public ``odeint`` and its step callback.

The callback runs before each try, with the last accepted state: a time that has moved means that a step was accepted. To stop, it
raises; the last step ends exactly at the span's end and arrives as odeint's return value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from phdyn.methods.adaptive import KnotStep, RightHandSide, resolving, with_work
from phdyn.methods.stepping import Control, Step
from phdyn.motion import Halt, Knot, Motion
from phdyn.typing import Array


@dataclass(frozen=True)
class TorchdiffeqAdaptive:
    """An adaptive Runge-Kutta method of torchdiffeq, in the precision and on the device of x0.

    Parameters
    ----------
    name : str
        torchdiffeq's name.
    order : int
        Order of the solution that is propagated.
    source : str
        Paper.
    solver : str
        torchdiffeq's name where it is another.
    last_at_end : bool
        Whether the last stage is at the step's end. Otherwise it is at a predictor, and torchdiffeq takes the derivative there for the one
        at the next step's start.

    Notes
    -----
    V and its gradient at a step's end are those of the last stage, so observing costs nothing. Where that is not at the end they cost one
    gradient more a step. A located event re-solves from the step's start. The path inside a step is phdyn's quintic (the cubic for systems
    without a split, through the field at both ends, where it may cost a call).
    """

    name: str
    order: int
    source: str
    kind: str = "tolerance"
    family: str = "adaptive"
    fixed: bool = False
    any_kinetic: bool = True
    solver: str = ""
    last_at_end: bool = True

    def fits(self, system: Any) -> bool:
        """Say yes: every system has a vector field."""
        return True

    def march(self, motion: Motion, start: Knot, t_end: float, observe: Callable[[Step], bool], control: Control) -> None:
        """See ``phdyn.typing.Method``."""
        from torchdiffeq import odeint

        carries_work = motion.has_energy and not (motion.free_powers and self.order <= 5)
        solve = _Solve(self, motion, start, observe, control, carries_work=carries_work)
        state = motion.vectors.tensor(motion.vectors.clone(start.x))
        if carries_work:
            state = torch.cat([state, state.new_zeros(2)])
        times = torch.tensor([start.t, t_end], dtype=torch.float64, device=state.device)
        options: dict[str, Any] = {"norm": solve.norm, "step_t": times[1:]}
        if control.max_step is not None:
            options["max_step"] = control.max_step
        if control.first_step is not None:
            options["first_step"] = min(control.first_step, abs(t_end - start.t))
        try:
            with torch.no_grad():
                path = odeint(solve, state, times, rtol=control.rtol, atol=control.atol, method=self.solver or self.name, options=options)
            solve.accept(t_end, solve.last_stage(t_end, path[-1]))
        except _Stop:
            return
        except AssertionError as error:  # how torchdiffeq says so
            if "underflow" in str(error):
                raise Halt(-1, f"{self.name}'s step underflows at t = {solve.knot.t:.6g}: is the loss smooth there?") from error
            raise Halt(-2, f"the state is not finite after t = {solve.knot.t:.6g}") from error


class _Stop(Exception):  # noqa: N818
    """The observer has seen enough."""


class _Solve:
    """The function that odeint integrates, with its step callback."""

    def __init__(
        self,
        method: TorchdiffeqAdaptive,
        motion: Motion,
        start: Knot,
        observe: Callable[[Step], bool],
        control: Control,
        *,
        carries_work: bool,
    ) -> None:
        self.method, self.motion, self.observe, self.control = method, motion, observe, control
        self.rhs = RightHandSide(motion, work=carries_work, must_be_finite=True, ulps=1.5)
        self.rhs.remember(start)
        self.knot, self.work = start, (0.0, 0.0)
        self.tried = False

    def norm(self, error: torch.Tensor) -> torch.Tensor:
        """Return the root mean square over the state alone."""
        return error[: self.motion.size].abs().pow(2).mean().sqrt()

    def _vector(self, y: torch.Tensor) -> Array:
        return self.motion.vectors.from_tensor(y[: self.motion.size])

    def __call__(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the vector field, with the two powers appended where the state carries work."""
        f, powers = self.rhs(float(t), self._vector(y))
        field = self.motion.vectors.tensor(f)
        return torch.cat([field, field.new_tensor(powers)]) if self.rhs.work else field

    def callback_step(self, t: torch.Tensor, y: torch.Tensor, dt: torch.Tensor) -> None:
        """See whether a step was accepted since the last try, or the last try was rejected."""
        if float(t) != self.knot.t:
            self.accept(float(t), y)
        elif self.tried:
            self.motion.nrejected += 1
        self.tried = True

    def last_stage(self, t: float, y: torch.Tensor) -> torch.Tensor:
        """Return odeint's last state, read off its interpolant, with the state of the last stage, where f is known, if that is there."""
        known = self.rhs.known if self.method.last_at_end else None
        if known is not None and self.rhs.is_near(known, t, self._vector(y)):
            y = y.clone()
            y[: self.motion.size] = self.motion.vectors.tensor(known.x)
        return y

    def accept(self, t: float, y: torch.Tensor) -> None:
        """Push the step that ends at (t, y)."""
        motion, start = self.motion, self.knot
        end = self.rhs.knot(t, self._vector(y))
        work = None
        if self.rhs.work:
            total = tuple(y[motion.size :].tolist())
            work, self.work = (total[0] - self.work[0], total[1] - self.work[1]), total
        self.knot = end
        step = KnotStep(motion, start, end, resolving(self.method, motion, start, self.control), None)
        if self.observe(with_work(step, work)):
            raise _Stop


DOPRI5 = TorchdiffeqAdaptive("dopri5", 5, "Dormand & Prince 1980, J. Comput. Appl. Math. 6, 19")
DOPRI8 = TorchdiffeqAdaptive("dopri8", 8, "Prince & Dormand 1981, J. Comput. Appl. Math. 7, 67")
BOSH3 = TorchdiffeqAdaptive("bosh3", 3, "Bogacki & Shampine 1989, Appl. Math. Lett. 2, 321")
FEHLBERG2 = TorchdiffeqAdaptive("fehlberg2", 2, "Fehlberg 1969, NASA TR R-315 (Runge-Kutta 1(2))", last_at_end=False)
"""Its error estimate is h^2/512 x'', 1/256 of that of ``adaptive_heun``: for as small an error it needs an rtol 256 times smaller."""
ADAPTIVE_HEUN = TorchdiffeqAdaptive(
    "adaptive_heun", 2, "Heun 1900, Z. Math. Phys. 45, 23 (estimate: the difference from Euler's method)", last_at_end=False
)
"""Its last stage, the next step's first, is at Euler's predictor: one gradient a try, and one more a step for V at its end. The order that
is measured at fixed steps is 2 all the same."""
