"""FIRE: the iterates of ASE bit for bit, what its rule does to energy, events inside its steps, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.optimize import FIRE

import phdyn
from phdyn import ArgumentError, ArgumentTypeError, HeavyBall, HybridAutomaton, LossGoal, NetworkLoss, Transition, at_rest, simulate
from phdyn.events import Budget, FunctionRestart, GradientNorm, Guard, TimeReached, fire
from phdyn.methods.fire import _Descent
from phdyn.networks import mlp
from phdyn.potentials import DoubleWell, LennardJones, MullerBrown, Quadratic, Rosenbrock

LONG = 1e6
"""A span whose end no run here reaches."""


class OurForces(Calculator):
    """A potential of ours as ASE's calculator, so that the optimizer alone is compared; it forgets after each move, however small."""

    implemented_properties = ("energy", "forces")

    def __init__(self, potential):
        super().__init__()
        self.potential = potential

    def check_state(self, atoms, tol=0.0):
        return super().check_state(atoms, tol=0.0)

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        height, gradient = self.potential.value_and_grad(self.atoms.positions.ravel().copy())
        self.results = {"energy": float(height), "forces": -gradient.reshape(-1, 3)}


def ase_positions(potential, q0, steps, **options):
    """The positions of ASE's FIRE, column by column, and its time steps."""
    atoms = Atoms(f"Ar{len(q0) // 3}", positions=q0.reshape(-1, 3))
    atoms.calc = OurForces(potential)
    rows, time_steps = [], []
    with FIRE(atoms, logfile=None, **options) as optimizer:
        optimizer.attach(lambda: rows.append(atoms.positions.ravel().copy()))
        optimizer.attach(lambda: time_steps.append(optimizer.dt))
        optimizer.run(fmax=0.0, steps=steps)
    return np.array(rows).T, np.array(time_steps[1:])


def cluster(atoms, seed, spread):
    """Atoms around the minimum, or anywhere."""
    noise = np.random.default_rng(seed).standard_normal(3 * atoms)
    return spread * noise if spread > 0.5 else LennardJones(atoms).minima[0].ravel() + spread * noise


def descend(potential, q0, t_end=LONG, *, max_steps=1_000_000, options=None, **more):
    return simulate(fire(potential, **(options or {})), (0.0, t_end), at_rest(q0), method="fire", max_steps=max_steps, monitor=None, **more)


# --- ASE ------------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("atoms", "seed", "spread", "steps"), [(7, 0, 0.15, 189), (7, 1, 0.9, 400), (7, 2, 0.9, 400), (13, 3, 1.1, 400)])
def test_positions_are_those_of_ase_bit_for_bit(atoms, seed, spread, steps):
    V, q0 = LennardJones(atoms), cluster(atoms, seed, spread)
    theirs, time_steps = ase_positions(V, q0, steps)
    ours = descend(V, q0, max_steps=steps)
    assert ours.status == -3 and ours.nsteps == steps and ours.nfev == steps + 1
    assert np.abs(ours.q - theirs).max() == 0.0
    np.testing.assert_allclose(np.diff(ours.t), time_steps, rtol=0, atol=1e-15 * ours.t[-1])
    assert len(np.unique(time_steps)) > 10 and np.diff(time_steps).min() < 0 < np.diff(time_steps).max()  # it was cut, and grew
    assert ours.energy.potential[-1] < ours.energy.potential[0] - 0.5


OTHER = (
    ({"mixing": 0.3, "fading": 0.9}, {}, {"a": 0.3, "astart": 0.3, "fa": 0.9}),
    ({"growth": 1.3, "cut": 0.7, "patience": 2}, {}, {"finc": 1.3, "fdec": 0.7, "Nmin": 2}),
    ({"max_move": 0.05}, {}, {"maxstep": 0.05}),
    ({"max_move": np.inf}, {"first_step": 0.01, "max_step": 0.04}, {"maxstep": np.inf, "dt": 0.01, "dtmax": 0.04}),
)


@pytest.mark.parametrize(("options", "steps", "theirs"), OTHER)
def test_each_parameter_is_the_one_of_ase(options, steps, theirs):
    V, q0 = LennardJones(7), cluster(7, 0, 0.15)
    positions, _ = ase_positions(V, q0, 150, **theirs)
    assert np.abs(descend(V, q0, max_steps=150, options=options, **steps).q - positions).max() == 0.0
    assert np.abs(descend(V, q0, max_steps=150).q - positions).max() > 1e-3  # and it matters


def test_near_misses_of_the_rule_are_seen():
    """A patience of one step less is what ``N >= 5`` would be."""
    V, q0 = LennardJones(7), cluster(7, 0, 0.15)
    theirs, _ = ase_positions(V, q0, 189)
    assert np.abs(descend(V, q0, max_steps=189, options={"patience": 4}).q - theirs).max() > 1e-2


def test_watching_and_recording_change_nothing():
    V, q0 = LennardJones(7), cluster(7, 0, 0.15)
    plain = descend(V, q0, max_steps=100)
    events = [LossGoal(value=-16.0), GradientNorm(1.0), FunctionRestart(), lambda t, x: x[0] - q0[0] - 0.01]
    watched = descend(V, q0, max_steps=100, events=events, dense_output=True, observables={"T": lambda point: point.kinetic})
    np.testing.assert_array_equal(watched.y, plain.y)
    assert all(len(times) for times in watched.t_events[:3])
    for record in ("energy", "ends"):
        np.testing.assert_array_equal(descend(V, q0, max_steps=100, record=record).y[:, -1], plain.y[:, -1])


# --- energy ---------------------------------------------------------------------------------------------------------------------------
def test_the_work_of_mixing_reset_and_bound_by_hand():
    """V = 2 q1^2 + q2^2/2, steps of 0.5 from a start with momentum; the first mixes, and later ones are cut and reset."""
    V, x0 = Quadratic([4.0, 1.0]), np.array([1.0, 1.0, -2.0, 0.5])
    system = fire(V, max_move=0.3)
    sol = simulate(system, (0.0, LONG), x0, method="fire", first_step=0.5, max_steps=40, monitor=None)
    q, p, a, downhill, h = x0[:2].copy(), x0[2:].copy(), 0.1, 0, 0.5
    dissipated = supplied = 0.0
    resets = bounded = 0
    for k in range(40):
        F, before = -V.value_and_grad(q)[1], p @ p / 2
        if F @ p > 0:
            p = (1 - a) * p + a * np.linalg.norm(p) * F / np.linalg.norm(F)
            if downhill > 5:
                h, a = min(1.1 * h, 1.0), 0.99 * a
            downhill += 1
        else:
            p, a, h, downhill, resets = 0 * p, 0.1, h / 2, 0, resets + 1
        dissipated += before - p @ p / 2
        kicked = p + h * F
        share = min(1.0, 0.3 / np.linalg.norm(h * kicked))
        supplied += (1 - share) * (kicked @ kicked - p @ p) / 2
        p, q, bounded = kicked, q + share * h * kicked, bounded + (share < 1)
        np.testing.assert_allclose(sol.y[:, k + 1], [*q, *p], rtol=1e-11)
        np.testing.assert_allclose([sol.energy.dissipated[k + 1], sol.energy.supplied[k + 1]], [dissipated, supplied], rtol=1e-12)
    assert resets > 2 and bounded > 2
    assert (np.diff(sol.energy.dissipated) > -1e-15).all()


PROBLEMS = (
    (Quadratic([1.0, 4.0]), np.array([1.0, 1.0]), 4.0, 0.1),
    (Rosenbrock(2), np.array([-1.2, 1.0]), 0.5, 0.01),
    (MullerBrown(), np.array([-0.9, 1.0]), 0.2, 0.005),
    (LennardJones(7), cluster(7, 0, 0.05), 1.0, 0.02),
)


@pytest.mark.parametrize(("potential", "q0", "t_end", "step"), PROBLEMS, ids=lambda v: getattr(v, "name", ""))
def test_what_is_left_of_the_account_is_of_order_1_in_the_time_step(potential, q0, t_end, step):
    balances = [descend(potential, q0, t_end, max_step=step / 2**k).energy_balance() for k in range(4)]
    residuals = np.array([balance.residual for balance in balances])
    np.testing.assert_allclose(np.log2(residuals[0] / residuals[-1]) / 3, 1.0, atol=0.15)
    fine = descend(potential, q0, t_end, max_step=step / 32).energy_balance()
    assert fine.verdict == "balanced" and abs(fine.slope) < 0.02 and fine.kind == "order"
    assert "fire, order 1, first step" in str(fine)


def test_dissipation_that_the_rule_does_not_do_is_flagged(monkeypatch):
    """The account takes the rule's word for the work, not what the momentum lost: a rule that takes twice as much is seen."""
    honest = _Descent.brake

    def doubled(self, p, g):
        p, lost = honest(self, p, g)
        return p, 2 * lost

    monkeypatch.setattr(_Descent, "brake", doubled)
    V, q0, t_end, step = PROBLEMS[0]
    assert descend(V, q0, t_end, max_step=step / 32).energy_balance().verdict == "violated"


# --- events ---------------------------------------------------------------------------------------------------------------------------
def test_a_goal_is_reached_on_the_methods_own_shorter_step():
    V, q0 = Quadratic([1.0, 4.0]), np.array([1.0, 1.0])
    whole = descend(V, q0, max_steps=60)
    goal = LossGoal(value=0.5, terminal=True)
    sol = descend(V, q0, events=goal)
    assert sol.status == 1 and sol.energy.potential[-1] == pytest.approx(0.5, abs=1e-15)
    k = sol.nsteps - 1
    np.testing.assert_array_equal(sol.y[:, : k + 1], whole.y[:, : k + 1])
    shorter = descend(V, q0, sol.t[-1])  # ends there with a shorter step of its own; location's last correction is one of Strang's
    np.testing.assert_allclose(sol.y[:, -1], shorter.y[:, -1], rtol=0, atol=1e-2 * np.diff(whole.t)[k])
    assert whole.t[k] < sol.t[-1] < whole.t[k + 1]


@pytest.mark.parametrize("options", [{}, {"max_move": 0.01}])
def test_the_gradient_norm_ends_a_run_where_it_is_reached(options):
    V, q0 = LennardJones(7), cluster(7, 0, 0.15)
    sol = descend(V, q0, options=options, events=GradientNorm(1e-3, terminal=True))
    assert sol.status == 1 and "GradientNorm(0.001)" in sol.message
    assert np.linalg.norm(V.value_and_grad(sol.q[:, -1])[1]) == pytest.approx(1e-3, rel=1e-6)
    assert V.value(sol.q[:, -1]) == pytest.approx(V.minimum_values[0], abs=1e-6)


def test_every_kind_of_event_is_located():
    V, q0 = Quadratic([1.0, 4.0]), np.array([1.0, 1.0])
    events = [TimeReached(0.77), lambda t, x: x[0] - 0.5, Guard(lambda point: point.kinetic - 0.3, name="T = 0.3"), LossGoal(reduction=0.5)]
    sol = descend(V, q0, 2.0, first_step=0.05, events=events)
    np.testing.assert_allclose(sol.t_events[0], [0.77], atol=1e-15)
    assert sol.y_events[1][0][0] == pytest.approx(0.5, abs=1e-14)
    assert (sol.y_events[2][0][2:] ** 2).sum() / 2 == pytest.approx(0.3, abs=1e-14)
    assert V.value(sol.y_events[3][0][:2]) == pytest.approx(1.25, abs=1e-14)
    assert descend(V, q0, events=Budget(20, terminal=True)).nfev == 20


def test_uphill_steps_are_the_resets():
    """Each step that ends uphill is followed by a reset, which the restart rule sees as the loss beginning to rise."""
    V, q0 = Quadratic([1.0, 4.0]), np.array([1.0, 1.0])
    sol = descend(V, q0, max_steps=300, events=FunctionRestart())
    cut = np.diff(np.diff(sol.t)) < -1e-9
    assert len(sol.t_events[0]) in (cut.sum(), cut.sum() + 1) and cut.sum() > 5


def test_the_path_inside_a_step_is_its_own_shorter_step():
    V, q0 = Quadratic([1.0, 4.0]), np.array([1.0, 1.0])
    sol = descend(V, q0, 3.0, dense_output=True)
    np.testing.assert_allclose(sol.sol(sol.t), sol.y, rtol=0, atol=1e-14)
    for t in (0.04, 0.83, 2.0):
        np.testing.assert_allclose(sol.sol(t), descend(V, q0, t).y[:, -1], atol=1e-14)
    at = descend(V, q0, 3.0, t_eval=[0.04, 0.83])
    np.testing.assert_allclose(at.y, sol.sol(np.array([0.04, 0.83])), atol=1e-15)


# --- going on, and coming to an end ---------------------------------------------------------------------------------------------------
def test_a_run_that_goes_on_starts_fire_anew_from_its_momentum():
    V, q0 = Rosenbrock(2), np.array([-1.2, 1.0])
    system = fire(V)
    first = descend(V, q0, 1.0)
    assert first.state.x[2:].any()
    second = simulate(system, (1.0, 2.0), first.state, method="fire", monitor=None)
    fresh = simulate(system, (1.0, 2.0), first.y[:, -1], method="fire", monitor=None)
    np.testing.assert_array_equal(second.y, fresh.y)
    assert second.energy.dissipated[0] == first.energy.dissipated[-1]
    whole = second.energy
    residual = whole.hamiltonian - first.energy.hamiltonian[0] + whole.dissipated - whole.supplied
    np.testing.assert_allclose(whole.residual, residual, atol=1e-13)


def test_a_mode_that_is_entered_starts_fire_anew():
    V = Quadratic([1.0, 4.0])
    coarse, careful = fire(V, mixing=0.0), fire(V, mixing=0.5, max_move=0.05)
    system = HybridAutomaton({"far": coarse, "near": careful}, [Transition("far", "near", LossGoal(value=0.5))], initial="far")
    sol = simulate(system, (0.0, 5.0), [1.0, 1.0, 0.0, 0.0], method="fire", monitor=None)
    (row,) = list(sol.switches)
    assert row.loss == pytest.approx(0.5, abs=1e-14) and row.injected == 0.0
    k = int(np.flatnonzero(sol.t == row.time)[0])
    near = simulate(careful, (row.time, 5.0), sol.y[:, k], method="fire", monitor=None)
    np.testing.assert_array_equal(sol.y[:, k:], near.y)


def test_at_a_minimum_nothing_moves():
    sol = descend(Quadratic([1.0, 4.0]), np.zeros(2), 50.0)
    assert sol.success and sol.t.tolist() == [0.0, 50.0] and not sol.y.any()
    assert sol.energy_balance().verdict == "balanced"


def test_a_time_step_that_shrinks_to_nothing_ends_the_run():
    """Once rounding rules the gradient's sign, each step is a reset."""

    class Noisy:
        """A gradient that always points backwards."""

        sign = 1.0

        def value_and_grad(self, q):
            self.sign = -self.sign
            return 0.0 * q.sum(), self.sign * np.ones_like(q)

    sol = descend(Noisy(), np.zeros(1), 50.0)
    assert sol.status == -1 and not sol.success
    assert "time step has shrunk to" in sol.message and "GradientNorm(..., terminal=True)" in sol.message
    assert (np.diff(sol.t) > 0).all()


def test_the_span_ends_where_it_should():
    V, q0 = Quadratic([1.0, 4.0]), np.array([1.0, 1.0])
    whole = descend(V, q0, max_steps=30)
    for t_end in (0.05, whole.t[7], 1.0):
        sol = descend(V, q0, t_end)
        assert sol.success and sol.t[-1] == t_end and (np.diff(sol.t) > 0).all()
        k = len(sol.t) - 1
        np.testing.assert_array_equal(sol.y[:, :k], whole.y[:, :k])
    np.testing.assert_array_equal(descend(V, q0, whole.t[7]).y[:, -1], whole.y[:, 7])


# --- kinds ----------------------------------------------------------------------------------------------------------------------------
def test_kinds_of_numbers():
    V, q0 = Quadratic([1.0, 4.0]), np.array([1.0, 1.0])
    double = descend(V, q0, 5.0)
    np.testing.assert_array_equal(descend(V, torch.tensor(q0), 5.0).y, double.y)
    np.testing.assert_array_equal(descend(V, q0.tolist(), 5.0).y, double.y)
    single = descend(V, q0.astype(np.float32), 1.0)
    assert single.y.dtype == np.float32
    np.testing.assert_allclose(single.y[:, -1], descend(V, q0, 1.0).y[:, -1], rtol=0, atol=1e-5)
    function = descend(lambda q: (q[..., 0] ** 2 + 4 * q[..., 1] ** 2) / 2, q0, 5.0)
    np.testing.assert_allclose(function.y, double.y, rtol=0, atol=1e-13)


def test_a_network_is_trained_and_left_at_the_end():
    torch.manual_seed(0)
    inputs = torch.randn(24, 3, dtype=torch.float64)
    V = NetworkLoss(mlp((3, 6, 1)).double(), torch.nn.functional.mse_loss, inputs, torch.sin(inputs.sum(1, keepdim=True)))
    sol = simulate(fire(V), (0.0, 60.0), V.initial_state(), method="fire", monitor=None)
    assert sol.success and sol.nfev == sol.nsteps + 1
    assert sol.energy.potential[-1] < 0.05 * sol.energy.potential[0]
    parameters = torch.cat([p.detach().ravel() for p in V.model.parameters()]).numpy()
    np.testing.assert_array_equal(parameters, sol.q[:, -1])
    with torch.no_grad():
        loss = torch.nn.functional.mse_loss(V.model(V.inputs), V.targets)
    np.testing.assert_allclose(float(loss), sol.energy.potential[-1], rtol=1e-12)


def test_a_gradient_that_is_the_position_itself():
    class Alias:
        def value_and_grad(self, q):
            return (q @ q) / 2, q

    ends = [descend(V, np.array([1.0, 0.2]), 3.0, events=[lambda t, x: x[0] - 0.5]) for V in (Alias(), Quadratic([1.0, 1.0]))]
    np.testing.assert_array_equal(ends[0].y, ends[1].y)
    np.testing.assert_array_equal(ends[0].t_events[0], ends[1].t_events[0])


# --- what it refuses ------------------------------------------------------------------------------------------------------------------
class Heavy:
    """A potential with masses."""

    mass = 2.0

    def value_and_grad(self, q):
        return q @ q, 2 * q


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixing": -0.1}, r"fire\(mixing=-0.1\): a share in \[0, 1\] is needed"),
        ({"mixing": float("nan")}, "a share in"),
        ({"mixing": "much"}, r"fire\(mixing='much'\)"),
        ({"fading": 0.0}, r"fire\(fading=0.0\): a factor in \(0, 1\]"),
        ({"growth": 0.9}, r"fire\(growth=0.9\): a finite factor >= 1"),
        ({"growth": float("inf")}, "a finite factor"),
        ({"cut": 1.0}, r"fire\(cut=1.0\): a factor in \(0, 1\)"),
        ({"patience": 2.5}, r"fire\(patience=2.5\): a whole number of steps >= 0"),
        ({"patience": True}, "a whole number"),
        ({"max_move": 0}, r"fire\(max_move=0\): a length > 0"),
    ],
)
def test_parameters_out_of_range(options, message):
    with pytest.raises(ArgumentError, match=message):
        fire(Quadratic([1.0]), **options)


def test_masses_are_refused():
    with pytest.raises(ArgumentError, match=r"FIRE moves unit masses, and .*Heavy.* has mass 2.0: scale its positions, q sqrt\(m\)"):
        fire(Heavy())
    with pytest.raises(ArgumentError, match="FIRE moves unit masses"):
        fire(HeavyBall(Quadratic([1.0]), mass=3.0))
    with pytest.raises(ArgumentTypeError):
        fire(HeavyBall(Quadratic([1.0])))


def go(system=None, span=(0.0, 1.0), method="fire", **options):
    return simulate(fire(DoubleWell()) if system is None else system, span, [0.3, 0.0], method=method, **options)


@pytest.mark.parametrize(
    ("message", "call"),
    [
        (r"method 'fire' moves phdyn.events.fire\(potential\), not a HeavyBall, which takes expl", lambda: go(HeavyBall(DoubleWell()))),
        (r"method 'fire' moves phdyn.events.fire\(potential\), not a plain fun", lambda: go(lambda t, x: -x)),
        (r"method 'strang' does not apply the rule that brakes fire\(DoubleWell.*\); it takes fire", lambda: go(method="strang", step=0.1)),
        (r"method 'RK45' does not apply the rule", lambda: go(method="RK45")),
        ("the steps of method 'fire' follow a rule: pass first_step or max_step, not step=0.1", lambda: go(step=0.1)),
        ("the steps of method 'fire' follow a rule: pass first_step or max_step, not rtol=1e-06", lambda: go(rtol=1e-6)),
        ("follow a rule: pass first_step or max_step, not atol=1e-09", lambda: go(atol=1e-9)),
        ("first_step=2 is longer than max_step=1", lambda: go(first_step=2.0)),
        ("first_step is -1: a positive finite number is needed", lambda: go(first_step=-1)),
        ("max_step is inf: a positive finite number", lambda: go(max_step=float("inf"))),
        (r"method 'fire' goes forward in time only, not from 1 to 0", lambda: go(span=(1.0, 0.0))),
    ],
)
def test_what_is_wrong_raises_before_any_work(message, call):
    with pytest.raises(ArgumentError, match=message):
        call()


def test_how_it_shows():
    sol = go(max_step=0.05, monitor=None)
    assert sol.setting == "first step 0.05, longest 0.05"
    assert "FireDescent(DoubleWell, n = 1) by fire" in str(sol)
    assert repr(fire(DoubleWell())).startswith("fire(DoubleWell")
    assert phdyn.methods.get("fire").fits(fire(DoubleWell()))
