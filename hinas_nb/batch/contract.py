"""What a notebook promises, and the front door that holds it and its user to it.

Papermill injects values without asking: a misspelt name only warns, and without its tag a cell overwrites
what was injected. So everything is checked here first, from the source alone, before a kernel starts; each
refusal is one line.
"""

import ast
import difflib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hinas_nb.batch import parameters
from hinas_nb.batch.parameters import NotebookError, Parameter

PROMISES = ("Question", "Answer", "Cost", "Reads", "Writes")
#: Code whose assignments don't reach the cells.
OWN_NAMES = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)


@dataclass(frozen=True)
class Notebook:
    """A checked notebook.

    promises: what the first cell says: its Title and the texts of `PROMISES`.
    parameters: the tagged cell, by name.
    cells: (number from 1, tags, source) of every code cell.
    """

    path: Path
    promises: dict[str, str]
    parameters: dict[str, Parameter]
    cells: tuple[tuple[int, frozenset[str], str], ...]
    has_outputs: bool

    @property
    def name(self) -> str:
        return self.path.stem

    def values(self, assignments: list[str], profile: str) -> dict[str, Any]:
        """What to inject for `name=value` texts and a profile. Raises NotebookError."""
        values: dict[str, Any] = {"profile": profile}
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            if not equals or not name.isidentifier():
                raise NotebookError(f"a parameter must be given as name=value, got {assignment!r}")
            if name == "profile":
                raise NotebookError(f"profile must be given as --profile {text}, got -p {assignment}")
            if name in values:
                raise NotebookError(f"parameter {name} must be given once, got it twice")
            if name not in self.parameters:
                raise NotebookError(f"{self.name}: unknown parameter {name}; {_hint(name, self.parameters)}")
            values[name] = self.parameters[name].parse(text, self.name)
        return values


def find(names: list[str], folder: Path) -> list[Path]:
    """Notebook files for `all`, numbers (`5`, `05`), names or paths; each once, in the order named."""
    available = sorted(path for path in folder.glob("*.ipynb") if not path.name.startswith("."))
    found: dict[Path, None] = {}
    for name in names:
        if name == "all":
            if not available:
                raise NotebookError(f"no notebooks in {folder}; name the collection's folder in HINAS_HOME")
            found |= dict.fromkeys(available)
        elif name.endswith(".ipynb") and Path(name).is_file():
            found[Path(name).resolve()] = None
        else:
            found[_one(name, available, folder)] = None
    return list(found)


def read(path: Path) -> Notebook:
    """Read and check one notebook. Raises NotebookError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        cells = [(number, cell, "".join(cell["source"])) for number, cell in enumerate(content["cells"], 1)]
        code = [
            (number, frozenset(cell["metadata"].get("tags", ())), source)
            for number, cell, source in cells
            if cell["cell_type"] == "code"
        ]
        has_outputs = any(cell.get("outputs") for _, cell, _ in cells)
        first = cells[0][2] if cells and cells[0][1]["cell_type"] == "markdown" else ""
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise NotebookError(f"{path.name} must be a notebook (version 4 JSON), got something else") from None
    if any("injected-parameters" in tags for _, tags, _ in code):
        raise NotebookError(f"{path.name} must be a source notebook, got an executed copy")
    tagged = [source for _, tags, source in code if "parameters" in tags]
    if len(tagged) != 1:
        raise NotebookError(f"{path.stem} must have one cell tagged parameters, got {len(tagged)}")
    if sum("runs" in tags for _, tags, _ in code) > 1:
        raise NotebookError(f"{path.stem} must have at most one cell tagged runs, got more")
    found = parameters.read(tagged[0], path.stem)
    _refuse_overwriting(code, found, path.stem)
    return Notebook(path, _promises(first), found, tuple(code), has_outputs)


def _refuse_overwriting(code, names: Iterable[str], notebook: str) -> None:
    """A later assignment would silently undo what the user asked for."""
    for number, tags, source in code:
        if "parameters" in tags:
            continue
        try:
            statements = ast.parse(source).body
        except SyntaxError:  # a magic; the kernel will judge
            continue
        for name in _assigned(statements):
            if name in names:
                where = "in the parameters cell only"
                raise NotebookError(f"{notebook}: {name} must be set {where}, got it in cell {number}")


def _assigned(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Names these statements set, however deep; what functions and comprehensions set is theirs."""
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif not isinstance(node, OWN_NAMES):
            yield from _assigned(ast.iter_child_nodes(node))


def _promises(first_cell: str) -> dict[str, str]:
    """`**Question.** text` up to the next such word or empty line; the heading is the Title."""
    heading = re.match(r"#+ *(.+)", first_cell)
    found = {"Title": heading[1].strip()} if heading else {}
    pattern = rf"\*\*({'|'.join(PROMISES)})[.:]?\*\*[.:]?\s*(.*?)(?=\n\s*\n|\n[-* ]*\*\*|\Z)"
    for word, text in re.findall(pattern, first_cell, flags=re.DOTALL):
        found[word] = " ".join(text.split())
    return found


def _one(name: str, available: list[Path], folder: Path) -> Path:
    stem = name.removesuffix(".ipynb")
    if stem.isdigit():
        numbers = {path: re.match(r"\d+", path.stem) for path in available}
        fits = [path for path, number in numbers.items() if number and int(number[0]) == int(stem)]
    else:
        fits = [path for path in available if path.stem == stem]
    if len(fits) > 1:
        raise NotebookError(f"notebook {name} must fit one file, got {' '.join(path.name for path in fits)}")
    if not fits:
        raise NotebookError(f"no notebook {name!r} in {folder}; {_hint(stem, [p.stem for p in available])}")
    return fits[0]


def _hint(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known) or 'none'}"
