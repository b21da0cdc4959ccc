"""The stability limit of Strang's splitting, and the step to start with."""

from __future__ import annotations

from typing import Any

import numpy as np

from phdyn.arguments import check_shape
from phdyn.errors import ArgumentError
from phdyn.motion import bind
from phdyn.potentials import NetworkLoss
from phdyn.systems import HeavyBall
from phdyn.vectors import vectors_of

_ITERATIONS = 50


def suggest_step(system: HeavyBall, x0: Any, method: str = "strang") -> float:
    """Return a tenth of the largest stable step at x0, from the stiffest curvature there.

    Parameters
    ----------
    system : HeavyBall
        The system.
    x0 : (2n,) array_like or tensor
        Where to look; the limit elsewhere may be lower.
    method : {"strang"}
        For which method.

    Returns
    -------
    float
        ``h/10`` with ``(omega h)^2 = 2 gamma h coth(gamma h/2)`` (gamma/m; 2/omega without friction; METHODS 3.2), where ``omega^2`` is the
        leading eigenvalue of ``Hess V/m`` in size, by a power iteration on differences of gradients.

    Raises
    ------
    ArgumentError
        Not a heavy ball, another method, or no curvature at x0.
    """
    if not isinstance(system, HeavyBall) or method != "strang":
        raise ArgumentError(f"suggest_step knows the limit of 'strang' on a HeavyBall, not of {method!r} on {system!r}")
    curvature = _curvature_at(system, x0)
    if not curvature > 0:
        raise ArgumentError("V has no curvature at x0: no step can be suggested from there")
    damped = min(float(law.rate(1.0)) for law in system.laws.values()) / float(np.min(system.mass))
    return 0.1 * _limit(np.sqrt(curvature), damped)


def _curvature_at(system: HeavyBall, x0: Any) -> float:
    """Return the leading eigenvalue of Hess V/m at x0; a network's module is left as it was."""
    vectors, x = vectors_of(x0)
    check_shape(system, x)
    motion = bind(system, vectors, len(x), tensors=not isinstance(x0, (list, tuple, np.ndarray)))
    motion.check(0.0, x)
    network = system.potential if isinstance(system.potential, NetworkLoss) else None
    parameters = None if network is None else network.state_buffer[: network.dim].clone()
    try:
        return _leading_curvature(motion, motion.position(x))
    finally:
        if network is not None:
            network.load(parameters)


def strang_limit(step: float, friction: float, mass: float = 1.0) -> float:
    """Return the curvature of V up to which a step of Strang's splitting is stable: ``2 gamma coth(gamma h/2m)/h``; 4m/h^2 at gamma = 0.

    Parameters
    ----------
    step, friction, mass : float
        h, gamma and m of a heavy ball.
    """
    return 4 * mass / step**2 * _damped(friction / mass * step)


def _damped(z: float) -> float:
    """Return (z/2) coth(z/2)."""
    return float(z / 2 / np.tanh(z / 2)) if z > 2e-8 else 1.0


def _limit(omega: float, gamma: float) -> float:
    """Return the h with (omega h)^2 = 2 gamma h coth(gamma h/2)."""
    h = 2 / omega
    for _ in range(100):
        h_new = np.sqrt(4 * _damped(gamma * h)) / omega
        if abs(h_new - h) <= 1e-12 * h:
            break
        h = h_new
    return float(h)


def _leading_curvature(motion: Any, q: Any) -> float:
    vectors = motion.vectors
    rng = np.random.default_rng(0)
    base = vectors.clone(motion.gradient(q)[1])
    direction = vectors.clone(q)
    direction[:] = vectors.coefficient(rng.standard_normal(len(q)))
    curvature = 0.0
    for _ in range(_ITERATIONS):
        direction = direction / vectors.dot(direction, direction) ** 0.5
        difference = vectors.eps ** (1 / 3) * max(1.0, float(vectors.dot(q, q)) ** 0.5)
        shifted = motion.gradient(q + difference * direction)[1]
        image = (shifted - base) / difference * motion.inverse_mass
        previous, curvature = curvature, float(vectors.dot(image, image)) ** 0.5
        if curvature == 0.0 or abs(curvature - previous) <= 1e-3 * curvature:
            break
        direction = image
    return curvature
