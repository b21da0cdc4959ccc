"""Which batches step together, and the others: one trajectory after the other, merged."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from phdyn.arguments import check_goal
from phdyn.automaton import HybridAutomaton
from phdyn.errors import ArgumentError, EnergyBalanceError, PhdynError
from phdyn.events import LossGoal
from phdyn.friction import ConstantFriction, SwitchedFriction, check_rows
from phdyn.merging import merge
from phdyn.methods.catalogue import resolve
from phdyn.motion import supports_rows
from phdyn.run import Run
from phdyn.solution import Solution, State
from phdyn.systems import HeavyBall, network_of
from phdyn.transitions import Transition


def batch_of(x0: Any) -> int | None:
    """Return the number of trajectories that x0 brings; None for one state."""
    if isinstance(x0, State):
        return x0.batch
    try:
        shape = tuple(x0.shape) if isinstance(x0, torch.Tensor) else np.shape(x0)
    except ValueError:  # lists of different lengths, which are refused as x0
        return None
    return shape[0] if len(shape) == 2 else None


def steps_together(system: Any, method: Any, options: dict[str, Any], observables: Any) -> bool:
    """Say whether the trajectories of a batch can step together.

    They can with a fixed step on a heavy ball or a gradient flow, recorded on the grid; switches then change friction alone.
    """
    chosen = resolve(method)
    plain = options["t_eval"] is None and not options["dense"] and not observables
    edges = getattr(system, "transitions", [])
    return bool(
        plain
        and chosen.fixed
        and hasattr(chosen, "begin")
        and supports_rows(system)
        and not any(edge.jumps or edge.min_dwell for edge in edges)
    )


def one_by_one(prepare: Any, system: Any, t_span: Any, x0: Any, options: dict[str, Any], observables: Any, *, progress: bool) -> Solution:
    """Run the trajectories of a batch one after the other, and merge them.

    Raises
    ------
    ArgumentError
        An adaptive method without ``t_eval`` or ``record="ends"``: its trajectories have no common grid. A network's loss. What cannot
        start, before any runs, with the number of the trajectory.
    EnergyBalanceError
        Under ``monitor="raise"``, with the batch as far as it came: trajectories that wait end after a step.
    """
    method = resolve(options["method"])
    if network_of(system) is not None:
        raise ArgumentError("a network's loss takes one trajectory at a time: x0 is one state")
    if not method.fixed and options["t_eval"] is None and options["record"] != "ends":
        raise ArgumentError(f"the trajectories of a batch by '{method.name}' have no common grid: pass t_eval=..., or record=\"ends\"")
    count = batch_of(x0) or 0
    if not count:
        raise ArgumentError(f"x0 has shape {np.shape(x0)}: a batch has one trajectory or more")
    _check_numbers(system, _listed(options["events"]), count)
    runs = [_prepared(prepare, of_trajectory(system, k), t_span, x0, k, _of(options, k), observables) for k in range(count)]
    solutions: list[Solution] = []
    violated = ""
    for k in tqdm(range(count), disable=not progress, leave=False, desc="trajectories"):
        run = runs.pop(0)  # what it has recorded is in its solution
        run.interrupted = bool(violated) or (bool(solutions) and solutions[-1].status == -6)  # those that wait end after a step
        try:
            solutions.append(run.solve())
        except EnergyBalanceError as error:
            violated = violated or f"trajectory {k}: {error}"
            solutions.append(error.solution)
    grid = _grid(t_span, options, [one.t_end for one in solutions], fixed=method.fixed)
    merged = merge(solutions, t=grid, system=system, label=f"{solutions[0].label}")
    if violated:
        raise EnergyBalanceError(violated, merged)
    return merged


def _prepared(prepare: Any, system: Any, t_span: Any, x0: Any, k: int, options: dict[str, Any], observables: Any) -> Run:
    """Return the run of trajectory k, after looking whether it can start."""
    try:
        plan, start = prepare(system, t_span, x0[k], **options)
        run = Run(plan, start, observables, progress=False)
        levels = [(edge.event, edge.event.level(run.reference)) for edge in _waiting(run)]
    except PhdynError as error:
        if not k:  # what is wrong with all of them
            raise
        raise type(error)(f"trajectory {k}: {error}") from error
    height = run.knot.V
    for event, level in levels:
        if height <= level:
            raise ArgumentError(
                f"{event} is met at the start of trajectory {k} already: V(q0) = {height:.6g}, goal {level:.6g}; a switch needs a crossing"
            )
    return run


def _waiting(run: Run) -> list[Transition]:
    """Return the transitions whose goal a fresh run waits for, where its loss is a number."""
    fresh = run.plan.before is None and np.isfinite(run.reference)
    return [edge for edge in run.plan.transitions if fresh and edge.source == run.mode and isinstance(edge.event, LossGoal)]


def _grid(t_span: Any, options: dict[str, Any], ends: list[float], *, fixed: bool) -> Any:
    """Return the times on which all trajectories are recorded, up to the end of the step in which the last of them has ended."""
    t0, t_end = (float(t) for t in t_span)
    sign = 1.0 if t_end > t0 else -1.0
    last = sign * max(sign * t for t in ends)
    slack = 1e-13 * max(abs(t0), abs(t_end))
    if options["t_eval"] is not None:
        times = np.array(options["t_eval"], dtype=np.float64)
        return times[sign * (times - last) <= slack]
    if not fixed:
        return np.array([t0, last])
    step = sign * float(options["step"])
    count = ceil((t_end - t0) / step - 1e-9)
    times = np.array([*(t0 + k * step for k in range(count)), t_end])
    times = times[: np.count_nonzero(sign * (times - last) < -slack) + 1]
    return times if options["record"] == "states" else np.array([t0, times[-1]])


def _of(options: dict[str, Any], k: int) -> dict[str, Any]:
    """Return the options of one trajectory."""
    return options if options["events"] is None else {**options, "events": [_event_of(event, k) for event in _listed(options["events"])]}


def _listed(events: Any) -> list[Any]:
    return [] if events is None else list(events) if isinstance(events, (list, tuple)) else [events]


def _check_numbers(system: Any, events: list[Any], count: int) -> None:
    """Check that rates and goals of each trajectory are as many as there are trajectories."""
    parts = list(system.modes.values()) if isinstance(system, HybridAutomaton) else [system]
    for part in parts:
        for law in getattr(part, "laws", {}).values():
            check_rows(law, count)
    for event in [*(edge.event for edge in getattr(system, "transitions", [])), *events]:
        check_goal(event, count)


def _event_of(event: Any, k: int) -> Any:
    return event.of(k) if isinstance(event, LossGoal) else event


def of_trajectory(system: Any, k: int) -> Any:
    """Return the system of trajectory k: rates and goals that a batch has one each of are its own."""
    if isinstance(system, HybridAutomaton):
        whole = copy(system)
        whole.modes = {name: of_trajectory(part, k) for name, part in system.modes.items()}
        whole.transitions = [replace(edge, event=_event_of(edge.event, k)) for edge in system.transitions]
        return whole
    if not isinstance(system, HeavyBall):
        return system
    own = copy(system)
    friction = system.friction
    if isinstance(friction, SwitchedFriction):
        switched = copy(friction)
        switched.laws = {name: _law_of(law, k) for name, law in friction.laws.items()}
        switched.transitions = [replace(edge, event=_event_of(edge.event, k)) for edge in friction.transitions]
        own.friction = switched
    else:
        own.friction = _law_of(friction, k)
    return own


def _law_of(law: Any, k: int) -> Any:
    return ConstantFriction(float(law.rate(0.0)[k])) if isinstance(law, ConstantFriction) and law.count is not None else law
