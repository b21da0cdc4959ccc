"""What tests of events share: an event made of any function, and a comparison without a relative tolerance of its own."""

from __future__ import annotations

from typing import Any

import numpy as np


def close(actual: Any, desired: Any, *, atol: float = 0.0, rtol: float = 0.0) -> None:
    """NumPy's own default would add a relative tolerance of 1e-7."""
    np.testing.assert_allclose(actual, desired, rtol=rtol, atol=atol)


def event(function: Any, **attributes: Any) -> Any:
    """Return a function of its own with attributes such as ``terminal`` and ``direction``."""

    def watched(t: float, x: Any, *args: Any) -> Any:
        return function(t, x, *args)

    for name, value in attributes.items():
        setattr(watched, name, value)
    return watched
