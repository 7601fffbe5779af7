"""EDSR (Lim et al., "Enhanced deep residual networks for single image super-resolution", CVPR workshops 2017).

32 residual blocks of 256 channels without batch norm, each change scaled by 0.1, a convolution and a skip around them
all, pixel shuffle. 40,729,603 (x2), 43,680,003 (x3) and 43,089,923 (x4) parameters, as published.

Chosen here: torch's first weights; images on 0-1, not 0-255.
"""

from hinas_nb.comparators.layers import UP_RADIUS, Frame, Skip, conv, residual_block


class EDSR(Frame):
    """Enlarges colour pictures; every residual block's change is scaled by 0.1."""

    def __init__(self, scale: int, width: int = 256, blocks: int = 32):
        inner = (residual_block(width, factor=0.1) for _ in range(blocks))
        super().__init__(scale, width, Skip(*inner, conv(width, width)))
        self.halo = 1 + 2 * blocks + 1 + UP_RADIUS
