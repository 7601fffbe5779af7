"""Pictures in memory, as NumPy, torch and Pillow have them, become planes that networks take, and come back alike."""

from collections.abc import Callable

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from hinas_nb.use.networks import RestoreError

Planes = Shaped[Tensor, "batch channel height width"]

#: Depths, with the value that is white.
WHITE = {torch.uint8: 255, torch.uint16: 65535, torch.float16: 1, torch.float32: 1, torch.float64: 1}
MODES = ("L", "LA", "RGB", "RGBA", "I;16")
NOISE = 0.16  # how far values may lie outside of [0, 1] in the mean: as far as noise of sigma 100 / 255 carries black


def unpacked(image) -> tuple[Planes, Callable[[Planes], object]]:
    """Return the planes of a picture in its own depth, and what turns such planes into a picture like it.

    image: an array (height, width) or (height, width, channel), a tensor (height, width), (channel, height, width) or
        (batch, channel, height, width), or a Pillow image; of 2 and 4 channels the last is alpha.
    Raises RestoreError for another kind or depth, and for values that are none of a picture.
    """
    unpack = {Tensor: _of_tensor, np.ndarray: _of_array, PIL.Image.Image: _of_pillow}
    kind = next((kind for kind in unpack if isinstance(image, kind)), None)
    if kind is None:
        raise RestoreError(f"image must be a NumPy array, a torch tensor or a Pillow image, got {type(image).__name__}")
    planes, pack = unpack[kind](image)
    _check(planes)
    return planes, pack


def values(planes: Planes) -> Float[Tensor, "batch channel height width"]:
    """Return planes of any depth as float32, white at 1."""
    return planes.float() / WHITE[planes.dtype]


def stored(restored: Float[Tensor, "*shape"], depth: torch.dtype) -> Shaped[Tensor, "*shape"]:
    """Return values in a depth, rounded where it has whole numbers; what lies outside of [0, 1] is clipped."""
    exact = restored if restored.dtype == torch.float64 else restored.float()  # 65535 is too much for 16 bits
    kept = exact.clamp(0, 1) * WHITE[depth]
    return kept.to(depth) if depth.is_floating_point else kept.round().to(depth)


def _of_tensor(image: Tensor) -> tuple[Planes, Callable]:
    if not 2 <= image.ndim <= 4:
        rule = "(height, width), (channel, height, width) or (batch, channel, height, width)"
        raise RestoreError(f"a tensor must be {rule}, got {tuple(image.shape)}")
    return image.detach()[(None,) * (4 - image.ndim)], lambda planes: planes[(0,) * (4 - image.ndim)]


def _of_array(image: np.ndarray) -> tuple[Planes, Callable]:
    if image.ndim not in (2, 3):
        raise RestoreError(f"an array must be (height, width) or (height, width, channel), got {image.shape}")
    native = np.ascontiguousarray(image, image.dtype.newbyteorder("="))
    try:
        planes = torch.from_numpy(native if native.flags.writeable else native.copy())
    except TypeError:
        raise RestoreError(f"depth must be {_depths()}, got {image.dtype}") from None
    if image.ndim == 2:
        return planes[None, None], lambda planes: planes[0, 0].numpy().astype(image.dtype, copy=False)
    return planes.permute(2, 0, 1)[None], lambda planes: np.array(
        planes[0].permute(1, 2, 0).numpy(), image.dtype, order="C"
    )


def _of_pillow(image: PIL.Image.Image) -> tuple[Planes, Callable]:
    image = PIL.ImageOps.exif_transpose(image)  # what comes back may be saved without its EXIF
    if "transparency" in image.info and image.mode in ("L", "RGB"):  # of one grey level or colour, which will change
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    if image.mode not in MODES:
        rule = f"must be one of {' '.join(MODES)} (see Image.convert)"
        raise RestoreError(f"mode of a Pillow image {rule}, got {image.mode}")
    planes, to_array = _of_array(np.asarray(image))

    def pack(planes: Planes) -> PIL.Image.Image:
        found = PIL.Image.fromarray(to_array(planes))
        found.info = dict(image.info)  # the colour profile and EXIF among them
        return found

    return planes, pack


def _check(planes: Planes) -> None:
    """Refuse what is no picture of 1 to 4 channels. Raises RestoreError."""
    if planes.dtype not in WHITE:
        raise RestoreError(f"depth must be {_depths()}, got {str(planes.dtype).removeprefix('torch.')}")
    if not planes.numel() or planes.shape[1] > 4:
        raise RestoreError(f"image must have pixels and 1 to 4 channels, got {tuple(planes.shape[1:])} (channel first)")
    if planes.is_floating_point():
        floats = planes.float()
        if not float((floats - floats.clamp(0, 1)).abs().mean(dtype=torch.float64)) <= NOISE:  # not a number is not
            low, high = float(floats.min()), float(floats.max())
            raise RestoreError(f"floats must be in [0, 1] but for their noise, got {low:g} to {high:g}")


def _depths() -> str:
    return " ".join(str(depth).removeprefix("torch.") for depth in WHITE)
