"""The inertial Newton system: damping along the Hessian, without the Hessian."""

from __future__ import annotations

from typing import Any, ClassVar

from phdyn.descents.state import Descent, join, require
from phdyn.systems import PortHamiltonianSystem


def inertial_newton(potential: Any, *, a: float, b: float) -> PortHamiltonianSystem:
    """Return the inertial Newton system (INNA, DIN): q'' + a q' + b Hess V(q) q' + grad V(q) = 0, without the Hessian.

    The state is x = (q, psi), of 2n components; with w = (a - 1/b) q + psi/b::

        q' = -w - b grad V(q),    psi' = -w,
        E = (a b + 1) V + |w|^2/2 = (a b + 1) V + |q' + b grad V|^2/2,    dE/dt = -a |q'|^2 - b |grad V|^2.

    Parameters
    ----------
    potential : Potential or callable
        V.
    a : float
        Viscous damping, at least 0.
    b : float
        Newtonian damping, above 0. The system is stiff in 1/b.

    Returns
    -------
    PortHamiltonianSystem

    Raises
    ------
    ArgumentError, ArgumentTypeError
        A number that is out of range, no potential.

    Notes
    -----
    In multiples of I, R has the blocks (q, q) = (q, psi) = (psi, q) = b/(ab + 1) and (psi, psi) = b, and J has (psi, q) = b/(ab + 1) =
    -(q, psi). The energy of the heavy ball, V + |q'|^2/2, is not that of this system: it changes by ``-a |q'|^2 - b q' . Hess V q'``, and
    may rise.
    The start of the paper is ``psi = (1 - a b) q`` (``start``), which means q' = -b grad V, not rest.

    Castera, Bolte, Fevotte & Pauwels 2021, JMLR 22(134) (arXiv 1905.12278). The equation of second order: Alvarez, Attouch, Bolte & Redont
    2002, J. Math. Pures Appl. 81, 747.
    """
    return InertialNewton(potential, a=a, b=b).system()


class InertialNewton(Descent):
    """The mathematics of ``inertial_newton``."""

    name: ClassVar[str] = "inertial_newton"

    def __init__(self, potential: Any, *, a: float, b: float) -> None:
        super().__init__(potential)
        require(self.name, positive={"b": b}, at_least_0={"a": a})
        self.a, self.b = float(a), float(b)

    def _w(self, q: Any, psi: Any) -> Any:
        return (self.a - 1 / self.b) * q + psi / self.b

    def energy(self, V: Any, parts: Any) -> Any:  # noqa: N803
        """See Descent."""
        w = self._w(*parts)
        return (self.a * self.b + 1) * V + (w * w).sum(-1) / 2

    def potential_of(self, E: Any, x: Any) -> Any:  # noqa: N803
        """See Descent."""
        w = self._w(*self.split(x))
        return (E - (w * w).sum(-1) / 2) / (self.a * self.b + 1)

    def slopes(self, V: Any, g: Any, parts: Any) -> tuple[Any, ...]:  # noqa: N803
        """See Descent."""
        w = self._w(*parts)
        return (self.a * self.b + 1) * g + (self.a - 1 / self.b) * w, w / self.b

    def conserve(self, x: Any, v: Any) -> tuple[Any, ...]:
        """See Descent."""
        (vq, vpsi), share = v, self.b / (self.a * self.b + 1)
        return -share * vpsi, share * vq

    def dissipate(self, x: Any, v: Any) -> tuple[Any, ...]:
        """See Descent."""
        (vq, vpsi), share = v, self.b / (self.a * self.b + 1)
        return share * (vq + vpsi), share * vq + self.b * vpsi

    def start(self, x: Any) -> Any:
        """See Descent."""
        q = self.split(x)[0]
        return join([q, (1 - self.a * self.b) * q])
