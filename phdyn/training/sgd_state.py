"""The heavy ball's state inside an SGD: where the ball is and how fast, and how to start it at rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from phdyn.errors import ArgumentError, ArgumentTypeError
from phdyn.training import settings
from phdyn.training.correspondence import heavy_ball_from_sgd

_SHARED = ("lr", "momentum", "dampening", "nesterov", "maximize")


def start_at_rest(optimizer: Optimizer) -> None:
    """Preset the momentum buffers so that SGD's positions are those of Strang's method from rest: order 2 from the first step on.

    torch's first step is a whole kick from rest, where Strang's is half a kick: without this the error against the ODE from rest is of
    order 1. Call it once, after the first ``backward()`` and before the first ``optimizer.step()``.

    Parameters
    ----------
    optimizer : torch.optim.SGD
        With momentum, without Nesterov's variant; no step made yet. Dampening and weight decay are taken into account.

    Raises
    ------
    ArgumentError
        No momentum, Nesterov's variant, steps already made, or no gradients.
    ArgumentTypeError
        Another optimizer.

    Notes
    -----
    With ``b = -(1 - dampening) g0/(2 mu)`` in the buffers, torch's first buffer is ``mu b + (1 - dampening) g0``, half a kick.
    """
    _check_sgd(optimizer, "start_at_rest")
    presets: list[tuple[Tensor, Tensor]] = []
    for number, group in enumerate(optimizer.param_groups):
        mu, share = settings.get(group, "momentum"), 1 - group["dampening"]
        if mu == 0 or group["nesterov"]:
            raise ArgumentError(f"start_at_rest: param group {number} has no momentum, or Nesterov's: it is no heavy ball by Strang")
        for parameter in group["params"]:
            if optimizer.state.get(parameter, {}).get("momentum_buffer") is not None:
                raise ArgumentError("start_at_rest: the optimizer has made steps already; call it before the first")
            if parameter.grad is not None:
                presets.append((parameter, effective_gradient(group, parameter).mul_(-share / (2 * mu))))
    if not presets:
        raise ArgumentError("start_at_rest: no parameter has a gradient: call loss.backward() first")
    for parameter, buffer in presets:
        optimizer.state[parameter]["momentum_buffer"] = buffer


def state_from_sgd(optimizer: Optimizer, *, model: nn.Module | None = None, convention: str = "strang") -> Tensor:
    """Return the state of the heavy ball that an SGD discretizes, at its present iterate: what `simulate` goes on from.

    Parameters
    ----------
    optimizer : torch.optim.SGD
        With momentum and equal settings in all param groups. In the convention "strang" the parameters need the gradients at their
        present values: call it between ``backward()`` and ``optimizer.step()``.
    model : Module, optional
        Whose order of parameters the state has, that of ``NetworkLoss`` and ``parameters_to_vector(model.parameters())``; the order of the
        param groups if None, which is another where the groups are not cut out of the model in order.
    convention : {"strang", "exact", "explicit"}
        As in `heavy_ball_from_sgd`, with mass 1. "strang": p is the momentum on the step, ``-s (mu v + (1 - dampening) g/2)`` with torch's
        buffer v, the gradient g and ``s = h/(1 - dampening)``; energies are then of second order. "exact" and "explicit": ``p = -s v``,
        the momentum after the last kick.

    Returns
    -------
    Tensor, shape (2n,)
        Positions then momenta. With Nesterov's variant, whose parameters are the
        look-ahead point, the position is that of the ball: ``q + lr mu v`` (conventions "exact" and "explicit" alone).

    Raises
    ------
    ArgumentError
        Groups with different settings, "strang" with Nesterov's variant or without gradients, a trainable parameter of the model that the
        optimizer does not have.
    ArgumentTypeError
        Another optimizer.

    Notes
    -----
    Before torch's first step there is no buffer, and the gradient will be taken undampened: "strang" has ``-s (g - (1 - dampening) g/2)``;
    "exact" and "explicit" have ``-s dampening g/mu``, so that the first kick makes ``-s g`` of it.
    """
    _check_sgd(optimizer, "state_from_sgd")
    group = optimizer.param_groups[0]
    for name in _SHARED:
        if any(settings.get(other, name) != settings.get(group, name) for other in optimizer.param_groups):
            raise ArgumentError(f"state_from_sgd: the param groups differ in {name}, so they are no ball of one mass")
    if group["nesterov"] and convention == "strang":
        raise ArgumentError("state_from_sgd: Nesterov's variant is no Strang splitting: convention='exact' or 'explicit'")
    step, _ = heavy_ball_from_sgd(
        lr=settings.get(group, "lr"), momentum=settings.get(group, "momentum"), dampening=group["dampening"], convention=convention
    )
    positions, momenta = [], []
    for part, parameter in _ordered(optimizer, model):
        q, p = _ball(optimizer, part, parameter, step, convention)
        positions.append(q.reshape(-1))
        momenta.append(p.reshape(-1))
    return torch.cat(positions + momenta)


def _ordered(optimizer: Optimizer, model: nn.Module | None) -> list[tuple[dict[str, Any], Tensor]]:
    """Return groups and parameters in the order of a state."""
    pairs = {id(parameter): (group, parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if model is None:
        return list(pairs.values())
    names = {name: id(parameter) for name, parameter in model.named_parameters() if parameter.requires_grad}
    if missing := [name for name, key in names.items() if key not in pairs]:
        raise ArgumentError(f"state_from_sgd: the optimizer does not have the model's parameter {missing[0]!r}")
    return [pairs[key] for key in names.values()]


def effective_gradient(group: dict[str, Any], parameter: Tensor) -> Tensor:
    """Return the gradient that SGD uses, as a tensor of its own: with the sign of `maximize`, and weight decay."""
    if parameter.grad is None:
        return torch.zeros_like(parameter)
    gradient = -parameter.grad if group["maximize"] else parameter.grad.clone()
    return gradient.add_(parameter.detach(), alpha=group["weight_decay"]) if group["weight_decay"] else gradient


def _ball(optimizer: Optimizer, group: dict[str, Any], parameter: Tensor, step: float, convention: str) -> tuple[Tensor, Tensor]:
    """Return position and momentum of one parameter."""
    share, mu = 1 - group["dampening"], settings.get(group, "momentum")
    buffer = optimizer.state.get(parameter, {}).get("momentum_buffer")
    q = parameter.detach().clone()
    if convention == "strang":
        gradient = _gradient(group, parameter)
        before_kick = gradient * (1 - share) if buffer is None else mu * buffer
        return q, (before_kick + gradient * (share / 2)).mul_(-step / share)
    if buffer is None and not group["dampening"]:
        return q, torch.zeros_like(q)
    if buffer is None:
        return q, _gradient(group, parameter).mul_(-step / share * group["dampening"] / mu)
    if group["nesterov"]:
        q.add_(buffer, alpha=settings.get(group, "lr") * mu)
    return q, buffer * (-step / share)


def _gradient(group: dict[str, Any], parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        raise ArgumentError("state_from_sgd: a parameter has no gradient: call it after loss.backward()")
    return effective_gradient(group, parameter)


def _check_sgd(optimizer: Any, what: str) -> None:
    if not isinstance(optimizer, SGD):
        raise ArgumentTypeError(f"{what} needs a torch.optim.SGD, not {type(optimizer).__name__}")
