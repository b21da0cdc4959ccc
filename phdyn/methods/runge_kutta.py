"""Explicit Runge-Kutta methods on a fixed grid, as Butcher tableaux."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any

from phdyn.errors import ArgumentError
from phdyn.methods.stepping import Control, KeptStep, Step, gauss_work, march_on_grid, turned
from phdyn.motion import Knot, Motion
from phdyn.typing import Array
from phdyn.vectors import take_rows


def check_sums(tableau: Any) -> None:
    """Refuse a tableau whose weights do not sum to 1, or a row of which does not sum to its node.

    Raises
    ------
    ArgumentError
        With the sum.
    """
    if not abs(sum(tableau.weights) - 1) < 1e-12:
        raise ArgumentError(f"tableau '{tableau.name}': the weights sum to {sum(tableau.weights):.15g}, not 1")
    for i, (row, node) in enumerate(zip(tableau.rows, tableau.nodes, strict=True)):
        if not abs(sum(row) - node) < 1e-12:
            raise ArgumentError(f"tableau '{tableau.name}': row {i} sums to {sum(row):.15g}, its node is {node:.15g}")


@dataclass(frozen=True)
class ButcherTableau:
    """An explicit Runge-Kutta method as data that checks itself; for every system and for a plain ``fun``.

    Parameters
    ----------
    name : str
        Its name in the catalogue.
    order : int
        Declared order.
    rows : tuple of tuple of float
        Row i has the i coefficients of stage i (the first is empty).
    weights, nodes : tuple of float
        Weights b and nodes c.
    source : str
        Paper and table.

    Raises
    ------
    ArgumentError
        Lengths that do not fit, weights that do not sum to 1, a row that does not sum to its node.

    Notes
    -----
    One gradient a stage: the first stage of a step is evaluated at the end of the one before. The start of a step is kept. Work is
    taken from four Gauss nodes on the quintic for the heavy ball, and from the method's own weights otherwise.
    """

    name: str
    order: int
    rows: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    nodes: tuple[float, ...]
    source: str
    kind: str = "order"
    family: str = "runge-kutta"
    fixed: bool = True
    any_kinetic: bool = True

    def __post_init__(self) -> None:
        s = len(self.weights)
        if len(self.rows) != s or len(self.nodes) != s or any(len(row) != i for i, row in enumerate(self.rows)):
            raise ArgumentError(f"tableau '{self.name}': {s} weights need {s} nodes and rows of length 0 to {s - 1}")
        check_sums(self)

    @property
    def stages(self) -> int:
        """Gradients a step."""
        return len(self.weights)

    def fits(self, system: Any) -> bool:
        """Say yes: every system has a vector field."""
        return True

    def march(self, motion: Motion, start: Knot, t_end: float, observe: Callable[[Step], bool], control: Control) -> None:
        """See ``phdyn.typing.Method``."""
        march_on_grid(self.begin(motion, start), start.t, t_end, observe, control)

    def begin(self, motion: Motion, start: Knot) -> RungeKuttaStepper:
        """Return what advances from a knot, in a copy of its state."""
        return RungeKuttaStepper(self, motion, start)


class RungeKuttaStepper:
    """Advance by one step of a tableau; the start of the step stays in its own buffer."""

    def __init__(self, method: ButcherTableau, motion: Motion, start: Knot) -> None:
        self.method, self.motion = method, motion
        vectors = motion.vectors
        self.slopes = [vectors.empty(motion.size, start.x) for _ in range(method.stages + 1)]
        self.x0, self.x1, self.stage = (vectors.clone(start.x) for _ in range(3))
        self.step = RungeKuttaStep(self)
        self.step.begin(start)
        if start.f is None:
            motion.combine(start.t, start.x, start.g, self.slopes[-1])
        else:
            vectors.copy(start.f, self.slopes[-1])
        self.g0 = None if start.g is None else vectors.clone(start.g)
        self.keeps_powers = motion.has_energy and not motion.free_powers

    def take(self, rows: Any) -> RungeKuttaStepper:
        """Return a stepper that has taken the same step of some rows."""
        part = copy(self)
        part.motion = self.motion.take(rows)
        part.x0, part.x1, part.stage, part.g0 = (take_rows(v, rows) for v in (self.x0, self.x1, self.stage, self.g0))
        part.slopes = [take_rows(slope, rows) for slope in self.slopes]
        part.step = RungeKuttaStep(part)
        part.step._take_numbers(self.step, rows)
        part.step.x1, part.step.f1 = part.x1, part.slopes[-1]
        return part

    def advance(self, t: Any, t1: Any, h: Any) -> None:
        """Advance from t to t1 and fill the step."""
        method, motion, step, slopes = self.method, self.motion, self.step, self.slopes
        vectors = motion.vectors
        axpy, copy = vectors.axpy, vectors.copy
        step.forward(t, t1)
        self.x0, self.x1 = self.x1, self.x0
        slopes[0], slopes[-1] = slopes[-1], slopes[0]
        if step.g1 is not None:
            copy(step.g1, self.g0)
        dissipated: Any = 0.0
        supplied: Any = 0.0
        if self.keeps_powers:
            dissipated, supplied = (h * method.weights[0] * power for power in motion.powers(t, self.x0, step.g1))
        for i in range(1, method.stages):
            copy(self.x0, self.stage)
            for a, slope in zip(method.rows[i], slopes, strict=False):
                if a:
                    axpy(h * a, slope, self.stage)
            s = t + method.nodes[i] * h
            _, g, _ = motion.field(s, self.stage, slopes[i])
            if self.keeps_powers:
                lost, fed = motion.powers(s, self.stage, g)
                dissipated, supplied = dissipated + h * method.weights[i] * lost, supplied + h * method.weights[i] * fed
        copy(self.x0, self.x1)
        for b, slope in zip(method.weights, slopes, strict=False):
            if b:
                axpy(h * b, slope, self.x1)
        step.x1, step.f1 = self.x1, slopes[-1]
        step.V1, step.g1, _ = motion.field(t1, self.x1, slopes[-1])
        if step.g1 is None:
            return
        step.T1, step.d1 = motion.kinetic(self.x1), self._climb()
        step.slope1 = vectors.dot(step.g1, step.g1)
        step.dissipated, step.supplied = (dissipated, supplied) if self.keeps_powers else gauss_work(step)

    def _climb(self) -> Any:
        step, motion = self.step, self.motion
        if motion.has_split:
            return motion.climb(step.t1, step.x1, step.g1)
        return motion.vectors.dot(step.g1, step.f1)


class RungeKuttaStep(KeptStep):
    """A step of a tableau."""

    stepper: RungeKuttaStepper

    def start_view(self) -> Knot:
        """See Step."""
        kept = self.stepper
        return Knot(self.t0, kept.x0, self.V0, self.T0, self.d0, kept.g0, kept.slopes[0])

    @property
    def own_track(self) -> bool:  # type: ignore[override]
        """Whether this is Euler's method, which moves on a straight line."""
        return self.stepper.method.stages == 1

    def lift(self) -> Any:
        """See Step."""
        return turned(self, 1.0) if self.own_track else 0.0

    def _own_position(self, tau: Any) -> Array:
        motion, kept = self.motion, self.stepper
        q = motion.vectors.clone(motion.position(kept.x0))
        motion.vectors.axpy(motion.vectors.coefficient(tau), motion.position(kept.slopes[0]), q)
        return q

    def take(self, rows: Any) -> Step:
        """See Step."""
        return self.stepper.take(rows).step

    def put(self, rows: Any, knot: Knot) -> None:
        """See Step; the vector field is computed anew where the knot has none."""
        super().put(rows, knot)
        if knot.f is None:
            part = self.motion.take(rows)
            knot.f = part.combine(knot.t, knot.x, knot.g, part.vectors.empty(part.size, knot.x))
        self.motion.vectors.put(self.f1, rows, knot.f)  # type: ignore[union-attr]

    def until(self, tau: Any) -> Step:
        """See Step; one gradient a stage."""
        stepper = self.stepper.method.begin(self.motion, self.start())
        stepper.advance(self.t0, self.t0 + tau, tau)
        return stepper.step
