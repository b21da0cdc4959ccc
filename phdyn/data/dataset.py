"""What every data set is: inputs and labels, for training and for testing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs and labels, split into what is trained on and what is not.

    Attributes
    ----------
    x_train, x_test : Tensor, shape (samples, ...)
        float32 in [0, 1]; images are (samples, channels, height, width).
    y_train, y_test : Tensor, shape (samples,)
        int64 labels from 0 on.
    classes : tuple of str
        Name of each label.
    source : str
        Where the data are from.
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: tuple[str, ...]
    source: str

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.x_train.shape[1:]))
        counts = f"{len(self.x_train)} + {len(self.x_test)} samples"
        return f"Dataset({counts} of {shape}, {len(self.classes)} classes, {self.source})"


def from_bytes(pixels: Any) -> Tensor:
    """Return grey or colour levels from 0 to 255, of any shape, as float32 in [0, 1]."""
    return torch.from_numpy(np.divide(pixels, np.float32(255.0), dtype=np.float32))


def from_labels(labels: Any) -> Tensor:
    """Return labels, shape (samples,), as int64."""
    return torch.from_numpy(labels.astype(np.int64))
