"""Methods that stand for others in tests of what no coefficient enters: events, counts, batches, paths inside a step.

Orders, coefficients, stability, conformal symplecticity and switches on the way are tested of every method.
"""

from __future__ import annotations

from collections.abc import Iterable

STOOD_FOR = {
    "suzuki-4": "yoshida-4",
    "mclachlan-4": "yoshida-4",
    "yoshida-6": "yoshida-4",
    "kahan-li-6": "yoshida-4",
    "kahan-li-8": "yoshida-4",
    "blanes-moan-6-14": "position-verlet",  # begun with a drift; the other flag of its, work of an input by quadrature, has blanes-moan-6
}


def kinds(names: Iterable[str]) -> list[str]:
    """Return the names without those that another method stands for."""
    return [name for name in names if name not in STOOD_FOR]
