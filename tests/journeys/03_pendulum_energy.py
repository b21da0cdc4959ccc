"""A damped pendulum from a one-line torch function: energies, their balance, a figure; and a run that is too loose, caught."""
import tempfile
from pathlib import Path

import numpy as np
import torch

import phdyn


def height(q):  # any torch function: (..., n) -> (...)
    return (1 - torch.cos(q)).sum(-1)


system = phdyn.HeavyBall(height, friction=0.1)
sol = phdyn.simulate(system, (0.0, 50.0), [2.0, 0.0])  # RK45, rtol 1e-6: no step to choose
ax = phdyn.plot_energy(sol)
out = Path(tempfile.mkdtemp())
phdyn.plots.save(ax, out / "pendulum")

energy, balance = sol.energy, sol.energy_balance()
assert sol.success and isinstance(sol.y, np.ndarray) and sol.y.dtype == np.float64
np.testing.assert_allclose(sol.y[:, -1], [-0.129569, 0.076644], atol=1e-3)  # DOP853 at 1e-12
assert abs(energy.hamiltonian[0] - (1 - np.cos(2.0))) < 1e-12
assert abs(energy.hamiltonian[-1] - 0.0113195) < 1e-4 and abs(energy.dissipated[-1] - 1.4048274) < 1e-4
np.testing.assert_allclose(energy.kinetic + energy.potential, energy.hamiltonian, atol=1e-14)
np.testing.assert_allclose(energy.residual, energy.hamiltonian - energy.hamiltonian[0] + energy.dissipated, atol=1e-12)
assert balance.holds and balance.kind == "tolerance" and balance.residual < 1e-3
assert ax.get_xlabel() and ax.get_ylabel()
assert (out / "pendulum.png").stat().st_size > 0 and (out / "pendulum.pdf").stat().st_size > 0

sloppy = phdyn.simulate(phdyn.HeavyBall(height, friction=1e-3), (0.0, 200.0), [1.0, 0.0],
                        method="RK45", rtol=1e-3, atol=1e-6, monitor=None)  # scipy's defaults
tight = phdyn.simulate(phdyn.HeavyBall(height, friction=1e-3), (0.0, 200.0), [1.0, 0.0], method="RK45", rtol=1e-8, atol=1e-10)
assert sloppy.success and not sloppy.energy_balance().holds and tight.energy_balance().holds
