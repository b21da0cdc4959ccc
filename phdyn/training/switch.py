"""What a switch does to the param groups of an optimizer, and what it takes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from phdyn.errors import ArgumentError
from phdyn.training import settings

Exploit = Mapping[str, Any] | Sequence[Mapping[str, Any]]
Tell = Callable[[str, str], None]


class Switch:
    """The settings that switches made, param group by param group.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Whose groups; some may be added later.
    exploits : sequence of mapping or list of mappings
        What the modes after explore set.
    tell : callable
        ``tell(key, message)``: says something once.

    Attributes
    ----------
    found : list of dict
        What each group had before the first switch, of the settings that switches have changed.
    held : list of dict
        What switches have set, and keep in force.
    used : list of float or None
        The momentum of each group in the last optimizer step: what the buffers are rescaled from.
    rubbed : list of bool
        Whether a switch has set a group's friction: its momentum buffers are rescaled on the way back too.

    Raises
    ------
    ArgumentError
        A setting that a group does not have, values out of range, or more or fewer entries than groups.
    """

    def __init__(self, optimizer: Optimizer, exploits: Sequence[Exploit], tell: Tell) -> None:
        self.optimizer, self.tell = optimizer, tell
        self.found: list[dict[str, Any]] = []
        self.held: list[dict[str, Any]] = []
        self.used: list[float | None] = []
        self.rubbed: list[bool] = []
        self.grow()
        for exploit in exploits:
            if not isinstance(exploit, Mapping) and len(exploit) != len(self.held):
                raise ArgumentError(f"exploit has {len(exploit)} entries, and the optimizer {len(self.held)} param groups")
            for number, group in enumerate(optimizer.param_groups):
                settings.check_exploit(_part(exploit, number), optimizer, group, number)

    def grow(self) -> list[int]:
        """Make room for groups that are new, and return their numbers."""
        new = list(range(len(self.held), len(self.optimizer.param_groups)))
        for _ in new:
            self.found.append({})
            self.held.append({})
            self.used.append(None)
            self.rubbed.append(False)
        return new

    def apply(self, exploit: Exploit, numbers: Sequence[int] | None = None) -> None:
        """Give groups, all if no numbers, the settings of a mode; all are found out before the first is written."""
        self.grow()
        numbers = range(len(self.held)) if numbers is None else numbers
        wanted = {number: self._named(number, exploit) for number in numbers}
        for number, named in wanted.items():
            group = self.optimizer.param_groups[number]
            for name, value in named.items():
                self.found[number].setdefault(name, settings.get(group, name))
                settings.own(self.optimizer.param_groups, number, name)
                settings.put(group, name, value)
                self.held[number][name] = settings.get(group, name)  # a tensor may have rounded it

    def _named(self, number: int, exploit: Exploit) -> dict[str, Any]:
        """Return what a mode sets in a group; friction as lr and momentum, with the buffers rescaled."""
        group = self.optimizer.param_groups[number]
        if not isinstance(exploit, Mapping) and number >= len(exploit):
            self.tell(f"group {number}", f"exploit has no entry for param group {number}, which was added later: it keeps its settings")
            return {}
        named = dict(_part(exploit, number))
        if settings.FRICTION not in named:
            return {name: value for name, value in named.items() if self._has(group, name, number)}
        rate = float(named.pop(settings.FRICTION))
        if not settings.is_ball(self.optimizer, group) or not settings.get(group, "lr"):
            self.tell(f"group {number}", f"param group {number} has no momentum or no learning rate, so no friction: it keeps its settings")
            return named
        momentum = self.held[number].get("momentum", settings.get(group, "momentum"))
        named |= settings.with_friction(group, rate, momentum)
        self._rescale(number, named["momentum"])
        self.rubbed[number] = True
        return named

    def _has(self, group: dict[str, Any], name: str, number: int) -> bool:
        if settings.has(group, name):
            return True
        self.tell(f"group {number}", f"param group {number}, which was added later, has no {name!r}: it keeps its settings")
        return False

    def _rescale(self, number: int, momentum: float) -> None:
        """Make the next step find the momentum that the last one has left: mu_new v_new = mu_used v."""
        group, used = self.optimizer.param_groups[number], self.used[number]
        settings.rescale(self.optimizer, group, (settings.get(group, "momentum") if used is None else used) / momentum)
        self.used[number] = momentum

    def restore(self) -> None:
        """Give all groups back what they had before the first switch; a learning rate that has been moved since keeps the motion."""
        for number, group in enumerate(self.optimizer.param_groups[: len(self.held)]):
            found, held = self.found[number], self.held[number]
            if self.rubbed[number]:
                self._rescale(number, found["momentum"])
            for name, value in found.items():
                moved = settings.get(group, name) / held[name] if name == "lr" and held[name] else 1.0
                settings.put(group, name, value * moved if moved != 1.0 else value)
            self.found[number], self.held[number], self.rubbed[number] = {}, {}, False

    def enforce(self, overruled: Callable[[int, float, float], None]) -> None:
        """Write again what something else has written over; a learning rate is left, and reported (group, set, found).

        A learning rate on an accelerator is not looked at: that would wait for the device at every step.
        """
        for number, held in enumerate(self.held):
            group = self.optimizer.param_groups[number]
            for name, value in held.items():
                if name != "lr":
                    settings.put(group, name, value)
                elif not settings.far(group, name) and settings.get(group, name) != value:
                    overruled(number, value, settings.get(group, name))

    def note(self) -> None:
        """Take note of the momentum that the optimizer is going to use."""
        for number, group in enumerate(self.optimizer.param_groups[: len(self.used)]):
            self.used[number] = group.get("momentum")

    def state(self) -> dict[str, Any]:
        """Return what `load` needs, as plain data."""
        parts = {name: [dict(part) for part in getattr(self, name)] for name in ("found", "held")}
        return {**parts, "rubbed": list(self.rubbed), "used": list(self.used)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; the optimizer's groups are its own affair.

        Raises
        ------
        ArgumentError
            The state is that of more param groups.
        """
        if len(state["held"]) > len(self.optimizer.param_groups):
            raise ArgumentError(f"the state has {len(state['held'])} param groups, and the optimizer {len(self.optimizer.param_groups)}")
        self.found, self.held = ([dict(part) for part in state[name]] for name in ("found", "held"))
        self.rubbed, self.used = list(state["rubbed"]), list(state["used"])


def _part(exploit: Exploit, number: int) -> Mapping[str, Any]:
    """Return what an exploit sets in one param group."""
    return exploit if isinstance(exploit, Mapping) else exploit[number]
