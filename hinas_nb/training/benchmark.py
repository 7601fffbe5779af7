"""Times that can be compared: every arm in a process of its own, called in turns, nothing else at work.

What slows the machine for a while slows all arms alike, so ratios within a round hold where seconds do not; a
process each lets arms differ in their allocator and tells their peaks of memory apart. Notebook `24_speed`.
"""

import gc
import itertools
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from hinas_nb import data
from hinas_nb.experiment.config import Arm, TimingConfig
from hinas_nb.files import error_line
from hinas_nb.method.fast import stock
from hinas_nb.method.losses import restoration_loss
from hinas_nb.method.network import CHANNELS
from hinas_nb.method.operations import frozen, seeded
from hinas_nb.method.supercell import plain_supernet
from hinas_nb.method.supernet import Supernet
from hinas_nb.provenance import peak_memory_mib, reset_peak_memory
from hinas_nb.scoring import evaluate
from hinas_nb.speed import cost, export, profiling
from hinas_nb.subprocesses import ALLOCATOR, LIBRARY_THREADS, caller_left_out, environment, keep_memory
from hinas_nb.training.hardware import autocast, compiled

#: Where it is safe, processes are forks of one that has imported all this; elsewhere each imports it for seconds.
_CONTEXT = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
_CONTEXT.set_forkserver_preload([__name__])
#: They start with the allocator of the system, and without threads of libraries: a fork would lose them.
_ENVIRONMENT = dict.fromkeys(ALLOCATOR) | dict.fromkeys(LIBRARY_THREADS, "1")


@dataclass(frozen=True)
class TimingRecord:
    """Holds one round of a timing."""

    round: int
    seconds_by_arm: dict[str, float]
    peak_mib_by_arm: dict[str, float]  # above what its process held before
    parts_by_arm: dict[str, dict[str, float]]  # seconds of a search step by kind of operation, where asked for
    seconds: float
    peak_memory_mib: float


def benchmark(config: TimingConfig, first: int = 0, device: str = "cpu") -> Iterator[TimingRecord]:
    """Measure the rounds from `first` on, after warm calls. Raises ValueError where an arm cannot be built, or dies."""
    if first >= config.rounds:
        return
    began = time.perf_counter()
    with ExitStack() as stack:
        calls = {arm.label: stack.enter_context(_process(arm, config.threads, device)) for arm in config.arms}
        for label, call in calls.items():
            for _ in range(2):  # allocators and libraries settle
                call(label)
        for number in range(first, config.rounds):
            order = list(calls) if number % 2 == 0 else list(calls)[::-1]
            told = config.parts and number == config.rounds - 1
            found = {label: calls[label](label, told) for label in order}
            yield TimingRecord(
                round=number + 1,
                seconds_by_arm={label: found[label][0] for label in calls},
                peak_mib_by_arm={label: found[label][1] for label in calls},
                parts_by_arm={label: found[label][2] for label in calls if found[label][2]},
                seconds=time.perf_counter() - began,
                peak_memory_mib=max(peak for _, peak, _ in found.values()),
            )
            began = time.perf_counter()


def table(records: list[dict], baseline: str | None = None) -> pd.DataFrame:
    """Return a row per arm: median seconds, quartiles, peak MiB and, against `baseline`, how many times faster.

    The ratio is the median of the rounds' ratios; its interval covers the true median with 95 % confidence at
    least, wherever the rounds suffice (six), and is the full range where they do not.
    """
    seconds = pd.DataFrame([record["seconds_by_arm"] for record in records])
    peaks = pd.DataFrame([record["peak_mib_by_arm"] for record in records])
    result = pd.DataFrame({"seconds": seconds.median(), "peak (MiB)": peaks.max()})
    result["seconds, 25 %"], result["seconds, 75 %"] = seconds.quantile(0.25), seconds.quantile(0.75)
    if baseline is not None:
        ratios = seconds.rdiv(seconds[baseline], axis=0)
        low, high = _median_ranks(len(ratios))
        ordered = pd.DataFrame(np.sort(ratios.to_numpy(), axis=0), columns=ratios.columns)
        result["times faster"] = ratios.median()
        result["low"], result["high"] = ordered.iloc[low], ordered.iloc[high]
        result["memory, share"] = result["peak (MiB)"] / result["peak (MiB)"][baseline]
    return result.rename_axis("arm").reset_index()


def _prepared(arm: Arm, device: str = "cpu") -> Callable[[], object]:
    """Return the call that is timed. Raises ValueError, ModuleNotFoundError."""
    if arm.subject == "matrix product":
        left, right = torch.rand(2, arm.height, arm.height, device=device)
        return lambda: left @ right
    generator = torch.Generator().manual_seed(0)
    if arm.subject == "training batch":
        return _batch(arm, generator)
    channels = CHANNELS[(arm.space or arm).task]
    image = torch.rand(arm.batch, channels, arm.height, arm.width_px, generator=generator).to(device)
    make = {"search step": _search_step, "training step": _training_step, "restoration": _restoration}
    return make[arm.subject](arm, image)


def _search_step(arm: Arm, image: Tensor) -> Callable[[], object]:
    with seeded(0):
        net = Supernet(arm.space).to(image.device)
    net.checkpointing = arm.checkpointing
    net = plain_supernet(net) if arm.plain else net
    size = (net.scale * side for side in image.shape[2:])
    clean = torch.rand(*image.shape[:2], *size, device=image.device)
    others = net.architecture.parameters() if arm.phase == "weights" else net.network_parameters()
    return _step(arm, net, image, clean, [] if arm.plain else list(others))


def _training_step(arm: Arm, image: Tensor) -> Callable[[], object]:
    net = _network(arm, image)
    net = stock(net) if arm.plain else net.to(memory_format=torch.channels_last)
    image = _told(net, image if arm.plain else image.contiguous(memory_format=torch.channels_last))
    with torch.no_grad():
        clean = torch.rand_like(net.eval()(image))
    return _step(arm, net.train(), image, clean, [])


def _step(arm: Arm, net: nn.Module, image: Tensor, clean: Tensor, others: list[nn.Parameter]) -> Callable[[], object]:
    """Return a call that computes the gradients of eq. 7 by all parameters but `others`."""

    def step() -> None:
        net.zero_grad(set_to_none=True)
        with frozen(others):
            with autocast(image.device, arm.precision):
                restored = net(image)
            restoration_loss(restored, clean, "mse", 0.6).backward()

    return step


def _batch(arm: Arm, generator: torch.Generator) -> Callable[[], object]:
    """Return a call that makes the next denoising batch, rescaled as released, from images as large as BSDS500's."""
    images = tuple(torch.randint(0, 256, (8, 3, 321, 481), generator=generator, dtype=torch.uint8))
    known = data.ImageSet("random", "train", tuple(map(str, range(len(images)))), images)
    how = {"sigmas": (50.0,), "rescale": True, "seed": 0, "stream": "timing"}
    pairs, steps = data.Pairs(known, task=arm.task, patch=arm.height, batch=arm.batch, **how), itertools.count()
    return lambda: pairs.batch(next(steps))


def _restoration(arm: Arm, image: Tensor) -> Callable[[], object]:
    net = _network(arm, image).eval()
    image = _told(net, image)
    if arm.engine == "onnx":
        run = export.session(net, torch.get_num_threads())  # folds the batch norms itself
        return lambda: run(image)
    if arm.plain:
        net, halo = stock(net), None
    else:
        net, halo = net.folded(), net.halo
    if arm.engine == "compiled":
        net = compiled(net, dynamic=True)
    return lambda: evaluate.restore(net, image, halo)


def _network(arm: Arm, image: Tensor) -> nn.Module:
    return cost.network(arm.network, arm.task, arm.base_width, arm.scale, arm.fold).to(image.device)


def _told(net, image: Tensor) -> Tensor:
    """Return the image with a noise map where the network takes one; its values do not matter here."""
    return data.with_noise_map(image, 50) if net.noise_map else image


@contextmanager
def _process(arm: Arm, threads: int, device: str):
    """Start a process that waits for its turn; yields a function that calls it: seconds, peak MiB and parts if told."""
    ours, theirs = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=_serve, args=(theirs, arm, threads, device), daemon=True)
    with environment(_ENVIRONMENT), caller_left_out():
        process.start()
    theirs.close()

    def call(label: str, told: bool = False) -> tuple[float, float, dict[str, float]]:
        try:
            ours.send(told)
            answer = ours.recv()
        except (EOFError, OSError):
            process.join(10)
            raise ValueError(f"{label} must stay alive to be timed, got exit code {process.exitcode}") from None
        if isinstance(answer, str):
            raise ValueError(f"{label}: {answer}")
        return answer

    try:
        yield call
    finally:
        ours.close()  # it ends by itself, unless it is in the middle of a call
        process.join(5)
        process.kill()
        process.join()


def _serve(connection, arm: Arm, threads: int, device: str) -> None:
    torch.set_num_threads(threads)
    if arm.allocator:
        keep_memory()
    try:
        call = _prepared(arm, device)
        gc.collect()
        reset_peak_memory(device)
        before = peak_memory_mib(device)
        with ExitStack() as stack:
            if arm.subject == "restoration":
                stack.enter_context(torch.inference_mode())
            while True:
                told = connection.recv() and arm.subject == "search step"
                if arm.subject.endswith("step"):
                    call()  # steps follow each other: the first of a turn finds the caches full of another arm's data
                    _wait(device)
                began = time.perf_counter()
                call()
                _wait(device)
                seconds, peak = time.perf_counter() - began, peak_memory_mib(device) - before
                connection.send((seconds, peak, profiling.seconds_by_part(call, seconds) if told else {}))
    except EOFError:
        return  # no more turns
    except Exception as error:
        connection.send(error_line(error))


def _wait(device: str) -> None:
    """Wait until a GPU has done what it was given."""
    if device != "cpu":
        torch.accelerator.synchronize()


def _median_ranks(count: int) -> tuple[int, int]:
    """Return the ranks that hold the median with 95 % confidence (binomial), else the extremes."""
    from scipy.stats import binom

    low = int(binom.ppf(0.025, count, 0.5))
    return (low - 1, count - low) if low > 0 else (0, count - 1)
