"""Kinds of operations and the seconds that go into them."""

import time

import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from hinas_nb import figures
from hinas_nb.evidence import timing_runs
from hinas_nb.speed import profiling


def call():
    image = torch.rand(1, 8, 96, 96, requires_grad=True)
    dense, depthwise, point = torch.rand(8, 8, 5, 5), torch.rand(8, 1, 3, 3), torch.rand(8, 8, 1, 1)
    found = F.conv2d(F.conv2d(F.conv2d(image, dense), depthwise, groups=8), point)
    F.leaky_relu(F.batch_norm(found, None, None, training=True)).sum().backward()


@pytest.mark.parametrize(
    ("name", "shapes", "kind"),
    [
        ("aten::mkldnn_convolution", [[2, 1, 9, 9], [64, 1, 3, 3], []], profiling._DENSE),  # a grey image
        ("aten::mkldnn_convolution", [[2, 64, 9, 9], [64, 1, 3, 3], []], profiling._DEPTHWISE),
        ("aten::mkldnn_convolution", [[2, 64, 9, 9], [8, 64, 1, 1], []], profiling._POINTWISE),
        ("aten::convolution_backward", [[2, 8, 9, 9], [2, 4, 9, 9], [8, 4, 3, 3], [], []], profiling._DENSE),
        ("aten::convolution_backward", [[2, 8, 9, 9], [2, 8, 9, 9], [8, 1, 3, 3], [], []], profiling._DEPTHWISE),
        ("aten::batch_norm_update_stats", [[9, 8]], profiling._NORMS),
        ("aten::addcmul_", [[9, 8]], profiling._SUMS),
        ("aten::copy_", [[9, 8]], profiling._COPIES),
        ("aten::view", [[9, 8]], profiling._REST),
        ("_SendBackward", [], profiling._REST),
    ],
)
def test_operations_are_told_apart_by_name_and_shape(name, shapes, kind):
    assert profiling._part(name, shapes) == kind


def test_parts_and_rest_make_up_the_seconds():
    call()
    found = profiling.seconds_by_part(call, 100.0)
    assert list(found) == list(profiling._PARTS) and sum(found.values()) == pytest.approx(100)
    assert all(found[kind] > 0 for kind in profiling._PARTS if kind != profiling._COPIES)
    assert profiling.seconds_by_part(lambda: time.sleep(0), 0.5)[profiling._REST] == 0.5
    assert profiling.seconds_by_part(call, 0.0)[profiling._REST] == 0


def test_the_round_that_tells_them_is_shown():
    told = {arm: dict.fromkeys(profiling._PARTS, seconds) for arm, seconds in (("b", 2.0), ("a", 6.0))}
    table = profiling.table([{"parts_by_arm": {}}, {"parts_by_arm": told}])
    assert list(dict.fromkeys(table["arm"])) == ["b", "a"] and list(table["part"][:7]) == list(profiling._PARTS)
    assert table.groupby("arm")["seconds"].first().to_dict() == {"b": 2, "a": 6}


def test_parts_are_asked_of_plain_and_ours_at_the_first_batch_and_of_ours_at_the_last():
    config = timing_runs.step_parts(timing_runs._PAPER)
    labels = [arm.label for arm in config.arms if arm.phase == "weights"]
    assert labels == ["plain, batch 2, W", "ours, batch 2, W", "ours, batch 8, W"] and config.parts
    assert not any(arm.plain for arm in timing_runs.step_parts(timing_runs._TINY).arms)


def test_bars_are_stacked_to_their_whole():
    rows = [
        ("W", way, part, value, 0.5)
        for way, part, value in [("a", "x", 1), ("a", "y", 2), ("b", "x", 3), ("b", "y", 0)]
    ]
    table = pd.DataFrame(rows, columns=["panel", "way", "part", "value", "least"])
    (axes,) = figures.part_bars(table, title="claim").axes
    assert [bar.get_x() + bar.get_width() for bar in axes.patches] == [1, 3, 3, 3]
