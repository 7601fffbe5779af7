"""How scores change with an arm: with their intervals, image by image, PSNR against SSIM, along a swept setting.

Drawn in the ablations, notebooks 10 to 14.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from hinas_nb.figures.comparisons import UNITS, image_axis
from hinas_nb.figures.labels import place_labels
from hinas_nb.figures.style import ACCENT, INK, MUTED, SERIES, FigureError, Picture, themed

#: (sign of the PSNR change, sign of the SSIM change) of a quadrant: its name and colour.
QUADRANTS = {
    (1, 1): ("both gain", SERIES[2]),
    (-1, 1): ("only SSIM gains", SERIES[0]),
    (1, -1): ("only PSNR gains", SERIES[1]),
    (-1, -1): ("both lose", SERIES[5]),
}
NAMED = 6  # images named in a cloud, those farthest out


@themed
def effect_plot(effects: pd.DataFrame, control: str, group: str = "group", title: str | None = None) -> Picture:
    """Every arm's difference from `control` against zero, published ones as diamonds, one panel per group.

    effects: one row per arm and group: `arm`, `difference`, `low`, `high` (over seeds), `images_low`, `images_high`
        (drawn thin) and where they exist `published`, `published_low`, `published_high`.
    group: the column whose values name the panels, units included.
    """
    arms, groups = list(dict.fromkeys(effects["arm"])), list(dict.fromkeys(effects[group]))
    place = {arm: -index for index, arm in enumerate(arms)}
    figure = Picture(1.9 + 2.7 * len(groups), 1.3 + 0.48 * len(arms), title)
    marks = [
        (0.16, ("difference", "low", "high"), "o", SERIES[0], 2.0, "ours, 95 % over seeds"),
        (-0.04, ("difference", "images_low", "images_high"), "", SERIES[4], 1.0, "ours, 95 % over images"),
        (-0.24, ("published", "published_low", "published_high"), "D", MUTED, 2.0, "published, 95 %"),
    ]
    for axes, name in zip(figure.subplots(1, len(groups), sharey=True, squeeze=False)[0], groups):
        rows = effects[effects[group] == name]
        axes.axvline(0, color=INK, lw=0.8, zorder=1)
        for offset, columns, marker, colour, thick, label in marks:
            middle, low, high = (rows.get(column, pd.Series(np.nan, rows.index)).astype(float) for column in columns)
            y = rows["arm"].map(place) + offset
            axes.hlines(y, low.fillna(middle), high.fillna(middle), color=colour, lw=thick, gid=label)
            face = "white" if marker == "D" else colour
            shown = "" if effects.get(columns[0], pd.Series(dtype=float)).isna().all() else label
            axes.plot(
                middle if marker else [], y if marker else [], marker or "_", ms=5, color=colour, mfc=face, label=shown
            )
        axes.set_yticks(list(place.values()), list(place))
        axes.set(ylim=(-len(arms) + 0.5, 0.5), xlabel=f"difference from {control}", title=str(name))
        axes.xaxis.set_major_locator(MaxNLocator(4))  # SSIM's ticks are long
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


@themed
def change_scatter(changes: pd.DataFrame, group: str | None = None, title: str | None = None) -> Picture:
    """Every image's PSNR change against its SSIM change, coloured by what gains; the mean as a cross.

    changes: one row per image with `image`, `psnr` (dB) and `ssim`, differences between two arms.
    group: a column, one panel for each of its values.
    """
    groups = [(None, changes)] if group is None else list(changes.groupby(group, sort=False))
    figure = Picture(1.2 + 3.7 * len(groups), 4.1, title)
    for axes, (name, rows) in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups):
        if rows.empty or rows[["psnr", "ssim"]].isna().any(axis=None):
            raise FigureError(f"changes must hold psnr and ssim of every image, got {len(rows)} rows with gaps or none")
        axes.axhline(0, color=MUTED, lw=0.8, zorder=1)
        axes.axvline(0, color=MUTED, lw=0.8, zorder=1)
        where = [(1 if p >= 0 else -1, 1 if s >= 0 else -1) for p, s in zip(rows["psnr"], rows["ssim"])]
        for quadrant, (text, colour) in QUADRANTS.items():
            inside = rows[[place == quadrant for place in where]]
            if len(inside):
                label = f"{text}: {len(inside)} of {len(rows)}"
                axes.scatter(inside["psnr"], inside["ssim"], s=16, color=colour, label=label, zorder=2, gid=text)
        middle = rows["psnr"].mean(), rows["ssim"].mean()
        axes.plot(*middle, "+", ms=13, mew=2, color=ACCENT, zorder=3, label="mean of the images", gid="mean")
        _wide_enough(axes, rows)
        axes.set(xlabel="change of PSNR (dB)", ylabel="change of SSIM", title="" if name is None else str(name))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, handletextpad=0.2)
    for axes, (_, rows) in zip(figure.axes, groups):
        far = np.hypot(rows["psnr"] / rows["psnr"].std(), rows["ssim"] / rows["ssim"].std()).fillna(0)
        named = rows.loc[far.nlargest(NAMED).index]
        # The mean is a point without a name: names keep off it.
        xs, ys = [*named["psnr"], rows["psnr"].mean()], [*named["ssim"], rows["ssim"].mean()]
        sizes, plain = [16] * len(named) + [170], [False] * len(xs)
        place_labels(axes, xs, ys, [*named["image"], ""], sizes, plain)
    return figure


@themed
def change_by_image(
    changes: pd.DataFrame,
    arm: str = "arm",
    metrics: Sequence[str] = ("psnr", "ssim"),
    title: str | None = None,
) -> Picture:
    """What every image gains or loses under each arm; images in the order of the last arm's change.

    changes: one row per image and arm with `image`, the arm and the metrics, differences from a control.
    """
    arms, images = list(dict.fromkeys(changes[arm])), changes["image"].nunique()
    figure = Picture(min(4.5 + 0.1 * images, 9), 2.4 * len(metrics) + 0.4, title)
    for axes, metric in zip(figure.subplots(len(metrics), 1, squeeze=False)[:, 0], metrics):
        wide = changes.pivot_table(index="image", columns=arm, values=metric, aggfunc="mean").sort_values(arms[-1])
        axes.axhline(0, color=INK, lw=0.8, zorder=1)
        for name, colour in zip(arms, SERIES):
            gaining = (wide[name] > 0).sum()
            label = f"{name}: {gaining} of {images} gain"
            axes.plot(range(images), wide[name], "o", ms=3.5, color=colour, label=label, zorder=2, gid=f"arm {name}")
        axes.set(ylabel=f"change of {UNITS.get(metric, metric)}")
        image_axis(axes, wide.index, arms[-1])
    return figure


@themed
def sweep_plot(
    table: pd.DataFrame, setting: str, label: str, group: str | None = None, title: str | None = None
) -> Picture:
    """Scores along a swept setting: every seed a dot, their mean a line; values at equal distances.

    table: one row per seed and value of `setting`, with `psnr` (dB) and `ssim`; group: a line for each value.
    label: the axis, with its unit.
    """
    values = sorted(table[setting].unique())
    place = {value: index for index, value in enumerate(values)}
    groups = [("mean over seeds", table)] if group is None else list(table.groupby(group, sort=False))
    figure = Picture(7.2, 3.2, title)
    for axes, metric in zip(figure.subplots(1, 2), ("psnr", "ssim")):
        for (name, rows), colour in zip(groups, SERIES):
            means = rows.groupby(setting)[metric].mean()
            axes.plot(means.index.map(place), means, color=colour, label=str(name), zorder=2, gid=f"line {name}")
            axes.scatter(rows[setting].map(place), rows[metric], s=14, color=colour, alpha=0.6, lw=0, zorder=3)
        axes.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        axes.set(xlabel=label, ylabel=UNITS[metric], xlim=(-0.3, len(values) - 0.7))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _wide_enough(axes, rows: pd.DataFrame) -> None:
    """Both zeros inside, with room for names."""
    for low_high, values in ((axes.set_xlim, rows["psnr"]), (axes.set_ylim, rows["ssim"])):
        low, high = min(values.min(), 0), max(values.max(), 0)
        room = 0.18 * (high - low) or 1e-3
        low_high(low - room, high + room)
