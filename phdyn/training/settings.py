"""The settings of a param group as a scheduler sees them: whatever the optimizer calls its momentum, floats or tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from phdyn.errors import ArgumentError, ArgumentTypeError
from phdyn.training.correspondence import heavy_ball_from_sgd, sgd_from_heavy_ball

Group = dict[str, Any]
FRICTION = "friction"


def check_optimizer(optimizer: Any, what: str) -> None:
    """Refuse what is no torch optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise ArgumentTypeError(f"{what} needs a torch.optim optimizer, not {type(optimizer).__name__}")


def has(group: Group, name: str) -> bool:
    """Say whether a group has a setting; "momentum" is also Adam's first decay rate."""
    return name in group or (name == "momentum" and "betas" in group)


def get(group: Group, name: str) -> Any:
    """Return a setting, a tensor as its number."""
    value = group["betas"][0] if name == "momentum" and "momentum" not in group else group[name]
    return value.item() if isinstance(value, Tensor) else value


def far(group: Group, name: str) -> bool:
    """Say whether a setting lies on an accelerator."""
    return isinstance(group.get(name), Tensor) and group[name].device.type != "cpu"


def put(group: Group, name: str, value: Any) -> None:
    """Write a setting; a tensor keeps its place, so that a captured or compiled step sees the change."""
    if name == "momentum" and "momentum" not in group:
        first, *others = group["betas"]
        if isinstance(first, Tensor):
            first.fill_(value)
        else:
            group["betas"] = (value, *others)
    elif isinstance(group[name], Tensor):
        group[name].fill_(value)
    else:
        group[name] = value


def own(groups: list[Group], number: int, name: str) -> None:
    """Give a group a tensor of its own where it shares it with others: torch puts one lr tensor into all groups."""
    value = groups[number].get(name)
    if isinstance(value, Tensor) and any(other.get(name) is value for k, other in enumerate(groups) if k != number):
        groups[number][name] = value.clone()


def check_exploit(exploit: Mapping[str, Any], optimizer: Optimizer, group: Group, number: int) -> None:
    """Refuse what a param group has no setting for, values out of range, and friction where there is no heavy ball.

    Raises
    ------
    ArgumentError
        With the setting, the group, and what it has.
    """
    for name, value in exploit.items():
        if name == FRICTION:
            _check_friction(exploit, optimizer, group, number)
        elif not has(group, name) or name == "params":
            known = ", ".join(sorted(set(group) - {"params"} | ({"momentum"} if "betas" in group else set())))
            raise ArgumentError(f"exploit sets {name!r}, which param group {number} does not have: it has {known}, or friction")
        else:
            _check_value(name, value)


def _check_value(name: str, value: Any) -> None:
    bounds = {"momentum": (0.0, 1.0, "in [0, 1)"), "lr": (0.0, math.inf, ">= 0"), "weight_decay": (0.0, math.inf, ">= 0")}
    if name not in bounds:
        return
    low, high, needed = bounds[name]
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= float(value) < high:
        raise ArgumentError(f"exploit sets {name} to {value!r}: a finite number {needed} is needed")


def _check_friction(exploit: Mapping[str, Any], optimizer: Optimizer, group: Group, number: int) -> None:
    rate = exploit[FRICTION]
    if isinstance(rate, bool) or not isinstance(rate, Real) or not 0 <= float(rate) < math.inf:
        raise ArgumentError(f"exploit sets friction to {rate!r}: a finite number >= 0 is needed")
    if clash := {"lr", "momentum", "dampening"} & set(exploit):
        raise ArgumentError(f"exploit sets friction and {' and '.join(sorted(clash))}: friction sets lr and momentum itself")
    if not is_ball(optimizer, group):
        raise ArgumentError(
            f"exploit sets friction, but param group {number} is no heavy ball (SGD with momentum, without Nesterov's variant): "
            "name the momentum instead; for Adam it is the decay of the first moment"
        )
    if get(group, "lr"):
        with_friction(group, float(rate), get(group, "momentum"))


def is_ball(optimizer: Optimizer, group: Group) -> bool:
    """Say whether a group moves as a heavy ball."""
    return isinstance(optimizer, SGD) and bool(get(group, "momentum")) and not group["nesterov"] and not group["maximize"]


def with_friction(group: Group, rate: float, momentum: float) -> dict[str, float]:
    """Return the lr and momentum that have this friction at the group's physical step (convention "strang").

    Parameters
    ----------
    group : dict
        Its lr and dampening are read.
    rate : float
        The friction.
    momentum : float
        The momentum in force, which with the lr makes the step.

    Raises
    ------
    ArgumentError
        The friction is so strong that buffers would overflow.
    """
    dampening = get(group, "dampening")
    step, _ = heavy_ball_from_sgd(lr=get(group, "lr"), momentum=momentum, dampening=dampening)
    lr, new = sgd_from_heavy_ball(step=step, friction=rate)
    dtype = next((parameter.dtype for parameter in group["params"]), torch.float32)
    least = math.sqrt(torch.finfo(dtype).tiny)
    if new < least:
        most = -math.log(least) / step
        raise ArgumentError(f"friction {rate:g} leaves no momentum at the step {step:.4g}: at most {most:.4g} is possible in {dtype}")
    return {"lr": lr / (1 - dampening), "momentum": new}


def rescale(optimizer: Optimizer, group: Group, factor: float) -> None:
    """Multiply the momentum buffers of a group."""
    with torch.no_grad():
        for parameter in group["params"]:
            buffer = optimizer.state.get(parameter, {}).get("momentum_buffer")
            if buffer is not None:
                buffer.mul_(factor)
