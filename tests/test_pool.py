"""What must be alone is alone, what a log is told, what another machine wrote. The rest of `execute`: test_runs.py."""

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from hinas_nb.experiment import runs
from hinas_nb.experiment.config import EvaluateConfig, SearchConfig, TrainConfig
from hinas_nb.experiment.runs import Run, grid
from hinas_nb.running import compute, pool
from hinas_nb.running.pool import execute
from hinas_nb.running.store import Store
from hinas_nb.scoring.protocol import get

SEARCH = SearchConfig(data="photos", split="train", validation="validation")
TRAIN = TrainConfig(genotype=SEARCH, data="photos", split="train", validation="validation")
NOISY = EvaluateConfig(model="input", data="photos", protocol=get("denoise-standard"))


class Timed(EvaluateConfig):
    """Stands for any kind of Run that no other may disturb."""

    threads: int = 3


class Threads:
    """An engine without processes, which would take seconds to start."""

    lost = ()

    def __init__(self, work, size):
        self.size, self._work, self._pool = size, work, ThreadPoolExecutor(size)

    def submit(self, config):
        return self._pool.submit(self._work, config)

    def close(self):
        self._pool.shutdown()


class Computed(list):
    """Stands for computing: (Run, those that ran at the same time), in the order they ended."""

    def __init__(self):
        super().__init__()
        self._now = {}

    def __call__(self, config, store, device, threads, note):
        beside = self._now[id(config)] = set()
        for other, seen in list(self._now.items()):
            beside.add(other)
            seen.add(id(config))
        if config == SEARCH:
            raise ValueError("no search today")
        folder = store.folder(config)
        folder.begin("cpu", threads)
        time.sleep(0.1)
        folder.finish({})
        self._now.pop(id(config))
        self.append((config, len(beside)))
        yield


@pytest.fixture
def computed(monkeypatch):
    monkeypatch.setitem(runs.RUN_KINDS, Timed, "timing")
    monkeypatch.setitem(runs.REVISIONS, "timing", 1)
    monkeypatch.setattr(pool, "Local", Threads)
    monkeypatch.setattr(pool, "compute", Computed())
    return pool.compute


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


def timed(**changes) -> Timed:
    return Timed(**({name: getattr(NOISY, name) for name in NOISY.model_fields_set} | changes))


def test_what_must_be_alone_comes_last_and_alone_with_its_own_threads(store, computed):
    alone = [Run(timed()), Run(timed(threads=2))]
    together = grid(NOISY, sigma=[10, 20, 30, 40])
    assert execute([alone[0], *together, alone[1]], store, workers=4, progress=False) == []
    assert {config for config, _ in computed[:4]} == {run.config for run in together}
    assert [config for config, _ in computed[4:]] == [run.config for run in alone]
    assert [beside for _, beside in computed] == [4, 4, 4, 4, 1, 1]
    for run in (*together, *alone):
        start = json.loads((store.folder(run.config).path / "start.json").read_text())
        assert start["threads"] == getattr(run.config, "threads", 1)


def test_what_must_be_alone_stays_here_whatever_the_engine(store, computed, monkeypatch):
    engine = pool._engine
    named = []
    monkeypatch.setattr(pool, "_engine", lambda name, *rest: named.append(name) or engine("local", *rest))
    assert execute([Run(NOISY), Run(timed())], store, engine="ray", progress=False) == []
    assert named == ["ray", "local"]


def test_what_must_be_alone_is_not_begun_when_what_it_needs_failed(store, computed):
    failures = execute([Run(timed(model=TRAIN))], store, progress=False)
    reasons = [failure.reason for failure in failures]
    assert reasons[0] == "no search today" and computed == []
    assert reasons[1].startswith("not run: its search") and reasons[2].startswith("not run: its train")


def test_a_log_has_a_line_for_each_run_and_a_terminal_a_bar(store, computed, capsys, monkeypatch):
    execute([*grid(NOISY, sigma=[10, 20]), Run(SEARCH)], store, workers=2)
    lines = capsys.readouterr().out.splitlines(keepends=True)
    assert len(lines) == 3 and not any("\r" in line for line in lines)
    assert lines[0].startswith("Runs 1/3: search denoise seed 0 (") and lines[0].endswith("): no search today\n")
    assert lines[2].startswith("Runs 3/3: evaluate photos test denoise-standard sigma ")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    execute(grid(NOISY, sigma=[30, 40]), store)
    shown = capsys.readouterr().out
    assert "\r" in shown and "2/2" in shown and "Runs 2/2:" not in shown
    execute(grid(NOISY, sigma=[50, 60]), store, progress=False)
    execute(grid(NOISY, sigma=[50, 60]), store)
    assert capsys.readouterr().out == "", "not asked for, or nothing to do"


def test_a_log_is_told_now_and_then_what_is_under_way(store, monkeypatch):
    """The Run goes on only when it was told of."""
    told, lines = threading.Event(), []

    def computing(config, store, **_):
        folder = store.folder(config)
        folder.begin("cpu", 1)
        folder.append_records([{"image": "a"}])
        told.wait(60)
        folder.finish({})
        return []

    def say(shown, line):
        lines.append(line)
        if "images" in line:
            told.set()

    monkeypatch.setattr(pool, "compute", computing)
    monkeypatch.setattr(pool, "Local", Threads)
    monkeypatch.setattr(pool, "LOGGED", 0.05)
    monkeypatch.setattr(pool._Progress, "say", say)
    assert execute([Run(NOISY)], store) == [] and told.is_set()
    assert "under way: evaluate photos test denoise-standard sigma 50 of input, 1 images" in lines


def test_what_another_machine_wrote_may_show_later_but_must_show(store, computed, monkeypatch):
    finish = store.folder(NOISY).finish
    monkeypatch.setattr(type(store.folder(NOISY)), "finish", lambda folder, summary: None)
    monkeypatch.setattr(pool, "VISIBLE", 0)
    (failure,) = execute([Run(NOISY)], store, progress=False)
    assert failure.reason.startswith("results must lie in a folder that all machines share, got none in ")
    monkeypatch.setattr(pool, "VISIBLE", 60)
    threading.Timer(0.5, finish, [{}]).start()
    assert execute([Run(NOISY)], store, progress=False) == []


def test_kinds_that_must_be_alone_are_known():
    assert set(pool.ALONE) <= set(pool.WAVES) and set(runs.RUN_KINDS.values()) <= set(pool.WAVES)
    assert compute.LOOPS.keys() == runs.RUN_KINDS.keys()
