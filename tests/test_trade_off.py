"""The front is what nobody beats; published and measured stand with the right network; figures draw all of it."""

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from hinas_nb import figures
from hinas_nb.evidence import trade_off
from hinas_nb.evidence.rivals import AS_PUBLISHED, HINAS
from hinas_nb.evidence.trade_off import pareto
from hinas_nb.settings import ConfigError

PANEL = "Published scores, our time"


def timed(**seconds: float) -> pd.DataFrame:
    """As `comparison.measured`, by title with _ for a blank."""
    table = pd.DataFrame({"network": [name.replace("_", " ") for name in seconds], "seconds": list(seconds.values())})
    return table.assign(
        **{"seconds low": table["seconds"] * 0.9, "seconds high": table["seconds"] * 1.1, "part": False},
        **{"times HiNAS": table["seconds"] / table["seconds"][0]},
    )


def counted(**multiply_adds: float) -> pd.DataFrame:
    """As `comparison.sizes`, with a hundredth as many parameters as multiply-adds."""
    names = [name.replace("_", " ") for name in multiply_adds]
    table = pd.DataFrame({"network": names, "multiply-adds": list(multiply_adds.values())})
    said = {"own paper": math.nan, "reason": "", "file": "method/network.py"}
    return table.assign(parameters=table["multiply-adds"] / 100, **said)


def scores(**psnr: float) -> pd.DataFrame:
    """Two images a network, 1 dB above and below."""
    rows = [(name, value + step, value / 50) for name, value in psnr.items() for step in (-1, 1)]
    return trade_off.means(pd.DataFrame(rows, columns=["arm", "psnr", "ssim"]))


@pytest.fixture
def known() -> pd.DataFrame:
    times = timed(HiNAS=2, HiNAS_of_published_size=3, RED30=1, MemNet=20, N3Net=40, DnCNN=2.5, Wavelet=0.1)
    counts = counted(HiNAS=2e10, HiNAS_of_published_size=4e10, RED30=6e11, MemNet=4e11, N3Net=1e11, DnCNN=8e10)
    return trade_off.systems("denoise", 50, times, counts, scores(HiNAS=25, DnCNN=26, Wavelet=22, Noisy=15))


# The front


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_brute_force_leaves_unbeaten(seed):
    generator = np.random.default_rng(seed)
    costs, values = generator.integers(1, 9, (2, 30)).astype(float)  # few values: ties and equal points occur
    costs[generator.integers(30)], values[generator.integers(30)] = math.nan, math.nan
    points = list(zip(costs, values))
    unbeaten = [
        not any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in points)
        and not math.isnan(cost + value)
        for cost, value in points
    ]
    assert pareto(costs, values).tolist() == unbeaten


@pytest.mark.parametrize("seed", range(5))
def test_the_front_depends_on_order_alone(seed):
    generator = np.random.default_rng(seed)
    costs, values = generator.random((2, 40))
    front, order = pareto(costs, values), generator.permutation(40)
    assert (pareto(np.log(costs), values**3) == front).all()
    assert (pareto(costs[order], values[order]) == front[order]).all()
    assert (pareto(costs[front], values[front])).all()


def test_equal_points_share_the_front_and_nothing_has_none():
    assert pareto([1, 1, 2], [5, 5, 5]).tolist() == [True, True, False]
    assert pareto([], []).tolist() == [] and pareto([math.nan], [1]).tolist() == [False]


# The table


@pytest.mark.parametrize(
    "task, level, psnr, seconds", [("denoise", 30, 29.23, 16.21), ("sr", 3, 28.84, 1.59), ("sr", 4, 27.35, 1.45)]
)
def test_published_rows_are_those_of_figure_14(task, level, psnr, seconds):
    rows = trade_off.printed(task, level).set_index("published as")
    assert rows.loc["HiNAS", "published PSNR (dB)"] == psnr and rows.loc["HiNAS", "published (s)"] == seconds
    assert rows.index.is_unique


def test_doubted_are_flagged_cells_and_scores_of_other_images():
    doubted = trade_off.printed("denoise", 50).set_index("published as")["doubt"]
    assert set(doubted[doubted != ""].index) == {"BM3D", "WNNM", "RED"}
    assert "7260" in trade_off.printed("sr", 4).set_index("published as").loc["VDSR", "doubt"]


def test_a_level_that_is_not_published_is_refused():
    with pytest.raises(ConfigError, match=r"^level of denoise must be one that table 10 has \(30 50 70\), got 25$"):
        trade_off.printed("denoise", 25)


def test_published_scores_stand_with_the_published_size_ours_with_what_was_found(known):
    rows = known.set_index("network")
    assert rows.index.is_unique and known["seconds"].dropna().is_monotonic_increasing
    assert rows.loc[AS_PUBLISHED, "published PSNR (dB)"] == 26.81 and math.isnan(rows.loc[AS_PUBLISHED, "PSNR (dB)"])
    assert rows.loc[HINAS, "PSNR (dB)"] == 25 and math.isnan(rows.loc[HINAS, "published PSNR (dB)"])
    assert rows.loc["RED30", "published as"] == "RED" and rows.loc["MemNet", "GFLOP/s"] == pytest.approx(40)
    assert rows.loc["Wavelet", "parameters"] == 0 and math.isnan(rows.loc["DuRN-P", "seconds"])
    assert rows.loc["Wavelet", "file"] == "comparators/classical.py" and rows.loc["DnCNN", "times HiNAS"] == 1.25
    assert rows.loc["N3Net", "published, times HiNAS"] == pytest.approx(80.74 / 16.21)
    ends = rows.loc["DnCNN", ["PSNR (dB) low", "PSNR (dB) high"]].tolist()  # Student's, of two images: 25 and 27 dB
    assert ends == pytest.approx([26 - 12.706, 26 + 12.706], abs=1e-3)


def test_what_no_table_has_stands_with_the_scores_of_its_own_paper():
    rows = trade_off.printed("sr", 2).set_index("published as")
    assert rows.loc["FALSR-A", ["published PSNR (dB)", "published SSIM"]].tolist() == [32.12, 0.8987]
    known = trade_off.systems("sr", 2, timed(HiNAS=1, FALSR=2), counted(HiNAS=1), scores())
    assert {"FALSR-A", "FALSR-B", "FALSR-C", "MoreMNAS-D"} <= set(known["network"])
    assert "FALSR-A" not in trade_off.printed("sr", 3)["published as"].tolist()


def test_a_level_without_scores_of_ours_has_an_empty_panel_that_can_join_others():
    counts, times = counted(IMDN=1e9), timed(IMDN=1)
    known = trade_off.systems("sr", 3, times, counts, scores())
    points = [trade_off.points(known, str(theirs), "seconds", theirs) for theirs in (True, False)]
    assert points[1].empty and pd.concat(points)["y_low"].dtype == float
    figures.trade_off_plot(pd.concat(points), {"True": "s"})


def test_the_doubted_are_on_no_front_and_beat_nobody(known):
    points = trade_off.points(known, PANEL, "seconds", True)
    psnr = points[points["metric"] == "psnr"].set_index("network")
    assert psnr["x"].to_dict() == {"RED": 1, "HiNAS": 3, "MemNet": 20, "N3Net": 40}
    assert psnr["front"].to_dict() == {"RED": False, "HiNAS": True, "MemNet": False, "N3Net": False}
    told = "HiNAS (MemNet is beaten in PSNR by HiNAS and in SSIM by HiNAS)"
    assert trade_off.front_in_words(points, PANEL, "MemNet") == told
    assert trade_off.beaten_by(points, PANEL, "ssim", "RED") == [], "it is cheaper than all others"
    assert trade_off.left_out(known, "seconds", True) == ["BM3D", "DBSN", "DuRN-P", "E-CAE", "NLRN", "WNNM"]


def test_fronts_are_told_in_words_and_in_the_table(known):
    points = trade_off.points(known, "ours", "seconds", False)
    found = trade_off.with_fronts(known, points).set_index("network")["on the front of"]
    assert found[found != ""].to_dict() == dict.fromkeys(["Wavelet", "HiNAS", "DnCNN"], "ours: PSNR; ours: SSIM")
    assert trade_off.front_in_words(points, "ours", HINAS) == "Wavelet, HiNAS and DnCNN"
    points.loc[points["metric"] == "ssim", "front"] = False
    assert trade_off.on_front(points, "ours", HINAS) == "on the front in PSNR only"
    assert trade_off.on_front(points, "ours", "nobody") == "on no front"


# Time and multiply-adds


def test_where_time_and_multiply_adds_part(known):
    part = trade_off.parting(known)
    assert "RED30 computes fastest" in part.words and "N3Net slowest" in str(part)
    assert part.ratio == pytest.approx((6e11 / 1) / (1e11 / 40))
    assert "N3Net needs 6 times fewer multiply-adds than RED30 and takes 40 times as long" in part.words
    assert part.pair in part.words


def test_nothing_parts_where_time_follows_the_multiply_adds():
    known = pd.DataFrame({"network": list("abc"), "seconds": [1.0, 2, 4], trade_off.GIGA: [1.0, 3, 5]})
    part = trade_off.parting(known.assign(**{"GFLOP/s": 2 * known[trade_off.GIGA] / known["seconds"]}))
    assert part.kendall == pytest.approx(1)
    assert part.words.endswith("nobody with fewer multiply-adds takes longer")


def test_published_and_measured_times_are_ranked(known):
    assert trade_off.agreement(known) == (3, pytest.approx(1))


def test_listing():
    assert [trade_off.listed(names) for names in ("", "a", "ab", "abc")] == ["nobody", "a", "a and b", "a, b and c"]


# Figures


def random_points(count: int) -> pd.DataFrame:
    generator = np.random.default_rng(1)
    parts = []
    for panel, metric in product(["one", "other"], ["psnr", "ssim"]):
        own = pd.DataFrame({"panel": panel, "metric": metric, "network": [f"Method {i}" for i in range(count)]})
        own["x"], own["y"] = 10 ** generator.uniform(0, 1.2, count), generator.uniform(25, 26, count)
        own["parameters"], own["part"], own["doubt"] = 10 ** generator.uniform(-2, 1.5, count), False, ""
        own["x_low"] = own["x_high"] = math.nan
        own["y_low"], own["y_high"] = own["y"] - 0.02, own["y"] + 0.02
        parts.append(own.assign(front=pareto(own["x"], own["y"])))
    table = pd.concat(parts, ignore_index=True)
    table.loc[table["network"] == "Method 3", "doubt"] = "other images"
    table.loc[table["network"] == "Method 5", "parameters"] = 0
    table.loc[table["network"] == "Method 7", "part"] = True
    return table


def named(axes) -> list[Text]:
    return [text for text in axes.texts if text.get_text().startswith("Method")]


def test_trade_off_names_every_network_once_in_every_panel_without_overlap():
    table = random_points(9)
    figure = figures.trade_off_plot(table, {"one": "seconds", "other": "more seconds"}, ["Method 1"], "A claim")
    assert [axes.get_xlabel() for axes in figure.axes] == ["seconds"] * 2 + ["more seconds"] * 2
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert axes.get_xscale() == "log"
        names = [text.get_text() for text in named(axes)]
        assert sorted(names) == sorted({*table["network"], "Method 7 *"} - {"Method 7"})
        boxes = [Text.get_window_extent(text) for text in named(axes)]
        assert not any(box.overlaps(other) for index, box in enumerate(boxes) for other in boxes[:index])
        assert [text.get_text() for text in named(axes) if text.get_fontweight() == "bold"] == ["Method 1"]


def test_trade_off_joins_the_front_and_marks_the_doubted():
    table = random_points(6)
    figure = figures.trade_off_plot(table, {"one": "s", "other": "s"})
    own = table[(table["panel"] == "one") & (table["metric"] == "psnr")].set_index("network")
    axes = figure.axes[0]
    (line,) = [line for line in axes.lines if line.get_gid() == "front"]
    corners = set(map(tuple, line.get_xydata()))
    assert set(zip(own["x"][own["front"]], own["y"][own["front"]])) <= corners
    faces = {mark.get_gid().removeprefix("mark "): mark.get_facecolor()[0, :3].tolist() for mark in axes.collections}
    assert {name for name, face in faces.items() if face == [1, 1, 1]} == {"Method 3"} and set(faces) == set(own.index)
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"nothing trained", "Pareto front", "doubtful, on no front"} <= set(said)
    assert "timed on a part of the image" not in said


def test_a_misprint_does_not_squeeze_the_others():
    table = random_points(6)
    table.loc[table["doubt"].ne(""), "y"] = 2.5
    axes = figures.trade_off_plot(table, {"one": "s", "other": "s"}).axes[0]
    heights = {mark.get_gid().removeprefix("mark "): mark.get_offsets()[0, 1] for mark in axes.collections}
    sound = [height for name, height in heights.items() if "Method 3" not in name]
    assert heights["Method 3 (2.5)"] == pytest.approx(min(sound) - (max(sound) - min(sound)) / 4)


def test_lines_of_equal_speed_have_it(known):
    table = trade_off.rates(known, "denoise")
    figure = figures.rate_plot(table, "seconds", (HINAS,))
    lines = [line for line in figure.axes[0].lines if (line.get_gid() or "").startswith("rate")]
    for line in lines:
        assert np.allclose(2 * line.get_xdata() / line.get_ydata(), float(line.get_gid().split()[1]))
    assert {line.get_gid() for line in lines} >= {"rate 10", "rate 100", "rate 1000"}
