"""SRMDNF (Zhang et al., "Learning a single convolutional super-resolution network for multiple degradations", 2018).

The picture and a code of its degradation, the same 15 numbers at every pixel, go through twelve 3x3 convolutions of 128
channels, with batch norm and ReLU after all but the last, whose output pixel shuffle makes the image. SRMDNF is the
one for pictures without noise, whose scores for bicubic down-sampling tables 11 and 12 print; SRMD has one map more.

1,511,948 (x2), 1,529,243 (x3) and 1,553,456 (x4) parameters; 1.51 M (x2) published.
Chosen here: torch's first weights; no biases before batch norms (with these folded in, as in the code, 1,510,540 for
x2); as pictures here are all degraded by bicubic down-sampling, the code of its kernel is one constant, and as that of
its authors is not published, each of the 15 numbers is 1.
"""

from itertools import pairwise

import torch
from torch import nn

from hinas_nb.comparators.base import Large, Low, Restorer
from hinas_nb.comparators.layers import conv, to_image

CODE = 15  # principal components of a blur kernel


class SRMDNF(Restorer):
    """Enlarges colour pictures of one known degradation."""

    def __init__(self, scale: int, width: int = 128, depth: int = 12):
        super().__init__(scale)
        widths = [3 + CODE, *[width] * (depth - 1)]
        inner = (layer for a, b in pairwise(widths) for layer in (conv(a, b, bias=False), nn.BatchNorm2d(b), nn.ReLU()))
        self.layers = nn.Sequential(*inner, *to_image(width, scale))
        self.halo = depth

    def forward(self, low: Low) -> Large:
        code = low.new_ones(len(low), CODE, *low.shape[2:])
        return self.layers(torch.cat([low, code], dim=1))
