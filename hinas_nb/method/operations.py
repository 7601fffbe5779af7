"""The candidate operations (section 3.1) and the layers they are made of.

Every convolution follows the order activation -> convolution -> batch norm, with stride 1 and zero padding that
keeps the size, and has no bias (the batch norm that follows has one). `supercell` computes the same operations
for many edges at once. Notebook `02_search_space` draws the space.
"""

from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from hinas_nb.method.fast.deformable import MAX_OFFSET, DeformableConv2d
from hinas_nb.method.fast.layers import BatchNorm2d, DepthwiseConv2d, DilatedConv2d

SLOPE = 0.2  # of every LeakyReLU


@dataclass(frozen=True)
class Kind:
    """Geometry of a convolutional operation."""

    kernel: int
    dilation: int = 1
    separable: bool = False  # depthwise + 1x1, all of it twice
    deformable: bool = False

    @property
    def padding(self) -> int:
        return self.dilation * (self.kernel - 1) // 2

    @property
    def radius(self) -> int:
        """Pixels the operation sees beyond its own, on each side."""
        return self.padding * (2 if self.separable else 1) + (MAX_OFFSET if self.deformable else 0)


KINDS = {
    "conv_3": Kind(3),
    "sep_3": Kind(3, separable=True),
    "sep_5": Kind(5, separable=True),
    "dil_3": Kind(3, dilation=2),
    "dil_5": Kind(5, dilation=2),
    "def_3": Kind(3, deformable=True),  # outside the published space; the CVPR 2020 one has it
    "conv_5": Kind(5),  # outside the space; only R1 offers it
}


def operation(name: str, width: int) -> nn.Module:
    """One decoded operation; maps (batch, width, height, width_px) to the same shape."""
    if name == "skip":
        return nn.Identity()
    kind = KINDS[name]
    if kind.deformable:
        return nn.Sequential(activation(), DeformableConv2d(width), nn.BatchNorm2d(width))
    if not kind.separable:
        return nn.Sequential(activation(), *conv_norm(width, width, kind.kernel, kind.dilation))
    return nn.Sequential(*separable_half(width, kind), *separable_half(width, kind))


def separable_half(width: int, kind: Kind) -> list[nn.Module]:
    """Activation, depthwise k x k, 1x1, batch norm: half of a candidate `sep_k`."""
    return [activation(), DepthwiseConv2d(width, kind.kernel), *conv_norm(width, width, 1)]


def separable(inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    """The heads' separable 3x3: depthwise, batch norm, activation, 1x1, batch norm, activation."""
    return nn.Sequential(
        DepthwiseConv2d(inputs, 3, dilation),
        BatchNorm2d(inputs),
        activation(in_place=True),
        *conv_norm(inputs, outputs, 1),
        activation(in_place=True),
    )


def pointwise(inputs: int, outputs: int) -> nn.Sequential:
    """The heads' 1x1 convolution, batch norm, activation."""
    return nn.Sequential(*conv_norm(inputs, outputs, 1), activation(in_place=True))


def conv_norm(
    inputs: int, outputs: int, kernel: int, dilation: int = 1, affine: bool = True
) -> tuple[nn.Module, nn.Module]:
    """A size-keeping convolution without bias and its batch norm."""
    padding, kind = dilation * (kernel - 1) // 2, nn.Conv2d if dilation == 1 else DilatedConv2d
    conv = kind(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False)
    return conv, BatchNorm2d(outputs, affine=affine)


def activation(in_place: bool = False) -> nn.Module:
    """in_place: for what nobody else reads, as a batch norm's output."""
    return nn.LeakyReLU(SLOPE, in_place)


def near_identity(last: nn.Conv2d) -> nn.Conv2d:
    """The convolution that predicts a residual, with a tenth of its first weights: training starts near the input.

    Departs: with the first weights of its description a network adds more noise than there is, and spends a short
    budget on unlearning that: DnCNN of 35 channels is at 17.1 dB after the 200 steps of profile smoke, at 23.1 so.
    """
    last.weight.data.mul_(0.1)
    return last


@contextmanager
def seeded(seed: int):
    """Layers built inside draw their first weights from `seed`; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield


@contextmanager
def frozen(parameters: list[nn.Parameter]):
    """No gradient is computed for these parameters inside."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
