"""The outer search space: widths with their betas and the decoded path (figure 2), cell sharing (figure 3).

Drawn in notebooks `02_search_space`, `03_search_denoising`, `04_search_super_resolution`, `14_cell_sharing`.
"""

from collections.abc import Mapping, Sequence

from matplotlib.patches import FancyBboxPatch

from hinas_nb.figures.style import ACCENT, INK, MUTED, PAPER, SERIES, FigureError, Picture, themed

#: The betas of one layer: {(level before, level): probability}, or rows [level before, level, probability].
Moves = Mapping[tuple[int, int], float] | Sequence[Sequence[float]]

STEM_LEVEL = 0
THICKEST = 9  # points of a move with probability 1
CELL = (0.34, 0.3)  # width and height of a cell; layers and levels are 1 apart


@themed
def width_trellis(
    width_weights: Sequence[Moves], path: Sequence[int], widths: Sequence[int], title: str | None = None
) -> Picture:
    """Cells at layer x width, every move as a line as thick as its beta, the decoded path on top.

    width_weights: one entry per layer; the first layer's moves start at the stem, level 0.
    path: width level per layer. widths: channels of a node at each level.
    Raises FigureError when the path takes a move that has no weight.
    """
    layers = [move_weights(moves) for moves in width_weights]
    if len(path) != len(layers):
        raise FigureError(f"path must hold one level per layer ({len(layers)}), got {tuple(path)}")
    chosen = set(enumerate(zip((STEM_LEVEL, *path), path)))
    for layer, move in sorted(chosen):
        if move not in layers[layer]:
            raise FigureError(f"path must take moves that exist, got {move[0]} to {move[1]} into layer {layer + 1}")

    figure, axes = _board(len(layers), widths, title)
    for layer, moves in enumerate(layers):
        for move, weight in moves.items():
            _move(axes, layer, move, float(weight), (layer, move) in chosen)
    cells = {(layer + 1, level) for layer, moves in enumerate(layers) for _, level in moves}
    on_path = set(enumerate(path, 1))
    _box(axes, 0, STEM_LEVEL, "stem", False)
    for layer, level in sorted(cells):
        _box(axes, layer, level, str(widths[level]), (layer, level) in on_path)
    return figure


@themed
def sharing_diagram(shared: bool, layers: int = 3, level_count: int = 3, title: str | None = None) -> Picture:
    """The cells of the outer space: one per width that takes the sum of what arrives (eq. 5), or one per
    arriving move, summed afterwards (eq. 6)."""
    arriving = _arriving(layers, level_count)
    count = sum(1 if shared else len(sources) for sources in arriving.values())
    levels = [f"level {level}" for level in range(level_count)]
    figure, axes = _board(layers, levels, title or f"{count} cells")
    axes.set_ylabel("")
    _box(axes, 0, STEM_LEVEL, "stem", False)
    edge, plus = CELL[0] / 2, 0.3  # how far from a cell's centre its side is, and the sum beside it
    leaves = {(0, STEM_LEVEL): edge}
    for (layer, level), sources in arriving.items():
        summed = len(sources) > 1
        enters = plus if summed and shared else edge
        leaves[layer, level] = plus if summed and not shared else edge
        for slot, source in enumerate(sources):
            y = level if shared else level + (slot - (len(sources) - 1) / 2) * 0.27
            x = layer - 1 + leaves[layer - 1, source]
            axes.plot([x, layer - enters], [source, y], color=SERIES[source % len(SERIES)], lw=1.5)
            axes.plot([layer - enters, layer], [y, y], color=MUTED, lw=1)
            axes.plot([layer, layer + leaves[layer, level]], [y, level], color=MUTED, lw=1)
            if not shared:
                _box(axes, layer, y, f"{source} → {level}", False, height=0.2, size=7)
        if shared:
            _box(axes, layer, level, "cell", False)
        if summed:
            x = layer - plus if shared else layer + plus
            axes.plot(x, level, "o", ms=10, mfc="white", mec=MUTED, zorder=3, gid="sum")
            axes.text(x, level, "+", ha="center", va="center_baseline", zorder=4)
    return figure


def _arriving(layers: int, level_count: int) -> dict[tuple[int, int], list[int]]:
    """{(layer, level): levels its features come from}, for every cell of the outer space."""
    arriving = {(0, STEM_LEVEL): []}
    for layer in range(1, layers + 1):
        for level in range(level_count):
            sources = [source for source in range(level - 1, level + 2) if (layer - 1, source) in arriving]
            if sources:
                arriving[layer, level] = sources
    del arriving[0, STEM_LEVEL]
    return arriving


def move_weights(moves: Moves) -> dict[tuple[int, int], float]:
    """{(level before, level): probability}, from the supernet's mapping or from a record's rows."""
    if isinstance(moves, Mapping):
        return {(int(a), int(b)): float(weight) for (a, b), weight in moves.items()}
    return {(int(a), int(b)): float(weight) for a, b, weight in moves}


def _board(layers: int, widths: Sequence[int], title: str | None):
    figure = Picture(1.9 + 1.75 * layers, 0.9 + 1.15 * len(widths), title)
    axes = figure.add_subplot()
    axes.set(xlim=(-0.25, layers + 0.4), ylim=(-0.3, len(widths) - 0.7))
    axes.set_xticks(range(layers + 1), ["stem", *(f"layer {layer}" for layer in range(1, layers + 1))])
    axes.set_yticks(range(len(widths)), [str(width) for width in widths])
    axes.set_ylabel("width (channels per node)")
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    return figure, axes


def _move(axes, layer: int, move: tuple[int, int], weight: float, chosen: bool):
    source, target = move
    start, end = (layer + CELL[0] / 2, source), (layer + 1 - CELL[0] / 2, target)
    axes.plot(
        *zip(start, end), lw=max(THICKEST * weight, 0.3), color=ACCENT if chosen else "#BDBDBD",
        zorder=2 if chosen else 1, solid_capstyle="butt", gid=f"move {layer + 1} {source} {target}",
    )  # fmt: skip
    # At a third of the way crossing moves are apart; half-way they would print on each other.
    x, y = (start[0] + (end[0] - start[0]) * 0.3, start[1] + (end[1] - start[1]) * 0.3)
    axes.text(
        x, y, f"{weight:.2f}", ha="center", va="center", fontsize=8, zorder=4,
        color=ACCENT if chosen else INK, fontweight="bold" if chosen else "normal",
        bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.9},
    )  # fmt: skip


def _box(axes, layer: float, level: float, text: str, chosen: bool, height: float = CELL[1], size: int = 9):
    patch = FancyBboxPatch(
        (layer - CELL[0] / 2, level - height / 2), CELL[0], height,
        boxstyle="round,pad=0,rounding_size=0.05", zorder=3, facecolor="white" if chosen else PAPER,
        edgecolor=ACCENT if chosen else MUTED, lw=2 if chosen else 1,
        gid=f"cell {layer} {level:g}{' path' if chosen else ''}",
    )  # fmt: skip
    axes.add_patch(patch)
    weight = "bold" if chosen else "normal"
    axes.text(layer, level, text, ha="center", va="center", zorder=4, fontsize=size, fontweight=weight)
