"""A method of one's own is one constant; its order is measured before it is believed."""
import numpy as np

import phdyn
from phdyn import studies
from phdyn.methods import ButcherTableau, Splitting, get, names, register
from phdyn.potentials import Quadratic

w = 1 / (2 - 2 ** (1 / 3))
TRIPLE = Splitting(name="my-triple-jump", order=4, kicks=(w / 2,), drifts=(w,), source="Yoshida 1990, Phys. Lett. A 150")
HEUN = ButcherTableau(name="my-heun", order=2, rows=((), (1.0,)), weights=(0.5, 0.5), nodes=(0.0, 1.0), source="Heun 1900")

assert abs(studies.measure_order(TRIPLE, friction=0.0) - 4) < 0.15
assert abs(studies.measure_order(TRIPLE) - 4) < 0.15  # and with friction on: the damped drift is exact
assert abs(studies.measure_order(HEUN) - 2) < 0.15

system = phdyn.HeavyBall(Quadratic([1.0, 4.0]), friction=0.1)
mine = phdyn.simulate(system, (0.0, 10.0), [1.0, 1.0, 0.0, 0.0], method=TRIPLE, step=0.1)
theirs = phdyn.simulate(system, (0.0, 10.0), [1.0, 1.0, 0.0, 0.0], method="yoshida-4", step=0.1)
np.testing.assert_allclose(mine.y, theirs.y, atol=1e-12)  # the same scheme
assert mine.energy_balance().kind == "order"
register(TRIPLE)
assert "my-triple-jump" in names() and get("my-triple-jump") is TRIPLE

try:
    ButcherTableau(name="typo", order=2, rows=((), (0.5,)), weights=(0.0, 1.0), nodes=(0.0, 0.25), source="a slip")
except phdyn.PhdynError as error:
    assert "typo" in str(error) and "0.5" in str(error) and "0.25" in str(error)
else:
    raise AssertionError("a tableau whose row does not sum to its node was accepted")
