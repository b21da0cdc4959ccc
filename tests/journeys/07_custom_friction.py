"""Friction r/t as one's own object, as a function and ready-made, against the Bessel function that solves the problem."""
import numpy as np
from scipy.special import jv

import phdyn
from phdyn.potentials import Quadratic


class PowerFriction:
    """gamma(t) = r / t: any object with rate and integral is a friction law."""

    def __init__(self, r):
        self.r = r

    def rate(self, t):
        return self.r / t

    def integral(self, t0, t1):
        return self.r * np.log(t1 / t0)


def end(friction, step):
    system = phdyn.HeavyBall(Quadratic([1.0]), friction=friction)
    x1 = [2 * jv(1, 1.0), -2 * jv(2, 1.0)]  # q = 2 J1(t) / t, p = -2 J2(t) / t, from t = 1
    return phdyn.simulate(system, (1.0, 10.0), x1, method="strang", step=step).y[:, -1]


exact = np.array([0.2 * jv(1, 10.0), -0.2 * jv(2, 10.0)])  # (0.00869455, -0.05092606)
laws = (PowerFriction(3.0), phdyn.ScheduledFriction(lambda t: 3.0 / t), phdyn.NesterovFriction(3.0))
ends = [end(law, 0.01) for law in laws]
for got in ends:
    np.testing.assert_allclose(got, exact, atol=1e-4)
np.testing.assert_allclose(ends[1], ends[0], atol=1e-9)
np.testing.assert_allclose(ends[2], ends[0], atol=1e-9)
coarse, fine = (np.linalg.norm(end(laws[0], h) - exact) for h in (0.1, 0.05))
assert abs(np.log2(coarse / fine) - 2) < 0.15  # order 2 with friction that depends on time
