"""The catalogue: names, near names, refusals with their reason, registration, and what fits what."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate
from scipy.integrate import OdeSolver
from torchdiffeq._impl.odeint import SOLVERS

import phdyn
from phdyn import ArgumentError, ArgumentTypeError, GradientFlow, HeavyBall, PortHamiltonianSystem, simulate
from phdyn.methods import Splitting, get, names, register, table
from phdyn.methods.catalogue import check_fit, resolve
from phdyn.potentials import Quadratic

BUILT_IN = {
    "explicit-euler": (1, 1),
    "conformal-euler": (1, 1),
    "sgd": (1, 1),
    "polyak": (1, 1),
    "nesterov": (1, 2),
    "dissipative-leapfrog": (2, 1),
    "implicit-damping": (2, 1),
    "strang": (2, 1),
    "position-verlet": (2, 2),
    "yoshida-4": (4, 3),
    "suzuki-4": (4, 5),
    "mclachlan-4": (4, 5),
    "blanes-moan-s6": (4, 6),
    "blanes-moan-4": (4, 6),
    "chin-4": (4, 3),
    "yoshida-6": (6, 7),
    "kahan-li-6": (6, 9),
    "blanes-moan-6": (6, 11),
    "blanes-moan-6-14": (6, 15),
    "kahan-li-8": (8, 17),
    "rk4": (4, 4),
}
IMPLICIT = {
    "gonzalez": (2, "exact"),
    "avf": (2, "exact"),
    "itoh-abe": (1, "exact"),
    "itoh-abe-symmetric": (2, "exact"),
    "implicit-euler": (1, "order"),
    "implicit-midpoint": (2, "order"),
    "gauss-4": (4, "order"),
    "gauss-6": (6, "order"),
}
ADAPTIVE = {
    "RK45": 5,
    "DOP853": 8,
    "LSODA": 12,
    "Radau": 5,
    "RK23": 3,
    "BDF": 5,
    "dopri5": 5,
    "dopri8": 8,
    "bosh3": 3,
    "fehlberg2": 2,
    "adaptive_heun": 2,
}
RULES = {"fire": 1}
BALL = HeavyBall(lambda q: (q * q).sum(-1))
PORT = PortHamiltonianSystem(np.eye(2), [[0, 1], [-1, 0]], np.zeros((2, 2)))


@pytest.fixture
def catalogue(monkeypatch):
    """A catalogue of the test's own."""
    from phdyn.methods import catalogue as module

    monkeypatch.setattr(module, "_catalogue", dict(module._catalogue))
    return module


def test_names_orders_and_costs():
    assert set(names()) == {*BUILT_IN, *IMPLICIT, *ADAPTIVE, *RULES}
    for name, (order, stages) in BUILT_IN.items():
        assert (get(name).name, get(name).order, get(name).stages, get(name).fixed) == (name, order, stages, True)
    for name, (order, kind) in IMPLICIT.items():
        assert (get(name).name, get(name).order, get(name).fixed, get(name).kind) == (name, order, True, kind)
    for name, order in ADAPTIVE.items():
        assert (get(name).name, get(name).order, get(name).fixed, get(name).kind) == (name, order, False, "tolerance")
    for name, order in RULES.items():
        assert (get(name).name, get(name).order, get(name).fixed, get(name).kind) == (name, order, False, "order")
    assert all(get(name).source for name in names())
    needs_quadratic = {name for name in names() if getattr(get(name), "requires_quadratic_kinetic", False)}
    assert needs_quadratic == {"blanes-moan-6", "blanes-moan-6-14"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("strange", r"^unknown method 'strange'; did you mean 'strang'\? phdyn.methods.names\(\) lists all$"),
        ("Strang", r"did you mean 'strang'\?"),
        ("rk45", r"did you mean 'RK45'\?"),
        ("blanes-moan4", r"did you mean 'blanes-moan-4'\?"),
        ("zzz", r"^unknown method 'zzz'; phdyn.methods.names\(\) lists all$"),
        ("leapfrog", r"^unknown method 'leapfrog': with exact friction that is 'strang'$"),
        ("verlet", "that is 'strang'$"),
        ("velocity-verlet", "that is 'strang'$"),
        ("gd", "'explicit-euler' on a GradientFlow"),
        ("euler", "phdyn's own is 'explicit-euler'"),
        ("midpoint", "methods that choose their steps; use 'strang' or 'rk4', or 'implicit-midpoint'"),
        ("heun2", "methods that choose their steps; use 'strang' or 'rk4', or 'adaptive_heun'"),
        ("heun3", "methods that choose their steps; use 'rk4', or 'bosh3'"),
        ("scipy_solver", "scipy's solvers have their own names; use 'RK45'"),
        ("tsit5", "torchdiffeq 0.2.5 does not have it"),
        ("explicit_adams", "error grows as the step shrinks"),
        ("implicit_adams", "does not converge"),
        ("fixed_adams", "does not converge"),
    ],
)
def test_unknown_and_refused_names(name, message):
    with pytest.raises(ArgumentError, match=message):
        get(name)
    with pytest.raises(ArgumentError, match=message):
        simulate(BALL, (0, 1), [1.0, 0.0], method=name, step=0.1)


def test_every_solver_of_scipy_and_torchdiffeq_is_taken_or_refused():
    """A new one would be missing in the catalogue without a word."""
    scipys = [n for n, thing in vars(scipy.integrate).items() if isinstance(thing, type) and issubclass(thing, OdeSolver)]
    assert set(scipys) - {"OdeSolver"} <= set(names())
    for name in SOLVERS:
        if name not in names():
            with pytest.raises(ArgumentError, match=f"'{name}' is refused: .*use '|is refused: phdyn's own is '"):
                get(name)


def test_a_registered_method_works_by_name(catalogue):
    mine = Splitting("mclachlan-2", 2, (0.19318332750378357396,), (), "McLachlan 1995, SIAM J. Sci. Comput. 16, 151")
    register(mine)
    assert "mclachlan-2" in names()
    assert simulate(BALL, (0, 1), [1.0, 0.0], method="mclachlan-2", step=0.1).nfev == 10 * 2 + 1
    register(mine)  # again: the same one
    with pytest.raises(ArgumentError, match="the name 'mclachlan-2' is taken by another method"):
        register(Splitting("mclachlan-2", 2, (0.2,), (), "elsewhere"))
    with pytest.raises(ArgumentError, match="the name 'strang' is taken"):
        register(Splitting("strang", 4, (), (), "elsewhere"))
    assert get("strang").order == 2


@pytest.mark.parametrize("thing", ["strang", 3, object(), lambda t, x: x])
def test_what_is_no_method_is_not_registered(catalogue, thing):
    with pytest.raises(ArgumentTypeError, match=r"is no method: it lacks .*march"):
        register(thing)
    if not isinstance(thing, str):
        with pytest.raises(ArgumentTypeError, match="is no method"):
            resolve(thing)


def test_an_object_is_a_method_too():
    mine = Splitting("mine", 2, (), (), "here", first="drift")
    assert resolve(mine) is mine
    assert resolve("rk4") is get("rk4")
    np.testing.assert_allclose(simulate(BALL, (0, 1), [1.0, 0.0], method=mine, step=0.01).q[0, -1], np.cos(np.sqrt(2)), atol=1e-4)


@pytest.mark.parametrize(
    ("system", "kind"), [(PORT, "PortHamiltonianSystem"), (GradientFlow(lambda q: q.sum(-1)), "GradientFlow"), (np.sin, "plain fun")]
)
@pytest.mark.parametrize("name", ["strang", "sgd", "conformal-euler"])
def test_a_system_without_momenta_is_told_what_it_takes(system, kind, name):
    with pytest.raises(ArgumentError, match=rf"method '{name}' needs positions and momenta \(HeavyBall\); a {kind}") as caught:
        check_fit(get(name), system)
    offered = str(caught.value).split(" takes ")[1].split(", ")
    energetic = () if kind == "plain fun" else tuple(IMPLICIT)
    assert offered == [n for n in names() if n in (*ADAPTIVE, *energetic, "explicit-euler", "rk4")]
    for offer in offered:
        check_fit(get(offer), system)
    check_fit(get(name), BALL)


def test_a_plain_function_has_no_energy_to_preserve():
    with pytest.raises(ArgumentError, match=r"'gonzalez' needs an energy \(HeavyBall, GradientFlow, PortHamiltonianSystem\); a plain fun"):
        simulate(np.sin, (0, 1), [1.0], method="gonzalez", step=0.1)


def test_the_table():
    whole = table()
    assert list(whole["method"]) == list(names())
    rows = {row.method: row for row in whole}
    strang = rows["strang"]
    assert (strang.order, strang.gradients, strang.setting, strang.systems) == ("2", "1", "step", "HeavyBall")
    assert (rows["position-verlet"].gradients, rows["blanes-moan-6-14"].gradients) == ("1 + 1", "14 + 1")  # one for the energy at the end
    assert (rows["chin-4"].gradients, rows["chin-4"].systems) == ("2 + 1 product", "HeavyBall")
    assert (rows["LSODA"].order, rows["LSODA"].gradients, rows["LSODA"].setting) == ("1 to 12", "adaptive", "rtol, atol")
    assert (rows["BDF"].order, rows["RK23"].order) == ("1 to 5", "3")
    assert rows["rk4"].systems == "all, and fun(t, x)"
    assert len(table(recommended=True)) == 8
    assert (rows["gonzalez"].gradients, rows["gonzalez"].balance, rows["gonzalez"].systems) == ("1 an iteration", "exact", "all")
    assert (rows["gauss-6"].gradients, rows["gauss-6"].setting) == ("3 an iteration", "step")
    assert set(table(PORT)["method"]) == {*ADAPTIVE, *IMPLICIT, "explicit-euler", "rk4"}
    assert set(table(BALL)["method"]) == {*BUILT_IN, *IMPLICIT, *ADAPTIVE}
    assert (rows["fire"].gradients, rows["fire"].setting, rows["fire"].systems) == ("1", "first_step, max_step", "events.fire(potential)")
    assert list(table(phdyn.events.fire(Quadratic([1.0])))["method"]) == ["fire"]
    assert "strang" in str(whole)


def test_methods_are_what_the_protocol_says():
    for name in names():
        method = get(name)
        assert method.kind in ("exact", "order", "tolerance")
        assert method.family in ("splitting", "runge-kutta", "discrete gradient", "adaptive")
        assert hash(method) == hash(method)
        assert method == phdyn.methods.get(name)
