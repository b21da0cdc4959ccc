"""The loss of a torch module on given data as a potential; its parameters and gradient are each one flat buffer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from phdyn.errors import ArgumentError
from phdyn.potentials.base import primal_and_tangent
from phdyn.potentials.flat import move_into_buffer, views
from phdyn.potentials.network_checks import (
    dtype_name,
    is_mean,
    loss_error,
    require_data,
    require_fixed,
    require_options,
    trainable,
)
from phdyn.potentials.products import direction

LossFunction = Callable[[Tensor, Tensor], Tensor]


class NetworkLoss:
    """V(q) = loss(model(inputs), targets) + weight_decay/2 |q|^2, q being the trainable parameters as one vector.

    The module is taken over: its parameters become views of `state_buffer`, their ``.grad`` views of
    `gradient_buffer`. A run that steps in these buffers copies nothing, and its step costs what forward and backward
    cost. Tied parameters count once; those with ``requires_grad=False`` are no part of q. Further NetworkLosses of
    the same module share its `state_buffer`.

    Parameters
    ----------
    model : torch.nn.Module
        In float32 or float64. What draws random numbers or changes its buffers in training mode (dropout, batch-norm)
        must be in evaluation mode.
    loss : callable
        ``loss(outputs, targets)``, a 0-d tensor: the mean over samples, as torch's losses are by default.
    inputs, targets : Tensor, shape (samples, ...)
        All the data, on the module's device; where floating, of the module's dtype.
    weight_decay : float
        At least 0; acts on every component of q.
    chunk_size : int, optional
        Evaluate that many samples at a time and add up, for data whose activations do not fit the memory; the short
        last chunk counts by its samples. A trial tells means over samples from sums; a loss that is neither is
        refused.

    Attributes
    ----------
    dim : int
        Number n of trainable parameters.
    dtype : torch.dtype
    device : torch.device
    model : torch.nn.Module
    state_buffer : Tensor, shape (2n,)
        The first n entries *are* the module's parameters; the second half is free for a run's momentum.
    gradient_buffer : Tensor, shape (n,)
        Of which every ``parameter.grad`` is a view.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        When the loss is random or no number, there is nothing to train, parameters mix dtypes or devices or share
        memory, data do not fit, or an option is out of range.

    Notes
    -----
    A copy (`copy.deepcopy`, `pickle`: process pools) has a module and buffers of its own and the same `initial_state`.
    ``torch.save`` of the module's state saves the whole `state_buffer`; save ``copy.deepcopy(model)`` instead.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: LossFunction,
        inputs: Tensor,
        targets: Tensor,
        *,
        weight_decay: float = 0.0,
        chunk_size: int | None = None,
    ) -> None:
        require_options(weight_decay, chunk_size)
        parameters = trainable(model)
        require_data(parameters[0], inputs, targets)
        require_fixed(model)
        self.model = model
        self.loss = loss
        self.inputs = inputs
        self.targets = targets
        self.weight_decay = float(weight_decay)
        self.chunk_size = None if chunk_size is None or chunk_size >= len(inputs) else int(chunk_size)
        self._is_mean = self.chunk_size is None or is_mean(model, loss, inputs, targets)
        self._training = model.training
        self.dim = sum(parameter.numel() for parameter in parameters)
        self.dtype: torch.dtype = parameters[0].dtype
        self.device: torch.device = parameters[0].device
        self.state_buffer: Tensor = move_into_buffer(parameters)
        self.gradient_buffer: Tensor = torch.zeros_like(self.state_buffer[: self.dim])
        self._position = self.state_buffer[: self.dim]
        self._pointer = self._position.data_ptr()
        self._initial = self._position.clone()
        gradients = views(self.gradient_buffer, parameters)
        self._bound = [(p, p.data_ptr(), gradient) for p, gradient in zip(parameters, gradients, strict=True)]
        self._require_ours()

    def __repr__(self) -> str:
        return f"NetworkLoss({type(self.model).__name__}, n = {self.dim})"

    def initial_state(self) -> Tensor:
        """Parameters at construction, at rest.

        Returns
        -------
        Tensor, shape (2n,)
            A new one each time: positions, then zero momenta.
        """
        return torch.cat([self._initial, torch.zeros_like(self._initial)])

    def load(self, q: Any) -> None:
        """Put parameters into the module.

        Parameters
        ----------
        q : array or tensor, shape (n,)
            Of any dtype; converted to the module's.
        """
        position = q.detach() if isinstance(q, Tensor) else torch.tensor(np.asarray(q))
        if position.shape != (self.dim,):
            msg = f"load: q has shape {tuple(position.shape)}, not ({self.dim},); of a solution, take sol.q[:, -1]"
            raise ArgumentError(msg)
        self._position.copy_(position)

    def value(self, q: Any) -> Any:
        """V(q), without the gradient.

        Parameters
        ----------
        q : Tensor or array, shape (n,)
            Of the module's dtype.

        Returns
        -------
        Tensor, shape ()
            Detached, bit for bit that of `value_and_grad` (an array's answer is a NumPy number). The module stays as
            it was.
        """
        if not isinstance(q, Tensor):
            return self.value(torch.tensor(np.asarray(q))).cpu().numpy()[()]
        if self._is_live(q):
            return self._evaluate(gradient=False)
        self._require_position(q)
        saved = self._position.clone()
        try:
            self._position.copy_(q.detach())
            return self._evaluate(gradient=False)
        finally:
            self._position.copy_(saved)

    def value_and_grad(self, q: Any) -> Any:
        """V(q) and its gradient.

        Parameters
        ----------
        q : Tensor or array, shape (n,)
            Of the module's dtype. If it is the module's own memory, the first half of `state_buffer`, nothing is
            copied.

        Returns
        -------
        value : Tensor, shape ()
            Detached (an array's answer is NumPy).
        gradient : Tensor, shape (n,)
            `gradient_buffer` itself, valid until the next call, where `q` is the module's own memory; else a new
            tensor, and parameters and `gradient_buffer` stay as they were.

        Raises
        ------
        ArgumentError
            When shape, dtype or device of `q` are not the module's, or its parameters are no longer in the buffers.
        """
        if not isinstance(q, Tensor):
            value, gradient = self.value_and_grad(torch.tensor(np.asarray(q)))
            return value.cpu().numpy()[()], gradient.cpu().numpy()
        if self._is_live(q):
            return self._evaluate(gradient=True), self.gradient_buffer
        self._require_position(q)
        saved, saved_gradient = self._position.clone(), self.gradient_buffer.clone()
        try:
            self._position.copy_(q.detach())
            return self._evaluate(gradient=True), self.gradient_buffer.clone()
        finally:
            self._position.copy_(saved)
            self.gradient_buffer.copy_(saved_gradient)

    def hvp(self, q: Any, v: Any) -> Any:
        """Hessian times a vector, exact: by reverse mode twice, in chunks as the gradient is.

        Parameters
        ----------
        q, v : Tensor or array, shape (n,)
            Parameters, of the module's dtype, and a vector.

        Returns
        -------
        Tensor or array, shape (n,)
            Hess V(q) v, new; the module, `gradient_buffer` included, stays as it was. It costs two to three gradients, and the memory of
            one with its graph.

        Raises
        ------
        ArgumentError
            As `value_and_grad`.
        """
        if not isinstance(q, Tensor):
            return self.hvp(torch.tensor(np.asarray(q)), v).cpu().numpy()
        self._require_position(q)
        v = direction(q, v)
        if self._is_live(q):
            return self._product(v)
        saved = self._position.clone()
        try:
            self._position.copy_(q.detach())
            return self._product(v)
        finally:
            self._position.copy_(saved)

    def evaluate_scratch(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """V(q) and its gradient for a position elsewhere, at the price of one copy: the module is left at `q`.

        Parameters
        ----------
        q : Tensor, shape (n,)
            Of any floating dtype; converted to the module's.

        Returns
        -------
        value : Tensor, shape ()
        gradient : Tensor, shape (n,)
            `gradient_buffer` itself, valid until the next call.
        """
        if q.shape != self._position.shape:
            raise self._wrong_shape(q)
        self._position.copy_(q.detach())
        return self._evaluate(gradient=True), self.gradient_buffer

    def _is_live(self, q: Tensor) -> bool:
        return q.data_ptr() == self._pointer and q.shape == self._position.shape and q.dtype is self.dtype and q.is_contiguous()

    def _chunks(self) -> Iterator[tuple[Tensor, Tensor, float]]:
        """Yield inputs and targets, and what their loss counts in the whole."""
        if self.chunk_size is None:
            yield self.inputs, self.targets, 1.0
            return
        for start in range(0, len(self.inputs), self.chunk_size):
            chunk = slice(start, start + self.chunk_size)
            inputs, targets = self.inputs[chunk], self.targets[chunk]
            yield inputs, targets, len(inputs) / len(self.inputs) if self._is_mean else 1.0

    def _evaluate(self, *, gradient: bool) -> Tensor:
        """V at the module's parameters; the gradient is left in its buffer. One forward (and backward) pass a chunk."""
        self._require_ours()
        with torch.enable_grad():
            parts = [
                self._add_up(inputs, targets, weight, gradient=gradient, first=number == 0)
                for number, (inputs, targets, weight) in enumerate(self._chunks())
            ]
        value = sum(parts[1:], start=parts[0])
        if self.weight_decay:
            value = value + 0.5 * self.weight_decay * self._position.dot(self._position)
            if gradient:
                self.gradient_buffer.add_(self._position, alpha=self.weight_decay)
        return value

    def _product(self, v: Tensor) -> Tensor:
        """Hess V v at the module's parameters; their gradients are not touched."""
        self._require_ours()
        parameters = [parameter for parameter, _, _ in self._bound]
        total = self.weight_decay * v
        with torch.enable_grad():
            for inputs, targets, weight in self._chunks():
                loss = self._loss(inputs, targets, weight)
                gradients = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
                slope = torch.cat([gradient.reshape(-1) for gradient in gradients])
                if slope.requires_grad:
                    products = torch.autograd.grad(slope, parameters, v, materialize_grads=True)
                    total = total + torch.cat([product.reshape(-1) for product in products])
        return total

    def _loss(self, inputs: Tensor, targets: Tensor, weight: float) -> Tensor:
        """Weighted loss of some samples, with its graph."""
        loss = self.loss(self.model(inputs), targets)
        if type(loss) is not Tensor or loss.ndim or not loss.requires_grad:
            raise loss_error(loss)
        return loss if weight == 1.0 else loss * weight

    def _add_up(self, inputs: Tensor, targets: Tensor, weight: float, *, gradient: bool, first: bool) -> Tensor:
        """Weighted loss of some samples, detached; its gradient is added to the buffer (untouched if the forward pass fails)."""
        loss = self._loss(inputs, targets, weight)
        if gradient:
            if first:
                self.gradient_buffer.zero_()
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _require_ours(self) -> None:
        """Put back gradients that the user took away (``zero_grad``); refuse parameters that left the buffer."""
        for parameter, pointer, gradient in self._bound:
            if parameter.grad is not gradient:
                parameter.grad = gradient
            if parameter.data_ptr() != pointer:
                msg = (
                    "the network's parameters left the memory of this NetworkLoss (after model.to or model.double, or "
                    "for another NetworkLoss with other parameters frozen): make a new one"
                )
                raise ArgumentError(msg)
        if self.model.training is not self._training:
            require_fixed(self.model)
            self._training = self.model.training

    def _require_position(self, q: Tensor) -> None:
        if q.shape != self._position.shape:
            raise self._wrong_shape(q)
        if q.dtype != self.dtype:
            given, own = dtype_name(q.dtype), dtype_name(self.dtype)
            msg = f"x0 is {given}, the network {own}: use V.initial_state(), or convert x0 or the model"
            raise ArgumentError(msg)
        if q.device != self.device:
            msg = f"x0 is on {q.device}, the network on {self.device}: use V.initial_state(), or move x0 or the model"
            raise ArgumentError(msg)
        if primal_and_tangent(q)[1] is not None:
            msg = "NetworkLoss has no forward-mode derivatives: differentiate torch.func.functional_call instead"
            raise ArgumentError(msg)

    def _wrong_shape(self, q: Tensor) -> ArgumentError:
        shape = tuple(q.shape)
        hint = ": one network at a time" if q.ndim > 1 else ""
        return ArgumentError(f"NetworkLoss: q has shape {shape}, not ({self.dim},){hint}")

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is built from; a copy of the module, its parameters apart, keeps pickles small."""
        names = ("loss", "inputs", "targets", "weight_decay", "chunk_size")
        config = {name: getattr(self, name) for name in names}
        return {"config": {"model": copy.deepcopy(self.model), **config}, "initial": self._initial}

    def __setstate__(self, state: dict[str, Any]) -> None:
        NetworkLoss.__init__(self, **state["config"])
        self._initial = state["initial"]
