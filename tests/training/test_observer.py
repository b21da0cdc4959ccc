"""The energies of an SGD: those of Strang's run to rounding, of second order, with every change of settings accounted for."""

from __future__ import annotations

import io
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import LOSS, blobs, flat, network, sgd, train

import phdyn
from phdyn import training
from phdyn.errors import ArgumentError, ArgumentTypeError
from phdyn.training import EnergyObserver, readings

COLUMNS = ("t", "kinetic", "potential", "hamiltonian", "dissipated", "supplied", "injected", "residual")


def observed(steps, *, batch=None, change=None, full=False, every=1, split=False, **options):
    """Train and observe; return the observer, the model and the optimizer."""
    model = network()
    optimizer = sgd(model, split=split, **options)
    closure = training.full_batch(model, LOSS, *blobs(), chunk_size=50) if full else None
    observer = EnergyObserver(optimizer, every=every, full_gradient=closure)
    train(model, optimizer, steps, observer, batch=batch, change=change)
    return observer, model, optimizer


def set_to(optimizer, **values):
    for group in optimizer.param_groups:
        group.update(values)


@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
@pytest.mark.parametrize("dampening", [0.0, 0.5])
@pytest.mark.parametrize("split", [False, True])
def test_energies_are_those_of_strangs_run(weight_decay, dampening, split):
    observer, _, _ = observed(100, weight_decay=weight_decay, dampening=dampening, split=split)
    step, friction = training.heavy_ball_from_sgd(lr=0.05, momentum=0.9, dampening=dampening)
    V = phdyn.NetworkLoss(network(), LOSS, *blobs(), weight_decay=weight_decay)
    x0 = V.initial_state()
    x0[V.dim :] = -(step / (1 - dampening) - step / 2) * V.value_and_grad(x0[: V.dim])[1]
    sol = phdyn.simulate(phdyn.HeavyBall(V, friction=friction), (0.0, 100 * step), x0, method="strang", step=step)
    for name in COLUMNS:
        np.testing.assert_allclose(getattr(observer.energy, name), getattr(sol.energy, name)[:100], rtol=0, atol=1e-13, err_msg=name)
    assert observer.energy_balance().verdict == "balanced"


@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_the_norms_of_an_accelerator_give_the_same(weight_decay, monkeypatch):
    """The path for other devices, run on the CPU's tensors."""
    change = {20: partial(set_to, lr=0.02, momentum=0.0), 30: partial(set_to, momentum=0.5)}
    options = {"batch": 16, "change": change, "full": True, "weight_decay": weight_decay, "every": 2}
    plain, _, _ = observed(60, **options)
    monkeypatch.setattr(readings, "_vectors", lambda tensors: None if tensors else [])
    observer, _, _ = observed(60, **options)
    for name in COLUMNS:
        np.testing.assert_allclose(getattr(observer.energy, name), getattr(plain.energy, name), rtol=0, atol=1e-12, err_msg=name)


def test_the_residual_is_of_second_order():
    """Steps of half the length: a quarter of the learning rate, the root of the momentum."""
    residuals = []
    for halvings in range(3):
        lr, momentum = 0.05 / 4**halvings, 0.9 ** (0.5**halvings)
        residuals.append(observed(60 * 2**halvings, lr=lr, momentum=momentum)[0].energy_balance().residual)
    np.testing.assert_allclose(np.log2(residuals[1] / residuals[2]), 2.0, atol=0.1)


def test_with_the_momentum_after_the_kick_it_would_be_of_first_order():
    """What most loops call the momentum is torch's buffer: half a kick off, so the kinetic energy is off by O(h)."""
    differences = []
    for halvings in range(3):
        lr, momentum = 0.05 / 4**halvings, 0.9 ** (0.5**halvings)
        observer, _, optimizer = observed(20 * 2**halvings, lr=lr, momentum=momentum)
        step, _ = training.heavy_ball_from_sgd(lr=lr, momentum=momentum)
        after_kick = step**2 / 2 * sum(float(state["momentum_buffer"].square().sum()) for state in optimizer.state.values())
        differences.append(after_kick - observer.energy.kinetic[-1])
    np.testing.assert_allclose(np.log2(differences[1] / differences[2]), 1.0, atol=0.15)


@pytest.mark.parametrize("batch", [None, 16])
def test_a_change_of_lr_injects_by_the_quotient(batch):
    observer, _, _ = observed(60, batch=batch, change={30: partial(set_to, lr=0.0125)})
    row = observer.switches[0]
    assert (row.step, row.event, row.lr, row.momentum) == (31, "lr", 0.0125, 0.9)
    assert float(row.target.removeprefix("friction ")) == pytest.approx(2 * float(row.source.removeprefix("friction ")), rel=0.01)
    assert row.kinetic == pytest.approx((row.kinetic - row.injected) / 4, rel=1e-12)
    assert len(observer.switches) == 1


def test_a_change_of_momentum_is_accounted_for():
    """The motion goes on as Strang's from the state with the new settings: the balance closes as well as without a change."""
    observer, _, _ = observed(200, change={30: partial(set_to, momentum=0.5), 60: partial(set_to, momentum=0.95, lr=0.02)})
    assert observer.energy_balance().residual < 1.5 * observed(200)[0].energy_balance().residual
    assert [row.event for row in observer.switches] == ["momentum", "lr, momentum"]
    assert all(abs(row.injected) > 1e-7 for row in observer.switches)


@pytest.mark.parametrize("changes", [{"dampening": 0.5}, {"weight_decay": 0.1}, {"dampening": 0.3, "lr": 0.02, "momentum": 0.7}])
def test_changes_of_other_settings_are_accounted_for(changes):
    observer, _, _ = observed(100, change={50: partial(set_to, **changes)})
    plain = observed(100)[0].energy_balance().residual
    assert len(observer.switches) == 1 and observer.switches[0].injected != 0
    assert np.abs(observer.energy.residual).max() < 2 * plain


@pytest.mark.parametrize(
    "values",
    [
        {"lr": 0.01},
        {"momentum": 0.5},
        {"momentum": 0.0},
        {"dampening": 0.0},
        {"dampening": 0.8, "lr": 0.1, "momentum": 0.95, "weight_decay": 0.1},
    ],
)
def test_what_a_change_injects_by_hand(values):
    """The momentum on the step before and after, from torch's buffers before the step; weight decay by |q|^2."""
    observer, model, optimizer = observed(40, dampening=0.4, weight_decay=0.02, batch=16)
    q = flat(model)
    optimizer.zero_grad()
    loss = LOSS(model(blobs()[0]), blobs()[1])
    loss.backward()
    raw = torch.cat([parameter.grad.reshape(-1) for parameter in model.parameters()])
    v = torch.cat([state["momentum_buffer"].reshape(-1) for state in optimizer.state.values()])

    gradient = raw + values.get("weight_decay", 0.02) * q

    def kinetic(lr, momentum, dampening, **_):
        if not momentum:
            return 0.0
        step, _ = training.heavy_ball_from_sgd(lr=lr, momentum=momentum, dampening=dampening)
        return float((step / (1 - dampening) * (momentum * v + (1 - dampening) / 2 * gradient)).square().sum()) / 2

    group = optimizer.param_groups[0]
    before, decay = kinetic(**group), group["weight_decay"]
    set_to(optimizer, **values)
    optimizer.step()
    observer.step(loss)
    expected = kinetic(**group) - before + (group["weight_decay"] - decay) * float(q.square().sum()) / 2
    assert observer.switches[0].injected == pytest.approx(expected, rel=1e-9)


def test_momentum_that_ends_and_comes_back():
    """Without momentum there is gradient descent; torch keeps the old buffer, and its energy comes back with the momentum."""
    observer, _, _ = observed(120, change={50: partial(set_to, momentum=0.0), 70: partial(set_to, momentum=0.9)})
    first, second = observer.switches
    assert first.kinetic == 0 and first.injected < 0 < second.injected
    assert np.all(observer.energy.kinetic[50:70] == 0)
    assert observer.energy_balance().verdict == "balanced"


def test_gradient_descent_is_the_gradient_flow():
    observer, _, _ = observed(100, momentum=0.0, lr=0.01)
    assert not observer.energy.kinetic.any() and observer.energy_balance().verdict == "balanced"
    np.testing.assert_allclose(observer.energy.t, 0.01 * np.arange(100), rtol=1e-12)


def test_weight_decay_of_gradient_descent_is_where_the_step_begins():
    model = network()
    optimizer = sgd(model, momentum=0.0, lr=0.5, weight_decay=0.3)
    observer, expected = EnergyObserver(optimizer), []
    for _ in range(5):
        q = flat(model)
        losses = train(model, optimizer, 1, observer)
        expected.append(losses[0] + 0.15 * float(q.square().sum()))
    np.testing.assert_allclose(observer.energy.potential, expected, rtol=1e-13)


def test_a_schedule_is_one_change():
    model = network()
    optimizer = sgd(model)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=80)
    observer = EnergyObserver(optimizer)
    for _ in range(60):
        train(model, optimizer, 1, observer)
        cosine.step()
    assert len(observer.switches) == 1 and observer.switches[0].event == "schedule"
    assert observer.switches[0].injected == pytest.approx(observer.energy.injected[-1], rel=1e-12)
    assert observer.energy_balance().verdict == "balanced"


def test_the_noise_of_batches_is_a_port():
    """With the work of u = grad V - grad V_batch the balance closes to second order and noise; without, it does not."""
    without = observed(300, batch=16)[0]
    observer = observed(300, batch=16, full=True)[0]
    assert observer.energy_balance().holds and observer.energy_balance().supplied != 0
    assert without.energy_balance().residual > 5 * observer.energy_balance().residual
    assert "full_gradient=" in without.energy_balance().reason
    smaller = observed(1200, batch=16, full=True, lr=0.05 / 16, momentum=0.9**0.25)[0]
    assert smaller.energy_balance().verdict == "balanced"
    assert smaller.energy_balance().residual < 0.5 * observer.energy_balance().residual


def test_sampled_noise_is_an_estimate_of_all():
    every = observed(400, batch=16, full=True)[0].energy_balance()
    sampled = observed(400, batch=16, full=True, every=4)[0].energy_balance()
    assert sampled.dissipated == pytest.approx(every.dissipated, rel=0.05)
    assert 0.3 < sampled.supplied / every.supplied < 3


@pytest.mark.parametrize("full", [False, True])
def test_on_all_data_there_is_no_noise(full):
    plain, observer = observed(50)[0], observed(50, full=full)[0]
    np.testing.assert_allclose(observer.energy.residual, plain.energy.residual, rtol=0, atol=1e-13)
    np.testing.assert_allclose(observer.energy.supplied, 0.0, atol=1e-14)


@settings(max_examples=15, deadline=None)
@given(batch=st.sampled_from([None, 8]), full=st.booleans(), every=st.sampled_from([1, 3]), decay=st.sampled_from([0.0, 0.01]))
def test_observing_changes_no_bit(batch, full, every, decay):
    """Dropout too: what the observer evaluates must not move the random numbers of the training."""

    def trained(observe: bool):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 3)).double()
        optimizer = sgd(model, weight_decay=decay)
        closure = (lambda: LOSS(model(blobs()[0]), blobs()[1])) if full else None  # in training mode: it draws a mask
        parts = [EnergyObserver(optimizer, every=every, full_gradient=closure)] if observe else []
        train(model, optimizer, 25, *parts, batch=batch)
        return flat(model), [state["momentum_buffer"] for state in optimizer.state.values()]

    (with_it, buffers), (without, others) = trained(True), trained(False)
    assert torch.equal(with_it, without)
    assert all(torch.equal(a, b) for a, b in zip(buffers, others, strict=True))


def test_rows_every_so_many_steps_have_all_the_work():
    one, ten = observed(101)[0], observed(101, every=10)[0]
    assert list(ten.table["step"]) == list(range(1, 102, 10))
    for name in COLUMNS:
        np.testing.assert_allclose(getattr(ten.energy, name), getattr(one.energy, name)[::10], rtol=0, atol=1e-13, err_msg=name)


def test_a_row_is_for_any_logger():
    observer, _, _ = observed(20)
    row = observer.row()
    step, friction = training.heavy_ball_from_sgd(lr=0.05, momentum=0.9)
    assert (row["step"], row["lr"], row["momentum"]) == (20, 0.05, 0.9) and row["friction"] == pytest.approx(friction, rel=1e-14)
    assert row["time"] == pytest.approx(19 * step, rel=1e-12)
    for name in COLUMNS[1:]:
        assert row[name] == pytest.approx(getattr(observer.energy, name)[-1], rel=1e-12, abs=1e-15)
    assert all(isinstance(value, (int, float)) for value in row.values())


def test_the_table_is_a_data_frame():
    observer, _, _ = observed(20)
    frame = pd.DataFrame(dict(observer.table))
    assert list(frame.columns) == ["step", "time", *COLUMNS[1:]] and len(frame) == 20
    assert (frame["hamiltonian"] == frame["kinetic"] + frame["potential"]).all()


def test_it_is_plotted_as_a_solution_is():
    observer, _, _ = observed(60, change={30: partial(set_to, momentum=0.5)})
    axes = phdyn.plot_energy(observer)
    lines = {line.get_label(): line for line in axes.get_lines()}
    np.testing.assert_array_equal(lines["H"].get_ydata(), observer.energy.hamiltonian)
    phdyn.plots.plot_residual({"SGD": observer})
    phdyn.plots.plot_loss({"SGD": observer}, x="steps")


def test_rows_are_thinned_and_steps_stay_with_them():
    observer, _, _ = observed(9000, lr=1e-3)
    table = observer.table
    assert len(table) <= 4097 and table["step"][-1] == 9000
    step, _ = training.heavy_ball_from_sgd(lr=1e-3, momentum=0.9)
    np.testing.assert_allclose(table["time"], (table["step"] - 1) * step, rtol=1e-10)


@pytest.mark.parametrize("at", [1, 25])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("every", [1, 3])
def test_a_resumed_observation_is_the_uninterrupted_one(at, full, every):
    def parts(model):
        optimizer = sgd(model)
        closure = training.full_batch(model, LOSS, *blobs()) if full else None
        return optimizer, EnergyObserver(optimizer, every=every, full_gradient=closure)

    model, again = network(), network(seed=5)
    (optimizer, observer), (other, copy) = parts(model), parts(again)
    change = {at: partial(set_to, momentum=0.5)}
    order = torch.Generator().manual_seed(1)
    train(model, optimizer, at, observer, batch=16, generator=order)
    file = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "observer": observer.state_dict(), "model": flat(model)}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    torch.nn.utils.vector_to_parameters(saved["model"], again.parameters())
    other.load_state_dict(saved["optimizer"])
    copy.load_state_dict(saved["observer"])
    second = torch.Generator()
    second.set_state(order.get_state())
    later = {0: change[at]}
    train(model, optimizer, 40, observer, batch=16, generator=order, change=later)
    train(again, other, 40, copy, batch=16, generator=second, change=later)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(copy.energy, name), getattr(observer.energy, name), err_msg=name)
    assert str(copy.energy_balance()) == str(observer.energy_balance()) and copy.row() == observer.row()
    assert str(copy.switches) == str(observer.switches)


def test_a_group_added_later_brings_the_energy_of_its_first_kick():
    model, more = network(), torch.nn.Linear(6, 3, bias=False).double()
    torch.nn.init.zeros_(more.weight)  # so that V does not jump
    optimizer = sgd(model)
    observer = EnergyObserver(optimizer)
    train(model, optimizer, 20, observer)
    optimizer.add_param_group({"params": more.parameters(), "lr": 0.01})
    x, y = blobs()
    for _ in range(60):
        optimizer.zero_grad()
        loss = LOSS(model(x) + more(x), y)
        loss.backward()
        optimizer.step()
        observer.step(loss)
    row = observer.switches[0]
    assert row.event == "new group" and row.injected > 0 and len(observer.energy.t) == 80
    assert observer.energy_balance().residual < 2 * observed(80)[0].energy_balance().residual


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_a_layer_that_is_frozen_for_a_while_takes_its_energy_and_brings_it_back(weight_decay):
    def trained(freeze: bool):
        model = network()
        optimizer = sgd(model, weight_decay=weight_decay)
        observer = EnergyObserver(optimizer)
        for k in range(3):
            for parameter in model[0].parameters():
                parameter.requires_grad_(not (freeze and k == 1))
            optimizer.zero_grad()
            train(model, optimizer, 30, observer)
        return observer

    frozen, plain = trained(True), trained(False)
    assert np.abs(frozen.energy.injected[[30, 60]]).min() > 1e-4 and len(frozen.switches) == 0
    assert frozen.energy_balance().residual < 4 * plain.energy_balance().residual  # half a kick of frozen parameters is not known


def test_a_branch_that_is_not_always_used():
    """Parameters without gradients in some steps, with the work of noise."""
    model, branch = network(), torch.nn.Linear(6, 3, bias=False).double()
    optimizer = torch.optim.SGD([*model.parameters(), *branch.parameters()], lr=0.05, momentum=0.9)
    x, y = blobs()
    observer = EnergyObserver(optimizer, full_gradient=lambda: LOSS(model(x) + branch(x), y))
    for k in range(20):
        optimizer.zero_grad(set_to_none=k % 5 != 3)
        loss = LOSS(model(x) + branch(x) if k % 3 else model(x), y)
        loss.backward()
        optimizer.step()
        observer.step(loss)
    assert np.isfinite(observer.energy.residual).all() and len(observer.energy.t) == 20


def test_a_closure_may_call_backward_itself():
    """The usual closure of an optimizer: the training's own gradients are laid aside."""

    def trained(kind: str):
        model = network()
        optimizer = sgd(model)

        def closure():
            if kind == "graph":
                return LOSS(model(blobs()[0]), blobs()[1])
            optimizer.zero_grad()
            loss = LOSS(model(blobs()[0]), blobs()[1])
            loss.backward(retain_graph=kind == "retained")
            return loss

        observer = EnergyObserver(optimizer, full_gradient=closure)
        train(model, optimizer, 30, observer, batch=16)
        return flat(model), observer.energy.supplied

    weights, supplied = trained("graph")
    for kind in ("backward", "retained"):
        others, work = trained(kind)
        assert torch.equal(weights, others)
        np.testing.assert_allclose(work, supplied, rtol=0, atol=1e-14)


@pytest.mark.parametrize("answer", [1.0, None, torch.ones(3, requires_grad=True), torch.tensor(1.0)])
def test_a_closure_that_returns_no_loss_is_refused(answer):
    model = network()
    optimizer = sgd(model)
    EnergyObserver(optimizer, full_gradient=lambda: answer)
    with pytest.raises(ArgumentTypeError, match="full_gradient is a function that returns the loss"):
        train(model, optimizer, 1)


def test_a_training_that_runs_away_is_no_balance():
    observer, _, _ = observed(60, change={30: partial(set_to, lr=1e6)})
    assert observer.energy_balance().verdict != "balanced"
    model = network()
    optimizer = sgd(model)
    observer = EnergyObserver(optimizer)
    train(model, optimizer, 10, observer)
    for _ in range(5):
        train(model, optimizer, 1)
        observer.step(float("nan"))
    balance = observer.energy_balance()
    assert balance.verdict == "violated" and "not finite at step 11" in balance.reason
    assert len(observer.energy.t) == 10 and np.isfinite(observer.energy.residual).all()


def test_without_a_learning_rate_nothing_moves():
    """A warm-up from 0."""
    model = network()
    optimizer = sgd(model)
    warm = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, max(0, step - 2) / 10))
    observer = EnergyObserver(optimizer)
    for _ in range(60):
        train(model, optimizer, 1, observer)
        warm.step()
    assert observer.energy.t[2] == 0 and not observer.energy.kinetic[:3].any()
    assert observer.energy_balance().verdict == "balanced"
    assert list(observer.table["step"]) == list(range(1, 61))


def test_a_change_beside_a_schedule_is_a_change_of_its_own():
    model = network()
    optimizer = sgd(model)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=80)
    observer = EnergyObserver(optimizer)
    for k in range(60):
        if k == 20:
            optimizer.param_groups[0]["momentum"] = 0.5
        train(model, optimizer, 1, observer)
        cosine.step()
    assert [row.event for row in observer.switches] == ["schedule", "lr, momentum", "schedule"]
    assert sum(observer.switches["injected"]) == pytest.approx(observer.energy.injected[-1], rel=1e-12)


def test_noise_is_scaled_with_dampening_and_without_momentum():
    """The balance closes at small steps, whatever the settings; without the work of noise it does not."""
    for options in ({"dampening": 0.5, "lr": 0.01}, {"momentum": 0.0, "lr": 0.002}, {"momentum": 0.0, "lr": 0.002, "weight_decay": 0.1}):
        balance = observed(600, batch=16, full=True, **options)[0].energy_balance()
        assert balance.residual < 0.1 * abs(balance.supplied), options


def test_sampled_noise_is_said_to_be_sampled():
    balance = observed(200, batch=4, full=True, every=10)[0].energy_balance()
    assert balance.verdict == "balanced" or "one step in 10 is known" in balance.reason


def test_observing_leaves_the_state_of_the_optimizer():
    model = network()
    optimizer = sgd(model, momentum=0.0)
    observer = EnergyObserver(optimizer)
    train(model, optimizer, 3, observer)
    twin = network()
    plain = sgd(twin, momentum=0.0)
    train(twin, plain, 3)
    assert len(optimizer.state) == len(plain.state) and optimizer.state_dict()["state"].keys() == plain.state_dict()["state"].keys()
    observer.remove()
    train(model, optimizer, 3)
    assert observer.count == 3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_other_dtypes_are_observed_and_drawn(dtype):
    model = network(dtype=dtype)
    optimizer = sgd(model)
    observer = EnergyObserver(optimizer)
    train(model, optimizer, 30, observer)
    double = observed(30)[0]
    tolerance = 0.1 if dtype is torch.bfloat16 else 1e-5
    np.testing.assert_allclose(observer.energy.kinetic, double.energy.kinetic, rtol=0, atol=tolerance)
    phdyn.plots.plot_residual({"SGD": observer})


def test_graphs_of_gradients_do_not_matter_and_sparse_or_complex_is_refused():
    model = network()
    optimizer = sgd(model)
    observer = EnergyObserver(optimizer)
    loss = LOSS(model(blobs()[0]), blobs()[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about the cycle that this makes
        loss.backward(create_graph=True)
    optimizer.step()
    observer.step(loss)
    assert len(observer.energy.t) == 1
    with pytest.raises(ArgumentTypeError, match="complex"):
        EnergyObserver(torch.optim.SGD([torch.zeros(2, dtype=torch.complex128, requires_grad=True)], lr=0.1, momentum=0.9))
    table = torch.nn.Embedding(4, 2, sparse=True)
    optimizer = torch.optim.SGD(table.parameters(), lr=0.1, momentum=0.9)
    EnergyObserver(optimizer)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(ArgumentTypeError, match="sparse"):
        optimizer.step()


def test_a_group_that_is_no_ball_is_refused_when_it_comes():
    model, more = network(), torch.nn.Linear(2, 2).double()
    optimizer = sgd(model)
    EnergyObserver(optimizer)
    train(model, optimizer, 1)
    optimizer.add_param_group({"params": more.parameters(), "nesterov": True})
    with pytest.raises(ArgumentError, match="param group 1 has Nesterov"):
        train(model, optimizer, 1)


def test_a_state_of_more_groups_is_refused():
    one, state = EnergyObserver(sgd(network())), observed(3, split=True)[0].state_dict()
    with pytest.raises(ArgumentError, match="state of an observer of 1 param group"):
        one.load_state_dict(state)
    with pytest.raises(ArgumentError, match="not the state of an observer"):
        one.load_state_dict({})


def test_parameters_without_gradients_are_at_rest():
    model = network()
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    optimizer = sgd(model)
    observer = EnergyObserver(optimizer, full_gradient=training.full_batch(model, LOSS, *blobs()))
    train(model, optimizer, 50, observer)
    assert observer.energy_balance().verdict == "balanced"


def test_losses_may_be_numbers_and_steps_may_lack_them():
    model = network()
    optimizer = sgd(model)
    observer = EnergyObserver(optimizer)
    losses = train(model, optimizer, 1)
    observer.step(losses[0])
    train(model, optimizer, 10)  # ten steps that nobody reports
    losses = train(model, optimizer, 1)
    observer.step(losses[-1])
    whole = observed(12)[0]
    np.testing.assert_allclose(observer.energy.residual, whole.energy.residual[[0, 11]], rtol=0, atol=1e-14)
    assert list(observer.table["step"]) == [1, 12]


def test_before_the_first_step_there_is_nothing():
    observer = EnergyObserver(sgd(network()))
    with pytest.raises(ArgumentError, match="seen no step yet"):
        _ = observer.energy
    assert len(observer.switches) == 0
    observer.step(1.0)  # no optimizer step: of nothing
    assert observer.row() == {}
    fresh = EnergyObserver(sgd(network()))
    fresh.load_state_dict(observer.state_dict())
    assert fresh.row() == {} and fresh.count == 0


def test_what_is_no_ball_is_refused():
    model = network()
    with pytest.raises(ArgumentTypeError, match=r"needs a torch\.optim\.SGD, not AdamW"):
        EnergyObserver(torch.optim.AdamW(model.parameters()))
    with pytest.raises(ArgumentError, match="look-ahead"):
        EnergyObserver(sgd(model, nesterov=True))
    with pytest.raises(ArgumentError, match="maximize"):
        EnergyObserver(sgd(model, maximize=True))
    with pytest.raises(ArgumentError, match="every is 0"):
        EnergyObserver(sgd(model), every=0)
    with pytest.raises(ArgumentTypeError, match="full_gradient is 3"):
        EnergyObserver(sgd(model), full_gradient=3)
