"""The supernet: counts, moves, sharing, restriction to one path, and what a step may change."""

import copy
import functools

import pytest
import torch
from torch import nn

from hinas_nb.experiment.config import Space
from hinas_nb.method.decode import decode
from hinas_nb.method.genotype import Genotype, random_genotype
from hinas_nb.method.network import DerivedNetwork, add_residual
from hinas_nb.method.operations import frozen, seeded
from hinas_nb.method.supernet import Supernet

SMALL = {"base_width": 4, "nodes": 2}


def image(space, seed=0, size=(13, 10), dtype=torch.float64):
    channels = 3 if space.task == "sr" else 1
    return torch.rand(2, channels, *size, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def supernet(**changes):
    with seeded(0):
        return Supernet(Space(**(SMALL | changes))).double()


def test_weight_count_is_the_released_one():
    net = Supernet(Space())
    assert sum(parameter.numel() for parameter in net.network_parameters()) == 1_475_357


@pytest.mark.parametrize(("changes", "cells"), [
    ({}, 8), ({"sharing": False}, 14), ({"task": "sr"}, 5), ({"task": "sr", "sharing": False}, 7),
])  # fmt: skip
def test_cell_counts(changes, cells):
    assert sum(len(layer.cells) for layer in supernet(**changes).layers) == cells


def test_sources_and_shares():
    net = supernet()
    assert [[len(source) for source in layer] for layer in net.architecture.width_logits] == [
        [2], [2, 3], [2, 3, 2]
    ]  # fmt: skip
    for layer in net.width_weights():
        for source in {a for a, _ in layer}:
            shares = [float(share.detach()) for (a, _), share in layer.items() if a == source]
            assert sum(shares) == pytest.approx(1)


@pytest.mark.parametrize("changes", [
    {}, {"layerwise": False}, {"residual": False}, {"sharing": False}, {"levels": (0, 1, 0)}, {"layers": 1},
    {"width_factors": (1, 2, 4)}, {"levels": (0, 0, 0), "base_width": 5}, {"operations": ("conv_3", "skip")},
    {"task": "sr"}, {"task": "sr", "scale": 3, "residual": False}, {"task": "sr", "layers": 4, "sharing": False},
])  # fmt: skip
def test_every_switch_runs_on_odd_sizes_and_decodes(changes):
    net = supernet(**changes)
    scale = net.space.scale or 1
    restored = net(image(net.space))
    assert restored.shape == (2, 3 if net.space.task == "sr" else 1, 13 * scale, 10 * scale)
    restored.square().mean().backward()
    used = [parameter for parameter in net.parameters() if parameter.numel()]
    assert all(parameter.grad is not None for parameter in used)
    genotype = decode(net)
    network = DerivedNetwork(genotype, net.space.task, 4, net.space.width_factors, net.space.scale)
    assert network(image(net.space, dtype=torch.float32)).shape == restored.shape


def test_without_layerwise_sharing_one_cell_repeats():
    net = supernet(layerwise=False)
    with torch.no_grad():
        net.architecture.op_logits.normal_(generator=torch.Generator().manual_seed(1))
    cells = decode(net).cells
    assert len(net.architecture.op_logits) == 1 and cells[0] == cells[1] == cells[2]


def test_residual_adds_the_input():
    net, plain = supernet(), supernet(residual=False)
    plain.load_state_dict(net.state_dict())
    x = image(net.space)
    assert torch.allclose(net(x), plain(x) + x, rtol=0, atol=1e-12)


def test_sharing_on_and_off_agree_on_equal_cells_with_one_move_per_source():
    shared, unshared = supernet(), supernet(sharing=False)
    state = shared.state_dict()
    for name in unshared.state_dict():
        parts = name.split(".")
        if len(parts) > 3 and parts[2] == "cells":
            level = parts[3].split("_")[1]
            state[name] = state[".".join([*parts[:3], level, *parts[4:]])]
    wanted = unshared.state_dict().keys()
    unshared.load_state_dict({name: value for name, value in state.items() if name in wanted})
    keep = [{move: torch.tensor(float(move[0] == move[1])) for move in layer} for layer in shared.moves]
    x = image(shared.space)
    assert torch.allclose(shared(x, None, keep), unshared(x, None, keep), rtol=0, atol=1e-12)
    assert not torch.allclose(shared(x), unshared(x), rtol=0, atol=1e-3)


@pytest.mark.parametrize("task", ["denoise", "sr"])
@pytest.mark.parametrize("seed", range(5))
def test_restricted_to_one_path_is_that_path_built_by_hand(task, seed):
    net = supernet(task=task)
    genotype = random_genotype(net.space.layers, 2, torch.Generator().manual_seed(seed))
    x = image(net.space, seed)
    by_hand = one_path(copy.deepcopy(net), genotype, x)
    assert torch.allclose(net(x, *net.one_hot(genotype)), by_hand, rtol=0, atol=1e-12)


def one_path(net, genotype, x):
    """The path's layers written out; a level that the path leaves empty holds zeros."""
    alphas, _ = net.one_hot(genotype)
    stem = net.stem1(x)
    output, level, arrived = net.stem2(stem), 0, {0: net.stem_input(stem)}
    for layer, target, weights in zip(net.layers, genotype.levels, alphas):
        feature = layer.adapters[f"{level}_{target}"](output)
        if target in layer.nearest:  # the previous layer has no such level
            near = arrived.get(layer.nearest[target])
            before = torch.zeros_like(feature) if near is None else layer.lifts[str(target)](near)
        else:
            before = arrived.get(target, torch.zeros_like(feature))
        output, level, arrived = layer.cells[str(target)](feature, before, weights), target, {target: feature}
    key, head = str(level), net.head
    merged = head.merge[key](torch.cat([head.wide[key](output), head.point[key](output)], 1))
    slots = [merged if slot == level else torch.zeros_like(merged) for slot in head.levels]
    return add_residual(x, head.output(head.refine(torch.cat(slots, 1))), net.scale, True)


@pytest.mark.parametrize("task", ["denoise", "sr"])
def test_head_is_the_released_sum_written_out(task):
    """Two branches on each level's output as it is, merged by a 1x1; then two convolutions over all levels."""
    head = supernet(task=task).head
    generator = torch.Generator().manual_seed(0)
    features = {
        level: torch.randn(2, head.wide[str(level)][0].in_channels, 11, 9, dtype=torch.float64, generator=generator)
        for level in head.levels
    }
    act = lambda x: nn.functional.leaky_relu(x, 0.2)  # noqa: E731
    norm = lambda x: nn.functional.batch_norm(x, None, None, training=True)  # noqa: E731
    merged = []
    for level, x in features.items():
        depthwise, pointwise = [layer for layer in head.wide[str(level)] if isinstance(layer, nn.Conv2d)]
        wide = nn.functional.conv2d(x, depthwise.weight, padding=16, dilation=16, groups=x.shape[1])
        wide = act(norm(nn.functional.conv2d(act(norm(wide)), pointwise.weight)))
        point = act(norm(nn.functional.conv2d(x, head.point[str(level)][0].weight)))
        merged.append(act(norm(nn.functional.conv2d(torch.cat([wide, point], 1), head.merge[str(level)][0].weight))))
    refined = act(norm(nn.functional.conv2d(torch.cat(merged, 1), head.refine[0].weight, padding=1)))
    expected = nn.functional.conv2d(refined, head.output.weight, head.output.bias, padding=1)
    assert torch.allclose(head(features), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["weights", "architecture"])
def test_a_step_changes_only_its_own_parameters(kind):
    net = supernet()
    owners = {"weights": net.network_parameters(), "architecture": list(net.architecture.parameters())}
    other = owners.pop("architecture" if kind == "weights" else "weights")
    before = [parameter.detach().clone() for parameter in other]
    optimizer = torch.optim.SGD(owners[kind], 0.1, weight_decay=0.1)
    with frozen(other):
        net(image(net.space)).square().mean().backward()
        assert all(parameter.grad is None for parameter in other)
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, other))
    assert (
        all(parameter.grad.abs().sum() > 0 for parameter in owners["architecture"])
        if (kind == "architecture")
        else any(parameter.grad.abs().sum() > 0 for parameter in owners["weights"])
    )


def test_building_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    with seeded(3):
        first = Supernet(Space(**SMALL))
    with seeded(3):
        second = Supernet(Space(**SMALL))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))


def test_a_genotype_outside_a_fixed_ladder_is_refused():
    net = supernet(levels=(0, 0, 0))
    plan = ((("conv_3", 0), ("skip", 1)),) * 2
    with pytest.raises(ValueError, match=r"levels must be \(0, 0, 0\)"):
        net.one_hot(Genotype((0, 1, 1), (plan,) * 3))


@pytest.mark.parametrize("sharing", [True, False])
def test_checkpointing_changes_no_number(sharing):
    space = Space(layers=2, nodes=2, base_width=4, sharing=sharing)
    nets = [Supernet(space).double() for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    nets[1].checkpointing = True
    image = torch.rand(2, 1, 10, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    losses = []
    for net in nets:
        losses.append(net.train()(image).square().mean())
        losses[-1].backward()
    # The same sums, but in other memory: a processor may take them in another order.
    close = functools.partial(torch.testing.assert_close, rtol=1e-12, atol=1e-14)
    close(*losses)
    for (name, ours), (_, theirs) in zip(nets[0].named_parameters(), nets[1].named_parameters()):
        close(ours.grad, theirs.grad, msg=name)
    for (name, ours), (_, theirs) in zip(nets[0].named_buffers(), nets[1].named_buffers()):
        close(ours, theirs, msg=name)
