"""Scores of a restoration under a protocol, image by image; notebook `05_train_and_restore`.

`restore` runs a network over an image of any size in bounded memory, with whole-image inference's result.
`evaluate` does what the protocol says around it: degrade, tile, average, score.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from hinas_nb.data import ImageSet, bicubic, with_noise_map
from hinas_nb.scoring import metrics
from hinas_nb.scoring.protocol import Protocol, round8

Restore = Callable[[Tensor], Tensor]

#: Tiles begin at multiples of it, so that a network which folds the picture folds them alike.
GRID = 4
#: Input pixels of an image that go through the network at once, halo included: about 1 GiB for a derived network.
PIXEL_BUDGET = 2**19


@dataclass(frozen=True)
class Score:
    """One image: psnr in dB, size in scored-image pixels, seconds in the restoration alone."""

    image: str
    psnr: float
    ssim: float
    height: int
    width: int
    seconds: float
    restored: Float[Tensor, "1 channel height width"] = field(repr=False, compare=False)  # CPU, clipped to 0-1


class Tile(NamedTuple):
    """Holds a restored part of an image: its place in the output, whose size is given, and the share done with it."""

    rows: slice
    columns: slice
    values: Float[Tensor, "batch out_channel rows columns"]
    size: tuple[int, int]
    done: float


def evaluate(restore: Restore, images: ImageSet, protocol: Protocol) -> Iterator[Score]:
    """Degrade, restore and score every image.

    restore: takes (1, channel, height, width) float32 on the CPU and returns the restored image, on any
    device: one grey channel for denoising, three channels and scale times the size for sr.
    images: as their files have them; `ImageSet.colour()` would hide which files are single-channel. Raises ValueError.
    """
    for name, image in zip(images.names, images.images):
        degraded, clean = protocol.pair(image, name)
        restored, seconds = _restored(restore, degraded, clean, name, protocol)
        restored = restored.clamp(0, 1)
        (psnr,) = metrics.psnr(restored, clean, protocol).tolist()
        (ssim,) = metrics.ssim(restored, clean, protocol).tolist()
        yield Score(name, psnr, ssim, *clean.shape[-2:], seconds, restored)


def baseline(protocol: Protocol) -> Restore:
    """Return what restores nothing: the noisy image itself, or MATLAB's bicubic up-sampling, rounded at the end.

    Rounded after each dimension too, as MATLAB treats 8-bit images, it is 0.01 dB farther from the published
    rows.
    """
    if protocol.task == "denoise":
        return lambda noisy: noisy
    return lambda low: round8(bicubic(low.double(), protocol.scale, clip=True)).float()


def infer(network, image: Float[Tensor, "batch channel height width"], sigma: float | None = None) -> Tensor:
    """Return what a network makes of an image of any size, see `restore`, on the image's device.

    network: a `DerivedNetwork`, a comparator's `Restorer` or an `export.Session`.
    sigma: grey levels (0-255), for a network with a noise map. Raises ValueError.
    """
    return restore(lambda piece: run(network, piece, sigma), image, network.halo)


def run(network, image: Float[Tensor, "batch channel height width"], sigma: float | None = None) -> Tensor:
    """Return what a network makes of a whole image, or of a piece with its halo, as `infer` does."""
    if network.noise_map and sigma is None:
        raise ValueError("sigma must be told to a network with a noise map, got None")
    degraded = with_noise_map(image, sigma) if network.noise_map else image
    weight = next(network.parameters(), image) if isinstance(network, nn.Module) else image
    return network(degraded.to(weight)).to(image.device)


def restore(
    network: Restore,
    degraded: Shaped[Tensor, "batch channel height width"],
    halo: int | None,
    tile: int | None = None,
    progress: Callable[[float], None] = lambda done: None,
) -> Shaped[Tensor, "batch out_channel out_height out_width"]:
    """Return `network(degraded)`, computed in tiles where the image is large; see `tiles`.

    progress: told the share of the image that is done, after each tile.
    """
    whole = None
    for piece in tiles(network, degraded, halo, tile):
        progress(piece.done)
        if whole is None:
            if piece.done == 1:
                return piece.values
            whole = piece.values.new_empty((*piece.values.shape[:2], *piece.size))
        whole[..., piece.rows, piece.columns] = piece.values
    return whole


@torch.no_grad()
def tiles(
    network: Restore, degraded: Shaped[Tensor, "batch channel height width"], halo: int | None, tile: int | None = None
) -> Iterator[Tile]:
    """Yield `network(degraded)` in tiles, in reading order; of a small image as one.

    halo: the network's receptive-field radius in input pixels, its up-sampled skip included; None, where
        it is unbounded or unknown, always takes the whole image. The network pads at the image's own edges
        and only there, as it would on the whole image.
    tile: side of a tile without halo, in input pixels; None: as large as `PIXEL_BUDGET` allows. Raises ValueError.
    """
    height, width = degraded.shape[-2:]
    if tile is not None and (tile < 1 or halo is None):
        raise ValueError(f"tile must be at least 1 pixel and needs a known halo, got {tile} and halo {halo}")
    if halo is None or (tile is None and height * width <= PIXEL_BUDGET):
        output = network(degraded)
        yield Tile(slice(None), slice(None), output, (output.shape[-2], output.shape[-1]), 1.0)
        return
    tile = tile or max(math.isqrt(PIXEL_BUDGET) - 2 * halo - GRID, halo, 1)
    for top, left in itertools.product(range(0, height, tile), range(0, width, tile)):
        bottom, right = min(top + tile, height), min(left + tile, width)
        y, x = (max(start - halo, 0) // GRID * GRID for start in (top, left))
        piece = degraded[..., y : bottom + halo, x : right + halo]
        output = network(piece)
        scale = _scale(piece, output)
        rows, columns = (slice(start * scale, end * scale) for start, end in ((top, bottom), (left, right)))
        inside = output[..., (top - y) * scale : (bottom - y) * scale, (left - x) * scale : (right - x) * scale]
        done = (top * width + (bottom - top) * right) / (height * width)
        yield Tile(rows, columns, inside, (height * scale, width * scale), done)


def _restored(restore: Restore, degraded: Tensor, clean: Tensor, name: str, protocol: Protocol) -> tuple[Tensor, float]:
    if protocol.averaged:
        draws = (protocol.noisy(clean, name, look=look) for look in range(protocol.averaged))
        outputs, spent = zip(*(_timed(restore, noisy, clean, name) for noisy in draws))
        return torch.stack(outputs).mean(dim=0), sum(spent)
    if protocol.tile is None:
        return _timed(restore, degraded, clean, name)
    total, seconds = torch.zeros_like(clean), 0.0
    for index, (rows, columns) in enumerate(protocol.tiles(*clean.shape[-2:])):
        piece = clean[..., rows, columns]
        noisy = protocol.noisy(piece, name, index) if protocol.fresh_noise else degraded[..., rows, columns]
        output, spent = _timed(restore, noisy, piece, name)
        total[..., rows, columns] += output
        seconds += spent
    return total / protocol.looks(*clean.shape[-2:]), seconds


@torch.no_grad()
def _timed(restore: Restore, degraded: Tensor, clean: Tensor, name: str) -> tuple[Tensor, float]:
    started = time.perf_counter()
    output = restore(degraded).cpu().float()  # the copy waits for a GPU to finish
    seconds = time.perf_counter() - started
    if output.shape[-2:] != clean.shape[-2:] or output.shape[:2] != (1, degraded.shape[1]):
        wanted = (1, degraded.shape[1], *clean.shape[-2:])
        raise ValueError(f"restoration of {name} must be of shape {wanted}, got {tuple(output.shape)}")
    if not output.isfinite().all():
        raise ValueError(f"restoration of {name} must be finite, got NaN or infinite values: the network is damaged")
    return output, seconds


def _scale(piece: Tensor, output: Tensor) -> int:
    scale = output.shape[-2] // piece.shape[-2]
    if output.shape[-2:] != (piece.shape[-2] * scale, piece.shape[-1] * scale):
        raise ValueError(
            f"a network's output must be a multiple of its input {tuple(piece.shape[-2:])}, "
            f"got {tuple(output.shape[-2:])}"
        )
    return scale
