"""What simulate was asked for, checked before any work, and turned into a plan."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any

import numpy as np
import torch

from phdyn.automaton import HybridAutomaton
from phdyn.errors import ArgumentError, ArgumentTypeError, StabilityWarning
from phdyn.events import OURS, Budget, Event, LossGoal, Stagnation
from phdyn.friction import ConstantFriction, entered
from phdyn.methods.catalogue import check_fit, resolve
from phdyn.methods.splitting import Splitting, check_stability
from phdyn.methods.stepping import Control
from phdyn.motion import Motion, bind
from phdyn.recording import MODES, check_memory
from phdyn.solution import State
from phdyn.systems import HeavyBall, Sampled, Steps, describe, network_of
from phdyn.transitions import Transition
from phdyn.typing import Array, Method
from phdyn.vectors import NumpyVectors, vectors_of

_JACOBIAN_LIMIT = 5000


@dataclass(frozen=True)
class Plan:
    """A run that can start."""

    system: Any
    motion: Motion
    method: Method
    control: Control
    t0: float
    t_end: float
    before: State | None
    stops: list[float]
    events: list[Event]
    has_events: bool
    record: str
    t_eval: Any
    dense: bool
    monitor: str | None
    max_steps: int
    max_switches: int
    dtype: Any

    @property
    def backward(self) -> bool:
        """Whether time runs backwards."""
        return self.t_end < self.t0

    @property
    def transitions(self) -> list[Transition]:
        """The edges of the system's mode graph."""
        return list(getattr(self.system, "transitions", []))

    @property
    def modes(self) -> list[str]:
        """The names of the system's modes."""
        return list(_modes(self.system))

    @property
    def first_mode(self) -> str:
        """The mode in which a fresh run starts."""
        return _first_mode(self.system)

    @property
    def setting(self) -> str:
        """Step or tolerances, or the steps of a method's own rule, as text."""
        c = self.control
        if hasattr(self.method, "options"):
            return f"first step {c.first_step:g}, longest {c.max_step:g}"
        return f"step {abs(c.step):g}" if c.step is not None else f"rtol {c.rtol:g}, atol {c.atol:g}"

    @property
    def heading(self) -> str:
        """Method, setting and precision, as the energy balance names them."""
        order = f", order {self.method.order}" if self.method.kind != "tolerance" else ""
        return f"{self.method.name}{order}, {self.setting}, {np.dtype(self.dtype).name}"

    @property
    def eps(self) -> float:
        """Spacing of numbers at 1 in the precision of the loss."""
        return float(np.finfo(self.dtype).eps)

    @property
    def label(self) -> str:
        """What moves, as text."""
        if hasattr(self.system, "potential"):
            part = describe(self.system.potential)
            return f"{type(self.system).__name__}({part if 'n = ' in part else f'{part}, n = {self.motion.dim}'})"
        if hasattr(self.system, "energy"):
            return repr(self.system)
        return f"fun {getattr(self.system, '__name__', '')}, {self.motion.size} components"


def prepare(
    system: Any,
    t_span: Any,
    x0: Any,
    *,
    method: Any,
    step: Any,
    rtol: Any,
    atol: Any,
    max_step: Any,
    first_step: Any,
    t_eval: Any,
    dense: bool,
    events: Any,
    args: tuple[Any, ...],
    record: str,
    monitor: str | None,
    max_steps: int,
    max_nfev: int | None,
    max_switches: int,
    residual_parts: bool,
) -> tuple[Plan, Array]:
    """Check every argument and bind the system; see ``simulate`` for what they mean.

    Returns
    -------
    plan : Plan
        The run.
    x0 : Array
        Its initial state, an independent copy in the run's kind of array.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        With the value and the way out.
    """
    t0, t_end = _checked_span(t_span)
    chosen = resolve(method)
    for part in _parts(system):
        check_fit(chosen, part)
    before = _checked_before(x0, system, t0)
    start = x0 if before is None else before.x
    vectors, x = vectors_of(start)
    batch = int(x.shape[1]) if x.ndim == 2 else None
    for part in _parts(system):
        check_shape(part, x)
    listed = _listed(events, args)
    paths = _check_events(system, listed, batch) or dense or t_eval is not None
    _check_precision(system, x)
    dtype = vectors.dtype
    if getattr(chosen, "double_only", False) and dtype == np.float32 and isinstance(vectors, NumpyVectors):
        vectors, x = vectors_of(x.astype(np.float64))
    control = _checked_control(chosen, system, t0, t_end, step, rtol, atol, max_step, first_step, paths, dtype)
    if residual_parts:
        control = _with_parts(control, chosen, before)
    motion = bind(system, vectors, len(x), tensors=isinstance(start, torch.Tensor), args=_checked_args(system, args), batch=batch)
    if batch is None:
        motion = motion.enter(*((_first_mode(system), t0) if before is None else (before.mode, before.entered)))
    motion.max_nfev = _checked_budget(max_nfev, "max_nfev")
    if not np.all(vectors.finite(x)):
        raise ArgumentError("x0 has an entry that is not finite (nan or inf)")
    for part in _parts(system):
        _check_laws(part, t0, chosen, control)
    _check_record(record, monitor, t_eval, control, t0, t_end, x, dtype)
    _check_jacobian(chosen, motion)
    times = _checked_times(t_eval, t0, t_end)
    budgets = int(_checked_budget(max_steps, "max_steps")), int(_checked_budget(max_switches, "max_switches"))
    stops = _stops(system, t0, t_end)
    for member in motion.members:
        member.on_stretch(t0, stops[0])
        member.check(t0, x)
        if member is not motion:  # whose look is the run's first gradient
            member.spend_check()
    plan = Plan(
        system=system,
        motion=motion,
        method=chosen,
        control=control,
        t0=t0,
        t_end=t_end,
        before=before,
        stops=stops,
        events=listed,
        has_events=events is not None,
        record=record,
        t_eval=times,
        dense=dense,
        monitor=monitor,
        max_steps=budgets[0],
        max_switches=budgets[1],
        dtype=dtype,
    )
    return plan, x


def _with_parts(control: Control, method: Method, before: State | None) -> Control:
    """Return the control of a run that follows the parts of its residual."""
    if not isinstance(method, Splitting):
        raise ArgumentError(f"residual_parts are those of a splitting into gradient kicks and exact drifts: '{method.name}' is none")
    if before is not None and before.parts is None:
        raise ArgumentError("the run to go on from did not follow its residual_parts: ask for them from the start on, or pass state.x")
    return replace(control, parts=True)


def _checked_before(before: Any, system: Any, t0: float) -> State | None:
    """Return the state to go on from, if that is what x0 is, after checking that a run can."""
    if before is None:
        raise ArgumentTypeError("x0 is None: a loaded solution has no state to go on from, start from its last column, sol.y[..., -1]")
    if not isinstance(before, State):
        return None
    if np.ndim(before.t):
        raise ArgumentError("the trajectories of the state to go on from ended at different times: go on from state[k], one at a time")
    if before.t != t0:
        raise ArgumentError(f"t_span starts at {t0:g}, the state to go on from is at t = {before.t:g}: start there")
    modes = _modes(system)
    unknown = [mode for mode in np.unique(before.mode).tolist() if mode not in modes]
    if unknown:
        raise ArgumentError(f"the state to go on from is in mode '{unknown[0]}', the system has {', '.join(map(repr, modes))}")
    return before


def _modes(system: Any) -> Any:
    """Return the names of a system's modes, one without a name where nothing switches."""
    return system.modes if isinstance(system, HybridAutomaton) else getattr(system, "laws", {"": None})


def _first_mode(system: Any) -> str:
    """Return the mode in which a fresh run starts."""
    return str(system.initial if isinstance(system, HybridAutomaton) else next(iter(_modes(system))))


def _inputs(system: Any) -> list[Any]:
    """Return the inputs of the systems of which a system is made."""
    return [part.u for part in _parts(system) if getattr(part, "u", None) is not None]


def _parts(system: Any) -> list[Any]:
    """Return the systems of which a system is made."""
    return list(system.modes.values()) if isinstance(system, HybridAutomaton) else [system]


def _checked_span(t_span: Any) -> tuple[float, float]:
    try:
        t0, t_end = (float(t) for t in t_span)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"t_span is {t_span!r}: two times (start, end) are needed") from error
    if not (np.isfinite(t0) and np.isfinite(t_end)) or t0 == t_end:
        raise ArgumentError(f"t_span is ({t0:g}, {t_end:g}): two different finite times are needed")
    return t0, t_end


def check_shape(system: Any, x: Any) -> None:
    """Check that x is one state of a system.

    Raises
    ------
    ArgumentError
        Another shape.
    """
    shape = tuple(x.shape)[::-1]  # a batch is held component-major
    if len(shape) not in (1, 2) or 0 in shape or (isinstance(system, HeavyBall) and shape[-1] % 2):
        wanted = "(2n,) or (batch, 2n), positions then momenta; from rest: phdyn.at_rest(q)" if isinstance(system, HeavyBall) else "(n,)"
        raise ArgumentError(f"x0 has shape {shape}, not {wanted}")


def _check_events(system: Any, listed: list[Event], batch: int | None) -> bool:
    """Check that goals fit the run; say whether there is a black-box guard, which may be asked for anywhere in a step."""
    watched = [*(edge.event for edge in getattr(system, "transitions", [])), *listed]
    for event in watched:
        check_goal(event, batch)
    return any(not isinstance(event, (LossGoal, Stagnation, Budget)) for event in watched)


def check_goal(event: Event, batch: int | None) -> None:
    """Check that an event is none that still has to be made, and that goals of each trajectory fit the run."""
    if isinstance(event, type) or (isinstance(event, FunctionType) and event.__module__ == LossGoal.__module__):
        raise ArgumentError(f"an event is an object: pass {event.__name__}(...), not {event.__name__}")
    goals = event.batch if isinstance(event, LossGoal) else None
    if goals is None or goals == batch:
        return
    if batch is None:
        raise ArgumentError(f"{event} has {goals} goals, x0 is one state: give one goal, or x0 of shape ({goals}, 2n)")
    raise ArgumentError(f"{event} has {goals} goals, x0 brings {batch} trajectories: give one goal, or one a trajectory")


def _check_precision(system: Any, x: Any) -> None:
    moved = network_of(_parts(system)[0])
    if moved is None:
        return
    network, given = str(moved.dtype).removeprefix("torch."), str(x.dtype).removeprefix("torch.")
    if network != given:
        raise ArgumentError(f"x0 is {given}, the network {network}: use V.initial_state(), or convert x0 or the model")


def _checked_control(
    method: Method,
    system: Any,
    t0: float,
    t_end: float,
    step: Any,
    rtol: Any,
    atol: Any,
    max_step: Any,
    first_step: Any,
    dense: bool,
    dtype: Any,
) -> Control:
    name, sign = method.name, 1.0 if t_end > t0 else -1.0
    if method.fixed:
        for option, value in (("rtol", rtol), ("atol", atol), ("max_step", max_step), ("first_step", first_step)):
            if value is not None:
                raise ArgumentError(f"method '{name}' takes fixed steps: pass step=..., not {option}={value}")
        if step is None:
            raise ArgumentError(f"method '{name}' takes fixed steps: pass step=...; phdyn.suggest_step(system, x0) proposes one")
        return Control(sign * _positive(step, "step"), t0, dense=dense)
    if hasattr(method, "options"):
        return _own_steps(method, t0, t_end, {"step": step, "rtol": rtol, "atol": atol}, max_step, first_step, dense)
    if step is not None:
        raise ArgumentError(f"method '{name}' chooses its steps: pass rtol and atol (or max_step), not step={step}")
    single = dtype == np.float32
    rtol = _positive((1e-5 if single else 1e-6) if rtol is None else rtol, "rtol")
    atol = _positive((1e-8 if single else 1e-9) if atol is None else atol, "atol")
    if single and rtol < 1e-5:
        raise ArgumentError(f"rtol={rtol:g} is beyond a float32 loss: use rtol >= 1e-5, or a float64 x0 and model")
    if max_step is None and not all(isinstance(u, (Steps, Sampled)) for u in _inputs(system)):
        max_step = abs(t_end - t0) / 100
    bound = None if max_step is None or max_step == np.inf else _positive(max_step, "max_step")
    return Control(None, t0, rtol, atol, bound, None if first_step is None else _positive(first_step, "first_step"), dense=dense)


def _own_steps(
    method: Any, t0: float, t_end: float, others: dict[str, Any], max_step: Any, first_step: Any, dense: bool
) -> Control:
    """Return the control of a method whose steps follow a rule of its own: neither a grid nor a tolerance, and forward in time."""
    name = method.name
    for option, value in others.items():
        if value is not None:
            raise ArgumentError(f"the steps of method '{name}' follow a rule: pass {' or '.join(method.options)}, not {option}={value}")
    if t_end < t0:
        raise ArgumentError(f"method '{name}' goes forward in time only, not from {t0:g} to {t_end:g}")
    longest = method.max_step if max_step is None else _positive(max_step, "max_step")
    first = min(method.first_step, longest) if first_step is None else _positive(first_step, "first_step")
    if first > longest:
        raise ArgumentError(f"first_step={first:g} is longer than max_step={longest:g}")
    return Control(None, t0, max_step=longest, first_step=first, dense=dense)


def _positive(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not (np.isfinite(value) and value > 0):
        raise ArgumentError(f"{name} is {value}: a positive finite number is needed")
    return float(value)


def _checked_budget(value: Any, name: str) -> float:
    if value is None or value == float("inf"):
        return float("inf") if name == "max_nfev" else 2**62
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value <= 0:
        raise ArgumentError(f"{name} is {value!r}: a positive whole number is needed")
    return int(value)


def _checked_args(system: Any, args: Any) -> tuple[Any, ...]:
    if not isinstance(args, (tuple, list)):
        raise ArgumentTypeError(f"args is {args!r}: a tuple is needed, such as ({args!r},)")
    if args and hasattr(system, "hamiltonian"):
        raise ArgumentError("args belongs to a plain fun(t, x, *args); a system has its parameters")
    return tuple(args)


def _check_laws(system: Any, t0: float, method: Method, control: Control) -> None:
    """Check that friction is defined at the start, and that a splitting that runs it backwards stands it."""
    if not isinstance(system, HeavyBall):
        return
    rates = [float(np.max(entered(law, t0).rate(t0))) for law in system.laws.values()]
    if not np.isfinite(rates).all():
        raise ArgumentError(f"friction is {max(rates)} at t = {t0:g}: a finite rate is needed at the start")
    if isinstance(method, Splitting) and control.step is not None:
        constant = [rate for rate, law in zip(rates, system.laws.values(), strict=True) if isinstance(law, ConstantFriction)]
        warning = check_stability(method, max(constant, default=0.0) / float(np.min(system.mass)), control.step)
        if warning:
            warnings.warn(warning, StabilityWarning, stacklevel=4)
        _check_stages(method, system, t0, control.step)


def _check_stages(method: Splitting, system: HeavyBall, t0: float, step: float) -> None:
    """Check that friction is defined where a method's first stages leave the span."""
    earliest = method.stage_times[0]
    if earliest >= 0:
        return
    for law in system.laws.values():
        try:
            rate = np.max(entered(law, t0).rate(t0 + earliest * step))
        except ArgumentError as error:
            when = f"{-earliest:.2f} steps before the start of a step, at t = {t0 + earliest * step:.3g}"
            reach = f"method '{method.name}' has a stage {when}"
            raise ArgumentError(f"{reach}: {error}; or take 'strang' or 'blanes-moan-4', whose stages stay inside") from error
        if not np.isfinite(rate):
            raise ArgumentError(f"friction is {rate} at t = {t0 + earliest * step:.3g}, where method '{method.name}' has a stage")


def _check_record(record: str, monitor: Any, t_eval: Any, control: Control, t0: float, t_end: float, x: Any, dtype: Any) -> None:
    if record not in MODES:
        raise ArgumentError(f"record={record!r} is none of {', '.join(map(repr, MODES))}")
    if monitor not in (None, "warn", "raise"):
        raise ArgumentError(f"monitor={monitor!r} is none of None, 'warn', 'raise'")
    if record == "states" and t_eval is None and control.step is not None:
        check_memory(np.ceil(abs((t_end - t0) / control.step)) + 1, int(np.prod(x.shape)), np.dtype(dtype).itemsize)


def _check_jacobian(method: Method, motion: Motion) -> None:
    if getattr(method, "dense_jacobian", False) and motion.size > _JACOBIAN_LIMIT:
        need = motion.size**2 * 8 / 2**30
        raise ArgumentError(
            f"method '{method.name}' keeps a dense Jacobian: {need:.1f} GiB for {motion.size:,} components;"
            " use 'RK45', 'DOP853' or a splitting"
        )


def _stops(system: Any, t0: float, t_end: float) -> list[float]:
    """Return the ends of the stretches between jumps of the input, the end of the span last."""
    times = sorted({t for u in _inputs(system) if isinstance(u, (Steps, Sampled)) for t in u.times})
    low, high = min(t0, t_end), max(t0, t_end)
    inside = [t for t in times if low < t < high]
    return [*(inside if t_end > t0 else inside[::-1]), t_end]


def _checked_times(t_eval: Any, t0: float, t_end: float) -> Any:
    if t_eval is None:
        return None
    times = np.array(t_eval, dtype=np.float64)
    sign = 1.0 if t_end > t0 else -1.0
    if times.ndim != 1 or not np.isfinite(times).all():
        raise ArgumentError(f"t_eval has shape {times.shape}: a list of finite times is needed")
    if len(times) and (sign * (times[0] - t0) < 0 or sign * (times[-1] - t_end) > 0 or (sign * np.diff(times) <= 0).any()):
        raise ArgumentError(f"t_eval must go strictly from t_span's start to its end, within ({t0:g}, {t_end:g})")
    return times


def _listed(events: Any, args: tuple[Any, ...]) -> list[Event]:
    if events is None:
        return []
    listed = list(events) if isinstance(events, Sequence) and not isinstance(events, str) else [events]
    return [_with_args(event, args) if args and not isinstance(event, OURS) else event for event in listed]


def _with_args(event: Callable[..., Any], args: tuple[Any, ...]) -> Event:
    def bound(t: float, x: Any) -> Any:
        return event(t, x, *args)

    bound.__name__ = getattr(event, "__name__", type(event).__name__)
    for attribute in ("terminal", "direction"):
        if hasattr(event, attribute):
            setattr(bound, attribute, getattr(event, attribute))
    return bound
