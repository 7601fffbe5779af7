"""FFDNet (Zhang et al., "FFDNet: toward a fast and flexible solution for CNN-based image denoising", TIP 2018).

The picture is folded 2x2 into channels and joined by a map of the noise's deviation; 15 plain 3x3 convolutions of 64
channels map that to the folded picture, without a residual. One network serves all sigmas. 485,316 parameters.

As in the code: the grey model as its authors distribute it (each convolution has a bias, there are no batch norms);
the paper's text still has batch norms, and orthogonal first weights. Chosen here: first weights by He et al., since
without batch norms torch's let a signal fade in so many layers.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hinas_nb.comparators.base import Grey, Restorer, he_normal
from hinas_nb.comparators.layers import conv, stack
from hinas_nb.method.network import folded

_LAYERS, _FOLD = 15, 2


class FFDNet(Restorer):
    """Restores f(noisy, sigma): the first channel is the grey picture, the second one sigma / 255 at every pixel."""

    noise_map = True
    halo = _LAYERS * _FOLD + _FOLD - 1

    def __init__(self, width: int = 64):
        super().__init__()
        inner = stack([width] * (_LAYERS - 1))  # drawn before the first convolution, as Runs have it
        self.layers = nn.Sequential(conv(_FOLD**2 + 1, width), nn.ReLU(), *inner, conv(width, _FOLD**2))
        he_normal(self)

    def forward(self, noisy: Float[Tensor, "batch 2 height width"]) -> Grey:
        picture, deviation = noisy[:, :1], noisy[:, 1:, ::_FOLD, ::_FOLD]
        found = self.layers(torch.cat([folded(picture, _FOLD), deviation], dim=1))
        return F.pixel_shuffle(found, _FOLD)[..., : noisy.shape[-2], : noisy.shape[-1]]
