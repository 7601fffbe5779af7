"""Publish what notebooks 20 and 21 show alike, HiNAS among the others; each function yields what the cell displays."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
from pandas.io.formats.style import Styler

from hinas_nb import figures
from hinas_nb.evidence import paper_tables, system_tables
from hinas_nb.evidence.ablation import SCORES
from hinas_nb.evidence.rivals import HINAS
from hinas_nb.experiment.config import TimingConfig
from hinas_nb.experiment.profile import Profile
from hinas_nb.figures.dot import Drawing
from hinas_nb.reporting.outputs import Publisher

_LEFT = {"text-align": "left"}


def accuracy(publisher: Publisher, numbers: Sequence[int], scores: pd.DataFrame, budget: Profile) -> Iterator[Styler]:
    """Publish the tables' rows with our score beside them, and what has to be known of these."""
    for number in numbers:
        table = system_tables.accuracy(number, scores, budget)
        caption = f"Table {number}, accuracy: PSNR (dB) / SSIM, published and ours at the {budget.name} budget"
        scored = [column for column in table if "protocol" not in column]
        shown = _published(publisher, table, f"table-{number}-accuracy", caption)
        yield shown.set_properties(subset=scored, **{"white-space": "nowrap"})
    notes = pd.concat(map(paper_tables.notes, numbers), ignore_index=True)
    yield _published(publisher, notes, "notes", "Protocol, flags and contradictions of the published tables")


def equal_time(publisher: Publisher, standings: pd.DataFrame) -> Iterator[Drawing | Styler]:
    """Publish `rivals.standings`, a figure for every data set and level, and what the trainings took."""
    for (name, level, where), own in standings.groupby(["data", "degradation", "images"], sort=False):
        better = int((own["psnr_low"] > 0).sum())
        title = f"{where}: {better} of {len(own) - 1} others have a higher PSNR than {HINAS} by their whole interval"
        plot = figures.equal_time_plot(own.reset_index(drop=True), title)
        yield publisher.figure(plot, f"equal-time-{name}-{level:g}", f"Accuracy after equal time, {where}")
    ends = {f"{metric}_{end}": f"{end}, {metric.upper()}" for metric in SCORES for end in ("low", "high", "mean")}
    names = {"psnr": "PSNR - HiNAS's (dB)", "ssim": "SSIM - HiNAS's", "over": "of HiNAS's seconds"}
    table = standings.drop(columns=["data", "degradation"]).rename(columns=ends | names)
    caption = "Differences from HiNAS with 95 % intervals over images; steps, seconds of the trainings"
    publisher.table(table, "equal-time", caption)
    took = table[["images", "arm", "steps", "seconds", "threads", names["over"]]].dropna()
    yield took.style.format(precision=2).format("{:.0f}", subset=["steps", "threads"]).hide(axis="index")


def parameters(publisher: Publisher, counts: Mapping[int, pd.DataFrame]) -> Iterator[Styler]:
    """Publish `system_tables.parameters` by number of the table."""
    for number, table in counts.items():
        caption = f"Table {number}, parameters: as printed there, in the system's own paper, and counted here"
        yield _published(publisher, table, f"table-{number}-parameters", caption)


def costs(publisher: Publisher, times: Mapping[int, pd.DataFrame], timing: TimingConfig) -> Iterator[Styler]:
    """Publish `system_tables.speeds` by number of the table. timing: one of those that they are of."""
    how = f"threads: {timing.threads}, rounds: {timing.rounds}, each with the allocator settings of Runs"
    whole, scale = timing.arms[0], timing.arms[0].scale or 1
    image = f"{whole.height * scale}x{whole.width_px * scale}"
    for number, own in times.items():
        table = system_tables.speeds_printed(own, image if scale == 1 else f"about {image}")
        caption = f"Table {number}, cost: multiply-adds, published and measured seconds ({how})"
        yield _published(publisher, table, f"table-{number}-cost", caption)


def speed_claims(publisher: Publisher, others: pd.DataFrame) -> Drawing:
    """Publish published beside measured times of `system_tables.others`; the title says which claims survive."""
    slower, survive = system_tables.slower(others)
    title = f"Slower than HiNAS in the paper: {len(slower)} systems that run here; of them slower here: {survive}"
    plot = figures.speed_claims_plot(others, title)
    return publisher.figure(plot, "speed-claims", "Time of an image in times HiNAS's, published and measured")


def _published(publisher: Publisher, table: pd.DataFrame, name: str, caption: str) -> Styler:
    shown = publisher.table(table, name, caption).style.hide(axis="index").set_caption(caption)
    return shown.set_properties(**_LEFT).set_table_styles([{"selector": "th", "props": [*_LEFT.items()]}])
