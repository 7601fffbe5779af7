"""Claims name rows and arms that exist; verdicts follow from the effects that notebooks leave behind alone."""

import math
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from made_up_runs import effect, leave

from hinas_nb import figures, locations
from hinas_nb.batch import contract
from hinas_nb.evidence import claims, effects, paper_effects, paper_tables, stats
from hinas_nb.experiment.profile import load_profile
from hinas_nb.experiment.runs import REVISIONS
from hinas_nb.files import FileContentError
from hinas_nb.scoring.units import METRICS
from hinas_nb.settings import ConfigError

BOOK = paper_effects.load()
SEEDS = {"seeds": [0, 1, 2]}
ROOT = Path(__file__).parents[1]
EMPTY = pd.DataFrame(columns=effects.COLUMNS)


@pytest.fixture
def budget(tmp_path, monkeypatch):
    """The smoke budget with three seeds and no results."""
    monkeypatch.setenv("HINAS_RESULTS", str(tmp_path / "results"))
    return load_profile("smoke", SEEDS)


def judged(budget, name, comparison, metric, task="denoise", degradation=50.0, found=EMPTY) -> dict:
    """The row of `claims.judge` with the verdict on one difference."""
    table = claims.judge(found, budget, [name])
    same = (table["comparison"] == comparison) & (table["metric"] == metric) & (table["task"] == task)
    at = table["degradation"].isna() if degradation is None else table["degradation"] == degradation
    (row,) = table[same & at].to_dict("records")
    return row


# --- the file


def test_every_claim_of_the_paper_is_there():
    assert {
        *("lwas", "residual", "both", "random-search", "widths", "ssim-raises-ssim", "ssim-keeps-psnr"),
        *("r1-hurts", "r2-hurts-more", "sharing-keeps-scores", "sharing-saves", "last-layer-widest", "collapse"),
        *("early-stop", "denoising-accuracy", "denoising-speed", "sr-accuracy", "sr-heavy", "sr-speed", "trade-off"),
        "search-cost",
    } <= BOOK.claims.keys()


@pytest.mark.parametrize("number", BOOK.tables)
def test_rows_are_those_of_the_table(number):
    table = BOOK.tables[number]
    assert set((table.rows | table.others).values()) <= set(paper_tables.table(number)["row"])


@pytest.mark.parametrize("name", BOOK.claims)
def test_a_printed_claim_has_cells(name):
    claim = BOOK.claims[name]
    table = claims.printed([name])
    assert bool(len(table)) == bool(claim.tables or claim.said)
    for treatment, control in claim.compare if claim.tables else ():
        assert f"{treatment} - {control}" in set(table["comparison"]), "no cell that both arms have"


@pytest.mark.parametrize("name", [name for name, claim in BOOK.claims.items() if claim.notebooks])
def test_the_notebooks_of_a_claim_leave_effects_of_its_arms(name):
    """As they are written there: else the scorecard would wait for evidence that no notebook leaves behind."""
    written = ""
    for path in contract.find(list(BOOK.claims[name].notebooks), ROOT / "notebooks"):
        written += "\n".join(source for *_, source in contract.read(path).cells)
    assert "publisher.effects(" in written
    if name not in ("denoising-accuracy", "denoising-speed", "sr-accuracy", "sr-heavy", "sr-speed"):  # named by systems
        arms = {arm for pair in BOOK.claims[name].compare for arm in pair} - {effects.CHANCE, "MSE + 0.6 log-SSIM"}
        assert not [arm for arm in arms if f'"{arm}"' not in written]


@pytest.mark.parametrize("name", BOOK.claims)
def test_names_of_a_claim_have_something_behind_them(name):
    """Else they would read as missing evidence."""
    claim, tables = BOOK.claims[name], BOOK.tables
    assert {*claim.metrics, *claim.said} <= METRICS.keys() and set(claim.tables) <= tables.keys()
    printed = {effects.CHANCE} | {arm for number in claim.tables for arm in tables[number].rows | tables[number].others}
    assert not claim.tables or {arm for pair in claim.compare for arm in pair} <= printed
    assert all(arm in tables[other].rows for number in claim.tables for other, arm in tables[number].like)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"typo": 1}, "unknown setting typo = 1"), ({"metrics": {"psnr": {"direction": 2}}}, "direction: .* got 2")],
)
def test_a_wrong_setting_of_a_claim_is_refused(change, message, tmp_path, monkeypatch):
    content = yaml.safe_load((ROOT / "params" / "claims.yaml").read_text())
    content["claims"]["lwas"] |= change
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "claims.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setenv("HINAS_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=message) as error:
        paper_effects.load()
    assert "\n" not in str(error.value) and str(error.value).startswith(str(tmp_path))


def test_an_unknown_claim_is_refused(budget):
    with pytest.raises(ConfigError, match=r"claim must be one of lwas, .*, got 'lwa'"):
        claims.judge(EMPTY, budget, ["lwa"])


# --- the paper's side


def test_a_published_effect_is_welchs_of_the_printed_means_and_deviations(budget):
    found = judged(budget, "lwas", "LWAS - basic", "psnr")
    expected = stats.published(26.78, 0.0723, 26.70, 0.1749)
    assert (found["published"], found["published_low"], found["published_high"]) == pytest.approx(
        (expected.difference, expected.low, expected.high)
    )
    assert found["published_verdict"] == "undecided" and found["published_data"] == "BSDS500"


def test_single_runs_borrow_the_deviation_of_table_1(budget):
    found = judged(budget, "ssim-raises-ssim", "MSE + 0.6 log-SSIM - MSE", "ssim", degradation=30.0)
    half = 4.302652729749462 * 0.0015 * math.sqrt(2)
    assert found["published"] == pytest.approx(0.8403 - 0.8254)
    assert found["published_high"] - found["published"] == pytest.approx(half)
    assert found["published_note"] == "single runs; deviation of table 1"
    assert found["published_verdict"] == "supports"


def test_another_systems_number_is_exact(budget):
    found = judged(budget, "denoising-accuracy", "HiNAS - N3Net", "psnr")
    expected = stats.published(26.81, 0.07, 26.50, 0.0)
    assert (found["published_low"], found["published_high"]) == pytest.approx((expected.low, expected.high))
    assert found["published_note"] == "deviation of table 1"


def test_a_deviation_that_cannot_be_read_leaves_the_claim_undecided(budget):
    found = judged(budget, "residual", "ResL - basic", "psnr", degradation=70.0)
    assert math.isnan(found["published_low"]) and found["published_verdict"] == "undecided"
    assert "without a decimal point" in found["published_note"]


def test_costs_are_changes_in_percent(budget):
    hours = judged(budget, "sharing-saves", "sharing - no sharing", "gpu_hours", degradation=None)
    memory = judged(budget, "sharing-saves", "sharing - no sharing", "search_memory", degradation=None)
    assert hours["published"] == pytest.approx(100 * (1.0 / 3.6 - 1))
    assert memory["published"] == pytest.approx(100 * (1 / 3 - 1))
    assert {hours["published_verdict"], memory["published_verdict"]} == {"undecided"}, "one measurement each"
    widest = judged(budget, "last-layer-widest", "found - chance", "last_widest", degradation=None)
    assert widest["published_note"].startswith("1 of 1") and widest["published_verdict"] == "undecided"


def test_what_the_papers_own_evidence_decides():
    table = claims.printed(["lwas", "residual", "sr-accuracy"])
    of_claim = dict(list(table.groupby("claim")))
    denoised = of_claim["lwas"]["images"].str.startswith("BSDS500")
    assert set(of_claim["lwas"]["on the paper's evidence"][denoised]) == {"undecided"}
    enlarged = of_claim["residual"]["images"].str.endswith("x4")
    assert set(of_claim["residual"]["on the paper's evidence"][enlarged]) == {"supports"}
    equal = of_claim["sr-accuracy"]["images"].isin(["B100, x4", "B100, x2"])
    psnr = of_claim["sr-accuracy"][equal & (of_claim["sr-accuracy"]["metric"] == "PSNR (dB)")]
    assert list(psnr["on the paper's evidence"]) == ["contradicts"] * 2, "0.2 dB less than IMDN is not as high"


def test_the_published_row_is_that_of_our_images_else_of_b100(budget):
    for data, row in (("Set14", "Set14"), ("photos", "B100")):
        ours = effect("LWAS", "basic", "psnr", task="sr", data=data, degradation=4.0)
        found = judged(budget, "lwas", "LWAS - basic", "psnr", "sr", 4.0, ours)
        assert (found["data"], found["published_data"]) == (data, row)
    ours = effect("LWAS", "basic", "psnr", task="sr", data="Set14", degradation=2.0)
    found = judged(budget, "lwas", "LWAS - basic", "psnr", "sr", 2.0, ours)
    assert math.isnan(found["published"]) and found["published_data"] == ""


def test_published_differences_stand_beside_ours():
    both = paper_effects.beside(effect("LWAS", "basic", "psnr", data="BSDS500"), [1, 2]).iloc[0]
    assert both["published"] == pytest.approx(0.08) and both["difference"] == 0.5
    assert paper_effects.beside(effect("LWAS", "basic", "psnr"), [1, 2])["published"].isna().all(), "other images"


# --- our side


def test_without_effects_there_is_no_evidence(budget):
    found, words = claims.gathered(budget)
    table = claims.readable(claims.judge(found, budget))
    assert set(table["verdict"]) == {"no evidence yet"} and set(table["ours"]) == {""}
    assert words == "No notebook of this budget has left effects behind yet."
    numbers = claims.judge(found, budget).assign(group="all")
    assert figures.forest_plot(numbers, ["PSNR (dB)", "SSIM"]), "what the scorecard draws"


@pytest.mark.parametrize(
    ("name", "comparison", "difference", "verdict"),
    [
        ("lwas", "LWAS - basic", 0.5, "supports"),
        ("lwas", "LWAS - basic", -0.5, "contradicts"),
        ("lwas", "LWAS - basic", 0.01, "undecided"),
        ("ssim-keeps-psnr", "MSE + 0.6 log-SSIM - MSE", -0.02, "supports"),  # 0.02 dB less is within 0.05
        ("r1-hurts", "R1 - found", -0.5, "supports"),  # a claim of harm has its direction
    ],
)
def test_a_verdict_follows_from_the_effects_table(budget, name, comparison, difference, verdict):
    ours = effect(*comparison.split(" - "), "psnr", difference, half=0.02)
    found = judged(budget, name, comparison, "psnr", found=ours)
    names = ["difference", "low", "high", "detectable", "images_low", "seeds", "protocol", "note"]
    assert [found["ours" if one == "difference" else one] for one in names] == ours[names].iloc[0].tolist()
    assert (found["verdict"], found["data"]) == (verdict, "photos")
    others = claims.judge(ours, budget, ["residual", "sr-accuracy"])
    assert set(others["verdict"]) == {"no evidence yet"}, "another comparison"


def test_one_seed_is_undecided(budget):
    ours = effect("LWAS", "basic", "psnr", 0.5, math.nan, seeds=1)
    found = claims.readable(claims.judge(ours, budget, ["lwas"])).query("ours != ''")
    assert found[["verdict", "ours", "seeds"]].to_numpy().tolist() == [["undecided", "+0.50", "1"]]


def test_an_effect_without_a_degradation_holds_for_all(budget):
    ours = effect("ws", "w40", "parameters_m", -30.0, data="", degradation=math.nan)
    found = judged(budget, "widths", "ws - w40", "parameters_m", degradation=30.0, found=ours)
    assert (found["ours"], found["verdict"]) == (-30.0, "supports")
    table = claims.judge(EMPTY, budget, ["denoising-speed"])
    assert table["metric"].tolist() == ["time_s", "parameters_m"] and table["degradation"].isna().all()
    scales = claims.judge(EMPTY, budget, ["sr-speed"]).query("metric == 'time_s' and comparison == 'HiNAS - IMDN'")
    assert scales["degradation"].tolist() == [2, 3, 4]


def test_every_data_set_of_ours_has_a_row(budget):
    named = [effect("LWAS", "basic", "psnr", task="sr", data=name, degradation=4.0) for name in ("Set5", "Set14")]
    table = claims.judge(pd.concat(named), budget, ["lwas"]).query("metric == 'psnr' and degradation == 4")
    assert table["data"].tolist() == table["published_data"].tolist() == ["Set5", "Set14"]


# --- notebook and scorecard


def test_notebook_and_scorecard_agree_whatever_parameters_say(budget):
    """Both judge the same table: what `-p` changes in a notebook's effects, it changes in both."""
    for difference in (0.5, -0.5):
        ours = effect("LWAS", "basic", "psnr", difference)
        leave(budget, "10", ours)
        gathered, words = claims.gathered(budget)
        columns = [name for name in claims.judge(ours, budget, ["lwas"]) if name != "notebooks"]
        alone, together = (claims.judge(one, budget, ["lwas"])[columns] for one in (ours, gathered))
        pd.testing.assert_frame_equal(alone, together, check_dtype=False)
        assert words == "All 1 effects left behind are of today's revisions."


def test_only_the_notebooks_of_a_claim_speak_to_it_the_first_first(budget):
    shares = {"data": "", "degradation": math.nan}
    leave(budget, "10", effect("found", "chance", "last_widest", 90, **shares))
    leave(budget, "04", effect("found", "chance", "last_widest", 50, **shares))
    gathered, _ = claims.gathered(budget)
    asked = ("last-layer-widest", "found - chance", "last_widest", "denoise", None)
    assert judged(budget, *asked, gathered)["ours"] == 50
    leave(budget, "03", effect("found", "chance", "last_widest", 40, **shares))
    assert judged(budget, *asked, claims.gathered(budget)[0])["ours"] == 40


def test_effects_of_older_revisions_are_told_and_not_counted(budget, monkeypatch):
    ours = pd.concat([effect("LWAS", "basic", "psnr"), effect("found", "chance", "last_widest", 25.0)])
    leave(budget, "10", ours)
    before = REVISIONS["evaluate"]
    monkeypatch.setitem(REVISIONS, "evaluate", before + 1)
    found, words = claims.gathered(budget)
    line = rf"1 of 2 effects left behind, by 10, rest on evaluate revision {before} \(now {before + 1}\): no verdict .*"
    assert re.fullmatch(line, words)
    assert found["metric"].tolist() == ["last_widest"], "a share of genotypes rests on no evaluation"


def test_a_damaged_file_stops_the_scorecard_with_one_line(budget):
    path = leave(budget, "10", effect("LWAS", "basic", "psnr"))
    path.write_text("treatment,control\n1")
    with pytest.raises(
        FileContentError, match=r"10_a_notebook__effects\.csv must be a table of effects, got "
    ) as error:
        claims.gathered(budget)
    assert "\n" not in str(error.value)


def test_what_is_missing_says_how_to_get_it(budget):
    numbers = claims.judge(effect("LWAS", "basic", "psnr"), budget, ["lwas", "collapse", "trade-off"])
    table = claims.missing(numbers, "smoke", SEEDS).set_index("claims")
    assert table.loc["lwas", "command"] == """hinas-nb run 10 --profile smoke -p 'overrides={"seeds": [0, 1, 2]}'"""
    assert table.loc["lwas", "without evidence"] == table.loc["lwas", "rows"] - 1
    assert table.loc["trade-off", ["notebook", "command"]].tolist() == ["none", ""]


# --- what people see


def test_what_contradicts_the_paper_is_said_first():
    row = {"it says": "LWAS helps", "comparison": "LWAS - basic", "images": "sigma 50", "metric": "PSNR (dB)"}
    row |= {"ours": "-0.20 [-0.30, -0.10]", "published": "+0.08 [-0.29, +0.45]", "verdict": "contradicts"}
    table = pd.DataFrame([row, row | {"verdict": "undecided"}])
    text = claims.against_the_paper(table, "laptop")
    assert text.startswith("**Contradicts the paper** at the laptop budget (1 contradicts, 1 undecided):")
    assert text.count("- LWAS helps: LWAS - basic, sigma 50, PSNR (dB) is -0.20 [-0.30, -0.10]") == 1
    calm = claims.against_the_paper(table[1:], "laptop")
    assert calm == "**Nothing that was tested here contradicts the paper** at the laptop budget (1 undecided)."


def test_the_scorecard_has_a_row_for_every_sigma_and_scale(budget):
    table = claims.readable(claims.judge(EMPTY, budget, ["lwas", "sharing-keeps-scores"]))
    levels = {name: set(rows["images"]) for name, rows in table.groupby("claim")}
    assert levels["lwas"] == {"sigma 30", "sigma 50", "sigma 70", "x4"}
    assert levels["sharing-keeps-scores"] == {"sigma 30", "sigma 50", "sigma 70", "x2", "x4"}, "x4 is ours alone"
    assert set(table["claimed"]) == {"> 0", "> -0.05", "> -0.002"}
    harm = claims.readable(claims.judge(EMPTY, budget, ["r1-hurts", "sharing-third"]))
    assert set(harm["claimed"]) == {"< 0", "< -60"}


@pytest.mark.parametrize(
    ("metric", "numbers", "text"),
    [
        ("psnr", (0.051, -0.004, 0.11), "+0.05 [-0.00, +0.11]"),
        ("ssim", (0.00251, math.nan, math.nan), "+0.0025"),
        ("psnr", (math.nan, 0.1, 0.2), "[+0.10, +0.20]"),
        ("gpu_hours", (-72.2,), "-72"),
        ("psnr", (math.nan,), ""),
        ("psnr", (0.002, -0.004, 0.007), "+0.002 [-0.004, +0.007]"),
        ("psnr", (0.0, -0.0, 0.0), "+0.00 [+0.00, +0.00]"),
    ],
)
def test_numbers_are_printed_with_the_digits_of_their_metric(metric, numbers, text):
    assert METRICS[metric].text(*numbers) == text


def test_another_collection_may_have_other_claims(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "params", tmp_path / "params")
    path = tmp_path / "params" / "claims.yaml"
    content = yaml.safe_load(path.read_text())
    content["claims"] = {"mine": content["claims"]["lwas"]}
    path.write_text(yaml.safe_dump(content))
    monkeypatch.setenv("HINAS_HOME", str(tmp_path))
    assert set(claims.printed()["claim"]) == {"mine"}
    assert locations.home() == tmp_path
