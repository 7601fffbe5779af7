"""NLRN (Liu et al., "Non-local recurrent network for image restoration", NeurIPS 2018).

One step, applied 12 times with the same weights: batch norm, ReLU and a non-local module, two 3x3 convolutions of 128
channels after batch norms, and the first features added. The module adds to the features a projection of them,
averaged around each pixel by the softmax of its correlation in 64 channels. A last convolution predicts the residual.

340,099 parameters; its paper says 330 K, HiNAS's table 10 1.03 M; `comparators.TABLE` says why.
As in the code: a batch norm of the image comes first; each step has three batch norms of its own, with TensorFlow's
epsilon; no ReLU follows the module's; the projection starts at zero, the module as the identity. Correlations are not
added up from step to step: the paper and an older version of the code do, the code with which its authors replaced
that version does not. Chosen here: the first weights of the rest are torch's; the mean is over 45 x 45 pixels around
each one, as in the paper, and tiles change nothing; the code averages over all of a 43 x 43 tile, and then tiles.

Exact and slow: correlations take 1.3 T of a 481 x 321 image's multiply-adds.
"""

from collections.abc import Iterator
from functools import partial
from itertools import product

import torch
from torch import Tensor, nn

from hinas_nb.comparators.base import Grey, Restorer
from hinas_nb.comparators.layers import conv
from hinas_nb.method.fast import BatchNorm2d
from hinas_nb.method.operations import near_identity

_STEPS = 12
_REACH = 22  # pixels on each side: a neighbourhood of 45 x 45
_BLOCK = 16  # pixels a side whose correlations are one matrix product
_norm = partial(BatchNorm2d, eps=1e-3)


class NLRN(Restorer):
    """Restores noisy + f(noisy), one grey channel; embeddings have half of `width` channels."""

    halo = _STEPS * (_REACH + 2) + 2

    def __init__(self, width: int = 128):
        super().__init__()
        self.extract = nn.Sequential(_norm(1), conv(1, width))
        self.non_local = _NonLocal(width)
        self.convolutions = nn.ModuleList(conv(width, width) for _ in range(2))
        self.norms = nn.ModuleList(nn.ModuleList(_norm(width) for _ in range(3)) for _ in range(_STEPS))
        self.reconstruct = nn.Sequential(_norm(width), nn.ReLU(), conv(width, 1))
        near_identity(self.reconstruct[-1])

    def forward(self, noisy: Grey) -> Grey:
        first = state = self.extract(noisy)
        for before, between, last in self.norms:
            state = self.non_local(torch.relu(before(state)))
            state = self.convolutions[0](between(state))  # As in the code: no ReLU here.
            state = first + self.convolutions[1](torch.relu(last(state)))
        return noisy + self.reconstruct(state)


class _NonLocal(nn.Module):
    """Adds to every pixel a mean over its neighbours, weighted by correlation."""

    def __init__(self, width: int):
        super().__init__()
        self.embed = nn.ModuleList(conv(width, max(width // 2, 1), 1) for _ in range(2))  # query, key
        self.project = conv(width, width, 1)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, features: Tensor) -> Tensor:
        query, key = (embed(features) for embed in self.embed)
        value, result = self.project(features), torch.empty_like(features)
        for inside, around, near in neighbourhoods(*features.shape[-2:], features.device, _REACH, _BLOCK):
            correlation = query[inside].flatten(2).transpose(1, 2) @ key[around].flatten(2)
            weights = correlation.masked_fill(~near, -torch.inf).softmax(dim=-1)
            mean = weights @ value[around].flatten(2).transpose(1, 2)
            result[inside] = mean.transpose(1, 2).reshape(result[inside].shape)
        return features + result


def neighbourhoods(
    height: int,
    width: int,
    device: torch.device | str,
    reach: int,
    block: int,
    shifted: bool = False,
    grid: tuple | None = None,
) -> Iterator[tuple[tuple, tuple, Tensor]]:
    """Yield blocks of positions: their index, that of all positions within reach of any, and who reaches whom.

    shifted: at an edge a neighbourhood is moved inside, so that all are of one size, instead of being cut.
    grid: the rows and columns that blocks are made of; None: all.
    """
    grid = grid or (range(height), range(width))
    for starts in product(*(range(0, len(places), block) for places in grid)):
        inside, around, near = [], [], []
        for start, places, size in zip(starts, grid, (height, width)):
            centres = [int(place) for place in places[start : start + block]]
            if shifted:
                centres = [min(max(centre, reach), max(size - 1 - reach, reach)) for centre in centres]
            low, high = max(centres[0] - reach, 0), min(centres[-1] + reach + 1, size)
            away = torch.tensor(centres, device=device)[:, None] - torch.arange(low, high, device=device)
            inside.append(slice(start, start + len(centres)))
            around.append(slice(low, high))
            near.append(away.abs() <= reach)
        both = near[0][:, None, :, None] & near[1][None, :, None, :]
        yield (..., *inside), (..., *around), both.flatten(2).flatten(0, 1)
