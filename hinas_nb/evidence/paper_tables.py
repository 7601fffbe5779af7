"""Read what the paper prints: its tables 1 to 12 as data.

    paper_tables.table(10)     # tidy: one row per number
    paper_tables.wide(10)      # as printed
    paper_tables.notes(10)     # protocol, flagged cells, where the paper's text says something else

`params/published` holds them: `tables.csv` has a line for every printed number, `tables.yaml` what is said about the
tables; the tests hold both to be whole and consistent. Nothing is corrected: a cell that cannot be right has a flag.
All notebooks that stand beside a table read it here; the claims of `00_scorecard` are judged on it.
"""

from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from hinas_nb import files, locations
from hinas_nb.settings import ConfigError

MARK = " (!)"  # after a flagged cell
_EMPTY = ("", "-")
_PLACE = Path("params", "published")


def table(number: int) -> pd.DataFrame:
    """Return a table of the paper, tidy: one row per printed number, top to bottom and left to right.

    Columns: table, row, column, task, data, degradation (sigma in 0-255 grey levels or scale; NaN where one number
    is of all), metric, value (NaN where a cell is empty or a dash), deviation, unit, flag ("" if none), note.
    A range is two rows, `parameters_m_low` and `parameters_m` (its upper end). `gpu_hours` is not printed: `gpus`
    times `hours`. `psnr_change` and `ssim_change` are differences that the paper took itself.
    Raises ConfigError where there is no such table.
    """
    cells, said = _cells(number), _said(number)
    cells = cells[cells["metric"] != ""].assign(task=said["task"])
    own = [note or _source(said, row).get("note", said["protocol"]) for row, note in zip(cells["row"], cells["note"])]
    kept = ["table", "row", "column", "task", "data", "degradation", "metric", "value", "deviation", "unit", "flag"]
    return cells[kept].assign(note=own).reset_index(drop=True)


def wide(number: int) -> pd.DataFrame:
    """Return a table as the paper prints it, as text; a flagged cell ends with (!)."""
    cells, first = _cells(number), _said(number)["first"]
    cells = cells[cells["column"] != ""].drop_duplicates(["line", "column"])
    marked = (cells["flag"] != "") & ~cells["printed"].isin(_EMPTY)
    shown = cells.assign(printed=cells["printed"] + marked.map({True: MARK, False: ""}))
    lines = shown.pivot(index=["line", "row"], columns="column", values="printed")[list(dict.fromkeys(cells["column"]))]
    return lines.reset_index().drop(columns="line").rename(columns={"row": first}).rename_axis(columns=None)


def notes(number: int) -> pd.DataFrame:
    """Return what has to be known before a number of the table is used. Columns: table, kind, where, note."""
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
    return pd.DataFrame([(number, *row) for row in rows], columns=["table", "kind", "where", "note"])


def origins(number: int) -> pd.DataFrame:
    """Return how the scores of each row were made, and whether they compare with those of the paper's own networks.

    Columns: row, scored, comparable ("own" for the rows that the protocol of the table speaks of), note.
    """
    said = _said(number)
    own = {"scored": said["scored"], "comparable": "own", "note": said["protocol"]}
    rows = _cells(number).drop_duplicates("line")["row"]
    lines = [{"row": row} | own | _source(said, row) for row in rows]
    return pd.DataFrame(lines)[["row", "scored", "comparable", "note"]]


def elsewhere() -> pd.DataFrame:
    """Return scores of systems that are in no table of the paper, from their own papers.

    Columns: system, task, data, degradation, psnr (dB), ssim, source.
    """
    return pd.read_csv(locations.home() / _PLACE / "elsewhere.csv")


def _cells(number: int) -> pd.DataFrame:
    """Return the lines of a table in the file, a copy."""
    found = _read(locations.home() / _PLACE / "tables.csv")
    numbers = sorted(found["table"].unique())
    if number not in numbers:
        raise ConfigError(f"table must be one of {' '.join(map(str, numbers))}, got {number!r}")
    return found[found["table"] == number].copy()


def _said(number: int) -> dict[str, Any]:
    """Return what `tables.yaml` says of a table."""
    return _read_yaml(locations.home() / _PLACE / "tables.yaml")[f"table {number}"]


def _source(said: dict[str, Any], row: str) -> dict[str, str]:
    """Return how a row was made that the table's protocol does not speak of; empty for the paper's own."""
    found = next((one for one in said.get("sources", []) if row in one["rows"]), {})
    return {name: value for name, value in found.items() if name != "rows"}


_read_yaml = cache(files.read_yaml)


@cache
def _read(path: Path) -> pd.DataFrame:
    numbers = {"table": int, "line": int} | dict.fromkeys(["degradation", "value", "deviation"], float)
    empty = {name: [""] for name in numbers}
    return pd.read_csv(path, dtype=defaultdict(lambda: str, numbers), na_values=empty, keep_default_na=False)
