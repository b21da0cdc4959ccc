"""Fashion-MNIST: from four files on a server, from a folder; tiny stand-ins."""

from __future__ import annotations

import gzip
import sys

import numpy as np
import pytest
import torch
from server import Server, fashion_arrays, fashion_files, idx

from phdyn.data import fashion, fashion_mnist
from phdyn.errors import DataError

ARRAYS = fashion_arrays()
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "mine"
    place.mkdir()
    return place


def fill(place, files):
    for name, content in files.items():
        (place / name).write_bytes(content)


def check(dataset):
    assert dataset.x_train.shape == (20, 1, 28, 28)
    assert dataset.x_test.shape == (10, 1, 28, 28)
    assert dataset.x_train.dtype == dataset.x_test.dtype == torch.float32
    assert dataset.y_train.dtype == dataset.y_test.dtype == torch.int64
    assert (dataset.x_train.min(), dataset.x_train.max()) == (0.0, 1.0)
    assert torch.equal((dataset.x_test[:, 0] * 255).round().to(torch.uint8), torch.from_numpy(ARRAYS["t10k-images-idx3-ubyte"]))
    assert dataset.y_train.tolist() == [*range(10)] * 2
    assert dataset.y_test.tolist() == [*range(9, -1, -1)]
    assert dataset.classes[0] == "T-shirt/top"
    assert dataset.classes[9] == "Ankle boot"


def test_the_files_are_downloaded_and_read(cache, monkeypatch):
    with Server(fashion_files(ARRAYS)) as server:
        monkeypatch.setattr(fashion, "FILES", tuple(server.remote(remote.name) for remote in fashion.FILES))
        server.faults = [503]
        check(dataset := fashion_mnist())
        check(fashion_mnist())
    assert len(server.ranges) == 5
    assert dataset.source == "Fashion-MNIST (Xiao, Rasul & Vollgraf 2017), 20 + 10 images, SHA-256 verified"


def test_the_files_of_the_authors_are_what_is_asked_for():
    assert [remote.name for remote in fashion.FILES] == [f"{name}.gz" for name in ARRAYS]
    for remote in fashion.FILES:
        assert remote.url.endswith(f"/{remote.name}")
        assert len(bytes.fromhex(remote.sha256)) == 32
    assert len({remote.sha256 for remote in fashion.FILES}) == 4


@pytest.mark.parametrize("plain", [0, 1, 4])
def test_a_folder_of_ones_own_needs_no_pooch(folder, monkeypatch, plain):
    monkeypatch.setitem(sys.modules, "pooch", None)
    names = list(ARRAYS)
    fill(folder, {name: idx(ARRAYS[name]) for name in names[:plain]})
    fill(folder, fashion_files({name: ARRAYS[name] for name in names[plain:]}))
    check(dataset := fashion_mnist(data_dir=folder))
    assert dataset.source == "Fashion-MNIST (Xiao, Rasul & Vollgraf 2017), 20 + 10 images, from a folder of idx files, unverified"


def test_a_damaged_file_in_the_cache(cache, monkeypatch):
    files = fashion_files(ARRAYS)
    files[f"{IMAGES}.gz"] = files[f"{IMAGES}.gz"][:-100]
    with Server(files) as server:
        monkeypatch.setattr(fashion, "FILES", tuple(server.remote(remote.name) for remote in fashion.FILES))
        with pytest.raises(DataError, match=r"cannot be read: .*\. Delete it and call again\.$") as caught:
            fashion_mnist()
    assert str(cache / f"{IMAGES}.gz") in str(caught.value)


FAULTS = {
    "missing": (IMAGES, None, r"there is no such file, nor one without \.gz\. Put it there, or leave out data_dir"),
    "truncated gzip": (IMAGES, gzip.compress(idx(ARRAYS[IMAGES]))[:-100], r"cannot be read: .*\. Put a sound copy in its place"),
    "not packed": (IMAGES, idx(ARRAYS[IMAGES]), "cannot be read: Not a gzipped file"),
    "empty": (IMAGES, b"", "it is no idx file of bytes with 3 axes"),
    "short": (IMAGES, gzip.compress(idx(ARRAYS[IMAGES])[:9]), "it is no idx file of bytes with 3 axes"),
    "labels as images": (IMAGES, gzip.compress(idx(ARRAYS[LABELS])), "it is no idx file of bytes with 3 axes"),
    "images as labels": (LABELS, gzip.compress(idx(ARRAYS[IMAGES])), "it is no idx file of bytes with 1 axes"),
    "cut": (IMAGES, gzip.compress(idx(ARRAYS[IMAGES])[:-1]), "it is truncated or corrupt"),
    "longer": (IMAGES, gzip.compress(idx(ARRAYS[IMAGES]) + b"x"), "it is truncated or corrupt"),
    "no images": (IMAGES, gzip.compress(idx(ARRAYS[IMAGES][:0])), "it is truncated or corrupt"),
    "other images": (IMAGES, gzip.compress(idx(ARRAYS[IMAGES][:, :, :27].copy())), r"samples of \(28, 28\) are needed"),
    "more images": (LABELS, gzip.compress(idx(ARRAYS[LABELS][:19])), "it has 19 labels, train-images-idx3-ubyte.gz has 20 images"),
    "a label of 10": (LABELS, gzip.compress(idx(np.arange(20, dtype=np.uint8) % 11)), "the label 10, not only 0 to 9"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_in_a_folder_of_ones_own(folder, kind):
    name, content, message = FAULTS[kind]
    fill(folder, fashion_files(ARRAYS))
    if content is None:
        (folder / f"{name}.gz").unlink()
    else:
        (folder / f"{name}.gz").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        fashion_mnist(data_dir=folder)
    assert str(folder / f"{name}.gz") in str(caught.value)


def test_no_folder(tmp_path):
    with pytest.raises(DataError, match="data_dir: there is no folder"):
        fashion_mnist(data_dir=tmp_path / "none")
