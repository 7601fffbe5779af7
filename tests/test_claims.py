"""Claims name rows, arms and Runs that exist; both sides are read as they stand; verdicts follow from them."""

import json
import math
import re
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from made_up_runs import finish, score

from hinas_nb import locations
from hinas_nb.batch import contract, planning
from hinas_nb.evidence import claim_file, claims, paper_tables, said, stats, timing_runs
from hinas_nb.evidence.claim_file import METRICS, PUBLISHED_ONLY
from hinas_nb.evidence.claims import Question
from hinas_nb.experiment.config import Arm, Comparator, SearchConfig, Space, TimingConfig
from hinas_nb.experiment.profile import load_profile
from hinas_nb.experiment.runs import REVISIONS, producer_of
from hinas_nb.method.genotype import random_genotype
from hinas_nb.running.store import Store
from hinas_nb.settings import ConfigError

BOOK = claim_file.load()
SEEDS = {"seeds": [0, 1, 2]}
ROOT = Path(__file__).parents[1]


@pytest.fixture
def budget(tmp_path, monkeypatch):
    """The smoke budget with three seeds and an empty store."""
    monkeypatch.setenv("HINAS_RESULTS", str(tmp_path / "results"))
    return load_profile("smoke", SEEDS)


def question(name, treatment, control, metric, task="denoise", degradation: float | None = 50.0) -> Question:
    return Question(name, BOOK.claims[name], treatment, control, metric, task, degradation)


def row(budget, one: Question) -> dict:
    """The row of `claims.effects` that answers it."""
    table = claims.effects(budget, [one.name])
    same = (table["comparison"] == one.comparison) & (table["metric"] == one.metric) & (table["task"] == one.task)
    if one.degradation is not None:
        same &= table["degradation"] == one.degradation
    (found,) = table[same].to_dict("records")
    return found


LWAS = question("lwas", "LWAS", "basic", "psnr")


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


@pytest.mark.parametrize(
    "profile", ["smoke", *(pytest.param(name, marks=pytest.mark.slow) for name in ("laptop", "paper"))]
)
def test_every_arm_can_be_built(profile):
    budget = load_profile(profile)
    for one in claims.questions(budget):
        sides = claims.arms(one, budget)
        names = {one.treatment, one.control} - {claim_file.CHANCE}
        if any(PUBLISHED_ONLY in BOOK.arms[name] for name in names):
            assert sides is None
        elif sides:
            hashes = [{as_text(run.config) for run in side} for side in sides]
            assert all(len(side) == len(runs) for side, runs in zip(hashes, sides)), "seeds or draws do nothing"
            assert not hashes[0] & hashes[1], f"{one.comparison} compares a Run with itself"


@cache
def asked(number: str) -> tuple[set[str], set[str]]:
    """The Runs, and their producers, that the notebook with this number asks for, and the tasks it does unasked."""
    (path,) = contract.find([number], ROOT / "notebooks")
    notebook = contract.read(path)
    plan = planning.plan(planning.Job(notebook, {"profile": "smoke"}))
    assert plan.error is None
    configs = [run.config for run in plan.runs]
    for config in configs:
        producer = producer_of(config)
        if producer is not None:
            configs.append(producer)
    tasks = {notebook.parameters["task"].default} if "task" in notebook.parameters else {"denoise", "sr"}
    return {as_text(config) for config in configs}, tasks


def as_text(config) -> str:
    return json.dumps(config.identity(), sort_keys=True)


@pytest.mark.parametrize("name", BOOK.claims)
def test_a_claim_rests_on_runs_that_its_notebooks_ask_for(name):
    """The same Runs, by hash: else the scorecard would wait for evidence that no notebook makes."""
    numbers = [number for number in BOOK.claims[name].notebooks if list((ROOT / "notebooks").glob(f"{number}_*"))]
    if not numbers or numbers[0] >= "20":
        pytest.skip("its notebooks are not there yet, or compare what the budget affords")
    made = set().union(*(asked(number)[0] for number in numbers))
    tasks = set().union(*(asked(number)[1] for number in numbers))
    runs = [run for run in claims.needed(load_profile("smoke"), [name]) if run.labels["task"] in tasks]
    assert runs and not [run.labels for run in runs if as_text(run.config) not in made]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tables": {1: {"rows": {"typo": "RSWS"}}}}, "arm must be one of .*, got 'typo' in table 1"),
        ({"tables": {1: {"rows": {}, "like": [[9, "both"]]}}}, "table must be one of 1, got 9 in like of table 1"),
        ({"arms": {"basic": {"genotype": {"Typo": {}}}}}, "genotype must be one of Perturbed.*, got 'Typo' in arm"),
        ({"claims": {"lwas": {"compare": [["LWAS", "bsic"]]}}}, "arm must be one of .*, got 'bsic' in claim lwas"),
        ({"claims": {"lwas": {"metrics": {"lpips": {"direction": 1}}}}}, "metric must be one of .*, got 'lpips'"),
        ({"claims": {"lwas": {"metrics": {"psnr": {"direction": 2}}}}}, "direction: .* got 2"),
        ({"claims": {"lwas": {"tables": [3]}}}, "table must be one of 1, got 3 in claim lwas"),
        ({"claims": {"lwas": {"typo": 1}}}, "unknown setting typo = 1"),
    ],
)
def test_a_name_that_nothing_stands_behind_is_refused(change, message, tmp_path, monkeypatch):
    content = yaml.safe_load((ROOT / "params" / "claims.yaml").read_text())
    content = {
        "arms": content["arms"],
        "tables": {1: content["tables"][1]},
        "claims": {"lwas": content["claims"]["lwas"] | {"tables": [1]}},
    }
    for part, entries in change.items():
        for key, values in entries.items():
            content[part][key] = {**content[part][key], **values}
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "claims.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setenv("HINAS_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=message) as error:
        claim_file.load()
    assert "\n" not in str(error.value) and str(error.value).startswith(str(tmp_path))


def test_an_unknown_claim_is_refused(budget):
    with pytest.raises(ConfigError, match=r"claim must be one of lwas, .*, got 'lwa'"):
        claims.verdicts(budget, ["lwa"])


# --- the paper's side


def test_a_published_effect_is_welchs_of_the_printed_means_and_deviations(budget):
    found = row(budget, LWAS)
    expected = stats.published(26.78, 0.0723, 26.70, 0.1749)
    assert (found["published"], found["published_low"], found["published_high"]) == pytest.approx(
        (expected.mean, expected.low, expected.high)
    )
    assert found["published_verdict"] == "undecided" and found["published_data"] == "BSDS500"


def test_single_runs_borrow_the_deviation_of_table_1(budget):
    found = row(budget, question("ssim-raises-ssim", "MSE + SSIM", "MSE", "ssim", degradation=30.0))
    half = 4.302652729749462 * 0.0015 * math.sqrt(2)
    assert found["published"] == pytest.approx(0.8403 - 0.8254)
    assert found["published_high"] - found["published"] == pytest.approx(half)
    assert found["published_note"] == "single runs; deviation of table 1"
    assert found["published_verdict"] == "supports"


def test_another_systems_number_is_exact(budget):
    found = row(budget, question("denoising-accuracy", "HiNAS", "N3Net", "psnr"))
    expected = stats.published(26.81, 0.07, 26.50, 0.0)
    assert (found["published_low"], found["published_high"]) == pytest.approx((expected.low, expected.high))
    assert found["published_note"] == "deviation of table 1"


def test_a_deviation_that_cannot_be_read_leaves_the_claim_undecided(budget):
    found = row(budget, question("residual", "ResL", "basic", "psnr", degradation=70.0))
    assert math.isnan(found["published_low"]) and found["published_verdict"] == "undecided"
    assert "without a decimal point" in found["published_note"]


def test_costs_are_changes_in_percent(budget):
    hours = row(budget, question("sharing-saves", "sharing", "no sharing", "gpu_hours", degradation=None))
    memory = row(budget, question("sharing-saves", "sharing", "no sharing", "search_memory", degradation=None))
    assert hours["published"] == pytest.approx(100 * (1.0 / 3.6 - 1))
    assert memory["published"] == pytest.approx(100 * (1 / 3 - 1))
    assert {hours["published_verdict"], memory["published_verdict"]} == {"undecided"}, "one measurement each"


def test_what_the_papers_own_evidence_decides():
    table = claims.printed(["lwas", "residual", "sr-accuracy"])
    judged = dict(list(table.groupby("claim")))
    denoised = judged["lwas"]["images"].str.startswith("BSDS500")
    assert set(judged["lwas"]["on the paper's evidence"][denoised]) == {"undecided"}
    enlarged = judged["residual"]["images"].str.endswith("x4")
    assert set(judged["residual"]["on the paper's evidence"][enlarged]) == {"supports"}
    equal = judged["sr-accuracy"]["images"].isin(["B100, x4", "B100, x2"])
    psnr = judged["sr-accuracy"][equal & (judged["sr-accuracy"]["metric"] == "PSNR (dB)")]
    assert list(psnr["on the paper's evidence"]) == ["contradicts"] * 2, "0.2 dB less than IMDN is not as high"


def test_the_published_row_is_that_of_our_images_else_of_b100(budget):
    one = question("lwas", "LWAS", "basic", "psnr", "sr", 4.0)
    assert claims.beside(one, "Set14")[1] == "Set14"
    assert claims.beside(one, "photos")[1] == "B100"
    assert claims.beside(question("lwas", "LWAS", "basic", "psnr", "sr", 2.0), "Set14") == (claims.NOTHING, "")


# --- our side


def test_an_empty_store_is_no_evidence_and_stays_empty(budget):
    table = claims.verdicts(budget)
    assert set(table["verdict"]) == {"no evidence yet"} and set(table["ours"]) == {""}
    assert not list(Store.of(budget).root.glob("*/*"))


def test_without_the_data_there_is_no_evidence_either(tmp_path, monkeypatch):
    monkeypatch.setenv("HINAS_RESULTS", str(tmp_path))
    monkeypatch.setenv("HINAS_DATA", str(tmp_path))
    assert set(claims.verdicts(load_profile("paper"), ["lwas", "sharing-saves"])["verdict"]) == {"no evidence yet"}


@pytest.mark.parametrize(("effect", "verdict"), [(0.5, "supports"), (-0.5, "contradicts"), (0.01, "undecided")])
def test_scores_give_the_paired_effect_and_its_verdict(budget, effect, verdict):
    score(budget, LWAS, effect)
    found = row(budget, LWAS)
    expected = stats.paired(effect + 0.01 * np.array([-1, 0, 1]))
    assert [found[name] for name in ("ours", "low", "high", "detectable")] == pytest.approx(
        [expected.mean, expected.low, expected.high, expected.detectable]
    )
    assert (found["seeds"], found["verdict"]) == (3, verdict)
    assert (found["images_low"], found["images_high"]) == pytest.approx((effect, effect)), "both images gain the same"
    assert found["protocol"] == "denoise-standard" and found["data"] == "photos"
    others = claims.effects(budget, ["residual"])
    assert set(others["verdict"]) == {"no evidence yet"}, "the basic arm alone is no comparison"


def test_no_loss_is_judged_beyond_its_margin(budget):
    one = question("ssim-keeps-psnr", "MSE + SSIM", "MSE", "psnr")
    score(budget, one, -0.02, spread=0.001)
    assert row(budget, one)["verdict"] == "supports", "0.02 dB less is within 0.05"


def test_a_claim_of_harm_has_its_direction(budget):
    one = question("r1-hurts", "R1", "found", "psnr")
    score(budget, one, -0.5)
    found = row(budget, one)
    assert (found["verdict"], found["seeds"]) == ("supports", 3), "draws are averaged inside a seed"


def test_seeds_that_only_one_arm_has_are_left_out(budget):
    score(budget, LWAS, 0.5, seeds=[0, 1])
    treatment, _ = claims.arms(LWAS, budget)
    rows = "image,psnr,ssim,height,width,seconds\na,99,1,8,8,0.1\nb,99,1,8,8,0.1"
    finish(budget, treatment[2].config, rows)
    found = row(budget, LWAS)
    assert found["seeds"] == 2 and found["ours"] == pytest.approx(0.495)


def test_one_seed_is_undecided(budget):
    score(budget, LWAS, 0.5, seeds=[0])
    assert row(budget, LWAS)["verdict"] == "undecided"
    shown = claims.verdicts(budget, ["lwas"]).query("ours != ''")
    assert list(shown["ours"]) == ["+0.49", "+0.4900"], "PSNR, SSIM; no interval"


def search_records(epochs=1, skips=0, seconds=7.2, memory=300.0) -> list[dict]:
    genotype = random_genotype(3, 4, generator())
    common = {"genotype": genotype.to_json(), "best": True, "skip_count": skips}
    return [common | {"epoch": 1 + n, "seconds": seconds / epochs, "peak_memory_mib": memory} for n in range(epochs)]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_search_costs_come_from_the_records(budget):
    one = question("sharing-saves", "sharing", "no sharing", "gpu_hours", degradation=None)
    for factor, side in zip((1, 2), claims.arms(one, budget)):
        for run in side:
            config = run.config.model.genotype
            assert isinstance(config, SearchConfig)
            seconds = factor * (7.2 + 0.01 * run.labels["seed"])
            finish(budget, config, records=search_records(3, seconds=seconds, memory=300.0 * factor))
    found = {
        row["metric"]: row for row in claims.effects(budget, ["sharing-saves"]).query("seeds > 0").to_dict("records")
    }
    assert found["gpu_hours"]["ours"] == pytest.approx(-50) and found["gpu_hours"]["verdict"] == "supports"
    assert found["search_memory"]["ours"] == pytest.approx(-50)


def test_parameters_are_counted_from_the_genotypes(budget):
    one = question("widths", "ws", "w40", "parameters_m", degradation=30.0)
    for side in claims.arms(one, budget):
        for run in side:
            drawn = random_genotype(3, 4, generator())
            drawn = type(drawn)(run.config.model.genotype.space.levels or (0, 1, 2), drawn.cells)
            finish(budget, run.config.model.genotype, records=search_records(), genotype=drawn)
    found = row(budget, one)
    assert found["ours"] < 0 and found["verdict"] == "supports" and found["seeds"] == 3


@pytest.mark.parametrize(("skips", "share"), [(24, 97.5), (0, -2.5)])
def test_collapse_is_a_share_of_searches(budget, skips, share):
    one = question("collapse", "last epoch", "chance", "collapsed", degradation=None)
    treatment, control = claims.arms(one, budget)
    assert not control
    for config in {run.config.model.genotype.search for run in treatment}:
        finish(budget, config, records=search_records(4, skips=skips))
    found = row(budget, one)
    assert found["ours"] == pytest.approx(share)
    assert found["verdict"] == ("supports" if skips else "undecided")
    assert found["note"].startswith("3 of 3" if skips else "0 of 3")


def test_the_widest_layer_is_held_against_random_genotypes(budget):
    one = question("last-layer-widest", "found", "chance", "last_widest", degradation=None)
    treatment, _ = claims.arms(one, budget)
    for run in treatment:
        drawn = random_genotype(3, 4, generator())
        finish(budget, run.config.model.genotype, genotype=type(drawn)((0, 1, 2), drawn.cells))
    found = row(budget, one)
    chance = said.chance("last_widest", treatment[0].config.model.genotype.space)
    assert found["ours"] == pytest.approx(100 * (1 - chance))
    assert found["verdict"] == "undecided", "three of three are no evidence where chance gives most"
    assert found["published_note"].startswith("1 of 1") and found["published_verdict"] == "undecided"


def test_timed_steps_go_before_what_a_search_took(budget):
    one = question("sharing-saves", "sharing", "no sharing", "gpu_hours", degradation=None)
    for side in claims.arms(one, budget):
        for run in side:
            finish(budget, run.config.model.genotype, records=search_records())
    assert row(budget, one)["ours"] == pytest.approx(0)

    sized = timing_runs.shapes(budget.search("denoise").space.base_width)
    usual_space = sized.space()

    def timing(batch: int, on: float, off: float, space: Space = usual_space, **how):
        shape = {"batch": batch, "height": sized.side, "width_px": sized.side}
        arms = [
            Arm(label=f"{phase} {shared}", subject="search step", space=space.but(sharing=shared), phase=phase, **shape)
            for phase in ("weights", "architecture")
            for shared in (True, False)
        ]
        other = Arm(label="plain", subject="search step", space=space.but(sharing=False), phase="weights", plain=True)
        seconds = {arm.label: on if arm.space.sharing else off for arm in arms} | {"plain": 9.0}
        record = {"seconds_by_arm": seconds, "peak_mib_by_arm": {name: 100 * s for name, s in seconds.items()}}
        usual = {"threads": sized.threads, "rounds": sized.few}
        config = TimingConfig(what="sharing", arms=(*arms, other), **(usual | how))
        finish(budget, config, records=[record] * 3)

    timing(2, 1.0, 1.1)
    timing(8, 1.0, 2.0)
    timing(16, 1.0, 9.0, Space())
    timing(16, 1.0, 9.0, threads=sized.threads + 1)
    timing(16, 1.0, 9.0, rounds=sized.rounds + 7)
    hours = row(budget, one)
    memory = row(budget, question("sharing-saves", "sharing", "no sharing", "search_memory", degradation=None))
    assert hours["ours"] == memory["ours"] == pytest.approx(-50), "of the larger batch, not of variants"
    assert hours["note"] == "timed steps, 3 rounds" and hours["verdict"] == "supports"
    third = row(budget, question("sharing-third", "sharing", "no sharing", "search_memory", degradation=None))
    assert (third["ours"], third["margin"], third["verdict"]) == (memory["ours"], -60, "contradicts")
    other = question("sharing-saves", "sharing", "no sharing", "gpu_hours", "sr", None)
    assert row(budget, other)["verdict"] == "no evidence yet", "no supernet of that task was timed"


def test_what_is_missing_says_how_to_get_it(budget):
    score(budget, LWAS, 0.5)
    table = claims.missing("smoke", SEEDS, ["lwas", "collapse", "trade-off"]).set_index("claims")
    assert table.loc["lwas", "command"] == """hinas-nb run 10 --profile smoke -p 'overrides={"seeds": [0, 1, 2]}'"""
    assert 0 < table.loc["lwas", "without evidence"] < table.loc["lwas", "rows"]


def restored(budget, scale: int, seconds: dict[str, float], side: int = 64, part: int = 64, **how):
    """A made-up timing of HiNAS and SAN, three rounds; SAN on a square of `part` pixels a side."""
    where = {"subject": "restoration", "task": "sr", "scale": scale}
    search, other = budget.search("sr", seed=0), Comparator(name="san")
    where |= {"base_width": budget.train("sr", search, scale=scale).base_width} | how
    sized = timing_runs.shapes(budget.search("denoise").space.base_width)
    arms = (
        Arm(label="HiNAS", network=search, height=side, width_px=side, **where),
        Arm(label="SAN", network=other, height=part, width_px=part, **where),
    )
    record = {"seconds_by_arm": seconds, "peak_mib_by_arm": dict.fromkeys(seconds, 1.0)}
    config = TimingConfig(what=f"{side}", arms=arms, threads=sized.threads, rounds=sized.few)
    finish(budget, config, records=[record] * 3)


def test_time_to_restore_comes_from_timings_in_turns(budget):
    one = question("sr-speed", "HiNAS", "SAN", "time_s", "sr", 3.0)
    assert row(budget, one)["verdict"] == "no evidence yet"
    restored(budget, 3, {"HiNAS": 1.0, "SAN": 9.0}, side=256, base_width=40)
    assert row(budget, one)["verdict"] == "no evidence yet", "a variant, of another width"
    restored(budget, 3, {"HiNAS": 1.0, "SAN": 4.0})
    found = row(budget, one)
    assert (found["ours"], found["verdict"]) == (-75, "supports")
    assert found["note"] == "timed in turns on 64x64 pixels, 3 rounds"
    assert found["published"] == pytest.approx(100 * (1.59 / 34.59 - 1))
    restored(budget, 3, {"HiNAS": 1.0, "SAN": 4.0}, side=128, part=64)
    found = row(budget, one)
    assert found["ours"] == pytest.approx(100 * (1 / 16 - 1)), "of the larger image, a part by its pixels"
    assert found["note"].endswith("SAN on a part, by its pixels")
    others = claims.effects(budget, ["sr-speed", "denoising-speed", "trade-off"]).query("metric == 'time_s'")
    others = others[(others["comparison"] != one.comparison) | (others["degradation"] != 3)]
    assert len(others) and set(others["verdict"]) == {"no evidence yet"}, "another scale, another network"


def test_a_time_has_one_row_whatever_the_noise(budget):
    table = claims.effects(budget, ["denoising-speed"])
    assert table["metric"].tolist() == ["time_s", "parameters_m"] and table["degradation"].isna().all()
    scales = claims.effects(budget, ["sr-speed"]).query("metric == 'time_s' and comparison == 'HiNAS - IMDN'")
    assert scales["degradation"].tolist() == [2, 3, 4]


def test_another_network_is_trained_for_as_long_as_hinas(budget):
    treatment, control = claims.arms(question("sr-accuracy", "HiNAS", "IMDN", "psnr", "sr", 4.0), budget)
    training = budget.train_as_long("sr", Comparator(name="imdn"), headline=True, scale=4)
    assert as_text(control[0].config.model) == as_text(training)
    assert treatment[0].config.model.steps != training.steps
    _, alike = claims.arms(question("denoising-accuracy", "HiNAS", "N3Net", "psnr"), budget)
    assert alike[0].config.model.steps == 200, "as often, where no pace is known"


# --- what people see


def test_the_scorecard_has_a_row_for_every_sigma_and_scale(budget):
    table = claims.verdicts(budget, ["lwas", "sharing-keeps-scores"])
    levels = {name: set(rows["images"]) for name, rows in table.groupby("claim")}
    assert levels["lwas"] == {"sigma 30", "sigma 50", "sigma 70", "x4"}
    assert levels["sharing-keeps-scores"] == {"sigma 30", "sigma 50", "sigma 70", "x2", "x4"}, "x4 is ours alone"
    assert set(table["claimed"]) == {"> 0", "> -0.05", "> -0.002"}
    assert set(claims.verdicts(budget, ["r1-hurts", "sharing-third"])["claimed"]) == {"< 0", "< -60"}


@pytest.mark.parametrize(
    ("metric", "numbers", "text"),
    [
        ("psnr", (0.051, -0.004, 0.11), "+0.05 [-0.00, +0.11]"),
        ("ssim", (0.00251, math.nan, math.nan), "+0.0025"),
        ("psnr", (math.nan, 0.1, 0.2), "[+0.10, +0.20]"),
        ("gpu_hours", (-72.2,), "-72"),
        ("psnr", (math.nan,), ""),
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


def test_runs_of_older_revisions_are_told_and_not_counted(budget, monkeypatch):
    score(budget, LWAS, 0.5)
    assert claims.outdated(budget) == "Every finished Run of this budget is of today's revisions."
    assert row(budget, LWAS)["verdict"] == stats.SUPPORTS
    before = REVISIONS["evaluate"]
    monkeypatch.setitem(REVISIONS, "evaluate", before + 1)
    line = rf"(\d+) of \1 finished Runs rest on evaluate revision {before} \(now {before + 1}\): .*"
    assert re.fullmatch(line, claims.outdated(budget))
    assert row(budget, LWAS)["verdict"] == stats.NO_EVIDENCE
