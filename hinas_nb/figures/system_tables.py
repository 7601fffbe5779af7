"""HiNAS among the others: accuracy after equal time, and published beside measured speed (tables 10 to 12).

Drawn in notebooks `20_denoising_comparison` and `21_super_resolution_comparison`.
"""

import numpy as np
import pandas as pd

from hinas_nb.figures.axes import log_ticks, name_rows
from hinas_nb.figures.style import ACCENT, INK, MUTED, PALE, SERIES, SMALL, Picture, themed
from hinas_nb.scoring.units import METRICS, duration


@themed
def equal_time_plot(table: pd.DataFrame, title: str | None = None) -> Picture:
    """Draw every network's difference from HiNAS with its interval over images, beside the seconds of its training.

    table: one row per network, HiNAS's own among them: `arm`, `steps` and `seconds` (NaN where nothing is trained),
        and for each metric `psnr` and `ssim` the difference, `_low`, `_high` (interval; NaN: none) and `_mean` (words).
    """
    figure = Picture(10.4, 1.3 + 0.42 * len(table), title)
    *panels, clock = figure.subplots(1, 3, sharey=True)
    place = np.arange(len(table))
    colours = [ACCENT if difference == 0 else SERIES[0] for difference in table["psnr"]]
    for axes, name in zip(panels, ("psnr", "ssim")):
        metric = METRICS[name]
        axes.axvline(0, color=MUTED, lw=0.8, zorder=1)
        low, high = (table[f"{name}_{end}"].fillna(table[name]) for end in ("low", "high"))
        axes.hlines(place, low, high, color=colours, lw=2, gid=f"intervals {name}")
        axes.scatter(table[name], place, s=26, color=colours, zorder=3, gid=f"differences {name}")
        _words(axes, high, table[f"{name}_mean"])
        axes.set_xlabel(metric.with_unit(f"{metric.title} - HiNAS's"))
        axes.margins(x=0.3)
    spent = table["seconds"].fillna(0)
    clock.barh(place, spent, height=0.55, color=colours, gid="seconds")
    trained = [f"{duration(seconds)}, {steps:,.0f} steps" for seconds, steps in zip(spent, table["steps"])]
    _words(clock, spent, np.where(table["seconds"].isna(), "not trained", trained))
    clock.set(xlabel="seconds that the training took", xlim=(0, max(spent.max(), 1) * 1.7))
    for axes in figure.axes:
        name_rows(axes, table["arm"])
        axes.locator_params(axis="x", nbins=5)
    return figure


@themed
def speed_claims_plot(table: pd.DataFrame, title: str | None = None) -> Picture:
    """Draw how many times HiNAS's time an image takes: published as diamonds, measured as circles with their intervals.

    table: one row per system: `network`, `published times`, `times HiNAS`, `times low`, `times high` (NaN: not known)
        and `part` (timed on a part of the image: hollow).
    """
    published, ours = table["published times"], table["times HiNAS"]
    figure = Picture(7.6, 1.3 + 0.34 * len(table), title)
    axes = figure.subplots()
    place = np.arange(len(table))
    axes.axvline(1, color=ACCENT, lw=1.2, zorder=1, gid="HiNAS")
    axes.hlines(place, published, ours, color=PALE, lw=1, zorder=1)  # nothing where one of them is not known
    axes.hlines(place, table["times low"], table["times high"], color=SERIES[0], lw=2, zorder=3, gid="intervals")
    part = table["part"].astype(bool)
    for times, marker, colour, face, words in (
        (published, "D", MUTED, "white", "published (GPU)"),
        (ours.mask(part), "o", SERIES[0], SERIES[0], "measured here"),
        (ours.where(part), "o", SERIES[0], "white", "measured here, on a part, scaled"),
    ):
        here = times.notna()
        if here.any():
            look = {"color": colour, "mfc": face, "mew": 1.4, "ms": 6, "zorder": 4}
            axes.plot(times[here], place[here], marker, label=words, gid=words, **look)
    axes.set(xscale="log", xlabel="time of an image, in times HiNAS's")
    name_rows(axes, table["network"])
    log_ticks(axes, "x")
    figure.legend_below(3)
    return figure


def _words(axes, ends: pd.Series, words) -> None:
    """Print words to the right of where each row ends."""
    for y, (end, text) in enumerate(zip(ends, words)):
        text = axes.annotate(text, (end, y), (6, 0), textcoords="offset points", va="center", fontsize=SMALL, color=INK)
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})
