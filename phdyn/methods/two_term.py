"""Methods of the optimization literature whose positions have the recurrence of torch's SGD, ``q+ - q = mu (q - q-) - lr grad V(q)``.

They differ in (lr, mu) as functions of (h, gamma), in the start, and in what is called p: docs/two_term.md.
"""

from __future__ import annotations

from typing import Final

from phdyn.methods.damped_drift import midpoint, trapezoid
from phdyn.methods.sgd import SgdMap
from phdyn.methods.splitting import Splitting

POLYAK: Final = SgdMap("polyak", friction="exact", source="Polyak 1964, USSR Comput. Math. Math. Phys. 4, 1")
"""``q+ = q - alpha grad V(q) + beta (q - q-)`` as written, q- = q at rest: alpha = h^2/m, beta = exp(-int gamma/m), p = m (q - q-)/h."""

DISSIPATIVE_LEAPFROG: Final = Splitting(
    "dissipative-leapfrog",
    2,
    (),
    (),
    "Franca, Jordan & Vidal 2021, J. Stat. Mech., 043402: leapfrog, for any gamma(t)",
    damped_drift=trapezoid,
)
"""Half a kick, ``q += (h/2m) (1 + e) p, p *= e``, half a kick, with e = exp(-int gamma/m). In the authors' words, at constant gamma: the
momentum of mid-step, sqrt(e) p, drifts by (h/m) cosh(gamma h/2m)."""

IMPLICIT_DAMPING: Final = Splitting(
    "implicit-damping",
    2,
    (),
    (),
    "Gronbech-Jensen & Farago 2013, Mol. Phys. 111, 983 (without the noise); Stoermer-Verlet for p' = -grad V - gamma p/m",
    damped_drift=midpoint,
)
"""Half a kick with the friction of its end, a free drift, half a kick with the friction of its start: ``p = (p - h/2 grad V)/(1 + z/2),
q += h p/m, p = (1 - z/2) p - h/2 grad V(q)``, z = gamma h/m at the middle of the step."""
