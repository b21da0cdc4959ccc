"""What a switch does to the param groups of an optimizer, and what it takes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from phdyn.errors import ArgumentError
from phdyn.training import settings

Exploit = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class Switch:
    """The settings that switches made, param group by param group.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Whose groups; some may be added later.

    Attributes
    ----------
    found : list of dict
        What each group had before the first switch, of the settings that switches have changed.
    held : list of dict
        What switches have set, and keep in force.
    rubbed : list of bool
        Whether a switch has set a group's friction: its momentum buffers are rescaled on the way back too.

    Raises
    ------
    ArgumentError
        A setting that a group does not have, or more or fewer entries than groups.
    """

    def __init__(self, optimizer: Optimizer, exploits: Sequence[Exploit]) -> None:
        self.optimizer = optimizer
        self.found: list[dict[str, Any]] = []
        self.held: list[dict[str, Any]] = []
        self.rubbed: list[bool] = []
        self.grow()
        for exploit in exploits:
            if not isinstance(exploit, Mapping) and len(exploit) != len(self.held):
                raise ArgumentError(f"exploit has {len(exploit)} entries, and the optimizer {len(self.held)} param groups")
            for number, group in enumerate(optimizer.param_groups):
                settings.check_exploit(part(exploit, number), group, number)

    def grow(self) -> range:
        """Make room for groups that are new, and return their numbers."""
        new = range(len(self.held), len(self.optimizer.param_groups))
        for _ in new:
            self.found.append({})
            self.held.append({})
            self.rubbed.append(False)
        return new

    def apply(self, number: int, exploit: Mapping[str, Any]) -> None:
        """Give a group the settings of a mode; friction as the lr and momentum that have it at the group's physical step."""
        group, named = self.optimizer.param_groups[number], dict(exploit)
        if settings.FRICTION in named:
            named |= settings.with_friction(group, named.pop(settings.FRICTION))
            settings.rescale(self.optimizer, group, settings.get(group, "momentum") / named["momentum"])
            self.rubbed[number] = True
        for name, value in named.items():
            self.found[number].setdefault(name, settings.get(group, name))
            settings.put(group, name, value)
            self.held[number][name] = settings.get(group, name)  # a tensor may have rounded it

    def restore(self) -> None:
        """Give all groups back what they had before the first switch; a learning rate only where it still is the switch's."""
        for number, group in enumerate(self.optimizer.param_groups[: len(self.held)]):
            found, held = self.found[number], self.held[number]
            if self.rubbed[number]:
                settings.rescale(self.optimizer, group, settings.get(group, "momentum") / found["momentum"])
            for name, value in found.items():
                if name != "lr" or settings.get(group, name) == held[name]:
                    settings.put(group, name, value)
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

    def state(self) -> dict[str, Any]:
        """Return what `load` needs, as plain data."""
        return {name: [dict(part) for part in getattr(self, name)] for name in ("found", "held")} | {"rubbed": list(self.rubbed)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; the optimizer's groups are its own affair."""
        self.found, self.held = ([dict(part) for part in state[name]] for name in ("found", "held"))
        self.rubbed = list(state["rubbed"])


def part(exploit: Exploit, number: int) -> Mapping[str, Any]:
    """Return what an exploit sets in one param group."""
    return exploit if isinstance(exploit, Mapping) else exploit[number]
