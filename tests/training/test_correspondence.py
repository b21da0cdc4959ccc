"""SGD's settings as those of a heavy ball: against torch's iterates, in three conventions."""

from __future__ import annotations

import math
from dataclasses import replace

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loops import LOSS, blobs, flat, network, sgd, train

import phdyn
from phdyn import methods, training
from phdyn.errors import ArgumentError, ArgumentTypeError

CONVENTIONS = ("strang", "exact", "explicit")
STEPS = 200


def potential(weight_decay: float = 0.0) -> tuple[phdyn.NetworkLoss, torch.Tensor, torch.Tensor]:
    """The loss of the loops' network, its state at rest, and the gradient there."""
    V = phdyn.NetworkLoss(network(), LOSS, *blobs(), weight_decay=weight_decay)
    x0 = V.initial_state()
    return V, x0, V.value_and_grad(x0[: V.dim])[1].clone()


def ball(loss, friction, x0, method, step, steps=STEPS):
    return phdyn.simulate(phdyn.HeavyBall(loss, friction=friction), (0.0, steps * step), x0, method=method, step=step, monitor=None)


def close(positions, model) -> None:
    expected = flat(model).numpy()
    np.testing.assert_allclose(positions, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("convention", CONVENTIONS)
@given(lr=st.floats(1e-6, 10.0), momentum=st.floats(0.01, 1.0), dampening=st.floats(0.0, 0.9), mass=st.floats(0.01, 100.0))
def test_the_dictionary_reads_both_ways(convention, lr, momentum, dampening, mass):
    step, friction = training.heavy_ball_from_sgd(lr=lr, momentum=momentum, dampening=dampening, mass=mass, convention=convention)
    back = training.sgd_from_heavy_ball(step=step, friction=friction, mass=mass, convention=convention)
    np.testing.assert_allclose(back, (lr * (1 - dampening), momentum), rtol=1e-13)


@pytest.mark.parametrize("momentum", [1 - 2**-52, 1 - 1e-9, 0.999, 0.5, 1e-3, 1e-300])
def test_strangs_step_has_every_digit(momentum):
    with mpmath.workdps(50):
        mu = mpmath.mpf(momentum)
        step = mpmath.sqrt(mpmath.mpf(0.01) * -mpmath.log(mu) / (1 - mu))
        friction = -mpmath.log(mu) / step
    measured = training.heavy_ball_from_sgd(lr=0.01, momentum=momentum)
    np.testing.assert_allclose(measured, (float(step), float(friction)), rtol=4e-16 * 4)


def test_without_friction_the_step_is_the_root_of_lr():
    assert training.heavy_ball_from_sgd(lr=0.04, momentum=1.0) == pytest.approx((0.2, 0.0), abs=1e-16)


def test_mass_scales_time_and_leaves_the_iterates():
    step, friction = training.heavy_ball_from_sgd(lr=0.05, momentum=0.9, mass=4.0)
    model = network()
    train(model, sgd(model), STEPS)
    V, x0, g0 = potential()
    x0[V.dim :] = -step / 2 * g0
    heavy = phdyn.HeavyBall(V, mass=4.0, friction=friction)
    close(phdyn.simulate(heavy, (0.0, STEPS * step), x0, method="strang", step=step).q[:, -1], model)


@pytest.mark.parametrize("dampening", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_torchs_positions_are_strangs(dampening, weight_decay):
    model = network()
    train(model, sgd(model, dampening=dampening, weight_decay=weight_decay), STEPS)
    step, friction = training.heavy_ball_from_sgd(lr=0.05, momentum=0.9, dampening=dampening)
    V, x0, g0 = potential(weight_decay)
    x0[V.dim :] = -(step / (1 - dampening) - step / 2) * g0  # torch does not dampen its first gradient
    close(ball(V, friction, x0, "strang", step).q[:, -1], model)


@pytest.mark.parametrize("convention", ["exact", "explicit"])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_torchs_positions_are_those_of_method_sgd(convention, weight_decay):
    model = network()
    train(model, sgd(model, weight_decay=weight_decay), STEPS)
    step, friction = training.heavy_ball_from_sgd(lr=0.05, momentum=0.9, convention=convention)
    V, x0, _ = potential(weight_decay)
    close(ball(V, friction, x0, replace(methods.get("sgd"), friction=convention), step).q[:, -1], model)


def test_nesterovs_parameters_are_the_look_ahead_point():
    """``p = mu p - h grad V(x + h mu p); x += h p`` moves the ball; torch's parameters are x + h mu p."""
    model = network()
    optimizer = sgd(model, nesterov=True)
    train(model, optimizer, STEPS)
    V, x0, _ = potential()
    h, mu = math.sqrt(0.05), 0.9
    x, p = x0[: V.dim].clone(), torch.zeros(V.dim, dtype=torch.float64)
    for _ in range(STEPS):
        p = mu * p - h * V.value_and_grad(x + h * mu * p)[1]
        x = x + h * p
    close((x + h * mu * p).numpy(), model)
    state = training.state_from_sgd(optimizer, convention="explicit").numpy()
    np.testing.assert_allclose(state, torch.cat([x, p]).numpy(), rtol=0, atol=1e-12 * float(x.abs().max()))


@pytest.mark.parametrize("dampening", [0.0, 0.5])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_started_at_rest_sgd_is_strang_from_rest(dampening, weight_decay):
    model = network()
    optimizer = sgd(model, dampening=dampening, weight_decay=weight_decay)
    LOSS(model(blobs()[0]), blobs()[1]).backward()
    training.start_at_rest(optimizer)
    train(model, optimizer, STEPS)
    step, friction = training.heavy_ball_from_sgd(lr=0.05, momentum=0.9, dampening=dampening)
    V, x0, _ = potential(weight_decay)
    close(ball(V, friction, x0, "strang", step).q[:, -1], model)


def test_from_rest_the_order_is_two_and_torchs_own_start_costs_one():
    """Against the ODE from rest: friction 1 over a time of 4, at steps that halve."""
    V, x0, _ = potential()
    exact = phdyn.simulate(phdyn.HeavyBall(V, friction=1.0), (0.0, 4.0), x0, method="DOP853", rtol=1e-12, atol=1e-14).q[:, -1]

    def error(steps: int, *, at_rest: bool) -> float:
        lr, momentum = training.sgd_from_heavy_ball(step=4.0 / steps, friction=1.0)
        model = network()
        optimizer = sgd(model, lr=lr, momentum=momentum)
        if at_rest:
            LOSS(model(blobs()[0]), blobs()[1]).backward()
            training.start_at_rest(optimizer)
        train(model, optimizer, steps)
        return float(np.abs(flat(model).numpy() - exact).max())

    for at_rest, order in ((True, 2.0), (False, 1.0)):
        errors = [error(steps, at_rest=at_rest) for steps in (40, 80, 160)]
        assert min(errors) > 1e-8
        np.testing.assert_allclose(np.log2(errors[-2] / errors[-1]), order, atol=0.05)


@pytest.mark.parametrize("dampening", [0.0, 0.5])
@pytest.mark.parametrize("steps", [0, 1, 30])
def test_simulate_goes_on_from_an_sgd(dampening, steps):
    model = network()
    optimizer = sgd(model, dampening=dampening, weight_decay=1e-2)
    train(model, optimizer, steps)
    optimizer.zero_grad()
    LOSS(model(blobs()[0]), blobs()[1]).backward()
    x0 = training.state_from_sgd(optimizer)
    step, friction = training.heavy_ball_from_sgd(lr=0.05, momentum=0.9, dampening=dampening)
    V, _, _ = potential(1e-2)
    train(model, optimizer, 50)
    close(ball(V, friction, x0, "strang", step, 50).q[:, -1], model)


@pytest.mark.parametrize("convention", ["exact", "explicit"])
@pytest.mark.parametrize("dampening", [0.0, 0.5])
@pytest.mark.parametrize("steps", [0, 1, 30])
def test_method_sgd_goes_on_from_an_sgd(convention, dampening, steps):
    model = network()
    optimizer = sgd(model, dampening=dampening, weight_decay=1e-2)
    train(model, optimizer, steps)
    optimizer.zero_grad()
    LOSS(model(blobs()[0]), blobs()[1]).backward()
    x0 = training.state_from_sgd(optimizer, convention=convention)
    step, friction = training.heavy_ball_from_sgd(lr=0.05, momentum=0.9, dampening=dampening, convention=convention)
    V, _, _ = potential(1e-2)
    train(model, optimizer, 50)
    close(ball(V, friction, x0, replace(methods.get("sgd"), friction=convention), step, 50).q[:, -1], model)


def test_the_state_has_the_order_of_the_model():
    model = network()
    weights, biases = [list(model.parameters())[k::2] for k in (0, 1)]
    optimizer = torch.optim.SGD([{"params": weights}, {"params": biases}], lr=0.05, momentum=0.9)
    train(model, optimizer, 5)
    state = training.state_from_sgd(optimizer, model=model, convention="explicit")
    assert torch.equal(state[: len(state) // 2], flat(model))
    assert not torch.equal(training.state_from_sgd(optimizer, convention="explicit"), state)
    with pytest.raises(ArgumentError, match=r"parameter '0\.weight'"):
        training.state_from_sgd(optimizer, model=network(), convention="explicit")


def test_started_at_rest_uphill():
    """With maximize the potential is minus the loss."""
    model, twin = network(), network()
    up, down = sgd(model, maximize=True), sgd(twin)
    LOSS(model(blobs()[0]), blobs()[1]).backward()
    (-LOSS(twin(blobs()[0]), blobs()[1])).backward()
    training.start_at_rest(up)
    training.start_at_rest(down)
    for a, b in zip(up.state.values(), down.state.values(), strict=True):
        assert torch.equal(a["momentum_buffer"], b["momentum_buffer"])


def test_a_change_of_lr_is_another_friction_and_an_impulse():
    """Strang's method with the new step and friction, started with the momentum times sqrt(lr_new/lr_old)."""
    model = network()
    optimizer = sgd(model)
    train(model, optimizer, 40)
    V, x0, g0 = potential()
    step, friction = training.heavy_ball_from_sgd(lr=0.05, momentum=0.9)
    x0[V.dim :] = -step / 2 * g0
    first = ball(V, friction, x0, "strang", step, 40)
    optimizer.param_groups[0]["lr"] = 0.0125
    train(model, optimizer, 40)
    (small, more) = training.heavy_ball_from_sgd(lr=0.0125, momentum=0.9)
    assert more == pytest.approx(2 * friction, rel=1e-14)
    x1 = torch.tensor(first.y[:, -1])
    x1[V.dim :] *= math.sqrt(training.kinetic_jumps([0.05, 0.0125], 0.9)[1])
    close(ball(V, more, x1, "strang", small, 40).q[:, -1], model)


def test_schedules_hide_friction():
    lrs = 0.1 * 0.5 ** np.arange(5)
    hidden = training.friction_schedule(lrs, momentum=0.9)
    np.testing.assert_allclose(hidden / hidden[0], np.sqrt(lrs[0] / lrs), rtol=1e-14)
    np.testing.assert_allclose(training.kinetic_jumps(lrs, 0.9), [1.0, 0.5, 0.5, 0.5, 0.5], rtol=1e-14)
    several = training.kinetic_jumps(np.array([0.1, 0.1, 0.05]), momentum=np.array([0.9, 0.5, 0.5]))
    h = [training.heavy_ball_from_sgd(lr=0.1, momentum=mu)[0] for mu in (0.9, 0.5)]
    np.testing.assert_allclose(several, [1.0, (0.5 * h[1] / (0.9 * h[0])) ** 2, 0.5], rtol=1e-14)
    both = training.friction_schedule(np.array([0.1, 0.1]), momentum=np.array([0.9, 0.5]), convention="explicit")
    np.testing.assert_allclose(both, np.array([0.1, 0.5]) / math.sqrt(0.1), rtol=1e-14)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"lr": -0.1, "momentum": 0.9}, "lr is -0.1"),
        ({"lr": [0.1, -1.0], "momentum": 0.9}, "lr is -1"),
        ({"lr": 0.1, "momentum": 0.0}, "gradient descent"),
        ({"lr": 0.1, "momentum": 1.1}, "momentum is 1.1"),
        ({"lr": 0.1, "momentum": float("nan")}, "momentum is nan"),
        ({"lr": 0.1, "momentum": 0.9, "dampening": 1.0}, "dampening is 1"),
        ({"lr": 0.1, "momentum": 0.9, "mass": 0.0}, "mass is 0"),
        ({"lr": 0.1, "momentum": 0.9, "convention": "leapfrog"}, "unknown convention 'leapfrog'"),
    ],
)
def test_settings_out_of_range_are_refused(options, match):
    with pytest.raises(ArgumentError, match=match):
        training.heavy_ball_from_sgd(**options)


def test_without_a_learning_rate_nothing_moves():
    assert training.heavy_ball_from_sgd(lr=0.0, momentum=0.9) == (0.0, math.inf)
    lrs = np.array([0.0, 0.0, 0.1, 0.1, 0.0])
    np.testing.assert_array_equal(training.friction_schedule(lrs, momentum=0.9)[[0, 1, 4]], math.inf)
    np.testing.assert_array_equal(training.kinetic_jumps(lrs, momentum=0.9), [1.0, 1.0, math.inf, 1.0, 0.0])


def test_a_ball_out_of_range_is_refused():
    for options, match in (({"step": 0.0, "friction": 1.0}, "step is 0"), ({"step": 0.1, "friction": -1.0}, "friction is -1")):
        with pytest.raises(ArgumentError, match=match):
            training.sgd_from_heavy_ball(**options)
    with pytest.raises(ArgumentError, match="<= 1 with explicit friction"):
        training.sgd_from_heavy_ball(step=1.0, friction=2.0, convention="explicit")


def test_states_of_what_is_no_ball_are_refused():
    model = network()
    with pytest.raises(ArgumentTypeError, match=r"needs a torch\.optim\.SGD, not Adam"):
        training.state_from_sgd(torch.optim.Adam(model.parameters()))
    optimizer = sgd(model, split=True)
    optimizer.param_groups[1]["lr"] = 0.1
    with pytest.raises(ArgumentError, match="differ in lr"):
        training.state_from_sgd(optimizer)
    with pytest.raises(ArgumentError, match="no gradient"):
        training.state_from_sgd(sgd(model))
    with pytest.raises(ArgumentError, match="Nesterov"):
        training.state_from_sgd(sgd(model, nesterov=True))
    with pytest.raises(ArgumentError, match="backward"):
        training.start_at_rest(sgd(model))
    with pytest.raises(ArgumentError, match="no momentum"):
        training.start_at_rest(sgd(model, momentum=0.0))
    optimizer = sgd(model)
    train(model, optimizer, 1)
    with pytest.raises(ArgumentError, match="made steps"):
        training.start_at_rest(optimizer)
