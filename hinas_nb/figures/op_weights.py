"""Alphas and betas of a search: over its epochs, and all alphas of one epoch with what was decoded from them.

Drawn in notebooks `03_search_denoising` and `04_search_super_resolution` from the records of a search.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib.patches import Rectangle

from hinas_nb.figures.axes import edge_names, move_weights, source_name
from hinas_nb.figures.style import ACCENT, MUTED, OPERATION_COLOURS, SERIES, Picture, themed
from hinas_nb.method.genotype import Genotype


@themed
def op_weight_evolution(records, layer: int, edge: int, operations: Sequence[str], title: str | None = None) -> Picture:
    """Draw the alphas of one edge over the epochs. layer: from 1; edge: from 0, in `supercell.edges` order."""
    table = pd.DataFrame(records)
    weights = np.array(table["op_weights"].tolist(), dtype=float)  # epoch layer edge operation
    _, _, edges, count = weights.shape
    weights = weights[:, layer - 1, edge]
    figure = Picture(6.5, 3.4, title or f"Layer {layer}: {edge_names(edges)[edge]}")
    axes = figure.subplots()
    for index in np.argsort(-weights[-1], kind="stable"):
        name = operations[index]
        look = {"color": OPERATION_COLOURS[name], "ls": ":" if name == "none" else "-"}
        axes.plot(table["epoch"], weights[:, index], label=f"{name} {weights[-1, index]:.3f}", **look)
    axes.axhline(1 / count, color=MUTED, ls="--", lw=0.8, label=f"equal {1 / count:.3f}")
    axes.set(xlabel="epoch", ylabel="alpha (probability)")
    axes.locator_params(axis="x", nbins=6, integer=True, min_n_ticks=1)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), title="last epoch")
    return figure


@themed
def width_weight_evolution(records, title: str | None = None) -> Picture:
    """Draw the betas of every source over the epochs, one panel per layer."""
    table = pd.DataFrame(records)
    layers = [[move_weights(moves) for moves in column] for column in zip(*table["width_weights"])]
    figure = Picture(1.2 + 2.9 * len(layers), 3.1, title)
    panels = figure.subplots(1, len(layers), sharey=True, squeeze=False)[0]
    for number, (axes, epochs) in enumerate(zip(panels, layers), 1):
        for source, target in sorted(epochs[-1]):
            look = {"color": SERIES[source % len(SERIES)], "ls": {-1: ":", 0: "-", 1: "--"}[target - source]}
            label = f"{source if number > 1 else 'stem'} → {target}"
            axes.plot(table["epoch"], [moves[source, target] for moves in epochs], label=label, **look)
        axes.set(title=f"into layer {number}", xlabel="epoch", ylim=(0, 1.02))
        axes.locator_params(axis="x", nbins=6, integer=True, min_n_ticks=1)
        axes.legend(ncols=2, handlelength=2.2, columnspacing=1, title="level")
    panels[0].set_ylabel("beta (probability)")
    return figure


@themed
def op_weight_heatmap(op_weights, operations: Sequence[str], genotype: Genotype, title: str | None = None) -> Picture:
    """Draw all alphas: edges x operations, one panel per layer; what the genotype decoded from them is framed.

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
        for node, inputs in enumerate(genotype.cells[layer - 1]):
            for operation, source in inputs:
                place = (operations.index(operation), names.index(f"{source_name(source)} → node {node}"))
                axes.add_patch(Rectangle(place, 1, 1, fill=False, ec=ACCENT, lw=2, gid="decoded", clip_on=False))
    return figure
