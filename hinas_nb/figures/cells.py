"""Cells as graphs: the decoded genotype (figures 10 and 11) and the super-cell it came from (figure 1).

Drawn in notebooks `02_search_space`, `03_search_denoising` and `13_perturbations`.
"""

from collections.abc import Sequence
from html import escape
from itertools import groupby

import graphviz
from matplotlib.colors import to_rgb

from hinas_nb.figures.dot import Graph
from hinas_nb.figures.style import CHANGED, INK, MUTED, OPERATION_COLOURS, PALE, PAPER
from hinas_nb.method.genotype import OPERATIONS, Genotype, widths

_KINDS = {
    "conv": "convolution",
    "sep": "separable, twice",
    "dil": "dilated by 2",
    "def": "deformable",
    "skip": "identity",
}
_STEM_CHANNELS = 64
_FONT = "Arial"  # graphviz-pure carries its metrics
_LINE = "#666666"
_TABLE = f"BORDER='0' CELLBORDER='1' CELLSPACING='0' CELLPADDING='4' COLOR='{_LINE}'"
_BOX = {
    "shape": "box", "style": "rounded,filled", "fillcolor": "white", "color": _LINE, "width": "1.2", "height": "0.4",
}  # fmt: skip


def genotype_graph(
    genotype: Genotype,
    title: str | None = None,
    base_width: int = 20,
    width_factors: Sequence[float] = (1, 1.5, 2),
    before: Genotype | None = None,
) -> Graph:
    """Draw all cells, one row per layer: operations by colour, channels in numbers, the way of the widths on top.

    base_width: channels of a node at level 0.
    before: the genotype this one was changed from, of as many layers and nodes; every input that it didn't have is red.
    Raises ValueError where there is no `dot`.
    """
    ladder = widths(base_width, tuple(width_factors))
    channels = [ladder[level] for level in genotype.levels]
    changed = _changed_inputs(before, genotype) if before else set()

    graph = _digraph(_header(genotype, channels, title, bool(changed)))
    # Invisible ends pull all inputs to the left and all outputs to the right, and keep the rows in order.
    graph.node("first", style="invis", shape="point")
    graph.node("last", style="invis", shape="point")
    for layer in range(1, len(genotype.cells) + 1):
        with graph.subgraph(name=f"cluster_{layer}") as row:
            _draw_cell(row, layer, genotype, channels, changed)
        for name in ("h1", "h2"):
            graph.edge("first", f"L{layer}{name}", style="invis", weight="100")
        graph.edge(f"L{layer}out", "last", style="invis", weight="100")
    return Graph(graph.source)


def super_cell_graph(nodes: int, operations: Sequence[str], title: str | None = None) -> Graph:
    """Draw every edge of a super-cell with one line per candidate operation (figure 1)."""
    chips = "".join(_chip(name, name) for name in operations)
    graph = _digraph(
        _rows([f"<B>{escape(title or '')}</B>"] * bool(title) + [f"<TABLE BORDER='0'><TR>{chips}</TR></TABLE>"])
    )
    graph.attr(ranksep="1.0", nodesep="0.6")
    graph.node("h1", "layer l-1", **_BOX)
    graph.node("h2", "layer l-2", **_BOX)
    sources = ["h1", "h2"]
    bundle = ":".join(OPERATION_COLOURS[name] for name in operations)
    for node in range(nodes):
        graph.node(f"n{node}", f"<<B>{node}</B>>", **_BOX | {"width": "0.7"})
        for source in sources:
            graph.edge(source, f"n{node}", color=bundle, arrowhead="none", penwidth="1.3")
        sources.append(f"n{node}")
    graph.node("out", "concat", **_BOX)
    for node in sources[2:]:
        graph.edge(node, "out", color=MUTED, penwidth="1")
    return Graph(graph.source)


def _changed_inputs(before: Genotype, after: Genotype) -> set[tuple[int, int, int]]:
    """Return the inputs of `after` that `before` doesn't have: (layer from 1, node from 0, slot 0 or 1)."""
    return {
        (layer, node, slot)
        for layer, (old, new) in enumerate(zip(before.cells, after.cells), 1)
        for node, (had, has) in enumerate(zip(old, new))
        for slot, edge in enumerate(has)
        if edge not in had
    }


def _digraph(label: str) -> graphviz.Digraph:
    return graphviz.Digraph(
        graph_attr={
            "rankdir": "LR", "newrank": "true", "nodesep": "0.14", "ranksep": "0.42", "labelloc": "t",
            "label": label, "fontname": _FONT, "fontsize": "12", "fontcolor": INK, "bgcolor": "white",
        },
        node_attr={"shape": "plain", "fontname": _FONT, "fontsize": "11", "fontcolor": INK},
        edge_attr={"penwidth": "2", "arrowsize": "0.6"},
    )  # fmt: skip


def _draw_cell(row: graphviz.Digraph, layer: int, genotype: Genotype, channels: list[int], changed: set) -> None:
    """Draw one layer: what it takes in on the left, its nodes with their two inputs, what it hands on."""
    cell, width = genotype.cells[layer - 1], channels[layer - 1]
    row.attr(
        label=f"<<B>Layer {layer}</B>   level {genotype.levels[layer - 1]}, {width} channels per node>",
        style="rounded,filled", color=PAPER, fillcolor=PAPER, labeljust="l", fontname=_FONT, margin="13",
    )  # fmt: skip
    for name, source in (("h1", layer - 1), ("h2", layer - 2)):
        # Layers 0 and -1 are the two halves of the stem.
        title, incoming = f"stem {source + 2}", _STEM_CHANNELS
        if source >= 1:
            title, incoming = f"layer {source}", genotype.nodes * channels[source - 1]
        row.node(f"L{layer}{name}", _entry(title, f"1x1: {incoming} → {width}"), **_BOX)
    row.node(f"L{layer}out", _entry("concat", f"{len(cell)} x {width} = {len(cell) * width}"), **_BOX)
    for node, inputs in enumerate(cell):
        name = f"L{layer}n{node}"
        marked = [(layer, node, slot) in changed for slot in (0, 1)]
        first, second = (_chip(op, op, f"PORT='s{slot}'", marked[slot]) for slot, (op, _) in enumerate(inputs))
        number = f"<TD ROWSPAN='2' PORT='o' BGCOLOR='white'><B>{node}</B></TD>"
        row.node(name, f"<<TABLE {_TABLE}><TR>{first}{number}</TR><TR>{second}</TR></TABLE>>")
        for slot, (operation, source) in enumerate(inputs):
            tail = f"L{layer}h{source + 1}:e" if source < 2 else f"L{layer}n{source - 2}:o:e"
            look = {"color": CHANGED, "penwidth": "3.5"} if marked[slot] else {"color": OPERATION_COLOURS[operation]}
            row.edge(tail, f"{name}:s{slot}:w", **look)
        row.edge(f"{name}:o:e", f"L{layer}out:w", color=PALE, penwidth="1")


def _header(genotype: Genotype, channels: list[int], title: str | None, marked: bool) -> str:
    """Return what stands above the rows: title, the way through the network with its widths, and the legend."""
    narrow = [layer for layer, level in enumerate(genotype.levels[:-1], 1) if level == 0]
    way = [f"stem<BR/>{_STEM_CHANNELS}"]
    way += [f"layer {layer}<BR/>{genotype.nodes} x {width}" for layer, width in enumerate(channels, 1)]
    way += [f"head<BR/>with {f'layer {narrow[-1]}' if narrow else 'stem 2'}"]
    step = f"BORDER='1' STYLE='rounded' COLOR='{_LINE}' CELLPADDING='5'"
    chain = "<TD> → </TD>".join(f"<TD {step}>{words}</TD>" for words in way)
    legend = _legend(genotype)
    if marked:
        legend += f"<TD>   changed </TD><TD BORDER='3' COLOR='{CHANGED}'>   </TD>"
    tables = [f"<TABLE BORDER='0' CELLSPACING='1'><TR>{part}</TR></TABLE>" for part in (chain, legend)]
    return _rows([f"<B>{escape(title or '')}</B>"] * bool(title) + tables)


def _legend(genotype: Genotype) -> str:
    """Explain the space's operations and those used from outside it, by kind; the names stand in the cells alone."""
    used = {operation for cell in genotype.cells for node in cell for operation, _ in node}
    shown = [name for name in OPERATION_COLOURS if name in {*OPERATIONS, *used} - {"none"}]
    legend = ""
    for kind, names in groupby(shown, key=lambda name: name.partition("_")[0]):
        sizes = ((name, name.partition("_")[2]) for name in names)
        legend += f"<TD>   {_KINDS.get(kind, kind)} </TD>"
        legend += "".join(_chip(name, f" {size}x{size} " if size else "     ", "BORDER='0'") for name, size in sizes)
    return legend


def _rows(rows: Sequence[str]) -> str:
    """Put pieces of graphviz' HTML below each other, as a label."""
    return f"<<TABLE BORDER='0' CELLSPACING='3'>{''.join(f'<TR><TD>{row}</TD></TR>' for row in rows)}</TABLE>>"


def _entry(name: str, detail: str) -> str:
    return f"<<B>{name}</B><BR/><FONT POINT-SIZE='9'>{detail}</FONT>>"


def _chip(operation: str, text: str, attributes: str = "", red: bool = False) -> str:
    """Return a cell in the operation's colour, its text in white where that is dark."""
    red_part, green, blue = to_rgb(OPERATION_COLOURS[operation])
    ink = "white" if 0.3 * red_part + 0.59 * green + 0.11 * blue < 0.52 else INK
    border = f"BORDER='3' COLOR='{CHANGED}'" if red else "" if "BORDER" in attributes else "BORDER='1'"
    return f"<TD {attributes} {border} BGCOLOR='{OPERATION_COLOURS[operation]}'><FONT COLOR='{ink}'>{text}</FONT></TD>"
