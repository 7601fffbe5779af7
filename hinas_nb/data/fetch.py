"""The download of data sets from their public origins.

An archive is resumed where it broke off, checked, unpacked beside its destination, checked again as images
and only then moved there: a file appears whole or not at all. Sums of images that are not pinned are recorded at
first use. (Libraries for this, as pooch, begin anew where a connection breaks; DIV2K's archives have up to 3.5 GB.)
"""

import http.client
import json
import os
import re
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import file_digest
from pathlib import Path, PurePosixPath
from typing import IO

from filelock import FileLock

from hinas_nb import locations
from hinas_nb.data.catalog import CATALOG, DataError
from hinas_nb.data.check import PINNED, SUMS_FILE, check, examine, recorded
from hinas_nb.data.origins import ORIGINS, Origin
from hinas_nb.files import StoreError, write_atomic

_CHUNK = 1 << 20  # bytes
_ATTEMPTS = 3  # connections that may break off in one call
_TIMEOUT = 60  # seconds of silence
_MAX_FILE = 64 << 20  # bytes of one unpacked image; those of DIV2K have up to 10 MB
_MAX_UNPACKED = 8 << 30  # bytes of one unpacked archive; DIV2K has 4 GB
_MEMBER = 512  # bytes that a member counts beside its content, so that empty ones have an end as well

_Progress = Callable[[int, int | None], None]


def fetch(name: str, root: str | Path | None = None, progress: _Progress | None = None) -> list[str]:
    """Download, check and unpack a data set under `root`; return what was done, in lines to show.

    BSD68 and B100 are photographs of BSDS500, which is fetched for them. A set that is there is left alone.
    progress: told the bytes done and in all (None if unknown) while an archive is downloaded.
    Raises DataError for a set that cannot be fetched, a failed download, a wrong sum or a harmful archive.
    """
    if name in CATALOG and CATALOG[name].lies_in:
        name = CATALOG[name].lies_in[0]
    if name == "photos":
        return ["photos are inside scikit-image: nothing to fetch"]
    if name not in ORIGINS:
        why = f"{name}: {CATALOG[name].licence}" if name in CATALOG else name
        raise DataError(f"data set to fetch must be one of {', '.join(ORIGINS)}, got {why}")
    root = locations.data(root)
    if all(row["state"] == "present" for row in check(root, (name,))):
        return [f"{name} is already in {root}"]
    downloads = root / ".downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    with FileLock(downloads / "lock"):
        return _fetch(name, root, downloads, progress)


def _fetch(name: str, root: Path, downloads: Path, progress: _Progress | None) -> list[str]:
    staging, known = downloads / name, recorded(root)
    archives = {origin: downloads / PurePosixPath(origin.url).name for origin in ORIGINS[name]}
    shutil.rmtree(staging, ignore_errors=True)
    try:
        for origin, archive in archives.items():
            _download(origin.url, archive, progress)
            with _aside(archive):
                _check_sum(archive, origin)
                _unpack(archive, origin, staging)
        with _aside(*archives.values()):
            found = _checked_sums(name, staging, known)
        count = sum(file.is_file() for file in staging.rglob("*"))
        shutil.copytree(staging, root, copy_function=os.replace, dirs_exist_ok=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    new = {key: value for key, value in found.items() if key not in PINNED}
    write_atomic(root / SUMS_FILE, json.dumps(known | new, indent=1).encode())
    for archive in archives.values():
        archive.unlink()
    pinned = [origin.url for origin in archives if origin.sha256]
    pinned += [f"the images of {name}"] if len(new) < len(found) else []
    return [
        f"{name}: {count} files are now in {root}",
        *(f"SHA-256 as pinned: {what}" for what in pinned),
        *(f"SHA-256 not pinned, recorded in {SUMS_FILE}: {key}" for key in new),
    ]


def _download(url: str, archive: Path, progress: _Progress | None) -> None:
    """Complete the file `archive`, over several connections where they break off. Raises DataError."""
    reason = ""
    for _ in range(_ATTEMPTS):
        try:
            return _append(url, archive, progress)
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            reason = f"({error}); what has come is kept, fetch again to go on"
    raise DataError(f"{url} must be reachable, got no more of it {reason}")


def _append(url: str, archive: Path, progress: _Progress | None) -> None:
    """Append what is missing of `archive`; a server that cannot resume starts it anew."""
    have = archive.stat().st_size if archive.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{have}":
            return  # nothing is missing
        if error.code == 416:
            archive.unlink()
        raise
    with response:
        resumed = response.status == 206
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with archive.open("ab" if resumed else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                have += len(chunk)
                if progress:
                    progress(have, total)
    if total is not None and have < total:
        raise ConnectionError(f"broke off after {have} of {total} bytes")


def _check_sum(archive: Path, origin: Origin) -> None:
    with archive.open("rb") as file:
        found = file_digest(file, "sha256").hexdigest()
    if origin.sha256 not in (None, found):
        raise DataError(f"SHA-256 of {origin.url} must be {origin.sha256}, got {found}")


def _unpack(archive: Path, origin: Origin, staging: Path) -> None:
    """Write the wanted members where our template says, under `staging`. Raises DataError, StoreError."""
    left = _MAX_UNPACKED
    try:
        for name, size, opened in _members(archive):
            match = re.fullmatch(origin.take, name)
            left -= _MEMBER + size  # also of those left out: a tar is unpacked to skip them
            if left < 0 or (match and size > _MAX_FILE):
                limit = f"{_MAX_FILE} bytes each and {_MAX_UNPACKED} in all"
                raise DataError(f"archive members must have at most {limit}, got {name}")
            if match:
                with opened() as source:
                    write_atomic(staging / origin.put.format(**match.groupdict()), source.read())
    except (DataError, StoreError):
        raise
    except Exception as error:  # archives that are damaged, encrypted or packed unusually lead the library anywhere
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"archive {origin.url} must be whole, got {reason}") from None


def _members(archive: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    """Yield each plain file's name, its bytes as the archive says, more of which cannot be read, and how to open it."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for member in file.infolist():
                yield member.filename, member.file_size, partial(file.open, member)
    else:
        with tarfile.open(archive) as file:
            for member in filter(tarfile.TarInfo.isfile, file):
                yield member.name, member.size, partial(file.extractfile, member)  # ty: ignore[invalid-yield] (only plain files are opened)


def _checked_sums(name: str, staging: Path, known: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the sums of the unpacked images; refuse them where some are missing, damaged or not those known."""
    sums = {}
    for split in CATALOG[name].counts:
        row, found = examine(name, split, staging, known)
        if row["state"] != "present":
            raise DataError(f"{name} {split} must come whole, got {row['note']}")
        sums |= found
    return sums


@contextmanager
def _aside(*archives: Path):
    """Put archives that break a rule inside this context aside, so that the next fetch starts anew, and say where."""
    try:
        yield
    except DataError as error:
        places = [archive.rename(archive.with_name(archive.name + ".bad")) for archive in archives]
        raise DataError(f"{error}; kept as {' and '.join(map(str, places))}") from None
