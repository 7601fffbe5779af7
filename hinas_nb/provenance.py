"""Every number is kept with where it comes from and what it cost: code, packages, machine, device, peak memory.

Every Run keeps this beside its results; every notebook prints it in its last cell.
"""

import functools
import os
import platform
import resource
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from hinas_nb import __version__

_PACKAGES = ("torch", "numpy", "scikit-image", "safetensors", "pydantic", "pandas")
_PROC = Path("/proc/self")


def provenance() -> dict:
    """Return commit (and whether files differ from it), package versions and machine, as JSON-able values."""
    return {**_commit(), "versions": _versions(), "machine": _machine()}


def resolve_device(name: str = "auto") -> str:
    """Return the best device here (cuda, mps, cpu) for `auto`, or the one named. Raises ValueError if it is no use."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()  # refuses "meta", which computes nothing
    except (RuntimeError, AssertionError, ImportError):
        raise ValueError(f"device must be auto, cpu or one that is present here, got {name!r}") from None
    return name


def peak_memory_mib(device: str = "cpu") -> float:
    """Return the peak memory since `reset_peak_memory`, in MiB: of the process, or of the GPU if that is the device."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    # No /proc (macOS): the peak of the whole process, in bytes there, in KiB elsewhere.
    whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
    return _told_mib(_PROC / "status", "VmHWM:") or whole


def free_memory_mib(device: str = "cpu") -> float | None:
    """Return the free memory in MiB, of the machine, or of the GPU if that is the device; None where it isn't told."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0] / 2**20
    return _told_mib(_PROC.parent / "meminfo", "MemAvailable:")


def reset_peak_memory(device: str = "cpu") -> None:
    """Start a new peak, so that several Runs in one process are told apart (where the system allows it)."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        (_PROC / "clear_refs").write_text("5")


def _told_mib(path: Path, name: str) -> float | None:
    """Return the MiB of a line such as `VmHWM: 123 kB`, None where the system does not tell."""
    with suppress(OSError):
        for line in path.read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
    return None


@functools.cache
def _commit() -> dict:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout.strip()

    try:
        # An installed copy may lie inside somebody else's repository: ask whether this file is git's.
        git("ls-files", "--error-unmatch", Path(__file__).name)
        dirty = bool(git("status", "--porcelain", "--untracked-files=no"))
        return {"commit": git("rev-parse", "HEAD"), "dirty": dirty}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


@functools.cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "hinas_nb": __version__}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@functools.cache
def _machine() -> dict:
    processor = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return {"platform": f"{platform.system()} {platform.machine()}", "processor": processor, "cores": os.cpu_count()}
