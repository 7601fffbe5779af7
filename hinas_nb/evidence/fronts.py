"""Accuracy on V against milliseconds for networks of several kinds, and what a kind is worth at matched latency.

Notebook `16_latency_aware_search` compares what searches find, with and without latency as an aim, with random
genotypes. Labels of a training are its `kind` and its `number` (of the seed, or of the draw).
"""

from collections.abc import Mapping
from importlib.util import find_spec

import numpy as np
import pandas as pd

from hinas_nb.evidence import stats
from hinas_nb.evidence.trade_off import pareto
from hinas_nb.experiment.config import Arm, TimingConfig, TrainConfig
from hinas_nb.running.compute import genotype_of, unmade
from hinas_nb.running.store import Store
from hinas_nb.scoring.units import METRICS
from hinas_nb.training import benchmark

Trainings = Mapping[tuple[str, int], TrainConfig]  # by kind and number
RANDOM = "random"
_OUTCOMES = dict(zip(stats.VERDICTS, ("better", "worse", "undecided", "no evidence yet")))  # of a claim of "better"
SMALL = 64 * 64  # pixels: to export a network takes longer than its restoration of so small an image is worth


def timed(trainings: Trainings, height: int, width_px: int, rounds: int = 6, threads: int = 1) -> TimingConfig:
    """Return the timing of a restoration by every network, in turns; by ONNX Runtime where it is installed.

    Images of a budget that tries everything at a tiny size are restored by torch: see `SMALL`.
    """
    exported = height * width_px > SMALL and find_spec("onnxruntime") and find_spec("onnxscript")
    engine = "onnx" if exported else "eager"
    arms = [
        Arm(
            label=label(*key), subject="restoration", network=one.genotype,
            base_width=one.base_width, fold=one.fold, engine=engine, height=height, width_px=width_px,
        )
        for key, one in trainings.items()
    ]  # fmt: skip
    return TimingConfig(what=f"fronts, {engine}, {height}x{width_px}", arms=tuple(arms), threads=threads, rounds=rounds)


def label(kind: str, number: int) -> str:
    return f"{kind} {number}"


def networks(trainings: Trainings, timing: TimingConfig, store: Store) -> pd.DataFrame:
    """Return a row a network: kind, number, ms (median of the rounds), psnr (dB, its best on V), front...

    All Runs must be done. front: whether no other network is as fast and scores as high.
    """
    milliseconds = benchmark.table(store.folder(timing).records()).set_index("arm")["seconds"] * 1000
    rows = []
    for (kind, number), training in trainings.items():
        genotype = genotype_of(training, store)
        net = unmade(genotype, training)
        found = {"kind": kind, "number": number, "ms": milliseconds[label(kind, number)]}
        found["psnr"] = best_psnr(training, store)
        found |= {"parameters": net.parameters_live, "receptive radius": net.halo}
        found["skips"] = sum(name == "skip" for cell in genotype.cells for node in cell for name, _ in node)
        rows.append(found | {"genotype": genotype.to_json()})
    table = pd.DataFrame(rows)
    return table.assign(front=pareto(table["ms"], table["psnr"]))


def best_psnr(training: TrainConfig, store: Store) -> float:
    """Return the best PSNR on V (dB) that a training came to."""
    return max(record["validation_psnr"] for record in store.folder(training).records())


def beyond(table: pd.DataFrame, control: str = RANDOM) -> pd.DataFrame:
    """Return how much better each kind of search is than the control at its latency, with the 95 % interval.

    psnr rises with log(ms) by one slope for the kind and for the control; the `excess` is what the kind lies higher
    (see `stats.adjusted`). Columns: kind, networks, excess (dB), low, high, detectable, verdict.
    """
    other, rows = table[table["kind"] == control], []
    for kind, own in table[~table["kind"].isin([RANDOM, control])].groupby("kind", sort=False):
        effect = stats.adjusted(own["psnr"], other["psnr"], np.log(own["ms"]), np.log(other["ms"]))
        rows.append(
            (kind, len(own), effect.difference, effect.low, effect.high, effect.detectable, stats.verdict(effect, 1))
        )
    return pd.DataFrame(rows, columns=["kind", "networks", "excess", "low", "high", "detectable", "verdict"])


def by_seed(table: pd.DataFrame) -> pd.DataFrame:
    """Return how each kind of search differs from the plain one with the same seed, whatever the latency of both.

    Columns: kind, seeds, ms (change in percent of the plain one's), psnr (dB), low, high (95 % of psnr), detectable.
    """
    other, rows = table[table["kind"] == "plain"].set_index("number"), []
    for kind, own in table[~table["kind"].isin([RANDOM, "plain"])].groupby("kind", sort=False):
        paired = own.set_index("number")[["ms", "psnr"]]
        effect = stats.paired((paired["psnr"] - other["psnr"]).dropna())
        slower = 100 * (paired["ms"] / other["ms"] - 1).mean()
        rows.append((kind, effect.seeds, slower, effect.difference, effect.low, effect.high, effect.detectable))
    return pd.DataFrame(rows, columns=["kind", "seeds", "ms", "psnr", "low", "high", "detectable"])


def in_words(row: Mapping) -> str:
    """Return `+0.05 [-0.01, +0.11] dB`; without an interval where there is none."""
    return f"{METRICS['psnr'].text(row['excess'], row['low'], row['high'])} dB"


def outcome(row: Mapping) -> str:
    """Return `better`, `worse` or `undecided`: a verdict on the claim of being better, as it is said in a sentence."""
    return _OUTCOMES[row["verdict"]]
