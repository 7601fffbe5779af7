"""Arms of an ablation side by side: tables beside the published cells, differences, and what each image gains.

Scores come from `running.collect` with labels `task`, `data`, `degradation` (sigma in 0-255 grey levels, or scale),
`arm` and `seed`; `arms` has their networks and pictures. Notebooks `10_ablation_lwas_residual`,
`11_ablation_width` and `12_ablation_ssim_loss` show them.
"""

import itertools
from collections.abc import Mapping, Sequence

import pandas as pd

from hinas_nb.evidence import stats
from hinas_nb.evidence.claim_file import METRICS as FORMATS
from hinas_nb.experiment.config import EvaluateConfig, Task
from hinas_nb.experiment.profile import Profile

GROUP = ["task", "data", "degradation"]  # what is never averaged over
METRICS = ["psnr", "ssim"]  # dB; unitless
DIGITS = {"psnr": 2, "ssim": 4}
NOT_KNOWN = {"published [95 %]": "not published", "smallest detectable": "needs two seeds"}
HEADERS = {"psnr": "PSNR (dB)", "ssim": "SSIM"}


class AblationError(ValueError):
    """Arms that cannot be compared; the text is one line."""


def degradations(budget: Profile, task: Task) -> dict[float, dict]:
    """The axis `degradation` of a grid: every sigma of the budget, or every scale, all from one search."""
    if task == "denoise":
        return {sigma: {"train.sigma": sigma, "evaluate.sigma": sigma} for sigma in budget.sigmas}
    return {scale: {"train.scale": scale, "evaluate.scale": scale} for scale in budget.scales}


def scored_on(base: EvaluateConfig, names: Sequence[str] = ()) -> dict[str, dict]:
    """The axis `data` of a grid: the named sets for super-resolution, else the one that `base` scores."""
    chosen = names if names and base.protocol.task == "sr" else [base.data]
    return {name: {"evaluate.data": name} for name in chosen}


def shown_at(budget: Profile) -> dict[str, float]:
    """The degradation whose pictures are shown, by task: the middle sigma and the last scale of the budget.

    As in the paper's figures: 50 of 30, 50 and 70; x4 of x2, x3 and x4.
    """
    return {"denoise": budget.sigmas[len(budget.sigmas) // 2], "sr": budget.scales[-1]}


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean over images, then mean and standard deviation over seeds: one row per arm and metric.

    Columns: task, data, degradation, arm, metric, mean, deviation (NaN for one seed), seeds.
    """
    cells = scores.melt([*GROUP, "arm", "seed"], METRICS, "metric")
    by_seed = cells.groupby([*GROUP, "arm", "metric", "seed"], sort=False)["value"].mean()
    over_seeds = by_seed.groupby([*GROUP, "arm", "metric"], sort=False)
    return over_seeds.agg(mean="mean", deviation="std", seeds="count").reset_index()


def beside(ours: pd.DataFrame, published: pd.DataFrame, rows: Mapping[str, str]) -> pd.DataFrame:
    """`summary` with the published cells; a cell that only one of the two has stays, the other side NaN.

    published: rows of `published.table`; rows: its row for each of our arms.
    Further columns: published, published_deviation, flag.
    """
    arms = {row: arm for arm, row in rows.items()}
    cells = published[published["row"].isin(arms) & published["metric"].isin(METRICS)]
    cells = cells.assign(arm=cells["row"].map(arms)).rename(
        columns={"value": "published", "deviation": "published_deviation"}
    )
    kept = [*GROUP, "arm", "metric", "published", "published_deviation", "flag"]
    tasks = ours["task"].unique()
    both = ours.merge(cells.loc[cells["task"].isin(tasks), kept], "outer", [*GROUP, "arm", "metric"], sort=False)
    order = list(dict.fromkeys([*rows, *ours["arm"]]))
    return both.sort_values("arm", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)


def printed(table: pd.DataFrame, budget: str) -> pd.DataFrame:
    """`beside` as the paper prints its tables: a line per arm and source, mean ± deviation over seeds.

    budget: its name, for cells that it does not run.
    """
    cells: dict[tuple[str, str], dict[str, str | None]] = {}
    for row in table.to_dict("records"):
        metric = row["metric"]
        column = f"{row['data']}, {level(row['task'], row['degradation'])}: {HEADERS[metric]}"
        theirs = _cell(row["published"], row["published_deviation"], metric, row["flag"])
        cells.setdefault((row["arm"], "ours"), {})[column] = _cell(row["mean"], row["deviation"], metric)
        cells.setdefault((row["arm"], "published"), {})[column] = theirs
    wide = pd.DataFrame.from_dict(cells, orient="index").rename_axis(["arm", "scores"])
    ours = wide.index.get_level_values("scores") == "ours"
    run = [column for column in wide if wide.loc[ours, column].notna().any()]
    wide = wide[[*run, *(column for column in wide if column not in run)]]
    missing = pd.Series(ours, wide.index).map({True: f"not run at {budget}", False: "not published"})
    return wide.apply(lambda column: column.fillna(missing)).reset_index()


def level(task: str, degradation: float) -> str:
    """A degradation in words: `sigma 50` or `x4`."""
    return f"sigma {degradation:g}" if task == "denoise" else f"x{degradation:g}"


def image_changes(scores: pd.DataFrame, control: str) -> pd.DataFrame:
    """What each image gains over the arm `control`, paired by seed, then averaged over seeds.

    Columns: task, data, degradation, arm, image, psnr (dB) and ssim, each a difference.
    Raises AblationError where a score has no partner.
    """
    arms = list(scores["arm"].unique())
    if control not in arms:
        raise AblationError(f"control must be one of {', '.join(arms)}, got {control!r}")
    wide = scores.pivot_table(METRICS, [*GROUP, "seed", "image"], "arm", sort=False)
    if wide.isna().any(axis=None):
        *_, image = wide.index[wide.isna().any(axis=1)][0]
        raise AblationError(f"every arm must score every image with every seed, got a gap at image {image}")
    parts = []
    for arm in arms:
        change = pd.DataFrame({metric: wide[metric][arm] - wide[metric][control] for metric in METRICS})
        parts.append(change.groupby([*GROUP, "image"], sort=False).mean().reset_index().assign(arm=arm))
    changes = pd.concat(parts, ignore_index=True)[[*GROUP, "arm", "image", *METRICS]]
    return changes[changes["arm"] != control].reset_index(drop=True)


def effects(scores: pd.DataFrame, control: str, within: Sequence[str] = ()) -> pd.DataFrame:
    """Every other arm minus `control`, paired by seed, per task, data set, degradation and metric.

    Columns: ..., arm, metric, difference, low, high (95 %), detectable (see `stats.Effect`), seeds, and the
    Student interval over images, images_low and images_high. within: as in `stats.seed_differences`.
    """
    rows = []
    for group, part in scores.groupby(GROUP, sort=False):
        for arm, metric in itertools.product(part["arm"].unique(), METRICS):
            if arm == control:
                continue
            effect = stats.paired(stats.seed_differences(part, "arm", arm, control, metric, within=within))
            images = stats.over_images(stats.image_differences(part, "arm", arm, control, metric))
            numbers = (effect.mean, effect.low, effect.high, effect.detectable, effect.seeds, *images)
            rows.append((*group, arm, metric, *numbers))
    columns = ["difference", "low", "high", "detectable", "seeds", "images_low", "images_high"]
    return pd.DataFrame(rows, columns=[*GROUP, "arm", "metric", *columns])


def effects_beside(ours: pd.DataFrame, table: pd.DataFrame, control: str) -> pd.DataFrame:
    """`effects` with the differences of the published cells in `beside`, and the interval their deviations allow."""
    cells = table.set_index([*GROUP, "arm", "metric"])[["published", "published_deviation"]]
    found = []
    for *group, arm, metric in ours[[*GROUP, "arm", "metric"]].itertuples(index=False):
        sides = [cells.loc[(*group, name, metric)] for name in (arm, control)]
        effect = stats.published(*sides[0], *sides[1])
        found.append((effect.mean, effect.low, effect.high))
    return ours.assign(**dict(zip(("published", "published_low", "published_high"), zip(*found))))


def against_the_paper(judged: pd.DataFrame, budget: str) -> str:
    """What contradicts the paper, first and in full; else how many comparisons are on its side. Markdown.

    judged: `claims.verdicts`. budget: its name.
    """
    against = judged[judged["verdict"] == stats.CONTRADICTS]
    if against.empty:
        return f"**Nothing here contradicts the paper** at the {budget} budget ({tally(judged)})."
    lines = [
        f"- {row['it says']}: {row['comparison']}, {row['images']}, {row['metric']} is {row['ours']}, "
        f"published {row['published']}."
        for row in against.to_dict("records")
    ]
    return "\n".join([f"**Contradicts the paper** at the {budget} budget ({tally(judged)}):", "", *lines])


def tally(judged: pd.DataFrame) -> str:
    """How many verdicts of each kind: `1 supports, 3 undecided`."""
    counts = judged["verdict"].value_counts()
    return ", ".join(f"{counts[word]} {word}" for word in stats.VERDICTS if word in counts)


def effects_printed(effects: pd.DataFrame) -> pd.DataFrame:
    """`effects_beside` for people: one line each, intervals in brackets."""
    show = [FORMATS[metric].text for metric in effects["metric"]]
    columns = {
        "difference [95 %]": ("difference", "low", "high"),
        "smallest detectable": ("detectable",),
        "over images [95 %]": ("difference", "images_low", "images_high"),
        "published [95 %]": ("published", "published_low", "published_high"),
    }
    where = [f"{row.data}, {level(row.task, row.degradation)}" for row in effects[GROUP].itertuples()]
    metrics = effects["metric"].map(HEADERS)
    table = pd.DataFrame({"images": where, "arm": effects["arm"].to_list(), "metric": metrics.to_list()})
    for header, names in columns.items():
        numbers = effects[list(names)].itertuples(index=False)
        table[header] = [text(*row) or NOT_KNOWN.get(header, "") for text, row in zip(show, numbers)]
    table["smallest detectable"] = table["smallest detectable"].str.removeprefix("+")
    return table.assign(seeds=effects["seeds"].to_list())


def in_words(effect: pd.Series) -> str:
    """A row of `effects`: `PSNR +0.05 [-0.01, +0.11] dB`; without an interval where one seed gives none."""
    form = FORMATS[effect["metric"]]
    return f"{form.title} {form.text(effect['difference'], effect['low'], effect['high'])} {form.unit}".rstrip()


def _cell(mean: float, deviation: float, metric: str, flag: object = "") -> str | None:
    if pd.isna(mean):
        return None
    digits = DIGITS[metric]
    spread = f" ± {deviation:.{digits}f}" if pd.notna(deviation) else ""
    return f"{mean:.{digits}f}{spread}{' (!)' if isinstance(flag, str) and flag else ''}"
