"""Training pairs: random crops of the images of a set with what degrades them (section 4.1 of the paper).

Shown in notebook `01_data_and_protocols`.
"""

from dataclasses import replace
from functools import lru_cache

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from hinas_nb.data.catalog import DataError
from hinas_nb.data.degrade import add_noise, bicubic, modcrop, stream, with_noise_map
from hinas_nb.data.images import Image, ImageSet

#: Degraded and clean; for super-resolution the clean side is `scale` times the patch, else equal to it.
_Batch = tuple[Float[Tensor, "batch entering patch patch"], Float[Tensor, "batch channel side side"]]

#: As released: the range of the random rescaling, used for every second sample on average.
_RESCALE_RANGE = (0.8, 1.2)


class Pairs:
    """Makes batches of (degraded, clean) crops, each a pure function of the arguments and the step number.

    task: "denoise" (grey; white noise is added) or "sr" (colour; the low-resolution image is cut).
    patch: side of the network's input in pixels; for sr the clean crop is `scale` times that.
    seed, stream: name the random numbers, so that the W and A batches of one search differ.
    sigmas: denoise only, 0-255 grey levels; each sample draws one. A pair of bounds where sigma_range is set:
        then a sample draws any sigma between them.
    noise_map: denoise only; a second channel of the degraded images holds their noise's deviation, sigma / 255.
    augment: rotations by 90 degrees and flips, all eight alike.
    rescale: denoise only; As released: sizes 0.8-1.2 with probability 0.5, before the noise.
    crops_per_image: samples an epoch takes of each image.
    Raises DataError if the task lacks its degradation or an image is smaller than a crop.
    """

    def __init__(
        self,
        images: ImageSet,
        *,
        task: str,
        patch: int,
        batch: int,
        seed: int,
        stream: str,
        scale: int | None = None,
        sigmas: tuple[float, ...] | None = None,
        sigma_range: bool = False,
        noise_map: bool = False,
        augment: bool = True,
        rescale: bool = False,
        crops_per_image: int = 1,
    ):
        _check_task(task, scale, sigmas)
        for name, value in (("patch", patch), ("batch", batch), ("crops_per_image", crops_per_image)):
            if not isinstance(value, int) or value < 1:
                raise DataError(f"{name} must be a whole number of at least 1, got {value!r}")
        if rescale and task == "sr":
            raise DataError("rescale must be off for task sr, got True")
        self.clean = _clean_images(images, task, scale)
        _check_sizes(self.clean, patch * (scale or 1))
        self.patch, self.size, self.scale, self.sigmas = patch, batch, scale, sigmas
        self.sigma_range, self.noise_map = sigma_range, noise_map
        self.augment, self.rescale = augment, rescale
        self.key = (seed, stream)
        self.steps_per_epoch = -(-len(images) * crops_per_image // batch)
        self._small: dict[int, Image] = {}

    def batch(self, step: int) -> _Batch:
        """Return the pairs of a step, float32 in [0, 1] (noise may leave it); steps may come in any order.

        denoise: both (batch, 1, patch, patch), with noise_map a second channel in the degraded ones; sr:
        (batch, 3, patch, patch) and scale times that.
        """
        generator = stream(*self.key, "crops", step)
        draws = torch.rand(self.size, 5, generator=generator, dtype=torch.float64).tolist()
        pairs = [self._crop(self._image_of(step * self.size + k), *draw) for k, draw in enumerate(draws)]
        degraded, clean = (torch.stack(crops) / 255 for crops in zip(*pairs))
        if self.scale:
            return degraded, clean
        generator = stream(*self.key, "noise", step)
        if self.sigma_range:
            low, high = self.sigmas
            chosen = low + (high - low) * torch.rand(self.size, generator=generator)
        else:
            sigmas = torch.tensor(self.sigmas)
            chosen = sigmas[torch.randint(len(sigmas), (self.size,), generator=generator)]
        return _noisy(clean, chosen, generator, self.noise_map), clean

    def _image_of(self, sample: int) -> int:
        """Return the image a sample is cut from; each run through the images has a random order of its own."""
        turn, place = divmod(sample, len(self.clean))
        return _order(*self.key, turn, len(self.clean))[place]

    def _crop(self, index: int, top: float, left: float, symmetry: float, zoom: float, coin: float):
        """Return a (degraded, clean) pair of 8-bit crops before the noise; five draws in [0, 1) decide which."""
        clean, scale = self.clean.images[index], self.scale or 1
        source = self._low_resolution(index) if self.scale else clean
        low, high = _RESCALE_RANGE if self.rescale and coin < 0.5 else (1, 1)
        side = min(round(self.patch / (low + (high - low) * zoom)), *source.shape[-2:])
        y, x = (int(draw * (size - side + 1)) for draw, size in zip((top, left), source.shape[-2:]))
        degraded = source[:, y : y + side, x : x + side]
        clean = clean[:, y * scale : (y + side) * scale, x * scale : (x + side) * scale]
        if side != self.patch:
            degraded = clean = interpolate(clean[None], (self.patch,) * 2, mode="bicubic", antialias=True)[0]
        symmetry = int(symmetry * 8) if self.augment else 0
        return turned(degraded, symmetry), turned(clean, symmetry)

    def _low_resolution(self, index: int) -> Image:
        if index not in self._small:
            self._small[index] = bicubic(self.clean.images[index], 1 / self.scale)
        return self._small[index]


def validation_patches(
    images: ImageSet,
    *,
    task: str,
    patch: int,
    scale: int | None = None,
    sigmas: tuple[float, ...] | None = None,
    noise_map: bool = False,
    centre: bool = False,
    seed: int,
) -> _Batch:
    """Return all adjacent, non-overlapping patches of all images, (degraded, clean), float32 in [0, 1].

    The noise is fixed by the seed; patch k gets sigma k modulo their number. What is left at the lower and
    right border is not used. centre: one patch of each image, its centre. The rest as in `Pairs`.
    """
    _check_task(task, scale, sigmas)
    clean_set = _clean_images(images, task, scale)
    cut, unit = _centre if centre else _tiles, scale or 1
    _check_sizes(clean_set, patch * unit)
    clean = torch.cat([cut(image, patch, unit) for image in clean_set.images]) / 255
    if scale:
        small = [cut(bicubic(image, 1 / scale), patch, 1) for image in clean_set.images]
        return torch.cat(small) / 255, clean
    sigma = torch.tensor(sigmas)[torch.arange(len(clean)) % len(sigmas)]
    return _noisy(clean, sigma, stream(seed, "validation noise"), noise_map), clean


def _clean_images(images: ImageSet, task: str, scale: int | None) -> ImageSet:
    """Return what a task restores: grey images, or colour images cut to multiples of the scale."""
    if task == "denoise":
        return images.grey()
    return replace(images, images=tuple(modcrop(image, scale) for image in images.colour().images))


def turned(image: UInt8[Tensor, "*batch height width"], symmetry: int) -> UInt8[Tensor, "*batch rows columns"]:
    """Apply one of the eight symmetries of the square: `symmetry % 4` quarter turns, mirrored first from 4 on."""
    return (image.flip(-1) if symmetry >= 4 else image).rot90(symmetry % 4, (-2, -1))


def _tiles(image: Image, patch: int, unit: int) -> UInt8[Tensor, "tile channel side side"]:
    """Return all adjacent patches of `patch` x `patch` units, a unit being so many pixels."""
    side = patch * unit
    tiles = image.unfold(1, side, side).unfold(2, side, side)  # (channel, rows, columns, side, side)
    return tiles.flatten(1, 2).transpose(0, 1)


def _centre(image: Image, patch: int, unit: int) -> UInt8[Tensor, "1 channel side side"]:
    """Return the middle patch, in whole units, so that the low-resolution and the clean side show the same."""
    top, left = ((size // unit - patch) // 2 * unit for size in image.shape[-2:])
    return image[None, :, top : top + patch * unit, left : left + patch * unit]


def _noisy(clean: Tensor, sigma: Float[Tensor, " batch"], generator: torch.Generator, noise_map: bool) -> Tensor:
    """Add noise of each sample's sigma (0-255 grey levels), with noise_map told in a second channel."""
    noisy = add_noise(clean, sigma.view(-1, 1, 1, 1), generator)
    return with_noise_map(noisy, sigma) if noise_map else noisy


def _check_task(task: str, scale: int | None, sigmas: tuple[float, ...] | None) -> None:
    if task not in ("denoise", "sr"):
        raise DataError(f"task must be denoise or sr, got {task!r}")
    if (task == "sr") != bool(scale) or (task == "denoise") != bool(sigmas):
        raise DataError(f"task denoise needs sigmas and sr a scale, got {task} with {sigmas} and {scale}")
    if sigmas and not all(0 <= sigma < float("inf") for sigma in sigmas):
        raise DataError(f"sigmas must be at least 0 and finite, got {sigmas}")


def _check_sizes(images: ImageSet, side: int) -> None:
    if not len(images):
        raise DataError(f"images must be at least 1, got 0 of {images.name} {images.split}")
    for name, image in zip(images.names, images.images):
        height, width = image.shape[-2:]
        if min(height, width) < side:
            raise DataError(
                f"image must be at least the crop's {side}x{side} pixels, got {images.name} {name} of {height}x{width}"
            )


@lru_cache(maxsize=64)
def _order(seed: int, name: str, turn: int, count: int) -> list[int]:
    return torch.randperm(count, generator=stream(seed, name, "order", turn)).tolist()
