"""Friction-adaptive descent: a ball whose friction grows with its kinetic energy."""

from __future__ import annotations

from typing import Any, ClassVar

from phdyn.descents.state import Descent, require
from phdyn.systems import PortHamiltonianSystem


def friction_adaptive(potential: Any, *, alpha: float, mu: float, gamma: float = 0.0, mass: float = 1.0) -> PortHamiltonianSystem:
    """Return friction-adaptive descent (KFAD): a ball whose friction grows with its kinetic energy, and fades.

    The state is x = (q, p, xi), of 2n + 1 components::

        q' = p/m,    p' = -grad V(q) - (xi + gamma) p,    xi' = p.p/(m mu) - alpha xi,
        E = p.p/2m + V + mu xi^2/2,    dE/dt = -gamma p.p/m - alpha mu xi^2.

    Parameters
    ----------
    potential : Potential or callable
        V.
    alpha : float
        Rate at which the friction xi fades, at least 0.
    mu : float
        Inertia of that friction, above 0: the larger, the slower it grows.
    gamma : float
        Constant friction beside it, at least 0. Friction acts on p here, not on p/m.
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
    J has the blocks (q, p) = I and (p, xi) = -p/mu, and their negative transposes; R has (p, p) = gamma m I and (xi, xi) = alpha/mu. Where
    xi >= 0 at the start, it stays so, and the energy of the ball falls as well: ``H = p.p/2m + V``, ``dH/dt = -(xi + gamma) p.p/m``.

    Karoni, Leimkuhler & Stoltz 2023, J. Comput. Dyn. 10, 450 (arXiv 2306.06738). The equations are written from memory. They agree
    with the abstract: Nose-Hoover dynamics at temperature zero, with dissipation added in the physical and the auxiliary variable. The text
    of the paper was not at hand.
    """
    return FrictionAdaptive(potential, alpha=alpha, mu=mu, gamma=gamma, mass=mass).system()


class FrictionAdaptive(Descent):
    """The mathematics of ``friction_adaptive``."""

    name: ClassVar[str] = "friction_adaptive"
    numbers: ClassVar[int] = 1

    def __init__(self, potential: Any, *, alpha: float, mu: float, gamma: float, mass: float) -> None:
        super().__init__(potential)
        require(self.name, positive={"mu": mu, "mass": mass}, at_least_0={"alpha": alpha, "gamma": gamma})
        self.alpha, self.mu, self.gamma, self.mass = float(alpha), float(mu), float(gamma), float(mass)

    def _moving(self, parts: Any) -> Any:
        _, p, xi = parts
        return (p * p).sum(-1) / (2 * self.mass) + self.mu / 2 * (xi * xi).sum(-1)

    def energy(self, V: Any, parts: Any) -> Any:  # noqa: N803
        """See Descent."""
        return V + self._moving(parts)

    def potential_of(self, E: Any, x: Any) -> Any:  # noqa: N803
        """See Descent."""
        return E - self._moving(self.split(x))

    def slopes(self, V: Any, g: Any, parts: Any) -> tuple[Any, ...]:  # noqa: N803
        """See Descent."""
        _, p, xi = parts
        return g, p / self.mass, self.mu * xi

    def conserve(self, x: Any, v: Any) -> tuple[Any, ...]:
        """See Descent."""
        (_, p, _), (vq, vp, vxi) = x, v
        return vp, -vq - vxi / self.mu * p, (p * vp).sum(-1)[..., None] / self.mu

    def dissipate(self, x: Any, v: Any) -> tuple[Any, ...]:
        """See Descent."""
        vq, vp, vxi = v
        return 0 * vq, self.gamma * self.mass * vp, self.alpha / self.mu * vxi
