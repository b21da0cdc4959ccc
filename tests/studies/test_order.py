"""The order of a method is measured, with friction and without, and a wrong declaration is seen."""

import numpy as np
import pytest

import phdyn
from phdyn import methods, studies
from phdyn.errors import ArgumentError
from phdyn.methods import ButcherTableau, Splitting

FIXED = [name for name in methods.names() if methods.get(name).fixed]


@pytest.mark.parametrize("friction", [0.0, 0.3])
@pytest.mark.parametrize("name", FIXED)
def test_declared_is_measured(name, friction):
    assert studies.measure_order(name, friction=friction) == pytest.approx(methods.get(name).order, abs=0.1)


@pytest.mark.parametrize("name", FIXED)
def test_declared_is_measured_under_nesterovs_friction(name):
    """3/t from t = 2 on, with the same force."""
    assert studies.measure_order(name, friction=phdyn.NesterovFriction()) == pytest.approx(methods.get(name).order, abs=0.1)


@pytest.mark.parametrize("name", ["RK45", "DOP853", "RK23", "dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"])
def test_explicit_pairs_are_held_to_fixed_steps(name):
    assert studies.measure_order(name) == pytest.approx(methods.get(name).order, abs=0.1)


@pytest.mark.parametrize("name", ["LSODA", "Radau", "BDF"])
def test_what_adapts_more_than_its_step_is_refused(name):
    with pytest.raises(ArgumentError, match=name):
        studies.measure_order(name)


def test_a_wrong_declaration_is_seen():
    weights = (1 / 6, 1 / 3, 1 / 3, 1 / 6)
    slipped = ButcherTableau("slip", 4, ((), (0.5,), (0.1, 0.4), (0.0, 0.0, 1.0)), weights, (0.0, 0.5, 0.5, 1.0), "rk4 with a wrong row")
    assert studies.measure_order(slipped) < 3.5
    claimed = Splitting("claimed", 4, (), (), "strang, which claims too much")
    assert studies.measure_order(claimed) == pytest.approx(2, abs=0.1)


def test_friction_as_a_map_of_its_own_around_a_conservative_method_would_be_seen():
    """The friction of the problem is felt: a method whose drift forgets it does not converge to the solution."""
    free = studies.measure_order("yoshida-4", friction=0.0)
    damped = studies.measure_order("yoshida-4", friction=0.3)
    assert free == pytest.approx(4, abs=0.1)
    assert damped == pytest.approx(4, abs=0.1)
    assert free != damped


def test_steps_that_a_method_refuses_are_left_out():
    assert studies.measure_order("yoshida-4", friction=10.0) == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("friction", [-0.1, np.nan, np.inf])
def test_friction_must_be_a_rate(friction):
    with pytest.raises(ArgumentError, match="friction"):
        studies.measure_order("strang", friction=friction)
