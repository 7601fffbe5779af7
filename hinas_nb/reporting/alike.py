"""Publish what several notebooks show alike; each function yields what the cell displays.

Ablations (10 to 14) begin with `published_tables` and end with `panels`; comparisons (20 and 21) have the rest too.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import pandas as pd
from pandas.io.formats.style import Styler

from hinas_nb import data, figures
from hinas_nb.evidence import ablation, paper_tables, system_tables
from hinas_nb.evidence.rivals import HINAS
from hinas_nb.experiment.config import TimingConfig
from hinas_nb.experiment.profile import Profile
from hinas_nb.experiment.runs import Run
from hinas_nb.figures.dot import Drawing
from hinas_nb.reporting.outputs import Publisher
from hinas_nb.running.store import Store
from hinas_nb.scoring import showcase

_LEFT = {"text-align": "left"}


def published_tables(
    publisher: Publisher, scores: pd.DataFrame, tables: Mapping[str, int], what: str, budget: Profile
) -> Iterator[Styler]:
    """Publish the scores beside the paper's tables, laid out as printed, and what has to be known of these.

    tables: their numbers, by task. what: they are about, for the captions.
    """
    table = ablation.beside(scores, tables.values())
    publisher.table(table, "scores", "Means and deviations over seeds beside the published cells, in full precision")
    for number, wide in ablation.printed(table, tables, budget.name):
        caption = f"Table {number}: {what}; mean ± deviation, {len(budget.seeds)} seeds"
        yield _published(publisher, wide, f"table-{number}", caption)
    yield _notes(publisher, tables.values())


def panels(
    publisher: Publisher,
    runs: Sequence[Run],
    store: Store,
    gains: pd.DataFrame,
    seed: int,
    images: Sequence[str],
    side: int,
) -> Iterator[Drawing]:
    """Publish the same crop of the paper's images, and of those that gain least and most, as all arms restore it.

    gains: `ablation.image_changes` of one arm, of the task, data and degradation to show. seed: of the Runs.
    images: names of the paper's, shown where the test set has them. side: of the crop, pixels.
    """
    for group, rows in gains.groupby(ablation.GROUP, sort=False):
        changes, arm = rows.set_index("image")["psnr"], rows["arm"].iloc[0]
        compared = ablation.evaluations(runs, seed=seed, **dict(zip(ablation.GROUP, group)))
        first = next(iter(compared.values()))
        tested = data.load(first.data, first.split, store.data_root, first.protocol.scale)
        task, name, degradation = group
        for image, why in ablation.chosen_images(tested.names, images, changes).items():
            shown = ablation.across(compared, store, tested, image)
            gain = f", {arm} {changes[image]:+.2f} dB" if image in changes else ", not among those scored"
            title = f"{image} ({name}, {ablation.level(task, degradation)}): {why}{gain}"
            square = showcase.busiest_square(tested, image, side)
            picture = figures.image_panel(shown.columns, square, shown.lines, title, whole=0)
            yield publisher.figure(picture, f"panel-{task}-{name}-{image}", title)


def accuracy(publisher: Publisher, numbers: Sequence[int], scores: pd.DataFrame, budget: Profile) -> Iterator[Styler]:
    """Publish the tables' rows with our score beside them, and what has to be known of these."""
    for number in numbers:
        table = system_tables.accuracy(number, scores, budget)
        caption = f"Table {number}, accuracy: PSNR (dB) / SSIM, published and ours at the {budget.name} budget"
        scored = [column for column in table if "protocol" not in column]
        shown = _published(publisher, table, f"table-{number}-accuracy", caption)
        yield shown.set_properties(subset=scored, **{"white-space": "nowrap"})
    yield _notes(publisher, numbers)


def equal_time(publisher: Publisher, standings: pd.DataFrame) -> Iterator[Drawing | Styler]:
    """Publish `rivals.standings`, a figure for every data set and level, and what the trainings took."""
    for (name, level, where), own in standings.groupby(["data", "degradation", "images"], sort=False):
        better = int((own["psnr_low"] > 0).sum())
        title = f"{where}: {better} of {len(own) - 1} others have a higher PSNR than {HINAS} by their whole interval"
        plot = figures.equal_time_plot(own.reset_index(drop=True), title)
        yield publisher.figure(plot, f"equal-time-{name}-{level:g}", f"Accuracy after equal time, {where}")
    ends = {
        f"{metric}_{end}": f"{end}, {metric.upper()}" for metric in ablation.SCORES for end in ("low", "high", "mean")
    }
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


def _notes(publisher: Publisher, numbers: Iterable[int]) -> Styler:
    notes = pd.concat(map(paper_tables.notes, numbers), ignore_index=True)
    shown = _published(publisher, notes, "notes", "Protocol, flags and contradictions of the published tables")
    known = "What has to be known before a published cell is used; (!) marks those that cannot be right."
    return shown.set_caption(known)


def _published(publisher: Publisher, table: pd.DataFrame, name: str, caption: str) -> Styler:
    shown = publisher.table(table, name, caption).style.hide(axis="index").set_caption(caption)
    return shown.set_properties(**_LEFT).set_table_styles([{"selector": "th", "props": [*_LEFT.items()]}])
