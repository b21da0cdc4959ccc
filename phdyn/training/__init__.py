"""The bridge to torch.optim: what SGD's settings mean, the friction switch and the energy account in anyone's training loop."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from phdyn.training.correspondence import friction_schedule, heavy_ball_from_sgd, kinetic_jumps, sgd_from_heavy_ball
from phdyn.training.estimates import Ema, EpochMean, FullLoss, LastBatch
from phdyn.training.full import full_batch
from phdyn.training.goal_scheduler import GoalScheduler
from phdyn.training.observer import EnergyObserver
from phdyn.training.sgd_state import start_at_rest, state_from_sgd

if TYPE_CHECKING:
    from phdyn.training.lightning import LightningCallback

__all__ = [
    "Ema",
    "EnergyObserver",
    "EpochMean",
    "FullLoss",
    "GoalScheduler",
    "LastBatch",
    "LightningCallback",
    "friction_schedule",
    "full_batch",
    "heavy_ball_from_sgd",
    "kinetic_jumps",
    "sgd_from_heavy_ball",
    "start_at_rest",
    "state_from_sgd",
]


def __getattr__(name: str) -> Any:
    """Load what needs lightning on first use."""
    if name == "LightningCallback":
        return import_module("phdyn.training.lightning").LightningCallback
    raise AttributeError(f"module 'phdyn.training' has no attribute '{name}'")
