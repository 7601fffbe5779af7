"""What a batch would compute and how long that takes: the Runs each notebook asks for, without running it.

The experiment stands in the cell tagged `runs`, so three tagged cells are all that has to be executed.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hinas_nb.batch import contract
from hinas_nb.batch.contract import Notebook

PLANNED_TAGS = ("imports", "parameters", "runs")


@dataclass(frozen=True)
class Job:
    """A checked notebook and the values to inject.

    variant: the name under which its results are kept apart, changed: in what it departs from the profile, in words;
    both empty for a notebook that is executed as the profile says.
    """

    notebook: Notebook
    values: dict[str, Any]
    variant: str = ""
    changed: str = ""


@dataclass(frozen=True)
class Plan:
    """The Runs a notebook asks for, or one line that says why it could not be asked."""

    notebook: str
    runs: list
    error: str | None = None


@dataclass(frozen=True)
class Tally:
    """Runs of one notebook and the searches and trainings they rest on: all, done, wanted by others too."""

    notebook: str
    needed: int
    done: int
    shared: int


def plan(job: Job) -> Plan:
    """Execute the tagged cells of a notebook in this process and take its variable `runs`."""
    name = job.notebook.name
    namespace: dict[str, Any] = {"__name__": "plan"}
    for number, tags, source in job.notebook.cells:
        if not tags.intersection(PLANNED_TAGS):
            continue
        try:
            exec(compile(source, f"{name}, cell {number}", "exec"), namespace)
        except (Exception, SystemExit) as error:
            return Plan(name, [], f"cell {number}: {first_line(type(error).__name__, str(error))}")
        if "parameters" in tags:
            namespace |= job.values
        if "runs" in tags:
            from hinas_nb.experiment.runs import Run

            runs = namespace.get("runs")
            if not isinstance(runs, list) or not all(isinstance(run, Run) for run in runs):
                got = type(runs).__name__
                return Plan(name, [], f"cell {number}: runs must be a list of Run, got {got}")
            return Plan(name, runs)
    return Plan(name, [])


def configs(path: Path, values: dict[str, Any]) -> set:
    """What computing a notebook with these parameters computes: its Runs and what they rest on.

    Raises NotebookError.
    """
    planned = plan(Job(contract.read(path), values))
    if planned.error:
        raise contract.NotebookError(f"{planned.notebook}: {planned.error}")
    found, rest = set(), [run.config for run in planned.runs]
    while rest:
        config = rest.pop()
        if config not in found:
            found.add(config)
            rest += config.producers
    return found


def tally(plans: list[Plan], store) -> tuple[list[Tally], Tally]:
    """Counts per notebook, and of all together (where each Run counts once)."""
    needs = [_needs(plan, store) for plan in plans]
    wanted = Counter(key for need in needs for key in need)
    rows = [
        Tally(plan.notebook, len(need), sum(need.values()), sum(wanted[key] > 1 for key in need))
        for plan, need in zip(plans, needs)
    ]
    every = {key: done for need in needs for key, done in need.items()}
    return rows, Tally("all", len(every), sum(every.values()), sum(count > 1 for count in wanted.values()))


@dataclass(frozen=True)
class Kind:
    """Runs of one cost that are still to be computed. seconds: of each, NaN if nothing could say; see `durations`."""

    what: str
    count: int
    seconds: float
    source: str
    shape: str


def kinds(plans: list[Plan], settings) -> Iterator[Kind]:
    """What has to be computed, by cost, each as its time becomes known."""
    from hinas_nb.batch import durations
    from hinas_nb.running.pool import missing

    store = settings.store()
    groups: dict[str, list] = {}
    for config in missing([run for plan in plans for run in plan.runs], store):
        groups.setdefault(durations.shape(config), []).append(config)
    firsts = [group[0] for group in groups.values()]
    for key, found in durations.estimate(firsts, store, settings.threads, settings.environment):
        yield Kind(durations.describe(groups[key][0]), len(groups[key]), found.seconds, found.source, key)


def spent(plans: list[Plan], kinds: list[Kind], settings) -> tuple[float, float]:
    """Seconds of computing, and until all is done with the settings' workers: a Run waits for what it rests on.

    Runs whose time is unknown count nothing.
    """
    from hinas_nb.batch import durations
    from hinas_nb.running.pool import missing

    seconds = {kind.shape: 0.0 if math.isnan(kind.seconds) else kind.seconds for kind in kinds}
    free, ends, total = [0.0] * settings.workers, {}, 0.0
    for config in missing([run for plan in plans for run in plan.runs], settings.store()):  # in waves, as computed
        takes = seconds[durations.shape(config)]
        worker = free.index(min(free))
        free[worker] = ends[config] = max([free[worker], *(ends.get(one, 0.0) for one in config.producers)]) + takes
        total += takes
    return total, max(free, default=0.0)


def untimed(plans: list[Plan], kinds: list[Kind], settings) -> int:
    """How many Runs to do are of unknown time."""
    from hinas_nb.batch import durations
    from hinas_nb.running.pool import missing

    unknown = {kind.shape for kind in kinds if math.isnan(kind.seconds)}
    to_do = missing([run for plan in plans for run in plan.runs], settings.store())
    return sum(durations.shape(config) in unknown for config in to_do)


def first_line(name: str, text: str) -> str:
    """An exception as one line."""
    lines = text.strip().splitlines()
    return f"{name}: {lines[0]}" if lines else name


def _needs(plan: Plan, store) -> dict[str, bool]:
    """Hash of every Run and of its producers: whether it is done."""
    found: dict[str, bool] = {}
    open_configs = [run.config for run in plan.runs]
    while open_configs:
        config = open_configs.pop()
        folder = store.folder(config)
        if folder.hash not in found:
            found[folder.hash] = folder.done
            open_configs += config.producers
    return found
