"""The space and its points: the candidate operations, the edges of a cell, and a decoded architecture as a literal.

Sections 3.1 and 3.2 of the paper; notebook `02_search_space` draws the space, `03_search_denoising` what is found.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

#: The seven candidate operations of section 3.1, in the order that breaks ties.
OPERATIONS = ("conv_3", "sep_3", "sep_5", "dil_3", "dil_5", "skip", "none")
#: What a space may offer instead: the deformable `def_3` of the older HiNAS (CVPR 2020) as well.
CANDIDATES = (*OPERATIONS[:-2], "def_3", *OPERATIONS[-2:])
#: Operations a decoded node can hold. `conv_5` lies outside every space: only R1 may offer it.
_DECODED_OPERATIONS = (*CANDIDATES[:-1], "conv_5")
INPUTS_PER_NODE = 2
SLOPE = 0.2  # of every LeakyReLU
#: Departs: offsets of `def_3` are cut here (pixels). Without a bound the receptive field has none either, and an image
#: too large for memory could not be restored in tiles.
MAX_OFFSET = 8

_Edge: TypeAlias = tuple[str, int]
_Node: TypeAlias = tuple[_Edge, _Edge]
CellPlan: TypeAlias = tuple[_Node, ...]


@dataclass(frozen=True)
class Kind:
    """The geometry of a convolutional operation."""

    kernel: int
    dilation: int = 1
    separable: bool = False  # depthwise + 1x1, all of it twice
    deformable: bool = False

    @property
    def padding(self) -> int:
        return self.dilation * (self.kernel - 1) // 2

    @property
    def radius(self) -> int:
        """Return how many pixels the operation sees beyond its own, on each side."""
        return self.padding * (2 if self.separable else 1) + (MAX_OFFSET if self.deformable else 0)


KINDS = {
    "conv_3": Kind(3),
    "sep_3": Kind(3, separable=True),
    "sep_5": Kind(5, separable=True),
    "dil_3": Kind(3, dilation=2),
    "dil_5": Kind(5, dilation=2),
    "def_3": Kind(3, deformable=True),  # outside the published space; the CVPR 2020 one has it
    "conv_5": Kind(5),  # outside the space; only R1 offers it
}


def edges(nodes: int) -> list[tuple[int, int]]:
    """Return (node, source) of every edge of a cell, in the order of the rows of alpha; 14 edges for 4 nodes."""
    return [(node, source) for node in range(nodes) for source in range(2 + node)]


@dataclass(frozen=True)
class Genotype:
    """An architecture: the width level and the cell of every layer.

    levels: one width level per layer, 0-based; neighbours differ by at most 1 and the first is 0 or 1.
    cells: `[layer][node] = ((operation, source), (operation, source))`; source 0 is h_{l-1}, 1 is
        h_{l-2}, 2 + i is node i of the same cell. Sources ascend, so equal networks are equal genotypes.
    """

    levels: tuple[int, ...]
    cells: tuple[CellPlan, ...]

    def __post_init__(self):
        object.__setattr__(self, "levels", _checked_levels(self.levels))
        if not isinstance(self.cells, (list, tuple)) or len(self.cells) != len(self.levels):
            raise ValueError(f"cells must hold one cell per level ({len(self.levels)}), got {_count(self.cells)}")
        cells = tuple(_checked_cell(cell, layer) for layer, cell in enumerate(self.cells, 1))
        if len({len(cell) for cell in cells}) > 1:
            raise ValueError(f"cells must have equal node counts, got {[len(cell) for cell in cells]}")
        object.__setattr__(self, "cells", cells)

    @property
    def nodes(self) -> int:
        """Return the number of nodes per cell."""
        return len(self.cells[0])

    def to_json(self, task: str | None = None) -> str:
        """Return the genotype as JSON text; `task` adds an entry that `from_json` checks."""
        content = {"version": 1, "levels": self.levels, "cells": self.cells}
        return json.dumps(content | ({"task": task} if task else {}))

    @classmethod
    def from_json(cls, text: str, task: str | None = None) -> "Genotype":
        """Read what `to_json` wrote; one that was searched for another task is refused. Raises ValueError."""
        try:
            content = json.loads(text, object_pairs_hook=_entries)
        except (ValueError, TypeError, RecursionError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"genotype must be JSON, got {str(text)[:40]!r} ({reason})") from None
        if not isinstance(content, dict) or not {"version", "levels", "cells"} <= set(content):
            raise ValueError(f"genotype must have version, levels and cells, got {str(content)[:60]}")
        unknown = set(content) - {"version", "levels", "cells", "task"}
        if unknown:
            raise ValueError(f"genotype has version, levels, cells and task only, got {sorted(unknown)}")
        if type(content["version"]) is not int or content["version"] != 1:
            raise ValueError(f"genotype version must be 1, got {content['version']!r}")
        if "task" in content and content["task"] not in ((task,) if task else ("denoise", "sr")):
            raise ValueError(f"genotype must be of task {task or 'denoise or sr'}, got {content['task']!r:.60}")
        return cls(content["levels"], content["cells"])


def random_genotype(
    layers: int, nodes: int, generator: torch.Generator, operations=OPERATIONS[:-1], level_count: int = 3
) -> Genotype:
    """Draw uniformly two different inputs with an operation each per node, and one reachable width path."""

    def integer(high: int) -> int:
        return int(torch.randint(high, (), generator=generator))

    cells = tuple(
        tuple(
            tuple(
                (operations[integer(len(operations))], source)
                for source in sorted(torch.randperm(2 + node, generator=generator)[:INPUTS_PER_NODE].tolist())
            )
            for node in range(nodes)
        )
        for _ in range(layers)
    )
    paths = width_paths(layers, level_count)
    return Genotype(paths[integer(len(paths))], cells)


def random_in(space, generator: torch.Generator) -> Genotype:
    """Draw uniformly from a `config.Space`, whose layers may share a cell and whose levels may be fixed."""
    operations = tuple(name for name in space.operations if name != "none")
    drawn = random_genotype(space.layers, space.nodes, generator, operations, len(space.width_factors))
    cells = drawn.cells if space.layerwise else drawn.cells[:1] * space.layers
    return Genotype(space.levels or drawn.levels, cells)


def perturb(genotype: Genotype, kind: str, changes: int, generator: torch.Generator) -> Genotype:
    """Apply R1 or R2 of section 4.2.4: `changes` per cell, drawn at random (all there are, if a cell has fewer).

    R1 gives an edge another convolution, `conv_5` included; skips stay. R2 gives an edge another source.
    Raises ValueError for another kind.
    """
    if kind not in ("R1", "R2"):
        raise ValueError(f"kind must be R1 or R2, got {kind!r}")
    choices = _other_convolutions if kind == "R1" else _other_sources
    cells = []
    for cell in genotype.cells:
        order = [(node, slot) for node in range(len(cell)) for slot in range(INPUTS_PER_NODE)]
        shuffled = [order[index] for index in torch.randperm(len(order), generator=generator)]
        possible = [place for place in shuffled if choices(cell, *place)]
        for node, slot in possible[:changes]:
            options = choices(cell, node, slot)
            if options:  # a change of the other input may have taken the last one
                edge = options[int(torch.randint(len(options), (), generator=generator))]
                inputs = list(cell[node])
                inputs[slot] = edge
                cell = (*cell[:node], tuple(inputs), *cell[node + 1 :])
        cells.append(cell)
    return Genotype(genotype.levels, tuple(cells))


def nearest_perturbation(
    genotype: Genotype,
    kind: str,
    changes: int,
    generator: torch.Generator,
    draws: int,
    size: Callable[[Genotype], float],
) -> Genotype:
    """Draw so many perturbations and return the first of those whose `size` is nearest the genotype's.

    R1 exchanges operations of different weight, so a plain draw confounds what is changed with how large it is.
    """
    found = [perturb(genotype, kind, changes, generator) for _ in range(draws)]
    wanted = size(genotype)
    return min(found, key=lambda one: abs(size(one) - wanted))


def _other_convolutions(cell: CellPlan, node: int, slot: int) -> list[_Edge]:
    name, source = cell[node][slot]
    if name == "skip":
        return []
    return [(other, source) for other in (*OPERATIONS[:-2], "conv_5") if other != name]


def _other_sources(cell: CellPlan, node: int, slot: int) -> list[_Edge]:
    taken = {source for _, source in cell[node]}
    return [(cell[node][slot][0], source) for source in range(2 + node) if source not in taken]


def widths(base_width: int, factors: tuple[float, ...]) -> tuple[int, ...]:
    """Return the channels of a node at each width level, rounded half up. Raises ValueError."""
    if not all(math.isfinite(base_width * factor) for factor in factors):
        raise ValueError(f"width_factors must be numbers that give a width, got {list(factors)}")
    return tuple(int(base_width * factor + 0.5) for factor in factors)


def width_paths(layers: int, level_count: int = 3) -> list[tuple[int, ...]]:
    """Return every width path of the outer space: from the stem (level 0) by at most one level a layer."""
    paths = [()]
    for _ in range(layers):
        paths = [
            (*path, level)
            for path in paths
            for level in range(level_count)
            if abs(level - (path[-1] if path else 0)) <= 1
        ]
    return paths


def _checked_levels(levels) -> tuple[int, ...]:
    if not isinstance(levels, (list, tuple)) or not levels:
        raise ValueError(f"levels must be a list with one level per layer, got {levels!r}")
    previous = 0
    for layer, level in enumerate(levels, 1):
        if not isinstance(level, int) or isinstance(level, bool) or level < 0 or abs(level - previous) > 1:
            raise ValueError(
                f"level of layer {layer} must be within 1 of the one before ({previous}) and >= 0, got {level!r}"
            )
        previous = level
    return tuple(levels)


def _checked_cell(cell, layer: int) -> CellPlan:
    if not isinstance(cell, (list, tuple)) or not cell:
        raise ValueError(f"cell of layer {layer} must be a list of nodes, got {cell!r}")
    return tuple(_checked_node(node, layer, index) for index, node in enumerate(cell))


def _checked_node(node, layer: int, index: int) -> _Node:
    place = f"layer {layer}, node {index}"
    if not isinstance(node, (list, tuple)) or len(node) != INPUTS_PER_NODE:
        raise ValueError(f"{place} must hold {INPUTS_PER_NODE} inputs, got {_count(node)}")
    for edge in node:
        if not isinstance(edge, (list, tuple)) or len(edge) != 2:
            raise ValueError(f"{place}: an input must be [operation, source], got {edge!r}")
        operation, source = edge
        if operation not in _DECODED_OPERATIONS:
            raise ValueError(f"{place}: operation must be one of {' '.join(_DECODED_OPERATIONS)}, got {operation!r}")
        if not isinstance(source, int) or isinstance(source, bool) or not 0 <= source < 2 + index:
            raise ValueError(f"{place}: source must be in [0, {2 + index}), got {source!r}")
    (first, a), (second, b) = node
    if a == b:
        raise ValueError(f"{place}: the two sources must differ, got {a} twice")
    return ((first, a), (second, b)) if a < b else ((second, b), (first, a))


def _count(value) -> str:
    return str(len(value)) if isinstance(value, (list, tuple)) else f"{value!r:.60}"


def _entries(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the entries of a JSON object. Raises ValueError where one stands there twice."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"an entry twice: {' '.join(name for name, _ in pairs)}"[:60])
    return dict(pairs)
