"""An adapter for Lightning: the scheduler and the observer as one callback."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from phdyn.errors import ArgumentError, MissingExtraError

if TYPE_CHECKING:
    from lightning import Callback
else:
    try:
        from lightning import Callback
    except ImportError as error:
        raise MissingExtraError("LightningCallback needs lightning: pip install 'phdyn[training]'") from error


class LightningCallback(Callback):
    """Step schedulers and observers along with a Lightning trainer, after each optimizer step, with the loss of ``training_step``.

    Parameters
    ----------
    *parts : GoalScheduler, EnergyObserver, or callables
        What has ``step(loss)``, ``state_dict()`` and ``load_state_dict(state)``; or functions ``part(optimizer)`` that make it of the
        trainer's first optimizer when a fit starts, anew in each fit.

    Attributes
    ----------
    parts : list
        The parts themselves, from the start of the fit on.

    Raises
    ------
    MissingExtraError
        At import, when lightning is not installed.
    ArgumentError
        No parts; at the start of a fit: no optimizer.

    Notes
    -----
    With ``accumulate_grad_batches`` the parts step when the optimizer does, with the mean loss of the batches in between. Any logger takes
    ``observer.row()``, a dictionary of numbers. Checkpoints hold the states of all parts. A step whose ``training_step`` returned no
    loss (None, or under manual optimization a dictionary without "loss") is none for the parts: step them yourself there.
    """

    def __init__(self, *parts: Any) -> None:
        if not parts:
            raise ArgumentError("LightningCallback needs a GoalScheduler, an EnergyObserver, or functions that make one of an optimizer")
        self.makers, self.parts = parts, list(parts)
        self._states: list[Mapping[str, Any]] = []
        self._losses: list[Any] = []
        self._made = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Make the parts that are given as functions, of this fit's optimizer, and give them the states of a checkpoint."""
        if not trainer.optimizers:
            raise ArgumentError("LightningCallback: the trainer has no optimizer")
        optimizer = trainer.optimizers[0]
        for part in self.parts:
            if _is_part(part) and part not in self.makers:
                part.remove()  # of an earlier fit
        self.parts = [part if _is_part(part) else _made(part, optimizer) for part in self.makers]
        for part, state in zip(self.parts, self._states, strict=False):
            part.load_state_dict(state)
        self._states = []
        self._made = trainer.global_step
        self._losses.clear()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Step the parts if the optimizer has made a step."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if loss is None:
            return
        self._losses.append(loss.detach())
        if trainer.global_step == self._made:
            return
        self._made = trainer.global_step
        mean = sum(self._losses) * (trainer.accumulate_grad_batches / len(self._losses))  # lightning divides each by that number
        self._losses.clear()
        for part in self.parts:
            part.step(mean)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the parts."""
        return {"parts": [part.state_dict() for part in self.parts if _is_part(part)]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the states of a checkpoint until the fit starts."""
        self._states = list(state_dict["parts"])


def _is_part(part: Any) -> bool:
    return hasattr(part, "step") and not isinstance(part, type)


def _made(part: Callable[[Any], Any], optimizer: Any) -> Any:
    made = part(optimizer)
    if not _is_part(made):
        raise ArgumentError(f"LightningCallback: {part!r} made {made!r}, which has no step(loss)")
    return made
