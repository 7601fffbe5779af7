"""The device decides the precision networks compute in, how batches get there, and whether torch.compile works."""

import os
import platform
import shutil

import torch
from torch import Tensor, nn


def autocast(device: torch.device, asked: str | None):
    """Return the context networks compute in; asked: see `in_bfloat16`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=in_bfloat16(device.type, asked))


def in_bfloat16(device: str, asked: str | None) -> bool:
    """Return whether networks compute in bfloat16; asked: "float32", "bfloat16", or None: bfloat16 on CUDA alone.

    A CPU that does not multiply bfloat16 itself computes in float32, whatever is asked: there bfloat16 is slower.
    """
    return (asked == "bfloat16" or (asked is None and device == "cuda")) and multiplies_bfloat16(device)


def multiplies_bfloat16(device: str = "cpu") -> bool:
    """Return whether a device multiplies bfloat16 numbers itself: of CPUs, those with instructions for it."""
    if device != "cpu":
        return True
    x86 = [getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile")]
    if platform.machine().lower() in ("x86_64", "amd64"):
        return any(supported is not None and supported() for supported in x86)
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def to_device(images: Tensor, device: torch.device) -> Tensor:
    """Return a copy on the device; to CUDA from pinned memory, so that the host need not wait for it."""
    if device.type == "cuda":
        images = images.pin_memory()
    return images.to(device, non_blocking=True)


def compiled(net: nn.Module, dynamic: bool = False) -> nn.Module:
    """Return the network by torch.compile; dynamic: for inputs of many sizes. Raises ValueError without a compiler."""
    if next(net.parameters()).device.type == "cpu" and not has_compiler():
        raise ValueError("torch.compile needs a C++ compiler, got none; install g++ or name one in CXX")
    return torch.compile(net, dynamic=dynamic)


def has_compiler() -> bool:
    """Return whether torch.compile finds the C++ compiler it needs on a CPU."""
    return shutil.which(os.environ.get("CXX", "g++")) is not None
