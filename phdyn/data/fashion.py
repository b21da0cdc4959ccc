"""Fashion-MNIST, in the idx layout of MNIST."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any, Final

import numpy as np

from phdyn.data.dataset import Dataset, from_bytes, from_labels
from phdyn.data.download import RemoteFile, fetch
from phdyn.data.files import DELETE, REPLACE, fault, folder_of, read, require_labels
from phdyn.errors import DataError

CLASSES: Final = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
SIDE: Final = 28

_SITE = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_SUMS = {  # as tensorflow_datasets lists them; a checksum makes plain http safe
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
FILES = tuple(RemoteFile(name, f"{_SITE}/{name}", sha256) for name, sha256 in _SUMS.items())
"""Images and labels for training, images and labels for testing."""


def fashion_mnist(data_dir: str | Path | None = None) -> Dataset:
    """Fashion-MNIST: grey images of clothes, 60,000 for training and 10,000 for testing.

    Parameters
    ----------
    data_dir : path, optional
        A folder with the four idx files, packed (``.gz``) or not; where both are there, the unpacked one is read. Their
        structure is checked, their checksums are not. If not given they are downloaded once, 31 MB, verified, into the
        cache folder: that of the environment variable PHDYN_DATA_DIR, or the operating system's.

    Returns
    -------
    Dataset
        Inputs (samples, 1, 28, 28), 256 grey levels scaled to [0, 1].

    Raises
    ------
    DataError
        A file is missing, truncated or corrupt, or cannot be downloaded.
    MissingExtraError
        When pooch is needed and not installed.

    Notes
    -----
    Source: Xiao, Rasul & Vollgraf 2017, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms,
    arXiv 1708.07747.
    """
    if data_dir is None:
        paths, remedy, origin = [fetch(remote) for remote in FILES], DELETE, "SHA-256 verified"
    else:
        paths, remedy, origin = _found(folder_of(data_dir)), REPLACE, "from a folder of idx files, unverified"
    x_train, y_train = _split(paths[0], paths[1], remedy)
    x_test, y_test = _split(paths[2], paths[3], remedy)
    return Dataset(
        x_train=from_bytes(x_train),
        y_train=from_labels(y_train),
        x_test=from_bytes(x_test),
        y_test=from_labels(y_test),
        classes=CLASSES,
        source=f"Fashion-MNIST (Xiao, Rasul & Vollgraf 2017), {len(x_train):,} + {len(x_test):,} images, {origin}",
    )


def _found(folder: Path) -> list[Path]:
    """Return the four files of a user's folder."""
    return [_one_of(folder, (name.removesuffix(".gz"), name)) for name in _SUMS]


def _one_of(folder: Path, names: tuple[str, str]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    msg = f"{folder / names[1]}: there is no such file, nor one without .gz. Put it there, or leave out data_dir to download it."
    raise DataError(msg)


def _split(images_path: Path, labels_path: Path, remedy: str) -> tuple[Any, Any]:
    """Return images (samples, 1, 28, 28) and labels (samples,), uint8."""
    images = _idx(images_path, (SIDE, SIDE), remedy)
    labels = _idx(labels_path, (), remedy)
    if len(images) != len(labels):
        raise fault(labels_path, f"it has {len(labels)} labels, {images_path.name} has {len(images)} images", remedy)
    require_labels(labels, len(CLASSES), labels_path, remedy)
    return images[:, None], labels


def _idx(path: Path, shape: tuple[int, ...], remedy: str) -> Any:
    """Return the content of an idx file of bytes, (samples, *shape).

    Its header is four bytes 0, 0, 8 (for bytes) and the number of axes, then the length of each as a big-endian 32-bit number.
    """
    content = read(path, remedy)
    axes = 1 + len(shape)
    header = 4 * (1 + axes)
    if len(content) < header or content[:4] != bytes((0, 0, 8, axes)):
        raise fault(path, f"it is no idx file of bytes with {axes} axes", remedy)
    lengths = struct.unpack(f">{axes}I", content[4:header])
    if lengths[0] < 1 or lengths[1:] != shape or len(content) != header + math.prod(lengths):
        what = f"it has {len(content):,} bytes and its header says {lengths}, samples of {shape} are needed: it is truncated or corrupt"
        raise fault(path, what, remedy)
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(lengths)
