"""The networks of the studies."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from phdyn.errors import ArgumentError
from phdyn.networks import mlp


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
