"""What an energy observer reads of an optimizer's steps: for each param group a few products of vectors.

With torch's buffer v after the step, the gradient g as the buffer takes it (with weight decay) and the position q before the step:
``v.v``, ``v.g``, ``g.g``, ``q.q``. On the CPU they are BLAS dot products on the tensors' own memory; elsewhere norms that stay on
the device until many steps are read together, so that no step waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer

from phdyn.training import settings
from phdyn.training.full import undisturbed

Number: TypeAlias = Any  # a float, or a tensor until it is settled
Tensors = list[Tensor]


class Ball(NamedTuple):
    """The settings of one param group."""

    lr: float
    momentum: float
    dampening: float
    weight_decay: float


class Products(NamedTuple):
    """Products of one group's vectors; 0 where they were not asked for.

    ``noise`` is ``u.v - (1 - dampening) u.g/2`` with the noise ``u = grad V - grad V_batch``: its product with the momentum on the step.
    """

    vv: Number
    vg: Number = 0.0
    gg: Number = 0.0
    qq: Number = 0.0
    noise: Number = 0.0


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
    numbers = [reading.numbers() for reading in readings]
    tensors = [number for row in numbers for number in row if isinstance(number, Tensor)]
    if not tensors:
        return
    values = iter(torch.stack([tensor.to(torch.float64).reshape(()) for tensor in tensors]).tolist())
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
        self.full_gradient: list[Tensors] = []

    def before(self) -> None:
        """Take the loss on all data and its gradient where the step starts."""
        if self.closure is not None:
            self.full, self.full_gradient = _full(self.closure, self.optimizer.param_groups)

    def after(self, step: int, *, row: bool) -> Reading:
        """Read the step that has been made: the settings, the buffers, the gradients."""
        groups = self.optimizer.param_groups
        balls = self._settings(groups)
        whole = row or (bool(self.balls) and balls is not self.balls and balls != self.balls)
        noisy = row and self.full is not None
        products = [self._read(k, group, ball, whole=whole, noisy=noisy) for k, (group, ball) in enumerate(zip(groups, balls, strict=True))]
        reading = Reading(step, balls, products, row=row)
        reading.full = self.full if noisy else None
        found = getattr(self.optimizer, "found_inf", None)
        reading.skipped = None if found is None else found.detach().clone()
        self.balls, self.full = balls, None
        return reading

    def _settings(self, groups: list[dict[str, Any]]) -> tuple[Ball, ...]:
        """Return the settings of all groups, the same objects as long as they are the same: most steps change none."""
        if len(groups) == len(self.balls) and all(map(_unchanged, groups, self.balls)):
            return self.balls
        return tuple([_ball(group) for group in groups])

    def _read(self, number: int, group: dict[str, Any], ball: Ball, *, whole: bool, noisy: bool) -> Products:
        """Return the products of a group; without momentum v is the buffer of the last step that had one."""
        moved = [parameter for parameter in group["params"] if parameter.grad is not None]
        states = [self.optimizer.state[parameter] for parameter in moved]
        v = [buffer for state in states if (buffer := state.get("momentum_buffer")) is not None]
        if not whole and ball.momentum:
            return Products(_squares(v))
        g: Tensors = [parameter.grad for parameter in moved]
        squares: Number = 0.0
        if ball.weight_decay and moved:
            q = _start(moved, v, g, ball)
            g, squares = list(torch._foreach_add(g, q, alpha=ball.weight_decay)), _squares(q)
        if len(v) < len(g):
            v = []
        noise = self._noise(number, moved, v, g, ball) if noisy else 0.0
        return Products(*(_by_dots(v, g) if _on_cpu(g) else _by_norms(v, g)), squares, noise)

    def _noise(self, number: int, moved: Tensors, v: Tensors, g: Tensors, ball: Ball) -> Number:
        """Return the product of the noise with ``v - (1 - dampening) g/2``; without momentum, with g."""
        batch: Any = [parameter.grad for parameter in moved]
        against = list(torch._foreach_add(v, g, alpha=(ball.dampening - 1) / 2)) if ball.momentum else g
        return _dot(list(torch._foreach_sub(self.full_gradient[number], batch)), against)


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


def _on_cpu(tensors: Tensors) -> bool:
    return not tensors or (tensors[0].device.type == "cpu" and tensors[0].dtype in (torch.float32, torch.float64))


def _dot(one: Tensors, other: Tensors) -> Number:
    """Return the product of two lists of tensors: a float on the CPU, a tensor elsewhere."""
    if _on_cpu(one):
        return sum([float(a.dot(b)) for a, b in zip(_flat(one), _flat(other), strict=True)])
    return torch.stack([(a * b).sum(dtype=torch.float64) for a, b in zip(one, other, strict=True)]).sum()


def _squares(tensors: Tensors) -> Number:
    """Return the sum of the squares of all entries."""
    if _on_cpu(tensors):
        return sum([float(a.dot(a)) for a in _flat(tensors)])
    return torch.stack(torch._foreach_norm(tensors)).to(torch.float64).square().sum()


def _flat(tensors: Tensors) -> list[Any]:
    """Return CPU tensors as NumPy vectors, without a copy where their memory is in order."""
    return [tensor.numpy().reshape(-1) for tensor in tensors]


def _by_dots(v: Tensors, g: Tensors) -> tuple[Number, Number, Number]:
    """Return ``v.v, v.g, g.g``; without buffers the first two are 0."""
    buffers, gradients = _flat(v), _flat(g)
    vv = sum([float(a.dot(a)) for a in buffers])
    vg = sum([float(a.dot(b)) for a, b in zip(buffers, gradients, strict=True)]) if buffers else 0.0
    return vv, vg, sum([float(b.dot(b)) for b in gradients])


def _by_norms(v: Tensors, g: Tensors) -> tuple[Number, Number, Number]:
    """Return the same from three norms, each one launch for all tensors: ``v.g = v.v + g.g/4 - |v - g/2|^2``."""
    gg = _squares(g)
    if not v:
        return 0.0, 0.0, gg
    vv, between = _squares(v), _squares(list(torch._foreach_add(v, g, alpha=-0.5)))
    return vv, vv + gg / 4 - between, gg


def _full(closure: Callable[[], Any], groups: list[dict[str, Any]]) -> tuple[Tensor, list[Tensors]]:
    """Return the loss on all data and its gradients, group by group; the parameters' own gradients are left alone."""
    moved = [[parameter for parameter in group["params"] if parameter.requires_grad] for group in groups]
    flat = [parameter for group in moved for parameter in group]
    with torch.enable_grad(), undisturbed():
        answer = closure()
        total: Any = 0.0
        sums = [torch.zeros_like(parameter) for parameter in flat]
        for part in [answer] if isinstance(answer, Tensor) else answer:
            gradients = torch.autograd.grad(part, flat, allow_unused=True)
            total = total + part.detach()
            for one, gradient in zip(sums, gradients, strict=True):
                if gradient is not None:
                    one.add_(gradient)
    at = iter(sums)
    return total, [[next(at) for _ in group] for group in moved]
