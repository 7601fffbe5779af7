"""Say what an experiment can find before anything is spent: the smallest true effect that each design detects.

`hinas-nb plan` prints it. A deviation has to be assumed: that of the effects that a notebook left behind, where they
are of enough seeds, else what the paper prints for the two arms, else for its whole method.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hinas_nb.evidence import claims, effects, paper_effects, stats
from hinas_nb.experiment.profile import Profile
from hinas_nb.scoring.units import METRICS

_ENOUGH_SEEDS = 3  # left behind, for their deviation to be better than the published one
_WHOLE_METHOD = {"denoise": (1, "both"), "sr": (2, "both")}  # table and arm


def smallest_effects(budget: Profile, names: Sequence[str] | None = None) -> pd.DataFrame:
    """Return for each question of this budget the smallest true effect beyond the margin found with probability 0.8.

    Columns: claim, says, comparison, images, metric, seeds, smallest (NaN: unknown, inf: none can be found), published,
    assumed; `text` has `smallest` and `published` with the digits of the metric.
    """
    rows = []
    for row in claims.judge(claims.gathered(budget)[0], budget, names).to_dict("records"):
        metric, of_budget = METRICS[row["metric"]], budget.sigmas if row["task"] == "denoise" else budget.scales
        if not row["notebooks"] or (metric.kind == "score" and row["degradation"] not in of_budget):
            continue
        smallest, assumed = _smallest(row, budget)
        known = "none" if math.isinf(smallest) else metric.text(smallest).lstrip("+") or "unknown"
        kept = {name: row[name] for name in ("says", "comparison", "images", "published")}
        rows.append(
            {"claim": row["name"], "metric": metric.header, "seeds": len(budget.seeds), "smallest": smallest}
            | kept
            | {"assumed": assumed, "text": (known, metric.text(row["published"]) or "-")}
        )
    return pd.DataFrame(rows)


def _smallest(row: Mapping[str, Any], budget: Profile) -> tuple[float, str]:
    """Return the smallest effect of a question, and where its deviation is from."""
    seeds, kind = len(budget.seeds), METRICS[row["metric"]].kind
    if kind == "share":
        by_chance = effects.chance(row["metric"], budget.search(row["task"]).space)
        return stats.smallest_share(by_chance, seeds), "binomial"
    enough = row["seeds"] >= _ENOUGH_SEEDS
    if kind != "score":
        return (row["detectable"], f"{row['seeds']} repeats done") if enough else (math.nan, "no deviation known")
    if enough:
        deviation = row["detectable"] / stats.smallest_effect(1.0, row["seeds"])
        return stats.smallest_effect(deviation, seeds), f"{row['seeds']} seeds done"
    deviation, source = _printed_deviation(row)
    return stats.smallest_effect(deviation, seeds), source


def _printed_deviation(row: Mapping[str, Any]) -> tuple[float, str]:
    """Return the deviation that the two arms' printed ones give if their seeds share nothing, which is cautious."""
    for number in paper_effects.load().claims[row["name"]].tables:
        cells = _nearest(number, row)
        here = cells[(cells["degradation"] == row["degradation"]) & (cells["deviation"] > 0)]
        first, second = (here[here["arm"] == row[side]] for side in ("treatment", "control"))
        for cell in first.merge(second, on=paper_effects.PLACE, suffixes=("", "_control")).to_dict("records"):
            return math.hypot(cell["deviation"], cell["deviation_control"]), f"table {cell['like'] or number}"
    number, arm = _WHOLE_METHOD[row["task"]]
    cells = _nearest(number, row)
    return math.sqrt(2) * cells.loc[cells["arm"] == arm, "deviation"].iloc[0], f"table {number}, {arm}"


def _nearest(number: int, row: Mapping[str, Any]) -> pd.DataFrame:
    """Return a table's cells for a question's task and metric: its degradation first, then its images."""
    cells = paper_effects.cells(number)
    cells = cells[(cells["task"] == row["task"]) & (cells["metric"] == row["metric"])]
    images = cells["data"].map({row["data"]: 0, claims.MAIN_TEST_SET: 1}).fillna(2)
    order = cells.assign(other=cells["degradation"] != row["degradation"], far=images)
    return order.sort_values(["other", "far"], kind="stable")
