"""The energy account of a training loop that is already there."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from phdyn.energy import Account, Energy, EnergyBalance
from phdyn.errors import ArgumentError, ArgumentTypeError
from phdyn.methods import get
from phdyn.tables import SwitchTable, Table
from phdyn.training.changes import Changes, Energies
from phdyn.training.losses import noted
from phdyn.training.readings import Reader, Reading, check_balls, settle
from phdyn.training.works import Ball, heat, kinetic, kinetic_before, noise_work, scales, stopped_and_started

_TOGETHER = 256
"""Steps that are settled together: an accelerator is waited for once in so many."""

_WORKS = ("dissipated", "supplied", "injected")


class EnergyObserver:
    """The energies of a training by ``torch.optim.SGD``, without changing it.

    Call ``observer.step(loss)`` after ``optimizer.step()``, before or after other schedulers. SGD's positions are those of Strang's method
    (convention "strang", `heavy_ball_from_sgd`); the kinetic energy is that of the momentum on the step, half a kick before torch's buffer,
    so energies are of second order in h and cost no gradient. Settings are read, group by group, in hooks of the optimizer's own step.

    Parameters
    ----------
    optimizer : torch.optim.SGD
        Without Nesterov's variant (whose parameters are a look-ahead point, at which no ball is) and `maximize`. Dampening, weight decay
        (V is then the loss + weight decay |q|^2/2), several param groups, steps by closures, scaled gradients: as they come.
    every : int
        Steps between rows. Works are added up over all steps, and a row costs two norms of the parameters more.
    full_gradient : callable, optional
        The loss on all data, as one tensor or in parts, see `full_batch`; called before a row's step, its gradients taken. V is then that
        loss, and the work of the gradient noise is supplied: ``h u.p`` with the port input ``u = grad V - grad V_batch`` and the
        momentum on the step, p; with ``every=k`` it is sampled and counts k times.

    Attributes
    ----------
    energy : Energy
        T, V, H, dissipated, supplied, injected work and residual over physical time, which moves by h a step (that of the first group).
        Beyond 4,096 rows every second one is dropped, and so on.
    switches : SwitchTable
        Changes of the settings: friction before and after, what was changed, the energy that it injected, and the new lr and momentum; a
        schedule that changes them at every step is one change.
    table : Table
        The rows of `energy`, with their steps.
    method : Splitting
        Strang's, which the energies are read as: with `nsteps`, `nfev` and `y` what phdyn's plots ask of a solution.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        No SGD, Nesterov's variant or `maximize`, wrong numbers.

    Notes
    -----
    torch keeps its buffer when settings change, so the physical momentum jumps: the *injected* energy is the kinetic one on the step after
    the change minus that before; at constant momentum the factor is lr_new/lr_old. Friction's work in a step is ``(1 - mu^2) T`` of the
    momentum after the kick. Without `full_gradient` V is the loss of each batch: the residual then holds the work of gradient noise and
    the scatter of batch losses. Without momentum SGD is the gradient flow by Euler's method: T is 0, friction's work lr |g|^2, the step lr.
    """

    method = get("strang")

    def __init__(self, optimizer: Optimizer, *, every: int = 1, full_gradient: Callable[[], Any] | None = None) -> None:
        _check(optimizer, every, full_gradient)
        self.optimizer, self.every, self.full_gradient = optimizer, every, full_gradient
        self.count = 0
        self._reader = Reader(optimizer, full_gradient)
        self._readings: list[Reading] = []
        self._account: Account | None = None
        self._time = 0.0
        self._works = dict.fromkeys(_WORKS, 0.0)
        self._lengths: list[float] = []
        self._balls: tuple[Ball, ...] = ()
        self._steps = array("q")
        self._last: dict[str, float] = {}
        self._changes = Changes()
        self._lost: int | None = None
        self._handles = [optimizer.register_step_pre_hook(self._before), optimizer.register_step_post_hook(self._after)]

    def step(self, loss: float | Tensor) -> None:
        """Take note of the loss of the step that the optimizer has just made; where it made none (AMP), of nothing.

        Parameters
        ----------
        loss : float or 0-d tensor
            The batch's loss, which the step's gradients came from.

        Raises
        ------
        ArgumentError, ArgumentTypeError
            The loss is not one number.
        """
        if self._readings and self._readings[-1].loss is None:
            self._readings[-1].loss = noted(loss)
        if len(self._readings) >= _TOGETHER:
            self._settle()

    def remove(self) -> None:
        """Let go of the optimizer; what has been seen stays."""
        for handle in self._handles:
            handle.remove()

    @property
    def energy(self) -> Energy:
        """The energies so far."""
        return self._settled().energy()

    @property
    def nsteps(self) -> int:
        """Steps so far; each took one gradient."""
        return self.count

    nfev = nsteps

    @property
    def y(self) -> np.ndarray[Any, Any]:
        """No states: an empty array of the parameters' dtype, for plots that ask for it."""
        return np.empty(0, dtype=np.float64 if self._dtype() == torch.float64 else np.float32)

    @property
    def table(self) -> Table:
        """The rows so far: ``step, time`` and the energies; ``pandas.DataFrame(dict(observer.table))`` is a data frame."""
        energy = self.energy
        count, stride = len(self._steps), self._settled().stride
        kept = [*range(0, count, stride), count - 1][: len(energy.t)]
        steps = np.asarray(self._steps)[kept]
        names = ("kinetic", "potential", "hamiltonian", *_WORKS, "residual")
        return Table({"step": steps, "time": energy.t, **{name: getattr(energy, name) for name in names}})

    @property
    def switches(self) -> SwitchTable:
        """The changes of settings so far."""
        self._settle()
        return self._changes.table()

    def energy_balance(self) -> EnergyBalance:
        """Judge the account, by the rule for methods of an order.

        Returns
        -------
        EnergyBalance
            As that of a solution; violated where the training has run away to what is not finite. Without `full_gradient` on mini-batches,
            and where the noise is only sampled, a verdict other than "balanced" may be the noise's: the reason says so.

        Raises
        ------
        ArgumentError
            No step has been seen yet.
        """
        account, dtype = self._settled(), self._dtype()
        source = "losses on all data" if self.full_gradient else "batch losses"
        ball = self._balls[0]
        heading = f"torch.optim.SGD read as strang, lr {ball.lr:g}, momentum {ball.momentum:g}, {str(dtype)[6:]}, {source}"
        balance = account.balance("order", heading, torch.finfo(dtype).eps)
        if self._lost is not None:
            reason = f"the energy is not finite at step {self._lost}: the rows end before it"
            return replace(balance, verdict="violated", reason=reason)
        if balance.verdict == "balanced" or (self.full_gradient and self.every == 1):
            return balance
        noise = "full_gradient= accounts for its work" if not self.full_gradient else f"of its work one step in {self.every} is known"
        return replace(balance, reason=f"{balance.reason}\n  on mini-batches noise alone can do this: {noise}")

    def _dtype(self) -> torch.dtype:
        """Return the dtype of the parameters."""
        parameters: list[Tensor] = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        return parameters[0].dtype

    def row(self) -> dict[str, float]:
        """Return the last row for any logger.

        Returns
        -------
        dict of str to float
            Step, time, lr, momentum and friction of the first group, energies, works and residual; empty before the first row.
        """
        self._settle()
        account = self._account
        if account is None:
            return {}
        works = dict(zip(_WORKS, (float(part[0]) for part in account.books()[:3]), strict=True))
        hamiltonian = self._last["kinetic"] + self._last["potential"]
        residual = hamiltonian - float(account.h0) + works["dissipated"] - works["supplied"] - works["injected"]
        return {**self._last, "hamiltonian": hamiltonian, **works, "residual": residual}

    def log(self, writer: Any, *, prefix: str = "energy") -> None:
        """Write the last row to a logger.

        Parameters
        ----------
        writer : SummaryWriter
            TensorBoard's, or anything with its ``add_scalar(tag, value, step)``.
        prefix : str
            Before the names of the numbers: ``energy/kinetic``.
        """
        row = self.row()
        for name, value in row.items():
            if name != "step":
                writer.add_scalar(f"{prefix}/{name}", value, int(row["step"]))

    def state_dict(self) -> dict[str, Any]:
        """Return all that `load_state_dict` needs: numbers, texts, lists, dictionaries and tensors.

        A last step whose loss has not been given yet counts as one without a row.
        """
        self._settle(waiting=True)
        return {
            "count": self.count,
            "time": self._time,
            "works": dict(self._works),
            "lengths": list(self._lengths),
            "balls": [list(ball) for ball in self._balls],
            "steps": torch.tensor(self._steps),
            "last": dict(self._last),
            "changes": self._changes.state(),
            "lost": self._lost,
            "account": None if self._account is None else self._account.state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; the optimizer's own state is loaded by itself.

        Parameters
        ----------
        state : dict
            What `state_dict` returned.

        Raises
        ------
        ArgumentError
            The state is that of more param groups, or of none of an observer.
        """
        if "account" not in state or len(state["balls"]) > len(self.optimizer.param_groups):
            groups = len(self.optimizer.param_groups)
            raise ArgumentError(f"this is not the state of an observer of {groups} param group{'s' if groups > 1 else ''}")
        self.count, self._time = state["count"], state["time"]
        self._works, self._lengths, self._last = dict(state["works"]), list(state["lengths"]), dict(state["last"])
        self._balls = self._reader.balls = tuple(Ball(*ball) for ball in state["balls"])
        self._steps, self._lost = array("q", state["steps"].tolist()), state["lost"]
        self._changes.load(state["changes"])
        self._account = None if state["account"] is None else Account.restored(state["account"])
        self._readings.clear()

    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self.count % self.every == 0:
            self._reader.before()

    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        row = self.count % self.every == 0
        self.count += 1
        self._readings.append(self._reader.after(self.count, row=row))
        if len(self._readings) >= 2 * _TOGETHER:
            self._settle()

    def _settled(self) -> Account:
        self._settle()
        if self._account is None:
            raise ArgumentError("the observer has seen no step yet: call optimizer.step() and then observer.step(loss)")
        return self._account

    def _settle(self, *, waiting: bool = False) -> None:
        """Enter what has been read into the account, but, unless ``waiting``, for a last step whose loss has yet to come."""
        waits = not waiting and bool(self._readings) and self._readings[-1].loss is None
        due, self._readings = (self._readings[:-1], self._readings[-1:]) if waits else (self._readings, [])
        settle(due)
        for reading in due:
            if not reading.skipped:
                self._enter(reading)

    def _enter(self, reading: Reading) -> None:
        """Enter one step: what has changed before it, the row at its start, then its works."""
        pairs = list(zip(reading.balls, reading.products, strict=True))
        moving = sum([kinetic(ball, products) for ball, products in pairs])
        potential = self._potential(reading)
        if self._balls and any(products.stopped or products.started for products in reading.products):
            self._works["injected"] += sum([stopped_and_started(ball, products) for ball, products in pairs])
        if reading.balls != self._balls:
            self._change(reading, moving, potential)
        if reading.row:
            self._works["supplied"] += self.every * sum([noise_work(ball, products) for ball, products in pairs])
            if reading.loss is not None:
                self._post(reading, moving, potential)
        self._works["dissipated"] += sum([heat(ball, products) for ball, products in pairs])
        self._lengths = [products.vv for products in reading.products]
        self._time += scales(reading.balls[0])[0]

    def _change(self, reading: Reading, moving: float, potential: float) -> None:
        """Enter a change of settings, and what it has injected: kinetic energy, and that of a new weight decay."""
        if self._balls:
            known = list(zip(self._balls, reading.balls, reading.products, strict=False))  # new groups were at rest
            before = sum([kinetic_before(old, new, at, length) for (old, new, at), length in zip(known, self._lengths, strict=False)])
            decay = sum([self._decay_squares(old, new, at) for old, new, at in known])
            self._works["injected"] += moving - before + decay
            energies = Energies(potential, moving, moving + potential, moving - before + decay)
            self._changes.note(reading.step, self._time, self._balls, reading.balls, energies)
        self._balls = reading.balls

    @staticmethod
    def _decay_squares(old: Ball, new: Ball, at: Any) -> Any:
        """Return what a new weight decay adds to V."""
        return (new.weight_decay - old.weight_decay) * at.qq / 2

    def _potential(self, reading: Reading) -> float:
        """Return V on the step: the loss, and the weight decay's share."""
        loss = reading.loss if reading.full is None else reading.full
        if loss is None:
            return math.nan
        decay: float = sum([ball.weight_decay * products.qq / 2 for ball, products in zip(reading.balls, reading.products, strict=True)])
        return float(loss) + decay

    def _post(self, reading: Reading, moving: float, potential: float) -> None:
        """Enter a row; one that is not finite ends the rows, or is left out where the motion goes on."""
        if not math.isfinite(moving + potential + sum(self._works.values())):
            self._lost = reading.step if self._lost is None else self._lost
            return
        if self._account is None:
            start: Any = SimpleNamespace(t=self._time, T=moving, V=potential)
            self._account = Account(start, keep="thin", split=True, backward=False)
        else:
            self._account.post(self._time, moving, potential, *(self._works[name] for name in _WORKS))
        self._works = dict.fromkeys(_WORKS, 0.0)
        self._steps.append(reading.step)
        ball = reading.balls[0]
        settings = {"lr": ball.lr, "momentum": ball.momentum, "friction": scales(ball)[2]}
        self._last = {"step": reading.step, "time": self._time, **settings, "kinetic": moving, "potential": potential}


def _check(optimizer: Any, every: Any, full_gradient: Any) -> None:
    if not isinstance(optimizer, SGD):
        raise ArgumentTypeError(f"EnergyObserver needs a torch.optim.SGD, not {type(optimizer).__name__}: only SGD's momentum is a ball's")
    check_balls(optimizer.param_groups)
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ArgumentError(f"every is {every!r}: a positive whole number of steps is needed")
    if full_gradient is not None and not callable(full_gradient):
        raise ArgumentTypeError(f"full_gradient is {full_gradient!r}: a function that returns the loss on all data is needed")
