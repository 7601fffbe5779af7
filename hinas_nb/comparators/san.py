"""SAN (Dai et al., "Second-order attention network for single image super-resolution", CVPR 2019).

20 groups of 64 channels between two region-level non-local blocks. A group is ten residual blocks, second-order
channel attention and a convolution, with a skip around them; after each group and at the end the first features are
added, with one learned weight that starts at 0. Second-order attention describes a channel by the mean of its row in
the square root of the channels' covariance, which five Newton-Schulz iterations find. A non-local block (embedded
Gaussian, half the channels) lets each pixel see all of its quarter of the image.

15,689,300 (x2), 15,873,940 (x3) and 15,837,012 (x4) parameters against 15.7 M published. Chosen here: the group's
last convolution (the published count has room for it); a reduction of 16; non-local weights of their own at both
ends, starting as the identity; torch's first weights. Attention sees the whole image, so it is never cut into tiles.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from hinas_nb.comparators.base import Image
from hinas_nb.comparators.layers import Frame, Gate, ResidualBlock, conv
from hinas_nb.network import full_precision

ITERATIONS = 5
REGIONS = 2  # per side


class SAN(Frame):
    """width: even, since non-local blocks work on half of it."""

    def __init__(self, scale: int, width: int = 64, groups: int = 20, blocks: int = 10):
        super().__init__(scale, width, Trunk(width, groups, blocks))


class Trunk(nn.Module):
    def __init__(self, width: int, groups: int, blocks: int):
        super().__init__()
        self.before, self.after = NonLocal(width), NonLocal(width)
        self.groups = nn.ModuleList(Group(width, blocks) for _ in range(groups))
        self.share = nn.Parameter(torch.zeros(1))  # of the first features

    def forward(self, shallow: Image) -> Image:
        source = features = self.before(shallow)
        for group in self.groups:
            features = group(features) + self.share * source
        return self.after(features + self.share * source)


class Group(nn.Module):
    def __init__(self, width: int, blocks: int):
        super().__init__()
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.attention, self.last = Gate(width), conv(width, width)

    def forward(self, features: Image) -> Image:
        change = self.blocks(features)
        with full_precision(change):
            described = square_root(covariance(change)).mean(dim=2)[:, :, None, None].to(change.dtype)
        return features + self.last(self.attention(change, described))


class NonLocal(nn.Module):
    """x + W(softmax(q k) v) within each of the regions."""

    def __init__(self, width: int):
        super().__init__()
        self.embed = conv(width, 3 * (width // 2), 1)
        self.back = conv(width // 2, width, 1)
        nn.init.zeros_(self.back.weight)
        nn.init.zeros_(self.back.bias)

    def forward(self, features: Image) -> Image:
        rows = features.tensor_split(REGIONS, dim=2)
        return torch.cat([self._row(row) for row in rows if row.shape[2]], dim=2)

    def _row(self, row: Image) -> Image:
        return torch.cat([self._region(part) for part in row.tensor_split(REGIONS, dim=3) if part.shape[3]], dim=3)

    def _region(self, part: Image) -> Image:
        query, key, value = self.embed(part).flatten(2).transpose(1, 2).chunk(3, dim=2)
        mixed = scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], scale=1.0)[:, 0]
        return part + self.back(mixed.transpose(1, 2).unflatten(2, part.shape[2:]))


def covariance(features: Image) -> Float[Tensor, "batch channel channel"]:
    """Of the channels over the pixels; at least in float32."""
    values = features.flatten(2).to(torch.promote_types(features.dtype, torch.float32))
    values = values - values.mean(dim=2, keepdim=True)
    return values @ values.mT / values.shape[2]


def square_root(
    matrix: Float[Tensor, "batch channel channel"], iterations: int = ITERATIONS
) -> Float[Tensor, "batch channel channel"]:
    """Of positive semidefinite matrices, by Newton-Schulz iterations on the matrix divided by its trace."""
    trace = matrix.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None, None].clamp_min(1e-12)  # 0 for constant features
    eye = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    root, inverse = matrix / trace, eye.expand_as(matrix)
    for _ in range(iterations):
        step = (3 * eye - inverse @ root) / 2
        root, inverse = root @ step, step @ inverse
    return root * trace.sqrt()
