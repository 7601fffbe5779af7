"""Accuracy against what it costs, and seconds against multiply-adds (figure 14).

Drawn in notebooks `16_latency_aware_search` and `22_trade_off`.
"""

import itertools
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D

from hinas_nb.figures.axes import log_ticks, name_points
from hinas_nb.figures.style import ACCENT, INK, MUTED, PALE, SERIES, Picture, themed
from hinas_nb.scoring.units import METRICS

_COLOURS = matplotlib.colormaps["viridis_r"]
_SIZES = LogNorm(0.01, 50)  # millions of parameters, the same in every figure
_IN_LEGEND = (0.01, 0.1, 1, 10)
_DASHED = (0, (4, 2))
_MARKERS = "DsP^v"  # the next one where colours are used up


@themed
def trade_off_plot(
    points: pd.DataFrame, costs: Mapping[str, str], ours: Sequence[str] = ("HiNAS",), title: str | None = None
) -> Picture:
    """Draw a row of panels per `panel`, a column per `metric`; cost on a logarithmic axis, the Pareto front joined.

    points: of `trade_off.points`. Marker size and colour are parameters; a square has none, a hollow one is doubted
    (far below the others it stands at their edge, its value behind its name), `*` behind a name: timed on a part.
    costs: the words of the cost axis by panel. ours: networks that stand out.
    """
    panels, metrics = (points[name].unique() for name in ("panel", "metric"))
    figure = Picture(5.2 * len(metrics) + 0.3, 3.5 * len(panels) + 0.7, title)
    grid = figure.subplots(len(panels), len(metrics), squeeze=False).flat
    drawn = []
    for axes, (panel, metric) in zip(grid, itertools.product(panels, metrics)):
        own = _brought_near(points[(points["panel"] == panel) & (points["metric"] == metric)])
        axes.set(title=panel, xlabel=costs[panel], ylabel=METRICS[metric].header, xscale="log")
        if own.empty:
            axes.set_axis_off()
            continue
        axes.margins(0.16, 0.12)
        intervals = _draw_networks(axes, own, ours)
        log_ticks(axes, "x")
        front = own[own["front"]].sort_values("x")
        steps = _draw_front(axes, front["x"], front["y"], color=ACCENT, ls=_DASHED, gid="front")
        drawn.append((axes, own, [*steps, *intervals]))
    _explain(figure, points)
    _name_networks(drawn, ours)
    return figure


@themed
def rate_plot(
    table: pd.DataFrame, label: str = "seconds an image", ours: Sequence[str] = ("HiNAS",), title: str | None = None
) -> Picture:
    """Draw seconds against multiply-adds of an image, a panel per `panel`; on a diagonal all compute as fast.

    table: `panel`, `network`, `x` (billions of multiply-adds), `y`, `y_low`, `y_high` (seconds), `parameters`
        (millions), `part`.
    label: the words of the time axis.
    """
    figure = Picture(5.2 * table["panel"].nunique() + 0.3, 4.9, title)
    drawn = []
    for axes, panel, own in figure.panels(table, "panel"):
        axes.set(xscale="log", yscale="log", xlabel="multiply-adds of the image (billions)", ylabel=label)
        axes.set_title(panel, pad=16)
        axes.set_xlim(own["x"].min() / 2.5, own["x"].max() * 2.5)
        axes.set_ylim(own["y"].min() / 2.5, own["y"].max() * 2.5)
        _draw_rates(axes, 2 * own["x"] / own["y"])
        _draw_networks(axes, own, ours)
        log_ticks(axes, "xy")
        drawn.append((axes, own, []))
    _explain(figure, table)
    _name_networks(drawn, ours)
    return figure


@themed
def front_plot(table: pd.DataFrame, title: str | None = None, score: str = "PSNR on V") -> Picture:
    """Draw a mark a network, coloured by kind; the front of what was found, and dashed that of random ones.

    table: `kind`, `ms`, `psnr` (dB), as `fronts.networks` gives it; where each kind is one network there are no fronts.
    """
    figure = Picture(7.2, 4.4, title)
    axes = figure.subplots()
    looks = itertools.product(_MARKERS, SERIES)
    for kind, own in table.groupby("kind", sort=False):
        marker, colour = ("o", MUTED) if kind == "random" else next(looks)
        look = {"s": 34, "marker": marker, "color": colour, "zorder": 2}
        axes.scatter(own["ms"], own["psnr"], label=kind, gid=f"kind {kind}", **look)
    axes.margins(0.08, 0.1)
    found, other = (table[table["kind"].ne("random") == own].sort_values(["ms", "psnr"]) for own in (True, False))
    for own, line, colour, name in ((found, "-", INK, "front of found"), (other, _DASHED, MUTED, "front of random")):
        front = own[own["psnr"] > own["psnr"].cummax().shift(fill_value=-np.inf)]
        if len(front) and len(table) > table["kind"].nunique():
            _draw_front(axes, front["ms"], front["psnr"], color=colour, ls=line, label=name, gid=name)
    axes.set(xlabel="milliseconds an image", ylabel=METRICS["psnr"].with_unit(score))
    figure.legend_below(4)
    return figure


def _brought_near(own: pd.DataFrame) -> pd.DataFrame:
    """Return the points; doubted ones that would squeeze all others come nearer, with their value in the name."""
    doubted = own["doubt"].ne("")
    low, high = own["y"][~doubted].agg(["min", "max"])
    far = doubted & own["y"].lt(low - (high - low))
    names = own["network"] + np.where(far, own["y"].map(" ({:g})".format), "")
    return own.assign(network=names, y=own["y"].mask(far, low - (high - low) / 4))


def _draw_networks(axes, own: pd.DataFrame, ours: Sequence[str]) -> list[tuple]:
    """Draw markers and the intervals that are known; returns the intervals as pairs of points."""
    intervals = []
    for size, row in zip(_size(own["parameters"]), own.to_dict("records")):
        trained, hollow, stands_out = row["parameters"] > 0, bool(row.get("doubt", "")), row["network"] in ours
        colour = _COLOURS(_SIZES(row["parameters"])) if trained else MUTED
        axes.scatter(
            row["x"], row["y"], s=size, marker="o" if trained else "s", fc="white" if hollow else [colour],
            ec=[ACCENT if stands_out else colour if hollow else INK], lw=1.8 if stands_out or hollow else 0.6,
            alpha=0.92, zorder=2.5 if stands_out else 2, gid=f"mark {row['network']}",
        )  # fmt: skip
        across = (row.get("x_low", np.nan), row["y"]), (row.get("x_high", np.nan), row["y"])
        up = (row["x"], row["y_low"]), (row["x"], row["y_high"])
        intervals += [line for line in (across, up) if np.isfinite(line).all()]
    for line in intervals:
        axes.plot(*zip(*line), color=MUTED, lw=0.8, zorder=1.5)
    return intervals


def _draw_front(axes, xs: pd.Series, ys: pd.Series, **look) -> list[tuple]:
    """Join what nobody beats, up from below and on to the right; returns the pieces as pairs of points."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    corners = [*zip([*np.repeat(xs, 2), right], [bottom, *np.repeat(ys, 2)])]
    axes.plot(*zip(*corners), lw=1.1, zorder=1, **look)
    axes.set(xlim=(left, right), ylim=(bottom, top))
    return [*itertools.pairwise(corners)]


def _draw_rates(axes, reached: pd.Series) -> None:
    """Draw lines of equal GFLOP/s (two operations a multiply-add) around what is reached, named where they leave."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    low, high = int(np.floor(np.log10(reached.min()))), int(np.ceil(np.log10(reached.max())))
    for rate in 10.0 ** np.arange(low, high + 1):
        end = min(right, top * rate / 2)
        if max(left, bottom * rate / 2) >= end:
            continue
        ends = np.array([left, right])
        axes.plot(ends, 2 * ends / rate, color=PALE, lw=0.8, zorder=0.5, gid=f"rate {rate:g}")
        above = end < right
        axes.annotate(
            f"{rate:g} GFLOP/s", (end, 2 * end / rate), (0, 3) if above else (3, 0), textcoords="offset points",
            fontsize=7, color=MUTED, ha="center" if above else "left", va="bottom" if above else "center",
            annotation_clip=False,
        )  # fmt: skip


def _size(parameters: pd.Series) -> np.ndarray:
    """Return the area of a marker, points squared, of millions of parameters."""
    return 22 + 45 * np.log10(parameters.where(parameters > 0, 0.01).clip(lower=0.01).to_numpy(float) / 0.01)


def _name_networks(drawn: list[tuple], ours: Sequence[str]) -> None:
    """Name the networks of all panels, after all else is drawn: the first name fixes the layout."""
    for axes, own, lines in drawn:
        names = own["network"] + np.where(own["part"], " *", "")
        bold = set(names[own["network"].isin(ours)])
        name_points(axes, own["x"], own["y"], [*names], _size(own["parameters"]), bold, lines)


def _explain(figure: Picture, points: pd.DataFrame) -> None:
    """Say below the panels what size and colour mean, and the marks that occur."""
    dot = {"marker": "o", "ls": "", "mec": INK, "mew": 0.6}
    handles = [
        Line2D([], [], ms=size, mfc=_COLOURS(_SIZES(count)), label=f"{count:g} M parameters", **dot)
        for count, size in zip(_IN_LEGEND, np.sqrt(_size(pd.Series(_IN_LEGEND))))
    ]
    if not (points["parameters"] > 0).all():
        handles.append(Line2D([], [], **dot | {"marker": "s"}, ms=4.7, mfc=MUTED, label="nothing trained"))
    if "front" in points:
        handles.append(Line2D([], [], color=ACCENT, lw=1.1, ls=_DASHED, label="Pareto front"))
    if points.get("doubt", pd.Series("")).ne("").any():
        handles.append(Line2D([], [], **dot | {"mew": 1.8}, ms=8, mfc="white", label="doubtful, on no front"))
    if points["part"].any():
        handles.append(Line2D([], [], ls="", marker="$*$", ms=5, color=INK, label="timed on a part of the image"))
    columns = len(handles) if len(handles) < 7 else -(-len(handles) // 2)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, columnspacing=1.6)
