"""DBSN (Wu et al., "Unpaired learning of deep image denoising", ECCV 2020): a dilated blind-spot network.

The mean of each pixel is predicted from all others: a 1x1 convolution, then two branches, a 3x3 convolution without
its centre followed by convolutions of dilation 2, and a 5x5 one followed by dilation 3; by parity (modulo 3) no path
leads back to the pixel itself. Each branch has eight modules of several dilated kernels' reach, 96 channels; 1x1
convolutions join them. From the joined features three 1x1 convolutions give the mean's deviation, from the noisy
pixels five give the noise's, 16 channels each, and Bayes' rule weighs the pixel itself and its predicted mean.

6,614,995 parameters, as in the code; table 10 says 6.61 M.
As in the code, throughout: a module's parts are a 1x1 and a dilated 5x5, a 1x1 and a dilated 3x3, and a 1x1 alone;
the noise is white, so its deviation is one number an image. Chosen here: first weights are torch's. Departs:
published for learning without clean images, trained here as all others are, on pairs and on the loss of the final
estimate, and without the second stage that teaches another network: its score here is that of the architecture.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu, softplus

from hinas_nb.comparators.base import Grey, Restorer
from hinas_nb.comparators.layers import conv, stack

_MODULES, _KERNELS = 8, (5, 3, None)  # per branch; dilated convolutions in a module's parts
_DEVIATION_WIDTH = 16
_START, _LEAST = -4 + 3e-4, 1e-3  # what is added to the noise's deviation before its softplus, and after it


class DBSN(Restorer):
    """Restores one grey channel; the blind-spot mean alone is `mean_and_features(noisy)[0]`."""

    halo = None  # the noise's deviation is of the whole image

    def __init__(self, width: int = 96):
        super().__init__()
        self.first = nn.Sequential(*stack([1, width], 1))
        self.branches = nn.ModuleList(_Branch(width, dilation) for dilation in (2, 3))
        self.join = conv(2 * width, width, 1)
        self.mean = nn.Sequential(*stack([width] * 3, 1), conv(width, 1, 1))
        self.mean_deviation = nn.Sequential(*stack([width, *[_DEVIATION_WIDTH] * 2], 1), conv(_DEVIATION_WIDTH, 1, 1))
        self.noise_deviation = nn.Sequential(*stack([1, *[_DEVIATION_WIDTH] * 4], 1), conv(_DEVIATION_WIDTH, 1, 1))

    def forward(self, noisy: Grey) -> Grey:
        mean, features = self.mean_and_features(noisy)
        of_mean = self.mean_deviation(features).square()
        deviation = self.noise_deviation(noisy).mean(dim=(2, 3), keepdim=True)
        of_noise = (softplus(deviation + _START) + _LEAST).square()
        return (of_mean * noisy + of_noise * mean) / (of_mean + of_noise)

    def mean_and_features(self, noisy: Tensor) -> tuple[Tensor, Tensor]:
        features = self.first(noisy)
        features = self.join(torch.cat([branch(features) for branch in self.branches], dim=1))
        return self.mean(features), features


class _Branch(nn.Module):
    """Applies a convolution that leaves out its centre, and modules whose steps never return to it."""

    def __init__(self, width: int, dilation: int):
        super().__init__()
        kernel = 2 * dilation - 1
        self.blind = conv(width, width, kernel)
        modules = [_Module(width, dilation) for _ in range(_MODULES)]
        self.layers = nn.Sequential(nn.ReLU(), *stack([width] * 3, 1), *modules, conv(width, width, 1))
        hole = torch.ones(kernel, kernel)
        hole[kernel // 2, kernel // 2] = 0
        self.register_buffer("hole", hole, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        weight = self.blind.weight * self.hole
        return self.layers(conv2d(features, weight, self.blind.bias, padding=self.blind.padding))


class _Module(nn.Module):
    """Joins parts that reach one dilated 5x5, one dilated 3x3 and not at all, adds the input, and mixes."""

    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.parts = nn.ModuleList(
            nn.Sequential(*stack([width] * 2, 1), *(stack([width] * 2, kernel, dilation=dilation) if kernel else ()))
            for kernel in _KERNELS
        )
        self.join = conv(len(_KERNELS) * width, width, 1)
        self.mix = nn.Sequential(*stack([width] * 3, 1))

    def forward(self, features: Tensor) -> Tensor:
        joined = self.join(torch.cat([part(features) for part in self.parts], dim=1))
        return self.mix(relu(joined) + features)
