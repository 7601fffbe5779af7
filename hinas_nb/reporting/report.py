"""The page a person opens: `results/<profile>/index.html`, made of what notebooks published and Runs left.

It needs no network and no program, only its neighbours in the results folder; nothing on it is typed by hand.
"""

import csv
import json
import struct
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from hinas_nb import files, locations
from hinas_nb.experiment.profile import load_profile
from hinas_nb.figures.style import CSS_PIXELS_PER_INCH, DPI
from hinas_nb.reporting.report_style import CSS
from hinas_nb.running import notes, status
from hinas_nb.running.store import Store
from hinas_nb.settings import ConfigError

LONG_TABLE = 20  # rows; a longer one is folded
SHOWN_ROWS = 300
LONG_TEXT = 50  # characters; a longer cell is broken into lines
BROAD = 2  # width by height; a broader figure takes the whole row, or its words would be too small to read
PROVENANCE = {"commit", "dirty", "machine", "versions"}
FIRST = {"revisions": {"search": 1}}  # of what was published before revisions were noted
VERDICTS = ("supports", "contradicts", "undecided", "no evidence")
LICENCE = (
    "Code, figures and tables: Apache-2.0. Photographs keep the licence of their data set (notebook "
    "01_data_and_protocols says which); published numbers are the paper's."
)


class ReportError(ValueError):
    """Nothing to report, or a published file that cannot be read; the text is one line."""


def write(folder: Path) -> Path:
    """Write `index.html` into a profile's folder of results, and into its variants'. Raises ReportError, OSError."""
    variants = {path: _answers(path) for path in sorted(locations.variant(folder, "").glob("*")) if _names(path)}
    if not variants and not _names(folder):
        raise ReportError(f"{folder} must hold results to report, got none: hinas-nb run all --profile {folder.name}")
    for variant, answers in variants.items():
        _write(variant, answers, folder, {})
    return _write(folder, _answers(folder), None, variants)


def _names(folder: Path) -> list[str]:
    """The notebooks that left something in a folder."""
    return sorted(
        {path.stem for kind in ("answers/*.json", "html/*.html") for path in folder.glob(kind)}
        | {path.name.removesuffix(".failed.ipynb") for path in folder.glob("notebooks/*.failed.ipynb")}
    )


def _answers(folder: Path) -> dict[str, dict]:
    return {name: _answer(folder, name) for name in _names(folder)}


def _write(folder: Path, answers: dict, reference: Path | None, variants: dict[Path, dict]) -> Path:
    """The page of a profile, or that of a variant, beside its `reference`."""
    cost = status.status(Store(folder / "runs")) if (folder / "runs").is_dir() else pd.DataFrame()
    sections = "\n".join(_section(folder, name, answer, reference) for name, answer in answers.items())
    page = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>HiNAS, {escape(_budget(folder, reference))}</title><style>{CSS}</style></head><body>
{_header(folder, answers, cost, reference)}
<main>
{_overview(folder, answers)}
{_variants(folder, variants)}
{sections}
{_runs(cost)}
{_provenance(answers)}
</main>
<footer>{LICENCE}</footer>
</body></html>
"""
    target = folder / "index.html"
    files.write_atomic(target, page.encode(errors="backslashreplace"))  # a damaged note may hold half a letter
    return target


def _budget(folder: Path, reference: Path | None) -> str:
    return f"{folder.name}, a variant of the {reference.name} budget" if reference else f"{folder.name} budget"


def _answer(folder: Path, name: str) -> dict:
    path = folder / "answers" / f"{name}.json"
    nothing = {"changed": "", "question": "", "answer": "", "figures": {}, "tables": {}, "provenance": {}}
    nothing |= {"revisions": {}}
    if not path.exists():
        return nothing
    try:
        answer = nothing | FIRST | json.loads(path.read_text(encoding="utf-8"))
        known = answer["provenance"]
        kinds = all(isinstance(answer[key], type(value)) for key, value in nothing.items())
        texts = [*answer["figures"].values(), *answer["tables"].values()] if kinds else [None]
        words = all(isinstance(text, str) for text in texts)
        numbers = all(isinstance(number, int) for number in answer["revisions"].values())
        if not words or not numbers or (known and not known.keys() >= PROVENANCE):
            raise ValueError("published by nobody here")
        return answer
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ReportError(f"{path} must be what a notebook published; run {name} again") from None


def _header(folder: Path, answers: dict, cost: pd.DataFrame, reference: Path | None) -> str:
    machine = next((a["provenance"]["machine"] for a in answers.values() if a["provenance"]), {})
    made = datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC")
    figures = sum(len(answer["figures"]) for answer in answers.values())
    facts = [
        (len(answers), "notebooks"),
        (len(cost), "Runs"),
        (_duration(cost["seconds"].sum()) if "seconds" in cost else "", "of computing"),
        (figures, "figures"),
    ]
    shown = "".join(f"<li><b>{value}</b> {escape(what)}</li>" for value, what in facts if value)
    where = f"{machine['processor']}, {machine['cores']} cores" if machine else "a machine nobody noted"
    beside = '<p>Not the budget as it is: <a href="../../index.html">that page</a>.</p>' if reference else ""
    try:
        about = load_profile((reference or folder).name).about
    except (ConfigError, OSError):  # a file of one's own elsewhere
        about = ""
    return f"""<header><p class="kicker">HiNAS notebook collection</p>
<h1>Memory-efficient architecture search for image restoration, reproduced</h1>
<p><b>{escape(_budget(folder, reference))}</b> on {escape(where)}. Page made {made}.</p>{beside}
{f'<p class="about">{escape(about)}</p>' if about else ""}
<ul class="facts">{shown}</ul></header>"""


def _overview(folder: Path, answers: dict) -> str:
    cards = []
    for name, answer in answers.items():
        failed = '<p class="failed">The last run failed; what stands here is older.</p>'
        cards.append(
            f'<a class="card" href="#{quote(name)}"><span class="number">{escape(_title(name))}</span>'
            f"<h3>{escape(answer['question'])}</h3>{_changed(answer)}<p>{escape(answer['answer'])}</p>"
            f"{_older(answer)}{failed if _failed(folder, name).exists() else ''}</a>"
        )
    return f'<section><h2>What was asked, what came out</h2><div class="cards">{"".join(cards)}</div></section>'


def _changed(answer: dict) -> str:
    return f'<p class="changed">Changed: {escape(answer["changed"])}</p>' if answer["changed"] else ""


def _variants(folder: Path, variants: dict[Path, dict]) -> str:
    """What was made with other settings, apart from the budget's own results; a line for each notebook."""
    if not variants:
        return ""
    rows = "".join(
        f'<tr><td><a href="{_address(folder, variant)}#{quote(name)}">{escape(_title(name))}</a></td>'
        f"<td>{escape(answer['changed'])}</td><td>{escape(answer['answer'])}</td></tr>"
        for variant, answers in variants.items()
        for name, answer in answers.items()
    )
    head = "<tr><th>notebook</th><th>changed</th><th>answer</th></tr>"
    table = f'<div class="wide"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>'
    return f'<section id="variants"><h2>With other settings</h2>{table}</section>'


def _address(folder: Path, variant: Path) -> str:
    return quote((variant / "index.html").relative_to(folder).as_posix())


def _beside(name: str, reference: Path | None) -> str:
    """What the budget as it is answers, for a variant."""
    if reference is None or name not in _names(reference):
        return ""
    said = escape(_answer(reference, name)["answer"])
    return f'<p>With the budget as it is: {said} (<a href="../../index.html#{quote(name)}">figures and tables</a>)</p>'


def _section(folder: Path, name: str, answer: dict, reference: Path | None) -> str:
    links = [
        f'<a href="{kind}/{quote(path.name)}">{text}</a>'
        for kind, text, path in (
            ("html", "read the executed notebook", folder / "html" / f"{name}.html"),
            ("notebooks", "as .ipynb", folder / "notebooks" / f"{name}.ipynb"),
            ("notebooks", "the failed run", _failed(folder, name)),
        )
        if path.exists()
    ]
    figures = "".join(_figure(folder, f"{name}__{key}", text) for key, text in answer["figures"].items())
    tables = "".join(_table(folder, f"{name}__{key}", text) for key, text in answer["tables"].items())
    return f"""<section id="{quote(name)}"><h2>{escape(_title(name))}</h2>
<p class="question">{escape(answer["question"])}</p>{_changed(answer)}
<p class="answer">{_badged(answer["answer"])}</p>{_beside(name, reference)}
{_older(answer)}<p class="links">{" · ".join(links)}</p><div class="figures">{figures}</div>{tables}</section>"""


def _older(answer: dict) -> str:
    """What to know of numbers that today's code would not give again."""
    old = notes.outdated(answer["revisions"])
    return f'<p class="outdated">As of {escape(old)}: no Run of it is mixed with new ones.</p>' if old else ""


def _figure(folder: Path, stem: str, caption: str) -> str:
    kinds = [kind for kind in ("svg", "png") if (folder / "figures" / f"{stem}.{kind}").exists()]
    if not kinds:
        return ""
    paths = {kind: f"figures/{quote(stem)}.{kind}" for kind in kinds}
    # Panels of photographs are smaller as bitmaps, drawings sharper as vectors.
    sizes = {kind: (folder / "figures" / f"{stem}.{kind}").stat().st_size for kind in kinds}
    shown = "svg" if "svg" in kinds and sizes["svg"] < 1_000_000 else kinds[-1]
    links = " ".join(f'<a href="{path}">{kind.upper()}</a>' for kind, path in paths.items())
    width, height = _size(folder / "figures" / f"{stem}.png") if "png" in kinds else (0, 0)
    place = f' width="{width}" height="{height}"' if width else ""  # kept free while the image is not loaded yet
    broad = ' class="broad"' if width > BROAD * height else ""
    image = f'<img src="{paths[shown]}" alt="{escape(caption)}"{place} loading="lazy">'
    return (
        f'<figure{broad}><a href="{paths[shown]}">{image}</a>'
        f"<figcaption>{escape(caption)} <small>{links}</small></figcaption></figure>"
    )


def _size(png: Path) -> tuple[int, int]:
    """Width and height in CSS pixels, from the header; nothing of what is no PNG."""
    with open(png, "rb") as file:
        head = file.read(24)
    if len(head) < 24 or not head.startswith(b"\x89PNG"):
        return 0, 0
    width, height = (round(count / DPI * CSS_PIXELS_PER_INCH) for count in struct.unpack(">II", head[16:]))
    return width, height


def _table(folder: Path, stem: str, caption: str) -> str:
    path = folder / "tables" / f"{stem}.csv"
    if not path.exists():
        return ""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            head, *rows = list(csv.reader(file)) or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ReportError(f"{path} must be a table that a notebook published, got {error}") from None
    links = f'<a href="tables/{quote(stem)}.csv">CSV</a>'
    if path.with_suffix(".tex").exists():
        links += f' <a href="tables/{quote(stem)}.tex">LaTeX</a>'
    cut = f" (first {SHOWN_ROWS} of {len(rows)} rows)" if len(rows) > SHOWN_ROWS else ""
    title = f"{escape(caption)}{cut} <small>{links}</small>"
    return _html_table(head, rows[:SHOWN_ROWS], title)


def _html_table(head: list[str], rows: list[list[str]], title: str) -> str:
    numeric = [any(cells) and all(map(_is_number, cells)) for cells in zip(*rows)] or [False] * len(head)
    heads = "".join(f"<th{' class=n' if number else ''}>{escape(name)}</th>" for name, number in zip(head, numeric))
    cells = "".join(f"<tr>{''.join(map(_cell, row, numeric))}</tr>" for row in rows)
    table = f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{cells}</tbody></table></div>'
    opened = "" if len(rows) > LONG_TABLE else " open"
    return f"<details{opened}><summary>{title}</summary>{table}</details>"


def _is_number(text: str) -> bool:
    try:
        float(text or "0")
    except ValueError:
        return False
    return True


def _cell(text: str, aligned: bool) -> str:
    """aligned: to the right, in a column of numbers alone."""
    try:
        number = float(text)
    except ValueError:
        return f"<td{' class=long' if len(text) > LONG_TEXT else ''}>{_badged(text)}</td>"
    whole = 1e4 <= abs(number) < 1e9
    shown = text if text.lstrip("+-").isdigit() else f"{number:.0f}" if whole else f"{number:.4g}"
    side = ' class="n"' if aligned else ""
    return f'<td{side} title="{escape(text)}">{escape(shown)}</td>'


def _badged(text: str) -> str:
    """A verdict, at the start of a text, as a coloured word."""
    for verdict in VERDICTS:
        if text.startswith(verdict):
            word = verdict.split()[0]
            return f'<span class="badge {word}">{escape(verdict)}</span>{escape(text[len(verdict) :])}'
    return escape(text)


def _runs(cost: pd.DataFrame) -> str:
    if cost.empty:
        return ""
    rows = [["" if pd.isna(value) else str(value) for value in row] for row in cost.itertuples(index=False)]
    table = _html_table([str(name) for name in cost.columns], rows, f"{len(rows)} Runs and what they cost")
    return f'<section id="runs"><h2>Runs</h2>{table}</section>'


def _provenance(answers: dict) -> str:
    groups: dict[str, list[str]] = {}
    for name, answer in answers.items():
        if answer["provenance"]:
            groups.setdefault(json.dumps(answer["provenance"], sort_keys=True), []).append(name)
    blocks = []
    for text, names in groups.items():
        known = json.loads(text)
        commit = (
            f"{known['commit'][:12]}{' with local changes' if known['dirty'] else ''}" if known["commit"] else "none"
        )
        facts = {"commit": commit, **known["machine"], **known["versions"]}
        lines = "".join(f"<dt>{escape(key)}</dt><dd>{escape(str(value))}</dd>" for key, value in facts.items())
        blocks.append(f"<p>{escape(', '.join(names))}</p><dl>{lines}</dl>")
    return f'<section id="provenance"><h2>Provenance</h2>{"".join(blocks)}</section>' if blocks else ""


def _failed(folder: Path, name: str) -> Path:
    return folder / "notebooks" / f"{name}.failed.ipynb"


def _title(name: str) -> str:
    number, _, words = name.partition("_")
    return f"{number} {words.replace('_', ' ')}" if number.isdigit() else name.replace("_", " ")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
