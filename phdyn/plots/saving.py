"""A figure on disk: PNG and PDF, with its origin in the metadata and its numbers beside it."""

from __future__ import annotations

import csv
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import PolyCollection

from phdyn.errors import ArgumentError
from phdyn.plots.style import drawing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

LONGEST_TITLE = 60


def save(ax: Axes | Sequence[Axes], path: str | Path, *, title: str | None = None, run: object = None) -> Path:
    """Save the figure of an Axes as PNG (300 dpi), PDF (embedded fonts) and CSV.

    Parameters
    ----------
    ax : Axes or sequence of Axes
        What a ``plot_*`` function returned.
    path : str or Path
        Where, without suffix: ``figures/energies`` gives ``energies.png``, ``energies.pdf`` and ``energies.csv`` there.
        Folders are created.
    title : str, optional
        One line that says what was found, 60 characters at most; on the saved figure only.
    run : object, optional
        The run folder; its text goes into the metadata, beside the version.

    Returns
    -------
    Path
        The PNG's path.

    Raises
    ------
    ArgumentError
        If the title is too long, or there is no figure.

    Notes
    -----
    The CSV has a row for each point of each labelled line or bar: ``panel, series, x, y``, where the panel is the label
    of its vertical axis. Saving twice gives the same bytes.
    """
    axes = _several(ax)
    figure = axes[0].get_figure(root=True) if axes else None
    if figure is None:
        raise ArgumentError("save needs the Axes of a figure: what a plot function returned")
    if title is not None and (len(title) > LONGEST_TITLE or "\n" in title):
        raise ArgumentError(f"the title has {len(title)} characters, and one line of {LONGEST_TITLE} is the most: {title!r}")
    base = Path(path)
    base.parent.mkdir(parents=True, exist_ok=True)
    creator = f"phdyn {version()}"
    origin = {} if run is None else {"Source": str(run)}
    subject = {} if run is None else {"Subject": f"run {run}"}
    with drawing():
        heading = None if title is None else _write_title(figure, title)
        png = base.with_name(f"{base.name}.png")
        figure.savefig(png, metadata={"Software": creator, **origin})
        figure.savefig(base.with_name(f"{base.name}.pdf"), metadata={"Creator": creator, "CreationDate": None, **subject})
        if heading is not None:
            heading.set(text="", in_layout=False)
    with base.with_name(f"{base.name}.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("panel", "series", "x", "y"))
        table.writerows(numbers(axes))
    return png


def version() -> str:
    """Return the installed version of phdyn."""
    try:
        return metadata.version("phdyn")
    except metadata.PackageNotFoundError:
        return "unknown"


def numbers(axes: Iterable[Axes]) -> Iterator[tuple[str, str, float, float]]:
    """Yield ``(panel, series, x, y)`` for each point of each labelled line, and for both ends of each labelled bar."""
    for ax in axes:
        panel = ax.get_ylabel()
        for line in ax.get_lines():
            if _labelled(line):
                for x, y in np.asarray(line.get_xydata(), dtype=float).tolist():
                    yield panel, str(line.get_label()), x, y
        for bars in ax.collections:
            if isinstance(bars, PolyCollection) and _labelled(bars):
                for outline in bars.get_paths():
                    box = outline.get_extents()
                    for x in (box.x0, box.x1):
                        yield panel, str(bars.get_label()), float(x), float((box.y0 + box.y1) / 2)


def _labelled(artist: Any) -> bool:
    label = str(artist.get_label())
    return bool(label) and not label.startswith("_")


def _several(ax: Any) -> list[Axes]:
    return list(np.ravel(np.asarray(ax, dtype=object)))


def _write_title(figure: Figure, title: str) -> Text:
    """Write the title at the left edge of the figure, as large as fits."""
    heading = figure.suptitle(title, x=0.01, ha="left", fontsize=8, in_layout=True)
    share = heading.get_window_extent().width / figure.bbox.width
    heading.set_fontsize(min(8.0, 8.0 * 0.98 / share))
    return heading
