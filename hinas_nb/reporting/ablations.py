"""Publish what every ablation shows alike; each function yields what the cell displays."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
from pandas.io.formats.style import Styler

from hinas_nb import data, figures
from hinas_nb.evidence import ablation, paper_tables
from hinas_nb.experiment.profile import Profile
from hinas_nb.experiment.runs import Run
from hinas_nb.figures.dot import Drawing
from hinas_nb.reporting.outputs import Publisher
from hinas_nb.running.store import Store
from hinas_nb.scoring import showcase


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
        yield publisher.table(wide, f"table-{number}", caption).style.hide(axis="index").set_caption(caption)
    notes = pd.concat(map(paper_tables.notes, tables.values()))
    publisher.table(notes, "notes", "Protocol, flags and contradictions of the published tables")
    known = "What has to be known before a published cell is used; (!) marks those that cannot be right."
    yield notes.style.hide(axis="index").set_caption(known)


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
