"""Data sets by name."""

from __future__ import annotations

import pytest
import torch
from server import cifar_batch, fashion_arrays, fashion_files

from phdyn import data
from phdyn.errors import ArgumentError, DataError


def test_names():
    assert data.names() == ("digits", "mnist1d", "fashion-mnist", "cifar10")


def test_those_that_need_no_files(tmp_path):
    assert torch.equal(data.load("digits").x_train, data.digits().x_train)
    assert torch.equal(data.load("mnist1d", data_dir=tmp_path / "none").x_test, data.mnist1d().x_test)


def test_those_in_a_folder(tmp_path):
    (tmp_path / "data_batch_1.bin").write_bytes(cifar_batch(2))
    (tmp_path / "test_batch.bin").write_bytes(cifar_batch(1))
    for name, content in fashion_files(fashion_arrays()).items():
        (tmp_path / name).write_bytes(content)
    assert data.load("cifar10", data_dir=str(tmp_path)).x_train.shape == (2, 3, 32, 32)
    assert data.load("fashion-mnist", data_dir=str(tmp_path)).x_train.shape == (20, 1, 28, 28)


def test_a_wrong_folder(tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        data.load("cifar10", data_dir=tmp_path / "none")


def test_an_unknown_name():
    with pytest.raises(ArgumentError, match="unknown data set 'mnist'; there are digits, mnist1d, fashion-mnist, cifar10"):
        data.load("mnist")
