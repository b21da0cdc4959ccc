"""The data sets of the studies."""

from __future__ import annotations

import sys
from dataclasses import FrozenInstanceError

import pytest
import torch

from phdyn.data import digits
from phdyn.errors import MissingExtraError


@pytest.fixture(scope="module")
def images():
    return digits()


def test_shapes_kinds_and_range(images):
    assert images.x_train.shape == (1347, 64)
    assert images.x_test.shape == (450, 64)
    assert images.y_train.shape == (1347,)
    assert images.y_test.shape == (450,)
    for x in (images.x_train, images.x_test):
        assert x.dtype == torch.float32
        assert (x.min(), x.max()) == (0.0, 1.0)
    assert images.y_train.dtype == images.y_test.dtype == torch.int64
    assert len(images.classes) == 10
    assert "1998" in images.source
    assert repr(images).startswith("Dataset(1347 + 450 samples of 64, 10 classes")


def test_the_split_is_stratified_and_always_the_same(images):
    train, test = (torch.bincount(y, minlength=10) for y in (images.y_train, images.y_test))
    assert torch.all((test / (train + test) - 0.25).abs() < 0.01)
    again = digits()
    assert torch.equal(images.x_train, again.x_train)
    assert torch.equal(images.y_test, again.y_test)


def test_every_image_is_in_one_part_and_has_its_label(images):
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    everything = {(tuple(x), int(y)) for x, y in zip((pixels / 16).tolist(), labels, strict=True)}
    parts = ((images.x_train, images.y_train), (images.x_test, images.y_test))
    found = [(tuple(row), int(y)) for x, labels in parts for row, y in zip(x.tolist(), labels, strict=True)]
    assert len(found) == 1797
    assert set(found) == everything


def test_it_is_frozen(images):
    with pytest.raises(FrozenInstanceError):
        images.source = "mine"


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'phdyn\[experiments\]'") as caught:
        digits()
    assert isinstance(caught.value, ImportError)
