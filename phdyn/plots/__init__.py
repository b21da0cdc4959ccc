"""Figures: each function draws on an Axes, returns it, and computes nothing beyond what drawing needs.

``ax=None`` makes a new figure, one column (84 mm) wide. The rcParams of the user are neither used up nor changed, and
no title is set: a paper has a caption. :func:`save` writes PNG, PDF and the numbers.
"""

from phdyn.plots.basins import plot_basins
from phdyn.plots.comparison import plot_orders, plot_work_precision
from phdyn.plots.differences import plot_differences
from phdyn.plots.energy import plot_energy
from phdyn.plots.friction_schedule import plot_friction_schedule
from phdyn.plots.goal_map import plot_goal_map
from phdyn.plots.long_run import plot_long_run
from phdyn.plots.loss import plot_loss
from phdyn.plots.modes import plot_modes
from phdyn.plots.modified import plot_modified
from phdyn.plots.paths import plot_path, plot_phase
from phdyn.plots.residual import plot_residual
from phdyn.plots.saving import save
from phdyn.plots.seeds import plot_seeds
from phdyn.plots.stability import plot_stability
from phdyn.plots.symplecticity import plot_symplecticity

__all__ = [
    "plot_basins",
    "plot_differences",
    "plot_energy",
    "plot_friction_schedule",
    "plot_goal_map",
    "plot_long_run",
    "plot_loss",
    "plot_modes",
    "plot_modified",
    "plot_orders",
    "plot_path",
    "plot_phase",
    "plot_residual",
    "plot_seeds",
    "plot_stability",
    "plot_symplecticity",
    "plot_work_precision",
    "save",
]
