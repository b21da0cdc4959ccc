"""The friction switch for a training loop that is already there."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from phdyn.errors import ArgumentError, ArgumentTypeError, OverruledWarning
from phdyn.events import Event, LossGoal, name_of
from phdyn.tables import Table
from phdyn.training import settings, triggers
from phdyn.training.estimates import Ema, EpochMean, Estimate, FullLoss, LastBatch, Memory
from phdyn.training.losses import noted, read
from phdyn.training.switch import Exploit, Switch

_COLUMNS = ("step", "source", "target", "event", "loss", "lag")
_STATE = ("mode", "count", "entered", "estimate_memory", "estimate_now", "reference", "watched", "raw_reached", "closest", "switched")


class GoalScheduler:
    """Change an optimizer's settings when the training loss has fallen to a goal: explore, reach the goal, brake.

    Call ``scheduler.step(loss)`` after ``optimizer.step()``. Steps count from 1; a switch after step k acts from step k + 1 on.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any; what it has now is the explore mode.
    goal : LossGoal or event, or a tuple of them
        What ends exploration: ``LossGoal(reduction=0.6)``, ``LossGoal(value=0.3)``, ``TimeReached(500)``, ``Stagnation(500)``, a ``Guard``
        on ``point.t`` and ``point.potential`` (the estimate). Times are steps, and count from where a mode is entered. A tuple is a
        ladder: modes "exploit-1", "exploit-2", ...
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
        Wrong arguments, at construction; a goal that the first estimate meets already.

    Warns
    -----
    OverruledWarning
        Something else wrote a learning rate that a switch had set: it stays, and where the switch had set friction, step and friction are
        no longer those. All other settings that a switch made are kept in force: they are written again before each optimizer step,
        whatever a OneCycleLR or CyclicLR wrote. Also: a loss that is not finite, a param group that cannot take what a switch sets.

    Notes
    -----
    At a fixed learning rate, lowering the momentum also cuts the effective learning rate lr/(1 - momentum): from .95 to .5 tenfold.

    Under ``torch.distributed`` losses (and what a FullLoss finds) are averaged over all ranks, so all switch on the same step; every rank
    must call ``step``. Losses that are not finite (an overflow under AMP) are left out of the estimate. A FullLoss is evaluated when losses
    are read, at most once a reading. Copies by ``copy.deepcopy`` lose the hook that keeps a switch in force: make them anew.

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
        self._told: set[str] = set()
        self.switch = Switch(optimizer, self.exploits, self._tell)
        self.count = self.entered = 0
        self.mode = "explore"
        self.reference = math.nan if reference is None else float(reference)
        self.estimate_now = math.nan
        self.estimate_memory: Memory = []
        self.raw_reached: int | None = None
        self.closest: list[float] = [math.inf, math.nan, math.nan]
        self.switched: list[tuple[Any, ...]] = []
        self.watched = self._watched(0, math.nan, self.reference)
        self._pending: list[float | Tensor] = []
        self._handle = optimizer.register_step_pre_hook(self._hold)

    def step(self, loss: float | Tensor) -> None:
        """Take note of the loss of the step that the optimizer has just made, and switch if an event fires.

        Parameters
        ----------
        loss : float or 0-d tensor
            The batch's loss, which the step's gradients came from.

        Raises
        ------
        ArgumentError, ArgumentTypeError
            The loss is not one number; the first estimate meets the goal.
        """
        self.count += 1
        self._pending.append(noted(loss))
        if self.count % self.every == 0:
            self._read()

    def remove(self) -> None:
        """Let go of the optimizer: what has been set stays, and is no longer kept in force."""
        self._handle.remove()

    @property
    def switches(self) -> Table:
        """The switches so far."""
        rows = list(zip(*self.switched, strict=True)) or [()] * len(_COLUMNS)
        return Table({name: list(column) for name, column in zip(_COLUMNS, rows, strict=True)}, empty=self._none())

    def state_dict(self) -> dict[str, Any]:
        """Return all that ``load_state_dict`` needs, as plain numbers, texts, lists and dictionaries."""
        state = {name: _copied(getattr(self, name)) for name in _STATE}
        state |= {"pending": [float(loss) for loss in self._pending], "settings": self.switch.state(), "kind": self._kind()}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; the optimizer's own state is loaded by itself, before or after.

        Parameters
        ----------
        state : dict
            What `state_dict` of a scheduler made in the same way returned.

        Raises
        ------
        ArgumentError
            The state is that of a scheduler with other modes, events, estimate or param groups.
        """
        if state.get("kind") != self._kind():
            raise ArgumentError(f"the state is that of another scheduler, {state.get('kind')}: this one is {self._kind()}")
        self.switch.load(state["settings"])
        for name in _STATE:
            setattr(self, name, _copied(state[name]))
        self._pending = list(state["pending"])

    def _kind(self) -> str:
        """Return what a state must agree with."""
        events = [name_of(event) if event is not None else "none" for event in (*self.goals, self.fallback, self.reexplore)]
        return f"modes {', '.join(self.modes)}; events {', '.join(events)}; estimate {type(self.estimate).__name__}"

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
        if self.reexplore is not None and isinstance(self.goals[0], LossGoal) and self.goals[0].value is not None:
            raise ArgumentError(f"{self.goals[0]} would fire again as soon as reexplore leads back: with reexplore give a reduction")

    def _read(self) -> None:
        """Read the losses that have come in since the last reading, and act on them."""
        device = self.optimizer.param_groups[0]["params"][0].device
        losses, self._pending = read(self._pending, device), []
        first = self.count - len(losses) + 1
        for step, loss in enumerate(losses, start=first):
            if not math.isfinite(loss):
                self._tell("loss", f"the loss is {loss} at step {step}, and is left out of the estimate of the training loss")
            self._see(step, loss, last=step == self.count)

    def _see(self, step: int, loss: float, *, last: bool) -> None:
        """Take a loss into the estimate, and look at the events."""
        if math.isfinite(loss):
            self._estimate(step, loss, last=last)
        elif isinstance(self.estimate, EpochMean):
            self.estimate.missed(self.estimate_memory)
        if math.isnan(self.reference) and not math.isnan(self.estimate_now):
            self._start(step)
        self._look(step, loss)

    def _estimate(self, step: int, loss: float, *, last: bool) -> None:
        if isinstance(self.estimate, FullLoss) and not last:
            return  # the parameters are those of the last step
        now = self.estimate.update(self.estimate_memory, step, loss)
        if not isinstance(self.estimate, (LastBatch, Ema, EpochMean)):
            now = read([now], self.optimizer.param_groups[0]["params"][0].device)[0]
        started, self.estimate_now = not math.isnan(self.estimate_now), now
        if not started and not math.isnan(self.reference):
            self._refuse_met(now)

    def _start(self, step: int) -> None:
        """Take the first estimate as the reference."""
        self.reference = self.estimate_now
        goal = self._goal()
        if goal is not None:
            self.watched[0] = triggers.enter(goal, step, self.reference, self.reference)
            self._refuse_met(self.estimate_now)

    def _refuse_met(self, now: float) -> None:
        goal = self._goal()
        if goal is not None and self.mode == self.modes[0] and not self.switched and now <= self.watched[0][0]:
            raise ArgumentError(f"the goal {goal} is met at the start already (loss {now:.6g}): choose a lower one, or set it at once")

    def _watched(self, step: int, now: float, reference: float) -> list[Memory]:
        return [triggers.enter(event, step - self.entered, now, reference) for event, _ in self._edges()]

    def _edges(self) -> list[tuple[Event, str]]:
        """Return what is watched in this mode, and where it leads: the goal and the fallback to the next mode, the way back."""
        k = self.modes.index(self.mode)
        onwards = [(event, self.modes[k + 1]) for event in (self.goals[k], self.fallback)] if k < len(self.goals) else []
        back = [(self.reexplore, self.modes[0])] if k else []
        return [(event, target) for event, target in (*onwards, *back) if event is not None]

    def _goal(self) -> LossGoal | None:
        """Return the goal of this mode, if it is one on the loss."""
        k = self.modes.index(self.mode)
        goal = self.goals[k] if k < len(self.goals) else None
        return goal if isinstance(goal, LossGoal) else None

    def _look(self, step: int, loss: float) -> None:
        """Look at the events of this mode, and after a switch at those of the next: a goal that is met there fires at once."""
        for _ in self.modes:
            self._note(step, loss)
            fired = self._fired(step)
            if fired is None or not self._switch(step, *fired):
                return

    def _note(self, step: int, loss: float) -> None:
        """Keep when a batch was at the goal first, and how close the estimate has come."""
        if self._goal() is None or math.isnan(level := self.watched[0][0]):
            return
        if self.raw_reached is None and loss <= level:
            self.raw_reached = step
        if self.estimate_now < self.closest[0]:
            self.closest = [self.estimate_now, step, level]

    def _fired(self, step: int) -> tuple[Event, str] | None:
        """Return the first event that fires, and where it leads; every memory sees the estimate."""
        pairs = zip(self._edges(), self.watched, strict=True)
        fired = [edge for edge, memory in pairs if triggers.fires(edge[0], memory, step - self.entered, self.estimate_now)]
        return fired[0] if fired else None

    def _switch(self, step: int, event: Event, target: str) -> bool:
        """Go to another mode; say whether that was possible."""
        back, now = target == self.modes[0], self.estimate_now
        reference = now if back else self.reference
        if back and isinstance(goal := self.goals[0], LossGoal) and not now > goal.floor:
            self._tell("back", f"at step {step} the estimate is {now:.6g}, of which {goal} is no reduction: no way back to explore")
            return False
        reached = self.raw_reached if isinstance(event, LossGoal) else None
        lag = math.nan if reached is None else self.count - reached
        self.switched.append((self.count, self.mode, target, name_of(event), now, lag))
        self.mode, self.reference, self.entered = target, reference, self.count
        if back:
            self.switch.restore()
        else:
            self.switch.apply(self._exploit())
        self.raw_reached, self.closest = None, [math.inf, math.nan, math.nan]
        self.watched = self._watched(self.count, now, self.reference)
        return True

    def _hold(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Keep a switch in force before each optimizer step, or say that it was overruled."""
        if self.mode != self.modes[0]:
            if new := self.switch.grow():
                self.switch.apply(self._exploit(), new)
            self.switch.enforce(self._overruled)
        self.switch.note()

    def _exploit(self) -> Exploit:
        return self.exploits[self.modes.index(self.mode) - 1]

    def _overruled(self, number: int, ours: float, now: float) -> None:
        by = f"by step {self.count + 1} something else has set it to {now:g}, and that stays"
        rubbed = "; its step and friction are no longer those of the switch" if self.switch.rubbed[number] else ""
        self._tell(f"lr {number}", f"the switch at step {self.switched[-1][0]} set lr = {ours:g} in param group {number}; {by}{rubbed}")

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


def _copied(value: Any) -> Any:
    """Return lists and dictionaries of their own."""
    if isinstance(value, dict):
        return {key: _copied(entry) for key, entry in value.items()}
    return [_copied(entry) for entry in value] if isinstance(value, list) else value
