"""Read from `params/claims.yaml` what the paper claims and where: comparisons, and the tables they are printed in.

`paper_effects` has the numbers that the paper prints of them, `claims` the verdicts; `00_scorecard` shows them.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from hinas_nb import files, locations
from hinas_nb.evidence.effects import CHANCE
from hinas_nb.experiment.config import Task
from hinas_nb.scoring.units import METRICS
from hinas_nb.settings import Config, ConfigError


class Judged(Config):
    """Says how a metric is judged, by the rule in `stats`."""

    direction: Literal[-1, 1]
    margin: float = 0.0


class Claim(Config):
    """One claim; the comments in `params/claims.yaml` say what the fields mean."""

    claim: str
    place: str
    notebooks: tuple[str, ...]
    compare: Annotated[tuple[tuple[str, str], ...], Field(min_length=1)]
    metrics: Annotated[dict[str, Judged], Field(min_length=1)]
    tasks: tuple[Task, ...] = ("denoise", "sr")
    tables: tuple[int, ...] = ()
    said: dict[str, tuple[float, float]] = {}


class Table(Config):
    """Says which row of a published table is which arm."""

    rows: dict[str, str]
    others: dict[str, str] = {}
    runs: int = 3
    like: tuple[tuple[int, str], ...] = ()


class ClaimFile(Config):
    """The whole file."""

    tables: dict[int, Table]
    claims: dict[str, Claim]


def load() -> ClaimFile:
    """Return the claims of the collection, every name in them checked; read once. Raises ConfigError, OSError."""
    return _load(path())


def path() -> Path:
    return locations.home() / "params" / "claims.yaml"


def chosen(names: Sequence[str] | None) -> dict[str, Claim]:
    """Return these claims by name, or all. Raises ConfigError for a name that is none."""
    known = load().claims
    names = list(known) if names is None else names
    for name in names:
        _known("claim", name, known)
    return {name: known[name] for name in names}


@functools.cache
def _load(path: Path) -> ClaimFile:
    try:
        file = ClaimFile(**files.read_yaml(path))
        _check(file)
    except ConfigError as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from None
    except files.FileContentError as error:
        raise ConfigError(str(error)) from None
    return file


def _check(file: ClaimFile) -> None:
    """Refuse names that nothing stands behind: they would read as missing evidence."""
    for number, table in file.tables.items():
        for other, arm in table.like:
            _known("table", other, file.tables, f" in like of table {number}")
            _known("arm", arm, file.tables[other].rows, f" in like of table {number}")
    for name, claim in file.claims.items():
        for metric in (*claim.metrics, *claim.said):
            _known("metric", metric, METRICS, f" in claim {name}")
        for number in claim.tables:
            _known("table", number, file.tables, f" in claim {name}")
        printed = {arm for number in claim.tables for arm in file.tables[number].rows | file.tables[number].others}
        for arm in (arm for pair in claim.compare if printed for arm in pair):
            _known("arm", arm, [*sorted(printed), CHANCE], f" in claim {name}")


def _known(what: str, name, names, where: str = "") -> None:
    if name not in names:
        raise ConfigError(f"{what} must be one of {', '.join(map(str, names))}, got {name!r}{where}")
