"""Tell what three hours on two cores buy: the account of the Runs, rounds of the halving, scores, milliseconds.

Notebook `06_best_for_three_hours` searches, chooses by successive halving on V among what was found and random
architectures, trains what it kept, and compares it with what the same hours make of other networks.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from hinas_nb.evidence import fronts, paper_tables, rivals
from hinas_nb.experiment.config import OF_A_GENOTYPE, Comparator, SearchConfig, Selected, TimingConfig, TrainConfig
from hinas_nb.experiment.profile import Profile
from hinas_nb.experiment.runs import Run, RunConfig
from hinas_nb.running.store import Store
from hinas_nb.scoring import protocol
from hinas_nb.scoring.units import METRICS
from hinas_nb.training import benchmark
from hinas_nb.training.search import candidate

TWO_CORES = "hours on two cores, at least"
_PLACE = ["data", "degradation"]
ALSO = {"BSDS500": ("BSD68",)}  # by test set of the budget: the usual part of it, scored whole


class Halving(NamedTuple):
    """Holds the trainings of a successive halving, all judged on V: rounds that are fewer and longer each time."""

    pools: tuple[tuple[TrainConfig, ...], ...]  # of each search: what it found, then random genotypes of its space
    first: tuple[TrainConfig, ...]  # of the best of each pool
    second: tuple[TrainConfig, ...]  # of the best of the first round

    @property
    def kept(self) -> Selected:
        """Return the best genotype of the second round."""
        return Selected(trainings=self.second)


def halving(
    training: TrainConfig, searches: Sequence[SearchConfig], steps: Sequence[int], drawn: int, finalists: int
) -> Halving:
    """Return the same training in three lengths, for ever fewer genotypes: of every pool its best, then the best few.

    steps: of a pool, the first and the second round. drawn: random genotypes of a pool. Raises ValueError.
    """
    if drawn < 0:
        raise ValueError(f"drawn must be 0 or more, got {drawn}")
    if not 1 <= finalists <= len(searches):
        raise ValueError(f"finalists must be in [1, {len(searches)}] (searches), got {finalists}")
    short, longer, longest = (training.but(steps=count) for count in steps)
    genotypes = ((one, *(candidate(one, number) for number in range(drawn))) for one in searches)
    pools = tuple(tuple(short.but(genotype=one) for one in pool) for pool in genotypes)
    first = tuple(longer.but(genotype=Selected(trainings=pool)) for pool in pools)
    places = range(1, finalists + 1)
    return Halving(pools, first, tuple(longest.but(genotype=Selected(trainings=first, place=at)) for at in places))


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


def anchors(budget: Profile, scored: Sequence[Run], sigma: float) -> list[Run]:
    """Return the scorings by BM3D and WNNM of `rivals.anchors`, where they are of the images that are scored here."""
    arms = {run.labels["arm"] for run in scored}
    images = {(run.config.data, run.config.split, run.config.every) for run in scored}
    known = rivals.labelled(rivals.anchors(budget, sigma))
    there = [run for run in known if (run.config.data, run.config.split, run.config.every) in images]
    return [run for run in there if run.labels["arm"] not in arms]


def spent(stages: Mapping[str, Sequence[RunConfig]], store: Store) -> pd.DataFrame:
    """Return what every stage took: its Runs, hours of one core (seconds of a Run times its threads), and of two.

    Those of two cores are the least there can be: a stage of one Run on one thread leaves a core idle.
    """
    rows = []
    for stage, configs in stages.items():
        notes = [store.folder(config).note() for config in configs]
        hours = sum(one.seconds * one.threads for one in notes) / 3600
        rows.append((stage, len(notes), hours, hours / min(2, sum(one.threads for one in notes))))
    return pd.DataFrame(rows, columns=["stage", "Runs", "core hours", TWO_CORES])


def tried(rounds: Mapping[str, Sequence[TrainConfig]], store: Store) -> pd.DataFrame:
    """Return the best score on V (dB) of every short training, with its number of steps."""
    rows = [
        (name, number, one.steps, fronts.best_psnr(one, store))
        for name, configs in rounds.items()
        for number, one in enumerate(configs)
    ]
    return pd.DataFrame(rows, columns=["round", "number", "steps", "PSNR on V (dB)"])


def points(
    trainings: Mapping[str, TrainConfig], timing: TimingConfig, psnr: Mapping[str, float], store: Store
) -> pd.DataFrame:
    """Return a row a network: its title (kind), ms (median of the rounds), psnr, and the training's steps and minutes.

    psnr: in dB, by title. `figures.front_plot` takes the table.
    """
    seconds = benchmark.table(store.folder(timing).records()).set_index("arm")["seconds"]
    rows = []
    for title, training in trainings.items():
        took = store.folder(training).note().seconds / 60
        row = {"kind": title, "ms": 1000 * seconds[fronts.label(title, 0)], "psnr": psnr[title]}
        rows.append(row | {"steps": training.steps, "minutes": took})
    return pd.DataFrame(rows)


def elsewhere(table: pd.DataFrame, ours: str) -> pd.DataFrame:
    """Return the scores of networks that are trained here beside those of their own papers, where these are known.

    table: `ablation.summary` of the scores. Columns: system, data, degradation, here, published, kept (our own
    network on the same images; all in dB), source.
    """
    psnr = table[table["metric"] == "psnr"].rename(columns={"mean": "here"})
    kept = psnr[psnr["arm"] == ours].rename(columns={"here": "kept"})
    known = paper_tables.elsewhere().rename(columns={"system": "arm", "psnr": "published"})
    both = psnr.merge(known, on=["arm", *_PLACE], suffixes=("", " ")).merge(kept[[*_PLACE, "kept"]], on=_PLACE)
    return both[["arm", *_PLACE, "here", "published", "kept", "source"]].rename(columns={"arm": "system"})


def in_words(
    lead: pd.DataFrame, points: pd.DataFrame, others: pd.DataFrame, spent: pd.DataFrame, ours: str, kind: str
) -> str:
    """Return the answer: what the kept network cost and scores, above each other one, and its milliseconds.

    lead: differences in PSNR at one noise level; others: of `elsewhere`; kind: what the kept architecture is.
    """
    first, psnr = lead[lead["data"] == lead["data"].iloc[0]], METRICS["psnr"]
    clauses = [
        f"{psnr.text(row['difference'], row['images_low'], row['images_high'])} dB beside {row['control']}"
        for row in first.to_dict("records")
    ]
    own = points.set_index("kind").loc[ours]
    times = points[points["kind"] != ours]
    beside = ", ".join(f"{row['kind']} {row['ms']:.0f}" for row in times.to_dict("records"))
    briefly = [
        f"{row['system']}'s {row['here']:.2f} dB on {row['data']} ({row['published']:.2f} published, the kept one "
        f"{row['kept']:.2f})"
        for row in others[others["degradation"] == first["degradation"].iloc[0]].to_dict("records")
    ]
    trained = f" Others are trained here as briefly, which gives {', '.join(briefly)}." if briefly else ""
    return (
        f"After {spent['core hours'].sum():.1f} core hours (on two cores {spent[TWO_CORES].sum():.1f} hours at least) "
        f"the kept network, {kind}, scores {own['psnr']:.2f} dB ({first['data'].iloc[0]}, sigma "
        f"{first['degradation'].iloc[0]:g}; one training each, intervals over images): {', '.join(clauses)}; "
        f"milliseconds an image: {own['ms']:.0f} ({beside}).{trained}"
    )
