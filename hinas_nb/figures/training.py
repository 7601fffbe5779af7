"""Draw what searches and trainings did, epoch by epoch or step by step (sections 3.3 and 4.1).

Drawn in notebooks 03, 04, 05 and `15_search_stability`. Records are what `search.search` and `train.train` yield
(dataclasses, dicts, or a DataFrame), epochs counted from 1.
"""

import itertools
from math import log

import numpy as np
import pandas as pd

from hinas_nb.figures.axes import log_ticks, name_points
from hinas_nb.figures.style import ACCENT, INK, MUTED, OPERATION_COLOURS, SERIES, Picture, themed
from hinas_nb.scoring.units import METRICS

_PSNR, _SSIM = METRICS["psnr"], METRICS["ssim"]
_LEAD = "probability, first - second"
#: Title, unit, and the columns drawn with their names in the legend.
_OF_A_SEARCH = (
    ("Loss", "eq. 7", {"weight_loss": "weights (on W)", "architecture_loss": "architecture (on A)"}),
    (f"{_PSNR.title} on V", _PSNR.unit, {"validation_psnr": None}),
    (f"{_SSIM.title} on V", "unitless", {"validation_ssim": None}),
    ("Decoded skips", "inputs", {"skip_count": "skips"}),
    ("Entropy", "nats", {"op_entropy": "alpha, per edge", "width_entropy": "beta, per source"}),
    ("Operation margin", _LEAD, {"op_margin": "mean", "op_margin_min": "smallest"}),
    ("Width path margin", f"log-{_LEAD}", {"width_margin": None}),
    ("Decoded operations", "inputs", {}),
)
_OF_SEARCHES = (
    _OF_A_SEARCH[1], _OF_A_SEARCH[3], ("Mean lead of an operation", _LEAD, {"op_margin": None}),
    ("Entropy that the alphas lost", "nats per edge", {"entropy_lost": None}),
)  # fmt: skip
_OF_A_TRAINING = (
    ("Loss", "eq. 7, mean", {"loss": None}), ("Learning rate", "at the validation", {"lr": None}), *_OF_A_SEARCH[1:3],
)  # fmt: skip


@themed
def search_curves(records, warmup_epochs: int = 0, validate_from: int = 0, title: str | None = None) -> Picture:
    """Draw small multiples over the epochs of a search; the epoch that the early stop picked is marked in all of them.

    warmup_epochs: shaded, only weights are trained there.
    validate_from: epochs done before the first validation, a dotted line.
    """
    table = pd.DataFrame(records)
    picked = _picked(table)
    dots = {"marker": "o", "ms": 3} if len(table) <= 12 else {}
    figure = Picture(11, 5, title)
    panels = list(figure.subplots(2, 4, sharex=True).flat)
    for axes, (name, unit, columns) in zip(panels, _OF_A_SEARCH):
        axes.set(title=name, ylabel=unit)
        for column, label in columns.items():
            if table[column].notna().any():
                axes.plot(table["epoch"], table[column].astype(float), label=label, **dots)
    inputs = _draw_counts(panels[7], table)
    panels[3].plot(table["epoch"], inputs, color=MUTED, ls=":", label="inputs in all")
    equal = log(len(table["op_weights"].iloc[0][0][0]))
    panels[4].axhline(equal, color=MUTED, ls=":", lw=1, label="equal alphas")
    for axes in (panels[0], panels[3], panels[4], panels[5]):
        axes.legend()
    for axes in panels:
        _epoch_axis(axes, table, warmup_epochs)
        axes.axvline(validate_from + 0.5, color=MUTED, ls=":", lw=1, visible=validate_from > 0)
        for epoch in picked["epoch"]:
            axes.axvline(epoch, color=ACCENT, lw=1, alpha=0.6, zorder=1)
    for axes in (panels[3], *panels[5:]):
        axes.set_ylim(bottom=0)
    for axes, name in zip(panels[1:3], ("psnr", "ssim")):
        _mark_best(axes, picked, "epoch", name)
    return figure


@themed
def searches_plot(
    table: pd.DataFrame, warmup_epochs: int = 0, most_skips: float | None = None, title: str | None = None
) -> Picture:
    """Draw one line per search and panel, coloured by arm; a star where the early stop picked.

    table: one row per search and epoch with `arm`, `seed`, the plain values of a search's records, and `entropy_lost`,
        by how much the alphas' entropy is below that of equal ones.
    warmup_epochs: shaded, only weights are trained there. most_skips: what chance gives at most, a dotted line.
    """
    colours = dict(zip(table["arm"].unique(), SERIES))
    star = {"marker": "*", "ms": 10, "ls": "", "mec": INK, "mew": 0.4}
    figure = Picture(9, 5, title)
    for axes, (label, unit, columns) in zip(figure.subplots(2, 2, sharex=True).flat, _OF_SEARCHES):
        (name,) = columns
        for (arm, _), rows in table.groupby(["arm", "seed"], sort=False):
            axes.plot(rows["epoch"], rows[name].astype(float), color=colours[arm], lw=1.2, alpha=0.8, label=arm)
            picked = _picked(rows)
            axes.plot(picked["epoch"], picked[name], color=colours[arm], gid="picked", zorder=3, **star)
        if name == "skip_count" and most_skips is not None:
            axes.axhline(most_skips, color=MUTED, ls=":", lw=1, gid="chance", label="at most by chance")
            axes.set_ylim(bottom=-0.3)
        axes.set(title=label, ylabel=unit)
        _epoch_axis(axes, table, warmup_epochs)
    axes.plot([], [], color="white", label="picked by the early stop", **star)
    figure.legend_below(3 if len(colours) > 2 else 5)
    return figure


@themed
def recipes_plot(table: pd.DataFrame, most_skips: float, title: str | None = None) -> Picture:
    """Draw skips and the score on V over the epochs of every recipe, means over seeds.

    table: one row per search and epoch with `arm` (the recipe) and `seed`. most_skips: what chance gives at most.
    """
    figure = Picture(9, 3.6, title)
    skips, scores = figure.subplots(1, 2, sharex=True)
    means = table.groupby(["arm", "epoch"], sort=False)[["skip_count", "validation_psnr"]].mean().reset_index()
    for (recipe, rows), colour in zip(means.groupby("arm", sort=False), itertools.cycle(SERIES)):
        look = {"color": colour, "marker": "o", "ms": 3, "lw": 1.4, "label": recipe}
        skips.plot(rows["epoch"], rows["skip_count"], **look)
        scores.plot(rows["epoch"], rows["validation_psnr"].astype(float), **look)
    skips.axhline(most_skips, color=MUTED, ls=":", lw=1, label="at most by chance")
    skips.set(title="skips", xlabel="epoch", ylabel="inputs of a genotype")
    scores.set(title="score on V", xlabel="epoch", ylabel=METRICS["psnr"].with_unit("PSNR"))
    figure.legend_below(4)
    return figure


@themed
def ranking_plot(table: pd.DataFrame, words: dict[str, str] | None = None, title: str | None = None) -> Picture:
    """Draw every architecture's PSNR with shared weights against that trained alone, a panel for each supernet.

    table: one row per architecture and supernet: `supernet`, `architecture`, `shared` and `alone` (dB).
    words: under the name of a supernet, such as its tau.
    """
    label = METRICS["psnr"].header
    figure = Picture(1 + 3.2 * table["supernet"].nunique(), 3.4, title)
    for axes, name, rows in figure.panels(table, "supernet", sharey=True):
        axes.scatter(rows["shared"], rows["alone"], s=26, color=SERIES[0], zorder=2, gid="architectures")
        if rows["shared"].nunique() > 1:
            ends = np.array([rows["shared"].min(), rows["shared"].max()])
            slope, base = np.polyfit(rows["shared"], rows["alone"], 1)
            axes.plot(ends, slope * ends + base, color=ACCENT, lw=1, ls="--", zorder=1)
        axes.margins(0.12)
        axes.locator_params(axis="x", nbins=4)  # scores with shared weights can lie close together
        said = (words or {}).get(name)
        axes.set(title=f"{name}\n{said}" if said else name, xlabel=f"with shared weights: {label}")
    figure.axes[0].set_ylabel(f"trained alone: {label}")
    for axes, (_, rows) in zip(figure.axes, table.groupby("supernet", sort=False)):
        name_points(axes, rows["shared"], rows["alone"], [*rows["architecture"]], 26)
    return figure


@themed
def training_curves(records, title: str | None = None) -> Picture:
    """Draw small multiples over the steps of a training; the validation whose weights were kept is marked in all.

    records: one per validation.
    """
    table = pd.DataFrame(records)
    kept = _picked(table)
    figure = Picture(9, 4.6, title)
    panels = figure.subplots(2, 2, sharex=True)
    for axes, (label, unit, columns) in zip(panels.flat, _OF_A_TRAINING):
        (name,) = columns
        axes.plot(table["step"], table[name], color=SERIES[0], marker="o" if len(table) <= 20 else "")
        axes.set(title=label, ylabel=unit)
    for axes, name in zip(panels[0], ("loss", "lr")):
        axes.plot(kept["step"], kept[name], "*", ms=11, color=ACCENT, gid="kept")
    for axes, name in zip(panels[1], ("psnr", "ssim")):
        axes.set_xlabel("step")
        _mark_best(axes, kept, "step", name)
    panels[0, 0].set_yscale("log")
    log_ticks(panels[0, 0], "y")
    return figure


def _picked(table: pd.DataFrame) -> pd.DataFrame:
    """Return the row of the last validation that was the best so far; no row where nothing was scored."""
    return table[table["best"].astype(bool) & table["validation_psnr"].notna()].iloc[-1:]


def _mark_best(axes, best: pd.DataFrame, at: str, name: str) -> None:
    """Put a star where a score was the best, and say in the title what it was."""
    for place, score in zip(best[at], best[f"validation_{name}"]):
        axes.plot(place, score, "*", ms=11, color=ACCENT, gid="kept", clip_on=False)
        axes.set_title(f"{METRICS[name].title} on V: {METRICS[name].number(score)} at {at} {place}")
    if best.empty:
        axes.text(0.5, 0.5, "not scored on V", ha="center", color=MUTED, transform=axes.transAxes)
        axes.set_yticks([])


def _draw_counts(axes, table: pd.DataFrame) -> pd.Series:
    """Stack the operations that each epoch would keep as bars, and return how many inputs there are in all."""
    counts = pd.DataFrame(table["operation_counts"].tolist()).fillna(0)
    bottom = pd.Series(0.0, table.index)
    for name in [name for name in OPERATION_COLOURS if name in counts and counts[name].any()]:
        # An edge of the bar's own colour: without it, hairlines show between neighbours.
        look = {"color": OPERATION_COLOURS[name], "edgecolor": OPERATION_COLOURS[name], "lw": 0.5}
        axes.bar(table["epoch"], counts[name], 1, bottom=bottom, label=name, **look)
        bottom += counts[name]
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), handlelength=1)
    return bottom


def _epoch_axis(axes, table: pd.DataFrame, warmup_epochs: int) -> None:
    """Let the axis span the epochs, with whole ones as ticks, named where they are shown; shade the warm-up."""
    first, last = table["epoch"].min() - 0.5, table["epoch"].max() + 0.5
    axes.set_xlim(first, last)
    axes.locator_params(axis="x", nbins=6, integer=True, min_n_ticks=1)
    axes.set_xlabel("epoch" if axes.get_subplotspec().is_last_row() else "")
    if warmup_epochs:
        axes.axvspan(first, warmup_epochs + 0.5, color="#EFEFEF", zorder=0, lw=0, gid="warm-up", label="weights only")
