"""Latencies of parts, and the mean over all networks that alphas and betas stand for."""

import itertools
import json

import pytest
import torch
from pictures_for_tests import image_set

from hinas_nb.experiment.config import LatencyConfig, SearchConfig, Space
from hinas_nb.method.genotype import Genotype, edges
from hinas_nb.method.supernet import Supernet
from hinas_nb.settings import ConfigError
from hinas_nb.speed import latency
from hinas_nb.training.search import _State

SPACE = Space(layers=2, nodes=2, base_width=2, operations=("conv_3", "sep_3", "skip", "none"))


def random_table(space, seed=0):
    generator = torch.Generator().manual_seed(seed)
    levels = range(len(space.width_factors))
    names = [latency.operation_key(name, level) for name in ("conv_3", "sep_3") for level in levels]
    names += [latency.move_key(a, b) for a in levels for b in levels if abs(a - b) <= 1]
    return {name: float(torch.rand((), generator=generator)) + 0.1 for name in names}


def drawn(seed=0):
    net = Supernet(SPACE).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.architecture.parameters():
            parameter.normal_(generator=generator)
    return net


def test_expected_is_the_mean_over_every_network():
    """Brute force over all paths, pairs of inputs and operations of a small space, each with its probability."""
    net, table = drawn(), random_table(SPACE)
    alphas, betas = net.op_weights().detach(), [{m: s.detach() for m, s in b.items()} for b in net.width_weights()]
    rows, names = edges(SPACE.nodes), [name for name in SPACE.operations if name != "none"]
    mean = total = 0.0

    def cells(layer):
        """Every cell of a layer with its probability."""
        for pairs in itertools.product(*(list(itertools.combinations(range(2 + node), 2)) for node in range(2))):
            for chosen in itertools.product(itertools.product(range(3), repeat=2), repeat=2):
                probability, plan = 1.0, []
                for node, (sources, columns) in enumerate(zip(pairs, chosen)):
                    probability /= len(list(itertools.combinations(range(2 + node), 2)))
                    for source, column in zip(sources, columns):
                        row = alphas[layer, rows.index((node, source)), :3]
                        probability *= float(row[column] / row.sum())
                    plan.append(tuple((names[column], source) for column, source in zip(columns, sources)))
                yield probability, tuple(plan)

    kept = [list(cells(layer)) for layer in range(2)]
    for first, second in itertools.product((0, 1), (0, 1, 2)):
        if (first, second) not in betas[1]:
            continue
        path = float(betas[0][0, first] * betas[1][first, second])
        for (a, one), (b, two) in itertools.product(*kept):
            genotype = Genotype((first, second), (one, two))
            mean += path * a * b * latency.of_genotype(table, genotype)
            total += path * a * b
    assert total == pytest.approx(1)
    found = latency.expected(table, net.op_weights(), net.width_weights(), SPACE)
    assert float(found.detach()) == pytest.approx(mean, rel=1e-10)


def test_a_slower_operation_is_pushed_down_and_a_slower_move_avoided():
    net = Supernet(SPACE).double()
    table = dict.fromkeys(random_table(SPACE), 1.0) | {
        latency.operation_key("conv_3", level): 5.0 for level in range(3)
    }
    table |= {latency.move_key(0, 1): 9.0}
    latency.expected(table, net.op_weights(), net.width_weights(), SPACE).backward()
    by_operation = net.architecture.op_logits.grad.sum((0, 1))
    assert float(by_operation[0]) > 0 > float(by_operation[2]), "descent lowers conv_3, raises skip"
    by_move = net.architecture.width_logits[0][0].grad
    assert float(by_move[1]) > 0 > float(by_move[0])


def test_every_part_is_timed_and_none_is_not():
    space = Space(layers=1, nodes=1, base_width=2, operations=("conv_3", "sep_3", "skip", "none"), fold=2)
    config = LatencyConfig(space=space, base_width=3, height=16, width_px=12, rounds=3)
    records = [json.loads(json.dumps(vars(record))) for record in latency.measure(config)]
    assert [record["round"] for record in records] == [1, 2, 3]
    assert [record.round for record in latency.measure(config, first=2)] == [3]
    table = latency.table(records)
    assert set(table) == set(random_table(space)) and all(value > 0 for value in table.values())


def test_the_term_is_its_weight_at_first_and_moves_the_alphas():
    table = LatencyConfig(space=SPACE, base_width=2)
    common = {"space": SPACE, "split": "all", "patch": 16, "batch": 2, "data": "folder:/pictures"}
    plain, aware = SearchConfig(**common), SearchConfig(**common, latency=table, latency_weight=0.5)
    splits = image_set(3), image_set(3, seed=1), image_set(1, seed=2)
    states = [
        _State(plain, splits, torch.device("cpu")),
        _State(aware, splits, torch.device("cpu"), random_table(SPACE)),
    ]
    assert not list(states[0].penalties(0))
    (term,) = states[1].penalties(0)
    assert float(term.detach()) == pytest.approx(0.5)
    losses = [state.architecture_step(0) for state in states]
    assert losses[0] == losses[1], "the loss is told without the term"
    moved = [state.net.architecture.op_logits.detach() for state in states]
    assert not torch.equal(*moved)


def test_a_table_of_another_space_is_refused():
    other = LatencyConfig(space=Space(fold=2), base_width=8)
    with pytest.raises(ConfigError, match="latency must be of the searched space"):
        SearchConfig(latency=other, latency_weight=1.0)
    with pytest.raises(ConfigError, match="latency and latency_weight belong together"):
        SearchConfig(latency_weight=1.0)
    SearchConfig(latency=other, latency_weight=1.0, space=Space(fold=2, base_width=16, layerwise=False))


def test_who_breaks_off_a_measurement_can_train_afterwards():
    config = LatencyConfig(space=SPACE, base_width=2, height=8, width_px=8, rounds=2)
    records = latency.measure(config)
    assert next(records).round == 1 and not torch.is_inference_mode_enabled()
