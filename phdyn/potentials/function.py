"""A plain torch function of the position as a potential, with its gradient by autograd."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from phdyn.errors import ArgumentError, ArgumentTypeError, PhdynError
from phdyn.potentials.base import primal_and_tangent
from phdyn.potentials.products import direction, exact

_USED_NUMPY = "the potential used NumPy on a tensor: write torch.cos, or pass an object with value_and_grad"
_USED_MATH = "the potential returned a float, so there is no gradient: use torch, not math"


class FunctionPotential:
    """A torch function (..., n) -> (...) as a potential.

    The rows of a batch must not mix: row k of the value depends on row k of the position alone, as in
    ``(q**2).sum(-1)``.

    Parameters
    ----------
    function : callable
        Takes a tensor (..., n), returns a tensor (...), differentiable by autograd.

    Attributes
    ----------
    dim : None
        Any n will do.
    name : str
        The function's name.

    Notes
    -----
    `value` and `value_and_grad` look at no more of the answer than that it is a tensor, its number of dimensions, and
    that it has a gradient. `check` looks at the rest too, at the price of one evaluation, which it returns.
    """

    dim: None = None

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function
        self.name: str = getattr(function, "__name__", type(function).__name__)

    def __repr__(self) -> str:
        return f"FunctionPotential({self.name})"

    def value(self, q: Any) -> Any:
        """V(q).

        Parameters
        ----------
        q : tensor, array or list, shape (..., n)

        Returns
        -------
        tensor or array, shape (...)
            In the kind and dtype of `q` (lists and integers: float64), bit for bit that of `value_and_grad`; in the
            graph of `q` where that requires a gradient or has a tangent.

        Raises
        ------
        ArgumentError, ArgumentTypeError
            As `value_and_grad`.
        """
        if not isinstance(q, Tensor):
            return self.value(_tensor(q)).numpy()[()]
        value = self._call(q)
        return _detached(value) if value.requires_grad and not q.requires_grad else value

    def value_and_grad(self, q: Any) -> Any:
        """V(q) and its gradient, by reverse mode.

        Parameters
        ----------
        q : tensor, array or list, shape (..., n)
            Where it requires a gradient, both answers stay in its graph, else they are detached. Where it has a tangent
            (forward-mode AD), so have both; the gradient's is the Hessian times that of `q`.

        Returns
        -------
        value : tensor or array, shape (...)
        gradient : tensor or array, shape (..., n)
            Row by row.

        Raises
        ------
        ArgumentTypeError
            When the function used NumPy or `math`, or returned no tensor.
        ArgumentError
            When its answer has the wrong number of dimensions, or does not depend on `q`.
        """
        if not isinstance(q, Tensor):
            value, gradient = self.value_and_grad(_tensor(q))
            return value.numpy()[()], gradient.numpy()
        again = q.requires_grad and torch.is_grad_enabled()
        try:
            leaf = q if again else _leaf(q)
        except RuntimeError as error:
            if "functorch" not in str(error):
                raise
            return self._transformed(q)
        with torch.enable_grad():
            value = self._call(leaf)
            if not value.requires_grad:
                msg = "the potential does not depend on q, or detached it, so there is no gradient: use torch on q"
                raise ArgumentError(msg)
            (gradient,) = torch.autograd.grad(value.sum() if value.ndim else value, leaf, create_graph=again)
        return (value if again else _detached(value)), gradient

    def hvp(self, q: Any, v: Any) -> Any:
        """Hessian times a vector, exact: by reverse mode twice.

        Parameters
        ----------
        q, v : tensor, array or list, shape (..., n)

        Returns
        -------
        tensor or array, shape (..., n)
            Hess V(q) v, in the kind and dtype of `q`, detached; a tangent of `q` is not followed.

        Raises
        ------
        ArgumentError, ArgumentTypeError
            As `value_and_grad`, and when the shapes differ.
        """
        if not isinstance(q, Tensor):
            return self.hvp(_tensor(q), v).numpy()
        return exact(self.value_and_grad, q, direction(q, v))

    def check(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate once and look at everything that can be wrong with the function; for the start of a run.

        Parameters
        ----------
        q : tensor, shape (..., n)

        Returns
        -------
        value, gradient : tensor
            Those of ``value_and_grad(q)``; the function was called once.

        Raises
        ------
        ArgumentTypeError
            As `value_and_grad`, and when the value has not the dtype of `q`.
        ArgumentError
            As `value_and_grad`, and when the value has any other shape than (...).
        """

        def function(position: Tensor) -> Tensor:
            value = self.function(position)
            _require_tensor(value)
            if value.shape != position.shape[:-1]:
                raise _wrong_shape(value, position)
            if value.dtype != position.dtype:
                given, got = (str(kind).removeprefix("torch.") for kind in (position.dtype, value.dtype))
                msg = f"the potential returned {got} at a position of {given}: give its constant tensors q's dtype"
                raise ArgumentTypeError(msg)
            return value

        with warnings.catch_warnings():  # torch's warning of a tensor made a float: our error says the same
            warnings.filterwarnings("ignore", "Converting a tensor with requires_grad=True to a scalar", UserWarning)
            result: tuple[Tensor, Tensor] = FunctionPotential(function).value_and_grad(q)
        return result

    def _call(self, q: Tensor) -> Tensor:
        try:
            value = self.function(q)
        except Exception as error:
            reason = _explanation(error)
            if reason is None:
                raise
            raise ArgumentTypeError(reason) from error
        if type(value) is not Tensor:
            _require_tensor(value)
        if value.ndim != q.ndim - 1:
            raise _wrong_shape(value, q)
        return value

    def _transformed(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Inside torch.func.jvp, vmap and the like, which refuse leaves and bring a reverse mode of their own."""

        def total(q: Tensor) -> tuple[Tensor, Tensor]:
            value = self._call(q)
            return value.sum(), value

        gradient, value = torch.func.grad(total, has_aux=True)(q)
        return value, gradient


def as_potential(candidate: Any) -> Any:
    """Return the object itself if it has `value_and_grad`, a function as a :class:`FunctionPotential`.

    Raises
    ------
    ArgumentTypeError
        When it is neither, or a class where an object is needed.
    """
    if isinstance(candidate, type):
        msg = f"the potential is the class {candidate.__name__}: pass an object, {candidate.__name__}(...)"
        raise ArgumentTypeError(msg)
    if hasattr(candidate, "value_and_grad"):
        return candidate
    if callable(candidate):
        return FunctionPotential(candidate)
    kind = type(candidate).__name__
    msg = f"the potential is of type {kind}: pass a torch function of q, or an object with value_and_grad"
    raise ArgumentTypeError(msg)


def _tensor(q: Any) -> Tensor:
    """Copy an array or list into a tensor; integers become float64."""
    array = np.asarray(q)
    return torch.tensor(array if array.dtype.kind == "f" else array.astype(np.float64))


def _leaf(q: Tensor) -> Tensor:
    """`q` cut from its graph and ready to be differentiated; its tangent is kept, which `detach` alone would drop."""
    primal, tangent = primal_and_tangent(q)
    if tangent is None:
        return q.detach().requires_grad_()
    dual: Tensor = forward_ad.make_dual(primal.detach().requires_grad_(), tangent)  # type: ignore[no-untyped-call]
    return dual


def _detached(value: Tensor) -> Tensor:
    primal, tangent = primal_and_tangent(value)
    if tangent is None:
        return value.detach()
    dual: Tensor = forward_ad.make_dual(primal.detach(), tangent.detach())  # type: ignore[no-untyped-call]
    return dual


def _require_tensor(value: Any) -> None:
    if isinstance(value, Tensor):
        return
    if isinstance(value, (float, int)):
        raise ArgumentTypeError(_USED_MATH)
    if isinstance(value, (np.ndarray, np.generic)):
        msg = "the potential returned a NumPy array, so there is no gradient: use torch, not numpy"
        raise ArgumentTypeError(msg)
    msg = f"the potential returned a {type(value).__name__}, not a tensor of shape (...)"
    raise ArgumentTypeError(msg)


def _wrong_shape(value: Tensor, q: Tensor) -> ArgumentError:
    got, expected = tuple(value.shape), tuple(q.shape[:-1])
    return ArgumentError(f"the potential returned shape {got}, not {expected}: end with .sum(-1)")


def _explanation(error: Exception) -> str | None:
    """Say what the user did wrong, where an exception of their function tells."""
    if isinstance(error, PhdynError):
        return None
    text = str(error).lower()
    if isinstance(error, (TypeError, RuntimeError)) and "numpy" in text:
        return _USED_NUMPY
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    if isinstance(error, TypeError) and any(f.f_globals.get("__name__", "").startswith("numpy.") for f in frames):
        return _USED_NUMPY
    if "converted to scalar" in text or "converted to python scalar" in text:
        return "the potential made a float of a tensor, so there is no gradient: use torch, not math"
    return None
