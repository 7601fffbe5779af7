"""Accuracy against time, size and multiply-adds (figure 14): who is beaten by whom, and where time and arithmetic part.

A *point* is a network in one panel of a figure: what it costs (x), its score (y), and whether it is on the Pareto
front of that panel. Notebook `22_trade_off`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from hinas_nb.evidence import ablation, paper_tables, stats, system_tables
from hinas_nb.evidence.rivals import AS_PUBLISHED
from hinas_nb.experiment.config import Task
from hinas_nb.settings import ConfigError

_METRICS = ablation.HEADERS
#: The test images of figure 14, as the tables of this collection name them.
IMAGES = {"denoise": "BSDS500", "sr": "B100"}
#: What the published seconds are of, by number of the table.
PUBLISHED_TIME = {10: "200 images, GTX 1080 Ti", 11: "100 images, GTX 1080 Ti", 12: "images not said, GTX 1080 Ti"}
GIGA = "multiply-adds (G)"  # of the image that is timed
_MULTIPLY_ADD = 2  # floating-point operations
_OF_A_NETWORK = ["parameters", "own paper", "reason", "file"]
_READABLE = {
    "level": "level", "network": "system", "published as": "row of the table", "file": "file",
    "parameters": "parameters", "own paper": "in its own paper", "published (M)": "in the table (M)",
    "reason": "why they differ", GIGA: GIGA, "ms": "milliseconds", "times HiNAS": "times HiNAS's",
    "published, times HiNAS": "published, times HiNAS's", "PSNR (dB)": "our PSNR (dB)", "SSIM": "our SSIM",
}  # fmt: skip
_PART = {True: " *", False: ""}
_OF_A_TIME = ["seconds", "seconds low", "seconds high", "times HiNAS", "part"]


def table_number(task: Task, level: float) -> int:
    """Return the table that has the accuracies of figure 14 at this sigma or scale."""
    return 10 if task == "denoise" else 11 if level == 3 else 12


def pareto(costs: Sequence[float], scores: Sequence[float]) -> np.ndarray:
    """Return whether no other point costs at most as much, scores at least as high, and differs; NaN is on no front."""
    costs, scores = np.asarray(costs, float), np.asarray(scores, float)
    known = np.isfinite(costs) & np.isfinite(scores)
    cheaper, better = costs[:, None] < costs, scores[:, None] > scores
    beats = ~cheaper.T & ~better.T & (cheaper | better)  # the network of the row that of the column
    return known & ~beats[known].any(axis=0)


def printed(task: Task, level: float) -> pd.DataFrame:
    """Return the published table's rows. Columns: published as, published PSNR (dB), published SSIM, published (s),
    published (M parameters; the upper end of a range), doubt ("" or why its score is drawn hollow). The last rows are
    of systems that no table has, with the scores of their own papers.

    Doubtful are flagged cells, and rows whose scores were made in a way known to be another. Raises ConfigError.
    """
    number = table_number(task, level)
    cells = paper_tables.table(number)
    asked = cells["degradation"].isin([level]) | cells["degradation"].isna()
    scores = cells["metric"].isin(_METRICS) & cells["data"].eq(IMAGES[task])
    if not (asked & scores).any():
        levels = " ".join(f"{one:g}" for one in sorted(cells["degradation"].dropna().unique()))
        raise ConfigError(f"level of {task} must be one that table {number} has ({levels}), got {level:g}")
    cells = cells[asked & (scores | cells["metric"].isin(["time_s", "parameters_m"]))]
    rows = cells.pivot(index="row", columns="metric", values="value").reindex(cells["row"].unique())
    flags = cells[cells["metric"].isin(_METRICS)].groupby("row")["flag"].agg(lambda own: "; ".join(filter(None, own)))
    origin = paper_tables.origins(number).drop_duplicates("row").set_index("row")
    elsewhere = origin["scored"].where(origin["comparable"] == "no", "").reindex(rows.index)
    doubt = [flag or other for flag, other in zip(flags.reindex(rows.index, fill_value=""), elsewhere)]
    names = {"psnr": "published PSNR (dB)", "ssim": "published SSIM", "time_s": "published (s)"}
    rows = rows.rename(columns=names | {"parameters_m": "published (M)"}).assign(doubt=doubt)
    rows = rows[[*names.values(), "published (M)", "doubt"]].rename_axis("published as").reset_index()
    more = paper_tables.elsewhere().assign(doubt="")
    more = more[(more["task"] == task) & (more["degradation"] == level) & (more["data"] == IMAGES[task])]
    return pd.concat([rows, more.rename(columns=names | {"system": "published as"})[[*rows.columns[:3], "doubt"]]])


def means(scores: pd.DataFrame) -> pd.DataFrame:
    """Columns: network, PSNR (dB), SSIM, and low and high of both: the 95 % interval over images.

    scores: `arm`, `psnr`, `ssim`, a row per image.
    """
    rows = []
    for network, own in scores.groupby("arm", sort=False):
        row = {"network": network}
        for metric, name in _METRICS.items():
            low, high = stats.over_images(own[metric])
            row |= {name: own[metric].mean(), f"{name} low": low, f"{name} high": high}
        rows.append(row)
    ends = [f"{name}{end}" for name in _METRICS.values() for end in ("", " low", " high")]
    return pd.DataFrame(rows, columns=["network", *ends]).astype(dict.fromkeys(ends, float))


def systems(task: Task, level: float, times: pd.DataFrame, counts: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame:
    """Return a row per network with all that is known of it: published, our scores, size and time; fastest first.

    times: `rivals.measured`; counts: `rivals.sizes`, of the same image; ours: `means`.
    Published scores of HiNAS stand with the network of published size, our own with the network that was found; so
    published times are in times HiNAS's own, measured ones in those of the network that was found.
    """
    rows = printed(task, level)
    names = {row: name for name, row in system_tables.rows(task).items()} | {"HiNAS": AS_PUBLISHED}
    rows.insert(0, "network", [names.get(row, row) for row in rows["published as"]])
    rows["published, times HiNAS"] = rows["published (s)"] / rows.set_index("network")["published (s)"][AS_PUBLISHED]
    counts = counts[["network", *_OF_A_NETWORK]].assign(**{GIGA: counts["multiply-adds"] / 1e9})
    for more in (ours, counts, times[["network", *_OF_A_TIME]]):
        rows = rows.merge(more, on="network", how="outer", sort=False)
    words = ["published as", "doubt", "file", "reason"]
    rows[words] = rows[words].fillna("")
    filters = rows["network"].map(system_tables.FILTERS)
    rows.loc[filters.notna(), "parameters"] = 0
    rows["file"] = filters.fillna(rows["file"])
    rows["part"] = rows["part"].eq(True)
    rows["GFLOP/s"] = _MULTIPLY_ADD * rows[GIGA] / rows["seconds"]
    rows.insert(0, "level", ablation.level(task, level))
    return rows.sort_values("seconds", ignore_index=True, kind="stable")


def points(known: pd.DataFrame, panel: str, by: str, published_scores: bool) -> pd.DataFrame:
    """Return the networks of one panel that have both, a row per metric, for `figures.trade_off_plot`.

    known: of `systems`; by: its column that is the cost. Columns: level, panel, metric, system (as in `systems`),
    network (as the panel names it), x, x_low, x_high, y, y_low, y_high, parameters (millions), part, doubt, front.
    Doubtful scores are on no front and beat nobody.
    """
    parts = []
    for metric, name in _METRICS.items():
        column = f"published {name}" if published_scores else name
        rows = known[known[column].notna() & known[by].notna()]
        own = rows[["level"]].assign(panel=panel, metric=metric, system=rows["network"], network=rows["network"])
        own["parameters"] = rows["parameters"] / 1e6
        own["part"], own["doubt"] = rows["part"] & (by == "seconds"), rows["doubt"] if published_scores else ""
        if published_scores:
            own["network"] = rows["published as"]
            own["parameters"] = rows["published (M)"].fillna(own["parameters"])
        for axis, of in (("x", by), ("y", column)):
            own[axis] = rows[of]
            for end in ("low", "high"):
                own[f"{axis}_{end}"] = rows.get(f"{of} {end}", pd.Series(math.nan, index=rows.index))
        own["front"] = pareto(own["x"], own["y"].where(own["doubt"] == ""))
        parts.append(own)
    return pd.concat(parts, ignore_index=True)


def rates(known: pd.DataFrame, panel: str) -> pd.DataFrame:
    """Networks with seconds and multiply-adds, for `figures.rate_plot`: x are billions of multiply-adds, y seconds."""
    rows = known[known["GFLOP/s"].notna()]
    names = {GIGA: "x", "seconds": "y", "seconds low": "y_low", "seconds high": "y_high"}
    rows = rows[["network", "part", *names]].rename(columns=names).assign(parameters=rows["parameters"] / 1e6)
    return rows.assign(panel=panel).reset_index(drop=True)


def left_out(known: pd.DataFrame, by: str, published_scores: bool) -> list[str]:
    """Return the systems with a score but without that cost, by the name the panel would have."""
    names = [f"published {name}" if published_scores else name for name in _METRICS.values()]
    rows = known[known[names].notna().any(axis=1) & known[by].isna()]
    return rows["published as" if published_scores else "network"].tolist()


def with_fronts(known: pd.DataFrame, shown: pd.DataFrame) -> pd.DataFrame:
    """Return `systems` with a column of the panels and metrics on whose front each network is. shown: of `points`."""
    own = shown[shown["front"] & shown["level"].isin(known["level"])]
    where = (own["panel"] + ": " + own["metric"].str.upper()).groupby(own["system"]).agg("; ".join)
    return known.assign(**{"on the front of": known["network"].map(where).fillna("")})


def readable(systems: pd.DataFrame) -> pd.DataFrame:
    """Return `systems` with the columns and names for people; times in milliseconds, `*` behind those of a part."""
    own = systems.assign(ms=1000 * systems["seconds"], network=systems["network"] + systems["part"].map(_PART))
    return own[list(_READABLE)].rename(columns=_READABLE)


def on_front(shown: pd.DataFrame, panel: str, network: str) -> str:
    """Return `on the front in PSNR and SSIM`, `on the front in SSIM only`, or `on no front`."""
    own = shown[(shown["panel"] == panel) & (shown["network"] == network) & shown["front"]]
    only = " only" if len(own) < len(_METRICS) else ""
    return f"on the front in {listed(own['metric'].str.upper())}{only}" if len(own) else "on no front"


def front_in_words(shown: pd.DataFrame, panel: str, network: str) -> str:
    """Return the front, cheapest first, and who beats one, as `PSNR: A and B; SSIM: B (C is beaten in SSIM by B)`."""
    own = shown[(shown["panel"] == panel) & shown["front"]].sort_values("x", kind="stable")
    fronts = {metric.upper(): listed(rows["network"]) for metric, rows in own.groupby("metric", sort=True)}
    same = len(set(fronts.values())) == 1
    said = next(iter(fronts.values())) if same else "; ".join(f"{metric}: {names}" for metric, names in fronts.items())
    beaten = [
        f"in {metric.upper()} by {listed(names)}"
        for metric in _METRICS
        if (names := beaten_by(shown, panel, metric, network))
    ]
    return said + (f" ({network} is beaten {listed(beaten)})" if beaten else "")


def beaten_by(shown: pd.DataFrame, panel: str, metric: str, network: str) -> list[str]:
    """Return the systems that are as cheap and as good as a network, and better in one of both; the cheapest first."""
    own = shown[(shown["panel"] == panel) & (shown["metric"] == metric)]
    names = []
    for mine in own[own["network"] == network].itertuples():
        others = own[(own["doubt"] == "") & (own["x"] <= mine.x) & (own["y"] >= mine.y)]
        others = others[(others["x"] < mine.x) | (others["y"] > mine.y)]
        names += others.sort_values("x")["network"].tolist()
    return names


class Parting(NamedTuple):
    """Says where time and multiply-adds part, among networks that have both."""

    kendall: float  # rank correlation of seconds and multiply-adds: 1 where more arithmetic always takes longer
    ratio: float  # of the most and the fewest multiply-adds a second
    pair: str  # the two that part most, in words
    words: str  # all of it


def parting(known: pd.DataFrame) -> Parting:
    """Return how time and multiply-adds part. known: of `systems`, at least two of them with both."""
    rows = known[known["GFLOP/s"].notna()].reset_index(drop=True)
    if len(rows) < 2:
        raise ValueError(f"time and multiply-adds must be known of two networks at least, got {len(rows)}")
    both = rows.merge(rows, how="cross", suffixes=("", ", other"))
    less, slower = both[f"{GIGA}, other"] / both[GIGA], both["seconds"] / both["seconds, other"]
    inverted = (less * slower)[(less >= 1) & (slower > 1)]
    pair = "nobody with fewer multiply-adds takes longer"
    if len(inverted):
        most = inverted.idxmax()
        pair = (
            f"{both['network'][most]} needs {less[most]:.3g} times fewer multiply-adds than "
            f"{both['network, other'][most]} and takes {slower[most]:.3g} times as long"
        )
    tau = float(kendalltau(rows["seconds"], rows[GIGA]).statistic)
    fastest, slowest = rows.loc[rows["GFLOP/s"].idxmax()], rows.loc[rows["GFLOP/s"].idxmin()]
    ratio = fastest["GFLOP/s"] / slowest["GFLOP/s"]
    words = (
        f"of {len(rows)} networks {fastest['network']} computes fastest ({fastest['GFLOP/s']:.3g} GFLOP/s) and "
        f"{slowest['network']} slowest ({slowest['GFLOP/s']:.3g}), a factor of {ratio:.3g}; "
        f"the rank correlation of time and multiply-adds is {tau:.2f}; {pair}"
    )
    return Parting(tau, ratio, pair, words)


def agreement(known: pd.DataFrame) -> tuple[int, float]:
    """Return how many networks have a published time and ours, and the rank correlation (Kendall) of the two."""
    rows = known[known["published (s)"].notna() & known["seconds"].notna()]
    return len(rows), float(kendalltau(rows["published (s)"], rows["seconds"]).statistic)


def listed(names: Sequence[str]) -> str:
    """`A, B and C`; `nobody` of none."""
    names = list(names)
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else "nobody"
