"""The batched super-cell equals the plain sum over edges and, one-hot, the derived cell."""

import pytest
import torch

from hinas_nb.experiment.config import Space
from hinas_nb.method.fast import SuperCell
from hinas_nb.method.genotype import CANDIDATES, OPERATIONS, edges, random_genotype
from hinas_nb.method.network import Cell
from hinas_nb.method.supercell import PartialSuperCell, _plain_super_cell, plain_supernet
from hinas_nb.method.supernet import Supernet


def inputs(width, size=(9, 7), dtype=torch.float64, seed=0, batch=2):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, width, *size, generator=generator, dtype=dtype).requires_grad_() for _ in range(2)]


def soft_weights(cell, seed=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(edges(cell.nodes)), len(cell.operations), generator=generator, dtype=dtype)
    return torch.softmax(logits, dim=1).requires_grad_()


def relative(a, b):
    a, b = a.detach(), b.detach()
    return float((a - b).abs().max() / b.abs().max().clamp(min=1e-30))


@pytest.mark.parametrize("nodes", [1, 3, 4])
@pytest.mark.parametrize("width", [3, 8, 15])
@pytest.mark.parametrize("operations", [OPERATIONS, ("conv_3", "skip"), ("sep_5", "none"), ("skip", "none")])
def test_equals_the_plain_sum_over_edges_with_all_gradients(nodes, width, operations):
    cell = SuperCell(nodes, width, operations).double()
    reference = _plain_super_cell(cell)
    features, weights = inputs(width), soft_weights(cell)
    ours, theirs = cell(*features, weights), reference(*features, weights)
    assert relative(ours, theirs) < 1e-10
    seed = torch.randn(ours.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    kernels = [kernel for _, kernel in sorted(_kernels_of(cell, operations).items())]
    reference_kernels = [kernel for _, kernel in sorted(_reference_kernels(reference, operations).items())]
    ours_grads = torch.autograd.grad((ours * seed).sum(), [*features, weights, *cell.parameters()])
    named = dict(zip(cell.parameters(), ours_grads[3:]))
    theirs_grads = torch.autograd.grad(
        (theirs * seed).sum(), [*features, weights, *reference_kernels], allow_unused=True
    )
    for ours_grad, theirs_grad in zip(ours_grads[:3], theirs_grads[:3]):
        assert relative(ours_grad, theirs_grad) < 1e-10
    for (parameter, edge), theirs_grad in zip(kernels, theirs_grads[3:]):
        assert relative(named[parameter][edge], theirs_grad) < 1e-10


def test_a_gradient_is_the_same_whichever_others_are_wanted():
    cell = SuperCell(2, 4).double()
    features, weights = inputs(4), soft_weights(cell)
    everything = [*cell.parameters(), *features, weights]
    wanted = dict(zip(everything, torch.autograd.grad(cell(*features, weights).square().sum(), everything)))
    for one in everything:
        for other in everything:
            other.requires_grad_(other is one)
        (alone,) = torch.autograd.grad(cell(*features, weights).square().sum(), [one])
        assert relative(alone, wanted[one]) < 1e-12


def _kernels_of(cell, operations):
    """{(row, operation, index): (stacked parameter, edge)}"""
    found = {}
    for row, (node, source) in enumerate(edges(cell.nodes)):
        edge = cell.targets[source].index(node)
        for name in operations:
            if name in cell.branches[source]:
                branch = cell.branches[source][name]
                if name.startswith("sep"):
                    stacks = [
                        branch.depthwise[0],
                        branch.pointwise[0],
                        branch.depthwise[1],
                        branch.pointwise[1],
                    ]
                else:
                    stacks = [branch.weight]
                found |= {(row, name, index): (stack, edge) for index, stack in enumerate(stacks)}
    return found


def _reference_kernels(reference, operations):
    return {
        (row, name, index): convolution.weight
        for row, edge in enumerate(reference.edges)
        for name, operation in zip(operations, edge)
        for index, convolution in enumerate(m for m in operation.modules() if isinstance(m, torch.nn.Conv2d))
    }


def test_evaluation_uses_running_statistics_as_the_reference_does():
    cell = SuperCell(3, 5).double()
    reference = _plain_super_cell(cell)
    for step in range(3):
        features, weights = inputs(5, seed=step), soft_weights(cell, seed=step)
        cell(*features, weights), reference(*features, weights)
    cell.eval(), reference.eval()
    features, weights = inputs(5, seed=9), soft_weights(cell, seed=9)
    assert relative(cell(*features, weights), reference(*features, weights)) < 1e-10
    stacks, edge_kernels = _kernels_of(cell, OPERATIONS), _reference_kernels(reference, OPERATIONS)
    ours = torch.autograd.grad(cell(*features, weights).square().sum(), [*features, weights, *cell.parameters()])
    theirs = torch.autograd.grad(
        reference(*features, weights).square().sum(), [*features, weights, *edge_kernels.values()]
    )
    assert all(relative(a, b) < 1e-10 for a, b in zip(ours[:3], theirs))
    by_stack = dict(zip(cell.parameters(), ours[3:]))
    for place, gradient in zip(edge_kernels, theirs[3:]):
        stack, edge = stacks[place]
        assert relative(by_stack[stack][edge], gradient) < 1e-10


def test_a_graph_that_is_kept_gives_the_same_gradients_twice():
    cell = SuperCell(3, 4).double()
    features, weights = inputs(4), soft_weights(cell)
    loss, wanted = cell(*features, weights).square().sum(), [*features, weights, *cell.parameters()]
    first, second = (torch.autograd.grad(loss, wanted, retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second))


@pytest.mark.parametrize("width", [10, 15])
def test_float32_error_is_at_most_three_times_the_references(width):
    ratios = torch.tensor([float32_errors(width, seed) for seed in range(5)])
    assert (ratios[:, :2] <= 3).all()
    # A value that rounds across zero takes the other slope of a LeakyReLU: rarely, and on either side, a gradient is
    # off by much more than rounding.
    assert (ratios.median(0).values <= 3).all()


def float32_errors(width: int, seed: int) -> list[float]:
    """Ours over the reference's: the largest of the output's, then norms, of the output's and of the gradients'."""
    torch.manual_seed(seed)
    cell = SuperCell(4, width)
    reference = _plain_super_cell(cell)
    features = inputs(width, (32, 32), torch.float32, seed)
    weights = soft_weights(cell, seed, torch.float32)
    ours, theirs = cell(*features, weights), reference(*features, weights)
    by_ours, by_theirs = (torch.autograd.grad(output.square().sum(), [*features, weights]) for output in (ours, theirs))
    exact = reference.double()(*[feature.double() for feature in features], weights.double())
    by_exact = torch.autograd.grad(exact.square().sum(), [*features, weights])
    largest = (ours - exact).abs().max() / (theirs - exact).abs().max()
    compared = zip((ours, *by_ours), (theirs, *by_theirs), (exact, *by_exact))
    return [largest.item(), *(((a - right).norm() / (b - right).norm()).item() for a, b, right in compared)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("width", [3, 8])
@pytest.mark.parametrize("seed", range(6))
def test_one_hot_super_cell_is_the_derived_cell(training, width, seed):
    generator = torch.Generator().manual_seed(seed)
    plan = random_genotype(1, 4, generator).cells[0]
    cell, derived = SuperCell(4, width).double(), Cell(plan, width).double()
    weights = one_hot(plan)
    for warm in range(2):  # running statistics that are not the initial ones
        cell(*inputs(width, seed=warm), weights)
    cell.copy_to(derived)
    cell.train(training), derived.train(training)
    features = inputs(width, seed=seed)
    assert relative(cell(*features, weights), derived(*features)) < 1e-12


def one_hot(plan, operations=OPERATIONS):
    """Alphas of one decoded cell: `none` on the dropped edges."""
    rows = edges(len(plan))
    weights = torch.zeros(len(rows), len(operations), dtype=torch.float64)
    weights[:, operations.index("none")] = 1
    for node, chosen in enumerate(plan):
        for name, source in chosen:
            weights[rows.index((node, source))] = 0
            weights[rows.index((node, source)), operations.index(name)] = 1
    return weights


def test_every_operation_and_source_is_covered_one_by_one():
    for operation in CANDIDATES[:-1]:
        for source in range(4):
            other = 0 if source else 1
            last = tuple(sorted([(operation, source), ("skip", other)], key=lambda edge: edge[1]))
            plan = ((("skip", 0), ("skip", 1)), (("skip", 0), ("skip", 1)), last)
            cell, derived = SuperCell(3, 4, CANDIDATES).double(), Cell(plan, 4).double()
            cell.copy_to(derived)
            features = inputs(4)
            assert relative(cell(*features, one_hot(plan, CANDIDATES)), derived(*features)) < 1e-12


def test_zero_weight_operations_are_not_computed():
    from torch.utils.flop_counter import FlopCounterMode

    plan = ((("conv_3", 0), ("dil_3", 1)), (("sep_3", 0), ("conv_3", 2)))
    cell, derived = SuperCell(2, 4, OPERATIONS[:5]).double(), Cell(plan, 4).double()
    counts = []
    for run in (lambda: cell(*inputs(4), one_hot(plan)), lambda: derived(*inputs(4))):
        with FlopCounterMode(display=False) as counter:
            run()
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize(("width", "size"), [(8, (16, 16)), (20, (32, 32))])  # 20: dilated gradients fail in torch
def test_mixed_precision_stays_near_float32_in_values_and_gradients(width, size):
    cell = SuperCell(2, width)
    features, weights = inputs(width, size, torch.float32), soft_weights(cell, dtype=torch.float32)

    def gradients():
        output = cell(*features, weights).float()
        return [output.detach(), *torch.autograd.grad(output.square().mean(), [*features, weights, *cell.parameters()])]

    exact = gradients()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = gradients()
    for ours, wanted in zip(mixed, exact, strict=True):
        cosine = torch.nn.functional.cosine_similarity(ours.flatten().double(), wanted.flatten().double(), 0)
        assert ours.dtype == wanted.dtype and float(cosine) > 0.99


def test_the_mode_of_a_backward_pass_is_that_of_its_forward_pass():
    cell = SuperCell(2, 4).double()
    found = []
    for switched in (False, True):
        features, weights = inputs(4), soft_weights(cell)
        loss = cell.train()(*features, weights).square().sum()
        cell.train(not switched)
        found.append(torch.autograd.grad(loss, [*features, weights]))
    for unswitched, switched in zip(*found):
        assert torch.equal(unswitched, switched)


def test_second_derivatives_are_refused():
    cell = SuperCell(1, 3).double()
    features, weights = inputs(3), soft_weights(cell)
    (first,) = torch.autograd.grad(cell(*features, weights).square().sum(), features[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_one_value_a_channel_is_refused_in_training():
    cell = SuperCell(1, 3).double()
    with pytest.raises(ValueError, match="batch norm must see more than 1 value per channel"):
        cell(*inputs(3, (1, 1), batch=1), soft_weights(cell))


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_partial_channels_are_operated_on_and_the_others_pass_by(parts):
    """At 1 it is the plain super-cell; a node is the shuffled sum over its edges, written out."""
    cell = PartialSuperCell(1, 8, ("conv_3", "skip", "none"), parts).double()
    features = [one.detach() for one in inputs(8)]
    weights = soft_weights(cell).detach()
    expected = 0
    for feature, row, (convolution, _, _) in zip(features, weights, cell.edges):
        through, past = feature[:, : 8 // parts], feature[:, 8 // parts :]
        mixed = row[0] * convolution(through) + row[1] * through
        joined = torch.cat([mixed, row.sum() * past], dim=1)
        expected = expected + joined.unflatten(1, (parts, -1)).transpose(1, 2).flatten(1, 2)
    assert torch.allclose(cell(*features, weights), expected, rtol=0, atol=1e-12)


def test_a_supernet_of_one_part_is_the_plain_one():
    """For the same weights of the operations; those of the edges are what it has more."""
    space = Space(layers=2, nodes=2, base_width=3)
    plain = plain_supernet(Supernet(space)).double().eval()
    whole = Supernet(space.but(partial=1)).double().eval()
    assert set(whole.state_dict()) - set(plain.state_dict()) == {"architecture.edge_logits"}
    whole.load_state_dict(plain.state_dict(), strict=False)
    image = torch.rand(1, 1, 9, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    alphas = plain.op_weights()
    with torch.no_grad():
        assert relative(whole(image, alphas), plain(image, alphas)) < 1e-12
    shares = torch.tensor([2.0, 2.0, 3.0, 3.0, 3.0])[:, None].double()
    assert torch.allclose(whole.op_weights() * shares, alphas), "equal edges share a node equally"


def test_the_plain_twin_of_a_net_that_evaluates_evaluates():
    net = Supernet(Space(layers=2, nodes=2, base_width=3)).double()
    image = torch.rand(2, 1, 9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    net.train()(image)  # moves the running statistics
    plain = plain_supernet(net.eval())
    assert not any(module.training for module in plain.modules())
    assert relative(plain(image), net(image)) < 1e-10
