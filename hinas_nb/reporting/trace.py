"""`hinas-nb why` traces a published number, or a Run's hash, to the Runs and tables that it comes from."""

import csv
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

from hinas_nb import files
from hinas_nb.running import notes
from hinas_nb.running.notes import Finished
from hinas_nb.settings import shown
from hinas_nb.use import networks

_NUMBER = re.compile(r"[+-]?\d[\d,]*(\.\d+)?")
_PRINTED = _NUMBER.pattern.replace("(", "(?:")
_HASH = re.compile(r"[0-9a-f]{6,64}")


def why(word: str, results: Path) -> list[str]:
    """Return where a number stands, or what a Run is, what it rests on and what rests on it, a line each.

    word: a number as it is printed, such as `25.43` or `161,929`, or six and more digits of a hash. A number is found
    in the answers of notebooks, in the cards of the networks that are installed along, and wherever a value rounds to
    it: in the summaries of finished Runs and in the tables below a results folder.
    Raises ValueError where nothing is found, StoreError and FileContentError where a Run of that hash is damaged.
    """
    if not (_HASH.fullmatch(word) or _NUMBER.fullmatch(word)):
        raise ValueError(f"word must be a number, or six and more digits of a Run's hash, got {shown(word)}")
    kinds = sorted(results.glob("*/runs/*/"))
    runs = dict(itertools.chain(*(notes.all_finished(kind.parent, kind.name) for kind in kinds)))
    lines = []
    if _HASH.fullmatch(word):
        for folder in runs:
            if folder.name.startswith(word):
                lines += _told(folder, runs, results)
    if _NUMBER.fullmatch(word):
        lines += _in_texts(word, results)
        for folder, run in runs.items():
            hits = [f"{name} {value:g}" for name, value in run.summary.items() if _rounds_to(value, word)]
            if hits:
                lines += [f"{_named(folder, runs, results)}: {', '.join(hits)}", *_rests_on(folder, runs, results)]
        tables = results.glob("*/tables/*.csv")
        for path in sorted(tables, key=lambda one: ("by-image" in one.name, one)):  # what single images score is last
            lines += [f"{path.relative_to(results)}: {hit}" for hit in _in_table(path, word)]
    if not lines:
        for folder in itertools.chain(*(kind.glob(f"{word}*") for kind in kinds if _HASH.fullmatch(word))):
            notes.finished(folder)  # refuses what is damaged
            return [f"{folder.relative_to(results)}: not finished; hinas-nb status tells how far it is"]
        raise ValueError(f"no answer, card, Run or table in {results} holds {word}: it must be as it is printed")
    return lines


def _in_texts(word: str, results: Path) -> Iterator[str]:
    """Yield the clauses of answers, and the lines of model cards, that hold the number, with a plus or without."""
    for path in sorted(results.glob("*/answers/*.json")):
        said = re.split(r"[;:.] ", str(files.read_json(path).get("answer", "")))
        yield from (f"{path.relative_to(results)}: {clause}" for clause in said if _holds(clause, word))
    for path in sorted(networks.SHIPPED.glob("*.md")):
        rows = files.read_bytes(path).decode("utf-8").splitlines()
        yield from (f"card {path.name}: {row.strip('| ').replace(' | ', ', ')}" for row in rows if _holds(row, word))


def _holds(text: str, word: str) -> bool:
    return word.lstrip("+") in (number.lstrip("+") for number in re.findall(_PRINTED, text))


def _told(folder: Path, runs: Mapping[Path, Finished], results: Path) -> list[str]:
    run = runs[folder]
    numbers = ", ".join(f"{name} {value:g}" for name, value in run.summary.items() if isinstance(value, (int, float)))
    made = f"{run.seconds / 60:.1f} min on {run.where}"
    above = [other for other, one in runs.items() if _settings(run) in _parts(one.config)]
    uses = [f"  used by {_named(other, runs, results)}" for other in above]
    said = [_named(folder, runs, results), f"  {numbers}", f"  {made}, commit {run.commit}"]
    return [*said, *_rests_on(folder, runs, results), *uses]


def _rests_on(folder: Path, runs: Mapping[Path, Finished], results: Path) -> list[str]:
    """Return the Runs whose settings stand inside those of this one, and the data, a line each."""
    parts = _parts(runs[folder].config)
    below = [other for other, one in runs.items() if _settings(one) in parts]
    lines = [f"  from {_named(other, runs, results)}" for other in below]
    return [*lines, f"  from data {', '.join(runs[folder].data)}"]


def _named(folder: Path, runs: Mapping[Path, Finished], results: Path) -> str:
    outdated = runs[folder].outdated
    return f"{folder.relative_to(results)} ({runs[folder].what}{', ' + outdated if outdated else ''})"


def _settings(run: Finished) -> dict[str, Any]:
    return {name: value for name, value in run.config.items() if name != "kind"}


def _parts(value: Any) -> list[dict]:
    """Return every group of settings inside others, without the kinds of configs."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    dicts = [{name: one for name, one in each.items() if name != "kind"} for each in inner if isinstance(each, dict)]
    return dicts + [part for each in inner for part in _parts(each)]


def _in_table(path: Path, word: str) -> Iterator[str]:
    """Yield every cell of a table that holds the number: the words of its row, its column and what stands there."""
    try:
        header, *rows = [*csv.reader(files.read_bytes(path).decode("utf-8", "replace").splitlines())] or [[]]
    except csv.Error:  # no table of ours
        return
    for row in rows:
        words = [cell for cell in row if cell and not _NUMBER.match(cell)] or row[:1]
        for column, cell in zip(header, row):
            if _rounds_to(cell, word) or _holds(cell, word):
                yield f"row {shorten(', '.join(words), 80, placeholder=' ...')!r}, column {column!r}: {cell}"


def _rounds_to(value: Any, word: str) -> bool:
    places = len(word.partition(".")[2])
    try:
        return f"{float(value):+.{places}f}".lstrip("+") == f"{float(word.replace(',', '')):+.{places}f}".lstrip("+")
    except (TypeError, ValueError):
        return False
