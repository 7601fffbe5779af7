"""The candidate operations (section 3.1) and the layers that all networks here are made of.

Every convolution follows the order activation -> convolution -> batch norm, with stride 1 and zero padding that
keeps the size, and has no bias (the batch norm that follows has one). Notebook `02_search_space` draws the space.
"""

from contextlib import contextmanager

import torch
from torch import nn

from hinas_nb.method.fast import BatchNorm2d, DeformableConv2d, DepthwiseConv2d, DilatedConv2d
from hinas_nb.method.genotype import KINDS, SLOPE


def operation(name: str, width: int, affine: bool = True) -> nn.Module:
    """Build the operation `name`, which maps (batch, width, height, width_px) to the same shape.

    affine: whether its batch norms scale and shift; those of the supernet do not.
    """
    if name == "skip":
        return nn.Identity()
    kind = KINDS[name]
    if kind.deformable:
        return nn.Sequential(activation(), DeformableConv2d(width), nn.BatchNorm2d(width, affine=affine))
    layers = []
    for _ in range(2 if kind.separable else 1):
        layers.append(activation())
        if kind.separable:
            layers += [DepthwiseConv2d(width, kind.kernel), *conv_norm(width, width, 1, affine=affine)]
        else:
            layers += conv_norm(width, width, kind.kernel, kind.dilation, affine)
    return nn.Sequential(*layers)


def separable(inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    """Build the heads' separable 3x3: depthwise, batch norm, activation, 1x1, batch norm, activation."""
    return nn.Sequential(
        DepthwiseConv2d(inputs, 3, dilation),
        BatchNorm2d(inputs),
        activation(in_place=True),
        *conv_norm(inputs, outputs, 1),
        activation(in_place=True),
    )


def pointwise(inputs: int, outputs: int) -> nn.Sequential:
    """Build the heads' 1x1 convolution, batch norm and activation."""
    return nn.Sequential(*conv_norm(inputs, outputs, 1), activation(in_place=True))


def conv_norm(
    inputs: int, outputs: int, kernel: int, dilation: int = 1, affine: bool = True
) -> tuple[nn.Module, nn.Module]:
    """Build a size-keeping convolution without bias, and its batch norm."""
    padding, kind = dilation * (kernel - 1) // 2, nn.Conv2d if dilation == 1 else DilatedConv2d
    conv = kind(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False)
    return conv, BatchNorm2d(outputs, affine=affine)


def activation(in_place: bool = False) -> nn.Module:
    """Build a LeakyReLU; `in_place` only where nobody else reads its input, as after a batch norm."""
    return nn.LeakyReLU(SLOPE, in_place)


def near_identity(last: nn.Conv2d) -> nn.Conv2d:
    """Divide the first weights of the convolution that predicts a residual by ten: training starts near the input.

    Departs: with the first weights of its description a network adds more noise than there is, and spends a short
    budget on unlearning that: DnCNN of 35 channels is at 17.1 dB after the 200 steps of profile smoke, at 23.1 so.
    """
    last.weight.data.mul_(0.1)
    return last


@contextmanager
def seeded(seed: int):
    """Let layers built inside draw their first weights from `seed`; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield


@contextmanager
def frozen(parameters: list[nn.Parameter]):
    """Compute no gradient for these parameters inside."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
