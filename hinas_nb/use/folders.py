"""Folders of pictures are restored: the tree is kept, what is done is skipped, what fails is named and stops nothing.

Pictures are read and restored in threads, which share the network; libraries compute without Python's lock.
"""

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import torch

from hinas_nb import files
from hinas_nb.data import pictures
from hinas_nb.use import restore
from hinas_nb.use.networks import Request, RestoreError


@dataclass(frozen=True)
class Item:
    """Names one picture of a folder, where it is restored to, and where the pair goes, if anywhere."""

    source: Path
    target: Path
    compare: Path | None

    @property
    def is_done(self) -> bool:
        """Tell whether all that is to be written is there, not empty, and not older than the picture."""
        written = [path for path in (self.target, self.compare) if path is not None]
        if not self.source.exists() or not all(path.is_file() for path in written):  # a link may lead nowhere
            return False
        made = self.source.stat().st_mtime
        return all(stat.st_size > 0 and stat.st_mtime >= made for stat in map(Path.stat, written))


def items(source: Path, target: Path, compare: Path | None = None) -> tuple[list[Item], int]:
    """Return the pictures below a folder, in order of their names, and how many other files there are.

    What lies in `target` or `compare` is left alone; so is what is hidden. Raises RestoreError.
    """
    places = [Path(os.path.realpath(place)) for place in (target, compare) if place is not None]
    root = Path(os.path.realpath(source))
    for place in places:
        if root.is_relative_to(place):
            raise RestoreError(f"output must be another folder than the input and none around it, got {place}")
        if place.exists() and not place.is_dir():
            raise RestoreError(f"output must be a folder for a folder of pictures, got {place}")
    if len(set(places)) < len(places):
        raise RestoreError(f"pairs must go into another folder than the output, got {places[0]} for both")
    found, others = [], 0
    for folder, below, names in os.walk(root, onerror=refuse):
        visible = [Path(folder, name) for name in below if name[0] != "."]
        below[:] = sorted(path.name for path in visible if path not in places)
        for path in (Path(folder, name) for name in sorted(names) if name[0] != "."):
            if path.suffix.lower() in pictures.READABLE:
                found.append(_item(path, path.relative_to(root), target, compare))
            else:
                others += 1
    _check_targets(found, [place for place in places if place.is_relative_to(root)])
    return found, others


def _check_targets(found: list[Item], inside: list[Path]) -> None:
    """Refuse two pictures with one target, and an output inside the input that holds pictures of another origin."""
    ours = {}
    for item in found:
        for path in (os.path.realpath(path) for path in (item.target, item.compare) if path is not None):
            if path in ours:
                raise RestoreError(f"pictures must have an output each, got {path} for {ours[path]} and {item.source}")
            ours[path] = item.source
    for place in inside:
        for path in (Path(folder, name) for folder, _, names in os.walk(place) for name in names):
            if path.suffix.lower() in pictures.READABLE and str(path) not in ours:
                raise RestoreError(f"output inside the input must hold nothing but what was restored, got {path}")


def refuse(error: OSError) -> None:
    """Name a folder that cannot be read, whose pictures would be left out in silence. Raises RestoreError."""
    raise RestoreError(f"cannot read {error.filename}: {error.strerror}")


def restore_folder(
    todo: list[Item], request: Request, workers: int, progress: Callable[[float], None]
) -> Iterator[tuple[Item, list[str], str | None]]:
    """Restore pictures, `workers` at once, and yield what became of each as soon as it is known.

    That is the picture, what there is to say, a line each, and why it could not be restored; None where it was.
    progress: called with the share of all pictures that is done, up to 1. An interrupt ends all after their tile.
    """
    stop, shares = threading.Event(), dict.fromkeys(todo, 0.0)

    def restored(item: Item) -> tuple[Item, list[str], str | None]:
        def share(done: float) -> None:
            if stop.is_set():
                raise CancelledError
            shares[item] = done
            progress(sum(shares.values()) / len(todo))

        said, error = [], None
        try:
            for path in filter(None, (item.target, item.compare)):
                files.make_folder(path.parent)
            said = restore.restore_file(item.source, item.target, request, item.compare, share, threads)
        except Exception as problem:  # of one picture: the others go on
            error = files.error_line(problem)
        share(1)
        return item, said, error

    threads = max(1, torch.get_num_threads() // workers)
    with (
        warnings.catch_warnings(action="ignore"),
        ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads,)) as pool,
    ):
        futures = [pool.submit(restored, item) for item in todo]
        try:
            yield from (future.result() for future in as_completed(futures))
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _item(path: Path, inside: Path, target: Path, compare: Path | None) -> Item:
    """Keep a picture's place and name; a kind of file that can only be read (GIF) becomes a PNG beside its name."""
    kept = path.suffix.lower() in pictures.KINDS
    name = inside if kept else inside.with_name(f"{inside.name}.png")
    return Item(path, target / name, compare / name if compare is not None else None)
