"""Computing many Runs: producers before those who need them, each once, several at a time.

Every worker is a process of its own, started fresh: one that dies takes no other Run with it, and its own is
taken up again from its last checkpoint.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for

import torch
from tqdm import tqdm

from hinas_nb.compute import compute, one_line
from hinas_nb.identity import Run, RunConfig, describe, kind_of, producer_of
from hinas_nb.store import Store

WAVES = ("search", "train", "evaluate")
ENGINES = ("local",)
TRIES = 2  # a Run whose worker was killed is tried once more
#: glibc returns large blocks to the system and fetches them anew, page by page: with these a training step of
#: the derived network takes half the time. Read by malloc at process start, so only children can be given it.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**33)}


@dataclass(frozen=True)
class Failure:
    """A Run that was not computed, and why (one line). Without its data it has no hash."""

    config: RunConfig
    hash: str
    reason: str

    def __str__(self):
        return f"{describe(self.config)} ({self.hash[:16] or 'data missing'}): {self.reason}"


def execute(
    runs: Sequence[Run],
    store: Store,
    workers: int = 1,
    threads: int = 1,
    engine: str = "local",
    device: str = "auto",
    progress: bool = True,
    in_process: bool = False,
) -> list[Failure]:
    """Compute the Runs that are missing, with their producers; what is done or asked for twice costs nothing.

    workers: Runs at a time. threads: of each.
    in_process: one after another in this process, without workers.
    Returns what failed; the rest is done. Interrupted, it can be called again and goes on.
    Raises ValueError for arguments that make no sense.
    """
    for name, value in (("workers", workers), ("threads", threads)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be at least 1, got {value!r}")
    for run in runs:
        if not isinstance(run, Run):
            raise ValueError(f"runs must be a list of Run, as grid makes, got a {type(run).__name__}")
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {' '.join(ENGINES)}, got {engine!r}")
    ready, failures = _with_data(runs, store)
    waiting = {store.folder(config).hash: config for config in missing(ready, store)}
    if not waiting:
        return failures
    pool = _Here() if in_process else _Local(min(workers, len(waiting)), threads)
    bar = tqdm(total=len(waiting), desc="Runs", unit="Run", file=sys.stdout, mininterval=1, disable=not progress)
    try:
        return failures + _schedule(waiting, pool, (store, device, threads), bar)
    finally:
        bar.close()
        pool.close()


def missing(runs: Sequence[Run], store: Store) -> list[RunConfig]:
    """What has to be computed for these Runs, each once, in waves: searches, trainings, evaluations.

    A producer is left out where all that needs it is done.
    """
    found: dict[str, RunConfig] = {}

    def need(config: RunConfig | None) -> None:
        if config is None:
            return
        folder = store.folder(config)
        if folder.hash not in found and not folder.done:
            found[folder.hash] = config
            need(producer_of(config))

    for run in runs:
        need(run.config)
    return sorted(found.values(), key=lambda config: WAVES.index(kind_of(config)))


def _with_data(runs: Sequence[Run], store: Store) -> tuple[list[Run], list[Failure]]:
    """The Runs whose data is here, and a failure for each of the others, which don't hold these up."""
    ready, failures = [], {}
    for run in runs:
        try:
            store.folder(run.config)
            ready.append(run)
        except (ValueError, OSError) as error:
            failures[run.config] = Failure(run.config, "", one_line(error))
    return ready, list(failures.values())


def _schedule(waiting: dict[str, RunConfig], pool, how: tuple, bar: tqdm) -> list[Failure]:
    store = how[0]
    running: dict[Future, str] = {}
    deaths = dict.fromkeys(waiting, 0)
    failures: dict[str, Failure] = {}
    configs = dict(waiting)

    def settle(key: str, reason: str | None) -> None:
        if reason:
            failures[key] = Failure(configs[key], key, reason)
            bar.write(str(failures[key]), file=sys.stdout)
        bar.update()

    while waiting or running:
        for key, config in list(waiting.items()):
            producer = producer_of(config) and store.folder(producer_of(config)).hash
            if producer in failures:
                del waiting[key]
                settle(key, f"not run: its {kind_of(configs[producer])} {producer[:16]} failed")
            elif len(running) < pool.size and producer not in waiting and producer not in running.values():
                running[pool.submit(_work, waiting.pop(key), *how)] = key
        bar.set_postfix_str(", ".join(describe(configs[key]) for key in running.values()))
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            key = running.pop(future)
            try:
                reason, note = future.result()
            except BrokenProcessPool:
                deaths[key] += 1
                if deaths[key] < TRIES:
                    waiting[key] = configs[key]
                    continue
                reason, note = "interrupted: its process was killed; run it again to go on", None
            if note:
                bar.write(note, file=sys.stdout)
            settle(key, reason)
    return list(failures.values())


def _work(config: RunConfig, store: Store, device: str, threads: int) -> tuple[str | None, str | None]:
    """Compute one Run to its end; what went wrong and what is worth knowing, as a line each."""
    notes = []
    try:
        for _ in compute(config, store, device=device, threads=threads, note=notes.append):
            pass
    except Exception as error:
        return one_line(error), None
    return None, "; ".join(notes) or None


class _Here:
    """An engine without processes."""

    size = 1

    def submit(self, function, *arguments) -> Future:
        future: Future = Future()
        future.set_result(function(*arguments))
        return future

    def close(self) -> None:
        pass


class _Local:
    """Worker processes on this machine, one pool each, so that a death breaks one only."""

    def __init__(self, size: int, threads: int):
        self.size, self._threads = size, threads
        self._free: list[_Worker] = []
        self._busy: dict[Future, _Worker] = {}

    def submit(self, function, *arguments) -> Future:
        for future in [future for future in self._busy if future.done()]:
            worker = self._busy.pop(future)
            if isinstance(future.exception(), BrokenProcessPool):
                worker.kill()
            else:
                self._free.append(worker)
        worker = self._free.pop() if self._free else _Worker(self._threads)
        try:
            future = worker.pool.submit(function, *arguments)
        except BrokenProcessPool as error:  # it died while it was starting
            future = Future()
            future.set_exception(error)
        self._busy[future] = worker
        return future

    def close(self) -> None:
        """Ends all workers at once: a Run may be cut off anywhere."""
        for worker in (*self._free, *self._busy.values()):
            worker.kill()


class _Worker:
    def __init__(self, threads: int):
        before = set(multiprocessing.active_children())
        self.pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _prepare, (threads,))
        with _environment(ALLOCATOR):
            self.pool.submit(os.getpid)  # starts the process
        self._process = next(iter(set(multiprocessing.active_children()) - before), None)

    def kill(self) -> None:
        if self._process is not None:  # else it died at once
            self._process.kill()
        self.pool.shutdown(cancel_futures=True)


def _prepare(threads: int) -> None:
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """End with the parent: a worker left behind would hold its Run's lock for hours."""
    wait_for([multiprocessing.parent_process().sentinel])
    os._exit(1)


@contextmanager
def _environment(values: dict[str, str]):
    before = {name: os.environ.get(name) for name in values}
    os.environ.update({name: value for name, value in values.items() if before[name] is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
