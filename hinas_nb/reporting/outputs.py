"""Keep what a notebook hands to the report page: figures, tables and its answer.

    publisher = Publisher(profile, "05_train_and_restore")
    publisher.figure(picture, "panel", "The network removes noise and keeps edges")

Files go to `results/<profile>/{figures,tables}/<notebook>__<name>.*`, the words about them to
`results/<profile>/answers/<notebook>.json`. Only the batch puts them there: it lets a notebook write elsewhere
(HINAS_PUBLISH) and moves everything at once when it has succeeded. A notebook run by hand, whose cells may have been
changed in any way, publishes to `results/<profile>/variants/by-hand`.
"""

import json
import os
import re
from pathlib import Path

import pandas as pd

from hinas_nb import figures, files, locations, provenance
from hinas_nb.evidence import effects
from hinas_nb.experiment.runs import REVISIONS
from hinas_nb.figures.dot import Drawing

_BY_HAND = "by-hand"  # the variant of what no batch executed


class Publisher:
    """The shelf of one notebook; making one clears what the report said of it before."""

    def __init__(self, profile: str, notebook: str):
        """profile: its name, as in `load_profile(profile).name`. Raises ValueError for an impossible name."""
        staged = os.environ.get("HINAS_PUBLISH")
        self.folder = Path(staged) if staged else locations.variant(locations.results() / _checked(profile), _BY_HAND)
        self.notebook = _checked(notebook)
        changed = os.environ.get("HINAS_CHANGED", "") if staged else "run by hand"
        self._page = {"changed": changed, "question": "", "answer": "", "figures": {}, "tables": {}, "provenance": {}}
        self._page["revisions"] = REVISIONS  # what is shown was made under

    def figure(self, figure: Drawing, name: str, caption: str) -> Drawing:
        """Save as SVG and PNG; returns the figure, so that the cell shows it."""
        figures.save(figure, self.folder / "figures" / self._stem(name))
        self._page["figures"][name] = caption
        self._write()
        return figure

    def table(self, table: pd.DataFrame, name: str, caption: str, index: bool = False) -> pd.DataFrame:
        """Save as CSV (full precision) and LaTeX; returns the table. index: keep its row labels."""
        stem = self.folder / "tables" / self._stem(name)
        files.write_atomic(Path(f"{stem}.csv"), table.to_csv(index=index).encode())
        title = re.sub(r"([&%$#_])", r"\\\1", caption)
        latex = table.to_latex(index=index, escape=True, caption=title, float_format=_short)
        files.write_atomic(Path(f"{stem}.tex"), latex.encode())
        self._page["tables"][name] = caption
        self._write()
        return table

    def effects(self, table: pd.DataFrame) -> pd.DataFrame:
        """Save what the verdicts of this notebook rest on, for the scorecard to gather; returns it."""
        self.table(effects.stamped(table), "effects", "Differences between arms, as the scorecard gathers them")
        return table

    def answer(self, question: str, answer: str) -> str:
        """Keep the notebook's question and its computed answer, one sentence each; returns the answer."""
        self._page |= {"question": question, "answer": answer}
        self._write()
        return answer

    def provenance(self) -> dict:
        """Commit, versions and machine; returned for the last cell to print."""
        self._page["provenance"] = provenance.provenance()
        self._write()
        return self._page["provenance"]

    def _stem(self, name: str) -> str:
        return f"{self.notebook}__{_checked(name)}"

    def _write(self) -> None:
        path = self.folder / "answers" / f"{self.notebook}.json"
        files.write_atomic(path, json.dumps(self._page, indent=1).encode())


def _short(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 1e4 else f"{number:.4g}"


def _checked(name: str) -> str:
    if not locations.is_name(name):
        raise ValueError(f"a published name must be letters and digits joined by . _ or -, got {name!r}")
    return name
