"""Differences between two arms that the paper prints or says, with the interval that its deviations allow.

They have the columns of our own `effects`; `claims` lays both beside each other. Where a table prints single runs, the
deviation is that of the same network in table 1 or 2, and the note says so.
"""

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from hinas_nb import locations
from hinas_nb.evidence import claim_file, effects, paper_tables, stats
from hinas_nb.evidence.claim_file import Claim
from hinas_nb.evidence.stats import Effect
from hinas_nb.experiment.config import Space
from hinas_nb.scoring.units import METRICS

PLACE = [*effects.GROUP, "metric"]  # what a printed number is of


def of_claim(claim: Claim) -> pd.DataFrame:
    """Return what the paper prints of a claim's comparisons and metrics, for all its test sets and degradations."""
    found = pd.DataFrame([*_printed(claim.tables, claim.compare), *_said(claim)], columns=effects.COLUMNS)
    return found[found["metric"].isin(list(claim.metrics)) & found["task"].isin(claim.tasks)].reset_index(drop=True)


def beside(ours: pd.DataFrame, numbers: Iterable[int]) -> pd.DataFrame:
    """Return our effects with the published ones of these tables: published, published_low, published_high."""
    pairs = list(dict.fromkeys(zip(ours["treatment"], ours["control"])))
    theirs = pd.DataFrame(_printed(numbers, pairs), columns=effects.COLUMNS)
    names = {"difference": "published", "low": "published_low", "high": "published_high"}
    keys = ["treatment", "control", *PLACE]
    return ours.merge(theirs[[*keys, *names]].rename(columns=names), "left", keys)


def of_arms(number: int) -> pd.DataFrame:
    """Return `paper_tables.table` with the column `arm`: what a row is called where it is compared."""
    book = claim_file.load().tables[number]
    return pd.DataFrame((book.rows | book.others).items(), columns=["arm", "row"]).merge(paper_tables.table(number))


def cells(number: int) -> pd.DataFrame:
    """Return the printed numbers of all arms of a table, each with the deviation that is known for it.

    Columns: arm, task, data, degradation, metric, value, deviation (over the paper's runs; NaN if unknown), like (the
    number of the table that the deviation was taken from instead; 0 if none), flag.
    """
    return _cells(number, locations.home()).copy()


@functools.cache
def _cells(number: int, home: Path) -> pd.DataFrame:
    """Return what `cells` returns, once for each home: the folder of the collection, whose tables are read."""
    book = claim_file.load().tables[number]
    found = of_arms(number).dropna(subset="value").assign(like=0)
    found = found.loc[found["metric"].isin(list(METRICS)), ["arm", *PLACE, "value", "deviation", "like", "flag"]]
    found.loc[found["arm"].isin(list(book.others)), "deviation"] = 0.0
    for other, same in book.like:
        known = _cells(other, home)
        known = known[known["arm"] == same].set_index(PLACE)["deviation"].to_dict()
        for index, cell in found[found["deviation"].isna()].iterrows():
            found.loc[index, ["deviation", "like"]] = known.get(tuple(cell[PLACE]), math.nan), other
    found.loc[found["deviation"].isna(), "like"] = 0
    return found


def _printed(numbers: Iterable[int], pairs: Sequence[tuple[str, str]]) -> Iterator[dict]:
    for number, (treatment, control) in itertools.product(numbers, pairs):
        of_arm = dict(list(cells(number).groupby("arm")))
        if not {treatment, control} <= of_arm.keys():
            continue
        both = of_arm[treatment].merge(of_arm[control], on=PLACE, suffixes=("", "_control"))
        for cell in both.to_dict("records"):
            arms = {"treatment": treatment, "control": control}
            yield arms | {name: cell[name] for name in PLACE} | _difference(number, cell)


def _difference(number: int, cell: dict) -> dict:
    """Return the numbers and the note of the printed difference between a cell and its control (`..._control`)."""
    flags = [flag for flag in (cell["flag"], cell["flag_control"]) if flag]
    sides = cell["value"], cell["deviation"], cell["value_control"], cell["deviation_control"]
    runs = claim_file.load().tables[number].runs
    if METRICS[cell["metric"]].kind != "score":
        change = 100 * (cell["value"] / cell["value_control"] - 1)
        return _numbers(Effect(change, math.nan, math.nan, 1), ["no deviation", *flags])
    if runs == 1:
        effect = stats.borrowed(cell["value"], cell["value_control"], cell["deviation"])
    else:
        effect = stats.published(*sides, runs)
    unknown = "no deviation" if math.isnan(effect.low) else "single runs" if runs == 1 else ""
    borrowed = [f"deviation of table {like}" for like in sorted({cell["like"], cell["like_control"]} - {0})]
    return _numbers(effect, [unknown, *borrowed, *flags])


def _said(claim: Claim) -> Iterator[dict]:
    """Yield what only the text or a figure says: a count of networks, or the numbers of treatment and control."""
    (treatment, control), *_ = claim.compare
    for (metric, (first, second)), task in itertools.product(claim.said.items(), claim.tasks):
        if METRICS[metric].kind == "share":
            seen = [True] * int(first) + [False] * int(second - first)
            yield from effects.of_share(seen, Space.model_validate({"task": task}), treatment, metric).to_dict(
                "records"
            )
        else:
            change = Effect(100 * (first / second - 1), math.nan, math.nan, 1)
            arms = {"treatment": treatment, "control": control, "task": task, "data": "", "metric": metric}
            yield arms | _numbers(change, ["said in the text, once"])


def _numbers(effect: Effect, notes: Sequence[str]) -> dict:
    told = {"protocol": "", "note": "; ".join(filter(None, notes))}
    return {"difference": effect.mean, "low": effect.low, "high": effect.high, "seeds": effect.seeds} | told
