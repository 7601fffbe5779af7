"""Figures of changes and of widths show what their data says: counted in the drawing itself."""

import re

import numpy as np
import pandas as pd
import pytest

from hinas_nb import figures
from hinas_nb.method.genotype import Genotype

CELL = ((("conv_3", 0), ("sep_3", 1)),) * 4
CHANGES = pd.DataFrame(
    [("a", 0.2, 0.01), ("b", 0.1, 0.02), ("c", -0.1, 0.01), ("d", -0.2, -0.02)], columns=["image", "psnr", "ssim"]
)


def drawn(axes) -> dict[str, object]:
    """What has a name in the drawing."""
    return {artist.get_gid(): artist for artist in axes.get_children() if artist.get_gid()}


def test_a_cloud_is_parted_by_what_gains():
    (axes,) = figures.change_scatter(CHANGES).axes
    clouds = drawn(axes)
    counts = {name: len(clouds[name].get_offsets()) for name in clouds if name != "mean"}
    assert counts == {"both gain": 2, "only SSIM gains": 1, "both lose": 1}
    assert [float(value[0]) for value in clouds["mean"].get_data()] == pytest.approx([0.0, 0.005])
    for low, high in (axes.get_xlim(), axes.get_ylim()):
        assert low < 0 < high, "no change must lie inside"
    names = {text.get_text() for text in axes.texts}
    assert {"a", "b", "c", "d"} <= names


def test_images_stand_in_the_order_of_the_last_arm():
    both = pd.concat([CHANGES.assign(arm="first"), CHANGES.assign(arm="last", psnr=-CHANGES["psnr"])])
    psnr, ssim = figures.change_by_image(both).axes
    assert [label.get_text() for label in psnr.get_xticklabels()] == ["a", "b", "c", "d"]
    assert list(drawn(psnr)["arm last"].get_ydata()) == [-0.2, -0.1, 0.1, 0.2]
    assert list(drawn(psnr)["arm first"].get_ydata()) == [0.2, 0.1, -0.1, -0.2]
    assert "first: 3 of 4 gain" in [text.get_text() for text in ssim.get_legend().get_texts()]


def test_intervals_stand_where_they_are():
    effects = pd.DataFrame(
        {
            "arm": ["LWAS", "both"], "group": "PSNR (dB)", "difference": [0.1, 0.3], "low": [0.0, 0.2],
            "high": [0.2, 0.4], "images_low": [0.05, 0.25], "images_high": [0.15, 0.35],
            "published": [0.02, np.nan], "published_low": np.nan, "published_high": np.nan,
        }
    )  # fmt: skip
    (axes,) = figures.effect_plot(effects, "difference from basic").axes
    lines = drawn(axes)["ours, 95 % over seeds"].get_segments()
    assert [(float(line[0][0]), float(line[-1][0])) for line in lines] == [(0.0, 0.2), (0.2, 0.4)]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["LWAS", "both"]
    legend = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert "published, 95 %" in legend
    (axes,) = figures.effect_plot(effects.drop(columns="published"), "difference from basic").axes
    assert not any(text.get_text().startswith("published") for text in axes.figure.legends[0].get_texts())


def test_a_sweep_joins_means_over_seeds():
    table = pd.DataFrame(
        [(0.6, 0, 25.0, 0.70), (0.6, 1, 27.0, 0.72), (0.0, 0, 24.0, 0.6), (0.0, 1, 24.0, 0.6), (3.0, 0, 20.0, 0.8)],
        columns=["weight", "seed", "psnr", "ssim"],
    )
    psnr, _ = figures.sweep_plot(table, "weight", "lambda").axes
    assert [label.get_text() for label in psnr.get_xticklabels()] == ["0", "0.6", "3"]
    assert list(psnr.lines[0].get_ydata()) == [24.0, 26.0, 20.0]
    assert [text.get_text() for text in psnr.figure.legends[0].get_texts()] == ["mean over seeds"]


def test_every_layer_is_as_wide_as_its_network():
    rows = [
        ("w40", "0.45 M", Genotype((0, 0, 0), (CELL,) * 3), 20, (2,)),
        ("wm", "0.75 M", Genotype((0, 1, 2), (CELL,) * 3), 20, (1, 2, 4)),
    ]
    (axes,) = figures.width_rows(rows).axes
    bars = {patch.get_gid(): patch.get_height() for patch in axes.patches}
    assert [name for name in bars if name.startswith("layer 1")] == ["layer 1 width 40", "layer 1 width 20"]
    assert bars["layer 3 width 80"] == pytest.approx(2 * bars["layer 3 width 40"])
    texts = [text.get_text() for text in axes.texts]
    assert [text for text in texts if re.fullmatch(r"4 x \d+", text)] == ["4 x 40"] * 3 + ["4 x 20", "4 x 40", "4 x 80"]
    assert {"w40", "wm", "0.45 M", "0.75 M"} <= set(texts)
