"""Born-Infeld dynamics: no friction, and a speed limit that falls with the potential."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch

from phdyn.descents.state import Descent, column, is_number
from phdyn.errors import ArgumentError
from phdyn.systems import PortHamiltonianSystem


def born_infeld(potential: Any, *, delta: float = 0.0) -> PortHamiltonianSystem:
    """Return Born-Infeld dynamics (BBI), an energy-conserving descent: no friction, and a speed limit that falls with the potential.

    The state is x = (q, p), of 2n components; with U = V - delta > 0::

        q' = (U/E) p,    p' = -(U/E + E/U) grad V(q)/2,
        E = sqrt(U (U + p.p)),    dE/dt = 0.

    Parameters
    ----------
    potential : Potential or callable
        V.
    delta : float
        Below every value of V. Where U is not positive there are no equations: a run that gets there ends with status -2.

    Returns
    -------
    PortHamiltonianSystem

    Raises
    ------
    ArgumentError, ArgumentTypeError
        A delta that is no finite number, no potential; at the start of a run: U is not positive there.

    Notes
    -----
    J is canonical, R = 0. Along a run ``|q'|^2 = U (1 - U^2/E^2) <= U``: the ball is slow where V is low, and spends its time there.

    De Luca & Silverstein 2022, ICML (arXiv 2201.11137). Their optimizer adds bounces, and a rescaling of p, to this flow.
    """
    return BornInfeld(potential, delta=delta).system()


class BornInfeld(Descent):
    """The mathematics of ``born_infeld``."""

    name: ClassVar[str] = "born_infeld"

    def __init__(self, potential: Any, *, delta: Any) -> None:
        super().__init__(potential)
        if not is_number(delta) or not math.isfinite(delta):
            raise ArgumentError(f"born_infeld(delta={delta!r}): a finite number below every value of V is needed")
        self.delta = float(delta)

    def _above(self, V: Any) -> Any:  # noqa: N803 (the field's letter)
        """Return U where it is positive, nan elsewhere."""
        U = V - self.delta
        return torch.where(U > 0, U, torch.nan) if isinstance(U, torch.Tensor) else np.where(U > 0, U, np.nan)[()]

    def energy(self, V: Any, parts: Any) -> Any:  # noqa: N803
        """See Descent."""
        (_, p), U = parts, self._above(V)
        return (U * (U + (p * p).sum(-1))) ** 0.5

    def potential_of(self, E: Any, x: Any) -> Any:  # noqa: N803
        """See Descent."""
        _, p = self.split(x)
        square = (p * p).sum(-1)
        return self.delta + 2 * E * E / (square + (square * square + 4 * E * E) ** 0.5)

    def slopes(self, V: Any, g: Any, parts: Any) -> tuple[Any, ...]:  # noqa: N803
        """See Descent."""
        share = self._above(V) / self.energy(V, parts)
        return column((share + 1 / share) / 2) * g, column(share) * parts[1]

    def check_start(self, x: Any) -> tuple[Any, Any]:
        """See Descent."""
        E, slope = self.value_and_grad(x)
        if not math.isfinite(float(E)):
            U = float(self.height(self.split(x)[0])) - self.delta
            if U <= 0:
                raise ArgumentError(f"born_infeld: V - delta = {U:.6g} at x0; delta = {self.delta:g} must be below every value of V")
        return E, slope

    def conserve(self, x: Any, v: Any) -> tuple[Any, ...]:
        """See Descent."""
        return v[1], -v[0]

    def dissipate(self, x: Any, v: Any) -> tuple[Any, ...]:
        """See Descent."""
        return 0 * v[0], 0 * v[1]
