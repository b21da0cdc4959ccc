"""The map of torch.optim.SGD: the same iterates, from either reading of friction, and from Strang's splitting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import phdyn
from phdyn import ArgumentError, ArgumentTypeError, HeavyBall, NetworkLoss, simulate
from phdyn.methods.stepping import Control
from phdyn.motion import bind
from phdyn.networks import mlp
from phdyn.vectors import vectors_of

ITERATIONS, LR, MOMENTUM = 1000, 0.05, 0.9
SGD = phdyn.methods.get("sgd")


def network():
    """A small tanh network with its data, always the same."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(24, 3, generator=generator, dtype=torch.float64)
    targets = torch.sin(inputs.sum(1, keepdim=True))
    torch.manual_seed(1)
    return mlp((3, 6, 1)).double(), torch.nn.functional.mse_loss, inputs, targets


def flat(model):
    return torch.cat([p.detach().ravel() for p in model.parameters()]).numpy().copy()


@pytest.fixture(scope="module")
def iterates():
    """Parameters of torch.optim.SGD after each tenth iteration."""
    model, loss, inputs, targets = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
    rows = [flat(model)]
    for k in range(1, ITERATIONS + 1):
        optimizer.zero_grad()
        loss(model(inputs), targets).backward()
        optimizer.step()
        if k % 10 == 0:
            rows.append(flat(model))
    assert np.abs(rows[-1] - rows[0]).max() > 0.1
    return np.array(rows).T


def positions(method, step, friction, momentum_of=lambda gradient: 0 * gradient):
    """Positions after each tenth step, from the network's own start."""
    V = NetworkLoss(*network())
    x0 = V.initial_state()
    x0[V.dim :] = momentum_of(V.value_and_grad(x0[: V.dim])[1])
    sol = simulate(HeavyBall(V, friction=friction), (0.0, ITERATIONS * step), x0, method=method, step=step)
    assert (sol.nsteps, sol.nfev) == (ITERATIONS, ITERATIONS + 1)
    return sol.q[:, ::10]


def assert_same(ours, theirs):
    assert np.abs(ours - theirs).max() < 1e-12 * np.abs(theirs).max()


def test_explicit_friction_is_torch(iterates):
    h = np.sqrt(LR)
    assert_same(positions("sgd", h, (1 - MOMENTUM) / h), iterates)


def test_exact_friction_is_torch(iterates):
    h = np.sqrt(LR)
    assert_same(positions(replace(SGD, friction="exact"), h, -np.log(MOMENTUM) / h), iterates)


def test_strang_from_its_own_start_is_torch(iterates):
    h = np.sqrt(LR * -np.log(MOMENTUM) / (1 - MOMENTUM))
    ours = positions("strang", h, -np.log(MOMENTUM) / h, lambda gradient: -h / 2 * gradient)
    assert_same(ours, iterates)
    from_rest = positions("strang", h, -np.log(MOMENTUM) / h)
    assert np.abs(from_rest - iterates).max() > 1e-6  # the start is what makes them equal


def test_a_mass_divides_the_learning_rate():
    """One parameter, V = q^4/4: lr = h^2/m and mu = 1 - gamma h/m."""
    h, m, friction = 0.3, 2.5, 0.8
    q = torch.tensor([0.9], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([q], lr=h * h / m, momentum=1 - friction * h / m)
    for _ in range(50):
        optimizer.zero_grad()
        (q**4 / 4).sum().backward()
        optimizer.step()
    sol = simulate(HeavyBall(lambda z: (z**4 / 4).sum(-1), mass=m, friction=friction), (0, 50 * h), [0.9, 0.0], method="sgd", step=h)
    np.testing.assert_allclose(sol.q[0, -1], q.item(), rtol=1e-13)


def test_until_is_the_map_with_the_shorter_step():
    """By hand, and the step's start survives: another ``until`` gives the same."""
    system, x0 = HeavyBall(lambda z: (1 - torch.cos(z)).sum(-1), friction=0.5), np.array([1.2, 0.3])
    vectors, x = vectors_of(x0)
    motion = bind(system, vectors, 2, tensors=False)

    def observe(step):
        for tau in (0.2, 0.35, 0.2):
            part = step.until(tau)
            p = (1 - 0.5 * tau) * x0[1] - tau * np.sin(x0[0])
            np.testing.assert_allclose(part.x1, [x0[0] + tau * p, p], rtol=1e-15)
            assert (part.t0, part.t1) == (0.0, tau)
        return False

    before = motion.nfev
    SGD.march(motion, motion.knot(0.0, x), 0.5, observe, Control(0.5, 0.0))
    assert motion.nfev - before == 1 + 1 + 3


def test_what_it_refuses():
    with pytest.raises(ArgumentError, match="neither 'explicit' nor 'exact'"):
        replace(SGD, friction="implicit")
    with pytest.raises((ArgumentError, ArgumentTypeError), match="HeavyBall"):
        simulate(lambda t, x: -x, (0, 1), [1.0], method="sgd", step=0.1)
