"""Draw what things cost: bars beside a baseline, growth in log-log, foretold memory beside measured.

Drawn in notebook `24_speed`.
"""

import itertools

import numpy as np
import pandas as pd

from hinas_nb.figures.axes import log_ticks, name_points, name_rows
from hinas_nb.figures.style import ACCENT, INK, MUTED, SERIES, SMALL, Picture, themed

_WITHIN = 1.5  # the factor that foretold memory is held to


@themed
def cost_bars(
    table: pd.DataFrame,
    value: str = "seconds",
    label: str = "seconds a step",
    title: str | None = None,
    ours: str = "ours",
) -> Picture:
    """Draw a bar per way with its words at the end, a panel per `panel`, two in a row; quartiles as whiskers.

    table: `panel`, `way`, the value, `text`; where they are known `low` and `high`, ends of whiskers.
    ours: ways that begin so stand out.
    """
    sizes = table.groupby("panel").size()
    columns = min(2, len(sizes))
    rows = -(-len(sizes) // columns)
    figure = Picture(4.6 * columns + 0.4, rows * (0.34 * sizes.max() + 0.85) + 0.3, title)
    for axes, panel, own in figure.panels(table, "panel", rows):
        colours = [ACCENT if way.startswith(ours) else MUTED for way in own["way"]]
        y = range(len(own))
        axes.barh(y, own[value], height=0.62, color=colours, gid=f"bars {panel}")
        ends = own[value]
        if {"low", "high"} <= set(own):
            axes.hlines(y, own["low"], own["high"], color=INK, lw=1)
            ends = np.maximum(ends, own["high"])
        for place, end, words in zip(y, ends, own["text"]):
            axes.annotate(words, (end, place), (4, 0), textcoords="offset points", va="center", fontsize=SMALL)
        name_rows(axes, own["way"])
        axes.set(title=panel, xlabel=label, xlim=(0, ends.max() * 1.45))
    return figure


@themed
def part_bars(table: pd.DataFrame, label: str = "seconds", title: str | None = None) -> Picture:
    """Draw what each bar is made of: stacked parts, a panel per `panel`; a mark where the bar's `least` lies.

    table: `panel`, `way`, `part`, `value`, `least`; parts in the order of their first row.
    """
    tallest = int(table.groupby("panel")["way"].nunique().max())
    figure = Picture(4.6 * table["panel"].nunique() + 0.4, 0.4 * tallest + 1.6, title)
    for axes, panel, own in figure.panels(table, "panel", sharex=True):
        stacked = own.pivot_table(index="way", columns="part", values="value", sort=False)[table["part"].unique()]
        stacked.plot.barh(stacked=True, width=0.62, color=SERIES, ax=axes, legend=False)
        least, y = own.groupby("way", sort=False)["least"].first(), np.arange(len(stacked))
        axes.vlines(least, y - 0.4, y + 0.4, color=INK, lw=1.5, label="all needed convolutions at peak")
        name_rows(axes, stacked.index)
        axes.set(title=panel, xlabel=label, ylabel="")
    figure.axes[0].set_xlim(0, 1.05 * max(axes.dataLim.xmax for axes in figure.axes))
    figure.legend_below(4)
    return figure


@themed
def growth_curves(table: pd.DataFrame, label: str = "seconds a step", title: str | None = None) -> Picture:
    """Draw how cost grows, both axes logarithmic: a panel per `panel`, a curve per `series` with its exponent.

    table: `panel` (which names the horizontal axis, with its unit), `series`, `x`, `value`.
    """
    colours = dict(zip(table["series"].unique(), itertools.cycle(SERIES)))
    figure = Picture(max(2.7 * table["panel"].nunique(), 5.5) + 0.4, 3.2, title)
    for axes, panel, own in figure.panels(table, "panel", sharey=True):
        for name, curve in own.sort_values("x").groupby("series", sort=False):
            power = slope(curve["x"], curve["value"])
            words = name if np.isnan(power) else f"{name}: power {power:.2g}"
            axes.plot(curve["x"], curve["value"], "o-", ms=4, color=colours[name], label=words, gid=f"curve {name}")
        axes.set(xscale="log", yscale="log", xlabel=panel)
        axes.margins(0.1)
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.24), frameon=False)
    for axes in figure.axes:
        log_ticks(axes, "xy")
    figure.axes[0].set_ylabel(label)
    return figure


@themed
def foretold_plot(table: pd.DataFrame, title: str | None = None) -> Picture:
    """Draw peak memory measured against foretold, a dot per `arm`, numbered; the band is a factor of 1.5.

    table: `arm`, `foretold`, `measured`, MiB.
    """
    figure = Picture(7.6, max(3.6, 0.2 * len(table) + 1), title)
    axes = figure.subplots()
    numbers = table[["foretold", "measured"]]
    ends = np.array([numbers.min(axis=None) / 1.6, numbers.max(axis=None) * 1.6])
    axes.fill_between(ends, ends / _WITHIN, ends * _WITHIN, color=MUTED, alpha=0.18, lw=0, label=f"factor {_WITHIN:g}")
    axes.plot(ends, ends, color=MUTED, lw=1)
    axes.scatter(table["foretold"], table["measured"], s=18, color=ACCENT, zorder=3, gid="arms")
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel="foretold (MiB)", ylabel="measured (MiB)")
    log_ticks(axes, "xy")
    axes.legend(loc="upper left")
    key = "\n".join(f"{number}  {arm}" for number, arm in enumerate(table["arm"], 1))
    axes.text(1.03, 1, key, transform=axes.transAxes, va="top", fontsize=SMALL, linespacing=1.5)
    name_points(axes, table["foretold"], table["measured"], range(1, len(table) + 1), 18)
    return figure


def slope(x, y) -> float:
    """Return the exponent of y ~ x^slope by least squares in logarithms; NaN for a single point."""
    x, y = np.log(np.asarray(x, float)), np.log(np.asarray(y, float))
    return float(np.polyfit(x, y, 1)[0]) if len(set(x)) > 1 else float("nan")
