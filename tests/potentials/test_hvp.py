"""Hessian-vector products: of every potential, against the dense Hessian; the sharpness against eigenvalues."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import phdyn
from phdyn import Every, networks, potentials
from phdyn.errors import ArgumentError
from phdyn.events import Guard
from phdyn.potentials import Sharpness
from phdyn.systems import QuadraticForm

LANDSCAPES = [
    potentials.Quadratic([1.0, 3.0, -2.0]),
    potentials.DoubleWell(),
    potentials.MultiWell(),
    potentials.Rosenbrock(5),
    potentials.Himmelblau(),
    potentials.Rastrigin(3),
    potentials.Ackley(3),
    potentials.StyblinskiTang(3),
    potentials.MullerBrown(),
    potentials.LennardJones(4),
]
SYMMETRIC = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 4.0]])


class Cosines:
    """A user's object, on NumPy or torch."""

    def __init__(self):
        self.calls, self.seen = 0, set()

    def value_and_grad(self, q):
        self.calls += 1
        self.seen.add(type(q))
        sine, cosine = (torch.sin(q), torch.cos(q)) if isinstance(q, torch.Tensor) else (np.sin(q), np.cos(q))
        return (1 - cosine).sum(-1) + (q**4).sum(-1), sine + 4 * q**3


def quartic(q):
    return (q**4).sum(-1) / 4 + (q[..., 0] * q[..., 1] ** 2)


def dense(value, q):
    return torch.autograd.functional.hessian(value, torch.as_tensor(q))


@pytest.mark.parametrize("potential", LANDSCAPES, ids=lambda one: one.name)
def test_landscapes_against_the_dense_hessian(potential):
    rng = np.random.default_rng(1)
    q, v = rng.standard_normal((2, 3, potential.dim))
    wanted = np.stack([dense(potential.value, a).numpy() @ b for a, b in zip(q, v, strict=True)])
    found = potential.hvp(q, v)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12 * np.abs(wanted).max())
    np.testing.assert_array_equal(potential.hvp(q[0], v[0]), found[0])
    tensors = potential.hvp(torch.tensor(q), torch.tensor(v))
    assert isinstance(tensors, torch.Tensor) and not tensors.requires_grad
    np.testing.assert_allclose(tensors, found, rtol=1e-12, atol=1e-12 * np.abs(wanted).max())
    assert potential.hvp(q.astype(np.float32), v).dtype == np.float32


def test_functions_against_the_dense_hessian():
    potential = potentials.FunctionPotential(quartic)
    q, v = np.random.default_rng(2).standard_normal((2, 5, 3))
    wanted = np.stack([dense(quartic, a).numpy() @ b for a, b in zip(q, v, strict=True)])
    np.testing.assert_allclose(potential.hvp(q, v), wanted, rtol=1e-13)
    np.testing.assert_allclose(potential.hvp(torch.tensor(q[0], requires_grad=True), torch.tensor(v[0])), wanted[0], rtol=1e-13)
    with torch.no_grad():
        np.testing.assert_allclose(potential.hvp(torch.tensor(q), torch.tensor(v)), wanted, rtol=1e-13)
    linear = potentials.FunctionPotential(lambda q: 3 * q.sum(-1))
    np.testing.assert_array_equal(linear.hvp([1.0, 2.0], [1.0, 1.0]), [0.0, 0.0])
    assert potential.hvp([1, 2, 3], [1, 0, 0]).dtype == np.float64


def test_a_matrix_is_its_own_hessian():
    form = QuadraticForm(SYMMETRIC)
    np.testing.assert_array_equal(form.hvp(np.zeros(3), np.eye(3)[1]), SYMMETRIC[1])


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor], ids=["arrays", "tensors"])
def test_your_own_object_gets_products(kind):
    own = Cosines()
    rng = np.random.default_rng(3)
    q, v = rng.standard_normal((2, 200, 6))
    found = potentials.hvp(own, kind(q), kind(v))
    assert type(found) is type(kind(q))
    assert own.calls == 2
    assert largest_error(found, q, v) < 3e-10  # measured: 2e-10 at most, 3e-11 as a rule
    np.testing.assert_array_equal(potentials.hvp(own, kind(q), kind(0 * v)), 0 * v)
    single = potentials.hvp(own, kind(q.astype(np.float32)), v)
    assert largest_error(single, q.astype(np.float32).astype(float), v) < 1.5e-4
    if kind is np.asarray:
        np.testing.assert_allclose(potentials.hvp(own, [1, 2], [1, -1]), (np.cos([1, 2]) + 12 * np.array([1, 4])) * [1, -1], rtol=1e-9)


def largest_error(found, q, v):
    """Relative, row by row."""
    wanted = (np.cos(q) + 12 * q**2) * v
    return (np.linalg.norm(np.asarray(found) - wanted, axis=1) / np.linalg.norm(wanted, axis=1)).max()


def test_differences_survive_an_object_with_one_buffer():
    class Buffered(Cosines):
        buffer = np.empty(3)

        def value_and_grad(self, q):
            value, self.buffer[:] = super().value_and_grad(q)
            return value, self.buffer

    q, v = np.random.default_rng(4).standard_normal((2, 3))
    np.testing.assert_allclose(potentials.hvp(Buffered(), q, v), (np.cos(q) + 12 * q**2) * v, rtol=1e-8)


def test_an_own_object_stays_itself_and_may_bring_its_own():
    own = Cosines()
    assert phdyn.HeavyBall(own).potential is own
    own.hvp = lambda _q, v: 7 * v
    np.testing.assert_array_equal(potentials.hvp(own, [1.0, 2.0], [1, 0]), [7.0, 0.0])
    assert own.calls == 0


@pytest.mark.parametrize("potential", [LANDSCAPES[0], potentials.FunctionPotential(quartic), Cosines(), QuadraticForm(SYMMETRIC)])
def test_answers_are_detached(potential):
    v = torch.ones(3, dtype=torch.float64, requires_grad=True)
    q = torch.ones(3, dtype=torch.float64, requires_grad=True)
    assert not potentials.hvp(potential, q, v).requires_grad
    np.testing.assert_array_equal(potentials.hvp(potential, np.ones(3), v), potentials.hvp(potential, np.ones(3), np.ones(3)))
    np.testing.assert_array_equal(potentials.hvp(potential, [1, 1, 1], [1, 0.5, 0]), potentials.hvp(potential, np.ones(3), [1, 0.5, 0]))


@pytest.mark.parametrize("chunk_size", [None, 7])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_networks_against_the_dense_hessian(chunk_size, dtype):
    torch.manual_seed(0)
    x, y = torch.randn(20, 3, dtype=dtype), torch.randint(4, (20,))
    model = networks.mlp((3, 5, 4)).to(dtype)
    V = phdyn.NetworkLoss(model, torch.nn.functional.cross_entropy, x, y, weight_decay=0.1, chunk_size=chunk_size)
    reference = phdyn.NetworkLoss(networks.mlp((3, 5, 4)).double(), torch.nn.functional.cross_entropy, x.double(), y, weight_decay=0.1)
    q = V.initial_state()[: V.dim] + 0.1 * torch.randn(V.dim, dtype=dtype)
    v = torch.randn(V.dim, dtype=dtype)

    def value(z):
        names, parts, start = [], {}, 0
        for name, parameter in reference.model.named_parameters():
            names.append(name)
            parts[name] = z[start : start + parameter.numel()].view_as(parameter)
            start += parameter.numel()
        output = torch.func.functional_call(reference.model, parts, (x.double(),))
        return torch.nn.functional.cross_entropy(output, y) + 0.05 * z.dot(z)

    wanted = dense(value, q.double()) @ v.double()
    V.value_and_grad(V.state_buffer[: V.dim])
    before, slope = V.state_buffer.clone(), V.gradient_buffer.clone()
    found = V.hvp(q, v)
    tolerance = 1e-12 if dtype is torch.float64 else 1e-5
    assert float((found - wanted).norm() / wanted.norm()) < tolerance
    assert found.dtype == dtype
    torch.testing.assert_close(V.state_buffer, before, rtol=0, atol=0)
    torch.testing.assert_close(V.gradient_buffer, slope, rtol=0, atol=0)
    V.load(q)
    torch.testing.assert_close(V.hvp(V.state_buffer[: V.dim], v), found, rtol=0, atol=0)  # at home nothing is copied
    assert isinstance(V.hvp(q.numpy(), v.numpy()), np.ndarray)


def test_linear_networks_have_no_curvature():
    V = phdyn.NetworkLoss(torch.nn.Linear(2, 1).double(), lambda out, _: out.mean(), torch.randn(4, 2).double(), torch.zeros(4).double())
    np.testing.assert_array_equal(V.hvp(np.zeros(3), np.ones(3)), np.zeros(3))


@pytest.mark.parametrize(
    "potential",
    [LANDSCAPES[0], potentials.FunctionPotential(quartic), Cosines(), QuadraticForm(SYMMETRIC)],
    ids=["landscape", "function", "own", "matrix"],
)
def test_shapes_that_differ_are_refused(potential):
    with pytest.raises(ArgumentError, match=r"hvp: v has shape \(2,\), not \(3,\)"):
        potentials.hvp(potential, np.zeros(3), np.zeros(2))
    if hasattr(potential, "hvp"):
        with pytest.raises(ArgumentError, match=r"hvp: v has shape \(2,\), not \(3,\)"):
            potential.hvp(np.zeros(3), np.zeros(2))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), which=st.sampled_from(range(len(LANDSCAPES))))
def test_products_are_linear_and_symmetric(seed, which):
    potential = LANDSCAPES[which]
    q, u, v = np.random.default_rng(seed).standard_normal((3, potential.dim))
    hu, hv = potential.hvp(q, u), potential.hvp(q, v)
    scale = np.linalg.norm(hu) * np.linalg.norm(v) + np.linalg.norm(hv) * np.linalg.norm(u)
    assert abs(hu @ v - hv @ u) <= 1e-10 * scale
    np.testing.assert_allclose(potential.hvp(q, 2 * u - v), 2 * hu - hv, atol=1e-9 * (np.abs(hu).max() + np.abs(hv).max()))


# --- sharpness -----------------------------------------------------------------------------------------------------------------
def spectrum(n):
    return np.concatenate([[-50.0], np.linspace(-1, 9, n - 2), [10.0]])


@pytest.mark.parametrize("n", [3, 20, 21, 300])
def test_the_sharpness_is_the_largest_eigenvalue(n):
    """Not the largest in size, which here is negative."""
    sharpness = Sharpness()
    sol = phdyn.simulate(
        phdyn.GradientFlow(potentials.Quadratic(spectrum(n))), (0, 0.1), np.full(n, 0.1), method="explicit-euler", step=0.01, monitor=None,
        observables={"sharpness": Every(5, sharpness)},
    )  # fmt: skip
    np.testing.assert_allclose(sol.observed["sharpness"], 10.0, rtol=1e-7)
    assert len(sharpness.residuals) == 3 and max(sharpness.residuals) <= 1e-4
    assert sharpness.residual == sharpness.residuals[-1]
    assert sol.nfev == 11  # its products are not counted, and change nothing


def test_a_warm_start_is_short():
    counts = []
    sharpness = Sharpness()

    def counted(point):
        before = sharpness.products
        value = sharpness(point)
        counts.append(sharpness.products - before)
        return value

    stiff = np.concatenate([np.linspace(0.1, 9.99, 2000), [10.0]])
    phdyn.simulate(
        phdyn.GradientFlow(potentials.Quadratic(stiff)), (0, 0.03), np.ones(2001), method="explicit-euler", step=0.01, monitor=None,
        observables={"sharpness": counted},
    )  # fmt: skip
    assert max(counts[1:]) < 0.5 * counts[0]


@pytest.mark.parametrize("make", [np.array, lambda q: torch.tensor(q, dtype=torch.float64)], ids=["arrays", "tensors"])
def test_on_your_own_object_and_in_either_kind(make):
    own = Cosines()
    x0 = make([0.5, -0.2, 0.0, 0.0])
    sol = phdyn.simulate(phdyn.HeavyBall(own), (0, 0.2), x0, method="strang", step=0.01, observables={"s": Sharpness()})
    q = sol.q
    np.testing.assert_allclose(sol.observed["s"], (np.cos(q) + 12 * q**2).max(0), rtol=1e-7)
    assert own.seen == {type(make([0.0]))}


def test_on_every_system():
    J = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    system = phdyn.PortHamiltonianSystem(SYMMETRIC, J, np.eye(3))
    sol = phdyn.simulate(system, (0, 0.1), [1.0, 0.0, 0.0], observables={"s": Sharpness()})
    np.testing.assert_allclose(sol.observed["s"], np.linalg.eigvalsh(SYMMETRIC)[-1], rtol=1e-10)
    with pytest.raises(ArgumentError, match="no Hessian"):
        phdyn.simulate(lambda _t, x: -x, (0, 0.1), [1.0], observables={"s": Sharpness()})


def test_one_sharpness_serves_runs_of_different_sizes():
    sharpness = Sharpness()
    for n in (30, 40):
        flow = phdyn.GradientFlow(potentials.Quadratic(spectrum(n)))
        sol = phdyn.simulate(flow, (0, 0.01), np.ones(n), observables={"s": Every(10**6, sharpness)})
        np.testing.assert_allclose(sol.observed["s"], 10.0, rtol=1e-7)


@pytest.mark.parametrize("n", [2, 30])
def test_flat_is_zero(n):
    sharpness = Sharpness()
    sol = phdyn.simulate(phdyn.GradientFlow(lambda q: q.sum(-1)), (0, 0.1), np.zeros(n), observables={"s": Every(10**6, sharpness)})
    np.testing.assert_array_equal(sol.observed["s"], [0.0])
    assert sharpness.residual == 0.0


def test_a_start_in_the_kernel_is_left():
    """The vector that is left from before has become flat."""
    sharpness, n = Sharpness(), 30
    for k in (0, 1):
        flow = phdyn.GradientFlow(potentials.Quadratic(np.where(np.arange(n) == k, 5.0, 0.0)))
        sol = phdyn.simulate(flow, (0, 0.01), np.ones(n), observables={"s": Every(10**6, sharpness)})
        np.testing.assert_allclose(sol.observed["s"], 5.0, rtol=1e-7)


@pytest.mark.parametrize("n", [3, 30])
def test_what_is_not_finite_is_nan_and_ends_no_run(n):
    class Broken(Cosines):
        def hvp(self, q, v):
            return np.full(len(v), np.nan)

    sharpness = Sharpness()
    sol = phdyn.simulate(phdyn.GradientFlow(Broken()), (0, 0.01), np.full(n, 0.1), observables={"s": Every(10**6, sharpness)})
    assert sol.success and np.isnan(sol.observed["s"]).all()
    assert np.isnan(sharpness.residual)


def test_in_a_batch_and_beside_the_same_run_without_it():
    x0 = np.array([[0.5, -0.2, 0.0, 0.0], [1.0, 0.3, 0.0, 0.0]])
    options = {"method": "strang", "step": 0.01, "monitor": None}
    system = phdyn.HeavyBall(Cosines(), friction=0.1)
    sol = phdyn.simulate(system, (0, 0.1), x0, observables={"s": Every(5, Sharpness())}, **options)
    assert len(sol.observed) == 6
    q = sol.q[:, :, ::5]
    np.testing.assert_allclose(np.reshape(sol.observed["s"], (2, 3)), (np.cos(q) + 12 * q**2).max(1), rtol=1e-7)
    plain = phdyn.simulate(system, (0, 0.1), x0, **options)
    np.testing.assert_allclose(plain.y, sol.y, rtol=1e-13, atol=1e-15)
    assert (plain.nfev == sol.nfev).all()


def test_a_networks_run_is_not_disturbed():
    torch.manual_seed(0)
    x, y = torch.randn(9, 3).double(), torch.randn(9, 2).double()
    V = phdyn.NetworkLoss(networks.mlp((3, 6, 2)).double(), torch.nn.functional.mse_loss, x, y)
    flow, x0 = phdyn.GradientFlow(V), V.initial_state()[: V.dim]
    options = {"method": "explicit-euler", "step": 0.1, "monitor": None}
    first = phdyn.simulate(flow, (0, 2), x0, observables={"s": Sharpness()}, **options)
    second = phdyn.simulate(flow, (0, 2), x0, **options)
    np.testing.assert_array_equal(first.y, second.y)
    assert first.nfev == second.nfev


def test_a_guard_may_ask_for_products():
    """Of a whole batch at once."""
    seen = []

    def curvature(point):
        seen.append(tuple(point.q.shape))
        return point.hvp(point.q / point.q.norm(dim=-1, keepdim=True)).norm(dim=-1) - 4.0

    bent = Guard(curvature, name="bent", direction=-1)
    sol = phdyn.simulate(phdyn.GradientFlow(Cosines()), (0, 1), [[1.0], [1.4]], method="rk4", step=0.05, events=bent, monitor=None)
    for k in range(2):
        (q,) = sol.y_events[0][k][0]
        np.testing.assert_allclose(np.cos(q) + 12 * q**2, 4.0, rtol=1e-4)
    assert (2, 1) in seen


def test_odd_networks():
    """Tied, frozen and unused parameters, batch norm in evaluation mode, sums instead of means, chunks that do not fit."""
    torch.manual_seed(1)
    tied = torch.nn.Linear(4, 4)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Tanh(), tied, torch.nn.Tanh(), tied).double()
    model.register_parameter("unused", torch.nn.Parameter(torch.ones(2, dtype=torch.float64)))
    model[0].bias.requires_grad_(False)
    model.eval()
    x, y = torch.randn(11, 3).double(), torch.randn(11, 4).double()
    for reduction in ("mean", "sum"):
        for chunk_size in (None, 4):
            V = phdyn.NetworkLoss(model, torch.nn.MSELoss(reduction=reduction), x, y, weight_decay=0.2, chunk_size=chunk_size)
            q, v = V.initial_state()[: V.dim], torch.randn(V.dim).double()
            step = 1e-5
            wanted = (V.value_and_grad(q + step * v)[1] - V.value_and_grad(q - step * v)[1]) / (2 * step)
            assert float((V.hvp(q, v) - wanted).norm() / wanted.norm()) < 1e-8


def test_a_network_in_single_precision():
    torch.manual_seed(0)
    V = phdyn.NetworkLoss(networks.mlp((3, 6, 2)), torch.nn.functional.mse_loss, torch.randn(9, 3), torch.randn(9, 2))
    x0 = V.initial_state()
    q = V.initial_state()[: V.dim]
    hessian = np.stack([V.hvp(q, unit).numpy() for unit in torch.eye(V.dim)])
    sol = phdyn.simulate(phdyn.HeavyBall(V, friction=0.1), (0, 0.02), x0, method="strang", step=0.01, observables={"s": Sharpness()})
    np.testing.assert_allclose(sol.observed["s"][0], np.linalg.eigvalsh(hessian)[-1], rtol=1e-5)


@pytest.mark.parametrize("tolerance", [0, -1e-3, float("nan")])
def test_a_tolerance_that_is_not_positive(tolerance):
    with pytest.raises(ArgumentError, match="tolerance"):
        Sharpness(tolerance=tolerance)
