"""Is phase space contracted as friction says? The defect of conformal symplecticity of single steps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from phdyn.methods.catalogue import resolve
from phdyn.methods.one_step import FloatArray, OneStep
from phdyn.systems import HeavyBall
from phdyn.tables import Table

ROUNDING: Final = 2e-13
"""Defects below this are those of the differences by which derivatives are taken: eight points, 0.02 apart."""

_START: Final = (0.3, 0.2, 0.1, -0.2)
_APART: Final = 0.02
_WEIGHTS: Final = (4 / 5, -1 / 5, 4 / 105, -1 / 280)


class HenonHeiles:
    """V = |q|^2/2 + q1^2 q2 - q2^3/3, on NumPy: two degrees of freedom, of which one would hide every defect."""

    dim = 2

    def value(self, q: Any) -> Any:
        """Return V at the positions (..., 2)."""
        x, y = q[..., 0], q[..., 1]
        return (x * x + y * y) / 2 + x * x * y - y**3 / 3

    def value_and_grad(self, q: Any) -> tuple[Any, Any]:
        """Return V and its gradient."""
        x, y = q[..., 0], q[..., 1]
        return self.value(q), np.stack([x + 2 * x * y, y + x * x - y * y], axis=-1)

    def hvp(self, q: Any, v: Any) -> Any:
        """Return the Hessian times a vector."""
        x, y, a, b = q[..., 0], q[..., 1], v[..., 0], v[..., 1]
        return np.stack([(1 + 2 * y) * a + 2 * x * b, 2 * x * a + (1 - 2 * y) * b], axis=-1)


def symplecticity(methods: Sequence[Any], steps: Sequence[float], *, friction: float = 0.3) -> Table:
    """Measure how far single steps are from conformally symplectic, ``M^T J M = c J`` with M the derivative of the step.

    On Henon and Heiles' potential. A scheme has a factor c of its own: it is the one that fits best, ``c = tr(J^T M^T J M)/2n``, and how
    far it is from the flow's, ``exp(-gamma h)``, is a column apart (McLachlan and Quispel 2002, Acta Numerica 11, 341).

    Parameters
    ----------
    methods : sequence of str or Method
        Methods of fixed steps.
    steps : sequence of float
        Lengths of a step.
    friction : float
        gamma.

    Returns
    -------
    Table
        ``method, step, defect`` (largest entry of M^T J M - c J), ``factor`` (c), ``flow`` (exp(-gamma h)), ``off`` (c - exp(-gamma h)).
        Defects below 2e-13 are those of the differences that M is made of; nan where the method's equations cannot be solved.
    """
    rows = [(name, h, *_defect(name, h, friction)) for name in methods for h in steps]
    names = ("method", "step", "defect", "factor", "flow", "off")
    columns = {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    return Table(columns | {"method": [resolve(name).name for name in columns["method"]]})


def _defect(method: Any, h: float, friction: float) -> tuple[float, float, float, float]:
    step = OneStep(resolve(method), HeavyBall(HenonHeiles(), friction=friction), len(_START))
    matrix = derivative(partial(step, h=h), np.array(_START))
    n = len(_START) // 2
    form = np.block([[np.zeros((n, n)), np.eye(n)], [-np.eye(n), np.zeros((n, n))]])
    pulled = matrix.T @ form @ matrix
    factor, flow = float(np.sum(form * pulled)) / (2 * n), float(np.exp(-friction * h))
    return float(np.abs(pulled - factor * form).max()), factor, flow, factor - flow


def derivative(function: Any, x: FloatArray) -> FloatArray:
    """Return the derivative of a map at x, (n, n), by central differences of order 8."""
    columns = []
    for k in range(len(x)):
        along = np.zeros_like(x)
        along[k] = _APART
        pairs = [w * (function(x + j * along) - function(x - j * along)) for j, w in enumerate(_WEIGHTS, 1)]
        columns.append(sum(pairs) / _APART)
    return np.stack(columns, axis=1)
