"""The loss of a network as a potential: flat buffers, purity, chunks, weight decay, copies, and what is refused."""

from __future__ import annotations

import copy
import io
import pickle
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import forward_ad
from torch.nn.functional import cross_entropy, mse_loss

from phdyn.errors import ArgumentError, ArgumentTypeError
from phdyn.networks import mlp
from phdyn.potentials import NetworkLoss

SAMPLES = 23


def data(dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(SAMPLES, 4, generator=generator, dtype=torch.float64).to(dtype)
    return inputs, torch.randint(3, (SAMPLES,), generator=generator)


def network(dtype=torch.float64):
    torch.manual_seed(0)
    return mlp((4, 5, 3)).to(dtype)


def make(dtype=torch.float64, model=None, loss=cross_entropy, **options):
    return NetworkLoss(network(dtype) if model is None else model, loss, *data(dtype), **options)


def live(potential):
    return potential.state_buffer[: potential.dim]


def somewhere(potential, seed=3):
    generator = torch.Generator().manual_seed(seed)
    step = torch.randn(potential.dim, generator=generator, dtype=torch.float64)
    return potential.initial_state()[: potential.dim] + 0.1 * step.to(potential.dtype)


def reference(potential, q, weight_decay=0.0):
    """V and gradient by torch.func on a module of its own, in one batch."""
    model = copy.deepcopy(potential.model)
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def total(q):
        parts = q.split([p.numel() for p in parameters.values()])
        named = {name: part.view(p.shape) for part, (name, p) in zip(parts, parameters.items(), strict=True)}
        outputs = torch.func.functional_call(model, named, (potential.inputs,))
        return potential.loss(outputs, potential.targets) + weight_decay / 2 * (q**2).sum()

    gradient, value = torch.func.grad_and_value(total)(q)
    return value.detach(), gradient.detach()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_and_gradient(dtype):
    potential = make(dtype)
    q = somewhere(potential)
    expected = reference(potential, q)
    for got in (potential.value_and_grad(q), potential.evaluate_scratch(q), potential.value_and_grad(live(potential))):
        for mine, theirs in zip(got, expected, strict=True):
            assert mine.dtype == dtype
            assert not mine.requires_grad
            torch.testing.assert_close(mine, theirs, rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=1e-7)
    assert potential.value(q).shape == ()


@given(seed=st.integers(0, 2**31), weight_decay=st.sampled_from([0.0, 0.3]), chunk_size=st.sampled_from([None, 5]))
@settings(max_examples=15, deadline=None)
def test_gradient_is_that_of_finite_differences(seed, weight_decay, chunk_size):
    potential = make(weight_decay=weight_decay, chunk_size=chunk_size)
    q = somewhere(potential, seed)
    direction = somewhere(potential, seed + 1) - q
    direction /= direction.norm()
    _, gradient = potential.value_and_grad(q)
    h = 1e-5
    slope = (potential.value(q + h * direction) - potential.value(q - h * direction)) / (2 * h)
    torch.testing.assert_close(gradient @ direction, slope, rtol=1e-7, atol=1e-9)


def test_the_buffers_are_the_module():
    potential = make()
    parameters = list(potential.model.parameters())
    assert potential.dim == sum(p.numel() for p in parameters) == 43
    assert potential.state_buffer.shape == (86,)
    assert not potential.state_buffer[43:].any()
    torch.testing.assert_close(live(potential), torch.cat([p.detach().flatten() for p in network().parameters()]))
    value, gradient = potential.value_and_grad(live(potential))
    assert gradient is potential.gradient_buffer
    assert torch.equal(gradient, torch.cat([p.grad.flatten() for p in parameters]))
    live(potential).add_(0.01)
    assert torch.equal(live(potential), torch.cat([p.detach().flatten() for p in parameters]))
    for p in parameters:
        assert p.untyped_storage().data_ptr() == potential.state_buffer.untyped_storage().data_ptr()
        assert p.grad.untyped_storage().data_ptr() == potential.gradient_buffer.untyped_storage().data_ptr()
    moved, _ = potential.value_and_grad(live(potential))
    assert moved != value
    outputs = potential.model(potential.inputs)
    assert torch.equal(cross_entropy(outputs, potential.targets).detach(), moved)


def test_the_gradient_does_not_pile_up():
    potential = make()
    first = potential.value_and_grad(live(potential))[1].clone()
    assert torch.equal(potential.value_and_grad(live(potential))[1], first)


@pytest.mark.parametrize("act", ["value", "value_and_grad"])
@pytest.mark.parametrize("fails", [False, True])
def test_a_position_elsewhere_leaves_no_trace(act, fails):
    failing = []

    def loss(outputs, targets):
        if failing:
            raise ZeroDivisionError("mine")
        return cross_entropy(outputs, targets)

    potential = make(loss=loss)
    potential.value_and_grad(live(potential))
    potential.state_buffer[potential.dim :] = 7.0
    before = potential.state_buffer.clone(), potential.gradient_buffer.clone()
    q = somewhere(potential)
    kept = q.clone()
    if fails:
        failing.append(True)
        with pytest.raises(ZeroDivisionError, match="mine"):
            getattr(potential, act)(q)
    else:
        answer = getattr(potential, act)(q)
        if act == "value_and_grad":
            assert answer[1].data_ptr() != potential.gradient_buffer.data_ptr()
    assert torch.equal(q, kept)
    assert torch.equal(potential.state_buffer, before[0])
    assert torch.equal(potential.gradient_buffer, before[1])


def test_the_momentum_half_is_a_position_elsewhere():
    potential = make()
    half = potential.state_buffer[potential.dim :]
    half.copy_(somewhere(potential))
    kept = potential.state_buffer.clone()
    value, gradient = potential.value_and_grad(half)
    assert torch.equal(potential.state_buffer, kept)
    assert gradient is not potential.gradient_buffer
    assert value == potential.value(somewhere(potential))
    every_other = potential.state_buffer[::2]  # starts where the parameters do, and is as long
    expected = potential.value(every_other.clone())
    assert potential.value_and_grad(every_other)[0] == expected


def test_scratch_leaves_the_module_there_and_converts():
    potential = make(torch.float32)
    q = somewhere(potential).double() + 1e-12
    value, gradient = potential.evaluate_scratch(q)
    assert gradient is potential.gradient_buffer
    assert torch.equal(live(potential), q.float())
    assert value.dtype == torch.float32
    with pytest.raises(ArgumentError, match="q has shape"):
        potential.evaluate_scratch(q[:-1])


@pytest.mark.parametrize("options", [{}, {"chunk_size": 5}, {"weight_decay": 0.1}, {"chunk_size": 7, "weight_decay": 0.1}])
def test_value_agrees_bit_for_bit(options):
    for dtype in (torch.float32, torch.float64):
        potential = make(dtype, **options)
        q = somewhere(potential)
        value = potential.value(q)
        assert value == potential.value_and_grad(q)[0] == potential.evaluate_scratch(q)[0]
        assert value == potential.value_and_grad(live(potential))[0] == potential.value(live(potential))


@pytest.mark.parametrize("chunk_size", [1, 5, 22, 23, 1000])
@pytest.mark.parametrize("loss", [cross_entropy, partial(cross_entropy, reduction="sum"), nn.CrossEntropyLoss()])
def test_chunks_add_up_to_the_whole(chunk_size, loss):
    """23 samples leave a short last chunk at 5 (three) and at 22 (one)."""
    whole, chunked = make(loss=loss, weight_decay=0.2), make(loss=loss, weight_decay=0.2, chunk_size=chunk_size)
    q = somewhere(whole)
    for one, other in zip(whole.value_and_grad(q), chunked.value_and_grad(q), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    "loss",
    [
        partial(cross_entropy, weight=torch.tensor([1.0, 5.0, 25.0], dtype=torch.float64)),
        lambda outputs, targets: cross_entropy(outputs, targets) ** 2,
    ],
)
def test_a_loss_that_does_not_add_up_is_refused_in_chunks(loss):
    make(loss=loss)
    with pytest.raises(ArgumentError, match="neither a mean nor a sum over samples"):
        make(loss=loss, chunk_size=5)


def test_chunks_never_hold_all_activations():
    seen = []
    model = network()
    model.register_forward_hook(lambda module, args, output: seen.append(len(output)))
    potential = make(model=model, chunk_size=10)
    seen.clear()
    potential.value_and_grad(live(potential))
    assert seen == [10, 10, 3]


def test_construction_evaluates_nothing_unless_in_chunks():
    """So that a counter in the loss counts what the run asked for."""
    calls = []

    def loss(outputs, targets):
        calls.append(1)
        return cross_entropy(outputs, targets)

    potential = make(loss=loss)
    assert not calls
    potential.value_and_grad(live(potential))
    assert len(calls) == 1


def test_weight_decay_is_part_of_the_potential():
    plain, decayed = make(), make(weight_decay=0.3)
    q = somewhere(plain)
    (value, gradient), (more, steeper) = plain.value_and_grad(q), decayed.value_and_grad(q)
    torch.testing.assert_close(more, value + 0.15 * q @ q, rtol=1e-14, atol=0)
    torch.testing.assert_close(steeper, gradient + 0.3 * q, rtol=1e-13, atol=1e-15)


def test_initial_state_and_load():
    potential = make(torch.float32)
    start = potential.initial_state()
    assert start.shape == (2 * potential.dim,)
    assert not start[potential.dim :].any()
    start.zero_()
    live(potential).zero_()
    assert potential.initial_state().any()
    for q in (somewhere(potential), somewhere(potential).double(), somewhere(potential).numpy(), np.ones(potential.dim)):
        potential.load(q)
        np.testing.assert_allclose(live(potential), q, rtol=1e-6)
    parameter = somewhere(potential).requires_grad_()
    potential.load(parameter)
    for wrong in (potential.initial_state(), np.ones(3)):
        with pytest.raises(ArgumentError, match=r"load: q has shape"):
            potential.load(wrong)


def test_arrays_are_answered_with_arrays():
    potential = make()
    q = somewhere(potential).numpy()
    value, gradient = potential.value_and_grad(q)
    assert isinstance(value, np.float64)
    assert isinstance(gradient, np.ndarray)
    assert value == potential.value(q)


def test_no_grad_around_it_does_not_matter():
    potential = make()
    expected = potential.value_and_grad(somewhere(potential))
    with torch.no_grad():
        got = potential.value_and_grad(somewhere(potential))
    assert torch.equal(got[0], expected[0])
    assert torch.equal(got[1], expected[1])


@pytest.mark.parametrize(
    "interfere",
    [
        lambda model: model.zero_grad(set_to_none=True),
        lambda model: model.zero_grad(set_to_none=False),
        lambda model: [setattr(p, "grad", torch.ones_like(p)) for p in model.parameters()],
        lambda model: torch.optim.SGD(model.parameters(), lr=0.0).zero_grad(),
        lambda model: setattr(model[0].weight, "grad", None),
    ],
)
def test_gradients_that_the_user_took_away_come_back(interfere):
    potential = make()
    expected = potential.value_and_grad(live(potential))[1].clone()
    interfere(potential.model)
    assert torch.equal(potential.value_and_grad(live(potential))[1], expected)
    assert torch.equal(potential.model[0].weight.grad.flatten(), expected[:20])


def test_an_optimizer_moves_the_buffer():
    potential = make()
    optimizer = torch.optim.SGD(potential.model.parameters(), lr=0.1)
    before = live(potential).clone()
    _, gradient = potential.value_and_grad(live(potential))
    optimizer.step()
    torch.testing.assert_close(live(potential), before - 0.1 * gradient, rtol=1e-14, atol=1e-16)


def test_two_losses_of_a_module_share_its_parameters():
    """Data of training and of testing: both see the same module, whichever was asked last."""
    model = network()
    training, testing = make(model=model), make(model=model, loss=partial(cross_entropy, label_smoothing=0.1))
    assert training.state_buffer.data_ptr() == testing.state_buffer.data_ptr()
    gradient = training.value_and_grad(live(training))[1]
    kept = gradient.clone()
    other = testing.value_and_grad(live(training))[1]
    assert other is testing.gradient_buffer
    assert torch.equal(gradient, kept)
    assert not torch.equal(other, kept)
    live(testing).mul_(0.5)
    torch.testing.assert_close(training.value_and_grad(live(training))[1], reference(training, live(testing))[1])


def test_parameters_that_left_the_buffer_are_noticed():
    potential = make()
    potential.model.float()
    with pytest.raises(ArgumentError, match="left the memory of this NetworkLoss"):
        potential.value_and_grad(live(potential))
    model = network()
    first = make(model=model)
    model[2].bias.requires_grad_(False)
    second = make(model=model)
    assert second.dim == first.dim - 3
    with pytest.raises(ArgumentError, match="make a new one"):
        first.value(live(first))
    model[2].bias.requires_grad_(True)
    make(model=model)


def test_frozen_parameters_are_left_out():
    model = network()
    model[0].weight.requires_grad_(False)
    kept = model[0].weight.clone()
    potential = make(model=model)
    assert potential.dim == 43 - 20
    q = somewhere(potential)
    expected = reference(potential, q)
    torch.testing.assert_close(potential.value_and_grad(q)[1], expected[1])
    potential.load(q)
    assert torch.equal(model[0].weight, kept)
    assert model[0].weight.grad is None


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        return self.last(torch.tanh(self.second(torch.tanh(self.first(x)))))


def test_tied_parameters_count_once():
    torch.manual_seed(0)
    potential = make(model=Tied().double())
    assert potential.dim == 16 + 4 + 4 + 15
    q = somewhere(potential)
    _, gradient = potential.value_and_grad(q)
    h = 1e-5
    slopes = [(potential.value(q + e) - potential.value(q - e)) / (2 * h) for e in h * torch.eye(potential.dim).double()]
    torch.testing.assert_close(gradient, torch.stack(slopes), rtol=1e-7, atol=1e-9)
    again = copy.deepcopy(potential)
    assert again.dim == potential.dim


def test_parameters_that_share_memory_without_being_tied_are_refused():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)).double()
    model[1].weight.data = model[0].weight.data
    with pytest.raises(ArgumentError, match=r"'0.weight' and '1.weight' share memory"):
        NetworkLoss(model, mse_loss, torch.ones(2, 3).double(), torch.ones(2, 3).double())


def test_convolutions_and_buffers_in_evaluation_mode():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(2, 3))
    model = model.to(torch.float64, memory_format=torch.channels_last).eval()
    potential = make(model=model)
    q = somewhere(potential)
    expected = reference(potential, q)
    for mine, theirs in zip(potential.value_and_grad(q), expected, strict=True):
        torch.testing.assert_close(mine, theirs)
    model.train()
    with pytest.raises(ArgumentError, match=r"BatchNorm2d '2' in training mode"):
        potential.value_and_grad(live(potential))
    model.eval()
    potential.value_and_grad(live(potential))


def assert_twin(twin, potential):
    assert twin.model is not potential.model
    assert twin.state_buffer.data_ptr() != potential.state_buffer.data_ptr()
    assert torch.equal(twin.initial_state(), potential.initial_state())
    assert torch.equal(live(twin), live(potential))
    assert twin.chunk_size == potential.chunk_size
    for p in twin.model.parameters():
        assert p.untyped_storage().data_ptr() == twin.state_buffer.untyped_storage().data_ptr()
    q = somewhere(potential)
    for mine, theirs in zip(twin.value_and_grad(q), potential.value_and_grad(q), strict=True):
        assert torch.equal(mine, theirs)
    kept = live(potential).clone()
    live(twin).zero_()
    assert torch.equal(live(potential), kept)


def test_copies_have_buffers_of_their_own():
    potential = make(weight_decay=0.1, chunk_size=5)
    live(potential).mul_(1.5)
    potential.value_and_grad(live(potential))
    assert_twin(copy.deepcopy(potential), potential)
    assert_twin(pickle.loads(pickle.dumps(potential)), potential)
    stream = io.BytesIO()
    torch.save(potential, stream)
    stream.seek(0)
    assert_twin(torch.load(stream, weights_only=False), potential)


def test_pickles_are_small():
    torch.manual_seed(0)
    potential = make(model=mlp((4, 200, 200, 200, 3)).double())
    bare = len(pickle.dumps(mlp((4, 200, 200, 200, 3)).double()))
    assert len(pickle.dumps(potential)) < 2.2 * bare  # the parameters, and those at construction


def value_elsewhere(potential, q):
    return float(potential.value(q))


def test_process_pools():
    potential = make()
    q = somewhere(potential)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = pool.submit(value_elsewhere, potential, q.numpy()).result()
    assert found == pytest.approx(float(potential.value(q)), rel=1e-14)


def test_positions_that_do_not_fit_are_refused():
    potential = make(torch.float32)
    n = potential.dim
    for act in (potential.value, potential.value_and_grad):
        with pytest.raises(ArgumentError, match=r"x0 is float64, the network float32: use V.initial_state\(\)"):
            act(torch.zeros(n, dtype=torch.float64))
        with pytest.raises(ArgumentError, match=rf"shape \(5, {n}\), not \({n},\): one network at a time"):
            act(torch.zeros(5, n))
        with pytest.raises(ArgumentError, match=rf"shape \({2 * n},\), not \({n},\)$"):
            act(potential.initial_state())
        with pytest.raises(ArgumentError, match="x0 is on meta, the network on cpu"):
            act(torch.zeros(n, device="meta"))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_tangents_are_refused_and_not_dropped():
    potential = make()
    with forward_ad.dual_level(), pytest.raises(ArgumentError, match="no forward-mode derivatives"):
        potential.value_and_grad(forward_ad.make_dual(somewhere(potential), torch.ones(potential.dim).double()))


def linear(*more):
    return nn.Sequential(nn.Linear(4, 3), *more).double()


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.MultiheadAttention(4, 1, dropout=0.1)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"model": linear(nn.Tanh(), nn.Dropout(0.5))}, ArgumentError,
         r"the loss is random \(Dropout '2' in training mode\), so no potential: call model.eval\(\)"),
        ({"model": linear(nn.Sequential(nn.AlphaDropout(0.5)))}, ArgumentError, r"AlphaDropout '1.0' in training mode"),
        ({"model": linear(nn.RReLU())}, ArgumentError, r"RReLU '1' in training mode"),
        ({"model": Attention().double()}, ArgumentError, r"MultiheadAttention 'inner' in training mode"),
        ({"model": nn.Sequential(nn.LSTM(4, 3, num_layers=2, dropout=0.2)).double()}, ArgumentError, r"LSTM '0'"),
        ({"model": linear(nn.BatchNorm1d(3))}, ArgumentError, r"has a memory \(BatchNorm1d '1' in training mode"),
        ({"model": nn.Sequential(nn.Linear(4, 3).double(), nn.Linear(3, 3))}, ArgumentError, "mix dtypes"),
        ({"model": linear().half()}, ArgumentError, r"float16: use model.float\(\)"),
        ({"model": nn.Sequential(nn.Linear(4, 3).double(), nn.Linear(3, 3, device="meta").double())}, ArgumentError,
         "several devices"),
        ({"model": linear().requires_grad_(False)}, ArgumentError, "no trainable parameters"),
        ({"model": nn.Sequential(nn.Tanh())}, ArgumentError, "no trainable parameters"),
        ({"model": nn.Sequential(nn.LazyLinear(3))}, ArgumentError, "has no shape yet"),
        ({"model": torch.tanh}, ArgumentTypeError, r"not a torch.nn.Module"),
        ({"inputs": torch.ones(5, 4).double()}, ArgumentError, r"inputs have shape \(5, 4\), targets \(23,\)"),
        ({"inputs": torch.ones(0, 4).double(), "targets": torch.ones(0).long()}, ArgumentError, "at least one"),
        ({"inputs": torch.ones(SAMPLES, 4)}, ArgumentError, r"inputs are float32, the network float64: use inputs.to"),
        ({"targets": torch.ones(SAMPLES, 3)}, ArgumentError, "targets are float32"),
        ({"inputs": np.ones((SAMPLES, 4))}, ArgumentTypeError, "torch.as_tensor"),
        ({"targets": [0] * SAMPLES}, ArgumentTypeError, "targets are of type list"),
        ({"inputs": torch.ones(SAMPLES, 4, device="meta").double()}, ArgumentError, "inputs are on meta"),
        ({"weight_decay": -0.1}, ArgumentError, "weight_decay = -0.1"),
        ({"weight_decay": float("nan")}, ArgumentError, "weight_decay = nan"),
        ({"chunk_size": 0}, ArgumentError, "chunk_size = 0"),
        ({"chunk_size": 2.5}, ArgumentError, "chunk_size = 2.5"),
        ({"chunk_size": True}, ArgumentError, "chunk_size = True"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning")
def test_what_is_no_potential_is_refused(change, kind, words):
    inputs, targets = data()
    given = {"model": linear(), "loss": cross_entropy, "inputs": inputs, "targets": targets} | change
    with pytest.raises(kind, match=words):
        NetworkLoss(**given)


def test_a_refused_module_is_left_alone():
    model = linear(nn.Dropout(0.5))
    pointer = model[0].weight.data_ptr()
    with pytest.raises(ArgumentError):
        make(model=model)
    assert model[0].weight.data_ptr() == pointer


def test_dropout_of_nothing_and_batch_statistics_without_memory_are_fixed_functions():
    for model in (linear(nn.Dropout(0.0)), linear(nn.BatchNorm1d(3, track_running_stats=False)), linear(nn.Dropout(0.5)).eval()):
        potential = make(model=model)
        assert potential.value(live(potential)) == potential.value(live(potential))


@pytest.mark.parametrize(
    ("loss", "kind", "words"),
    [
        (partial(cross_entropy, reduction="none"), ArgumentError, r"the loss returned shape \(23,\), not \(\)"),
        (lambda outputs, targets: cross_entropy(outputs, targets).item(), ArgumentTypeError, "returned a float"),
        (lambda outputs, targets: cross_entropy(outputs.detach(), targets), ArgumentError, "was detached"),
    ],
)
def test_losses_that_are_no_number_are_told(loss, kind, words):
    potential = make(loss=loss)
    for act in (potential.value, potential.value_and_grad):
        with pytest.raises(kind, match=words):
            act(live(potential))


def test_it_tells_what_it_is():
    assert repr(make()) == "NetworkLoss(Sequential, n = 43)"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator")
def test_on_an_accelerator():
    inputs, targets = data(torch.float32)
    potential = NetworkLoss(network(torch.float32).cuda(), cross_entropy, inputs.cuda(), targets.cuda(), weight_decay=0.1)
    q = somewhere(make(torch.float32))
    value, gradient = potential.value_and_grad(q.cuda())
    expected = make(torch.float32, weight_decay=0.1).value_and_grad(q)
    torch.testing.assert_close(value.cpu(), expected[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient.cpu(), expected[1], rtol=1e-4, atol=1e-6)
    assert potential.device.type == "cuda"
