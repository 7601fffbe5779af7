"""HiNAS among the others (tables 10-12): who is trained for as long, who is only timed, and what each costs.

Notebooks `20_denoising_comparison`, `21_super_resolution_comparison`, `22_trade_off` and `23_protocol_audit` take
their networks from here, so that they share their Runs.
"""

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

import pandas as pd
import torch
from torch import nn

from hinas_nb import comparators
from hinas_nb.comparators import TABLE
from hinas_nb.evidence import ablation, effects, timing_runs
from hinas_nb.experiment.config import Arm, Comparator, EvaluateConfig, Task, TimingConfig, TrainConfig
from hinas_nb.experiment.profile import OURS, Profile
from hinas_nb.experiment.runs import Run
from hinas_nb.method.genotype import Genotype
from hinas_nb.running.store import Store
from hinas_nb.scoring import protocol
from hinas_nb.scoring.units import METRICS
from hinas_nb.speed import cost
from hinas_nb.training import benchmark

HINAS = "HiNAS"
#: The degraded image itself, as the tables call it.
INPUT = {"denoise": "Noisy", "sr": "bicubic"}
MINUTES, FIFTH = "wnnm", 5  # takes minutes an image, and is scored on each image of so many
#: FSRCNN as table 12 has it, taught by another comparator; its name among the paces, whose steps hold that one too.
DISTILLED, TAUGHT, TEACHER = "FSRCNN(KD)", "fsrcnn-kd", "imdn"
#: The network of one cell throughout, whose size is in the published range: what stands for the published speed.
AS_PUBLISHED = "HiNAS of published size"
_OURS = {HINAS: "", AS_PUBLISHED: "conv_3 and sep_3 in all layers: the size, not the architecture, is the paper's"}
#: Rows of tables 10-12 that can be built here, by name of `comparators.TABLE`. EDSR and VDSR have no published time.
ROWS = {
    "denoise": {
        "bm3d": "BM3D", "wnnm": "WNNM", "red30": "RED", "memnet": "MemNet", "nlrn": "NLRN", "ecae": "E-CAE",
        "dbsn": "DBSN", "durnp": "DuRN-P", "n3net": "N3Net",
    },
    "sr": {
        "edsr": "EDSR", "rdn": "RDN", "rcan": "RCAN", "san": "SAN", "vdsr": "VDSR", "lapsrn": "LapSRN",
        "memnet": "MemNet", "idn": "IDN", "imdn": "IMDN", "srmd": "SRMD", "dbpn": "DBPN", "rfanet": "RFANet",
        "spsr": "SPSR", "falsr_b": "FALSR-B",
    },
}  # fmt: skip
#: Timed on a part of the image: side of a square in its pixels, where a whole image takes minutes. For NLRN, N3Net and
#: SAN, which look far around each pixel, seconds by pixels are too few: at the edges of a part less is in sight.
SLOW = {"wnnm": 64, "nlrn": 64, "n3net": 96, "dbsn": 128, "red30": 128, "edsr": 96, "rdn": 96, "rcan": 96, "san": 96,
        "rfanet": 96, "dbpn": 96, "spsr": 96}  # fmt: skip


def title(comparator: Comparator) -> str:
    """`DnCNN`, or `DnCNN-35` where it is narrowed to 35 channels."""
    name = TABLE[comparator.name].title
    return name if comparator.width is None else f"{name}-{comparator.width}"


def trainings(budget: Profile, task: Task, **level) -> dict[str, TrainConfig]:
    """Return the trainings that are compared, by title: HiNAS, and for as long all others whose pace the budget knows.

    level: sigma or scale. All have the headline's budget. Raises ConfigError.
    """
    pace = getattr(budget, task).pace
    trainings = {HINAS: budget.train(task, budget.search(task, seed=0), headline=True, **level)}
    for one in _paced(budget, task):
        trainings[title(one)] = budget.train_as_long(task, one, headline=True, **level)
    if {TAUGHT, TEACHER} <= pace.keys():
        dearer = pace | {"fsrcnn": pace[TAUGHT]}
        alone = budget.train_as_long(task, Comparator(name="fsrcnn"), True, dearer, **level)
        trainings[DISTILLED] = alone.but(teacher=trainings[TABLE[TEACHER].title])
    return trainings


def _paced(budget: Profile, task: Task) -> list[Comparator]:
    """Return the comparators whose pace the budget knows, each trained without a teacher."""
    return [parsed(label) for label in getattr(budget, task).pace if label not in (OURS, TAUGHT)]


def parsed(label: str) -> Comparator:
    """Return the inverse of `Comparator.label`."""
    name, _, width = label.partition("-")
    return Comparator(name=name, width=int(width) if width else None)


def spent(configs: Mapping[str, TrainConfig], store: Store) -> pd.DataFrame:
    """Return what trainings of equal time took: arm, steps, seconds (of the Run), threads, over (HiNAS's seconds)."""
    found = []
    for arm, config in configs.items():
        run = store.folder(config).note()
        found.append({"arm": arm, "steps": config.steps, "seconds": run.seconds, "threads": run.threads})
    table = pd.DataFrame(found)
    return table.assign(over=table["seconds"] / table.loc[table["arm"] == HINAS, "seconds"].item())


def settings(trainings: Mapping[float, Mapping[str, TrainConfig]], task: Task) -> pd.DataFrame:
    """Return the settings of the trainings of all levels, a column each; `none` where one is off."""
    columns = {}
    for level, configs in trainings.items():
        for name, config in configs.items():
            said = {key: str(value) for key, value in config.identity().items() if key != "genotype"}
            teacher = {"teacher": config.teacher.genotype.label} if config.teacher else {}
            columns[f"{name}, {ablation.level(task, level)}"] = said | teacher
    return pd.DataFrame(columns).fillna("none")


def comparable(scores: pd.DataFrame, trainings: Mapping[float, Mapping[str, TrainConfig]]) -> bool:
    """Return whether all are scored on the same images, and one search serves all levels."""
    images = scores.groupby([*ablation.GROUP, "arm"])["image"].agg(frozenset)
    same = (images.groupby(level=ablation.GROUP).nunique() == 1).all()
    return bool(same) and len({configs[HINAS].genotype for configs in trainings.values()}) == 1


def standings(scores: pd.DataFrame, trainings: Mapping[float, Mapping[str, TrainConfig]], store: Store) -> pd.DataFrame:
    """Return `after_equal_time` of every data set and level; `data`, `degradation` and `images` say of which."""
    found = []
    for (task, name, level), own in scores.groupby(ablation.GROUP, sort=False):
        table = after_equal_time(own, spent(trainings[level], store))
        where = f"{name}, {ablation.level(task, level)}"
        found.append(table.assign(data=name, degradation=level, images=where))
    return pd.concat(found)


def with_anchors(scores: pd.DataFrame, anchored: pd.DataFrame) -> pd.DataFrame:
    """Return the scores and, once more as a data set of their own, all those on the images that the anchors scored.

    anchored: the scores of `anchors`.
    """
    if anchored.empty:
        return scores
    of_images = scores.merge(anchored[["degradation", "image"]].drop_duplicates())
    part = pd.concat([of_images, anchored[~anchored["arm"].isin(of_images["arm"])]])
    return pd.concat([scores, part.assign(data="fifth-of-" + part["data"])])


def after_equal_time(scores: pd.DataFrame, taken: pd.DataFrame) -> pd.DataFrame:
    """Return what `figures.equal_time_plot` takes: each trained network and filter against HiNAS.

    scores: of one data set at one level, with the labels of `labelled`. taken: `spent` of the trainings there.
    """
    scores = scores[~scores["arm"].isin(INPUT.values())]
    means = scores.groupby("arm", sort=False)[ablation.SCORES].mean()
    others = [(arm, HINAS) for arm in means.index if arm != HINAS]
    changes = effects.of_scores(scores, others).set_index(["treatment", "metric"])
    table = taken.set_index("arm").reindex(means.index)
    for metric in ablation.SCORES:
        own = changes[changes.index.get_level_values("metric") == metric].droplevel("metric").reindex(means.index)
        table[metric] = own["difference"].fillna(0.0)
        table[f"{metric}_low"], table[f"{metric}_high"] = own["images_low"], own["images_high"]
        table[f"{metric}_mean"] = means[metric].map(f"{{:.{METRICS[metric].digits}f}}".format)
    return table.reset_index()


def labelled(scored: Mapping[str, EvaluateConfig]) -> list[Run]:
    """Evaluations by title as Runs with the labels of `ablation`; seed 0 is that of their search and training."""
    runs = []
    for name, config in scored.items():
        rule = config.protocol
        where = {"task": rule.task, "data": config.data, "degradation": rule.sigma or rule.scale}
        runs.append(Run(config, where | {"arm": name, "seed": 0}))
    return runs


def filters() -> dict[str, str]:
    """Return denoisers without training that can run here in seconds, by title: what a config's `model` takes."""
    found = {TABLE[name].title: name for name in comparators.TRAINING_FREE if name != MINUTES}
    return {shown: name for shown, name in found.items() if name != "bm3d" or find_spec("bm3d")}


def anchors(budget: Profile, sigma: float) -> dict[str, EvaluateConfig]:
    """Return the scores of WNNM on every fifth test image, and those of BM3D where they are there or can be made.

    They move with the images and the protocol alone. Budgets of tiny images have none: WNNM takes minutes an image.
    """
    if _tiny(budget):
        return {}
    rule = protocol.get("denoise-standard", sigma=sigma)
    found = {TABLE[name].title: budget.evaluate(name, protocol=rule, every=FIFTH) for name in (MINUTES, "bm3d")}
    store = Store.of(budget)
    return {shown: one for shown, one in found.items()
            if one.model != "bm3d" or find_spec("bm3d") or store.folder(one).done}  # fmt: skip


def _tiny(budget: Profile) -> bool:
    return not timing_runs.shapes(budget.search("denoise").space.base_width).paper


def compared(budget: Profile, task: Task, scale: int | None = None) -> dict[str, Comparator]:
    """Return what is timed and counted beside HiNAS, by title: rows of the tables, the anchors, the trained ones.

    scale: leaves those out that are not published for it; None: all of the task. WNNM is left out of tiny budgets.
    """
    absent = [*([] if find_spec("bm3d") else ["bm3d"]), *([MINUTES] if _tiny(budget) else [])]
    known = {name: entry for name, entry in TABLE.items() if name not in absent}
    names = [name for name, entry in known.items() if task in entry.tasks and scale in (None, *entry.scales)]
    found = {title(one): one for one in [*(Comparator(name=name) for name in names), *_paced(budget, task)]}
    return found | ({DISTILLED: Comparator(name="fsrcnn")} if task == "sr" else {})


def restorations(budget: Profile, task: Task, scale: int | None = None) -> TimingConfig:
    """Return the timing of an image by everyone, in turns; one of `SLOW` restores a part of it, see `measured`.

    An sr image is `scale` times smaller, so that all results have the size that denoisers are timed at.
    """
    search = budget.search(task, seed=0)
    sized = timing_runs.shapes(budget.search("denoise").space.base_width)
    height, width = (side // (scale or 1) for side in sized.image)
    own = budget.train(task, search, **({"scale": scale} if scale else {})).base_width
    where = {"subject": "restoration", "task": task, "scale": scale, "base_width": own}
    whole = {"height": height, "width_px": width}
    arms = [Arm(label=HINAS, network=search, **where, **whole)]
    arms.append(Arm(label=AS_PUBLISHED, network=as_published(task), **(where | {"base_width": None}), **whole))
    for name, one in compared(budget, task, scale).items():
        side = SLOW.get(one.name, math.inf) // (scale or 1)
        part = {"height": int(min(height, side)), "width_px": int(min(width, side))}
        arms.append(Arm(label=name, network=one, **where, **part))
    what = f"{task}{f' x{scale}' if scale else ''} networks, {height}x{width}"
    return TimingConfig(what=what, arms=tuple(arms), threads=sized.threads, rounds=sized.few)


def as_published(task: Task) -> Genotype:
    """Return conv_3 and sep_3 in all layers: 257,769 (denoise), 239,140 (x2) parameters; table 10: 0.22-0.34 M."""
    return timing_runs.GENOTYPE if task == "denoise" else Genotype((0, 1), (timing_runs.GENOTYPE.cells[0][:3],) * 2)


def measured(config: TimingConfig, records: list[dict]) -> pd.DataFrame:
    """Return what `restorations` found, for the image that HiNAS restores; of a part of it, by its pixels.

    Columns: network, scale (NaN for denoising), seconds, seconds low and high (quartiles of the rounds), times HiNAS
    (how many times as long it takes), times low and high (the range of few rounds; 95 % for the median from six on),
    part (whether one was timed), peak (MiB, of what was timed).
    """
    table = benchmark.table(records, HINAS).set_index("arm")
    pixels = pd.Series({arm.label: arm.height * arm.width_px for arm in config.arms})
    factor = pixels[HINAS] / pixels
    found = pd.DataFrame({"scale": config.arms[0].scale or math.nan, "seconds": table["seconds"] * factor})
    found["seconds low"], found["seconds high"] = table["seconds, 25 %"] * factor, table["seconds, 75 %"] * factor
    found["times HiNAS"] = factor / table["times faster"]
    found["times low"], found["times high"] = factor / table["high"], factor / table["low"]
    found["part"], found["peak (MiB)"] = factor > 1, table["peak (MiB)"]
    return found.loc[[arm.label for arm in config.arms]].rename_axis("network").reset_index()


def time_effects(config: TimingConfig, records: list[dict]) -> pd.DataFrame:
    """Return the effects of `restorations`: the time that HiNAS takes, as a change in percent of each other network's.

    Rounds are the repeats. What was timed on a part of the image counts by its pixels, and the note says so.
    """
    first = config.arms[0]
    pixels = {arm.label: arm.height * arm.width_px for arm in config.arms}
    by_arm = pd.DataFrame([record["seconds_by_arm"] for record in records]) / pd.Series(pixels)
    values = by_arm.rename_axis("round").reset_index().melt("round", var_name="arm", value_name="time_s")
    values = values.assign(task=first.task)
    values = values.assign(degradation=first.scale) if first.scale else values
    note = f"timed in turns on {first.height}x{first.width_px} pixels, {len(records)} rounds"
    others = [(HINAS, name) for name in pixels if name != HINAS]
    found = effects.of_changes(values, "time_s", others, "round", note)
    parts = found["control"].map(pixels) < pixels[HINAS]
    return found.assign(note=found["note"] + parts.map({True: "; the control on a part, by its pixels", False: ""}))


def size_effects(budget: Profile, task: Task, scale: int | None, found: Sequence[Genotype]) -> pd.DataFrame:
    """Return the effects on parameters: those of HiNAS as a change in percent of each other network's.

    found: of each seed of the search; their networks are counted at the published width, as the others are.
    """
    rows = []
    for seed, genotype in enumerate(found):
        others = networks(budget, task, scale, genotype)
        with torch.device("meta"):
            others[HINAS] = cost.network(genotype, task, scale=scale)
        rows += [(name, seed, network.parameters_live / 1e6) for name, network in others.items()]
    values = pd.DataFrame(rows, columns=["arm", "seed", "parameters_m"]).assign(task=task)
    values = values.assign(degradation=scale) if scale else values
    pairs = [(HINAS, name) for name in others if name != HINAS]
    return effects.of_changes(values, "parameters_m", pairs, note="counted at the published width")


def networks(budget: Profile, task: Task, scale: int | None, found: Genotype) -> dict[str, nn.Module]:
    """Return all networks that are timed, by title, without weights (on the meta device): to be counted.

    found: what the search found; its network has the width that this budget trains.
    """
    width = budget.train(task, found, **({"scale": scale} if scale else {})).base_width
    with torch.device("meta"):
        built = {HINAS: cost.network(found, task, width, scale)}
        built[AS_PUBLISHED] = cost.network(as_published(task), task, scale=scale)
        for name, one in compared(budget, task, scale).items():
            if one.name in comparators.TRAINABLE:
                built[name] = cost.network(one, task, scale=scale)
    return built


def sizes(budget: Profile, task: Task, scale: int | None, found: Genotype) -> pd.DataFrame:
    """Return parameters and multiply-adds of `networks`: live, and of ours as the release counts.

    Columns: network, scale (NaN for denoising), parameters, released (NaN but of ours), multiply-adds (of the image
    that `restorations` times), own paper (parameters as its authors count them; NaN: not known), reason (why they
    differ), file (where the network stands in the package).
    """
    whole, rows = restorations(budget, task, scale).arms[0], []
    for name, network in networks(budget, task, scale, found).items():
        with torch.device("meta"):
            ready = network.to("meta").folded()  # SPAN has more layers while it is trained
        row = {"network": name, "scale": scale or math.nan, "parameters": network.parameters_live}
        row["released"] = getattr(network, "parameters_released", math.nan)
        row["multiply-adds"] = cost.multiply_adds(ready, network.channels, whole.height, whole.width_px)
        if name in _OURS:
            about = f"found at the {budget.name} budget: levels {found.levels}, base width {network.base_width}"
            row |= {"own paper": math.nan, "reason": _OURS[name] or about, "file": "method/network.py"}
        else:
            entry = TABLE[network.name]
            theirs = math.nan if network.width else entry.published.get(scale, math.nan)  # not of a narrowed one
            row |= {"own paper": theirs, "reason": entry.reason, "file": entry.file}
        rows.append(row)
    return pd.DataFrame(rows)
