"""Every landscape against its textbook formula, against finite differences, in both kinds and dtypes, and at its minima."""

from __future__ import annotations

import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.autograd import forward_ad

from phdyn.errors import ArgumentError, ArgumentTypeError
from phdyn.potentials import (
    Ackley,
    DoubleWell,
    Himmelblau,
    LennardJones,
    MullerBrown,
    MultiWell,
    Quadratic,
    Rastrigin,
    Rosenbrock,
    StyblinskiTang,
)
from phdyn.potentials.wells import cosine_wells

MULLER_BROWN = torch.tensor(
    [
        [-200.0, -1.0, 0.0, -10.0, 1.0, 0.0],
        [-100.0, -1.0, 0.0, -10.0, 0.0, 0.5],
        [-170.0, -6.5, 11.0, -6.5, -0.5, 1.5],
        [15.0, 0.7, 0.6, 0.7, -1.0, 1.0],
    ],
    dtype=torch.float64,
)


def muller_brown(q):
    height, a, b, c, x0, y0 = MULLER_BROWN.T
    x, y = q[..., :1] - x0, q[..., 1:] - y0
    return (height * torch.exp(a * x**2 + b * x * y + c * y**2)).sum(-1)


def ackley(q):
    radius, wave = (q**2).mean(-1).sqrt(), torch.cos(2 * torch.pi * q).mean(-1)
    return -20 * torch.exp(-0.2 * radius) - torch.exp(wave) + 20 + math.e


def rosenbrock(q):
    return (100 * (q[..., 1:] - q[..., :-1] ** 2) ** 2 + (1 - q[..., :-1]) ** 2).sum(-1)


def lennard_jones(q):
    x = q.unflatten(-1, (-1, 3))
    first, second = torch.triu_indices(x.shape[-2], x.shape[-2], 1)
    r = (x[..., first, :] - x[..., second, :]).norm(dim=-1)
    return (4 * (r**-12 - r**-6)).sum(-1)


def himmelblau(q):
    x, y = q.unbind(-1)
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


CASES = {
    "quadratic": (Quadratic([3.0, 0.5, 0.0, -2.0]), lambda q: (q**2 * q.new_tensor([3.0, 0.5, 0.0, -2.0])).sum(-1) / 2),
    "quadratic-1": (Quadratic([2.0]), lambda q: (q**2).sum(-1)),
    "double-well": (DoubleWell(barrier=0.7, distance=1.5), lambda q: 0.7 * ((q[..., 0] / 1.5) ** 2 - 1) ** 2),
    "multi-well": (MultiWell(), lambda q: (0.05 * q**2 + 1 - torch.cos(3 * q)).sum(-1)),
    "multi-well-steep": (MultiWell(0.4, 2.0), lambda q: (0.4 * q**2 + 1 - torch.cos(2 * q)).sum(-1)),
    "rosenbrock": (Rosenbrock(), rosenbrock),
    "rosenbrock-5": (Rosenbrock(dim=5), rosenbrock),
    "himmelblau": (Himmelblau(), himmelblau),
    "rastrigin": (Rastrigin(), lambda q: (q**2 + 10 - 10 * torch.cos(2 * torch.pi * q)).sum(-1)),
    "rastrigin-1": (Rastrigin(dim=1), lambda q: (q**2 + 10 - 10 * torch.cos(2 * torch.pi * q)).sum(-1)),
    "ackley": (Ackley(), ackley),
    "ackley-6": (Ackley(dim=6), ackley),
    "styblinski-tang": (StyblinskiTang(dim=3), lambda q: (q**4 - 16 * q**2 + 5 * q).sum(-1) / 2),
    "muller-brown": (MullerBrown(), muller_brown),
    "lennard-jones": (LennardJones(), lennard_jones),
    "lennard-jones-3": (LennardJones(atoms=3), lennard_jones),
}
EVERY = pytest.mark.parametrize(("landscape", "textbook"), CASES.values(), ids=CASES)
ALONE = pytest.mark.parametrize("landscape", [landscape for landscape, _ in CASES.values()], ids=CASES)


def positions(landscape, fractions):
    """Points of the domain; of a cluster, of the neighbourhood of its minimum: atoms on each other have no energy."""
    if isinstance(landscape, LennardJones):
        return 1.05 * landscape.minima[0] + 0.4 * (fractions - 0.5)
    low, high = landscape.domain.T
    return low + fractions * (high - low)


def some(landscape, shape=(5,), seed=0):
    return positions(landscape, np.random.default_rng(seed).random((*shape, landscape.dim)))


def fractions(landscape, rows=3):
    return hnp.arrays(float, (rows, landscape.dim), elements=st.floats(0.0, 1.0))


def differences(function, q, h):
    """Central differences of sixth order along each coordinate of one position."""
    shifts = h * np.eye(q.size)
    return sum(weight / h * (function(q + k * shifts) - function(q - k * shifts)) for k, weight in ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60)))


@EVERY
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_value_and_gradient_are_those_of_the_textbook_formula(landscape, textbook, data):
    q = positions(landscape, data.draw(fractions(landscape)))
    leaf = torch.tensor(q, requires_grad=True)
    expected = textbook(leaf)
    (slope,) = torch.autograd.grad(expected.sum(), leaf)
    value, gradient = landscape.value_and_grad(q)
    scale = 1.0 + np.abs(expected.detach().numpy())
    np.testing.assert_allclose(value / scale, expected.detach().numpy() / scale, atol=3e-13)
    if isinstance(landscape, Ackley):
        kept = (q != 0.0).any(axis=-1)  # the textbook's slope is nan at the tip of the cone
        gradient, slope = gradient[kept], slope[kept]
    np.testing.assert_allclose(gradient, slope, rtol=1e-10, atol=1e-10 * scale.max())


@ALONE
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_gradient_is_that_of_finite_differences(landscape, data):
    q = positions(landscape, data.draw(fractions(landscape, rows=1)))[0]
    if isinstance(landscape, Ackley):
        q = q + 0.3  # away from the cone, over whose tip differences do not reach
    h = 1e-3
    value, gradient = landscape.value_and_grad(q)
    found = differences(landscape.value, q, h)
    scale = 1.0 + np.abs(value) + np.abs(gradient).max()
    np.testing.assert_allclose(gradient / scale, found / scale, atol=1e-8)


@ALONE
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_value_and_value_and_grad_agree_bit_for_bit(landscape, data):
    q = positions(landscape, data.draw(fractions(landscape)))
    for position in (q, q[0], q.astype(np.float32), torch.tensor(q), torch.tensor(q[0]), torch.tensor(q).float()):
        np.testing.assert_array_equal(landscape.value(position), landscape.value_and_grad(position)[0])


@ALONE
@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 3), (0,)])
def test_shapes(landscape, shape):
    q = some(landscape, shape)
    for position in (q, torch.tensor(q)):
        value, gradient = landscape.value_and_grad(position)
        assert tuple(value.shape) == shape
        assert tuple(gradient.shape) == (*shape, landscape.dim)
    if shape == (4,):
        rows = [landscape.value_and_grad(row) for row in q]
        np.testing.assert_allclose(landscape.value(q), [value for value, _ in rows], rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(landscape.value_and_grad(q)[1], [slope for _, slope in rows], rtol=1e-12, atol=1e-11)


@ALONE
def test_numpy_and_torch_agree(landscape):
    q = some(landscape)
    for mine, theirs in zip(landscape.value_and_grad(q), landscape.value_and_grad(torch.tensor(q)), strict=True):
        assert isinstance(mine, np.ndarray)
        assert isinstance(theirs, torch.Tensor)
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-11)


@ALONE
def test_float32_stays_float32(landscape):
    q = some(landscape).astype(np.float32)
    exact = landscape.value_and_grad(q.astype(float))
    for position in (q, torch.tensor(q)):
        for got, expected in zip(landscape.value_and_grad(position), exact, strict=True):
            assert got.dtype in (np.float32, torch.float32)
            scale = 1.0 + np.abs(expected).max()
            np.testing.assert_allclose(got / scale, expected / scale, atol=2e-4)
    value, gradient = landscape.value_and_grad(q[0])
    assert (value.dtype, gradient.dtype) == (np.float32, np.float32)


@ALONE
def test_lists_and_integers_count_as_float64(landscape):
    whole = np.arange(landscape.dim) + 1
    floats = landscape.value_and_grad(whole.astype(float))
    for position in (whole.tolist(), tuple(whole.tolist()), whole, whole.astype(np.int32)):
        value, gradient = landscape.value_and_grad(position)
        assert (value.dtype, gradient.dtype) == (np.float64, np.float64)
        assert value == floats[0]
        np.testing.assert_array_equal(gradient, floats[1])
    assert landscape.value(torch.tensor(whole)).dtype == torch.float64


@ALONE
def test_wrong_dimension_and_kind_are_refused(landscape):
    bad = landscape.dim + 1
    for q in (np.zeros(bad), np.zeros((3, bad)), torch.zeros(bad), [0.0] * bad, 0.0):
        with pytest.raises(ArgumentError, match=rf"not \(\.\.\., {landscape.dim}\)"):
            landscape.value(q)
        with pytest.raises(ArgumentError):
            landscape.value_and_grad(q)
    with pytest.raises(ArgumentTypeError, match="real numbers"):
        landscape.value(np.zeros(landscape.dim, dtype=complex))
    with pytest.raises(ArgumentTypeError, match="real numbers"):
        landscape.value(["a"] * landscape.dim)


@ALONE
def test_the_gradient_is_a_new_array_and_the_position_is_untouched(landscape):
    q = some(landscape)
    kept = q.copy()
    gradient = landscape.value_and_grad(q)[1]
    gradient[...] = np.nan
    np.testing.assert_array_equal(q, kept)
    assert np.isfinite(landscape.value_and_grad(q)[1]).all()


@ALONE
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_derivatives_of_the_gradient_pass_through(landscape):
    """Hessian times vector: by autograd, by dual tensors, by torch.func, against differences of the gradient."""
    q, v = (torch.tensor(some(landscape, (), seed)) for seed in (1, 2))
    v = v / v.norm()
    h = 1e-4
    expected = (landscape.value_and_grad(q + h * v)[1] - landscape.value_and_grad(q - h * v)[1]) / (2 * h)
    leaf = q.clone().requires_grad_()
    value, gradient = landscape.value_and_grad(leaf)
    (slope,) = torch.autograd.grad(value, leaf, retain_graph=True)
    torch.testing.assert_close(slope, gradient.detach(), rtol=1e-10, atol=1e-10)
    (reverse,) = torch.autograd.grad(gradient @ v, leaf)
    with forward_ad.dual_level():
        value, gradient = landscape.value_and_grad(forward_ad.make_dual(q, v))
        tangents = [forward_ad.unpack_dual(part).tangent for part in (value, gradient)]
    torch.testing.assert_close(tangents[0], slope @ v, rtol=1e-10, atol=1e-10)
    _, forward = torch.func.jvp(lambda q: landscape.value_and_grad(q)[1], (q,), (v,))
    torch.testing.assert_close(reverse, expected, rtol=1e-4, atol=1e-4 * (1 + float(expected.norm())))
    for product in (tangents[1], forward):
        torch.testing.assert_close(product, reverse, rtol=1e-9, atol=1e-9)


@ALONE
def test_metadata(landscape):
    assert landscape.name
    assert landscape.source
    assert landscape.domain.shape == (landscape.dim, 2)
    assert (landscape.domain[:, 0] < landscape.domain[:, 1]).all()
    assert landscape.minima.ndim == 2
    assert landscape.minima.shape[1] == landscape.dim
    assert landscape.minimum_values.shape == (len(landscape.minima),)
    assert (landscape.minima >= landscape.domain[:, 0]).all()
    assert (landscape.minima <= landscape.domain[:, 1]).all()
    assert (np.diff(landscape.minimum_values) >= 0).all()
    for array in (landscape.domain, landscape.minima, landscape.minimum_values):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0.0
    q = some(landscape)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(landscape)).value(q), landscape.value(q))


@ALONE
def test_minima_are_minima_to_rounding(landscape):
    if isinstance(landscape, Ackley):
        near = landscape.minima + 1e-3 * np.random.default_rng(0).normal(size=(50, landscape.dim))
        assert (landscape.value(near) > landscape.minimum_values[0]).all()
        return
    h = 1e-4
    for q in landscape.minima:
        shifts = h * np.eye(landscape.dim)
        hessian = (landscape.value_and_grad(q + shifts)[1] - landscape.value_and_grad(q - shifts)[1]) / (2 * h)
        curvatures = np.linalg.eigvalsh((hessian + hessian.T) / 2)
        # as close to zero as the spacing of positions and the size of cancelling terms allow
        assert np.abs(landscape.value_and_grad(q)[1]).max() < 1e-14 * (1 + curvatures.max()) * (1 + np.abs(q).max())
        flat = {LennardJones: 6}.get(type(landscape), 0)
        assert (np.abs(curvatures[:flat]) < 1e-4).all()
        assert (curvatures[flat:] > 1e-2).all()


@pytest.mark.parametrize(
    ("landscape", "position", "value"),
    [
        (MultiWell(), [7.2], 4.516472),
        (Rosenbrock(), [-1.2, 1.0], 24.2),
        (Himmelblau(), [0.0, 0.0], 170.0),
        (StyblinskiTang(), [-2.0, -2.0], -58.0),
        (Rastrigin(), [0.5, 0.5], 40.5),
        (Quadratic([1.0, 4.0]), [2.0, 1.0], 4.0),
        (DoubleWell(barrier=3.0), [0.0], 3.0),
        (LennardJones(atoms=2), [0.0, 0.0, 0.0, 2.0, 0.0, 0.0], 4 * (2**-12 - 2**-6)),
        (Ackley(), [0.0, 0.0], 0.0),
    ],
)
def test_known_values(landscape, position, value):
    np.testing.assert_allclose(landscape.value(position), value, rtol=1e-6, atol=1e-15)


def test_the_wells_of_the_toy():
    landscape = MultiWell()
    np.testing.assert_allclose(landscape.minimum_values[::2][:4], [0.0, 0.216913, 0.867642, 1.952152], atol=5e-7)
    assert len(landscape.minima) == 9
    np.testing.assert_allclose(np.sort(np.abs(landscape.minima[:, 0]))[1::2][:3], [2.0714, 4.1426, 6.2136], atol=5e-5)


@given(curvature=st.floats(1e-3, 30.0), frequency=st.floats(0.2, 20.0))
@settings(max_examples=50, deadline=None)
def test_no_well_of_a_multi_well_is_left_out(curvature, frequency):
    landscape = MultiWell(curvature, frequency)
    grid = np.linspace(*landscape.domain[0], 20_001)
    value = landscape.value(grid[:, None])
    inner = np.flatnonzero((value[1:-1] < value[:-2]) & (value[1:-1] < value[2:])) + 1
    wells = np.sort(landscape.minima[:, 0])
    spacing = grid[1] - grid[0]
    for dip in grid[inner]:
        assert np.abs(wells - dip).min() <= 1.01 * spacing
    slopes = np.abs(landscape.value_and_grad(landscape.minima)[1])
    assert slopes.max() < 1e-12 * (1 + frequency**2)


def test_a_steep_parabola_has_one_well():
    np.testing.assert_array_equal(cosine_wells(1.0, 1.0, 1.0, 100.0), [0.0])


# Cambridge Cluster Database, table of Lennard-Jones clusters
LITERATURE = {
    2: -1.0, 3: -3.0, 4: -6.0, 5: -9.103852, 6: -12.712062, 7: -16.505384, 8: -19.821489, 9: -24.113360,
    10: -28.422532, 11: -32.765970, 12: -37.967600, 13: -44.326801,
}  # fmt: skip


@pytest.mark.parametrize("atoms", LITERATURE)
def test_cluster_minima_are_the_global_ones_of_the_literature(atoms):
    landscape = LennardJones(atoms=atoms)
    np.testing.assert_allclose(landscape.minimum_values, [LITERATURE[atoms]], atol=6e-7)
    assert np.abs(landscape.value_and_grad(landscape.minima)[1]).max() < 1e-12


def test_unknown_cluster_minima_are_empty():
    landscape = LennardJones(atoms=14)
    assert landscape.minima.shape == (0, 42)
    assert landscape.minimum_values.shape == (0,)


def test_a_cluster_may_move_and_turn():
    landscape = LennardJones()
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    moved = (landscape.minima.reshape(7, 3) @ rotation + [1.0, -2.0, 0.5]).ravel()
    np.testing.assert_allclose(landscape.value(moved), landscape.minimum_values[0], rtol=1e-13)


def test_ackley_has_a_finite_gradient_at_the_tip():
    for zero in (np.zeros(2), torch.zeros(2), np.zeros((3, 2), dtype=np.float32)):
        assert not np.asarray(Ackley().value_and_grad(zero)[1]).any()


def test_nothing_cancels_near_a_minimum():
    """Where 1 - cos 3q is rounded to nothing, the rewritten form keeps all digits."""
    tiny = 1e-9
    np.testing.assert_allclose(MultiWell().value([tiny]), (0.05 + 4.5) * tiny**2, rtol=1e-14)
    np.testing.assert_allclose(Rastrigin().value([tiny, 0.0]), (1 + 20 * np.pi**2) * tiny**2, rtol=1e-14)


def test_quadratic_spectrum():
    tensor = Quadratic(torch.tensor([1.0, 2.0], requires_grad=True))
    assert tensor.value([1.0, 1.0]) == 1.5
    assert Quadratic([1, 2]).spectrum.dtype == np.float64
    given = np.array([1.0, 2.0])
    kept = Quadratic(given)
    given[0] = 7.0
    assert kept.spectrum[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        kept.spectrum[0] = 7.0
    assert len(Quadratic([1.0, 0.0]).minima) == 1
    assert Quadratic([1.0, -1.0]).minima.shape == (0, 2)
    assert repr(Quadratic([1.0])) == "Quadratic(spectrum=array([1.]))"


def test_a_long_spectrum():
    landscape = Quadratic(np.ones(2_000_000))
    value, gradient = landscape.value_and_grad(np.full(2_000_000, 2.0))
    assert value == 4_000_000.0
    assert gradient.shape == (2_000_000,)
    assert len(repr(landscape)) < 200


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Quadratic([]), r"shape \(0,\)"),
        (lambda: Quadratic(2.0), r"write \[2.0\]"),
        (lambda: Quadratic([[1.0]]), r"shape \(1, 1\)"),
        (lambda: Quadratic([1.0, np.nan]), r"spectrum\[1\] is nan"),
        (lambda: DoubleWell(barrier=0.0), "barrier = 0.0"),
        (lambda: DoubleWell(distance=-1.0), "distance = -1.0"),
        (lambda: MultiWell(curvature=np.nan), "curvature = nan"),
        (lambda: MultiWell(frequency=np.inf), "frequency = inf"),
        (lambda: Rosenbrock(dim=1), "dim = 1"),
        (lambda: Rastrigin(dim=0), "dim = 0"),
        (lambda: Ackley(dim=2.5), "dim = 2.5"),
        (lambda: StyblinskiTang(dim=-1), "dim = -1"),
        (lambda: LennardJones(atoms=1), "atoms = 1"),
    ],
)
def test_bad_parameters_are_refused(make, words):
    with pytest.raises(ArgumentError, match=words):
        make()


def test_products_of_minima_are_listed_while_few():
    assert StyblinskiTang(dim=10).minima.shape == (1024, 10)
    assert StyblinskiTang(dim=11).minima.shape == (1, 11)
    assert Rastrigin(dim=2).minima.shape == (121, 2)
    assert Rastrigin(dim=3).minima.shape == (1, 3)
    np.testing.assert_allclose(StyblinskiTang(dim=11).minimum_values, 11 * -39.16616570377141, rtol=1e-14)


def test_no_torch_warning_for_read_only_constants():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Quadratic([1.0, 2.0]).value(torch.ones(3, 2, dtype=torch.float64)).tolist() == [1.5] * 3
