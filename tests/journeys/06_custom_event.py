"""Events of one's own: scipy's, counted and terminal; and a guard on energies, which cost nothing."""
import numpy as np

import phdyn
from phdyn.events import Guard
from phdyn.potentials import Quadratic


def crossing(t, x):  # scipy's contract: x is NumPy, positions then momenta
    return x[0]


crossing.terminal, crossing.direction = 3, -1  # stop at the third falling crossing
equipartition = Guard(lambda point: point.kinetic - point.potential, name="T = V")  # tensors, whole batch at once

w = np.sqrt(1 - 0.1**2)  # q = exp(-0.1 t) (cos w t + 0.1 / w sin w t)
exact = (np.pi - np.arctan(w / 0.1) + 2 * np.pi * np.arange(3)) / w
system = phdyn.HeavyBall(Quadratic([1.0]), friction=0.2)
for method, options, tolerance in (("strang", dict(step=0.05), 5e-3), ("rk4", dict(step=0.05), 1e-5),
                                   ("blanes-moan-4", dict(step=0.2), 1e-3), ("dopri5", dict(rtol=1e-9, atol=1e-11), 1e-6),
                                   ("DOP853", dict(rtol=1e-9, atol=1e-11), 1e-6)):
    sol = phdyn.simulate(system, (0.0, 100.0), [1.0, 0.0], method=method, events=[crossing, equipartition], **options)
    assert sol.status == 1 and sol.success, method
    np.testing.assert_allclose(sol.t_events[0], exact, atol=tolerance)
    assert sol.t[-1] == sol.t_events[0][-1] and np.abs(sol.y_events[0][:, 0]).max() < 1e-8
    halves = sol.y_events[1]
    assert halves.shape == (len(sol.t_events[1]), 2)
    np.testing.assert_allclose(np.abs(halves[:, 0]), np.abs(halves[:, 1]), atol=1e-7)
