"""Array types and the protocols that users and methods implement.

Shapes are written ``(n,)`` for positions, ``(2n,)`` for states (positions, then momenta); ``(..., n)`` where leading axes are allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from phdyn.methods.stepping import Control, Step
    from phdyn.motion import Knot, Motion

Array = Any
"""A vector of the run: a NumPy array in CPU memory, a torch tensor elsewhere (see ``phdyn.vectors``)."""

Coefficient = Any
"""A float, or an array over the components."""


@runtime_checkable
class Potential(Protocol):
    """The height V(q). It remembers nothing."""

    def value(self, q: Array) -> Any:
        """Return V at q: ``(..., n) -> (...)``."""

    def value_and_grad(self, q: Array) -> tuple[Any, Array]:
        """Return V and its gradient: ``(..., n) -> (...), (..., n)``."""


@runtime_checkable
class FrictionLaw(Protocol):
    """A friction rate gamma(t) and its integral."""

    def rate(self, t: float) -> Any:
        """Return gamma at time t (1/time, mass 1)."""

    def integral(self, t0: float, t1: float) -> Any:
        """Return the integral of gamma from t0 to t1."""


class Method(Protocol):
    """A discretization: frozen data that pushes Steps into ``observe`` until it says stop or the end is reached.

    Attributes
    ----------
    name : str
        The name under which the catalogue knows it.
    order : int
        Declared order of the error at the end, in the step.
    source : str
        Paper and table from which the formula comes.
    kind : {"exact", "order", "tolerance"}
        What its energy balance may be held to.
    family : str
        "splitting", "runge-kutta" or "adaptive".
    fixed : bool
        Whether it takes ``step`` (True) or tolerances.

    Notes
    -----
    A method whose steps follow a rule of its own, with neither a grid nor a tolerance, also has ``options``, the step options of
    ``simulate`` that it takes, with its defaults of ``first_step`` and ``max_step``; ``systems``, what it moves, as text; and
    ``braking_rule``, the name of the rule if it brakes: a system of the same ``braking_rule`` is moved by no other method.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def order(self) -> int: ...  # noqa: D102
    @property
    def source(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def family(self) -> str: ...  # noqa: D102
    @property
    def fixed(self) -> bool: ...  # noqa: D102

    def fits(self, system: Any) -> bool:
        """Say whether the method can integrate this system."""

    def march(self, motion: Motion, start: Knot, t_end: float, observe: Callable[[Step], bool], control: Control) -> None:
        """Step from ``start`` towards ``t_end``; return when observe says stop, or at t_end."""
