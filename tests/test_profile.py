"""Profiles: every settings file loads, overrides reach what they name, mistakes are one line."""

from pathlib import Path

import pytest

from hinas_nb import locations
from hinas_nb.experiment.config import Comparator, SearchConfig, TrainConfig
from hinas_nb.experiment.profile import TASKS, load_profile
from hinas_nb.running.store import Store
from hinas_nb.scoring.protocol import get
from hinas_nb.settings import ConfigError

NAMES = locations.profiles()


def test_there_are_three():
    assert {"smoke", "laptop", "paper"} <= set(NAMES)


#: Nine values, each nine times the one before: 400 million when written out.
BOMB = "a0: &a0 [x, x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("task", TASKS)
def test_every_profile_makes_every_run(name, task):
    profile = load_profile(name)
    search = profile.search(task, seed=1)
    train = profile.train(task, search, seed=2)
    evaluate = profile.evaluate(train)
    assert (profile.name, search.task, search.seed, train.seed) == (name, task, 1, 2)
    assert evaluate.model.genotype is search and evaluate.protocol.name == f"{task}-standard"
    assert profile.about and profile.sigmas and profile.scales and profile.seeds


def test_paper_is_the_defaults():
    profile = load_profile("paper")
    assert profile.search("denoise") == SearchConfig()
    assert profile.search("sr") == SearchConfig(space={"task": "sr"})
    assert profile.train("sr", SearchConfig(space={"task": "sr"})) == TrainConfig(
        task="sr", genotype=SearchConfig(space={"task": "sr"})
    )
    assert (profile.sigmas, profile.scales) == ((30, 50, 70), (2, 3, 4))


def test_laptop_super_resolution_never_trains_on_b100():
    profile = load_profile("laptop")
    train = profile.train("sr", profile.search("sr"))
    assert profile.evaluate(train, data="B100").data == "B100"


@pytest.mark.parametrize("name", ["smoke", "laptop"])
def test_the_best_network_and_its_rivals_are_trained_for_as_long(name):
    profile = load_profile(name)
    best = profile.denoise.best
    ours = profile.train("denoise", profile.search("denoise"), steps=best.final, **best.train)
    other = profile.train_as_long("denoise", Comparator(name="dncnn"), pace=best.pace, steps=best.final)
    assert (ours.fold, ours.steps) == (2, best.final)
    seconds = [ours.steps * best.pace["hinas"], other.steps * best.pace["dncnn"]]
    assert abs(seconds[0] - seconds[1]) <= other.validate_every * best.pace["dncnn"]


def test_changes_reach_the_part_that_has_them():
    profile = load_profile("smoke")
    search = profile.search("denoise", layerwise=False, ssim_weight=0, epochs=9)
    assert (search.space.layerwise, search.loss.ssim_weight, search.epochs) == (False, 0, 9)
    assert search.space.base_width == profile.search("denoise").space.base_width
    with pytest.raises(ConfigError, match="layerwize must be a setting of SearchConfig or of a part of it"):
        profile.search("denoise", layerwize=False)


def test_a_change_brings_the_defaults_that_follow_from_it():
    profile = load_profile("paper")
    search = profile.search("denoise")
    assert profile.train("denoise", search, optimizer="adamw").lr == 2e-3


def test_overrides():
    profile = load_profile("smoke", {"train.steps": 20, "sr.search.epochs": 7, "search.space.nodes": 2, "seeds": [5]})
    assert profile.train("sr", profile.search("sr")).steps == 20
    assert profile.train("denoise", profile.search("denoise")).steps == 20
    assert (profile.search("sr").epochs, profile.search("denoise").epochs) == (7, 6)
    assert profile.search("sr").space.nodes == 2 and profile.seeds == (5,)
    profile = load_profile("smoke", {"sr.evaluate.every": 2})  # shares an anchor of the file with denoising
    assert (profile.sr.evaluate["every"], "every" in profile.denoise.evaluate) == (2, False)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ({"train.stepz": 1}, "smoke.yaml: unknown setting stepz = 1"),
        ({"sead": [1]}, r"smoke.yaml: unknown setting sead = \[1\]"),
        ({"train.steps": 0}, "smoke.yaml: steps: .* greater than or equal to 1, got 0"),
        ({"train.steps": "many"}, "smoke.yaml: steps: .* valid integer.*, got 'many'"),
        (
            {"search.epochs.more": 1},
            "override epochs.more must name a setting, got the value 6 there",
        ),
        ({"evaluate.split": "nowhere"}, "smoke.yaml: split of photos must be one of .*, got 'nowhere'"),
        ({"sigmas": []}, "smoke.yaml: sigmas: "),
        ({3: 4}, "smoke.yaml: unknown setting 3 = 4"),
        ({"name": "../elsewhere"}, "smoke.yaml: name must be the file's, .*, got '../elsewhere'"),
        ({"train.task": "sr"}, "smoke.yaml: task must be left to the experiment, got 'sr' in the budget"),
        ({"search.space.task": "sr"}, "smoke.yaml: task must be left to the experiment, got 'sr'"),
        ({"search.space": 3}, "smoke.yaml: space must be left to the experiment, got 3"),
        ({"evaluate.protocol": {}}, "smoke.yaml: protocol must be left to the experiment, got {}"),
    ],
)
def test_wrong_overrides_are_one_line(overrides, line):
    with pytest.raises(ConfigError, match=line) as error:
        load_profile("smoke", overrides)
    assert "\n" not in str(error.value)


def test_profile_by_path_and_wrong_files(tmp_path):
    path = tmp_path / "mine.yaml"
    scored = "evaluate: {data: photos}"
    path.write_text(f"denoise: {{train: {{lr: 1e-3}}, {scored}}}\nsr: {{{scored}}}")
    profile = load_profile(str(path))
    assert (profile.name, profile.train("denoise", SearchConfig()).lr) == ("mine", 1e-3)
    for text, line in (
        ("a: [", "must be YAML"),
        ("3", "must hold settings by name"),
        ("b: 3", "unknown setting b"),
        ("sigmas: [50]\nsigmas: [30]", "must be YAML, got an entry twice: sigmas sigmas"),
        ("3: 4", "must hold settings by name, got '{3: 4}'"),
        ("about:\n\tx: 1", "must be YAML, got .*character '.t' that cannot start any token"),
        ("about: !!python/object/apply:os.abort []", "must be YAML, got could not determine a constructor"),
        ("a: " + "[" * 5000, "must be YAML, got maximum recursion depth exceeded"),
        (BOMB, "must be YAML, got aliases that stand for more than 100000 values"),
        (BOMB.replace("[", "{x: ").replace("]", "}").replace(", *", ", y: *"), "must be YAML, got "),
        ("about: &a [*a]", "must be YAML, got aliases that stand for more than 100000 values"),
        ("about: " + "x" * 200_000, "must be YAML, got 200007 bytes, more than 100000"),
        ("about: " + "9" * 5000, "must be YAML, got Exceeds the limit"),
        ("denoise: {train: {steps: 0100}}", "steps: Input should be a valid integer, got '0100'"),
        ("about: 2024-99-99", "must be YAML, got month must be in 1..12"),
        ("name: other", "name must be the file's, letters and digits joined by . _ or -, got 'other'"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=line) as error:
            load_profile(str(path))
        assert "mine.yaml" in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(ConfigError, match=r"profile must be one of .*smoke.* or a YAML file, got 'hude'"):
        load_profile("hude")
    path = path.rename(tmp_path / "my own.yaml")
    path.write_text(f"denoise: {{{scored}}}\nsr: {{{scored}}}")
    with pytest.raises(ConfigError, match=r"name must be the file's, .*, got 'my own'"):
        load_profile(str(path))


def test_the_input_is_scored_under_a_protocol():
    profile = load_profile("smoke")
    assert profile.evaluate("input", protocol=get("sr-standard", scale=4)).model == "input"
    with pytest.raises(ConfigError, match="protocol must be given where no network is scored"):
        profile.evaluate("input")
    with pytest.raises(ConfigError, match=r"protocol must be a Protocol \(see protocol.get\), got 'sr-standard'"):
        profile.evaluate("input", protocol="sr-standard")
    with pytest.raises(ConfigError, match="task must be one of denoise sr, got 'sharpen'"):
        profile.search("sharpen")


def test_runs_of_profiles_are_kept_apart(monkeypatch, tmp_path):
    monkeypatch.setenv("HINAS_RESULTS", str(tmp_path))
    assert Store.of(load_profile("smoke")).root == Path(tmp_path) / "smoke" / "runs"


def test_a_folder_takes_the_place_of_any_data_set(monkeypatch, tmp_path):
    """With the splits of what stood there before; below the file that names it, else the working folder."""
    monkeypatch.chdir(tmp_path)
    names = {f"{kind}.data": f"folder:{kind}" for kind in ("search", "train", "evaluate")}
    profile = load_profile("smoke", names)
    for task in TASKS:
        search = profile.search(task)
        for headline in (False, True):
            training = profile.train(task, search, headline)
            scoring = profile.evaluate(training, headline)
            for config, kind in ((search, "search"), (training, "train"), (scoring, "evaluate")):
                assert (config.data, config.split) == (f"folder:{tmp_path}/{kind}", "all")
            assert training.validation is None and search.validation is None
    split = {"train.validation": "val", "train.split": "train", "train.data": "BSDS500"}
    assert load_profile("smoke", split).denoise.train["validation"] == "val"
    smoke = load_profile("smoke")
    assert smoke.train("denoise", smoke.search("denoise"), data="folder:here").validation is None
    same = load_profile("smoke", {"train.data": "photos", "search.data": "photos"})
    pairs = [(one.search("sr"), one.train("sr", one.search("sr"), True)) for one in (same, smoke)]
    assert pairs[0] == pairs[1], "the same data set keeps its splits"

    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / "mine.yaml"
    scored = "evaluate: {data: 'folder:p'}"
    path.write_text(f"about: gr\u00fcn\ndenoise: {{{scored}}}\nsr: {{{scored}}}", encoding="utf-8")
    profile = load_profile("sub/mine.yaml")
    assert profile.denoise.evaluate["data"] == f"folder:{tmp_path}/sub/p" and profile.about == "gr\u00fcn"


def test_a_comparator_takes_a_budget_without_what_only_a_genotype_has(tmp_path):
    """Folding, widths and first weights are the genotype's; a network with a noise map is told sigma."""
    text = (locations.home() / "params" / "smoke.yaml").read_text()
    own = "base_width: 8\n    fold: 2\n    near_identity: true\n    without_norms: true"
    path = tmp_path / "folded.yaml"
    path.write_text(text.replace("base_width: 8", own))
    profile = load_profile(str(path), {"sr.train.fold": None})
    ours = profile.train("denoise", profile.search("denoise"))
    assert (ours.fold, ours.near_identity, ours.without_norms) == (2, True, True)
    for name, told in (("dncnn", False), ("ffdnet", True)):
        other = profile.train("denoise", Comparator(name=name))
        assert (other.fold, other.near_identity, other.without_norms) == (None, False, False)
        assert other.noise_map == told and other.steps == ours.steps
    many = ours.but(sigma=None, sigma_range=(5.0, 50.0))
    with pytest.raises(ConfigError, match="protocol must be given for a network of many sigmas"):
        profile.evaluate(many)
    profile.evaluate(many, protocol=get("denoise-standard", sigma=25))
