"""CIFAR-10: from an archive on a server, from a folder; tiny stand-ins, and the real files where PHDYN_TEST_CIFAR names them."""

from __future__ import annotations

import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from server import Server, cifar_batch, cifar_files, sha256, tar_gz

from phdyn.data import cifar, cifar10
from phdyn.errors import DataError

INSIDE = "cifar-10-batches-bin"
ARCHIVE = "cifar-10-binary.tar.gz"


def packed(files, **more):
    return tar_gz({**{f"{INSIDE}/{name}": content for name, content in files.items()}, **more})


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "mine"
    place.mkdir()
    return place


def fill(place, files):
    place.mkdir(exist_ok=True)
    for name, content in files.items():
        (place / name).write_bytes(content)


def served(monkeypatch, content):
    server = Server({ARCHIVE: content})
    monkeypatch.setattr(cifar, "ARCHIVE", server.remote(ARCHIVE))
    return server


def pixels(content):
    return torch.from_numpy(np.frombuffer(content, dtype=np.uint8).reshape(-1, 3073)[:, 1:].copy())


def test_the_archive_is_downloaded_and_read(cache, monkeypatch):
    files = cifar_files()
    with served(monkeypatch, packed(files, **{f"{INSIDE}/readme.html": b"<html>"})) as server:
        dataset = cifar10()
        again = cifar10()
    assert server.ranges == [None]
    assert torch.equal(dataset.x_train, again.x_train)
    assert dataset.x_train.shape == (50, 3, 32, 32)
    assert dataset.x_test.shape == (10, 3, 32, 32)
    assert dataset.x_train.dtype == dataset.x_test.dtype == torch.float32
    assert dataset.y_train.dtype == dataset.y_test.dtype == torch.int64
    assert dataset.y_train.tolist() == [*range(10)] * 5
    assert torch.equal((dataset.x_train[10:20] * 255).round().to(torch.uint8).flatten(1), pixels(files["data_batch_2.bin"]))
    assert (dataset.x_train.min(), dataset.x_train.max()) == (0.0, 1.0)
    assert dataset.source == "CIFAR-10 (Krizhevsky 2009), 50 + 10 images, SHA-256 verified"
    assert dataset.classes[0] == "airplane"
    assert dataset.classes[9] == "truck"


def test_the_archive_of_the_authors_is_what_is_asked_for():
    assert cifar.ARCHIVE.url.startswith("https://www.cs.toronto.edu/")
    assert cifar.ARCHIVE.url.endswith(cifar.ARCHIVE.name)
    assert len(bytes.fromhex(cifar.ARCHIVE.sha256)) == 32


def test_planes_are_red_green_blue_row_by_row(folder):
    image = np.zeros((3, 32, 32), dtype=np.uint8)
    image[1, 2, 5] = 255  # green, row 2, column 5
    record = bytes((7,)) + image.tobytes()
    assert record[1 + 1024 + 2 * 32 + 5] == 255
    fill(folder, {"data_batch_1.bin": record, "test_batch.bin": record})
    dataset = cifar10(data_dir=folder)
    assert dataset.y_train.tolist() == [7]
    assert dataset.x_train.nonzero().tolist() == [[0, 1, 2, 5]]


def corrupted(kind):
    files = cifar_files(samples=2)
    link, place = tarfile.TarInfo(f"{INSIDE}/data_batch_2.bin"), tarfile.TarInfo(f"{INSIDE}/test_batch.bin")
    link.type, link.linkname, place.type = tarfile.SYMTYPE, "data_batch_1.bin", tarfile.DIRTYPE
    return {
        "truncated": packed(files)[:-20_000],
        "almost empty": packed(files)[:40],
        "no archive": b"<html>sorry</html>",
        "empty": b"",
        "no test images": packed({name: content for name, content in files.items() if "data" in name}),
        "half a record": packed(files | {"data_batch_3.bin": files["data_batch_3.bin"][:-1]}),
        "nothing in it": packed(files | {"data_batch_3.bin": b""}),
        "a label of 10": packed(files | {"data_batch_3.bin": bytes((10,)) + files["data_batch_3.bin"][1:]}),
        "a link": tar_gz({**{f"{INSIDE}/{name}": content for name, content in files.items()}, link.name: link}),
        "a folder": tar_gz({**{f"{INSIDE}/{name}": content for name, content in files.items()}, place.name: place}),
        "another place": tar_gz(files),
    }[kind]


KINDS = (
    "truncated",
    "almost empty",
    "no archive",
    "empty",
    "no test images",
    "half a record",
    "nothing in it",
    "a label of 10",
    "a link",
    "a folder",
    "another place",
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_corrupt_archive_is_named_with_the_way_out(cache, monkeypatch, kind):
    with served(monkeypatch, corrupted(kind)), pytest.raises(DataError, match=r"corrupt.*\. Delete it and call again\.$") as caught:
        cifar10()
    assert str(caught.value).startswith(f"{cache / ARCHIVE}: ")


def test_nothing_is_unpacked_to_disk(cache, monkeypatch, tmp_path):
    with served(monkeypatch, packed(cifar_files(), **{"../outside.bin": b"x", "/outside.bin": b"x"})):
        cifar10()
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock") == [ARCHIVE]


def test_a_wrong_checksum(cache, monkeypatch):
    with served(monkeypatch, packed(cifar_files())) as server:
        right = server.files[ARCHIVE]
        server.files[ARCHIVE] = right[:-1] + bytes((right[-1] ^ 1,))
        with pytest.raises(DataError, match="SHA-256") as caught:
            cifar10()
        assert sha256(right) in str(caught.value)
        server.files[ARCHIVE] = right
        assert len(cifar10().x_train) == 50


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_of_ones_own_needs_no_pooch(folder, monkeypatch, inside, kind):
    monkeypatch.setitem(sys.modules, "pooch", None)
    fill(folder / INSIDE if inside else folder, {"data_batch_1.bin": cifar_batch(3), "test_batch.bin": cifar_batch(2, seed=1)})
    dataset = cifar10(data_dir=kind(folder))
    assert dataset.x_train.shape == (3, 3, 32, 32)
    assert torch.equal((dataset.x_test * 255).round().to(torch.uint8).flatten(1), pixels(cifar_batch(2, seed=1)))
    assert dataset.source == "CIFAR-10 (Krizhevsky 2009), 3 + 2 images, from a folder of .bin files, unverified"
    assert str(folder) not in repr(dataset)


def test_batches_are_in_the_order_of_their_numbers(folder):
    batches = {f"data_batch_{k}.bin": bytes((k % 10,)) + bytes(3072) for k in (10, 2, 1)}
    fill(folder, batches | {"test_batch.bin": cifar_batch(1), "data_batch_x.bin": b"no", "my_data_batch_3.bin": b"no"})
    assert cifar10(data_dir=folder).y_train.tolist() == [1, 2, 0]


GOOD = {"data_batch_1.bin": cifar_batch(3), "test_batch.bin": cifar_batch(2)}


@pytest.mark.parametrize(
    ("files", "named", "message"),
    [
        ({}, "", "there is no data_batch_\\*.bin in .* or leave out data_dir to download them"),
        ({"test_batch.bin": cifar_batch(2)}, "", "there is no data_batch_"),
        ({"data_batch_1.bin": cifar_batch(2)}, "test_batch.bin", "there is no such file. Put it next to data_batch_1.bin"),
        (GOOD | {"data_batch_1.bin": b""}, "data_batch_1.bin", "0 bytes, no positive multiple of 3,073.* Put a sound copy"),
        (GOOD | {"data_batch_1.bin": cifar_batch(1)[:-1]}, "data_batch_1.bin", "3,072 bytes, no positive multiple of 3,073"),
        (GOOD | {"test_batch.bin": cifar_batch(1) + b"x"}, "test_batch.bin", "3,074 bytes, no positive multiple of 3,073"),
        (GOOD | {"test_batch.bin": b"\xff" + bytes(3072)}, "test_batch.bin", "the label 255, not only 0 to 9"),
    ],
)
def test_faults_in_a_folder_of_ones_own(folder, files, named, message):
    fill(folder, files)
    with pytest.raises(DataError, match=message) as caught:
        cifar10(data_dir=folder)
    assert str(folder / named) in str(caught.value)


def test_a_batch_that_is_a_folder(folder):
    fill(folder, GOOD)
    (folder / "data_batch_2.bin").mkdir()
    with pytest.raises(DataError, match=r"data_batch_2\.bin: cannot be read: Is a directory\. Put a sound copy"):
        cifar10(data_dir=folder)


@pytest.mark.parametrize("name", ["none", "file"])
def test_no_folder(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="data_dir: there is no folder"):
        cifar10(data_dir=tmp_path / name)


@pytest.mark.skipif(not Path(os.environ.get("PHDYN_TEST_CIFAR") or "-").is_dir(), reason="PHDYN_TEST_CIFAR names no folder")
def test_the_real_files():
    dataset = cifar10(data_dir=os.environ["PHDYN_TEST_CIFAR"])
    assert len(dataset.x_train) % 10_000 == 0
    assert dataset.x_test.shape == (10_000, 3, 32, 32)
    assert torch.equal(torch.bincount(dataset.y_test), torch.full((10,), 1000))
    assert 0.4 < dataset.x_test.mean() < 0.55
    sky = dataset.x_train[dataset.y_train == 0].mean(dim=(0, 2, 3))  # airplanes: more blue than red
    assert sky[2] > sky[0] + 0.02
    assert (dataset.x_test.diff(dim=3).abs().mean() < 0.08) & (dataset.x_test.diff(dim=2).abs().mean() < 0.08)
