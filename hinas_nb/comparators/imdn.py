"""IMDN (Hui et al., "Lightweight image super-resolution with information multi-distillation network", ACM MM 2019).

Six blocks of 64 channels at low resolution. In a block three 3x3 convolutions each set a quarter of their channels
aside and pass on the rest, a fourth makes the last quarter; the quarters are joined, weighted by contrast-aware
channel attention (deviation plus mean of each channel), mixed by a 1x1 and added to the block's input. A 1x1 joins
all blocks, a 3x3 and a skip follow, one convolution and pixel shuffle make the image; LeakyReLU 0.05.
694,404 (x2), 703,059 (x3) and 715,176 (x4) parameters, as published.

Chosen here: torch's first weights. The attention sees the whole image, so an image is never cut into tiles.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hinas_nb.comparators.base import Image, Large, Low, Restorer
from hinas_nb.comparators.layers import Gate, conv, pooled, to_image

SLOPE = 0.05


class IMDN(Restorer):
    """Enlarges colour pictures. width: a multiple of 4."""

    def __init__(self, scale: int, width: int = 64, blocks: int = 6):
        super().__init__(scale)
        self.shallow = conv(3, width)
        self.blocks = nn.ModuleList(_MultiDistillation(width) for _ in range(blocks))
        self.join = nn.Sequential(conv(blocks * width, width, 1), nn.LeakyReLU(SLOPE), conv(width, width))
        self.output = to_image(width, scale)

    def forward(self, low: Low) -> Large:
        features = [self.shallow(low)]
        for block in self.blocks:
            features.append(block(features[-1]))
        return self.output(features[0] + self.join(torch.cat(features[1:], dim=1)))


class _MultiDistillation(nn.Module):
    """Adds quarters set aside step by step, joined, weighted by attention and mixed, to the features."""

    def __init__(self, width: int):
        super().__init__()
        self.kept = width // 4
        widths = (width, width - self.kept, width - self.kept)
        self.steps = nn.ModuleList(nn.Sequential(conv(inputs, width), nn.LeakyReLU(SLOPE)) for inputs in widths)
        self.last = conv(width - self.kept, self.kept)
        self.attention = Gate(width)
        self.mix = conv(width, width, 1)

    def forward(self, features: Image) -> Image:
        aside, rest = [], features
        for step in self.steps:
            kept, rest = step(rest).tensor_split([self.kept], dim=1)
            aside.append(kept)
        joined = torch.cat([*aside, self.last(rest)], dim=1)
        return features + self.mix(self.attention(joined, _contrast(joined)))


def _contrast(features: Image, least: float = 1e-6) -> Float[Tensor, "batch channel 1 1"]:
    """Return deviation plus mean of each channel; `least` keeps the gradient of a constant one finite."""
    mean = pooled(features)
    return mean + pooled((features - mean).square()).clamp_min(least**2).sqrt()
