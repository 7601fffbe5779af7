"""What `hinas-nb plan` prints: Runs, hours on this machine, and what each claim's design can find; a line at a time."""

import math
from collections.abc import Iterator

from hinas_nb.batch import planning
from hinas_nb.batch.planning import Job, Kind, Plan

SOURCES = {"finished": "finished Runs", "timed": "a few steps, timed now"}


def lines(plans: list[Plan], jobs: list[Job], settings) -> Iterator[str]:
    """Kinds of Runs as they are timed, the notebooks, the time until all is done, the claims."""
    found: list[Kind] = []
    for kind in planning.kinds(plans, settings):
        if not found:
            yield f"{'kind of Run':52} {'to do':>6} {'each':>8}  time from"
        found.append(kind)
        yield f"{kind.what:52} {kind.count:6} {duration(kind.seconds):>8}  {SOURCES.get(kind.source, kind.source)}"
    if found:
        yield ""
    yield from _notebooks(plans, found, settings)
    if found:
        yield from _until(plans, found, settings)
    yield from _claims(jobs, settings)


def duration(seconds: float) -> str:
    """`40 s`, `25 min`, `3.5 h`; a question mark for NaN."""
    if math.isnan(seconds):
        return "?"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def _notebooks(plans: list[Plan], found: list[Kind], settings) -> Iterator[str]:
    rows, total = planning.tally(plans, settings.store())
    yield f"{'notebook':34} {'Runs':>6} {'done':>6} {'to do':>6} {'shared':>6} {'time':>8}"
    for row, asked in zip((*rows, total), (*([plan] for plan in plans), plans)):
        takes, _ = planning.spent(asked, found, settings)
        unknown = planning.untimed(asked, found, settings)
        to_do = row.needed - row.done
        time = "" if not to_do else "?" if unknown == to_do else f"{'> ' if unknown else ''}{duration(takes)}"
        counts = " ".join(f"{count:6}" for count in (row.needed, row.done, to_do, row.shared))
        yield f"{row.notebook:34} {counts} {time:>8}".rstrip()


def _until(plans: list[Plan], found: list[Kind], settings) -> Iterator[str]:
    computing, until = planning.spent(plans, found, settings)
    unknown, every = planning.untimed(plans, found, settings), sum(kind.count for kind in found)
    workers = f"{settings.workers} at a time" if settings.workers > 1 else "one after another"
    how = f"All Runs to do, {workers}, {settings.threads} thread{'s' if settings.threads > 1 else ''} each"
    if unknown == every:
        yield f"{how}: nobody knows how long, none of {every} could be timed"
        return
    more = f"; without {unknown} of unknown time" if unknown else ""
    yield f"{how}: {duration(until)} on this machine ({duration(computing)} of computing){more}"


def _claims(jobs: list[Job], settings) -> Iterator[str]:
    from hinas_nb.evidence import claim_file

    if not claim_file.path().is_file():
        return
    numbers = {job.notebook.name[:2] for job in jobs}
    asked = [
        name for name, claim in claim_file.load().claims.items() if "00" in numbers or numbers & set(claim.notebooks)
    ]
    if not asked:
        return
    from hinas_nb.evidence import power
    from hinas_nb.experiment import profile

    overrides = next((job.values["overrides"] for job in jobs if "overrides" in job.values), None)
    table = power.smallest_effects(profile.load_profile(settings.profile, overrides), asked)
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
