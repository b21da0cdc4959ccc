"""The figure of wells.py: how often the global well is reached, against the goal, with the controls beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from phdyn.plots import style

WIDTH, HEIGHT = 174 / 25.4, 66 / 25.4  # of a row of two panels


def draw(results: dict[str, list[Any]], ceilings: dict[str, float], config: Any) -> list[Axes]:
    """Draw a panel for each landscape.

    Parameters
    ----------
    results : dict of str to list of Outcome
        The arms of each landscape.
    ceilings : dict of str to float
        The fraction of starts with enough energy.
    config : Config
        That of wells.py.

    Returns
    -------
    list of Axes
    """
    with style.drawing():
        rows = (len(results) + 1) // 2
        figure, panels = plt.subplots(
            rows, min(2, len(results)), figsize=(WIDTH, rows * HEIGHT + 0.4), layout="constrained", squeeze=False
        )
        axes = list(panels.flat)[: len(results)]
        for ax in list(panels.flat)[len(results) :]:
            ax.set_axis_off()
        for ax, (name, outcomes) in zip(axes, results.items(), strict=True):
            _panel(ax, name, outcomes, ceilings[name], config)
        figure.legend(handles=_keys(), loc="outside lower center", ncols=2)
    return axes


def _keys() -> list[Line2D]:
    """Return the entries of the legend, in which all panels share."""
    return [
        Line2D([], [], color=style.BLUE, marker="o", label="brake at the goal (95 % interval)"),
        Line2D([], [], color=style.VERMILION, marker="D", fillstyle="none", dashes=(4, 1.5), label="brake at the goal's median time"),
        Line2D([], [], color=style.BLACK, linewidth=0.9, dashes=(6, 2), label="controls without a goal"),
        Line2D([], [], color=style.GREY, linewidth=0.9, dashes=(1, 1.5), label="energy allows no more"),
    ]


def _panel(ax: Axes, name: str, outcomes: list[Any], ceiling: float, config: Any) -> None:
    """Draw the goals as a line with intervals, the clocks beside it, and the controls as levels with their names to the right."""
    from scipy.stats import binomtest

    goals, medians = ([one for one in outcomes if one.kind == kind] for kind in ("goal", "its median time"))
    x = [one.setting for one in goals]
    intervals = [binomtest(int(one.won.sum()), len(one.won)).proportion_ci(method="wilson") for one in goals]
    ax.fill_between(x, [i.low for i in intervals], [i.high for i in intervals], color=style.BLUE, alpha=0.2, linewidth=0)
    ax.plot(x, [one.fraction() for one in goals], "o-", color=style.BLUE, label=f"{name}: goal")
    ax.plot(
        [one.setting for one in medians],
        [one.fraction() for one in medians],
        color=style.VERMILION, marker="D", fillstyle="none", dashes=(4, 1.5), label=f"{name}: median time",
    )  # fmt: skip
    levels = _levels(outcomes, config)
    for label, height in levels.items():
        ax.axhline(height, color=style.BLACK, linewidth=0.7, dashes=(6, 2), label=f"{name}: {label}")
    ax.axhline(ceiling, color=style.GREY, linewidth=0.9, dashes=(1, 1.5), label=f"{name}: ceiling")
    top = 1.1 * max(*(one.fraction() for one in outcomes), *(interval.high for interval in intervals))
    named = {**levels, "ceiling": ceiling}
    if ceiling > 2 * top:  # it would flatten all the rest
        named[f"(ceiling {ceiling:.2f}, above)"] = top
        del named["ceiling"]
    top = 1.1 * max(top / 1.1, *named.values())
    ax.set(xscale="log", xlim=(1.15 * max(x), min(x) / 1.15), ylim=(0, top), title=name)
    ax.set(xlabel="goal: part of V(start) - Vmin left at the brake", ylabel="ends in the global well")
    ticks = [value for value in (0.9, 0.3, 0.1, 0.03, 0.01, 0.003) if min(x) <= value <= max(x)]
    ax.set_xticks(ticks, [f"{100 * value:g} %" for value in ticks])
    ax.set_xticks([], minor=True)
    _names(ax, named, top)


def _levels(outcomes: list[Any], config: Any) -> dict[str, float]:
    """Return the controls' fractions by name."""
    constants = {one.setting: one.fraction() for one in outcomes if one.kind == "constant"}
    times = {one.setting: one.fraction() for one in outcomes if one.kind == "fixed time"}
    best = max(constants, key=lambda rate: constants[rate])
    levels = {f"constant {rate:g}": constants[rate] for rate in (config.explore, config.exploit) if rate != best}
    levels[f"constant {best:g} (best)"] = constants[best]
    if times:
        time = max(times, key=lambda one: times[one])
        levels[f"at time {time:g} (best)"] = times[time]
    return levels


def _names(ax: Axes, levels: dict[str, float], top: float) -> None:
    """Write the levels' names to the right of the panel, pushed apart where they would overlap."""
    order = sorted(levels, key=lambda label: levels[label])
    gap = 0.075 * top
    heights = np.array([levels[label] for label in order])
    heights = np.maximum.accumulate(heights - gap * np.arange(len(order))) + gap * np.arange(len(order))
    heights -= max(0.0, heights[-1] - top)
    for label, height in zip(order, heights, strict=True):
        ax.annotate(
            label, (1.0, levels[label]), (1.03, height), xycoords=ax.get_yaxis_transform(), textcoords=ax.get_yaxis_transform(),
            fontsize=style.SMALL, va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "0.5", "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip


