"""Successive halving as values: what is trained on is known beforehand, which genotype it is only from the Runs."""

import json

import pytest

from hinas_nb.data import DataError
from hinas_nb.experiment.config import (
    Arm,
    Comparator,
    Drawn,
    EvaluateConfig,
    LatencyConfig,
    SearchConfig,
    Selected,
    Space,
    TimingConfig,
    TrainConfig,
)
from hinas_nb.experiment.profile import load_profile
from hinas_nb.experiment.runs import Run, kind_of, run_hash
from hinas_nb.method.genotype import random_genotype
from hinas_nb.method.network import DerivedNetwork
from hinas_nb.running import compute
from hinas_nb.running.compute import genotype_of
from hinas_nb.running.pool import execute, missing
from hinas_nb.running.store import Store
from hinas_nb.scoring.protocol import get
from hinas_nb.settings import ConfigError
from hinas_nb.speed.cost import closed_form

PHOTOS = {"data": "photos", "split": "train", "validation": "validation"}
TRAIN = TrainConfig(genotype=SearchConfig(**PHOTOS), **PHOTOS)
DRAWN_V = TrainConfig(genotype=SearchConfig(**PHOTOS), data="photos", split="train")  # its seed draws V


def genotype(seed):
    import torch

    return random_genotype(3, 4, torch.Generator().manual_seed(seed))


def test_it_is_the_training_in_its_place_on_v(tmp_path):
    store, trainings = Store(tmp_path), tuple(TRAIN.but(genotype=genotype(seed)) for seed in range(3))
    for training, psnr in zip(trainings, (20.0, 22.0, 21.0)):
        folder = store.folder(training)
        folder.begin("cpu", 1)
        rising = [
            {"validation_psnr": psnr - 1, "validation_ssim": 0.5},
            {"validation_psnr": psnr, "validation_ssim": 0.5},
        ]
        folder.append_records(rising)
        folder.finish({})
    places = [TRAIN.but(genotype=Selected(trainings=trainings, place=place)) for place in (1, 2, 3)]
    assert [genotype_of(config, store) for config in places] == [genotype(1), genotype(2), genotype(0)]
    assert len({run_hash(config, {"photos/train": "a", "photos/validation": "b"}) for config in places}) == 3


def test_a_selection_waits_for_every_training_and_says_which_is_missing(tmp_path):
    store, trainings = Store(tmp_path), (TRAIN, TRAIN.but(seed=1))
    last = TRAIN.but(genotype=Selected(trainings=trainings))
    wanted = missing([Run(last)], store)
    assert [kind_of(config) for config in wanted] == ["search", "train", "train", "train"]
    with pytest.raises(
        ValueError, match="a selection needs the Run train denoise sigma 50 seed 0, got none that is done"
    ):
        genotype_of(last, store)


@pytest.mark.parametrize(("changes", "line"), [
    ({"place": 3}, r"place must be in \[1, trainings=2\], got 3"),
    ({"trainings": (TRAIN, TRAIN.but(sigma=25.0))}, "trainings must share task, scale, sigma and V to be compared"),
    ({"trainings": (TRAIN, TRAIN.but(patch=32))}, "trainings must share task, scale, sigma and V to be compared"),
    ({"trainings": (DRAWN_V, DRAWN_V.but(seed=1))}, "trainings must share task, scale, sigma and V to be compared"),
    ({"trainings": (TRAIN.but(genotype=Comparator(name="dncnn"), base_width=None),)}, "trainings must be of genotypes"),
])  # fmt: skip
def test_what_cannot_be_compared_is_refused(changes, line):
    with pytest.raises(ConfigError, match=line):
        Selected(**({"trainings": (TRAIN, TRAIN.but(seed=1))} | changes))


def test_a_network_is_not_scored_on_what_its_rivals_have_seen():
    """Which genotype is kept depends on all trainings, so that each of them leaks."""
    clean = TrainConfig(genotype=genotype(0), split="train")
    seen = TrainConfig(genotype=genotype(1), split="train")
    EvaluateConfig(
        model=clean.but(genotype=Selected(trainings=(clean,))), data="BSD68", protocol=get("denoise-standard")
    )
    searched = seen.but(genotype=SearchConfig(split="train+val"))
    with pytest.raises((ConfigError, DataError), match="BSD68"):
        EvaluateConfig(
            model=clean.but(genotype=Selected(trainings=(clean, searched))), data="BSD68",
            protocol=get("denoise-standard"),
        )  # fmt: skip


def test_latencies_searches_halving_and_scores_in_one_batch(tmp_path):
    """Each kind of Run waits for those it rests on, whatever the order they are asked in."""
    budget, store = load_profile("smoke"), Store(tmp_path)
    space = Space(base_width=2, nodes=1, layers=1, fold=2)
    latency = LatencyConfig(space=space, base_width=4, height=16, width_px=16, rounds=1)
    search = budget.search("denoise").but(
        space=space, epochs=2, warmup_epochs=1, validate_from=1, latency=latency, latency_weight=0.1
    )
    short = budget.train("denoise", search).but(steps=2, validate_every=1, fold=2, base_width=4)
    first = tuple(short.but(genotype=one) for one in (search, search.but(seed=1)))
    last = short.but(genotype=Selected(trainings=first), steps=4)
    scored = budget.evaluate(last).but(every=6)
    assert execute([Run(scored)], store, workers=2, progress=False) == []
    kinds = {path.parent.name for path in tmp_path.glob("*/*/") if (path / "run.json").exists()}
    assert kinds == {"latency", "search", "train", "evaluate"}
    record = json.loads((store.folder(search).path / "records.jsonl").read_text().splitlines()[-1])
    assert record["latency_ms"] > 0
    assert genotype_of(last, store) in {genotype_of(one, store) for one in first}


def test_a_random_genotype_is_the_draw_nearest_in_multiply_adds(tmp_path):
    store, search = Store(tmp_path), SearchConfig(**PHOTOS)
    found = genotype(7)
    folder = store.folder(search)
    folder.begin("cpu", 1)
    folder.write_text("genotype.json", found.to_json("denoise"))
    folder.finish({})
    size = lambda one: closed_form(DerivedNetwork(one), 64, 64)  # noqa: E731
    drawn = {
        count: [genotype_of(TRAIN.but(genotype=Drawn(found=search, draws=count, seed=seed)), store) for seed in (0, 1)]
        for count in (1, 64)
    }
    assert drawn[64][0] != drawn[64][1] and found not in drawn[64]
    away = {count: [abs(size(one) - size(found)) for one in both] for count, both in drawn.items()}
    assert sum(away[64]) < 0.05 * size(found) < sum(away[1])
    wanted = missing([Run(TRAIN.but(genotype=Drawn(found=search)))], Store(tmp_path / "other"))
    assert [kind_of(config) for config in wanted] == ["search", "train"]


def test_a_draw_needs_the_space_of_a_search():
    given = Selected(trainings=(TRAIN.but(genotype=genotype(0)),))
    with pytest.raises(ConfigError, match="found must rest on a search"):
        Drawn(found=given)
    assert Drawn(found=Selected(trainings=(TRAIN,))).space == Space()


def test_a_network_that_halving_chose_is_timed(tmp_path):
    """The timing waits for the trainings that choose, and times what they chose."""
    store = Store(tmp_path)
    search = SearchConfig(**PHOTOS)
    chosen, other = (TRAIN.but(genotype=genotype(number)) for number in (1, 2))
    for training, psnr in ((chosen, 25.0), (other, 24.0)):
        folder = store.folder(training)
        folder.begin("cpu", 1)
        folder.append_records([{"validation_psnr": psnr, "validation_ssim": 0.5}])
        folder.finish({})
    arm = Arm(label="one", subject="restoration", network=Selected(trainings=(other, chosen)), base_width=2)
    timing = TimingConfig(what="chosen", arms=(arm, arm.but(label="found", network=search)))
    assert timing.producers == (other, chosen, search)
    assert compute._known(arm, timing, store) == genotype(1)
