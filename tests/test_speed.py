"""What a whole search costs by its schedule; arms are compared with their own kind; the figures of `24_speed`."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from hinas_nb import figures
from hinas_nb.evidence import timing_runs
from hinas_nb.experiment.config import CVPR2020, Arm, Comparator, SearchConfig, Space
from hinas_nb.experiment.profile import load_profile
from hinas_nb.figures.speed import slope
from hinas_nb.speed import cost
from hinas_nb.training import benchmark

SMALL = replace(timing_runs._TINY, base_width=2)


def test_a_search_is_projected_by_its_schedule():
    # 20 images: V 10 % = 2, W and A 9 each; ceil(9 / 4) = 3 steps an epoch; 10 epochs, 4 of warm-up, 3 with scores.
    config = SearchConfig(validation_fraction=0.1, batch=4, epochs=10, warmup_epochs=4, validate_from=7)
    found = timing_runs.projection(config, images=20, patches=6, weight_step=2.0, architecture_step=5.0)
    assert list(found.values())[:3] == [30, 18, 3]
    assert found["scoring V (h)"] == pytest.approx(3 * (2 * 6 / 4) * 2 / 3 / 3600)
    assert found["hours"] == pytest.approx((30 * 2 + 18 * 5 + 6) / 3600)


def test_the_published_search_has_19_steps_an_epoch():
    found = timing_runs.projection(SearchConfig(), 300, 35, 1.0, 1.0)  # 147 images of W at batch 8
    assert list(found.values())[:3] == [1900, 1520, 40]


def test_the_genotype_is_the_one_whose_parameters_are_published():
    assert cost.network(timing_runs.GENOTYPE, "denoise").parameters_live == 257_769


def test_steps_are_compared_within_their_phase():
    config = timing_runs.steps("steps", SMALL, timing_runs.step_ways(SMALL.space(), 2, ["plain", "ours"]))
    assert [arm.label for arm in config.arms] == ["plain, W", "ours, W", "plain, A", "ours, A", timing_runs.PEAK]
    seconds = {"plain, W": 4.0, "ours, W": 2.0, "plain, A": 9.0, "ours, A": 3.0, timing_runs.PEAK: 0.1}
    record = {"seconds_by_arm": seconds, "peak_mib_by_arm": dict.fromkeys(seconds, 1.0)}
    table = timing_runs.times_faster(config, [record] * 3, "plain").set_index(["way", "phase"])
    assert table["times faster"].to_dict() == {
        ("plain", "W"): 1, ("ours", "W"): 2, ("plain", "A"): 1, ("ours", "A"): 3
    }  # fmt: skip
    assert timing_runs.ratio_in_words(table.loc[("ours", "A")]) == "3.00x [3.00, 3.00]"


def test_speed_is_told_as_a_share_of_the_matrix_product():
    config = timing_runs.steps("steps", SMALL, timing_runs.step_ways(SMALL.space(base_width=1), 2, ["ours"]), ["W"])
    side = SMALL.product
    needed = timing_runs.multiply_adds(config.arms[0])
    pixels = 2 * SMALL.side**2  # of two crops; a step on W is worth three passes
    assert needed == 3 * pixels * timing_runs.supernet_multiply_adds(config.arms[0].space)
    record = {"seconds_by_arm": {"ours, W": 4.0, timing_runs.PEAK: 0.5}}
    table = timing_runs.share_of_peak(config, [record]).set_index("arm")
    assert table.loc["ours, W", "of peak"] == pytest.approx((needed / 4) / (side**3 / 0.5))
    assert table.loc[timing_runs.PEAK, "GFLOP/s"] == pytest.approx(2e-9 * side**3 / 0.5)


def test_a_batch_is_timed_beside_the_step_that_it_feeds():
    config = timing_runs.batches(SMALL)
    step, making = config.arms
    assert (step.batch, step.height, step.width_px) == (making.batch, making.height, making.width_px)
    call = benchmark._prepared(making)
    (noisy, clean), (other, _) = call(), call()
    assert noisy.shape == clean.shape == (*(SMALL.training[:1]), 1, *SMALL.training[1:] * 2)
    assert not torch.equal(noisy, other), "every call makes the next batch"
    record = {"seconds_by_arm": {step.label: 4.0, making.label: 0.1}, "peak_mib_by_arm": dict.fromkeys(
        (step.label, making.label), 1.0)}  # fmt: skip
    table = timing_runs.times_faster(config, [record] * 3).set_index("way")
    assert table.loc[timing_runs._BATCH, "times faster"] == pytest.approx(40)


def test_spaces_and_operations_differ_in_nothing_but_themselves():
    spaces = {"sharing": SMALL.space(), "older": SMALL.space(**CVPR2020)}
    settings = {name: {"space": space, "batch": 2} for name, space in spaces.items()}
    config = timing_runs.steps("spaces", SMALL, settings, peak=False)
    assert [arm.label for arm in config.arms] == ["sharing, W", "older, W", "sharing, A", "older, A"]
    assert [arm.space for arm in config.arms] == list(spaces.values()) * 2
    assert len({(arm.batch, arm.height, arm.width_px) for arm in config.arms}) == 1
    arms = timing_runs.operations(("conv_3", "def_3"), SMALL).arms
    assert [arm.label for arm in arms[:2]] == ["conv_3, restoration", "def_3, restoration"]
    plain, deformable = (arm.network.to_json() for arm in arms[:2])
    assert deformable == plain.replace("conv_3", "def_3") != plain


def test_variants_change_what_they_name_and_nothing_else():
    arms = timing_runs.steps("steps", timing_runs._PAPER, timing_runs.step_ways(Space(), 8), ["W"]).arms
    by_label = {arm.label.removesuffix(", W"): arm for arm in arms}
    assert by_label["plain"].plain and by_label["checkpoints"].checkpointing
    assert not by_label["no sharing"].space.sharing and by_label["ours"].space == Space()
    assert {arm.batch for arm in arms if arm.space} == {8}, "no arm is padded with a batch of its own"


def test_growth_changes_one_setting_at_a_time():
    base, *others = timing_runs.growth(timing_runs._PAPER).arms
    for arm in others:
        setting, value = arm.label.split()
        settings, own = ({**one.space.model_dump(), "batch": one.batch} for one in (base, arm))
        assert {name for name in settings if settings[name] != own[name]} == {setting}
        assert own[setting] == int(value)


def test_the_base_point_is_on_every_curve():
    config = timing_runs.growth(SMALL)
    seconds = {arm.label: 1.0 + place for place, arm in enumerate(config.arms)}
    points = timing_runs.growth_points(config, [{"seconds_by_arm": seconds, "peak_mib_by_arm": seconds}])
    curves = points.groupby("setting")[["x", "seconds"]].agg(list).to_dict("index")
    assert curves == {
        "base_width": {"x": [2, 2], "seconds": [1, 2]}, "batch": {"x": [1, 2], "seconds": [3, 1]}
    }  # fmt: skip


def test_the_saved_memory_allows_a_larger_batch():
    space = SMALL.space(layers=2, nodes=2)
    batch = timing_runs.larger_batch(space, 8, 16)
    alone = timing_runs.foretold_memory(space.but(sharing=False), 8, 16)["weights"]
    assert batch > 8 and timing_runs.foretold_memory(space, batch, 16)["weights"] <= alone * 1.02


@pytest.mark.parametrize(
    "how",
    [
        {"task": "denoise", "network": timing_runs.GENOTYPE, "base_width": 4, "fold": 2},
        {"task": "sr", "network": timing_runs.GENOTYPE, "base_width": 4, "scale": 3},
        {"task": "denoise", "network": Comparator(name="dncnn")},
    ],
)
def test_an_arm_is_counted_as_the_network_that_it_is(how):
    arm = Arm(label="one", subject="restoration", height=16, width_px=24, **how)
    net = cost.network(arm.network, arm.task, arm.base_width, arm.scale, arm.fold)
    assert timing_runs.multiply_adds(arm) == cost.multiply_adds(net, net.channels, 16, 24) > 0


def test_tiny_shapes_are_for_narrow_budgets():
    assert timing_runs.shapes(10).paper and not timing_runs.shapes(4).paper


def test_engines_that_are_missing_are_named(monkeypatch):
    monkeypatch.setattr(timing_runs, "has_compiler", lambda: False)
    monkeypatch.setattr(timing_runs, "find_spec", lambda name: None)
    present, absent = timing_runs.image_ways()
    assert set(present) | set(absent) == set(timing_runs._IMAGE_WAYS) and not set(present) & set(absent)
    assert absent == {
        "ours, compiled": "no C++ compiler is here",
        "ours, ONNX Runtime": "onnx onnxscript onnxruntime not installed",
    }


def test_a_power_law_is_a_line_in_logarithms():
    assert slope([1, 2, 4], [3, 12, 48]) == pytest.approx(2)
    curves = pd.DataFrame({"panel": "width", "series": "W", "x": [1, 2, 4], "value": [3, 12, 48]})
    (panel,) = figures.growth_curves(curves).axes
    assert panel.get_legend().get_texts()[0].get_text() == "W: power 2"


def test_every_way_is_a_bar_with_its_words():
    table = pd.DataFrame({"panel": ["W"] * 2, "way": ["plain", "ours"], "seconds": [3.0, 1.0], "text": ["", "3x"]})
    (panel,) = figures.cost_bars(table, title="claim").axes
    assert [bar.get_width() for bar in panel.patches] == [3, 1]
    assert [text.get_text() for text in panel.texts] == ["", "3x"]


def test_precisions_are_timed_in_every_kind_of_step():
    timed = {arm.label: (arm.subject, arm.precision) for arm in timing_runs.precisions(SMALL).arms}
    assert timed["float32, W"] == ("search step", "float32") and timed["bfloat16, A"] == ("search step", "bfloat16")
    assert timed["bfloat16"] == ("training step", "bfloat16") and len(timed) == 6
    runs = timing_runs.trained_in(load_profile("laptop"))
    assert [run.labels["precision"] for run in runs] == ["float32"] * 3 + ["bfloat16"] * 3
    assert len({run.config.but(precision=None, seed=0) for run in runs}) == 1, "alike in all else"
