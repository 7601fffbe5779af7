"""PSNR and SSIM of restored images under a `Protocol`, in float64; notebook `01_data_and_protocols`.

Scored are, in denoising, the grey channel; in super-resolution Y or RGB as the protocol says, but the grey
values where the truth has a single channel, as its file does. Three equal channels are no grey file
(`Protocol.pair`).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from hinas_nb.method.fast import gaussian_window, ssim_map
from hinas_nb.scoring.protocol import Protocol, round8

#: BT.601, images on 0-1: Y = (16 + weights . RGB) / 255, from 16 to 235.
_Y_WEIGHTS = (65.481, 128.553, 24.966)
_GREY_WEIGHTS = (0.299, 0.587, 0.114)
_UNIFORM_TAPS = 7
_TOLERANCE = 1e-3  # how far rounding may carry the truth out of [0, 1]

_Estimate = Float[Tensor, "batch channel height width"]
_Truth = Float[Tensor, "batch truth_channel height width"]


def psnr(estimate: _Estimate, truth: _Truth, protocol: Protocol) -> Float[Tensor, " batch"]:
    """Return PSNR per image, in dB for a peak of 1 (255 grey levels); inf where the scored values are identical.

    estimate: any floats, clipped here; truth: on 0-1, 1 or 3 channels. Raises ValueError.
    """
    estimate, truth = _scored(estimate, truth, protocol)
    return -10 * torch.log10((estimate - truth).square().mean(dim=(1, 2, 3)))


def ssim(estimate: _Estimate, truth: _Truth, protocol: Protocol) -> Float[Tensor, " batch"]:
    """Return the mean SSIM per image (RGB: over the channels too), at most 1; arguments as for `psnr`.

    valid: 11x11 Gaussian, sigma 1.5, where the window lies inside the image; zero-padded: the same at every
    pixel; uniform: 7x7, valid, unbiased variances (scikit-image's default).
    """
    estimate, truth = _scored(estimate, truth, protocol)
    if protocol.ssim == "uniform":
        window = truth.new_full((_UNIFORM_TAPS,), 1 / _UNIFORM_TAPS)
    else:
        window = gaussian_window(truth)
    padding = len(window) // 2 if protocol.ssim == "zero-padded" else 0
    if min(truth.shape[-2:]) + 2 * padding < len(window):
        raise ValueError(f"images must be at least {len(window)} pixels wide and high inside the border for "
                          f"SSIM, got {tuple(truth.shape[-2:])}")  # fmt: skip
    values = ssim_map(estimate, truth, window, padding, sample=protocol.ssim == "uniform")
    return values.sum(dim=(1, 2, 3)) / values[0].numel()  # a mean on GPUs multiplies by 1 / n: ones may give less


def _scored(estimate: Tensor, truth: Tensor, protocol: Protocol) -> tuple[Tensor, Tensor]:
    """Return what is compared: float64, clipped, rounded, one channel (RGB: three), border left out."""
    for image in (estimate, truth):
        if not isinstance(image, Tensor) or not image.is_floating_point() or image.ndim != 4:
            got = f"{getattr(image, 'dtype', type(image).__name__)} {tuple(getattr(image, 'shape', ()))}"
            raise ValueError(f"images must be floats in [0, 1], (batch, channel, height, width), got {got}")
    if not {estimate.shape[1], truth.shape[1]} <= {1, 3}:
        raise ValueError(f"images must have 1 or 3 channels, got {estimate.shape[1]} and {truth.shape[1]}")
    if truth.numel() and not (truth.min() >= -_TOLERANCE and truth.max() <= 1 + _TOLERANCE):  # NaN is in no range
        raise ValueError(f"truth must be in [0, 1], got [{truth.min():g}, {truth.max():g}]")
    if estimate.shape[0] != truth.shape[0] or estimate.shape[-2:] != truth.shape[-2:]:
        raise ValueError(f"estimate must have the truth's size {tuple(truth.shape)}, got {tuple(estimate.shape)}")
    if protocol.task == "denoise" and not estimate.shape[1] == truth.shape[1] == 1:
        raise ValueError(f"denoising is scored on one grey channel, got {estimate.shape[1]} and {truth.shape[1]}")
    colour = "grey" if truth.shape[1] == 1 else protocol.colour
    estimate = estimate.expand(-1, max(estimate.shape[1], truth.shape[1]), -1, -1)  # grey stands for three equal ones
    border, (height, width) = protocol.scored_border, truth.shape[-2:]
    if min(height, width) <= 2 * border:
        raise ValueError(f"images must be larger than two borders of {border} px, got {(height, width)}")
    inside = (..., slice(border, height - border), slice(border, width - border))
    return tuple(_channel(image, colour, protocol.round_output)[inside] for image in (estimate, truth))


def _channel(image: Tensor, colour: str, rounded: bool) -> Float[Tensor, "batch scored height width"]:
    image = image.detach().cpu() if image.device.type == "mps" else image.detach()  # MPS has no float64
    image = image.double().clamp(0, 1)
    if rounded:
        image = round8(image)
    if image.shape[1] == 1 or colour == "rgb":
        return image
    weights = {"y": _Y_WEIGHTS, "y-swapped": _Y_WEIGHTS[::-1], "grey": _GREY_WEIGHTS}[colour]
    red, green, blue = image.split(1, dim=1)
    channel = red * weights[0] + green * weights[1] + blue * weights[2]  # a matrix product rounds as it is laid out
    if colour != "grey":
        channel = (16 + channel) / 255
    return round8(channel) if rounded else channel
