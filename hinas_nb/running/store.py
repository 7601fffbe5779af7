"""Runs are kept on disk: one folder each, found by a hash, written atomically, locked, resumed, with its provenance.

    <root>/<search|train|evaluate>/<first 16 digits of the hash>/
        start.json               what is computed, since when, on which device, with how many threads
        checkpoint.safetensors   the state to resume from; gone when the Run is done
        records.jsonl            one line per epoch, interval or image
        failed.json              why it stopped, if it failed
        run.json                 written last: summary, cost, provenance, and the sums of its neighbours; means done

A process can be killed at any instant: every file is written beside its place and moved there.
"""

import functools
import hashlib
import json
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TypeAlias

import torch
from filelock import FileLock
from torch import Tensor

from hinas_nb import data, files, locations
from hinas_nb.data.images import digest, image_files, named_images
from hinas_nb.experiment.profile import Profile
from hinas_nb.experiment.runs import RunConfig, all_data, canonical, data_key, describe, kind_of, revisions, run_hash
from hinas_nb.files import FileContentError, read_json
from hinas_nb.provenance import peak_memory_mib, provenance, reset_peak_memory, resolve_device
from hinas_nb.running import notes
from hinas_nb.running.notes import Checkpoint, Finished, Start

CHECKPOINT = "checkpoint.safetensors"

_State: TypeAlias = tuple[dict[str, Tensor], dict]


class Store:
    """Holds the Runs below one folder, made of the data under `data_root` (None: as `locations.data` says)."""

    def __init__(self, root: str | Path, data_root: str | Path | None = None):
        self.root = Path(root).absolute()
        self.data_root = data_root
        self._data_hashes: dict[str, str] = {}

    @classmethod
    def of(cls, budget: Profile) -> Self:
        """Return the store of a profile: `results/<name>/runs`."""
        return cls(locations.results() / budget.name / "runs")

    def folder(self, config: RunConfig) -> "RunFolder":
        """Return the folder of a Run, whether it exists yet or not. Raises DataError if its data is missing."""
        hashes = {key: self.data_hash(*source) for key, source in all_data(config).items()}
        return RunFolder(self.root, config, run_hash(config, hashes), hashes)

    def data_hash(self, name: str, split: str, scale: int | None = None) -> str:
        """Return the SHA-256 of the pixels of a data set.

        Where the set is not here, that is the sum noted when it last was: it finds finished Runs, and computes none.
        """
        key = data_key(name, split, scale)
        if key not in self._data_hashes:
            noted = self._noted_hashes()
            try:
                self._data_hashes[key] = _pixel_hash(tuple(image_files(name, split, self.data_root, scale)))
            except data.DataError:
                if key not in noted:
                    raise
                self._data_hashes[key] = noted[key]
            if noted.get(key) != self._data_hashes[key]:
                text = json.dumps(noted | {key: self._data_hashes[key]}, indent=1, sort_keys=True)
                with suppress(files.StoreError):  # only a note: a store may be read where it can't be written
                    files.write_atomic(self.root / "data.json", text.encode())
        return self._data_hashes[key]

    def _noted_hashes(self) -> dict[str, str]:
        path = self.root / "data.json"
        with suppress(FileContentError, files.StoreError):  # a damaged note is written anew
            noted = read_json(path) if path.exists() else {}
            return {key: value for key, value in noted.items() if isinstance(value, str)}
        return {}


class RunFolder:
    """Holds one Run on disk. Whoever computes it holds `lock()` and calls `begin`, then `finish` or `fail`."""

    def __init__(self, root: Path, config: RunConfig, full_hash: str, data_hashes: dict[str, str]):
        self.config, self.hash, self.data_hashes = config, full_hash, data_hashes
        self.path = Path(root) / kind_of(config) / full_hash[:16]
        self._device, self._clock, self._seconds, self._peak = "cpu", time.monotonic(), 0.0, 0.0

    @property
    def done(self) -> bool:
        """Tell whether the Run is finished and its files are as it left them; `compute` refuses a damaged one."""
        with suppress(files.StoreError, FileContentError):
            return self.finished() is not None
        return False

    def finished(self) -> Finished | None:
        """Return what a finished Run says of itself (else None). Raises StoreError, FileContentError if damaged."""
        return notes.finished(self.path)

    def note(self) -> Finished:
        """Return what the Run says of itself, which must be finished. Raises FileContentError where it is not."""
        found = self.finished()
        if not found:
            raise FileContentError(f"{self.path} must be a finished Run, got one that is not computed yet")
        return found

    @contextmanager
    def lock(self):
        """Hold the Run, once no other process does; the system frees it when the holder dies."""
        files.make_folder(self.path)
        lock = FileLock(self.path / ".lock", poll_interval=0.2, thread_local=False)
        try:
            lock.acquire()
        except OSError as error:
            raise files.unwritable(self.path, error) from None
        try:
            yield self
        finally:
            lock.release()

    def begin(self, device: str, threads: int) -> Start:
        """Note what the Run starts with, or return what it was first started with. Starts its clock."""
        (self.path / "failed.json").unlink(missing_ok=True)
        files.sweep(self.path, older=0)  # we hold the lock: no other writer is at work here
        path = self.path / "start.json"
        if not path.exists():
            started = {"device": device, "threads": threads, "started": _now()}
            what = {"hash": self.hash, "what": describe(self.config), "config": _dump(self.config)}
            content = started | what | provenance()
            self.write_text("start.json", json.dumps(content, indent=1))
        anew = f"delete {self.path} to start anew"
        start = notes.read(path, Start, anew)
        try:
            resolve_device(start.device)
        except ValueError:
            raise FileContentError(f"{self.path} must go on where it was started, on {start.device}, "
                                   f"got a machine without it; {anew}") from None  # fmt: skip
        self._device, self._clock, self._seconds, self._peak = start.device, time.monotonic(), 0.0, 0.0
        reset_peak_memory(self._device)
        return start

    def load_checkpoint(self) -> _State | None:
        """Return tensors (on the CPU) and meta of the last checkpoint; drops records that are newer than it.

        Raises FileContentError.
        """
        path = self.path / CHECKPOINT
        if not path.exists():
            self._keep_records(0)
            return None
        tensors, content = files.read_tensors(path)
        state = notes.typed(content, Checkpoint, path, "delete it to start the Run anew")
        if state.hash != self.hash:
            raise FileContentError(f"{path} must be of Run {self.hash}, got one of "
                                   f"{state.hash[:80]}; delete it to start anew")  # fmt: skip
        lines = self._lines()
        if len(lines) < state.records:
            raise FileContentError(f"{self.path / 'records.jsonl'} must hold at least {state.records} records, got "
                                   f"{len(lines)}; delete {self.path} to start anew")  # fmt: skip
        said = {name: value for name, value in content.items() if name != "sum"}
        if state.sum != _sum(tensors, said, lines[: state.records]):
            raise FileContentError(f"{path} and the records beside it must match its checksum; "
                                   "delete it to start the Run anew")  # fmt: skip
        self._seconds, self._peak = state.seconds, state.peak_memory_mib
        self._keep_records(state.records)
        return tensors, state.meta

    def save_checkpoint(self, tensors: dict[str, Tensor], meta: dict) -> None:
        """Replace the checkpoint in one step. Append the records it stands for before."""
        lines = self._lines()
        state = {"hash": self.hash, "meta": meta, "records": len(lines), **self._cost()}
        self.write_tensors(CHECKPOINT, tensors, state | {"sum": _sum(tensors, state, lines)})

    def append_records(self, records: list) -> None:
        """Add records (dicts or dataclasses of JSON-able values) to `records.jsonl`."""
        lines = [json.dumps(asdict(record) if is_dataclass(record) else record) for record in records]
        self._write_lines(self._lines() + lines)

    def records(self) -> list[dict]:
        """Return what was appended. Raises StoreError, FileContentError where a line is no record."""
        path, lines = self.path / "records.jsonl", self._lines()
        try:
            records = [json.loads(line) for line in lines]
            if not all(isinstance(record, dict) for record in records):
                raise ValueError("not all are objects")
            return records
        except (ValueError, RecursionError) as error:
            raise FileContentError(f"{path} must hold one JSON record per line ({error}); "
                                   f"delete {self.path} to start anew") from None  # fmt: skip

    def write_text(self, name: str, text: str) -> None:
        files.write_atomic(self.path / name, text.encode())

    def read_text(self, name: str) -> str:
        """Read a file of the Run; once it is finished, as it left it. Raises StoreError, FileContentError."""
        self._check_known(name)
        return files.read_bytes(self.path / name).decode(errors="replace")

    def write_tensors(self, name: str, tensors: dict[str, Tensor], meta: dict) -> None:
        """Write one safetensors file; `meta` is JSON inside it."""
        files.write_tensors(self.path / name, tensors, meta)

    def read_tensors(self, name: str) -> _State:
        self._check_known(name)
        return files.read_tensors(self.path / name)

    def finish(self, summary: dict) -> None:
        """Write `run.json`, which makes the Run done, and drop the checkpoint."""
        start = notes.read(self.path / "start.json", Start).model_dump()
        here = provenance()
        content = {
            "hash": self.hash, "what": describe(self.config), "config": _dump(self.config),
            "revisions": revisions(self.config), "data": self.data_hashes, "summary": summary,
            "seed": getattr(self.config, "seed", None),
            **{key: start[key] for key in ("device", "threads", "started")}, "finished": _now(),
            **self._cost(), **here,
        }  # fmt: skip
        if any(start[key] != here[key] for key in here):
            content["started_with"] = {key: start[key] for key in here}
        self.write_text("run.json", notes.sealed(self.path, content))
        (self.path / CHECKPOINT).unlink(missing_ok=True)

    def fail(self, reason: str) -> None:
        """Note in one line why the Run stopped; on a full disk the note is left out."""
        with suppress(OSError):
            note = {"reason": " ".join(reason.split()), "failed": _now(), **self._cost()}
            self.write_text("failed.json", json.dumps(note, indent=1))

    def _check_known(self, name: str) -> None:
        """Refuse a file that a finished Run has no sum of: it came later."""
        found = self.finished()
        if found and name not in (notes.DONE, *found.files):
            raise FileContentError(f"{self.path / name} must be a file that the Run left, got one without a sum in "
                                   f"{notes.DONE}; delete {self.path} to compute it anew")  # fmt: skip

    def _cost(self) -> dict[str, float]:
        seconds = self._seconds + time.monotonic() - self._clock
        peak = max(self._peak, peak_memory_mib(self._device))
        return {"seconds": round(seconds, 3), "peak_memory_mib": round(peak, 1)}

    def _lines(self) -> list[str]:
        if not (self.path / "records.jsonl").exists() and not self.finished():
            return []
        return self.read_text("records.jsonl").splitlines()

    def _keep_records(self, count: int) -> None:
        lines = self._lines()
        if len(lines) > count:
            self._write_lines(lines[:count])

    def _write_lines(self, lines: list[str]) -> None:
        self.write_text("records.jsonl", "".join(line + "\n" for line in lines))


@functools.cache
def _pixel_hash(paths: tuple[Path, ...]) -> str:
    """Hash pixels once per process, with one image in memory at a time; equal to `ImageSet.sha256`."""
    return digest(named_images(list(paths)))


def _dump(config: RunConfig) -> dict:
    return json.loads(json.dumps(canonical(config.identity())))


def _sum(tensors: dict[str, Tensor], state: dict, lines: list[str]) -> str:
    """Return the checksum of a checkpoint: of its tensors, all that its meta says and its records, line by line.

    A flipped bit must not become a slightly different result.
    """
    digest = hashlib.sha256(notes.digest([state, lines]).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
