"""What the paper claims, read from `params/claims.yaml`: arms, comparisons, and the tables they are printed in.

`said` and `evidence` find the two sides of a claim, `claims` judges them; notebook `00_scorecard` shows the verdicts.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from hinas_nb import files, locations
from hinas_nb.experiment.config import Comparator, Epoch, Perturbed, Task
from hinas_nb.scoring.units import METRICS
from hinas_nb.settings import Config, ConfigError

CHANCE = "chance"  # as second arm: what random genotypes show
PUBLISHED_ONLY = "published_only"  # marks an arm that nothing here computes
#: Of the found network: what an arm's `genotype` may name.
INSTEAD: dict[str, type[Config]] = {kind.__name__: kind for kind in (Perturbed, Epoch, Comparator)}


class Judged(Config):
    """How a metric is judged; see the rule in `stats`."""

    direction: Literal[-1, 1]
    margin: float = 0.0


class Claim(Config):
    """One claim; the comments in `params/claims.yaml` say what the fields mean."""

    claim: str
    place: str
    notebooks: Annotated[tuple[str, ...], Field(min_length=1)]
    compare: Annotated[tuple[tuple[str, str], ...], Field(min_length=1)]
    metrics: Annotated[dict[str, Judged], Field(min_length=1)]
    tasks: tuple[Task, ...] = ("denoise", "sr")
    tables: tuple[int, ...] = ()
    said: dict[str, tuple[float, float]] = {}
    seed: Literal["seed", "train.seed"] = "seed"
    headline: bool = False


class Table(Config):
    """Which row of a published table is which arm."""

    rows: dict[str, str]
    others: dict[str, str] = {}
    runs: int = 3
    like: tuple[tuple[int, str], ...] = ()


class ClaimFile(Config):
    """The whole file."""

    arms: dict[str, dict[str, Any]]
    tables: dict[int, Table]
    claims: dict[str, Claim]


def load() -> ClaimFile:
    """The claims of the collection, every name in them checked; read once. Raises ConfigError, OSError."""
    return _load(path())


def path() -> Path:
    return locations.home() / "params" / "claims.yaml"


def chosen(names: Sequence[str] | None) -> dict[str, Claim]:
    """These claims by name, or all. Raises ConfigError for a name that is none."""
    known = load().claims
    for name in known if names is None else names:
        if name not in known:
            raise ConfigError(f"claim must be one of {', '.join(known)}, got {name!r}")
    return {name: known[name] for name in (known if names is None else names)}


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

    def known(what: str, name, names, where: str) -> None:
        if name not in names:
            raise ConfigError(f"{what} must be one of {', '.join(map(str, names))}, got {name!r} in {where}")

    for name, changes in file.arms.items():
        for kind in changes.get("genotype", {}):
            known("genotype", kind, INSTEAD, f"arm {name}")
    for number, table in file.tables.items():
        for arm in table.rows | table.others:
            known("arm", arm, file.arms, f"table {number}")
        for other, arm in table.like:
            known("table", other, file.tables, f"like of table {number}")
            known("arm", arm, file.tables[other].rows, f"like of table {number}")
    for name, claim in file.claims.items():
        for metric in (*claim.metrics, *claim.said):
            known("metric", metric, METRICS, f"claim {name}")
        for number in claim.tables:
            known("table", number, file.tables, f"claim {name}")
        for treatment, control in claim.compare:
            known("arm", treatment, file.arms, f"claim {name}")
            known("arm", control, [*file.arms, CHANCE], f"claim {name}")
