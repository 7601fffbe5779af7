"""DBSN (Wu et al., "Unpaired learning of deep image denoising", ECCV 2020): a dilated blind-spot network.

The mean of each pixel is predicted from all others: a 1x1 convolution, then two branches, a 3x3 convolution without
its centre followed by convolutions of dilation 2, and a 5x5 one followed by dilation 3; by parity (modulo 3) no path
leads back to the pixel itself. Each branch has eight modules of several dilations' reach, 96 channels; 1x1
convolutions join them. From the last features three 1x1 convolutions give the mean's variance, from the noisy pixels
five give the noise's, 16 channels each, and Bayes' rule weighs the pixel itself and its predicted mean.

6,568,435 parameters; table 10 says 6.61 M. Chosen here, within 1 % of that count: a module has three parts of a 1x1
and of 0, 1 and 3 dilated convolutions, which are stacked, joined by a 1x1 and added to its input. The noise is white,
so its variance is one number an image; variances are softplus; first weights are torch's. Departs: published for
learning without clean images, trained here as all others are, on pairs and on the loss of the final estimate, and
without the second stage that teaches another network: its score here is that of the architecture.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu, softplus

from hinas_nb.comparators.base import Restorer

MODULES, DEPTHS = 8, (0, 1, 3)  # per branch; dilated convolutions in a module's parts
VARIANCE_WIDTH = 16


class DBSN(Restorer):
    """One grey channel; the blind-spot mean alone is `mean_and_features(noisy)[0]`."""

    halo = None  # the noise's variance is a mean over the whole image

    def __init__(self, width: int = 96):
        super().__init__()
        self.first = nn.Conv2d(1, width, 1)
        self.branches = nn.ModuleList(Branch(width, dilation) for dilation in (2, 3))
        self.join = nn.Sequential(*pointwise(2 * width, width), *pointwise(width, width))
        self.mean = nn.Conv2d(width, 1, 1)
        self.mean_variance = nn.Sequential(*pointwise(width, VARIANCE_WIDTH), *_stack(1))
        self.noise_variance = nn.Sequential(*pointwise(1, VARIANCE_WIDTH), *_stack(3))

    def forward(self, noisy: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch 1 height width"]:
        mean, features = self.mean_and_features(noisy)
        of_mean = softplus(self.mean_variance(features))
        of_noise = softplus(self.noise_variance(noisy)).mean(dim=(2, 3), keepdim=True)
        return (of_mean * noisy + of_noise * mean) / (of_mean + of_noise)

    def mean_and_features(self, noisy: Tensor) -> tuple[Tensor, Tensor]:
        features = relu(self.first(noisy))
        features = self.join(torch.cat([branch(features) for branch in self.branches], dim=1))
        return self.mean(features), features


class Branch(nn.Module):
    """A convolution that leaves out its centre, and modules whose steps never return to it."""

    def __init__(self, width: int, dilation: int):
        super().__init__()
        kernel = 2 * dilation - 1
        self.blind = nn.Conv2d(width, width, kernel, padding=kernel // 2)
        modules = [Module(width, dilation) for _ in range(MODULES)]
        self.modules_and_end = nn.Sequential(*modules, *pointwise(width, width))
        hole = torch.ones(kernel, kernel)
        hole[kernel // 2, kernel // 2] = 0
        self.register_buffer("hole", hole, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        weight = self.blind.weight * self.hole
        blind = conv2d(features, weight, self.blind.bias, padding=self.blind.padding)
        return self.modules_and_end(relu(blind))


class Module(nn.Module):
    """Parts that reach 0, 1 and 3 dilated convolutions far, joined and added to the input."""

    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.parts = nn.ModuleList(
            nn.Sequential(
                *pointwise(width, width), *(dilated for _ in range(depth) for dilated in _dilated(width, dilation))
            )
            for depth in DEPTHS
        )
        self.join = nn.Conv2d(len(DEPTHS) * width, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        return relu(features + self.join(torch.cat([part(features) for part in self.parts], dim=1)))


def pointwise(inputs: int, outputs: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, 1), nn.ReLU()


def _dilated(width: int, dilation: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation), nn.ReLU()


def _stack(layers: int) -> list[nn.Module]:
    """1x1 convolutions of the variances' width, then one to a single channel."""
    inner = [layer for _ in range(layers) for layer in pointwise(VARIANCE_WIDTH, VARIANCE_WIDTH)]
    return [*inner, nn.Conv2d(VARIANCE_WIDTH, 1, 1)]
