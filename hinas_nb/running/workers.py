"""The engine `local` computes Runs in worker processes on this machine.

One that dies takes no other Run with it; Ctrl-C, and even a kill of their parent, leaves none behind.
"""

import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from typing import Any

from hinas_nb.subprocesses import ALLOCATOR, caller_left_out, environment


def as_they_end(engine, tasks: Iterable) -> Iterator[tuple[Any, Future]]:
    """Give an engine tasks, as many at once as it takes; yield each with its future once that has ended."""
    tasks, running = iter(tasks), {}
    while True:
        for task in itertools.islice(tasks, engine.size - len(running)):
            running[engine.submit(task)] = task
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future


class Local:
    """Computes Runs in `size` processes. Each is a pool by itself, so that one that dies breaks no other."""

    lost = (BrokenProcessPool,)

    def __init__(self, work, size: int):
        self.size, self._work = size, work
        self._free: list[_Worker] = []
        self._busy: dict[Future, _Worker] = {}

    def submit(self, config) -> Future:
        for future in [future for future in self._busy if future.done()]:
            worker = self._busy.pop(future)
            if isinstance(future.exception(), BrokenProcessPool):
                worker.kill()
            else:
                self._free.append(worker)
        worker = self._free.pop() if self._free else _Worker()
        try:
            future = worker.pool.submit(self._work, config)
        except BrokenProcessPool as error:  # it died while it was starting
            future = Future()
            future.set_exception(error)
        self._busy[future] = worker
        return future

    def close(self) -> None:
        """End all workers at once: a Run may be cut off anywhere."""
        for worker in (*self._free, *self._busy.values()):
            worker.kill()


class _Worker:
    def __init__(self):
        before = set(multiprocessing.active_children())
        self.pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _prepare)
        with environment(ALLOCATOR | os.environ), caller_left_out():  # a user may have set the allocator otherwise
            self.pool.submit(os.getpid)  # starts the process
        self._process = next(iter(set(multiprocessing.active_children()) - before), None)

    def kill(self) -> None:
        if self._process is not None:  # else it died at once
            self._process.kill()
        self.pool.shutdown(cancel_futures=True)


def _prepare() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """End with the parent: a worker left behind would hold its Run's lock for hours."""
    wait_for([multiprocessing.parent_process().sentinel])
    os._exit(1)
