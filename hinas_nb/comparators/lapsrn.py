"""LapSRN (Lai et al., "Deep Laplacian pyramid networks for fast and accurate super-resolution", CVPR 2017).

On the luminance, one level per doubling: ten 3x3 convolutions of 64 channels and a 3x3 transposed one make features
twice as large, LeakyReLU 0.2 after each; a 3x3 convolution of them is added to the image, which a 4x4 transposed
convolution doubled. x3 is the x4 network with its output shrunk bicubically by 3/4, as its authors evaluate x3.

407,441 parameters (x2) and 814,242 (x3, x4); `comparators.TABLE` says why others count 251 K and 502 K.
As in the code: the features are doubled by a 3x3 kernel, cut at the lower and right end (the paper speaks of 4x4);
the image is doubled without bias, at first bilinearly. Chosen here: all other first weights by He et al., where the
code starts the first convolution at deviation 0.001, too small for short trainings.
Departs: the loss sees the last level only, as for all networks here, and not each level's image.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hinas_nb.comparators.base import Grey, he_normal
from hinas_nb.comparators.layers import LumaUpscaler, conv, stack
from hinas_nb.method.network import cubic
from hinas_nb.method.operations import activation


class LapSRN(LumaUpscaler):
    """Doubles the luminance level by level. depth: 3x3 convolutions of each before its features are doubled."""

    def __init__(self, scale: int, width: int = 64, depth: int = 10):
        super().__init__(scale)
        self.extract = nn.Sequential(conv(1, width), activation())
        he_normal(self.extract)
        self.levels = nn.ModuleList(_Level(width, depth) for _ in range(1 if scale == 2 else 2))
        self.halo = 3 if scale == 3 else 1  # of the last residual, in pixels of the last level, with the shrinking
        for _ in self.levels:
            self.halo = self.halo // 2 + 1 + depth  # 1: the transposed convolution
        self.halo += 1  # the first convolution

    def luma(self, low: Grey, large: Grey) -> Grey:
        features, y = self.extract(low), low
        for level in self.levels:
            features, y = level(features, y)
        return _three_quarters(y) if self.scale == 3 else y


class _Level(nn.Module):
    """Doubles the features and the image, to which it adds a residual of the features."""

    def __init__(self, width: int, depth: int):
        super().__init__()
        self.features = nn.Sequential(*stack([width] * (depth + 1), activation=activation))
        self.twice = nn.ConvTranspose2d(width, width, 3, 2)
        self.residual = conv(width, 1)
        he_normal(self)
        self.image = nn.ConvTranspose2d(1, 1, 4, 2, 1, bias=False)
        ramp = torch.tensor([0.25, 0.75, 0.75, 0.25])
        self.image.weight.data.copy_(ramp[:, None] * ramp)  # bilinear

    def forward(self, features: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        features = activation()(self.twice(self.features(features))[..., :-1, :-1])
        return features, self.image(y) + self.residual(features)


def _three_quarters(image: Float[Tensor, "batch 1 h w"]) -> Grey:
    """Shrink sides 4n to 3n by MATLAB's bicubic kernel, one per phase, so that tiles match the whole."""
    taps = []
    for phase in range(3):
        centre = (phase + 0.5) * 4 / 3 - 0.5
        taps.append([cubic(abs(tap - 2 - centre) * 0.75, a=-0.5) for tap in range(8)])
    lines = image.new_tensor(taps)
    lines = lines / lines.sum(dim=1, keepdim=True)
    kernels = torch.einsum("ay, bx -> abyx", lines, lines).reshape(9, 1, 8, 8)
    padded = F.pad(image, (2, 2, 2, 2), mode="replicate")
    return F.pixel_shuffle(F.conv2d(padded, kernels, stride=4), 3)
