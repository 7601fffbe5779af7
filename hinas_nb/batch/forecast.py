"""Write what `hinas-nb plan` prints: Runs, hours on this machine, and what each claim's design can find."""

import math
from collections import Counter
from collections.abc import Iterator
from typing import TypeAlias

from hinas_nb.batch import durations
from hinas_nb.batch.durations import Estimate, shape
from hinas_nb.batch.planning import Job, Plan, needed
from hinas_nb.evidence import paper_effects, power
from hinas_nb.experiment.profile import load_profile
from hinas_nb.experiment.runs import RunConfig
from hinas_nb.running.pool import missing
from hinas_nb.scoring.units import duration

Known: TypeAlias = dict[str, Estimate]  # by shape


def lines(plans: list[Plan], jobs: list[Job], settings, measure: float = 0) -> Iterator[str]:
    """Yield a table of the kinds of Runs to do, one of the notebooks, the time until all is done, and the claims.

    measure: for so many seconds, begin Runs of which nothing tells how long they take; see `durations.begin`.
    """
    store = settings.store()
    to_do = missing([run for plan in plans for run in plan.runs], store)
    if measure:
        yield from durations.begin(to_do, store, measure, settings.workers, settings.threads)
    known = durations.estimates(to_do, store, settings.threads)
    if to_do:
        yield from _kinds(to_do, known)
    yield from _notebooks(plans, known, store)
    if to_do:
        yield _until(to_do, known, settings)
    yield from _claims(jobs, settings)


def until_done(plans: list[Plan], settings) -> tuple[str, float]:
    """Return a line that says how long the Runs to do take together, empty where there are none; and the seconds.

    Runs whose time is unknown count nothing.
    """
    store = settings.store()
    to_do = missing([run for plan in plans for run in plan.runs], store)
    if not to_do:
        return "", 0.0
    known = durations.estimates(to_do, store, settings.threads)
    return _until(to_do, known, settings), _spent(to_do, known, settings.workers)[1]


def _kinds(to_do: list[RunConfig], known: Known) -> Iterator[str]:
    yield f"{'kind of Run':60} {'to do':>6} {'each':>8}  time from"
    rows = Counter()  # shapes that differ in what the words leave out share a line where their times are the same
    for config in to_do:
        of_it = known[shape(config)]
        rows[durations.in_words(config), duration(of_it.seconds), of_it.source] += 1
    for (words, each, source), count in rows.items():
        yield f"{words:60} {count:6} {each:>8}  {source}"
    yield ""


def _notebooks(plans: list[Plan], known: Known, store) -> Iterator[str]:
    """Count for each notebook, and for all together, its Runs and the searches and trainings they rest on."""
    yield f"{'notebook':34} {'Runs':>6} {'done':>6} {'to do':>6} {'shared':>6} {'time':>8}"
    needs = [needed(plan.runs) for plan in plans]
    wanted = Counter(config for need in needs for config in need)
    done = {config for config in wanted if store.folder(config).done}
    every = [run for plan in plans for run in plan.runs]
    rows = [(plan.notebook, plan.runs, need) for plan, need in zip(plans, needs)]
    for name, runs, need in (*rows, ("all", every, set(wanted))):
        to_do = [known[shape(config)].seconds for config in missing(runs, store)]
        told = [seconds for seconds in to_do if not math.isnan(seconds)]
        time = f"{'> ' if len(told) < len(to_do) else ''}{duration(sum(told))}" if told else "?" if to_do else ""
        shared = sum(wanted[config] > 1 for config in need)
        counts = (len(need), len(need & done), len(need - done), shared)
        yield f"{name:34} {' '.join(f'{count:6}' for count in counts)} {time:>8}".rstrip()


def _until(to_do: list[RunConfig], known: Known, settings) -> str:
    workers = f"{settings.workers} at a time" if settings.workers > 1 else "one after another"
    how = f"All Runs to do, {workers}, {settings.threads} thread{'s' if settings.threads > 1 else ''} each"
    unknown = sum(math.isnan(known[shape(config)].seconds) for config in to_do)
    advice = "hinas-nb plan --measure SECONDS begins Runs to learn more"
    if unknown == len(to_do):
        return f"{how}: nobody knows how long; {advice}"
    computing, until = _spent(to_do, known, settings.workers)
    more = f"; without {unknown} of unknown time: {advice}" if unknown else ""
    return f"{how}: {duration(until)} on this machine ({duration(computing)} of computing){more}"


def _spent(to_do: list[RunConfig], known: Known, workers: int) -> tuple[float, float]:
    """Return the seconds of computing, and those until all is done: a Run waits for what it rests on.

    to_do: in waves, as computed. Runs whose time is unknown count nothing.
    """
    free, ends, total = [0.0] * min(workers, len(to_do) or 1), {}, 0.0
    for config in to_do:
        seconds = known[shape(config)].seconds
        takes = 0.0 if math.isnan(seconds) else seconds
        worker = free.index(min(free))
        free[worker] = ends[config] = max([free[worker], *(ends.get(one, 0.0) for one in config.producers)]) + takes
        total += takes
    return total, max(free)


def _claims(jobs: list[Job], settings) -> Iterator[str]:
    if not paper_effects.path().is_file():
        return
    numbers = {job.notebook.name[:2] for job in jobs}
    every = paper_effects.load().claims.items()
    asked = [name for name, claim in every if "00" in numbers or numbers & set(claim.notebooks)]
    if not asked:
        return
    overrides = next((job.values["overrides"] for job in jobs if "overrides" in job.values), None)
    table = power.smallest_effects(load_profile(settings.profile, overrides), asked)
    yield ""
    yield "Smallest true effect found with probability 0.8 (beyond the margin), from the deviation assumed:"
    yield f"{'comparison':24} {'images':16} {'metric':26} {'seeds':>5} {'smallest':>9} {'published':>9}  deviation of"
    before = None
    for row in table.to_dict("records"):
        if row["claim"] != before:
            yield f"{row['claim']}: {row['says']}"
        before = row["claim"]
        metric = row["metric"].replace(" (points above chance)", " (points)")
        smallest, published = (f"{text:>9}" for text in row["text"])
        compared = f"{row['comparison']:22} {row['images']:16} {metric:26} {row['seeds']:5}"
        yield f"  {compared} {smallest} {published}  {row['assumed']}"
