"""The few networks of the studies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from phdyn.errors import ArgumentError

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
}


def mlp(sizes: Sequence[int], activation: str = "tanh") -> nn.Sequential:
    """Make a multilayer perceptron, with torch's default initialization (seed it with ``torch.manual_seed``).

    Parameters
    ----------
    sizes : sequence of int
        Widths from the inputs to the outputs, at least two: ``(64, 64, 64, 10)`` has 8,970 parameters.
    activation : str
        Between the layers, not after the last: "tanh", "relu", "sigmoid", "softplus", "gelu", "silu" or "elu". The
        smooth ones make the loss a smooth potential, on which methods of high order keep their order; "relu" and
        "elu" do not.

    Returns
    -------
    torch.nn.Sequential
        float32; ``.double()`` converts it.

    Raises
    ------
    ArgumentError
        When a width is no positive whole number, there are fewer than two, or the activation is unknown.
    """
    widths = list(sizes)
    if len(widths) < 2 or any(isinstance(width, bool) or int(width) != width or width < 1 for width in widths):
        msg = f"mlp: sizes = {widths}: at least two positive whole numbers are needed, inputs first"
        raise ArgumentError(msg)
    if activation not in _ACTIVATIONS:
        msg = f"mlp: unknown activation {activation!r}; there are {', '.join(_ACTIVATIONS)}"
        raise ArgumentError(msg)
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), _ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])
