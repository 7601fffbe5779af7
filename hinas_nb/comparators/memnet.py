"""MemNet (Tai et al., "MemNet: a persistent memory network for image restoration", ICCV 2017): M6R6, 80 layers.

A convolution, six memory blocks, a convolution that reconstructs the residual. A memory block applies one residual
block of two 3x3 convolutions six times (the recursive unit) and lets a 1x1 convolution (the gate unit) choose among
the outputs of all blocks before and the six results; every convolution follows batch norm and ReLU, 64 channels. All
six blocks' outputs are reconstructed, and the weighted sum of the six images is the result. In super-resolution its
input is the up-sampled luminance.

695,497 parameters against 677 K published; `comparators.TABLE` says why.
As in the code: each of the six recursions has batch norms of its own, and so has each block's reconstruction, whose
convolution all six share; batch norm and ReLU stand before the first convolution too; the weights multiply whole
images, sum w_k (x + r_k), and need not sum to 1. Chosen here: they start at 1/6, where the code's start at 1 and the
first output is six times too bright; first weights are torch's. Departs: the loss sees the weighted sum only, as for
all networks here, and not the six outputs too.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hinas_nb.comparators.base import Image
from hinas_nb.comparators.layers import LumaUpscaler, conv
from hinas_nb.method.fast import BatchNorm2d
from hinas_nb.method.operations import near_identity

_BLOCKS, _RECURSIONS = 6, 6
_RADIUS = 2 * _BLOCKS * _RECURSIONS + 2  # of the whole network, in pixels of its input


class MemNet(LumaUpscaler):
    """Denoises one grey channel (scale None), or up-samples colour 2, 3 or 4 times on its luminance."""

    def __init__(self, scale: int | None = None, width: int = 64):
        super().__init__(scale)
        self.halo = _RADIUS if self.task == "denoise" else math.ceil(_RADIUS / self.scale) + 2  # 2: bicubic
        self.extract = nn.Sequential(BatchNorm2d(1), *_conv(1, width, 3))
        self.memories = nn.ModuleList(_MemoryBlock(width, earlier=index + 1) for index in range(_BLOCKS))
        self.norms = nn.ModuleList(BatchNorm2d(width) for _ in range(_BLOCKS))
        self.reconstruct = nn.Sequential(*_conv(width, 1, 3))
        near_identity(self.reconstruct[-1])
        self.weights = nn.Parameter(torch.full((_BLOCKS,), 1 / _BLOCKS))  # of the blocks' images

    def forward(self, image: Image) -> Float[Tensor, "batch channel height_out width_out"]:
        return self.luma(image, image) if self.task == "denoise" else super().forward(image)

    def luma(self, low: Tensor, large: Tensor) -> Tensor:
        features = [self.extract(large)]
        for memory in self.memories:
            features.append(memory(features))
        residuals = [self.reconstruct(norm(feature)) for norm, feature in zip(self.norms, features[1:])]
        return sum(weight * (large + residual) for weight, residual in zip(self.weights, residuals))


class _MemoryBlock(nn.Module):
    """Applies one residual block again and again, and lets a gate choose among all results, those before included.

    earlier: how many features there are before this block's.
    """

    def __init__(self, width: int, earlier: int):
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Sequential(*_conv(width, width, 3)) for _ in range(2))
        self.norms = nn.ModuleList(nn.ModuleList(BatchNorm2d(width) for _ in range(2)) for _ in range(_RECURSIONS))
        gated = (_RECURSIONS + earlier) * width
        self.gate = nn.Sequential(BatchNorm2d(gated), *_conv(gated, width, 1))

    def forward(self, features: list[Tensor]) -> Tensor:
        state, short_term = features[-1], []
        for norms in self.norms:
            change = state
            for norm, convolution in zip(norms, self.convolutions):
                change = convolution(norm(change))
            state = state + change
            short_term.append(state)
        return self.gate(torch.cat([*features, *short_term], dim=1))


def _conv(inputs: int, outputs: int, kernel: int) -> tuple[nn.Module, nn.Module]:
    return nn.ReLU(), conv(inputs, outputs, kernel)
