"""A network on handwritten digits as a heavy ball: it rolls until 80 % of the loss is gone, then brakes."""
import numpy as np
import torch

import phdyn
from phdyn import data, networks

digits = data.digits()  # 1,797 images, scaled to [0, 1], split
torch.manual_seed(0)
model = networks.mlp((64, 64, 64, 10))
V = phdyn.NetworkLoss(model, torch.nn.functional.cross_entropy, digits.x_train, digits.y_train)
friction = phdyn.SwitchedFriction(explore=0.05, exploit=3.0, goal=phdyn.LossGoal(reduction=0.8))
system = phdyn.HeavyBall(V, friction=friction)
sol = phdyn.simulate(system, (0.0, 60.0), V.initial_state(), method="strang", step=0.2, record="energy", progress=True)
print(sol, sol.switches, sol.energy_balance(), sep="\n")
phdyn.plot_energy(sol)


def accuracy():
    with torch.no_grad():
        return (model(digits.x_test).argmax(1) == digits.y_test).float().mean().item()


assert V.dim == 8970 and V.dtype == torch.float32 and sol.y.dtype == np.float32
assert sol.success and len(sol.switches) == 1
assert 5 < sol.switches.first() < 12  # 7.6 to 8.2 with three seeds
loss = sol.energy.potential
assert abs(loss[0] - np.log(10)) < 0.15  # an untrained classifier of ten classes
assert abs(sol.switches[0].loss / (0.2 * loss[0]) - 1) < 1e-3
assert loss[-1] < 0.25 and accuracy() > 0.90  # 0.17 and 0.94 with three seeds
assert sol.nfev <= 308 and sol.y.shape == (2 * V.dim, 2) and len(sol.energy.t) >= 301
assert sol.energy_balance().holds and np.abs(sol.energy.residual).max() < 0.03
V.load(sol.q[:, 0])  # back to the untrained network
assert accuracy() < 0.4
again = phdyn.simulate(system, (0.0, 60.0), V.initial_state(), method="strang", step=0.2, record="ends")
np.testing.assert_array_equal(again.y, sol.y)  # recording changes nothing
