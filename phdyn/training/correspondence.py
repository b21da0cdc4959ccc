"""The dictionary between torch.optim.SGD's settings and the heavy ball's: (lr, momentum) and (step, friction, mass).

Without Nesterov's variant, SGD's iterates obey ``q+ - q = mu (q - q-) - lr grad V(q)``, and so do several discretizations of
``q' = p/m, p' = -grad V - gamma p/m``; they differ in what (lr, mu) mean. The three readings here:

========== =============================== ====================== =====================================================
convention lr (1 - dampening)              momentum mu            torch's positions are those of
========== =============================== ====================== =====================================================
strang     (h^2/m) phi1(-gamma h/m)        exp(-gamma h/m)        Strang's splitting, of order 2 in h
exact      h^2/m                           exp(-gamma h/m)        kick, exact friction, undamped drift, of order 1
explicit   h^2/m                           1 - gamma h/m          kick, explicit friction, undamped drift, of order 1
========== =============================== ====================== =====================================================
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from phdyn.errors import ArgumentError
from phdyn.friction import phi1

CONVENTIONS: Final = ("strang", "exact", "explicit")


def heavy_ball_from_sgd(*, lr: Any, momentum: Any, dampening: Any = 0.0, mass: Any = 1.0, convention: str = "strang") -> tuple[Any, Any]:
    """Return the step and the friction rate of the heavy ball whose discretization is ``torch.optim.SGD``.

    Parameters
    ----------
    lr : float or array
        Learning rate, >= 0; at 0 nothing moves: the step is 0, and friction infinite.
    momentum : float or array
        mu, in (0, 1]; 0 too in the convention "explicit".
    dampening : float or array
        In [0, 1): the gradient counts ``1 - dampening`` times (but once in torch's first step, see `state_from_sgd`).
    mass : float
        m > 0: a free choice, time scales with its root.
    convention : {"strang", "exact", "explicit"}
        What is read as what; see the table in this module's docstring. "strang": ``h = sqrt(m lr (-ln mu)/(1 - mu))``,
        ``gamma = -m ln(mu)/h``; torch's positions are those of method "strang", started with ``p = -(h/2) grad V(q0)``.

    Returns
    -------
    step, friction : float or array
        h (time) and gamma (mass/time).

    Raises
    ------
    ArgumentError
        A number out of its range, or an unknown convention.

    Notes
    -----
    Polyak 1964 for the heavy ball; the identity with Strang's splitting follows from merging its half kicks: the damped drift
    moves q by ``(h/m) phi1(-gamma h/m) p``, and the momentum after a whole kick is ``-(lr/c)`` times torch's buffer, with
    ``c = (h/m) phi1``.
    """
    lr, momentum, dampening, mass = _checked(lr, momentum, dampening, mass, convention)
    rate = mass * lr * (1 - dampening)
    if convention == "explicit":
        return _step_and_friction(np.sqrt(rate), mass * (1 - momentum))
    damped = -np.log(momentum)  # gamma h/m
    return _step_and_friction(np.sqrt(rate / phi1(-damped)) if convention == "strang" else np.sqrt(rate), mass * damped)


def sgd_from_heavy_ball(*, step: Any, friction: Any, mass: Any = 1.0, convention: str = "strang") -> tuple[Any, Any]:
    """Return the learning rate and the momentum of ``torch.optim.SGD`` (without dampening) that discretize this heavy ball.

    Parameters
    ----------
    step, friction : float or array
        h > 0 (time) and gamma >= 0 (mass/time).
    mass : float
        m > 0.
    convention : {"strang", "exact", "explicit"}
        As in `heavy_ball_from_sgd`, whose inverse this is.

    Returns
    -------
    lr, momentum : float or array
        Settings of SGD.

    Raises
    ------
    ArgumentError
        A number out of its range; an unknown convention; explicit friction with ``gamma h/m > 1`` (a negative momentum).
    """
    _check_convention(convention)
    step, friction, mass = (np.asarray(value, dtype=np.float64) for value in (step, friction, mass))
    _check(step, "step", step > 0, "> 0")
    _check(friction, "friction", friction >= 0, ">= 0")
    _check(mass, "mass", mass > 0, "> 0")
    damped, rate = friction * step / mass, step**2 / mass
    if convention == "explicit":
        _check(damped, "friction x step / mass", damped <= 1, "<= 1 with explicit friction, whose momentum is 1 - friction x step / mass")
        return _plain(rate), _plain(1 - damped)
    lr = rate * phi1(-damped) if convention == "strang" else rate
    return _plain(lr), _plain(np.exp(-damped))


def friction_schedule(lrs: Any, momentum: Any, *, dampening: Any = 0.0, convention: str = "strang") -> Any:
    """Return the friction that a schedule of learning rates hides: at constant momentum, a smaller step means more friction.

    Parameters
    ----------
    lrs : (steps,) array
        Learning rates.
    momentum : float or (steps,) array
        mu of each step.
    dampening, convention
        As in `heavy_ball_from_sgd`.

    Returns
    -------
    (steps,) array
        gamma of each step (1/time at mass 1).

    Raises
    ------
    ArgumentError
        As `heavy_ball_from_sgd`.

    Notes
    -----
    A schedule also acts as an impulse: torch keeps its buffer, so the kinetic energy is multiplied by ``lr_new/lr_old``; see
    `kinetic_jumps`.
    """
    return heavy_ball_from_sgd(lr=np.asarray(lrs), momentum=momentum, dampening=dampening, convention=convention)[1]


def kinetic_jumps(lrs: Any, momentum: Any, *, dampening: float = 0.0) -> Any:
    """Return the factors by which a schedule multiplies the kinetic energy, since torch keeps its buffer.

    Parameters
    ----------
    lrs : (steps,) array
        Learning rates.
    momentum : float or (steps,) array
        mu of each step.
    dampening : float
        In [0, 1).

    Returns
    -------
    (steps,) array
        ``lr[k]/lr[k - 1]`` at constant momentum, and 1 for the first step. Where the momentum changes too, that of the momentum that
        the step's kick finds: ``(h mu)[k]^2/(h mu)[k - 1]^2`` (convention "strang"). 0 where the learning rate becomes 0, infinite where
        it leaves it.

    Raises
    ------
    ArgumentError
        As `heavy_ball_from_sgd`.
    """
    steps, _ = heavy_ball_from_sgd(lr=np.asarray(lrs), momentum=momentum, dampening=dampening)
    found = np.atleast_1d(steps * np.asarray(momentum, dtype=np.float64))
    still = found[1:] == found[:-1]  # zero twice, too
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.concatenate([[1.0], np.where(still, 1.0, found[1:] / found[:-1]) ** 2])


def _step_and_friction(step: Any, force: Any) -> tuple[Any, Any]:
    """Return h, and the friction whose product with it is given."""
    still = step == 0
    return _plain(step), _plain(np.where(still, np.inf, force / np.where(still, 1.0, step)))


def _checked(lr: Any, momentum: Any, dampening: Any, mass: Any, convention: str) -> tuple[Any, ...]:
    """Return the settings as arrays, in range."""
    _check_convention(convention)
    lr, momentum, dampening, mass = (np.asarray(value, dtype=np.float64) for value in (lr, momentum, dampening, mass))
    _check(lr, "lr", lr >= 0, ">= 0")
    _check(dampening, "dampening", (dampening >= 0) & (dampening < 1), "in [0, 1)")
    _check(mass, "mass", mass > 0, "> 0")
    if convention == "explicit":
        _check(momentum, "momentum", (momentum >= 0) & (momentum <= 1), "in [0, 1]")
    else:
        hint = "in (0, 1]: without momentum there is no ball but gradient descent, whose friction is infinite"
        _check(momentum, "momentum", (momentum > 0) & (momentum <= 1), hint)
    return lr, momentum, dampening, mass


def _check_convention(convention: str) -> None:
    if convention not in CONVENTIONS:
        raise ArgumentError(f"unknown convention {convention!r}; there are {', '.join(map(repr, CONVENTIONS))}")


def _check(values: Any, name: str, fine: Any, needed: str) -> None:
    fine = fine & np.isfinite(values)
    if not np.all(fine):
        bad = np.broadcast_to(values, np.shape(fine))[~np.asarray(fine)].flat[0] if np.ndim(fine) else values
        raise ArgumentError(f"{name} is {float(bad):g}: a finite number is needed, {needed}")


def _plain(values: Any) -> Any:
    return float(values) if np.ndim(values) == 0 else values
