"""A network is made ready to be shipped: its weights file, and a model card whose numbers come from stored Runs.

`hinas-nb publish HASH` writes both into `use/weights`; `use.networks` says how they are called.
"""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from hinas_nb import comparators, files
from hinas_nb.data.catalog import CATALOG
from hinas_nb.evidence import stats
from hinas_nb.experiment.config import SearchConfig
from hinas_nb.reporting import report
from hinas_nb.running import notes
from hinas_nb.scoring.protocol import Protocol
from hinas_nb.scoring.units import METRICS
from hinas_nb.speed import cost, export
from hinas_nb.use import networks

SIDE = 64  # pixels of the image whose multiply-adds are counted
WORST = 3  # images named where the network gains least
_UNTOUCHED = {"denoise": "the noisy image", "sr": "bicubic"}
_NO_GAINS = pandas.DataFrame({"image": [], "gain": pandas.Series(dtype=float)})


def publish(run: str, results: Path, folder: Path | None = None) -> list[Path]:
    """Write weights and card of the training Run whose hash begins so, and return where they lie.

    folder: None: that of the package. Raises ValueError, RestoreError, StoreError, FileContentError.
    """
    chosen = networks.named(networks.trained_runs(results), run)
    target = (folder or networks.SHIPPED) / networks.file_name(chosen.task, chosen.scale)
    text = card(chosen, target.stem)
    files.write_atomic(target, (chosen.path / networks.WEIGHTS).read_bytes())
    files.write_atomic(target.with_suffix(".md"), text.encode())
    return [target, target.with_suffix(".md")]


def card(chosen: networks.TrainedRun, name: str) -> str:
    """Return the model card of a finished training, in Markdown. Raises ValueError where no Run has scored it."""
    trained = notes.finished(chosen.path)
    scores = _scores(chosen.path.parents[1], trained.config)
    if not scores:
        raise ValueError(f"a card needs evaluate Runs of the network beside it, got none of Run {chosen.path.name}")
    net = comparators.load(chosen.path / networks.WEIGHTS)
    gains = pandas.concat([_gains(own, others) for own, others in scores if "input" in others] or [_NO_GAINS])
    rows = [row for own, others in scores for row in _rows(own, others)]
    return report.template("card").render(
        name=name,
        run=trained,
        search=_search(chosen.path.parents[1], trained.config["genotype"]),
        chosen=chosen,
        settings=trained.config,
        licence=export.LICENCE,
        data_licence=_licence(trained.config),
        parameters=sum(weight.numel() for weight in net.parameters()),
        multiply_adds=cost.multiply_adds(net, net.channels, SIDE, SIDE) / SIDE**2,
        halo=net.halo,
        rows=rows,
        untouched=_UNTOUCHED[chosen.task],
        seconds=[_seconds(own) for own, _ in scores],
        machines=" and ".join(sorted({own.note.where for own, _ in scores})),
        worst=gains.nsmallest(WORST, "gain").to_dict("records"),
        lost=[row for row in rows if row["mean"] < 0],
    )


def _search(root: Path, genotype: dict[str, Any]) -> notes.Finished | None:
    """Return the search that found the genotype, None where that is not a search beside it."""
    searches = (note for _, note in notes.all_finished(root, "search"))
    return next((note for note in searches if {"kind": SearchConfig.__name__} | note.config == genotype), None)


class _Scored:
    """Holds the scores of one evaluate Run, a row per image."""

    def __init__(self, folder: Path, note: notes.Finished):
        self.note, self.config = note, note.config
        self.protocol = Protocol(**{key: value for key, value in note.config["protocol"].items() if key != "kind"})
        self.table = pandas.read_csv(folder / "scores.csv", dtype={"image": str}).set_index("image")

    @property
    def test(self) -> dict[str, Any]:
        """Return what must be equal for scores to be compared."""
        return {key: value for key, value in self.config.items() if key not in ("kind", "model", "save_images")}

    @property
    def words(self) -> dict[str, str]:
        protocol = self.protocol
        noise = f"sigma {protocol.sigma:g}" if protocol.task == "denoise" else f"x{protocol.scale}"
        return {"set": f"{self.config['data']} {self.config['split']}", "input": noise, "protocol": protocol.name}


def _scores(root: Path, training: dict[str, Any]) -> list[tuple[_Scored, dict[str, _Scored]]]:
    """Return each evaluation of the network with those of the filters and of the input on the same images."""
    found = [_Scored(folder, note) for folder, note in notes.all_finished(root, "evaluate")]
    named = [one for one in found if isinstance(one.config["model"], str)]
    trained = [one for one in found if one not in named]
    own = [one for one in trained if one.config["model"] | {"kind": None} == training | {"kind": None}]
    named.sort(key=lambda other: (other.config["model"] == "input", other.config["model"]))
    pairs = [(one, {other.config["model"]: other for other in named if other.test == one.test}) for one in own]
    return sorted(pairs, key=lambda pair: tuple(map(str, pair[0].words.values())))


def _rows(own: _Scored, others: dict[str, _Scored]) -> list[dict[str, Any]]:
    """Return a row of the table of scores for the network and one for each other, with the gain over it."""
    rows = [_row("this network", own) | {"gain": None, "mean": 0.0}]
    for name, other in others.items():
        differences = (own.table["psnr"] - other.table["psnr"]).replace([np.inf, -np.inf], np.nan).dropna()
        low, high = stats.over_images(differences)
        mean = float(differences.mean())
        title = comparators.TABLE[name].title if name in comparators.TABLE else _UNTOUCHED[own.protocol.task]
        rows.append(_row(title, other) | {"gain": METRICS["psnr"].text(mean, low, high), "mean": mean})
    return rows


def _row(who: str, scored: _Scored) -> dict[str, Any]:
    means = {name: METRICS[name].number(scored.table[name].mean()) for name in ("psnr", "ssim")}
    every = scored.config["every"]
    images = f"{len(scored.table)}{f', one in {every}' if every > 1 else ''}"
    return scored.words | {"who": who, "images": images} | means


def _gains(own: _Scored, others: dict[str, _Scored]) -> pandas.DataFrame:
    """Return the gain over the input for every image, in dB, with words for where."""
    gain = own.table["psnr"] - others["input"].table["psnr"]
    return gain.rename("gain").reset_index().assign(**own.words)


def _seconds(own: _Scored) -> float:
    """Return seconds per megapixel of the restored image, the median over images."""
    return float((own.table["seconds"] / (own.table["height"] * own.table["width"] / 1e6)).median())


def _licence(settings: dict[str, Any]) -> str:
    """Return the licences of all data that a training and what it rests on have learned from."""
    names = dict.fromkeys(_named_data(settings))
    return "; ".join(f"{name}: {CATALOG[name].licence if name in CATALOG else 'of its owner'}" for name in names)


def _named_data(settings: object) -> list[str]:
    """Return the names under `data`, of a config and of all within it, in their order."""
    if isinstance(settings, list):
        return list(itertools.chain(*map(_named_data, settings)))
    if not isinstance(settings, dict):
        return []
    own = [settings["data"]] if isinstance(settings.get("data"), str) else []
    return own + list(itertools.chain(*map(_named_data, settings.values())))
