"""RDN (Zhang et al., "Residual dense network for image super-resolution", CVPR 2018): D=16, C=8, G=64.

16 residual dense blocks: eight 3x3 convolutions with ReLU, each of 64 channels and each seeing all before it in its
block, joined by a 1x1 and added to the block's input. A 1x1 and a 3x3 join all blocks, a skip from the first features
follows, then pixel shuffle. 22,123,395 (x2), 22,308,035 (x3) and 22,271,107 (x4) parameters; 22.1 M and 22.3 M
published.

Chosen here: torch's first weights; the mean colour is taken off, as in EDSR, whose code its authors built on.
"""

import torch
from torch import nn
from torch.nn.functional import relu

from hinas_nb.comparators.base import Image
from hinas_nb.comparators.layers import UP_RADIUS, Frame, conv


class RDN(Frame):
    """Enlarges colour pictures. width: G, of every layer; depth: C, the convolutions of a block."""

    def __init__(self, scale: int, width: int = 64, blocks: int = 16, depth: int = 8):
        super().__init__(scale, width, _Dense(width, blocks, depth))
        self.halo = 2 + depth * blocks + 1 + UP_RADIUS


class _Dense(nn.Module):
    """Makes deep features of shallow ones: all blocks, joined, and a skip around them."""

    def __init__(self, width: int, blocks: int, depth: int):
        super().__init__()
        self.second = conv(width, width)
        self.blocks = nn.ModuleList(_Block(width, depth) for _ in range(blocks))
        self.join = nn.Sequential(conv(blocks * width, width, 1), conv(width, width))

    def forward(self, shallow: Image) -> Image:
        features = [self.second(shallow)]
        for block in self.blocks:
            features.append(block(features[-1]))
        return shallow + self.join(torch.cat(features[1:], dim=1))


class _Block(nn.Module):
    """Adds convolutions that each see all before it, joined, to the features."""

    def __init__(self, width: int, depth: int):
        super().__init__()
        self.layers = nn.ModuleList(conv((index + 1) * width, width) for index in range(depth))
        self.join = conv((depth + 1) * width, width, 1)

    def forward(self, features: Image) -> Image:
        known = features
        for layer in self.layers:
            known = torch.cat([known, relu(layer(known))], dim=1)
        return features + self.join(known)
