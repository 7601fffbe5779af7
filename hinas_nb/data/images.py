"""Data sets as 8-bit images in memory: loaded by name, made grey, divided into W, A and V (section 4.1).

Shown in notebook `01_data_and_protocols`.
"""

import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from hinas_nb import locations
from hinas_nb.data import pictures
from hinas_nb.data.catalog import CATALOG, FOLDER_PREFIX, PHOTOS, DataError, check_split, folder_path
from hinas_nb.data.degrade import stream

#: Leading underscores: sizes may differ between the images of one call.
Image = UInt8[Tensor, "_channel _height _width"]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Holds named 8-bit images, grey (1 channel) or colour (3). The pixels are shared: never write into them."""

    name: str
    split: str
    names: tuple[str, ...]
    images: tuple[Image, ...]

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def sha256(self) -> str:
        """The sum over names, shapes and pixels, in order: what the hash of a Run takes of its data."""
        return digest(zip(self.names, self.images))

    def grey(self) -> "ImageSet":
        """Return the same images with 1 channel, see `grey`."""
        return replace(self, images=tuple(grey(image) for image in self.images))

    def colour(self) -> "ImageSet":
        """Return the same images with 3 channels; grey ones repeat theirs."""
        return replace(self, images=tuple(image.expand(3, -1, -1) for image in self.images))

    def subset(self, indices: Iterable[int]) -> "ImageSet":
        """Return the images at these positions, in the order given."""
        chosen = list(indices)
        names, images = (tuple(held[index] for index in chosen) for held in (self.names, self.images))
        return replace(self, names=names, images=images)


def load(name: str, split: str, root: str | Path | None = None, scale: int | None = None) -> ImageSet:
    """Return a data set of the catalogue, decoded once per process.

    split: one of the set's, or several joined by `+`.
    root: the folder of all data sets; None: the environment variable HINAS_DATA, else `data` of the collection.
    scale: 2, 3 or 4, for sets that keep their images cropped to multiples of it (`Set5/HR/x3`); None reads
        x2, which crops least. Sets without such folders ignore it; see `degrade.modcrop`.
    `folder:PATH` reads the user's own images in file-name order; 16-bit ones are rounded to 8.
    Raises DataError for unknown names, missing or empty folders, and damaged files.
    """
    files = image_files(name, split, root, scale)
    return ImageSet(name, split, _names(files), tuple(decode(file) for file in files))


def grey(image: Image) -> UInt8[Tensor, "1 height width"]:
    """Return 8-bit luma with the weights of MATLAB's `rgb2gray`: 0.2989 R + 0.5870 G + 0.1140 B, rounded half up.

    The denoising literature uses it; Pillow's "L" (0.299, 0.587, 0.114 in fixed point) differs by at most 1,
    scikit-image's `rgb2gray` (0.2125, 0.7154, 0.0721) by far more. One channel passes through.
    """
    if image.shape[0] == 1:
        return image
    red, green, blue = image.int()  # in integers, so that ties round the same everywhere
    return ((2989 * red + 5870 * green + 1140 * blue + 5000) // 10000).to(torch.uint8)[None]


def divide(images: ImageSet, fraction: float, seed: int) -> tuple[ImageSet, ImageSet, ImageSet]:
    """Divide training images at random into W (weights), A (architecture) and V (validation), section 3.3.

    fraction: V's share, at least one image; 0 leaves V empty (where another split serves as V). The rest is
        halved, W getting the odd one. Raises DataError if a part would be empty.
    """
    if not 0 <= fraction < 1:
        raise DataError(f"fraction of images for V must be in [0, 1), got {fraction}")
    count = len(images)
    validation = max(1, round(fraction * count)) if fraction else 0
    if count - validation < 2:
        raise DataError(f"images to divide into W, A and V must be at least {validation + 2}, got {count}")
    order = torch.randperm(count, generator=stream(seed, "divide")).tolist()
    half = (count - validation + 1) // 2
    parts = order[:half], order[half : count - validation], order[count - validation :]
    weights, architecture, held_out = (images.subset(sorted(part)) for part in parts)
    return weights, architecture, held_out


def read_image(path: str | Path) -> np.ndarray:
    """Return the pixels of a file as uint8 or uint16, (height, width) if grey, else (height, width, 3).

    An alpha that is opaque everywhere is left out, another is refused: what colour would the picture have?
    Raises PictureError for a damaged file or one that is no picture, OSError for one that is not there.
    """
    picture = pictures.read(Path(path))
    pixels = picture.pixels
    if picture.has_alpha:
        if (pixels[..., -1] < np.iinfo(pixels.dtype).max).any():
            raise DataError(f"{path} must be opaque as an image of a data set, got transparent pixels")
        pixels = pixels[..., :-1]
    return pixels if pixels.shape[2] == 3 else pixels[..., 0]


def write_image(path: str | Path, pixels: np.ndarray) -> None:
    """Write uint8 or uint16 pixels, (height, width) or (height, width, 3), see `pictures.write`."""
    pictures.write(Path(path), pictures.Picture(pixels))


def image_files(name: str, split: str, root: str | Path | None = None, scale: int | None = None) -> list[Path]:
    """Return the files of a split, in file-name order. Raises DataError for missing or empty folders."""
    check_split(name, split)
    if name.startswith(FOLDER_PREFIX):
        files = _files_in(folder_path(name))
        if not files:
            rule = "hold images (" + " ".join(pictures.KINDS) + ")" if folder_path(name).is_dir() else "exist"
            raise DataError(f"folder of images must {rule}, got {folder_path(name)}")
        return files
    if name == "photos":
        found = importlib.util.find_spec("skimage")
        if found is None:
            raise DataError("the photographs come with scikit-image, which is not installed: pip install scikit-image")
        package = found.submodule_search_locations[0]
        return [Path(package) / "data" / file for part in split.split("+") for file in PHOTOS[part]]
    return [file for part in split.split("+") for file in _split_files(name, part, locations.data(root), scale)]


def decode(path: Path) -> Image:
    """Return one file as 8-bit pixels, which stay in memory until the file changes."""
    status = path.stat()
    return _decode(path, status.st_mtime_ns, status.st_size)


def digest(named_images: Iterable[tuple[str, Image]]) -> str:
    """Return the SHA-256 over names, shapes and pixels of an iterator, so that a set need not fit in memory."""
    total = hashlib.sha256()
    for name, image in named_images:
        total.update(f"{name} {tuple(image.shape)}\n".encode())
        total.update(image.contiguous().numpy().data)
    return total.hexdigest()


def named_images(files: list[Path]) -> Iterator[tuple[str, Image]]:
    """Yield names and pixels one by one, without keeping them."""
    for name, file in zip(_names(files), files):
        yield name, to_image(read_image(file))


def to_image(pixels: np.ndarray) -> Image:
    """Return an array of `read_image` as (channel, height, width); 16 bits are rounded to 8."""
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.int64) * 255 + 32767) // 65535).astype(np.uint8)
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return torch.from_numpy(np.array(planes, order="C"))


@cache
def _decode(path: Path, changed: int, size: int) -> Image:
    return to_image(read_image(path))


def _split_files(name: str, split: str, root: Path, scale: int | None) -> list[Path]:
    entry = CATALOG[name]
    places = [root / place.format(scale=scale or 2) for place in entry.folders[split]]
    for place in places:
        files = _files_in(place)
        if files:
            return [file for file in files if file.stem in entry.members] or files
    raise DataError(
        f"{name} {split} must be a folder of images at {places[0]}, got none there: set HINAS_DATA or --data "
        f"to the folder that holds {name}, or run `hinas-nb data fetch {name}`"
    )


def _files_in(folder: Path) -> list[Path]:
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [file for file in files if file.suffix.lower() in pictures.KINDS and file.name[0] != "." and file.is_file()]


def _names(files: list[Path]) -> tuple[str, ...]:
    """Return file names without their ending, unless two would be equal."""
    for file in files:
        if any("\ud800" <= letter <= "\udfff" for letter in file.name):  # bytes that are no text
            raise DataError(f"names of image files must be UTF-8, got {file.name!a} in {file.parent}")
    stems = tuple(file.stem for file in files)
    return stems if len(set(stems)) == len(stems) else tuple(file.name for file in files)
