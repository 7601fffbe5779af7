"""How long Runs will take on this machine: from finished ones of equal cost, else from a few real steps.

`hinas-nb plan` asks. The steps are `few_steps`', in a process of its own for each shape of Run.
"""

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Any

from hinas_nb.batch import few_steps
from hinas_nb.experiment.config import Comparator, EvaluateConfig, SearchConfig, TimingConfig, TrainConfig
from hinas_nb.experiment.runs import RUN_KINDS, RunConfig, canonical, kind_of, producer_of
from hinas_nb.method.genotype import OPERATIONS
from hinas_nb.provenance import provenance
from hinas_nb.running.compute import genotype_of
from hinas_nb.running.notes import all_finished
from hinas_nb.running.store import Store
from hinas_nb.subprocesses import child

PATIENCE = 90.0  # seconds until a shape is given up
#: Settings that decide numbers but not time.
FREE = {"seed", "sigma", "sigmas", "loss", "residual", "layerwise", "save_images"}
FREE_ENDINGS = ("lr", "lr_final", "decay")
#: Of a search, what decides the size of the networks that are trained from it.
SIZING = ("layers", "nodes", "levels", "operations")
NETWORK = (
    "task",
    "genotype",
    "base_width",
    "width_factors",
    "scale",
    "fold",
    "noise_map",
)  # of a training, what is left to restore with


@dataclass(frozen=True)
class Estimate:
    """Seconds a Run takes; NaN where nothing could say. source: `finished`, `timed`, or why not, in one line."""

    seconds: float
    source: str


def estimate(
    configs: Iterable[RunConfig], store: Store, threads: int = 1, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[str, Estimate]]:
    """For each different shape among the configs: its `shape` and what a Run of it takes, as it becomes known."""
    known = finished(store, threads)
    shapes: dict[str, RunConfig] = {}
    for config in configs:
        shapes.setdefault(shape(config), config)
    for key, config in shapes.items():
        if key in known:
            yield key, Estimate(median(known[key]), "finished")
        elif type(config) not in few_steps.LOOPS:
            yield key, Estimate(math.nan, "not known beforehand")
        else:
            yield key, _in_child(_resolved(config, store), store, threads, environment or {})


def shape(config: RunConfig | Mapping[str, Any], kind: str = "") -> str:
    """Equal for Runs that take equally long, as far as that is known beforehand. Also of a config in a `run.json`."""
    content = config if isinstance(config, Mapping) else canonical(config.identity())
    return json.dumps([kind or kind_of(config), _stripped(content)], sort_keys=True)


def describe(config: RunConfig) -> str:
    """A shape in a few words."""
    if isinstance(config, SearchConfig):
        return f"search {config.task}, {config.epochs:,} epochs, width {config.space.base_width}{_special(config)}"
    if isinstance(config, TrainConfig):
        name = config.genotype.name if isinstance(config.genotype, Comparator) else f"width {config.base_width}"
        special = _operations(producer_of(config))
        return (
            f"train {config.task}{f' x{config.scale}' if config.scale else ''}, {config.steps:,} steps, {name}{special}"
        )
    if isinstance(config, EvaluateConfig):
        model = config.model if isinstance(config.model, str) else describe(config.model).split(" steps, ")[-1]
        return f"evaluate {config.data} {config.protocol.name}, {model}"
    return f"timing of {config.what}" if isinstance(config, TimingConfig) else "latencies of operations and moves"


def _special(config: SearchConfig) -> str:
    """How a search differs from the published one in what it costs."""
    named = {
        ", random": config.strategy == "random",
        ", no sharing": not config.space.sharing,
        ", widths fixed": config.space.levels is not None,
        f", {config.candidates} candidates": config.candidates and config.strategy != "random",
    }
    return "".join(name for name, here in named.items() if here) + _operations(config)


def _operations(search: RunConfig | None) -> str:
    return "" if not isinstance(search, SearchConfig) or search.space.operations == OPERATIONS else ", other operations"


def finished(store: Store, threads: int) -> dict[str, list[float]]:
    """Seconds of the store's finished Runs by shape, made on this machine with so many threads, by today's code."""
    found: dict[str, list[float]] = {}
    machine = provenance()["machine"]
    for kind in RUN_KINDS.values():
        for _, run in all_finished(store.root, kind):
            if (run.machine, run.threads) == (machine, threads) and not run.outdated:
                with suppress(LookupError, TypeError, AttributeError, RecursionError):  # a config of nobody here
                    found.setdefault(shape(run.config, kind), []).append(run.seconds)
    return found


def _stripped(content):
    if not isinstance(content, Mapping):
        return content
    inner = content.get("search", content)  # of a perturbation or an epoch
    if inner.get("kind") == "SearchConfig":
        return {name: inner["space"].get(name) for name in SIZING}
    if content.get("kind") == "TrainConfig":  # of an evaluation
        return {name: _stripped(content.get(name)) for name in NETWORK}
    return {name: _stripped(value) for name, value in content.items() if not _free(name)}


def _free(name: str) -> bool:
    return name in FREE or name.endswith(FREE_ENDINGS)


def _resolved(config: RunConfig, store: Store) -> RunConfig:
    """With the genotype itself where its search is finished: networks differ in size."""
    if isinstance(config, EvaluateConfig) and isinstance(config.model, TrainConfig):
        return config.but(model=_resolved(config.model, store))
    if not isinstance(config, TrainConfig) or not config.producers:
        return config
    if not all(store.folder(producer).done for producer in config.producers):
        return config
    return config.but(genotype=genotype_of(config, store))


def _in_child(config: RunConfig, store: Store, threads: int, environment: Mapping[str, str]) -> Estimate:
    with child(few_steps.answer, (config, store.data_root, threads), dict(environment), threads) as process:
        while not process.ended:
            if time.monotonic() - process.started > PATIENCE:
                return Estimate(math.nan, f"its first steps took more than {PATIENCE:.0f} s")
            time.sleep(0.05)
        try:
            answer = process.wait()
        except ChildProcessError as error:
            answer = str(error)
    return Estimate(answer, "timed") if isinstance(answer, float) else Estimate(math.nan, answer)
