"""A copy of an executed notebook is made that may be passed on: without photographs of data sets, and small.

Copies of the committed budgets lie in `results/<budget>/executed`, where a code host shows them; `site` makes pages of
them.
"""

import base64
import io

import nbformat
from nbformat import NotebookNode
from PIL import Image

from hinas_nb.figures.style import KEPT_BACK

_LARGEST = 1_000_000  # bytes of a copy
_COLOURS = 128  # of a bitmap; drawings have fewer
_SMALLER = 0.7  # of both sides, as often as it takes
_SMALLEST = 240  # pixels; a bitmap is made no narrower
_LEFT_OUT = "*Photographs of the data set are left out of this copy. The notebook, executed, shows them.*"


def shared(notebook: NotebookNode) -> NotebookNode:
    """Return a copy of an executed notebook of at most `_LARGEST` bytes, as far as smaller bitmaps can make it so.

    What shows photographs that are not embedded (`KEPT_BACK`) is replaced by a line that says so.
    """
    copy = nbformat.from_dict(notebook)
    copy.metadata.pop("widgets", None)
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs = [_passed_on(output) for output in cell.outputs]
    scale = 1.0
    while scale > 0.1 and len(nbformat.writes(_with_bitmaps(copy, notebook, scale))) > _LARGEST:
        scale *= _SMALLER
    return copy


def _passed_on(output: NotebookNode) -> NotebookNode:
    if not output.get("metadata", {}).get(KEPT_BACK):
        return output
    return nbformat.v4.new_output("display_data", {"text/markdown": _LEFT_OUT})


def _with_bitmaps(copy: NotebookNode, notebook: NotebookNode, scale: float) -> NotebookNode:
    """Put the notebook's bitmaps into its copy, so much smaller."""
    for cell, original in zip(copy.cells, notebook.cells):
        for output, source in zip(cell.get("outputs", []), original.get("outputs", [])):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = _smaller(source.data["image/png"], scale)
    return copy


def _smaller(text: str, scale: float) -> str:
    image = Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")
    width = max(round(image.width * scale), min(_SMALLEST, image.width))
    image = image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.quantize(_COLOURS, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
