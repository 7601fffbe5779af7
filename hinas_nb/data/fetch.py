"""Downloading data sets from their public origins.

An archive is resumed where it broke off, checked, unpacked beside its destination, checked again as images
and only then moved there: a file appears whole or not at all. Sums that no source gives are recorded at first
use.
"""

import errno
import http.client
import json
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from hashlib import file_digest
from pathlib import Path, PurePosixPath
from typing import IO

from filelock import FileLock

from hinas_nb.data.catalog import CATALOG, DataError
from hinas_nb.data.check import PINNED, SUMS_FILE, check, recorded, sums
from hinas_nb.data.images import data_root
from hinas_nb.data.origins import ORIGINS, Origin
from hinas_nb.files import write_atomic

CHUNK = 1 << 20  # bytes
ATTEMPTS = 3  # connections that may break off in one call
TIMEOUT = 60  # seconds of silence
MAX_FILE = 64 << 20  # bytes of one unpacked image; those of DIV2K have up to 10 MB
MAX_UNPACKED = 8 << 30  # bytes of one unpacked archive; DIV2K has 4 GB
MEMBER = 512  # bytes that a member counts beside its content, so that empty ones have an end as well
#: What the standard library raises for archives that are damaged, encrypted or packed by a method it does not know.
BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError)
BROKEN += (RuntimeError, ValueError, LookupError, OverflowError)  # NotImplementedError is a RuntimeError
IMPOSSIBLE = {errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EINVAL, errno.EILSEQ}

Progress = Callable[[int, int | None], None]


def fetch(name: str, root: str | Path | None = None, progress: Progress | None = None) -> list[str]:
    """Download, check and unpack a data set under `root`; returns what was done, in lines to show.

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
    root = data_root(root)
    if all(row["state"] == "present" for row in check(root, (name,))):
        return [f"{name} is already in {root}"]
    downloads = root / ".downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    with FileLock(downloads / "lock"):
        return _fetch(name, root, downloads / name, progress)


def _fetch(name: str, root: Path, staging: Path, progress: Progress | None) -> list[str]:
    archives = {origin: _archive(origin, root, progress) for origin in ORIGINS[name]}
    new_sums = {origin.url: [_sha256(archive)] for origin, archive in archives.items() if not origin.sha256}
    shutil.rmtree(staging, ignore_errors=True)
    try:
        for origin, archive in archives.items():
            _unpack(archive, origin, staging)
        new_sums |= _checked_sums(name, staging, archives.values(), recorded(root))
        count = _move(staging, root)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    write_atomic(root / SUMS_FILE, json.dumps(recorded(root) | new_sums, indent=1).encode())
    for archive in archives.values():
        archive.unlink()
    return [f"{name}: {count} files are now in {root}", *_said(name, archives, new_sums)]


def _archive(origin: Origin, root: Path, progress: Progress | None) -> Path:
    """The archive, whole and with the right sum."""
    part = root / ".downloads" / PurePosixPath(origin.url).name
    for attempt in range(ATTEMPTS):
        try:
            _download(origin.url, part, progress)
            break
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            if attempt == ATTEMPTS - 1:
                reason = f"({error}); what has come is kept, fetch again to go on"
                raise DataError(f"{origin.url} must be reachable, got no more of it {reason}") from None
    known = origin.sha256 or recorded(root).get(origin.url, [None])[0]
    found = _sha256(part)
    if known not in (None, found):
        raise DataError(f"SHA-256 of {origin.url} must be {known}, got {found}; {_put_aside(part)}")
    return part


def _download(url: str, part: Path, progress: Progress | None) -> None:
    """Append what is missing of `part`; a server that cannot resume starts it anew."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{have}":
            return  # nothing is missing
        if error.code == 416:
            part.unlink()
        raise
    with response:
        resumed = response.status == 206
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with part.open("ab" if resumed else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                have += len(chunk)
                if progress:
                    progress(have, total)
    if total is not None and have < total:
        raise ConnectionError(f"broke off after {have} of {total} bytes")


def _unpack(archive: Path, origin: Origin, staging: Path) -> None:
    """Write the wanted members under `staging`; the paths come from our template, not from the archive."""
    for path, content in _contents(archive, origin):
        target = staging / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        except OSError as error:
            if error.errno not in IMPOSSIBLE:
                raise
            raise DataError(f"archive {origin.url} must hold names that can be written, got {target.name} "
                            f"({error.strerror}); {_put_aside(archive)}") from None  # fmt: skip


def _contents(archive: Path, origin: Origin) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of the wanted members. Raises DataError for an archive that is harmful or not whole."""
    left = MAX_UNPACKED
    name = ""
    try:
        for name, regular, size, opened in _members(archive):
            path = PurePosixPath(name.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts:
                raise DataError(f"archive members must stay inside the archive, got {name}; {_put_aside(archive)}")
            match = re.fullmatch(origin.take, name)
            if match and not regular:
                raise DataError(f"archive members must be files, got the link {name}; {_put_aside(archive)}")
            content = b""
            if match:
                with opened() as source:
                    content = source.read(min(MAX_FILE, max(left, 0)) + 1)
            left -= MEMBER + max(size, len(content))  # also of those left out: a tar is unpacked to skip them
            if len(content) > MAX_FILE or left < 0:
                limit = f"{MAX_FILE} bytes each and {MAX_UNPACKED} in all"
                raise DataError(f"archive members must have at most {limit}, got {name}; {_put_aside(archive)}")
            if match:
                yield origin.put.format(**match.groupdict()), content
    except DataError:
        raise
    except BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        where = f" at {name}" if name else ""
        raise DataError(f"archive {origin.url} must be whole, got {reason}{where}; {_put_aside(archive)}") from None


def _members(archive: Path) -> Iterator[tuple[str, bool, int, Callable[[], IO[bytes]]]]:
    """Name, whether it is a plain file, bytes as the archive says, and how to open it."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for member in file.infolist():
                link = stat.S_ISLNK(member.external_attr >> 16)
                yield member.filename, not (link or member.is_dir()), member.file_size, partial(file.open, member)
    else:
        with tarfile.open(archive) as file:
            for member in file:
                yield member.name, member.isfile(), member.size, partial(file.extractfile, member)  # ty: ignore[invalid-yield] (only plain files are opened)


def _checked_sums(name: str, staging: Path, archives: Iterable[Path], known: dict) -> dict[str, list[str]]:
    """Refuse unpacked images that are too few, damaged or not those known; else the sums not pinned yet."""
    found = {}
    for row in check(staging, (name,)):
        if row["state"] == "present":
            found |= sums(name, row["split"], staging)
            wrong = [key for key in found if key in known and known[key] != list(found[key])]
            row = row | {"state": "corrupt", "note": f"{wrong[0]} differs from the recorded sum"} if wrong else row
        if row["state"] != "present":
            aside = "; ".join(_put_aside(archive) for archive in archives)
            raise DataError(f"{name} {row['split']} must come whole, got {row['note']}; {aside}")
    return {key: list(value) for key, value in found.items() if key not in PINNED}


def _move(staging: Path, root: Path) -> int:
    """Put the unpacked files in place, one by one."""
    files = [file for file in staging.rglob("*") if file.is_file()]
    for file in files:
        target = root / file.relative_to(staging)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, target)
    return len(files)


def _said(name: str, archives: dict[Origin, Path], new_sums: dict) -> list[str]:
    pinned = [origin.url for origin in archives if origin.sha256]
    pinned += [f"the images of {name}"] if any(key.startswith(f"{name} ") for key in PINNED) else []
    lines = [f"SHA-256 as pinned: {what}" for what in pinned]
    return lines + [f"SHA-256 not pinned, recorded in {SUMS_FILE}: {key}" for key in new_sums]


def _put_aside(archive: Path) -> str:
    aside = archive.with_name(archive.name + ".bad")
    os.replace(archive, aside)
    return f"kept as {aside}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
