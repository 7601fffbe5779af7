"""What the Runs in a store say of a claim. Nothing is computed, only read: where a Run is missing there is nothing.

`said` has the paper's side, `claims` lays both beside each other; notebook `00_scorecard` shows them.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hinas_nb import data, files
from hinas_nb.evidence import stats
from hinas_nb.evidence.claim_file import INSTEAD, METRICS
from hinas_nb.evidence.said import Finding, chance, change, counted
from hinas_nb.evidence.timing_runs import Shapes
from hinas_nb.experiment.config import Arm, Comparator, EvaluateConfig
from hinas_nb.experiment.runs import Run, RunConfig, canonical, producer_of, vary
from hinas_nb.running.collect import collect
from hinas_nb.running.compute import genotype_of
from hinas_nb.running.notes import all_finished
from hinas_nb.running.store import Store


def arm_runs(
    base: EvaluateConfig, name: str, changes: Mapping[str, Any], seed: str, seeds: Sequence[int], draws: int
) -> list[Run]:
    """An arm with every seed, set as the change `seed` says; of a perturbation every draw too."""
    runs = []
    plain = {key: value for key, value in changes.items() if key != "genotype"}
    for value in seeds:
        varied = vary(base, plain | {seed: value})
        for kind, settings in changes.get("genotype", {"": {}}).items():
            for draw in range(draws) if kind == "Perturbed" else [None]:
                config = _instead(varied, kind, settings | ({} if draw is None else {"seed": draw}))
                runs.append(Run(config, {"arm": name, "seed": value, "draw": draw}))
    return runs


def _instead(config: EvaluateConfig, kind: str, settings: Mapping[str, Any]) -> EvaluateConfig:
    """With another network in the found one's place, trained and scored alike."""
    if not kind:
        return config
    training, model = config.model, INSTEAD[kind]
    if "search" in model.model_fields:
        return config.but(model=training.but(genotype=model(**settings, search=training.genotype)))
    return config.but(model=training.but(genotype=model(**settings), base_width=None))


def done(config: RunConfig, store: Store) -> bool:
    """Whether a Run is in the store; its data need not be here."""
    try:
        return store.folder(config).done
    except data.DataError:
        return False


def found(treatment: Sequence[Run], control: Sequence[Run], metric: str, store: Store, sized: Shapes) -> Finding | None:
    """What the finished Runs say; None unless both arms have one with the same seed.

    control: empty for a comparison with chance. sized: at which shapes the budget times; the store may hold timings of
    variants too.
    """
    if METRICS[metric].kind == "score":
        return _scores(treatment, control, metric, store)
    if METRICS[metric].kind == "time":
        return _restored(treatment[0], control[0], store, sized)
    if metric in SHARES:
        searches = _searched(treatment, store)
        return SHARES[metric](searches, store) if searches else None
    if metric not in RECORDED:
        return None
    timed = _timed(treatment, control, metric, store, sized) if metric in TIMED else None
    if timed:
        return timed
    sides = [
        {run.labels["seed"]: RECORDED[metric](run, store) for run in _searched(side, store)}
        for side in (treatment, control)
    ]
    changes = [change(sides[0][seed], sides[1][seed]) for seed in sides[0].keys() & sides[1].keys()]
    return Finding(stats.paired(changes)) if changes else None


def _scores(treatment: Sequence[Run], control: Sequence[Run], metric: str, store: Store) -> Finding | None:
    ready = [run for run in (*treatment, *control) if done(run.config, store)]
    names = [side[0].labels["arm"] for side in (treatment, control)]
    if {run.labels["arm"] for run in ready} != set(names):
        return None
    scores = collect(ready, store)
    differences = stats.seed_differences(scores, "arm", *names, metric, "seed", ["draw"])
    if differences.empty:
        return None
    both = scores[scores["seed"].isin(differences.index)]
    images = stats.over_images(stats.image_differences(both, "arm", *names, metric))
    return Finding(stats.paired(differences), "", images)


def _searched(runs: Sequence[Run], store: Store) -> list[Run]:
    """The Runs whose search is done, or who need none; one for each seed."""
    searches = [(run, _search_of(run)) for run in reversed(runs)]
    first = {run.labels["seed"]: run for run, search in searches if search is None or done(search, store)}
    return [first[seed] for seed in sorted(first)]


def _search_of(run: Run) -> RunConfig | None:
    return producer_of(run.config.model)


def rests_on(run: Run, metric: str) -> RunConfig | None:
    """The Run that has to be finished for this metric of an arm: its scores, or its search if it has one."""
    return run.config if METRICS[metric].kind == "score" else _search_of(run)


def _hours(run: Run, store: Store) -> float:
    return sum(record["seconds"] for record in store.folder(_search_of(run)).records()) / 3600


def _memory(run: Run, store: Store) -> float:
    return max(record["peak_memory_mib"] for record in store.folder(_search_of(run)).records())


def _parameters(run: Run, store: Store) -> float:
    from hinas_nb import comparators
    from hinas_nb.method.network import DerivedNetwork

    training = run.config.model
    with torch.device("meta"):  # weights are counted, not made
        if isinstance(training.genotype, Comparator):
            name, width = training.genotype.name, training.genotype.width
            return comparators.build(name, training.task, training.scale, width=width).parameters_live / 1e6
        shape = (training.task, None, training.width_factors, training.scale)  # at the published width, as theirs
        return DerivedNetwork(genotype_of(training, store), *shape).parameters_live / 1e6


def _last_widest(searches: Sequence[Run], store: Store) -> Finding:
    genotypes = [genotype_of(run.config.model, store) for run in searches]
    hits = sum(genotype.levels[-1] == max(genotype.levels) for genotype in genotypes)
    return counted(hits, len(genotypes), chance("last_widest", _search_of(searches[0]).space))


def _collapsed(searches: Sequence[Run], store: Store) -> Finding:
    from hinas_nb.evidence import stability

    configs = [_search_of(run) for run in searches]
    hits = sum(stability.collapse(store.folder(config).records(), config.space)[0] is not None for config in configs)
    finding = counted(hits, len(configs), chance("collapsed", configs[0].space))
    return replace(finding, note=f"{finding.note}; {configs[0].epochs} epochs")


#: What a search says of itself: its own seconds and memory, on a machine that may have been busy.
RECORDED = {"gpu_hours": _hours, "search_memory": _memory, "parameters_m": _parameters}
#: In a timing Run: by arm, of every round; and how phases of a step are put together.
TIMED = {"gpu_hours": ("seconds_by_arm", sum), "search_memory": ("peak_mib_by_arm", max)}
SHARES = {"last_widest": _last_widest, "collapsed": _collapsed}
SCORED = {name for name, metric in METRICS.items() if metric.kind in ("score", "time")}
READABLE = SCORED | RECORDED.keys() | SHARES.keys()


def _restored(treatment: Run, control: Run, store: Store, sized: Shapes) -> Finding | None:
    """The difference in seconds an image, timed in turns, round by round; of a part of it, by its pixels.

    Of several timings the one of the largest image.
    """
    wanted, found = [_as_timed(run) for run in (treatment, control)], {}
    for path, arms, rounds in _timings(store, "restoration", sized):
        sides = [next((arm for arm in arms if {key: arm.get(key) for key in one} == one), None) for one in wanted]
        if all(sides):
            pixels = [side["height"] * side["width_px"] for side in sides]
            size = f"{sides[0]['height']}x{sides[0]['width_px']}"
            found[pixels[0], path] = [side["label"] for side in sides], pixels, size, rounds
    if not found:
        return None
    labels, pixels, size, rounds = found[max(found)]
    seconds = [record["seconds_by_arm"] for record in rounds]
    spent = [[values[label] / count for label, count in zip(labels, pixels)] for values in seconds]
    part = f"; {labels[1]} on a part, by its pixels" if pixels[1] < pixels[0] else ""
    changes = [change(first, second) for first, second in spent]
    return Finding(stats.paired(changes), f"timed in turns on {size} pixels, {len(rounds)} rounds{part}")


def _as_timed(run: Run) -> dict[str, Any]:
    """What the arm of a restoration by this Run's network says of it; the width of another system is its own."""
    training = run.config.model
    other = isinstance(training.genotype, Comparator)
    about = {"network": training.genotype, "task": training.task, "scale": training.scale}
    arm = canonical(Arm(label="any", subject="restoration", base_width=training.base_width, **about).identity())
    sized = ("label", "height", "width_px", *(["base_width"] if other else []))
    keys = [key for key in Arm.model_fields if key not in sized]
    return {key: arm.get(key) for key in keys}


def _timed(
    treatment: Sequence[Run], control: Sequence[Run], metric: str, store: Store, sized: Shapes
) -> Finding | None:
    """The same difference between two search spaces, timed step by step on a quiet machine, round by round.

    Of several timings the one of the largest batch; steps on W and on A taken together where both were timed.
    """
    wanted = _unlike(*(canonical(_search_of(side[0]).space.identity()) for side in (treatment, control)))
    width = sized.space(wanted["task"][0]).base_width
    found: dict[tuple, list[tuple[str, str]]] = {}
    records = {}
    for path, every, rounds in _timings(store, "search step", sized):
        records[path] = rounds
        arms = [arm for arm in every if (arm["space"]["base_width"], arm["height"]) == (width, sized.side)]
        for first, second in itertools.permutations(arms, 2):
            how = [{key: one[key] for key in one.keys() - {"label", "space"}} for one in (first, second)]
            if how[0] == how[1] and _unlike(first["space"], second["space"]) == wanted:
                size = first["batch"] * first["height"] * first["width_px"]
                same = json.dumps([first["space"], how[0] | {"phase": ""}], sort_keys=True)
                found.setdefault((size, path, same), []).append((first["label"], second["label"]))
    if not found:
        return None
    (_, path, _), pairs = max(found.items())
    field, together = TIMED[metric]
    rounds = [record[field] for record in records[path]]
    sides = [[together(values[pair[side]] for pair in pairs) for values in rounds] for side in (0, 1)]
    changes = [change(first, second) for first, second in zip(*sides)]
    return Finding(stats.paired(changes), f"timed steps, {len(rounds)} rounds")


def _timings(store: Store, subject: str, sized: Shapes) -> list[tuple[Path, list[dict], list[dict]]]:
    """Folder, arms and rounds of the finished timings of such a subject that the budget's own settings make.

    Of today's revisions alone; with the threads and as often as `sized` says.
    """
    found = []
    for folder, note in all_finished(store.root, "timing"):
        usual = (note.config.get("threads"), note.config.get("rounds")) in (
            (sized.threads, sized.rounds), (sized.threads, sized.few)
        )  # fmt: skip
        if not usual or note.outdated:
            continue
        with suppress(LookupError, TypeError, ValueError):  # of nobody here
            rounds = [json.loads(line) for line in files.read_bytes(folder / "records.jsonl").splitlines()]
            arms = [arm for arm in note.config["arms"] if arm["subject"] == subject]
            found.append((folder, arms, rounds))
    return found


def _unlike(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple]:
    """The settings in which two search spaces differ."""
    names = first.keys() | second.keys()
    return {name: (first.get(name), second.get(name)) for name in names if first.get(name) != second.get(name)} | {
        "task": (first["task"], second["task"])
    }
