"""The verdict rule errs at the stated rates; intervals and smallest effects agree with hand and simulation."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from scipy.integrate import quad

from hinas_nb.evidence import stats
from hinas_nb.evidence.stats import Effect

EXPERIMENTS = 4000
DRAWS = 50_000  # where numpy makes them all at once


def experiments(true: float, deviation: float, seeds: int, seed: int = 0) -> list[Effect]:
    """Paired experiments with a known true effect."""
    draws = np.random.default_rng(seed).normal(true, deviation, (EXPERIMENTS, seeds))
    return [stats.paired(row) for row in draws]


def welch(seeds: tuple[int, int], deviations: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Ends of scipy's Welch intervals in many experiments without an effect."""
    draws = np.random.default_rng(2)
    arms = [draws.normal(0, deviation, (DRAWS, n)) for n, deviation in zip(seeds, deviations)]
    found = scipy_stats.ttest_ind(*arms, axis=1, equal_var=False).confidence_interval()
    return found.low, found.high


def detectable(seeds: tuple[int, int], deviations: tuple[float, float]) -> float:
    """What `unpaired` says of arms with just these sample deviations."""
    arms = [deviation * scipy_stats.zscore(np.arange(n), ddof=1) for n, deviation in zip(seeds, deviations)]
    return stats.unpaired(*arms).detectable


def rate(verdicts, word: str) -> int:
    return sum(verdict == word for verdict in verdicts)


def assert_rate(hits: int, share: float, count: int = EXPERIMENTS):
    """As often as a binomial of that share is, but for one test in ten thousand."""
    assert scipy_stats.binomtest(hits, count, share).pvalue > 1e-4, f"{hits} of {count}, expected {share:.3f}"


# --- the rule


@pytest.mark.parametrize(
    ("low", "high", "direction", "margin", "expected"),
    [
        (0.01, 0.2, 1, 0, "supports"),
        (-0.01, 0.2, 1, 0, "undecided"),
        (-0.2, -0.01, 1, 0, "contradicts"),
        (-0.2, -0.01, -1, 0, "supports"),
        (0.01, 0.2, -1, 0, "contradicts"),
        (-0.04, 0.2, 1, -0.05, "supports"),  # no loss beyond 0.05
        (-0.06, 0.2, 1, -0.05, "undecided"),
        (-0.2, -0.06, 1, -0.05, "contradicts"),
        (0.04, 0.2, 1, 0.05, "undecided"),  # at least 0.05 better
        (-0.2, 0.04, -1, -0.05, "supports"),  # no rise beyond 0.05
        (math.nan, math.nan, 1, 0, "undecided"),
        (0.0, 0.0, 1, 0, "undecided"),
    ],
)
def test_the_interval_against_the_margin_decides(low, high, direction, margin, expected):
    middle = 0.1 if math.isnan(low) else (low + high) / 2
    assert stats.verdict(Effect(middle, low, high, 3), direction, margin) == expected


def test_without_an_effect_there_is_no_evidence():
    assert stats.verdict(Effect(math.nan, math.nan, math.nan, 0), 1) == "no evidence yet"


@pytest.mark.parametrize("direction", [2, 0])
def test_a_claim_without_sense_is_refused(direction):
    with pytest.raises(ValueError, match=f"direction must be -1 or 1, got {direction}"):
        stats.verdict(Effect(0, 0, 0, 3), direction)


# --- how often it errs


@pytest.mark.parametrize("margin", [0.0, -0.3])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_on_the_margin_each_wrong_verdict_comes_in_one_of_forty(seeds, margin):
    verdicts = [stats.verdict(effect, 1, margin) for effect in experiments(margin, 0.5, seeds)]
    assert_rate(rate(verdicts, "supports"), 0.025)
    assert_rate(rate(verdicts, "contradicts"), 0.025)


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_the_smallest_effect_is_found_in_four_of_five(seeds, direction):
    true = direction * stats.smallest_effect(0.5, seeds)
    verdicts = [stats.verdict(effect, direction) for effect in experiments(true, 0.5, seeds, seed=1)]
    assert_rate(rate(verdicts, "supports"), 0.8)
    assert rate(verdicts, "contradicts") == 0


#: Seeds of two arms with nothing in common: the paper's tables; random architectures against seeds (15), by budget.
UNPAIRED = [(3, 3), (4, 2), (9, 3)]


@pytest.mark.parametrize(("seeds", "deviations", "covered"), [
    *(((n, n), (1, 1), (0.95, 0.98)) for n in (2, 3, 5)),
    *((seeds, (1, 1), (0.935, 0.97)) for seeds in UNPAIRED),
    ((4, 2), (0.2, 1), (0.89, 0.92)),  # the worst: the smaller side varies most
    ((9, 3), (0.2, 1), (0.93, 0.95)),
])  # fmt: skip
def test_welch_intervals_cover_about_what_they_say(seeds, deviations, covered):
    low, high = welch(seeds, deviations)
    assert covered[0] < np.mean((low <= 0) & (high >= 0)) < covered[1]


@pytest.mark.parametrize("seeds", [(2, 2), *UNPAIRED, (5, 5), (10, 10)])
@pytest.mark.parametrize("deviations", [(1.0, 1.0), (0.2, 1.0), (1.0, 0.2)])
def test_the_smallest_unpaired_effect_is_found_in_four_of_five(seeds, deviations):
    true = detectable(seeds, deviations)
    low, _ = welch(seeds, deviations)
    assert_rate(int(np.sum(low + true > 0)), 0.8, DRAWS)


def test_the_smallest_unpaired_effect_of_three_runs_each():
    """As if the degrees of freedom were known, 3.07 would do; it is found with probability 0.70 only."""
    assert stats.published(0, 1, 0, 1, 3).detectable == pytest.approx(3.51, abs=0.005)
    low, _ = welch((3, 3), (1, 1))
    assert np.mean(low + 3.07 > 0) == pytest.approx(0.70, abs=0.01)


def test_an_arm_that_hardly_varies_changes_nothing():
    nearly, alone = stats.published(0, 1, 0, 1e-9, 3), stats.published(0, 1, 0, 0, 3)
    assert nearly.high == pytest.approx(alone.high) and nearly.detectable == pytest.approx(alone.detectable, rel=1e-4)
    assert alone.detectable == pytest.approx(stats.smallest_effect(1, 3))
    exact = stats.published(2, 0, 1, 0, 3)
    assert (exact.low, exact.high, exact.detectable) == (1, 1, 0)


# --- intervals by hand and by others


def test_a_paired_interval_by_hand():
    effect = stats.paired([0.1, 0.2, 0.3])
    half = 4.302652729749462 * 0.1 / math.sqrt(3)  # t of 2 degrees of freedom, deviation 0.1
    assert (effect.difference, effect.low, effect.high) == pytest.approx((0.2, 0.2 - half, 0.2 + half))
    assert effect.seeds == 3


def test_a_welch_interval_is_that_of_scipy():
    treatment, control = [29.2, 29.25, 29.3, 29.1], [29.0, 29.4, 28.7]
    theirs = scipy_stats.ttest_ind(treatment, control, equal_var=False).confidence_interval()
    ours = stats.unpaired(treatment, control)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))
    moments = [f(v) for v in (treatment[:3], control) for f in (np.mean, lambda v: np.std(v, ddof=1))]
    assert stats.published(*moments) == stats.unpaired(treatment[:3], control)


def test_an_exact_control_leaves_the_treatments_own_interval():
    ours = stats.published(29.23, 0.0346, 28.66, 0.0)
    alone = stats.paired(np.array([29.23 - 0.0346, 29.23, 29.23 + 0.0346]) - 28.66)
    assert (ours.low, ours.high) == pytest.approx((alone.low, alone.high))


def test_a_borrowed_deviation_is_known_no_better_than_its_own_seeds():
    """Single runs whose deviation comes from three others: covered as often as said."""
    draws = np.random.default_rng(3)
    runs = draws.normal(0, 0.3, (EXPERIMENTS, 5))
    effects = [stats.borrowed(row[0] + 1, row[1], row[2:].std(ddof=1)) for row in runs]
    assert_rate(sum(effect.low <= 1 <= effect.high for effect in effects), 0.95)


def test_one_seed_gives_no_interval_and_no_verdict():
    for effect in (stats.paired([0.4]), stats.unpaired([1.0], [0.5, 0.6]), stats.published(2, math.nan, 1, 0.1)):
        assert math.isnan(effect.low) and math.isnan(effect.high) and math.isnan(effect.detectable)
        assert stats.verdict(effect, 1) == "undecided"
    assert math.isnan(stats.smallest_effect(0.1, 1))


def test_the_published_deviations_are_sample_deviations_of_three_runs():
    """Table 2 prints 0.0058, 0.0115 and 0.0208: what rounded scores give with n - 1, and not with n."""
    for printed, runs in ((0.0058, (0, 0, 0.01)), (0.0115, (0, 0, 0.02)), (0.0208, (0, 0.01, 0.04))):
        assert round(float(np.std(runs, ddof=1)), 4) == printed
        assert round(float(np.std(runs)), 4) != printed


# --- the smallest effect


@pytest.mark.parametrize("seeds", [2, 3, 6, 40])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_the_smallest_effect_by_integration(seeds, power):
    """Power as the mean over the sample deviation of a normal tail: no noncentral t involved."""
    shift = stats.smallest_effect(2.0, seeds, power) / (2.0 / math.sqrt(seeds))
    freedom, critical = seeds - 1, scipy_stats.t.ppf(0.975, seeds - 1)
    spread = scipy_stats.chi(freedom, scale=1 / math.sqrt(freedom))
    found, _ = quad(lambda s: spread.pdf(s) * scipy_stats.norm.sf(critical * s - shift), 0, np.inf)
    assert found == pytest.approx(power, abs=1e-5)


def test_more_seeds_find_smaller_effects():
    effects = [stats.smallest_effect(0.1, seeds) for seeds in (2, 3, 5, 10, 100)]
    assert effects == sorted(effects, reverse=True)
    normal = 0.1 / 10 * (scipy_stats.norm.ppf(0.975) + scipy_stats.norm.ppf(0.8))
    assert effects[-1] == pytest.approx(normal, rel=0.02)
    assert stats.paired([0.1, 0.2, 0.3]).detectable == pytest.approx(stats.smallest_effect(0.1, 3))


# --- images and shares


@pytest.mark.parametrize("images", [2, 3, 5, 14, 40, 100, 200])
def test_intervals_over_images_cover(images):
    """At every number of images that notebooks score: photos, Set5, Set14, every fifth of BSDS500, B100, BSD200."""
    draws = np.random.default_rng(4).normal(0.2, 1, (EXPERIMENTS, images))
    intervals = [stats.over_images(row) for row in draws]
    assert_rate(sum(low <= 0.2 <= high for low, high in intervals), 0.95)


@pytest.mark.parametrize("images", [14, 40, 200])
def test_intervals_over_images_bear_lopsided_differences(images):
    """Exponential ones are more lopsided than any we saw; a percentile bootstrap does no better."""
    draws = np.random.default_rng(5).exponential(1, (EXPERIMENTS, images))
    intervals = [stats.over_images(row) for row in draws]
    assert sum(low <= 1 <= high for low, high in intervals) / EXPERIMENTS > {14: 0.89, 40: 0.92, 200: 0.935}[images]


def test_the_interval_over_images_is_students():
    found = stats.paired([0.1, 0.2, 0.4])
    assert stats.over_images([0.1, 0.2, 0.4]) == pytest.approx((found.low, found.high))
    assert all(map(math.isnan, stats.over_images([1.0])))


@pytest.mark.parametrize(("hits", "count"), [(0, 3), (3, 3), (2, 5), (7, 10)])
def test_the_interval_of_a_share_is_exact(hits, count):
    theirs = scipy_stats.binomtest(hits, count).proportion_ci(method="exact")
    ours = stats.share(hits, count, chance=0.25)
    expected = [100 * (value - 0.25) for value in (hits / count, theirs.low, theirs.high)]
    assert [ours.difference, ours.low, ours.high] == pytest.approx(expected)


def test_one_case_gives_no_interval():
    effect = stats.share(1, 1, 0.025)
    assert math.isnan(effect.low) and stats.verdict(effect, 1) == "undecided"
    assert math.isinf(stats.smallest_share(0.025, 1))


@pytest.mark.parametrize(("chance", "count"), [(0.025, 3), (0.025, 2), (0.5, 12)])
def test_the_smallest_share_is_found_in_four_of_five(chance, count):
    true = chance + stats.smallest_share(chance, count) / 100
    hits = np.random.default_rng(5).binomial(count, true, EXPERIMENTS)
    verdicts = [stats.verdict(stats.share(int(seen), count, chance), 1) for seen in hits]
    assert_rate(rate(verdicts, "supports"), 0.8)


def test_so_few_cannot_tell_even_all_from_a_likely_chance():
    assert math.isinf(stats.smallest_share(0.6, 3))
    assert stats.verdict(stats.share(3, 3, 0.6), 1) == "undecided"


@pytest.mark.parametrize("values", [[], [1.0, math.nan]])
def test_numbers_that_are_none_are_refused(values):
    with pytest.raises(ValueError, match=r"differences must be finite numbers, at least one, got \["):
        stats.paired(values)


# --- search seeds and training seeds


def scores(**changes) -> pd.DataFrame:
    """Two arms, three searches of two trainings each, two images."""
    rows = [
        {"arm": arm, "seed": s, "train": t, "image": image, "psnr": 20 + (arm == "new") * (s + 1) + 0.1 * t * s}
        for arm in ("old", "new")
        for s in range(3)
        for t in range(2)
        for image in "ab"
    ]
    return pd.DataFrame(rows).assign(**changes)


def test_training_seeds_are_averaged_inside_their_search():
    found = stats.seed_differences(scores(), "new", "old", "psnr", ["train"])
    assert list(found.index) == [0, 1, 2]
    assert list(found) == pytest.approx([1, 2, 3])
    table = scores()
    table = pd.concat([table, table[(table["train"] == 1) & (table["seed"] == 0)].assign(train=2, psnr=50.0)])
    more = stats.seed_differences(table, "new", "old", "psnr", ["train"])
    assert list(more) == pytest.approx([(21 + 21 + 50) / 3 - (20 + 20 + 50) / 3, 2, 3])


def test_correlated_trainings_of_one_search_do_not_narrow_the_interval():
    """Ten trainings of each search that repeat it: the interval stays that of three searches."""
    once = scores().query("train == 0")
    ten = pd.concat([once.assign(train=t) for t in range(10)])
    one, many = (stats.paired(stats.seed_differences(t, "new", "old", "psnr", ["train"])) for t in (once, ten))
    assert many == one and many.seeds == 3


def test_seeds_without_a_partner_are_left_out():
    table = scores().query("not (arm == 'old' and seed == 1)")
    assert list(stats.seed_differences(table, "new", "old", "psnr").index) == [0, 2]


def test_other_images_are_refused():
    table = scores()
    for arm, message in (("new", "old must be|new must be|new and old"), ("old", "old must be")):
        broken = table[~((table["arm"] == arm) & (table["seed"] == 2) & (table["image"] == "b"))]
        with pytest.raises(ValueError, match=message):
            stats.seed_differences(broken, "new", "old", "psnr")
    other = table.assign(image=table["image"] + table["arm"])
    with pytest.raises(ValueError, match="new and old must be scored on the same images, got others at 0"):
        stats.seed_differences(other, "new", "old", "psnr")


# Differences at an equal covariate


@pytest.mark.parametrize(("treated", "controls"), [(2, 4), (3, 6)])
def test_the_interval_at_an_equal_covariate_covers(treated, controls):
    """2,000 draws with a slope that is not known, treatments at other places of the covariate than controls."""
    rng, truth, held = np.random.default_rng(0), 0.7, 0
    for _ in range(2000):
        first, second = rng.normal(1, 1, treated), rng.normal(0, 1, controls)
        effect = stats.adjusted(
            truth + 2 * first + rng.normal(0, 0.3, treated), 2 * second + rng.normal(0, 0.3, controls), first, second
        )
        held += effect.low <= truth <= effect.high
    assert held / 2000 == pytest.approx(0.95, abs=0.015)


def test_at_an_equal_covariate_it_is_the_regression_of_scipy_and_needs_four_values():
    rng = np.random.default_rng(1)
    places, values = rng.normal(size=9), rng.normal(size=9)
    effect = stats.adjusted(values[:4], values[4:], places[:4], places[4:])
    own = scipy_stats.linregress(np.r_[np.ones(4), np.zeros(5)] - _explained(places, np.r_[np.ones(4), np.zeros(5)]),
                                 values - _explained(places, values))  # fmt: skip
    assert effect.difference == pytest.approx(own.slope, rel=1e-9)
    assert math.isnan(stats.adjusted([1.0], [2.0, 3.0], [0.0], [1.0, 2.0]).low)
    assert math.isnan(stats.adjusted([1.0, 2.0], [2.0, 3.0], [1.0, 1.0], [1.0, 1.0]).low), "nothing to adjust by"


def _explained(places, values):
    """What a line through the places says of the values (Frisch and Waugh)."""
    return np.polyval(np.polyfit(places, values, 1), places)
