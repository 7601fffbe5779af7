"""Experiments as a grid of Runs, and back to one tidy table; every notebook's `runs` cell uses this.

runs = grid(base, residual=[False, True], sigma=[30, 50], seed=[0, 1, 2])
scores = collect(runs, store)
"""

import errno
import fcntl
import itertools
import warnings
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy
import pandas

from hinas_nb import files, locations
from hinas_nb.experiment.config import EvaluateConfig, Perturbed
from hinas_nb.experiment.departures import departures
from hinas_nb.experiment.identity import KINDS, Run, RunConfig, kind_of
from hinas_nb.experiment.profile import Profile, load_profile
from hinas_nb.running import record
from hinas_nb.running.compute import COSTS, compute
from hinas_nb.running.pool import Failure, execute, missing
from hinas_nb.running.store import CHECKPOINT, RunFolder, Store
from hinas_nb.scoring.protocol import Protocol
from hinas_nb.settings import Config, ConfigError

__all__ = [
    "Failure",
    "Run",
    "RunsFailed",
    "collect",
    "compute",
    "execute",
    "grid",
    "missing",
    "status",
    "vary",
]

SCOPES = KINDS | {Perturbed: "perturbed"}  # what a qualified name of an axis can begin with


class RunsFailed(ValueError):
    """Some Runs could not be computed; one line. `failures` has them all."""

    def __init__(self, failures: list[Failure], wanted: int):
        super().__init__(f"{len(failures)} Runs failed of those needed for {wanted}; the first: {failures[0]}")
        self.failures = failures


def grid(base: RunConfig, **axes: Sequence | dict[str, dict]) -> list[Run]:
    """Every combination of the axes' values, as Runs labelled with them.

    A list sets the field of the axis's name, wherever it stands in `base` and its producers: `sigma` in the
    training and in the protocol, `residual` in the search space and in the training. `search.seed`,
    `perturbed.seed`, `train.seed`, `evaluate.seed` reach one kind only; plain `seed` leaves the noise alone.
    A dict names bundles of changes: `width={"ws": {}, "w40": {"search.levels": (0, 0, 0), ...}}`.
    Raises ConfigError for an axis that sets nothing and for values that break a rule.
    """
    options = []
    for name, values in axes.items():
        if isinstance(values, (str, bytes)) or not isinstance(values, (Sequence, dict)) or not values:
            raise ConfigError(f"axis {name} must be a list of values or a dict of changes, got {values!r}")
        bundles = values.items() if isinstance(values, dict) else [(value, {name: value}) for value in values]
        options.append([(name, label, changes) for label, changes in bundles])
    runs = []
    for combination in itertools.product(*options):
        changes = {field: value for _, _, bundle in combination for field, value in bundle.items()}
        runs.append(Run(vary(base, changes), {name: label for name, label, _ in combination}))
    return runs


def vary(base: RunConfig, changes: dict[str, Any]) -> RunConfig:
    """`base` with other values, in all configs inside it; names as in `grid`. Raises ConfigError."""
    used: set[str] = set()
    varied = _vary(base, changes, kind_of(base), used)
    unused = set(changes) - used
    if unused:
        raise ConfigError(f"{sorted(unused)[0]} must be a setting of {kind_of(base)} or of what it needs, got none")
    return varied


def collect(runs: Sequence[Run], store: Store, workers: int = 1, **how) -> pandas.DataFrame:
    """Compute what is missing (`how`: see `execute`) and return one tidy table.

    Columns: the labels, then for evaluations image, psnr (dB) and ssim, a row per image; for searches and
    trainings the plain values of their records, a row per epoch or interval; then hash (16 digits).
    An image that a Run restores exactly has an infinite PSNR, which no mean or difference survives: it is left out
    of all Runs on its data set, and a warning names it.
    Raises RunsFailed, ValueError where no image is left.
    """
    failures = execute(runs, store, workers=workers, **how)
    if failures:
        raise RunsFailed(failures, len(runs))
    tables = _without_exact(runs, [_table(run, store.folder(run.config)) for run in runs])
    return pandas.concat(tables, ignore_index=True) if tables else pandas.DataFrame()


def status(store: Store) -> pandas.DataFrame:
    """Every Run in the store: kind, hash, state (done, running, interrupted, failed, damaged), seconds,
    peak_memory_mib, started (UTC), outdated (older revisions that it rests on), what, departs (in what it differs from
    the profile), reason.

    Where a lock may not be looked at, the state is "running or interrupted".
    """
    rows = []
    for kind in KINDS.values():
        folders = [folder for folder in sorted((store.root / kind).glob("*")) if folder.is_dir()]
        rows += [_state(folder) | {"departs": said} for folder, said in zip(folders, _departs(kind, folders, store))]
    columns = ["kind", "hash", "state", *COSTS, "started", "outdated", "what", "departs", "reason"]
    return pandas.DataFrame(rows, columns=columns)


def _vary(config: Config, changes: dict[str, Any], kind: str, used: set[str]) -> Config:
    kind = SCOPES.get(type(config), kind)
    mine = {}
    for field in type(config).model_fields:
        # Seeds belong to searches and trainings: the protocol's noise is the same for all unless asked.
        plain = [] if isinstance(config, Protocol) and field == "seed" else [field]
        named = next((name for name in (f"{kind}.{field}", *plain) if name in changes), None)
        value = before = getattr(config, field)
        if named:
            used.add(named)
            value = changes[named]
        if isinstance(value, Config):
            value = _vary(value, changes, kind, used)
        if value is not before:
            mine[field] = value
    return config.but(**mine) if mine else config


def _table(run: Run, folder: RunFolder) -> pandas.DataFrame:
    if isinstance(run.config, EvaluateConfig):
        text = folder.read_text("scores.csv")
        try:
            scores = pandas.read_csv(StringIO(text), dtype={"image": str}, keep_default_na=False)
            table = scores[["image", "psnr", "ssim"]].astype({"psnr": float, "ssim": float})
        except (KeyError, ValueError):
            path = folder.path / "scores.csv"
            raise files.FileContentError(
                f"{path} must be a table of scores; delete {folder.path} to score anew"
            ) from None
    else:
        plain = [{k: v for k, v in record.items() if not isinstance(v, (list, dict))} for record in folder.records()]
        table = pandas.DataFrame(plain)
        if table.empty:
            path = folder.path / "records.jsonl"
            raise files.FileContentError(f"{path} must hold the records of a finished Run, got none; "
                                         f"delete {folder.path} to compute it anew")  # fmt: skip
    for position, (name, label) in enumerate(run.labels.items()):
        table.insert(position, name, [label] * len(table))
    return table.assign(hash=folder.hash[:16])


def _without_exact(runs: Sequence[Run], tables: list[pandas.DataFrame]) -> list[pandas.DataFrame]:
    """Tables of scores without the images whose PSNR is infinite in one of them; see `collect`."""
    data = [run.config.data if isinstance(run.config, EvaluateConfig) else None for run in runs]
    exact = {(name, image) for name, table in zip(data, tables) if name
             for image in table.loc[numpy.isposinf(table["psnr"]), "image"]}  # fmt: skip
    if not exact:
        return tables
    named = ", ".join(sorted(image for _, image in exact))
    warnings.warn(f"left out, as restored exactly (PSNR inf): {named}", stacklevel=3)
    kept = [
        table[[(name, image) not in exact for image in table["image"]]] if name else table
        for name, table in zip(data, tables)
    ]
    if any(table.empty for table in kept):
        raise ValueError(f"scores must hold an image that is not restored exactly (PSNR inf), got only {named}")
    return kept


def _state(folder: Path) -> dict:
    row = {"kind": folder.parent.name, "hash": folder.name, "what": "", "started": "", "reason": "", "outdated": ""}
    try:
        done = record.finished(folder)
        if done:
            known = {"what": done.what, "started": done.started, "outdated": done.outdated}
            return row | known | {"state": "done"} | _cost(done)
        if (folder / "start.json").exists():
            start = record.read(folder / "start.json", record.Start)
            row |= {"what": start.what, "started": start.started}
        held = _held(folder / ".lock")
        if held:
            return row | {"state": "running"} | _cost_so_far(folder)
        if (folder / "failed.json").exists():
            failed = record.read(folder / "failed.json", record.Failed)
            return row | {"state": "failed", "reason": failed.reason} | _cost(failed)
        unsure = {"state": "running or interrupted", "reason": "its lock cannot be read"}
        return row | ({"state": "interrupted"} if held is False else unsure) | _cost_so_far(folder)
    except (OSError, ValueError) as error:
        return row | {"state": "damaged", "reason": files.error_line(str(error))}


def _departs(kind: str, folders: list[Path], store: Store) -> list[str]:
    """What each Run of a kind departs in from its profile; if that isn't known, from the published settings, but for
    what all of them share."""
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


def _cost(note: record.Cost) -> dict:
    return {name: getattr(note, name) for name in COSTS}


def _cost_so_far(folder: Path) -> dict:
    path = folder / CHECKPOINT
    if not path.exists():
        return {}
    return _cost(record.typed(files.read_meta(path), record.Cost, path, "delete it to start the Run anew"))


def _held(lock: Path) -> bool | None:
    """Whether a process holds a lock, asked for as by a reader: that needs no right to write. None: it isn't told."""
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
