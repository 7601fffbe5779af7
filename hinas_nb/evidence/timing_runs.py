"""What notebook `24_speed` times, as lists of arms, and what a whole search costs, projected from measured steps.

`benchmark` measures, `cost` counts; here stand the questions: which arms are compared with each other, at which sizes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from hinas_nb.experiment.config import Arm, SearchConfig, Space, TimingConfig
from hinas_nb.method.genotype import Genotype
from hinas_nb.method.network import CHANNELS
from hinas_nb.method.supercell import plain_supernet
from hinas_nb.method.supernet import Supernet
from hinas_nb.speed import cost
from hinas_nb.training import benchmark
from hinas_nb.training.loops import has_compiler

PHASES = {"W": "weights", "A": "architecture"}
PEAK = "matrix product"  # the arm that shows what the machine can do
STEP, BATCH = "a training step", "making its batch"  # arms of `batches`
#: Every node takes conv_3 from h_{l-1} and sep_3 from h_{l-2}; 257,769 parameters at base width 20.
GENOTYPE = Genotype((0, 1, 2), ((((("conv_3", 0), ("sep_3", 1)),) * 4),) * 3)
#: Ways to compute one step of a search; settings of an `Arm`, `space` of its space.
VARIANTS: dict[str, dict] = {
    "plain": {"plain": True},
    "ours": {},
    "checkpoints": {"checkpointing": True},
    "no sharing": {"space": {"sharing": False}},
    "no sharing, checkpoints": {"space": {"sharing": False}, "checkpointing": True},
}
#: Ways to restore an image; the first is the baseline.
ENGINES: dict[str, dict] = {
    "plain, system's allocator": {"plain": True, "allocator": False},
    "plain": {"plain": True},
    "ours": {},
    "ours, compiled": {"engine": "compiled"},
    "ours, ONNX Runtime": {"engine": "onnx"},
}
#: Forward passes that a step's arithmetic is worth: gradients by inputs, and on W by weights too, cost one each.
PASSES = {"W": 3, "A": 2}


@dataclass(frozen=True)
class Shapes:
    """What is timed, and how often. Sides in pixels; base_width None: as published."""

    paper: bool
    base_width: int | None
    side: int
    batches: tuple[int, ...]  # of denoising steps; the first is timed in most ways
    sr_batch: int | None  # None: not timed
    growth: Mapping[str, tuple[int, ...]]  # a setting of the space, or batch, away from the base point
    image: tuple[int, int]  # height, width
    other_images: tuple[tuple[int, int], ...]
    training: tuple[int, int]  # batch, side
    product: int  # side of the matrices
    threads: int
    rounds: int
    few: int  # rounds where calls are slow
    compiling: bool

    def space(self, task: str = "denoise", **changes) -> Space:
        narrow = {} if self.base_width is None else {"base_width": self.base_width}
        return Space(**{"task": task, **narrow, **changes})


PAPER = Shapes(
    paper=True, base_width=None, side=64, batches=(2, 8), sr_batch=8,
    growth={"base_width": (5, 15), "nodes": (2, 3), "layers": (1, 2), "batch": (1, 4)},
    image=(481, 321), other_images=((128, 128), (256, 256)), training=(24, 64),
    product=2048, threads=2, rounds=6, few=3, compiling=True,
)  # fmt: skip
TINY = Shapes(
    paper=False, base_width=4, side=16, batches=(2,), sr_batch=None, growth={"base_width": (2,), "batch": (1,)},
    image=(48, 32), other_images=(), training=(2, 24),
    product=512, threads=1, rounds=3, few=3, compiling=False,
)  # fmt: skip


def shapes(base_width: int) -> Shapes:
    """The paper's, for budgets whose supernets are as wide as published; else tiny ones."""
    return PAPER if base_width >= PAPER.space().base_width else TINY


def engines(compiling: bool = True) -> tuple[dict[str, dict], dict[str, str]]:
    """Engines that can run here, and why the others cannot."""
    absent = {}
    if not compiling:
        absent["ours, compiled"] = "compiling takes longer than this budget has"
    elif not has_compiler():
        absent["ours, compiled"] = "no C++ compiler is here"
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        absent["ours, ONNX Runtime"] = f"{' '.join(missing)} not installed"
    return {name: how for name, how in ENGINES.items() if name not in absent}, absent


def steps(
    what: str,
    space: Space,
    sized: Shapes,
    ways: Mapping[str, tuple[str, int]] | Sequence[str],
    batch: int,
    phases: Sequence[str] = ("W", "A"),
    rounds: int | None = None,
) -> TimingConfig:
    """Steps of a search on W and on A, as `way, phase`, beside a matrix product.

    ways: of `VARIANTS`; or by label, the variant and its batch.
    """
    ways = ways if isinstance(ways, Mapping) else {way: (way, batch) for way in ways}
    arms = [
        _step(f"{label}, {phase}", _changed(space, way), sized, VARIANTS[way], phase, own)
        for phase in phases
        for label, (way, own) in ways.items()
    ]
    return _timing(what, [*arms, _product(sized)], sized, rounds)


def step_parts(sized: Shapes) -> TimingConfig:
    """Where the time of a step goes: plain (it takes long) and ours at the first batch, ours at the last."""
    first, last = sized.batches[0], sized.batches[-1]
    compared = [*([("plain", first)] if sized.paper else []), ("ours", first), ("ours", last)]
    ways = {f"{way}, batch {batch}": (way, batch) for way, batch in compared}
    return steps("parts of a step", sized.space(), sized, ways, first, rounds=sized.few).but(parts=True)


def growth(sized: Shapes) -> TimingConfig:
    """Steps on W with one setting changed at a time, as `setting value`; `base` is where the curves meet."""
    base, batch = sized.space(), sized.batches[0]
    arms = [_step("base", base, sized, {}, "W", batch)]
    for setting, values in sized.growth.items():
        for value in values:
            own = base if setting == "batch" else base.but(**{setting: value})
            arms.append(_step(f"{setting} {value}", own, sized, {}, "W", value if setting == "batch" else batch))
    return _timing("growth", arms, sized, sized.few)


def growth_points(config: TimingConfig, records: list[dict]) -> pd.DataFrame:
    """What `growth` measured: setting, x, seconds and peak (MiB), the base point on every curve."""
    measured = benchmark.table(records).set_index("arm")
    arms = {arm.label: arm for arm in config.arms}
    rows = []
    for setting in dict.fromkeys(label.split()[0] for label in arms if label != "base"):
        for label in ("base", *(label for label in arms if label.startswith(f"{setting} "))):
            arm = arms[label]
            x = arm.batch if setting == "batch" else getattr(arm.space, setting)
            rows.append({"setting": setting, "x": x} | measured.loc[label, ["seconds", "peak (MiB)"]].to_dict())
    return pd.DataFrame(rows).sort_values(["setting", "x"], ignore_index=True)


def sharing(sized: Shapes, batch: int) -> TimingConfig:
    """Steps without and with cell sharing at one batch, and with it at the batch that the saved memory allows."""
    space = sized.space()
    larger = larger_batch(space, batch, sized.side)
    ways = {"no sharing": ("no sharing", batch), "ours": ("ours", batch)}
    if larger > batch:
        ways[f"ours, batch {larger}"] = ("ours", larger)
    return steps(f"cell sharing at batch {batch}", space, sized, ways, batch, rounds=sized.few)


def spaces(what: str, compared: Mapping[str, Space], sized: Shapes) -> TimingConfig:
    """Steps on W and on A of several search spaces, as `name, phase`; notebook `14_cell_sharing`."""
    arms = [_step(f"{name}, {phase}", space, sized, {}, phase, sized.batches[0])
            for phase in PHASES for name, space in compared.items()]  # fmt: skip
    return _timing(what, arms, sized, sized.few)


def operations(names: Sequence[str], sized: Shapes) -> TimingConfig:
    """Networks alike but for the operation that every node takes from h_{l-1}, as `name, subject`: an image, a step."""
    height, width = sized.image
    batch, side = sized.training
    sizes = {
        "restoration": {"height": height, "width_px": width},
        "training step": {"batch": batch, "height": side, "width_px": side},
    }
    arms = [
        Arm(label=f"{name}, {subject}", subject=subject, network=_all_of(name), base_width=sized.base_width, **size)
        for subject, size in sizes.items()
        for name in names
    ]
    return _timing(f"operations {' '.join(names)}", arms, sized, sized.few)


def step_multiply_adds(space: Space, phase: str, batch: int, side: int) -> int:
    """Of a step's convolutions, with only the gradients that it needs; the loss is not in it."""
    return PASSES[phase] * batch * side**2 * supernet_multiply_adds(space)


@cache
def supernet_multiply_adds(space: Space) -> int:
    """A forward pass's, per input pixel; counted on the plain supernet, where every convolution stands by itself."""
    side = 8
    image = torch.zeros(1, CHANNELS[space.task], side, side)
    net = plain_supernet(Supernet(space)).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:  # not on meta: a supernet asks for its weights
        net(image)
    return counter.get_total_flops() // 2 // side**2


def restorations(
    sized: Shapes, names: Mapping[str, dict], image: tuple[int, int], threads: int, rounds: int
) -> TimingConfig:
    """One image by every engine."""
    height, width = image
    size = {"height": height, "width_px": width, "base_width": sized.base_width}
    arms = [Arm(label=name, subject="restoration", network=GENOTYPE, **how, **size) for name, how in names.items()]
    config = _timing(f"restoration of {height}x{width}", [*arms, _product(sized)], sized, rounds)
    return config.but(threads=threads)


def trainings(sized: Shapes) -> TimingConfig:
    """Training steps of the derived network: torch's own layers with both allocators, and ours."""
    batch, side = sized.training
    size = {"batch": batch, "height": side, "width_px": side, "base_width": sized.base_width}
    hows = [(name, ENGINES[name]) for name in ("plain, system's allocator", "plain", "ours")]
    arms = [Arm(label=name, subject="training step", network=GENOTYPE, **how, **size) for name, how in hows]
    return _timing("a training step", [*arms, _product(sized)], sized, sized.rounds)


def batches(sized: Shapes) -> TimingConfig:
    """A training step of ours, and the making of the batch that it learns from."""
    batch, side = sized.training
    size = {"batch": batch, "height": side, "width_px": side}
    step = Arm(label=STEP, subject="training step", network=GENOTYPE, base_width=sized.base_width, **size)
    return _timing("a batch", [step, Arm(label=BATCH, subject="training batch", **size)], sized, sized.rounds)


def compared(config: TimingConfig, records: list[dict], baseline: str | None = None) -> pd.DataFrame:
    """`benchmark.table` against `baseline` of the same phase, with columns way, phase ("" where none) and batch.

    baseline: a way; None: the first.
    """
    labels = [arm.label for arm in config.arms if arm.label != PEAK]
    baseline = baseline or labels[0].removesuffix(f", {_phase(labels[0])}")
    parts = []
    for phase in dict.fromkeys(_phase(label) for label in labels):
        whole = benchmark.table(records, f"{baseline}, {phase}" if phase else baseline)
        own = whole[whole["arm"].map(lambda label: label in labels and _phase(label) == phase)]  # noqa: B023
        ways = own["arm"].str.removesuffix(f", {phase}") if phase else own["arm"]
        parts.append(own.assign(way=ways, phase=phase))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(batch=table["arm"].map({arm.label: arm.batch for arm in config.arms}))


def step_costs(records: list[dict]) -> pd.DataFrame:
    """Return what a step on W and one on A cost together in every round of `spaces`, one row per round and arm.

    Columns: arm, round, gpu_hours, search_memory (the larger peak of both, MiB): named as the metrics they tell of.
    """
    rows = []
    for number, record in enumerate(records):
        for label, seconds in record["seconds_by_arm"].items():
            peak = record["peak_mib_by_arm"][label]
            arm = label.removesuffix(f", {_phase(label)}")
            rows.append({"arm": arm, "round": number, "gpu_hours": seconds / 3600, "search_memory": peak})
    by_arm = pd.DataFrame(rows).groupby(["arm", "round"], sort=False)
    return by_arm.agg({"gpu_hours": "sum", "search_memory": "max"}).reset_index()


def reached(config: TimingConfig, records: list[dict], multiply_adds: Mapping[str, float]) -> pd.DataFrame:
    """GFLOP/s of arms by their multiply-adds a call, and their share of the matrix product's: arm, GFLOP/s, of peak.

    The peak is that of the fastest matrix product, the rest medians; a product of side n has n^3 multiply-adds.
    """
    (side,) = (arm.height for arm in config.arms if arm.label == PEAK)
    seconds = pd.DataFrame([record["seconds_by_arm"] for record in records])
    peak = 2e-9 * side**3 / seconds[PEAK].min()
    rows = [{"arm": PEAK, "GFLOP/s": peak, "of peak": 1.0}]
    for arm, count in multiply_adds.items():
        speed = 2e-9 * count / seconds[arm].median()
        rows.append({"arm": arm, "GFLOP/s": speed, "of peak": speed / peak})
    return pd.DataFrame(rows)


def larger_batch(space: Space, batch: int, side: int) -> int:
    """The batch that fits with cell sharing where `batch` fits without it, by the memory foretold for both."""
    shared, alone = (foretold(space.but(sharing=sharing), batch, side)["W"] for sharing in (True, False))
    return max(batch, math.floor(batch * alone / shared))


def foretold(space: Space, batch: int, side: int, checkpointing: bool = False) -> dict[str, float]:
    """Peak MiB of a step on W and, as in a search both memories are one, of the phase with steps on A."""
    settings = {"space": space, "patch": max(side, 16), "batch": batch, "checkpointing": checkpointing}
    found = cost.search_memory_mib(SearchConfig(**settings))
    return {"W": found["warm-up"], "A": found["alpha phase"]}


@dataclass(frozen=True)
class Projection:
    """A whole search: how often it does what, and the seconds of it."""

    weight_steps: int
    architecture_steps: int
    validations: int  # passes over V
    steps_seconds: float
    validation_seconds: float

    @property
    def hours(self) -> float:
        return (self.steps_seconds + self.validation_seconds) / 3600


def projection(
    config: SearchConfig, images: int, patches: int, weight_step: float, architecture_step: float
) -> Projection:
    """The cost of a search by its schedule, from seconds of a step at its batch.

    images: to learn from. patches: of one image of V. A step on W does a forward pass and two gradients that cost as
    much each: scoring a batch of V is taken as a third of it.
    """
    held_out = max(1, round(config.validation_fraction * images))
    drawn = (images - held_out + 1) // 2 * config.crops_per_image
    per_epoch = math.ceil(drawn / config.batch)
    weight_steps = config.epochs * per_epoch
    architecture_steps = (config.epochs - config.warmup_epochs) * per_epoch
    validations = config.epochs - config.validate_from
    batches = validations * held_out * patches / config.batch
    return Projection(
        weight_steps,
        architecture_steps,
        validations,
        weight_steps * weight_step + architecture_steps * architecture_step,
        batches * weight_step / 3,
    )


def in_words(row: Mapping) -> str:
    """`3.1x [2.9, 3.3]`: how many times faster, with its interval; the baseline itself has none."""
    if row["low"] == row["high"] == 1:
        return "baseline"
    return f"{row['times faster']:.2g}x [{row['low']:.2g}, {row['high']:.2g}]"


def span(values: pd.Series) -> str:
    """`2.1 to 3.4`, or one number where both ends read alike."""
    low, high = (f"{value:.2g}" for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def _step(label: str, space: Space, sized: Shapes, how: Mapping, phase: str, batch: int) -> Arm:
    settings = {name: value for name, value in how.items() if name != "space"}
    size = {"batch": batch, "height": sized.side, "width_px": sized.side}
    return Arm(label=label, subject="search step", space=space, phase=PHASES[phase], **settings, **size)


def _all_of(name: str) -> Genotype:
    return Genotype(GENOTYPE.levels, tuple((((name, 0), ("skip", 1)),) * len(cell) for cell in GENOTYPE.cells))


def _changed(space: Space, way: str) -> Space:
    return space.but(**VARIANTS[way].get("space", {}))


def _product(sized: Shapes) -> Arm:
    return Arm(label=PEAK, subject="matrix product", height=sized.product)


def _timing(what: str, arms: Sequence[Arm], sized: Shapes, rounds: int | None) -> TimingConfig:
    return TimingConfig(what=what, arms=tuple(arms), threads=sized.threads, rounds=rounds or sized.rounds)


def _phase(label: str) -> str:
    return next((phase for phase in PHASES if label.endswith(f", {phase}")), "")
