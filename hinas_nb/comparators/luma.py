"""Networks published for luminance, on colour pictures: Y from the network, the chroma from bicubic up-sampling.

Red, green and blue all contain Y with weight 1, so replacing Y adds the same change to each of them. Y is BT.601's
on the range of the image, 0-1; that of 16-235 is an affine function of it.
"""

from jaxtyping import Float
from torch import Tensor

from hinas_nb.comparators.base import Restorer
from hinas_nb.method.network import upsample

_WEIGHTS = (0.299, 0.587, 0.114)  # of red, green, blue

Luma = Float[Tensor, "batch 1 height width"]


class LumaUpscaler(Restorer):
    """Enlarges colour pictures `scale` times by what `luma` makes of their luminance."""

    task = "sr"

    def __init__(self, scale: int):
        super().__init__()
        self.scale = scale

    def forward(self, low: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch 3 height width"]:
        large = upsample(low, self.scale)
        return with_luminance(large, self.luma(luminance(low), luminance(large)))

    def luma(self, low: Luma, large: Luma) -> Luma:
        """Return the enlarged luminance, from that of the picture and of its bicubic up-sampling."""
        raise NotImplementedError


def luminance(image: Float[Tensor, "batch 3 height width"]) -> Luma:
    """Return Y of red, green and blue."""
    return sum(weight * image[:, i : i + 1] for i, weight in enumerate(_WEIGHTS))


def with_luminance(image: Float[Tensor, "batch 3 height width"], y: Luma) -> Float[Tensor, "batch 3 height width"]:
    """Return the image with its luminance replaced by `y`, its chroma kept."""
    return image + (y - luminance(image))
