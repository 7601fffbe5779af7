"""Derived networks as they are wide: one row per network, every layer a bar of its channels (figure 7).

Drawn in notebook `11_ablation_width`.
"""

from collections.abc import Sequence

from matplotlib.patches import Rectangle

from hinas_nb.figures.style import INK, MUTED, SERIES, FigureError, Picture, themed
from hinas_nb.method.genotype import Genotype, widths

ROW, BAR, TALLEST = 0.95, 0.62, 0.8  # a row's height, a layer's breadth, the widest layer's height (layers 1 apart)


@themed
def width_rows(
    networks: Sequence[tuple[str, str, Genotype, int, Sequence[float]]], title: str | None = None
) -> Picture:
    """Rows of layers from stem to head, as tall as a node's channels; equal names in equal colours.

    networks: (name, note on the right, genotype, base width, width factors) each.
    """
    if not networks:
        raise FigureError("networks must hold at least one, got none")
    ladders = [widths(base, tuple(factors)) for _, _, _, base, factors in networks]
    chosen = [[ladder[level] for level in net[2].levels] for ladder, net in zip(ladders, networks)]
    widest, layers = max(map(max, chosen)), max(map(len, chosen))
    names = list(dict.fromkeys(name for name, *_ in networks))
    figure = Picture(3.4 + 1.25 * layers, 0.8 + 0.62 * len(networks), title)
    axes = figure.add_subplot()
    for row, ((name, note, genotype, *_), channels) in enumerate(zip(networks, chosen)):
        colour, middle = SERIES[names.index(name) % len(SERIES)], -row * ROW
        axes.plot([0, layers + 1], [middle, middle], color=MUTED, lw=1, zorder=1)
        for place, text in ((0, "stem"), (layers + 1, "head")):
            axes.text(place, middle, text, ha="center", va="center", zorder=3, bbox=_plain())
        for layer, width in enumerate(channels, 1):
            height = TALLEST * width / widest
            corner = (layer - BAR / 2, middle - height / 2)
            axes.add_patch(Rectangle(corner, BAR, height, color=colour, zorder=2, gid=f"layer {layer} width {width}"))
            text = f"{genotype.nodes} x {width}"
            axes.text(layer, middle, text, ha="center", va="center", zorder=3, fontsize=8, bbox=_plain())
        axes.text(-0.45, middle, name, ha="right", va="center", fontweight="bold", color=INK)
        axes.text(layers + 1.45, middle, note, ha="left", va="center", fontsize=8, color=INK)
    axes.set(xlim=(-0.5, layers + 1.5), ylim=(-(len(networks) - 0.45) * ROW, 0.55 * ROW), yticks=[])
    axes.set_xticks(range(1, layers + 1), [f"layer {layer}" for layer in range(1, layers + 1)])
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _plain() -> dict:
    return {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
