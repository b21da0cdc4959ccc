"""The settings of a param group as a scheduler sees them: whatever the optimizer calls its momentum, floats or tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

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


def check_exploit(exploit: Mapping[str, Any], group: Group, number: int) -> None:
    """Refuse what a param group has no setting for, and friction where there is no heavy ball.

    Raises
    ------
    ArgumentError
        With the setting, the group, and what it has.
    """
    for name, value in exploit.items():
        if name == FRICTION:
            _check_friction(exploit, group, number)
        elif not has(group, name) or name == "params":
            known = ", ".join(sorted(set(group) - {"params"} | ({"momentum"} if "betas" in group else set())))
            raise ArgumentError(f"exploit sets {name!r}, which param group {number} does not have: it has {known}, or friction")
        elif name == "momentum" and not 0 <= value < 1:
            raise ArgumentError(f"exploit sets momentum to {value!r}: a number in [0, 1) is needed")


def _check_friction(exploit: Mapping[str, Any], group: Group, number: int) -> None:
    rate = exploit[FRICTION]
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < float("inf"):
        raise ArgumentError(f"exploit sets friction to {rate!r}: a finite number >= 0 is needed")
    if clash := {"lr", "momentum"} & set(exploit):
        raise ArgumentError(f"exploit sets friction and {' and '.join(sorted(clash))}: friction sets lr and momentum itself")
    if "momentum" not in group or "lr" not in group or group.get("nesterov"):
        raise ArgumentError(
            f"exploit sets friction, but param group {number} is no heavy ball (SGD with momentum, without Nesterov's variant): "
            "name the momentum instead; for Adam it is the decay of the first moment"
        )
    with_friction(group, float(rate))


def with_friction(group: Group, rate: float) -> dict[str, float]:
    """Return the lr and momentum that have this friction at the group's physical step (convention "strang").

    Raises
    ------
    ArgumentError
        The group has no momentum, or the friction is so strong that none would be left.
    """
    step, _ = heavy_ball_from_sgd(lr=get(group, "lr"), momentum=get(group, "momentum"))
    lr, momentum = sgd_from_heavy_ball(step=step, friction=rate)
    if momentum == 0.0:
        raise ArgumentError(f"friction {rate:g} leaves no momentum at the step {step:.4g}: at most {700 / step:.4g} is possible")
    return {"lr": lr, "momentum": momentum}


def rescale(optimizer: Optimizer, group: Group, factor: float) -> None:
    """Multiply the momentum buffers of a group."""
    with torch.no_grad():
        for parameter in group["params"]:
            buffer = optimizer.state.get(parameter, {}).get("momentum_buffer")
            if buffer is not None:
                buffer.mul_(factor)
