"""A trained network applied to the user's own picture (`hinas-nb restore`).

Denoising networks are grey: each colour channel is restored as a grey picture. Super-resolution networks take
colour: a grey picture goes in as three equal channels, and the mean of the three results comes out. Alpha is
kept (resized bicubically where the picture grows), and so are bit depth and size.
"""

import re
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hinas_nb import files
from hinas_nb.data import pictures
from hinas_nb.running import record

TASKS = ("denoise", "sr")
ENGINES = ("torch", "compiled", "onnx")
#: Budgets from the best to the least trained; others stand before smoke.
PROFILES = {"paper": 0, "laptop": 1, "smoke": 3}
SMOKE_STEPS = 300  # at most, of a training of the smoke budget


class RestoreError(ValueError):
    """Nothing to restore with, or not for this picture; the text is one line."""


@dataclass(frozen=True)
class Candidate:
    """A finished training Run: sigmas, lowest and highest in grey levels (0-255); psnr on its validation images in dB.

    other: what was trained in place of the network that a search found: a comparator, a given or a perturbed genotype.
    Such a Run is taken only where it is asked for. outdated: revisions of
    before that it rests on, in words; one of today's is preferred.
    """

    path: Path
    profile: str
    task: str
    sigmas: tuple[float, float] | None
    scale: int | None
    psnr: float
    other: str = ""
    outdated: str = ""

    def __str__(self):
        what = f"scale {self.scale}" if self.sigmas is None else _sigmas(self.sigmas)
        other = f"{self.other}, " if self.other else ""
        old = f", {self.outdated}" if self.outdated else ""
        return f"{self.path.name} ({other}{self.task}, {what}, {self.profile} budget{old})"


def restore(
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
            chosen = choose(candidates(results, said.append), task, sigma, scale, run, results)
            weights = chosen.path / "weights.safetensors"
            said.append(f"network: Run {chosen}")
        record.check_beside(weights)
        network = _network(weights, task, scale, engine, device)
        pictures.check_target(target, picture, network.scale)
        said += _budget(network.trained, task)
        said += _doubts(network.trained, sigma, force)
        said += _treatment(task, colour.shape[2], alpha is not None)
        restored = _apply(network, colour, sigma)
        if alpha is not None and task == "sr":
            alpha = _larger(alpha, network.scale)
        result = picture.like(restored, alpha)
        pictures.write(target, result)
    height, width = result.pixels.shape[:2]
    return [*said, f"wrote {target} ({width}x{height}, {result.bits} bits)"]


def estimated_sigma(colour: np.ndarray) -> float:
    """Sigma in grey levels (0-255) of (height, width, channel) in [0, 1], the mean over its channels."""
    try:
        from skimage.restoration import estimate_sigma

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a picture without any detail has no estimate, nor has a tiny one
            sigma = estimate_sigma(colour, channel_axis=2, average_sigmas=True)
    except ImportError:
        raise RestoreError("estimating sigma needs PyWavelets; install it or give --sigma") from None
    return float(np.nan_to_num(sigma)) * 255


def candidates(results: Path, note: Callable[[str], None] = lambda line: None) -> list[Candidate]:
    """All finished training Runs below a results folder that still have their weights.

    note: told of each that is damaged and therefore left out.
    """
    found = []
    for path in sorted(results.glob("*/runs/train/*/weights.safetensors")):
        try:
            run = record.finished(path.parent)
            if run:
                found.append(_candidate(path.parent, run))
        except (files.StoreError, files.FileContentError) as error:
            note(f"left out: {error}")
    return found


def _candidate(folder: Path, run: record.Finished) -> Candidate:
    config, psnr = run.config, run.summary.get("validation_psnr")
    try:
        task = config.get("task", "denoise")
        sigmas, scale = (_trained_for(config), None) if task == "denoise" else (None, int(config["scale"]))
        if (task == "denoise") != (sigmas is not None):
            raise ValueError("no sigma")
        other = _in_place_of_the_found(config.get("genotype", {}))
        profile = folder.parents[2].name
        return Candidate(folder, profile, task, sigmas, scale, float(psnr or 0), other, run.outdated)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        raise files.FileContentError(f"{folder / record.DONE} must be of a training Run; delete {folder}") from None


def _in_place_of_the_found(origin: dict) -> str:
    """What a training's genotype is, where it is not what a search found or halving kept; for people."""
    if origin.get("kind") == "Comparator":
        return origin["name"]
    if "cells" in origin:  # written out, as random ones are
        return "a given genotype"
    perturbed = dict.fromkeys(("R1", "R2"), "a perturbed genotype")  # which a `Perturbed` is called by
    others = {"Epoch": "another epoch's genotype", "Drawn": "a random genotype"} | perturbed
    return others.get(origin.get("kind"), "")


def choose(
    known: list[Candidate],
    task: str,
    sigma: float | None,
    scale: int | None,
    run: str | None = None,
    results: Path = Path("results"),
) -> Candidate:
    """The Run asked for, or the best: trained near this noise, with the largest budget, nearest, best scored.

    Raises RestoreError.
    """
    if run is not None:
        fits = [candidate for candidate in known if candidate.path.name.startswith(run)]
        if len(fits) != 1:
            names = " ".join(candidate.path.name for candidate in fits or known) or "none"
            raise RestoreError(f"run must begin the hash of one finished training Run ({names}), got {run!r}")
        return fits[0]
    fits = [one for one in known if one.task == task and one.scale == scale and not one.other]
    if not fits:
        what = f"sr at scale {scale}" if task == "sr" else "denoising"
        chosen = f" -p task=sr -p scale={scale}" if task == "sr" else ""
        raise RestoreError(
            f"no finished training Run for {what} in {results}; make one: hinas-nb run 05{chosen} --profile smoke"
        )

    def merit(candidate: Candidate) -> tuple:
        away = _outside(candidate.sigmas, sigma) if task == "denoise" else 0
        far = task == "denoise" and is_far(candidate.sigmas, sigma)
        return far, PROFILES.get(candidate.profile, 2), away, bool(candidate.outdated), -candidate.psnr

    return min(fits, key=merit)


def is_far(trained: tuple[float, float], sigma: float) -> bool:
    """Whether a network trained from one sigma to another is out of place: off by 30 % and by 5 grey levels."""
    nearest = min(max(sigma, trained[0]), trained[1])
    return _outside(trained, sigma) > max(5.0, 0.3 * nearest)


def _outside(trained: tuple[float, float], sigma: float) -> float:
    """How many grey levels a sigma lies outside of those that were trained for."""
    return max(trained[0] - sigma, sigma - trained[1], 0.0)


def _trained_for(settings: dict) -> tuple[float, float] | None:
    """Lowest and highest sigma that a config, or a weights file, says its network was trained for."""
    if settings.get("sigma_range"):
        low, high = settings["sigma_range"]
        return float(low), float(high)
    sigma = settings.get("sigma")
    return None if sigma is None else (float(sigma), float(sigma))


def _sigmas(trained: tuple[float, float]) -> str:
    """`sigma 50`, or `sigma 5 to 50`."""
    low, high = trained
    return f"sigma {low:g}" if low == high else f"sigma {low:g} to {high:g}"


def _check(source, target, task, weights, run, sigma, scale, engine, device) -> None:
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


def _network(weights: Path, task: str, scale: int | None, engine: str, device: str):
    import torch

    from hinas_nb import comparators, provenance
    from hinas_nb.method import network
    from hinas_nb.speed import export
    from hinas_nb.training import loops

    if not weights.is_file():
        raise RestoreError(f"weights must be a safetensors file, got {weights}")
    if engine == "onnx":
        exported = weights.suffix == ".onnx"
        found = export.session(weights if exported else network.load(weights), torch.get_num_threads())
    else:
        found = comparators.load(weights, provenance.resolve_device(device)).folded()
        found = loops.compiled(found, dynamic=True) if engine == "compiled" else found
    if found.task != task:
        raise RestoreError(f"{weights} must be of a network for {task}, got one for {found.task}")
    if scale is not None and found.scale != scale:
        raise RestoreError(f"{weights} must be of a network for scale {scale}, got one for scale {found.scale}")
    return found


def _budget(trained: dict, task: str) -> list[str]:
    """Say where a network was trained too little to be of use."""
    steps = trained.get("steps")
    if not isinstance(steps, int) or steps > SMOKE_STEPS:
        return []
    gives = "can give less than bicubic up-sampling" if task == "sr" else "gives far less than one of a larger budget"
    return [f"warning: the network is of the smoke budget ({steps} steps, to try things out): it {gives}"]


def _doubts(trained: dict, sigma: float | None, force: bool) -> list[str]:
    """Refuse a picture with another noise than the network was trained for; with `force`, only say so."""
    known = _trained_for(trained)
    if sigma is None or known is None or not is_far(known, sigma):
        return []
    effect = "leave noise" if sigma > known[1] else "smooth detail away"
    if not force:
        raise RestoreError(
            f"noise must be near {_sigmas(known)}, for which the network was trained, got sigma {sigma:.1f}: "
            f"it would {effect}; --sigma corrects the estimate, --force restores all the same"
        )
    return [f"warning: trained at {_sigmas(known)}, the picture has {sigma:.1f}: the network may {effect}"]


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


def _treatment(task: str, channels: int, alpha: bool) -> list[str]:
    said = []
    if task == "denoise" and channels == 3:
        said.append("colour: red, green and blue are each restored as a grey picture")
    if task == "sr" and channels == 1:
        said.append("grey: restored as three equal colour channels, then averaged")
    if alpha:
        said.append("alpha: kept" + (", resized bicubically" if task == "sr" else ""))
    return said


def _apply(network, colour: np.ndarray, sigma: float | None) -> np.ndarray:
    """(height, width, channel) in [0, 1] -> the same, `network.scale` times larger; not clipped.

    sigma: grey levels (0-255), told to a network that has a noise map.
    """
    import torch

    from hinas_nb import data
    from hinas_nb.scoring import evaluate

    image = torch.from_numpy(np.ascontiguousarray(colour.transpose(2, 0, 1)[None], np.float32))
    if isinstance(network, torch.nn.Module):
        image = image.to(next(network.parameters()).device)
    if network.task == "denoise":
        planes = image.split(1, dim=1)
        planes = [data.with_noise_map(plane, sigma) for plane in planes] if network.noise_map else planes
        restored = torch.cat([evaluate.restore(network, plane, network.halo) for plane in planes], dim=1)
    else:
        restored = evaluate.restore(network, image.expand(-1, 3, -1, -1), network.halo)
        restored = restored.mean(dim=1, keepdim=True) if image.shape[1] == 1 else restored
    if not restored.isfinite().all():
        raise RestoreError("the network must return finite values, got NaN or infinity: its weights are damaged")
    return restored[0].double().cpu().numpy().transpose(1, 2, 0)


def _larger(alpha: np.ndarray, scale: int) -> np.ndarray:
    import torch

    from hinas_nb import data

    return data.bicubic(torch.from_numpy(alpha.transpose(2, 0, 1)), scale).numpy().transpose(1, 2, 0)
