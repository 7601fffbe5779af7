"""Notebooks without a browser: plan their Runs, compute them, execute the notebooks with papermill.

Planning executes only the cells tagged `imports`, `parameters` and `runs`, gathers the Runs of all notebooks
and computes what is missing once; the notebooks then find everything done. They are executed in processes
(papermill is not thread-safe), each in a folder of its own until it has succeeded: a failed or interrupted one
never touches an earlier result. What departs from the profile is kept apart as a variant of it.
"""

import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock

from hinas_nb import locations
from hinas_nb.batch import contract, planning
from hinas_nb.batch.planning import Job, Plan, first_line
from hinas_nb.running.workers import Local, as_they_end
from hinas_nb.settings import shown
from hinas_nb.subprocesses import isolate, workplace

LAST = "00"  # the scorecard: it gathers what the other notebooks left behind
DIED = "its process died"
LONGEST = 60  # letters of the name that a variant gets from its changes


@dataclass(frozen=True)
class Settings:
    """Holds what all notebooks of one call share.

    profile: a name, or the path of a YAML file; results: the folder with one folder per profile.
    data: the data sets, None: as HINAS_DATA says.
    workers: processes at once; threads: of each (fixed, since they decide the last bit of a result).
    variant: the name under which results are kept, None: as the changes say.
    """

    profile: str
    results: Path
    data: Path | None = None
    workers: int = 1
    threads: int = 1
    engine: str = "local"
    variant: str | None = None

    @property
    def folder(self) -> Path:
        """Return the folder where the results of this profile lie."""
        return self.results / Path(self.profile).stem

    def place(self, job: Job) -> Path:
        """Return where the results of a notebook go: those of a variant never among the profile's own."""
        return locations.variant(self.folder, job.variant) if job.variant else self.folder

    def store(self):
        """Return the store of this profile's Runs; imports torch."""
        from hinas_nb.running.store import Store

        return Store(self.folder / "runs", self.data)

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that tell a notebook's process where everything is."""
        named = {"HINAS_HOME": locations.home(), "HINAS_RESULTS": self.results, "HINAS_DATA": self.data}
        return {name: str(path.resolve()) for name, path in named.items() if path}


def prepare(names: list[str], assignments: list[str], settings: Settings) -> list[Job]:
    """Return the notebooks with their values; whatever can be refused before anything runs is refused here.

    Raises ValueError, ConfigError.
    """
    notebooks = [contract.read(path) for path in contract.find(names, locations.home() / "notebooks")]
    if len({notebook.name for notebook in notebooks}) < len(notebooks):
        raise ValueError("notebooks must have different names, got two of one name")
    named = settings.variant
    if named is not None and not (locations.is_name(named) and len(named) <= 2 * LONGEST):
        rule = f"letters and digits joined by . _ or -, {2 * LONGEST} at most"
        raise ValueError(f"name of a variant must be {rule}, got {shown(named)}")
    values = [notebook.values(assignments, settings.profile) for notebook in notebooks]
    changes = [_changes(notebook, given, settings.profile) for notebook, given in zip(notebooks, values)]
    name = settings.variant or _name({change: None for own in changes for change in own})
    return [
        Job(notebook, given, name, ", ".join(own) or "nothing") if own or settings.variant else Job(notebook, given)
        for notebook, given, own in zip(notebooks, values, changes)
    ]


def _changes(notebook: contract.Notebook, values: dict[str, Any], profile: str) -> list[str]:
    """List in what the values depart from the notebook's own and from the profile: `every=1`. Raises ConfigError."""
    from hinas_nb.experiment.profile import load_profile

    overrides = values.get("overrides") or {}
    departs = load_profile(profile, overrides).model_dump() != load_profile(profile).model_dump()
    own = {name: value for name, value in values.items() if name not in ("profile", "overrides")}
    own = {name: value for name, value in own.items() if value != notebook.parameters[name].default}
    return [f"{name}={value}" for name, value in sorted((own | (overrides if departs else {})).items())]


def _name(changes: Iterable[str]) -> str:
    """Return a folder's name that says the changes as far as names can, and differs where they do."""
    text = ", ".join(changes)
    words = "-".join(re.findall(r"[A-Za-z0-9]+(?:[._][A-Za-z0-9]+)*", text))[:LONGEST].strip("._-")
    return f"{words}-{sha256(text.encode()).hexdigest()[:6]}"


def plan(jobs: list[Job], settings: Settings) -> list[Plan]:
    """Return the Runs of each notebook, from a process that executes its tagged cells and nothing else.

    Raises ValueError where a notebook cannot be planned with the values that were asked for.
    """
    with workplace() as folder, closing(Local(partial(_planned, settings, folder / "plan"), 1)) as helper:
        try:
            plans = helper.submit(jobs).result()
        except helper.lost:
            return [Plan(job.notebook.name, [], DIED) for job in jobs]
    for job, plan in zip(jobs, plans):
        if plan.error and job.changed not in ("", "nothing"):
            raise ValueError(f"{plan.notebook}: {plan.error}")
    return plans


def check_data(plans: list[Plan], settings: Settings) -> list[str]:
    """Refuse, before anything is computed, Runs that are not done and whose images are not here. Raises DataError.

    Returns a line for each data set of a Run to do that has fewer images than the catalogue says.
    """
    from hinas_nb.data import DataError
    from hinas_nb.data.check import incomplete
    from hinas_nb.experiment.runs import own_data
    from hinas_nb.running import pool

    runs, store = [run for plan in plans for run in plan.runs], settings.store()
    absent = pool.absent(runs, store)
    if absent:
        _, *others = dict.fromkeys(name for name, *_ in absent)
        also = f"; also missing: {', '.join(others)}" if others else ""
        raise DataError(next(iter(absent.values())) + also)
    sets = dict.fromkeys(source for config in pool.missing(runs, store) for source in own_data(config))
    found = (incomplete(name, split, store.data_root, scale) for name, split, scale in sets)
    return [line for line in found if line]


def compute(plans: list[Plan], settings: Settings) -> tuple[list[str], list[str]]:
    """Compute every Run that is not in the store yet, each once.

    Returns a line for each that failed, and the notebooks that need one of these, or a Run that rests on one.
    """
    from hinas_nb.running import pool

    wanted = [run for plan in plans for run in plan.runs]
    how = {"workers": settings.workers, "threads": settings.threads, "engine": settings.engine}
    failures = pool.execute(wanted, settings.store(), **how)
    failed = {failure.config for failure in failures}
    without = [plan.notebook for plan in plans if not failed.isdisjoint(planning.needed(plan.runs))]
    return [str(failure) for failure in failures], without


def execute(jobs: list[Job], settings: Settings) -> Iterator[tuple[str, float, str | None]]:
    """Execute notebooks, `workers` at a time. Leaves no process behind.

    Yields each as it ends: its name, the seconds it took, and None or one line with the cell that failed and why.
    """
    gathering = [job for job in jobs if job.notebook.name.startswith(LAST)]
    began, workers = {}, min(settings.workers, len(jobs) or 1)

    def started(group: list[Job]) -> Iterator[Job]:
        for job in group:
            began[job.notebook.name] = time.monotonic()
            yield job

    with workplace() as folder, closing(Local(partial(_executed, settings, folder), workers)) as helpers:
        for group in ([job for job in jobs if job not in gathering], gathering):
            for job, future in as_they_end(helpers, started(group)):
                name = job.notebook.name
                error = DIED if isinstance(future.exception(), helpers.lost) else future.result()
                error = _keep(job, folder / name, error, settings)
                yield name, time.monotonic() - began[name], error


def _keep(job: Job, made: Path, error: str | None, settings: Settings) -> str | None:
    """Move what a notebook left to where it belongs: all of it after a success, the copy if not. Returns the error."""
    name, place, executed = job.notebook.name, settings.place(job), made / "executed.ipynb"
    notebooks = place / "notebooks"
    try:
        if error and executed.exists():
            _place({executed: notebooks / f"{name}.failed.ipynb"})
        if not error:
            # The notebook itself last: what is called executed has its figures and its page.
            root = made / "published"
            published = {path: place / path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_file()}
            page = {made / "executed.html": place / "html" / f"{name}.html"}
            page |= {made / "executed.shared.ipynb": place / "executed" / f"{name}.ipynb"}
            place.mkdir(parents=True, exist_ok=True)
            with FileLock(place / ".lock"):  # two batches may publish the same notebook: all must be of one of them
                _place(published | page | {executed: notebooks / f"{name}.ipynb"})
                for kind in ("figures", "tables"):
                    for path in set((place / kind).glob(f"{name}__*")) - set(published.values()):
                        path.unlink()
                (notebooks / f"{name}.failed.ipynb").unlink(missing_ok=True)
    except OSError as problem:
        return f"cannot write {problem.filename2 or problem.filename or notebooks}: {problem.strerror}"
    return error


def _place(targets: dict[Path, Path]) -> None:
    """Copy files so that each target is the old file or the new one, never half of it.

    Nothing is replaced before all copies are there: on a full disk the old results stay together.
    """
    from hinas_nb import files

    copies = {target: files.temporary(target) for target in targets.values()}
    try:
        for source, target in targets.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copies[target])
        for target, copy in copies.items():
            os.replace(copy, target)
    finally:
        for copy in copies.values():
            copy.unlink(missing_ok=True)


def _planned(settings: Settings, folder: Path, jobs: list[Job]) -> list[Plan]:
    """Return the Runs of every job; called in a process of its own, see `plan`."""
    isolate(folder, settings.threads)
    os.environ |= settings.environment
    return [planning.plan(job) for job in jobs]


def _executed(settings: Settings, workplace: Path, job: Job) -> str | None:
    """Execute one notebook below `workplace`, in a process of its own; return None, or its cell that failed and why."""
    folder = workplace / job.notebook.name
    isolate(folder, settings.threads)
    os.environ |= settings.environment
    os.environ |= {"HINAS_PUBLISH": str(folder / "published"), "HINAS_CHANGED": job.changed}
    os.environ["HINAS_PLACE"] = str(settings.place(job).resolve())

    import papermill
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    from hinas_nb.reporting import pages

    target = folder / "executed.ipynb"
    # Papermill formats paths: a brace must stand there twice.
    source, formatted = (str(path).replace("{", "{{").replace("}", "}}") for path in (job.notebook.path, target))
    try:
        papermill.execute_notebook(
            source,
            formatted,
            job.values,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            start_timeout=300,
            # ipykernel warns of unencrypted TCP on every start otherwise
            config=Config({"KernelManager": {"transport_encryption": "auto"}}),
        )
        pages.finish(target, folder / "executed.html", job.notebook.name, folder / "published")
    except PapermillExecutionError as error:
        tagged = next(number for number, tags, _ in job.notebook.cells if "parameters" in tags)
        number = error.cell_index + (error.cell_index < tagged)  # the injected cell follows the tagged one
        return f"cell {number}: {first_line(error.ename, error.evalue)}"
    except Exception as error:
        return first_line(type(error).__name__, str(error))
    return None
