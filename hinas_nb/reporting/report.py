"""The page a person opens: `results/<profile>/index.html`, made of what notebooks published and Runs left.

It needs no network and no program, only its neighbours in the results folder; nothing on it is typed by hand. How it
looks stands in `report.html.j2`; here is what it shows.
"""

import csv
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import jinja2
import pandas as pd
from pydantic import AfterValidator, BaseModel, ConfigDict

from hinas_nb import files, locations
from hinas_nb.experiment.profile import load_profile
from hinas_nb.figures.style import shown_size
from hinas_nb.running import notes, status
from hinas_nb.running.store import Store
from hinas_nb.scoring.units import duration
from hinas_nb.settings import ConfigError

LONG_TABLE = 20  # rows; a longer one is folded
SHOWN_ROWS = 300
LARGE_DRAWING = 1_000_000  # bytes; panels of photographs are smaller as bitmaps, drawings sharper as vectors
BROAD = 2  # width by height; a broader figure takes the whole row, or its words would be too small to read
VERDICTS = ("supports", "contradicts", "undecided", "no evidence")
TRIAL = "smoke"  # the budget that shows only that everything works
COMMITTED = "laptop"  # the budget whose answers come with the collection
SCORECARD = "tables/00_scorecard__verdicts.csv"
#: What is seen first: the architecture that was found, and a picture that its network restored, the first there is.
FOUND = ("03_search_denoising", "genotype")
RESTORED = (("05_train_and_restore", "panel-median"), ("07_your_own_pictures", "pair"))


def write(folder: Path) -> Path:
    """Write `index.html` into a profile's folder of results, and into its variants'. Raises ValueError, OSError."""
    variants = [path for path in sorted(locations.variant(folder, "").glob("*")) if _names(path)]
    if not variants and not _names(folder):
        raise ValueError(f"{folder} must hold results to report, got none: hinas-nb run all --profile {folder.name}")
    for variant in variants:
        _write(variant, folder, [])
    return _write(folder, None, variants)


def _whole(provenance: dict) -> dict:
    if provenance and not provenance.keys() >= {"commit", "dirty", "machine", "versions"}:
        raise ValueError("provenance must be whole")
    return provenance


class Answer(BaseModel):
    """Holds what a notebook's `Publisher` left."""

    model_config = ConfigDict(strict=True)

    changed: str = ""
    question: str = ""
    answer: str = ""
    figures: dict[str, str] = {}
    tables: dict[str, str] = {}
    provenance: Annotated[dict[str, Any], AfterValidator(_whole)] = {}
    revisions: dict[str, int] = {"search": 1}  # those of what was published before revisions were noted


def _names(folder: Path) -> list[str]:
    """Name the notebooks that left something in a folder."""
    return sorted(
        {path.stem for kind in ("answers/*.json", "html/*.html") for path in folder.glob(kind)}
        | {path.name.removesuffix(".failed.ipynb") for path in folder.glob("notebooks/*.failed.ipynb")}
    )


def _write(folder: Path, reference: Path | None, variants: list[Path]) -> Path:
    """Write the page of a profile, or that of a variant, beside its `reference`."""
    notebooks = [_notebook(folder, name, reference) for name in _names(folder)]
    answers = [notebook["answer"] for notebook in notebooks]
    cost = status.status(Store(folder / "runs")) if (folder / "runs").is_dir() else pd.DataFrame()
    machine = next((answer.provenance["machine"] for answer in answers if answer.provenance), None)
    rows = [["" if pd.isna(value) else str(value) for value in row] for row in cost.itertuples(index=False)]
    trial = (reference or folder).name == TRIAL
    page = template("report.html").render(
        trial=trial,
        short=folder.name,
        found=shown(folder, *FOUND),
        restored=next(filter(None, (shown(folder, *figure) for figure in RESTORED)), None),
        verdicts=_verdicts(folder, trial),
        budget=f"{folder.name}, a variant of the {reference.name} budget" if reference else f"{folder.name} budget",
        where=f"{machine['processor']}, {machine['cores']} cores" if machine else "a machine nobody noted",
        made=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        about=_about(reference or folder),
        variant=reference is not None,
        facts=[
            (len(answers), "notebooks"),
            (len(cost), "Runs"),
            (duration(cost["seconds"].sum()) if len(cost) else "", "of computing"),
            (sum(len(answer.figures) for answer in answers), "figures"),
        ],
        notebooks=notebooks,
        variants=[
            ((variant / "index.html").relative_to(folder).as_posix(), _notebook(variant, name, folder))
            for variant in variants
            for name in _names(variant)
        ],
        runs=_table(list(map(str, cost.columns)), rows, f"{len(rows)} Runs and what they cost", {}) if rows else None,
        provenance=_provenance(notebooks),
    )
    target = folder / "index.html"
    files.write_atomic(target, page.encode(errors="backslashreplace"))  # a damaged note may hold half a letter
    return target


def template(name: str) -> jinja2.Template:
    """Return a template of this folder; what HTML must not take literally is escaped in pages."""
    how = {"undefined": jinja2.StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=".html" in name, **how)
    environment.filters["verdict"] = lambda text: next((one for one in VERDICTS if text.startswith(one)), "")
    return environment.get_template(f"{name}.j2")


def _about(folder: Path) -> str:
    try:
        return load_profile(folder.name).about
    except (ConfigError, OSError):  # a file of one's own elsewhere
        return ""


def _notebook(folder: Path, name: str, reference: Path | None) -> dict[str, Any]:
    """Return what the page shows of a notebook; `beside` is the answer of the budget as it is, for a variant."""
    answer = answer_of(folder, name)
    links = {
        "read the executed notebook": f"html/{name}.html",
        "as .ipynb": f"notebooks/{name}.ipynb",
        "the failed run": f"notebooks/{name}.failed.ipynb",
    }
    figures = (shown(folder, name, key) for key in answer.figures)
    committed = answer_of(_committed(), name)
    tables = (_published(folder, f"{name}__{key}", text) for key, text in answer.tables.items())
    return {
        "name": name,
        "title": name.replace("_", " "),
        "answer": answer,
        "outdated": notes.outdated(answer.revisions),
        "failed": (folder / links["the failed run"]).exists(),
        "committed": committed if committed.answer else None,
        "committed_outdated": notes.outdated(committed.revisions),
        "beside": answer_of(reference, name).answer if reference and name in _names(reference) else None,
        "links": [(text, path) for text, path in links.items() if (folder / path).exists()],
        "figures": list(filter(None, figures)),
        "tables": list(filter(None, tables)),
    }


def _committed() -> Path:
    return locations.home() / "results" / COMMITTED


def _verdicts(folder: Path, trial: bool) -> list[tuple[str, dict[str, int]]]:
    """Count the verdicts of the scorecard: whose they are, and how many of each kind."""
    numbers, own = folder / SCORECARD, _committed() if trial else folder
    columns = [("On the paper's own numbers", numbers, "on the paper's evidence")]
    columns += [(f"On what was computed here, {own.name} budget", own / SCORECARD, "verdict")]
    return [(whose, tally(_column(path, name))) for whose, path, name in columns if path.exists()]


def _column(path: Path, name: str) -> pd.Series:
    try:
        return pd.read_csv(path)[name]
    except (KeyError, ValueError):
        raise ValueError(f"{path} must be a table with a column {name!r}; run the notebook again") from None


def tally(verdicts: pd.Series) -> dict[str, int]:
    """Return how many verdicts there are of each kind, in the order of `VERDICTS`."""
    return {word: count for word in VERDICTS if (count := int(verdicts.astype(str).str.startswith(word).sum()))}


def answer_of(folder: Path, name: str) -> Answer:
    """Return what a notebook published into a profile's folder, empty where it did not. Raises ValueError."""
    path = folder / "answers" / f"{name}.json"
    if not path.exists():
        return Answer(revisions={})
    try:
        return Answer.model_validate_json(path.read_bytes())
    except ValueError:
        raise ValueError(f"{path} must be what a notebook published; run {name} again") from None


def shown(folder: Path, name: str, key: str) -> dict[str, Any] | None:
    """Return what a page shows of a published figure, None where there is none."""
    caption, stem = answer_of(folder, name).figures.get(key), f"{name}__{key}"
    paths = {kind: f"figures/{stem}.{kind}" for kind in ("svg", "png") if (folder / f"figures/{stem}.{kind}").exists()}
    return None if caption is None or not paths else drawing(folder, paths, caption)


def drawing(folder: Path, paths: dict[str, str], caption: str) -> dict[str, Any]:
    """Return what a page shows of a figure, by its files below a folder, `svg` or `png` or both."""
    sharp = "svg" in paths and (folder / paths["svg"]).stat().st_size < LARGE_DRAWING
    width, height = shown_size((folder / paths["png"]).read_bytes()) if "png" in paths else (0, 0)
    return {
        "caption": caption,
        "files": paths,
        "shown": paths["svg"] if sharp else list(paths.values())[-1],
        "width": width,  # with the height, keeps its place free while the image is not loaded yet
        "height": height,
        "broad": width > BROAD * height,
    }


def _published(folder: Path, stem: str, caption: str) -> dict[str, Any] | None:
    paths = {"CSV": f"tables/{stem}.csv", "LaTeX": f"tables/{stem}.tex"}
    paths = {kind: path for kind, path in paths.items() if (folder / path).exists()}
    if "CSV" not in paths:
        return None
    try:
        with open(folder / paths["CSV"], encoding="utf-8", newline="") as file:
            head, *rows = list(csv.reader(file)) or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{folder / paths['CSV']} must be a table that a notebook published, got {error}") from None
    cut = f" (first {SHOWN_ROWS} of {len(rows)} rows)" if len(rows) > SHOWN_ROWS else ""
    return _table(head, rows[:SHOWN_ROWS], f"{caption}{cut}", paths)


def _table(head: list[str], rows: list[list[str]], title: str, paths: dict[str, str]) -> dict[str, Any]:
    """Return a table as shown; a cell is its text, its number in few digits, and whether its column is all numbers."""
    numeric = [any(cells) and all(_number(cell) or not cell for cell in cells) for cells in zip(*rows)]
    numeric = numeric or [False] * len(head)
    return {
        "title": title,
        "files": paths,
        "open": len(rows) <= LONG_TABLE,
        "columns": list(zip(head, numeric)),
        "rows": [[(text, _number(text), aligned) for text, aligned in zip(row, numeric)] for row in rows],
    }


def _number(text: str) -> str:
    """Write a number to four digits; the empty text for anything else."""
    try:
        number = float(text)
    except ValueError:
        return ""
    if text.lstrip("+-").isdigit():
        return text
    return f"{number:.0f}" if 1e4 <= abs(number) < 1e9 else f"{number:.4g}"


def _provenance(notebooks: Iterable[dict]) -> list[tuple[list[str], dict[str, Any]]]:
    """Return what notebooks were made with, those made alike together: their names and the facts."""
    groups: dict[str, list[str]] = {}
    for notebook in notebooks:
        if notebook["answer"].provenance:
            groups.setdefault(json.dumps(notebook["answer"].provenance, sort_keys=True), []).append(notebook["name"])
    found = []
    for text, names in groups.items():
        known = json.loads(text)
        changed = " with local changes" if known["dirty"] else ""
        commit = f"{known['commit'][:12]}{changed}" if known["commit"] else "none"
        found.append((names, {"commit": commit, **known["machine"], **known["versions"]}))
    return found
