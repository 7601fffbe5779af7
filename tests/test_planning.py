"""What `hinas-nb plan` foretells: hours follow from steps and from finished Runs, smallest effects from deviations."""

import math

import pytest
from made_up_runs import Here, effect, execute_here, finish, leave, rewritten

from hinas_nb.batch import durations, forecast, front_door
from hinas_nb.batch.durations import Estimate
from hinas_nb.batch.planning import Plan
from hinas_nb.data.images import image_files
from hinas_nb.evidence import paper_effects, power, stats
from hinas_nb.experiment.config import CVPR2020, Arm, Comparator, TimingConfig
from hinas_nb.experiment.profile import load_profile
from hinas_nb.experiment.runs import Run
from hinas_nb.running import pool
from hinas_nb.running.store import Store


@pytest.fixture
def budget(tmp_path, monkeypatch):
    """The smoke budget with three seeds and an empty store."""
    monkeypatch.setenv("HINAS_RESULTS", str(tmp_path / "results"))
    return load_profile("smoke", {"seeds": [0, 1, 2]})


def settings(budget, workers=1, threads=1) -> front_door.Settings:
    return front_door.Settings("smoke", Store.of(budget).root.parents[1], None, workers, threads)


def chain(budget, seed=0, **changes):
    """Search, training and evaluation of one seed."""
    training = budget.train("denoise", budget.search("denoise", seed=seed), seed=seed, **changes)
    return training.genotype, training, budget.evaluate(training)


# --- what costs the same


def test_seeds_noise_and_loss_cost_nothing(budget):
    for one, other in zip(chain(budget, 0), chain(budget, 7, sigma=30.0, ssim_weight=0, lr=0.1)):
        assert durations.shape(one) == durations.shape(other)


@pytest.mark.parametrize("change", [{"steps": 41}, {"base_width": 9}, {"batch": 5}, {"patch": 32}])
def test_work_costs(budget, change):
    _, training, scoring = chain(budget)
    _, more, other = chain(budget, **change)
    assert durations.shape(training) != durations.shape(more)
    assert (durations.shape(scoring) == durations.shape(other)) == ("base_width" not in change)


def test_a_search_costs_by_its_space_a_training_by_what_it_can_find(budget):
    plain, shared = budget.search("denoise"), budget.search("denoise", sharing=False)
    assert durations.shape(plain) != durations.shape(shared)
    trainings = [budget.train("denoise", search) for search in (plain, shared)]
    assert durations.shape(trainings[0]) == durations.shape(trainings[1])
    fixed = budget.train("denoise", budget.search("denoise", levels=(0, 0, 0)))
    assert durations.shape(fixed) != durations.shape(trainings[0])


def test_shapes_are_told_apart_in_words(budget):
    plain, _, scoring = chain(budget)
    searches = [plain, plain.but(candidates=5), *(budget.search("denoise", **change) for change in (
        {"sharing": False}, {"levels": (0, 0, 0)}, {"strategy": "random"}, CVPR2020))]  # fmt: skip
    words = [durations.in_words(search).removeprefix("search denoise, 6 epochs, width 4") for search in searches]
    assert words == ["", ", 5 candidates", ", no sharing", ", widths fixed", ", random", ", other operations"]
    older = budget.train("denoise", searches[-1])
    assert durations.in_words(older) == "train denoise, 40 steps, width 8, other operations"
    assert durations.in_words(budget.evaluate(older)) == "evaluate photos denoise-standard, width 8, other operations"
    other = budget.train("sr", Comparator(name="imdn"))
    assert durations.in_words(other) == "train sr x4, 40 steps, imdn"
    assert durations.in_words(scoring.but(model="nlm")) == "evaluate photos denoise-standard, nlm"


# --- finished Runs


def test_finished_runs_of_the_same_cost_say_how_long(budget):
    for seed, seconds in enumerate((10.0, 30.0, 20.0)):
        search, *_ = chain(budget, seed)
        finish(budget, search)
        path = Store.of(budget).folder(search).path
        rewritten(path, seconds=seconds)
    other = chain(budget, 9)[0]
    assert durations.estimates([other], Store.of(budget)) == {
        durations.shape(other): Estimate(20.0, "finished Runs"),
    }
    (unknown,) = durations.estimates([other], Store.of(budget), threads=2).values()
    assert math.isnan(unknown.seconds), "other threads take another time"
    for wrong in ({"seconds": "abc"}, {"seconds": 10**400}, {"config": {"space": []}}, {"revisions": {"search": 1}}):
        rewritten(path, **({"seconds": 20.0} | wrong))
        (found,) = durations.estimates([other], Store.of(budget)).values()
        usable = durations._finished(Store.of(budget), 1)[durations.shape(other), durations._HERE]
        assert found.seconds == 20.0 and len(usable) == 2, "nothing of a damaged Run, nor of older code beside today's"
    for text in ("{}", "[]", '{"seconds": 1', "[" * 100_000):
        (path / "run.json").write_text(text)
        ((key, seconds),) = durations._finished(Store.of(budget), 1).items()
        assert key == (durations.shape(other), durations._HERE) and sorted(seconds) == [10.0, 30.0]


def test_runs_of_another_machine_serve_where_there_are_none_of_this(budget):
    search, *_ = chain(budget)
    finish(budget, search)
    rewritten(Store.of(budget).folder(search).path, seconds=40.0, machine={"processor": "another"})
    assert list(durations.estimates([chain(budget, 9)[0]], Store.of(budget)).values()) == [
        Estimate(40.0, "finished Runs of another machine")
    ]


def test_runs_of_older_code_serve_where_there_are_no_others(budget):
    search, *_ = chain(budget)
    finish(budget, search)
    rewritten(Store.of(budget).folder(search).path, seconds=40.0, revisions={"search": 1})
    assert list(durations.estimates([chain(budget, 9)[0]], Store.of(budget)).values()) == [
        Estimate(40.0, "finished Runs of older code")
    ]


def test_what_cannot_be_foretold_says_so(budget):
    config = TimingConfig(what="product", arms=(Arm(label="m", subject="matrix product"),))
    (found,) = durations.estimates([config], Store.of(budget)).values()
    assert math.isnan(found.seconds) and found.source == "no Run of it yet"


# --- first records


def begun(budget, config, seconds: float, *records: dict):
    """A Run in the store that was interrupted after these records, made up."""
    folder = Store.of(budget).folder(config)
    folder.begin("cpu", 1)
    folder.append_records(list(records))
    folder._seconds = seconds
    folder.save_checkpoint({}, {})


def told(budget, config) -> float:
    (found,) = durations.estimates([config], Store.of(budget)).values()
    assert found.source == "first records"
    return found.seconds


def test_a_search_is_its_epochs_and_twice_as_long_ones_after_the_warm_up(budget):
    search = budget.search("denoise")  # 6 epochs, 2 of them warm-up
    begun(budget, search, 13.0, {"seconds": 4.0}, {"seconds": 6.0})
    assert told(budget, search) == pytest.approx(3 + 5 * (2 + 4 * 2), abs=0.1), "what precedes the first is once"
    random = budget.search("denoise", strategy="random", candidates=5)
    begun(budget, random, 5.0, {"seconds": 5.0})
    assert told(budget, random) == pytest.approx(30, abs=0.1), "which has no steps on A"


def test_a_training_is_its_intervals_and_an_evaluation_its_images(budget):
    _, training, scoring = chain(budget)  # 40 steps, 2 validations
    begun(budget, training, 8.0, {"seconds": 7.0})
    assert told(budget, training) == pytest.approx(15, abs=0.1)
    images = len(image_files("photos", "test")[:: scoring.every])
    begun(budget, scoring, 2.0, {"image": "a", "seconds": 1.0})
    assert told(budget, scoring) == pytest.approx(1 + images, abs=0.1)


@pytest.mark.parametrize("record", [{}, {"seconds": "abc"}, {"seconds": None}, {"seconds": []}])
def test_a_damaged_record_is_no_evidence(budget, record):
    search = budget.search("denoise")
    begun(budget, search, 4.0, {"seconds": 1.0}, record)
    found = durations.estimates([search], Store.of(budget))[durations.shape(search)]
    assert math.isnan(found.seconds) or found.seconds == pytest.approx(4 * 10 / 2, abs=0.1)


@pytest.mark.slow
def test_measured_a_run_is_begun_and_goes_on_from_there(budget):
    search, training, scoring = chain(budget)
    store = Store.of(budget)
    nothing = scoring.but(model="input")
    assert not list(durations.begin([search, nothing, training, scoring], store, patience=60, workers=2, threads=1))
    assert len(store.folder(search).records()) == len(store.folder(nothing).records()) == 1
    assert not store.folder(training).path.exists(), "its search is not done"
    first = store.folder(search).records()
    found = durations.estimates([search, training], store)
    assert 0 < found[durations.shape(search)].seconds < 600 and math.isnan(found[durations.shape(training)].seconds)
    assert not execute_here([Run(search)], store, progress=False)
    assert store.folder(search).records()[:1] == first, "computed once"


def test_notebooks_are_named_whose_runs_failed_or_rest_on_one_that_did(budget, monkeypatch):
    search, training, scoring = chain(budget)
    plans = [Plan("03_search", [Run(search)]), Plan("05_train", [Run(scoring)]), Plan("12_other", [])]
    failure = pool.Failure(training, "0" * 64, "no")
    monkeypatch.setattr(pool, "execute", lambda *_, **__: [failure])
    assert front_door.compute(plans, settings(budget)) == ([str(failure)], ["05_train"])


def test_measuring_ends_in_time_and_tells_what_failed(budget, monkeypatch):
    monkeypatch.setattr(durations, "Local", Here)
    monkeypatch.setattr(durations, "compute", lambda config, *_, **__: (_ for _ in [1 / 0]))
    search, store = budget.search("denoise"), Store.of(budget)
    said = list(durations.begin([search, search.but(seed=9)], store, patience=60, workers=1, threads=1))
    assert said == ["search denoise seed 0: ZeroDivisionError: division by zero"], "one of a shape"
    assert not list(durations.begin([search], store, patience=0, workers=1, threads=1))


# --- all together


@pytest.mark.parametrize(("workers", "until"), [(1, 3 * 111.0), (2, 211.0), (3, 111.0), (9, 111.0)])
def test_workers_share_the_work_but_a_run_waits_for_its_producer(budget, workers, until):
    waves = list(zip(*(chain(budget, seed) for seed in budget.seeds)))
    known = {
        durations.shape(wave[0]): Estimate(seconds, "finished Runs") for wave, seconds in zip(waves, (100.0, 10.0, 1.0))
    }
    assert forecast._spent([config for wave in waves for config in wave], known, workers) == (333.0, until)


def test_one_long_chain_bounds_the_time(budget):
    configs = chain(budget)
    known = {durations.shape(config): Estimate(5.0, "finished Runs") for config in configs}
    assert forecast._spent(list(configs), known, 8) == (15.0, 15.0)
    unknown = {key: Estimate(math.nan, "why") for key in known}
    assert forecast._spent(list(configs), unknown, 1) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (99, "99 s"), (101, "2 min"), (5900, "98 min"), (6100, "1.7 h"), (math.nan, "?")],
)
def test_durations_for_people(seconds, text):
    assert forecast.duration(seconds) == text


def test_the_forecast_names_what_it_does_not_know(budget, monkeypatch):
    search, training, scoring = chain(budget)
    known = {durations.shape(search): Estimate(60.0, "finished Runs")}
    known[durations.shape(training)] = Estimate(3600.0, "first records")
    known[durations.shape(scoring)] = Estimate(math.nan, "no Run of it yet")
    monkeypatch.setattr(durations, "estimates", lambda *_: known)
    plans = [Plan("05_train", [Run(scoring)]), Plan("06_same", [Run(scoring)])]
    said = list(forecast.lines(plans, [], settings(budget, 2)))
    assert said[1:4] == [
        "search denoise, 6 epochs, width 4                                 1     60 s  finished Runs",
        "train denoise, 40 steps, width 8                                  1   60 min  first records",
        "evaluate photos denoise-standard, width 8                         1        ?  no Run of it yet",
    ]
    assert [line.split() for line in said[6:9]] == [
        ["05_train", "3", "0", "3", "3", ">", "61", "min"],
        ["06_same", "3", "0", "3", "3", ">", "61", "min"],
        ["all", "3", "0", "3", "3", ">", "61", "min"],
    ]
    assert said[9] == (
        "All Runs to do, 2 at a time, 1 thread each: 61 min on this machine (61 min of computing); "
        "without 1 of unknown time: hinas-nb plan --measure SECONDS begins Runs to learn more"
    )


def test_in_an_empty_store_no_time_is_told_and_nothing_is_computed(budget):
    said = list(forecast.lines([Plan("05_train", [Run(chain(budget)[-1])])], [], settings(budget)))
    assert [line.split()[-1] for line in said[6:8]] == ["?", "?"]
    assert said[8] == (
        "All Runs to do, one after another, 1 thread each: nobody knows how long; "
        "hinas-nb plan --measure SECONDS begins Runs to learn more"
    )
    assert not list(Store.of(budget).root.glob("*/*"))


# --- what can be found


def test_the_smallest_effect_comes_from_the_printed_deviations(budget):
    table = power.smallest_effects(budget, ["lwas"]).set_index(["images", "metric"])
    row = table.loc[("sigma 50", "PSNR (dB)")]
    assert row["smallest"] == pytest.approx(stats.smallest_effect(math.hypot(0.0723, 0.1749), 3))
    assert (row["assumed"], row["seeds"], row["published"]) == ("table 1", 3, pytest.approx(0.08))
    assert row["text"] == ("0.62", "+0.08")
    assert set(table.index.get_level_values("images")) == {"sigma 50", "x4"}, "what the budget runs"


def test_where_the_paper_prints_no_deviation_that_of_the_method_is_assumed(budget):
    row = power.smallest_effects(budget, ["early-stop"]).iloc[0]
    assert row["assumed"] == "table 1, both"
    assert row["smallest"] == pytest.approx(stats.smallest_effect(math.sqrt(2) * 0.07, 3))


def test_effects_left_behind_know_better_than_the_paper(budget):
    leave(budget, "10", effect("LWAS", "basic", "psnr", half=0.02, seeds=2))
    assert power.smallest_effects(budget, ["lwas"]).iloc[0]["assumed"] == "table 1", "two seeds are too few"
    leave(budget, "10", effect("LWAS", "basic", "psnr", half=0.02))
    row = power.smallest_effects(budget, ["lwas"]).set_index(["images", "metric"]).loc[("sigma 50", "PSNR (dB)")]
    assert (row["smallest"], row["assumed"]) == (pytest.approx(0.02), "3 seeds done")
    more = budget.but(seeds=tuple(range(10)))
    row = power.smallest_effects(more, ["lwas"]).set_index(["images", "metric"]).loc[("sigma 50", "PSNR (dB)")]
    deviation = 0.02 / stats.smallest_effect(1.0, 3)
    assert row["smallest"] == pytest.approx(stats.smallest_effect(deviation, 10)), "of the seeds that are planned"


def test_so_few_searches_cannot_tell_the_widest_layer_from_chance(budget):
    row = power.smallest_effects(budget, ["last-layer-widest"]).iloc[0]
    assert math.isinf(row["smallest"]) and row["text"][0] == "none"


def test_costs_have_no_deviation_before_they_are_measured(budget):
    table = power.smallest_effects(budget, ["sharing-saves"])
    assert set(table["assumed"]) == {"no deviation known"} and set(text[0] for text in table["text"]) == {"unknown"}


@pytest.mark.parametrize(
    ("notebooks", "claimed"),
    [
        (["10_ablation_lwas_residual"], {"lwas", "residual", "both", "random-search"}),
        (["04_search", "12_ablation_ssim_loss"], {"last-layer-widest", "ssim-raises-ssim", "ssim-keeps-psnr"}),
        (["01_data_and_protocols"], set()),
        (["00_scorecard"], set(paper_effects.load().claims)),
    ],
)  # fmt: skip
def test_the_forecast_speaks_of_the_claims_of_the_planned_notebooks(budget, monkeypatch, notebooks, claimed):
    asked = []
    empty = power.smallest_effects(budget, ["lwas"]).iloc[:1]
    monkeypatch.setattr(power, "smallest_effects", lambda _, names: asked.extend(names) or empty)
    jobs = [type("Job", (), {"notebook": type("N", (), {"name": name}), "values": {}}) for name in notebooks]
    said = list(forecast._claims(jobs, settings(budget)))
    assert set(asked) == claimed and bool(said) == bool(claimed)
    if claimed:
        assert said[3] == "lwas: An architecture of its own for each layer (LWAS) improves the restoration"
