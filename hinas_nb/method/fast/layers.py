"""Batch norm and depthwise convolution that train fast on a CPU; on a GPU, and in evaluation, they are torch's own.

Values, gradients, parameters and buffers are those of the classes they derive from; `kernels` says what is fast.
Notebook `24_speed` measures what this is worth.
"""

import copy
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hinas_nb.method.fast import kernels


class BatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` on channels-last images."""

    remembers = True  # whether a training batch moves the running statistics, see `repetition`

    def forward(self, input: Tensor) -> Tensor:
        if self.training and _is_fast_for(input):
            return Normalise.apply(input, self.weight, self.bias, *self.moments(input))
        if self.training and not self.remembers:
            return F.batch_norm(input, None, None, self.weight, self.bias, True, eps=self.eps)
        return super().forward(input)

    @torch.no_grad()
    def moments(self, input: Tensor) -> tuple[Tensor, Tensor]:
        """Return a batch's mean and 1 / standard deviation per channel, and move the running statistics by them."""
        (mean,), (var,) = kernels.moments(kernels.pixels(input))
        if self.remembers:
            count = input.numel() / input.shape[1]
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * (count / (count - 1)), self.momentum)
        return mean, torch.rsqrt(var + self.eps)


class ActivatedBatchNorm2d(nn.Sequential):
    """Batch norm without affine part, then LeakyReLU: both can be undone, so training keeps the output only."""

    def __init__(self, channels: int, slope: float):
        super().__init__(BatchNorm2d(channels, affine=False), nn.LeakyReLU(slope, inplace=True))

    def forward(self, input: Tensor) -> Tensor:
        norm, activation = self
        if not self.training or not _is_fast_for(input):
            return super().forward(input)
        mean, inverse = norm.moments(input)
        return _NormaliseAndActivate.apply(input, mean, inverse, activation.negative_slope)


class DepthwiseConv2d(nn.Conv2d):
    """A size-keeping `nn.Conv2d` with one k x k kernel a channel and no bias."""

    def __init__(self, channels: int, kernel: int, dilation: int = 1):
        padding = dilation * (kernel // 2)
        super().__init__(channels, channels, kernel, padding=padding, dilation=dilation, groups=channels, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or not _is_fast_for(input) or self.bias is not None:  # a bias: a folded batch norm's
            return super().forward(input)
        return _Depthwise.apply(input, self.weight, self.dilation[0])


class DilatedConv2d(nn.Conv2d):
    """An `nn.Conv2d` that computes in float32 under autocast on a CPU.

    torch 2.13's bfloat16 gradients of dilated kernels are wrong there (NaN, or finite and wrong) in channels-last
    memory for most numbers of channels, and where they are right they are slower than float32's.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float())


#: What each class of this file is where nothing is made fast.
_STOCK = {
    BatchNorm2d: nn.BatchNorm2d,
    ActivatedBatchNorm2d: nn.Sequential,
    DepthwiseConv2d: nn.Conv2d,
    DilatedConv2d: nn.Conv2d,
}


def stock(net: nn.Module) -> nn.Module:
    """Return a copy of a network made of torch's own layers, in contiguous memory, with the same weights."""
    net = copy.deepcopy(net).to(memory_format=torch.contiguous_format)
    for module in net.modules():
        module.__class__ = _STOCK.get(type(module), type(module))
    return net


@contextmanager
def repetition(module: nn.Module):
    """Let a training pass through `module` inside repeat an earlier one: running statistics have seen its batch."""
    norms = [part for part in module.modules() if hasattr(part, "remembers")]
    for norm in norms:
        norm.remembers = False
    try:
        yield
    finally:
        for norm in norms:
            norm.remembers = True


class Normalise(torch.autograd.Function):
    """Computes (images - mean) * inverse * weight + bias, for the mean and inverse deviation of these images."""

    @staticmethod
    def forward(ctx, images, weight, bias, mean, inverse):
        scale = inverse if weight is None else weight * inverse
        shift = -mean * scale if bias is None else bias - mean * scale
        ctx.save_for_backward(images, weight, mean, inverse)
        return kernels.scaled(images, scale, shift)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        images, weight, mean, inverse = ctx.saved_tensors
        want_images, want_weight, want_bias, *_ = ctx.needs_input_grad
        gradient, scale = kernels.pixels(gradient), 1.0 if weight is None else weight
        found, by_weight, by_bias = kernels.norm_backward(
            gradient, kernels.pixels(images), scale, mean, inverse, want_images
        )
        by_images = kernels.images(found, images) if want_images else None
        return by_images, by_weight if want_weight else None, by_bias if want_bias else None, None, None


class _NormaliseAndActivate(torch.autograd.Function):
    """LeakyReLU((images - mean) * inverse); the backward pass undoes the LeakyReLU of its result."""

    @staticmethod
    def forward(ctx, images, mean, inverse, slope):
        result = F.leaky_relu_(kernels.scaled(images, inverse, -mean * inverse), slope)
        ctx.slope = slope
        ctx.save_for_backward(result, inverse)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        result, inverse = ctx.saved_tensors
        normalised, gradient = kernels.pixels(F.leaky_relu(result, 1 / ctx.slope)), kernels.pixels(gradient)
        gradient = torch.ops.aten.leaky_relu_backward.default(gradient, normalised, ctx.slope, False)
        zeros, ones = torch.zeros_like(inverse), torch.ones_like(inverse)
        found, *_ = kernels.norm_backward(gradient, normalised, inverse, zeros, ones)
        return kernels.images(found, result), None, None, None


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images, weight, dilation):
        ctx.dilation = dilation
        ctx.save_for_backward(images, weight)
        return kernels.depthwise(images, weight, dilation)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        return *kernels.depthwise_backward(gradient, *ctx.saved_tensors, ctx.needs_input_grad[:2], ctx.dilation), None


def _is_fast_for(input: Tensor) -> bool:
    """Return whether the functions above serve this input; everything else is left to torch's own layers.

    They serve float32 and float64 on a CPU without autocast, which casts what enters torch's layers and knows
    nothing of our functions. An input of one value a channel is left to torch for its error, and one of a single
    channel because its layout in memory is ambiguous: gradients came out wrong.
    """
    fits = input.ndim == 4 and input.numel() > input.shape[1] > 1 and not torch.is_autocast_enabled("cpu")
    return fits and input.device.type == "cpu" and input.dtype in (torch.float32, torch.float64)
