"""What a protocol does to a score: where tiles lie, the way from one score to another, averaging foretold and measured.

Drawn in notebook `23_protocol_audit`.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from hinas_nb.figures.style import ACCENT, INK, MUTED, SERIES, FigureError, Picture, themed

DIGITS = {"psnr": 2, "ssim": 4}
NAMES = {"psnr": "PSNR (dB)", "ssim": "SSIM"}
LOOKS = ("#E4E8F2", "#B3C6E0", "#7FB2D6", "#3C92C4", "#0A6CA8", "#053D66")
UP, DOWN = SERIES[2], SERIES[5]


@themed
def tile_map(image, tiles: Sequence[tuple[slice, slice]], looks, shown: int = 1, title: str | None = None) -> Picture:
    """An image with two neighbouring tiles drawn on it, and how many tiles lie on each pixel.

    image: H x W values on 0-1, axes of length 1 before them are dropped; tiles: rows and columns of each; looks:
        counts, H x W. shown: the first of the two tiles.
    Raises FigureError where image and counts differ in size.
    """
    picture, counts = np.squeeze(np.asarray(image, dtype=float)), np.asarray(looks)
    if picture.shape != counts.shape:
        raise FigureError(f"looks must be counted for each pixel of {picture.shape}, got {counts.shape}")
    height, width = counts.shape
    figure = Picture(8.6, 8.6 / 2.25 * height / width + 0.9, title)
    left, right = figure.subplots(1, 2)
    left.imshow(picture, cmap="gray", vmin=0, vmax=1)
    for (rows, columns), colour in zip(tiles[shown : shown + 2], (ACCENT, SERIES[1])):
        size = (columns.stop - columns.start, rows.stop - rows.start)
        box = Rectangle((columns.start - 0.5, rows.start - 0.5), *size, fill=False, ec=colour, lw=2, gid="tile")
        left.add_patch(box)
    left.set_title("two neighbouring tiles: each gets noise of its own")
    values = np.unique(counts)
    spread = np.linspace(0, len(LOOKS) - 1, len(values)).round().astype(int) if len(values) > 1 else [0]
    colours = [LOOKS[place] for place in spread]
    norm = BoundaryNorm([*(values - 0.5), values[-1] + 0.5], len(values))
    right.imshow(counts, cmap=ListedColormap(colours), norm=norm, interpolation="nearest")
    right.set_title("how often a pixel is restored, then averaged")
    for value, colour in zip(values, colours):
        part = (counts == value).mean()
        words = f"{value} time{'s' if value > 1 else ''}: {100 * part:.0f} %"
        right.plot([], [], "s", ms=8, color=colour, mec=MUTED, mew=0.5, label=words)
    for axes in (left, right):
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set_visible(False)
    figure.legend(loc="outside lower right", ncols=min(len(values), 6), handletextpad=0.2, columnspacing=1.2)
    return figure


@themed
def waterfall(
    table: pd.DataFrame, ends: tuple[str, str] = ("standard", "released"), title: str | None = None
) -> Picture:
    """From one score to another, step by step; a column of panels per network, a row per metric.

    table: a row per network, metric and step, in order: `start`, `end`, `change`, `low`, `high`, the interval of the
        change (NaN: none). ends: names of the first and the last score.
    Raises FigureError where a step does not start at the end of the one before.
    """
    networks, metrics = list(dict.fromkeys(table["network"])), list(dict.fromkeys(table["metric"]))
    steps = list(dict.fromkeys(table["step"]))
    figure = Picture(2.1 + 2.35 * len(networks), len(metrics) * (0.31 * (len(steps) + 2) + 0.75) + 0.35, title)
    panels = figure.subplots(len(metrics), len(networks), sharey=True, squeeze=False)
    for line, metric in zip(panels, metrics):
        for axes, network in zip(line, networks):
            rows = table[(table["network"] == network) & (table["metric"] == metric)]
            if not np.allclose(rows["start"].iloc[1:], rows["end"].iloc[:-1]):
                raise FigureError(f"each step of {network} must start where the one before ends, got a gap in {metric}")
            _fall(axes, rows, metric)
            axes.set(title=f"{network}", xlabel=NAMES.get(metric, metric))
            axes.set_yticks(range(len(steps) + 2), [ends[0], *steps, ends[1]])
            axes.set_ylim(len(steps) + 1.6, -0.6)
    return figure


@themed
def averaging_plot(curves: pd.DataFrame, points: pd.DataFrame, title: str | None = None) -> Picture:
    """What averaging is worth: the foretold curve, and what tiles of every step gained, a panel per network.

    curves: `network`, `share` (of the noise-dependent error that is left) and `gain` (dB). points: `network`, `step`
        (pixels), `share`, `measured`, `low`, `high`.
    """
    networks = list(dict.fromkeys(points["network"]))
    figure = Picture(1 + 2.7 * len(networks), 3.5, title)
    for axes, network in zip(figure.subplots(1, len(networks), sharey=True, squeeze=False)[0], networks):
        curve, seen = (table[table["network"] == network] for table in (curves, points))
        axes.plot(
            1 / curve["share"], curve["gain"], color=MUTED, zorder=1, label="foretold from two Runs of whole images"
        )
        ends = (seen["measured"] - seen["low"], seen["high"] - seen["measured"])
        axes.errorbar(1 / seen["share"], seen["measured"], np.nan_to_num(ends), fmt="o", ms=5, color=ACCENT, lw=1.4,
                      capsize=3, label="measured, tiles of 64 px, 95 % over images")  # fmt: skip
        for step, left, gain in zip(seen["step"], seen["share"], seen["measured"]):
            axes.annotate(f"step {step}", (1 / left, gain), (5, -12), textcoords="offset points", fontsize=7.5)
        axes.set(title=network, xlabel="looks per pixel (harmonic mean)", xlim=(0.8, 1.25 / points["share"].min()))
        reach = curve[1 / curve["share"] <= axes.get_xlim()[1]]["gain"].max()
        top = max(axes.get_ylim()[1], 1.1 * reach)
        axes.set_ylim(-0.06 * top, top)
    figure.axes[0].set_ylabel("gain in PSNR (dB)")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@themed
def order_plot(table: pd.DataFrame, title: str | None = None) -> Picture:
    """Every network against the first one under each protocol; where lines cross, the protocol changes the order.

    table: `rung`, `metric`, `network`, `margin`, `low`, `high`, as `audit.margins` makes.
    """
    rungs, metrics = list(dict.fromkeys(table["rung"])), list(dict.fromkeys(table["metric"]))
    networks = list(dict.fromkeys(table["network"]))
    figure = Picture(2.2 + 2.9 * len(metrics), 1.3 + 0.27 * len(rungs), title)
    for axes, metric in zip(figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0], metrics):
        for network, colour in zip(networks, (ACCENT, *SERIES)):
            rows = table[(table["metric"] == metric) & (table["network"] == network)].set_index("rung").loc[rungs]
            place = np.arange(len(rungs))
            axes.plot(rows["margin"], place, "o-", ms=4, lw=1.1, color=colour, label=network, gid=f"network {network}")
            axes.hlines(place, rows["low"], rows["high"], color=colour, lw=2.4, alpha=0.35)
        name = NAMES.get(metric, metric)
        axes.set(title=name, xlabel=f"{name.partition(' ')[0]} above {networks[0]}{' (dB)' if 'dB' in name else ''}")
        axes.set_yticks(range(len(rungs)), rungs)
        axes.set_ylim(len(rungs) - 0.4, -0.6)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(networks))
    return figure


def _fall(axes, rows: pd.DataFrame, metric: str) -> None:
    """One panel: both ends as dots with their score, bars between them with their change."""
    digits = DIGITS.get(metric, 3)
    numbers = rows[["start", "end", "change", "low", "high"]].to_numpy(dtype=float)
    marks = np.column_stack([numbers[:, :2], numbers[:, :1] + numbers[:, 3:]])  # ends of bars and of intervals
    low = np.nanmin(marks)
    span = np.nanmax(marks) - low or 1.0
    last = len(rows) + 1
    for place, value in ((0, rows["start"].iloc[0]), (last, rows["end"].iloc[-1])):
        axes.plot(value, place, "D", ms=5.5, color=INK, gid="end")
        axes.text(value + 0.06 * span, place, f"{value:.{digits}f}", va="center", fontsize=7.5, weight="bold")
    for place, (start, end, change, least, most) in enumerate(numbers, 1):
        axes.barh(place, change, left=start, height=0.56, color=UP if change >= 0 else DOWN, gid="step")
        axes.vlines(end, place - 0.28, place + 1, color=MUTED, lw=0.7, zorder=1)
        if not np.isnan(least):
            axes.hlines(place, start + least, start + most, color=INK, lw=1.2, zorder=3)
        reach = np.nanmax([start, end, start + most])
        axes.text(reach + 0.06 * span, place, f"{change:+.{digits}f}", va="center", fontsize=7.5)
    axes.vlines(rows["start"].iloc[0], 0, 1.28, color=MUTED, lw=0.7, zorder=1)
    axes.set_xlim(low - 0.06 * span, low + 1.5 * span)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
