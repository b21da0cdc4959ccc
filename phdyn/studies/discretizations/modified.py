"""Which ODE do the iterates of heavy ball follow? The modified equations of Kovachki and Stuart.

With ``u+ = u + lam (u - u-) - h V'(u)`` (Kovachki & Stuart 2021, J. Mach. Learn. Res. 22, 1; METHODS 8):

- the flow ``u' = -V'/(1 - lam)``, to order h;
- the damped equation ``h (1 + lam)/2 u'' + (1 - lam) u' + V' = 0``, to order h^2;
- the perturbed flow ``u' = -[V + h (1 + lam)/(4 (1 - lam)^2) |V'|^2]'/(1 - lam)``, to order h^2.

The iterates are those of phdyn's method "sgd", the equations are a heavy ball's and gradient flows; all start on the perturbed flow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from scipy.integrate import solve_ivp

from phdyn.simulate import simulate
from phdyn.systems import HeavyBall
from phdyn.tables import Table

EQUATIONS: Final = ("flow", "damped equation", "perturbed flow")
_START, _END = 1.0, 1.0
_TIGHT: Final[dict[str, Any]] = {"method": "DOP853", "rtol": 1e-13, "atol": 1e-15}


class Hill:
    """V = q^2/2 + q^4/4 + cos q, of one position, on NumPy."""

    dim = 1

    def value(self, q: Any) -> Any:
        """Return V at the positions (..., 1)."""
        u = q[..., 0]
        return u**2 / 2 + u**4 / 4 + np.cos(u)

    def slope(self, u: Any) -> Any:
        """Return V'."""
        return u + u**3 - np.sin(u)

    def bend(self, u: Any) -> Any:
        """Return V''."""
        return 1 + 3 * u**2 - np.cos(u)

    def value_and_grad(self, q: Any) -> tuple[Any, Any]:
        """Return V and its gradient."""
        return self.value(q), self.slope(q)


def modified(steps: Sequence[float], momentum: float = 0.5) -> Table:
    """Measure how far the iterates of heavy ball are from three equations that they follow.

    Parameters
    ----------
    steps : sequence of float
        h, the learning rate, which divides 1.
    momentum : float
        lam.

    Returns
    -------
    Table
        ``step``, and the largest distance until time 1 of the iterates from each of the three equations.
    """
    rows = [(float(h), *_distances(float(h), momentum)) for h in steps]
    names = ("step", *EQUATIONS)
    return Table({name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)})


def slopes(table: Table) -> dict[str, float]:
    """Return the order at which the distance to each equation shrinks, between the two smallest steps."""
    order = np.argsort(table["step"])[:2]
    h = table["step"][order]
    return {name: float(np.log(table[name][order[1]] / table[name][order[0]]) / np.log(h[1] / h[0])) for name in EQUATIONS}


def _distances(h: float, lam: float) -> tuple[float, float, float]:
    V, count = Hill(), round(_END / h)
    weight = h * (1 + lam) / (2 * (1 - lam) ** 2)

    def flow(_: float, u: Any) -> Any:
        return -V.slope(u) / (1 - lam)

    def perturbed(_: float, u: Any) -> Any:
        return -V.slope(u) * (1 + weight * V.bend(u)) / (1 - lam)

    def damped(_: float, x: Any) -> Any:
        return np.array([x[1], -(V.slope(x[0]) + (1 - lam) * x[1]) * 2 / (h * (1 + lam))])

    times = h * np.arange(count + 1)
    before = solve_ivp(perturbed, (0.0, -h), [_START], **_TIGHT).y[0, -1]
    step, ball = np.sqrt(h), HeavyBall(V, friction=(1 - lam) / np.sqrt(h))
    start = [_START, (_START - before) / step]  # p = (u - u-)/sqrt(h)
    iterates = simulate(ball, (0.0, count * step), start, method="sgd", step=step, monitor=None).y[0]
    radau = {**_TIGHT, "method": "Radau", "rtol": 1e-12}
    paths = (
        solve_ivp(flow, (0.0, _END), [_START], t_eval=times, **_TIGHT).y[0],
        solve_ivp(damped, (0.0, _END), [_START, perturbed(0.0, _START)], t_eval=times, **radau).y[0],
        solve_ivp(perturbed, (0.0, _END), [_START], t_eval=times, **_TIGHT).y[0],
    )
    return tuple(float(np.abs(iterates - path).max()) for path in paths)  # type: ignore[return-value]
