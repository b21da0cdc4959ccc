"""The networks of the studies."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from phdyn import networks
from phdyn.data import Dataset
from phdyn.errors import ArgumentError
from phdyn.networks import mlp
from phdyn.potentials import NetworkLoss


@pytest.mark.parametrize(("sizes", "count"), [((64, 64, 64, 10), 8_970), ((64, 16, 10), 1_210), ([3, 1], 4)])
def test_number_of_parameters(sizes, count):
    model = mlp(sizes)
    assert sum(p.numel() for p in model.parameters()) == count
    assert model(torch.zeros(5, sizes[0])).shape == (5, sizes[-1])
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_layers():
    assert [type(layer) for layer in mlp((2, 3, 4, 1))] == [nn.Linear, nn.Tanh, nn.Linear, nn.Tanh, nn.Linear]
    assert [type(layer) for layer in mlp((2, 3, 1), activation="gelu")] == [nn.Linear, nn.GELU, nn.Linear]


def test_the_seed_decides():
    models = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        models.append(mlp((4, 3, 2))[0].weight)
    assert torch.equal(models[0], models[1])
    assert not torch.equal(models[0], models[2])


@pytest.mark.parametrize("sizes", [(), (64,), (64, 0), (64, -1, 10), (64, 2.5), (64, True)])
def test_bad_sizes_are_refused(sizes):
    with pytest.raises(ArgumentError, match="at least two positive whole numbers"):
        mlp(sizes)


def test_unknown_activations_are_refused():
    with pytest.raises(ArgumentError, match="unknown activation 'tanhh'; there are tanh, relu"):
        mlp((2, 1), activation="tanhh")


def samples_of(shape, classes=10):
    """Return a data set of two random samples of a shape, with labels."""
    x, y = torch.rand(2, *shape), torch.tensor([0, classes - 1])
    return Dataset(x, y, x, y, classes=tuple(map(str, range(classes))), source="noise")


def number_of_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


CONVOLUTIONAL = [
    (networks.lenet5, (1, 28, 28), 61_706),
    (lambda: networks.lenet5(channels=1, size=32), (1, 32, 32), 61_706),
    (lambda: networks.lenet5(channels=3, size=32), (3, 32, 32), 62_006),
    (networks.small_cnn, (3, 32, 32), 33_834),
    (lambda: networks.small_cnn(channels=1, size=28), (1, 28, 28), 29_066),
    (lambda: networks.small_cnn(channels=1, size=8), (1, 8, 8), 160 + 4_640 + 18_496 + 650),
    (networks.resnet20, (3, 32, 32), 269_722),
    (lambda: networks.resnet20(channels=1), (1, 28, 28), 269_434),
    (networks.resnet20, (3, 31, 17), 269_722),
]


@pytest.mark.parametrize(("make", "shape", "count"), CONVOLUTIONAL)
def test_convolutional_networks(make, shape, count):
    torch.manual_seed(0)
    model = make()
    assert number_of_parameters(model) == count
    assert all(p.dtype == torch.float32 for p in model.parameters())
    scores = model(torch.rand(4, *shape))
    assert scores.shape == (4, 10)
    assert scores.dtype == torch.float32
    nn.functional.cross_entropy(scores, torch.arange(4)).backward()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0.0, name


@pytest.mark.parametrize("make", [networks.lenet5, networks.small_cnn, networks.resnet20])
def test_the_seed_decides_on_convolutions_too(make):
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        weights.append(torch.cat([p.detach().flatten() for p in make(channels=1, classes=3).parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_lenet5_pads_small_images_to_the_size_of_the_paper():
    torch.manual_seed(0)
    small, large = networks.lenet5(size=28), networks.lenet5(size=32)
    large.load_state_dict(small.state_dict())
    x = torch.rand(2, 1, 28, 28)
    torch.testing.assert_close(small(x), large(nn.functional.pad(x, (2, 2, 2, 2))))


def test_resnet20_has_twenty_layers_and_shortcuts_without_parameters():
    model = networks.resnet20()
    assert sum(isinstance(layer, (nn.Conv2d, nn.Linear)) for layer in model.modules()) == 20
    sizes = []
    x = torch.rand(1, 3, 32, 32)
    for layer in model[:-3]:
        x = layer(x)
        sizes.append(tuple(x.shape[1:]))
    assert sizes == [*[(16, 32, 32)] * 6, *[(32, 16, 16)] * 3, *[(64, 8, 8)] * 3]
    kernels = {layer.kernel_size for layer in model.modules() if isinstance(layer, nn.Conv2d)}
    assert kernels == {(3, 3)}


def test_a_shortcut_passes_every_second_pixel_and_adds_zeros():
    block = networks._ResidualBlock(2, 4).eval()
    for layer in block.residual:
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.weight)
    x = torch.rand(3, 2, 5, 6)
    out = block(x)
    assert out.shape == (3, 4, 3, 3)
    assert torch.equal(out[:, :2], x[:, :, ::2, ::2])
    assert torch.all(out[:, 2:] == 0.0)


def test_resnet20_is_a_potential_in_evaluation_mode():
    data = samples_of((3, 32, 32))
    model = networks.resnet20()
    with pytest.raises(ArgumentError, match=r"call model\.eval\(\)"):
        NetworkLoss(model, nn.functional.cross_entropy, data.x_train, data.y_train)
    V = NetworkLoss(model.eval(), nn.functional.cross_entropy, data.x_train, data.y_train)
    assert V.dim == 269_722


@pytest.mark.parametrize("size", [27, 24, 64, 8])
def test_lenet5_takes_two_sizes(size):
    with pytest.raises(ArgumentError, match=f"lenet5: size = {size}: it takes images of 28 x 28 or 32 x 32"):
        networks.lenet5(size=size)


@pytest.mark.parametrize("size", [4, 30, 33, 6])
def test_small_cnn_needs_a_size_it_can_halve(size):
    with pytest.raises(ArgumentError, match=f"small_cnn: size = {size}: a multiple of 4 from 8 on"):
        networks.small_cnn(size=size)


@pytest.mark.parametrize("number", [0, -1, 1.5, "3", True, None])
@pytest.mark.parametrize("make", [networks.lenet5, networks.small_cnn, networks.resnet20])
def test_bad_numbers_are_refused(make, number):
    for name in ("channels", "classes"):
        with pytest.raises(ArgumentError, match=f"{make.__name__}: {name} = {number}: a positive whole number is needed"):
            make(**{name: number})


def test_names():
    assert networks.names() == ("mlp", "lenet5", "small-cnn", "resnet20")


@pytest.mark.parametrize(
    ("name", "shape", "count"),
    [
        ("mlp", (64,), 8_970),
        ("mlp", (40,), 40 * 64 + 64 + 64 * 64 + 64 + 650),
        ("mlp", (1, 28, 28), 784 * 64 + 64 + 64 * 64 + 64 + 650),
        ("lenet5", (1, 28, 28), 61_706),
        ("lenet5", (3, 32, 32), 62_006),
        ("small-cnn", (1, 28, 28), 29_066),
        ("small-cnn", (3, 32, 32), 33_834),
        ("resnet20", (1, 28, 28), 269_434),
        ("resnet20", (3, 32, 32), 269_722),
    ],
)
def test_networks_are_built_for_the_data(name, shape, count):
    data = samples_of(shape)
    model = networks.build(name, data)
    assert number_of_parameters(model) == count
    assert model(data.x_train).shape == (2, 10)


@pytest.mark.parametrize("name", networks.names())
def test_as_many_outputs_as_classes(name):
    data = samples_of((3, 32, 32), classes=7)
    assert networks.build(name, data)(data.x_train).shape == (2, 7)


def test_a_flat_network_is_the_same_as_by_its_sizes():
    data = samples_of((64,))
    torch.manual_seed(0)
    built = networks.build("mlp", data, sizes=(64, 16, 10))
    torch.manual_seed(0)
    made = mlp((64, 16, 10))
    assert built.state_dict().keys() == made.state_dict().keys()
    assert all(torch.equal(one, other) for one, other in zip(built.parameters(), made.parameters(), strict=True))


def test_mlp_flattens_images():
    data = samples_of((3, 4, 5))
    torch.manual_seed(0)
    built = networks.build("mlp", data, sizes=[60, 8, 10])
    torch.manual_seed(0)
    assert torch.equal(built(data.x_train), mlp((60, 8, 10))(data.x_train.flatten(1)))


@pytest.mark.parametrize(
    ("name", "shape", "sizes", "message"),
    [
        ("lenet", (1, 28, 28), None, "unknown network 'lenet'; there are mlp, lenet5, small-cnn, resnet20"),
        ("lenet5", (64,), None, r"lenet5 takes square images .* has shape \(64,\): use mlp"),
        ("resnet20", (3, 32, 16), None, r"square images .* has shape \(3, 32, 16\)"),
        ("lenet5", (1, 8, 8), None, "lenet5: size = 8"),
        ("small-cnn", (1, 30, 30), None, "small_cnn: size = 30"),
        ("small-cnn", (3, 32, 32), (32, 32), r"small-cnn: sizes = \[32, 32\]: its widths are fixed"),
        ("mlp", (64,), (32, 32), r"sizes = \[32, 32\]: the data have 64 inputs and 10 classes, so \[64, ..., 10\] is needed"),
        ("mlp", (1, 28, 28), (784, 16, 9), r"784 inputs and 10 classes"),
        ("mlp", (64,), (), r"sizes = \[\]: the data have 64 inputs"),
        ("mlp", (64,), (64, 0, 10), "at least two positive whole numbers"),
    ],
)
def test_what_does_not_fit_is_refused(name, shape, sizes, message):
    with pytest.raises(ArgumentError, match=message):
        networks.build(name, samples_of(shape), sizes=sizes)
