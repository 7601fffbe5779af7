"""Differences between two arms that the paper claims, prints or says, with intervals that its deviations allow.

`params/claims.yaml` has the claims: comparisons, and the tables they are printed in. Differences have the columns of
our own `effects`; `claims` lays both beside each other. Where a table prints single runs, the deviation is that of the
same network in table 1 or 2, and the note says so.
"""

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from pydantic import Field

from hinas_nb import files, locations
from hinas_nb.evidence import effects, paper_tables, stats
from hinas_nb.evidence.stats import Effect
from hinas_nb.experiment.config import Space, Task
from hinas_nb.scoring.units import METRICS
from hinas_nb.settings import Config, ConfigError

PLACE = [*effects.GROUP, "metric"]  # what a printed number is of


class Judged(Config):
    """Says how a metric is judged, by the rule in `stats`."""

    direction: Literal[-1, 1]
    margin: float = 0.0


class Claim(Config):
    """Holds one claim; the comments in `params/claims.yaml` say what the fields mean."""

    claim: str
    place: str
    notebooks: tuple[str, ...]
    compare: Annotated[tuple[tuple[str, str], ...], Field(min_length=1)]
    metrics: Annotated[dict[str, Judged], Field(min_length=1)]
    tasks: tuple[Task, ...] = ("denoise", "sr")
    tables: tuple[int, ...] = ()
    said: dict[str, tuple[float, float]] = {}


class Table(Config):
    """Says which row of a published table is which arm."""

    rows: dict[str, str]
    others: dict[str, str] = {}
    runs: int = 3
    like: tuple[tuple[int, str], ...] = ()


class ClaimFile(Config):
    """Holds the whole file."""

    tables: dict[int, Table]
    claims: dict[str, Claim]


def load() -> ClaimFile:
    """Return the claims of the collection, read once. Raises ConfigError, OSError."""
    return _load(path())


def path() -> Path:
    return locations.home() / "params" / "claims.yaml"


def chosen(names: Sequence[str] | None) -> dict[str, Claim]:
    """Return these claims by name, or all. Raises ConfigError for a name that is none."""
    known = load().claims
    names = list(known) if names is None else names
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"claim must be one of {', '.join(known)}, got {unknown[0]!r}")
    return {name: known[name] for name in names}


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
    book = load().tables[number]
    return pd.DataFrame((book.rows | book.others).items(), columns=["arm", "row"]).merge(paper_tables.table(number))


def cells(number: int) -> pd.DataFrame:
    """Return the printed numbers of all arms of a table, each with the deviation that is known for it.

    Columns: arm, task, data, degradation, metric, value, deviation (over the paper's runs; NaN if unknown), like (the
    number of the table that the deviation was taken from instead; 0 if none), flag.
    """
    book = load().tables[number]
    found = of_arms(number).dropna(subset="value").assign(like=0)
    found = found.loc[found["metric"].isin(list(METRICS)), ["arm", *PLACE, "value", "deviation", "like", "flag"]]
    found.loc[found["arm"].isin(list(book.others)), "deviation"] = 0.0
    for other, same in book.like:
        known = cells(other).set_index(["arm", *PLACE])["deviation"][same]
        unknown = found["deviation"].isna()
        places = pd.MultiIndex.from_frame(found.loc[unknown, PLACE])
        found.loc[unknown, "deviation"] = known.reindex(places).to_numpy()
        found.loc[unknown & found["deviation"].notna(), "like"] = other
    return found


@functools.cache
def _load(path: Path) -> ClaimFile:
    try:
        return ClaimFile(**files.read_yaml(path))
    except ConfigError as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from None


def _printed(numbers: Iterable[int], pairs: Sequence[tuple[str, str]]) -> Iterator[dict]:
    for number in numbers:
        table = cells(number)
        for treatment, control in pairs:
            first, second = (table[table["arm"] == arm] for arm in (treatment, control))
            for cell in first.merge(second, on=PLACE, suffixes=("", "_control")).to_dict("records"):
                arms = {"treatment": treatment, "control": control}
                yield arms | {name: cell[name] for name in PLACE} | _difference(number, cell)


def _difference(number: int, cell: dict) -> dict:
    """Return the numbers and the note of the printed difference between a cell and its control (`..._control`)."""
    flags = [flag for flag in (cell["flag"], cell["flag_control"]) if flag]
    sides = cell["value"], cell["deviation"], cell["value_control"], cell["deviation_control"]
    runs = load().tables[number].runs
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
            space = Space.model_validate({"task": task})
            yield from effects.of_share(seen, space, treatment, metric).to_dict("records")
        else:
            change = Effect(100 * (first / second - 1), math.nan, math.nan, 1)
            arms = {"treatment": treatment, "control": control, "task": task, "data": "", "metric": metric}
            yield arms | _numbers(change, ["said in the text, once"])


def _numbers(effect: Effect, notes: Sequence[str]) -> dict:
    return asdict(effect) | {"protocol": "", "note": "; ".join(filter(None, notes))}
