"""The figures of a study, drawn from the files of its run folder and saved one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from phdyn.runs import Run
from phdyn.tables import Table

Drawn: TypeAlias = tuple[Any, str] | None
"""Axes and title of a figure; None where there is nothing to draw."""


def draw_parts(run: Run, folder: str | Path, parts: Mapping[str, Callable[[Run, dict[str, Table]], Drawn]]) -> list[Path]:
    """Draw figures into a folder, PNG, PDF and CSV of each, and close them; a title that is too long for a figure is left out.

    Parameters
    ----------
    run : Run
        The run folder.
    folder : str or Path
        Where the figures go.
    parts : mapping of str to callable
        Names of the figures, and what draws each from the run and its tables.

    Returns
    -------
    list of Path
        The PNGs.
    """
    from matplotlib import pyplot as plt

    from phdyn import plots
    from phdyn.plots.saving import LONGEST_TITLE

    tables, saved = run.tables(), []
    for name, part in parts.items():
        drawn = part(run, tables)
        if drawn is None:
            continue
        axes, title = drawn
        saved.append(plots.save(axes, Path(folder) / name, title=title if len(title) <= LONGEST_TITLE else None, run=run))
        plt.close(np.ravel(np.asarray(axes, dtype=object))[0].get_figure(root=True))
    return saved
