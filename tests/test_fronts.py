"""Fronts of accuracy against milliseconds: who is on one, and what a kind of search is worth at matched latency."""

import math

import matplotlib
import numpy as np
import pandas as pd
import pytest

from hinas_nb import figures
from hinas_nb.evidence import fronts
from hinas_nb.experiment.config import SearchConfig, TrainConfig
from hinas_nb.training.search import candidate

SEARCH = SearchConfig(data="photos", split="train", validation="validation")
TRAIN = TrainConfig(genotype=SEARCH, data="photos", split="train", validation="validation", fold=2)


def table(excess: float, noise: float = 0.0, count: int = 6) -> pd.DataFrame:
    """Random genotypes on a line in log(ms), and networks of a search that lie `excess` dB above it."""
    rng = np.random.default_rng(0)
    rows = []
    for kind, above, spread in ((fronts.RANDOM, 0.0, noise), ("plain", excess, noise)):
        for number, ms in enumerate(np.geomspace(20, 90, count)):
            psnr = 24 + 0.3 * math.log(ms) + above + spread * rng.standard_normal()
            rows.append({"kind": kind, "number": number, "ms": ms, "psnr": psnr})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("excess", [-0.2, 0.0, 0.15])
def test_what_lies_a_constant_above_the_line_of_chance_exceeds_it_by_that(excess):
    (row,) = fronts.beyond(table(excess)).to_dict("records")
    assert (row["kind"], row["networks"]) == ("plain", 6)
    assert row["excess"] == pytest.approx(excess, abs=1e-9)


def test_a_verdict_needs_the_whole_interval_on_one_side():
    (clear,) = fronts.beyond(table(0.3, noise=0.02)).to_dict("records")
    (lost,) = fronts.beyond(table(0.02, noise=0.3)).to_dict("records")
    assert clear["verdict"] == "supports" and 0 < clear["low"] < clear["excess"] < clear["high"]
    assert lost["verdict"] == "undecided" and lost["low"] < 0 < lost["high"] and lost["detectable"] > 0.02
    unknown = {"excess": 0.1, "low": math.nan, "high": math.nan}
    assert [fronts.outcome(one) for one in (clear, lost)] == ["better", "undecided"]
    assert fronts.outcome(fronts.beyond(table(-0.3, noise=0.02)).iloc[0]) == "worse"
    assert fronts.in_words(clear).endswith("] dB") and fronts.in_words(unknown) == "+0.10 dB"


def test_speed_alone_is_no_excess():
    """A kind slower than any random genotype is held against the line, not against their mean."""
    slow = table(0.0).assign(ms=lambda rows: rows["ms"] * np.where(rows["kind"] == "plain", 5, 1))
    slow["psnr"] = 24 + 0.3 * np.log(slow["ms"])
    (row,) = fronts.beyond(slow).to_dict("records")
    assert row["excess"] == pytest.approx(0, abs=1e-9)


def test_kinds_are_held_against_the_plain_search_without_the_random_ones():
    frame = table(0.0)
    aware = frame[frame["kind"] == "plain"].assign(kind="aware", ms=lambda own: own["ms"] / 2)
    aware["psnr"] = 24.1 + 0.3 * np.log(aware["ms"])  # lower scores, and yet 0.1 dB more than plain at their latency
    frame = pd.concat([frame, aware], ignore_index=True)
    frame.loc[frame["kind"] == fronts.RANDOM, "psnr"] -= np.arange(6)
    found = fronts.beyond(frame, "plain")
    assert found["kind"].tolist() == ["aware"] and found["excess"][0] == pytest.approx(0.1)
    (row,) = fronts.by_seed(frame).to_dict("records")
    assert row["seeds"] == 6 and row["ms"] == pytest.approx(-50)
    assert row["psnr"] == pytest.approx(0.1 - 0.3 * np.log(2)), "seed by seed, faster is worse"
    assert fronts.beyond(table(0.0), "plain").empty


@pytest.mark.parametrize("farther", [1.0, 0.3], ids=["among", "beyond"])
def test_without_an_excess_one_verdict_in_forty_is_wrong_on_either_side(farther):
    """Three networks and six random genotypes of one line, noise alike; also where no random one is as fast."""
    rng, frame = np.random.default_rng(0), table(0.0).iloc[:9]
    frame = frame.assign(ms=frame["ms"] * np.where(frame["kind"] == "plain", farther, 1))
    line = 24 + 0.3 * np.log(frame["ms"])
    draws = [fronts.beyond(frame.assign(psnr=line + rng.normal(size=9)))["verdict"][0] for _ in range(400)]
    assert draws.count("supports") <= 20 and draws.count("contradicts") <= 20


def test_too_few_networks_give_no_interval():
    (row,) = fronts.beyond(table(0.1).iloc[[0, 3, 6]]).to_dict("records")
    assert math.isnan(row["low"]) and math.isnan(row["detectable"]) and row["verdict"] == "undecided"


def test_every_network_is_timed_once_and_as_it_is_trained():
    trainings = {("plain", seed): TRAIN.but(genotype=SEARCH.but(seed=seed)) for seed in range(2)}
    trainings |= {(fronts.RANDOM, 0): TRAIN.but(genotype=candidate(SEARCH, 0))}
    timing = fronts.timed(trainings, 32, 24, rounds=3)
    assert [arm.label for arm in timing.arms] == ["plain 0", "plain 1", "random 0"]
    assert all((arm.fold, arm.base_width, arm.height) == (2, TRAIN.base_width, 32) for arm in timing.arms)
    assert timing.producers == (SEARCH, SEARCH.but(seed=1)) and timing.arms[2].network == candidate(SEARCH, 0)


def test_the_plot_has_a_mark_a_network_and_both_fronts():
    alone = figures.front_plot(table(0.1).drop_duplicates("kind"))
    assert not any("front" in str(line.get_gid()) for line in alone.axes[0].lines)
    figure = figures.front_plot(table(0.1), title="A claim")
    axes = figure.axes[0]
    marks = {mark.get_gid(): mark for mark in axes.collections}
    assert {name: len(mark.get_offsets()) for name, mark in marks.items()} == {"kind plain": 6, "kind random": 6}
    lines = {line.get_gid(): line for line in axes.get_lines()}
    assert set(lines) == {"front of found", "front of random"}
    heights = lines["front of found"].get_ydata()
    assert list(heights) == sorted(heights) and heights[-1] == pytest.approx(table(0.1)["psnr"].max())
    assert isinstance(figure, matplotlib.figure.Figure)
