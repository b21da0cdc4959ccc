"""The splittings of the catalogue, as data: free coefficients with their source.

Digits are those of the papers' tables; closed forms where there are some. The middle entries of a palindrome follow from consistency.
"""

from __future__ import annotations

from typing import Any

from phdyn.methods.splitting import Splitting

_S19 = 19**0.5
_BLANES_MOAN = "Blanes & Moan 2002, J. Comput. Appl. Math. 142, 313, "


def composition(name: str, order: int, weights: tuple[float, ...], source: str, **options: Any) -> Splitting:
    """Return a symmetric composition of an odd number of Strang steps as a splitting begun with a kick.

    Parameters
    ----------
    name, order, source, **options
        As for `Splitting`.
    weights : tuple of float
        Lengths of the Strang steps before the middle one, in steps; the middle one makes them sum to 1.

    Returns
    -------
    Splitting
        The last kick of a Strang step and the first one of the next are one.
    """
    pairs = zip((0.0, *weights), weights, strict=False)
    return Splitting(name, order, tuple((before + after) / 2 for before, after in pairs), weights, source, **options)


SPLITTINGS: tuple[Splitting, ...] = (
    Splitting("conformal-euler", 1, (1.0,), (1.0,), "McLachlan & Quispel 2002, Acta Numerica 11, 341 (kick, drift)", symmetric=False),
    composition("strang", 2, (), "Strang 1968, SIAM J. Numer. Anal. 5, 506; velocity Verlet with the damped drift"),
    Splitting("position-verlet", 2, (), (), "Verlet 1967, Phys. Rev. 159, 98; Strang 1968 (drift, kick, drift)", first="drift"),
    composition("yoshida-4", 4, (1 / (2 - 2 ** (1 / 3)),), "Yoshida 1990, Phys. Lett. A 150, 262"),
    composition("suzuki-4", 4, (1 / (4 - 4 ** (1 / 3)),) * 2, "Suzuki 1990, Phys. Lett. A 146, 319"),
    # S5, not S4: at equal gradients S4's errors are 1.6 times (Henon-Heiles) and 1.3 times (pendulum) as large, its energy residuals 1.4
    # and 2.0 times; with friction 0.3 its errors 1.5 and 1.04 times, its residuals 1.3 and 1.5 times (geometric means over 40 starts).
    Splitting(
        "mclachlan-4",
        4,
        ((14 - _S19) / 108, (20 - 7 * _S19) / 108),
        (2 / 5, -1 / 10),
        "McLachlan 1995, SIAM J. Sci. Comput. 16, 151 (S, order 4, 5 stages)",
    ),
    Splitting(
        "blanes-moan-s6",
        4,
        (0.0792036964311957, 0.353172906049774, -0.0420650803577195),
        (0.209515106613362, -0.143851773179818),
        _BLANES_MOAN + "table 2 (S6)",
    ),
    Splitting(
        "blanes-moan-4",
        4,
        (0.0829844064174052, 0.396309801498368, -0.0390563049223486),
        (0.245298957184271, 0.604872665711080),
        _BLANES_MOAN + "table 3 (SRKN 6b)",
    ),
    composition(
        "yoshida-6",
        6,
        (0.78451361047755726382, 0.23557321335935813368, -1.1776799841788710069),
        "Yoshida 1990, Phys. Lett. A 150, 262, table 1 (solution A)",
    ),
    composition(
        "kahan-li-6",
        6,
        (0.39216144400731413928, 0.33259913678935943860, -0.70624617255763935981, 0.082213596293550800231),
        "Kahan & Li 1997, Math. Comp. 66, 1089 (s9odr6a)",
    ),
    Splitting(
        "blanes-moan-6",
        6,
        (0.0414649985182624, 0.198128671918067, -0.0400061921041533, 0.0752539843015807, -0.0115113874206879),
        (0.123229775946271, 0.290553797799558, -0.127049212625417, -0.246331761062075, 0.357208872795928),
        _BLANES_MOAN + "table 3 (SRKN 11b)",
        requires_quadratic_kinetic=True,
    ),
    Splitting(
        "blanes-moan-6-14",
        6,
        (0.09171915262446165, 0.183983170005006, -0.05653436583288827, 0.004914688774712854, 0.143761127168358, 0.328567693746804),
        (
            0.0378593198406116,
            0.102635633102435,
            -0.0258678882665587,
            0.314241403071447,
            -0.130144459517415,
            0.106417700369543,
            -0.00879424312851058,
        ),
        _BLANES_MOAN + "table 3 (SRKN 14a)",
        first="drift",
        requires_quadratic_kinetic=True,
    ),
    composition(
        "kahan-li-8",
        8,
        (
            0.13020248308889008088,
            0.56116298177510838456,
            -0.38947496264484728641,
            0.15884190655515560090,
            -0.39590389413323757734,
            0.18453964097831570709,
            0.25837438768632204729,
            0.29501172360931029887,
        ),
        "Kahan & Li 1997, Math. Comp. 66, 1089 (s17odr8a)",
    ),
)
