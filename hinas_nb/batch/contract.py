"""A notebook makes promises, and the front door holds it and its user to them.

Papermill injects values without asking: a misspelt name only warns, and without its tag a cell overwrites
what was injected. So everything is checked here first, from the source alone, before a kernel starts; each
refusal is one line.
"""

import ast
import difflib
import json
import re
import symtable
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from hinas_nb import files

_PROMISES = ("Question", "Answer", "Cost", "Reads", "Writes")
#: What annotations of parameters are made of, such as `list[float]`.
_TYPES = {kind.__name__: kind for kind in (bool, int, float, str, list, dict)}
_EXAMPLES = {"bool": " (true or false)", "list": " such as [30, 50]", "dict": ' such as {"train.steps": 200}'}


@dataclass(frozen=True)
class Parameter:
    """One line of the tagged cell: its name, its annotation and the value it has when nobody says otherwise."""

    name: str
    annotation: str
    default: Any

    def checked(self, value: Any) -> Any:
        """Return a value as the annotation has it, or raise pydantic's ValidationError."""
        if value is None and self.default is None:
            return None
        kind = eval(self.annotation, {"__builtins__": {}}, _TYPES)  # names of _TYPES alone, see `_parameter`
        return TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False)).validate_python(value)

    def parse(self, text: str, notebook: str) -> Any:
        """Return the value that a user wrote on the command line. Raises ValueError."""
        try:
            return self.checked(text if self.annotation == "str" else _literal(text))
        except (ValueError, yaml.YAMLError, RecursionError):  # of pydantic, of dates and of huge numbers
            rule = f"{self.annotation}{_EXAMPLES.get(self.annotation.partition('[')[0], '')}"
            raise ValueError(f"{notebook}: {self.name} must be {rule}, got {text!r}") from None


@dataclass(frozen=True)
class Notebook:
    """A checked notebook.

    promises: what the first cell says: its Title and the texts of `_PROMISES`.
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
        """Return what to inject for `name=value` texts and a profile. Raises ValueError."""
        values: dict[str, Any] = {"profile": profile}
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            if not equals or not name.isidentifier():
                raise ValueError(f"a parameter must be given as name=value, got {assignment!r}")
            if name == "profile":
                raise ValueError(f"profile must be given as --profile {text}, got -p {assignment}")
            if name in values:
                raise ValueError(f"parameter {name} must be given once, got it twice")
            if name not in self.parameters:
                raise ValueError(f"{self.name}: unknown parameter {name}; {_hint(name, self.parameters)}")
            values[name] = self.parameters[name].parse(text, self.name)
        return values


def find(names: list[str], folder: Path) -> list[Path]:
    """Return the notebooks for `all`, numbers (`5`, `05`), names or paths; each once, in the order named.

    Raises ValueError.
    """
    available = sorted(path for path in folder.glob("*.ipynb") if not path.name.startswith("."))
    found: dict[Path, None] = {}
    for name in names:
        if name == "all":
            if not available:
                rule = "name the collection's folder in HINAS_HOME or lay one out by hinas-nb start FOLDER"
                raise ValueError(f"no notebooks in {folder}; {rule}")
            found |= dict.fromkeys(available)
        elif name.endswith(".ipynb") and Path(name).is_file():
            found[Path(name).resolve()] = None
        else:
            found[_one(name, available, folder)] = None
    return list(found)


def read(path: Path) -> Notebook:
    """Read and check one notebook. Raises ValueError."""
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
        raise ValueError(f"{path.name} must be a notebook (version 4 JSON), got something else") from None
    if any("injected-parameters" in tags for _, tags, _ in code):
        raise ValueError(f"{path.name} must be a source notebook, got an executed copy")
    tagged = [source for _, tags, source in code if "parameters" in tags]
    if len(tagged) != 1:
        raise ValueError(f"{path.stem} must have one cell tagged parameters, got {len(tagged)}")
    if sum("runs" in tags for _, tags, _ in code) > 1:
        raise ValueError(f"{path.stem} must have at most one cell tagged runs, got more")
    found = _parameters(tagged[0], path.stem)
    for number, tags, source in code:
        overwritten = sorted(_assigned(source) & found.keys())
        if overwritten and "parameters" not in tags:  # silently, it would undo what the user asked for
            where = f"in the parameters cell only, got it in cell {number}"
            raise ValueError(f"{path.stem}: {overwritten[0]} must be set {where}")
    return Notebook(path, _promises(first), found, tuple(code), has_outputs)


def _parameters(source: str, notebook: str) -> dict[str, Parameter]:
    """Return the parameters of a tagged cell by name. Raises ValueError."""
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise ValueError(f"{notebook}: the parameters cell must be Python, got {error.msg}") from None
    found = {parameter.name: parameter for parameter in (_parameter(one, notebook) for one in statements)}
    if "profile" not in found or found["profile"].annotation != "str":
        raise ValueError(f"{notebook}: the parameters must hold profile: str, got {' '.join(found)}")
    return found


def _parameter(statement: ast.stmt, notebook: str) -> Parameter:
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=kind, value=ast.expr() as value):
            annotation = ast.unparse(kind)
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            annotation = ""
        case _:
            rule = "a parameter must be a line name: type = value"
            raise ValueError(f"{notebook}: {rule}, got {ast.unparse(statement)!r}")
    try:
        default = ast.literal_eval(value)
    except (ValueError, TypeError):
        raise ValueError(f"{notebook}: {name} must be a literal, got {ast.unparse(value)}") from None
    annotation = annotation or type(default).__name__
    if not re.fullmatch(r"[\w\[\], ]+", annotation) or not set(re.findall(r"\w+", annotation)) <= _TYPES.keys():
        raise ValueError(f"{notebook}: the type of {name} must be made of {' '.join(_TYPES)}, got {annotation}")
    parameter = Parameter(name, annotation, default)
    try:
        parameter.checked(default)
    except (ValidationError, PydanticUserError, TypeError):
        raise ValueError(f"{notebook}: the default of {name} must be {annotation}, got {default!r}") from None
    return parameter


def _literal(text: str) -> Any:
    """Read a value as JSON, else as YAML, which knows `['a', 'b']`."""
    if text == "None":
        return None
    try:
        return json.loads(text)
    except ValueError:
        return files.yaml_value(text)


def _assigned(source: str) -> set[str]:
    """Return the names that a cell sets; what its functions and comprehensions set is theirs."""
    try:
        symbols = symtable.symtable(source, "cell", "exec").get_symbols()
    except SyntaxError:  # a magic; the kernel will judge
        return set()
    return {symbol.get_name() for symbol in symbols if symbol.is_assigned()}


def _promises(first_cell: str) -> dict[str, str]:
    """Read `**Question.** text` up to the next such word or empty line; the heading is the Title."""
    heading = re.match(r"#+ *(.+)", first_cell)
    found = {"Title": heading[1].strip()} if heading else {}
    pattern = rf"\*\*({'|'.join(_PROMISES)})[.:]?\*\*[.:]?\s*(.*?)(?=\n\s*\n|\n[-* ]*\*\*|\Z)"
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
        raise ValueError(f"notebook {name} must fit one file, got {' '.join(path.name for path in fits)}")
    if not fits:
        raise ValueError(f"no notebook {name!r} in {folder}; {_hint(stem, [p.stem for p in available])}")
    return fits[0]


def _hint(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known) or 'none'}"
