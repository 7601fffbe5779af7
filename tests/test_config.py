"""Settings that make no sense die where they are written, in one line with the field, the rule and the value."""

import pytest

from hinas_nb.experiment.config import Epoch, EvaluateConfig, LatencyConfig, Loss, SearchConfig, Space, TrainConfig
from hinas_nb.experiment.profile import Profile
from hinas_nb.method.genotype import CANDIDATES, Genotype
from hinas_nb.scoring.protocol import get
from hinas_nb.settings import _LONGEST, ConfigError, shown

GENOTYPE = Genotype((0,), (((("conv_3", 0), ("skip", 1)),),))
PHOTOS = {"data": "photos", "split": "train"}
STANDARD = get("denoise-standard")


def train(**changes) -> TrainConfig:
    return TrainConfig(**({"genotype": GENOTYPE} | PHOTOS | changes))


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: SearchConfig(epochz=3), "unknown setting epochz = 3"),
        (lambda: SearchConfig(warmup_epochs=120), "warmup_epochs must be in [0, epochs=100), got 120"),
        (
            lambda: SearchConfig(space="large"),
            "space: Input should be a valid dictionary or instance of Space, got 'large'",
        ),
        (lambda: SearchConfig(space=None), "space: Input should be a valid dictionary or instance of Space, got None"),
        (lambda: SearchConfig(sigmas=()), "sigmas: Tuple should have at least 1 item after validation, not 0, got ()"),
        (lambda: Space(layers="1"), "layers: Input should be a valid integer, got '1'"),
        (lambda: train(steps=True), "steps: Input should be a valid integer, got True"),
        (lambda: train(lr="0.1"), "lr: Input should be a valid number, got '0.1'"),
        (lambda: SearchConfig(second_order="yes"), "second_order: Input should be a valid boolean, got 'yes'"),
        (lambda: Profile(name="mine", seeds=(0, 0)), "seeds must differ from each other, got [0, 0]"),
        (lambda: Space(layers=0), "layers: Input should be greater than or equal to 1, got 0"),
        (lambda: Space(width_factors=(2, 1)), "width_factors must ascend, got (2.0, 1.0)"),
        (
            lambda: Space(width_factors=(0.01, 1)),
            "width_factors must leave base_width=10 at least 1 channel, got (0.01, 1.0)",
        ),
        (
            lambda: Space(operations=("none",)),
            f"operations must be different ones of {' '.join(CANDIDATES)}, got",
        ),
        (
            lambda: SearchConfig(strategy="random", candidates=None),
            "candidates must be at least 1 for strategy random, got None",
        ),
        (
            lambda: SearchConfig(strategy="random", beta_decay=50),
            "beta_decay belongs to strategy gradient, got 50 for random",
        ),
        (
            lambda: SearchConfig(strategy="random", second_order=True),
            "second_order belongs to strategy gradient, got it for random",
        ),
        (
            lambda: SearchConfig(space={"partial": 5}, latency=LatencyConfig(base_width=20), latency_weight=0.1),
            "latency must be off where space.partial is set, got both",
        ),
        (lambda: Space(partial=4), "partial must divide all widths (10, 15, 20), got 4"),
        (lambda: Epoch(search=SearchConfig(), epoch=101), "epoch must be in [1, epochs=100], got 101"),
        (lambda: Loss(ssim_weight=-1), "ssim_weight: Input should be greater than or equal to 0, got -1"),
        (lambda: train(genotype=3), "genotype: Input should be a dictionary or an instance of Genotype, got 3"),
        (
            lambda: EvaluateConfig(model="output", data="photos", protocol=STANDARD),
            "model: Input should be a valid dictionary or instance of TrainConfig, got 'output'",
        ),
        (lambda: train(validation="train"), "validation must be another split of photos than train, got 'train'"),
        (
            lambda: SearchConfig(data="BSDS500", validation="val"),
            "validation must be another split of BSDS500 than train+val, got 'val'",
        ),
    ],
)
def test_impossible_settings_are_one_line(make, line):
    with pytest.raises(ConfigError) as error:
        make()
    assert str(error.value).startswith(line) and "\n" not in str(error.value)


@pytest.mark.parametrize("learned", ["split", "validation"])
@pytest.mark.parametrize("where", ["search", "train"])
def test_what_was_trained_or_chosen_on_a_set_is_not_scored_on_it(learned, where):
    change = {"data": "photos", learned: "test"} | ({"split": "train"} if learned == "validation" else {})
    model = train(genotype=SearchConfig(**change)) if where == "search" else train(**change)
    with pytest.raises(ValueError, match="test images must be unseen in training, got photos test for a network"):
        EvaluateConfig(model=model, data="photos", protocol=STANDARD)


def test_a_long_value_is_cut():
    with pytest.raises(ConfigError) as error:
        SearchConfig(epochs=list(range(10_000)))
    assert str(error.value).startswith("epochs: Input should be a valid integer, got [0, 1, 2, ")
    assert len(str(error.value)) < _LONGEST + 80


def test_a_folder_is_named_by_its_whole_path_and_has_one_split(tmp_path, monkeypatch):
    """A worker's working folder may be another."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "mine"))
    scored = EvaluateConfig(model="input", data="folder:mine/../mine", protocol=STANDARD)
    assert (scored.data, scored.split) == (f"folder:{tmp_path}/mine", "all")
    assert scored == scored.but(data=f"folder:{tmp_path}/mine", split="all")
    for learned in (SearchConfig(data="folder:~/mine"), train(data="folder:~/mine", split="all")):
        assert (learned.data, learned.split) == (f"folder:{tmp_path}/mine/mine", "all")
    with pytest.raises(ConfigError, match=r"split of folder:.*/mine must be all, got 'test'"):
        scored.but(split="test")
    with pytest.raises(ConfigError, match=r"data must be one of .* or folder:PATH, got 'folder:'"):
        scored.but(data="folder:")


def test_a_number_too_long_to_write_out_is_still_one_line():
    assert shown(10**5000) == "a int too long to show"
