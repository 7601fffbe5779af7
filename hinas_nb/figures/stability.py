"""Several searches over their epochs, and what shared weights say of architectures that are then trained alone.

Drawn in notebook `15_search_stability`.
"""

import numpy as np
import pandas as pd

from hinas_nb.figures.evolution import whole_epochs
from hinas_nb.figures.style import ACCENT, INK, MUTED, SERIES, FigureError, Picture, themed

PANELS = (
    ("validation_psnr", "Score on V", "PSNR (dB)"),
    ("skip_count", "Decoded skips", "inputs"),
    ("op_margin", "Mean lead of an operation", "probability, first - second"),
    ("entropy_lost", "Entropy that the alphas lost", "nats per edge"),
)


@themed
def searches_plot(
    table: pd.DataFrame, warmup_epochs: int = 0, most_skips: float | None = None, title: str | None = None
) -> Picture:
    """One line per search and panel, coloured by arm; a star where the early stop picked.

    table: one row per search and epoch with `arm`, `seed`, the plain values of a search's records, and `entropy_lost`,
        by how much the alphas' entropy is below that of equal ones.
    warmup_epochs: shaded, only weights are trained there. most_skips: what chance gives at most, a dotted line.
    """
    if table.empty:
        raise FigureError("searches must hold at least one epoch, got none")
    arms = list(dict.fromkeys(table["arm"]))
    figure = Picture(9, 5, title)
    for axes, (name, label, unit) in zip(figure.subplots(2, 2, sharex=True).flat, PANELS):
        for (arm, _), rows in table.groupby(["arm", "seed"], sort=False):
            colour = SERIES[arms.index(arm) % len(SERIES)]
            axes.plot(rows["epoch"], rows[name].astype(float), color=colour, lw=1.2, alpha=0.8)
            picked = rows[rows["best"].astype(bool) & rows["validation_psnr"].notna()].iloc[-1:]
            axes.plot(picked["epoch"], picked[name], "*", ms=10, color=colour, mec=INK, mew=0.4, gid="picked", zorder=3)
        if warmup_epochs:
            axes.axvspan(table["epoch"].min() - 0.5, warmup_epochs + 0.5, color="#EFEFEF", zorder=0, lw=0)
        if name == "skip_count" and most_skips is not None:
            axes.axhline(most_skips, color=MUTED, ls=":", lw=1, gid="chance")
            axes.set_ylim(bottom=-0.3)
        axes.set(title=label, ylabel=unit, xlim=(table["epoch"].min() - 0.5, table["epoch"].max() + 0.5))
        axes.xaxis.set_major_locator(whole_epochs())
    for axes in figure.axes[2:]:
        axes.set_xlabel("epoch")
    for arm, colour in zip(arms, SERIES):
        axes.plot([], [], color=colour, label=arm)
    axes.plot([], [], "*", ms=10, color="white", mec=INK, label="picked by the early stop")
    if warmup_epochs:
        axes.fill_between([], [], color="#EFEFEF", label="weights only")
    if most_skips is not None:
        axes.plot([], [], color=MUTED, ls=":", label="at most by chance")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


@themed
def ranking_plot(
    table: pd.DataFrame, label: str = "PSNR (dB)", words: dict[str, str] | None = None, title: str | None = None
) -> Picture:
    """Every architecture's score with shared weights against its score trained alone, a panel for each supernet.

    table: one row per architecture and supernet: `supernet`, `architecture`, `shared` and `alone`.
    words: under the name of a supernet, such as its tau.
    Raises FigureError where a score is missing.
    """
    if table.empty or table[["shared", "alone"]].isna().any(axis=None):
        raise FigureError(f"every architecture must have both scores, got {len(table)} rows with gaps or none")
    groups = list(table.groupby("supernet", sort=False))
    figure = Picture(1 + 3.2 * len(groups), 3.4, title)
    for axes, (name, rows) in zip(figure.subplots(1, len(groups), sharey=True, squeeze=False)[0], groups):
        axes.scatter(rows["shared"], rows["alone"], s=26, color=SERIES[0], zorder=2, gid="architectures")
        for number, *place in rows[["architecture", "shared", "alone"]].itertuples(index=False):
            axes.annotate(str(number), place, (4, 3), textcoords="offset points", fontsize=7)
        if rows["shared"].nunique() > 1:
            ends = np.array([rows["shared"].min(), rows["shared"].max()])
            slope, base = np.polyfit(rows["shared"], rows["alone"], 1)
            axes.plot(ends, slope * ends + base, color=ACCENT, lw=1, ls="--", zorder=1)
        axes.margins(0.12)
        said = (words or {}).get(name)
        axes.set(title=f"{name}\n{said}" if said else name, xlabel=f"with shared weights: {label}")
    figure.axes[0].set_ylabel(f"trained alone: {label}")
    return figure
