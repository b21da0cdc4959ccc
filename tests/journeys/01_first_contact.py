"""The first ten minutes: a ball in a landscape of wells, a goal at 97 % of the loss, and a brake that is not too early."""
import numpy as np

import phdyn
from phdyn.potentials import MultiWell

V = MultiWell()  # 0.05 q^2 + 1 - cos 3q: wells at 0, 2.07, 4.14, 6.21
friction = phdyn.SwitchedFriction(explore=0.05, exploit=3.0, goal=phdyn.LossGoal(reduction=0.97))
system = phdyn.HeavyBall(V, friction=friction)
sol = phdyn.simulate(system, (0.0, 60.0), phdyn.at_rest([7.2]), method="strang", step=0.02)
print(sol, sol.switches, sol.energy_balance(), sep="\n")
ax = phdyn.plot_energy(sol)

V0 = 0.05 * 7.2**2 + 1 - np.cos(3 * 7.2)  # 4.516472
assert sol.success and sol.status == 0 and sol.t[-1] == 60.0
assert sol.y.shape == (2, len(sol.t)) and np.all(np.diff(sol.t) > 0)
assert len(sol.switches) == 1
switch = sol.switches[0]
assert (switch.source, switch.target) == ("explore", "exploit")
assert abs(switch.time - 3.762634) < 5e-3  # DOP853 at 1e-10
assert abs(switch.loss / (0.03 * V0) - 1) < 1e-6  # located on the step itself
assert switch.time in sol.t and sol.modes[0] == "explore" and sol.modes[-1] == "exploit"
assert abs(sol.y[0, -1]) < 1e-5 and V.value(sol.q[:, -1]) < 1e-9  # the global minimum
assert abs(sol.energy.hamiltonian[0] - V0) < 1e-12 and abs(sol.energy.dissipated[-1] - V0) < 0.01 * V0
assert np.all(np.diff(sol.energy.dissipated) >= 0) and sol.energy_balance().holds
assert len(sol.t) == 3001 + 1 and 3001 <= sol.nfev <= 3008  # the grid, and the switch; one gradient a step

early = phdyn.SwitchedFriction(explore=0.05, exploit=3.0, goal=phdyn.LossGoal(reduction=0.30))
lost = phdyn.simulate(phdyn.HeavyBall(V, friction=early), (0.0, 60.0), phdyn.at_rest([7.2]), method="strang", step=0.02)
assert abs(V.value(lost.q[:, -1]) - 1.952152) < 1e-4  # who brakes early, loses
