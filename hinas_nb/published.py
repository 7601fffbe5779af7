"""What the paper prints: its tables 1 to 12 as data, and parameter counts that are published elsewhere.

    published.table(10)     # tidy: one row per number
    published.wide(10)      # as printed
    published.notes(10)     # protocol, flagged cells, where the paper's text says something else

Read from `params/published/`. All notebooks that stand beside a table read it here; the claims of `00_scorecard` are
judged on it.
"""

import math
from collections.abc import Iterator

import pandas as pd

from hinas_nb import published_file
from hinas_nb.published_file import EMPTY, UNITS, Column, Row, Table, deviation_in, numbers_in

MARK = " (!)"  # after a flagged cell
NOTES = ["table", "kind", "where", "note"]
COUNTS = ["system", "row", "task", "scale", "parameters", "rounded", "what"]


def table(number: int) -> pd.DataFrame:
    """Tidy, one row per printed number, top to bottom and left to right.

    Columns: table, row, column, task, data, degradation (sigma in 0-255 grey levels or scale; NaN where one number
    is of all), metric, value (NaN where a cell is empty or a dash), deviation, unit, flag ("" if none), note.
    A range is two rows, `parameters_m_low` and `parameters_m` (its upper end). `gpu_hours` is not printed: `gpus`
    times `hours`. `psnr_change` and `ssim_change` are differences that the paper took itself.
    Raises ConfigError, OSError.
    """
    found = published_file.load(number)
    records = [record for row in found.rows() for record in _records(found, row)]
    return pd.DataFrame(records).astype({"degradation": float, "value": float, "deviation": float})


def wide(number: int) -> pd.DataFrame:
    """As the paper prints it, text for people; rows of one name are told apart, a flagged cell ends with (!).

    Raises ConfigError, OSError.
    """
    found = published_file.load(number)
    lines = []
    for row in found.rows():
        cells = {found.first: row.name}
        for column, cell, deviation in zip(found.columns, row.cells, row.deviations):
            spread = f" ± {deviation.removeprefix('±')}" if deviation else ""
            flagged = cell not in EMPTY and column.metric in UNITS and found.flag(row, column)
            cells[column.header] = cell + spread + (MARK if flagged else "")
        lines.append(cells)
    return pd.DataFrame(lines)


def notes(number: int) -> pd.DataFrame:
    """What has to be known before a number of the table is used. Columns: table, kind, where, note.

    Raises ConfigError, OSError.
    """
    found = published_file.load(number)
    rows = [("protocol", found.place, found.protocol)]
    rows += [("source", ", ".join(source.rows), source.note) for source in found.sources]
    rows += [("remark", f"table {number}", remark) for remark in found.remarks]
    rows += [("flag", str(flag.where), flag.reason) for flag in found.flags]
    rows += [("text against table", c.place, f"the text: {c.says}; the table: {c.prints}") for c in found.text]
    return pd.DataFrame([(number, *row) for row in rows], columns=NOTES)


def origins(number: int) -> pd.DataFrame:
    """How the scores of each row were made, and whether they can be compared with those of the paper's own networks.

    Columns: row, scored, comparable ("own" for the rows that the protocol of the table speaks of), note.
    Raises ConfigError, OSError.
    """
    found = published_file.load(number)
    lines = []
    for row in found.rows():
        source = found.source(row)
        known = (source.scored, source.comparable) if source else (found.scored, "own")
        lines.append((row.name, *known, found.note(row)))
    return pd.DataFrame(lines, columns=["row", "scored", "comparable", "note"])


def numbers() -> list[int]:
    """Numbers of the tables that are there. Raises ConfigError if there is none."""
    return published_file.numbers()


def parameters() -> pd.DataFrame:
    """Trainable parameters published elsewhere; several rows where counts conflict.

    Columns: system, row (of tables 8 to 12), task ("" for both), scale (NaN for all), parameters,
    rounded (printed to this many parameters), what (is counted).
    Raises ConfigError, OSError.
    """
    known = pd.DataFrame([count.model_dump() for count in published_file.counts()])
    known = known.rename(columns={"count": "parameters"}).astype({"scale": float})
    return known.assign(task=known["task"].fillna(""))[COUNTS]


def _records(found: Table, row: Row) -> Iterator[dict]:
    for column, cell, deviation in zip(found.columns, row.cells, row.deviations):
        if column.metric not in UNITS:
            continue
        values = [math.nan] if cell in EMPTY else numbers_in(cell)
        unit = cell.partition(" ")[2] if column.metric == "gpus" else UNITS[column.metric]
        metric = f"{column.metric}_change" if row.name in found.differences else column.metric
        read = deviation_in(deviation)
        if len(values) == 2:
            yield _record(found, row, column, f"{metric}_low", values[0], read, unit)
        yield _record(found, row, column, metric, values[-1], read, unit)
    spent = {column.metric: (column, cell) for column, cell in zip(found.columns, row.cells)}
    if "gpus" in spent and "hours" in spent:
        (column, gpus), (_, hours) = spent["gpus"], spent["hours"]
        product = math.nan if {gpus, hours} & set(EMPTY) else numbers_in(gpus)[0] * numbers_in(hours)[0]
        note = {"column": "", "note": f"computed: {gpus} times {hours} h"}
        yield _record(found, row, column, "gpu_hours", product, math.nan, "GPU h") | note


def _record(
    found: Table, row: Row, column: Column, metric: str, value: float, deviation: float, unit: str
) -> dict[str, object]:
    return {
        "table": found.number,
        "row": row.name,
        "column": column.header,
        "task": found.task,
        "data": column.data,
        "degradation": row.degradation if column.degradation is None else column.degradation,
        "metric": metric,
        "value": value,
        "deviation": deviation,
        "unit": unit,
        "flag": found.flag(row, column),
        "note": found.note(row),
    }
