"""The verdict on an energy account: one rule, for a single trajectory and for the rows of a batch alike."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from phdyn.energy.sums import Figures, frozen
from phdyn.tables import Table

if TYPE_CHECKING:
    from phdyn.energy.account import Account

VERDICTS: Final = ("balanced", "coarse", "violated")

_BALANCED, _COARSE, _ACTIVE, _DEFECT, _MISSING, _LARGE, _DRIFT = range(7)
"""What was found, in the order in which it is looked for after the first two: the first that applies is the reason."""

_SHARED: Final = ("kind", "heading")
"""Fields that all trajectories of a batch share."""


@dataclass(frozen=True)
class EnergyBalance:
    """The verdict on an energy account; printing it shows why.

    In a batch every field but ``kind`` and ``heading`` is an array (B,), and ``balance[k]`` is trajectory k's own.

    Attributes
    ----------
    verdict : {"balanced", "coarse", "violated"}
        Whether energy is dissipated as the equation says.
    kind : {"exact", "order", "tolerance"}
        What the method's balance is held to.
    residual, time : float
        The largest absolute residual, and when.
    slope : float
        Slope of the residual on the dissipated work: the share of friction's work that the method undoes (negative: adds).
    swing : float
        Range of the kinetic or potential energy, the larger one (without a split: of H).
    dissipated, supplied, injected : float
        At the end.
    initial, final : float
        H at the start and at the end.
    reason : str
        Why the verdict is not "balanced"; empty otherwise.
    heading : str
        Method and setting.
    parts : ResidualParts, optional
        What of the residual comes from the scheme and what from the gradient, with ``simulate(residual_parts=True)``.
    slopes : Table, optional
        The slope window by window, of ``energy_balance(window=)``: ``time`` (a window's end), ``slope``; in a batch ``trajectory`` first.
    """

    verdict: Any
    kind: str
    residual: Any
    time: Any
    slope: Any
    swing: Any
    dissipated: Any
    supplied: Any
    injected: Any
    initial: Any
    final: Any
    reason: Any
    heading: str
    parts: Any = None
    slopes: Table | None = None

    @property
    def batch(self) -> int | None:
        """Number of trajectories, None for a single run."""
        return None if isinstance(self.verdict, str) else len(self.verdict)

    @property
    def holds(self) -> Any:
        """Whether the balance is not violated: a bool, or an array (B,) of them."""
        return self.verdict != "violated"

    def numbers(self) -> dict[str, Any]:
        """Return all fields but parts and slopes, which are not one number a trajectory."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("parts", "slopes")}

    def __getitem__(self, k: int) -> EnergyBalance:
        """Return the balance of trajectory k of a batch."""
        if self.batch is None:
            raise TypeError("this balance is that of a single run: only a batch's can be indexed")
        own = self.numbers()
        slopes = None if self.slopes is None else _of_trajectory(self.slopes, range(self.batch)[k])
        return EnergyBalance(**{name: value if name in _SHARED else value[k].item() for name, value in own.items()}, slopes=slopes)

    def __str__(self) -> str:
        return self._one() if self.batch is None else self._many()

    def _one(self) -> str:
        verdict = "VIOLATED" if self.verdict == "violated" else self.verdict
        share = f"{100 * self.residual / self.swing:.1f} % of the energy's swing" if self.swing > 0 else "no swing"
        lines = [
            f"energy {'balance ' if self.verdict == 'violated' else ''}{verdict}: {self.heading}",
            f"  H           {self.initial:.4f} -> {self.final:.4f}     change       {self.final - self.initial:.4f}",
            f"  dissipated  {self.dissipated:.4f}     supplied  {self.supplied:.4f}     injected  {self.injected:.4f}",
            f"  residual    {self.residual:.1e} at t = {self.time:.1f}, {share}     slope on dissipated work  {self.slope:.3f}",
        ]
        more = [str(self.parts)] if self.parts is not None else []
        more += [self.reason] if self.reason else []
        return "\n".join([*lines, *(f"  {line}" for line in more)])

    def _many(self) -> str:
        """Return the counts, the residual that is the largest share of its energy's swing, and the first reason there is."""
        counts = {verdict: int(np.count_nonzero(self.verdict == verdict)) for verdict in VERDICTS}
        worst_verdict = next((verdict for verdict in reversed(VERDICTS) if counts[verdict]), "balanced")
        opening = "energy balance VIOLATED" if counts["violated"] else f"energy {worst_verdict}"
        lines = [
            f"{opening}: {self.heading}, {self.batch} trajectories",
            "  verdicts    " + ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS),
        ]
        if not self.batch:
            return "\n".join(lines)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(self.residual > 0, self.residual / self.swing, 0.0)
        k = int(np.argmax(shares))
        share = f"{100 * shares[k]:.1f} % of its energy's swing" if np.isfinite(shares[k]) else "no swing"
        lines.append(f"  residual    at most {self.residual[k]:.1e} at t = {self.time[k]:.1f}, {share}, in trajectory {k}")
        if worst_verdict != "balanced":
            first = int(np.argmax(self.verdict == worst_verdict))
            lines.append(f"  trajectory {first}: {self.reason[first]}")
        return "\n".join(lines)


def _of_trajectory(slopes: Table, k: int) -> Table:
    own = slopes["trajectory"] == k
    return Table({name: slopes[name][own] for name in ("time", "slope")})


def judge(account: Account, kind: str, heading: str, eps: float) -> EnergyBalance:
    """Apply the rule of the verdict to an account.

    With r the residual, W the dissipated work, c the slope of r on W (weights: step lengths) and R2 the share of r's variance it explains,
    a balance is violated when friction feeds energy in; when more than a tenth of friction's work is missing or invented (|c| > 0.1, with
    R2 > 0.05, over 16 steps at least, and by more than 0.3 % of the swing: over part of an oscillation a healthy residual goes with
    W by itself); when r exceeds a tenth of the energy's swing; or, without friction, when r drifts by more than a hundredth of it. It is
    coarse when r exceeds a hundredth of the swing. Rounding is never blamed: all of it counts above ``8 eps sqrt(steps) (|V| + T)``.
    """
    figures, books = account.figures(), account.books()
    found = _found(figures, kind, eps)
    verdict = np.array(VERDICTS)[np.minimum(found, 1) + (found > _COARSE)]
    reason: Any = np.full(len(found), "", dtype=object)
    for k in np.flatnonzero(found):
        reason[k] = _reason(figures, int(found[k]), int(k))
    names = ("residual", "time", "slope", "swing", "dissipated", "supplied", "injected", "initial", "final")
    measured = (figures.largest, figures.time, figures.slope, figures.swing, *books)
    columns = {name: frozen(column) for name, column in zip(names, measured, strict=True)}
    balance = EnergyBalance(verdict=frozen(verdict), kind=kind, reason=frozen(reason.astype(str)), heading=heading, **columns)
    return balance if account.batch is not None else balance[0]


def _found(figures: Figures, kind: str, eps: float) -> Any:
    """Return what the rule finds in each trajectory."""
    noise = 8 * eps * np.sqrt(figures.steps) * figures.scale
    visible = figures.largest > noise
    active = figures.least < -noise
    if kind == "exact":
        return np.select([active, figures.defect > 100 * eps * figures.scale], [_ACTIVE, _DEFECT], _BALANCED)
    slope, swing = np.abs(figures.slope), figures.swing
    missing = (slope * figures.work > np.maximum(noise, 0.003 * swing)) & (slope > 0.1) & (figures.explained > 0.05) & (figures.steps >= 16)
    drifts = (figures.work <= noise) & (figures.drift > 0.01 * swing)
    large, coarse = figures.largest > 0.1 * swing, figures.largest > 0.01 * swing
    tests = [active, visible & missing, visible & large, visible & drifts, visible & coarse]
    return np.select(tests, [_ACTIVE, _MISSING, _LARGE, _DRIFT, _COARSE], _BALANCED)


def _reason(figures: Figures, found: int, k: int) -> str:
    """Say what was found in trajectory k."""
    if found == _COARSE:
        return "the step is coarse: a smaller one, or a tighter tolerance, halves the residual and more"
    if found == _ACTIVE:
        return f"not passive: friction feeds energy in ({-figures.least[k]:.2e} in one step): its rate, or R, is negative somewhere"
    if found == _DEFECT:
        return f"one step misses the balance by {figures.defect[k]:.1e}, beyond rounding"
    if found == _MISSING:
        return f"{100 * abs(figures.slope[k]):.0f} % of the work that friction should do is missing or invented by the method"
    if found == _LARGE:
        share = 100 * figures.largest[k] / figures.swing[k] if figures.swing[k] > 0 else float("inf")
        return f"the residual is {share:.0f} % of the energy's swing: the step is too coarse, or the gradient is not V's"
    return f"energy drifts by {figures.drift[k]:.1e} although nothing dissipates it"
