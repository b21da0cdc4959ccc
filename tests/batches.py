"""What the tests of batches share: a batch compared with the single runs of its trajectories."""

from __future__ import annotations

from typing import Any

import numpy as np

import phdyn
from phdyn.batches import of_trajectory

COUNTS = ("nsteps", "nfev", "nvev", "njev", "nlu", "nrejected")
ROUNDED = {"nfev": 2}
"""By how much counts may differ: where a guard is at rounding, rounding decides whether a last correction is asked for."""


def own(value: Any, k: int) -> Any:
    """Return what trajectory k has of an event or goal that a batch has one each of."""
    return value.of(k) if isinstance(value, phdyn.LossGoal) else value


def solos(system: Any, span: Any, x0: Any, **options: Any) -> list[phdyn.Solution]:
    """Return the single runs; of goals and rates with one entry a trajectory each run has its own."""
    events = options.pop("events", None)
    runs = []
    for k in range(len(x0)):
        several = None if events is None else [own(event, k) for event in events]
        runs.append(phdyn.simulate(of_trajectory(system, k), span, x0[k], events=several, **options))
    return runs


def close(ours: Any, theirs: Any, what: str, rtol: float = 1e-12, atol: float = 1e-12) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol, err_msg=what)


def on_grid(solo: phdyn.Solution, t: Any) -> Any:
    """Return which columns of a single run are the batch's: the last at each time of the grid, the end where it has ended before."""
    sign = 1.0 if t[-1] >= t[0] else -1.0
    return np.searchsorted(sign * solo.t, np.minimum(sign * t, sign * solo.t[-1]), side="right") - 1


def same_table(ours: Any, theirs: Any, what: str, rtol: float, atol: float) -> None:
    assert len(ours) == len(theirs), f"{what}: {ours} {theirs}"
    for name in theirs.keys():  # noqa: SIM118
        if theirs[name].dtype.kind == "f" and ours[name].dtype.kind == "f":
            close(ours[name], theirs[name], f"{what}.{name}", rtol, atol)
        elif name != "event" or "..." not in "".join(map(str, ours[name])):  # goals of all are named together
            assert ours[name].tolist() == theirs[name].tolist(), f"{what}.{name}"


def same_run(
    sol: phdyn.Solution,
    k: int,
    solo: phdyn.Solution,
    *,
    rtol: float = 1e-12,
    atol: float = 1e-12,
    counts: bool = True,
    verdict: bool = True,
) -> None:
    """Compare trajectory k of a batch with its single run: states, energies, switches, events, counts, what it may go on from."""
    where = f"trajectory {k}: "
    assert sol.status[k] == solo.status, f"{where}{sol.message[k]!r}, not {solo.message!r}"
    assert sol.success[k] == solo.success
    close(sol.t_end[k], solo.t_end, where + "t_end", rtol, atol)
    if counts:
        ours, theirs = ({name: int(getattr(run, name)) for name in COUNTS} for run in (sol.trajectory(k), solo))
        apart = {name: abs(ours[name] - theirs[name]) for name in ours}
        assert all(number <= ROUNDED.get(name, 0) for name, number in apart.items()), f"{where}{ours}, not {theirs}"
    at = on_grid(solo, sol.t)
    close(sol.y[k], solo.y[:, at], where + "y", rtol, atol)
    close(sol.y[k, :, -1], solo.y[:, -1], where + "the end", rtol, atol)
    assert sol.y.dtype == solo.y.dtype
    assert sol.modes[k].tolist() == solo.modes[at].tolist(), where + "modes"
    same_table(sol.switches.of(k), solo.switches, where + "switches", rtol, atol)
    for ours, theirs in zip(sol.trajectory(k).switches, solo.switches, strict=True):
        if hasattr(theirs, "x_before"):
            close(ours.x_before, theirs.x_before, where + "x_before", rtol, atol)
            close(ours.x_after, theirs.x_after, where + "x_after", rtol, atol)
    same_table(sol.trajectory(k).near_misses, solo.near_misses, where + "near misses", rtol, atol)
    same_events(sol, k, solo, rtol, atol)
    same_energy(sol, k, solo, at, rtol, atol)
    if verdict:  # between the steps' ends, at switches, only a single run sees the residual
        assert sol.energy_balance()[k].verdict == solo.energy_balance().verdict, f"{where}{sol.energy_balance()[k]}"
    same_state(sol.trajectory(k).state, solo.state, where, rtol, atol)


def same_events(sol: phdyn.Solution, k: int, solo: phdyn.Solution, rtol: float, atol: float) -> None:
    assert (sol.t_events is None) == (solo.t_events is None)
    for event in range(len(solo.t_events or [])):
        ours, theirs = sol.t_events[event][k], solo.t_events[event]
        assert len(ours) == len(theirs), f"trajectory {k}, event {event}: {ours}, not {theirs}"
        close(ours, theirs, f"trajectory {k}, times of event {event}", rtol, atol)
        close(sol.y_events[event][k], solo.y_events[event], f"trajectory {k}, states at event {event}", rtol, atol)


def same_energy(sol: phdyn.Solution, k: int, solo: phdyn.Solution, at: Any, rtol: float, atol: float) -> None:
    if len(solo.energy.t) != len(solo.t):
        at = [0, -1]
    for name, ours in vars(sol.energy).items():
        theirs = getattr(solo.energy, name)
        if name != "t" and theirs is not None:
            close(ours[k][[0, -1]], theirs[[0, -1]], f"trajectory {k}, {name} at the ends", rtol, atol)
            if len(sol.energy.t) == len(at):
                close(ours[k], theirs[at], f"trajectory {k}, {name}", rtol, atol)


def same_state(ours: Any, theirs: Any, where: str, rtol: float, atol: float) -> None:
    close(ours.t, theirs.t, where + "state.t", rtol, atol)
    close(ours.x, theirs.x, where + "state.x", rtol, atol)
    assert ours.mode == theirs.mode
    close(ours.entered, theirs.entered, where + "state.entered", rtol, atol)
    close(ours.reference, theirs.reference, where + "state.reference", rtol, atol)
    close(ours.account, theirs.account, where + "state.account", rtol, atol)
    for mine, want in zip(ours.guards, theirs.guards, strict=bool(theirs.guards)):  # none where the start is not finite
        assert (mine.side, mine.fired) == (want.side, want.fired), f"{where}{mine}, not {want}"
        assert mine.name == want.name or "..." in mine.name
        close([mine.closest, mine.closest_time, mine.level], [want.closest, want.closest_time, want.level], where + mine.name, rtol, atol)


def same(
    system: Any, span: Any, x0: Any, *, rtol: float = 1e-12, atol: float = 1e-12, counts: bool = True, verdict: bool = True, **options: Any
) -> phdyn.Solution:
    """Run a batch and the single runs of its trajectories, compare, and return the batch."""
    sol = phdyn.simulate(system, span, x0, **options)
    for k, solo in enumerate(solos(system, span, x0, **options)):
        same_run(sol, k, solo, rtol=rtol, atol=atol, counts=counts, verdict=verdict)
    return sol
