"""What a batch would compute: the Runs each notebook asks for, asked without running the notebook.

The experiment stands in the cell tagged `runs`, so three tagged cells are all that has to be executed.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from hinas_nb.contract import Notebook

PLANNED_TAGS = ("imports", "parameters", "runs")


@dataclass(frozen=True)
class Job:
    """A checked notebook and the values to inject."""

    notebook: Notebook
    values: dict[str, Any]


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
            from hinas_nb.runs import Run

            runs = namespace.get("runs")
            if not isinstance(runs, list) or not all(isinstance(run, Run) for run in runs):
                got = type(runs).__name__
                return Plan(name, [], f"cell {number}: runs must be a list of Run, got {got}")
            return Plan(name, runs)
    return Plan(name, [])


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


def first_line(name: str, text: str) -> str:
    """An exception as one line."""
    lines = text.strip().splitlines()
    return f"{name}: {lines[0]}" if lines else name


def _needs(plan: Plan, store) -> dict[str, bool]:
    """Hash of every Run and of its producers: whether it is done."""
    from hinas_nb.identity import producer_of

    found: dict[str, bool] = {}
    for run in plan.runs:
        config = run.config
        while config is not None:
            folder = store.folder(config)
            found[folder.hash] = folder.done
            config = producer_of(config)
    return found
