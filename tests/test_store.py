"""The store: hashes that say what a Run is, whole files, locks, and clear words when something is wrong."""

import errno
import json
import multiprocessing
import os
import time
from types import SimpleNamespace

import pytest
import torch
from made_up_runs import execute_here

from hinas_nb import data, files, locations
from hinas_nb.experiment.config import Epoch, EvaluateConfig, Loss, Perturbed, SearchConfig, Space, TrainConfig
from hinas_nb.experiment.runs import REVISIONS, Run, run_hash
from hinas_nb.method.genotype import Genotype
from hinas_nb.running import notes
from hinas_nb.running.compute import compute
from hinas_nb.running.pool import missing
from hinas_nb.running.status import status
from hinas_nb.running.store import CHECKPOINT, Store
from hinas_nb.scoring.protocol import get

SEARCH = SearchConfig(data="photos", split="train", validation="validation")
TRAIN = TrainConfig(genotype=SEARCH, data="photos", split="train", sigma=50)
EVALUATE = EvaluateConfig(model=TRAIN, data="photos", protocol=get("denoise-standard"))
GENOTYPE = Genotype((0,), (((("conv_3", 0), ("sep_3", 1)),),))


@pytest.fixture
def pixels(monkeypatch):
    """Data sets that hold nothing but a checksum; change one and it is other data."""
    sums = {}
    monkeypatch.setattr("hinas_nb.running.store.image_files", lambda name, split, root, scale: [name, split])
    monkeypatch.setattr("hinas_nb.running.store._pixel_hash", lambda paths: sums.get(paths[1], " ".join(paths)))
    return sums


@pytest.fixture
def folder(tmp_path, pixels):
    folder = Store(tmp_path).folder(SEARCH)
    folder.begin("cpu", 1)
    return folder


def hash_of(config, tmp_path):
    return Store(tmp_path).folder(config).hash


def test_hash_is_the_same_for_the_same_settings_however_spelt(tmp_path, pixels):
    spelt = SearchConfig(
        data="photos",
        split="train",
        validation="validation",
        sigmas=(30, 50, 70),
        space={"width_factors": (1, 1.5, 2.0)},
    )
    assert hash_of(spelt, tmp_path) == hash_of(SEARCH, tmp_path)


@pytest.mark.parametrize(
    "other",
    [
        SEARCH.but(seed=1),
        SEARCH.but(loss=Loss(ssim_weight=0)),
        SEARCH.but(space=Space(residual=False)),
        SEARCH.but(validation="test"),
    ],
)
def test_hash_changes_with_any_setting(other, tmp_path, pixels):
    assert hash_of(other, tmp_path) != hash_of(SEARCH, tmp_path)


def test_hash_is_pinned(tmp_path, pixels):
    """If this fails, old Runs are orphaned: give a new switch an off default, or mean it."""
    assert hash_of(TRAIN.but(genotype=GENOTYPE), tmp_path)[:16] == "8eaae3efa715e5bc"


def test_hashes_nest(tmp_path, pixels, monkeypatch):
    before = hash_of(EVALUATE, tmp_path)
    assert hash_of(EVALUATE.but(model=TRAIN.but(genotype=SEARCH.but(seed=1))), tmp_path) != before
    assert hash_of(EVALUATE.but(model=TRAIN.but(genotype=Perturbed(search=SEARCH, kind="R1"))), tmp_path) != before
    searched = [SEARCH, Epoch(search=SEARCH), Epoch(search=SEARCH, epoch=1), Perturbed(search=SEARCH, kind="R1")]
    searched += [Perturbed(search=SEARCH, kind="R2"), Perturbed(search=SEARCH, kind="R1", matched=1)]
    assert len({hash_of(EVALUATE.but(model=TRAIN.but(genotype=one)), tmp_path) for one in searched}) == len(searched)
    monkeypatch.setitem(REVISIONS, "search", REVISIONS["search"] + 1)
    assert hash_of(EVALUATE, tmp_path) != before, "a new revision of the search outdates what builds on it"


def test_hash_follows_the_pixels_of_own_and_producers_data(tmp_path, pixels):
    before = {config: hash_of(config, tmp_path / "a") for config in (SEARCH, TRAIN, EVALUATE)}
    pixels["validation"] = "other pixels"  # seen by the search only
    assert all(hash_of(config, tmp_path / "a") != value for config, value in before.items())
    pixels.clear()
    pixels["test"] = "other pixels"
    assert hash_of(TRAIN, tmp_path) == before[TRAIN]
    assert hash_of(EVALUATE, tmp_path) != before[EVALUATE]


def test_without_its_data_a_finished_run_is_still_found(tmp_path, pixels, monkeypatch):
    before = hash_of(SEARCH, tmp_path)

    def missing(name, split, root, scale):
        raise data.DataError(f"{name} is not here")

    monkeypatch.setattr("hinas_nb.running.store.image_files", missing)
    assert hash_of(SEARCH, tmp_path) == before
    with pytest.raises(data.DataError, match="photos is not here"):
        hash_of(SEARCH, tmp_path / "elsewhere")


def test_checkpoint_returns_bit_for_bit(folder):
    tensors = {
        "a.weight": torch.randn(3, 4).T,
        "half": torch.randn(5).bfloat16(),
        "step": torch.tensor(7),
        "none": torch.empty(0),
        "on": torch.tensor([True, False]),
    }
    folder.save_checkpoint(tensors, {"epoch": 3, "best": None})
    again, meta = folder.load_checkpoint()
    assert meta == {"epoch": 3, "best": None}
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], tensors[name]) and again[name].dtype == tensors[name].dtype for name in again)


def test_records_newer_than_the_checkpoint_are_dropped(folder):
    folder.append_records([{"epoch": 1}])
    assert folder.load_checkpoint() is None
    assert folder.records() == []
    folder.append_records([{"epoch": 1, "psnr": float("inf")}])
    folder.save_checkpoint({}, {})
    folder.append_records([{"epoch": 2}])
    folder.load_checkpoint()
    assert folder.records() == [{"epoch": 1, "psnr": float("inf")}]


def damaged(content: bytes) -> dict[str, bytes]:
    return {
        "truncated": content[:-3],
        "empty": b"",
        "pickle": b"\x80\x04K\x01.",
        "flipped": content[:-1] + bytes([content[-1] ^ 1]),
    }


@pytest.mark.parametrize("damage", ["truncated", "empty", "pickle", "flipped"])
def test_damaged_checkpoint_is_refused(folder, damage):
    folder.save_checkpoint({"a": torch.ones(8)}, {})
    path = folder.path / CHECKPOINT
    path.write_bytes(damaged(path.read_bytes())[damage])
    with pytest.raises(files.FileContentError) as error:
        folder.load_checkpoint()
    assert str(path) in str(error.value) and "delete it" in str(error.value) and "\n" not in str(error.value)


def test_foreign_checkpoint_is_refused(folder, tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, folder.path / CHECKPOINT)
    with pytest.raises(ValueError, match=r"must be a file this package wrote .*; delete it"):
        folder.load_checkpoint()
    other = Store(tmp_path).folder(SEARCH.but(seed=1))
    other.begin("cpu", 1)
    other.save_checkpoint({"a": torch.ones(2)}, {})
    os.replace(other.path / CHECKPOINT, folder.path / CHECKPOINT)
    with pytest.raises(ValueError, match=f"must be of Run {folder.hash}, got one of {other.hash}; delete it"):
        folder.load_checkpoint()


@pytest.mark.parametrize("key", ["hash", "meta", "records", "sum", "seconds"])
def test_a_checkpoint_without_its_state_is_refused(folder, key):
    folder.save_checkpoint({"a": torch.ones(2)}, {})
    tensors, content = files.read_tensors(folder.path / CHECKPOINT)
    for wrong in ({name: value for name, value in content.items() if name != key}, [key]):
        files.write_tensors(folder.path / CHECKPOINT, tensors, wrong)
        with pytest.raises(files.FileContentError, match=r"must be the note .*; delete it to start the Run anew"):
            folder.load_checkpoint()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("{}", "start.json must be the note of a Run, got hash: Field required, got {}; delete .* to start anew"),
        ({"threads": 0}, "start.json must be the note of a Run, got threads: Input should be .*, got 0; delete"),
        ({"device": 3}, "start.json must be the note of a Run, got device: .* valid string, got 3; delete"),
        ({"device": "tpu"}, "must go on where it was started, on tpu, got a machine without it; delete"),
    ],
)
def test_a_start_that_cannot_go_on_here_is_refused(folder, content, line):
    path = folder.path / "start.json"
    path.write_text(content if isinstance(content, str) else json.dumps(json.loads(path.read_text()) | content))
    with pytest.raises(files.FileContentError, match=line):
        folder.begin("cpu", 1)


@pytest.mark.parametrize("change", [{"meta": {"steps_done": 9}}, {"seconds": "abc"}, {"records": 0}, {"records": None}])
def test_what_a_checkpoint_says_is_part_of_its_sum(folder, change):
    folder.append_records([{"epoch": 1}, {"epoch": 2}])
    folder.save_checkpoint({"a": torch.ones(2)}, {"steps_done": 2})
    tensors, content = files.read_tensors(folder.path / CHECKPOINT)
    files.write_tensors(folder.path / CHECKPOINT, tensors, content | change)
    with pytest.raises(
        files.FileContentError, match=r"checkpoint.* must (match its checksum|be the note .*); delete it"
    ):
        folder.load_checkpoint()


def test_records_are_part_of_a_checkpoints_sum(folder):
    folder.append_records([{"epoch": 1}, {"epoch": 2}])
    folder.save_checkpoint({}, {})
    path = folder.path / "records.jsonl"
    path.write_text(path.read_text().replace("2", "3"))
    with pytest.raises(files.FileContentError, match=r"and the records beside it must match its checksum"):
        folder.load_checkpoint()
    path.write_text('{"epoch": 1}\n')
    with pytest.raises(files.FileContentError, match=r"records.jsonl must hold at least 2 records, got 1; delete"):
        folder.load_checkpoint()


def finished(folder):
    """With a file of every kind that Runs leave."""
    folder.append_records([{"epoch": 1}, {"epoch": 2}])
    for name in ("scores.csv", "genotype.json", "candidates.json", "images/a.png"):
        folder.write_text(name, f"content of {name}")
    folder.write_tensors("weights.safetensors", {"a": torch.ones(8)}, {})
    folder.finish({"psnr": float("inf")})
    assert folder.done
    return folder


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


NEIGHBOURS = ["records.jsonl", "scores.csv", "genotype.json", "candidates.json", "images/a.png", "weights.safetensors"]


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_a_flipped_bit_in_a_finished_run_is_refused_by_every_reader(folder, name):
    path = finished(folder).path / name
    flipped(path)
    line = f"^{path} must be as the Run left it, got another SHA-256 than run.json holds; delete {folder.path} to"
    store = Store(folder.path.parents[1])
    readers = [folder.finished, folder.note, folder.records, lambda: folder.read_text("scores.csv")]
    readers += [lambda: folder.read_tensors("weights.safetensors"), lambda: list(compute(SEARCH, store))]
    for reader in readers:
        with pytest.raises(files.FileContentError, match=line):
            reader()
    assert not folder.done and list(status(store)["state"]) == ["damaged"], "said alike by all"
    assert (folder.path / "run.json").exists() and not (folder.path / "failed.json").exists(), "nothing is lost"
    flipped(path)
    assert folder.done, "as soon as the file is back"


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_only_weights_and_images_of_a_finished_run_may_be_removed(folder, name, tmp_path):
    path = finished(folder).path / name
    path.unlink()
    kept = name in ("images/a.png", "weights.safetensors")
    assert folder.done == kept and list(status(Store(tmp_path))["state"]) == ["done" if kept else "damaged"]
    if not kept:
        with pytest.raises(files.FileContentError, match=f"^{path} must be there as the Run left it, got none; delete"):
            folder.finished()


@pytest.mark.parametrize("name", ["/dev/zero", "../../../../../../../dev/zero", "a" * 5000, "a\0b", "\ud800"])
def test_a_note_names_only_files_beside_it(folder, name):
    path = finished(folder).path / "run.json"
    content = json.loads(path.read_text())
    del content["sum"]
    content["files"] = {name: "00"}
    path.write_text(json.dumps(content | {"sum": notes.digest(content)}))
    with pytest.raises(files.FileContentError, match=r"run\.json must name files beside it, got '"):
        folder.finished()
    assert not folder.done


def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(folder):
    path = finished(folder).path / "weights.safetensors"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(files.StoreError, match="must be a regular file"):
        folder.finished()


@pytest.mark.parametrize("damage", ["row", "gone", "later"])
def test_records_of_a_finished_run_are_all_there_or_refused(folder, damage):
    path = finished(folder).path / "records.jsonl"
    if damage == "row":
        path.write_text(path.read_text().splitlines()[0] + "\n")
    elif damage == "gone":
        path.unlink()
    else:
        (folder.path / "later.json").write_text("{}")
    with pytest.raises((files.FileContentError, files.StoreError), match=r"records\.jsonl|later\.json"):
        folder.read_text("later.json") if damage == "later" else folder.records()


def test_a_run_in_the_folder_of_another_is_refused(folder, tmp_path):
    other = Store(tmp_path).folder(SEARCH.but(seed=1))
    other.begin("cpu", 1)
    other.finish({})
    finished(folder).path.rename(folder.path.with_name("aside"))
    other.path.rename(folder.path)
    with pytest.raises(
        files.FileContentError, match=f"must be of Run {folder.hash[:16]}, got one of {other.hash}; delete"
    ):
        folder.finished()


def test_every_committed_run_is_as_it_was_left_and_says_under_which_revisions():
    folders = [path.parent for path in (locations.PACKAGE.parent / "results").glob("*/runs/*/*/run.json")]
    found = {folder: notes.finished(folder) for folder in folders}
    assert len(found) > 70
    for folder, note in found.items():
        assert note.revisions[folder.parent.name] and {"start.json", "records.jsonl"} <= note.files.keys()


@pytest.mark.parametrize("change", [{"seconds": 3.0}, {"summary": {"psnr": 30.0}}, {"revisions": {"search": 9}}])
def test_a_changed_note_does_not_match_its_own_sum(folder, change):
    path = finished(folder).path / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(
        files.FileContentError, match=r"run.json must match its own checksum; delete .* compute it anew"
    ):
        folder.finished()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        '{"seconds": "abc"}',
        f'{{"seconds": {10**400}}}',
        f'{{"seconds": {"9" * 5000}}}',
        "[" * 100_000,
        None,
    ],
)
def test_a_note_of_another_shape_is_damaged_for_all_and_stops_only_its_run(folder, text, tmp_path):
    path = finished(folder).path / "run.json"
    path.unlink()
    path.mkdir() if text is None else path.write_text(text)
    store = Store(tmp_path)
    (row,) = status(store).to_dict("records")
    assert row["state"] == "damaged" and str(path) in row["reason"] and "\n" not in row["reason"]
    failures = execute_here([Run(SEARCH)], store)
    assert [failure.reason for failure in failures] == [row["reason"]], "status and run say the same"


def test_a_run_says_which_revisions_it_rests_on(tmp_path, pixels, monkeypatch):
    store = Store(tmp_path)
    for config in (SEARCH, TRAIN, EVALUATE):
        store.folder(config).begin("cpu", 1)
        store.folder(config).finish({})
    done = [store.folder(config).note() for config in (SEARCH, TRAIN, EVALUATE)]
    assert [list(note.revisions) for note in done] == [
        ["search"], ["search", "train"], ["search", "train", "evaluate"],
    ]  # fmt: skip
    assert not any(note.outdated for note in done)
    before = REVISIONS["search"]
    monkeypatch.setitem(REVISIONS, "search", before + 1)
    assert {note.outdated for note in done} == {f"search revision {before} (now {before + 1})"}
    assert set(status(store)["outdated"]) == {done[0].outdated}, "readable, and marked"
    assert not any(store.folder(config).done for config in (SEARCH, TRAIN, EVALUATE)), "not mixed with new ones"
    assert missing([Run(EVALUATE)], store) == [SEARCH, TRAIN, EVALUATE]


@pytest.mark.parametrize("content", ["", "[]", "[" * 100_000, '{"photos/train": 3}', None])
def test_a_damaged_note_of_the_data_costs_nothing(tmp_path, pixels, content):
    """And nobody is told to delete the store, or the data, that it stands in."""
    before = hash_of(SEARCH, tmp_path)
    note = tmp_path / "data.json"
    note.unlink()
    note.mkdir() if content is None else note.write_text(content)
    assert hash_of(SEARCH, tmp_path) == before
    if content is None or ":" in content:
        return
    (tmp_path / "other.json").write_text(content)
    with pytest.raises(files.FileContentError, match=r"other.json must be .*; delete it$"):
        files.read_json(tmp_path / "other.json")


def test_a_damaged_start_is_refused(folder):
    (folder.path / "start.json").write_text('{"half": ')
    with pytest.raises(ValueError, match=r"start\.json must .*delete .*anew"):
        folder.begin("cpu", 1)


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "No space left on device"), (errno.EACCES, "Permission denied")]
)
@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_full_disk_and_refused_permission_leave_what_was_there(folder, monkeypatch, call, code, words):
    folder.append_records([{"epoch": 1}])
    folder.save_checkpoint({"a": torch.ones(2)}, {"epoch": 1})

    def fail(*arguments, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(
        *{"open": ("builtins.open", fail), "fsync": (os, "fsync", fail), "replace": (os, "replace", fail)}[call]
    )
    with pytest.raises(OSError, match=rf"^cannot write .*{CHECKPOINT}: {words}; what was there before is untouched$"):
        folder.save_checkpoint({"a": torch.zeros(2)}, {"epoch": 2})
    with pytest.raises(OSError, match=f"cannot write .*: {words}"):
        folder.append_records([{"epoch": 2}])
    folder.fail("full disk")  # keeps quiet: the reason reaches the user anyway
    monkeypatch.undo()
    tensors, meta = folder.load_checkpoint()
    assert (tensors["a"].sum(), meta, folder.records()) == (2, {"epoch": 1}, [{"epoch": 1}])
    assert not list(folder.path.glob(".*.tmp"))


def test_a_store_that_cannot_be_made_says_so(tmp_path, pixels):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OSError, match=r"cannot write .*file.*: Not a directory"),
        Store(tmp_path / "file").folder(SEARCH).lock(),
    ):
        pass


def test_finish_keeps_where_the_numbers_come_from(folder):
    folder.save_checkpoint({}, {})
    assert not folder.done
    folder.finish({"best": 1.5})
    assert folder.done and not (folder.path / CHECKPOINT).exists()
    run = json.loads(folder.read_text("run.json"))
    assert run["hash"] == folder.hash and run["summary"] == {"best": 1.5}
    assert run["data"] == {"photos/train": "photos train", "photos/validation": "photos validation"}
    assert (run["device"], run["threads"], run["seed"], run["config"]["epochs"]) == ("cpu", 1, 0, 100)
    assert (
        run["versions"]["torch"] == torch.__version__
        and {"commit", "dirty", "machine", "started", "finished"} <= run.keys()
    )
    assert run["peak_memory_mib"] > 10


def test_cost_adds_up_over_resumes_and_the_start_is_kept(tmp_path, pixels, monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    first = Store(tmp_path).folder(SEARCH)
    assert first.begin("cpu", 2).threads == 2
    clock.now += 10
    first.save_checkpoint({}, {})
    clock.now += 99  # killed: this time is lost, its work is done again
    second = Store(tmp_path).folder(SEARCH)
    assert second.begin("cpu", 8).threads == 2
    second.load_checkpoint()
    clock.now += 5
    second.finish({})
    run = json.loads(second.read_text("run.json"))
    assert (run["seconds"], run["threads"]) == (15, 2)


def test_failure_is_one_line_and_forgotten_at_the_next_start(folder):
    folder.fail("two\nlines")
    assert json.loads(folder.read_text("failed.json"))["reason"] == "two lines"
    folder.begin("cpu", 1)
    assert not (folder.path / "failed.json").exists()


def _hold(root, path, seconds):
    from hinas_nb.running.store import RunFolder

    with RunFolder(root, SEARCH, "0" * 64, {}).lock():
        (root / "held").write_text("")
        time.sleep(seconds)
        path.write_text("done")


def test_two_processes_take_turns(tmp_path):
    from hinas_nb.running.store import RunFolder

    holder = multiprocessing.get_context("fork").Process(target=_hold, args=(tmp_path, tmp_path / "result", 1))
    holder.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    with RunFolder(tmp_path, SEARCH, "0" * 64, {}).lock():
        assert (tmp_path / "result").read_text() == "done"
    holder.join()


def test_run_hash_is_a_sha256_of_all_it_says():
    assert len(run_hash(TRAIN.but(genotype=GENOTYPE), {"photos/train": "x"})) == 64


def test_writers_of_one_file_do_not_tear_it(tmp_path, monkeypatch):
    """Each has a temporary file of its own; the last one wins, whole."""
    replace, seen = os.replace, []

    def while_another_writes(source, target):
        seen.append(source)
        if len(seen) == 1:
            files.write_atomic(tmp_path / "file", b"other")
        replace(source, target)

    monkeypatch.setattr(os, "replace", while_another_writes)
    files.write_atomic(tmp_path / "file", b"mine")
    assert (tmp_path / "file").read_bytes() == b"mine" and len(set(seen)) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_is_no_file_is_not_replaced_and_links_are_followed(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(files.StoreError, match=r"/pipe must be a regular file to be written anew"):
        files.write_atomic(tmp_path / "pipe", b"content")
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("file")
    files.write_atomic(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_bytes() == b"new"


def test_what_killed_writers_left_is_swept(tmp_path, pixels):
    run = Store(tmp_path).folder(SEARCH)
    run.path.mkdir(parents=True)
    for name in (".checkpoint.safetensors.0123.tmp", "kept.tmp"):
        (run.path / name).touch()
    files.sweep(tmp_path)
    assert len(list(run.path.iterdir())) == 2, "its writer may live"
    run.begin("cpu", 1)
    assert {path.name for path in run.path.iterdir()} == {"kept.tmp", "start.json"}


@pytest.mark.parametrize("letter", ["x", "\u00e9", "\u65e5"])
def test_names_as_long_as_a_file_system_takes(tmp_path, letter):
    name = letter * (255 // len(letter.encode()))
    files.write_atomic(tmp_path / name, b"content")
    assert (tmp_path / name).read_bytes() == b"content"
