"""What things cost: bars beside a baseline, growth in log-log, foretold memory beside measured.

Notebook `24_speed` draws them.
"""

import itertools

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, NullFormatter

from hinas_nb.figures.style import ACCENT, INK, MUTED, SERIES, FigureError, Picture, themed

WITHIN = 1.5  # the factor that foretold memory is held to


@themed
def cost_bars(
    table: pd.DataFrame,
    value: str = "seconds",
    label: str = "seconds a step",
    title: str | None = None,
    ours: str = "ours",
    columns: int = 2,
) -> Picture:
    """A bar per way with its words at the end, a panel per `panel`; quartiles as whiskers where they are known.

    table: `panel`, `way`, the value, `text`; `low` and `high` ends of whiskers. ours: ways that begin so stand out.
    """
    if table.empty or not (table[value] > 0).all():
        raise FigureError(f"{value} must be positive for at least one way, got {list(table[value])}")
    panels = list(dict.fromkeys(table["panel"]))
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    tallest = int(table.groupby("panel").size().max())
    figure = Picture(4.6 * columns + 0.4, rows * (0.34 * tallest + 0.85) + 0.3, title)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, panel in zip(grid, panels):
        own = table[table["panel"] == panel].reset_index(drop=True)
        colours = [ACCENT if way == ours else SERIES[0] if way.startswith(ours) else MUTED for way in own["way"]]
        axes.barh(own.index, own[value], height=0.62, color=colours, gid=f"bars {panel}")
        ends = own[value]
        if {"low", "high"} <= set(own):
            axes.hlines(own.index, own["low"], own["high"], color=INK, lw=1)
            ends = np.maximum(ends, own["high"])
        reach = float(ends.max())
        for place, (end, words) in enumerate(zip(ends, own["text"])):
            axes.text(end + 0.015 * reach, place, words, va="center", fontsize=7.5, color=INK)
        axes.set_yticks(own.index, own["way"])
        axes.set(title=panel, xlabel=label, xlim=(0, reach * 1.45), ylim=(len(own) - 0.4, -0.6))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    return figure


@themed
def part_bars(table: pd.DataFrame, label: str = "seconds", title: str | None = None) -> Picture:
    """What each bar is made of: stacked parts, a panel per `panel`; a mark where the bar's `least` lies.

    table: `panel`, `way`, `part`, `value`, `least`; parts in the order of their first row.
    """
    if table.empty or not (table["value"] >= 0).all():
        raise FigureError(f"parts must be at least 0, got {list(table['value'])}")
    panels, parts = (list(dict.fromkeys(table[name])) for name in ("panel", "part"))
    tallest = int(table.groupby("panel")["way"].nunique().max())
    figure = Picture(4.6 * len(panels) + 0.4, 0.4 * tallest + 1.6, title)
    grid = figure.subplots(1, len(panels), squeeze=False, sharex=True)[0]
    for axes, panel in zip(grid, panels):
        own = table[table["panel"] == panel]
        stacked = own.pivot_table(index="way", columns="part", values="value", sort=False)[parts]
        ends = stacked.cumsum(axis=1)
        for part, colour in zip(parts, itertools.cycle(SERIES)):
            starts = ends[part] - stacked[part]
            axes.barh(range(len(stacked)), stacked[part], left=starts, height=0.62, color=colour, label=part, gid=part)
        for place, least in enumerate(own.groupby("way", sort=False)["least"].first()):
            axes.plot([least, least], [place - 0.4, place + 0.4], color=INK, lw=1.5, label="at peak" * (place == 0))
        axes.set_yticks(range(len(stacked)), stacked.index)
        axes.set(title=panel, xlabel=label, ylim=(len(stacked) - 0.4, -0.6))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
    handles, names = grid[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=7.5)
    return figure


@themed
def growth_curves(table: pd.DataFrame, label: str = "seconds a step", title: str | None = None) -> Picture:
    """How cost grows: a panel per `panel`, a curve per `series`, both axes logarithmic; legends tell the exponents.

    table: `panel` (which names the horizontal axis, with its unit), `series`, `x`, `value`.
    """
    if table.empty or not (table[["x", "value"]] > 0).all(axis=None):
        raise FigureError("x and value must be positive for at least one point of each curve, got others")
    panels = list(dict.fromkeys(table["panel"]))
    names = list(dict.fromkeys(table["series"]))
    figure = Picture(max(2.7 * len(panels), 5.5) + 0.4, 3.2, title)
    for axes, panel in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels):
        own = table[table["panel"] == panel]
        for name, curve in own.groupby("series", sort=False):
            curve = curve.sort_values("x")
            power = slope(curve["x"], curve["value"])
            words = name if np.isnan(power) else f"{name}: power {power:.2g}"
            colour = SERIES[names.index(name) % len(SERIES)]
            axes.plot(curve["x"], curve["value"], "o-", ms=4, color=colour, label=words, gid=f"curve {name}")
        axes.set(xscale="log", yscale="log", xlabel=panel)
        ticks = sorted(set(own["x"]))
        axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
        axes.xaxis.set_minor_formatter(NullFormatter())
        for axis_format in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            axis_format(FuncFormatter(_plain))
        axes.tick_params(axis="y", which="minor", labelsize=6.5)
        axes.margins(0.1)
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.24), frameon=False)
    figure.axes[0].set_ylabel(label)
    return figure


@themed
def foretold_plot(table: pd.DataFrame, title: str | None = None) -> Picture:
    """Peak memory measured against foretold, a dot per `arm`, numbered; the band is a factor of `WITHIN`.

    table: `arm`, `foretold`, `measured`, MiB.
    """
    if table.empty or not (table[["foretold", "measured"]] > 0).all(axis=None):
        raise FigureError("memory must be positive for at least one arm, got none or others")
    figure = Picture(7.6, max(3.6, 0.2 * len(table) + 1), title)
    axes = figure.add_subplot()
    low, high = (limit(table[["foretold", "measured"]].to_numpy()) for limit in (np.min, np.max))
    ends = np.array([low / 1.6, high * 1.6])
    axes.fill_between(ends, ends / WITHIN, ends * WITHIN, color=MUTED, alpha=0.18, lw=0, label=f"factor {WITHIN:g}")
    axes.plot(ends, ends, color=MUTED, lw=1)
    axes.scatter(table["foretold"], table["measured"], s=18, color=ACCENT, zorder=3, gid="arms")
    for number, place in enumerate(zip(table["foretold"], table["measured"]), 1):
        side = 1 if number % 2 else -1
        axes.annotate(str(number), place, (7 * side, 0), textcoords="offset points",
                      ha="left" if side > 0 else "right", va="center", fontsize=7)  # fmt: skip
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel="foretold (MiB)", ylabel="measured (MiB)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(_plain))
        axis.set_minor_formatter(FuncFormatter(_plain))
        axis.set_tick_params(which="minor", labelsize=6.5)
    axes.legend(loc="upper left")
    key = "\n".join(f"{number}  {arm}" for number, arm in enumerate(table["arm"], 1))
    axes.text(1.03, 1, key, transform=axes.transAxes, va="top", fontsize=7.5, linespacing=1.5)
    return figure


def slope(x, y) -> float:
    """The exponent of y ~ x^slope by least squares in logarithms; NaN for a single point."""
    x, y = np.log(np.asarray(x, float)), np.log(np.asarray(y, float))
    return float(np.polyfit(x, y, 1)[0]) if len(set(x)) > 1 else float("nan")


def _plain(tick: float, _) -> str:
    """Ticks at 1, 2 and 5 of every decade."""
    leading = f"{tick:.0e}"[0]
    return f"{tick:,.4g}" if leading in "125" else ""
