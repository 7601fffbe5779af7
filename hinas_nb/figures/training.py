"""What searches and trainings did, epoch by epoch or step by step (sections 3.3 and 4.1).

Drawn in notebooks 03, 04, 05 and `15_search_stability`. Records are what `search.search` and `train.train` yield
(dataclasses, dicts, or a DataFrame), epochs counted from 1.
"""

from math import log

import pandas as pd
from matplotlib.ticker import MaxNLocator

from hinas_nb.figures.axes import log_ticks
from hinas_nb.figures.style import ACCENT, INK, MUTED, OPERATION_COLOURS, SERIES, FigureError, Picture, themed
from hinas_nb.scoring.units import METRICS

#: Column, title and unit of a panel.
_SCORES = [(f"validation_{name}", METRICS[name].title + " on V", METRICS[name].unit) for name in ("psnr", "ssim")]
_LEAD = "probability, first - second"
_OF_A_SEARCH = [
    ("weight_loss", "Loss", "eq. 7"), *_SCORES, ("skip_count", "Decoded skips", "inputs"),
    ("op_entropy", "Entropy", "nats"), ("op_margin", "Operation margin", _LEAD),
    ("width_margin", "Width path margin", f"log-{_LEAD}"), ("operation_counts", "Decoded operations", "inputs"),
]  # fmt: skip
_OF_SEARCHES = [
    _SCORES[0], ("skip_count", "Decoded skips", "inputs"), ("op_margin", "Mean lead of an operation", _LEAD),
    ("entropy_lost", "Entropy that the alphas lost", "nats per edge"),
]  # fmt: skip
_OF_A_TRAINING = [("loss", "Loss", "eq. 7, mean"), ("lr", "Learning rate", "at the validation"), *_SCORES]


@themed
def search_curves(records, warmup_epochs: int = 0, validate_from: int = 0, title: str | None = None) -> Picture:
    """Draw small multiples over the epochs of a search; the epoch that the early stop picked is marked in all of them.

    warmup_epochs: shaded, only weights are trained there.
    validate_from: epochs done before the first validation, a dotted line.
    """
    table = record_table(records, "epoch")
    figure = Picture(11, 5, title)
    panels = {name: axes for (name, *_), axes in zip(_OF_A_SEARCH, figure.subplots(2, 4, sharex=True).flat)}

    def draw(panel: str, column: str, label: str | None = None, **look):
        if table[column].notna().any():
            dots = {"marker": "o", "ms": 3} if len(table) <= 12 else {}
            panels[panel].plot(table["epoch"], table[column].astype(float), label=label, **dots, **look)

    draw("weight_loss", "weight_loss", "weights (on W)")
    draw("weight_loss", "architecture_loss", "architecture (on A)")
    draw("validation_psnr", "validation_psnr")
    draw("validation_ssim", "validation_ssim")
    draw("skip_count", "skip_count", "skips", color=INK)
    draw("op_entropy", "op_entropy", "alpha, per edge")
    draw("op_entropy", "width_entropy", "beta, per source")
    draw("op_margin", "op_margin", "mean")
    draw("op_margin", "op_margin_min", "smallest")
    draw("width_margin", "width_margin")
    equal = log(len(table["op_weights"].iloc[0][0][0]))
    panels["op_entropy"].axhline(equal, color=MUTED, ls=":", lw=1, label="equal alphas")
    inputs = _draw_counts(panels["operation_counts"], table)
    panels["skip_count"].plot(table["epoch"], inputs, color=MUTED, ls=":", label="inputs in all")

    picked = _picked(table)
    for name, label, unit in _OF_A_SEARCH:
        axes = panels[name]
        axes.set(title=label, ylabel=unit or "unitless")
        if axes.get_legend_handles_labels()[0] and name != "operation_counts":
            axes.legend()
        _epoch_axis(axes, table, warmup_epochs)
        if name in ("skip_count", "op_margin", "width_margin", "operation_counts"):
            axes.set_ylim(bottom=0)
        if validate_from:
            axes.axvline(validate_from + 0.5, color=MUTED, ls=":", lw=1)
        for _, row in picked.iterrows():
            axes.axvline(row["epoch"], color=ACCENT, lw=1, alpha=0.6, zorder=1)
    for name, label, _ in _SCORES:
        _mark_kept(panels[name], picked, "epoch", name, label)
    for name in list(panels)[4:]:
        panels[name].set_xlabel("epoch")
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
    if table.empty:
        raise FigureError("searches must hold at least one epoch, got none")
    colours = dict(zip(table["arm"].unique(), SERIES))
    star = {"marker": "*", "ms": 10, "ls": "", "mec": INK, "mew": 0.4}
    figure = Picture(9, 5, title)
    for axes, (name, label, unit) in zip(figure.subplots(2, 2, sharex=True).flat, _OF_SEARCHES):
        for (arm, _), rows in table.groupby(["arm", "seed"], sort=False):
            axes.plot(rows["epoch"], rows[name].astype(float), color=colours[arm], lw=1.2, alpha=0.8, label=arm)
            picked = _picked(rows)
            axes.plot(picked["epoch"], picked[name], color=colours[arm], gid="picked", zorder=3, **star)
        if name == "skip_count" and most_skips is not None:
            axes.axhline(most_skips, color=MUTED, ls=":", lw=1, gid="chance", label="at most by chance")
            axes.set_ylim(bottom=-0.3)
        axes.set(title=label, ylabel=unit)
        _epoch_axis(axes, table, warmup_epochs)
    for axes in figure.axes[2:]:
        axes.set_xlabel("epoch")
    axes.plot([], [], color="white", label="picked by the early stop", **star)
    figure.legend_below(3 if len(colours) > 2 else 5)
    return figure


@themed
def training_curves(records, title: str | None = None) -> Picture:
    """Draw small multiples over the steps of a training; the validation whose weights were kept is marked in all.

    records: one per validation. Raises FigureError without any.
    """
    table = record_table(records, "validation")
    kept = _picked(table)
    figure = Picture(9, 4.6, title)
    panels = figure.subplots(2, 2, sharex=True)
    for axes, (name, label, unit) in zip(panels.flat, _OF_A_TRAINING):
        axes.plot(table["step"], table[name], color=SERIES[0], marker="o" if len(table) <= 20 else "")
        axes.set(title=label, ylabel=unit or "unitless")
        if name.startswith("validation"):
            _mark_kept(axes, kept, "step", name, label)
        else:
            axes.plot(kept["step"], kept[name], "*", ms=11, color=ACCENT, gid="kept")
    for axes in panels[1]:
        axes.set_xlabel("step")
    panels[0, 0].set_yscale("log")
    log_ticks(panels[0, 0].yaxis)
    return figure


def record_table(records, what: str) -> pd.DataFrame:
    """Return records as a table. Raises FigureError without any; `what` one of them stands for."""
    table = pd.DataFrame(records).reset_index(drop=True)
    if table.empty:
        raise FigureError(f"records must hold at least one {what}, got none")
    return table


def whole_epochs() -> MaxNLocator:
    """Return ticks for an axis that counts epochs."""
    return MaxNLocator(nbins=6, integer=True, steps=(1, 2, 5, 10), min_n_ticks=1)


def _picked(table: pd.DataFrame) -> pd.DataFrame:
    """Return the row of the last validation that was the best so far; no row where nothing was scored."""
    return table[table["best"].astype(bool) & table["validation_psnr"].notna()].iloc[-1:]


def _mark_kept(axes, kept: pd.DataFrame, at: str, name: str, label: str) -> None:
    """Put a star where a score was the best, and say in the title what it was."""
    for _, row in kept.iterrows():
        axes.plot(row[at], row[name], "*", ms=11, color=ACCENT, gid="kept", clip_on=False)
        number = METRICS[name.removeprefix("validation_")].number(row[name])
        axes.set_title(f"{label}: {number} at {at} {row[at]}")
    if kept.empty:
        axes.text(0.5, 0.5, "not scored on V", ha="center", color=MUTED, transform=axes.transAxes)
        axes.set_yticks([])


def _draw_counts(axes, table: pd.DataFrame) -> pd.Series:
    """Stack the decoded operations of every epoch as bars; returns how many inputs there are in all."""
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
    """Let the axis span the epochs, with whole ones as ticks; shade the warm-up."""
    first, last = table["epoch"].min() - 0.5, table["epoch"].max() + 0.5
    axes.set_xlim(first, last)
    axes.xaxis.set_major_locator(whole_epochs())
    if warmup_epochs:
        axes.axvspan(first, warmup_epochs + 0.5, color="#EFEFEF", zorder=0, lw=0, gid="warm-up", label="weights only")
