"""simulate: the one way in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phdyn import arguments
from phdyn.batches import batch_of, one_by_one, steps_together
from phdyn.ensemble import Ensemble
from phdyn.errors import ArgumentError
from phdyn.run import Run
from phdyn.solution import Solution


def simulate(
    system: Any,
    t_span: tuple[float, float],
    x0: Any,
    *,
    method: Any = "RK45",
    step: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    max_step: float | None = None,
    first_step: float | None = None,
    t_eval: Any = None,
    dense_output: bool = False,
    events: Any = None,
    args: tuple[Any, ...] = (),
    record: str = "states",
    observables: Mapping[str, Any] | None = None,
    monitor: str | None = "warn",
    progress: bool = False,
    max_steps: int = 1_000_000,
    max_nfev: int | None = None,
    max_switches: int = 1000,
    residual_parts: bool = False,
) -> Solution:
    """Integrate a system, or a plain ``fun(t, x, *args)``, over a time span.

    Parameters
    ----------
    system : HeavyBall, GradientFlow, PortHamiltonianSystem or callable
        What moves.
    t_span : (2,) floats
        Start and end; backwards if the end is smaller.
    x0 : (size,) or (batch, size) array_like, tensor or State
        Initial state (positions, then momenta, for a heavy ball), or ``sol.state`` to go on from a run. Of a batch each trajectory is what
        a single run would be, with its own switches, events, counts and status. Heavy balls and gradient flows with a fixed step go
        together; whatever else (adaptive methods, which need ``t_eval`` or ``record="ends"``; mode graphs, ``t_eval``, dense output,
        observables) goes one trajectory after the other.
    method : str or Method
        One of ``phdyn.methods.names()``, or an object.
    step : float
        For methods with a fixed step; the grid ``t0 + k step`` does not move at switches.
    rtol, atol : float
        For adaptive methods; 1e-6 and 1e-9, tighter than scipy's defaults, at which weakly damped runs fail their energy balance.
    max_step, first_step : float, optional
        For adaptive methods. With a plain callable input u, max_step defaults to a hundredth of the span: an adaptive method steps over
        what it has not seen.
    t_eval : (k,) array_like, optional
        Times at which to keep the state, instead of what ``record`` says.
    dense_output : bool
        Whether to return ``sol.sol(t)``.
    events : event or sequence of events, optional
        scipy's ``event(t, x, *args)`` with ``terminal`` and ``direction``, or those of ``phdyn.events``.
    args : tuple
        More arguments of a plain ``fun`` and of its events.
    record : {"states", "energy", "ends"}
        States and energies at every step; energies at every step (thinned beyond 4,096 rows) and states at both ends; both ends.
    observables : dict, optional
        Name to ``f(point)`` or ``Every(k, f)``: columns of ``sol.observed``.
    monitor : {"warn", "raise", None}
        What happens, while running, when the energy balance is violated.
    progress : bool
        Whether to show a progress bar.
    max_steps, max_nfev, max_switches : int
        Budgets; when one is spent the run ends with a status.
    residual_parts : bool
        Whether a splitting follows what of the energy residual comes from the scheme and what from the gradient, without further gradients:
        columns of ``sol.energy`` and ``sol.energy_balance().parts``. It holds a few vectors for each gradient of a step. Single runs only.

    Returns
    -------
    Solution
        Whatever happens in the run: failures end in a status, with all that was computed.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Wrong arguments, before any work.
    EnergyBalanceError
        Under ``monitor="raise"``.
    """
    options = {
        "method": method,
        "step": step,
        "rtol": rtol,
        "atol": atol,
        "max_step": max_step,
        "first_step": first_step,
        "t_eval": t_eval,
        "dense": dense_output,
        "events": events,
        "args": args,
        "record": record,
        "monitor": monitor,
        "max_steps": max_steps,
        "max_nfev": max_nfev,
        "max_switches": max_switches,
        "residual_parts": residual_parts,
    }
    batch = batch_of(x0)
    if batch is not None and residual_parts:
        raise ArgumentError(f"residual_parts are followed in single runs: simulate the {batch} trajectories one at a time")
    if batch is not None and not steps_together(system, method, options, observables):
        return one_by_one(arguments.prepare, system, t_span, x0, options, observables, progress=progress)
    plan, start = arguments.prepare(system, t_span, x0, **options)
    if batch is not None:
        return Ensemble(plan, start, progress=progress).solve()
    run = Run(plan, start, observables, progress=progress)
    del start  # long vectors are not kept twice
    return run.solve()
