"""Tables 10 to 12 rebuilt: every published row beside what was trained, counted and timed here, and what parts them.

`comparison` has the Runs. Notebooks `20_denoising_comparison` and `21_super_resolution_comparison` show the tables.
"""

import math
from collections.abc import Iterable, Mapping

import pandas as pd

from hinas_nb.comparators import TABLE, TRAINING_FREE
from hinas_nb.evidence import ablation, paper_tables, rivals
from hinas_nb.evidence.ablation import SCORES
from hinas_nb.evidence.rivals import HINAS
from hinas_nb.experiment.config import Comparator, Task
from hinas_nb.experiment.profile import Profile
from hinas_nb.scoring import units

FILTERS = {TABLE[name].title: TABLE[name].file for name in TRAINING_FREE}
EXPLAINED = 2.0  # percent; a count that is farther from a published one needs its reason
PUBLISHED_ONLY, OURS_ALONE = "published only", "not in the paper"


def rows(task: Task) -> dict[str, str]:
    """Published rows that can be built here, by what we call them."""
    built = {rivals.title(Comparator(name=name)): row for name, row in rivals.ROWS[task].items()}
    same = {HINAS: "HiNAS"} | ({name: name for name in ("bicubic", rivals.DISTILLED)} if task == "sr" else {})
    return same | built


def accuracy(number: int, scores: pd.DataFrame, budget: Profile) -> pd.DataFrame:
    """Return a line for each system (and scale), the published first and in their order; cells are `PSNR (dB) / SSIM`.

    scores: as `running.collect` gives them, with the labels of `labelled`; levels that the table has not are left out.
    """
    cells, task = _cells(number)
    cells = cells[cells["metric"].isin(SCORES)]
    own = scores[scores["task"].eq(task) & scores["degradation"].isin(cells["degradation"])]
    sides = [("published", cells)]
    if len(own):
        sides.append((f"ours, {budget.name}", ablation.summary(own).assign(flag="").rename(columns={"mean": "value"})))
    lines: dict[tuple[str, str], dict[str, list[str]]] = {}
    heads: dict[str, list[str]] = {}
    for side, table in sides:
        for cell in table.to_dict("records"):
            level = ablation.level(task, cell["degradation"])
            head = f"{cell['data']}, {level}" if task == "denoise" else cell["data"]
            line = lines.setdefault(("" if task == "denoise" else level, cell["arm"]), {})
            line.setdefault(f"{head}: {side}", []).append(_score(cell["metric"], cell["value"], cell["flag"]))
            heads.setdefault(head, []).append(f"{head}: {side}")
    columns = list(dict.fromkeys(column for found in heads.values() for column in found))
    columns += [] if len(own) else [f"ours, {budget.name}"]
    protocols, ran = _protocols(number), set(scores["arm"])
    tested = own.groupby(["arm", "data"], sort=False)["image"].nunique()
    table = []
    for level, arm in sorted(lines, key=lambda key: key[0]):
        line = {column: " / ".join(texts) for column, texts in lines[level, arm].items()}
        why = _absent(arm, task, ran, budget)
        row = {"scale": level, "system": _shown(arm, task)}
        row |= {column: why if "ours" in column else "" for column in columns} | line
        row["published protocol"] = protocols.get(arm, OURS_ALONE)
        mine = any("ours" in column for column in line)
        images = [f"{data}: {count}" for data, count in tested[arm].items()] if mine else []
        row["our protocol (images)"] = f"{task}-standard ({', '.join(images)})" if mine else ""
        table.append(row)
    return pd.DataFrame(table).drop(columns=[] if task == "sr" else "scale")


def parameters(number: int, sizes: pd.DataFrame) -> pd.DataFrame:
    """Counts both ways: what the table and a system's own paper print, and what the network has that runs here.

    sizes: `rivals.sizes`, of several scales where the table has them.
    """
    cells, task = _cells(number)
    printed: dict[tuple[str, float], list[float]] = {}
    for cell in cells[cells["metric"].str.startswith("parameters")].to_dict("records"):
        printed.setdefault((cell["arm"], _scale(cell["degradation"])), []).append(cell["value"])
    counted = {(row["network"], _scale(row["scale"])): row for row in sizes.to_dict("records")}
    scales = {scale for _, scale in printed}
    keys = [*printed, *(key for key in counted if key not in printed and key[1] in scales)]
    table = []
    for name, scale in sorted(keys, key=lambda key: key[1]):
        theirs = [1e6 * value for value in printed.get((name, scale), []) if not math.isnan(value)]
        own = counted.get((name, scale), {})
        paper = [own["own paper"]] if own.get("own paper", math.nan) > 0 else []
        off = [_beyond(own.get("parameters", math.nan), counts) for counts in (theirs, paper)]
        far = any(abs(percent) > EXPLAINED for percent in off)
        table.append({
            "scale": f"x{scale:g}", "system": _shown(name, task),
            "this table (M)": "-".join(f"{count / 1e6:g}" for count in theirs) or "none",
            "its own paper": "".join(f"{count:,.0f}" for count in paper),
            "counted here": f"{own['parameters']:,}" if own else PUBLISHED_ONLY if theirs else "",
            "as the release counts": f"{own['released']:,.0f}" if own.get("released", math.nan) > 0 else "",
            "off this table (%)": _percent(off[0]), "off its paper (%)": _percent(off[1]),
            "why, where more than 2 %": own["reason"] if far else "",
        })  # fmt: skip
    return pd.DataFrame(table).drop(columns=[] if task == "sr" else "scale")


def speeds(number: int, measured: pd.DataFrame, sizes: pd.DataFrame) -> pd.DataFrame:
    """Published and measured seconds of every system that has either, and how many times HiNAS's each is.

    measured, sizes: `rivals.measured` and `rivals.sizes`, of several scales where the table has them.
    Columns: those of `measured`, then published (s), published times, multiply-adds.
    """
    cells, _ = _cells(number)
    cells = cells[cells["metric"] == "time_s"]
    theirs = cells.assign(scale=cells["degradation"].map(_scale))[["arm", "scale", "value"]]
    theirs = theirs.set_axis(["network", "scale", "published"], axis=1)
    first = theirs[theirs["network"] == HINAS].set_index("scale")["published"]
    theirs["published times"] = theirs["published"] / theirs["scale"].map(first)
    mine = measured.assign(scale=measured["scale"].map(_scale))
    mine = mine[mine["scale"].isin(theirs["scale"])]
    both = theirs.merge(mine, "outer", ["network", "scale"], sort=False)
    counts = sizes.assign(scale=sizes["scale"].map(_scale))[["network", "scale", "multiply-adds"]]
    both = both.merge(counts, "left", ["network", "scale"])
    order = list(dict.fromkeys([*theirs["network"], *mine["network"]]))
    both = both[both["published"].notna() | both["seconds"].notna()].assign(part=both["part"].eq(True))
    place = both["network"].map(order.index)
    return both.assign(place=place).sort_values(["scale", "place"], ignore_index=True).drop(columns="place")


def speeds_printed(table: pd.DataFrame, whole: str) -> pd.DataFrame:
    """`speeds` for people. whole: the image that seconds are of."""
    lines, task = [], "sr" if (table["scale"] > 0).any() else "denoise"
    for row in table.to_dict("records"):
        timed = not math.isnan(row["seconds"])
        interval = _interval(row, "seconds", "seconds low", "seconds high")
        times = _interval(row, "times HiNAS", "times low", "times high")
        count = row["multiply-adds"]
        lines.append({
            "scale": f"x{row['scale']:g}", "system": _shown(row["network"], task),
            f"multiply-adds, {whole} (G)": "" if math.isnan(count) else f"{float(f'{count / 1e9:.3g}'):,g}",
            "published (s)": "" if math.isnan(row["published"]) else f"{row['published']:g}",
            "published, times HiNAS": "" if math.isnan(row["published"]) else short(row["published times"]),
            f"measured, {whole} (s)": interval if timed else "not timed here",
            "measured, times HiNAS": "" if not timed else "1" if row["network"] == HINAS else times,
            "timed on": "" if not timed else "a part, scaled by pixels" if row["part"] else "the whole image",
        })  # fmt: skip
    return pd.DataFrame(lines).drop(columns=[] if task == "sr" else "scale")


def short(value: float) -> str:
    """Two digits: `0.012`, `4.3`, `430`."""
    return f"{value:.2g}" if value < 100 else f"{float(f'{value:.2g}'):,.0f}"


def others(times: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return all but HiNAS of several `speeds`, at the scales that were timed; named with it where there are more."""
    timed = [own[own["scale"].isin(own.loc[own["seconds"].notna(), "scale"])] for own in times]
    found = pd.concat(timed, ignore_index=True)
    found = found[found["network"] != HINAS].reset_index(drop=True)
    several = found["scale"].nunique() > 1
    return found.assign(network=found["network"] + (found["scale"].map(", x{:g}".format) if several else ""))


def slower(others: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return those of `others` that the paper has slower than HiNAS and that run here, and how many are slower here."""
    found = others[others["times HiNAS"].notna() & (others["published times"] > 1)]
    return found, int((found["times low"] > 1).sum())


def in_words(standings: pd.DataFrame, others: pd.DataFrame, counts: pd.DataFrame) -> str:
    """Return the answer of a comparison. standings: of `rivals`; counts: `parameters` of all tables."""
    over, (found, survive) = standings.loc[standings["arm"] != HINAS, "over"].dropna(), slower(others)
    spent = f"the others took {over.min():.2f} to {over.max():.2f} times its seconds; " if len(over) else ""
    off = counts[["off this table (%)", "off its paper (%)"]].replace("", "nan").astype(float)
    off = off.abs().max(axis=1).dropna()
    return (
        f"Trained for as long as foretold ({spent}one training each, intervals over images), "
        f"{gains_in_words(standings)}. Of {len(found)} systems that the paper has slower and that run here, {survive} "
        f"are slower here, in multiples of HiNAS's time: {times_in_words(found)}. Of {len(off)} counts of parameters "
        f"{(off > EXPLAINED).sum()} are more than {EXPLAINED:g} % off a published one."
    )


def gains_in_words(standings: pd.DataFrame) -> str:
    """Return what each other gains over HiNAS in PSNR after equal time, from `rivals.standings`."""
    clauses = []
    for where, own in standings[standings["arm"] != HINAS].groupby("images", sort=False):
        rows = own[["arm", "psnr", "psnr_low", "psnr_high"]].itertuples(index=False)
        said = [f"{arm} {units.METRICS['psnr'].text(*numbers)} dB" for arm, *numbers in rows]
        shown = where.replace("fifth-of-", "every fifth image of ")
        clauses.append(f"{shown}: against {HINAS} {', '.join(said)}")
    return "; ".join(clauses) or "nothing else is trained"


def times_in_words(times: pd.DataFrame) -> str:
    """Return how many times HiNAS's time each other takes, measured and published, from `speeds`."""
    said = [
        f"{row['network']} {short(row['times HiNAS'])} (published {short(row['published times'])})"
        for row in times.to_dict("records")
    ]
    return ", ".join(said) or "none"


def leads(scores: pd.DataFrame) -> pd.DataFrame:
    """Return what HiNAS gains over each image's best other (in PSNR), as `ablation.image_changes` of one arm."""
    key = [*ablation.GROUP, "image"]
    wide = scores.pivot_table(SCORES, key, "arm", sort=False)
    best = wide["psnr"].drop(columns=HINAS).idxmax(axis=1)
    lead = {metric: [wide.loc[at, (metric, HINAS)] - wide.loc[at, (metric, arm)] for at, arm in best.items()]
            for metric in SCORES}  # fmt: skip
    return pd.DataFrame(lead, wide.index).reset_index().assign(arm=f"{HINAS} over the best other", best=best.to_list())


def _interval(row: Mapping, middle: str, low: str, high: str) -> str:
    return f"{short(row[middle])} [{short(row[low])}, {short(row[high])}]"


def _absent(arm: str, task: Task, ran: set[str], budget: Profile) -> str:
    """Return in words why a system has no score of ours."""
    if arm in ran:
        return f"not run at {budget.name}"
    if arm in FILTERS:
        return f"not run at {budget.name}" if arm == TABLE[rivals.MINUTES].title else "not installed"
    return f"not trained at {budget.name}" if arm in rows(task) else PUBLISHED_ONLY


def _shown(arm: str, task: Task) -> str:
    """Return a system as the paper calls it, and what stands for it here."""
    row = rows(task).get(arm, arm)
    return row if row == arm else f"{row}; here {arm}"


def _protocols(number: int) -> dict[str, str]:
    """Return, by system, how the published row was scored, as far as it is known."""
    origins, names = paper_tables.origins(number), {row: name for name, row in rows(_cells(number)[1]).items()}
    found = origins["scored"].where(origins["scored"] != "", origins["note"])
    return {names.get(row, row): text for row, text in zip(origins["row"], found)}


def _cells(number: int) -> tuple[pd.DataFrame, Task]:
    """`paper_tables.table` with our names of the systems as `arm`; and the task."""
    table = paper_tables.table(number)
    names = {row: name for name, row in rows(table["task"][0]).items()}
    return table.assign(arm=[names.get(row, row) for row in table["row"]]), table["task"][0]


def _score(metric: str, value: float, flag: str) -> str:
    return "-" if math.isnan(value) else f"{value:.{units.METRICS[metric].digits}f}{paper_tables.MARK if flag else ''}"


def _scale(value: float | None) -> float:
    """Return the scale, 0 for denoising, whose times and counts have none."""
    return 0.0 if value is None or math.isnan(value) else float(value)


def _beyond(count: float, known: list[float]) -> float:
    """Return by how many percent a count is off what is known, or off the nearer end of a range; NaN: nothing known."""
    if not known or math.isnan(count):
        return math.nan
    return 100 * (count / min(max(count, min(known)), max(known)) - 1)


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{value:+.1f}"
