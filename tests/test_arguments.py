"""What cannot work raises before any work, names the value and the way out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import phdyn
from phdyn import networks
from phdyn.potentials import Quadratic, StyblinskiTang

BALL = phdyn.HeavyBall(Quadratic([1.0]), friction=0.1)
PORT = phdyn.PortHamiltonianSystem(np.eye(2), [[0.0, 1.0], [-1.0, 0.0]], np.zeros((2, 2)))
X0 = [1.0, 0.0]


def go(system: Any = BALL, span: Any = (0, 1), x0: Any = X0, **options: Any) -> phdyn.Solution:
    options = {"method": "strang", "step": 0.1, **options}
    return phdyn.simulate(system, span, x0, **{name: value for name, value in options.items() if value is not ...})


def network(dtype: torch.dtype = torch.float32) -> phdyn.NetworkLoss:
    model = networks.mlp((3, 2)).to(dtype)
    return phdyn.NetworkLoss(model, torch.nn.functional.cross_entropy, torch.randn(5, 3, dtype=dtype), torch.zeros(5, dtype=torch.long))


def numpy_height(q: Any) -> Any:
    return (1 - np.cos(q)).sum()


def math_height(q: Any) -> float:
    return float(q[0]) ** 2


def unsummed(q: Any) -> Any:
    return torch.cos(q)


SWITCHED = phdyn.SwitchedFriction(0.1, 30.0, phdyn.LossGoal(0.5))

TEXTS: list[tuple[str, Callable[[], Any]]] = [
    ("unknown method 'strange'; did you mean 'strang'? phdyn.methods.names() lists all", lambda: go(method="strange")),
    ("unknown method 'leapfrog': with exact friction that is 'strang'", lambda: go(method="leapfrog")),
    ("unknown method 'velocity-verlet': with exact friction that is 'strang'", lambda: go(method="velocity-verlet")),
    ("method 'strang' needs positions and momenta (HeavyBall); a PortHamiltonianSystem takes ", lambda: go(PORT)),
    ("method 'strang' needs positions and momenta (HeavyBall); a plain fun(t, x) takes ", lambda: go(lambda t, x: -x)),
    ("the potential used NumPy on a tensor: write torch.cos, or pass an object with value_and_grad",
     lambda: go(phdyn.HeavyBall(numpy_height))),
    ("the potential returned shape (1,), not (): end with .sum(-1)", lambda: go(phdyn.HeavyBall(unsummed))),
    ("the potential returned a float, so there is no gradient: use torch, not math", lambda: go(phdyn.HeavyBall(math_height))),
    ("method 'strang' takes fixed steps: pass step=...; phdyn.suggest_step(system, x0) proposes one", lambda: go(step=...)),
    ("method 'strang' takes fixed steps: pass step=..., not rtol=1e-06", lambda: go(rtol=1e-6)),
    ("method 'strang' takes fixed steps: pass step=..., not max_step=0.1", lambda: go(max_step=0.1)),
    ("method 'RK45' chooses its steps: pass rtol and atol (or max_step), not step=0.2", lambda: go(method="RK45", step=0.2)),
    ("x0 has shape (3,), not (2n,) or (batch, 2n), positions then momenta; from rest: phdyn.at_rest(q)", lambda: go(x0=[1.0, 0.0, 0.0])),
    ("x0 has shape (1,), not (2n,) or (batch, 2n)", lambda: go(x0=1.0)),
    ("x0 has shape (0,), not (2n,) or (batch, 2n)", lambda: go(x0=[])),
    ("x0 has an entry that is not finite (nan or inf)", lambda: go(x0=[np.nan, 0.0])),
    ("x0 is float64, the network float32: use V.initial_state(), or convert x0 or the model",
     lambda: go(phdyn.HeavyBall(network()), x0=np.zeros(16))),
    ("the network has 8 parameters, x0 brings 3 positions: use V.initial_state()",
     lambda: go(phdyn.HeavyBall(network()), x0=np.zeros(6, "f4"))),
    ("LossGoal(reduction=80): a fraction in (0, 1) is needed; for 80 % write 0.8", lambda: phdyn.LossGoal(reduction=80)),
    ("method 'yoshida-4' runs friction backwards: unstable with gamma = 30, step = 0.5; use 'strang', or step <= ",
     lambda: go(phdyn.HeavyBall(Quadratic([1.0]), friction=SWITCHED), method="yoshida-4", step=0.5)),
    ("V(q0) = -58 is not positive, so it has no reduction: give value=... or floor=...",
     lambda: go(phdyn.HeavyBall(StyblinskiTang(), friction=SWITCHED), x0=phdyn.at_rest([-2.0, -2.0]), step=0.01)),
    ("event 'hit' returned shape (4,) at t = 0: return one number; q is x[:2], p is x[2:]",
     lambda: go(phdyn.HeavyBall(Quadratic([1.0, 2.0])), x0=np.zeros(4), events=named("hit", lambda t, x: x))),
    ("t_span is (0, 0): two different finite times are needed", lambda: go(span=(0, 0))),
    ("t_span is (0, nan): two different finite times are needed", lambda: go(span=(0, np.nan))),
    ("t_span is 5: two times (start, end) are needed", lambda: go(span=5)),
    ("t_span is (0, 1, 2): two times (start, end) are needed", lambda: go(span=(0, 1, 2))),
    ("step is -0.1: a positive finite number is needed", lambda: go(step=-0.1)),
    ("step is nan: a positive finite number is needed", lambda: go(step=np.nan)),
    ("step is 0.1 s: a positive finite number is needed", lambda: go(step="0.1 s")),
    ("rtol is 0: a positive finite number is needed", lambda: go(method="RK45", step=..., rtol=0)),
    ("max_step is -1: a positive finite number is needed", lambda: go(method="RK45", step=..., max_step=-1)),
    ("max_steps is 0: a positive whole number is needed", lambda: go(max_steps=0)),
    ("max_nfev is 1.5: a positive whole number is needed", lambda: go(max_nfev=1.5)),
    ("friction is -0.1: a finite rate >= 0 is needed", lambda: phdyn.HeavyBall(Quadratic([1.0]), friction=-0.1)),
    ("friction is nan: a finite rate >= 0 is needed", lambda: phdyn.HeavyBall(Quadratic([1.0]), friction=np.nan)),
    ("mass is -1: positive finite numbers are needed", lambda: phdyn.HeavyBall(Quadratic([1.0]), mass=-1)),
    ("mass has 3 entries, the system 1 positions", lambda: go(phdyn.HeavyBall(Quadratic([1.0]), mass=[1.0, 2.0, 3.0]))),
    ("friction r/t is singular at t = 0: start the span at a time > 0",
     lambda: go(phdyn.HeavyBall(Quadratic([1.0]), friction=phdyn.NesterovFriction()))),
    ("J is not skew: J + J^T has an entry of 2", lambda: phdyn.PortHamiltonianSystem(np.eye(2), [[0, 1], [1, 0]], np.zeros((2, 2)))),
    ("R is not positive semidefinite: it has the eigenvalue -1, which feeds energy in",
     lambda: phdyn.PortHamiltonianSystem(np.eye(2), [[0, 1], [-1, 0]], np.diag([1.0, -1.0]))),
    ("record='all' is none of 'states', 'energy', 'ends'", lambda: go(record="all")),
    ("monitor='loud' is none of None, 'warn', 'raise'", lambda: go(monitor="loud")),
    ("t_eval must go strictly from t_span's start to its end, within (0, 1)", lambda: go(t_eval=[0.0, 2.0])),
    ("t_eval must go strictly from t_span's start to its end", lambda: go(t_eval=[0.5, 0.5])),
    ("t_eval has shape (1, 1): a list of finite times is needed", lambda: go(t_eval=[[0.5]])),
    ("args is 3: a tuple is needed, such as (3,)", lambda: go(lambda t, x, a: -a * x, method="RK45", step=..., args=3)),
    ("args belongs to a plain fun(t, x, *args); a system has its parameters", lambda: go(args=(1,))),
    ("fun(t, x) returned shape (3,), x has (2,)", lambda: go(lambda t, x: [1, 2, 3], method="rk4")),
    ("Every(0, ...): a positive number of steps is needed", lambda: phdyn.Every(0, len)),
    ("an observable cannot be called 'time'", lambda: go(observables={"time": len})),
    ("rtol=1e-08 is beyond a float32 loss: use rtol >= 1e-5", lambda: go(x0=np.float32(X0), method="RK45", step=..., rtol=1e-8)),
    ("method 'Radau' keeps a dense Jacobian: 0.3 GiB for 6,000 components",
     lambda: go(phdyn.HeavyBall(Quadratic(np.ones(3000))), x0=np.ones(6000), method="Radau", step=...)),
    ("the system is a HeavyBall, GradientFlow, PortHamiltonianSystem or fun(t, x), not 3", lambda: go(3, method="rk4")),
    ("an event is a function event(t, x), a Guard or a LossGoal, not 'crossing'", lambda: go(events="crossing")),
    ("an event is an object: pass Guard(...), not Guard", lambda: go(events=phdyn.events.Guard)),
    ("an event is an object: pass LossGoal(...), not LossGoal", lambda: go(events=[phdyn.LossGoal])),
    ("an event is an object: pass TurningPoint(...), not TurningPoint", lambda: go(events=phdyn.events.TurningPoint)),
    ("an event is an object: pass Budget(...), not Budget", lambda: go(x0=[X0, X0], events=[phdyn.events.Budget])),
    ("an event is an object: pass Budget(...), not Budget", lambda: go(x0=[X0, X0], t_eval=[1.0], events=[phdyn.events.Budget])),
    ("x0 is None: a loaded solution has no state to go on from, start from its last column, sol.y[..., -1]", lambda: go(x0=None)),
]


def named(name: str, function: Any) -> Any:
    function.__name__ = name
    return function


@pytest.mark.parametrize(("words", "act"), TEXTS, ids=[words[:50] for words, _ in TEXTS])
def test_a_mistake_is_named_with_the_way_out(words: str, act: Callable[[], Any]) -> None:
    with pytest.raises(phdyn.PhdynError) as caught:
        act()
    said = str(caught.value)
    assert said.startswith(words)
    assert isinstance(caught.value, (ValueError, TypeError))


@pytest.mark.parametrize("system", [3, "ball", None, [1.0]])
def test_what_is_no_system_is_refused(system: Any) -> None:
    for method, step in (("strang", 0.1), ("RK45", None)):
        with pytest.raises(phdyn.PhdynError):
            phdyn.simulate(system, (0, 1), X0, method=method, step=step)


@pytest.mark.parametrize("x0", [["a", "b"], [1j, 0], None, torch.zeros(2, dtype=torch.float16), [[1.0], [2.0, 3.0]]])
def test_what_is_no_array_of_numbers_is_refused(x0: Any) -> None:
    with pytest.raises(phdyn.ArgumentTypeError, match="x0"):
        go(x0=x0)


def test_a_recording_beyond_memory_is_refused_before_the_run() -> None:
    big = phdyn.HeavyBall(Quadratic(np.ones(2_000_000)))
    with pytest.raises(phdyn.ArgumentError, match=r'recording needs [\d.]+ GiB \(10,001 states\): pass record="energy" or t_eval'):
        go(big, x0=np.zeros(4_000_000), step=1e-4)
    assert go(BALL, span=(0, 0.1), step=1e-3).success


def test_wrong_arguments_raise_before_the_potential_is_asked() -> None:
    class Untouched(Quadratic):
        def value_and_grad(self, q: Any) -> Any:
            raise AssertionError("asked")

        value = value_and_grad

    system = phdyn.HeavyBall(Untouched([1.0]))
    wrong: list[dict[str, Any]] = [{"step": -1}, {"record": "all"}, {"t_eval": [9]}, {"method": "RK45"}, {"span": (1, 1)}, {"x0": [1.0]}]
    for options in [*wrong, {"max_steps": 0}, {"max_switches": -1}]:
        with pytest.raises(phdyn.ArgumentError):
            go(system, **options)


@pytest.mark.parametrize(("gamma", "step", "warned"), [(3.0, 0.5, False), (3.0, 2.5, True)])
def test_friction_run_backwards_warns(gamma: float, step: float, warned: bool) -> None:
    friction = phdyn.SwitchedFriction(0.1, gamma, phdyn.LossGoal(0.5))  # the strongest among the modes counts
    system = phdyn.HeavyBall(Quadratic([0.01]), friction=friction)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        go(system, method="blanes-moan-6", step=step, monitor=None)
    backwards = phdyn.methods.get("blanes-moan-6").negative_drift * gamma * step
    assert (backwards > 5) == warned == any(issubclass(one.category, phdyn.StabilityWarning) for one in caught)
    assert all(one.filename == __file__ for one in caught)


def test_a_plain_callable_input_bounds_adaptive_steps() -> None:
    def pushed(t: float, q: Any) -> Any:
        return [1.0 if 50.0 < t < 51.0 else 0.0]

    driven = go(phdyn.HeavyBall(Quadratic([1.0]), u=pushed), span=(0, 100), x0=[0.0, 0.0], method="RK45", step=..., monitor=None)
    assert np.diff(driven.t).max() <= 1.0 + 1e-12 and np.abs(driven.y).max() > 0.1
    free = go(BALL, span=(0, 100), method="DOP853", step=...)
    assert np.diff(free.t).max() > 1.0
    options = {"span": (0, 100), "x0": [0.0, 0.0], "method": "RK45", "step": ..., "monitor": None, "max_step": np.inf}
    wide = go(phdyn.HeavyBall(Quadratic([1.0]), u=pushed), **options)
    assert np.diff(wide.t).max() > 1.0


def test_defaults() -> None:
    sol = phdyn.simulate(BALL, (0, 1), X0)
    assert sol.method.name == "RK45" and sol.setting == "rtol 1e-06, atol 1e-09"
    assert go().setting == "step 0.1"
    assert phdyn.simulate(BALL, (0, 1), np.float32(X0)).setting == "rtol 1e-05, atol 1e-08"
