"""Decoding: Viterbi against brute force, ties, the two strongest inputs, margins."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hinas_nb.experiment.config import Space
from hinas_nb.method.decode import best_paths, decide, decode, decode_cell, tables
from hinas_nb.method.genotype import OPERATIONS, edges, random_genotype, width_paths
from hinas_nb.method.supernet import Supernet, ladder, moves


def random_shares(space, seed):
    generator = torch.Generator().manual_seed(seed)
    steps = ladder(space)
    layers = []
    for sources, levels in itertools.pairwise(steps):
        layer = []
        for source in sources:
            ways = [move for move in moves(sources, levels) if move[0] == source]
            shares = torch.softmax(3 * torch.randn(len(ways), generator=generator, dtype=torch.float64), 0)
            layer += [[a, b, float(share)] for (a, b), share in zip(ways, shares)]
        layers.append(layer)
    return layers


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(10))
def test_viterbi_is_brute_force(layers, seed):
    shares = random_shares(Space(layers=layers), seed)
    tables_ = [{(a, b): share for a, b, share in layer} for layer in shares]
    ranked = sorted(
        (-math.prod(table[a, b] for table, a, b in zip(tables_, (0, *path), path)), path)
        for path in width_paths(layers)
    )
    found = best_paths(shares, keep=2)
    assert [path for _, path in found] == [path for _, path in ranked[:2]]
    assert [math.exp(p) for p, _ in found] == pytest.approx([-product for product, _ in ranked[:2]])


@given(st.integers(0, 10_000), st.integers(1, 4))
def test_a_one_hot_cell_decodes_to_itself(seed, nodes):
    cell = random_genotype(1, nodes, torch.Generator().manual_seed(seed)).cells[0]
    weights = [[0.0] * 7 for _ in edges(nodes)]
    for (node, source), row in zip(edges(nodes), weights):
        name = dict((s, n) for n, s in cell[node]).get(source, "none")
        row[OPERATIONS.index(name)] = 1.0
    assert decode_cell(weights, nodes)[0] == cell


@given(st.integers(0, 10_000))
def test_kept_inputs_are_the_strongest_by_their_best_real_operation(seed):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.softmax(torch.randn(14, 7, generator=generator), 1).tolist()
    plan, op_margins, input_margins = decode_cell(weights, 4)
    for node, inputs in enumerate(plan):
        best = {s: max(row[:-1]) for (n, s), row in zip(edges(4), weights) if n == node}
        kept = {source for _, source in inputs}
        dropped = set(best) - kept
        assert all(best[k] >= best[d] for k, d in itertools.product(kept, dropped))
        for name, source in inputs:
            row = weights[edges(4).index((node, source))]
            assert row[OPERATIONS.index(name)] == best[source]
    assert all(margin >= 0 for margin in op_margins + input_margins) and len(input_margins) == 3


def test_ties_go_to_the_lower_source_operation_and_level():
    genotype = decode(Supernet(Space()))  # all logits equal
    assert genotype.levels == (0, 0, 0)
    assert {node for cell in genotype.cells for node in cell} == {(("conv_3", 0), ("conv_3", 1))}


def test_equally_probable_paths_are_told_apart_by_width_not_by_rounding():
    """0.5 * 0.7 * 0.5 = 0.5 * 0.5 * 0.7, but not the sums of their logarithms."""
    first = [(0, 0, 0.5), (0, 1, 0.5)]
    second = [(0, 0, 0.7), (0, 1, 0.3), (1, 0, 0.2), (1, 1, 0.3), (1, 2, 0.5)]
    third = [(0, 0, 0.5), (0, 1, 0.5), (1, 0, 0.3), (1, 1, 0.3), (1, 2, 0.4), (2, 1, 0.7), (2, 2, 0.3)]
    assert [path for _, path in best_paths([first, second, third], keep=3)] == [(0, 0, 0), (0, 0, 1), (1, 2, 1)]


def test_none_weakens_an_input_but_is_never_chosen():
    weights = [[0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.9], [0.0, 0.2, 0.0, 0.0, 0.0, 0.0, 0.8]]
    assert decode_cell(weights, 1)[0] == ((("conv_3", 0), ("sep_3", 1)),)


def test_decide_counts_margins():
    decision = decide(*tables(Supernet(Space(task="sr"))), Space(task="sr"))
    assert len(decision.op_margins) == 2 * 3 * 2 and max(decision.op_margins) == 0
    assert decision.width_margin == pytest.approx(0)


@pytest.mark.parametrize("which", [0, 1])
def test_nothing_is_decoded_from_nan(which):
    net = Supernet(Space(task="sr"))
    list(net.architecture.parameters())[-which].data.fill_(float("nan"))
    with pytest.raises(ValueError, match="alphas and betas must be numbers to be decoded, got NaN"):
        decode(net)
