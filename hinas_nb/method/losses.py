"""What training minimises: eq. 7, fidelity + lambda * log10(1 / SSIM); its course is in `03_search_denoising`.

SSIM stands here because the loss needs its gradient, written by hand; `metrics` uses the same map in float64.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from hinas_nb.method.fast.kernels import multiply

K1, K2 = 0.01, 0.03  # SSIM's constants (Wang et al. 2004) for a data range of 1
#: Below this mean SSIM log10(1/SSIM) goes on as its tangent: finite, and still falling, at zero and below.
SSIM_FLOOR = 1e-3
BLOCK = 32  # rows or columns filtered at once
PIXELS = 2**18  # of the planes whose SSIM is computed at once: what stays in the cache is several times faster

Rows = Float[Tensor, "height planes width"]


def restoration_loss(
    estimate: Float[Tensor, "batch channel height width"],
    truth: Float[Tensor, "batch channel height width"],
    fidelity: Literal["mse", "l1"] = "mse",
    ssim_weight: float = 0.6,
) -> Float[Tensor, ""]:
    """Eq. 7 for images on 0-1; ssim_weight is lambda, 0 skips the SSIM. Differentiable by the estimate.

    As released: the SSIM is zero-padded and the logarithm is that of the batch mean. Raises ValueError for images of
    different shapes.
    """
    _check_shapes(estimate, truth)
    # Mixed precision ends here: variances cancel digits.
    return _Restoration.apply(estimate.to(truth.dtype), truth, fidelity, ssim_weight)


def log_dissimilarity(ssim: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """log10(1 / ssim), continued by its tangent below `SSIM_FLOOR` (untrained networks: SSIM < 0)."""
    floored = ssim.clamp(min=SSIM_FLOOR)
    return -floored.log10() + (floored - ssim) / (SSIM_FLOOR * math.log(10))


@torch.no_grad()
def ssim_map(
    estimate: Float[Tensor, "batch channel height width"],
    truth: Float[Tensor, "batch channel height width"],
    window: Float[Tensor, " taps"],
    padding: int = 0,
    sample: bool = False,
) -> Float[Tensor, "batch channel out_height out_width"]:
    """SSIM at every position of a separable window, for a data range of 1, in the images' dtype; no gradient.

    window: weights along one axis, summing to 1; padding: zeros added at each edge;
    sample: unbiased variances, taps^2 / (taps^2 - 1), as scikit-image's uniform window has them.
    Raises ValueError for images of different shapes, or smaller than the window.
    """
    _check_shapes(estimate, truth)
    if min(truth.shape[2:]) + 2 * padding < len(window):
        size = "x".join(map(str, truth.shape[2:]))
        raise ValueError(f"images must be as large as the window of {len(window)}, got {size}")
    correction = len(window) ** 2 / (len(window) ** 2 - 1) if sample else 1.0
    *_, product, covariance, squares, variances = _moments(
        _rows_first(estimate), _rows_first(truth), window, padding, correction
    )
    return (product * covariance / (squares * variances)).transpose(0, 1).unflatten(0, estimate.shape[:2])


def gaussian_window(like: Tensor, taps: int = 11, sigma: float = 1.5) -> Float[Tensor, " taps"]:
    """Gaussian weights that sum to 1, in the dtype and on the device of `like`."""
    offsets = torch.arange(taps, dtype=torch.float64) - taps // 2
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    return (weights / weights.sum()).to(like)


class _Restoration(torch.autograd.Function):
    """Eq. 7. All that is kept for the backward pass is the gradient by the estimate."""

    @staticmethod
    def forward(ctx, estimate, truth, fidelity, ssim_weight):
        wanted, errors = ctx.needs_input_grad[0], estimate - truth
        loss = errors.square().mean() if fidelity == "mse" else errors.abs().mean()
        gradient = errors.mul_(2 / errors.numel()) if fidelity == "mse" else errors.sign_().div_(errors.numel())
        if ssim_weight:
            ssim, by_estimate = _mean_ssim(estimate, truth, wanted)
            loss = loss + ssim_weight * log_dissimilarity(ssim)
            if wanted:
                gradient.addcmul_(by_estimate, -ssim_weight / (ssim.clamp(min=SSIM_FLOOR) * math.log(10)))
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        (by_estimate,) = ctx.saved_tensors
        return gradient * by_estimate, None, None, None


def _mean_ssim(estimate: Tensor, truth: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """The mean of the zero-padded map, some planes at a time, and, if wanted, its gradient by the estimate."""
    window, total = gaussian_window(estimate), 0.0
    gradient = torch.empty_like(estimate, memory_format=torch.contiguous_format) if wanted else None
    x, y = _rows_first(estimate), _rows_first(truth)
    at_once = max(1, PIXELS // estimate[0, 0].numel())
    for first in range(0, x.shape[1], at_once):
        some = slice(first, first + at_once)
        ssim, by_estimate = _ssim_and_gradient(x[:, some], y[:, some], window, wanted)
        total = total + ssim.sum()
        if wanted:
            torch.mul(by_estimate, 1 / estimate.numel(), out=_rows_first(gradient)[:, some])
    return total / estimate.numel(), gradient


def _ssim_and_gradient(estimate: Rows, truth: Rows, window: Tensor, wanted: bool) -> tuple[Rows, Rows | None]:
    """The zero-padded map and, if wanted, the gradient of its sum by the estimate."""
    padding = len(window) // 2  # a window as symmetric as this one is its own transpose
    mean_x, mean_y, product, covariance, squares, variances = _moments(estimate, truth, window, padding)
    denominator = squares * variances
    ssim = (product * covariance).div_(denominator)  # in this order, which gives exactly 1 where both are equal
    if not wanted:
        return ssim, None
    # Derivatives by the maps of estimate (half), estimate^2 (negated) and estimate * truth: a quarter.
    planes = _planes(3, estimate)
    by_mean, by_square, by_product = planes.unbind(1)
    torch.div(product, denominator, out=by_product)
    torch.div(ssim, variances, out=by_square)
    torch.mul(mean_y, covariance.div_(denominator).sub_(by_product), out=by_mean)
    by_mean.addcmul_(mean_x, torch.div(ssim, squares).sub_(by_square), value=-1)
    by_mean, by_square, by_product = _filtered(planes, window, padding).unbind(1)
    return ssim, by_mean.addcmul_(by_product, truth, value=2).addcmul_(by_square, estimate, value=-2).mul_(2)


def _moments(estimate: Rows, truth: Rows, window: Tensor, padding: int, correction: float = 1.0) -> tuple[Rows, ...]:
    """Return both means, then SSIM's factors: of means' product, covariance, means' squares, variances; all twice.

    They are had from the sum s and the difference d of the images: 4 E[x] E[y] = E[s]^2 - E[d]^2, and so for the
    covariance; plus instead of minus gives the sums of squares. So on any processor, however its matrix products round,
    equal images (d = 0) have an SSIM of exactly 1, and others at most 1: no square and no variance lies below 0.
    """
    planes = _planes(4, estimate)
    torch.add(estimate, truth, out=planes[:, 0])
    torch.sub(estimate, truth, out=planes[:, 1])
    torch.square(planes[:, :2], out=planes[:, 2:])
    maps = _filtered(planes, window, padding)
    means, variances = maps[:, :2], maps[:, 2:]
    of_means = means.square()
    variances.sub_(of_means)
    if correction != 1:
        variances.mul_(correction)
    (mean_sum, mean_difference), (of_sum, of_difference) = means.unbind(1), variances.unbind(1)
    (sum_squared, difference_squared), of_difference = of_means.unbind(1), of_difference.clamp_(min=0)
    sum_squared.add_(2 * K1**2)
    of_sum.add_(2 * K2**2)
    return (
        mean_sum + mean_difference,
        mean_sum - mean_difference,
        sum_squared - difference_squared,
        of_sum - of_difference,
        sum_squared.add_(difference_squared),
        of_sum.add_(of_difference),
    )


def _check_shapes(estimate: Tensor, truth: Tensor) -> None:
    if estimate.shape != truth.shape:
        raise ValueError(f"the estimate must have the truth's shape {tuple(truth.shape)}, got {tuple(estimate.shape)}")


def _rows_first(images: Float[Tensor, "batch channel height width"]) -> Rows:
    """The planes of images, a row of all of them together: what a filter down the columns takes for one matrix."""
    return images.flatten(0, 1).transpose(0, 1)


def _planes(kinds: int, like: Rows) -> Float[Tensor, "height kinds planes width"]:
    height, planes, width = like.shape
    return like.new_empty(height, kinds, planes, width)


def _filtered(
    planes: Float[Tensor, "height kinds planes width"], window: Tensor, padding: int
) -> Float[Tensor, "out_height kinds planes out_width"]:
    # Products with a banded matrix: though most factors are zeros, they are 10 to 20 times faster on CPU
    # than a convolution with a single channel. Blocks keep large images linear.
    taps = torch.arange(BLOCK + len(window) - 1)[None] - torch.arange(BLOCK)[:, None]
    band = window[taps.clamp(0, len(window) - 1)] * ((taps >= 0) & (taps < len(window))).to(window)
    height, kinds, count, width = planes.shape
    more = 2 * padding - len(window) + 1
    down = planes.new_empty(height + more, kinds * count * width)
    along = planes.new_empty((height + more) * kinds * count, width + more)
    with torch.autocast(planes.device.type, enabled=False):
        matrix = planes.view(height, -1)
        for block, own, reach in _blocks(height, len(window), padding):
            multiply(band[own], matrix[reach], down[block])
        matrix = down.view(-1, width)
        for block, own, reach in _blocks(width, len(window), padding):
            multiply(matrix[:, reach], band[own].T, along[:, block])
    return along.view(height + more, kinds, count, width + more)


def _blocks(size: int, taps: int, padding: int):
    """Slices of what a filter gives, of its band and of what the band reads."""
    out = size + 2 * padding - taps + 1
    for start in range(0, out, BLOCK):
        stop, shift = min(start + BLOCK, out), start - padding
        first, last = max(shift, 0), min(stop - padding + taps - 1, size)
        yield slice(start, stop), (slice(stop - start), slice(first - shift, last - shift)), slice(first, last)
