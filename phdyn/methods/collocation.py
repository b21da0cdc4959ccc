"""Implicit Runge-Kutta methods: Gauss-Legendre collocation in Lawson's form, which stays conformally symplectic with friction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from phdyn.counts import Halt
from phdyn.errors import ArgumentError
from phdyn.methods.implicit import ImplicitMethod, ImplicitStepper, check_solve
from phdyn.methods.runge_kutta import check_sums
from phdyn.motion import Knot, Motion
from phdyn.typing import Array

_MOST_DAMPING: Final = 0.4
"""Of the largest exponent that there is: what int gamma/m of a step may be, so that nothing overflows (about 280; float32: 35)."""


@dataclass(frozen=True)
class ImplicitTableau(ImplicitMethod):
    """An implicit Runge-Kutta method as data that checks itself.

    Parameters
    ----------
    name : str
        Its name in the catalogue.
    order : int
        Declared order.
    rows : tuple of tuple of float
        The matrix a.
    weights, nodes : tuple of float
        Weights b and nodes c.
    source : str
        Paper and table.
    tolerance : float, optional
        Of the nonlinear solve, relative to the size of the unknown; ten roundings if None.
    max_iterations : int
        Of a step's solve; beyond, the run ends with status -5.
    lawson : bool
        Whether a heavy ball is moved in Lawson's form; otherwise as any other system.

    Raises
    ------
    ArgumentError
        Lengths that do not fit, weights that do not sum to 1, a row that does not sum to its node.

    Notes
    -----
    On a heavy ball in Lawson's form (Lawson 1967, SIAM J. Numer. Anal. 4, 372): the method is applied to (q, P), P = exp(int gamma/m) p,
    for which friction is gone. A Gauss method is symplectic there, so its step is conformally symplectic with the factor of the exact flow.
    The unknowns are the positions of the stages alone. The other systems have stages of the whole state. Each iteration costs a gradient a
    stage, the end of a step one more. Lawson's form is made for gamma h/m up to about 1: under a hard brake the forces of a step all act at
    its stages, not along it, and the accuracy is lost, though not the contraction.
    """

    name: str
    order: int
    rows: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    nodes: tuple[float, ...]
    source: str
    tolerance: float | None = None
    max_iterations: int = 100
    lawson: bool = True
    kind: str = "order"
    family: str = "runge-kutta"
    fixed: bool = True

    def __post_init__(self) -> None:
        s = len(self.weights)
        if len(self.rows) != s or len(self.nodes) != s or any(len(row) != s for row in self.rows):
            raise ArgumentError(f"tableau '{self.name}': {s} weights need {s} nodes and {s} rows of length {s}")
        check_sums(self)
        check_solve(self)

    @property
    def cost(self) -> str:
        """Gradients, for the table of methods."""
        return f"{len(self.weights)} an iteration"

    def stepper(self, motion: Motion, start: Knot) -> ImplicitStepper:
        """See ImplicitMethod."""
        return (LawsonStepper if motion.has_split and self.lawson else StageStepper)(self, motion, start)


class LawsonStepper(ImplicitStepper):
    """Of a heavy ball: the unknowns are the positions of the stages, one after the other in one vector."""

    def _solve(self, t: float, h: float) -> tuple[float, float]:
        motion, tableau, n = self.motion, self.method, self.motion.dim
        w, q0, p0 = motion.inverse_mass, self.x0[:n], self.x0[n:]
        s, law, mass = len(tableau.weights), motion.law, motion.drift_mass
        times = [t + c * h for c in tableau.nodes]
        lost = [law.integral(t, at) / mass for at in (*times, t + h)]
        furthest = max(float(np.max(np.abs(one))) for one in lost)
        if not furthest < _MOST_DAMPING * np.log(np.finfo(motion.vectors.dtype).max):
            raise Halt(-5, f"{tableau.name}: gamma h/m = {furthest:.3g} in the step from t = {t:.6g} is too large: use strang, or gonzalez")

        def decay(start: int, end: int) -> Any:
            """Return by what momentum is damped from one stage (-1: the start of the step, s: its end) to another."""
            return motion.vectors.coefficient(np.exp((0.0 if start < 0 else lost[start]) - lost[end]))

        from_start = [decay(-1, i) for i in range(s + 1)]
        between = [[decay(j, i) for j in range(s)] for i in range(s + 1)]
        rows = (*tableau.rows, tableau.weights)
        forces: list[Any] = [None] * s
        speeds: list[Any] = [None] * s
        inputs: list[Any] = [None] * s

        def momentum(i: int) -> Any:
            pushes = [between[i][j] * force for j, force in enumerate(forces)]
            return from_start[i] * p0 + h * _sum(rows[i], pushes)

        def stages(places: Array) -> Array:
            """Return the positions of the stages that follow from a guess of them."""
            for j in range(s):
                q = places[j * n : (j + 1) * n]
                push, inputs[j] = -motion.gradient(q)[1], motion.force(times[j], q)
                forces[j] = push if inputs[j] is None else push + inputs[j]
            speeds[:] = [w * momentum(i) for i in range(s)]
            new = motion.vectors.clone(places)
            for i in range(s):
                new[i * n : (i + 1) * n] = q0 + h * _sum(rows[i], speeds)
            return new

        guess, start = motion.vectors.empty(s * n, self.x0), motion.vectors.empty(s * n, self.x0)
        push = motion.acceleration(t, self.x0, self.g0)
        for j, c in enumerate(tableau.nodes):
            start[j * n : (j + 1) * n] = q0
            guess[j * n : (j + 1) * n] = q0 + (c * h) * w * p0 + (0.5 * c * c * h * h) * push
        self.fixed_point(stages, guess, start, t, h)
        self.x1[:n] = q0 + h * _sum(tableau.weights, speeds)
        self.x1[n:] = momentum(s)
        dot = motion.vectors.dot
        dissipated = [float(law.rate(at)) * float(dot(v, v)) for at, v in zip(times, speeds, strict=True)]
        supplied = [0.0 if u is None else float(dot(u, v)) for u, v in zip(inputs, speeds, strict=True)]
        return h * float(np.dot(tableau.weights, dissipated)), h * float(np.dot(tableau.weights, supplied))


class StageStepper(ImplicitStepper):
    """Of the other systems: the unknowns are the stages."""

    def _solve(self, t: float, h: float) -> tuple[float, float]:
        motion, tableau, n = self.motion, self.method, self.motion.size
        s, x0, empty = len(tableau.weights), self.x0, motion.vectors.empty
        slopes = [empty(n, x0) for _ in range(s)]
        powers = [(0.0, 0.0)] * s

        def stages(states: Array) -> Array:
            """Return the stages that follow from a guess of them."""
            for j, c in enumerate(tableau.nodes):
                x = states[j * n : (j + 1) * n]
                _, g, _ = motion.field(t + c * h, x, slopes[j])
                powers[j] = motion.powers(t + c * h, x, g)
            new = motion.vectors.clone(states)
            for i, row in enumerate(tableau.rows):
                new[i * n : (i + 1) * n] = x0 + h * _sum(row, slopes)
            return new

        guess, start, flow = empty(s * n, x0), empty(s * n, x0), motion.combine(t, x0, self.g0, empty(n, x0))
        for j, c in enumerate(tableau.nodes):
            start[j * n : (j + 1) * n] = x0
            guess[j * n : (j + 1) * n] = x0 + (c * h) * flow
        self.fixed_point(stages, guess, start, t, h)
        self.x1[:] = x0 + h * _sum(tableau.weights, slopes)
        lost, fed = zip(*powers, strict=True)
        return h * float(np.dot(tableau.weights, lost)), h * float(np.dot(tableau.weights, fed))


def _sum(weights: tuple[float, ...], vectors: list[Any]) -> Any:
    total = weights[0] * vectors[0]
    for weight, vector in zip(weights[1:], vectors[1:], strict=True):
        total = total + weight * vector
    return total
