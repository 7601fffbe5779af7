"""FSRCNN (Dong et al., "Accelerating the super-resolution convolutional neural network", ECCV 2016): d=56, s=12, m=4.

On the luminance at low resolution: 5x5 to 56 features, 1x1 to 12, four 3x3, 1x1 back to 56, PReLU after each, and a
9x9 transposed convolution that makes the image; no skip. One network per scale. Table 11 and 12's FSRCNN (KD) is the
same network trained by distillation (Lee et al., ECCV 2020), from a teacher that sees the large picture. Departs: a
`teacher` of `TrainConfig` is a wider network that was trained before and sees what the student sees, and its output
alone is imitated (He et al., ICIP 2020, without their affinity of features).

12,809 parameters at every scale against 12,464 published; `comparators.TABLE` says why.
Chosen here: one slope per channel; the 9x9 kernel is centred on its pixel as far as whole pixels allow; the kernel of
the last layer starts at deviation 0.001, as published.
"""

from torch import nn

from hinas_nb.comparators.base import Grey, he_normal
from hinas_nb.comparators.layers import LumaUpscaler, conv, deconv, deconv_radius

_KERNEL = 9  # of the last layer


class FSRCNN(LumaUpscaler):
    """Makes the luminance of its features. width: d, the features; shrunk: s; depth: m."""

    def __init__(self, scale: int, width: int = 56, shrunk: int = 12, depth: int = 4):
        super().__init__(scale)
        shapes = [(1, width, 5), (width, shrunk, 1), *[(shrunk, shrunk, 3)] * depth, (shrunk, width, 1)]
        self.features = nn.Sequential(*(layer for shape in shapes for layer in (conv(*shape), nn.PReLU(shape[1]))))
        he_normal(self.features)
        self.image = deconv(width, 1, _KERNEL, scale, deviation=0.001)
        self.halo = 2 + depth + deconv_radius(_KERNEL, scale)

    def luma(self, low: Grey, large: Grey) -> Grey:
        return self.image(self.features(low))
