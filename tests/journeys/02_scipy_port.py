"""A program written for solve_ivp runs with simulate in its place: the cannon ball, its apex and the ground."""
import numpy as np
from scipy.integrate import solve_ivp

import phdyn


def cannon(t, y, gravity):
    return [y[1], -gravity]


def ground(t, y, gravity):
    return y[0]


def apex(t, y, gravity):
    return y[1]


ground.terminal, ground.direction = True, -1
options = dict(events=(ground, apex), dense_output=True, args=(9.81,), rtol=1e-8, atol=1e-10, max_step=1.0)
for method in ("RK45", "DOP853", "Radau", "LSODA"):
    old = solve_ivp(cannon, (0.0, 100.0), [0.0, 50.0], method=method, **options)
    new = phdyn.simulate(cannon, (0.0, 100.0), [0.0, 50.0], method=method, **options)
    assert new.status == old.status == 1 and new.success
    np.testing.assert_allclose(new.t, old.t, rtol=1e-9)
    np.testing.assert_allclose(new.y, old.y, rtol=1e-7, atol=1e-7)
    for mine, theirs in zip(new.t_events, old.t_events, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-8)
    assert new.y_events[0].shape == (1, 2) and new.energy is None
    np.testing.assert_allclose(new.sol(3.0), [50 * 3 - 9.81 * 4.5, 50 - 9.81 * 3], rtol=1e-6)

grid = phdyn.simulate(cannon, (0.0, 100.0), [0.0, 50.0], method="rk4", step=0.3, events=(ground, apex), args=(9.81,),
                      t_eval=np.linspace(0, 10, 11))
np.testing.assert_allclose(grid.t_events[0], [2 * 50 / 9.81], rtol=1e-9)  # RK4 is exact on a parabola
np.testing.assert_allclose(grid.t_events[1], [50 / 9.81], rtol=1e-9)
np.testing.assert_array_equal(grid.t, np.linspace(0, 10, 11))
