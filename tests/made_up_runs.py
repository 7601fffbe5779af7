"""Finished Runs that nothing computed, effects that nobody measured, and an engine that starts no process."""

import json
from concurrent.futures import Future
from pathlib import Path
from unittest import mock

import pandas as pd
import torch

from hinas_nb import files, locations
from hinas_nb.evidence import effects
from hinas_nb.method import network
from hinas_nb.method.genotype import random_genotype
from hinas_nb.running import notes, pool
from hinas_nb.running.collect import collect
from hinas_nb.running.store import Store


class Here:
    """An engine that computes Runs one after another, in this process: others take seconds to start."""

    size, lost = 1, ()

    def __init__(self, work, size: int = 1):
        self._work = work

    def submit(self, config) -> Future:
        future: Future = Future()
        future.set_result(self._work(config))
        return future

    def close(self) -> None:
        pass


def execute_here(runs, store, **how):
    with mock.patch.object(pool, "Local", Here):
        return pool.execute(runs, store, **how)


def collect_here(runs, store, **how):
    with mock.patch.object(pool, "Local", Here):
        return collect(runs, store, **how)


def finish(budget, config, text="", records=(), genotype=None):
    """A finished Run in the store, made up."""
    folder = Store.of(budget).folder(config)
    folder.begin("cpu", 1)
    folder.append_records(list(records))
    folder.write_text("scores.csv", text)
    if genotype:
        folder.write_text("genotype.json", genotype.to_json())
    folder.finish({})


def effect(
    treatment, control, metric, difference=0.5, half=0.1, seeds=3, task="denoise", data="photos", degradation=50.0
) -> pd.DataFrame:
    """One made-up effect whose interval reaches `half` to both sides."""
    row = {"treatment": treatment, "control": control, "task": task, "data": data, "degradation": degradation}
    row |= {"metric": metric, "difference": difference, "low": difference - half, "high": difference + half}
    row |= {"detectable": half, "seeds": seeds, "images_low": difference - 1, "images_high": difference + 1}
    return pd.DataFrame([row | {"protocol": "denoise-standard", "note": "made up"}], columns=effects.COLUMNS)


def leave(budget, number: str, found: pd.DataFrame) -> Path:
    """What a notebook of this number leaves behind at a budget; returns the file."""
    path = locations.results_of(budget.name) / "tables" / f"{number}_a_notebook__effects.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(effects.stamped(found).to_csv(index=False))
    return path


def noted(folder, **values):
    """A folder's `run.json`, whole but for the values given; the files that are there get their sums."""
    content = {
        "hash": folder.name.ljust(64, "0"), "what": "a Run", "config": {}, "data": {}, "summary": {}, "revisions": {},
        "device": "cpu", "threads": 1, "started": "now", "finished": "later", "seconds": 1.0, "peak_memory_mib": 1.0,
        "commit": None, "dirty": None, "versions": {}, "machine": {},
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(notes.sealed(folder, content | values))


def weights(path, task="denoise", sigma=50.0, scale=None, **how):
    """A small untrained network as a training Run leaves it."""
    generator = torch.Generator().manual_seed(3)
    genotype = random_genotype(2, 2, generator, operations=("conv_3", "sep_3", "skip"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = network.DerivedNetwork(genotype, task, 4, scale=scale, **how)
    with torch.no_grad():
        net.output.weight *= 0.2
    metadata = net.metadata() | ({"sigma": sigma} if task == "denoise" else {})
    files.write_tensors(path, net.state_dict(), metadata)
    return path


def rewritten(folder, **values):
    """Another `run.json`, as a hostile hand would write it: with the right sums."""
    content = json.loads((folder / "run.json").read_text())
    content = {name: value for name, value in content.items() if name not in ("files", "sum")}
    (folder / "run.json").write_text(notes.sealed(folder, content | values))
