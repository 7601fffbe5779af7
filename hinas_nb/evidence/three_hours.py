"""Tell what three hours on two cores buy: the account of the Runs, rounds of the halving, scores, milliseconds.

Notebook `06_best_for_three_hours` searches, chooses by successive halving on V among what was found and random
architectures, trains what it kept, and compares it with what the same hours make of other networks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hinas_nb.evidence import fronts, rivals, stats, timing_runs
from hinas_nb.experiment.config import OF_A_GENOTYPE, Comparator, SearchConfig, Selected, TimingConfig, TrainConfig
from hinas_nb.experiment.profile import Profile
from hinas_nb.experiment.runs import Run, RunConfig
from hinas_nb.running.store import Store
from hinas_nb.scoring import protocol
from hinas_nb.scoring.units import METRICS
from hinas_nb.training import benchmark
from hinas_nb.training.search import candidate

#: Trainings that differ in the genotype and the training seed alone, by kind ("found", "chosen", ...), number and seed.
ShortTrainings = Mapping[tuple[str, int, int], TrainConfig]
ALSO = {"BSDS500": ("BSD68",)}  # by test set of the budget: the usual part of it, scored whole


def pools(training: TrainConfig, searches: Sequence[SearchConfig], drawn: int) -> tuple[tuple[TrainConfig, ...], ...]:
    """Return for each search the same training of what it found and of so many random genotypes of its space.

    Raises ValueError.
    """
    if drawn < 0:
        raise ValueError(f"drawn must be 0 or more, got {drawn}")
    genotypes = ((one, *(candidate(one, number) for number in range(drawn))) for one in searches)
    return tuple(tuple(training.but(genotype=one) for one in pool) for pool in genotypes)


def others(budget: Profile, settings: Mapping[str, Any]) -> dict[str, TrainConfig]:
    """Return the trainings of FFDNet and DnCNN, by title, that take as long as the found network's.

    settings: of the long trainings. Both train at the learning rate of the budget.
    """
    best = budget.denoise.best
    settings = {**best.train, **settings}
    shared = {name: value for name, value in settings.items() if name not in {*OF_A_GENOTYPE, "lr"}}
    networks = Comparator(name="ffdnet"), Comparator(name="dncnn")
    return {rivals.title(one): budget.train_as_long("denoise", one, pace=best.pace, **shared) for one in networks}


def scores(budget: Profile, models: Mapping[str, TrainConfig | str], sigmas: Sequence[float]) -> list[Run]:
    """Return the scoring of every model at every noise level, under the standard protocol.

    models: by title, as `Profile.evaluate` takes them. Labels are task, data, degradation, arm and seed.
    """
    runs = []
    for sigma in sigmas:
        rule = protocol.get("denoise-standard", sigma=float(sigma))
        for title, model in models.items():
            base = budget.evaluate(model, protocol=rule)
            also = [base.but(data=name, every=1) for name in ALSO.get(base.data, ())]
            runs += [run for one in (base, *also) for run in rivals.labelled({title: one})]
    return runs


def short_trainings(short: TrainConfig, genotypes: Mapping[str, Sequence], seeds: Sequence[int]) -> ShortTrainings:
    """Return the same short training of every genotype with every training seed. genotypes: by kind."""
    return {
        (kind, number, seed): short.but(genotype=one, seed=seed)
        for kind, some in genotypes.items()
        for number, one in enumerate(some)
        for seed in seeds
    }


def tests(budget: Profile, trainings: ShortTrainings, sigma: float) -> list[Run]:
    """Return the scoring of every short training at the noise that it is trained for, labelled by its key."""
    rule = protocol.get("denoise-standard", sigma=sigma)
    names = ("kind", "number", "seed")
    return [Run(budget.evaluate(one, protocol=rule), dict(zip(names, key))) for key, one in trainings.items()]


def timed(budget: Profile, long: Mapping[str, TrainConfig], short: ShortTrainings) -> TimingConfig:
    """Return the timing of an image by every network of the long trainings and by every genotype of the short ones.

    The image has the size that the budget times denoisers at.
    """
    each = {key[:2]: one.but(genotype=Selected(trainings=(one,))) for key, one in short.items()}
    image = timing_runs.shapes(budget.search("denoise").space.base_width).image
    return fronts.timed({(title, 0): one for title, one in long.items()} | each, *image)


def spent(stages: Mapping[str, Sequence[RunConfig]], store: Store) -> pd.DataFrame:
    """Return what every stage took: its Runs, and hours of one core (seconds of a Run times its threads)."""
    rows = []
    for stage, configs in stages.items():
        notes = [store.folder(config).note() for config in configs]
        rows.append((stage, len(notes), sum(one.seconds * one.threads for one in notes) / 3600))
    return pd.DataFrame(rows, columns=["stage", "Runs", "core hours"])


def architectures(trainings: ShortTrainings, tests: pd.DataFrame, timing: TimingConfig, store: Store) -> pd.DataFrame:
    """Return a row an architecture: kind, number, V and test (PSNR in dB, mean of the training seeds), ms an image.

    tests: their scores, a row an image.
    """
    best = {key: fronts.best_psnr(one, store) for key, one in trainings.items()}
    table = pd.Series(best, name="V").rename_axis(["kind", "number", "seed"]).to_frame()
    table["test"] = tests.groupby(["kind", "number", "seed"])["psnr"].mean()
    table = table.groupby(["kind", "number"], sort=False).mean().reset_index()
    seconds = benchmark.table(store.folder(timing).records()).set_index("arm")["seconds"]
    return table.assign(ms=[1000 * seconds[fronts.label(*key)] for key in zip(table["kind"], table["number"])])


def above_chance(table: pd.DataFrame) -> pd.DataFrame:
    """Return what each kind of architecture scores above random ones (dB): Welch's interval over architectures.

    table: see `architectures`. Columns: kind, images, above random, low, high, detectable, verdict (on "better").
    """
    rows = []
    for kind in (name for name in dict.fromkeys(table["kind"]) if name != fronts.RANDOM):
        for images in ("V", "test"):
            own, random = (table.loc[table["kind"] == one, images] for one in (kind, fronts.RANDOM))
            effect = stats.unpaired(own, random)
            ends = effect.difference, effect.low, effect.high, effect.detectable
            rows.append((kind, images, *ends, stats.verdict(effect, 1)))
    return pd.DataFrame(rows, columns=["kind", "images", "above random", "low", "high", "detectable", "verdict"])


def tried(rounds: Mapping[str, Sequence[TrainConfig]], store: Store) -> pd.DataFrame:
    """Return the best score on V (dB) of every short training, with its number of steps."""
    rows = [
        (name, number, one.steps, fronts.best_psnr(one, store))
        for name, configs in rounds.items()
        for number, one in enumerate(configs)
    ]
    return pd.DataFrame(rows, columns=["round", "number", "steps", "PSNR on V (dB)"])


def points(timing: TimingConfig, psnr: Mapping[str, float], store: Store) -> pd.DataFrame:
    """Return milliseconds an image (median of the rounds) and PSNR (dB) by network, as `figures.front_plot` takes it.

    psnr: by title of a network. kind: that title.
    """
    seconds = benchmark.table(store.folder(timing).records()).set_index("arm")["seconds"]
    titles = [title for title in psnr if fronts.label(title, 0) in seconds]
    rows = [{"kind": one, "ms": 1000 * seconds[fronts.label(one, 0)], "psnr": psnr[one]} for one in titles]
    return pd.DataFrame(rows)


def in_words(lead: pd.DataFrame, points: pd.DataFrame, ours: str, hours: float, chance: pd.DataFrame) -> str:
    """Return the answer: what the found network scores above each other one, its milliseconds, and what chance finds.

    chance: see `above_chance`.
    """
    first, psnr = lead[lead["data"] == lead["data"].iloc[0]], METRICS["psnr"]
    clauses = [
        f"{row['control']} {psnr.text(row['difference'], row['images_low'], row['images_high'])} dB"
        for row in first.to_dict("records")
    ]
    gains = []
    for row in chance.to_dict("records"):
        gain = psnr.text(row["above random"], row["low"], row["high"])
        gains.append(f"{row['kind']} {gain} dB on {row['images']} ({row['verdict']})")
    times = points.set_index("kind")["ms"]
    beside = ", ".join(f"{name} {value:.0f}" for name, value in times.items() if name != ours)
    return (
        f"In {hours:.1f} hours of two cores, beside ({first['data'].iloc[0]}, sigma {first['degradation'].iloc[0]:g}, "
        f"intervals over images): {', '.join(clauses)}; milliseconds an image: {times[ours]:.0f} ({beside}). "
        f"Better than random ones of its size, all trained alike for a short while? {', '.join(gains)}."
    )
