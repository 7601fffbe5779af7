"""Cells as graphs: the decoded genotype (figures 10 and 11) and the super-cell it came from (figure 1).

Drawn in notebooks `02_search_space`, `03_search_denoising` and `13_perturbations`.
"""

from collections.abc import Collection, Sequence
from html import escape

import graphviz
from matplotlib.colors import to_rgb

from hinas_nb.figures.dot import Graph
from hinas_nb.figures.style import CHANGED, INK, MUTED, OPERATION_COLOURS, PAPER, FigureError
from hinas_nb.method.genotype import OPERATIONS, Genotype, widths

#: (layer from 1, node from 0, slot 0 or 1): one input of one node.
Place = tuple[int, int, int]

KINDS = {
    "conv": "convolution",
    "sep": "separable, twice",
    "dil": "dilated by 2",
    "def": "deformable",
    "skip": "identity",
}
STEM_CHANNELS = 64
FONT = "Arial"  # graphviz-pure carries its metrics
BOX = "BORDER='0' CELLBORDER='1' CELLSPACING='0' CELLPADDING='4' COLOR='#666666'"


def genotype_graph(
    genotype: Genotype,
    title: str | None = None,
    changed: Collection[Place] = (),
    base_width: int = 20,
    width_factors: Sequence[float] = (1, 1.5, 2),
    before: Genotype | None = None,
) -> Graph:
    """All cells, one row per layer: operations by colour, channels in numbers, the way of the widths on top.

    changed: places to mark red; layers count from 1, nodes and slots from 0.
    before: the genotype this one was changed from; every input that it didn't have is marked too.
    base_width: channels of a node at level 0.
    Raises FigureError (a place outside the genotype, levels beyond the factors, no `dot`).
    """
    if max(genotype.levels) >= len(width_factors):
        raise FigureError(f"levels must be below {len(width_factors)} (one per width factor), got {genotype.levels}")
    ladder = widths(base_width, tuple(width_factors))
    channels = [ladder[level] for level in genotype.levels]
    changed = set(changed) | (changed_edges(before, genotype) if before else set())
    _check_places(changed, genotype)

    graph = _digraph(_header(genotype, channels, title, bool(changed)))
    # Invisible ends pull all inputs to the left and all outputs to the right, and keep the rows in order.
    graph.node("first", style="invis", shape="point")
    graph.node("last", style="invis", shape="point")
    for layer, cell in enumerate(genotype.cells, 1):
        with graph.subgraph(name=f"cluster_{layer}") as row:
            _cell(row, layer, cell, genotype, channels, {place[1:] for place in changed if place[0] == layer})
        for name in ("h1", "h2"):
            graph.edge("first", f"L{layer}{name}", style="invis", weight="100")
        graph.edge(f"L{layer}out", "last", style="invis", weight="100")
    return Graph(graph.source)


def changed_edges(before: Genotype, after: Genotype) -> set[Place]:
    """The inputs of `after` that `before` doesn't have, as places that `genotype_graph` marks."""
    if [len(cell) for cell in before.cells] != [len(cell) for cell in after.cells]:
        raise FigureError(
            f"before must have the layers and nodes of the genotype ({len(after.cells)} x {after.nodes}), "
            f"got {len(before.cells)} x {before.nodes}"
        )
    return {
        (layer, node, slot)
        for layer, (old, new) in enumerate(zip(before.cells, after.cells), 1)
        for node, (had, has) in enumerate(zip(old, new))
        for slot, edge in enumerate(has)
        if edge not in had
    }


def super_cell_graph(nodes: int, operations: Sequence[str], title: str | None = None) -> Graph:
    """Every edge of a super-cell with one line per candidate operation (figure 1)."""
    rows = f"<TR><TD COLSPAN='{len(operations)}'><B>{escape(title)}</B></TD></TR>" if title else ""
    chips = "".join(_chip(name) for name in operations)
    graph = _digraph(f"<<TABLE BORDER='0' CELLSPACING='4'>{rows}<TR>{chips}</TR></TABLE>>")
    graph.attr(ranksep="1.0", nodesep="0.6")
    for name, text in (("h1", "layer l-1"), ("h2", "layer l-2")):
        graph.node(name, text, **_box())
    sources = ["h1", "h2"]
    bundle = ":".join(OPERATION_COLOURS[name] for name in operations)
    for node in range(nodes):
        graph.node(f"n{node}", f"<<B>{node}</B>>", **_box(width=0.7))
        for source in sources:
            graph.edge(source, f"n{node}", color=bundle, arrowhead="none", penwidth="1.3")
        sources.append(f"n{node}")
    graph.node("out", "concat", **_box())
    for node in sources[2:]:
        graph.edge(node, "out", color=MUTED, penwidth="1")
    return Graph(graph.source)


def _digraph(label: str) -> graphviz.Digraph:
    return graphviz.Digraph(
        graph_attr={
            "rankdir": "LR", "newrank": "true", "nodesep": "0.14", "ranksep": "0.42", "labelloc": "t",
            "label": label, "fontname": FONT, "fontsize": "12", "fontcolor": INK, "bgcolor": "white",
        },
        node_attr={"shape": "plain", "fontname": FONT, "fontsize": "11", "fontcolor": INK},
        edge_attr={"penwidth": "2", "arrowsize": "0.6"},
    )  # fmt: skip


def _cell(row, layer: int, cell, genotype: Genotype, channels: list[int], changed: set):
    width = channels[layer - 1]
    row.attr(
        label=f"<<B>Layer {layer}</B>   level {genotype.levels[layer - 1]}, {width} channels per node>",
        style="rounded,filled", color=PAPER, fillcolor=PAPER, labeljust="l", fontname=FONT, margin="13",
    )  # fmt: skip
    for name, back in (("h1", 1), ("h2", 2)):
        source, incoming = _output(layer - back, genotype, channels)
        row.node(f"L{layer}{name}", _entry(source, f"1x1: {incoming} → {width}"), **_box())
    row.node(f"L{layer}out", _entry("concat", f"{len(cell)} x {width} = {len(cell) * width}"), **_box())
    for node, inputs in enumerate(cell):
        name = f"L{layer}n{node}"
        ports = [_chip(op, f"PORT='s{slot}'", (node, slot) in changed) for slot, (op, _) in enumerate(inputs)]
        number = f"<TD ROWSPAN='2' PORT='o' BGCOLOR='white'><B>{node}</B></TD>"
        row.node(name, f"<<TABLE {BOX}><TR>{ports[0]}{number}</TR><TR>{ports[1]}</TR></TABLE>>")
        for slot, (operation, source) in enumerate(inputs):
            tail = f"L{layer}h{source + 1}:e" if source < 2 else f"L{layer}n{source - 2}:o:e"
            red = {"color": CHANGED, "penwidth": "3.5"} if (node, slot) in changed else {}
            row.edge(tail, f"{name}:s{slot}:w", **({"color": OPERATION_COLOURS[operation]} | red))
        row.edge(f"{name}:o:e", f"L{layer}out:w", color="#BBBBBB", penwidth="1")


def _output(layer: int, genotype: Genotype, channels: list[int]) -> tuple[str, int]:
    """Name and channels of what a layer hands on; layers 0 and -1 are the two halves of the stem."""
    if layer < 1:
        return f"stem {layer + 2}", STEM_CHANNELS
    return f"layer {layer}", genotype.nodes * channels[layer - 1]


def _header(genotype: Genotype, channels: list[int], title: str | None, marked: bool) -> str:
    """Title, the way through the network with its widths, and the legend, as the label above the rows."""
    narrow = [layer for layer, level in enumerate(genotype.levels[:-1], 1) if level == 0]
    low = f"layer {narrow[-1]}" if narrow else "stem 2"
    way = [f"stem<BR/>{STEM_CHANNELS}"]
    way += [f"layer {layer}<BR/>{genotype.nodes} x {width}" for layer, width in enumerate(channels, 1)]
    way += [f"head<BR/>with {low}"]
    chain = "<TD> → </TD>".join(
        f"<TD BORDER='1' STYLE='rounded' COLOR='#666666' CELLPADDING='5'>{step}</TD>" for step in way
    )
    legend = _legend(genotype)
    if marked:
        legend += f"<TD>   changed </TD><TD BORDER='3' COLOR='{CHANGED}'>   </TD>"
    rows = [f"<B>{escape(title)}</B>"] if title else []
    rows += [f"<TABLE BORDER='0' CELLSPACING='1'><TR>{part}</TR></TABLE>" for part in (chain, legend)]
    return f"<<TABLE BORDER='0' CELLSPACING='3'>{''.join(f'<TR><TD>{row}</TD></TR>' for row in rows)}</TABLE>>"


def _legend(genotype: Genotype) -> str:
    """The space's operations and those used from outside it, by kind; the names stand in the cells alone."""
    used = {operation for cell in genotype.cells for node in cell for operation, _ in node}
    parts, last = [], None
    for name in OPERATION_COLOURS:
        kind, _, size = name.partition("_")
        if name == "none" or name not in {*OPERATIONS, *used}:
            continue
        words = f"<TD>   {KINDS.get(kind, kind)} </TD>" if kind != last else ""
        parts.append(words + _swatch(name, f"{size}x{size}" if size else "   "))
        last = kind
    return "".join(parts)


def _entry(name: str, detail: str) -> str:
    return f"<<B>{name}</B><BR/><FONT POINT-SIZE='9'>{detail}</FONT>>"


def _chip(operation: str, attributes: str = "", red: bool = False) -> str:
    border = f"BORDER='3' COLOR='{CHANGED}'" if red else "BORDER='1'"
    colour = OPERATION_COLOURS[operation]
    return f"<TD {attributes} {border} BGCOLOR='{colour}'>{_ink(operation, operation)}</TD>"


def _swatch(operation: str, text: str) -> str:
    return f"<TD BGCOLOR='{OPERATION_COLOURS[operation]}'> {_ink(operation, text)} </TD>"


def _ink(operation: str, text: str) -> str:
    red, green, blue = to_rgb(OPERATION_COLOURS[operation])
    dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.52
    return f"<FONT COLOR='{'white' if dark else INK}'>{text}</FONT>"


def _box(width: float = 1.2) -> dict[str, str]:
    look = {"shape": "box", "style": "rounded,filled", "fillcolor": "white", "color": "#666666"}
    return look | {"width": str(width), "height": "0.4"}  # inches


def _check_places(changed: set[Place], genotype: Genotype):
    for place in sorted(changed):
        layer, node, slot = place
        if not (1 <= layer <= len(genotype.cells) and 0 <= node < genotype.nodes and slot in (0, 1)):
            raise FigureError(
                f"changed must hold (layer from 1 to {len(genotype.cells)}, node below {genotype.nodes}, "
                f"slot 0 or 1), got {place}"
            )
