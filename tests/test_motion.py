"""A system bound to a run: what is checked before it, what is counted in it, and where a network's numbers live."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from kinds import kinds

import phdyn
from phdyn import (
    ArgumentError,
    ArgumentTypeError,
    GradientFlow,
    HeavyBall,
    LossGoal,
    NetworkLoss,
    PortHamiltonianSystem,
    SwitchedFriction,
    at_rest,
    simulate,
)
from phdyn.events import Guard
from phdyn.motion import bind
from phdyn.networks import mlp
from phdyn.vectors import vectors_of

ALL = kinds(phdyn.methods.table(HeavyBall(np.sin))["method"])
ON_SYSTEMS = [name for name in ALL if phdyn.methods.get(name).fits(np.sin)]
SPLITTINGS = [name for name in ALL if phdyn.methods.get(name).family == "splitting"]


def setting(name):
    return {"step": 0.1} if phdyn.methods.get(name).fixed else {"rtol": 1e-6, "atol": 1e-8}


class Wells:
    """A coupled double well on NumPy that counts."""

    def __init__(self):
        self.gradients = self.values = 0

    def value(self, q):
        self.values += 1
        return ((q * q - 1) ** 2).sum() / 4 + q[0] * q[1] / 3

    def value_and_grad(self, q):
        self.gradients += 1
        return ((q * q - 1) ** 2).sum() / 4 + q[0] * q[1] / 3, q * (q * q - 1) + q[::-1] / 3


class Counting(torch.nn.Module):
    """A network that counts its forward passes and remembers where its parameters were."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.forwards, self.pointers = mlp((3, 4, 1)).double(), 0, set()

    def forward(self, x):
        self.forwards += 1
        self.pointers.add(next(self.net.parameters()).data_ptr())
        return self.net(x)


def network():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(10, 3, generator=generator, dtype=torch.float64)
    model = Counting()
    return model, NetworkLoss(model, torch.nn.functional.mse_loss, inputs, torch.sin(inputs.sum(1, keepdim=True)))


# --- counting -------------------------------------------------------------------------------------------------------------------------
def goes_down(t, x):
    return x[0] - 0.7


WATCHED = {"plain": {}, "events": {"events": goes_down}, "energy": {"record": "energy"}, "dense": {"dense_output": True}}


@pytest.mark.parametrize("more", WATCHED.values(), ids=WATCHED)
@pytest.mark.parametrize("name", ALL)
def test_what_is_reported_is_what_the_potential_counted(name, more):
    """The look at shapes, before the run, is its first evaluation. A switch and an event are located on the way."""
    potential = Wells()
    system = HeavyBall(potential, friction=SwitchedFriction(0.1, 1.0, LossGoal(value=0.3)))
    sol = simulate(system, (0, 6), [1.8, -0.2, 0.0, 0.5], method=name, monitor=None, **setting(name), **more)
    assert sol.success
    assert len(sol.switches) == 1
    assert (sol.nfev, sol.nvev) == (potential.gradients, potential.values)


@pytest.mark.parametrize("name", ON_SYSTEMS)
def test_other_systems_count_too(name):
    potential = Wells()
    sol = simulate(GradientFlow(potential), (0, 2), [1.8, -0.2], method=name, monitor=None, **setting(name))
    assert (sol.nfev, sol.nvev) == (potential.gradients, potential.values)
    energy = Wells()
    port = PortHamiltonianSystem(energy, [[0, 1], [-1, 0]], 0.1 * np.eye(2))
    sol = simulate(port, (0, 2), [1.8, -0.2], method=name, monitor=None, **setting(name))
    assert (sol.nfev, sol.nvev) == (energy.gradients, energy.values)


@pytest.mark.parametrize("name", ALL)
def test_evaluations_of_observables_are_not_counted(name):
    plain, watched = (Wells() for _ in range(2))
    start = [1.8, -0.2, 0.0, 0.5]
    quiet = simulate(HeavyBall(plain), (0, 2), start, method=name, monitor=None, **setting(name))
    seen = simulate(
        HeavyBall(watched),
        (0, 2),
        start,
        method=name,
        monitor=None,
        observables={"slope": lambda point: point.gradient.norm(), "again": lambda point: point.system.potential.value(point.q.numpy())},
        **setting(name),
    )
    assert (seen.nfev, seen.nvev) == (quiet.nfev, quiet.nvev)
    np.testing.assert_array_equal(seen.y, quiet.y)
    assert watched.values == seen.nvev + seen.nsteps + 1


@pytest.mark.parametrize("budget", [1, 7, 30])
@pytest.mark.parametrize("name", ALL)
def test_a_budget_is_never_overdrawn(name, budget):
    potential = Wells()
    sol = simulate(HeavyBall(potential), (0, 50), [1.8, -0.2, 0.0, 0.5], method=name, monitor=None, max_nfev=budget, **setting(name))
    assert sol.status == -3
    assert sol.nfev <= budget
    assert sol.nfev == budget


# --- a network ------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ALL)
def test_a_run_counts_a_networks_passes_and_leaves_it_at_its_end(name):
    model, V = network()
    model.forwards = 0
    system = HeavyBall(V, friction=SwitchedFriction(0.1, 1.0, LossGoal(reduction=0.3)))
    sol = simulate(system, (0, 4), V.initial_state(), method=name, monitor=None, **setting(name))
    assert len(sol.switches) == 1
    assert model.forwards == sol.nfev + sol.nvev
    parameters = torch.cat([p.detach().ravel() for p in model.parameters()]).numpy()
    np.testing.assert_array_equal(parameters, sol.q[:, -1])
    assert np.abs(parameters - V.initial_state()[: V.dim].numpy()).max() > 0.01
    with torch.no_grad():
        loss = torch.nn.functional.mse_loss(model(V.inputs), V.targets)
    np.testing.assert_allclose(float(loss), sol.energy.potential[-1], rtol=1e-12)


@pytest.mark.parametrize("name", SPLITTINGS)
def test_a_splitting_steps_in_the_networks_own_memory(name):
    """Positions, momenta and gradients are the module's buffers: nothing is copied in a step."""
    model, V = network()
    seen = []
    system = HeavyBall(V, friction=0.2)

    def look(point):
        seen.append((point.q.data_ptr(), point.p.data_ptr()))
        return 0.0

    sol = simulate(system, (0, 1), V.initial_state(), method=name, step=0.1, monitor=None, observables={"where": look})
    assert model.pointers == {V.state_buffer.data_ptr()}
    positions, momenta = (set(column) for column in zip(*seen[1:], strict=True))
    assert positions == {V.state_buffer.data_ptr()}
    assert momenta == {V.state_buffer[V.dim :].data_ptr()}
    assert sol.nfev == 10 * phdyn.methods.get(name).stages + 1
    vectors, x = vectors_of(V.initial_state())
    motion = bind(system, vectors, len(x), tensors=True)
    live = motion.live(x)
    assert live.ctypes.data == V.state_buffer.data_ptr()
    assert motion.gradient(live[: V.dim])[1].ctypes.data == V.gradient_buffer.data_ptr()


def test_runs_of_one_network_start_equal():
    _, V = network()
    ends = [simulate(HeavyBall(V, friction=0.2), (0, 3), V.initial_state(), method="strang", step=0.1).y for _ in range(2)]
    np.testing.assert_array_equal(ends[0], ends[1])


def test_a_gradient_flow_of_a_network():
    _, V = network()
    sol = simulate(GradientFlow(V), (0, 3), V.initial_state()[: V.dim], method="RK45")
    assert sol.energy.hamiltonian[-1] < sol.energy.hamiltonian[0]
    assert sol.energy_balance().verdict == "balanced"
    with pytest.raises(ArgumentError, match=r"brings 42 positions: use V.initial_state\(\)\[:V.dim\]"):
        simulate(GradientFlow(V), (0, 3), V.initial_state(), method="RK45")
    with pytest.raises(ArgumentError, match=r"the network has 21 parameters, x0 brings 10 positions: use V.initial_state\(\)"):
        simulate(HeavyBall(V), (0, 3), torch.zeros(20, dtype=torch.float64), method="RK45")
    with pytest.raises(ArgumentError, match="x0 is float32, the network float64"):
        simulate(HeavyBall(V), (0, 3), V.initial_state().float(), method="RK45")


# --- checks before any work -----------------------------------------------------------------------------------------------------------
class Answers:
    """A potential that answers what it is told."""

    def __init__(self, value, gradient, dim=None):
        self.answer = value, gradient
        if dim:
            self.dim = dim

    def value_and_grad(self, q):
        return self.answer


@pytest.mark.parametrize(
    ("potential", "message"),
    [
        (lambda q: q * q, r"the potential returned shape \(2,\), not \(\): end with \.sum\(-1\)"),
        (lambda q: math.cos(float(q[0])), "the potential returned a float, so there is no gradient: use torch, not math"),
        (lambda q: np.cos(q).sum(), "the potential used NumPy on a tensor: write torch.cos, or pass an object with value_and_grad"),
        (Answers(np.zeros(2), np.zeros(2)), r"the potential returned shape \(2,\), not \(\)"),
        (Answers(0.0, np.zeros(3)), r"the potential's gradient has shape \(3,\), not \(2,\)"),
        (Answers(0.0, torch.zeros(2).double()), "the potential's gradient is a Tensor, its argument a ndarray: answer in kind"),
        (Answers(0.0, np.zeros(2, np.float32)), "the potential's gradient is float32 at a position of float64"),
        (Answers(0.0, np.zeros(2), dim=3), "the potential has 3 dimensions, x0 brings 2 positions"),
    ],
)
def test_potentials_that_do_not_fit(potential, message):
    with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
        simulate(HeavyBall(potential), (0, 1), [1.0, 2.0, 0.0, 0.0], method="strang", step=0.1)


def still(x):
    return torch.zeros(4, 4)


def no_matrix(x):
    return torch.zeros(4)


@pytest.mark.parametrize(
    ("system", "message"),
    [
        (HeavyBall(lambda q: q.sum(-1), mass=[1.0, 2.0, 3.0]), "mass has 3 entries, the system 2 positions"),
        (HeavyBall(lambda q: q.sum(-1), u=lambda t, q: 1.0), r"the input u returned shape \(\), the port takes \(2,\)"),
        (PortHamiltonianSystem(np.eye(3), np.zeros((3, 3)), np.zeros((3, 3))), "x0 has 4 components, the matrices of the system are for 3"),
        (PortHamiltonianSystem(lambda x: x.sum(-1), lambda x: still(x)[:2, :2], still), r"J\(x\) has shape \(2, 2\), not \(4, 4\)"),
        (PortHamiltonianSystem(lambda x: x.sum(-1), still, no_matrix), r"R\(x\) has shape \(4,\), not \(4, 4\)"),
        (
            PortHamiltonianSystem(lambda x: x.sum(-1), still, still, no_matrix, u=lambda t, x: [1.0]),
            r"G\(x\) has shape \(4,\), not \(4, m\)",
        ),
        (
            PortHamiltonianSystem(np.eye(4), np.zeros((4, 4)), np.zeros((4, 4)), np.ones((4, 2)), u=lambda t, x: [1.0]),
            r"the input u returned shape \(1,\), the port takes \(2,\)",
        ),
        (lambda t, x: x[:2], r"fun\(t, x\) returned shape \(2,\), x has \(4,\)"),
        ("ball", "the system is a HeavyBall, GradientFlow, PortHamiltonianSystem or fun"),
    ],
)
def test_systems_that_do_not_fit(system, message):
    with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
        simulate(system, (0, 1), [1.0, 2.0, 0.0, 0.0], method="rk4", step=0.1)


# --- kinds ----------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ALL)
def test_a_users_object_gets_the_kind_of_the_start(name):
    kinds = set()

    class Bowl:
        def value_and_grad(self, q):
            kinds.add(type(q))
            return (q * q).sum(), 2 * q

    ends = []
    for start in ([1.0, 0.0], np.array([1.0, 0.0]), torch.tensor([1.0, 0.0], dtype=torch.float64)):
        kinds.clear()
        ends.append(simulate(HeavyBall(Bowl()), (0, 1), start, method=name, monitor=None, **setting(name)).y[:, -1])
        assert kinds == {torch.Tensor if isinstance(start, torch.Tensor) else np.ndarray}
    np.testing.assert_allclose(ends[2], ends[0], rtol=1e-12)
    np.testing.assert_array_equal(ends[1], ends[0])


def test_a_gradient_that_is_the_position_itself():
    """V = |q|^2/2 whose gradient is q, not a copy: in place, yet the same as with a copy."""

    class Alias:
        def value_and_grad(self, q):
            return (q @ q) / 2, q

    class Copy(Alias):
        def value_and_grad(self, q):
            return (q @ q) / 2, q.copy()

    for name in ALL:
        options = {"method": name, "events": lambda t, x: x[0] - 0.5, "monitor": None, **setting(name)}
        ends = [simulate(HeavyBall(V(), friction=0.3), (0, 2), [1.0, 0.2], **options) for V in (Alias, Copy)]
        np.testing.assert_array_equal(ends[0].y, ends[1].y)
        np.testing.assert_array_equal(ends[0].t_events[0], ends[1].t_events[0])


def test_what_a_point_knows():
    seen = []

    def look(point):
        seen.append(point)
        assert isinstance(point.q, torch.Tensor)
        V, g = Wells().value_and_grad(point.q.numpy())
        np.testing.assert_allclose([point.potential, point.kinetic], [V, float(point.p @ point.p) / 4], rtol=1e-13)
        np.testing.assert_allclose(point.hamiltonian, point.potential + point.kinetic, rtol=1e-15)
        np.testing.assert_allclose(point.gradient.numpy(), g, rtol=1e-12)
        np.testing.assert_allclose(point.climb, g @ point.p.numpy() / 2, rtol=1e-12)
        np.testing.assert_array_equal(point.x.numpy(), np.concatenate([point.q, point.p]))
        return float(point.q[0]) - 0.5

    system = HeavyBall(Wells(), mass=2.0)
    sol = simulate(system, (0, 4), [1.8, -0.2, 0.0, 0.5], method="strang", step=0.1, events=Guard(look, name="look"), monitor=None)
    assert len(sol.t_events[0]) > 0
    assert seen[0].system is system
    flow = []
    simulate(GradientFlow(Wells()), (0, 1), [1.8, -0.2], method="rk4", step=0.1, observables={"x": lambda point: flow.append(point) or 0.0})
    with pytest.raises(ArgumentError, match=r"has no momenta: use point\.x"):
        flow[0].p  # noqa: B018


def test_masses_of_each_parameter_against_a_scaled_problem():
    """q -> sqrt(m) q turns per-parameter masses into unit ones, and friction gamma/m into one per parameter: compare with rk4 at 1e-9."""
    masses = np.array([0.5, 3.0])
    ball = HeavyBall(Wells(), mass=masses, friction=0.4)

    def field(t, y):
        q, p = y[:2], y[2:]
        return np.concatenate([p / masses, -Wells().value_and_grad(q)[1] - 0.4 * p / masses])

    x0 = at_rest([1.4, -0.3])
    exact = simulate(field, (0, 3), x0, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    for name, error in (("blanes-moan-6", 1e-8), ("rk4", 1e-4), ("strang", 2e-2), ("DOP853", 1e-4)):
        sol = simulate(ball, (0, 3), x0, method=name, **setting(name))
        np.testing.assert_allclose(sol.y[:, -1], exact, atol=error)
        assert sol.energy_balance().holds


@pytest.mark.parametrize("name", SPLITTINGS)
def test_locating_an_event_leaves_a_networks_run_as_it_was(name):
    """Shorter steps are tried elsewhere than in the module's memory, where the run stands."""
    _, V = network()
    system = HeavyBall(V, friction=0.1)
    quiet = simulate(system, (0, 3), V.initial_state(), method=name, step=0.1, monitor=None)
    middle = quiet.energy.potential[15]
    crossing = Guard(lambda point: point.potential - middle - 1e-5, name="crossing")
    loud = simulate(system, (0, 3), V.initial_state(), method=name, step=0.1, monitor=None, events=crossing)
    assert len(loud.t_events[0]) > 0
    np.testing.assert_array_equal(loud.y, quiet.y)


# --- derivatives through a run --------------------------------------------------------------------------------------------------------
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", ["strang", "rk4"])
def test_the_first_gradient_of_a_run_keeps_its_tangent(name):
    """The end's derivative with respect to the start, in forward mode; the gradient looked at before the run is its first."""
    x0, direction = (torch.tensor(v, dtype=torch.float64) for v in ([1.3, -0.4, 0.2, 0.5], [1.0, -0.5, 0.3, 2.0]))
    system = HeavyBall(lambda q: (q**4).sum(-1) / 4 + q[..., 0] * q[..., 1], friction=0.3)

    def end(x):
        seen = []
        look = {"end": lambda point: seen.append(point.x.clone()) or 0.0}
        simulate(system, (0.0, 0.2), x, method=name, step=0.1, monitor=None, observables=look)
        return seen[-1]

    with torch.autograd.forward_ad.dual_level():
        tangent = torch.autograd.forward_ad.unpack_dual(end(torch.autograd.forward_ad.make_dual(x0, direction))).tangent
    difference = (end(x0 + 1e-6 * direction) - end(x0 - 1e-6 * direction)) / 2e-6
    np.testing.assert_allclose(tangent, difference, atol=1e-8)
