"""Differences between the arms of an ablation with their intervals, and scores along a swept setting.

Drawn in notebooks 10 to 15.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn

from hinas_nb.figures.axes import name_rows
from hinas_nb.figures.style import INK, MUTED, SERIES, Picture, themed
from hinas_nb.scoring.units import METRICS

#: How far above its row a mark stands; columns of value, low and high end; marker, colour, line width and legend.
_MARKS = (
    (0.16, ("difference", "low", "high"), "o", SERIES[0], 2, "ours, 95 % over seeds"),
    (-0.04, ("difference", "images_low", "images_high"), "", SERIES[4], 1, "ours, 95 % over images"),
    (-0.24, ("published", "published_low", "published_high"), "D", MUTED, 2, "published, 95 %"),
)


@themed
def effect_plot(
    effects: pd.DataFrame, label: str, seeds: pd.DataFrame | None = None, title: str | None = None
) -> Picture:
    """Draw every arm's difference against zero, published ones as diamonds, one panel per `group`.

    effects: one row per arm and group: `arm`, `group` (the panel's title, with the unit), `difference`, `low`, `high`
        (over seeds), and where they exist `images_low`, `images_high` (drawn thin), `published`, `published_low`,
        `published_high`.
    label: the axis, such as "difference from basic".
    seeds: the differences of single seeds as faint dots: `arm`, `group` and `value`.
    """
    arms = effects["arm"].unique()
    place = {arm: float(index) for index, arm in enumerate(arms)}
    figure = Picture(1.9 + 2.7 * effects["group"].nunique(), 1.3 + 0.48 * len(arms), title)
    for axes, group, rows in figure.panels(effects, "group", sharey=True):
        axes.axvline(0, color=INK, lw=0.8, zorder=1)
        for above, columns, marker, colour, width, name in _MARKS:
            _draw_intervals(axes, rows, rows["arm"].map(place) - above, columns, marker, colour, width, name)
        if seeds is not None:
            own = seeds[seeds["group"] == group]
            axes.scatter(own["value"], own["arm"].map(place) - 0.32, s=9, color=SERIES[0], alpha=0.5, lw=0)
        name_rows(axes, arms)
        axes.set(xlabel=label, title=group)
        axes.locator_params(axis="x", nbins=4)  # SSIM's ticks are long
    figure.legend_below(3)
    return figure


@themed
def sweep_plot(
    table: pd.DataFrame, setting: str, label: str, group: str | None = None, title: str | None = None
) -> Picture:
    """Draw scores along a swept setting: every seed a dot, their mean a line; values at equal distances.

    table: one row per seed and value of `setting`, with `psnr` (dB) and `ssim`; group: a line for each value.
    label: the axis, with its unit.
    """
    table = table.assign(group="mean over seeds" if group is None else table[group])
    look = {"x": setting, "hue": "group", "palette": SERIES[: table["group"].nunique()], "formatter": "{:g}".format}
    figure = Picture(7.2, 3.2, title)
    for axes, metric in zip(figure.subplots(1, 2), ("psnr", "ssim")):
        seaborn.pointplot(table, y=metric, errorbar=None, marker="", linewidth=1.6, ax=axes, **look)
        seaborn.stripplot(table, y=metric, jitter=False, size=4, alpha=0.6, legend=False, ax=axes, **look)
        axes.get_legend().remove()
        axes.set(xlabel=label, ylabel=METRICS[metric].header)
    figure.legend_below(3)
    return figure


def _draw_intervals(
    axes, rows: pd.DataFrame, y: pd.Series, columns: Sequence[str], marker: str, colour: str, width: float, label: str
) -> None:
    """Draw values and their intervals along rows; one without an interval is a mark alone, and nothing is said of none.

    columns: names of value, low and high end; a column that is missing is known nowhere. marker: "" draws intervals
        alone, a diamond is hollow. label: in the legend, and the name of the intervals in the drawing.
    """
    middle, low, high = (rows.get(name, pd.Series(np.nan, rows.index)).astype(float) for name in columns)
    if (middle if marker else low).isna().all():
        return
    axes.hlines(y, low.fillna(middle), high.fillna(middle), color=colour, lw=width, gid=label)
    look = {"marker": marker, "mfc": "white" if marker == "D" else colour, "ls": ""} if marker else {"lw": width}
    axes.plot(middle if marker else [], y if marker else [], color=colour, ms=5, mew=1.2, label=label, **look)
