"""Many Runs are computed: producers before those who need them, each once, several at a time.

An engine (`workers`, `cluster`) is the executor that says where. `submit(config)` returns a future of what `Work`
returns; the future raises one of `lost` where the process or the machine died, and the Run is then taken up again from
its last checkpoint. `size` is how many Runs the engine takes at once, and `close()` leaves nothing running.
"""

import itertools
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from dataclasses import dataclass
from graphlib import TopologicalSorter
from textwrap import shorten
from typing import Any

from tqdm import tqdm

from hinas_nb.data.images import image_files
from hinas_nb.experiment.runs import Run, RunConfig, all_data, describe, kind_of, own_data
from hinas_nb.files import error_line, printable
from hinas_nb.running.compute import compute
from hinas_nb.running.progress import progress
from hinas_nb.running.store import RunFolder, Store
from hinas_nb.running.workers import Local

WAVES = ("latency", "search", "train", "evaluate", "timing")  # kinds of Runs, in the order they are computed in
ALONE = ("latency", "timing")  # kinds that no other Run may disturb; their configs say with how many `threads`
ENGINES = ("local", "ray")
TRIES = 3  # of a Run whose worker is lost
LIVE, LOGGED = 5, 300  # seconds until it is told how far Runs are: on a terminal or in a notebook, and in a log
VISIBLE = 60  # seconds until what one machine wrote must be seen by another: file systems remember what was absent


@dataclass(frozen=True)
class Failure:
    """A Run that was not computed, and why (one line). Without its data it has no hash."""

    config: RunConfig
    hash: str
    reason: str

    def __str__(self):
        return f"{describe(self.config)} ({self.hash[:16] or 'data missing'}): {self.reason}"


@dataclass(frozen=True)
class Work:
    """Computes the Run of a config to its end, wherever an engine calls it."""

    store: Store
    device: str
    threads: int

    def __call__(self, config: RunConfig) -> tuple[str | None, str | None]:
        """Compute the Run; return its error and its notes, one line each, None where there is none."""
        notes = []
        try:
            for _ in compute(config, self.store, device=self.device, threads=self.threads, note=notes.append):
                pass
        except Exception as error:
            return error_line(error), None
        return None, "; ".join(notes) or None


def execute(
    runs: Sequence[Run],
    store: Store,
    workers: int = 1,
    threads: int = 1,
    engine: str = "local",
    device: str = "auto",
    progress: bool = True,
) -> list[Failure]:
    """Compute the Runs that are missing, with their producers; what is done or asked for twice costs nothing.

    workers: Runs at a time; of engine "ray", as many as its cluster holds. threads: of each.
    Returns what failed; the rest is done. Interrupted, it can be called again and goes on.
    Raises ValueError for arguments that make no sense, OSError where no cluster answers.
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
    failed: dict[str, Failure] = {}
    with closing(_Progress(len(waiting), progress)) as shown:
        for wave, own in _waves(waiting):
            work = Work(store, device, own or threads)
            with closing(_engine("local" if own else engine, work, 1 if own else min(workers, len(wave)))) as pool:
                _schedule(wave, pool, store, failed, shown)
    return failures + list(failed.values())


def _waves(waiting: dict[str, RunConfig]) -> Iterator[tuple[dict[str, RunConfig], int | None]]:
    """Yield what is computed side by side, and one after another, with the threads it asks for, what must be alone."""
    for own, wave in itertools.groupby(waiting.items(), lambda item: kind_of(item[1]) in ALONE and item[1].threads):
        yield dict(wave), own or None


def _engine(name: str, work: Work, size: int):
    if name == "local":
        return Local(work, size)
    try:
        from hinas_nb.running.cluster import Cluster
    except ModuleNotFoundError:
        raise ValueError("ray is not installed: pip install 'hinas_nb[cluster]'") from None
    return Cluster(work)


def missing(runs: Sequence[Run], store: Store) -> list[RunConfig]:
    """Return what has to be computed for these Runs, each once, in the order of `WAVES`.

    A producer is left out where all that needs it is done.
    """
    found: dict[str, RunConfig] = {}

    def need(config: RunConfig) -> None:
        folder = store.folder(config)
        if folder.hash not in found and not folder.done:
            found[folder.hash] = config
            for producer in config.producers:
                need(producer)

    for run in runs:
        need(run.config)
    return sorted(found.values(), key=lambda config: WAVES.index(kind_of(config)))


def absent(runs: Sequence[Run], store: Store) -> dict[tuple, str]:
    """Return the data sets (name, split, scale) that these Runs need to be computed and that are not here, and why.

    A finished Run is found by the sum noted in its store where its data is not here.
    """
    found: dict[tuple, str] = {}

    def look(sources: Iterable[tuple], at: Callable[..., Any]) -> None:
        for source in sources:
            try:
                at(*source)
            except (ValueError, OSError) as error:
                found[source] = error_line(error)

    for run in runs:
        look(all_data(run.config).values(), store.data_hash)
    if not found:
        for config in missing(runs, store):
            look(own_data(config), lambda name, split, scale: image_files(name, split, store.data_root, scale))
    return found


def _with_data(runs: Sequence[Run], store: Store) -> tuple[list[Run], list[Failure]]:
    """Return the Runs whose data is here, and a failure for each of the others, which don't hold these up."""
    reasons = {run.config: next(iter(absent([run], store).values()), None) for run in runs}
    failures = [Failure(config, "", reason) for config, reason in reasons.items() if reason]
    return [run for run in runs if not reasons[run.config]], failures


def _schedule(
    configs: dict[str, RunConfig], engine, store: Store, failures: dict[str, Failure], shown: "_Progress"
) -> None:
    """Compute these Runs; adds to `failures` what could not be. Not begun: what needs one that failed."""
    needs = {key: [store.folder(producer).hash for producer in config.producers] for key, config in configs.items()}
    order = TopologicalSorter({key: configs.keys() & producers for key, producers in needs.items()})
    order.prepare()
    ready: deque[str] = deque()
    running: dict[Future, str] = {}
    losses: Counter[str] = Counter()

    def settle(key: str, reason: str | None) -> None:
        if reason:
            failures[key] = Failure(configs[key], key, reason)
        shown.settled(configs[key], failures.get(key))
        order.done(key)

    while order.is_active():
        ready.extend(order.get_ready())
        while ready and len(running) < engine.size:
            key = ready.popleft()
            failed = next((producer for producer in needs[key] if producer in failures), None)
            if failed:
                settle(key, f"not run: its {kind_of(failures[failed].config)} {failed[:16]} failed")
            else:
                running[engine.submit(configs[key])] = key
        shown.working([configs[key] for key in running.values()], store)
        for future in wait(running, timeout=shown.every, return_when=FIRST_COMPLETED).done:
            key, note = running.pop(future), None
            try:
                reason, note = future.result()
            except engine.lost:
                losses[key] += 1
                if losses[key] < TRIES:
                    ready.append(key)
                    continue
                reason = "interrupted: its process was killed; run it again to go on"
            except Exception as error:
                reason = error_line(error)
            if note:
                shown.say(note)
            settle(key, reason or _unseen(store.folder(configs[key])))


def _unseen(folder: RunFolder) -> str | None:
    """Wait until a finished Run can be seen here; return what is wrong where it cannot."""
    end = time.monotonic() + VISIBLE
    while not folder.done:
        if time.monotonic() >= end:
            return f"results must lie in a folder that all machines share, got none in {folder.path}"
        time.sleep(0.5)
    return None


class _Progress:
    """Shows a bar with how far the running Runs are; in a log, which a bar would flood, a line now and then.

    every: seconds until it is told again.
    """

    def __init__(self, total: int, wanted: bool):
        live = sys.stdout.isatty() or "ipykernel" in sys.modules
        hidden = not (total and wanted and live)
        self._bar = tqdm(total=total, desc="Runs", unit="Run", file=sys.stdout, mininterval=1, disable=hidden)
        self._total, self._settled, self._lines = total, 0, wanted and not live
        self.every, self._told = LIVE if live else LOGGED, time.monotonic()

    def working(self, configs: list[RunConfig], store: Store) -> None:
        if self._lines and time.monotonic() < self._told + self.every:
            return
        self._told = time.monotonic()
        far = {describe(config): progress(store.folder(config).path) for config in configs}
        told = [f"{what}, {done}" if done else what for what, done in far.items()]
        self._bar.set_postfix_str(shorten("; ".join(told), 120, placeholder=" ..."))
        for line in told if self._lines else ():
            self.say(f"under way: {line}")

    def settled(self, config: RunConfig, failure: Failure | None) -> None:
        self._settled += 1
        self._bar.update()
        if self._lines:
            self.say(f"Runs {self._settled}/{self._total}: {failure or describe(config)}")
        elif failure:
            self.say(str(failure))

    def say(self, line: str) -> None:
        self._bar.write(printable(line), file=sys.stdout)
        sys.stdout.flush()

    def close(self) -> None:
        self._bar.close()
