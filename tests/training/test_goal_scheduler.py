"""The friction switch in a training loop: when it fires, what it sets, what keeps it in force, what it saves."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loops import LOSS, blobs, flat, network, sgd, train

import phdyn
from phdyn import training
from phdyn.errors import ArgumentError, ArgumentTypeError, OverruledWarning
from phdyn.events import Guard, Stagnation, TimeReached
from phdyn.training import Ema, EpochMean, FullLoss, GoalScheduler, LastBatch

HALF = phdyn.LossGoal(reduction=0.5)


def scheduler(goal=HALF, exploit=None, *, settings=None, **options):
    """A scheduler on an SGD of one parameter: losses are given by hand."""
    optimizer = sgd(torch.nn.Linear(1, 1), **(settings or {}))
    return GoalScheduler(optimizer, goal, exploit or {"momentum": 0.5}, **options), optimizer


def feed(part, losses):
    """Give losses; return the modes after each."""
    modes = []
    for loss in losses:
        part.step(loss)
        modes.append(part.mode)
    return modes


# When it fires


def test_it_fires_at_the_first_step_at_the_goal_and_acts_from_the_next_on():
    part, optimizer = scheduler(estimate=LastBatch())
    assert feed(part, [2.0, 1.01, 1.0, 3.0]) == ["explore", "explore", "exploit", "exploit"]
    row = part.switches[0]
    assert (row.step, row.source, row.target, row.event, row.loss, row.lag) == (3, "explore", "exploit", "LossGoal(reduction=0.5)", 1.0, 0)
    assert optimizer.param_groups[0]["momentum"] == 0.5


@given(st.lists(st.floats(0.01, 10.0), min_size=1, max_size=60), st.floats(0.0, 0.99))
def test_the_average_is_the_weighted_mean_of_all_losses(losses, decay):
    weights = decay ** np.arange(len(losses))[::-1]
    memory = []
    for step, loss in enumerate(losses, start=1):
        value = Ema(decay).update(memory, step, loss)
    np.testing.assert_allclose(value, weights @ losses / weights.sum(), rtol=1e-12)


def test_an_average_without_correction_would_fire_early():
    """A constant loss: corrected, the average is that constant from the first step on."""
    part, _ = scheduler(goal=phdyn.LossGoal(value=1.0), estimate=Ema(0.98))
    feed(part, [2.0] * 200)
    assert part.mode == "explore" and part.estimate_now == pytest.approx(2.0, rel=1e-12)


def test_the_lag_is_counted_from_the_first_batch_at_the_goal():
    part, _ = scheduler(estimate=Ema(0.9))
    feed(part, [2.0] * 5 + [0.9] * 40)
    row = part.switches[0]
    assert row.lag == row.step - 6 > 0 and row.loss <= 1.0
    average, first = [], None
    memory = []
    for step, loss in enumerate([2.0] * 5 + [0.9] * 40, start=1):
        average.append(Ema(0.9).update(memory, step, loss))
        first = first or (step if average[-1] <= 1.0 else None)
    assert row.step == first


def test_epoch_means_fire_at_the_ends_of_epochs():
    part, _ = scheduler(estimate=EpochMean(4))
    modes = feed(part, [2.0] * 4 + [1.5, 0.4, 0.4, 0.4] + [1.0] * 4)
    assert part.reference == 2.0 and modes.index("exploit") == 7  # the mean of the second epoch is 0.675


def test_the_full_loss_is_asked_for_every_so_many_steps():
    asked = []

    def closure():
        asked.append(part.count)
        return 10.0 / len(asked)

    part, _ = scheduler(estimate=FullLoss(closure, every=5))
    feed(part, [99.0] * 12)
    assert asked == [1, 6, 11] and part.switches[0].step == 6


def test_the_full_loss_in_parts_is_that_in_one():
    model = network()
    x, y = blobs()
    with torch.no_grad():
        whole = float(LOSS(model(x), y))
    assert FullLoss(training.full_batch(model, LOSS, x, y, chunk_size=50), 1).value() == pytest.approx(whole, rel=1e-14)


def test_full_batch_puts_the_model_into_evaluation_mode_and_back():
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(), torch.nn.Linear(8, 3)).double()
    model[2].eval()
    before = model[1].running_mean.clone()
    closure = training.full_batch(model, LOSS, *blobs(), chunk_size=50)
    values = [sum(float(part.detach()) for part in closure()) for _ in range(2)]
    assert values[0] == values[1] and torch.equal(model[1].running_mean, before)
    assert [module.training for module in model] == [True, True, False, True]


def test_a_reference_can_be_given():
    part, _ = scheduler(estimate=LastBatch(), reference=4.0)
    assert feed(part, [2.5, 2.0])[-1] == "exploit"


def test_losses_that_are_not_finite_are_left_out():
    part, _ = scheduler(estimate=LastBatch())
    with pytest.warns(OverruledWarning, match="the loss is nan at step 2"):
        feed(part, [2.0, float("nan"), float("inf"), 0.9])
    assert part.switches[0].step == 4


def test_a_goal_that_is_met_at_the_start_is_an_error():
    part, _ = scheduler(goal=phdyn.LossGoal(value=3.0))
    with pytest.raises(ArgumentError, match="met at the start"):
        part.step(2.0)


def test_without_a_switch_the_table_says_how_close_it_came():
    part, _ = scheduler(estimate=LastBatch())
    feed(part, [2.0, 1.2, 1.5])
    assert str(part.switches) == "no switch: LossGoal(reduction=0.5) not reached; closest was loss 1.2000 at step 2, goal 1.0000"


@pytest.mark.parametrize("every", [1, 3, 7])
def test_losses_are_read_once_in_every_steps(every):
    losses = [2.0 * 0.9**k for k in range(40)]
    ahead, _ = scheduler(estimate=LastBatch())
    part, _ = scheduler(estimate=LastBatch(), every=every)
    feed(ahead, losses)
    feed(part, [torch.tensor(loss, dtype=torch.float64) for loss in losses])
    late = part.switches[0].step - ahead.switches[0].step
    assert 0 <= late < every and part.switches[0].step % every == 0 and part.switches[0].lag == late
    assert part.switches[0].loss == ahead.switches[0].loss


# Modes


def test_a_ladder_goes_down_goal_by_goal_and_a_goal_met_on_entry_fires_at_once():
    goals = tuple(phdyn.LossGoal(reduction=share) for share in (0.5, 0.6, 0.9))
    part, optimizer = scheduler(goals, ({"momentum": 0.8}, {"momentum": 0.5}, {"momentum": 0.2}), estimate=LastBatch())
    assert feed(part, [1.0, 0.45, 0.5, 0.41, 0.05])[1:] == ["exploit-1", "exploit-1", "exploit-1", "exploit-3"]
    assert list(part.switches["step"]) == [2, 5, 5] and optimizer.param_groups[0]["momentum"] == 0.2


def test_a_time_out_switches_where_the_goal_is_not_reached():
    part, _ = scheduler(fallback=TimeReached(4))
    assert feed(part, [2.0] * 6).index("exploit") == 3
    assert part.switches[0].event == "TimeReached(4)" and math.isnan(part.switches[0].lag)


def test_a_time_alone_is_a_goal_too():
    part, _ = scheduler(goal=TimeReached(3))
    assert feed(part, [2.0] * 6).index("exploit") == 2


def test_stagnation_leads_back_to_explore_and_rebases_the_goal():
    part, _ = scheduler(estimate=LastBatch(), reexplore=Stagnation(3, 0.01))
    modes = feed(part, [2.0, 1.0, 0.9, 0.9, 0.9, 0.9, 0.5, 0.45, 0.4])
    assert modes == ["explore", "exploit", "exploit", "exploit", "exploit", "explore", "explore", "exploit", "exploit"]
    assert part.reference == 0.9 and list(part.switches["target"]) == ["exploit", "explore", "exploit"]


def test_explore_is_what_the_optimizer_had():
    part, optimizer = scheduler(exploit={"momentum": 0.5, "weight_decay": 0.1}, estimate=LastBatch(), reexplore=TimeReached(2))
    group = optimizer.param_groups[0]
    feed(part, [2.0, 1.0])
    assert (group["momentum"], group["weight_decay"]) == (0.5, 0.1)
    feed(part, [1.0, 1.0])
    assert part.mode == "explore" and (group["momentum"], group["weight_decay"]) == (0.9, 0)


def test_one_event_may_be_time_out_and_way_back():
    event = TimeReached(2)
    part, _ = scheduler(fallback=event, reexplore=event)
    assert feed(part, [2.0] * 6) == ["explore", "exploit", "exploit", "explore", "explore", "exploit"]


def test_a_guard_sees_steps_and_the_estimate():
    part, _ = scheduler(goal=Guard(lambda point: point.potential - 0.3 * point.t, name="line"), estimate=LastBatch())
    assert feed(part, [2.0] * 9).index("exploit") == 6


def test_times_fire_whatever_the_loss_and_wherever_they_came():
    assert feed(scheduler(goal=TimeReached(1))[0], [2.0]) == ["exploit"]
    part, _ = scheduler(goal=TimeReached(3), estimate=EpochMean(100))
    assert feed(part, [2.0] * 3)[-1] == "exploit"  # no estimate yet
    part, _ = scheduler(goal=TimeReached(3))
    with pytest.warns(OverruledWarning, match="the loss is nan"):
        assert feed(part, [float("nan")] * 3)[-1] == "exploit"
    part, _ = scheduler((HALF, TimeReached(4)), ({"momentum": 0.5}, {"momentum": 0.2}), estimate=LastBatch())
    assert feed(part, [2.0] * 5 + [0.9] * 5) == ["explore"] * 5 + ["exploit-1"] * 4 + ["exploit-2"]  # since exploit-1 was entered


def test_time_outs_count_from_the_entry_of_a_mode():
    goals = tuple(phdyn.LossGoal(reduction=share) for share in (0.5, 0.6, 0.9))
    part, _ = scheduler(
        goals, ({"momentum": 0.8}, {"momentum": 0.5}, {"momentum": 0.2}), fallback=TimeReached(10), reexplore=TimeReached(15)
    )
    feed(part, [2.0] * 60)
    assert list(part.switches["step"]) == [10, 20, 30, 45, 55]
    assert list(part.switches["target"]) == ["exploit-1", "exploit-2", "exploit-3", "explore", "exploit-1"]


def test_there_is_no_way_back_from_an_estimate_without_a_reduction():
    part, optimizer = scheduler(estimate=LastBatch(), reexplore=Stagnation(3, 0.01))
    with pytest.warns(OverruledWarning, match="no way back to explore"):
        feed(part, [2.0, -1.0, -1.0, -1.0, -1.0, -1.0])
    assert part.mode == "exploit" and optimizer.param_groups[0]["momentum"] == 0.5


def test_epochs_stay_in_step_where_a_loss_is_left_out():
    part, _ = scheduler(estimate=EpochMean(4))
    with pytest.warns(OverruledWarning, match="the loss is nan"):
        modes = feed(part, [2.0, float("nan"), 2.0, 2.0] + [0.4] * 4)
    assert part.reference == 2.0 and modes.index("exploit") == 7


def test_the_full_loss_is_asked_for_once_a_reading_and_moves_no_random_number():
    asked = []

    def closure():
        asked.append((part.count, torch.is_grad_enabled(), float(torch.rand(()))))
        return np.float32(1.0)

    part, _ = scheduler(estimate=FullLoss(closure, every=5), every=20)
    torch.manual_seed(0)
    feed(part, [2.0] * 40)
    assert [count for count, _, _ in asked] == [20, 40] and not any(grad for _, grad, _ in asked)
    drawn = torch.rand(())
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(()))


# What it sets


def test_friction_keeps_the_physical_step_and_strangs_path():
    """SGD goes on as Strang's method whose friction is switched where the step ends; kinetic energy does not jump."""
    model = network()
    optimizer = sgd(model)
    part = GoalScheduler(optimizer, TimeReached(40), {"friction": 3.0})
    observer = training.EnergyObserver(optimizer)
    train(model, optimizer, 100, part, observer)
    V = phdyn.NetworkLoss(network(), LOSS, *blobs())
    step, friction = training.heavy_ball_from_sgd(lr=0.05, momentum=0.9)
    x0 = V.initial_state()
    x0[V.dim :] = -step / 2 * V.value_and_grad(x0[: V.dim])[1]
    law = phdyn.SwitchedFriction(explore=friction, exploit=3.0, goal=TimeReached(40 * step))
    sol = phdyn.simulate(phdyn.HeavyBall(V, friction=law), (0.0, 100 * step), x0, method="strang", step=step)
    expected = sol.q[:, -1]
    np.testing.assert_allclose(flat(model).numpy(), expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    group = optimizer.param_groups[0]
    now = training.heavy_ball_from_sgd(lr=group["lr"], momentum=group["momentum"])
    np.testing.assert_allclose(now, (step, 3.0), rtol=1e-13)
    assert abs(observer.switches[0].injected) < 1e-15


def test_friction_and_back_is_as_if_nothing_had_been():
    """Two goals met at the same step, there and back: buffers and settings are those of a training without a switch."""
    model, twin = network(), network()
    optimizer, plain = sgd(model), sgd(twin)
    part = GoalScheduler(optimizer, TimeReached(9), {"friction": 3.0}, reexplore=TimeReached(0))
    train(model, optimizer, 9, part)
    train(twin, plain, 9)
    assert list(part.switches["target"]) == ["exploit", "explore"] and list(part.switches["step"]) == [9, 9]
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(optimizer.state[a]["momentum_buffer"], plain.state[b]["momentum_buffer"], rtol=1e-15, atol=0)
    assert optimizer.param_groups[0]["lr"] == 0.05 and optimizer.param_groups[0]["momentum"] == 0.9


def test_each_group_gets_its_own():
    optimizer = sgd(network(), split=True)
    part = GoalScheduler(optimizer, HALF, [{"momentum": 0.5}, {"lr": 0.01, "momentum": 0.0}], estimate=LastBatch())
    feed(part, [2.0, 1.0])
    assert [(group["lr"], group["momentum"]) for group in optimizer.param_groups] == [(0.05, 0.5), (0.01, 0.0)]


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam])
def test_adams_momentum_is_its_first_decay_rate(kind):
    model = network()
    optimizer = kind(model.parameters(), lr=0.01)
    part = GoalScheduler(optimizer, TimeReached(3), {"momentum": 0.5})
    train(model, optimizer, 5, part)
    assert optimizer.param_groups[0]["betas"] == (0.5, 0.999)


def test_settings_that_are_tensors_keep_their_place():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=torch.tensor(0.05), momentum=0.9)
    rate = optimizer.param_groups[0]["lr"]
    part = GoalScheduler(optimizer, TimeReached(3), {"lr": 0.01})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(model, optimizer, 5, part)
    assert optimizer.param_groups[0]["lr"] is rate and rate.item() == pytest.approx(0.01)


def test_groups_added_later_are_taken_in():
    model, more = network(), torch.nn.Linear(2, 2).double()
    optimizer = sgd(model)
    part = GoalScheduler(optimizer, TimeReached(3), {"momentum": 0.5}, reexplore=TimeReached(5))
    train(model, optimizer, 4, part)
    optimizer.add_param_group({"params": more.parameters()})
    train(model, optimizer, 1, part)
    assert [group["momentum"] for group in optimizer.param_groups] == [0.5, 0.5]
    train(model, optimizer, 4, part)
    assert part.mode == "explore" and [group["momentum"] for group in optimizer.param_groups] == [0.9, 0.9]


def test_a_group_added_before_the_switch_switches_with_the_others():
    model, more = network(), torch.nn.Linear(2, 2).double()
    optimizer = sgd(model)
    part = GoalScheduler(optimizer, TimeReached(3), {"momentum": 0.5})
    optimizer.add_param_group({"params": more.parameters(), "momentum": 0.8})
    train(model, optimizer, 4, part)
    assert [group["momentum"] for group in optimizer.param_groups] == [0.5, 0.5]


def test_a_group_without_an_entry_is_reported():
    model, more = network(), torch.nn.Linear(2, 2).double()
    optimizer = sgd(model)
    part = GoalScheduler(optimizer, TimeReached(3), [{"momentum": 0.5}])
    train(model, optimizer, 4, part)
    optimizer.add_param_group({"params": more.parameters()})
    with pytest.warns(OverruledWarning, match="no entry for param group 1"):
        train(model, optimizer, 2, part)


def test_a_list_and_a_group_added_before_the_switch():
    model, more = network(), torch.nn.Linear(2, 2).double()
    optimizer = sgd(model)
    part = GoalScheduler(optimizer, TimeReached(3), [{"momentum": 0.5}])
    optimizer.add_param_group({"params": more.parameters()})
    with pytest.warns(OverruledWarning, match="no entry for param group 1"):
        train(model, optimizer, 4, part)
    assert [group["momentum"] for group in optimizer.param_groups] == [0.5, 0.9]


def test_a_group_that_is_no_ball_keeps_its_settings_when_friction_is_switched():
    model, more = network(), torch.nn.Linear(2, 2).double()
    optimizer = sgd(model)
    part = GoalScheduler(optimizer, TimeReached(3), {"friction": 3.0})
    optimizer.add_param_group({"params": more.parameters(), "momentum": 0.0})
    with pytest.warns(OverruledWarning, match="param group 1 has no momentum"):
        train(model, optimizer, 4, part)
    assert optimizer.param_groups[1]["lr"] == 0.05 and optimizer.param_groups[0]["momentum"] < 0.9


@pytest.mark.parametrize("dampening", [0.0, 0.5])
def test_friction_is_what_was_asked_for_with_dampening_too(dampening):
    optimizer = sgd(network(), dampening=dampening)
    before = training.heavy_ball_from_sgd(lr=0.05, momentum=0.9, dampening=dampening)[0]
    part = GoalScheduler(optimizer, TimeReached(1), {"friction": 3.0})
    part.step(1.0)
    group = optimizer.param_groups[0]
    after = training.heavy_ball_from_sgd(lr=group["lr"], momentum=group["momentum"], dampening=dampening)
    np.testing.assert_allclose(after, (before, 3.0), rtol=1e-13)


def test_a_tensor_that_groups_share_is_given_to_each():
    model = network()
    parameters, rate = list(model.parameters()), torch.tensor(0.05, dtype=torch.float64)
    groups = [{"params": parameters[:2]}, {"params": parameters[2:], "momentum": 0.8}]
    optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9)
    part = GoalScheduler(optimizer, TimeReached(1), {"friction": 3.0})
    part.step(1.0)
    for group, momentum in zip(optimizer.param_groups, (0.9, 0.8), strict=True):
        step = training.heavy_ball_from_sgd(lr=0.05, momentum=momentum)[0]
        now = training.heavy_ball_from_sgd(lr=float(group["lr"]), momentum=group["momentum"])
        np.testing.assert_allclose(now, (step, 3.0), rtol=1e-12)


def test_betas_that_are_tensors_are_written():
    optimizer = torch.optim.AdamW(
        network().parameters(), lr=1e-3, betas=(torch.tensor(0.9), torch.tensor(0.999)), capturable=False, foreach=False
    )
    part = GoalScheduler(optimizer, TimeReached(1), {"momentum": 0.5})
    part.step(1.0)
    assert optimizer.param_groups[0]["betas"][0].item() == 0.5


def test_a_ladder_returns_to_what_was_before_its_first_rung():
    goals = (HALF, phdyn.LossGoal(reduction=0.8))
    part, optimizer = scheduler(goals, ({"momentum": 0.8}, {"momentum": 0.2}), estimate=LastBatch(), reexplore=TimeReached(3))
    feed(part, [2.0, 0.9, 0.3] + [0.3] * 3)
    assert part.mode == "explore" and optimizer.param_groups[0]["momentum"] == 0.9


def test_removed_it_lets_go():
    model = network()
    optimizer = sgd(model)
    part = GoalScheduler(optimizer, TimeReached(1), {"momentum": 0.5})
    part.step(1.0)
    part.remove()
    optimizer.param_groups[0]["momentum"] = 0.95
    train(model, optimizer, 1)
    assert optimizer.param_groups[0]["momentum"] == 0.95


# Beside other schedulers


@pytest.mark.parametrize(
    "other",
    [
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=50),
        lambda optimizer: torch.optim.lr_scheduler.CyclicLR(optimizer, base_lr=0.01, max_lr=0.1, step_size_up=5),
    ],
)
@pytest.mark.parametrize("before", [False, True])
def test_a_switch_of_momentum_stays_in_force_beside_schedulers_that_write_it(other, before):
    model = network()
    optimizer = sgd(model)
    cycle = other(optimizer)
    part = GoalScheduler(optimizer, TimeReached(10), {"momentum": 0.5})
    used = []
    optimizer.register_step_post_hook(lambda optimizer, args, kwargs: used.append(optimizer.param_groups[0]["momentum"]))
    for _ in range(30):
        train(model, optimizer, 1, *([part] if before else []))
        cycle.step()
        if not before:
            part.step(1.0)
    assert 0.5 not in used[:10] and set(used[10:]) == {0.5}


def test_a_learning_rate_that_is_written_over_is_reported_once():
    model = network()
    optimizer = sgd(model)
    cosine = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=50, cycle_momentum=False)
    part = GoalScheduler(optimizer, TimeReached(3), {"lr": 0.001})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(8):
            train(model, optimizer, 1, part)
            cosine.step()
    told = [str(warning.message) for warning in caught if warning.category is OverruledWarning]
    assert len(told) == 1 and "set lr = 0.001 in param group 0; by step 4 something else" in told[0]


@pytest.mark.parametrize("before", [False, True])
def test_friction_there_and_back_beside_a_cycle_of_the_momentum(before):
    """The cycle writes the momentum before or after the switch looks; buffers are rescaled from what the last step used."""
    model = network()
    optimizer = sgd(model)
    cycle = torch.optim.lr_scheduler.CyclicLR(optimizer, base_lr=0.05, max_lr=0.05, step_size_up=5, base_momentum=0.7, max_momentum=0.9)
    part = GoalScheduler(optimizer, TimeReached(8), {"friction": 3.0}, reexplore=TimeReached(0))
    for _ in range(8):
        train(model, optimizer, 1)
        if before:
            cycle.step()
        left = [part.switch.used[0] * state["momentum_buffer"] for state in optimizer.state.values()]
        part.step(1.0)
        found = [optimizer.param_groups[0]["momentum"] * state["momentum_buffer"] for state in optimizer.state.values()]
        if not before:
            cycle.step()
    assert len(part.switches) == 2
    for one, other in zip(left, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)  # no impulse: the next step finds what the last one left


def test_a_learning_rate_that_a_schedule_moved_comes_back_moved():
    """An exponential decay goes on over friction and back as without them."""
    model = network()
    optimizer = sgd(model)
    decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.98)
    part = GoalScheduler(optimizer, TimeReached(5), {"friction": 3.0}, reexplore=TimeReached(5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OverruledWarning)
        for _ in range(12):
            train(model, optimizer, 1, part)
            decay.step()
    assert part.mode == "explore" and optimizer.param_groups[0]["lr"] == pytest.approx(0.05 * 0.98**12, rel=1e-12)


def test_a_schedule_over_friction_is_told_what_it_does():
    model = network()
    optimizer = sgd(model)
    constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    part = GoalScheduler(optimizer, TimeReached(3), {"friction": 3.0})
    train(model, optimizer, 3, part)
    constant.step()
    with pytest.warns(OverruledWarning, match="its step and friction are no longer those of the switch"):
        train(model, optimizer, 1, part)


# Going on


@pytest.mark.parametrize("exploit", [{"momentum": 0.5}, {"friction": 3.0}])
@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("at", [6, 18, 30])
def test_a_resumed_training_is_the_uninterrupted_one(exploit, every, at):
    def parts(model):
        optimizer = sgd(model, lr=0.2)
        goals = phdyn.LossGoal(reduction=0.15), phdyn.LossGoal(reduction=0.25)
        return optimizer, GoalScheduler(optimizer, goals, (exploit, {"weight_decay": 0.01}), every=every, reexplore=Stagnation(12, 0.2))

    model = network()
    optimizer, part = parts(model)
    generator = torch.Generator().manual_seed(1)
    train(model, optimizer, at, part, batch=16, generator=generator)
    saved = {"model": flat(model), "optimizer": optimizer.state_dict(), "part": part.state_dict()}
    saved = torch.load(_stored(saved), weights_only=True)
    again = network(seed=5)
    torch.nn.utils.vector_to_parameters(saved["model"], again.parameters())
    other, copy = parts(again)
    copy.load_state_dict(saved["part"])
    other.load_state_dict(saved["optimizer"])
    order = torch.Generator()
    order.set_state(generator.get_state())
    train(model, optimizer, 60 - at, part, batch=16, generator=generator)
    train(again, other, 60 - at, copy, batch=16, generator=order)
    assert torch.equal(flat(model), flat(again)) and len(part.switches) >= 2
    assert str(part.switches) == str(copy.switches) and part.state_dict() == copy.state_dict()


def _stored(state):
    import io

    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return file


def test_a_state_of_other_modes_is_refused():
    part, _ = scheduler((HALF,), ({"momentum": 0.5},), estimate=LastBatch())
    feed(part, [2.0, 1.0])
    with pytest.raises(ArgumentError, match="that of another scheduler, modes explore, exploit-1"):
        scheduler()[0].load_state_dict(part.state_dict())


# Wrong arguments


@pytest.mark.parametrize(
    ("goal", "exploit", "options", "error", "match"),
    [
        (HALF, {"momentun": 0.5}, {}, ArgumentError, "'momentun', which param group 0 does not have"),
        (HALF, {"momentum": 1.5}, {}, ArgumentError, "momentum to 1.5"),
        (HALF, {}, {}, ArgumentError, "sets nothing"),
        (HALF, {"friction": -1.0}, {}, ArgumentError, "friction to -1"),
        (HALF, {"friction": 1e6}, {}, ArgumentError, "leaves no momentum"),
        (HALF, {"friction": 1.0, "lr": 0.1}, {}, ArgumentError, "sets friction and lr"),
        (HALF, [{"momentum": 0.5}] * 2, {}, ArgumentError, "2 entries, and the optimizer 1"),
        (HALF, 0.5, {}, ArgumentTypeError, "a mapping such as"),
        ((HALF, HALF), {"momentum": 0.5}, {}, ArgumentError, "as tuples"),
        ((HALF, HALF), ({"momentum": 0.5},), {}, ArgumentError, "as many goals as exploits"),
        (lambda t, x: 0.0, {"momentum": 0.5}, {}, ArgumentTypeError, "LossGoal, TimeReached"),
        (phdyn.events.Budget(5), {"momentum": 0.5}, {}, ArgumentTypeError, "LossGoal, TimeReached"),
        (phdyn.LossGoal(reduction=[0.5, 0.6]), {"momentum": 0.5}, {}, ArgumentTypeError, "one goal, not those of 2"),
        (HALF, {"momentum": 0.5}, {"estimate": Ema}, ArgumentTypeError, "estimate is"),
        (HALF, {"momentum": 0.5}, {"every": 0}, ArgumentError, "every is 0"),
        (HALF, {"momentum": 0.5}, {"fallback": 5}, ArgumentTypeError, "the fallback"),
        (HALF, {"momentum": 0.5}, {"reference": -1.0}, ArgumentError, "not positive"),
        (HALF, {"momentum": "a"}, {}, ArgumentError, "momentum to 'a'"),
        (HALF, {"lr": -1.0}, {}, ArgumentError, "lr to -1"),
        (HALF, {"weight_decay": float("nan")}, {}, ArgumentError, "weight_decay to nan"),
        (phdyn.LossGoal(value=1.0), {"momentum": 0.5}, {"reexplore": TimeReached(5)}, ArgumentError, "would fire again"),
        (phdyn.events.GradientNorm(1.0), {"momentum": 0.5}, {}, ArgumentTypeError, "asks for more than a loop knows"),
        (Guard(lambda point: point.t > 5, name="late"), {"momentum": 0.5}, {}, ArgumentTypeError, "returns a bool"),
    ],
)
def test_wrong_arguments_are_refused_at_once(goal, exploit, options, error, match):
    with pytest.raises(error, match=match):
        GoalScheduler(sgd(torch.nn.Linear(1, 1)), goal, exploit, **options)


def test_friction_is_for_balls():
    for optimizer in (
        torch.optim.Adam(network().parameters()),
        sgd(network(), nesterov=True),
        sgd(network(), momentum=0.0),
        torch.optim.RMSprop(network().parameters(), momentum=0.9),
    ):
        with pytest.raises(ArgumentError, match=r"no heavy ball|gradient descent"):
            GoalScheduler(optimizer, HALF, {"friction": 1.0})


def test_friction_that_would_overflow_buffers_is_refused():
    GoalScheduler(sgd(network()), HALF, {"friction": 420.0})
    with pytest.raises(ArgumentError, match=r"at most 1\d\d\.\d+ is possible in torch\.float32"):
        GoalScheduler(sgd(network(dtype=torch.float32)), HALF, {"friction": 420.0})


def test_a_goal_met_by_a_given_reference_is_an_error_too():
    part, _ = scheduler(reference=5.0)
    with pytest.raises(ArgumentError, match="met at the start"):
        part.step(1.0)


def test_a_state_of_another_estimate_or_of_more_groups_is_refused():
    part, _ = scheduler()
    with pytest.raises(ArgumentError, match="another scheduler"):
        scheduler(estimate=EpochMean(3))[0].load_state_dict(part.state_dict())
    with pytest.raises(ArgumentError, match="another scheduler"):
        part.load_state_dict({})
    two = GoalScheduler(sgd(network(), split=True), HALF, {"momentum": 0.5})
    with pytest.raises(ArgumentError, match="2 param groups, and the optimizer 1"):
        part.load_state_dict(two.state_dict())


def test_what_is_no_optimizer_or_no_loss_is_refused():
    with pytest.raises(ArgumentTypeError, match=r"torch\.optim optimizer, not Linear"):
        GoalScheduler(torch.nn.Linear(1, 1), HALF, {"momentum": 0.5})
    part, _ = scheduler()
    with pytest.raises(ArgumentError, match=r"shape \(3,\)"):
        part.step(torch.ones(3))
    with pytest.raises(ArgumentTypeError, match="of type str"):
        part.step("1")


@pytest.mark.parametrize("estimate", [lambda: Ema(1.0), lambda: EpochMean(0), lambda: FullLoss(lambda: 1.0, 0), lambda: FullLoss(1.0, 5)])
def test_estimates_out_of_range_are_refused(estimate):
    with pytest.raises((ArgumentError, ArgumentTypeError)):
        estimate()
