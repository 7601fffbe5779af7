"""Degradation of clean images into a network's input: white noise, or MATLAB's bicubic shrinking (section 4.1).

Shown in notebook `01_data_and_protocols`.
"""

import hashlib
import json
import math
from functools import lru_cache

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from hinas_nb.data.catalog import DataError


def bicubic(
    image: Shaped[Tensor, "*batch height width"], scale: float, clip: bool = False
) -> Shaped[Tensor, "*batch rows columns"]:
    """Resize like MATLAB's `imresize(image, scale, "bicubic")`, the convention of super-resolution.

    Cubic kernel with a = -0.5, widened by 1/scale when shrinking (anti-aliasing); the edge pixels repeat
    beyond the border. The result has ceil(size * scale) pixels a side, the image's type and its device.

    uint8 images are rounded and clipped after each dimension, as in MATLAB: the low-resolution images
    published with Set5 and Set14 come out bit for bit. (Later releases of MATLAB mirror the border instead:
    up to 11 grey levels there.) Float images are neither rounded nor clipped.
    clip: keep floats in [0, 1] between the two dimensions, without which saturated edges stray 2 grey levels
    from the 8-bit result. Raises DataError for a scale that is not positive and for another kind of image.
    """
    known = isinstance(image, Tensor) and (image.is_floating_point() or image.dtype == torch.uint8)
    if not known or image.ndim < 2 or not image.numel():
        got = f"{getattr(image, 'dtype', type(image).__name__)} {tuple(getattr(image, 'shape', ()))}"
        raise DataError(f"image must be a tensor (..., height, width) of floats or uint8, got {got}")
    if not (isinstance(scale, int | float) and 0 < scale < math.inf):
        raise DataError(f"scale must be a positive number, got {scale!r}")
    exact = image if image.is_floating_point() else image.cpu().double()  # MPS has no doubles
    rows = _weights(image.shape[-2], scale).to(exact) @ exact
    columns = _weights(image.shape[-1], scale).to(exact).T
    if image.is_floating_point():
        return (rows.clamp(0, 1) if clip else rows) @ columns
    return _eight_bits(_eight_bits(rows) @ columns).to(torch.uint8).to(image.device)


def _eight_bits(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Round half up, as MATLAB does (torch.round goes to the even neighbour), to whole numbers of 0-255.

    A half that the matrix product of another processor leaves 1e-13 too low goes up as well.
    """
    return (values + (0.5 + 1e-9)).floor().clamp(0, 255)


def modcrop(image: Tensor, scale: int) -> Tensor:
    """Return the upper left part whose sides are multiples of `scale`."""
    height, width = image.shape[-2:]
    return image[..., : height - height % scale, : width - width % scale]


def add_noise(
    clean: Float[Tensor, "*shape"], sigma: float | Tensor, generator: torch.Generator
) -> Float[Tensor, "*shape"]:
    """Add white Gaussian noise to images in [0, 1], neither clipped nor rounded.

    sigma: standard deviation in 0-255 grey levels, one for all or a tensor that broadcasts.
    """
    return clean + torch.randn(clean.shape, generator=generator, dtype=clean.dtype) * (sigma / 255)


def with_noise_map(
    images: Float[Tensor, "batch channel height width"], sigma: float | Float[Tensor, " batch"]
) -> Float[Tensor, "batch more height width"]:
    """Add a channel that tells a network the noise, as FFDNet's (Zhang et al. 2018): sigma / 255 at every pixel.

    sigma: standard deviation in 0-255 grey levels, one for all images or one each.
    """
    told = torch.as_tensor(sigma, dtype=images.dtype, device=images.device).reshape(-1, 1, 1, 1) / 255
    return torch.cat([images, told.expand(len(images), 1, *images.shape[-2:])], dim=1)


def stream(seed: int, *names: str | int) -> torch.Generator:
    """Return a CPU random generator of its own for each seed and name.

    One seed fans out into independent streams (`stream(seed, "noise", step)`): nothing has to be kept to
    resume, and what one consumer draws does not move another's numbers. (Torch keeps 32 bits of the hash.)
    """
    digest = hashlib.sha256(json.dumps([seed, *names]).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))


@lru_cache(maxsize=128)
def _weights(size: int, scale: float) -> Float[Tensor, "out size"]:
    """Return one dimension of the resize as a matrix (float64), whose rows sum to 1."""
    out = math.ceil(size * scale - 1e-9)  # 1/3 is not exact: 255 pixels must give 85
    stretch = min(scale, 1.0)
    centre = (torch.arange(out, dtype=torch.float64) + 0.5) / scale - 0.5
    taps = math.ceil(4 / stretch) + 2
    first = torch.floor(centre - 2 / stretch)
    position = first[:, None] + torch.arange(taps)
    weight = _cubic((centre[:, None] - position) * stretch)
    weight = weight / weight.sum(1, keepdim=True)
    inside = position.long().clamp(0, size - 1)
    return torch.zeros(out, size, dtype=torch.float64).scatter_add_(1, inside, weight)


def _cubic(x: Tensor) -> Tensor:
    """Return Keys' cubic convolution kernel with a = -0.5 at `x` pixels from its centre."""
    x = x.abs()
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0.0))
