"""What of the energy residual comes from the scheme, and what from a gradient that is not V's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import phdyn
from phdyn import networks
from phdyn.methods import Splitting, get, names
from phdyn.methods.path_work import PathWork

SPLITTINGS = tuple(name for name in names() if isinstance(get(name), Splitting))
X0 = [0.3, 0.2, 0.2, -0.3]


class HenonHeiles:
    """Two coupled oscillators whose gradient is right up to a factor: then ``int g . dq`` is (1 + wrong) (V - V0)."""

    dim = 2

    def __init__(self, wrong=0.0):
        self.wrong = wrong

    def value(self, q):
        x, y = q[..., 0], q[..., 1]
        return (x**2 + y**2) / 2 + x**2 * y - y**3 / 3

    def value_and_grad(self, q):
        x, y = q[..., 0], q[..., 1]
        g = np.stack([x + 2 * x * y, y + x**2 - y**2], -1)
        return self.value(q), (1 + self.wrong) * g


def run(potential, method, step, *, friction=0.1, span=(0.0, 20.0), x0=X0, **options):
    ball = potential if isinstance(potential, phdyn.HybridAutomaton) else phdyn.HeavyBall(potential, friction=friction)
    return phdyn.simulate(ball, span, x0, method=method, step=step, residual_parts=True, monitor=None, **options)


def misses(sol):
    """Return how far the gradient part is from the true one, and the doubt that the run states."""
    e = sol.energy
    wrong = sol.system.potential.wrong
    return np.abs(e.gradient + wrong * (e.potential - e.potential[0])).max(), sol.energy_balance().parts.doubt


@pytest.mark.parametrize("method", SPLITTINGS)
@pytest.mark.parametrize("wrong", [0.0, 1e-3, -0.05])
def test_the_parts_add_up_and_are_as_far_off_as_the_doubt_says(method, wrong):
    sol = run(HenonHeiles(wrong), method, 0.1)
    e = sol.energy
    np.testing.assert_allclose(e.scheme + e.gradient, e.residual, atol=1e-15)
    off, doubt = misses(sol)
    assert off < 3 * doubt < 1e-3
    parts = sol.energy_balance().parts
    assert parts.scheme == pytest.approx(np.abs(e.scheme).max(), rel=1e-12)
    assert parts.gradient == pytest.approx(np.abs(e.gradient).max(), rel=1e-12)


@pytest.mark.parametrize("method", ["strang", "blanes-moan-6"])
def test_nothing_else_changes(method):
    plain = phdyn.simulate(phdyn.HeavyBall(HenonHeiles(), friction=0.1), (0, 20), X0, method=method, step=0.2)
    sol = run(HenonHeiles(), method, 0.2)
    np.testing.assert_array_equal(sol.y, plain.y)
    assert (sol.nfev, sol.nvev) == (plain.nfev, plain.nvev)
    for name, value in plain.energy_balance().numbers().items():
        assert getattr(sol.energy_balance(), name) == (value if isinstance(value, str) else pytest.approx(value, rel=1e-12))
    assert plain.energy.scheme is plain.energy.gradient is plain.energy_balance().parts is None


def test_the_integral_converges_faster_than_the_scheme_of_strang():
    sols = [run(HenonHeiles(), "strang", h) for h in (0.4, 0.2, 0.1)]
    ends = np.abs([(sol.energy.gradient[-1], sol.energy.scheme[-1]) for sol in sols])
    assert (np.log2(ends[:-1] / ends[1:]) > (3.5, 1.5)).all()


@pytest.mark.parametrize("method", SPLITTINGS)
def test_of_a_quadratic_the_integral_is_exact_at_any_step(method):
    sol = phdyn.simulate(
        phdyn.HeavyBall(phdyn.potentials.Quadratic([1.0, 3.0]), friction=0.2), (0, 20), [1.0, 0.5, 0.0, 0.0], method=method, step=0.7,
        residual_parts=True, monitor=None,
    )  # fmt: skip
    if np.isfinite(sol.energy.residual).all():  # some are unstable at this step
        assert np.abs(sol.energy.gradient).max() < 1e-12 * max(1.0, np.abs(sol.energy.hamiltonian).max())


def test_the_share_of_friction_that_the_discretization_undoes():
    """Explicit first order: its damping is wrong by about h/2 times the curvature, all of it the scheme's."""
    sol = phdyn.simulate(
        phdyn.HeavyBall(phdyn.potentials.Quadratic([1.0]), friction=0.2), (0, 20), [1.0, 0.0], method="conformal-euler", step=0.1,
        residual_parts=True, monitor=None,
    )  # fmt: skip
    balance = sol.energy_balance()
    assert balance.parts.scheme_slope == pytest.approx(balance.slope, abs=1e-12)
    assert abs(balance.parts.gradient_slope) < 1e-12
    wrong = run(HenonHeiles(0.2), "strang", 0.02)
    balance = wrong.energy_balance()
    assert balance.parts.told
    assert balance.parts.gradient_slope == pytest.approx(balance.slope, abs=0.01)
    assert "gradient is not V's" in balance.reason


@pytest.mark.parametrize("method", ["strang", "blanes-moan-6"])
def test_across_a_switch_located_inside_a_step(method):
    friction = phdyn.SwitchedFriction(0.05, 2.0, phdyn.LossGoal(reduction=0.8))
    sol = run(HenonHeiles(-0.05), method, 0.1, friction=friction)
    assert len(sol.switches) == 1
    off, doubt = misses(sol)
    assert off < 3 * doubt < 1e-3


def test_jumps_belong_to_neither_part():
    ball = phdyn.HeavyBall(HenonHeiles(0.1), friction=0.05)
    edges = [
        phdyn.Transition("roll", "roll", phdyn.events.TurningPoint(), action=phdyn.events.ResetMomentum()),
        phdyn.Transition("roll", "rest", phdyn.events.TimeReached(10.0), action=lambda t, x: x + 0.1),
    ]
    sol = run(phdyn.HybridAutomaton({"roll": ball, "rest": ball}, edges, initial="roll"), "strang", 0.05)
    assert len(sol.switches) > 2
    e, jumps = sol.energy, sol.switches
    np.testing.assert_allclose(e.scheme + e.gradient, e.residual, atol=1e-14)
    lifted = [ball.potential.value(row.x_after[:2]) - row.loss for row in jumps]
    jumped = np.array([sum(v for v, row in zip(lifted, jumps, strict=True) if row.time <= t) for t in e.t])
    true = -0.1 * (e.potential - e.potential[0] - jumped)
    assert np.abs(e.gradient - true).max() < 1e-5
    assert max(map(abs, lifted)) > 1e-2


def test_a_run_goes_on():
    V = HenonHeiles(-0.05)
    first = run(V, "blanes-moan-4", 0.1, span=(0, 7))
    second = run(V, "blanes-moan-4", 0.1, span=(7, 20), x0=first.state)
    whole = run(V, "blanes-moan-4", 0.1)
    np.testing.assert_allclose(second.energy.gradient[-1], whole.energy.gradient[-1], atol=1e-6)
    np.testing.assert_allclose(second.energy.scheme[-1] + second.energy.gradient[-1], second.energy.residual[-1], atol=1e-15)
    assert second.energy_balance().parts.gradient == pytest.approx(whole.energy_balance().parts.gradient, abs=1e-6)
    plain = phdyn.simulate(phdyn.HeavyBall(V, friction=0.1), (0, 7), X0, method="strang", step=0.1)
    with pytest.raises(phdyn.PhdynError, match="residual_parts"):
        run(V, "strang", 0.1, span=(7, 20), x0=plain.state)


def test_thinned_rows_of_all_columns_are_at_the_same_times():
    V = HenonHeiles()
    thin = run(V, "strang", 0.01, record="energy", span=(0, 97.0))
    whole = run(V, "strang", 0.01, span=(0, 97.0))
    assert len(thin.energy.t) == len(thin.energy.gradient) < 4097 < len(whole.energy.t)
    places = np.searchsorted(whole.energy.t, thin.energy.t)
    for name in ("residual", "scheme", "gradient"):
        np.testing.assert_allclose(getattr(thin.energy, name), getattr(whole.energy, name)[places], atol=1e-15)


def test_saved_and_loaded(tmp_path):
    sol = run(HenonHeiles(0.01), "strang", 0.1)
    sol.save(tmp_path / "run.npz")
    again = phdyn.load(tmp_path / "run.npz")
    np.testing.assert_array_equal(again.energy.scheme, sol.energy.scheme)
    assert again.energy_balance().parts == sol.energy_balance().parts
    assert "of it       scheme" in str(again.energy_balance())


@pytest.mark.parametrize("how", ["input", "masses", "backward", "3/t"])
def test_inputs_masses_and_time(how):
    options = {"input": {"u": lambda t, q: 0.1 * np.cos(t) * np.ones_like(q)}, "masses": {"mass": [1.0, 2.0]}}.get(how, {})
    friction = phdyn.NesterovFriction() if how == "3/t" else 0.1
    ball = phdyn.HeavyBall(HenonHeiles(0.01), friction=friction, **options)
    span = (10.0, 2.0) if how == "backward" else (2.0, 10.0)
    sol = phdyn.simulate(ball, span, X0, method="strang", step=0.02, residual_parts=True, monitor=None)
    off, doubt = misses(sol)
    assert off < 3 * doubt + 1e-13 < 1e-4
    assert sol.energy_balance().parts.scheme > 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_whose_gradient_leaves_something_out(dtype):
    """Weight decay in V and not in its gradient: the residual at fine steps is the gradient's, and its size is known."""
    torch.manual_seed(0)
    x, y = torch.randn(40, 6, dtype=dtype), torch.randint(0, 3, (40,))
    decay = 0.05
    V = phdyn.NetworkLoss(networks.mlp((6, 8, 3)).to(dtype), torch.nn.functional.cross_entropy, x, y)

    class Forgetful:
        dim = V.dim

        def value(self, q):
            return V.value(q) + decay / 2 * (q**2).sum(-1)

        def value_and_grad(self, q):
            height, g = V.value_and_grad(q)
            return height + decay / 2 * (q**2).sum(-1), g

    sol = run(Forgetful(), "strang", 0.1, x0=V.initial_state(), friction=0.3)
    forgotten = decay / 2 * (sol.q**2).sum(0)
    tolerance = 1e-5 if dtype is torch.float64 else 1e-4
    np.testing.assert_allclose(sol.energy.gradient, forgotten - forgotten[0], atol=tolerance)
    parts = sol.energy_balance().parts
    assert parts.told
    assert parts.gradient > 10 * parts.scheme


def test_parts_that_cancel_are_not_told():
    """Of a right gradient, where both are errors of the line integral and many times the residual."""
    ball = phdyn.HeavyBall(phdyn.potentials.Himmelblau(), friction=0.1)
    for step in (0.005, 0.02):
        sol = phdyn.simulate(ball, (0, 5), [-0.5, -1, 3, 0], method="blanes-moan-4", step=step, residual_parts=True, monitor=None)
        parts = sol.energy_balance().parts
        assert parts.gradient > 20 * sol.energy_balance().residual
        assert not parts.told


def test_a_coarse_step_says_that_the_parts_cannot_be_told():
    sol = run(HenonHeiles(), "strang", 0.8)
    parts = sol.energy_balance().parts
    assert not parts.told
    assert "cannot be told apart" in str(sol.energy_balance())


def test_refused():
    ball = phdyn.HeavyBall(HenonHeiles(), friction=0.1)
    with pytest.raises(phdyn.PhdynError, match="splitting into gradient kicks and exact drifts: 'rk4' is none"):
        phdyn.simulate(ball, (0, 1), X0, method="rk4", step=0.1, residual_parts=True)
    for method in ({"method": "strang", "step": 0.1}, {"method": "RK45", "record": "ends"}):
        with pytest.raises(phdyn.PhdynError, match="2 trajectories one at a time"):
            phdyn.simulate(ball, (0, 1), [X0, X0], residual_parts=True, **method)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.integers(1, 3), st.randoms(use_true_random=False))
def test_any_path_of_a_quadratic(stages, steps, random):
    """The ends alone count, whatever order the nodes between them are in."""
    rng = np.random.default_rng(random.randrange(2**32))
    matrix = rng.standard_normal((3, 3))
    matrix = matrix + matrix.T
    q = rng.standard_normal(3)
    work, total, start, t = PathWork(0.0, q, matrix @ q), 0.0, q, 0.0
    for _ in range(steps):
        work.begin()
        for place in [*rng.permutation(np.linspace(0.1, 0.9, stages - 1)), 1.0]:
            q = rng.standard_normal(3)
            work.visit(t + place, q, matrix @ q)
        t += 1.0
        total += work.work()[0]
    assert total == pytest.approx((q @ matrix @ q - start @ matrix @ start) / 2, abs=1e-9)
