"""Nesterov's accelerated gradient, as a discretization of the heavy ball of order 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from phdyn.methods.sgd import SgdMap, SgdStep, SgdStepper
from phdyn.methods.stepping import kick
from phdyn.motion import Knot, Motion
from phdyn.typing import Array, Coefficient


@dataclass(frozen=True)
class NesterovMap(SgdMap):
    """``p = mu p - h grad V(q + h mu p/m); q += h p/m``: torch's map, with the gradient at the point where momentum alone would lead.

    The positions are Nesterov's x in ``x+ = y - s grad V(y), y+ = x+ + mu (x+ - x)`` with s = h^2/m; p = m (x - x-)/h. The parameters of
    ``torch.optim.SGD(nesterov=True)`` are the points y.

    Parameters
    ----------
    friction : {"explicit", "exact"}
        ``mu = 1 - gamma h/m``, or ``mu = exp(-int gamma/m)``. Explicit friction r/t from t = (r - 1) h on gives step k the mu of Su, Boyd &
        Candes 2016, (k - 1)/(k + r - 1).

    Notes
    -----
    Two gradients a step: one where the map asks for it, at the look-ahead point, and one at the step's end, for V and dV/dt there.

    Not conformally symplectic: where V has the curvature lambda, a step contracts areas by ``mu (1 - s lambda)``. So the positions do not
    have the recurrence of ``SgdMap``. On a quadratic the map is stable for s lambda < 2 (1 + mu)/(1 + 2 mu).
    """

    name: str = "nesterov"
    source: str = "Nesterov 1983, Soviet Math. Dokl. 27, 372; in momenta: Sutskever, Martens, Dahl & Hinton 2013, PMLR 28, 1139"
    stages: int = 2

    def stepper(self, motion: Motion, start: Knot, x: Array) -> SgdStepper:
        """See SgdMap."""
        return NesterovStepper(self, motion, start, x)


class NesterovStepper(SgdStepper):
    """Advance by one iteration, in place; the start is kept."""

    def new_step(self) -> SgdStep:
        """See SgdStepper."""
        return NesterovStep(self)

    def push(self, t: Any, t1: Any, h: Any, drift: Coefficient) -> Any:
        """Kick p by the force at the look-ahead point, which is about where the step ends: the input is that of its end, too."""
        motion, vectors, n = self.motion, self.motion.vectors, self.motion.dim
        q, p = self.x[:n], self.x[n:]
        vectors.axpy(drift, p, q)
        supplied = kick(motion, t1, q, p, motion.gradient(q)[1], h)
        vectors.copy(self.x0[:n], q)
        return supplied


class NesterovStep(SgdStep):
    """One iteration; the path inside is the interpolant's, since the method's own costs a gradient a place."""

    own_track = False

    def lift(self) -> Any:
        """See Step."""
        return 0.0


NESTEROV = NesterovMap()
