"""Read what the paper prints: its tables 1 to 12 as data, and parameter counts that are published elsewhere.

    published.table(10)     # tidy: one row per number
    published.wide(10)      # as printed
    published.notes(10)     # protocol, flagged cells, where the paper's text says something else

`params/published` holds them: `tables.csv` has a line for every printed number, `tables.yaml` what is said about the
tables, `parameters.csv` counts from elsewhere. Nothing is corrected: a cell that cannot be right has a flag. All
notebooks that stand beside a table read it here; the claims of `00_scorecard` are judged on it.
"""

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from hinas_nb import files, locations
from hinas_nb.settings import ConfigError

MARK = " (!)"  # after a flagged cell
EMPTY = ("", "-")
CELL = ("table", "line", "row", "column", "data", "degradation", "metric", "printed")
NUMBER = ("value", "deviation", "unit", "flag", "note")
NOTES = ["table", "kind", "where", "note"]
COUNTS = ("system", "row", "task", "scale", "parameters", "rounded", "what")


def table(number: int) -> pd.DataFrame:
    """Tidy, one row per printed number, top to bottom and left to right.

    Columns: table, row, column, task, data, degradation (sigma in 0-255 grey levels or scale; NaN where one number
    is of all), metric, value (NaN where a cell is empty or a dash), deviation, unit, flag ("" if none), note.
    A range is two rows, `parameters_m_low` and `parameters_m` (its upper end). `gpu_hours` is not printed: `gpus`
    times `hours`. `psnr_change` and `ssim_change` are differences that the paper took itself.
    Raises ConfigError, OSError.
    """
    cells, said = _cells(number), _said(number)
    cells = cells[cells["metric"] != ""].assign(task=said["task"])
    own = [note or _source(said, row).get("note", said["protocol"]) for row, note in zip(cells["row"], cells["note"])]
    kept = ["table", "row", "column", "task", "data", "degradation", "metric", "value", "deviation", "unit", "flag"]
    return cells[kept].assign(note=own).reset_index(drop=True)


def wide(number: int) -> pd.DataFrame:
    """Return a table as the paper prints it, as text; a flagged cell ends with (!). Raises ConfigError, OSError."""
    cells, first = _cells(number), _said(number)["first"]
    cells = cells[cells["column"] != ""].drop_duplicates(["line", "column"])
    marked = (cells["flag"] != "") & ~cells["printed"].isin(EMPTY)
    shown = cells.assign(printed=cells["printed"] + marked.map({True: MARK, False: ""}))
    lines = shown.pivot(index=["line", "row"], columns="column", values="printed")[list(dict.fromkeys(cells["column"]))]
    return lines.reset_index().drop(columns="line").rename(columns={"row": first}).rename_axis(columns=None)


def notes(number: int) -> pd.DataFrame:
    """Return what has to be known before a number of the table is used. Columns: table, kind, where, note.

    Raises ConfigError, OSError.
    """
    said, cells = _said(number), _cells(number)
    rows = [("protocol", said["place"], said["protocol"])]
    rows += [("source", ", ".join(source["rows"]), source["note"]) for source in said.get("sources", [])]
    rows += [("remark", f"table {number}", remark) for remark in said.get("remarks", [])]
    several = cells.groupby("row")["line"].nunique() > 1  # rows of one name, told apart by their scale
    for (row, _, reason), flagged in cells[cells["flag"] != ""].groupby(["row", "line", "flag"], sort=False):
        columns = list(dict.fromkeys(flagged["column"]))
        name = f"{row} x{flagged['degradation'].iloc[0]:g}" if several[row] else row
        rows.append(("flag", f"{name}, {columns[0] if len(columns) == 1 else 'all cells'}", reason))
    for one in said.get("text", []):
        rows.append(("text against table", one["place"], f"the text: {one['says']}; the table: {one['prints']}"))
    return pd.DataFrame([(number, *row) for row in rows], columns=NOTES)


def origins(number: int) -> pd.DataFrame:
    """Return how the scores of each row were made, and whether they compare with those of the paper's own networks.

    Columns: row, scored, comparable ("own" for the rows that the protocol of the table speaks of), note.
    Raises ConfigError, OSError.
    """
    said = _said(number)
    own = {"scored": said["scored"], "comparable": "own", "note": said["protocol"]}
    rows = _cells(number).drop_duplicates("line")["row"]
    lines = [{"row": row} | own | _source(said, row) for row in rows]
    return pd.DataFrame(lines)[["row", "scored", "comparable", "note"]]


def numbers() -> list[int]:
    """Return numbers of the tables that are there. Raises ConfigError, OSError."""
    return sorted(_read("tables.csv", CELL + NUMBER, locations.home())["table"].unique().tolist())


def parameters() -> pd.DataFrame:
    """Trainable parameters published elsewhere; several rows where counts conflict.

    Columns: system, row (of tables 8 to 12), task ("" for both), scale (NaN for all), parameters,
    rounded (printed to this many parameters), what (is counted).
    Raises ConfigError, OSError.
    """
    return _read("parameters.csv", COUNTS, locations.home())[list(COUNTS)].copy()


def _cells(number: int) -> pd.DataFrame:
    """Return the lines of a table in the file, a copy."""
    if number not in numbers():
        raise ConfigError(f"table must be one of {' '.join(map(str, numbers()))}, got {number!r}")
    found = _read("tables.csv", CELL + NUMBER, locations.home())
    return found[found["table"] == number].copy()


def _said(number: int) -> dict[str, Any]:
    """Return what `tables.yaml` says of a table."""
    path = _folder(locations.home()) / "tables.yaml"
    known = files.read_yaml(path)
    if f"table {number}" not in known:
        raise ConfigError(f"{path} must say where table {number} stands and how it was scored, got nothing of it")
    return known[f"table {number}"]


def _source(said: dict[str, Any], row: str) -> dict[str, str]:
    """Return how a row was made that the table's protocol does not speak of; empty for the paper's own."""
    found = next((one for one in said.get("sources", []) if row in one["rows"]), {})
    return {name: value for name, value in found.items() if name != "rows"}


@cache
def _read(name: str, columns: tuple[str, ...], home: Path) -> pd.DataFrame:
    path = _folder(home) / name
    texts = ["row", "column", "data", "metric", "printed", "unit", "flag", "note", "system", "task", "what"]
    try:
        found = pd.read_csv(path, dtype=dict.fromkeys(texts, str), keep_default_na=False, na_values={"value": [""]})
        numeric = [column for column in ("degradation", "value", "deviation", "scale") if column in found]
        found = found.assign(**{column: pd.to_numeric(found[column]).astype(float) for column in numeric})
        found[list(columns)]
    except OSError as error:
        raise ConfigError(f"{path} must hold what is published, got: {error.strerror or error}") from None
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{path} must be a table with columns {' '.join(columns)}, got: "
                          f"{' '.join(str(error).split())[:120]}") from None  # fmt: skip
    return found


def _folder(home: Path) -> Path:
    return home / "params" / "published"
