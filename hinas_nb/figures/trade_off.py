"""Accuracy against what it costs, and seconds against multiply-adds (figure 14); notebook `22_trade_off`."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from hinas_nb.figures.labels import place_labels
from hinas_nb.figures.style import ACCENT, INK, MUTED, FigureError, Picture, themed

UNITS = {"psnr": "PSNR (dB)", "ssim": "SSIM"}
COLOURS = matplotlib.colormaps["viridis_r"]
SIZES = LogNorm(0.01, 50)  # millions of parameters, the same in every figure
SHOWN = (0.01, 0.1, 1, 10)  # in the legend


@themed
def trade_off_plot(
    points: pd.DataFrame,
    costs: Mapping[str, str],
    ours: Sequence[str] = ("HiNAS",),
    title: str | None = None,
) -> Picture:
    """A row of panels per `panel`, a column per `metric`; cost on a logarithmic axis, the Pareto front joined.

    points: of `trade_off.points`. Marker size and colour are parameters; a square has none, a hollow one is doubted,
    `*` behind a name: timed on a part. costs: the words of the cost axis by panel. ours: networks that stand out.
    """
    if points.empty or not (points["x"] > 0).all() or not np.isfinite(points["y"]).all():
        raise FigureError("costs must be positive and scores finite for at least one network, got none or others")
    panels, metrics = (list(dict.fromkeys(points[name])) for name in ("panel", "metric"))
    figure = Picture(5.2 * len(metrics) + 0.3, 3.5 * len(panels) + 0.7, title)
    grid = figure.subplots(len(panels), len(metrics), squeeze=False)
    drawn = []
    for row, panel in zip(grid, panels):
        for axes, metric in zip(row, metrics):
            own = points[(points["panel"] == panel) & (points["metric"] == metric)].reset_index(drop=True)
            axes.set(title=panel, xlabel=costs[panel], ylabel=UNITS.get(metric, metric), xscale="log")
            if own.empty:
                axes.set_axis_off()
                continue
            axes.margins(0.16, 0.12)
            sizes = _marks(axes, own, ours)
            _plain_ticks(axes.xaxis)
            drawn.append((axes, own, sizes, _front(axes, own)))
    _legend(figure, points)
    _names(drawn, ours)
    return figure


@themed
def rate_plot(
    table: pd.DataFrame, label: str = "seconds an image", ours: Sequence[str] = ("HiNAS",), title: str | None = None
) -> Picture:
    """Seconds against multiply-adds of an image, a panel per `panel`; on a diagonal all compute as fast.

    table: `panel`, `network`, `x` (billions of multiply-adds), `y`, `y_low`, `y_high` (seconds), `parameters`
        (millions), `part`.
    label: the words of the time axis.
    """
    if table.empty or not (table[["x", "y"]] > 0).all(axis=None):
        raise FigureError("multiply-adds and seconds must be positive for at least one network, got none or others")
    panels = list(dict.fromkeys(table["panel"]))
    figure = Picture(5.2 * len(panels) + 0.3, 4.9, title)
    drawn = []
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        own = table[table["panel"] == panel].reset_index(drop=True)
        axes.set(xscale="log", yscale="log", xlabel="multiply-adds of the image (billions)")
        axes.set_ylabel(label)
        axes.set_title(panel, pad=16)
        spans = [np.array([own[name].min() / 2.5, own[name].max() * 2.5]) for name in ("x", "y")]
        axes.set(xlim=spans[0], ylim=spans[1])
        _rates(axes, *spans, 2 * own["x"] / own["y"])
        drawn.append((axes, own, _marks(axes, own, ours), []))
        for axis in (axes.xaxis, axes.yaxis):
            _plain_ticks(axis)
    _legend(figure, table)
    _names(drawn, ours)
    return figure


def _marks(axes, own: pd.DataFrame, ours: Sequence[str]) -> np.ndarray:
    """Draws the markers; returns their sizes, in points squared."""
    sizes = _size(own["parameters"])
    for index, row in own.iterrows():
        colour = MUTED if not row["parameters"] > 0 else COLOURS(SIZES(row["parameters"]))
        hollow = bool(row.get("doubt", ""))
        edge = ACCENT if row["network"] in ours else colour if hollow else INK
        axes.scatter(
            row["x"], row["y"], s=sizes[index], marker="o" if row["parameters"] > 0 else "s",
            facecolors="white" if hollow else [colour], edgecolors=[edge],
            alpha=0.92, lw=1.8 if row["network"] in ours or hollow else 0.6, zorder=2 + (row["network"] in ours) / 2,
            gid=f"mark {row['network']}",
        )  # fmt: skip
        for x, y in _whiskers(row):
            axes.plot(x, y, color=MUTED, lw=0.8, zorder=1.5)
    return sizes


def _whiskers(row: pd.Series) -> list[tuple[list[float], list[float]]]:
    """The intervals that are known, each as x and y of its ends."""
    across = [row.get("x_low", np.nan), row.get("x_high", np.nan)], [row["y"]] * 2
    up = [row["x"]] * 2, [row["y_low"], row["y_high"]]
    return [line for line in (across, up) if np.isfinite(line).all()]


def _front(axes, own: pd.DataFrame) -> list[tuple]:
    """Draws what nobody beats, up from below and on to the right; returns its pieces, and the intervals, as lines."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    front = own[own["front"]].sort_values("x")
    xs = [*np.repeat(front["x"].to_numpy(), 2).tolist(), right]
    ys = [bottom, *np.repeat(front["y"].to_numpy(), 2).tolist()]
    axes.plot(xs, ys, color=ACCENT, lw=1.1, ls=(0, (4, 2)), zorder=1, gid="front")
    axes.set(xlim=(left, right), ylim=(bottom, top))
    intervals = [tuple(zip(*line)) for _, row in own.iterrows() for line in _whiskers(row)]
    return [*pairwise(zip(xs, ys)), *intervals]


def _size(parameters: pd.Series) -> np.ndarray:
    known = parameters.where(parameters > 0, 0.01).clip(lower=0.01).to_numpy(float)
    return 22 + 45 * np.log10(known / 0.01)


def _names(drawn: list, ours: Sequence[str]) -> None:
    """After all else: layout is fixed by the first."""
    for axes, own, sizes, lines in drawn:
        names = own["network"] + np.where(own["part"], " *", "")
        bold = [name in ours for name in own["network"]]
        place_labels(axes, own["x"], own["y"], names.tolist(), sizes, bold, lines)


def _legend(figure: Picture, points: pd.DataFrame) -> None:
    """What size and colour say, and the marks that occur."""
    dot = {"marker": "o", "ls": "", "mec": INK, "mew": 0.6}
    radii = np.sqrt(_size(pd.Series(SHOWN)))
    handles = [
        Line2D([], [], ms=size, mfc=COLOURS(SIZES(count)), label=f"{count:g} M parameters", **dot)
        for count, size in zip(SHOWN, radii)
    ]
    if not (points["parameters"] > 0).all():
        handles.append(Line2D([], [], **dot | {"marker": "s"}, ms=4.7, mfc=MUTED, label="nothing trained"))
    if "front" in points:
        handles.append(Line2D([], [], color=ACCENT, lw=1.1, ls=(0, (4, 2)), label="Pareto front"))
    if points.get("doubt", pd.Series("")).ne("").any():
        handles.append(Line2D([], [], **dot | {"mew": 1.8}, ms=8, mfc="white", label="doubtful, on no front"))
    if points["part"].any():
        handles.append(Line2D([], [], ls="", marker="$*$", ms=5, color=INK, label="timed on a part of the image"))
    columns = len(handles) if len(handles) < 7 else -(-len(handles) // 2)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, columnspacing=1.6)


def _rates(axes, across: np.ndarray, up: np.ndarray, reached: pd.Series) -> None:
    """Lines of equal GFLOP/s (two operations a multiply-add) around what is reached, named where they leave."""
    low, high = int(np.floor(np.log10(reached.min()))), int(np.ceil(np.log10(reached.max())))
    for rate in 10.0 ** np.arange(low, high + 1):
        end = min(across[1], up[1] * rate / 2)
        if max(across[0], up[0] * rate / 2) >= end:
            continue
        axes.plot(across, 2 * across / rate, color="#C9C9C9", lw=0.8, zorder=0.5, gid=f"rate {rate:g}")
        top = end < across[1]
        axes.annotate(
            f"{rate:g} GFLOP/s", (end, 2 * end / rate), (0, 3) if top else (3, 0), textcoords="offset points",
            fontsize=6.5, color=MUTED, ha="center" if top else "left", va="bottom" if top else "center",
            annotation_clip=False,
        )  # fmt: skip


def _plain_ticks(axis) -> None:
    """Numbers instead of powers; between decades only where there are few."""
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    if decades < 3:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1.6 else (1, 3)))
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:,.12g}"))
