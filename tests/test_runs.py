"""Grids of Runs and how they are computed: each once, producers first, whatever dies meanwhile."""

import csv
import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_runs import collect_here, execute_here, noted, rewritten

from hinas_nb import data, files
from hinas_nb.evidence import stats
from hinas_nb.experiment.config import CVPR2020, Epoch, EvaluateConfig, Perturbed, SearchConfig, Space, TrainConfig
from hinas_nb.experiment.runs import Run, describe, grid, vary
from hinas_nb.method.genotype import Genotype, random_genotype
from hinas_nb.method.network import DerivedNetwork
from hinas_nb.running import pool
from hinas_nb.running.collect import collect
from hinas_nb.running.compute import LOOPS, _check_unseen, compute, genotype_of
from hinas_nb.running.pool import execute, missing
from hinas_nb.running.status import status
from hinas_nb.running.store import Store
from hinas_nb.scoring import evaluate
from hinas_nb.scoring.protocol import get
from hinas_nb.settings import ConfigError

SEARCH = SearchConfig(data="photos", split="train", validation="validation")
TRAIN = TrainConfig(genotype=SEARCH, data="photos", split="train", validation="validation")
EVALUATE = EvaluateConfig(model=TRAIN, data="photos", protocol=get("denoise-standard"))
NOISY = EvaluateConfig(model="input", data="photos", every=3, protocol=get("denoise-standard"))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


@pytest.fixture
def small(tmp_path):
    """40 images of 24x24 pixels, as the data set of an evaluation of the noisy image."""
    return of_images(tmp_path / "images", 40)


@pytest.fixture
def many(tmp_path):
    """400 of them: seconds, so that an interruption finds it unfinished."""
    return of_images(tmp_path / "images", 400)


def of_images(folder, count):
    rng = np.random.default_rng(0)
    for index in range(count):
        pixels = rng.integers(0, 256, (24, 24), dtype=np.uint8)
        data.write_image(folder / f"{index:02}.png", pixels)
    return NOISY.but(data=f"folder:{folder}", split="all", every=1)


def test_a_folder_that_holds_training_images_is_not_scored(store, small):
    """Its name does not tell that it is a copy; its pixels do."""
    folder = Path(small.data.removeprefix("folder:"))
    copy = folder.with_name("copy")
    copy.mkdir()
    shutil.copy(folder / "07.png", copy / "renamed.png")
    trained = TrainConfig(genotype=SEARCH, data=small.data, split="all", validation_fraction=0.1)
    scored = EvaluateConfig(model=trained, data=f"folder:{copy}", protocol=get("denoise-standard"))
    images = data.load(scored.data, "all")
    with pytest.raises(data.DataError, match=r"unseen in training, got renamed of folder:.*/copy, which is in folder:"):
        _check_unseen(scored, images, store)
    other = data.ImageSet("other", "all", ("other",), (255 - images.images[0],))
    _check_unseen(scored, other, store)
    _check_unseen(scored.but(model="input"), images, store)


# -- grids


def test_an_axis_reaches_every_config_inside():
    runs = grid(EVALUATE, residual=[False, True], sigma=[30, 50], seed=[0, 1, 2])
    assert len(runs) == 12 and len({run.config for run in runs}) == 12
    for run in runs:
        train, labels = run.config.model, run.labels
        assert list(labels) == ["residual", "sigma", "seed"]
        assert train.residual == train.genotype.space.residual == labels["residual"]
        assert train.sigma == run.config.protocol.sigma == labels["sigma"]
        assert train.seed == train.genotype.seed == labels["seed"]
        assert run.config.protocol.seed == 0, "the noise of a test image is the same for all"


def test_a_qualified_axis_reaches_one_kind():
    base = EVALUATE.but(model=TRAIN.but(genotype=Perturbed(search=SEARCH, kind="R1")))
    axes = {"search.seed": [1], "perturbed.seed": [2], "train.seed": [3], "evaluate.seed": [4]}
    (run,) = grid(base, **axes)
    model = run.config.model
    seeds = (model.genotype.search.seed, model.genotype.seed, model.seed, run.config.protocol.seed)
    assert seeds == (1, 2, 3, 4)
    assert vary(base, {"train.ssim_weight": 0}).model.genotype == base.model.genotype


def test_a_bundle_changes_several_settings_at_once():
    w40 = {"search.levels": (0, 0, 0), "search.base_width": 40, "train.base_width": 40}
    ws, fixed = grid(EVALUATE, width={"ws": {}, "w40": w40})
    assert ws.config == EVALUATE and ws.labels == {"width": "ws"}
    assert fixed.labels == {"width": "w40"}
    assert (fixed.config.model.genotype.space.levels, fixed.config.model.base_width) == ((0, 0, 0), 40)


def test_the_older_version_is_a_bundle_and_the_published_space_the_default():
    older = vary(EVALUATE, CVPR2020).model
    assert older.genotype.space == Space(**CVPR2020) and "def_3" in older.genotype.space.operations
    assert not (older.residual or older.genotype.space.residual or older.genotype.space.layerwise)
    assert Space().operations == ("conv_3", "sep_3", "sep_5", "dil_3", "dil_5", "skip", "none")


def test_an_axis_can_replace_a_whole_config():
    other = Genotype((0,), (((("conv_3", 0), ("skip", 1)),),))
    runs = grid(EVALUATE, cell={"searched": {}, "fixed": {"genotype": other}, "none": {"model": "input"}})
    assert [getattr(run.config.model, "genotype", None) for run in runs] == [SEARCH, other, None]


@pytest.mark.parametrize(
    ("axes", "line"),
    [
        ({"layerwize": [True]}, "layerwize must be a setting of evaluate or of what it needs, got none"),
        ({"search.steps": [1]}, "search.steps must be a setting"),
        ({"seed": 3}, "axis seed must be a list of values or a dict of changes, got 3"),
        ({"data": "photos"}, "axis data must be a list"),
        ({"seed": []}, "axis seed must be a list"),
        ({"steps": [0]}, "steps: .*, got 0"),
        ({"train.sigma": ["loud"]}, "sigma: .*, got 'loud'"),
    ],
)
def test_wrong_axes_are_one_line(axes, line):
    with pytest.raises(ConfigError, match=line):
        grid(EVALUATE, **axes)


def test_what_is_no_run_is_one_line(store):
    with pytest.raises(ConfigError, match=r"what is computed must be a SearchConfig or .*, got str"):
        grid("train", seed=[1])
    with pytest.raises(ValueError, match="runs must be a list of Run, as grid makes, got a EvaluateConfig"):
        collect([NOISY], store)


# -- planning


def test_missing_is_each_run_once_producers_first(store):
    runs = grid(EVALUATE, **{"train.seed": [0, 1]}, **{"evaluate.seed": [0, 1]})
    plan = missing([*runs, *runs], store)
    assert [describe(config).split()[0] for config in plan] == ["search"] + ["train"] * 2 + ["evaluate"] * 4


def test_missing_stops_at_what_is_done(store):
    folder = store.folder(TRAIN)
    folder.begin("cpu", 1)
    folder.finish({})
    assert missing([Run(EVALUATE), Run(TRAIN)], store) == [EVALUATE], "the search is needed by nobody"


# -- computing


def test_collect_gives_one_tidy_table(store, capsys):
    runs = grid(NOISY, sigma=[25, 50])
    scores = collect_here(runs, store)
    assert list(scores.columns) == ["sigma", "image", "psnr", "ssim", "hash"]
    assert scores.dtypes[["psnr", "ssim"]].tolist() == [np.float64, np.float64]
    assert scores.psnr.round(1).tolist() == [20.6, 15.2], "noise of 25 and 50 grey levels, clipped to [0, 1]"
    assert "2/2" in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*")}
    assert collect(runs, store).equals(scores)
    assert before == {path: path.stat().st_mtime_ns for path in store.root.rglob("*")}, "nothing done twice"


def test_workers_compute_the_same(store, tmp_path):
    runs = grid(NOISY, sigma=[25, 50])
    alone = collect_here(runs, Store(tmp_path / "alone"))
    assert collect(runs, store, workers=2, progress=False).equals(alone)


def test_an_evaluation_goes_on_with_the_images_that_are_missing(store, small, monkeypatch):
    scores = compute(small, store)
    first = [next(scores).image for _ in range(5)]
    scores.close()
    asked = []
    real = evaluate.evaluate
    monkeypatch.setattr(
        evaluate,
        "evaluate",
        lambda restore, images, protocol: asked.extend(images.names) or real(restore, images, protocol),
    )
    assert [state for state in status(store).state] == ["interrupted"]
    rest = [score.image for score in compute(small, store)]
    assert (len(rest), asked) == (35, rest) and not set(first) & set(rest)
    rows = list(csv.DictReader(store.folder(small).read_text("scores.csv").splitlines()))
    assert [row["image"] for row in rows] == [*first, *rest]


def test_saved_images(store, small):
    config = small.but(save_images=("07",), every=7)
    assert execute_here([Run(config)], store, progress=False) == []
    assert [path.name for path in (store.folder(config).path / "images").iterdir()] == ["07.png"]
    (failure,) = execute_here([Run(small.but(save_images=("x",)))], store, progress=False)
    assert "save_images must name images of" in failure.reason and "got 'x'" in failure.reason


def fail_search(monkeypatch, words="the loss must be finite, got nan"):
    def loop(config, store, folder, device):
        raise ValueError(words)
        yield

    monkeypatch.setitem(LOOPS, SearchConfig, loop)


def test_a_failure_is_reported_and_stops_only_what_needs_it(store, monkeypatch, capsys):
    fail_search(monkeypatch)
    failures = execute_here([Run(EVALUATE), Run(NOISY)], store)
    reasons = {describe(failure.config): failure.reason for failure in failures}
    assert len(reasons) == 3
    assert reasons["search denoise seed 0"] == "the loss must be finite, got nan"
    assert "not run: its search" in reasons["train denoise sigma 50 seed 0"]
    assert "not run: its train" in reasons[describe(EVALUATE)]
    assert store.folder(NOISY).done
    rows = status(store).set_index("what")
    assert rows.loc["search denoise seed 0"][["state", "reason"]].tolist() == [
        "failed",
        "the loss must be finite, got nan",
    ]
    assert rows.loc[describe(NOISY), "state"] == "done" and rows.loc[describe(NOISY), "seconds"] > 0
    assert "the loss must be finite" in capsys.readouterr().out
    with pytest.raises(
        ValueError, match=r"^3 Runs failed of those needed for 1; the first: search denoise seed 0 .*got nan$"
    ):
        collect_here([Run(EVALUATE)], store, progress=False)


def test_missing_data_fails_only_what_reads_it(store, tmp_path):
    nowhere = NOISY.but(data=f"folder:{tmp_path / 'nowhere'}", split="all")
    (failure,) = execute_here([Run(nowhere), Run(NOISY), Run(nowhere)], store, progress=False)
    assert "folder of images must exist, got" in str(failure) and store.folder(NOISY).done


def test_who_comes_second_waits_and_finds_it_done(store, small):
    first, second = compute(small, store), []
    next(first)
    waiting = threading.Thread(target=lambda: second.extend(compute(small, store)))
    waiting.start()
    assert status(store).state.tolist() == ["running"]
    assert len(list(first)) == 39
    waiting.join(10)
    assert not waiting.is_alive() and second == [] and status(store).state.tolist() == ["done"]


def test_a_reader_sees_what_runs_without_any_right_to_write(store, small, monkeypatch):
    """Another user's Run, or one seen through a read-only mount: the lock is only read."""
    first = compute(small, store)
    next(first)
    folder, opened = store.folder(small), open

    def as_reader(path, mode="r", *rest, **how):
        if set(mode) & set("wax+"):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return opened(path, mode, *rest, **how)

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", as_reader)
        patch.setattr(os, "open", lambda path, *_, **how: as_reader(path, "w"))
        assert status(store).state.tolist() == ["running"]

    def secret(path, mode="r", *rest, **how):
        if Path(path).name == ".lock":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, mode, *rest, **how)

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", secret)
        told = status(store).iloc[0]
    assert (told.state, told.reason) == ("running or interrupted", "its lock cannot be read")
    first.close()
    assert folder.path.exists() and status(store).state.tolist() == ["interrupted"]


def test_a_finished_run_needs_no_data_one_to_be_computed_does(tmp_path):
    """As on a fresh clone: the sums of the data are noted in the store, the images are not here."""
    images = of_images(tmp_path / "images", 2)
    store = Store(tmp_path / "runs")
    assert pool.absent([Run(images)], store) == {}
    list(compute(images, store))
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    later = Store(tmp_path / "runs")
    assert pool.absent([Run(images)], later) == {}
    reasons = pool.absent([Run(images), Run(images.but(every=2)), Run(images.but(every=3))], later)
    line = f"folder of images must exist, got {tmp_path}/images"
    assert reasons == {(images.data, "all", None): line}
    (failure,) = execute_here([Run(images.but(every=2))], later, progress=False)
    assert failure.reason == line and not later.folder(images.but(every=2)).path.exists(), "nothing was begun"


def test_other_threads_are_not_taken_on_resume(store, small):
    next(compute(small, store, threads=1))
    notes = []
    list(compute(small, store, threads=2, note=notes.append))
    assert len(notes) == 1 and "goes on as it was started, on cpu with 1 threads, not on cpu with 2" in notes[0]


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"threads": 1.5}, "threads must be at least 1, got 1.5"),
        ({"engine": "slurm"}, "engine must be one of local ray, got 'slurm'"),
    ],
)
def test_wrong_arguments_are_one_line(store, how, line):
    with pytest.raises(ValueError, match=line):
        execute([], store, **how)


def test_a_device_that_is_not_here_is_one_line(store):
    (failure,) = execute_here([Run(NOISY)], store, device="cuda:7", progress=False)
    assert failure.reason == "device must be auto, cpu or one that is present here, got 'cuda:7'"


# -- processes that die


def kill_children(count: int) -> threading.Thread:
    """kill -9 the next `count` processes that are started."""

    def kill():
        killed = set()
        while len(killed) < count:
            for process in set(active_children()) - killed:
                os.kill(process.pid, signal.SIGKILL)
                killed.add(process)
                break
            time.sleep(0.005)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


def test_a_killed_worker_is_replaced(store, capsys):
    kill_children(1)
    assert execute([Run(NOISY)], store, progress=False) == []
    assert store.folder(NOISY).done


def test_a_run_killed_at_every_try_is_reported_as_interrupted(store):
    kill_children(pool.TRIES)
    (failure,) = execute([Run(NOISY)], store, progress=False)
    assert failure.reason == "interrupted: its process was killed; run it again to go on"
    assert not active_children()


SCRIPT = """
import sys
from pathlib import Path
from hinas_nb.experiment.config import EvaluateConfig
from hinas_nb.scoring.protocol import get
from hinas_nb.experiment.runs import Run
from hinas_nb.running.pool import execute
from hinas_nb.running.store import Store

if __name__ == "__main__":
    config = EvaluateConfig(model="input", data=sys.argv[2], split="all", protocol=get("denoise-standard"))
    print(execute([Run(config)], Store(sys.argv[1])))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_batch_leaves_no_process_and_goes_on(store, many, tmp_path, how):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(store.root), many.data]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    folder = store.folder(many)
    while not folder.records():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(how)
    process.wait(60)
    for _ in range(100):
        if not session_members(process.pid):
            break
        time.sleep(0.05)
    assert session_members(process.pid) == []
    assert status(store).state.tolist() == ["interrupted"] and 0 < len(folder.records()) < 400
    assert execute_here([Run(many)], store, progress=False) == [] and len(folder.records()) == 400


def session_members(leader: int) -> list[int]:
    """Processes still alive in the session that `leader` started (zombies have ended)."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == leader and state != "Z":
            members.append(int(stat.parent.name))
    return members


def test_damaged_tables_of_finished_runs_are_one_line(store, small):
    collect_here([Run(small)], store)
    folder = store.folder(small)

    def rewrite(name: str, content: str) -> None:
        """By a hostile hand, with the right sums."""
        folder.write_text(name, content)
        rewritten(folder.path)

    for content in ("", "a,b\n1,2\n", "image,psnr,ssim\nx,y,z\n", "\0"):
        rewrite("scores.csv", content)
        with pytest.raises(ValueError, match=f"scores.csv must be a table of scores; delete {folder.path}") as error:
            collect([Run(small)], store)
        assert "\n" not in str(error.value)
    rewrite("scores.csv", "image,psnr,ssim\nNA,20.5,1\n")
    table = collect([Run(small)], store)
    assert (table.image[0], table.psnr[0]) == ("NA", 20.5)

    folder = store.folder(SEARCH)
    folder.begin("cpu", 1)
    folder.finish({})
    for content, line in (
        ("3\n", "must hold one JSON record per line"),
        ("", "must hold the records of a finished Run"),
    ):
        rewrite("records.jsonl", content)
        with pytest.raises(ValueError, match=f"records.jsonl {line}.*delete {folder.path}"):
            collect([Run(SEARCH)], store)


def test_trainings_on_different_processors_are_told(store):
    runs = [Run(SEARCH), Run(SEARCH.but(seed=1))]
    for run in runs:
        folder = store.folder(run.config)
        folder.begin("cpu", 1)
        folder.append_records([{"epoch": 1}])
        folder.finish({})
    with warnings.catch_warnings(action="error"):
        collect(runs, store)
    rewritten(folder.path, machine={"processor": "Another CPU"})
    with pytest.warns(UserWarning, match="on different processors: .*1 on Another CPU"):
        collect(runs, store)
    other = store.folder(EVALUATE)
    other.begin("cpu", 1)
    other.write_text("scores.csv", "image,psnr,ssim\na,20,0.5\n")
    other.finish({})
    (store.folder(SEARCH).path / "run.json").write_text("damaged")
    assert len(collect([Run(EVALUATE)], store)) == 1, "a producer that nothing needs any more holds nothing up"


def test_a_damaged_run_fails_alone(store, small):
    """What needs it is not run, everything else is; once the file is back, nothing was lost."""
    other = small.but(every=2)
    collect_here([Run(small)], store)
    path = store.folder(small).path / "scores.csv"
    text = path.read_text()
    path.write_text(text.replace("1", "2"))
    (failure,) = execute_here([Run(small), Run(other)], store)
    assert failure.config == small and failure.reason.startswith(f"{path} must be as the Run left it")
    assert store.folder(other).done and set(status(store)["state"]) == {"done", "damaged"}
    path.write_text(text)
    assert len(collect([Run(small), Run(other)], store)) == 60


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("start.json", "[]"),
        ("start.json", '{"threads": "1"}'),
        ("failed.json", '{"seconds": "abc", "peak_memory_mib": 1, "reason": "x"}'),
        ("failed.json", '{"seconds": 1, "peak_memory_mib": 1, "reason": ["x"]}'),
        ("checkpoint.safetensors", [1, 2]),
        ("checkpoint.safetensors", {"seconds": 10**400, "peak_memory_mib": 1.0}),
    ],
)
def test_status_bears_notes_of_any_shape(store, name, content):
    noted(store.root / "search" / "0123456789abcdef")
    folder = store.folder(SEARCH)
    folder.begin("cpu", 1)
    if isinstance(content, str):
        folder.write_text(name, content)
    else:
        files.write_tensors(folder.path / name, {}, content)
    table = status(store).set_index("hash")
    assert table.loc["0123456789abcdef", "state"] == "done"
    damaged = table.loc[folder.path.name]
    assert damaged["state"] == "damaged" and name in damaged["reason"] and "\n" not in damaged["reason"]
    assert table["seconds"].sum() == 1.0


def test_a_damaged_genotype_names_its_file(store):
    folder = store.folder(SEARCH)
    folder.begin("cpu", 1)
    folder.finish({})
    for content in ("{", "[" * 100_000, '{"version": 1, "levels": [0], "cells": [], "task": "sr"}'):
        folder.write_text("genotype.json", content)
        rewritten(folder.path)
        with pytest.raises(ValueError, match=f"{folder.path}/genotype.json: .*; delete {folder.path} to search anew"):
            genotype_of(TRAIN, store)


def searched(store, *genotypes: Genotype):
    folder = store.folder(SEARCH)
    folder.begin("cpu", 1)
    folder.append_records([{"genotype": one.to_json(), "best": not index} for index, one in enumerate(genotypes)])
    folder.write_text("genotype.json", genotypes[0].to_json("denoise"))
    folder.finish({})


def test_an_epoch_is_trained_instead_of_the_picked_one(store):
    drawn = [random_genotype(3, 4, torch.Generator().manual_seed(seed)) for seed in range(3)]
    searched(store, *drawn)
    assert genotype_of(TRAIN, store) == drawn[0]
    for epoch, wanted in ((1, 0), (2, 1), (None, 2)):
        assert genotype_of(TRAIN.but(genotype=Epoch(search=SEARCH, epoch=epoch)), store) == drawn[wanted]
    with pytest.raises(ValueError, match=r"records.jsonl: list index out of range; delete .* to search anew"):
        genotype_of(TRAIN.but(genotype=Epoch(search=SEARCH, epoch=9)), store)


def test_a_matched_perturbation_is_nearer_in_parameters(store):
    found = random_genotype(3, 4, torch.Generator().manual_seed(0))
    searched(store, found)
    size = lambda one: DerivedNetwork(one).parameters_live  # noqa: E731
    apart = []
    for matched in (None, 1, 12):
        change = Perturbed(search=SEARCH, kind="R1", seed=3, matched=matched)
        apart.append(abs(size(genotype_of(TRAIN.but(genotype=change), store)) - size(found)))
    assert apart[0] == apart[1] > apart[2]
    moved = genotype_of(TRAIN.but(genotype=Perturbed(search=SEARCH, kind="R2")), store)
    assert moved != found and size(moved) == size(found), "other connections weigh nothing"


# -- exactly restored images


def exact_scores(store, psnr, images="abc"):
    """Finished evaluations with these PSNR values, a list per sigma."""
    runs = grid(NOISY, sigma=[25, 50])
    for run, values in zip(runs, psnr):
        folder = store.folder(run.config)
        folder.begin("cpu", 1)
        rows = [f"{image},{value},0.5,8,8,0.1" for image, value in zip(images, values)]
        folder.write_text("scores.csv", "\n".join(["image,psnr,ssim,height,width,seconds", *rows]))
        folder.finish({})
    return runs


def test_an_exactly_restored_image_is_left_out_of_all_runs_and_named(store):
    runs = exact_scores(store, [[20, float("inf"), 22], [23, 24, 25]])
    with pytest.warns(UserWarning, match=r"^left out, as restored exactly \(PSNR inf\): b$"):
        scores = collect(runs, store)
    assert scores["image"].tolist() == ["a", "c"] * 2
    effect = stats.paired(scores.pivot(index="image", columns="sigma", values="psnr").diff(axis=1)[50])
    assert effect.difference == pytest.approx(3)
    means = scores.groupby("sigma")["psnr"].mean()
    assert means.tolist() == [21, 24]


def test_only_exactly_restored_images_are_one_line(store):
    runs = exact_scores(store, [[float("inf")] * 3, [20, 21, 22]])
    line = r"^scores must hold an image that is not restored exactly \(PSNR inf\), got only a, b, c$"
    with pytest.warns(UserWarning, match="a, b, c"), pytest.raises(ValueError, match=line):
        collect(runs, store)
