"""What tells Runs of a store apart, in words: the settings in which they depart from their profile."""

import pytest

from hinas_nb.experiment.config import Comparator, LatencyConfig, Perturbed
from hinas_nb.experiment.departures import departures
from hinas_nb.experiment.profile import Profile, load_profile
from hinas_nb.experiment.runs import canonical, kind_of
from hinas_nb.method.genotype import Genotype
from hinas_nb.scoring.protocol import get

SMOKE = load_profile("smoke")
SEARCH = SMOKE.search("denoise")
TRAIN = SMOKE.train("denoise", SEARCH)
CELL = ((("conv_3", 0), ("sep_3", 1)),)
AWARE = SEARCH.but(latency=LatencyConfig(space=SEARCH.space, base_width=8, height=32, width_px=24), latency_weight=0.1)
R1 = Perturbed(search=SEARCH.but(seed=1), kind="R1")
DNCNN = Comparator(name="dncnn")


def said(config) -> str:
    return ", ".join(departures(kind_of(config), canonical(config.identity()), SMOKE))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (SEARCH, ""),
        (SEARCH.but(seed=3), "seed=3"),
        (SMOKE.search("denoise", layerwise=False, seed=1), "seed=1, layerwise=off"),
        (SMOKE.search("sr", levels=(0, 0)), "levels=[0,0]"),
        (AWARE, "latency=LatencyConfig base_width 8 height 32 width_px 24 threads 1 rounds 15, latency_weight=0.1"),
        (TRAIN, ""),
        (SMOKE.train("denoise", SEARCH, sigma=25), ""),
        (SMOKE.train("denoise", SEARCH, ssim_weight=0), "ssim_weight=0"),
        (SMOKE.train("denoise", SEARCH, headline=True), "headline"),
        (SMOKE.train("denoise", SEARCH.but(seed=2), seed=2), "seed=2, search.seed=2"),
        (TRAIN.but(genotype=R1), "genotype=R1 changes 2 seed 0, search.seed=1"),
        (SMOKE.train("denoise", DNCNN), ""),
        (SMOKE.train("denoise", DNCNN, steps=7, validate_every=7), "steps=7, validate_every=7"),
        (SMOKE.evaluate(TRAIN.but(seed=1), every=2), "train.seed=1, every=2"),
        (SMOKE.evaluate(TRAIN, protocol=get("denoise-released", sigma=50)), ""),
        (SMOKE.evaluate("nlm", protocol=get("denoise-standard", sigma=50), every=2), "every=2"),
    ],
)
def test_a_run_in_words(config, words):
    assert said(config) == words


def test_literal_genotypes_are_told_apart():
    one, other = (said(TRAIN.but(genotype=Genotype((level,), (CELL,)))) for level in (0, 1))
    assert one != other and one.startswith("genotype=")


@pytest.mark.parametrize("content", [{}, {"space": 3}, {"space": {"task": "mend"}}, {"protocol": [], "model": {}}])
def test_a_config_of_another_shape_says_nothing(content):
    kinds = ("search", "train", "evaluate", "timing")
    assert [departures(kind, content, Profile(name="x")) for kind in kinds] == [[]] * 4
