"""Every claim of the paper judged on the paper's own evidence and on ours, by the rule in `stats`.

Notebook `00_scorecard` shows all verdicts, each ablation notebook its own:

    claims.verdicts(budget, ["lwas", "residual"])

The store is read and nothing is computed: where a Run is missing the verdict is "no evidence yet".
"""

import itertools
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from hinas_nb.evidence import ablation, claim_file, evidence, rivals, said, stats, timing_runs
from hinas_nb.evidence.claim_file import CHANCE, METRICS, PUBLISHED_ONLY, Claim, Judged, chosen
from hinas_nb.evidence.said import Finding, Place
from hinas_nb.evidence.stats import Effect
from hinas_nb.experiment.config import Comparator, EvaluateConfig, Task
from hinas_nb.experiment.profile import OURS, Profile, load_profile
from hinas_nb.experiment.runs import Run
from hinas_nb.running.notes import all_finished
from hinas_nb.running.pool import WAVES
from hinas_nb.running.store import Store

MAIN_TEST_SET = "B100"  # its published row stands beside ours where the paper did not score our images
NOTES = {"paper": "published_note", "ours": "note"}
NOTHING = Finding(Effect(math.nan, math.nan, math.nan, 0))


@dataclass(frozen=True)
class Question:
    """One row of the scorecard: is `metric` of the treatment larger (smaller) than the control's, as claimed?

    degradation: sigma (0-255 grey levels) or scale; None where one number holds for all of them.
    """

    name: str
    claim: Claim
    treatment: str
    control: str
    metric: str
    task: Task
    degradation: float | None = None

    @property
    def judged(self) -> Judged:
        return self.claim.metrics[self.metric]

    @property
    def comparison(self) -> str:
        return f"{self.treatment} - {self.control}"

    def verdict(self, finding: Finding) -> str:
        return stats.verdict(finding.effect, self.judged.direction, self.judged.margin)


def verdicts(budget: Profile, names: Sequence[str] | None = None) -> pd.DataFrame:
    """The scorecard as text for people, one row per question. Raises ConfigError."""
    rows = []
    for row in effects(budget, names).to_dict("records"):
        metric = METRICS[row["metric"]]
        rows.append(
            {
                "claim": row["name"],
                "it says": row["says"],
                "where": row["place"],
                "comparison": row["comparison"],
                "images": level(row["task"], row["degradation"]),
                "metric": metric.header,
                "claimed": f"{'>' if row['direction'] > 0 else '<'} {row['margin']:g}",
                "published": metric.text(row["published"], row["published_low"], row["published_high"]),
                "published on": row["published_data"],
                "on the paper's evidence": row["published_verdict"],
                "ours": metric.text(row["ours"], row["low"], row["high"]),
                "over images": metric.text(math.nan, row["images_low"], row["images_high"]),
                "seeds": str(row["seeds"] or ""),
                "smallest detectable": metric.text(row["detectable"]).lstrip("+"),
                "budget": row["budget"],
                "protocol": f"{row['protocol']}, {row['data']}" if metric.kind == "score" else "",
                "verdict": row["verdict"],
                "note": "; ".join(f"{who}: {row[note]}" for who, note in NOTES.items() if row[note]),
            }
        )
    return pd.DataFrame(rows)


def effects(budget: Profile, names: Sequence[str] | None = None) -> pd.DataFrame:
    """The numbers behind `verdicts`, one row per question; NaN where there is none. Raises ConfigError.

    margin: where it lies on the axis of the difference.
    """
    store, sized = Store.of(budget), timing_runs.shapes(budget.search("denoise").space.base_width)
    rows = []
    for question in questions(budget, names):
        base = base_run(budget, question)
        theirs, printed_on = beside(question, base.data)
        sides = arms(question, budget)
        ours = (evidence.found(*sides, question.metric, store, sized) if sides else None) or NOTHING
        ran = ours is not NOTHING
        rows.append(
            {
                "name": question.name,
                "says": question.claim.claim,
                "place": question.claim.place,
                "notebooks": question.claim.notebooks,
                "comparison": question.comparison,
                "task": question.task,
                "degradation": math.nan if question.degradation is None else question.degradation,
                "metric": question.metric,
                "label": f"{question.comparison}, {level(question.task, question.degradation)}",
                "panel": METRICS[question.metric].header,
                "direction": question.judged.direction,
                "margin": question.judged.direction * question.judged.margin + 0.0,
                "published": theirs.effect.mean,
                "published_low": theirs.effect.low,
                "published_high": theirs.effect.high,
                "published_data": printed_on,
                "published_verdict": question.verdict(theirs),
                "published_note": theirs.note,
                "ours": ours.effect.mean,
                "low": ours.effect.low,
                "high": ours.effect.high,
                "images_low": ours.images[0],
                "images_high": ours.images[1],
                "seeds": ours.effect.seeds,
                "detectable": ours.effect.detectable,
                "data": base.data,
                "protocol": base.protocol.name,
                "budget": f"{budget.name}, {base.model.steps:,} steps" if ran else budget.name,
                "verdict": question.verdict(ours),
                "note": ours.note,
            }
        )
    return pd.DataFrame(rows)


def printed(names: Sequence[str] | None = None) -> pd.DataFrame:
    """The paper judged on its own evidence in every cell that it prints, all its test sets included."""
    rows = []
    for question in _asked(names):
        for place, finding in published(question).items():
            metric, effect = METRICS[question.metric], finding.effect
            rows.append(
                {
                    "claim": question.name,
                    "comparison": question.comparison,
                    "images": ", ".join(filter(None, [place.data, level(place.task, place.degradation)])),
                    "metric": metric.header,
                    "published": metric.text(effect.mean, effect.low, effect.high),
                    "on the paper's evidence": question.verdict(finding),
                    "note": finding.note,
                }
            )
    return pd.DataFrame(rows)


def questions(budget: Profile, names: Sequence[str] | None = None) -> list[Question]:
    """Every claim, comparison, metric and task, at each degradation that the paper prints or the budget runs."""
    asked = []
    for question in _asked(names):
        levels: set[float | None] = {place.degradation for place in published(question)}
        if question.metric in evidence.READABLE and _computed(question):
            metric = METRICS[question.metric]
            any_level = set() if levels else {None}
            levels |= any_level if metric.kind != "score" else set(degradations(budget, question.task))
        asked += [replace(question, degradation=value) for value in sorted(levels, key=lambda value: value or 0)]
    return asked


def needed(budget: Profile, names: Sequence[str] | None = None) -> list[Run]:
    """The Runs that the claims rest on at this budget, labelled as in `evidence.arm_runs` and with claim and task."""
    found = []
    for question in questions(budget, names):
        if question.metric in evidence.READABLE:
            for run in itertools.chain(*(arms(question, budget) or ())):
                config = evidence.rests_on(run, question.metric)
                if METRICS[question.metric].kind == "time":
                    config = rivals.restorations(budget, question.task, run.config.model.scale)
                found += [Run(config, {"claim": question.name, "task": question.task} | run.labels)] if config else []
    return found


def missing(
    profile: str, overrides: Mapping[str, Any] | None = None, names: Sequence[str] | None = None
) -> pd.DataFrame:
    """What would answer the questions without evidence: by notebook its claims and the command.

    How many Runs a command computes is what `hinas-nb plan` says. Raises ConfigError.
    """
    table = effects(load_profile(profile, overrides), names)
    rows = []
    for notebooks, asked in table.groupby("notebooks", sort=True):
        unanswered = int((asked["verdict"] == stats.NO_EVIDENCE).sum())
        rows.append(
            {
                "notebook": " ".join(notebooks),
                "claims": ", ".join(dict.fromkeys(asked["name"])),
                "rows": len(asked),
                "without evidence": unanswered,
                "command": _command(notebooks, profile, overrides) if unanswered else "",
            }
        )
    return pd.DataFrame(rows)


def _command(numbers: Sequence[str], profile: str, overrides: Mapping[str, Any] | None) -> str:
    changed = f" -p {shlex.quote(f'overrides={json.dumps(dict(overrides))}')}" if overrides else ""
    return f"hinas-nb run {' '.join(numbers)} --profile {profile}{changed}"


def outdated(budget: Profile) -> str:
    """How many finished Runs of older revisions the store holds, in a sentence: no verdict counts them."""
    notes = [note.outdated for kind in WAVES for _, note in all_finished(Store.of(budget).root, kind)]
    old = [note for note in notes if note]
    if not old:
        return "Every finished Run of this budget is of today's revisions."
    kinds = ", ".join(dict.fromkeys(old))
    return f"{len(old)} of {len(notes)} finished Runs rest on {kinds}: they can be read, and no verdict counts them."


def arms(question: Question, budget: Profile) -> tuple[list[Run], list[Run]] | None:
    """The Runs of both arms (none for chance); None where this budget or this collection makes none."""
    book = claim_file.load()
    metric = METRICS[question.metric]
    in_budget = metric.kind != "score" or question.degradation in degradations(budget, question.task)
    if not in_budget or not _computed(question):
        return None
    names = [name for name in (question.treatment, question.control) if name != CHANCE]
    base = base_run(budget, question)
    seed = question.claim.seed
    changes = [_as_long(book.arms[name], budget, question) for name in names]
    sides = [evidence.arm_runs(base, name, how, seed, budget.seeds, budget.draws) for name, how in zip(names, changes)]
    return sides[0], (sides[1] if len(sides) > 1 else [])


def base_run(budget: Profile, question: Question) -> EvaluateConfig:
    """What the arms are changes of: search, train and score at this sigma or scale, or else at the budget's first."""
    task, headline = question.task, question.claim.headline
    name = "sigma" if task == "denoise" else "scale"
    levels = degradations(budget, task)
    value = question.degradation if question.degradation in levels else levels[0]
    if METRICS[question.metric].kind == "time" and task == "sr" and question.degradation:
        value = int(question.degradation)
    return budget.evaluate(budget.train(task, budget.search(task), headline, **{name: value}), headline)


def _as_long(changes: dict[str, Any], budget: Profile, question: Question) -> dict[str, Any]:
    """An arm's changes; another network is trained for as long as HiNAS, where the budget knows the pace of both."""
    other = Comparator(**changes["genotype"]["Comparator"]) if "Comparator" in changes.get("genotype", {}) else None
    task, headline = question.task, question.claim.headline
    if other is None or not {OURS, other.label} <= getattr(budget, task).pace.keys():
        return changes
    return changes | {"train.steps": budget.train_as_long(task, other, headline).steps}


def published(question: Question) -> dict[Place, Finding]:
    """What the paper prints of this comparison, for all its test sets and degradations of the task."""
    claim, book = question.claim, claim_file.load()
    found = said.in_tables(book.tables, claim.tables, question.treatment, question.control, question.metric)
    if question.metric in claim.said:
        found[Place(question.task)] = said.in_words(question.metric, question.task, *claim.said[question.metric])
    return {place: finding for place, finding in found.items() if place.task == question.task}


def _computed(question: Question) -> bool:
    """Whether this collection can compute both arms."""
    book = claim_file.load()
    return not any(PUBLISHED_ONLY in book.arms.get(name, {}) for name in (question.treatment, question.control))


def beside(question: Question, data: str) -> tuple[Finding, str]:
    """The published finding to hold ours against: on this test set, else on the paper's usual one; and which."""
    found = published(question)
    here = {place.data: finding for place, finding in found.items() if place.degradation == question.degradation}
    for name in (data, MAIN_TEST_SET, *here):
        if name in here:
            return here[name], name or ""
    return NOTHING, ""


def degradations(budget: Profile, task: Task) -> tuple[float, ...]:
    return budget.sigmas if task == "denoise" else budget.scales


def level(task: str, degradation: float | None) -> str:
    """A degradation in words: `sigma 50` or `x4`; the task where there is none."""
    if degradation is None or math.isnan(degradation):
        return {"denoise": "denoising", "sr": "super-resolution"}[task]
    return ablation.level(task, degradation)


def _asked(names: Sequence[str] | None) -> list[Question]:
    """Without degradations."""
    return [
        Question(name, claim, treatment, control, metric, task)
        for name, claim in chosen(names).items()
        for task in claim.tasks
        for treatment, control in claim.compare
        for metric in claim.metrics
    ]
