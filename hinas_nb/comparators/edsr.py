"""EDSR (Lim et al., "Enhanced deep residual networks for single image super-resolution", CVPR workshops 2017).

32 residual blocks of 256 channels without batch norm, each change scaled by 0.1, a convolution and a skip around them
all, pixel shuffle. 40,729,603 (x2), 43,680,003 (x3) and 43,089,923 (x4) parameters, as published.

Chosen here: torch's first weights; images on 0-1, not 0-255.
"""

from torch import nn

from hinas_nb.comparators.base import Image
from hinas_nb.comparators.layers import UP_RADIUS, Frame, ResidualBlock, conv


class EDSR(Frame):
    def __init__(self, scale: int, width: int = 256, blocks: int = 32):
        super().__init__(scale, width, Trunk(width, blocks))
        self.halo = 1 + 2 * blocks + 1 + UP_RADIUS


class Trunk(nn.Module):
    def __init__(self, width: int, blocks: int):
        super().__init__()
        self.layers = nn.Sequential(*(ResidualBlock(width, factor=0.1) for _ in range(blocks)), conv(width, width))

    def forward(self, features: Image) -> Image:
        return features + self.layers(features)
