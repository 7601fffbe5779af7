"""An executed notebook as it is kept: without this machine's paths, and as a page that needs no network."""

import re
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup
from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

WIDGET = "application/vnd.jupyter.widget-view+json"
# A narrow window: pictures shrink, long lines of code scroll.
STYLE = ".jp-RenderedSVG img { max-width: 100% } .jp-InputArea-editor { overflow-x: auto }"


def finish(executed: Path, page: Path, name: str) -> None:
    """Clean an executed notebook in place and write its HTML page beside it."""
    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata.get("papermill", {}).update(input_path=f"{name}.ipynb", output_path=f"{name}.ipynb")
    nbformat.write(notebook, executed)
    page.write_text(html(notebook, name), encoding="utf-8")


def html(notebook: nbformat.NotebookNode, name: str) -> str:
    """The page of a notebook; it loads nothing. Widgets are left out: their state has no page to live in."""
    notebook = nbformat.from_dict(notebook)
    notebook.metadata.pop("widgets", None)
    notebook.metadata["title"] = name
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
    soup = BeautifulSoup(_Page().from_notebook_node(notebook)[0], "html.parser")
    soup.head.append(soup.new_tag("style", string=STYLE))
    for script in soup.find_all("script"):
        if re.search(r"https?://", script.get("src", "") + script.get_text()):
            script.decompose()
    for link in soup.find_all("link", href=re.compile("^(https?:)?//")):
        link.decompose()
    return str(soup)


class _Page(HTMLExporter):
    @pass_context
    def markdown2html(self, context, source):
        cell = context.get("cell", {})
        renderer = _Renderer(escape=False, attachments=cell.get("attachments", {}), exclude_anchor_links=True)
        return MarkdownWithMath(renderer=renderer).render(source)


class _Renderer(IPythonRenderer):
    """Formulas as MathML, which browsers draw without a script; as TeX where it cannot be made."""

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
