"""What `hinas-nb plan` foretells: hours follow from steps and from finished Runs, smallest effects from deviations."""

import itertools
import math

import pytest
from made_up_runs import effect, finish, leave, rewritten

from hinas_nb.batch import durations, few_steps, forecast, front_door, planning
from hinas_nb.batch.durations import Estimate
from hinas_nb.batch.planning import Kind, Plan
from hinas_nb.evidence import claim_file, power, stats
from hinas_nb.experiment.config import CVPR2020, Arm, Comparator, TimingConfig
from hinas_nb.experiment.profile import load_profile
from hinas_nb.experiment.runs import Run
from hinas_nb.method.genotype import Genotype
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
    words = [durations.describe(search).removeprefix("search denoise, 6 epochs, width 4") for search in searches]
    assert words == ["", ", 5 candidates", ", no sharing", ", widths fixed", ", random", ", other operations"]
    older = budget.train("denoise", searches[-1])
    assert durations.describe(older) == "train denoise, 40 steps, width 8, other operations"
    assert durations.describe(budget.evaluate(older)) == "evaluate photos denoise-standard, width 8, other operations"
    other = budget.train("sr", Comparator(name="imdn"))
    assert durations.describe(other) == "train sr x4, 40 steps, imdn"
    assert durations.describe(scoring.but(model="nlm")) == "evaluate photos denoise-standard, nlm"


# --- finished Runs


def test_finished_runs_of_the_same_cost_say_how_long(budget):
    for seed, seconds in enumerate((10.0, 30.0, 20.0)):
        search, *_ = chain(budget, seed)
        finish(budget, search)
        path = Store.of(budget).folder(search).path
        rewritten(path, seconds=seconds)
    other = chain(budget, 9)[0]
    assert list(durations.estimate([other], Store.of(budget))) == [(durations.shape(other), Estimate(20.0, "finished"))]
    assert not durations.finished(Store.of(budget), threads=2), "other threads take another time"
    for wrong in ({"seconds": "abc"}, {"seconds": 10**400}, {"config": {"space": []}}, {"revisions": {"search": 1}}):
        rewritten(path, **({"seconds": 20.0} | wrong))
        found = durations.finished(Store.of(budget), 1)[durations.shape(other)]
        assert sorted(found) == [10.0, 30.0], "a damaged Run says nothing, nor does one of an older revision"
    for text in ("{}", "[]", '{"seconds": 1', "[" * 100_000):
        (path / "run.json").write_text(text)
        ((key, seconds),) = durations.finished(Store.of(budget), 1).items()
        assert key == durations.shape(other) and sorted(seconds) == [10.0, 30.0]


def test_what_cannot_be_foretold_says_so(budget):
    config = TimingConfig(what="product", arms=(Arm(label="m", subject="matrix product"),))
    ((_, found),) = durations.estimate([config], Store.of(budget))
    assert math.isnan(found.seconds) and found.source == "not known beforehand"


@pytest.mark.slow
def test_a_few_steps_are_taken_in_a_process_of_its_own(budget, tmp_path):
    _, _, scoring = chain(budget)
    nothing = scoring.but(model="input", every=4)
    ((_, found),) = durations.estimate([nothing], Store.of(budget))
    assert found.source == "timed" and 0 < found.seconds < math.inf
    missing = nothing.but(data=f"folder:{tmp_path / 'none'}", split="all")
    ((_, found),) = durations.estimate([missing], Store.of(budget))
    assert math.isnan(found.seconds) and found.source.startswith("folder of images must exist, got")


# --- a few steps


class Clock:
    """Takes as many records as asked for and says they took these seconds."""

    device = "cpu"

    def __init__(self, *seconds: float):
        self.seconds, self.records = list(seconds), []

    def first(self, loop, most):
        self.records = list(itertools.islice(loop, most))
        return self.seconds[: len(self.records)]


def test_a_search_is_epochs_of_steps_on_w_and_then_on_a_too(budget):
    search = budget.search("denoise")  # 6 epochs of 2 steps, 2 of them warm-up; V from epoch 2 on: 16 patches of 24
    clock = Clock(9, 1, 7, 3)
    steps = few_steps._search(search, None, clock)
    assert [record.step for record in clock.records] == [1, 2, 3, 4], "epochs of one step"
    assert [record.architecture_loss is None for record in clock.records] == [True, True, False, False]
    validating = 4 * 16 / search.batch * 1 * few_steps.FORWARD
    assert steps.whole == pytest.approx(2 * (2 * 1 + 4 * 3) + validating)


def test_random_search_has_no_steps_on_a_and_scores_its_candidates(budget):
    search = budget.search("denoise", strategy="random", candidates=5)
    steps = few_steps._search(search, None, Clock(9, 1, 1, 1))
    assert steps.whole == pytest.approx(2 * 6 * 1 + 5 * 16 / search.batch * few_steps.FORWARD)


def test_a_training_is_steps_and_validations(budget):
    _, training, _ = chain(budget)  # 40 steps, 2 validations of 16 patches
    steps = few_steps._train(training, None, Clock(9, 2, 4, 2))
    assert steps.whole == pytest.approx(40 * 2 + 2 * 16 / training.batch * 2 * few_steps.FORWARD)


def test_an_evaluation_is_its_images(budget):
    _, _, scoring = chain(budget)
    clock = Clock(9, 2, 3, 2)
    steps = few_steps._evaluate(scoring.but(model="input", every=1), None, clock)
    images = len(few_steps.image_files("photos", "test"))
    assert len(clock.records) == min(3, images) and steps.whole == pytest.approx(images * 2.5)


def test_an_unknown_network_is_a_random_one_of_middle_size(budget):
    _, training, _ = chain(budget)
    found = few_steps.stand_in(training)
    assert found == few_steps.stand_in(training)
    assert few_steps.stand_in(training.but(genotype=found)) == found
    fixed = budget.train("denoise", budget.search("denoise", levels=(0, 1, 1)))
    assert few_steps.stand_in(fixed).levels == (0, 1, 1)
    other = budget.train("denoise", Comparator(name="dncnn"))
    assert few_steps.stand_in(other) is None


def test_a_network_that_was_found_is_timed_itself(budget):
    search, training, scoring = chain(budget)
    genotype = few_steps.stand_in(training)
    other = Genotype((0, 0, 0), genotype.cells)
    finish(budget, search, genotype=other)
    assert durations._resolved(scoring, Store.of(budget)).model.genotype == other
    assert durations._resolved(search, Store.of(budget)) == search


# --- all together


@pytest.mark.parametrize(("workers", "until"), [(1, 3 * 111.0), (2, 211.0), (3, 111.0), (9, 111.0)])
def test_workers_share_the_work_but_a_run_waits_for_its_producer(budget, workers, until):
    chains = [chain(budget, seed) for seed in budget.seeds]
    plans = [Plan("01", [Run(scoring) for *_, scoring in chains])]
    kinds = [
        Kind("", 3, seconds, "timed", durations.shape(config)) for config, seconds in zip(chains[0], (100.0, 10.0, 1.0))
    ]
    assert planning.spent(plans, kinds, settings(budget, workers)) == (333.0, until)


def test_one_long_chain_bounds_the_time(budget):
    search, training, scoring = chain(budget)
    plans = [Plan("01", [Run(scoring)])]
    kinds = [Kind("", 1, 5.0, "timed", durations.shape(config)) for config in (search, training, scoring)]
    assert planning.spent(plans, kinds, settings(budget, 8)) == (15.0, 15.0)
    unknown = [Kind("", 1, math.nan, "why", kind.shape) for kind in kinds]
    assert planning.spent(plans, unknown, settings(budget)) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (99, "99 s"), (101, "2 min"), (5900, "98 min"), (6100, "1.7 h"), (math.nan, "?")],
)
def test_durations_for_people(seconds, text):
    assert forecast.duration(seconds) == text


def test_the_forecast_names_what_it_does_not_know(budget, monkeypatch):
    search, training, scoring = chain(budget)
    estimates = {durations.shape(search): 60.0, durations.shape(training): 3600.0, durations.shape(scoring): math.nan}
    monkeypatch.setattr(
        durations, "estimate", lambda *_: [(key, Estimate(value, "timed")) for key, value in estimates.items()]
    )
    plans = [Plan("05_train", [Run(scoring)]), Plan("06_same", [Run(scoring)])]
    said = list(forecast.lines(plans, [], settings(budget, 2)))
    assert said[1:4] == [
        "search denoise, 6 epochs, width 4                         1     60 s  a few steps, timed now",
        "train denoise, 40 steps, width 8                          1   61 min  a few steps, timed now".replace(
            "61", "60"
        ),
        "evaluate photos denoise-standard, width 8                 1        ?  a few steps, timed now",
    ]
    assert [line.split() for line in said[6:9]] == [
        ["05_train", "3", "0", "3", "3", ">", "61", "min"],
        ["06_same", "3", "0", "3", "3", ">", "61", "min"],
        ["all", "3", "0", "3", "3", ">", "61", "min"],
    ]
    assert said[9] == (
        "All Runs to do, 2 at a time, 1 thread each: 61 min on this machine (61 min of computing); "
        "without 1 of unknown time"
    )


def test_where_nothing_could_be_timed_no_time_is_told(budget, monkeypatch):
    unknown = [(durations.shape(config), Estimate(math.nan, "no data")) for config in chain(budget)]
    monkeypatch.setattr(durations, "estimate", lambda *_: unknown)
    said = list(forecast.lines([Plan("05_train", [Run(chain(budget)[-1])])], [], settings(budget)))
    assert [line.split()[-1] for line in said[6:8]] == ["?", "?"]
    assert said[8] == (
        "All Runs to do, one after another, 1 thread each: nobody knows how long, none of 3 could be timed"
    )


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
    assert (row["smallest"], row["assumed"]) == (0.02, "3 seeds done")


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
        (["00_scorecard"], set(claim_file.load().claims)),
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
