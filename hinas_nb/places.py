"""Where the collection lies: its notebooks, budgets and results.

`HINAS_HOME` names another copy of the collection, `HINAS_RESULTS` another results folder.
"""

import os
import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def is_name(text: str) -> bool:
    """Whether files and folders can be called so, wherever they are copied."""
    return re.fullmatch(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*", text) is not None


def absolute(path: str) -> Path:
    """`~` stands for the home; a user nobody knows stays as written."""
    return Path(os.path.expanduser(path)).resolve()


def home() -> Path:
    """The folder of `notebooks/` and `params/`: HINAS_HOME, else the checkout, else the working folder."""
    named = os.environ.get("HINAS_HOME")
    if named:
        return absolute(named)
    return PACKAGE.parent if (PACKAGE.parent / "notebooks").is_dir() else Path.cwd()


def results() -> Path:
    """The folder with one folder of results per profile: HINAS_RESULTS, else `results/` of the collection."""
    named = os.environ.get("HINAS_RESULTS")
    return absolute(named) if named else home() / "results"


def profiles() -> list[str]:
    """Names of the budgets: the YAML files of `params/` that have a budget, smallest name first."""
    return sorted(path.stem for path in (home() / "params").glob("*.yaml") if path.stem != "claims")
