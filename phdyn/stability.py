"""The step to start with: a tenth of the method's stability limit."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from phdyn.arguments import check_shape
from phdyn.errors import ArgumentError
from phdyn.methods.catalogue import check_fit, resolve
from phdyn.methods.oscillator import SCAN, largest_step, strang_limit
from phdyn.motion import bind
from phdyn.potentials import NetworkLoss
from phdyn.systems import GradientFlow, HeavyBall
from phdyn.vectors import vectors_of

__all__ = ["strang_limit", "suggest_step"]

_ITERATIONS: Final = 50


def suggest_step(system: HeavyBall | GradientFlow, x0: Any, method: Any = "strang", *, t: float = 1.0) -> float:
    """Return a tenth of the largest stable step at x0, from the stiffest curvature there.

    Parameters
    ----------
    system : HeavyBall or GradientFlow
        The system.
    x0 : (2n,) or (n,) array_like or tensor
        Where to look; the limit elsewhere may be lower.
    method : str or Method
        A method of fixed steps.
    t : float
        When to look at friction that depends on time.

    Returns
    -------
    float
        ``h/10``, where a step of h is the longest before the method first loses stability on ``q'' + gamma q' + omega^2 q = 0`` (gamma/m,
        in the mode, and with the largest or smallest mass, where that is soonest; for a gradient flow on ``q' = -omega^2 q``), and
        ``omega^2`` is the leading eigenvalue of ``Hess V/m`` in size, by a power iteration on Hessian-vector products. Strang's limit is
        ``(omega h)^2 = 2 gamma h coth(gamma h/2)`` (METHODS 3.2). A method that is stable up to ``h omega = 12`` gets a tenth of that.

    Raises
    ------
    ArgumentError
        Another system, a method that chooses its steps or is unstable however short they are, or no curvature at x0.
    """
    chosen = resolve(method)
    if not isinstance(system, HeavyBall | GradientFlow):
        raise ArgumentError(f"suggest_step knows limits on a HeavyBall or a GradientFlow, not on {system!r}")
    check_fit(chosen, system)
    if not chosen.fixed:
        raise ArgumentError(f"method '{chosen.name}' chooses its steps: there is none to suggest")
    curvature = _curvature_at(system, x0)
    if not curvature > 0:
        raise ArgumentError("V has no curvature at x0: no step can be suggested from there")
    if isinstance(system, GradientFlow):
        rate, limit, damped = curvature, _limit(chosen, None), 0.0
    else:
        rate, masses = curvature**0.5, (float(np.min(system.mass)), float(np.max(system.mass)))
        frictions = {float(np.max(law.rate(t))) / mass for law in system.laws.values() for mass in masses}
        limit, damped = min((_limit(chosen, friction / rate), friction) for friction in frictions)
    if limit == 0:
        raise ArgumentError(f"method '{chosen.name}' is unstable there, with gamma = {damped:g}, however short the step: use 'strang'")
    return 0.1 * (SCAN[-1] if np.isinf(limit) else limit) / rate


def _limit(method: Any, friction: float | None) -> float:
    """Return the largest h omega of a method; one that cannot be hashed is looked at anew each time."""
    try:
        return largest_step(method, friction)
    except TypeError:
        return largest_step.__wrapped__(method, friction)


def _curvature_at(system: Any, x0: Any) -> float:
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


def _leading_curvature(motion: Any, q: Any) -> float:
    numpy = motion.vectors.numpy
    inverse_mass = 1.0 if not motion.has_split else numpy(motion.inverse_mass) if np.ndim(motion.inverse_mass) else motion.inverse_mass
    direction = np.random.default_rng(0).standard_normal(len(q)).astype(numpy(q).dtype)
    curvature = 0.0
    for _ in range(_ITERATIONS):
        direction = direction / np.linalg.norm(direction)
        image = np.asarray(motion.hvp(q, direction)) * inverse_mass
        previous, curvature = curvature, float(np.linalg.norm(image))
        if curvature == 0.0 or abs(curvature - previous) <= 1e-3 * curvature:
            break
        direction = image
    return curvature
