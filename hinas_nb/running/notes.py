"""The notes that a Run leaves about itself are read here, typed and checked against their sums, by all who ask.

`run.json` is written last. It holds the SHA-256 of its neighbours (`files`), one of its own content (`sum`), and
the revisions that the Run and its producers were computed under: those of before are readable, and marked.
"""

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hinas_nb import files
from hinas_nb.experiment.runs import REVISIONS
from hinas_nb.files import FileContentError, StoreError
from hinas_nb.settings import one_line, shown

DONE = "run.json"
_REMOVABLE = (".safetensors", ".png")  # weights and images take space
_LONGEST_NAME = 250  # letters, of a file beside it
_PASSING = ("checkpoint.safetensors", "failed.json")  # gone when a Run is done

_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Note(BaseModel):
    """Takes values of exactly its types; what else stands in the file is left to others."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Cost(_Note):
    """Tells what a Run took so far: seconds of computing, and its peak memory in MiB."""

    seconds: _Amount
    peak_memory_mib: _Amount


class Failed(Cost):
    """Holds `failed.json`: why a Run stopped."""

    reason: str


class Checkpoint(Cost):
    """Holds the meta of `checkpoint.safetensors`: the state to go on from, and how many records belong to it."""

    hash: str
    meta: dict[str, Any]
    records: Annotated[int, Field(ge=0)]
    sum: str


class Start(_Note):
    """Holds `start.json`: what is computed, where, and with which code; kept when the Run is resumed."""

    hash: str
    what: str
    config: dict[str, Any]
    device: str
    threads: Annotated[int, Field(ge=1)]
    started: str
    commit: str | None
    dirty: bool | None
    versions: dict[str, str]
    machine: dict[str, Any]

    @property
    def processor(self) -> str:
        """Return what computes it: the name of the CPU, or of another device."""
        return self.machine.get("processor", self.device) if self.device == "cpu" else self.device

    @property
    def where(self) -> str:
        """Return in words what computes it, such as `2 threads of AMD EPYC`."""
        return f"{self.threads} thread{'' if self.threads == 1 else 's'} of {self.processor}"


class Finished(Start, Cost):
    """Holds `run.json`: the whole Run, with the sums (`files`, by path) of what lies beside it."""

    data: dict[str, str]
    summary: dict[str, Any]
    finished: str
    revisions: dict[str, int]
    files: dict[str, str]
    sum: str

    @property
    def outdated(self) -> str:
        """Name the older revisions that the Run rests on; empty for one of today's."""
        return outdated(self.revisions)


_Any = TypeVar("_Any", bound=_Note)


def finished(folder: Path) -> Finished | None:
    """Return what a finished Run says of itself, with every file beside it as it was; None if it is not finished.

    A file is read once per process, as long as it stays as it is. Weights and images may have been removed, they take
    space; nothing may have been changed. Raises StoreError, FileContentError.
    """
    path = folder / DONE
    if not path.exists():
        return None
    found = _finished(path, _stamp(path))
    if not found.hash.startswith(folder.name):
        raise _damaged(folder, f"{path} must be of Run {folder.name}, got one of {found.hash}")
    for name, known in found.files.items():
        neighbour = folder / name
        if not _is_inside(name):
            raise _damaged(folder, f"{path} must name files beside it, got {shown(name)}")
        if not neighbour.exists():
            if neighbour.suffix not in _REMOVABLE:
                raise _damaged(folder, f"{neighbour} must be there as the Run left it, got none")
        elif _sum(neighbour, _stamp(neighbour)) != known:
            raise _damaged(folder, f"{neighbour} must be as the Run left it, got another SHA-256 than {DONE} holds")
    return found


def all_finished(root: Path, kind: str) -> Iterator[tuple[Path, Finished]]:
    """Yield folder and note of every undamaged finished Run of a kind below a store; `status` tells of the others."""
    for path in sorted((root / kind).glob(f"*/{DONE}")):
        with suppress(StoreError, FileContentError):
            note = finished(path.parent)
            if note:
                yield path.parent, note


def read(path: Path, model: type[_Any], advice: str = "") -> _Any:
    """Read a note of a Run. Raises StoreError, FileContentError."""
    advice = advice or _anew(path.parent)
    return typed(files.read_json(path, advice), model, path, advice)


def typed(content: Any, model: type[_Any], path: Path, advice: str) -> _Any:
    """Take content of a file as a note. Raises FileContentError."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise FileContentError(f"{path} must be the note of a Run, got {one_line(error)}; {advice}") from None


def sealed(folder: Path, content: dict[str, Any]) -> str:
    """Return the text of `run.json`: its content with the sums of all files beside it, and its own."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.parent.name[:1] != ".")
    names = {path.relative_to(folder).as_posix(): path for path in found if path.name[:1] != "."}
    kept = {name: path for name, path in names.items() if name not in (DONE, *_PASSING)}
    content = {**content, "files": {name: _sum(path, _stamp(path)) for name, path in kept.items()}}
    return json.dumps(content | {"sum": digest(content)}, indent=1)


def outdated(revisions: Mapping[str, int]) -> str:
    """Put older revisions into words: `search revision 1 (now 2)`."""
    return ", ".join(
        f"{kind} revision {revision} (now {REVISIONS[kind]})"
        for kind, revision in revisions.items()
        if revision != REVISIONS.get(kind, revision)
    )


def digest(content: Any) -> str:
    """Return the SHA-256 of JSON-able content, however it is laid out."""
    same = json.loads(json.dumps(content))
    return hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()


@functools.cache
def _finished(path: Path, stamp: tuple) -> Finished:
    content = files.read_json(path, _anew(path.parent))
    found = typed(content, Finished, path, _anew(path.parent))
    if digest({name: value for name, value in content.items() if name != "sum"}) != found.sum:
        raise _damaged(path.parent, f"{path} must match its own checksum")
    return found


def _is_inside(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return name.isprintable() and len(name) < _LONGEST_NAME and parts[:1] != ("/",) and ".." not in parts


@functools.cache
def _sum(path: Path, stamp: tuple) -> str:
    files.check_regular(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from None


def _stamp(path: Path) -> tuple:
    """Return what changes whenever another file comes into the same place."""
    try:
        found = path.stat()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _damaged(folder: Path, complaint: str) -> FileContentError:
    return FileContentError(f"{complaint}; {_anew(folder)}")


def _anew(folder: Path) -> str:
    return f"delete {folder} to compute it anew"
