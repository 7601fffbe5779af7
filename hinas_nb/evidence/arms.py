"""The arms of an ablation as networks: what they weigh, and one image as each of them restores it (figures 5 to 9).

Runs carry the labels that `ablation` speaks of. Notebooks `10_ablation_lwas_residual`, `11_ablation_width` and
`12_ablation_ssim_loss` show them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
import torch

from hinas_nb.data import ImageSet
from hinas_nb.evidence import paper_effects
from hinas_nb.evidence.ablation import AblationError
from hinas_nb.experiment.config import EvaluateConfig
from hinas_nb.experiment.runs import Run, producer_of
from hinas_nb.method.network import DerivedNetwork
from hinas_nb.running.compute import genotype_of, restorer, unmade
from hinas_nb.running.store import Store
from hinas_nb.scoring import showcase
from hinas_nb.scoring.showcase import Showcase


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

    In millions. numbers: of the published tables, see `ablation.beside`.
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
    """Return the one evaluation of every arm that carries these labels. Raises AblationError for none or several."""
    found = [run for run in runs if all(run.labels.get(name) == value for name, value in labels.items())]
    arms = {run.labels["arm"]: run.config for run in found}
    if not arms or len(arms) < len(found):
        raise AblationError(f"labels must choose one Run per arm, got {len(found)} Runs of {len(arms)} arms: {labels}")
    return arms


def chosen_images(names: Sequence[str], wanted: Sequence[str], gains: pd.Series) -> dict[str, str]:
    """Return the images to show and why: those of the paper that the set has, then the smallest and the largest gain.

    gains: by image. None of them is chosen by eye.
    """
    shown = {name: "shown in the paper" for name in wanted if name in names}
    for name, why in ((gains.idxmin(), "the smallest gain"), (gains.idxmax(), "the largest gain")):
        shown[name] = f"{shown[name]}, {why}" if name in shown else why
    return shown


def _span(counts: pd.Series) -> str:
    low, high = (f"{count / 1e6:.3g}" for count in (counts.min(), counts.max()))
    return low if low == high else f"{low}-{high}"
