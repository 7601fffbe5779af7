"""DuRN-P (Liu et al., "Dual residual networks leveraging the potential of paired operations", CVPR 2019).

Two 3x3 convolutions, six dual residual blocks, two 3x3 convolutions, 32 channels and batch norms throughout; tanh of
what comes out is added to the picture. A block has a residual pair of 3x3 convolutions, then a large and a small
convolution. What passes from block to block is kept twice: the large convolution adds to its own past outputs, the
small one to the block's input, so that any large one may be followed by any small one.

816,225 parameters, as the authors' grey model has; table 10 says 0.82 M.
As in the code: kernels and dilations of the blocks, biases before batch norms, ReLU after each sum, and pictures that
are continued by reflection. Chosen here: where a side has no room for a reflection, all edges are repeated instead;
first weights are torch's.
"""

import torch.nn.functional as F
from torch import nn
from torch.nn.functional import relu

from hinas_nb.comparators.base import Grey, Image, Restorer
from hinas_nb.method.fast import BatchNorm2d
from hinas_nb.method.operations import near_identity

#: Of each block: side of the large kernel, its dilation, side of the small kernel.
BLOCKS = ((5, 1, 3), (7, 1, 5), (7, 2, 5), (11, 2, 7), (11, 1, 5), (11, 3, 7))


class DuRNP(Restorer):
    """Restores noisy + tanh f(noisy), one grey channel."""

    halo = 4 + sum(2 + large // 2 * dilation + small // 2 for large, dilation, small in BLOCKS)

    def __init__(self, width: int = 32):
        super().__init__()
        self.first = nn.Sequential(*_normed(1, width), nn.ReLU(), *_normed(width, width), nn.ReLU())
        self.blocks = nn.ModuleList(_Block(width, *sizes) for sizes in BLOCKS)
        last = near_identity(_Reflecting(width, 1, 3))
        self.last = nn.Sequential(*_normed(width, width), nn.ReLU(), last, nn.Tanh())

    def forward(self, noisy: Grey) -> Grey:
        features = past = self.first(noisy)
        for block in self.blocks:
            features, past = block(features, past)
        return noisy + self.last(features)


class _Block(nn.Module):
    """Maps features, and the sum of all large convolutions before, to both after it."""

    def __init__(self, width: int, large: int, dilation: int, small: int):
        super().__init__()
        self.pair = nn.Sequential(*_normed(width, width), nn.ReLU(), _Reflecting(width, width, 3))
        self.norm = BatchNorm2d(width)
        self.large = nn.Sequential(*_normed(width, width, large, dilation))
        self.small = nn.Sequential(*_normed(width, width, small))

    def forward(self, features: Image, past: Image) -> tuple[Image, Image]:
        x = relu(self.norm(self.pair(features) + features))
        past = relu(self.large(x) + past)
        return relu(self.small(past) + features), past


class _Reflecting(nn.Conv2d):
    """Keeps the size of a picture by reflection at its edges."""

    def forward(self, input: Image) -> Image:
        room = self.dilation[0] * (self.kernel_size[0] // 2)
        mode = "reflect" if min(input.shape[-2:]) > room else "replicate"
        return super().forward(F.pad(input, (room,) * 4, mode))


def _normed(inputs: int, outputs: int, kernel: int = 3, dilation: int = 1) -> tuple[nn.Module, nn.Module]:
    return _Reflecting(inputs, outputs, kernel, dilation=dilation), BatchNorm2d(outputs)
