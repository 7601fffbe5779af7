"""Settings of Runs: frozen values that refuse unknown fields and impossible values (section 4.1 of the paper).

A config may contain its producer (`TrainConfig.genotype` may be a `SearchConfig`), so a whole experiment is one
value. Budgets come from `params/<profile>.yaml`; those files hold only what differs from the defaults here,
which are the published settings.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from hinas_nb import comparators
from hinas_nb.data import catalog
from hinas_nb.data.catalog import check_leak, check_split
from hinas_nb.method.genotype import CANDIDATES, OPERATIONS, Genotype, widths
from hinas_nb.scoring.protocol import Protocol
from hinas_nb.settings import Config, ConfigError

Task = Literal["denoise", "sr"]

# Strict: a switch is no number, and a text is neither.
Switch = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(ge=1, strict=True)]
Natural = Annotated[int, Field(ge=0, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
Fraction = Annotated[float, Field(gt=0, lt=1, strict=True)]
Scale = Literal[2, 3, 4]
DataName = Annotated[str, AfterValidator(catalog.absolute)]  # a worker's working folder may be another
Fold = Literal[2, 4]
#: What networks compute in: None is bfloat16 autocast on CUDA and float32 elsewhere (see `hardware.autocast`).
Precision = Literal["float32", "bfloat16"]
Crop = Annotated[int, Field(ge=16, strict=True)]
SigmaRange = tuple[NonNegative, Positive]  # lowest and highest, grey levels (0-255)
Sigmas = Annotated[tuple[Positive, ...], Field(min_length=1)]
#: What needs no training: the noisy or bicubic up-sampled image itself ("input"), and filters (`comparators`).
Untrained = Literal["input", "nlm", "wavelet", "bm3d", "wnnm"]


class Space(Config):
    """The search space (section 3): what the supernet holds. None means the task's published value."""

    task: Task = "denoise"
    layers: Count  # 3 (denoise) or 2 (sr)
    nodes: Count  # per cell: 4 or 3
    base_width: Count  # channels of a node at level 0 while searching: 10 or 8
    width_factors: tuple[Positive, ...] = (1, 1.5, 2)  # As released; the text says 2^i
    levels: tuple[Natural, ...] | None = None  # fixed width level per layer; None: widths are searched
    operations: tuple[str, ...] = OPERATIONS
    layerwise: Switch = True  # LWAS: alphas of its own for each layer
    residual: Switch = True  # ResL: the network predicts what is added to the (up-sampled) input
    sharing: Switch = True  # cell sharing: eq. 5, off: eq. 6
    scale: Scale | None = None  # sr only; one x4 search serves all scales
    fold: Fold | None = None  # denoise only: so many x so many pixels become the channels of one; None: no folding
    partial: Count | None = None  # PC-DARTS: one channel of so many goes through the operations, edges have weights

    @classmethod
    def _defaults(cls, values):
        if values.get("task", "denoise") == "sr":
            return {"layers": 2, "nodes": 3, "base_width": 8, "scale": 4}
        return {"layers": 3, "nodes": 4, "base_width": 10}

    @field_validator("operations")
    @classmethod
    def _known_operations(cls, operations):
        known = set(operations) <= set(CANDIDATES) and len(set(operations)) == len(operations)
        if not known or not set(operations) - {"none"}:
            raise ConfigError(f"operations must be different ones of {' '.join(CANDIDATES)}, got {operations}")
        return tuple(sorted(operations, key=CANDIDATES.index))

    def _rules(self):
        yield from _rules_of_task(self.task, self.scale, self.fold)
        if self.levels is not None:
            yield len(self.levels) == self.layers, f"levels must hold layers={self.layers} values", self.levels
        yield from _rules_of_widths(self.base_width, self.width_factors, self.levels)
        whole = all(width % (self.partial or 1) == 0 for width in self.widths)
        yield whole, f"partial must divide all widths {self.widths}", self.partial

    @property
    def widths(self) -> tuple[int, ...]:
        """Return the channels of a node at each width level."""
        return widths(self.base_width, self.width_factors)


#: The older HiNAS (Zhang et al., CVPR 2020), as settings of a `Space`, or for `vary` of all that an experiment needs:
#: 3x3 operations with a deformable one, the same cell in all layers, no residual.
CVPR2020 = {
    "operations": ("conv_3", "sep_3", "dil_3", "def_3", "skip", "none"),
    "layerwise": False,
    "residual": False,
}


class LatencyConfig(Config):
    """Asks for the milliseconds of each operation and move of a space, at a derived network's widths, here."""

    space: Space = Field(default_factory=Space)
    base_width: Count  # of the derived network
    height: Count = 480  # pixels of the image, before it is folded
    width_px: Count = 320
    threads: Count = 1
    rounds: Count = 15

    @property
    def producers(self) -> tuple:
        return ()


class Loss(Config):
    """Eq. 7: fidelity + ssim_weight * log10(1 / SSIM)."""

    fidelity: Literal["mse", "l1"] = "mse"
    ssim_weight: NonNegative = 0.6  # lambda


class _Learning(Config):
    """Holds what searches and trainings share: images to learn from, images V to choose by, and how weights begin."""

    data: DataName = "BSDS500"
    split: str  # training images; unless named: train+val (BSDS500), all (a folder), train (others)
    validation: str | None = None  # a split that serves as V; None: validation_fraction of the training images
    validation_fraction: Fraction = 0.02  # 0.05 for a search for sr
    validation_patches: Count | None = None  # of V, evenly chosen; None: all adjacent ones
    validation_crop: Crop | None = None  # pixels: V is the centre of each image, so large, in place of patches
    patch: Crop = 64  # pixels; low-resolution pixels for sr
    loss: Loss = Field(default_factory=Loss)
    near_identity: Switch = False  # a genotype's output convolution begins with a tenth of its weights
    precision: Precision | None = None
    seed: Natural = 0

    def _rules(self):
        check_split(self.data, self.split)
        if self.validation:
            check_split(self.data, self.validation)
            apart = not set(self.validation.split("+")) & set(self.split.split("+"))
            yield apart, f"validation must be another split of {self.data} than {self.split}", repr(self.validation)
        if self.validation_crop:
            rule = f"validation_patches must be None where validation_crop is {self.validation_crop}"
            yield not self.validation_patches, rule, self.validation_patches

    @property
    def judged_on(self) -> tuple:
        """Return what decides which images V has and how they are cut: scores on V compare where it is equal."""
        drawn = () if self.validation else (self.validation_fraction, self.seed)
        cut = (self.validation_crop,) if self.validation_crop else (self.patch, self.validation_patches)
        return self.data, self.split, self.validation, drawn, cut


#: Settings of a space that its operations' milliseconds do not depend on.
_MILLISECONDS = {"base_width": 1, "levels": None, "layers": 1, "layerwise": True, "residual": True, "sharing": True}


class SearchConfig(_Learning):
    """Asks for the search of one supernet (section 3.3). Defaults are the published settings."""

    space: Space = Field(default_factory=Space)
    sigmas: Sigmas | None = None  # denoise: grey levels (0-255), each crop draws one
    batch: Count  # 8 (denoise), 24 (sr)
    epochs: Count = 100
    crops_per_image: Count = 1  # per epoch
    warmup_epochs: Natural = 20  # only weights are trained
    warmup_gain: Positive | None = None  # dB on V above the input's that end the warm-up earlier; None: epochs alone
    validate_from: Natural = 60  # epochs done before the first validation
    weight_optimizer: Literal["adamw"] | None = None  # one cycle; None: SGD, a cosine from weight_lr to _final
    weight_lr: Positive  # first (SGD) 0.025 or peak (adamw) 2e-3
    weight_lr_final: Positive = 0.001
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NonNegative = 3e-4
    architecture_lr: Positive = 1e-3
    architecture_weight_decay: NonNegative = 1e-3
    strategy: Literal["gradient", "random"] = "gradient"  # random: RSWS
    candidates: Count | None = None  # random architectures scored on V in the end; RSWS takes the best
    latency: LatencyConfig | None = None  # where the milliseconds of a latency term come from; None: no such term
    latency_weight: Positive | None = None  # of the expected milliseconds, in units of those at equal alphas and betas
    beta_decay: Positive | None = None  # beta-DARTS: last weight of its penalty, which grows linearly from 0
    second_order: Switch = False  # DARTS: alphas' gradient after the weights' next step, in four passes in place of one
    checkpointing: Switch = False  # keep a layer's inputs only and compute it twice: less memory, more time

    @classmethod
    def _defaults(cls, values):
        space = values.get("space", {})
        task = space.get("task", "denoise") if isinstance(space, dict) else getattr(space, "task", "denoise")
        if task == "sr":
            published = {"batch": 24, "validation_fraction": 0.05, "data": "DIV2K"}
        else:
            published = {"batch": 8, "sigmas": (30.0, 50.0, 70.0)}
        if values.get("strategy") == "random":
            published["candidates"] = 30
        published["weight_lr"] = 2e-3 if values.get("weight_optimizer") == "adamw" else 0.025
        return published | {"split": _usual_split(published | values)}

    def _rules(self):
        yield from super()._rules()
        for name in ("warmup_epochs", "validate_from"):
            value = getattr(self, name)
            yield value < self.epochs, f"{name} must be in [0, epochs={self.epochs})", value
        given = f"task {self.task} and sigmas {self.sigmas}"
        yield (self.task == "denoise") == (self.sigmas is not None), "sigmas belong to denoising", given
        if self.strategy == "random":
            yield self.candidates, "candidates must be at least 1 for strategy random", self.candidates
            for name in ("latency", "beta_decay", "second_order"):
                value = getattr(self, name)
                given = f"{value:g}" if name == "beta_decay" and value else "it"
                yield not value, f"{name} belongs to strategy gradient", f"{given} for random"
        given = f"weight {self.latency_weight} and {'a table' if self.latency else 'no table'}"
        yield bool(self.latency) == bool(self.latency_weight), "latency and latency_weight belong together", given
        if self.latency:
            yield not self.space.partial, "latency must be off where space.partial is set", "both"
            same = self.latency.space.but(**_MILLISECONDS) == self.space.but(**_MILLISECONDS)
            yield same, "latency must be of the searched space", f"one of {self.latency.space}"

    @property
    def task(self) -> Task:
        return self.space.task

    @property
    def producers(self) -> tuple[LatencyConfig, ...]:
        """Return the Run that measures the latencies, if the search takes them into account."""
        return (self.latency,) if self.latency else ()


class Perturbed(Config):
    """Stands for the genotype that a search found, perturbed by R1 or R2 (section 4.2.4)."""

    search: SearchConfig
    kind: Literal["R1", "R2"]
    changes: Count = 2  # per cell
    seed: Natural = 0
    matched: Count | None = None  # of so many draws the nearest in parameters; None: one draw


class Epoch(Config):
    """Stands for the genotype that a search would have returned for this epoch, not for the best one on V."""

    search: SearchConfig
    epoch: Count | None = None  # None: the last

    def _rules(self):
        last = self.search.epochs
        yield self.epoch is None or self.epoch <= last, f"epoch must be in [1, epochs={last}]", self.epoch


class Selected(Config):
    """Stands for a genotype that successive halving keeps for its next round: by how its training scored on V."""

    trainings: Annotated[tuple[TrainConfig, ...], Field(min_length=1)]
    place: Count = 1  # 1: the best

    def _rules(self):
        count = len(self.trainings)
        yield self.place <= count, f"place must be in [1, trainings={count}]", self.place
        others = any(isinstance(training.genotype, Comparator) for training in self.trainings)
        yield not others, "trainings must be of genotypes", "one of a comparator"
        compared = {(t.task, t.scale, t.sigma, t.sigma_range, *t.judged_on) for t in self.trainings}
        rule = "trainings must share task, scale, sigma and V to be compared"
        yield len(compared) == 1, rule, f"{len(compared)} kinds"


class Drawn(Config):
    """Stands for a random genotype of a found one's size: of so many draws the nearest in multiply-adds a pixel."""

    found: SearchConfig | Selected
    draws: Count = 64
    seed: Natural = 0

    def _rules(self):
        yield self.space, "found must rest on a search, whose space is drawn from", "given genotypes alone"

    @property
    def space(self) -> Space | None:
        """Return the space of the (first) search that the found genotype comes from."""
        if isinstance(self.found, SearchConfig):
            return self.found.space
        known = (one for training in self.found.trainings for one in lineage(training))
        return next((one.space for one in known if isinstance(one, SearchConfig)), None)


class Comparator(Config):
    """Puts another network in the genotype's place (tables 10-12): same data, loss, optimizer, steps and seeds."""

    name: str  # of `comparators.TABLE`
    width: Count | None = None  # channels of its hidden layers; None: as published

    @property
    def label(self) -> str:
        """Return `dncnn`, or `dncnn-35` where it is narrowed."""
        return self.name if self.width is None else f"{self.name}-{self.width}"

    def identity(self) -> dict[str, Any]:
        """Return the settings and the revision of its network, where there was one before; see `comparators.Entry`."""
        entry = comparators.TABLE.get(self.name)
        return super().identity() | ({"revision": entry.revision} if entry and entry.revision else {})


#: Settings of a training that only a genotype's network has; for a comparator they keep the defaults of their fields.
OF_A_GENOTYPE = ("base_width", "width_factors", "residual", "fold", "near_identity", "without_norms")


class TrainConfig(_Learning):
    """Asks for the training of a derived network from scratch. Defaults are the published settings."""

    task: Task = "denoise"
    genotype: Genotype | SearchConfig | Perturbed | Epoch | Selected | Drawn | Comparator
    base_width: Count | None = None  # 20 (denoise) or 16 (sr); None for a comparator
    width_factors: tuple[Positive, ...] = (1, 1.5, 2)
    residual: Switch = True
    scale: Scale | None = None  # sr only
    fold: Fold | None = None  # of a genotype's network, see `Space`
    sigma: Positive | None = None  # denoise only: grey levels (0-255)
    sigma_range: SigmaRange | None = None  # denoise only, in place of sigma: each crop draws its own from it
    noise_map: Switch = False  # the network is told sigma, as a second channel of its input (FFDNet)
    batch: Count = 24
    steps: Count  # 400k (denoise), 600k (sr)
    validate_every: Count = 1000  # steps; also the checkpoint interval
    optimizer: Literal["sgd", "adamw"] = "sgd"  # sgd: polynomial decay, power 0.9; adamw: one-cycle
    lr: Positive  # initial (sgd) 0.05 or peak (adamw) 2e-3
    weight_decay: NonNegative = 4e-5  # none on biases and batch norms
    rescale: Switch = False  # As released: sizes 0.8-1.2 with probability 0.5 (denoising)
    norm_momentum: Fraction | None = None  # of the batch norms' running statistics; None: torch's 0.1
    without_norms: Switch = False  # a genotype's convolutions have biases, and no batch norms follow them
    compiled: Switch = False  # steps by torch.compile; needs a C++ compiler, or on CUDA what comes with torch
    teacher: TrainConfig | None = None  # of another comparator, whose outputs a comparator imitates (distillation)
    teacher_weight: Positive | None = None  # of the mean absolute difference from these; 1 unless given

    @classmethod
    def _defaults(cls, values):
        if values.get("task", "denoise") == "sr":
            published = {"base_width": 16, "steps": 600_000, "data": "DIV2K", "scale": 4}
        else:
            published = {"base_width": 20, "steps": 400_000}
            published |= {"sigma": 50.0} if values.get("sigma_range") is None else {}
        if isinstance(values.get("genotype"), Comparator):
            entry = comparators.TABLE.get(values["genotype"].name)
            published |= {"base_width": None, "noise_map": entry is not None and entry.noise_map}
        published["lr"] = 2e-3 if values.get("optimizer") == "adamw" else 0.05
        published["teacher_weight"] = 1.0 if values.get("teacher") else None
        return published | {"split": _usual_split(published | values)}

    def _rules(self):
        yield from super()._rules()
        other = isinstance(self.genotype, Comparator)
        yield from self._rules_of_comparator() if other else self._rules_of_genotype()
        yield from self._rules_of_noise()
        yield from self._rules_of_teacher()
        rule = f"genotype must be searched for task {self.task}"
        yield from ((one.task == self.task, rule, f"a search for {one.task}") for one in self.producers)
        every = self.validate_every
        yield every <= self.steps, f"validate_every must be in [1, steps={self.steps}]", every

    @property
    def producers(self) -> tuple[SearchConfig | TrainConfig, ...]:
        """Return the Runs that its genotype, or else its teacher, comes from."""
        if self.teacher:
            return (self.teacher,)
        origin = self.genotype.found if isinstance(self.genotype, Drawn) else self.genotype
        if isinstance(origin, Selected):
            return origin.trainings
        search = getattr(origin, "search", origin)
        return (search,) if isinstance(search, SearchConfig) else ()

    def _rules_of_noise(self):
        noises = [noise for noise in (self.sigma, self.sigma_range) if noise is not None]
        given = f"task {self.task}, sigma {self.sigma} and sigma_range {self.sigma_range}"
        rule = "sigma (or sigma_range, not both) belongs to denoising"
        yield len(noises) == (self.task == "denoise"), rule, given
        lowest, highest = self.sigma_range or (0, 0)
        yield lowest <= highest, "sigma_range must be (lowest, highest)", self.sigma_range
        yield self.task == "denoise" or not self.noise_map, "noise_map belongs to denoising", f"task {self.task}"

    def _rules_of_teacher(self):
        given = f"weight {self.teacher_weight} and {'a' if self.teacher else 'no'} teacher"
        yield bool(self.teacher) == bool(self.teacher_weight), "teacher and teacher_weight belong together", given
        if self.teacher:
            both = (self.genotype, self.teacher.genotype)
            rule = "teacher must be a comparator's training, for another comparator's"
            yield all(isinstance(one, Comparator) for one in both), rule, "one of a genotype"
            for setting in ("task", "scale", "sigma", "sigma_range", "noise_map"):
                own, other = getattr(self, setting), getattr(self.teacher, setting)
                yield own == other, f"teacher must have {setting} {own}", other

    def _rules_of_genotype(self):
        yield from _rules_of_task(self.task, self.scale, self.fold)
        yield self.base_width, "base_width must be at least 1 for a genotype's network", self.base_width
        levels = self.genotype.levels if isinstance(self.genotype, Genotype) else None
        yield from _rules_of_widths(self.base_width, self.width_factors, levels)

    def _rules_of_comparator(self):
        yield from _rules_of_task(self.task, self.scale)
        comparators.check(self.genotype.name, self.task, self.genotype.width, self.scale, trained=True)
        name, told = self.genotype.name, comparators.TABLE[self.genotype.name].noise_map
        yield self.noise_map == told, f"noise_map must be {told} for {name}", self.noise_map
        for setting in OF_A_GENOTYPE:
            value, needed = getattr(self, setting), type(self).model_fields[setting].default
            yield value == needed, f"{setting} belongs to a genotype's network and must be {needed} for {name}", value


Selected.model_rebuild()
TrainConfig.model_rebuild()


class EvaluateConfig(Config):
    """Asks for the scores of a network, or of the degraded input itself, on one data set under one protocol."""

    model: TrainConfig | Untrained
    data: DataName
    split: str = "test"
    every: Count = 1  # score every k-th image, in file-name order
    protocol: Protocol
    save_images: tuple[str, ...] = ()  # names of images whose restoration is kept as PNG

    @classmethod
    def _defaults(cls, values):
        return {"split": "all"} if _is_folder(values.get("data")) else {}

    def _rules(self):
        check_split(self.data, self.split)
        if isinstance(self.model, TrainConfig):
            task, scale = self.protocol.task, self.protocol.scale
            wrong = f"{self.protocol.name} for {task}"
            yield task == self.model.task, f"protocol must be of task {self.model.task}", wrong
            yield scale == self.model.scale, f"protocol scale must be {self.model.scale}", scale
            for learned in (one for one in lineage(self.model) if isinstance(one, _Learning)):
                for split in filter(None, (learned.split, learned.validation)):
                    check_leak(learned.data, split, self.data, self.split)
        elif self.model != "input":
            comparators.check(self.model, self.protocol.task)

    @property
    def producers(self) -> tuple[TrainConfig, ...]:
        """Return the training that makes the network, if one does."""
        return (self.model,) if isinstance(self.model, TrainConfig) else ()


class Arm(Config):
    """Names one thing to time: a step of a supernet or training, the making of a batch, a restoration, a product."""

    label: str
    subject: Literal["search step", "training step", "training batch", "restoration", "matrix product"]
    space: Space | None = None  # of a search step
    phase: Literal["weights", "architecture"] | None = None  # of a search step
    network: Genotype | SearchConfig | Selected | Comparator | None = None  # of the others; or what makes a genotype
    task: Task = "denoise"
    scale: Scale | None = None  # sr only
    base_width: Count | None = None  # of a genotype's network; None: as published
    fold: Fold | None = None  # of a genotype's network, see `Space`
    plain: Switch = False  # written with stock modules: each edge by itself, all gradients, batch norms not folded
    checkpointing: Switch = False  # of a search step
    precision: Precision | None = None  # of a step, see `Precision`
    engine: Literal["eager", "compiled", "onnx"] = "eager"  # of a restoration
    allocator: Switch = True  # with the settings that Runs get; off: the system's
    batch: Count = 1
    height: Count = 64  # input pixels; side of the matrices
    width_px: Count = 64

    def _rules(self):
        search, given = self.subject == "search step", f"{self.subject} {self.label!r}"
        told = [part is not None for part in (self.space, self.phase)]
        yield told == [search, search], "space and phase belong to a search step", given
        takes = self.subject in ("training step", "restoration")
        yield (self.network is not None) == takes, "network belongs to a training step or a restoration", given
        if not search:
            yield from _rules_of_task(self.task, self.scale)
        if isinstance(self.network, SearchConfig):
            searched = self.network.task
            yield searched == self.task, f"network must be searched for task {self.task}", f"a search for {searched}"


class TimingConfig(Config):
    """Asks for seconds and peak memory of all arms, measured in turns while nothing else of ours runs."""

    what: str  # for people
    arms: tuple[Arm, ...]
    threads: Count = 2
    rounds: Count = 5
    parts: Switch = False  # also where the time of a search step goes, told once: it takes long

    def _rules(self):
        labels = [arm.label for arm in self.arms]
        yield labels and len(set(labels)) == len(labels), "arms must have different labels", labels

    @property
    def producers(self) -> tuple[SearchConfig | TrainConfig, ...]:
        """Return the different Runs that the genotypes of the timed networks come from."""
        networks = [arm.network for arm in self.arms]
        found = [(one,) if isinstance(one, SearchConfig) else getattr(one, "trainings", ()) for one in networks]
        return tuple(dict.fromkeys(itertools.chain(*found)))


def lineage(config) -> Iterator:
    """Yield the configs of all Runs that one rests on, the first before what is made of them, and its own at last."""
    for producer in config.producers:
        yield from lineage(producer)
    yield config


def _rules_of_task(task: str, scale: int | None, fold: int | None = None):
    given = f"task {task} and scale {scale}"
    yield (task == "sr") == (scale is not None), f"scale belongs to task sr (one of {comparators.SCALES})", given
    yield fold is None or task == "denoise", "fold belongs to denoising", f"fold {fold} for task {task}"


def _rules_of_widths(base_width: int, factors: tuple[float, ...], levels: tuple[int, ...] | None):
    yield factors and list(factors) == sorted(factors), "width_factors must ascend", factors
    rule = f"width_factors must leave base_width={base_width} at least 1 channel"
    yield widths(base_width, factors)[0] >= 1, rule, factors
    if levels is not None:
        yield max(levels) < len(factors), f"levels must be below {len(factors)} (one per width factor)", levels
        largest = max(abs(b - a) for a, b in itertools.pairwise((0, *levels)))
        yield largest <= 1, "levels must move by at most 1 from layer to layer, starting at 0", levels


def _usual_split(values: dict) -> str:
    """Return the split that is learned from where none is named; a folder has one only."""
    data = values.get("data", "BSDS500")
    return "all" if _is_folder(data) else "train+val" if data == "BSDS500" else "train"


def _is_folder(data) -> bool:
    return isinstance(data, str) and catalog.is_folder(data)
