"""The account of notebook 06: what stages took, what halving tried, who scores what in how many milliseconds."""

import pandas as pd
import pytest

from hinas_nb.evidence import fronts, rivals, three_hours
from hinas_nb.experiment.config import Comparator, SearchConfig, TrainConfig
from hinas_nb.experiment.profile import load_profile
from hinas_nb.running.store import Store

PHOTOS = {"data": "photos", "split": "train", "validation": "validation"}
TRAIN = TrainConfig(genotype=SearchConfig(**PHOTOS), **PHOTOS)


def finished(store: Store, config, records=(), threads: int = 1):
    folder = store.folder(config)
    folder.begin("cpu", threads)
    folder.append_records(list(records))
    folder.finish({})
    return folder.note()


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
        pd.DataFrame([lead | {"images_low": 0.9, "images_high": 1.1}]), points, rivals.HINAS, 2.5
    )
    assert "In 2.5 hours of two cores" in said and "DnCNN +1.00 [+0.90, +1.10] dB" in said
    assert said.endswith("milliseconds an image: 200 (DnCNN 600).")
