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
from phdyn.training import settings
from phdyn.training.estimates import Ema, EpochMean, Estimate, FullLoss, LastBatch, Memory
from phdyn.training.losses import noted, read
from phdyn.training.modes import EXPLORE, Modes
from phdyn.training.switch import Exploit, Switch

_COLUMNS = ("step", "source", "target", "event", "loss", "lag")


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
        goals, self.exploits = _ladder(goal, exploit)
        names = [EXPLORE, *([f"exploit-{k + 1}" for k in range(len(goals))] if isinstance(goal, tuple) else ["exploit"])]
        self.modes = Modes(goals, fallback, reexplore, names, reference)
        self.every = every
        self._check()
        self._told: set[str] = set()
        self.switch = Switch(optimizer, self.exploits, self._tell)
        self.count = 0
        self.estimate_now = math.nan
        self.estimate_memory: Memory = []
        self.switched: list[tuple[Any, ...]] = []
        self._pending: list[float | Tensor] = []
        self._handle = optimizer.register_step_pre_hook(self._hold)

    @property
    def mode(self) -> str:
        """The mode that the training is in."""
        return self.modes.mode

    @property
    def reference(self) -> float:
        """The loss that reductions refer to; nan where not known yet."""
        return self.modes.reference

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
        return Table({name: list(column) for name, column in zip(_COLUMNS, rows, strict=True)}, empty=self.modes.none(self.count))

    def state_dict(self) -> dict[str, Any]:
        """Return all that ``load_state_dict`` needs, as plain numbers, texts, lists and dictionaries."""
        parts = {"pending": [float(loss) for loss in self._pending], "settings": self.switch.state(), "modes": self.modes.state()}
        estimate = {"memory": list(self.estimate_memory), "now": self.estimate_now}
        return {"kind": self._kind(), "count": self.count, "switches": list(self.switched), "estimate": estimate, **parts}

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
        self.modes.load(state["modes"])
        self.count, self.switched, self._pending = state["count"], list(state["switches"]), list(state["pending"])
        self.estimate_memory, self.estimate_now = list(state["estimate"]["memory"]), state["estimate"]["now"]

    def _kind(self) -> str:
        """Return what a state must agree with."""
        return f"{self.modes.kind()}; estimate {type(self.estimate).__name__}"

    def _check(self) -> None:
        if not hasattr(self.estimate, "update") or isinstance(self.estimate, type):
            known = "LastBatch(), Ema(decay), EpochMean(batches) or FullLoss(...)"
            raise ArgumentTypeError(f"estimate is {self.estimate!r}: {known} is needed")
        if isinstance(self.every, bool) or not isinstance(self.every, int) or self.every < 1:
            raise ArgumentError(f"every is {self.every!r}: a positive whole number of steps is needed")

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
        for _ in self.modes.names:  # a goal that is met on entering a mode fires at once
            fired = self.modes.look(step, loss, self.estimate_now)
            if fired is None or not self._switch(step, *fired):
                return

    def _estimate(self, step: int, loss: float, *, last: bool) -> None:
        if isinstance(self.estimate, FullLoss) and not last:
            return  # the parameters are those of the last step
        now = self.estimate.update(self.estimate_memory, step, loss)
        if not isinstance(self.estimate, (LastBatch, Ema, EpochMean)):
            now = read([now], self.optimizer.param_groups[0]["params"][0].device)[0]
        first, self.estimate_now = math.isnan(self.estimate_now) and not math.isnan(now), now
        if first:
            self.modes.see(step, now)

    def _switch(self, step: int, event: Event, target: str) -> bool:
        """Go to another mode; say whether that was possible."""
        back, now = target == EXPLORE, self.estimate_now
        if back and not self.modes.way_back_from(now):
            self._tell("back", f"at step {step} the estimate is {now:.6g}, of which no goal is a reduction: no way back to explore")
            return False
        reached = self.modes.raw_reached if isinstance(event, LossGoal) else None
        lag = math.nan if reached is None else self.count - reached
        self.switched.append((self.count, self.mode, target, name_of(event), now, lag))
        self.modes.enter(target, self.count, now)
        if back:
            self.switch.restore()
        else:
            self.switch.apply(self._exploit())
        return True

    def _hold(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Keep a switch in force before each optimizer step, or say that it was overruled."""
        if self.mode != EXPLORE:
            if new := self.switch.grow():
                self.switch.apply(self._exploit(), new)
            self.switch.enforce(self._overruled)
        self.switch.note()

    def _exploit(self) -> Exploit:
        return self.exploits[self.modes.index - 1]

    def _overruled(self, number: int, ours: float, now: float) -> None:
        by = f"by step {self.count + 1} something else has set it to {now:g}, and that stays"
        rubbed = "; its step and friction are no longer those of the switch" if self.switch.rubbed[number] else ""
        self._tell(f"lr {number}", f"the switch at step {self.switched[-1][0]} set lr = {ours:g} in param group {number}; {by}{rubbed}")

    def _tell(self, key: str, message: str) -> None:
        """Warn once about each thing."""
        if key not in self._told:
            self._told.add(key)
            warnings.warn(message, OverruledWarning, stacklevel=4)


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
