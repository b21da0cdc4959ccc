"""Scikit-learn's handwritten digits."""

from __future__ import annotations

import torch

from phdyn.data.dataset import Dataset
from phdyn.errors import MissingExtraError


def digits() -> Dataset:
    """Scikit-learn's handwritten digits: 1,797 images of 8 x 8, nothing to download.

    A quarter is for testing, stratified, drawn with a fixed seed: 1,347 and 450 images, the same every time.

    Returns
    -------
    Dataset
        Inputs (samples, 64), 17 grey levels scaled to [0, 1].

    Raises
    ------
    MissingExtraError
        When scikit-learn is not installed.

    Notes
    -----
    Source: the test set of Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository.
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        msg = "digits() needs scikit-learn: pip install 'phdyn[experiments]'"
        raise MissingExtraError(msg) from error
    images, labels = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(images, labels, test_size=0.25, stratify=labels, random_state=0)
    return Dataset(
        x_train=torch.tensor(x_train / 16.0, dtype=torch.float32),
        y_train=torch.tensor(y_train, dtype=torch.int64),
        x_test=torch.tensor(x_test / 16.0, dtype=torch.float32),
        y_test=torch.tensor(y_test, dtype=torch.int64),
        classes=tuple("0123456789"),
        source="Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI (scikit-learn's load_digits)",
    )
