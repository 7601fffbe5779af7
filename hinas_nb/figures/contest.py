"""HiNAS among the others: accuracy after equal time, and published beside measured speed (tables 10 to 12).

Drawn in notebooks `20_denoising_comparison` and `21_super_resolution_comparison`.
"""

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, MaxNLocator

from hinas_nb.figures.style import ACCENT, INK, MUTED, SERIES, FigureError, Picture, themed

PANELS = {"psnr": "PSNR - HiNAS's (dB)", "ssim": "SSIM - HiNAS's"}


@themed
def equal_time_plot(table: pd.DataFrame, title: str | None = None) -> Picture:
    """Every network's difference from HiNAS with its interval over images, beside the seconds its training took.

    table: one row per network, HiNAS's own among them: `arm`, `steps` and `seconds` (NaN where nothing is trained),
        and for each metric `psnr` and `ssim` the difference, `_low`, `_high` (interval; NaN: none) and `_mean` (words).
    """
    if table.empty:
        raise FigureError("table must hold at least one network, got none")
    figure = Picture(10.4, 1.3 + 0.42 * len(table), title)
    panels = figure.subplots(1, 3, sharey=True)
    place = -np.arange(len(table))
    colours = [ACCENT if difference == 0 else SERIES[0] for difference in table["psnr"]]
    for axes, (metric, label) in zip(panels, PANELS.items()):
        axes.axvline(0, color=MUTED, lw=0.8, zorder=1)
        low, high = (table[f"{metric}_{end}"].fillna(table[metric]) for end in ("low", "high"))
        axes.hlines(place, low, high, color=colours, lw=2, gid=f"intervals {metric}")
        axes.scatter(table[metric], place, s=26, color=colours, zorder=3, gid=f"differences {metric}")
        for y, end, words in zip(place, high, table[f"{metric}_mean"]):
            axes.annotate(words, (end, y), (5, 0), textcoords="offset points", va="center", fontsize=7.5, color=INK)
        axes.set(xlabel=label)
        axes.margins(x=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    spent = table["seconds"].fillna(0)
    panels[-1].barh(place, spent, height=0.55, color=colours, gid="seconds")
    for y, seconds, steps in zip(place, table["seconds"], table["steps"]):
        words = "not trained" if np.isnan(seconds) else f"{_duration(seconds)}, {steps:,.0f} steps"
        panels[-1].annotate(words, (0 if np.isnan(seconds) else seconds, y), (4, 0), textcoords="offset points",
                            va="center", fontsize=7.5, color=INK)  # fmt: skip
    panels[-1].set(xlabel="seconds that the training took", xlim=(0, max(spent.max(), 1) * 1.7))
    panels[-1].xaxis.set_major_locator(MaxNLocator(4))
    for axes in panels:
        axes.set_yticks(place, table["arm"])
        axes.set_ylim(-len(table) + 0.4, 0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
    return figure


@themed
def speed_claims_plot(table: pd.DataFrame, title: str | None = None, machine: str = "measured here") -> Picture:
    """How many times HiNAS's time an image takes: published as diamonds, measured as circles with their intervals.

    table: one row per system: `network`, `published times`, `times HiNAS`, `times low`, `times high` (NaN: not known)
        and `part` (timed on a part of the image: hollow).
    """
    known = table[["published times", "times HiNAS"]]
    if known.isna().all(axis=None) or not (known.isna() | (known > 0)).all(axis=None):
        raise FigureError("a ratio of times must be positive, at least one known, got none or others")
    figure = Picture(7.6, 1.3 + 0.34 * len(table), title)
    axes = figure.add_subplot()
    place = pd.Series(-np.arange(len(table), dtype=float), table.index)
    axes.axvline(1, color=ACCENT, lw=1.2, zorder=1, gid="HiNAS")
    both = known.notna().all(axis=1)
    axes.hlines(place[both], known.min(axis=1)[both], known.max(axis=1)[both], color="#D0D0D0", lw=1, zorder=1)
    axes.plot(known["published times"], place, "D", ms=5.5, color=MUTED, mfc="white", mew=1.3, zorder=2,
              label="published (GPU)", gid="published")  # fmt: skip
    axes.hlines(place, table["times low"], table["times high"], color=SERIES[0], lw=2, zorder=3, gid="intervals")
    part = table["part"].astype(bool)
    for chosen, face, words in ((~part, SERIES[0], machine), (part, "white", f"{machine}, on a part, scaled")):
        if known["times HiNAS"][chosen].notna().any():
            axes.plot(known["times HiNAS"][chosen], place[chosen], "o", ms=6, color=SERIES[0], mfc=face, mew=1.4,
                      zorder=4, label=words, gid=words)  # fmt: skip
    axes.set(xscale="log", xlabel="time of an image, in times HiNAS's", ylim=(-len(table) + 0.4, 0.6))
    axes.set_yticks(place, table["network"])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:,g}"))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda tick, _: f"{tick:,g}" if f"{tick:e}"[0] in "25" else ""))
    axes.tick_params(axis="x", which="minor", labelsize=6.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 600
        else f"{seconds / 60:.0f} min"
        if seconds < 36_000
        else f"{seconds / 3600:.0f} h"
    )
