"""Scores beside scores: per image and per arm of an ablation; `trade_off` has them against time and size.

Notebook `05_train_and_restore` draws the first.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hinas_nb.figures.style import MUTED, SERIES, FigureError, Picture, themed

NAMED_IMAGES = 24  # up to so many images are named on the axis
UNITS = {"psnr": "PSNR (dB)", "ssim": "SSIM"}


@themed
def score_pairs(
    scores: pd.DataFrame,
    by: str = "model",
    metrics: Sequence[str] = ("psnr", "ssim"),
    title: str | None = None,
) -> Picture:
    """Every image's scores under each value of `by`, joined by a line; images in the last one's order.

    scores: tidy, one row per image and value of `by`, with columns `image`, `by` and the metrics.
    Raises FigureError when an image lacks a score.
    """
    arms = list(dict.fromkeys(scores[by]))
    images = scores["image"].nunique()
    figure = Picture(min(4 + 0.12 * images, 9), 2.6 * len(metrics) + 0.4, title)
    panels = figure.subplots(len(metrics), 1, squeeze=False)[:, 0]
    for axes, metric in zip(panels, metrics):
        wide = scores.pivot_table(index="image", columns=by, values=metric, aggfunc="mean")[arms]
        if wide.isna().any(axis=None):
            image, arm = wide.isna().stack().idxmax()
            raise FigureError(f"scores must hold every image under every {by}, got no {metric} of {image} for {arm}")
        wide = wide.sort_values(arms[-1])
        axes.vlines(range(images), wide.min(axis=1), wide.max(axis=1), color="#D0D0D0", lw=1, zorder=1)
        colours = [*SERIES[1 : len(arms)], SERIES[0]]
        for arm, colour in zip(arms, colours):
            label = f"{arm}, mean {wide[arm].mean():.4g}"
            axes.scatter(range(images), wide[arm], s=12, color=colour, label=label, zorder=2, gid=f"arm {arm}")
        axes.set(ylabel=UNITS.get(metric, metric))
        image_axis(axes, wide.index, arms[-1])
    return figure


def image_axis(axes, images: pd.Index, arm: str) -> None:
    """One place for each image, in the order of an arm's scores; named where there are few; the legend beside."""
    axes.set_xlim(-0.7, len(images) - 0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0.1)
    if len(images) <= NAMED_IMAGES:
        axes.set_xticks(range(len(images)), images, rotation=40, ha="right", rotation_mode="anchor")
    else:
        axes.set_xlabel(f"{len(images)} images, in the order of {arm}")


@themed
def ablation_plot(
    table: pd.DataFrame,
    value: str = "PSNR (dB)",
    points: pd.DataFrame | None = None,
    title: str | None = None,
) -> Picture:
    """Mean and interval of every arm, published values as diamonds beside ours, one panel per group.

    table: one row per arm and group: `arm`, `mean`, `low`, `high` (ends of the interval), and where they
        exist `published`, `published_low`, `published_high` and `group` (noise level, data set, metric).
    value: the axis, with its unit; where `group` is a metric, say "" and let the groups name it.
    points: single seeds, `arm`, `value` and `group`, drawn faint.
    """
    groups = list(dict.fromkeys(table["group"])) if "group" in table else [None]
    arms = list(dict.fromkeys(table["arm"]))
    place = {arm: -index for index, arm in enumerate(arms)}
    figure = Picture(1.6 + 2.7 * len(groups), 1.5 + 0.42 * len(arms), title)
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for axes, group in zip(panels, groups):
        rows = table if group is None else table[table["group"] == group]
        if points is not None:
            seeds = points if group is None else points[points["group"] == group]
            axes.scatter(seeds["value"], seeds["arm"].map(place) + 0.27, s=9, color=SERIES[0], alpha=0.5, lw=0)
        _marks(axes, rows, place, ("mean", "low", "high"), 0.1, "o", SERIES[0], "ours, mean and interval")
        if "published" in rows and rows["published"].notna().any():
            columns = ("published", "published_low", "published_high")
            _marks(axes, rows, place, columns, -0.18, "D", MUTED, "published")
        axes.set_yticks(list(place.values()), list(place))
        axes.set(ylim=(-len(arms) + 0.5, 0.5), xlabel=value, title="" if group is None else str(group))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
    handles, labels = max((axes.get_legend_handles_labels() for axes in panels), key=lambda found: len(found[1]))
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _marks(axes, rows, place, columns, offset: float, marker: str, colour: str, label: str):
    middle, low, high = (rows.get(name, pd.Series(np.nan, index=rows.index)).astype(float) for name in columns)
    y = rows["arm"].map(place) + offset
    axes.hlines(y, low.fillna(middle), high.fillna(middle), color=colour, lw=2)
    face = colour if marker == "o" else "white"
    axes.plot(middle, y, marker, ms=6, color=colour, mfc=face, mew=1.3, label=label)
