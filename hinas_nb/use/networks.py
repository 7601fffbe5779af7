"""The choice of the network that restores a picture: the one that is named, or the best of all finished trainings."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from hinas_nb import comparators, files, provenance
from hinas_nb.method import network
from hinas_nb.running import notes
from hinas_nb.speed import export
from hinas_nb.training import hardware

WEIGHTS = "weights.safetensors"
#: Budgets from the best to the least trained; others stand before smoke.
_PROFILES = {"paper": 0, "laptop": 1, "smoke": 3}


class RestoreError(ValueError):
    """Tells of nothing to restore with, or not for this picture; the text is one line."""


@dataclass(frozen=True)
class TrainedRun:
    """Describes a finished training Run.

    sigmas: lowest and highest in grey levels (0-255). psnr: on its validation images, in dB.
    other: what was trained in place of the network that a search found: a comparator, a given or a perturbed genotype.
    Such a Run is taken only where it is asked for.
    outdated: former revisions that it rests on, in words; a Run of today's is preferred.
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
        what = f"scale {self.scale}" if self.sigmas is None else _shown(self.sigmas)
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
    fits = [one for one in known if one.path.name.startswith(run)]
    if len(fits) != 1:
        names = " ".join(one.path.name for one in fits or known) or "none"
        raise RestoreError(f"run must begin the hash of one finished training Run ({names}), got {run!r}")
    return fits[0]


def best(
    known: list[TrainedRun], task: str, sigma: float | None, scale: int | None, results: Path = Path("results")
) -> TrainedRun:
    """Return the Run trained near this noise, and among those with the largest budget, the nearest, the best scored.

    sigma: grey levels (0-255), denoise only. results: where the Runs were looked for, for the error.
    Raises RestoreError.
    """
    fits = [one for one in known if one.task == task and one.scale == scale and not one.other]
    if not fits:
        what = f"sr at scale {scale}" if task == "sr" else "denoising"
        chosen = f" -p task=sr -p scale={scale}" if task == "sr" else ""
        raise RestoreError(
            f"no finished training Run for {what} in {results}; make one: hinas-nb run 05{chosen} --profile smoke"
        )

    def merit(one: TrainedRun) -> tuple:
        far = sigma is not None and _is_far(one.sigmas, sigma)
        away = 0.0 if sigma is None else _away(one.sigmas, sigma)
        return far, _PROFILES.get(one.profile, 2), away, bool(one.outdated), -one.psnr

    return min(fits, key=merit)


def load(weights: Path, task: str, scale: int | None, engine: str, device: str):
    """Return the network of a weights file, folded for inference, as an engine runs it; see `restore.restore_file`.

    Raises RestoreError, ExportError and ValueError for a file that is damaged or of another network, StoreError.
    """
    notes.check_beside(weights)
    if not weights.is_file():
        raise RestoreError(f"weights must be a safetensors file, got {weights}")
    if engine == "onnx":
        exported = weights.suffix == ".onnx"
        found = export.session(weights if exported else network.load(weights), torch.get_num_threads())
    else:
        found = comparators.load(weights, provenance.resolve_device(device)).folded()
        found = hardware.compiled(found, dynamic=True) if engine == "compiled" else found
    if found.task != task:
        raise RestoreError(f"{weights} must be of a network for {task}, got one for {found.task}")
    if scale is not None and found.scale != scale:
        raise RestoreError(f"{weights} must be of a network for scale {scale}, got one for scale {found.scale}")
    return found


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
            f"it would {effect}; --sigma corrects the estimate, --force restores all the same"
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
    return _away(trained, sigma) > max(5.0, 0.3 * nearest)


def _shown(trained: tuple[float, float]) -> str:
    """Return `sigma 50`, or `sigma 5 to 50`."""
    low, high = trained
    return f"sigma {low:g}" if low == high else f"sigma {low:g} to {high:g}"


def _away(trained: tuple[float, float], sigma: float) -> float:
    """Return how many grey levels a sigma lies outside of those that were trained for."""
    return max(trained[0] - sigma, sigma - trained[1], 0.0)


def _trained_run(folder: Path, run: notes.Finished) -> TrainedRun:
    config, psnr = run.config, run.summary.get("validation_psnr")
    try:
        task = config.get("task", "denoise")
        sigmas, scale = (_trained_for(config), None) if task == "denoise" else (None, int(config["scale"]))
        if (task == "denoise") != (sigmas is not None):
            raise ValueError("no sigma")
        other = _in_place_of_the_found(config.get("genotype", {}))
        profile = folder.parents[2].name
        return TrainedRun(folder, profile, task, sigmas, scale, float(psnr or 0), other, run.outdated)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        raise files.FileContentError(f"{folder / notes.DONE} must be of a training Run; delete {folder}") from None


def _in_place_of_the_found(origin: dict) -> str:
    """Name a training's genotype, for people, where it is not what a search found or halving kept."""
    kind = origin.get("kind")
    if kind == "Comparator":
        return origin["name"]
    if "cells" in origin:  # written out, as random ones are
        return "a given genotype"
    return {"Epoch": "another epoch's genotype", "R1": "a perturbed genotype", "R2": "a perturbed genotype"}.get(
        kind, ""
    )
