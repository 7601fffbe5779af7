"""What the paper says of a claim: differences between cells of its tables, with the interval its deviations allow.

`evidence` has our side, `claims` lays both beside each other; notebook `00_scorecard` shows them.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from hinas_nb import locations
from hinas_nb.evidence import paper_tables, stats
from hinas_nb.evidence.claim_file import Table
from hinas_nb.evidence.stats import Effect
from hinas_nb.experiment.config import Space, Task
from hinas_nb.method.genotype import width_paths
from hinas_nb.scoring.units import METRICS, Metric

COLLAPSED_BY_CHANCE = 0.025  # by the definition of `agreement.collapse`


@dataclass(frozen=True)
class Finding:
    """A difference and what has to be known about it. images: its interval over images."""

    effect: Effect
    note: str = ""
    images: tuple[float, float] = (math.nan, math.nan)


class Place(NamedTuple):
    """What a published number is of. degradation: sigma (0-255 grey levels) or scale; None where it has none."""

    task: str
    data: str | None = None
    degradation: float | None = None


@dataclass(frozen=True)
class Cell:
    """A published number. deviation: over its runs, NaN if unknown; like: the table that was taken from instead."""

    value: float
    deviation: float
    like: int | None
    flag: str


def in_tables(
    tables: Mapping[int, Table], numbers: Sequence[int], treatment: str, control: str, metric: str
) -> dict[Place, Finding]:
    """The published difference wherever both arms have a cell."""
    findings = {}
    for number in numbers:
        first, second = (cells(tables, number, arm, metric) for arm in (treatment, control))
        for place in first:
            if place in second:
                findings[place] = _difference(first[place], second[place], tables[number].runs, METRICS[metric])
    return findings


def in_words(metric: str, task: Task, first: float, second: float) -> Finding:
    """What only the text or a figure says: so many of so many networks, or the treatment's and the control's number."""
    if METRICS[metric].kind == "share":
        return counted(int(first), int(second), chance(metric, Space.model_validate({"task": task})))
    return Finding(alone(change(first, second)), "said in the text, once")


def cells(tables: Mapping[int, Table], number: int, arm: str, metric: str) -> dict[Place, Cell]:
    """The published numbers of an arm, each with the deviation that is known for it."""
    table, found = tables[number], {}
    row = (table.rows | table.others).get(arm, "")
    for place, (value, deviation, flag) in _printed(number, locations.home()).get((row, metric), {}).items():
        like = None
        if arm in table.others:
            deviation = 0.0
        for other, same in table.like if math.isnan(deviation) else ():
            known = cells(tables, other, same, metric).get(place)
            if known:
                deviation, like = known.deviation, other
        found[place] = Cell(value, deviation, like, flag)
    return found


def chance(metric: str, space: Space) -> float:
    """The share that random genotypes of the space have of what such a metric counts."""
    if metric == "collapsed":
        return COLLAPSED_BY_CHANCE
    paths = width_paths(space.layers, len(space.width_factors)) if space.levels is None else [space.levels]
    return sum(path[-1] == max(path) for path in paths) / len(paths)


def counted(hits: int, count: int, by_chance: float) -> Finding:
    return Finding(stats.share(hits, count, by_chance), f"{hits} of {count}, by chance {by_chance:.0%}")


def alone(value: float) -> Effect:
    """A difference without an interval."""
    return Effect(value, math.nan, math.nan, 1)


def change(treatment: float, control: float) -> float:
    """In percent of the control."""
    return 100 * (treatment / control - 1)


@functools.cache
def _printed(number: int, home: Path) -> dict[tuple[str, str], dict[Place, tuple[float, float, str]]]:
    """By row and metric: value, deviation and flag of every place that has a number. home: of `places`."""
    found: dict = {}
    table = paper_tables.table(number)
    for cell in table[table["value"].notna()].to_dict("records"):
        degradation = None if pd.isna(cell["degradation"]) else float(cell["degradation"])
        place = Place(cell["task"], cell["data"] or None, degradation)
        number_of = float(cell["value"]), float(cell["deviation"]), cell["flag"] or ""
        found.setdefault((cell["row"], cell["metric"]), {})[place] = number_of
    return found


def _difference(treatment: Cell, control: Cell, runs: int, metric: Metric) -> Finding:
    flags = [cell.flag for cell in (treatment, control) if cell.flag]
    if metric.kind in ("time", "cost"):
        return Finding(alone(change(treatment.value, control.value)), "; ".join(["no deviation", *flags]))
    if runs == 1:
        effect = stats.borrowed(treatment.value, control.value, treatment.deviation)
    else:
        effect = stats.published(treatment.value, treatment.deviation, control.value, control.deviation, runs)
    notes = ["no deviation" if math.isnan(effect.low) else "single runs" if runs == 1 else ""]
    borrowed = {cell.like for cell in (treatment, control) if cell.like}
    notes += [f"deviation of table {number}" for number in sorted(borrowed)]
    return Finding(effect, "; ".join(filter(None, [*notes, *flags])))
