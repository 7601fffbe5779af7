"""SPSR's generator (Ma et al., "Structure-preserving super resolution with gradient guidance", CVPR 2020), for x4.

ESRGAN's trunk, 23 residual-in-residual dense blocks of 64 channels, and a branch that sees the gradient of the picture:
four times the branch's features are joined with the trunk's, after its 5th, 10th, 15th and 20th block, and go through
a block and a 3x3 that halves them. Both are enlarged by nearest neighbours and 3x3 convolutions; a last block joins
them, and three 3x3 make the image. LeakyReLU 0.2.

24,796,035 parameters for x4; 24.8 M in table 12, and 195 more in its authors' code, of the layer that shows the
branch's gradient.
As in the code: the order of the layers; the gradient is sqrt(dx^2 + dy^2 + 1e-6) of differences over two pixels.
Departs: trained for PSNR, with the same loss as all others, where its authors add adversarial and perceptual losses
and losses of the gradient, on the image and on the branch; so its sharpness is not to be had here. Chosen here: first
weights a tenth of those by He et al., as in the code.
"""

import torch
import torch.nn.functional as F
from torch import nn

from hinas_nb.comparators.base import Image, Large, Low, Restorer, he_normal
from hinas_nb.comparators.layers import Skip, conv
from hinas_nb.method.operations import activation

SHARE = 0.2  # of a block's change that is added
STAGES = 4  # of the gradient branch
FAR = 6  # low-resolution pixels that the layers at high resolution see


class SPSR(Restorer):
    """Enlarges colour pictures. every: blocks of the trunk between two stages. Dense layers have half the width."""

    def __init__(self, scale: int, width: int = 64, blocks: int = 23, every: int = 5):
        super().__init__(scale)
        self.every, growth = every, width // 2
        self.shallow, self.gradient = conv(3, width), conv(3, width)
        self.blocks = nn.ModuleList(_block(width, growth) for _ in range(blocks))
        self.stages = nn.ModuleList(_halving(width, growth) for _ in range(STAGES))
        self.trunk_end, self.branch_end = conv(width, width), conv(width, width)
        self.trunk_large, self.branch_large = _enlarge(width, scale), _enlarge(width, scale)
        self.join = _halving(width, growth)
        self.output = nn.Sequential(conv(width, width), activation(), conv(width, 3))
        he_normal(self)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.data.mul_(0.1)
        by_branch = (15 * every * stage + 16 * (STAGES + 1 - stage) for stage in range(1, STAGES + 1))
        self.halo = 1 + max(15 * blocks, *by_branch) + 1 + FAR

    def forward(self, low: Low) -> Large:
        shallow, edges = self.shallow(low), self.gradient(_gradient(low))
        features, branch, stages = shallow, edges, iter(self.stages)
        for number, block in enumerate(self.blocks, start=1):
            features = block(features)
            if number % self.every == 0 and number <= STAGES * self.every:
                branch = next(stages)(torch.cat([branch, features], dim=1))
        trunk = self.trunk_large(shallow + self.trunk_end(features))
        branch = self.branch_large(edges + self.branch_end(branch))
        return self.output(self.join(torch.cat([branch, trunk], dim=1)))


class _Dense(nn.Module):
    """Adds a share of what five convolutions, each of which sees all before it, make of the features."""

    def __init__(self, width: int, growth: int):
        super().__init__()
        widths = [width + layer * growth for layer in range(5)]
        self.layers = nn.ModuleList(nn.Sequential(conv(seen, growth), activation()) for seen in widths[:-1])
        self.last = conv(widths[-1], width)

    def forward(self, features: Image) -> Image:
        known = features
        for layer in self.layers:
            known = torch.cat([known, layer(known)], dim=1)
        return features + SHARE * self.last(known)


def _block(width: int, growth: int) -> Skip:
    """Return a residual-in-residual dense block: a share of what three dense ones make is added to the features."""
    return Skip(*(_Dense(width, growth) for _ in range(3)), factor=SHARE)


def _halving(width: int, growth: int) -> nn.Sequential:
    """Return a block on twice the width and the convolution that halves it."""
    return nn.Sequential(_block(2 * width, growth), conv(2 * width, width))


def _enlarge(width: int, scale: int) -> nn.Sequential:
    """Return doublings by nearest neighbours, each with a convolution, and two more convolutions."""
    steps = [nn.Sequential(nn.Upsample(scale_factor=2), conv(width, width), activation()) for _ in range(scale // 2)]
    return nn.Sequential(*steps, conv(width, width), activation(), conv(width, width))


def _gradient(image: Image) -> Image:
    """Return the length of each channel's gradient."""
    padded = F.pad(image, (1, 1, 1, 1))
    down = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    right = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    return (down.square() + right.square() + 1e-6).sqrt()
