"""The few networks of the studies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from numbers import Integral
from typing import TYPE_CHECKING, Any, Final

from torch import Tensor, nn
from torch.nn import functional

from phdyn.errors import ArgumentError

if TYPE_CHECKING:
    from phdyn.data import Dataset

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
}
_HIDDEN: Final = (64, 64)
"""Widths between inputs and outputs where a name alone is given."""


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
    if len(widths) < 2 or not all(_is_count(width) for width in widths):
        msg = f"mlp: sizes = {widths}: at least two positive whole numbers are needed, inputs first"
        raise ArgumentError(msg)
    if activation not in _ACTIVATIONS:
        msg = f"mlp: unknown activation {activation!r}; there are {', '.join(_ACTIVATIONS)}"
        raise ArgumentError(msg)
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), _ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def lenet5(channels: int = 1, size: int = 28, classes: int = 10) -> nn.Sequential:
    """Make LeNet-5 as it is built today, with ReLU and max pooling, and torch's default initialization.

    Two convolutions of 5 x 5 with 6 and 16 channels, each followed by pooling over 2 x 2, then layers of 120 and 84.

    Parameters
    ----------
    channels : int
        Of the images: 1 for grey, 3 for colours.
    size : int
        Height and width of the images, pixels: 32 as in the paper, or 28, which the first convolution pads to 32.
    classes : int
        Number of outputs.

    Returns
    -------
    torch.nn.Sequential
        float32, from (samples, channels, size, size) to (samples, classes). It has 61,706 parameters for 1 channel and
        10 classes and 62,006 for 3 channels, of either size. Its loss is continuous with kinks, as ReLU and pooling are.

    Raises
    ------
    ArgumentError
        When the size is another, or a number is no positive whole one.

    Notes
    -----
    Source: LeCun, Bottou, Bengio & Haffner 1998, Gradient-based learning applied to document recognition, Proc. IEEE 86,
    2278. There, units are tanh, pooling is an average with weights, and the second convolution has fewer connections.
    """
    _require_counts("lenet5", channels=channels, size=size, classes=classes)
    if size not in (28, 32):
        msg = f"lenet5: size = {size}: it takes images of 28 x 28 or 32 x 32 (small_cnn takes other sizes)"
        raise ArgumentError(msg)
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=(32 - size) // 2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 5 * 5, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, classes),
    )


def small_cnn(channels: int = 3, size: int = 32, classes: int = 10) -> nn.Sequential:
    """Make a small convolutional network, with torch's default initialization.

    Three convolutions of 3 x 3, padded by 1, with 16, 32 and 64 channels and ReLU: the first of stride 2, the others followed
    by max pooling over 2 x 2. Then one linear layer.

    Parameters
    ----------
    channels : int
        Of the images: 1 for grey, 3 for colours.
    size : int
        Height and width of the images, pixels: a multiple of 4 from 8 on. Where it is no multiple of 8 the second
        pooling leaves out the last row and column.
    classes : int
        Number of outputs.

    Returns
    -------
    torch.nn.Sequential
        float32, from (samples, channels, size, size) to (samples, classes). It has 33,834 parameters for 3 x 32 x 32 and
        10 classes, 29,066 for 1 x 28 x 28. Its loss is continuous with kinks, as ReLU and pooling are.

    Raises
    ------
    ArgumentError
        When the size is no such multiple, or a number is no positive whole one.

    Notes
    -----
    Source: this project's own, chosen for studies on a CPU: the stride makes the first layer cheap.
    """
    _require_counts("small_cnn", channels=channels, size=size, classes=classes)
    if size % 4 or size < 8:
        msg = f"small_cnn: size = {size}: a multiple of 4 from 8 on is needed (it is halved three times, the last time rounded down)"
        raise ArgumentError(msg)
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * (size // 8) ** 2, classes),
    )


def resnet20(channels: int = 3, classes: int = 10) -> nn.Sequential:
    """Make the residual network of 20 layers for CIFAR-10, with batch normalization and torch's default initialization.

    A convolution of 3 x 3 with 16 channels; three stages of three blocks with 16, 32 and 64 channels, the second and third
    stage halving the image; an average over the image; a linear layer.

    Parameters
    ----------
    channels : int
        Of the images: 1 for grey, 3 for colours.
    classes : int
        Number of outputs.

    Returns
    -------
    torch.nn.Sequential
        float32, from (samples, channels, height, width), any size, to (samples, classes). It has 269,722 parameters for 3
        channels and 10 classes, 269,434 for 1 channel. In training mode its loss depends on earlier calls, through the
        running statistics: ``NetworkLoss`` wants it after ``.eval()``.

    Raises
    ------
    ArgumentError
        When a number is no positive whole one.

    Notes
    -----
    Source: He, Zhang, Ren & Sun 2016, Deep residual learning for image recognition, CVPR, section 4.2, n = 3, with shortcuts
    of option A, which have no parameters. There, the initial weights are of He et al. 2015.
    """
    _require_counts("resnet20", channels=channels, classes=classes)
    layers: list[nn.Module] = [nn.Conv2d(channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    widths = (16, 16, 16, 16, 32, 32, 32, 64, 64, 64)
    layers += [_ResidualBlock(fan_in, fan_out) for fan_in, fan_out in pairwise(widths)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


class _ResidualBlock(nn.Module):
    """Two convolutions, and a shortcut: the input itself, or every second pixel of it with channels of zeros added."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.stride = fan_out // fan_in
        self.added = fan_out - fan_in
        self.residual = nn.Sequential(
            nn.Conv2d(fan_in, fan_out, 3, stride=self.stride, padding=1, bias=False),
            nn.BatchNorm2d(fan_out),
            nn.ReLU(),
            nn.Conv2d(fan_out, fan_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(fan_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (samples, fan_in, height, width) to (samples, fan_out, height / stride, width / stride), rounded up."""
        shortcut = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))
        return functional.relu(self.residual(x) + shortcut)


_CONVOLUTIONAL: Final[dict[str, Callable[[int, int, int], nn.Sequential]]] = {
    "lenet5": lenet5,
    "small-cnn": small_cnn,
    "resnet20": lambda channels, _size, classes: resnet20(channels, classes),
}


def names() -> tuple[str, ...]:
    """Return the names of all networks."""
    return ("mlp", *_CONVOLUTIONAL)


def build(name: str, dataset: Dataset, sizes: Sequence[int] | None = None) -> nn.Sequential:
    """Make a network for the inputs and classes of a data set, for configurations.

    Parameters
    ----------
    name : str
        "mlp", "lenet5", "small-cnn" or "resnet20".
    dataset : Dataset
        Its inputs are (samples, inputs), for "mlp" alone, or images (samples, channels, size, size), which "mlp" flattens.
    sizes : sequence of int, optional
        Of "mlp": all its widths, so the number of inputs first and that of classes last. 64 and 64 between these if not
        given.

    Returns
    -------
    torch.nn.Sequential
        float32, from the data's inputs to (samples, classes).

    Raises
    ------
    ArgumentError
        When the name is unknown, the network does not take such inputs, or the sizes do not fit them.
    """
    if name not in names():
        msg = f"unknown network {name!r}; there are {', '.join(names())}"
        raise ArgumentError(msg)
    shape, classes = tuple(dataset.x_train.shape[1:]), len(dataset.classes)
    if name == "mlp":
        return _flat(shape, classes, sizes)
    if sizes is not None:
        msg = f"{name}: sizes = {list(sizes)}: its widths are fixed, leave sizes out (they are for mlp)"
        raise ArgumentError(msg)
    if len(shape) != 3 or shape[1] != shape[2]:
        msg = f"{name} takes square images (channels, size, size); a sample of the data has shape {shape}: use mlp"
        raise ArgumentError(msg)
    return _CONVOLUTIONAL[name](shape[0], shape[1], classes)


def _flat(shape: tuple[int, ...], classes: int, sizes: Sequence[int] | None) -> nn.Sequential:
    inputs = math.prod(shape)
    widths = (inputs, *_HIDDEN, classes) if sizes is None else tuple(sizes)
    if len(widths) < 2 or (widths[0], widths[-1]) != (inputs, classes):
        msg = f"mlp: sizes = {list(widths)}: the data have {inputs} inputs and {classes} classes, so [{inputs}, ..., {classes}] is needed"
        raise ArgumentError(msg)
    layers = mlp(widths)
    return layers if len(shape) == 1 else nn.Sequential(nn.Flatten(), *layers)


def _is_count(number: Any) -> bool:
    return not isinstance(number, bool) and isinstance(number, Integral) and int(number) >= 1


def _require_counts(where: str, **numbers: Any) -> None:
    for name, number in numbers.items():
        if not _is_count(number):
            msg = f"{where}: {name} = {number}: a positive whole number is needed"
            raise ArgumentError(msg)
