"""NLRN (Liu et al., "Non-local recurrent network for image restoration", NeurIPS 2018).

One step, applied 12 times with the same weights: a non-local module, two 3x3 convolutions of 128 channels after batch
norm and ReLU, and the first features added. The module averages a projection of the features around each pixel, 45 x
45 of them, by the softmax of their correlation in 64 channels; correlations are added up from step to step. A last
convolution predicts the residual.

336,384 parameters; its paper says 330 K, the convolutions alone (329,984), and HiNAS's table 10 says 1.03 M, of a
version that is not described. Chosen here: each step has batch norms of its own (as MemNet's here); first weights are
torch's. The authors' code averages 35 x 35 pixels by default, the paper 45 x 45.

Exact and slow: all 12 steps' correlations of 2,025 neighbours need about 14 KB a pixel, 3.4 GiB in all for 481 x 321.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hinas_nb.comparators.base import Restorer, near_identity
from hinas_nb.layers import BatchNorm2d

STEPS = 12
REACH = 22  # pixels on each side: a neighbourhood of 45 x 45
BLOCK = 16  # pixels a side whose correlations are one matrix product


class NLRN(Restorer):
    """noisy + f(noisy), one grey channel; embeddings have half of `width` channels."""

    halo = STEPS * (REACH + 2) + 2

    def __init__(self, width: int = 128):
        super().__init__()
        self.extract = _conv(1, width, 3)
        self.non_local = NonLocal(width)
        self.convolutions = nn.ModuleList(_conv(width, width, 3) for _ in range(2))
        self.norms = nn.ModuleList(nn.ModuleList(BatchNorm2d(width) for _ in range(2)) for _ in range(STEPS))
        self.reconstruct = nn.Sequential(BatchNorm2d(width), nn.ReLU(), _conv(width, 1, 3))
        near_identity(self.reconstruct[-1])

    def forward(self, noisy: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch 1 height width"]:
        first = state = self.extract(noisy)
        correlations: dict[int, Tensor] = {}
        for norms in self.norms:
            state = self.non_local(state, correlations)
            for norm, convolution in zip(norms, self.convolutions):
                state = convolution(torch.relu(norm(state)))
            state = first + state
        return noisy + self.reconstruct(state)


class NonLocal(nn.Module):
    """Every pixel becomes a mean over its neighbours, weighted by correlation."""

    def __init__(self, width: int):
        super().__init__()
        self.embed = nn.ModuleList(_conv(width, max(width // 2, 1), 1) for _ in range(2))  # query, key
        self.project = _conv(width, width, 1)

    def forward(self, features: Tensor, correlations: dict[int, Tensor]) -> Tensor:
        """correlations: by block, of the steps before; this step's are added."""
        query, key = (embed(features) for embed in self.embed)
        value, result = self.project(features), torch.empty_like(features)
        for index, (inside, around, near) in enumerate(neighbourhoods(*features.shape[-2:], features.device)):
            now = query[inside].flatten(2).transpose(1, 2) @ key[around].flatten(2)
            correlations[index] = correlations[index] + now if index in correlations else now
            weights = correlations[index].masked_fill(~near, -torch.inf).softmax(dim=-1)
            mean = weights @ value[around].flatten(2).transpose(1, 2)
            result[inside] = mean.transpose(1, 2).reshape(result[inside].shape)
        return result


def neighbourhoods(
    height: int, width: int, device: torch.device, reach: int = REACH, block: int = BLOCK
) -> Iterator[tuple[tuple, tuple, Tensor]]:
    """Blocks of positions: their index, that of all positions within reach of any of them, and who reaches whom."""
    for top in range(0, height, block):
        for left in range(0, width, block):
            inside, around, near = [], [], []
            for start, size in ((top, height), (left, width)):
                stop = min(start + block, size)
                low, high = max(start - reach, 0), min(stop + reach, size)
                away = torch.arange(start, stop, device=device)[:, None] - torch.arange(low, high, device=device)
                inside.append(slice(start, stop))
                around.append(slice(low, high))
                near.append(away.abs() <= reach)
            both = near[0][:, None, :, None] & near[1][None, :, None, :]
            yield (..., *inside), (..., *around), both.flatten(2).flatten(0, 1)


def _conv(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
