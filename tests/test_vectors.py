"""The two back ends do the same arithmetic, in place, in the precision and kind of the start."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.autograd import forward_ad

from phdyn import ArgumentTypeError
from phdyn.vectors import NumpyRows, NumpyVectors, TorchRows, TorchVectors, is_dual, take_rows, vectors_of

FLOATS = st.floats(-1e3, 1e3)
PAIRS = st.integers(1, 40).flatmap(lambda n: st.tuples(arrays(np.float64, n, elements=FLOATS), arrays(np.float64, n, elements=FLOATS)))


def both(dtype=np.float64):
    return NumpyVectors(np.dtype(dtype)), TorchVectors(torch.zeros(1, dtype={np.float64: torch.float64, np.float32: torch.float32}[dtype]))


@settings(deadline=None)
@given(PAIRS, FLOATS)
def test_both_back_ends_are_the_arithmetic(pair, a):
    x, y = pair
    for vectors in both():
        kind = (lambda z: z.copy()) if isinstance(vectors, NumpyVectors) else torch.tensor
        u, v = kind(x), kind(y)
        vectors.axpy(a, u, v)
        np.testing.assert_allclose(np.asarray(v), a * x + y, rtol=1e-14, atol=1e-10)
        np.testing.assert_array_equal(np.asarray(u), x)
        vectors.scale(a, u)
        np.testing.assert_array_equal(np.asarray(u), a * x)
        np.testing.assert_allclose(vectors.dot(kind(x), kind(y)), x @ y, rtol=1e-12, atol=1e-9)


@settings(deadline=None)
@given(PAIRS)
def test_coefficients_per_component(pair):
    x, y = pair
    for vectors in both():
        kind = (lambda z: z.copy()) if isinstance(vectors, NumpyVectors) else torch.tensor
        u, v = kind(x), kind(y)
        a = vectors.coefficient(x)
        vectors.axpy(a, u, v)
        vectors.scale(a, u)
        np.testing.assert_allclose(np.asarray(v), x * x + y, rtol=1e-14, atol=1e-9)
        np.testing.assert_array_equal(np.asarray(u), x * x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_is_kept(dtype):
    for vectors in both(dtype):
        x = np.ones(3, dtype) if isinstance(vectors, NumpyVectors) else torch.ones(3, dtype=getattr(torch, np.dtype(dtype).name))
        y = vectors.clone(x)
        vectors.axpy(0.1, x, y)
        vectors.scale(vectors.coefficient([1, 2, 3]), y)
        assert str(y.dtype).endswith(np.dtype(dtype).name)
        assert vectors.eps == np.finfo(dtype).eps
        assert vectors.dtype == dtype
        assert isinstance(vectors.coefficient(np.float32(0.5)), float)
        assert isinstance(vectors.dot(x, y), float)


def test_memory_is_shared_where_it_is_said_to_be():
    vectors, x = vectors_of(np.arange(4.0))
    assert vectors.numpy(x) is x
    vectors.tensor(x)[0] = 7
    assert x[0] == 7
    assert vectors.from_tensor(vectors.tensor(x)).ctypes.data == x.ctypes.data
    clone = vectors.clone(x)
    clone[0] = 0
    assert x[0] == 7
    vectors.copy(clone, x)
    assert x[0] == 0
    half = x[2:]
    vectors.axpy(1.0, half.copy(), half)  # a view of a state is written in place
    np.testing.assert_array_equal(x, [0, 1, 4, 6])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_finite(bad):
    for vectors in both():
        x = np.ones(3) if isinstance(vectors, NumpyVectors) else torch.ones(3, dtype=torch.float64)
        assert vectors.finite(x) is True
        x[1] = bad
        assert vectors.finite(x) is False


# --- starts ---------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("start", "dtype"),
    [
        ([1, 2], np.float64),
        ([True, False], np.float64),
        ((1.0, 2.0), np.float64),
        (np.array([1, 2]), np.float64),
        (np.array([1, 2], np.float32), np.float32),
        (torch.tensor([1, 2]), np.float64),
        (torch.tensor([1.0, 2.0]), np.float32),
        (torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True), np.float64),
    ],
)
def test_a_start_is_copied_in_its_precision(start, dtype):
    vectors, x = vectors_of(start)
    assert isinstance(vectors, NumpyVectors)
    assert (x.dtype, vectors.dtype) == (dtype, dtype)
    before = np.asarray(start.detach() if isinstance(start, torch.Tensor) else start).tolist()
    x += 1
    assert np.asarray(start.detach() if isinstance(start, torch.Tensor) else start).tolist() == before
    assert x.flags.c_contiguous
    assert x.flags.writeable


def test_a_strided_start_becomes_contiguous():
    x = vectors_of(np.arange(10.0)[::2])[1]
    assert x.flags.c_contiguous
    np.testing.assert_array_equal(x, [0, 2, 4, 6, 8])


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ([1j, 0], "complex128: real float32 or float64"),
        (["a", "b"], "real float32 or float64"),
        ([[1.0], [1.0, 2.0]], "no array of numbers"),
        (np.array([1.0, 2.0], np.float16), "float16"),
        (np.array([1.0, 2.0], np.longdouble), "float128|longdouble|float96"),
        (torch.tensor([1.0, 2.0], dtype=torch.bfloat16), "bfloat16: float32 or float64"),
        (torch.tensor([1j, 0]), "complex64: float32 or float64"),
        (None, "real float32 or float64"),
    ],
)
def test_starts_that_are_no_numbers(start, message):
    with pytest.raises(ArgumentTypeError, match=message):
        vectors_of(start)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_dual_tensors_go_to_torch():
    ones = torch.ones(2, dtype=torch.float64)
    assert not is_dual(ones)
    with torch.autograd.forward_ad.dual_level():
        assert isinstance(vectors_of(ones)[0], NumpyVectors)
        dual = torch.autograd.forward_ad.make_dual(ones, 2 * ones)
        assert is_dual(dual)
        vectors, x = vectors_of(dual)
        assert isinstance(vectors, TorchVectors)
        y = vectors.clone(x)
        vectors.axpy(3.0, x, y)
        vectors.scale(0.5, y)
        primal, tangent = torch.autograd.forward_ad.unpack_dual(y)
        np.testing.assert_array_equal(primal.numpy(), [2, 2])
        np.testing.assert_array_equal(tangent.numpy(), [4, 4])
    np.testing.assert_array_equal(ones.numpy(), [1, 1])


# --- batches --------------------------------------------------------------------------------------------------------------------------
def rows_of(dtype=np.float64):
    x = np.random.default_rng(0).normal(size=(3, 5)).astype(dtype)
    return [(NumpyRows(np.dtype(dtype)), x.copy()), (TorchRows(torch.tensor(x)), torch.tensor(x))], x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("a", [0.7, np.linspace(-1, 1, 5), np.array([[2.0], [0.5], [-1.0]])], ids=["number", "row", "component"])
def test_rows_are_the_arithmetic(a, dtype):
    both_rows, x = rows_of(dtype)
    tolerance = 10 * np.finfo(dtype).eps
    for vectors, u in both_rows:
        coefficient = vectors.coefficient(a)
        for each in (a, coefficient):
            y = vectors.clone(u)
            vectors.axpy(each, u, y)
            np.testing.assert_allclose(np.asarray(y), a * x + x, rtol=tolerance, atol=tolerance)
            part = y[1:]  # the momenta of a state
            vectors.scale(each if np.ndim(a) < 2 else each[1:], part)
            np.testing.assert_allclose(np.asarray(y)[1:], (a * (a * x + x))[1:], rtol=tolerance, atol=tolerance)
            np.testing.assert_array_equal(np.asarray(u), x)
            assert str(y.dtype).endswith(np.dtype(dtype).name)
        dots = vectors.dot(u, y), vectors.dot(u[:1], y[:1])
        for dot, n in zip(dots, (3, 1), strict=True):
            assert isinstance(dot, np.ndarray) and dot.dtype == np.float64
            np.testing.assert_allclose(dot, (x[:n].astype(float) * np.asarray(y)[:n]).sum(0), rtol=10 * tolerance, atol=10 * tolerance)


def test_rows_as_their_user_sees_them():
    both_rows, x = rows_of()
    for vectors, u in both_rows:
        np.testing.assert_array_equal(vectors.numpy(u), x.T)
        np.testing.assert_array_equal(vectors.tensor(u).numpy(), x.T)
        np.testing.assert_array_equal(vectors.host(u), x)
        assert vectors.numpy(u).ctypes.data == vectors.tensor(u).data_ptr()
        assert vectors.from_tensor(vectors.tensor(u)).shape == vectors.from_numpy(x.T).shape == (3, 5)
        np.testing.assert_array_equal(np.asarray(vectors.from_numpy(np.ascontiguousarray(x.T))), x)
        rows = np.array([4, 0])
        part = vectors.take(u, rows)
        np.testing.assert_array_equal(np.asarray(part), x[:, rows])
        vectors.scale(2.0, part)
        np.testing.assert_array_equal(np.asarray(u), x)
        vectors.put(u, rows, part)
        np.testing.assert_array_equal(np.asarray(u)[:, rows], 2 * x[:, rows])
        u[1, 2] = float("nan")
        np.testing.assert_array_equal(vectors.finite(u), [True, True, False, True, True])
        assert vectors.empty(2, u).shape == (2, 5)
        vectors.copy(part, u[:, :2])
        np.testing.assert_array_equal(np.asarray(u)[:, :2], np.asarray(part))


def test_a_batch_is_held_component_major():
    for x in ([[1, 2], [3, 4], [5, 6]], np.arange(6.0, dtype=np.float32).reshape(3, 2), torch.arange(6.0).reshape(3, 2)):
        vectors, u = vectors_of(x)
        assert isinstance(vectors, NumpyRows)
        assert u.shape == (2, 3) and u.flags.c_contiguous and u.flags.owndata
        np.testing.assert_array_equal(vectors.numpy(u), np.asarray(x))


def test_a_batch_of_dual_tensors_is_held_by_torch():
    with forward_ad.dual_level():
        vectors, u = vectors_of(forward_ad.make_dual(torch.ones(3, 2), torch.ones(3, 2)))
        assert isinstance(vectors, TorchRows)
        assert u.shape == (2, 3) and u.is_contiguous()


def test_rows_of_what_a_batch_has():
    rows = np.array([2, 0])
    for kept in (None, 0.3, np.ones((3, 1)), np.float64(2.0)):
        assert take_rows(kept, rows) is kept
    np.testing.assert_array_equal(take_rows(np.arange(3.0), rows), [2, 0])
    np.testing.assert_array_equal(take_rows(torch.arange(6.0).reshape(2, 3), rows).numpy(), [[2, 0], [5, 3]])
