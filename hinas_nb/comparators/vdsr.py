"""VDSR (Kim et al., "Accurate image super-resolution using very deep convolutional networks", CVPR 2016).

20 convolutions of 3x3, 64 channels, ReLU between them, on the up-sampled luminance, to which the last one's output is
added. 665,921 parameters against 665 K published.

Published as one network for all scales; here one per scale, as every network. Chosen here: biases; first weights by
He et al., as published.
"""

import math

from jaxtyping import Float
from torch import Tensor, nn

from hinas_nb.comparators.base import Restorer, he_normal
from hinas_nb.comparators.layers import conv
from hinas_nb.comparators.luma import luminance, with_luminance
from hinas_nb.method.network import upsample


class VDSR(Restorer):
    """The up-sampled image, its luminance y replaced by y + f(y)."""

    task = "sr"

    def __init__(self, scale: int, width: int = 64, depth: int = 20):
        super().__init__()
        self.scale = scale
        inner = [layer for _ in range(depth - 2) for layer in (conv(width, width), nn.ReLU())]
        self.layers = nn.Sequential(conv(1, width), nn.ReLU(), *inner, conv(width, 1))
        he_normal(self)
        self.halo = math.ceil(depth / scale) + 2  # 2: bicubic

    def forward(self, low: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch 3 height width"]:
        large = upsample(low, self.scale)
        y = luminance(large)
        return with_luminance(large, y + self.layers(y))
