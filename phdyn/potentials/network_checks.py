"""What must hold before a network's loss is a potential: a fixed function of one flat vector of parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from phdyn.errors import ArgumentError, ArgumentTypeError

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_RUNNING_STATISTICS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)


def dtype_name(dtype: torch.dtype) -> str:
    """``float32`` of ``torch.float32``."""
    return str(dtype).removeprefix("torch.")


def require_options(weight_decay: float, chunk_size: int | None) -> None:
    """Refuse a weight decay that is negative or not finite, and a chunk size that is no positive whole number."""
    if not (weight_decay >= 0.0 and math.isfinite(weight_decay)):
        msg = f"NetworkLoss: weight_decay = {weight_decay}, a number from 0 on is needed"
        raise ArgumentError(msg)
    if chunk_size is not None and (isinstance(chunk_size, bool) or int(chunk_size) != chunk_size or chunk_size < 1):
        msg = f"NetworkLoss: chunk_size = {chunk_size}, a positive whole number of samples is needed"
        raise ArgumentError(msg)


def trainable(model: Any) -> list[nn.Parameter]:
    """Return the trainable parameters, tied ones once; all of one dtype, on one device, none inside another."""
    if not isinstance(model, nn.Module):
        msg = f"NetworkLoss: the model is of type {type(model).__name__}, not a torch.nn.Module"
        raise ArgumentTypeError(msg)
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not named:
        msg = "NetworkLoss: the network has no trainable parameters (requires_grad is False for all, or there are none)"
        raise ArgumentError(msg)
    first_name, first = named[0]
    memory: dict[int, str] = {}
    for name, parameter in named:
        if isinstance(parameter, nn.UninitializedParameter):
            msg = f"NetworkLoss: parameter {name!r} has no shape yet: call the model once on a few inputs"
            raise ArgumentError(msg)
        if parameter.dtype not in (torch.float32, torch.float64):
            msg = f"NetworkLoss: parameter {name!r} is {dtype_name(parameter.dtype)}: use model.float() or .double()"
            raise ArgumentError(msg)
        if parameter.dtype != first.dtype:
            kinds = f"{first_name!r} is {dtype_name(first.dtype)}, {name!r} {dtype_name(parameter.dtype)}"
            msg = f"NetworkLoss: the parameters mix dtypes ({kinds}): use model.float() or model.double()"
            raise ArgumentError(msg)
        if parameter.device != first.device:
            places = f"{first_name!r} on {first.device}, {name!r} on {parameter.device}"
            msg = f"NetworkLoss: the parameters are on several devices ({places}): use model.to(device)"
            raise ArgumentError(msg)
        other = memory.setdefault(parameter.data_ptr(), name) if parameter.numel() else name
        if other != name:
            msg = f"NetworkLoss: {other!r} and {name!r} share memory but are two parameters: tie them by assigning one"
            raise ArgumentError(msg)
    return [parameter for _, parameter in named]


def require_data(parameter: nn.Parameter, inputs: Any, targets: Any) -> None:
    """Refuse data that are no tensors, of different lengths, or of another dtype or device than the network."""
    for name, data in (("inputs", inputs), ("targets", targets)):
        if not isinstance(data, Tensor):
            msg = f"NetworkLoss: {name} are of type {type(data).__name__}, not a tensor: use torch.as_tensor"
            raise ArgumentTypeError(msg)
        if data.device != parameter.device:
            msg = f"NetworkLoss: {name} are on {data.device}, the network on {parameter.device}: use .to(device)"
            raise ArgumentError(msg)
        if data.is_floating_point() and data.dtype != parameter.dtype:
            own = dtype_name(parameter.dtype)
            msg = f"NetworkLoss: {name} are {dtype_name(data.dtype)}, the network {own}: use {name}.to(torch.{own})"
            raise ArgumentError(msg)
    shapes = f"inputs have shape {tuple(inputs.shape)}, targets {tuple(targets.shape)}"
    if not inputs.ndim or not targets.ndim or len(inputs) != len(targets) or not len(inputs):
        msg = f"NetworkLoss: {shapes}: both need the same number of samples, at least one, as first dimension"
        raise ArgumentError(msg)


def require_fixed(model: nn.Module) -> None:
    """Refuse layers whose answer is random, or depends on earlier calls."""
    for name, module in model.named_modules():
        if not module.training:
            continue
        kind = type(module).__name__
        if _is_random(module):
            msg = f"the loss is random ({kind} {name!r} in training mode), so no potential: call model.eval()"
            raise ArgumentError(msg)
        if isinstance(module, _RUNNING_STATISTICS) and module.track_running_stats:
            msg = (
                f"the loss has a memory ({kind} {name!r} in training mode changes its running statistics), "
                "so no potential: call model.eval()"
            )
            raise ArgumentError(msg)


def _is_random(module: nn.Module) -> bool:
    if isinstance(module, _DROPOUTS):
        return bool(module.p > 0.0)
    if isinstance(module, nn.MultiheadAttention):
        return bool(module.dropout > 0.0)
    if isinstance(module, nn.RNNBase):
        return bool(module.dropout > 0.0 and module.num_layers > 1)
    return isinstance(module, nn.RReLU)


def is_mean(model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, targets: Tensor) -> bool:
    """Whether the loss is a mean over samples (True) or a sum, by a trial on at most 64 of them in two unequal parts.

    Raises
    ------
    ArgumentError
        When it is neither: then its value on all the data cannot be had from chunks.
    """
    rows = torch.linspace(0, len(inputs) - 1, min(len(inputs), 64), device=inputs.device).long()
    cut = max(len(rows) // 4, 1)
    with torch.no_grad():
        whole, head, tail = (float(loss(model(inputs[part]), targets[part])) for part in (rows, rows[:cut], rows[cut:]))
    share = cut / len(rows)
    tolerance = 1e-4 if inputs.dtype == torch.float32 else 1e-9
    scale = tolerance * (abs(head) + abs(tail))
    if abs(share * head + (1.0 - share) * tail - whole) <= scale or not math.isfinite(whole):
        return True
    if abs(head + tail - whole) <= scale:
        return False
    msg = (
        "the loss is neither a mean nor a sum over samples, so it cannot be added up in chunks: leave out chunk_size "
        f"(on {len(rows)} samples {whole:.6g}, on {cut} of them {head:.6g}, on the others {tail:.6g})"
    )
    raise ArgumentError(msg)


def loss_error(loss: Any) -> ArgumentError | ArgumentTypeError:
    """Return what to raise for a loss that is no 0-d tensor with a gradient."""
    if not isinstance(loss, Tensor):
        return ArgumentTypeError(f"the loss returned a {type(loss).__name__}, not a tensor, so there is no gradient")
    if loss.ndim:
        return ArgumentError(f"the loss returned shape {tuple(loss.shape)}, not (): take the mean over samples")
    return ArgumentError("the loss does not depend on the parameters, or was detached, so there is no gradient")
