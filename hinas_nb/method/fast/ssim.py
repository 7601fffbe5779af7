"""SSIM and its gradient in few passes over memory, for the loss (eq. 7) and, in float64, for the scores.

A separable window is two products with a banded matrix: though most of its factors are zeros, they are 10 to 20 times
faster on a CPU than a convolution with a single channel. The filters run over four planes at once, the sum and the
difference of both images and their squares; see `_factors`. Notebook `01_data_and_protocols` shows the scores.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from hinas_nb.method.fast.kernels import multiply

#: The constants that keep SSIM's fractions finite on flat images (Wang et al. 2004), for values on 0-1: _K1^2 is added
#: to the products of means, _K2^2 to variances and covariance.
_K1, _K2 = 0.01, 0.03
_BLOCK = 32  # rows or columns filtered at once, so that the work grows with the image and not with its square
_PIXELS = 2**18  # of the planes whose SSIM is computed at once: what stays in the cache is several times faster

_Images = Float[Tensor, "batch channel height width"]
_Rows = Float[Tensor, "height planes width"]


@torch.no_grad()
def ssim_map(
    estimate: _Images, truth: _Images, window: Float[Tensor, " taps"], padding: int = 0, sample: bool = False
) -> Float[Tensor, "batch channel out_height out_width"]:
    """Return the SSIM at every position of a separable window, for values on 0-1, in the images' dtype; no gradient.

    window: weights along one axis, summing to 1; padding: zeros added at each edge;
    sample: unbiased variances, taps^2 / (taps^2 - 1), as scikit-image's uniform window has them.
    Raises ValueError for images of different shapes, or smaller than the window.
    """
    check_shapes(estimate, truth)
    if min(truth.shape[2:]) + 2 * padding < len(window):
        size = "x".join(map(str, truth.shape[2:]))
        raise ValueError(f"images must be as large as the window of {len(window)}, got {size}")
    correction = len(window) ** 2 / (len(window) ** 2 - 1) if sample else 1.0
    _, of_means, covariance, squares, variances = _factors(
        _rows_first(estimate), _rows_first(truth), window, padding, correction
    )
    return (of_means * covariance / (squares * variances)).transpose(0, 1).unflatten(0, estimate.shape[:2])


def mean_ssim(estimate: _Images, truth: _Images, with_gradient: bool) -> tuple[Float[Tensor, ""], _Images | None]:
    """Return the mean of the zero-padded map and, if asked for, its gradient by the estimate; some planes at a time."""
    window, total = gaussian_window(estimate), 0.0
    gradient = torch.empty_like(estimate, memory_format=torch.contiguous_format) if with_gradient else None
    x, y = _rows_first(estimate), _rows_first(truth)
    at_once = max(1, _PIXELS // estimate[0, 0].numel())
    for first in range(0, x.shape[1], at_once):
        some = slice(first, first + at_once)
        ssim, by_estimate = _ssim_and_gradient(x[:, some], y[:, some], window, with_gradient)
        total = total + ssim.sum()
        if with_gradient:
            torch.mul(by_estimate, 1 / estimate.numel(), out=_rows_first(gradient)[:, some])
    return total / estimate.numel(), gradient


def gaussian_window(like: Tensor, taps: int = 11, sigma: float = 1.5) -> Float[Tensor, " taps"]:
    """Return Gaussian weights that sum to 1, in the dtype and on the device of `like`."""
    offsets = torch.arange(taps, dtype=torch.float64) - taps // 2
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    return (weights / weights.sum()).to(like)


def check_shapes(estimate: Tensor, truth: Tensor) -> None:
    """Raise ValueError unless both images have the same shape."""
    if estimate.shape != truth.shape:
        raise ValueError(f"the estimate must have the truth's shape {tuple(truth.shape)}, got {tuple(estimate.shape)}")


def _ssim_and_gradient(
    estimate: _Rows, truth: _Rows, window: Tensor, with_gradient: bool
) -> tuple[_Rows, _Rows | None]:
    """Return the zero-padded map and, if asked for, the gradient of its sum by the estimate.

    With E for the window's mean, the map depends on the estimate x through E[x], E[x^2] and E[xy] alone. Its
    derivatives by these are filtered once more (the window is symmetric, so it is its own transpose), and then
    weighted by dx/dx = 1, dx^2/dx = 2x and dxy/dx = y.
    """
    padding = len(window) // 2
    (mean_x, mean_y), of_means, covariance, squares, variances = _factors(estimate, truth, window, padding)
    denominator = squares * variances
    ssim = (of_means * covariance).div_(denominator)  # in this order, which gives exactly 1 where both are equal
    if not with_gradient:
        return ssim, None
    planes = _planes(3, estimate)
    by_mean, by_square, by_product = planes.unbind(1)  # half, minus half and a quarter of the derivatives
    torch.div(of_means, denominator, out=by_product)
    torch.div(ssim, variances, out=by_square)
    torch.mul(mean_y, covariance.div_(denominator).sub_(by_product), out=by_mean)
    by_mean.addcmul_(mean_x, torch.div(ssim, squares).sub_(by_square), value=-1)
    by_mean, by_square, by_product = _filtered(planes, window, padding).unbind(1)
    return ssim, by_mean.addcmul_(by_product, truth, value=2).addcmul_(by_square, estimate, value=-2).mul_(2)


def _factors(
    x: _Rows, y: _Rows, window: Tensor, padding: int, correction: float = 1.0
) -> tuple[tuple[_Rows, _Rows], _Rows, _Rows, _Rows, _Rows]:
    """Return twice the means of x and y, and twice the four factors of
    SSIM = (2 E[x] E[y] + _K1^2) (2 cov(x, y) + _K2^2) / ((E[x]^2 + E[y]^2 + _K1^2) (var(x) + var(y) + _K2^2)).

    All come from the sum s = x + y and the difference d = x - y: 4 E[x] E[y] = E[s]^2 - E[d]^2 and
    2 (E[x]^2 + E[y]^2) = E[s]^2 + E[d]^2; likewise 4 cov(x, y) = var(s) - var(d), and the variances with a plus. So
    on any processor, however its matrix products round, equal images (d = 0) have an SSIM of exactly 1, and others
    at most 1: no square and no variance lies below 0.
    """
    planes = _planes(4, x)
    torch.add(x, y, out=planes[:, 0])
    torch.sub(x, y, out=planes[:, 1])
    torch.square(planes[:, :2], out=planes[:, 2:])
    maps = _filtered(planes, window, padding)
    means, variances = maps[:, :2], maps[:, 2:]
    squared_means = means.square()
    variances.sub_(squared_means)
    if correction != 1:
        variances.mul_(correction)
    (mean_s, mean_d), (squared_s, squared_d) = means.unbind(1), squared_means.unbind(1)
    variance_s, variance_d = variances.unbind(1)
    variance_d.clamp_(min=0)
    squared_s.add_(2 * _K1**2)
    variance_s.add_(2 * _K2**2)
    return (
        (mean_s + mean_d, mean_s - mean_d),
        squared_s - squared_d,
        variance_s - variance_d,
        squared_s.add_(squared_d),
        variance_s.add_(variance_d),
    )


def _rows_first(images: _Images) -> _Rows:
    """Return the planes of images, a row of all of them together: a filter down the columns takes it for one matrix."""
    return images.flatten(0, 1).transpose(0, 1)


def _planes(kinds: int, like: _Rows) -> Float[Tensor, "height kinds planes width"]:
    height, planes, width = like.shape
    return like.new_empty(height, kinds, planes, width)


def _filtered(
    planes: Float[Tensor, "height kinds planes width"], window: Tensor, padding: int
) -> Float[Tensor, "out_height kinds planes out_width"]:
    """Return the window's mean at every position, down the columns and then along the rows, block by block."""
    taps = torch.arange(_BLOCK + len(window) - 1)[None] - torch.arange(_BLOCK)[:, None]
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
    """Yield, block by block, slices of the filter's output, of its band, and of the input that the band reads."""
    out = size + 2 * padding - taps + 1
    for start in range(0, out, _BLOCK):
        stop, shift = min(start + _BLOCK, out), start - padding
        first, last = max(shift, 0), min(stop - padding + taps - 1, size)
        yield slice(start, stop), (slice(stop - start), slice(first - shift, last - shift)), slice(first, last)
