"""The friction switch for a training loop that is already there."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor, distributed
from torch.optim import Optimizer

from phdyn.errors import ArgumentError, ArgumentTypeError, OverruledWarning
from phdyn.events import Event, LossGoal, name_of
from phdyn.tables import Table
from phdyn.training import settings, triggers
from phdyn.training.estimates import Ema, Estimate, Memory
from phdyn.training.switch import Exploit, Switch, part

_COLUMNS = ("step", "source", "target", "event", "loss", "lag")
_STATE = ("mode", "count", "estimate_memory", "estimate_now", "reference", "watched", "raw_reached", "closest", "switched")


class GoalScheduler:
    """Change an optimizer's settings when the training loss has fallen to a goal: explore, reach the goal, brake.

    Call ``scheduler.step(loss)`` after ``optimizer.step()``. Steps count from 1; a switch after step k acts from step k + 1 on.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any; what it has now is the explore mode.
    goal : LossGoal or event, or a tuple of them
        What ends exploration: ``LossGoal(reduction=0.6)``, ``LossGoal(value=0.3)``, ``TimeReached(500)`` (steps), ``Stagnation``, or a
        ``Guard`` on ``point.t`` (steps) and ``point.potential`` (the estimate). A tuple is a ladder: modes "exploit-1", "exploit-2", ...
    exploit : mapping, list of mappings, or a tuple of either
        What to set: ``{"momentum": 0.5}``, ``{"lr": 0.01}``, or any other setting of a param group; a list has one mapping a group, a tuple
        one entry a goal. "momentum" of Adam and AdamW is the decay of the first moment, their friction as far as it goes: the step is then
        divided by the root of the second moment, which no friction does. ``{"friction": 3.0}`` keeps the physical step h (convention
        "strang"): it sets lr and momentum, and rescales the momentum buffers by mu_old/mu_new, so that torch's positions go on as those of
        Strang's method whose friction is switched at that step.
    estimate : LastBatch, Ema, EpochMean or FullLoss
        What the goal is compared with.
    reference : float, optional
        The loss that reductions refer to; the first estimate if None.
    fallback : event, optional
        What also switches to the next mode: a time-out such as ``TimeReached(2000)``.
    reexplore : event, optional
        What leads from an exploit mode back to explore, such as ``Stagnation(500)``; reductions then refer to the estimate at that moment.
    every : int
        Losses are read once in so many steps (on CUDA each reading waits for the device), so a switch comes up to ``every - 1`` steps late.

    Attributes
    ----------
    mode : str
        "explore", "exploit", or "exploit-1", ...
    switches : Table
        ``step, source, target, event, loss, lag``: the estimate at the switch, and how many steps before it a batch's loss was at the goal
        for the first time in that mode (nan: never, or no goal).

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Wrong arguments, at construction; at step 1 a goal that is met already.

    Warns
    -----
    OverruledWarning
        Something else wrote a learning rate that a switch had set. All other settings that a switch made are kept in force: they are
        written again before each optimizer step, whatever a OneCycleLR or CyclicLR wrote.

    Notes
    -----
    At a fixed learning rate, lowering the momentum also cuts the effective learning rate lr/(1 - momentum): from .95 to .5 tenfold.

    Under ``torch.distributed`` the losses are averaged over all ranks, so all switch on the same step; every rank must call ``step``.
    Losses that are not finite (an overflow under AMP) are left out of the estimate.

    The idea of a friction switch triggered by a reduction of the loss is that of Burghoff, Monells & Gottschalk (arXiv 2304.07070).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        goal: Event | tuple[Event, ...],
        exploit: Exploit | tuple[Exploit, ...],
        *,
        estimate: Estimate = Ema(0.9),  # noqa: B008 (frozen: its memory is the scheduler's)
        reference: float | None = None,
        fallback: Event | None = None,
        reexplore: Event | None = None,
        every: int = 1,
    ) -> None:
        settings.check_optimizer(optimizer, "GoalScheduler")
        self.optimizer, self.estimate = optimizer, estimate
        self.goals, self.exploits = _ladder(goal, exploit)
        self.fallback, self.reexplore = fallback, reexplore
        self.modes = ["explore", *([f"exploit-{k + 1}" for k in range(len(self.goals))] if isinstance(goal, tuple) else ["exploit"])]
        self.every = every
        self._check(reference)
        self.switch = Switch(optimizer, self.exploits)
        self.count = 0
        self.mode = "explore"
        self.reference = math.nan if reference is None else float(reference)
        self.estimate_now = math.nan
        self.estimate_memory: Memory = []
        self.watched: list[Memory] | None = None
        self.raw_reached: int | None = None
        self.closest: list[float] = [math.inf, math.nan, math.nan]
        self.switched: list[tuple[Any, ...]] = []
        self._pending: list[float | Tensor] = []
        self._told: set[str] = set()
        optimizer.register_step_pre_hook(self._hold)

    def step(self, loss: float | Tensor) -> None:
        """Take note of the loss of the step that the optimizer has just made, and switch if an event fires.

        Parameters
        ----------
        loss : float or 0-d tensor
            The batch's loss, which the step's gradients came from.
        """
        self.count += 1
        self._pending.append(noted(loss))
        if self.count % self.every == 0:
            self._read()

    @property
    def switches(self) -> Table:
        """The switches so far."""
        rows = list(zip(*self.switched, strict=True)) or [()] * len(_COLUMNS)
        return Table({name: list(column) for name, column in zip(_COLUMNS, rows, strict=True)}, empty=self._none())

    def state_dict(self) -> dict[str, Any]:
        """Return all that ``load_state_dict`` needs, as plain numbers, texts, lists and dictionaries."""
        state = {name: _copied(getattr(self, name)) for name in _STATE}
        state |= {"pending": [float(loss) for loss in self._pending], "settings": self.switch.state()}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; the optimizer's own state is loaded by itself, before or after.

        Raises
        ------
        ArgumentError
            The state is that of a scheduler with other modes.
        """
        if state["mode"] not in self.modes:
            raise ArgumentError(f"the state is in mode {state['mode']!r}, and this scheduler has {', '.join(self.modes)}")
        for name in _STATE:
            setattr(self, name, _copied(state[name]))
        self._pending = list(state["pending"])
        self.switch.load(state["settings"])

    def _check(self, reference: float | None) -> None:
        for k, event in enumerate(self.goals):
            triggers.check_trigger(event, "the goal" if len(self.goals) == 1 else f"goal {k + 1}")
        for name, event in (("the fallback", self.fallback), ("reexplore", self.reexplore)):
            if event is not None:
                triggers.check_trigger(event, name)
        if not hasattr(self.estimate, "update") or isinstance(self.estimate, type):
            known = "LastBatch(), Ema(decay), EpochMean(batches) or FullLoss(...)"
            raise ArgumentTypeError(f"estimate is {self.estimate!r}: {known} is needed")
        if isinstance(self.every, bool) or not isinstance(self.every, int) or self.every < 1:
            raise ArgumentError(f"every is {self.every!r}: a positive whole number of steps is needed")
        for goal in self.goals:
            if reference is not None and isinstance(goal, LossGoal):
                goal.level(reference)

    def _read(self) -> None:
        """Read the losses that have come in since the last reading, and act on them."""
        for step, loss in enumerate(self._losses(), start=self.count - len(self._pending) + 1):
            if not math.isfinite(loss):
                self._tell("loss", f"the loss is {loss} at step {step}, and is left out of the estimate of the training loss")
                continue
            self._see(step, loss)
        self._pending.clear()

    def _losses(self) -> list[float]:
        """Return the pending losses as numbers, averaged over all ranks where there are several."""
        pending = self._pending
        tensors = [loss for loss in pending if isinstance(loss, Tensor)]
        several = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
        if not tensors and not several:
            return [float(loss) for loss in pending]
        device = tensors[0].device if tensors else self.optimizer.param_groups[0]["params"][0].device
        values = torch.stack([torch.as_tensor(loss, dtype=torch.float64, device=device) for loss in pending])
        if several:
            distributed.all_reduce(values)
            values /= distributed.get_world_size()
        return [float(value) for value in values.tolist()]

    def _see(self, step: int, loss: float) -> None:
        self.estimate_now = now = self.estimate.update(self.estimate_memory, step, loss)
        if math.isnan(now):
            return
        if self.watched is None:
            self._enter_run(step, now)
        self._look(step, loss, now)

    def _enter_run(self, step: int, now: float) -> None:
        """Take the reference, and watch the first goal."""
        if math.isnan(self.reference):
            self.reference = now
        self._enter(step, now)
        goal, level = self.goals[0], self._level()
        if level is not None and now <= level and goal.value is not None:
            raise ArgumentError(f"the goal {goal} is met at the start already (loss {now:.6g}): choose a lower value, or set it at once")

    def _enter(self, step: int, now: float) -> None:
        self.watched = [triggers.enter(event, step, now, self.reference) for event, _ in self._edges()]
        self.raw_reached, self.closest = None, [math.inf, math.nan, math.nan]

    def _edges(self) -> list[tuple[Event, str]]:
        """Return what is watched in this mode, and where it leads: the goal and the fallback to the next mode, the way back."""
        k = self.modes.index(self.mode)
        onwards = [(event, self.modes[k + 1]) for event in (self.goals[k], self.fallback)] if k < len(self.goals) else []
        back = [(self.reexplore, self.modes[0])] if k else []
        return [(event, target) for event, target in (*onwards, *back) if event is not None]

    def _level(self) -> float | None:
        """Return the loss at which the goal of this mode is reached, if it has one."""
        edges = self._edges()
        return self.watched[0][0] if self.watched and edges and isinstance(edges[0][0], LossGoal) else None

    def _look(self, step: int, loss: float, now: float) -> None:
        """Look at the events of this mode, and after a switch at those of the next: a goal that is met there fires at once."""
        for _ in self.modes:
            self._note(step, loss, now)
            fired = self._fired(step, now)
            if fired is None:
                return
            self._switch(step, now, *fired)

    def _note(self, step: int, loss: float, now: float) -> None:
        level = self._level()
        if level is None:
            return
        if self.raw_reached is None and loss <= level:
            self.raw_reached = step
        if now < self.closest[0]:
            self.closest = [now, step, level]

    def _fired(self, step: int, now: float) -> tuple[Event, str] | None:
        """Return the first event that fires, and where it leads; every memory sees the estimate."""
        pairs = zip(self._edges(), self.watched or [], strict=True)
        fired = [edge for edge, memory in pairs if triggers.fires(edge[0], memory, step, now)]
        return fired[0] if fired else None

    def _switch(self, step: int, now: float, event: Event, target: str) -> None:
        reached = self.raw_reached if isinstance(event, LossGoal) else None
        lag = math.nan if reached is None else self.count - reached
        self.switched.append((self.count, self.mode, target, name_of(event), now, lag))
        self.mode = target
        if target == self.modes[0]:
            self.reference = now
            self.switch.restore()
        else:
            self.switch.grow()
            for number in range(len(self.optimizer.param_groups)):
                self.switch.apply(number, part(self._exploit(), number))
        self._enter(step, now)

    def _hold(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Keep a switch in force before each optimizer step, or say that it was overruled."""
        if self.mode == "explore":
            return
        exploit = self._exploit()
        for number in self.switch.grow():
            if isinstance(exploit, Mapping):
                self.switch.apply(number, exploit)
            else:
                self._tell(f"group {number}", f"exploit has no entry for param group {number}, added after the switch: its settings stay")
        self.switch.enforce(self._overruled)

    def _exploit(self) -> Exploit:
        return self.exploits[self.modes.index(self.mode) - 1]

    def _overruled(self, number: int, ours: float, now: float) -> None:
        where = f"by step {self.count + 1} something else has set it to {now:g}, and that stays"
        self._tell(f"lr {number}", f"the switch at step {self.switched[-1][0]} set lr = {ours:g} in param group {number}; {where}")

    def _tell(self, key: str, message: str) -> None:
        """Warn once about each thing."""
        if key not in self._told:
            self._told.add(key)
            warnings.warn(message, OverruledWarning, stacklevel=4)

    def _none(self) -> str:
        goal = self.goals[min(self.modes.index(self.mode), len(self.goals) - 1)]
        if not math.isfinite(self.closest[0]):
            return f"no switch: {name_of(goal)} not reached in {self.count} steps"
        loss, step, level = self.closest
        return f"no switch: {name_of(goal)} not reached; closest was loss {loss:.4f} at step {step:.0f}, goal {level:.4f}"


def _ladder(goal: Any, exploit: Any) -> tuple[tuple[Event, ...], tuple[Exploit, ...]]:
    """Return goals and exploits as tuples of equal length."""
    if isinstance(goal, tuple) != isinstance(exploit, tuple):
        raise ArgumentError(f"a ladder takes goals and exploits as tuples, not goal={goal!r} and exploit={exploit!r}")
    goals, exploits = (goal, exploit) if isinstance(goal, tuple) else ((goal,), (exploit,))
    if not goals or len(goals) != len(exploits):
        raise ArgumentError(f"a ladder takes as many goals as exploits, at least one, not {len(goals)} and {len(exploits)}")
    for one in exploits:
        parts = [one] if isinstance(one, Mapping) else one
        if not isinstance(parts, Sequence) or isinstance(parts, str) or not all(isinstance(part, Mapping) for part in parts):
            needed = "a mapping such as {'momentum': 0.5}, or a list with one a param group, is needed"
            raise ArgumentTypeError(f"exploit is {one!r}: {needed}")
        if not any(parts):
            raise ArgumentError("exploit sets nothing: name a setting, such as {'momentum': 0.5}")
    return goals, exploits


def noted(loss: Any) -> float | Tensor:
    """Return a loss as it is now: a number, or a copy on its accelerator, which nobody waits for."""
    if isinstance(loss, Tensor):
        if loss.numel() != 1:
            raise ArgumentError(f"the loss has shape {tuple(loss.shape)}: one number is needed, such as its mean")
        return loss.item() if loss.device.type == "cpu" else loss.detach().clone().reshape(())
    if not isinstance(loss, Real):
        raise ArgumentTypeError(f"the loss is of type {type(loss).__name__}: a number or a 0-d tensor is needed")
    return float(loss)


def _copied(value: Any) -> Any:
    """Return lists and dictionaries of their own."""
    if isinstance(value, dict):
        return {key: _copied(entry) for key, entry in value.items()}
    return [_copied(entry) for entry in value] if isinstance(value, list) else value
