"""The energy account of a training loop that is already there."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
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
from phdyn.training.correspondence import heavy_ball_from_sgd
from phdyn.training.goal_scheduler import noted
from phdyn.training.readings import Ball, Products, Reader, Reading, settle

_TOGETHER = 256
"""Steps that are settled together: an accelerator is waited for once in so many."""

_SWITCH = ("trajectory", "time", "source", "target", "event", "loss", "kinetic", "hamiltonian", "injected", "step", "lr", "momentum")
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
        self._steps, self._times = array("q"), array("d")
        self._last: dict[str, float] = {}
        self._switches: list[list[Any]] = []
        optimizer.register_step_pre_hook(self._before)
        optimizer.register_step_post_hook(self._after)

    def step(self, loss: float | Tensor) -> None:
        """Take note of the loss of the step that the optimizer has just made; where it made none (AMP), of nothing.

        Parameters
        ----------
        loss : float or 0-d tensor
            The batch's loss, which the step's gradients came from.
        """
        if self._readings and self._readings[-1].loss is None:
            self._readings[-1].loss = noted(loss)
        if len(self._readings) >= _TOGETHER:
            self._settle()

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
        return np.empty(0, dtype=str(self.optimizer.param_groups[0]["params"][0].dtype)[6:])

    @property
    def table(self) -> Table:
        """The rows so far: ``step, time`` and the energies; ``pandas.DataFrame(dict(observer.table))`` is a data frame."""
        energy = self.energy
        steps = np.asarray(self._steps)[np.searchsorted(np.asarray(self._times), energy.t)]
        names = ("kinetic", "potential", "hamiltonian", *_WORKS, "residual")
        return Table({"step": steps, "time": energy.t, **{name: getattr(energy, name) for name in names}})

    @property
    def switches(self) -> SwitchTable:
        """The changes of settings so far."""
        self._settle()
        columns = zip(*self._switches, strict=True) if self._switches else [()] * len(_SWITCH)
        table = dict(zip(_SWITCH, map(list, columns), strict=True))
        return SwitchTable(table, trajectories=None, empty="no change of lr, momentum, dampening or weight decay")

    def energy_balance(self) -> EnergyBalance:
        """Judge the account, by the rule for methods of an order.

        Returns
        -------
        EnergyBalance
            As that of a solution. Without `full_gradient` on mini-batches a verdict other than "balanced" may be the noise's: the reason
            says so.
        """
        account = self._settled()
        parameter = self.optimizer.param_groups[0]["params"][0]
        source = "losses on all data" if self.full_gradient else "batch losses"
        ball = self._balls[0]
        heading = f"torch.optim.SGD read as strang, lr {ball.lr:g}, momentum {ball.momentum:g}, {str(parameter.dtype)[6:]}, {source}"
        balance = account.balance("order", heading, torch.finfo(parameter.dtype).eps)
        if balance.verdict == "balanced" or self.full_gradient:
            return balance
        return replace(balance, reason=f"{balance.reason}\n  on mini-batches noise alone can do this: full_gradient= accounts for its work")

    def row(self) -> dict[str, float]:
        """Return the last row for any logger: step, time, lr, momentum, friction, energies, works and residual."""
        account = self._settled()
        if not self._last:
            return {}
        works = dict(zip(_WORKS, (float(part[0]) for part in account.books()[:3]), strict=True))
        hamiltonian = self._last["kinetic"] + self._last["potential"]
        residual = hamiltonian - float(account.h0) + works["dissipated"] - works["supplied"] - works["injected"]
        return {**self._last, "hamiltonian": hamiltonian, **works, "residual": residual}

    def log(self, writer: Any, *, prefix: str = "energy") -> None:
        """Write the last row to a TensorBoard ``SummaryWriter``, or anything with its ``add_scalar(tag, value, step)``."""
        row = self.row()
        for name, value in row.items():
            if name != "step":
                writer.add_scalar(f"{prefix}/{name}", value, int(row["step"]))

    def state_dict(self) -> dict[str, Any]:
        """Return all that `load_state_dict` needs: numbers, texts, lists, dictionaries and tensors."""
        account = self._settled()
        return {
            "count": self.count,
            "time": self._time,
            "works": dict(self._works),
            "lengths": list(self._lengths),
            "balls": [list(ball) for ball in self._balls],
            "steps": torch.tensor(self._steps),
            "times": torch.tensor(self._times, dtype=torch.float64),
            "last": dict(self._last),
            "switches": [list(row) for row in self._switches],
            "account": account.state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; the optimizer's own state is loaded by itself."""
        self.count, self._time = state["count"], state["time"]
        self._works, self._lengths, self._last = dict(state["works"]), list(state["lengths"]), dict(state["last"])
        self._balls = self._reader.balls = tuple(Ball(*ball) for ball in state["balls"])
        self._steps, self._times = array("q", state["steps"].tolist()), array("d", state["times"].tolist())
        self._switches = [list(row) for row in state["switches"]]
        self._account = Account.restored(state["account"])
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

    def _settle(self) -> None:
        """Enter what has been read into the account, but for a last step whose loss has yet to come."""
        waits = bool(self._readings) and self._readings[-1].loss is None
        due, self._readings = (self._readings[:-1], self._readings[-1:]) if waits else (self._readings, [])
        settle(due)
        for reading in due:
            if not reading.skipped:
                self._enter(reading)

    def _enter(self, reading: Reading) -> None:
        """Enter one step: the change of settings before it, the row at its start, then its works."""
        pairs = list(zip(reading.balls, reading.products, strict=True))
        kinetic = sum([_kinetic(ball, products) for ball, products in pairs])
        potential = self._potential(reading)
        if reading.balls != self._balls:
            self._change(reading, kinetic, potential)
        if reading.row:
            self._works["supplied"] += self.every * sum([_noise_work(ball, products) for ball, products in pairs])
            if reading.loss is not None:
                self._post(reading, kinetic, potential)
        self._works["dissipated"] += sum([_heat(ball, products) for ball, products in pairs])
        self._lengths = [products.vv for products in reading.products]
        self._time += _scales(reading.balls[0])[0]

    def _change(self, reading: Reading, kinetic: float, potential: float) -> None:
        """Enter a change of settings, and what it has injected."""
        if self._balls:
            known = zip(self._balls, reading.balls, reading.products, self._lengths, strict=False)  # new groups were at rest
            before = sum([_kinetic_before(old, new, products, length) for old, new, products, length in known])
            self._works["injected"] += kinetic - before
            self._note_switch(reading, kinetic, potential, kinetic - before)
        self._balls = reading.balls

    def _potential(self, reading: Reading) -> float:
        """Return V on the step: the loss, and the weight decay's share."""
        loss = reading.loss if reading.full is None else reading.full
        if loss is None:
            return math.nan
        decay: float = sum([ball.weight_decay * products.qq / 2 for ball, products in zip(reading.balls, reading.products, strict=True)])
        return float(loss) + decay

    def _post(self, reading: Reading, kinetic: float, potential: float) -> None:
        if self._account is None:
            start: Any = SimpleNamespace(t=self._time, T=kinetic, V=potential)
            self._account = Account(start, keep="thin", split=True, backward=False)
        else:
            self._account.post(self._time, kinetic, potential, *(self._works[name] for name in _WORKS))
        self._works = dict.fromkeys(_WORKS, 0.0)
        self._steps.append(reading.step)
        self._times.append(self._time)
        ball = reading.balls[0]
        settings = {"lr": ball.lr, "momentum": ball.momentum, "friction": _scales(ball)[2]}
        self._last = {"step": reading.step, "time": self._time, **settings, "kinetic": kinetic, "potential": potential}

    def _note_switch(self, reading: Reading, kinetic: float, potential: float, injected: float) -> None:
        """Add a row to the switches; a change that follows one in the step before it belongs to that."""
        number = next((k for k, (old, new) in enumerate(zip(self._balls, reading.balls, strict=False)) if old != new), len(self._balls))
        old = self._balls[number] if number < len(self._balls) else None
        new = reading.balls[number]
        target = _text(new, number)
        if old is not None and self._switches and self._switches[-1][_SWITCH.index("step")] == reading.step - 1:
            last = dict(zip(_SWITCH, self._switches[-1], strict=True))
            last |= {"target": target, "event": "schedule", "injected": last["injected"] + injected}
            last |= {"lr": new.lr, "momentum": new.momentum, "step": reading.step}
            self._switches[-1] = list(last.values())
            return
        source = "new group" if old is None else _text(old, number)
        event = "new group" if old is None else _difference(old, new)
        energies = potential, kinetic, kinetic + potential, injected
        self._switches.append([0, self._time, source, target, event, *energies, reading.step, new.lr, new.momentum])


@lru_cache(maxsize=64)
def _scales(ball: Ball) -> tuple[float, float, float]:
    """Return the step h, what turns torch's buffer into momentum, h/(1 - dampening), and the friction rate."""
    if not ball.momentum:
        return ball.lr, 0.0, math.inf
    step, friction = heavy_ball_from_sgd(lr=ball.lr, momentum=ball.momentum, dampening=ball.dampening)
    return step, step / (1 - ball.dampening), friction


def _kinetic(ball: Ball, at: Products) -> Any:
    """Return the kinetic energy on the step: that of ``-s (v - (1 - dampening) g/2)``, half a kick before torch's buffer."""
    share = 1 - ball.dampening
    return _scales(ball)[1] ** 2 / 2 * max(0.0, at.vv - share * at.vg + share**2 * at.gg / 4)


def _kinetic_before(old: Ball, new: Ball, at: Products, length: Any) -> Any:
    """Return the kinetic energy on the step with the settings before, where the last buffer had the squared length ``length``.

    The momentum before the kick has the direction of ``b = v - (1 - dampening) g`` (without momentum now: of v, which is left over), and by
    the settings before the length ``mu |v_last|``.
    """
    if not old.momentum:
        return 0.0
    share = 1 - new.dampening if new.momentum else 0.0
    bb = max(0.0, at.vv - 2 * share * at.vg + share**2 * at.gg)
    bg = at.vg - share * at.gg
    a, f = old.momentum * math.sqrt(length / bb) if bb else 0.0, (1 - old.dampening) / 2
    return _scales(old)[1] ** 2 / 2 * max(0.0, a**2 * bb + 2 * a * f * bg + f**2 * at.gg)


def _heat(ball: Ball, at: Products) -> Any:
    """Return friction's work in the step: of gradient descent all that the descent does."""
    if not ball.momentum:
        return ball.lr * at.gg
    return (1 - ball.momentum**2) * _scales(ball)[1] ** 2 / 2 * at.vv


def _noise_work(ball: Ball, at: Products) -> Any:
    """Return the work of the noise's kick, ``h u.p`` with p on the step."""
    step, scale, _ = _scales(ball)
    return -(step * scale if ball.momentum else ball.lr) * at.noise


def _text(ball: Ball, number: int) -> str:
    group = f"group {number}: " if number else ""
    return f"{group}friction {_scales(ball)[2]:.3g}"


def _difference(old: Ball, new: Ball) -> str:
    return ", ".join(name.replace("_", " ") for name, a, b in zip(Ball._fields, old, new, strict=True) if a != b)


def _check(optimizer: Any, every: Any, full_gradient: Any) -> None:
    if not isinstance(optimizer, SGD):
        raise ArgumentTypeError(f"EnergyObserver needs a torch.optim.SGD, not {type(optimizer).__name__}: only SGD's momentum is a ball's")
    for number, group in enumerate(optimizer.param_groups):
        if group["nesterov"] or group["maximize"]:
            what = "Nesterov's variant, whose parameters are a look-ahead point" if group["nesterov"] else "maximize=True"
            raise ArgumentError(f"EnergyObserver: param group {number} has {what}: its energies are not those of a ball")
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ArgumentError(f"every is {every!r}: a positive whole number of steps is needed")
    if full_gradient is not None and not callable(full_gradient):
        raise ArgumentTypeError(f"full_gradient is {full_gradient!r}: a function that returns the loss on all data is needed")
