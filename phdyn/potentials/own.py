"""A user's own object as a potential."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from phdyn.potentials.products import differences, direction


class OwnPotential:
    """An object with ``value_and_grad``, as it is, and with Hessian-vector products from differences of its gradients.

    Parameters
    ----------
    wrapped : object
        The user's; every attribute of it is one of this.
    """

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped

    def hvp(self, q: Any, v: Any) -> Any:
        """Hessian times a vector.

        Parameters
        ----------
        q, v : array or tensor, shape (..., n)
            Of the kind that the object takes; lists count as float64 arrays.

        Returns
        -------
        array or tensor, shape (..., n)
            By central differences of the gradient: two gradients, relative error about 1e-10 in float64.

        Raises
        ------
        ArgumentError
            When the shapes differ.
        """
        q = q if isinstance(q, Tensor) else np.asarray(q, dtype=getattr(q, "dtype", np.float64))
        return differences(lambda z: self.wrapped.value_and_grad(z)[1], q, direction(q, v))

    def __getattr__(self, name: str) -> Any:
        if name == "wrapped" or name.startswith("__"):  # copies and pickles are made before there is anything to ask
            raise AttributeError(name)
        return getattr(self.wrapped, name)

    def __repr__(self) -> str:
        return repr(self.wrapped)
