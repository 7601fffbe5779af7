"""Tell whether found and chosen architectures beat random ones: trained alike, at matched latency, with every seed.

Notebook `17_better_than_chance` compares what searches found and what was chosen from pools with random genotypes.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from hinas_nb.evidence import fronts
from hinas_nb.experiment.config import Drawn, Selected, TimingConfig, TrainConfig
from hinas_nb.experiment.profile import Profile
from hinas_nb.experiment.runs import Run
from hinas_nb.running.store import Store
from hinas_nb.scoring import protocol
from hinas_nb.scoring.units import METRICS
from hinas_nb.training import benchmark

#: Trainings that differ in the genotype and the training seed alone, by kind ("found", "chosen", ...), number and seed.
Trainings = Mapping[tuple[str, int, int], TrainConfig]
_KEY = ["kind", "number", "seed"]


def like(training: TrainConfig, sizes: Sequence[Selected], count: int) -> list[TrainConfig]:
    """Return the training of so many random genotypes for each of these, with as many multiply-adds."""
    return [training.but(genotype=Drawn(found=one, seed=number)) for one in sizes for number in range(count)]


def median(trainings: Sequence[TrainConfig]) -> Selected:
    """Return the genotype that scores in the middle of these on V, the lower of two."""
    return Selected(trainings=tuple(trainings), place=len(trainings) // 2 + 1)


def pooled(pools: Sequence[Sequence[TrainConfig]]) -> dict[tuple[str, int], TrainConfig]:
    """Return the trainings of all pools by kind and number: the first of a pool was found, the others are random."""
    found = {("found", number): pool[0] for number, pool in enumerate(pools)}
    drawn = (one for pool in pools for one in pool[1:])
    return found | {(fronts.RANDOM, number): one for number, one in enumerate(drawn)}


def seeded(kinds: Mapping[str, Sequence[TrainConfig]], seeds: Sequence[int]) -> dict[tuple[str, int, int], TrainConfig]:
    """Return every training with every training seed. kinds: trainings by kind."""
    return {
        (kind, number, seed): one.but(seed=seed)
        for kind, some in kinds.items()
        for number, one in enumerate(some)
        for seed in seeds
    }


def tests(budget: Profile, trainings: Trainings, sigma: float) -> list[Run]:
    """Return the scoring of every training at the noise that it is trained for, labelled by its key."""
    rule = protocol.get("denoise-standard", sigma=sigma)
    return [Run(budget.evaluate(one, protocol=rule), dict(zip(_KEY, key))) for key, one in trainings.items()]


def timed(trainings: Trainings, height: int, width_px: int) -> TimingConfig:
    """Return the timing of an image of so many pixels by every architecture, in turns, see `fronts.timed`."""
    each = {key[:2]: one.but(genotype=Selected(trainings=(one,))) for key, one in trainings.items()}
    return fronts.timed(each, height, width_px)


def architectures(trainings: Trainings, tests: pd.DataFrame, timing: TimingConfig, store: Store) -> pd.DataFrame:
    """Return a row an architecture: kind, number, V and test (PSNR in dB, mean of the training seeds), ms an image.

    tests: their scores, a row an image.
    """
    best = {key: fronts.best_psnr(one, store) for key, one in trainings.items()}
    table = pd.Series(best, name="V").rename_axis(_KEY).to_frame()
    table["test"] = tests.groupby(_KEY)["psnr"].mean()
    table = table.groupby(["kind", "number"], sort=False).mean().reset_index()
    seconds = benchmark.table(store.folder(timing).records()).set_index("arm")["seconds"]
    return table.assign(ms=[1000 * seconds[fronts.label(*key)] for key in zip(table["kind"], table["number"])])


def above(table: pd.DataFrame) -> pd.DataFrame:
    """Return what each kind of architecture scores above random ones of its latency (dB), with the 95 % interval.

    table: see `architectures`. Intervals are over architectures, see `fronts.beyond`. Columns: kind, images, above
    random, low, high, detectable, verdict (on "better").
    """
    rows = []
    for images in ("V", "test"):
        excess = fronts.beyond(table.assign(psnr=table[images])).rename(columns={"excess": "above random"})
        excess.insert(1, "images", images)
        rows.append(excess.drop(columns="networks"))
    return pd.concat(rows, ignore_index=True)


def in_words(table: pd.DataFrame) -> str:
    """Return `found +0.05 [-0.01, +0.11] dB on V (undecided), ...`. table: see `above`, or rows of it."""
    return ", ".join(
        f"{row['kind']} {METRICS['psnr'].text(row['above random'], row['low'], row['high'])} dB on {row['images']} "
        f"({fronts.outcome(row)})"
        for row in table.to_dict("records")
    )
