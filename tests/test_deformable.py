"""The deformable convolution: against a direct computation, pixel by pixel, and as what it is without offsets."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hinas_nb import data
from hinas_nb.method.fast import SuperCell
from hinas_nb.method.fast.deformable import _TAPS, MAX_OFFSET, DeformableBranch, DeformableConv2d, deform
from hinas_nb.method.genotype import CANDIDATES, Genotype, edges
from hinas_nb.method.network import Cell, DerivedNetwork
from hinas_nb.method.operations import operation
from hinas_nb.scoring.evaluate import restore

PLAN = ((("def_3", 0), ("conv_3", 1)), (("skip", 0), ("def_3", 2)))
GENOTYPE = Genotype((1,), (PLAN,))


def tensors(batch=2, inputs=3, outputs=4, size=(5, 6), reach=3.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return draw(batch, inputs, *size), reach * draw(batch, 2 * _TAPS, *size), draw(outputs, inputs, 3, 3)


def directly(feature, offsets, weight):
    """Every output pixel as its sum over taps and over the four pixels around each place."""
    batch, _, height, width = feature.shape
    rows = []
    for image, moved in zip(feature, offsets):
        for y in range(height):
            for x in range(width):
                total = 0
                for tap in range(_TAPS):
                    down, right = moved[2 * tap, y, x], moved[2 * tap + 1, y, x]
                    read = between(image, y + tap // 3 - 1 + down, x + tap % 3 - 1 + right)
                    total = total + weight[:, :, tap // 3, tap % 3] @ read
                rows.append(total)
    return torch.stack(rows).view(batch, height, width, -1).permute(0, 3, 1, 2)


def between(image, y, x):
    """Bilinear interpolation, zero outside."""
    top, left = math.floor(float(y.detach())), math.floor(float(x.detach()))
    read = torch.zeros_like(image[:, 0, 0])
    for row, share_y in ((top, top + 1 - y), (top + 1, y - top)):
        for column, share_x in ((left, left + 1 - x), (left + 1, x - left)):
            if 0 <= row < image.shape[1] and 0 <= column < image.shape[2]:
                read = read + share_y * share_x * image[:, row, column]
    return read


def randomised(module: nn.Module, seed: int = 0, reach: float = 1.0) -> nn.Module:
    """Offsets that are not zero, and norms that are not the identity."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, DeformableConv2d):
            nn.init.normal_(part.offsets.weight, std=0.1, generator=generator)
            nn.init.normal_(part.offsets.bias, std=reach, generator=generator)
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(generator=generator)
            part.running_var.uniform_(0.5, 2, generator=generator)
    return module


@pytest.mark.parametrize("reach", [0.3, 3.0])
def test_equals_a_direct_computation_with_all_gradients(reach):
    inputs = [one.requires_grad_() for one in tensors(reach=reach)]
    ours, theirs = deform(*inputs), directly(*inputs)
    assert torch.allclose(ours, theirs, atol=1e-12)
    seed = torch.randn(ours.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for a, b in zip(torch.autograd.grad(ours, inputs, seed), torch.autograd.grad(theirs, inputs, seed)):
        assert torch.allclose(a, b, atol=1e-11) and b.abs().max() > 0.1


@pytest.mark.parametrize("size", [(5, 6), (1, 9)])
def test_without_offsets_it_is_the_plain_convolution(size):
    feature, _, _ = tensors(size=size)
    layer = DeformableConv2d(3).double()
    plain = F.conv2d(feature, layer.weight, padding=1)
    assert torch.allclose(layer(feature), plain, atol=1e-12)
    assert not torch.allclose(randomised(layer)(feature), plain, atol=1e-2)


def test_whole_offsets_move_the_image():
    feature, offsets, weight = tensors(size=(9, 9))
    down, right = 2, -1
    moved = torch.zeros_like(offsets)
    moved[:, 0::2], moved[:, 1::2] = down, right
    shifted = F.conv2d(feature.roll((-down, -right), (2, 3)), weight, padding=1)
    inner = (..., slice(1, 9 - 1 - down), slice(1 - right, 9 - 1))
    assert torch.allclose(deform(feature, moved, weight)[inner], shifted[inner], atol=1e-12)


def test_offsets_are_cut_and_get_no_gradient_beyond():
    feature, offsets, weight = tensors(size=(9, 9))
    far = torch.full_like(offsets, MAX_OFFSET + 3.5).requires_grad_()
    assert torch.allclose(deform(feature, far, weight), deform(feature, far.clamp(max=MAX_OFFSET), weight), atol=1e-12)
    assert not torch.autograd.grad(deform(feature, far, weight).sum(), far)[0].any()


@pytest.mark.parametrize("chosen", [[0, 1, 2], [2, 0]])
def test_a_branch_is_its_edges_one_by_one_with_all_gradients(chosen):
    branch = DeformableBranch(3, 4).double()
    nn.init.uniform_(branch.norm.var, 0.5, 2)
    nn.init.normal_(branch.offset_weight, std=0.3)
    nn.init.normal_(branch.offset_bias)
    operations = [operation("def_3", 4).double() for _ in chosen]
    for edge, module in zip(chosen, operations):
        branch.copy_to(module, edge)
        assert torch.equal(module[2].running_var, branch.norm.var[edge])
    feature, *_ = tensors(inputs=4)
    raw = branch.raw(feature, chosen)
    plain = torch.cat([module[1](feature) for module in operations], dim=1)
    assert torch.allclose(raw, plain, atol=1e-12)
    ours = torch.autograd.grad(raw.square().sum(), [branch.weight, branch.offset_weight, branch.offset_bias])
    layers = [module[1] for module in operations]
    wanted = [p for m in layers for p in (m.weight, m.offsets.weight, m.offsets.bias)]
    theirs = torch.autograd.grad(plain.square().sum(), wanted)
    for index, edge in enumerate(chosen):
        for gradient, other in zip(ours, theirs[3 * index : 3 * index + 3]):
            assert torch.allclose(gradient[edge], other, atol=1e-10)


def test_a_one_hot_super_cell_is_the_derived_cell():
    rows = edges(len(PLAN))
    weights = torch.zeros(len(rows), len(CANDIDATES), dtype=torch.float64)
    for node, inputs in enumerate(PLAN):
        for name, source in inputs:
            weights[rows.index((node, source)), CANDIDATES.index(name)] = 1
    cell, derived = SuperCell(2, 4, CANDIDATES).double(), Cell(PLAN, 4).double()
    for parameter in cell.parameters():  # offsets too
        nn.init.normal_(parameter, std=0.3)
    cell.copy_to(derived)
    assert derived.operations[0][0][1].offsets.bias.any(), "offsets must be searched and handed on"
    features = [tensors(inputs=4, seed=seed)[0] for seed in range(2)]
    assert torch.allclose(cell(*features, weights), derived(*features), atol=1e-10)
    soft = torch.full_like(weights, 1 / len(CANDIDATES)).requires_grad_()
    gradients = torch.autograd.grad(cell(*features, soft).square().sum(), [soft, *cell.parameters()])
    assert all(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("width", [1, 2])
def test_the_gradients_of_a_branch_are_those_of_finite_differences(width):
    branch = DeformableBranch(1, width).double()
    feature = torch.rand(1, width, 4, 4, dtype=torch.float64, generator=data.stream(0, "branch")).requires_grad_()
    scale = torch.full((width,), 0.7, dtype=torch.float64, requires_grad=True)
    kept, pending = torch.rand(16, width, dtype=torch.float64), torch.zeros(16, width, dtype=torch.float64)

    def through(feature, scale):
        return (branch(pending, feature, scale, [0]) * kept).sum()

    assert torch.autograd.gradcheck(through, (feature, scale), atol=1e-7)


def network(**changes) -> DerivedNetwork:
    return randomised(DerivedNetwork(GENOTYPE, **({"base_width": 4} | changes))).eval()


def test_a_derived_network_folds_its_batch_norms():
    net, image = network(), torch.rand(1, 1, 21, 18)
    with torch.no_grad():
        assert torch.allclose(net.folded()(image), net(image), atol=1e-5)


@pytest.mark.parametrize("task", ["denoise", "sr"])
def test_tiles_see_what_the_whole_image_has(task):
    net = network(task=task, scale=2 if task == "sr" else None).double()
    randomised(net, reach=MAX_OFFSET)
    image = torch.rand(1, 3 if task == "sr" else 1, 70, 90, dtype=torch.float64)
    whole, tiled = restore(net, image, None), restore(net, image, net.halo, tile=30)
    assert torch.allclose(whole, tiled, atol=1e-9)
    with torch.no_grad():
        assert not torch.allclose(whole, restore(net, image, net.halo // 4, tile=30), atol=1e-6), "a halo too small"


def test_an_exported_network_is_the_same():
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from hinas_nb.speed.export import session

    net, image = network(), torch.rand(1, 1, 37, 41)
    assert onnxruntime
    with torch.no_grad():
        assert torch.allclose(session(net)(image), net(image), atol=1e-4)


def test_bfloat16_keeps_its_places():
    layer = randomised(DeformableConv2d(3))
    feature = torch.rand(1, 3, 64, 200)
    with torch.no_grad():
        exact = layer(feature)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = layer(feature).float()
    assert float(F.cosine_similarity(exact.flatten(), mixed.flatten(), 0)) > 0.99
