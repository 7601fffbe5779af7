"""Widths: the outer search space with its betas (figure 2), cell sharing (figure 3), networks as wide as they are (7).

Drawn in notebooks `02_search_space`, `03_search_denoising`, `04_search_super_resolution`, `11_ablation_width` and
`14_cell_sharing`.
"""

from collections.abc import Sequence

from matplotlib.patches import FancyBboxPatch, Rectangle

from hinas_nb.figures.axes import Moves, move_weights, picture_frame
from hinas_nb.figures.style import ACCENT, INK, MUTED, PALE, PAPER, SERIES, Picture, themed
from hinas_nb.method.genotype import Genotype, width_paths, widths

_STEM_LEVEL = 0
_THICKEST = 9  # points of a move with probability 1
_CELL = (0.34, 0.3)  # width and height of a cell; layers and levels are 1 apart
_ROW, _BAR, _TALLEST = 0.95, 0.62, 0.8  # a row's height, a layer's breadth, the widest layer's height (layers 1 apart)


@themed
def width_trellis(
    width_weights: Sequence[Moves], path: Sequence[int], widths: Sequence[int], title: str | None = None
) -> Picture:
    """Draw cells at layer x width, every move as a line as thick as its beta, the decoded path on top.

    width_weights: one entry per layer; the first layer's moves start at the stem, level 0.
    path: width level per layer. widths: channels of a node at each level.
    """
    layers = [move_weights(moves) for moves in width_weights]
    chosen = set(enumerate(zip((_STEM_LEVEL, *path), path)))
    figure, axes = _board(len(layers), widths, title)
    for layer, moves in enumerate(layers):
        for move, weight in moves.items():
            _move(axes, layer, move, float(weight), (layer, move) in chosen)
    cells = {(layer + 1, level) for layer, moves in enumerate(layers) for _, level in moves}
    on_path = set(enumerate(path, 1))
    _box(axes, 0, _STEM_LEVEL, "stem", False)
    for layer, level in sorted(cells):
        _box(axes, layer, level, str(widths[level]), (layer, level) in on_path)
    return figure


@themed
def sharing_diagram(shared: bool, layers: int = 3, level_count: int = 3, title: str | None = None) -> Picture:
    """Draw the cells of the outer space, and say how many they are.

    shared: one cell per width takes the sum of what arrives (eq. 5); else one per arriving move, summed after (eq. 6).
    """
    arriving = _arriving(layers, level_count)
    count = sum(1 if shared else len(sources) for sources in arriving.values())
    levels = [f"level {level}" for level in range(level_count)]
    figure, axes = _board(layers, levels, title or f"{count} cells")
    axes.set_ylabel("")
    _box(axes, 0, _STEM_LEVEL, "stem", False)
    edge, plus = _CELL[0] / 2, 0.3  # how far from a cell's centre its side is, and the sum beside it
    leaves = {(0, _STEM_LEVEL): edge}
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


@themed
def width_rows(
    networks: Sequence[tuple[str, str, Genotype, int, Sequence[float]]], title: str | None = None
) -> Picture:
    """Draw each network as a row of layers from stem to head, as tall as a node's channels; one colour for each name.

    networks: (name, note on the right, genotype, base width, width factors) each.
    """
    ladders = [widths(base, tuple(factors)) for _, _, _, base, factors in networks]
    chosen = [[ladder[level] for level in net[2].levels] for ladder, net in zip(ladders, networks)]
    widest, layers = max(map(max, chosen)), max(map(len, chosen))
    names = list(dict.fromkeys(name for name, *_ in networks))
    behind = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    figure = Picture(3.4 + 1.25 * layers, 0.8 + 0.62 * len(networks), title)
    axes = figure.subplots()
    for row, ((name, note, genotype, *_), channels) in enumerate(zip(networks, chosen)):
        colour, middle = SERIES[names.index(name) % len(SERIES)], -row * _ROW
        axes.plot([0, layers + 1], [middle, middle], color=MUTED, lw=1, zorder=1)
        for place, text in ((0, "stem"), (layers + 1, "head")):
            axes.text(place, middle, text, ha="center", va="center", zorder=3, bbox=behind)
        for layer, width in enumerate(channels, 1):
            height = _TALLEST * width / widest
            corner = (layer - _BAR / 2, middle - height / 2)
            axes.add_patch(Rectangle(corner, _BAR, height, color=colour, zorder=2, gid=f"layer {layer} width {width}"))
            text = f"{genotype.nodes} x {width}"
            axes.text(layer, middle, text, ha="center", va="center", zorder=3, fontsize=8, bbox=behind)
        axes.text(-0.45, middle, name, ha="right", va="center", fontweight="bold", color=INK)
        axes.text(layers + 1.45, middle, note, ha="left", va="center", fontsize=8, color=INK)
    axes.set(xlim=(-0.5, layers + 1.5), ylim=(-(len(networks) - 0.45) * _ROW, 0.55 * _ROW))
    picture_frame(axes)
    axes.set_xticks(range(1, layers + 1), [f"layer {layer}" for layer in range(1, layers + 1)])
    axes.tick_params(length=0)
    return figure


def _arriving(layers: int, level_count: int) -> dict[tuple[int, int], list[int]]:
    """Return {(layer, level): levels its features come from} for every cell of the outer space."""
    arriving = {}
    for path in width_paths(layers, level_count):
        for layer, (source, level) in enumerate(zip((_STEM_LEVEL, *path), path), 1):
            arriving.setdefault((layer, level), set()).add(source)
    return {cell: sorted(sources) for cell, sources in sorted(arriving.items())}


def _board(layers: int, widths: Sequence[int], title: str | None):
    figure = Picture(1.9 + 1.75 * layers, 0.9 + 1.15 * len(widths), title)
    axes = figure.subplots()
    axes.set(xlim=(-0.25, layers + 0.4), ylim=(-0.3, len(widths) - 0.7), ylabel="width (channels per node)")
    picture_frame(axes)
    axes.set_xticks(range(layers + 1), ["stem", *(f"layer {layer}" for layer in range(1, layers + 1))])
    axes.set_yticks(range(len(widths)), widths)
    axes.tick_params(length=0)
    return figure, axes


def _move(axes, layer: int, move: tuple[int, int], weight: float, chosen: bool):
    source, target = move
    start, end = (layer + _CELL[0] / 2, source), (layer + 1 - _CELL[0] / 2, target)
    axes.plot(
        *zip(start, end), lw=max(_THICKEST * weight, 0.3), color=ACCENT if chosen else PALE,
        zorder=2 if chosen else 1, solid_capstyle="butt", gid=f"move {layer + 1} {source} {target}",
    )  # fmt: skip
    # At a third of the way crossing moves are apart; half-way they would print on each other.
    x, y = (start[0] + (end[0] - start[0]) * 0.3, start[1] + (end[1] - start[1]) * 0.3)
    axes.text(
        x, y, f"{weight:.2f}", ha="center", va="center", fontsize=8, zorder=4,
        color=ACCENT if chosen else INK, fontweight="bold" if chosen else "normal",
        bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.9},
    )  # fmt: skip


def _box(axes, layer: float, level: float, text: str, chosen: bool, height: float = _CELL[1], size: int = 9):
    patch = FancyBboxPatch(
        (layer - _CELL[0] / 2, level - height / 2), _CELL[0], height,
        boxstyle="round,pad=0,rounding_size=0.05", zorder=3, facecolor="white" if chosen else PAPER,
        edgecolor=ACCENT if chosen else MUTED, lw=2 if chosen else 1,
        gid=f"cell {layer} {level:g}{' path' if chosen else ''}",
    )  # fmt: skip
    axes.add_patch(patch)
    weight = "bold" if chosen else "normal"
    axes.text(layer, level, text, ha="center", va="center", zorder=4, fontsize=size, fontweight=weight)
