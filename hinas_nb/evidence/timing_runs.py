"""Name what notebook `24_speed` times, in groups of arms that are compared, and tabulate what was measured.

`benchmark` measures and `cost` counts. An *arm* is one thing that is timed; a *way* is how a step or an image is
computed, the plain one among them. Steps of a search have two phases, W (on the weights) and A (on alpha and beta).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from typing import get_args

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from hinas_nb.experiment.config import Arm, Precision, SearchConfig, Space, TimingConfig
from hinas_nb.experiment.profile import Profile
from hinas_nb.experiment.runs import Run, grid
from hinas_nb.method.genotype import Genotype
from hinas_nb.method.network import CHANNELS
from hinas_nb.method.supercell import plain_supernet
from hinas_nb.method.supernet import Supernet
from hinas_nb.speed import cost
from hinas_nb.training import benchmark
from hinas_nb.training.hardware import has_compiler, in_bfloat16

PHASES = {"W": "weights", "A": "architecture"}
PRECISIONS = get_args(Precision)
PEAK = "matrix product"  # the arm that shows what the machine can do
_STEP, _BATCH = "a training step", "making its batch"  # arms of `batches`
#: Every node takes conv_3 from h_{l-1} and sep_3 from h_{l-2}; 257,769 parameters at base width 20.
GENOTYPE = Genotype((0, 1, 2), ((((("conv_3", 0), ("sep_3", 1)),) * 4),) * 3)
#: Ways to compute a step of a search: settings of an `Arm`, those of its space under `space`.
_STEP_WAYS: dict[str, dict] = {
    "plain": {"plain": True},
    "ours": {},
    "checkpoints": {"checkpointing": True},
    "no sharing": {"space": {"sharing": False}},
}
#: Ways to restore an image: settings of an `Arm`. The first is the baseline.
_IMAGE_WAYS: dict[str, dict] = {
    "plain, system's allocator": {"plain": True, "allocator": False},
    "plain": {"plain": True},
    "ours": {},
    "ours, compiled": {"engine": "compiled"},
    "ours, ONNX Runtime": {"engine": "onnx"},
}
#: Forward passes that a call's arithmetic is worth: gradients by inputs, and by weights too, cost one each.
_PASSES = {"weights": 3, "architecture": 2, "training step": 3, "restoration": 1}


@dataclass(frozen=True)
class Shapes:
    """Says what is timed, and how often. Sides in pixels; base_width None: as published."""

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

    def space(self, task: str = "denoise", **changes) -> Space:
        narrow = {} if self.base_width is None else {"base_width": self.base_width}
        return Space(**{"task": task, **narrow, **changes})

    def others(self) -> list["Shapes"]:
        """Return these shapes with other images on as many threads, and with the usual one on one thread."""
        usual = self.image, self.threads
        sizes = [*((image, self.threads) for image in self.other_images), (self.image, 1)]
        return [replace(self, image=image, threads=count) for image, count in sizes if (image, count) != usual]


_PAPER = Shapes(
    paper=True, base_width=None, side=64, batches=(2, 8), sr_batch=8,
    growth={"base_width": (5, 15), "nodes": (2, 3), "layers": (1, 2), "batch": (1, 4)},
    image=(481, 321), other_images=((128, 128), (256, 256)), training=(24, 64),
    product=2048, threads=2, rounds=6, few=3,
)  # fmt: skip
_TINY = Shapes(
    paper=False, base_width=4, side=16, batches=(2,), sr_batch=None, growth={"base_width": (2,), "batch": (1,)},
    image=(48, 32), other_images=(), training=(2, 24),
    product=512, threads=1, rounds=3, few=3,
)  # fmt: skip


def shapes(base_width: int, threads: int = 0, rounds: int = 0) -> Shapes:
    """Return the paper's shapes for budgets whose supernets are as wide as published, else tiny ones.

    threads, rounds: in place of those that belong to the shapes, unless 0.
    """
    found = _PAPER if base_width >= _PAPER.space().base_width else _TINY
    return replace(found, threads=threads or found.threads, rounds=rounds or found.rounds)


def image_ways(compiling: bool = True) -> tuple[dict[str, dict], dict[str, str]]:
    """Return those of `_IMAGE_WAYS` that can run here, and why the others cannot."""
    absent = {}
    if not compiling:
        absent["ours, compiled"] = "compiling takes longer than this budget has"
    elif not has_compiler():
        absent["ours, compiled"] = "no C++ compiler is here"
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        absent["ours, ONNX Runtime"] = f"{' '.join(missing)} not installed"
    return {name: how for name, how in _IMAGE_WAYS.items() if name not in absent}, absent


def step_ways(space: Space, batch: int, names: Sequence[str] = tuple(_STEP_WAYS)) -> dict[str, dict]:
    """Return, by way, the settings of an `Arm` that computes a step of this search space so."""
    changed = {name: _STEP_WAYS[name].get("space", {}) for name in names}
    return {name: _STEP_WAYS[name] | {"space": space.but(**changed[name]), "batch": batch} for name in names}


def steps(
    what: str,
    sized: Shapes,
    ways: Mapping[str, Mapping] | None = None,
    phases: Sequence[str] = tuple(PHASES),
    rounds: int | None = None,
    peak: bool = True,
) -> TimingConfig:
    """Return the timing of search steps, as `way, phase`.

    ways: by label the settings of an `Arm`, see `step_ways`; None: all ways at the first batch.
    peak: whether a matrix product is timed beside them.
    """
    ways = ways or step_ways(sized.space(), sized.batches[0])
    arms = [_step(f"{label}, {phase}", sized, phase, how) for phase in phases for label, how in ways.items()]
    return _timing(what, arms, sized, rounds, peak)


def step_parts(sized: Shapes) -> TimingConfig:
    """Return the timing that tells where a step's time goes.

    It is of the plain way (which takes long) and ours at the first batch, and of ours at the last.
    """
    first, last = sized.batches[0], sized.batches[-1]
    timed = [*([("plain", first)] if sized.paper else []), ("ours", first), ("ours", last)]
    ways = {f"{way}, batch {batch}": step_ways(sized.space(), batch)[way] for way, batch in timed}
    return steps("parts of a step", sized, ways, rounds=sized.few).but(parts=True)


def sharing(sized: Shapes, batch: int) -> TimingConfig:
    """Return the timing of steps without and with cell sharing, and with it at the batch that the memory allows."""
    space = sized.space()
    larger = larger_batch(space, batch, sized.side)
    ways = step_ways(space, batch, ("no sharing", "ours"))
    if larger > batch:
        ways[f"ours, batch {larger}"] = ways["ours"] | {"batch": larger}
    return steps(f"cell sharing at batch {batch}", sized, ways, rounds=sized.few)


def growth(sized: Shapes) -> TimingConfig:
    """Return the timing of steps on W with one setting changed at a time, as `setting value`; the first is `base`."""
    base = {"space": sized.space(), "batch": sized.batches[0]}
    ways = {"base": base}
    for setting, values in sized.growth.items():
        for value in values:
            changed = {"batch": value} if setting == "batch" else {"space": sized.space(**{setting: value})}
            ways[f"{setting} {value}"] = base | changed
    return _timing("growth", [_step(label, sized, "W", how) for label, how in ways.items()], sized, sized.few, False)


def growth_points(config: TimingConfig, records: list[dict]) -> pd.DataFrame:
    """Return what `growth` measured: setting, x, seconds and peak (MiB), the base point on every curve."""
    measured = benchmark.table(records).set_index("arm")[["seconds", "peak (MiB)"]]
    base, *others = config.arms
    rows = []
    for setting in dict.fromkeys(arm.label.split()[0] for arm in others):
        for arm in (base, *(arm for arm in others if arm.label.startswith(f"{setting} "))):
            x = arm.batch if setting == "batch" else getattr(arm.space, setting)
            rows.append({"setting": setting, "x": x} | measured.loc[arm.label].to_dict())
    return pd.DataFrame(rows).sort_values(["setting", "x"], ignore_index=True)


def restorations(sized: Shapes, ways: Mapping[str, Mapping], rounds: int | None = None) -> TimingConfig:
    """Return the timing of one image, restored in each of the ways."""
    height, width = sized.image
    arms = [_derived(name, "restoration", sized, **how) for name, how in ways.items()]
    return _timing(f"restoration of {height}x{width}", arms, sized, rounds)


def trainings(sized: Shapes) -> TimingConfig:
    """Return the timing of training steps: torch's own layers with both allocators, and ours."""
    ways = ("plain, system's allocator", "plain", "ours")
    arms = [_derived(way, "training step", sized, **_IMAGE_WAYS[way]) for way in ways]
    return _timing("a training step", arms, sized)


def batches(sized: Shapes) -> TimingConfig:
    """Return the timing of a training step of ours and of the making of the batch that it learns from."""
    making = _derived(_BATCH, "training batch", sized, network=None, base_width=None)
    return _timing("a batch", [_derived(_STEP, "training step", sized), making], sized, peak=False)


def precisions(sized: Shapes) -> TimingConfig:
    """Return the timing of steps of a search (`float32, W`) and of a training (`float32`), by precision."""
    ways = {name: {"space": sized.space(), "batch": sized.batches[0], "precision": name} for name in PRECISIONS}
    trained = [_derived(name, "training step", sized, precision=name) for name in PRECISIONS]
    timed = steps("steps by precision", sized, ways, peak=False)
    return timed.but(arms=(*timed.arms, *trained))


def trained_in(budget: Profile) -> list[Run]:
    """Return short trainings in every precision with every seed, alike in all else; labels precision and seed."""
    steps = budget.denoise.best.rounds[1] // 2
    short = budget.train("denoise", GENOTYPE, **(budget.denoise.best.train | {"steps": steps, "validate_every": steps}))
    return grid(short, precision=PRECISIONS, seed=budget.seeds)


def operations(names: Sequence[str], sized: Shapes) -> TimingConfig:
    """Return the timing of networks alike but for the operation that every node takes from h_{l-1}.

    Its arms are `name, subject`: an image and a training step of each.
    """
    arms = [
        _derived(f"{name}, {subject}", subject, sized, network=_all_of(name))
        for subject in ("restoration", "training step")
        for name in names
    ]
    return _timing(f"operations {' '.join(names)}", arms, sized, sized.few, False)


def times_faster(config: TimingConfig, records: list[dict], baseline: str | None = None) -> pd.DataFrame:
    """Return `benchmark.table` against `baseline` of the same phase, with columns way, phase ("": none) and batch.

    baseline: a way; None: the first.
    """
    labels = [arm.label for arm in config.arms if arm.label != PEAK]
    baseline = baseline or _way_and_phase(labels[0])[0]
    parts = []
    for phase in dict.fromkeys(_way_and_phase(label)[1] for label in labels):
        whole = benchmark.table(records, f"{baseline}, {phase}" if phase else baseline)
        own = {label: way for label in labels for way, its in [_way_and_phase(label)] if its == phase}
        part = whole[whole["arm"].isin(own)]
        parts.append(part.assign(way=part["arm"].map(own), phase=phase))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(batch=table["arm"].map({arm.label: arm.batch for arm in config.arms}))


def step_costs(records: list[dict]) -> pd.DataFrame:
    """Return what a step on W and one on A cost together in every round of a timing, one row per round and way.

    Columns: arm, round, gpu_hours, search_memory (the larger peak of both, MiB): named as the metrics they tell of.
    """
    rows = [
        (_way_and_phase(label)[0], number, seconds / 3600, record["peak_mib_by_arm"][label])
        for number, record in enumerate(records)
        for label, seconds in record["seconds_by_arm"].items()
    ]
    table = pd.DataFrame(rows, columns=["arm", "round", "gpu_hours", "search_memory"])
    by_arm = table.groupby(["arm", "round"], sort=False, as_index=False)
    return by_arm.agg({"gpu_hours": "sum", "search_memory": "max"})


def share_of_peak(config: TimingConfig, records: list[dict]) -> pd.DataFrame:
    """Return the GFLOP/s at which arms do their `multiply_adds`, and the share of the matrix product's.

    Columns: arm, GFLOP/s, of peak. The peak is that of the fastest matrix product, the rest medians.
    """
    seconds = pd.DataFrame([record["seconds_by_arm"] for record in records])
    spent = seconds.median().where(seconds.columns != PEAK, seconds.min())
    table = pd.DataFrame({"GFLOP/s": {arm.label: 2e-9 * multiply_adds(arm) / spent[arm.label] for arm in config.arms}})
    return table.assign(**{"of peak": table["GFLOP/s"] / table.loc[PEAK, "GFLOP/s"]}).rename_axis("arm").reset_index()


def multiply_adds(arm: Arm) -> int:
    """Return what a call of an arm needs: of its convolutions, with only the gradients it needs, without the loss."""
    if arm.subject == "matrix product":
        return arm.height**3
    passes = _PASSES[arm.phase or arm.subject] * arm.batch
    if arm.space:
        return passes * arm.height * arm.width_px * supernet_multiply_adds(arm.space)
    net = cost.network(arm.network, arm.task, arm.base_width, arm.scale, arm.fold)
    return passes * cost.multiply_adds(net, net.channels, arm.height, arm.width_px)


@cache
def supernet_multiply_adds(space: Space) -> int:
    """Return the multiply-adds of a forward pass per input pixel; plain, where every convolution stands by itself."""
    side = 8
    image = torch.zeros(1, CHANNELS[space.task], side, side)
    net = plain_supernet(Supernet(space)).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:  # not on meta: a supernet asks for its weights
        net(image)
    return counter.get_total_flops() // 2 // side**2


def larger_batch(space: Space, batch: int, side: int) -> int:
    """Return the batch that fits with cell sharing where `batch` fits without it, by the memory foretold for both."""
    shared, alone = (foretold_memory(space.but(sharing=sharing), batch, side)["weights"] for sharing in (True, False))
    return max(batch, math.floor(batch * alone / shared))


def foretold_memory(
    space: Space, batch: int, side: int, checkpointing: bool = False, device: str = "cpu"
) -> dict[str, float]:
    """Return the peak MiB of a step by phase; in a search both share a memory, so A's includes steps on W."""
    settings = {"space": space, "patch": max(side, 16), "batch": batch, "checkpointing": checkpointing}
    found = cost.search_memory_mib(SearchConfig(**settings), in_bfloat16(torch.device(device).type, None))
    return {"weights": found["warm-up"], "architecture": found["alpha phase"]}


def projection(
    config: SearchConfig, images: int, patches: int, weight_step: float, architecture_step: float
) -> dict[str, float]:
    """Return how often a whole search does what by its schedule, and the hours of it.

    images: to learn from. patches: of one image of V. weight_step, architecture_step: seconds at the config's batch.
    A step on W does a forward pass and two gradients that cost as much each: scoring a batch of V is taken as a third.
    """
    held_out = max(1, round(config.validation_fraction * images))
    drawn = (images - held_out + 1) // 2 * config.crops_per_image
    per_epoch = math.ceil(drawn / config.batch)
    weight_steps, architecture_steps = config.epochs * per_epoch, (config.epochs - config.warmup_epochs) * per_epoch
    scored = config.epochs - config.validate_from
    scoring = scored * held_out * patches / config.batch * weight_step / 3
    seconds = weight_steps * weight_step + architecture_steps * architecture_step + scoring
    counts = {"steps on W": weight_steps, "steps on A": architecture_steps, "times V is scored": scored}
    return counts | {"scoring V (h)": scoring / 3600, "hours": seconds / 3600}


def ratio_in_words(row: Mapping) -> str:
    """Return `3.10x [2.90, 3.30]`: how many times faster, with its interval; the baseline itself has none."""
    if row["low"] == row["high"] == 1:
        return "baseline"
    return f"{row['times faster']:.2f}x [{row['low']:.2f}, {row['high']:.2f}]"


def _step(label: str, sized: Shapes, phase: str, how: Mapping) -> Arm:
    size = {"height": sized.side, "width_px": sized.side}
    return Arm(label=label, subject="search step", phase=PHASES[phase], **size, **how)


def _derived(label: str, subject: str, sized: Shapes, **how) -> Arm:
    """Return the derived network at one image, or at one batch of training."""
    batch, side = sized.training
    height, width = sized.image if subject == "restoration" else (side, side)
    size = {"batch": 1 if subject == "restoration" else batch, "height": height, "width_px": width}
    settings = {"network": GENOTYPE, "base_width": sized.base_width} | how
    return Arm(label=label, subject=subject, **settings, **size)


def _all_of(name: str) -> Genotype:
    return Genotype(GENOTYPE.levels, tuple((((name, 0), ("skip", 1)),) * len(cell) for cell in GENOTYPE.cells))


def _timing(
    what: str, arms: Sequence[Arm], sized: Shapes, rounds: int | None = None, peak: bool = True
) -> TimingConfig:
    product = [Arm(label=PEAK, subject="matrix product", height=sized.product)] if peak else []
    return TimingConfig(what=what, arms=(*arms, *product), threads=sized.threads, rounds=rounds or sized.rounds)


def _way_and_phase(label: str) -> tuple[str, str]:
    """`ours, W` is the way `ours` in the phase W; what has no phase is a way."""
    way, _, phase = label.rpartition(", ")
    return (way, phase) if phase in PHASES else (label, "")
