"""Kinetic energies other than p.p/2m, with the exact flow of their damped drift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from phdyn.errors import ArgumentError
from phdyn.friction import NODES, WEIGHTS, ConstantFriction

_NOTHING = 1e-200
"""Below it friction over a step changes no digit, and its quotients lose theirs to underflow."""


@dataclass(frozen=True)
class RelativisticKinetic:
    """``T = c sqrt(|p|^2 + m^2 c^2) - m c^2``: no parameter vector moves faster than c (Franca, Sulam, Robinson & Vidal 2020).

    The velocity is ``c p / sqrt(|p|^2 + m^2 c^2)``; for small momenta it is p/m and T is |p|^2/2m. The energy at rest is taken off.

    Parameters
    ----------
    c : float
        The largest speed.

    Raises
    ------
    ArgumentError
        A speed that is not positive and finite.
    """

    c: float

    def __post_init__(self) -> None:
        if isinstance(self.c, bool) or not isinstance(self.c, (int, float, np.number)) or not 0 < self.c < float("inf"):
            raise ArgumentError(f"RelativisticKinetic(c={self.c!r}): a positive finite speed is needed")

    def energy(self, square: Any, mass: float) -> Any:
        """Return T of |p|^2; no digits are lost for small momenta."""
        rest = mass * self.c
        return self.c * square / ((square + rest**2) ** 0.5 + rest)

    def speed_over_momentum(self, square: float, mass: float) -> float:
        """Return what p is multiplied with to be the velocity, of |p|^2."""
        return self.c / float(np.sqrt(square + (mass * self.c) ** 2))

    def drift(self, square: float, mass: float, law: Any, t: float, h: float) -> tuple[float, float, float]:
        """Return the exact flow of ``q' = v(p), p' = -gamma p/m`` over h, of |p|^2 at its start.

        Parameters
        ----------
        square : float
            |p|^2.
        mass : float
            m.
        law : FrictionLaw
            gamma(t).
        t, h : float
            Start and length, of either sign.

        Returns
        -------
        decay, along, lost : float
            ``p *= decay``, ``q += along p`` (p at the start), and the kinetic energy that friction takes. For constant friction
            ``along = (c m/gamma) [asinh(|p|/mc) - asinh(|p| decay/mc)]/|p|`` (METHODS 1), the difference taken inside asinh; otherwise by
            four Gauss-Legendre nodes, which is exact to the order of every method up to 8.
        """
        c, rest = self.c, mass * self.c
        z = -float(law.integral(t, t + h)) / mass
        decay, energy0 = float(np.exp(z)), float(np.sqrt(square + rest**2))
        energy1 = float(np.sqrt(square * decay**2 + rest**2))
        lost = -c * square * float(np.expm1(2 * z)) / (energy0 + energy1)
        if isinstance(law, ConstantFriction):
            if abs(z) < _NOTHING:
                return decay, h * c / energy0, lost
            x = float(np.sqrt(square)) / rest
            k = -float(np.expm1(2 * z)) * rest / (energy1 + decay * energy0)  # asinh x - asinh(x decay) = asinh(k x)
            turned = float(np.arcsinh(k * x)) / x if x > 0 else k
            return decay, -turned * h / (mass * z), lost
        decays = [float(np.exp(-law.integral(t, t + h * s) / mass)) for s in NODES]
        along = h * sum(w * c * d / float(np.sqrt(square * d**2 + rest**2)) for w, d in zip(WEIGHTS, decays, strict=True))
        return decay, float(along), lost
