"""Batch norm, depthwise and 1x1 convolutions at the speed of memory, from torch's own tensor operations.

In channels-last memory a batch of images is a matrix, pixels x channels. torch's batch norm walks it row by row, and
a row of 10 or 60 channels fills no vector register: 3 ms where memory needs 0.1. Laid out, without copying, as rows
of some 2,000 numbers, every pass runs at full width; what it sums per column is summed once more per channel. The
weight gradient of a depthwise kernel is fast up to three columns and ten times slower beyond: that of a 5x5 kernel
is put together from two 5x3 ones. Notebook `24_speed` measures what this is worth.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

EPSILON = 1e-5  # of every batch norm, as torch's default
_WIDE = 2048  # numbers a row should have
_NARROW = 48  # channels up to which the 1x1 convolutions of several edges, zeros included, are faster as one product

_Images = Float[Tensor, "batch channels height width"]
Pixels = Float[Tensor, "pixels channels"]
_Channels = Float[Tensor, " channels"]


def pixels(images: _Images) -> Pixels:
    """Return the matrix that a channels-last tensor is in memory (others are copied)."""
    return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1]).contiguous()


def images(matrix: Pixels, like: _Images) -> _Images:
    """Return the channels-last tensor of a matrix, with the batch and sides of `like`."""
    batch, _, height, width = like.shape
    return matrix.view(batch, height, width, matrix.shape[1]).permute(0, 3, 1, 2)


def moments(*matrices: Pixels) -> tuple[Float[Tensor, "matrices channels"], Float[Tensor, "matrices channels"]]:
    """Return mean and biased variance of every matrix per channel, in float32 or better."""
    mean, var = zip(*(_row_moments(_wide(_accurate(matrix))) for matrix in matrices))
    sizes = len(matrices), -1, matrices[0].shape[1]
    mean, var = torch.stack(mean).view(sizes), torch.stack(var).view(sizes)
    centre = mean.mean(1, keepdim=True)
    return centre[:, 0], (mean - centre).square_().add_(var).mean(1)  # torch.var_mean is slow over such columns


def _row_moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    if rows.device.type == "mps":  # has no batch_norm_update_stats
        return torch.var_mean(rows, 0, correction=0)[::-1]
    return torch.ops.aten.batch_norm_update_stats.default(rows, None, None, 0.0)


def scaled(images: _Images, scale: _Channels, shift: _Channels) -> _Images:
    """Return shift + scale * images, channels-last; it is no view, so what follows may work in place."""
    result = torch.empty_like(images, memory_format=torch.channels_last)
    rows = _wide(pixels(images))
    scale, shift = _tiled(rows, torch.stack((scale, shift)))
    torch.addcmul(shift, rows, scale, out=_wide(pixels(result)))
    return result


def add_scaled(total: Pixels, matrices: list[Pixels], scales: Float[Tensor, "matrices channels"]) -> None:
    """Add matrix * scale to `total` for every matrix, in place."""
    rows = _wide(total)
    for matrix, scale in zip(matrices, _tiled(rows, scales)):
        rows.addcmul_(_wide(matrix.to(total.dtype)), scale)


def subtract(matrices: list[Pixels], shifts: Float[Tensor, "matrices channels"]) -> None:
    """Subtract its shift from every matrix, in place."""
    rows = [_wide(matrix) for matrix in matrices]
    for one, shift in zip(rows, _tiled(rows[0], shifts)):
        one.sub_(shift)


def products(gradient: Pixels, matrices: list[Pixels]) -> Float[Tensor, "1+matrices channels"]:
    """Return sums over the pixels: of the gradient and, for every matrix, of gradient * matrix."""
    rows, channels = _wide(_accurate(gradient)), gradient.shape[1]
    zeros, ones = rows.new_zeros(rows.shape[1]), rows.new_ones(rows.shape[1])
    found = [_row_products(rows, _wide(_accurate(matrix)), zeros, ones) for matrix in matrices]
    return torch.stack([found[0][1], *(one for one, _ in found)]).view(len(found) + 1, -1, channels).sum(1)


def _row_products(gradient: Tensor, rows: Tensor, mean: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """Return sums per column: of gradient * (rows - mean) * inverse, and of the gradient."""
    if rows.device.type != "cpu":  # without a weight, CUDA's function gives empty sums and that of MPS fails
        return ((rows - mean) * inverse * gradient).sum(0), gradient.sum(0)
    return torch.ops.aten.native_batch_norm_backward.default(
        gradient, rows, None, None, None, mean, inverse, True, EPSILON, [False, True, True]
    )[1:]


def norm_gradients(gradient: Pixels, matrices: list[Pixels], inverse: Float[Tensor, "matrices channels"], sums):
    """Yield, matrix by matrix, the gradient of a batch norm by its raw input, still without the factor `inverse`.

    matrices: the centred raw inputs, whose normalised outputs matrix * inverse all have the same gradient.
    sums: what `products` gives for them, or None where the norm's statistics are constants.
    """
    rows = _wide(gradient.to(matrices[0].dtype))
    if sums is None:
        yield from (rows.view(gradient.shape) for _ in matrices)
        return
    mean, *slopes = _tiled(rows, _shares(sums, inverse, len(gradient)))
    rows = rows + mean
    for matrix, slope in zip(matrices, slopes):
        yield torch.addcmul(rows, _wide(matrix), slope).view(matrix.shape)


def norm_gradient(gradient: Pixels, matrix: Pixels, inverse: _Channels) -> None:
    """Turn `gradient` into that of `norm_gradients` for a single matrix, in place."""
    sums = products(gradient, [matrix])
    rows = _wide(gradient)
    mean, slope = _tiled(rows, _shares(sums, inverse[None], len(gradient)))
    rows.addcmul_(_wide(matrix), slope).add_(mean)


def _shares(sums: Tensor, inverse: Tensor, count: int) -> Float[Tensor, "1+matrices channels"]:
    """Return with which weights ones (row 0) and the centred matrices enter the gradient of a batch norm."""
    shares = sums / -count
    shares[1:] *= inverse.square()
    return shares


def norm_backward(
    gradient: Pixels,
    raw: Pixels,
    scale: _Channels | float,
    mean: _Channels,
    inverse: _Channels,
    want_raw: bool = True,
) -> tuple[Pixels | None, _Channels, _Channels]:
    """Return the gradients of `shift + scale * (raw - mean) * inverse` by raw (if wanted), by scale and by shift.

    mean, inverse: of `raw`, 1 / sqrt(variance + epsilon).
    """
    factor, channels, rows = scale * inverse, raw.shape[1], _wide(_accurate(raw))
    sums = _row_products(_wide(_accurate(gradient)), rows, *_tiled(rows, torch.stack((mean, inverse))))
    by_scale, by_shift = (columns.view(-1, channels).sum(0) for columns in sums)
    if not want_raw:
        return None, by_scale, by_shift
    rows = _wide(gradient.to(raw.dtype))
    share = factor / -len(raw)
    slope = share * inverse * by_scale
    base = torch.addcmul(share * by_shift, slope, mean, value=-1)
    base, factor, slope = _tiled(rows, torch.stack((base, factor, slope)))
    by_raw = torch.addcmul(base, rows, factor).addcmul_(_wide(raw), slope)
    return by_raw.view(raw.shape), by_scale, by_shift


def pointwise(matrix: Pixels, weights: Float[Tensor, "edges out into"], out: Pixels | None = None) -> Pixels:
    """Return a 1x1 convolution of each edge's channels, stacked; out: where to write it."""
    result, width = torch.empty_like(matrix) if out is None else out, weights.shape[1]
    together = max(1, _NARROW // width)
    if together >= len(weights):
        return multiply(matrix, torch.block_diag(*weights).T, result)
    for first in range(0, len(weights), together):
        some = weights[first : first + together]
        columns = slice(first * width, (first + len(some)) * width)
        multiply(matrix[:, columns], torch.block_diag(*some).T, result[:, columns])
    return result


def pointwise_gradient(
    gradient: Pixels, matrix: Pixels, weights: Float[Tensor, "edges out into"]
) -> Float[Tensor, "edges out into"]:
    """Return the gradient of `pointwise` by its weights; one product with all edges is faster than one per edge."""
    edges, channels, _ = weights.shape
    whole = product(gradient, matrix).view(edges, channels, edges, channels)
    return whole.diagonal(dim1=0, dim2=2).permute(2, 0, 1)


def multiply(left: Float[Tensor, "rows some"], right: Float[Tensor, "some columns"], out: Tensor) -> Tensor:
    """Write left @ right to `out`, which may be a part of a larger matrix, and return it."""
    if out.device.type == "mps":  # where operations have silently left out what is not contiguous
        return out.copy_(left @ right)
    return torch.mm(left, right, out=out)


def product(left: Pixels, right: Pixels) -> Float[Tensor, "left right"]:
    """Return left.T @ right, computed in parts: such long columns are slow in one."""
    parts = math.gcd(32, len(left))
    left, right = (matrix.view(parts, -1, matrix.shape[1]) for matrix in (left, right))
    return torch.bmm(left.transpose(1, 2), right).sum(0)


def depthwise(images: _Images, kernels: Float[Tensor, "channels 1 side side"], dilation: int = 1) -> _Images:
    """Return every channel convolved with a kernel of its own; the size is kept."""
    if _foldable(images, dilation):
        folded = depthwise(_folded(images, dilation), kernels.repeat(dilation, 1, 1, 1))
        return _unfolded(folded, images, dilation)
    padding = dilation * (kernels.shape[-1] // 2)
    return F.conv2d(images, kernels, padding=padding, dilation=dilation, groups=len(kernels))


def depthwise_backward(
    gradient: _Images,
    feature: _Images,
    kernels: Float[Tensor, "channels 1 side side"],
    wanted: tuple[bool, bool],
    dilation: int = 1,
) -> tuple[_Images | None, Tensor | None]:
    """Return the gradients of `depthwise` by its feature and by its kernels, None where one is not wanted."""
    if not any(wanted):
        return None, None
    if _foldable(feature, dilation):
        folded = (_folded(images, dilation) for images in (gradient, feature))
        by_feature, by_kernels = depthwise_backward(*folded, kernels.repeat(dilation, 1, 1, 1), wanted)
        return (
            _unfolded(by_feature, feature, dilation) if wanted[0] else None,
            by_kernels.view(dilation, *kernels.shape).sum(0) if wanted[1] else None,
        )
    side = kernels.shape[-1]
    padding = [dilation * (side // 2)] * 2
    if not (wanted[1] and side == 5 and dilation == 1):
        return _convolution_backward(gradient, feature, kernels, padding, dilation, wanted)
    # A feature that is padded on one side only is seen through one half of the kernel: columns 0-2, then 2-4.
    left, right = (
        _convolution_backward(gradient, padded, kernels[..., :3], [2, 0], 1, (False, True))[1]
        for padded in _padded_columns(feature)
    )
    by_feature = None
    if wanted[0]:
        by_feature, _ = _convolution_backward(gradient, feature, kernels, padding, dilation, (True, False))
    return by_feature, torch.cat([left, right[..., 1:]], dim=-1)


def _foldable(images: _Images, dilation: int) -> bool:
    return dilation > 1 and images.shape[2] % dilation == images.shape[3] % dilation == 0


def _folded(images: _Images, dilation: int) -> _Images:
    """Return a copy in which pixels `dilation` apart are neighbours; those between are other images and channels.

    There a convolution with that dilation is one without, several times faster.
    """
    batch, _, height, width = images.shape
    grid = images.permute(0, 2, 3, 1).reshape(batch, height // dilation, dilation, width // dilation, -1)
    return grid.transpose(1, 2).flatten(0, 1).permute(0, 3, 1, 2)


def _unfolded(folded: _Images, like: _Images, dilation: int) -> _Images:
    batch, channels, height, width = like.shape
    grid = folded.permute(0, 2, 3, 1).unflatten(0, (batch, dilation)).transpose(1, 2)
    return grid.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


def _padded_columns(feature: _Images) -> tuple[_Images, _Images]:
    """Return the feature with two columns of zeros on the left, and with two on the right.

    Both lie in one memory: the zeros on the left of a row are those on the right of the row before.
    """
    batch, channels, height, width = feature.shape
    memory = feature.new_empty(2 + batch * height * (width + 2), channels)
    left, right = (part.view(batch, height, width + 2, channels) for part in (memory[:-2], memory[2:]))
    memory[:2], right[:, :, width:] = 0, 0
    right[:, :, :width] = feature.permute(0, 2, 3, 1)
    return left.permute(0, 3, 1, 2), right.permute(0, 3, 1, 2)


def _convolution_backward(gradient, feature, kernels, padding: list[int], dilation: int, wanted: tuple[bool, bool]):
    groups, spread = kernels.shape[0], [dilation, dilation]
    return torch.ops.aten.convolution_backward.default(
        gradient, feature, kernels, None, [1, 1], padding, spread, False, [0, 0], groups, [*wanted, False]
    )[:2]


def _accurate(matrix: Pixels) -> Pixels:
    """Return the matrix in float32 or better: sums over pixels need more than 16 bits."""
    return matrix if matrix.dtype in (torch.float32, torch.float64) else matrix.float()


def _wide(matrix: Pixels) -> Tensor:
    """Return the same memory in rows of at least `_WIDE` numbers, where the number of pixels allows."""
    return matrix.view(_wide_shape(*matrix.shape))


@lru_cache(maxsize=256)
def _wide_shape(count: int, channels: int) -> tuple[int, int]:
    joined = 1
    while channels * joined < _WIDE and count % (2 * joined) == 0:
        joined *= 2
    return count // joined, channels * joined


def _tiled(rows: Tensor, vectors: Float[Tensor, "vectors channels"]) -> tuple[Tensor, ...]:
    """Return the vectors repeated to a row's length, in its dtype."""
    count, channels = vectors.shape
    repeated = vectors.to(rows.dtype)[:, None].expand(count, rows.shape[1] // channels, channels)
    return repeated.reshape(count, -1).contiguous().unbind()  # quicker than repeat; a view where there is one channel
