"""RED30 (Mao et al., "Image restoration using very deep convolutional encoder-decoder networks", NIPS 2016).

15 convolutions, then 15 deconvolutions, all 3x3 with 128 channels and stride 1, no pooling, no batch norm. The
output of every second convolution is added to that of the mirrored deconvolution, before its ReLU; the noisy image
is added to the last one's. 4,131,072 parameters; the same, counted from the description without biases.

Chosen here: no biases. A deconvolution of stride 1 is a convolution with the kernel turned round, and is built as
one. First weights are torch's: with those of He et al. the sums at the skips grow until the first steps overshoot.
"""

from itertools import pairwise

from torch import nn
from torch.nn.functional import relu

from hinas_nb.comparators.base import Grey, Restorer
from hinas_nb.comparators.layers import conv

_DEPTH = 15  # convolutions, and as many deconvolutions
_SKIP = 2  # layers from skip to skip


class RED30(Restorer):
    """Restores noisy + f(noisy), one grey channel."""

    halo = 2 * _DEPTH

    def __init__(self, width: int = 128):
        super().__init__()
        channels = [1, *[width] * (2 * _DEPTH - 1), 1]
        layers = [conv(a, b, bias=False) for a, b in pairwise(channels)]
        self.encoder, self.decoder = nn.ModuleList(layers[:_DEPTH]), nn.ModuleList(layers[_DEPTH:])

    def forward(self, noisy: Grey) -> Grey:
        x, kept = noisy, [noisy]
        for index, layer in enumerate(self.encoder, start=1):
            x = relu(layer(x))
            if index % _SKIP == 0:
                kept.append(x)
        for index, layer in enumerate(self.decoder[:-1]):
            x = relu(layer(x) + kept.pop()) if index % _SKIP == 0 else relu(layer(x))
        return kept.pop() + self.decoder[-1](x)
