"""Does the supernet's ranking of architectures say how they rank when each is trained alone?

Every search by shared weights rests on it (Li and Talwalkar, 2020). The measure is Kendall's tau: of all pairs of
architectures, the share ordered alike minus the share ordered the other way. Notebook `15_search_stability`.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from hinas_nb.experiment.config import SearchConfig
from hinas_nb.files import FileContentError
from hinas_nb.method.genotype import Genotype
from hinas_nb.running.store import Store

#: Architectures from which the bootstrap covers what it says. Fewer are often all in the same order by chance: then
#: every draw has a tau of 1, and the interval no width (four of a true tau of 0.7 are covered by 0.56).
_FEWEST = 9
_TAIL = 0.025  # on each side of a 95 % interval, and of what is told from chance


@dataclass(frozen=True)
class Agreement:
    """Says how alike two rankings are.

    low, high: 95 % percentile bootstrap over the architectures; NaN below `_FEWEST` of them.
    p: two-sided, of rankings that have nothing in common. needed: the smallest tau told from chance with so many
        architectures (inf: none can be).
    """

    tau: float
    low: float
    high: float
    p: float
    architectures: int
    needed: float

    @property
    def verdict(self) -> str:
        """Return whether the one ranking predicts the other: supports, contradicts or undecided."""
        if not self.p < 2 * _TAIL:
            return "undecided"
        return "supports" if self.tau > 0 else "contradicts"

    def __str__(self) -> str:
        """Return `tau +0.50 [+0.10, +0.80]`, without the interval where there is none."""
        return f"tau {self.tau:+.2f}" + ("" if math.isnan(self.low) else f" [{self.low:+.2f}, {self.high:+.2f}]")


def agreement(predicted: Sequence[float], actual: Sequence[float], draws: int = 2000, seed: int = 0) -> Agreement:
    """Return Kendall's tau-b of two scores of the same architectures, with its 95 % interval.

    Raises ValueError unless there are two scores each of at least two architectures.
    """
    first, second = np.asarray(predicted, float), np.asarray(actual, float)
    if first.shape != second.shape or first.ndim != 1 or len(first) < 2:
        raise ValueError(f"scores must be two of each of at least 2 architectures, got {len(first)} and {len(second)}")
    count = len(first)
    found = kendalltau(first, second)
    chosen = np.random.default_rng(seed).integers(count, size=(draws, count))
    low = high = math.nan
    if count >= _FEWEST:
        low, high = np.nanquantile(_taus(first[chosen], second[chosen]), [_TAIL, 1 - _TAIL])
    return Agreement(float(found.statistic), float(low), float(high), float(found.pvalue), count, _needed_tau(count))


def _needed_tau(count: int) -> float:
    """Return the smallest tau that rankings without anything in common reach in at most 2.5 % of cases; inf if none is.

    From the exact distribution of pairs ordered alike in a random permutation.
    """
    ways = np.ones(1)
    for size in range(2, count + 1):
        ways = np.convolve(ways, np.full(size, 1 / size))
    alike = np.arange(len(ways))
    rare = alike[np.cumsum(ways[::-1])[::-1] <= _TAIL]
    return 2 * rare[0] / (len(ways) - 1) - 1 if len(rare) else math.inf


def _taus(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return tau-b of every row of two arrays; NaN where a row has one value only."""
    signs = [np.sign(rows[:, :, None] - rows[:, None, :]) for rows in (first, second)]
    alike, *untied = (np.sum(a * b, axis=(1, 2)) for a, b in (signs, signs[:1] * 2, signs[1:] * 2))
    with np.errstate(invalid="ignore"):
        return alike / np.sqrt(untied[0] * untied[1])


def scored_by(search: SearchConfig, store: Store) -> pd.DataFrame:
    """Return the random architectures that a finished search with `candidates` scored with its shared weights.

    Columns: genotype, psnr (dB) and ssim on V, in the order of `search.candidate`. Raises FileContentError.
    """
    folder = store.folder(search)
    path = folder.path / "candidates.json"
    text = folder.read_text(path.name)
    try:
        table = pd.DataFrame(json.loads(text))[["genotype", "psnr", "ssim"]]
        return table.assign(genotype=table["genotype"].map(Genotype.from_json))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileContentError(f"{path} must hold scored genotypes ({error}); delete {folder.path} to search anew") \
            from None  # fmt: skip
