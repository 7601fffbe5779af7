"""SAN (Dai et al., "Second-order attention network for single image super-resolution", CVPR 2019).

20 groups of 64 channels between two region-level non-local blocks. A group is ten residual blocks, second-order
channel attention and a convolution, with a skip around them; after each group the features before all groups are
added, with one learned weight that starts at 0, and at the end the first features, with weight 1. Second-order
attention describes a channel by the mean of its row in the square root of the channels' covariance, which five
Newton-Schulz iterations find. A non-local block (embedded Gaussian, an eighth of the channels) lets each pixel see
its quarter of the image.

15,674,732 (x2), 15,859,372 (x3) and 15,822,444 (x4) parameters against 15.7 M published; the code holds 36,948 more
that its network never uses.
As in the code: both non-local blocks are one, with the same weights, and start as the identity; their keys and values
are max-pooled by 2; a group ends in a convolution; the reduction is 16. Chosen here: torch's first weights; images on
0-1, not 0-255; the covariance is that of the whole image, where the code, whose memory is of all pairs of pixels,
takes the middle 1000 x 1000; regions of one pixel a side are not pooled. Attention sees the whole image, so it is
never cut into tiles.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, scaled_dot_product_attention

from hinas_nb.comparators.base import Image
from hinas_nb.comparators.layers import Frame, Gate, conv, residual_block
from hinas_nb.method.network import full_precision

_ITERATIONS = 5
_REDUCTION = 8  # of the channels inside a non-local block


class SAN(Frame):
    """Enlarges colour pictures by groups with second-order channel attention."""

    def __init__(self, scale: int, width: int = 64, groups: int = 20, blocks: int = 10):
        super().__init__(scale, width, _Trunk(width, groups, blocks))


class _Trunk(nn.Module):
    """Makes deep features of shallow ones: all groups, between the non-local block and itself."""

    def __init__(self, width: int, groups: int, blocks: int):
        super().__init__()
        self.non_local = _NonLocal(width)
        self.groups = nn.ModuleList(_Group(width, blocks) for _ in range(groups))
        self.share = nn.Parameter(torch.zeros(1))  # of the features before all groups

    def forward(self, shallow: Image) -> Image:
        source = features = self.non_local(shallow)
        for group in self.groups:
            features = group(features) + self.share * source
        return self.non_local(features) + shallow


class _Group(nn.Module):
    """Adds residual blocks, weighted by second-order attention, to the features."""

    def __init__(self, width: int, blocks: int):
        super().__init__()
        self.blocks = nn.Sequential(*(residual_block(width) for _ in range(blocks)))
        self.attention, self.last = Gate(width), conv(width, width)

    def forward(self, features: Image) -> Image:
        change = self.blocks(features)
        with full_precision(change):
            described = _square_root(_covariance(change)).mean(dim=2)[:, :, None, None].to(change.dtype)
        return features + self.last(self.attention(change, described))


class _NonLocal(nn.Module):
    """Adds W(softmax(q k) v) within each quarter of the image, of which the upper and left ones are the smaller."""

    def __init__(self, width: int):
        super().__init__()
        inner = max(width // _REDUCTION, 1)
        self.query, self.key, self.value = (conv(width, inner, 1) for _ in range(3))
        self.back = conv(inner, width, 1)
        nn.init.zeros_(self.back.weight)
        nn.init.zeros_(self.back.bias)

    def forward(self, features: Image) -> Image:
        rows = ([self._region(part) for part in _halves(row, 3)] for row in _halves(features, 2))
        return torch.cat([torch.cat(row, dim=3) for row in rows], dim=2)

    def _region(self, part: Image) -> Image:
        pool = [min(2, side) for side in part.shape[2:]]
        seen = (self.query(part), max_pool2d(self.key(part), pool), max_pool2d(self.value(part), pool))
        query, key, value = (each.flatten(2).transpose(1, 2)[:, None] for each in seen)
        mixed = scaled_dot_product_attention(query, key, value, scale=1.0)[:, 0]
        return part + self.back(mixed.transpose(1, 2).unflatten(2, part.shape[2:]))


def _halves(features: Image, dim: int) -> list[Image]:
    """Return both halves along a side, the first one shorter where it is odd; one where it is a pixel."""
    return [half for half in features.tensor_split([features.shape[dim] // 2], dim) if half.shape[dim]]


def _covariance(features: Image) -> Float[Tensor, "batch channel channel"]:
    """Return the covariance of the channels over the pixels, at least in float32."""
    values = features.flatten(2).to(torch.promote_types(features.dtype, torch.float32))
    values = values - values.mean(dim=2, keepdim=True)
    return values @ values.mT / values.shape[2]


def _square_root(
    matrix: Float[Tensor, "batch channel channel"], iterations: int = _ITERATIONS
) -> Float[Tensor, "batch channel channel"]:
    """Return the root of positive semidefinite matrices, by Newton-Schulz iterations on each divided by its trace."""
    trace = matrix.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None, None].clamp_min(1e-12)  # 0 for constant features
    eye = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    root, inverse = matrix / trace, eye.expand_as(matrix)
    for _ in range(iterations):
        step = (3 * eye - inverse @ root) / 2
        root, inverse = root @ step, step @ inverse
    return root * trace.sqrt()
