"""WNNM (Gu et al., "Weighted nuclear norm minimization with application to image denoising", CVPR 2014).

Nothing is trained. For patches on a grid the most similar ones nearby are gathered, from each pixel of a patch its mean
over the group is taken off, and the group's singular values s are shrunk by weights that fall with the value itself:

    x = max(s - w, 0),   w = 2 sqrt(2) sqrt(n) sigma^2 / x,

x from its own last value, three times, at first sqrt(s^2 - n sigma^2); n patches in the group. All patches that lie on
a pixel are averaged. A tenth of what was taken away is given back, and all is done again, 8 to 14 times.

As in the code: patches, groups, iterations and the grid's step by sigma; groups shrink by ten patches whenever they are
matched anew, each second time; what noise is left in a group is guessed from how far its first patch has moved from the
noisy one. Departs: singular values come from the eigenvalues of Y'Y, in float32, which takes less than half the
time of the singular value decomposition. Chosen here: the grid ends with the picture's last patch; a picture smaller
than a patch is one. An image of 481 x 321 takes less than two minutes of one thread at sigma 50.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from hinas_nb.comparators.classical import Filter
from hinas_nb.comparators.nlrn import neighbourhoods

CONSTANT, REWEIGHTINGS = 2 * 2**0.5, 3
BACK = 0.1  # of what was taken away, given back before each iteration
REACH = 30  # pixels from a patch to those that it is compared with, along each axis
MATCHED_EVERY, SHRINK = 2, 10  # iterations; patches fewer in a group
TILE = 8  # patches of the grid along a side, matched by one product
AT_ONCE = 512  # groups
TINY = 1e-12


class Course(NamedTuple):
    """Holds what is chosen by sigma."""

    side: int  # of a patch, pixels
    patches: int  # in a group, before the first match
    iterations: int
    left: float  # of the guess of what noise is left


#: By the largest sigma (grey levels) that it is for.
COURSES = {20: Course(6, 70, 8, 0.54), 40: Course(7, 90, 12, 0.56), 60: Course(8, 120, 14, 0.58)}
STRONGEST = Course(9, 140, 14, 0.58)


class WNNM(Filter):
    """Restores by groups of similar patches of low rank."""

    def filtered(self, picture: np.ndarray, sigma: float) -> np.ndarray:
        course = next((one for largest, one in COURSES.items() if self.sigma <= largest), STRONGEST)
        noisy = torch.from_numpy(picture).float()
        return restored(noisy, sigma, course).double().numpy()


@torch.no_grad()
def restored(noisy: Float[Tensor, "height width"], sigma: float, course: Course) -> Float[Tensor, "height width"]:
    """Return the picture on 0-1 without noise of deviation `sigma`; one below a patch in size is one patch."""
    patch = min(course.side, noisy.shape[0]), min(course.side, noisy.shape[1])
    grid = tuple(_places(size - side + 1, course.side // 2 - 1) for size, side in zip(noisy.shape, patch))
    keys = (grid[0][:, None] * (noisy.shape[1] - patch[1] + 1) + grid[1]).flatten()
    given, estimate, count = _patches(noisy, patch), noisy, course.patches
    for iteration in range(course.iterations):
        estimate = estimate + BACK * (noisy - estimate)
        patches = _patches(estimate, patch)
        left = torch.full((len(keys),), sigma)
        if iteration:
            moved = (given[keys] - patches[keys]).square().mean(dim=1)
            left = course.left * (sigma**2 - moved).abs().sqrt()
        if iteration % MATCHED_EVERY == 0:
            count -= SHRINK
            groups = matched(patches, noisy.shape[1] - patch[1] + 1, grid, count)
        estimate = _assembled(*_low_rank(patches, groups, left), noisy.shape, patch)
    return estimate


def matched(
    patches: Float[Tensor, "patch pixels"], columns: int, grid: tuple[Tensor, Tensor], count: int
) -> Int[Tensor, "key count"]:
    """Return, for each key patch, the indices of the `count` nearest patches within reach, itself among them.

    columns: patches in a row; grid: rows and columns of the keys. Fewer where the picture has not so many.
    """
    rows = len(patches) // columns
    count = min(count, min(REACH + 1, rows) * min(REACH + 1, columns))
    index, squares = torch.arange(len(patches)).view(rows, columns), patches.square().sum(dim=1)
    keys = index[grid[0]][:, grid[1]]
    found = torch.empty(*keys.shape, count, dtype=torch.long)
    for inside, around, near in neighbourhoods(rows, columns, "cpu", REACH, TILE, grid=grid):
        own, others = keys[inside], index[around].flatten()
        far = squares[others] - 2 * patches[own.flatten()] @ patches[others].T  # but for the key's own square
        nearest = far.masked_fill_(~near, torch.inf).topk(count, largest=False, sorted=False).indices
        found[inside[1:]] = others[nearest].view(*own.shape, count)
    return found.flatten(0, 1)


def shrunk(
    group: Float[Tensor, "group patches pixels"], sigma: Float[Tensor, " group"]
) -> Float[Tensor, "group patches pixels"]:
    """Return groups with their singular values shrunk, for the noise that is left in each."""
    count, variance = group.shape[1], sigma.square()[:, None]
    squares, vectors = torch.linalg.eigh(group.mT @ group)
    values = squares.clamp(min=0).sqrt()
    kept = (values.square() - count * variance).clamp(min=0).sqrt()
    for _ in range(REWEIGHTINGS):
        kept = (values - CONSTANT * count**0.5 * variance / (kept + TINY)).clamp(min=0)
    return group @ (vectors * (kept / (values + TINY))[:, None] @ vectors.mT)


def _low_rank(patches: Tensor, groups: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of all restored patches in the place of each, and how many they are."""
    total, looks = torch.zeros_like(patches), torch.bincount(groups.flatten(), minlength=len(patches))
    for members, sigma in zip(groups.split(AT_ONCE), left.split(AT_ONCE)):
        group = patches[members]
        mean = group.mean(dim=1, keepdim=True)
        total.index_add_(0, members.flatten(), (mean + shrunk(group - mean, sigma)).flatten(0, 1))
    return total, looks


def _places(count: int, step: int) -> Tensor:
    """Return each `step`-th of so many places, and the last."""
    return torch.unique(torch.cat([torch.arange(0, count, step), torch.tensor([count - 1])]))


def _patches(image: Tensor, patch: tuple[int, int]) -> Float[Tensor, "patch pixels"]:
    return F.unfold(image[None, None], patch)[0].T.contiguous()


def _assembled(total: Tensor, looks: Tensor, size: torch.Size, patch: tuple[int, int]) -> Tensor:
    """Return the mean of all patches that lie on each pixel."""
    weights = looks.to(total)[:, None].expand_as(total)
    summed, weight = (F.fold(each.T[None], tuple(size), patch)[0, 0] for each in (total, weights))
    return summed / weight
