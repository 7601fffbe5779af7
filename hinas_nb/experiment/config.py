"""What a Run is: frozen settings that refuse unknown fields and impossible values (section 4.1 of the paper).

A config may name its producer (`TrainConfig.genotype` may be a `SearchConfig`), so a whole experiment is one
value. Budgets come from `params/<profile>.yaml`; those files hold only what differs from the defaults here,
which are the published settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from hinas_nb import comparators
from hinas_nb.data import catalog
from hinas_nb.data.catalog import check_leak, check_split
from hinas_nb.method.genotype import CANDIDATES, OPERATIONS, Genotype, widths
from hinas_nb.scoring.protocol import Protocol
from hinas_nb.settings import Config, ConfigError

Task = Literal["denoise", "sr"]
SCALES = (2, 3, 4)

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Scale = Literal[2, 3, 4]
DataName = Annotated[str, AfterValidator(catalog.absolute)]  # a worker's working folder may be another
Fold = Literal[2, 4]
#: What networks compute in: None is bfloat16 autocast on CUDA and float32 elsewhere (see `loops.precision`).
Precision = Literal["float32", "bfloat16"]
Crop = Annotated[int, Field(ge=16)]
SigmaRange = tuple[NonNegative, Positive]  # lowest and highest, grey levels (0-255)
Sigmas = Annotated[tuple[Positive, ...], Field(min_length=1)]
#: What needs no training: the noisy or bicubic up-sampled image itself ("input"), and filters (`comparators`).
Untrained = Literal["input", "nlm", "wavelet", "bm3d"]


class Space(Config):
    """The search space (section 3): what the supernet holds. None means the task's published value."""

    task: Task = "denoise"
    layers: Count  # 3 (denoise) or 2 (sr)
    nodes: Count  # per cell: 4 or 3
    base_width: Count  # channels of a node at level 0 while searching: 10 or 8
    width_factors: tuple[Positive, ...] = (1, 1.5, 2)  # As released; the text says 2^i
    levels: tuple[Natural, ...] | None = None  # fixed width level per layer; None: widths are searched
    operations: tuple[str, ...] = OPERATIONS
    layerwise: bool = True  # LWAS: alphas of its own for each layer
    residual: bool = True  # ResL: the network predicts what is added to the (up-sampled) input
    sharing: bool = True  # cell sharing: eq. 5, off: eq. 6
    scale: Scale | None = None  # sr only; one x4 search serves all scales
    fold: Fold | None = None  # denoise only: so many x so many pixels become the channels of one; None: no folding

    @model_validator(mode="before")
    @classmethod
    def _task_defaults(cls, values):
        if not isinstance(values, dict):
            return values  # another member of a union: not ours to fill in
        sr = values.get("task", "denoise") == "sr"
        published = (
            {"layers": 2, "nodes": 3, "base_width": 8, "scale": 4}
            if sr
            else {"layers": 3, "nodes": 4, "base_width": 10}
        )
        return published | values

    @field_validator("operations")
    @classmethod
    def _known_operations(cls, operations):
        known = set(operations) <= set(CANDIDATES) and len(set(operations)) == len(operations)
        if not known or not set(operations) - {"none"}:
            raise ConfigError(f"operations must be different ones of {' '.join(CANDIDATES)}, got {operations}")
        return tuple(sorted(operations, key=CANDIDATES.index))

    @model_validator(mode="after")
    def _consistent(self):
        check_scale(self.task, self.scale)
        check_fold(self.task, self.fold)
        check_widths(self.base_width, self.width_factors)
        if self.levels is not None:
            if len(self.levels) != self.layers:
                raise ConfigError(f"levels must hold layers={self.layers} values, got {self.levels}")
            check_levels(self.levels, self.width_factors)
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of a node at each width level."""
        return widths(self.base_width, self.width_factors)


#: The older HiNAS (Zhang et al., CVPR 2020), as settings of a `Space`, or for `vary` of all that an experiment needs:
#: 3x3 operations with a deformable one, the same cell in all layers, no residual.
CVPR2020 = {
    "operations": ("conv_3", "sep_3", "dil_3", "def_3", "skip", "none"),
    "layerwise": False,
    "residual": False,
}


class LatencyConfig(Config):
    """Milliseconds of each operation and move of a space, at the widths of a derived network, on this machine."""

    space: Space = Field(default_factory=Space)
    base_width: Count  # of the derived network
    height: Count = 480  # pixels of the image, before it is folded
    width_px: Count = 320
    threads: Count = 1
    rounds: Count = 15

    @property
    def producers(self) -> tuple:
        return ()

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of a node at each width level."""
        return widths(self.base_width, self.space.width_factors)


class Loss(Config):
    """Eq. 7: fidelity + ssim_weight * log10(1 / SSIM)."""

    fidelity: Literal["mse", "l1"] = "mse"
    ssim_weight: NonNegative = 0.6  # lambda


#: Settings of a space that its operations' milliseconds do not depend on.
_MILLISECONDS = {"base_width": 1, "levels": None, "layers": 1, "layerwise": True, "residual": True, "sharing": True}


class SearchConfig(Config):
    """Section 3.3: the search of one supernet. Defaults are the published settings."""

    space: Space = Field(default_factory=Space)
    data: DataName = "BSDS500"
    split: str  # training images: train+val (BSDS500), train (others)
    validation: str | None = None  # a split that serves as V; None: validation_fraction of the training images
    validation_fraction: Fraction  # 0.02 (denoise), 0.05 (sr)
    validation_patches: Count | None = None  # of V, evenly chosen; None: all adjacent ones
    validation_crop: Crop | None = None  # pixels: V is the centre of each image, so large, in place of patches
    sigmas: Sigmas | None = None  # denoise: grey levels (0-255), each crop draws one
    patch: Annotated[int, Field(ge=16)] = 64  # pixels; low-resolution pixels for sr
    batch: Count  # 8 (denoise), 24 (sr)
    epochs: Count = 100
    crops_per_image: Count = 1  # per epoch
    warmup_epochs: Natural = 20  # only weights are trained
    warmup_gain: Positive | None = None  # dB on V above the input's that end the warm-up earlier; None: epochs alone
    validate_from: Natural = 60  # epochs done before the first validation
    loss: Loss = Field(default_factory=Loss)
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
    checkpointing: bool = False  # keep a layer's inputs only and compute it twice: less memory, more time
    near_identity: bool = False  # the output convolution begins with a tenth of its weights
    precision: Precision | None = None
    seed: Natural = 0

    @model_validator(mode="before")
    @classmethod
    def _task_defaults(cls, values):
        if not isinstance(values, dict):
            return values  # another member of a union: not ours to fill in
        space = values.get("space", {})
        task = space.get("task", "denoise") if isinstance(space, dict) else getattr(space, "task", "denoise")
        published = (
            {"batch": 24, "validation_fraction": 0.05, "data": "DIV2K"}
            if task == "sr"
            else {"batch": 8, "validation_fraction": 0.02, "sigmas": (30.0, 50.0, 70.0)}
        )
        published["weight_lr"] = 2e-3 if values.get("weight_optimizer") == "adamw" else 0.025
        if values.get("strategy") == "random":
            published["candidates"] = 30
        return _with_split(published | values)

    @model_validator(mode="after")
    def _consistent(self):
        check_validation(self.data, self.split, self.validation)
        if self.warmup_epochs >= self.epochs:
            raise ConfigError(f"warmup_epochs must be in [0, epochs={self.epochs}), got {self.warmup_epochs}")
        _check_crop(self)
        if self.validate_from >= self.epochs:
            raise ConfigError(f"validate_from must be in [0, epochs={self.epochs}), got {self.validate_from}")
        if (self.space.task == "sr") != (self.sigmas is None):
            raise ConfigError(f"sigmas belong to denoising, got task {self.space.task} and sigmas {self.sigmas}")
        if self.strategy == "random" and self.candidates is None:
            raise ConfigError("candidates must be at least 1 for strategy random, got None")
        if (self.latency is None) != (self.latency_weight is None):
            raise ConfigError(f"latency and latency_weight belong together, got weight {self.latency_weight} and "
                              f"{'no table' if self.latency is None else 'a table'}")  # fmt: skip
        if self.latency and self.latency.space.but(**_MILLISECONDS) != self.space.but(**_MILLISECONDS):
            raise ConfigError(f"latency must be of the searched space, got one of {self.latency.space}")
        if self.strategy == "random" and self.latency is not None:
            raise ConfigError("latency belongs to strategy gradient, got it for random")
        if self.strategy == "random" and self.beta_decay is not None:
            raise ConfigError(f"beta_decay belongs to strategy gradient, got {self.beta_decay:g} for random")
        return self

    @property
    def task(self) -> Task:
        return self.space.task

    @property
    def producers(self) -> tuple[LatencyConfig, ...]:
        """The Run that measured the latencies, if they count."""
        return (self.latency,) if self.latency else ()


class Perturbed(Config):
    """R1 or R2 (section 4.2.4) applied to the genotype a search found."""

    search: SearchConfig
    kind: Literal["R1", "R2"]
    changes: Count = 2  # per cell
    seed: Natural = 0
    matched: Count | None = None  # of so many draws the nearest in parameters; None: one draw


class Epoch(Config):
    """What a search would have returned, had it decoded this epoch and not the best one on V (section 3.3)."""

    search: SearchConfig
    epoch: Count | None = None  # None: the last

    @model_validator(mode="after")
    def _consistent(self):
        if self.epoch is not None and self.epoch > self.search.epochs:
            raise ConfigError(f"epoch must be in [1, epochs={self.search.epochs}], got {self.epoch}")
        return self


class Selected(Config):
    """What successive halving keeps: the genotype whose training scored best on V, or the one in a later place.

    As a `genotype` it makes the next round: trained for longer, of so many only the best few.
    """

    trainings: Annotated[tuple[TrainConfig, ...], Field(min_length=1)]
    place: Count = 1  # 1: the best

    @model_validator(mode="after")
    def _consistent(self):
        if self.place > len(self.trainings):
            raise ConfigError(f"place must be in [1, trainings={len(self.trainings)}], got {self.place}")
        if any(isinstance(training.genotype, Comparator) for training in self.trainings):
            raise ConfigError("trainings must be of genotypes, got one of a comparator")
        compared = {(t.task, t.data, t.split, t.validation, t.validation_crop, t.sigma) for t in self.trainings}
        if len(compared) > 1:
            raise ConfigError(f"trainings must share task, sigma and V to be compared, got {len(compared)} kinds")
        return self


class Drawn(Config):
    """A random genotype of the size of a found one: of so many draws the nearest in multiply-adds a pixel."""

    found: SearchConfig | Selected
    draws: Count = 64
    seed: Natural = 0

    @model_validator(mode="after")
    def _consistent(self):
        if self.space is None:
            raise ConfigError("found must rest on a search, whose space is drawn from, got given genotypes alone")
        return self

    @property
    def space(self) -> Space | None:
        """The space of the (first) search that the found genotype comes from."""
        if isinstance(self.found, SearchConfig):
            return self.found.space
        ancestors = (one for training in self.found.trainings for one in _ancestors(training))
        return next((one.space for one in ancestors if isinstance(one, SearchConfig)), None)


class Comparator(Config):
    """Another network in the genotype's place (tables 10-12): same data, loss, optimizer, steps and seeds."""

    name: str  # of `comparators.TABLE`
    width: Count | None = None  # channels of its hidden layers; None: as published

    @property
    def label(self) -> str:
        """`dncnn`, or `dncnn-35` where it is narrowed."""
        return self.name if self.width is None else f"{self.name}-{self.width}"

    def identity(self) -> dict[str, Any]:
        """Also the revision of its network, where there was one before; see `comparators.Entry`."""
        entry = comparators.TABLE.get(self.name)
        return super().identity() | ({"revision": entry.revision} if entry and entry.revision else {})


#: Settings of a training that only a genotype's network has, with the value that they have for a comparator.
OF_A_GENOTYPE = {
    "base_width": None,
    "width_factors": (1, 1.5, 2),
    "residual": True,
    "fold": None,
    "near_identity": False,
    "without_norms": False,
}


class TrainConfig(Config):
    """Training of a derived network from scratch. Defaults are the published settings."""

    task: Task = "denoise"
    genotype: Genotype | SearchConfig | Perturbed | Epoch | Selected | Drawn | Comparator
    base_width: Count | None  # 20 (denoise) or 16 (sr); None for a comparator
    width_factors: tuple[Positive, ...] = (1, 1.5, 2)
    residual: bool = True
    scale: Scale | None = None  # sr only
    fold: Fold | None = None  # of a genotype's network, see `Space`
    sigma: Positive | None = None  # denoise only: grey levels (0-255)
    sigma_range: SigmaRange | None = None  # denoise only, in place of sigma: each crop draws its own from it
    noise_map: bool = False  # the network is told sigma, as a second channel of its input (FFDNet)
    data: DataName = "BSDS500"
    split: str
    validation: str | None = None
    validation_fraction: Fraction = 0.02
    validation_patches: Count | None = None  # of V, evenly chosen; None: all adjacent ones
    validation_crop: Crop | None = None  # pixels: V is the centre of each image, so large, in place of patches
    patch: Annotated[int, Field(ge=16)] = 64  # pixels; low-resolution pixels for sr
    batch: Count = 24
    steps: Count  # 400k (denoise), 600k (sr)
    validate_every: Count = 1000  # steps; also the checkpoint interval
    loss: Loss = Field(default_factory=Loss)
    optimizer: Literal["sgd", "adamw"] = "sgd"  # sgd: polynomial decay, power 0.9; adamw: one-cycle
    lr: Positive  # initial (sgd) 0.05 or peak (adamw) 2e-3
    weight_decay: NonNegative = 4e-5  # none on biases and batch norms
    rescale: bool = False  # As released: sizes 0.8-1.2 with probability 0.5 (denoising)
    norm_momentum: Fraction | None = None  # of the batch norms' running statistics; None: torch's 0.1
    near_identity: bool = False  # a genotype's output convolution begins with a tenth of its weights
    without_norms: bool = False  # a genotype's convolutions have biases, and no batch norms follow them
    precision: Precision | None = None
    compiled: bool = False  # steps by torch.compile; needs a C++ compiler, or on CUDA what comes with torch
    seed: Natural = 0

    @model_validator(mode="before")
    @classmethod
    def _task_defaults(cls, values):
        if not isinstance(values, dict):
            return values  # another member of a union: not ours to fill in
        sr = values.get("task", "denoise") == "sr"
        published = (
            {"base_width": 16, "steps": 600_000, "data": "DIV2K", "scale": 4}
            if sr
            else {"base_width": 20, "steps": 400_000}
        )
        if not sr and values.get("sigma_range") is None:
            published["sigma"] = 50.0
        published["lr"] = 2e-3 if values.get("optimizer") == "adamw" else 0.05
        if isinstance(values.get("genotype"), Comparator):
            published["base_width"] = None
        return _with_split(published | values)

    @model_validator(mode="after")
    def _consistent(self):
        check_scale(self.task, self.scale)
        check_validation(self.data, self.split, self.validation)
        self._check_network()
        if isinstance(self.genotype, Genotype):
            check_levels(self.genotype.levels, self.width_factors)
        self._check_noise()
        _check_crop(self)
        for producer in self.producers:
            if producer.task != self.task:
                raise ConfigError(f"genotype must be searched for task {self.task}, got a search for {producer.task}")
        if self.validate_every > self.steps:
            raise ConfigError(f"validate_every must be in [1, steps={self.steps}], got {self.validate_every}")
        return self

    @property
    def producers(self) -> tuple[SearchConfig | TrainConfig, ...]:
        """The Runs that its genotype comes from."""
        origin = self.genotype.found if isinstance(self.genotype, Drawn) else self.genotype
        if isinstance(origin, Selected):
            return origin.trainings
        search = getattr(origin, "search", origin)
        return (search,) if isinstance(search, SearchConfig) else ()

    def _check_noise(self) -> None:
        """Denoising has one sigma or a range of them, and only it has a noise map."""
        given = [noise for noise in (self.sigma, self.sigma_range) if noise is not None]
        if len(given) != (self.task == "denoise"):
            raise ConfigError(f"sigma (or sigma_range, not both) belongs to denoising, got task {self.task}, "
                              f"sigma {self.sigma} and sigma_range {self.sigma_range}")  # fmt: skip
        if self.sigma_range and self.sigma_range[0] > self.sigma_range[1]:
            raise ConfigError(f"sigma_range must be (lowest, highest), got {self.sigma_range}")
        if self.noise_map and self.task != "denoise":
            raise ConfigError(f"noise_map belongs to denoising, got task {self.task}")

    def _check_network(self) -> None:
        """Refuse a comparator that is not there, and settings that would do nothing to it."""
        if not isinstance(self.genotype, Comparator):
            if self.base_width is None:
                raise ConfigError("base_width must be at least 1 for a genotype's network, got None")
            check_fold(self.task, self.fold)
            return check_widths(self.base_width, self.width_factors)
        comparators.check(self.genotype.name, self.task, self.genotype.width, trained=True)
        told = comparators.TABLE[self.genotype.name].noise_map
        if self.noise_map != told:
            raise ConfigError(f"noise_map must be {told} for {self.genotype.name}, got {self.noise_map}")
        for name, needed in OF_A_GENOTYPE.items():
            if getattr(self, name) != needed:
                rule = f"{name} belongs to a genotype's network and must be {needed}"
                raise ConfigError(f"{rule} for {self.genotype.name}, got {getattr(self, name)}")


Selected.model_rebuild()
TrainConfig.model_rebuild()


class EvaluateConfig(Config):
    """Scores of a trained network, or of the degraded input itself, on one data set under one protocol."""

    model: TrainConfig | Untrained
    data: DataName
    split: str = "test"
    every: Count = 1  # score every k-th image, in file-name order
    protocol: Protocol
    save_images: tuple[str, ...] = ()  # names of images whose restoration is kept as PNG

    @model_validator(mode="before")
    @classmethod
    def _whole_folder(cls, values):
        return _with_split(values, {}) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _consistent(self):
        check_split(self.data, self.split)
        if isinstance(self.model, TrainConfig):
            if self.model.task != self.protocol.task:
                raise ConfigError(
                    f"protocol must be of task {self.model.task}, got {self.protocol.name} for {self.protocol.task}"
                )
            if self.protocol.scale != self.model.scale:
                raise ConfigError(f"protocol scale must be {self.model.scale}, got {self.protocol.scale}")
            for learned in _ancestors(self.model):
                for split in filter(None, (learned.split, learned.validation)):
                    check_leak(learned.data, split, self.data, self.split)
        elif self.model != "input":
            comparators.check(self.model, self.protocol.task)
        return self

    @property
    def producers(self) -> tuple[TrainConfig, ...]:
        """The training that made the network, if one did."""
        return (self.model,) if isinstance(self.model, TrainConfig) else ()


class Arm(Config):
    """One thing to be timed: a step of a supernet or of a training, the making of a batch, a restoration, a product."""

    label: str
    subject: Literal["search step", "training step", "training batch", "restoration", "matrix product"]
    space: Space | None = None  # of a search step
    phase: Literal["weights", "architecture"] | None = None  # of a search step
    network: Genotype | SearchConfig | Comparator | None = None  # of the others; of a search: what it finds
    task: Task = "denoise"
    scale: Scale | None = None  # sr only
    base_width: Count | None = None  # of a genotype's network; None: as published
    fold: Fold | None = None  # of a genotype's network, see `Space`
    plain: bool = False  # written with stock modules: each edge by itself, all gradients, batch norms not folded
    checkpointing: bool = False  # of a search step
    engine: Literal["eager", "compiled", "onnx"] = "eager"  # of a restoration
    allocator: bool = True  # with the settings that Runs get; off: the system's
    batch: Count = 1
    height: Count = 64  # input pixels; side of the matrices
    width_px: Count = 64

    @model_validator(mode="after")
    def _consistent(self):
        search = self.subject == "search step"
        if search != (self.space is not None) or search != (self.phase is not None):
            raise ConfigError(f"space and phase belong to a search step, got {self.subject} {self.label!r}")
        if (self.network is not None) != (self.subject in ("training step", "restoration")):
            raise ConfigError(f"network belongs to a training step or a restoration, got {self.subject} {self.label!r}")
        if not search:
            check_scale(self.task, self.scale)
        if isinstance(self.network, SearchConfig) and self.network.task != self.task:
            raise ConfigError(f"network must be searched for task {self.task}, got a search for {self.network.task}")
        return self


class TimingConfig(Config):
    """Seconds and peak memory of all arms, measured in turns on this machine with nothing else of ours running."""

    what: str  # for people
    arms: tuple[Arm, ...]
    threads: Count = 2
    rounds: Count = 5
    parts: bool = False  # also where the time of a search step goes, told once: it takes long

    @model_validator(mode="after")
    def _consistent(self):
        labels = [arm.label for arm in self.arms]
        if not labels or len(set(labels)) != len(labels):
            raise ConfigError(f"arms must have different labels, got {labels}")
        return self

    @property
    def searches(self) -> list[SearchConfig]:
        """The different searches whose networks are timed."""
        return list(dict.fromkeys(arm.network for arm in self.arms if isinstance(arm.network, SearchConfig)))

    @property
    def producers(self) -> tuple[SearchConfig, ...]:
        """The search that networks are taken from, if there is one."""
        return tuple(self.searches)


def _ancestors(config: TrainConfig | SearchConfig) -> Iterator[TrainConfig | SearchConfig]:
    """A training or search, and all that its result has learned from."""
    yield config
    for producer in config.producers:
        if not isinstance(producer, LatencyConfig):
            yield from _ancestors(producer)


def check_scale(task: str, scale: int | None) -> None:
    if (task == "sr") != (scale is not None):
        raise ConfigError(f"scale belongs to task sr (one of {SCALES}), got task {task} and scale {scale}")


def check_fold(task: str, fold: int | None) -> None:
    if fold is not None and task != "denoise":
        raise ConfigError(f"fold belongs to denoising, got fold {fold} for task {task}")


def _check_crop(config: SearchConfig | TrainConfig) -> None:
    """V is crops or patches, not both."""
    if config.validation_crop and config.validation_patches:
        raise ConfigError(f"validation_patches must be None where validation_crop is {config.validation_crop}, "
                          f"got {config.validation_patches}")  # fmt: skip


def check_validation(data: str, split: str, validation: str | None) -> None:
    """Refuse unknown splits, and images that serve both to learn from and as V."""
    check_split(data, split)
    if validation:
        check_split(data, validation)
        if set(validation.split("+")) & set(split.split("+")):
            raise ConfigError(f"validation must be another split of {data} than {split}, got {validation!r}")


def check_widths(base_width: int, factors: tuple[float, ...]) -> None:
    if not factors or list(factors) != sorted(factors):
        raise ConfigError(f"width_factors must ascend, got {factors}")
    if widths(base_width, factors)[0] < 1:
        raise ConfigError(f"width_factors must leave base_width={base_width} at least 1 channel, got {factors}")


def check_levels(levels: tuple[int, ...], factors: tuple[float, ...]) -> None:
    """Refuse a width path that leaves the ladder."""
    if max(levels) >= len(factors):
        raise ConfigError(f"levels must be below {len(factors)} (one per width factor), got {levels}")
    jumps = [abs(b - a) for a, b in zip((0, *levels), levels)]
    if max(jumps) > 1:
        raise ConfigError(f"levels must move by at most 1 from layer to layer, starting at 0, got {levels}")


def _with_split(values: dict, usual: dict | None = None) -> dict:
    """With the split that is read where none is named; a folder has one only. usual: that of other sets."""
    data = values.get("data", "BSDS500")
    if isinstance(data, str) and catalog.is_folder(data):
        return {"split": "all"} | values
    return ({"split": "train+val" if data == "BSDS500" else "train"} if usual is None else usual) | values
