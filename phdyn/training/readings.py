"""What an energy observer reads of an optimizer's steps: for each param group a few products of vectors.

With torch's buffer v after the step, the gradient g as the buffer takes it (with weight decay) and the position q before the step:
``v.v``, ``v.g``, ``g.g``, ``q.q``. On the CPU they are BLAS dot products on the tensors' own memory; elsewhere norms that stay on
the device until many steps are read together, so that no step waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        self.moved: list[list[int]] = []
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
        moved = [[id(parameter) for parameter in group["params"] if parameter.grad is not None] for group in groups]
        reshaped = bool(self.moved) and moved != self.moved
        reading = Reading(step, balls, [], row=row)
        with torch.no_grad(), np.errstate(over="ignore", invalid="ignore"):  # a training that runs away says so in its verdict
            for number, (group, ball) in enumerate(zip(groups, balls, strict=True)):
                whole = row or changed or reshaped or self.unsure
                products = self._read(group, ball, whole=whole, noisy=row and self.full is not None)
                reading.products.append(self._reshaped(products, number, group, ball) if reshaped else products)
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

    def _read(self, group: dict[str, Any], ball: Ball, *, whole: bool, noisy: bool) -> Products:
        """Return the products of a group; without momentum v is the buffer of the last step that had one."""
        moved = [parameter for parameter in group["params"] if parameter.grad is not None]
        v = self._buffers(moved)
        if not whole and ball.momentum:
            return Products(_squares(v))
        g: Tensors = [parameter.grad for parameter in moved]
        squares: Number = 0.0
        if ball.weight_decay:
            q = _start(moved, v, g, ball) if moved else []
            g = list(torch._foreach_add(g, q, alpha=ball.weight_decay)) if moved else []
            still = [parameter for parameter in group["params"] if parameter.grad is None]
            squares = _squares(q) + _squares(still)
        if len(v) < len(g):
            v = []
        noise = self._noise(moved, v, g, ball) if noisy and moved else 0.0
        return Products(*(_by_dots(v, g) if _on_cpu(g) else _by_norms(v, g)), squares, noise)

    def _buffers(self, moved: Tensors) -> Tensors:
        states = [self.optimizer.state.get(parameter, {}) for parameter in moved]
        return [buffer for state in states if (buffer := state.get("momentum_buffer")) is not None]

    def _reshaped(self, products: Products, number: int, group: dict[str, Any], ball: Ball) -> Products:
        """Add what parameters bring and take that are moved again, or no longer."""
        before = set(self.moved[number]) if number < len(self.moved) else set()
        if not ball.momentum or not before:
            return products
        gone = [parameter for parameter in group["params"] if parameter.grad is None and id(parameter) in before]
        new = [parameter for parameter in group["params"] if parameter.grad is not None and id(parameter) not in before]
        part = self._read({**group, "params": new}, ball, whole=True, noisy=False)
        share = 1 - ball.dampening
        started = part.vv - share * part.vg + share**2 * part.gg / 4
        return products._replace(stopped=_squares(self._buffers(gone)), started=started)

    def _noise(self, moved: Tensors, v: Tensors, g: Tensors, ball: Ball) -> Number:
        """Return the product of the noise with ``v - (1 - dampening) g/2``; without momentum, with g."""
        batch: Any = [parameter.grad for parameter in moved]
        full = [self.full_gradient[id(parameter)] for parameter in moved]
        against = list(torch._foreach_add(v, g, alpha=(ball.dampening - 1) / 2)) if ball.momentum else g
        return _dot(list(torch._foreach_sub(full, batch)), against)


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


def _on_cpu(tensors: Tensors) -> bool:
    """Say whether tensors lie where BLAS can read them.

    Raises
    ------
    ArgumentTypeError
        A gradient is sparse.
    """
    for tensor in tensors:
        if tensor.layout is not torch.strided:
            raise ArgumentTypeError("EnergyObserver: a gradient is sparse: use sparse=False")
        if tensor.device.type != "cpu" or tensor.dtype not in (torch.float32, torch.float64):
            return False
    return True


def _dot(one: Tensors, other: Tensors) -> Number:
    """Return the product of two lists of tensors: a float on the CPU, a tensor elsewhere."""
    if _on_cpu(one):
        return sum([float(a.dot(b)) for a, b in zip(_flat(one), _flat(other), strict=True)])
    kind = wide(one[0].device)
    return torch.stack([(a * b).sum(dtype=kind) for a, b in zip(one, other, strict=True)]).sum()


def _squares(tensors: Tensors) -> Number:
    """Return the sum of the squares of all entries."""
    if not tensors:
        return 0.0
    if _on_cpu(tensors):
        return sum([float(a.dot(a)) for a in _flat(tensors)])
    return torch.stack([norm.to(wide(norm.device)) for norm in torch._foreach_norm(tensors)]).square().sum()


def _flat(tensors: Tensors) -> list[Any]:
    """Return CPU tensors as NumPy vectors, without a copy where their memory is in order."""
    return [(tensor.detach() if tensor.requires_grad else tensor).numpy().reshape(-1) for tensor in tensors]


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
