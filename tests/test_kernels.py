"""The fast batch norm and convolutions give the numbers of torch's own, gradients too."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hinas_nb.method.fast import kernels, layers

SIZES = [(2, 6, 9, 7), (3, 10, 16, 16), (1, 20, 5, 5)]


def drawn(*size, seed=0, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, generator=generator, dtype=torch.float64) + shift
    return images.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", SIZES)
def test_moments_are_the_mean_and_the_biased_variance(size):
    images = drawn(*size, shift=3.0)
    (mean,), (var,) = kernels.moments(kernels.pixels(images))
    torch.testing.assert_close(mean, images.mean((0, 2, 3)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(var, images.var((0, 2, 3), correction=0), rtol=1e-12, atol=1e-12)


def test_moments_stand_a_large_mean_in_float32():
    images = drawn(4, 8, 16, 16).float() * 1e-2 + 10
    _, (var,) = kernels.moments(kernels.pixels(images))
    torch.testing.assert_close(var, images.double().var((0, 2, 3), correction=0).float(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("size", SIZES)
def test_norm_backward_is_autograds(size):
    raw, gradient = drawn(*size, seed=1, shift=1.0).requires_grad_(), drawn(*size, seed=2)
    scale = torch.rand(size[1], dtype=torch.float64, generator=torch.Generator().manual_seed(3)).requires_grad_()
    shift = torch.zeros_like(scale, requires_grad=True)
    mean, var = raw.detach().mean((0, 2, 3)), raw.detach().var((0, 2, 3), correction=0)
    wanted = torch.autograd.grad(
        F.batch_norm(raw, mean.clone(), var.clone(), scale, shift, True, 0.1, kernels.EPSILON),
        [raw, scale, shift],
        gradient,
    )
    matrices = kernels.pixels(gradient), kernels.pixels(raw.detach())
    inverse = torch.rsqrt(var + kernels.EPSILON)
    found = kernels.norm_backward(*matrices, scale.detach(), mean, inverse)
    torch.testing.assert_close(kernels.images(found[0], raw), wanted[0], rtol=1e-10, atol=1e-12)
    for ours, theirs in zip(found[1:], wanted[1:]):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("side", [3, 5])
@pytest.mark.parametrize("size", SIZES)
def test_depthwise_gradients_are_autograds(size, side):
    images, gradient = drawn(*size, seed=1).requires_grad_(), drawn(*size, seed=2)
    weight = torch.randn(size[1], 1, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    weight.requires_grad_()
    wanted = torch.autograd.grad(kernels.depthwise(images, weight), [images, weight], gradient)
    found = kernels.depthwise_backward(gradient, images.detach(), weight.detach(), (True, True))
    for ours, theirs in zip(found, wanted):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    alone = kernels.depthwise_backward(gradient, images.detach(), weight.detach(), (False, True))
    assert alone[0] is None
    torch.testing.assert_close(alone[1], found[1], rtol=1e-12, atol=1e-12)  # other kernels may give it when asked alone


@pytest.mark.parametrize("width", [4, 20, 50])  # all edges at once, two and one, one by one
def test_pointwise_is_a_grouped_convolution_and_its_gradient(width):
    images, weight = drawn(2, 3 * width, 5, 7), drawn(3, width, width, 1)[..., 0].contiguous().requires_grad_()
    grouped = F.conv2d(images, weight.flatten(0, 1)[..., None, None], groups=3)
    ours = kernels.pointwise(kernels.pixels(images), weight.detach())
    torch.testing.assert_close(kernels.images(ours, images), grouped.detach())
    gradient = drawn(2, 3 * width, 5, 7, seed=5)
    (wanted,) = torch.autograd.grad(grouped, weight, gradient)
    found = kernels.pointwise_gradient(kernels.pixels(gradient), kernels.pixels(images), weight)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (layers.BatchNorm2d(6), nn.BatchNorm2d(6)),
        (layers.BatchNorm2d(6, affine=False), nn.BatchNorm2d(6, affine=False)),
        (layers.ActivatedBatchNorm2d(6, 0.2), nn.Sequential(nn.BatchNorm2d(6, affine=False), nn.LeakyReLU(0.2))),
    ],
    ids=["affine", "plain", "activated"],
)
def test_batch_norm_layer_is_torchs_in_values_gradients_and_buffers(ours, theirs):
    ours, theirs = ours.double(), theirs.double()
    for step in range(3):
        images = drawn(4, 6, 9, 7, seed=step, shift=2.0)
        results = []
        for layer in (ours, theirs):
            given = images.clone().requires_grad_()
            output = layer(given)
            seed = drawn(4, 6, 9, 7, seed=9)
            results.append((output, *torch.autograd.grad(output, [given, *layer.parameters()], seed)))
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    for name, buffer in theirs.named_buffers():
        torch.testing.assert_close(dict(ours.named_buffers())[name], buffer, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("kernel", "dilation", "height", "width"),
    [(5, 1, 9, 8), (3, 1, 9, 8), (3, 4, 9, 8), (3, 4, 8, 9), (3, 4, 12, 8), (5, 2, 8, 10)],
    ids=str,
)
def test_depthwise_layer_is_a_stock_convolution(kernel, dilation, height, width):
    padding = dilation * (kernel // 2)
    theirs = nn.Conv2d(6, 6, kernel, padding=padding, dilation=dilation, groups=6, bias=False).double()
    ours = layers.DepthwiseConv2d(6, kernel, dilation).double()
    theirs.load_state_dict(ours.state_dict())
    results = []
    for layer in (ours, theirs):
        images = drawn(2, 6, height, width).requires_grad_()
        output = layer(images)
        results.append((output, *torch.autograd.grad(output.square().sum(), [images, layer.weight])))
    for a, b in zip(*results):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])  # ours, and torch's own as on a GPU
def test_a_repetition_leaves_running_statistics_alone(dtype):
    layer, images = layers.BatchNorm2d(6), drawn(2, 6, 5, 5, seed=1).to(dtype)
    layer(drawn(2, 6, 5, 5).to(dtype))
    before = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    with layers.repetition(layer):
        again = layer(images)
    assert all(torch.equal(buffer, before[name]) for name, buffer in layer.named_buffers())
    torch.testing.assert_close(again, layer(images))
    assert not torch.equal(layer.running_mean, before["running_mean"])


def test_one_value_a_channel_is_refused_as_torch_refuses_it():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        layers.BatchNorm2d(6)(torch.zeros(1, 6, 1, 1))


def test_sums_for_gradients_are_the_same_where_torchs_function_cannot_give_them():
    gradient, rows, mean, inverse = torch.randn(
        4, 30, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    elsewhere = [tensor.as_subclass(_Elsewhere) for tensor in (gradient, rows, mean[0], inverse[0])]
    found = kernels._row_products(*elsewhere)
    here = kernels._row_products(gradient, rows, mean[0].contiguous(), inverse[0].contiguous())
    for ours, torchs in zip(found, here):
        torch.testing.assert_close(ours.as_subclass(torch.Tensor), torchs, rtol=1e-12, atol=1e-12)


def test_a_part_of_a_matrix_is_written_without_torchs_out_where_that_may_do_nothing(monkeypatch):
    left, right = drawn(1, 1, 30, 7)[0, 0], drawn(1, 1, 7, 4)[0, 0]
    whole = torch.zeros(30, 9, dtype=left.dtype).as_subclass(_OnMps)
    monkeypatch.delattr(torch, "mm")
    kernels.multiply(left, right, whole[:, 2:6])
    assert torch.equal(whole[:, 2:6].as_subclass(torch.Tensor), left @ right)
    assert whole.count_nonzero() == 30 * 4


class _Elsewhere(torch.Tensor):
    """A tensor that says it is on a GPU."""

    where = "cuda"

    @property
    def device(self):
        return torch.device(self.where)


class _OnMps(_Elsewhere):
    where = "mps"
