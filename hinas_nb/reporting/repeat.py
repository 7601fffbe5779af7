"""`hinas-nb repeat` computes a finished Run once more, apart from the first, and says how far the numbers lie apart.

On the same kind of processor, with the same packages and threads, every bit is the same. Elsewhere sums are taken in
another order: an evaluation moves in the last digits, while a search or a training, whose steps build on each other,
ends a little away, as with another seed.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hinas_nb import files
from hinas_nb.evidence import stability
from hinas_nb.experiment.config import lineage
from hinas_nb.experiment.runs import Run, config_of, kind_of
from hinas_nb.method.genotype import Genotype
from hinas_nb.running import notes, pool
from hinas_nb.running.compute import COSTS
from hinas_nb.running.notes import Finished
from hinas_nb.running.store import RunFolder, Store
from hinas_nb.settings import shown

APART = "repeated"  # folder beside `runs`
#: By how much what an evaluation found may move on another processor or with other packages (dB, unitless).
_NEAR = {"evaluate": {"psnr": 1e-3, "ssim": 1e-5}}


def repeat(
    word: str, results: Path, data_root: Path | None = None, say: Callable[[str], None] = lambda line: None
) -> tuple[list[str], bool]:
    """Compute the finished Run whose hash begins with `word` again, in `results/<profile>/repeated/<hash>`.

    What it rests on is taken as it lies beside it. Interrupted, or called again, it goes on from there.
    say: is told beforehand what is computed and how long that took.
    Returns lines that compare both, and whether what must be equal is equal.
    Raises ValueError for a Run that is not there or cannot be repeated, OSError.
    """
    first, run = _named(word, results)
    store = Store(first.parents[1], data_root)
    config = _config(run, first, store)
    again = Store(store.root.parent / APART / first.name, data_root)  # a store of its own, with what it rests on
    *producers, _ = lineage(config)
    for producer in producers:
        _lend(store.folder(producer), again.folder(producer))
    if not again.folder(config).done:
        say(f"computing once more what took {_made(run)}; interrupted, the same command goes on")
    failures = pool.execute([Run(config)], again, threads=run.threads, device=run.device)
    if failures:
        raise ValueError(str(failures[0]))
    return _compared(store.folder(config), again.folder(config))


def _named(word: str, results: Path) -> tuple[Path, Finished]:
    """Return the folder and note of the one finished Run whose hash begins so. Raises ValueError."""
    folders = [path.parent for path in sorted(results.glob(f"*/runs/*/*/{notes.DONE}"))]
    folders = [folder for folder in folders if folder.name.startswith(word[:16])]
    found = [(folder, run) for folder in folders if (run := notes.finished(folder)) and run.hash.startswith(word)]
    if len(found) != 1:
        rule = f"hash must begin that of one finished Run in {results}"
        raise ValueError(f"{rule}, got {shown(word)}, which begins {len(found)}")
    return found[0]


def _config(run: Finished, folder: Path, store: Store):
    kind = folder.parent.name
    if kind in pool.ALONE:
        raise ValueError(f"a Run is repeated for its numbers, got a {kind}, whose seconds are never equal")
    config = config_of(kind, run.config)
    if store.folder(config).path != folder:
        because = run.outdated or "its data or what decides its hash has changed"
        raise ValueError(f"{folder} must be a Run that this code still makes, got one of before ({because})")
    return config


def _lend(producer: RunFolder, place: RunFolder) -> None:
    """Let a producer that is finished be found in the other store too."""
    files.make_folder(place.path.parent)
    if producer.done and not place.path.exists():
        place.path.unlink(missing_ok=True)  # a link that leads nowhere since the results were moved
        place.path.symlink_to(producer.path, target_is_directory=True)


def _compared(first: RunFolder, again: RunFolder) -> tuple[list[str], bool]:
    one, other = first.note(), again.note()
    kind = kind_of(first.config)
    lines = [f"{kind} {first.hash[:16]} ({one.what})"]
    lines += [f"  {name}: {_made(run)}" for name, run in (("stored", one), ("repeated", other))]
    moved = {name: other.summary[name] - value for name, value in one.summary.items() if isinstance(value, float)}
    for name, change in moved.items():
        unit = " dB" if name.endswith("psnr") else ""
        lines.append(f"  {name}: {one.summary[name]:g} stored, {other.summary[name]:g} repeated, {change:+.2g}{unit}")
    if kind == "search":
        found = (Genotype.from_json(run.read_text("genotype.json")) for run in (first, again))
        lines.append(f"  inputs and width levels of the genotype that differ: {stability.count_changes(*found)}")
    as_before, verdict = _verdict(
        kind, moved, _changed(one, other), _first_difference(first.records(), again.records())
    )
    return [*lines, f"  {'as it must be' if as_before else 'NOT as it must be'}: {verdict}"], as_before


def _verdict(kind: str, moved: Mapping[str, float], changed: str, differ: int | None) -> tuple[bool, str]:
    """Return whether all is as it must be, and why. changed: see `_changed`; differ: see `_first_difference`."""
    if differ is None:
        return True, "all records are equal to the last bit"
    if not changed:
        return False, f"records differ from number {differ} on, on the same machine with the same packages"
    if kind in _NEAR:
        near = all(abs(moved[name]) <= most for name, most in _NEAR[kind].items())
        limits = " and ".join(f"{name} by {most:f}".rstrip("0") for name, most in _NEAR[kind].items())
        return near, f"with {changed} means may move, {limits}"
    return True, f"with {changed} searches and trainings go ways of their own: records differ from number {differ} on"


def _changed(one: Finished, other: Finished) -> str:
    """Return in words what the second was computed with that the first was not; empty for nothing."""
    if one.machine != other.machine:
        return "another machine"
    return "" if one.versions == other.versions else "other packages"


def _made(run: Finished) -> str:
    """Return in words what a Run took, and where."""
    return f"{run.seconds / 60:.1f} min on {run.where}, torch {run.versions['torch']}"


def _first_difference(first: Sequence[Mapping], again: Sequence[Mapping]) -> int | None:
    """Return the number of the first record that differs in more than what it cost, from 1 on; None: none does."""
    pairs = enumerate(zip(first, again, strict=True), 1)
    return next((number for number, (a, b) in pairs if _without_cost(a) != _without_cost(b)), None)


def _without_cost(record: Mapping) -> dict:
    """Return a record without what it cost."""
    return {name: value for name, value in record.items() if name not in COSTS}
