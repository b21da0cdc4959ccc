"""How every figure looks: sizes, fonts, colours with one meaning each, the marks that tell methods and modes apart.

Nothing here touches the rcParams of the user: figures are drawn inside :func:`drawing`, a ``matplotlib.rc_context``.
Colours are those of Okabe and Ito (2008); every pair of lines also differs in its dashes or marker, so that greyscale
reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.textpath import TextPath

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMN: Final = 84 / 25.4
"""Width of a column in inches."""

WIDE: Final = 174 / 25.4
"""Width of two columns in inches."""

SHAPE: Final = 0.72
"""Height of a figure over its width."""

SMALL: Final = 6
"""Size in points of annotations: event and mode names."""

BLUE, ORANGE, VERMILION, GREEN, PURPLE, SKY = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7", "#56B4E9"
BLACK, GREY, PALE = "#000000", "#666666", "0.85"

COLOURS: Final[Mapping[str, str]] = {
    "potential": BLUE,
    "kinetic": ORANGE,
    "hamiltonian": BLACK,
    "dissipated": VERMILION,
    "supplied": GREEN,
    "injected": PURPLE,
    "residual": GREY,
}
"""One colour an energy, in every figure."""

MISMATCH: Final = "#CC0000"
"""A measured order that is not the declared one; always marked in words too."""

RC: Final[dict[Any, Any]] = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "legend.columnspacing": 1.2,
    "legend.labelspacing": 0.3,
    "legend.borderpad": 0.2,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "lines.markeredgewidth": 0.8,
    "hatch.linewidth": 0.4,
    "hatch.color": "0.6",
    "axes.linewidth": 0.6,
    "axes.grid": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "savefig.dpi": 300,
    "savefig.bbox": "standard",
    "pdf.fonttype": 42,
}


def drawing() -> AbstractContextManager[None]:
    """Return the context in which phdyn draws and saves."""
    return mpl.rc_context(RC)


def new_axes(rows: int = 1, height: float = SHAPE) -> Any:
    """Return the axes of a new column-wide figure: one, or an array of ``rows`` that share x.

    Parameters
    ----------
    rows : int
        Number of panels, one above the other.
    height : float
        Height of the figure over its width.
    """
    _, axes = plt.subplots(rows, sharex=True, figsize=(COLUMN, height * COLUMN), layout="constrained")
    return axes


@dataclass(frozen=True)
class Well:
    """How one label of a map is told: a colour, a hatch (where areas are drawn) and a marker (where points are)."""

    colour: str
    hatch: str | None
    marker: str


WELLS: Final = (
    Well(BLUE, None, "o"),
    Well(ORANGE, "////", "s"),
    Well(GREEN, "....", "^"),
    Well(PURPLE, "\\\\\\\\", "D"),
    Well(SKY, "----", "v"),
    Well(VERMILION, "||||", "P"),
    Well("#F0E442", "++++", "*"),
    Well(BLACK, "oo", "h"),
)
"""Looks of up to eight labels: Okabe and Ito's colours, in an order in which neighbours differ most."""

NEVER: Final = Well("0.85", "xxxx", "x")
"""What has no label: never arrived, or failed."""


@dataclass(frozen=True)
class Look:
    """How one line is drawn: enough differs between any two of them for greyscale.

    Attributes
    ----------
    colour : str
        Any matplotlib colour.
    dashes : str or tuple
        A matplotlib line style.
    marker : str
        A matplotlib marker, by family of the method.
    fill : str
        A matplotlib fill style of the marker.
    """

    colour: str
    dashes: Any = "-"
    marker: str = "None"
    fill: str = "full"

    def keywords(self, *, line: bool = True, marker: bool = True) -> dict[str, Any]:
        """Return the keywords for ``Axes.plot``, with or without the line and the marker."""
        open_or_half = {} if self.fill == "full" else {"markerfacecoloralt": "white"}
        return {
            "color": self.colour,
            "linestyle": self.dashes if line else "None",
            "marker": self.marker if marker else "None",
            "fillstyle": self.fill,
            **open_or_half,
        }


RUNS: Final = (
    Look(BLUE),
    Look(VERMILION, (0, (5, 1.5))),
    Look(BLACK, (0, (1, 1))),
    Look(ORANGE, (0, (5, 1.5, 1, 1.5))),
    Look(GREEN, (0, (9, 2))),
    Look(PURPLE, (0, (3, 1, 1, 1, 1, 1))),
    Look(SKY, (0, (2, 1.5))),
    Look(GREY, (0, (9, 2, 1, 2))),
)
"""Looks of runs that differ in something other than the method."""

_HUES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, BLACK, SKY, GREY)
_FILLS = ("full", "none", "left", "bottom", "right", "top")
_SOLID = ("-", (0, (1, 1)), (0, (6, 1, 1, 1)), (0, (6, 1, 1, 1, 1, 1)), (0, (3, 1)))
_DASHED = ((0, (4, 1.5)), (0, (1.5, 1.5)), (0, (4, 1.5, 1, 1.5)), (0, (8, 2)), (0, (8, 1.5, 1, 1.5)))
_MARKERS = {"splitting": "o", "runge-kutta": "s", "discrete gradient": "^", "adaptive": "D"}
_FIRST_HUE = {"splitting": 0, "adaptive": 1, "discrete gradient": 4, "runge-kutta": 5}
_MEMBERS = {
    "splitting": (
        *("strang", "blanes-moan-4", "yoshida-4", "blanes-moan-6", "blanes-moan-s6", "sgd", "conformal-euler"),
        *("polyak", "nesterov", "dissipative-leapfrog", "implicit-damping", "position-verlet"),
        *("suzuki-4", "mclachlan-4", "chin-4", "yoshida-6", "kahan-li-6", "blanes-moan-6-14", "kahan-li-8"),
    ),
    "runge-kutta": ("rk4", "explicit-euler", "implicit-midpoint", "gauss-4", "gauss-6", "implicit-euler"),
    "discrete gradient": ("gonzalez", "avf", "itoh-abe", "itoh-abe-symmetric"),
    "adaptive": (
        *("DOP853", "RK45", "dopri5", "dopri8", "LSODA", "Radau"),
        *("RK23", "BDF", "bosh3", "fehlberg2", "adaptive_heun"),
    ),
}
"""Members with a fixed place, hence the same look in every figure; others take the places after them."""


def method_looks(methods: Iterable[tuple[str, str]]) -> dict[str, Look]:
    """Return a look for each ``(name, family)``: marker by family, colour and fill by member, dashes for libraries.

    The usual methods look the same in every figure. A name that is not in the catalogue (a label such as "strang, h =
    0.1") takes the first free place of its family.
    """
    named = dict(methods)
    taken = {(family, _place(name, family)) for name, family in named.items()}
    looks = {}
    for name, family in named.items():
        place = _place(name, family)
        if place < 0:
            place = next(k for k in range(len(named) + len(taken) + 1) if (family, k) not in taken)
            taken.add((family, place))
        looks[name] = _member(family, place)
    return looks


def _place(name: str, family: str) -> int:
    members = _MEMBERS.get(family, ())
    return members.index(name) if name in members else -1


def _member(family: str, place: int) -> Look:
    round_, fill = divmod(place, len(_FILLS))
    dashes = (_DASHED if family == "adaptive" else _SOLID)[round_ % len(_SOLID)]
    hue = _HUES[(place + _FIRST_HUE.get(family, 7)) % len(_HUES)]
    return Look(hue, dashes, _MARKERS.get(family, "v"), _FILLS[fill])


@dataclass(frozen=True)
class Shade:
    """How a mode is told: by the grey behind it and the width of its path, never by hue."""

    grey: str
    hatch: str | None
    width: float
    dashes: Any


_SHADES = (
    Shade("1.0", None, 0.7, "-"),
    Shade("0.9", None, 1.9, "-"),
    Shade("0.8", None, 1.2, (0, (4, 1.2))),
    Shade("0.8", "///", 1.2, (0, (1, 1))),
    Shade("0.8", "...", 1.9, (0, (4, 1.2))),
    Shade("0.8", "xxx", 1.9, (0, (1, 1))),
)


def mode_shades(modes: Iterable[str]) -> dict[str, Shade]:
    """Return a shade for each mode: explore white, exploit a light grey, others darker, hatched from the fourth on.

    Without a mode of that name, its shade goes to the first mode in need of one; so does a single mode get white.
    """
    names = list(dict.fromkeys(modes))
    fixed = {"explore": 0, "exploit": 1}
    free = [k for k in range(len(names) + len(_SHADES)) if k not in {fixed.get(name) for name in names}]
    places = {name: fixed[name] if name in fixed else free.pop(0) for name in names}
    return {name: _SHADES[min(k, len(_SHADES) - 1)] for name, k in places.items()}


def text_width(text: str, size: float) -> float:
    """Return the width of a text in points."""
    return float(TextPath((0, 0), text, size=size).get_extents().width) if text.strip() else 0.0


def log_grid(ax: Axes) -> None:
    """Make both axes logarithmic, with a light grid at the decades."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.grid(visible=True, which="major")
    ax.set_axisbelow(True)
