"""The layers that several comparators are made of: plain stacks, skips, up-sampling, attention, and two frames."""

from collections.abc import Callable
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from hinas_nb.comparators.base import Grey, Image, Large, Low, Restorer
from hinas_nb.method.network import upsample

MEAN = (0.4488, 0.4371, 0.4040)  # red, green, blue of DIV2K's training images, on 0-1
REDUCTION = 16  # of the channels inside a channel attention
Y_WEIGHTS = (0.299, 0.587, 0.114)  # of red, green, blue: BT.601's Y on 0-1, of which that of 16-235 is a function
UP_RADIUS = 2  # of `enlarge` and a 3x3 convolution after it, in low-resolution pixels, at each scale


class LumaUpscaler(Restorer):
    """Enlarges colour pictures by what `luma` makes of their luminance; the chroma is left to bicubic up-sampling.

    Red, green and blue all contain Y with weight 1, so replacing Y adds the same change to each of them.
    """

    def forward(self, image: Low) -> Large:
        large = upsample(image, self.scale)
        y = luminance(large)
        return large + (self.luma(luminance(image), y) - y)

    def luma(self, low: Grey, large: Grey) -> Grey:
        """Return the enlarged luminance, from that of the picture and of its bicubic up-sampling."""
        raise NotImplementedError


def luminance(image: Large) -> Grey:
    """Return Y of red, green and blue."""
    return sum(weight * image[:, i : i + 1] for i, weight in enumerate(Y_WEIGHTS))


class Frame(Restorer):
    """Makes shallow features, `deep` ones of them, and enlarges these by pixel shuffle to the image, as EDSR does.

    The mean colour is taken off before and put back after; there is no bicubic skip.
    deep: maps (batch, width, h, w) to the same shape. shallow: maps (batch, 3, h, w) to that; None: a 3x3 convolution.
    direct: the convolution before the pixel shuffle makes the colours, as in later networks, and none follows.
    """

    def __init__(self, scale: int, width: int, deep: nn.Module, shallow: nn.Module | None = None, direct: bool = False):
        super().__init__(scale)
        self.shallow, self.deep = shallow or conv(3, width), deep
        self.enlarge = to_image(width, scale) if direct else enlarge(width, scale)
        self.output = nn.Identity() if direct else conv(width, 3)

    def forward(self, low: Low) -> Large:
        mean = low.new_tensor(MEAN).view(1, 3, 1, 1)
        return mean + self.output(self.enlarge(self.deep(self.shallow(low - mean))))


class Gate(nn.Module):
    """Weights channels by attention (Hu et al. 2018): from one number for each, by two 1x1 convolutions."""

    def __init__(self, width: int):
        super().__init__()
        narrow = max(width // REDUCTION, 1)
        self.weights = nn.Sequential(conv(width, narrow, 1), nn.ReLU(), conv(narrow, width, 1), nn.Sigmoid())

    def forward(self, features: Image, described: Float[Tensor, "batch channel 1 1"]) -> Image:
        return features * self.weights(described)


class Skip(nn.Module):
    """Adds `factor` times what the layers make of the features to the features."""

    def __init__(self, *layers: nn.Module, factor: float = 1.0):
        super().__init__()
        self.factor, self.layers = factor, nn.Sequential(*layers)

    def forward(self, features: Image) -> Image:
        return features + self.factor * self.layers(features)


def residual_block(width: int, factor: float = 1.0) -> Skip:
    """Return EDSR's block, without batch norm: x + factor * f(x), f two convolutions with a ReLU between."""
    return Skip(conv(width, width), nn.ReLU(), conv(width, width), factor=factor)


def conv(
    inputs: int, outputs: int, kernel: int = 3, groups: int = 1, dilation: int = 1, bias: bool = True
) -> nn.Conv2d:
    """Return a convolution that keeps the size."""
    padding = kernel // 2 * dilation
    return nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, groups=groups, bias=bias)


def stack(
    widths: list[int], kernel: int = 3, activation: Callable[[], nn.Module] = nn.ReLU, dilation: int = 1
) -> list[nn.Module]:
    """Return convolutions from each width to the next, every one with its activation."""
    return [layer for ends in pairwise(widths) for layer in (conv(*ends, kernel, dilation=dilation), activation())]


def enlarge(width: int, scale: int) -> nn.Sequential:
    """Return convolution and pixel shuffle, for x4 twice by 2; maps (batch, width, h, w) to `scale` times the size."""
    steps = (2, 2) if scale == 4 else (scale,)
    return nn.Sequential(*(layer for step in steps for layer in (conv(width, width * step**2), nn.PixelShuffle(step))))


def to_image(width: int, scale: int) -> nn.Sequential:
    """Return a convolution and pixel shuffle to three colours, `scale` times as large."""
    return nn.Sequential(conv(width, 3 * scale**2), nn.PixelShuffle(scale))


def deconv(inputs: int, outputs: int, kernel: int, scale: int, deviation: float) -> nn.ConvTranspose2d:
    """Return a transposed convolution to `scale` times the size, its kernel centred as far as whole pixels allow.

    deviation: standard deviation of the first weights.
    """
    padding = (kernel - scale + 1) // 2
    layer = nn.ConvTranspose2d(inputs, outputs, kernel, scale, padding, output_padding=2 * padding + scale - kernel)
    nn.init.normal_(layer.weight, std=deviation)
    nn.init.zeros_(layer.bias)
    return layer


def deconv_radius(kernel: int, scale: int) -> int:
    """Return how many low-resolution pixels a `deconv` sees beyond the one that an output pixel lies in."""
    padding = (kernel - scale + 1) // 2
    return max((kernel - 1 - padding) // scale, (scale - 1 + padding) // scale)


def pooled(features: Image) -> Float[Tensor, "batch channel 1 1"]:
    return features.mean(dim=(2, 3), keepdim=True)
