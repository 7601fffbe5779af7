"""Every claim of the paper judged on the paper's own evidence and on ours, by the rule in `stats`.

A notebook judges the effects that it has just computed, `00_scorecard` those that all notebooks left behind:

    numbers = claims.judge(found, budget, ["lwas", "residual"])
    claims.readable(numbers)

Nothing is computed anew: where an effect is missing, the verdict is "no evidence yet".
"""

import itertools
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hinas_nb import locations
from hinas_nb.evidence import effects, paper_effects, stats
from hinas_nb.evidence.ablation import level
from hinas_nb.evidence.paper_effects import Judged, chosen
from hinas_nb.evidence.stats import Effect
from hinas_nb.experiment.profile import TASKS, Profile
from hinas_nb.running import notes
from hinas_nb.scoring.units import METRICS

MAIN_TEST_SET = "B100"  # its published row stands beside ours where the paper did not score our images
_NOTHING = dict.fromkeys(effects.COLUMNS, math.nan) | {"data": "", "seeds": 0, "protocol": "", "note": ""}


def judge(found: pd.DataFrame, budget: Profile, names: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the verdicts on these claims (None: on all) as numbers, one row per question; NaN where there is none.

    found: our effects, see `effects`. A question is one comparison of a claim in one metric, at every degradation that
    the paper prints or the budget runs, on every data set of ours. margin: where it lies on the axis of the difference.
    Raises ConfigError for an unknown claim.
    """
    rows, bases = [], {task: budget.evaluate(budget.train(task, budget.search(task))) for task in TASKS}
    for name, claim in chosen(names).items():
        printed = paper_effects.of_claim(claim)
        own = found[found["notebook"].isin(claim.notebooks)] if "notebook" in found else found
        about = {"name": name, "says": claim.claim, "place": claim.place, "notebooks": claim.notebooks}
        for task, (treatment, control), metric in itertools.product(claim.tasks, claim.compare, claim.metrics):
            asked = {"treatment": treatment, "control": control, "task": task, "metric": metric}
            ours, theirs = (table[(table[list(asked)] == pd.Series(asked)).all(axis=1)] for table in (own, printed))
            if theirs.empty and not claim.notebooks:
                continue
            for degradation in _degradations(pd.concat([ours, theirs])["degradation"], budget, task, metric):
                holds = ours["degradation"].isna() | (ours["degradation"] == degradation)
                for one in ours[holds].drop_duplicates("data").to_dict("records") or [_NOTHING]:
                    data, protocol = one["data"] or bases[task].data, one["protocol"] or bases[task].protocol.name
                    row = about | asked | {"degradation": degradation, "data": data, "protocol": protocol}
                    judged = _judged(one, _beside(theirs, degradation, data), claim.metrics[metric])
                    rows.append(row | {"budget": budget.name} | judged)
    table = pd.DataFrame(rows)
    table["comparison"] = table["treatment"] + " - " + table["control"]
    where = [level(*row) for row in zip(table["task"], table["degradation"])]
    panels = [METRICS[name].header for name in table["metric"]]
    return table.assign(label=table["comparison"] + ", " + where, images=where, panel=panels)


def readable(numbers: pd.DataFrame) -> pd.DataFrame:
    """Return `judge`d numbers as text for people, one row per question."""
    rows = []
    for row in numbers.to_dict("records"):
        metric = METRICS[row["metric"]]
        told = {"paper": row["published_note"], "ours": row["note"]}
        rows.append(
            {
                "claim": row["name"],
                "it says": row["says"],
                "where": row["place"],
                "comparison": row["comparison"],
                "images": row["images"],
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
                "note": "; ".join(f"{who}: {note}" for who, note in told.items() if note),
            }
        )
    return pd.DataFrame(rows)


def printed(names: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the verdicts on the paper's own evidence in every cell that it prints, on all its test sets, as text."""
    rows = []
    for name, claim in chosen(names).items():
        for effect in paper_effects.of_claim(claim).to_dict("records"):
            metric, compared = METRICS[effect["metric"]], f"{effect['treatment']} - {effect['control']}"
            images = ", ".join(filter(None, [effect["data"], level(effect["task"], effect["degradation"])]))
            published = metric.text(effect["difference"], effect["low"], effect["high"])
            verdict = _verdict(effect, claim.metrics[effect["metric"]])
            rows.append((name, compared, images, metric.header, published, verdict, effect["note"]))
    columns = ["claim", "comparison", "images", "metric", "published", "on the paper's evidence", "note"]
    return pd.DataFrame(rows, columns=columns)


def gathered(budget: Profile) -> tuple[pd.DataFrame, str]:
    """Return the effects that the notebooks of a budget left behind, and a sentence on those that are left out.

    Left out are those of older revisions. The column `notebook` has the number of each one's notebook.
    Raises StoreError, FileContentError.
    """
    paths = sorted((locations.results_of(budget.name) / "tables").glob("*__effects.csv"))
    parts = [effects.read(path).assign(notebook=path.name[:2]) for path in paths]
    if not sum(map(len, parts)):
        nothing = pd.DataFrame(columns=[*effects.COLUMNS, "notebook"])
        return nothing, "No notebook of this budget has left effects behind yet."
    every = pd.concat(parts, ignore_index=True)
    old = every.pop("revisions").map(notes.outdated)
    kept, left = every[old == ""].reset_index(drop=True), every[old != ""]
    if left.empty:
        return kept, f"All {len(every)} effects left behind are of today's revisions."
    numbers, words = (", ".join(names.unique()) for names in (left["notebook"], old[left.index]))
    told = f"{len(left)} of {len(every)} effects left behind, by {numbers}, rest on {words}"
    return kept, f"{told}: no verdict counts them, run the notebooks anew."


def missing(numbers: pd.DataFrame, profile: str, overrides: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Return what would answer the questions without evidence: by notebook its claims and the command.

    How many Runs a command computes is what `hinas-nb plan` says.
    """
    changed = f" -p {shlex.quote(f'overrides={json.dumps(dict(overrides))}')}" if overrides else ""
    rows = []
    for notebooks, asked in numbers.groupby("notebooks", sort=True):
        names, unanswered = " ".join(notebooks), int((asked["verdict"] == stats.NO_EVIDENCE).sum())
        command = f"hinas-nb run {names} --profile {profile}{changed}" if unanswered and names else ""
        rows.append((names or "none", ", ".join(asked["name"].unique()), len(asked), unanswered, command))
    return pd.DataFrame(rows, columns=["notebook", "claims", "rows", "without evidence", "command"])


def against_the_paper(judged: pd.DataFrame, budget: str) -> str:
    """Return what contradicts the paper, first and in full; else how many comparisons are on its side. Markdown.

    judged: `readable` verdicts. budget: its name.
    """
    against = judged[judged["verdict"] == stats.CONTRADICTS]
    if against.empty:
        counts = tally(judged["verdict"])
        return f"**Nothing that was tested here contradicts the paper** at the {budget} budget ({counts})."
    lines = [
        f"- {row['it says']}: {row['comparison']}, {row['images']}, {row['metric']} is {row['ours']}, "
        f"published {row['published']}."
        for row in against.to_dict("records")
    ]
    return "\n".join([f"**Contradicts the paper** at the {budget} budget ({tally(judged['verdict'])}):", "", *lines])


def tally(verdicts: pd.Series) -> str:
    """Return how many verdicts there are of each kind: `1 supports, 3 undecided`."""
    counts = verdicts.value_counts()
    return ", ".join(f"{counts[word]} {word}" for word in stats.VERDICTS if word in counts)


def _degradations(known: pd.Series, budget: Profile, task: str, metric: str) -> list[float]:
    """Return the degradations that a question is asked at: those of its effects and of the budget; else one NaN."""
    of_budget = budget.sigmas if task == "denoise" else budget.scales
    levels = {*known.dropna(), *(of_budget if METRICS[metric].kind == "score" else ())}
    return sorted(map(float, levels)) or [math.nan]


def _beside(printed: pd.DataFrame, degradation: float, data: str) -> dict[str, Any]:
    """Return the published effect to hold ours against: on this test set, else on the usual one, else on any."""
    here = printed[printed["degradation"].isna() if math.isnan(degradation) else printed["degradation"] == degradation]
    nearest = here.assign(far=here["data"].map({data: 0, MAIN_TEST_SET: 1}).fillna(2)).sort_values("far", kind="stable")
    return next(iter(nearest.to_dict("records")), _NOTHING)


def _judged(ours: Mapping[str, Any], theirs: Mapping[str, Any], judged: Judged) -> dict[str, Any]:
    """Return both effects and the verdicts on them, named as a row has them."""
    names = {"difference": "", "low": "_low", "high": "_high", "data": "_data", "note": "_note"}
    row = {f"published{ending}": theirs[name] for name, ending in names.items()}
    row |= {"published_verdict": _verdict(theirs, judged), "verdict": _verdict(ours, judged)}
    row |= {"ours": ours["difference"]}
    row |= {name: ours[name] for name in ("low", "high", "images_low", "images_high", "seeds", "detectable", "note")}
    return row | {"direction": judged.direction, "margin": judged.direction * judged.margin + 0.0}


def _verdict(effect: Mapping[str, Any], judged: Judged) -> str:
    known = Effect(effect["difference"], effect["low"], effect["high"], int(effect["seeds"]))
    return stats.verdict(known, judged.direction, judged.margin)
