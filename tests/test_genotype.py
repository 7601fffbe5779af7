"""Genotypes: JSON round trip, refusals, random draws."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hinas_nb.method.genotype import (
    _DECODED_OPERATIONS,
    Genotype,
    nearest_perturbation,
    perturb,
    random_genotype,
    width_paths,
)

PLAN = [[["conv_3", 0], ["sep_3", 1]], [["skip", 0], ["dil_5", 2]]]


def as_json(**changes):
    return json.dumps({"version": 1, "levels": [0, 1], "cells": [PLAN, PLAN]} | changes)


@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 5))
def test_json_round_trip(seed, layers, nodes):
    genotype = random_genotype(layers, nodes, torch.Generator().manual_seed(seed))
    assert Genotype.from_json(genotype.to_json()) == genotype
    assert Genotype.from_json(genotype.to_json("sr"), "sr") == genotype
    assert hash(Genotype.from_json(genotype.to_json())) == hash(genotype)


def test_json_is_the_documented_one():
    genotype = Genotype.from_json(as_json())
    assert json.loads(genotype.to_json()) == json.loads(as_json())
    assert genotype.cells[0][1] == (("skip", 0), ("dil_5", 2))


def test_inputs_in_another_order_are_the_same_genotype():
    swapped = [[["sep_3", 1], ["conv_3", 0]], [["dil_5", 2], ["skip", 0]]]
    assert Genotype.from_json(as_json(cells=[swapped, swapped])) == Genotype.from_json(as_json())


@pytest.mark.parametrize(("text", "line"), [
    ("{", "genotype must be JSON, got '{'"),
    ("[]", "genotype must have version, levels and cells, got []"),
    (None, "genotype must be JSON, got 'None'"),
    ("[" * 100_000, "genotype must be JSON, got '[[[["),
    (as_json(version=True), "genotype version must be 1, got True"),
    (as_json(version=2), "genotype version must be 1, got 2"),
    (as_json(extra=1), "genotype has version, levels, cells and task only, got ['extra']"),
    (as_json(levels=[]), "levels must be a list with one level per layer, got []"),
    (as_json(levels=[2, 2]), "level of layer 1 must be within 1 of the one before (0) and >= 0, got 2"),
    (as_json(levels=[0, -1]), "level of layer 2 must be within 1 of the one before (0) and >= 0, got -1"),
    (as_json(levels=[0, True]), "level of layer 2 must be within 1 of the one before (0) and >= 0, got True"),
    (as_json(cells=[PLAN]), "cells must hold one cell per level (2), got 1"),
    (as_json(cells=[PLAN, PLAN[:1]]), "cells must have equal node counts, got [2, 1]"),
    (as_json(cells=[PLAN, []]), "cell of layer 2 must be a list of nodes, got []"),
    (as_json(cells=[PLAN, [PLAN[0], [["skip", 0]]]]), "layer 2, node 1 must hold 2 inputs, got 1"),
    (as_json(cells=[[["skip", 0]], PLAN]), "layer 1, node 0: an input must be [operation, source], got 'skip'"),
    (as_json(cells=[[[["none", 0], ["skip", 1]]]] * 2), "layer 1, node 0: operation must be one of "
     f"{' '.join(_DECODED_OPERATIONS)}, got 'none'"),
    (as_json(cells=[[[["skip", 0], ["skip", 2]]]] * 2), "layer 1, node 0: source must be in [0, 2), got 2"),
    (as_json(cells=[[[["skip", 1], ["skip", 1]]]] * 2), "layer 1, node 0: the two sources must differ, got 1 twice"),
])  # fmt: skip
def test_what_is_refused(text, line):
    with pytest.raises(ValueError) as error:
        Genotype.from_json(text)
    assert str(error.value).startswith(line)


@pytest.mark.parametrize(
    "text",
    [
        as_json()[:-1] + ', "levels": [0, 0]}',
        as_json(task=5),
        as_json(task=None),
        as_json(task="a\nb"),
        as_json(cells="x" * 100_000),
        as_json().replace("2]", "9" * 5000 + "]"),
    ],
)
def test_odd_json_is_refused_in_one_short_line(text):
    for task in (None, "denoise"):
        with pytest.raises(ValueError, match=r"^(genotype|cells) must ") as error:
            Genotype.from_json(text, task)
        assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_a_genotype_of_the_other_task_is_refused():
    text = Genotype.from_json(as_json()).to_json("sr")
    with pytest.raises(ValueError, match="genotype must be of task denoise, got 'sr'"):
        Genotype.from_json(text, "denoise")


def test_width_paths_are_those_of_the_ladder():
    assert len(width_paths(1)) == 2 and len(width_paths(2)) == 5 and len(width_paths(3)) == 12
    assert (1, 2, 2) in width_paths(3) and (2, 2, 2) not in width_paths(3)


def test_random_draws_cover_the_space_evenly():
    generator = torch.Generator().manual_seed(0)
    draws = [random_genotype(2, 3, generator) for _ in range(2000)]
    paths = [draw.levels for draw in draws]
    assert all(abs(paths.count(path) / 2000 - 1 / 5) < 0.04 for path in width_paths(2))
    operations = [name for draw in draws for cell in draw.cells for node in cell for name, _ in node]
    assert all(abs(operations.count(name) / len(operations) - 1 / 6) < 0.02 for name in set(operations))
    assert all(node[0][1] < node[1][1] < 2 + i for d in draws for c in d.cells for i, node in enumerate(c))


def edges_of(cell):
    return [(node, edge) for node, inputs in enumerate(cell) for edge in inputs]


@given(st.integers(0, 2**31), st.integers(1, 4))
def test_r1_changes_convolutions_and_nothing_else(seed, changes):
    generator = torch.Generator().manual_seed(seed)
    before = random_genotype(3, 4, generator)
    after = perturb(before, "R1", changes, generator)
    assert after.levels == before.levels
    for old, new in zip(before.cells, after.cells):
        pairs = list(zip(edges_of(old), edges_of(new)))
        changed = [(a[0], b[0]) for (_, a), (_, b) in pairs if a != b]
        assert all(a[1] == b[1] for (_, a), (_, b) in pairs)
        assert len(changed) == min(changes, sum(a[0] != "skip" for _, a in edges_of(old)))
        assert all("skip" not in pair for pair in changed)


@given(st.integers(0, 2**31), st.integers(1, 3))
def test_r2_changes_sources_and_nothing_else(seed, changes):
    generator = torch.Generator().manual_seed(seed)
    before = random_genotype(3, 4, generator)
    after = perturb(before, "R2", changes, generator)
    assert after.levels == before.levels
    for old, new in zip(before.cells, after.cells):
        assert old[0] == new[0]  # the first node has no other source
        moved = 0
        for a, b in zip(old, new):
            assert sorted(name for name, _ in a) == sorted(name for name, _ in b)
            moved += len({source for _, source in b} - {source for _, source in a})
        assert 1 <= moved <= changes


def test_the_nearest_perturbation_is_the_nearest_of_its_draws():
    size = lambda one: sum(len(name) + name.count("5") for c in one.cells for n in c for name, _ in n)  # noqa: E731
    for seed in range(5):
        before = random_genotype(2, 3, torch.Generator().manual_seed(seed))
        generator = torch.Generator().manual_seed(seed)
        draws = [perturb(before, "R1", 2, generator) for _ in range(6)]
        found = nearest_perturbation(before, "R1", 2, torch.Generator().manual_seed(seed), 6, size)
        apart = [abs(size(draw) - size(before)) for draw in draws]
        assert found == draws[apart.index(min(apart))]


def test_other_perturbations_are_refused():
    genotype = Genotype.from_json(as_json())
    with pytest.raises(ValueError, match="kind must be R1 or R2, got 'R3'"):
        perturb(genotype, "R3", 2, torch.Generator())
