"""A few real steps of a Run, and from them the seconds of the whole: what `durations` has a process of its own do.

With a Run's threads and allocator, and with the loops that Runs use; only the number of steps and images is cut.
"""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch

from hinas_nb import data
from hinas_nb.data.images import ImageSet, decode, image_files
from hinas_nb.experiment.config import Comparator, EvaluateConfig, SearchConfig, Selected, TrainConfig
from hinas_nb.experiment.runs import RunConfig, producer_of
from hinas_nb.files import error_line
from hinas_nb.method.genotype import Genotype, random_in
from hinas_nb.provenance import resolve_device

ENOUGH = 12.0  # seconds; no new step begins after so many
FORWARD = 1 / 3  # of a training step's time


class _Clock:
    """Seconds since it was made: of one CPU thread those it computed, so that a busy machine makes no difference."""

    def __init__(self, device: str):
        self.device = device
        self._source = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
        self._began = self._source()

    def read(self) -> float:
        return self._source() - self._began

    def first(self, loop: Iterator, most: int) -> list[float]:
        """How long the first records of a loop take: as many as asked for, or as fit in `ENOUGH`."""
        began, last, taken = time.monotonic(), self.read(), []
        for _ in loop:
            now = self.read()
            taken.append(now - last)
            if len(taken) == most or time.monotonic() - began > ENOUGH:
                break
            last = now
        return taken


class Steps(NamedTuple):
    """What was timed, and what a whole Run makes of it; seconds."""

    taken: list[float]
    whole: float


def answer(task: tuple[RunConfig, Path | None, int], _: Path) -> float | str:
    """Seconds, or in one line why not."""
    config, data_root, threads = task
    torch.set_num_threads(threads)
    try:
        return seconds(config, data_root)
    except Exception as error:
        return error_line(error)


def seconds(config: RunConfig, data_root: Path | None) -> float:
    """What a Run takes, from a few of its steps. Raises ValueError, OSError."""
    clock = _Clock(resolve_device())
    steps = LOOPS[type(config)](config, data_root, clock)
    return steps.whole + max(0.0, clock.read() - sum(steps.taken))


def _search(config: SearchConfig, root: Path | None, clock: _Clock) -> Steps:
    """Epochs of one step on W each, twice without and twice with a step on A."""
    from hinas_nb.training import search

    files = image_files(config.data, config.split, root, config.space.scale)
    each = -(-config.batch // config.crops_per_image)
    images = _load(config.data, files[: 2 * each + 1])
    parts = images.subset(range(each)), images.subset(range(each, 2 * each)), images.subset([len(images) - 1])
    short = config.but(
        epochs=5,
        warmup_epochs=2,
        validate_from=4,
        validation_patches=1,
        validation_crop=None,
        latency=None,
        latency_weight=None,
    )
    taken = clock.first(search.search(short, parts, device=clock.device), 4)
    alone, moving = min(taken[:2]), config.epochs - config.warmup_epochs
    if config.strategy == "random":
        moving = 0
    both = taken[3] if len(taken) == 4 else 2 * alone
    held_out = 0 if config.validation else _held_out(config, files)
    steps = -(-((len(files) - held_out + 1) // 2) * config.crops_per_image // config.batch)
    checks = (config.candidates or 0) + (config.epochs - config.validate_from if moving else 0)
    validating = checks * _patches(config, config.space.scale, images, files) / config.batch * alone * FORWARD
    return Steps(taken, steps * ((config.epochs - moving) * alone + moving * both) + validating)


def _train(config: TrainConfig, root: Path | None, clock: _Clock) -> Steps:
    from hinas_nb.training import train

    files = image_files(config.data, config.split, root, config.scale)
    images = _load(config.data, files[: config.batch])
    short = config.but(steps=4, validate_every=1, validation_patches=1, validation_crop=None)
    loop = train.train(short, stand_in(config), images, images.subset([0]), device=clock.device)
    taken = clock.first(loop, 4)
    step = median(taken[1:] or taken)
    checks = -(-config.steps // config.validate_every)
    validating = checks * _patches(config, config.scale, images, files) / config.batch * step * FORWARD
    return Steps(taken, config.steps * step + validating)


def _evaluate(config: EvaluateConfig, root: Path | None, clock: _Clock) -> Steps:
    from hinas_nb.scoring import evaluate

    files = image_files(config.data, config.split, root, config.protocol.scale)[:: config.every]
    images = _load(config.data, files[:: max(1, len(files) // 3)])
    taken = clock.first(evaluate.evaluate(_restorer(config, clock.device), images, config.protocol), 3)
    return Steps(taken, len(files) * median(taken[1:] or taken))


LOOPS = {SearchConfig: _search, TrainConfig: _train, EvaluateConfig: _evaluate}


def stand_in(config: TrainConfig) -> Genotype | None:
    """The genotype, or, where its search isn't finished, the random one of median size among nine; None: comparator."""
    from hinas_nb.method.network import DerivedNetwork

    if isinstance(config.genotype, Comparator):
        return None
    if isinstance(config.genotype, Genotype):
        return config.genotype
    if isinstance(config.genotype, Selected):
        return stand_in(config.genotype.trainings[0])
    space = producer_of(config).space
    generator = data.stream(0, "stand-in")
    drawn = [random_in(space, generator) for _ in range(9)]
    with torch.device("meta"):
        sizes = [
            DerivedNetwork(one, config.task, config.base_width, config.width_factors, config.scale).parameters_live
            for one in drawn
        ]
    return drawn[sorted(range(9), key=sizes.__getitem__)[4]]


def _restorer(config: EvaluateConfig, device: str):
    """An untrained network takes as long as a trained one."""
    from hinas_nb import comparators
    from hinas_nb.method.network import DerivedNetwork
    from hinas_nb.scoring import evaluate

    model, protocol = config.model, config.protocol
    if model == "input":
        return evaluate.baseline(protocol)
    if isinstance(model, str):
        network = comparators.build(model, "denoise", sigma=protocol.sigma)
    elif isinstance(model.genotype, Comparator):
        network = comparators.build(model.genotype.name, model.task, model.scale, width=model.genotype.width)
    else:
        shape = (model.base_width, model.width_factors, model.scale, model.residual, model.fold, model.noise_map)
        network = DerivedNetwork(stand_in(model), model.task, *shape)
    network = network.to(device).eval().folded()
    told = data.with_noise_map if network.noise_map else lambda degraded, _: degraded
    return lambda degraded: evaluate.restore(network, told(degraded, protocol.sigma).to(device), network.halo).cpu()


def _load(name: str, files: list[Path]) -> ImageSet:
    return ImageSet(name, "", tuple(file.name for file in files), tuple(decode(file) for file in files))


def _held_out(config: SearchConfig | TrainConfig, files: list[Path]) -> int:
    return max(1, round(config.validation_fraction * len(files)))


def _patches(config: SearchConfig | TrainConfig, scale: int | None, images: ImageSet, files: list[Path]) -> float:
    """How many patches V has, or is thinned to; about."""
    pixels = images.images[0][0].numel() / (config.patch * (scale or 1)) ** 2
    return min(config.validation_patches or math.inf, _held_out(config, files) * pixels)
