"""Fetching from a server on loopback: resumed, checked, unpacked safely; and what `check` says."""

import hashlib
import io
import json
import re
import shutil
import struct
import sys
import tarfile
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from hinas_nb import __main__, data
from hinas_nb.data.catalog import CATALOG
from hinas_nb.data.check import PINNED, SUMS_FILE, check, incomplete
from hinas_nb.data.fetch import fetch
from hinas_nb.data.origins import ORIGINS, Origin

NAMES = ("img001.png", "img002.png", "img003.png")


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (12, 8), (value, 2, 3)).save(buffer, "PNG")
    return buffer.getvalue()


def tar(members: dict[str, bytes | str]) -> bytes:
    """A tar.gz; a str is the target of a link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                file.addfile(info)
            else:
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def marked(archive: bytes, flags: int = 0, method: int = 0) -> bytes:
    """All members as encrypted, or as packed by a method, in their own headers and in the directory."""
    content = bytearray(archive)
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.find(signature)
        while start >= 0:
            content[start + place : start + place + 4] = struct.pack("<HH", flags, method)
            start = content.find(signature, start + 4)
    return bytes(content)


def damaged(archive: bytes) -> bytes:
    """The first wanted member's bytes, changed."""
    content = bytearray(archive)
    at = content.find(b"img001.png") + 10 + 30
    content[at] ^= 0xFF
    return bytes(content)


WHOLE = {f"benchmark/Urban100/HR/{name}": png(index) for index, name in enumerate(NAMES)}
OTHERS = {"benchmark/Set5/HR/baby.png": png(9), "benchmark/readme.txt": b"hello"}


class Server(ThreadingHTTPServer):
    """Serves one archive; `breaks` are the byte counts after which the next connections end."""

    content, resumes = b"", True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges, self.breaks = [], []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/benchmark.tar"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.resumes else 0
        if start and start >= len(server.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        end = start + server.breaks.pop(0) if server.breaks else None
        self.wfile.write(server.content[start:end])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server whose archive is Urban100's origin, with three images instead of a hundred."""
    with Server() as server:
        server.content = tar(OTHERS | WHOLE)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        origin = replace(ORIGINS["Urban100"][0], url=server.url)
        monkeypatch.setitem(ORIGINS, "Urban100", (origin,))
        monkeypatch.setitem(CATALOG, "Urban100", replace(CATALOG["Urban100"], counts={"test": 3}))
        yield server
        server.shutdown()


def pin(monkeypatch, sha256: str):
    monkeypatch.setitem(ORIGINS, "Urban100", (replace(ORIGINS["Urban100"][0], sha256=sha256),))


def files(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != "lock")


def test_fetch_unpacks_what_belongs_to_the_set_and_records_the_sum(server, tmp_path):
    seen = []
    lines = fetch("Urban100", tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert files(tmp_path) == [*(f"Urban100/HR/{name}" for name in NAMES), SUMS_FILE]
    assert seen[-1] == (len(server.content), len(server.content))
    assert lines == [
        f"Urban100: 3 files are now in {tmp_path}",
        f"SHA-256 not pinned, recorded in {SUMS_FILE}: Urban100 test",
    ]
    sums = json.loads((tmp_path / SUMS_FILE).read_text())
    assert sums["Urban100 test"][1] == data.load("Urban100", "test", tmp_path).sha256
    assert fetch("Urban100", tmp_path) == [f"Urban100 is already in {tmp_path}"]
    assert server.ranges == [None]


def test_zip_archives_do_as_well(server, tmp_path):
    server.content = zipped(OTHERS | WHOLE)
    fetch("Urban100", tmp_path)
    assert len(data.load("Urban100", "test", tmp_path)) == 3


def test_a_broken_connection_is_resumed(server, tmp_path):
    server.breaks = [100, 50]
    fetch("Urban100", tmp_path)
    assert server.ranges == [None, "bytes=100-", "bytes=150-"]


def test_the_next_call_goes_on_where_the_last_broke_off(server, tmp_path):
    server.breaks = [100, 10, 10]
    with pytest.raises(data.DataError) as error:
        fetch("Urban100", tmp_path)
    assert str(error.value) == (
        f"{server.url} must be reachable, got no more of it (broke off after 120 of {len(server.content)} "
        "bytes); what has come is kept, fetch again to go on"
    )
    assert files(tmp_path) == [".downloads/benchmark.tar"]
    fetch("Urban100", tmp_path)
    assert server.ranges[-1] == "bytes=120-"
    assert len(data.load("Urban100", "test", tmp_path)) == 3


def test_a_download_that_is_complete_is_not_repeated(server, tmp_path):
    (tmp_path / ".downloads").mkdir()
    (tmp_path / ".downloads" / "benchmark.tar").write_bytes(server.content)
    fetch("Urban100", tmp_path)
    assert server.ranges == [f"bytes={len(server.content)}-"]


def test_a_server_that_cannot_resume_starts_anew(server, tmp_path):
    server.resumes, server.breaks = False, [100]
    fetch("Urban100", tmp_path)
    assert len(data.load("Urban100", "test", tmp_path)) == 3


def test_a_pinned_sum_is_checked(server, tmp_path, monkeypatch):
    sha256 = hashlib.sha256(server.content).hexdigest()
    pin(monkeypatch, "0" * 64)
    with pytest.raises(data.DataError) as error:
        fetch("Urban100", tmp_path)
    aside = tmp_path / ".downloads" / "benchmark.tar.bad"
    assert str(error.value) == f"SHA-256 of {server.url} must be {'0' * 64}, got {sha256}; kept as {aside}"
    assert files(tmp_path) == [".downloads/benchmark.tar.bad"]
    pin(monkeypatch, sha256)
    assert fetch("Urban100", tmp_path)[1] == f"SHA-256 as pinned: {server.url}"


def test_images_must_have_the_recorded_sum_whatever_archive_they_come_in(server, tmp_path):
    fetch("Urban100", tmp_path)
    sums = json.loads((tmp_path / SUMS_FILE).read_text())
    (tmp_path / SUMS_FILE).write_text(json.dumps(sums | {server.url: ["of the archive, as recorded formerly"]}))
    shutil.rmtree(tmp_path / "Urban100")
    server.content = tar(WHOLE | {"benchmark/Urban100/HR/img002.png": png(77)})
    changed = "Urban100 test must come whole, got pixels of Urban100 test differ from the recorded sum; kept as "
    with pytest.raises(data.DataError, match=changed):
        fetch("Urban100", tmp_path)
    assert not (tmp_path / "Urban100").exists()
    server.content = zipped(WHOLE)
    fetch("Urban100", tmp_path)
    assert len(data.load("Urban100", "test", tmp_path)) == 3


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (tar(dict(list(WHOLE.items())[:2]) | {"Urban100/HR/a.png": "/etc/passwd"}), "1 of 3 images are missing"),
        (tar(WHOLE)[:-40], "must be whole, got"),
        (b"<html>not found</html>", "must be whole, got"),
        (tar(dict(list(WHOLE.items())[:2])), "Urban100 test must come whole, got 1 of 3 images are missing"),
        (tar(WHOLE | {"Urban100/HR/img002.png": b"x"}), "img002.png must be a whole picture, got no picture"),
        (marked(zipped(WHOLE), flags=1), "is encrypted, password required for extraction"),
        (marked(zipped(WHOLE), method=97), "must be whole, got That compression method is not supported"),
        (damaged(zipped(WHOLE)), "must be whole, got Bad CRC-32 for file 'benchmark/Urban100/HR/img001.png'"),
        (damaged(zipped(WHOLE, zipfile.ZIP_LZMA)), "must be whole, got"),
        (damaged(zipped(WHOLE, zipfile.ZIP_BZIP2)), "must be whole, got"),
        (tar(dict(list(WHOLE.items())[:2]) | {f"Urban100/HR/{'a' * 300}.png": png(1)}), "1 of 3 images are missing"),
    ],
    ids=["link", "cut", "page", "few", "damaged", "encrypted", "method", "crc", "lzma",
         "bzip2", "long"],
)  # fmt: skip
def test_harmful_and_broken_archives_leave_no_images(server, tmp_path, content, text):
    server.content = content
    with pytest.raises(data.DataError) as error:
        fetch("Urban100", tmp_path / "data")
    assert text in str(error.value) and "\n" not in str(error.value)
    assert files(tmp_path) == ["data/.downloads/benchmark.tar.bad"]
    assert "benchmark.tar.bad" in str(error.value), "the archive is named"
    server.content = tar(WHOLE)
    fetch("Urban100", tmp_path / "data")  # and fetched again, not left to fail again


@pytest.mark.parametrize("pack", [tar, zipped])
def test_members_left_out_count_as_well(server, tmp_path, monkeypatch, pack):
    monkeypatch.setattr(sys.modules[fetch.__module__], "_MAX_UNPACKED", 100_000)
    for others in ({"benchmark/readme.txt": b"0" * 200_000}, {f"{index}": b"" for index in range(300)}):
        server.content = pack(others | WHOLE)
        with pytest.raises(data.DataError, match=r"archive members must have at most .* and 100000 in all, got"):
            fetch("Urban100", tmp_path)


@pytest.mark.parametrize(
    ("pack", "name"),
    [(tar, "../../evil.png"), (tar, "/etc/evil.png"), (zipped, "..\\evil.png"), (tar, "../Urban100/HR/a.png")],
)
def test_no_name_in_an_archive_leads_out_of_the_folder(server, tmp_path, pack, name):
    server.content = pack(WHOLE | {name: png(9)})
    fetch("Urban100", tmp_path / "deep" / "data")
    images = {path.relative_to(tmp_path).parent.as_posix() for path in tmp_path.rglob("*.png")}
    assert images == {"deep/data/Urban100/HR"}


def test_names_in_archives_do_not_reach_the_terminal(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.modules[fetch.__module__], "_MAX_UNPACKED", 100_000)
    server.content = tar({"../\x1b[2J\x07evil\r\n\u202e.png": b"0" * 200_000} | WHOLE)
    monkeypatch.setenv("HINAS_DATA", str(tmp_path))
    assert __main__.main(["data", "fetch", "Urban100"]) == 2
    said = capsys.readouterr()
    assert (said.out + said.err).removesuffix("\n").isprintable()
    assert r"got ../\x1b[2J\x07evil \u202e.png" in said.err


@pytest.mark.parametrize("noted", ["[]", "{", '{"Urban100 test": 3}', '{"Urban100 test": []}', '{"http://x/y": [1]}'])
def test_a_damaged_list_of_sums_is_one_line(server, tmp_path, noted):
    (tmp_path / SUMS_FILE).write_text(noted)
    with pytest.raises(ValueError, match=rf"{SUMS_FILE} must .*delete it$"):
        fetch("Urban100", tmp_path)


def test_unpacked_sizes_are_bounded(server, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[fetch.__module__], "_MAX_FILE", 20)
    with pytest.raises(data.DataError, match="archive members must have at most 20 bytes each"):
        fetch("Urban100", tmp_path)


def test_what_cannot_be_fetched(tmp_path):
    assert fetch("photos", tmp_path) == ["photos are inside scikit-image: nothing to fetch"]
    known = ", ".join(ORIGINS)
    with pytest.raises(data.DataError) as error:
        fetch("Manga109", tmp_path)
    assert str(error.value) == (
        f"data set to fetch must be one of {known}, got Manga109: on request at manga109.org, no "
        "redistribution (Matsui et al. 2017)"
    )
    with pytest.raises(data.DataError, match=r"^data set to fetch must be one of .*, got Set12$"):
        fetch("Set12", tmp_path)


def test_sets_inside_another_are_fetched_with_it(monkeypatch, tmp_path):
    monkeypatch.delitem(ORIGINS, "BSDS500")
    with pytest.raises(data.DataError, match="got BSDS500: photographs for non-commercial"):
        fetch("B100", tmp_path)


def test_members_of_the_published_archives_are_recognised():
    """Their layouts, as others describe them, become ours."""
    members = {
        "BSDS500": ("BSR/BSDS500/data/images/val/3096.jpg", "BSDS500/val/3096.jpg"),
        "DIV2K": ("DIV2K_train_HR/0001.png", "DIV2K/DIV2K_train_HR/0001.png"),
        "Set5": ("Set5/image_SRF_3/img_004_SRF_3_LR.png", "Set5/LR/x3/img_004.png"),
        "Set14": ("Set14/image_SRF_2/img_010_SRF_2_HR.png", "Set14/HR/x2/img_010.png"),
        "Urban100": ("benchmark/Urban100/HR/img004.png", "Urban100/HR/img004.png"),
    }
    assert members.keys() == ORIGINS.keys()
    for name, (member, expected) in members.items():
        origin: Origin = ORIGINS[name][0]
        match = re.fullmatch(origin.take, member)
        assert match and origin.put.format(**match.groupdict()) == expected


def test_check_tells_present_missing_and_corrupt(server, tmp_path):
    fetch("Urban100", tmp_path)

    def row():
        (row,) = check(tmp_path, ("Urban100",))
        assert (row["set"], row["split"]) == ("Urban100", "test")
        return row["state"], row["images"], row["note"]

    assert row() == ("present", 3, "recorded sum agrees") and incomplete("Urban100", "test", tmp_path) == ""
    first = tmp_path / "Urban100" / "HR" / NAMES[0]
    first.write_bytes(png(200))
    assert row() == ("corrupt", 3, "pixels of Urban100 test differ from the recorded sum")
    first.write_bytes(png(0)[:40])
    state, _, note = row()
    assert state == "corrupt" and str(first) in note
    first.unlink()
    assert row() == ("missing", 2, "1 of 3 images are missing")
    assert incomplete("Urban100", "test", tmp_path).startswith("Urban100 test has 2 of its 3 images: ")
    shutil.rmtree(tmp_path / "Urban100")
    assert row() == ("missing", 0, f"no images under {tmp_path} (hinas-nb data fetch Urban100)")


def test_check_covers_every_set_and_split(tmp_path):
    rows = check(tmp_path)
    assert [(row["set"], row["split"]) for row in rows] == [
        (name, split) for name, entry in CATALOG.items() for split in entry.counts
    ]
    assert {row["state"] for row in rows if row["set"] == "photos"} == {"present"}
    assert {row["state"] for row in rows if row["set"] != "photos"} == {"missing"}


def test_photos_are_those_the_results_were_made_with():
    assert {row["note"] for row in check("/nowhere", ("photos",))} == {"pinned sum agrees"}


@pytest.mark.parametrize("name", ["BSDS500", "Set5", "Set14"])
def test_known_sets_have_the_pinned_sums(data_root, name):
    rows = check(data_root(name), (name,))
    assert {(row["state"], row["note"]) for row in rows} == {("present", "pinned sum agrees")}
    assert any(key.startswith(name) for key in PINNED)


def test_check_finds_a_damaged_copy(data_root, tmp_path):
    shutil.copytree(data_root("Set5") / "Set5", tmp_path / "Set5")
    victim = tmp_path / "Set5" / "HR" / "x3" / "img_002.png"
    victim.write_bytes(victim.read_bytes()[:5000])
    (row,) = check(tmp_path, ("Set5",))
    assert row["state"] == "corrupt" and str(victim) in row["note"]
    shutil.rmtree(tmp_path / "Set5" / "HR" / "x4")
    (row,) = check(tmp_path, ("Set5",))
    assert row["state"] == "missing"
