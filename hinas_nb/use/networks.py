"""Choose the network that restores a picture.

It is the one that is named by its weights file or its Run, else the one that is shipped for the task and scale. A
shipped network lies in `weights/` as `denoise.safetensors` or `sr_x2.safetensors` (x3, x4), beside its model card;
`reporting.cards` writes both.
"""

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path

import torch

from hinas_nb import __version__, comparators, files, locations, provenance
from hinas_nb.method import network
from hinas_nb.running import notes
from hinas_nb.speed import export

TASKS = ("denoise", "sr")
ENGINES = ("auto", "torch", "onnx")
WEIGHTS = "weights.safetensors"
SHIPPED = Path(__file__).with_name("weights")
_LOADING = threading.Lock()
LARGE = 2**25  # pixels times channels from which on ONNX Runtime, 1.1 to 1.6 times faster, is worth 15 s of export


class RestoreError(ValueError):
    """Tells of nothing to restore with, or not for this picture; the text is one line."""


@dataclass(frozen=True)
class Request:
    """Says what is to be done to pictures, and by which network; what does not fit together is refused.

    weights: a weights file, or for engine onnx one of `export.to_onnx`; run: the start of a training Run's hash;
    neither: the one that is shipped.
    sigma: noise in grey levels (0-255), None: estimated (denoise only). scale: 2, 3 or 4 (sr only).
    engine: "onnx" is ONNX Runtime, on the CPU; "auto" takes it for large pictures, where it is installed.
    force: restore even where the noise lies far from what the network was trained for.
    Raises RestoreError.
    """

    task: str = "denoise"
    sigma: float | None = None
    scale: int | None = None
    weights: Path | None = None
    run: str | None = None
    engine: str = "auto"
    device: str = "auto"
    force: bool = False

    def __post_init__(self):
        _require(self.task in TASKS, f"task must be one of {' '.join(TASKS)}", repr(self.task))
        _require(self.engine in ENGINES, f"engine must be one of {' '.join(ENGINES)}", repr(self.engine))
        on_cpu = self.engine != "onnx" or self.device in ("auto", "cpu")
        _require(on_cpu, "device must be auto or cpu for engine onnx", repr(self.device))
        readable = self.engine == "onnx" or self.weights is None or self.weights.suffix != ".onnx"
        _require(readable, "weights must be a safetensors file unless --engine is onnx", self.weights)
        named = self.weights is None or self.run is None
        _require(named, "a network must be named by --weights or --run", "both")
        told = isinstance(self.sigma, Real) and 0 <= self.sigma <= 255
        fits = self.sigma is None or (self.task == "denoise" and told)
        _require(fits, "sigma must be in [0, 255] and belongs to task denoise", f"{self.sigma} for {self.task}")
        whole = isinstance(self.scale, Integral) and self.scale in (2, 3, 4)
        fits = self.scale is None or (self.task == "sr" and whole)
        _require(fits, "scale must be 2, 3 or 4 and belongs to task sr", f"{self.scale} for {self.task}")

    def network(self, size: int, tell: Callable[[str], None], threads: int):
        """Return the network for a picture of that size (pixels times channels), as an engine runs it.

        tell: told which it is. threads: of ONNX Runtime. Raises RestoreError, ValueError, also for a file that
        is damaged or of another network, StoreError.
        """
        weights = self.weights or self._chosen(tell)
        notes.finished(weights.parent)  # refuses weights that are not as their Run left them
        if not weights.is_file():
            raise RestoreError(f"weights must be a safetensors file, got {weights}")
        engine = self.engine
        if engine == "auto":
            fast = size >= LARGE and export.is_installed() and provenance.resolve_device(self.device) == "cpu"
            engine = "onnx" if fast and "comparator" not in files.read_meta(weights) else "torch"
        with _LOADING:  # once for all threads
            found = _loaded(weights, weights.stat().st_mtime_ns, engine, self.device, threads)
        if found.task != self.task:
            raise RestoreError(f"{weights} must be of a network for {self.task}, got one for {found.task}")
        if self.scale is not None and found.scale != self.scale:
            what = f"a network for scale {self.scale}, got one for scale {found.scale}"
            raise RestoreError(f"{weights} must be of {what}")
        return found

    def _chosen(self, tell: Callable[[str], None]) -> Path:
        if self.run is not None:
            chosen = named(trained_runs(locations.results(), tell), self.run)
            tell(f"network: Run {chosen}")
            return chosen.path / WEIGHTS
        if self.task == "sr" and self.scale is None:
            raise RestoreError("task sr needs --scale (2, 3 or 4), --weights or --run")
        found = shipped(self.task, self.scale)
        tell(f"network: {found.stem}, shipped with hinas_nb {__version__}")
        return found


def pretrained(task: str = "denoise", scale: int | None = None) -> torch.nn.Module:
    """Return a shipped network, ready for inference: in evaluation mode, without gradients.

    task: "denoise", or "sr" with a scale of 2, 3 or 4. It takes images (batch, channel, height, width) in [0, 1], grey
    for denoising, and where `network.noise_map` is true a second channel, `hinas_nb.data.with_noise_map(image, sigma)`.
    Raises RestoreError where none is shipped.
    """
    request = Request(task, scale=scale)
    _require(task == "denoise" or scale is not None, "scale must be 2, 3 or 4 for task sr", scale)
    return network.load(shipped(request.task, scale)).folded().requires_grad_(False)


def shipped(task: str, scale: int | None = None) -> Path:
    """Return the file of the network that is shipped for a task. Raises RestoreError where none is."""
    path = SHIPPED / file_name(task, scale)
    if not path.is_file():
        raise RestoreError(f"{path.stem} is not shipped with hinas_nb {__version__}, name a network by weights or run")
    return path


def file_name(task: str, scale: int | None = None) -> str:
    """Return what the network for a task is shipped as: `denoise.safetensors`, `sr_x4.safetensors`."""
    return f"{task if scale is None else f'{task}_x{scale}'}.safetensors"


@dataclass(frozen=True)
class TrainedRun:
    """Describes a finished training Run.

    sigmas: lowest and highest in grey levels (0-255).
    other: what was trained in place of the network that a search found: a comparator, a given or a perturbed genotype.
    outdated: former revisions that it rests on, in words.
    """

    path: Path
    profile: str
    task: str
    sigmas: tuple[float, float] | None
    scale: int | None
    other: str = ""
    outdated: str = ""

    @property
    def noise(self) -> str:
        """Return what noise it was trained for, `sigma 50` or `sigma 5 to 50`; nothing for super-resolution."""
        return "" if self.sigmas is None else _shown(self.sigmas)

    def __str__(self):
        what = self.noise or f"scale {self.scale}"
        other = f"{self.other}, " if self.other else ""
        old = f", {self.outdated}" if self.outdated else ""
        return f"{self.path.name} ({other}{self.task}, {what}, {self.profile} budget{old})"


def trained_runs(results: Path, note: Callable[[str], None] = lambda line: None) -> list[TrainedRun]:
    """Return all finished training Runs below a results folder that still have their weights.

    note: told of each that is damaged and therefore left out.
    """
    found = []
    for path in sorted(results.glob(f"*/runs/train/*/{WEIGHTS}")):
        try:
            run = notes.finished(path.parent)
            if run:
                found.append(_trained_run(path.parent, run))
        except (files.StoreError, files.FileContentError) as error:
            note(f"left out: {error}")
    return found


def named(known: list[TrainedRun], run: str) -> TrainedRun:
    """Return the one Run whose hash begins so. Raises RestoreError."""
    fits = [one for one in known if run and one.path.name.startswith(run)]
    if len(fits) != 1:
        names = " ".join(one.path.name for one in fits or known) or "none"
        raise RestoreError(f"run must begin the hash of one finished training Run ({names}), got {run!r}")
    return fits[0]


@functools.lru_cache(maxsize=4)
def _loaded(weights: Path, changed: int, engine: str, device: str, threads: int):
    """Return the network of a weights file, folded for inference, as an engine runs it; kept for the next picture."""
    if engine == "onnx":
        return export.session(weights if weights.suffix == ".onnx" else network.load(weights), threads)
    return comparators.load(weights, provenance.resolve_device(device)).folded()


def doubts(trained: dict, sigma: float | None, force: bool) -> list[str]:
    """Refuse a picture with another noise than the network was trained for; with `force`, only say so.

    trained: what its weights file says of it. sigma: of the picture, in grey levels (0-255). Raises RestoreError.
    """
    known = _trained_for(trained)
    if sigma is None or known is None or not _is_far(known, sigma):
        return []
    effect = "leave noise" if sigma > known[1] else "smooth detail away"
    if not force:
        raise RestoreError(
            f"noise must be near {_shown(known)}, for which the network was trained, got sigma {sigma:.1f}: "
            f"it would {effect}; sigma, given, corrects the estimate; force restores all the same"
        )
    return [f"warning: trained at {_shown(known)}, the picture has {sigma:.1f}: the network may {effect}"]


def _trained_for(settings: dict) -> tuple[float, float] | None:
    """Return the lowest and highest sigma that a config, or a weights file, says its network was trained for."""
    if settings.get("sigma_range"):
        low, high = settings["sigma_range"]
        return float(low), float(high)
    sigma = settings.get("sigma")
    return None if sigma is None else (float(sigma), float(sigma))


def _is_far(trained: tuple[float, float], sigma: float) -> bool:
    """Tell whether a network trained from one sigma to another is out of place: off by 30 % and by 5 grey levels."""
    nearest = min(max(sigma, trained[0]), trained[1])
    return abs(sigma - nearest) > max(5.0, 0.3 * nearest)


def _shown(trained: tuple[float, float]) -> str:
    """Return `sigma 50`, or `sigma 5 to 50`."""
    low, high = trained
    return f"sigma {low:g}" if low == high else f"sigma {low:g} to {high:g}"


def _trained_run(folder: Path, run: notes.Finished) -> TrainedRun:
    config = run.config
    try:
        task = config.get("task", "denoise")
        sigmas, scale = (_trained_for(config), None) if task == "denoise" else (None, int(config["scale"]))
        if (task == "denoise") != (sigmas is not None):
            raise ValueError("no sigma")
        other = _in_place_of_the_found(config.get("genotype", {}))
        profile = folder.parents[2].name
        return TrainedRun(folder, profile, task, sigmas, scale, other, run.outdated)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        raise files.FileContentError(f"{folder / notes.DONE} must be of a training Run; delete {folder}") from None


def _in_place_of_the_found(origin: dict) -> str:
    """Name a training's genotype, for people, where it is not what a search found or halving kept."""
    if "cells" in origin:  # written out, as random ones are
        return "a given genotype"
    named = {"Epoch": "another epoch's genotype"} | dict.fromkeys(("R1", "R2"), "a perturbed genotype")
    return origin["name"] if origin.get("kind") == "Comparator" else named.get(origin.get("kind"), "")


def _require(holds: bool, rule: str, got: object) -> None:
    if not holds:
        raise RestoreError(f"{rule}, got {got}")
