"""Draw what a protocol does to a score: where tiles lie, the way between two scores, averaging foretold and measured.

Drawn in notebook `23_protocol_audit`.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.patches import Patch, Rectangle

from hinas_nb.figures.axes import name_rows, picture_frame
from hinas_nb.figures.style import ACCENT, INK, MUTED, SERIES, SMALL, Picture, themed
from hinas_nb.scoring.units import METRICS

_UP, _DOWN = SERIES[2], SERIES[5]


@themed
def tile_map(image, tiles: Sequence[tuple[slice, slice]], looks, shown: int = 0, title: str | None = None) -> Picture:
    """Draw two neighbouring tiles on an image, and beside it how many tiles lie on each pixel.

    image: H x W values on 0-1, axes of length 1 before them are dropped; tiles: rows and columns of each; looks:
        counts, H x W. shown: the first of the two tiles.
    """
    picture, counts = np.squeeze(np.asarray(image, dtype=float)), np.asarray(looks)
    height, width = counts.shape
    figure = Picture(8.6, 8.6 / 2.25 * height / width + 0.9, title)
    figure.kept_back = True
    left, right = figure.subplots(1, 2)
    left.imshow(picture, cmap="gray", vmin=0, vmax=1)
    for (rows, columns), colour in zip(tiles[shown : shown + 2], (ACCENT, SERIES[1])):
        size = (columns.stop - columns.start, rows.stop - rows.start)
        corner = (columns.start - 0.5, rows.start - 0.5)
        left.add_patch(Rectangle(corner, *size, fill=False, ec=colour, lw=2, gid="tile"))
    left.set_title("two neighbouring tiles: each gets noise of its own")
    values, pixels = np.unique(counts, return_counts=True)
    drawn = right.imshow(counts, cmap="Blues", norm=LogNorm(0.7, 1.2 * values[-1]), interpolation="nearest")
    right.set_title("how often a pixel is restored, then averaged")
    for axes in (left, right):
        picture_frame(axes)
    shares = [f"{value} time{'s' * bool(value > 1)}: {part:.0%}" for value, part in zip(values, pixels / counts.size)]
    keys = [Patch(fc=drawn.to_rgba(value), ec=MUTED, lw=0.5, label=share) for value, share in zip(values, shares)]
    figure.legend(handles=keys, loc="outside lower right", ncols=min(len(values), 6))
    return figure


@themed
def waterfall(table: pd.DataFrame, title: str | None = None) -> Picture:
    """Draw the way from the standard to the released score, step by step: a panel per metric (rows) and network.

    table: a row per network, metric and step, in order: `start`, `end`, `change`, `low`, `high`, the interval of the
        change (NaN: none).
    """
    networks, metrics, steps = (table[name].unique() for name in ("network", "metric", "step"))
    figure = Picture(2.1 + 2.35 * len(networks), len(metrics) * (0.31 * (len(steps) + 2) + 0.75) + 0.35, title)
    panels = figure.subplots(len(metrics), len(networks), sharey=True, squeeze=False)
    for axes, (metric, network) in zip(panels.flat, product(metrics, networks)):
        rows = table[(table["metric"] == metric) & (table["network"] == network)]
        _fall(axes, rows, METRICS[metric].digits)
        axes.set(title=network, xlabel=METRICS[metric].header)
        name_rows(axes, ["standard", *steps, "released"])
        axes.locator_params(axis="x", nbins=3)
    return figure


@themed
def averaging_plot(curves: pd.DataFrame, points: pd.DataFrame, title: str | None = None) -> Picture:
    """Draw what averaging is worth: the foretold curve, and what tiles of every step gained, a panel per network.

    curves: `network`, `share` (of the noise-dependent error that is left) and `gain` (dB). points: `network`, `step`
        (pixels), `share`, `measured`, `low`, `high`.
    """
    figure = Picture(1 + 2.7 * points["network"].nunique(), 3.5, title)
    most = 1.25 / points["share"].min()
    for axes, network, seen in figure.panels(points, "network", sharey=True):
        curve = curves[(curves["network"] == network) & (1 / curves["share"] <= most)]
        looks = 1 / seen["share"]
        axes.plot(1 / curve["share"], curve["gain"], color=MUTED, zorder=1, label="foretold by Runs of whole images")
        axes.vlines(looks, seen["low"], seen["high"], color=ACCENT, lw=1.4)
        axes.plot(looks, seen["measured"], "o", ms=5, color=ACCENT, label="measured, 64 px tiles, 95 % over images")
        for step, *place in zip(seen["step"], looks, seen["measured"]):
            axes.annotate(f"step {step}", place, (5, -12), textcoords="offset points", fontsize=SMALL)
        axes.set(title=network, xlabel="looks per pixel (harmonic mean)", xlim=(0.8, most))
        axes.margins(y=0.1)
    figure.axes[0].set_ylabel(f"gain in {METRICS['psnr'].header}")
    figure.legend_below(2)
    return figure


@themed
def order_plot(table: pd.DataFrame, title: str | None = None) -> Picture:
    """Draw every network against the first one under each protocol; where lines cross, the protocol changes the order.

    table: `rung`, `metric`, `network`, `margin`, `low`, `high`, as `audit.margins` makes.
    """
    rungs, networks = table["rung"].unique(), table["network"].unique()
    figure = Picture(2.2 + 2.9 * table["metric"].nunique(), 1.3 + 0.27 * len(rungs), title)
    for axes, name, rows in figure.panels(table, "metric", sharey=True):
        metric = METRICS[name]
        for network, colour in zip(networks, (ACCENT, *SERIES)):
            own = rows[rows["network"] == network].set_index("rung").loc[rungs].reset_index()
            axes.plot(own["margin"], own.index, "o-", ms=4, lw=1.1, color=colour, label=network)
            axes.hlines(own.index, own["low"], own["high"], color=colour, lw=2.4, alpha=0.35)
        axes.set(title=metric.header, xlabel=metric.with_unit(f"{metric.title} above {networks[0]}"))
        name_rows(axes, rungs)
        axes.locator_params(axis="x", nbins=5)
    figure.legend_below(len(networks))
    return figure


def _fall(axes, rows: pd.DataFrame, digits: int) -> None:
    """Draw one panel: both ends as dots with their score, bars between them with their change."""
    numbers = rows[["start", "end", "change", "low", "high"]].to_numpy(dtype=float)
    marks = np.column_stack([numbers[:, :2], numbers[:, :1] + numbers[:, 3:]])  # ends of bars and of intervals
    low = np.nanmin(marks)
    span = np.nanmax(marks) - low or 1.0
    first, last = numbers[0, 0], numbers[-1, 1]
    for place, value in ((0, first), (len(rows) + 1, last)):
        axes.plot(value, place, "D", ms=5.5, color=INK, gid="end")
        axes.text(value + 0.06 * span, place, f"{value:.{digits}f}", va="center", fontsize=SMALL, weight="bold")
    for place, (start, end, change, least, most) in enumerate(numbers, 1):
        axes.barh(place, change, left=start, height=0.56, color=_UP if change >= 0 else _DOWN, gid="step")
        axes.vlines(end, place - 0.28, place + 1, color=MUTED, lw=0.7, zorder=1)
        axes.hlines(place, start + least, start + most, color=INK, lw=1.2, zorder=3)  # nothing where there is none
        reach = np.nanmax([start, end, start + most])
        axes.text(reach + 0.06 * span, place, f"{change:+.{digits}f}", va="center", fontsize=SMALL)
    axes.vlines(first, 0, 1.28, color=MUTED, lw=0.7, zorder=1)
    axes.set_xlim(low - 0.06 * span, low + 1.5 * span)
