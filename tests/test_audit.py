"""The audit of protocols: the ladder leads where it says, and what averaging is worth is foretold."""

import numpy as np
import pandas as pd
import pytest
import torch

from hinas_nb import figures
from hinas_nb.data import ImageSet
from hinas_nb.evidence import audit, paper_tables
from hinas_nb.experiment.profile import load_profile
from hinas_nb.scoring import evaluate, protocol

LEVELS = {"denoise": {"sigma": 50.0}, "sr": {"scale": 4}}
SIGMA = 20.0
tasks = pytest.mark.parametrize("task", LEVELS)


def switches(rule: protocol.Protocol) -> dict:
    return rule.model_dump() | {"border": rule.scored_border}


def differing(first: protocol.Protocol, second: protocol.Protocol) -> set[str]:
    one, other = switches(first), switches(second)
    return {name for name in one if one[name] != other[name]}


@pytest.fixture(scope="module")
def flat() -> ImageSet:
    """Two grey images of unlike sizes, so far from black and white that nothing is clipped."""
    sizes = {"a": (150, 200), "b": (200, 130)}
    pictures = tuple(torch.full((1, *size), 128, dtype=torch.uint8) for size in sizes.values())
    return ImageSet("test", "all", tuple(sizes), pictures)


@pytest.fixture(scope="module")
def scores(flat) -> pd.DataFrame:
    """A denoiser known in full: it halves the noise and darkens the image, under every rung of the averaging."""

    def halved(noisy):
        return 0.5 * (noisy - 128 / 255) + 120 / 255

    rules = {audit.STANDARD: protocol.get("denoise-standard", sigma=SIGMA)} | audit.averaging(SIGMA, audit.STEPS)
    rows = [
        {"network": "halved", "rung": rung, "image": score.image, "psnr": score.psnr, "ssim": score.ssim}
        for rung, rule in rules.items()
        for score in evaluate.evaluate(halved, flat, rule)
    ]
    return pd.DataFrame(rows)


# The ladder


@tasks
def test_the_way_leads_from_standard_to_released_one_switch_at_a_time(task):
    rungs = audit.rungs(task, **LEVELS[task])
    assert rungs[audit.STANDARD] == protocol.get(f"{task}-standard", **LEVELS[task])
    assert differing(rungs[audit.RELEASED], protocol.get(f"{task}-released", **LEVELS[task])) == set()
    steps = audit.steps_to_released(task)
    assert list(steps) == list(audit._CHAIN[task])
    for step, (before, after) in steps.items():
        assert differing(rungs[before], rungs[after]) == set(audit._CHAIN[task][step]), step
    ends = [pair[0] for pair in steps.values()] + [list(steps.values())[-1][1]]
    assert (ends[0], ends[-1]) == (audit.STANDARD, audit.RELEASED)
    assert [pair[1] for pair in steps.values()] == ends[1:]


@tasks
def test_a_switch_alone_is_alone(task):
    rungs = audit.rungs(task, **LEVELS[task])
    for title in audit._ALONE[task]:
        assert len(differing(rungs[audit.STANDARD], rungs[title])) == 1, title
    assert rungs.get("border 6 px wider", rungs[audit.STANDARD]).scored_border == (10 if task == "sr" else 0)
    brief = audit.rungs(task, brief=True, **LEVELS[task])
    assert set(brief) < set(rungs) and audit.RELEASED in brief
    scored = pd.DataFrame({"rung": list(brief)})
    single = audit.single_switches(task, scored)
    assert set(single) <= set(brief) and len(single) > 1


def test_the_released_step_shares_its_runs_with_the_ladder():
    """The same protocol, spelt the same way: it is computed once."""
    looks, rungs = audit.averaging(50.0, audit.STEPS), audit.rungs("denoise", sigma=50.0)
    for noise, rung in ((audit._CUT, "tiles of one noisy image"), (audit._FRESH, "+ fresh noise for each tile")):
        assert looks[audit._STEP.format(48, noise)].identity() == rungs[rung].identity()


def test_networks_are_hinas_and_a_rival_of_its_cost():
    budget = load_profile("laptop")
    denoisers = audit.networks(budget, "denoise", ["Non-local means"], sigma=50.0)
    assert list(denoisers) == ["HiNAS", "DnCNN-35", "Non-local means"]
    headline = budget.train("denoise", budget.search("denoise", seed=0), headline=True, sigma=50.0)
    assert denoisers["HiNAS"] == headline and denoisers["Non-local means"] == "nlm"
    assert list(audit.networks(budget, "sr", scale=4)) == ["HiNAS", "FSRCNN", "bicubic"]


# Averaging


def test_a_look_more_draws_noise_of_its_own_and_the_first_is_the_standard_one():
    standard = protocol.get("denoise-standard", sigma=SIGMA)
    clean = torch.full((1, 1, 200, 200), 0.5)
    looks = [standard.noisy(clean, "a", look=look) - clean for look in range(3)]
    assert torch.equal(looks[0], standard.noisy(clean, "a") - clean)
    correlation = torch.corrcoef(torch.stack(looks).flatten(1))
    assert (correlation - torch.eye(3)).abs().max() < 0.03  # 40,000 pixels: 5 deviations are 0.025


def test_the_mean_of_k_looks_has_the_fixed_error_and_a_kth_of_the_noisy_one(flat):
    standard = protocol.get("denoise-standard", sigma=SIGMA).but(round_output=False)
    for looks in (2, 4):
        for score in evaluate.evaluate(lambda noisy: noisy, flat, standard.but(averaged=looks)):
            assert 10 ** (-score.psnr / 10) == pytest.approx((SIGMA / 255) ** 2 / looks, rel=0.05)


def test_parts_of_the_error_are_the_known_ones(scores):
    """Noise halved: a quarter of sigma squared; darkened by 8 levels: 64, and 1/12 of rounding."""
    found = audit.error_parts(scores).loc["halved"] * 255**2
    assert found["noisy"].to_numpy() == pytest.approx(SIGMA**2 / 4, rel=0.08)
    assert found["fixed"].to_numpy() == pytest.approx(64 + 1 / 12, rel=0.12)


def test_counting_looks_foretells_what_was_measured(scores, flat):
    told = audit.gains_foretold(scores, flat, SIGMA, audit.STEPS)
    assert told["step"].tolist() == list(audit.STEPS)
    assert told["measured"].iloc[-1] > told["measured"].iloc[0] + 0.5, "more overlap is worth more"
    assert told["miss"].abs().max() < 0.06
    assert np.allclose(told["foretold"] - told["measured"], told["miss"])
    curve = audit.gain_curves(scores)
    assert curve["gain"].iloc[-1] == pytest.approx(0) and curve["gain"].is_monotonic_decreasing


def test_share_is_the_mean_of_one_over_the_tiles_on_a_pixel(flat):
    rule = protocol.get("denoise-released").but(tile=100, tile_step=100)
    # 150 x 200: rows 50-100 lie in two tiles, columns in one; 200 x 130: columns 30-100 of 130 in two.
    assert audit.noise_left(flat, rule).tolist() == pytest.approx([1 - 0.5 * 50 / 150, 1 - 0.5 * 70 / 130])


# Tables and figures


@pytest.fixture
def ladder_scores() -> pd.DataFrame:
    """B is better than A by 1 dB under the standard, worse by 1 dB as released."""
    rungs = list(audit.rungs("denoise", sigma=50.0))
    rows = [
        (network, rung, image, 25 + number + (sign if rung == audit.RELEASED else -sign), 0.7 + 0.01 * number)
        for network, sign in (("A", 0.5), ("B", -0.5))
        for rung in rungs
        for number, image in enumerate("xyz")
    ]
    return pd.DataFrame(rows, columns=["network", "rung", "image", "psnr", "ssim"])


def test_steps_add_up_and_pair_by_image(ladder_scores):
    found = audit.changes(ladder_scores, audit.steps_to_released("denoise"))
    total = found.groupby(["network", "metric"])["change"].sum()
    assert total["A", "psnr"] == pytest.approx(1) and total["B", "psnr"] == pytest.approx(-1)
    last = found[(found["metric"] == "psnr") & (found["step"] == "SSIM zero-padded")]
    assert np.allclose(last["low"], last["high"]), "images differ, their changes do not"


def test_a_swapped_order_is_seen(ladder_scores):
    ranked = audit.margins(ladder_scores, [audit.STANDARD, "input clipped", audit.RELEASED])
    placed = audit.orders(ranked).set_index(["rung", "metric"])
    assert placed["order"][audit.STANDARD, "psnr"] == "B > A" and placed["order"][audit.RELEASED, "psnr"] == "A > B"
    same = placed["same"].unstack()["psnr"].to_dict()
    assert same == {audit.STANDARD: True, "input clipped": True, audit.RELEASED: False}
    margin = ranked.set_index(["rung", "metric", "network"])["margin"]
    assert margin[audit.STANDARD, "psnr", "B"] == pytest.approx(1) and margin[audit.STANDARD, "psnr", "A"] == 0


def test_a_waterfall_hangs_together(ladder_scores):
    table = audit.changes(ladder_scores, audit.steps_to_released("denoise"))
    figure = figures.waterfall(table)
    assert len(figure.axes) == 4
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["standard", *audit._CHAIN["denoise"], "released"]
    for _, steps in table.groupby(["network", "metric"]):
        assert np.allclose(steps["start"].iloc[1:], steps["end"].iloc[:-1])


def test_the_tile_map_draws_tiles_and_counts():
    rule = protocol.get("denoise-released")
    picture = torch.rand(1, 1, 150, 200, generator=torch.Generator().manual_seed(0))
    figure = figures.tile_map(picture, rule.tiles(150, 200), rule.looks(150, 200))
    boxes = [patch for patch in figure.axes[0].patches if patch.get_gid() == "tile"]
    assert [(box.get_width(), box.get_height()) for box in boxes] == [(64, 64)] * 2
    assert boxes[1].get_x() - boxes[0].get_x() == 48


def test_every_row_of_table_10_says_how_it_was_scored():
    found = paper_tables.origins(10).set_index("row")
    assert list(found.index) == list(paper_tables.wide(10)["Methods"])
    assert found["comparable"]["HiNAS"] == "own" and (found["scored"] != "").all()
    assert set(found.index[found["comparable"] == "no"]) == {"BM3D", "WNNM", "RED"}
