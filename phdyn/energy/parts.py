"""Where the residual comes from: what the scheme misses, and what the gradient misses of V."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from phdyn.energy.account import Account, Energy
from phdyn.energy.balance import EnergyBalance
from phdyn.energy.sums import Sums
from phdyn.motion import Knot

_WRONG: Final = "most of the residual is there because the gradient is not V's: V or its gradient leaves something out, or is random"

_TOLD: Final = 0.3
"""Share of the larger part that the doubt about the split may be, if the parts are to be told apart: they are known to three times it."""


@dataclass(frozen=True)
class ResidualParts:
    """The parts of a residual; both have the residual's sign and add up to it.

    Attributes
    ----------
    scheme, gradient : float
        Largest absolute value along the run of ``T - T0 + dissipated - supplied - injected + int grad V . dq``, which an exact flow would
        make zero, and of ``V - V0 - int grad V . dq``, zero for a gradient that is V's.
    scheme_slope, gradient_slope : float
        Slopes of the parts on the dissipated work: the scheme's is the share of friction's work that the discretization undoes (negative:
        adds), the gradient's the share that a wrong gradient does.
    doubt : float
        Largest difference along the run of two rules for the integral, of different degree. The parts are known to a few times that.
    """

    scheme: float
    gradient: float
    scheme_slope: float
    gradient_slope: float
    doubt: float

    @property
    def told(self) -> bool:
        """Whether the parts are told apart: the doubt is less than a third of the larger one."""
        return self.doubt < _TOLD * max(self.scheme, self.gradient)

    def __str__(self) -> str:
        if not self.told:
            return f"of it       scheme and gradient cannot be told apart: the split is known to {self.doubt:.0e} only"
        scheme = f"scheme {self.scheme:.1e}, slope {self.scheme_slope:.3f}"
        return f"of it       {scheme}     gradient {self.gradient:.1e}, slope {self.gradient_slope:.3f}     (doubt {self.doubt:.0e})"


class Parts:
    """Accounts of the two parts, and of the doubt: each is entered such that its own residual is that part.

    Parameters
    ----------
    start : Knot
        Where the run starts.
    before : tuple, optional
        ``carried()`` of the run that this one goes on from.
    **options
        As for Account.
    """

    def __init__(self, start: Any, before: Any = None, **options: Any) -> None:
        heights = ((start.T, 0.0), (0.0, start.V), (0.0, 0.0))
        carried = before or (((T + V, 0.0, 0.0, 0.0), None) for T, V in heights)
        self.scheme, self.gradient, self.doubt = (
            Account(Knot(start.t, None, V, T, 0.0, None), split=True, opening=opening, sums=sums and sums.copy(), **options)
            for (T, V), (opening, sums) in zip(heights, carried, strict=True)
        )

    @property
    def accounts(self) -> tuple[Account, Account, Account]:
        """The three."""
        return self.scheme, self.gradient, self.doubt

    def post(self, t: float, kinetic: float, potential: float, dissipated: float, supplied: float, along: tuple[float, float]) -> None:
        """Enter a step, as in Account; ``along`` is the work of the gradient along it by two rules."""
        first, second = along
        self.scheme.post(t, kinetic, 0.0, dissipated, supplied - first)
        self.gradient.post(t, 0.0, potential, dissipated, dissipated + first)
        self.doubt.post(t, 0.0, 0.0, dissipated, dissipated + second - first)

    def jump(self, before: Any, after: Any) -> None:
        """Enter a jump from a knot to another, which belongs to neither part."""
        self.scheme.jump(after.T, 0.0, after.T - before.T)
        self.gradient.jump(0.0, after.V, after.V - before.V)
        self.doubt.jump(0.0, 0.0, 0.0)

    def columns(self, energy: Energy) -> Energy:
        """Return energies with the columns of the parts."""
        return replace(energy, scheme=self.scheme.energy().residual, gradient=self.gradient.energy().residual)

    def judged(self, balance: EnergyBalance) -> EnergyBalance:
        """Return a balance with the parts, and with the blame where it belongs."""
        parts = self.figures()
        blamed = balance.reason and parts.told and parts.gradient > parts.scheme
        return replace(balance, parts=parts, reason=_WRONG if blamed else balance.reason)

    def figures(self) -> ResidualParts:
        """Return the parts along the run."""
        scheme, gradient, doubt = (account.figures() for account in self.accounts)
        sizes = (scheme.largest, gradient.largest, scheme.slope, gradient.slope, doubt.largest)
        return ResidualParts(*(float(size[0]) for size in sizes))

    def carried(self) -> tuple[tuple[tuple[float, float, float, float], Sums], ...]:
        """Return what a run that goes on needs: for each account H0 and works, and statistics."""
        for account in self.accounts:
            account.flush()
        return tuple(((account.h0, *map(float, account.last[3:])), account.sums.copy()) for account in self.accounts)
