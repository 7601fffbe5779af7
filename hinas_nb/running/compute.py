"""One Run is computed: its producer is resolved, its data loaded and split, its loop run into its folder.

    for record in compute(config, store): ...

yields what the loop yields (epochs, intervals, scores), as it happens.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas
import torch

from hinas_nb import comparators, data, files
from hinas_nb.experiment import config as configs
from hinas_nb.experiment.config import Comparator, EvaluateConfig, SearchConfig, Selected, TimingConfig, TrainConfig
from hinas_nb.experiment.runs import RunConfig, all_data, data_key, describe, own_data, producer_of
from hinas_nb.files import error_line
from hinas_nb.method import genotype as genotypes
from hinas_nb.method.genotype import Genotype
from hinas_nb.method.network import DerivedNetwork
from hinas_nb.provenance import resolve_device
from hinas_nb.running.store import RunFolder, Store
from hinas_nb.scoring import evaluate
from hinas_nb.speed import cost, latency
from hinas_nb.training import benchmark, search, train
from hinas_nb.training.hardware import in_bfloat16, multiplies_bfloat16
from hinas_nb.training.loops import score

#: Columns of scores.csv. PSNR in dB, sides in pixels; seconds is how long the restoration took.
SCORE_COLUMNS = ("image", "psnr", "ssim", "height", "width", "seconds")
COSTS = ("seconds", "peak_memory_mib")  # of a record; everything else is equal from run to run


def compute(
    config: RunConfig,
    store: Store,
    device: str = "auto",
    threads: int = 1,
    note: Callable[[str], None] = lambda line: None,
) -> Iterator[Any]:
    """Compute a Run in this process, from its last checkpoint if there is one; nothing if it is done.

    The producer must be done. If another process computes this Run, wait for it. A Run keeps the device and
    threads it was first started with; `note` is told when others were asked for.
    Raises ValueError, OSError; what went wrong also stands in the Run's folder.
    """
    folder = store.folder(config)
    if folder.done:
        return
    with folder.lock():
        if folder.finished():  # refuses a damaged one
            return
        try:
            device = resolve_device(device)
            start = folder.begin(device, threads)
            if (start.device, start.threads) != (device, threads):
                note(f"{describe(config)} goes on as it was started, on {start.device} with {start.threads} "
                     f"threads, not on {device} with {threads}: other bits would result")  # fmt: skip
            torch.set_num_threads(start.threads)
            for warning in _warnings(config, start.device):
                note(f"{describe(config)}: {warning}")
            yield from LOOPS[type(config)](config, store, folder, resolve_device(start.device))
        except Exception as error:
            folder.fail(error_line(error))
            raise


def _warnings(config: RunConfig, device: str) -> Iterator[str]:
    """Yield what a user should know before the Run begins: memory that may not suffice, a precision that is not had."""
    if isinstance(config, SearchConfig):
        halved = in_bfloat16(torch.device(device).type, config.precision)
        if memory := cost.memory_warning(config, device, halved):
            yield memory
    if getattr(config, "precision", None) == "bfloat16" and not multiplies_bfloat16(device):
        yield "precision bfloat16 needs a processor that multiplies such numbers itself; this one computes in float32"


def genotype_of(config: TrainConfig, store: Store) -> Genotype:
    """Return the genotype a training starts from; that of a search is read from its finished Run.

    Raises ValueError.
    """
    if isinstance(config.genotype, Genotype):
        return config.genotype
    if isinstance(config.genotype, Selected):
        return _selected(config.genotype, store)
    if isinstance(config.genotype, configs.Drawn):
        return _drawn(genotype_of(config.but(genotype=config.genotype.found), store), config)
    epoch = (config.genotype.epoch or 0) if isinstance(config.genotype, configs.Epoch) else None
    found = _found(_producer(config, store), config.task, epoch)
    return _perturbed(found, config) if isinstance(config.genotype, configs.Perturbed) else found


def _selected(choice: Selected, store: Store) -> Genotype:
    """Return the genotype of the training in the asked place, by the best score on V that each came to."""
    folders = [_done(training, store) for training in choice.trainings]
    scores = [max(score(r["validation_psnr"], r["validation_ssim"]) for r in folder.records()) for folder in folders]
    order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
    return genotype_of(choice.trainings[order[choice.place - 1]], store)


def _found(folder: RunFolder, task: str, epoch: int | None = None) -> Genotype:
    """Return what a search found, or would have decoded after an epoch (0: the last)."""
    name = "genotype.json" if epoch is None else "records.jsonl"
    try:
        if epoch is None:
            return Genotype.from_json(folder.read_text(name), task)
        return Genotype.from_json(folder.records()[epoch - 1]["genotype"])
    except files.FileContentError:
        raise
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"{folder.path / name}: {error}; delete {folder.path} to search anew") from None


def _drawn(found: Genotype, config: TrainConfig) -> Genotype:
    """Return the draw whose network takes as many multiply-adds as that of the found genotype, or nearly."""
    drawn, side = config.genotype, 64  # pixels: their number does not matter
    generator = data.stream(drawn.seed, "drawn")
    random = [genotypes.random_in(drawn.space, generator) for _ in range(drawn.draws)]
    wanted = cost.closed_form(unmade(found, config), side, side)
    return min(random, key=lambda one: abs(cost.closed_form(unmade(one, config), side, side) - wanted))


def _perturbed(found: Genotype, config: TrainConfig) -> Genotype:
    change = config.genotype
    generator = data.stream(change.seed, "perturb", change.kind)
    if change.matched is None:
        return genotypes.perturb(found, change.kind, change.changes, generator)
    size = lambda one: unmade(one, config).parameters_live  # noqa: E731
    return genotypes.nearest_perturbation(found, change.kind, change.changes, generator, change.matched, size)


def unmade(one: Genotype, config: TrainConfig) -> DerivedNetwork:
    """Build the network that a training would make of a genotype, without memory for its weights."""
    how = {"scale": config.scale, "residual": config.residual, "fold": config.fold}
    with torch.device("meta"):
        return DerivedNetwork(one, config.task, config.base_width, config.width_factors, **how)


def _search(config: SearchConfig, store: Store, folder: RunFolder, device: str) -> Iterator[Any]:
    images, validation = _images(config, store, folder)
    # A named V leaves all images to W and A.
    weights, architecture, drawn = data.divide(images, 0 if validation else config.validation_fraction, config.seed)
    table = latency.table(_producer(config, store).records()) if config.latency else None
    yield from search.search(config, (weights, architecture, validation or drawn), folder, device, table)
    folder.finish(_best(folder))


def _train(config: TrainConfig, store: Store, folder: RunFolder, device: str) -> Iterator[Any]:
    genotype = None if isinstance(config.genotype, Comparator) else genotype_of(config, store)
    images, validation = _images(config, store, folder)
    if validation is None:
        *_, validation = data.divide(images, config.validation_fraction, config.seed)
        kept = [index for index, name in enumerate(images.names) if name not in validation.names]
        images = images.subset(kept)
    teacher = _network(config.teacher, store, device) if config.teacher else None
    yield from train.train(config, genotype, images, validation, folder, device, teacher)
    folder.finish(_best(folder))


def _evaluate(config: EvaluateConfig, store: Store, folder: RunFolder, device: str) -> Iterator[Any]:
    (source,) = own_data(config)
    images = _load(store, folder, *source)
    images = images.subset(range(0, len(images), config.every))
    unknown = set(config.save_images) - set(images.names)
    if unknown:
        raise ValueError(f"save_images must name images of {config.data} {config.split}, got {sorted(unknown)[0]!r}")
    _check_unseen(config, images, store)
    folder.load_checkpoint()
    known = {row["image"] for row in folder.records()}
    rest = [index for index, name in enumerate(images.names) if name not in known]
    for scored in evaluate.evaluate(restorer(config, store, device), images.subset(rest), config.protocol):
        if scored.image in config.save_images:
            data.write_image(folder.path / "images" / f"{scored.image}.png", _pixels(scored.restored))
        folder.append_records([{name: getattr(scored, name) for name in SCORE_COLUMNS}])
        folder.save_checkpoint({}, {})
        yield scored
    rows = folder.records()
    table = pandas.DataFrame(rows, columns=SCORE_COLUMNS)
    folder.write_text("scores.csv", table.to_csv(index=False, lineterminator="\n"))
    means = {name: sum(row[name] for row in rows) / len(rows) for name in ("psnr", "ssim")}
    folder.finish({"images": len(rows), **means})


def _check_unseen(config: EvaluateConfig, images: data.ImageSet, store: Store) -> None:
    """Refuse test images that the network was trained on; the name of a `folder:` does not tell whose they are."""
    for name, split, scale in all_data(config.model).values() if isinstance(config.model, TrainConfig) else ():
        if data.is_folder(name) or data.is_folder(config.data):
            learned = {data.digest([("", one)]) for one in data.load(name, split, store.data_root, scale).images}
            for title, one in zip(images.names, images.images):
                if data.digest([("", one)]) in learned:
                    wrong = f"{title} of {config.data}, which is in {name} {split} too"
                    raise data.DataError(f"test images must be unseen in training, got {wrong}")


def _timing(config: TimingConfig, store: Store, folder: RunFolder, device: str) -> Iterator[Any]:
    config = config.but(arms=tuple(arm.but(network=_known(arm, config, store)) for arm in config.arms))
    yield from _rounds(folder, lambda first: benchmark.benchmark(config, first, device))


def _known(arm: configs.Arm, config: TimingConfig, store: Store) -> Any:
    """Return what an arm times, a genotype in place of what makes one."""
    if isinstance(arm.network, SearchConfig):
        return _found(_done(arm.network, store, f"{describe(config)} needs"), arm.task)
    return _selected(arm.network, store) if isinstance(arm.network, Selected) else arm.network


def _latency(config: configs.LatencyConfig, store: Store, folder: RunFolder, device: str) -> Iterator[Any]:
    yield from _rounds(folder, lambda first: latency.measure(config, first))


def _rounds(folder: RunFolder, measured: Callable[[int], Iterator[Any]]) -> Iterator[Any]:
    """Keep every round of a measurement; one that was left halfway is measured anew, with all that belongs to it."""
    folder.load_checkpoint()
    for record in measured(len(folder.records())):
        folder.append_records([record])
        folder.save_checkpoint({}, {})
        yield record
    folder.finish({"rounds": len(folder.records())})


LOOPS = {
    SearchConfig: _search,
    TrainConfig: _train,
    EvaluateConfig: _evaluate,
    TimingConfig: _timing,
    configs.LatencyConfig: _latency,
}


def restorer(config: EvaluateConfig, store: Store, device: str = "cpu") -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what an evaluation scores: a trained network, a filter, or the degraded image. Raises ValueError."""
    if config.model == "input":
        return evaluate.baseline(config.protocol)
    if isinstance(config.model, str):
        model = comparators.build(config.model, "denoise", sigma=config.protocol.sigma)
    else:
        model = _network(config.model, store, device)
    return lambda degraded: evaluate.infer(model, degraded, config.protocol.sigma)


def _network(config: TrainConfig, store: Store, device: str):
    """Return the network that a training has made, ready for inference."""
    folder = _done(config, store, "a scoring or a student needs")
    return comparators.load(folder.path / "weights.safetensors", device).folded()


def _producer(config: RunConfig, store: Store) -> RunFolder:
    return _done(producer_of(config), store, f"{describe(config)} needs")


def _done(config: RunConfig, store: Store, needs: str = "a selection needs") -> RunFolder:
    """Return the folder of a Run that must be done. Raises ValueError."""
    folder = store.folder(config)
    if not folder.finished():
        raise ValueError(f"{needs} the Run {describe(config)}, got none that is done ({folder.path})")
    return folder


def _images(config: SearchConfig | TrainConfig, store: Store, folder: RunFolder) -> tuple:
    """Load the images to learn from, and V if a split of its own is named (else None)."""
    loaded = [_load(store, folder, *source) for source in own_data(config)]
    return loaded[0], loaded[1] if config.validation else None


def _load(store: Store, folder: RunFolder, name: str, split: str, scale: int | None) -> data.ImageSet:
    images = data.load(name, split, root=store.data_root, scale=scale)
    expected = folder.data_hashes[data_key(name, split, scale)]
    if images.sha256 != expected:
        raise ValueError(f"{name} {split} must stay as it is while it is used, got other pixels than before")
    return images


def _best(folder: RunFolder) -> dict:
    """Return the summary of a search or training: the plain values of its best record (else of the last)."""
    records = folder.records()
    best = next((record for record in reversed(records) if record.get("best")), records[-1])
    plain = {name: value for name, value in best.items() if isinstance(value, (int, float)) and name not in COSTS}
    return {"records": len(records), **plain}


def _pixels(restored: torch.Tensor) -> np.ndarray:
    """Return the 8-bit (height, width) or (height, width, 3) pixels of a restored image in [0, 1]."""
    image = (restored[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return image[..., 0] if image.shape[-1] == 1 else image
