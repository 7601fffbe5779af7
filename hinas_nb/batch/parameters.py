"""The cell tagged `parameters` of a notebook: what it may hold, and how `name=value` becomes a value.

Papermill reads that cell by a regular expression, line by line. What it would misread is refused here.
"""

import ast
import io
import json
import math
import re
import tokenize
from dataclasses import dataclass
from typing import Any

#: What a parameter may be; `list[float]` and `dict[str, int]` also, their parts are not checked.
KINDS = {kind.__name__: kind for kind in (bool, int, float, str, list, dict)}
EXAMPLES = {"bool": " (true or false)", "list": " such as [30, 50]", "dict": ' such as {"train.steps": 200}'}


class NotebookError(ValueError):
    """A notebook or a parameter that the front door refuses; the text is one line."""


@dataclass(frozen=True)
class Parameter:
    """One line of the tagged cell: its name, its type and the value it has when nobody says otherwise."""

    name: str
    kind: str
    default: Any

    def parse(self, text: str, notebook: str) -> Any:
        """The value a user wrote on the command line. Raises NotebookError."""
        value: Any = text
        try:
            if self.default is None and text == "None":
                return None
            if self.kind == "bool":
                value = {"true": True, "false": False}[text.lower()]
            elif self.kind in ("int", "float"):
                value = KINDS[self.kind](text)
            elif self.kind != "str":
                value = _literal(text)
        except (ValueError, TypeError, KeyError, SyntaxError):
            value = object()
        if not _suits(value, self.kind) or (isinstance(value, float) and not math.isfinite(value)):
            rule = f"{self.kind}{EXAMPLES.get(self.kind, '')}"
            raise NotebookError(f"{notebook}: {self.name} must be {rule}, got {text!r}")
        return value


def read(source: str, notebook: str) -> dict[str, Parameter]:
    """The parameters of a tagged cell, by name. Raises NotebookError."""
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise NotebookError(f"{notebook}: the parameters cell must be Python, got {error.msg}") from None
    found: dict[str, Parameter] = {}
    for statement in statements:
        parameter = _parameter(statement, source, notebook)
        if parameter.name in found:
            raise NotebookError(f"{notebook}: {parameter.name} must be set once in its cell, got it twice")
        found[parameter.name] = parameter
    _refuse_misread_lines(source, notebook)
    if "profile" not in found or found["profile"].kind != "str":
        raise NotebookError(f"{notebook}: the parameters must hold profile: str, got {' '.join(found)}")
    return found


def _parameter(statement: ast.stmt, source: str, notebook: str) -> Parameter:
    def written(node: ast.AST) -> str:
        return (ast.get_source_segment(source, node) or "").splitlines()[0]

    text = written(statement)
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        target, value, annotation = statement.target, statement.value, written(statement.annotation)
    elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target, value, annotation = statement.targets[0], statement.value, None
    else:
        target = None
    if not isinstance(target, ast.Name):
        raise NotebookError(f"{notebook}: a parameter must be a line name: type = value, got {text!r}")
    try:
        default = ast.literal_eval(value)
    except (ValueError, TypeError):
        raise NotebookError(f"{notebook}: a parameter must be a literal, got {text!r}") from None
    # Papermill's regular expression breaks on | and on Literal["a"].
    kind = annotation.partition("[")[0] if annotation else type(default).__name__
    if kind not in KINDS or (annotation and not re.fullmatch(r"[\w\[\], ]+", annotation)):
        shown = annotation or f"none and the value {default!r}"
        rule = f"one of {' '.join(KINDS)}"
        raise NotebookError(f"{notebook}: the type of {target.id} must be {rule}, got {shown}")
    if default is not None and not _suits(default, kind):
        raise NotebookError(f"{notebook}: the default of {target.id} must be {kind}, got {default!r}")
    return Parameter(target.id, kind, default)


def _refuse_misread_lines(source: str, notebook: str) -> None:
    """Papermill takes `=` in a trailing comment for the assignment and `#` in a text for a comment."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        row, column = token.start
        trailing = token.type == tokenize.COMMENT and lines[row - 1][:column].strip()
        if trailing and "=" in token.string:
            raise NotebookError(f"{notebook}: a parameter's comment must not hold =, got {token.string!r}")
        if token.type == tokenize.STRING and "#" in token.string:
            raise NotebookError(f"{notebook}: a parameter's default must not hold #, got {token.string}")


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return ast.literal_eval(text)


def _suits(value: Any, kind: str) -> bool:
    if isinstance(value, bool):  # which Python counts among the integers
        return kind == "bool"
    return isinstance(value, (int, float) if kind == "float" else KINDS[kind])
