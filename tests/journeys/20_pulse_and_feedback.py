"""A short pulse into a circuit at rest is seen by every method, and feedback through the port is damping."""
import numpy as np
from scipy.linalg import expm

import phdyn

L, C, R, E = 1.0, 2.0, 0.5, 3.0
A = np.array([[0.0, 1 / L], [-1 / C, -R / L]])  # charge, flux


def exact(pulse, t_end):
    """Rest, then E volts during the pulse, then none."""
    x_on = np.array([C * E, 0.0])
    x = x_on - expm(A * (pulse[1] - pulse[0])) @ x_on
    return expm(A * (t_end - pulse[1])) @ x


def circuit(u, resistance=R):
    return phdyn.PortHamiltonianSystem(np.diag([1 / C, 1 / L]), J=[[0.0, 1.0], [-1.0, 0.0]], R=[[0.0, 0.0], [0.0, resistance]],
                                       G=[[0.0], [1.0]], u=u, units={"energy": "J", "time": "s"})


for pulse in ((50.0, 50.5), (50.0, 55.0)):
    system = circuit(phdyn.Steps([pulse[0], pulse[1]], [[E], [0.0]]))
    for method, options in (("RK45", dict(rtol=1e-8, atol=1e-10)), ("DOP853", dict(rtol=1e-8, atol=1e-10)), ("rk4", dict(step=0.03))):
        sol = phdyn.simulate(system, (0.0, 60.0), [0.0, 0.0], method=method, **options)
        np.testing.assert_allclose(sol.y[:, -1], exact(pulse, 60.0), atol=1e-6, err_msg=method)
        assert np.all(np.isin(pulse, sol.t)), "the jumps of an input are step ends"
        assert sol.energy_balance().holds
        stored, heat, work = sol.energy.hamiltonian[-1], sol.energy.dissipated[-1], sol.energy.supplied[-1]
        assert work > 0.1 and abs(stored + heat - work) < 1e-5
        assert sol.inputs.shape == sol.outputs.shape == (1, len(sol.t))
        np.testing.assert_allclose(sol.outputs[0], sol.y[1] / L, atol=1e-12)

gain = 0.7  # u = -gain y through the port is the same motion as that much more resistance
fed = phdyn.simulate(circuit(lambda t, x: [-gain * x[1] / L]), (0.0, 20.0), [1.0, 0.0], method="DOP853", rtol=1e-10, atol=1e-12)
damped = phdyn.simulate(circuit(None, R + gain), (0.0, 20.0), [1.0, 0.0], method="DOP853", rtol=1e-10, atol=1e-12)
np.testing.assert_allclose(fed.y[:, -1], damped.y[:, -1], atol=1e-8)
np.testing.assert_allclose(fed.energy.dissipated[-1] - fed.energy.supplied[-1], damped.energy.dissipated[-1], atol=1e-7)
np.testing.assert_allclose(-fed.energy.supplied[-1] / fed.energy.dissipated[-1], gain / R, atol=1e-6)
