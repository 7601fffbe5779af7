"""Foretell how long Runs take, from finished ones of equal cost, else from their own first records.

`hinas-nb plan` asks. A first record is the one that `hinas-nb run` would make, kept in the Run's folder: the Run goes
on from there, and nothing is computed twice.
"""

import json
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from statistics import median
from typing import Any

from hinas_nb.data.images import image_files
from hinas_nb.experiment.config import Comparator, EvaluateConfig, SearchConfig, TimingConfig, TrainConfig
from hinas_nb.experiment.runs import RUN_KINDS, RunConfig, canonical, describe, kind_of, own_data, producer_of
from hinas_nb.files import error_line, read_meta
from hinas_nb.method.genotype import OPERATIONS
from hinas_nb.provenance import provenance
from hinas_nb.running.compute import compute
from hinas_nb.running.notes import all_finished
from hinas_nb.running.pool import ALONE
from hinas_nb.running.store import CHECKPOINT, Store
from hinas_nb.running.workers import Local, as_they_end

#: Settings that decide numbers but not time.
_FREE = {"seed", "sigma", "sigmas", "loss", "residual", "layerwise", "save_images"}
_FREE_ENDINGS = ("lr", "lr_final", "decay")
#: Settings of a search that decide the size of the networks trained from it.
_SIZING = ("layers", "nodes", "levels", "operations")
#: Settings of a training that decide how fast its network restores.
_NETWORK = ("task", "genotype", "base_width", "width_factors", "scale", "fold", "noise_map")
#: Where an estimate comes from, the best first. Older code takes about as long.
_HERE, _BEGUN = "finished Runs", "first records"
_ELSEWHERE, _OLDER = "finished Runs of another machine", "finished Runs of older code"


@dataclass(frozen=True)
class Estimate:
    """Holds the estimated seconds of a Run, NaN where nothing tells, and in words where they come from."""

    seconds: float
    source: str


def estimates(configs: Iterable[RunConfig], store: Store, threads: int = 1) -> dict[str, Estimate]:
    """Return for each `shape` among the configs, which are still to be computed, what a Run of it takes."""
    known, shapes = _finished(store, threads), {config: shape(config) for config in configs}
    for config, key in shapes.items():
        seconds = _extrapolated(config, store)
        if seconds is not None:
            known[key, _BEGUN].append(seconds)
    found = {}
    for key in shapes.values():
        source = next((source for source in (_HERE, _BEGUN, _ELSEWHERE, _OLDER) if known[key, source]), None)
        found[key] = Estimate(median(known[key, source]), source) if source else Estimate(math.nan, "no Run of it yet")
    return found


def begin(configs: Iterable[RunConfig], store: Store, patience: float, workers: int, threads: int) -> Iterator[str]:
    """Compute the first record of one Run of each shape that nothing tells the time of; yield a line for each failure.

    Runs that must be alone, and those whose producers are not done, are left out. No record is begun after `patience`
    seconds: the first come first, so name searches before trainings.
    """
    unknown = {key for key, known in estimates(configs, store, threads).items() if math.isnan(known.seconds)}
    firsts = {}
    for config in configs:
        ready = kind_of(config) not in ALONE and all(store.folder(one).done for one in config.producers)
        if ready and shape(config) in unknown:
            firsts.setdefault(shape(config), config)
    end = time.monotonic() + patience
    with closing(Local(partial(_first_record, store, threads), workers)) as pool:
        for config, future in as_they_end(pool, takewhile(lambda _: time.monotonic() < end, firsts.values())):
            error = "its process died" if isinstance(future.exception(), pool.lost) else future.result()
            if error:
                yield f"{describe(config)}: {error}"


def _first_record(store: Store, threads: int, config: RunConfig) -> str | None:
    """Compute a Run up to its next record, in a helper process; return the error, if any, as one line."""
    try:
        with closing(compute(config, store, threads=threads)) as records:
            next(records, None)
    except Exception as error:
        return error_line(error)


def shape(config: RunConfig | Mapping[str, Any], kind: str = "") -> str:
    """Return a text that is equal for Runs that take equally long, as far as that is known beforehand.

    config: also one as it stands in a `run.json`, whose `kind` of Run must then be told.
    """
    content = config if isinstance(config, Mapping) else canonical(config.identity())
    return json.dumps([kind or kind_of(config), _stripped(content)], sort_keys=True)


def in_words(config: RunConfig) -> str:
    """Return a short description of a Run's kind and size, the same for all that take as long."""
    if isinstance(config, SearchConfig):
        return f"search {config.task}, {config.epochs:,} epochs, width {config.space.base_width}{_special(config)}"
    if isinstance(config, TrainConfig):
        name = config.genotype.name if isinstance(config.genotype, Comparator) else f"width {config.base_width}"
        scale = f" x{config.scale}" if config.scale else ""
        return f"train {config.task}{scale}, {config.steps:,} steps, {name}{_operations(producer_of(config))}"
    if isinstance(config, EvaluateConfig):
        model = config.model if isinstance(config.model, str) else in_words(config.model).split(" steps, ")[-1]
        return f"evaluate {config.data} {config.protocol.name}, {model}"
    return f"timing of {config.what}" if isinstance(config, TimingConfig) else "latencies of operations and moves"


def _special(config: SearchConfig) -> str:
    """Name how a search differs from the published one in what it costs."""
    named = {
        ", random": config.strategy == "random",
        ", no sharing": not config.space.sharing,
        ", widths fixed": config.space.levels is not None,
        f", {config.candidates} candidates": config.candidates and config.strategy != "random",
    }
    return "".join(name for name, here in named.items() if here) + _operations(config)


def _operations(search: RunConfig | None) -> str:
    return "" if not isinstance(search, SearchConfig) or search.space.operations == OPERATIONS else ", other operations"


def _finished(store: Store, threads: int) -> dict[tuple[str, str], list[float]]:
    """Return the seconds of finished Runs with so many threads, by shape and by whose they are."""
    found, machine = defaultdict(list), provenance()["machine"]
    for kind in RUN_KINDS.values():
        for _, run in all_finished(store.root, kind):
            if run.threads == threads:
                whose = _OLDER if run.outdated else _HERE if run.machine == machine else _ELSEWHERE
                with suppress(LookupError, TypeError, AttributeError, RecursionError):  # a config of nobody here
                    found[shape(run.config, kind), whose].append(run.seconds)
    return found


def _extrapolated(config: RunConfig, store: Store) -> float | None:
    """Return the seconds of a whole Run, from what its checkpoint and its records say of a part; None without them."""
    folder = store.folder(config)
    try:
        spent = float(read_meta(folder.path / CHECKPOINT)["seconds"])
        taken = [float(record.get("seconds", math.nan)) for record in folder.records()]
        share = _work(config, store, len(taken)) / _work(config, store, None)
    except (OSError, ValueError, LookupError, TypeError):  # not begun, or damaged: computing it will tell
        return None
    if not share:
        return None
    looping = spent if math.isnan(sum(taken)) else min(sum(taken), spent)
    return spent - looping + looping / share


def _work(config: RunConfig, store: Store, records: int | None) -> float:
    """Return what the first so many records of a Run cost (None: all of them), in units of the first.

    An epoch of a search takes a second step, on the architecture, once its warm-up is over. Scoring V, which comes
    later, is not counted: it is a small part.
    """
    if isinstance(config, SearchConfig):
        both = config.strategy == "gradient"
        epochs = config.epochs if records is None else records
        return sum(2 if both and epoch >= config.warmup_epochs else 1 for epoch in range(epochs))
    if records is not None:
        return records
    if isinstance(config, TrainConfig):
        return -(-config.steps // config.validate_every)
    if isinstance(config, EvaluateConfig):
        ((name, split, scale),) = own_data(config)
        return len(image_files(name, split, store.data_root, scale)[:: config.every])
    return config.rounds


def _stripped(content):
    """Return settings without those that cost nothing; of a producer, those that decide the size of what it makes."""
    if not isinstance(content, Mapping):
        return content
    inner = content.get("search", content)  # of a perturbation or an epoch
    if inner.get("kind") == "SearchConfig":
        return {name: inner["space"].get(name) for name in _SIZING}
    if content.get("kind") == "TrainConfig":  # of an evaluation
        return {name: _stripped(content.get(name)) for name in _NETWORK}
    kept = {name: value for name, value in content.items() if name not in _FREE and not name.endswith(_FREE_ENDINGS)}
    return {name: _stripped(value) for name, value in kept.items()}
