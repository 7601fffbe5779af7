"""An executed notebook as it is kept: its answer at the top, the code of figures folded, and a page beside it.

It holds none of this machine's paths, and its page needs no network. The notebook that was executed stays as it is.
"""

import json
import re
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup
from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from hinas_nb.reporting import copies

_WIDGET = "application/vnd.jupyter.widget-view+json"
#: Nothing is fetched and nothing runs: pictures, fonts and films are in the page or not at all.
_POLICY = "default-src 'none'; img-src data:; font-src data:; media-src data:; style-src 'unsafe-inline'"
_LOADERS = ["script", "iframe", "frame", "frameset", "object", "embed", "applet", "portal", "base", "link"]
_ADDRESSES = {"src", "srcset", "imagesrcset", "href", "xlink:href", "poster", "data", "background", "action", "ping"}
_ADDRESSES |= {"formaction", "srcdoc", "manifest", "lowsrc", "dynsrc", "longdesc"}
#: Addresses of other files, in style sheets and in attributes of SVG.
_ADDRESS = re.compile(r"""@import[^;}]*;?|url\(\s*(?!["']?\s*(data:|\#))[^)]*\)|image-set\([^)]*\)""", re.IGNORECASE)
# A narrow window: pictures shrink, long lines of code scroll.
_STYLE = """.jp-RenderedSVG img { max-width: 100% } .jp-InputArea-editor { overflow-x: auto }
summary { cursor: pointer; color: #5d6873; font: 13px sans-serif; padding-left: var(--jp-cell-prompt-width) }"""
#: Cells whose source is hidden in the notebook are folded in the page.
_FOLDED = """{% extends "lab/index.html.j2" %}
{% block input_group %}
{% if cell.metadata.get("jupyter", {}).get("source_hidden") %}
<details><summary>code</summary>{{ super() }}</details>
{% else %}{{ super() }}{% endif %}
{% endblock %}"""


def finish(executed: Path, page: Path, name: str, published: Path) -> None:
    """Write an executed notebook as it is kept, in its place, its HTML page, and beside that its copy to pass on.

    published: the folder where the notebook's `Publisher` left its answer, if it gave one.
    """
    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata.get("papermill", {}).update(input_path=f"{name}.ipynb", output_path=f"{name}.ipynb")
    answer = published / "answers" / f"{name}.json"
    if answer.exists():
        _answer(notebook.cells[0], json.loads(answer.read_text(encoding="utf-8")).get("answer", ""))
    for cell in notebook.cells:
        if _shows(cell):
            cell.metadata["jupyter"] = {"source_hidden": True}
    nbformat.write(notebook, executed)
    page.write_text(html(notebook, name), encoding="utf-8")
    nbformat.write(copies.shared(notebook), page.with_suffix(".shared.ipynb"))


def _answer(first: nbformat.NotebookNode, answer: str) -> None:
    """Put what was computed in the place of the first cell's paragraph `**Answer.** ...`."""
    if answer:
        said = f"**Answer.** {' '.join(answer.split())}"
        first.source = re.sub(r"\*\*Answer\.\*\*.*?(?=\n\s*\n|\Z)", lambda _: said, first.source, flags=re.DOTALL)


def _shows(cell: nbformat.NotebookNode) -> bool:
    """Tell whether a cell made figures or tables; one with a tag, such as the experiment itself, is read as code."""
    if cell.cell_type != "code" or cell.metadata.get("tags"):
        return False
    kinds = [kind for output in cell.outputs for kind in output.get("data", {})]
    return any(kind == "text/html" or kind.startswith("image/") for kind in kinds)


def html(notebook: nbformat.NotebookNode, name: str) -> str:
    """Return the page of a notebook; it loads nothing. Widgets are left out: their state has no page to live in."""
    notebook = nbformat.from_dict(notebook)
    notebook.metadata.pop("widgets", None)
    notebook.metadata["title"] = name
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _WIDGET not in output.get("data", {})]
    soup = BeautifulSoup(_Page(raw_template=_FOLDED).from_notebook_node(notebook)[0], "html.parser")
    soup.head.append(soup.new_tag("style", string=_STYLE))
    _disarm(soup)
    return str(soup)


def _disarm(soup: BeautifulSoup) -> None:
    """Take out whatever loads something or runs; links that a reader follows stay.

    The policy is what browsers obey, however a foreign notebook spells its markup; what it forbids is taken out as
    well, for all other readers.
    """
    for tag in soup.find_all(_LOADERS) + soup.find_all("meta", attrs={"http-equiv": True}):
        tag.decompose()
    for tag in soup.find_all(True):
        for name, value in list(tag.attrs.items()):
            text = " ".join(value) if isinstance(value, list) else str(value)
            inside = not name.endswith("srcset") and re.match(r"\s*(data:|#)", text, re.IGNORECASE)
            link = tag.name in ("a", "area") and name == "href" and not re.match(r"\s*javascript:", text, re.IGNORECASE)
            if name.startswith("on") or (name in _ADDRESSES and not inside and not link):
                del tag[name]
            elif name not in _ADDRESSES:
                tag[name] = _ADDRESS.sub("none", text)
        if tag.name == "style":
            tag.string = _ADDRESS.sub("none", tag.get_text())
    soup.head.insert(0, soup.new_tag("meta", attrs={"http-equiv": "Content-Security-Policy", "content": _POLICY}))


class _Page(HTMLExporter):
    @pass_context
    def markdown2html(self, context, source):
        cell = context.get("cell", {})
        renderer = _Renderer(escape=False, attachments=cell.get("attachments", {}), exclude_anchor_links=True)
        return MarkdownWithMath(renderer=renderer).render(source)


class _Renderer(IPythonRenderer):
    """Writes formulas as MathML, which browsers draw without a script; as TeX where it cannot be made."""

    def inline_math(self, body: str) -> str:
        return _mathml(body, "inline") or super().inline_math(body)

    def block_math(self, body: str) -> str:
        return _mathml(body, "block") or super().block_math(body)

    def latex_environment(self, name: str, body: str) -> str:
        whole = rf"\begin{{{name}}}{body}\end{{{name}}}"
        return _mathml(whole, "block") or super().latex_environment(name, body)


def _mathml(formula: str, display: str) -> str | None:
    try:
        return convert(formula.strip(), display=display)
    except Exception:  # TeX it does not know, in one of many ways: the formula stays readable as TeX
        return None
