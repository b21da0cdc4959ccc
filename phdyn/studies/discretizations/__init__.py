"""What each discretization does to training dynamics: order, cost, energy, structure, stability, and where it drifts.

One command, or :func:`run`, answers all of it for a system and a set of methods; each part is a function of its own too.
"""

from phdyn.studies.discretizations.config import Config, Equations, Long, Orders, Precision, Stability, Structure
from phdyn.studies.discretizations.experiment import failures, run
from phdyn.studies.discretizations.figures import draw
from phdyn.studies.discretizations.long_run import LongRun, long_run
from phdyn.studies.discretizations.modified import modified
from phdyn.studies.discretizations.stability import StabilityMap, hard_braking, stability_map
from phdyn.studies.discretizations.symplecticity import symplecticity
from phdyn.studies.discretizations.text import report

__all__ = [
    "Config",
    "Equations",
    "Long",
    "LongRun",
    "Orders",
    "Precision",
    "Stability",
    "StabilityMap",
    "Structure",
    "draw",
    "failures",
    "hard_braking",
    "long_run",
    "modified",
    "report",
    "run",
    "stability_map",
    "symplecticity",
]
