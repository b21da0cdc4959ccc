"""The energy account: what is stored, dissipated, supplied and injected along a run, and whether the balance closes.

The residual is ``H - H0 + dissipated - supplied - injected``. Dissipated work comes from the friction that the system *declares*, never
from what the momentum lost: the account can see friction applied twice. "H never grows" is the wrong test for an explicit splitting; the
verdict regresses the residual on the dissipated work instead.
"""

from phdyn.energy.account import ROWS, Account, Energy
from phdyn.energy.balance import EnergyBalance, judge
from phdyn.energy.parts import Parts, ResidualParts
from phdyn.energy.row_sums import RowSums
from phdyn.energy.rows import RowAccount
from phdyn.energy.sums import Sums
from phdyn.energy.windows import check_window, slopes

__all__ = [
    "ROWS",
    "Account",
    "Energy",
    "EnergyBalance",
    "Parts",
    "ResidualParts",
    "RowAccount",
    "RowSums",
    "Sums",
    "check_window",
    "judge",
    "slopes",
]
