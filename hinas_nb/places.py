"""Where the collection lies: its notebooks, budgets and results.

`HINAS_HOME` names another copy of the collection, `HINAS_RESULTS` another results folder.
"""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def home() -> Path:
    """The folder of `notebooks/` and `params/`: HINAS_HOME, else the checkout, else the working folder."""
    named = os.environ.get("HINAS_HOME")
    if named:
        return Path(named).expanduser().resolve()
    return PACKAGE.parent if (PACKAGE.parent / "notebooks").is_dir() else Path.cwd()


def results() -> Path:
    """The folder with one folder of results per profile: HINAS_RESULTS, else `results/` of the collection."""
    named = os.environ.get("HINAS_RESULTS")
    return Path(named).expanduser().resolve() if named else home() / "results"


def profiles() -> list[str]:
    """Names of the budgets: the YAML files of `params/` that have a budget, smallest name first."""
    return sorted(path.stem for path in (home() / "params").glob("*.yaml") if path.stem != "claims")
