"""Arms of an ablation side by side: settings, tables beside the published cells, differences, networks, pictures.

Runs and scores (of `running.collect`) have labels `task`, `data`, `degradation` (sigma in 0-255 grey levels, or scale),
`arm` and `seed`; `effects` takes differences of scores. Notebooks `10_ablation_lwas_residual` to `15_search_stability`
show them.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pandas as pd
import torch

from hinas_nb.data import ImageSet
from hinas_nb.evidence import paper_effects
from hinas_nb.evidence.effects import GROUP, SCORES
from hinas_nb.experiment.config import EvaluateConfig, Task
from hinas_nb.experiment.profile import Profile, load_profile
from hinas_nb.experiment.runs import Run, producer_of
from hinas_nb.method.network import DerivedNetwork
from hinas_nb.running.compute import genotype_of, restorer, unmade
from hinas_nb.running.store import Store
from hinas_nb.scoring import showcase, units
from hinas_nb.scoring.showcase import Showcase

_NOT_KNOWN = {"published [95 %]": "not published", "smallest detectable": "needs two seeds"}
HEADERS = {name: units.METRICS[name].header for name in SCORES}


def degradations(budget: Profile, task: Task) -> dict[float, dict]:
    """Return the axis `degradation` of a grid: every sigma of the budget, or every scale, all from one search."""
    if task == "denoise":
        return {sigma: {"train.sigma": sigma, "evaluate.sigma": sigma} for sigma in budget.sigmas}
    return {scale: {"train.scale": scale, "evaluate.scale": scale} for scale in budget.scales}


def scored_on(base: EvaluateConfig, names: Sequence[str] = ()) -> dict[str, dict]:
    """Return the axis `data` of a grid: the named sets for super-resolution, else the one that `base` scores."""
    chosen = names if names and base.protocol.task == "sr" else [base.data]
    return {name: {"evaluate.data": name} for name in chosen}


def shown_at(budget: Profile) -> dict[str, float]:
    """Return the degradation whose pictures are shown, by task: the middle sigma and the last scale of the budget.

    As in the paper's figures: 50 of 30, 50 and 70; x4 of x2, x3 and x4.
    """
    return {"denoise": budget.sigmas[len(budget.sigmas) // 2], "sr": budget.scales[-1]}


def level(task: str, degradation: float = math.nan) -> str:
    """Return a degradation in words, `sigma 50` or `x4`; the task where there is none."""
    if math.isnan(degradation):
        return {"denoise": "denoising", "sr": "super-resolution"}[task]
    return f"sigma {degradation:g}" if task == "denoise" else f"x{degradation:g}"


def settings(budget: Profile, bases: Mapping[Task, EvaluateConfig]) -> pd.DataFrame:
    """Return the settings of each task's training and of its search (`genotype.`) beside the published ones."""
    paper, shown = load_profile("paper"), {}
    for task, base in bases.items():
        shown[f"{task}, {budget.name}"] = base.model
        shown[f"{task}, published"] = paper.train(task, paper.search(task))
    table = pd.json_normalize([config.identity() for config in shown.values()]).T.astype(str).fillna("none")
    return table.set_axis(list(shown), axis=1)


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over images, then mean and standard deviation over seeds: one row per arm and metric.

    Columns: task, data, degradation, arm, metric, mean, deviation (NaN for one seed), seeds.
    """
    cells = scores.melt([*GROUP, "arm", "seed"], SCORES, "metric")
    by_seed = cells.groupby([*GROUP, "arm", "metric", "seed"], sort=False)["value"].mean()
    over_seeds = by_seed.groupby([*GROUP, "arm", "metric"], sort=False)
    return over_seeds.agg(mean="mean", deviation="std", seeds="count").reset_index()


def beside(scores: pd.DataFrame, numbers: Iterable[int]) -> pd.DataFrame:
    """Return the `summary` with the cells of published tables; a cell that only one of the two has stays.

    Which row of a table is which arm stands in `params/claims.yaml`.
    Further columns: published, published_deviation, flag.
    """
    ours, cells = summary(scores), pd.concat(map(paper_effects.of_arms, numbers))
    cells = cells[cells["metric"].isin(SCORES) & cells["task"].isin(ours["task"]) & cells["arm"].isin(ours["arm"])]
    cells = cells.rename(columns={"value": "published", "deviation": "published_deviation"})
    key = [*GROUP, "arm", "metric"]
    both = ours.merge(cells[[*key, "published", "published_deviation", "flag"]], "outer", key, sort=False)
    order = list(dict.fromkeys([*cells["arm"], *ours["arm"]]))
    return both.sort_values("arm", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)


def printed(table: pd.DataFrame, numbers: Mapping[str, int], budget: str) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yield the number of each published table, and `beside` as the paper prints it.

    Ours are mean ± deviation over seeds. numbers: of the tables, by task. budget: its name, for cells it does not run.
    """
    for task, number in numbers.items():
        if task in set(table["task"]):
            yield number, _printed(table[table["task"] == task], budget)


def image_changes(scores: pd.DataFrame, control: str) -> pd.DataFrame:
    """Return what each image gains over the arm `control`, paired by seed, then averaged over seeds.

    Columns: task, data, degradation, arm, image, psnr (dB) and ssim, each a difference.
    Raises ValueError where a score has no partner.
    """
    arms = list(scores["arm"].unique())
    if control not in arms:
        raise ValueError(f"control must be one of {', '.join(arms)}, got {control!r}")
    wide = scores.pivot_table(SCORES, [*GROUP, "seed", "image"], "arm", sort=False)
    if wide.isna().any(axis=None):
        *_, image = wide.index[wide.isna().any(axis=1)][0]
        raise ValueError(f"every arm must score every image with every seed, got a gap at image {image}")
    changes = wide.sub(wide.xs(control, axis=1, level="arm"), level=0).drop(columns=control, level="arm")
    means = changes.groupby([*GROUP, "image"], sort=False).mean()
    parts = [means.xs(arm, axis=1, level="arm").reset_index().assign(arm=arm) for arm in arms if arm != control]
    return pd.concat(parts, ignore_index=True)[[*GROUP, "arm", "image", *SCORES]]


def bars(found: pd.DataFrame, control: str, task: str, degradation: float) -> pd.DataFrame:
    """Return the effects over a control as `figures.effect_plot` takes them: of a task, at a degradation."""
    rows = found[(found["control"] == control) & (found["task"] == task) & (found["degradation"] == degradation)]
    return rows.assign(arm=rows["treatment"], group=rows["data"] + ", " + rows["metric"].map(HEADERS))


def readable(found: pd.DataFrame) -> pd.DataFrame:
    """Return effects for people, one line each, intervals in brackets; published ones where they stand beside."""
    columns = {
        "difference [95 %]": ("difference", "low", "high"),
        "smallest detectable": ("detectable",),
        "over images [95 %]": ("difference", "images_low", "images_high"),
        "published [95 %]": ("published", "published_low", "published_high"),
    }
    metrics = [units.METRICS[name] for name in found["metric"]]
    places = zip(found["data"], map(level, found["task"], found["degradation"]))
    shown = pd.DataFrame({"images": [", ".join(filter(None, place)) for place in places]})
    shown["comparison"] = (found["treatment"] + " - " + found["control"]).to_list()
    shown["metric"] = [metric.header for metric in metrics]
    for header, names in columns.items():
        if set(names) <= set(found):
            rows = zip(metrics, found[list(names)].astype(float).itertuples(index=False))
            shown[header] = [metric.text(*row) or _NOT_KNOWN.get(header, "") for metric, row in rows]
    shown["smallest detectable"] = shown["smallest detectable"].str.removeprefix("+")
    return shown.assign(seeds=found["seeds"].to_list())


def in_words(effect: pd.Series) -> str:
    """Return an effect as `PSNR +0.05 [-0.01, +0.11] dB`; without an interval where one seed gives none."""
    metric = units.METRICS[effect["metric"]]
    return f"{metric.title} {metric.text(effect['difference'], effect['low'], effect['high'])} {metric.unit}".rstrip()


def networks(runs: Sequence[Run], store: Store) -> pd.DataFrame:
    """Return the derived network of every scored training, without weights: labels, `network` and what it costs.

    Columns live and released: trainable parameters, see `network.DerivedNetwork`; parameters_m: those at the published
    base width, in millions; search: seconds its search took, NaN without one. A training appears once.
    """
    rows = {}
    for run in runs:
        training = run.config.model
        if training == "input" or training in rows:
            continue
        net = unmade(genotype_of(training, store), training)
        with torch.device("meta"):
            wide = DerivedNetwork(net.genotype, net.task, None, net.width_factors, training.scale, training.residual)
        counts = {"live": net.parameters_live, "released": net.parameters_released}
        counts["parameters_m"] = wide.parameters_live / 1e6
        producer = producer_of(training)
        spent = store.folder(producer).note().seconds if producer else math.nan
        rows[training] = run.labels | {"network": net, "search": spent} | counts
    return pd.DataFrame(rows.values())


def sizes(found: pd.DataFrame, numbers: Iterable[int]) -> pd.DataFrame:
    """Return parameters per task, degradation and arm, over the seeds of `networks`, beside the published range.

    In millions. numbers: of the published tables, see `beside`.
    """
    grouped = found.groupby(["task", "degradation", "arm"], sort=False)
    spans = grouped[["live", "released"]].agg(_span).reset_index()
    cells = pd.concat(map(paper_effects.of_arms, numbers))
    cells = cells[cells["metric"].str.startswith("parameters")]
    texts = cells.groupby(["task", "arm"])["value"].agg(lambda values: _span(values * 1e6))
    spans["published (M)"] = [texts.get(key, "not published") for key in zip(spans["task"], spans["arm"])]
    spans["search, median (s)"] = grouped["search"].median().to_numpy()
    return spans.rename(columns={"live": "live (M)", "released": "as the release counts (M)"})


def across(arms: Mapping[str, EvaluateConfig], store: Store, images: ImageSet, image: str) -> Showcase:
    """Return one image clean, degraded and as every arm restores it, computed anew, with its scores.

    Raises DataError; ValueError where an arm is not trained.
    """
    shown = {
        arm: showcase.compare(restorer(config, store), images, image, config.protocol) for arm, config in arms.items()
    }
    parts = list(shown.values())
    columns = [*parts[0].columns[:2], *((arm, part.columns[2][1]) for arm, part in shown.items())]
    return Showcase(columns, [*parts[0].lines[:2], *(part.lines[2] for part in parts)], parts[-1].restored)


def evaluations(runs: Sequence[Run], **labels) -> dict[str, EvaluateConfig]:
    """Return the one evaluation of every arm that carries these labels. Raises ValueError for none or several."""
    found = [run for run in runs if all(run.labels.get(name) == value for name, value in labels.items())]
    arms = {run.labels["arm"]: run.config for run in found}
    if not arms or len(arms) < len(found):
        raise ValueError(f"labels must choose one Run per arm, got {len(found)} Runs of {len(arms)} arms: {labels}")
    return arms


def chosen_images(names: Sequence[str], wanted: Sequence[str], gains: pd.Series) -> dict[str, str]:
    """Return the images to show and why: those of the paper that the set has, then the lowest and the highest change.

    gains: by image. None of them is chosen by eye.
    """
    shown = {name: "shown in the paper" for name in wanted if name in names}
    for name, why in ((gains.idxmin(), "the lowest change"), (gains.idxmax(), "the highest change")):
        shown[name] = f"{shown[name]}, {why}" if name in shown else why
    return shown


def _printed(table: pd.DataFrame, budget: str) -> pd.DataFrame:
    """Return a line per arm and source."""
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


def _cell(mean: float, deviation: float, metric: str, flag: object = "") -> str | None:
    if pd.isna(mean):
        return None
    digits = units.METRICS[metric].digits
    spread = f" ± {deviation:.{digits}f}" if pd.notna(deviation) else ""
    return f"{mean:.{digits}f}{spread}{' (!)' if isinstance(flag, str) and flag else ''}"


def _span(counts: pd.Series) -> str:
    low, high = (f"{count / 1e6:.3g}" for count in (counts.min(), counts.max()))
    return low if low == high else f"{low}-{high}"
