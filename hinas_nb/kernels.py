"""Batch norm, depthwise and 1x1 convolutions at the speed of memory: the same numbers from stock tensor operations.

In channels-last memory a batch of images is a matrix, pixels x channels. torch's batch norm walks it row by row, and
a row of 10 or 60 channels fills no vector register: 3 ms where memory needs 0.1. Laid out, without copying, as rows
of some 2,000 numbers, every pass runs at full width; what it sums per column is summed once more per channel. The
weight gradient of a depthwise kernel is fast up to three columns and ten times slower beyond: that of a 5x5 kernel
is put together from two 5x3 ones. Notebook `24_speed` measures what this is worth.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

EPSILON = 1e-5  # of every batch norm, as torch's default
WIDE = 2048  # numbers a row should have

Images = Float[Tensor, "batch channels height width"]
Pixels = Float[Tensor, "pixels channels"]
Channels = Float[Tensor, " channels"]


def pixels(images: Images) -> Pixels:
    """The matrix that a channels-last tensor is in memory (others are copied)."""
    return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1]).contiguous()


def images(matrix: Pixels, like: Images) -> Images:
    """The channels-last tensor of a matrix, with the batch and sides of `like`."""
    batch, _, height, width = like.shape
    return matrix.view(batch, height, width, matrix.shape[1]).permute(0, 3, 1, 2)


def moments(matrix: Pixels) -> tuple[Channels, Channels]:
    """Mean and biased variance per channel, at least in float32."""
    rows = _wide(_accurate(matrix))
    if matrix.device.type == "mps":  # has no batch_norm_update_stats
        var, mean = torch.var_mean(rows, 0, correction=0)
    else:
        mean, var = torch.ops.aten.batch_norm_update_stats(rows, None, None, 0.0)
    channels = matrix.shape[1]
    spread, centre = torch.var_mean(mean.view(-1, channels), 0, correction=0)
    return centre, var.view(-1, channels).mean(0) + spread


def scaled_sum(base: Channels | None, *terms: tuple[Pixels, Channels]) -> Pixels:
    """base (0 if None) + the sum of matrix * scale over all (matrix, scale)."""
    total = None
    for matrix, scale in terms:
        rows = _wide(matrix)
        if total is not None:
            total.addcmul_(rows, _tiled(scale, rows))
        elif base is not None:
            total = torch.addcmul(_tiled(base, rows), rows, _tiled(scale, rows))
        else:
            total = rows * _tiled(scale, rows)
    return total.view(terms[0][0].shape)


def add_normalised(total: Pixels, raw: Pixels, scale: Channels, mean: Channels, inverse: Channels) -> None:
    """total += scale * (raw - mean) * inverse, in place."""
    rows, factor = _wide(total), scale * inverse
    rows.addcmul_(_wide(raw.to(total.dtype)), _tiled(factor, rows)).sub_(_tiled(factor * mean, rows))


def norm_backward(
    gradient: Pixels,
    raw: Pixels,
    scale: Channels | float,
    mean: Channels,
    inverse: Channels,
    training: bool,
    wanted: tuple[bool, bool] = (True, True),
) -> tuple[Pixels | None, Channels | None, Channels | None]:
    """Gradients of `shift + scale * (raw - mean) * inverse` by raw, by scale and by shift.

    inverse: 1 / sqrt(variance + epsilon). training: mean and variance are those of `raw`, and follow it.
    wanted: by raw, by scale; the rest is given where it falls out.
    """
    factor, base, by_scale, by_shift = scale * inverse, None, None, None
    if training or wanted[1]:
        rows, channels = _wide(_accurate(raw)), raw.shape[1]
        statistics = _tiled(mean, rows), _tiled(inverse, rows), True, EPSILON
        sums = torch.ops.aten.native_batch_norm_backward(
            _wide(_accurate(gradient)), rows, None, None, None, *statistics, [False, True, True]
        )[1:]
        by_scale, by_shift = (columns.view(-1, channels).sum(0) for columns in sums)
    if not wanted[0]:
        return None, by_scale, by_shift
    terms = [(gradient.to(raw.dtype), factor)]
    if training:
        share = factor / -raw.shape[0]
        slope = share * inverse * by_scale
        base = torch.addcmul(share * by_shift, slope, mean, value=-1)
        terms.append((raw, slope))
    return scaled_sum(base, *terms), by_scale, by_shift


def pointwise(matrix: Pixels, weights: Float[Tensor, "edges out into"]) -> Pixels:
    """A 1x1 convolution of each edge's channels, stacked; one product is faster than many small ones."""
    return matrix @ torch.block_diag(*weights).T


def pointwise_gradient(gradient: Pixels, matrix: Pixels, edges: int) -> Float[Tensor, "edges out into"]:
    """The gradient of `pointwise` by its weights."""
    gradient, matrix = (whole.view(len(whole), edges, -1).transpose(0, 1) for whole in (gradient, matrix))
    return gradient.transpose(1, 2) @ matrix


def depthwise(images: Images, kernels: Float[Tensor, "channels 1 side side"]) -> Images:
    """Every channel convolved with a kernel of its own; keeps the size."""
    return F.conv2d(images, kernels, padding=kernels.shape[-1] // 2, groups=kernels.shape[0])


def depthwise_backward(
    gradient: Images, feature: Images, kernels: Float[Tensor, "channels 1 side side"], wanted: tuple[bool, bool]
) -> tuple[Images | None, Tensor | None]:
    """Gradients of a size-keeping depthwise convolution by its input and by its kernels."""
    side = kernels.shape[-1]
    by_feature = by_kernels = None
    if wanted[1] and side == 5:
        # A feature that is padded on one side only is seen through one half of the kernel: columns 0-2, then 2-4.
        left, right = (
            _convolution_backward(gradient, F.pad(feature, padding), kernels[..., :3], (2, 0), (False, True))[1]
            for padding in ((2, 0), (0, 2))
        )
        by_kernels = torch.cat([left, right[..., 1:]], dim=-1)
    if wanted[0] or (wanted[1] and by_kernels is None):
        rest = (wanted[0], wanted[1] and by_kernels is None)
        by_feature, other = _convolution_backward(gradient, feature, kernels, (side // 2, side // 2), rest)
        by_kernels = other if by_kernels is None else by_kernels
    return by_feature, by_kernels


def _convolution_backward(gradient, feature, kernels, padding: tuple[int, int], wanted: tuple[bool, bool]):
    return torch.ops.aten.convolution_backward(
        gradient, feature, kernels, None, [1, 1], padding, [1, 1], False, [0, 0], kernels.shape[0], [*wanted, False]
    )[:2]


def _accurate(matrix: Pixels) -> Pixels:
    """Sums over pixels need more than 16 bits."""
    return matrix if matrix.dtype in (torch.float32, torch.float64) else matrix.float()


def _wide(matrix: Pixels) -> Tensor:
    """The same memory in rows of at least `WIDE` numbers, where the number of pixels allows."""
    count, channels = matrix.shape
    joined = 1
    while channels * joined < WIDE and count % (2 * joined) == 0:
        joined *= 2
    return matrix.view(count // joined, channels * joined)


def _tiled(vector: Channels, rows: Tensor) -> Tensor:
    (channels,), width = vector.shape, rows.shape[1]
    vector = vector if vector.dtype == rows.dtype else vector.to(rows.dtype)
    return vector if channels == width else vector.expand(width // channels, channels).reshape(width)
