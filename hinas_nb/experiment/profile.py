"""A profile is a budget: `params/<name>.yaml` says where an experiment departs from what was published.

about: one line
sigmas: [50]          # grey levels; scales, seeds likewise: what the ablations run over
denoise:              # and sr:
  search: {epochs: 4, space: {base_width: 4}}
  train: {steps: 40}
  evaluate: {data: photos}
  headline:           # where one network stands for the method (notebooks 05, 20-23), in addition
    train: {steps: 200}
  best: {rounds: [20, 40, 80], final: 200}  # notebook 06
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from hinas_nb import files, locations
from hinas_nb.data import catalog
from hinas_nb.experiment.config import (
    OF_A_GENOTYPE,
    Comparator,
    Count,
    EvaluateConfig,
    Natural,
    NonNegative,
    Perturbed,
    Positive,
    Scale,
    SearchConfig,
    Sigmas,
    Task,
    TrainConfig,
    Untrained,
)
from hinas_nb.method.genotype import Genotype
from hinas_nb.scoring import protocol
from hinas_nb.settings import Config, ConfigError, shown

TASKS = ("denoise", "sr")
SPLITS = ("split", "validation")  # settings that only mean something for one data set
OURS = "hinas"  # the derived network among the paces


class Headline(Config):
    """Holds what the networks that stand for the method get beyond those of an ablation."""

    train: dict[str, Any] = {}
    evaluate: dict[str, Any] = {}


class Best(Config):
    """Holds how notebooks 06 and 17 train: what successive halving chooses, and then (06) for long."""

    train: dict[str, Any] = {}  # beyond the settings of the ablations' trainings
    rounds: tuple[Count, Count, Count] = (2_500, 10_000, 40_000)  # steps: of a pool, of its best, of the best few
    final: Count = 400_000  # steps
    pace: dict[str, Positive] = {}  # seconds of a training step by network, as below


class Budget(Config):
    """Holds the settings of the Runs of one task, as far as they differ from the defaults of their configs."""

    search: dict[str, Any] = {}
    train: dict[str, Any] = {}
    evaluate: dict[str, Any] = {}
    headline: Headline = Headline()
    best: Best = Best()
    pace: dict[str, Positive] = {}  # seconds of a training step by network, on one thread; only ratios matter


class Profile(Config):
    """Holds a budget for every kind of Run, and what the ablations run over."""

    name: str
    about: str = ""
    sigmas: Sigmas = (30.0, 50.0, 70.0)  # grey levels (0-255)
    scales: Annotated[tuple[Scale, ...], Field(min_length=1)] = (2, 3, 4)
    seeds: Annotated[tuple[Natural, ...], Field(min_length=1)] = (0, 1, 2)
    lambdas: Annotated[tuple[NonNegative, ...], Field(min_length=1)] = (0.0, 0.1, 0.3, 0.6, 1.0, 3.0)  # SSIM weights
    draws: Count = 3  # perturbations of each kind
    denoise: Budget = Budget()
    sr: Budget = Budget()

    def _rules(self):
        for name in ("sigmas", "scales", "seeds", "lambdas"):
            values = getattr(self, name)
            yield len(set(values)) == len(values), f"{name} must differ from each other", list(values)

    def search(self, task: Task, **changes) -> SearchConfig:
        """Return the search of a task. Changes may name a field of the search, its space or its loss."""
        return _built(SearchConfig, {"space": {"task": task}}, self._budget(task).search, changes)

    def train(
        self,
        task: Task,
        genotype: Genotype | SearchConfig | Perturbed | Comparator,
        headline: bool = False,
        **changes,
    ) -> TrainConfig:
        """Return the training of a network. Changes may name a field of it or of its loss; headline: see `Headline`."""
        fixed = {"task": task, "genotype": genotype}
        budget = self._budget(task)
        settings = _merged(budget.train, budget.headline.train if headline else {})
        if isinstance(genotype, Comparator):
            settings = {name: value for name, value in settings.items() if name not in OF_A_GENOTYPE}
        return _built(TrainConfig, fixed, settings, changes)

    def train_as_long(
        self, task: Task, other: Comparator, headline: bool = False, pace: Mapping[str, float] | None = None, **changes
    ) -> TrainConfig:
        """Return the training of another network that takes as long as the derived one's, by the file's paces.

        pace: seconds of a step by network, None: those of the task. `steps`, among the changes, are the derived one's.
        """
        pace = pace or self._budget(task).pace
        missing = [name for name in (OURS, other.label) if name not in pace]
        if missing:
            rule = f"pace of {missing[0]} must stand in {task}.pace of profile {self.name} (seconds of a training step)"
            raise ConfigError(f"{rule}, got only those of {' '.join(sorted(pace)) or 'nothing'}")
        same = self.train(task, other, headline, **changes)
        interval = same.validate_every
        steps = round(same.steps * pace[OURS] / pace[other.label] / interval) * interval
        return same.but(steps=max(steps, interval))

    def evaluate(self, model: TrainConfig | Untrained, headline: bool = False, **changes) -> EvaluateConfig:
        """Return the scoring of a network, under the standard protocol of its task unless `protocol` is given.

        headline: on as many images as the networks that stand for the method are scored on.

        model: "input" scores the degraded image itself; it and the filters (nlm, ...) need a protocol.
        """
        if "protocol" not in changes:
            if not isinstance(model, TrainConfig):
                raise ConfigError(f"protocol must be given where no network is scored, got none for {model!r}")
            if model.sigma_range:
                raise ConfigError(
                    f"protocol must be given for a network of many sigmas, got none for {model.sigma_range}"
                )
            preset = protocol.get(f"{model.task}-standard", sigma=model.sigma, scale=model.scale)
            changes = changes | {"protocol": preset}
        if not isinstance(changes["protocol"], protocol.Protocol):
            raise ConfigError(f"protocol must be a Protocol (see protocol.get), got {shown(changes['protocol'])}")
        task = changes["protocol"].task
        budget = self._budget(task)
        budget = _merged(budget.evaluate, budget.headline.evaluate if headline else {})
        if "data" not in {**budget, **changes}:
            raise ConfigError(f"{task}.evaluate.data must name the data set to score, got none")
        return _built(EvaluateConfig, {"model": model, "protocol": changes["protocol"]}, budget, changes)

    def _budget(self, task: str) -> Budget:
        if task not in TASKS:
            raise ConfigError(f"task must be one of {' '.join(TASKS)}, got {task!r}")
        return getattr(self, task)


def load_profile(name: str, overrides: Mapping[str, Any] | None = None) -> Profile:
    """Load a profile by name (a file of `params/`) or path, every setting checked.

    A relative `folder:PATH` begins where the file lies, one of the overrides in the working folder.
    overrides: single fields, `{"train.steps": 2000}` for both tasks or `{"sr.train.steps": 2000}` for one;
        `{"seeds": [0]}`. Raises ConfigError, OSError.
    """
    name = str(name)
    path = Path(name) if name.endswith((".yaml", ".yml")) else locations.home() / "params" / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f"profile must be one of {' '.join(locations.profiles())} or a YAML file, got {name!r}")
    try:
        content = files.read_yaml(path)
    except files.FileContentError as error:
        raise ConfigError(str(error)) from None
    try:
        content = _overridden(content, overrides or {})
        _check_name(path, content.get("name", path.stem))
        profile = Profile(**(content | {"name": path.stem}))
        for budget in (profile.denoise, profile.sr):
            for part in (budget.search, budget.train, budget.evaluate, budget.headline.train, budget.headline.evaluate):
                if isinstance(part.get("data"), str):
                    part["data"] = catalog.absolute(part["data"], path.parent.absolute())
        _check(profile)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return profile


def _check_name(path: Path, name: Any) -> None:
    """Refuse a name that is no folder's or belongs to a profile of the collection: results are kept under it."""
    if name != path.stem or not locations.is_name(path.stem):
        raise ConfigError(f"name must be the file's, letters and digits joined by . _ or -, got {name!r}")
    own = locations.home() / "params" / path.name
    if name in locations.profiles() and path.resolve() != own.resolve():
        raise ConfigError(f"name must be another one than that of a profile of the collection ({own}), got {name!r}")


def _overridden(content: dict, overrides: Mapping[str, Any]) -> dict:
    """Return the content of a file with other values; see `load_profile`."""
    # A data set first: it takes the splits of the one before away, but not those that are overridden too.
    for field, value in sorted(overrides.items(), key=lambda item: not str(item[0]).endswith(".data")):
        names = str(field).split(".")
        for place in [[task, *names] for task in TASKS] if names[0] in Budget.model_fields else [names]:
            content = _override(content, place, value)
            if place[1:2] in (["train"], ["evaluate"]):  # the headline's own value must not win over it
                content = _override(content, [place[0], "headline", *place[1:]], value)
    return content


def _built(model: type[Config], fixed: dict, budget: dict, changes: dict):
    """Build a config of the budget with changes; one that is no field of its own goes to the part that has it."""
    _check_left_out(budget, fixed)
    if "data" in changes:
        budget = _with_data(budget, changes["data"])
    values = _merged(budget, fixed)
    for name, value in changes.items():
        if name in model.model_fields:
            values[name] = value
            continue
        parts = {part: getattr(field.annotation, "model_fields", {}) for part, field in model.model_fields.items()}
        part = next((part for part, fields in parts.items() if name in fields), None)
        if part is None:
            raise ConfigError(f"{name} must be a setting of {model.__name__} or of a part of it, got no such")
        inner = values.get(part, {})
        values[part] = inner.but(**{name: value}) if isinstance(inner, Config) else {**inner, name: value}
    return model(**values)


def _check_left_out(budget: dict, fixed: dict) -> None:
    """Refuse a budget that sets what experiments set: it would have no effect."""
    for name in set(budget) & set(fixed):
        if isinstance(fixed[name], dict) and isinstance(budget[name], dict):
            _check_left_out(budget[name], fixed[name])
        else:
            raise ConfigError(f"{name} must be left to the experiment, got {shown(budget[name])} in the budget")


def _with_data(settings: dict, data: Any) -> dict:
    """Put another data set in the place of the one that stands there, and drop that one's splits."""
    data = catalog.absolute(data) if isinstance(data, str) else data
    stays = settings.get("data") == data
    return {name: value for name, value in settings.items() if stays or name not in SPLITS} | {"data": data}


def _merged(first: dict, second: dict) -> dict:
    """Merge both, nested; the second wins."""
    merged = dict(first)
    for name, value in second.items():
        both = isinstance(value, dict) and isinstance(first.get(name), dict)
        merged[name] = _merged(first[name], value) if both else value
    return merged


def _override(content: dict, names: list[str], value) -> dict:
    """Return a copy with another value: YAML's anchors make parts of a file one object, which must not change."""
    if names == ["data"]:
        return _with_data(content, value)
    if len(names) == 1:
        return {**content, names[0]: value}
    inner = content.get(names[0]) or {}
    if not isinstance(inner, dict):
        raise ConfigError(f"override {'.'.join(names)} must name a setting, got the value {inner!r} there")
    return {**content, names[0]: _override(inner, names[1:], value)}


def _check(profile: Profile) -> None:
    """Build every kind of Run once, so that a mistake in the file shows when it is loaded."""
    for headline in (False, True):
        for sigma in profile.sigmas:
            training = profile.train("denoise", profile.search("denoise"), headline, sigma=sigma)
            profile.train("denoise", training.genotype, **profile.denoise.best.train)
            profile.evaluate(training, headline)
        for scale in profile.scales:
            profile.evaluate(profile.train("sr", profile.search("sr"), headline, scale=scale), headline)
