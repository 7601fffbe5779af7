"""What an experiment can find, before anything is spent: the smallest true effect that each claim's design detects.

`hinas-nb plan` prints it. A deviation has to be assumed: that of our own finished Runs where there are enough of
them, else what the paper prints for the two arms, else for its whole method.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pandas as pd

from hinas_nb.evidence import claim_file, claims, evidence, said, stats, timing_runs
from hinas_nb.evidence.claims import Question
from hinas_nb.evidence.said import Place
from hinas_nb.experiment.profile import Profile
from hinas_nb.running.store import Store
from hinas_nb.scoring.units import METRICS, Metric

ENOUGH_SEEDS = 3  # of finished Runs, for their deviation to be better than the published one
WHOLE_METHOD = {"denoise": (1, "both"), "sr": (2, "both")}  # table and arm


class Assumed(NamedTuple):
    """Deviation of a per-seed difference, and where it is from."""

    deviation: float
    source: str


def smallest_effects(budget: Profile, names: Sequence[str] | None = None) -> pd.DataFrame:
    """A row for each question this budget asks: `smallest` true effect beyond the margin found with probability 0.8.

    Columns: claim, says, comparison, images, metric, seeds, smallest (NaN: unknown, inf: none can be found), published,
    assumed; `text` has `smallest` and `published` with the digits of the metric.
    """
    sized = timing_runs.shapes(budget.search("denoise").space.base_width)
    rows = []
    for question in claims.questions(budget, names):
        sides = claims.arms(question, budget)
        if sides is None or question.metric not in evidence.READABLE:
            continue
        finding = evidence.found(*sides, question.metric, Store.of(budget), sized)
        theirs, _ = claims.beside(question, claims.base_run(budget, question).data)
        if METRICS[question.metric].kind == "share":
            by_chance = said.chance(question.metric, budget.search(question.task).space)
            smallest, source = stats.smallest_share(by_chance, len(budget.seeds)), "binomial"
        elif finding and finding.effect.seeds >= ENOUGH_SEEDS:
            smallest, source = finding.effect.detectable, f"{finding.effect.seeds} seeds done"
        else:
            deviation, source = _published(question, claims.base_run(budget, question).data)
            smallest = stats.smallest_effect(deviation, len(budget.seeds))
        metric = METRICS[question.metric]
        rows.append(
            {
                "claim": question.name,
                "says": question.claim.claim,
                "comparison": question.comparison,
                "images": claims.level(question.task, question.degradation),
                "metric": metric.header,
                "seeds": len(budget.seeds),
                "smallest": smallest,
                "published": theirs.effect.mean,
                "assumed": source,
                "text": (_text(metric, smallest), metric.text(theirs.effect.mean) or "-"),
            }
        )
    return pd.DataFrame(rows)


def _text(metric: Metric, smallest: float) -> str:
    return "none" if math.isinf(smallest) else metric.text(smallest).lstrip("+") or "unknown"


def _published(question: Question, data: str) -> Assumed:
    """From the two arms' printed deviations, as if seeds of both had nothing in common, which is cautious."""
    if METRICS[question.metric].kind != "score":
        return Assumed(math.nan, "no deviation known")
    tables = claim_file.load().tables
    for number in question.claim.tables:
        sides = [said.cells(tables, number, arm, question.metric) for arm in (question.treatment, question.control)]
        for place in _nearest(question, data, sides[0]):
            found = [side[place] for side in sides if place in side]
            if len(found) == 2 and all(cell.deviation > 0 for cell in found):
                return Assumed(math.hypot(*(cell.deviation for cell in found)), f"table {found[0].like or number}")
    number, arm = WHOLE_METHOD[question.task]
    cells = said.cells(tables, number, arm, question.metric)
    nearest = [*_nearest(question, data, cells), *cells][0]
    return Assumed(math.sqrt(2) * cells[nearest].deviation, f"table {number}, {arm}")


def _nearest(question: Question, data: str, places: Iterable[Place]) -> list[Place]:
    """Those of the question's degradation: on these images first, then on the paper's usual ones."""
    here = [place for place in places if (place.task, place.degradation) == (question.task, question.degradation)]
    return sorted(here, key=lambda place: (place.data != data, place.data != claims.MAIN_TEST_SET))
