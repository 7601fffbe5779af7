"""RCAN (Zhang et al., "Image super-resolution using very deep residual channel attention networks", ECCV 2018).

Ten groups of 20 blocks of 64 channels: two 3x3 convolutions with a ReLU between, weighted by channel attention (mean
of each channel, reduction 16), added to the block's input. A convolution and a skip end each group and all of them,
pixel shuffle follows. 15,444,643 (x2), 15,629,283 (x3) and 15,592,355 (x4) parameters, as published.

Chosen here: torch's first weights. The attention sees the whole image, so an image is never cut into tiles.
"""

from torch import nn

from hinas_nb.comparators.base import Image
from hinas_nb.comparators.layers import Frame, Gate, Skip, conv, pooled


class RCAN(Frame):
    """Enlarges colour pictures by groups of blocks with channel attention."""

    def __init__(self, scale: int, width: int = 64, groups: int = 10, blocks: int = 20):
        inner = (Skip(*(_Block(width) for _ in range(blocks)), conv(width, width)) for _ in range(groups))
        super().__init__(scale, width, Skip(*inner, conv(width, width)))


class _Block(nn.Module):
    """Adds two convolutions, weighted by channel attention, to the features."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(conv(width, width), nn.ReLU(), conv(width, width))
        self.attention = Gate(width)

    def forward(self, features: Image) -> Image:
        change = self.layers(features)
        return features + self.attention(change, pooled(change))
