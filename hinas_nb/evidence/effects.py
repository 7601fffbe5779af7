"""Effects: differences between two arms of an experiment, one row each, with the interval that their repeats allow.

A notebook computes its effects from what it has just collected, shows them, judges them (`claims.judge`) and leaves
them behind as `tables/<notebook>__effects.csv`, which notebook `00_scorecard` gathers. The columns:

- treatment, control: the two arms; the control of a share is "chance", what random genotypes show;
- task, data, degradation: sigma (0-255 grey levels) or scale; empty or NaN where one effect holds for all;
- metric: a name of `scoring.units.METRICS`, which knows the unit of the numbers;
- difference, low, high, detectable, seeds: treatment - control, see `stats.Effect`;
- images_low, images_high: the interval over images, NaN where no image was scored;
- protocol, note: how images were scored, and what else has to be known; empty where there is nothing.
"""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from hinas_nb import files
from hinas_nb.evidence import stats
from hinas_nb.evidence.stats import Effect
from hinas_nb.experiment.config import EvaluateConfig, Space
from hinas_nb.experiment.runs import REVISIONS
from hinas_nb.method.genotype import width_paths
from hinas_nb.scoring.units import METRICS

CHANCE = "chance"
GROUP = ["task", "data", "degradation"]  # what is never averaged over
SCORES = ["psnr", "ssim"]  # dB; unitless
_NUMBERS = ["difference", "low", "high", "detectable", "seeds", "images_low", "images_high"]
COLUMNS = ["treatment", "control", *GROUP, "metric", *_NUMBERS, "protocol", "note"]
_COLLAPSED_BY_CHANCE = 0.025  # by the definition of `stability.collapse`
#: The kinds of Runs that a metric's numbers come from: raise the revision of one, and its effects are outdated.
_RESTS_ON = {
    "score": ("search", "train", "evaluate"),
    "time": ("search", "timing"),
    "cost": ("search", "timing"),
    "share": ("search",),
}


def of_scores(
    scores: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    within: Sequence[str] = (),
    bases: Mapping[str, EvaluateConfig] | None = None,
) -> pd.DataFrame:
    """Return the effects on PSNR and SSIM of every pair (treatment, control), per task, data set and degradation.

    scores: as `collect` returns them, with labels task, data, degradation, arm and seed. A pair is left out where
    one of its arms was not run. within: repeats inside a seed, as in `stats.seed_differences`.
    bases: by task, what the arms are changes of; says the protocol and how many steps the networks were trained for.
    Raises ValueError for an arm that no score has, and for arms scored on different images.
    """
    rows = []
    for (compared, part), metric in itertools.product(_compared(scores, pairs), SCORES):
        treatment, control = compared["treatment"], compared["control"]
        differences = stats.seed_differences(part, treatment, control, metric, within=within)
        if differences.empty:
            continue
        by_image = part[part["seed"].isin(differences.index)].groupby(["image", "arm"])[metric].mean().unstack()
        images = stats.over_images((by_image[treatment] - by_image[control]).dropna())
        base = (bases or {}).get(compared["task"])
        told = {"protocol": base.protocol.name, "note": f"{base.model.steps:,} steps"} if base else {}
        rows.append(compared | {"metric": metric} | _numbers(stats.paired(differences), images) | told)
    return _tidy(rows)


def of_changes(
    values: pd.DataFrame, metric: str, pairs: Sequence[tuple[str, str]], paired: str = "seed", note: str = ""
) -> pd.DataFrame:
    """Return the change of a cost, in percent of the control, of every pair (treatment, control).

    values: a row per measurement with columns task, arm, `paired` and `metric`; data and degradation where the cost is
    not the same for all. paired: what both arms share, the seed of a search or the round of a timing; values that
    agree in it are averaged. A pair is left out where one of its arms was not measured.
    Raises ValueError for an arm that nothing was measured of.
    """
    rows = []
    for compared, part in _compared(values, pairs):
        of_arm = part.groupby([paired, "arm"])[metric].mean().unstack()
        changes = (100 * (of_arm[compared["treatment"]] / of_arm[compared["control"]] - 1)).dropna()
        if len(changes):
            rows.append(compared | {"metric": metric, "note": note} | _numbers(stats.paired(changes)))
    return _tidy(rows)


def of_share(seen: Sequence[bool], space: Space, treatment: str, metric: str, note: str = "") -> pd.DataFrame:
    """Return how much oftener searches showed something than random genotypes do, in percentage points: one effect.

    seen: of every search, whether it showed it. space: that they searched, which says the task.
    """
    by_chance = chance(metric, space)
    told = "; ".join(filter(None, [f"{sum(seen)} of {len(seen)}, by chance {by_chance:.0%}", note]))
    arms = {"treatment": treatment, "control": CHANCE, "task": space.task, "metric": metric, "note": told}
    return _tidy([arms | _numbers(stats.share(sum(seen), len(seen), by_chance))])


def chance(metric: str, space: Space) -> float:
    """Return the share of random genotypes of a space that show what such a metric counts."""
    if metric == "collapsed":
        return _COLLAPSED_BY_CHANCE
    paths = width_paths(space.layers, len(space.width_factors)) if space.levels is None else [space.levels]
    return sum(path[-1] == max(path) for path in paths) / len(paths)


def stamped(effects: pd.DataFrame) -> pd.DataFrame:
    """Return the effects with a column `revisions`: under which revisions of the code (`runs`) each was made."""
    made_by = [{kind: REVISIONS[kind] for kind in _RESTS_ON[METRICS[name].kind]} for name in effects["metric"]]
    return effects[COLUMNS].assign(revisions=[json.dumps(one) for one in made_by])


def read(path: Path) -> pd.DataFrame:
    """Return what `stamped` effects a file holds, `revisions` as dicts. Raises StoreError, FileContentError."""
    try:
        text, numbers = files.read_bytes(path).decode(), ["degradation", *_NUMBERS]
        kinds = dict.fromkeys([*COLUMNS, "revisions"], str) | dict.fromkeys(numbers, float)
        empty = {name: [""] for name in numbers}
        table = pd.read_csv(StringIO(text), dtype=kinds, na_values=empty, keep_default_na=False)[list(kinds)]
        table = table.astype({"seeds": int}).assign(revisions=table["revisions"].map(_revisions))
        unknown = next((name for name in table["metric"] if name not in METRICS), None)
        if unknown is not None:
            raise ValueError(f"the metric {unknown!r}")
    except (ValueError, KeyError) as error:
        rule = f"{path} must be a table of effects, got {files.one_line(str(error))[:200]}"
        raise files.FileContentError(f"{rule}; run its notebook anew or delete it") from None
    return table


def _revisions(text: str) -> dict[str, int]:
    made_by = json.loads(text)
    if not isinstance(made_by, dict) or not all(type(number) is int for number in made_by.values()):
        raise ValueError(f"the revisions {text!r}")
    return made_by


def _compared(values: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield for every task, data set and degradation each pair that was run there, with its part of the values.

    A pair is how a row of its effect begins. Raises ValueError for an arm that has no values anywhere.
    """
    known = list(values["arm"].unique())
    for arm in itertools.chain(*pairs):
        if arm not in known:
            raise ValueError(f"arm must be one of {', '.join(map(str, known))}, got {arm!r}")
    keys = [name for name in GROUP if name in values]
    for group, part in values.groupby(keys, sort=False):
        for pair in pairs:
            if set(pair) <= set(part["arm"]):
                yield dict(zip(["treatment", "control", *keys], [*pair, *group])), part


def _numbers(effect: Effect, images: tuple[float, float] = (math.nan, math.nan)) -> dict[str, float]:
    return asdict(effect) | dict(zip(("images_low", "images_high"), images))


def _tidy(rows: list[dict]) -> pd.DataFrame:
    return pd.DataFrame([dict.fromkeys(("data", "protocol", "note"), "") | row for row in rows], columns=COLUMNS)
