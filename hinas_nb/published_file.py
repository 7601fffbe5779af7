"""A table of the paper as a file prints it: `params/published/table_NN.yaml`, line by line, with ± below a row.

Nothing is corrected: a cell that cannot be right, or not of these images, must have a flag. `published` reads it.
"""

import math
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from hinas_nb import files, places
from hinas_nb.config import Count, Positive, Scale, Task
from hinas_nb.settings import Config, ConfigError

UNITS = {"psnr": "dB", "ssim": "", "parameters_m": "M", "time_s": "s", "gpus": "their kind", "hours": "h"}
#: What a cell must look like. M: millions; hours: on so many GPUs.
SHAPES = {
    "psnr": ("a number", r"\d+(\.\d+)?"),
    "ssim": ("a number", r"\d+(\.\d+)?"),
    "parameters_m": ("a decimal number or a range", r"\d+\.\d+(-\d+\.\d+)?"),
    "time_s": ("a number", r"\d+(\.\d+)?"),
    "gpus": ("a count and a kind", r"\d+ \w+"),
    "hours": ("a number", r"\d+(\.\d+)?"),
    "scale": ("×2, ×3 or ×4", r"×[234]"),
}
EMPTY = ("", "-")
BELIEVABLE = {"psnr": (15, 45), "ssim": (0, 1)}  # dB; a cell outside must have a flag


class Column(Config):
    """What stands below a heading. metric: none for words and check marks; degradation: sigma (0-255) or scale."""

    header: str
    metric: Literal["psnr", "ssim", "parameters_m", "time_s", "gpus", "hours", "scale"] | None = None
    data: str = ""  # images, by our name: BSDS500 (its test split, "BSD200") and B100 ("BSD100")
    degradation: Positive | None = None


class Where(Config):
    """A cell, or a whole row."""

    row: str
    column: str | None = None
    degradation: Positive | None = None  # where a name stands in several rows

    def __str__(self) -> str:
        scale = f" x{self.degradation:g}" if self.degradation else ""
        return f"{self.row}{scale}, {self.column or 'all cells'}"


class Flag(Config):
    """Why a cell is not to be believed."""

    where: Where
    reason: str


class Source(Config):
    """What has to be known about rows that the protocol of the table does not speak of."""

    rows: tuple[str, ...]
    note: str
    scored: str = ""  # in a few words, how their scores were made, as far as it is known; where that is from
    comparable: Literal["no", "unknown"] = "unknown"  # with the scores that the protocol of the table speaks of


class Contradiction(Config):
    """The paper's text against its table."""

    place: str
    says: str
    prints: str


class Row(NamedTuple):
    """A printed row. degradation: its scale, where the table has a column for it."""

    name: str
    degradation: float | None
    cells: tuple[str, ...]
    deviations: tuple[str, ...]


class Table(Config):
    """One table; `cells` as printed, columns parted by |, below a row its deviations with an empty first cell."""

    number: Annotated[int, Field(ge=1, le=12)]
    title: str
    place: str
    task: Task
    first: str  # heading of the first column
    protocol: str
    scored: str = ""  # the protocol in a few words
    columns: tuple[Column, ...]
    cells: str
    differences: tuple[str, ...] = ()  # rows that are not scores but what the paper subtracted
    remarks: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    flags: tuple[Flag, ...] = ()
    text: tuple[Contradiction, ...] = ()

    @model_validator(mode="after")
    def _check(self):
        rows = list(self.rows())
        for keys in ([(row.name, row.degradation) for row in rows], [column.header for column in self.columns]):
            twice = [key for key in keys if keys.count(key) > 1]
            if twice:
                raise ValueError(f"a row or column must stand once, got {twice[0]} more than once")
        for name in (*self.differences, *(name for source in self.sources for name in source.rows)):
            if name not in {row.name for row in rows}:
                raise ValueError(f"a named row must stand in the table, got {name}")
        for flag in self.flags:
            if not any(_meant(flag.where, row, column) for row in rows for column in self.columns):
                raise ValueError(f"a flag must name a cell of the table, got {flag.where}")
        for row in rows:
            for column, cell, deviation in zip(self.columns, row.cells, row.deviations):
                self._check_cell(row, column, cell, deviation)
        return self

    def _check_cell(self, row: Row, column: Column, cell: str, deviation: str) -> None:
        place = f"{column.header} of {row.name}"
        if column.metric is None:
            return
        shape, pattern = SHAPES[column.metric]
        if not re.fullmatch(pattern, cell) and (cell not in EMPTY or column.metric == "scale"):
            raise ValueError(f"{place} must be {shape}, got {cell!r}")
        if self.flag(row, column):
            return
        if deviation and math.isnan(deviation_in(deviation)):
            raise ValueError(f"deviation of {place} must be a decimal number or have a flag, got {deviation!r}")
        low, high = BELIEVABLE.get(column.metric, (0, math.inf))
        value = numbers_in(cell)[-1] if cell not in EMPTY else low
        if not low <= value <= high and row.name not in self.differences:
            raise ValueError(f"{place} must be in [{low}, {high}] or have a flag, got {cell}")

    def rows(self) -> Iterator[Row]:
        """Printed rows, top to bottom. Raises ValueError for a line with too few or too many cells."""
        count = len(self.columns)
        lines = [[cell.strip() for cell in line.split("|")] for line in self.cells.strip("\n").split("\n")]
        for line, above, below in zip(lines, [[""], *lines], [*lines[1:], ["none"]]):
            if len(line) != count + 1:
                raise ValueError(f"a line must have {count + 1} cells, got {len(line)}: {' | '.join(line)[:60]}")
            if not line[0] and not above[0]:
                raise ValueError(f"a line without a name must stand below its row, got {' | '.join(line)[:60]}")
            if line[0]:
                scales = [numbers_in(cell) for column, cell in zip(self.columns, line[1:]) if column.metric == "scale"]
                degradation = scales[0][0] if scales and scales[0] else None
                yield Row(line[0], degradation, tuple(line[1:]), ("",) * count if below[0] else tuple(below[1:]))

    def flag(self, row: Row, column: Column) -> str:
        """Why this cell is not to be believed, or ""."""
        return "; ".join(flag.reason for flag in self.flags if _meant(flag.where, row, column))

    def note(self, row: Row) -> str:
        """How the row was made, as far as it is known."""
        source = self.source(row)
        return source.note if source else self.protocol

    def source(self, row: Row) -> Source | None:
        """What has to be known about the row, if the protocol of the table does not speak of it."""
        return next((source for source in self.sources if row.name in source.rows), None)


class Known(Config):
    """A count of trainable parameters that somebody published."""

    system: str
    count: Count
    rounded: Count = 1  # printed to this many parameters
    row: str = ""  # its row in tables 8 to 12
    task: Task | None = None
    scale: Scale | None = None
    what: str = ""


class Counts(Config):
    """The file of parameter counts."""

    counts: tuple[Known, ...]


def numbers_in(cell: str) -> list[float]:
    """The numbers of a cell, two of a range; a word after them is not looked at."""
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", cell.partition(" ")[0])]


def deviation_in(cell: str) -> float:
    """NaN where there is none, or none that can be read."""
    return float(cell.removeprefix("±")) if re.fullmatch(r"±?\d+\.\d+", cell) else math.nan


def numbers() -> list[int]:
    """Numbers of the tables that are there. Raises ConfigError if there is none."""
    found = sorted(int(path.stem.removeprefix("table_")) for path in _folder().glob("table_[0-9][0-9].yaml"))
    if not found:
        raise ConfigError(f"{_folder()} must hold the published tables, got no table_NN.yaml")
    return found


def load(number: int) -> Table:
    """A table, checked. Raises ConfigError, OSError."""
    if number not in numbers():
        raise ConfigError(f"table must be one of {' '.join(map(str, numbers()))}, got {number!r}")
    path = _folder() / f"table_{number:02d}.yaml"
    found = _parsed(Table, path)
    if found.number != number:
        raise ConfigError(f"{path}: number must be the file's, got {found.number}")
    return found


def counts() -> tuple[Known, ...]:
    """Parameter counts published elsewhere. Raises ConfigError, OSError."""
    return _parsed(Counts, _folder() / "parameters.yaml").counts


def _meant(where: Where, row: Row, column: Column) -> bool:
    same_row = where.row == row.name and where.degradation in (None, row.degradation)
    return same_row and where.column in (None, column.header)


def _folder() -> Path:
    return places.home() / "params" / "published"


@cache
def _parsed(model: type[Config], path: Path):
    try:
        return model(**files.read_yaml(path))
    except files.FileContentError as error:
        raise ConfigError(str(error)) from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
