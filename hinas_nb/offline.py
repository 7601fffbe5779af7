"""An executed notebook as it is kept: without this machine's paths, and as a page that needs no network."""

import re
from pathlib import Path

import nbformat


def finish(executed: Path, page: Path, name: str) -> None:
    """Clean an executed notebook in place and write its HTML page beside it."""
    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata.get("papermill", {}).update(input_path=f"{name}.ipynb", output_path=f"{name}.ipynb")
    nbformat.write(notebook, executed)
    page.write_text(html(notebook, name), encoding="utf-8")


def html(notebook: nbformat.NotebookNode, name: str) -> str:
    """The page of a notebook; it loads nothing, widgets are left out (their state has no page to live in)."""
    from bs4 import BeautifulSoup
    from nbconvert import HTMLExporter

    notebook = nbformat.from_dict(notebook)
    notebook.metadata.pop("widgets", None)
    notebook.metadata["title"] = name
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_widget(output)]
    soup = BeautifulSoup(HTMLExporter().from_notebook_node(notebook)[0], "html.parser")
    for script in soup.find_all("script"):
        if re.search(r"https?://", script.get("src", "") + script.get_text()):
            script.decompose()
    for link in soup.find_all("link", href=re.compile("^(https?:)?//")):
        link.decompose()
    return str(soup)


def _is_widget(output) -> bool:
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})
