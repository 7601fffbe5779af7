"""The hash of every stored Run and of every Run of the smoke budget, from its settings: no move of code changes one.

A hash that changes makes finished Runs unfindable. Where that is meant (a raised revision, another default, another
grid in a notebook), freeze the smoke budget's anew by `python tests/test_hashes.py` and say so in the changelog.
"""

import itertools
import json
import os
import tempfile
from pathlib import Path
from unittest import mock

import pytest

from hinas_nb.batch import contract, planning
from hinas_nb.batch.planning import Job
from hinas_nb.experiment import runs
from hinas_nb.experiment.runs import REVISIONS, all_data, config_of, describe, kind_of, run_hash
from hinas_nb.running.store import Store

ROOT = Path(__file__).parents[1]
STORED = sorted((ROOT / "results" / "laptop" / "runs").glob("*/*/run.json"))
FROZEN = Path(__file__).parent / "data" / "smoke_hashes.json"


def test_there_are_stored_runs():
    assert len(STORED) > 70 and {path.parents[1].name for path in STORED} <= set(REVISIONS)


@pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parents[1].name}-{path.parent.name}")
def test_a_stored_run_has_the_hash_of_its_settings(path, monkeypatch):
    content = json.loads(path.read_text())
    settings = config_of(path.parents[1].name, content["config"])
    monkeypatch.setattr(runs, "provenance", lambda: content)  # of a timing: the machine that it was made on
    found = set()
    for revisions in itertools.product(*(range(1, last + 1) for last in REVISIONS.values())):
        monkeypatch.setattr(runs, "REVISIONS", dict(zip(REVISIONS, revisions)))
        found.add(run_hash(settings, content["data"]))
    assert content["hash"] in found, "under no revision of the code so far"
    assert path.parent.name == content["hash"][:16]


@pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parents[1].name}-{path.parent.name}")
def test_a_stored_run_was_made_of_the_data_that_are_noted(path):
    noted = json.loads((path.parents[2] / "data.json").read_text())
    assert json.loads(path.read_text())["data"].items() <= noted.items()


def smoke() -> dict[str, dict]:
    """By notebook the Runs that it plans at the smoke budget, with what they rest on.

    Without data sets, and without what hangs on the machine: timings (engines, memory), latencies with all that rests
    on them, and the filter BM3D, an extra.
    """
    found = {}
    with tempfile.TemporaryDirectory() as empty, mock.patch.dict(os.environ, {"HINAS_DATA": empty}):
        for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
            planned = planning.plan(Job(contract.read(path), {"profile": "smoke"}))
            assert not planned.error, planned.error
            found[path.stem] = [one for one in planning.needed(planned.runs) if not _of_this_machine(one)]
    return found


def _of_this_machine(config) -> bool:
    own = kind_of(config) in ("timing", "latency") or getattr(config, "model", None) == "bm3d"
    return own or any(map(_of_this_machine, config.producers))


def hashes(planned: dict[str, list], data: dict[str, str]) -> dict[str, dict[str, str]]:
    """By notebook: first digits of the hash, what the Run is; Runs of data that are noted nowhere are left out."""
    return {
        notebook: {
            run_hash(one, data)[:16]: describe(one)
            for one in sorted(configs, key=describe)
            if all_data(one).keys() <= data.keys()
        }
        for notebook, configs in planned.items()
    }


def test_every_smoke_run_has_the_frozen_hash():
    frozen = json.loads(FROZEN.read_text())
    now = hashes(smoke(), frozen["data"])
    assert now.keys() == frozen["runs"].keys()
    for notebook, before in frozen["runs"].items():
        gone, new = [sorted(a.items() - b.items()) for a, b in ((before, now[notebook]), (now[notebook], before))]
        assert not gone and not new, f"{notebook}: {len(gone)} Runs have another hash or are gone (see this module)"
    assert sum(map(len, now.values())) > 200


def test_the_photographs_are_those_that_the_frozen_hashes_were_taken_with(tmp_path):
    store = Store(tmp_path)
    for key, digest in json.loads(FROZEN.read_text())["data"].items():
        name, split, *scale = key.split("/")
        assert store.data_hash(name, split, *(int(part[1:]) for part in scale)) == digest, key


def freeze() -> None:
    """Write the hashes as they are now; the data's too, of the photographs that come with scikit-image."""
    planned = smoke()
    sources = {key: source for configs in planned.values() for one in configs for key, source in all_data(one).items()}
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        data = {key: store.data_hash(*source) for key, source in sorted(sources.items()) if source[0] == "photos"}
    FROZEN.write_text(json.dumps({"data": data, "runs": hashes(planned, data)}, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    freeze()
