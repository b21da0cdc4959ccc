"""The flow of relativistic gradient descent: a ball that is never faster than c."""

from __future__ import annotations

from typing import Any, ClassVar

from phdyn.descents.state import Descent, column, is_number, require
from phdyn.errors import ArgumentError
from phdyn.systems import PortHamiltonianSystem


def relativistic(
    potential: Any, *, c: float, friction: float = 0.0, momentum_friction: float = 0.0, mass: float = 1.0
) -> PortHamiltonianSystem:
    """Return the flow of relativistic gradient descent: a ball that is never faster than c.

    The state is x = (q, p), of 2n components; with M = sqrt(m^2 + p.p/c^2) and the velocity v = p/M::

        q' = v,    p' = -grad V(q) - friction v - momentum_friction p,
        E = c sqrt(p.p + m^2 c^2) - m c^2 + V = p.p/(m + M) + V,    dE/dt = -friction v.v - momentum_friction p.v.

    Parameters
    ----------
    potential : Potential or callable
        V.
    c : float
        The speed limit, above 0; infinity gives the heavy ball.
    friction : float
        At least 0; acts on the velocity, by a constant R.
    momentum_friction : float
        At least 0; acts on the momentum. With it alone the flow is conformally symplectic, at this rate.
    mass : float
        m.

    Returns
    -------
    PortHamiltonianSystem

    Raises
    ------
    ArgumentError, ArgumentTypeError
        A number that is out of range, no potential.

    Notes
    -----
    J is canonical; R has the block (p, p) = (friction + momentum_friction M) I. The two frictions make two systems, which agree (at mass 1)
    where c is large. Energies are counted without the rest energy m c^2, which would cost digits.

    Franca, Sulam, Robinson & Vidal 2020, NeurIPS (arXiv 1903.04100), whose friction is that on the momentum.
    """
    return Relativistic(potential, c=c, friction=friction, momentum_friction=momentum_friction, mass=mass).system()


class Relativistic(Descent):
    """The mathematics of ``relativistic``."""

    name: ClassVar[str] = "relativistic"

    def __init__(self, potential: Any, *, c: Any, friction: Any, momentum_friction: Any, mass: Any) -> None:
        super().__init__(potential)
        if not is_number(c) or not c > 0:
            raise ArgumentError(f"relativistic(c={c!r}): a positive number is needed; math.inf gives the heavy ball")
        require(self.name, positive={"mass": mass}, at_least_0={"friction": friction, "momentum_friction": momentum_friction})
        self.c, self.friction, self.momentum_friction, self.mass = float(c), float(friction), float(momentum_friction), float(mass)

    def moving_mass(self, p: Any) -> Any:
        """Return M: ``(..., n) -> (...)``."""
        return (self.mass * self.mass + (p * p).sum(-1) / (self.c * self.c)) ** 0.5

    def _kinetic(self, parts: Any) -> Any:
        _, p = parts
        return (p * p).sum(-1) / (self.mass + self.moving_mass(p))

    def energy(self, V: Any, parts: Any) -> Any:  # noqa: N803
        """See Descent."""
        return V + self._kinetic(parts)

    def potential_of(self, E: Any, x: Any) -> Any:  # noqa: N803
        """See Descent."""
        return E - self._kinetic(self.split(x))

    def slopes(self, V: Any, g: Any, parts: Any) -> tuple[Any, ...]:  # noqa: N803
        """See Descent."""
        _, p = parts
        return g, p / column(self.moving_mass(p))

    def conserve(self, x: Any, v: Any) -> tuple[Any, ...]:
        """See Descent."""
        return v[1], -v[0]

    def dissipate(self, x: Any, v: Any) -> tuple[Any, ...]:
        """See Descent."""
        return 0 * v[0], (self.friction + self.momentum_friction * self.moving_mass(x[1])) * v[1]
