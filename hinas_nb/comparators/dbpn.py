"""D-DBPN (Haris et al., "Deep back-projection networks for super-resolution", CVPR 2018), for x2 and x4.

Seven up-projections and six down-projections of 64 channels in turns, all seeing what all others of their resolution
have made, through a 1x1. A projection goes to the other resolution, back, and adds what the difference between there
and the start becomes at the other resolution. All large features are joined by the convolution that makes the image.
PReLU with one slope after every convolution but the last.

5,953,526 (x2) and 10,426,358 (x4) parameters, as its authors' code has; table 12 prints the x4 size for both.
As in the code: kernels of 6 with stride 2 (x2) and 8 with stride 4 (x4); one slope per layer; the second up- and the
first down-projection, which see one feature only, have no 1x1; first weights by He et al.
"""

import torch
from torch import nn

from hinas_nb.comparators.base import Image, Large, Low, Restorer, he_normal
from hinas_nb.comparators.layers import conv

KERNELS = {2: 6, 4: 8}  # of a projection, by scale
PADDING = 2


class DBPN(Restorer):
    """Enlarges colour pictures. width: of all projections; stages: up-projections."""

    def __init__(self, scale: int, width: int = 64, stages: int = 7):
        super().__init__(scale)
        self.shallow = nn.Sequential(conv(3, 4 * width), nn.PReLU(), conv(4 * width, width, 1), nn.PReLU())
        self.ups = nn.ModuleList(_Projection(width, max(stage, 1), scale, up=True) for stage in range(stages))
        self.downs = nn.ModuleList(_Projection(width, stage, scale, up=False) for stage in range(1, stages))
        self.output = conv(stages * width, 3)
        he_normal(self)
        there_and_back = (KERNELS[scale] - 1) // scale  # pixels that are seen farther after each way there and back
        self.halo = 1 + (scale + PADDING) // scale + (3 * stages - 2) * there_and_back

    def forward(self, low: Low) -> Large:
        large = self.ups[0](self.shallow(low))
        small = None
        for down, up in zip(self.downs, self.ups[1:]):
            made = down(large)
            small = made if small is None else torch.cat([made, small], dim=1)
            large = torch.cat([up(small), large], dim=1)
        return self.output(large)


class _Projection(nn.Module):
    """Maps features to the other resolution, corrected by what going back from there loses."""

    def __init__(self, width: int, joined: int, scale: int, up: bool):
        super().__init__()
        self.join = nn.Sequential(conv(joined * width, width, 1), nn.PReLU()) if joined > 1 else nn.Identity()
        there, back = (nn.ConvTranspose2d, nn.Conv2d) if up else (nn.Conv2d, nn.ConvTranspose2d)
        self.there, self.back, self.correction = (_activated(kind, width, scale) for kind in (there, back, there))

    def forward(self, features: Image) -> Image:
        start = self.join(features)
        first = self.there(start)
        return first + self.correction(self.back(first) - start)


def _activated(kind: type[nn.Conv2d | nn.ConvTranspose2d], width: int, scale: int) -> nn.Sequential:
    return nn.Sequential(kind(width, width, KERNELS[scale], scale, PADDING), nn.PReLU())
