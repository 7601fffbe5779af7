"""`hinas-nb status` shows what stands in a store, done or not."""

import errno
import fcntl
from pathlib import Path

import pandas

from hinas_nb import files, locations
from hinas_nb.experiment.departures import departures
from hinas_nb.experiment.profile import Profile, load_profile
from hinas_nb.experiment.runs import RUN_KINDS
from hinas_nb.running import notes
from hinas_nb.running.compute import COSTS
from hinas_nb.running.progress import progress
from hinas_nb.running.store import CHECKPOINT, Store


def status(store: Store) -> pandas.DataFrame:
    """Return a table with a row for every Run of the store.

    Columns: kind, hash, state (done, running, interrupted, failed, damaged), progress (of one not done: `epoch 5 of 20,
    12 min left`), seconds, peak_memory_mib, started (UTC), outdated (older revisions that it rests on), what, departs
    (in what it differs from the profile), reason.

    Where a lock may not be looked at, the state is "running or interrupted".
    """
    rows = []
    for kind in RUN_KINDS.values():
        folders = [folder for folder in sorted((store.root / kind).glob("*")) if folder.is_dir()]
        rows += [_state(folder) | {"departs": said} for folder, said in zip(folders, _departs(kind, folders, store))]
    columns = ["kind", "hash", "state", "progress", *COSTS, "started", "outdated", "what", "departs", "reason"]
    return pandas.DataFrame(rows, columns=columns)


def _state(folder: Path) -> dict:
    row = dict.fromkeys(("what", "progress", "started", "reason", "outdated"), "")
    row |= {"kind": folder.parent.name, "hash": folder.name}
    try:
        done = notes.finished(folder)
        if done:
            known = {"what": done.what, "started": done.started, "outdated": done.outdated}
            return row | known | {"state": "done"} | _cost(done)
        if (folder / "start.json").exists():
            start = notes.read(folder / "start.json", notes.Start)
            row |= {"what": start.what, "started": start.started}
        row["progress"] = progress(folder)
        held = _held(folder / ".lock")
        if held:
            return row | {"state": "running"} | _cost_so_far(folder)
        if (folder / "failed.json").exists():
            failed = notes.read(folder / "failed.json", notes.Failed)
            return row | {"state": "failed", "reason": failed.reason} | _cost(failed)
        unsure = {"state": "running or interrupted", "reason": "its lock cannot be read"}
        return row | ({"state": "interrupted"} if held is False else unsure) | _cost_so_far(folder)
    except (OSError, ValueError) as error:
        return row | {"state": "damaged", "reason": files.error_line(error)}


def _departs(kind: str, folders: list[Path], store: Store) -> list[str]:
    """Name what each Run of a kind departs in from its profile.

    Where the profile isn't known, the published settings stand for it, and what all Runs share is left out.
    """
    known = store.root.parent.name in locations.profiles()
    usual = load_profile(store.root.parent.name) if known else Profile(name="published")
    told = []
    for folder in folders:
        try:
            config = files.read_json(folder / "start.json").get("config")
        except (OSError, ValueError):
            config = None
        told.append(departures(kind, config, usual) if isinstance(config, dict) else [])
    shared = set() if known else set.intersection(*map(set, told)) if told else set()
    return [", ".join(word for word in words if word not in shared) for words in told]


def _cost(note: notes.Cost) -> dict:
    return {name: getattr(note, name) for name in COSTS}


def _cost_so_far(folder: Path) -> dict:
    path = folder / CHECKPOINT
    if not path.exists():
        return {}
    return _cost(notes.typed(files.read_meta(path), notes.Cost, path, "delete it to start the Run anew"))


def _held(lock: Path) -> bool | None:
    """Tell whether a process holds a lock, asked for as a reader may: without any right to write. None: unknown."""
    try:
        with open(lock, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError as error:
                return True if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return False
