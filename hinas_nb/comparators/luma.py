"""Networks published for luminance, on colour pictures: Y from the network, the chroma from bicubic up-sampling.

Red, green and blue all contain Y with weight 1, so replacing Y adds the same change to each of them. Y is BT.601's
on the range of the image, 0-1; that of 16-235 is an affine function of it.
"""

from jaxtyping import Float
from torch import Tensor

WEIGHTS = (0.299, 0.587, 0.114)  # of red, green, blue


def luminance(image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 1 height width"]:
    return sum(weight * image[:, i : i + 1] for i, weight in enumerate(WEIGHTS))


def with_luminance(
    image: Float[Tensor, "batch 3 height width"], y: Float[Tensor, "batch 1 height width"]
) -> Float[Tensor, "batch 3 height width"]:
    """`image` with its luminance replaced, its chroma kept."""
    return image + (y - luminance(image))
