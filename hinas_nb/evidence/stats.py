"""Differences with intervals, and the one rule that makes verdicts of them; all ablation notebooks end with it.

**The rule.** A claim says on which side of a margin the true difference treatment - control lies. With the 95 %
interval of the difference, taken in the claimed direction:

- *supports*: the whole interval lies beyond the margin, on the claimed side;
- *contradicts*: the whole interval lies on the other side of the margin;
- *undecided*: the interval holds the margin, or one seed gives no interval;
- *no evidence yet*: there is no difference to judge.

A margin of 0 says "better". A negative margin says "not worse by more than that" (non-inferiority): it is how a claim
of no loss is tested, since no finite sample shows a loss of exactly nothing. So where the truth lies on the margin,
each wrong verdict comes in at most 2.5 % of experiments. Welch's intervals, of arms without common seeds, are
approximate with so few: 3 seeds each cover 0.94 to 0.97, and 4 against 2 as little as 0.90 where the 2 vary far more.
Of many claims judged at once some will be wrong: nothing here corrects for their number.

**Units.** What is repeated independently is a seed; images are not, they are the same in every arm. Differences are
paired by seed: with a search of its own for each seed, training seeds are averaged inside it before the interval.
The interval over images answers another question (other photographs, same networks) and is shown apart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import betaincinv, chdtri, nctdtrinc, ndtr, roots_legendre, stdtrit

_CONFIDENCE = 0.95
_POWER = 0.8
_NODES = 40  # of the quadrature over each arm's sample variance: powers to 1e-5, see the tests
_SUPPORTS, CONTRADICTS, _UNDECIDED, NO_EVIDENCE = VERDICTS = ("supports", "contradicts", "undecided", "no evidence yet")


@dataclass(frozen=True)
class Effect:
    """Holds a difference treatment - control, in the metric's unit; its fields are the columns of a table of effects.

    low, high: 95 % interval, NaN where one seed gives none.
    detectable: the smallest true effect beyond the margin that this design finds with probability 0.8, if the
        deviation is what it seems; NaN if that is unknown.
    """

    difference: float
    low: float
    high: float
    seeds: int
    detectable: float = math.nan


def verdict(effect: Effect, direction: int, margin: float = 0.0) -> str:
    """Return the verdict by the rule above. direction: 1 if the treatment is claimed larger, -1 if smaller."""
    if direction not in (-1, 1):
        raise ValueError(f"direction must be -1 or 1, got {direction}")
    if math.isnan(effect.difference):
        return NO_EVIDENCE
    low, high = (-effect.high, -effect.low) if direction < 0 else (effect.low, effect.high)
    return _SUPPORTS if low > margin else CONTRADICTS if high < margin else _UNDECIDED


def paired(differences: Sequence[float]) -> Effect:
    """Return Student's t interval of per-seed differences. Raises ValueError without any."""
    values = _numbers(differences, "differences")
    return _effect(float(values.mean()), _error(values), len(values) - 1, len(values))


def unpaired(treatment: Sequence[float], control: Sequence[float]) -> Effect:
    """Return Welch's t interval, where seeds of the two arms have nothing in common. Raises ValueError without any."""
    first, second = _numbers(treatment, "treatment"), _numbers(control, "control")
    moments = [(float(v.mean()), float(v.std(ddof=1)) if len(v) > 1 else math.nan, len(v)) for v in (first, second)]
    return _welch(*moments)


def adjusted(
    treatment: Sequence[float], control: Sequence[float], by_treatment: Sequence[float], by_control: Sequence[float]
) -> Effect:
    """Return treatment minus control at an equal covariate, such as a latency: a line of one slope for both, shifted.

    Analysis of covariance: least squares with Student's interval, which knows that the line is estimated too.
    by_treatment, by_control: the covariate of each value. There is no interval with fewer than four values in all, nor
    where the covariate does not vary. Raises ValueError without any.
    """
    first, second = _numbers(treatment, "treatment"), _numbers(control, "control")
    values, covariate = np.concatenate([first, second]), np.concatenate([by_treatment, by_control]).astype(float)
    treated = np.concatenate([np.ones(len(first)), np.zeros(len(second))])
    design = np.column_stack([treated, np.ones(len(values)), covariate - covariate.mean()])
    found, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    freedom = len(values) - 3
    if rank < 3 or freedom < 1:
        return _effect(float(found[0]), math.nan, 0, len(first))
    variance = float(np.square(values - design @ found).sum()) / freedom
    error = math.sqrt(variance * np.linalg.inv(design.T @ design)[0, 0])
    return _effect(float(found[0]), error, freedom, len(first))


def published(
    treatment_mean: float,
    treatment_deviation: float,
    control_mean: float,
    control_deviation: float,
    seeds: int = 3,
) -> Effect:
    """Return Welch's interval from means and sample deviations over `seeds` runs of each arm.

    A deviation of 0 takes that mean as exact: another system's one published number.
    """
    return _welch((treatment_mean, treatment_deviation, seeds), (control_mean, control_deviation, seeds))


def borrowed(treatment: float, control: float, deviation: float) -> Effect:
    """Return the difference of two single runs; the deviation of three other runs is taken to hold here too."""
    return _effect(treatment - control, deviation * math.sqrt(2), 2, 1)


def over_images(differences: Sequence[float]) -> tuple[float, float]:
    """Return Student's 95 % interval of the mean over images; NaN for fewer than two images.

    A percentile bootstrap would be too narrow: over 2, 5 and 14 images it covers 0.49, 0.83 and 0.90.
    """
    values = _numbers(differences, "differences")
    mean, half = float(values.mean()), float(_half_width(_error(values), len(values) - 1))
    return mean - half, mean + half


def share(hits: int, count: int, chance: float = 0.0) -> Effect:
    """Return how much oftener than `chance` something was seen, in percentage points (exact Clopper-Pearson interval).

    One case gives no interval, like one seed.
    """
    if not 0 <= hits <= count or count < 1:
        raise ValueError(f"hits must be in [0, count], and count at least 1, got {hits} of {count}")
    tail = (1 - _CONFIDENCE) / 2
    low = float(betaincinv(hits, count - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, count - hits, 1 - tail)) if hits < count else 1.0
    low, high = (low, high) if count > 1 else (math.nan, math.nan)
    return Effect(*(100 * (value - chance) for value in (hits / count, low, high)), count)


def smallest_share(chance: float, count: int) -> float:
    """Return the smallest true share, in percentage points above chance, that `share` finds with probability 0.8.

    Infinite where so few cannot tell even "all of them" from chance.
    """
    tail = (1 - _CONFIDENCE) / 2
    most = count if count > 1 else 0
    hits = next((hits for hits in range(1, most + 1) if betaincinv(hits, count - hits + 1, tail) > chance), None)
    return math.inf if hits is None else 100 * (float(betaincinv(hits, count - hits + 1, _POWER)) - chance)


def smallest_effect(deviation: float, seeds: int, power: float = _POWER) -> float:
    """Return the smallest true effect beyond the margin that `paired` finds with that probability; NaN below two seeds.

    deviation: standard deviation of a per-seed difference. From the noncentral t distribution.
    """
    return _detectable(deviation / math.sqrt(seeds), seeds - 1, power)


def seed_differences(
    scores: pd.DataFrame, treatment: str, control: str, metric: str, within: Sequence[str] = ()
) -> pd.Series:
    """Return treatment - control for every seed that both arms have.

    scores: tidy, a row per Run and image with columns arm, seed, image and the metric.
    within: columns of repeats inside a seed (training seeds of a search, draws); they are averaged, each counting
        the same, before the difference.
    Raises ValueError if the arms were scored on different images.
    """
    scores = scores[scores["arm"].isin([treatment, control])]
    images = scores.groupby(["arm", "seed"])["image"].agg(frozenset)
    for name in (treatment, control):
        if images[name].nunique() > 1:
            raise ValueError(f"{name} must be scored on the same images with every seed, got different ones")
    repeats = scores.groupby(["arm", "seed", *within], dropna=False)[metric].mean()
    by_arm = repeats.groupby(level=["arm", "seed"]).mean().unstack("arm")
    difference = (by_arm[treatment] - by_arm[control]).dropna()
    for seed in difference.index:
        if images[treatment, seed] != images[control, seed]:
            raise ValueError(f"{treatment} and {control} must be scored on the same images, got others at {seed}")
    return difference


def _welch(treatment: tuple[float, float, int], control: tuple[float, float, int]) -> Effect:
    """Return Welch's interval; each side: mean, sample deviation, seeds."""
    squares, freedoms = zip(*((deviation**2 / seeds, seeds - 1) for _, deviation, seeds in (treatment, control)))
    mean, seeds = treatment[0] - control[0], min(treatment[2], control[2])
    if not all(squares):  # an exact side: the interval is the other's own
        freedom = max((own for square, own in zip(squares, freedoms) if square), default=min(freedoms))
        return _effect(mean, math.sqrt(sum(squares)), freedom, seeds)
    half = float(_half_width(math.sqrt(sum(squares)), _satterthwaite(squares, freedoms))) if seeds > 1 else math.nan
    return Effect(mean, mean - half, mean + half, seeds, _welch_detectable(squares, freedoms, _POWER))


def _satterthwaite(squares, freedoms):
    """Return the degrees of freedom of a sum of squared standard errors (numbers or arrays)."""
    return sum(squares) ** 2 / sum(square**2 / freedom for square, freedom in zip(squares, freedoms))


def _welch_detectable(squares: Sequence[float], freedoms: Sequence[int], power: float) -> float:
    """Return the effect that Welch's interval finds with that probability; NaN where a side has one seed.

    squares: the true squared standard errors. No noncentral t has this power: the degrees of freedom are as random as
    the sample variances, and are few just when one arm seems to vary most. So it is the mean, over both sample
    variances, of the normal probability that the difference exceeds the half width they give.
    """
    if min(freedoms) < 1 or not all(map(math.isfinite, squares)):
        return math.nan
    nodes, weights = roots_legendre(_NODES)
    sampled = [square * chdtri(freedom, (1 + nodes) / 2) / freedom for square, freedom in zip(squares, freedoms)]
    sampled = sampled[0][:, None], sampled[1][None]
    half = _half_width(np.sqrt(sum(sampled)), _satterthwaite(sampled, freedoms))
    error, threshold = math.sqrt(sum(squares)), half / math.sqrt(sum(squares))

    def found(effect: float) -> float:
        return weights @ ndtr(effect - threshold) @ weights / 4

    return error * brentq(lambda effect: found(effect) - power, 0, threshold.max() + 10)


def _effect(mean: float, error: float, freedom: float, seeds: int) -> Effect:
    """Return the interval of a mean with that standard error; none without degrees of freedom."""
    half = float(_half_width(error, freedom))
    return Effect(mean, mean - half, mean + half, seeds, _detectable(error, freedom, _POWER))


def _error(values: np.ndarray) -> float:
    """Return the standard error of the mean; NaN of one value."""
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def _half_width(error, freedom):
    """Return Student's half width for a standard error (numbers or arrays); NaN without degrees of freedom."""
    return stdtrit(freedom, (1 + _CONFIDENCE) / 2) * error


def _detectable(error: float, freedom: float, power: float) -> float:
    """Return the effect whose t statistic, noncentral by effect / error, passes the interval's threshold."""
    critical = stdtrit(freedom, (1 + _CONFIDENCE) / 2)
    return error * float(nctdtrinc(freedom, 1 - power, critical))


def _numbers(values: Sequence[float], name: str) -> np.ndarray:
    numbers = np.asarray(values, dtype=float)
    if not len(numbers) or not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be finite numbers, at least one, got {list(numbers)[:5]}")
    return numbers
