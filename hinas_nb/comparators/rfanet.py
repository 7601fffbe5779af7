"""RFANet (Liu et al., "Residual feature aggregation network for image super-resolution", CVPR 2020).

30 modules of 64 channels. A module has four residual blocks: two 3x3 convolutions with a ReLU between, weighted by
spatial attention, added to the block's input. What the first three blocks add is passed on to the end of the module,
where a 1x1 joins it with the fourth block's features; the module's input is added. A convolution and a skip end all
modules, pixel shuffle follows. The attention looks at the features from far off: a quarter of the channels, a strided
convolution, max-pooling by 7 with stride 3, three convolutions, bilinear up-sampling.

10,945,923 (x2), 11,130,563 (x3) and 11,093,635 (x4) parameters; 11 M published.
As in the code: the layers of the attention; its last convolution sees, too, the narrowed features at full size.
Chosen here: torch's first weights; the mean colour is taken off, as in EDSR; features of sides below 15 pixels, which
the attention cannot pool, repeat at their ends. Where the attention's pixels lie depends on the size of the image, so
that it is never cut into tiles.
"""

import torch
import torch.nn.functional as F
from torch import nn

from hinas_nb.comparators.base import Image
from hinas_nb.comparators.layers import Frame, Skip, conv, stack

REDUCTION = 4  # of the channels inside the attention
POOL, STRIDE = 7, 3
LEAST = 2 * POOL + 1  # pixels a side that the attention needs


class RFANet(Frame):
    """Enlarges colour pictures by modules that join what all of their residual blocks add."""

    def __init__(self, scale: int, width: int = 64, modules: int = 30, blocks: int = 4):
        inner = (_Aggregation(width, blocks) for _ in range(modules))
        super().__init__(scale, width, Skip(*inner, conv(width, width)))


class _Aggregation(nn.Module):
    """Adds to the features what residual blocks add to them, joined with the last block's features."""

    def __init__(self, width: int, blocks: int):
        super().__init__()
        self.blocks = nn.ModuleList(_Change(width) for _ in range(blocks))
        self.join = conv(blocks * width, width, 1)

    def forward(self, features: Image) -> Image:
        changes, current = [], features
        for block in self.blocks:
            changes.append(block(current))
            current = current + changes[-1]
        return features + self.join(torch.cat([*changes[:-1], current], dim=1))


class _Change(nn.Module):
    """Makes what a residual block adds: two convolutions, weighted by spatial attention."""

    def __init__(self, width: int):
        super().__init__()
        narrow = max(width // REDUCTION, 1)
        self.layers = nn.Sequential(conv(width, width), nn.ReLU(), conv(width, width))
        self.narrow, self.near = conv(width, narrow, 1), conv(narrow, narrow, 1)
        self.stride = nn.Conv2d(narrow, narrow, 3, stride=2)
        self.far = nn.Sequential(*stack([narrow] * 3), conv(narrow, narrow))
        self.weights = nn.Sequential(conv(narrow, width, 1), nn.Sigmoid())

    def forward(self, features: Image) -> Image:
        change = self.layers(features)
        narrow, sides = self.narrow(change), change.shape[2:]
        missing = [max(LEAST - side, 0) for side in sides]
        padded = F.pad(narrow, (0, missing[1], 0, missing[0]), mode="replicate")
        far = self.far(F.max_pool2d(self.stride(padded), POOL, STRIDE))
        far = F.interpolate(far, tuple(sides), mode="bilinear", align_corners=False)
        return change * self.weights(far + self.near(narrow))
