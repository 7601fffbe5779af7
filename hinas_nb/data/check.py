"""What stands in the data folder: present, missing or corrupt, against known SHA-256 sums."""

import hashlib
from pathlib import Path

from hinas_nb.data.catalog import CATALOG, DataError
from hinas_nb.data.images import data_root, digest, image_files, named_images
from hinas_nb.files import FileContentError, read_json

SUMS_FILE = "checksums.json"
SCALES = (2, 3, 4)

#: Sums of the published sets as measured: of the file names; of names, shapes and pixels (`ImageSet.sha256`).
PINNED: dict[str, tuple[str, str]] = {
    "photos train": (
        "bd92f712269f72a4e34bf1f55d33cd037b0ba64d9c6fc787d34dd829702eaebd",
        "9e8e9c66bf73ddd76a153458bde977e1dcc82a2c8171b8bded66bf62def1a452",
    ),
    "photos validation": (
        "c1557207ef91cd21cb8e739a32d890dfb938520bf5ecd0bb5b9487dd3fb27df4",
        "2325cbec62f5ca7d16e58b4ccf8904c75d5767d3e04fd8f5a88081dcf1b27a07",
    ),
    "photos test": (
        "642d300090ea50e799e7e8fd8599b36ad885b02a4a11c5bfa31211b7a0d94102",
        "eb449e2bbd777c98c0e09fb705e156f65fc282f0b417384aae8e046c28760ecb",
    ),
    "BSDS500 train": (
        "519be2797b3be29d229a4a50d9e5dc94619805abdde66a82ccb8ecefc0e8eb39",
        "1d0cbfbe1dc18a7e728ee55a6239f6f3703bc42210a986d311e9b72f2948c325",
    ),
    "BSDS500 val": (
        "f54142c870f0155a7d10023ae7d0cec18b89a109ce20a3eda7503a6af35c1380",
        "229bfee508c1cf84848eb70070dbfb83468f8f3d67c0a5c4ffef74994a0dd11b",
    ),
    "BSDS500 test": (
        "a95da82dfbb234d937a8c8a0622bcb35c43bc9e74d5b738a7adfec9e703e0383",
        "203451d398c6e1d36b740a00ec057af2ed5583779762118763698f52ab442159",
    ),
    "Set5 test x2": (
        "1f34db9fc2dd16e02a0f3a804f4d3767a5a866dcce74b537e75bc6b55afb1abd",
        "0d6d2641ea3152c5c7179cc0afd9c26c9f2d1537b921b3c253708960fc147436",
    ),
    "Set5 test x3": (
        "1f34db9fc2dd16e02a0f3a804f4d3767a5a866dcce74b537e75bc6b55afb1abd",
        "4edf719e056d6a37fbdc87421090625b8121a95b5dd0723404211a3bdaa93c68",
    ),
    "Set5 test x4": (
        "1f34db9fc2dd16e02a0f3a804f4d3767a5a866dcce74b537e75bc6b55afb1abd",
        "0d6d2641ea3152c5c7179cc0afd9c26c9f2d1537b921b3c253708960fc147436",
    ),
    "Set14 test x2": (
        "cb26afb02e273633634292383853554b31c0e9b4b969bacadc8ff1ba55a68eb4",
        "a26b86832a97d73045af048b3b281541cad5187a71a98b26fdfbf23d1d826b21",
    ),
    "Set14 test x3": (
        "cb26afb02e273633634292383853554b31c0e9b4b969bacadc8ff1ba55a68eb4",
        "069995a82eebdf61b35b05cf369452c6f5b8307ec2dce0c2c7ee824c3f5ff03c",
    ),
    "Set14 test x4": (
        "cb26afb02e273633634292383853554b31c0e9b4b969bacadc8ff1ba55a68eb4",
        "6d0ed468ff487ab7b859b1cbb71806382ce96b174350980b7419d50186e4421d",
    ),
}


def check(root: str | Path | None = None, names: tuple[str, ...] = tuple(CATALOG)) -> list[dict]:
    """Decode every image under `root`: a row {set, split, state, images, note} per set and split.

    state: "present", "missing" (all or some images) or "corrupt" (a file does not decode, or the pixels are
    not those of the pinned or recorded sum). Sets with a folder per scale are checked at each.
    """
    root = data_root(root)
    return [_row(name, split, root) for name in names for split in CATALOG[name].splits]


def sums(name: str, split: str, root: Path) -> dict[str, tuple[str, str]]:
    """The sums of a split by key, `BSDS500 val` or `Set5 test x3`: (of the file names, of the images).

    Raises DataError for missing or damaged images.
    """
    return {key: _sums(files) for key, files in _file_lists(name, split, root).items()}


def recorded(root: Path) -> dict[str, list[str]]:
    """What `fetch` wrote down here, by key or address of an archive. Raises StoreError, FileContentError."""
    path = root / SUMS_FILE
    noted = read_json(path) if path.exists() else {}
    for key, value in noted.items():
        of_images = 1 if "://" in key else 2  # an archive has one sum, images those of their names and pixels
        if not isinstance(value, list) or len(value) != of_images or not all(isinstance(one, str) for one in value):
            raise FileContentError(f"{path} must hold SHA-256 sums, got {str(value)[:40]} for {key}; delete it")
    return noted


def _row(name: str, split: str, root: Path) -> dict:
    row = {"set": name, "split": split, "state": "missing", "images": 0, "note": ""}
    expected = CATALOG[name].counts[split]
    try:
        lists = _file_lists(name, split, root)
    except DataError:
        return row | {"note": f"no images under {root} (hinas-nb data fetch {name})"}
    row["images"] = min(map(len, lists.values()))
    if row["images"] < expected:
        return row | {"note": f"{expected - row['images']} of {expected} images are missing"}
    notes = []
    for key, files in lists.items():
        try:
            found = _sums(files)
        except (DataError, OSError) as error:
            return row | {"state": "corrupt", "note": str(error)}
        kind, known = ("pinned", PINNED[key]) if key in PINNED else ("recorded", recorded(root).get(key))
        if not known or known[0] != found[0]:  # a copy with other file names is nobody's damage
            notes.append("no sum known for these files")
        elif known[1] != found[1]:
            return row | {"state": "corrupt", "note": f"pixels of {key} differ from the {kind} sum"}
        else:
            notes.append(f"{kind} sum agrees")
    return row | {"state": "present", "note": ", ".join(dict.fromkeys(notes))}


def _file_lists(name: str, split: str, root: Path) -> dict[str, list[Path]]:
    scaled = any((root / name / "HR" / f"x{scale}").is_dir() for scale in SCALES)
    if not scaled:
        return {f"{name} {split}": image_files(name, split, root)}
    return {f"{name} {split} x{scale}": image_files(name, split, root, scale) for scale in SCALES}


def _sums(files: list[Path]) -> tuple[str, str]:
    names = "\n".join(file.name for file in files)
    return hashlib.sha256(names.encode()).hexdigest(), digest(named_images(files))
