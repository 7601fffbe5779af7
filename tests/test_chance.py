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
    alike = chance.like(TRAIN, [HALVING.kept], 2)
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


def test_random_ones_are_drawn_for_every_size():
    found = [TRAIN.but(genotype=one) for one in SEARCHES]
    sizes = [HALVING.kept, chance.median(found)]
    drawn = [(one.genotype.found, one.genotype.seed) for one in chance.like(TRAIN, sizes, 2)]
    assert drawn == [(size, number) for size in sizes for number in (0, 1)]


@pytest.mark.parametrize(("count", "place"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_the_median_is_in_the_middle_or_the_lower_of_two(count, place):
    median = chance.median([TRAIN.but(seed=seed) for seed in range(count)])
    assert median.place == place and len(median.trainings) == count


def test_chance_is_beaten_only_by_a_whole_interval_at_equal_latency(tmp_path):
    # On V all differences between the found (100 and 200 ms) and random ones of their latency are 1 dB; on the test
    # images there are none.
    table = chance.above(scored(tmp_path, [100, 200, 100, 200, 400]))
    assert table["kind"].tolist() == ["found", "found"] and table["images"].tolist() == ["V", "test"]
    assert table["above random"].tolist() == pytest.approx([1, 0], abs=1e-9)
    assert table["verdict"][0] == "supports" and chance.in_words(table[:1]).startswith("found +1.00 [+")
    assert chance.in_words(table[:1]).endswith("dB on V (better)")
