"""The search and the training loop share one step, the scores on V, and the course of the learning rate."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hinas_nb import data
from hinas_nb.method.fast import gaussian_window, ssim_map
from hinas_nb.method.losses import restoration_loss
from hinas_nb.training.hardware import autocast, to_device

WARM_UP = 0.1  # one-cycle: share of the steps that the learning rate rises
START_FACTOR = 0.04  # one-cycle: the first learning rate, as a share of the peak
#: Departs: gradients are clipped to this norm. The released supernet ends in a sigmoid, which tames its gradients;
#: without it the published learning rate diverges within ten steps. The released training clips by value at 5, with
#: which the published learning rate diverges here as well.
CLIP_NORM = 1.0

Patches = Float[Tensor, "patch channel height width"]


def step(
    network,
    pair: tuple[Patches, Patches],
    optimizer: torch.optim.Optimizer,
    parameters: list[nn.Parameter],
    config,
    device: torch.device,
    penalty: Tensor | None = None,
    remedy: str = "",
) -> float:
    """Take one step of the optimizer on eq. 7, plus a penalty, for a (degraded, clean) batch; return eq. 7's value.

    network: maps degraded images to restored ones. parameters: those of the optimizer, in the order of their module.
    remedy: what an error tells about the step. Raises ValueError where the loss is not finite.
    """
    optimizer.zero_grad(set_to_none=True)
    value = loss(network, pair, config, device)
    (value if penalty is None else value + penalty).backward()
    return clipped_step(optimizer, parameters, value, remedy)


def loss(network, pair: tuple[Patches, Patches], config, device: torch.device) -> Tensor:
    """Return eq. 7 for a (degraded, clean) batch."""
    degraded, clean = (to_device(images, device) for images in pair)
    with autocast(device, config.precision):
        restored = network(degraded)
    return restoration_loss(restored, clean, config.loss.fidelity, config.loss.ssim_weight)


def clipped_step(
    optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], value: Tensor, remedy: str = ""
) -> float:
    """Clip the gradients that are there and take the step; return the loss. Raises ValueError if it is not finite."""
    nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
    optimizer.step()
    found = float(value.detach())
    if not math.isfinite(found):
        raise ValueError(f"loss must stay finite, got {found}{remedy}")
    return found


@torch.no_grad()
def validate(network, pairs: tuple[Patches, Patches], config, device: torch.device) -> tuple[float, float]:
    """Return mean PSNR (dB) and SSIM over validation patches, clipped to [0, 1].

    network: maps degraded images to restored ones. Patches restored exactly, as black ones easily are, have an
    infinite PSNR and are left out of its mean, unless all are such. Raises ValueError if they are not numbers.
    """
    psnr, ssim = [], []
    side = config.validation_crop or config.patch
    at_once = max(1, config.batch * config.patch**2 // side**2)  # as many pixels as in a training batch
    for degraded, clean in zip(*(images.split(at_once) for images in pairs)):
        clean = clean.to(device)
        with autocast(device, config.precision):
            restored = network(degraded.to(device)).float().clamp(0, 1)
        psnr.append(-10 * (restored - clean).square().mean(dim=(1, 2, 3)).log10())
        ssim.append(ssim_map(restored, clean, gaussian_window(clean)).mean(dim=(1, 2, 3)))
    decibels = torch.cat(psnr).double()
    inexact = decibels[~decibels.isposinf()]
    means = float((inexact if len(inexact) else decibels).mean()), float(torch.cat(ssim).double().mean())
    if any(math.isnan(mean) for mean in means):
        raise ValueError(f"validation must score images of numbers, got PSNR {means[0]} and SSIM {means[1]}")
    return means


def score(psnr: float, ssim: float) -> float:
    """Return what picks the best epoch on V. As released: SSIM + PSNR / 100."""
    return ssim + psnr / 100


def validation_pairs(images, config, **how) -> tuple[Patches, Patches]:
    """Return V as a config asks, the centres of images or evenly spaced patches; how: see `data.validation_patches`."""
    if config.validation_crop:
        return data.validation_patches(images, patch=config.validation_crop, centre=True, **how)
    pairs = data.validation_patches(images, patch=config.patch, **how)
    total, count = len(pairs[0]), config.validation_patches
    if count is None or count >= total:
        return pairs
    kinds = len(how.get("sigmas") or (1,))  # patch k has sigma k modulo their number: as many are kept of each
    places = [range(kind, total, kinds) for kind in range(kinds)]
    counts = [len(range(kind, count, kinds)) for kind in range(kinds)]
    chosen = sorted(of[index * len(of) // few] for of, few in zip(places, counts) for index in range(few))
    return pairs[0][chosen], pairs[1][chosen]


def one_cycle(progress: float, peak: float) -> float:
    """Return a learning rate that rises to the peak for a tenth of the steps, then falls to a thousandth of it."""
    if progress < WARM_UP:
        return peak * (START_FACTOR + (1 - START_FACTOR) * progress / WARM_UP)
    return cosine((progress - WARM_UP) / (1 - WARM_UP), peak, peak * 1e-3)


def cosine(progress: float, first: float, last: float) -> float:
    """Return a value on half a cosine from `first` at progress 0 to `last` at 1."""
    return last + (first - last) * (1 + math.cos(math.pi * progress)) / 2


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr
