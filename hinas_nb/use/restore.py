"""A trained network applied to the user's own picture (`hinas-nb restore`), or to an image in memory.

Denoising networks are grey: each colour channel is restored as a grey picture. Super-resolution networks take
colour: a grey picture goes in as three equal channels, and the mean of the three results comes out. Alpha is
kept (resized bicubically where the picture grows), and so are bit depth and size.
"""

import re
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from skimage.restoration import estimate_sigma
from torch import Tensor

from hinas_nb import data
from hinas_nb.data import pictures
from hinas_nb.scoring import evaluate
from hinas_nb.use import networks
from hinas_nb.use.networks import RestoreError

TASKS = ("denoise", "sr")
ENGINES = ("torch", "compiled", "onnx")
SMOKE_STEPS = 300  # at most, of a training of the smoke budget


def restore_image(
    network, image: Float[Tensor, "batch channel height width"], sigma: float | None = None
) -> Float[Tensor, "batch channel height_out width_out"]:
    """Return a grey or colour image of any size restored, `network.scale` times larger; not clipped.

    network: one of `networks.load` or `comparators.load`. image: in [0, 1]; large ones are restored in tiles.
    sigma: grey levels (0-255), which a network with a noise map is told.
    Raises RestoreError where the network returns what is no number.
    """
    if network.task == "denoise":
        planes = [evaluate.infer(network, plane, sigma) for plane in image.split(1, dim=1)]
        restored = torch.cat(planes, dim=1)
    else:
        restored = evaluate.infer(network, image.expand(-1, 3, -1, -1))
        restored = restored.mean(dim=1, keepdim=True) if image.shape[1] == 1 else restored
    if not restored.isfinite().all():
        raise RestoreError("the network must return finite values, got NaN or infinity: its weights are damaged")
    return restored


def restore_file(
    source: Path,
    target: Path,
    task: str,
    results: Path,
    weights: Path | None = None,
    run: str | None = None,
    sigma: float | None = None,
    scale: int | None = None,
    engine: str = "torch",
    device: str = "auto",
    force: bool = False,
) -> list[str]:
    """Restore one picture and return what there is to say about it, a line each.

    results: where Runs are looked for unless `weights` names a file; run: the start of a Run's hash.
    engine: "compiled" is torch.compile, worth its seconds for large pictures; "onnx" runs on the CPU and takes
    what `export.to_onnx` wrote as weights too.
    sigma: noise in grey levels (0-255), None: estimated (denoise only). scale: 2, 3 or 4 (sr only).
    force: restore even where the noise lies far from what the network was trained for.
    Raises RestoreError, PictureError, ExportError, FileContentError, OSError.
    """
    _check(source, target, task, weights, run, sigma, scale, engine, device)
    with _memory_of(source):
        picture = pictures.read(source)
        pictures.check_target(target, picture, scale or 1)
        colour, alpha = picture.split()
        said = [f"left out: {what}" for what in picture.left_out]
        if task == "denoise" and sigma is None:
            sigma = estimated_sigma(colour)
            said.append(f"noise: sigma {sigma:.1f} grey levels, estimated")
        if weights is None:
            known = networks.trained_runs(results, said.append)
            asked = run is not None
            chosen = networks.named(known, run) if asked else networks.best(known, task, sigma, scale, results)
            weights = chosen.path / networks.WEIGHTS
            said.append(f"network: Run {chosen}")
        network = networks.load(weights, task, scale, engine, device)
        pictures.check_target(target, picture, network.scale)
        said += _budget(network.trained, task)
        said += networks.doubts(network.trained, sigma, force)
        said += _treatment(task, colour.shape[2], alpha is not None)
        restored = _array(restore_image(network, _tensor(colour).float(), sigma))
        if alpha is not None and task == "sr":
            alpha = _array(data.bicubic(_tensor(alpha), network.scale))
        result = picture.like(restored, alpha)
        pictures.write(target, result)
    height, width = result.pixels.shape[:2]
    return [*said, f"wrote {target} ({width}x{height}, {result.bits} bits)"]


def estimated_sigma(colour: np.ndarray) -> float:
    """Estimate sigma in grey levels (0-255) of (height, width, channel) in [0, 1], the mean over its channels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a picture without any detail has no estimate, nor has a tiny one
        sigma = estimate_sigma(colour, channel_axis=2, average_sigmas=True)
    return float(np.nan_to_num(sigma)) * 255


def _check(source, target, task, weights, run, sigma, scale, engine, device) -> None:
    """Refuse, before the work, what does not fit together. Raises RestoreError."""
    if task not in TASKS:
        raise RestoreError(f"task must be one of {' '.join(TASKS)}, got {task!r}")
    if engine not in ENGINES:
        raise RestoreError(f"engine must be one of {' '.join(ENGINES)}, got {engine!r}")
    if engine == "onnx" and device not in ("auto", "cpu"):
        raise RestoreError(f"device must be auto or cpu for engine onnx, got {device!r}")
    if engine != "onnx" and weights is not None and weights.suffix == ".onnx":
        raise RestoreError(f"weights must be a safetensors file unless --engine is onnx, got {weights}")
    if weights is not None and run is not None:
        raise RestoreError("a network must be named by --weights or --run, got both")
    if sigma is not None and (task != "denoise" or not 0 <= sigma <= 255):
        raise RestoreError(f"sigma must be in [0, 255] and belongs to task denoise, got {sigma:g} for {task}")
    if scale is not None and (task != "sr" or scale not in (2, 3, 4)):
        raise RestoreError(f"scale must be 2, 3 or 4 and belongs to task sr, got {scale} for {task}")
    if task == "sr" and scale is None and weights is None and run is None:
        raise RestoreError("task sr needs --scale (2, 3 or 4), --weights or --run")
    if target.exists() and source.exists() and target.samefile(source):
        raise RestoreError(f"output must be another file than the input, got {target}")
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise RestoreError(f"output must be a file in an existing folder, got {target}")


def _budget(trained: dict, task: str) -> list[str]:
    """Say where a network was trained too little to be of use."""
    steps = trained.get("steps")
    if not isinstance(steps, int) or steps > SMOKE_STEPS:
        return []
    gives = "can give less than bicubic up-sampling" if task == "sr" else "gives far less than one of a larger budget"
    return [f"warning: the network is of the smoke budget ({steps} steps, to try things out): it {gives}"]


def _treatment(task: str, channels: int, alpha: bool) -> list[str]:
    """Say how a picture's channels are fitted to the network's."""
    said = []
    if task == "denoise" and channels == 3:
        said.append("colour: red, green and blue are each restored as a grey picture")
    if task == "sr" and channels == 1:
        said.append("grey: restored as three equal colour channels, then averaged")
    if alpha:
        said.append("alpha: kept" + (", resized bicubically" if task == "sr" else ""))
    return said


@contextmanager
def _memory_of(source: Path):
    """Say in one line that memory was missing: NumPy, torch on each device and ONNX Runtime have their own ways."""
    try:
        yield
    except Exception as error:
        missing = r"out of memory|not enough memory|can't allocate|failed to allocate|alloc_failed|bad.?alloc"
        if not isinstance(error, MemoryError) and (
            isinstance(error, (ValueError, OSError)) or not re.search(missing, str(error), re.IGNORECASE)
        ):
            raise
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise RestoreError(f"{source} must fit in memory with what restoring it needs, got: {reason}") from None


def _tensor(values: np.ndarray) -> Float[Tensor, "1 channel height width"]:
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)[None]))


def _array(image: Float[Tensor, "1 channel height width"]) -> np.ndarray:
    return image[0].double().numpy().transpose(1, 2, 0)
