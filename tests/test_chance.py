"""Notebook 17: who competes with chance, on which terms, and when chance is beaten."""

import pandas as pd
import pytest
from test_three_hours import ROUNDS, TRAIN, finished

from hinas_nb.evidence import chance, fronts, three_hours
from hinas_nb.running.store import Store

SEARCHES = [TRAIN.genotype.but(seed=seed) for seed in (0, 1)]
HALVING = three_hours.halving(TRAIN, SEARCHES, ROUNDS, drawn=3, finalists=1)
KEYS = [("found", 0), ("found", 1), ("random", 0), ("random", 1), ("random", 2)]
TRIALS = {(*key, seed): TRAIN.but(seed=10 * place + seed) for place, key in enumerate(KEYS) for seed in (0, 1)}


def scored(tmp_path, milliseconds) -> pd.DataFrame:
    """Return the architectures of trainings where found ones score 1 dB more on V, and 0.1 dB a number everywhere."""
    store = Store(tmp_path)
    for (kind, number, seed), config in TRIALS.items():
        finished(store, config, [{"validation_psnr": 25.0 + (kind == "found") + 0.1 * number + 0.2 * seed}])
    rows = [{"kind": k, "number": n, "seed": s, "psnr": 24.0 + 0.1 * n} for k, n, s in TRIALS for _ in range(3)]
    timing = chance.timed(TRIALS, 32, 32)
    seconds = {fronts.label(*key): one / 1000 for key, one in zip(KEYS, milliseconds)}
    finished(store, timing, [{"seconds_by_arm": seconds, "peak_mib_by_arm": dict.fromkeys(seconds, 1.0)}])
    return chance.architectures(TRIALS, pd.DataFrame(rows), timing, store)


def test_pools_hold_what_was_found_and_all_random_ones_by_number():
    pooled = chance.pooled(HALVING.pools)
    assert list(pooled) == [("found", 0), ("found", 1)] + [("random", number) for number in range(6)]
    assert [pooled["found", number].genotype for number in (0, 1)] == SEARCHES
    assert len(set(pooled.values())) == 8


def test_every_architecture_is_trained_alike_with_every_seed():
    alike = chance.like(TRAIN, HALVING.kept, 2)
    trials = chance.seeded({"found": [TRAIN], "random": alike}, (3, 4))
    assert list(trials) == [(*key, seed) for key in (("found", 0), ("random", 0), ("random", 1)) for seed in (3, 4)]
    assert all(
        one.seed == seed and one.but(genotype=SEARCHES[0], seed=0) == TRAIN for (*_, seed), one in trials.items()
    )
    assert len({trials["random", number, 3].genotype for number in (0, 1)}) == 2
    assert {one.genotype.found for one in alike} == {HALVING.kept}


def test_an_architecture_is_the_mean_of_its_training_seeds(tmp_path):
    table = scored(tmp_path, [100, 200, 300, 400, 500])
    assert table["V"].tolist() == pytest.approx([26.1, 26.2, 25.1, 25.2, 25.3])
    assert table["test"].tolist() == pytest.approx([24.0, 24.1, 24.0, 24.1, 24.2])
    assert table["ms"].tolist() == pytest.approx([100, 200, 300, 400, 500])


def test_chance_is_beaten_only_by_a_whole_interval(tmp_path):
    table = chance.above(scored(tmp_path, [100, 200, 100, 200, 400]))
    assert table["kind"].eq("found").all() and len(table) == 4
    above = table.set_index(["images", "latency"])
    raw, matched = above.loc["V", "as it is"], above.loc["V", chance.MATCHED]
    assert raw["above random"] == pytest.approx(0.95) and raw["verdict"] == "supports"
    # All differences between the found (100 and 200 ms) and the first two random ones are 1 dB.
    assert matched["above random"] == pytest.approx(1.0) and matched["verdict"] == "supports"
    test = above.loc["test"]
    assert test["above random"].tolist() == pytest.approx([-0.05, 0.0], abs=1e-9)
    assert chance.in_words(table[:1]).startswith("found +0.95 [+") and chance.in_words(table[:1]).endswith(
        "on V (supports)"
    )
