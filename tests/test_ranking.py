"""Kendall's tau against counting pairs by hand, its chance level against brute force, and its file."""

import itertools
import json
import math

import numpy as np
import pytest
from pictures_for_tests import image_set
from scipy.stats import kendalltau

from hinas_nb.evidence import ranking
from hinas_nb.experiment.config import SearchConfig
from hinas_nb.files import FileContentError
from hinas_nb.running.store import Store
from hinas_nb.training.search import candidate, search


def by_hand(first, second):
    pairs = list(itertools.combinations(range(len(first)), 2))
    alike = sum((first[i] - first[j]) * (second[i] - second[j]) > 0 for i, j in pairs)
    return (2 * alike - len(pairs)) / len(pairs)


def test_tau_counts_pairs():
    first, second = [3.0, 1.0, 4.0, 1.5, 9.0], [2.0, 7.0, 1.0, 8.0, 2.5]
    found = ranking.agreement(first, second)
    assert found.tau == pytest.approx(by_hand(first, second))
    repeated = np.array([[0, 1, 1, 4, 2], [3, 3, 3, 3, 3]])
    taus = ranking._taus(np.array(first)[repeated], np.array(second)[repeated])
    theirs = kendalltau(np.array(first)[repeated[0]], np.array(second)[repeated[0]]).statistic
    assert taus[0] == pytest.approx(theirs) and math.isnan(taus[1])
    assert found.architectures == 5 and math.isnan(found.low) and math.isnan(found.high)
    assert str(found) == f"tau {found.tau:+.2f}", "too few for an interval"


@pytest.mark.parametrize("correlation", [0.0, 0.7, 0.95])
def test_the_interval_of_tau_covers(correlation):
    """Normal scores of nine architectures (three seeds, squared): their true tau is 2/pi * arcsin(correlation)."""
    draws = np.random.default_rng(0).normal(size=(1000, 2, ranking._FEWEST))
    draws[:, 1] = correlation * draws[:, 0] + math.sqrt(1 - correlation**2) * draws[:, 1]
    true = 2 / math.pi * math.asin(correlation)
    found = [ranking.agreement(*pair, draws=200) for pair in draws]
    assert sum(one.low <= true <= one.high for one in found) / len(found) > 0.92
    assert str(found[0]) == f"tau {found[0].tau:+.2f} [{found[0].low:+.2f}, {found[0].high:+.2f}]"


@pytest.mark.parametrize("count", [4, 5, 6])
def test_what_is_needed_is_rare_among_all_rankings(count):
    taus = [by_hand(range(count), other) for other in itertools.permutations(range(count))]
    needed = ranking._needed_tau(count)
    rare = sum(tau >= needed - 1e-9 for tau in taus) / len(taus)
    assert rare <= 0.025
    below = max((tau for tau in taus if tau < needed - 1e-9), default=-1.0)
    assert sum(tau >= below - 1e-9 for tau in taus) / len(taus) > 0.025


def test_the_verdict_needs_enough_architectures():
    ordered = [float(value) for value in range(8)]
    assert ranking.agreement(ordered, ordered).verdict == "supports"
    assert ranking.agreement(ordered, ordered[::-1]).verdict == "contradicts"
    assert ranking.agreement(ordered[:3], ordered[:3]).verdict == "undecided"
    assert ranking._needed_tau(3) == math.inf
    assert ranking.agreement(ordered, [1, 0, 3, 2, 7, 4, 6, 5]).tau > 0
    assert ranking.agreement(ordered, [3, 7, 0, 5, 2, 6, 1, 4]).verdict == "undecided"


def test_unequal_scores_are_one_line():
    with pytest.raises(ValueError, match="scores must be two of each of at least 2 architectures, got 3 and 2"):
        ranking.agreement([1, 2, 3], [1, 2])


@pytest.mark.parametrize("strategy", ["gradient", "random"])
def test_a_search_tells_what_its_weights_think_of_candidates(tmp_path, strategy):
    space = {"base_width": 2, "nodes": 1, "layers": 2}
    small = {"patch": 16, "batch": 2, "epochs": 1, "warmup_epochs": 0, "validate_from": 0, "split": "all"}
    config = SearchConfig(space=space, data="folder:/pictures", strategy=strategy, candidates=3, **small)
    store = Store(tmp_path)
    store.data_hash = lambda *_: "0"
    folder = store.folder(config)
    folder.begin("cpu", 1)
    list(search(config, [image_set(2, seed=seed) for seed in range(3)], folder))
    table = ranking.scored_by(config, store)
    assert table["genotype"].tolist() == [candidate(config, index) for index in range(3)]
    assert table["psnr"].between(0, 60).all() and table["psnr"].nunique() == 3
    best = table.loc[(table["ssim"] + table["psnr"] / 100).idxmax(), "genotype"]
    found = json.loads(folder.read_text("genotype.json"))
    assert (json.loads(best.to_json("denoise")) == found) == (strategy == "random")
    folder.write_text("candidates.json", "[]")
    with pytest.raises(FileContentError, match=r"candidates.json must hold scored genotypes .* to search anew"):
        ranking.scored_by(config, store)
