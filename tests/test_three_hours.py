"""The account of notebook 06: what stages took, what halving tried, who scores what in how many milliseconds."""

import pandas as pd
import pytest

from hinas_nb.evidence import fronts, rivals, three_hours
from hinas_nb.experiment.config import Comparator, SearchConfig, TrainConfig
from hinas_nb.experiment.profile import load_profile
from hinas_nb.running.store import Store

PHOTOS = {"data": "photos", "split": "train", "validation": "validation"}
ABOVE = {"kind": "found", "images": "V", "above random": 0.5, "low": 0.2, "high": 0.8, "verdict": "supports"}
TRAIN = TrainConfig(genotype=SearchConfig(**PHOTOS), **PHOTOS)


def finished(store: Store, config, records=(), threads: int = 1):
    folder = store.folder(config)
    folder.begin("cpu", threads)
    folder.append_records(list(records))
    folder.finish({})
    return folder.note()


def test_a_pool_is_what_its_search_found_and_random_architectures_of_the_space():
    searches = [TRAIN.genotype.but(seed=seed) for seed in (0, 1)]
    first, second = three_hours.pools(TRAIN, searches, 3)
    assert [pool[0].genotype for pool in (first, second)] == searches
    drawn = [training.genotype for pool in (first, second) for training in pool[1:]]
    assert len(set(drawn)) == 6 and all(one.nodes == searches[0].space.nodes for one in drawn)
    assert {training.but(genotype=searches[0]) for training in (*first, *second)} == {TRAIN}
    with pytest.raises(ValueError, match="drawn must be 0 or more, got -1"):
        three_hours.pools(TRAIN, searches, -1)


def test_the_others_train_for_as_long_on_the_same_noise():
    budget = load_profile("laptop")
    pace, settings = budget.denoise.best.pace, {"sigma_range": (0.0, 75.0), "steps": 18_000}
    for name, training in three_hours.others(budget, settings).items():
        assert training.steps * pace[name.lower()] == pytest.approx(18_000 * pace["hinas"], rel=0.02)
        assert training.sigma_range == (0.0, 75.0) and training.patch == budget.denoise.best.train["patch"]


def test_every_network_is_scored_at_every_sigma_under_one_protocol():
    budget = load_profile("laptop")
    runs = three_hours.scores(budget, {rivals.HINAS: budget.train("denoise", budget.search("denoise"))}, [15, 50])
    where = [(run.labels["data"], run.labels["degradation"], run.config.every) for run in runs]
    assert where == [("BSDS500", 15, 5), ("BSD68", 15, 1), ("BSDS500", 50, 5), ("BSD68", 50, 1)]
    assert [run.config.protocol.sigma for run in runs] == [15, 15, 50, 50]
    assert {run.config.protocol.name for run in runs} == {"denoise-standard"}


def test_a_stage_takes_the_hours_of_all_its_cores(tmp_path):
    store = Store(tmp_path)
    first, last = TRAIN, TRAIN.but(seed=1)
    notes = [finished(store, first), finished(store, last, threads=2)]
    table = three_hours.spent({"first round": [first, last], "long training": [last]}, store)
    assert table["Runs"].tolist() == [2, 1]
    hours = [one.seconds * one.threads / 3600 for one in notes]
    assert table["core hours"].tolist() == pytest.approx([sum(hours), hours[1]])


def test_what_was_tried_is_its_best_score(tmp_path):
    store = Store(tmp_path)
    finished(store, TRAIN, [{"validation_psnr": psnr} for psnr in (20.0, 25.0, 24.0)])
    (row,) = three_hours.tried({"first round": [TRAIN]}, store).to_dict("records")
    assert row == {"round": "first round", "number": 0, "steps": TRAIN.steps, "PSNR on V (dB)": 25.0}


def test_points_are_medians_of_the_rounds_and_the_answer_says_them(tmp_path):
    store = Store(tmp_path)
    dncnn = TRAIN.but(genotype=Comparator(name="dncnn"), base_width=None)
    timing = fronts.timed({(rivals.HINAS, 0): TRAIN, ("DnCNN", 0): dncnn}, 32, 32)
    assert [arm.network for arm in timing.arms] == [TRAIN.genotype, dncnn.genotype]
    seconds = [{f"{rivals.HINAS} 0": one, "DnCNN 0": 3 * one} for one in (0.1, 0.2, 0.9)]
    peaks = dict.fromkeys(seconds[0], 1.0)
    finished(store, timing, [{"seconds_by_arm": one, "peak_mib_by_arm": peaks} for one in seconds])
    points = three_hours.points(timing, {rivals.HINAS: 25.0, "DnCNN": 24.0, "BM3D": 25.6}, store)
    assert points.to_dict("records") == [
        {"kind": rivals.HINAS, "ms": pytest.approx(200), "psnr": 25.0},
        {"kind": "DnCNN", "ms": pytest.approx(600), "psnr": 24.0},
    ]
    lead = {"control": "DnCNN", "data": "BSDS500", "degradation": 50.0, "difference": 1.0}
    said = three_hours.in_words(
        pd.DataFrame([lead | {"images_low": 0.9, "images_high": 1.1}]), points, rivals.HINAS, 2.5, pd.DataFrame([ABOVE])
    )
    assert "In 2.5 hours of two cores" in said and "DnCNN +1.00 [+0.90, +1.10] dB" in said
    assert "milliseconds an image: 200 (DnCNN 600)." in said
    assert said.endswith("for a short while? found +0.50 [+0.20, +0.80] dB on V (supports).")


def test_chance_is_beaten_only_by_a_whole_interval(tmp_path):
    store, keys = Store(tmp_path), [("found", 0), ("found", 1), ("random", 0), ("random", 1), ("random", 2)]
    trainings = {(*key, seed): TRAIN.but(seed=10 * number + seed) for number, key in enumerate(keys) for seed in (0, 1)}
    for (kind, number, seed), config in trainings.items():
        finished(store, config, [{"validation_psnr": 25.0 + (kind == "found") + 0.1 * number + 0.2 * seed}])
    rows = [{"kind": k, "number": n, "seed": s, "psnr": 24.0 + 0.1 * n} for k, n, s in trainings for _ in range(3)]
    timing = fronts.timed({key: TRAIN for key in keys}, 32, 32)
    seconds = {fronts.label(*key): 0.1 * (1 + place) for place, key in enumerate(keys)}
    peaks = dict.fromkeys(seconds, 1.0)
    finished(store, timing, [{"seconds_by_arm": seconds, "peak_mib_by_arm": peaks}])
    table = three_hours.architectures(trainings, pd.DataFrame(rows), timing, store)
    assert table["V"].tolist() == pytest.approx([26.1, 26.2, 25.1, 25.2, 25.3])  # mean of both training seeds
    assert table["test"].tolist() == pytest.approx([24.0, 24.1, 24.0, 24.1, 24.2])
    assert table["ms"].tolist() == pytest.approx([100, 200, 300, 400, 500])
    validation, test = three_hours.above_chance(table).to_dict("records")
    assert validation["above random"] == pytest.approx(0.95) and validation["verdict"] == "supports"
    assert test["above random"] == pytest.approx(-0.05) and test["verdict"] == "undecided"
    assert (validation["kind"], test["kind"]) == ("found", "found")
