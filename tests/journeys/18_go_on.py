"""A run goes on from the state of another: mode, guards and account included; nothing fires twice."""
import numpy as np

import phdyn
from phdyn.potentials import MultiWell

friction = phdyn.SwitchedFriction(explore=0.05, exploit=3.0, goal=phdyn.LossGoal(reduction=0.97))
system = phdyn.HeavyBall(MultiWell(), friction=friction)
x0 = phdyn.at_rest([7.2])
whole = phdyn.simulate(system, (0.0, 20.0), x0, method="strang", step=0.02)
first = phdyn.simulate(system, (0.0, 8.0), x0, method="strang", step=0.02)  # brakes at 3.76
second = phdyn.simulate(system, (8.0, 20.0), first.state, method="strang", step=0.02)

assert len(first.switches) == 1 and len(second.switches) == 0  # the goal does not fire again
assert set(second.modes) == {"exploit"}
np.testing.assert_allclose(second.y[:, -1], whole.y[:, -1], atol=1e-10)
assert abs(second.energy.dissipated[0] - first.energy.dissipated[-1]) < 1e-14  # one account
np.testing.assert_allclose(second.energy.dissipated[-1], whole.energy.dissipated[-1], rtol=1e-10)

# a naive restart from the located event does not fire it a second time either
goal = phdyn.LossGoal(reduction=0.97, terminal=True)
glide = phdyn.HeavyBall(MultiWell(), friction=0.05)
hit = phdyn.simulate(glide, (0.0, 20.0), x0, method="strang", step=0.02, events=goal)
assert hit.status == 1 and abs(hit.t[-1] - 3.7626) < 5e-3
value = phdyn.LossGoal(value=float(hit.energy.potential[-1]), terminal=True)
beyond = phdyn.simulate(glide, (hit.t[-1], hit.t[-1] + 0.1), hit.y[:, -1], method="strang", step=0.02, events=value)
assert beyond.status == 0 and len(beyond.t_events[0]) == 0
