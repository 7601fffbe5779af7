"""Images side by side with equal crops and their scores (figures 5, 6, 8, 9, 12 and 13).

Drawn in notebooks `01_data_and_protocols`, `05_train_and_restore` and the ablations.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.patches import Rectangle

from hinas_nb.figures.axes import picture_frame
from hinas_nb.figures.style import ACCENT, Picture, themed

_HEIGHT = 2.6  # inches of a row of images
_ROW_LIMIT = 4  # crops in one row


@themed
def image_panel(
    columns: Sequence[tuple[str, object]],
    crop: tuple[int, int, int, int] | None = None,
    scores: Sequence[str] | None = None,
    title: str | None = None,
    whole: int = -1,
    embedded: bool = False,
) -> Picture:
    """Draw the same crop of every image, beside one whole image with the box it was cut from.

    columns: (name, image); images of equal size, H x W or H x W x 3, or as the networks give them
        (1 x C x H x W or C x H x W); values in [0, 1], shown clipped.
    crop: (top, left, height, width) in pixels; None shows whole images.
    scores: one line per image, written under its name. whole: the column that is shown whole.
    embedded: the photographs are those that are installed along, free to pass on.
    Raises ValueError for what is no image.
    """
    names = [name for name, _ in columns]
    images = [_drawable(image, name) for name, image in columns]
    size = images[0].shape[:2]
    top, left, height, width = crop or (0, 0, *size)
    rows = -(-len(images) // _ROW_LIMIT)
    per_row = -(-len(images) // rows)
    ratios = [rows * size[1] / size[0]] * bool(crop) + [width / height] * per_row
    figure = Picture(_HEIGHT * sum(ratios) + 0.3, (_HEIGHT + 0.5) * rows + (0.35 if title else 0), title)
    figure.kept_back = not embedded
    grid = figure.add_gridspec(rows, len(ratios), width_ratios=ratios)
    if crop:
        axes = figure.add_subplot(grid[:, 0])
        _show(axes, images[whole], names[whole])
        axes.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False, ec=ACCENT, lw=2, gid="crop"))
    for index, (name, image, score) in enumerate(zip(names, images, scores or [""] * len(names))):
        axes = figure.add_subplot(grid[index // per_row, index % per_row + bool(crop)])
        cut = image[top : top + height, left : left + width]
        _show(axes, cut, f"{name}\n{score}" if score else name, "nearest" if crop else None)
    return figure


def _show(axes, image: np.ndarray, title: str, interpolation: str | None = None) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation=interpolation)
    axes.set_title(title, loc="center")
    picture_frame(axes)


def _drawable(image, name: str) -> np.ndarray:
    """Return an image as matplotlib draws it: H x W or H x W x 3, clipped to [0, 1]."""
    array = np.asarray(image, dtype=float)
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)):
        raise ValueError(f"image must be H x W or H x W x 3, got {' x '.join(map(str, array.shape))} for {name}")
    return np.clip(array, 0, 1)
