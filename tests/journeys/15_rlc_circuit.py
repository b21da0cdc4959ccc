"""An RLC circuit switched onto a battery: half of the work ends as heat, and the account says so."""
import numpy as np

import phdyn

L, C, R, E = 1.0, 2.0, 0.5, 3.0
circuit = phdyn.PortHamiltonianSystem(
    hamiltonian=lambda x: x[..., 0] ** 2 / (2 * C) + x[..., 1] ** 2 / (2 * L),  # charge, flux
    J=[[0.0, 1.0], [-1.0, 0.0]], R=[[0.0, 0.0], [0.0, R]], G=[[0.0], [1.0]],
    u=lambda t, x: [E])  # volts; the output is the current
sol = phdyn.simulate(circuit, (0.0, 100.0), [0.0, 0.0], method="DOP853", rtol=1e-9, atol=1e-12)
print(sol.energy_balance())
phdyn.plot_energy(sol)

charge, flux = sol.y
stored, heat, work = sol.energy.hamiltonian, sol.energy.dissipated, sol.energy.supplied
np.testing.assert_allclose(work, E * charge, atol=1e-6)  # int E i dt = E charge, at every time
np.testing.assert_allclose(stored + heat, work, atol=1e-6)  # the power balance
np.testing.assert_allclose(sol.y[:, -1], [C * E, 0.0], atol=1e-6)
np.testing.assert_allclose([stored[-1], heat[-1], work[-1]], np.array([0.5, 0.5, 1.0]) * C * E**2, atol=1e-5)  # half is heat
np.testing.assert_allclose(circuit.output(0.0, sol.y[:, 5]), [flux[5] / L])
assert sol.energy.kinetic is None and sol.energy_balance().holds
assert np.all(np.diff(heat) >= -1e-12)

try:
    phdyn.PortHamiltonianSystem(lambda x: (x**2).sum(-1) / 2, J=[[0.0, 1.0], [1.0, 0.0]], R=np.zeros((2, 2)))
except phdyn.PhdynError as error:
    assert isinstance(error, ValueError) and "skew" in str(error)
else:
    raise AssertionError("a J that is not skew was accepted")
