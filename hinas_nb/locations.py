"""The collection's notebooks, budgets, data sets and results are found here.

`HINAS_HOME` names another copy of the collection, `HINAS_RESULTS` another results folder, `HINAS_DATA` another folder
of data sets.
"""

import os
import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def is_name(text: str) -> bool:
    """Tell whether files and folders can be called so, wherever they are copied."""
    return re.fullmatch(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*", text) is not None


def absolute(path: str | Path) -> Path:
    """Return the absolute path; `~` stands for the home, and the name of an unknown user stays as written."""
    return Path(os.path.realpath(os.path.expanduser(path)))


def home() -> Path:
    """Return HINAS_HOME, else the checkout, else the next one from the working folder upwards, else that folder."""
    if named := _named("HINAS_HOME"):
        return named
    here = Path.cwd()
    near = (PACKAGE.parent, here, *here.parents)
    return next((folder for folder in near if all((folder / part).is_dir() for part in ("notebooks", "params"))), here)


def results() -> Path:
    """Return the folder with a folder of results per profile: HINAS_RESULTS, else `results/` of the collection."""
    return _named("HINAS_RESULTS") or home() / "results"


def results_of(profile: str) -> Path:
    """Return the folder of one profile's results; inside a batch that departs from it, that of the variant."""
    return _named("HINAS_PLACE") or results() / profile


def data(named: str | Path | None = None) -> Path:
    """Return the folder of all data sets, absolute: as named, else HINAS_DATA, else `data/` of the collection."""
    return absolute(named) if named else _named("HINAS_DATA") or home() / "data"


def _named(variable: str) -> Path | None:
    """Return the folder that a variable of the environment names, if it does."""
    return absolute(os.environ[variable]) if os.environ.get(variable) else None


def variant(folder: Path, name: str) -> Path:
    """Return where a profile's folder of results keeps what was made with other settings than the profile's."""
    return folder / "variants" / name


def profiles() -> list[str]:
    """Return the names of the profiles, the YAML files of `params/` that have a budget, in alphabetical order."""
    return sorted(path.stem for path in (home() / "params").glob("*.yaml") if path.stem != "claims")
