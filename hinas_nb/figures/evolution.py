"""What a search did, epoch by epoch: scores, entropies, margins, alphas and betas (section 3.3).

Drawn in notebooks `03_search_denoising` and `04_search_super_resolution`. Records are
what `search.search` yields (its dataclasses, dicts, or a DataFrame): one per epoch, epochs counted from 1.
"""

from collections.abc import Sequence
from math import log

import numpy as np
import pandas as pd
import seaborn
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from hinas_nb.figures.style import ACCENT, INK, MUTED, OPERATION_COLOURS, SERIES, FigureError, Picture, themed
from hinas_nb.figures.trellis import move_weights
from hinas_nb.method.genotype import Genotype


@themed
def search_curves(records, warmup_epochs: int = 0, validate_from: int = 0, title: str | None = None) -> Picture:
    """Small multiples over the epochs; the epoch the early stop picked is marked in all of them.

    warmup_epochs: shaded, only weights are trained there.
    validate_from: epochs done before the first validation, a dotted line.
    """
    table = _table(records)
    counts = pd.DataFrame(table["operation_counts"].tolist(), index=table.index).fillna(0)
    figure = Picture(11, 5, title)
    panels = list(figure.subplots(2, 4, sharex=True).flat)

    for name, label in (("weight_loss", "weights (on W)"), ("architecture_loss", "architecture (on A)")):
        if table[name].notna().any():
            panels[0].plot(table["epoch"], table[name].astype(float), label=label, **_dots(table))
    panels[1].plot(table["epoch"], table["validation_psnr"].astype(float), **_dots(table))
    panels[2].plot(table["epoch"], table["validation_ssim"].astype(float), **_dots(table))
    panels[3].plot(table["epoch"], counts.sum(axis=1), color=MUTED, ls=":", label="inputs in all")
    panels[3].plot(table["epoch"], table["skip_count"], color=INK, label="skips", **_dots(table))
    panels[4].plot(table["epoch"], table["op_entropy"], label="alpha, per edge", **_dots(table))
    panels[4].plot(table["epoch"], table["width_entropy"], label="beta, per source", **_dots(table))
    uniform = log(len(table["op_weights"].iloc[0][0][0]))
    panels[4].axhline(uniform, color=MUTED, ls=":", lw=1, label="equal alphas")
    panels[5].plot(table["epoch"], table["op_margin"], label="mean", **_dots(table))
    panels[5].plot(table["epoch"], table["op_margin_min"], label="smallest", **_dots(table))
    panels[6].plot(table["epoch"], table["width_margin"], **_dots(table))
    kinds = [name for name in OPERATION_COLOURS if name in counts and counts[name].any()]
    bars = np.zeros(len(table))
    for name in kinds:
        panels[7].bar(table["epoch"], counts[name], 1, bottom=bars, label=name, **_filled(name))
        bars += counts[name].to_numpy()

    titles = (
        ("Loss", "eq. 7"), ("PSNR on V", "dB"), ("SSIM on V", "unitless"), ("Decoded skips", "inputs"),
        ("Entropy", "nats"), ("Operation margin", "probability, first - second"),
        ("Width path margin", "log-probability, first - second"), ("Decoded operations", "inputs"),
    )  # fmt: skip
    chosen = _chosen(table)
    for axes, (name, unit) in zip(panels, titles):
        axes.set(title=name, ylabel=unit)
        _mark_epochs(axes, table, warmup_epochs, validate_from, chosen)
        if axes.get_legend_handles_labels()[0] and axes is not panels[7]:
            axes.legend()
    panels[7].legend(loc="center left", bbox_to_anchor=(1, 0.5), handlelength=1)
    for axes in (panels[3], panels[5], panels[6], panels[7]):
        axes.set_ylim(bottom=0)
    for axes in panels[4:]:
        axes.set_xlabel("epoch")
    for axes, name, digits in ((panels[1], "validation_psnr", 2), (panels[2], "validation_ssim", 4)):
        if chosen is None:
            axes.text(0.5, 0.5, "not scored on V", ha="center", color=MUTED, transform=axes.transAxes)
            axes.set_yticks([])
            continue
        axes.plot(chosen["epoch"], chosen[name], "*", ms=11, color=ACCENT, gid="chosen")
        best = f"{chosen[name]:.{digits}f} at epoch {chosen['epoch']}"
        axes.set_title(f"{axes.get_title(loc='left')}: {best}")
    return figure


@themed
def op_weight_evolution(records, layer: int, edge: int, operations: Sequence[str], title: str | None = None) -> Picture:
    """The alphas of one edge over the epochs. layer: from 1; edge: from 0, in `supercell.edges` order."""
    table = _table(records)
    weights = np.array(table["op_weights"].tolist(), dtype=float)  # epoch layer edge operation
    _, layers, edges, count = weights.shape
    if not (1 <= layer <= layers and 0 <= edge < edges and len(operations) == count):
        raise FigureError(
            f"layer must be in [1, {layers}], edge in [0, {edges}) and operations {count}, "
            f"got {layer}, {edge} and {len(operations)}"
        )
    weights = weights[:, layer - 1, edge]
    figure = Picture(6.5, 3.4, title or f"Layer {layer}: {edge_names(edges)[edge]}")
    axes = figure.add_subplot()
    for index in np.argsort(-weights[-1], kind="stable"):
        name = operations[index]
        style = {"color": OPERATION_COLOURS[name], "ls": ":" if name == "none" else "-"}
        axes.plot(
            table["epoch"],
            weights[:, index],
            label=f"{name} {weights[-1, index]:.3f}",
            **style,
            **_dots(table),
        )
    axes.axhline(1 / count, color=MUTED, ls="--", lw=0.8, label=f"equal {1 / count:.3f}")
    axes.set(xlabel="epoch", ylabel="alpha (probability)")
    axes.xaxis.set_major_locator(whole_epochs())
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), title="last epoch")
    return figure


@themed
def width_weight_evolution(records, title: str | None = None) -> Picture:
    """The betas of every source over the epochs, one panel per layer."""
    table = _table(records)
    layers = [[move_weights(moves) for moves in column] for column in zip(*table["width_weights"])]
    figure = Picture(1.2 + 2.9 * len(layers), 3.1, title)
    panels = figure.subplots(1, len(layers), sharey=True, squeeze=False)[0]
    for number, (axes, epochs) in enumerate(zip(panels, layers), 1):
        for source, target in sorted(epochs[-1]):
            style = {"color": SERIES[source % len(SERIES)], "ls": {-1: ":", 0: "-", 1: "--"}[target - source]}
            label = f"{source if number > 1 else 'stem'} → {target}"
            axes.plot(table["epoch"], [moves[source, target] for moves in epochs], label=label, **style)
        axes.set(title=f"into layer {number}", xlabel="epoch", ylim=(0, 1.02))
        axes.xaxis.set_major_locator(whole_epochs())
        axes.legend(ncols=2, handlelength=2.2, columnspacing=1, title="level")
    panels[0].set_ylabel("beta (probability)")
    return figure


@themed
def op_weight_heatmap(
    op_weights, operations: Sequence[str], genotype: Genotype | None = None, title: str | None = None
) -> Picture:
    """All alphas: edges x operations, one panel per layer; what the genotype decoded from them is framed.

    op_weights: [layer][edge][operation], probabilities. An equal share lies in the middle of the colours or below.
    """
    weights = np.asarray(op_weights, dtype=float)
    names = edge_names(weights.shape[1])
    top = max(weights.max(), 2 / len(operations))
    figure = Picture(1.6 + 3.3 * len(weights), 1.5 + 0.25 * len(names), title)
    panels = figure.subplots(1, len(weights), sharey=True, squeeze=False)[0]
    for layer, (axes, values) in enumerate(zip(panels, weights), 1):
        seaborn.heatmap(
            values, ax=axes, vmin=0, vmax=top, cmap="cividis", annot=values, fmt=".2f",
            annot_kws={"fontsize": 7}, xticklabels=list(operations), yticklabels=names, cbar=False,
        )  # fmt: skip
        axes.tick_params(axis="x", rotation=45, length=0)
        axes.tick_params(axis="y", rotation=0, length=0)
        axes.set_title(f"Layer {layer}")
        for node, inputs in enumerate(genotype.cells[layer - 1] if genotype else ()):
            for operation, source in inputs:
                place = (operations.index(operation), names.index(_edge_name(node, source)))
                axes.add_patch(Rectangle(place, 1, 1, fill=False, ec=ACCENT, lw=2, gid="decoded", clip_on=False))
    return figure


def edge_names(edges: int) -> list[str]:
    """Names of a super-cell's edges by its number of edges, in the order of `supercell.edges`."""
    nodes = next(nodes for nodes in range(1, edges + 1) if nodes * (nodes + 3) // 2 >= edges)
    return [_edge_name(node, source) for node in range(nodes) for source in range(2 + node)]


def _edge_name(node: int, source: int) -> str:
    return f"{source_name(source)} → node {node}"


def source_name(source: int) -> str:
    """What a node's input comes from, in words."""
    return ("layer l-1", "layer l-2")[source] if source < 2 else f"node {source - 2}"


def _table(records) -> pd.DataFrame:
    table = pd.DataFrame(records).reset_index(drop=True)
    if table.empty:
        raise FigureError("records must hold at least one epoch, got none")
    return table


def _chosen(table: pd.DataFrame) -> pd.Series | None:
    """The last epoch that was the best so far."""
    best = table[table["best"].astype(bool) & table["validation_psnr"].notna()]
    return None if best.empty else best.iloc[-1]


def whole_epochs() -> MaxNLocator:
    """Ticks of an axis that counts epochs."""
    return MaxNLocator(nbins=6, integer=True, steps=(1, 2, 5, 10), min_n_ticks=1)


def _filled(operation: str) -> dict:
    """A bar with an edge of its own colour: without it, hairlines show between neighbours."""
    return {"color": OPERATION_COLOURS[operation], "edgecolor": OPERATION_COLOURS[operation], "lw": 0.5}


def _dots(table: pd.DataFrame) -> dict:
    return {"marker": "o", "ms": 3} if len(table) <= 12 else {}


def _mark_epochs(axes, table: pd.DataFrame, warmup_epochs: int, validate_from: int, chosen: pd.Series | None):
    first, last = table["epoch"].min(), table["epoch"].max()
    axes.set_xlim(first - 0.5, last + 0.5)
    axes.xaxis.set_major_locator(whole_epochs())
    if warmup_epochs:
        axes.axvspan(first - 0.5, warmup_epochs + 0.5, color="#EFEFEF", zorder=0, lw=0, gid="warm-up")
    if validate_from:
        axes.axvline(validate_from + 0.5, color=MUTED, ls=":", lw=1)
    if chosen is not None:
        axes.axvline(chosen["epoch"], color=ACCENT, lw=1, alpha=0.6, zorder=1)
