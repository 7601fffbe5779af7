"""The notebooks and budgets, as they came with the package, are laid out in a folder of the user's own.

In a checkout they lie beside the package; a wheel carries them in `share/hinas_nb` of the environment.
"""

import importlib.metadata
from pathlib import Path

from hinas_nb import files, locations

PARTS = {"notebooks": "*.ipynb", "params": "*.*"}


def lay_out(folder: Path) -> list[str]:
    """Copy notebooks and params into a folder, what is there stays; return lines to show. Raises OSError."""
    source, written, kept = origin(), 0, []
    for part, pattern in PARTS.items():
        for path in sorted((source / part).rglob(pattern)):
            target = folder / path.relative_to(source)
            if not target.exists():
                files.write_atomic(target, path.read_bytes())
                written += 1
            elif target.read_bytes() != path.read_bytes():
                kept.append(f"kept as it was: {target}")
    return [*kept, f"{written} files in {folder}; there: hinas-nb list, hinas-nb run all, jupyter lab notebooks"]


def origin() -> Path:
    """Return the folder of notebooks and params that came with the package. Raises FileNotFoundError."""
    if (locations.PACKAGE.parent / "notebooks").is_dir():
        return locations.PACKAGE.parent
    for path in importlib.metadata.files("hinas_nb") or ():
        if path.parts[-4:-1] == ("share", "hinas_nb", "notebooks"):
            return Path(str(path.locate())).resolve().parents[1]
    raise FileNotFoundError("notebooks must have come with the package, got none: install it from its wheel")
