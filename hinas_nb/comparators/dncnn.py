"""DnCNN (Zhang et al., "Beyond a Gaussian denoiser", TIP 2017): 17 plain layers that predict the noise.

A convolution and ReLU, 15 of convolution, batch norm and ReLU, a convolution; all 3x3, 64 channels, one network per
sigma (DnCNN-S). 556,096 parameters, as its authors' grey model has (555,137 of them with the batch norms folded in
and no bias at the ends).

Chosen here: only the first convolution has a bias, as in that model; first weights are torch's. `width` narrows all
layers: 35 channels make 167,090 parameters, the size of a HiNAS network.
"""

from torch import nn

from hinas_nb.comparators.base import Grey, Restorer
from hinas_nb.comparators.layers import conv
from hinas_nb.method.operations import conv_norm, near_identity

_LAYERS = 17


class DnCNN(Restorer):
    """Restores noisy - f(noisy), one grey channel."""

    halo = _LAYERS

    def __init__(self, width: int = 64):
        super().__init__()
        self.layers = plain(1, width, 1, _LAYERS, bias=False)

    def forward(self, noisy: Grey) -> Grey:
        return noisy - self.layers(noisy)


def plain(inputs: int, width: int, outputs: int, layers: int, bias: bool = True) -> nn.Sequential:
    """Return a DnCNN without its skip. bias: whether the last convolution has one."""
    inner = [layer for _ in range(layers - 2) for layer in (*conv_norm(width, width, 3), nn.ReLU())]
    return nn.Sequential(conv(inputs, width), nn.ReLU(), *inner, near_identity(conv(width, outputs, bias=bias)))
