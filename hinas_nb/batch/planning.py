"""Find what a batch would compute: the Runs that each notebook asks for, without running it.

The experiment stands in the cell tagged `runs`, so three tagged cells are all that has to be executed.
"""

from dataclasses import dataclass
from typing import Any

from hinas_nb.batch.contract import Notebook

_PLANNED_TAGS = ("imports", "parameters", "runs")


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
    """Holds the Runs that a notebook asks for, or in one line the error that kept it from being asked."""

    notebook: str
    runs: list
    error: str | None = None


def plan(job: Job) -> Plan:
    """Execute the tagged cells of a notebook in this process and take its variable `runs`."""
    name = job.notebook.name
    namespace: dict[str, Any] = {"__name__": "plan"}
    for number, tags, source in job.notebook.cells:
        if not tags.intersection(_PLANNED_TAGS):
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


def needed(runs: list) -> set[Any]:
    """Return the configs of Runs and of all that they rest on, each once."""
    found, rest = set(), {run.config for run in runs}
    while rest:
        found |= rest
        rest = {producer for config in rest for producer in config.producers} - found
    return found


def first_line(name: str, text: str) -> str:
    """Return an exception as one line."""
    lines = text.strip().splitlines()
    return f"{name}: {lines[0]}" if lines else name
