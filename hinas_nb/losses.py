"""What training minimises: eq. 7, fidelity + lambda * log10(1 / SSIM); its course is in `03_search_denoising`.

The SSIM map stands here because the loss must differentiate it; `metrics` uses the same one in float64.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

K1, K2 = 0.01, 0.03  # SSIM's constants (Wang et al. 2004) for a data range of 1
#: Below this mean SSIM log10(1/SSIM) goes on as its tangent: finite, and still falling, at zero and below.
SSIM_FLOOR = 1e-3
BLOCK = 64  # rows filtered at once
PIXELS = 2**17  # of the images whose loss is computed at once: what stays in the cache is several times faster


def restoration_loss(
    estimate: Float[Tensor, "batch channel height width"],
    truth: Float[Tensor, "batch channel height width"],
    fidelity: Literal["mse", "l1"] = "mse",
    ssim_weight: float = 0.6,
) -> Float[Tensor, ""]:
    """Eq. 7 for images on 0-1; ssim_weight is lambda, 0 skips the SSIM. Differentiable by the estimate.

    As released: the SSIM is zero-padded and the logarithm is that of the batch mean.
    """
    # Mixed precision ends here: variances cancel digits.
    return _Restoration.apply(estimate.to(truth.dtype), truth, fidelity, ssim_weight)


def log_dissimilarity(ssim: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """log10(1 / ssim), continued by its tangent below `SSIM_FLOOR` (untrained networks: SSIM < 0)."""
    floored = ssim.clamp(min=SSIM_FLOOR)
    return -floored.log10() + (floored - ssim) / (SSIM_FLOOR * math.log(10))


def ssim_map(
    estimate: Float[Tensor, "batch channel height width"],
    truth: Float[Tensor, "batch channel height width"],
    window: Float[Tensor, " taps"],
    padding: int = 0,
    sample: bool = False,
) -> Float[Tensor, "batch channel out_height out_width"]:
    """SSIM at every position of a separable window, for a data range of 1, in the images' dtype.

    window: weights along one axis, summing to 1; padding: zeros added at each edge;
    sample: unbiased variances, taps^2 / (taps^2 - 1), as scikit-image's uniform window has them.
    """
    correction = len(window) ** 2 / (len(window) ** 2 - 1) if sample else 1.0
    *_, product, covariance, squares, variances = _moments(estimate, truth, window, padding, correction)
    return product * covariance / (squares * variances)


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
    """The mean of the zero-padded map, some images at a time, and, if wanted, its gradient by the estimate."""
    window, total = gaussian_window(estimate), 0.0
    gradient = torch.empty_like(estimate) if wanted else None
    at_once = max(1, PIXELS // estimate[0].numel())
    for first in range(0, len(estimate), at_once):
        some = slice(first, first + at_once)
        ssim, by_estimate = _ssim_and_gradient(estimate[some], truth[some], window, wanted)
        total = total + ssim.sum()
        if wanted:
            torch.mul(by_estimate, 1 / estimate.numel(), out=gradient[some])
    return total / estimate.numel(), gradient


def _ssim_and_gradient(estimate: Tensor, truth: Tensor, window: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """The zero-padded map and, if wanted, the gradient of its sum by the estimate."""
    padding = len(window) // 2  # a window as symmetric as this one is its own transpose
    mean_x, mean_y, product, covariance, squares, variances = _moments(estimate, truth, window, padding)
    denominator = squares * variances
    # Derivatives by the maps of estimate * truth, estimate^2 (negated) and estimate, all without a factor of 2.
    by_product = product / denominator
    ssim = covariance * by_product
    if not wanted:
        return ssim, None
    by_square = ssim / variances
    by_mean = mean_y * (covariance / denominator - by_product) - mean_x * (ssim / squares - by_square)
    planes = torch.stack((by_mean, by_square, by_product)).flatten(0, 2)
    by_mean, by_square, by_product = _filtered(planes, window, padding).view(3, *ssim.shape)
    return ssim, 2 * by_mean.addcmul_(by_product, truth).addcmul_(by_square, estimate, value=-1)


def _moments(estimate: Tensor, truth: Tensor, window: Tensor, padding: int, correction: float = 1.0) -> tuple:
    """Both means, then SSIM's factors: of the means' product, the covariance, the means' squares, the variances."""
    both = torch.addcmul(estimate * estimate, truth, truth)  # only the sum of the variances is asked for
    planes = torch.stack((estimate, truth, both, estimate * truth))
    maps = _filtered(planes.flatten(0, 2), window, padding).unflatten(0, (4, *estimate.shape[:2]))
    mean_x, mean_y, mean_squares, mean_xy = maps.unbind()
    product, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    covariance = correction * (mean_xy - product)
    variances = correction * (mean_squares - squares)
    c1, c2 = K1**2, K2**2
    return mean_x, mean_y, 2 * product + c1, 2 * covariance + c2, squares + c1, variances + c2


def _filtered(
    planes: Float[Tensor, "planes height width"], window: Tensor, padding: int
) -> Float[Tensor, "planes out_height out_width"]:
    # Products with a banded matrix: though most factors are zeros, they are 10 to 20 times faster on CPU
    # than a convolution with a single channel. Blocks keep large images linear.
    taps = torch.arange(BLOCK + len(window) - 1)[None] - torch.arange(BLOCK)[:, None]
    band = window[taps.clamp(0, len(window) - 1)] * ((taps >= 0) & (taps < len(window))).to(window)
    with torch.autocast(planes.device.type, enabled=False):
        for _ in range(2):  # down the columns, then along the rows
            planes = _down_columns(planes, band, padding).transpose(1, 2)
    return planes


def _down_columns(
    planes: Float[Tensor, "planes size width"], band: Float[Tensor, "block reach"], padding: int
) -> Float[Tensor, "planes out width"]:
    size, more = planes.shape[1], band.shape[1] - BLOCK
    out = size + 2 * padding - more
    blocks = []
    for start in range(0, out, BLOCK):
        stop, shift = min(start + BLOCK, out), start - padding
        first, last = max(shift, 0), min(stop - padding + more, size)
        blocks.append(band[: stop - start, first - shift : last - shift] @ planes[:, first:last])
    return torch.cat(blocks, 1)
