"""VDSR (Kim et al., "Accurate image super-resolution using very deep convolutional networks", CVPR 2016).

20 convolutions of 3x3, 64 channels, ReLU between them, on the up-sampled luminance, to which the last one's output is
added. 665,921 parameters against 665 K published.

Published as one network for all scales; here one per scale, as every network. Chosen here: biases; first weights by
He et al., as published.
"""

import math

from torch import nn

from hinas_nb.comparators.base import Grey, he_normal
from hinas_nb.comparators.layers import LumaUpscaler, conv, stack


class VDSR(LumaUpscaler):
    """Replaces the up-sampled luminance y by y + f(y)."""

    def __init__(self, scale: int, width: int = 64, depth: int = 20):
        super().__init__(scale)
        self.layers = nn.Sequential(*stack([1, *[width] * (depth - 1)]), conv(width, 1))
        he_normal(self)
        self.halo = math.ceil(depth / scale) + 2  # 2: bicubic

    def luma(self, low: Grey, large: Grey) -> Grey:
        return large + self.layers(large)
