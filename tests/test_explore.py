"""Controls live, one picture in a batch."""

import ipywidgets
import pytest

from hinas_nb.reporting.explore import explore


@pytest.fixture
def controls():
    return {"number": ipywidgets.IntSlider(3, 0, 9), "word": ipywidgets.Dropdown(options=["a", "b"])}


def test_a_batch_shows_the_first_values(monkeypatch, controls):
    monkeypatch.setenv("HINAS_PUBLISH", "somewhere")
    assert explore(lambda number, word: (number, word), **controls) == (3, "a")


def test_a_live_notebook_redraws_when_a_control_moves(monkeypatch, controls):
    monkeypatch.delenv("HINAS_PUBLISH", raising=False)
    shown = []
    assert explore(lambda number, word: shown.append((number, word)), **controls) is None
    controls["word"].value = "b"
    assert shown == [(3, "a"), (3, "b")]
