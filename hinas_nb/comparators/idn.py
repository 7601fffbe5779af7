"""IDN (Hui et al., "Fast and accurate single image super-resolution via information distillation network", CVPR 2018).

On the luminance at low resolution: two 3x3 convolutions, four distillation blocks, and a 17x17 transposed convolution
whose output is added to the up-sampled luminance. In a block three convolutions of 48, 32 and 64 channels; a quarter
of the result is kept and joined to the block's input, the rest goes through three of 64, 48 and 80; the two are
added, and a 1x1 convolution brings them back to 64. LeakyReLU 0.05 after each.

552,769 parameters at every scale against 553 K published.
As in the code: the second and the fifth 3x3 of a block have four groups (the paper says the second and the fourth,
which has as many weights), and LeakyReLU follows the 1x1 too. Chosen here: the last layer's kernel is centred on its
pixel as far as whole pixels allow, since the authors' result lacks the first scale - 1 rows and columns; it starts at
deviation 0.001, so that the first output is near bicubic; one loss, where its authors train with the absolute, then
with the squared error.
"""

import torch
from torch import nn

from hinas_nb.comparators.base import Grey, Image, he_normal
from hinas_nb.comparators.layers import LumaUpscaler, conv, deconv, deconv_radius

_KERNEL = 17  # of the last layer
_SLOPE = 0.05
_GROUPS = 4


class IDN(LumaUpscaler):
    """Adds a residual to the up-sampled luminance. width: a multiple of 16, for the groups."""

    def __init__(self, scale: int, width: int = 64, blocks: int = 4):
        super().__init__(scale)
        self.features = nn.Sequential(
            *_activated(1, width), *_activated(width, width), *(_Distillation(width) for _ in range(blocks))
        )
        he_normal(self.features)
        self.residual = deconv(width, 1, _KERNEL, scale, deviation=0.001)
        self.halo = 2 + 6 * blocks + deconv_radius(_KERNEL, scale)

    def luma(self, low: Grey, large: Grey) -> Grey:
        return large + self.residual(self.features(low))


class _Distillation(nn.Module):
    """Keeps a part of the features aside, enhances both, and compresses their sum."""

    def __init__(self, width: int):
        super().__init__()
        self.kept = step = width // 4  # step: by which neighbouring layers differ
        self.first = nn.Sequential(
            *_activated(width, width - step),
            *_activated(width - step, width - 2 * step, groups=_GROUPS),
            *_activated(width - 2 * step, width),
        )
        self.second = nn.Sequential(
            *_activated(width - self.kept, width),
            *_activated(width, width - step, groups=_GROUPS),  # As in the code: not the layer before.
            *_activated(width - step, width + step),
        )
        self.compress = nn.Sequential(*_activated(width + step, width, kernel=1))

    def forward(self, features: Image) -> Image:
        kept, rest = self.first(features).tensor_split([self.kept], dim=1)
        return self.compress(torch.cat([features, kept], dim=1) + self.second(rest))


def _activated(inputs: int, outputs: int, kernel: int = 3, groups: int = 1) -> tuple[nn.Module, nn.Module]:
    return conv(inputs, outputs, kernel, groups), nn.LeakyReLU(_SLOPE)
