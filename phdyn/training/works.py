"""The energies of one step of SGD, from a few products of vectors: SGD read as Strang's splitting of the heavy ball.

With torch's buffer v after the step, its gradient g, ``share = 1 - dampening`` and ``s = h/share``, the momentum after the kick is
``-s v``, and half a kick before it, on the step, ``-s (v - share g/2)``.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

Number: TypeAlias = Any  # a float, or a tensor until it is settled


class Ball(NamedTuple):
    """The settings of one param group."""

    lr: float
    momentum: float
    dampening: float
    weight_decay: float


class Products(NamedTuple):
    """Products of one group's vectors; 0 where they were not asked for.

    ``noise`` is ``u.v - (1 - dampening) u.g/2`` with the noise ``u = grad V - grad V_batch``: its product with the momentum on the step.
    ``stopped`` is ``v.v`` of parameters that got a gradient in the last step and none in this one, ``started`` the square of
    ``v - (1 - dampening) g/2`` of those that got none before.
    """

    vv: Number
    vg: Number = 0.0
    gg: Number = 0.0
    qq: Number = 0.0
    noise: Number = 0.0
    stopped: Number = 0.0
    started: Number = 0.0


@lru_cache(maxsize=256)
def scales(ball: Ball) -> tuple[float, float, float]:
    """Return the step h, what turns torch's buffer into momentum, s, and the friction rate (convention "strang").

    Without momentum SGD is gradient descent: the step is lr, and friction infinite. Without a learning rate nothing moves.
    """
    lr, mu, share = ball.lr, ball.momentum, 1 - ball.dampening
    if not mu or not lr:
        return lr, 0.0, math.inf
    damped = -math.log(mu)
    step = math.sqrt(lr * share * (damped / (1 - mu) if mu < 1 else 1.0))
    return step, step / share, damped / step


def kinetic(ball: Ball, at: Products) -> Any:
    """Return the kinetic energy on the step."""
    share = 1 - ball.dampening
    return scales(ball)[1] ** 2 / 2 * _positive(at.vv - share * at.vg + share**2 * at.gg / 4)


def kinetic_before(old: Ball, new: Ball, at: Products, length: Any) -> Any:
    """Return the kinetic energy on the step with the settings before, where the last buffer had the squared length ``length``.

    The momentum before the kick has the direction of ``b = v - (1 - dampening) g`` (without momentum now: of v, which is left over), and by
    the settings before the length ``mu |v_last|``.
    """
    if not old.momentum:
        return 0.0
    share = 1 - new.dampening if new.momentum else 0.0
    bb = _positive(at.vv - 2 * share * at.vg + share**2 * at.gg)
    bg = at.vg - share * at.gg
    a, f = old.momentum * math.sqrt(length / bb) if bb else 0.0, (1 - old.dampening) / 2
    return scales(old)[1] ** 2 / 2 * _positive(a**2 * bb + 2 * a * f * bg + f**2 * at.gg)


def stopped_and_started(ball: Ball, at: Products) -> Any:
    """Return the kinetic energy that parameters bring with them which are moved again, less that of those which stop moving."""
    return scales(ball)[1] ** 2 / 2 * (at.started - ball.momentum**2 * at.stopped)


def heat(ball: Ball, at: Products) -> Any:
    """Return friction's work in the step: of gradient descent all that the descent does."""
    if not ball.momentum:
        return ball.lr * at.gg
    return (1 - ball.momentum**2) * scales(ball)[1] ** 2 / 2 * at.vv


def noise_work(ball: Ball, at: Products) -> Any:
    """Return the work of the noise's kick, ``h u.p`` with p on the step."""
    step, scale, _ = scales(ball)
    return -(step * scale if ball.momentum else ball.lr) * at.noise


def _positive(value: float) -> float:
    """Return a sum of squares that rounding may have made negative; not a number stays that."""
    return value if value != value or value > 0 else 0.0
