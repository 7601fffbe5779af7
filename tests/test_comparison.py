"""HiNAS among the others: as long is as long, ratios are of whole images, and no published row is lost."""

import json
import math

import pandas as pd
import pytest
import torch
from made_up_runs import finish

from hinas_nb import figures, locations
from hinas_nb.batch import contract, planning
from hinas_nb.evidence import ablation, paper_tables, rivals, system_tables
from hinas_nb.evidence.rivals import AS_PUBLISHED, HINAS
from hinas_nb.experiment.config import Arm, Comparator, SearchConfig, TimingConfig
from hinas_nb.experiment.profile import OURS, load_profile
from hinas_nb.experiment.runs import canonical, producer_of
from hinas_nb.method.genotype import random_genotype
from hinas_nb.running import compute
from hinas_nb.running.store import Store
from hinas_nb.speed import cost
from hinas_nb.training import benchmark

LEVELS = {"denoise": {"sigma": 50.0}, "sr": {"scale": 4}}


@pytest.fixture
def budget(tmp_path, monkeypatch):
    """The smoke budget with an empty store."""
    monkeypatch.setenv("HINAS_RESULTS", str(tmp_path / "results"))
    return load_profile("smoke")


def key(config) -> str:
    return json.dumps(canonical(config.identity()), sort_keys=True)


def drawn(task: str = "denoise"):
    layers, nodes = (3, 4) if task == "denoise" else (2, 3)
    return random_genotype(layers, nodes, torch.Generator().manual_seed(0))


# --- who is trained, and for how long


@pytest.mark.parametrize("profile", ["smoke", "laptop"])
@pytest.mark.parametrize("task", LEVELS)
def test_all_are_trained_for_as_long(profile, task):
    budget = load_profile(profile)
    pace = getattr(budget, task).pace
    found = rivals.trainings(budget, task, **LEVELS[task])
    titles = {label: rivals.DISTILLED if label == rivals.TAUGHT else rivals.title(rivals.parsed(label))
              for label in pace if label != OURS}  # fmt: skip
    assert list(found) == [HINAS, *titles.values()]
    ours = found[HINAS]
    assert ours == budget.train(task, budget.search(task, seed=0), headline=True, **LEVELS[task])
    for label, name in titles.items():
        training = found[name]
        apart = abs(training.steps * pace[label] - ours.steps * pace[OURS])
        assert apart <= training.validate_every * pace[label] / 2, "equal time, to half an interval"
        same = {"data", "split", "patch", "batch", "loss", "optimizer", "lr", "seed", "sigma", "scale"}
        assert {name: getattr(training, name) for name in same} == {name: getattr(ours, name) for name in same}


def test_fsrcnn_learns_from_imdn_where_the_tables_have_it_distilled():
    budget = load_profile("smoke")
    found = rivals.trainings(budget, "sr", scale=4)
    taught, alone = found[rivals.DISTILLED], found["FSRCNN"]
    assert taught.teacher == found["IMDN"] and taught.but(teacher=None, steps=alone.steps) == alone
    assert taught.steps < alone.steps, "the teacher's time counts"
    assert "FSRCNN(KD)" in system_tables.rows("sr") and "FSRCNN" not in system_tables.rows("sr")


def test_without_a_pace_only_hinas_is_trained():
    assert list(rivals.trainings(load_profile("paper"), "denoise", sigma=30.0)) == [HINAS]


@pytest.mark.parametrize("one", [Comparator(name="dncnn"), Comparator(name="dncnn", width=35)])
def test_a_label_is_read_back(one):
    assert rivals.parsed(one.label) == one


def test_filters_of_few_images_stand_beside_all_on_these():
    where = {"task": "denoise", "data": "BSDS500", "degradation": 50.0}
    scores = pd.DataFrame([where | {"arm": arm, "image": image} for arm in (HINAS, "DnCNN") for image in "abc"])
    anchored = pd.DataFrame([where | {"arm": "WNNM", "image": image} for image in "ac"])
    both = rivals.with_anchors(scores, anchored)
    assert both[both["data"] == "BSDS500"].equals(scores)
    fifth = both[both["data"] == "fifth-of-BSDS500"]
    images = {arm: set(own["image"]) for arm, own in fifth.groupby("arm")}
    assert images == {arm: {"a", "c"} for arm in (HINAS, "DnCNN", "WNNM")}
    assert rivals.with_anchors(scores, anchored.iloc[:0]) is scores


def test_a_filter_runs_where_its_package_is(monkeypatch):
    monkeypatch.setattr(rivals, "find_spec", lambda name: None)
    assert rivals.filters() == {"Non-local means": "nlm", "Wavelet": "wavelet"}
    assert "BM3D" not in rivals.compared(load_profile("smoke"), "denoise")
    monkeypatch.setattr(rivals, "find_spec", lambda name: object())
    assert rivals.filters()["BM3D"] == "bm3d" and "WNNM" not in rivals.filters()
    assert "BM3D" in rivals.compared(load_profile("smoke"), "denoise")


def test_what_takes_minutes_is_scored_on_every_fifth_image_and_not_at_smoke(monkeypatch):
    monkeypatch.setattr(rivals, "find_spec", lambda name: object())
    found = rivals.anchors(load_profile("laptop"), 50)
    assert [(name, one.model, one.every, one.data) for name, one in found.items()] == [
        ("WNNM", "wnnm", 5, "BSDS500"),
        ("BM3D", "bm3d", 5, "BSDS500"),
    ]
    assert rivals.anchors(load_profile("smoke"), 50) == {}


def test_no_row_of_table_10_is_published_only_for_lack_of_code(budget):
    table = system_tables.accuracy(10, scores("denoise", 50.0, HiNAS=25.0), budget)
    assert not table.eq(system_tables.PUBLISHED_ONLY).any(axis=None)


def test_each_row_says_on_how_many_images(budget):
    own = scores("denoise", 50.0, HiNAS=25.0, WNNM=25.0)
    table = system_tables.accuracy(10, own[(own["arm"] == HINAS) | (own["image"] == "a")], budget).set_index("system")
    assert table.loc["HiNAS", "our protocol (images)"] == "denoise-standard (BSDS500: 2)"
    assert table.loc["WNNM", "our protocol (images)"] == "denoise-standard (BSDS500: 1)"


def test_runs_say_what_they_are_of(budget):
    training = rivals.trainings(budget, "sr", scale=4)[HINAS]
    scoring = budget.evaluate(training, headline=True)
    (run,) = rivals.labelled({HINAS: scoring})
    assert run.labels == {"task": "sr", "data": "photos", "degradation": 4, "arm": HINAS, "seed": 0}


# --- what is timed


@pytest.mark.parametrize("profile", ["smoke", "laptop"])
@pytest.mark.parametrize(("task", "scale"), [("denoise", None), ("sr", 2), ("sr", 3), ("sr", 4)])
def test_everyone_is_timed_on_the_same_image_or_a_part_of_it(profile, task, scale):
    budget = load_profile(profile)
    config = rivals.restorations(budget, task, scale)
    arms = {arm.label: arm for arm in config.arms}
    assert set(arms) == {HINAS, AS_PUBLISHED, *rivals.compared(budget, task, scale)}
    assert arms[HINAS].network == budget.search(task, seed=0)
    assert arms[HINAS].base_width == budget.train(task, budget.search(task)).base_width
    assert arms[AS_PUBLISHED].base_width is None, "as published"
    whole = arms[HINAS].height, arms[HINAS].width_px
    parts = {label for label, arm in arms.items() if (arm.height, arm.width_px) != whole}
    slow = {rivals.title(Comparator(name=name)) for name in rivals.SLOW}
    assert parts <= slow and bool(parts) == (profile == "laptop"), "tiny images are restored whole"
    assert all(arm.subject == "restoration" and arm.scale == scale for arm in arms.values())


def test_tables_and_timings_know_each_other():
    for task, rows in rivals.ROWS.items():
        printed = {row for number in contest_tables(task) for row in paper_tables.table(number)["row"]}
        assert set(rows.values()) <= printed
        timed = {one.name for one in rivals.compared(load_profile("paper"), task).values()}
        assert set(rows) - {"bm3d"} <= timed


def contest_tables(task: str) -> list[int]:
    return [10] if task == "denoise" else [11, 12]


def timing(search: SearchConfig) -> TimingConfig:
    where = {"subject": "restoration", "height": 48, "width_px": 32}
    arms = [Arm(label=HINAS, network=search, **where), Arm(label="DnCNN", network=Comparator(name="dncnn"), **where)]
    return TimingConfig(what="made up", arms=tuple(arms), rounds=2)


def test_a_timing_takes_its_network_from_the_search(budget, monkeypatch):
    search, store = budget.search("denoise", seed=0), Store.of(budget)
    config, other = timing(search), timing(budget.search("denoise", seed=1))
    assert producer_of(config) == search
    assert store.folder(config).hash != store.folder(other).hash, "another search, another network"
    with pytest.raises(ValueError, match=r"search.* must be|done"):
        list(compute.compute(config, store))
    finish(budget, search, genotype=drawn())
    seen = []

    def measure(resolved, first, device):
        seen.append(resolved)
        yield benchmark.TimingRecord(1, {HINAS: 1.0, "DnCNN": 2.0}, {HINAS: 1.0, "DnCNN": 1.0}, {}, 3.0, 1.0)

    monkeypatch.setattr(benchmark, "benchmark", measure)
    list(compute.compute(config, store))
    assert [arm.network for arm in seen[0].arms] == [drawn(), Comparator(name="dncnn")]
    assert store.folder(config).done and producer_of(seen[0]) is None


def rounds(config: TimingConfig, seconds: dict[str, float]) -> list[dict]:
    every = {arm.label: seconds.get(arm.label, 1.0) for arm in config.arms}
    slower = [{name: factor * value for name, value in every.items()} for factor in (1, 2, 3)]
    return [{"seconds_by_arm": one, "peak_mib_by_arm": every} for one in slower]


def test_a_part_counts_by_its_pixels():
    config = rivals.restorations(load_profile("laptop"), "denoise")
    arms = {arm.label: arm for arm in config.arms}
    table = rivals.measured(config, rounds(config, {"NLRN": 4.0, "DnCNN": 3.0})).set_index("network")
    whole = arms[HINAS].height * arms[HINAS].width_px / (arms["NLRN"].height * arms["NLRN"].width_px)
    assert whole > 30 and table.loc["NLRN", "part"] and not table.loc["DnCNN", "part"]
    assert table.loc["NLRN", "seconds"] == pytest.approx(8 * whole)
    assert table.loc["NLRN", ["times HiNAS", "times low", "times high"]].tolist() == pytest.approx([4 * whole] * 3)
    assert table.loc["DnCNN", "times HiNAS"] == pytest.approx(3) and table.loc[HINAS, "times HiNAS"] == 1


def test_time_is_an_effect_round_by_round_and_a_part_counts_by_its_pixels():
    config = rivals.restorations(load_profile("laptop"), "sr", 3)
    table = rivals.time_effects(config, rounds(config, {HINAS: 2.0, "IMDN": 4.0, "SAN": 1.0})).set_index("control")
    whole, part = (next(arm for arm in config.arms if arm.label == name) for name in (HINAS, "SAN"))
    smaller = part.height * part.width_px / (whole.height * whole.width_px)
    assert table.loc["IMDN", ["difference", "seeds", "degradation"]].tolist() == pytest.approx([-50, 3, 3])
    assert table.loc["SAN", "difference"] == pytest.approx(100 * (2 * smaller - 1))
    assert table.loc["IMDN", "note"].endswith("3 rounds") and "on a part" in table.loc["SAN", "note"]


def test_size_is_an_effect_over_seeds_at_the_published_width(budget):
    found = [drawn(), rivals.as_published("denoise")]
    table = rivals.size_effects(budget, "denoise", None, found).set_index("control")
    own = [cost.network(one, "denoise").parameters_live for one in found]
    assert table.loc["DnCNN", "difference"] == pytest.approx(50 * sum(own) / 556_096 - 100)
    assert table.loc["DnCNN", "seeds"] == 2 and HINAS not in table.index


# --- what is counted


def test_networks_are_counted_without_being_made(budget, monkeypatch):
    found = rivals.networks(budget, "denoise", None, drawn())
    assert {weight.device.type for net in found.values() for weight in net.parameters()} == {"meta"}
    assert found[HINAS].base_width == 8 and found[AS_PUBLISHED].base_width == 20
    assert set(found) == {HINAS, AS_PUBLISHED, *rivals.compared(budget, "denoise")} - set(system_tables.FILTERS)
    dncnn = {"DnCNN": Comparator(name="dncnn"), "DnCNN-35": Comparator(name="dncnn", width=35)}
    monkeypatch.setattr(rivals, "compared", lambda *which: dncnn)
    table = rivals.sizes(budget, "denoise", None, drawn()).set_index("network")
    whole = rivals.restorations(budget, "denoise").arms[0]
    assert table.loc[AS_PUBLISHED, ["parameters", "released"]].tolist() == [257_769, 303_849]
    assert table.loc[AS_PUBLISHED, "multiply-adds"] == cost.closed_form(
        cost.network(rivals.as_published("denoise"), "denoise"), whole.height, whole.width_px
    )
    assert table.loc["DnCNN", ["parameters", "own paper"]].tolist() == [556_096] * 2
    assert math.isnan(table.loc["DnCNN", "released"]) and math.isnan(table.loc["DnCNN-35", "own paper"])
    assert all((locations.PACKAGE / file).is_file() for file in table["file"])


@pytest.mark.parametrize(("number", "task", "scales"), [(10, "denoise", [None]), (11, "sr", [3]), (12, "sr", [2, 4])])
def test_every_count_that_is_off_has_its_reason(number, task, scales, budget, monkeypatch):
    monkeypatch.setattr(cost, "multiply_adds", lambda *network_and_sides: 1)
    sizes = pd.concat([rivals.sizes(budget, task, scale, drawn(task)) for scale in scales])
    table = system_tables.parameters(number, sizes)
    assert set(table["system"].str.split(";").str[0]) >= set(paper_tables.table(number)["row"])
    percent = table[["off this table (%)", "off its paper (%)"]].replace("", "0").astype(float).abs().max(axis=1)
    why = table["why, where more than 2 %"]
    assert ((why != "") == (percent > 2)).all()


# --- the tables


def scores(task: str, level: float, **psnr: float) -> pd.DataFrame:
    rows = [(arm.replace("_", " "), image, value + step, 0.7 + step / 100)
            for arm, value in psnr.items() for step, image in enumerate("ab")]  # fmt: skip
    table = pd.DataFrame(rows, columns=["arm", "image", "psnr", "ssim"])
    data = "BSDS500" if task == "denoise" else "Set14"
    return table.assign(task=task, data=data, degradation=level, seed=0)


@pytest.mark.parametrize("number", [10, 11, 12])
def test_every_published_row_and_flag_is_there(number, budget):
    printed = paper_tables.table(number)
    task = printed["task"][0]
    for own in (scores(task, 3.0, HiNAS=25.0), scores(task, 4 if task == "sr" else 50.0, HiNAS=25.0)):
        table = system_tables.accuracy(number, own, budget)
        levels = printed[printed["metric"] == "psnr"][["row", "degradation"]].drop_duplicates()
        expected = printed["row"].nunique() if task == "denoise" else len(levels)
        assert len(table) == expected
        assert set(table["system"].str.split(";").str[0]) == set(printed["row"])
        shown = " ".join(table[[column for column in table if column.endswith("published")]].to_numpy().ravel())
        flags = printed[printed["metric"].isin(ablation.SCORES)]["flag"]
        assert shown.count(paper_tables.MARK.strip()) == (flags != "").sum()
        assert (table["published protocol"] != "").all()


def test_ours_stands_beside_the_same_images(budget):
    own = scores("denoise", 50.0, HiNAS=25.0, DnCNN=24.0, Noisy=14.0)
    table = system_tables.accuracy(10, own, budget).set_index("system")
    columns = list(table)
    place = columns.index("BSDS500, sigma 50: ours, smoke")
    assert columns[place - 1] == "BSDS500, sigma 50: published"
    ours = table["BSDS500, sigma 50: ours, smoke"]
    assert ours["HiNAS"] == "25.50 / 0.7050" and table.loc["HiNAS", columns[place - 1]] == "26.81 / 0.7649"
    assert ours["N3Net"] == "not trained at smoke" and ours["WNNM"] == "not run at smoke"
    assert ours["RED; here RED30"] == "not trained at smoke" and ours["BM3D"] == "not installed"
    assert list(table.index[-2:]) == ["DnCNN", "Noisy"], "ours alone come last"
    assert table.loc["DnCNN", "published protocol"] == system_tables.OURS_ALONE
    assert table.loc["HiNAS", "our protocol (images)"] == "denoise-standard (BSDS500: 2)"
    assert table.loc["N3Net", "our protocol (images)"] == ""
    assert "half size" in table.loc["BM3D", "published protocol"]


def test_a_scale_that_is_not_run_says_so(budget):
    table = system_tables.accuracy(11, scores("sr", 4, HiNAS=25.0, IMDN=26.0), budget).set_index("system")
    words = table["ours, smoke"]
    assert words["HiNAS"] == words["IMDN"] == "not run at smoke"
    assert words["EDSR"] == "not trained at smoke" and words["RFANet"] == "not trained at smoke"
    two = system_tables.accuracy(12, scores("sr", 4, HiNAS=25.0, IMDN=26.0), budget).set_index(["scale", "system"])
    assert two.loc[("x4", "IMDN"), "Set14: ours, smoke"] == "26.50 / 0.7050"
    assert two.loc[("x2", "IMDN"), "Set14: ours, smoke"] == "not run at smoke"


def test_ratios_stand_beside_published_ones():
    config = rivals.restorations(load_profile("laptop"), "sr", 3)
    found = rivals.measured(config, rounds(config, {"IMDN": 3.0, HINAS: 2.0}))
    sizes = pd.DataFrame({"network": [HINAS, "IMDN"], "scale": 3.0, "multiply-adds": [1e9, 2e9]})
    table = system_tables.speeds(11, found, sizes).set_index("network")
    assert table.loc["IMDN", "published times"] == pytest.approx(1.91 / 1.59)
    assert table.loc["IMDN", "times HiNAS"] == pytest.approx(1.5) and not table.loc["IMDN", "part"]
    assert table.loc["SAN", "published"] == 34.59 and table.loc["SAN", "part"]
    printed = system_tables.speeds_printed(table.reset_index(), "image").set_index("system")
    assert printed.loc["SAN", "timed on"] == "a part, scaled by pixels"
    assert printed.loc["IMDN", "measured, times HiNAS"] == "1.5 [1.5, 1.5]"
    assert "FSRCNN(KD)" in printed.index
    assert system_tables.times_in_words(table.reset_index()[table.index == "IMDN"]) == "IMDN 1.5 (published 1.2)"
    rest = system_tables.others([table.reset_index()])
    slower, survive = system_tables.slower(rest)
    assert set(rest["network"]) == set(table.index) - {HINAS}
    assert "IMDN" in list(slower["network"]) and survive == (slower["times low"] > 1).sum() > 1
    both = system_tables.speeds(12, found, sizes)
    assert both["seconds"].isna().all() and set(both["scale"]) == {2, 4}, "x3 is not in table 12"
    assert set(system_tables.speeds_printed(both, "image")["measured, times HiNAS"]) == {""}


def test_time_and_gain_are_against_hinas(budget):
    trained = rivals.trainings(budget, "denoise", sigma=50.0)
    for config in trained.values():
        finish(budget, config)
    taken = rivals.spent(trained, Store.of(budget))
    assert taken.set_index("arm").loc[HINAS, ["steps", "over"]].tolist() == [200, 1]
    own = scores("denoise", 50.0, HiNAS=25.0, DnCNN=24.0, Wavelet=26.0, Noisy=14.0)
    table = rivals.after_equal_time(own, taken).set_index("arm")
    assert list(table.index) == [HINAS, "DnCNN", "Wavelet"]
    assert table["psnr"].tolist() == pytest.approx([0, -1, 1]) and math.isnan(table.loc["Wavelet", "seconds"])
    assert table.loc["DnCNN", ["psnr_low", "psnr_high"]].tolist() == pytest.approx([-1, -1])
    plot = figures.equal_time_plot(table.reset_index(), "title")
    words = {text.get_text() for axes in plot.axes for text in axes.texts}
    assert {"25.50", "24.50", "not trained"} <= words and any("120 steps" in text for text in words)
    lead = system_tables.leads(own)
    assert lead["psnr"].tolist() == pytest.approx([-1, -1]) and set(lead["best"]) == {"Wavelet"}
    standings = rivals.standings(own, {50.0: trained}, Store.of(budget))
    assert set(standings["images"]) == {"BSDS500, sigma 50"} and list(standings["arm"]) == list(table.index)
    said = system_tables.gains_in_words(standings)
    assert said == "BSDS500, sigma 50: against HiNAS DnCNN -1.00 [-1.00, -1.00] dB, Wavelet +1.00 [+1.00, +1.00] dB"
    assert system_tables.gains_in_words(standings[standings["arm"] == HINAS]) == "nothing else is trained"


def test_trainings_are_comparable_on_the_same_images_and_of_one_search(budget):
    trainings = {level: rivals.trainings(budget, "denoise", sigma=level) for level in (30.0, 50.0)}
    own = scores("denoise", 50.0, HiNAS=25.0, DnCNN=24.0)
    assert rivals.comparable(own, trainings) and not rivals.comparable(own.iloc[:-1], trainings)
    other = budget.train("denoise", budget.search("denoise", seed=1), sigma=30.0)
    assert not rivals.comparable(own, trainings | {30.0: {HINAS: other}})
    table = rivals.settings(trainings, "denoise")
    assert table.loc["sigma", ["HiNAS, sigma 30", "DnCNN, sigma 50"]].tolist() == ["30.0", "50.0"]
    assert table.loc["base_width", "DnCNN, sigma 50"] == "none" and "genotype" not in table.index
    upscalers = rivals.settings({4: rivals.trainings(budget, "sr", scale=4)}, "sr")
    assert upscalers.loc["teacher", ["FSRCNN(KD), x4", "FSRCNN, x4"]].tolist() == ["imdn", "none"]


def test_the_figure_of_speed_tells_whole_from_part():
    table = pd.DataFrame(
        {
            "network": ["SAN", "IMDN", "SPSR"], "published times": [21.0, 1.2, 11.0],
            "times HiNAS": [40.0, 1.5, math.nan],
            "times low": [39.0, 1.4, math.nan], "times high": [41.0, 1.6, math.nan], "part": [True, False, False],
        }
    )  # fmt: skip
    axes = figures.speed_claims_plot(table).axes[0]
    lines = {line.get_gid(): list(line.get_xdata()) for line in axes.get_lines() if line.get_gid()}
    assert lines["published (GPU)"] == [21.0, 1.2, 11.0]
    assert lines["measured here, on a part, scaled"] == [40.0] and lines["measured here"][0] == 1.5


# --- the notebooks


@pytest.mark.parametrize("profile", ["smoke", "laptop", "paper"])
@pytest.mark.parametrize(("number", "task"), [("20", "denoise"), ("21", "sr")])
def test_notebooks_ask_for_what_the_budget_affords(number, task, profile):
    (path,) = (locations.home() / "notebooks").glob(f"{number}_*.ipynb")
    plan = planning.plan(planning.Job(contract.read(path), {"profile": profile}))
    assert plan.error is None, plan.error
    asked = {key(run.config) for run in plan.runs}
    budget = load_profile(profile)
    assert key(rivals.restorations(budget, task, None if task == "denoise" else 3)) in asked
    for level in budget.sigmas if task == "denoise" else budget.scales:
        trained = rivals.trainings(budget, task, **{"sigma" if task == "denoise" else "scale": level})
        assert {key(budget.evaluate(one, headline=True)) for one in trained.values()} <= asked
