"""Effects are paired by what the arms share, keep what they were made under, and come back as they were left."""

import math

import pandas as pd
import pytest

from hinas_nb.evidence import effects, stats
from hinas_nb.experiment.config import Space
from hinas_nb.experiment.profile import load_profile
from hinas_nb.experiment.runs import REVISIONS
from hinas_nb.files import FileContentError
from hinas_nb.reporting.outputs import Publisher

PAIR = [("LWAS", "basic")]
TWO_SEEDS = [
    ("basic", 0, "a", 20.0), ("basic", 0, "b", 30.0), ("basic", 1, "a", 21.0), ("basic", 1, "b", 33.0),
    ("LWAS", 0, "a", 20.5), ("LWAS", 0, "b", 30.1), ("LWAS", 1, "a", 21.5), ("LWAS", 1, "b", 33.1),
]  # fmt: skip


def scored(rows=TWO_SEEDS) -> pd.DataFrame:
    """(arm, seed, image, psnr) as `collect` returns them; SSIM is a hundredth of the PSNR."""
    table = pd.DataFrame(rows, columns=["arm", "seed", "image", "psnr"])
    return table.assign(task="denoise", data="photos", degradation=50.0, ssim=table["psnr"] / 100)


def every_kind() -> pd.DataFrame:
    seconds = pd.DataFrame({"task": "sr", "arm": ["a", "b"] * 2, "round": [0, 0, 1, 1], "time_s": [1.0, 2, 1, 2]})
    parts = [
        effects.of_scores(scored(), PAIR),
        effects.of_changes(seconds.assign(degradation=3), "time_s", [("a", "b")], "round", "timed, 2 rounds"),
        effects.of_share([True, False], Space(), "found", "last_widest"),
    ]
    return pd.concat(parts, ignore_index=True)


def test_scores_are_paired_by_seed():
    table = effects.of_scores(scored(), PAIR).set_index("metric")
    effect = table.loc["psnr"]
    assert tuple(effect[["treatment", "control", "task", "data", "degradation", "seeds"]]) == (
        "LWAS", "basic", "denoise", "photos", 50.0, 2
    )  # fmt: skip
    # Means over images differ by 0.3 dB with both seeds, though the seeds differ by 2 dB: no spread is left.
    assert [effect[name] for name in ("difference", "low", "high")] == pytest.approx([0.3] * 3)
    # The two images differ by 0.1 and 0.5 dB: Student's factor of one degree of freedom is 12.706.
    ends = [0.3 - 12.706 * 0.2, 0.3 + 12.706 * 0.2]
    assert [effect["images_low"], effect["images_high"]] == pytest.approx(ends, abs=1e-4)
    assert table.loc["ssim", "difference"] == pytest.approx(0.003)


def test_repeats_inside_a_seed_are_averaged_first():
    draws = pd.concat([scored().assign(draw=0), scored(TWO_SEEDS[4:]).assign(draw=1, psnr=lambda t: t["psnr"] + 1)])
    effect = effects.of_scores(draws, PAIR, within=["draw"]).iloc[0]
    assert (effect["difference"], effect["seeds"]) == (pytest.approx(0.8), 2)


def test_seeds_that_only_one_arm_has_are_left_out():
    longer = scored([*TWO_SEEDS, ("LWAS", 2, "a", 99.0), ("LWAS", 2, "b", 99.0)])
    columns = ["difference", "images_low", "seeds"]
    assert effects.of_scores(longer, PAIR)[columns].equals(effects.of_scores(scored(), PAIR)[columns])


def test_what_scores_were_made_with_is_told():
    budget = load_profile("smoke")
    base = budget.evaluate(budget.train("denoise", budget.search("denoise")))
    told = effects.of_scores(scored(), PAIR, bases={"denoise": base})
    assert set(told["protocol"]) == {"denoise-standard"} and set(told["note"]) == {"40 steps"}


def test_an_arm_that_was_not_run_is_refused_one_that_a_task_lacks_left_out():
    with pytest.raises(ValueError, match="arm must be one of basic, LWAS, got 'ResL'"):
        effects.of_scores(scored(), [("ResL", "basic")])
    more = pd.concat([scored(), scored(TWO_SEEDS[:4]).assign(task="sr")])
    assert set(effects.of_scores(more, PAIR)["task"]) == {"denoise"}


def test_costs_are_changes_in_percent_of_the_control():
    weights = pd.DataFrame({"task": "denoise", "arm": ["ws", "w40"] * 2, "seed": [0, 0, 1, 1]})
    (effect,) = effects.of_changes(
        weights.assign(parameters_m=[1.0, 2.0, 1.2, 2.0]), "parameters_m", [("ws", "w40")]
    ).to_dict("records")
    expected = stats.paired([-50, -40])
    assert [effect[name] for name in ("difference", "low", "high")] == pytest.approx(
        [expected.difference, expected.low, expected.high]
    )
    assert math.isnan(effect["degradation"]) and effect["data"] == "" and effect["seeds"] == 2


def test_shares_are_points_above_chance():
    (effect,) = effects.of_share([True] * 3, Space(), "last epoch", "collapsed", "6 epochs").to_dict("records")
    assert (effect["control"], effect["task"], effect["difference"]) == ("chance", "denoise", pytest.approx(97.5))
    assert effect["note"] == "3 of 3, by chance 2%; 6 epochs"
    by_chance = effects.chance("last_widest", Space())
    (effect,) = effects.of_share([True] * 3, Space(), "found", "last_widest").to_dict("records")
    assert effect["difference"] == pytest.approx(100 * (1 - by_chance)) and 0 < by_chance < 1
    assert effects.chance("last_widest", Space(levels=(0, 0, 0))) == 1, "fixed widths leave nothing to chance"


def test_effects_come_back_as_they_were_left(tmp_path, monkeypatch):
    monkeypatch.setenv("HINAS_PUBLISH", str(tmp_path))
    left = Publisher("smoke", "10_ablation").effects(every_kind())
    found = effects.read(tmp_path / "tables" / "10_ablation__effects.csv")
    pd.testing.assert_frame_equal(found.drop(columns="revisions"), left, check_dtype=False)
    assert found["revisions"].iloc[0] == {kind: REVISIONS[kind] for kind in ("search", "train", "evaluate")}
    assert found["revisions"].iloc[-1] == {"search": REVISIONS["search"]}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "must be a table of effects, got "),
        (lambda text: text.replace("psnr", "lpips"), "got the metric 'lpips'"),
        (lambda text: text.replace("difference", "gain"), "got .*difference"),
        (lambda text: text.replace(",2,", ",two,"), "got .*two"),
        (lambda text: text.replace('""search"": ', '""search"": 0.'), "got the revisions"),
        (lambda text: "\0\xff", "must be a table of effects"),
        (lambda text: "", "must be a table of effects"),
    ],
)
def test_a_damaged_file_gives_one_clear_line(tmp_path, damage, message):
    path = tmp_path / "effects.csv"
    path.write_bytes(damage(effects.stamped(every_kind()).to_csv(index=False)).encode("latin-1"))
    with pytest.raises(FileContentError, match=message) as error:
        effects.read(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
