"""Tell how far a decoded genotype can be trusted: its margins, other seeds, and what random genotypes would show.

Section 3.1 keeps the largest alphas however narrowly they lead, so a decode of nearly equal alphas looks like
any other. Notebooks `03_search_denoising` and `04_search_super_resolution` print this beside each decode;
`15_search_stability` asks by which recipe, and how late, skips take over.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import mean, median
from typing import NamedTuple

import pandas as pd
import torch

from hinas_nb import data
from hinas_nb.experiment.config import SearchConfig, Space
from hinas_nb.figures.axes import edge_names, source_name
from hinas_nb.method.genotype import Genotype, edges, random_in

#: A median lead below this share of the equal weight (1/7 with seven operations) is called noise.
_NARROW = 0.1
ENOUGH_SEEDS = 3
#: What `history` says of an epoch, and `by_recipe` of a last one, by field of its record.
_HISTORY = {
    "epoch": "epoch", "weight_loss": "loss on W", "architecture_loss": "loss on A",
    "validation_psnr": "PSNR on V (dB)", "validation_ssim": "SSIM on V", "op_entropy": "entropy of alpha (nats)",
    "op_margin": "mean lead of alpha", "skip_count": "skips", "receptive_radius": "radius (pixels)",
    "searched_share": "searched share",
}  # fmt: skip
_ENDS = {"validation_psnr": "V (dB)"}
_ENDS |= {name: _HISTORY[name] for name in ("skip_count", "op_margin", "receptive_radius", "searched_share")}
#: The statistic the verdict is about, and the same beside genotypes that use each operation as often.
SHARED = "inputs two seeds share, operation included (%)"
DEALT = "the same, beside each one's own operations dealt anew (%)"


def verdict(inputs: pd.DataFrame, chance: pd.DataFrame, seeds: int, operations: int) -> str:
    """Say in one clause whether the search prefers anything.

    inputs: `decoded_inputs` of every seed; chance: `against_chance`. The clause begins with `supports`,
    `undecided` or `no evidence`.
    """
    lead, equal = inputs["margin"].median(), 1 / operations
    share = f"{100 * lead / equal:.0f} % of an equal share"
    measured = f"the operation that is kept leads the next by {lead:.2g} (median), {share}"
    if lead < _NARROW * equal:
        return f"no evidence of a preference: {measured}, so the decode is noise"
    if seeds < ENOUGH_SEEDS:
        others = "no other seed was searched" if seeds == 1 else f"only {seeds} seeds were searched"
        return f"undecided whether it is a preference: {measured}, but {others}"
    random, dealt = chance.loc[SHARED], chance.loc[DEALT]
    shared = f"two seeds share {random['found']:.0f} % of their inputs"
    beside = [
        f"{kind} {one['random']:.0f} % (p = {one['p']:.2g})"
        for kind, one in {"random ones": random, "the same with their operations dealt anew": dealt}.items()
    ]
    if dealt["p"] < 0.05:
        word = "supports a preference"
    elif random["p"] < 0.05:
        word = "no evidence of a preference other than for some operations"
    else:
        word = "no evidence of a preference"
    return f"{word}: {measured}; {shared}, {', '.join(beside)}"


def picked(records: Sequence[Mapping]) -> Mapping:
    """Return the epoch the early stop decoded: the last that was the best on V so far (section 3.3)."""
    return next((record for record in reversed(records) if record["best"]), records[-1])


def history(records: Sequence[Mapping]) -> pd.DataFrame:
    """Losses, scores and margins per epoch, and how its genotype differs.

    Unlike the epoch before, unlike the picked one: `changed` inputs and width levels.
    """
    genotypes = [Genotype.from_json(record["genotype"]) for record in records]
    chosen = Genotype.from_json(picked(records)["genotype"])
    table = pd.DataFrame(records).reindex(columns=list(_HISTORY)).rename(columns=_HISTORY)
    table["unlike the epoch before"] = [count_changes(*pair) for pair in zip([genotypes[0], *genotypes], genotypes)]
    return table.assign(**{"unlike the picked one": [count_changes(chosen, genotype) for genotype in genotypes]})


class Takeover(NamedTuple):
    """Tells when skips took over in a search: more of them, to its end, than 97.5 % of random genotypes have."""

    epoch: int | None  # the first of those; None: they have not
    at_once: bool  # in the first epoch in which alphas moved: not what section 3.3 says of long searches
    most: int  # skips that chance gives at most

    @property
    def collapsed(self) -> bool:
        """Return whether the search collapsed: skips took over after its alphas had moved without that."""
        return self.epoch is not None and not self.at_once


def takeover(records: Sequence[Mapping], space: Space) -> Takeover:
    """Return when skips took over in a search of a space. A warm-up, where alphas are equal, says nothing of it."""
    chance = against_chance([Genotype.from_json(records[-1]["genotype"])], space)
    most = int(chance.loc["skips in a genotype", "random 97.5 %"])
    moved = [record for record in records if pd.notna(record["architecture_loss"])]  # None, or NaN in a table
    calm = [record["epoch"] for record in moved if record["skip_count"] <= most]
    if not moved or (calm and calm[-1] == moved[-1]["epoch"]):
        return Takeover(None, False, most)
    return Takeover(calm[-1] + 1 if calm else moved[0]["epoch"], not calm, most)


def takeovers_in_words(searches: Mapping[int, Sequence[Mapping]], space: Space) -> str:
    """Say in one clause in which searches skips take over, and what the early stop did; searches: records by seed."""
    said = []
    for seed, records in searches.items():
        epoch, at_once, most = takeover(records, space)
        if at_once:
            said.append(f"seed {seed} at once, from epoch {epoch} on, the first in which alphas move")
        elif epoch is not None:
            stop = picked(records)["epoch"]
            when = "before that" if stop < epoch else "too late"
            said.append(f"seed {seed} collapses from epoch {epoch} on, where the early stop picked {stop}, {when}")
    if not said:
        return f"no search of {len(searches)} collapses within {len(records)} epochs (chance gives up to {most} skips)"
    ends = "ends" if len(said) == 1 else "end"
    return f"of {len(searches)} searches {len(said)} {ends} in skips (more than {most}): {'; '.join(said)}"


def longer(search: SearchConfig, times: int) -> dict[str, int]:
    """Return what makes a search `times` as long, at most the published 100 epochs; nothing if it is that long.

    V is scored from the first epoch on in which alphas move, so that the early stop has something to choose from.
    """
    epochs = min(times * search.epochs, SearchConfig.model_fields["epochs"].default)
    return {"epochs": epochs, "validate_from": search.warmup_epochs} if epochs > search.epochs else {}


def recipes(search: SearchConfig) -> dict[str, dict]:
    """Return the ways to search at this budget, by name, as changes of a search: published, changed once, and all."""
    epochs = search.epochs
    published = {
        "near_identity": False, "weight_optimizer": None, "weight_lr": 0.025, "warmup_epochs": epochs // 5,
        "architecture_lr": 1e-3, "architecture_weight_decay": 1e-3,
    }  # fmt: skip
    changes: dict[str, dict] = {
        "near identity": {"near_identity": True},
        "AdamW": {"weight_optimizer": "adamw", "weight_lr": 2e-3},
        "long warm-up": {"warmup_epochs": 3 * epochs // 5},
        "fast alphas": {"architecture_lr": 0.02, "architecture_weight_decay": 0.0},
    }
    every = {name: value for change in changes.values() for name, value in change.items()}
    return {"published": published, **{name: published | change for name, change in changes.items()}, "all": every}


def by_recipe(epochs: pd.DataFrame, space: Space) -> pd.DataFrame:
    """Return a row per recipe: how many of its searches end in skips, from which epoch on (median), and how they end.

    epochs: a row per search and epoch with labels `arm` and `seed`. The rest are means of the last epoch over seeds.
    """
    rows = []
    for recipe, searches in epochs.groupby("arm", sort=False):
        seen = [takeover(one.to_dict("records"), space) for _, one in searches.groupby("seed")]
        full = [one for one in seen if one.epoch is not None]
        row = {"recipe": recipe, "searches": len(seen), "end in skips": len(full)}
        row |= {"at once": sum(one.at_once for one in full)}
        row |= {"from epoch": median(one.epoch for one in full) if full else None}
        last = searches[searches["epoch"] == searches["epoch"].max()].mean(numeric_only=True)
        rows.append(row | {title: last[name] for name, title in _ENDS.items()})
    return pd.DataFrame(rows)


def recipes_in_words(table: pd.DataFrame) -> str:
    """Return how many searches of each recipe end in skips, and how many at once, in words; table: of `by_recipe`."""
    said = []
    for row in table.to_dict("records"):
        at_once = f" ({row['at once']} at once)" if row["at once"] else ""
        said.append(f"{row['recipe']} {row['end in skips']} of {row['searches']}{at_once}")
    return ", ".join(said)


def count_changes(before: Genotype, after: Genotype) -> int:
    """Return how many inputs (source and operation) and width levels of `after` differ from those of `before`."""
    levels = sum(a != b for a, b in zip(before.levels, after.levels))
    return len(_inputs(after) - _inputs(before)) + levels


def differences(before: Genotype, after: Genotype) -> pd.DataFrame:
    """Return every input of `after` that `before` has not, and the one it stands for: layer, edge, before, after."""
    rows = []
    for layer, cells in enumerate(zip(before.cells, after.cells), 1):
        for node, (had, has) in enumerate(zip(*cells)):
            gone = [one for one in had if one not in has]
            # Of two changed inputs those belong together that kept their source, or else their operation.
            kept = 1 if {source for _, source in had} == {source for _, source in has} else 0
            come = sorted((one for one in has if one not in had), key=lambda one: one[kept] != gone[0][kept])
            for pair in zip(gone, come):
                rows.append((layer, f"node {node}", *(f"{name} from {source_name(index)}" for name, index in pair)))
    return pd.DataFrame(rows, columns=["layer", "input of", "before", "after"])


def decoded_inputs(record: Mapping, operations: Sequence[str]) -> pd.DataFrame:
    """Return every input of the record's genotype: weight, runner-up, how far it leads, and the weight of `none`."""
    genotype = Genotype.from_json(record["genotype"])
    order, rows = edges(genotype.nodes), []
    names = edge_names(len(order))
    for layer, (cell, weights) in enumerate(zip(genotype.cells, record["op_weights"]), 1):
        for node, inputs in enumerate(cell):
            for operation, source in inputs:
                edge = order.index((node, source))
                shares = dict(zip(operations, weights[edge]))
                rest = {name: share for name, share in shares.items() if name not in ("none", operation)}
                second = max(rest, key=rest.get, default="")
                weight, none = shares[operation], shares.get("none", 0.0)
                rows.append((layer, names[edge], operation, weight, second, weight - rest.get(second, 0.0), none))
    return pd.DataFrame(rows, columns=["layer", "edge", "operation", "weight", "runner-up", "margin", "none"])


def against_chance(genotypes: Sequence[Genotype], space: Space, draws: int = 500) -> pd.DataFrame:
    """Set statistics of the found genotypes beside those of as many random ones, `draws` times (Monte Carlo).

    Columns: found, the random ones' mean (`random`) and 2.5 % and 97.5 % quantiles, and p, the share of
    random draws that reach what was found (one-sided, never 0). What seeds share needs two genotypes; one bias that all
    searches have, such as for skips, makes them agree as well, so that it also stands beside what they share when each
    one's operations are dealt anew to its inputs.
    """
    generator, found = data.stream(0, "chance"), pd.Series(_statistics(genotypes))
    drawn = [[random_in(space, generator) for _ in genotypes] for _ in range(draws)]
    random = pd.DataFrame([_statistics(sample) for sample in drawn])
    if SHARED in found:
        dealt = [_statistics([_dealt_anew(one, generator) for one in genotypes])[SHARED] for _ in range(draws)]
        random.insert(1, DEALT, dealt)
        found[DEALT] = found[SHARED]
    table = found[random.columns].to_frame("found").assign(random=random.mean())
    table["random 2.5 %"], table["random 97.5 %"] = random.quantile(0.025), random.quantile(0.975)
    return table.assign(p=((random >= table["found"] - 1e-9).sum() + 1) / (draws + 1))


def _dealt_anew(genotype: Genotype, generator: torch.Generator) -> Genotype:
    """Return the genotype with its operations on other inputs; how often each is used and all sources stay."""
    names = [name for *_, name in sorted(_inputs(genotype))]
    dealt = iter([names[place] for place in torch.randperm(len(names), generator=generator)])
    cells = tuple(
        tuple(tuple((next(dealt), source) for _, source in inputs) for inputs in cell) for cell in genotype.cells
    )
    return Genotype(genotype.levels, cells)


def _statistics(genotypes: Sequence[Genotype]) -> dict[str, float]:
    pairs = list(combinations(genotypes, 2))
    shared = {
        SHARED: [_shared(_inputs(a), _inputs(b)) for a, b in pairs],
        "inputs two seeds share, whatever the operation (%)": [_shared(_edges(a), _edges(b)) for a, b in pairs],
        "width levels two seeds share (%)": [100 * mean(x == y for x, y in zip(a.levels, b.levels)) for a, b in pairs],
    }
    names = [[name for *_, name in _inputs(genotype)] for genotype in genotypes]
    alone = {
        "skips in a genotype": [used.count("skip") for used in names],
        "different operations in a genotype": [len(set(used)) for used in names],
        "last layer as wide as any (%)": [
            100 * (genotype.levels[-1] == max(genotype.levels)) for genotype in genotypes
        ],
    }
    return {name: mean(values) for name, values in (shared | alone).items() if values}


def _inputs(genotype: Genotype) -> set[tuple[int, int, int, str]]:
    return {
        (layer, node, source, operation)
        for layer, cell in enumerate(genotype.cells)
        for node, inputs in enumerate(cell)
        for operation, source in inputs
    }


def _edges(genotype: Genotype) -> set[tuple[int, int, int]]:
    return {place[:3] for place in _inputs(genotype)}


def _shared(first: set, second: set) -> float:
    return 100 * len(first & second) / len(first)
