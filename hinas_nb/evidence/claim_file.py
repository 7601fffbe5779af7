"""Read from `params/claims.yaml` what the paper claims and where: comparisons, and the tables they are printed in.

`paper_effects` has the numbers that the paper prints of them, `claims` the verdicts; `00_scorecard` shows them.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from hinas_nb import files, locations
from hinas_nb.experiment.config import Task
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
    """Return the claims of the collection, read once. Raises ConfigError, OSError."""
    return _load(path())


def path() -> Path:
    return locations.home() / "params" / "claims.yaml"


def chosen(names: Sequence[str] | None) -> dict[str, Claim]:
    """Return these claims by name, or all. Raises ConfigError for a name that is none."""
    known = load().claims
    names = list(known) if names is None else names
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"claim must be one of {', '.join(known)}, got {unknown[0]!r}")
    return {name: known[name] for name in names}


@functools.cache
def _load(path: Path) -> ClaimFile:
    try:
        return ClaimFile(**files.read_yaml(path))
    except ConfigError as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from None
