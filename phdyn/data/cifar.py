"""CIFAR-10, in its binary layout."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from phdyn.data.dataset import Dataset, from_bytes, from_labels
from phdyn.data.download import RemoteFile, fetch
from phdyn.data.files import DAMAGED, DELETE, REPLACE, fault, folder_of, read, reason, require_labels
from phdyn.errors import DataError

CLASSES: Final = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
IMAGE: Final = (3, 32, 32)
RECORD: Final = 1 + 3 * 32 * 32
"""Bytes of a label and its image."""

ARCHIVE = RemoteFile(
    name="cifar-10-binary.tar.gz",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",  # as tensorflow_datasets lists it
)
_INSIDE: Final = "cifar-10-batches-bin"
_TRAIN: Final = tuple(f"data_batch_{k}.bin" for k in range(1, 6))
_TEST: Final = "test_batch.bin"
_NUMBERED: Final = re.compile(r"data_batch_(\d+)\.bin")


def cifar10(data_dir: str | Path | None = None) -> Dataset:
    """CIFAR-10: colour images of ten kinds of things, 50,000 for training and 10,000 for testing.

    Parameters
    ----------
    data_dir : path, optional
        A folder with ``test_batch.bin`` and any of ``data_batch_1.bin``, ``data_batch_2.bin``, ... in the binary layout,
        or a folder that has them in ``cifar-10-batches-bin``. They are read in the order of their numbers. Their structure
        is checked, their checksums are not. If not given the archive is downloaded once, 170 MB, verified, into the cache
        folder: that of the environment variable PHDYN_DATA_DIR, or the operating system's.

    Returns
    -------
    Dataset
        Inputs (samples, 3, 32, 32), red, green and blue, 256 levels scaled to [0, 1].

    Raises
    ------
    DataError
        A file is missing, truncated or corrupt, or cannot be downloaded.
    MissingExtraError
        When pooch is needed and not installed.

    Notes
    -----
    Source: Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images, technical report, University of Toronto.
    A record is a byte for the label and 3,072 for the image: its red, green and blue plane, each row by row.
    """
    if data_dir is None:
        train, test = _unpacked(fetch(ARCHIVE))
        origin = "SHA-256 verified"
    else:
        train, test = _found(folder_of(data_dir))
        origin = "from a folder of .bin files, unverified"
    return Dataset(
        x_train=from_bytes(_images(train)),
        y_train=from_labels(train[:, 0]),
        x_test=from_bytes(_images(test)),
        y_test=from_labels(test[:, 0]),
        classes=CLASSES,
        source=f"CIFAR-10 (Krizhevsky 2009), {len(train):,} + {len(test):,} images, {origin}",
    )


def _images(records: Any) -> Any:
    return records[:, 1:].reshape(-1, *IMAGE)


def _found(folder: Path) -> tuple[Any, Any]:
    """Return the records of a user's folder, for training and for testing."""
    for place in (folder, folder / _INSIDE):
        batches = sorted((int(match[1]), path) for path in place.glob("*.bin") if (match := _NUMBERED.fullmatch(path.name)))
        if batches:
            train = [_records(read(path, REPLACE), path, REPLACE) for _, path in batches]
            test = place / _TEST
            if not test.is_file():
                raise fault(test, "there is no such file", f"Put it next to {batches[0][1].name}")
            return np.concatenate(train), _records(read(test, REPLACE), test, REPLACE)
    msg = (
        f"data_dir: there is no data_batch_*.bin in {folder} or its {_INSIDE}. Put the files of CIFAR-10's binary version there, "
        "or leave out data_dir to download them."
    )
    raise DataError(msg)


def _unpacked(archive: Path) -> tuple[Any, Any]:
    """Return the records of the archive, for training and for testing; nothing is written."""
    records = []
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for name in (*_TRAIN, _TEST):
                member = tar.getmember(f"{_INSIDE}/{name}")
                file = tar.extractfile(member) if member.isreg() else None
                content = b"" if file is None else file.read()
                records.append(_records(content, archive, DELETE, name=name))
    except DataError:
        raise
    except KeyError as error:
        raise fault(archive, f"it is truncated or corrupt: {error.args[0]}", DELETE) from error
    except (tarfile.TarError, *DAMAGED) as error:
        raise fault(archive, f"it is truncated or corrupt: {reason(error)}", DELETE) from error
    return np.concatenate(records[:-1]), records[-1]


def _records(content: bytes, path: Path, remedy: str, name: str = "it") -> Any:
    """Return the records of a file, (samples, 3073) uint8."""
    if not content or len(content) % RECORD:
        what = f"{name} has {len(content):,} bytes, no positive multiple of {RECORD:,}, so it is truncated or corrupt"
        raise fault(path, what, remedy)
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, RECORD)
    require_labels(records[:, 0], len(CLASSES), path, remedy)
    return records
