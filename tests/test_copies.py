"""Copies of executed notebooks: no photographs of data sets, small, and those that are committed are so."""

import base64
import io
import json
from pathlib import Path

import nbformat
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from hinas_nb.figures import Picture, image_panel
from hinas_nb.figures.audit import tile_map
from hinas_nb.figures.style import KEPT_BACK
from hinas_nb.reporting import copies

RESULTS = Path(__file__).parents[1] / "results"
COPIES = sorted(RESULTS.glob("*/executed/*.ipynb"))
GREY = np.full((8, 8), 0.5)


def shown(figure) -> nbformat.NotebookNode:
    """What a cell keeps of a figure at its end, by IPython's own way."""
    data, metadata = InteractiveShell.instance().display_formatter.format(figure)
    return new_output("execute_result", data, metadata=metadata)


def notebook(*outputs) -> nbformat.NotebookNode:
    return new_notebook(cells=[new_code_cell("figure", outputs=[output]) for output in outputs])


@pytest.mark.parametrize(
    ("figure", "kept"),
    [
        (image_panel([("clean", GREY)]), False),
        (tile_map(GREY, [(slice(0, 4), slice(0, 4))], np.ones((8, 8))), False),
        (image_panel([("clean", GREY)], embedded=True), True),
        (Picture(1, 1), True),
    ],
)
def test_photographs_are_left_out_unless_they_are_embedded(figure, kept):
    ((cell,)) = copies.shared(notebook(shown(figure))).cells
    assert ("image/png" in cell.outputs[0].data) == kept
    assert kept or cell.outputs[0].data == {"text/markdown": copies._LEFT_OUT}


def test_a_copy_is_small_and_the_notebook_stays_as_it_was():
    """Noise is what compresses worst."""
    pixels = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    whole = notebook(*[new_output("display_data", {"image/png": base64.b64encode(buffer.getvalue()).decode()})] * 2)
    before = nbformat.writes(whole)
    small = nbformat.writes(copies.shared(whole))
    assert len(small) <= copies._LARGEST < len(before) and nbformat.writes(whole) == before
    assert "image/png" in small


@pytest.mark.parametrize("path", COPIES, ids=lambda path: path.stem)
def test_a_committed_copy_is_whole_small_and_without_photographs(path):
    text = path.read_text()
    copy = nbformat.reads(text, 4)
    nbformat.validate(copy)
    assert len(text) <= copies._LARGEST
    outputs = [output for cell in copy.cells for output in cell.get("outputs", [])]
    assert outputs and not any(KEPT_BACK in output.get("metadata", {}) for output in outputs)
    assert not any(output.output_type == "error" for output in outputs)
    answer = json.loads((path.parents[1] / "answers" / f"{path.stem}.json").read_text())["answer"]
    assert " ".join(answer.split()) in copy.cells[0].source, "the copy is of what is published"


def test_all_committed_copies_together_are_small():
    assert COPIES and sum(path.stat().st_size for path in COPIES) <= 20_000_000
