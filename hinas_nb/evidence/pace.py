"""Equal time instead of equal steps: what a training step of each network takes on one thread.

A training's learning rate needs to know its last step, and a Run must be the same bit by bit wherever it is computed,
so a Run has a number of steps and no number of seconds. `Profile.train_as_long` derives the one from the other with
the paces that stand in the profile's file; `measure` is how they were found. Notebooks `20_denoising_comparison` and
`21_super_resolution_comparison` show the seconds that the Runs then took.
"""

import statistics
import time
from collections.abc import Sequence

import torch

from hinas_nb import data
from hinas_nb.experiment.config import Comparator, Task
from hinas_nb.experiment.profile import OURS, Profile
from hinas_nb.method.genotype import Genotype
from hinas_nb.training import train

WARM = 2  # first steps that do not count


def measure(
    profile: Profile, task: Task, genotype: Genotype, others: Sequence[Comparator], rounds: int = 9
) -> dict[str, float]:
    """Median seconds of a step of the derived network and of the others, taken in turns, by name.

    Seconds of this process's CPU on one thread: what else the machine does hardly shows. The patches come from the
    embedded photographs: their content does not change the time. Start the process with `subprocesses.ALLOCATOR` in its
    environment, as Runs are: with the system's own the derived network is slower by a fifth, the others by a tenth.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trainings = {OURS: _training(profile, task, genotype)}
        trainings |= {other.label: _training(profile, task, other) for other in others}
        taken: dict[str, list[float]] = {name: [] for name in trainings}
        for step in range(WARM + rounds):
            for name, training in trainings.items():
                taken[name].append(_step(training, step))
    finally:
        torch.set_num_threads(threads)
    return {name: statistics.median(seconds[WARM:]) for name, seconds in taken.items()}


def _training(profile: Profile, task: Task, network: Genotype | Comparator) -> train._State:
    here = {"data": "photos", "split": "train", "validation": "validation", "validation_patches": 1}
    config = profile.train(task, network).but(**here)
    photos = data.load("photos", "train", scale=config.scale)
    state = train._State(
        config, network if isinstance(network, Genotype) else None, photos, photos, torch.device("cpu")
    )
    state.net.train()
    return state


def _step(training: train._State, step: int) -> float:
    began = time.process_time()
    training._step(step)
    return time.process_time() - began
