"""What several super-resolution networks are made of: up-sampling layers, channel attention, and EDSR's frame."""

from jaxtyping import Float
from torch import Tensor, nn

from hinas_nb.comparators.base import Image, Restorer

MEAN = (0.4488, 0.4371, 0.4040)  # red, green, blue of DIV2K's training images, on 0-1
REDUCTION = 16  # of the channels inside a channel attention
UP_RADIUS = 2  # of `enlarge` and a 3x3 convolution after it, in low-resolution pixels, at each scale


class Frame(Restorer):
    """EDSR's frame: shallow features, `deep` ones at low resolution, enlarged by pixel shuffle to the image.

    The mean colour is taken off before and put back after; there is no bicubic skip.
    deep: maps (batch, width, h, w) to the same shape.
    """

    task = "sr"

    def __init__(self, scale: int, width: int, deep: nn.Module):
        super().__init__()
        self.scale = scale
        self.shallow, self.deep = conv(3, width), deep
        self.enlarge, self.output = enlarge(width, scale), conv(width, 3)

    def forward(self, low: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch 3 height width"]:
        mean = low.new_tensor(MEAN).view(1, 3, 1, 1)
        return mean + self.output(self.enlarge(self.deep(self.shallow(low - mean))))


class Gate(nn.Module):
    """Channel attention (Hu et al. 2018): weights from one number per channel, by two 1x1 convolutions."""

    def __init__(self, width: int):
        super().__init__()
        narrow = max(width // REDUCTION, 1)
        self.weights = nn.Sequential(conv(width, narrow, 1), nn.ReLU(), conv(narrow, width, 1), nn.Sigmoid())

    def forward(self, features: Image, described: Float[Tensor, "batch channel 1 1"]) -> Image:
        return features * self.weights(described)


class ResidualBlock(nn.Module):
    """x + factor * f(x), f two convolutions with a ReLU between: EDSR's block without batch norm."""

    def __init__(self, width: int, factor: float = 1.0):
        super().__init__()
        self.factor = factor
        self.layers = nn.Sequential(conv(width, width), nn.ReLU(), conv(width, width))

    def forward(self, features: Image) -> Image:
        return features + self.factor * self.layers(features)


def conv(inputs: int, outputs: int, kernel: int = 3, groups: int = 1) -> nn.Conv2d:
    """Keeps the size, with a bias."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups)


def enlarge(width: int, scale: int) -> nn.Sequential:
    """Convolution and pixel shuffle, for x4 twice by 2; maps (batch, width, h, w) to `scale` times the size."""
    steps = (2, 2) if scale == 4 else (scale,)
    return nn.Sequential(*(layer for step in steps for layer in (conv(width, width * step**2), nn.PixelShuffle(step))))


def deconv(inputs: int, outputs: int, kernel: int, scale: int, deviation: float) -> nn.ConvTranspose2d:
    """A transposed convolution to exactly `scale` times the size, centred as far as whole pixels allow.

    deviation: standard deviation of the first weights.
    """
    padding = (kernel - scale + 1) // 2
    layer = nn.ConvTranspose2d(inputs, outputs, kernel, scale, padding, output_padding=2 * padding + scale - kernel)
    nn.init.normal_(layer.weight, std=deviation)
    nn.init.zeros_(layer.bias)
    return layer


def deconv_radius(kernel: int, scale: int) -> int:
    """Low-resolution pixels that a `deconv` sees beyond the one an output pixel lies in."""
    padding = (kernel - scale + 1) // 2
    return max((kernel - 1 - padding) // scale, (scale - 1 + padding) // scale)


def pooled(features: Image) -> Float[Tensor, "batch channel 1 1"]:
    return features.mean(dim=(2, 3), keepdim=True)
