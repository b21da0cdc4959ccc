"""Plain torch functions as potentials: gradients, tangents, and what the commonest slips are told."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.autograd import forward_ad

from phdyn.errors import ArgumentError, ArgumentTypeError, PhdynError
from phdyn.potentials import FunctionPotential, MultiWell, as_potential

DUAL = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")


def well(q):
    return (1 - torch.cos(q)).sum(-1) + (q**3).prod(-1)


def slope(q):
    return np.sin(q) + 3 * (q**3).prod(-1, keepdims=True) / q


def hessian(q):
    matrix = 9 * (q**3).prod() / np.outer(q, q)
    np.fill_diagonal(matrix, np.cos(q) + 6 * (q**3).prod() / q**2)
    return matrix


@given(q=hnp.arrays(float, st.sampled_from([(1,), (3,), (4, 2), (2, 2, 2)]), elements=st.floats(0.1, 2.0)))
@settings(deadline=None)
def test_value_and_gradient(q):
    potential = FunctionPotential(well)
    value, gradient = potential.value_and_grad(torch.tensor(q))
    assert not value.requires_grad
    assert not gradient.requires_grad
    assert value.shape == q.shape[:-1]
    np.testing.assert_allclose(value, (1 - np.cos(q)).sum(-1) + (q**3).prod(-1), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(gradient, slope(q), rtol=1e-12)
    assert torch.equal(value, potential.value(torch.tensor(q)))
    h = 1e-5
    for k, shift in enumerate(h * np.eye(q.shape[-1])):
        ahead, behind = (potential.value(torch.tensor(q + sign * shift)) for sign in (1, -1))
        np.testing.assert_allclose((ahead - behind) / (2 * h), gradient[..., k], rtol=1e-6, atol=1e-8)


def test_arrays_and_lists_are_answered_with_arrays():
    potential = FunctionPotential(well)
    q = np.array([0.3, 0.7])
    q.setflags(write=False)
    for position in (q, q.tolist()):
        value, gradient = potential.value_and_grad(position)
        assert isinstance(value, np.float64)
        assert isinstance(gradient, np.ndarray)
        assert value == potential.value(position)
    np.testing.assert_allclose(gradient, slope(q), rtol=1e-13)
    assert potential.value([1, 2]).dtype == np.float64
    assert potential.value(q.astype(np.float32)).dtype == np.float32


def test_dtype_is_kept():
    value, gradient = FunctionPotential(well).value_and_grad(torch.ones(2, dtype=torch.float32))
    assert (value.dtype, gradient.dtype) == (torch.float32, torch.float32)


def test_no_grad_around_it_does_not_matter():
    with torch.no_grad():
        value, gradient = FunctionPotential(well).value_and_grad(torch.tensor([0.3, 0.7], dtype=torch.float64))
    np.testing.assert_allclose(gradient, slope(np.array([0.3, 0.7])), rtol=1e-13)
    assert not value.requires_grad


def test_the_position_is_left_alone():
    q = torch.ones(2)
    FunctionPotential(well).value_and_grad(q)
    assert not q.requires_grad
    assert q.grad is None


def test_parameters_inside_the_function_get_no_gradient():
    weight = torch.nn.Parameter(torch.tensor(2.0))
    potential = FunctionPotential(lambda q: weight * (q**2).sum(-1))
    value, gradient = potential.value_and_grad(torch.ones(3))
    assert weight.grad is None
    assert not (value.requires_grad or gradient.requires_grad or potential.value(torch.ones(3)).requires_grad)


@DUAL
def test_tangents_pass_through():
    """Forward over reverse: the tangent of the gradient is the Hessian times that of the position."""
    potential = FunctionPotential(well)
    q, v = np.array([0.3, 0.7, 1.1]), np.array([1.0, -2.0, 0.5])
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(torch.tensor(q), torch.tensor(v))
        parts = (*potential.value_and_grad(dual), potential.value(dual))
        assert not any(part.requires_grad for part in parts)
        primals, tangents = zip(*(forward_ad.unpack_dual(part) for part in parts), strict=True)
    np.testing.assert_allclose(primals[1], slope(q), rtol=1e-13)
    np.testing.assert_allclose(tangents[0], slope(q) @ v, rtol=1e-12)
    np.testing.assert_allclose(tangents[1], hessian(q) @ v, rtol=1e-12)
    np.testing.assert_allclose(tangents[2], slope(q) @ v, rtol=1e-12)


@DUAL
def test_transforms_of_torch_func():
    potential = FunctionPotential(well)
    q = np.array([[0.3, 0.7], [1.1, 0.2]])
    row, rows = torch.tensor(q[0]), torch.tensor(q)

    def gradient(q):
        return potential.value_and_grad(q)[1]

    for matrix in (torch.func.jacfwd(gradient)(row), torch.func.jacrev(gradient)(row)):
        np.testing.assert_allclose(matrix, hessian(q[0]), rtol=1e-12)
    np.testing.assert_allclose(torch.func.vmap(gradient)(rows), slope(q), rtol=1e-12)
    values = torch.func.jvp(lambda q: potential.value_and_grad(q)[0], (rows,), (torch.ones_like(rows),))
    np.testing.assert_allclose(values[1], slope(q).sum(-1), rtol=1e-12)
    np.testing.assert_allclose(torch.func.grad(potential.value)(row), slope(q[0]), rtol=1e-12)


def test_a_position_in_a_graph_stays_in_it():
    q = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)
    value, gradient = FunctionPotential(well).value_and_grad(q)
    (again,) = torch.autograd.grad(value, q, retain_graph=True)
    torch.testing.assert_close(again, gradient.detach())
    (row,) = torch.autograd.grad(gradient[0], q)
    np.testing.assert_allclose(row, hessian(q.detach().numpy())[0], rtol=1e-12)


SLIPS = {
    "numpy": (lambda q: (1 - np.cos(q)).sum(-1), ArgumentTypeError, "used NumPy on a tensor: write torch.cos, or pass"),
    "np.sum": (lambda q: np.sum(q, -1), ArgumentTypeError, "used NumPy on a tensor"),
    "array times": (lambda q: (np.ones(2) * q).sum(-1), ArgumentTypeError, "used NumPy on a tensor"),
    "times array": (lambda q: (q * np.ones(2)).sum(-1), ArgumentTypeError, "used NumPy on a tensor"),
    "no sum": (lambda q: q**2, ArgumentError, r"returned shape \(2,\), not \(\): end with .sum\(-1\)"),
    "math": (lambda q: math.cos(q[0]), ArgumentTypeError, "returned a float, so there is no gradient: use torch, not math"),
    "math on two": (math.cos, ArgumentTypeError, "so there is no gradient: use torch, not math"),
    "float": (lambda q: 0.5, ArgumentTypeError, "returned a float"),
    "item": (lambda q: q.sum().item(), ArgumentTypeError, "returned a float"),
    "array": (lambda q: q.detach().numpy().sum(-1, keepdims=True), ArgumentTypeError, "returned a NumPy array"),
    "none": (lambda q: None, ArgumentTypeError, "returned a NoneType"),
    "detached": (lambda q: q.detach().sum(-1), ArgumentError, "does not depend on q, or detached it"),
}


@pytest.mark.parametrize(("function", "kind", "words"), SLIPS.values(), ids=SLIPS)
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad:UserWarning")
def test_slips_are_told(function, kind, words):
    potential, q = FunctionPotential(function), torch.ones(2, dtype=torch.float64)
    for act in (potential.check, potential.value_and_grad):
        with pytest.raises(kind, match=words) as caught:
            act(q)
        if "used NumPy" in words:
            assert isinstance(caught.value.__cause__, (RuntimeError, TypeError))
            assert not isinstance(caught.value.__cause__, PhdynError)


def test_check_sees_what_the_lean_call_does_not():
    one_for_all = FunctionPotential(lambda q: q.sum().reshape(1))
    with pytest.raises(ArgumentError, match=r"returned shape \(1,\), not \(3,\)"):
        one_for_all.check(torch.ones(3, 2))
    mixed = FunctionPotential(lambda q: (q * torch.ones(2, dtype=torch.float64)).sum(-1))
    with pytest.raises(ArgumentTypeError, match="returned float64 at a position of float32"):
        mixed.check(torch.ones(2, dtype=torch.float32))
    with pytest.raises(ArgumentError, match=r"returned shape \(\), not \(3,\)"):
        FunctionPotential(lambda q: (q**2).sum()).check(torch.ones(3, 2))


def test_check_hides_torchs_own_warning_of_a_float():
    with pytest.raises(ArgumentTypeError, match="returned a float"):
        FunctionPotential(lambda q: float(q[0]) ** 2).check(torch.ones(2))


def test_check_calls_once_and_returns_the_evaluation():
    calls = []

    def counted(q):
        calls.append(q)
        return well(q)

    q = torch.tensor([0.3, 0.7])
    value, gradient = FunctionPotential(counted).check(q)
    assert len(calls) == 1
    for got, expected in zip((value, gradient), FunctionPotential(well).value_and_grad(q), strict=True):
        assert torch.equal(got, expected)


def test_other_exceptions_are_the_users_own():
    def broken(q):
        raise ZeroDivisionError("mine")

    for act in (FunctionPotential(broken).check, FunctionPotential(broken).value_and_grad):
        with pytest.raises(ZeroDivisionError, match="mine"):
            act(torch.ones(2))
    with pytest.raises(ValueError, match="np is unhappy"):
        FunctionPotential(lambda q: _raise(ValueError("np is unhappy"))).check(torch.ones(2))


def _raise(error):
    raise error


def test_as_potential():
    landscape = MultiWell()
    assert as_potential(landscape) is landscape
    wrapped = as_potential(well)
    assert isinstance(wrapped, FunctionPotential)
    assert (wrapped.dim, wrapped.name, repr(wrapped)) == (None, "well", "FunctionPotential(well)")
    assert as_potential(torch.nn.Linear(2, 1)).name == "Linear"
    for wrong in (MultiWell, 3.0, "multi-well", None):
        with pytest.raises(ArgumentTypeError, match="pass"):
            as_potential(wrong)
