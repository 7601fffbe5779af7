"""Runs are computed and collected into one tidy table; every notebook ends its experiment with this.

scores = collect(grid(base, residual=[False, True], seed=[0, 1, 2]), store)
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from io import StringIO

import numpy
import pandas

from hinas_nb import files
from hinas_nb.experiment.config import EvaluateConfig, SearchConfig, TrainConfig, lineage
from hinas_nb.experiment.runs import Run
from hinas_nb.running.pool import execute
from hinas_nb.running.store import RunFolder, Store


def collect(runs: Sequence[Run], store: Store, workers: int = 1, **how) -> pandas.DataFrame:
    """Compute what is missing (`how`: see `execute`) and return one tidy table.

    Columns: the labels, then for evaluations image, psnr (dB) and ssim, a row per image; for searches and
    trainings the plain values of their records, a row per epoch or interval; then hash (16 digits).
    An image that a Run restores exactly has an infinite PSNR, which no mean or difference survives: it is left out
    of all Runs on its data set, and a warning names it. Another one says so where networks were trained on processors
    of different kinds, which round differently.
    Raises ValueError where Runs failed, and where no image is left.
    """
    failures = execute(runs, store, workers=workers, **how)
    if failures:
        raise ValueError(f"{len(failures)} Runs failed of those needed for {len(runs)}; the first: {failures[0]}")
    _warn_of_processors(runs, store)
    tables = _without_exact(runs, [_table(run, store.folder(run.config)) for run in runs])
    return pandas.concat(tables, ignore_index=True) if tables else pandas.DataFrame()


def _table(run: Run, folder: RunFolder) -> pandas.DataFrame:
    """Return what a finished Run left. Raises FileContentError where it is no table."""
    if isinstance(run.config, EvaluateConfig):
        text = folder.read_text("scores.csv")
        try:
            scores = pandas.read_csv(StringIO(text), dtype={"image": str}, keep_default_na=False)
            table = scores[["image", "psnr", "ssim"]].astype({"psnr": float, "ssim": float})
        except (KeyError, ValueError):
            rule = f"{folder.path / 'scores.csv'} must be a table of scores"
            raise files.FileContentError(f"{rule}; delete {folder.path} to score anew") from None
    else:
        plain = [{k: v for k, v in record.items() if not isinstance(v, (list, dict))} for record in folder.records()]
        table = pandas.DataFrame(plain)
        if table.empty:
            rule = f"{folder.path / 'records.jsonl'} must hold the records of a finished Run, got none"
            raise files.FileContentError(f"{rule}; delete {folder.path} to compute it anew")
    for position, (name, label) in enumerate(run.labels.items()):
        table.insert(position, name, [label] * len(table))
    return table.assign(hash=folder.hash[:16])


def _warn_of_processors(runs: Sequence[Run], store: Store) -> None:
    """Warn where searches and trainings behind these Runs were computed on different processors."""
    learned = {one for run in runs for one in lineage(run.config) if isinstance(one, SearchConfig | TrainConfig)}
    folders = [folder for folder in map(store.folder, learned) if folder.done]  # producers may have been left out
    counts = Counter(folder.note().processor for folder in folders)
    if len(counts) > 1:
        told = ", ".join(f"{count} on {name}" for name, count in counts.most_common())
        warnings.warn(f"searches and trainings on different processors: {told}", stacklevel=3)


def _without_exact(runs: Sequence[Run], tables: list[pandas.DataFrame]) -> list[pandas.DataFrame]:
    """Leave out of all tables the images whose PSNR is infinite in one of them; see `collect`."""
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
