"""Mistakes raise before any work and name the way out; what goes wrong in a run ends it with a status."""
import warnings

import numpy as np
import torch

import phdyn
from phdyn.potentials import MultiWell, Quadratic, Rosenbrock, StyblinskiTang

system, x0 = phdyn.HeavyBall(Quadratic([1.0]), friction=0.1), [1.0, 0.0]
random = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.5))
go = phdyn.simulate
goal = phdyn.SwitchedFriction(explore=0.1, exploit=1.0, goal=phdyn.LossGoal(reduction=0.5))
mistakes = [
    (lambda: go(system, (0, 1), x0, method="strange", step=0.1), ValueError, "did you mean 'strang'"),
    (lambda: go(system, (0, 1), x0, method="strang"), ValueError, "step="),
    (lambda: go(system, (0, 1), x0, method="RK45", step=0.2), ValueError, "rtol"),
    (lambda: go(system, (0, 1), [1.0, 0.0, 0.0]), ValueError, "(3,)"),
    (lambda: go(system, (0, 0), x0), ValueError, "t_span"),
    (lambda: go(system, (0, 1), x0, method="strang", step=-0.1), ValueError, "-0.1"),
    (lambda: go(system, (0, 1), x0, events=lambda t, x: x), (ValueError, TypeError), "one number"),
    (lambda: phdyn.HeavyBall(Quadratic([1.0]), friction=-0.1), ValueError, "-0.1"),
    (lambda: phdyn.LossGoal(reduction=80), ValueError, "0.8"),
    (lambda: phdyn.NetworkLoss(random, torch.nn.functional.mse_loss, torch.ones(3, 4), torch.ones(3, 4)), ValueError, "eval()"),
    (lambda: go(phdyn.HeavyBall(StyblinskiTang(), friction=goal), (0, 1), phdyn.at_rest([-2.0, -2.0])), ValueError, "floor"),
    (lambda: go(phdyn.HeavyBall(Quadratic(np.ones(2_000_000))), (0, 1), np.zeros(4_000_000), method="strang", step=1e-4),
     ValueError, "record"),
]
for act, kind, words in mistakes:
    try:
        act()
    except phdyn.PhdynError as error:
        assert isinstance(error, kind) and words in str(error), (words, str(error))
    else:
        raise AssertionError(f"accepted: {words}")

warnings.simplefilter("ignore", phdyn.EnergyWarning)
for method, options in (("strang", dict(step=0.1)), ("RK45", {}), ("LSODA", {}), ("dopri5", {})):
    sol = go(phdyn.HeavyBall(lambda q: torch.log(q).sum(-1)), (0.0, 1.0), [-1.0, 0.0], method=method, **options)
    assert sol.status == -2 and not sol.success and "nan" in sol.message.lower(), method  # NaN at the very start
burst = go(phdyn.HeavyBall(Rosenbrock()), (0.0, 100.0), phdyn.at_rest([-1.2, 1.0]), method="strang", step=0.5)
assert burst.status == -2 and len(burst.t) > 1 and np.isfinite(burst.y).all()  # all that was computed, and only that
spent = go(system, (0.0, 100.0), x0, method="strang", step=0.1, max_steps=10)
assert spent.status == -3 and len(spent.t) == 11 and "max_steps" in spent.message
tired = phdyn.SwitchedFriction(explore=1.0, exploit=3.0, goal=phdyn.LossGoal(reduction=0.6))
never = go(phdyn.HeavyBall(MultiWell(), friction=tired), (0.0, 400.0), phdyn.at_rest([7.2]), method="strang", step=0.02)
assert never.success and len(never.switches) == 0 and "not reached" in str(never.switches)
assert 1.80 < never.near_misses[0].value <= 1.9522 and "not reached" in never.message
