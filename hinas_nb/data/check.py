"""A check of the data folder: every image is decoded and compared with known SHA-256 sums.

`pinned.json` has the sums of the published sets as measured: of the file names, and of names, shapes and pixels
(`ImageSet.sha256`). Of other sets `fetch` records what came first.
"""

import hashlib
import json
from pathlib import Path

from hinas_nb import locations
from hinas_nb.data.catalog import CATALOG, DataError
from hinas_nb.data.images import digest, image_files, named_images
from hinas_nb.files import FileContentError, read_json

SUMS_FILE = "checksums.json"
PINNED: dict[str, list[str]] = json.loads(Path(__file__).with_name("pinned.json").read_text())
_SCALES = (2, 3, 4)

_Sums = dict[str, list[str]]


def check(root: str | Path | None = None, names: tuple[str, ...] = tuple(CATALOG)) -> list[dict]:
    """Decode every image under `root` and return a row {set, split, state, images, note} per set and split.

    state: "present", "missing" (all or some images) or "corrupt" (a file does not decode, or the pixels are
    not those of the pinned or recorded sum). Sets with a folder per scale are checked at each.
    """
    root = locations.data(root)
    known = recorded(root)
    return [examine(name, split, root, known)[0] for name in names for split in CATALOG[name].counts]


def examine(name: str, split: str, root: Path, known: _Sums) -> tuple[dict, _Sums]:
    """Return the row of a split, see `check`, and the sums of its images by key: `BSDS500 val` or `Set5 test x3`."""
    row = {"set": name, "split": split, "state": "missing", "images": 0, "note": ""}
    expected, found, notes = CATALOG[name].counts[split], {}, []
    try:
        lists = _file_lists(name, split, root)
    except DataError:
        return row | {"note": f"no images under {root} (hinas-nb data fetch {name})"}, found
    row["images"] = min(map(len, lists.values()))
    if row["images"] < expected:
        return row | {"note": f"{expected - row['images']} of {expected} images are missing"}, found
    for key, files in lists.items():
        try:
            found[key] = _sums(files)
        except (DataError, OSError) as error:
            return row | {"state": "corrupt", "note": str(error)}, found
        kind, sums = ("pinned", PINNED[key]) if key in PINNED else ("recorded", known.get(key, [""]))
        if sums[0] != found[key][0]:  # a copy with other file names is nobody's damage
            notes.append("no sum known for these files")
        elif sums[-1] != found[key][1]:
            return row | {"state": "corrupt", "note": f"pixels of {key} differ from the {kind} sum"}, found
        else:
            notes.append(f"{kind} sum agrees")
    return row | {"state": "present", "note": ", ".join(dict.fromkeys(notes))}, found


def incomplete(name: str, split: str, root: Path, scale: int | None = None) -> str:
    """Return a line where a set has fewer images than the catalogue says, else an empty text.

    split: one of the set's, or several joined by `+`. scale: as `images.load` takes it. Raises DataError without any.
    """
    expected = sum(CATALOG[name].counts[part] for part in split.split("+")) if name in CATALOG else 0
    found = len(image_files(name, split, root, scale))
    if found >= expected:
        return ""
    return f"{name} {split} has {found} of its {expected} images: results speak of these alone"


def recorded(root: Path) -> _Sums:
    """Return the sums that `fetch` wrote down under `root`, by key. Raises StoreError, FileContentError."""
    path = root / SUMS_FILE
    noted = read_json(path) if path.exists() else {}
    for key, value in noted.items():
        if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
            raise FileContentError(f"{path} must hold SHA-256 sums, got {str(value)[:40]} for {key}; delete it")
    return noted


def _file_lists(name: str, split: str, root: Path) -> dict[str, list[Path]]:
    scaled = any((root / name / "HR" / f"x{scale}").is_dir() for scale in _SCALES)
    if not scaled:
        return {f"{name} {split}": image_files(name, split, root)}
    return {f"{name} {split} x{scale}": image_files(name, split, root, scale) for scale in _SCALES}


def _sums(files: list[Path]) -> list[str]:
    names = "\n".join(file.name for file in files)
    return [hashlib.sha256(names.encode()).hexdigest(), digest(named_images(files))]
