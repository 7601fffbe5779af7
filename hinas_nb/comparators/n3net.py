"""N3Net (Plötz and Roth, "Neural nearest neighbors networks", NeurIPS 2018): DnCNNs with N3 blocks between them.

Three DnCNNs of six layers; the first two end in 8 channels, which an N3 block extends by those of the 7 nearest
patches: patches of 10 x 10 every 5 pixels, compared in an embedding of 8 channels with all others in a window of 80 x
80, by a relaxed choice. Weight j is the softmax of -distance / temperature; what it chose is discounted, log(1 -
weight), before weight j + 1. Embedding and temperature come from networks of three layers each.

705,251 parameters; its paper says 706 K, table 10 0.71 M. Chosen here: the distance is the mean squared difference
over a patch, the temperature the exponential of the mean of its map over the patch; no bias before a batch norm;
the window holds the patches that start at most 35 pixels away, fewer at the image's edge; the image is continued by
its edge pixels to whole patches. Patches lie on a grid from the image's corner, so an image is never cut in tiles.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hinas_nb.comparators.base import Restorer, near_identity
from hinas_nb.comparators.nlrn import neighbourhoods
from hinas_nb.ops import conv_norm

CHANNELS, NEIGHBOURS = 8, 7  # of the features compared; nearest patches
PATCH, STRIDE = 10, 5  # pixels
REACH, BLOCK = 7, 8  # patches: a window of 80 pixels; a side whose distances are one matrix product
DEPTH, DEPTH_EMBEDDING = 6, 3
FORBIDDEN, USED = -1e12, -1e6  # a logit that is never chosen; the discount of what was chosen altogether


class N3Net(Restorer):
    """noisy - f(noisy), one grey channel."""

    halo = None

    def __init__(self, width: int = 64):
        super().__init__()
        extended = CHANNELS * (1 + NEIGHBOURS)
        ends = [(1, CHANNELS), (extended, CHANNELS), (extended, 1)]
        self.stages = nn.ModuleList(plain(inputs, width, outputs, DEPTH) for inputs, outputs in ends)
        self.blocks = nn.ModuleList(N3Block(width) for _ in ends[1:])
        near_identity(self.stages[-1][-1])

    def forward(self, noisy: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch 1 height width"]:
        features = noisy
        for stage, block in zip(self.stages, self.blocks):
            features = block(stage(features))
        return noisy - self.stages[-1](features)


class N3Block(nn.Module):
    """Features -> the features and, from the nearest to the farthest, those of the neighbours."""

    def __init__(self, width: int):
        super().__init__()
        self.embed = plain(CHANNELS, width, CHANNELS, DEPTH_EMBEDDING)
        self.temperature = plain(CHANNELS, width, 1, DEPTH_EMBEDDING)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, 8, height, width) -> (batch, 64, height, width)."""
        height, width = features.shape[-2:]
        sizes = [max(PATCH, -(-(side - PATCH) // STRIDE) * STRIDE + PATCH) for side in (height, width)]
        whole = F.pad(features, (0, sizes[1] - width, 0, sizes[0] - height), mode="replicate")
        values, keys = patches(whole), patches(self.embed(whole))
        temperature = patches(self.temperature(whole)).mean(dim=1).exp()
        found = values.new_empty(len(values), NEIGHBOURS, *values.shape[1:])
        for inside, around, near in neighbourhoods(*values.shape[-2:], values.device, REACH, BLOCK):
            query, key, value = (x.flatten(2).transpose(1, 2) for x in (keys[inside], keys[around], values[around]))
            logits = -distances(query, key) / temperature[inside].flatten(1)[..., None]
            chosen = nearest(logits, near & ~itself(inside, around, near.device))
            mean = (chosen @ value[:, None]).transpose(2, 3)  # batch, neighbour, patch pixel, query
            found[inside] = mean.unflatten(3, values[inside].shape[-2:])
        neighbours = assembled(found.flatten(0, 1), sizes).unflatten(0, (-1, NEIGHBOURS)).flatten(1, 2)
        return torch.cat([features, neighbours[..., :height, :width]], dim=1)


def patches(image: Tensor) -> Float[Tensor, "batch patch_pixels rows columns"]:
    rows, columns = ((side - PATCH) // STRIDE + 1 for side in image.shape[-2:])
    return F.unfold(image, PATCH, stride=STRIDE).unflatten(2, (rows, columns))


def assembled(pieces: Float[Tensor, "batch patch_pixels rows columns"], sizes: list[int]) -> Tensor:
    """The image of these patches, the mean where they overlap."""
    count = F.fold(torch.ones_like(pieces[:1]).flatten(2), sizes, PATCH, stride=STRIDE)
    return F.fold(pieces.flatten(2), sizes, PATCH, stride=STRIDE) / count


def distances(query: Float[Tensor, "batch n pixels"], key: Float[Tensor, "batch m pixels"]) -> Tensor:
    squares = query.square().mean(-1)[:, :, None] + key.square().mean(-1)[:, None, :]
    return squares - 2 / query.shape[-1] * (query @ key.transpose(1, 2))


def nearest(logits: Float[Tensor, "batch n m"], allowed: Tensor) -> Float[Tensor, "batch 7 n m"]:
    """The relaxed choice of the first, second, ... nearest; each row sums to 1."""
    logits, chosen = logits.masked_fill(~allowed, FORBIDDEN), []
    for _ in range(NEIGHBOURS):
        chosen.append(logits.softmax(dim=-1))
        left = 1 - chosen[-1]
        logits = logits + left.clamp(min=1e-9).log().masked_fill(left <= 0, USED)
    return torch.stack(chosen, dim=1)


def itself(inside: tuple, around: tuple, device: torch.device) -> Tensor:
    """Which of the positions around is the position itself."""
    rows, columns = (
        torch.arange(i.start, i.stop, device=device)[:, None] == torch.arange(a.start, a.stop, device=device)
        for i, a in zip(inside[1:], around[1:])
    )
    return (rows[:, None, :, None] & columns[None, :, None, :]).flatten(2).flatten(0, 1)


def plain(inputs: int, width: int, outputs: int, depth: int) -> nn.Sequential:
    """A DnCNN of this depth, without its skip."""
    inner = [layer for _ in range(depth - 2) for layer in (*conv_norm(width, width, 3), nn.ReLU())]
    first, last = nn.Conv2d(inputs, width, 3, padding=1), nn.Conv2d(width, outputs, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), *inner, last)
