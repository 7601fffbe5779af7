"""N3Net (Plötz and Roth, "Neural nearest neighbors networks", NeurIPS 2018): DnCNNs with N3 blocks between them.

Three DnCNNs of six layers; the first two end in 8 channels, which an N3 block extends by what those of the 7 nearest
patches differ from them: patches of 10 x 10 every 5 pixels, compared in an embedding of 8 channels with the others in
a window of 80 x 80, by a relaxed choice. Weight j is the softmax of -distance / temperature; what it chose is
discounted, log(1 - weight), before weight j + 1. Embedding and temperature come from networks of three layers each.

705,511 parameters; its paper says 706 K, as the code counts with 384 that it never uses; table 10 0.71 M.
As in the code: each DnCNN has a skip, of as many channels as go in and come out, and there is none around them all;
the distance is the sum of squared differences over a patch, normalised by a batch norm over all pairs; the
temperature is a tenth of the exponential of the mean of its map over the patch; embedding and temperature have a batch
norm after their first convolution, the DnCNNs have not; 1 - weight is not clipped, but for its gradient; at the edge
the window is moved inside; zeros continue the image to whole patches, on all sides. Chosen here: first weights are
torch's; pictures below 80 pixels, which the code refuses, have fewer neighbours, and where none is left the used ones
are chosen again. The grid of patches depends on the image's size, so an image is never cut in tiles.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hinas_nb.comparators.base import Grey, Restorer
from hinas_nb.comparators.dncnn import plain
from hinas_nb.comparators.layers import conv
from hinas_nb.comparators.nlrn import neighbourhoods
from hinas_nb.method.operations import conv_norm

_CHANNELS, _NEIGHBOURS = 8, 7  # of the features compared; nearest patches
_PATCH, _STRIDE = 10, 5  # pixels
_REACH, _BLOCK = 7, 8  # patches: a window of 80 pixels; a side whose distances are one matrix product
_DEPTH = 6
_COOLING = 0.1  # of all temperatures
_GUARD = 1e-7  # added to 1 - weight where its gradient is taken
_FORBIDDEN, _USED = -1e12, -1e6  # a logit that is never chosen; the discount of what was chosen altogether


class N3Net(Restorer):
    """Restores one grey channel."""

    def __init__(self, width: int = 64):
        super().__init__()
        extended = _CHANNELS * (1 + _NEIGHBOURS)
        ends = [(1, _CHANNELS), (extended, _CHANNELS), (extended, 1)]
        self.stages = nn.ModuleList(plain(inputs, width, outputs, _DEPTH) for inputs, outputs in ends)
        self.blocks = nn.ModuleList(_N3Block(width) for _ in ends[1:])

    def forward(self, noisy: Grey) -> Grey:
        features = noisy
        for stage, block in zip(self.stages, self.blocks):
            features = block(_with_skip(stage, features))
        return _with_skip(self.stages[-1], features)


class _N3Block(nn.Module):
    """Joins to the features what those of the neighbours differ from them, from the nearest to the farthest."""

    def __init__(self, width: int):
        super().__init__()
        self.embed, self.temperature = _embedding(width, _CHANNELS), _embedding(width, 1)
        self.norm = nn.BatchNorm1d(1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, 8, height, width) to (batch, 64, height, width)."""
        size = features.shape[-2:]
        values, keys = _patches(features), _patches(self.embed(features))
        temperature = _COOLING * _patches(self.temperature(features)).mean(dim=1).exp()
        found = values.new_empty(len(values), _NEIGHBOURS, *values.shape[1:])
        rows, columns = values.shape[-2:]
        positions = torch.arange(rows * columns, device="cpu").view(rows, columns)
        blocks, likeness = [], []
        for inside, around, near in neighbourhoods(rows, columns, "cpu", _REACH, _BLOCK, shifted=True):
            query, key = (keys[index].flatten(2).transpose(1, 2) for index in (inside, around))
            others = positions[inside].flatten()[:, None] != positions[around].flatten()
            blocks.append((inside, around, near & others))
            likeness.append(-_distances(query, key))
        self._normalise(likeness, [allowed for *_, allowed in blocks])
        for (inside, around, allowed), like in zip(blocks, likeness):
            logits = like / temperature[inside].flatten(1)[..., None]
            value = values[around].flatten(2).transpose(1, 2)
            chosen = _nearest(logits, allowed.to(logits.device))
            mean = (chosen @ value[:, None]).transpose(2, 3)  # batch, neighbour, patch pixel, query
            found[inside] = mean.unflatten(3, values[inside].shape[-2:])
        neighbours = _assembled(found.flatten(0, 1), size).unflatten(0, (-1, _NEIGHBOURS))
        return torch.cat([features, (neighbours - features[:, None]).flatten(1, 2)], dim=1)

    def _normalise(self, likeness: list[Tensor], allowed: list[Tensor]) -> None:
        """Normalise, in place, what is allowed of all blocks together."""
        if likeness[0].is_meta:  # where multiply-adds are counted, of which this has none
            return
        pairs = [like[:, mask] for like, mask in zip(likeness, allowed)]
        joined = torch.cat(pairs, dim=1)
        if joined.numel():  # a picture of a single patch has no pairs
            joined = self.norm(joined[:, None])[:, 0]
        for like, mask, found in zip(likeness, allowed, joined.split([each.shape[1] for each in pairs], dim=1)):
            like[:, mask] = found


def _with_skip(stage: nn.Module, features: Tensor) -> Tensor:
    """Return what a stage makes of the features, plus the features themselves in the channels that both have."""
    change = stage(features)
    shared = min(change.shape[1], features.shape[1])
    return torch.cat([change[:, :shared] + features[:, :shared], change[:, shared:]], dim=1)


def _patches(image: Tensor) -> Float[Tensor, "batch patch_pixels rows columns"]:
    """Cut the image, with zeros around it, into patches."""
    (top, bottom), (left, right) = (_margins(side) for side in image.shape[-2:])
    whole = F.pad(image, (left, right, top, bottom))
    rows, columns = ((side - _PATCH) // _STRIDE + 1 for side in whole.shape[-2:])
    return F.unfold(whole, _PATCH, stride=_STRIDE).unflatten(2, (rows, columns))


def _assembled(pieces: Float[Tensor, "batch patch_pixels rows columns"], size: tuple[int, int]) -> Tensor:
    """Return the image of this size of which these are the patches, the mean where they overlap."""
    (top, bottom), (left, right) = (_margins(side) for side in size)
    whole = (size[0] + top + bottom, size[1] + left + right)
    count = F.fold(torch.ones_like(pieces[:1]).flatten(2), whole, _PATCH, stride=_STRIDE)
    image = F.fold(pieces.flatten(2), whole, _PATCH, stride=_STRIDE) / count
    return image[..., top : top + size[0], left : left + size[1]]


def _margins(side: int) -> tuple[int, int]:
    """Return how many pixels before and after a side make it one of whole patches."""
    missing = max(_PATCH - side, (_PATCH - side) % _STRIDE)
    return missing // 2, missing - missing // 2


def _distances(query: Float[Tensor, "batch n pixels"], key: Float[Tensor, "batch m pixels"]) -> Tensor:
    """Return the sums of squared differences, (batch, n, m)."""
    squares = query.square().sum(-1)[:, :, None] + key.square().sum(-1)[:, None, :]
    return squares - 2 * (query @ key.transpose(1, 2))


def _nearest(logits: Float[Tensor, "batch n m"], allowed: Tensor) -> Float[Tensor, "batch 7 n m"]:
    """Return the relaxed choice of the first, second, ... nearest; each row sums to 1."""
    logits, chosen = logits.masked_fill(~allowed, _FORBIDDEN), []
    for _ in range(_NEIGHBOURS):
        log_weight = logits.log_softmax(dim=-1)
        chosen.append(log_weight.exp())
        logits = logits + _log_left(log_weight)
    return torch.stack(chosen, dim=1)


def _log_left(log_weight: Tensor) -> Tensor:
    """Return log(1 - weight), exact for all weights, with the gradient of log(1 - weight + _GUARD)."""
    half = math.log(0.5)
    of_small = torch.log1p(-log_weight.clamp(max=half).exp())
    left = -torch.expm1(log_weight.clamp(min=half))
    guarded = (left + _GUARD).log()
    of_large = guarded + (left.log() - guarded).detach()
    return torch.where(log_weight < half, of_small, of_large).clamp(min=_USED)


def _embedding(width: int, outputs: int) -> nn.Sequential:
    """Return the network that maps features to an embedding, pixel by pixel."""
    first, second = conv_norm(_CHANNELS, width, 3), conv_norm(width, width, 3)
    return nn.Sequential(*first, nn.ReLU(), *second, nn.ReLU(), conv(width, outputs))
