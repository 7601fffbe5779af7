"""Decode softmaxed logits to a genotype: strongest inputs per node, most probable width path (sections 3.1, 3.2).

How narrow a decision was is part of the result: `decide` returns its margins, shown in `03_search_denoising`.
"""

import math
from dataclasses import dataclass

from hinas_nb.method.genotype import INPUTS_PER_NODE, OPERATIONS, CellPlan, Genotype, edges


@dataclass(frozen=True)
class Decision:
    """Holds a decoded genotype and how far it was from another one."""

    genotype: Genotype
    op_margins: tuple[float, ...]  # per decoded edge, the weight of its operation minus that of the next (not `none`)
    input_margins: tuple[float, ...]  # per node, best weight of the weaker kept input minus the strongest dropped one's
    width_margin: float  # log-probability of the best path minus that of the second best (inf with one path only)


def decode(supernet) -> Genotype:
    """Return the genotype of a supernet's present alphas and betas."""
    return decide(*tables(supernet), supernet.space).genotype


def tables(supernet) -> tuple[list, list]:
    """Return alphas `[layer][edge][operation]` and betas `[layer][[from, to, share], ...]` as plain numbers."""
    widths = [[[a, b, float(share.detach())] for (a, b), share in layer.items()] for layer in supernet.width_weights()]
    return supernet.op_weights().detach().tolist(), widths


def decide(op_weights: list, width_weights: list, space) -> Decision:
    """Decode plain tables. Ties go to the lower source, then the lower operation, then the lower level.

    Raises ValueError for NaN.
    """
    alphas = (weight for layer in op_weights for row in layer for weight in row)
    if any(map(math.isnan, (*alphas, *(share for layer in width_weights for *_, share in layer)))):
        raise ValueError("alphas and betas must be numbers to be decoded, got NaN: the search has diverged")
    cells, op_margins, input_margins = [], [], []
    for layer in op_weights:
        plan, narrow, inputs = decode_cell(layer, space.nodes, space.operations)
        cells.append(plan)
        op_margins += narrow
        input_margins += inputs
    paths = best_paths(width_weights)
    margin = paths[0][0] - paths[1][0] if len(paths) > 1 else math.inf
    return Decision(Genotype(paths[0][1], tuple(cells)), tuple(op_margins), tuple(input_margins), margin)


def decode_cell(
    weights: list[list[float]], nodes: int, operations: tuple[str, ...] = OPERATIONS
) -> tuple[CellPlan, list[float], list[float]]:
    """Keep per node the two inputs whose best operation is largest, each with that operation; with the margins."""
    real = [column for column, name in enumerate(operations) if name != "none"]
    plan, op_margins, input_margins = [], [], []
    rows = edges(nodes)
    for node in range(nodes):
        ranked = []  # (best weight, source, operation, margin to the next operation)
        for row, (target, source) in zip(weights, rows):
            if target == node:
                order = sorted(real, key=lambda column: (-row[column], column))
                second = row[order[1]] if len(order) > 1 else 0.0
                ranked.append((row[order[0]], source, operations[order[0]], row[order[0]] - second))
        ranked.sort(key=lambda entry: (-entry[0], entry[1]))
        kept = sorted(ranked[:INPUTS_PER_NODE], key=lambda entry: entry[1])
        plan.append(tuple((name, source) for _, source, name, _ in kept))
        op_margins += [margin for *_, margin in kept]
        if len(ranked) > INPUTS_PER_NODE:
            input_margins.append(ranked[INPUTS_PER_NODE - 1][0] - ranked[INPUTS_PER_NODE][0])
    return tuple(plan), op_margins, input_margins


def best_paths(width_weights: list, keep: int = 2) -> list[tuple[float, tuple[int, ...]]]:
    """Return the `keep` most probable paths as (log-probability, levels), by Viterbi over the betas.

    Of equally probable ones the narrower stands first.
    """
    best = {0: [(0.0, ())]}  # level -> its best ways, best first
    for layer in width_weights:
        arriving: dict[int, list] = {}
        for source, level, share in layer:
            log = math.log(share) if share > 0 else -math.inf
            arriving.setdefault(level, []).extend((p + log, (*path, level)) for p, path in best.get(source, ()))
        best = {level: _first(ways, keep) for level, ways in arriving.items()}
    return _first([way for ways in best.values() for way in ways], keep)


def _first(ways: list, keep: int) -> list:
    return sorted(ways, key=lambda way: (-round(way[0], 12), way[1]))[:keep]  # sums of logarithms round
