"""Finished Runs that nothing computed: for tests of what is read from a store."""

import json

from hinas_nb.evidence import claims
from hinas_nb.running import notes
from hinas_nb.running.store import Store


def finish(budget, config, text="", records=(), genotype=None):
    """A finished Run in the store, made up."""
    folder = Store.of(budget).folder(config)
    folder.begin("cpu", 1)
    folder.append_records(list(records))
    folder.write_text("scores.csv", text)
    if genotype:
        folder.write_text("genotype.json", genotype.to_json())
    folder.finish({})


def score(budget, question: claims.Question, effect: float, spread: float = 0.01, seeds: list[int] | None = None):
    """Score both arms with PSNR = SSIM: the control 20 and something, the treatment `effect` more."""
    for treatment, side in zip((True, False), claims.arms(question, budget)):
        for run in side:
            seed = run.labels["seed"]
            if seeds is not None and seed not in seeds:
                continue
            value = 20 + seed + treatment * (effect + spread * (seed - 1))
            rows = [f"{image},{value + step},{value + step},8,8,0.1" for step, image in enumerate("ab")]
            finish(budget, run.config, "\n".join(["image,psnr,ssim,height,width,seconds", *rows]))


def noted(folder, **values):
    """A folder's `run.json`, whole but for the values given; the files that are there get their sums."""
    content = {
        "hash": folder.name.ljust(64, "0"), "what": "a Run", "config": {}, "data": {}, "summary": {}, "revisions": {},
        "device": "cpu", "threads": 1, "started": "now", "finished": "later", "seconds": 1.0, "peak_memory_mib": 1.0,
        "commit": None, "dirty": None, "versions": {}, "machine": {},
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(notes.sealed(folder, content | values))


def rewritten(folder, **values):
    """Another `run.json`, as a hostile hand would write it: with the right sums."""
    content = json.loads((folder / "run.json").read_text())
    content = {name: value for name, value in content.items() if name not in ("files", "sum")}
    (folder / "run.json").write_text(notes.sealed(folder, content | values))
