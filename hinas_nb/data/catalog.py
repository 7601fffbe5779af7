"""The catalogue of data sets: names, splits, licences, and which must not be mixed (section 4.1 of the paper).

Pure metadata, so that configs are checked before anything heavy is imported. Shown in notebook
`01_data_and_protocols`.
"""

import os
from dataclasses import dataclass
from pathlib import Path

FOLDER_PREFIX = "folder:"

#: Files inside scikit-image's wheel, by split, chosen by the licence its docstrings state: CC0 (brick, grass,
#: gravel, camera, chelsea, coffee), public domain (astronaut, hubble, rocket), no known restrictions (coins,
#: ihc), nothing stated (moon).
PHOTOS = {
    "train": (
        "astronaut.png",
        "brick.png",
        "coins.png",
        "grass.png",
        "gravel.png",
        "hubble_deep_field.jpg",
        "ihc.png",
        "moon.png",
    ),
    "validation": ("rocket.jpg",),
    "test": ("camera.png", "chelsea.png", "coffee.png"),
}


class DataError(ValueError):
    """Tells of a data set, split, image or archive that breaks a rule; the text is one line."""


@dataclass(frozen=True)
class DataSet:
    """Describes one entry of the catalogue."""

    name: str
    counts: dict[str, int]  # images per split, in the published set
    folders: dict[str, tuple[str, ...]]  # per split, below the data root, `{scale}` filled in; the first there is read
    licence: str
    lies_in: tuple[str, str] | None = None  # the set and split that its photographs come from, if another's
    members: frozenset[str] = frozenset()  # names of its images inside a folder that holds others as well


def _benchmark(name: str, count: int, licence: str, *more_folders: str, lies_in=None) -> DataSet:
    folders = (f"{name}/HR/x{{scale}}", f"{name}/HR", name, *more_folders)
    return DataSet(name, {"test": count}, {"test": folders}, licence, lies_in)


#: BSD68 (Roth and Black 2009): these 68 of the validation images of BSDS500.
_BSD68 = frozenset(
    """
    101085 101087 102061 103070 105025 106024 108005 108070 108082 109053 119082 12084 123074 126007 130026
    134035 14037 143090 145086 147091 148026 148089 157055 159008 160068 16077 163085 167062 167083 170057
    175032 175043 182053 189080 19021 196073 197017 208001 210088 21077 216081 219090 220075 223061 227092
    229036 236037 24077 241004 241048 253027 253055 260058 271035 285079 291000 295087 296007 296059 299086
    300091 302008 304034 304074 306005 3096 33039 351093
    """.split()  # noqa: SIM905
)


_BERKELEY = "photographs for non-commercial research and education only (Berkeley, Arbelaez et al. 2011)"

CATALOG = {
    entry.name: entry
    for entry in (
        DataSet(
            "photos",
            {split: len(files) for split, files in PHOTOS.items()},
            {},
            "inside scikit-image's wheel: CC0, public domain or no known restrictions",
        ),
        DataSet(
            "BSDS500",
            {"train": 200, "val": 100, "test": 200},
            {split: (f"BSDS500/{split}",) for split in ("train", "val", "test")},
            _BERKELEY,
        ),
        DataSet("BSD68", {"test": 68}, {"test": ("BSD68", "BSDS500/val")}, _BERKELEY, ("BSDS500", "val"), _BSD68),
        DataSet(
            "DIV2K",
            {"train": 800, "val": 100},
            {
                "train": ("DIV2K/DIV2K_train_HR", "DIV2K/train", "DIV2K_train_HR"),
                "val": ("DIV2K/DIV2K_valid_HR", "DIV2K/val", "DIV2K_valid_HR"),
            },
            "academic research only; the photographs belong to their authors (Agustsson and Timofte 2017)",
        ),
        _benchmark("Set5", 5, "no licence stated (Bevilacqua et al. 2012)"),
        _benchmark("Set14", 14, "no licence stated (Zeyde et al. 2010)"),
        _benchmark("B100", 100, _BERKELEY, "BSDS500/val", lies_in=("BSDS500", "val")),
        _benchmark("Urban100", 100, "Flickr photographs under Creative Commons licences (Huang et al. 2015)"),
        _benchmark("Manga109", 109, "on request at manga109.org, no redistribution (Matsui et al. 2017)"),
    )
}


def check_split(name: str, split: str) -> None:
    """Raise DataError for a set nobody knows or a split it has not; splits may be joined, as in `train+val`."""
    known = splits(name)
    parts = split.split("+")
    if not set(parts) <= set(known) or len(set(parts)) < len(parts):
        several = len(known) > 1
        rule = f"one of {', '.join(known)} or some of them joined by +" if several else known[0]
        raise DataError(f"split of {name} must be {rule}, got {split!r}")


def splits(name: str) -> tuple[str, ...]:
    """Return the declared splits of a set. Raises DataError if there is no such set."""
    if is_folder(name):
        return ("all",)
    if name not in CATALOG:
        raise DataError(f"data must be one of {', '.join(CATALOG)} or {FOLDER_PREFIX}PATH, got {name!r}")
    return tuple(CATALOG[name].counts)


def check_leak(train_data: str, train_split: str, data: str, split: str) -> None:
    """Raise DataError where a network would be scored on photographs it was trained on; see `DataSet.lies_in`."""
    shared = _photographs(train_data, train_split) & _photographs(data, split)
    if shared:
        where = ", ".join(" ".join(source) for source in sorted(shared))
        raise DataError(
            f"test images must be unseen in training, got {data} {split} for a network trained on "
            f"{train_data} {train_split} (both hold photographs of {where})"
        )


def is_folder(name: str) -> bool:
    """Tell whether a name is `folder:PATH`."""
    return name.startswith(FOLDER_PREFIX) and len(name) > len(FOLDER_PREFIX)


def absolute(name: str, base: str | Path = "") -> str:
    """Return the name of a data set; that of a folder gets its whole path, from `base` or the working folder on."""
    if not is_folder(name):
        return name
    return FOLDER_PREFIX + os.path.abspath(os.path.join(base, os.path.expanduser(name.removeprefix(FOLDER_PREFIX))))


def folder_path(name: str) -> Path:
    """Return the folder of a `folder:PATH` set, absolute."""
    return Path(absolute(name).removeprefix(FOLDER_PREFIX))


def _photographs(name: str, split: str) -> set[tuple[str, str]]:
    """Return where the photographs of a split come from, as (set, split) pairs."""
    check_split(name, split)
    if name.startswith(FOLDER_PREFIX):
        return {(str(folder_path(name)), "all")}
    return {CATALOG[name].lies_in or (name, part) for part in split.split("+")}
