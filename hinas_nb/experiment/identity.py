"""What a Run is, as a hash: equal settings on equal data with equal code give equal numbers, computed once.

Hashes nest: a training's holds that of the search it takes its genotype from.
"""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hinas_nb.experiment.config import (
    Comparator,
    EvaluateConfig,
    LatencyConfig,
    SearchConfig,
    TimingConfig,
    TrainConfig,
)
from hinas_nb.provenance import provenance
from hinas_nb.settings import ConfigError

RunConfig: TypeAlias = SearchConfig | TrainConfig | EvaluateConfig | TimingConfig | LatencyConfig

#: Raised when the numbers of a kind of Run change: its old Runs, and what builds on them, are not served. Not for the
#: order of sums, which moves the last bits (those of a Run are its commit's) and no golden step; seconds do change.
REVISIONS = {"search": 2, "train": 1, "evaluate": 1, "timing": 4, "latency": 1}
KINDS = {
    SearchConfig: "search",
    TrainConfig: "train",
    EvaluateConfig: "evaluate",
    TimingConfig: "timing",
    LatencyConfig: "latency",
}


@dataclass(frozen=True)
class Run:
    """One thing to compute, and where it stands in an experiment: `labels` become columns of its table."""

    config: RunConfig
    labels: dict[str, Any] = field(default_factory=dict)


def run_hash(config: RunConfig, data_hashes: dict[str, str]) -> str:
    """SHA-256 of all that decides the numbers: kind, revision, settings, pixels and, nested, the producer.

    data_hashes: by `data_key`, of this Run's data and of its producers'.
    """
    producers = [run_hash(producer, data_hashes) for producer in config.producers]
    content = {
        "kind": kind_of(config),
        "revision": REVISIONS[kind_of(config)],
        "config": canonical(config.identity()),
        "data": {data_key(*source): data_hashes[data_key(*source)] for source in own_data(config)},
        "producer": producers[0] if len(producers) == 1 else producers or None,
    }
    if isinstance(config, TimingConfig | LatencyConfig):  # seconds are those of a machine
        content["where"] = {name: value for name, value in provenance().items() if name in ("versions", "machine")}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def revisions(config: RunConfig) -> dict[str, int]:
    """The revision of its kind and of the kinds of its producers, which its numbers rest on."""
    found = {}
    for producer in config.producers:
        found |= revisions(producer)
    return found | {kind_of(config): REVISIONS[kind_of(config)]}


def kind_of(config: RunConfig) -> str:
    """search, train, evaluate, timing or latency. Raises ConfigError for anything else."""
    if type(config) not in KINDS:
        rule = " or ".join(kind.__name__ for kind in KINDS)
        raise ConfigError(f"what is computed must be a {rule}, got {type(config).__name__}")
    return KINDS[type(config)]


def producer_of(config: RunConfig) -> RunConfig | None:
    """The first of the Runs whose results this one takes, if it takes any; most take one at most."""
    return next(iter(config.producers), None)


def own_data(config: RunConfig) -> list[tuple[str, str, int | None]]:
    """The data sets a Run reads, as arguments of `data.load`: images, then validation images if apart."""
    if isinstance(config, TimingConfig | LatencyConfig):
        return []
    if isinstance(config, EvaluateConfig):
        return [(config.data, config.split, config.protocol.scale)]
    scale = config.space.scale if isinstance(config, SearchConfig) else config.scale
    return [(config.data, split, scale) for split in (config.split, config.validation) if split]


def data_key(name: str, split: str, scale: int | None = None) -> str:
    return f"{name}/{split}" + (f"/x{scale}" if scale else "")


def all_data(config: RunConfig) -> dict[str, tuple]:
    """The data sets of a Run and of its producers, by `data_key`."""
    inherited = {}
    for producer in config.producers:
        inherited |= all_data(producer)
    return inherited | {data_key(*source): source for source in own_data(config)}


def canonical(value):
    """Equal settings as equal JSON: a default of 1 and a checked 1.0 are the same number."""
    if isinstance(value, dict):
        return {key: canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def describe(config: RunConfig) -> str:
    """A Run in a few words, for people."""
    if isinstance(config, SearchConfig):
        space = config.space
        return f"search {space.task}{f' x{space.scale}' if space.scale else ''} seed {config.seed}"
    if isinstance(config, TrainConfig):
        other = f"{config.genotype.label} " if isinstance(config.genotype, Comparator) else ""
        return f"train {other}{config.task} {_degradation(config)} seed {config.seed}"
    if isinstance(config, LatencyConfig):
        return f"latencies of {config.space.task}, width {config.base_width}, {config.threads} threads"
    if isinstance(config, TimingConfig):
        return f"timing of {config.what}, {config.threads} threads"
    model = describe(config.model) if isinstance(config.model, TrainConfig) else config.model
    what = f"{config.protocol.name} {_degradation(config.protocol)}"
    return f"evaluate {config.data} {config.split} {what} of {model}"


def _degradation(config) -> str:
    if config.scale:
        return f"x{config.scale}"
    several = getattr(config, "sigma_range", None)
    return f"sigma {several[0]:g} to {several[1]:g}" if several else f"sigma {config.sigma:g}"
