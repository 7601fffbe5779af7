"""What the search and the training loop share: validation, schedules, and the state that a checkpoint holds."""

import math
import os
import platform
import shutil

import torch
from torch import Tensor, nn

from hinas_nb import data
from hinas_nb.method.fast import gaussian_window, ssim_map

WARM_UP = 0.1  # one-cycle: share of the steps that the learning rate rises
START_FACTOR = 0.04  # one-cycle: the first learning rate, as a share of the peak


class Nowhere:
    """In place of a Run's folder: keeps nothing, so that a loop can be tried by itself."""

    def load_checkpoint(self) -> None:
        """Nothing to go on from."""

    def append_records(self, records: list) -> None:
        """The caller has them."""

    def save_checkpoint(self, tensors: dict, meta: dict) -> None:
        """Nothing is kept."""

    def write_text(self, name: str, text: str) -> None:
        """Nothing is kept."""

    def write_tensors(self, name: str, tensors: dict, meta: dict) -> None:
        """Nothing is kept."""


@torch.no_grad()
def validate(
    restore, pairs: tuple[Tensor, Tensor], device: torch.device, batch: int, asked: str | None = None
) -> tuple[float, float]:
    """Mean PSNR (dB) and SSIM over validation patches, clipped to [0, 1]; `restore` maps degraded to restored.

    batch: images at a time; asked: see `autocast`. Patches restored exactly, as black ones easily are, have an
    infinite PSNR and are left out of its mean, unless all are such. Raises ValueError if they are not numbers.
    """
    psnr, ssim = [], []
    for degraded, clean in zip(pairs[0].split(batch), pairs[1].split(batch)):
        clean = clean.to(device)
        with autocast(device, asked):
            restored = restore(degraded.to(device)).float().clamp(0, 1)
        error = (restored - clean).square().mean(dim=(1, 2, 3))
        psnr.append(-10 * error.log10())
        window = gaussian_window(clean)
        ssim.append(ssim_map(restored, clean, window).mean(dim=(1, 2, 3)))
    decibels = torch.cat(psnr).double()
    inexact = decibels[~decibels.isposinf()]
    means = float((inexact if len(inexact) else decibels).mean()), float(torch.cat(ssim).double().mean())
    if any(math.isnan(mean) for mean in means):
        raise ValueError(f"validation must score images of numbers, got PSNR {means[0]} and SSIM {means[1]}")
    return means


def held_out(images, config, **how) -> tuple[Tensor, Tensor]:
    """V as a search or training config asks: crops from the centres of the images, or adjacent patches.

    how: what else `data.validation_patches` takes.
    """
    if config.validation_crop:
        return data.validation_patches(images, patch=config.validation_crop, centre=True, **how)
    return thinned(data.validation_patches(images, patch=config.patch, **how), config.validation_patches)


def at_once(config) -> int:
    """Validation images that have the pixels of a training batch, at least one."""
    side = config.validation_crop or config.patch
    return max(1, config.batch * config.patch**2 // side**2)


def thinned(pairs: tuple[Tensor, Tensor], count: int | None) -> tuple[Tensor, Tensor]:
    """At most `count` of the pairs, evenly spaced."""
    total = len(pairs[0])
    if count is None or count >= total:
        return pairs
    chosen = [index * total // count for index in range(count)]
    return pairs[0][chosen], pairs[1][chosen]


def score(psnr: float, ssim: float) -> float:
    """What picks the best epoch on V. As released: SSIM + PSNR / 100."""
    return ssim + psnr / 100


def autocast(device: torch.device, asked: str | None):
    """What networks compute in; asked: "float32", "bfloat16", or None: bfloat16 on CUDA, float32 elsewhere.

    A CPU without instructions for bfloat16 computes in float32, whatever is asked (see `has_bfloat16`).
    """
    wanted = asked == "bfloat16" or (asked is None and device.type == "cuda")
    able = device.type != "cpu" or has_bfloat16()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted and able)


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 numbers itself; without, they are slower than float32."""
    x86 = [getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile")]
    if platform.machine().lower() in ("x86_64", "amd64"):
        return any(supported is not None and supported() for supported in x86)
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def sent(images: Tensor, device: torch.device) -> Tensor:
    """A copy on the device; to CUDA from pinned memory, so that the host need not wait for it."""
    if device.type == "cuda":
        images = images.pin_memory()
    return images.to(device, non_blocking=True)


def has_compiler() -> bool:
    """Whether torch.compile finds the C++ compiler it needs on a CPU."""
    return shutil.which(os.environ.get("CXX", "g++")) is not None


def compiled(net: nn.Module, dynamic: bool = False) -> nn.Module:
    """The same network by torch.compile; dynamic: for inputs of many sizes. Raises ValueError without a compiler."""
    if next(net.parameters()).device.type == "cpu" and not has_compiler():
        raise ValueError("torch.compile needs a C++ compiler, got none; install g++ or name one in CXX")
    return torch.compile(net, dynamic=dynamic)


def one_cycle(progress: float, peak: float) -> float:
    """Up to the peak for a tenth, then half a cosine down to a thousandth of it."""
    if progress < WARM_UP:
        return peak * (START_FACTOR + (1 - START_FACTOR) * progress / WARM_UP)
    return cosine((progress - WARM_UP) / (1 - WARM_UP), peak, peak * 1e-3)


def cosine(progress: float, first: float, last: float) -> float:
    """Half a cosine from `first` at progress 0 to `last` at 1."""
    return last + (first - last) * (1 + math.cos(math.pi * progress)) / 2


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def pack(**parts: nn.Module | torch.optim.Optimizer | dict[str, Tensor]) -> dict[str, Tensor]:
    """All tensors of modules, optimizers and plain dicts, under one flat set of names."""
    tensors = {}
    for part, content in parts.items():
        if isinstance(content, torch.optim.Optimizer):
            states = content.state_dict()["state"]
            values = {f"{index}.{key}": v for index, state in states.items() for key, v in state.items()}
            values = {name: value for name, value in values.items() if isinstance(value, Tensor)}
        else:
            values = content.state_dict() if isinstance(content, nn.Module) else content
        tensors |= {f"{part}/{name}": value for name, value in values.items()}
    return tensors


def unpack(tensors: dict[str, Tensor], **parts: nn.Module | torch.optim.Optimizer | dict[str, Tensor]) -> None:
    """Put back what `pack` took; dicts are filled."""
    for part, content in parts.items():
        values = {name.removeprefix(f"{part}/"): v for name, v in tensors.items() if name.startswith(f"{part}/")}
        if isinstance(content, nn.Module):
            content.load_state_dict(values)
        elif isinstance(content, dict):
            content.update(values)
        else:
            states: dict[int, dict] = {}
            for name, value in values.items():
                index, key = name.split(".", 1)
                states.setdefault(int(index), {})[key] = value
            content.load_state_dict(content.state_dict() | {"state": states})
