"""What an energy observer reads of an optimizer's steps: for each param group a few products of vectors.

With torch's buffer v after the step, the gradient g as the buffer takes it (with weight decay) and the position q before the step:
``v.v``, ``v.g``, ``g.g``, ``q.q``. On the CPU they are BLAS dot products on the tensors' own memory; elsewhere norms that stay on
the device until many steps are read together, so that no step waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import is_
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from phdyn.errors import ArgumentError, ArgumentTypeError
from phdyn.training import settings
from phdyn.training.full import full_gradient
from phdyn.training.losses import wide
from phdyn.training.works import Ball, Number, Products

Tensors = list[Tensor]


class Reading:
    """One optimizer step as it was read; its numbers may still be on the device.

    Attributes
    ----------
    step : int
        Its number, from 1.
    balls : tuple of Ball
        Settings of the groups in this step.
    products : list of Products
        Of each group.
    full, loss, skipped : float, Tensor or None
        The loss on all data; what the user's loop gave; not zero where a scaler skipped the step.
    row : bool
        Whether this step's energies are asked for.
    """

    __slots__ = ("balls", "full", "loss", "products", "row", "skipped", "step")

    def __init__(self, step: int, balls: tuple[Ball, ...], products: list[Products], *, row: bool) -> None:
        self.step, self.balls, self.products, self.row = step, balls, products, row
        self.full: Any = None
        self.loss: Any = None
        self.skipped: Any = None

    def far(self) -> bool:
        """Say whether numbers still are tensors."""
        given = (self.full, self.loss, self.skipped)
        return type(self.products[0].vv) is not float or any(isinstance(number, Tensor) for number in given)

    def numbers(self) -> list[Any]:
        """Return all numbers in a fixed order."""
        return [*(number for part in self.products for number in part), self.full, self.loss, self.skipped]

    def settle(self, numbers: Sequence[Any]) -> None:
        """Take the numbers back, as floats."""
        width = len(Products._fields)
        self.products = [Products(*numbers[k : k + width]) for k in range(0, width * len(self.products), width)]
        self.full, self.loss, self.skipped = numbers[-3:]


def settle(readings: Sequence[Reading]) -> None:
    """Make all numbers of some readings floats; the device is waited for once."""
    readings = [reading for reading in readings if reading.far()]
    numbers = [reading.numbers() for reading in readings]
    tensors = [number for row in numbers for number in row if isinstance(number, Tensor)]
    if not tensors:
        return
    kind = wide(tensors[0].device)
    values = iter(torch.stack([tensor.to(kind).reshape(()) for tensor in tensors]).tolist())
    for reading, row in zip(readings, numbers, strict=True):
        reading.settle([next(values) if isinstance(number, Tensor) else number for number in row])


class Reader:
    """Reads an optimizer's steps.

    Parameters
    ----------
    optimizer : torch.optim.SGD
        Whose steps.
    closure : callable, optional
        The loss on all data, in one tensor or in parts; then the noise is read too.
    """

    def __init__(self, optimizer: Optimizer, closure: Callable[[], Any] | None) -> None:
        self.optimizer, self.closure = optimizer, closure
        self.balls: tuple[Ball, ...] = ()
        self.full: Tensor | None = None
        self.full_gradient: dict[int, Tensor] = {}
        self.moved: list[Tensors] = []
        self.unsure = False

    def before(self) -> None:
        """Take the loss on all data and its gradient where the step starts."""
        if self.closure is not None:
            self.full, self.full_gradient = full_gradient(self.closure, self.optimizer)

    def after(self, step: int, *, row: bool) -> Reading:
        """Read the step that has been made: the settings, the buffers, the gradients.

        Raises
        ------
        ArgumentError, ArgumentTypeError
            A group that has been added is no ball; gradients are sparse.
        """
        groups = self.optimizer.param_groups
        balls = self._settings(groups)
        changed = bool(self.balls) and balls is not self.balls and balls != self.balls
        pairs = [_moved(group) for group in groups]
        moved = [parameters for parameters, _ in pairs]
        reshaped = bool(self.moved) and not _same(moved, self.moved)
        whole = row or changed or reshaped or self.unsure
        noisy = row and self.full is not None
        reading = Reading(step, balls, [], row=row)
        with torch.no_grad(), np.errstate(over="ignore", invalid="ignore"):  # a training that runs away says so in its verdict
            for number, (ball, (parameters, gradients)) in enumerate(zip(balls, pairs, strict=True)):
                products = self._read(parameters, gradients, ball, whole=whole, noisy=noisy)
                if ball.weight_decay and whole:
                    still = [parameter for parameter in groups[number]["params"] if parameter.grad is None]
                    products = products._replace(qq=products.qq + _squares(still))
                reading.products.append(self._reshaped(products, number, pairs[number], ball) if reshaped else products)
        reading.full = self.full if row else None
        found = getattr(self.optimizer, "found_inf", None)
        reading.skipped = None if found is None else found.detach().clone()
        self.balls, self.full, self.moved, self.unsure = balls, None, moved, found is not None
        return reading

    def _settings(self, groups: list[dict[str, Any]]) -> tuple[Ball, ...]:
        """Return the settings of all groups, the same objects as long as they are the same: most steps change none."""
        if len(groups) == len(self.balls) and all(map(_unchanged, groups, self.balls)):
            return self.balls
        if len(groups) != len(self.balls):
            check_balls(groups)
        return tuple([_ball(group) for group in groups])

    def _read(self, moved: Tensors, g: Tensors, ball: Ball, *, whole: bool, noisy: bool) -> Products:
        """Return the products of parameters with gradients; without momentum v is the buffer of the last step that had one."""
        v = self._buffers(moved)
        if not whole and ball.momentum:
            return Products(_squares(v))
        squares: Number = 0.0
        batch = g
        if ball.weight_decay and moved:
            q = _start(moved, v, g, ball)
            g, squares = list(torch._foreach_add(g, q, alpha=ball.weight_decay)), _squares(q)
        if len(v) < len(g):
            v = []
        noise = self._noise(moved, v, g, batch, ball) if noisy and moved else 0.0
        return Products(*_three(v, g), squares, noise)

    def _buffers(self, moved: Tensors) -> Tensors:
        state = self.optimizer.state
        found = [state[parameter].get("momentum_buffer") if parameter in state else None for parameter in moved]
        return [buffer for buffer in found if buffer is not None]

    def _reshaped(self, products: Products, number: int, now: tuple[Tensors, Tensors], ball: Ball) -> Products:
        """Add what parameters bring and take that are moved again, or no longer."""
        before = self.moved[number] if number < len(self.moved) else []
        if not ball.momentum or not before:
            return products
        moving, moved = {id(parameter) for parameter in now[0]}, {id(parameter) for parameter in before}
        gone = [parameter for parameter in before if id(parameter) not in moving]
        new = [pair for pair in zip(*now, strict=True) if id(pair[0]) not in moved]
        part = self._read([parameter for parameter, _ in new], [gradient for _, gradient in new], ball, whole=True, noisy=False)
        share = 1 - ball.dampening
        started = part.vv - share * part.vg + share**2 * part.gg / 4
        return products._replace(stopped=_squares(self._buffers(gone)), started=started)

    def _noise(self, moved: Tensors, v: Tensors, g: Tensors, batch: Any, ball: Ball) -> Number:
        """Return the product of the noise with ``v - (1 - dampening) g/2``; without momentum, with g."""
        full = [self.full_gradient[id(parameter)] for parameter in moved]
        against = list(torch._foreach_add(v, g, alpha=(ball.dampening - 1) / 2)) if ball.momentum else g
        noise = list(torch._foreach_sub(full, batch))
        return _three(noise, against)[1]


def _moved(group: dict[str, Any]) -> tuple[Tensors, Tensors]:
    """Return the parameters of a group that have gradients, and these."""
    parameters, gradients = [], []
    for parameter in group["params"]:
        gradient = parameter.grad
        if gradient is not None:
            parameters.append(parameter)
            gradients.append(gradient)
    return parameters, gradients


def _same(one: list[Tensors], other: list[Tensors]) -> bool:
    """Say whether the parameters of all groups are the same objects."""
    return len(one) == len(other) and all(len(a) == len(b) and all(map(is_, a, b)) for a, b in zip(one, other, strict=True))


def check_balls(groups: list[dict[str, Any]]) -> None:
    """Refuse param groups that do not move as balls.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Nesterov's variant, `maximize`, complex parameters.
    """
    for number, group in enumerate(groups):
        if group["nesterov"] or group["maximize"]:
            what = "Nesterov's variant, whose parameters are a look-ahead point" if group["nesterov"] else "maximize=True"
            raise ArgumentError(f"EnergyObserver: param group {number} has {what}: its energies are not those of a ball")
        if any(parameter.is_complex() for parameter in group["params"]):
            raise ArgumentTypeError(f"EnergyObserver: param group {number} has complex parameters, and a ball's are real")


def _unchanged(group: dict[str, Any], ball: Ball) -> bool:
    """Say whether settings are still these numbers; not known of tensors, which may have been written in place."""
    lr, momentum, dampening, weight_decay = group["lr"], group["momentum"], group["dampening"], group["weight_decay"]
    if type(lr) is not float or type(weight_decay) is Tensor:
        return False
    return (lr, momentum, dampening, weight_decay) == ball


def _ball(group: dict[str, Any]) -> Ball:
    get = settings.get
    return Ball(get(group, "lr"), get(group, "momentum"), get(group, "dampening"), get(group, "weight_decay"))


def _start(moved: Tensors, v: Tensors, g: Tensors, ball: Ball) -> Tensors:
    """Return where the step began, from where it has ended."""
    q = [parameter.detach() for parameter in moved]
    if ball.momentum:
        return list(torch._foreach_add(q, v, alpha=ball.lr))
    return list(torch._foreach_div(torch._foreach_add(q, g, alpha=ball.lr), 1 - ball.lr * ball.weight_decay))


def _squares(tensors: Tensors) -> Number:
    """Return the sum of the squares of all entries: a float on the CPU, a tensor elsewhere."""
    vectors = _vectors(tensors)
    if vectors is not None:
        return sum([float(a.dot(a)) for a in vectors])
    return torch.stack([norm.to(wide(norm.device)) for norm in torch._foreach_norm(tensors)]).square().sum()


def _three(v: Tensors, g: Tensors) -> tuple[Number, Number, Number]:
    """Return ``v.v, v.g, g.g``; without buffers the first two are 0.

    On an accelerator from three norms, each one launch for all tensors: ``v.g = v.v + g.g/4 - |v - g/2|^2``.
    """
    if not v:
        return 0.0, 0.0, _squares(g)
    one, other = _vectors(v), _vectors(g)
    if one is None or other is None:
        vv, gg, between = _squares(v), _squares(g), _squares(list(torch._foreach_add(v, g, alpha=-0.5)))
        return vv, vv + gg / 4 - between, gg
    vg = sum([float(a.dot(b)) for a, b in zip(one, other, strict=True)])
    return sum([float(a.dot(a)) for a in one]), vg, sum([float(b.dot(b)) for b in other])


def _vectors(tensors: Tensors) -> list[Any] | None:
    """Return CPU tensors in single or double precision as NumPy vectors, without a copy where their memory is in order; None of others.

    Raises
    ------
    ArgumentTypeError
        One is sparse.
    """
    try:
        vectors = [tensor.numpy().reshape(-1) for tensor in tensors]
    except (TypeError, RuntimeError):  # not on the CPU, no NumPy type, sparse, or with a graph
        if any(tensor.layout is not torch.strided for tensor in tensors):
            raise ArgumentTypeError("EnergyObserver: a gradient is sparse: use sparse=False") from None
        if not any(tensor.requires_grad for tensor in tensors):
            return None
        return _vectors([tensor.detach() for tensor in tensors])
    return vectors if all(vector.dtype.char in "fd" for vector in vectors) else None
