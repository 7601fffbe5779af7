"""Experiments as values: a Run is a config with labels, a grid makes many of them, a hash tells which are equal.

    runs = grid(base, residual=[False, True], sigma=[30, 50], seed=[0, 1, 2])

Equal settings on equal data with equal code give equal numbers, so a Run is computed once and found again by its
hash. Hashes nest: that of a training contains that of the search which it takes its genotype from.
"""

import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hinas_nb.experiment import config as configs
from hinas_nb.experiment.config import (
    Comparator,
    EvaluateConfig,
    LatencyConfig,
    Perturbed,
    SearchConfig,
    TimingConfig,
    TrainConfig,
    lineage,
)
from hinas_nb.method.genotype import Genotype
from hinas_nb.provenance import provenance
from hinas_nb.scoring.protocol import Protocol
from hinas_nb.settings import Config, ConfigError

RunConfig: TypeAlias = SearchConfig | TrainConfig | EvaluateConfig | TimingConfig | LatencyConfig

#: A hash knows the settings and the data of a Run, but not the code: the revision stands for it. When you change code
#: so that a kind of Run comes to other numbers, raise its revision by one, and Runs of before (and all that rests on
#: them) are computed anew instead of being mixed with new ones. Leave it where only seconds change, or the last bits
#: because sums are taken in another order, which the golden steps of the tests tolerate.
#: Example: eq. 7 gets another SSIM window. Raise "search" and "train", whose losses use it; evaluations follow, since
#: their hashes contain that of the training.
REVISIONS = {"search": 2, "train": 1, "evaluate": 1, "timing": 4, "latency": 1}
RUN_KINDS = {
    SearchConfig: "search",
    TrainConfig: "train",
    EvaluateConfig: "evaluate",
    TimingConfig: "timing",
    LatencyConfig: "latency",
}


@dataclass(frozen=True)
class Run:
    """Names one thing to compute and its place in an experiment: `labels` become columns of its table."""

    config: RunConfig
    labels: dict[str, Any] = field(default_factory=dict)


def grid(base: RunConfig, **axes: Sequence | dict[str, dict]) -> list[Run]:
    """Return every combination of the axes' values, as Runs labelled with them.

    A list sets the field of the axis's name, wherever it stands in `base` and its producers: `sigma` in the
    training and in the protocol, `residual` in the search space and in the training. `search.seed`,
    `perturbed.seed`, `train.seed`, `evaluate.seed` reach one kind only; plain `seed` leaves the noise alone.
    A dict names bundles of changes: `width={"ws": {}, "w40": {"search.levels": (0, 0, 0), ...}}`.
    Raises ConfigError for an axis that sets nothing and for values that break a rule.
    """
    options = []
    for name, values in axes.items():
        if isinstance(values, (str, bytes)) or not isinstance(values, (Sequence, dict)) or not values:
            raise ConfigError(f"axis {name} must be a list of values or a dict of changes, got {values!r}")
        bundles = values.items() if isinstance(values, dict) else [(value, {name: value}) for value in values]
        options.append([(name, label, changes) for label, changes in bundles])
    runs = []
    for combination in itertools.product(*options):
        changes = {setting: value for _, _, bundle in combination for setting, value in bundle.items()}
        runs.append(Run(vary(base, changes), {name: label for name, label, _ in combination}))
    return runs


def vary(base: RunConfig, changes: dict[str, Any]) -> RunConfig:
    """Return `base` with other values, in all configs inside it; names as in `grid`. Raises ConfigError."""
    used: set[str] = set()
    varied = _vary(base, changes, kind_of(base), used)
    unused = changes.keys() - used
    if unused:
        raise ConfigError(f"{min(unused)} must be a setting of {kind_of(base)} or of what it needs, got none")
    return varied


def run_hash(config: RunConfig, data_hashes: dict[str, str]) -> str:
    """Return the SHA-256 of all that decides the numbers: kind, revision, settings, pixels and, nested, producers.

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


def canonical(value):
    """Return equal settings as equal JSON: a default of 1 and a checked 1.0 are the same number."""
    if isinstance(value, dict):
        return {key: canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def config_of(kind: str, settings: dict[str, Any]) -> RunConfig:
    """Return the config of a kind of Run whose `identity` these settings are, as `run.json` holds them.

    Raises ConfigError.
    """
    (found,) = (config for config, name in RUN_KINDS.items() if name == kind)
    return _restored(settings | {"kind": found.__name__})


def _restored(value: Any) -> Any:
    """Return settings from what `identity` says of them: what it leaves out was off (None or False)."""
    if isinstance(value, list):
        return tuple(map(_restored, value))
    if not isinstance(value, dict):
        return value
    if "cells" in value:
        return Genotype(tuple(value["levels"]), value["cells"])
    known = {kind.__name__: kind for kind in (*vars(configs).values(), Protocol) if isinstance(kind, type)}
    named = value.get("kind") in known  # a perturbation's own `kind` stands there instead
    kind = known[value["kind"]] if named else Perturbed
    off = {name: False if field.annotation is bool else None for name, field in kind.model_fields.items()}
    told = ("kind", "revision") if named else ()  # a comparator's revision stands in its hash alone
    return kind(**off | {name: _restored(item) for name, item in value.items() if name not in told})


def revisions(config: RunConfig) -> dict[str, int]:
    """Return the revision of its kind and of the kinds of its producers, which its numbers rest on."""
    return {kind: REVISIONS[kind] for kind in map(kind_of, lineage(config))}


def kind_of(config: RunConfig) -> str:
    """Return search, train, evaluate, timing or latency. Raises ConfigError for anything else."""
    if type(config) not in RUN_KINDS:
        rule = " or ".join(kind.__name__ for kind in RUN_KINDS)
        raise ConfigError(f"what is computed must be a {rule}, got {type(config).__name__}")
    return RUN_KINDS[type(config)]


def producer_of(config: RunConfig) -> RunConfig | None:
    """Return the first of the Runs whose results this one takes, if it takes any; most take one at most."""
    return next(iter(config.producers), None)


def own_data(config: RunConfig) -> list[tuple[str, str, int | None]]:
    """Return the data sets a Run reads, as arguments of `data.load`: images, then validation images if apart."""
    if isinstance(config, TimingConfig | LatencyConfig):
        return []
    if isinstance(config, EvaluateConfig):
        return [(config.data, config.split, config.protocol.scale)]
    scale = config.space.scale if isinstance(config, SearchConfig) else config.scale
    return [(config.data, split, scale) for split in (config.split, config.validation) if split]


def data_key(name: str, split: str, scale: int | None = None) -> str:
    """Return the name under which a data set's checksum is kept, such as `Set5/test/x2`."""
    return f"{name}/{split}" + (f"/x{scale}" if scale else "")


def all_data(config: RunConfig) -> dict[str, tuple]:
    """Return the data sets of a Run and of its producers, by `data_key`."""
    return {data_key(*source): source for one in lineage(config) for source in own_data(one)}


def describe(config: RunConfig) -> str:
    """Name a Run in a few words, for people."""
    if isinstance(config, SearchConfig):
        space = config.space
        return f"search {space.task}{f' x{space.scale}' if space.scale else ''} seed {config.seed}"
    if isinstance(config, TrainConfig):
        other = f"{config.genotype.label} " if isinstance(config.genotype, Comparator) else ""
        taught = f" by {config.teacher.genotype.label}" if config.teacher else ""
        return f"train {other}{config.task} {_degradation(config)} seed {config.seed}{taught}"
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


def _vary(config: Config, changes: dict[str, Any], kind: str, used: set[str]) -> Config:
    kind = "perturbed" if isinstance(config, Perturbed) else RUN_KINDS.get(type(config), kind)
    mine = {}
    for name in type(config).model_fields:
        # Seeds belong to searches and trainings: the protocol's noise is the same for all unless asked.
        plain = [] if isinstance(config, Protocol) and name == "seed" else [name]
        named = next((one for one in (f"{kind}.{name}", *plain) if one in changes), None)
        value = before = getattr(config, name)
        if named:
            used.add(named)
            value = changes[named]
        if isinstance(value, Config):
            value = _vary(value, changes, kind, used)
        if value is not before:
            mine[name] = value
    return config.but(**mine) if mine else config
