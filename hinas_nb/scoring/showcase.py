"""One photograph as a row of pictures: clean, degraded, restored, with scores; live or fixed.

Notebook `05_train_and_restore` shows them (figures 12 and 13).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hinas_nb.data import DataError, ImageSet, grey
from hinas_nb.scoring.evaluate import Restore, Score, baseline, evaluate
from hinas_nb.scoring.protocol import Protocol
from hinas_nb.scoring.units import METRICS


@dataclass(frozen=True)
class Showcase:
    """Holds what `figures.image_panel` takes: (name, image) columns and a line under each; and the restored score."""

    columns: list[tuple[str, Tensor]]
    lines: list[str]
    restored: Score


def compare(
    restore: Restore,
    images: ImageSet,
    name: str,
    protocol: Protocol,
    square: tuple[int, int, int] | None = None,
) -> Showcase:
    """Restore one photograph and return it clean, degraded (for sr up-sampled bicubically) and restored, scored.

    square: (top, left, side) in pixels, restored and scored alone; None: the whole image. Raises DataError.
    """
    one = images.subset([_index(images, name)]) if square is None else cut(images, name, *square)
    _, clean = protocol.pair(one.images[0], name)
    before, after = (next(evaluate(how, one, protocol)) for how in (baseline(protocol), restore))
    how = f"noisy, sigma {protocol.sigma:g}" if protocol.task == "denoise" else f"bicubic x{protocol.scale}"
    columns = [("clean", clean), (how, before.restored), ("restored", after.restored)]
    psnr, ssim = METRICS["psnr"], METRICS["ssim"]
    lines = [f"{psnr.number(score.psnr)} {psnr.unit} / {ssim.number(score.ssim)}" for score in (before, after)]
    return Showcase(columns, [f"{name}: {psnr.title} / {ssim.title}", *lines], after)


def cut(images: ImageSet, name: str, top: int, left: int, side: int) -> ImageSet:
    """Return a set of one image: the square at (top, left) of the named one, moved inside. Raises DataError."""
    image = images.images[_index(images, name)]
    height, width = (min(side, length) for length in image.shape[-2:])
    top, left = min(top, image.shape[-2] - height), min(left, image.shape[-1] - width)
    piece = image[..., top : top + height, left : left + width]
    return ImageSet(images.name, images.split, (name,), (piece,))


def busiest_square(images: ImageSet, name: str, side: int) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) of the square with the largest variance of grey levels, on a grid of 8 px.

    Chosen from the clean image alone, so that no network is favoured. Raises DataError.
    """
    image = grey(images.images[_index(images, name)]).double()[None]
    side = min(side, *image.shape[-2:])
    variance = F.avg_pool2d(image**2, side, 8) - F.avg_pool2d(image, side, 8) ** 2
    row, column = divmod(int(torch.argmax(variance[0, 0])), variance.shape[-1])
    return 8 * row, 8 * column, side, side


def _index(images: ImageSet, name: str) -> int:
    if name not in images.names:
        raise DataError(f"image must be one of {images.name} {images.split}, got {name!r}")
    return images.names.index(name)
